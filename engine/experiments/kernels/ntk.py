"""Wide networks train as linear models whose tangent kernel is frozen where it was drawn.

A fully connected network f is trained on n points of the unit sphere by full-batch gradient descent on
L = 1/(2n) Σ (f(x_i) − y_i)². At infinite width its tangent kernel Θ(x, x′) = ∇f(x)·∇f(x′) is a fixed function, and it
does not move: the residuals r = f − y follow r_{t+1} = (1 − η Θ/n) r_t, mode by mode. At finite width Θ₀ is random,
Θ_t moves, and theory says how fast both fade. Every curve here is compared with the linear model of the *same drawn
network*, so that no average over initialisations hides the error; the infinite-width kernel is a further, separate limit.

Convention: NTK parametrisation, h₁ = W₁x, h_{l+1} = W_{l+1} c φ(h_l)/√m, f = h_L, all weights N(0, σ²), c² E φ(z)² = 1 for z ~ N(0, 1)
(c = √2 for ReLU: He's factor). One learning rate for all layers, no biases. Time is counted in steps. λ_i are the eigenvalues of Θ₀/n, and
the r_i shown are divided by √n, so that L = ½ Σ r_i².

Axes: n samples, m neurons in a hidden layer, d input dimension, L weight layers (L − 1 hidden ones).

How the errors scale with m:

- Θ₀ − Θ∞ is a mean of m independent terms: m^{−1/2}.
- Θ_t − Θ₀ is at most m^{−1/2}. For a smooth activation it is m^{−1}, since ∂Θ/∂t is odd in the weights of the last layer
  and so averages out once more; the gap between network and linear model follows it.
- For ReLU it is not m^{−1}: weights move by m^{−1/2}, so √m neurons per sample change sign. Their signs are random
  (m^{−3/4}), but a neuron that is on feels the residual of its own sample and one that is off does not, which leaves a
  systematic part of order m^{−1/2}. Slopes lie between these: −0.75 measured over m = 256 … 4096 here, −0.83 with more
  and higher-dimensional samples, −0.61 from 16384 to 65536 with n = 12, d = 5.

The bounds 2/√m and 4/√m have the theorem's exponent; its constant is not known in numbers, so theirs is this page's
choice. The condition for them, a small relative movement of the weights, is computed from the limiting kernel.

Departures from the paper:

- Gradient descent in discrete steps, predicted exactly as such, instead of gradient flow.
- Inputs on the unit sphere, no biases, and a target of degree two, y = (√d x₁ + (d x₂² − 1)/√2)/√2.
- The paper proves the limit with layers sent to infinity one after the other; here all widths are equal and finite.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import grad

from engine.ingredients.rules import Params, norm, sgd
from engine.reducers import At, Deviation, Final, Slope
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
    View,
    hyper,
)
from engine.theory.kernels import limit_kernels, signals, tangent_kernel

CIRCLE = 61  # points of the great circle on which the learned function is drawn


class HP(Hyper):
    width: int = hyper(1024, 16, 4096, scale="log", symbol="m")
    depth: int = hyper(2, 2, 4)
    activation: Literal["erf", "relu"] = hyper(
        "erf", symbol="φ", meaning="Non-linearity of the hidden layers: smooth, or with a kink."
    )
    init_scale: Real = hyper(1.0, 0.25, 4.0, scale="log", symbol="σ")
    lr: Real = hyper(0.5, 0.01, 2.0, scale="log")
    n: int = hyper(24, 4, 64, scale="log")
    d: int = hyper(10, 2, 50, scale="log")
    steps: int = hyper(300, 10, 3000, scale="log")


def data(hp: HP, rng: Rng) -> dict[str, Tensor]:
    x = rng.normal(hp.n, hp.d)
    x = x / x.norm(dim=1, keepdim=True)
    y = (math.sqrt(hp.d) * x[:, 0] + (hp.d * x[:, 1] ** 2 - 1) / math.sqrt(2)) / math.sqrt(2)
    across = x[1] - (x[1] @ x[0]) * x[0]
    angle = torch.linspace(0, 2 * math.pi, CIRCLE)[:, None]
    circle = torch.cos(angle) * x[0] + torch.sin(angle) * across / across.norm()
    return {"x": x, "y": y, "circle": circle}


def init(hp: HP, rng: Rng) -> dict[str, Any]:
    sizes = [hp.d, *[hp.width] * (hp.depth - 1), 1]
    params = {
        f"W{i + 1}": hp.init_scale * rng.normal(sizes[i + 1], sizes[i]) for i in range(hp.depth)
    }
    return {"params": params, "start": params}


def weights(params: Params) -> list[Tensor]:
    return [params[k] for k in sorted(params)]


def output(hp: HP, params: Params, x: Tensor) -> Tensor:
    return signals(weights(params), x, hp.activation)[0]


def ntk(hp: HP, params: Params, x: Tensor) -> Tensor:
    """Θ (n, n) of this network."""
    return tangent_kernel(weights(params), x, hp.activation)


def limit_ntk(hp: HP, x: Tensor) -> Tensor:
    """Θ∞ (n, n)."""
    return limit_kernels(x, hp.depth, hp.activation, hp.init_scale)[1]


def loss_of(hp: HP, params: Params, data: dict[str, Tensor]) -> Tensor:
    return 0.5 * (output(hp, params, data["x"]) - data["y"]).square().mean()


def step(hp: HP, state: dict[str, Any], batch: dict[str, Tensor]) -> dict[str, Any]:
    grads = grad(lambda params: loss_of(hp, params, batch))(state["params"])
    return {"params": sgd(state["params"], grads, hp.lr), "start": state["start"]}


def spectrum(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Eigenvalues λ (n,) of Θ₀/n, largest first, and eigenvectors (n, n) in columns.

    More samples than parameters leave zero eigenvalues; rounding must not make them negative.
    """
    rates, modes = torch.linalg.eigh(ntk(hp, state["start"], data["x"]) / hp.n)
    floor = torch.finfo(rates.dtype).eps * rates[-1]
    return torch.maximum(rates, floor).flip(0), modes.flip(1)


def residual(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    _, modes = spectrum(hp, state, data)
    return modes.T @ (output(hp, state["params"], data["x"]) - data["y"]) / math.sqrt(hp.n)


def loss(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return loss_of(hp, state["params"], data)


def function(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return output(hp, state["params"], data["circle"])


def movement(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    return norm({k: v - state["start"][k] for k, v in state["params"].items()})


def drift(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    start, now = (ntk(hp, state[k], data["x"]) for k in ("start", "params"))
    return (now - start).norm() / start.norm()


def distance(hp: HP, state: dict[str, Any], data: dict[str, Tensor]) -> Tensor:
    limit = limit_ntk(hp, data["x"])
    return (ntk(hp, state["params"], data["x"]) - limit).norm() / limit.norm()


def remaining(hp: HP, t: Tensor, rates: Tensor) -> Tensor:
    """(1 − η λ_i)^t, (T, n)."""
    return (1 - hp.lr * rates) ** t[:, None]


def linear_residual(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    rates, _ = spectrum(hp, state, data)
    return remaining(hp, t, rates) * residual(hp, state, data)


def linear_loss(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    return 0.5 * linear_residual(hp, t, data, state).square().sum(1)


def linear_function(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    """f₀(x) − Θ₀(x, X) Θ₀⁻¹ [1 − (1 − ηΘ₀/n)^t] r₀, (T, points)."""
    rates, modes = spectrum(hp, state, data)
    points = torch.cat([data["circle"], data["x"]])
    cross = ntk(hp, state["start"], points)[:CIRCLE, CIRCLE:] / hp.n
    gone = (1 - remaining(hp, t, rates)) / rates * residual(hp, state, data)
    return function(hp, state, data) - math.sqrt(hp.n) * gone @ (cross @ modes).T


def linear_movement(hp: HP, t: Tensor, data: dict[str, Tensor], state: dict[str, Any]) -> Tensor:
    """‖θ_t − θ₀‖² = Σ_i r_i² [1 − (1 − ηλ_i)^t]² / λ_i, r in the modes and divided by √n: (T,)."""
    rates, _ = spectrum(hp, state, data)
    gone = (1 - remaining(hp, t, rates)) * residual(hp, state, data)
    return torch.sqrt((gone**2 / rates).sum(1))


def at_limit(hp: HP) -> tuple[float, float]:
    """Θ∞(x, x), and Θ∞(x, x) − Θ∞(x, x′) for orthogonal inputs: a typical eigenvalue of Θ."""
    limit = limit_ntk(hp, torch.eye(2, dtype=torch.float64))
    return float(limit[0, 0]), float(limit[0, 0] - limit[0, 1])


def laziness(hp: HP) -> float:
    """Squared relative move of a neuron's weights, r²/(λ m σ²), with |r|² = 1 + σ^{2L} and λ typical."""
    s = hp.init_scale**2
    return (1 + s**hp.depth) / (at_limit(hp)[1] * hp.width * s)


STABLE = Assumption("η Θ∞(x, x) < 2: stable on any data", lambda hp: hp.lr * at_limit(hp)[0] < 2)
LAZY = Assumption(
    "(1 + σ^{2L}) / (λ m σ²) ≤ 0.01: weights hardly move", lambda hp: laziness(hp) <= 0.01
)
WIDE = Assumption("m ≥ 128 (L − 1)", lambda hp: hp.width >= 128 * (hp.depth - 1))
SMOOTH = Assumption("smooth activation (erf)", lambda hp: hp.activation == "erf")
KINK = Assumption("activation with a kink (ReLU)", lambda hp: hp.activation == "relu")


linear = functools.partial(
    Prediction,
    label="linear model",
    source="lee19",
    needs="drawn",
    assumptions=(STABLE, LAZY),
    convention="loss 1/(2n) Σ (f − y)², NTK parametrisation, one step = η",
)

EXPERIMENT = Experiment(
    name="kernels/ntk",
    title="Wide networks train as linear models of a frozen kernel",
    hyper=HP,
    init=init,
    data=data,
    step=step,
    metrics=(
        Metric("residual", residual, "residual in the modes of Θ₀", "r_i", kind="modes"),
        Metric("loss", loss, "training loss", "L", scale="log"),
        Metric("drift", drift, "kernel movement ‖Θ_t − Θ₀‖/‖Θ₀‖", scale="log", every=2),
        Metric("distance", distance, "distance to the limit ‖Θ_t − Θ∞‖/‖Θ∞‖", scale="log", every=2),
        Metric("movement", movement, "movement of the weights ‖θ_t − θ₀‖"),
        Metric(
            "function",
            function,
            "function on a great circle through two samples",
            "f",
            kind="profile",
            every=6,
            coords=lambda hp: np.linspace(0, 360, CIRCLE),
            coords_label="angle (degrees)",
        ),
    ),
    predictions=(
        linear("linear", "residual", linear_residual, label="(1 − ηλ_i)^t r_i"),
        linear("linear_loss", "loss", linear_loss),
        linear("linear_function", "function", linear_function),
        linear("linear_movement", "movement", linear_movement),
    ),
    claims=(
        Claim(
            "linear",
            "The residual in every mode stays within 2/√m of the linear model's, in units of the largest",
            Deviation("residual", "linear"),
            lambda hp: 2 / math.sqrt(hp.width),
            "lee19",
            rtol=0.0,
            side="<=",
            assumptions=(STABLE, LAZY),
        ),
        Claim(
            "function",
            "Between the samples too the network is the linear model, within 4/√m of its range",
            Deviation("function", "linear_function"),
            lambda hp: 4 / math.sqrt(hp.width),
            "lee19",
            rtol=0.0,
            side="<=",
            assumptions=(STABLE, LAZY, WIDE),
        ),
        Claim(
            "movement",
            "The weights move as far as the linear model's",
            Final("movement"),
            "linear_movement",
            "lee19",
            assumptions=(STABLE, LAZY, WIDE),
        ),
        Claim(
            "fluctuation",
            "The drawn kernel lies m^{−1/2} from its limit",
            Slope(At("distance", 0), "width"),
            lambda hp: -0.5,
            "jacot18",
            rtol=0.1,
            seeds=8,
            noise_limit=0.3,
        ),
        Claim(
            "drift",
            "With a smooth activation the kernel moves by m^{−1}",
            Slope(Final("drift"), "width"),
            lambda hp: -1.0,
            "dyer20",
            rtol=0.1,
            seeds=8,
            assumptions=(STABLE, LAZY, WIDE, SMOOTH),
        ),
        Claim(
            "gap",
            "With a smooth activation network and linear model differ by m^{−1}",
            Slope(Deviation("residual", "linear", "rms"), "width"),
            lambda hp: -1.0,
            "dyer20",
            rtol=0.15,
            seeds=8,
            noise_limit=0.3,
            assumptions=(STABLE, LAZY, WIDE, SMOOTH),
        ),
        Claim(
            "kink",
            "With ReLU the kernel moves by a power of m between −1 and −1/2",
            Slope(Final("drift"), "width"),
            lambda hp: -0.75,
            "lee19",
            rtol=0.0,
            atol=0.25,
            seeds=8,
            assumptions=(STABLE, LAZY, WIDE, KINK),
        ),
    ),
    references={
        "jacot18": Reference(
            "Neural Tangent Kernel: Convergence and Generalization in Neural Networks", "1806.07572"
        ),
        "lee19": Reference(
            "Wide Neural Networks of Any Depth Evolve as Linear Models Under Gradient Descent",
            "1902.06720",
        ),
        "dyer20": Reference("Asymptotics of Wide Networks from Feynman Diagrams", "1909.11304"),
    },
    formulae=(
        Formula(
            r"r_i(t) = (1 - \eta\lambda_i)^t\, r_i(0)",
            "Each mode of the drawn kernel Θ₀/n decays at its own rate.",
            {r"\eta": "lr", "t": "steps"},
        ),
        Formula(
            r"f_t(x) = f_0(x) - \Theta_0(x, X)\,\Theta_0^{-1}"
            r"\left[1 - (1 - \eta\Theta_0/n)^t\right](f_0(X) - y)",
            "Away from the samples the network is kernel regression, started from its own f₀.",
            {r"\eta": "lr", "n": "n", "t": "steps"},
        ),
        Formula(
            r"\Theta_\infty^{l+1} = c^2\,\mathbb{E}[\varphi\varphi']"
            r" + \sigma^2 c^2\,\mathbb{E}[\dot\varphi\dot\varphi']\,\Theta_\infty^{l}",
            "The kernel of infinite width, layer by layer.",
            {r"\sigma": "init_scale"},
        ),
        Formula(
            r"\|\Theta_0 - \Theta_\infty\| \sim m^{-1/2}, \quad"
            r"\|\Theta_t - \Theta_0\| \lesssim m^{-1/2}",
            "Both errors of the limit vanish with width; a smooth activation moves its kernel by 1/m only.",
            {"m": "width"},
        ),
    ),
    views=(
        View(("residual",), "Residual in each mode of the kernel", x_scale="log"),
        View(("function",), "The function learned"),
        View(("drift", "distance"), "The kernel moves, and lies off its limit", x_scale="log"),
        View(("drift", "distance"), "Against width", against="width"),
        View(("loss",), "Training loss", x_scale="log"),
        View(("movement",), "Movement of the weights", x_scale="log"),
    ),
    presets=(
        Preset(
            "default",
            "One hidden layer of erf neurons: kernel movement and error of the linear model both fall as 1/m.",
            expects={"kink": "broken"},
        ),
        Preset(
            "ReLU",
            "Neurons that change sign move the kernel by more than 1/m; the linear model is good all the same.",
            {"activation": "relu"},
            expects={"drift": "broken", "gap": "broken"},
        ),
        Preset(
            "two hidden layers",
            "Depth changes the kernel and its fluctuations, not the exponents.",
            {"depth": 3, "lr": 0.3, "steps": 150},
            sweep={"width": (256, 512, 1024)},
            seeds=16,  # the widths span a factor of four only, so that a slope scatters
            expects={"kink": "broken"},
        ),
        Preset(
            "large weights",
            "Twice the weights, twice the samples and dimension: a lazier network with a stiffer kernel.",
            {"init_scale": 2.0, "lr": 0.2, "n": 48, "d": 20},
            sweep={"width": (256, 1024, 4096)},
            expects={"kink": "broken"},
        ),
        Preset(
            "narrow",
            "With 16 to 128 neurons the kernel moves while the network learns, and the linear model is off.",
            sweep={"width": (16, 32, 64, 128)},
            expects=dict.fromkeys(
                ("linear", "function", "movement", "drift", "gap", "kink"), "broken"
            ),
        ),
        Preset(
            "small weights",
            "At σ = 0.25 weights grow many times over and the kernel turns into another one: no width here is lazy.",
            {"init_scale": 0.25, "lr": 2.0, "steps": 1000},
            sweep={"width": (256, 1024)},
            expects=dict.fromkeys(
                ("linear", "function", "movement", "drift", "gap", "kink"), "broken"
            ),
        ),
    ),
    sweep={"width": (256, 512, 1024, 2048, 4096)},
    seeds=8,
    record="log",
    records=120,
)
