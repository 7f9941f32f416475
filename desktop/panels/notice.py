"""One bar for what a person should know: an error or a hint, closable, never in the way."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QAccessible, QAccessibleEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from desktop import theme
from desktop.panels.common import label, plain


class Notice(QFrame):
    """Shows the latest sentence; a sentence that is already there is counted, not repeated."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Notice")
        self._said: list[tuple[str, str]] = []
        self._mark = QLabel()
        self.text = label(wrap=True)
        self.more = label(role="caption")
        self.close_button = QToolButton()
        self.close_button.setIcon(theme.icon("cross", "muted"))
        self.close_button.setAccessibleName("Dismiss this notice")
        self.close_button.setToolTip("Dismiss")
        self.close_button.setFixedSize(24, 24)
        self.buttons = QHBoxLayout()
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 6, 6)
        row.setSpacing(8)
        row.addWidget(self._mark)
        row.addWidget(self.text, 1)
        row.addWidget(self.more)
        row.addLayout(self.buttons)
        row.addWidget(self.close_button)
        self.close_button.clicked.connect(self.dismiss)
        theme.changed.connect(self._draw)
        self.hide()

    def say(self, kind: str, text: str) -> None:
        text = plain(text)
        if (kind, text) in self._said:
            self._said.remove((kind, text))
        self._said = [*self._said[-19:], (kind, text)]
        self._draw()
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def ask(self, text: str, answers: dict[str, object]) -> None:
        """A question that waits without stopping anything: `answers` are buttons' texts and what they do."""
        self.clear_buttons()
        for i, (word, act) in enumerate(answers.items()):
            button = QPushButton(word)
            button.setAccessibleName(word)
            if i == 0:
                button.setProperty("kind", "primary")
            button.clicked.connect(self.clear_buttons)
            button.clicked.connect(act)
            self.buttons.addWidget(button)
        self.say("question", text)
        first = self.buttons.itemAt(0)
        widget = first.widget() if first is not None else None
        if widget is not None:
            widget.setFocus()

    def clear_buttons(self) -> None:
        while (item := self.buttons.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self._said = [s for s in self._said if s[0] != "question"]
        self._draw()

    def asking(self) -> bool:
        return any(k == "question" for k, _ in self._said)

    def dismiss(self) -> None:
        if self._said and self._said[-1][0] == "question":
            self.clear_buttons()
            return
        self._said = self._said[:-1]
        self._draw()

    def said(self) -> list[str]:
        return [t for _, t in self._said]

    def _draw(self) -> None:
        self.setVisible(bool(self._said))
        if not self._said:
            return
        kind, text = self._said[-1]
        icon = {"error": ("warn", "bad"), "question": ("help", "accent")}.get(
            kind, ("info", "accent")
        )
        self._mark.setPixmap(theme.icon(*icon).pixmap(QSize(18, 18)))
        self.text.setText(text)
        self.setAccessibleDescription(text)
        rest = len(self._said) - 1
        self.more.setText(f"and {rest} more" if rest else "")
        self.more.setVisible(bool(rest))
