"""A matrix: the mean over seeds, theory's beside it on the same colours, and their difference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
)

from desktop.plots import axes, paper
from desktop.plots.base import Content, PlotView
from desktop.plots.colours import cividis, diverging, painted
from desktop.plots.curves import ORDER
from desktop.plots.geometry import Frame, Quality
from desktop.plots.histogram import current
from desktop.plots.marks import Cells

Array = np.ndarray[Any, Any]
BAR, GAP = 10.0, 12.0  # width of a colour bar, space between maps
MOVES = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


class Map:
    """One of the pictures: what it shows, in which colours, over which range."""

    def __init__(self, name: str, values: Array, low: float, high: float, table: Array) -> None:
        self.name, self.values, self.low, self.high, self.table = name, values, low, high, table
        self.rect = QRectF()


class MatrixPlot(PlotView):
    """`Measured.values` (1, members, p * q) with `set_shape(p, q)`; `Theory.values` (1, p * q) likewise."""

    has_axes = False

    def __init__(self, **kw: Any) -> None:
        self.shape_: tuple[int, int] | None = None
        self.maps: list[Map] = []
        self.cell: tuple[int, int] | None = None
        super().__init__(**kw)
        self.removeEventFilter(self.crosshair)  # cells are read here, not abscissae

    def set_shape(self, p: int, q: int) -> None:
        self.shape_ = (p, q)
        self._dirty = True

    def _matrix(self, values: Array) -> Array | None:
        """The last reading's mean over members, (p, q)."""
        values = np.asarray(values, dtype=float)
        values = values[:, None, :] if values.ndim == 2 else values
        if not values.size:
            return None
        if self.shape_ is None:
            side = math.isqrt(values.shape[-1])
            self.shape_ = (side, values.shape[-1] // max(1, side))
        p, q = self.shape_
        if values.shape[-1] != p * q:
            return None  # a shape that is still to come
        members = values[-1]
        finite = np.isfinite(members)
        count = finite.sum(axis=0)
        total = np.where(finite, members, 0.0).sum(axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.asarray(mean.reshape(p, q))

    def _main(self) -> str | None:
        runs = [r for r, m in self.measured.items() if current(m).size]
        return max(runs, key=lambda r: ORDER[self.measured[r].role], default=None)

    def build(self, look: paper.Look) -> Content:
        run = self._main()
        measured = self._matrix(self.measured[run].values) if run else None
        said, theory_ = None, None
        for (owner, _), t in self.theory.items():
            if run is None or owner == run:
                said, theory_ = t, self._matrix(t.values)
                break
        self.maps = []
        shown = [v for v in (measured, theory_) if v is not None and np.isfinite(v).any()]
        if not shown:
            return Content()
        low = min(float(np.nanmin(v)) for v in shown)
        high = max(float(np.nanmax(v)) for v in shown)
        if measured is not None and run:
            seeds = self.measured[run].seeds
            name = "measured" if seeds <= 1 else f"measured, {seeds} seeds"
            self.maps.append(Map(name, measured, low, high, cividis()))
        if theory_ is not None and said is not None:
            name = f"theory {said.label}".strip() if said.valid else f"theory, needs {said.reason}"
            self.maps.append(Map(name, theory_, low, high, cividis()))
        if measured is not None and theory_ is not None:
            gap = measured - theory_
            most = float(np.nanmax(np.abs(gap))) if np.isfinite(gap).any() else 0.0
            most = most or 1.0
            self.maps.append(Map("difference", gap, -most, most, diverging(look.t)))
        return Content(empty=False)

    # --- drawing ---

    def paint_over(self, p: QPainter, f: Frame, look: paper.Look, q: Quality) -> None:
        if not self.maps or self.shape_ is None:
            return
        small = look.font(11)
        metrics = QFontMetricsF(small)
        head = metrics.height() + 4
        # the frame keeps room for numbers at its left and below, which a matrix does not have
        area = QRectF(paper.PAD, f.top, f.left + f.width - paper.PAD, f.height + metrics.height())
        marks = GAP + 12 + max(metrics.horizontalAdvance(s) for m in self.maps for s in _ends(m))
        across, width, height = self._arrange(area, head, BAR + marks)
        x, y = area.left(), area.top()
        for k, m in enumerate(self.maps):
            if k and k % across == 0:
                x, y = area.left(), y + head + height + GAP
            m.rect = QRectF(x, y + head, width, height)
            ink = look.t.text if m.name.startswith("theory") else look.t.muted
            text = metrics.elidedText(m.name, Qt.TextElideMode.ElideRight, width + GAP)
            paper.write(p, look, QRectF(x, y, width + GAP, head), text, ink, small)
            Cells(painted(m.values, m.low, m.high, m.table, look.t.hairline), m.rect).paint(p, f, q)
            p.setPen(QPen(QColor(look.t.hairline), 1))
            p.setBrush(Qt.BrushStyle.NoBrush)
            p.drawRect(m.rect)
            x += width
            if k != 0 or len(self.maps) == 1:  # measured and theory share a bar
                self._bar(p, QRectF(x + GAP, m.rect.top(), BAR, height), m, look, q, f)
                x += BAR + marks
            x += GAP
        if self.cell is not None and not look.file:
            free = QRectF(x, y + head, area.right() - x, height)
            self._read_cell(p, look, metrics, free if across == 2 and len(self.maps) == 3 else None)

    def _arrange(self, area: QRectF, head: float, bar: float) -> tuple[int, float, float]:
        """How many maps stand side by side, and each one's size: as large as fits, below the maps a line of text."""
        assert self.shape_ is not None
        rows, columns = self.shape_
        best = (1, 0.0, 0.0)
        for across in {1, 2, len(self.maps)} & set(range(1, len(self.maps) + 1)):
            deep = -(-len(self.maps) // across)
            bars = 2 if across == 3 else 1
            below = 0.0 if deep > 1 else head
            wide = (area.width() - bars * bar - GAP * (across - 1)) / across
            high = (area.height() - below - deep * head - GAP * (deep - 1)) / deep
            width = max(8.0, min(wide, high * columns / rows))
            if width > best[1]:
                best = (across, width, width * rows / columns)
        return best

    def _bar(
        self, p: QPainter, rect: QRectF, m: Map, look: paper.Look, q: Quality, f: Frame
    ) -> None:
        Cells(m.table[::-1][:, None], rect).paint(p, f, q)
        face = look.font(11)
        line = QFontMetricsF(face).height()
        for y, text in zip((rect.bottom(), rect.center().y(), rect.top()), _ends(m), strict=True):
            at = min(max(y - line / 2, rect.top()), rect.bottom() - line)
            paper.write(p, look, QRectF(rect.right() + 4, at, 80, line), text, look.t.muted, face)

    def _read_cell(
        self, p: QPainter, look: paper.Look, metrics: QFontMetricsF, free: QRectF | None
    ) -> None:
        """Outlines the cell in every map and writes its values: line by line where a quarter is free, or below."""
        assert self.cell is not None
        i, j = self.cell
        for m in self.maps:
            rows, columns = m.values.shape
            w, h = m.rect.width() / columns, m.rect.height() / rows
            p.setBrush(Qt.BrushStyle.NoBrush)
            p.setPen(QPen(QColor(look.t.surface), 3))  # seen on dark cells and on bright ones
            box = QRectF(m.rect.left() + j * w, m.rect.top() + i * h, w, h)
            p.drawRect(box)
            p.setPen(QPen(QColor(look.t.text), 1))
            p.drawRect(box)
        lines = self._cell_lines()
        if free is None:
            last = self.maps[-1].rect
            free = QRectF(self.maps[0].rect.left(), last.bottom() + 4, self.width(), 0)
            lines = ["   ".join(lines)]
        for k, text in enumerate(lines):
            at = QRectF(
                free.left(), free.top() + k * metrics.height(), self.width(), metrics.height()
            )
            paper.write(p, look, at, text, look.t.text, look.font(11))

    def _cell_lines(self) -> list[str]:
        if self.cell is None:
            return []
        i, j = self.cell
        say = axes.format_reading
        return [
            f"row {i + 1}, column {j + 1}",
            *(
                f"{m.name.split(' ')[0].rstrip(',')} {say(float(m.values[i, j]))}"
                for m in self.maps
            ),
        ]

    # --- hand and keyboard ---

    def _set_cell(self, cell: tuple[int, int] | None) -> None:
        if cell != self.cell:
            self.cell = cell
            self.update()

    def _cell_at(self, at: QPointF) -> tuple[int, int] | None:
        for m in self.maps:
            if m.rect.contains(at) and m.rect.width() > 0:
                rows, columns = m.values.shape
                i = int((at.y() - m.rect.top()) / m.rect.height() * rows)
                j = int((at.x() - m.rect.left()) / m.rect.width() * columns)
                return min(i, rows - 1), min(j, columns - 1)
        return None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._set_cell(self._cell_at(event.position()))

    def leaveEvent(self, event: Any) -> None:
        self._set_cell(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in MOVES and self.maps:
            rows, columns = self.maps[0].values.shape
            i, j = self.cell or (0, 0)
            if self.cell is not None:
                i, j = i + MOVES[key][0], j + MOVES[key][1]
            self._set_cell((min(max(i, 0), rows - 1), min(max(j, 0), columns - 1)))
            self.setAccessibleDescription(f"{'; '.join(self._cell_lines())}. {self.summary()}")
        elif key == Qt.Key.Key_Escape and self.cell is not None:
            self._set_cell(None)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        self.ask_for_menu(event.globalPos() if by_mouse else None)

    # --- numbers and words ---

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each cell."""
        if self._dirty:
            self.refresh()
        headers = ["row", "column", *(m.name for m in self.maps)]
        if not self.maps:
            return headers, []
        rows, columns = self.maps[0].values.shape
        return headers, [
            [i + 1, j + 1, *(_number(float(m.values[i, j])) for m in self.maps)]
            for i in range(rows)
            for j in range(columns)
        ]

    def summary(self) -> str:
        if not self.maps:
            return super().summary()
        rows, columns = self.maps[0].values.shape
        m, say = self.maps[0], axes.format_reading
        mean = " (their mean)" if "seeds" in m.name else ""
        text = (
            f"{self.title or self.y_label}: {rows} by {columns} matrix, {m.name}{mean}, "
            f"from {say(float(np.nanmin(m.values)))} to {say(float(np.nanmax(m.values)))}"
        )
        if len(self.maps) == 3:
            text += f"; differs from theory by at most {say(self.maps[2].high)}"
        return text + "."


def _number(v: float) -> float | None:
    return v if math.isfinite(v) else None


def _ends(m: Map) -> tuple[str, str, str]:
    """Labels of a colour bar: bottom, middle, top."""
    digits = 3
    return (
        axes.format_reading(m.low, digits),
        axes.format_reading(0.5 * (m.low + m.high), digits),
        axes.format_reading(m.high, digits),
    )
