"""Best step, risks and the logistic law against sampled prompts and direct integration."""

import math

import numpy as np
import pytest
import torch

from engine.experiments.in_context import linear_attention as la
from engine.running.random import Rng

SETTINGS = [{}, {"d": 1, "prompt_length": 1}, {"d": 8, "prompt_length": 5, "noise": 2.0}]


@pytest.mark.parametrize("values", SETTINGS)
def test_contexts_are_the_second_moments_of_the_tokens(values):
    """C = eᵀe/N of e = (x, y), token by token: the same x, w and noise, y = w·x + σ ε written out."""
    hp, count, N = la.HP.of(values), 7, 9
    C, w = la.contexts(hp, Rng(3, "draw", dtype=torch.float64), count, N)
    rng = Rng(3, "draw", dtype=torch.float64)
    tasks, drawn = rng.normal(count, hp.d), rng.normal(count, N, hp.d + 1)
    for task in range(count):
        literal = torch.zeros(hp.d + 1, hp.d + 1, dtype=torch.float64)
        for i in range(N):
            x, epsilon = drawn[task, i, : hp.d], drawn[task, i, hp.d]
            y = tasks[task] @ x + hp.noise * epsilon
            e = torch.cat([x, y[None]])
            literal += torch.outer(e, e) / N
        torch.testing.assert_close(C[task], literal, rtol=1e-12, atol=1e-12)
    assert torch.equal(w, tasks)


def prompts(hp, M, count, seed):
    """u = (1/M) Σ y x and w for many tasks, in float64."""
    rng = np.random.default_rng(seed)
    w, X = rng.standard_normal((count, hp.d)), rng.standard_normal((count, M, hp.d))
    y = np.einsum("bnd,bd->bn", X, w) + hp.noise * rng.standard_normal((count, M))
    return np.einsum("bn,bnd->bd", y, X) / M, w


@pytest.mark.parametrize("values", SETTINGS)
@pytest.mark.parametrize("M", [1, 20])
def test_risks_against_sampled_prompts(values, M):
    hp = la.HP.of(values)
    u, w = prompts(hp, M, 60_000, 0)
    each = ((w - la.best_step(hp) * u) ** 2).sum(1)
    error = each.std() / math.sqrt(len(each))
    assert abs(each.mean() - la.risk_at(hp, M)) < 5 * error
    assert la.risk_at(hp, hp.prompt_length) == pytest.approx(la.best_risk(hp))


@pytest.mark.parametrize("values", SETTINGS)
def test_no_step_does_better(values):
    hp = la.HP.of(values)
    u, w = prompts(hp, hp.prompt_length, 100_000, 1)
    # the least-squares step over tasks
    best = (u * w).sum() / (u * u).sum()
    scatter = ((u * w).sum(1) - la.best_step(hp) * (u * u).sum(1)).std() / math.sqrt(len(u))
    assert abs(best - la.best_step(hp)) < 5 * scatter / (u * u).sum(1).mean()


def test_the_exact_query_average():
    hp = la.HP.of({"d": 3, "prompt_length": 4})
    rng = np.random.default_rng(2)
    torch.manual_seed(0)
    C = torch.randn(1, 4, 4, dtype=torch.float64)
    C = C @ C.mT
    w = torch.randn(1, 3, dtype=torch.float64)
    params = {"v": torch.randn(4, dtype=torch.float64), "W": torch.randn(4, 3, dtype=torch.float64)}
    q = torch.as_tensor(rng.standard_normal((400_000, 3)))
    each = (q @ (params["W"].mT @ C[0] @ params["v"]) - q @ w[0]).square()
    error = float(each.std()) / math.sqrt(len(each))
    assert abs(float(each.mean()) - float(la.risk_of(params, C, w))) < 5 * error
    assert hp.d == 3


def test_the_logistic_curve_is_the_flow_of_the_expected_loss():
    """ṡ for balanced v = √(√d s), W = s-aligned identity: Euler steps of dg/dt = 2 √d g (1 − g/η*)."""
    hp = la.HP.of({"optimiser": "gradient_descent", "init_scale": 0.02, "lr": 1e-3})
    v, a = hp.init_scale, hp.init_scale / math.sqrt(hp.d)  # W = a I
    eta = la.best_step(hp)
    second = (
        1 / eta
    )  # E S² = (1/η*) I for unit inputs and noise, so loss ½ d (1 − 2 v a + v² a²/η*)
    seen = []
    for _ in range(4000):
        seen.append(v * a)
        slope = -1 + v * a * second
        v, a = v - hp.lr * hp.d * a * slope, a - hp.lr * v * slope
    curve = la.logistic(hp, np.arange(4000))
    assert np.abs(np.array(seen) - curve).max() < 0.01


@pytest.mark.parametrize("values", SETTINGS)
def test_the_exact_risk_against_sampled_prompts(values):
    """Weights that read everything, so that every term of the polynomial counts."""
    hp = la.HP.of(values)
    rng = np.random.default_rng(3)
    params = {
        "v": torch.as_tensor(0.4 * rng.standard_normal(hp.d + 1)),
        "W": torch.as_tensor(0.4 * rng.standard_normal((hp.d + 1, hp.d))),
    }
    count, N = 100_000, hp.prompt_length
    w = torch.as_tensor(rng.standard_normal((count, hp.d)))
    X = torch.as_tensor(rng.standard_normal((count, N, hp.d)))
    y = (X * w[:, None]).sum(-1) + hp.noise * torch.as_tensor(rng.standard_normal((count, N)))
    e = torch.cat([X, y[..., None]], -1)
    answer = (torch.bmm(e.mT, e) / N @ params["v"]) @ params["W"]
    each = (answer - w).square().sum(-1)
    error = float(each.std()) / math.sqrt(count)
    A, B = la.parts(hp, params)
    assert abs(float(each.mean()) - float(A + B / N)) < 5 * error


def test_random_starts_may_end_in_a_minimum_above_the_best():
    """The page's claim: at d = 2, N = 32, σ = 0 the exact risk has a second minimum, not a saddle, at 0.683."""
    hp = la.HP.of({"d": 2, "prompt_length": 32, "noise": 0.0})

    def risk(theta):
        return la.risk(hp, {"params": {"v": theta[:3], "W": theta[3:].reshape(3, 2)}}, {})

    ends = []
    for seed in range(6):
        start = 0.3 * torch.as_tensor(np.random.default_rng(seed).standard_normal(9))
        theta = start.requires_grad_()
        descent = torch.optim.LBFGS([theta], max_iter=2000, line_search_fn="strong_wolfe")
        descent.param_groups[0].update(tolerance_grad=1e-10, tolerance_change=1e-16)

        def closure(theta=theta, descent=descent):
            descent.zero_grad()
            value = risk(theta)
            value.backward()
            return value

        descent.step(closure)
        assert theta.grad.abs().max() < 1e-6
        curvature = torch.linalg.eigvalsh(torch.autograd.functional.hessian(risk, theta.detach()))
        ends.append(float(risk(theta.detach())))
        # flat along the scale that v and W share and, where a direction is singled out, along its rotation
        flat = 2 if ends[-1] > 0.5 else 1
        assert curvature[0] > -1e-6 and curvature[flat] > 1e-2
    for end in ends:
        near = min((la.best_risk(hp), 0.6827), key=lambda level: abs(level - end))
        assert end == pytest.approx(near, abs=1e-4)
    assert max(ends) > 3 * min(ends)
