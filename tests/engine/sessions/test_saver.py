"""Saving: the old file or the new one; what cannot be saved is said in one sentence and changes nothing."""

import json
import multiprocessing
import os
import stat
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from engine.messages import Checkpoint, Status
from engine.sessions import child, saver
from engine.sessions.loader import load
from engine.sessions.saver import SaveFailed, save
from engine.sessions.session import Limits, build, read
from tests.engine.sessions.streams import plain_run, same
from tests.engine.sessions.test_session import CARD, expected


def test_what_is_saved_is_what_was_given(tmp_path):
    path = tmp_path / "s.h5"
    save(path, [plain_run(), plain_run("r2", seed=1)], "a note", "{}", {CARD.name: CARD})
    got = load(path)
    assert (got.notes, got.layout, got.cards) == ("a note", "{}", {CARD.name: CARD})
    for mine, theirs in zip([plain_run(), plain_run("r2", seed=1)], got.runs, strict=True):
        assert all(map(same, expected(mine), theirs))
    assert os.listdir(tmp_path) == ["s.h5"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_one_generation_of_backup_is_kept_with_its_rights(tmp_path):
    path = tmp_path / "s.h5"
    for i in range(4):
        save(path, [plain_run()], f"note {i}")
        if i == 0:
            path.chmod(0o640)
    assert sorted(os.listdir(tmp_path)) == ["s.h5", "s.h5.bak"]
    assert read(path).notes == "note 3"
    assert read(tmp_path / "s.h5.bak").notes == "note 2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    save(tmp_path / "there/s.h5", [plain_run()], "first")
    (tmp_path / "s.h5").symlink_to("there/s.h5")
    save(tmp_path / "s.h5", [plain_run()], "second")
    assert (tmp_path / "s.h5").is_symlink()
    assert read(tmp_path / "there/s.h5").notes == "second"


# --- places where nothing can be put ---


def refused(path, **kw):
    with pytest.raises(SaveFailed) as caught:
        save(path, [plain_run()], **kw)
    return str(caught.value)


def test_a_file_that_is_no_session_is_replaced_only_when_told(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with h5py.File(tmp_path / "data.h5", "w") as f:
        f["x"] = np.arange(5)
    (tmp_path / "empty.h5").touch()
    (tmp_path / "older.h5").write_bytes(b"")
    for name in ("thesis.txt", "data.h5"):
        before = (tmp_path / name).read_bytes()
        assert refused(tmp_path / name) == (
            f"{name} was not saved: the file there is no Lemmascope session and would be lost"
        )
        assert (tmp_path / name).read_bytes() == before
    save(tmp_path / "empty.h5", [plain_run()])  # a fresh temporary file has nothing to lose
    save(tmp_path / "thesis.txt", [plain_run()], overwrite=True)
    assert (tmp_path / "thesis.txt.bak").read_text() == "years of work"
    assert len(read(tmp_path / "thesis.txt").runs) == 1


def test_no_folder_a_folder_a_pipe_a_read_only_file(tmp_path):
    assert (
        refused(tmp_path / "none/s.h5") == f"s.h5 was not saved: there is no folder {tmp_path}/none"
    )
    (tmp_path / "folder.h5").mkdir()
    assert (
        refused(tmp_path / "folder.h5") == "folder.h5 was not saved: there is a folder of that name"
    )
    os.mkfifo(tmp_path / "pipe.h5")
    assert refused(tmp_path / "pipe.h5") == (
        "pipe.h5 was not saved: what is there is not an ordinary file"
    )
    build(tmp_path / "kept.h5", [plain_run()])
    (tmp_path / "kept.h5").chmod(0o444)
    assert refused(tmp_path / "kept.h5") == "kept.h5 was not saved: the file there is read-only"
    (tmp_path / "file").touch()
    assert (
        refused(tmp_path / "file/s.h5") == f"s.h5 was not saved: there is no folder {tmp_path}/file"
    )
    name = "n" * 250 + ".h5"
    assert refused(tmp_path / name) == f"{name} was not saved: its name is too long"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.h5", "kept.h5", "pipe.h5"]


def test_messages_that_are_no_run_are_refused_and_nothing_is_written(tmp_path):
    for run, sentence in (
        (plain_run()[1:], "a run without its beginning"),
        ([*plain_run(), Status("r2", "done", 3)], "Status of run r2 in run r1"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            save(tmp_path / "s.h5", [run])
    assert os.listdir(tmp_path) == []


def test_a_session_too_large_to_be_opened_again_is_not_saved(tmp_path, monkeypatch):
    big = Checkpoint("r1", 9, 0, {"W": np.ones((2, 40_000))})
    monkeypatch.setattr(saver, "Limits", lambda: Limits(total=500_000))
    with pytest.raises(SaveFailed) as caught:
        saver.write(
            str(tmp_path / "s.h5"), str(tmp_path / "t"), [[*plain_run(), big]], "", "", {}, False
        )
    assert (
        str(caught.value)
        == "s.h5 was not saved: it would have 657 kB; a session has 500 kB at most"
    )
    assert os.listdir(tmp_path) == []


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = saver.shutil.disk_usage(tmp_path)._replace(free=7_000)
    monkeypatch.setattr(saver.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(saver, "commit", lambda *a: pytest.fail("it went on"))
    with pytest.raises(
        SaveFailed, match=r"^s.h5 was not saved: it needs 17 kB and the disk has 7 kB free$"
    ):
        saver.write(str(tmp_path / "s.h5"), str(tmp_path / "t"), [plain_run()], "", "", {}, False)


@pytest.mark.parametrize("spoil", ["flip", "cut", "other"])
def test_what_reads_back_differently_is_not_put_into_place(tmp_path, monkeypatch, spoil):
    """A disk that says all is well and keeps something else."""
    real = saver.disk.write_new
    build(tmp_path / "s.h5", [plain_run()], notes="first")
    other = (tmp_path / "s.h5").read_bytes()

    def write_new(path, blob, mode=None):
        changed = {
            "flip": blob[:-300] + bytes([blob[-300] ^ 1]) + blob[-299:],
            "cut": blob[:-1],
            "other": other,
        }
        real(path, changed[spoil], mode)

    monkeypatch.setattr(saver.disk, "write_new", write_new)
    with pytest.raises(
        SaveFailed, match=r"what was written (read back differently|could not be read back)"
    ):
        saver.write(
            str(tmp_path / "s.h5"),
            str(tmp_path / "t"),
            [plain_run(seed=2)],
            "x" * 999,
            "",
            {},
            False,
        )
    assert os.listdir(tmp_path) == ["s.h5"]
    assert (tmp_path / "s.h5").read_bytes() == other


# --- the saving process ---


def dies(connection, _):
    head = json.loads(connection.recv_bytes())
    with open(head["temp"], "wb") as f:
        f.write(b"half of i")
    os.kill(os.getpid(), 9)


def hangs(connection, _):
    time.sleep(60)


def hoards(connection, _):
    raise MemoryError


@pytest.mark.parametrize(
    ("job", "what"),
    [(dies, "was ended by signal 9"), (hangs, "took longer than 1 s"), (hoards, "needed more memory than it may take")],
)  # fmt: skip
def test_a_saving_process_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch, job, what):
    save(tmp_path / "s.h5", [plain_run()], "first")
    before = (tmp_path / "s.h5").read_bytes()
    real = child.Child
    monkeypatch.setattr(saver, "Child", lambda _, *args: real(f"{__name__}:{job.__name__}", *args))
    # more than a pipe holds, so that sending meets the dead process too
    big = Checkpoint("r1", 9, 0, {"W": np.ones((2, 200_000))})
    with pytest.raises(SaveFailed) as caught:
        save(tmp_path / "s.h5", [[*plain_run(), big]], "second", timeout=1 if job is hangs else 30)
    assert str(caught.value) == f"s.h5 was not saved: the process that saves {what}"
    assert os.listdir(tmp_path) == ["s.h5"]
    assert (tmp_path / "s.h5").read_bytes() == before
    assert multiprocessing.active_children() == []


def test_what_a_killed_saver_left_is_swept_away_when_it_is_old(tmp_path):
    old, young, other = (tmp_path / n for n in (".s.h5.1-1.tmp", ".s.h5.2-2.tmp", ".t.h5.1-1.tmp"))
    for p in (old, young, other):
        p.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    save(tmp_path / "s.h5", [plain_run()])
    assert sorted(os.listdir(tmp_path)) == sorted(["s.h5", young.name, other.name])


def test_saving_loads_neither_h5py_nor_torch_here():
    code = (
        "import sys, engine.sessions.saver, engine.sessions.loader; "
        "print(sorted(sys.modules.keys() & {'h5py', 'torch', 'PySide6'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
