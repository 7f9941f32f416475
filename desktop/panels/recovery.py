"""What a crash left: a quiet strip with one line a run. Nothing is lost while nobody answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from desktop import theme
from desktop.panels.common import Elided, label, plain
from desktop.panels.transport import thousands
from desktop.store import Store
from engine.messages import Array

SHOWN = 3  # lines without scrolling
LINE = 32


def moment(seconds: float, now: float | None = None) -> str:
    """`at 14:03`, `yesterday at 14:03`, `on 3 March 2026 at 14:03`; nothing for a time that cannot be."""
    try:
        then, today = time.localtime(seconds), time.localtime(now)
    except (ValueError, OverflowError, OSError):
        return ""
    clock = time.strftime("at %H:%M", then)
    if then[:3] == today[:3]:
        return clock
    before = time.localtime((time.time() if now is None else now) - 86400)
    if then[:3] == before[:3]:
        return f"yesterday {clock}"
    return f"on {then.tm_mday} {time.strftime('%B %Y', then)} {clock}"


class Preview(QWidget):
    """A reading's course, small: what a person knows a run by."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(72, 20)
        self.points: QPolygonF | None = None
        self.hide()

    def show_points(self, values: Array | None) -> None:
        """(2, n): steps and values; where they spread over many decades the height is logarithmic."""
        usable = values is not None and values.ndim == 2 and values.shape[1] > 1
        self.setVisible(usable)
        if values is None or not usable:
            return
        x, y = (np.asarray(v, float) for v in values[:2])
        if y.min() > 0 and y.max() > 100 * y.min():
            y = np.log(y)
        wide, high = self.width() - 2, self.height() - 2
        px = 1 + wide * (x - x.min()) / (np.ptp(x) or 1)
        py = 1 + high * (1 - (y - y.min()) / (np.ptp(y) or 1))
        self.points = QPolygonF([QPointF(a, b) for a, b in zip(px, py, strict=True)])
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.points is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme.tokens().accent), 1.2))
        painter.drawPolyline(self.points)
        painter.end()


class Line(QWidget):
    """One journal: what it is, and what can be done with it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text, self.more = Elided(), label("", "caption")
        self.preview = Preview()
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(8)
        self._row.addWidget(self.preview)
        self._row.addWidget(self.text, 1)
        self._row.addWidget(self.more)
        self.buttons: dict[str, QPushButton] = {}
        self.setFixedHeight(LINE)

    def show_words(
        self, text: str, more: str, answers: dict[str, Callable[[], None]], what: str
    ) -> None:
        """`what` tells a screen reader whose buttons these are."""
        self.more.setText(more)
        if text != self.text.whole():
            self.text.setText(text)
        if list(answers) != list(self.buttons):
            for b in self.buttons.values():
                b.hide()
                b.deleteLater()
            self.buttons = {}
            for word in answers:
                self.buttons[word] = button = QPushButton(word)
                button.setAccessibleName(f"{word}: {what}")
                self._row.addWidget(button)
                button.show()  # at once, so that it can take the focus
            for word, act in answers.items():
                self.buttons[word].clicked.connect(act)


class Recovery(QFrame):
    """Each journal on offer: Open, Discard (asked once), Later. One that was opened: Save, Discard."""

    open_wanted = Signal(str)
    discard_wanted = Signal(str)
    save_wanted = Signal()

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Recovered runs")
        self.store = store
        self.later: set[str] = set()  # put off until the next start, or until they are asked for
        self.opening: set[str] = set()
        self.asking = ""  # the journal that Discard was pressed for
        self.lines: dict[str, Line] = {}
        self._mark = QLabel()
        self.heading = label("", "section")
        self.hint = label("", "caption")
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self._mark)
        head.addWidget(self.heading)
        head.addWidget(self.hint, 1)
        self._inside = QWidget()
        self._column = QVBoxLayout(self._inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._scroller = QScrollArea()
        self._scroller.setWidgetResizable(True)
        self._scroller.setFrameShape(QFrame.Shape.NoFrame)
        self._scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroller.setAccessibleName("Recovered runs")
        self._scroller.setWidget(self._inside)
        self._scroller.viewport().setAutoFillBackground(False)
        self._inside.setAutoFillBackground(False)  # setWidget turns it on
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 8, 6)
        column.setSpacing(4)
        column.addLayout(head)
        column.addWidget(self._scroller)
        store.orphans_changed.connect(self.refresh)
        store.catalogue_changed.connect(self.refresh)
        store.run_removed.connect(lambda _: self.refresh())
        store.opened.connect(self._opened)
        theme.changed.connect(self._draw_mark)
        self._draw_mark()
        self.hide()

    def _draw_mark(self) -> None:
        self._mark.setPixmap(theme.icon("clock", "accent").pixmap(QSize(18, 18)))

    def show_all(self) -> None:
        """Also what was put off."""
        self.later = set()
        self.refresh()

    def refresh(self) -> None:
        offered = [p for p in self.store.orphans if p not in self.later]
        opened = [p for p in self.store.recovered() if p not in self.later]
        paths = [*opened, *offered]
        for path in [p for p in self.lines if p not in paths]:
            line = self.lines.pop(path)
            self._column.removeWidget(line)
            line.hide()
            line.deleteLater()
        for path in paths:
            if path not in self.lines:
                self.lines[path] = line = Line(self._inside)
                self._column.addWidget(line)
                line.show()
            self._fill(path, self.lines[path])
        n = len(paths)
        self.heading.setText("RECOVERED RUN" if n == 1 else f"{n} RECOVERED RUNS")
        self.hint.setText(
            "Lemmascope did not close properly. What was measured is kept until you decide."
        )
        self._scroller.setFixedHeight(LINE * max(1, min(n, SHOWN)))
        self.setVisible(bool(paths))

    def _title(self, experiment: str) -> str:
        card = self.store.cards.get(experiment)
        return plain(card.title if card else experiment, 120) or "a run"

    def _fill(self, path: str, line: Line) -> None:
        offer = self.store.orphans.get(path)
        if offer is not None:
            title, when = self._title(offer.experiment), moment(offer.last)
            steps = f"{thousands(max(offer.steps, 0))} step{'s' if offer.steps != 1 else ''}"
            more = f"{steps}, last {when}" if when else steps
        else:
            runs = self.store.recovered().get(path, [])
            title = self._title(runs[0].experiment) if runs else ""
            more = "open, not saved yet"
        text = title
        answers: dict[str, Callable[[], None]]
        if path == self.asking:
            text, more = f"Discard {title} for good?", ""
            answers = {"Discard for good": lambda: self._discard(path), "Keep": self._keep}
        elif offer is None:
            answers = {"Save…": self.save_wanted.emit, "Discard": lambda: self._ask(path)}
        elif path in self.opening:
            more, answers = "opening…", {}
        else:
            answers = {
                "Open": lambda: self._open(path),
                "Discard": lambda: self._ask(path),
                "Later": lambda: self._later(path),
            }
        line.show_words(text, more, answers, title)
        if offer is not None:
            line.preview.show_points(offer.preview)

    def _open(self, path: str) -> None:
        self.opening.add(path)
        self.setFocus()  # until there are buttons again; else the focus wanders off to the next control
        self.refresh()
        self.open_wanted.emit(path)

    def _opened(self, m: object) -> None:
        path = getattr(m, "path", "")
        self.opening.discard(path)
        self.refresh()
        if self.hasFocus() and path in self.lines:
            next(iter(self.lines[path].buttons.values())).setFocus()

    def _ask(self, path: str) -> None:
        self.asking = path
        self.refresh()
        self.lines[path].buttons["Keep"].setFocus()

    def _keep(self) -> None:
        self.asking = ""
        self.refresh()

    def _discard(self, path: str) -> None:
        self.asking = ""
        self.discard_wanted.emit(path)

    def _later(self, path: str) -> None:
        self.later.add(path)
        self.refresh()
