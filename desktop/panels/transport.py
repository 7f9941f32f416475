"""The head of the centre: title, play and steps, how far the run is and how long it still takes."""

from __future__ import annotations

import time

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QToolButton, QVBoxLayout, QWidget

from desktop import theme
from desktop.actions import Registry
from desktop.panels.common import Elided, label, plain
from desktop.runs import Run

STATES = {
    "queued": "waiting",
    "running": "running",
    "paused": "paused",
    "done": "done",
    "cancelled": "stopped",
}


def thousands(n: int) -> str:
    return f"{n:,}".replace(",", "\u2009")


def duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Pace:
    """Steps a second from where the run has come to, smoothed; workers report theirs a stack at a time."""

    def __init__(self) -> None:
        self._run, self._marks = "", list[tuple[float, int]]()

    def rate(self, run: Run, now: float) -> float:
        if run.id != self._run:
            self._run, self._marks = run.id, []
        marks = self._marks
        if run.state != "running":
            marks.clear()
            return 0.0
        if not marks or now - marks[-1][0] > 0.2:
            marks.append((now, run.reached))
        while len(marks) > 2 and now - marks[0][0] > 4:
            marks.pop(0)
        (t0, s0), (t1, s1) = marks[0], marks[-1]
        if t1 - t0 > 0.4:
            return (s1 - s0) / (t1 - t0)
        return run.rate


class Transport(QFrame):
    """Buttons are the registry's actions; `show_run` is called by the window's timer."""

    def __init__(self, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Transport")
        self.title = Elided("", "title")
        self.subtitle = Elided("", "caption")
        # no button of the action itself: on the accent its icon has another ink than in the menu
        self.play = QToolButton(self)
        self.play.clicked.connect(lambda: registry.run("run.toggle"))
        self._toggle = registry.qaction("run.toggle")
        self._toggle.changed.connect(self._follow)
        self.play.setProperty("kind", "primary")
        self.play.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.play.setIconSize(QSize(16, 16))
        self.play.setMinimumWidth(84)
        self.buttons = [registry.button(n, self) for n in
                        ("run.step1", "run.step10", "run.step100", "run.restart", "run.branch")]  # fmt: skip
        self.state = label(role="caption")
        self.state.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setRange(0, 1000)
        self.progress.setFixedHeight(4)
        self.progress.setAccessibleName("Progress of the run")
        self._pace = Pace()
        self._show_play("Play")
        self._follow()

        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self.title)
        texts.addWidget(self.subtitle)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addLayout(texts, 1)
        row.addSpacing(8)
        row.addWidget(self.play)
        for b in self.buttons:
            b.setIconSize(QSize(20, 20))
            b.setFixedSize(30, 28)
            row.addWidget(b)
        foot = QHBoxLayout()
        foot.setSpacing(12)
        foot.addWidget(self.progress, 1)
        foot.addWidget(self.state)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addLayout(foot)

    def _follow(self) -> None:
        self.play.setEnabled(self._toggle.isEnabled())
        self.play.setToolTip(self._toggle.toolTip())

    def _show_play(self, word: str) -> None:
        if self.play.text() != word:
            self.play.setText(word)
            self.play.setIcon(theme.icon("pause" if word == "Pause" else "play", "on_accent"))
            self.play.setAccessibleName(word)

    def set_titles(self, title: str, subtitle: str) -> None:
        self.title.setText(title)
        self.subtitle.setText(subtitle)

    def show_run(self, run: Run | None, waiting: str = "") -> None:
        going = run is not None and run.state in ("queued", "running")
        word = (
            "Pause"
            if going
            else "Resume"
            if run is not None and run.state in ("paused", "cancelled", "failed")
            else "Play"
        )
        self._show_play(word)
        if run is None:
            self._say(waiting)
            self.progress.setValue(0)
            return
        step, steps = run.reached, max(run.steps, 0)
        rate = self._pace.rate(run, time.monotonic())
        words = [STATES.get(run.state, run.state)]
        if run.state == "stopped" and run.why:
            words = [plain(run.why, 60)]
        elif run.state == "failed":
            words = ["failed"]  # the notice and the tooltip say why
        elif going and run.why:
            words = ["does not answer"]
        self.state.setToolTip(plain(run.why))
        if steps:
            words.append(f"step {thousands(step)} of {thousands(steps)}")
        if run.state == "running" and rate > 0:
            words += [f"{thousands(round(rate)) if rate >= 10 else f'{rate:.1f}'} steps/s"]
            if steps > step:
                words.append(f"{duration((steps - step) / rate)} left")
        self._say(" · ".join(words))
        done = 1000 if run.state in ("done", "stopped") else 1000 * step // steps if steps else 0
        if self.progress.value() != done:
            self.progress.setValue(done)

    def _say(self, text: str) -> None:
        if self.state.text() != text:
            self.state.setText(text)
