"""The compiled tier: each operation against torch, each experiment's step against the plain one, and what a run is allowed to see of it."""

import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad

from engine import catalogue
from engine.running import tiers
from engine.running.native import build
from engine.running.native.step import Native
from engine.running.native.values import CannotCompile
from engine.running.tiers import Stepper, flatten
from engine.running.train import Member, Stack, train
from tests.engine.running.test_tiers import EX

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(not build.compiler(), reason="there is no C compiler here")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_CACHE", str(tmp_path))


def compiled(fn, *state, members=3):
    """fn (tensors of one member -> tensors of the same shapes), plain and compiled, once for each member."""
    native = Native(lambda s, h, d, r: fn(*s), state, [], [], [])
    native.launch()
    assert native.load() == ""
    plain = [fn(*(v[m] for v in state)) for m in range(len(state[0]))]
    want = [torch.stack([p[i] for p in plain]) for i in range(len(state))]
    return native.advance(state, 1, []), want


def close(got, want, dtype):
    rtol, atol = (2e-5, 2e-5) if dtype == torch.float32 else (1e-12, 1e-12)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol, equal_nan=True)


F = torch.nn.functional
# each takes x (5, 7), y (5, 7), v (7,), s () and gives four results of these shapes
CASES = {
    "arithmetic": lambda x, y, v, s: (x * y - 2 * v, x / (y.abs() + 1) + s, -v / 3, 1 - s),
    "elementary": lambda x, y, v, s: (x.exp(), x.tanh(), v.cos() + v.sin(), s.abs().sqrt()),
    "more": lambda x, y, v, s: (
        (x.abs() + 0.1).log(),
        torch.sigmoid(y),
        v.reciprocal(),
        torch.relu(s),
    ),
    "powers": lambda x, y, v, s: (x**2 + x**3, (y.abs() + 1) ** 1.7, 0.9**v, (s * s) ** 0.5),
    "extremes": lambda x, y, v, s: (
        torch.maximum(torch.maximum(x, y), torch.minimum(x + y, v)),
        torch.minimum(x, y),
        v,
        s,
    ),
    "lerp": lambda x, y, v, s: (
        torch.lerp(x, y, 0.1),
        torch.addcmul(x, y, v.expand(5, 7)),
        torch.lerp(v, 2 * v, s),
        s,
    ),
    "sums": lambda x, y, v, s: (
        x - x.mean(0),
        y * y.sum(1, keepdim=True),
        x.sum(0) + (x * y).mean(0),
        x.sum() + y.mean(),
    ),
    "views": lambda x, y, v, s: (
        x.T.reshape(5, 7),
        y.view(7, 5).T.contiguous(),
        x[2] + y.T[:, 1],
        x[1, 3] * v[2],
    ),
    "cat": lambda x, y, v, s: (
        torch.cat([x, y]).view(7, 10).T.reshape(2, 5, 7)[0],
        torch.cat([y, x], 1).split([7, 7], 1)[1] * 1,
        torch.cat([v, v]).split([7, 7])[0] + 1,
        s,
    ),
    "products": lambda x, y, v, s: (
        (x @ y.T) @ x,
        x @ (x.T @ y),
        y.T @ (x @ v),
        (v @ v) * s,
    ),
    "outer": lambda x, y, v, s: (x[:, :1] @ y[:1], torch.outer(x[:, 0], v), v, s),
    "softplus": lambda x, y, v, s: (F.softplus(30 * x), F.softplus(-y), F.softplus(v), s),
    "gradients": lambda x, y, v, s: (
        grad(lambda a: torch.tanh(a @ y.T).square().mean())(x),
        grad(lambda a: (torch.relu(a) * x).sum())(y),
        grad(lambda a: F.softplus(x @ a).mean() + (x[0] * a).sum() ** 2)(v),
        grad(lambda a: torch.exp(-a * a))(s),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_operations_agree_with_torch(name, dtype):
    g = torch.Generator().manual_seed(1)
    state = [
        torch.randn(3, *shape, generator=g, dtype=dtype) for shape in ((5, 7), (5, 7), (7,), ())
    ]
    close(*compiled(CASES[name], *state), dtype)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([1, 2, 3, 5, 8, 11, 16, 17, 33]),
    st.sampled_from([1, 2, 7, 8, 20]),
    st.sampled_from([1, 2, 4, 5, 8, 15, 16, 31, 32, 50]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_products_of_every_size_and_layout(m, k, n, left, right, dtype):
    a = torch.randn(2, k, m, dtype=dtype).mT if left else torch.randn(2, m, k, dtype=dtype)
    b = torch.randn(2, n, k, dtype=dtype).mT if right else torch.randn(2, k, n, dtype=dtype)
    a, b = (v.contiguous() for v in ((a.mT if left else a), (b.mT if right else b)))
    c = torch.zeros(2, m, n, dtype=dtype)

    def fn(a, b, c):
        return a + 0, b + 0, (a.T if left else a) @ (b.T if right else b) + c

    close(*compiled(fn, a, b, c), dtype)


def tree(choose, depth):
    """A random expression of x (m, n), y (m, n), v (n,), s (): what compilers' vectorisers get wrong is found by such."""
    if depth == 0:
        k = choose(4)
        return lambda x, y, v, s: (x, y, v.expand_as(x), s.expand_as(x))[k]
    a, b, k = tree(choose, depth - 1), tree(choose, depth - 1), choose(14)

    def value(*leaves):
        p, q = a(*leaves), b(*leaves)
        return (
            lambda: p + q,
            lambda: p * q,
            lambda: p - q,
            lambda: torch.tanh(p),
            lambda: torch.relu(p) * q,
            lambda: p / (1 + q * q),
            lambda: p - p.mean(0),
            lambda: p * q.sum(1, keepdim=True) / q.shape[1],
            lambda: (p @ q.T) @ q / p.numel(),
            lambda: F.softplus(p),
            lambda: torch.lerp(p, q, 0.3),
            lambda: torch.sigmoid(p),
            lambda: (p * q).T.contiguous().view(p.shape[1], -1).T,
            lambda: torch.relu(p.T).T + q.mean(),
        )[k]()

    return value


@pytest.mark.parametrize("seed", range(12))
def test_random_expressions_and_their_gradients(seed, request):
    for one in range(seed, 240 if request.config.getoption("--long") else 12, 12):
        random = np.random.default_rng(one)
        m, n = random.choice([1, 3, 5, 7, 16, 20, 33]), random.choice([1, 2, 7, 9, 16, 31, 32])
        f = tree(lambda k, r=random: int(r.integers(k)), 3)
        g = torch.Generator().manual_seed(one)
        state = [torch.randn(2, *shape, generator=g) for shape in ((m, n), (m, n), (n,), ())]

        def fn(x, y, v, s, f=f):
            loss = lambda *leaves: f(*leaves).square().mean()
            return (f(x, y, v, s), *grad(loss, argnums=(1, 2, 3))(x, y, v, s))

        got, want = compiled(fn, *state, members=2)
        exact = [torch.stack([fn(*(u[i].double() for u in state))[j] for i in range(2)]) for j in range(4)]  # fmt: skip
        for a, b, c in zip(got, want, exact, strict=True):
            off, due = float((a - c).abs().max()), float((b - c).abs().max())
            assert off <= 20 * due + 2e-6 * (1 + float(c.abs().max())), (one, off, due)


def test_exp_and_tanh_are_right_to_rounding():
    x = torch.cat([torch.linspace(-105, 90, 40_001), torch.linspace(-1, 1, 20_001), 10 ** torch.linspace(-30, 0, 999)])  # fmt: skip
    x = x[None]
    (e, t), _ = compiled(lambda x, y: (x.exp(), y.tanh()), x, x.clone())
    for got, value in ((e, x.double().exp()), (t, x.double().tanh())):
        exact = value.float().double()
        normal = (exact.abs() > 1e-37) & exact.isfinite()
        relative = ((got.double() - exact).abs() / exact.abs())[normal]
        assert float(relative.max()) < 3 * 2**-23
        assert torch.equal(got.isinf(), exact.isinf())
    assert float(e[0, 0]) == 0 and float(t[0, 0]) == -1


def test_nan_and_infinity_keep_their_meaning():
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 1.0, -0.0]])
    for fn in (torch.tanh, torch.exp, torch.relu, torch.sigmoid, lambda v: v.sum() + 0 * v,
               lambda v: torch.maximum(v, v * 2), lambda v: v / v.abs()):  # fmt: skip
        (got,) = compiled(lambda v, fn=fn: (fn(v),), x)[0]
        want = fn(x)  # (a loop over members would round the same way)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, equal_nan=True)


EVERY = sorted(n for n, ex in catalogue.load()[0].items() if ex.step is not None and not ex.looped)
LEFT = {  # what is not compiled, and why
    "generalisation/xor_clusters": "the library does better",
    "kernels/ntk": "erf",
}


@pytest.mark.parametrize("name", EVERY)
def test_every_experiment_compiles_or_says_why(name, monkeypatch, caplog):
    ex = catalogue.load()[0][name]
    monkeypatch.setattr(tiers, "SWITCH", 1.0)
    monkeypatch.setattr(tiers, "EARLIEST", 3)
    steps = {"steps": 30} if any(k.name == "steps" for k in ex.hyper.knobs()) else {}
    stack = Stack(ex, [Member(ex.hyper.of(steps), s) for s in range(2)])
    caplog.set_level("INFO", "lemmascope")
    with stack.precision():
        state, data = stack.init(), stack.data()
        fast, plain = Stepper(stack, data), Stepper(stack, data)
        plain.planned, plain.recordable = True, False
        mine = theirs = state
        for _ in range(3):
            mine, theirs = (
                fast.advance(mine, fast_step(fast), 5),
                plain.advance(theirs, fast_step(plain), 5),
            )
    if name in LEFT:
        assert fast.counts["compiled"] == 0 and LEFT[name] in caplog.text
        return
    assert fast.counts["compiled"] >= 5, caplog.text
    for k, v in flatten(theirs).items():
        scale = float(v.abs().max()) + 1e-30
        assert float((flatten(mine)[k] - v).abs().max()) < 2e-3 * scale, k


def fast_step(stepper):
    return sum(stepper.counts.values())


def run(monkeypatch, *, after=0.0, steps=900, begin=0, state=None, seeds=3, switch=300, **kw):
    monkeypatch.setattr(tiers, "STEP_AFTER", after)
    monkeypatch.setattr(tiers, "SWITCH", 0.0)
    monkeypatch.setattr(tiers, "EARLIEST", switch)
    hp = EX.hyper.of({"steps": steps})
    return list(train(EX, [Member(hp, s) for s in range(seeds)], state=state, step=begin, **kw))


def same(a, b):
    assert a.step == b.step
    for k, v in flatten(a.state).items():
        assert torch.equal(v, flatten(b.state)[k]), k


def test_what_a_run_gives_does_not_depend_on_how_fast_the_machine_was(monkeypatch):
    slow, quick = run(monkeypatch, after=1e9), run(monkeypatch)
    assert slow[-1].tiers == {"plain": 300, "recorded": 0, "compiled": 600}
    assert quick[-1].tiers["compiled"] == 600 and quick[-1].tiers["recorded"] > 290
    same(slow[-1], quick[-1])


def test_resuming_on_either_side_of_the_switch_changes_nothing(monkeypatch):
    whole = run(monkeypatch, marks=frozenset({137, 613}))
    for at in (137, 613):
        (middle,) = (f for f in whole if f.step == at)
        rest = run(monkeypatch, state=middle.state, begin=at)
        same(rest[-1], whole[-1])


def test_compiled_and_recorded_runs_agree_to_rounding(monkeypatch):
    fast, plain = run(monkeypatch), run(monkeypatch, switch=10**6)
    assert plain[-1].tiers["compiled"] == 0
    for k, v in flatten(plain[-1].state).items():
        torch.testing.assert_close(flatten(fast[-1].state)[k], v, rtol=1e-3, atol=1e-4)
    for a, b in zip(fast, plain, strict=True):
        for name in a.values:
            np.testing.assert_allclose(a.values[name], b.values[name], rtol=1e-3, atol=1e-5)


def test_short_runs_are_not_compiled(monkeypatch):
    frames = run(monkeypatch, steps=800)
    assert frames[-1].tiers["compiled"] == 0


@pytest.mark.parametrize("trouble", ["no compiler", "refuses", "wrong", "no folder"])
def test_whatever_goes_wrong_the_run_goes_on_one_tier_below(trouble, monkeypatch, caplog, tmp_path):
    caplog.set_level("INFO", "lemmascope")
    want = run(monkeypatch, switch=10**6)[-1]
    if trouble == "no compiler":
        monkeypatch.setattr(build, "compiler", tuple)
    elif trouble == "refuses":
        monkeypatch.setattr(build, "compiler", lambda: ("false",))
    elif trouble == "no folder":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("LEMMASCOPE_CACHE", str(tmp_path / "file"))
    else:
        honest = Native.advance
        monkeypatch.setattr(Native, "advance", lambda self, *a: [v + 1 for v in honest(self, *a)])
    got = run(monkeypatch)[-1]
    assert got.tiers["compiled"] == 0 and "is not compiled" in caplog.text
    same(got, want)


def test_what_is_in_the_cache_is_not_compiled_again(monkeypatch):
    first = run(monkeypatch)[-1]
    monkeypatch.setattr(subprocess, "Popen", None)
    same(run(monkeypatch)[-1], first)


def test_a_build_that_nobody_waits_for_leaves_nothing(tmp_path):
    native = Native(lambda s, h, d, r: [s[0].tanh() * 3.25], [torch.zeros(1, 4)], [], [], [])
    native.launch()
    process = native.build.process
    assert process is not None  # it was not in the cache
    del native
    assert process.poll() is not None
    assert not list(tmp_path.rglob("*.c"))


def test_another_processor_does_not_get_this_ones_instructions(monkeypatch):
    source = "void run(void) {}\n"
    here = build.Build(source).path
    monkeypatch.setattr(build, "processor", lambda: "flags : none of them")
    assert build.Build(source).path != here


def test_an_unknown_operation_is_named():
    x = torch.zeros(1, 4)
    with pytest.raises(CannotCompile, match="cumsum"):
        Native(lambda s, h, d, r: [s[0].cumsum(0)], [x], [], [], [])
    with pytest.raises(CannotCompile, match="float64"):
        Native(lambda s, h, d, r: [(s[0].double() + 1).float()], [x], [], [], [])
    whole = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(CannotCompile, match="int64"):
        Native(lambda s, h, d, r: [s[0] + 1], [whole], [], [], [])


def test_hot_knobs_are_inputs(monkeypatch):
    """A slider moved in a long run asks for no second compilation."""
    made = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: made.append(a) or real(*a, **k))
    run(monkeypatch)
    hp = EX.hyper.of({"steps": 900, "lr": 0.5})
    list(train(EX, [Member(hp, s) for s in range(3)]))
    assert len(made) == 1
