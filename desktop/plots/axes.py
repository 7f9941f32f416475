"""Axes: ticks that a person would have chosen, at most six, and numbers as people write them.

All drawing happens in axis coordinates: the value itself on a linear scale, its log10 on a log scale. So curves, bands,
theory, maps and the crosshair agree, and a scale is nothing but two functions here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MOST = 6  # labelled ticks on an axis

_UP = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def to_axis(values: Any, scale: str) -> Array:
    """Values -> axis coordinates; what has none (zero or less on a log scale, infinities) becomes NaN."""
    v = np.asarray(values, dtype=float)
    if scale == "log":
        out: Array = np.full(v.shape, np.nan)
        np.log10(v, out=out, where=(v > 0) & np.isfinite(v))
        return out
    good = np.isfinite(v)
    return v if good.all() else np.asarray(np.where(good, v, np.nan))


def from_axis(coordinate: float, scale: str) -> float:
    if scale != "log":
        return float(coordinate)
    return float(10.0 ** min(max(coordinate, -307.0), 307.0))


def superscript(exponent: int) -> str:
    return str(exponent).translate(_UP)


def power(exponent: int) -> str:
    return f"10{superscript(exponent)}"


def format_reading(value: float, digits: int = 4) -> str:
    """A measured number in so many digits: `20.73`, `−0.004`, `1.03×10⁻⁴`, never 0.00 for what is not zero."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    place = int(exponent)
    if -4 < place < 6:
        text = f"{value:.{max(0, digits - 1 - place)}f}"
        return text.replace("-", "−")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    return f"{mantissa}×{power(place)}"


def format_exact(value: float) -> str:
    """An abscissa with no more digits than it has, six at most: `412`, `0.05`, `1×10⁻⁵`."""
    mantissa, exponent = f"{value:.5e}".split("e")
    place = int(exponent)
    if value == 0 or -5 < place < 7:
        return f"{value:.7g}".replace("-", "−")
    return f"{mantissa.rstrip('0').rstrip('.')}×{power(place)}".replace("-", "−")


def format_tick(value: float, step: float) -> str:
    """A tick of a linear axis whose ticks lie `step` apart."""
    if abs(value) < step * 1e-6:
        return "0"
    place = math.floor(math.log10(abs(value)) + 1e-9)
    if place >= 5 or place < -3:
        exact = value / 10.0**place
        digits = max(0, place - math.floor(math.log10(step) + 1e-9))
        mantissa = f"{exact:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{exact:.0f}"
        mantissa = mantissa.replace("-", "−")
        if mantissa in ("1", "−1"):
            return mantissa.replace("1", "") + power(place)
        return f"{mantissa}×{power(place)}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Ticks:
    """Axis coordinates of the labelled ticks, their labels, and small ticks without."""

    places: tuple[float, ...]
    labels: tuple[str, ...]
    small: tuple[float, ...] = ()


def linear_ticks(low: float, high: float, most: int = MOST) -> Ticks:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high], at most `most`, unless that leaves a single one."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return Ticks((), ())
    raw = (high - low) / max(1, most)
    for exponent in range(math.floor(math.log10(raw)), math.floor(math.log10(raw)) + 3):
        for digit in (1, 2, 5):
            step = digit * 10.0**exponent
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if step >= raw * (1 - 1e-9) and last - first + 1 <= most:
                if last <= first and most < MOST:
                    return linear_ticks(low, high, most + 1)  # one number tells no scale
                places = tuple(k * step for k in range(first, last + 1))
                return Ticks(places, tuple(format_tick(p, step) for p in places))
    return Ticks((), ())


def log_ticks(low: float, high: float, most: int = MOST) -> Ticks:
    """Ticks of a log axis over the decades [low, high]: powers of ten, or 1-2-5 where fewer than two are in view,
    or round numbers where less than one is."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return Ticks((), ())
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    small: tuple[float, ...] = ()
    if high - low <= 4:
        small = tuple(
            k + math.log10(m)
            for k in range(first - 1, last + 1)
            for m in range(2, 10)
            if low <= k + math.log10(m) <= high
        )
    if last - first >= 1:
        stride = max(1, math.ceil((last - first + 1) / most))
        start = math.ceil(first / stride) * stride  # multiples of the stride stay put when panned
        places = list(range(start, last + 1, stride))
        labels = _plain([10.0**p for p in places]) if abs(high) < 4 and abs(low) < 4 else None
        return Ticks(tuple(map(float, places)), labels or tuple(power(p) for p in places), small)
    if high - low > 0.7:
        values = [
            m * 10.0**k
            for k in range(first - 1, last + 1)
            for m in (1, 2, 5)
            if low <= k + math.log10(m) <= high
        ]
        if 2 <= len(values) <= most:
            labels = _plain(values) or tuple(format_reading(v, 1) for v in values)
            return Ticks(tuple(math.log10(v) for v in values), labels, small)
    inside = linear_ticks(10.0**low, 10.0**high, most)
    places_labels = [
        (math.log10(v), s) for v, s in zip(inside.places, inside.labels, strict=True) if v > 0
    ]
    return Ticks(tuple(p for p, _ in places_labels), tuple(s for _, s in places_labels))


def _plain(values: list[float]) -> tuple[str, ...] | None:
    """Labels without powers where every one is short: 0.01 … 1000."""
    if not values or min(values) < 0.0099 or max(values) > 1001:
        return None
    return tuple(f"{v:.6g}" for v in values)


def ticks(low: float, high: float, scale: str, most: int = MOST) -> Ticks:
    """`low` and `high` in axis coordinates."""
    return log_ticks(low, high, most) if scale == "log" else linear_ticks(low, high, most)


def padded(low: float, high: float, part: float = 0.06) -> tuple[float, float]:
    """A range to show data in [low, high]: some room, and a width even for constant data."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    span = high - low
    least = max(abs(low), abs(high)) * 1e-6 + 1e-300
    if span <= least:
        room = 0.5 * max(abs(low), abs(high)) or 0.5
        return low - room, high + room
    return low - part * span, high + part * span
