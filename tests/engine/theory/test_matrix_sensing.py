"""Logistic law and Riccati flow against gradient descent with small steps; measurements against their definition."""

import math

import numpy as np
import pytest
import torch

from engine.experiments.implicit_bias import matrix_sensing as ms
from engine.running.random import Rng


def descend(hp, U, M, steps):
    """Plain gradient descent on ¼‖UUᵀ − M‖² in float64."""
    for _ in range(steps):
        U = U + hp.lr * (M - U @ U.T) @ U
    return U


def drawn(hp, seed=0):
    torch.set_default_dtype(torch.float64)
    try:
        data = ms.data(hp, Rng(seed, "data", dtype=torch.float64))
        return data, ms.init(hp, Rng(seed, "init", dtype=torch.float64))
    finally:
        torch.set_default_dtype(torch.float32)


def gaps(width, lr, time, alpha=0.1):
    """Largest |x_k − theory| of both laws at `time`, for one draw."""
    steps = round(time / lr)
    hp = ms.HP.of({"d": 6, "width": width, "lr": lr, "init_scale": alpha, "steps": steps})
    data, state = drawn(hp)
    U = descend(hp, state["U"].numpy(), data["M"].numpy(), steps)
    got = ((data["Q"].numpy()[:, :3].T @ U) ** 2).sum(1)
    flow = ms.riccati(hp, torch.tensor([0.0, steps / 2, steps]), data, state)[-1].numpy()
    return np.abs(got - flow).max(), np.abs(got - ms.logistic(hp, [steps])[0]).max()


@pytest.mark.parametrize("width", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("time", [0.7, 1.5, 4.0])
def test_flows_are_the_limit_of_small_steps(width, time):
    """The gap is first order in the step size: bounded by it, and a tenth of it at a tenth of the step."""
    coarse, fine = gaps(width, 1e-2, time), gaps(width, 1e-3, time)
    laws = (0, 1) if width >= 6 else (0,)  # the logistic law needs r ≥ d
    for law in laws:
        assert coarse[law] < 4 * 1e-2 * ms.TOP
        assert fine[law] < 0.15 * coarse[law] + 1e-6


def test_half_times():
    for alpha in (1e-6, 1e-3, 0.1):
        hp = ms.HP.of({"init_scale": alpha, "lr": 1e-3})
        for k, s in enumerate(ms.eigenvalues(hp)):
            at = ms.half_time(hp, k)
            assert ms.logistic(hp, [at])[0, k] == pytest.approx(s / 2)
            flow = math.log(s / alpha**2 - 1) / (2 * s)
            assert hp.lr * at == pytest.approx(flow, rel=hp.lr * s)  # (1 + ηs)^k against e^{st}


def test_loss_distance_and_rank_of_the_logistic_law():
    """From the three eigenvalues and the idle ones, against the matrix itself."""
    hp = ms.HP.of({"d": 6, "width": 6, "init_scale": 0.3, "lr": 1e-3})
    t = np.array([0.0, 400.0, 2000.0])
    data, _ = drawn(hp)
    Q, M = data["Q"].numpy(), data["M"].numpy()
    for i, step in enumerate(t):
        lam = np.concatenate([ms.logistic(hp, [step])[0], np.full(3, ms.idle(hp, step))])
        X = (Q * lam) @ Q.T
        U = torch.tensor(np.linalg.cholesky(X))
        assert ms.whole_loss(hp, t)[i] == pytest.approx(float(ms.loss(hp, {"U": U}, data)))
        want = ms.distance(hp, {"U": U}, data).numpy()
        np.testing.assert_allclose(ms.whole_distance(hp, t)[i], want, rtol=1e-9)
        assert ms.whole_rank(hp, t)[i] == float(ms.rank(hp, {"U": U}, data))
        assert 0.25 * np.square(X - M).sum() == pytest.approx(ms.whole_loss(hp, t)[i])


def test_packing_is_an_isometry():
    torch.manual_seed(0)
    X, Y = (torch.randn(5, 5, dtype=torch.float64) for _ in range(2))
    X, Y = X + X.mT, Y + Y.mT
    assert torch.allclose(ms.unpack(ms.pack(X), 5), X)
    assert float(ms.pack(X) @ ms.pack(Y)) == pytest.approx(float((X * Y).sum()))


def test_step_with_measurements_is_the_gradient():
    hp = ms.HP.of({"observed": "measured", "n": 60, "d": 5, "width": 4, "noise": 0.5, "lr": 0.01})
    data, state = drawn(hp)
    U = state["U"].clone().requires_grad_()
    ms.loss(hp, {"U": U}, data).backward()
    moved = ms.step(hp, state, data)["U"]
    assert torch.allclose(moved, state["U"] - hp.lr * U.grad, atol=1e-12)


def test_measurements_average_to_the_whole():
    """H = I and b = M as n → ∞, each entry within five standard errors."""
    n = 5000
    hp = ms.HP.of({"observed": "measured", "n": n, "d": 5, "noise": 1.0})
    data, _ = drawn(hp)
    H = data["H"].numpy()
    off = ~np.eye(len(H), dtype=bool)
    assert np.abs(H[off]).max() < 5 / math.sqrt(n)
    assert np.abs(np.diag(H) - 1).max() < 5 * math.sqrt(2 / n)
    spread = math.sqrt(float(data["s"].square().sum()) * 2 + 1)
    assert float((data["b"] - ms.pack(data["M"])).abs().max()) < 5 * spread / math.sqrt(n)
