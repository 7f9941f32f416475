"""When the window brings itself up to date: about thirty times a second, a part at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer

from desktop.panels.board import Board, Cell

FRAME = 0.033  # seconds from the beginning of one frame to that of the next, at least
FREE = 0.5  # of the time that a part took, the loop is free before the next
STILL = 0.1  # seconds that a part may come late before the log says so
log = logging.getLogger("lemmascope")


class Frames(QObject):
    """A frame is what stands around the plots, then each plot that changed, painted alone. Whatever comes meanwhile
    has its turn in between: no hand waits for a whole frame, and where frames are dear they become rarer."""

    def __init__(self, around: Callable[[], None], board: Board, parent: QObject) -> None:
        super().__init__(parent)
        self.around, self.board = around, board
        self._stale: list[Cell] = []  # what this frame has still to paint
        self._begun = self._due = 0.0  # when this frame began, when its next part should come
        self._going = False
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._turn)

    def start(self) -> None:
        self._going, self._due = True, time.monotonic()
        self._timer.start(0)

    def stop(self) -> None:
        self._going = False
        self._timer.stop()

    def _turn(self) -> None:
        begun = time.monotonic()
        if begun - self._due > STILL:
            log.info("the window stood still for %.0f ms", 1000 * (begun - self._due))
        try:
            if self._stale:
                self._paint(self._stale.pop(0))
            else:
                self._begun = begun
                self.around()
                self._stale = self.board.stale()
        finally:  # a part that fails does not end the others
            now = time.monotonic()
            free = now + FREE * (now - begun)
            self._due = free if self._stale else max(free, self._begun + FRAME)
            if self._going:
                self._timer.start(max(0, round(1000 * (self._due - now))))

    def _paint(self, cell: Cell) -> None:
        if cell in self.board.cells and cell.isVisible():
            cell.plot.refresh()
            cell.plot.repaint()  # now, so that its time is this part's
