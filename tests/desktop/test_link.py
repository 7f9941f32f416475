"""The way from the engine: readings that come together are one message, and nothing overtakes anything."""

import asyncio

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from desktop.link import Link, joined
from engine.messages import Rows, Status
from tests.desktop import fake


@pytest.fixture(autouse=True)
def app():
    return QApplication.instance() or QApplication([])


def heard(*messages):
    """What the link passes on of messages of one turn of the loop, at once and in the next."""
    link, got = Link(), []
    link.received.connect(got.append)

    async def turn():
        for m in messages:
            link._heard(m)
        at_once = list(got)
        await asyncio.sleep(0)
        return at_once, got[len(at_once) :]

    return asyncio.run(turn())


def test_readings_of_one_turn_are_one_message():
    parts = [fake.rows("r", "loss", np.arange(k, k + 10)) for k in range(0, 50, 10)]
    now, later = heard(*parts)
    assert now == []
    (one,) = later
    assert one.steps.tolist() == list(range(50))
    assert np.array_equal(one.values, np.concatenate([p.values for p in parts]))


def test_what_is_said_between_readings_stays_between_them():
    first, second = fake.rows("r", "loss", [0, 1]), fake.rows("r", "loss", [2])
    status = Status("r", "running", 1)
    now, later = heard(first, status, second)
    assert now == [first, status] and later == [second]


def test_runs_metrics_stacks_and_shapes_stay_apart():
    parts = [
        fake.rows("r", "loss", [0]), fake.rows("s", "loss", [0]), fake.rows("r", "modes", [0]),
        fake.rows("r", "loss", [0], first=3), fake.rows("r", "loss", [1], members=2),
    ]  # fmt: skip
    now, later = heard(*parts)
    assert now == [] and len(later) == len(parts)
    assert all(a is b for a, b in zip(later, parts, strict=True))


def test_the_abscissae_that_came_last_count():
    made = [Rows("r", "density", 0, np.array([k]), np.zeros((1, 2, 3)), c) for k, c in
            enumerate((np.arange(3.0), None))]  # fmt: skip
    assert joined(made).coords.tolist() == [0, 1, 2]
