"""Between numpy and the painter: the frame that maps data to pixels, and fast ways to hand over thousands of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shiboken6
from PySide6.QtCore import QLineF, QPointF, QRectF
from PySide6.QtGui import QPolygonF

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Frame:
    """The data's rectangle on the paper, and the range of axis coordinates that it shows."""

    left: float
    top: float
    width: float
    height: float
    x0: float
    x1: float
    y0: float
    y1: float

    @property
    def rect(self) -> QRectF:
        return QRectF(self.left, self.top, self.width, self.height)

    def px(self, x: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):  # far outside the view: drawn as such
            return self.left + (np.asarray(x) - self.x0) * (self.width / (self.x1 - self.x0))

    def py(self, y: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.top + (self.y1 - np.asarray(y)) * (self.height / (self.y1 - self.y0))

    def x_of(self, px: float) -> float:
        return self.x0 + (px - self.left) * (self.x1 - self.x0) / self.width

    def y_of(self, py: float) -> float:
        return self.y1 - (py - self.top) * (self.y1 - self.y0) / self.height


@dataclass(frozen=True)
class Quality:
    """How to draw: quickly while data stream in, finely when at rest, as vectors in a file."""

    fine: bool = True
    vector: bool = False
    ratio: float = 1.0  # device pixels a pixel

    @property
    def smooth(self) -> bool:
        """On a fine screen the steps of a moving line are too small to see, and smooth edges cost a third."""
        return self.fine or self.vector or self.ratio < 2


def _doubles(address_of: Any, count: int) -> Array:
    """Qt's memory as numpy sees it. The stubs know neither this constructor nor that a VoidPtr is a buffer."""
    buffer: Any = shiboken6.VoidPtr(address_of, count * 8, True)  # type: ignore[call-arg]
    return np.frombuffer(buffer, dtype=np.float64)


def polygon(px: Array, py: Array) -> QPolygonF:
    """The points as a QPolygonF, copied at once instead of one by one."""
    shape = QPolygonF()
    shape.resize(len(px))
    if len(px):
        both = _doubles(shape.data(), 2 * len(px)).reshape(-1, 2)
        both[:, 0], both[:, 1] = px, py
    return shape


class _Pool:
    """QLineF objects over one numpy array, so that thousands of segments reach QPainter without being built in
    Python one at a time."""

    def __init__(self) -> None:
        self.memory = np.zeros((0, 4))
        self.lines: list[QLineF] = []

    def fill(self, segments: Array) -> list[QLineF]:
        n = len(segments)
        if n > len(self.memory):
            self.memory = np.zeros((max(2 * len(self.memory), n, 4096), 4))
            start, step = self.memory.ctypes.data, self.memory.strides[0]
            self.lines = [
                shiboken6.wrapInstance(start + k * step, QLineF)  # type: ignore[misc]
                for k in range(len(self.memory))
            ]
        self.memory[:n] = segments
        return self.lines[:n]


pool = _Pool()


def simple(pieces: list[tuple[Array, Array]], f: Frame) -> bool:
    """Whether Qt's own stroke, with its clean corners, is cheap: few points that hardly cross themselves."""
    if sum(len(px) for px, _ in pieces) > 400:
        return False
    length = sum(float(np.abs(np.diff(py)).sum()) for _, py in pieces)
    return length < 6 * f.height


def clipped(px: Array, py: Array, box: QRectF) -> list[tuple[Array, Array]]:
    """The parts of a polyline inside a rectangle (Liang and Barsky's clipping of each segment), for painters that
    do not clip by themselves, as few SVG viewers do."""
    if len(px) < 2:
        inside = len(px) == 1 and box.contains(QPointF(px[0], py[0]))
        return [(px, py)] if inside else []
    dx, dy = np.diff(px), np.diff(py)
    enter, leave = np.zeros(len(dx)), np.ones(len(dx))
    for step, room in (
        (-dx, px[:-1] - box.left()),
        (dx, box.right() - px[:-1]),
        (-dy, py[:-1] - box.top()),
        (dy, box.bottom() - py[:-1]),
    ):
        with np.errstate(divide="ignore", invalid="ignore"):
            t = room / step
        enter = np.where(step < 0, np.maximum(enter, t), enter)
        leave = np.where(step > 0, np.minimum(leave, t), leave)
        enter = np.where((step == 0) & (room < 0), np.inf, enter)  # parallel and outside
    parts = []
    good = np.flatnonzero(enter < leave)
    # segments that follow each other and meet inside make one part
    breaks = (
        np.flatnonzero((np.diff(good) > 1) | (leave[good[:-1]] < 1) | (enter[good[1:]] > 0)) + 1
    )
    for run in np.split(good, breaks):
        if len(run):
            a, b = run[0], run[-1]
            x = np.concatenate(
                [[px[a] + enter[a] * dx[a]], px[a + 1 : b + 1], [px[b] + leave[b] * dx[b]]]
            )
            y = np.concatenate(
                [[py[a] + enter[a] * dy[a]], py[a + 1 : b + 1], [py[b] + leave[b] * dy[b]]]
            )
            parts.append((x, y))
    return parts


def dashed(px: Array, py: Array, dashes: tuple[float, ...]) -> Array:
    """Segments (m, 4) of a polyline drawn in dashes of these lengths in pixels.

    A dash is measured along the curve, or along the x axis where the curve is so ragged that it would dissolve.
    """
    steps = np.hypot(np.diff(px), np.diff(py))
    if steps.sum() > 6 * abs(px[-1] - px[0]) + 100:
        steps = np.abs(np.diff(px))
    s = np.concatenate([[0.0], np.cumsum(steps)])
    period = float(sum(dashes))
    edges = np.cumsum(dashes)[:-1]
    count = int(s[-1] // period) + 1
    cuts = (np.arange(count)[:, None] * period + np.concatenate([[0.0], edges])).ravel()
    cuts = cuts[(cuts > 0) & (cuts < s[-1])]
    at = np.concatenate([s, cuts])
    order = np.argsort(at, kind="stable")
    at = at[order]
    x = np.concatenate([px, np.interp(cuts, s, px)])[order]
    y = np.concatenate([py, np.interp(cuts, s, py)])[order]
    middle = np.mod(0.5 * (at[1:] + at[:-1]), period)
    drawn = np.searchsorted(edges, middle, "right") % 2 == 0
    segments = np.stack([x[:-1], y[:-1], x[1:], y[1:]], axis=1)
    return np.asarray(segments[drawn])


def bounded(values: Array, low: float, size: float) -> Array:
    """Pixels far outside the view overflow the rasteriser: brought near, on the same side."""
    return np.clip(values, low - 20 * size - 1000, low + 21 * size + 1000)
