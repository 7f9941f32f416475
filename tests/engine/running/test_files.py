"""The service and files: who has a session open, what is replaced, what a disk refuses while a run goes on."""

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.client import Client, Failed
from engine.encoding import decode
from engine.messages import Changed, Job, Open, Opened, Refused, Rows, Save, Saved, Start
from engine.running.keeping import Keeper
from engine.running.training import Training, started
from engine.running.worker import Unheard
from engine.sessions import disk, journal, loader, saver, state
from tests.engine.sessions.streams import plain_run, same

NAME = "generalisation/xor_clusters"
LONG = "in_context/linear_attention"
BUSY = 1.0  # seconds that a loaded machine may add
SMALL = {"d": 200, "n": 50, "width": 32, "steps": 400}

HOLDER = """
import asyncio, sys
from engine.client import Client
async def main():
    async with Client(workers=1) as client:
        await client.open(sys.argv[1])
        print("has", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def fill(ballast):
    """A file as large as the disk has room."""
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as f:
        while f.write(bytes(1 << 12)):
            pass


def drive(work):
    async def main():
        async with Client(1) as client:
            client.said = []
            client.listeners.append(client.said.append)
            return await asyncio.wait_for(work(client), 90)

    return asyncio.run(main())


def test_a_session_that_another_has_open_is_shown_and_not_saved_over(tmp_path):
    path = str(tmp_path / "s.lemma.h5")
    saver.save(path, [plain_run()])
    before = Path(path).read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True
    )

    async def work(client):
        who = f"process {process.pid} on {os.uname().nodename}"
        opened = await client.ask(Open(path), lambda m: isinstance(m, Opened))
        assert opened.runs and opened.held == who
        began = time.monotonic()
        with pytest.raises(Failed, match=f"s.lemma.h5 was not saved: {who} has it open"):
            await client.save(path, [client.service.runs[opened.runs[0]]])
        assert time.monotonic() - began < 1
        assert Path(path).read_bytes() == before
        process.kill()
        process.wait()
        await client.save(path, [client.service.runs[opened.runs[0]]])  # a dead holder has nothing
        assert sorted(os.listdir(tmp_path)) == [".s.lemma.h5.lock", "s.lemma.h5", "s.lemma.h5.bak"]

    try:
        assert process.stdout.readline() == "has\n"
        drive(work)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert sorted(os.listdir(tmp_path)) == ["s.lemma.h5", "s.lemma.h5.bak"]


def test_a_file_that_is_no_session_is_replaced_when_that_was_said(tmp_path):
    path = tmp_path / "s.lemma.h5"
    path.write_text("a poem")

    async def work(client):
        run = await client.begin(experiment=NAME, values=SMALL, seeds=1, paused=True)
        with pytest.raises(Failed, match="no Lemmascope session"):
            await client.save(str(path), [run])
        saved = await client.ask(
            Save(str(path), (run.id,), overwrite=True), lambda m: isinstance(m, Saved)
        )
        assert saved.why == ""

    drive(work)
    assert loader.load(path).runs


def test_whatever_goes_wrong_a_save_is_answered(tmp_path, monkeypatch):
    def broken(*args, **named):
        raise ZeroDivisionError("thrown")

    monkeypatch.setattr(saver, "save", broken)

    async def work(client):
        run = await client.begin(experiment=NAME, values=SMALL, seeds=1, paused=True)
        with pytest.raises(Failed, match=r"s\.h5 was not saved: ZeroDivisionError: thrown"):
            await client.save(str(tmp_path / "s.h5"), [run])

    drive(work)


def test_what_a_newer_version_added_is_said(tmp_path, monkeypatch):
    path = str(tmp_path / "s.lemma.h5")
    saver.save(path, [plain_run()])
    true = loader.load

    def load(where):
        session = true(where)
        return type(session)(**{**vars(session), "notice": "it has more than this version knows"})

    monkeypatch.setattr(loader, "load", load)

    async def work(client):
        opened = await client.ask(Open(path), lambda m: isinstance(m, Opened))
        assert opened.notice == "it has more than this version knows"

    drive(work)


def test_once_it_is_saved_a_run_has_no_journal_and_going_on_gives_it_one_with_its_past(tmp_path):
    async def work(client):
        run = await client.begin(experiment=NAME, values=SMALL, seeds=1, paused=True)
        await client.control(run, "step", steps=100)
        await client.wait(lambda m: getattr(m, "state", "") == "paused" and m.step == 100)
        await asyncio.sleep(0.1)
        place = client.service.files.journals.own / run.id
        assert (place / "0.journal").exists()
        await client.save(str(tmp_path / "s.lemma.h5"), [run])
        assert not place.exists()
        await client.control(run, "step", steps=100)
        await client.wait(lambda m: getattr(m, "state", "") == "paused" and m.step == 200)
        while not (place / "past.journal").exists() or journal.is_held(str(place / "past.journal")):
            await asyncio.sleep(0.02)
        kept = [(m.metric, s) for m in state.recover(place) if isinstance(m, Rows) for s in m.steps]
        shown = {(r.metric, s) for r in run.trace_rows() for s in r.steps}
        assert set(kept) == shown and max(s for _, s in shown) > 150

    drive(work)


def test_where_nothing_can_be_kept_a_run_goes_on_and_that_is_said_once(tmp_path, monkeypatch):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("LEMMASCOPE_STATE", str(blocked))

    async def work(client):
        for _ in range(2):
            run = await client.begin(experiment=NAME, values=SMALL, seeds=1)
            assert (await client.finish(run)).state == "done"
        (refused,) = [m for m in client.said if isinstance(m, Refused)]
        assert "cannot be written" in refused.why and "not safe from a crash" in refused.why

    drive(work)


def test_a_run_on_a_disk_that_is_full_goes_on_and_says_so_at_once(small_disk, monkeypatch):
    folder, _ = small_disk
    monkeypatch.setenv("LEMMASCOPE_STATE", str(folder))

    async def work(client):
        run = await client.begin(experiment=LONG, seeds=8)
        await client.wait(lambda m: isinstance(m, Rows))
        fill(folder / "ballast")
        began = time.monotonic()
        refused = await client.wait(lambda m: isinstance(m, Refused))
        assert time.monotonic() - began < 1 + BUSY
        assert "the disk is full" in refused.why and "The run goes on" in refused.why
        assert (await client.finish(run)).state == "done"
        assert len([m for m in client.said if isinstance(m, Refused)]) == 1
        (place,) = (folder / "journals").glob(f"*/{run.id}")
        found = [m for m in state.recover(place) if isinstance(m, Rows)]
        shown = {(r.metric, s): v for r in run.trace_rows() for s, v in pairs(r)}
        assert found and all(shown[(m.metric, s)] == v for m in found for s, v in pairs(m))

    drive(work)


def pairs(rows):
    return zip(rows.steps.tolist(), rows.values.tolist(), strict=True)


def test_a_disk_that_became_read_only_is_said_once(tmp_path, monkeypatch):
    told = []
    keeper = Keeper(str(tmp_path / "r.journal"), told.append)
    messages = plain_run()
    keeper.keep(messages[0])

    def denied(*args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(disk, "write_at", denied)
    for m in messages[1:]:
        assert decode(keeper.keep(m))  # it is sent all the same
        keeper.tick()
    keeper.close()
    assert len(told) == 1 and "cannot be written (Read-only file system)" in told[0]


def test_what_a_full_disk_did_not_take_is_there_once_there_is_room(small_disk, monkeypatch):
    folder, _ = small_disk
    path, told = folder / "r.journal", []
    monkeypatch.setattr("engine.running.keeping.AGAIN", 0.0)
    keeper = Keeper(str(path), told.append)
    messages = plain_run()
    keeper.keep(messages[0])
    ballast = folder / "ballast"
    fill(ballast)
    for m in messages[1:]:
        keeper.keep(m)
        keeper.tick()
    assert len(told) == 1 and "the disk is full" in told[0]
    ballast.unlink()
    keeper.tick()
    keeper.close()
    assert all(map(same, journal.recover(path), messages))
    assert len(told) == 1


def test_what_waits_for_a_full_disk_is_bounded(tmp_path, monkeypatch):
    keeper = Keeper(str(tmp_path / "r.journal"), lambda why: None)
    monkeypatch.setattr("engine.running.keeping.ROOM", 10_000)
    monkeypatch.setattr(keeper, "_append", lambda m, blob: "r.journal: the disk is full")
    for m in plain_run(steps=200)[1:-1] * 20:  # its beginning and its end are never dropped
        keeper.keep(m)
        assert keeper.size <= 10_000
    assert keeper.size == sum(len(b) for _, b in keeper.waiting)


def test_a_run_that_goes_on_while_its_saved_journal_is_removed_keeps_the_new_one(
    tmp_path, monkeypatch
):
    true, begun, go = state.discard, threading.Event(), threading.Event()

    def slow(where):
        begun.set()
        assert go.wait(30)
        true(where)

    async def work(client):
        run = await client.begin(experiment=NAME, values=SMALL, seeds=1, paused=True)
        await client.control(run, "step", steps=100)
        await client.wait(lambda m: getattr(m, "state", "") == "paused" and m.step == 100)
        monkeypatch.setattr(state, "discard", slow)
        saving = asyncio.ensure_future(client.save(str(tmp_path / "s.lemma.h5"), [run]))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        await client.control(run, "step", steps=100)
        await client.wait(lambda m: getattr(m, "state", "") == "paused" and m.step == 200)
        go.set()
        await saving
        await asyncio.sleep(0.2)
        place = client.service.files.journals.own / run.id
        kept = {(m.metric, s) for m in state.recover(place) if isinstance(m, Rows) for s in m.steps}
        assert kept == {(r.metric, s) for r in run.trace_rows() for s in r.steps}

    drive(work)


def test_a_disk_that_was_full_for_a_moment_is_tried_again_with_the_next_run(monkeypatch):
    true, full = state.Journals.of, [True]

    def of(self, run):
        if full.pop() if full else False:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return true(self, run)

    monkeypatch.setattr(state.Journals, "of", of)

    async def work(client):
        for _ in range(2):
            run = await client.begin(experiment=NAME, values=SMALL, seeds=1)
            assert (await client.finish(run)).state == "done"
        (refused,) = [m for m in client.said if isinstance(m, Refused)]
        assert "cannot be written (No space left on device)" in refused.why
        assert (client.service.files.journals.own / run.id / "0.journal").exists()

    drive(work)


def test_whatever_goes_wrong_who_opens_is_answered(tmp_path, monkeypatch):
    def broken(path):
        raise ZeroDivisionError("thrown")

    monkeypatch.setattr(loader, "load", broken)

    async def work(client):
        with pytest.raises(Failed, match=r"s\.h5 was not opened: ZeroDivisionError: thrown"):
            await asyncio.wait_for(client.open(str(tmp_path / "s.h5")), 20)

    drive(work)


def test_two_saves_at_once_are_one_after_the_other(tmp_path):
    async def work(client):
        run = await client.begin(experiment=NAME, values=SMALL, seeds=1, paused=True)
        saves = (client.save(str(tmp_path / "s.h5"), [run], notes) for notes in "ab")
        await asyncio.gather(*saves)

    drive(work)
    assert loader.load(tmp_path / "s.h5").notes == "b"


def test_what_waits_for_a_full_disk_never_loses_a_change(tmp_path, monkeypatch):
    keeper = Keeper(str(tmp_path / "r.journal"), lambda why: None)
    monkeypatch.setattr("engine.running.keeping.ROOM", 10_000)
    with monkeypatch.context() as full:
        full.setattr(keeper, "_append", lambda m, blob: "r.journal: the disk is full")
        stream = plain_run(steps=200)
        keeper.keep(stream[0])
        keeper.keep(Changed("r", 3, "lr", 0.5))
        for m in stream[1:] * 20:
            keeper.keep(m)
    keeper.close()
    found = journal.recover(tmp_path / "r.journal")
    assert isinstance(found[0], type(stream[0]))
    assert Changed("r", 3, "lr", 0.5) in found


def test_what_was_read_when_nobody_listens_any_more_is_kept_for_every_reading(tmp_path):
    def unheard(blob):
        raise Unheard

    start = Start("r", NAME, SMALL, {}, 1)
    job = Job("r", start, 0, 0, -1, {}, (), started(start), str(tmp_path))
    training = Training(job, lambda blob: None, lambda why: None)
    while len(training.rows) < 2:
        training.advance()
    read = {name: [s for s, _ in rows] for name, rows in training.rows.items()}
    training.say = unheard
    with pytest.raises(Unheard):
        training.flush(time.perf_counter())
    training.close()
    found = [m for m in journal.recover(tmp_path / "0.journal") if isinstance(m, Rows)]
    for name, steps in read.items():
        assert set(steps) <= {s for m in found if m.metric == name for s in m.steps.tolist()}
