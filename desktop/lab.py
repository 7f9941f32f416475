"""What a person does, as requests to the engine: which experiment, which values, start, pause, set, branch.

Between sliders and engine stand three rules. Theory is asked for at every move, the latest value only. A cold value
starts a new run 300 ms after the last change, and the old one stays as a ghost. A hot value goes to the run in
training and leaves a mark there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.requests import Requests, Sender
from desktop.runs import ACTIVE, OVER
from desktop.store import Store
from desktop.values import Values, random_value, repeats
from engine.messages import Control
from engine.spec import Knob, Value

FIRST = "stability/edge_of_stability"
QUIET = 300  # ms without a change before a cold value starts a run
ASK = 33  # ms between questions for theory
SET = 80  # ms between settings of a hot knob while its slider moves


class Lab(Values, Requests, QObject):
    experiment_changed = Signal()
    values_changed = Signal()  # values, sweep, seeds, preset
    locked: set[str]

    def __init__(self, store: Store, link: Sender, parent: QObject | None = None) -> None:
        QObject.__init__(self, parent)
        self.store, self.link = store, link
        self.clear()
        self.locked = set()
        self.auto_start = True
        self._settled: tuple[Any, ...] = ()  # what stood on the controls after the last step
        self._ticket, self._asked = 0, 0.0
        self._held = False  # a slider is moving
        self._hot: dict[str, Value] = {}
        self._restart = self._timer(QUIET, self.start)
        self._ask = self._timer(ASK, self._predict)
        self._set = self._timer(SET, self._send_hot_again)
        store.catalogue_changed.connect(self._catalogue)
        store.current_changed.connect(self._selected)
        store.run_changed.connect(self._run_changed)
        store.run_gone.connect(self.forget)

    def _timer(self, ms: int, act: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(ms)
        timer.timeout.connect(act)
        return timer

    # --- experiments and presets ---

    def _catalogue(self) -> None:
        """An experiment of one's own may have changed, or gone, while it is looked at."""
        card = self.card
        if card is None:
            self.begin()
        elif card.name not in self.store.cards:
            self._leave()
            self.card = None
            self.experiment_changed.emit()
        elif self.store.cards[card.name] is not card:
            self._leave()
            self.card = None
            self.open(card.name)

    def begin(self) -> None:
        """The first thing seen is a result in motion; a session that was asked for goes first."""
        if self.card is None and self.store.cards and self.auto_start:
            names = sorted(self.store.cards)
            self.open(FIRST if FIRST in names else names[0])
            if self.card is not None:
                self.start()
                self.store.set_modified(False)  # nobody has asked for this run

    def open(self, name: str) -> None:
        """Shows an experiment: its latest run if there is one, else its defaults, not yet started."""
        card = self.store.cards.get(name)
        if card is None or card is self.card:
            return
        self._leave()
        self.card = card
        self.locked = set()
        self.defaults()
        self._settled = self.snapshot()
        runs = self.store.of_experiment(name)
        self.experiment_changed.emit()
        self.store.select(runs[-1].id if runs else "")
        if not runs:
            self.values_changed.emit()

    def show(self, name: str) -> None:
        """`open`, and a first run if it has none: a result that is opened moves."""
        self.open(name)
        if self.card is not None and not self.store.of_experiment(self.card.name):
            self.start()

    def _leave(self) -> None:
        """What trained for the experiment that is left makes room."""
        for timer in (self._restart, self._ask, self._set):
            timer.stop()
        self._held = False
        run = self.store.run()
        if run is not None and run.state in ACTIVE:
            self.link.send(Control(run.id, "pause"))
        self.store.clear_draft()

    def choose_preset(self, name: str) -> None:
        """Its values, its sweep, its seeds, and off it goes."""
        preset = self.preset_named(name)
        if preset is None:
            return
        self.take(preset)
        self._record(f"preset {name.replace('_', ' ')}")
        self.values_changed.emit()
        self.start()

    # --- values ---

    def knob(self, name: str) -> Knob:
        assert self.card is not None
        return next(k for k in self.card.knobs if k.name == name)

    def is_hot(self, name: str) -> bool:
        """Whether a value goes to the run in training rather than to a new one."""
        run = self.store.run()
        live = run is not None and run.started and run.state not in OVER
        if run is None or not live or name in run.sweep or name in self.sweep:
            return False
        return self.knob(name).hot

    def move(self, name: str, value: Value) -> None:
        """While a slider moves: theory follows at once, and so does the run if the knob is hot."""
        self.values[name], self._held = value, True
        self._ask_soon()
        if self.is_hot(name):
            self._hot[name] = value
            if not self._set.isActive():
                self._send_hot_again()  # the first at once, the others no oftener than SET
        else:
            self._restart.stop()  # still moving

    def commit(self, name: str, value: Value) -> None:
        """A value that stays."""
        value = self.knob(name).check(value)
        self.sweep.pop(name, None)
        self.values[name], self._held = value, False
        if self.is_hot(name):
            self._hot[name] = value
            self._send_hot()
            if (run := self.store.run()) is not None and run.state == "running":
                self._ask.stop()  # the run itself answers with its theory, from this step on
            else:
                self._ask_soon()
        else:
            self._ask_soon()
            self._restart.start()
        self._still_preset()
        self._record(f"{name.replace('_', ' ')} = {value}")
        self.values_changed.emit()

    def set_many(self, values: Mapping[str, Value], text: str) -> None:
        self.values |= values
        self._still_preset()
        self._record(text)
        self._changed()

    def randomise(self) -> None:
        """Every knob that is neither locked nor swept, evenly along its slider. The number of steps stays."""
        if self.card is None:
            return
        free = [
            k for k in self.card.knobs if k.name not in self.locked | set(self.sweep) | {"steps"}
        ]
        self.set_many({k.name: random_value(k) for k in free}, "randomise")

    def reset(self) -> None:
        """The preset's values, or the defaults; locked knobs keep theirs."""
        if self.card is None:
            return
        kept = {k: v for k, v in self.values.items() if k in self.locked}
        self.take(
            self.preset_named(self.preset) or self.card.presets[0]
        ) if self.card.presets else (self.defaults())
        self.values |= kept
        self._still_preset()
        self._record("reset")
        self._changed()

    def set_sweep(self, name: str, values: Sequence[Value] | None) -> None:
        knob = self.knob(name)
        if values:
            self.sweep[name] = [knob.check(v) for v in values]
        else:
            self.sweep.pop(name, None)
        self._still_preset()
        self._record(f"sweep {name}" if values else f"no sweep of {name}")
        self._changed()

    def set_seeds(self, seeds: int) -> None:
        if seeds != self.seeds:
            self.seeds = seeds
            self._record(f"seeds = {seeds}", "seeds")
            self._changed()

    def set_dtype(self, dtype: str) -> None:
        if dtype != self.dtype:
            self.dtype = dtype
            self._changed()

    def set_device(self, device: str) -> None:
        if device != self.device:
            self.device = device
            self._changed()

    def _changed(self) -> None:
        self.values_changed.emit()
        self._ask_soon()
        self._restart.start()

    def _still_preset(self) -> None:
        self.preset = self.matching()

    # --- undo of values ---

    def _record(self, text: str, key: str = "") -> None:
        """Call after a change: a step from what stood there before. What a slider passes on its way is none."""
        before, after = self._settled, self.snapshot()
        if self.card is None or before == after:
            return
        self._settled, name = after, self.card.name
        self.store.history.did(
            text, lambda: self._put(before, name), lambda: self._put(after, name), key
        )

    def _put(self, state: tuple[Any, ...], experiment: str) -> None:
        if self.card is None or self.card.name != experiment:
            self.open(experiment)
        if self.card is None or self.card.name != experiment:
            return  # it is no longer installed
        values, sweep, self.seeds, self.preset = state
        self.values, self.sweep = dict(values), {k: list(v) for k, v in sweep.items()}
        self._settled = self.snapshot()
        self._changed()

    # --- runs ---

    def start(self) -> None:
        """A new run with the values as they are; the one before becomes a ghost."""
        self._restart.stop()
        card = self.card
        if card is None or not self.may_train():
            return
        before = self.store.run()
        start = self.request(uuid.uuid4().hex[:12])
        if before is None or before.experiment != card.name:
            before = None
        again = before is not None and repeats(start, before)
        run = self.store.request(start)
        if before is not None and again:
            run.colour = before.colour
        self.store.set_modified(True)
        self.store.select(start.run)
        if before is not None:
            if before.state not in OVER:
                self.link.send(Control(before.id, "cancel"))
            if again:
                self.store.discard(before.id)
            else:
                self.store.ghost_quietly(before.id)
        self.link.send(start)

    def may_train(self) -> bool:
        """Whether the open experiment is installed here. A file may hold curves of one that is not."""
        card = self.card
        if card is None or card.name not in self.store.foreign:
            return card is not None
        self.store.notice.emit(
            "info",
            f"{card.name} is not installed here: its curves can be looked at, it cannot be trained.",
        )
        return False

    def resume_on_cpu(self, run_id: str) -> None:
        """A branch on the CPU from the last step that is kept whole; from the start if there is none."""
        run = self.store.runs.get(run_id)
        if run is None:
            return
        self.store.select(run_id)
        steps = run.full_checkpoints()
        if not steps:
            self.set_device("cpu")
            self.start()
            return
        self._branch(run, steps[-1], "cpu", paused=False)

    def toggle(self) -> None:
        """Pause what runs, go on with what is paused, begin anew what has ended."""
        run = self.store.run()
        if run is None or run.state in ("done", "stopped"):
            self.start()
        elif run.state in ACTIVE:
            self.link.send(Control(run.id, "pause"))
        else:
            self.link.send(Control(run.id, "resume"))

    def open_file(self, path: str) -> None:
        self.auto_start = False  # the file says what to show
        self.open_path(path)

    # --- hot values, theory ---

    def _send_hot(self) -> None:
        self._set.stop()
        run = self.store.run()
        hot, self._hot = self._hot, {}
        if run is not None:
            for name, value in hot.items():
                self.link.send(Control(run.id, "set", knob=name, value=value))

    def _send_hot_again(self) -> None:
        if self._hot:
            self._send_hot()
            self._set.start()

    def _ask_soon(self) -> None:
        """At once, or as soon as the last question is ASK old."""
        if not self._ask.isActive():
            since = 1000 * (time.monotonic() - self._asked)
            if since >= ASK:
                self._predict()
            else:
                self._ask.start(round(ASK - since))

    def _predict(self) -> None:
        if self.card is None:
            return
        self._ticket += 1
        self._asked = time.monotonic()
        self.store.draft_sweep = {k: list(v) for k, v in self.sweep.items()}
        self.link.send(self.question(f"?{self._ticket}"))

    def _run_changed(self, run: str, what: str) -> None:
        if what == "theory" and run == self.store.current and not self._moving():
            self.store.forget_drafts(self._ticket)  # the run's own theory is there now

    def _moving(self) -> bool:
        return self._held or any(t.isActive() for t in (self._restart, self._ask, self._set))

    def _selected(self, run_id: str) -> None:
        """The sliders take the values of the run that is looked at."""
        run = self.store.runs.get(run_id)
        if run is None:
            return
        if self.card is None or self.card.name != run.experiment:
            card = self.store.cards.get(run.experiment)
            if card is None:
                return
            self._leave()
            self.card, self.locked = card, set()
            self.defaults()
            self.experiment_changed.emit()
        swept = {k: v for k, v in self.values.items() if k in run.sweep}  # stands behind the sweep
        self.values = {k.name: k.default for k in self.card.knobs} | dict(run.values) | swept
        for c in sorted(run.changes, key=lambda c: c.step):
            self.values[c.knob] = c.value
        self.sweep = {k: list(v) for k, v in run.sweep.items()}
        self.seeds, self.dtype = run.seeds or self.card.seeds, run.dtype or self.card.dtype
        self.device = run.device if run.device in self.store.devices else "cpu"
        self.preset = self.matching()
        self._settled = self.snapshot()
        if run.predicted:
            self.store.clear_draft()
        self.values_changed.emit()
