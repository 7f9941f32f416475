"""Cost of a training step against the loop that a person writes in a notebook, and of drawing for many members."""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.func import grad, vmap

from engine.experiments.in_context import linear_attention
from engine.ingredients.rules import adam, adam_slots
from engine.running.native.build import compiler
from engine.running.native.step import Native
from engine.running.process import prepare
from engine.running.recording import record
from engine.running.tiers import Stepper, flatten, unflatten
from engine.running.train import Member, Stack

SHAPES = ((8, 32, 32), (16, 64, 64))  # inputs, hidden width, batch
ROUNDS = 9
TEN = 10  # steps in a call of the compiled tier: what training asks for at least


def timed(fn: Callable[[], Any], count: int) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        fn()
    return (time.perf_counter() - begun) / count


def paired(a: Callable[[], Any], b: Callable[[], Any], count: int = 60) -> float:
    """Median over rounds of (time of a)/(time of b), the two in turn."""
    timed(a, 10), timed(b, 10)
    return statistics.median(timed(a, count) / timed(b, count) for _ in range(ROUNDS))


def notebook(inputs: int, hidden: int, batch: int) -> Callable[[], float]:
    """nn.Module, torch.optim.Adam, loss.item()."""
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, 1),
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    x, y = torch.randn(batch, inputs), torch.randn(batch, 1)

    def step() -> float:
        optimiser.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def network(inputs: int, hidden: int, batch: int, members: int) -> tuple[Any, ...]:
    """(step of one member: (flat state, x, y) -> flat state, stacked state, x, y): the same network and Adam."""
    sizes = [inputs, hidden, hidden, 1]

    def one() -> dict[str, Any]:
        params = {
            f"W{i}": torch.randn(a, b) / a**0.5 for i, (a, b) in enumerate(zip(sizes, sizes[1:]))
        }
        params |= {f"b{i}": torch.zeros(b) for i, b in enumerate(sizes[1:])}
        return flatten({"params": params, "slots": adam_slots(params)})

    def loss(p: dict[str, Any], x: Any, y: Any) -> Any:
        for i in range(2):
            x = torch.tanh(x @ p[f"W{i}"] + p[f"b{i}"])
        return (x @ p["W2"] + p["b2"] - y).square().mean()

    def step(flat: dict[str, Any], x: Any, y: Any) -> dict[str, Any]:
        state = unflatten(flat)
        grads = grad(loss)(state["params"], x, y)
        params, slots = adam(state["params"], grads, state["slots"], 1e-3)
        return flatten({"params": params, "slots": slots})

    trees = [one() for _ in range(members)]
    state = {k: torch.stack([t[k] for t in trees]) for k in trees[0]}
    x, y = torch.randn(members, batch, inputs), torch.randn(members, batch, 1)
    return step, state, x, y


def recorded(inputs: int, hidden: int, batch: int, members: int) -> Callable[[], None]:
    """The same step for a stack, as the engine's recorded tier runs it."""
    step, state, x, y = network(inputs, hidden, batch, members)
    mapped = vmap(step)
    keys = list(state)
    fast = record(
        lambda *ts: list(mapped(dict(zip(keys, ts, strict=True)), x, y).values()), *state.values()
    )
    values = list(state.values())

    def run() -> None:
        nonlocal values
        with torch.inference_mode():
            values = list(fast(*values))

    return run


def compiled(
    inputs: int, hidden: int, batch: int, members: int, together: int
) -> Callable[[], None]:
    """`together` steps in one call, as the engine's compiled tier runs them."""
    step, state, x, y = network(inputs, hidden, batch, members)
    keys, values = list(state), list(state.values())

    def one(s: Any, h: Any, d: Any, r: Any) -> list[Any]:
        return list(step(dict(zip(keys, s, strict=True)), *d).values())

    native = Native(one, values, [], [x, y], [])
    native.launch()
    if why := native.load():
        raise RuntimeError(why)

    def run() -> None:
        nonlocal values
        values = native.advance(values, together, [])

    return run


def attention(members: int) -> Callable[[], None]:
    """A step of linear attention with fresh tasks for every member, draws ahead included."""
    ex = linear_attention.EXPERIMENT
    hp = ex.hyper.of({"steps": 20000})
    stack = Stack(ex, [Member(hp, s) for s in range(members)])
    stepper = Stepper(stack, stack.data())
    state, at = stack.init(), 0
    while stepper.fast is None:
        state, at = stepper.advance(state, at, 1), at + 1

    def run() -> None:
        nonlocal state, at
        state, at = stepper.advance(state, at, 1), at + 1

    return run


def attention_loop() -> Callable[[], None]:
    """What a person writes for one layer: fresh prompts by torch.randn, autograd, torch.optim.Adam."""
    hp = linear_attention.EXPERIMENT.hyper.of({"steps": 20000})
    v = (0.1 * torch.eye(hp.d + 1)[-1]).requires_grad_()
    W = (0.1 * torch.randn(hp.d + 1, hp.d)).requires_grad_()
    optimiser = torch.optim.Adam([v, W], lr=0.02)

    def run() -> None:
        w = torch.randn(linear_attention.BATCH, hp.d, 1)
        X = torch.randn(linear_attention.BATCH, hp.prompt_length, hp.d)
        y = X @ w + 0.5 * torch.randn(linear_attention.BATCH, hp.prompt_length, 1)
        e = torch.cat([X, y], dim=-1)
        C = e.mT @ e / hp.prompt_length
        optimiser.zero_grad()
        loss = 0.5 * ((C @ v) @ W - w[..., 0]).square().sum(-1).mean()
        loss.backward()
        optimiser.step()
        loss.item()

    return run


def in_jax(inputs: int, hidden: int, batch: int, members: int, together: int) -> Callable[[], None]:
    """jit(vmap(value_and_grad)) and the same Adam, `together` steps in one `fori_loop`."""
    import jax
    import jax.numpy as jnp

    _, state, x, y = network(inputs, hidden, batch, members)
    start = jax.tree.map(lambda v: jnp.asarray(v.numpy()), unflatten(state))
    x, y = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())
    names = list(start["params"])

    def loss(p: Any, x: Any, y: Any) -> Any:
        for i in range(2):
            x = jnp.tanh(x @ p[f"W{i}"] + p[f"b{i}"])
        return ((x @ p["W2"] + p["b2"] - y) ** 2).mean()

    def one(state: Any, x: Any, y: Any) -> Any:
        params, slots = state["params"], state["slots"]
        _, grads = jax.value_and_grad(loss)(params, x, y)
        w, g = (jnp.concatenate([tree[k].ravel() for k in names]) for tree in (params, grads))
        t = slots["t"] + 1
        m = 0.9 * slots["m"] + 0.1 * g
        v = 0.999 * slots["v"] + 0.001 * g * g
        w = w - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
        ends = list(itertools.accumulate(params[k].size for k in names))
        parts = jnp.split(w, ends[:-1])
        new = {k: p.reshape(params[k].shape) for k, p in zip(names, parts, strict=True)}
        return {"params": new, "slots": {"m": m, "v": v, "t": t}}

    mapped = jax.vmap(one)
    step = mapped if together == 1 else (
        lambda s, x, y: jax.lax.fori_loop(0, together, lambda _, s: mapped(s, x, y), s)
    )  # fmt: skip
    fast = jax.jit(step)
    held = fast(start, x, y)

    def run() -> None:
        nonlocal held
        held = jax.block_until_ready(fast(held, x, y))

    return run


def row(
    what: str, want: float | None, got: float, most: bool = False, unit: str = "×"
) -> dict[str, Any]:
    met = None if want is None else got <= want if most else got >= want
    return {"what": what, "want": want, "got": got, "unit": unit, "met": met}


def rows() -> list[dict[str, Any]]:
    prepare()
    if hasattr(os, "sched_setaffinity"):  # one core for all, whatever threads a library starts
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    out = []
    for shape in SHAPES:
        name = f"{shape[0]}-{shape[1]}-{shape[1]}-1, batch {shape[2]}"
        got = paired(notebook(*shape), recorded(*shape, members=1))
        out.append(row(f"no compiler, 1 member over the notebook loop ({name})", 1.3, got))
    shape = SHAPES[0]
    got = 64 * paired(notebook(*shape), recorded(*shape, members=64))
    out.append(
        row("no compiler, 64 members, member-steps/s over the notebook loop (8-32-32-1)", 35, got)
    )
    got = paired(attention(32), attention(1), count=30)
    out.append(
        row("linear attention, step of 32 members over that of 1 (at most)", 4, got, most=True)
    )
    got = paired(attention_loop(), attention(32), count=30)
    out.append(
        row("linear attention, 32 members, member-steps/s over a notebook loop", None, 32 * got)
    )
    if compiler():
        out += compiled_rows(shape)
    return out


def compiled_rows(shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    out = []
    for members, want in ((1, 12), (64, 65)):
        got = TEN * members * paired(notebook(*shape), compiled(*shape, members, TEN))
        many = f"{members} member{'s' if members > 1 else ''}"
        out.append(row(f"compiled, {many} over the notebook loop (8-32-32-1)", want, got))
    try:
        import jax  # noqa: F401
    except ImportError:
        print("bench: JAX is not installed, its rows are left out", file=sys.stderr)
        return out
    for members in (1, 16, 64):
        theirs = in_jax(*shape, members, 1)
        got = paired(theirs, compiled(*shape, members, 1))
        out.append(row(f"compiled over JAX, both one step a call, {members}", 1.0, got))
        got = TEN * paired(theirs, compiled(*shape, members, TEN))
        out.append(
            row(
                f"compiled as it runs (10 steps a call) over JAX, one step a call, {members}",
                1.0,
                got,
            )
        )
    for members in (1, 16, 64):
        got = paired(in_jax(*shape, members, 100), compiled(*shape, members, 100), count=10)
        want = 0.9
        out.append(row(f"compiled over JAX inside fori_loop(100), {members}", want, got))
    return out
