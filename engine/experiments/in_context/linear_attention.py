"""A trained layer of linear self-attention takes one step of gradient descent on its prompt, at the best step size.

Every task is a fresh linear regression: weights w ~ N(0, I), inputs x ~ N(0, I) in d dimensions, labels y = w·x + σ ε. The layer sees N
labelled tokens e_i = (x_i, y_i) and a query x_q without label, and answers f = (1/N) Σ_i (v·e_i)(e_iᵀ W x_q) = vᵀ C W x_q with C = (1/N) Σ e_i e_iᵀ. Trained
over tasks, it comes to answer x_qᵀ G u with u = (1/N) Σ y_i x_i: one gradient step from w = 0 on the prompt's least squares, and G is the step
size η* = N/(N + d + 1 + σ²) times the identity. From a small balanced start plain gradient descent gets there along a logistic curve: a plateau, then a sudden escape.

Convention: the sum over the prompt is divided by N (so is the step size); the risk is E(f − w·x_q)², without the noise of the query's own label; the training loss is
half of it. G is what the answer applies to u, whichever of v and W reads the labels; the learnt step size is tr(G)/d.

Axes: B tasks, N tokens, d dimensions.

Departures from the papers:
- Only the row v of the value matrix that the answer reads is trained, and W has no column for the query's empty label: the rest has no effect.
- The query's average is taken exactly, E over x_q of (f − w·x_q)² = ‖Wᵀ C v − w‖², in the loss and in the risk: same mean, less scatter.
- Adam with a cosine decay reaches the optimum; the logistic law holds for plain gradient descent only, and has a preset of its own.
- Isotropic inputs and weights only.
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

HELD_OUT = 4096  # tasks that measure the risk
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128)  # prompts of the profile, 1024 tasks each


class HP(Hyper):
    prompt_length: int = hyper(20, 1, 64, scale="log")
    test_prompt_length: int = hyper(40, 1, 256, scale="log")
    d: int = hyper(5, 1, 10)
    noise: Real = hyper(0.5, 0.0, 2.0)
    lr: Real = hyper(0.02, 1e-3, 0.1, scale="log", hot=True)
    init_scale: Real = hyper(0.1, 1e-3, 0.5, scale="log")
    batch: int = hyper(128, 16, 1024, scale="log", unit="tasks", meaning="Fresh tasks in one step.")
    optimiser: Literal["adam", "gradient_descent"] = hyper(
        "adam", meaning="Adam with cosine decay, or plain gradient descent from a balanced start."
    )
    steps: int = hyper(800, 1, 20000, scale="log")


def contexts(hp, rng, count, length):
    """(C, w): second moments of the prompts' tokens (x, y), "B d+1 d+1", and the tasks' weights, "B d"."""
    w = rng.normal(count, hp.d)
    X = rng.normal(count, length, hp.d)
    y = (X * w[:, None]).sum(-1) + hp.noise * rng.normal(count, length)
    e = torch.cat([X, y[..., None]], dim=-1)
    return torch.bmm(e.mT, e) / length, w


def data(hp, rng):
    C, w = contexts(hp, rng, HELD_OUT, hp.prompt_length)
    C_test, w_test = contexts(hp, rng, HELD_OUT, hp.test_prompt_length)
    several = [contexts(hp, rng, 1024, length) for length in LENGTHS]
    return {
        "C_held": C,
        "w_held": w,
        "C_test": C_test,
        "w_test": w_test,
        "C_lengths": torch.stack([c for c, _ in several]),
        "w_lengths": torch.stack([w for _, w in several]),
    }


def draw(hp, rng):
    C, w = contexts(hp, rng, hp.batch, hp.prompt_length)
    return {"C": C, "w": w}


def init(hp, rng):
    if hp.optimiser == "adam":
        v = hp.init_scale * rng.normal(hp.d + 1)
        W = hp.init_scale * rng.normal(hp.d + 1, hp.d)
    else:  # balanced: ‖W‖ = ‖v‖, no part that reads what it should not
        v = torch.cat([rng.normal(hp.d) * 0, rng.normal(1) * 0 + hp.init_scale])
        eye = torch.eye(hp.d + 1, hp.d, dtype=rng.dtype, device=rng.device)
        W = eye * hp.init_scale / math.sqrt(hp.d)
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


def risk(hp, state, data):
    return risk_of(state["params"], data["C_held"], data["w_held"])


def test_risk(hp, state, data):
    return risk_of(state["params"], data["C_test"], data["w_test"])


def risk_by_length(hp, state, data):
    answer = (data["C_lengths"] @ state["params"]["v"]) @ state["params"]["W"]
    return (answer - data["w_lengths"]).square().sum(-1).mean(-1)


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
    """s(t) = η*/(1 + (η*/s₀ − 1) e^{−2√d ηt}), s₀ = α²/√d."""
    eta, start = best_step(hp), hp.init_scale**2 / math.sqrt(hp.d)
    return eta / (1 + (eta / start - 1) * np.exp(-2 * math.sqrt(hp.d) * hp.lr * np.asarray(t)))


def best_matrix(hp, t):
    return best_step(hp) * np.eye(hp.d)


def escaped(hp):
    if hp.optimiser == "adam":
        return hp.lr * hp.steps >= 8 and hp.steps >= 400
    start = hp.init_scale**2 / math.sqrt(hp.d)
    return hp.lr * hp.steps * 2 * math.sqrt(hp.d) >= math.log(best_step(hp) / start) + 8


TRAINED = Assumption(
    "trained long enough (lr · steps ≥ 8 with Adam; past the plateau without)", escaped
)
PLAIN = Assumption("plain gradient descent, balanced start", lambda hp: hp.optimiser != "adam")
GENTLE = Assumption("small steps, η √d ≤ 0.05", lambda hp: hp.lr * math.sqrt(hp.d) <= 0.05)
SMALL = Assumption("small start, α² ≤ η* √d / 2", lambda hp: (
    hp.init_scale**2 <= best_step(hp) * math.sqrt(hp.d) / 2
))  # fmt: skip
BIG = Assumption("at least 128 tasks a step", lambda hp: hp.batch >= 128)

EXPERIMENT = Experiment(
    name="in_context/linear_attention",
    title="One linear attention layer learns one gradient step on its prompt",
    hyper=HP,
    init=init,
    step=step,
    data=data,
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
                   "one step of size η* at M", "zhang24"),
        Prediction("best_step", "step_size", best_step, "η*", "mahankali24"),
        Prediction("logistic", "step_size", logistic, "logistic", "zhang24",
                   assumptions=(PLAIN, GENTLE, SMALL), convention="loss ½ risk, time η·step"),
        Prediction("risk_of_M", "risk_by_length",
                   lambda hp, t: [risk_at(hp, M) for M in LENGTHS], "R(M)", "zhang24"),
        Prediction("best_matrix", "matrix", best_matrix, "η* I", "zhang24"),
    ),
    claims=(
        Claim("risk", "The late risk is that of the best single step", Late("risk"), best_risk,
              "mahankali24", assumptions=(TRAINED, BIG)),
        Claim("step", "The learnt step size is η*", Late("step_size"), best_step, "mahankali24",
              rtol=0.03, assumptions=(TRAINED, BIG)),
        Claim("other_length", "At another prompt length the risk is R(M)", Late("test_risk"),
              lambda hp: risk_at(hp, hp.test_prompt_length), "zhang24", assumptions=(TRAINED, BIG)),
        Claim("logistic", "The step size grows along the logistic curve", Deviation("step_size", "logistic"),
              lambda hp: 0.0, "zhang24", atol=0.05, assumptions=(PLAIN, GENTLE, SMALL, BIG)),
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
