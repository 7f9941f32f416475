"""A function of tensors, recorded once as plain operations and run without the machinery that recorded it.

`vmap` and `grad` cost tens of microseconds an operation in Python; what they finally do to the tensors does not depend
on the values. `record` keeps that list of operations (`tape`), drops what changes nothing, computes once what
depends on constants only, and writes the rest out as straight-line Python over torch's own functions. The same
kernels run on the same numbers, so the results are bit for bit those of the function; nothing is compiled, so it works
where there is no compiler.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from engine.running import random
from engine.running.buffers import places
from engine.running.tape import CannotRecord, taped

aten = torch.ops.aten

# Overload -> torch's own entry with the same arguments: the same kernel, called with less ceremony.
DIRECT: dict[Any, Callable[..., Any]] = random.DIRECT | {
    aten.add.Tensor: torch.add,
    aten.sub.Tensor: torch.sub,
    aten.mul.Tensor: torch.mul,
    aten.mul.Scalar: torch.mul,
    aten.div.Tensor: torch.div,
    aten.div.Scalar: torch.div,
    aten.bmm.default: torch.bmm,
    aten.mm.default: torch.mm,
    aten.neg.default: torch.neg,
    aten.tanh.default: torch.tanh,
    aten.relu.default: torch.relu,
    aten.exp.default: torch.exp,
    aten.log.default: torch.log,
    aten.sqrt.default: torch.sqrt,
    aten.cos.default: torch.cos,
    aten.sin.default: torch.sin,
    aten.pow.Tensor_Scalar: torch.pow,
    aten.pow.Scalar: torch.pow,
    aten.pow.Tensor_Tensor: torch.pow,
    aten.lerp.Scalar: torch.lerp,
    aten.lerp.Tensor: torch.lerp,
    aten.addcmul.default: torch.addcmul,
    aten.abs.default: torch.abs,
    aten.sigmoid.default: torch.sigmoid,
    aten.maximum.default: torch.maximum,
    aten.minimum.default: torch.minimum,
    aten.reciprocal.default: torch.reciprocal,
    aten.rsub.Scalar: torch.rsub,
    aten.sum.dim_IntList: torch.sum,
    aten.mean.dim: torch.mean,
    aten.transpose.int: torch.transpose,
    aten.permute.default: torch.permute,
    aten.view.default: Tensor.view,
    aten.expand.default: Tensor.expand,
    aten.unsqueeze.default: torch.unsqueeze,
    aten.squeeze.dim: torch.squeeze,
    aten.select.int: torch.select,
    aten.cat.default: torch.cat,
    aten.stack.default: torch.stack,
    aten.where.self: torch.where,
    aten.lt.Scalar: torch.lt,
    aten.gt.Scalar: torch.gt,
    aten.ge.Scalar: torch.ge,
    aten.le.Scalar: torch.le,
    aten.bitwise_and.Scalar: torch.bitwise_and,
    aten.bitwise_xor.Tensor: torch.bitwise_xor,
    aten.__rshift__.Scalar: torch.bitwise_right_shift,
    aten.bitwise_right_shift.Tensor_Scalar: torch.bitwise_right_shift,
}

# Operations of two operands of which one may be a number -> the same on tensors.
MIXED: dict[Any, Any] = {
    aten.add.Tensor: aten.add.Tensor,
    aten.sub.Tensor: aten.sub.Tensor,
    aten.mul.Tensor: aten.mul.Tensor,
    aten.div.Tensor: aten.div.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.div.Scalar: aten.div.Tensor,
    aten.rsub.Scalar: aten.sub.Tensor,
    aten.pow.Scalar: aten.pow.Tensor_Tensor,
}

# Operations that return their first argument's own memory and whose result is that argument if the shape agrees.
SAME_SHAPE = {
    aten.view.default,
    aten.expand.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.detach.default,
    aten.alias.default,
    aten.lift_fresh_copy.default,
    aten.lift_fresh.default,
}


def record(
    fn: Callable[..., Sequence[Tensor]], *examples: Tensor
) -> Callable[..., tuple[Tensor, ...]]:
    """`fn` (tensors -> tensors) as straight-line code for tensors of the examples' shapes.

    Tensors that `fn` closes over count as constants. Raises CannotRecord.
    """
    graph, constants = simplified(fn, *examples)
    _numbers(graph, constants)
    _outer_products(graph)
    return _write(graph, constants)


def simplified(
    fn: Callable[..., Sequence[Tensor]], *examples: Tensor
) -> tuple[fx.Graph, dict[fx.Node, Any]]:
    """The operations of `fn` for such tensors, and the values of those that depend on constants only."""
    # Copies: one tensor given twice (a state that keeps its own start, at step 0) is two arguments all the same.
    try:
        graph, constants = taped(fn, *(v.clone() for v in examples))
    except CannotRecord:
        raise
    except Exception as e:
        raise CannotRecord(f"{type(e).__name__}: {e}") from e
    _drop_no_ops(graph)
    return graph, _fold(graph, constants)


def _drop_no_ops(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in SAME_SHAPE:
            continue
        source = node.args[0]
        old, new = source.meta.get("val"), node.meta.get("val")
        if not isinstance(old, Tensor) or not isinstance(new, Tensor):
            continue
        if old.shape == new.shape and old.stride() == new.stride() and old.dtype == new.dtype:
            node.replace_all_uses_with(source)
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _outer_products(graph: fx.Graph) -> None:
    """(B, n, 1) times (B, 1, m) is one product an entry: a multiplication, without the ceremony of a matrix product."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target in (aten.bmm.default, aten.mm.default):
            value = node.args[0].meta.get("val")
            if isinstance(value, Tensor) and value.shape[-1] == 1:
                node.target = aten.mul.Tensor


def _numbers(graph: fx.Graph, known: dict[fx.Node, Any]) -> None:
    """Numbers among tensors become tensors once: torch would do that, with a conversion, at every call."""
    made: dict[tuple[float, torch.dtype, torch.device], fx.Node] = {}
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node.op != "call_function" or node in known or node.target not in MIXED:
            continue
        operands = [n.meta.get("val") for n in node.all_input_nodes]
        if not all(isinstance(v, Tensor) and v.dtype == value.dtype for v in operands):
            continue
        if not value.is_floating_point() or node.kwargs or len(node.args) != 2:
            continue
        args = [_number(a, value, node, made, known) for a in node.args]
        if node.target is aten.rsub.Scalar:
            args.reverse()
        node.target, node.args = MIXED[node.target], tuple(args)


def _number(arg: Any, like: Tensor, node: fx.Node, made: Any, known: dict[fx.Node, Any]) -> Any:
    if isinstance(arg, fx.Node) or not isinstance(arg, (int, float)):
        return arg
    key = (float(arg), like.dtype, like.device)
    if key not in made:
        with node.graph.inserting_before(next(iter(node.graph.nodes))):
            made[key] = node.graph.create_node("get_attr", f"number{len(made)}")
        known[made[key]] = torch.full((), arg, dtype=like.dtype, device=like.device)
        made[key].meta["val"] = known[made[key]]
    return made[key]


def _fold(graph: fx.Graph, constants: dict[fx.Node, Tensor]) -> dict[fx.Node, Any]:
    """Values of all nodes that depend on constants only."""
    known: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            known[node] = constants[node]
        elif node.op == "call_function" and all(n in known for n in node.all_input_nodes):
            value = lambda n: known[n]
            args, kwargs = fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value)
            known[node] = node.target(*args, **kwargs)
    return known


class _Writer:
    """Straight-line source with every constant, function and size under a short name."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.by_id: dict[int, str] = {}
        self.lines: list[str] = []

    def name(self, value: Any, stem: str) -> str:
        if id(value) not in self.by_id:
            self.by_id[id(value)] = f"{stem}{len(self.by_id)}"
            self.names[self.by_id[id(value)]] = value
        return self.by_id[id(value)]

    def text(self, arg: Any, known: dict[fx.Node, Any], local: dict[fx.Node, str]) -> str:
        if isinstance(arg, fx.Node):
            return local[arg] if arg in local else self.name(known[arg], "c")
        if isinstance(arg, (list, tuple)):
            inner = "".join(f"{self.text(a, known, local)}, " for a in arg)
            return f"({inner})" if isinstance(arg, tuple) else f"[{inner}]"
        if arg is None or isinstance(arg, (bool, int, str)):
            return repr(arg)
        if isinstance(arg, float):
            return repr(arg) if math.isfinite(arg) else f'float("{arg}")'
        return self.name(arg, "k")  # dtypes, devices, layouts


def _write(graph: fx.Graph, known: dict[fx.Node, Any]) -> Callable[..., tuple[Tensor, ...]]:
    w, local = _Writer(), {}
    inputs: list[str] = []
    last = _last_uses(graph)
    buffers = places(graph, known)
    # tensors that stay where they are
    fixed = {node: buffer for node, (_, buffer) in buffers.items()}
    for i, node in enumerate(graph.nodes):
        if node.op == "placeholder":
            local[node] = f"i{i}"
            inputs.append(local[node])
        elif node.op == "call_function" and node not in known:
            args = [w.text(a, known, local) for a in node.args]
            args += [f"{k}={w.text(v, known, local)}" for k, v in _kwargs(node).items()]
            local[node] = f"v{i}"
            if (view := _view(node, fixed)) is not None:
                fixed[node] = view
                local[node] = w.name(view, "b")
            elif node.target is operator.getitem:
                w.lines.append(f"v{i} = {args[0]}[{args[1]}]")
            elif node in buffers:
                into = buffers[node][0]
                local[node] = w.name(fixed[node], "b")
                w.lines.append(f"{w.name(into, 'f')}({', '.join(args)}, out={local[node]})")
            else:
                fn = w.name(DIRECT.get(node.target, node.target), "f")
                w.lines.append(f"v{i} = {fn}({', '.join(args)})")
        elif node.op == "output":
            out = "".join(f"{w.text(a, known, local)}, " for a in node.args[0])
            w.lines.append(f"return ({out})")
        elif node.op not in ("get_attr", "call_function"):
            raise CannotRecord(f"{node.op} {node.target}")
        gone = [local[n] for n in last.get(node, ()) if n in local and local[n].startswith("v")]
        if gone and node.op == "call_function" and node not in known:
            w.lines.append(f"del {', '.join(gone)}")
    source = f"def recorded({', '.join(inputs)}):\n" + "".join(f"    {line}\n" for line in w.lines)
    namespace = dict(w.names)
    exec(compile(source, "<recorded step>", "exec"), namespace)
    plain: Callable[..., tuple[Tensor, ...]] = namespace["recorded"]
    return plain


def _view(node: fx.Node, fixed: dict[fx.Node, Any]) -> Any:
    """A view of memory that stays where it is, taken once and for all; None if it is none."""
    sources = node.all_input_nodes
    if len(sources) != 1 or sources[0] not in fixed:
        return None
    schema = getattr(node.target, "_schema", None)
    if node.target is not operator.getitem and not (
        schema and all(r.alias_info is not None for r in schema.returns)
    ):
        return None
    return node.target(*fx.map_arg(node.args, fixed.__getitem__), **node.kwargs)  # type: ignore[operator]


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """node -> the values that nothing needs after it, so that their memory can be used again."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            last[used] = node
    out: dict[fx.Node, list[fx.Node]] = {}
    for used, node in last.items():
        out.setdefault(node, []).append(used)
    return out


def _kwargs(node: fx.Node) -> dict[str, Any]:
    """Keyword arguments without those that only repeat the default."""
    return {
        k: v
        for k, v in node.kwargs.items()
        if not (k == "pin_memory" and v is False) and not (k == "layout" and v is torch.strided)
    }
