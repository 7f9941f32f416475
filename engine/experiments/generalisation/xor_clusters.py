"""One step of gradient descent memorises noisy XOR clusters at chance test accuracy; generalisation arrives later.

Four Gaussian clusters stand at ±μ e₁ (label +1) and ±μ e₂ (label −1) in d dimensions, x = centre + N(0, I), and a
part of the training labels is flipped. A two-layer ReLU network f(x) = Σ_j a_j relu(w_j·x) with fixed a_j = ±1/√width
and weights w_j of scale α is trained by full-batch gradient descent on the mean logistic loss. After the first step it
is nearly the linear classifier Σ_i y_i x_i·x, which fits most noisy labels and knows nothing of XOR; within some tens of
steps neurons align with the four centres and the test accuracy rises to 1 while the flipped labels stay fitted.

Step one, derived: for a training point k the average over ReLU gates leaves y_k f(x_k) ∝ T = ‖x_k‖² + Σ_{i≠k} y_i y_k x_i·x_k, of mean
P = d + μ² and variance V = n (d + 2μ² + μ⁴/2) over data; a finite width adds gate noise of variance (T² + 2(P² + V))/width.
So the training accuracy (on the noisy labels) is E_T Φ(√width T / √(T² + 2(P² + V))), T ~ N(P, V), and a new point, which has no
‖x_k‖² of its own, is right half the time.

Convention: loss (1/n) Σ log(1 + e^{−y f}); first layer trained, second fixed; accuracy in fractions of 1.

Axes: n training points, t test points, h neurons.

Departures from the paper:
- Sizes of some hundred points and some thousand dimensions, not the asymptotic regime d ≫ n²; the step-one accuracy is then
  below 1 and the formula above says how far.
- Weights never leave W₀ + the span of the training inputs, so the trained coordinates are those on the inputs (the same
  numbers as training W, at a tenth of the cost).
- How strong a signal late generalisation needs was measured here, not taken from the paper: see the assumption of that claim.
"""

import math

import numpy as np
import torch
from torch.func import grad

from engine.reducers import At, Final, Late
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

TEST = 500


class HP(Hyper):
    d: int = hyper(4000, 200, 6000, scale="log")
    n: int = hyper(400, 50, 600, scale="log")
    separation: Real = hyper(
        14.0,
        2.0,
        20.0,
        label="Cluster distance",
        symbol="μ",
        meaning="Distance of each cluster's centre from the origin; the noise has standard deviation 1.",
    )
    flips: Real = hyper(
        0.15,
        0.0,
        0.4,
        label="Flipped labels",
        symbol="p",
        meaning="Part of the training labels that is flipped.",
    )
    width: int = hyper(256, 32, 1024, scale="log")
    init_scale: Real = hyper(1e-6, 1e-8, 1e-1, scale="log")
    lr: Real = hyper(0.02, 0.005, 0.2, scale="log", hot=True)
    steps: int = hyper(100, 1, 1000, scale="log")


def points(hp, rng, count):
    """(x, clean label): a cluster each, uniformly."""
    which = rng.integers(4, count)
    axis, sign = which // 2, 1.0 - 2.0 * (which % 2)
    noise = rng.normal(count, hp.d)
    centre = torch.stack([sign * (axis == 0), sign * (axis == 1)], dim=1) * hp.separation
    x = torch.cat([noise[:, :2] + centre, noise[:, 2:]], dim=1)
    return x, 1.0 - 2.0 * axis.to(x.dtype)


def data(hp, rng):
    X, clean = points(hp, rng, hp.n)
    y = clean * (1.0 - 2.0 * rng.bernoulli(hp.flips, hp.n))
    X_t, y_t = points(hp, rng, TEST)
    W0 = hp.init_scale * rng.normal(hp.width, hp.d)
    return {
        "y": y,
        "clean": clean,
        "y_t": y_t,
        "K": X @ X.T,  # n n
        "K_t": X_t @ X.T,  # t n
        "H0": X @ W0.T,  # n h
        "H0_t": X_t @ W0.T,  # t h
        "a": rng.signs(hp.width) / math.sqrt(hp.width),
    }


def init(hp, rng):
    return {"C": torch.zeros(hp.n, hp.width, dtype=rng.dtype, device=rng.device)}


def output(H0, K, C, a):
    """f at the points whose inner products with the training inputs are K; W = W₀ + Cᵀ X."""
    return torch.relu(H0 + K @ C) @ a


def loss(C, data):
    f = output(data["H0"], data["K"], C, data["a"])
    return torch.nn.functional.softplus(-data["y"] * f).mean()


def step(hp, state, data):
    """W ← W − η ∂L/∂W with ∂L/∂W = Σ_i (∂L/∂h_i) x_iᵀ: the coordinates move by −η ∂L/∂h."""
    H = data["H0"] + data["K"] @ state["C"]

    def at(H):
        return torch.nn.functional.softplus(-data["y"] * (torch.relu(H) @ data["a"])).mean()

    return {"C": state["C"] - hp.lr * grad(at)(H)}


def accuracy(f, y):
    return ((f * y) > 0).to(f.dtype).mean()


def train_accuracy(hp, state, data):
    return accuracy(output(data["H0"], data["K"], state["C"], data["a"]), data["y"])


def clean_accuracy(hp, state, data):
    return accuracy(output(data["H0"], data["K"], state["C"], data["a"]), data["clean"])


def test_accuracy(hp, state, data):
    return accuracy(output(data["H0_t"], data["K_t"], state["C"], data["a"]), data["y_t"])


def train_loss(hp, state, data):
    return loss(state["C"], data)


def linearity(hp, state, data):
    """Correlation of f on the test points with the linear score Σ y_i x_i·x."""
    f = output(data["H0_t"], data["K_t"], state["C"], data["a"])
    g = data["K_t"] @ data["y"]
    f, g = f - f.mean(), g - g.mean()
    return (f * g).sum() / (f.norm() * g.norm() + 1e-30)


def first_step_accuracy(hp, t=0):
    """E_T Φ(√m T / √(T² + 2(P² + V))), T ~ N(P, V), by Gauss–Hermite quadrature."""
    P = hp.d + hp.separation**2
    V = hp.n * (hp.d + 2 * hp.separation**2 + hp.separation**4 / 2)
    z, weights = np.polynomial.hermite_e.hermegauss(101)
    T = P + math.sqrt(V) * z
    z = math.sqrt(hp.width) * T / np.sqrt(T**2 + 2 * (P**2 + V))
    right = torch.special.ndtr(torch.as_tensor(z, dtype=torch.float64)).numpy()
    return float((weights * right).sum() / weights.sum())


def first_step_accuracy_drawn(hp, t, data, state):
    """The same for the drawn points: mean over k of Φ(√m T_k / √(T_k² + 2 S_k)), S_k = Σ_i (x_i·x_k)²."""
    T = data["y"] * (data["K"] @ data["y"])
    S = data["K"].square().sum(1)
    z = math.sqrt(hp.width) * T / torch.sqrt(T**2 + 2 * S)
    return (0.5 * torch.erfc(-z / math.sqrt(2.0))).mean()


def first_move(hp):
    """Pre-activations after one step against those at the start, on training points."""
    P = hp.d + hp.separation**2
    V = hp.n * (hp.d + 2 * hp.separation**2 + hp.separation**4 / 2)
    move = hp.lr / (4 * hp.n * math.sqrt(hp.width)) * math.sqrt(P**2 + V)
    return move / (hp.init_scale * math.sqrt(P))


TINY = Assumption(
    "the first step moves the pre-activations to at least 20 times their start",
    lambda hp: first_move(hp) >= 20,
)
SIGNAL = Assumption(
    "n μ⁴ ≥ 3000 d (signal strong enough)", lambda hp: hp.n * hp.separation**4 >= 3000 * hp.d
)
WIDE = Assumption("width ≥ 128", lambda hp: hp.width >= 128)
LONG = Assumption("lr · steps ≥ 2", lambda hp: hp.lr * hp.steps >= 2)
FEW = Assumption("at most 20 % of the labels flipped", lambda hp: hp.flips <= 0.2)
ROOM = Assumption("d ≥ 5 n (room to memorise)", lambda hp: hp.d >= 5 * hp.n)

EXPERIMENT = Experiment(
    name="generalisation/xor_clusters",
    title="One step memorises noisy XOR clusters; generalisation arrives later",
    hyper=HP,
    init=init,
    step=step,
    data=data,
    seeds=8,
    record="log",
    records=80,
    metrics=(
        Metric("test_accuracy", test_accuracy, "test accuracy"),
        Metric("train_accuracy", train_accuracy, "training accuracy (noisy labels)"),
        Metric("clean_accuracy", clean_accuracy, "training accuracy (clean labels)"),
        Metric("train_loss", train_loss, "training loss", scale="log"),
        Metric("linearity", linearity, "correlation with the linear score"),
    ),
    views=(
        View(("train_accuracy", "test_accuracy", "clean_accuracy"), "Accuracy", x_scale="log"),
        View(("train_loss",), x_scale="log"),
        View(("linearity",), x_scale="log"),
    ),
    predictions=(
        Prediction(
            "step_one",
            "train_accuracy",
            first_step_accuracy,
            "after one step",
            "xu24",
            assumptions=(TINY,),
            convention="on the noisy labels; width and size finite",
        ),
        Prediction(
            "step_one_drawn",
            "train_accuracy",
            first_step_accuracy_drawn,
            "after one step, for these points",
            "xu24",
            needs="drawn",
            assumptions=(TINY, WIDE),
            convention="on the noisy labels; average over the neurons' gates",
        ),
        Prediction(
            "chance",
            "test_accuracy",
            lambda hp, t: 0.5,
            "after one step ½",
            "xu24",
            convention="test accuracy: on new points, whose labels are not flipped; in fractions of 1",
        ),
        Prediction(
            "noise_floor",
            "clean_accuracy",
            lambda hp, t: 1 - hp.flips,
            "all noisy labels fitted",
            "xu24",
            convention="accuracy on clean labels: on the training points, by their labels before flipping",
        ),
    ),
    claims=(
        Claim(
            "memorised",
            "One step fits the noisy labels as far as the linear classifier can",
            At("train_accuracy", 1),
            "step_one_drawn",
            "xu24",
            rtol=0.02,
            assumptions=(TINY, WIDE),
        ),
        Claim(
            "memorised_on_average",
            "… which on average over the points is the closed form",
            At("train_accuracy", 1),
            first_step_accuracy,
            "xu24",
            rtol=0.02,
            seeds=8,
            assumptions=(TINY, WIDE, ROOM),
        ),
        Claim(
            "chance",
            "After one step the test accuracy is chance",
            At("test_accuracy", 1),
            lambda hp: 0.5,
            "xu24",
            rtol=0.1,
            assumptions=(TINY,),
        ),
        Claim(
            "generalises",
            "Later the test accuracy is nearly optimal",
            Late("test_accuracy"),
            lambda hp: 1.0,
            "xu24",
            rtol=0.05,
            side=">=",
            assumptions=(SIGNAL, LONG, FEW, TINY, WIDE),
        ),
        Claim(
            "benign",
            "… while the flipped labels stay fitted",
            Final("train_accuracy"),
            lambda hp: 1.0,
            "xu24",
            rtol=0.01,
            side=">=",
            assumptions=(ROOM, LONG, TINY, WIDE),
        ),
    ),
    presets=(
        Preset("default", "Catastrophic overfitting after one step, benign from about step 20 on."),
        Preset(
            "few_samples",
            "Fewer points, farther apart: the first step fits almost all labels, and generalisation comes as late.",
            {"n": 200, "separation": 18.0},
        ),
        Preset(
            "weak_signal",
            "With the centres too near, the noise is memorised and test accuracy stays near chance: overfitting without end.",
            {"separation": 6.0},
            expects={"generalises": "broken"},
        ),
        Preset(
            "large_start",
            "Large initial weights keep the network near its first kernel: after one step it is not the linear classifier, and in these steps it does not learn XOR.",
            {"init_scale": 1e-2},
            expects={
                "memorised": "broken",
                "memorised_on_average": "broken",
                "chance": "broken",
                "generalises": "broken",
                "benign": "broken",
            },
        ),
        Preset(
            "no_room",
            "In few dimensions generalisation comes too, but the flipped labels are not all fitted: nothing benign is left to see.",
            {"d": 200, "n": 600, "separation": 8.0},
            expects={"benign": "broken", "memorised_on_average": "broken"},
        ),
    ),
    references={
        "xu24": Reference(
            "Benign Overfitting and Grokking in ReLU Networks for XOR Cluster Data", "2310.02541"
        )
    },
    formulae=(
        Formula(
            r"\mathrm{train}_1 = \mathbb{E}_{T}\,\Phi\!\left(\frac{\sqrt{m}\,T}{\sqrt{T^2+2(P^2+V)}}\right),\quad T\sim\mathcal{N}(P,V)",
            "Accuracy on the noisy training labels after one step.",
            {"m": "width"},
        ),
        Formula(
            r"P = d+\mu^2,\qquad V = n\left(d+2\mu^2+\tfrac{1}{2}\mu^4\right)",
            "A point's own weight against what the others add.",
            {"d": "d", r"\mu": "separation", "n": "n"},
        ),
    ),
)
