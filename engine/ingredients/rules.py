"""Optimisers as pure functions of (params, grads, slots): (params, slots) after one step.

`params`, `grads` and the entries of `slots` are flat dicts of tensors with the same keys; hyperparameters are floats or
0-d tensors, so each member of a stack has its own. Slots are part of an experiment's state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.spec import Real

Params = dict[str, Tensor]
Slots = dict[str, Params | Tensor]


def zeros_like(params: Params) -> Params:
    return {k: torch.zeros_like(v) for k, v in params.items()}


def norm(tree: Params) -> Tensor:
    """Euclidean norm of all entries together."""
    return torch.sqrt(sum((v * v).sum() for v in tree.values()))  # type: ignore[arg-type]


def sgd(params: Params, grads: Params, lr: Real) -> Params:
    """θ ← θ − lr g."""
    return {k: params[k] - lr * grads[k] for k in params}


def momentum_slots(params: Params) -> Params:
    return zeros_like(params)


def momentum(
    params: Params, grads: Params, velocity: Params, lr: Real, beta: Real, nesterov: bool = False
) -> tuple[Params, Params]:
    """v ← β v + g, θ ← θ − lr v (heavy ball; with Nesterov θ ← θ − lr (g + β v))."""
    velocity = {k: beta * velocity[k] + g for k, g in grads.items()}
    move = {k: grads[k] + beta * velocity[k] for k in grads} if nesterov else velocity
    return sgd(params, move, lr), velocity


def adam_slots(params: Params) -> Slots:
    """First and second moments as one vector over all parameters, in the order of `params`; the step count."""
    flat = _flat(params)
    return {"m": torch.zeros_like(flat), "v": torch.zeros_like(flat), "t": flat.new_zeros(())}


def _flat(tree: Params) -> Tensor:
    return torch.cat([v.reshape(-1) for v in tree.values()])


def _like(flat: Tensor, params: Params) -> Params:
    pieces = torch.split(flat, [v.numel() for v in params.values()])
    return {k: p.reshape(v.shape) for (k, v), p in zip(params.items(), pieces, strict=True)}


def adam(
    params: Params,
    grads: Params,
    slots: Slots,
    lr: Real,
    b1: Real = 0.9,
    b2: Real = 0.999,
    eps: float = 1e-8,
) -> tuple[Params, Slots]:
    """Adam with bias correction (Kingma & Ba, arXiv:1412.6980)."""
    return adamw(params, grads, slots, lr, 0.0, b1, b2, eps)


def adamw(
    params: Params,
    grads: Params,
    slots: Slots,
    lr: Real,
    weight_decay: Real,
    b1: Real = 0.9,
    b2: Real = 0.999,
    eps: float = 1e-8,
) -> tuple[Params, Slots]:
    """Adam with decoupled decay θ ← (1 − lr λ) θ (Loshchilov & Hutter, arXiv:1711.05101).

    All parameters go through one vector, in as few passes as there can be: a small network's step is overhead, and a
    large stack's is memory. With c = √(1 − β₂^t), m̂/(√v̂ + ε) = (c/(1 − β₁^t)) m/(√v + ε c).
    """
    old_m, old_v, t = slots["m"], slots["v"], slots["t"]
    assert isinstance(old_m, Tensor) and isinstance(old_v, Tensor) and isinstance(t, Tensor)
    w, g = _flat(params), _flat({k: grads[k] for k in params})
    t = t + 1
    m = torch.lerp(old_m, g, 1 - b1)
    v = torch.lerp(old_v, g * g, 1 - b2)
    c = torch.sqrt(1 - b2**t)
    if isinstance(weight_decay, Tensor) or weight_decay != 0.0:
        w = (1 - lr * weight_decay) * w
    w = torch.addcmul(w, m / (torch.sqrt(v) + eps * c), -lr * c / (1 - b1**t))
    return _like(w, params), {"m": m, "v": v, "t": t}


def normalised(params: Params, grads: Params, lr: Real, eps: float = 1e-30) -> Params:
    """θ ← θ − lr g / ‖g‖, the norm taken over all parameters."""
    scale = lr / (norm(grads) + eps)
    return {k: params[k] - scale * grads[k] for k in params}


def sign(params: Params, grads: Params, lr: Real) -> Params:
    """θ ← θ − lr sign(g)."""
    return {k: params[k] - lr * torch.sign(grads[k]) for k in params}
