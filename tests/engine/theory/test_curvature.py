"""Lanczos, Hessian-vector products and Hutchinson's trace against the explicit Hessian."""

import functools

import torch
from torch.func import hessian, jacrev, vmap

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


def test_the_reading_is_exact_all_along_a_run():
    """Eight Lanczos steps from the gradient, as the page reads them: before, on the way to and at the edge."""
    hp = eos.HP.of({"width": 8, "lr": 0.4, "n": 12})
    rng = Rng(0, "init", dtype=torch.float64)
    state, data = eos.init(hp, rng), eos.data(hp, rng)
    seen = []
    for i in range(601):
        if i % 50 == 0:
            H = explicit(state["params"], lambda p: eos.risk(p, data, hp.depth))
            exact = float(torch.linalg.eigvalsh(H)[-1])
            seen.append(exact)
            assert abs(float(eos.sharpness(hp, state, data)) - exact) < 1e-3 * exact, i
        state = eos.step(hp, state, data)
    assert min(seen) < 0.7 * eos.threshold(hp) and max(seen) > 0.95 * eos.threshold(hp)


def test_the_kernel_estimate_of_the_start():
    """It is the mean of ‖∇f(x)‖² over points and networks, hence (a trace) above the sharpness of a wide network."""
    for values in ({"width": 256}, {"width": 256, "init_scale": 2.0}, {"width": 256, "depth": 3}):
        hp = eos.HP.of(values)
        data = eos.data(hp, Rng(0, "data", dtype=torch.float64))
        norms, sharp = [], []
        for seed in range(24):
            params = eos.init(hp, Rng(seed, "init", dtype=torch.float64))["params"]
            J = jacrev(lambda p, x=data["x"], depth=hp.depth: eos.mlp(p, x, depth)[:, 0])(params)
            norms.append(sum(float(j.square().sum()) for j in J.values()) / hp.n)
            sharp.append(float(eos.sharpness(hp, {"params": params}, data)))
        norms, sharp = torch.tensor(norms), torch.tensor(sharp)
        error = float(norms.std()) / len(norms) ** 0.5
        # infinite width against 256: corrections of relative order depth / width
        allowed = 4 * error + 2 * hp.depth / hp.width * eos.start_sharpness(hp)
        assert abs(float(norms.mean()) - eos.start_sharpness(hp)) < allowed
        scatter = float(sharp.std()) / len(sharp) ** 0.5
        assert float(sharp.mean()) < eos.start_sharpness(hp) + 2 * scatter


def test_a_diverged_network_gives_nan_and_does_not_stop_its_neighbours():
    loss = lambda p: (p["x"] ** 2).sum()
    both = {"x": torch.tensor([[1.0, 2.0], [float("nan"), 1.0]])}
    start = {"x": torch.ones(2, 2)}
    out = vmap(lambda p, s: top_eigenvalue(loss, p, s, 2))(both, start)
    assert abs(float(out[0]) - 2) < 1e-5
