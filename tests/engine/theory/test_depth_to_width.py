"""Kernel laws against drawn matrices, at their limits and at their asymptotes."""

import math

import numpy as np
import pytest

from engine.experiments.signal import depth_to_width as dw


@pytest.mark.parametrize("activation", ["relu", "linear", "leaky_relu"])
def test_moments_against_networks_with_real_weight_matrices(activation):
    hp = dw.HP.of(
        {"activation": activation, "width": 10, "depth": 3, "init_scale": 0.8, "bias": 0.2}
    )
    rng = np.random.default_rng(0)
    draws, n = 20000, hp.width
    C = hp.init_scale * dw.CRITICAL[activation]
    K1 = 1.0
    z = math.sqrt(K1) * rng.standard_normal((draws, n))
    kernels = [np.ones(draws)]
    for _ in range(2):
        h = np.where(z > 0, z, dw.SLOPE[activation] * z)
        kernels.append(hp.bias + C * (h**2).mean(1))
        W = rng.standard_normal((draws, n, n)) * math.sqrt(C / n)
        z = np.einsum("sij,sj->si", W, h) + math.sqrt(hp.bias) * rng.standard_normal((draws, n))
    one, two = dw.exact_moments(hp)
    for layer, K in enumerate(kernels):
        for moment, want in ((K, one[layer]), (K**2, two[layer])):
            assert abs(moment.mean() - want) <= 5 * moment.std() / math.sqrt(draws)
    # the last pre-activations have the variance that the recursion gives them
    z2 = (z**2).mean(1)
    assert abs(z2.mean() - kernels[-1].mean()) < 5 * z2.std() / math.sqrt(draws)


def test_powers_of_depth_over_width_without_biases():
    for name, v in (("relu", 5), ("linear", 2)):
        hp = dw.HP.of({"activation": name, "width": 40, "depth": 9})
        np.testing.assert_allclose(dw.ratio_law(hp), (1 + v / 40) ** np.arange(9), rtol=1e-12)
        np.testing.assert_allclose(dw.mean_law(hp), 1, rtol=1e-12)


def test_tanh_at_criticality_falls_as_one_over_twice_the_depth():
    hp = dw.HP.of({"activation": "tanh", "depth": 60})
    K = dw.wide_mean(hp)
    assert K[-1] * 2 * 60 == pytest.approx(1, abs=0.05)
