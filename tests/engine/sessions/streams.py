"""Arbitrary runs for hypothesis, a small fixed one, and equality of messages to the bit (NaN equals NaN)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.encoding import DTYPES, encode
from engine.messages import Changed, Checkpoint, Judged, Message, Predicted, Rows, Started, Status

texts = st.text(max_size=12) | st.sampled_from(
    ["", "\0", "json:", "a/b", ".", "..", "%2F", "η · 2/λ"]
)
floats = st.floats(width=64)  # NaN and infinities among them
whole = st.integers(-(2**63), 2**63 - 1)
knobs = st.dictionaries(texts, floats | whole | texts, max_size=3)
any_array = st.sampled_from(DTYPES).flatmap(
    lambda d: arrays(np.dtype(d), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)
names = texts.filter(lambda t: "/" not in t)
trees = st.recursive(any_array, lambda sub: st.dictionaries(names, sub, min_size=1, max_size=3))


def same(a: Message, b: Message) -> bool:
    """Equal in every bit: what `encode` writes holds types, shapes, values and the order of dictionaries."""
    return type(a) is type(b) and encode(a) == encode(b)


def flat(tree, prefix=""):
    out = {}
    for k, v in tree.items():
        out |= flat(v, f"{prefix}{k}/") if isinstance(v, dict) else {prefix + k: v}
    return out


@st.composite
def readings(draw, run, metric, first):
    """A metric's rows in some pieces; pieces may repeat steps."""
    kind = draw(st.sampled_from(DTYPES))
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
    out = []
    for _ in range(draw(st.integers(1, 3))):
        steps = sorted(draw(st.sets(st.integers(0, 9), max_size=4)))
        values = draw(arrays(np.dtype(kind), (len(steps), *shape)))
        coords = draw(st.none() | arrays(np.float64, (2,)))
        out.append(Rows(run, metric, first, np.array(steps, np.int64), values, coords))
    return out


@st.composite
def runs(draw):
    """A run's messages in an order that may occur."""
    run = draw(texts)
    count = draw(st.integers(0, 3))
    members = {"seed": np.arange(count)} if count else {}
    members |= {
        k: draw(arrays(np.dtype(draw(st.sampled_from(DTYPES))), (count,)))
        for k in draw(st.sets(texts.filter(lambda t: t != "seed"), max_size=2 if count else 0))
    }
    started = Started(
        run, draw(texts), draw(knobs), {"lr": [0.1, 3]}, members, (0, 2), draw(whole), "float32", "cpu",
        draw(texts), "", draw(whole), draw(st.dictionaries(texts, texts, max_size=2)), "", {"act": ["a"]},
    )  # fmt: skip
    rest: list[Message] = []
    for key in draw(st.sets(st.tuples(texts, st.integers(0, 4)), max_size=3)):
        rest += draw(readings(run, *key))
    for _ in range(draw(st.integers(0, 2))):
        steps = np.arange(draw(st.integers(0, 3)))
        values = draw(arrays(np.float64, (len(steps), 2)))
        broken = tuple(draw(st.lists(texts, max_size=2)))
        rest.append(
            Predicted(
                run, draw(texts), "loss", draw(whole), steps, values, draw(st.booleans()), broken
            )
        )
        rest.append(
            Judged(
                run, draw(texts), "t", "holds", draw(floats), draw(floats), draw(floats), "", broken
            )
        )
        rest.append(
            Changed(run, draw(whole), draw(texts), draw(floats | whole | texts), draw(whole))
        )
        tree = draw(st.dictionaries(names, trees, max_size=3))
        rest.append(Checkpoint(run, draw(st.integers(0, 3)), draw(st.integers(0, 3)), flat(tree)))
        state = draw(st.sampled_from(["running", "paused", "done", "failed"]))
        rest.append(Status(run, state, draw(whole), draw(texts), draw(floats), {"eager": 3}))
    return [started, *draw(st.permutations(rest))]


def plain_run(run: str = "r1", steps: int = 20, seed: int = 0) -> list[Message]:
    """One run with every kind of message, the same at every call."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps + 1)
    table = {"seed": np.array([0, 1, 0, 1]), "lr": np.array([0.1, 0.1, 0.2, 0.2])}
    out: list[Message] = [
        Started(
            run, "toy/quadratic", {"lr": 0.1, "width": 8, "act": "relu"}, {"lr": [0.1, 0.2]}, table, (0, 2),
            steps, "float32", "cpu", "stable", "", -1, {"torch": "2.13.0", "threads": "1"},
            "2026-11-02T10:00:00Z",
        )
    ]  # fmt: skip
    for first in (0, 2):
        loss = rng.standard_normal((steps + 1, 2)).astype(np.float32)
        out += [
            Rows(run, "loss", first, t[:9], loss[:9]),
            Rows(run, "loss", first, t[8:], loss[8:]),
        ]
        profile = rng.standard_normal((3, 2, 5))
        out.append(Rows(run, "kernel", first, t[:3], profile, np.linspace(0, 1, 5)))
        out.append(
            Predicted(run, "bound", "loss", first, t, np.exp(-t / 7)[:, None], text="2/η = 20")
        )
        arrays_ = {
            "params/W": rng.standard_normal((2, 3, 4)),
            "params/b": np.zeros((2, 4), np.float32),
        }
        out.append(Checkpoint(run, steps, first, arrays_ | {"t": np.full(2, steps)}))
    out.append(Changed(run, 5, "lr", 0.05, 0))
    out.append(
        Judged(
            run, "settles", "λ₁ settles at 2/η", "undecided", 1.03, 1.0, 0.02, "two seeds", ("n",)
        )
    )
    out.append(Status(run, "done", steps, rate=412.5, tiers={"eager": steps}))
    return out
