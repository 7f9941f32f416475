"""Lanczos, Hessian-vector products and Hutchinson's trace against the explicit Hessian."""

import functools

import torch
from torch.func import hessian, vmap

from engine.experiments.stability import edge_of_stability as eos
from engine.running.random import Rng
from engine.theory.curvature import hvp, top_eigenvalue, trace

torch.set_num_threads(1)


def problem(seed):
    hp = eos.HP.of({"width": 6, "n": 12})
    rng = Rng(seed, "init", dtype=torch.float64)
    params = eos.init(hp, rng)["params"]
    data = eos.data(hp, rng)
    return params, lambda p: eos.risk(p, data, hp.depth)


def explicit(params, loss):
    keys = list(params)
    H = hessian(loss)(params)
    rows = [
        torch.cat([H[a][b].reshape(params[a].numel(), params[b].numel()) for b in keys], 1)
        for a in keys
    ]
    return torch.cat(rows, 0)


def one_probe(loss, params, signs):
    return trace(loss, params, {k: x[None] for k, x in signs.items()})


def test_against_the_explicit_hessian():
    for seed in range(3):
        params, loss = problem(seed)
        H = explicit(params, loss)
        v = {k: Rng(seed, k, dtype=torch.float64).normal(*p.shape) for k, p in params.items()}
        flat = torch.cat([v[k].reshape(-1) for k in params])
        got = torch.cat([x.reshape(-1) for x in hvp(loss, params, v).values()])
        torch.testing.assert_close(got, H @ flat)
        exact = torch.linalg.eigvalsh(H)[-1]
        full = top_eigenvalue(loss, params, v, iterations=40)
        torch.testing.assert_close(full, exact, rtol=1e-8, atol=0)
        short = top_eigenvalue(loss, params, v, iterations=12)
        assert short <= exact * (1 + 1e-9) and short > 0.99 * exact
        signs = {
            k: Rng(seed, k, dtype=torch.float64).signs(4000, *p.shape) for k, p in params.items()
        }
        estimates = vmap(functools.partial(one_probe, loss, params))(signs)
        error = estimates.std() / 4000**0.5
        assert abs(estimates.mean() - H.trace()) < 5 * error


def test_the_kernel_estimate_bounds_the_starting_sharpness_from_above():
    for values in ({}, {"width": 256}, {"init_scale": 2.0}, {"depth": 3}):
        hp = eos.HP.of(values)
        measured = []
        for seed in range(4):
            rng = Rng(seed, "init", dtype=torch.float64)
            state, data = eos.init(hp, rng), eos.data(hp, rng)
            measured.append(float(eos.sharpness(hp, state, data)))
        mean = sum(measured) / 4
        assert 0.6 * eos.start_sharpness(hp) < mean < 1.05 * eos.start_sharpness(hp)


def test_a_diverged_network_gives_nan_and_does_not_stop_its_neighbours():
    loss = lambda p: (p["x"] ** 2).sum()
    both = {"x": torch.tensor([[1.0, 2.0], [float("nan"), 1.0]])}
    start = {"x": torch.ones(2, 2)}
    out = vmap(lambda p, s: top_eigenvalue(loss, p, s, 2))(both, start)
    assert abs(float(out[0]) - 2) < 1e-5
