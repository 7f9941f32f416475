"""A metric against a swept knob: points with the seeds' spread, theory's line, or a guide of theory's exponent."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from desktop.plots import axes
from desktop.plots.base import Theory
from desktop.plots.curves import CurvesPlot, Trace
from desktop.plots.exponent import slope

Array = np.ndarray[Any, Any]


class SweepPlot(CurvesPlot):
    """`Measured.x` holds the knob's values, `values` (T, members, k) the metric at each, a member for each seed.

    A `Theory` of kind "exponent" is drawn as a power law through the middle of the measured points: only its slope
    is theory's, which is why its label is the exponent and nothing is claimed of its height.
    """

    drawn_points = True

    def take_in(self) -> None:
        super().take_in()
        for key, t in list(self.theory.items()):
            if t.kind == "exponent":
                self.theory[key] = self._guide(t, self.traces.get(key[0]))

    def _guide(self, t: Theory, trace: Trace | None) -> Theory:
        nothing = replace(t, x=np.zeros(0), values=np.zeros((0, 1)))
        if trace is None or not math.isfinite(t.exponent) or not trace.k:
            return nothing
        x, y = trace.x, trace.median[:, 0]
        good = np.isfinite(y) & (x > 0) & (y > 0)
        if not good.any():
            return nothing
        a, b = np.log(x[good]), np.log(y[good])
        grid = np.exp(np.linspace(a.min(), a.max(), 33)) if np.ptp(a) else np.exp(a[:1])
        height = b.mean() - t.exponent * a.mean()
        values = np.exp(height + t.exponent * np.log(grid))
        label = t.label or f"slope {axes.format_reading(t.exponent, 3)}"
        return replace(t, x=grid, values=values[:, None], label=label)

    def _run_text(self, run: str, part: str, k: int) -> str:
        text = super()._run_text(run, part, k)
        exponents = [t for (r, _), t in self.theory.items() if r == run and t.kind == "exponent"]
        if k or not exponents:
            return text
        rate, error = self.measured_slope(run)
        if not math.isfinite(rate):
            return text
        shown = f"{rate:.2f}".replace("-", "−")
        text = text.removesuffix(
            ", 10–90 %"
        )  # the error bars are explained by their plot's summary
        return f"{text}, slope {shown}" + (f" ± {error:.2f}" if math.isfinite(error) else "")

    def measured_slope(self, run: str, k: int = 0) -> tuple[float, float]:
        """Exponent of the run's medians and its standard error."""
        trace = self.traces[run]
        return slope(trace.x, trace.median[:, k])

    def summary(self) -> str:
        text = super().summary()
        run = self.main_run()
        exponents = [t for (r, _), t in self.theory.items() if r == run and t.kind == "exponent"]
        if run is None or not exponents:
            return text
        rate, error = self.measured_slope(run)
        if not math.isfinite(rate):
            return text
        spread = f" ± {error:.2f}" if math.isfinite(error) else ""
        return f"{text} Measured slope {rate:.2f}{spread}, theory {exponents[0].exponent:g}."
