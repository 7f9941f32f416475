"""Sessions of every released format open for ever, and other tools read today's (R12).

`versions/` keeps one small file a format, written by the release that introduced it. They are never written again.
"""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from engine.sessions.loader import load
from engine.sessions.session import MAJOR, MINOR, build
from tests.engine.sessions.streams import plain_run, same
from tests.engine.sessions.test_session import expected

VERSIONS = Path(__file__).parent / "versions"
KEPT = {"format-1.0.h5": "28b0c66d2f360f6b6f3cea138fc430e0ae3132b51db05bad5ea2d3269dbb24ae"}


def test_every_format_has_its_file_and_none_has_changed():
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in VERSIONS.iterdir()}
    assert found == KEPT
    assert f"format-{MAJOR}.{MINOR}.h5" in KEPT, "a new format: keep a file of it"


@pytest.mark.parametrize("name", KEPT)
def test_files_of_every_format_open(name):
    got = load(VERSIONS / name)
    assert got.notes.startswith("Written by Lemmascope")
    assert got.notice == ""
    assert got.layout == '{"theme": "dark"}'
    assert got.cards["toy/quadratic"].knobs[0].name == "lr"
    want = expected(plain_run(steps=4))
    assert len(got.runs) == 1 and len(got.runs[0]) == len(want)
    assert all(map(same, want, got.runs[0]))


def test_the_file_has_the_structures_of_hdf5_1_10(tmp_path):
    build(tmp_path / "s.h5", [plain_run()])
    assert (tmp_path / "s.h5").read_bytes()[8] == 3  # superblock of 1.10


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not there")
def test_h5dump_reads_it(tmp_path):
    run = plain_run()
    build(tmp_path / "s.h5", [run], notes="η" * 20_000)

    def h5dump(*args):
        command = ["h5dump", *args, str(tmp_path / "s.h5")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    whole = h5dump()
    assert "unable" not in whole.lower()
    assert len(re.findall(r"\bDATASET\b", whole)) == 2 + 2 * (2 + 3 + 2 + 3) + 1
    rows = next(m for m in expected(run) if getattr(m, "metric", "") == "loss" and m.first == 2)
    text = h5dump("-d", "/runs/1/metrics/loss/2/values", "-m", "%.9g", "-y")
    text = text.partition("DATA {")[2].partition("}")[0]
    got = np.array([float(x) for x in re.findall(r"-?\d[\d.e+-]*", text)], np.float32)
    np.testing.assert_array_equal(got, rows.values.ravel())
