"""The whole application, started as a person starts it, and what is then done to it.

python -m tests.reliability.driver ACT [torrent|broken|true]    prints one line of JSON when it has ended
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

SECONDS = float(os.environ.get("LEMMASCOPE_SECONDS", "3"))
WHEN = int(
    os.environ.get("LEMMASCOPE_WHEN", "500")
)  # ms after the first readings; −ms after the window is shown
said: dict[str, Any] = {}


def main(act: str, worker: str) -> None:
    from desktop import app, loop
    from desktop.panels.notice import Notice
    from engine.running import spawning
    from tests.reliability import torrent

    if worker != "true":
        spawning._serve = torrent.serve if worker == "torrent" else torrent.broken
    notices: list[str] = []
    say = Notice.say

    def heard(self: Any, kind: str, text: str, *more: Any, **named: Any) -> None:
        if kind == "error":
            notices.append(text)
        say(self, kind, text, *more, **named)

    Notice.say = heard  # type: ignore[method-assign]
    at_last(app.application(), lambda window: globals()[act](window, loop))
    said["code"] = app.main([])
    said["notices"] = notices
    log = loop.log_file()
    text = log.read_text() if log.exists() else ""
    said["entries"] = [x for x in text.splitlines() if " ERROR " in x]
    said["sums"] = [x for x in text.splitlines() if "the same again" in x]
    print(json.dumps(said), flush=True)


def at_last(app: Any, act: Any) -> None:
    """Calls `act(window)` once the window that is to come has been shown, or has its first readings."""
    from PySide6.QtCore import QEvent, QObject
    from PySide6.QtWidgets import QMainWindow

    class Shown(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Show and isinstance(watched, QMainWindow):
                app.removeEventFilter(self)
                watched.resize(1440, 900)  # whatever the screen: with all four plots in view
                if WHEN < 0:
                    later(-WHEN, lambda: act(watched))
                else:
                    listen(watched)
            return False

    def listen(window: Any) -> None:
        def heard(run: str, what: str) -> None:
            if what == "rows":
                window.store.run_changed.disconnect(heard)
                later(WHEN, lambda: act(window))

        window.store.run_changed.connect(heard)

    app.shown = Shown()  # as long as there is an application
    app.installEventFilter(app.shown)


def later(ms: int, act: Any) -> None:
    from PySide6.QtCore import QTimer

    QTimer.singleShot(ms, act)


def leave(window: Any, loop: Any) -> None:
    """A person closes the window."""
    said["closed"] = time.time()
    window.close()


def discard(window: Any, loop: Any) -> None:
    """With something unsaved: it asks, and the answer is Discard."""
    window.store.set_modified(True)
    window.close()
    said["asked"] = window.notice.asking() and window.isVisible()

    def answer() -> None:
        said["closed"] = time.time()
        window.notice.buttons.itemAt(1).widget().click()

    later(100, answer)


def wait(window: Any, loop: Any) -> None:
    """Something else ends it: a signal."""
    window.store.set_modified(True)
    print("ready", flush=True)


def failing(window: Any, loop: Any) -> None:
    """The worker's training throws, which it does by itself."""
    later(1500, window.leave)


def reader(window: Any, loop: Any) -> None:
    from engine.running import pool

    true = pool.decode

    def decode(blob: Any) -> Any:
        pool.decode = true
        raise ZeroDivisionError("thrown")

    pool.decode = decode  # type: ignore[assignment]
    later(1500, window.leave)


def saver(window: Any, loop: Any) -> None:
    from engine.sessions import saver as module

    def save(*args: Any, **named: Any) -> None:
        raise ZeroDivisionError("thrown")

    module.save = save  # type: ignore[assignment]
    window.files.save_to(os.environ["LEMMASCOPE_STATE"] + "/a.lemma.h5")
    later(1500, window.leave)


def painting(window: Any, loop: Any) -> None:
    """A painting that fails at every frame, for two seconds and a half."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QWidget

    class Broken(QWidget):
        count = 0

        def paintEvent(self, event: Any) -> None:
            Broken.count += 1
            raise ZeroDivisionError("thrown")

    broken = Broken(window)
    broken.resize(50, 50)
    broken.show()
    timer = QTimer(window)
    timer.timeout.connect(broken.update)
    timer.start(16)

    def end() -> None:
        timer.stop()
        said["painted"] = Broken.count
        said["shown"] = window.notice.said()
        window.leave()

    later(2500, end)


def ticks(window: Any, loop: Any) -> None:
    """Gaps between ticks of 10 ms while readings arrive; how old readings are when the store has them."""
    from PySide6.QtCore import Qt, QTimer

    from engine.running import pool

    gaps: list[float] = []
    ages: list[float] = []
    under_way: list[float] = []  # when they were measured
    link = window.lab.link
    true = link._heard
    most = [0]

    def heard(message: Any) -> None:
        if getattr(message, "coords", None) is not None:
            under_way.extend(message.coords)
        true(message)

    def applied(message: Any) -> None:  # after the store
        if getattr(message, "coords", None) is not None:
            now = time.monotonic()
            ages.extend(1000 * (now - t) for t in under_way)
            under_way.clear()

    link._service.on_message = heard
    link.received.connect(applied)
    last = [time.perf_counter()]
    begun = time.perf_counter()
    run = window.store.run()
    steps = run.reached

    def tick() -> None:
        now = time.perf_counter()
        gaps.append(1000 * (now - last[0]))
        last[0] = now
        most[0] = max(most[0], *(len(w._in) for w in link._service.crew.all))
        if now - begun > SECONDS:
            timer.stop()
            said["p99"], said["max"] = high(gaps, 0.99), max(gaps)
            said["age"], said["oldest"] = high(ages, 0.99), max(ages)
            said["rate"] = (run.reached - steps) / (now - begun)
            read = run.columns["sharpness", 0].steps
            said["missing"] = int(read[-1]) + 1 - len(read)
            said["held"], said["bound"] = most[0], pool.HELD
            window.leave()

    timer = QTimer(window)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    timer.start(10)


def high(values: list[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]


def slider(window: Any, loop: Any) -> None:
    """Ten thousand moves of a hot knob as fast as the loop turns; when the last one is in force."""
    from PySide6.QtCore import QTimer

    sent: list[float] = []
    send = window.lab.link.send

    def counted(message: Any) -> None:
        sent.append(time.perf_counter())
        send(message)

    window.lab.link.send = counted
    knob = window.parameters.controls["lr"]
    ended: list[float] = []
    count = [0]
    begun = time.perf_counter()

    def move() -> None:
        for _ in range(3):
            count[0] += 1
            knob._moved(0.05 + 0.5 * (count[0] % 997) / 997)
        if count[0] >= 10_000:
            timer.stop()
            knob._moved(0.1234)
            ended.append(time.perf_counter())

    def heard(run: str, what: str) -> None:
        changes = window.store.run().changes
        if ended and what == "events" and changes and abs(changes[-1].value - 0.1234) < 1e-6:
            now = time.perf_counter()
            said["force"] = 1000 * (now - ended[0])
            said["moves"] = count[0]
            said["seconds"] = ended[0] - begun
            said["sent"] = len(sent)
            said["busiest"] = max(sum(t <= s < t + 1 for s in sent) for t in sent)
            window.store.run_changed.disconnect(heard)
            window.leave()

    window.store.run_changed.connect(heard)
    timer = QTimer(window)
    timer.timeout.connect(move)
    timer.start(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "torrent")
