"""The palette (Ctrl+K): everything that can be done, opened or set, found by typing. Keyboard only is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSize,
    Qt,
)
from PySide6.QtGui import QColor, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QFrame,
    QLabel,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from desktop import theme

Index = QModelIndex | QPersistentModelIndex
SHOWN = 12


@dataclass(frozen=True)
class Entry:
    kind: str  # "Action", "Result", "Preset", "File", "Value"
    text: str
    act: Callable[[], None]
    detail: str = ""  # a shortcut, or why it cannot be done
    enabled: bool = True
    key: str = ""  # its identity, for tests
    more: str = ""  # words that find it and are not shown


def score(query: str, text: str) -> float:
    """How well a query matches: 0 not at all; whole words beat beginnings of words, those beat scattered letters."""
    query, text = query.casefold().strip(), text.casefold()
    if not query:
        return 1.0
    total = 0.0
    for word in query.split():
        at = text.find(word)
        if at >= 0:
            begins = at == 0 or not text[at - 1].isalnum()
            total += 10.0 + (5.0 if begins else 0.0) - 0.02 * at
            continue
        place, start, gaps = -1, -1, 0
        for letter in word:
            place = text.find(letter, place + 1)
            if place < 0:
                return 0.0
            start = place if start < 0 else start
        gaps = place - start + 1 - len(word)
        if gaps > 2 * len(word):
            return 0.0
        total += 3.0 - 0.1 * gaps
    return total - 0.01 * len(text)


def best(query: str, entries: Iterable[Entry]) -> list[Entry]:
    """Matching entries, best first; equal ones keep their order."""
    scored = []
    for e in entries:
        s = max(score(query, f"{e.text}"), 0.6 * score(query, f"{e.kind} {e.text} {e.more}"))
        if s > 0:
            scored.append((s, e))
    return [e for _, e in sorted(scored, key=lambda pair: -pair[0])]


class _Model(QAbstractListModel):
    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.entries: list[Entry] = []

    def show(self, entries: list[Entry]) -> None:
        self.beginResetModel()
        self.entries = entries
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not 0 <= index.row() < len(self.entries):
            return None
        e = self.entries[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return e.text
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(filter(None, [e.kind, e.text, e.detail]))
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        if 0 <= index.row() < len(self.entries) and not self.entries[index.row()].enabled:
            return Qt.ItemFlag.ItemIsSelectable
        return Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled


class _Row(QStyledItemDelegate):
    """Kind on the left in muted ink, the text, the detail on the right."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(200, round(30 * theme.scale()))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        if not isinstance(model, _Model):
            return
        e, t = model.entries[index.row()], theme.tokens()
        painter.save()
        r = option.rect.adjusted(2, 1, -2, -1)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(t.selection))
            painter.drawRoundedRect(r, 4, 4)
        inner = r.adjusted(10, 0, -10, 0)
        left, middle = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter
        painter.setFont(theme.font(11))
        painter.setPen(QColor(t.muted))
        width = round(52 * theme.scale())
        painter.drawText(inner.adjusted(0, 0, 0, 0), left | middle, e.kind)
        metrics = painter.fontMetrics()
        detail = metrics.elidedText(e.detail, Qt.TextElideMode.ElideRight, inner.width() // 2)
        room = metrics.horizontalAdvance(detail)
        painter.drawText(inner, Qt.AlignmentFlag.AlignRight | middle, detail)
        painter.setFont(theme.font(13))
        painter.setPen(QColor(t.text if e.enabled else t.muted))
        box = inner.adjusted(width, 0, -room - 12, 0)
        text = painter.fontMetrics().elidedText(e.text, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, left | middle, text)
        painter.restore()


class Palette(QFrame):
    """Lies over the window's upper middle. `sources` give what there is; `parse` what a query itself would do."""

    def __init__(
        self,
        window: QWidget,
        sources: Callable[[], list[Entry]],
        parse: Callable[[str], list[Entry]] = lambda _: [],
    ) -> None:
        super().__init__(window)
        self._sources, self._parse = sources, parse
        self._entries: list[Entry] = []
        self._back: QWidget | None = None
        self.setProperty("card", True)
        self.setAccessibleName("Command palette")
        self.query = QLineEdit()
        self.query.setPlaceholderText("Search actions, results, presets; or set a value: lr 0.3")
        self.query.setAccessibleName("Search commands")
        self.query.setClearButtonEnabled(False)
        self.list = QListView()
        self.list.setAccessibleName("Matching commands")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setUniformItemSizes(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._model = _Model(self)
        self.list.setModel(self._model)
        self.list.setItemDelegate(_Row(self.list))
        self.nothing = QLabel("Nothing matches.")
        self.nothing.setProperty("role", "caption")
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        column.addWidget(self.query)
        column.addWidget(self.list)
        column.addWidget(self.nothing)
        self.query.textChanged.connect(self._filter)
        self.query.installEventFilter(self)
        self.list.clicked.connect(lambda i: self._choose(i.row()))
        window.installEventFilter(self)
        self.hide()

    # --- coming and going ---

    def open(self, text: str = "") -> None:
        self._back = self.window().focusWidget()
        self._entries = self._sources()
        self.query.setText(text)
        self._filter(text)
        self.show()
        self.raise_()
        self.query.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def close_palette(self) -> None:
        if self.isVisible():
            self.hide()
            if self._back is not None:
                self._back.setFocus(Qt.FocusReason.OtherFocusReason)
            self._back = None

    def entries(self) -> list[Entry]:
        """What is listed now, best first."""
        return list(self._model.entries)

    def _filter(self, text: str) -> None:
        found = self._parse(text) + best(text, self._entries)
        self._model.show(found[:60])
        self.list.setVisible(bool(found))
        self.nothing.setVisible(not found)
        # the best match, even one that cannot be done now: Return must never do something else instead
        self.list.setCurrentIndex(self._model.index(0, 0))
        self.list.scrollToTop()
        self._place()

    def _place(self) -> None:
        parent = self.parentWidget()
        if parent is None:
            return
        width = min(620, parent.width() - 32)
        rows = min(SHOWN, max(1, self._model.rowCount()))
        row = round(30 * theme.scale())
        height = 8 + self.query.sizeHint().height() + 6 + rows * row + 14
        height = min(height, parent.height() - 80)
        self.setGeometry((parent.width() - width) // 2, 56, width, height)

    def _choose(self, row: int) -> None:
        if not 0 <= row < self._model.rowCount():
            return
        entry = self._model.entries[row]
        if not entry.enabled:
            return
        self.close_palette()
        entry.act()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if (
            watched is self.query
            and event.type() == QEvent.Type.KeyPress
            and isinstance(event, QKeyEvent)
        ):
            return self._key(Qt.Key(event.key()))
        if watched is self.query and event.type() == QEvent.Type.FocusOut and self.isVisible():
            if not self.query.hasFocus():
                self._back = None  # whoever took the focus keeps it
                self.hide()
        elif (
            watched is self.parentWidget()
            and event.type() == QEvent.Type.Resize
            and self.isVisible()
        ):
            self._place()
        return False

    def _key(self, key: Qt.Key) -> bool:
        moves = {
            Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: SHOWN, Qt.Key.Key_PageUp: -SHOWN,
            Qt.Key.Key_Tab: 1, Qt.Key.Key_Backtab: -1,
        }  # fmt: skip
        if key in moves:
            self._move(moves[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.list.currentIndex().row())
        elif key == Qt.Key.Key_Escape:
            self.close_palette()
        else:
            return False
        return True

    def _move(self, by: int) -> None:
        """Past what cannot be done now, which the list would not make current."""
        able = [i for i, e in enumerate(self._model.entries) if e.enabled]
        if not able:
            return
        row = self.list.currentIndex().row()
        if abs(by) == 1:
            before, after = [i for i in able if i < row], [i for i in able if i > row]
            row = (after or able)[0] if by > 0 else (before or able)[-1]
        else:
            row = min(able, key=lambda i: abs(i - (row + by)))
        self.list.setCurrentIndex(self._model.index(row, 0))
