"""A journal gives back every whole record and never a wrong one, whatever happened to its bytes."""

import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.encoding import encode
from engine.messages import Checkpoint, Rows, Status
from engine.sessions import disk, journal
from tests.engine.sessions.streams import plain_run, runs, same


def written(path, messages):
    with journal.Writer(path) as w:
        for m in messages:
            w.append(m)
    return path


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(runs(), max_size=2))
def test_arbitrary_messages_come_back(tmp_path_factory, streams):
    messages = [m for run in streams for m in run]
    path = written(tmp_path_factory.mktemp("j") / "r.journal", messages)
    got = journal.recover(path)
    assert len(got) == len(messages)
    assert all(map(same, messages, got))


MESSAGES = [Rows("r", "loss", 0, np.arange(i, i + 3), np.full((3, 2), float(i))) for i in range(30)]
# a message that carries what looks like a record of a journal, magic, length, checksum and all
FOREIGN = struct.pack("<4s8sQI", b"LMJ1", b"another!", 10_000, 3)
FOREIGN += struct.pack("<I", zlib.crc32(b"m{}", zlib.crc32(FOREIGN))) + b"m{}"
MESSAGES.insert(
    15, Checkpoint("r", 3, 0, {"a": np.frombuffer(FOREIGN * 3 + b"LMJ1" * 9, np.uint8)})
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(bytes, spans) of a sound journal; span i is where the bytes of MESSAGES[i] lie."""
    data = written(tmp_path_factory.mktemp("j") / "r.journal", MESSAGES).read_bytes()
    ends = [r.end for r in journal.records(data)]
    assert len(ends) == len(MESSAGES) + 1  # the first says who holds it
    return data, list(zip(ends, ends[1:], strict=False))


@settings(max_examples=1500)
@given(st.data())
def test_damage_costs_only_the_records_it_touches(whole, tmp_path_factory, data):
    blob, spans = whole
    bad = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(bad) - 1)))
        how = data.draw(st.sampled_from(["flip", "zero", "noise", "cut"]))
        size = min(data.draw(st.sampled_from([1, 16, 512, 4096])), len(bad) - at)
        if how == "flip" and bad:
            bad[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "zero":
            bad[at : at + size] = bytes(size)
        elif how == "noise":
            bad[at : at + size] = np.random.default_rng(at).bytes(size)
        elif how == "cut":
            del bad[at:]
    path = tmp_path_factory.getbasetemp() / "damaged.journal"
    path.write_bytes(bad)
    got = [encode(m) for m in journal.recover(path)]
    untouched = [bad[a:b] == blob[a:b] for a, b in spans]
    assert got == [encode(m) for m, ok in zip(MESSAGES, untouched, strict=True) if ok]


def test_damage_in_front_does_not_hide_what_follows(whole, tmp_path):
    blob, spans = whole
    (tmp_path / "d").write_bytes(b"\0" * spans[3][0] + blob[spans[3][0] :])
    got = journal.recover(tmp_path / "d")
    assert [encode(m) for m in got] == [encode(m) for m in MESSAGES[3:]]


def test_a_message_of_a_newer_version_is_left_out(tmp_path):
    path = tmp_path / "r.journal"
    with journal.Writer(path) as w:
        w.append(Status("r", "done", 3))
        text = b'{"~c":"Telemetry","run":"r"}'
        w._put(b"m", struct.pack("<I", len(text)) + text)
        w._put(b"z", b"whatever")
        w.append(Status("r", "done", 4))
    assert journal.recover(path) == [Status("r", "done", 3), Status("r", "done", 4)]


def test_a_journal_is_continued_after_its_last_whole_record(tmp_path):
    path = written(tmp_path / "r.journal", MESSAGES[:4])
    with open(path, "ab") as f:
        f.write(path.read_bytes()[:70])  # an old record again, then a torn one
    written(path, MESSAGES[4:6])
    got = journal.recover(path)
    assert [encode(m) for m in got] == [encode(m) for m in MESSAGES[:6]]
    numbers = [r.number for r in journal.records(path.read_bytes())]
    assert numbers == list(range(8))


def test_a_large_checkpoint_has_a_file_of_its_own(tmp_path):
    big = Checkpoint("r", 3, 0, {"params/W": np.random.default_rng(0).random((1, 1100, 1000))})
    path = written(tmp_path / "r.journal", [MESSAGES[0], big, MESSAGES[1]])
    assert path.stat().st_size < 10_000
    beside = [p.name for p in tmp_path.iterdir() if p != path]
    assert beside == ["r.journal.2.checkpoint"]
    assert all(map(same, journal.recover(path), [MESSAGES[0], big, MESSAGES[1]]))
    blob = (tmp_path / beside[0]).read_bytes()
    for damaged in (blob[:-1], blob[:5000] + bytes([blob[5000] ^ 1]) + blob[5001:]):
        (tmp_path / beside[0]).write_bytes(damaged)
        assert all(map(same, journal.recover(path), MESSAGES[:2]))
    (tmp_path / beside[0]).unlink()
    assert len(journal.recover(path)) == 2
    other = written(tmp_path / "r.journal.1.journal", [MESSAGES[0]])
    (tmp_path / beside[0]).write_bytes(blob)
    journal.discard(path)
    assert [p.name for p in tmp_path.iterdir()] == [other.name]


# --- a disk that fails ---


class Failing:
    """An `os` whose calls of one name fail, or write only so many bytes first."""

    def __init__(self, name, error, taken=None):
        self.name, self.error, self.taken, self.on = name, error, taken, True

    def __getattr__(self, name):
        real = getattr(os, name)
        if name != self.name or not self.on:
            return real

        def fails(*args, **kw):
            if self.taken:
                taken, self.taken = self.taken, None
                return real(args[0], args[1][:taken])
            raise OSError(self.error, os.strerror(self.error))

        return fails


@pytest.mark.parametrize("taken", [None, 1, 27, 40])
def test_a_full_disk_leaves_the_last_whole_record_and_can_be_gone_on_from(
    tmp_path, monkeypatch, taken
):
    path = tmp_path / "r.journal"
    with journal.Writer(path) as w:
        w.append(MESSAGES[0])
        size = path.stat().st_size
        full = Failing("write", 28, taken)
        monkeypatch.setattr(disk, "os", full)
        with pytest.raises(journal.JournalFull, match=r"^r.journal: the disk is full$"):
            w.append(MESSAGES[1])
        assert path.stat().st_size == size
        full.on = False
        w.append(MESSAGES[2])
    assert all(map(same, journal.recover(path), [MESSAGES[0], MESSAGES[2]]))


def test_a_short_write_is_gone_on_with(tmp_path, monkeypatch):
    class Short:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, fd, data):
            return os.write(fd, data[:7])

    monkeypatch.setattr(disk, "os", Short())
    path = written(tmp_path / "r.journal", MESSAGES)
    assert all(map(same, journal.recover(path), MESSAGES))


def test_after_a_failed_sync_nothing_more_is_promised(tmp_path, monkeypatch):
    path = tmp_path / "r.journal"
    w = journal.Writer(path)
    w.append(MESSAGES[0])
    monkeypatch.setattr(disk, "os", Failing("fdatasync", 5))
    with pytest.raises(journal.JournalFailed, match="does not confirm"):
        w.sync()
    with pytest.raises(journal.JournalFailed, match="does not confirm"):
        w.append(MESSAGES[1])
    w.close()
    assert all(map(same, journal.recover(path), MESSAGES[:1]))


@pytest.mark.parametrize(("name", "error", "kind"), [
    ("open", 13, journal.JournalFailed), ("open", 30, journal.JournalFailed),
    ("write", 28, journal.JournalFull), ("fsync", 5, OSError), ("ftruncate", 5, OSError),
])  # fmt: skip
def test_a_journal_that_cannot_be_opened_says_so(tmp_path, monkeypatch, name, error, kind):
    monkeypatch.setattr(disk, "os", Failing(name, error))
    with pytest.raises(kind):
        journal.Writer(tmp_path / "r.journal")


@pytest.mark.parametrize(
    ("name", "error"), [("open", 28), ("write", 28), ("replace", 5), ("fsync", 5)]
)
def test_a_large_checkpoint_that_cannot_be_kept_leaves_nothing(tmp_path, monkeypatch, name, error):
    monkeypatch.setattr(journal, "LARGE", 100)
    path = tmp_path / "r.journal"
    big = Checkpoint("r", 3, 0, {"params/W": np.ones((2, 40))})
    with journal.Writer(path) as w:
        w.append(MESSAGES[0])
        fails = Failing(name, error)
        monkeypatch.setattr(disk, "os", fails)
        with pytest.raises(journal.JournalFull if error == 28 else journal.JournalFailed):
            w.append(big)
        assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []
        fails.on = False
        w.append(big)
    assert all(map(same, journal.recover(path), [MESSAGES[0], big]))


def test_ticks_sync_about_once_a_second(tmp_path, monkeypatch):
    syncs = []
    monkeypatch.setattr(disk, "sync", syncs.append)
    now = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    with journal.Writer(tmp_path / "r.journal") as w:
        del syncs[:]
        for _ in range(500):  # five seconds of a hundred records each
            now[0] += 0.01
            w.append(MESSAGES[0])
            w.tick()
        assert 4 <= len(syncs) <= 5
        now[0] += 60
        w.tick()
        count = len(syncs)
        now[0] += 60
        w.tick()
        assert len(syncs) == count  # nothing new, nothing to sync
        del syncs[:]
    assert syncs == []


# --- who holds it ---


def test_a_second_writer_is_told_who_holds_the_journal(tmp_path):
    path = tmp_path / "r.journal"
    with journal.Writer(path):
        began = time.monotonic()
        with pytest.raises(journal.JournalHeld) as caught:
            journal.Writer(path)
        assert time.monotonic() - began < 1
        assert str(os.getpid()) in str(caught.value)
        assert os.uname().nodename in str(caught.value)
        assert journal.is_held(path)
    with journal.Writer(path):
        pass


def _hold(path, connection):
    w = journal.Writer(path)
    for m in plain_run():
        w.append(m)
    connection.send_bytes(b"there")
    time.sleep(60)


def test_a_killed_holder_leaves_every_record_and_no_lock(tmp_path):
    path = str(tmp_path / "r.journal")
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(path, theirs), daemon=True)
    process.start()
    try:
        assert mine.poll(30) and mine.recv_bytes() == b"there"
        with pytest.raises(journal.JournalHeld, match=f"process {process.pid} on"):
            journal.Writer(path)
        assert journal.is_held(path)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    finally:
        process.kill()
        process.join()
        mine.close()
        theirs.close()
    assert not journal.is_held(path)
    assert all(map(same, journal.recover(path), plain_run()))
    with journal.Writer(path):  # its lock went with it
        pass


def test_a_journal_needs_neither_h5py_nor_torch():
    code = (
        "import sys, engine.sessions.journal; "
        "print(sorted(sys.modules.keys() & {'h5py', 'torch', 'PySide6'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
