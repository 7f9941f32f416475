"""What is written down of a function, and what cannot be; no compiler of torch's is loaded for it."""

import subprocess
import sys

import pytest
import torch
from torch.func import grad, jacfwd, jvp, vmap

from engine.running.recording import record
from engine.running.tape import CannotRecord, taped

FUNCTIONS = {
    "a result that autograd keeps": lambda x: [grad(lambda v: torch.softmax(v, 0)[0].exp())(x)],
    "gradients of gradients": lambda x: [grad(lambda v: grad(lambda w: w.tanh().sum())(v)[0])(x)],
    "forward mode under vmap": lambda x: [jacfwd(lambda v: torch.sin(v) * v)(x)],
    "several results": lambda x: list(torch.linalg.qr(torch.outer(x, x) + torch.eye(len(x)))),
    "a choice by numbers": lambda x: [x[torch.argsort(x)], torch.where(x > 1, x, -x)],
    "written in place": lambda x: [(x * 2).copy_(x).mul_(x).add_(1), x * 1],
    "a place in what was made": lambda x: [vmap(lambda v: torch.ones(2) * v)(x).sum(0)],
    "views written through": lambda x: [_filled(x, x.new_zeros(2, 3)), x + 0],
    "a mask that is always the same": lambda x: [x[MASK], torch.masked_select(x, ~MASK)],
    "a derivative forwards": lambda x: [jvp(lambda v: v.sin() * v, (x,), (torch.ones(6),))[1]],
}
MASK = torch.tensor([True, False, True, True, False, False])


def _filled(x, out):
    out[0] = x[:3]
    out[1, 1:] = x[4:] ** 2
    return out


@pytest.mark.parametrize("fn", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_the_record_gives_what_the_function_gives(fn):
    """At once, again, and for numbers other than those that it was made from: bit for bit."""
    recorded = record(fn, torch.linspace(-1, 2, 6))
    for x in (torch.linspace(-1, 2, 6), torch.linspace(3, -2, 6), torch.linspace(-1, 2, 6) ** 3):
        kept = x.clone()
        for mine, plain in zip(recorded(x), fn(x), strict=True):
            assert torch.equal(mine, plain)
        assert torch.equal(x, kept)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: [x * x.sum().item()],
        lambda x: [x if x.sum() > 0 else -x],
        lambda x: [x[x > 0].sum()],
        lambda x: [torch.nonzero(x).sum()],
        lambda x: [x * float(torch.equal(x, x))],
        lambda x: [torch.masked_select(x, x > 0).sum()],
    ],
)
def test_what_contents_decide_is_not_recorded(fn):
    with pytest.raises(CannotRecord, match=r"decides|makes a number"):
        record(fn, torch.ones(6))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: [torch.zeros(6).copy_(x)],
        lambda x: [_filled(x, torch.zeros(2, 3))],
        lambda x: [torch.zeros(6).add_(x), torch.zeros(6)],
        lambda x: [x * COUNT.add_(1)],
        lambda x: [_scaled_later(x, torch.full((6,), 2.0))],
    ],
)
def test_constants_that_are_written_to_are_not_recorded(fn):
    """They are computed once, and would be another thing the next time."""
    with pytest.raises(CannotRecord, match="writes into a constant"):
        record(fn, torch.ones(6))


COUNT = torch.zeros(6)


def _scaled_later(x, gain):
    out = torch.relu(x) * gain
    gain.mul_(0.5)
    return out * gain


@pytest.mark.parametrize("draw", ["normal_", "uniform_", "exponential_", "bernoulli_"])
def test_randomness_of_its_own_is_not_recorded(draw):
    with pytest.raises(CannotRecord, match="random"):
        record(lambda x: [getattr(x * 1, draw)()], torch.ones(6))


def test_contents_of_what_is_closed_over_may_decide():
    mask = torch.tensor([True, False, True])
    fn = record(lambda x: [x * mask.sum().item() + torch.arange(3.0)[mask].sum()], torch.ones(3))
    assert torch.equal(fn(torch.arange(3.0))[0], 2 * torch.arange(3.0) + 2)


def test_values_have_shapes_and_no_memory():
    graph, constants = taped(lambda x: [x @ torch.ones(300, 300)], torch.ones(300, 300))
    values = [n.meta["val"] for n in graph.nodes if "val" in n.meta]
    assert len(values) == 3 and not constants
    assert all(tuple(v.shape) == (300, 300) for v in values)
    assert all(v.untyped_storage().nbytes() == 0 for v in values)


BARE = """
import sys, torch
from engine import catalogue
from engine.running import tiers
from engine.running.process import prepare
from engine.running.train import Member, Stack
prepare()
tiers.SWITCH, tiers.EARLIEST = 1.0, 3
ex = catalogue.get("stability/edge_of_stability")
stack = Stack(ex, [Member(ex.hyper.of({"steps": 60}), s) for s in range(2)])
with stack.precision():
    stepper, state = tiers.Stepper(stack, stack.data()), stack.init()
    for step in (0, 5, 10):
        state = stepper.advance(state, step, 5)
taken = stepper.counts  # compiled, where there is a C compiler, from the same record
assert taken["plain"] and taken["recorded"] + taken["compiled"], taken
assert "torch._dynamo" not in sys.modules, "loaded for a gradient or a record"
adam = torch.optim.Adam([torch.ones(2, requires_grad=True)])
adam.step()
assert torch._dynamo.is_compiling() is False and torch._dynamo is sys.modules["torch._dynamo"]
print(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item())
"""


def test_the_compiler_is_loaded_only_by_whoever_uses_it():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2.0"]
