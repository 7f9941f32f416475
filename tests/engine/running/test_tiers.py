"""The recorded tier against the plain one, bit for bit; what cannot be recorded stays plain."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.func import grad

from engine.ingredients import rules
from engine.reducers import Late
from engine.running import tiers
from engine.running.recording import record
from engine.running.tape import CannotRecord
from engine.running.train import Member, flatten, train
from engine.spec import (
    Claim,
    Experiment,
    Formula,
    Hyper,
    Metric,
    Preset,
    Real,
    Reference,
    View,
    hyper,
)

torch.set_num_threads(1)


class HP(Hyper):
    width: int = hyper(8, 1, 64)
    batch: int = hyper(13, 1, 64)  # odd, so that vectors of numbers have a tail
    lr: Real = hyper(1e-2, 1e-4, 1, scale="log", hot=True)
    steps: int = hyper(60, 1, 1000)


def init(hp, rng):
    params = {"W": rng.normal(3, hp.width), "b": rng.normal(hp.width), "v": rng.normal(hp.width)}
    return {"params": params, "slots": rules.adam_slots(params)}


def draw(hp, rng):
    x = rng.normal(hp.batch, 3)
    return {"x": x, "y": torch.sin(x[:, 0]) + 0.1 * rng.normal(hp.batch)}


def loss(params, batch):
    hidden = torch.tanh(batch["x"] @ params["W"] + params["b"])
    return (hidden @ params["v"] - batch["y"]).square().mean()


def step(hp, state, batch):
    params, slots = rules.adam(
        state["params"], grad(loss)(state["params"], batch), state["slots"], hp.lr
    )
    return {"params": params, "slots": slots}


EX = Experiment(
    name="test/drawn",
    title="Drawn",
    hyper=HP,
    init=init,
    step=step,
    draw=draw,
    data=lambda hp, rng: {"held": draw(hp, rng)},
    metrics=(Metric("loss", lambda hp, s, d: loss(s["params"], d["held"]), "loss"),),
    views=(View(("loss",)),),
    references={"r": Reference("R", "")},
    formulae=(Formula("x", "x"),),
    claims=(Claim("c", "c", Late("loss"), lambda hp: 0.0, "r"),),
    presets=(Preset("default", "d"),),
)


def run(ex, monkeypatch, step_after, read_after=0.0, ahead=64, seeds=3, **kw):
    monkeypatch.setattr(tiers, "STEP_AFTER", step_after)
    monkeypatch.setattr(tiers, "READ_AFTER", read_after)
    monkeypatch.setattr(tiers, "AHEAD", ahead)
    hp = ex.hyper.of({})
    return list(train(ex, [Member(hp, s) for s in range(seeds)], **kw))


def equal(a, b):
    for k, v in flatten(a.state).items():
        assert torch.equal(v, flatten(b.state)[k]), k
    for k, v in a.values.items():
        np.testing.assert_array_equal(v, b.values[k])


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ahead", [1, 7, 64])
def test_recorded_equals_plain_bit_for_bit(monkeypatch, seeds, dtype, ahead):
    plain = run(EX, monkeypatch, 1e9, 1e9, seeds=seeds, dtype=dtype)
    fast = run(EX, monkeypatch, 0.0, ahead=ahead, seeds=seeds, dtype=dtype)
    assert plain[-1].tiers == {"plain": 60, "recorded": 0, "compiled": 0}
    assert fast[-1].tiers["recorded"] >= 58
    for a, b in zip(plain, fast, strict=True):
        equal(a, b)


def test_resuming_inside_a_block_of_draws_changes_nothing(monkeypatch):
    whole = run(EX, monkeypatch, 0.0)
    middle = whole[23]
    rest = run(EX, monkeypatch, 0.0, state=middle.state, step=23)
    equal(rest[-1], whole[-1])


def test_what_cannot_be_recorded_stays_plain(monkeypatch):
    def branching(hp, state, batch):
        new = step(hp, state, batch)
        if float(batch["x"].sum()) > 1e9:  # needs a value: vmap itself refuses, so this is looped
            return state
        return new

    looped = dataclasses.replace(EX, step=branching, looped=True)
    frames = run(looped, monkeypatch, 0.0)
    assert frames[-1].tiers == {"plain": 60, "recorded": 0, "compiled": 0}
    torch.testing.assert_close(
        flatten(frames[-1].state)["params/W"],
        flatten(run(EX, monkeypatch, 1e9)[-1].state)["params/W"],
        rtol=1e-3,
        atol=1e-4,
    )


def test_a_step_with_randomness_of_its_own_is_not_recorded():
    with pytest.raises(CannotRecord, match="random"):
        record(lambda x: [x + torch.rand(3)], torch.zeros(3))


def test_constants_are_computed_once_and_views_dropped():
    c = torch.arange(6.0).reshape(2, 3)
    fn = record(lambda x: [x.view(3) + c.sum(0) * 2, x], torch.ones(3))
    a, b = fn(torch.ones(3))
    torch.testing.assert_close(a, 1 + c.sum(0) * 2)
    torch.testing.assert_close(b, torch.ones(3))
