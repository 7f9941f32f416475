"""The service and files: who has a session open, what is replaced, what a disk refuses while a run goes on."""

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.client import Client, Failed
from engine.encoding import decode
from engine.messages import Open, Opened, Refused, Rows, Save, Saved
from engine.running.keeping import Keeper
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
    for m in plain_run(steps=200) * 20:
        keeper.keep(m)
        assert keeper.size <= 10_000
    assert keeper.size == sum(len(b) for _, b in keeper.waiting)
