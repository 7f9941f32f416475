"""Theory as a plot reads it: its curves, its value between its own points, its label."""

from __future__ import annotations

from typing import Any

import numpy as np

from desktop.plots.content import Theory
from desktop.plots.seeds import quantiles

Array = np.ndarray[Any, Any]


def theory_curves(t: Theory) -> tuple[Array, Array]:
    """x (T,) and values (T, k): the median over members where theory has a line for each."""
    x = np.atleast_1d(np.asarray(t.x, dtype=float))
    values = np.asarray(t.values, dtype=float)
    if values.ndim == 3:
        values = quantiles(values)[0]
    values = values[:, None] if values.ndim == 1 else values
    n = min(len(x), len(values))
    return x[:n], values[:n]


def theory_at(t: Theory, x: float, k: int) -> float:
    """Theory between its own points, by straight lines; NaN beyond them."""
    xs, values = theory_curves(t)
    if k >= values.shape[1] or not len(xs):
        return float("nan")
    if len(xs) == 1:
        return float(values[0, k])
    return float(np.interp(x, xs, values[:, k], left=np.nan, right=np.nan))


def theory_text(t: Theory) -> str:
    text = t.label if t.label.startswith("theory") else f"theory {t.label}".strip()
    return text if t.valid or not t.reason else f"{text} · needs {t.reason}"
