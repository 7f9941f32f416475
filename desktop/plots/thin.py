"""A long curve kept thin while it grows: what new readings cost does not depend on how many there were.

From `MANY` readings on, a curve over its whole range is drawn from at most 2 · MOST points: two for each of MOST / 2
columns, the smallest and the largest, which is more columns than a screen has. New readings are appended as they are;
at twice as many points the curve is thinned again. Every extreme is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from desktop.plots import axes
from desktop.plots.decimate import decimate, envelope

Array = np.ndarray[Any, Any]
MOST = 1 << 14
MANY = 2 * MOST  # readings from which on it is worth it
Readings = tuple[Array, Array, Array, Array]  # x, median, lower and upper edge of the band
Drawn = tuple[Array, Array, Array, Array, Array]


def along(readings: Readings, scales: tuple[str, str]) -> Drawn:
    """Axis coordinates: the curve's x and y, the band's x, lower and upper edge. What has no x is left out."""
    x = axes.to_axis(readings[0], scales[0])
    shown: Any = np.isfinite(x)  # step 0 has no place on a log axis
    shown = slice(None) if shown.all() else shown
    x = x[shown]
    y, a, b = (axes.to_axis(v[shown], scales[1]) for v in readings[1:])
    return x, y, x, a, b


class Thin:
    def __init__(self) -> None:
        self._about: Any = None  # what the points below are of
        self._taken = 0  # so many readings are in them
        self._points: Drawn | None = None

    def update(
        self,
        readings: Readings,
        scales: tuple[str, str],
        stamp: Any,
        settled: int,
    ) -> Drawn:
        """Under a `stamp` the first `settled` stay as they are."""
        settled = min(settled, len(readings[0]))
        if self._about != (stamp, scales) or settled < self._taken:
            self._about, self._taken, self._points = (stamp, scales), 0, None
        if settled > self._taken:
            new = along(_part(readings, self._taken, settled), scales)
            self._points = _thinned(_joined(self._points, new))
            self._taken = settled
        if settled == len(readings[0]) and self._points is not None:
            return self._points
        return _joined(self._points, along(_part(readings, settled, None), scales))


def _part(readings: Readings, first: int, last: int | None) -> Readings:
    x, median, low, high = (r[first:last] for r in readings)
    return x, median, low, high


def _joined(a: Drawn | None, b: Drawn) -> Drawn:
    if a is None:
        return b
    x, y, at, low, high = (np.concatenate(pair) for pair in zip(a, b, strict=True))
    return x, y, at, low, high


def _thinned(d: Drawn) -> Drawn:
    x, y, at, low, high = d
    if len(x) > 2 * MOST:
        x, y = decimate(x, y, x[0], x[-1], MOST // 2)
    if len(at) > 2 * MOST:
        at, low, high = envelope(at, low, high, at[0], at[-1], MOST // 2)
    return x, y, at, low, high
