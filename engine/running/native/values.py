"""What a step's graph is made of while it turns into C: arrays in memory, and expressions that no loop has computed yet."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Shape = tuple[int, ...]


class CannotCompile(Exception):
    """The step does something that this translation does not know."""


@dataclass(frozen=True)
class Ref:
    """Cells of an array: `name[offset + Σ index · stride]`; a single number is the variable `name`."""

    name: str
    shape: Shape
    strides: Shape
    offset: int = 0

    def at(self, index: Sequence[str]) -> str:
        terms = [str(self.offset)] if self.offset else []
        for i, s, n in zip(index, self.strides, self.shape, strict=True):
            if s and n > 1 and i != "0":
                terms.append(f"{i} * {s}" if s != 1 else i)
        return f"{self.name}[{' + '.join(terms) or '0'}]"

    @property
    def contiguous(self) -> bool:
        return all(
            n == 1 or s == e
            for n, s, e in zip(self.shape, self.strides, contiguous(self.shape), strict=True)
        )


@dataclass(frozen=True)
class Lazy:
    """An element-wise expression of other values, broadcast to `shape`."""

    shape: Shape
    write: Callable[..., str]  # operands' C expressions -> the C expression
    operands: tuple[Ref | Lazy | str, ...]
    reads: frozenset[str] = field(default=frozenset())


Value = Ref | Lazy


def contiguous(shape: Shape) -> Shape:
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def size(shape: Shape) -> int:
    return math.prod(shape)


def reads(value: Ref | Lazy | str) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset()
    return frozenset({value.name}) if isinstance(value, Ref) else value.reads


def lazy(shape: Shape, write: Callable[..., str], *operands: Ref | Lazy | str) -> Lazy:
    used = frozenset[str]().union(*(reads(o) for o in operands))
    return Lazy(shape, write, operands, used)


def number(value: float) -> str:
    """A constant in C, of the run's precision."""
    if math.isnan(value):
        return "((real)NAN)"
    if math.isinf(value):
        return "((real)INFINITY)" if value > 0 else "(-(real)INFINITY)"
    return f"((real){float(value)!r})"


def nest(
    dims: Sequence[tuple[str, int]], value: Value, index: Sequence[str], body: Callable[[str], str]
) -> str:
    """Loops over `dims` (index, count) around `body` of the value's expression at `index`.

    What the innermost loop does not move is read before it: under a condition inside it would become a masked load of
    one address, which GCC 12 vectorises wrongly (it reads memory that nobody wrote).
    """
    dims = [(i, n) for i, n in dims if n > 1]
    inner = dims[-1][0] if dims else ""
    names: dict[str, str] = {}

    def walk(v: Ref | Lazy | str, at: Sequence[str]) -> str:
        if isinstance(v, str):
            return v
        own = [
            "0" if n == 1 else i for i, n in zip(at[len(at) - len(v.shape) :], v.shape, strict=True)
        ]
        if isinstance(v, Lazy):
            return v.write(*(walk(o, own) for o in v.operands))
        cell = v.at(own)
        if inner and re.search(rf"\b{inner}\b", cell) is None:
            return names.setdefault(cell, f"c{len(names)}")
        return cell

    core = body(walk(value, index))
    if not dims:
        return core
    head = "".join(f"for (long {i} = 0; {i} < {n}; {i}++) " for i, n in dims[:-1])
    i, n = dims[-1]
    before = "".join(f"const real {name} = {cell}; " for cell, name in names.items())
    loop = f"for (long {i} = 0; {i} < {n}; {i}++) {core}"
    return f"{head}{{ {before}{loop} }}" if before else head + loop
