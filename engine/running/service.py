"""The engine behind one object: pool, queue, stacks, judging, files. Asyncio, plain messages, no torch.

It runs on the desktop's loop and under `asyncio.run` in the command line alike. `send` never blocks. A pause ends
the stack's job with a checkpoint, so that a paused run holds no worker; a resume is a new job from there.
"""

from __future__ import annotations

import asyncio
import time
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
    Discard,
    Ended,
    Forget,
    Hello,
    Job,
    Judge,
    Judged,
    JudgedAll,
    Message,
    Open,
    Predict,
    Predicted,
    Quit,
    Refused,
    Rows,
    Save,
    Start,
    Started,
    Status,
    Thinned,
)
from engine.running.controls import Controls
from engine.running.crew import Crew
from engine.running.deaths import Deaths
from engine.running.files import Files
from engine.running.pool import Worker
from engine.running.runs import Run, begin, copied_past, unlike
from engine.running.vetting import Vetting

JUDGE_EVERY = 0.7  # seconds between interim verdicts …
JUDGE_SHARE = 10  # … or so many times what the last one took


class Service(Controls, Deaths):
    """`keep`: runs have journals, and what a crash left is offered."""

    def __init__(
        self,
        on_message: Callable[[Message], None],
        workers: int | None = None,
        keep: bool = True,
    ) -> None:
        self.on_message = on_message
        self.files = Files(self, keep)
        self.crew = Crew(workers or 0, self.spawn, self._heard, self._lost, self._silent)
        self.runs: dict[str, Run] = {}
        self.cards: dict[str, Card] = {}  # the catalogue's, and of what only files know
        self.foreign: dict[str, Card] = {}  # the latter
        self.own = Vetting()  # users' own experiments
        self.vetting: asyncio.Task[None] | None = None
        self.asked: dict[str, Start] = {}  # Starts that a worker is checking
        self.early: dict[str, list[Control]] = {}  # what was said of them meanwhile
        self.unwanted: set[str] = set()  # runs that go as soon as no worker trains them
        self.queue: deque[tuple[str, int]] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.repeated: list[Message] = []  # what a worker died over
        self.closing = False
        self.broken = ""  # why nothing can be trained any more
        self.described = asyncio.Event()  # the catalogue has come, or never will
        self.loop: asyncio.AbstractEventLoop

    # --- life ---

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        if self.closing:
            return
        self.spawn(self.files.look())
        await self.crew.start()

    async def close(self, discard: bool = True) -> None:
        """`discard`: what is not saved is not wanted; else it is offered at the next start."""
        self.closing = self.crew.closing = True
        self.described.set()
        self.own.close()
        end = time.monotonic() + 30
        while self.tasks and (left := end - time.monotonic()) > 0:
            await asyncio.wait(list(self.tasks), timeout=left)
        await self.crew.close()
        await asyncio.get_running_loop().run_in_executor(None, self.files.close, discard)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
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
        """Takes Describe, Start, Control, Predict, Save, Open, Discard, Forget, Allow."""
        if self.broken and not self.crew.all and isinstance(message, (Start, Predict, Describe)):
            self.on_message(Refused(getattr(message, "run", ""), self.broken))
            return
        match message:
            case Forget():
                self._forget(message.run)
            case Allow():
                self.spawn(self._allow(message))
            case Save():
                self.spawn(self.files.save(message))
            case Open():
                self.spawn(self.files.open(message))
            case Discard():
                self.spawn(self.files.discard(message.path))
            case Control():
                self._control(message)
            case Start():
                self._start(message)
            case Describe():
                self.own.forget()  # who asks wants them looked at again
                self.crew.ask(message)
            case Predict():
                self.crew.ask(message)
            case _:
                self.on_message(Refused("", f"{type(message).__name__} is no request"))

    def _start(self, start: Start) -> None:
        if start.run in self.runs or start.run in self.asked or not start.run:
            self.on_message(
                Refused(start.run, f"run {start.run!r} is there already; ids are fresh")
            )
            return
        if self.broken:
            self.on_message(Refused(start.run, self.broken))
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
            parent.named.add(start.parent_step)
        self.asked[start.run] = start
        self.crew.ask(start)

    def _forget(self, name: str) -> None:
        self.asked.pop(name, None)
        self.early.pop(name, None)
        if name in self.runs:
            self.unwanted.add(name)
            self._control(Control(name, "cancel"))
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Nothing is kept of an unwanted run that no worker trains."""
        if name in self.unwanted and not self.crew.of(name):
            self.unwanted.discard(name)
            del self.runs[name]
            self.spawn(self.files.forget(name))

    # --- work ---

    def _schedule(self) -> None:
        idle = self.crew.idle()
        while self.queue and idle:
            name, first = self.queue.popleft()
            run = self.runs.get(name)
            if run is None or run.wanted != "running":
                continue
            worker, stack = idle.pop(0), run.stacks[first]
            worker.job, stack.state = (name, first), "running"
            changes = tuple(c for c in run.changes if c.first == first)
            place = self.files.journal(run)
            worker.send(
                Job(
                    name, run.request(), first, stack.step, run.until, stack.arrays, changes,
                    run.started, place,
                )
            )  # fmt: skip
            self._status(run, "running", stack.step)
        self.crew.grow_for(bool(self.queue))

    def _status(self, run: Run, state: Any, step: int, why: str = "", rate: float = 0.0) -> None:
        status = Status(run.id, state, step, why, rate, run.tiers())
        run.take(status)
        self.on_message(status)

    def _report(self, run: Run) -> None:
        state, step, why = run.overall()
        self._status(run, state, step, why)

    def judge(self, run: Run, interim: bool) -> None:
        card = self.cards.get(run.started.experiment)
        if run.judging or not run.columns:
            return
        if self.broken:
            if not interim:
                self._report(run)
            return
        claims = {m for c in card.claims for m in c.metrics} if card else None
        if card and any(p.needs == "trace" for p in card.predictions):
            claims = None
        run.judging, run.judged_at, run.judged_rows = True, time.monotonic(), run.rows
        rows = run.trace_rows(claims)
        self.crew.ask(Judge(run.id, run.request(), rows, tuple(run.changes), interim))

    # --- answers ---

    def _heard(self, worker: Worker, message: Message) -> None:
        match message:
            case Hello():
                self._warm(worker)
            case Catalogue():
                self._described(message)
            case Quit():
                worker.warm = False  # it ends on purpose, and goes on to say why
                worker.excused = True
            case Started():
                self._begin(message)
            case Ended():
                self._ended(worker, message)
            case JudgedAll():
                self._judged(message)
            case Refused():
                self.asked.pop(message.run, None)
                self.early.pop(message.run, None)
                self.on_message(message)
            case Rows() | Predicted() | Judged() | Changed() | Checkpoint() | Status():
                self._of_run(message)
            case _:
                self.on_message(message)

    def _warm(self, worker: Worker) -> None:
        if not any(w.warm for w in self.crew.all):
            worker.ask(Describe())
        self.crew.warm(worker)
        self._schedule()

    def _begin(self, message: Started) -> None:
        start = self.asked.pop(message.run, None)
        if start is None:
            return
        if start.parent and (why := unlike(self.runs.get(start.parent), message)):
            self.early.pop(message.run, None)
            self.on_message(Refused(message.run, why))
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
            run.changes.sort(key=lambda c: c.step)
            for s in run.stacks.values():
                s.step = s.reached = start.parent_step
                kept = parent.checkpoints[(s.first, start.parent_step)]
                from_here = Checkpoint(run.id, start.parent_step, s.first, kept)
                run.take(from_here)  # whatever it is saved in, it can go on from there
                self.on_message(replace(from_here, arrays={}))
        if start.paused:
            run.wanted = "paused"
            for s in run.stacks.values():
                s.state = "paused"
        else:
            self.queue.extend((run.id, f) for f in message.stacks)
        self._report(run)
        for control in self.early.pop(run.id, ()):
            self._control(control)
        self._schedule()

    def _of_run(self, message: Any) -> None:
        run = self.runs.get(message.run)
        if run is None:
            if isinstance(message, Predicted):
                self.on_message(message)  # the answer to a Predict
            return
        if isinstance(message, Judged) and message.interim and run.over():
            return  # it comes too late: the last word is there, or on its way
        if isinstance(message, Changed):
            self._changed(run, message)
            return
        run.take(message)
        self.on_message(replace(message, arrays={}) if isinstance(message, Checkpoint) else message)
        if isinstance(message, Checkpoint) and (steps := run.thin(message.first)):
            self.on_message(Thinned(run.id, steps))
        pause = max(JUDGE_EVERY, JUDGE_SHARE * run.judged_in)
        due = time.monotonic() - run.judged_at > pause
        if isinstance(message, Rows) and run.rows > run.judged_rows and due:
            self.judge(run, interim=True)

    def _ended(self, worker: Worker, message: Ended) -> None:
        worker.job = None
        self.crew.deaths = 0  # processes that come to an end of their work are sound
        run = self.runs.get(message.run)
        if run is not None:
            stack = run.stacks[message.first]
            halted = message.state in ("paused", "cancelled")
            stack.state = run.wanted if halted and run.wanted != "running" else message.state
            stack.why = message.why
            stack.reached = max(stack.reached, message.step)
            for k, v in message.tiers.items():
                stack.tiers[k] = stack.tiers.get(k, 0) + v
            if halted and run.wanted == "running":  # resumed again before it came to a halt
                stack.state = "paused" if 0 <= run.until <= message.step else "queued"
                if stack.state == "queued":
                    self.queue.append((run.id, stack.first))
            if stack.state in ("paused", "queued"):  # what came when it had just halted
                self._catch_up(run, stack)
            elif stack.state in ("done", "stopped"):
                stack.sets = {}
            self._if_over(run)
            self._drop(run.id)
        self._schedule()

    def _if_over(self, run: Run) -> None:
        state = run.overall()[0]
        if run.going():
            if any(s.state == "failed" for s in run.stacks.values()):
                self._report(run)  # why, at once; it has failed when the other stacks are through
            return
        if state in (
            "paused",
            "cancelled",
            "failed",
        ):  # said at once; what ran to its end waits to be judged
            self._report(run)
        if run.columns:
            run.judging = False
            self.judge(run, interim=state == "paused")
        else:
            self._report(run)

    def _judged(self, message: JudgedAll) -> None:
        run = self.runs.get(message.run)
        if run is None:
            return
        run.judging, run.judged_in = False, message.seconds
        if not message.interim and run.over():
            self._report(run)

    # --- users' own experiments ---

    async def _allow(self, message: Allow) -> None:
        self.own.forget(message.path)
        try:
            await asyncio.to_thread(strangers.decide, message.path, message.sha256)
        except ValueError as e:
            self.on_message(Refused("", str(e)))
        self.crew.ask(Describe())

    def _described(self, message: Catalogue) -> None:
        """Said at once with what is known of users' own experiments, and again when the rest of them is."""
        message = self.own.merged(message)
        self.cards = self.foreign | {c.name: c for c in message.cards}
        self.described.set()
        self.on_message(message)
        if self.own.missing(message) and self.vetting is None and not self.closing:
            self.vetting = self.spawn(self._vet(message))

    async def _vet(self, message: Catalogue) -> None:
        try:
            await asyncio.to_thread(self.own.run, self.own.missing(message))
        finally:
            self.vetting = None
        if not self.closing:
            self.crew.ask(Describe())
