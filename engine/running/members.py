"""Which networks a run trains: values × sweep × seeds, in an order in which every stack is contiguous."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.running.train import Member, Stack, flatten
from engine.spec import Experiment, Hyper, Value, check_sweep


class Plan(NamedTuple):
    values: dict[str, Value]  # complete; a swept knob has its first value
    sweep: dict[str, list[Value]]
    members: list[Member]
    firsts: tuple[int, ...]  # first member of each stack
    table: dict[str, np.ndarray[Any, Any]]  # "seed" and each swept knob -> (members,)
    choices: dict[str, list[str]]  # of swept choice knobs: what an index in the table means
    steps: int

    def stack(self, first: int) -> list[Member]:
        at = self.firsts.index(first)
        end = self.firsts[at + 1] if at + 1 < len(self.firsts) else len(self.members)
        return self.members[first:end]

    def rows(self, first: int) -> dict[str, np.ndarray[Any, Any]]:
        """The table's rows of one stack."""
        end = first + len(self.stack(first))
        return {k: v[first:end] for k, v in self.table.items()}


LIMIT = 4096  # members in a run
# Members of a stack, at most, unless one setting has more seeds. A member of the smallest networks costs 100 µs a step
# alone, 14 in a stack of 16, 10 in one of 64 and never less: beyond that another worker does more than a longer stack.
MOST = 64
ROOM = 512 << 20  # bytes that a stack's steps may need, at most …
COPIES = 8  # … so many times its state and data: gradients, intermediate results, what was and what will be


_sizes: dict[tuple[Any, ...], int] = {}


def _bytes(ex: Experiment, hp: Hyper) -> int:
    """Of one network's state and data."""
    key = (ex.name, ex.init, ex.data, tuple(vars(hp).values()))
    if key not in _sizes:
        stack = Stack(ex, [Member(hp, 0)], ex.dtype)
        held = [*flatten(stack.init()).values(), *flatten(stack.data()).values()]
        _sizes[key] = sum(v.numel() * v.element_size() for v in held)
    return _sizes[key]


def together(ex: Experiment, hp: Hyper, seeds: int) -> int:
    """How many settings that differ in real knobs train in one stack."""
    knobs = ex.hyper.knobs()
    like = ex.hyper.of({k.name: getattr(hp, k.name) for k in knobs if k.kind != "real"})
    each = COPIES * max(1, _bytes(ex, like))
    return max(1, min(MOST, ROOM // each) // seeds)


def plan(
    ex: Experiment,
    values: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Value]] | None = None,
    seeds: int = 0,
    first_seed: int = 0,
    preset: str = "",
) -> Plan:
    """Everything checked; ValueError names what is wrong. Setting a knob takes it out of the default sweep."""
    chosen = ex.preset(preset) if preset else None
    given = dict(chosen.values if chosen else {}) | dict(values or {})
    if sweep:
        swept = dict(sweep)
    else:
        base = ex.sweep if chosen is None or chosen.sweep is None else chosen.sweep
        taken = set(values or {}) | (
            set(given) if chosen is None or chosen.sweep is None else set()
        )
        swept = {k: list(v) for k, v in base.items() if k not in taken}
    checked = check_sweep(ex, swept)
    seeds = seeds or (chosen.seeds if chosen and chosen.seeds else ex.seeds)
    if not 1 <= seeds <= 1024:
        raise ValueError(f"seeds = {seeds} lies outside [1, 1024]")
    knobs = {k.name: k for k in ex.hyper.knobs()}
    order = sorted(checked, key=lambda name: knobs[name].kind == "real")
    combos = list(itertools.product(*(checked[name] for name in order)))
    if len(combos) * seeds > LIMIT:
        raise ValueError(f"{len(combos) * seeds} networks in one run; at most {LIMIT} are allowed")
    members, firsts, table = [], [], {name: [] for name in ["seed", *order]}  # type: ignore[var-annotated]
    shape: Any = None
    room = 0
    for combo in combos:
        setting = dict(zip(order, combo, strict=True))
        hp = ex.hyper.of({**given, **setting})
        now = tuple(getattr(hp, k) for k, knob in knobs.items() if knob.kind != "real")
        if now != shape or room == 0:
            firsts.append(len(members))
            shape = now
            room = together(ex, hp, seeds) if len(combos) > 1 else 1
        room -= 1
        for seed in range(first_seed, first_seed + seeds):
            members.append(Member(hp, seed))
            table["seed"].append(seed)
            for name, v in setting.items():
                table[name].append(checked[name].index(v) if knobs[name].kind == "choice" else v)
    complete = {name: getattr(members[0].hp, name) for name in knobs}
    columns = {
        name: np.array(
            column, np.float64 if name in knobs and knobs[name].kind == "real" else np.int64
        )
        for name, column in table.items()
    }
    choices = {n: [str(v) for v in checked[n]] for n in order if knobs[n].kind == "choice"}
    steps = max(int(getattr(m.hp, "steps", 0)) for m in members)
    return Plan(complete, checked, members, tuple(firsts), columns, choices, steps)
