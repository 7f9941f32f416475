"""Curvature of a scalar function of a dict of tensors, by Hessian-vector products; the Hessian is never formed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

Params = dict[str, Tensor]


def dot(a: Params, b: Params) -> Tensor:
    return sum((a[k] * b[k]).sum() for k in a)  # type: ignore[return-value]


def hvp(loss: Callable[[Params], Tensor], params: Params, v: Params) -> Params:
    """H v, as the gradient of ∇L·v.

    Twice backward, not forward over backward: the first forward-mode derivative of a process compiles torch's own
    rules for it and takes seconds, which a person would wait for at the first reading.
    """
    product: Params = grad(lambda p: dot(grad(loss)(p), v))(params)
    return product


def top_eigenvalue(
    loss: Callable[[Params], Tensor], params: Params, start: Params, iterations: int = 10
) -> Tensor:
    """Largest (algebraic) eigenvalue of the Hessian by Lanczos from `start`, with full reorthogonalisation.

    The largest Ritz value of `iterations` Hessian-vector products: never above the eigenvalue, and within a small
    part of it as soon as `start` overlaps with the leading eigenvector (Golub & Van Loan, ch. 10).
    """
    keys = list(params)
    shapes = [params[k].shape for k in keys]
    sizes = [params[k].numel() for k in keys]

    def flat(tree: Params) -> Tensor:
        return torch.cat([tree[k].reshape(-1) for k in keys])

    def tree(vector: Tensor) -> Params:
        parts = torch.split(vector, sizes)
        return {k: p.reshape(s) for k, p, s in zip(keys, parts, shapes, strict=True)}

    tiny = 1e-30
    v = flat(start)
    v = v / (torch.linalg.vector_norm(v) + tiny)
    basis, diagonal, beside = [v], [], []
    for i in range(iterations):
        w = flat(hvp(loss, params, tree(basis[-1])))
        diagonal.append(torch.dot(basis[-1], w))
        if i + 1 == iterations:
            break
        Q = torch.stack(basis)
        w = w - Q.mT @ (Q @ w)
        w = w - Q.mT @ (Q @ w)  # twice is enough
        length = torch.linalg.vector_norm(w)
        beside.append(length)
        basis.append(w / (length + tiny))
    T = torch.diag(torch.stack(diagonal))
    if beside:
        off = torch.diag(torch.stack(beside), 1)
        T = T + off + off.mT
    finite = torch.isfinite(T).all()  # a diverged member must not stop its neighbours
    top = torch.linalg.eigvalsh(torch.where(finite, T, torch.zeros_like(T)))[-1]
    return torch.where(finite, top, torch.full_like(top, torch.nan))


def trace(loss: Callable[[Params], Tensor], params: Params, probes: Params) -> Tensor:
    """Hutchinson's estimate of tr H: mean of v·Hv over probes of ±1, stacked on their first axis."""
    count = next(iter(probes.values())).shape[0]
    total = torch.zeros((), dtype=next(iter(params.values())).dtype)
    for i in range(count):
        v = {k: p[i] for k, p in probes.items()}
        total = total + dot(v, hvp(loss, params, v))
    return total / count
