"""A session goes to its file and back as the same messages; plain h5py reads what the README says is there."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.messages import (
    Card,
    Changed,
    Checkpoint,
    ClaimCard,
    FormulaCard,
    Judged,
    MetricCard,
    Predicted,
    PresetCard,
    Refused,
    Rows,
    Status,
    ViewCard,
)
from engine.sessions.session import BadSession, Limits, build, quote, read, unquote
from engine.spec import Knob
from tests.engine.sessions.streams import plain_run, runs, same, texts

CARD = Card(
    "toy/quadratic", "Quadratic", "toy", "# A bowl", (Knob("lr", "real", 0.1, 0.01, 1.0, hot=True),),
    (MetricCard("loss", "Loss", "L", "scalar", "log", "", "", "linear", ()),), (),
    (ClaimCard("c", "t", "s", ("loss",), 0.1, 0.0, "==", 4, ()),),
    (PresetCard("stable", "t", {"lr": 0.1}, {"lr": [0.1]}, 5, {"c": "holds"}),),
    (ViewCard(("loss",), "Loss", "linear", ""),), (FormulaCard("x^2", "t", {"x": "lr"}),), (),
    {}, 5, "float32", 300,
)  # fmt: skip


def expected(messages):
    """What a file must give back, worked out step by step: an own model of joining and keeping the last."""
    started, changes, rows, last = messages[0], [], {}, {}
    for m in messages[1:]:
        match m:
            case Changed():
                changes.append(m)
            case Rows():
                kept = rows.setdefault((m.metric, m.first), {"like": m, "coords": None, "at": {}})
                kept["coords"] = m.coords if m.coords is not None else kept["coords"]
                for s, v in zip(m.steps.tolist(), m.values, strict=True):
                    kept["at"][s] = v
            case Predicted():
                last[("2 prediction", m.prediction, m.first)] = m
            case Judged():
                last[("3 verdict", m.claim)] = m
            case Checkpoint():
                last[("4 checkpoint", m.first, m.step)] = m
            case Status():
                last[("5 status",)] = m
    joined = []
    for kept in rows.values():
        like, steps = kept["like"], sorted(kept["at"])
        values = np.zeros((len(steps), *like.values.shape[1:]), like.values.dtype)
        for i, s in enumerate(steps):
            values[i] = kept["at"][s]
        steps = np.array(steps, np.int64)
        joined.append(dataclasses.replace(like, steps=steps, values=values, coords=kept["coords"]))
    return [started, *changes, *joined, *(last[k] for k in sorted(last, key=lambda k: k[0]))]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(runs(), max_size=2), texts, texts)
def test_arbitrary_runs_come_back(tmp_path_factory, streams, notes, layout):
    path = tmp_path_factory.mktemp("s") / "s.h5"
    build(path, streams, notes=notes, layout=layout)
    got = read(path)
    assert (got.notes, got.layout, got.notice) == (notes, layout, "")
    assert len(got.runs) == len(streams)
    for mine, theirs in zip(streams, got.runs, strict=True):
        want = expected(mine)
        assert len(theirs) == len(want)
        for a, b in zip(want, theirs, strict=True):
            assert same(a, b), f"{a}\n{b}"


@given(texts)
def test_names_as_path_components(name):
    part = quote(name)
    assert unquote(part) == name
    assert part and part != "." and "/" not in part and "\0" not in part


def test_cards_and_long_texts_come_back(tmp_path):
    long = "η" * 100_000
    run = [*plain_run(), Status("r1", "failed", 3, why=long)]
    build(tmp_path / "s.h5", [run], notes=long, layout="{}", cards={CARD.name: CARD})
    got = read(tmp_path / "s.h5")
    assert got.cards == {CARD.name: CARD}
    assert got.notes == long
    assert got.runs[0][-1].why == long


def test_the_order_of_a_checkpoints_arrays_is_kept(tmp_path):
    """Sums over parameters depend on it in the last bit, and with them a resumed run."""
    arrays = {"z": np.ones(2), "a/y": np.ones(2), "m": np.ones(2), "a/b": np.ones(2)}
    build(tmp_path / "s.h5", [[*plain_run(), Checkpoint("r1", 7, 0, arrays)]])
    got = next(m for m in read(tmp_path / "s.h5").runs[0] if getattr(m, "step", 0) == 7)
    assert list(got.arrays) == list(arrays)


def test_plain_h5py_reads_the_documented_layout(tmp_path):
    build(tmp_path / "s.h5", [plain_run()], notes="a note", layout="{}", cards={CARD.name: CARD})
    with h5py.File(tmp_path / "s.h5") as f:
        assert f.attrs["format"] == b"Lemmascope session"
        assert (f.attrs["major"], f.attrs["minor"]) == (1, 0)
        assert f.attrs["notes"] == b"a note"
        run = f["runs/1"]
        assert run.attrs["experiment"] == b"toy/quadratic"
        assert json.loads(run.attrs["values"]) == {"lr": 0.1, "width": 8, "act": "relu"}
        assert run["members/seed"][:].tolist() == [0, 1, 0, 1]
        assert run["metrics/loss/0/steps"][:].tolist() == list(range(21))
        assert run["metrics/loss/2/values"].shape == (21, 2)
        assert run["metrics/kernel/0/coords"].shape == (5,)
        np.testing.assert_allclose(
            run["predictions/bound/0/values"][:, 0], np.exp(-np.arange(21) / 7)
        )
        assert run["predictions/bound/0"].attrs["text"].decode() == "2/η = 20"
        assert run["verdicts/settles"].attrs["outcome"] == b"undecided"
        assert json.loads(run["changes/1"].attrs["value"]) == 0.05
        assert run["checkpoints/0/20/params/W"].shape == (2, 3, 4)
        assert run["status"].attrs["state"] == b"done"
        values = run["metrics/loss/0/values"]
        assert values.attrs["sha256"].decode() == hashlib.sha256(values[:].tobytes()).hexdigest()
        assert json.loads(f["cards/1"].attrs["card"])["cards"][0]["name"] == "toy/quadratic"


def test_nothing_in_a_session_has_variable_length_or_a_filter(tmp_path):
    build(tmp_path / "s.h5", [plain_run()], notes="n", cards={CARD.name: CARD})
    seen = 0
    with h5py.File(tmp_path / "s.h5") as f:

        def look(name, obj):
            nonlocal seen
            for key in obj.attrs:
                kind = obj.attrs.get_id(key).get_type()
                assert kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)
                assert kind.get_class() != h5py.h5t.STRING or not kind.is_variable_str()
                seen += 1
            if isinstance(obj, h5py.Dataset):
                made = obj.id.get_create_plist()
                assert made.get_layout() == h5py.h5d.CONTIGUOUS
                assert made.get_nfilters() == made.get_external_count() == 0

        f.visititems(look)
    assert seen > 80


def test_the_same_messages_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        build(tmp_path / name, [plain_run()], cards={CARD.name: CARD})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    build(tmp_path / "s.h5", [])
    with pytest.raises(FileExistsError):
        build(tmp_path / "s.h5", [])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda r: r[1:], "a run without its beginning"),
        (lambda r: [], "a run without its beginning"),
        (lambda r: [*r, r[0]], "run r1 begins twice"),
        (lambda r: [*r, Status("r2", "done", 3)], "Status of run r2 in run r1"),
        (lambda r: [*r, Refused("r1", "no")], "Refused of run r1 is a Refused, which is no part of a run"),
        (lambda r: [*r, Status("r1", "asleep", 3)], "Status of run r1 has state of the wrong type"),
        (lambda r: [*r, Status("r1", "done", 2**70)], f"step = {2**70} does not fit into 64 bits"),
        (
            lambda r: [*r, Rows("r1", "loss", 0, np.arange(2), np.ones((2, 3), np.float32))],
            "loss of run r1 has readings of float32 (3,) after float32 (2,)",
        ),
        (
            lambda r: [*r, Rows("r1", "new", 0, np.arange(2), np.ones((3, 3)))],
            "Rows of run r1 has readings of shape (3, 3) for 2 steps",
        ),
        (
            lambda r: [*r, Rows("r1", "new", 0, np.arange(2), np.ones((2, 3), np.complex128))],
            "Rows of run r1 has values of the wrong type",
        ),
        (
            lambda r: [*r, Checkpoint("r1", 1, 0, {"a/b": np.ones(1), "a": np.ones(1)})],
            "checkpoint: a names an array and a group",
        ),
        (
            lambda r: [*r, Checkpoint("r1", 1, 0, {"a": np.ones(1), "a/b": np.ones(1)})],
            "checkpoint: a/b and a part of it both name arrays",
        ),
    ],
)  # fmt: skip
def test_messages_that_are_no_run_are_refused(tmp_path, spoil, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (its whole sentence is compared)
        build(tmp_path / "s.h5", [spoil(plain_run())])
    assert str(caught.value) == sentence
    assert not (tmp_path / "s.h5").exists()


def test_versions(tmp_path):
    def written(major, minor):
        path = tmp_path / f"{major}.{minor}.h5"
        build(path, [plain_run()])
        with h5py.File(path, "a") as f:
            f.attrs["major"], f.attrs["minor"] = np.int64(major), np.int64(minor)
            f.attrs["lemmascope"] = np.bytes_("9.1")
            f["runs/1"].create_group("telemetry")
        return path

    newer = written(1, 7)
    before = newer.read_bytes()
    got = read(newer)
    assert len(got.runs[0]) == len(expected(plain_run()))
    assert got.version == (1, 7)
    assert got.notice == (
        "1.7.h5: written by Lemmascope 9.1 in format 1.7; "
        "left out what this one does not know: /runs/1/telemetry"
    )
    assert newer.read_bytes() == before
    with pytest.raises(BadSession) as caught:
        read(written(2, 0))
    assert str(caught.value) == (
        "2.0.h5: written by Lemmascope 9.1 in format 2.0; this Lemmascope reads formats up to 1.x"
    )


def test_limits_are_kept(tmp_path):
    build(tmp_path / "s.h5", [plain_run()])
    read(tmp_path / "s.h5")
    for limits, word in (
        (Limits(file=1000), "a session has at most 1000"),
        (Limits(total=1000), "more than the file can hold"),
        (Limits(objects=10), "10 objects are allowed"),
        (Limits(depth=3), "3 levels are allowed"),
        (Limits(name=6), "6 are allowed"),
        (Limits(attributes=3), "3 are allowed"),
        (Limits(text=20), "20 are allowed"),
        (Limits(rank=2), "2 are allowed"),
    ):
        with pytest.raises(BadSession, match=word):
            read(tmp_path / "s.h5", limits)


def test_importing_the_package_loads_neither_h5py_nor_torch_nor_qt():
    code = (
        "import sys, engine.sessions.session; "
        "print(sorted(sys.modules.keys() & {'h5py', 'torch', 'PySide6', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
