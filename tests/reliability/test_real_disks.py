"""Real processes killed, a real disk that is full, read-only, or not ours (R8 to R11)."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def kills(*args):
    command = [sys.executable, "-m", "tests.reliability.kills", *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # libhdf5 after a full disk: 139
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_process_killed_at_any_operation_loses_nothing():
    results = kills("points")
    assert len(results) > 40
    assert [r["code"] for r in results] == [-9] * (len(results) - 1) + [0]
    for r in results:
        assert r["session"] in ("old", "new"), r
        assert r["session"] == "new" or not r["saved"], r
        assert r["free"]
        if r["journal"]:
            assert r["recovered"] == list(range(len(r["recovered"])))
            # killed within a write, or after it and before it said so
            assert r["acked"] <= len(r["recovered"]) <= r["acked"] + 1, r
        else:
            assert r["saved"] or r["acked"] == 0, r
    assert {r["session"] for r in results} == {"old", "new"}


def test_a_process_killed_at_random_loses_nothing():
    results = kills("random", 50)
    assert len(results) == 50
    for r in results:
        assert r["right"] and r["acked"] <= r["recovered"] <= r["acked"] + 1, r
    assert len({r["acked"] for r in results}) > 25


def test_a_full_disk(small_disk):
    saving, unforeseen, journal = kills("full", small_disk[0])
    assert saving["saved"] == [0, 1]
    assert saving["why"].startswith("s.h5 was not saved: it needs ")
    assert saving["held"] == "note 1"
    assert saving["files"] == ["s.h5", "s.h5.bak"]
    assert unforeseen["why"] == "s.h5 was not saved: the disk is full"
    assert unforeseen["held"] == "note 1"
    assert unforeseen["files"] == ["s.h5", "s.h5.bak"]
    assert unforeseen["code"] == 0
    assert journal["why"] == "r.journal: the disk is full"
    assert journal["count"] > 500
    assert journal["right"]


def test_a_disk_that_became_read_only(small_disk):
    folder, make_read_only = small_disk
    make_read_only()
    (result,) = kills("denied", folder)
    assert result["why"] == [
        "s.h5 was not saved: the disk is read-only",
        "r.journal: cannot be written (Read-only file system)",
    ]
    assert result["files"] == []


def test_a_folder_that_is_not_ours(tmp_path):
    other = 65534 if os.geteuid() == 0 else os.geteuid()
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o555)
    for parent in tmp_path.parents:  # so that the other user may look at it
        if str(parent).startswith("/tmp/") and os.stat(parent).st_uid == os.geteuid():
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    (result,) = kills("denied", folder, other)
    assert result["why"] == [
        "s.h5 was not saved: you may not write there",
        "r.journal: cannot be written (Permission denied)",
    ]
    assert result["files"] == []
    folder.chmod(0o755)
