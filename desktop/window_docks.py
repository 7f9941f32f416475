"""The window's parts and where they stand: centre, docks, status line; what of it is put aside and remembered."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSize, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QTabWidget, QVBoxLayout, QWidget

from desktop import theme
from desktop.actions import Registry
from desktop.lab import Lab
from desktop.panels.board import Board
from desktop.panels.common import Dock, label
from desktop.panels.explain import Explain
from desktop.panels.gallery import Gallery
from desktop.panels.notice import Notice
from desktop.panels.parameters import Parameters
from desktop.panels.recovery import Recovery
from desktop.panels.runs import RunsPanel
from desktop.panels.transport import Transport
from desktop.panels.verdict import VerdictStrip
from desktop.settings import Settings
from desktop.store import Store

LEFT, RIGHT = 240, 320
LOW = 860  # px of height under which parameters and explanation share one place


class Docked(QMainWindow):
    """Base of the window, which makes what the parts are built on and then calls `_build`."""

    store: Store
    lab: Lab
    settings: Settings
    registry: Registry
    recovery: Recovery

    def __init__(self) -> None:
        super().__init__()
        self.focus = self.present = False
        self._arranged = False  # a person has put the docks somewhere

    # --- construction ---

    def _build(self) -> None:
        self._build_centre()
        self._build_docks()
        self._build_status()

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
            dock.topLevelChanged.connect(self._moved)
        self.setCorner(Qt.Corner.BottomLeftCorner, left)
        self.setCorner(Qt.Corner.BottomRightCorner, right)
        self.setTabPosition(right, QTabWidget.TabPosition.North)
        self.setTabPosition(left, QTabWidget.TabPosition.North)

    def _build_status(self) -> None:
        bar = self.statusBar()
        bar.setSizeGripEnabled(False)
        bar.setAccessibleName("Status")
        self.status_left = label("Starting the engine…", "caption")
        self.status_right = label("", "caption")
        self.status_right.setContentsMargins(0, 0, 8, 0)
        bar.addWidget(self.status_left, 1)
        bar.addPermanentWidget(self.status_right)

    # --- docks ---

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

    def dock_shown(self, name: str) -> bool:
        return not self.docks[name].isHidden()

    def toggle_dock(self, name: str) -> None:
        self.docks[name].setVisible(self.docks[name].isHidden())

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

    def toggle_full_screen(self) -> None:
        self.showNormal() if self.isFullScreen() else self.showFullScreen()

    # --- what is remembered ---

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

    def _remember(self) -> None:
        if self.focus:
            self.set_focus_mode(False)
        if self.present:
            self.set_present_mode(False)
        self.settings.put("geometry", self.saveGeometry())
        if self._arranged:
            self.settings.put("docks", self.saveState())
        self.settings.save()
