"""Where a recorded function's intermediate results lie: in memory that is set aside once and used again and again.

An operation that can write into given memory (`out=`) does so; an element-wise one takes the place of an operand that
nothing needs any more. So a step touches as little memory as it can, which is what a large stack's speed is made of.
What the function returns, and whatever shares memory with that, is new at each call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

# Overload -> the function that takes `out=`; element by element, so that `out` may be an operand's own memory …
ELEMENTWISE: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.sub.Tensor: torch.sub,
    aten.mul.Tensor: torch.mul,
    aten.div.Tensor: torch.div,
    aten.neg.default: torch.neg,
    aten.abs.default: torch.abs,
    aten.sign.default: torch.sign,
    aten.tanh.default: torch.tanh,
    aten.sigmoid.default: torch.sigmoid,
    aten.exp.default: torch.exp,
    aten.log.default: torch.log,
    aten.sqrt.default: torch.sqrt,
    aten.cos.default: torch.cos,
    aten.sin.default: torch.sin,
    aten.erf.default: torch.erf,
    aten.reciprocal.default: torch.reciprocal,
    aten.pow.Tensor_Scalar: torch.pow,
    aten.pow.Tensor_Tensor: torch.pow,
    aten.lerp.Scalar: torch.lerp,
    aten.lerp.Tensor: torch.lerp,
    aten.addcmul.default: torch.addcmul,
    aten.addcdiv.default: torch.addcdiv,
    aten.maximum.default: torch.maximum,
    aten.minimum.default: torch.minimum,
    aten.tanh_backward.default: lambda g, y, out: aten.tanh_backward.grad_input(
        g, y, grad_input=out
    ),
    aten.threshold_backward.default: lambda g, x, t, out: aten.threshold_backward.grad_input(
        g, x, t, grad_input=out
    ),
}
# … and those whose result must lie apart from every operand.
APART: dict[Any, Callable[..., Any]] = {
    aten.bmm.default: torch.bmm,
    aten.mm.default: torch.mm,
    aten.cat.default: torch.cat,
    aten.sum.dim_IntList: torch.sum,
    aten.mean.dim: torch.mean,
}


def places(
    graph: fx.Graph, known: dict[fx.Node, Any]
) -> dict[fx.Node, tuple[Callable[..., Any], Tensor]]:
    """Node -> (the function that writes its result, the tensor that it writes to), for those that get a place."""
    calls = [n for n in graph.nodes if n.op == "call_function" and n not in known]
    schemas = [getattr(n.target, "_schema", None) for n in calls]
    if any(s is not None and s.is_mutable for s in schemas):
        return {}  # what writes into its operands is beyond this bookkeeping
    owner: dict[fx.Node, fx.Node] = {}
    for node, schema in zip(calls, schemas, strict=True):
        owner[node] = node
        shares = schema is None or any(r.alias_info is not None for r in schema.returns)
        if node.target is operator.getitem or (shares and node.all_input_nodes):
            source = node.all_input_nodes[0]
            owner[node] = owner.get(source, source)
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            last[owner.get(used, used)] = node
    (output,) = (n for n in graph.nodes if n.op == "output")
    kept = {owner.get(n, n) for n in output.all_input_nodes}
    return _assign(calls, owner, last, kept)


def _assign(
    calls: list[fx.Node],
    owner: dict[fx.Node, fx.Node],
    last: dict[fx.Node, fx.Node],
    kept: set[fx.Node],
) -> dict[fx.Node, tuple[Callable[..., Any], Tensor]]:
    out: dict[fx.Node, tuple[Callable[..., Any], Tensor]] = {}
    memory: dict[fx.Node, Tensor] = {}  # owner -> the flat memory that it holds
    free: list[Tensor] = []
    for node in calls:
        dying = {owner.get(n, n) for n in node.all_input_nodes if last.get(owner.get(n, n)) is node}
        fn = ELEMENTWISE.get(node.target) or APART.get(node.target)
        value = node.meta.get("val")
        placed = fn and owner[node] is node and node not in kept and node in last
        if fn and placed and isinstance(value, Tensor) and _dense(value):
            mine = None
            if node.target in ELEMENTWISE:
                mine = next((n for n in dying if n in out and _replaces(node, n, owner)), None)
            if mine is not None:
                memory[node] = memory.pop(mine)
            else:
                memory[node] = _from(free, value)
            out[node] = (fn, memory[node].as_strided(value.shape, value.stride()))
        for n in dying:
            if n in memory and n is not node:
                free.append(memory.pop(n))
    return out


def _dense(value: Tensor) -> bool:
    """Whether a tensor fills its memory without gaps or overlaps."""
    if value.layout != torch.strided or not value.numel():
        return False
    order = sorted(range(value.ndim), key=value.stride)
    expected = 1
    for i in order:
        if value.shape[i] != 1 and value.stride(i) != expected:
            return False
        expected *= value.shape[i]
    return True


def _replaces(node: fx.Node, operand: fx.Node, owner: dict[fx.Node, fx.Node]) -> bool:
    """Whether a result may lie where an operand lies: same cells in the same order, read through no other view."""
    a, b = node.meta["val"], operand.meta["val"]
    same = a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype
    return same and not any(
        owner.get(n, n) is operand and n is not operand for n in node.all_input_nodes
    )


def _from(free: list[Tensor], value: Tensor) -> Tensor:
    """Flat memory for a tensor: what was last used comes first, since it is still in the cache."""
    for i in range(len(free) - 1, -1, -1):
        f = free[i]
        if f.numel() == value.numel() and f.dtype == value.dtype and f.device == value.device:
            return free.pop(i)
    return torch.empty(value.numel(), dtype=value.dtype, device=value.device)
