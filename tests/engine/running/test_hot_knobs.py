"""A hot knob takes another value: what was recorded and compiled goes on, and gives what a new start would give."""

import pytest
import torch

from engine import catalogue
from engine.running import tiers
from engine.running.native.build import compiler
from engine.running.train import Machine, Member, flatten, train

CASES = [  # experiment, knobs, a hot knob and its next values, where it changes
    ("stability/edge_of_stability", {"width": 8, "steps": 900}, "lr", (0.05, 0.02), (40, 500)),
    ("in_context/linear_attention", {"d": 3, "steps": 900}, "lr", (0.01, 0.004), (40, 500)),
]


def members(ex, values, seeds=3):
    return [Member(ex.hyper.of(values), s) for s in range(seeds)]


def go(frames, until):
    """The frames up to a step."""
    out = []
    for f in frames:
        out.append(f)
        if f.step >= until:
            break
    return out


def run(ex, values, knob, news, at, kept):
    """Frames of a run whose knob changes; `kept`: by one machine, else each part starts anew."""
    now = members(ex, values)
    machine = Machine(ex, now) if kept else None
    marks = frozenset(at)
    out = go(train(ex, now, marks=marks, machine=machine), at[0])
    for value, until in zip(news, (*at[1:], values["steps"]), strict=True):
        now = members(ex, {**values, knob: value})
        machine = machine.tuned(now) if machine else None
        last = out[-1]
        more = train(
            ex, now, state=last.state, step=last.step, marks=marks, read=False, machine=machine
        )
        out += go(more, until)
    return out


@pytest.mark.parametrize(("name", "values", "knob", "news", "at"), CASES)
def test_a_kept_machine_gives_what_a_new_one_gives(name, values, knob, news, at, monkeypatch):
    monkeypatch.setattr(tiers, "SWITCH", 1.0)  # compiled from the earliest step on
    ex = catalogue.get(name)
    kept = run(ex, values, knob, news, at, True)
    new = run(ex, values, knob, news, at, False)
    readings = [{(f.step, m): v for f in frames for m, v in f.values.items()} for frames in (kept, new)]  # fmt: skip
    assert readings[0].keys() == readings[1].keys()
    for key, v in readings[0].items():
        assert (torch.as_tensor(v) == torch.as_tensor(readings[1][key])).all(), key
    states = [flatten(frames[-1].state) for frames in (kept, new)]
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())
    if compiler():
        assert kept[-1].tiers["compiled"] and new[-1].tiers["compiled"]


@pytest.mark.parametrize(("name", "values", "knob", "news", "at"), CASES)
def test_the_new_value_is_felt(name, values, knob, news, at, monkeypatch):
    monkeypatch.setattr(tiers, "SWITCH", 1.0)
    ex = catalogue.get(name)
    same = (getattr(ex.hyper.of(values), knob),) * 2
    ends = [flatten(run(ex, values, knob, v, at, True)[-1].state) for v in (same, news)]
    assert any(not torch.equal(v, ends[1][k]) for k, v in ends[0].items())


def test_counts_are_those_of_the_part():
    ex = catalogue.get(CASES[0][0])
    now = members(ex, {"width": 8, "steps": 60})
    machine = Machine(ex, now)
    first = go(train(ex, now, marks=frozenset({20}), machine=machine), 20)[-1]
    machine = machine.tuned(members(ex, {"width": 8, "steps": 60, "lr": 0.05}))
    rest = list(train(ex, now, state=first.state, step=20, machine=machine))[-1]
    assert sum(first.tiers.values()) == 20 and sum(rest.tiers.values()) == 40


def test_other_shapes_and_seeds_make_another_machine():
    ex = catalogue.get(CASES[0][0])
    machine = Machine(ex, members(ex, {"width": 8, "steps": 60}))
    assert machine.tuned(members(ex, {"width": 8, "steps": 60, "lr": 0.05})) is machine
    assert machine.tuned(members(ex, {"width": 9, "steps": 60})) is not machine
    others = [Member(m.hp, m.seed + 1) for m in members(ex, {"width": 8, "steps": 60})]
    assert machine.tuned(others) is not machine
