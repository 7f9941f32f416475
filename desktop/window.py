"""The main window: docks around the plots, one timer that paints them, and what happens on opening, saving, closing."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable

from PySide6.QtCore import QByteArray, QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QApplication, QMainWindow, QMenu, QTabWidget, QVBoxLayout, QWidget

from desktop import commands, theme, window_actions
from desktop.actions import Registry
from desktop.lab import Lab
from desktop.link import own_folder
from desktop.panels.board import Board, Cell
from desktop.panels.common import Dock, label, plain
from desktop.panels.dialogs import LogWindow
from desktop.panels.explain import Explain
from desktop.panels.gallery import Gallery, short_title
from desktop.panels.notice import Notice
from desktop.panels.own import OwnDialog
from desktop.panels.parameters import Parameters
from desktop.panels.recovery import Recovery
from desktop.panels.runs import RunsPanel
from desktop.panels.transport import Transport
from desktop.panels.verdict import VerdictStrip
from desktop.requests import Sender
from desktop.runs import ACTIVE
from desktop.settings import Settings
from desktop.store import Store
from desktop.widgets.palette import Palette
from desktop.window_files import Files, sessions_in

FRAME = 33  # ms
LEFT, RIGHT = 240, 320
LOW = 860  # px of height under which parameters and explanation share one place
log = logging.getLogger("lemmascope")


class Window(QMainWindow):
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
        self._build_centre()
        self._build_docks()
        self._build_status()
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
        self.focus = self.present = False
        self._arranged = False  # a person has put the docks somewhere
        self._quitting = False
        self.discard = True  # on leaving: what is not saved is not wanted
        self._last = 0.0
        self._connect()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(FRAME)
        self._timer.timeout.connect(self.tick)
        self.retitle()
        self._restore()

    # --- construction ---

    def _build_centre(self) -> None:
        self.transport = Transport(self.registry)
        self.notice = Notice()
        self.board = Board(self.store)
        self.verdict = VerdictStrip()
        centre = QWidget()
        centre.setAccessibleName("Plots and verdict")
        column = QVBoxLayout(centre)
        column.setContentsMargins(4, 0, 4, 0)
        column.setSpacing(8)
        for w in (self.transport, self.notice, self.recovery):
            column.addWidget(w)
        column.addWidget(self.board, 1)
        column.addWidget(self.verdict)
        self.setCentralWidget(centre)
        self.transport.set_titles(
            "Lemmascope", "Starting the engine; the first result opens by itself."
        )
        self.verdict.show_card(None)

    def _build_docks(self) -> None:
        self.gallery, self.runs = Gallery(), RunsPanel(self.store)
        self.parameters, self.explain = Parameters(self.lab), Explain(self.lab)
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        self.docks: dict[str, Dock] = {}
        for name, panel, area in (
            ("gallery", self.gallery, left),
            ("runs", self.runs, left),
            ("parameters", self.parameters, right),
            ("explain", self.explain, right),
        ):
            self.docks[name] = dock = Dock(panel, self)
            self.addDockWidget(area, dock)
            dock.visibilityChanged.connect(lambda _: self._touch_actions())
            dock.topLevelChanged.connect(self._moved)
        self.setCorner(Qt.Corner.BottomLeftCorner, left)
        self.setCorner(Qt.Corner.BottomRightCorner, right)
        self.setTabPosition(right, QTabWidget.TabPosition.North)
        self.setTabPosition(left, QTabWidget.TabPosition.North)

    def place_docks(self) -> None:
        """Left 240: results over runs. Right 320: parameters over the explanation, or both in one place."""
        d, tall = self.docks, max(self.height() - 60, 400)
        for dock in d.values():
            dock.setFloating(False)
            self.removeDockWidget(
                dock
            )  # out of old tabs first: Qt leaves their bar behind otherwise
        self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, d["gallery"])
        self.splitDockWidget(d["gallery"], d["runs"], Qt.Orientation.Vertical)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, d["parameters"])
        if self.height() < LOW:
            self.tabifyDockWidget(d["parameters"], d["explain"])
            d["parameters"].raise_()
        else:
            self.splitDockWidget(d["parameters"], d["explain"], Qt.Orientation.Vertical)
            self.resizeDocks(
                [d["parameters"], d["explain"]],
                [tall * 6 // 10, tall * 4 // 10],
                Qt.Orientation.Vertical,
            )
        for dock in d.values():
            dock.show()
        self.resizeDocks([d["gallery"], d["parameters"]], [LEFT, RIGHT], Qt.Orientation.Horizontal)
        self.resizeDocks(
            [d["gallery"], d["runs"]], [tall * 6 // 10, tall * 4 // 10], Qt.Orientation.Vertical
        )
        self._low = self.height() < LOW
        self._arranged = False

    def _moved(self) -> None:
        self._arranged = True

    def _build_status(self) -> None:
        bar = self.statusBar()
        bar.setSizeGripEnabled(False)
        bar.setAccessibleName("Status")
        self.status_left = label("Starting the engine…", "caption")
        self.status_right = label("", "caption")
        self.status_right.setContentsMargins(0, 0, 8, 0)
        bar.addWidget(self.status_left, 1)
        bar.addPermanentWidget(self.status_right)

    def _recent_menu(self) -> None:
        self.recent_menu = QMenu("Open recent", self)
        file = self.menus["File"]
        before = self.registry.qaction("file.save")
        file.insertMenu(before, self.recent_menu)
        self.recent_menu.aboutToShow.connect(self._fill_recent)
        file.aboutToShow.connect(lambda: self.recent_menu.setEnabled(bool(self.settings.recent)))

    def dock_shown(self, name: str) -> bool:
        return not self.docks[name].isHidden()

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
        """One frame: plots, transport, verdict, buttons; whatever has not changed costs nothing."""
        now = time.monotonic()
        if self._last and now - self._last > (FRAME / 1000 + 0.1):
            log.info("the window stood still for %.0f ms", 1000 * (now - self._last))
        self.board.tick()
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
        self._last = time.monotonic()

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

    def set_theme(self, mode: str) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            theme.apply(app, mode, theme.scale())  # type: ignore[arg-type]
        self.settings.put("theme", mode)

    def set_focus_mode(self, on: bool) -> None:
        """Only the plots."""
        if on == self.focus:
            return
        if on:
            self._before = {n: not d.isHidden() for n, d in self.docks.items()}
        self.focus = on
        for name, dock in self.docks.items():
            dock.setVisible(not on and self._before.get(name, True))
        self.status_right.setVisible(not on)

    def set_present_mode(self, on: bool) -> None:
        """Larger type for a projector; the results step aside."""
        self.present = on
        app = QApplication.instance()
        if isinstance(app, QApplication):
            theme.apply(app, theme.mode(), 1.4 if on else 1.0)
        for name in ("gallery", "runs"):
            self.docks[name].setVisible(not on and not self.focus)

    def open_palette(self, text: str = "") -> None:
        self.palette_box.open(text)

    def toggle_dock(self, name: str) -> None:
        self.docks[name].setVisible(self.docks[name].isHidden())

    def toggle_full_screen(self) -> None:
        self.showNormal() if self.isFullScreen() else self.showFullScreen()

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

    def _restore(self) -> None:
        self.resize(1440, 900)
        geometry, state = self.settings.blob("geometry"), self.settings.blob("docks")
        if not geometry.isEmpty() and self.restoreGeometry(QByteArray(geometry)):
            if not state.isEmpty() and self.restoreState(QByteArray(state)):
                self._arranged = True
                self._low = self.height() < LOW
                return
        elif (screen := QGuiApplication.primaryScreen()) is not None:
            self.resize(screen.availableGeometry().size().boundedTo(QSize(1440, 900)))
        self.place_docks()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()
        if not self._arranged:
            QTimer.singleShot(
                0, self, self.place_docks
            )  # sizes hold only once the window has its own

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if (
            not self._arranged
            and self.isVisible()
            and not self.focus
            and (self.height() < LOW) != self._low
        ):
            self.place_docks()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._quitting or not self.store.modified:
            self._quitting = True
            self._remember()
            self._timer.stop()
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

    def _remember(self) -> None:
        if self.focus:
            self.set_focus_mode(False)
        if self.present:
            self.set_present_mode(False)
        self.settings.put("geometry", self.saveGeometry())
        if self._arranged:
            self.settings.put("docks", self.saveState())
        self.settings.save()
