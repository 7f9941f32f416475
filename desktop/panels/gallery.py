"""The results: areas, experiments, and the presets of the one that is open."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import QLineEdit, QToolButton, QTreeWidget, QTreeWidgetItem, QWidget

from desktop import theme
from desktop.panels.common import Panel, label
from desktop.widgets.palette import score
from engine.messages import Card

KEY = Qt.ItemDataRole.UserRole
AREAS = {
    "in_context": "In-context learning",
    "signal": "Signal propagation",
    "kernels": "Kernels and width",
}


def area_title(area: str) -> str:
    return AREAS.get(area) or spelt(area)


WORDS = {
    "ntk": "NTK",
    "xor": "XOR",
    "sgd": "SGD",
    "lora": "LoRA",
    "mup": "μP",
    "relu": "ReLU",
    "adam": "Adam",
}


def spelt(key: str) -> str:
    """A key in words: `sgd_stability` is "SGD stability"."""
    words = [WORDS.get(w, w) for w in key.replace("-", "_").split("_")]
    text = " ".join(words)
    return text if words[0] in WORDS.values() else text[:1].upper() + text[1:]


def short_title(card: Card) -> str:
    return spelt(card.name.partition("/")[2])


class Gallery(Panel):
    chosen = Signal(str)  # an experiment
    preset_chosen = Signal(str, str)  # experiment, preset

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Results", parent)
        self._cards: dict[str, Card] = {}
        self._current = self._preset = ""
        self.search = QLineEdit()
        self.search.setAccessibleName("Search results")
        self.search.setPlaceholderText("Search results")
        self.search.setClearButtonEnabled(True)
        self.search.addAction(
            theme.icon("search", "muted"), QLineEdit.ActionPosition.LeadingPosition
        )
        for button in self.search.findChildren(QToolButton):  # Qt leaves its own without a name
            clears = "clear" in button.defaultAction().objectName()
            button.setAccessibleName("Clear the search" if clears else "Search")
            button.setToolTip(button.accessibleName())
        self.waiting = label("Starting the engine…", "caption")
        self.waiting.setContentsMargins(8, 4, 8, 4)
        self.tree = QTreeWidget()
        self.tree.setAccessibleName("Results by area")
        self.tree.setHeaderHidden(True)
        self.tree.setIndentation(14)
        self.tree.setExpandsOnDoubleClick(False)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.body.addWidget(self.search)
        self.body.addWidget(self.waiting)
        self.body.addWidget(self.tree, 1)
        self.search.textChanged.connect(self._fill)
        self.search.installEventFilter(self)
        self.tree.itemClicked.connect(self._clicked)
        self.tree.itemActivated.connect(self._clicked)
        theme.changed.connect(self._paint)

    def set_cards(self, cards: dict[str, Card]) -> None:
        self._cards = dict(sorted(cards.items()))
        self.waiting.setVisible(not cards)
        self.search.setPlaceholderText(
            f"Search {len(cards)} results" if cards else "Search results"
        )
        self._fill()

    def set_current(self, name: str, preset: str) -> None:
        if (name, preset) != (self._current, self._preset):
            fresh = name != self._current
            self._current, self._preset = name, preset
            if fresh:
                self._fill()
                self.reveal()
            else:
                self._paint()

    def _fill(self) -> None:
        query = self.search.text().strip()
        with QSignalBlocker(self.tree):
            self.tree.clear()
            areas: dict[str, QTreeWidgetItem] = {}
            for card in self._cards.values():
                words = f"{short_title(card)} {card.title} {area_title(card.area)} {card.name}"
                if query and score(query, words) < 6 * len(query.split()):
                    continue
                if card.area not in areas:
                    areas[card.area] = item = QTreeWidgetItem(self.tree, [area_title(card.area)])
                    item.setFlags(Qt.ItemFlag.ItemIsEnabled)
                    item.setExpanded(True)
                entry = QTreeWidgetItem(areas[card.area], [short_title(card)])
                entry.setData(0, KEY, (card.name, ""))
                entry.setToolTip(0, card.title)
                if card.name == self._current:
                    for preset in card.presets:
                        child = QTreeWidgetItem(entry, [spelt(preset.name)])
                        child.setData(0, KEY, (card.name, preset.name))
                        child.setToolTip(0, preset.text)
                    entry.setExpanded(True)
                    self.tree.setCurrentItem(entry)
            if not areas and query:
                item = QTreeWidgetItem(self.tree, ["Nothing matches."])
                item.setFlags(Qt.ItemFlag.NoItemFlags)
        self._paint()

    def reveal(self) -> None:
        """The open result and its presets, in sight."""
        for item in self.items():
            key = item.data(0, KEY)
            if key == (self._current, ""):
                if (last := item.child(item.childCount() - 1)) is not None:
                    self.tree.scrollToItem(last)
                self.tree.scrollToItem(item)

    def items(self) -> list[QTreeWidgetItem]:
        out: list[QTreeWidgetItem] = []

        def walk(item: QTreeWidgetItem | None) -> None:
            if item is None:
                return
            out.append(item)
            for i in range(item.childCount()):
                walk(item.child(i))

        for i in range(self.tree.topLevelItemCount()):
            walk(self.tree.topLevelItem(i))
        return out

    def _paint(self) -> None:
        t = theme.tokens()
        for item in self.items():
            key = item.data(0, KEY)
            here = key is not None and key[0] == self._current
            marked = here and key[1] in ("", self._preset)
            item.setFont(
                0,
                theme.font(
                    13 if key is None or not key[1] else 11, 600 if here and not key[1] else 400
                ),
            )
            ink = t.accent if marked else t.muted if key is not None and key[1] else t.text
            item.setForeground(0, QColor(ink))
            said = item.text(0) + (", open" if here and key and not key[1] else "")
            item.setData(0, Qt.ItemDataRole.AccessibleTextRole, said)

    def _clicked(self, item: QTreeWidgetItem) -> None:
        key = item.data(0, KEY)
        if key is None:
            item.setExpanded(not item.isExpanded())
        elif key[1]:
            self.preset_chosen.emit(*key)
        else:
            self.chosen.emit(key[0])

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Down goes from the search into the list, Return opens the first hit."""
        if (
            watched is self.search
            and isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.KeyPress
        ):
            if event.key() == Qt.Key.Key_Down:
                self.tree.setFocus(Qt.FocusReason.TabFocusReason)
                return True
            if event.key() == Qt.Key.Key_Escape and self.search.text():
                self.search.clear()
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                for item in self.items():
                    key = item.data(0, KEY)
                    if key is not None and not key[1]:
                        self.chosen.emit(key[0])
                        break
                return True
        return False
