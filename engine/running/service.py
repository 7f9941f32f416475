"""The engine behind one object: pool, queue, stacks, judging, files. Asyncio, plain messages, no torch.

It runs on the desktop's loop and under `asyncio.run` in the command line alike. `send` never blocks. A pause ends
the stack's job with a checkpoint, so that a paused run holds no worker; a resume is a new job from there.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from engine import strangers
from engine.messages import (
    Allow,
    Card,
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
    Open,
    Opened,
    Predict,
    Predicted,
    Quit,
    Refused,
    Rows,
    Save,
    Saved,
    Start,
    Started,
    Status,
)
from engine.running.pool import Worker
from engine.running.runs import ENDED, Run, begin, copied_past, foreign, replayed
from engine.running.vetting import Vetting

JUDGE_EVERY = 0.7  # seconds between interim verdicts


class Service:
    def __init__(self, on_message: Callable[[Message], None], workers: int | None = None) -> None:
        self.on_message = on_message
        self.size = workers or max(2, min(8, (os.cpu_count() or 2)))
        self.workers: list[Worker] = []
        self.runs: dict[str, Run] = {}
        self.cards: dict[str, Card] = {}  # the catalogue's, and of what only files know
        self.foreign: dict[str, Card] = {}  # the latter
        self.own = Vetting()  # users' own experiments
        self.vetting: asyncio.Task[None] | None = None
        self.asked: dict[str, Start] = {}  # Starts that a worker is checking
        self.queue: deque[tuple[str, int]] = deque()
        self.waiting: list[Message] = []  # requests before the first worker is warm
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.deaths = 0
        self.broken = ""  # why nothing can be trained any more
        self.described = asyncio.Event()  # the catalogue has come, or never will
        self.loop: asyncio.AbstractEventLoop

    # --- life ---

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self._grow()

    async def close(self) -> None:
        self.closing = True
        self.described.set()
        self.own.close()
        for task in list(self.tasks):
            await asyncio.wait([task], timeout=30)
        await asyncio.gather(*(w.close() for w in self.workers))

    async def _grow(self) -> None:
        worker = Worker(self.loop, self._heard, self._lost)
        self.workers.append(worker)
        await worker.start()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self.tasks.add(task)

        def done(t: asyncio.Task[None]) -> None:
            self.tasks.discard(t)
            if not t.cancelled() and (e := t.exception()):
                self.on_message(Refused("", f"{type(e).__name__}: {e}"))

        task.add_done_callback(done)
        return task

    # --- requests ---

    def send(self, message: Message) -> None:
        """Takes Describe, Start, Control, Predict, Save, Open, Allow."""
        match message:
            case Allow():
                self._spawn(self._allow(message))
            case Save():
                self._spawn(self._save(message))
            case Open():
                self._spawn(self._open(message))
            case Control():
                self._control(message)
            case Start():
                self._start(message)
            case Describe():
                self.own.forget()  # who asks wants them looked at again
                self._serve(message)
            case Predict():
                self._serve(message)
            case _:
                self.on_message(Refused("", f"{type(message).__name__} is no request"))

    def _serve(self, message: Message) -> None:
        """To a worker with nothing to train if there is one, else to one that answers between its steps."""
        warm = [w for w in self.workers if w.warm]
        if not warm:
            self.waiting.append(message)
            return
        idle = [w for w in warm if w.job is None]
        (idle or warm)[-1].send(message)

    def _start(self, start: Start) -> None:
        if start.run in self.runs or start.run in self.asked or not start.run:
            self.on_message(
                Refused(start.run, f"run {start.run!r} is there already; ids are fresh")
            )
            return
        if start.parent:
            parent = self.runs.get(start.parent)
            at = [f for f, s in parent.checkpoints if s == start.parent_step] if parent else []
            if parent is None or set(at) != set(parent.stacks):
                steps = sorted({s for _, s in parent.checkpoints}) if parent else []
                self.on_message(
                    Refused(
                        start.run,
                        f"step {start.parent_step} of the run to branch from has no checkpoint; "
                        f"there are {', '.join(map(str, steps)) or 'none'}",
                    )
                )
                return
        self.asked[start.run] = start
        self._serve(start)

    def _control(self, control: Control) -> None:
        run = self.runs.get(control.run)
        if run is None:
            self.on_message(Refused(control.run, f"there is no run {control.run}"))
            return
        match control.verb:
            case "pause":
                run.wanted = "paused"
                self._tell(run, control)
                self._settle(run)
            case "cancel":
                run.wanted = "cancelled"
                self._tell(run, control)
                self._settle(run)
            case "resume" | "step":
                self._resume(run, control)
            case "set":
                self._set(run, control)
            case "checkpoint":
                self._tell(run, control)

    def _tell(self, run: Run, control: Control) -> None:
        for w in self.workers:
            if w.job and w.job[0] == run.id:
                w.send(control)

    def _settle(self, run: Run) -> None:
        """Stacks that no worker trains take the state that was asked for at once."""
        busy = {w.job for w in self.workers if w.job}
        for s in run.stacks.values():
            if (run.id, s.first) not in busy and s.state not in ENDED:
                s.state = run.wanted
        self.queue = deque(q for q in self.queue if q[0] != run.id)
        if not any(b[0] == run.id for b in busy):
            self._report(run)

    def _resume(self, run: Run, control: Control) -> None:
        open_stacks = [
            s for s in run.stacks.values() if s.state in ("paused", "cancelled", "failed")
        ]
        if not open_stacks:
            state = run.overall()[0]
            if state in ENDED:
                self.on_message(Refused(run.id, f"the run is {state}; there is nothing to resume"))
            return
        run.wanted = "running"
        run.until = run.overall()[1] + control.steps if control.verb == "step" else -1
        for s in open_stacks:
            s.state, s.why = "queued", ""
            self.queue.append((run.id, s.first))
        self._schedule()

    def _set(self, run: Run, control: Control) -> None:
        self._tell(run, control)
        if any(w.job and w.job[0] == run.id for w in self.workers):
            return
        card = self.cards.get(run.started.experiment)
        knob = next((k for k in card.knobs if k.name == control.knob), None) if card else None
        try:
            if knob is None or not knob.hot or control.knob in run.started.sweep:
                raise ValueError(f"{control.knob} cannot change during this run")
            value = knob.check(control.value)
        except ValueError as e:
            self.on_message(Refused(run.id, str(e)))
            return
        for s in run.stacks.values():
            if s.state == "paused":
                change = Changed(run.id, s.step, control.knob, value, s.first)
                run.take(change)
                self.on_message(change)

    # --- work ---

    def _schedule(self) -> None:
        idle = [w for w in self.workers if w.warm and w.job is None]
        while self.queue and idle:
            name, first = self.queue.popleft()
            run = self.runs.get(name)
            if run is None or run.wanted != "running":
                continue
            worker, stack = idle.pop(0), run.stacks[first]
            worker.job, stack.state = (name, first), "running"
            changes = tuple(c for c in run.changes if c.first == first)
            worker.send(
                Job(name, run.request(), first, stack.step, run.until, stack.arrays, changes)
            )
            self._status(run, "running", stack.step)
        growing = any(not w.warm for w in self.workers)
        wanted = self.queue or len(self.workers) == 1
        if wanted and not growing and len(self.workers) < self.size and not self.closing:
            self._spawn(self._grow())

    def _status(self, run: Run, state: Any, step: int, why: str = "", rate: float = 0.0) -> None:
        status = Status(run.id, state, step, why, rate, run.tiers())
        run.take(status)
        self.on_message(status)

    def _report(self, run: Run) -> None:
        state, step, why = run.overall()
        self._status(run, state, step, why)

    def _judge(self, run: Run, interim: bool) -> None:
        card = self.cards.get(run.started.experiment)
        if run.judging or not run.columns:
            return
        claims = {m for c in card.claims for m in c.metrics} if card else None
        if card and any(p.needs == "trace" for p in card.predictions):
            claims = None
        run.judging, run.judged_at, run.judged_rows = True, time.monotonic(), run.rows
        rows = run.trace_rows(claims)
        self._serve(Judge(run.id, run.request(), rows, tuple(run.changes), interim))

    # --- answers ---

    def _heard(self, worker: Worker, message: Message) -> None:
        match message:
            case Hello():
                self._warm(worker)
            case Catalogue():
                self._described(message)
            case Quit():
                worker.warm = False  # it ends on purpose, and goes on to say why
                self.deaths -= 1
            case Started():
                self._begin(message)
            case Ended():
                self._ended(worker, message)
            case JudgedAll():
                self._judged(message)
            case Refused():
                self.asked.pop(message.run, None)
                self.on_message(message)
            case Rows() | Predicted() | Judged() | Changed() | Checkpoint() | Status():
                self._of_run(message)
            case _:
                self.on_message(message)

    def _warm(self, worker: Worker) -> None:
        first = not any(w.warm for w in self.workers)
        worker.warm = True
        if first:
            worker.send(Describe())
            for m in self.waiting:
                worker.send(m)
            self.waiting = []
        self._schedule()

    def _begin(self, message: Started) -> None:
        start = self.asked.pop(message.run, None)
        if start is None:
            return
        run = self.runs[message.run] = begin(start, message)
        for c in start.changes:
            run.take(replace(c, run=run.id))
        self.on_message(message)
        parent = self.runs.get(start.parent)
        if parent is not None:
            for m in copied_past(parent, run.id, start.parent_step):
                run.take(m)
                self.on_message(m)
            for s in run.stacks.values():
                s.step, s.arrays = (
                    start.parent_step,
                    parent.checkpoints[(s.first, start.parent_step)],
                )
        if start.paused:
            run.wanted = "paused"
            for s in run.stacks.values():
                s.state = "paused"
            self._report(run)
            return
        self.queue.extend((run.id, f) for f in message.stacks)
        self._status(run, "queued", 0)
        self._schedule()

    def _of_run(self, message: Any) -> None:
        run = self.runs.get(message.run)
        if run is None:
            if isinstance(message, Predicted):
                self.on_message(message)  # the answer to a Predict
            return
        run.take(message)
        self.on_message(replace(message, arrays={}) if isinstance(message, Checkpoint) else message)
        due = time.monotonic() - run.judged_at > JUDGE_EVERY
        if isinstance(message, Rows) and run.rows > run.judged_rows and due:
            self._judge(run, interim=True)

    def _ended(self, worker: Worker, message: Ended) -> None:
        worker.job = None
        run = self.runs.get(message.run)
        if run is not None:
            stack = run.stacks[message.first]
            stack.state, stack.why = message.state, message.why
            stack.step = max(stack.step, message.step)
            for k, v in message.tiers.items():
                stack.tiers[k] = stack.tiers.get(k, 0) + v
            if message.state == "paused" and run.wanted == "running" and run.until < 0:
                stack.state = "queued"  # paused and resumed again before it came to a halt
                self.queue.append((run.id, stack.first))
            self._if_over(run)
        self._schedule()

    def _if_over(self, run: Run) -> None:
        state = run.overall()[0]
        if state in ("running", "queued"):
            return
        if state == "paused":
            self._report(run)
        if run.columns:
            run.judging = False
            self._judge(run, interim=state == "paused")
        else:
            self._report(run)

    def _judged(self, message: JudgedAll) -> None:
        run = self.runs.get(message.run)
        if run is None:
            return
        run.judging = False
        if not message.interim and run.overall()[0] in ENDED:
            self._report(run)

    def _lost(self, worker: Worker, why: str) -> None:
        """A worker's process is gone: its run says so, the others go on, a new one takes its place."""
        if worker in self.workers:
            self.workers.remove(worker)
        if self.closing:
            return
        if worker.job:
            run = self.runs.get(worker.job[0])
            if run is not None:
                stack = run.stacks[worker.job[1]]
                stack.state = "failed"
                stack.why = f"the process that trained it is gone ({why}); resume goes on from step {stack.step}"
                run.judging = False
                self._if_over(run)
        for run in self.runs.values():
            run.judging = False
        self.deaths += 1
        if self.deaths <= 5:
            self._spawn(self._grow())
        else:
            self.broken = f"worker processes keep ending ({why}); restart Lemmascope to train again"
            self.described.set()
            self.on_message(Refused("", self.broken))

    # --- users' own experiments ---

    async def _allow(self, message: Allow) -> None:
        self.own.forget(message.path)
        try:
            await asyncio.to_thread(strangers.decide, message.path, message.sha256)
        except ValueError as e:
            self.on_message(Refused("", str(e)))
        self._serve(Describe())

    def _described(self, message: Catalogue) -> None:
        """Said at once with what is known of users' own experiments, and again when the rest of them is."""
        message = self.own.merged(message)
        self.cards = self.foreign | {c.name: c for c in message.cards}
        self.described.set()
        self.on_message(message)
        if self.own.missing(message) and self.vetting is None and not self.closing:
            self.vetting = self._spawn(self._vet(message))

    async def _vet(self, message: Catalogue) -> None:
        try:
            await asyncio.to_thread(self.own.run, self.own.missing(message))
        finally:
            self.vetting = None
        if not self.closing:
            self._serve(Describe())

    # --- files ---

    async def _save(self, save: Save) -> None:
        from engine.sessions import saver

        chosen = [self.runs[r] for r in save.runs if r in self.runs]
        if missing := [r for r in save.runs if r not in self.runs]:
            self.on_message(Saved(save.path, f"there is no run {', '.join(missing)}"))
            return
        streams = [run.messages() for run in chosen]
        cards = {r.started.experiment: self.cards[r.started.experiment] for r in chosen
                 if r.started.experiment in self.cards}  # fmt: skip
        try:
            await self.loop.run_in_executor(
                None, lambda: saver.save(save.path, streams, save.notes, save.layout, cards)
            )
        except (OSError, ValueError) as e:
            self.on_message(Saved(save.path, str(e)))
        else:
            self.on_message(Saved(save.path))

    async def _open(self, request: Open) -> None:
        from engine.sessions import loader

        try:
            session = await self.loop.run_in_executor(None, lambda: loader.load(request.path))
            fresh = [replayed(ms, uuid.uuid4().hex[:12]) for ms in session.runs]
        except (OSError, ValueError) as e:
            self.on_message(Opened(request.path, (), why=str(e)))
            return
        await self.described.wait()  # a file may be opened before the first worker is warm
        if self.vetting is not None:
            await asyncio.wait([self.vetting])  # only then is it known what is installed
        for name, card in session.cards.items():
            if name not in self.cards:
                self.on_message(
                    Refused(
                        "", f"{name} is not installed here: its curves are shown, it cannot be run"
                    )
                )
                self.cards[name] = self.foreign[name] = card
        whys = []
        for run in fresh:
            if problem := foreign(run, self.cards.get(run.started.experiment)):
                whys.append(problem)
            self.runs[run.id] = run
            for m in run.messages():
                self.on_message(replace(m, arrays={}) if isinstance(m, Checkpoint) else m)
        ids = tuple(r.id for r in fresh)
        unknown = tuple(card for name, card in session.cards.items() if name in self.foreign)
        why = "; ".join(whys)
        self.on_message(
            Opened(request.path, ids, session.notes, session.layout, why, cards=unknown)
        )
