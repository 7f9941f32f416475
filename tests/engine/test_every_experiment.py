"""What every declared experiment must do. A new experiment needs no test of its own to be covered here."""

import dataclasses

import pytest
import torch

from engine import catalogue
from engine.encoding import decode, encode
from engine.running import examine
from engine.running.members import plan
from engine.running.predict import Predictable, forecast
from engine.running.train import Member, Stack, flatten, train

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


def test_the_catalogue_is_whole():
    assert not PROBLEMS, PROBLEMS
    assert FOUND


@every
@pytest.mark.parametrize("what", examine.CHECKS)
def test_what_every_author_can_ask(ex, what):
    """The checks that `lemmascope check` puts to users' own experiments."""
    assert examine.complaints(examine.CHECKS[what], ex) == []


@every
def test_stopping_and_resuming_keeps_the_state(ex):
    """Beyond the readings, which are one of the checks."""
    if ex.step is None:
        pytest.skip("it does not train")
    whole = frames(ex, members(ex))
    half = next(f for f in whole if f.step == SHORT // 2)
    rest = frames(ex, members(ex), state=half.state, step=half.step)
    assert rest[-1].step == whole[-1].step
    for k, v in flatten(rest[-1].state).items():
        assert torch.equal(v, flatten(whole[-1].state)[k]) or v.isnan().any(), k


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
def test_a_prediction_has_a_value_for_each_of_its_steps(ex):
    p = plan(ex, {"steps": SHORT} if ex.step is not None else {}, seeds=2)
    for first in p.firsts:
        for f in forecast(ex, Predictable(Stack(ex, p.stack(first), ex.dtype))):
            assert len(f.values) == len(f.steps), f.prediction.name


@every
def test_its_card_is_more_than_a_form(ex):
    card = catalogue.card(ex)
    assert all(len(f.tex) > 8 and f.text.endswith(".") for f in card.formulae), "no stand-ins"
    assert all(r.title for r in card.references)
    assert decode(encode(card)) == card


def test_declarations_that_contradict_themselves_fail_on_import():
    ex = next(iter(FOUND.values()))
    bad = dataclasses.replace(ex.predictions[0], metric="nothing")
    with pytest.raises(ValueError, match="names 'nothing'"):
        dataclasses.replace(ex, predictions=(bad,))
    with pytest.raises(ValueError, match="area/name"):
        dataclasses.replace(ex, name="Nothing")
