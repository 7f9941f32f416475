"""What is asked of the engine without regard to the controls: steps, branches, files, recovery, users' own experiments. No Qt."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Protocol

from desktop.runs import ACTIVE, OVER, Run
from desktop.store import Store
from desktop.values import branch_of
from engine.messages import Allow, Control, Describe, Discard, Forget, Message, Open, Save


class Sender(Protocol):
    def send(self, message: Message) -> None: ...


class Requests:
    """Mixed into the lab."""

    store: Store
    link: Sender

    def describe(self) -> None:
        self.link.send(Describe())

    def resume(self, run_id: str) -> None:
        """Goes on with a run that failed or was paused."""
        if run_id in self.store.runs:
            self.store.select(run_id)
            self.link.send(Control(run_id, "resume"))

    def stop(self, run_id: str) -> None:
        self.link.send(Control(run_id, "cancel"))

    def step(self, steps: int) -> None:
        run = self.store.run()
        if run is None or run.state in ("done", "stopped"):
            return
        if run.state in ACTIVE:
            self.link.send(Control(run.id, "pause"))
        else:
            self.link.send(Control(run.id, "step", steps=steps))

    def cancel(self) -> None:
        run = self.store.run()
        if run is not None and run.state not in OVER:
            self.link.send(Control(run.id, "cancel"))

    def branch(self, run_id: str, at: float | None) -> None:
        """A new run from the checkpoint at or before a step; the parent stays as a ghost."""
        run = self.store.runs.get(run_id)
        steps = run.full_checkpoints() if run else []
        if run is None or not steps:
            self.store.notice.emit("info", "There is no checkpoint to branch from yet.")
            return
        self._branch(run, max([s for s in steps if at is None or s <= at], default=steps[0]))

    def _branch(self, run: Run, step: int, device: str = "", paused: bool = True) -> None:
        start = branch_of(run, step, uuid.uuid4().hex[:12])
        start = replace(start, device=device or start.device, paused=paused)
        if run.state not in OVER:
            self.link.send(Control(run.id, "pause"))
        self.store.ghost_quietly(run.id)
        branch = self.store.request(start)
        branch.label = f"{run.shown_name} from step {step}"
        self.store.set_modified(True)
        self.store.select(start.run)
        self.link.send(start)

    def delete(self, run_id: str) -> None:
        """Out of the list; what still trains stops."""
        run = self.store.runs.get(run_id)
        if run is not None and run.state in ACTIVE:
            self.link.send(Control(run_id, "pause"))
        self.store.delete(run_id)

    def forget(self, run_id: str) -> None:
        """It can no longer be undone: the engine need not keep it either."""
        self.link.send(Forget(run_id))

    def recover(self, journal: str) -> None:
        """Shows what a crash left."""
        self.link.send(Open(journal))

    def disown(self, journal: str) -> None:
        """What a crash left is not wanted."""
        self.link.send(Discard(journal))
        self.store.disown(journal)

    def allow(self, path: str, sha256: str) -> None:
        """The person read what it means; an empty hash withdraws it."""
        self.link.send(Allow(path, sha256))

    def open_path(self, path: str) -> None:
        self.link.send(Open(path))

    def save(self, path: str, layout: str, notes: str = "", overwrite: bool = False) -> None:
        runs = tuple(r.id for r in self.store.runs.values() if r.started and r.experiment)
        if not runs:
            self.store.notice.emit("info", "There is no run to save yet.")
            return
        self.link.send(Save(path, runs, notes, layout, overwrite))
