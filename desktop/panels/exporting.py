"""Exporting plots: several formats together, one plot or all of them, on screen's or on paper's terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from desktop.panels.common import Combo, label, plain
from desktop.plots.base import PlotView
from desktop.plots.export import export

FORMATS = ("png", "svg", "pdf", "csv")
SAYS = {
    "png": "PNG, a picture of pixels",
    "svg": "SVG, vectors for the web and for drawing",
    "pdf": "PDF, vectors for a paper",
    "csv": "CSV, the numbers that are drawn",
}


def stem_of(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:40] or "plot"


class ExportDialog(QDialog):
    """`plots` are (title, plot); the first is what was asked for."""

    exported = Signal(list, str)  # files written, why not (empty: all)

    def __init__(
        self,
        parent: QWidget,
        plots: list[tuple[str, PlotView]],
        metadata: Callable[[], dict[str, Any]],
    ) -> None:
        super().__init__(parent)
        self.plots, self.metadata = plots, metadata
        self.setWindowTitle("Export")
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 16)
        column.setSpacing(8)
        column.addWidget(label("Export", "heading"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        self.which = Combo("Plots to export")
        self.which.addItems([t for t, _ in plots])
        if len(plots) > 1:
            self.which.addItem("All plots")
        grid.addWidget(label("Plot"), 0, 0)
        grid.addWidget(self.which, 0, 1)
        self.width_px = QSpinBox()
        self.width_px.setRange(200, 8000)
        self.width_px.setValue(1600)
        self.width_px.setSuffix(" px")
        self.width_px.setAccessibleName("Width")
        self.height_px = QSpinBox()
        self.height_px.setRange(150, 8000)
        self.height_px.setValue(1000)
        self.height_px.setSuffix(" px")
        self.height_px.setAccessibleName("Height")
        size = QHBoxLayout()
        size.addWidget(self.width_px)
        size.addWidget(label("×"))
        size.addWidget(self.height_px)
        grid.addWidget(label("Size"), 1, 0)
        grid.addLayout(size, 1, 1)
        column.addLayout(grid)
        self.formats: dict[str, QCheckBox] = {}
        for name in FORMATS:
            box = QCheckBox(SAYS[name])
            box.setAccessibleName(SAYS[name])
            box.setChecked(name in ("png", "csv"))
            box.toggled.connect(self._ready)
            self.formats[name] = box
            column.addWidget(box)
        self.paper = QCheckBox("Paper style: white ground, thin black axes")
        self.paper.setAccessibleName("Paper style")
        column.addSpacing(4)
        column.addWidget(self.paper)
        row = QHBoxLayout()
        row.addStretch(1)
        cancel = QPushButton("Cancel")
        cancel.setAccessibleName("Cancel")
        cancel.clicked.connect(self.close)
        self.go = QPushButton("Choose a place…")
        self.go.setAccessibleName("Choose a place and export")
        self.go.setProperty("kind", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self._ask)
        row.addWidget(cancel)
        row.addWidget(self.go)
        column.addLayout(row)

    def _ready(self) -> None:
        self.go.setEnabled(any(b.isChecked() for b in self.formats.values()))

    def _ask(self) -> None:
        files = QFileDialog(self, "Export to", "", "All files (*)")
        files.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        files.setOption(QFileDialog.Option.DontConfirmOverwrite, False)
        files.selectFile(stem_of(self.plots[0][0]))
        files.fileSelected.connect(lambda path: self.write(Path(path)))
        files.open()

    def write(self, path: Path) -> None:
        """Every chosen plot in every chosen format beside `path`, whose own ending does not count."""
        if path.suffix.lower().lstrip(".") in FORMATS:
            path = path.with_suffix("")
        whole = self.which.currentIndex() == len(self.plots)
        chosen = self.plots if whole else [self.plots[max(0, self.which.currentIndex())]]
        written: list[str] = []
        why = ""
        for title, plot in chosen:
            name = f"{path.name}-{stem_of(title)}" if whole else path.name
            for form, box in self.formats.items():
                if not box.isChecked():
                    continue
                target = path.with_name(f"{name}.{form}")
                try:
                    export(
                        plot,
                        target,
                        width_px=self.width_px.value(),
                        height_px=self.height_px.value(),
                        paper=self.paper.isChecked(),
                        metadata=self.metadata(),
                    )
                    written.append(str(target))
                except (OSError, ValueError) as e:
                    why = plain(f"{target.name} was not written: {e}")
        self.exported.emit(written, why)
        self.close()
