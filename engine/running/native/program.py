"""A step's recorded operations as C: loops over one network's numbers, fused where an element needs only its own.

The stack's members are independent, so the C function takes them one after the other and all steps of one before the
next: what a network's step touches stays in the nearest cache. Arrays are static, state goes back and forth between
two of them, random draws and data come by pointer. No operation here is specific to an experiment; a graph with one that is
missing is left to the recorded tier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from engine.running.native import operations
from engine.running.native.kernels import HEADER, Products
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
    reads,
    size,
)


class Statement:
    """A piece of C that fills one array."""

    def __init__(self, text: str, writes: str, read: frozenset[str]) -> None:
        self.text, self.writes, self.read = text, writes, read


class Program:
    """Builds the C of one member's step. `inputs`: what the graph's placeholders are, in order."""

    def __init__(
        self, graph: fx.Graph, known: dict[fx.Node, Any], inputs: Sequence[Ref], dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        self.values: dict[fx.Node, Any] = {}
        self.statements: list[Statement] = []
        self.sizes: dict[str, int] = {}  # arrays of this step: name -> cells
        self.constants: list[Tensor] = []
        self.products = Products()
        self.known = known
        self.uses: dict[fx.Node, int] = {n: len(n.users) for n in graph.nodes}
        self.count = 0
        held = iter(inputs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = next(held)
            elif node.op == "output":
                (self.outputs,) = node.args
            elif node not in known:
                self.values[node] = self.node(node)

    # --- values ---

    def value(self, arg: Any) -> Any:
        """A graph argument as a value: constants of the graph come in by pointer, numbers as text."""
        if not isinstance(arg, fx.Node):
            return arg
        if arg in self.values:
            return self.values[arg]
        held = self.known[arg]
        if not isinstance(held, Tensor):
            raise CannotCompile(f"a constant of {type(held).__name__}")
        if held.numel() == 1 and held.is_floating_point():
            text = number(float(held))
            made: Any = lazy(tuple(held.shape), lambda: text)
        else:
            self.constants.append(held)
            shape = tuple(held.shape)
            made = Ref(f"k{len(self.constants) - 1}", shape, contiguous(shape))
        self.values[arg] = made
        return made

    def new(self, shape: Shape) -> Ref:
        name = f"t{self.count}"
        self.count += 1
        self.sizes[name] = max(1, size(shape))
        return Ref(name, shape, contiguous(shape))

    def stored(self, value: Value) -> Ref:
        """The value in memory."""
        if isinstance(value, Ref):
            return value
        out = self.new(value.shape)
        self.write(out, value)
        return out

    def write(self, out: Ref, value: Value) -> None:
        """A loop that computes a value into an array."""
        self.statements.append(Statement(loops(out, value), out.name, reads(value)))

    def emit(self, text: str, out: Ref, *used: Value) -> Ref:
        self.statements.append(
            Statement(text, out.name, frozenset[str]().union(*(reads(v) for v in used)))
        )
        return out

    def node(self, node: fx.Node) -> Any:
        rule = operations.RULES.get(node.target)
        if rule is None:
            raise CannotCompile(f"no rule for {node.target}")
        args = [self.value(a) if not isinstance(a, (list, tuple)) else
                [self.value(x) for x in a] for a in node.args]  # fmt: skip
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dtype != self.dtype:
            raise CannotCompile(f"{node.target} gives {value.dtype}")
        made = rule(self, node, *args)
        if isinstance(made, Lazy) and (self.uses[node] > 1 or size(made.shape) == 1):
            return self.stored(made)
        return made

    def estimate(self, members: int) -> float:
        """Microseconds of a recorded step of so many members, roughly: calls, cells that pass, multiplications."""
        cells = sum(self.sizes.values())
        return 1.5 * len(self.values) + members * (4e-4 * cells + 2.5e-5 * self.products.work)

    # --- text ---

    def function(self, outs: Sequence[Ref]) -> str:
        """`static void step(…)` and its arrays."""
        for node, out in zip(self.outputs, outs, strict=True):
            self.write(out, self.value(node))
        names = _Memory(self.statements, self.sizes)
        body = "\n".join(s.text for s in self.statements)
        arrays = [f"static real {pool}[{n}] ALIGNED;" for pool, n in names.pools.items()]
        defines = [f"#define {a} {pool}" for a, pool in names.of.items()]
        return "\n".join([*self.products.functions, *arrays, *defines, "STEP {", body, "}"])


def loops(out: Ref, value: Value) -> str:
    """`out[…] = value` over all its cells, as one long loop where all lie in the same order."""
    shape, n = out.shape, size(out.shape)
    flat = out.contiguous and all(
        (r.contiguous and r.shape == shape) or size(r.shape) == 1 for r in _leaves(value)
    )
    if flat and n > 1:
        cell = Ref(out.name, (n,), (1,), out.offset).at(["i"])
        return nest([("i", n)], _flattened(value, n), ["i"], lambda text: f"{cell} = {text};")
    index = [f"i{d}" if n > 1 else "0" for d, n in enumerate(shape)]
    dims = list(zip(index, shape, strict=True))
    return nest(dims, value, index, lambda text: f"{out.at(index)} = {text};")


def _leaves(value: Value | str) -> list[Ref]:
    if isinstance(value, str):
        return []
    if isinstance(value, Ref):
        return [value]
    return [leaf for o in value.operands for leaf in _leaves(o)]


def _flattened(value: Any, n: int) -> Any:
    """The same expression over one long dimension."""
    if isinstance(value, str):
        return value
    if isinstance(value, Ref):
        one = size(value.shape) == 1
        return Ref(value.name, () if one else (n,), () if one else (1,), value.offset)
    shape = () if size(value.shape) == 1 else (n,)
    return Lazy(shape, value.write, tuple(_flattened(o, n) for o in value.operands), value.reads)


class _Memory:
    """Arrays whose lives do not overlap lie in the same memory."""

    def __init__(self, statements: Sequence[Statement], sizes: dict[str, int]) -> None:
        last: dict[str, int] = {}
        for i, s in enumerate(statements):
            for name in (*s.read, s.writes):
                last[name] = i
        self.of: dict[str, str] = {}
        self.pools: dict[str, int] = {}
        free: list[str] = []
        for i, s in enumerate(statements):
            if s.writes in sizes and s.writes not in self.of:
                self.of[s.writes] = self._take(free, sizes[s.writes])
            for name in {*s.read, s.writes}:
                if name in self.of and last[name] == i:
                    free.append(self.of[name])

    def _take(self, free: list[str], cells: int) -> str:
        for i in range(len(free) - 1, -1, -1):
            if cells <= self.pools[free[i]] <= 4 * cells:
                return free.pop(i)
        name = f"p{len(self.pools)}"
        self.pools[name] = cells
        return name


def source(
    program: Program, state: Sequence[Tensor], data: Sequence[Tensor], draws: Sequence[Tensor],
    knobs: int, real: str,
) -> str:  # fmt: skip
    """The whole C file: `run(members, steps, from, to, knobs, data, draws, constants)`.

    All pointers are arrays of pointers to (members, …) arrays, draws to (steps, members, …).
    """
    cells = [max(1, v.numel()) for v in state]
    outs = [Ref(f"n{i}", tuple(v.shape), contiguous(tuple(v.shape))) for i, v in enumerate(state)]
    step = program.function(outs)
    parts = [f"const real *restrict s{i}, real *restrict n{i}" for i in range(len(state))]
    parts += [f"const real *restrict h{i}" for i in range(knobs)]
    parts += [f"const {_kind(v)} *restrict d{i}" for i, v in enumerate(data)]
    parts += [f"const {_kind(v)} *restrict r{i}" for i, v in enumerate(draws)]
    parts += [f"const {_kind(v)} *restrict k{i}" for i, v in enumerate(program.constants)]
    call = [
        f"t ? (t & 1 ? A{i} : B{i}) : (const real *)from[{i}] + m * {n}, "
        f"t + 1 < steps ? (t & 1 ? B{i} : A{i}) : (real *)to[{i}] + m * {n}"
        for i, n in enumerate(cells)
    ]
    call += [f"(const real *)knobs[{i}] + m" for i in range(knobs)]
    call += [f"(const {_kind(v)} *)data[{i}] + m * {v.numel()}" for i, v in enumerate(data)]
    call += [
        f"(const {_kind(v)} *)draws[{i}] + (t * members + m) * {v.numel()}"
        for i, v in enumerate(draws)
    ]
    call += [f"(const {_kind(v)} *)constants[{i}]" for i, v in enumerate(program.constants)]
    lines = [
        HEADER.replace("REAL", real),
        f"#define STEP static void step({', '.join(parts)})",
        step,
    ]
    lines += [f"static real A{i}[{n}] ALIGNED, B{i}[{n}] ALIGNED;" for i, n in enumerate(cells)]
    lines += [
        "EXPORT void run(long long members, long long steps, void **from, void **to, void **knobs,",
        "                void **data, void **draws, void **constants) {",
        "  for (long long m = 0; m < members; m++)",
        f"    for (long long t = 0; t < steps; t++) step({', '.join(call)});",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _kind(v: Tensor) -> str:
    return "real" if v.is_floating_point() else "long long"


def real_of(dtype: torch.dtype) -> str:
    if dtype not in (torch.float32, torch.float64):
        raise CannotCompile(f"numbers of {dtype}")
    return "float" if dtype == torch.float32 else "double"
