"""What a plot draws, as data in axis coordinates: lines, bands, points, bars, cells. Each knows how to paint itself.

Marks are built when data change and painted as often as needed; the pixel polygons are kept for as long as the view
stays. Nothing here is a graphics item: a plot is one widget and one painter, which is also what exports it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPen, QPolygonF

from desktop.plots import raster
from desktop.plots.decimate import decimate, envelope, runs_of_finite
from desktop.plots.geometry import Frame, Quality, bounded, clipped, dashed, polygon, pool, simple

Array = np.ndarray[Any, Any]
# Heights of the frame that a curve travels, from which on pixels are quicker than smooth strokes: while data stream
# in, at rest. A stroke that is not smooth is never quicker.
RAGGED, RAGGED_AT_REST = 24.0, 60.0


def calm(pieces: list[tuple[Array, Array]], f: Frame, q: Quality) -> bool:
    """Whether a curve goes up and down little enough to be stroked."""
    return raster.travel(pieces) < (RAGGED_AT_REST if q.fine else RAGGED) * f.height


def rgba(colour: QColor, alpha: float = 1.0) -> raster.Rgba:
    return colour.red(), colour.green(), colour.blue(), round(255 * alpha)


class Mark:
    """Something to paint."""

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        raise NotImplementedError

    def spans(self, f: Frame, q: Quality, grid: raster.Grid) -> raster.Spans | None:
        """The pixels that it covers, where that is quicker than a stroke (raster.py)."""
        return None

    def outline(self, f: Frame) -> list[tuple[Array, Array]]:
        """What a label should keep off, as curves in pixels."""
        return []


@dataclass
class Line(Mark):
    """A curve. On screen a line wider than a device pixel is drawn as separate segments: Qt strokes a polyline as
    one outline, which takes a second or more where a noisy curve crosses itself thousands of times (README)."""

    x: Array
    y: Array
    colour: QColor  # opaque: segments overlap
    width: float = 1.0
    dashes: tuple[float, ...] = ()  # lengths in pixels of dash, gap, …
    wide_at_rest: bool = False  # 2 pixels once nothing streams
    _kept: tuple[Frame, list[tuple[Array, Array]]] | None = field(default=None, repr=False)
    _segments: Array | None = field(default=None, repr=False)

    def pieces(self, f: Frame) -> list[tuple[Array, Array]]:
        """The curve in pixels, one pair of arrays for each piece between gaps."""
        if self._kept is None or self._kept[0] != f:
            x, y = decimate(self.x, self.y, f.x0, f.x1, max(1, int(f.width)))
            px = bounded(f.px(x), f.left, f.width)
            py = bounded(f.py(y), f.top, f.height)
            self._kept = (f, [(px[s], py[s]) for s in runs_of_finite(px, py)])
            self._segments = None
        return self._kept[1]

    def outline(self, f: Frame) -> list[tuple[Array, Array]]:
        return self.pieces(f)

    def _cut(self, pieces: list[tuple[Array, Array]]) -> Array:
        if self._segments is None:
            parts = [np.zeros((0, 4))]
            for px, py in pieces:
                if len(px) < 2:
                    continue
                if self.dashes:
                    parts.append(dashed(px, py, self.dashes))
                else:
                    parts.append(np.stack([px[:-1], py[:-1], px[1:], py[1:]], axis=1))
            self._segments = np.concatenate(parts)
        return self._segments

    def _width(self, q: Quality) -> float:
        return 2.0 if self.wide_at_rest and q.fine else self.width

    def spans(self, f: Frame, q: Quality, grid: raster.Grid) -> raster.Spans | None:
        pieces = self.pieces(f)
        if self.dashes or (q.smooth and calm(pieces, f, q)) or simple(pieces, f):
            return None
        # at its own width: what fills an area needs no wider stroke
        return raster.line_spans(grid, f, self.x, self.y, self.width, rgba(self.colour))

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        width = self._width(q)
        pen = QPen(self.colour, width)
        p.setBrush(Qt.BrushStyle.NoBrush)
        p.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        pieces = self.pieces(f)
        if q.vector or (not self.dashes and (width * q.ratio <= 1 or simple(pieces, f))):
            pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
            if self.dashes:
                pen.setCapStyle(Qt.PenCapStyle.FlatCap)
                pen.setDashPattern([d / width for d in self.dashes])
            p.setPen(pen)
            if q.vector:
                box = f.rect.adjusted(0, -1, 0, 1)
                pieces = [part for px, py in pieces for part in clipped(px, py, box)]
            for px, py in pieces:
                p.drawPolyline(polygon(px, py))
        else:
            square = Qt.PenCapStyle.FlatCap if self.dashes else Qt.PenCapStyle.SquareCap
            pen.setCapStyle(square)  # square caps close the corners between segments
            p.setRenderHint(QPainter.RenderHint.Antialiasing, q.smooth)
            p.setPen(pen)
            p.drawLines(pool.fill(self._cut(pieces)))
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QBrush(self.colour))
        for px, py in pieces:
            if len(px) == 1:
                p.drawEllipse(QPointF(px[0], py[0]), 2, 2)  # a lone reading is still seen


class Anchor(Line):
    """Invisible: bears the label of a mark that is no line."""

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        pass


@dataclass
class Band(Mark):
    x: Array
    low: Array
    high: Array
    colour: QColor
    alpha: float = 0.18
    _kept: tuple[Frame, list[QPolygonF]] | None = field(default=None, repr=False)
    _edges: list[tuple[Array, Array]] = field(default_factory=list, repr=False)

    def outline(self, f: Frame) -> list[tuple[Array, Array]]:
        self._pieces(f)
        return self._edges

    def spans(self, f: Frame, q: Quality, grid: raster.Grid) -> raster.Spans | None:
        edges = self.outline(f)
        if q.fine and calm(edges, f, q):
            return None
        shade = rgba(self.colour, self.alpha)
        return raster.band_spans(grid, f, self.x, self.low, self.high, shade)

    def _pieces(self, f: Frame) -> list[QPolygonF]:
        if self._kept is None or self._kept[0] != f:
            x, low, high = envelope(
                self.x, self.low, self.high, f.x0, f.x1, max(1, int(f.width) // 2)
            )
            px = bounded(f.px(x), f.left, f.width)
            a, b = (bounded(f.py(v), f.top, f.height) for v in (low, high))
            parts = runs_of_finite(px, a, b)
            self._edges = [(px[s], edge[s]) for s in parts for edge in (a, b)]
            self._kept = (
                f,
                [
                    polygon(
                        np.concatenate([px[s], px[s][::-1]]), np.concatenate([a[s], b[s][::-1]])
                    )
                    for s in parts
                ],
            )
        return self._kept[1]

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        colour = QColor(self.colour)
        colour.setAlphaF(self.alpha)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(colour)
        # smooth edges take three times as long, and what moves is not seen so closely
        p.setRenderHint(QPainter.RenderHint.Antialiasing, q.fine)
        for piece in self._pieces(f):
            if q.vector and not f.rect.contains(piece.boundingRect()):
                frame, shape = QPainterPath(), QPainterPath()
                frame.addRect(f.rect)
                shape.setFillRule(Qt.FillRule.WindingFill)
                shape.addPolygon(piece)
                p.drawPath(shape.intersected(frame))
            else:
                p.drawPolygon(piece, Qt.FillRule.WindingFill)


@dataclass
class Points(Mark):
    """Points with error bars from `low` to `high`; the shape goes by run, not only the colour."""

    x: Array
    y: Array
    colour: QColor
    low: Array | None = None
    high: Array | None = None
    shape: int = 0
    size: float = 7.0

    def outline(self, f: Frame) -> list[tuple[Array, Array]]:
        px, reach = f.px(self.x), self.size / 2
        edges = []
        for y, side in ((self.low, reach), (self.high, -reach)):
            edge = f.py(self.y if y is None else y)
            edge = np.where(np.isfinite(edge), edge, f.py(self.y)) + side
            edges += [(px[s], edge[s]) for s in runs_of_finite(px, edge)]
        return edges

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        px, py = f.px(self.x), f.py(self.y)
        p.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        p.setPen(QPen(self.colour, 1.2))
        if self.low is not None and self.high is not None:
            for x, a, b in zip(px, f.py(self.low), f.py(self.high), strict=True):
                if not f.left - 1 <= x <= f.left + f.width + 1:
                    continue
                ends = np.clip([a, b], f.top, f.top + f.height)
                if np.isfinite([x, *ends]).all() and abs(a - b) > 0.5:
                    p.drawLine(QPointF(x, ends[0]), QPointF(x, ends[1]))
                    for y in ends:
                        p.drawLine(QPointF(x - 3, y), QPointF(x + 3, y))
        p.setBrush(QBrush(self.colour))
        p.setPen(Qt.PenStyle.NoPen)
        r = self.size / 2
        for x, y in zip(px, py, strict=True):
            if not np.isfinite([x, y]).all() or not f.rect.adjusted(-1, -1, 1, 1).contains(x, y):
                continue
            if self.shape % 3 == 0:
                p.drawEllipse(QPointF(x, y), r, r)
            elif self.shape % 3 == 1:
                p.drawRect(QRectF(x - r * 0.9, y - r * 0.9, 1.8 * r, 1.8 * r))
            else:
                p.drawPolygon(
                    QPolygonF(
                        [QPointF(x, y - r * 1.2), QPointF(x + r * 1.1, y + r * 0.8), QPointF(x - r * 1.1, y + r * 0.8)]
                    )
                )  # fmt: skip


@dataclass
class Bars(Mark):
    """A histogram's outline and filling: `edges` (n + 1,), `heights` (n,), in axis coordinates, from `base` up."""

    edges: Array
    heights: Array
    colour: QColor
    base: float = 0.0
    alpha: float = 0.25

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        x = np.repeat(self.edges, 2)
        y = np.concatenate([[self.base], np.repeat(self.heights, 2), [self.base]])
        y = np.where(np.isfinite(y), y, self.base)
        px = np.clip(f.px(x), f.left, f.left + f.width)  # exact for a shape of right angles
        shape = polygon(px, np.clip(f.py(y), f.top - 1, f.top + f.height))
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        fill = QColor(self.colour)
        fill.setAlphaF(self.alpha)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(fill)
        p.drawPolygon(shape)
        p.setPen(QPen(self.colour, 1))
        p.setBrush(Qt.BrushStyle.NoBrush)
        p.drawPolyline(shape)


@dataclass
class Cells(Mark):
    """A matrix as coloured cells in `rect` (pixels). On screen one image; in a vector file rectangles, since those
    hold no raster. `colours` (p, q, 3) uint8."""

    colours: Array
    rect: QRectF

    def paint(self, p: QPainter, f: Frame, q: Quality) -> None:
        rows, columns, _ = self.colours.shape
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        if not q.vector:
            data = np.zeros((rows, columns, 4), np.uint8)
            data[..., :3] = self.colours[..., ::-1]
            data[..., 3] = 255
            image = QImage(
                data.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_RGB32
            ).copy()  # the bytes do not outlive this call
            p.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
            p.drawImage(self.rect, image)
            return
        p.setPen(Qt.PenStyle.NoPen)
        w, h = self.rect.width() / columns, self.rect.height() / rows
        for i in range(rows):
            row = self.colours[i]
            cuts = np.flatnonzero(np.any(row[1:] != row[:-1], axis=1)) + 1
            for a, b in zip([0, *cuts], [*cuts, columns], strict=True):  # equal neighbours as one
                p.setBrush(QColor(*(int(c) for c in row[a])))
                overlap = 0.6  # hides the hairlines that viewers leave between rectangles
                p.drawRect(
                    QRectF(
                        self.rect.left() + a * w,
                        self.rect.top() + i * h,
                        (b - a) * w + overlap,
                        h + overlap,
                    )
                )
