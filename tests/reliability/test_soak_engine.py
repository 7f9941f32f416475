"""R13 for the engine: in use for 20 s, with `--long` for 10 minutes, it holds no more at the end than at the beginning.

20 s are too short for a slope: there what can be counted must not grow, and memory by no more than 5 % in all. In ten
minutes the slope is at most 20 MB an hour as well.
"""

import json
import subprocess
import sys
from pathlib import Path

from tests.reliability.soak import COUNTS, SIZES, SLOPE, judged, slope

ROOT = Path(__file__).parents[2]


def run(seconds, *words):
    command = [sys.executable, "-m", "tests.reliability.soak", str(seconds), *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *samples, end = map(json.loads, done.stdout.splitlines())
    return samples, end


def test_in_use_the_engine_holds_no_more_than_at_the_beginning(request, record_property):
    samples, end = run(600 if request.config.getoption("--long") else 20)
    for what in SIZES:
        record_property(what, f"{samples[-1][what]:.1f} MB, {slope(samples, what):.1f} MB an hour")
    assert judged(samples) == []
    assert set(end["left"]) <= {"s.lemma.h5", "s.lemma.h5.bak", "journals"} and not end["children"]


def test_what_leaks_on_purpose_is_found():
    samples, _ = run(10, "leak")
    found = {line.partition(":")[0] for line in judged(samples)}
    expected = {"memory", "worker's memory", "threads", "handles", "children", "files", "tasks"}
    assert expected <= found, (found, samples)


def made(seconds, **growing):
    """Samples of something that stands still but for `growing`, by the hour; now and then there is more for a moment."""
    out = []
    for i, t in enumerate(range(0, seconds, 2)):
        now = dict.fromkeys(COUNTS, 7 + 3 * (i % 5 == 0)) | dict.fromkeys(SIZES, 200.0 + i % 3)
        now |= {
            k.replace("_", " "): now[k.replace("_", " ")] + v * t / 3600 for k, v in growing.items()
        }
        out.append({"time": float(t), "pid": 1} | now)
    return out


def test_a_slow_leak_is_found_in_ten_minutes_and_noise_is_none():
    assert judged(made(600)) == [] and judged(made(20)) == []
    assert judged(made(600, memory=SLOPE * 0.8)) == []
    (line,) = judged(made(600, memory=SLOPE * 1.2))
    assert line == "memory: grows by 24.0 MB an hour"
    assert judged(made(600, handles=30.0))[0].startswith("handles: 7")
