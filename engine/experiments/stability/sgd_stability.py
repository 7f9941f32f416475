"""Stochastic gradient descent one sample at a time keeps the trace of the Hessian below 2/η; gradient descent does not.

A diagonal linear network f(x) = Σ_j (u_j² − v_j²) x_j fits n samples of a 3-sparse teacher in d > n dimensions, with inputs ±1. All solutions
fit perfectly and differ in curvature. Linear stability of gradient descent at a solution asks for λ₁ ≤ 2/η; mean-square stability of
stochastic gradient descent on single samples of equal gradient norm asks for tr H ≤ 2/η, which is far more: here tr H = 4 (‖u‖² + ‖v‖²) at a solution, so the
bound limits a norm, and the norm the error. A start above the line is shaken until it falls below.

Convention: loss (1/2n) Σ (f(x_i) − y_i)², H its Hessian at the current weights; one step uses B samples drawn with replacement, B = n all of them.

Axes: n samples, d dimensions.

Departures from the paper:
- The bound is a statement about solutions that are stable; runs that have not reached one (training loss not small) are not judged.
- Samples are drawn independently each step, not in epochs.
- Between B = 1 and B = n the stability limit for isotropic samples, η ≤ 2/[λ (1 − 1/B) + tr H/B], is drawn but not claimed.
"""

import math

import torch
from torch.func import grad

from engine.reducers import Final, Late
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
    Stop,
    View,
    hyper,
)
from engine.theory.curvature import top_eigenvalue


class HP(Hyper):
    lr: Real = hyper(0.025, 0.002, 0.1, scale="log", hot=True)
    batch: int = hyper(
        1, 1, 20, meaning="Samples in one step, drawn with replacement; n of them mean full batch."
    )
    init_scale: Real = hyper(
        0.6, 0.1, 1.2, meaning="Every weight starts at α, so f starts at zero."
    )
    d: int = hyper(40, 20, 100, scale="log")
    n: int = hyper(
        20, 20, 60, scale="log", meaning="Training samples; every step of full batch uses all."
    )
    steps: int = hyper(20000, 1, 100000, scale="log")


def data(hp, rng):
    X = rng.signs(hp.n, hp.d)
    teacher = torch.cat([rng.signs(3), torch.zeros(hp.d - 3, dtype=rng.dtype, device=rng.device)])
    return {"X": X, "y": X @ teacher, "teacher": teacher}


def init(hp, rng):
    start = hp.init_scale + 0 * rng.uniform(hp.d)
    return {"u": start, "v": start}


def output(params, X):
    return X @ (params["u"].square() - params["v"].square())


def risk(params, X, y):
    return 0.5 * (output(params, X) - y).square().mean()


def draw(hp, rng):
    return {"which": rng.integers(hp.n, hp.batch)}


def step(hp, state, batch):
    """Full batch where B = n or more, else the mean over B drawn samples."""
    X, y = batch["X"], batch["y"]
    if hp.batch < hp.n:
        X, y = X[batch["which"]], y[batch["which"]]
    g = grad(risk)(state, X, y)
    return {k: state[k] - hp.lr * g[k] for k in state}


def trace(hp, state, data):
    """tr H exactly: inputs are ±1, so (1/n) Σ ‖∇f(x_i)‖² = 4(‖u‖² + ‖v‖²); the residual part 2 (1/n) Σ r_i Σ_j (x_ij − x_ij) cancels."""
    return 4 * (state["u"].square().sum() + state["v"].square().sum())


def sharpness(hp, state, data):
    f = lambda p: risk(p, data["X"], data["y"])
    return top_eigenvalue(f, state, grad(f)(state), iterations=12)


def scaled_trace(hp, state, data):
    return hp.lr * trace(hp, state, data) / 2


def scaled_sharpness(hp, state, data):
    return hp.lr * sharpness(hp, state, data) / 2


def loss(hp, state, data):
    return risk(state, data["X"], data["y"])


def error(hp, state, data):
    w = state["u"].square() - state["v"].square()
    return (w - data["teacher"]).square().sum()


def line(hp, t=0):
    return 2 / hp.lr


ONE = Assumption("one sample a step, B = 1", lambda hp: hp.batch == 1)
ALL = Assumption("full batch, B ≥ n", lambda hp: hp.batch >= hp.n)
SETTLED = Assumption("η · steps ≥ 150 (settled)", lambda hp: hp.lr * hp.steps >= 150)


def start_trace(hp):
    """tr H at u = v = α."""
    return 8 * hp.d * hp.init_scale**2


CAUGHT = Assumption(
    "η tr H ≤ 3.5 at the start (above, batch-one SGD diverges here)",
    lambda hp: hp.lr * start_trace(hp) <= 3.5,
)
ABOVE = Assumption("the start lies above, η tr H ≥ 2.2", lambda hp: hp.lr * start_trace(hp) >= 2.2)
BELOW = Assumption("η λ₁ ≤ 1 at the start", lambda hp: (
    # λ₁ of a random design: tr H/n times the Marchenko–Pastur edge of ±1 inputs
    hp.lr * start_trace(hp) / hp.d * (1 + math.sqrt(hp.d / hp.n)) ** 2 <= 1.0
))  # fmt: skip

EXPERIMENT = Experiment(
    name="stability/sgd_stability",
    title="Batch-one SGD keeps the Hessian trace below two over the step size",
    hyper=HP,
    init=init,
    step=step,
    data=data,
    draw=draw,
    records=150,
    record="log",
    metrics=(
        Metric("trace", trace, "trace of the Hessian", symbol="tr H", scale="log"),
        Metric("sharpness", sharpness, "sharpness", symbol="λ₁"),
        Metric("loss", loss, "training loss", scale="log"),
        Metric("error", error, "error of the solution", symbol="‖w − w*‖²", scale="log"),
        Metric("scaled_trace", scaled_trace, "η tr H / 2"),
        Metric("scaled_sharpness", scaled_sharpness, "η λ₁ / 2"),
    ),
    views=(
        View(("trace",), "Trace", x_scale="log"),
        View(("sharpness",), "Sharpness", x_scale="log"),
        View(("error",), "Error", x_scale="log"),
        View(("loss",), "Loss", x_scale="log"),
    ),
    predictions=(
        Prediction("trace_bound", "trace", line, "2/η", "wu23", assumptions=(ONE,),
                   convention="loss (1/2n) Σ r², single samples"),
        Prediction("sharpness_bound", "sharpness", line, "2/η", "wu23", assumptions=(ALL,),
                   convention="loss (1/2n) Σ r², full batch"),
    ),
    claims=(
        Claim("sgd", "Under batch-one SGD tr H ends below 2/η", Final("scaled_trace"), lambda hp: 1.0,
              "wu23", rtol=0.02, side="<=", assumptions=(ONE, SETTLED, CAUGHT)),
        Claim("gd_sharpness", "Under gradient descent only λ₁ stays below 2/η", Late("scaled_sharpness"),
              lambda hp: 1.0, "wu23", rtol=0.02, side="<=", assumptions=(ALL, SETTLED, BELOW)),
        Claim("gd_trace", "… while tr H stays above it", Final("scaled_trace"), lambda hp: 1.0, "wu23",
              side=">=", rtol=0.0, assumptions=(ALL, SETTLED, BELOW, ABOVE)),
    ),
    presets=(
        Preset("default", "Started at tr H = 115, above 2/η = 80: SGD falls below the line and finds a better solution.",
               expects={"gd_sharpness": "broken", "gd_trace": "broken"}),
        Preset("full_batch", "The same start under gradient descent: λ₁ is far below 2/η, and tr H stays where it was.",
               {"batch": 20, "steps": 8000}, expects={"sgd": "broken"}),
        Preset("faster", "A larger step lowers the line, the trace and the error of the solution.", {"lr": 0.03},
               expects={"gd_sharpness": "broken", "gd_trace": "broken"}),
        Preset("small_batch", "With four samples a step the trace may be four times as large: the batch-one bound does not speak.",
               {"batch": 4, "steps": 8000}, expects=dict.fromkeys(("sgd", "gd_sharpness", "gd_trace"), "broken")),
        Preset("too_fast", "Too far above the line SGD is not caught by a flatter solution: it diverges.",
               {"lr": 0.05, "steps": 4000}, expects=dict.fromkeys(("sgd", "gd_sharpness", "gd_trace"), "broken")),
    ),
    stops=(Stop("loss", above=1e8, label="diverged"),),
    references={
        "wu23": Reference("The Implicit Regularization of Dynamical Stability in Stochastic Gradient Descent", "2305.17490"),
    },
    formulae=(
        Formula(r"\mathrm{SGD},\;B=1:\quad \mathrm{tr}\,H \le \frac{2}{\eta}\qquad\qquad \mathrm{GD}:\quad \lambda_1 \le \frac{2}{\eta}",
                "Linear stability of a solution.", {r"\eta": "lr", "B": "batch"}),
        Formula(r"\mathrm{tr}\,H = 4\left(\|u\|^2+\|v\|^2\right)", "Exact here, at every step.", {}),
    ),
)  # fmt: skip
