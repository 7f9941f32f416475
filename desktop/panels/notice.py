"""One bar for what a person should know: an error, a hint, a question; closable, never in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PySide6.QtCore import QSize
from PySide6.QtGui import QAccessible, QAccessibleEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import theme
from desktop.panels.common import label, plain

Answers = Mapping[str, Callable[[], object]]  # buttons' texts, and what they do
ICONS = {"error": ("warn", "bad"), "question": ("help", "accent")}
KEPT = 20
BESIDE = 2  # buttons that fit beside the sentence


@dataclass
class Said:
    kind: str
    text: str
    count: int = 1
    key: str = ""  # what it speaks of
    answers: Answers = field(default_factory=dict)


class Notice(QFrame):
    """Shows a question that waits, else the latest sentence. What is there already is counted, not repeated."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Notice")
        self._said: list[Said] = []
        self._drawn: Said | None = None
        self._mark = QLabel()
        self.text = label(wrap=True)
        self.more = label(role="caption")
        self.close_button = QToolButton()
        self.close_button.setIcon(theme.icon("cross", "muted"))
        self.close_button.setAccessibleName("Dismiss this notice")
        self.close_button.setToolTip("Dismiss")
        self.close_button.setFixedSize(24, 24)
        self.buttons = QHBoxLayout()
        self.buttons.setSpacing(8)
        self._row, self._below = QHBoxLayout(), QHBoxLayout()
        self._row.setSpacing(8)
        self._row.addWidget(self._mark)
        self._row.addWidget(self.text, 1)
        self._row.addWidget(self.more)
        self._row.addLayout(self.buttons)
        self._row.addWidget(self.close_button)
        self._below.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 6, 6, 6)
        column.setSpacing(4)
        column.addLayout(self._row)
        column.addLayout(self._below)
        self.close_button.clicked.connect(self.dismiss)
        theme.changed.connect(self._draw)
        self.hide()

    def say(
        self, kind: str, text: str, count: int = 1, answers: Answers | None = None, key: str = ""
    ) -> None:
        """A sentence that is true `count` times; `answers` are what can be done about it. With a `key`, it takes the
        place of what was said under it, and `forget` takes it back."""
        text = plain(text)
        known = [s for s in self._said if (s.kind, s.text, s.key) == (kind, text, key)]
        said = Said(kind, text, count + sum(s.count for s in known), key, dict(answers or {}))
        rest = [s for s in self._said if s not in known and not (key and s.key == key)]
        self._said = [*rest[-KEPT + 1 :], said]
        self._draw()
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def ask(self, text: str, answers: Answers) -> None:
        """A question that waits without stopping anything. Only one waits at a time."""
        self._said = [s for s in self._said if s.kind != "question"]
        self.say("question", text, 1, answers)
        first = self.buttons.itemAt(0)
        widget = first.widget() if first is not None else None
        if widget is not None:
            widget.setFocus()

    def asking(self) -> bool:
        return any(s.kind == "question" for s in self._said)

    def forget(self, key: str) -> None:
        """What was said under this key is no longer so."""
        kept = [s for s in self._said if s.key != key]
        if len(kept) != len(self._said):
            self._said = kept
            self._draw()

    def dismiss(self) -> None:
        top = self._top()
        if top is not None:
            self._remove(top)

    def said(self) -> list[str]:
        return [s.text for s in self._said]

    def _top(self) -> Said | None:
        shown = [s for s in self._said if s.kind == "question"] or self._said
        return shown[-1] if shown else None

    def _remove(self, said: Said) -> None:
        self._said = [s for s in self._said if s is not said]
        self._draw()

    def _draw(self) -> None:
        top = self._top()
        self.setVisible(top is not None)
        self._put_buttons(top)
        if top is None:
            return
        self._mark.setPixmap(
            theme.icon(*ICONS.get(top.kind, ("info", "accent"))).pixmap(QSize(18, 18))
        )
        self.text.setText(top.text)
        self.setAccessibleDescription(top.text)
        rest = len(self._said) - 1
        words = [f"{top.count:,} times".replace(",", "\u2009")] if top.count > 1 else []
        words += [f"and {rest} more"] if rest else []
        self.more.setText(" · ".join(words))
        self.more.setVisible(bool(words))

    def _put_buttons(self, top: Said | None) -> None:
        if top is self._drawn:
            return
        self._drawn = top
        while (item := self.buttons.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        if top is None:
            return
        for place in (self._row, self._below):
            place.removeItem(self.buttons)
        if len(top.answers) > BESIDE:  # they would leave the sentence no room
            self._below.addLayout(self.buttons)
        else:
            self._row.insertLayout(3, self.buttons)
        for i, (word, act) in enumerate(top.answers.items()):
            button = QPushButton(word)
            button.setAccessibleName(word)
            if i == 0:
                button.setProperty("kind", "primary")
            button.clicked.connect(lambda _=False, said=top, act=act: self._answer(said, act))
            self.buttons.addWidget(button)

    def _answer(self, said: Said, act: Callable[[], object]) -> None:
        self._remove(said)
        act()
