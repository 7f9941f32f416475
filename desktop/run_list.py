"""The list of runs, and what a person does with it: choosing, renaming, hiding, deleting, each undoable. No widgets.

run_changed(run, what) with what among: "rows", "theory", "verdict", "state", "events", "started", "look", "name".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal

from desktop.history import History
from desktop.naming import names
from desktop.runs import Role, Run
from engine.messages import Card, Start


class RunList(QObject):
    """Base of the store, which fills it from the engine's messages."""

    run_added = Signal(str)
    run_changed = Signal(str, str)
    run_removed = Signal(str)
    run_gone = Signal(str)  # nobody can ask for it any more
    current_changed = Signal(str)
    modified_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history = History(self)
        self.runs: dict[str, Run] = {}
        self.cards: dict[str, Card] = {}
        self.current = ""
        self.solo = ""
        self.modified = False
        self._removed: dict[str, Run] = {}  # deleted, kept for undo and still fed
        self._gone: set[str] = set()  # nothing of them is kept

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
            self.run_gone.emit(run)
        if self.current == run:
            others = self.of_experiment(found.experiment)
            self.current = others[-1].id if others else ""
            self.current_changed.emit(self.current)
        self._rename()
        self.run_removed.emit(run)

    def _bury(self, run: str) -> None:
        if self._removed.pop(run, None) is not None:
            self._gone.add(run)
            self.run_gone.emit(run)

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

    def set_modified(self, on: bool) -> None:
        if on != self.modified:
            self.modified = on
            self.modified_changed.emit(on)

    # --- names, colours ---

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
