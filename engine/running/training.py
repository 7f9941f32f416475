"""One job in a worker: a stack in training, driven a frame at a time."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from engine import catalogue, own, strangers
from engine.encoding import encode
from engine.messages import (
    Array,
    Changed,
    Checkpoint,
    Ended,
    Job,
    Message,
    Predicted,
    Rows,
    Start,
    Started,
    Status,
)
from engine.running.keeping import Keeper
from engine.running.members import Plan, plan
from engine.running.predict import Change, Predictable, forecast, phases
from engine.running.train import (
    Frame,
    Machine,
    Member,
    Stack,
    flatten,
    recording_times,
    train,
    unflatten,
)
from engine.sessions.state import stack_journal
from engine.spec import Experiment
from engine.version import VERSION

GATHER = 0.03  # seconds of readings in one Rows
STATUS = 0.25
FINITE = 0.25  # … between looks for a state without NaN, to go back to
CHECKPOINTS = 8  # along a run, besides those at its pauses and its end
CHECKPOINT_BYTES = 4 << 20  # larger states are kept at pauses and at the end only


def environment() -> dict[str, str]:
    return {
        "lemmascope": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": str(torch.get_num_threads()),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
    }


def devices() -> tuple[str, ...]:
    return ("cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())))


def plan_of(start: Start) -> tuple[Experiment, Plan, str]:
    """The experiment, its members and the dtype that a Start asks for. Raises ValueError in one sentence."""
    ex = catalogue.get(start.experiment)
    dtype = start.dtype or ex.dtype
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype = {dtype} is not one of float32, float64")
    if start.device not in devices():
        raise ValueError(f"device = {start.device} is not one of {', '.join(devices())}")
    p = plan(ex, start.values, start.sweep, start.seeds, start.first_seed, start.preset)
    return ex, p, dtype


def started(start: Start) -> Started:
    ex, p, dtype = plan_of(start)
    return Started(
        run=start.run,
        experiment=ex.name,
        values=p.values,
        sweep=p.sweep,
        members=p.table,
        stacks=p.firsts,
        steps=p.steps,
        dtype=dtype,
        device=start.device,
        preset=start.preset,
        parent=start.parent,
        parent_step=start.parent_step,
        environment=environment() | own.environment(ex.name),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        choices=p.choices,
    )


def forecasts(
    run: str,
    ex: Experiment,
    stack: Stack,
    first: int,
    what: Predictable,
    only: Sequence[str] | None,
) -> Iterator[Predicted]:
    for f in forecast(ex, what, only):
        yield Predicted(
            run,
            f.prediction.name,
            f.prediction.metric,
            first + f.first,
            np.asarray(f.steps, np.int64),
            np.asarray(f.values, np.float64),
            not f.broken,
            f.broken,
            f.text,
            f.size,
        )


class Training:
    """`say(message, blob)` sends it; by then it is in the job's journal. `tell(text)` is for what a person must know."""

    def __init__(self, job: Job, say: Callable[[bytes], None], tell: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self.ex, self.plan, self.dtype = plan_of(job.start)
        self.members = self.plan.stack(job.first)
        self.changes = [c for c in job.changes if c.first == job.first]
        self.step = self.begun = job.step
        self.until = job.until
        self.state: Any = None
        self.rows: dict[str, list[tuple[int, Array]]] = {}
        self.coords_sent: set[str] = set()
        self.flushed = self.reported = time.perf_counter()
        self.reported_step = job.step
        times = recording_times(self.ex, self.plan.steps)
        marks = np.linspace(0, len(times) - 1, CHECKPOINTS + 1)[:-1].round().astype(int)
        self.marks = {int(t) for t in times[marks]}
        self.past: dict[str, int] = {}  # tiers of this job's earlier generators
        self.tiers: dict[str, int] = {}
        self.machine: Machine | None = None
        self.finite: tuple[int, dict[str, Array]] | None = None  # the last state without NaN
        self.looked = 0.0
        self.frames = self._frames(self._state(job.arrays))
        self.keeper = Keeper(stack_journal(job.journal, job.first) if job.journal else "", tell)
        for m in (job.started, *self.changes):
            if m is not None:
                self.keeper.keep(m)

    def send(self, message: Message) -> None:
        self.say(self.keeper.keep(message))

    def close(self) -> None:
        """Lets the journal go, with what has not been sent yet in it."""
        self.rescue()
        self.keeper.close()

    def rescue(self) -> None:
        """Nobody listens any more: what was read goes into the journal."""
        for m in self._gathered():
            self.keeper.keep(m)

    def _state(self, arrays: dict[str, Array]) -> Any:
        if not arrays:
            return None
        device = torch.device(self.job.start.device)
        return unflatten({k: torch.as_tensor(v).to(device) for k, v in arrays.items()})

    def _frames(self, state: Any) -> Iterator[Frame]:
        """From here on; with a state, the readings here are there already."""
        changes = [Change(c.step, c.knob, float(c.value)) for c in self.changes]
        self.past = dict(self.tiers)
        now = [
            Member([hp for s, hp in phases(m.hp, changes) if s <= self.step][-1], m.seed)
            for m in self.members
        ]
        if self.machine is None:
            self.machine = Machine(self.ex, now, self.dtype, self.job.start.device)
        else:
            self.machine = self.machine.tuned(now)
        marks = frozenset({self.until, *(c.step for c in self.changes)})
        return train(
            self.ex,
            now,
            state=state,
            step=self.step,
            dtype=self.dtype,
            device=self.job.start.device,
            marks=marks,
            read=state is None,
            machine=self.machine,
        )

    def change(self, knob: str, value: Any) -> None:
        """A hot knob takes effect at the next step: the generator starts again from here."""
        declared = {k.name: k for k in self.ex.hyper.knobs()}.get(knob)
        if declared is None or not declared.hot:
            raise ValueError(f"{knob} cannot change during a run of {self.ex.name}")
        if knob in self.plan.sweep:
            raise ValueError(f"{knob} is swept in this run and cannot change during it")
        new = Changed(self.job.run, self.step, knob, declared.check(value), self.job.first)
        # those behind this step were of a course that a crash ended: this one goes another way
        self.changes = [c for c in self.changes if c.step <= self.step] + [new]
        self.send(new)
        if self.state is not None:
            self.begun = self.step
            self.frames = self._frames(self.state)
        self.predict()

    def predict(self) -> None:
        stack = Stack(self.ex, self.members, self.dtype, self.job.start.device)
        changes = tuple(Change(c.step, c.knob, float(c.value)) for c in self.changes)
        only = [p.name for p in self.ex.predictions if p.needs != "trace"]
        what = Predictable(stack, changes)
        for p in forecasts(self.job.run, self.ex, stack, self.job.first, what, only):
            self.send(p)

    def advance(self) -> Ended | None:
        """One frame; what ended the job, if anything did."""
        frame = next(self.frames)
        self.step, self.state = frame.step, frame.state
        if frame.tiers:
            self.tiers = self.past | {k: v + self.past.get(k, 0) for k, v in frame.tiers.items()}
        for name, v in frame.values.items():
            self.rows.setdefault(name, []).append((frame.step, v))
        if any(c.step == self.step for c in self.changes) and self.step > self.begun:
            self.begun = self.step
            self.frames = self._frames(self.state)  # a change that is being repeated
        now = time.perf_counter()
        if frame.values and not frame.stopped:
            self._remember(frame.values, now, frame.step in self.marks)
        if now - self.flushed >= GATHER:
            self.flush(now)
        if frame.step in self.marks and frame.step > self.job.step:
            self.checkpoint(CHECKPOINT_BYTES)
        if frame.stopped:
            if frame.step == 0 and strangers.is_own(self.ex.name):
                return self.end("failed", own.not_finite(self.ex, frame.values))
            return self.end("stopped", frame.stopped)
        if self.step >= int(getattr(self.members[0].hp, "steps", 0)):
            return self.end("done")
        if 0 <= self.until <= self.step:
            return self.end("paused")
        return None

    def flush(self, now: float) -> None:
        for blob in [self.keeper.keep(m) for m in self._gathered()]:
            self.say(blob)  # all of them are kept by then, should nobody listen
        self.keeper.tick()
        self.flushed = now
        if now - self.reported >= STATUS:
            rate = (self.step - self.reported_step) / (now - self.reported)
            self.reported, self.reported_step = now, self.step
            self.say(encode(Status(self.job.run, "running", self.step, rate=rate)))

    def _gathered(self) -> list[Rows]:
        """What was read and not yet said."""
        out = []
        for name, rows in self.rows.items():
            metric, coords = self.ex.metric(name), None
            if metric.coords is not None and name not in self.coords_sent:
                coords = np.asarray(metric.coords(self.members[0].hp), np.float64)
                self.coords_sent.add(name)
            steps = np.array([s for s, _ in rows], np.int64)
            values = np.stack([v for _, v in rows])
            if values.dtype not in (np.float32, np.float64):
                values = values.astype(np.float64)
            out.append(Rows(self.job.run, name, self.job.first, steps, values, coords))
        self.rows = {}
        return out

    def _arrays(self) -> dict[str, Array]:
        """The state as it is now; on the CPU it shares memory with the training."""
        return {k: v.detach().cpu().numpy() for k, v in flatten(self.state).items()}

    def _remember(self, values: dict[str, Array], now: float, at_once: bool) -> None:
        """Keeps a copy of the last state in which every number is finite, looked at a few times a second.

        `at_once`: there is a checkpoint of this step, and nothing older is to be named the last.
        """
        if self.finite is not None and now - self.looked < FINITE and not at_once:
            return
        self.looked = now
        arrays = self._arrays()
        if sum(a.nbytes for a in arrays.values()) > CHECKPOINT_BYTES:
            return
        if _finite(values) and _finite(arrays):
            self.finite = (self.step, {k: a.copy() for k, a in arrays.items()})

    def checkpoint(self, limit: float = float("inf")) -> None:
        if self.state is None:  # it has not begun
            return
        arrays = self._arrays()
        if sum(a.nbytes for a in arrays.values()) <= limit:
            self.flush(time.perf_counter())  # what led here is never lost behind it
            self.send(Checkpoint(self.job.run, self.step, self.job.first, arrays))

    def end(self, state: Any, why: str = "") -> Ended:
        """The job's last words but this one, which goes into the journal as the stack's last state."""
        self.flush(time.perf_counter())
        if self.state is not None and (state != "stopped" or _finite(self._arrays())):
            self.checkpoint()
        elif self.finite is not None:
            step = self.finite[0]
            self.go_back_to(*self.finite)
            why += f"; step {step} still had finite numbers, and a branch can start there"
        self.keeper.keep(Status(self.job.run, state, self.step, why, tiers=self.tiers))
        self.keeper.close()
        return Ended(self.job.run, self.job.first, state, self.step, why, self.tiers)

    def go_back_to(self, step: int, arrays: dict[str, Array]) -> None:
        self.send(Checkpoint(self.job.run, step, self.job.first, arrays))

    def fail(self, why: str) -> Ended:
        """After an exception: what was read is not lost with it."""
        with contextlib.suppress(Exception):  # a second fault says nothing new
            self.flush(time.perf_counter())
            if self.finite is not None:
                self.go_back_to(*self.finite)
        self.keeper.keep(Status(self.job.run, "failed", self.step, why, tiers=self.tiers))
        self.keeper.close()
        return Ended(self.job.run, self.job.first, "failed", self.step, why, self.tiers)


def _finite(arrays: dict[str, Array]) -> bool:
    return all(np.isfinite(a).all() for a in arrays.values())
