"""What is drawn of several seeds: their median and the band from 10 to 90 %, kept up as rows arrive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LOW, HIGH = 0.1, 0.9
BLOCK = 1 << 18  # values sorted at once


def quantiles(values: Array) -> tuple[Array, Array, Array]:
    """(T, members, k) -> median, 10 % and 90 % over members, each (T, k), linearly interpolated between order
    statistics. A member that is not finite (diverged, or still to come) is left out; where none is finite, NaN.

    numpy's nanquantile does the same in a Python loop over rows, a hundred times slower.
    """
    steps, members, k = values.shape
    if members == 1:
        only = values[:, 0].astype(float)
        only[~np.isfinite(only)] = np.nan
        return only, only, only
    if not steps or not members:
        empty = np.full((steps, k), np.nan)
        return empty, empty, empty
    out = np.empty((3, steps, k))
    rows = max(1, BLOCK // (members * k))
    for start in range(0, steps, rows):  # a piece at a time stays in the processor's cache
        part = values[start : start + rows]
        finite = np.isfinite(part)
        ordered = np.sort(np.where(finite, part, part.dtype.type(np.inf)), axis=1)  # missing: last
        count = finite.sum(axis=1)
        for i, q in enumerate((0.5, LOW, HIGH)):
            out[i, start : start + rows] = _quantile(ordered, count, q)
    return out[0], out[1], out[2]


def _quantile(ordered: Array, count: Array, q: float) -> Array:
    place = q * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    a = np.take_along_axis(ordered, below[:, None], axis=1)[:, 0].astype(float)
    b = np.take_along_axis(ordered, above[:, None], axis=1)[:, 0].astype(float)
    part = place - below
    with np.errstate(invalid="ignore"):  # inf − inf where none is finite
        out = np.where(part > 0, a + part * (b - a), a)
    return np.where(count > 0, out, np.nan)


@dataclass
class Summary:
    """Median and band of one trace. `update` computes only what is new since the last call."""

    median: Array | None = None  # (T, k)
    low: Array | None = None
    high: Array | None = None
    _seen: Array | None = None  # a copy of the values that these are of …
    _stamp: Any = None  # … or what says that they are still the same, …
    _settled: int = 0  # … so many of them
    _held: Array = field(default_factory=lambda: np.empty((3, 0, 0)))  # with room to grow

    def update(self, values: Array, stamp: Any = None, settled: int = 0) -> None:
        """`values` (T, members, k). Rows seen before are compared, not trusted: late members fill in NaN.

        Under a `stamp`, which is never given to other values, the first `settled` rows stay as they are.
        """
        if stamp is not None:
            self._stamped(values, stamp, min(settled, len(values)))
            return
        seen, start, self._stamp = self._seen, 0, None
        if (
            seen is not None
            and seen.shape[1:] == values.shape[1:]
            and len(seen) <= len(values)
            and np.array_equal(seen, values[: len(seen)], equal_nan=True)
        ):
            start = len(seen)
        new = quantiles(values[start:])
        if start and self.median is not None and self.low is not None and self.high is not None:
            if start < len(values):
                self.median = np.concatenate([self.median, new[0]])
                self.low = np.concatenate([self.low, new[1]])
                self.high = np.concatenate([self.high, new[2]])
                self._seen = values.copy()
            return
        self.median, self.low, self.high = new
        self._seen = values.copy()

    def _stamped(self, values: Array, stamp: Any, settled: int) -> None:
        start = 0
        if self.median is not None and self._stamp == stamp:
            start = min(self._settled, len(values))
        n = len(values)
        if n > self._held.shape[1] or not start or self._held.shape[2] != values.shape[2]:
            room = np.empty((3, max(n, 2 * self._held.shape[1] if start else n), values.shape[2]))
            if start:
                room[:, :start] = self._held[:, :start]
            self._held = room
        self._held[:, start:n] = quantiles(values[start:])
        self.median, self.low, self.high = self._held[:, :n]
        self._seen, self._stamp, self._settled = None, stamp, settled
