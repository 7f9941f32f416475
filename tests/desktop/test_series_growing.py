"""Readings that grow: what is kept from the last picture gives what a new start would give."""

import numpy as np
import pytest

from desktop import series
from desktop.plots.seeds import Summary
from desktop.store import Store
from desktop.traces import Column
from engine.messages import Catalogue, Rows, Started
from tests.desktop import fake


def rows(metric, first, steps, values):
    return Rows("a", metric, first, np.asarray(steps), values)


@pytest.fixture
def store(qapp):
    store = Store()
    store.apply(Catalogue((fake.card(),), ("cpu",)))
    members = {"seed": np.tile(np.arange(3), 2), "width": np.repeat([8, 16], 3)}
    store.apply(
        Started("a", fake.card().name, {"width": 8}, {"width": [8, 16]}, members, (0, 3), 200,
                "float32", "cpu", "", "", -1, {}, "")
    )  # fmt: skip
    return store


def drawn(store, kept):
    card = fake.card()
    view = next(v for v in card.views if v.metrics == ("sharpness",) and not v.against)
    (measured,) = series.draw(store.runs["a"], card, view, True, kept).measured.values()
    return measured


def test_two_stacks_that_lag_behind_each_other(store):
    r = np.random.default_rng(0)
    values = r.normal(size=(60, 6)).astype(np.float32)
    kept, summary = {}, Summary()
    reached = {0: 0, 3: 0}
    for turn in range(40):
        first = (0, 3)[turn % 3 == 0]
        at = reached[first]
        reached[first] = min(60, at + 1 + turn % 4)
        if reached[first] > at:
            part = values[at : reached[first], first : first + 3]
            store.apply(rows("sharpness", first, np.arange(at, reached[first]), part))
        if min(reached.values()) == 0:
            continue
        m, new = drawn(store, kept), drawn(store, {})
        assert np.array_equal(m.values, new.values, equal_nan=True) and np.array_equal(m.x, new.x)
        assert m.settled == min(reached.values())
        summary.update(m.values, m.stamp, m.settled)
        plain = Summary()
        plain.update(new.values)
        for name in ("median", "low", "high"):
            assert np.array_equal(getattr(summary, name), getattr(plain, name), equal_nan=True)


def test_a_step_that_is_read_again_is_seen(store):
    kept, summary = {}, Summary()
    steps = np.arange(10)
    for first in (0, 3):
        store.apply(rows("sharpness", first, steps, np.ones((10, 3), np.float32)))
    m = drawn(store, kept)
    summary.update(m.values, m.stamp, m.settled)
    store.apply(rows("sharpness", 3, steps[4:6], np.full((2, 3), 7, np.float32)))
    m = drawn(store, kept)
    summary.update(m.values, m.stamp, m.settled)
    assert (summary.median[4:6, 1] == 7).all() and (summary.median[:4] == 1).all()


def test_a_columns_stamp_stays_while_rows_are_added_at_the_end():
    column = Column(rows("loss", 0, [0, 1, 2], np.zeros((3, 2))))
    stamp = column.stamp
    column.add(rows("loss", 0, [3, 4], np.ones((2, 2))))
    assert column.stamp == stamp
    column.add(rows("loss", 0, [1], np.full((1, 2), 5.0)))
    assert column.stamp != stamp and (column.values[1] == 5).all()
    assert Column(rows("loss", 0, [0], np.zeros((1, 2)))).stamp != column.stamp


def test_long_rows_of_a_file_are_kept_where_they_are_and_grow_elsewhere():
    values = np.zeros((5000, 3), np.float32)
    column = Column(rows("loss", 0, np.arange(5000), values))
    assert np.shares_memory(column.values, values)
    column.add(rows("loss", 0, [5000], np.ones((1, 3), np.float32)))
    assert len(column.values) == 5001 and not np.shares_memory(column.values, values)
    assert (values == 0).all() and (column.values[5000] == 1).all()
