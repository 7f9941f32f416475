"""How long a person waits: from starting the program to its window and its first measured point; from moving a slider
to theory's new line and to the first point measured with the new value. The program itself is run, on a screen of
memory, with a note of the time added to the end of each plot's painting."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 5
MOVES = 20
PAUSE = 0.25  # seconds between two movements
MOST = 20  # seconds that something may be waited for


class Notes:
    """When each plot was painted last, and what is waited for."""

    def __init__(self) -> None:
        self.wanted: Callable[[Any], bool] | None = None
        self.seen = 0.0

    def painted(self, plot: Any) -> None:
        if self.wanted is not None and self.wanted(plot):
            self.seen, self.wanted = time.time(), None


notes = Notes()


def watch_plots() -> None:
    from desktop.plots.base import PlotView

    paint = PlotView.paintEvent

    def painted(self: PlotView, event: Any) -> None:
        paint(self, event)
        notes.painted(self)

    PlotView.paintEvent = painted  # type: ignore[method-assign]


def start(begun: float) -> dict[str, float]:
    """Runs the program until it has shown a measured point; seconds since `begun`."""
    from desktop import app as program

    found: dict[str, float] = {}

    def begin(window: Any, close: Callable[[], None]) -> None:
        watch_plots()
        notes.wanted = measured_in(window)

        def look() -> None:
            if "window" not in found:
                found["window"] = time.time() - begun
            if notes.seen:
                found["point"] = notes.seen - begun
                close()

        every(5, look, window)

    driven(program, begin)
    return found


def measured_in(window: Any, after: int = -1, run: str = "") -> Callable[[Any], bool]:
    """Whether a plot's curve of the current run (not of the run `run`) has a reading later than a step."""

    def there(plot: Any) -> bool:
        current = window.store.current
        if not current or current == run or plot.content.empty:
            return False
        mine = [t for key, t in getattr(plot, "traces", {}).items() if key.startswith(current)]
        return any(len(t.x) and t.x[-1] > after for t in mine)

    return there


def every(ms: int, act: Callable[[], None], window: Any) -> Any:
    from PySide6.QtCore import QTimer

    timer = QTimer(window)
    timer.timeout.connect(act)
    timer.start(ms)
    return timer


def driven(program: Any, begin: Callable[[Any, Callable[[], None]], None]) -> None:
    """The program's own `main`; `begin(window, close)` is called once the window has been painted."""
    make = program.application

    def application() -> Any:
        from PySide6.QtCore import QEvent, QObject, QTimer
        from PySide6.QtWidgets import QMainWindow

        class Shown(QObject):
            def eventFilter(self, watched: QObject, event: QEvent) -> bool:
                if event.type() == QEvent.Type.Paint and isinstance(watched, QMainWindow):
                    app.removeEventFilter(self)
                    QTimer.singleShot(0, lambda: begin(watched, watched.leave))  # type: ignore[attr-defined]
                return False

        app = make()
        app.shown = Shown()
        app.installEventFilter(app.shown)
        return app

    program.application = application  # in its own place: what comes before it belongs to the start
    program.main(())


def moves() -> dict[str, list[float]]:
    """Milliseconds of each movement: to the overlay, to a point of a hot knob's run, to a point of a new run."""
    from desktop import app as program

    found: dict[str, list[float]] = {"overlay": [], "hot": [], "new": []}

    def begin(window: Any, close: Callable[[], None]) -> None:
        watch_plots()
        script = _script(window, found)
        due = [time.time() + 6]  # both workers are warm by then

        def act() -> None:
            if time.time() >= due[0] + MOST:
                raise RuntimeError("what was waited for has not come")
            if time.time() >= due[0] and notes.wanted is None:
                try:
                    due[0] = time.time() + next(script)
                except StopIteration:
                    timer.stop()
                    close()

        timer = every(1, act, window)

    driven(program, begin)
    return found


def _script(window: Any, found: dict[str, list[float]]) -> Any:
    """Yields how long to wait before going on; while something is waited for, it is not asked."""
    lab, store = window.lab, window.store
    lab.set_many({"width": 64, "steps": 20_000}, "bench")
    yield 3.0  # a run that lasts is under way
    for k in range(MOVES):
        value = 0.03 + 0.001 * k
        text = f"{2 / value:.3g}"[:3]
        notes.wanted = lambda plot, text=text: any(text in t.label for t in plot.theory.values())
        begun = time.time()
        lab.move("lr", value)
        yield PAUSE
        found["overlay"].append(1000 * (notes.seen - begun))
    for k in range(MOVES // 2):
        if store.run().state != "running":
            lab.start()
            yield 2.0
        run, value = store.run(), 0.02 + 0.001 * k
        notes.wanted = lambda plot, run=run, value=value: any(
            c.knob == "lr" and c.value == value and measured_in(window, c.step)(plot)
            for c in run.changes
        )
        begun = time.time()
        lab.move("lr", value)
        yield PAUSE
        found["hot"].append(1000 * (notes.seen - begun))
    lab.commit("lr", value)
    for k in range(MOVES // 2):
        before = store.current
        lab.commit("width", 40 + k)
        lab._restart.stop()  # 300 ms without another movement have passed
        notes.wanted = measured_in(window, -1, before)
        begun = time.time()
        lab.start()
        yield PAUSE
        found["new"].append(1000 * (notes.seen - begun))


def ran(what: str) -> Any:
    """`what` in a program of its own, which has nothing but the standard library to begin with."""
    with tempfile.TemporaryDirectory(prefix="lemmascope-bench-") as home:
        env = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "LEMMASCOPE_STATE": home,
               "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home, "XDG_STATE_HOME": home}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.starting", what, str(time.time())],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if not done.stdout.strip():
            raise RuntimeError(f"the program gave no times: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])


def rows() -> list[dict[str, Any]]:
    from tests.benchmarks.steps import row

    def line(what: str, want: float, got: list[float], unit: str) -> dict[str, Any]:
        return row(f"{what} (at most)", want, statistics.median(got), most=True, unit=unit)

    ran("start")  # what the disk has to fetch once is not counted
    starts = [ran("start") for _ in range(ROUNDS)]
    moved = ran("moves")
    return [
        line("program started → window painted", 1.5, [s["window"] for s in starts], "s"),
        line("program started → first measured point", 5, [s["point"] for s in starts], "s"),
        line("slider moved → theory's line redrawn", 50, moved["overlay"], "ms"),
        line("hot slider moved → first point with its value", 250, moved["hot"], "ms"),
        line("new run asked for → its first point", 250, moved["new"], "ms"),
    ]


if __name__ == "__main__":
    print(json.dumps(start(float(sys.argv[2])) if sys.argv[1] == "start" else moves()))
    sys.stdout.flush()
