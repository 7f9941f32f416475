"""A stack's step as one compiled function, for any number of steps in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.running.native.build import Build
from engine.running.native.program import Program, real_of, source
from engine.running.native.values import CannotCompile, Ref, contiguous
from engine.running.recording import simplified
from engine.running.tape import CannotRecord


class Native:
    """`step(state, knobs, data, draws) -> state`, each a sequence of one member's tensors, for a stack of members.

    Raises CannotCompile if it cannot be said in C. `launch` starts the compiler, `load` waits for it.
    """

    def __init__(
        self,
        step: Callable[..., Sequence[Tensor]],
        state: Sequence[Tensor],
        knobs: Sequence[Tensor],
        data: Sequence[Tensor],
        draws: Sequence[Tensor],
    ) -> None:
        """State, data and draws are stacked, (members, …); knobs (members,)."""
        self.members = len(state[0])
        dtype = state[0].dtype
        real = real_of(dtype)
        for name, held in (("state", state), ("knobs", knobs)):
            if any(v.dtype != dtype for v in held):
                raise CannotCompile(f"{name} of another precision than {dtype}")
        if any(v.dtype not in (dtype, torch.int64) for v in (*data, *draws)):
            raise CannotCompile("data that are neither of the run's precision nor whole numbers")
        one = [[v[0] for v in held] for held in (state, knobs, data, draws)]
        counts = [len(held) for held in one]
        try:
            graph, known = simplified(
                lambda *ts: step(*_parted(ts, counts)), *(v for held in one for v in held)
            )
        except CannotRecord as e:
            raise CannotCompile(str(e)) from e
        names = [f"{letter}{i}" for letter, n in zip("shdr", counts, strict=True) for i in range(n)]
        flat = [v for held in one for v in held]
        inputs = [
            Ref(n, tuple(v.shape), contiguous(tuple(v.shape)))
            for n, v in zip(names, flat, strict=True)
        ]
        program = Program(graph, known, inputs, dtype)
        self.estimate = program.estimate(self.members)
        self.source = source(program, one[0], one[2], one[3], counts[1], real)
        self.constants = [
            v.to(dtype if v.is_floating_point() else torch.int64).contiguous()
            for v in program.constants
        ]
        self.knobs, self.data = [v.contiguous() for v in knobs], [v.contiguous() for v in data]
        self.fixed = [_pointers(held) for held in (self.knobs, self.data)]
        self.held = _pointers(self.constants)
        self.build: Build | None = None
        self.run: Any = None

    def launch(self) -> None:
        self.build = Build(self.source)

    def load(self) -> str:
        """Why there is no function; empty if there is."""
        assert self.build is not None
        self.run = self.build.function()
        return self.build.why

    def advance(self, state: Sequence[Tensor], steps: int, draws: Sequence[Tensor]) -> list[Tensor]:
        """The state after so many steps. `draws`: (steps, members, …), contiguous."""
        state = [v.contiguous() for v in state]
        out = [torch.empty_like(v) for v in state]
        self.run(
            self.members, steps, _pointers(state), _pointers(out), *self.fixed,
            _pointers(draws), self.held,
        )  # fmt: skip
        return out


def _parted(flat: Sequence[Tensor], counts: Sequence[int]) -> list[Sequence[Tensor]]:
    out, at = [], 0
    for n in counts:
        out.append(flat[at : at + n])
        at += n
    return out


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * max(1, len(tensors)))(*(v.data_ptr() for v in tensors))
