"""Every point at which a kill or a power cut can strike a journal, a save, and the two together (R8, R9).

A session file is compared whole: at each point it is the old one or the new one, bit for bit, and nothing else.
"""

import contextlib
import itertools
from collections import Counter

import numpy as np
import pytest

from engine.encoding import encode
from engine.messages import Checkpoint, Rows, Status
from engine.sessions import disk, journal, saver
from tests.reliability.disks import Memory, cut_off, fail, killed, standing_in

TARGET, TEMP = "/home/s.h5", "/home/.s.h5.1.tmp"
OLD, NEW = b"old" * 3000, b"new session" * 4000
JOURNAL = "/state/r.journal"


def chunked(size):
    """write_all in pieces, as a kernel may take them: more points to strike at."""

    def write_all(fd, data):
        for at in range(0, len(data), size):
            disk.os.write(fd, data[at : at + size])

    return write_all


@pytest.fixture(autouse=True)
def pieces(monkeypatch):
    monkeypatch.setattr(disk, "write_all", chunked(1500))


def saved(start, trouble=None, blob=NEW):
    with standing_in(Memory(start, trouble)) as m:
        try:
            saver.commit(TARGET, TEMP, blob, lambda path: None)
        except saver.SaveFailed as e:
            return m, str(e)
    return m, ""


STARTS = {
    "none": {"/home/other": b"x"},
    "one": {"/home/other": b"x", TARGET: OLD},
    "with a backup": {"/home/other": b"x", TARGET: OLD, TARGET + ".bak": b"older"},
    "after a failed save": {"/home/other": b"x", TARGET: OLD, TARGET + ".bak": OLD},
}


def crashes(memory, times):
    return itertools.chain(killed(memory), cut_off(memory, times, seed=7))


def third_states(start, memory, times=40):
    """(states looked at, those in which the session or the file beside it is neither old nor new)."""
    count, bad = 0, 0
    allowed = {start.get(TARGET), NEW}
    for done, files in crashes(memory, times):
        count += 1
        late = done == len(memory.log)  # save has returned: the new one must be there
        backup = files.get(TARGET + ".bak")
        bad += (
            files.get(TARGET) not in ({NEW} if late else allowed)
            or backup not in {start.get(TARGET + ".bak"), start.get(TARGET)}
            or files.get("/home/other") != b"x"
        )
    return count, bad


@pytest.mark.parametrize("name", STARTS)
def test_a_save_is_all_or_nothing_at_every_point(name):
    start = STARTS[name]
    memory, why = saved(start)
    assert why == ""
    assert memory.now.files() == start | {TARGET: NEW} | (
        {TARGET + ".bak": OLD} if TARGET in start else {}
    )
    count, bad = third_states(start, memory)
    assert count >= 1000
    assert bad == 0


@pytest.mark.parametrize("without", ["sync", "sync_folder", "replace", "keep_previous"])
def test_the_enumeration_finds_a_save_that_is_not_safe(monkeypatch, without):
    """The harness itself: take one safeguard away and third states appear."""

    def in_place(path, target):
        disk.os.unlink(target)
        disk.write_new(target, NEW)

    def moved(path, backup, aside):
        disk.os.replace(path, backup)

    weaker = {
        "sync": lambda fd: None,
        "sync_folder": lambda folder: None,
        "replace": in_place,
        "keep_previous": moved,
    }
    monkeypatch.setattr(disk, without, weaker[without])
    start = STARTS["one"]
    memory, _ = saved(start)
    _, bad = third_states(start, memory)
    assert bad > 10


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("error", [28, 5, 30, 13])  # ENOSPC, EIO, EROFS, EACCES
def test_a_save_fails_cleanly_at_every_operation(name, error):
    start = STARTS[name]
    undisturbed, _ = saved(start)
    sentences = Counter()
    for n in range(len(undisturbed.calls)):
        memory, why = saved(start, lambda i, what, n=n: fail(error) if i == n else None)
        files = memory.now.files()
        assert why.startswith("s.h5 was not saved: ") or why.startswith(
            "s.h5 is saved, but the disk"
        )
        sentences[why] += 1
        new = why.startswith("s.h5 is saved")
        assert files.get(TARGET) == (NEW if new else start.get(TARGET)), (n, undisturbed.calls[n])
        assert files.keys() <= {"/home/other", TARGET, TARGET + ".bak"}, undisturbed.calls[n]
        assert not memory.open_files
    word = {28: "the disk is full", 5: "the disk reports an error", 30: "the disk is read-only",
            13: "you may not write there"}[error]  # fmt: skip
    assert set(sentences) == {
        f"s.h5 was not saved: {word}",
        f"s.h5 is saved, but the disk does not confirm that it would survive a power cut ({word})",
    }


def test_a_disk_that_fails_for_good_leaves_the_session_as_it_was():
    """From some operation on everything fails, clearing up too."""
    start = STARTS["one"]
    undisturbed, _ = saved(start)
    for n in range(len(undisturbed.calls) - 1):
        memory, why = saved(start, lambda i, what, n=n: fail(5) if i >= n else None)
        assert why == "s.h5 was not saved: the disk reports an error"
        assert memory.now.files()[TARGET] == OLD


def test_a_file_system_without_links_keeps_the_backup_by_copying():
    start = STARTS["with a backup"]
    no_links = lambda i, what: fail(95) if what == "link" else None
    memory, why = saved(start, no_links)
    assert why == ""
    assert memory.now.files() == start | {TARGET: NEW, TARGET + ".bak": OLD}
    count, bad = third_states(start, memory)
    assert count >= 1000
    assert bad == 0


# --- the journal ---

ROWS = [
    Rows("r", "loss", 0, np.arange(4 * i, 4 * i + 4), np.full((4, 30), float(i))) for i in range(30)
]
BIG = Checkpoint("r", 9, 0, {"params/W": np.arange(800.0).reshape(2, 400)})
MESSAGES = [*ROWS[:12], BIG, *ROWS[12:22], Status("r", "paused", 88), *ROWS[22:]]


def journalled(monkeypatch):
    """A journal of some messages, synced after every fifth; `appended[i]`, `synced[i]`: the log's length then."""
    monkeypatch.setattr(journal, "LARGE", 5000)
    appended, synced = [], {}
    with standing_in(Memory({"/state/x": b""})) as m:
        w = journal.Writer(JOURNAL)
        for i, message in enumerate(MESSAGES):
            w.append(message)
            appended.append(len(m.log))
            if i % 5 == 4:
                w.sync()
                synced[i] = len(m.log)
        w.close()
        synced[len(MESSAGES) - 1] = len(m.log)
    return m, appended, synced


def recovered(files):
    """Indices of MESSAGES that a crashed disk's journal gives back; -1 for what was never written."""
    if JOURNAL not in files:
        return []
    with standing_in(Memory(files)):
        got = [encode(m) for m in journal.recover(JOURNAL)]
    known = {encode(m): i for i, m in enumerate(MESSAGES)}
    return [known.get(blob, -1) for blob in got]


def test_a_killed_process_loses_nothing_that_was_appended(monkeypatch):
    memory, appended, _ = journalled(monkeypatch)
    count = 0
    for done, files in killed(memory, 40):
        count += 1
        assert recovered(files) == list(range(sum(a <= done for a in appended)))
    assert count >= 1000


def test_a_power_cut_loses_nothing_that_was_synced(monkeypatch):
    memory, appended, synced = journalled(monkeypatch)
    count, less = 0, 0
    for done, files in cut_off(memory, 25, seed=3):
        count += 1
        got = recovered(files)
        assert got == sorted(set(got))
        assert -1 not in got
        safe = max((i + 1 for i, at in synced.items() if at <= done), default=0)
        assert set(range(safe)) <= set(got)
        # the last may have been on its way: written whole and not yet acknowledged
        assert len(got) <= sum(a <= done for a in appended) + 1
        less += len(got) < sum(a <= done for a in appended)
    assert count >= 1000
    assert less > 200  # unsynced records did get lost: the cuts were real


def test_the_enumeration_finds_a_journal_that_is_not_safe(monkeypatch):
    """Without its syncs synced records get lost; without checksums wrong ones come back."""
    memory, _, synced = journalled(monkeypatch)
    memory.log = [op if op[0] != "sync" else ("sync", -9) for op in memory.log]
    lost = 0
    for done, files in cut_off(memory, 6, seed=3):
        safe = max((i + 1 for i, at in synced.items() if at <= done), default=0)
        lost += not set(range(safe)) <= set(recovered(files))
    assert lost > 100
    memory, _, synced = journalled(monkeypatch)
    monkeypatch.setattr(journal.zlib, "crc32", lambda data, value=0: 0)
    memory, _, synced = journalled(monkeypatch)
    assert any(-1 in recovered(files) for _, files in cut_off(memory, 6, seed=3))


@pytest.mark.parametrize("error", [28, 5])
def test_a_journal_fails_cleanly_at_every_operation(monkeypatch, error):
    """One operation fails: what was appended before stays, and after it either all goes on or all is refused."""
    undisturbed, _, _ = journalled(monkeypatch)
    monkeypatch.setattr(journal, "LARGE", 5000)
    for n, call in enumerate(undisturbed.calls):
        kept, failures = [], []
        trouble = lambda i, what, n=n: fail(error) if i == n else None
        with standing_in(Memory({"/state/x": b""}, trouble)) as m:
            w = None
            with contextlib.suppress(OSError):
                w = journal.Writer(JOURNAL)
            if w is None:
                assert n < 5, call  # creating it, its first record, and making both durable
                assert not m.open_files
                continue
            for i, message in enumerate(MESSAGES):
                try:
                    w.append(message)
                    kept.append(i)
                    if i % 5 == 4:
                        w.sync()
                except journal.JournalFailed as e:
                    failures.append(e)
            try:
                w.close()
            except journal.JournalFailed as e:
                failures.append(e)
            assert not m.open_files
        assert recovered(m.now.files()) == kept
        assert not [f for f in m.now.files() if f.endswith(".tmp")]
        assert failures, call
        lost = len(MESSAGES) - len(kept)
        if w.broken:  # a sync failed: everything after it is refused
            assert call == "sync"
            assert len(failures) >= lost
        else:  # anything else costs the one message
            assert (lost, len(failures)) == (1, 1)
            assert isinstance(failures[0], journal.JournalFull) == (error == 28)


# --- both: nothing is lost between the journal and the session that it is sealed into ---


def test_sealing_never_loses_what_was_acknowledged(monkeypatch):
    """Journal, save, discard: at every point the journal or the session has every synced message."""
    memory, _, _ = journalled(monkeypatch)
    with standing_in(Memory(memory.now.files() | {TARGET: OLD, "/home/other": b"x"})) as m:
        saver.commit(TARGET, TEMP, NEW, lambda path: None)
        m.mark("sealed")
        journal.discard(JOURNAL)
    assert m.now.files() == {
        "/state/x": b"",
        "/home/other": b"x",
        TARGET: NEW,
        TARGET + ".bak": OLD,
    }
    count = 0
    everything = list(range(len(MESSAGES)))
    for done, files in crashes(m, 25):
        count += 1
        there = recovered(files) == everything
        assert files.get(TARGET) in (OLD, NEW)
        assert there or files[TARGET] == NEW
        assert there or done > m.marks["sealed"]
    assert count >= 1000
