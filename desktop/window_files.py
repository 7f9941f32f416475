"""Opening, saving and exporting, as a person asks for them. No dialog blocks: each answers by a signal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData, QObject, Qt
from PySide6.QtWidgets import QFileDialog

from desktop.panels.exporting import ExportDialog
from engine.messages import Opened, Saved

if TYPE_CHECKING:
    from desktop.window import Window

ENDINGS = (".h5", ".hdf5")
FILTER = "Lemmascope sessions (*.lemma.h5 *.h5 *.hdf5);;All files (*)"


def sessions_in(data: QMimeData) -> list[str]:
    """The session files of a drag."""
    local = [u.toLocalFile() for u in data.urls() if u.isLocalFile()]
    return [p for p in local if p.endswith(ENDINGS)]


class Files(QObject):
    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.window = window
        self._then: Callable[[], None] | None = None  # what waits for a save
        window.store.opened.connect(self._opened)
        window.store.saved.connect(self._saved)

    def open_path(self, path: str) -> None:
        path = os.path.abspath(path)
        self.window.say(f"Opening {os.path.basename(path)}…")
        self.window.lab.open_file(path)

    def ask_open(self) -> None:
        files = QFileDialog(self.window, "Open a session", self._folder(), FILTER)
        files.setFileMode(QFileDialog.FileMode.ExistingFile)
        files.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        files.fileSelected.connect(self.open_path)
        files.open()

    def _folder(self) -> str:
        recent = self.window.settings.recent
        return os.path.dirname(
            self.window.store.path or (recent[0] if recent else "")
        ) or os.path.expanduser("~")

    def _opened(self, m: Opened) -> None:
        if m.runs:
            self.window.settings.add_recent(m.path)
            self.window.say(f"Opened {os.path.basename(m.path)}")
        else:
            self.window.say("")
        if self.window.lab.card is None and self.window.store.cards:
            self.window.lab.auto_start = True
            self.window.lab.begin()
        self.window.retitle()

    def save(self, then: Callable[[], None] | None = None) -> None:
        if self.window.store.path:
            self.save_to(self.window.store.path, then)
        else:
            self.ask_save(then)

    def ask_save(self, then: Callable[[], None] | None = None) -> None:
        name = self.window.open_name().rpartition("/")[2] or "session"
        files = QFileDialog(self.window, "Save the session", self._folder(), FILTER)
        files.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        files.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        files.selectFile(os.path.basename(self.window.store.path) or f"{name}.lemma.h5")
        files.fileSelected.connect(lambda path: self.save_to(path, then))
        files.open()

    def save_to(self, path: str, then: Callable[[], None] | None = None) -> None:
        if not path.endswith(ENDINGS):
            path += ".lemma.h5"
        self._then = then
        self.window.say(f"Saving {os.path.basename(path)}…")
        runs = [r.id for r in self.window.store.runs.values() if r.started and r.experiment]
        self.window.lab.save(path, json.dumps(self.window.store.layout(runs)))

    def _saved(self, m: Saved) -> None:
        then, self._then = self._then, None
        if m.why:
            self.window.say("")
            return
        self.window.settings.add_recent(m.path)
        self.window.say(f"Saved {os.path.basename(m.path)} at {time.strftime('%H:%M')}")
        self.window.retitle()
        if then is not None:
            then()

    def ask_export(self) -> None:
        cells = self.window.board.cells
        if not cells:
            return
        first = self.window.asked if self.window.asked in cells else cells[0]
        order = [first, *(c for c in cells if c is not first)]
        plots = [(c.plot.accessibleName(), c.plot) for c in order]
        dialog = ExportDialog(self.window, plots, self._metadata)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.exported.connect(self._exported)
        dialog.open()

    def _metadata(self) -> dict[str, Any]:
        run = self.window.store.run()
        if run is None:
            return {}
        return {"experiment": run.experiment, "run": run.shown_name, "seeds": run.seeds, "dtype": run.dtype,
                **{k: v for k, v in run.values.items() if k not in run.sweep},
                **{k: list(v) for k, v in run.sweep.items()}}  # fmt: skip

    def _exported(self, files: list[str], why: str) -> None:
        if why:
            self.window.notice.say("error", why)
        if files:
            self.window.say(f"Exported {', '.join(os.path.basename(f) for f in files)}")
