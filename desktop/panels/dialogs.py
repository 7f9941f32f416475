"""The log, the about box and the shortcuts: windows of their own, never modal."""

from __future__ import annotations

import platform
from importlib import metadata

from PySide6.QtCore import Qt, QTimer, qVersion
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from desktop import loop, resources, theme
from desktop.actions import Registry
from desktop.panels.common import label
from engine.version import VERSION

PARTS = (
    ("PySide6_Essentials", "LGPL-3.0 (Qt for Python, dynamically linked)"),
    ("numpy", "BSD-3-Clause"),
    ("torch", "BSD-3-Clause"),
    ("h5py", "BSD-3-Clause"),
    ("qasync", "BSD-2-Clause"),
    ("ziamath", "MIT"),
    ("markdown-it-py", "MIT"),
    ("platformdirs", "MIT"),
    ("psutil", "BSD-3-Clause"),
)
FONTS = "Inter, IBM Plex Mono and Noto Sans Math: SIL Open Font License 1.1"


def version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not found"


def _dialog(parent: QWidget, title: str, width: int, height: int) -> tuple[QDialog, QVBoxLayout]:
    made = QDialog(parent)
    made.setWindowTitle(title)
    made.setModal(False)
    made.resize(width, height)
    column = QVBoxLayout(made)
    column.setContentsMargins(24, 20, 24, 16)
    column.setSpacing(8)
    return made, column


def _buttons(dialog: QDialog, column: QVBoxLayout, *more: QPushButton) -> None:
    row = QHBoxLayout()
    row.addStretch(1)
    for b in more:
        row.addWidget(b)
    close = QPushButton("Close")
    close.setAccessibleName("Close")
    close.clicked.connect(dialog.close)
    row.addWidget(close)
    column.addLayout(row)
    close.setFocus()


def _copy_button(text: str, what: str) -> QPushButton:
    button = QPushButton("Copy")
    button.setAccessibleName(f"Copy {what}")
    button.clicked.connect(lambda: QGuiApplication.clipboard().setText(text))
    return button


def about(parent: QWidget) -> QDialog:
    dialog, column = _dialog(parent, "About Lemmascope", 520, 520)
    top = QHBoxLayout()
    mark = QLabel()
    mark.setPixmap(theme.icon("lemmascope").pixmap(56, 56))
    words = QVBoxLayout()
    words.addWidget(label("Lemmascope", "title"))
    words.addWidget(label(f"Version {VERSION}. An oscilloscope for the theorems of deep learning."))
    words.addWidget(label("MIT licence.", "caption"))
    top.addWidget(mark)
    top.addSpacing(12)
    top.addLayout(words, 1)
    column.addLayout(top)
    rows = [("Python", platform.python_version(), "PSF-2.0"), ("Qt", qVersion(), "LGPL-3.0")]
    rows += [(name.replace("_", "-"), version_of(name), licence) for name, licence in PARTS]
    table = QTableWidget(len(rows), 3)
    table.setAccessibleName("Versions and licences")
    table.setHorizontalHeaderLabels(["Part", "Version", "Licence"])
    table.verticalHeader().hide()
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    table.setShowGrid(False)
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            table.setItem(i, j, QTableWidgetItem(text))
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    column.addWidget(table, 1)
    column.addWidget(label(FONTS, "caption", wrap=True))
    column.addWidget(
        label(f"Licence texts lie in {resources.root() / 'fonts'}.", "caption", wrap=True)
    )
    text = "\n".join(["Lemmascope " + VERSION, platform.platform(), *("  ".join(r) for r in rows)])
    _buttons(dialog, column, _copy_button(text, "versions"))
    return dialog


class LogWindow(QDialog):
    """The end of the log file, read anew each second while it is open."""

    KEPT = 200_000  # bytes of the file's end

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Log")
        self.resize(760, 480)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 12)
        self.where = label(str(loop.log_file()), "caption")
        self.where.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.where.setAccessibleName("Log file")
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setFont(theme.mono(11))
        self.text.setAccessibleName("Log")
        column.addWidget(self.where)
        column.addWidget(self.text, 1)
        copy = QPushButton("Copy")
        copy.setAccessibleName("Copy the log")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.text.toPlainText()))
        _buttons(self, column, copy)
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self.read)
        self._size = -1

    def showEvent(self, event: object) -> None:
        self.read()
        self._timer.start()

    def hideEvent(self, event: object) -> None:
        self._timer.stop()

    def read(self) -> None:
        try:
            size = loop.log_file().stat().st_size
            if size == self._size:
                return
            self._size = size
            with loop.log_file().open("rb") as f:
                f.seek(max(0, size - self.KEPT))
                said = f.read().decode("utf-8", "replace")
        except OSError:
            said = ""
        self.text.setPlainText(said or "Nothing has gone wrong so far.")
        bar = self.text.verticalScrollBar()
        bar.setValue(bar.maximum())


def shortcuts(parent: QWidget, registry: Registry) -> QDialog:
    dialog, column = _dialog(parent, "Keyboard shortcuts", 460, 560)
    rows = [
        (a.text, registry.qaction(a.id).shortcut().toString()) for a in registry.all() if a.shortcut
    ]
    rows += [
        ("Slider: a tenth of a decade, a hundredth of the range", "Arrows"),
        ("Slider: a decade, a tenth of the range", "Page up, Page down"),
        ("Plot: move the crosshair", "Left, Right"),
    ]
    table = QTableWidget(len(rows), 2)
    table.setAccessibleName("Keyboard shortcuts")
    table.setHorizontalHeaderLabels(["What it does", "Keys"])
    table.verticalHeader().hide()
    table.setShowGrid(False)
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            table.setItem(i, j, QTableWidgetItem(text))
    table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
    column.addWidget(table, 1)
    _buttons(dialog, column)
    return dialog
