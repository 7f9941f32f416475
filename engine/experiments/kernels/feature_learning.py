"""Only maximal-update scaling keeps feature learning alive at infinite width.

A tanh network is trained on P points of the unit sphere by full-batch gradient descent on L = 1/(2P) Σ (f(x_i) − y_i)².
How its weights, their initial size and the learning rate scale with the width n is its parametrisation: layer l of L is
W_l = n^{−a_l} w_l, the w_l ~ N(0, σ² n^{−2b_l}) are trained, and the step is η n^{−c}. Whatever a, b and c: either features
move at infinite width or training becomes kernel regression, never both. The preactivations of the last hidden layer
change by n^{−r} with

r = min(a_L + b_L, 2a_L + c) + c − 1 + min_{l<L} (2a_l + [l = 1]), and r ≥ 0 where training is stable.

| | a | b | c | r | f₀ |
|---|---|---|---|---|---|
| maximal update (μP) | −½, 0 …, ½ | ½ | 0 | 0 | n^{−½} |
| neural tangent (NTK) | 0, ½ …, ½ | 0 | 0 | ½ | 1 |
| standard, step η/n | 0 | 0, ½ … | 1 | ½ | 1 |
| standard, step η | 0 | 0, ½ … | 0 | −1 | 1 |

The features' movement is divided by what the network has learnt, ‖f_t − f₀‖: at these widths f₀ is of the size of the labels
under NTK and standard scaling and differs from width to width, and so does the way that is left to go. Divided, the
exponents come out within 0.06; undivided, −0.42 stands for −½.

Convention: the loss has the ½ and is a mean over samples, in training and as shown; the gradient is taken in the w_l. Sizes and movements of
preactivations and of the function are root mean squares over samples and neurons.

Axes: P samples, n neurons in a hidden layer, d input dimension, L weight layers.

Departures from the paper:

- Small tanh networks on synthetic regression, a target of degree two; the paper computes limits for word embeddings and
  few-shot learning, and there shows that they do better. Here only the exponents are at stake.
- No biases; the same batch in all steps.
- Widths are finite: 64 to 1024 by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import grad

from engine.ingredients.rules import Params, sgd
from engine.reducers import At, Final, Ratio, Slope
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


class HP(Hyper):
    width: int = hyper(256, 16, 2048, scale="log")
    parametrisation: Literal["mup", "ntk", "standard", "unscaled"] = hyper(
        "mup",
        meaning="How weights and learning rate scale with width: maximal update, neural tangent, standard with "
        "step η/n, or standard with step η at every width.",
    )
    depth: int = hyper(3, 2, 4)
    init_scale: Real = hyper(1.0, 0.5, 2.0, scale="log", symbol="σ")
    lr: Real = hyper(0.5, 0.02, 1.0, scale="log")
    n: int = hyper(32, 8, 128, scale="log", symbol="P")
    d: int = hyper(10, 2, 50, scale="log")
    steps: int = hyper(20, 1, 500, scale="log")


def abc(hp: HP) -> tuple[list[float], list[float], float]:
    """a_l and b_l of layers 1 … L, and c."""
    hidden = hp.depth - 2
    match hp.parametrisation:
        case "mup":
            return [-0.5, *[0.0] * hidden, 0.5], [0.5] * hp.depth, 0.0
        case "ntk":
            return [0.0, *[0.5] * hidden, 0.5], [0.0] * hp.depth, 0.0
        case "standard":
            return [0.0] * hp.depth, [0.0, *[0.5] * hidden, 0.5], 1.0
        case _:
            return [0.0] * hp.depth, [0.0, *[0.5] * hidden, 0.5], 0.0


def feature_exponent(hp: HP, layer: int) -> float:
    """−r of preactivations h_layer (1 … L − 1), which move by n^{−r}."""
    a, b, c = abc(hp)
    below = min(2 * a[l] + (1 if l == 0 else 0) for l in range(layer))
    return -(min(a[-1] + b[-1], 2 * a[-1] + c) + c - 1 + below)


def output_exponent(hp: HP) -> float:
    """Of f₀: a sum of n terms of random sign, each n^{−a−b}."""
    a, b, _ = abc(hp)
    return 0.5 - a[-1] - b[-1]


def data(hp: HP, rng: Rng) -> dict[str, Tensor]:
    x = rng.normal(hp.n, hp.d)
    x = x / x.norm(dim=1, keepdim=True)
    y = (math.sqrt(hp.d) * x[:, 0] + (hp.d * x[:, 1] ** 2 - 1) / math.sqrt(2)) / math.sqrt(2)
    return {"x": x, "y": y}


def init(hp: HP, rng: Rng) -> dict[str, Any]:
    _, b, _ = abc(hp)
    sizes = [hp.d, *[hp.width] * (hp.depth - 1), 1]
    params = {
        f"w{i + 1}": hp.init_scale * hp.width ** -b[i] * rng.normal(sizes[i + 1], sizes[i])
        for i in range(hp.depth)
    }
    return {"params": params, "start": params}


def forward(hp: HP, params: Params, x: Tensor) -> list[Tensor]:
    """Preactivations of all layers, (P, fan out) each; the last is f."""
    a, _, _ = abc(hp)
    out = []
    for i in range(hp.depth):
        out.append(hp.width ** -a[i] * x @ params[f"w{i + 1}"].T)
        x = torch.tanh(out[-1])
    return out


def loss_of(hp: HP, params: Params, data: dict[str, Tensor]) -> Tensor:
    return 0.5 * (forward(hp, params, data["x"])[-1][:, 0] - data["y"]).square().mean()


def step(hp: HP, state: dict[str, Any], batch: dict[str, Tensor]) -> dict[str, Any]:
    grads = grad(lambda params: loss_of(hp, params, batch))(state["params"])
    lr = hp.lr * hp.width ** -abc(hp)[2]
    return {"params": sgd(state["params"], grads, lr), "start": state["start"]}


def movement(layer: int) -> Callable[..., Tensor]:
    """Root mean square change of the preactivations of a layer (as a list index), over samples and neurons."""

    def measure(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
        start, now = (forward(hp, state[k], data["x"])[layer] for k in ("start", "params"))
        return (now - start).square().mean().sqrt()

    return measure


def progress(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    start, now = (forward(hp, state[k], data["x"])[-1][:, 0] for k in ("start", "params"))
    return (now - start).norm() / (data["y"] - start).norm()


def output(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return forward(hp, state["params"], data["x"])[-1].square().mean().sqrt()


def loss(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return loss_of(hp, state["params"], data)


def steepest(hp: HP) -> float:
    """Σ_k σ^{2k}, which Θ(x, x) does not exceed at initialisation: |tanh′| ≤ 1, |tanh h| ≤ |h|, one term a layer."""
    s = float(hp.init_scale) ** 2
    return sum(s**k for k in range(hp.depth)) if s < 1 else hp.depth * s ** (hp.depth - 1)


SETTLED = Assumption("r ≥ 0: stable at every width", lambda hp: hp.parametrisation != "unscaled")
SMALL = Assumption("η L σ^{2(L−1)} < 2: stable on any data", lambda hp: hp.lr * steepest(hp) < 2)
CONVENTION = (
    "abc parametrisation, loss 1/(2P) Σ (f − y)², full batch; movement is a root mean square"
)


def exponent(
    key: str,
    text: str,
    of: Any,
    want: Callable[[HP], float],
    under: tuple[Assumption, ...] = (SETTLED, SMALL),
    loose: float = 1.0,
) -> Claim:
    """A slope over width. `loose` widens tolerance and admitted noise together."""
    return Claim(
        key,
        text,
        Slope(of, "width"),
        want,
        "yang21",
        rtol=0.1 * loose,
        atol=0.05 * loose,
        seeds=8,
        noise_limit=0.2 * loose,
        assumptions=under,
    )


def line(name: str, metric: str, want: Callable[[HP], float], label: str) -> Prediction:
    return Prediction(
        name,
        metric,
        lambda hp, t: want(hp),
        label,
        "yang21",
        assumptions=(SETTLED,),
        convention=CONVENTION,
        against="width",
    )


def first_exponent(hp: HP) -> float:
    return feature_exponent(hp, 1)


def last_exponent(hp: HP) -> float:
    return feature_exponent(hp, hp.depth - 1)


EXPERIMENT = Experiment(
    name="kernels/feature_learning",
    title="Feature learning at infinite width is a matter of parametrisation",
    hyper=HP,
    init=init,
    data=data,
    step=step,
    metrics=(
        Metric("features", movement(-2), "movement of the last hidden layer", "Δh", scale="log"),
        Metric("first", movement(0), "movement of the first hidden layer", "Δh₁", scale="log"),
        Metric("response", movement(-1), "movement of the function", "Δf", scale="log"),
        Metric("progress", progress, "part of the way ‖f_t − f₀‖/‖y − f₀‖"),
        Metric("output", output, "size of the function", "f", scale="log"),
        Metric("loss", loss, "training loss", "L", scale="log"),
    ),
    predictions=(
        line("features", "features", last_exponent, "n^{−r}"),
        line("first", "first", first_exponent, "n^{−r₁}"),
        line("response", "response", lambda hp: 0.0, "n⁰"),
    ),
    claims=(
        exponent(
            "features",
            "Features move by n^{−r} for each unit that the function moves",
            Ratio(Final("features"), Final("response")),
            last_exponent,
        ),
        exponent(
            "first",
            "So do those of the first layer, with an exponent of their own",
            Ratio(Final("first"), Final("response")),
            first_exponent,
        ),
        exponent(
            "progress",
            "The function goes the same part of its way at every width",
            Final("progress"),
            lambda hp: 0.0,
        ),
        exponent(
            "output",
            "The function's initial size is n^{½ − a − b}",
            At("output", 0),
            output_exponent,
            (),
            loose=2.0,  # f₀ is one draw of a Gaussian process, with about d degrees of freedom
        ),
    ),
    references={
        "yang21": Reference("Feature Learning in Infinite-Width Neural Networks", "2011.14522")
    },
    formulae=(
        Formula(
            r"\Delta h_{L-1} \propto n^{-r},\qquad r = \min(a_L+b_L,\; 2a_L+c) + c - 1 + \min_{l<L}\left(2a_l + [l=1]\right)",
            "How far the last hidden layer moves.",
            {"n": "width", "L": "depth"},
        ),
        Formula(
            r"W_l = n^{-a_l} w_l,\qquad w_l \sim \mathcal{N}(0,\, \sigma^2 n^{-2b_l}),\qquad w_l \leftarrow w_l - \eta\, n^{-c}\, \nabla_{w_l} \mathcal{L}",
            "What a, b and c stand for.",
            {"n": "width", r"\sigma": "init_scale", r"\eta": "lr"},
        ),
    ),
    views=(
        View(("features", "first", "response"), "Movement against width", against="width"),
        View(("features", "first", "response"), "Movement of features and function"),
        View(("loss",), "Training loss"),
        View(("output",), "Size of the function"),
    ),
    presets=(
        Preset("default", "Maximal update: features move as far at width 1024 as at width 64."),
        Preset(
            "tangent kernel",
            "The function is learnt just as fast, with features that move less the wider the network is.",
            {"parametrisation": "ntk"},
        ),
        Preset(
            "standard",
            "With the step η/n that width forces on it, standard scaling freezes the features too, and the first "
            "layer's even faster.",
            {"parametrisation": "standard"},
        ),
        Preset(
            "four layers, long training",
            "The exponents belong to no moment and no depth.",
            {"depth": 4, "steps": 100, "lr": 0.3},
            sweep={"width": (64, 128, 256, 512)},
        ),
        Preset(
            "kernel, one hidden layer",
            "The least network: only one layer of features, standing still.",
            {"parametrisation": "ntk", "depth": 2, "init_scale": 1.4, "steps": 100, "lr": 0.3},
        ),
        Preset(
            "learning rate and width",
            "Under maximal update the same learning rates do the same at every width.",
            {"steps": 50},
            sweep={"width": (64, 256, 1024), "lr": (0.1, 0.2, 0.4)},
        ),
        Preset(
            "unscaled step",
            "Standard scaling with the same step η at every width has r = −1: wide networks blow up within steps.",
            {"parametrisation": "unscaled"},
            expects=dict.fromkeys(("features", "first", "progress"), "broken"),
        ),
    ),
    sweep={"width": (64, 128, 256, 512, 1024)},
    stops=(Stop("loss", above=1e6, label="diverged"),),
    seeds=8,
    records=60,
)
