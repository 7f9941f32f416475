"""What the service knows of a run: its members, its stacks' positions, everything that was said of it. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.messages import (
    Array,
    Card,
    Changed,
    Checkpoint,
    Judged,
    Message,
    Predicted,
    Rows,
    Start,
    Started,
    Status,
)
from engine.spec import Value

ENDED = ("done", "stopped", "cancelled", "failed")
KEPT = 32  # checkpoints of a stack, and those that branches began at
LATELY = 8  # of them, however close they lie


class Column:
    """One metric of one stack: rows in step order; a repeated step keeps the last reading."""

    def __init__(self) -> None:
        self.parts: list[Rows] = []
        self.coords: Array | None = None

    def cut(self, step: int) -> bool:
        """Nothing behind this step counts any more. Whether there was anything."""
        held = [p for p in self.parts if len(p.steps) and p.steps.max() > step]
        if held:
            parts = [until(p, step) if any(p is h for h in held) else p for p in self.parts]
            self.parts = [p for p in parts if len(p.steps)]
        return bool(held)

    def add(self, rows: Rows) -> None:
        if rows.coords is not None:
            self.coords = rows.coords
        self.parts.append(rows)

    def joined(self) -> Rows:
        if len(self.parts) > 1:
            steps = np.concatenate([p.steps for p in self.parts])
            values = np.concatenate([p.values for p in self.parts])
            if not (steps[1:] > steps[:-1]).all():
                _, last = np.unique(steps[::-1], return_index=True)
                keep = len(steps) - 1 - last
                steps, values = steps[keep], values[keep]
            self.parts = [replace(self.parts[0], steps=steps, values=values)]
        return replace(self.parts[0], coords=self.coords)


@dataclass
class StackState:
    first: int
    step: int = 0  # of `arrays`: where it goes on
    reached: int = 0  # where it came to
    state: str = "queued"
    why: str = ""
    arrays: dict[str, Array] = field(
        default_factory=dict
    )  # the state at `step`; empty: the beginning
    tiers: dict[str, int] = field(default_factory=dict)
    # knob -> what a worker was told last, and how many of what it was told it has not confirmed yet
    sets: dict[str, tuple[Value, int]] = field(default_factory=dict)


@dataclass
class Run:
    start: Start
    started: Started
    stacks: dict[int, StackState]
    columns: dict[tuple[str, int], Column] = field(default_factory=dict)
    predicted: dict[tuple[str, int], Predicted] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    changes: list[Changed] = field(default_factory=list)
    checkpoints: dict[tuple[int, int], dict[str, Array]] = field(
        default_factory=dict
    )  # (first, step)
    status: Status | None = None
    wanted: str = "running"  # what the person asked for: running, paused, cancelled
    until: int = -1
    resumed: int = 0  # how often
    judging: bool = False
    judged_rows: int = 0
    rows: int = 0
    heard: int = 0  # messages that a journal has as well
    judged_at: float = 0.0
    judged_in: float = 0.0  # seconds that the last verdicts took
    opened: bool = False  # came from a file
    named: set[int] = field(default_factory=set)  # steps that branches began at

    @property
    def id(self) -> str:
        return self.started.run

    def request(self) -> Start:
        """A Start that needs no defaults: the run again, whatever the experiment's defaults become."""
        s = self.started
        seeds = np.unique(s.members["seed"])
        return Start(
            run=s.run,
            experiment=s.experiment,
            values=s.values,
            sweep=s.sweep,
            seeds=len(seeds),
            first_seed=int(seeds.min()),
            dtype=s.dtype,
            device=s.device,
        )

    def take(self, message: Message) -> None:
        """Keep what was said."""
        self.heard += isinstance(message, (Rows, Checkpoint, Changed))
        match message:
            case Rows():
                self.rows += 1
                self.columns.setdefault((message.metric, message.first), Column()).add(message)
            case Predicted():
                self.predicted[(message.prediction, message.first)] = message
            case Judged():
                self.judged[message.claim] = message
            case Changed():
                self._change(message)
            case Checkpoint():
                self.checkpoints.pop((message.first, message.step), None)  # the latest stand last
                self.checkpoints[(message.first, message.step)] = message.arrays
                stack = self.stacks.get(message.first)
                if stack is not None and message.step >= stack.step:
                    stack.step, stack.arrays = message.step, message.arrays
                    stack.reached = max(stack.reached, stack.step)
            case Status():
                self.status = message

    def change(self, c: Changed) -> bool:
        """A person set a knob. What was measured behind that step, before a crash, is another course: it goes.

        Whether there was any.
        """
        known = len(self.changes)
        self.changes = [o for o in self.changes if o.first != c.first or o.step <= c.step]
        cut = len(self.changes) < known
        for first, step in list(self.checkpoints):
            if first == c.first and step > c.step:
                del self.checkpoints[(first, step)]
                cut = True
        for (metric, first), column in list(self.columns.items()):
            if first == c.first:
                cut |= column.cut(c.step)
                if not column.parts:
                    del self.columns[(metric, first)]
        if cut and c.first in self.stacks:
            self.stacks[c.first].reached = c.step
        self.take(c)
        return cut

    def _change(self, new: Changed) -> None:
        """One value for a knob and a step: the last. A branch hears of its parent's changes twice, too."""
        where = (new.first, new.step, new.knob)
        for i, c in enumerate(self.changes):
            if (c.first, c.step, c.knob) == where:
                self.changes[i] = new
                return
        self.changes.append(new)

    def thin(self, first: int) -> tuple[int, ...]:
        """Drops checkpoints until a stack has no more than `KEPT`; their steps, in all stacks alike.

        What stays: the first, the last, those where a branch began, the latest, and of the others an even spread.
        """
        gone = []
        while len(mine := [s for f, s in self.checkpoints if f == first]) > KEPT:
            order = sorted(mine)
            safe = self.named.union(
                order[:1], mine[-LATELY:], (s.step for s in self.stacks.values())
            )
            gaps = {
                b: c - a
                for a, b, c in zip(order, order[1:], order[2:], strict=False)
                if b not in safe
            }
            if not gaps:
                break
            gone.append(min(gaps, key=lambda s: gaps[s]))
            for f in self.stacks:
                self.checkpoints.pop((f, gone[-1]), None)
        return tuple(gone)

    def messages(self) -> list[Message]:
        """The run's stream, shortened: what a session file holds and what opening it replays."""
        out: list[Message] = [self.started, *self.changes]
        out += [c.joined() for c in self.columns.values() if c.parts]
        out += self.predicted.values()
        out += self.judged.values()
        out += [
            Checkpoint(self.id, s, f, a)
            for (f, s), a in sorted(self.checkpoints.items(), key=lambda i: i[0])
        ]
        if self.status is not None:
            out.append(self.status)
        return out

    def trace_rows(self, metrics: Iterable[str] | None = None) -> tuple[Rows, ...]:
        wanted = None if metrics is None else set(metrics)
        return tuple(
            c.joined()
            for (name, _), c in self.columns.items()
            if c.parts and (wanted is None or name in wanted)
        )

    def going(self) -> bool:
        """Whether any of its stacks trains, or will."""
        return any(s.state in ("running", "queued") for s in self.stacks.values())

    def over(self) -> bool:
        return self.overall()[0] in ENDED and not self.going()

    def tiers(self) -> dict[str, int]:
        """Steps that each tier ran, over all stacks."""
        total: dict[str, int] = {}
        for s in self.stacks.values():
            for k, v in s.tiers.items():
                total[k] = total.get(k, 0) + v
        return total

    def overall(self) -> tuple[str, int, str]:
        """(state, step, why) of the whole run from its stacks."""
        states = [s.state for s in self.stacks.values()]
        step = min((s.reached for s in self.stacks.values()), default=0)
        why = "; ".join(dict.fromkeys(s.why for s in self.stacks.values() if s.why))
        for state in ("running", "queued", "failed", "paused", "cancelled", "stopped"):
            if state in states:
                return state, step, why
        return "done", step, why


def until(rows: Rows, step: int) -> Rows:
    """The rows up to a step."""
    keep = rows.steps <= step
    return replace(rows, steps=rows.steps[keep], values=rows.values[keep])


def begin(start: Start, started: Started) -> Run:
    return Run(start, started, {f: StackState(f) for f in started.stacks})


def replayed(messages: Iterable[Message], run: str) -> Run:
    """A run from a file's messages under a fresh id."""
    found: Run | None = None
    for m in messages:
        named = replace(m, run=run) if hasattr(m, "run") else m
        if isinstance(named, Started):
            found = begin(Start(run, named.experiment), named)
            found.opened = True
        elif found is not None:
            found.take(named)
    if found is None:
        raise ValueError("a run without its beginning")
    found.changes.sort(key=lambda c: c.step)
    state = found.status.state if found.status else "paused"
    for s in found.stacks.values():
        s.state = state if state in ENDED else "paused"
        s.reached = max(s.reached, found.status.step if found.status else 0)
    if found.status is None or state not in ENDED:
        step = min((s.step for s in found.stacks.values()), default=0)
        found.status = Status(run, "paused", step)
    found.wanted = "paused"
    return found


def unlike(parent: Run | None, branch: Started) -> str:
    """Why a run cannot go on from another's checkpoint; empty if it can."""
    if parent is None:
        return "the run to branch from is gone"
    mine, theirs = (
        (s.experiment, s.stacks, s.dtype, {k: len(v) for k, v in s.members.items()})
        for s in (branch, parent.started)
    )
    return "" if mine == theirs else "a branch has its parent's experiment, sweep, seeds and dtype"


def copied_past(parent: Run, run: str, step: int) -> list[Message]:
    """What a branch inherits: its parent's readings and changes up to `step`."""
    out: list[Message] = []
    out += [replace(until(rows, step), run=run) for rows in parent.trace_rows()]
    out += [replace(c, run=run) for c in parent.changes if c.step <= step]
    return out


def plain(value: Any) -> Any:
    """JSON-ready: NaN and infinities become None."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, np.generic):
        return plain(value.item())
    return value


def foreign(run: Run, card: Card | None) -> str:
    """What in a file's run its experiment would not have let anyone set; empty if nothing."""
    if card is None:
        return f"{run.started.experiment} is not installed here: its curves are shown, it cannot be run"
    knobs = {k.name: k for k in card.knobs}
    swept = ((n, v) for n, vs in run.started.sweep.items() for v in vs)
    for name, value in itertools.chain(run.started.values.items(), swept):
        try:
            if name not in knobs:
                raise ValueError(f"{card.name} has no knob {name}")
            knobs[name].check(value)
        except ValueError as e:
            return f"{e}: the run is shown as it was saved, it cannot be run again"
    return ""
