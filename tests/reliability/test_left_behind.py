"""An application that is killed, and what the next one is offered: R8 of README.md, with real processes.

`--long` kills fifty times.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine import cli
from engine.client import Client, Failed
from engine.messages import Control, Discard, Open, Opened, Orphaned, Refused, Rewound, Rows
from engine.running import files, runs
from engine.running.service import Service
from engine.sessions import lock, state

ROOT = Path(__file__).parents[2]
NAME = "stability/edge_of_stability"
VALUES = {"width": 8, "steps": 3000}

PROGRAM = """
import asyncio, json, sys
from engine.client import Client
from engine.messages import Rows

async def main():
    async with Client(workers=1) as client:
        def heard(m):
            if isinstance(m, Rows):
                print(json.dumps([m.metric, int(m.steps[-1])]), flush=True)
        client.listeners.append(heard)
        run = await client.begin(experiment=sys.argv[1], values=json.loads(sys.argv[2]), seeds=2)
        await client.finish(run)
        print('"done"', flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def alive(processes):
    """Those that still run five seconds later; an ended one that nobody has collected does not."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        left = [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        if not left:
            break
        time.sleep(0.02)
    return left


def killed(folder, after):
    """Starts it, kills it when so many messages had been shown; what had been shown: metric -> last step."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, NAME, json.dumps(VALUES)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"LEMMASCOPE_STATE": str(folder)},
    )  # fmt: skip
    shown = {}
    try:
        for n, line in enumerate(process.stdout):
            if n >= after or line == '"done"\n':
                break
            metric, step = json.loads(line)
            shown[metric] = step
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert alive(workers) == []  # they end by themselves
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return shown


def told(program):
    """A process that runs `program`, once it has said "now"."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "now\n"
    return process


def rows_of(messages):
    """metric -> {step: values}"""
    out = {}
    for m in messages:
        if isinstance(m, Rows):
            out.setdefault(m.metric, {}).update(
                zip(m.steps.tolist(), m.values.tolist(), strict=True)
            )
    return out


@pytest.fixture(scope="module")
def whole():
    async def work():
        async with Client(workers=1, keep=False) as client:
            run = await client.begin(experiment=NAME, values=VALUES, seeds=2)
            await client.finish(run)
            return rows_of(run.trace_rows()), run.checkpoints[(0, VALUES["steps"])]

    return asyncio.run(work())


def test_what_had_been_shown_is_there_again(tmp_path, whole, request):
    times = 50 if request.config.getoption("--long") else 4
    pick = random.Random(7)
    lost = wrong = 0
    for i in range(times):
        folder = tmp_path / str(i)
        shown = killed(folder, pick.randrange(3, 120))
        (orphan,) = state.orphans(folder)
        assert orphan.experiment == NAME and abs(orphan.last - time.time()) < 60
        found = rows_of(state.recover(orphan.path))
        lost += sum(step not in found[metric] for metric, step in shown.items())
        wrong += sum(whole[0][m][s] != v for m, steps in found.items() for s, v in steps.items())
        assert orphan.steps >= max(shown.values())
        assert orphan.preview.shape[0] == 2 and np.isfinite(orphan.preview).all()
    assert (lost, wrong) == (0, 0)


def test_the_next_start_offers_it_once_and_it_goes_on_to_the_same_end(tmp_path, whole, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 60)

    async def work():
        client = Client(workers=1)
        said = []
        client.listeners.append(said.append)
        async with client:
            await client.service.files.looked.wait()
            (orphan,) = [m for m in said if isinstance(m, Orphaned)]
            opened = await client.ask(Open(orphan.path), lambda m: isinstance(m, Opened))
            assert not opened.why
            run = client.service.runs[opened.runs[0]]
            assert run.status.state == "paused"
            await client.control(run, "resume")
            assert (await client.finish(run)).state == "done"
            assert not [m for m in said if isinstance(m, Refused)]
            path = str(tmp_path / "saved.lemma.h5")
            await client.save(path, [run])
            assert state.orphans() == []  # what is saved is not offered again
            assert not os.path.exists(orphan.path)
            return rows_of(run.trace_rows()), run.checkpoints[(0, VALUES["steps"])]

    rows, weights = asyncio.run(asyncio.wait_for(work(), 120))
    assert rows == whole[0]
    for k, v in whole[1].items():
        np.testing.assert_array_equal(weights[k], v)
    assert sorted(os.listdir(tmp_path / "journals")) == []


def test_killed_again_while_it_went_on_nothing_of_before_is_lost(tmp_path, whole, monkeypatch):
    """The second process's journals have the past that it was given as well, and it is offered once."""
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 60)
    (first,) = state.orphans()
    before = rows_of(state.recover(first.path))
    program = """
import asyncio
from engine.client import Client
from engine.messages import Checkpoint, Open, Opened, Orphaned, Rows

async def main():
    client, said = Client(workers=1), []
    client.listeners.append(said.append)
    async with client:
        await client.service.files.looked.wait()
        (orphan,) = [m for m in said if isinstance(m, Orphaned)]
        opened = await client.ask(Open(orphan.path), lambda m: isinstance(m, Opened))
        run = client.service.runs[opened.runs[0]]
        await client.control(run, "resume")
        await client.wait(lambda m: isinstance(m, Rows) and m.run == run.id)
        await client.wait(lambda m: isinstance(m, Checkpoint) and m.run == run.id)
        print("now", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    process = told(program)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.stdout.close()
    assert alive(workers) == []
    (second,) = state.orphans()
    assert not os.path.exists(first.path)
    after = rows_of(state.recover(second.path))
    for metric, steps in before.items():
        assert steps.items() <= after[metric].items()
    assert second.steps > first.steps
    for metric, steps in after.items():
        assert all(whole[0][metric][s] == v for s, v in steps.items())


def test_what_one_process_has_opened_is_not_on_offer_to_another(tmp_path, monkeypatch):
    """Until that one dies, or leaves without wanting it away."""
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 20)
    (orphan,) = state.orphans()
    program = f"""
import asyncio
from engine.client import Client
from engine.messages import Open, Opened

async def main():
    async with Client(workers=1) as client:
        await client.ask(Open({orphan.path!r}), lambda m: isinstance(m, Opened))
        print("now", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    process = told(program)
    assert state.orphans() == []

    async def ask(message, kind):
        async with Client(workers=1) as client:
            answer = await client.ask(message, lambda m: isinstance(m, kind))
            return answer.why

    for message, kind in ((Open(orphan.path), Opened), (Discard(orphan.path), Refused)):
        why = asyncio.run(ask(message, kind))
        assert f"process {process.pid}" in why and "has opened" in why
    assert os.path.isdir(orphan.path)
    process.kill()
    process.wait()
    process.stdout.close()
    assert [o.path for o in state.orphans()] == [orphan.path]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["recover", "1", "--discard"]) == 0
    assert "discarded" in out.getvalue()
    assert os.listdir(tmp_path / "journals") == []


def test_a_knob_set_before_it_goes_on_makes_another_course_here_and_in_the_window(
    tmp_path, monkeypatch
):
    """What was measured behind the checkpoint at which it goes on was measured with the old value."""
    from desktop.store import Store

    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 60)
    (orphan,) = state.orphans()

    def same(shown, run):
        mine = {key: (c.steps.tolist(), c.values.tolist()) for key, c in shown.columns.items()}
        theirs = {
            (r.metric, r.first): (r.steps.tolist(), r.values.tolist()) for r in run.trace_rows()
        }
        return mine == theirs and shown.changes == run.changes

    async def work():
        client, store, said = Client(workers=1), Store(), []
        client.listeners += [store.apply, said.append]
        async with client:
            opened = await client.ask(Open(orphan.path), lambda m: isinstance(m, Opened))
            run = client.service.runs[opened.runs[0]]
            shown, at = store.runs[run.id], run.stacks[0].step
            assert same(shown, run) and shown.reached > at
            client.service.send(Control(run.id, "set", "lr", 0.01))
            assert Rewound(run.id, 0, at) in said
            assert same(shown, run) and shown.reached <= at
            await client.control(run, "resume")
            await client.finish(run)
            assert same(shown, run) and shown.reached == VALUES["steps"]

    asyncio.run(asyncio.wait_for(work(), 120))


def test_what_is_being_opened_as_the_application_closes_stays_on_offer(tmp_path, monkeypatch):
    """Nobody has seen it, and nobody said that it is not wanted."""
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 20)
    (orphan,) = state.orphans()

    async def work():
        said = []
        service = Service(said.append, workers=1)
        await service.start()
        service.send(Open(orphan.path))  # which waits for the first worker
        await asyncio.sleep(0.2)
        assert not [m for m in said if isinstance(m, Opened)]
        await service.close(discard=True)

    asyncio.run(asyncio.wait_for(work(), 60))
    assert [o.path for o in state.orphans()] == [orphan.path]


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("shapes differ")])
@pytest.mark.parametrize("where", ["replayed", "messages"])
def test_what_cannot_be_opened_stays_and_is_held_by_nobody(tmp_path, monkeypatch, error, where):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 5)
    (orphan,) = state.orphans()

    def fails(*args):
        raise error

    async def work():
        async with Client(workers=1) as client:
            with monkeypatch.context() as m:
                place = files if where == "replayed" else runs.Run
                m.setattr(place, where, fails)
                opened = await client.ask(Open(orphan.path), lambda m: isinstance(m, Opened))
                assert opened.why and not opened.runs and not client.service.runs
            assert [o.path for o in state.orphans()] == [orphan.path]

    asyncio.run(asyncio.wait_for(work(), 60))
    assert [o.path for o in state.orphans()] == [orphan.path]


def test_what_is_not_wanted_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    killed(tmp_path, 5)
    (orphan,) = state.orphans()

    async def work():
        async with Client(workers=1) as client:
            client.service.send(Discard(orphan.path))
            while os.path.exists(orphan.path):
                await asyncio.sleep(0.02)
            client.service.send(Discard(orphan.path))
            said = await client.wait(lambda m: isinstance(m, Refused))
            assert "no longer there" in said.why
            with pytest.raises(Failed):
                await client.open(orphan.path)

    asyncio.run(asyncio.wait_for(work(), 60))
    assert os.listdir(tmp_path / "journals") == []


def test_left_properly_nothing_stays_and_a_living_process_offers_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))

    async def work():
        async with Client(workers=1) as client:
            run = await client.begin(experiment=NAME, values=VALUES, seeds=2)
            await client.wait(lambda m: isinstance(m, Rows))
            assert list((tmp_path / "journals").glob("*/*/0.journal"))
            assert state.orphans() == []
            await client.control(run, "cancel")
            await client.finish(run)
            assert state.orphans() == []

    asyncio.run(asyncio.wait_for(work(), 60))
    assert os.listdir(tmp_path / "journals") == []


def test_left_without_discarding_the_run_is_offered(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))

    async def work():
        client = Client(workers=1)
        await client.__aenter__()
        run = await client.begin(experiment=NAME, values=VALUES, seeds=2)
        for _ in range(5):
            await client.wait(lambda m: isinstance(m, Rows))
        await client.service.close(discard=False)
        return rows_of(run.trace_rows())

    shown = asyncio.run(asyncio.wait_for(work(), 60))
    (orphan,) = state.orphans()
    found = rows_of(state.recover(orphan.path))
    for metric, steps in shown.items():
        assert steps.items() <= found[metric].items()


def test_a_run_that_could_not_be_saved_is_still_on_offer(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path / "state"))
    killed(tmp_path / "state", 5)
    (orphan,) = state.orphans()
    path = tmp_path / "s.lemma.h5"
    holder = lock.Lock(lock.beside(str(path)))
    try:
        assert cli.main(["recover", "1", "--out", str(path)]) != 0
    finally:
        holder.release()
    assert "has it open" in capsys.readouterr().err
    assert [o.path for o in state.orphans()] == [orphan.path]
    assert cli.main(["recover", "1", "--out", str(path)]) == 0
    assert state.orphans() == [] and path.exists()


def test_a_branch_that_was_not_begun_yet_goes_on_from_where_it_branched(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path / "state"))
    values = VALUES | {"steps": 600}

    async def branch(client, **more):
        parent = await client.begin(experiment=NAME, values=values, seeds=2)
        await client.finish(parent)
        step = sorted(s for _, s in parent.checkpoints)[2]
        return await client.begin(
            experiment=NAME, values=values | {"lr": 0.02}, seeds=2,
            parent=parent.id, parent_step=step, **more,
        )  # fmt: skip

    async def work():
        async with Client(workers=1) as client:
            live = await branch(client)
            assert (await client.finish(live)).state == "done"
            paused = await branch(client, paused=True)
            path = str(tmp_path / "s.lemma.h5")
            await client.save(path, [paused])
        async with Client(workers=1) as client:
            (opened,) = await client.open(path)
            assert opened.status.step == live.started.parent_step > 0
            await client.control(opened, "resume")
            assert (await client.finish(opened)).state == "done"
        return rows_of(live.trace_rows()), rows_of(opened.trace_rows())

    live, opened = asyncio.run(asyncio.wait_for(work(), 120))
    assert live == opened
