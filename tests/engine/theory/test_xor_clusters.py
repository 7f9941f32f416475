"""The step-one formulas against direct simulation, and training in the span against training the weights."""

import math

import numpy as np
import torch
from torch.func import grad

from engine.experiments.generalisation import xor_clusters as xor
from engine.running.random import Rng

torch.set_num_threads(1)


def test_training_in_the_span_is_training_the_weights():
    hp = xor.HP.of({"d": 200, "n": 60, "width": 32, "init_scale": 1e-2, "lr": 0.2})
    torch.set_default_dtype(torch.float64)
    try:
        rng = Rng(0, "data")
        X, clean = xor.points(hp, rng, hp.n)
        y = clean * (1 - 2 * rng.bernoulli(hp.flips, hp.n))
        xor.points(hp, rng, xor.TEST)
        W = hp.init_scale * rng.normal(hp.width, hp.d)
        data = xor.data(hp, Rng(0, "data"))
        a, state = data["a"], xor.init(hp, Rng(0, "init"))
        assert torch.equal(y, data["y"])
        for _ in range(5):
            loss = lambda W: torch.nn.functional.softplus(-y * (torch.relu(X @ W.T) @ a)).mean()
            W = W - hp.lr * grad(loss)(W)
            state = xor.step(hp, state, data)
        f = xor.output(data["H0"], data["K"], state["C"], a)
        torch.testing.assert_close(f, torch.relu(X @ W.T) @ a, rtol=1e-9, atol=1e-12)
    finally:
        torch.set_default_dtype(torch.float32)


def test_closed_form_against_simulated_first_steps():
    """400 data sets; their clusters' random imbalance makes single ones scatter by about 0.1."""
    hp = xor.HP.of({"d": 1000, "n": 150, "separation": 9.0, "width": 256})
    rng = np.random.default_rng(1)
    right = []
    for _ in range(400):
        axis, sign = rng.integers(2, size=hp.n), rng.choice([-1, 1], hp.n)
        X = rng.standard_normal((hp.n, hp.d))
        X[np.arange(hp.n), axis] += sign * hp.separation
        y = np.where(axis == 0, 1, -1) * np.where(rng.random(hp.n) < hp.flips, -1, 1)
        gates = rng.integers(2, size=(hp.width, hp.n))
        Z = (gates * y) @ (X @ X.T)
        s = rng.choice([-1, 1], hp.width)[:, None]
        right.append(((s * np.maximum(s * Z, 0)).sum(0) * y > 0).mean())
    error = np.std(right) / math.sqrt(len(right))
    assert error < 0.008
    assert abs(np.mean(right) - xor.first_step_accuracy(hp)) < 4 * error


def test_closed_form_limits():
    far = xor.HP.of({"d": 6000, "n": 50, "separation": 2.0, "width": 1024})
    assert xor.first_step_accuracy(far) > 0.999
    full = xor.HP.of({"d": 200, "n": 600, "separation": 20.0})
    assert 0.5 < xor.first_step_accuracy(full) < 0.6
