"""What `lemmascope new` writes: an experiment of one's own to change, small and whole."""

TEMPLATE = '''"""Gradient descent with noisy gradients stalls where the noise it takes in balances what it forgets.

Each of d parameters starts at 1 and minimises x²/2, but its gradient comes with Gaussian noise of standard deviation σ:
x ← x − η (x + σ ξ). What is left of the start shrinks by (1 − η)² a step; every step adds η² σ². The mean square
of x therefore falls to η σ² / (2 − η) and stays there: to get closer, the learning rate must fall.

Axes: d parameters.

Departures from the paper: its loss is any smooth one near a minimum; here it is the quadratic one that this comes to.
"""

# An experiment is a few pure functions, written for ONE network, and a declaration of what to draw and to judge.
# They get `hp`, the values of the knobs below, and `rng`, the only source of random numbers:
# rng.normal(3, 2) is a 3 × 2 tensor that is fixed by the run's seed. `state` is a (nested) dict of tensors.

import torch

from engine.reducers import Late
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
    # default, lowest, highest. A Real may be swept within one stack; an int fixes shapes; hot: may change during a run.
    lr: Real = hyper(0.1, 0.01, 1.0, scale="log", hot=True)
    sigma: Real = hyper(
        1.0, 0.1, 10.0, scale="log", label="Gradient noise", symbol="σ", hot=True,
        meaning="Standard deviation of the noise on each gradient.",
    )  # fmt: skip
    d: int = hyper(400, 10, 4000, scale="log", label="Parameters", meaning="Number of parameters.")
    steps: int = hyper(500, 1, 5000, scale="log")


def init(hp, rng):
    return {"x": torch.ones(hp.d, dtype=rng.dtype, device=rng.device)}


def draw(hp, rng):
    """What is random in one step. (`data(hp, rng)`, not needed here, would be drawn once for the whole run.)"""
    return {"noise": rng.normal(hp.d)}


def step(hp, state, batch):
    gradient = state["x"] + hp.sigma * batch["noise"]
    return {"x": state["x"] - hp.lr * gradient}


def mean_square(hp, state, data):
    return state["x"].square().mean()


def theory(hp, t):
    """E x² after t steps (t is a row of step numbers; numpy)."""
    left = (1 - hp.lr) ** (2 * t)
    return left + floor(hp) * (1 - left)


def floor(hp):
    return hp.lr * hp.sigma**2 / (2 - hp.lr)


ARRIVED = Assumption(
    "η · steps ≥ 10 (the start is forgotten)", lambda hp: hp.lr * hp.steps >= 9.999
)

EXPERIMENT = Experiment(
    name="own/NAME",
    title="Noisy gradients stall at a floor",
    hyper=HP,
    init=init,
    draw=draw,
    step=step,
    metrics=(Metric("mean_square", mean_square, "mean square", symbol="⟨x²⟩", scale="log"),),
    views=(View(("mean_square",)),),
    predictions=(
        Prediction(
            "theory", "mean_square", theory, "(1−η)²ᵗ + floor", "mandt17", convention="loss x²/2"
        ),
    ),
    claims=(
        Claim(
            "floor", "The late mean square is ησ²/(2 − η)", Late("mean_square"), floor, "mandt17",
            rtol=0.05, assumptions=(ARRIVED,),
        ),
    ),  # fmt: skip
    presets=(
        Preset("default", "It falls for some twenty steps, then stays at the floor."),
        Preset("lower", "A tenth of the learning rate: ten times slower, some ten times lower.", {"lr": 0.01, "steps": 3000}),
        Preset("too_short", "Stopped before the start is forgotten: no word on the floor.", {"lr": 0.01, "steps": 300}, expects={"floor": "broken"}),
    ),  # fmt: skip
    stops=(Stop("mean_square", above=1e6, label="diverged"),),
    formulae=(
        Formula(
            r"\\mathbb{E}\\,x^2 \\to \\frac{\\eta \\sigma^2}{2 - \\eta}",
            "where noise and forgetting balance",
            {r"\\eta": "lr", r"\\sigma": "sigma"},
        ),
    ),
    references={
        "mandt17": Reference(
            "Mandt, Hoffman, Blei: Stochastic gradient descent as approximate Bayesian inference",
            "1704.04289",
        )
    },
)
'''


def text(stem: str) -> str:
    return TEMPLATE.replace("own/NAME", f"own/{stem}")
