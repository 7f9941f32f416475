"""What goes into a plot (measured traces, theory) and what comes out of it to be painted, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from desktop.plots.marks import Line, Mark

Array = np.ndarray[Any, Any]
Role = Literal["live", "selected", "ghost", "pinned"]
THEORY_ROOM = (
    3.0  # times the measured span that a theory outside its assumptions may take of the axis
)


@dataclass
class Measured:
    """One run's readings of one metric. Mutable arrays may be passed again as they grow."""

    x: Array  # (T,) ascending: steps, coordinates, or values of a swept knob
    values: Array  # (T, members, k); NaN where a reading is missing
    colour_index: int
    label: str
    role: Role
    parts: tuple[str, ...] = ()  # a label for each of k curves
    seeds: int = 1
    members_shown: bool = False
    stamp: Any = None  # not None: of two with the same stamp, the first `settled` rows are the same
    settled: int = 0


@dataclass
class Theory:
    x: Array
    values: Array  # (T, k) or (T, members, k)
    label: str  # drawn at the line's end: "2/η = 20.0"
    valid: bool  # every assumption holds
    reason: str  # which one does not
    kind: Literal["curve", "exponent"] = "curve"
    exponent: float = math.nan


@dataclass
class TagOf:
    """A direct label of a line. `around`: its band or error bars, which the label keeps off too."""

    key: str
    text: str
    colour: str
    line: Line
    bold: bool = True
    at_end: bool = False
    around: Mark | None = None


@dataclass
class Content:
    """What a kind of plot wants drawn, in axis coordinates."""

    marks: list[Mark] = field(default_factory=list)
    tags: list[TagOf] = field(default_factory=list)
    x: tuple[float, float] | None = None  # extent of what is shown
    y: tuple[float, float] | None = None  # of what is measured
    y_theory: tuple[float, float] | None = None  # of theory that holds here
    y_invalid: tuple[float, float] | None = None  # of theory that does not
    y_floor: float | None = None  # where the y axis begins, whatever the data
    empty: bool = True


@dataclass
class Reading:
    """One line of the crosshair's read-out."""

    label: str
    colour: str
    value: float
    theory: float = math.nan


def with_theory(
    measured: tuple[float, float] | None,
    valid: tuple[float, float] | None,
    invalid: tuple[float, float] | None,
) -> tuple[float, float] | None:
    """The range to show. Theory that holds is shown whole; one outside its assumptions may not squash the data."""
    spans = [s for s in (measured, valid) if s is not None]
    if not spans:
        return invalid
    low, high = min(s[0] for s in spans), max(s[1] for s in spans)
    if invalid is not None:
        room = THEORY_ROOM * max(high - low, 0.1 * max(abs(low), abs(high)), 1e-12)
        low = min(low, max(invalid[0], low - room))
        high = max(high, min(invalid[1], high + room))
    return low, high


def extent(arrays: Sequence[Array]) -> tuple[float, float] | None:
    """Least and greatest finite number in the arrays."""
    low, high = math.inf, -math.inf
    for a in arrays:
        if a.size:
            low = min(low, float(np.fmin.reduce(a, axis=None, initial=math.inf)))
            high = max(high, float(np.fmax.reduce(a, axis=None, initial=-math.inf)))
    return (low, high) if low <= high and math.isfinite(low) and math.isfinite(high) else None
