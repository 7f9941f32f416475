"""Moments, gradient, A + B + C and kernel regression of kernels/lazy_to_rich_grokking against the plain network."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import grad, jacrev

from engine.experiments.kernels import lazy_to_rich_grokking as page
from engine.running.random import Rng

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def drawn(**values):
    hp = page.HP.of({"d": 6, "n": 20, "width": 15, "lr": 1.0} | values)
    return hp, page.init(hp, Rng(3, "init")), page.data(hp, Rng(3, "data"))


def network(hp, W, state, X):
    """(α/N) Σ φ(w·x), neuron by neuron."""
    act = lambda h: h + hp.nonlinearity / 2 * h**2
    f = hp.output_scale * act(X @ W.T).mean(1)
    f0 = hp.output_scale * act(X @ state["W_start"].T).mean(1)
    return f - f0 if hp.start == "centred" else f


STARTS = pytest.mark.parametrize("start", ["as drawn", "centred"])


@STARTS
def test_a_step_is_gradient_descent_on_the_plain_network(start):
    hp, state, data = drawn(start=start, output_scale=3.0, nonlinearity=0.4)
    loss = lambda W: (network(hp, W, state, data["X"]) - data["y"]).square().sum() / (2 * hp.n)
    for _ in range(3):
        W = state["W"]
        torch.testing.assert_close(
            page.evaluate(hp, state, data["X_test"]), network(hp, W, state, data["X_test"])
        )
        rate = hp.lr * hp.width / hp.output_scale**2
        state = page.step(hp, state, data)
        torch.testing.assert_close(state["W"], W - rate * grad(loss)(W))


@STARTS
def test_terms_are_the_mean_over_inputs(start):
    """Against 400,000 plain Gaussian inputs, within five standard errors; and the stratified test set is unbiased."""
    hp, state, data = drawn(start=start, output_scale=2.0)
    for _ in range(5):
        state = page.step(hp, state, data)
    want = page.risk(hp, state, data)
    g = torch.Generator().manual_seed(0)
    X = torch.randn(400_000, hp.d, generator=g) / math.sqrt(hp.d)
    squares = (page.evaluate(hp, state, X) - page.target(X)).square()
    assert abs(squares.mean() - want) < 5 * squares.std() / math.sqrt(len(X))
    losses = torch.stack(
        [page.test_loss(hp, state, page.data(hp, Rng(s, "data"))) for s in range(60)]
    )
    assert abs(losses.mean() - want) < 5 * losses.std() / math.sqrt(len(losses))
    assert losses.std() < 0.05 * want


@STARTS
@pytest.mark.parametrize("n", [20, 40])
def test_regression_is_gradient_descent_on_the_linearised_network(start, n):
    """40 samples are more than the 27 features of D = 6, so that the kernel is singular."""
    hp, state, data = drawn(start=start, n=n, output_scale=1.5, nonlinearity=0.5)
    W0, X = state["W_start"], data["X"]
    J = jacrev(lambda W: network(hp, W, state, X))(W0).flatten(1)
    k = page.kernel(hp, state, data)
    torch.testing.assert_close(k.K, J @ J.T)
    f0 = network(hp, W0, state, X)
    theta = torch.zeros(J.shape[1])
    rate = hp.lr * hp.width / hp.output_scale**2 / hp.n
    for _ in range(50):
        theta = theta - rate * J.T @ (f0 + J @ theta - data["y"])
    train, test = page.regress(hp, torch.tensor([0.0, 50.0]), data, state)
    torch.testing.assert_close(train[1], (f0 + J @ theta - data["y"]).square().mean())
    torch.testing.assert_close(test[0], page.risk(hp, state, data))
    # the linear model is a quadratic: its loss over all inputs by cubature, exact to fifth degree
    torch.testing.assert_close(test[1], exact_loss(hp, state, theta))
    theta = -torch.linalg.pinv(J, rtol=1e-9) @ (f0 - data["y"])
    torch.testing.assert_close(
        page.kernel_level(hp, None, data, state), exact_loss(hp, state, theta)
    )


def exact_loss(hp, state, theta):
    """E (f_lin − y)² over x ~ N(0, 1/D) by a tensor Gauss-Hermite rule of 3 nodes an axis, exact to degree 5."""
    nodes = torch.tensor([-math.sqrt(3), 0.0, math.sqrt(3)])
    weights = torch.tensor([1 / 6, 2 / 3, 1 / 6])
    X = torch.cartesian_prod(*[nodes] * hp.d) / math.sqrt(hp.d)
    w = torch.cartesian_prod(*[weights] * hp.d).prod(1)
    W0 = state["W_start"]
    J = jacrev(lambda W: network(hp, W, state, X))(W0).flatten(1)
    return (w * (network(hp, W0, state, X) + J @ theta - page.target(X)) ** 2).sum()
