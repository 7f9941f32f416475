"""What is written down of a function, and what cannot be; no compiler of torch's is loaded for it."""

import subprocess
import sys

import pytest
import torch
from torch.func import grad, jacfwd, vmap

from engine.running.recording import record
from engine.running.tape import CannotRecord, taped

FUNCTIONS = {
    "a result that autograd keeps": lambda x: [grad(lambda v: torch.softmax(v, 0)[0].exp())(x)],
    "gradients of gradients": lambda x: [grad(lambda v: grad(lambda w: w.tanh().sum())(v)[0])(x)],
    "forward mode under vmap": lambda x: [jacfwd(lambda v: torch.sin(v) * v)(x)],
    "several results": lambda x: list(torch.linalg.qr(torch.outer(x, x) + torch.eye(len(x)))),
    "a choice by numbers": lambda x: [x[torch.argsort(x)], torch.where(x > 1, x, -x)],
    "written in place": lambda x: [torch.zeros(6).copy_(x).mul_(x).add_(1), x * 1],
    "a place in what was made": lambda x: [vmap(lambda v: torch.ones(2) * v)(x).sum(0)],
    "views written through": lambda x: [_filled(x), x + 0],
}


def _filled(x):
    out = torch.zeros(2, 3)
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
    ],
)
def test_what_contents_decide_is_not_recorded(fn):
    with pytest.raises(CannotRecord):
        record(fn, torch.ones(3))


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
