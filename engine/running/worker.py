"""A worker process: trains one stack at a time, answers predictions and judgements between steps.

It is spawned, never forked, and keeps one torch thread: on small networks a second one only gets in the way. Whatever
goes wrong leaves it as one sentence in a message; bytes on the pipe are `encoding.encode`, never pickles.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from engine import catalogue, own, strangers
from engine.encoding import decode, encode
from engine.messages import (
    Catalogue,
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
    Quit,
    Refused,
    Start,
)
from engine.reducers import Series
from engine.running import faults, train, watch
from engine.running.drawn import Kept
from engine.running.judge import Measured, judge
from engine.running.predict import Change, Predictable
from engine.running.process import prepare
from engine.running.train import Stack
from engine.running.training import (
    Training,
    devices,
    environment,
    forecasts,
    plan_of,
    started,
)
from engine.running.watch import Watch


class Unheard(BaseException):
    """The service is gone: nothing that is said is heard any more."""


class Worker:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.inbox: deque[Message] = deque()
        self.training: Training | None = None
        self.watch = Watch(own.standing)
        self.speaking = threading.Lock()  # the watch speaks from a thread of its own
        self.over = False  # nothing more may be asked of this process

    def send(self, message: Message) -> None:
        self.say(encode(message))

    def say(self, blob: bytes) -> None:
        try:
            with self.speaking:
                self.connection.send_bytes(blob)
        except OSError:
            raise Unheard from None

    def quit(self) -> None:
        """Says that it will end: the service asks nothing of it any more, and starts another."""
        self.over = True
        self.send(Quit())

    def run(self) -> None:
        self.send(Hello(0, environment()))
        while not self.over:
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
            traceback.print_exc()
            device = training.job.start.device
            if lost := faults.device_lost(e, device):
                self.quit()  # what runs there afterwards in this process would fail as well
            ended = training.fail(lost or sentence(e))
        if ended:
            self.training = None
            self.send(ended)

    def guard(self, message: Message) -> None:
        begun = time.monotonic()
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
            self.send(JudgedAll(message.run, message.interim, time.monotonic() - begun))

    def gave_up(self, message: Message, why: str) -> None:
        if isinstance(message, Job):
            if self.training is not None:
                self.training.close()
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
            self.quit()
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
                tell = lambda why: self.send(Refused(message.run, why))
                self.training = Training(message, self.say, tell)
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
    return own.told(error) or faults.told(error)


def warm() -> None:
    """Run once what every experiment needs, so that the first step of a run does not pay for it."""
    catalogue.load()
    f = torch.func.vmap(torch.func.grad(lambda w, x: torch.tanh(x @ w).square().sum()))
    f(torch.ones(2, 3), torch.ones(2, 4, 3))


def main(connection: Any) -> None:
    """Entry of the spawned process. When the service is gone, or asks it to, it ends with its journal complete."""
    prepare()
    own.permit_here()
    train.kept = Kept()
    warm()
    worker = Worker(connection)
    try:
        worker.run()
    except (EOFError, OSError, Unheard):
        pass
    finally:
        if worker.training is not None:
            worker.training.close()
            worker.training = None
    gc.collect()  # a compiler that is still at work ends with its build
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking torch down would cost half a second
