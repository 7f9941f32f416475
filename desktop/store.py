"""The runs as the desktop knows them: applies messages in any order and says what changed. No widgets.

run_changed(run, what) with what among: "rows", "theory", "verdict", "state", "events", "started", "look", "name".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from desktop import arranging
from desktop.history import History
from desktop.naming import names
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
    Rows,
    Saved,
    Start,
    Started,
    Status,
    Stranger,
)
from engine.spec import Value

__all__ = ["ACTIVE", "OVER", "Role", "Run", "Store"]


class Store(QObject):
    run_added = Signal(str)
    run_changed = Signal(str, str)
    run_removed = Signal(str)
    current_changed = Signal(str)
    catalogue_changed = Signal()
    draft_changed = Signal()  # theory for values that are not running
    modified_changed = Signal(bool)
    notice = Signal(str, str)  # "error" | "info", one sentence
    trouble = Signal(str, str)  # a run that failed or does not answer, and one sentence; said once
    orphans_changed = Signal()
    opened = Signal(object)  # Opened
    saved = Signal(object)  # Saved

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history = History(self)
        self.runs: dict[str, Run] = {}
        self.cards: dict[str, Card] = {}
        self.devices: tuple[str, ...] = ("cpu",)
        self.problems: tuple[str, ...] = ()
        self.strangers: tuple[Stranger, ...] = ()
        self.foreign: dict[str, Card] = {}  # of experiments that are not installed: no training
        self.orphans: dict[
            str, Orphaned
        ] = {}  # by the journal's path, as long as they are on offer
        self.current = ""
        self.solo = ""
        self.draft: dict[tuple[str, int], Predicted] = {}
        self.draft_sweep: dict[str, list[Value]] = {}  # of the values that it was asked for
        self.modified = False
        self.path = ""
        self.held = ""  # who has the session open already; it cannot be saved under its name
        self._draft_ticket = -1
        self._removed: dict[str, Run] = {}  # deleted, kept for undo and still fed
        self._gone: set[str] = set()  # nothing of them is kept

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
                if message not in run.changes:
                    run.changes.append(message)
                    self._rename()
                    self._say(message.run, "events")
            case Checkpoint():
                self._of(message.run).checkpoints.add((message.first, message.step))
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

    def _of(self, run: str) -> Run:
        """The run of that id, made if its first words are still to come."""
        if run in self._gone:
            return Run(run)  # its late messages find no window
        found = self.runs.get(run) or self._removed.get(run)
        if found is None:
            found = self.runs[run] = Run(run)
        return found

    def _say(self, run: str, what: str) -> None:
        if run in self.runs and self.runs[run].experiment:
            self.run_changed.emit(run, what)

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
                run.recovered = ""
            self.orphans_changed.emit()
            self.set_modified(False)
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

    # --- what the window does with runs ---

    def request(self, start: Start) -> Run:
        """A run that is about to be asked for: it is in the list at once."""
        card = self.cards.get(start.experiment)
        run = self._of(start.run)
        run.experiment, run.values, run.sweep = (
            start.experiment,
            dict(start.values),
            dict(start.sweep),
        )
        run.seeds, run.preset, run.device = start.seeds, start.preset, start.device
        run.dtype = start.dtype or (card.dtype if card else "")
        run.steps = int(start.values.get("steps", 0))
        run.colour = self._free_colour(run)
        self._rename(new=run.id)
        self.run_added.emit(run.id)
        return run

    def of_experiment(self, name: str) -> list[Run]:
        return [r for r in self.runs.values() if r.experiment == name]

    def drawn(self, experiment: str) -> list[Run]:
        """What the plots show: the current run, pinned and live ones, and the last three ghosts."""
        runs = [r for r in self.of_experiment(experiment) if not r.hidden or r.id == self.current]
        if self.solo in {r.id for r in runs}:
            return [r for r in runs if r.id == self.solo]
        ghosts = [r for r in runs if r.role == "ghost" and r.id != self.current][-3:]
        return [r for r in runs if r.role != "ghost" or r.id == self.current or r in ghosts]

    def run(self, run: str | None = None) -> Run | None:
        return self.runs.get(self.current if run is None else run)

    def _listed(self, run: str) -> Run | None:
        """A run that can be seen: one whose Started is still to come is in no list."""
        found = self.runs.get(run)
        return found if found is not None and found.experiment else None

    def select(self, run: str) -> None:
        if run != self.current and (not run or self._listed(run) is not None):
            self.current = run
            self.current_changed.emit(run)

    def set_role(self, run: str, role: Role) -> None:
        self._look(run, "role", role, {"ghost": "ghost", "pinned": "pin", "live": "unpin"}[role])

    def recolour(self, run: str, colour: int) -> None:
        self._look(run, "colour", colour, "recolour")

    def set_hidden(self, run: str, hidden: bool) -> None:
        self._look(run, "hidden", hidden, "hide" if hidden else "show")

    def rename(self, run: str, label: str) -> None:
        self._look(run, "label", " ".join(label.split())[:80], "rename")

    def _look(self, run: str, attribute: str, value: Any, verb: str) -> None:
        found = self._listed(run)
        if found is None or getattr(found, attribute) == value:
            return
        before = getattr(found, attribute)

        def put(v: Any) -> Callable[[], None]:
            return lambda: self._put(run, attribute, v)

        put(value)()
        self.history.did(f"{verb} {found.shown_name}", put(before), put(value))

    def _put(self, run: str, attribute: str, value: Any) -> None:
        found = self.runs.get(run) or self._removed.get(run)
        if found is not None:
            setattr(found, attribute, value)
            self.set_modified(True)
            self._say(run, "name" if attribute == "label" else "look")

    def set_solo(self, run: str) -> None:
        """Only this run is drawn; an empty id ends it. A way of looking: no step to undo."""
        self.solo = run
        self._say(run or self.current, "look")

    def ghost_quietly(self, run: str) -> None:
        """A run that another took the place of: part of that other step, no step of its own."""
        found = self.runs.get(run)
        if found is not None and found.role == "live":
            found.role = "ghost"
            self._say(run, "look")

    def delete(self, run: str) -> None:
        found = self._listed(run)
        if found is None:
            return
        place = list(self.runs).index(run)
        self._drop(run, keep=True)
        self.set_modified(True)
        self.history.did(
            f"delete {found.shown_name}",
            lambda: self._restore(run, place),
            lambda: self._drop(run, keep=True),
            gone=lambda: self._bury(run),
        )

    def discard(self, run: str) -> None:
        """Forgets a run that nobody has seen anything of, without a step to undo."""
        self._drop(run)

    def _drop(self, run: str, keep: bool = False) -> None:
        found = self.runs.pop(run, None)
        if found is None:
            return
        if keep:
            self._removed[run] = found
        else:
            self._gone.add(run)
        if self.current == run:
            others = self.of_experiment(found.experiment)
            self.current = others[-1].id if others else ""
            self.current_changed.emit(self.current)
        self._rename()
        self.run_removed.emit(run)

    def _bury(self, run: str) -> None:
        if self._removed.pop(run, None) is not None:
            self._gone.add(run)

    def _restore(self, run: str, place: int) -> None:
        found = self._removed.pop(run, None)
        if found is None:
            return
        items = list(self.runs.items())
        items.insert(place, (run, found))
        self.runs = dict(items)
        self._rename(new=run)
        self.run_added.emit(run)
        self.select(run)

    def forget_drafts(self, upto: int) -> None:
        """Theory that was asked for up to this ticket comes too late: something truer is there."""
        self._draft_ticket = max(self._draft_ticket, upto + 1)
        self.clear_draft()

    def clear_draft(self) -> None:
        if self.draft:
            self.draft = {}
            self.draft_changed.emit()

    def set_modified(self, on: bool) -> None:
        if on != self.modified:
            self.modified = on
            self.modified_changed.emit(on)

    # --- names, colours, what a session remembers ---

    def _free_colour(self, run: Run) -> int:
        taken = {r.colour for r in self.of_experiment(run.experiment) if r is not run}
        return next(i for i in range(len(taken) + 1) if i not in taken)

    def _rename(self, new: str = "") -> None:
        groups: dict[str, list[Run]] = {}
        for r in self.runs.values():
            if r.experiment:
                groups.setdefault(r.experiment, []).append(r)
        for experiment, runs in groups.items():
            for run, name in names(runs, self.cards.get(experiment)).items():
                if self.runs[run].name != name:
                    self.runs[run].name = name
                    if run != new:
                        self._say(run, "name")

    def layout(self, runs: Iterable[str]) -> dict[str, Any]:
        """What the session file remembers of how runs were shown, in their order."""
        return arranging.layout(self, runs)
