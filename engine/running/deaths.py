"""Workers that say nothing more: what becomes of their run and of what they were asked. No torch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from engine.messages import Control, Judge, Message, Refused, Start
from engine.running.crew import DEAD, Crew
from engine.running.pool import Worker
from engine.running.runs import Run, StackState


class Deaths:
    """Mixed into the service."""

    on_message: Callable[[Message], None]
    runs: dict[str, Run]
    crew: Crew
    queue: deque[tuple[str, int]]
    asked: dict[str, Start]
    early: dict[str, list[Control]]
    repeated: list[Message]  # what a worker died over and another was asked
    broken: str
    described: asyncio.Event
    _schedule: Callable[[], None]
    _report: Callable[[Run], None]
    _if_over: Callable[[Run], None]
    _catch_up: Callable[[Run, StackState], None]
    _drop: Callable[[str], None]

    def _silent(self, worker: Worker, seconds: float) -> None:
        if worker.job:
            run, what, stop = worker.job[0], "trains this", "Stop ends it now, "
        else:
            run, what, stop = "", "waits for work", ""
        why = f"the process that {what} has not answered for {seconds:.0f} s: {stop}after {DEAD:g} s it is ended by itself"
        self.on_message(Refused(run, why))

    def _lost(self, worker: Worker, why: str) -> None:
        """A worker's process is gone: its run says so, the others go on, and what it was asked another is."""
        if self.crew.hopeless and not self.crew.all:
            self.broken = f"worker processes keep ending ({why}); restart Lemmascope to train again"
        else:
            open_still = [m for w in (worker, *self.crew.all) for m in w.unanswered]
            open_still += self.crew.waiting
            self.repeated = [m for m in self.repeated if any(m is o for o in open_still)]
            for message in worker.unanswered:
                self._ask_again(message)
        if worker.job and (run := self.runs.get(worker.job[0])) is not None:
            stack = run.stacks[worker.job[1]]
            if worker.stopped and run.wanted == "running":
                stack.state = "queued"  # resumed again before it was gone
                self.queue.append((run.id, stack.first))
            elif worker.stopped or run.wanted == "cancelled":  # because a person wanted it
                stack.state = "cancelled"
            else:
                stack.state = "failed"
                stack.why = f"the process that trained it is gone ({why}); resume goes on from step {stack.step}"
            if stack.state == "queued":
                self._catch_up(run, stack)
            run.judging = False
            self._if_over(run)
            self._drop(run.id)
        if self.broken:
            self._give_up()
        else:
            self._schedule()

    def _give_up(self) -> None:
        """No worker will come any more: whoever waits for one is told."""
        self.described.set()
        for start in list(self.asked.values()):
            self.on_message(Refused(start.run, self.broken))
        self.asked.clear()
        self.early.clear()
        self.queue.clear()
        for run in self.runs.values():
            waiting = [s for s in run.stacks.values() if s.state == "queued"]
            for s in waiting:
                s.state, s.why = "failed", self.broken
            if waiting or (run.judging and run.over()):
                run.judging = False
                self._report(run)
        self.on_message(Refused("", self.broken))

    def _ask_again(self, message: Message) -> None:
        """A second time, not a third: it may be what processes die of."""
        again = not any(m is message for m in self.repeated)
        self.repeated.append(message)
        run = self.runs.get(getattr(message, "run", ""))
        if isinstance(message, Judge) and run is not None:
            run.judging = False
            if message.interim or not run.over():
                return  # what is measured next is judged
            if again:
                run.judging = True
                self.crew.ask(message)
            else:
                self._report(run)
        elif again:
            self.crew.ask(message)
        elif isinstance(message, Start):
            self.asked.pop(message.run, None)
            self.early.pop(message.run, None)
            self.on_message(Refused(message.run, "the process that was to begin it died, twice"))
