"""Users' own experiments at work: in worker processes only, every fault one sentence, never because a session asks."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine import strangers
from engine.client import Client, Failed
from engine.messages import Allow, Catalogue, Describe, Predict, Predicted, Refused
from engine.running.service import Service
from engine.running.vetting import Vetting
from tests.engine.own_parts import GOOD, STEP, TITLE, allow, put, sha

ROOT = Path(__file__).parents[2]


def line(source, part):
    return source[: source.index(part)].count("\n") + 1


def drive(work, **more):
    async def all_of_it():
        async with Client(**more) as client:
            await asyncio.wait_for(work(client), 120)

    asyncio.run(all_of_it())


# --- loading: faults become one sentence ---

ENDLESS = "while True:\n    pass\n"
DEAF = "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n"
HOLDS = "x = 1\nsum(iter(int, 1))\n"  # in C, never letting go of the interpreter
RAISES_BADLY = "class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n"
LOADING = {
    "syntax": ("x = 1\ndef f(:\n", r"syntax\.py could not be loaded \(syntax\.py, line 2\): SyntaxError: "),
    "imports": ("import torch\nimport nothing_like_it\n", r"line 2\): ModuleNotFoundError: No module named 'nothing_like_it'"),
    "neighbour": ("import good\n", r"line 1\): ModuleNotFoundError: No module named 'good'"),
    "relative": ("from . import good\n", r"line 1\): "),
    "without": ("x = 1\n", r"without\.py must end in EXPERIMENT = Experiment\(…\): it has none"),
    "another": ("EXPERIMENT = 3\n", r"another\.py must end in .*: it is a int"),
    "inconsistent": (GOOD.replace('views=(View(("mean_square",)),)', 'views=(View(("loss",)),)'), r"names 'loss'; there are mean_square"),
    "knob": (GOOD.replace("hyper(0.1, 0.01, 1.0", "hyper(0.1, 1.0, 0.01"), r"line \d+, in HP\): ValueError: lr: low 1.0 is not below high 0.01|lr: low 1.0 is not below"),
    "raises": ("\n\ndef f():\n    return 1 / 0\nf()\n", r"raises\.py, line 4, in f\): ZeroDivisionError: division by zero"),
    "raises_badly": (RAISES_BADLY, r"line 3\): E$"),
    "exits": ("import sys\nsys.exit(3)\n", r"line 2\): SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt\n", r"line 1\): KeyboardInterrupt$"),
    "quits": ("import os\nos._exit(3)\n", r"loading quits\.py ended its process \(exit code 3\)"),
    "crashes": ("import ctypes\nctypes.string_at(0)\n", r"loading crashes\.py ended its process \(signal 11\)|loading crashes\.py \(crashes\.py, line 2\)"),
    "endless": (ENDLESS, r"loading endless\.py \(endless\.py, line [12]\) had not come back after 1 s"),
    "deaf": (DEAF, r"loading deaf\.py \(deaf\.py, line \d\) had not come back after 1 s"),
    "holds": (HOLDS, r"loading holds\.py \(holds\.py, line 2\) had not come back after 1 s"),
    "zero_bytes": ("x = 1\0\n", r"zero_bytes\.py could not be loaded.*: (SyntaxError|ValueError): source code"),
    "odd_title": (GOOD.replace(TITLE, "title=3"), r"odd_title\.py could not be loaded: Malformed: its declaration holds"),
}  # fmt: skip


def test_whatever_a_file_does_when_loaded_is_one_sentence_of_its_own(folder, monkeypatch):
    monkeypatch.setattr("engine.running.vetting.GRACE", 8.0)
    put(folder, "good", GOOD)
    for name, (source, _) in LOADING.items():
        put(folder, name, source)
    put(folder, "shadow", GOOD.replace("own/mine", "stability/edge_of_stability"))
    put(folder, "zz_last", GOOD)
    for path in folder.glob("*.py"):
        allow(path)
    vetting = Vetting(limit=1.0)
    found = Catalogue((), (), (), strangers.scan())
    vetting.run(vetting.missing(found))
    found = vetting.merged(found)
    assert sorted(c.name for c in found.cards) == ["own/good", "own/shadow", "own/zz_last"]
    assert found.cards[0].page.startswith("Gradient descent with noisy gradients stalls")
    seen = {Path(s.path).stem: s.problem for s in found.strangers}
    for name, (_, pattern) in LOADING.items():
        assert re.search(pattern, seen[name]), (name, seen[name])
        assert "\n" not in seen[name] and name in seen[name], seen[name]
    assert not seen["good"] and not seen["shadow"] and not seen["zz_last"]
    assert not vetting.missing(found) and strangers.settled(found)
    vetting.forget(str(folder / "imports.py"))
    assert [
        Path(s.path).stem for s in vetting.missing(Catalogue((), (), (), strangers.scan()))
    ] == ["imports"]
    assert not list(folder.glob("__pycache__")), (
        "no compiled file that could take the place of the source"
    )


# --- the service ---


def test_enabling_changing_and_withdrawing_through_the_service(folder):
    path = put(folder, "mine", GOOD)

    async def work(client):
        def catalogue_of(allowed, title=None):
            def fits(m):
                if not isinstance(m, Catalogue) or not strangers.settled(m):
                    return False
                titles = {c.name: c.title for c in m.cards}
                return m.strangers[0].allowed is allowed and titles.get("own/mine") == title

            return fits

        (found,) = client.catalogue.strangers
        assert found.sha256 == sha(path) and not found.allowed
        assert not [c for c in client.catalogue.cards if strangers.is_own(c.name)]
        with pytest.raises(
            Failed, match=r"own/mine is off: .*mine\.py is code that nobody has enabled"
        ):
            await client.begin(experiment="own/mine")
        no = await client.ask(Allow(str(path), "0" * 64), lambda m: isinstance(m, Refused))
        assert "was not enabled: its SHA-256 is " + sha(path) in no.why
        await client.ask(
            Allow(str(path), sha(path)), catalogue_of(True, "Noisy gradients stall at a floor")
        )
        run = await client.begin(experiment="own/mine", seeds=4)
        assert (await client.finish(run)).state == "done"
        assert run.judged["floor"].outcome == "holds"
        assert run.started.environment["experiment"] == f"sha256:{sha(path)}"
        put(folder, "mine", GOOD.replace(TITLE, 'title="Another"'))
        seen = await client.ask(Describe(), lambda m: isinstance(m, Catalogue))
        assert seen.strangers[0].changed and not seen.strangers[0].allowed
        assert not [c for c in seen.cards if strangers.is_own(c.name)]
        with pytest.raises(Failed, match="has changed since it was enabled"):
            await client.begin(experiment="own/mine")
        await client.ask(Allow(str(path), sha(path)), catalogue_of(True, "Another"))
        again = await client.begin(experiment="own/mine", values={"steps": 5})
        assert (await client.finish(again)).state == "done"
        assert again.started.environment["experiment"] == f"sha256:{sha(path)}"
        # what it imports is installed meanwhile: looking again is enough
        late = folder / "installed"
        lacking = put(
            folder,
            "lacking",
            f"import sys\nsys.path.append({str(late)!r})\nimport late_one\n{GOOD}",
        )
        known = lambda m: isinstance(m, Catalogue) and strangers.settled(m)
        seen = await client.ask(
            Allow(str(lacking), sha(lacking)), lambda m: known(m) and m.strangers[0].allowed
        )
        assert "No module named 'late_one'" in seen.strangers[0].problem
        late.mkdir()
        (late / "late_one.py").write_text("")
        seen = await client.ask(Describe(), known)
        assert not seen.strangers[0].problem and "own/lacking" in {c.name for c in seen.cards}
        lacking.unlink()
        await client.ask(Allow(str(path), ""), catalogue_of(False))
        with pytest.raises(Failed, match="nobody has enabled"):
            await client.begin(experiment="own/mine")

    drive(work, workers=1)


CALLS = "CALLS = []\n\n\ndef init(hp, rng):"


def at_fourth_call(what):
    """The template with a step that behaves three times."""
    body = f"CALLS.append(1)\n    if len(CALLS) > 3:\n        {what}\n    {STEP}"
    return GOOD.replace("def init(hp, rng):", CALLS).replace(STEP, body)


MEASURE = 'return state["x"].square().mean()'
RUNNING = {
    "raises": (at_fourth_call("raise OSError('no such luck')"), r"own/raises \(raises\.py, line \d+, in step\): OSError: no such luck"),
    "exits": (at_fourth_call("raise SystemExit"), r"own/exits \(exits\.py, line \d+, in step\): SystemExit"),
    "branches": (GOOD.replace(STEP, "if hp.lr > 0.5:\n        pass\n    " + STEP), r"own/branches \(branches\.py, line \d+, in step\): RuntimeError: .*vmap.*looped=True"),
    "no_dict": (GOOD.replace(STEP, "return state['x']"), r"no_dict\.py, line \d+, step gave a Tensor; a dict of tensors is wanted"),
    "forgets": (GOOD.replace(STEP, STEP.replace('"x":', '"y":')), r"forgets\.py, line \d+, step gave a state with other entries than before: x, y"),
    "grows": (GOOD.replace(STEP, 'return {"x": torch.cat([state["x"], state["x"]])}'), r"grows\.py, line \d+, step made x float32 of shape \(800,\); it was float32 of shape \(400,\)"),
    "widens": (GOOD.replace(STEP, 'return {"x": state["x"].double()}'), r"widens\.py, line \d+, step made x float64 of shape"),
    "vector": (GOOD.replace(MEASURE, 'return state["x"]'), r"vector\.py, line \d+, mean_square gave float32 of shape \(400,\) for metric mean_square; a scalar has no axes"),
    "nan": (GOOD.replace(MEASURE, 'return state["x"].mean() * float("nan")'), r"own/nan: at step 0, before any training, no reading of mean_square \(nan\.py, line \d+, mean_square\) is finite"),
    "theory": (GOOD.replace("left = (1 - hp.lr) ** (2 * t)", "left = t[:2] * 1.0"), r"theory\.py, line \d+, theory gave shape \(2,\) for prediction theory; at 301 steps a scalar has"),
    "theory_raises": (GOOD.replace("left = (1 - hp.lr) ** (2 * t)", "left = hp.eta"), r"own/theory_raises \(theory_raises\.py, line \d+, in theory\): AttributeError: .*eta"),
    "start": (GOOD.replace("torch.ones(hp.d, ", "torch.ones(hp.dim, "), r"own/start \(start\.py, line \d+, in init\): AttributeError: .*dim"),
    "loops": (at_fourth_call("while True: pass"), r"own/loops \(loops\.py, line \d+, in step\) had not come back after 3 s"),
    "leaves": (at_fourth_call("import os; os._exit(9)"), r"exit code 9"),
}  # fmt: skip


def test_whatever_a_run_does_ends_that_run_in_one_sentence(folder, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_PATIENCE", "3")
    for name, (source, _) in RUNNING.items():
        allow(put(folder, name, source.replace("own/mine", f"own/{name}")))
    judged = GOOD.replace('"floor", "The late mean square is ησ²/(2 − η)", Late("mean_square"), floor,',
                          '"floor", "It is one", Late("mean_square"), lambda hp: hp.nothing,')  # fmt: skip
    assert judged != GOOD
    allow(put(folder, "judged", judged))
    looping = GOOD.replace("left = (1 - hp.lr) ** (2 * t)", "while True: pass")
    allow(put(folder, "slider", looping))

    async def work(client):
        for name, (source, pattern) in RUNNING.items():
            run = await client.begin(experiment=f"own/{name}", seeds=2)
            status = await client.finish(run)
            assert status.state == "failed", (name, status)
            assert re.search(pattern, status.why), (name, status.why)
            if place := re.search(rf"{name}\.py, line (\d+)", status.why):
                assert 0 < int(place[1]) <= source.count("\n")
            assert "\n" not in status.why and "Traceback" not in status.why
        told = []
        client.listeners.append(lambda m: told.append(m.why) if isinstance(m, Refused) else None)
        run = await client.begin(experiment="own/judged", seeds=4)
        assert (await client.finish(run)).state == "done"
        assert [
            w
            for w in told
            if re.search(r"own/judged \(judged\.py, line \d+, in <lambda>\): Attr", w)
        ]
        no = await client.ask(
            Predict("ticket", "own/slider", {}),
            lambda m: isinstance(m, Refused) and m.run == "ticket",
        )
        assert re.search(
            r"own/slider \(slider\.py, line \d+, in theory\) had not come back", no.why
        )
        # and what is not theirs goes on
        yes = await client.ask(
            Predict("other", "stability/edge_of_stability", {}),
            lambda m: isinstance(m, Predicted) and m.run == "other",
        )
        assert yes.valid
        run = await client.begin(
            experiment="stability/edge_of_stability", values={"steps": 20, "width": 8}, seeds=1
        )
        assert (await client.finish(run)).state == "done"

    drive(work, workers=2)


def test_lines_in_sentences_are_those_of_the_file(folder):
    source = GOOD.replace(STEP, "return 1 / 0")
    allow(put(folder, "mine", source))

    async def work(client):
        run = await client.begin(experiment="own/mine", seeds=1)
        status = await client.finish(run)
        where = f"own/mine (mine.py, line {line(source, 'return 1 / 0')}, in step)"
        assert status.why == f"{where}: ZeroDivisionError: division by zero"

    drive(work, workers=1)


# --- sessions never bring code to life ---

HOOK = """
import atexit, os, sys
FOLDER, LOG = os.environ["H_FOLDER"], os.environ["H_LOG"]
def hook(event, args):
    if event in ("exec", "compile", "open"):
        name = args[0] if event == "open" else getattr(args[0], "co_filename", None) if event == "exec" else args[1]
        if isinstance(name, bytes): name = os.fsdecode(name)
        if isinstance(name, str) and name.startswith(FOLDER + os.sep):
            fd = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, f"{event} {os.getpid()} {os.getppid()}\\n".encode())
            os.close(fd)
sys.addaudithook(hook)
"""
OPENS = """
import asyncio, os, sys
from engine.client import Client, Failed
async def work():
    async with Client(1) as client:
        said = []
        client.listeners.append(lambda m: said.append(getattr(m, "why", "")))
        (run,) = await client.open(sys.argv[1])
        print("rows", len(run.columns), "state", run.status.state)
        try:
            await client.begin(experiment="own/mine", seeds=1, values={"steps": 5})
            print("ran")
        except Failed as e:
            print("refused", e)
        print("said", "; ".join(w for w in said if w))
        print("torch", "torch" in sys.modules)
        print("pid", os.getpid())
if __name__ == "__main__":
    asyncio.run(work())
"""


def opened(tmp_path, folder, config, session):
    (tmp_path / "hook").mkdir(exist_ok=True)
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    script, log = tmp_path / "opens.py", tmp_path / "log"
    script.write_text(OPENS)
    log.unlink(missing_ok=True)
    env = os.environ | {
        "PYTHONPATH": f"{tmp_path / 'hook'}{os.pathsep}{ROOT}", "H_FOLDER": str(folder), "H_LOG": str(log),
        "LEMMASCOPE_CONFIG": str(config),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, script, session],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(w.partition(" ")[::2] for w in done.stdout.splitlines())
    events = [tuple(e.split()) for e in log.read_text().splitlines()] if log.exists() else []
    return said, events


def test_opening_a_session_runs_nothing_that_is_not_enabled(folder, tmp_path):
    path = put(folder, "mine", GOOD)
    allow(path)
    session = str(tmp_path / "s.lemma.h5")

    async def make(client):
        run = await client.begin(experiment="own/mine", seeds=2, values={"steps": 30})
        await client.finish(run)
        await client.save(session, [run])

    drive(make, workers=1)
    # not enabled there (settings of someone else): looked at, never compiled or executed, in no process
    said, events = opened(tmp_path, folder, tmp_path / "nobody", session)
    assert said["rows"] == "1 state done" and "nobody has enabled" in said["refused"]
    kinds = {e[0] for e in events}
    assert kinds == {"open"}, "read for its hash, and only that"
    assert said["torch"] == "False"
    # enabled: the same probe sees it executed, and never in the process that opened the session
    said, events = opened(tmp_path, folder, tmp_path / "config", session)
    assert "ran" in said
    assert {"compile", "exec"} <= {e[0] for e in events}
    assert said["pid"] not in {e[1] for e in events if e[0] != "open"}
    # not there at all: the curves, and what is missing
    path.unlink()
    said, events = opened(tmp_path, folder, tmp_path / "config", session)
    assert said["rows"] == "1 state done" and not events
    assert "own/mine is not installed here" in said["said"]
    assert "there is no " + str(path) in said["refused"]


def test_closing_while_a_file_is_being_loaded_is_quick_and_leaves_nothing(folder):
    allow(put(folder, "endless", ENDLESS))
    mine = psutil.Process()

    async def work():
        seen = asyncio.Event()
        service = Service(lambda m: seen.set() if isinstance(m, Catalogue) else None, 1)
        await service.start()
        await asyncio.wait_for(seen.wait(), 60)
        while service.own._child is None or not service.own._child.process.is_alive():
            await asyncio.sleep(0.05)
        child = service.own._child.process.pid
        begun = time.monotonic()
        await service.close()
        return child, time.monotonic() - begun

    child, took = asyncio.run(work())
    assert took < 5, took
    assert not psutil.pid_exists(child)
    left = [c.cmdline() for c in mine.children() if "resource_tracker" not in " ".join(c.cmdline())]
    assert not left
