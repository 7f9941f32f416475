"""Pausing, resuming, stopping and changing runs: the service's answers to `Control`. No torch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from engine.messages import Card, Changed, Control, Message, Refused, Rewound, Start
from engine.running.crew import Crew
from engine.running.runs import ENDED, Run, StackState
from engine.spec import Value

STOP = 0.8  # seconds that a worker has to stop a run by itself


class Controls:
    """Mixed into the service."""

    on_message: Callable[[Message], None]
    runs: dict[str, Run]
    cards: dict[str, Card]
    crew: Crew
    queue: deque[tuple[str, int]]
    asked: dict[str, Start]
    early: dict[str, list[Control]]
    broken: str
    loop: asyncio.AbstractEventLoop
    _schedule: Callable[[], None]
    _report: Callable[[Run], None]

    def _control(self, control: Control) -> None:
        if control.run in self.asked:
            self.early.setdefault(control.run, []).append(control)  # once it has begun
            return
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
        alive = [s for s in run.stacks.values() if s.state not in ("done", "stopped")]
        if not alive:
            state = run.overall()[0]
            self.on_message(Refused(run.id, f"the run is {state}; there is nothing to resume"))
            return
        step = min(s.reached for s in alive)
        if self.broken:
            self.on_message(Refused(run.id, self.broken))
            return
        until = step + max(1, control.steps) if control.verb == "step" else -1
        open_stacks = [
            s
            for s in alive  # after a crash they may stand at different steps
            if s.state in ("paused", "cancelled", "failed") and (until < 0 or s.step < until)
        ]
        if not open_stacks and until >= 0 and run.wanted == "running":
            return  # it goes on already
        for s in alive:
            if s.state == "cancelled" and 0 <= until <= s.step:
                s.state = "paused"  # it is ahead, and waits for the others
                self._catch_up(run, s)
        run.wanted, run.until = "running", until
        run.resumed += 1
        if not open_stacks:
            return  # it was about to halt: when it does, it goes on
        for s in open_stacks:
            s.state, s.why = "queued", ""
            self._catch_up(run, s)
            self.queue.append((run.id, s.first))
        self._report(run)
        self._schedule()

    def _set(self, run: Run, control: Control) -> None:
        card = self.cards.get(run.started.experiment)
        knob = next((k for k in card.knobs if k.name == control.knob), None) if card else None
        try:
            if knob is None or not knob.hot or control.knob in run.started.sweep:
                raise ValueError(f"{control.knob} cannot change during this run")
            value = knob.check(control.value)
        except ValueError as e:
            self.on_message(Refused(run.id, str(e)))
            return
        self._tell(run, control)
        training = self.crew.jobs()
        for s in run.stacks.values():
            if (run.id, s.first) in training:
                told = s.sets.get(control.knob, (value, 0))[1]
                s.sets[control.knob] = value, told + 1
            elif s.state in ("paused", "queued"):
                self._change(run, s, control.knob, value)
            elif s.state in ("cancelled", "failed"):
                s.sets[control.knob] = value, 0  # if it goes on; until then what it measured stays

    def _catch_up(self, run: Run, stack: StackState) -> None:
        """A stack that no worker trains takes the values that it missed."""
        sets, stack.sets = stack.sets, {}
        for knob, (value, _) in sets.items():
            self._change(run, stack, knob, value)

    def _change(self, run: Run, stack: StackState, knob: str, value: Value) -> None:
        """For a stack that no worker trains: from where it stands."""
        self._changed(run, Changed(run.id, stack.step, knob, value, stack.first))

    def _changed(self, run: Run, change: Changed) -> None:
        """A knob has a new value: takes it and tells of it."""
        if run.change(change):
            self.on_message(Rewound(run.id, change.first, change.step))
        sets = run.stacks[change.first].sets
        if change.knob in sets:
            value, told = sets.pop(change.knob)
            if told > 1:
                sets[change.knob] = value, told - 1
        self.on_message(change)
