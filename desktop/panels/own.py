"""Users' own experiments: which files there are, and the one place where a person says that one of them may run.

Such a file is code. It is enabled by name, with its hash shown, by a click on a button that says so, and by nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from desktop.panels.common import Elided, label, plain
from desktop.store import Store
from engine.messages import Stranger

MEANING = (
    "This file is a program. Once enabled, it runs on this computer with your rights whenever its result is listed or "
    "trained: it can read, change and delete your files and use the network. Lemmascope runs it in separate worker "
    "processes, which protects the window from its mistakes; it does not protect you from what it does."
)
ADVICE = "Enable it only if you wrote it or have read it. If a single byte of it changes, you are asked again."


def state_of(s: Stranger) -> str:
    """One word or two for the list."""
    if s.problem:
        return "problem"
    if s.changed:
        return "changed"
    return "enabled" if s.allowed else "off"


def spaced(sha256: str) -> str:
    """In groups of eight, so that it can be compared by eye."""
    return " ".join(sha256[i : i + 8] for i in range(0, len(sha256), 8))


def explained(s: Stranger) -> str:
    if s.problem:
        return plain(s.problem)
    if s.changed:
        return "It has changed since you enabled it, so it is off. Look at it again before you enable it."
    if s.allowed:
        return "Enabled: it runs as long as its bytes have this hash."
    return "Off: nothing of it has run."


class OwnDialog(QDialog):
    """Lists the files; enabling asks on a page of its own, where the hash stands that is then sent."""

    allow_wanted = Signal(str, str)  # path, SHA-256; empty: withdraw
    look_wanted = Signal()  # read the folder again

    def __init__(self, store: Store, folder: Callable[[], str], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Own experiments")
        self.setModal(False)
        self.resize(680, 480)
        self.store, self._folder = store, folder
        self.asked: Stranger | None = None  # as it was when the question was put
        self.pages = QStackedWidget()
        self.pages.addWidget(self._list_page())
        self.pages.addWidget(self._consent_page())
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 16)
        column.addWidget(self.pages)
        store.catalogue_changed.connect(self.refresh)
        self.refresh()

    def _list_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(label("Own experiments", "heading"))
        column.addWidget(
            label(
                "Python files in your folder for experiments. They are off until you enable them here. A session that "
                "uses one shows its curves all the same, and never enables it.",
                "caption",
                wrap=True,
            )
        )
        self.list = QListWidget()
        self.list.setAccessibleName("Own experiments")
        self.list.currentRowChanged.connect(lambda _: self._show_current())
        self.nothing = label("", "caption", wrap=True)
        column.addWidget(self.list, 1)
        column.addWidget(self.nothing, 1, Qt.AlignmentFlag.AlignTop)
        self.path, self.hash = Elided("", "caption"), label("", "caption", wrap=True)
        self.why = label("", wrap=True)
        for w in (self.path, self.hash, self.why):
            column.addWidget(w)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.enable = self._button("Enable…", self._ask)
        self.disable = self._button("Disable", self._withdraw)
        self.again = self._button("Look again", self.look_wanted.emit)
        self.show_folder = self._button("Show folder", self._open_folder)
        close = self._button("Close", self.close)
        row.addWidget(self.show_folder)
        row.addWidget(self.again)
        row.addStretch(1)
        for b in (self.disable, self.enable, close):
            row.addWidget(b)
        column.addLayout(row)
        return page

    def _consent_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        self.question = label("", "heading", wrap=True)
        column.addWidget(self.question)
        column.addWidget(label(MEANING, wrap=True))
        column.addWidget(label(ADVICE, wrap=True))
        facts = QFrame()
        facts.setProperty("card", True)
        inside = QVBoxLayout(facts)
        inside.setContentsMargins(12, 8, 12, 8)
        inside.setSpacing(4)
        self.asked_path, self.asked_hash = label("", wrap=True), label("", wrap=True)
        for name, value in (("FILE", self.asked_path), ("SHA-256", self.asked_hash)):
            inside.addWidget(label(name, "section"))
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            inside.addWidget(value)
        column.addWidget(facts)
        self.changed = label("", "error", wrap=True)
        column.addWidget(self.changed)
        column.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        self.consent = self._button("Enable this file", self._allow)
        self.refuse = self._button("Leave it off", self._back)
        row.addWidget(self.consent)
        row.addWidget(self.refuse)
        column.addLayout(row)
        return page

    def _button(self, text: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(text)
        button.setAutoDefault(False)  # Return must not consent to anything
        button.clicked.connect(act)
        return button

    # --- the list ---

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.look_wanted.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._back()  # a question is never found standing

    def refresh(self) -> None:
        """The list as the last catalogue has it; a question whose file is no longer the same is withdrawn."""
        row = self.current()
        kept = row.path if row is not None else ""
        self.list.clear()
        for s in self.store.strangers:
            item = QListWidgetItem(f"{plain(os.path.basename(s.path), 80)}   ·   {state_of(s)}")
            item.setData(Qt.ItemDataRole.UserRole, s.path)
            item.setToolTip(plain(s.path))
            self.list.addItem(item)
            if s.path == kept:
                self.list.setCurrentItem(item)
        if self.list.currentRow() < 0 and self.list.count():
            self.list.setCurrentRow(0)
        self.list.setVisible(self.list.count() > 0)
        self.nothing.setVisible(not self.list.count())
        self.nothing.setText(
            "There are none. `lemmascope new FILE` writes an example to begin with; put it into the folder."
        )
        self._show_current()
        if self.asked is not None and self.asked.sha256 not in {
            s.sha256 for s in self.store.strangers if s.path == self.asked.path
        }:
            self.consent.setEnabled(False)
            self.changed.setText(
                "The file has changed while you were reading this. Go back and look at it again."
            )

    def current(self) -> Stranger | None:
        item = self.list.currentItem()
        path = item.data(Qt.ItemDataRole.UserRole) if item is not None else None
        return next((s for s in self.store.strangers if s.path == path), None)

    def _show_current(self) -> None:
        s = self.current()
        for w in (self.path, self.hash, self.why):
            w.setVisible(s is not None)
        self.enable.setEnabled(s is not None and bool(s.sha256) and not s.allowed)
        self.disable.setEnabled(s is not None and (s.allowed or s.changed))
        if s is not None:
            self.path.setText(plain(s.path))
            self.hash.setText(f"SHA-256 {spaced(plain(s.sha256, 64))}" if s.sha256 else "")
            self.why.setText(explained(s))

    def _open_folder(self) -> None:
        folder = self._folder()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(folder))

    # --- consent ---

    def _ask(self) -> None:
        s = self.current()
        if s is None or not s.sha256 or s.allowed:
            return
        self.asked = s
        self.question.setText(f"Enable {plain(os.path.basename(s.path), 80)}?")
        self.asked_path.setText(plain(s.path))
        self.asked_hash.setText(spaced(s.sha256))
        self.changed.setText("You had enabled it with other contents." if s.changed else "")
        self.consent.setEnabled(True)
        self.pages.setCurrentIndex(1)
        self.refuse.setFocus()

    def _allow(self) -> None:
        s = self.asked
        self._back()
        if s is not None:
            self.allow_wanted.emit(s.path, s.sha256)

    def _back(self) -> None:
        self.asked = None
        self.pages.setCurrentIndex(0)

    def _withdraw(self) -> None:
        s = self.current()
        if s is not None:
            self.allow_wanted.emit(s.path, "")
