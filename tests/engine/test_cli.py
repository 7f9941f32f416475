"""The command line: what it prints, what it refuses, what a session survives."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from engine.cli import main
from engine.sessions import journal, loader, state

ROOT = Path(__file__).parents[2]
NAME = "generalisation/xor_clusters"
SMALL = ["--set", "d=200", "--set", "n=50", "--set", "width=32", "--set", "steps=40"]


def call(capsys, *words):
    status = main(list(words))
    got = capsys.readouterr()
    return status, got.out, got.err


def test_list_and_show_give_what_other_tools_rely_on(capsys):
    status, out, _ = call(capsys, "list", "--json")
    assert status == 0
    cards = {c["name"]: c for c in json.loads(out)}
    assert NAME in cards
    for card in cards.values():
        assert {
            "name",
            "title",
            "area",
            "knobs",
            "metrics",
            "presets",
            "claims",
            "references",
        } <= set(card)
        for k in card["knobs"]:
            assert {
                "name",
                "default",
                "low",
                "high",
                "scale",
                "unit",
                "hot",
                "label",
                "meaning",
            } <= set(k)
        assert all({"key", "title", "arxiv"} <= set(r) for r in card["references"])
    status, out, _ = call(capsys, "show", NAME)
    assert status == 0 and "Departures" in out and "Presets" in out


def test_run_prints_one_object_and_writes_a_session(capsys, tmp_path):
    path = str(tmp_path / "a.lemma.h5")
    status, out, _ = call(capsys, "run", NAME, *SMALL, "--seeds", "4", "--out", path, "--json")
    assert status == 0
    got = json.loads(out)
    keys = {
        "experiment",
        "values",
        "seeds",
        "steps",
        "metrics",
        "predictions",
        "claims",
        "environment",
    }
    assert keys <= set(got)
    assert got["seeds"] == 4 and got["steps"] == 40 and got["values"]["d"] == 200
    series = got["metrics"]["test_accuracy"]
    assert np.shape(series["values"]) == (4, len(series["steps"]))
    for p in got["predictions"].values():
        assert {"metric", "steps", "values"} <= set(p)
    for c in got["claims"]:
        assert {"text", "outcome", "measured", "expected", "spread", "why"} <= set(c)
        assert c["outcome"] in ("holds", "fails", "undecided")

    status, out, _ = call(capsys, "info", path, "--json")
    assert status == 0 and json.loads(out)["runs"][0]["state"] == "done"
    status, out, _ = call(capsys, "replay", path, "--json")
    assert status == 0 and json.loads(out)["runs"][0]["outcome"] == "bit-equal"
    with h5py.File(path) as f:  # plain h5py reads it
        found = []
        f.visit(found.append)
        assert any("test_accuracy" in name for name in found)

    for extension in ("csv", "svg", "pdf", "png"):
        target = tmp_path / f"plot.{extension}"
        status, out, err = call(capsys, "export", path, "--to", str(target))
        assert status == 0, err
        assert target.stat().st_size > 200


def test_sweeps_name_their_members(capsys):
    status, out, _ = call(
        capsys, "run", NAME, *SMALL, "--set", "lr=0.01,0.02", "--seeds", "2", "--json"
    )
    got = json.loads(out)
    assert status == 0 and got["members"]["lr"] == [0.01, 0.01, 0.02, 0.02]
    assert len(got["metrics"]["train_loss"]["values"]) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["frob"], "frob"),
        (["run"], "NAME"),
        (["run", "no/thing"], "no experiment no/thing"),
        (["run", NAME, "--set", "lr=7"], "lr = 7 lies outside [0.005, 0.2]"),
        (["run", NAME, "--set", "lr"], "KNOB=VALUE"),
        (["run", NAME, "--set", "lr=fast"], "lr = fast is not a number"),
        (["run", NAME, "--set", "n=50.5"], "n = 50.5 is not a whole number"),
        (["run", NAME, "--set", "lr=nan"], "lr = nan lies outside"),
        (["run", NAME, "--set", "speed=1"], "no knob speed"),
        (["run", NAME, "--seeds", "0"], "seeds = 0"),
        (["run", NAME, "--seeds", "many"], "seeds = many"),
        (["run", NAME, "--steps", "-3"], "steps = -3"),
        (["run", NAME, "--preset", "none"], "has no preset none"),
        (["run", NAME, "--dtype", "float8"], "dtype = float8"),
        (["run", NAME, "--device", "tpu"], "tpu is not one of"),
        (["run", NAME, "--out", "/nowhere/at/all/x.h5"], "no folder"),
        (["run", "signal/depth_to_width", "--steps", "10"], "has no steps"),
        (["show", "nothing"], "no experiment nothing"),
        (["verify"], "NAME or --all"),
        (["info", "/nowhere.lemma.h5"], "nowhere.lemma.h5"),
        (["replay", __file__], "test_cli.py"),
        (["export", "/nowhere.lemma.h5", "--to", "a.gif"], "a.gif"),
        (["export", "/nowhere.lemma.h5"], "--to"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_clear_line(capsys, words, says):
    status, out, err = call(capsys, *words)
    assert status == 2 and out == ""
    assert says in err and err.startswith("lemmascope: ") and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="a terminal of its own needs POSIX")
def test_control_c_leaves_a_readable_file_that_resumes_bit_for_bit(tmp_path):
    import pty

    cut, whole = tmp_path / "cut.lemma.h5", tmp_path / "whole.lemma.h5"
    words = ["run", NAME, "--set", "d=200", "--set", "n=50", "--set", "width=32", "--steps", "1000"]
    command = [sys.executable, "-m", "engine.cli"]
    root = Path(__file__).parents[2]
    ours, theirs = pty.openpty()  # on a terminal it says how far it is
    process = subprocess.Popen(
        [*command, *words, "--seeds", "48", "--out", str(cut)],
        cwd=root, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while not re.search(rb"step [1-9]", said):
        said += os.read(ours, 4096)
    os.killpg(process.pid, signal.SIGINT)
    while process.poll() is None:
        with contextlib.suppress(OSError):  # the terminal ends with the process
            said += os.read(ours, 4096)
    os.close(ours)
    assert process.stdout is not None
    process.stdout.close()
    assert process.returncode == 130, said.decode()
    assert b"Traceback" not in said
    assert main(["resume", str(cut), "--out", str(whole)]) == 0
    assert main(["replay", str(whole)]) == 0


def test_every_preset_is_judged_as_declared_in_one_line(capsys):
    status, out, _ = call(capsys, "verify", "generalisation/xor_clusters", "--json")
    got = json.loads(out)
    assert status == 0 and got["as_declared"]
    assert all({"measured", "expected", "spread", "declared"} <= set(c) for c in got["claims"])


# --- what a crash left ---


def test_what_a_crash_left_is_listed_saved_and_discarded(tmp_path, monkeypatch, capsys):
    place = tmp_path / "state"
    monkeypatch.setenv("LEMMASCOPE_STATE", str(place))
    assert "no crash has left anything" in call(capsys, "recover")[1]
    messages = loader.load(str(ROOT / "resources" / "sessions" / "matrix_sensing.lemma.h5")).runs[0]
    for process in ("1-a", "2-b"):
        where = place / "journals" / process / messages[0].run
        where.mkdir(parents=True)
        (where.parent / state.LOCK).touch()
        with journal.Writer(where / "0.journal") as w:
            for m in messages:
                w.append(m)
    listed = call(capsys, "recover")[1].splitlines()
    assert [line.split(",")[0] for line in listed] == [
        f"{i}  {messages[0].experiment}" for i in (1, 2)
    ]
    assert call(capsys, "recover", "1")[0] == 0
    assert len(call(capsys, "recover")[1].splitlines()) == 2
    out = tmp_path / "r.lemma.h5"
    assert call(capsys, "recover", "1", "--out", str(out))[0] == 0
    (run,) = loader.load(str(out)).runs
    assert run[0].experiment == messages[0].experiment
    assert "discarded" in call(capsys, "recover", "1", "--discard")[1]
    assert json.loads(call(capsys, "recover", "--json")[1]) == {"runs": []}
    assert list((place / "journals").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--out", "x.lemma.h5"], "--out needs the number"),
        (["1", "--out", "x", "--discard"], "either saved or discarded"),
        (["7"], "no run 7; a crash left none"),
        (["0"], "number = 0 is not a whole number in [1, 1000000]"),
    ],
)
def test_recover_says_what_it_cannot(words, why, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    status, _, err = call(capsys, "recover", *words)
    assert status == 2 and why in err and err.count("\n") == 1
