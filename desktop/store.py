"""The runs as the desktop knows them: applies the engine's messages in any order and says what changed. No widgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from desktop import arranging
from desktop.run_list import RunList
from desktop.runs import ACTIVE, OVER, Role, Run
from desktop.traces import Column
from engine.messages import (
    Card,
    Catalogue,
    Changed,
    Checkpoint,
    Judged,
    Message,
    Opened,
    Orphaned,
    Predicted,
    Refused,
    Rewound,
    Rows,
    Saved,
    Started,
    Status,
    Stranger,
    Thinned,
)
from engine.spec import Value

__all__ = ["ACTIVE", "OVER", "Role", "Run", "Store"]


class Store(RunList):
    catalogue_changed = Signal()
    draft_changed = Signal()  # theory for values that are not running
    notice = Signal(str, str)  # "error" | "info", one sentence
    trouble = Signal(str, str)  # a run that failed or does not answer, and one sentence; said once
    orphans_changed = Signal()
    opened = Signal(object)  # Opened
    saved = Signal(object)  # Saved

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.devices: tuple[str, ...] = ("cpu",)
        self.problems: tuple[str, ...] = ()
        self.strangers: tuple[Stranger, ...] = ()
        self.foreign: dict[str, Card] = {}  # of experiments that are not installed: no training
        self.orphans: dict[
            str, Orphaned
        ] = {}  # by the journal's path, as long as they are on offer
        self.draft: dict[tuple[str, int], Predicted] = {}
        self.draft_sweep: dict[str, list[Value]] = {}  # of the values that it was asked for
        self.path = ""
        self.held = ""  # who has the session open already; it cannot be saved under its name
        self._draft_ticket = -1

    # --- messages ---

    def apply(self, message: Message) -> None:
        """Takes any message of the engine; what is nonsense becomes a notice, never an exception."""
        try:
            self._apply(message)
        except (ValueError, KeyError, IndexError, TypeError) as e:
            self.notice.emit("error", f"A message could not be understood: {e}")

    def _apply(self, message: Message) -> None:
        match message:
            case Catalogue():
                self._catalogue(message)
            case Orphaned():
                self.orphans[message.path] = message
                self.orphans_changed.emit()
            case Started():
                self._started(message)
            case Rows():
                self._rows(message)
            case Predicted():
                self._predicted(message)
            case Judged():
                self._of(message.run).judged[message.claim] = message
                self._say(message.run, "verdict")
            case Changed():
                run = self._of(message.run)
                if run.change(message):
                    self._rename()
                    self._say(message.run, "events")
            case Rewound():
                self._of(message.run).rewind(message.first, message.step)
                self._say(message.run, "rows")
                self._say(message.run, "events")
            case Checkpoint():
                self._of(message.run).checkpoints.add((message.first, message.step))
                self._say(message.run, "checkpoint")
            case Thinned():
                run = self._of(message.run)
                run.checkpoints -= {(f, s) for f in run.stacks for s in message.steps}
                self._say(message.run, "checkpoint")
            case Status():
                self._status(message)
            case Refused():
                self._refused(message)
            case Saved():
                self._saved(message)
            case Opened():
                self._opened(message)

    def _catalogue(self, m: Catalogue) -> None:
        """What is installed; a card that is as it was stays the same object."""
        known = {c.name: self.cards[c.name] if self.cards.get(c.name) == c else c for c in m.cards}
        used = {r.experiment for r in self.runs.values()}
        lost = {n: c for n, c in self.cards.items() if n not in known and n in used}
        self.foreign = {n: c for n, c in (self.foreign | lost).items() if n not in known}
        self.cards = known | self.foreign
        self.devices, self.strangers = m.devices, m.strangers
        fresh, self.problems = [p for p in m.problems if p not in self.problems], m.problems
        self._rename()
        self.catalogue_changed.emit()
        for p in fresh:
            self.notice.emit("error", p)

    def _started(self, m: Started) -> None:
        run = self._of(m.run)
        known = bool(run.experiment)
        run.experiment, run.values, run.sweep = m.experiment, dict(m.values), dict(m.sweep)
        run.members, run.choices, run.stacks = m.members, m.choices, m.stacks
        run.seeds = len(np.unique(m.members["seed"])) if "seed" in m.members else 1
        run.steps, run.dtype, run.device, run.preset = m.steps, m.dtype, m.device, m.preset
        run.environment, run.started = m.environment, True
        if m.run not in self.runs:
            return
        if not known:
            run.opened = True  # nobody here asked for it
            run.colour = self._free_colour(run)
            self._rename(new=run.id)
            self.run_added.emit(run.id)
        else:
            self._rename()
        self._say(run.id, "started")

    def _rows(self, m: Rows) -> None:
        run = self._of(m.run)
        column = run.columns.get((m.metric, m.first))
        if column is None:
            run.columns[(m.metric, m.first)] = Column(m)
        else:
            column.add(m)
        self._say(m.run, "rows")

    def _predicted(self, m: Predicted) -> None:
        if m.run.startswith("?"):
            ticket = int(m.run[1:])
            if ticket < self._draft_ticket:
                return
            if ticket > self._draft_ticket:
                self._draft_ticket, self.draft = ticket, {}
            self.draft[(m.prediction, m.first)] = m
            self.draft_changed.emit()
            return
        self._of(m.run).predicted[(m.prediction, m.first)] = m
        self._say(m.run, "theory")

    def _status(self, m: Status) -> None:
        run = self._of(m.run)
        fresh = m.why and (run.state, run.why) != (m.state, m.why) and m.run in self.runs
        run.state, run.why, run.rate = m.state, m.why, m.rate
        run.step = max(run.step, m.step)
        self._say(m.run, "state")
        if fresh and m.state == "failed":
            self.trouble.emit(m.run, f"{run.shown_name or 'A run'} failed: {m.why}")
        elif fresh and m.state in ACTIVE:
            self.trouble.emit(m.run, f"{run.shown_name or 'A run'}: {m.why}")

    def _refused(self, m: Refused) -> None:
        if m.run.startswith("?"):
            self.clear_draft()  # the slider stands where no theory speaks; the knob says why
            return
        run = self.runs.get(m.run)
        if run is not None and not run.started:
            self._drop(run.id)
        self.notice.emit("error", m.why)

    def _saved(self, m: Saved) -> None:
        if not m.why:
            self.path, self.held = m.path, ""
            for run in self.runs.values():
                if run.id in m.runs:  # and not what was recovered while it was being saved
                    run.recovered = ""
            self.orphans_changed.emit()
            self.set_modified(bool(self.recovered()))
        self.saved.emit(m)

    def _opened(self, m: Opened) -> None:
        journal = m.path in self.orphans
        if m.why:
            self.notice.emit("error", m.why if m.runs else f"Not opened: {m.why}")
        if m.notice:
            self.notice.emit("info", m.notice)
        if m.cards:
            self.foreign |= {c.name: c for c in m.cards if c.name not in self.cards}
            self.cards |= self.foreign
            self._rename()
            self.catalogue_changed.emit()
        if journal:
            self._recovered(m)
        elif m.runs:
            self.path, self.held = m.path, m.held
        changed, first = arranging.arrange(self, m)
        for run in changed:
            self._say(run, "look")
        if first:
            self.select(first)
        self.opened.emit(m)

    def _recovered(self, m: Opened) -> None:
        """Runs that a crash left: shown, and unsaved until they are saved."""
        here = [self.runs[r] for r in m.runs if r in self.runs]
        for run in here:
            run.recovered = m.path
            self._say(run.id, "look")
        if here:
            del self.orphans[m.path]
            self.set_modified(True)
        self.orphans_changed.emit()

    def recovered(self) -> dict[str, list[Run]]:
        """Runs read out of journals and not yet saved, by journal."""
        out: dict[str, list[Run]] = {}
        for run in self.runs.values():
            if run.recovered:
                out.setdefault(run.recovered, []).append(run)
        return out

    def disown(self, journal: str) -> None:
        """A journal that is not wanted: it is off the list, and so are the runs that were read out of it."""
        for run in self.recovered().get(journal, []):
            self.discard(run.id)
        self.orphans.pop(journal, None)
        self.orphans_changed.emit()

    def forget_drafts(self, upto: int) -> None:
        """Theory that was asked for up to this ticket comes too late: something truer is there."""
        self._draft_ticket = max(self._draft_ticket, upto + 1)
        self.clear_draft()

    def clear_draft(self) -> None:
        if self.draft:
            self.draft = {}
            self.draft_changed.emit()

    # --- what a session remembers ---

    def layout(self, runs: Iterable[str]) -> dict[str, Any]:
        """What the session file remembers of how runs were shown, in their order."""
        return arranging.layout(self, runs)
