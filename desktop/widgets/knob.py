"""One control for one knob: label, slider, typed entry, unit, reset and lock; a combo box for a choice."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import theme
from desktop.widgets.knob_slider import STEPS, KnobSlider
from desktop.widgets.knob_values import format_short, format_value, parse_value
from engine.spec import Knob, Value

__all__ = ["KnobControl", "format_value"]

ENTRY = 80  # width of the entry


class _Entry(QLineEdit):
    """Takes a typed value on Return or when left; arrows step as on the slider."""

    stepped = Signal(int)
    given_up = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in STEPS and key not in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.stepped.emit(STEPS[key])
        elif key == Qt.Key.Key_Escape and self.isModified():
            self.given_up.emit()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self.selectAll()


class _Elided(QLabel):
    """A label that ends in an ellipsis where it has no room, or gives way to a shorter text."""

    def __init__(self, text: str, short: str | None = None) -> None:
        super().__init__(text)
        self._short = short

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self.text()) + 2, metrics.height())

    def minimumSizeHint(self) -> QSize:
        return QSize(24, self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        p = QPainter(self)
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        if self._short is not None and text != self.text():
            text = self._short
        p.setPen(self.palette().color(self.foregroundRole()))
        p.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)


class _Choices(QComboBox):
    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class KnobControl(QWidget):
    """`changed` while a value moves, `committed` once it stays; neither for `set_value(…, quiet=True)`.

    A bad entry keeps its text, says why, and leaves the value alone. A locked knob cannot be moved by hand and is
    left out when others are randomised. A swept knob shows its values instead of one.
    """

    changed = Signal(str, object)  # name, value
    committed = Signal(str, object)  # name, value
    locked_changed = Signal(str, bool)
    sweep_dismissed = Signal(
        str
    )  # reset was pressed on a swept knob: it wants a single value again

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.knob = knob
        self._value: Value = knob.default
        self._locked = self._lit = False
        self._swept: tuple[Value, ...] | None = None
        self.spoken = f"{knob.label} {knob.symbol}".strip()
        self.slider = None if knob.kind == "choice" else KnobSlider(knob, self)
        self.entry = None if knob.kind == "choice" else _Entry(self)
        self.choice = _Choices(self) if knob.kind == "choice" else None
        self._build()
        self._connect()
        self._show()

    # --- what the window uses ---

    def value(self) -> Value:
        return self._value

    def set_value(self, value: Value, quiet: bool = False) -> None:
        """Raises the ValueError of `Knob.check`. Not quiet: emits `changed` and `committed` if it is new."""
        value = self.knob.check(value)
        new = value != self._value
        self._take(value)
        if new and not quiet:
            self.changed.emit(self.knob.name, value)
            self.committed.emit(self.knob.name, value)

    def set_locked(self, on: bool) -> None:
        if on != self._locked:
            self._locked = on
            self._show()
            self.locked_changed.emit(self.knob.name, on)

    @property
    def locked(self) -> bool:
        return self._locked

    def set_swept(self, values: Sequence[Value] | None) -> None:
        self._swept = tuple(values) if values else None
        self._show()

    def highlight(self, on: bool) -> None:
        self._lit = on
        self.update()

    def focus_entry(self) -> None:
        (self.entry or self.choice or self).setFocus(Qt.FocusReason.ShortcutFocusReason)

    def message(self) -> str:
        """What is wrong with the entry, or nothing."""
        return self._message.text()

    # --- construction ---

    def _build(self) -> None:
        knob = self.knob
        self._label = _Elided(self.spoken)
        hot = "hot" if knob.hot else ""
        self._notes = _Elided("  ".join(filter(None, (knob.unit, hot))), short=hot)
        self._notes.setProperty("role", "caption")
        self._range = QLabel()
        self._range.setProperty("role", "caption")
        self._message = QLabel()
        self._message.setProperty("role", "error")
        self._message.setWordWrap(True)
        self._reset = self._button("reset", f"Reset {knob.label}")
        self._lock = self._button("unlock", f"Lock {knob.label}")
        self._lock.setCheckable(True)
        keep = self._reset.sizePolicy()
        keep.setRetainSizeWhenHidden(True)  # the row must not jump when reset comes and goes
        self._reset.setSizePolicy(keep)

        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self._label)
        top.addWidget(self._notes)
        top.addStretch(1)
        for text in (self._label, self._notes):
            text.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        top.addWidget(self._range)
        below = QHBoxLayout()
        below.setSpacing(4)
        if self.slider and self.entry:
            self.entry.setFixedWidth(ENTRY)
            self.entry.setAlignment(Qt.AlignmentFlag.AlignRight)
            self.entry.setAccessibleName(f"{self.spoken}, value")
            self.slider.setAccessibleName(self.spoken)
            top.addWidget(self.entry)
            below.addWidget(self.slider, 1)
        elif self.choice:
            self.choice.addItems(list(knob.choices))
            self.choice.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.choice.setAccessibleName(self.spoken)
            self.choice.view().setAccessibleName(f"{self.spoken}, choices")
            below.addWidget(self.choice, 1)
        below.addWidget(self._reset)
        below.addWidget(self._lock)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 2, 8, 4)
        column.setSpacing(0)
        column.addLayout(top)
        column.addLayout(below)
        column.addWidget(self._message)
        self.setToolTip(self._tip())
        self.setAccessibleName(self.spoken)
        for child in (self.slider, self.entry, self.choice):
            if child:
                child.setAccessibleDescription(self._tip().replace("\n", " "))

    def _button(self, icon: str, name: str) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(theme.icon(icon, "muted"))
        button.setIconSize(QSize(16, 16))
        button.setFixedSize(24, 24)
        button.setToolTip(name)
        button.setAccessibleName(name)
        return button

    def _tip(self) -> str:
        knob = self.knob
        lines = [knob.meaning]
        if knob.kind == "choice":
            lines.append(f"One of {', '.join(knob.choices)}.")
        else:
            low, high = format_short(knob.low), format_short(knob.high)
            scale = ", log scale" if knob.scale == "log" else ""
            lines.append(f"From {low} to {high}{' ' + knob.unit if knob.unit else ''}{scale}.")
        lines.append(f"Default {format_value(knob, knob.default)}.")
        if knob.name != "steps":
            lines.append(
                "Hot: applies from the next step on."
                if knob.hot
                else "Cold: a change starts a new run."
            )
        return "\n".join(lines)

    def _connect(self) -> None:
        if self.slider and self.entry:
            self.slider.moved.connect(self._moved)
            self.slider.settled.connect(self._settled)
            self.entry.returnPressed.connect(self._typed)
            self.entry.editingFinished.connect(self._typed)
            self.entry.stepped.connect(self.slider.step)
            self.entry.given_up.connect(self._write)
        if self.choice:
            self.choice.activated.connect(self._chosen)
        self._reset.clicked.connect(self._on_reset)
        self._lock.toggled.connect(self.set_locked)

    # --- what a person does ---

    def _moved(self, value: Value) -> None:
        self._take(value)
        self.changed.emit(self.knob.name, value)

    def _settled(self, value: Value) -> None:
        self.committed.emit(self.knob.name, value)

    def _chosen(self, index: int) -> None:
        self.set_value(self.knob.choices[index])

    def _typed(self) -> None:
        if self.entry is None or not self.entry.isModified():
            return  # leaving an entry untouched must not round its value to the shown digits
        try:
            value = parse_value(self.knob, self.entry.text(), self._value)
        except ValueError as e:
            self._say(str(e))
            return
        self.entry.setModified(False)
        self.set_value(value)

    def _on_reset(self) -> None:
        if self._swept:
            self.sweep_dismissed.emit(self.knob.name)
        else:
            self.set_value(self.knob.default)

    # --- what is shown ---

    def _take(self, value: Value) -> None:
        new = value != self._value
        self._value = value
        self._show()
        if new:
            self._write()

    def _write(self) -> None:
        """The value into the entry, over whatever is typed there."""
        if self.entry:
            self.entry.setText(format_value(self.knob, self._value))
            self.entry.setModified(False)
        self._say("")

    def _say(self, why: str) -> None:
        self._message.setText(why)
        self._message.setVisible(bool(why))
        if self.entry:
            state = "bad" if why else ""
            if self.entry.property("state") != state:
                self.entry.setProperty("state", state)
                self.entry.style().unpolish(self.entry)
                self.entry.style().polish(self.entry)
            self.entry.setAccessibleDescription(why or self._tip().replace("\n", " "))

    def _show(self) -> None:
        swept, free = self._swept is not None, not self._locked
        if self.slider and self.entry:
            self.slider.set_exact(self._value)
            numbers = [float(v) for v in self._swept or () if isinstance(v, (int, float))]
            self.slider.set_marks(numbers)
            self.slider.setEnabled(free and not swept)
            self.entry.setEnabled(free)
            self.entry.setVisible(not swept)
            if not self.entry.isModified():
                self._write()  # but never over what a person is typing
        if self.choice:
            self.choice.setCurrentIndex(self.knob.choices.index(str(self._value)))
            self.choice.setEnabled(free and not swept)
            self._say("")
        self._range.setVisible(swept)
        self._range.setText(self._sweep_text() if swept else "")
        self._reset.setVisible(free and (swept or self._value != self.knob.default))
        name = f"Unlock {self.knob.label}" if self._locked else f"Lock {self.knob.label}"
        self._lock.setIcon(
            theme.icon(*(("lock", "accent") if self._locked else ("unlock", "muted")))
        )
        self._lock.setChecked(self._locked)
        self._lock.setToolTip(name)
        self._lock.setAccessibleName(name)

    def _sweep_text(self) -> str:
        values = self._swept or ()
        shown = [format_short(v) for v in values]
        if len(shown) <= 2 or self.knob.kind == "choice":
            return "swept " + ", ".join(shown)
        return f"swept {shown[0]}…{shown[-1]}"

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._lit:
            return
        p = QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(theme.tokens().selection))
        p.drawRoundedRect(self.rect(), 6, 6)
