"""How steps and readings are executed: plainly at once, recorded as soon as that pays, compiled in long runs.

An experiment's author knows nothing of this. Whatever cannot be recorded or compiled stays with the tier below; that
shows in the log only. A tier must agree with the one below where it takes over, or it is not used.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.running.native.step import Native
from engine.running.native.values import CannotCompile
from engine.running.recording import record
from engine.running.tape import CannotRecord

if TYPE_CHECKING:
    from engine.running.train import Stack, Tree

log = logging.getLogger("lemmascope")

STEP_AFTER = 0.08  # seconds spent in plain steps before they are recorded
READ_AFTER = 0.25  # seconds spent in one metric's plain readings before it is recorded
BLOCK = 1 << 17  # numbers drawn ahead in one call, at most
AHEAD = 64  # steps drawn ahead in one call, at most
SWITCH = 150_000.0  # estimated microseconds of recorded steps; then compiled ones take over …
EARLIEST = 200  # … never before this step …
WORTH = 3  # … and only in runs that are so many times longer


def flatten(tree: Tree, prefix: str = "") -> dict[str, Tensor]:
    """{"params": {"W": …}} -> {"params/W": …}."""
    out: dict[str, Tensor] = {}
    for k, v in tree.items():
        out |= flatten(v, f"{prefix}{k}/") if isinstance(v, dict) else {f"{prefix}{k}": v}
    return out


def unflatten(flat: dict[str, Any]) -> Tree:
    tree: Tree = {}
    for path, v in flat.items():
        *parents, leaf = path.split("/")
        node = tree
        for p in parents:
            node = node.setdefault(p, {})
        node[leaf] = v
    return tree


def agree(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Bit for bit on a CPU, so that a run does not depend on when it was recorded; to rounding elsewhere."""
    for x, y in zip(a, b, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            return False
        exact = x.device.type == "cpu" or not x.is_floating_point()
        if not torch.allclose(x, y, rtol=0 if exact else 1e-4, atol=0, equal_nan=True):
            return False
    return True


def close(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """To the rounding of one step: other sums and functions, the same numbers.

    Against translations that are wrong, which are off by their own size. Rounding itself came to 4e-5 of the largest entry
    where a gradient is a mean of numbers that cancel (the last bias of a trained network, float32).
    """
    for x, y in zip(a, b, strict=True):
        rtol = 1e-3 if x.dtype == torch.float32 else 1e-9
        if not torch.equal(x.isfinite(), y.isfinite()):
            return False
        scale = float(y.nan_to_num(0, 0, 0).abs().max()) if y.numel() else 0.0
        apart = (x - y).nan_to_num(0, 0, 0).abs()
        if apart.numel() and float(apart.max()) > rtol * scale:
            return False
    return True


class Draws:
    """What `draw` gives at each step, many steps in one call: (seed, stream, step) fixes the numbers, not the order."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        assert stack.ex.draw is not None
        ex_draw = stack.ex.draw
        self.one = stack.map(
            lambda hp, seed, step: dict(ex_draw(hp, stack.rng(seed, "draw", step)))
        )
        self.keys: list[str] = []
        self.untried = True
        self.ahead = 1
        self.block: Callable[..., Sequence[Tensor]] | None = None
        self.base = -1
        self.ready: Sequence[Tensor] = ()

    def _steps(self, step: Tensor) -> Tensor:
        return step.expand(len(self.stack))

    def plain(self, step: int) -> Tree:
        now = torch.full((len(self.stack),), step, dtype=torch.int64, device=self.stack.device)
        return dict(self.one(now))

    def record(self, step: int) -> None:
        self.untried = False
        drawn = flatten(self.plain(step))
        self.keys = list(drawn)
        count = sum(v.numel() for v in drawn.values())
        self.ahead = max(1, min(AHEAD, BLOCK // max(1, count)))

        def several(base: Tensor) -> list[Tensor]:
            if self.ahead == 1:
                return list(flatten(self.one(self._steps(base))).values())
            offsets = torch.arange(self.ahead, device=self.stack.device)
            one = torch.func.vmap(lambda k: flatten(self.one(self._steps(base + k))))
            return list(one(offsets).values())

        base = torch.tensor(step - step % self.ahead, dtype=torch.int64, device=self.stack.device)
        self.block = record(several, base)
        self.base = -1
        mine = self.at(step)
        if not all(torch.equal(a, b) for a, b in zip(mine, drawn.values(), strict=True)):
            self.block = None
            raise CannotRecord("draws ahead differ from draws at their own step")

    def at(self, step: int) -> Sequence[Tensor]:
        """The step's tensors, in the order of `keys`."""
        assert self.block is not None
        base = step - step % self.ahead
        if base != self.base:
            start = torch.tensor(base, dtype=torch.int64, device=self.stack.device)
            block = [v.contiguous() for v in self.block(start)]
            self.ready = [v[None] for v in block] if self.ahead == 1 else block
            self.base = base
        return [v[step - base] for v in self.ready]

    def several(self, step: int, most: int) -> tuple[int, Sequence[Tensor]]:
        """How many steps from here on are drawn (at most `most`), and their tensors, (steps, members, …)."""
        if self.block is None:
            return 1, [v[None].contiguous() for v in flatten(self.plain(step)).values()]
        self.at(step)
        at = step - self.base
        count = min(most, self.ahead - at)
        return count, [v[at : at + count] for v in self.ready]


class Stepper:
    """Advances a stack's state; `counts` says how many steps each tier ran."""

    def __init__(self, stack: Stack, data: Tree) -> None:
        self.stack, self.data = stack, data
        self.counts = {"plain": 0, "recorded": 0, "compiled": 0}
        assert stack.ex.step is not None
        ex_step = stack.ex.step
        self.draws = Draws(stack) if stack.ex.draw is not None else None
        self.one = stack.map(lambda hp, seed, state, batch: dict(ex_step(hp, state, batch)))
        self.spent = 0.0
        self.fast: Callable[..., Sequence[Tensor]] | None = None
        self.recordable = not stack.ex.looped
        self.native: Native | None = None
        self.planned = stack.ex.looped or stack.device.type != "cpu"
        self.switch = 0  # the step from which on the compiled tier runs
        self.keys: list[str] = []  # of the state, in the order of flat lists

    def retuned(self) -> None:
        """The stack's knobs have other values: what holds the old ones goes, what takes them as arguments stays."""
        self.fast, self.spent = None, 0.0
        self.recordable = not self.stack.ex.looped
        if self.draws is not None:
            self.draws = Draws(self.stack)

    def advance(self, state: Tree, step: int, count: int) -> Tree:
        """The state after `count` more steps."""
        end = step + count
        while step < end:
            if not self.planned and (step >= EARLIEST or self.fast is not None):
                self._plan(state, step)
            if self.native is not None and step >= self.switch and not self.native.run:
                self._take_over(state, step)
            if self.native is not None and step >= self.switch:
                state = self._compiled(state, step, end)
                self.counts["compiled"] += end - step
                return state
            stop = min(end, self.switch) if self.native is not None else end
            if self.fast is None:
                begun = time.perf_counter()
                state = self._plain(state, step)
                step += 1
                self.counts["plain"] += 1
                self.spent += time.perf_counter() - begun
                if self.recordable and self.spent > STEP_AFTER:
                    self._record(state, step)
            else:
                state = self._fast(state, step, stop)
                self.counts["recorded"] += stop - step
                step = stop
        return state

    def _plan(self, state: Tree, step: int) -> None:
        """Starts to compile, if the run is long enough.

        Where the compiled tier takes over is a matter of the step's size alone, never of time: what a run gives does
        not depend on how busy the machine was, nor on pauses.
        """
        self.planned = True
        steps = int(getattr(self.stack.hp, "steps", 0))
        if steps < WORTH * EARLIEST:
            return
        flat = {k: v.clone() for k, v in flatten(state).items()}
        fixed, knobs = flatten(self.data), list(self.stack.knobs)
        self.keys = list(flat)
        drawn = flatten(self.draws.plain(step)) if self.draws is not None else {}
        ex_step, hp = self.stack.ex.step, self.stack.hp
        assert ex_step is not None

        def one(s: Any, h: Any, d: Any, r: Any) -> list[Tensor]:
            now = type(hp)(**{**vars(hp), **dict(zip(knobs, h, strict=True))})
            batch = dict(zip(fixed, d, strict=True)) | dict(zip(drawn, r, strict=True))
            old = unflatten(dict(zip(self.keys, s, strict=True)))
            new = flatten(dict(ex_step(now, old, unflatten(batch))))
            return [new[k] for k in self.keys]

        try:
            native = Native(
                one, list(flat.values()), list(self.stack.knobs.values()), list(fixed.values()),
                list(drawn.values()),
            )  # fmt: skip
        except CannotCompile as e:
            log.info("%s is not compiled: %s", self.stack.ex.name, e)
            return
        self.switch = max(EARLIEST, 10 * math.ceil(SWITCH / native.estimate / 10))
        if steps >= WORTH * self.switch:
            self.native = native
            native.launch()

    def _take_over(self, state: Tree, step: int) -> None:
        assert self.native is not None
        why = self.native.load()
        if not why:
            state = unflatten({k: v.clone() for k, v in flatten(state).items()})
            mine = self._compiled(state, step, step + 1)
            theirs = self._plain(state, step)
            if not close(list(flatten(mine).values()), list(flatten(theirs).values())):
                why = "the compiled step differs from the plain one"
        if why:
            self.native = None
            log.info("%s is not compiled: %s", self.stack.ex.name, why)

    def _compiled(self, state: Tree, step: int, end: int) -> Tree:
        assert self.native is not None
        values = list(flatten(state).values())
        if self.draws is not None and self.draws.untried:
            try:
                self.draws.record(step)
            except CannotRecord as e:
                log.info("%s draws plainly: %s", self.stack.ex.name, e)
        while step < end:
            count = end - step
            drawn: Sequence[Tensor] = ()
            if self.draws is not None:
                count, drawn = self.draws.several(step, end - step)
            values = self.native.advance(values, count, drawn)
            step += count
        return unflatten(dict(zip(self.keys, values, strict=True)))

    def _plain(self, state: Tree, step: int) -> Tree:
        batch = self.data if self.draws is None else self.data | self.draws.plain(step)
        return dict(self.one(state, batch))

    def _fast(self, state: Tree, step: int, end: int) -> Tree:
        flat = flatten(state)
        keys, values, fast = list(flat), list(flat.values()), self.fast
        assert fast is not None
        with torch.inference_mode():
            for at in range(step, end):
                drawn = self.draws.at(at) if self.draws is not None else ()
                values = list(fast(*values, *drawn))
        return unflatten(dict(zip(keys, values, strict=True)))

    def _record(self, state: Tree, step: int) -> None:
        self.recordable = False
        flat = {k: v.clone() for k, v in flatten(state).items()}
        keys, names = list(flat), []
        try:
            drawn: Sequence[Tensor] = ()
            if self.draws is not None:
                if self.draws.block is None:
                    self.draws.record(step)
                drawn, names = [v.clone() for v in self.draws.at(step)], self.draws.keys

            def flat_step(*tensors: Tensor) -> list[Tensor]:
                old = unflatten(dict(zip(keys, tensors, strict=False)))
                batch = unflatten(dict(zip(names, tensors[len(keys) :], strict=True)))
                new = flatten(self.one(old, self.data | batch))
                return [new[k] for k in keys]

            fast = record(flat_step, *flat.values(), *drawn)
            with torch.inference_mode():
                mine = fast(*flat.values(), *drawn)
            if not agree(mine, list(flatten(self._plain(state, step)).values())):
                raise CannotRecord("the recorded step differs from the plain one")
            self.fast = fast
        except CannotRecord as e:
            log.info("%s runs plainly: %s", self.stack.ex.name, e)


class Reader:
    """One metric's readings."""

    def __init__(self, stack: Stack, measure: Callable[[Tree, Tree], Tensor], data: Tree) -> None:
        self.measure, self.data, self.stack = measure, data, stack
        self.spent = 0.0
        self.fast: Callable[..., Sequence[Tensor]] | None = None
        self.recordable = not stack.ex.looped
        self.name = stack.ex.name

    def read(self, state: Tree) -> Tensor:
        flat = flatten(state)
        if self.fast is not None:
            with torch.inference_mode():
                return self.fast(*self.stack.knobs.values(), *flat.values())[0]
        begun = time.perf_counter()
        plain = {k: v.clone() if v.is_inference() else v for k, v in flat.items()}
        out = self.measure(unflatten(plain), self.data)
        self.spent += time.perf_counter() - begun
        if self.recordable and self.spent > READ_AFTER:
            self._record(plain, out)
        return out

    def _record(self, flat: dict[str, Tensor], out: Tensor) -> None:
        self.recordable = False
        keys, knobs = list(flat), self.stack.knobs

        def flat_read(*tensors: Tensor) -> list[Tensor]:
            state = unflatten(dict(zip(keys, tensors[len(knobs) :], strict=True)))
            with self.stack.with_knobs(dict(zip(knobs, tensors, strict=False))):
                return [self.measure(state, self.data)]

        try:
            fast = record(flat_read, *knobs.values(), *flat.values())
            with torch.inference_mode():
                if not agree(fast(*knobs.values(), *flat.values()), [out]):
                    raise CannotRecord("the recorded reading differs from the plain one")
            self.fast = fast
        except CannotRecord as e:
            log.info("%s reads plainly: %s", self.name, e)
