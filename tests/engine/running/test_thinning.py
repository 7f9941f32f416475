"""A run that is paused very often does not collect checkpoints without bound; what a branch needs stays."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import Changed, Checkpoint, Start
from engine.running.runs import KEPT, LATELY, begin, copied_past, replayed
from tests.reliability.cardboard import BEGUN, NAME


def fresh(stacks=(0, 2)):
    members = {"seed": np.arange(2 * len(stacks))}
    started = BEGUN.__class__(**{**vars(BEGUN), "run": "a", "stacks": stacks, "members": members})
    return begin(Start("a", NAME), started)


def reach(run, step, stacks=None):
    gone = []
    for f in run.stacks if stacks is None else stacks:
        run.take(Checkpoint(run.id, step, f, {"params/w": np.full((2, 1), float(step))}))
        gone += run.thin(f)
    return gone


def steps(run, first=0):
    return sorted(s for f, s in run.checkpoints if f == first)


def test_a_run_stepped_a_thousand_times_keeps_an_even_spread():
    run = fresh()
    said = set()
    for step in range(1, 1001):
        said |= set(reach(run, step))
    kept = steps(run)
    assert len(kept) == KEPT and kept == steps(run, 2)
    assert kept[0] == 1 and kept[-LATELY:] == list(range(1001 - LATELY, 1001))
    assert said == set(range(1, 1001)) - set(kept)
    assert max(np.diff(kept)) <= 4 * 1000 / KEPT
    (again,) = [replayed(run.messages(), "b")]
    assert again.stacks[0].step == 1000 and steps(again) == kept


def test_where_a_branch_began_stays():
    run = fresh((0,))
    for step in range(1, 500):
        reach(run, step)
        if step in (3, 4, 5, 200):
            run.named.add(step)
    assert {3, 4, 5, 200} <= set(steps(run)) and len(steps(run)) <= KEPT


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from([(0,), (2,), (0, 2)])), max_size=300)
)
def test_every_stack_keeps_where_it_stands_and_never_too_many(visits):
    run = fresh()
    for step, stacks in visits:
        reach(run, step, stacks)
        for f, s in run.stacks.items():
            mine = steps(run, f)
            assert len(mine) <= KEPT + len(run.stacks)
            assert not mine or mine[-1] == s.step
            if mine:
                assert run.checkpoints[(f, s.step)] is s.arrays


def test_one_value_of_a_knob_at_a_step_the_last():
    run = fresh((0,))
    for value in (0.2, 0.3, 0.2):
        run.take(Changed("a", 5, "lr", value))
    run.take(Changed("a", 6, "lr", 0.3))
    assert [(c.step, c.value) for c in run.changes] == [(5, 0.2), (6, 0.3)]
    branch = fresh((0,))
    for m in [*run.changes, *copied_past(run, "a", 6)]:
        branch.take(m)
    assert branch.changes == run.changes
