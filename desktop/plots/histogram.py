"""A spectrum: how often each value occurs, all seeds together, with theory's density on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtGui import QColor

from desktop import theme
from desktop.plots import axes, paper
from desktop.plots.base import Content, Measured, PlotView, Reading, TagOf, Theory, extent
from desktop.plots.curves import (
    GHOST,
    INVALID_DASHES,
    ORDER,
    THEORY_DASHES,
    THEORY_WIDTH,
)
from desktop.plots.marks import Anchor, Bars, Line, Mark
from desktop.plots.theory import theory_curves, theory_text

Array = np.ndarray[Any, Any]
FEWEST, MOST = 8, 80  # bins
LN10 = float(np.log(10))


@dataclass
class Histogram:
    """Bins in axis coordinates. `density` integrates to the part of the values that has a place on the axis."""

    edges: Array  # (bins + 1,)
    density: Array  # (bins,) per unit of the axis: per decade on a log axis
    count: int  # finite values
    hidden: int  # of them without a place on the axis: zero or less on a log scale


def histogram(values: Array, scale: str) -> Histogram:
    """Freedman and Diaconis' bin width, kept within a sensible number of bins."""
    finite = values[np.isfinite(values)]
    at = axes.to_axis(finite, scale)
    at = at[np.isfinite(at)]
    if not len(at):
        return Histogram(np.zeros(0), np.zeros(0), len(finite), len(finite))
    low, high = float(at.min()), float(at.max())
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        room = 0.5 * abs(low) or 0.5
        low, high = low - room, high + room
    quartiles = np.subtract(*np.percentile(at, [75, 25]))
    width = 2 * quartiles / len(at) ** (1 / 3)
    bins = int(np.ceil((high - low) / width)) if width > 0 else MOST
    counts, edges = np.histogram(at, min(max(bins, FEWEST), MOST), (low, high))
    density = counts / (len(finite) * np.diff(edges))
    return Histogram(edges, density, len(finite), len(finite) - len(at))


def current(m: Measured) -> Array:
    """All values of the last reading that has any: (members * k,)."""
    values = np.asarray(m.values, dtype=float)
    for row in values[::-1]:
        if np.isfinite(row).any():
            return np.asarray(row.ravel())
    return np.zeros(0)


class HistogramPlot(PlotView):
    """`Measured.values` (T, members, k): the k values of each member, of which the last reading is shown.
    `Theory.x` is the grid, `values` (G, 1) the density of x itself (turned into one per decade on a log axis)."""

    def __init__(self, **kw: Any) -> None:
        self.histograms: dict[str, Histogram] = {}
        super().__init__(**kw)

    def _forget(self, run: str) -> None:
        self.histograms.pop(run, None)

    def density_of(self, t: Theory) -> tuple[Array, Array]:
        """Theory's grid and density in axis coordinates of x."""
        x, values = theory_curves(t)
        at = axes.to_axis(x, self.x_scale)
        with np.errstate(invalid="ignore", over="ignore"):  # 0 · ∞ becomes a gap
            density = values[:, 0] * x * LN10 if self.x_scale == "log" else values[:, 0]
        good = np.isfinite(at)
        return at[good], density[good]

    def build(self, look: paper.Look) -> Content:
        c = Content()
        self.histograms = {
            run: histogram(current(m), self.x_scale) for run, m in self.measured.items()
        }
        xs: list[Array] = []
        heights: list[Array] = []
        marks: list[tuple[Mark, TagOf | None]] = []
        base = 0.0
        runs = sorted(self.measured, key=lambda r: ORDER[self.measured[r].role])
        positive = extent([h.density[h.density > 0] for h in self.histograms.values()])
        if self.y_scale == "log" and positive:
            base = float(np.log10(positive[0])) - 0.5
        for run in runs:
            m, h = self.measured[run], self.histograms[run]
            if not len(h.density):
                continue
            y = axes.to_axis(h.density, self.y_scale)
            xs.append(h.edges)
            heights.extend((y, np.array([base])))
            ghost = m.role == "ghost"
            colour = QColor(look.faded(look.run(m.colour_index), GHOST if ghost else 1.0))
            marks.append((Bars(h.edges, y, colour, base, 0.0 if ghost else 0.22), None))
            anchor = Anchor(np.repeat(h.edges, 2)[1:-1], np.repeat(y, 2), colour)
            tag = TagOf(run, self._text(run, h), look.run_ink(m.colour_index), anchor)
            marks.append((anchor, tag))
        valid: list[Array] = []
        invalid: list[Array] = []
        for (run, name), t in self.theory.items():
            x, density = self.density_of(t)
            y = axes.to_axis(density, self.y_scale)
            if not np.isfinite(y).any():
                continue
            ghost = run in self.measured and self.measured[run].role == "ghost"
            ink = look.t.text if t.valid else look.faded(look.t.text, 0.5)
            if ghost:
                ink = look.faded(look.t.text, GHOST)
            xs.append(x)
            (valid if t.valid else invalid).append(y)
            dashes = THEORY_DASHES if t.valid else INVALID_DASHES
            line = Line(x, y, QColor(ink), THEORY_WIDTH, dashes)
            shade = ink if t.valid else look.t.muted
            said = TagOf(f"theory/{run}/{name}", theory_text(t), shade, line)
            marks.append((line, None if ghost else said))
        for mark, label in marks:
            if label is not None:
                c.tags.append(label)
            c.marks.append(mark)
        c.x, c.y = extent(xs), extent(heights)
        c.y_theory, c.y_invalid = self._theory_extent(valid, c.y), extent(invalid)
        c.empty = c.x is None
        c.y_floor = base if c.y is not None else None
        return c

    def _theory_extent(
        self, valid: list[Array], measured: tuple[float, float] | None
    ) -> tuple[float, float] | None:
        """A density may be infinite at an edge of its support: it is followed up to twice the highest bar."""
        found = extent(valid)
        if found is None or measured is None:
            return found
        if self.y_scale == "log":
            return max(found[0], measured[0]), min(found[1], measured[1] + 0.5)
        return found[0], min(found[1], 2 * measured[1])

    def _text(self, run: str, h: Histogram) -> str:
        m = self.measured[run]
        name = m.label if m.label and len(self.measured) > 1 else "measured"
        if m.role == "ghost":
            return f"earlier run {m.label}".strip()
        seeds = "1 seed" if m.seeds <= 1 else f"{m.seeds} seeds"
        text = f"{name}, {seeds}, {h.count} values"
        return f"{text}, {h.hidden} ≤ 0 hidden" if h.hidden else text

    def stops(self) -> Array:
        run = self._main()
        if run is None or not len(self.histograms[run].density):
            return np.zeros(0)
        edges = self.histograms[run].edges
        middle = 0.5 * (edges[1:] + edges[:-1])
        return np.array([axes.from_axis(m, self.x_scale) for m in middle])

    def _main(self) -> str | None:
        shown = [r for r in self.measured if r in self.histograms]
        return max(shown, key=lambda r: ORDER[self.measured[r].role], default=None)

    def readings(self, x: float) -> list[Reading]:
        look, out = paper.Look(theme.tokens()), []
        at = float(axes.to_axis(x, self.x_scale))
        for run, h in self.histograms.items():
            if not len(h.density) or not h.edges[0] <= at <= h.edges[-1]:
                continue
            k = min(int(np.searchsorted(h.edges, at, "right")) - 1, len(h.density) - 1)
            said = float("nan")
            for (owner, _), t in self.theory.items():
                if owner == run:
                    grid, density = self.density_of(t)
                    if len(grid):
                        said = float(np.interp(at, grid, density, left=np.nan, right=np.nan))
            m = self.measured[run]
            out.append(
                Reading(
                    m.label or "measured", look.run_ink(m.colour_index), float(h.density[k]), said
                )
            )
        return out

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each bin, and one for each point of theory's grid (from = to)."""
        unit = "density per decade" if self.x_scale == "log" else "density"
        headers = ["series", f"{self.x_label} from", f"{self.x_label} to", unit]
        rows: list[list[Any]] = []
        if self._dirty:
            self.refresh()
        for run, h in self.histograms.items():
            edges = [axes.from_axis(e, self.x_scale) for e in h.edges]
            for a, b, d in zip(edges[:-1], edges[1:], h.density, strict=True):
                rows.append([self.measured[run].label or run, a, b, float(d)])
        for (_, name), t in self.theory.items():
            for x, d in zip(*self.density_of(t), strict=True):
                at = axes.from_axis(x, self.x_scale)
                rows.append([f"theory {t.label or name}", at, at, float(d)])
        return headers, rows

    def summary(self) -> str:
        run = self._main()
        if run is None or not self.histograms[run].count:
            return super().summary()
        values = current(self.measured[run])
        values = values[np.isfinite(values)]
        m, say = self.measured[run], axes.format_reading
        text = (
            f"{self.title or self.y_label}: histogram of {len(values)} values of {m.label or 'the run'}, "
            f"from {say(float(values.min()))} to {say(float(values.max()))}, median {say(float(np.median(values)))}"
        )
        for (owner, _), t in self.theory.items():
            if owner == run:
                text += f"; theory {t.label}"
                text += "" if t.valid else f", outside its assumptions: {t.reason}"
        return text + "."
