"""The state folder: journals of living and dead processes, and the lock that tells them apart."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from engine.messages import Changed, Checkpoint, Rows, Started, Status
from engine.running.runs import replayed
from engine.sessions import disk, journal, saver, session, state
from engine.sessions.lock import Held, Lock, beside, is_free
from tests.engine.sessions.streams import plain_run, same


def dead(root, run, parts, process="1-dead"):
    """What a process left: `parts` are journals' names and messages."""
    where = root / "journals" / process / run
    where.mkdir(parents=True)
    (where.parent / state.LOCK).touch()
    for name, messages in parts.items():
        with journal.Writer(where / f"{name}.journal") as w:
            for m in messages:
                w.append(m)
    return where


def test_one_journal_is_one_run_again_and_can_be_saved(tmp_path):
    begun, *more = plain_run("a")
    run = [begun, *sorted(more, key=lambda m: not isinstance(m, Changed))]  # as a worker says them
    parts = {  # begun twice: a job that went on
        str(f): [run[0], run[0], *(m for m in run[1:] if getattr(m, "first", f) == f)]
        for f in run[0].stacks
    }
    parts["2"][-1] = replace(parts["2"][-1], tiers={})  # a stack's are summed up
    where = dead(tmp_path, "a", parts)
    got = state.recover(where)
    assert isinstance(got[0], Started) and sum(isinstance(m, Started) for m in got) == 1
    saver.save(tmp_path / "s.h5", [replayed(got, "a").messages()])
    session.build(tmp_path / "t.h5", [replayed(run, "a").messages()])
    (mine,), (theirs,) = (session.read(tmp_path / n).runs for n in ("s.h5", "t.h5"))
    kinds = [type(m) for m in theirs]
    assert [type(m) for m in mine] == kinds and Checkpoint in kinds and Rows in kinds
    for a, b in zip(mine, theirs, strict=True):
        assert same(a, b), (a, b)
    state.discard(where)
    assert os.listdir(tmp_path / "journals") == []


def started(stacks):
    (begun, *_) = plain_run("a")
    members = {"seed": np.arange(2 * len(stacks))}
    return Started(**{**vars(begun), "stacks": stacks, "members": members})


def rows(first, steps):
    steps = np.asarray(steps)
    return Rows("a", "loss", first, steps, np.tile(steps[:, None], (1, 2)).astype(float))


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((None, None), None),
        (("done", None), None),
        (("done", "paused"), None),
        (("done", "done"), "done"),
        (("done", "failed"), "failed"),
        (("stopped", "done"), "stopped"),
    ],
)
def test_stacks_come_together_and_the_run_has_ended_when_all_have(tmp_path, ends, expected):
    begun = started((0, 2))
    change = Changed("a", 3, "lr", 0.5)
    parts = {
        str(first): [
            begun,
            change,
            rows(first, [0, 1, 2]),
            Checkpoint("a", 2, first, {"params/W": np.ones((2, 3))}),
            *([Status("a", end, 2)] if end else []),
        ]
        for first, end in zip((0, 2), ends, strict=True)
    }
    where = dead(tmp_path, "a", parts | {state.PAST: [begun, rows(0, [0]), Status("a", "done", 9)]})
    got = state.recover(where)
    assert sum(isinstance(m, Changed) for m in got) == 1
    run = replayed(got, "b")
    assert run.status.state == (expected or "paused")
    for first in (0, 2):
        (r,) = [r for r in run.trace_rows() if r.first == first]
        assert r.steps.tolist() == [0, 1, 2]
        assert run.checkpoints[(first, 2)]["params/W"].shape == (2, 3)


def test_orphans_are_listed_latest_first_and_only_the_dead(tmp_path):
    for i, name in enumerate("abc"):
        where = dead(tmp_path, name, {"0": plain_run(name, steps=10 * (i + 1))}, f"{i}-x")
        os.utime(where / "0.journal", (1000 + i, 1000 + i))
    alive = state.Journals(tmp_path)
    with journal.Writer(state.stack_journal(alive.of("d"), 0)) as w:
        for m in plain_run("d"):
            w.append(m)
    dead(tmp_path, "nothing", {"0": []}, "7-x")  # not even which run
    (tmp_path / "journals" / "notes.txt").write_text("x")
    found = state.orphans(tmp_path)
    assert [(os.path.basename(o.path), o.steps, o.last) for o in found] == [
        ("c", 30, 1002), ("b", 20, 1001), ("a", 10, 1000),
    ]  # fmt: skip
    assert not (tmp_path / "journals" / "7-x").exists()
    assert all(o.preview.shape[1] <= state.POINTS for o in found)
    alive.close(discard_all=False)
    assert len(state.orphans(tmp_path)) == 4


def test_a_run_whose_worker_still_writes_is_not_offered_yet(tmp_path):
    where = dead(tmp_path, "a", {"0": plain_run("a")})
    with journal.Writer(where / "0.journal"):
        assert state.orphans(tmp_path) == []
    assert len(state.orphans(tmp_path)) == 1


def test_a_folder_that_is_about_to_get_its_lock_is_left_alone(tmp_path):
    where = dead(tmp_path, "a", {"0": plain_run("a")})
    (where.parent / state.LOCK).unlink()
    assert state.orphans(tmp_path) == []
    os.utime(where.parent, (time.time() - 2 * state.FRESH,) * 2)
    assert len(state.orphans(tmp_path)) == 1


def test_forgetting_a_run_leaves_the_others(tmp_path):
    mine = state.Journals(tmp_path)
    for name in "ab":
        mine.remember(name, plain_run(name))
    mine.forget("a")
    mine.forget("never")
    assert sorted(p.name for p in mine.own.iterdir()) == ["b", "lock"]
    mine.close(discard_all=True)
    assert os.listdir(tmp_path / "journals") == []


def test_a_past_that_cannot_be_written_again_leaves_the_one_before(tmp_path, monkeypatch):
    """It may be all that there is of the run."""
    mine = state.Journals(tmp_path)
    mine.remember("a", plain_run("a"))
    before = state.recover(mine.of("a"))
    append = journal.Writer.append

    def full(self, message, blob=None):
        if isinstance(message, Rows):
            raise journal.JournalFull("the disk is full")
        append(self, message, blob)

    with monkeypatch.context() as m:
        m.setattr(journal.Writer, "append", full)
        with pytest.raises(journal.JournalFull):
            mine.remember("a", plain_run("a"))
    assert len(os.listdir(mine.of("a"))) == 1
    assert same(state.recover(mine.of("a")), before)
    mine.remember("a", plain_run("a"))
    assert len(os.listdir(mine.of("a"))) == 1
    assert same(state.recover(mine.of("a")), before)
    mine.close(discard_all=True)


def test_what_is_removed_elsewhere_is_durable_here_first(tmp_path, monkeypatch):
    """A power cut must not take the new folder's name when the old one's files are gone."""
    mine = state.Journals(tmp_path)
    synced = []
    real = disk.sync_folder
    monkeypatch.setattr(disk, "sync_folder", lambda folder: (synced.append(folder), real(folder)))
    mine.remember("a", plain_run("a"))
    assert {str(mine.own / "a"), str(mine.own), str(mine.root)} <= set(map(str, synced))
    mine.close(discard_all=True)


def test_a_lock_names_its_holder_and_a_killed_holder_has_none(tmp_path):
    path = tmp_path / "lock"
    program = "import sys, time; from engine.sessions.lock import Lock; l = Lock(sys.argv[1]); print('has', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "has\n"
        began = time.monotonic()
        with pytest.raises(Held) as caught:
            Lock(path)
        assert time.monotonic() - began < 1
        assert caught.value.who == f"process {process.pid} on {os.uname().nodename}"
        assert not is_free(str(path))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    mine = Lock(path)
    with pytest.raises(Held, match=f"process {os.getpid()} on"):
        Lock(path)
    mine.release()
    mine.release()
    assert not path.exists()


def test_a_lock_lies_beside_the_file_that_a_link_means(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "s.lemma.h5").touch()
    (tmp_path / "s.lemma.h5").symlink_to(tmp_path / "far" / "s.lemma.h5")
    assert beside(str(tmp_path / "s.lemma.h5")) == str(tmp_path / "far" / ".s.lemma.h5.lock")


def test_a_lock_file_that_lies_about_its_holder_is_plain_words(tmp_path):
    path = tmp_path / "lock"
    mine = Lock(path)
    for text in ("", "[1]", '{"host": "a\\u202eb\\n", "pid": "x"}', "{" * 2000):
        path.write_text(text)
        with pytest.raises(Held, match=r"^process \? on [ab?]+$"):
            Lock(path)
    mine.release()


def changes_of(where):
    return [m.value for m in state.recover(where) if isinstance(m, Changed)]


def test_a_knob_that_went_there_and_back_is_where_it_was_left(tmp_path):
    """A job's journal begins with the changes that its run knows: said again they are the same ones."""
    begun = started((0, 2))
    there, back = Changed("a", 3, "lr", 0.1), Changed("a", 3, "lr", 0.2)
    other = Changed("a", 3, "lr", 0.7, 2)
    known = [there, back, there]
    later = Changed("a", 5, "lr", 0.4)
    where = dead(
        tmp_path,
        "a",
        {
            state.PAST: [begun, there, back, other],
            "0": [begun, *known, begun, *known, later, begun, there],  # the last was cut short
            "2": [begun, other],
        },
    )
    run = replayed(state.recover(where), "b")
    assert [c.value for c in run.changes if c.first == 0] == [0.1, 0.4]
    assert [c.value for c in run.changes if c.first == 2] == [0.7]


def test_knobs_dragged_while_a_run_was_paused_cost_nothing_that_was_measured_since(tmp_path):
    """The next job says again what the run knows: one value for a knob and a step."""
    begun = started((0,))
    run = replayed([begun], "a")
    drag = [Changed("a", 3, k, v) for k, v in (("lr", 0.1), ("mu", 0.5), ("lr", 0.2), ("mu", 0.9))]
    for c in drag:
        run.change(c)
    first = [begun, rows(0, [0, 1, 2, 3]), *drag, rows(0, [4, 5, 6, 7])]
    again = [begun, *run.changes, rows(0, [8, 9])]
    where = dead(tmp_path, "a", {"0": first + again + again[:2]})  # the last was cut short
    found = replayed(state.recover(where), "b")
    assert [(c.knob, c.value) for c in found.changes] == [("lr", 0.2), ("mu", 0.9)]
    (read,) = found.trace_rows()
    assert read.steps.tolist() == list(range(10))


def test_a_knob_set_after_a_crash_makes_what_was_behind_it_another_course(tmp_path):
    begun = started((0, 2))
    old, new = Changed("a", 7, "lr", 0.1), Changed("a", 4, "lr", 0.2)
    state_at = lambda step, first=0: Checkpoint("a", step, first, {"params/W": np.ones((2, 3))})
    where = dead(
        tmp_path,
        "a",
        {
            state.PAST: [begun, rows(0, [0, 1])],
            "0": [
                begun, rows(0, [2, 3, 4, 5]), state_at(4), rows(0, [6, 7]), old, rows(0, [8, 9]),
                state_at(8), begun, old, new, rows(0, [5]), begun, new,
            ],
            "2": [begun, rows(2, [0, 1, 2, 3, 4, 5, 6, 7, 8]), state_at(8, 2)],
        },
    )  # fmt: skip
    run = replayed(state.recover(where), "b")
    steps = {r.first: r.steps.tolist() for r in run.trace_rows()}
    assert steps == {0: [0, 1, 2, 3, 4, 5], 2: list(range(9))}
    assert [c.value for c in run.changes] == [0.2]
    assert sorted(run.checkpoints) == [(0, 4), (2, 8)] and run.stacks[0].step == 4


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_an_end_from_which_it_went_on_is_none(tmp_path, end):
    begun = started((0,))
    went_on = [begun, rows(0, [0, 1]), Status("a", end, 1, "thrown"), begun, rows(0, [2])]
    run = replayed(state.recover(dead(tmp_path, "a", {"0": went_on})), "b")
    assert run.status.state == "paused" and run.status.why == ""


def test_the_end_of_several_stacks_is_the_end_of_all_of_them(tmp_path):
    begun = started((0, 2))
    parts = {
        "0": [begun, Status("a", "failed", 300, "no memory", tiers={"plain": 300})],
        "2": [begun, Status("a", "stopped", 50, "diverged", tiers={"plain": 40, "recorded": 10})],
    }
    status = state.recover(dead(tmp_path, "a", parts))[-1]
    assert (status.state, status.step) == ("failed", 50)
    assert status.why == "no memory; diverged"
    assert status.tiers == {"plain": 340, "recorded": 10}


def test_what_cannot_be_read_here_is_left_where_it_is(tmp_path):
    """A newer version's journals are not an older one's to remove."""
    where = dead(tmp_path, "a", {"0": []})
    with journal.Writer(where / "0.journal") as w:
        w._put(b"m", b"a message of years to come")
    assert state.orphans(tmp_path) == []
    assert (where / "0.journal").exists()


def test_a_run_that_cannot_be_looked_at_hides_no_other(tmp_path, monkeypatch):
    for name in "abc":
        dead(tmp_path, name, {"0": plain_run(name)})
    true = journal.recover

    def recover(path):
        if os.sep + "b" + os.sep in os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return true(path)

    monkeypatch.setattr(journal, "recover", recover)
    assert sorted(os.path.basename(o.path) for o in state.orphans(tmp_path)) == ["a", "c"]


def test_a_folder_that_another_sweeps_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    true, swept = state.Lock, []

    def lock(path):
        if not swept:
            swept.append(path)
            state.orphans(tmp_path)  # another instance starts just now
            path.touch()
            state.orphans(tmp_path)
            assert not path.parent.exists() or not path.exists()
        return true(path)

    monkeypatch.setattr(state, "Lock", lock)
    mine = state.Journals(tmp_path)
    assert os.path.isdir(mine.of("a")) and not is_free(str(mine.own / state.LOCK))
    mine.close(discard_all=True)
    assert os.listdir(tmp_path / "journals") == []
