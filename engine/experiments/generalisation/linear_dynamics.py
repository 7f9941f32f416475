"""Train and test error of a linear network in time are integrals over the Marchenko–Pastur law; training longest hurts most where samples equal parameters.

A student w in d dimensions learns from n samples y = x·w̄ + ε of a teacher w̄ ~ N(0, I), with inputs of variance 1/d, label noise of
standard deviation σ and initial weights N(0, α² I), by full-batch gradient descent w ← w + η Xᵀ(y − Xw). In the eigenbasis of XᵀX every mode
moves alone: its teacher part decays as (1 − ηλ)^k, its noise part grows as 1 − (1 − ηλ)^k, and small eigenvalues amplify noise by 1/λ. The spectrum's
limit (d, n → ∞, n/d fixed) is the Marchenko–Pastur law, so both errors are known at every step k; the test error has a minimum in
time (early stopping) and, late in training, a peak at n = d (double descent).

Convention: loss ½‖y − Xw‖², so that time is η·step; test error E(y − x·w)² on a new noisy sample; training error (1/n)‖y − Xw‖².

Axes: n samples, d features.

Departures from the paper:
- The gradient flow factor e^{−λt} of the paper is replaced by (1 − ηλ)^k, which is exact for the discrete steps taken here.
- Signal strength is 1, so the paper's SNR is 1/σ² and its INR α²/σ².
- Each member trains 16 independent teachers with their own noise and start on the same inputs (one matrix product serves all) and its errors
  are their means: near n = d one of them alone is dominated by the square of a single Gaussian, and few seeds would understate the mean.
- The test error is computed exactly from ‖w − w̄‖², not from test samples.
- Near n = d the smallest eigenvalues of a finite matrix scatter; the second dashed curve is the same formula at the drawn eigenvalues.
"""

import math

import numpy as np
import torch

from engine.reducers import Final, Late, Worst
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

TASKS = 16  # teachers, noises and starts trained side by side on the same inputs, and averaged


class HP(Hyper):
    d: int = hyper(200, 20, 400, scale="log", meaning="Number of features, and of weights.")
    n: int = hyper(200, 20, 1600, scale="log")
    noise: Real = hyper(0.5, 0.0, 2.0)
    init_scale: Real = hyper(
        0.25,
        0.0,
        2.0,
        meaning="Standard deviation of the initial weights; the teacher's is 1.",
    )
    lr: Real = hyper(0.05, 0.001, 0.5, scale="log", hot=False)
    steps: int = hyper(4000, 1, 20000, scale="log")


def data(hp, rng):
    X = rng.normal(hp.n, hp.d) / math.sqrt(hp.d)
    teacher = rng.normal(hp.d, TASKS)
    return {"X": X, "y": X @ teacher + hp.noise * rng.normal(hp.n, TASKS), "teacher": teacher}


def init(hp, rng):
    return {"w": hp.init_scale * rng.normal(hp.d, TASKS)}


def step(hp, state, data):
    residual = data["y"] - data["X"] @ state["w"]
    return {"w": state["w"] + hp.lr * (data["X"].mT @ residual)}


def test_error(hp, state, data):
    return (state["w"] - data["teacher"]).square().sum() / (hp.d * TASKS) + hp.noise**2


def train_error(hp, state, data):
    return (data["y"] - data["X"] @ state["w"]).square().mean()


def marchenko_pastur(ratio, points=4000):
    """Nodes λ and weights of the law of XᵀX's nonzero eigenvalues (mass min(1, n/d)), at λ = 1 + r + 2√r cos θ."""
    theta = (np.arange(points) + 0.5) * np.pi / points
    lam = 1 + ratio + 2 * math.sqrt(ratio) * np.cos(theta)
    weight = (2 * math.sqrt(ratio) * np.sin(theta)) ** 2 / (2 * np.pi * lam) * (np.pi / points)
    return lam, weight


def mp_test(hp, t):
    lam, weight = marchenko_pastur(hp.n / hp.d)
    start = 1 + hp.init_scale**2
    left = (1 - hp.lr * lam) ** np.asarray(t)[:, None]
    inside = start * left**2 + hp.noise**2 * (1 - left) ** 2 / lam
    return hp.noise**2 + start * max(0.0, 1 - hp.n / hp.d) + inside @ weight


def mp_train(hp, t):
    ratio = hp.n / hp.d
    lam, weight = marchenko_pastur(ratio)
    left = (1 - hp.lr * lam) ** (2 * np.asarray(t)[:, None])
    inside = left * (lam * (1 + hp.init_scale**2) + hp.noise**2)
    return (inside @ weight) / ratio + max(0.0, 1 - 1 / ratio) * hp.noise**2


def drawn_test(hp, t, data, state):
    """The expectation over teacher, start and noise at the drawn inputs' own eigenvalues."""
    lam = torch.linalg.eigvalsh(data["X"].mT @ data["X"]).clamp(min=0)
    left = (1 - hp.lr * lam) ** t[:, None]
    # (1 − (1 − ηλ)^k)²/λ, zero in the frozen directions λ = 0
    grown = torch.where(
        lam > 1e-6, (1 - left).square() / lam.clamp(min=1e-6), torch.zeros_like(left)
    )
    return hp.noise**2 + ((1 + hp.init_scale**2) * left**2 + hp.noise**2 * grown).mean(1)


def edge(hp):
    return (1 + math.sqrt(hp.n / hp.d)) ** 2


STABLE = Assumption("η < 1.9/λ₊, λ₊ = (1 + √(n/d))²", lambda hp: hp.lr < 1.9 / edge(hp))
LARGE = Assumption("d ≥ 150 and n ≥ 50 (proportional limit)", lambda hp: hp.d >= 150 and hp.n >= 50)
RESOLVED = Assumption(
    "η · steps ≤ d²/40 where n is within 20 % of d (later the smallest eigenvalue of a finite matrix decides)",
    lambda hp: abs(hp.n / hp.d - 1) > 0.2 or hp.lr * hp.steps <= hp.d**2 / 40,
)

SQUARES = "loss ½‖y − Xw‖², time η·step; errors are mean squares without the ½, on noisy labels"

EXPERIMENT = Experiment(
    name="generalisation/linear_dynamics",
    title="Train and test curves of linear networks are exact",
    hyper=HP,
    init=init,
    step=step,
    data=data,
    seeds=20,
    record="log",
    records=160,
    metrics=(
        Metric("test_error", test_error, "test error", scale="log"),
        Metric("train_error", train_error, "training error", scale="log"),
    ),
    views=(
        View(("test_error",), "Test error", x_scale="log"),
        View(("train_error",), "Training error", x_scale="log"),
        View(("test_error",), "Test error at the end", against="n"),
    ),
    predictions=(
        Prediction(
            "test",
            "test_error",
            mp_test,
            "Marchenko–Pastur",
            "advani20",
            assumptions=(STABLE,),
            convention=SQUARES,
        ),
        Prediction(
            "train",
            "train_error",
            mp_train,
            "Marchenko–Pastur",
            "advani20",
            assumptions=(STABLE,),
            convention=SQUARES,
        ),
        Prediction(
            "test_drawn",
            "test_error",
            drawn_test,
            "at the drawn eigenvalues",
            "advani20",
            needs="drawn",
            assumptions=(STABLE,),
            convention=SQUARES,
        ),
    ),
    claims=(
        Claim(
            "end",
            "The last test error is the Marchenko–Pastur integral",
            Final("test_error"),
            "test",
            "advani20",
            seeds=8,
            assumptions=(STABLE, LARGE, RESOLVED),
        ),
        Claim(
            "best",
            "The best test error on the way is that of the integral",
            Worst("test_error", largest=False),
            "test",
            "advani20",
            seeds=8,
            assumptions=(STABLE, LARGE, RESOLVED),
        ),
        Claim(
            "train",
            "The training error late in the run is its integral",
            Late("train_error"),
            "train",
            "advani20",
            atol=1e-4,
            seeds=8,
            assumptions=(STABLE, LARGE, RESOLVED),
        ),
        Claim(
            "spectrum",
            "… and at the drawn eigenvalues, whatever the size",
            Final("test_error"),
            "test_drawn",
            "advani20",
            seeds=8,
            assumptions=(STABLE,),
        ),
    ),
    presets=(
        Preset(
            "default",
            "As many samples as weights: the test error falls, then overtraining sets in.",
        ),
        Preset("few_samples", "n = d/4: directions without data stay frozen.", {"n": 50}),
        Preset("many_samples", "n = 4 d: overtraining hardly costs anything.", {"n": 800}),
        Preset(
            "large_start",
            "A large initial scale is never forgotten in the frozen directions.",
            {"n": 100, "init_scale": 1.5},
        ),
        Preset(
            "double_descent",
            "Trained to the end, the error peaks where n passes d.",
            sweep={"n": (50, 100, 150, 200, 267, 400)},
            seeds=10,
        ),
        Preset(
            "too_fast",
            "Above η = 2/λ₊ the largest mode grows without bound and there is no curve to compare.",
            {"n": 800, "lr": 0.3, "steps": 100},
            expects=dict.fromkeys(("end", "best", "train", "spectrum"), "broken"),
        ),
    ),
    references={
        "advani20": Reference(
            "High-dimensional dynamics of generalization error in neural networks", "1710.03667"
        )
    },
    formulae=(
        Formula(
            r"E_g(k) = \sigma^2 + (1+\alpha^2)\left(1-\tfrac{n}{d}\right)_+ + \int\rho_{MP}(\lambda)\left[(1+\alpha^2)(1-\eta\lambda)^{2k} + \sigma^2\frac{\left(1-(1-\eta\lambda)^k\right)^2}{\lambda}\right]d\lambda",
            "Test error after k steps: teacher not yet learnt, plus noise already learnt.",
            {r"\sigma": "noise", r"\alpha": "init_scale", r"\eta": "lr", "n": "n", "d": "d"},
        ),
        Formula(
            r"\rho_{MP}(\lambda) = \frac{\sqrt{(\lambda_+-\lambda)(\lambda-\lambda_-)}}{2\pi\lambda},\qquad \lambda_\pm = \left(1\pm\sqrt{n/d}\right)^2",
            "Law of the nonzero eigenvalues of XᵀX.",
            {"n": "n", "d": "d"},
        ),
    ),
)
