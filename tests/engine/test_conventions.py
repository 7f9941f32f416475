"""Every prediction says its convention, and what a page says is what is trained: losses, steps and readings written out literally."""

import math

import numpy as np
import pytest
import torch

from engine import catalogue
from engine.experiments.generalisation import linear_dynamics, xor_clusters
from engine.experiments.implicit_bias import matrix_sensing
from engine.experiments.in_context import linear_attention
from engine.experiments.kernels import feature_learning, lazy_to_rich_grokking, ntk
from engine.experiments.signal import depth_to_width
from engine.experiments.stability import edge_of_stability, sgd_stability
from engine.running.random import Rng

FOUND, _ = catalogue.load()


@pytest.mark.parametrize("ex", FOUND.values(), ids=lambda ex: ex.name)
def test_every_prediction_and_every_page_says_its_convention(ex):
    card = catalogue.card(ex)
    silent = [p.name for p in card.predictions if len(p.convention) < 20]
    assert not silent, "these say no convention"
    assert "\nConvention: " in card.page


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def drawn(module, seed=0, **values):
    """(hp, data, state) at the start, in double precision."""
    ex = module.EXPERIMENT
    hp = ex.hyper.of(values)
    return hp, ex.data(hp, Rng(seed, "data")) if ex.data else {}, ex.init(hp, Rng(seed, "init"))


def descends(before, after, loss, rate):
    """`after` = `before` − rate ∇ loss(before), dicts of tensors. Gives the loss."""
    leaves = {k: v.detach().clone().requires_grad_() for k, v in before.items()}
    value = loss(leaves)
    for (k, leaf), g in zip(
        leaves.items(), torch.autograd.grad(value, list(leaves.values())), strict=True
    ):
        move = -rate * g
        assert move.norm() > 0, k
        error = (after[k] - leaf.detach() - move).norm()
        # rounding of the step, and of the sum that the step is added to
        assert error <= 1e-9 * move.norm() + 1e-14 * leaf.detach().norm(), k
    return value.detach()


def test_linear_dynamics():
    """Loss ½‖y − Xw‖²; training error (1/n)‖y − Xw‖²; test error E(y − x·w)² on a new noisy sample. Means over teachers."""
    hp, data, state = drawn(linear_dynamics, d=20, n=30, noise=0.7)
    X, y = data["X"], data["y"]
    after = linear_dynamics.step(hp, state, data)
    descends(state, after, lambda p: 0.5 * (y - X @ p["w"]).square().sum(), hp.lr)
    per_teacher = (y - X @ after["w"]).square().sum(0) / hp.n
    torch.testing.assert_close(linear_dynamics.train_error(hp, after, data), per_teacher.mean())
    torch.manual_seed(0)
    x = torch.randn(100_000, hp.d) / math.sqrt(hp.d)
    new = x @ data["teacher"] + hp.noise * torch.randn(len(x), data["teacher"].shape[1])
    each = (new - x @ after["w"]).square().mean(1)
    error = float(each.std()) / math.sqrt(len(each))
    assert abs(float(linear_dynamics.test_error(hp, after, data) - each.mean())) < 5 * error


def test_xor_clusters():
    """Loss (1/n) Σ log(1 + e^{−y f}) in W alone, f = Σ a_j relu(w_j·x); what is clean and what is new keeps its own label."""
    hp, data, state = drawn(xor_clusters, d=200, n=60, width=32, separation=20.0, flips=0.3, init_scale=1e-3)  # fmt: skip
    rng = Rng(0, "data")
    X, _ = xor_clusters.points(hp, rng, hp.n)
    flipped = rng.bernoulli(hp.flips, hp.n)
    X_t, _ = xor_clusters.points(hp, rng, len(data["y_t"]))
    W0, a = hp.init_scale * rng.normal(hp.width, hp.d), data["a"]
    W = W0
    assert torch.allclose(a.abs(), torch.tensor(1 / math.sqrt(hp.width)))

    def loss(p):
        f = torch.relu(X @ p["W"].T) @ a
        return torch.log1p(torch.exp(-data["y"] * f)).sum() / hp.n

    for _ in range(3):
        torch.testing.assert_close(xor_clusters.train_loss(hp, state, data), loss({"W": W}))
        state = xor_clusters.step(hp, state, data)
        after = W0 + state["C"].T @ X
        descends({"W": W}, {"W": after}, loss, hp.lr)
        W = after
    label = lambda x: torch.where(x[:, 0].abs() > x[:, 1].abs(), 1.0, -1.0)  # at distance 20
    assert torch.equal(data["y_t"], label(X_t)) and torch.equal(data["clean"], label(X))
    assert torch.equal(data["y"], torch.where(flipped.bool(), -1.0, 1.0) * label(X))
    f, f_t = torch.relu(X @ W.T) @ a, torch.relu(X_t @ W.T) @ a
    for read, right in (
        (xor_clusters.train_accuracy, f * data["y"] > 0),
        (xor_clusters.clean_accuracy, f * label(X) > 0),
        (xor_clusters.test_accuracy, f_t * label(X_t) > 0),
    ):
        assert float(read(hp, state, data)) == pytest.approx(float(right.double().mean()))


@pytest.mark.parametrize("observed", ["whole", "measured"])
def test_matrix_sensing(observed):
    """¼‖UUᵀ − M‖², or (1/4n) Σ (⟨A_i, UUᵀ⟩ − y_i)² with the A_i drawn as symmetric matrices."""
    hp, data, state = drawn(matrix_sensing, observed=observed, d=6, width=4, n=50, noise=0.5, init_scale=0.8)  # fmt: skip
    M = data["M"]

    def loss(p):
        G = p["U"] @ p["U"].T
        if observed == "whole":
            return 0.25 * (G - M).square().sum()
        rng = Rng(0, "data")
        rng.orthogonal(hp.d, hp.d)
        A = [matrix_sensing.unpack(row, hp.d) for row in rng.normal(hp.n, hp.d * (hp.d + 1) // 2)]
        assert all(torch.equal(a, a.T) for a in A)
        noise = hp.noise * rng.normal(hp.n)
        y = [(a * M).sum() + e for a, e in zip(A, noise, strict=True)]
        return sum(((a * G).sum() - v) ** 2 for a, v in zip(A, y, strict=True)) / (4 * hp.n)

    after = matrix_sensing.step(hp, state, data)
    value = descends(state, after, loss, hp.lr)
    torch.testing.assert_close(matrix_sensing.loss(hp, state, data), value)


def test_matrix_sensing_counts_and_measures_as_it_says():
    """Rank: eigenvalues of UUᵀ above s₃/2, those where M is zero too; distance: Frobenius, in units of ‖M‖_F."""
    hp, data, state = drawn(matrix_sensing, d=6, width=6, init_scale=0.9)
    s, Q = torch.linalg.eigh(data["M"])
    for _ in range(2):
        G = state["U"] @ state["U"].T
        above = int((torch.linalg.eigvalsh(G) > s[-3] / 2).sum())
        assert float(matrix_sensing.rank(hp, state, data)) == above
        best = [(Q[:, -k:] * s[-k:]) @ Q[:, -k:].T for k in (1, 2, 3)]
        literal = torch.stack([torch.linalg.matrix_norm(G - B) for B in best])
        literal = literal / torch.linalg.matrix_norm(data["M"])
        torch.testing.assert_close(matrix_sensing.distance(hp, state, data), literal)
        state = matrix_sensing.step(hp, state, data)
    # all six eigenvalues start at α² = 0.81 > s₃/2 = 0.5, and theory counts and measures as the readings do
    start = matrix_sensing.EXPERIMENT.init(hp, Rng(0, "init"))
    assert float(matrix_sensing.rank(hp, start, data)) == 6
    assert matrix_sensing.whole_rank(hp, [0])[0] == 6
    theory = matrix_sensing.whole_distance(hp, [0])[0]
    assert np.allclose(theory, matrix_sensing.distance(hp, start, data))


def test_linear_attention():
    """Half the risk E(f − w·x_q)² is descended, the answer's sum divided by N; G is what the answer applies to u."""
    hp, _, state = drawn(linear_attention, optimiser="gradient_descent", start="random", d=3, prompt_length=4)  # fmt: skip
    batch = linear_attention.draw(hp, Rng(0, "draw"))
    rng = Rng(0, "draw")
    w, Z = rng.normal(len(batch["w"]), hp.d), rng.normal(len(batch["w"]), 4, hp.d + 1)
    x = Z[..., : hp.d]
    y = (x * w[:, None]).sum(-1) + hp.noise * Z[..., hp.d]
    e = torch.cat([x, y[..., None]], dim=-1)

    def loss(p):
        total = torch.zeros(())
        for tokens, task in zip(e, w, strict=True):
            # f = g·x_q, so that the mean of (f − w·x_q)² over x_q ~ N(0, I) is ‖g − w‖²
            g = sum((p["v"] @ t) * (t @ p["W"]) for t in tokens) / 4
            total = total + (g - task).square().sum()
        return 0.5 * total / len(e)

    after = linear_attention.step(hp, state, batch)
    descends(state["params"], after["params"], loss, hp.lr)
    v, W = state["params"]["v"], state["params"]["W"]
    torch.manual_seed(0)
    u, query = torch.randn(hp.d), torch.randn(hp.d)
    C = torch.zeros(hp.d + 1, hp.d + 1)
    C[:-1, -1] = C[-1, :-1] = u
    G = linear_attention.matrix(hp, state, {})
    torch.testing.assert_close(query @ G @ u, v @ C @ W @ query)
    torch.testing.assert_close(linear_attention.step_size(hp, state, {}), torch.trace(G) / hp.d)


ABC = {
    "mup": ((-0.5, 0, 0.5), (0.5, 0.5, 0.5), 0),
    "ntk": ((0, 0.5, 0.5), (0, 0, 0), 0),
    "standard": ((0, 0, 0), (0, 0.5, 0.5), 1),
    "unscaled": ((0, 0, 0), (0, 0.5, 0.5), 0),
}


@pytest.mark.parametrize("parametrisation", ABC)
def test_feature_learning(parametrisation):
    """W_l = n^{−a} w_l, w_l ~ N(0, σ² n^{−2b}), step η n^{−c} in w_l on 1/(2P) Σ (f − y)²; movements are root mean squares."""
    hp, data, state = drawn(feature_learning, parametrisation=parametrisation, width=16, n=8, init_scale=1.5)  # fmt: skip
    a, b, c = ABC[parametrisation]
    rng, sizes = Rng(0, "init"), (hp.d, 16, 16, 1)
    for i in range(3):
        literal = 1.5 * 16 ** -float(b[i]) * rng.normal(sizes[i + 1], sizes[i])
        torch.testing.assert_close(state["params"][f"w{i + 1}"], literal)

    def layers(p):
        h1 = data["x"] @ (16 ** -float(a[0]) * p["w1"]).T
        h2 = torch.tanh(h1) @ (16 ** -float(a[1]) * p["w2"]).T
        return h1, h2, (torch.tanh(h2) @ (16 ** -float(a[2]) * p["w3"]).T)[:, 0]

    loss = lambda p: (layers(p)[-1] - data["y"]).square().sum() / (2 * hp.n)
    after = feature_learning.step(hp, state, data)
    value = descends(state["params"], after["params"], loss, hp.lr * 16 ** -float(c))
    torch.testing.assert_close(feature_learning.loss(hp, state, data), value)
    names = {m.name: m.measure for m in feature_learning.EXPERIMENT.metrics}
    both = zip(layers(state["params"]), layers(after["params"]), strict=True)
    moved = [(new - old).square().mean().sqrt() for old, new in both]
    for name, want in zip(("first", "features", "response"), moved, strict=True):
        torch.testing.assert_close(names[name](hp, after, data), want)


@pytest.mark.parametrize("start", ["as drawn", "centred"])
def test_lazy_to_rich(start):
    """1/(2P) Σ (f − y)² is descended with step η N/α²; losses shown are without the ½."""
    hp, data, state = drawn(lazy_to_rich_grokking, start=start, d=6, n=20, width=10)
    W0 = state["W"]

    def plain(W, X):
        h = X @ W.T
        return hp.output_scale / hp.width * (h + hp.nonlinearity * h**2 / 2).sum(1)

    def f(W, X):
        return plain(W, X) - (plain(W0, X) if start == "centred" else 0)

    def loss(p):
        return (f(p["W"], data["X"]) - data["y"]).square().sum() / (2 * hp.n)

    state = lazy_to_rich_grokking.step(hp, state, data)  # away from f = 0
    after = lazy_to_rich_grokking.step(hp, state, data)
    rate = hp.lr * hp.width / hp.output_scale**2
    value = descends({"W": state["W"]}, {"W": after["W"]}, loss, rate)
    torch.testing.assert_close(lazy_to_rich_grokking.train_loss(hp, state, data), 2 * value)
    test = (f(state["W"], data["X_test"]) - data["y_test"]).square().mean()
    torch.testing.assert_close(lazy_to_rich_grokking.test_loss(hp, state, data), test)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_ntk(activation):
    """NTK parametrisation with c² E φ² = 1; loss 1/(2n) Σ (f − y)² = ½ Σ r_i²; λ_i of Θ₀/n."""
    hp, data, state = drawn(ntk, activation=activation, width=16, depth=3, n=5, d=4, init_scale=1.3)
    phi = {"erf": torch.erf, "relu": torch.relu}[activation]
    z = torch.linspace(-12, 12, 200_001)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    c = torch.trapezoid(phi(z) ** 2 * density, z) ** -0.5

    def f(p):
        h = data["x"] @ p["W1"].T
        for name in ("W2", "W3"):
            h = c * phi(h) / math.sqrt(16) @ p[name].T
        return h[:, 0]

    loss = lambda p: (f(p) - data["y"]).square().sum() / (2 * hp.n)
    after = ntk.step(hp, state, data)
    leaves = {k: v.detach().clone().requires_grad_() for k, v in state["params"].items()}
    rows = [torch.autograd.grad(v, list(leaves.values()), retain_graph=True) for v in f(leaves)]
    J = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
    rates, _ = ntk.spectrum(hp, state, data)
    torch.testing.assert_close(rates, torch.linalg.eigvalsh(J @ J.T / hp.n).flip(0), rtol=1e-7, atol=1e-9)  # fmt: skip
    value = loss(leaves).detach()
    torch.testing.assert_close(ntk.loss(hp, state, data), value, rtol=1e-7, atol=0)
    r = ntk.residual(hp, state, data)
    torch.testing.assert_close(0.5 * r.square().sum(), value, rtol=1e-7, atol=0)
    for k, g in zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True):
        torch.testing.assert_close(
            after["params"][k] - leaves[k].detach(), -hp.lr * g, rtol=1e-6, atol=1e-9
        )


def hessian(loss, params):
    """Over all entries of a dict of tensors, in its order."""
    shapes = {k: v.shape for k, v in params.items()}
    flat = torch.cat([v.reshape(-1) for v in params.values()])

    def whole(flat):
        pieces = torch.split(flat, [math.prod(s) for s in shapes.values()])
        return loss({k: p.reshape(s) for (k, s), p in zip(shapes.items(), pieces, strict=True)})

    return torch.func.hessian(whole)(flat)


def test_edge_of_stability():
    """½ mean (f − y)², v ← βv + g, θ ← θ − ηv; λ₁ of that loss's Hessian."""
    hp, data, state = drawn(edge_of_stability, width=4, depth=2, n=6, momentum=0.5)

    def loss(p):
        h = torch.tanh(data["x"] @ p["W0"] + p["b0"])
        h = torch.tanh(h @ p["W1"] + p["b1"])
        return 0.5 * (h @ p["W2"] + p["b2"] - data["y"]).square().sum() / hp.n

    before = edge_of_stability.step(hp, state, data)
    after = edge_of_stability.step(hp, before, data)
    # what the last step's velocity adds is taken off, and the gradient's part is left
    own = {k: v + hp.lr * 0.5 * before["velocity"][k] for k, v in after["params"].items()}
    value = descends(before["params"], own, loss, hp.lr)
    torch.testing.assert_close(edge_of_stability.loss(hp, before, data), value)
    top = torch.linalg.eigvalsh(hessian(loss, before["params"]))[-1]
    read = edge_of_stability.sharpness(hp, before, data)
    torch.testing.assert_close(read, top, rtol=1e-3, atol=0)


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_sgd_stability(batch):
    """(1/2n) Σ (f − y)², its Hessian at the current weights; a step takes the mean over B drawn samples, B = n all of them."""
    hp, data, state = drawn(sgd_stability, batch=batch, n=20, d=20)
    X, y = data["X"], data["y"]
    state = {"u": state["u"] + 0.1 * torch.sin(torch.arange(20.0)), "v": state["v"]}
    f = lambda p, X: X @ (p["u"] ** 2 - p["v"] ** 2)
    which = sgd_stability.draw(hp, Rng(0, "draw"))["which"]
    rows = torch.arange(20) if batch == 20 else which
    part = lambda p: (f(p, X[rows]) - y[rows]).square().sum() / (2 * len(rows))
    after = sgd_stability.step(hp, state, data | {"which": which})
    descends(state, after, part, hp.lr)
    whole = lambda p: (f(p, X) - y).square().sum() / (2 * hp.n)
    torch.testing.assert_close(sgd_stability.loss(hp, state, data), whole(state))
    H = hessian(whole, state)
    torch.testing.assert_close(sgd_stability.trace(hp, state, data), torch.trace(H))
    top = torch.linalg.eigvalsh(H)[-1]
    torch.testing.assert_close(sgd_stability.sharpness(hp, state, data), top, rtol=1e-3, atol=0)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear"])
def test_depth_to_width(activation):
    """Layer 1 has K = 1 and Gaussian pre-activations, of excess kurtosis 0; at scale 1 the mean stays."""
    hp, _, state = drawn(depth_to_width, activation=activation, width=20, depth=4, networks=20_000)
    assert depth_to_width.layers(hp)[0] == 1
    assert np.allclose(depth_to_width.mean_law(hp), 1)
    assert depth_to_width.ratio_law(hp)[0] == 1 and depth_to_width.kurtosis_law(hp)[0] == 0
    assert torch.equal(state["K"][:, 0], torch.ones(20_000))
    kurtosis = depth_to_width.kurtosis(hp, state, {})
    assert abs(float(kurtosis[0])) < 5 * math.sqrt(24 / 20_000)  # its standard error for Gaussians
    z = state["z"][:, -1]
    literal = ((z - z.mean()) ** 4).mean() / z.var() ** 2 - 3
    assert float(kurtosis[-1]) == pytest.approx(float(literal), abs=0.05)
