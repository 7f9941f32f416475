"""The main window: what its parts tell each other, and what happens on opening, saving, closing."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QMenu

from desktop import commands, theme, window_actions
from desktop.actions import Registry
from desktop.examples import ExamplesMenu
from desktop.frames import Frames
from desktop.lab import Lab
from desktop.link import own_folder
from desktop.panels.board import Cell
from desktop.panels.common import plain
from desktop.panels.dialogs import LogWindow
from desktop.panels.gallery import short_title
from desktop.panels.own import OwnDialog
from desktop.panels.recovery import Recovery
from desktop.requests import Sender
from desktop.runs import ACTIVE
from desktop.settings import Settings
from desktop.store import Store
from desktop.widgets.palette import Palette
from desktop.window_docks import Docked
from desktop.window_files import Files, sessions_in

log = logging.getLogger("lemmascope")


class Window(Docked):
    closed = Signal()

    def __init__(self, store: Store, link: Sender, settings: Settings) -> None:
        super().__init__()
        self.store, self.settings = store, settings
        self.lab = Lab(store, link, self)
        self.setAcceptDrops(True)
        self.setWindowIcon(theme.icon("lemmascope"))
        self.setDockNestingEnabled(True)
        self.setContentsMargins(8, 4, 8, 0)
        self.files = Files(self)
        self.recovery = Recovery(store)
        self.registry = Registry(self)
        window_actions.register(self, self.registry)
        self.menus = self.registry.fill(self.menuBar())
        self._recent_menu()
        self._verdict_dirty = self._actions_dirty = True
        self._build()
        self.palette_box = Palette(
            self,
            lambda: commands.entries(
                self.registry, self.lab, settings.recent, self.files.open_path, self.open_palette
            ),
            commands.assignments(self.lab),
        )
        self.log_window: LogWindow | None = None
        self.own_window: OwnDialog | None = None
        self.asked: Cell | None = None  # whose context menu was opened
        self._quitting = False
        self.discard = True  # on leaving: what is not saved is not wanted
        self._connect()
        self.frames = Frames(self._panels, self.board, self)
        self.retitle()
        self._restore()

    # --- construction ---

    def _recent_menu(self) -> None:
        self.recent_menu = QMenu("Open recent", self)
        file = self.menus["File"]
        before = self.registry.qaction("file.save")
        file.insertMenu(before, self.recent_menu)
        self.examples_menu = ExamplesMenu(self)
        file.insertMenu(before, self.examples_menu)
        self.recent_menu.aboutToShow.connect(self._fill_recent)
        file.aboutToShow.connect(lambda: self.recent_menu.setEnabled(bool(self.settings.recent)))

    def _open_preset(self, name: str, preset: str) -> None:
        self.lab.open(name)
        self.lab.choose_preset(preset)

    def _fill_recent(self) -> None:
        self.recent_menu.clear()
        for path in self.settings.recent:
            self.recent_menu.addAction(
                os.path.basename(path), functools.partial(self.files.open_path, path)
            ).setToolTip(path)

    def _connect(self) -> None:
        store, lab = self.store, self.lab
        store.catalogue_changed.connect(self._catalogue)
        store.notice.connect(self._notice)
        store.trouble.connect(self._trouble)
        self.recovery.open_wanted.connect(lab.recover)
        self.recovery.discard_wanted.connect(lab.disown)
        self.recovery.save_wanted.connect(self.files.save)
        store.run_changed.connect(self._run_changed)
        store.current_changed.connect(self._current)
        store.modified_changed.connect(lambda _: self.retitle())
        store.history.changed.connect(self._touch_actions)
        lab.experiment_changed.connect(self._experiment)
        lab.values_changed.connect(lambda: self.gallery.set_current(self.open_name(), lab.preset))
        self.gallery.chosen.connect(lab.show)
        self.gallery.preset_chosen.connect(self._open_preset)
        self.explain.preset_chosen.connect(lab.choose_preset)
        self.explain.symbols_hovered.connect(self.parameters.highlight)
        self.runs.menu_wanted.connect(self._run_menu)
        self.board.menu_wanted.connect(self._plot_menu)
        for dock in self.docks.values():
            dock.visibilityChanged.connect(lambda _: self._touch_actions())
        theme.changed.connect(self._touch_actions)

    # --- what is said ---

    def _notice(self, kind: str, text: str) -> None:
        """What the engine says goes to the notice, and what is wrong to the log as well."""
        if kind == "error":
            log.error("%s", text)
        self.notice.say(kind, text)

    def _trouble(self, run: str, text: str) -> None:
        """A run failed or does not answer: said once, with what can be done about it."""
        log.error("%s", text)
        found = self.store.runs[run]
        answers: dict[str, Callable[[], None]] = {}
        if found.state in ACTIVE:
            answers["Stop"] = lambda: self.lab.stop(run)
        else:
            if found.device != "cpu":
                answers["Resume on the CPU"] = lambda: self.lab.resume_on_cpu(run)
            answers["Resume"] = lambda: self.lab.resume(run)
        self.notice.say("error", text, answers=answers, key=f"trouble {run}")

    # --- what changes ---

    def open_name(self) -> str:
        return self.lab.card.name if self.lab.card else ""

    def _catalogue(self) -> None:
        self.gallery.set_cards(self.store.cards)
        self.gallery.set_current(self.open_name(), self.lab.preset)
        n = len(self.store.cards)
        self.say(f"{n} results" if n != 1 else "1 result")
        if not n:
            self.notice.say("error", "No result could be loaded. The log has the reasons.")

    def _experiment(self) -> None:
        card = self.lab.card
        self.board.show_card(card)
        self.verdict.show_card(card)
        self.explain.show_card(card)
        self.runs.show_experiment(card.name if card else "")
        self.gallery.set_current(self.open_name(), self.lab.preset)
        if card is not None:
            first = card.page.partition("\n")[0]
            self.transport.set_titles(plain(card.title), plain(first))
        self._verdict_dirty = True
        self.retitle()

    def _current(self, _: str) -> None:
        self._verdict_dirty = True
        self._touch_actions()
        self.retitle()

    def _run_changed(self, run: str, what: str) -> None:
        if run == self.store.current and what in ("verdict", "started"):
            self._verdict_dirty = True
        if what in ("state", "look", "name", "checkpoint"):
            self._touch_actions()
        if what == "state":
            found = self.store.runs.get(run)
            if found is not None and not found.why:
                self.notice.forget(f"trouble {run}")
        if what == "name":
            self.retitle()

    def _touch_actions(self) -> None:
        self._actions_dirty = True

    def retitle(self) -> None:
        run, card = self.store.run(), self.lab.card
        parts = [short_title(card)] if card else []
        if run is not None and card is not None and run.experiment == card.name:
            parts.append(run.shown_name)
        where = os.path.basename(self.store.path)
        if where and self.store.held:
            where += f" (read only: open in {plain(self.store.held, 60)})"
        self.setWindowTitle(" · ".join(["[*]" + (where or "Lemmascope"), *parts]))
        self.setWindowModified(self.store.modified)

    def say(self, text: str) -> None:
        """The status line, until something else is said there."""
        self.status_left.setText(text)

    def tick(self) -> None:
        """A whole frame at once; whatever has not changed costs nothing."""
        self._panels()
        for cell in self.board.stale():
            cell.plot.refresh()

    def _panels(self) -> None:
        """The plots are fed; transport, verdict and buttons are brought up to date."""
        self.board.feed()
        run = self.store.run()
        if run is not None and run.experiment != self.open_name():
            run = None
        self.transport.show_run(run, "" if self.store.cards else "warming up")
        if self._verdict_dirty:
            self._verdict_dirty = False
            self.verdict.show_run(run)
        if self._actions_dirty:
            self._actions_dirty = False
            self.registry.refresh()
        words = (
            f"{run.device} · {run.dtype} · {run.seeds} seeds"
            if run is not None and run.started
            else ""
        )
        if words != self.status_right.text():
            self.status_right.setText(words)

    # --- menus on things ---

    def _run_menu(self, run: str, at: QPoint) -> None:
        self._popup(window_actions.RUN_MENU, at)

    def _plot_menu(self, cell: Cell) -> None:
        self.asked = cell
        self._popup(window_actions.PLOT_MENU, cell.plot.menu_position())

    def _popup(self, names: tuple[str, ...], at: QPoint) -> None:
        menu = self.registry.menu(names, self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(at)

    # --- files ---

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if sessions_in(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        for path in sessions_in(event.mimeData()):
            self.files.open_path(path)

    # --- looking ---

    def open_palette(self, text: str = "") -> None:
        self.palette_box.open(text)

    def runs_rename(self) -> None:
        self.docks["runs"].show()
        self.runs.rename_current()

    def follow(self) -> None:
        self.board.follow()

    def crosshair_off(self) -> None:
        self.board.clear_crosshair()

    def show_log(self) -> None:
        if self.log_window is None:
            self.log_window = LogWindow(self)
        self.log_window.show()
        self.log_window.raise_()

    def show_own(self) -> None:
        if self.own_window is None:
            self.own_window = own = OwnDialog(self.store, own_folder, self)
            own.allow_wanted.connect(self.lab.allow)
            own.look_wanted.connect(self.lab.describe)
        self.own_window.show()
        self.own_window.raise_()

    # --- coming and going ---

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.frames.start()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._quitting or not self.store.modified:
            self._quitting = True
            self._remember()
            self.frames.stop()
            event.accept()
            self.closed.emit()
            return
        event.ignore()
        if not self.notice.asking():
            self.notice.ask(
                "There are runs that are not saved.",
                {
                    "Save": lambda: self.files.save(self.leave),
                    "Discard": self.leave,
                    "Cancel": lambda: None,
                },
            )

    def leave(self) -> None:
        """Closes without asking."""
        self._quitting = True
        self.close()

    def leave_at_once(self) -> None:
        """Closes because the system says so: what is not saved is offered at the next start."""
        self.discard = not self.store.modified
        self.leave()
