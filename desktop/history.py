"""Undo as named steps: each a pair of functions. No Qt widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

Act = Callable[[], None]


@dataclass
class Step:
    text: str  # "delete η = 0.05", after "Undo: "
    undo: Act
    redo: Act
    key: str = ""  # successive steps of one key become one
    gone: Act = lambda: None  # it has been done and can no longer be undone


class History(QObject):
    """`did` records what has been done already. While an undo runs, nothing is recorded."""

    changed = Signal()
    LIMIT = 200

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self._busy = False

    def did(self, text: str, undo: Act, redo: Act, key: str = "", gone: Act = lambda: None) -> None:
        if self._busy:
            return
        last = self._done[-1] if self._done else None
        if key and last is not None and last.key == key and not self._undone:
            undo = last.undo  # one step back over the whole movement
            self._done.pop()
        for old in self._done[: max(0, len(self._done) - self.LIMIT + 1)]:
            old.gone()
        self._done = [*self._done[-self.LIMIT + 1 :], Step(text, undo, redo, key, gone)]
        self._undone = []
        self.changed.emit()

    def seal(self) -> None:
        """What comes next starts a step of its own."""
        if self._done:
            self._done[-1].key = ""

    @property
    def undo_text(self) -> str:
        return self._done[-1].text if self._done else ""

    @property
    def redo_text(self) -> str:
        return self._undone[-1].text if self._undone else ""

    def undo(self) -> None:
        self._move(self._done, self._undone, lambda s: s.undo)

    def redo(self) -> None:
        self._move(self._undone, self._done, lambda s: s.redo)

    def _move(self, source: list[Step], target: list[Step], which: Callable[[Step], Act]) -> None:
        if not source or self._busy:
            return
        step = source.pop()
        self._busy = True
        try:
            which(step)()
        finally:
            self._busy = False
        target.append(step)
        self.changed.emit()

    def clear(self) -> None:
        for old in self._done:
            old.gone()
        self._done, self._undone = [], []
        self.changed.emit()
