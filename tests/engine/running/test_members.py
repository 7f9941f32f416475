"""How a run's networks fall into stacks."""

import pytest

from engine.running import members
from engine.running.members import plan
from tests.engine.running.test_tiers import EX


def test_a_stack_holds_whole_settings_and_no_more_than_pays():
    rates = [1e-3 * (1 + i) for i in range(30)]
    p = plan(EX, sweep={"lr": rates}, seeds=5)
    assert p.firsts == (0, 60, 120)  # 12 settings of 5 seeds
    assert [len(p.stack(f)) for f in p.firsts] == [60, 60, 30]
    assert {m.seed for m in p.stack(120)} == set(range(5))
    assert plan(EX, sweep={"lr": rates[:3]}, seeds=5).firsts == (0,)


def test_the_seeds_of_one_setting_stay_together():
    assert plan(EX, seeds=100).firsts == (0,)
    assert plan(EX, sweep={"lr": [0.1, 0.2]}, seeds=100).firsts == (0, 100)


def test_whole_knobs_begin_a_new_stack():
    p = plan(EX, sweep={"width": [4, 8], "lr": [0.1, 0.2, 0.3]}, seeds=2)
    assert p.firsts == (0, 6) and {m.hp.width for m in p.stack(6)} == {8}


@pytest.mark.parametrize(
    ("room", "firsts"), [(1 << 30, (0,)), (30_000, (0, 4, 8)), (1, tuple(range(0, 12, 2)))]
)
def test_large_networks_get_smaller_stacks(monkeypatch, room, firsts):
    monkeypatch.setattr(members, "ROOM", room)
    p = plan(EX, sweep={"lr": [0.1 * (1 + i) for i in range(6)]}, seeds=2)
    one = members._bytes(EX, EX.hyper.of({}))
    assert p.firsts == firsts, one
