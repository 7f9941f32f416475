"""The plots of the open experiment: one large, up to three smaller. Fed from the store when the window's timer asks."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from desktop import series, theories
from desktop.panels.common import label
from desktop.plots.base import PlotView, make_plot
from desktop.runs import Run
from desktop.store import Store
from engine.messages import Card, ViewCard

SMALL = 3  # plots beside the signature plot
LEAST = 300  # px, the least width of a small plot before plots share tabs


class Cell(QFrame):
    """A plot on its card."""

    def __init__(self, plot: PlotView, view: ViewCard) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.plot, self.view = plot, view
        box = QVBoxLayout(self)
        box.setContentsMargins(4, 4, 4, 4)
        box.addWidget(plot)
        self.setMinimumSize(LEAST - 20, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)


class SmallPlots(QWidget):
    """Plots in a row; those for which there is no room share the last place under tabs."""

    def __init__(self) -> None:
        super().__init__()
        self._cells: list[Cell] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(12)
        self._tabs = QTabBar()
        self._tabs.setAccessibleName("More plots")
        self._tabs.setExpanding(False)
        self._tabs.setDrawBase(False)
        self._stack = QStackedWidget()
        self._shared = QWidget()
        box = QVBoxLayout(self._shared)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(2)
        box.addWidget(self._tabs)
        box.addWidget(self._stack, 1)
        self._tabs.currentChanged.connect(self._stack.setCurrentIndex)
        self._columns = 0

    def set_cells(self, cells: list[Cell]) -> None:
        self._take_out()
        self._cells = cells
        self._columns = 0
        self.setVisible(bool(cells))
        self._arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._arrange()

    def _take_out(self) -> None:
        while self._row.takeAt(0) is not None:
            pass
        for cell in self._cells:
            cell.setParent(None)
        self._shared.setParent(None)
        while self._tabs.count():
            self._tabs.removeTab(0)

    def _arrange(self) -> None:
        n = len(self._cells)
        columns = min(n, max(1, (self.width() + 12) // (LEAST + 12)))
        if columns == self._columns or not n:
            return
        self._take_out()
        self._columns = columns
        alone = self._cells if columns == n else self._cells[: columns - 1]
        for cell in alone:
            self._row.addWidget(cell, 1)
            cell.show()
        if columns < n:
            for cell in self._cells[len(alone) :]:
                self._stack.addWidget(cell)
                self._tabs.addTab(cell.plot.accessibleName())
            self._row.addWidget(self._shared, 1)
            self._shared.show()
            self._stack.setCurrentIndex(self._tabs.currentIndex())

    def minimumSizeHint(self) -> QSize:
        return QSize(LEAST, 200)


class Board(QWidget):
    menu_wanted = Signal(object)  # Cell
    crosshair = Signal(object)  # x, or None

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Plots")
        self.store = store
        self.card: Card | None = None
        self.cells: list[Cell] = []
        self.at: float | None = None
        self._dirty: set[str] = set()
        self._drawn: dict[tuple[int, str], set[str]] = {}  # (cell, run) -> keys in the plot
        self._kept: dict[tuple[int, str], series.Kept] = {}  # (cell, run) -> its curves' arrays
        self._theory: dict[int, dict[str, str]] = {}  # cell -> name -> key
        self._all = self._theory_dirty = True
        self.empty = label("The engine is warming up, a few seconds.", "caption")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.large = QWidget()
        self._large_box = QVBoxLayout(self.large)
        self._large_box.setContentsMargins(0, 0, 0, 0)
        self.small = SmallPlots()
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.setHandleWidth(12)
        self.split.setChildrenCollapsible(False)
        self.split.addWidget(self.large)
        self.split.addWidget(self.small)
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 2)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.empty)
        box.addWidget(self.split, 1)
        self.split.hide()
        store.run_added.connect(self._whole)
        store.run_removed.connect(self._whole)
        store.current_changed.connect(self._whole)
        store.run_changed.connect(self._changed)
        store.draft_changed.connect(self._new_theory)

        store.catalogue_changed.connect(
            lambda: self.empty.setText("Choose a result on the left, or press Ctrl+K.")
        )

    # --- what is shown ---

    def show_card(self, card: Card | None) -> None:
        if card is self.card:
            return
        self.card = card
        self.small.set_cells([])
        for cell in self.cells:
            cell.setParent(None)
            cell.deleteLater()
        self.cells, self._drawn, self._kept, self._theory = [], {}, {}, {}
        views = card.views[: SMALL + 1] if card else ()
        for view in views:
            assert card is not None
            plot = make_plot(series.plot_kind(card, view), **series.plot_words(card, view))
            cell = Cell(plot, view)
            self.cells.append(cell)
            plot.crosshair_moved.connect(lambda x, c=cell: self._cross(c, x))
            plot.menu_requested.connect(lambda c=cell: self.menu_wanted.emit(c))
        self.empty.setVisible(not self.cells)
        self.split.setVisible(bool(self.cells))
        if self.cells:
            self._large_box.addWidget(self.cells[0])
            self.small.set_cells(self.cells[1:])
            total = max(self.split.height(), 500)
            self.split.setSizes([total * 3 // 5, total * 2 // 5])
        self._whole()

    def _cross(self, source: Cell, x: float) -> None:
        """The same step in every plot whose abscissa is the step."""
        timed = self._over_steps(source)
        self.at = x if timed else self.at
        for cell in self.cells:
            if cell is not source and timed and self._over_steps(cell):
                cell.plot.set_crosshair(x)
        if timed:
            self.crosshair.emit(x)

    def clear_crosshair(self) -> None:
        self.at = None
        for cell in self.cells:
            cell.plot.set_crosshair(None)

    def _over_steps(self, cell: Cell) -> bool:
        return self.card is not None and series.plot_kind(self.card, cell.view) in (
            "scalar",
            "modes",
        )

    def follow(self) -> None:
        """Axes that follow the data again."""
        for cell in self.cells:
            cell.plot.follow(True)

    # --- feeding ---

    def _whole(self, *_: Any) -> None:
        self._all = self._theory_dirty = True

    def _new_theory(self) -> None:
        self._theory_dirty = True

    def _changed(self, run: str, what: str) -> None:
        if what in ("look", "name", "started"):
            self._whole()
        elif what in ("rows", "state", "events"):
            self._dirty.add(run)
            if what == "rows" and run == self.store.current and self._moves:
                self._theory_dirty = True
        elif what == "theory" and run == self.store.current:
            self._theory_dirty = True

    @property
    def _moves(self) -> bool:
        """Whether some plot's theory goes with the last reading."""
        return self.card is not None and any(
            series.plot_kind(self.card, c.view) in ("profile", "spectrum", "matrix", "sweep")
            for c in self.cells
        )

    def feed(self) -> None:
        """Hands the plots what changed; called by the window's one timer."""
        if self.card is None:
            return
        if self._all or self._dirty:
            self._feed()
        if self._theory_dirty:
            self._feed_theory()

    def stale(self) -> list[Cell]:
        """The plots in view that do not show what they were handed."""
        return [c for c in self.cells if c.plot.stale and c.isVisible()]

    def tick(self) -> None:
        """Brings all plots up to date at once."""
        self.feed()
        for cell in self.stale():
            cell.plot.refresh()

    def _feed(self) -> None:
        assert self.card is not None
        runs = self.store.drawn(self.card.name)
        names = {r.id for r in runs}
        for i, cell in enumerate(self.cells):
            for key in [k for k in self._drawn if k[0] == i and k[1] not in names]:
                self._kept.pop(key, None)
                for name in self._drawn.pop(key):
                    self._take_out(i, name)
            for run in runs:
                if self._all or run.id in self._dirty:
                    self._feed_run(i, cell, run)
        self._dirty, self._all = set(), False

    def _feed_run(self, i: int, cell: Cell, run: Run) -> None:
        assert self.card is not None
        current = run.id == self.store.current
        kept = self._kept.setdefault((i, run.id), {})
        drawn = series.draw(run, self.card, cell.view, current, kept)
        if drawn.shape is not None and hasattr(cell.plot, "set_shape"):
            cell.plot.set_shape(*drawn.shape)
        if drawn.shape is not None and not current:
            drawn = series.Drawn({})  # one matrix at a time
        before = self._drawn.get((i, run.id), set())
        for gone in before - set(drawn.measured):
            self._take_out(i, gone)
        if current and not before and drawn.measured:
            self._theory_dirty = True  # it belongs to this run's curves from now on
        for key, measured in drawn.measured.items():
            cell.plot.set_measured(key, measured)
        self._drawn[(i, run.id)] = set(drawn.measured)
        if self._over_steps(cell) and drawn.measured:
            marks = series.events(run, self.card) if current else []
            cell.plot.set_events(f"{run.id}/0", marks)

    def _take_out(self, i: int, key: str) -> None:
        """A curve leaves a plot, and the theory drawn with it."""
        self.cells[i].plot.remove(key)
        kept = {n: owner for n, owner in self._theory.get(i, {}).items() if owner != key}
        if len(kept) != len(self._theory.get(i, {})):
            self._theory[i], self._theory_dirty = kept, True

    def _feed_theory(self) -> None:
        """The theory of the values on the sliders, or else of the current run."""
        assert self.card is not None
        self._theory_dirty = False
        run = self.store.run()
        if run is not None and run.experiment != self.card.name:
            run = None
        draft = [p for p in self.store.draft.values() if self._known(p.prediction)]
        asked = theories.imagined(self.card, self.store.draft_sweep, run) if draft else None
        replaced = {p.prediction for p in draft}
        own = [p for p in run.predicted.values() if p.prediction not in replaced] if run else []
        for i, cell in enumerate(self.cells):
            lines = theories.theories(own, self.card, cell.view, run) if run else {}
            if asked is not None:
                lines |= theories.theories(draft, self.card, cell.view, asked)
            keys = self._drawn.get((i, run.id), set()) if run else set()
            owner = min(keys, default="theory")
            for name, old in self._theory.get(i, {}).items():
                if name not in lines or old != owner:
                    cell.plot.remove_theory(old, name)
            for name, theory in lines.items():
                cell.plot.set_theory(owner, name, theory)
            self._theory[i] = dict.fromkeys(lines, owner)

    def _known(self, prediction: str) -> bool:
        return self.card is not None and any(p.name == prediction for p in self.card.predictions)

    def summaries(self) -> list[str]:
        return [c.plot.summary() for c in self.cells]
