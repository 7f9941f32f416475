"""Data drawn once for a run, its predictions and its verdicts: the same as drawn anew, whatever a knob is set to."""

from dataclasses import fields, replace

import pytest
import torch

from engine import catalogue
from engine.running import train
from engine.running.drawn import Kept
from engine.running.train import Member, Stack, flatten

EVERY = catalogue.load()[0]
WITH_DATA = sorted(n for n, ex in EVERY.items() if ex.data is not None)
XOR = EVERY["generalisation/xor_clusters"]
SMALL = {"d": 200, "n": 50, "width": 32}


def stack(ex=XOR, values=SMALL, seeds=(0, 1), dtype="float32"):
    return Stack(ex, [Member(ex.hyper.of(values), s) for s in seeds], dtype)


def drawn(*args, **kwargs):
    """One of the tensors of such a stack."""
    return next(iter(flatten(stack(*args, **kwargs).data()).values()))


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(train, "kept", Kept())
    return train.kept


@pytest.mark.parametrize("name", WITH_DATA)
def test_what_is_kept_is_what_is_drawn_anew(name, monkeypatch):
    """With each hot knob moved as well, in either order: what was kept for one value is right for the other."""
    ex = EVERY[name]
    plain = {k.name: k.default for k in ex.hyper.knobs()}
    moved = [plain | {k.name: (k.low + k.default) / 2} for k in ex.hyper.knobs() if k.hot]
    monkeypatch.setattr(train, "kept", Kept())
    for values in (plain, *moved, plain):
        mine = flatten(stack(ex, values).data())
        with monkeypatch.context() as m:
            m.setattr(train, "kept", None)
            anew = flatten(stack(ex, values).data())
        assert mine.keys() == anew.keys()
        assert all(torch.equal(mine[k], v) and mine[k].dtype == v.dtype for k, v in anew.items())


def test_a_knob_that_data_do_not_look_at_leaves_them(kept):
    first = drawn()
    assert drawn(values=SMALL | {"lr": 0.1}) is first
    for other in (
        {"values": SMALL | {"separation": 3.0}},
        {"seeds": (0, 2)},
        {"seeds": (0,)},
        {"dtype": "float64"},
        {"ex": replace(XOR, data=lambda hp, rng: {"y": rng.normal(hp.n)})},
    ):
        assert drawn(**other) is not first
    assert drawn() is first


def test_data_that_look_at_all_knobs_at_once_depend_on_all(kept):
    for look in (vars, repr, lambda hp: [getattr(hp, f.name) for f in fields(hp)]):

        def data(hp, rng, look=look):
            look(hp)
            return {"X": rng.normal(hp.n)}

        ex = replace(XOR, data=data)
        first = drawn(ex)
        assert drawn(ex) is first
        assert drawn(ex, SMALL | {"lr": 0.1}) is not first


def test_a_knob_among_the_data_is_not_kept_since_it_moves(kept):
    ex = replace(XOR, data=lambda hp, rng: {"lr": hp.lr})
    stack(ex).data()
    assert not kept.entries


def test_so_much_is_kept_and_what_was_used_last_stays(monkeypatch):
    size = sum(v.nbytes for v in flatten(stack().data()).values())
    monkeypatch.setattr(train, "kept", Kept(int(2.5 * size)))
    a = drawn(seeds=(0, 1))
    drawn(seeds=(2, 3))
    assert drawn(seeds=(0, 1)) is a
    drawn(seeds=(4, 5))
    assert drawn(seeds=(0, 1)) is a
    assert sum(e.size for e in train.kept.entries) <= train.kept.most
    train.kept.most = 10
    before = list(train.kept.entries)
    assert drawn(seeds=(6, 7)) is not drawn(seeds=(6, 7)) and train.kept.entries == before


def test_a_users_own_data_are_drawn_each_time(kept):
    """Its author may write into them."""
    ex = replace(XOR, name="own/mine")
    assert drawn(ex) is not drawn(ex)
    assert not kept.entries
