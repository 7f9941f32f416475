"""The crosshair, and the hand on a plot: hover and arrow keys read, the wheel zooms, dragging pans.

By mouse it follows the pointer and leaves with it. By key it stays: Left and Right go from reading to reading (with
Shift ten at once), Home and End to the ends, Escape puts it away, and every stop is spoken. Dragging with Shift, or `[` and
`]` at two places, choose a range for the exponent tool.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QContextMenuEvent,
    QKeyEvent,
    QMouseEvent,
    QWheelEvent,
)

from desktop.plots import axes

if TYPE_CHECKING:
    from desktop.plots.base import PlotView

WHEEL = 1.2  # zoom of one notch


class Crosshair(QObject):
    moved = Signal(float)

    def __init__(self, plot: PlotView) -> None:
        super().__init__(plot)
        self.plot = plot
        self.x: float | None = None
        self._held = False  # put there by key: the pointer's leaving does not take it away
        self._drag: QPointF | None = None
        self._from: float | None = None  # where a range of the exponent tool began
        plot.installEventFilter(self)

    def set(self, x: float | None) -> None:
        """Put it at x, or away for None and NaN; emits nothing."""
        x = None if x is None or math.isnan(x) else x
        if x != self.x:
            self.x = x
            self._held = False
            self.plot.update()

    def _away(self) -> None:
        if self.x is not None:
            self.set(None)
            self.moved.emit(math.nan)  # so that linked plots put theirs away too

    def _go(self, x: float, held: bool) -> None:
        stops = self.plot.stops()
        if len(stops):
            k = int(np.searchsorted(stops, x))
            near = stops[max(0, k - 1) : k + 1]
            distance = np.abs(
                axes.to_axis(near, self.plot.x_scale) - axes.to_axis(x, self.plot.x_scale)
            )
            distance = np.where(np.isnan(distance), np.inf, distance)
            x = float(near[int(np.argmin(distance))])
        self._held = held
        if x != self.x:
            self.x = x
            self.plot.update()
            self.moved.emit(x)

    # Qt hands every event of the plot through here first; true means that it was used up.
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            return self._mouse(event)
        if kind == QEvent.Type.MouseButtonPress and isinstance(event, QMouseEvent):
            return self._press(event)
        if kind == QEvent.Type.MouseButtonRelease and isinstance(event, QMouseEvent):
            return self._release()
        if kind == QEvent.Type.MouseButtonDblClick:
            self.plot.follow(True)
            return True
        if kind == QEvent.Type.Leave:
            if not self._held:
                self._away()
            return False
        if kind == QEvent.Type.Wheel and isinstance(event, QWheelEvent):
            return self._wheel(event)
        if kind == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            return self._key(event)
        if kind == QEvent.Type.ContextMenu and isinstance(event, QContextMenuEvent):
            by_mouse = event.reason() == QContextMenuEvent.Reason.Mouse
            self.plot.ask_for_menu(event.globalPos() if by_mouse else None)
            return True
        return False

    def _press(self, event: QMouseEvent) -> bool:
        if event.button() != Qt.MouseButton.LeftButton:
            return False
        self.plot.setFocus(Qt.FocusReason.MouseFocusReason)
        f, at = self.plot.frame(), event.position()
        if f.rect.contains(at):
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self._from = axes.from_axis(f.x_of(at.x()), self.plot.x_scale)
                self.plot.choose(None, None)
            else:
                self._drag = at
        return True

    def _release(self) -> bool:
        self._drag = self._from = None
        self.plot.unsetCursor()
        return False

    def _mouse(self, event: QMouseEvent) -> bool:
        f, at = self.plot.frame(), event.position()
        if self._from is not None and event.buttons() & Qt.MouseButton.LeftButton:
            inside = min(max(at.x(), f.left), f.left + f.width)
            self.plot.choose(self._from, axes.from_axis(f.x_of(inside), self.plot.x_scale))
        elif self._drag is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.plot.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.plot.pan(
                (self._drag.x() - at.x()) * (f.x1 - f.x0) / f.width,
                (at.y() - self._drag.y()) * (f.y1 - f.y0) / f.height,
            )
            self._drag = at
        elif f.rect.contains(at):
            self._go(axes.from_axis(f.x_of(at.x()), self.plot.x_scale), held=False)
        elif not self._held:
            self._away()
        return False

    def _wheel(self, event: QWheelEvent) -> bool:
        f, at = self.plot.frame(), event.position()
        notches = event.angleDelta().y() / 120
        if not notches or not f.rect.contains(at):
            return False
        vertical = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        self.plot.zoom(WHEEL**notches, (f.x_of(at.x()), f.y_of(at.y())), not vertical, vertical)
        event.accept()
        return True

    def _key(self, event: QKeyEvent) -> bool:
        key, plot = Qt.Key(event.key()), self.plot
        f = plot.frame()
        middle = (0.5 * (f.x0 + f.x1), 0.5 * (f.y0 + f.y1))
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End):
            self._step(key, 10 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
        elif key == Qt.Key.Key_BracketLeft and self.x is not None:
            self._from = self.x
        elif key == Qt.Key.Key_BracketRight and self.x is not None and self._from is not None:
            said = plot.choose(self._from, self.x)
            self._from = None
            self._say(said)
        elif key == Qt.Key.Key_Escape and (self.x is not None or plot.choosing()):
            plot.choose(None, None)
            self._away()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            plot.zoom(WHEEL, middle)
        elif key == Qt.Key.Key_Minus:
            plot.zoom(1 / WHEEL, middle)
        elif key == Qt.Key.Key_0:
            plot.follow(True)
        else:
            return False
        event.accept()
        return True

    def _step(self, key: Qt.Key, by: int) -> None:
        stops = self.plot.stops()
        if not len(stops):
            return
        here = len(stops) - 1 if self.x is None else int(np.argmin(np.abs(stops - self.x)))
        if key == Qt.Key.Key_Home:
            k = 0
        elif key == Qt.Key.Key_End or self.x is None:
            k = len(stops) - 1
        else:
            k = here + (by if key == Qt.Key.Key_Right else -by)
        self._go(float(stops[min(max(k, 0), len(stops) - 1)]), held=True)
        self._speak()

    def spoken(self) -> str:
        """The read-out in words."""
        if self.x is None:
            return ""
        words = [f"{self.plot.x_label} {axes.format_exact(self.x)}"]
        for r in self.plot.readings(self.x):
            words.append(f"{r.label} {axes.format_reading(r.value)}")
            if np.isfinite(r.theory):
                words[-1] += f", theory {axes.format_reading(r.theory)}"
        return "; ".join(words)

    def _speak(self) -> None:
        self._say(self.spoken())

    def _say(self, text: str) -> None:
        self.plot.setAccessibleDescription(f"{text}. {self.plot.summary()}")
        if QAccessible.isActive():
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self.plot, text))
