"""`train`: a plain generator that trains a stack of members of one experiment.

Pause = stop calling it; resume = start it again from (step, state). Nothing is sent into it. What the members'
functions see is one network: `vmap` maps them over the stack, or a loop where the experiment says `looped`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from engine.running.drawn import Kept
from engine.running.random import Rng
from engine.running.tiers import Reader, Stepper, flatten, unflatten
from engine.spec import Experiment, Hyper, Metric
from engine.strangers import is_own

__all__ = ["Frame", "Machine", "Member", "Stack", "Tree", "flatten", "train", "unflatten"]

Tree = dict[str, Any]  # nested dict of tensors
CHUNK = 10  # steps between frames, at most, …
PAUSE = 0.002  # … unless so many take less than these seconds


class Member(NamedTuple):
    hp: Hyper
    seed: int


@dataclass(frozen=True)
class Frame:
    """After `step` steps: the readings due then, (members, *shape) each, and the state."""

    step: int
    values: dict[str, np.ndarray[Any, Any]]
    state: Tree
    stopped: str = ""  # the label of the rule that ends the run here
    tiers: Mapping[str, int] = field(
        default_factory=dict
    )  # steps that each tier ran since the start


def map_tree(fn: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: map_tree(fn, v) for k, v in tree.items()}
    return fn(tree)


def own(tree: Tree) -> Tree:
    """Every entry in memory of its own: what is equal for all members comes out of `vmap` as one number seen many times."""
    return dict(map_tree(lambda v: v.contiguous(), tree))


def stack_trees(trees: Sequence[Any]) -> Any:
    if isinstance(trees[0], dict):
        return {k: stack_trees([t[k] for t in trees]) for k in trees[0]}
    return torch.stack([torch.as_tensor(t) for t in trees])


def recording_times(ex: Experiment, steps: int) -> np.ndarray[Any, Any]:
    """Steps at which metrics are read: about `ex.records` of them, first and last always, integers."""
    if steps <= ex.records:
        return np.arange(steps + 1)
    if ex.record == "log":
        times = np.geomspace(1, steps, ex.records)
    else:
        times = np.linspace(0, steps, ex.records + 1)
    return np.unique(np.concatenate([[0], np.round(times), [steps]])).astype(np.int64)


def due_times(metric: Metric, times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.unique(np.concatenate([times[:: metric.every], times[-1:]]))


def stop_label(ex: Experiment, step: int, values: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Why a run ends at `step`, by the experiment's rules and because no member has a finite reading left."""
    size = {m: np.abs(v).reshape(len(v), -1).max(1) for m, v in values.items() if v.size}
    for rule in ex.stops:
        if rule.metric not in size:
            continue
        reading = size[rule.metric]
        if rule.above is not None and not (reading <= rule.above).any():
            return f"{rule.label or 'diverged'} at step {step}"
        if rule.below is not None and (reading < rule.below).all():
            return f"{rule.label or 'floor'} reached at step {step}"
    if size and not any(np.isfinite(v).any() for v in size.values()):
        return f"diverged at step {step}"
    return ""


kept: Kept | None = None  # in a worker, where data outlive the stack that they were drawn for


class Stack:
    """The functions of an experiment for a stack of members that agree in every int and choice knob."""

    def __init__(
        self, ex: Experiment, members: Sequence[Member], dtype: str = "float32", device: str = "cpu"
    ) -> None:
        self.ex, self.members = ex, tuple(members)
        self.dtype, self.device = getattr(torch, dtype), torch.device(device)
        self.hp = members[0].hp
        self.real = [k.name for k in ex.hyper.knobs() if k.kind == "real"]
        for k in ex.hyper.knobs():
            if k.kind != "real" and len({getattr(m.hp, k.name) for m in members}) > 1:
                raise ValueError(
                    f"{k.name} fixes shapes: members that differ in it train in separate stacks"
                )
        self.knobs = {
            name: torch.tensor(
                [float(getattr(m.hp, name)) for m in members], dtype=self.dtype, device=self.device
            )
            for name in self.real
        }
        self.seeds = torch.tensor([m.seed for m in members], dtype=torch.int64, device=self.device)

    def __len__(self) -> int:
        return len(self.members)

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Inside, new tensors have the run's dtype and device. Never held across a yield."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            if self.device.type == "cpu":
                yield
            else:
                with self.device:
                    yield
        finally:
            torch.set_default_dtype(before)

    def map(self, fn: Callable[..., Any], hyper: type | None = None) -> Callable[..., Any]:
        """fn(hp, seed, *args) for one member -> the same over the stack, called with stacked args."""
        make = hyper or type(self.hp)

        def one(knobs: dict[str, Tensor], seed: Tensor, *args: Any) -> Any:
            return fn(make(**{**vars(self.hp), **knobs}), seed, *args)

        if not self.ex.looped:
            mapped = vmap(one)
            return lambda *args: mapped(self.knobs, self.seeds, *args)

        def loop(*args: Any) -> Any:
            results = []
            for i in range(len(self)):
                pick = lambda v, i=i: v[i]
                results.append(
                    one(
                        map_tree(pick, self.knobs),
                        self.seeds[i],
                        *(map_tree(pick, a) for a in args),
                    )
                )
            return stack_trees(results)

        return loop

    @contextlib.contextmanager
    def with_knobs(self, knobs: dict[str, Tensor]) -> Iterator[None]:
        """Inside, the functions see these: what is recorded then takes the knobs as arguments."""
        before, self.knobs = self.knobs, knobs
        try:
            yield
        finally:
            self.knobs = before

    def rng(self, seed: Tensor, stream: str, step: Tensor | int = 0) -> Rng:
        return Rng(seed, stream, step, dtype=self.dtype, device=self.device)

    def data(self) -> Tree:
        if self.ex.data is None:
            return {}
        ex_data = self.ex.data

        def draw(hyper: type) -> Tree:
            with self.precision():
                drawing = self.map(lambda hp, seed: ex_data(hp, self.rng(seed, "data")), hyper)
                return own(drawing())

        if kept is None or is_own(self.ex.name):  # whose author may write into them
            return draw(type(self.hp))
        return kept.data(self, draw)

    def init(self) -> Tree:
        with self.precision():
            return own(self.map(lambda hp, seed: self.ex.init(hp, self.rng(seed, "init")))())

    def measure(self, metric: Metric) -> Callable[[Tree, Tree], Tensor]:
        return self.map(
            lambda hp, seed, state, data: torch.as_tensor(metric.measure(hp, state, data))
        )


class Machine:
    """What steps and reads a stack. When a hot knob takes another value, what was recorded and compiled stays."""

    def __init__(
        self, ex: Experiment, members: Sequence[Member], dtype: str = "", device: str = "cpu"
    ) -> None:
        self.made = (ex, dtype, device)
        self.stack = stack = Stack(ex, members, dtype or ex.dtype, device)
        self.data = stack.data()
        self.readers = {m.name: Reader(stack, stack.measure(m), self.data) for m in ex.metrics}
        self.stepper = Stepper(stack, self.data) if ex.step is not None else None

    def tuned(self, members: Sequence[Member]) -> Machine:
        """The machine for members that differ from these in real knobs: this one, unless their data differ too."""
        ex, dtype, device = self.made
        new = Stack(ex, members, dtype or ex.dtype, device)
        mine, theirs = flatten(self.data), flatten(new.data())
        same = type(new.hp)(**{**vars(new.hp), **{k: getattr(self.stack.hp, k) for k in new.real}})
        if same != self.stack.hp or not torch.equal(new.seeds, self.stack.seeds):
            return Machine(ex, members, dtype, device)
        if not all(v is theirs[k] or torch.equal(v, theirs[k]) for k, v in mine.items()):
            return Machine(ex, members, dtype, device)
        changed = {k for k, v in new.knobs.items() if not torch.equal(v, self.stack.knobs[k])}
        for k in changed:
            self.stack.knobs[k].copy_(new.knobs[k])  # in place: the compiled step knows the place
        self.stack.members, self.stack.hp = new.members, new.hp
        if changed and self.stepper is not None:
            self.stepper.retuned()
        return self


def train(
    ex: Experiment,
    members: Sequence[Member],
    *,
    state: Tree | None = None,
    step: int = 0,
    dtype: str = "",
    device: str = "cpu",
    marks: frozenset[int] = frozenset(),
    read: bool = True,
    machine: Machine | None = None,
) -> Iterator[Frame]:
    """Trains `members` from `step` (with the state there) to their `steps`; a frame per recording time.

    Between recording times it yields an empty frame every 10 steps, or a few milliseconds if those are more, and at each
    of `marks`, so that a caller can stop it there. Not `read`: the first frame is empty, since the caller has its readings.
    `machine`: one for these members, which goes on.
    """
    machine = machine or Machine(ex, members, dtype, device)
    stack, readers, stepper = machine.stack, machine.readers, machine.stepper
    past = dict(stepper.counts) if stepper else {}
    steps = int(getattr(stack.hp, "steps", 0))
    times = recording_times(ex, steps)
    due = {m.name: frozenset(due_times(m, times).tolist()) for m in ex.metrics}
    every = frozenset(times.tolist())
    state = stack.init() if state is None else map_tree(torch.clone, state)
    stops = np.unique([*times.tolist(), *(m for m in marks if m > 0), steps])
    chunk = CHUNK
    while True:
        values = {}
        if step in every and read:
            with stack.precision():
                for m in ex.metrics:
                    if step in due[m.name]:
                        values[m.name] = readers[m.name].read(state).detach().cpu().numpy()
        stopped, read = stop_label(ex, step, values), True
        counts = {k: v - past[k] for k, v in stepper.counts.items()} if stepper else {}
        yield Frame(step, values, state, stopped, counts)
        if step >= steps or stepper is None or stopped:
            return
        count = min(chunk, int(stops[np.searchsorted(stops, step, side="right")]) - step)
        begun = time.perf_counter()
        with stack.precision():
            state = stepper.advance(state, step, count)
        took = time.perf_counter() - begun
        if count == chunk and took < PAUSE:
            chunk *= 2
        elif took > 4 * PAUSE:
            chunk = max(CHUNK, chunk // 2)
        step += count
