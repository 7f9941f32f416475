"""From a small start, gradient descent learns a matrix one rank at a time, the largest eigenvalue first.

A symmetric d × d matrix M = Σ s_k q_k q_kᵀ of rank 3 is fitted by UUᵀ, U being d × r. Either M is seen whole, or only n numbers
⟨A_i, M⟩ + σ ε are, with Gaussian matrices A_i. U starts at α times orthonormal rows (columns, if r < d), so that no direction is preferred. Each eigenvalue x_k
of UUᵀ then grows exponentially at its own rate 2 s_k until it saturates at s_k: a logistic curve with half-time ln(s_k/α² − 1)/(2 s_k). The smaller α, the
further apart those times, and the longer UUᵀ rests near the best approximation of M of rank 1, then 2: a staircase. With fewer columns than ranks (r < 3) it
ends at the best approximation of rank r.

Convention: loss ¼‖UUᵀ − M‖_F² with M seen whole, (1/4n) Σ_i (⟨A_i, UUᵀ⟩ − y_i)² with measurements, whose A_i are such that both agree as n → ∞;
time t = η·step; x_k = q_kᵀ UUᵀ q_k; the largest eigenvalue is s₁ = 4.

Axes: n measurements, d × d matrices, r columns.

Departures from the paper:
- The flow's factor e^{2st} is written (1 + ηs)^{2k} after k steps, which a discrete step multiplies a small mode by; both agree as η → 0.
- The paper bounds the distance to the best approximations of each rank; the curves drawn here are exact for M seen whole. Where r < d the modes share
  columns and the curve is the exact solution of the matrix Riccati flow from the drawn start.
- With measurements the same curves are drawn, but they are exact only as n → ∞: half-times are asked for within 10 %.
- Measurements are kept as their second moments ΣA_i ⊗ A_i/n in the d(d+1)/2 coordinates of symmetric matrices, so a step costs the same for every n.
"""

import math
from typing import Literal

import numpy as np
import torch

from engine.reducers import Crossing, Deviation, Final, Worst
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

RANK = 3
TOP = 4.0  # s₁


class HP(Hyper):
    init_scale: Real = hyper(
        1e-3, 1e-6, 1.0, scale="log", meaning="UUᵀ = α² I at the start (on r directions if r < d)."
    )
    width: int = hyper(
        20, 1, 40, symbol="r", unit="columns", meaning="Columns of U, the largest rank of UUᵀ."
    )
    lr: Real = hyper(0.01, 1e-3, 0.2, scale="log")
    d: int = hyper(20, 4, 24, meaning="Rows and columns of M.")
    decay: Real = hyper(
        0.5, 0.3, 1.0, symbol="ρ", meaning="Ratio of each eigenvalue of M to the one before it."
    )
    observed: Literal["whole", "measured"] = hyper(
        "whole", label="M is", meaning="M seen whole, or through n random measurements."
    )
    n: int = hyper(
        4000,
        50,
        5000,
        scale="log",
        label="Measurements",
        unit="measurements",
        meaning="Random measurements ⟨A_i, M⟩; without effect when M is seen whole.",
    )
    noise: Real = hyper(0.0, 0.0, 2.0, meaning="Standard deviation of a measurement's noise.")
    steps: int = hyper(1500, 1, 20000, scale="log")


def eigenvalues(hp):
    """(s₁, s₂, s₃) of M, in numpy or torch as `hp` has it."""
    return [TOP * hp.decay**k for k in range(RANK)]


def pack(X):
    """Symmetric "d d" to its d(d+1)/2 coordinates in an orthonormal basis."""
    d = X.shape[-1]
    i, j = torch.triu_indices(d, d, device=X.device)
    return X[i, j] * torch.where(i == j, 1.0, math.sqrt(2.0)).to(X.dtype)


def unpack(x, d):
    i, j = torch.triu_indices(d, d, device=x.device)
    place = torch.zeros(d, d, dtype=torch.int64, device=x.device)
    place[i, j] = torch.arange(len(i), device=x.device)
    place[j, i] = place[i, j]
    scale = torch.full((d, d), math.sqrt(0.5), dtype=x.dtype, device=x.device)
    return x[place] * scale.fill_diagonal_(1.0)


def data(hp, rng):
    Q = rng.orthogonal(hp.d, hp.d)
    s = torch.stack([v + 0.0 * Q[0, 0] for v in eigenvalues(hp)])
    M = (Q[:, :RANK] * s) @ Q[:, :RANK].mT
    out = {"Q": Q, "M": M, "s": s}
    if hp.observed == "measured":
        A = rng.normal(hp.n, hp.d * (hp.d + 1) // 2)  # each row a Gaussian symmetric matrix, packed
        y = A @ pack(M) + hp.noise * rng.normal(hp.n)
        out |= {"H": A.mT @ A / hp.n, "b": A.mT @ y / hp.n, "yy": y.square().mean()}
    return out


def init(hp, rng):
    return {"U": hp.init_scale * rng.orthogonal(hp.d, hp.width)}


def step(hp, state, data):
    U = state["U"]
    if hp.observed == "whole":
        residual = data["M"] - U @ U.mT
    else:
        residual = unpack(data["b"] - data["H"] @ pack(U @ U.mT), hp.d)
    return {"U": U + hp.lr * (residual @ U)}


def loss(hp, state, data):
    X = state["U"] @ state["U"].mT
    if hp.observed == "whole":
        return 0.25 * (X - data["M"]).square().sum()
    x = pack(X)
    return 0.25 * ((x * (data["H"] @ x)).sum() - 2 * (x * data["b"]).sum() + data["yy"])


def modes(hp, state, data):
    """x_k = q_kᵀ UUᵀ q_k, k = 1, 2, 3."""
    return (data["Q"][:, :RANK].mT @ state["U"]).square().sum(-1)


def share(hp, state, data):
    return modes(hp, state, data) / data["s"]


def error(hp, state, data):
    gap = state["U"] @ state["U"].mT - data["M"]
    return gap.square().sum() / data["s"].square().sum()


def distance(hp, state, data):
    """‖UUᵀ − M_k‖_F/‖M‖_F to the best approximations M_k of rank k = 1, 2, 3."""
    Q, X = data["Q"], state["U"] @ state["U"].mT
    size = data["s"].square().sum().sqrt()
    best = [(Q[:, :k] * data["s"][:k]) @ Q[:, :k].mT for k in range(1, RANK + 1)]
    return torch.stack([(X - B).square().sum().sqrt() / size for B in best])


def rank(hp, state, data):
    """How many eigenvalues of UUᵀ exceed s₃/2."""
    lam = torch.linalg.eigvalsh(state["U"] @ state["U"].mT)
    return (lam > data["s"][-1] / 2).to(lam.dtype).sum()


def logistic(hp, t):
    """x_k after t steps, (T, 3), for M seen whole and UUᵀ = α² I at the start."""
    t, a = np.asarray(t, float)[:, None], hp.init_scale**2
    s = np.array(eigenvalues(hp))
    return s / (1 + (s / a - 1) * np.exp(-2 * t * np.log1p(hp.lr * s)))


def idle(hp, t):
    """Eigenvalue of UUᵀ on each of the d − 3 directions where M is zero: α²/(1 + 2α²ηt)."""
    return hp.init_scale**2 / (1 + 2 * hp.init_scale**2 * hp.lr * np.asarray(t, float))


def whole_loss(hp, t):
    left = ((np.array(eigenvalues(hp)) - logistic(hp, t)) ** 2).sum(1)
    return 0.25 * (left + (hp.d - RANK) * idle(hp, t) ** 2)


def whole_distance(hp, t):
    s, x = np.array(eigenvalues(hp)), logistic(hp, t)
    rest = (hp.d - RANK) * idle(hp, t) ** 2
    gaps = [((x - np.where(np.arange(RANK) < k, s, 0.0)) ** 2).sum(1) + rest for k in (1, 2, 3)]
    return np.sqrt(np.stack(gaps, 1)) / np.linalg.norm(s)


def whole_rank(hp, t):
    level = eigenvalues(hp)[-1] / 2
    return (logistic(hp, t) > level).sum(1) + (hp.d - RANK) * (idle(hp, t) > level)


def riccati(hp, t, data, state):
    """x_k along U̇ = (M − UUᵀ)U from the drawn start, whatever its rank, (T, 3).

    Over a time τ the flow takes U to DU(I + UᵀWU)^{−½}, up to a rotation of its columns, with D = e^{Mτ} and
    W = ∫₀^τ 2e^{2Mt}dt; here (1 + ηs)^k stands for e^{sητ}. In the eigenbasis of M both are diagonal. Pieces of at
    most eight steps keep I + UᵀWU well conditioned.
    """
    s = torch.cat([data["s"], data["s"].new_zeros(hp.d - RANK)])
    U = data["Q"].mT @ state["U"]
    if hp.width > hp.d:
        U = torch.linalg.cholesky(U @ U.mT)
    eye = torch.eye(U.shape[1], dtype=U.dtype, device=U.device)
    out, times = [U[:RANK].square().sum(-1)], t.tolist()
    for now, then in zip(times[:-1], times[1:], strict=True):
        pieces = math.ceil((then - now) / 8)
        length = (then - now) / pieces
        D = (1 + hp.lr * s) ** length
        W = torch.where(s > 0, (D * D - 1) / torch.where(s > 0, s, 1.0), 2 * hp.lr * length)
        for _ in range(pieces):
            L = torch.linalg.cholesky(eye + U.mT @ (W[:, None] * U))
            U = torch.linalg.solve_triangular(L, (D[:, None] * U).mT, upper=False).mT
        out.append(U[:RANK].square().sum(-1))
    return torch.stack(out)


def half_time(hp, k):
    """Steps until x_k = s_k/2."""
    s = eigenvalues(hp)[k]
    return math.log(max(s / hp.init_scale**2 - 1, 1e-300)) / (2 * math.log1p(hp.lr * s))


def settled(hp):
    """Steps until the last eigenvalue that r columns can hold is learnt, and those columns have left the others.

    The logarithms allow for a start that lies almost across an eigenvector, and for a residue of e^{−7}.
    """
    r = min(hp.width, RANK)
    s = [*eigenvalues(hp), 0.0]
    learn = math.log1p(100 * hp.d * s[r - 1] / hp.init_scale**2) + 7
    learn /= 2 * math.log1p(hp.lr * s[r - 1])
    gap = 2 * math.log1p(hp.lr * (s[r - 1] - s[r]))
    return max(learn, (math.log(1000 * hp.d) + 7) / gap if gap else math.inf)


def end_error(hp):
    """‖UUᵀ − M‖²/‖M‖² at the end: the eigenvalues that r columns cannot hold, and what is left of the start."""
    s = np.array(eigenvalues(hp))
    rest = max(0, min(hp.width, hp.d) - RANK) * idle(hp, hp.steps) ** 2
    return float(((s[hp.width :] ** 2).sum() + rest) / (s**2).sum())


def drift(hp):
    """How far discrete steps may leave the flow, in units of s₁.

    Rates of growth out of a saddle differ by a factor up to 1 + ηs₁/2, over at most ln(100 s₁/α²) e-folds (100: a start
    that happens to lie almost across q₁), and a logistic curve moves at most ¼ an e-fold; one more ηs₁/2 at saturation.
    """
    return 0.5 * hp.lr * TOP * (1 + math.log(100 * TOP / hp.init_scale**2) / 4)


WHOLE = Assumption("M is seen whole", lambda hp: hp.observed == "whole")
SEEN_BY_N = Assumption("M is seen through measurements", lambda hp: hp.observed == "measured")
WIDE = Assumption("r ≥ d: no direction is preferred at the start", lambda hp: hp.width >= hp.d)
GENTLE = Assumption("η s₁ ≤ 0.4", lambda hp: hp.lr * TOP <= 0.4)
FINE = Assumption("η s₁ ≤ 0.05", lambda hp: hp.lr * TOP <= 0.05)
SMALL = Assumption("α² ≤ s₃/4", lambda hp: hp.init_scale**2 <= eigenvalues(hp)[-1] / 4)
SETTLED = Assumption("run to its end", lambda hp: hp.steps >= settled(hp))
ENOUGH = Assumption(
    "n ≥ 8 d (‖M‖² + σ²)/s₃², so that the measurements' own spread stays below s₃/2",
    lambda hp: hp.n >= 8 * hp.d * spread(hp),
)


def spread(hp):
    """(‖M‖_F² + σ²)/s₃²: Σ A_i ⟨A_i, M⟩/n leaves M by a random symmetric matrix of norm ‖M‖_F √(2d/n)."""
    s = eigenvalues(hp)
    return (sum(v * v for v in s) + hp.noise**2) / s[-1] ** 2


def passed(k):
    return Assumption(
        f"run past 1.3 times half-time {k + 1}", lambda hp: hp.steps >= 1.3 * half_time(hp, k)
    )


NAMES = ("first", "second", "third")
PARTS = ("k = 1", "k = 2", "k = 3")
HALVES = ("half1", "half2", "half3")
MEASURED = ("measured1", "measured2", "measured3")
UNMEASURED = dict.fromkeys(MEASURED, "broken")  # M is seen whole
UNSEEN = dict.fromkeys((*HALVES, "trajectory", "rank1", "end"), "broken")  # M is not
EXACT = (WHOLE, WIDE, GENTLE)
TIME = "loss ¼‖UUᵀ − M‖², time η·step"


def half(key, k, text, *assumptions, **tolerance):
    return Claim(
        f"{key}{k + 1}",
        text.format(NAMES[k]),
        Crossing("share", 0.5, "up", index=k),
        "share",
        "jin23",
        assumptions=(*assumptions, WIDE, GENTLE, SMALL, passed(k)),
        **tolerance,
    )


EXPERIMENT = Experiment(
    name="implicit_bias/matrix_sensing",
    title="Small initialisation learns a matrix one rank at a time",
    hyper=HP,
    init=init,
    step=step,
    data=data,
    records=200,
    dtype="float64",  # α² = 10⁻¹² beside s₁ = 4
    stops=(Stop("loss", above=1e8, label="diverged"),),
    metrics=(
        Metric("modes", modes, "eigenvalue learnt", symbol="x_k", kind="modes", parts=PARTS),
        Metric("loss", loss, "loss", scale="log"),
        Metric("rank", rank, "eigenvalues of UUᵀ above s₃/2"),
        Metric("distance", distance, "distance to the best approximation", kind="modes", scale="log",
               parts=("of rank 1", "of rank 2", "of rank 3")),
        Metric("share", share, "share learnt", symbol="x_k/s_k", kind="modes", parts=PARTS),
        Metric("error", error, "relative error ‖UUᵀ − M‖²/‖M‖²", scale="log"),
    ),
    views=(
        View(("modes",), "Eigenvalues learnt"),
        View(("loss",), "Loss"),
        View(("rank",), "Rank of UUᵀ"),
        View(("distance",), "Distance to the best approximation of each rank"),
        View(("error",), "Error"),
    ),
    predictions=(
        Prediction("logistic", "modes", logistic, "logistic", "jin23", assumptions=EXACT, convention=TIME),
        Prediction("riccati", "modes", riccati, "Riccati flow", "yan94", needs="drawn",
                   assumptions=(WHOLE, GENTLE), convention=TIME),
        Prediction("loss", "loss", whole_loss, "logistic", "jin23", assumptions=EXACT, convention=TIME),
        Prediction("rank", "rank", whole_rank, "logistic", "jin23", assumptions=EXACT,
                   convention=f"{TIME}; rank: eigenvalues above s₃/2, those where M is zero too"),
        Prediction("distance", "distance", whole_distance, "logistic", "jin23", assumptions=EXACT,
                   convention=f"{TIME}; distance: Frobenius norm, in units of ‖M‖_F"),
        Prediction("share", "share", lambda hp, t: logistic(hp, t) / np.array(eigenvalues(hp)),
                   "logistic", "jin23", assumptions=EXACT, convention=TIME),
    ),
    claims=(
        *(half("half", k, "The {} eigenvalue is half learnt at ln(s/α² − 1)/(2s)", WHOLE,
               rtol=0.02, atol=1.0) for k in range(RANK)),  # atol: one step
        Claim("trajectory", "From the drawn start, whatever the width, the eigenvalues follow the Riccati flow",
              Deviation("modes", "riccati"), drift, "yan94", rtol=0.0, side="<=",
              assumptions=(WHOLE, FINE)),
        Claim("rank1", "UUᵀ passes the best approximation of rank 1 at the logistic law's distance",
              Worst("distance", largest=False, index=0), "distance", "jin23", atol=0.01,
              assumptions=(WHOLE, WIDE, FINE, passed(1))),
        Claim("end", "In the end UUᵀ is the best approximation of rank min(r, 3)", Final("error"),
              end_error, "jin23", atol=0.01, assumptions=(WHOLE, GENTLE, SMALL, SETTLED)),
        *(half("measured", k, "Seen through measurements, the {} half-time stays", SEEN_BY_N, ENOUGH,
               rtol=0.1) for k in range(RANK)),
    ),
    presets=(
        Preset("default", "The loss falls in three steps while the rank climbs to 1, 2 and 3.",
               expects=UNMEASURED),
        Preset("tiny_start",
               "α = 10⁻⁶: the half-times double, and UUᵀ rests longer on the best approximations of lower rank.",
               {"init_scale": 1e-6, "steps": 3000}, expects=UNMEASURED),
        Preset("two_columns",
               "r = 2 columns cannot hold the third eigenvalue: the end is the best approximation of rank 2.",
               {"width": 2}, expects=UNMEASURED | dict.fromkeys((*HALVES, "rank1"), "broken")),
        Preset("equal_eigenvalues",
               "Without gaps between the eigenvalues there is no staircase: all three grow together.",
               {"decay": 1.0, "steps": 600}, expects=UNMEASURED),
        Preset("measured",
               "4000 noisy measurements: the same staircase, its half-times blurred by a few per cent.",
               {"observed": "measured", "noise": 0.5}, seeds=6, expects=UNSEEN),
        Preset("few_measurements",
               "150 measurements of 210 unknowns: low rank still singles out M in the end, but on the way the half-times scatter.",
               {"observed": "measured", "n": 150, "steps": 3000},
               expects=UNSEEN | dict.fromkeys(MEASURED, "broken")),
        Preset("large_start",
               "α = 0.9: every direction starts near its end, the rank starts at 20, and half-times mean nothing.",
               {"init_scale": 0.9}, expects=UNMEASURED | dict.fromkeys((*HALVES, "end"), "broken")),
        Preset("coarse_steps", "η s₁ = 0.8: single steps jump across the growth, and a flow is no guide to them.",
               {"lr": 0.2, "steps": 100}, expects=UNMEASURED | UNSEEN),
    ),
    references={
        "jin23": Reference(
            "Understanding Incremental Learning of Gradient Descent: A Fine-grained Analysis of Matrix Sensing",
            "2301.11500",
        ),
        "yan94": Reference(
            "W.-Y. Yan, U. Helmke, J. B. Moore, Global analysis of Oja's flow for neural networks, IEEE Transactions on Neural Networks 5 (1994)",
            "",
        ),
    },
    formulae=(
        Formula(
            r"x_k(t)=\frac{s_k}{1+\left(s_k/\alpha^2-1\right)e^{-2s_k t}},\qquad t_{1/2}=\frac{\ln\left(s_k/\alpha^2-1\right)}{2s_k},\qquad t=\eta\cdot\mathrm{step}",
            "Each eigenvalue grows at its own rate and saturates.",
            {r"\alpha": "init_scale", r"\eta": "lr"},
        ),
        Formula(r"s_k = 4\rho^{k-1},\qquad k=1,2,3", "Eigenvalues of M.", {r"\rho": "decay"}),
        Formula(
            r"U(t)U(t)^\top = e^{Mt}U_0\left[I+U_0^\top\left(\int_0^t 2e^{2M\tau}d\tau\right)U_0\right]^{-1}U_0^\top e^{Mt}",
            "The same for any start and any width r: the matrix Riccati flow.",
            {"r": "width"},
        ),
    ),
)  # fmt: skip
