"""A worker process: trains one stack at a time, answers predictions and judgements between steps.

It is spawned, never forked, and keeps one torch thread: on small networks a second one only gets in the way. Whatever
goes wrong leaves it as one sentence in a message; bytes on the pipe are `encoding.encode`, never pickles.
"""

from __future__ import annotations

import platform
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from engine import catalogue, own, strangers
from engine.encoding import decode, encode
from engine.messages import (
    Array,
    Catalogue,
    Changed,
    Checkpoint,
    Control,
    Describe,
    Ended,
    Hello,
    Job,
    Judge,
    Judged,
    JudgedAll,
    Message,
    Predict,
    Predicted,
    Quit,
    Refused,
    Rows,
    Start,
    Started,
    Status,
)
from engine.reducers import Series
from engine.running import watch
from engine.running.judge import Measured, judge
from engine.running.members import Plan, plan
from engine.running.predict import Change, Predictable, forecast, phases
from engine.running.process import prepare
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
from engine.running.watch import Watch
from engine.spec import Experiment
from engine.version import VERSION

GATHER = 0.03  # seconds of readings in one Rows
STATUS = 0.25
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
    """One job: a stack in training, driven a frame at a time."""

    def __init__(self, job: Job, send: Any) -> None:
        self.job, self.send = job, send
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
        self.frames = self._frames(self._state(job.arrays))

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
        self.changes.append(new)
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
        for name, rows in self.rows.items():
            metric, coords = self.ex.metric(name), None
            if metric.coords is not None and name not in self.coords_sent:
                coords = np.asarray(metric.coords(self.members[0].hp), np.float64)
                self.coords_sent.add(name)
            steps = np.array([s for s, _ in rows], np.int64)
            values = np.stack([v for _, v in rows])
            if values.dtype not in (np.float32, np.float64):
                values = values.astype(np.float64)
            self.send(Rows(self.job.run, name, self.job.first, steps, values, coords))
        self.rows = {}
        self.flushed = now
        if now - self.reported >= STATUS:
            rate = (self.step - self.reported_step) / (now - self.reported)
            self.reported, self.reported_step = now, self.step
            self.send(Status(self.job.run, "running", self.step, rate=rate))

    def checkpoint(self, limit: float = float("inf")) -> None:
        arrays = {k: v.detach().cpu().numpy() for k, v in flatten(self.state).items()}
        if sum(a.nbytes for a in arrays.values()) <= limit:
            self.flush(time.perf_counter())  # what led here is never lost behind it
            self.send(Checkpoint(self.job.run, self.step, self.job.first, arrays))

    def end(self, state: Any, why: str = "") -> Ended:
        self.flush(time.perf_counter())
        if self.state is not None:
            self.checkpoint()
        return Ended(self.job.run, self.job.first, state, self.step, why, self.tiers)


class Worker:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.inbox: deque[Message] = deque()
        self.training: Training | None = None
        self.watch = Watch(own.standing)

    def send(self, message: Message) -> None:
        self.connection.send_bytes(encode(message))

    def run(self) -> None:
        self.send(Hello(0, environment()))
        while True:
            while self.connection.poll(0) or (self.training is None and not self.inbox):
                self.inbox.append(decode(self.connection.recv_bytes()))
            while self.inbox:
                message = self.inbox.popleft()
                if isinstance(message, Quit):
                    return
                if isinstance(message, Predict) and any(isinstance(m, Predict) for m in self.inbox):
                    continue  # the slider has moved on
                self.guard(message)
            if self.training is not None:
                self.train()

    def train(self) -> None:
        training = self.training
        assert training is not None
        try:
            with self.patience(training.job):
                ended = training.advance()
        except (Exception, SystemExit) as e:
            ended = Ended(
                training.job.run, training.job.first, "failed", training.step, sentence(e)
            )
            traceback.print_exc()
        if ended:
            self.training = None
            self.send(ended)

    def guard(self, message: Message) -> None:
        try:
            # a knob set during a run predicts anew
            job = self.training.job if self.training and isinstance(message, Control) else message
            with self.patience(job):
                self.handle(message)
        except (Exception, SystemExit) as e:
            why = own.told(e) or (str(e) if isinstance(e, ValueError) else sentence(e))
            if not isinstance(e, ValueError):
                traceback.print_exc()
            self.gave_up(message, why)
        if isinstance(message, Judge):
            self.send(JudgedAll(message.run, message.interim))

    def gave_up(self, message: Message, why: str) -> None:
        if isinstance(message, Job):
            self.training = None
            self.send(Ended(message.run, message.first, "failed", message.step, why))
        else:
            self.send(Refused(getattr(message, "run", ""), why))

    def patience(self, message: Message) -> AbstractContextManager[None]:
        """A user's own code gets so much time; then it is said where it stands, and the process ends."""
        name = getattr(getattr(message, "start", message), "experiment", "")
        if not strangers.is_own(name):
            return nullcontext()

        def late(where: str, seconds: float) -> None:
            self.send(Quit())  # it ends on purpose: nothing more may be asked of it
            self.gave_up(message, watch.late(name, where, seconds))
            if isinstance(message, Judge):
                self.send(JudgedAll(message.run, message.interim))

        return self.watch.over(watch.patience(), late)

    def handle(self, message: Message) -> None:
        match message:
            case Describe():
                self.send(
                    Catalogue(catalogue.cards(), devices(), catalogue.load()[1], strangers.scan())
                )
            case Start():
                self.send(started(message))
            case Job():
                self.training = Training(message, self.send)
                self.training.predict()
            case Control():
                self.control(message)
            case Predict():
                self.predict(message)
            case Judge():
                self.judge(message)

    def control(self, message: Control) -> None:
        training = self.training
        if training is None or training.job.run != message.run:
            return
        match message.verb:
            case "set":
                training.change(message.knob, message.value)
            case "checkpoint":
                training.checkpoint()
            case "pause" | "cancel":
                state = "paused" if message.verb == "pause" else "cancelled"
                self.training = None
                self.send(training.end(state))

    def predict(self, message: Predict) -> None:
        start = Start(
            message.run,
            message.experiment,
            message.values,
            message.sweep,
            message.seeds,
            message.first_seed,
            message.dtype,
        )
        ex, p, dtype = plan_of(start)
        for needs in ("hp", "drawn"):
            only = [q.name for q in ex.predictions if q.needs == needs]
            for first in p.firsts:
                stack = Stack(ex, p.stack(first), dtype)
                for each in forecasts(message.run, ex, stack, first, Predictable(stack), only):
                    self.send(each)
            if self.connection.poll(0):
                return  # something newer waits; what costs nothing has been said

    def judge(self, message: Judge) -> None:
        ex, p, dtype = plan_of(message.start)
        stacks = []
        for first in p.firsts:
            trace = {r.metric: Series(r.steps, r.values) for r in message.rows if r.first == first}
            changes = tuple(
                Change(c.step, c.knob, float(c.value)) for c in message.changes if c.first == first
            )
            stacks.append(Measured(p.stack(first), p.rows(first), trace, changes))
        device = message.start.device
        only = [q.name for q in ex.predictions if q.needs == "trace"]
        if only:
            for first, s in zip(p.firsts, stacks, strict=True):
                stack = Stack(ex, s.members, dtype, device)
                what = Predictable(stack, s.changes, s.trace)
                for each in forecasts(message.run, ex, stack, first, what, only):
                    self.send(each)
        for key, v in judge(ex, stacks, dtype, device).items():
            claim = ex.claim(key)
            self.send(
                Judged(
                    message.run, key, claim.text, v.outcome, v.measured, v.expected, v.spread, v.why,
                    v.broken, claim.side, message.interim,
                )
            )  # fmt: skip


def sentence(error: BaseException) -> str:
    """An unforeseen error as one line for a person; the traceback goes to the log."""
    if told := own.told(error):
        return told
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no further word'}"[:300]


def warm() -> None:
    """Run once what every experiment needs, so that the first step of a run does not pay for it."""
    catalogue.load()
    f = torch.func.vmap(torch.func.grad(lambda w, x: torch.tanh(x @ w).square().sum()))
    f(torch.ones(2, 3), torch.ones(2, 4, 3))


def main(connection: Any) -> None:
    """Entry of the spawned process."""
    prepare()
    own.permit_here()
    warm()
    try:
        Worker(connection).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the service is gone, or asks all to stop
