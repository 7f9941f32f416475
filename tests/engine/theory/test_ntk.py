"""The tangent kernels and linear dynamics of kernels/ntk against automatic differentiation, Monte Carlo and iteration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.func import jacrev

from engine.experiments.kernels import ntk as page
from engine.running.random import Rng
from engine.theory.kernels import limit_kernels

CASES = list(itertools.product(("erf", "relu"), (2, 3), (0.7, 1.5)))


@pytest.fixture(autouse=True)
def _double() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(before)


def drawn(seed: int = 0, **values):
    hp = page.HP.of(values)
    return hp, page.init(hp, Rng(seed, "init")), page.data(hp, Rng(seed, "data"))


def jacobian(hp, params, x):
    """(samples, all parameters)"""
    parts = jacrev(lambda p: page.output(hp, p, x))(params)
    return torch.cat([parts[k].reshape(len(x), -1) for k in sorted(parts)], dim=1)


@pytest.mark.parametrize(("activation", "depth", "scale"), CASES)
def test_layerwise_kernel_is_the_jacobians(activation, depth, scale):
    hp, state, data = drawn(activation=activation, depth=depth, init_scale=scale, width=40, n=7)
    J = jacobian(hp, state["params"], data["x"])
    torch.testing.assert_close(page.ntk(hp, state["params"], data["x"]), J @ J.T)


@pytest.mark.parametrize(("activation", "depth", "scale"), CASES)
def test_limit_kernel_is_the_mean_of_wide_networks(activation, depth, scale):
    """One hidden layer is unbiased at any width; deeper ones have a bias of order 1/width, allowed for by 3/width."""
    hp, _, data = drawn(activation=activation, depth=depth, init_scale=scale, width=512, n=6, d=3)
    draws = torch.stack(
        [
            page.ntk(hp, page.init(hp, Rng(s, "init"))["params"], data["x"])
            for s in range(400 if depth == 2 else 60)
        ]
    )
    want = page.limit_ntk(hp, data["x"])
    error = draws.std(0) / math.sqrt(len(draws))
    bias = 0.0 if depth == 2 else 3 / hp.width * float(want.max())
    # 36 correlated entries: five standard errors are passed by chance once in 50,000 runs
    assert ((draws.mean(0) - want).abs() <= 5 * error + bias).all()


def test_limit_covariance_is_that_of_outputs():
    """Σ of the output layer, for one hidden layer exact at any width: E f(x) f(x′)."""
    for activation in ("erf", "relu"):
        hp, _, data = drawn(activation=activation, init_scale=1.3, width=30, n=4)
        f = torch.stack(
            [
                page.output(hp, page.init(hp, Rng(s, "init"))["params"], data["x"])
                for s in range(3000)
            ]
        )
        products = f[:, :, None] * f[:, None, :]
        want = limit_kernels(data["x"], hp.depth, activation, hp.init_scale)[0]
        assert ((products.mean(0) - want).abs() <= 5 * products.std(0) / math.sqrt(len(f))).all()


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_predictions_are_gradient_descent_on_the_linearised_network(activation):
    hp, state, data = drawn(activation=activation, width=50, n=9, lr=0.4)
    J = jacobian(hp, state["params"], data["x"])
    J_circle = jacobian(hp, state["params"], data["circle"])
    f0 = page.output(hp, state["params"], data["x"])
    theta = torch.zeros(J.shape[1])
    for _ in range(37):
        theta = theta - hp.lr / hp.n * J.T @ (f0 + J @ theta - data["y"])
    r = f0 + J @ theta - data["y"]
    t = torch.tensor([0.0, 37.0])
    _, modes = page.spectrum(hp, state, data)
    args = (hp, t, data, state)
    torch.testing.assert_close(page.linear_residual(*args)[1], modes.T @ r / math.sqrt(hp.n))
    torch.testing.assert_close(page.linear_loss(*args)[1], 0.5 * r.square().mean())
    torch.testing.assert_close(page.linear_movement(*args)[1], theta.norm())
    torch.testing.assert_close(
        page.linear_function(*args)[1], page.function(hp, state, data) + J_circle @ theta
    )
    torch.testing.assert_close(page.linear_function(*args)[0], page.function(hp, state, data))


def test_more_samples_than_parameters_give_finite_predictions():
    hp, state, data = drawn(width=16, n=64, d=2, activation="relu")
    t = torch.tensor([0.0, 3000.0])
    for curve in (page.linear_residual, page.linear_function, page.linear_movement):
        assert torch.isfinite(curve(hp, t, data, state)).all()
