"""Where the direct labels go: beside their own curve, off every other curve and each other, and still while data stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor

Array = np.ndarray[Any, Any]
COLUMN = 6.0  # pixels of one column of the occupancy table
GAP = 4.0  # pixels between a label and its curve
ALONG = (0.97, 0.8, 0.62, 0.45, 0.28, 0.12)  # where along its curve a label may end
END = (1.0, 0.9, 0.75, 0.6, 0.45)
KEEP = 6.0  # a placed label moves only where this much is gained


@dataclass
class Tag:
    """A label of one curve. `at_end` asks for the right end, as theory's label does."""

    key: str
    text: str
    colour: QColor
    pieces: list[tuple[Array, Array]] = field(default_factory=list)  # the curve in pixels
    around: list[tuple[Array, Array]] = field(default_factory=list)  # its band
    bold: bool = True
    at_end: bool = False


@dataclass(frozen=True)
class Placed:
    tag: Tag
    rect: QRectF


class _Curves:
    """For each pixel column the vertical extents of every curve, to count what a label would cover."""

    def __init__(self, curves: list[list[tuple[Array, Array]]], left: float, width: float) -> None:
        self.left, self.count = left, max(1, int(width / COLUMN) + 1)
        self.low = np.full((max(1, len(curves)), self.count), np.inf)
        self.high = np.full_like(self.low, -np.inf)
        for k, pieces in enumerate(curves):
            for px, py in pieces:
                if len(px) == 0:
                    continue
                # a coarse curve passes columns without a point of its own: interpolate there
                inside = np.arange(
                    max(0, int((px[0] - left) / COLUMN)),
                    min(self.count - 1, int((px[-1] - left) / COLUMN)) + 1,
                )
                if len(inside):
                    y = np.interp(left + (inside + 0.5) * COLUMN, px, py)
                    np.minimum.at(self.low[k], inside, y)
                    np.maximum.at(self.high[k], inside, y)
                column = ((px - left) / COLUMN).astype(np.int64)
                good = (column >= 0) & (column < self.count)
                np.minimum.at(self.low[k], column[good], py[good])
                np.maximum.at(self.high[k], column[good], py[good])

    def columns(self, rect: QRectF) -> slice:
        first = int((rect.left() - self.left) / COLUMN)
        return slice(max(0, first), int((rect.right() - self.left) / COLUMN) + 1)

    def covered(self, rect: QRectF) -> float:
        """How many columns of curve lie under the rectangle."""
        part = self.columns(rect)
        hit = (self.low[:, part] <= rect.bottom()) & (self.high[:, part] >= rect.top())
        return float(hit.sum())

    def seen(self, k: int, area: QRectF) -> bool:
        """Whether any of the curve lies in the area."""
        return bool(((self.low[k] <= area.bottom()) & (self.high[k] >= area.top())).any())

    def extent(self, k: int, left: float, right: float) -> tuple[float, float] | None:
        part = self.columns(QRectF(left, 0, right - left, 1))
        low, high = self.low[k, part], self.high[k, part]
        if not np.isfinite(low).any():
            return None
        return float(low.min()), float(high.max())


def place(
    tags: list[Tag],
    sizes: list[tuple[float, float]],
    area: QRectF,
    before: dict[str, tuple[float, int]],
    taken: list[QRectF] | None = None,
    others: list[list[tuple[Array, Array]]] | None = None,
) -> tuple[list[Placed], dict[str, tuple[float, int]]]:
    """Rectangles for the labels inside `area`, in order of the tags. A label for which no place is free is left out.

    `before` (label -> relative place along the curve, side) is where labels stood in the last picture; the second
    result is the same for this one. `taken`: rectangles that nothing may cover; `others`: curves and bands without a
    label, which are better left uncovered too.
    """
    curves = _Curves(
        [t.pieces + t.around for t in tags] + (others or []), area.left(), area.width()
    )
    taken = list(taken or [])
    done: list[Placed] = []
    choices: dict[str, tuple[float, int]] = {}
    for k, (tag, (w, h)) in enumerate(zip(tags, sizes, strict=True)):
        spans = [(px[0], px[-1]) for px, _ in tag.pieces if len(px)]
        if not spans or w > area.width():
            continue
        start = max(area.left(), min(a for a, _ in spans))
        stop = min(area.right(), max(b for _, b in spans))
        places = END if tag.at_end else ALONG
        weight = 4.0 if tag.at_end else 1.0  # theory's label leaves the end only to cover nothing
        if not curves.seen(k, area):
            continue
        best: tuple[float, tuple[float, int], QRectF] | None = None
        for order, place_ in enumerate(places):
            right = min(max(start + place_ * (stop - start), area.left() + w), area.right() - 2)
            extent = curves.extent(k, right - w, right)
            if extent is None:
                continue
            for side in (-1, 1):
                y = extent[0] - GAP - h if side < 0 else extent[1] + GAP
                rect = QRectF(right - w, y, w, h)
                if rect.top() < area.top() or rect.bottom() > area.bottom():
                    continue
                if any(rect.intersects(r) for r in taken):
                    continue
                cost = curves.covered(rect) + weight * order + (0.5 if side > 0 else 0.0)
                if before.get(tag.key) == (place_, side):
                    cost -= KEEP
                if best is None or cost < best[0]:
                    best = (cost, (place_, side), rect)
        if best is None:
            best = _anywhere(tag, w, h, area, curves, k, taken)
        if best is not None:
            taken.append(best[2].adjusted(-2, -1, 2, 1))
            choices[tag.key] = best[1]
            done.append(Placed(tag, best[2]))
    return done, choices


def _anywhere(
    tag: Tag, w: float, h: float, area: QRectF, curves: _Curves, k: int, taken: list[QRectF]
) -> tuple[float, tuple[float, int], QRectF] | None:
    """Next to the end of a curve whose sides are all taken: the free height nearest to it."""
    right = area.right() - 2
    extent = curves.extent(k, right - w, right)
    if extent is None:
        return None
    middle = 0.5 * (extent[0] + extent[1]) - h / 2
    for shift in sorted(np.arange(-8, 9) * (h + 2), key=abs):
        rect = QRectF(right - w, min(max(middle + shift, area.top()), area.bottom() - h), w, h)
        if not any(rect.intersects(r) for r in taken):
            return 0.0, (1.0, 0), rect
    return None
