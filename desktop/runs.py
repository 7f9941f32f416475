"""One run as the desktop knows it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from desktop.traces import Column
from engine.messages import Changed, Judged, Predicted
from engine.spec import Value

Array = np.ndarray[Any, Any]
Role = Literal["live", "ghost", "pinned"]
OVER = ("done", "stopped", "cancelled", "failed")
ACTIVE = ("queued", "running")


@dataclass
class Run:
    id: str
    experiment: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    sweep: dict[str, list[Value]] = field(default_factory=dict)
    members: dict[str, Array] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    stacks: tuple[int, ...] = ()
    seeds: int = 0
    steps: int = 0
    dtype: str = ""
    device: str = "cpu"
    preset: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    started: bool = False  # the engine has taken it
    columns: dict[tuple[str, int], Column] = field(default_factory=dict)
    predicted: dict[tuple[str, int], Predicted] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    changes: list[Changed] = field(default_factory=list)
    checkpoints: set[tuple[int, int]] = field(default_factory=set)  # (first, step)
    state: str = "queued"
    step: int = 0
    rate: float = 0.0
    why: str = ""
    label: str = ""  # a person's own name for it
    name: str = ""
    colour: int = 0
    role: Role = "live"
    hidden: bool = False
    opened: bool = False  # came from a file
    recovered: str = ""  # the journal that a crash left, out of which it was read

    @property
    def shown_name(self) -> str:
        return self.label or self.name

    @property
    def has_rows(self) -> bool:
        return any(len(c.steps) for c in self.columns.values())

    @property
    def reached(self) -> int:
        """The last step that was read, which a status may lag behind."""
        ends = [int(c.steps[-1]) for c in self.columns.values() if len(c.steps)]
        return max([self.step, *ends])

    def change(self, new: Changed) -> bool:
        """Takes it in the place of an earlier value of its knob at its step; whether it says anything new."""
        where = (new.first, new.step, new.knob)
        for i, c in enumerate(self.changes):
            if (c.first, c.step, c.knob) == where:
                self.changes[i] = new
                return c != new
        self.changes.append(new)
        return True

    def rewind(self, first: int, step: int) -> None:
        """Nothing of a stack behind this step counts any more."""
        for key, column in list(self.columns.items()):
            if key[1] == first:
                column.cut(step)
                if not len(column.steps):
                    del self.columns[key]
        self.checkpoints = {c for c in self.checkpoints if c[0] != first or c[1] <= step}
        self.changes = [c for c in self.changes if c.first != first or c.step <= step]
        self.step = min(self.step, step)

    def full_checkpoints(self) -> list[int]:
        """Steps at which every stack has a checkpoint, so that a branch can start there."""
        steps = {s for _, s in self.checkpoints}
        return sorted(s for s in steps if all((f, s) in self.checkpoints for f in self.stacks))

    def same_request(self, other: Run) -> bool:
        mine, theirs = ((r.experiment, r.values, r.sweep, r.seeds, r.dtype) for r in (self, other))
        return mine == theirs
