"""The store and the undo of values against plain models, under any order of messages and actions."""

import copy

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PySide6.QtWidgets import QApplication

from desktop.lab import Lab
from desktop.store import Store
from engine.messages import Orphaned, Refused, Start
from tests.desktop import fake

RUNS = ("a", "b", "c")
NAME = "stability/cardboard"
STREAMS = {r: fake.stream(r) for r in RUNS}
quiet = settings(
    max_examples=60, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


class StoreMachine(RuleBasedStateMachine):
    """What the store shows of runs: a list of ids, what was read, how each is shown; undo is a stack of pictures."""

    def __init__(self):
        super().__init__()
        self.store = Store()
        self.told = []  # (signal, run)
        self.store.run_added.connect(lambda r: self.told.append(("added", r)))
        self.store.run_removed.connect(lambda r: self.told.append(("removed", r)))
        self.store.apply(fake.catalogue())
        self.order = []  # ids in the list
        self.looks = {}  # id -> label, role, hidden
        self.read = {r: {} for r in RUNS}  # id -> metric -> step -> value
        self.seen = set()  # anything was said of it
        self.known = set()  # has been started, whether or not it is in the list
        self.gone = set()  # discarded: never to come back
        self.deleted = set()
        self.undo, self.redo = [], []

    # --- messages, in any order and as often as they like ---

    @rule(run=st.sampled_from(RUNS), at=st.integers(0, len(STREAMS["a"]) - 1))
    def message(self, run, at):
        m = STREAMS[run][at]
        self.store.apply(m)
        if run in self.gone:
            return
        self.seen.add(run)
        kind = type(m).__name__
        if kind == "Rows":
            column = self.read[run].setdefault(m.metric, {})
            column |= {int(s): np.array(v) for s, v in zip(m.steps, m.values)}
        if kind == "Started" and run not in self.known:
            self.known.add(run)
            self.order.append(run)
            self.looks[run] = {"label": "", "role": "live", "hidden": False}

    @rule(run=st.sampled_from(RUNS))
    def refused(self, run):
        """A run that the engine has not taken is forgotten; of one that it has, this is only a sentence."""
        self.store.apply(Refused(run, "no"))
        if run in self.seen and run not in self.known:
            self.gone.add(run)

    @rule(path=st.sampled_from(("/j/1", "/j/2")))
    def orphan(self, path):
        self.store.apply(Orphaned(path, NAME, 5, 0.0))

    # --- what a person does ---

    def picture(self):
        return copy.deepcopy((self.order, self.looks, self.deleted))

    def did(self, before):
        self.undo.append((before, self.picture()))
        self.redo = []

    @rule(run=st.sampled_from(RUNS), role=st.sampled_from(("live", "ghost", "pinned")))
    def set_role(self, run, role):
        self.look(run, "role", role, self.store.set_role)

    @rule(run=st.sampled_from(RUNS), hidden=st.booleans())
    def set_hidden(self, run, hidden):
        self.look(run, "hidden", hidden, self.store.set_hidden)

    @rule(run=st.sampled_from(RUNS), label=st.sampled_from(("", "mine", "the other")))
    def rename(self, run, label):
        self.look(run, "label", label, self.store.rename)

    def look(self, run, attribute, value, act):
        before = self.picture()
        act(run, value)
        if run in self.order and self.looks[run][attribute] != value:
            self.looks[run][attribute] = value
            self.did(before)

    @rule(run=st.sampled_from(RUNS))
    def delete(self, run):
        before = self.picture()
        self.store.delete(run)
        if run in self.order:
            self.order.remove(run)
            self.deleted.add(run)
            self.did(before)

    @rule(run=st.sampled_from(RUNS))
    def discard(self, run):
        """No step to undo; what is later undone of it finds nothing."""
        if run not in self.order:
            return
        self.store.discard(run)
        self.order.remove(run)
        self.gone.add(run)

    @rule(run=st.sampled_from(RUNS))
    def select(self, run):
        self.store.select(run)

    @rule(run=st.sampled_from((*RUNS, "")))
    def solo(self, run):
        self.store.set_solo(run)

    @precondition(lambda self: self.undo)
    @rule()
    def undo_one(self):
        self.store.history.undo()
        before, after = self.undo.pop()
        self.redo.append((before, after))
        self.go_to(before, after)

    @precondition(lambda self: self.redo)
    @rule()
    def redo_one(self):
        self.store.history.redo()
        before, after = self.redo.pop()
        self.undo.append((before, after))
        self.go_to(after, before)

    def go_to(self, target, source):
        """Undoes what this step did and leaves alone what messages and discarding have done since."""
        _, looks, deleted = target
        for run in source[2] - deleted:  # it comes back
            if run in self.deleted and run not in self.gone:
                self.deleted.remove(run)
                self.order.append(run)
        for run in deleted - source[2]:
            if run in self.order:
                self.order.remove(run)
                self.deleted.add(run)
        for run, look in looks.items():
            if run in self.looks and look != source[1].get(run, look):
                self.looks[run] |= {k: v for k, v in look.items() if source[1][run][k] != v}

    # --- what must hold after each step ---

    @invariant()
    def the_list_is_the_models(self):
        shown = {r.id for r in self.store.runs.values() if r.experiment}
        assert shown == set(self.order)

    @invariant()
    def every_reading_is_there(self):
        for run in self.order:
            for metric, column in self.read[run].items():
                c = self.store.runs[run].columns[(metric, 0)]
                assert c.steps.tolist() == sorted(column)
                for step, value in zip(c.steps, c.values):
                    np.testing.assert_array_equal(value, column[int(step)])

    @invariant()
    def looks_are_the_models(self):
        for run in self.order:
            found = self.store.runs[run]
            assert {k: getattr(found, k) for k in ("label", "role", "hidden")} == self.looks[run]

    @invariant()
    def the_current_run_is_in_the_list(self):
        assert self.store.current == "" or self.store.current in self.store.runs

    @invariant()
    def names_and_colours_tell_runs_apart(self):
        runs = self.store.of_experiment(NAME)
        assert len({r.name for r in runs}) == len(runs)

    @invariant()
    def the_window_was_told_of_every_run(self):
        there = set()
        for what, run in self.told:
            there = there | {run} if what == "added" else there - {run}
        assert there == set(self.order)

    @invariant()
    def undo_is_as_long_as_the_models(self):
        assert bool(self.store.history.undo_text) == bool(self.undo)
        assert bool(self.store.history.redo_text) == bool(self.redo)


StoreMachine.TestCase.settings = quiet
TestStore = StoreMachine.TestCase


class Silent:
    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)


class ValuesMachine(RuleBasedStateMachine):
    """Values, sweep, seeds and preset on the controls against the same as a plain tuple; undo is a stack of them."""

    def __init__(self):
        super().__init__()
        self.store, self.link = Store(), Silent()
        self.lab = Lab(self.store, self.link)
        self.lab.auto_start = False
        self.store.apply(fake.catalogue())
        self.undo, self.redo = [], []
        self.coming = None

    @initialize()
    def begin(self):
        self.lab.open(NAME)
        card = self.lab.card
        self.presets = {p.name: p for p in card.presets}
        self.knobs = {k.name: k for k in card.knobs}
        self.values = {k.name: k.default for k in card.knobs}
        self.sweep, self.seeds = {}, 3

    def state(self):
        return copy.deepcopy((self.values, self.sweep, self.seeds))

    def did(self, before, key=""):
        if before == self.state():
            return  # what changes nothing is no step
        if key and self.undo and self.undo[-1][2] == key and not self.redo:
            before = self.undo.pop()[0]  # several in a row are one
        self.undo.append((before, self.state(), key))
        self.redo = []

    @rule(name=st.sampled_from(("lr", "noise", "width")), part=st.floats(0, 1))
    def commit(self, name, part):
        k, before = self.knobs[name], self.state()
        value = k.check(k.low + part * (k.high - k.low)) if k.kind == "real" else k.check(
            int(k.low + part * (k.high - k.low))
        )  # fmt: skip
        self.lab.commit(name, value)
        self.values[name] = value
        self.sweep.pop(name, None)
        self.did(before)

    @rule(preset=st.sampled_from(("default", "wide", "widths")))
    def choose(self, preset):
        before, p = self.state(), self.presets[preset]
        self.lab.choose_preset(preset)
        self.values = {k.name: k.default for k in self.knobs.values()} | dict(p.values)
        self.sweep, self.seeds = {k: list(v) for k, v in p.sweep.items()}, p.seeds
        self.did(before)

    @rule(values=st.lists(st.sampled_from((8, 16, 32, 64)), min_size=2, max_size=4, unique=True))
    def sweep_width(self, values):
        before = self.state()
        self.lab.set_sweep("width", values)
        self.sweep["width"] = list(values)
        self.did(before)

    @precondition(lambda self: self.sweep)
    @rule()
    def no_sweep(self):
        before = self.state()
        self.lab.set_sweep("width", None)
        self.sweep = {}
        self.did(before)

    @rule(seeds=st.integers(1, 5))
    def set_seeds(self, seeds):
        before = self.state()
        self.lab.set_seeds(seeds)
        self.seeds = seeds
        self.did(before, "seeds")

    @rule()
    def start(self):
        """A run takes the values along and changes none."""
        self.lab.start()
        assert self.link.sent[-1] == Start(
            self.store.current, NAME, {k: v for k, v in self.values.items() if k not in self.sweep},
            self.sweep, self.seeds, 0, "float32", "cpu", self.lab.preset,
        )  # fmt: skip

    @precondition(lambda self: self.undo)
    @rule()
    def undo_one(self):
        self.store.history.undo()
        before, after, key = self.undo.pop()
        self.redo.append((before, after, key))
        self.values, self.sweep, self.seeds = copy.deepcopy(before)

    @precondition(lambda self: self.redo)
    @rule()
    def redo_one(self):
        self.store.history.redo()
        before, after, key = self.redo.pop()
        self.undo.append((before, after, key))
        self.values, self.sweep, self.seeds = copy.deepcopy(after)

    @invariant()
    def the_controls_are_the_models(self):
        if not hasattr(self, "values"):
            return
        assert self.lab.values == self.values
        assert self.lab.sweep == self.sweep
        assert self.lab.seeds == self.seeds

    @invariant()
    def the_preset_that_is_named_is_what_stands_there(self):
        if self.lab.card is not None:
            assert self.lab.preset == self.lab.matching()

    @invariant()
    def steps_are_counted_alike(self):
        assert bool(self.store.history.undo_text) == bool(self.undo)
        assert bool(self.store.history.redo_text) == bool(self.redo)


ValuesMachine.TestCase.settings = quiet
TestValues = ValuesMachine.TestCase


def test_the_machines_have_an_application(qtbot):
    assert QApplication.instance() is not None
