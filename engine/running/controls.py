"""Pausing, resuming, stopping and changing runs: the service's answers to `Control`. No torch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from engine.messages import Card, Changed, Control, Message, Refused
from engine.running.crew import Crew
from engine.running.runs import ENDED, Run

STOP = 0.8  # seconds that a worker has to stop a run by itself


class Controls:
    """Mixed into the service."""

    on_message: Callable[[Message], None]
    runs: dict[str, Run]
    cards: dict[str, Card]
    crew: Crew
    queue: deque[tuple[str, int]]
    loop: asyncio.AbstractEventLoop
    broken: str
    _schedule: Callable[[], None]
    _report: Callable[[Run], None]

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
                self.loop.call_later(STOP, self._insist, run, run.resumed)
            case "resume" | "step":
                self._resume(run, control)
            case "set":
                self._set(run, control)
            case "checkpoint":
                self._tell(run, control)

    def _tell(self, run: Run, control: Control) -> None:
        for w in self.crew.of(run.id):
            w.send(control)

    def _insist(self, run: Run, resumed: int) -> None:
        """Who has not stopped by itself is ended: a long step, or one that never comes back."""
        if run.wanted == "cancelled" and run.resumed == resumed:
            for w in self.crew.of(run.id):
                w.excused = w.stopped = True
                w.kill("it was stopped")

    def _settle(self, run: Run) -> None:
        """Stacks that no worker trains take the state that was asked for at once."""
        busy = self.crew.jobs()
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
        # one that has yet to come to the halt that was asked for goes on from there
        halting = run.wanted != "running" and control.verb == "resume" and self.crew.of(run.id)
        if not open_stacks and not halting:
            state = run.overall()[0]
            if state in ENDED:
                self.on_message(Refused(run.id, f"the run is {state}; there is nothing to resume"))
            return
        if self.broken:
            self.on_message(Refused(run.id, self.broken))
            return
        run.wanted = "running"
        run.resumed += 1
        run.until = run.overall()[1] + control.steps if control.verb == "step" else -1
        for s in open_stacks:
            if 0 <= run.until <= s.step:
                continue  # after a crash stacks may stand at different steps
            s.state, s.why = "queued", ""
            self.queue.append((run.id, s.first))
        self._report(run)
        self._schedule()

    def _set(self, run: Run, control: Control) -> None:
        self._tell(run, control)
        busy = self.crew.jobs()
        waiting = [
            s
            for s in run.stacks.values()
            if s.state in ("paused", "queued") and (run.id, s.first) not in busy
        ]
        trained = bool(self.crew.of(run.id))
        if trained and not waiting:
            return
        card = self.cards.get(run.started.experiment)
        knob = next((k for k in card.knobs if k.name == control.knob), None) if card else None
        try:
            if knob is None or not knob.hot or control.knob in run.started.sweep:
                raise ValueError(f"{control.knob} cannot change during this run")
            value = knob.check(control.value)
        except ValueError as e:
            if not trained:  # else its worker says so
                self.on_message(Refused(run.id, str(e)))
            return
        for s in waiting:
            change = Changed(run.id, s.step, control.knob, value, s.first)
            run.change(change)
            self.on_message(change)
