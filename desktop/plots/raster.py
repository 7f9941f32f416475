"""Ragged curves and bands as pixels, a column at a time: what Qt's strokes would take a second for, in milliseconds.

In a pixel column a curve or a band covers one span of rows. All marks' spans go into one table, each mark a bit: added
where its span begins, taken away where it ends; a running sum down the columns then says for every pixel which marks
cover it, and a table of colours, blended once for each combination, says what that looks like. The cost is that of the
pixels, whatever the number of readings, of marks and of their crossings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage, QPainter

from desktop.plots.decimate import runs_of_finite, visible
from desktop.plots.geometry import Frame, Quality, bounded

if TYPE_CHECKING:
    from desktop.plots.marks import Mark

Array = np.ndarray[Any, Any]
Rgba = tuple[int, int, int, int]
MOST = 12  # marks in one table: a colour for each of 2¹² combinations
MARGIN = 2  # pixels around the frame that marks may touch
FINER = 2  # cells of the grid a device pixel, each way, in a picture at rest


@dataclass(frozen=True)
class Grid:
    """The device pixels that a frame covers, and its margin."""

    left: int
    top: int
    width: int
    height: int
    ratio: float

    @classmethod
    def of(cls, f: Frame, ratio: float) -> Grid:
        left, top = int((f.left - MARGIN) * ratio), int((f.top - MARGIN) * ratio)
        right, bottom = (f.left + f.width + MARGIN) * ratio, (f.top + f.height + MARGIN) * ratio
        return cls(left, top, int(right) + 1 - left, int(bottom) + 1 - top, ratio)


@dataclass(frozen=True)
class Spans:
    """The rows [first, last) that a mark covers in each column of a grid; first ≥ last: none."""

    first: Array  # (width,) int
    last: Array
    rgba: Rgba


def travel(pieces: list[tuple[Array, Array]]) -> float:
    """How far a curve goes up and down, in pixels: what a stroke of it costs."""
    return sum(float(np.abs(np.diff(py)).sum()) for _, py in pieces)


def extents(g: Grid, f: Frame, x: Array, y: Array) -> tuple[Array, Array]:
    """The topmost and the lowest place of a curve in each column, in rows; inf and −inf where it is not.

    Of all readings, not of those that a stroke would go through: a stroke's points stand in columns of their own.
    """
    top, bottom = np.full(g.width, np.inf), np.full(g.width, -np.inf)
    part = visible(x, f.x0, f.x1)
    px = bounded(f.px(x[part]), f.left, f.width) * g.ratio - g.left
    py = bounded(f.py(y[part]), f.top, f.height) * g.ratio - g.top
    for piece in runs_of_finite(px, py):
        px_, py_ = px[piece], py[piece]
        inside = slice(*np.searchsorted(px_, (0, g.width)))
        column = px_[inside].astype(np.int64)
        if len(column):
            starts = np.flatnonzero(np.diff(column, prepend=-1))
            at = column[starts]
            top[at] = np.minimum(top[at], np.minimum.reduceat(py_[inside], starts))
            bottom[at] = np.maximum(bottom[at], np.maximum.reduceat(py_[inside], starts))
        # where it passes from one column into the next
        edge = np.interp(np.arange(g.width + 1), px_, py_, left=np.nan, right=np.nan)
        np.fmin(top, np.fmin(edge[:-1], edge[1:]), out=top)
        np.fmax(bottom, np.fmax(edge[:-1], edge[1:]), out=bottom)
    return top, bottom


def line_spans(g: Grid, f: Frame, x: Array, y: Array, width: float, rgba: Rgba) -> Spans:
    """A curve that is `width` pixels wide."""
    top, bottom = extents(g, f, x, y)
    thick = max(1, round(width * g.ratio))
    wide = [slice(max(0, k), g.width + min(0, k)) for k in range(-(thick // 2), (thick + 1) // 2)]
    spread_top, spread_bottom = top.copy(), bottom.copy()
    for there in wide:  # steep parts have that width too
        here = slice(g.width - there.stop, g.width - there.start)
        np.minimum(spread_top[here], top[there], out=spread_top[here])
        np.maximum(spread_bottom[here], bottom[there], out=spread_bottom[here])
    return Spans(_rows(spread_top - 0.5 * thick, g), _rows(spread_bottom + 0.5 * thick, g), rgba)


def band_spans(g: Grid, f: Frame, x: Array, low: Array, high: Array, rgba: Rgba) -> Spans:
    """What lies between the edges of a band, whichever is on top."""
    both = np.where(np.isfinite(low + high), (low, high), np.nan)
    found = [extents(g, f, x, edge) for edge in both]
    top = np.minimum.reduce([t for t, _ in found])
    return Spans(_rows(top, g), _rows(np.maximum.reduce([b for _, b in found]), g), rgba)


def _rows(y: Array, g: Grid) -> Array:
    """The row that begins nearest to y; beyond the grid its end, so that nothing begins below what is nowhere."""
    rows: Array = np.clip(np.rint(y), 0, g.height)
    return rows.astype(np.int64)


@lru_cache(maxsize=32)
def _colours(marks: tuple[Rgba, ...]) -> Array:
    """For each set of marks, as bits, what painting them in order gives: premultiplied ARGB32."""
    rgb, alpha = np.zeros((1 << len(marks), 3)), np.zeros((1 << len(marks), 1))
    which = np.arange(1 << len(marks))
    for k, (*colour, a) in enumerate(marks):
        covers = ((which >> k) & 1)[:, None] * (a / 255)
        rgb = rgb * (1 - covers) + np.array(colour) * covers
        alpha = alpha * (1 - covers) + 255 * covers
    parts = np.rint(np.concatenate([rgb, alpha], axis=1)).astype(np.uint32)
    return np.asarray(parts[:, 3] << 24 | parts[:, 0] << 16 | parts[:, 1] << 8 | parts[:, 2])


def pixels(g: Grid, marks: list[Spans]) -> tuple[int, Array]:
    """The first row that a mark covers, and from there on premultiplied ARGB32 of the marks painted in order."""
    seen = [m.last > m.first for m in marks]
    top = min(
        (int(m.first[s].min()) for m, s in zip(marks, seen, strict=True) if s.any()), default=0
    )
    end = max(
        (int(m.last[s].max()) for m, s in zip(marks, seen, strict=True) if s.any()), default=0
    )
    table = np.zeros((max(0, end - top) + 1, g.width), np.uint16)
    flat, columns = table.reshape(-1), np.arange(g.width)
    for k, (m, s) in enumerate(zip(marks, seen, strict=True)):
        flat[((m.first - top) * g.width + columns)[s]] += np.uint16(1 << k)
        flat[((m.last - top) * g.width + columns)[s]] -= np.uint16(1 << k)
    for i in range(1, len(table)):  # whole rows are added at once
        np.add(table[i], table[i - 1], out=table[i])
    return top, np.take(_colours(tuple(m.rgba for m in marks)), table[:-1])


def draw(p: QPainter, g: Grid, marks: list[Spans], smooth: bool) -> None:
    """Paints spans; `smooth`: their grid is finer than the device, and its pixels are averaged."""
    for k in range(0, len(marks), MOST):
        top, argb = pixels(g, marks[k : k + MOST])
        if not argb.size:
            continue
        height, width = argb.shape
        form = QImage.Format.Format_ARGB32_Premultiplied
        image = QImage(argb.data, width, height, 4 * width, form)  # drawn before `argb` goes
        at = QPointF(g.left / g.ratio, (g.top + top) / g.ratio)
        if smooth:
            p.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
            p.drawImage(QRectF(at.x(), at.y(), width / g.ratio, height / g.ratio), image)
            p.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        else:
            image.setDevicePixelRatio(g.ratio)
            p.drawImage(at, image)


def paint(p: QPainter, f: Frame, q: Quality, marks: list[Mark]) -> None:
    """Paints marks in order; neighbours that are quicker as spans go together."""
    grid = Grid.of(f, q.ratio * (FINER if q.fine else 1))
    together: list[Spans] = []
    for mark in marks:
        spans = None if q.vector else mark.spans(f, q, grid)
        if spans is not None:
            together.append(spans)
            continue
        draw(p, grid, together, q.fine)
        together = []
        mark.paint(p, f, q)
    draw(p, grid, together, q.fine)
