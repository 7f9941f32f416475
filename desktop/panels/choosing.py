"""Dialogs that choose a file. Where the system has one of its own that is used; else Qt's, drawn with our icons."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QFileInfo, Qt
from PySide6.QtGui import QAbstractFileIconProvider, QIcon
from PySide6.QtWidgets import QDialogButtonBox, QFileDialog, QPushButton, QToolButton, QWidget

from desktop import theme

ICONS = {
    "backButton": "chevron-left", "forwardButton": "chevron-right", "toParentButton": "chevron-up",
    "newFolderButton": "folder-new", "listModeButton": "list", "detailModeButton": "details",
}  # fmt: skip


class _Icons(QAbstractFileIconProvider):
    def icon(self, what: QAbstractFileIconProvider.IconType | QFileInfo) -> QIcon:
        if isinstance(what, QFileInfo):
            folder = what.isDir()
        else:
            folder = what != QAbstractFileIconProvider.IconType.File
        return theme.icon("folder" if folder else "note", "muted")


@cache
def _icons() -> _Icons:
    """One for all dialogs: Qt keeps no reference that Python sees."""
    return _Icons()


def file_dialog(parent: QWidget, title: str, folder: str, choices: str) -> QFileDialog:
    """Not shown yet; it goes away with its window once it is closed."""
    files = QFileDialog(parent, title, folder, choices)
    files.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    files.resize(820, 520)
    return files


def dress(files: QFileDialog) -> None:
    """Ours instead of Qt's pictures, where Qt draws the dialog. Call it when all options are set."""
    buttons = {b.objectName(): b for b in files.findChildren(QToolButton)}
    if "backButton" not in buttons:
        return  # the system's own dialog
    files.setIconProvider(_icons())
    for name, icon in ICONS.items():
        if name in buttons:
            buttons[name].setIcon(theme.icon(icon))
            if not buttons[name].accessibleName():
                buttons[name].setAccessibleName(buttons[name].toolTip())
    for box in files.findChildren(QDialogButtonBox):
        for button in box.buttons():
            button.setIcon(QIcon())
            if isinstance(button, QPushButton) and box.buttonRole(button) == (
                QDialogButtonBox.ButtonRole.AcceptRole
            ):
                button.setProperty("kind", "primary")
                button.style().polish(button)  # it has its style already
