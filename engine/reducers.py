"""Reducers: what a claim takes from a run, one number a member (a slope: one a seed). Numpy only.

A trace maps a metric's name to its `Series`; predicted series stand in it under `theory/<prediction>`.
NaN says that there was nothing to read (a level never crossed, a member diverged).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Series(NamedTuple):
    steps: Array  # (T,)
    values: Array  # (T, members, *shape)


Trace = Mapping[str, Series]
Members = Mapping[str, Array]  # "seed" and each swept knob -> (members,)


class Reducer(Protocol):
    @property
    def metrics(self) -> tuple[str, ...]: ...

    def __call__(self, trace: Trace, members: Members) -> Array: ...


def scalar(series: Series, index: int | None) -> Array:
    """(T, members): the series itself, or one entry of its vector."""
    values = np.asarray(series.values, float)
    if values.ndim > 2:
        values = values.reshape(*values.shape[:2], -1)[:, :, index or 0]
    return values


@dataclass(frozen=True)
class Late:
    """Mean over the last `fraction` of the steps."""

    metric: str
    fraction: float = 0.25
    index: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def __call__(self, trace: Trace, members: Members) -> Array:
        series = trace[self.metric]
        late = series.steps >= series.steps[-1] - self.fraction * (
            series.steps[-1] - series.steps[0]
        )
        return np.asarray(scalar(series, self.index)[late].mean(0))


@dataclass(frozen=True)
class At:
    """The reading nearest to `step`. NaN before the run has come there."""

    metric: str
    step: int
    index: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def __call__(self, trace: Trace, members: Members) -> Array:
        series = trace[self.metric]
        values = scalar(series, self.index)
        if series.steps[-1] < self.step:
            return np.full(values.shape[1], np.nan)
        return np.asarray(values[int(np.abs(series.steps - self.step).argmin())])


@dataclass(frozen=True)
class Final:
    """The last reading."""

    metric: str
    index: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def __call__(self, trace: Trace, members: Members) -> Array:
        return np.asarray(scalar(trace[self.metric], self.index)[-1])


@dataclass(frozen=True)
class Worst:
    """Largest (or smallest) reading from step `start` on: for bounds that hold at every recorded step."""

    metric: str
    largest: bool = True
    start: int = 0
    index: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def __call__(self, trace: Trace, members: Members) -> Array:
        series = trace[self.metric]
        values = scalar(series, self.index)[series.steps >= self.start]
        if not len(values):
            return np.full(values.shape[1], np.nan)
        return np.asarray(values.max(0) if self.largest else values.min(0))


@dataclass(frozen=True)
class Crossing:
    """The step at which the metric first passes `level`, interpolated; NaN if it does not.

    `level` may be a fraction of the first reading (`relative`).
    """

    metric: str
    level: float
    direction: Literal["up", "down"] = "down"
    relative: bool = False
    index: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def __call__(self, trace: Trace, members: Members) -> Array:
        series = trace[self.metric]
        values = scalar(series, self.index)
        level = self.level * values[0] if self.relative else np.full(values.shape[1], self.level)
        sign = 1.0 if self.direction == "up" else -1.0
        out = np.full(values.shape[1], np.nan)
        for m in range(values.shape[1]):
            beyond = np.flatnonzero(sign * (values[:, m] - level[m]) >= 0)
            if not len(beyond):
                continue
            i = int(beyond[0])
            if i == 0:
                out[m] = series.steps[0]
                continue
            a, b = values[i - 1, m], values[i, m]
            part = (level[m] - a) / (b - a) if b != a else 1.0
            out[m] = series.steps[i - 1] + part * (series.steps[i] - series.steps[i - 1])
        return out


@dataclass(frozen=True)
class Ratio:
    """One reduced value over another, e.g. of two crossing times."""

    over: Any
    under: Any

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*self.over.metrics, *self.under.metrics)

    def __call__(self, trace: Trace, members: Members) -> Array:
        over = np.asarray(self.over(trace, members))
        under = np.asarray(self.under(trace, members))
        safe = np.where(under == 0, np.nan, under)
        return np.asarray(over / safe)


@dataclass(frozen=True)
class Slope:
    """Exponent of a reduced value against a swept knob: least squares in log-log, one a seed."""

    of: Any
    knob: str

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.of.metrics)

    def __call__(self, trace: Trace, members: Members) -> Array:
        values = np.asarray(self.of(trace, members), float)
        if self.knob not in members or len(np.unique(members[self.knob])) < 2:
            return np.full(1, np.nan)
        x = np.log(np.asarray(members[self.knob], float))
        with np.errstate(invalid="ignore", divide="ignore"):
            y = np.log(values)
        seeds = np.unique(members["seed"])
        return np.array(
            [np.polyfit(x[members["seed"] == s], y[members["seed"] == s], 1)[0] for s in seeds]
        )


@dataclass(frozen=True)
class Deviation:
    """Distance of a metric from a prediction over the recorded steps in [start, stop].

    norm "max" or "rms" over steps and entries; relative to the prediction's own largest magnitude ("scale"),
    to its value at each step ("value"), or absolute ("none").
    """

    metric: str
    prediction: str
    norm: Literal["max", "rms"] = "max"
    relative: Literal["scale", "value", "none"] = "scale"
    start: float = 0
    stop: float = float("inf")

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def __call__(self, trace: Trace, members: Members) -> Array:
        series, theory = trace[self.metric], trace[f"theory/{self.prediction}"]
        at = (series.steps >= self.start) & (series.steps <= self.stop)
        got, want = np.asarray(series.values, float)[at], np.asarray(theory.values, float)[at]
        axes = (0, *range(2, got.ndim))
        gap = np.abs(got - want)
        if self.relative == "value":
            gap = gap / np.where(want == 0, np.nan, np.abs(want))
        with np.errstate(invalid="ignore"):
            out = gap.max(axes) if self.norm == "max" else np.sqrt((gap**2).mean(axes))
            if self.relative == "scale":
                size = np.abs(want)
                scale = size.max(axes) if self.norm == "max" else np.sqrt((size**2).mean(axes))
                out = out / np.where(scale == 0, np.nan, scale)
        return np.asarray(out)


@dataclass(frozen=True)
class Identity:
    """Largest relative difference of two metrics that must be the same number at every recorded step."""

    a: str
    b: str
    metrics: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", (self.a, self.b))

    def __call__(self, trace: Trace, members: Members) -> Array:
        a = np.asarray(trace[self.a].values, float)
        b = np.asarray(trace[self.b].values, float)
        axes = (0, *range(2, a.ndim))
        scale = np.maximum(np.abs(a), np.abs(b)).max(axes)
        return np.asarray(np.abs(a - b).max(axes) / np.where(scale == 0, 1.0, scale))


def needed_predictions(reducer: Any) -> tuple[str, ...]:
    """Names of the predictions that a reducer reads from the trace."""
    if isinstance(reducer, Deviation):
        return (reducer.prediction,)
    return tuple(
        name
        for part in ("over", "under", "of")
        if hasattr(reducer, part)
        for name in needed_predictions(getattr(reducer, part))
    )
