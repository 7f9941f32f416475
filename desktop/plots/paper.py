"""Draws a plot on any painter: the window's, an image's, an SVG's, a PDF's.

From the back: surface, grid hairlines, event marks, the plot's own marks, axes and their numbers, direct labels, crosshair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen, QPolygonF

from desktop import theme
from desktop.plots import axes, labels, raster
from desktop.plots.geometry import Frame, Quality
from desktop.theme_tokens import Tokens
from desktop.theme_vision import mix

if TYPE_CHECKING:
    from desktop.plots.base import PlotView, Reading

PAD = 12.0  # around everything
FLAG = 7.0  # size of an event's flag
GRID = 0.4  # strength of the grid's hairlines


@dataclass(frozen=True)
class Look:
    """Colours and type for one picture."""

    t: Tokens
    scale: float = 1.0
    file: bool = False  # no crosshair, nothing of the hand
    outlines: bool = False  # text as shapes, for files that may meet a machine without the fonts

    def font(self, size: int, weight: int = 400) -> QFont:
        face = QFont(theme.font(13, weight))
        face.setPixelSize(max(1, round(size * self.scale)))
        return face

    def run(self, index: int, part: float = 0.0) -> str:
        return theme.run_colour(index, part, self.t).name()

    def run_ink(self, index: int) -> str:
        return theme.run_ink(index, self.t).name()

    def faded(self, colour: str, strength: float) -> str:
        """`colour` at that strength, as an opaque colour: translucent strokes would add up where they cross."""
        return mix(self.t.surface, colour, strength)


LEFT, RIGHT, CENTRE, MIDDLE = (
    Qt.AlignmentFlag.AlignLeft,
    Qt.AlignmentFlag.AlignRight,
    Qt.AlignmentFlag.AlignHCenter,
    Qt.AlignmentFlag.AlignVCenter,
)


def write(
    p: QPainter,
    look: Look,
    box: QRectF,
    text: str,
    colour: str | QColor,
    face: QFont,
    align: Qt.AlignmentFlag = LEFT,
) -> None:
    """A line of text in `box`."""
    p.setFont(face)
    if not look.outlines:
        p.setPen(QColor(colour))
        p.drawText(box, int(align), text)
        return
    metrics = QFontMetricsF(face)
    x, y = box.left(), box.top()
    width = metrics.horizontalAdvance(text)
    if align & RIGHT:
        x = box.right() - width
    elif align & CENTRE:
        x = box.center().x() - width / 2
    if align & MIDDLE:
        y = box.center().y() - metrics.height() / 2
    shape = QPainterPath()
    shape.setFillRule(Qt.FillRule.WindingFill)  # Inter's contours overlap
    shape.addText(x, y + metrics.ascent(), face, text)
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(QColor(colour))
    p.drawPath(shape)


@dataclass
class Memory:
    """What a plot keeps from one picture to the next, so that nothing jumps."""

    frame: Frame | None = None
    left: float = 0.0  # width of the y axis's numbers
    choices: dict[str, tuple[float, int]] = field(default_factory=dict)
    placed: list[labels.Placed] = field(default_factory=list)  # of the last picture


def draw(
    plot: PlotView, p: QPainter, paper: QRectF, look: Look, quality: Quality, memory: Memory
) -> None:
    p.setRenderHint(QPainter.RenderHint.TextAntialiasing, True)
    p.fillRect(paper, QColor(look.t.surface))
    small, bold = look.font(11), look.font(13, 600)
    top = _headings(plot, p, paper, look, small, bold)
    bottom = paper.bottom() - PAD
    if plot.x_label:
        bottom = _x_label(plot, p, paper, bottom, look, small)
    line = QFontMetricsF(small).height()
    bottom -= line + 4
    inner_height = max(20.0, bottom - top)

    x0, x1, y0, y1 = plot.range
    y_ticks = axes.ticks(
        y0, y1, plot.y_scale, min(axes.MOST, max(2, int(inner_height / (2.2 * line))))
    )
    metrics = QFontMetricsF(small)
    wanted = max([metrics.horizontalAdvance(s) for s in y_ticks.labels] or [0.0]) + 8
    if wanted > memory.left or wanted < memory.left - 14:
        memory.left = wanted  # narrower numbers for a moment must not shift the whole plot
    left = paper.left() + PAD + max(20.0, memory.left)
    width = max(20.0, paper.right() - PAD - 4 - left)
    widest = 5 * metrics.averageCharWidth() + 18
    x_ticks = axes.ticks(x0, x1, plot.x_scale, min(axes.MOST, max(2, int(width / widest))))
    f = Frame(left, top, width, inner_height, x0, x1, y0, y1)
    memory.frame = f
    if plot.content.empty:
        _waiting(p, f, look)
        memory.placed = []
        return

    if plot.has_axes:
        _grid(p, f, look, x_ticks, y_ticks, plot)
    p.save()
    p.setClipRect(f.rect.adjusted(-1, -2, 2, 2))
    events = _events(plot, p, f, look, small)
    plot.paint_under(p, f, look, quality)
    raster.paint(p, f, quality, plot.content.marks)
    p.restore()
    if plot.has_axes:
        _axes(p, f, look, x_ticks, y_ticks, small)
    _labels(plot, p, f, look, memory, events)
    plot.paint_over(p, f, look, quality)
    if plot.crosshair.x is not None and plot.has_axes and not look.file:
        _crosshair(plot, p, f, look)


def focus_ring(p: QPainter, area: QRectF, look: Look) -> None:
    p.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    p.setPen(QPen(QColor(look.t.accent), 2))
    p.setBrush(Qt.BrushStyle.NoBrush)
    p.drawRoundedRect(area.adjusted(1, 1, -1, -1), 6, 6)


def _headings(
    plot: PlotView, p: QPainter, paper: QRectF, look: Look, small: QFont, bold: QFont
) -> float:
    """Title, and the y axis's label above the axis where it reads without a turned head. Returns where data begin."""
    y = paper.top() + PAD - 2
    room = paper.width() - 2 * PAD - 28  # the button that fits the view stands at the right
    title, below = plot.title, plot.y_label
    if below.casefold().startswith(
        title.casefold()
    ):  # "Sharpness" over "sharpness λ₁" says it twice
        title, below = below[:1].upper() + below[1:], ""
    log = " (log)" if plot.y_scale == "log" and plot.has_axes else ""
    for text, face, ink, note in (
        (title, bold, look.t.text, "" if below else log),
        (below, small, look.t.muted, log),
    ):
        if not text:
            continue
        metrics = QFontMetricsF(face)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
        box = QRectF(paper.left() + PAD, y, room, metrics.height())
        write(p, look, box, shown, ink, face)
        if note:
            box.setLeft(box.left() + metrics.horizontalAdvance(shown))
            write(p, look, box, note, look.t.muted, small, LEFT | MIDDLE)
        y += metrics.height()
    return y + 8


def _x_label(
    plot: PlotView, p: QPainter, paper: QRectF, bottom: float, look: Look, small: QFont
) -> float:
    height = QFontMetricsF(small).height()
    box = QRectF(paper.left() + PAD, bottom - height, paper.width() - 2 * PAD, height)
    text = plot.x_label + (" (log)" if plot.x_scale == "log" and plot.has_axes else "")
    write(p, look, box, text, look.t.muted, small, CENTRE)
    return bottom - height - 1


def _grid(
    p: QPainter, f: Frame, look: Look, x_ticks: axes.Ticks, y_ticks: axes.Ticks, plot: PlotView
) -> None:
    p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    p.setPen(QPen(QColor(look.faded(look.t.hairline, GRID)), 1))
    for x in x_ticks.places:
        p.drawLine(QLineF(f.px(x), f.top, f.px(x), f.top + f.height))
    for y in y_ticks.places:
        p.drawLine(QLineF(f.left, f.py(y), f.left + f.width, f.py(y)))
    if plot.y_scale == "linear" and f.y0 < 0 < f.y1:  # where it separates signs
        p.setPen(QPen(QColor(look.t.hairline), 1))
        p.drawLine(QLineF(f.left, f.py(0.0), f.left + f.width, f.py(0.0)))


def _axes(
    p: QPainter, f: Frame, look: Look, x_ticks: axes.Ticks, y_ticks: axes.Ticks, small: QFont
) -> None:
    p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    p.setPen(QPen(QColor(look.t.hairline), 1))
    base = f.top + f.height
    p.drawLine(QLineF(f.left, f.top, f.left, base))
    p.drawLine(QLineF(f.left, base, f.left + f.width, base))
    for ticks, places in ((4.0, x_ticks.places), (2.0, x_ticks.small)):
        for x in places:
            p.drawLine(QLineF(f.px(x), base, f.px(x), base + ticks))
    for ticks, places in ((4.0, y_ticks.places), (2.0, y_ticks.small)):
        for y in places:
            p.drawLine(QLineF(f.left - ticks, f.py(y), f.left, f.py(y)))
    metrics = QFontMetricsF(small)
    line, edge = metrics.height(), -math.inf
    for x, text in zip(x_ticks.places, x_ticks.labels, strict=True):
        w = metrics.horizontalAdvance(text)
        at = min(f.px(x) - w / 2, f.left + f.width + PAD - w)  # the last one stays on the paper
        if at > edge + 6:
            write(p, look, QRectF(at, base + 5, w + 1, line), text, look.t.muted, small)
            edge = at + w
    for y, text in zip(y_ticks.places, y_ticks.labels, strict=True):
        box = QRectF(f.left - 200, f.py(y) - line / 2, 193, line)
        write(p, look, box, text, look.t.muted, small, RIGHT | MIDDLE)


def _waiting(p: QPainter, f: Frame, look: Look) -> None:
    text = "waiting for the first reading"
    write(p, look, f.rect, text, look.t.muted, look.font(11), CENTRE | MIDDLE)


def _events(plot: PlotView, p: QPainter, f: Frame, look: Look, small: QFont) -> list[QRectF]:
    """Thin vertical ticks with a small flag; the words where there is room. Returns what must stay uncovered."""
    metrics, taken = QFontMetricsF(small), []
    edge = -math.inf
    line = QPen(QColor(look.faded(look.t.border, 0.6)), 1)
    kept: list[tuple[float, str]] = []
    for x, text in sorted({(x, text) for list_ in plot.events.values() for x, text in list_}):
        at = float(axes.to_axis(x, plot.x_scale))
        if not math.isfinite(at) or not f.x0 <= at <= f.x1:
            continue
        px = float(f.px(at))
        if kept and px - kept[-1][0] < FLAG:
            kept.pop()  # a slider that was dragged is one mark, where it came to
        kept.append((px, text))
    for px, text in kept:
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        p.setPen(line)
        p.drawLine(QLineF(px, f.top, px, f.top + f.height))
        p.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(look.t.muted))
        tip = QPointF(px + FLAG, f.top + FLAG / 2)
        p.drawPolygon(QPolygonF([QPointF(px, f.top), tip, QPointF(px, f.top + FLAG)]))
        width = metrics.horizontalAdvance(text)
        box = QRectF(px + FLAG + 3, f.top - 3, width, metrics.height())
        if box.left() > edge + 4 and box.right() < f.left + f.width:
            write(p, look, box, text, look.t.muted, small)
            edge = box.right()
            taken.append(box)
    return taken


def _labels(
    plot: PlotView, p: QPainter, f: Frame, look: Look, memory: Memory, taken: list[QRectF]
) -> None:
    tags, sizes = [], []
    bearing = {id(m) for tag in plot.content.tags for m in (tag.line, tag.around)}
    others = [m.outline(f) for m in plot.content.marks if id(m) not in bearing]
    for tag in plot.content.tags:
        metrics = QFontMetricsF(look.font(11, 600 if tag.bold else 400))
        text = metrics.elidedText(tag.text, Qt.TextElideMode.ElideRight, 0.9 * f.width)
        around = tag.around.outline(f) if tag.around else []
        tags.append(
            labels.Tag(
                tag.key, text, QColor(tag.colour), tag.line.pieces(f), around, tag.bold, tag.at_end
            )
        )
        sizes.append((metrics.horizontalAdvance(text) + 4, metrics.height()))
    area = f.rect.adjusted(3, 1, -1, -2)
    memory.placed, memory.choices = labels.place(
        tags, sizes, area, memory.choices, taken, [o for o in others if o]
    )
    for placed in memory.placed:
        halo = QColor(look.t.surface)
        halo.setAlphaF(0.75)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(halo)
        p.drawRect(placed.rect)
        face = look.font(11, 600 if placed.tag.bold else 400)
        write(p, look, placed.rect, placed.tag.text, placed.tag.colour, face, CENTRE | MIDDLE)


def _crosshair(plot: PlotView, p: QPainter, f: Frame, look: Look) -> None:
    x = plot.crosshair.x
    assert x is not None
    at = float(axes.to_axis(x, plot.x_scale))
    if not math.isfinite(at) or not f.x0 <= at <= f.x1:
        return
    px = float(f.px(at))
    p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    p.setPen(QPen(QColor(look.t.muted), 1))
    p.drawLine(QLineF(px, f.top, px, f.top + f.height))
    readings = plot.readings(x)[:6]
    p.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    for r in readings:
        y = float(axes.to_axis(r.value, plot.y_scale))
        if math.isfinite(y) and f.y0 <= y <= f.y1:
            p.setPen(QPen(QColor(look.t.surface), 1.5))
            p.setBrush(QColor(r.colour))
            p.drawEllipse(QPointF(px, float(f.py(y))), 3.5, 3.5)
    _read_out(plot, p, f, look, px, [(f"{plot.x_label} {axes.format_exact(x)}", look.t.muted)]
              + [(_line(r), r.colour) for r in readings])  # fmt: skip


def _line(r: Reading) -> str:
    text = f"{r.label}  {axes.format_reading(r.value)}"
    if math.isfinite(r.theory):
        text += f"   theory {axes.format_reading(r.theory)}"
        if r.theory and math.isfinite(r.value):
            text += f"   {r.value / r.theory:.3f}×"
    return text


def _read_out(
    plot: PlotView, p: QPainter, f: Frame, look: Look, px: float, lines: list[tuple[str, str]]
) -> None:
    metrics = QFontMetricsF(look.font(11))
    width = max(metrics.horizontalAdvance(text) for text, _ in lines) + 12
    left = px + 8 if px + 8 + width < f.left + f.width else px - 8 - width
    note(p, f, look, lines, left, f.top + 12)


def note(
    p: QPainter, f: Frame, look: Look, lines: list[tuple[str, str]], left: float, top: float
) -> None:
    """Lines of (text, colour) in a small box at about that place, inside the frame."""
    face = look.font(11)
    metrics = QFontMetricsF(face)
    width = max(metrics.horizontalAdvance(text) for text, _ in lines) + 12
    height = metrics.height() * len(lines) + 8
    left = max(min(left, f.left + f.width - width - 2), f.left + 2)
    box = QRectF(left, max(min(top, f.top + f.height - height - 6), f.top + 2), width, height)
    back = QColor(look.t.surface)
    back.setAlphaF(0.92)
    p.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    p.setPen(QPen(QColor(look.t.hairline), 1))
    p.setBrush(back)
    p.drawRoundedRect(box, 4, 4)
    y = box.top() + 4
    for text, colour in lines:
        write(p, look, QRectF(box.left() + 6, y, width, metrics.height()), text, colour, face)
        y += metrics.height()
