"""A worker of cardboard for the service: no process, no torch, no clock; a test decides when it works, speaks and dies.

What it trains is w ← w + lr, read at every step, so that each reading follows from the changes of the run. It keeps its
journal with the true `Keeper`, and follows `engine.running.worker` and `training` in all that it says.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from engine.encoding import decode, encode
from engine.messages import (
    Card,
    Catalogue,
    Changed,
    Checkpoint,
    ClaimCard,
    Control,
    Describe,
    Ended,
    Hello,
    Job,
    Judge,
    Judged,
    JudgedAll,
    MetricCard,
    Predict,
    Predicted,
    Quit,
    Refused,
    Rows,
    Start,
    Started,
    Status,
)
from engine.running import pool
from engine.running.keeping import Keeper
from engine.sessions.state import stack_journal
from engine.spec import Knob

NAME = "cardboard/sum"
MARK = 4  # steps between checkpoints on the way
KNOBS = (
    Knob("lr", "real", 1.0, 0.0, 9.0, hot=True),
    Knob("width", "int", 1, 1, 9),
    Knob("steps", "int", 12, 1, 50),
)
CARD = Card(
    NAME, "Sums", "cardboard", "A page.", KNOBS,
    (MetricCard("w", "w", "w", "scalar", "linear", "", "", "linear", ()),), (),
    (ClaimCard("all", "all were read", "", ("w",), 0.0, 0.0, "==", 1, ()),),
    (), (), (), (), {}, 1, "float64", 100,
)  # fmt: skip


def expected(run, first, steps):
    """w after so many steps of a stack, by the changes that its run knows."""
    w, changes = 0.0, [c for c in run.changes if c.first == first]
    for step in range(steps):
        w += rate(run.started.values["lr"], changes, step)
    return w


def rate(value, changes, step):
    for c in sorted(changes, key=lambda c: c.step):
        value = c.value if c.knob == "lr" and c.step <= step else value
    return float(value)


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time is told, and whose files wait until they are asked for."""

    def __init__(self):
        self.now = 0.0
        super().__init__()
        self.disk = Later()
        self.set_default_executor(self.disk)

    def time(self):
        return self.now

    def spin(self, turns=12):
        for _ in range(turns):
            self.call_soon(self.stop)
            self.run_forever()


class Later(ThreadPoolExecutor):
    def __init__(self):
        super().__init__(1)
        self.jobs = []

    def submit(self, fn, /, *args, **kw):
        future = Future()
        self.jobs.append((future, fn, args, kw))
        return future

    def next(self):
        future, fn, args, kw = self.jobs.pop(0)
        try:
            future.set_result(fn(*args, **kw))
        except BaseException as e:
            future.set_exception(e)


class Training:
    """A job."""

    def __init__(self, worker, job):
        self.worker, self.job = worker, job
        self.fresh, self.first = not job.arrays, True
        self.w = float(job.arrays["params/w"][0, 0]) if job.arrays else 0.0
        self.step, self.changes = job.step, list(job.changes)
        self.rows = []
        place = stack_journal(job.journal, job.first) if job.journal else ""
        self.keeper = Keeper(place, lambda why: worker.say(Refused(job.run, why)))
        for m in (job.started, *self.changes):
            self.keeper.keep(m)

    def send(self, message):
        self.keeper.keep(message)
        self.worker.say(message)

    def frame(self):
        """What ended the job, if anything did."""
        total = int(self.job.start.values["steps"])
        if self.first:  # where it begins; with a state, what is read here is known already
            self.first = False
        elif self.worker.trips:
            self.worker.trips = False
            return self.end("failed", "it tripped")
        else:
            self.w += rate(self.job.start.values["lr"], self.changes, self.step)
            self.step += 1
        if self.fresh or self.step > self.job.step:
            self.rows.append((self.step, self.w))
        self.fresh = False
        if self.step % 2:
            self.flush()
        if self.step % MARK == 0 and self.step > self.job.step:
            self.checkpoint()
        if self.step % 3 == 0:
            self.worker.say(Status(self.job.run, "running", self.step))
        if self.step >= total:
            return self.end("done")
        return self.end("paused") if 0 <= self.job.until <= self.step else None

    def gathered(self):
        rows, self.rows = self.rows, []
        if not rows:
            return []
        steps, values = np.array([s for s, _ in rows]), np.array([[w, w] for _, w in rows])
        return [Rows(self.job.run, "w", self.job.first, steps, values)]

    def flush(self):
        for m in self.gathered():
            self.send(m)

    def checkpoint(self):
        if self.fresh:
            return
        self.flush()
        state = {"params/w": np.full((2, 1), self.w)}
        self.send(Checkpoint(self.job.run, self.step, self.job.first, state))

    def end(self, state, why=""):
        self.flush()
        if state != "failed":
            self.checkpoint()
        self.keeper.keep(Status(self.job.run, state, self.step, why))
        self.keeper.close()
        return Ended(self.job.run, self.job.first, state, self.step, why, {"plain": self.step})

    def close(self):
        for m in self.gathered():
            self.keeper.keep(m)
        self.keeper.close()

    def vanish(self):
        """Its process is killed: the journal is let go as it is."""
        writer, self.keeper.writer = self.keeper.writer, None
        if writer is not None and writer.fd >= 0:
            os.close(writer.fd)
            writer.fd = -1


class Worker(pool.Worker):
    made: list[Worker] = []  # all of one test

    def __init__(self, *args):
        super().__init__(*args)
        self.inbox, self.outbox, self.training = [], [], None
        self.begun, self.unheard = [], []  # runs that it had jobs of, or would have had
        self.dead = self.told = self.trips = False
        self.frozen_at = None

    def __repr__(self):
        return f"worker {self.pid}"

    async def start(self):
        Worker.made.append(self)
        self.pid = len(Worker.made)
        self.outbox.append(Hello(0, {}))

    # --- what the service does ---

    def send(self, message):
        if not self.dead:
            self.inbox.append(decode(encode(message)))
        elif isinstance(message, Job):
            self.unheard.append(message.run)

    def silence(self):
        return 0.0 if self.frozen_at is None else self.loop.time() - self.frozen_at

    def kill(self, why=""):
        if not self.dead:
            self._killed = self._killed or why or "it was ended by signal 9"
            self.unheard += [m.run for m in self.inbox if isinstance(m, Job)]
            self.dead, self.inbox, self.frozen_at = True, [], None
            if self.training is not None:
                self.training.vanish()
            self.training = None

    async def close(self):
        self._closing = True
        if not self.dead:
            self.dead = True
            if self.training is not None:
                self.training.close()
            self.training = None
        self.hear(len(self.outbox))

    # --- what a test lets happen ---

    def hear(self, count):
        """The service gets what was said; then, if nothing more will come, the end of it."""
        for _ in range(count):
            if not self.outbox:
                break
            message = self.outbox.pop(0)
            if self.unanswered:
                self._answered(message)
            self.on_message(self, message)
        if self.dead and not self.outbox and not self.told:
            self.told = True
            self.on_end(self, "" if self._closing else self._killed or "it ended")

    def work(self):
        """One thing; whether there was any."""
        if self.dead or self.frozen_at is not None or not (self.inbox or self.training):
            return False
        if self.inbox:
            self._handle(self.inbox.pop(0))
        else:
            self._end(self.training.frame())
        return True

    def say(self, message):
        self.outbox.append(decode(encode(message)))

    def _end(self, ended):
        if ended is not None:
            self.training = None
            self.say(ended)

    def _handle(self, message):
        t = self.training
        match message:
            case Describe():
                self.say(Catalogue((CARD,), ("cpu",)))
            case Start():
                self.say(self._started(message))
            case Job():
                assert t is None, "a second job before the first has ended"
                self.training = Training(self, message)
                self.begun.append(message.run)
            case Control() if t is not None and t.job.run == message.run:
                if message.verb == "set":
                    new = Changed(
                        t.job.run, t.step, message.knob, float(message.value), t.job.first
                    )
                    t.changes.append(new)
                    t.send(new)
                elif message.verb == "checkpoint":
                    t.checkpoint()
                else:
                    self._end(t.end("paused" if message.verb == "pause" else "cancelled"))
            case Judge():
                read = sum(len(r.steps) for r in message.rows)
                self.say(
                    Judged(message.run, "all", "all were read", "holds", float(read), 0.0, 0.0, "", (),
                           interim=message.interim)
                )  # fmt: skip
                self.say(JudgedAll(message.run, message.interim))
            case Predict():
                self.say(Predicted(message.run, "w", "w", 0, np.zeros(1), np.zeros((1, 1))))
            case Quit():
                self.dead = True

    def _started(self, start):
        if start.values.get("width", 1) > 9:
            return Refused(start.run, "width lies outside [1, 9]")
        values = {k.name: k.default for k in KNOBS} | start.values
        widths = start.sweep.get("width", [values["width"]])
        members = {"seed": np.array([0, 1] * len(widths))}
        if start.sweep:
            members["width"] = np.repeat(np.array(widths), 2)
        return replace(
            BEGUN, run=start.run, values=values, sweep=start.sweep, members=members,
            stacks=tuple(range(0, 2 * len(widths), 2)), steps=int(values["steps"]),
            parent=start.parent, parent_step=start.parent_step,
        )  # fmt: skip


BEGUN = Started(
    "", NAME, {}, {}, {}, (), 0, "float64", "cpu", "", "", -1, {}, "2026-11-02T10:00:00Z"
)
