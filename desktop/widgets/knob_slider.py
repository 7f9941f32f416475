"""The slider of a knob: drawn by the theme, moved in steps of its scale, and spoken as the number that is shown."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QAccessibleInterface,
    QAccessibleObject,
    QAccessibleValueChangeEvent,
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSlider, QWidget

from desktop import theme
from desktop.widgets.knob_values import Ticks, format_value
from engine.spec import Knob, Value

HANDLE = 16  # width of the handle
STEPS = {
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Down: -1,
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_PageUp: 10,
    Qt.Key.Key_PageDown: -10,
}


class KnobSlider(QSlider):
    """Holds the exact value; the position is only its nearest tick. Emits what a person does, not what is set."""

    moved = Signal(object)  # value, while dragging and at each key
    settled = Signal(object)  # value, when the mouse is released or a key pressed

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.knob, self.ticks = knob, Ticks(knob)
        self._now: Value = knob.default
        self._marks: tuple[float, ...] = ()
        self.setRange(self.ticks.first, self.ticks.last)
        self.setFocusPolicy(
            Qt.FocusPolicy.StrongFocus
        )  # by Tab and click; the wheel gives no focus
        self.setFixedHeight(24)
        self.set_exact(knob.default)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(160, 24)

    def exact(self) -> Value:
        return self._now

    def shown(self) -> str:
        text = format_value(self.knob, self._now)
        return f"{text} {self.knob.unit}" if self.knob.unit else text

    def set_exact(self, value: Value) -> None:
        self._now = value
        self.setValue(self.ticks.tick(float(value)))
        self.update()
        if QAccessible.isActive():
            QAccessible.updateAccessibility(QAccessibleValueChangeEvent(self, float(value)))

    def set_marks(self, values: Sequence[float]) -> None:
        """Small marks on the groove: the values of a sweep."""
        self._marks = tuple(values)
        self.update()

    def step(self, by: int) -> None:
        """A person's move by arrow steps; ten make a page."""
        self._take(self.ticks.step(self._now, by), settled=True)

    def _take(self, value: Value, settled: bool) -> None:
        if value != self._now:
            self.set_exact(value)
            self.moved.emit(value)
            if settled and QAccessible.isActive():
                # what is spoken is the shown number, not the tick
                QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, self.shown()))
        if settled:
            self.settled.emit(self._now)

    def _x(self, tick: int) -> float:
        part = (tick - self.minimum()) / max(1, self.maximum() - self.minimum())
        return HANDLE / 2 + part * (self.width() - HANDLE)

    def _at(self, x: float) -> Value:
        part = (x - HANDLE / 2) / max(1, self.width() - HANDLE)
        span = self.maximum() - self.minimum()
        return self.ticks.value(self.minimum() + round(min(max(part, 0.0), 1.0) * span))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self.setSliderDown(True)
        self._take(self._at(event.position().x()), settled=False)
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._take(self._at(event.position().x()), settled=False)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.isSliderDown():
            self.setSliderDown(False)
            self._take(self._now, settled=True)
            self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in STEPS:
            self.step(STEPS[key])
        elif key == Qt.Key.Key_Home:
            self._take(self.ticks.value(self.minimum()), settled=True)
        elif key == Qt.Key.Key_End:
            self._take(self.ticks.value(self.maximum()), settled=True)
        else:
            event.ignore()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not self.hasFocus() or not event.angleDelta().y():
            event.ignore()  # the panel scrolls instead
            return
        self.step(1 if event.angleDelta().y() > 0 else -1)
        event.accept()

    def paintEvent(self, event: QPaintEvent) -> None:
        t = theme.tokens()
        on = self.isEnabled()
        accent = QColor(t.accent if on else t.border)
        p = QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(Qt.PenStyle.NoPen)
        middle, x = self.height() / 2, self._x(self.value())
        p.setBrush(QColor(t.hairline))
        p.drawRoundedRect(QRectF(0, middle - 1.5, self.width(), 3), 1.5, 1.5)
        if self._marks:
            p.setBrush(QColor(t.accent))
            for v in self._marks:
                at = self._x(self.ticks.tick(v))
                p.drawRoundedRect(QRectF(at - 1.5, middle - 5, 3, 10), 1.5, 1.5)
            return  # a swept knob has no single position
        p.setBrush(accent)
        p.drawRoundedRect(QRectF(0, middle - 1.5, x, 3), 1.5, 1.5)
        handle = QRectF(x - HANDLE / 2 + 1, middle - 6, HANDLE - 2, 12)
        if self.hasFocus():
            halo = QColor(accent)
            halo.setAlphaF(0.3)
            p.setBrush(halo)
            p.drawRoundedRect(handle.adjusted(-4, -4, 4, 4), 9, 9)
        p.setPen(QPen(accent, 2))
        p.setBrush(accent if self.isSliderDown() else QColor(t.surface))
        p.drawRoundedRect(handle, 6, 6)


class _Spoken(QAccessibleObject):
    """What assistive technology sees of a KnobSlider: Qt's own interface would speak the tick."""

    def _slider(self) -> KnobSlider:
        slider = self.object()
        assert isinstance(slider, KnobSlider)
        return slider

    def text(self, which: QAccessible.Text) -> str:
        slider = self._slider()
        if which == QAccessible.Text.Value:
            return slider.shown()
        if which == QAccessible.Text.Name:
            return slider.accessibleName()
        if which == QAccessible.Text.Description:
            return slider.accessibleDescription()
        return ""

    def role(self) -> QAccessible.Role:
        return QAccessible.Role.Slider

    def state(self) -> QAccessible.State:
        slider, state = self._slider(), QAccessible.State()
        state.focusable = True
        state.focused = slider.hasFocus()
        state.disabled = not slider.isEnabled()
        state.invisible = not slider.isVisible()
        return state

    def rect(self) -> QRect:
        slider = self._slider()
        return QRect(slider.mapToGlobal(QPoint(0, 0)), slider.size())

    # the stubs say that these never return None; Qt's documentation says that they may
    def parent(self) -> QAccessibleInterface | None:  # type: ignore[override]
        above = self._slider().parentWidget()
        return QAccessible.queryAccessibleInterface(above) if above else None

    def child(self, index: int) -> QAccessibleInterface | None:  # type: ignore[override]
        return None

    def childCount(self) -> int:
        return 0

    def indexOfChild(self, child: QAccessibleInterface) -> int:
        return -1


def _speak(key: str, thing: object) -> QAccessibleInterface | None:
    return _Spoken(thing) if isinstance(thing, KnobSlider) else None


QAccessible.installFactory(_speak)
