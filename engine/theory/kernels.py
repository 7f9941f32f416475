"""Kernels of fully connected networks in NTK parametrisation: of one network, and of infinite width.

h₁ = W₁x, h_{l+1} = W_{l+1} c φ(h_l)/√m, f = h_L with a scalar output; no biases. c² E φ(z)² = 1 for z ~ N(0, 1), which is He's
factor 2 for ReLU. At initialisation all weights are N(0, σ²).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.spec import Real

GAIN = {"relu": math.sqrt(2.0), "erf": (2 / math.pi * math.asin(2 / 3)) ** -0.5}  # c


def activate(name: str, h: Tensor) -> tuple[Tensor, Tensor]:
    """c φ(h) and its derivative."""
    c = GAIN[name]
    if name == "relu":
        return c * torch.relu(h), c * (h > 0).to(h.dtype)
    return c * torch.erf(h), c * 2 / math.sqrt(math.pi) * torch.exp(-h * h)


def signals(
    weights: Sequence[Tensor], x: Tensor, activation: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """f (n,), what enters each layer (n, fan in), and ∂f/∂h_l for each layer (n, fan out)."""
    entering, slopes = [x], []
    for W in weights[:-1]:
        value, slope = activate(activation, entering[-1] @ W.T)
        entering.append(value / math.sqrt(len(W)))
        slopes.append(slope / math.sqrt(len(W)))
    f = (entering[-1] @ weights[-1].T)[:, 0]
    back = [torch.ones_like(f)[:, None]]
    for W, slope in zip(reversed(weights[1:]), reversed(slopes), strict=True):
        back.insert(0, (back[0] @ W) * slope)
    return f, entering, back


def tangent_kernel(weights: Sequence[Tensor], x: Tensor, activation: str) -> Tensor:
    """Θ(x_i, x_j) = ∇f(x_i)·∇f(x_j), (n, n), of this network.

    ∂f/∂W_l is the outer product of ∂f/∂h_l with what enters, so each layer adds a product of two Gram matrices.
    """
    _, entering, back = signals(weights, x, activation)
    layers = [(a @ a.T) * (b @ b.T) for a, b in zip(entering, back, strict=True)]
    return torch.stack(layers).sum(0)


def limit_kernels(x: Tensor, depth: int, activation: str, scale: Real) -> tuple[Tensor, Tensor]:
    """At infinite width: covariance of f over initialisations, and tangent kernel, (n, n) each, of `depth` layers.

    Σ ← σ²c²E[φφ], Θ ← c²E[φφ] + σ²c²E[φ′φ′]Θ with means over N(0, Σ), from Σ = σ²xxᵀ, Θ = xxᵀ.
    ReLU: arc-cosine kernels (Cho and Saul, 2009); erf: arcsine kernel (Williams, 1998).
    """
    theta = x @ x.T
    cov = scale**2 * theta
    for _ in range(depth - 1):
        s = torch.diagonal(cov)
        if activation == "relu":
            size = torch.sqrt(s[:, None] * s)
            cos = torch.clamp(cov / size, -1, 1)
            angle = torch.arccos(cos)
            value = size * (torch.sqrt(1 - cos * cos) + cos * (math.pi - angle)) / math.pi
            slope = (math.pi - angle) / math.pi
        else:
            det = (1 + 2 * s[:, None]) * (1 + 2 * s)
            both = GAIN["erf"] ** 2 * 2 / math.pi
            value = both * torch.arcsin(2 * cov / torch.sqrt(det))
            slope = both * 2 / torch.sqrt(det - 4 * cov * cov)
        theta = value + scale**2 * slope * theta
        cov = scale**2 * value
    return cov, theta
