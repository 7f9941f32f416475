"""A plot as a file: PNG, SVG, PDF, and its numbers as CSV.

The same code that paints the window paints the file, on a paper of its own size; SVG and PDF hold no raster, matrices
included. Every file carries its metadata: PNG as text chunks, SVG in its description, PDF as an attached JSON file and
XMP, CSV as leading comments.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QMarginsF, QRectF, QSize, QSizeF
from PySide6.QtGui import (
    QImage,
    QImageWriter,
    QPageLayout,
    QPageSize,
    QPaintDevice,
    QPainter,
    QPdfWriter,
)
from PySide6.QtSvg import QSvgGenerator

from desktop import theme
from desktop.plots import paper
from desktop.plots.base import PlotView
from desktop.plots.geometry import Quality
from desktop.theme_tokens import LIGHT

FORMATS = ("png", "svg", "pdf", "csv")
UNIT = 96  # pixels an inch in which the plot is laid out, so type keeps its size on paper
CREATOR = "Lemmascope"


def export(
    plot: PlotView,
    path: str | Path,
    *,
    width_px: int = 1600,
    height_px: int = 1000,
    dpi: int = 192,
    paper: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write `plot` to `path`; the suffix names the format. `width_px` by `height_px` pixels at `dpi` make the size in
    inches, which vector files keep. `paper`: on white, whatever the theme. Replaces the file only once it is whole.

    Raises ValueError for a format there is none of, OSError where the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ValueError(
            f"{path.name}: export knows {', '.join(FORMATS)}, not {kind or 'no suffix'}"
        )
    meta = {str(k): v for k, v in (metadata or {}).items()}
    plot.refresh()
    part = path.with_name(f".{path.name}.part")
    try:
        size = QSizeF(width_px * UNIT / dpi, height_px * UNIT / dpi)
        if kind == "csv":
            _csv(plot, part, meta)
        elif kind == "png":
            _png(plot, part, QSize(width_px, height_px), size, dpi, paper, meta)
        elif kind == "svg":
            _svg(plot, part, size, paper, meta)
        else:
            _pdf(plot, part, size, paper, meta)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def image(
    plot: PlotView, width_px: int, height_px: int, dpi: int = 192, on_white: bool = False
) -> QImage:
    """The plot as a picture, for the clipboard."""
    plot.refresh()
    return _image(
        plot,
        QSize(width_px, height_px),
        QSizeF(width_px * UNIT / dpi, height_px * UNIT / dpi),
        dpi,
        on_white,
    )


def _paint(
    plot: PlotView, device: QPaintDevice, size: QSizeF, zoom: float, on_white: bool, vector: bool
) -> None:
    tokens = LIGHT if on_white else theme.tokens()
    look = paper.Look(tokens, file=True, outlines=isinstance(device, QSvgGenerator))
    painter = QPainter()
    if not painter.begin(device):
        raise OSError("the picture cannot be written there")
    kept = plot.content
    try:
        plot.content = plot.build(look)  # marks in the paper's colours
        painter.scale(zoom, zoom)
        quality = Quality(fine=True, vector=vector, ratio=zoom)
        memory = paper.Memory()  # a first pass sizes the margins, nothing jumps on paper
        paper.draw(plot, painter, QRectF(0, 0, size.width(), size.height()), look, quality, memory)
    finally:
        painter.end()
        plot.content = plot.build(paper.Look(theme.tokens())) if on_white else kept


def _image(plot: PlotView, pixels: QSize, size: QSizeF, dpi: int, on_white: bool) -> QImage:
    picture = QImage(pixels, QImage.Format.Format_RGB32)
    if picture.isNull():
        raise OSError(f"a picture of {pixels.width()} by {pixels.height()} pixels does not fit")
    picture.setDotsPerMeterX(round(dpi / 0.0254))
    picture.setDotsPerMeterY(round(dpi / 0.0254))
    _paint(plot, picture, size, dpi / UNIT, on_white, vector=False)
    return picture


def _png(
    plot: PlotView,
    path: Path,
    pixels: QSize,
    size: QSizeF,
    dpi: int,
    on_white: bool,
    meta: dict[str, Any],
) -> None:
    picture = _image(plot, pixels, size, dpi, on_white)
    picture.setText("Software", CREATOR)
    picture.setText("Title", plot.title or plot.y_label)
    picture.setText("Description", plot.summary())
    picture.setText("Metadata", json.dumps(meta, ensure_ascii=False))
    for key, value in meta.items():
        picture.setText(f"{CREATOR}:{key}", str(value))
    writer = QImageWriter(str(path), QByteArray(b"png"))
    if not writer.write(picture):
        raise OSError(f"{path.name}: {writer.errorString()}")


def _svg(plot: PlotView, path: Path, size: QSizeF, on_white: bool, meta: dict[str, Any]) -> None:
    writer = QSvgGenerator(QSvgGenerator.SvgVersion.Svg11)  # 1.1 has clip paths
    writer.setFileName(str(path))
    writer.setResolution(UNIT)
    writer.setSize(size.toSize())
    writer.setViewBox(QRectF(0, 0, size.width(), size.height()))
    writer.setTitle(plot.title or plot.y_label)
    text = f"{plot.summary()}\n{json.dumps(meta, ensure_ascii=False)}"
    writer.setDescription(text)
    _paint(plot, writer, size, 1.0, on_white, vector=True)
    if not path.exists():
        raise OSError(f"{path.parent} cannot be written to")


def _pdf(plot: PlotView, path: Path, size: QSizeF, on_white: bool, meta: dict[str, Any]) -> None:
    writer = QPdfWriter(str(path))
    writer.setResolution(1200)
    points = QSizeF(size.width() * 72 / UNIT, size.height() * 72 / UNIT)
    page = QPageSize(points, QPageSize.Unit.Point, "", QPageSize.SizeMatchPolicy.ExactMatch)
    writer.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, QMarginsF(0, 0, 0, 0)))
    writer.setCreator(CREATOR)
    writer.setTitle(plot.title or plot.y_label)
    text = json.dumps(meta, ensure_ascii=False, indent=1)
    writer.addFileAttachment("metadata.json", QByteArray(text.encode()), "application/json")
    _paint(plot, writer, size, 1200 / UNIT, on_white, vector=True)
    if not path.exists():
        raise OSError(f"{path.parent} cannot be written to")


def _csv(plot: PlotView, path: Path, meta: dict[str, Any]) -> None:
    """UTF-8, comma, point; the lines before the header begin with `#`. Numbers have every digit (repr)."""
    headers, rows = plot.table()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {plot.title or plot.y_label}\n")
        for key, value in meta.items():
            file.write(f"# {key}: {json.dumps(value, ensure_ascii=False)}\n")
        out = csv.writer(file)
        out.writerow(headers)
        for row in rows:
            out.writerow(["" if v is None else repr(v) if isinstance(v, float) else v for v in row])


def read_csv(path: str | Path) -> tuple[dict[str, Any], list[str], list[list[Any]]]:
    """What `export` wrote: metadata, headers, rows with None for what is empty."""
    meta: dict[str, Any] = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        lines = list(file)
    head = [line for line in lines if line.startswith("#")]
    for line in head:
        key, colon, value = line[1:].strip().partition(": ")
        if colon:
            meta[key] = json.loads(value)
    headers, *rows = list(csv.reader(lines[len(head) :]))
    return meta, headers, [[_value(v) for v in row] for row in rows]


def _value(text: str) -> Any:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text
