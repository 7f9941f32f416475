"""The exponent r of an abc parametrisation: the paper's table, its symmetry, and parametrisations between the named ones."""

from __future__ import annotations

import math

import pytest
import torch

from engine.experiments.kernels import feature_learning as page
from engine.running.random import Rng

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def trained(seed, **values):
    hp = page.HP.of({"n": 12, "d": 20} | values)
    state, data = page.init(hp, Rng(seed, "init")), page.data(hp, Rng(seed, "data"))
    for _ in range(hp.steps):
        state = page.step(hp, state, data)
    return hp, state, data


@pytest.mark.parametrize(
    ("name", "last", "first", "out"),
    [
        ("mup", 0, 0, -0.5),
        ("ntk", -0.5, -0.5, 0),
        ("standard", -0.5, -1.5, 0),
        ("unscaled", 1, 0, 0),
    ],
)
@pytest.mark.parametrize("depth", [3, 4])
def test_exponents_of_the_named_parametrisations(name, last, first, out, depth):
    hp = page.HP.of({"parametrisation": name, "depth": depth})
    assert page.feature_exponent(hp, depth - 1) == last
    assert page.feature_exponent(hp, 1) == first
    assert page.output_exponent(hp) == out


@pytest.mark.parametrize("shift", [-0.5, 0.25])
@pytest.mark.parametrize("name", ["mup", "ntk", "standard"])
def test_shifting_a_against_b_and_c_changes_nothing(monkeypatch, name, shift):
    """W_l = n^{−a} w_l is the same network under (a + θ, b − θ, c − 2θ): the same functions and the same r."""
    plain = page.abc
    hp, state, data = trained(0, parametrisation=name, width=64, steps=5)
    f, r = page.forward(hp, state["params"], data["x"])[-1], page.feature_exponent(hp, 2)
    shifted = lambda hp: (
        [a + shift for a in plain(hp)[0]],
        [b - shift for b in plain(hp)[1]],
        plain(hp)[2] - 2 * shift,
    )
    monkeypatch.setattr(page, "abc", shifted)
    hp, state, data = trained(0, parametrisation=name, width=64, steps=5)
    torch.testing.assert_close(page.forward(hp, state["params"], data["x"])[-1], f)
    assert page.feature_exponent(hp, 2) == r


@pytest.mark.parametrize("s", [0.25, 0.6])
def test_between_kernel_and_maximal_update_r_is_measured(monkeypatch, s):
    """a = (−½, 0, s/2), b = ½, c = 1 − s runs from the tangent kernel (s = 0) to μP (s = 1) with r = (1 − s)/2."""
    monkeypatch.setattr(page, "abc", lambda hp: ([-0.5, 0.0, s / 2], [0.5] * 3, 1 - s))
    assert page.feature_exponent(page.HP.of({}), 2) == pytest.approx(-(1 - s) / 2)
    slopes = []
    for seed in range(16):
        sizes = []
        for width in (128, 1024):
            run = trained(seed, width=width, steps=3)
            sizes.append(page.movement(-2)(*run) / page.movement(-1)(*run))
        slopes.append(math.log(sizes[1] / sizes[0]) / math.log(8))
    slope = torch.tensor(slopes)
    # four standard errors, and corrections of relative order 128^{−1/2} at the narrow end: 0.09/ln 8
    allowed = 4 * slope.std() / math.sqrt(len(slopes)) + 128**-0.5 / math.log(8)
    assert abs(slope.mean() + (1 - s) / 2) < allowed
