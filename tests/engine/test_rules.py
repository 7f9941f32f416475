"""The optimisers against torch's own, fifty steps of a small network in double precision."""

import pytest
import torch
from torch.func import functional_call, grad

from engine.ingredients import rules

STEPS = 50
CASES = {
    "sgd": (torch.optim.SGD, {}),
    "heavy ball": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adam, other constants": (torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "adamw, other constants": (
        torch.optim.AdamW,
        {"weight_decay": 0.5, "betas": (0.7, 0.9), "eps": 1e-2},
    ),
}


def network():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    x = torch.randn(16, 4, dtype=torch.float64)
    return net.double(), x, torch.sin(x[:, :2])


def ours(name, params, gradient, options, number):
    """The parameters after every step. `number` makes a hyperparameter what a rule takes: a float or a 0-d tensor."""
    lr = number(0.03)
    b1, b2 = map(number, options.get("betas", (0.9, 0.999)))
    eps, decay = options.get("eps", 1e-8), number(options.get("weight_decay", 0.0))
    beta = number(options.get("momentum", 0.0))
    slots = rules.adam_slots(params) if "adam" in name else rules.momentum_slots(params)
    for _ in range(STEPS):
        g = gradient(params)
        if name == "sgd":
            params = rules.sgd(params, g, lr)
        elif "adamw" in name:
            params, slots = rules.adamw(params, g, slots, lr, decay, b1, b2, eps)
        elif "adam" in name:
            params, slots = rules.adam(params, g, slots, lr, b1, b2, eps)
        else:
            params, slots = rules.momentum(params, g, slots, lr, beta, name == "nesterov")
        yield params


@pytest.mark.parametrize("number", [float, lambda v: torch.tensor(v, dtype=torch.float64)], ids=["float", "tensor"])  # fmt: skip
@pytest.mark.parametrize("name", CASES)
def test_a_rule_does_what_torchs_optimiser_does(name, number):
    kind, options = CASES[name]
    net, x, y = network()
    start = {k: v.detach().clone() for k, v in net.named_parameters()}
    gradient = grad(lambda params: (functional_call(net, params, (x,)) - y).square().mean())
    theirs = kind(net.parameters(), lr=0.03, **options)
    for params in ours(name, start, gradient, options, number):
        theirs.zero_grad()
        (net(x) - y).square().mean().backward()
        theirs.step()
        for k, v in net.named_parameters():
            torch.testing.assert_close(params[k], v.detach(), rtol=1e-11, atol=1e-13)
    moved = [(params[k] - v).abs().max() for k, v in start.items()]
    assert min(moved) > 0.01  # there was something to differ in
