"""What every declared experiment must do. A new experiment needs no test of its own to be covered here."""

import dataclasses

import numpy as np
import pytest
import torch

from engine import catalogue
from engine.encoding import decode, encode
from engine.running.members import plan
from engine.running.predict import Predictable, forecast
from engine.running.train import Member, Stack, flatten, train
from engine.spec import STANDARD

torch.set_num_threads(1)
FOUND, PROBLEMS = catalogue.load()
every = pytest.mark.parametrize("ex", FOUND.values(), ids=lambda ex: ex.name)
SHORT = 6


def members(ex, count=2, **values):
    if ex.step is not None:
        values = {"steps": SHORT} | values
    hp = ex.hyper.of(values)
    return [Member(hp, seed) for seed in range(count)]


def frames(ex, ms, **kw):
    return list(train(ex, ms, **kw))


def same(a, b, rtol=0.0):
    assert a.step == b.step and a.values.keys() == b.values.keys()
    for k in a.values:
        scale = np.abs(b.values[k][np.isfinite(b.values[k])]).max(initial=0.0)
        np.testing.assert_allclose(
            a.values[k], b.values[k], rtol=rtol, atol=rtol * scale, err_msg=k, equal_nan=True
        )


def test_the_catalogue_is_whole():
    assert not PROBLEMS, PROBLEMS
    assert FOUND


@every
def test_a_seed_fixes_the_run(ex):
    for a, b in zip(frames(ex, members(ex)), frames(ex, members(ex)), strict=True):
        same(a, b)


@every
def test_stopping_and_resuming_changes_nothing(ex):
    if ex.step is None:
        pytest.skip("it does not train")
    whole = frames(ex, members(ex))
    half = next(f for f in whole if f.step == SHORT // 2)
    rest = frames(ex, members(ex), state=half.state, step=half.step)
    same(rest[-1], whole[-1])
    for k, v in flatten(rest[-1].state).items():
        assert torch.equal(v, flatten(whole[-1].state)[k]) or v.isnan().any(), k


@every
def test_a_member_does_not_depend_on_its_neighbours(ex):
    """To rounding: a stack's matrix products may sum in another order than one member's."""
    together = frames(ex, members(ex, 3), dtype="float64")[-1]
    alone = frames(ex, members(ex, 3)[1:2], dtype="float64")[-1]
    for k in alone.values:
        scale = np.abs(together.values[k]).max()
        np.testing.assert_allclose(
            alone.values[k][0], together.values[k][1], rtol=1e-6, atol=1e-7 * scale, err_msg=k
        )


def ends():
    for ex in FOUND.values():
        for knob in ex.hyper.knobs():
            if knob.name == "steps":
                continue
            for value in knob.choices or (knob.low, knob.high):
                yield pytest.param(ex, knob, value, id=f"{ex.name}-{knob.name}={value}")


@pytest.mark.parametrize(("ex", "knob", "value"), list(ends()))
def test_every_knob_moves_to_its_ends(ex, knob, value):
    """One step there is finite in every metric that is finite at the start."""
    steps = {"steps": 1} if ex.step is not None else {}
    ms = members(ex, 1, **steps, **{knob.name: value})
    first, *_, last = [*frames(ex, ms), None]
    last = last or first
    for name, v in last.values.items():
        assert np.isfinite(v).all() or not np.isfinite(first.values[name]).all(), name


@every
def test_every_knob_refuses_what_lies_beyond(ex):
    for knob in ex.hyper.knobs():
        if knob.kind == "choice":
            with pytest.raises(ValueError, match=rf"^{knob.name} = nonsense is not one of"):
                ex.hyper.of({knob.name: "nonsense"})
            continue
        for beyond in (knob.high * 2 + 1, knob.low - 1):
            with pytest.raises(ValueError, match=rf"^{knob.name} = .* lies outside"):
                ex.hyper.of({knob.name: beyond})
        with pytest.raises(ValueError, match=rf"^{knob.name} = .* is not"):
            ex.hyper.of({knob.name: "much"})


@every
def test_standard_keys_mean_the_same(ex):
    for knob in ex.hyper.knobs():
        assert knob.label and knob.meaning.endswith("."), knob
        if knob.name in STANDARD and knob.name in ("lr", "noise", "steps", "prompt_length"):
            assert knob.label == STANDARD[knob.name][0], knob.name


@every
def test_predictions_have_the_shape_of_their_metric(ex):
    p = plan(ex, {"steps": SHORT} if ex.step is not None else {}, seeds=2)
    for first in p.firsts:
        stack = Stack(ex, p.stack(first), ex.dtype)
        for f in forecast(ex, Predictable(stack)):
            assert f.values.shape[0] == len(f.steps), f.prediction.name
            assert f.values.shape[1] in (1, f.size), f.prediction.name
            if not f.broken:
                assert np.isfinite(f.values).any(), f.prediction.name


@every
def test_it_has_a_page(ex):
    card = catalogue.card(ex)
    assert len(card.page) > 300 and "epartures" in card.page
    assert card.formulae and card.references and card.claims and card.predictions
    assert all(len(f.tex) > 8 and f.text.endswith(".") for f in card.formulae), "no stand-ins"
    assert any(f.symbols for f in card.formulae), "a symbol under the pointer lights its slider"
    assert card.presets[0].name == "default" and not card.presets[0].values
    outcomes = {o for p in card.presets for o in p.expects.values()}
    assert "holds" in outcomes and outcomes & {"fails", "broken"}, "it must also show where it ends"
    for r in card.references:
        assert r.title and (not r.arxiv or r.arxiv.replace(".", "").isdigit()), r
    assert decode(encode(card)) == card


@every
def test_it_runs_in_both_precisions(ex):
    for dtype in ("float32", "float64"):
        last = frames(ex, members(ex, 1), dtype=dtype)[-1]
        for k, v in flatten(last.state).items():
            if v.is_floating_point():
                assert v.dtype == getattr(torch, dtype), k


def test_declarations_that_contradict_themselves_fail_on_import():
    ex = next(iter(FOUND.values()))
    bad = dataclasses.replace(ex.predictions[0], metric="nothing")
    with pytest.raises(ValueError, match="names 'nothing'"):
        dataclasses.replace(ex, predictions=(bad,))
    with pytest.raises(ValueError, match="area/name"):
        dataclasses.replace(ex, name="Nothing")
