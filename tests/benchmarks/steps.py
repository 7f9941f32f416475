"""Cost of a training step against the loop that a person writes in a notebook, and of drawing for many members."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.func import grad, vmap

from engine.experiments.in_context import linear_attention
from engine.ingredients.rules import adam, adam_slots
from engine.running.recording import record
from engine.running.tiers import Stepper, flatten, unflatten
from engine.running.train import Member, Stack

SHAPES = ((8, 32, 32), (16, 64, 64))  # inputs, hidden width, batch
ROUNDS = 9


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


def recorded(inputs: int, hidden: int, batch: int, members: int) -> Callable[[], None]:
    """The same step for a stack, as the engine's recorded tier runs it."""
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
        params, slots = adam(
            state["params"], grad(loss)(state["params"], x, y), state["slots"], 1e-3
        )
        return flatten({"params": params, "slots": slots})

    trees = [one() for _ in range(members)]
    state = {k: torch.stack([t[k] for t in trees]) for k in trees[0]}
    x, y = torch.randn(members, batch, inputs), torch.randn(members, batch, 1)
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


def row(what: str, want: float, got: float, most: bool = False) -> dict[str, Any]:
    met = got <= want if most else got >= want
    return {"what": what, "want": want, "got": got, "unit": "×", "met": met}


def rows() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
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
    return out
