"""Opening is contained: whatever a file does to the reading process, one sentence comes back, and in time."""

import json
import multiprocessing
import os
import sys
import threading
import time

import numpy as np
import pytest

from engine.encoding import encode
from engine.messages import Checkpoint, Rows, Status
from engine.sessions import child, loader
from engine.sessions.loader import load
from engine.sessions.session import BadSession, Limits, build, read
from tests.engine.sessions.streams import plain_run, same
from tests.engine.sessions.test_session import CARD


@pytest.fixture
def path(tmp_path):
    build(
        tmp_path / "s.h5",
        [plain_run(), plain_run("r2", seed=1)],
        notes="η",
        layout="{}",
        cards={"c": CARD},
    )
    return tmp_path / "s.h5"


def test_loading_gives_what_reading_gives(path):
    want, got = read(path), load(path)
    assert (got.notes, got.layout, got.cards, got.notice) == ("η", "{}", {"c": CARD}, "")
    assert (got.version, got.lemmascope) == (want.version, want.lemmascope)
    for a, b in zip(want.runs, got.runs, strict=True):
        assert len(a) == len(b)
        assert all(map(same, a, b))


def test_faults_are_one_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("no")
    for name, sentence in (
        ("text.h5", "text.h5: not an HDF5 file (a session begins with the HDF5 signature)"),
        ("none.h5", "none.h5: there is no such file"),
        (".", f"{tmp_path.name}: not an ordinary file"),
    ):
        with pytest.raises(BadSession) as caught:
            load(os.path.realpath(tmp_path / name))
        assert str(caught.value) == sentence


HEAD = {"notes": "", "layout": "", "lemmascope": "", "notice": "", "version": [1, 0], "cards": []}

# --- what may go wrong in the reading process; each of these stands in for `serve` ---


def segfaults(connection, path):
    import ctypes

    connection.send_bytes(json.dumps(HEAD).encode())
    ctypes.string_at(0)


def exits(connection, path):
    os._exit(3)


def hangs(connection, path):
    while True:
        time.sleep(1)


def hangs_in_the_middle(connection, path):
    connection.send_bytes(json.dumps(HEAD).encode())
    os.write(connection.fileno(), b"\0\0\1\0partly")
    time.sleep(60)


def spins(connection, path):
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (1, 11))
    while True:
        pass


def hoards(connection, path):
    hoard = []
    while True:
        hoard.append(np.empty(1 << 24))


def floods(connection, path):
    connection.send_bytes(json.dumps(HEAD).encode())
    connection.send_bytes(encode(plain_run()[0]))
    while True:
        connection.send_bytes(
            encode(Rows("r1", "loss", 0, np.arange(1 << 20), np.ones((1 << 20, 1))))
        )


def babbles(connection, path):
    connection.send_bytes(b"\x80\x04 a pickle, perhaps")


def misspeaks(connection, path):
    connection.send_bytes(json.dumps(HEAD).encode())
    connection.send_bytes(encode(Status("r1", "done", 3)))
    connection.send_bytes(b"")


def lies(connection, path):
    connection.send_bytes(json.dumps(HEAD).encode())
    connection.send_bytes(encode(Rows("r1", "loss", 0, np.arange(3), np.ones((2, 2)))))
    connection.send_bytes(b"")


@pytest.mark.parametrize(
    ("job", "what"),
    [
        (segfaults, "damaged, the process that read it was ended by signal 11"),
        (exits, "damaged, the process that read it ended with exit code 3"),
        (hangs, "damaged, the process that read it took longer than 1 s"),
        (hangs_in_the_middle, "damaged, the process that read it took longer than 1 s"),
        (spins, "damaged, the process that read it took more than 10 s of processor time"),
        (hoards, "damaged, the process that read it needed more memory than it may take"),
        (floods, "damaged, the process that read it said more than it may"),
        (babbles, "damaged, what was read from it makes no sense"),
        (misspeaks, "damaged, what was read from it makes no sense"),
        (lies, "Rows has readings of shape (2, 2) for 3 steps"),
    ],
)
def test_a_reading_process_that_misbehaves_is_contained(monkeypatch, path, job, what):
    real = child.Child

    def stand_in(_, *args):
        return real(f"tests.engine.sessions.test_loader:{job.__name__}", *args)

    monkeypatch.setattr(loader, "Child", stand_in)
    if job is floods:  # else it would take a gigabyte to show
        monkeypatch.setattr(loader, "Limits", lambda: Limits(file=1 << 26))
    timeout = 1 if job in (hangs, hangs_in_the_middle) else 30
    before = {p.pid for p in multiprocessing.active_children()}
    threads = threading.active_count()
    began = time.monotonic()
    with pytest.raises(BadSession) as caught:
        load(path, timeout)
    assert str(caught.value) == f"s.h5: {what}"
    assert time.monotonic() - began < timeout + 8
    assert {p.pid for p in multiprocessing.active_children()} <= before
    assert threading.active_count() <= threads + 1  # a cancelled timer may take a moment to end


def reports(connection, path):
    read(path)
    import resource

    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
    limits = {n: resource.getrlimit(getattr(resource, n))[0] for n in names}
    environment = {k: v for k, v in os.environ.items() if k.startswith("HDF5")}
    connection.send_bytes(
        json.dumps([sorted(sys.modules), limits, environment, os.getpid()]).encode()
    )
    connection.send_bytes(b"")


def test_the_reading_process_is_light_and_limited(path, monkeypatch):
    monkeypatch.setenv("HDF5_VOL_CONNECTOR", "whatever")
    monkeypatch.setenv("HDF5_DRIVER", "family")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", "/tmp")
    job = f"{__name__}:reports"
    with child.Child(job, str(path), 30, loader.MEMORY, loader.SECONDS) as c:
        (frame,) = c.frames(1 << 20)
    modules, limits, environment, pid = json.loads(frame)
    assert pid != os.getpid()
    assert not {"PySide6", "scipy", "desktop"} & set(modules)
    assert limits == {
        "RLIMIT_AS": 1536 << 20, "RLIMIT_CPU": 10, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0,
    }  # fmt: skip
    assert environment == {"HDF5_PLUGIN_PRELOAD": "::"}


def _loads(path, connection):
    """Runs in a spawned process, where it loads a session and says which of the heavy modules that took."""
    got = load(path)
    heavy = sorted({"torch", "PySide6", "h5py"} & set(sys.modules))
    connection.send_bytes(json.dumps([len(got.runs), heavy]).encode())


@pytest.mark.parametrize("daemon", [False, True])
def test_a_spawned_process_may_load(path, daemon):
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_loads, args=(str(path), theirs), daemon=daemon)
    process.start()
    theirs.close()
    try:
        assert mine.poll(30)
        count, heavy = json.loads(mine.recv_bytes())
    finally:
        process.join(10)
        mine.close()
    assert count == 2
    assert heavy in (
        [],
        ["h5py"],
    )  # h5py: this test's own imports build sessions; torch and Qt never


def test_two_threads_may_load_at_once(path):
    got = []
    threads = [threading.Thread(target=lambda: got.append(len(load(path).runs))) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [2, 2, 2]


@pytest.mark.long
def test_the_largest_session_that_may_be_saved_can_be_loaded(tmp_path):
    """One message with all the bytes that a file may hold: the worst for copies on the way out."""
    big = Checkpoint("r1", 9, 0, {"params/W": np.ones((2, (Limits().total - (1 << 20)) // 16))})
    build(tmp_path / "s.h5", [[*plain_run(), big]])
    got = load(tmp_path / "s.h5", 60)
    assert any(same(m, big) for m in got.runs[0])
