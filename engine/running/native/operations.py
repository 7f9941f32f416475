"""What each operation of a recorded step becomes in C."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from engine.running.native.values import (
    CannotCompile,
    Lazy,
    Ref,
    Shape,
    Value,
    contiguous,
    lazy,
    nest,
    number,
    size,
)

if TYPE_CHECKING:
    from engine.running.native.program import Program

aten = torch.ops.aten
Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}


def rule(*targets: Any) -> Callable[[Rule], Rule]:
    def keep(fn: Rule) -> Rule:
        RULES.update(dict.fromkeys(targets, fn))
        return fn

    return keep


def shape_of(node: fx.Node) -> Shape:
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        raise CannotCompile(f"{node.target} gives no tensor")
    return tuple(value.shape)


def operand(value: Any) -> Any:
    return number(value) if isinstance(value, (int, float)) else value


# --- element by element ---

UNARY: dict[Any, str] = {
    aten.neg.default: "(-{})",
    aten.abs.default: "LIBM(fabs, {})",
    aten.tanh.default: "TANH({})",
    aten.exp.default: "EXP({})",
    aten.log.default: "LIBM(log, {})",
    aten.cos.default: "LIBM(cos, {})",
    aten.sin.default: "LIBM(sin, {})",
    aten.sqrt.default: "LIBM(sqrt, {})",
    aten.reciprocal.default: "(1 / {})",
    aten.sigmoid.default: "(1 / (1 + EXP(-{})))",
}
BINARY: dict[Any, str] = {
    aten.add.Tensor: "({} + {})",
    aten.sub.Tensor: "({} - {})",
    aten.mul.Tensor: "({} * {})",
    aten.mul.Scalar: "({} * {})",
    aten.div.Tensor: "({} / {})",
    aten.div.Scalar: "({} / {})",
}
EXTREME: dict[Any, str] = {  # NaN wins, as in torch
    aten.maximum.default: "({0} > {1} || {0} != {0} ? {0} : {1})",
    aten.minimum.default: "({0} < {1} || {0} != {0} ? {0} : {1})",
}


@rule(*UNARY)
def unary(p: Program, node: fx.Node, x: Value) -> Value:
    return lazy(shape_of(node), UNARY[node.target].format, x)


@rule(*BINARY)
def binary(p: Program, node: fx.Node, a: Any, b: Any) -> Value:
    if node.kwargs:
        raise CannotCompile(f"{node.target} with {', '.join(node.kwargs)}")
    return lazy(shape_of(node), BINARY[node.target].format, operand(a), operand(b))


@rule(*EXTREME)
def extreme(p: Program, node: fx.Node, a: Value, b: Value) -> Value:
    return lazy(shape_of(node), EXTREME[node.target].format, p.stored(a), b)


@rule(aten.rsub.Scalar)
def rsub(p: Program, node: fx.Node, x: Value, c: float) -> Value:
    return lazy(shape_of(node), "({1} - {0})".format, x, number(c))


@rule(aten.relu.default)
def relu(p: Program, node: fx.Node, x: Value) -> Value:
    return lazy(shape_of(node), "({0} < 0 ? (real)0 : {0})".format, p.stored(x))


@rule(aten.pow.Tensor_Scalar)
def power(p: Program, node: fx.Node, x: Value, e: float) -> Value:
    if e == 1:
        return lazy(shape_of(node), "{}".format, x)
    if e in (2, 3):
        return lazy(shape_of(node), f"({' * '.join(['{0}'] * int(e))})".format, p.stored(x))
    if e == 0.5:
        return lazy(shape_of(node), "LIBM(sqrt, {})".format, x)
    return lazy(shape_of(node), _pow, x, number(e))


def _pow(base: str, exponent: str) -> str:
    return f"(sizeof(real) == 4 ? (real)powf({base}, {exponent}) : (real)pow({base}, {exponent}))"


@rule(aten.pow.Scalar, aten.pow.Tensor_Tensor)
def power_of(p: Program, node: fx.Node, base: Any, exponent: Any) -> Value:
    return lazy(shape_of(node), _pow, operand(base), operand(exponent))


@rule(aten.lerp.Scalar, aten.lerp.Tensor)
def lerp(p: Program, node: fx.Node, a: Value, b: Value, weight: Any) -> Value:
    # at one half torch changes to b − (b − a)(1 − w): the same to rounding
    return lazy(shape_of(node), "({0} + {2} * ({1} - {0}))".format, p.stored(a), b, operand(weight))


@rule(aten.addcmul.default)
def addcmul(p: Program, node: fx.Node, x: Value, a: Value, b: Value) -> Value:
    if node.kwargs:
        raise CannotCompile("addcmul with a value")
    return lazy(shape_of(node), "({} + {} * {})".format, x, a, b)


@rule(aten.tanh_backward.default)
def tanh_backward(p: Program, node: fx.Node, g: Value, y: Value) -> Value:
    return lazy(shape_of(node), "({0} * (1 - {1} * {1}))".format, g, p.stored(y))


@rule(aten.sigmoid_backward.default)
def sigmoid_backward(p: Program, node: fx.Node, g: Value, y: Value) -> Value:
    return lazy(shape_of(node), "({0} * {1} * (1 - {1}))".format, g, p.stored(y))


@rule(aten.threshold_backward.default)
def threshold_backward(p: Program, node: fx.Node, g: Value, x: Value, t: float) -> Value:
    return lazy(shape_of(node), "({1} <= {2} ? (real)0 : {0})".format, g, x, number(t))


@rule(aten.softplus.default)
def softplus(p: Program, node: fx.Node, x: Value, beta: float = 1, threshold: float = 20) -> Value:
    if beta != 1:
        raise CannotCompile("softplus with a beta")
    return lazy(
        shape_of(node), "({0} > {1} ? {0} : LIBM(log1p, EXP({0})))".format, p.stored(x), number(threshold)
    )  # fmt: skip


@rule(aten.softplus_backward.default)
def softplus_backward(
    p: Program, node: fx.Node, g: Value, x: Value, beta: float, threshold: float
) -> Value:
    if beta != 1:
        raise CannotCompile("softplus with a beta")
    return lazy(
        shape_of(node), "({1} > {2} ? {0} : {0} * (1 - 1 / (1 + EXP({1}))))".format,
        g, p.stored(x), number(threshold),
    )  # fmt: skip


@rule(aten.clone.default, aten._to_copy.default)
def clone(p: Program, node: fx.Node, x: Value) -> Value:
    return x


@rule(aten.ones_like.default)
def ones_like(p: Program, node: fx.Node, x: Value) -> Value:
    return lazy(shape_of(node), lambda: "((real)1)")


@rule(aten.zeros_like.default)
def zeros_like(p: Program, node: fx.Node, x: Value) -> Value:
    return lazy(shape_of(node), lambda: "((real)0)")


# --- views ---


@rule(aten.view.default, aten._unsafe_view.default, aten.reshape.default)
def view(p: Program, node: fx.Node, x: Value, shape: Any) -> Value:
    new = shape_of(node)
    x = p.stored(x)
    if not x.contiguous:
        x = _copied(p, x)
    return Ref(x.name, new, contiguous(new), x.offset)


def _copied(p: Program, x: Ref) -> Ref:
    out = p.new(x.shape)
    p.write(out, x)
    return out


@rule(aten.t.default)
def t(p: Program, node: fx.Node, x: Value) -> Value:
    return _permuted(p.stored(x), list(range(len(x.shape)))[::-1])


@rule(aten.transpose.int)
def transpose(p: Program, node: fx.Node, x: Value, i: int, j: int) -> Value:
    order = list(range(len(x.shape)))
    order[i], order[j] = order[j], order[i]
    return _permuted(p.stored(x), order)


@rule(aten.permute.default)
def permute(p: Program, node: fx.Node, x: Value, order: list[int]) -> Value:
    return _permuted(p.stored(x), order)


def _permuted(x: Ref, order: list[int]) -> Ref:
    shape, strides = (tuple(v[i] for i in order) for v in (x.shape, x.strides))
    return Ref(x.name, shape, strides, x.offset)


def _without(x: Ref, at: int, offset: int = 0) -> Ref:
    """The same cells without one dimension."""
    shape, strides = ((*v[:at], *v[at + 1 :]) for v in (x.shape, x.strides))
    return Ref(x.name, shape, strides, x.offset + offset)


@rule(aten.expand.default)
def expand(p: Program, node: fx.Node, x: Value, shape: Any) -> Value:
    new = shape_of(node)
    if isinstance(x, Lazy):
        return Lazy(new, x.write, x.operands, x.reads)
    if size(x.shape) == 1:
        return lazy(new, "{}".format, Ref(x.name, (), (), x.offset))
    lead = len(new) - len(x.shape)
    strides = [0] * lead + [0 if n == 1 else s for n, s in zip(x.shape, x.strides, strict=True)]
    return Ref(x.name, new, tuple(strides), x.offset)


@rule(aten.unsqueeze.default)
def unsqueeze(p: Program, node: fx.Node, x: Value, at: int) -> Value:
    x = p.stored(x)
    at %= len(x.shape) + 1
    shape = (*x.shape[:at], 1, *x.shape[at:])
    return Ref(x.name, shape, (*x.strides[:at], 0, *x.strides[at:]), x.offset)


@rule(aten.squeeze.dim)
def squeeze(p: Program, node: fx.Node, x: Value, at: int) -> Value:
    x = p.stored(x)
    at %= len(x.shape)
    if x.shape[at] != 1:
        return x
    return _without(x, at)


@rule(aten.select.int)
def select(p: Program, node: fx.Node, x: Value, at: int, i: int) -> Value:
    x = p.stored(x)
    at, i = at % len(x.shape), i % x.shape[at]
    return _without(x, at, i * x.strides[at])


@rule(aten.slice.Tensor)
def part(
    p: Program,
    node: fx.Node,
    x: Value,
    at: int = 0,
    begin: Any = None,
    end: Any = None,
    step: int = 1,
) -> Value:
    x = p.stored(x)
    at %= len(x.shape)
    first = range(x.shape[at])[slice(begin, end, step)]
    strides = (*x.strides[:at], x.strides[at] * step, *x.strides[at + 1 :])
    start = first.start if len(first) else 0
    return Ref(x.name, shape_of(node), strides, x.offset + start * x.strides[at])


@rule(aten.split_with_sizes.default)
def split(p: Program, node: fx.Node, x: Value, sizes: list[int], at: int = 0) -> list[Ref]:
    x = p.stored(x)
    at %= len(x.shape)
    out, begin = [], 0
    for n in sizes:
        shape = (*x.shape[:at], n, *x.shape[at + 1 :])
        out.append(Ref(x.name, shape, x.strides, x.offset + begin * x.strides[at]))
        begin += n
    return out


@rule(operator.getitem)
def getitem(p: Program, node: fx.Node, x: Any, i: int) -> Value:
    out: Value = x[i]
    return out


# --- moving ---


@rule(aten.cat.default)
def cat(p: Program, node: fx.Node, parts: list[Value], at: int = 0) -> Value:
    out = p.new(shape_of(node))
    at %= len(out.shape)
    begin = 0
    for part in parts:
        n = part.shape[at]
        shape = (*out.shape[:at], n, *out.shape[at + 1 :])
        p.write(Ref(out.name, shape, out.strides, begin * out.strides[at]), part)
        begin += n
    return out


@rule(aten.select_backward.default)
def select_backward(p: Program, node: fx.Node, g: Value, shape: Any, at: int, i: int) -> Value:
    out = p.new(shape_of(node))
    p.write(out, lazy(out.shape, lambda: "((real)0)"))
    at, i = at % len(out.shape), i % out.shape[at]
    p.write(_without(out, at, i * out.strides[at]), g)
    return out


@rule(aten.index.Tensor)
def index(p: Program, node: fx.Node, x: Value, which: list[Any]) -> Value:
    """Rows of an array by one list of whole numbers."""
    if len(which) != 1 or not isinstance(which[0], Ref) or len(which[0].shape) != 1:
        raise CannotCompile("an index other than one row of whole numbers")
    x, rows, out = p.stored(x), which[0], p.new(shape_of(node))
    inner = [f"i{d}" for d in range(1, len(out.shape))]
    source = Ref(x.name, x.shape, x.strides, x.offset).at(["row", *inner])
    heads = [f"for (long i{d} = 0; i{d} < {n}; i{d}++) " for d, n in enumerate(out.shape)]
    text = (
        f"{heads[0]}{{ long row = {rows.at(['i0'])}; "
        f"{''.join(heads[1:])}{out.at(['i0', *inner])} = {source}; }}"
    )
    return p.emit(text, out, x, rows)


# --- sums ---


@rule(aten.sum.dim_IntList, aten.mean.dim, aten.sum.default, aten.mean.default)
def reduce(p: Program, node: fx.Node, x: Value, dims: Any = None, keep: bool = False) -> Value:
    if node.kwargs:
        raise CannotCompile(f"{node.target} with {', '.join(node.kwargs)}")
    over = sorted({d % len(x.shape) for d in dims} if dims else set(range(len(x.shape))))
    kept = [d for d in range(len(x.shape)) if d not in over]
    out = p.new(shape_of(node))
    shape = tuple(x.shape[d] for d in kept)
    index = [f"i{d}" if n > 1 else "0" for d, n in enumerate(x.shape)]
    target = Ref(out.name, shape, contiguous(shape)).at([index[d] for d in kept])
    factor = number(1 / max(1, size(tuple(x.shape[d] for d in over))))
    mean = f" * {factor}" if "mean" in str(node.target) else ""
    dims = lambda order: [(f"i{d}", x.shape[d]) for d in order]
    if kept and kept[-1] == len(x.shape) - 1 and x.shape[-1] > 1:  # whole rows are added to a row
        none = lazy((), lambda: "0")
        text = nest(dims(kept), none, [], lambda _: f"{target} = 0;") + "\n"
        order = [*kept[:-1], *over, kept[-1]]
        text += nest(dims(order), x, index, lambda term: f"{target} += {term};")
        if mean:
            text += "\n" + nest(dims(kept), none, [], lambda _: f"{target} = {target}{mean};")
    else:
        inner = nest(dims(over), x, index, lambda term: f"sum += {term};")
        head = "".join(f"for (long {i} = 0; {i} < {n}; {i}++) " for i, n in dims(kept) if n > 1)
        text = f"{head}{{ real sum = 0; {inner} {target} = sum{mean}; }}"
    return p.emit(text, out, x)


# --- products ---


LARGE = 4_000_000  # multiplications in a product from which on a library does it better


@rule(aten.mm.default)
def mm(p: Program, node: fx.Node, a: Value, b: Value) -> Value:
    return product(p, p.stored(a), p.stored(b), p.new(shape_of(node)))


@rule(aten.mv.default)
def mv(p: Program, node: fx.Node, a: Value, b: Value) -> Value:
    b, out = p.stored(b), p.new(shape_of(node))
    column = Ref(b.name, (*b.shape, 1), (*b.strides, 1), b.offset)
    product(p, p.stored(a), column, Ref(out.name, (*out.shape, 1), (1, 1)))
    return out


@rule(aten.dot.default)
def dot(p: Program, node: fx.Node, a: Value, b: Value) -> Value:
    a, b, out = p.stored(a), p.stored(b), p.new(())
    text = (
        f"{{ real sum = 0; for (long i = 0; i < {a.shape[0]}; i++) "
        f"sum += {a.at(['i'])} * {b.at(['i'])}; {out.at([])} = sum; }}"
    )
    return p.emit(text, out, a, b)


@rule(aten.addmm.default)
def addmm(p: Program, node: fx.Node, bias: Value, a: Value, b: Value) -> Value:
    if node.kwargs:
        raise CannotCompile("addmm with factors")
    out = product(p, p.stored(a), p.stored(b), p.new(shape_of(node)))
    return lazy(out.shape, "({} + {})".format, out, bias)


def product(p: Program, a: Ref, b: Ref, out: Ref) -> Ref:
    """out = a b, arranged so that the inner loop runs along memory."""
    (m, k), n = a.shape, b.shape[1]
    if m * k * n > LARGE:
        raise CannotCompile(f"a product of {m} × {k} by {k} × {n}, which the library does better")
    if n == 1 and m > 1:
        if a.strides[1] == 1 and k >= 8:  # rows lie in memory: a dot product for each
            text = (
                f"for (long i = 0; i < {m}; i++) {{ real sum = 0; "
                f"for (long q = 0; q < {k}; q++) sum += {a.at(['i', 'q'])} * {b.at(['q', '0'])}; "
                f"{out.at(['i', '0'])} = sum; }}"
            )
            return p.emit(text, out, a, b)
        row = Ref(out.name, (1, m), (m, 1), out.offset)
        product(p, _permuted(b, [1, 0]), _permuted(a, [1, 0]), row)
        return out
    if n > 1 and b.strides[1] != 1:
        packed = p.new(b.shape)
        p.write(packed, b)
        b = packed
    return p.emit(p.products.call(out, a, b), out, a, b)
