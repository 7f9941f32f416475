"""The runs of the open experiment: colour, name, state; a context menu for what can be done with one."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import (
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from desktop import theme
from desktop.panels.common import Panel, label, plain
from desktop.runs import ACTIVE, Run
from desktop.store import Store

Index = QModelIndex | QPersistentModelIndex
WORDS = {"done": "done", "stopped": "stopped", "queued": "waiting", "cancelled": "stopped"}


def state_word(run: Run, current: bool, solo: bool) -> str:
    """What the list says of a run: its role where it has one, else its state."""
    if solo:
        return "solo"
    if run.state == "failed":
        return "failed"
    if run.state in ACTIVE and run.why:
        return "no answer"
    if run.hidden and not current:
        return "hidden"
    if run.recovered:
        return "recovered"
    if run.role == "pinned":
        return "pinned"
    if run.role == "ghost" and not current:
        return "ghost"
    if run.state == "stopped" and run.why:
        return plain(run.why, 20)
    return WORDS.get(run.state, run.state)


class Runs(QAbstractListModel):
    """The newest on top."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.store = store
        self.experiment = ""
        self.ids: list[str] = []
        store.run_added.connect(self._reload)
        store.run_removed.connect(self._reload)
        store.run_changed.connect(self._changed)
        store.current_changed.connect(lambda _: self._all_changed())

    def show(self, experiment: str) -> None:
        self.experiment = experiment
        self._reload()

    def _reload(self, _: str = "") -> None:
        ids = [r.id for r in self.store.of_experiment(self.experiment)][::-1]
        if ids != self.ids:
            self.beginResetModel()
            self.ids = ids
            self.endResetModel()

    def _changed(self, run: str, what: str) -> None:
        if what in ("state", "look", "name") and run in self.ids:
            if what == "look":
                self._all_changed()  # solo ends elsewhere
            else:
                index = self.index(self.ids.index(run), 0)
                self.dataChanged.emit(index, index)

    def _all_changed(self) -> None:
        if self.ids:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.ids) - 1, 0))

    def run(self, row: int) -> Run | None:
        return self.store.runs.get(self.ids[row]) if 0 <= row < len(self.ids) else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.ids)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        run = self.run(index.row())
        if run is None:
            return None
        word = state_word(run, run.id == self.store.current, run.id == self.store.solo)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return run.shown_name
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{run.shown_name}, {word}"
        if role == Qt.ItemDataRole.ToolTipRole:
            lines = [
                run.shown_name,
                f"{word}, step {run.reached:,} of {run.steps:,}".replace(",", "\u2009"),
            ]
            return "\n".join([*lines, plain(run.why)] if run.why else lines)
        return None

    def setData(self, index: Index, value: object, role: int = Qt.ItemDataRole.EditRole) -> bool:
        run = self.run(index.row())
        if run is None or role != Qt.ItemDataRole.EditRole:
            return False
        text = str(value).strip()
        self.store.rename(run.id, "" if text == run.name else text)
        return True

    def flags(self, index: Index) -> Qt.ItemFlag:
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEditable


class _Row(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(100, round(28 * theme.scale()))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        run = model.run(index.row()) if isinstance(model, Runs) else None
        if run is None or not isinstance(model, Runs):
            return
        t, store = theme.tokens(), model.store
        current = run.id == store.current
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        r = option.rect.adjusted(2, 1, -2, -1)
        painter.setPen(Qt.PenStyle.NoPen)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setBrush(QColor(t.selection))
            painter.drawRoundedRect(r, 4, 4)
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(QColor(t.raised))
            painter.drawRoundedRect(r, 4, 4)
        colour = theme.run_colour(run.colour)
        dot = QRectF(r.left() + 7, r.center().y() - 4.5, 10, 10)
        if run.role == "ghost" and not current:
            painter.setPen(QPen(colour, 1.5))  # a ring: a ghost, or hidden
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(dot.adjusted(1, 1, -1, -1))
        else:
            painter.setBrush(colour)
            painter.drawEllipse(dot)
        word = state_word(run, current, run.id == store.solo)
        painter.setFont(theme.font(11))
        painter.setPen(QColor(t.bad if word in ("failed", "no answer") else t.muted))
        right = r.adjusted(0, 0, -8, 0)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(right, Qt.AlignmentFlag.AlignRight | middle, word)
        room = painter.fontMetrics().horizontalAdvance(word)
        painter.setFont(theme.font(13, 600 if current else 400))
        painter.setPen(QColor(t.text if not run.hidden else t.muted))
        box = r.adjusted(26, 0, -room - 16, 0)
        name = painter.fontMetrics().elidedText(
            run.shown_name, Qt.TextElideMode.ElideRight, box.width()
        )
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | middle, name)
        painter.restore()


class RunsPanel(Panel):
    menu_wanted = Signal(str, QPoint)  # run, where on the screen

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__("Runs", parent)
        self.store = store
        self.model = Runs(store)
        self.empty = label("No run yet. Press play.", "caption")
        self.empty.setContentsMargins(8, 4, 8, 4)
        self.list = QListView()
        self.list.setAccessibleName("Runs")
        self.list.setModel(self.model)
        self.list.setItemDelegate(_Row(self.list))
        self.list.setMouseTracking(True)
        self.list.setEditTriggers(QListView.EditTrigger.EditKeyPressed)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._menu)
        self.list.selectionModel().currentChanged.connect(self._moved)
        self.body.addWidget(self.empty)
        self.body.addWidget(self.list, 1)
        self.model.modelReset.connect(self._follow)
        store.current_changed.connect(lambda _: self._follow())
        self._follow()

    def show_experiment(self, name: str) -> None:
        self.model.show(name)
        self._follow()

    def rename_current(self) -> None:
        index = self.list.currentIndex()
        if index.isValid():
            self.list.setFocus(Qt.FocusReason.ShortcutFocusReason)
            self.list.edit(index)

    def _follow(self) -> None:
        """The list marks the run that the plots call current."""
        self.empty.setVisible(not self.model.ids)
        if self.store.current in self.model.ids:
            index = self.model.index(self.model.ids.index(self.store.current), 0)
            if index != self.list.currentIndex():
                self.list.selectionModel().currentChanged.disconnect(self._moved)
                self.list.setCurrentIndex(index)
                self.list.selectionModel().currentChanged.connect(self._moved)

    def _moved(self, index: QModelIndex, _: QModelIndex) -> None:
        run = self.model.run(index.row())
        if run is not None:
            self.store.select(run.id)

    def _menu(self, at: QPoint) -> None:
        index = self.list.indexAt(at)
        run = self.model.run(index.row())
        if run is not None:
            self.store.select(run.id)
            self.menu_wanted.emit(run.id, self.list.viewport().mapToGlobal(at))
