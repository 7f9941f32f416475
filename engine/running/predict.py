"""Predictions of an experiment for a stack, as series to draw and to judge against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from engine.reducers import Array, Series
from engine.running.train import Member, Stack, Tree, due_times, recording_times
from engine.spec import Experiment, Metric, Prediction, shown

NDIM = {"scalar": 0, "modes": 1, "profile": 1, "spectrum": 2, "matrix": 2}


class Change(NamedTuple):
    """A hot knob's new value from `step` on."""

    step: int
    knob: str
    value: float


class Predictable(NamedTuple):
    """What predictions may depend on: the stack, what it drew at step 0, what was measured."""

    stack: Stack
    changes: tuple[Change, ...] = ()
    trace: Mapping[str, Series] = {}


class Forecast(NamedTuple):
    prediction: Prediction
    first: int  # within the stack
    size: int
    steps: Array  # (T,)
    values: Array  # (T, count or 1, *shape)
    broken: tuple[str, ...]
    text: str


def settings(members: Sequence[Member]) -> Iterator[tuple[int, int]]:
    """(first, count) of the runs of members that differ in their seed only."""
    first = 0
    for i in range(1, len(members) + 1):
        if i == len(members) or members[i].hp != members[first].hp:
            yield first, i - first
            first = i


def phases(hp: Any, changes: Iterable[Change]) -> list[tuple[int, Any]]:
    """[(from step, hp)]: the knobs in force along the run."""
    out = [(0, hp)]
    for c in sorted(changes, key=lambda c: c.step):
        out.append((c.step, type(hp)(**{**vars(out[-1][1]), c.knob: c.value})))
    return out


def over_time(value: Array, metric: Metric, t: Array) -> Array:
    """(T, *shape), or (1, *shape) for what is no curve and does not change."""
    base = NDIM[metric.kind]
    if value.ndim == base + 1:
        if len(value) != len(t):
            raise ValueError(
                f"a prediction of {metric.name} gave {len(value)} values at {len(t)} steps"
            )
        return value
    if value.ndim != base:
        raise ValueError(f"a prediction of {metric.name} has {value.ndim} axes, wanted {base}")
    return np.repeat(value[None], len(t) if metric.kind in ("scalar", "modes") else 1, axis=0)


def broken(assumptions: Iterable[Any], hp: Any) -> tuple[str, ...]:
    return tuple(a.text for a in assumptions if not a.holds(hp))


def forecast(
    ex: Experiment, what: Predictable, only: Iterable[str] | None = None, steps: Array | None = None
) -> list[Forecast]:
    """Every prediction (or those named) that the given material allows.

    `steps` limits the recording times, e.g. to those that a stopped run came to.
    """
    stack, out = what.stack, []
    times = recording_times(ex, int(getattr(stack.hp, "steps", 0)))
    drawn: tuple[Tree, Tree] | None = None
    for p in ex.predictions:
        if only is not None and p.name not in only:
            continue
        metric = ex.metric(p.metric)
        t = due_times(metric, times)
        if metric.name in what.trace:
            t = what.trace[metric.name].steps
        elif steps is not None:
            t = t[t <= steps[-1]]
        if p.needs == "trace":
            if metric.name in what.trace:
                out += _from_trace(p, metric, what)
        elif p.needs == "drawn":
            drawn = drawn or (stack.data(), stack.init())
            out.append(_from_drawn(p, metric, stack, t, *drawn))
        else:
            out += _from_hp(p, metric, what, t)
    return out


def _from_hp(p: Prediction, metric: Metric, what: Predictable, t: Array) -> list[Forecast]:
    out = []
    for first, count in settings(what.stack.members):
        hp = what.stack.members[first].hp
        if p.against:
            exponent = np.asarray(p.curve(hp, t), float).reshape(1, 1)
            out.append(
                Forecast(p, first, count, t[:1], exponent, broken(p.assumptions, hp), p.label)
            )
            continue
        steps = np.asarray(t, float)
        parts, reasons = [], list(broken(p.assumptions, hp))
        for i, (start, now) in enumerate(stages := phases(hp, what.changes)):
            end = stages[i + 1][0] if i + 1 < len(stages) else np.inf
            with np.errstate(all="ignore"):
                whole = over_time(np.asarray(p.curve(now, steps), float), metric, steps)
            if len(whole) == len(t) and len(stages) > 1:
                parts.append(whole[(steps >= start) & (steps < end)])
            else:
                parts = [whole]  # no curve: the last knobs speak
            reasons += [r for r in broken(p.assumptions, now) if r not in reasons]
        values = np.concatenate(parts)[:, None]
        at = t if len(values) == len(t) else t[:1]
        out.append(Forecast(p, first, count, at, values, tuple(reasons), _text(p, metric, values)))
    return out


def _from_drawn(
    p: Prediction, metric: Metric, stack: Stack, t: Array, data: Tree, state: Tree
) -> Forecast:
    with stack.precision():
        steps = torch.as_tensor(np.asarray(t, float), dtype=stack.dtype, device=stack.device)
        curve = stack.map(
            lambda hp, seed, data, state: torch.as_tensor(p.curve(hp, steps, data, state))
        )
        values = curve(data, state).detach().cpu().numpy().astype(float)
    each = np.stack([over_time(v, metric, t) for v in values], axis=1)
    at = t if len(each) == len(t) else t[:1]
    return Forecast(p, 0, len(stack), at, each, broken(p.assumptions, stack.hp), p.label)


def _from_trace(p: Prediction, metric: Metric, what: Predictable) -> list[Forecast]:
    steps = what.trace[metric.name].steps
    each = []
    for i, m in enumerate(what.stack.members):
        own = {k: s.values[:, i] for k, s in what.trace.items()} | {"step": steps}
        each.append(over_time(np.asarray(p.curve(m.hp, own), float), metric, steps))
    values = np.stack(each, axis=1)
    at = steps if len(values) == len(steps) else steps[:1]
    return [Forecast(p, 0, len(each), at, values, broken(p.assumptions, what.stack.hp), p.label)]


def _text(p: Prediction, metric: Metric, values: Array) -> str:
    if metric.kind == "scalar" and np.ptp(values) <= 1e-12 * np.abs(values).max(initial=0.0):
        return f"{p.label} = {shown(float(f'{float(values.flat[0]):.4g}'))}"
    return p.label


def theory_series(forecasts: Iterable[Forecast], members: int) -> dict[str, Series]:
    """Forecasts joined to one series over all members of the stack, under `theory/<name>`."""
    joined: dict[str, list[Forecast]] = {}
    for f in forecasts:
        joined.setdefault(f.prediction.name, []).append(f)
    out = {}
    for name, parts in joined.items():
        wide = [
            np.broadcast_to(f.values, (len(f.values), f.size, *f.values.shape[2:])) for f in parts
        ]
        if len({w.shape[0] for w in wide}) == 1 and len({w.shape[2:] for w in wide}) == 1:
            out[f"theory/{name}"] = Series(parts[0].steps, np.concatenate(wide, axis=1))
    return out
