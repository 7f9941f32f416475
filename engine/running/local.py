"""A run in this process, start to end: for tests, notebooks and the check of claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.reducers import Series
from engine.running.judge import Measured, judge
from engine.running.members import Plan, plan
from engine.running.predict import Forecast, Predictable, forecast
from engine.running.train import Stack, train
from engine.spec import Experiment, Value, Verdict


class Result(NamedTuple):
    plan: Plan
    stacks: list[Measured]
    forecasts: list[list[Forecast]]  # a list for each stack
    verdicts: dict[str, Verdict]
    stopped: dict[int, str]  # first member of a stack -> label
    states: list[Any]  # the last state of each stack

    @property
    def trace(self) -> Mapping[str, Series]:
        """Of the only stack (of the first, in a sweep over shapes)."""
        return self.stacks[0].trace

    @property
    def predicted(self) -> dict[str, Series]:
        """name -> (T, members or 1, *shape), of the first stack's first setting."""
        return {f.prediction.name: Series(f.steps, f.values) for f in reversed(self.forecasts[0])}


def collect(frames: Any) -> tuple[dict[str, Series], str, Any]:
    """Frames to (trace, label of the rule that stopped them, last state)."""
    steps: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    frame = None
    for frame in frames:
        for name, v in frame.values.items():
            steps.setdefault(name, []).append(frame.step)
            values.setdefault(name, []).append(v)
    trace = {k: Series(np.array(steps[k]), np.stack(values[k])) for k in steps}
    return trace, frame.stopped if frame else "", frame.state if frame else None


def run_local(
    ex: Experiment,
    values: Mapping[str, Any] | None = None,
    *,
    preset: str = "",
    sweep: Mapping[str, Sequence[Value]] | None = None,
    seeds: int = 0,
    first_seed: int = 0,
    dtype: str = "",
    device: str = "cpu",
) -> Result:
    p = plan(ex, values, sweep, seeds, first_seed, preset)
    dtype = dtype or ex.dtype
    stacks, forecasts, stopped, states = [], [], {}, []
    for first in p.firsts:
        members = p.stack(first)
        trace, label, state = collect(train(ex, members, dtype=dtype, device=device))
        states.append(state)
        if label:
            stopped[first] = label
        stacks.append(Measured(members, p.rows(first), trace))
        forecasts.append(forecast(ex, Predictable(Stack(ex, members, dtype, device), (), trace)))
    return Result(p, stacks, forecasts, judge(ex, stacks, dtype, device), stopped, states)
