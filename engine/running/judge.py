"""Decides claims: measured against expected, with the seeds' spread; noise never passes as agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from engine.reducers import Array, Series, Slope, needed_predictions
from engine.running.predict import (
    Change,
    Predictable,
    broken,
    forecast,
    phases,
    settings,
    theory_series,
)
from engine.running.train import Member, Stack
from engine.spec import Claim, Experiment, Verdict, shown


class Measured(NamedTuple):
    """One stack of a run with all that it measured so far."""

    members: Sequence[Member]
    table: Mapping[str, Array]  # rows of this stack
    trace: Mapping[str, Series]
    changes: tuple[Change, ...] = ()


def judge(
    ex: Experiment, stacks: Sequence[Measured], dtype: str = "", device: str = "cpu"
) -> dict[str, Verdict]:
    """A verdict for every claim of the experiment."""
    dtype = dtype or ex.dtype
    wanted = {n for c in ex.claims for n in needed_predictions(c.measured)}
    wanted |= {c.expected for c in ex.claims if isinstance(c.expected, str)}
    full = []
    for s in stacks:
        theory = {}
        if wanted and s.trace:
            stack = Stack(ex, s.members, dtype, device)
            parts = forecast(ex, Predictable(stack, s.changes, s.trace), wanted)
            theory = theory_series(parts, len(s.members))
        full.append(s._replace(trace={**s.trace, **theory}))
    return {c.key: _judge(ex, c, full, dtype) for c in ex.claims}


def _judge(ex: Experiment, claim: Claim, stacks: Sequence[Measured], dtype: str) -> Verdict:
    nothing = Verdict("undecided", math.nan, math.nan, math.nan, "nothing measured yet")
    if any(m not in s.trace for s in stacks for m in claim.measured.metrics) or not stacks:
        return nothing
    tolerance = claim.ulps * float(np.finfo(dtype).eps)
    if isinstance(claim.measured, Slope):
        return _slope(claim, claim.measured, stacks, tolerance)
    parts: list[tuple[str, Verdict]] = []
    for s in stacks:
        with np.errstate(all="ignore"):
            got = np.asarray(claim.measured(s.trace, s.table), float)
        theory = _theory(ex, claim, s)
        for first, count in settings(s.members):
            hp = phases(s.members[first].hp, s.changes)[-1][1]
            mine = slice(first, first + count)
            want = theory[mine] if theory is not None else np.full(count, _expected(claim, hp))
            where = ", ".join(f"{k} = {shown(getattr(hp, k))}" for k in s.table if k != "seed")
            verdict = decide(claim, got[mine], want, broken(claim.assumptions, hp), tolerance)
            parts.append((where, verdict))
    return _worst(parts, claim)


def _expected(claim: Claim, hp: Any) -> float:
    assert not isinstance(claim.expected, str)
    try:
        return float(claim.expected(hp))
    except (ZeroDivisionError, OverflowError):
        return math.nan


def _theory(ex: Experiment, claim: Claim, s: Measured) -> Array | None:
    """The claim's own reducer applied to the predicted series, one number a member."""
    if not isinstance(claim.expected, str):
        return None
    series = s.trace.get(f"theory/{claim.expected}")
    if series is None:
        return np.full(len(s.members), np.nan)
    metric = next(p.metric for p in ex.predictions if p.name == claim.expected)
    return np.asarray(claim.measured({**s.trace, metric: series}, s.table), float)


def _slope(claim: Claim, measured: Slope, stacks: Sequence[Measured], tolerance: float) -> Verdict:
    hp = stacks[0].members[0].hp
    want = _expected(claim, hp)
    with np.errstate(all="ignore"):
        reduced = np.concatenate([np.asarray(measured.of(s.trace, s.table), float) for s in stacks])
    table = {k: np.concatenate([s.table[k] for s in stacks]) for k in stacks[0].table}
    if measured.knob not in table or len(np.unique(table[measured.knob])) < 2:
        return Verdict("undecided", math.nan, want, math.nan, f"needs a sweep over {measured.knob}")
    at = "theory/sweep"  # the slope of ready numbers: one record, already reduced
    trace = {at: Series(np.zeros(1), reduced[None])}
    ready = Slope(_Ready(at), measured.knob)
    got = ready(trace, table)
    every = {text for s in stacks for m in s.members for text in broken(claim.assumptions, m.hp)}
    return decide(claim, got, np.full(len(got), want), tuple(sorted(every)), tolerance)


class _Ready(NamedTuple):
    key: str

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.key,)

    def __call__(self, trace: Mapping[str, Series], members: Mapping[str, Array]) -> Array:
        return np.asarray(trace[self.key].values[0], float)


def decide(
    claim: Claim, got: Array, want: Array, broken: tuple[str, ...] = (), tolerance: float = 0.0
) -> Verdict:
    """The verdict for members of one setting: got (members,) against want (members,)."""
    n = len(got)
    ok = np.isfinite(got)
    middle = float(got[ok].mean()) if ok.any() else math.nan
    expected = float(np.mean(want[np.isfinite(want)])) if np.isfinite(want).any() else math.nan
    with np.errstate(invalid="ignore"):
        gap = got - want
    spread = float(gap[ok].std(ddof=1) / math.sqrt(ok.sum())) if ok.sum() > 1 else math.nan
    if claim.side != "==":
        spread = float(np.ptp(got[ok])) if ok.any() else math.nan
        if ok.any():
            middle = float(got[ok].max() if claim.side == "<=" else got[ok].min())

    def say(outcome: Any, why: str) -> Verdict:
        return Verdict(outcome, middle, expected, spread, why, broken)

    if broken:
        return say("undecided", "outside its assumptions: " + "; ".join(broken))
    if not ok.all():
        return say(
            "undecided", f"no reading from {n - int(ok.sum())} of {n} (diverged, or not reached)"
        )
    if not np.isfinite(want).all():
        return say("undecided", "theory gives no number here")
    if n < claim.seeds:
        return say("undecided", f"needs {claim.seeds} seeds")
    allowed = claim.rtol * np.abs(want) + claim.atol + tolerance
    if claim.side == "<=":
        bad = int((got > want + allowed).sum())
        return say("fails", f"{bad} of {n} above the bound") if bad else say("holds", "")
    if claim.side == ">=":
        bad = int((got < want - allowed).sum())
        return say("fails", f"{bad} of {n} below the bound") if bad else say("holds", "")
    noise = 2 * spread if n > 1 else 0.0
    limit = claim.noise_limit * max(
        abs(expected), claim.atol / max(claim.rtol, 1e-12) if not expected else 0.0
    )
    limit = max(limit, claim.atol, tolerance)
    if noise > limit:
        return say(
            "undecided", f"two standard errors ({noise:.2g}) exceed what may pass ({limit:.2g})"
        )
    margin = float(np.mean(allowed)) + noise
    near = abs(float(np.mean(gap))) <= margin
    return say("holds" if near else "fails", "" if near else f"differs by more than {margin:.2g}")


def _worst(parts: Sequence[tuple[str, Verdict]], claim: Claim) -> Verdict:
    """Of the settings in a sweep, the one that decides: failing first, then undecided, then furthest off."""
    rank = {"fails": 0, "undecided": 1, "holds": 2}

    def key(part: tuple[str, Verdict]) -> tuple[int, float]:
        v = part[1]
        off = abs(v.measured - v.expected) / (abs(v.expected) + claim.atol + 1e-300)
        return rank[v.outcome], -off if math.isfinite(off) else 0.0

    where, worst = min(parts, key=key)
    if len(parts) > 1 and where:
        worst = replace(worst, why=f"at {where}" + (f": {worst.why}" if worst.why else ""))
    return worst
