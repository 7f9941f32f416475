"""When the window came to what, for measuring its start: JSON lines in the file that `LEMMASCOPE_TRACE` names.

A line is `{"what": "painted", "at": 1764108000.412}`, in seconds since 1970. Without the variable nothing is kept.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QTimer

from engine.messages import Catalogue, Message, Rows

if TYPE_CHECKING:
    from desktop.link import Link
    from desktop.window import Window


class Trace(QObject):
    """Marks each thing once: "qt", "window", "painted", "catalogue", "reading", "point"."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._marked: set[str] = set()
        self._window: Window | None = None

    def mark(self, what: str) -> None:
        if what not in self._marked:
            self._marked.add(what)
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(json.dumps({"what": what, "at": time.time()}) + "\n")

    def watch(self, window: Window, link: Link) -> None:
        self._window = window
        window.installEventFilter(self)
        link.received.connect(self._heard)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self, lambda: self.mark("painted"))  # once all of it is
        return False

    def _heard(self, message: Message) -> None:
        if isinstance(message, Catalogue):
            self.mark("catalogue")
        elif isinstance(message, Rows) and "reading" not in self._marked:
            self.mark("reading")
            assert self._window is not None
            self._window.tick()
            self._window.repaint()  # the point is there once it is painted
            self.mark("point")


def from_environment() -> Trace | None:
    path = os.environ.get("LEMMASCOPE_TRACE")
    return Trace(path) if path else None
