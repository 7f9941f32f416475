"""How long the window takes to come up, from source, with a real engine.

python -m tests.desktop.starting [times]     one line of JSON a start, and the medians
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKS = ("qt", "window", "painted", "catalogue", "reading", "point")


def start(compiled: str, seconds: float = 60.0) -> dict[str, float]:
    """Milliseconds from the start of the process to each mark; "libraries": 1 if a worker had loaded Qt.

    `compiled` is a folder for compiled modules, as an installation has them: full from the second start on.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        env = os.environ | {
            "LEMMASCOPE_TRACE": str(trace), "LEMMASCOPE_STATE": folder, "LEMMASCOPE_CONFIG": folder,
            "LEMMASCOPE_EXPERIMENTS": f"{folder}/own", "PYTHONPYCACHEPREFIX": compiled,
        }  # fmt: skip
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        env.setdefault("QT_QPA_PLATFORM", "offscreen")
        begun = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "app"], cwd=ROOT, env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        marks: dict[str, float] = {}
        try:
            end = time.monotonic() + seconds
            while "point" not in marks and time.monotonic() < end and process.poll() is None:
                time.sleep(0.05)
                text = trace.read_text() if trace.exists() else ""
                marks = {
                    m["what"]: round(1000 * (m["at"] - begun))
                    for m in map(json.loads, text.splitlines())
                }
            if "point" not in marks:
                raise RuntimeError(f"no first point in {seconds:g} s; it came to {marks}")
            marks["libraries"] = float(qt_in_children(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return marks


def qt_in_children(pid: int) -> bool:
    """Whether a worker process holds Qt: spawned children import the main module anew."""
    import psutil

    found = False
    for child in psutil.Process(pid).children(recursive=True):
        maps = Path(f"/proc/{child.pid}/maps")
        found |= maps.exists() and "libQt6Core" in maps.read_text()
    return found


def measure(times: int = 5) -> dict[str, float]:
    """Medians over several starts, the first of which warms the disk's cache and is left out."""
    with tempfile.TemporaryDirectory() as compiled:
        start(compiled)
        seen = [start(compiled) for _ in range(times)]
    return {m: statistics.median(s[m] for s in seen) for m in (*MARKS, "libraries")}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)))
