"""The runs as the desktop knows them: applies messages in any order and says what changed. No widgets.

run_changed(run, what) with what among: "rows", "theory", "verdict", "state", "events", "started", "look", "name".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

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
    Predicted,
    Refused,
    Rows,
    Saved,
    Start,
    Started,
    Status,
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
    opened = Signal(object)  # Opened
    saved = Signal(object)  # Saved

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history = History(self)
        self.runs: dict[str, Run] = {}
        self.cards: dict[str, Card] = {}
        self.devices: tuple[str, ...] = ("cpu",)
        self.problems: tuple[str, ...] = ()
        self.current = ""
        self.solo = ""
        self.draft: dict[tuple[str, int], Predicted] = {}
        self.draft_sweep: dict[str, list[Value]] = {}  # of the values that it was asked for
        self.modified = False
        self.path = ""
        self._draft_ticket = -1
        self._removed: dict[str, Run] = {}  # deleted, kept for undo and still fed

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
                self.cards = {**self.cards, **{c.name: c for c in message.cards}}
                self.devices, self.problems = message.devices, message.problems
                self._rename()
                self.catalogue_changed.emit()
                for p in message.problems:
                    self.notice.emit("error", p)
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

    def _of(self, run: str) -> Run:
        """The run of that id, made if its first words are still to come."""
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
        if m.run in self._removed:
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
        run.state, run.why, run.rate = m.state, m.why, m.rate
        run.step = max(run.step, m.step)
        if m.state == "failed" and m.why and m.run in self.runs:
            self.notice.emit("error", f"{run.shown_name or 'A run'} failed: {m.why}")
        self._say(m.run, "state")

    def _refused(self, m: Refused) -> None:
        if m.run.startswith("?"):
            self.clear_draft()  # the slider stands where no theory speaks; the knob says why
            return
        run = self.runs.get(m.run)
        if run is not None and not run.started:
            self._drop(run.id)
        self.notice.emit("error", m.why)

    def _saved(self, m: Saved) -> None:
        if m.why:
            self.notice.emit("error", f"Not saved: {m.why}")
        else:
            self.path = m.path
            self.set_modified(False)
        self.saved.emit(m)

    def _opened(self, m: Opened) -> None:
        if m.why:
            self.notice.emit("error", m.why if m.runs else f"Not opened: {m.why}")
        self._arrange(m)
        self.opened.emit(m)

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

    def select(self, run: str) -> None:
        if run != self.current and (run in self.runs or not run):
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
        found = self.runs.get(run)
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
        found = self.runs.get(run)
        if found is None:
            return
        place = list(self.runs).index(run)
        self._drop(run, keep=True)
        self.set_modified(True)
        self.history.did(
            f"delete {found.shown_name}",
            lambda: self._restore(run, place),
            lambda: self._drop(run, keep=True),
        )

    def discard(self, run: str) -> None:
        """Forgets a run that nobody has seen anything of, without a step to undo."""
        self._drop(run)

    def _drop(self, run: str, keep: bool = False) -> None:
        found = self.runs.pop(run, None)
        if found is None:
            return
        self._removed[run] = found if keep else Run(run)  # its late messages find no window
        if self.current == run:
            others = self.of_experiment(found.experiment)
            self.current = others[-1].id if others else ""
            self.current_changed.emit(self.current)
        self._rename()
        self.run_removed.emit(run)

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
        looks = [
            {"label": r.label, "role": r.role, "colour": r.colour, "hidden": r.hidden}
            for r in (self.runs[i] for i in runs if i in self.runs)
        ]
        order = [i for i in runs if i in self.runs]
        return {
            "runs": looks,
            "current": order.index(self.current) if self.current in order else -1,
        }

    def _arrange(self, m: Opened) -> None:
        """Names and looks from the file; whatever does not fit is left out, for the file may be anyone's."""
        try:
            told = json.loads(m.layout) if m.layout else {}
        except (ValueError, RecursionError):
            told = {}
        looks = told.get("runs") if isinstance(told, dict) else None
        looks = looks if isinstance(looks, list) else []
        for run, look in zip((self.runs.get(i) for i in m.runs), looks, strict=False):
            if run is None or not isinstance(look, dict):
                continue
            if isinstance(look.get("label"), str):
                run.label = " ".join(look["label"].split())[:80]
            if look.get("role") in ("live", "ghost", "pinned"):
                run.role = look["role"]
            colour = look.get("colour")
            others = {r.colour for r in self.of_experiment(run.experiment) if r.id not in m.runs}
            if isinstance(colour, int) and 0 <= colour < 1000 and colour not in others:
                run.colour = colour
            run.hidden = look.get("hidden") is True
            self._say(run.id, "look")
        at = told.get("current", -1) if isinstance(told, dict) else -1
        here = [i for i in m.runs if i in self.runs]
        if here:
            self.select(here[at] if isinstance(at, int) and 0 <= at < len(here) else here[-1])
        if not m.why:
            self.path = m.path
