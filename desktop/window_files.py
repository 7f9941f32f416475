"""Opening, saving and exporting, as a person asks for them. No dialog blocks: each answers by a signal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData, QObject, Qt
from PySide6.QtWidgets import QFileDialog

from desktop import examples
from desktop.panels.choosing import dress, file_dialog
from desktop.panels.exporting import ExportDialog
from engine.messages import Opened, Saved

if TYPE_CHECKING:
    from desktop.window import Window

ENDINGS = (".h5", ".hdf5")
FOREIGN = "no Lemmascope session"  # the saver's words for a file that is someone else's
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
        files = file_dialog(self.window, "Open a session", self._folder(), FILTER)
        files.setFileMode(QFileDialog.FileMode.ExistingFile)
        dress(files)
        files.fileSelected.connect(self.open_path)
        files.open()

    def _folder(self) -> str:
        places = [self.window.store.path, *self.window.settings.recent]
        own = [p for p in places if p and not examples.is_example(p)]
        return os.path.dirname(own[0]) if own else os.path.expanduser("~")

    def _opened(self, m: Opened) -> None:
        name = os.path.basename(m.path)
        recovered = any(r.recovered == m.path for r in self.window.store.runs.values())
        if recovered:
            self.window.say("Recovered; save it to keep it")
        elif m.runs:
            if not examples.is_example(m.path):
                self.window.settings.add_recent(m.path)
            self.window.say(f"Opened {name}")
        else:
            self.window.say("")
        if m.held and not recovered:
            self.window.notice.say(
                "info",
                f"{name} is open in {m.held} already: it is read only here, and Save asks for another name.",
            )
        if self.window.lab.card is None:  # there is nothing to see in it
            self.window.lab.auto_start = True  # now, or once it is known what is installed
            self.window.lab.begin()
        self.window.retitle()

    def save(self, then: Callable[[], None] | None = None) -> None:
        store = self.window.store
        if store.path and not store.held and not examples.is_example(store.path):
            self.save_to(store.path, then)
        else:
            self.ask_save(then)

    def ask_save(self, then: Callable[[], None] | None = None) -> None:
        name = self.window.open_name().rpartition("/")[2] or "session"
        files = file_dialog(self.window, "Save the session", self._folder(), FILTER)
        files.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        files.selectFile(self._proposal() or f"{name}.lemma.h5")
        dress(files)
        files.fileSelected.connect(lambda path: self.save_to(path, then))
        files.open()

    def _proposal(self) -> str:
        """The session's own name, or beside one that another process holds: `mine (2).lemma.h5`."""
        store = self.window.store
        name = os.path.basename(store.path)
        if not (name and store.held):
            return name
        stem, ending = name, ""
        for e in (".lemma.h5", *ENDINGS):
            if name.endswith(e):
                stem, ending = name.removesuffix(e), e
                break
        n = 2
        while os.path.lexists(os.path.join(os.path.dirname(store.path), f"{stem} ({n}){ending}")):
            n += 1
        return f"{stem} ({n}){ending}"

    def save_to(
        self, path: str, then: Callable[[], None] | None = None, overwrite: bool = False
    ) -> None:
        if not path.endswith(ENDINGS):
            path += ".lemma.h5"
        self._then = then
        self.window.say(f"Saving {os.path.basename(path)}…")
        runs = [r.id for r in self.window.store.runs.values() if r.started and r.experiment]
        layout = json.dumps(self.window.store.layout(runs))
        self.window.lab.save(path, layout, overwrite=overwrite)

    def _saved(self, m: Saved) -> None:
        then, self._then = self._then, None
        if m.why:
            self.window.say("")
            if FOREIGN in m.why:
                self._ask_overwrite(m.path, then)
            else:
                self.window.store.notice.emit("error", f"Not saved: {m.why}")
            return
        self.window.settings.add_recent(m.path)
        self.window.say(f"Saved {os.path.basename(m.path)} at {time.strftime('%H:%M')}")
        self.window.retitle()
        if then is not None:
            then()

    def _ask_overwrite(self, path: str, then: Callable[[], None] | None) -> None:
        self.window.notice.ask(
            f"{os.path.basename(path)} is no Lemmascope session. Saving there replaces what it holds.",
            {
                "Save under another name": lambda: self.ask_save(then),
                "Replace it": lambda: self.save_to(path, then, overwrite=True),
                "Cancel": lambda: None,
            },
        )

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
