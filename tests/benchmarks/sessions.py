"""A session of ten million recorded values: saving it, and opening it until its first picture. And what all recording
costs: a run in a worker, through the service, against the bare `train` generator."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

VALUES = 10_000_000
STEPS = 10_000
ROUNDS = 3
PAIRS = 5
# What the session holds: (settings of a sweep, seeds of each, dtype); two metrics share the values.
KINDS = {"50 settings × 10 seeds, float32": (50, 10, "<f4"), "500 seeds, float64": (1, 500, "<f8")}


def stream(name: str, kind: str) -> list[Any]:
    """A run of the edge of stability that recorded VALUES numbers."""
    from engine.messages import Rows, Started, Status

    settings, seeds, dtype = KINDS[kind]
    r = np.random.default_rng(0)
    rates = [float(v) for v in np.geomspace(0.01, 0.1, settings)]
    members = {"seed": np.tile(np.arange(seeds), settings)}
    sweep: dict[str, Any] = {}
    if settings > 1:
        members["lr"], sweep["lr"] = np.repeat(rates, seeds), rates
    out: list[Any] = [
        Started(name, "stability/edge_of_stability", {"lr": 0.1, "steps": STEPS}, sweep, members, (0,), STEPS,
                "float32" if dtype == "<f4" else "float64", "cpu", "", "", -1, {}, "2026-01-01T00:00:00Z")
    ]  # fmt: skip
    for metric in ("sharpness", "loss"):
        shape = (STEPS, settings * seeds)
        assert 2 * shape[0] * shape[1] == VALUES
        values = (3 + r.normal(size=shape)).astype(dtype)
        out.append(Rows(name, metric, 0, np.arange(STEPS), values))
    return [*out, Status(name, "done", STEPS)]


async def saved(path: str, kind: str) -> list[float]:
    """Seconds from asking the engine to save until it says that it has."""
    from engine.client import Client
    from engine.running.runs import replayed

    spent = []
    async with Client(1) as engine:
        run = replayed(stream("big", kind), "big")
        engine.service.runs["big"] = run
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            await engine.save(path, [run])
            spent.append(time.perf_counter() - begun)
    return spent


def opened(path: str) -> list[float]:
    """Seconds from asking to open until the window has painted the session's curves, the engine being warm."""
    from PySide6.QtCore import QTimer

    from desktop import loop, theme
    from desktop.app import _warm_formulae, application
    from desktop.link import Link
    from desktop.settings import Settings
    from desktop.store import Store
    from desktop.window import Window

    app = application()
    theme.apply(app, "light")
    store, link = Store(), Link()
    window = Window(store, link, Settings(Path(tempfile.mkdtemp(prefix="lemmascope-bench-"))))
    window.lab.auto_start = False
    link.received.connect(store.apply)
    window.closed.connect(lambda: loop.finish(lambda: link.close(True)))
    spent: list[float] = []
    begun, ready = [0.0], [time.perf_counter() + 3]
    watch = QTimer()
    watch.setInterval(5)

    def look() -> None:
        if not store.cards or time.perf_counter() < ready[0]:
            return  # the engine and the window are still warming up
        if not begun[0]:
            begun[0] = time.perf_counter()
            window.files.open_path(path)
            return
        run, cells = store.run(), window.board.cells
        if run is None or not run.opened or not cells:
            return
        plot = cells[0].plot
        if run.id in {key.partition("/")[0] for key in plot.measured} and not plot.content.empty:
            plot.repaint()  # and so painted, whenever Qt would have done it
            spent.append(time.perf_counter() - begun[0])
            begun[0], ready[0] = 0.0, time.perf_counter() + 1
            store.discard(run.id)
            if len(spent) == ROUNDS:
                watch.stop()
                window.leave()

    watch.timeout.connect(look)

    def begin() -> None:
        loop.spawn_task(link.start(), "engine")
        loop.spawn_task(_warm_formulae(), "formulae")
        window.lab.describe()
        watch.start()

    window.show()
    loop.run(app, begin)
    return spent


# Experiment, values, and the steps between which its speed is taken.
RUNS = {
    "5 networks of width 32": ({"steps": 60_000}, 6_000, 56_000),
    "5 networks of width 128": ({"steps": 20_000, "width": 128}, 3_000, 12_000),
}
TRAINED = "stability/edge_of_stability"


def bare(values: dict[str, Any], first: int, last: int) -> float:
    """Steps a second of the generator alone."""
    from engine import catalogue
    from engine.running.members import plan
    from engine.running.process import prepare
    from engine.running.train import train

    prepare()
    ex = catalogue.get(TRAINED)
    p = plan(ex, values, {}, 0, 0, "")
    begun: tuple[float, int] | None = None
    for frame in train(ex, p.stack(p.firsts[0]), dtype=ex.dtype):
        if begun is None and frame.step >= first:
            begun = time.perf_counter(), frame.step
        if begun is not None and frame.step >= last:
            return (frame.step - begun[1]) / (time.perf_counter() - begun[0])
    raise RuntimeError("the run ended too soon")


async def served(values: dict[str, Any], first: int, last: int) -> float:
    """Steps a second of the same run as the window and the command line run it, by what arrives here."""
    from engine.client import Client
    from engine.messages import Rows

    seen: list[tuple[float, int]] = []

    def heard(message: Any) -> None:
        if isinstance(message, Rows):
            seen.append((time.perf_counter(), int(message.steps[-1])))

    async with Client() as engine:
        engine.listeners.append(heard)
        while not (
            len(engine.service.crew.all) > 1 and all(w.warm for w in engine.service.crew.all)
        ):
            await asyncio.sleep(0.02)  # loading torch, once, is no part of a run's speed
        await engine.begin(experiment=TRAINED, values=values)
        while not seen or seen[-1][1] < last:
            await asyncio.sleep(0.02)
    a = next(s for s in seen if s[1] >= first)
    b = next(s for s in seen if s[1] >= last)
    return (b[1] - a[1]) / (b[0] - a[0])


def apart(what: str, *words: str) -> list[float]:
    """Numbers that a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.sessions", what, *words],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    if not done.stdout.strip():
        raise RuntimeError(f"{what} gave no numbers: {done.stderr[-2000:]}")
    return [float(v) for v in done.stdout.split()]


def recording() -> list[dict[str, Any]]:
    from tests.benchmarks.steps import row

    out = []
    for name in RUNS:
        got = []
        for i in range(PAIRS):  # in turns: what else the machine does hits both
            order = ("served", "bare") if i % 2 else ("bare", "served")
            speed = {how: apart(how, name)[0] for how in order}
            got.append(speed["served"] / speed["bare"])
        what = f"{name} in a worker, all recorded, journalled and sent, over the bare generator"
        out.append(row(what, 0.95, statistics.median(got)))
    return out


def rows() -> list[dict[str, Any]]:
    from tests.benchmarks.steps import row

    out = []
    with tempfile.TemporaryDirectory(prefix="lemmascope-bench-") as folder:
        for kind in KINDS:
            path = os.path.join(folder, "big.lemma.h5")
            got = statistics.median(asyncio.run(saved(path, kind)))
            what = f"{VALUES:.0e} values ({kind}, {os.path.getsize(path) / 1e6:.0f} MB)"
            out.append(row(f"session of {what}, saved (at most)", 2, got, most=True, unit="s"))
            got = statistics.median(apart("opened", path))
            out.append(row(f"session of {what}, opened to its first picture (at most)", 1, got,
                           most=True, unit="s"))  # fmt: skip
    return out + recording()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["opened", path]:
            print(*opened(path))
        case ["bare", name]:
            print(bare(*RUNS[name]))
        case ["served", name]:
            print(asyncio.run(served(*RUNS[name])))
