"""The error integrals against exact averages over many drawn matrices, and at their limits."""

import numpy as np
import pytest

from engine.experiments.generalisation import linear_dynamics as ld


def exact(hp, t, draws, seed):
    """Mean over matrices of the exact expectation over teacher, noise and start (float64)."""
    rng = np.random.default_rng(seed)
    test, train = [], []
    for _ in range(draws):
        X = rng.standard_normal((hp.n, hp.d)) / np.sqrt(hp.d)
        lam = np.linalg.eigvalsh(X.T @ X).clip(0)
        left = (1 - hp.lr * lam) ** t
        grown = np.divide((1 - left) ** 2, lam, out=np.zeros_like(lam), where=lam > 1e-9)
        s = 1 + hp.init_scale**2
        test.append(hp.noise**2 + (s * left**2 + hp.noise**2 * grown).mean())
        both = np.linalg.eigvalsh(X @ X.T).clip(0)
        train.append(((1 - hp.lr * both) ** (2 * t) * (both * s + hp.noise**2)).mean())
    return np.array(test), np.array(train)


@pytest.mark.parametrize("n", [75, 300, 600])
def test_integrals_are_the_large_size_limit(n):
    hp = ld.HP.of({"d": 300, "n": n, "lr": 0.05})
    for t in (1, 20, 200, 2000):
        test, train = exact(hp, t, 12, n + t)
        # corrections of relative order 1/d, besides the scatter over matrices
        for got, want in ((test, ld.mp_test(hp, [t])[0]), (train, ld.mp_train(hp, [t])[0])):
            error = got.std() / np.sqrt(len(got))
            assert abs(got.mean() - want) < 4 * error + 0.01 * want, (t, got.mean(), want)


def test_start_end_and_mass():
    for n in (50, 100, 400):
        hp = ld.HP.of({"d": 100, "n": n, "lr": 0.1, "noise": 0.5, "init_scale": 0.25})
        ratio = n / 100
        lam, weight = ld.marchenko_pastur(ratio)
        assert weight.sum() == pytest.approx(min(1, ratio), abs=1e-4)
        assert (weight * lam).sum() == pytest.approx(ratio, abs=1e-4)  # tr XᵀX/d
        start = 1 + 0.25**2
        assert ld.mp_test(hp, [0])[0] == pytest.approx(0.25 + start, abs=1e-3)
        if ratio != 1:
            late = ld.mp_test(hp, [10**6])[0]
            below = 0.25 * (1 + ratio / (1 - ratio)) + start * (1 - ratio)
            above = 0.25 * (1 + 1 / (ratio - 1))
            assert late == pytest.approx(below if ratio < 1 else above, rel=1e-3)
