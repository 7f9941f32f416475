"""What every plot is: measured traces and theory of several runs, painted when asked.

`set_…` only stores; `refresh`, called by the window's one timer, works out what changed and asks for a repaint. A plot is
one widget and paints everything itself (paper.py), so that a file is the same picture on another painter (export.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QPoint, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from desktop import theme
from desktop.plots import axes, paper
from desktop.plots.content import (
    Content,
    Measured,
    Reading,
    Role,
    TagOf,
    Theory,
    extent,
    with_theory,
)
from desktop.plots.crosshair import Crosshair
from desktop.plots.geometry import Frame, Quality
from desktop.plots.marks import Line

Array = np.ndarray[Any, Any]
REST = 400  # ms without new data after which a plot is drawn finely
__all__ = [
    "Content",
    "Measured",
    "PlotView",
    "Reading",
    "Role",
    "TagOf",
    "Theory",
    "extent",
    "make_plot",
]

SHRINK = 0.55  # a range that follows data narrows once they fill less than this of it
THEORY_ROOM = (
    3.0  # times the measured span that a theory outside its assumptions may take of the axis
)


class PlotView(QWidget):
    crosshair_moved = Signal(float)  # x in the data's own units, by hand or key; NaN: put away
    menu_requested = Signal()  # at menu_position()
    follow_changed = Signal(bool)
    has_axes = True  # a matrix has none

    def __init__(
        self,
        *,
        title: str,
        x_label: str,
        y_label: str,
        x_scale: str = "linear",
        y_scale: str = "linear",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.x_scale, self.y_scale = x_scale, y_scale
        self.measured: dict[str, Measured] = {}
        self.theory: dict[tuple[str, str], Theory] = {}
        self.events: dict[str, list[tuple[float, str]]] = {}
        self.range: list[float] = [0.0, 1.0, 0.0, 1.0]  # x0, x1, y0, y1 in axis coordinates
        self.following, self._dirty, self._streaming = True, True, False
        self.content = Content()
        self.layout_memory = paper.Memory()
        self._menu_at: QPoint | None = None
        self.ring = False  # focus came by key, so it is shown

        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(240, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(title or y_label)
        self.crosshair = Crosshair(self)
        self.crosshair.moved.connect(self.crosshair_moved)
        self._fit_button = QToolButton(self)
        self._fit_button.setIcon(theme.icon("fit", "muted"))
        self._fit_button.setFixedSize(24, 24)
        self._fit_button.setToolTip("Show all data again and follow new ones")
        self._fit_button.setAccessibleName(f"Fit {title or y_label}")
        self._fit_button.hide()
        self._fit_button.clicked.connect(lambda: self.follow(True))
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST)
        self._rest.timeout.connect(self._at_rest)
        theme.changed.connect(self._restyle)

    def sizeHint(self) -> QSize:
        return QSize(480, 320)

    # --- data in ---

    def set_measured(self, run: str, m: Measured) -> None:
        self.measured[run] = m
        self._changed(run)
        self._streaming = True
        self._rest.start()

    def set_theory(self, run: str, name: str, t: Theory) -> None:
        self.theory[run, name] = t
        self._changed(run)

    def set_events(self, run: str, events: list[tuple[float, str]]) -> None:
        self.events[run] = list(events)
        self._dirty = True

    def remove(self, run: str) -> None:
        self.measured.pop(run, None)
        self.events.pop(run, None)
        for key in [k for k in self.theory if k[0] == run]:
            del self.theory[key]
        self._forget(run)
        self._dirty = True

    def remove_theory(self, run: str, name: str) -> None:
        self.theory.pop((run, name), None)
        self._changed(run)

    def clear(self) -> None:
        for run in [*self.measured, *(r for r, _ in self.theory), *self.events]:
            self.remove(run)
        self.crosshair.set(None)
        self.choose(None, None)
        self.layout_memory = paper.Memory()
        self.follow(True)

    def set_scale(self, x: str | None = None, y: str | None = None) -> None:
        self.x_scale, self.y_scale = x or self.x_scale, y or self.y_scale
        self._rescaled()
        self.follow(True)

    def set_labels(self, *, title: str = "", x_label: str = "", y_label: str = "") -> None:
        self.title, self.x_label = title or self.title, x_label or self.x_label
        self.y_label = y_label or self.y_label
        self.setAccessibleName(self.title or self.y_label)
        self._dirty = True

    def _changed(self, run: str) -> None:
        self._dirty = True

    def _forget(self, run: str) -> None:
        """A run is gone."""

    def _rescaled(self) -> None:
        """Axis coordinates that were kept are void."""

    # --- what is drawn ---

    @property
    def stale(self) -> bool:
        """Whether something changed since the last `refresh`."""
        return self._dirty

    def refresh(self) -> None:
        """Takes in what changed and repaints. Does nothing where nothing did."""
        if not self._dirty:
            return
        self._dirty = False
        self.content = self.build(paper.Look(theme.tokens()))
        if self.following:
            self._fit()
        self.setAccessibleDescription(self.summary())
        self.update()

    def build(self, look: paper.Look) -> Content:
        """Marks and labels for the data now. Subclasses say what they are."""
        return Content()

    def paint_under(self, p: QPainter, f: Frame, look: paper.Look, q: Quality) -> None:
        """Before the marks, clipped to the frame."""

    def paint_over(self, p: QPainter, f: Frame, look: paper.Look, q: Quality) -> None:
        """After the labels."""

    def _fit(self) -> None:
        c = self.content
        if c.x is not None:
            self.range[0:2] = axes.padded(*c.x, part=0.02)
        y = with_theory(c.y, c.y_theory, c.y_invalid)
        if y is None:
            return
        low, high = axes.padded(*y)
        high += 0.04 * (high - low)  # a line of text fits above the curves
        low = low if c.y_floor is None else c.y_floor
        old = self.range[2:4]
        inside = old[0] <= y[0] and y[1] <= old[1]
        if self._streaming and inside and high - low > SHRINK * (old[1] - old[0]):
            return  # axes that twitch with every reading are not read
        self.range[2:4] = [low, high]

    def _at_rest(self) -> None:
        self._streaming = False
        self.update()

    @property
    def at_rest(self) -> bool:
        return not self._streaming

    def _restyle(self) -> None:
        self._dirty = True
        self.layout_memory = paper.Memory()
        self.refresh()

    def follow(self, on: bool) -> None:
        """Whether the range keeps all data in view. Zooming and panning turn it off."""
        if on != self.following:
            self.following = on
            self.follow_changed.emit(on)
        self._fit_button.setVisible(not on)
        if on:
            streaming, self._streaming = self._streaming, False
            self._dirty = True
            self.refresh()
            self._streaming = streaming

    def frame(self) -> Frame:
        """The data's rectangle as last painted, with the range of now."""
        f = self.layout_memory.frame or Frame(40, 20, 100, 100, 0, 1, 0, 1)
        return Frame(f.left, f.top, f.width, f.height, *self.range)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._dirty and not self.layout_memory.frame:
            self.refresh()  # shown before the first tick of the timer
        p = QPainter(self)
        try:
            quality = Quality(fine=self.at_rest, ratio=p.deviceTransform().m11())
            look = paper.Look(theme.tokens(), theme.scale())
            paper.draw(self, p, QRectF(self.rect()), look, quality, self.layout_memory)
            if self.ring and self.hasFocus():
                paper.focus_ring(p, QRectF(self.rect()), look)
        finally:
            p.end()  # a painter left open by an exception takes the process down

    def focusInEvent(self, event: QFocusEvent) -> None:
        by_key = (
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
            Qt.FocusReason.ShortcutFocusReason,
        )
        self.ring = event.reason() in by_key
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit_button.move(self.width() - 30, 6)

    # --- range by hand ---

    def zoom(
        self, factor: float, about: tuple[float, float], x: bool = True, y: bool = False
    ) -> None:
        """Enlarge by `factor` about a point in axis coordinates."""
        for k, on in ((0, x), (2, y)):
            if on:
                low, high = self.range[k : k + 2]
                centre = about[k // 2]
                new = [centre + (low - centre) / factor, centre + (high - centre) / factor]
                least = 1e-9 * max(1.0, abs(centre))
                if least < new[1] - new[0] < 1e12 * max(1.0, abs(centre)):
                    self.range[k : k + 2] = new
        self._by_hand()

    def pan(self, dx: float, dy: float) -> None:
        """Shift the view by so much in axis coordinates."""
        self.range = [
            self.range[0] + dx,
            self.range[1] + dx,
            self.range[2] + dy,
            self.range[3] + dy,
        ]
        self._by_hand()

    def _by_hand(self) -> None:
        if self.following:
            self.follow(False)
        self._dirty = True  # a long curve may be wanted with all its points now
        self.update()

    # --- crosshair, menu, words ---

    def set_crosshair(self, x: float | None) -> None:
        """Put it where another plot has it; emits nothing."""
        self.crosshair.set(x)

    def readings(self, x: float) -> list[Reading]:
        """What the crosshair reads at x."""
        return []

    def stops(self) -> Array:
        """The abscissae that the crosshair can stand on, ascending."""
        return np.zeros(0)

    def choose(self, low: float | None, high: float | None) -> str:
        """A range of x to read something in, for plots that can; returns what is read, in words."""
        return ""

    def choosing(self) -> bool:
        return False

    def ask_for_menu(self, at: QPoint | None) -> None:
        self._menu_at = at
        self.menu_requested.emit()

    def menu_position(self) -> QPoint:
        """Where the menu that was asked for opens, on the screen."""
        return self._menu_at or self.mapToGlobal(self.rect().center())

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """All that is plotted: headers and rows."""
        return [], []

    def summary(self) -> str:
        """The plot in a sentence, for a screen reader."""
        return f"{self.title or self.y_label}: waiting for the first reading."

    def lines(self) -> list[Line]:
        return [m for m in self.content.marks if isinstance(m, Line)]


def make_plot(kind: str, **kw: Any) -> PlotView:
    """The plot for a kind of metric: scalar, modes, profile, spectrum, matrix, sweep."""
    from desktop.plots.curves import CurvesPlot
    from desktop.plots.histogram import HistogramPlot
    from desktop.plots.matrix import MatrixPlot
    from desktop.plots.profile import ProfilePlot
    from desktop.plots.sweep import SweepPlot

    kinds: dict[str, type[PlotView]] = {
        "scalar": CurvesPlot,
        "modes": CurvesPlot,
        "profile": ProfilePlot,
        "spectrum": HistogramPlot,
        "matrix": MatrixPlot,
        "sweep": SweepPlot,
    }
    if kind not in kinds:
        raise ValueError(f"no plot for {kind}; there are {', '.join(kinds)}")
    return kinds[kind](**kw)
