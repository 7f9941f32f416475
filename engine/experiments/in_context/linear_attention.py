"""A trained layer of linear self-attention takes one step of gradient descent on its prompt, at the best step size.

Every task is a fresh linear regression: weights w ~ N(0, I), inputs x ~ N(0, I) in d dimensions, labels y = w·x + σ ε. The layer sees N
labelled tokens e_i = (x_i, y_i) and a query x_q without label, and answers f = (1/N) Σ_i (v·e_i)(e_iᵀ W x_q) = vᵀ C W x_q with C = (1/N) Σ e_i e_iᵀ. Trained
over tasks, it comes to answer x_qᵀ G u with u = (1/N) Σ y_i x_i: one gradient step from w = 0 on the prompt's least squares, and G is the step
size η* = N/(N + d + 1 + σ²) times the identity. From a small balanced start plain gradient descent gets there along a logistic curve: a plateau, then a sudden escape.

Convention: the sum over the prompt is divided by N (so is the step size); the risk is E(f − w·x_q)², without the noise of the query's own label; the training loss is
half of it. G is what the answer applies to u, whichever of v and W reads the labels; the learnt step size is tr(G)/d.

Axes: B tasks (128 a step), N tokens, d dimensions.

Departures from the papers:
- Only the row v of the value matrix that the answer reads is trained, and W has no column for the query's empty label: the rest has no effect.
- The query's average is taken exactly in the loss, E over x_q of (f − w·x_q)² = ‖Wᵀ C v − w‖²: same mean, less scatter.
- The risk is no sample mean: it is the expectation over tasks, prompts and queries, which for this layer is a polynomial in v and W.
- Adam with a cosine decay reaches the optimum; the logistic law holds for plain gradient descent only, and has a preset of its own.
- Isotropic inputs and weights only.
- The papers start with no weight that reads labels into W or inputs into v. That is no convenience: from a random start the loss has minima where both
  do, with v reading one input direction and W labels. At d = 2, N = 32, σ = 0 descent on the exact risk ended there, at 0.683 instead of 0.171, from 31 of
  40 Gaussian starts of scale 0.3; at d = 5, N = 20, σ = 0.5 six of 40 were still far above the best.
- The logistic law is that of the mean gradient. Batches of 128 scatter the curve by about 0.8 √(η/N) of η* (largest gap along the way, measured for
  N = 1 … 8, η = 0.005 … 0.02), hence its assumption η ≤ 0.003 N.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch.func import grad

from engine.ingredients.rules import adam, adam_slots, sgd
from engine.reducers import Deviation, Late
from engine.spec import (
    Assumption,
    Claim,
    Experiment,
    Formula,
    Hyper,
    Metric,
    Prediction,
    Preset,
    Real,
    Reference,
    View,
    hyper,
)

BATCH = 128  # fresh tasks in one step
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class HP(Hyper):
    prompt_length: int = hyper(20, 1, 64, scale="log")
    test_prompt_length: int = hyper(40, 1, 256, scale="log")
    d: int = hyper(5, 1, 10)
    noise: Real = hyper(0.5, 0.0, 2.0)
    lr: Real = hyper(0.02, 1e-3, 0.1, scale="log")
    init_scale: Real = hyper(0.1, 1e-3, 0.5, scale="log")
    optimiser: Literal["adam", "gradient_descent"] = hyper(
        "adam", meaning="Adam with cosine decay, or plain gradient descent at a constant rate."
    )
    start: Literal["aligned", "random"] = hyper(
        "aligned", meaning="v reads labels and W inputs only, in balance; or both are random."
    )
    steps: int = hyper(800, 1, 20000, scale="log")


def contexts(hp, rng, count, length):
    """(C, w): second moments of the prompts' tokens (x, y), "B d+1 d+1", and the tasks' weights, "B d".

    With y = w·x + σ ε the moments with y follow from those of (x, ε), so the long sums know neither w nor σ.
    """
    w = rng.normal(count, hp.d)
    Z = rng.normal(count, length, hp.d + 1)
    S = torch.bmm(Z.mT, Z) / length
    xx, xe, ee = S[:, :-1, :-1], S[:, :-1, -1], S[:, -1:, -1]
    xy = (xx * w[:, None]).sum(-1) + hp.noise * xe
    yy = (w * (xy + hp.noise * xe)).sum(-1, keepdim=True) + hp.noise**2 * ee
    last = torch.cat([xy, yy], dim=-1)
    return torch.cat([torch.cat([xx, xy[:, :, None]], dim=-1), last[:, None]], dim=1), w


def draw(hp, rng):
    C, w = contexts(hp, rng, BATCH, hp.prompt_length)
    return {"C": C, "w": w}


def init(hp, rng):
    """Aligned: v = (0, α), W = (α ΘΘᵀ/‖ΘΘᵀ‖; 0) with Θ Gaussian, for plain gradient descent orthogonal (ΘΘᵀ = I)."""
    if hp.start == "random":
        v = hp.init_scale * rng.normal(hp.d + 1)
        W = hp.init_scale * rng.normal(hp.d + 1, hp.d)
    else:
        plain = hp.optimiser == "gradient_descent"
        theta = rng.orthogonal(hp.d, hp.d) if plain else rng.normal(hp.d, hp.d)
        X = theta @ theta.mT
        none = X.new_zeros(hp.d)
        v = torch.cat([none, none.new_ones(1)]) * hp.init_scale
        W = torch.cat([hp.init_scale * X / X.square().sum().sqrt(), none[None]])
    params = {"v": v, "W": W}
    return {"params": params, "slots": adam_slots(params)}


def risk_of(params, C, w):
    """Mean over tasks of E over x_q of (vᵀ C W x_q − w·x_q)² = ‖Wᵀ C v − w‖²."""
    answer = (C @ params["v"]) @ params["W"]
    return (answer - w).square().sum(-1).mean()


def step(hp, state, batch):
    half = lambda params: 0.5 * risk_of(params, batch["C"], batch["w"])
    grads = grad(half)(state["params"])
    slots = state["slots"]
    if hp.optimiser == "adam":
        decay = 0.5 * (1 + torch.cos(math.pi * slots["t"] / hp.steps))
        params, slots = adam(state["params"], grads, slots, hp.lr * decay, b2=0.99)
    else:
        params, slots = sgd(state["params"], grads, hp.lr), slots | {"t": slots["t"] + 1}
    return {"params": params, "slots": slots}


def parts(hp, params):
    """(A, B): the risk at prompt length M is A + B/M, exactly, over tasks, prompts and queries.

    Given w, C is a Wishart matrix over M with mean S = [[I, w], [wᵀ, |w|² + σ²]], so E CPC = (1 + 1/M) SPS + tr(PS) S/M with
    P = WWᵀ; the mean over w ~ N(0, I) of the polynomials in w that are left is taken term by term. v = (a, b), W = (X; c).
    """
    a, b, X, c = params["v"][:-1], params["v"][-1], params["W"][:-1], params["W"][-1]
    q = hp.d + hp.noise**2  # mean of |w|² + σ², then of its square
    qq = hp.d * (hp.d + 2) + 2 * hp.d * hp.noise**2 + hp.noise**4
    aa, bb, cc, XX = a @ a, b * b, c @ c, X.square().sum()
    Xa, ac = X.mT @ a, a @ (X @ c)
    # E|WᵀSv|², E tr(PS) vᵀSv and E wᵀWᵀSv
    answer = Xa @ Xa + bb * XX + 2 * b * (q + 1) * ac + cc * (aa + bb * qq)
    scatter = XX * (aa + bb * q) + 4 * b * ac + cc * (aa * q + bb * qq)
    aligned = b * torch.diagonal(X).sum() + a @ c
    return answer - 2 * aligned + hp.d, answer + scatter


def risk(hp, state, data):
    A, B = parts(hp, state["params"])
    return A + B / hp.prompt_length


def test_risk(hp, state, data):
    A, B = parts(hp, state["params"])
    return A + B / hp.test_prompt_length


def risk_by_length(hp, state, data):
    A, B = parts(hp, state["params"])
    return torch.stack([A + B / M for M in LENGTHS])


def matrix(hp, state, data):
    """G in the part x_qᵀ G u of the answer that is linear in u: labels read by v, or (the same in the sum) by W."""
    v, W = state["params"]["v"], state["params"]["W"]
    return v[-1] * W[:-1].mT + torch.outer(W[-1], v[:-1])


def step_size(hp, state, data):
    return torch.diagonal(matrix(hp, state, data)).mean()


def best_step(hp, t=0):
    return hp.prompt_length / (hp.prompt_length + hp.d + 1 + hp.noise**2)


def best_risk(hp, t=0):
    """E‖w − η* u‖² = d (1 − η*) = d (d + 1 + σ²)/(N + d + 1 + σ²)."""
    return hp.d * (1 - best_step(hp))


def risk_at(hp, M):
    """R(M) = d [1 − 2η* + η*² (1 + (d + 1 + σ²)/M)]: trained at N, tested at M."""
    eta = best_step(hp)
    return hp.d * (1 - 2 * eta + eta**2 * (1 + (hp.d + 1 + hp.noise**2) / M))


def logistic(hp, t):
    """s(k) = η*/(1 + (η*/s₀ − 1)(1 + √d η)^{−2k}), s₀ = α²/√d."""
    eta, start = best_step(hp), hp.init_scale**2 / math.sqrt(hp.d)
    grown = np.exp(-2 * np.asarray(t, float) * math.log1p(math.sqrt(hp.d) * hp.lr))
    return eta / (1 + (eta / start - 1) * grown)


def best_matrix(hp, t):
    return best_step(hp) * np.eye(hp.d)


def trained(hp):
    if hp.optimiser == "adam":
        return hp.lr * hp.steps >= 8 and hp.steps >= 400
    start = hp.init_scale**2 / math.sqrt(hp.d)
    rate = 2 * math.log1p(hp.lr * math.sqrt(hp.d))
    return hp.steps * rate >= math.log(max(1.0, best_step(hp) / start)) + 12


def sharpest(hp):
    """Largest curvature of ½ risk at the optimum: along W's row c that reads labels, v_y² E y⁴-like."""
    qq = (hp.d + hp.noise**2) ** 2 + 2 * hp.d
    return (1 + 1 / hp.prompt_length) * math.sqrt(hp.d) * best_step(hp) * qq


ALIGNED = Assumption("aligned start", lambda hp: hp.start == "aligned")
TRAINED = Assumption(
    "trained long enough (Adam: η · steps ≥ 8, steps ≥ 400; plain: 12 e-folds past the plateau)",
    trained,
)
STABLE = Assumption(
    "Adam, or η (1 + 1/N) √d η* [(d + σ²)² + 2d] ≤ 0.7",
    lambda hp: hp.optimiser == "adam" or hp.lr * sharpest(hp) <= 0.7,
)
CALM = Assumption(
    "η ≤ 0.003 N: a batch scatters the curve by less than 5 %",
    lambda hp: hp.lr <= 0.003 * hp.prompt_length,
)
PLAIN = Assumption("plain gradient descent", lambda hp: hp.optimiser == "gradient_descent")
SMALL = Assumption("small start, α² ≤ η* √d / 2", lambda hp: (
    hp.init_scale**2 <= best_step(hp) * math.sqrt(hp.d) / 2
))  # fmt: skip
LEARNT = (ALIGNED, TRAINED, STABLE)
AT_M = "noise-free query; trained at length N, at test the sum over the prompt is divided by its own length M"

EXPERIMENT = Experiment(
    name="in_context/linear_attention",
    title="One linear attention layer learns one gradient step on its prompt",
    hyper=HP,
    init=init,
    step=step,
    draw=draw,
    records=160,
    metrics=(
        Metric("risk", risk, "risk on new tasks", symbol="R(N)", scale="log"),
        Metric("test_risk", test_risk, "risk at the test length", symbol="R(M)", scale="log"),
        Metric("step_size", step_size, "learnt step size", symbol="s"),
        Metric(
            "risk_by_length",
            risk_by_length,
            "risk",
            kind="profile",
            scale="log",
            every=8,
            coords=lambda hp: LENGTHS,
            coords_label="prompt length at test M",
            coords_scale="log",
        ),
        Metric("matrix", matrix, "learnt matrix", symbol="G", kind="matrix", every=8),
    ),
    views=(
        View(("risk",), "Risk"),
        View(("step_size",), "Step size"),
        View(("risk_by_length",), "Risk against the prompt's length"),
        View(("matrix",), "Learnt matrix"),
    ),
    predictions=(
        Prediction("best_risk", "risk", best_risk, "one best step", "mahankali24",
                   convention="noise-free query, sum over the prompt divided by N"),
        Prediction("risk_at_M", "test_risk", lambda hp, t: risk_at(hp, hp.test_prompt_length),
                   "one step of size η* at M", "zhang24", convention=AT_M),
        Prediction("best_step", "step_size", best_step, "η*", "mahankali24",
                   convention="step size: of the sum over the prompt divided by N; learnt, tr(G)/d"),
        Prediction("logistic", "step_size", logistic, "logistic", "zhang24",
                   assumptions=(PLAIN, ALIGNED, STABLE, SMALL), convention="loss ½ risk, time η·step"),
        Prediction("risk_of_M", "risk_by_length",
                   lambda hp, t: [risk_at(hp, M) for M in LENGTHS], "R(M)", "zhang24", convention=AT_M),
        Prediction("best_matrix", "matrix", best_matrix, "η* I", "zhang24",
                   convention="G: what the answer x_qᵀ G u applies to u = (1/N) Σ y_i x_i"),
    ),
    claims=(
        Claim("risk", "The late risk is that of the best single step", Late("risk"), best_risk,
              "mahankali24", assumptions=LEARNT),
        Claim("step", "The learnt step size is η*", Late("step_size"), best_step, "mahankali24",
              rtol=0.03, assumptions=LEARNT),
        Claim("other_length", "At another prompt length the risk is R(M)", Late("test_risk"),
              lambda hp: risk_at(hp, hp.test_prompt_length), "zhang24", assumptions=LEARNT),
        Claim("logistic", "The step size grows along the logistic curve", Deviation("step_size", "logistic"),
              lambda hp: 0.0, "zhang24", atol=0.05, assumptions=(PLAIN, ALIGNED, STABLE, SMALL, CALM)),
    ),
    presets=(
        Preset(
            "default",
            "Twenty examples in five dimensions: the layer finds the step 0.76 and its risk.",
            expects={"logistic": "broken"},
        ),
        Preset(
            "long_prompt",
            "With more examples than dimensions the best step nears 1 and the risk falls as 1/N.",
            {"prompt_length": 60, "noise": 0.0},
            expects={"logistic": "broken"},
        ),
        Preset(
            "noisy",
            "Few noisy examples: the best step is short and hardly helps.",
            {"prompt_length": 5, "noise": 2.0, "d": 8},
            expects={"logistic": "broken"},
        ),
        Preset(
            "escape",
            "Plain gradient descent from a small balanced start: plateau, escape and saturation on the logistic curve.",
            {"optimiser": "gradient_descent", "init_scale": 0.02, "lr": 0.01, "steps": 700},
        ),
        Preset(
            "bad_minimum",
            "A random start in two dimensions: some seeds end in a minimum where v reads inputs and W labels, four times above the best risk.",
            {"start": "random", "init_scale": 0.3, "d": 2, "prompt_length": 32, "noise": 0.0},
            seeds=10,
            expects=dict.fromkeys(("risk", "step", "other_length", "logistic"), "broken"),
        ),
        Preset(
            "too_short",
            "Stopped early the layer is no step of gradient descent yet, and no verdict is given.",
            {"steps": 60},
            expects=dict.fromkeys(("risk", "step", "other_length", "logistic"), "broken"),
        ),
    ),
    references={
        "mahankali24": Reference(
            "One Step of Gradient Descent is Provably the Optimal In-Context Learner with One Layer of Linear Self-Attention",
            "2307.03576",
        ),
        "zhang24": Reference("Trained Transformers Learn Linear Models In-Context", "2306.09927"),
        "oswald23": Reference("Transformers learn in-context by gradient descent", "2212.07677"),
    },
    formulae=(
        Formula(
            r"\eta^{*}=\frac{N}{N+d+1+\sigma^2},\qquad R(N)=d\,\frac{d+1+\sigma^2}{N+d+1+\sigma^2}",
            "Best single step from w = 0 and its risk.",
            {"N": "prompt_length", "d": "d", r"\sigma": "noise"},
        ),
        Formula(
            r"R(M)=d\left[1-2\eta^{*}+\eta^{*2}\left(1+\frac{d+1+\sigma^2}{M}\right)\right]",
            "The same step on prompts of another length.",
            {"M": "test_prompt_length", "d": "d", r"\sigma": "noise"},
        ),
        Formula(
            r"s(t)=\frac{\eta^{*}}{1+\left(\eta^{*}/s_0-1\right)e^{-2\sqrt{d}\,\eta t}},\qquad s_0=\frac{\alpha^2}{\sqrt{d}}",
            "Plateau and escape of plain gradient descent from a balanced start.",
            {r"\alpha": "init_scale", r"\eta": "lr", "d": "d"},
        ),
    ),
)  # fmt: skip
