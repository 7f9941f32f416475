import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.store import Store
from desktop.traces import Column, Growable
from engine.messages import (
    Changed,
    Checkpoint,
    Opened,
    Refused,
    Rewound,
    Rows,
    Saved,
    Start,
    Status,
    Thinned,
)
from tests.desktop import fake


def applied(messages):
    store = Store()
    store.apply(fake.catalogue())
    for m in messages:
        store.apply(m)
    return store


def picture(run):
    """All of a run that must not depend on the order of its messages."""
    columns = {k: (c.steps.tolist(), c.values.tolist()) for k, c in run.columns.items()}
    return (
        columns,
        sorted(run.predicted),
        sorted(run.judged),
        run.changes,
        run.step,
        run.experiment,
        run.name,
    )


@given(st.permutations(fake.stream("a")))
@settings(max_examples=60, deadline=None)
def test_any_order_of_a_runs_messages_gives_the_same_run(messages):
    ordered = applied(fake.stream("a"))
    shuffled = applied(messages)
    assert picture(shuffled.runs["a"]) == picture(ordered.runs["a"])


@given(st.lists(st.sampled_from(fake.stream("a") + fake.stream("b")), max_size=40))
@settings(max_examples=60, deadline=None)
def test_repeated_and_missing_messages_are_borne(messages):
    store = applied(messages)
    for run in store.runs.values():
        for c in run.columns.values():
            assert (np.diff(c.steps) > 0).all()
            assert len(c.steps) == len(c.values)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_growable_holds_what_was_appended(sizes):
    grown, whole, at = Growable((2,), float), [], 0
    for n in sizes:
        block = np.arange(at, at + 2 * n, dtype=float).reshape(n, 2)
        grown.append(block)
        whole.append(block)
        at += 2 * n
    np.testing.assert_array_equal(grown.array, np.concatenate(whole))


def test_appending_is_amortised():
    """Doubling: 10 000 single rows move the memory no more than about log2 times."""
    grown, moves, held = Growable((3,), float), 0, None
    for i in range(10_000):
        grown.append(np.full((1, 3), i))
        if grown._held is not held:
            moves, held = moves + 1, grown._held
    assert moves <= 10


def test_a_step_read_again_takes_the_newer_reading():
    c = Column(fake.rows("a", "sharpness", [0, 5, 10]))
    again = Rows("a", "sharpness", 0, np.array([5]), np.full((1, 3), 7.0, np.float32))
    c.add(again)
    assert c.steps.tolist() == [0, 5, 10]
    assert c.values[1].tolist() == [7, 7, 7]


def test_rows_of_another_shape_become_a_notice():
    store = applied(fake.stream("a"))
    said = []
    store.notice.connect(lambda kind, text: said.append(text))
    store.apply(Rows("a", "sharpness", 0, np.array([999]), np.zeros((1, 9))))
    assert "sharpness" in said[0]
    assert 999 not in store.runs["a"].columns[("sharpness", 0)].steps


def test_rows_before_the_start_are_kept_and_nobody_is_told_of_a_nameless_run():
    store, told = Store(), []
    store.run_changed.connect(lambda run, what: told.append(what))
    store.run_added.connect(lambda run: told.append("added"))
    store.apply(fake.rows("a", "sharpness", [0, 5]))
    assert told == []
    store.apply(fake.started("a"))
    assert told[0] == "added"
    assert len(store.runs["a"].columns[("sharpness", 0)].steps) == 2


def start(run, **values):
    return Start(
        run, "stability/cardboard", {k.name: k.default for k in fake.knobs()} | values, seeds=3
    )


def test_runs_are_named_by_what_differs():
    store = applied([])
    store.request(start("a"))
    assert store.runs["a"].shown_name == "default values"
    store.request(start("b", lr=0.05))
    assert (store.runs["a"].name, store.runs["b"].name) == ("η = 0.1", "η = 0.05")
    store.request(start("c", lr=0.05, width=256))
    assert store.runs["c"].name == "η = 0.05, width = 256"
    assert store.runs["a"].name == "η = 0.1, width = 64"
    store.request(start("d", lr=0.05, width=256))
    assert store.runs["d"].name == "η = 0.05, width = 256 (2)"
    store.delete("c")
    assert store.runs["d"].name == "η = 0.05, width = 256"


def test_the_engines_rounding_does_not_split_names():
    """A Started repeats the request's values: nothing but the request tells runs apart."""
    store = applied([])
    store.request(start("a"))
    store.apply(fake.started("a", start("a")))
    assert store.runs["a"].name == "default values"
    assert not store.runs["a"].opened


def test_colours_are_the_first_free_ones():
    store = applied([])
    for name in "abc":
        store.request(start(name, lr={"a": 0.1, "b": 0.2, "c": 0.3}[name]))
    assert [store.runs[n].colour for n in "abc"] == [0, 1, 2]
    store.delete("b")
    store.request(start("d", lr=0.4))
    assert store.runs["d"].colour == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.delete("a"),
        lambda s: s.rename("a", "mine"),
        lambda s: s.set_role("a", "pinned"),
        lambda s: s.recolour("a", 5),
        lambda s: s.set_hidden("a", True),
    ],
)
def test_every_step_undoes_and_redoes(act):
    def looks(s):
        return {
            r.id: (r.label, r.role, r.colour, r.hidden, len(r.columns)) for r in s.runs.values()
        }

    store = applied([*fake.stream("a"), *fake.stream("b")])
    before = looks(store)
    act(store)
    after = looks(store)
    assert after != before
    store.history.undo()
    assert looks(store) == before
    assert list(store.runs) == list(before)
    store.history.redo()
    assert looks(store) == after


STEPS = st.sampled_from(["a", "b", "c"]).flatmap(
    lambda r: st.sampled_from(
        [("delete", r), ("rename", r, "x"), ("rename", r, "y"), ("set_role", r, "ghost"), ("set_role", r, "pinned"),
         ("recolour", r, 3), ("set_hidden", r, True), ("set_hidden", r, False)]
    )
)  # fmt: skip


@given(st.lists(STEPS, max_size=12))
@settings(max_examples=80, deadline=None)
def test_undoing_everything_gives_the_beginning(steps):
    def whole(s):
        return [(r.id, r.label, r.role, r.colour, r.hidden, r.name) for r in s.runs.values()]

    store = applied([m for r in "abc" for m in fake.stream(r)])
    before = whole(store)
    for name, *rest in steps:
        getattr(store, name)(*rest)
    while store.history.undo_text:
        store.history.undo()
    assert whole(store) == before


def test_a_deleted_run_goes_on_being_fed():
    store = applied(fake.stream("a")[:6])
    store.delete("a")
    for m in fake.stream("a")[6:]:
        store.apply(m)
    assert "a" not in store.runs
    store.history.undo()
    assert store.runs["a"].state == "done"
    assert store.runs["a"].columns[("sharpness", 0)].steps[-1] == 200


def test_a_discarded_run_does_not_come_back_with_late_messages():
    store = applied([])
    store.request(start("a"))
    store.discard("a")
    for m in fake.stream("a"):
        store.apply(m)
    assert store.runs == {}


def test_a_refused_run_leaves_the_list_and_says_why():
    store, said = applied([]), []
    store.notice.connect(lambda kind, text: said.append((kind, text)))
    store.request(start("a"))
    store.apply(Refused("a", "lr = 3 lies outside [0.001, 1]"))
    assert store.runs == {}
    assert said == [("error", "lr = 3 lies outside [0.001, 1]")]


def test_failure_is_said_once():
    store, said = applied(fake.stream("a")[:4]), []
    store.trouble.connect(lambda run, text: said.append((run, text)))
    store.apply(Status("a", "failed", 5, "RuntimeError: out of memory"))
    store.apply(Status("a", "failed", 5, "RuntimeError: out of memory"))
    ((run, text),) = said
    assert run == "a" and "out of memory" in text


def test_the_newest_ticket_of_theory_wins_and_older_ones_never_return():
    store = applied([])
    store.apply(fake.predicted("?2", 10.0))
    store.apply(fake.predicted("?1", 99.0))
    assert [p.values[0, 0] for p in store.draft.values()] == [10.0]
    store.apply(fake.predicted("?3", 5.0))
    assert [p.values[0, 0] for p in store.draft.values()] == [5.0]


def test_saved_and_modified():
    store = applied(fake.stream("a"))
    store.rename("a", "mine")
    assert store.modified
    store.apply(Saved("/x/y.lemma.h5", "no space left"))
    assert store.modified and store.path == ""
    store.apply(Saved("/x/y.lemma.h5"))
    assert not store.modified and store.path == "/x/y.lemma.h5"


def test_looks_come_back_from_a_file():
    import json

    store = applied([*fake.stream("a"), *fake.stream("b")])
    store.rename("a", "mine")
    store.set_role("b", "pinned")
    store.recolour("b", 6)
    store.select("a")
    told = json.dumps(store.layout(["a", "b"]))
    fresh = applied([*fake.stream("x"), *fake.stream("y")])
    fresh.apply(Opened("/p", ("x", "y"), layout=told))
    assert fresh.runs["x"].label == "mine"
    assert (fresh.runs["y"].role, fresh.runs["y"].colour) == ("pinned", 6)
    assert fresh.current == "x"


@pytest.mark.parametrize(
    "layout", ["", "{", "[]", '{"runs": 3}', '{"runs": [{"label": 5, "role": "king", "colour": -1}], "current": "x"}',
               "[" * 200000]
)  # fmt: skip
def test_a_layout_of_anyones_making_is_borne(layout):
    store, said = applied(fake.stream("a")), []
    store.notice.connect(lambda kind, text: said.append(text))
    store.apply(Opened("/p", ("a",), layout=layout))
    assert store.runs["a"].role == "live"
    assert store.current == "a"


def test_only_the_last_three_ghosts_are_drawn():
    store = applied([m for r in "abcdef" for m in fake.stream(r)])
    for r in "abcde":
        store.ghost_quietly(r)
    store.select("f")
    assert [r.id for r in store.drawn("stability/cardboard")] == ["c", "d", "e", "f"]
    store.set_role("a", "pinned")
    assert "a" in [r.id for r in store.drawn("stability/cardboard")]
    store.set_solo("a")
    assert [r.id for r in store.drawn("stability/cardboard")] == ["a"]


def test_thinned_checkpoints_are_no_longer_offered():
    store = applied([*fake.stream("a")])
    run = store.runs["a"]
    for step in (3, 5):
        for first in run.stacks:
            store.apply(Checkpoint("a", step, first, {}))
    assert run.full_checkpoints()[-2:] == [3, 5]
    store.apply(Thinned("a", (3,)))
    assert run.full_checkpoints() == [5]


def test_a_knob_set_forth_and_back_at_one_step_has_its_last_value():
    store = applied([*fake.stream("a")])
    run = store.runs["a"]
    for value in (0.2, 0.3, 0.2):
        store.apply(Changed("a", 7, "lr", value))
    assert [c.value for c in run.changes if c.step == 7] == [0.2]


def test_what_a_crash_left_behind_a_new_course_goes():
    """A recovered run goes on at its last checkpoint; a knob set there makes what lies behind it another run's."""
    store = applied([*fake.stream("a")])
    run = store.runs["a"]
    first = run.stacks[0]
    store.apply(Checkpoint("a", 150, first, {}))
    store.apply(Changed("a", 140, "lr", 0.1, first))
    column = run.columns["loss", first]
    seen, before = column.stamp, column.values.copy()
    store.apply(Rewound("a", first, 120))
    store.apply(Changed("a", 120, "lr", 0.3, first))
    assert column.steps[-1] == 120 and column.stamp != seen
    np.testing.assert_array_equal(column.values, before[: len(column.steps)])
    assert not [c for c in run.checkpoints if c[0] == first and c[1] > 120]
    assert run.changes[-1] == Changed("a", 120, "lr", 0.3, first)
    store.apply(fake.rows("a", "loss", np.array([125]), first, column.values.shape[1]))
    assert list(column.steps[-2:]) == [120, 125]
    store.apply(Rewound("a", first, -1))
    assert ("loss", first) not in run.columns


def test_a_deleted_run_is_gone_when_its_deletion_cannot_be_undone_any_more():
    store = applied([*fake.stream("a"), *fake.stream("b")])
    gone = []
    store.run_gone.connect(gone.append)
    store.delete("a")
    store.history.undo()
    store.history.redo()
    assert gone == []
    for i in range(store.history.LIMIT):
        store.set_hidden("b", i % 2 == 0)
    assert gone == ["a"]
    store.discard("b")
    assert gone == ["a", "b"]
