"""One control for one knob."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from engine.spec import Knob, Value


def format_value(knob: Knob, value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class KnobControl(QWidget):
    changed = Signal(str, object)  # name, value: live, while dragging
    committed = Signal(str, object)  # name, value: released, entered, chosen
    locked_changed = Signal(str, bool)

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.knob = knob
        self._value: Value = knob.default
        self._locked = False

    def value(self) -> Value:
        return self._value

    def set_value(self, value: Value, quiet: bool = False) -> None:
        self._value = self.knob.check(value)
        if not quiet:
            self.changed.emit(self.knob.name, self._value)

    @property
    def locked(self) -> bool:
        return self._locked

    def set_locked(self, on: bool) -> None:
        self._locked = on

    def set_swept(self, values: Sequence[Value] | None) -> None: ...

    def highlight(self, on: bool) -> None: ...
