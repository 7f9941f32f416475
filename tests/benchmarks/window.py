"""The window's frames while a worker trains at full speed beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RUNS, POINTS, MORE, FRAMES = 8, 10_000, 5, 120
BANDS, SEEDS, SIDE = 4, 5, 64  # runs with several seeds and so with a band; the map's rows


@contextlib.contextmanager
def training() -> Iterator[None]:
    """A real worker that trains all the while, in a process of its own."""
    words = ["run", "stability/edge_of_stability", "--set", "width=128", "--seeds", "32", "--steps", "20000", "--set", "lr=0.02", "--dtype", "float64"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.cli", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        time.sleep(5)  # its worker is warm and in the middle of it
        yield
        if process.poll() is not None:
            raise RuntimeError("the run was over before the frames were")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def card() -> Any:
    from engine.messages import Card, MetricCard, PredictionCard, ViewCard
    from engine.spec import Knob

    return Card(
        name="bench/frames", title="Frames", area="bench", page="Frames.",
        knobs=(Knob("lr", "real", 0.1, 1e-3, 1.0, "log", "", "Learning rate", "η", "Step."),
               Knob("steps", "int", 20_000, 1, 100_000, "log", "steps", "Steps", "T", "Steps.")),
        metrics=(MetricCard("loss", "loss", "", "scalar", "linear", "", "", "linear", ()),
                 MetricCard("ntk", "kernel", "Θ", "matrix", "linear", "", "", "linear", ())),
        predictions=(PredictionCard("edge", "loss", "2/η", "paper", "hp", "", (), ""),),
        claims=(), presets=(), formulae=(), references=(), sweep={}, records=400, seeds=SEEDS, dtype="float32",
        views=(ViewCard(("loss",), "Loss", "linear", ""), ViewCard(("ntk",), "Kernel", "linear", "")),
    )  # fmt: skip


class Fed:
    """The application's own window, fed with what an engine says of eight runs."""

    def __init__(self, noisy: bool) -> None:
        from desktop import theme
        from desktop.app import application
        from desktop.settings import Settings
        from desktop.store import Store
        from desktop.window import Window
        from engine.messages import Catalogue, Predicted, Started, Status

        class Nowhere:
            def send(self, message: Any) -> None:
                pass

        self.app = application()
        theme.apply(self.app, "light")
        self.store = Store()
        folder = Path(tempfile.mkdtemp(prefix="lemmascope-bench-"))
        self.window = Window(self.store, Nowhere(), Settings(folder))
        self.window.lab.auto_start = False
        self.window.resize(1440, 900)
        self.window.show()
        self.store.apply(Catalogue((card(),), ("cpu",)))
        r = np.random.default_rng(0)
        self.values, self.maps = [], r.normal(size=(FRAMES + 20, 1, SEEDS, SIDE, SIDE))
        for k in range(RUNS):
            seeds = SEEDS if k < BANDS else 1
            v = r.normal(size=(POINTS + MORE * (FRAMES + 20), seeds)).astype(np.float32)
            self.values.append((v if noisy else v.cumsum(0) / 50) + k)
            members = {"seed": np.arange(seeds)}
            self.store.apply(
                Started(
                    str(k), "bench/frames", {"lr": 0.1, "steps": 20_000}, {}, members, (0,), 20_000,
                    "float32", "cpu", "", "", -1, {}, "",
                )
            )  # fmt: skip
            self.store.apply(Status(str(k), "running", 0))
            if k:
                self.store.set_role(str(k), "pinned")
            self.rows(k, 0, POINTS)
        two = np.full((1, 1), 2.0)
        for k in range(BANDS):
            self.store.apply(Predicted(str(k), "edge", "loss", 0, np.zeros(1, np.int64), two))
        self.store.select("0")
        self.at, self.frames = POINTS, 0

    def rows(self, run: int, first: int, last: int) -> None:
        from engine.messages import Rows

        steps = np.arange(first, last)
        self.store.apply(Rows(str(run), "loss", 0, steps, self.values[run][first:last]))

    def frame(self) -> float:
        """Milliseconds from the messages' arrival to the painted picture."""
        from engine.messages import Rows

        begun = time.perf_counter()
        for k in range(RUNS):
            self.rows(k, self.at, self.at + MORE)
        step = np.array([self.at])
        self.store.apply(Rows("0", "ntk", 0, step, self.maps[self.frames]))
        self.window.tick()
        self.app.processEvents()
        self.at, self.frames = self.at + MORE, self.frames + 1
        return 1000 * (time.perf_counter() - begun)


def frames(noisy: bool) -> list[float]:
    """Milliseconds of each frame: store, sums over seeds, decimation, painting, all included."""
    fed = Fed(noisy)
    for _ in range(10):
        fed.frame()
    for cell in fed.window.board.cells:
        assert not cell.plot.visibleRegion().isEmpty(), "a plot is not painted"
    spent = [fed.frame() for _ in range(FRAMES)]
    plots = [c.plot for c in fed.window.board.cells]
    marks = [type(m).__name__ for m in plots[0].content.marks]
    assert (marks.count("Band"), marks.count("Line") >= RUNS) == (BANDS, True), marks
    return spent


def at(scale: int, noisy: bool) -> float:
    """The 95th percentile on a screen of this scale, which Qt takes from the environment when it starts."""
    env = {**os.environ, "QT_SCALE_FACTOR": str(scale), "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.window", "noise" if noisy else "walks"],
        env=env, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return float(done.stdout)


def rows() -> list[dict[str, Any]]:
    from tests.benchmarks.steps import row

    out = []
    with training():
        for scale in (1, 2):
            for noisy in (False, True):
                what = (
                    f"8 × 10k points ({'noise' if noisy else 'walks'}), 4 bands, a map, {scale}00 %"
                )
                out.append(
                    row(f"p95 of a frame while a worker trains, {what} (at most)", 33,
                        at(scale, noisy), most=True, unit="ms")
                )  # fmt: skip
    return out


if __name__ == "__main__":
    print(float(np.quantile(frames(sys.argv[1] == "noise"), 0.95)))
    sys.stdout.flush()
    os._exit(0)  # Qt has nothing more to do here
