"""A rendered formula."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QWidget


class FormulaLabel(QLabel):
    def __init__(self, tex: str, size: int = 15, parent: QWidget | None = None) -> None:
        super().__init__(tex, parent)
        self.setAccessibleName(tex)
