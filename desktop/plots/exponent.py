"""The exponent tool: over a chosen range of x, the slope of log y against log x, its error, and theory's beside it.

Chosen by dragging with Shift, or by key with `[` and `]` at the crosshair. The error is that of the mean over seeds, each
fitted by itself: neighbouring readings of one seed are anything but independent, so residuals would promise too much.
With a single seed the residuals are all there is, and the read-out says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter

from desktop import theme
from desktop.plots import axes, paper
from desktop.plots.geometry import Frame
from desktop.plots.theory import theory_curves

if TYPE_CHECKING:
    from desktop.plots.curves import CurvesPlot

Array = np.ndarray[Any, Any]


def slope(x: Array, y: Array) -> tuple[float, float]:
    """Least-squares slope of log y against log x and its standard error, over positive finite points."""
    good = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    a, b = np.log(x[good]), np.log(y[good])
    if len(a) < 2 or np.ptp(a) == 0:
        return math.nan, math.nan
    centred = a - a.mean()
    rate = float(centred @ b / (centred @ centred))
    if len(a) < 3:
        return rate, math.nan
    left = b - b.mean() - rate * centred
    return rate, float(np.sqrt(left @ left / (len(a) - 2) / (centred @ centred)))


def slope_of_seeds(x: Array, values: Array) -> tuple[float, float, int]:
    """Mean slope of the members (T, members), its standard error over them, and how many could be fitted."""
    rates = [slope(x, values[:, j])[0] for j in range(values.shape[1])]
    rates = [r for r in rates if math.isfinite(r)]
    if not rates:
        return math.nan, math.nan, 0
    if len(rates) == 1:
        member = next(j for j in range(values.shape[1]) if math.isfinite(slope(x, values[:, j])[0]))
        return (*slope(x, values[:, member]), 1)
    return float(np.mean(rates)), float(np.std(rates, ddof=1) / math.sqrt(len(rates))), len(rates)


@dataclass(frozen=True)
class Fit:
    label: str
    colour: str
    slope: float
    error: float
    seeds: int
    theory: float  # theory's slope over the same range, or NaN

    def __str__(self) -> str:
        text = f"{self.label}  slope {_signed(self.slope)}"
        if math.isfinite(self.error):
            text += f" ± {self.error:.2g}"
        text += f" ({self.seeds} seeds)" if self.seeds > 1 else " (1 seed, from residuals)"
        return text + (f"   theory {_signed(self.theory)}" if math.isfinite(self.theory) else "")


def _signed(v: float) -> str:
    return f"{v:.3g}".replace("-", "−")


def fits(plot: CurvesPlot, low: float, high: float) -> list[Fit]:
    """One for each curve that is no ghost and has two readings in the range."""
    look, out = paper.Look(theme.tokens()), []
    for run, trace in plot.traces.items():
        m = plot.measured[run]
        if m.role == "ghost":
            continue
        inside = (trace.x >= low) & (trace.x <= high)
        for k in range(trace.k):
            rate, error, seeds = slope_of_seeds(trace.x[inside], trace.values[inside][:, :, k])
            if not math.isfinite(rate):
                continue
            said = math.nan
            for (owner, _), t in plot.theory.items():
                if owner == run:
                    x, values = theory_curves(t)
                    part = (x >= low) & (x <= high)
                    said = t.exponent if t.kind == "exponent" else math.nan
                    if t.kind == "curve" and k < values.shape[1]:
                        said = slope(x[part], values[part, k])[0]
                    break
            part_name = m.parts[k] if k < len(m.parts) else ""
            name = " ".join(filter(None, (m.label or "measured", part_name)))
            out.append(Fit(name, look.run_ink(m.colour_index), rate, error, seeds, said))
    return out


def paint(
    plot: CurvesPlot, p: QPainter, f: Frame, look: paper.Look, low: float, high: float
) -> None:
    """The chosen range, shaded, and what was read in it."""
    a, b = (float(axes.to_axis(v, plot.x_scale)) for v in (low, high))
    a, b = (v if math.isfinite(v) else f.x0 for v in (a, b))
    left, right = (min(max(float(f.px(v)), f.left), f.left + f.width) for v in (a, b))
    shade = QColor(look.t.accent)
    shade.setAlphaF(0.10)
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(shade)
    p.drawRect(QRectF(left, f.top, right - left, f.height))
    lines = [(str(fit), fit.colour) for fit in fits(plot, low, high)[:6]]
    span = f"{plot.x_label} {axes.format_exact(low)} to {axes.format_exact(high)}, log-log"
    paper.note(p, f, look, [(span, look.t.muted), *lines], left + 6, f.top + f.height)


def spoken(plot: CurvesPlot, low: float, high: float) -> str:
    return "; ".join(str(fit) for fit in fits(plot, low, high)) or "no slope in this range"
