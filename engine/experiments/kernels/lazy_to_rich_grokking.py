"""Grokking without weight decay: a network fits with its initial features first and learns the right ones later.

f(x) = (α/N) Σ_i φ(w_i·x) with φ(h) = h + ε h²/2 learns y = (β·x)²/2 from P samples by plain full-batch gradient descent; only
the w_i are trained. Its initial tangent kernel fits the samples and predicts badly, since P is below the number D(D+3)/2 of
quadratic features. New inputs are predicted only once the neurons have turned towards β, long after the training loss has
fallen. Two sufficient statistics, w̄ = mean w and M = mean wwᵀ, give the test loss exactly:

E (f − y)² = A + B + C: A from the mean, B from misaligned features, C from the linear part.

Convention: x ~ N(0, 1/D), ‖β‖² = D, w_i ~ N(0, 1). Training descends 1/(2P) Σ (f − y)²; all losses shown are without the ½.
The learning rate is in units of N/α², which makes the initial kernel's rates independent of α and N.

Axes: P samples, D input dimension, N neurons, α output scale.

What the output scale does depends on what is trained:

- *As drawn* (the paper's network) f₀ grows with α too and must be unlearnt, however large α is. Training is never lazy: at
  α = 128 the test loss comes to a seventeenth of the linear model's. Fit and generalisation both come later in proportion
  to about α, and their ratio, the delay, hardly changes: from α = 2 to 8 it grows by a factor of 1.3.
- *Centred*, f − f₀ is trained, and α is a clean knob: the gap to kernel regression falls as 1/α. With P = 8D the delay is
  2 to 3 at α = 0.5, 2 to 5 at α = 2; at α = 8 half of the runs never come to a loss of 0.1, at α = 32 none does.

The delay also needs a middling number of samples: with D = 50 it is about ten at P = 5 D (6 to 24 by seed), more at 4.5 D, about
two at 10 D; at 2.5 D the test loss stays high for as long as we looked.

Departures from the paper:

- β points along the first axis; nothing depends on its direction.
- D = 50 and P = 250 by default. The step is half the stability limit, so that features can grow without instability.
- The network is trained through w̄ and M, of which f and its gradient are made; the numbers are those of the plain network.
- The test set is stratified along β, where the target's heavy tails lie; the loss on it is unbiased, with less noise.
- No asymptotic theory of the delay (the paper's dynamical mean field) is drawn: A + B + C are read off the weights, and the
  kernel regression is computed from those drawn.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from engine.reducers import Crossing, Final, Late, Ratio
from engine.running.random import Rng
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

TEST = 4096  # points of the test set


class HP(Hyper):
    output_scale: Real = hyper(
        4.0,
        0.5,
        1000.0,
        scale="log",
        symbol="α",
        meaning="Factor before the network's output: the larger, the less the weights must move to fit.",
    )
    start: Literal["as drawn", "centred"] = hyper(
        "as drawn",
        symbol="f",
        meaning="What is trained: the network itself, or its difference to the network at initialisation.",
    )
    nonlinearity: Real = hyper(
        0.25,
        0.05,
        1.0,
        scale="log",
        symbol="ε",
        meaning="Strength of the activation's quadratic part, which alone can fit this target.",
    )
    width: int = hyper(100, 10, 500, scale="log", symbol="N")
    n: int = hyper(250, 20, 800, scale="log", symbol="P")
    d: int = hyper(50, 5, 100, scale="log", symbol="D")
    lr: Real = hyper(
        20.0,
        0.5,
        50.0,
        scale="log",
        unit="N/α²",
        meaning="Step size of the optimiser, in units in which the initial kernel's rates depend on neither α nor N.",
    )
    steps: int = hyper(4000, 10, 40000, scale="log")


def data(hp: HP, rng: Rng) -> dict[str, Tensor]:
    """x ~ N(0, 1/D), β = √D e₁. Test inputs are stratified along β, where the target's tails lie."""
    X = rng.normal(hp.n, hp.d) / math.sqrt(hp.d)
    test = rng.normal(TEST, hp.d)
    strata = (torch.arange(TEST) + rng.uniform(TEST)) / TEST
    along = torch.special.ndtri(strata.double()).to(test.dtype)
    test = torch.cat([along[:, None], test[:, 1:]], dim=1) / math.sqrt(hp.d)
    return {"X": X, "y": target(X), "X_test": test, "y_test": target(test)}


def target(X: Tensor) -> Tensor:
    """½ (β·x)²"""
    return 0.5 * X.shape[1] * X[:, 0] ** 2


def moments(W: Tensor) -> tuple[Tensor, Tensor]:
    """w̄ = mean of w (D,), M = mean of wwᵀ (D, D)."""
    return W.mean(0), W.T @ W / len(W)


def init(hp: HP, rng: Rng) -> dict[str, Any]:
    W = rng.normal(hp.width, hp.d)
    mean, second = moments(W)
    keep = 1.0 if hp.start == "centred" else 0.0
    return {"W": W, "W_start": W, "mean": keep * mean, "second": keep * second}


def effective(hp: HP, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The moments that f is made of, less those at initialisation where f is centred."""
    mean, second = moments(state["W"])
    return mean - state["mean"], second - state["second"]


def evaluate(hp: HP, state: dict[str, Any], X: Tensor) -> Tensor:
    """(α/N) Σ_i φ(w_i·x) = α [w̄·x + ε/2 xᵀMx]."""
    mean, second = effective(hp, state)
    return hp.output_scale * (X @ mean + 0.5 * hp.nonlinearity * ((X @ second) * X).sum(1))


def step(hp: HP, state: dict[str, Any], batch: dict[str, Tensor]) -> dict[str, Any]:
    """Full-batch gradient descent on 1/(2P) Σ r²; ∂f/∂w_i = (α/N)(1 + ε w_i·x) x, summed over samples first."""
    X = batch["X"]
    r = evaluate(hp, state, X) - batch["y"]
    linear, quadratic = X.T @ r, X.T @ (r[:, None] * X)
    rate = hp.lr / (hp.output_scale * hp.n)
    return state | {"W": state["W"] - rate * (linear + hp.nonlinearity * state["W"] @ quadratic)}


def form(hp: HP, second: Tensor) -> Tensor:
    """Q = αεM − ββᵀ."""
    beta = torch.nn.functional.one_hot(torch.tensor(0), hp.d).to(second.dtype) * math.sqrt(hp.d)
    return hp.output_scale * hp.nonlinearity * second - beta[:, None] * beta


def terms(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    """A, B, C: for f − y = α w̄·x + ½ xᵀQx, Q = αεM − ββᵀ, x ~ N(0, 1/D), E(f − y)² is their sum (Isserlis)."""
    mean, second = effective(hp, state)
    Q = form(hp, second)
    A = (torch.trace(Q) / hp.d) ** 2 / 4
    B = Q.square().sum() / (2 * hp.d**2)
    C = hp.output_scale**2 * mean.square().sum() / hp.d
    return torch.stack([A, B, C])


def risk(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return terms(hp, state, data).sum()


def train_loss(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return (evaluate(hp, state, data["X"]) - data["y"]).square().mean()


def test_loss(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return (evaluate(hp, state, data["X_test"]) - data["y_test"]).square().mean()


def alignment(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    _, second = moments(state["W"])
    return second[0, 0] / second.norm()


def closed(hp: HP, trace: Mapping[str, Any]) -> Any:
    return trace["terms"].sum(1)


class Kernel(NamedTuple):
    """Regression with the initial tangent kernel, f_a = f₀ + Σ_μ a_μ K(·, x_μ), in double precision.

    Its test loss is a quadratic form, R₀ + 2 b·a + aᵀGa, since K(·, x_μ) = l_μ·x + ½ xᵀQ_μx is a quadratic itself, with
    l_μ = (α²/N)(1 + ε w̄·x_μ) x_μ and Q_μ = (α²ε/N)(x_μu_μᵀ + u_μx_μᵀ), u_μ = w̄ + εMx_μ.
    """

    K: Tensor  # (P, P)
    G: Tensor  # (P, P)
    b: Tensor  # (P,)
    r: Tensor  # (P,) f₀ − y
    R: Tensor  # () test loss of f₀


def kernel(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Kernel:
    start = state | {"W": state["W_start"]}
    X, D = data["X"].double(), hp.d
    alpha, eps = (torch.as_tensor(v).double() for v in (hp.output_scale, hp.nonlinearity))
    scale = alpha**2 / hp.width
    mean, second = (v.double() for v in moments(state["W_start"]))
    mean0, second0 = (v.double() for v in effective(hp, start))
    U = mean + eps * X @ second
    XX, XU, linear = X @ X.T, X @ U.T, 1 + eps * X @ mean
    K = scale * XX * (linear + eps * XU)
    l = scale * linear[:, None] * X
    q = scale * eps
    traces = 2 * q * torch.diagonal(XU)
    products = 2 * q**2 * (XX * (U @ U.T) + XU * XU.T)  # tr Q_μ Q_ν
    G = l @ l.T / D + (traces[:, None] * traces + 2 * products) / (4 * D**2)
    Q0 = form(hp, second0)
    crossed = 2 * q * ((X @ Q0) * U).sum(1)  # tr Q_μ Q₀
    b = alpha * l @ mean0 / D + (traces * torch.trace(Q0) + 2 * crossed) / (4 * D**2)
    r = evaluate(hp, start, data["X"]).double() - data["y"].double()
    return Kernel(K, G, b, r, risk(hp, start, data).double())


def regress(hp: HP, t: Tensor | None, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    """Training and test loss after t steps of gradient descent with the kernel frozen, (2, T); t None: at its end."""
    k = kernel(hp, state, data)
    rates, modes = torch.linalg.eigh(k.K)
    felt = (
        rates > 1e-10 * rates[-1]
    )  # fewer features than samples leave directions that nothing moves
    rates = torch.where(felt, rates, 0.0)
    lr = hp.lr * hp.width / (hp.output_scale**2 * hp.n)
    left = (1 - lr * rates) ** t.double()[:, None] if t is not None else (~felt).double()[None]
    c = modes.T @ k.r
    a = -((1 - left) / torch.where(felt, rates, 1.0) * c) @ modes.T
    test = k.R + 2 * a @ k.b + ((a @ k.G) * a).sum(1)
    return torch.stack([(left * c).square().mean(1), test]).to(data["X"].dtype)


def lazy_train(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    return regress(hp, t, data, state)[0]


def lazy_risk(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    return regress(hp, t, data, state)[1]


def kernel_level(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    return regress(hp, None, data, state)[1, 0]


def moved(hp: HP) -> float:
    """Relative movement of the weights that a kernel fit of P labels of mean square 3/4 needs, √(¾P/D)/(αε)."""
    return math.sqrt(0.75 * hp.n / hp.d) / (hp.output_scale * hp.nonlinearity)


STABLE = Assumption(
    "η (1 + √(D/P))²/D ≤ 1.2: the kernel's largest rate, with room to grow",
    lambda hp: hp.lr * (1 + math.sqrt(hp.d / hp.n)) ** 2 / hp.d <= 1.2,
)
LAZY = Assumption(
    "centred and √(¾P/D)/(αε) ≤ 0.03: weights hardly move",
    lambda hp: hp.start == "centred" and moved(hp) <= 0.03,
)
FEW = Assumption(
    "P ≤ D(D+3)/4, N ≥ D: half as many samples as features at most",
    lambda hp: hp.n <= hp.d * (hp.d + 3) / 4 and hp.width >= hp.d,
)
DRAWN = Assumption(
    "as drawn, α ≥ 2: training starts lazily",
    lambda hp: hp.start == "as drawn" and hp.output_scale >= 2,
)
MIDDLING = Assumption(
    "4 ≤ P/D ≤ 5.5, D ≥ 30: enough samples to find the features, not enough to fit with none",
    lambda hp: 4 <= hp.n / hp.d <= 5.5 and hp.d >= 30,
)
GROKS = (STABLE, FEW, DRAWN, MIDDLING)
line = functools.partial(
    Prediction,
    needs="drawn",
    convention="descends 1/(2P) Σ (f − y)² with step η N/α²; losses shown without the ½",
)

EXPERIMENT = Experiment(
    name="kernels/lazy_to_rich_grokking",
    title="Grokking is the passage from lazy to rich training",
    hyper=HP,
    init=init,
    data=data,
    step=step,
    metrics=(
        Metric("train", train_loss, "training loss", scale="log"),
        Metric("risk", risk, "test loss, A + B + C", scale="log"),
        Metric("test", test_loss, f"loss on {TEST} test points", scale="log", every=4),
        Metric(
            "terms",
            terms,
            "parts of the test loss",
            kind="modes",
            scale="log",
            every=4,
            parts=("A, mean", "B, misaligned features", "C, linear part"),
        ),
        Metric("alignment", alignment, "features along the target, βᵀMβ/(‖β‖²‖M‖)"),
    ),
    predictions=(
        line("closed", "test", closed, "A + B + C", "kumar24", needs="trace"),
        line("kernel_level", "risk", kernel_level, "kernel regression", "kumar24"),
        line("lazy_risk", "risk", lazy_risk, "linear model", "chizat19", assumptions=(LAZY,)),
        line("lazy_train", "train", lazy_train, "linear model", "chizat19", assumptions=(LAZY,)),
    ),
    claims=(
        Claim(
            "terms",
            "The loss on a test set is A + B + C of the weights",
            Late("test", 0.5),
            "closed",
            "kumar24",
        ),
        Claim(
            "kernel",
            "A lazy network ends at the test loss of its initial kernel",
            Final("risk"),
            "lazy_risk",
            "chizat19",
            assumptions=(STABLE, FEW, LAZY),
        ),
        Claim(
            "features",
            "It ends below the test loss of its initial kernel",
            Final("risk"),
            "kernel_level",
            "kumar24",
            rtol=0.0,
            side="<=",
            assumptions=GROKS,
        ),
        Claim(
            "delay",
            "It generalises (test loss 0.1) at three times the step at which it fits (training loss 0.1), or later",
            Ratio(Crossing("risk", 0.1), Crossing("train", 0.1)),
            lambda hp: 3.0,
            "kumar24",
            rtol=0.0,
            side=">=",
            assumptions=GROKS,
        ),
    ),
    references={
        "kumar24": Reference(
            "Grokking as the Transition from Lazy to Rich Training Dynamics", "2310.06110"
        ),
        "chizat19": Reference("On Lazy Training in Differentiable Programming", "1812.07956"),
    },
    formulae=(
        Formula(
            r"f(x) = \frac{\alpha}{N}\sum_i \varphi(w_i\cdot x)"
            r" = \alpha\left[\bar w\cdot x + \frac{\varepsilon}{2}\, x^\top M x\right]",
            "The network is its neurons' mean and second moment.",
            {r"\alpha": "output_scale", "N": "width", r"\varepsilon": "nonlinearity"},
        ),
        Formula(
            r"A = \frac14\left[\frac{\|\beta\|^2 - \alpha\varepsilon\,\mathrm{tr}\,M}{D}\right]^2,\quad"
            r"B = \frac{\|\alpha\varepsilon M - \beta\beta^\top\|_F^2}{2D^2},\quad"
            r"C = \frac{\alpha^2\|\bar w\|^2}{D}",
            "The test loss is A + B + C: only M turning into ββᵀ/(αε) makes B vanish.",
            {r"\alpha": "output_scale", r"\varepsilon": "nonlinearity", "D": "d"},
        ),
        Formula(
            r"K(x, x') = \frac{\alpha^2}{N}\, x\cdot x'"
            r"\left[1 + \varepsilon\,\bar w\cdot(x + x') + \varepsilon^2 x^\top M x'\right]",
            "The tangent kernel; kernel regression with its initial value is where lazy training ends.",
            {r"\alpha": "output_scale", "N": "width", r"\varepsilon": "nonlinearity"},
        ),
    ),
    views=(
        View(("train", "risk"), "Fitting first, generalising later", x_scale="log"),
        View(("terms",), "What the test loss is made of", x_scale="log"),
        View(("test",), "Test set against A + B + C", x_scale="log"),
        View(("alignment",), "Features turn towards the target", x_scale="log"),
    ),
    presets=(
        Preset(
            "default",
            "The training loss falls within a hundred steps, the test loss over thousands, to far below kernel regression.",
            expects={"kernel": "broken"},
        ),
        Preset(
            "stronger activation",
            "A larger quadratic part and fewer neurons: faster in all, delayed all the same.",
            {"nonlinearity": 0.6, "width": 60, "d": 40, "n": 200, "lr": 16.0, "output_scale": 3.0},
            expects={"kernel": "broken"},
        ),
        Preset(
            "two output scales",
            "As drawn, a four times larger output takes four times longer both to fit and to generalise.",
            {"steps": 8000},
            sweep={"output_scale": (2.0, 8.0)},
            expects={"kernel": "broken"},
        ),
        Preset(
            "lazy",
            "Centred and with a large output the network is its linear model and ends at kernel regression: no grokking.",
            {"start": "centred", "output_scale": 500.0, "steps": 1000},
            expects={"features": "broken", "delay": "broken"},
        ),
        Preset(
            "rich from the start",
            "Centred and with a small output, features turn while the network fits, and both losses fall together.",
            {"start": "centred", "output_scale": 0.5, "n": 400, "steps": 2000},
            expects={"kernel": "broken", "features": "broken", "delay": "broken"},
        ),
        Preset(
            "many samples",
            "With 10 D samples the test loss follows the training loss: fitting needs the features.",
            {"n": 500, "steps": 2000},
            expects={"kernel": "broken", "features": "broken", "delay": "broken"},
        ),
        Preset(
            "few samples",
            "With 2.5 D samples the network fits and never generalises.",
            {"n": 125, "lr": 15.0},
            expects={"kernel": "broken", "features": "broken", "delay": "broken"},
        ),
    ),
    stops=(Stop("train", above=1e12, label="diverged"),),
    record="log",
    records=200,
    seeds=4,
)
