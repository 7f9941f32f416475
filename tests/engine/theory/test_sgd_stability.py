"""The trace formula against the explicit Hessian, and mean-square stability against simulation."""

import numpy as np
import torch
from torch.func import hessian

from engine.experiments.stability import sgd_stability as sgd
from engine.running.random import Rng

torch.set_num_threads(1)


def test_the_trace_is_exact_at_any_weights():
    hp = sgd.HP.of({"d": 20})
    data = sgd.data(hp, Rng(0, "data", dtype=torch.float64))
    rng = Rng(1, "weights", dtype=torch.float64)
    state = {"u": rng.normal(20), "v": rng.normal(20)}
    H = hessian(lambda p: sgd.risk(p, data["X"], data["y"]))(state)
    total = sum(H[k][k].trace() for k in state)
    torch.testing.assert_close(total, sgd.trace(hp, state, data))


def test_single_samples_of_equal_norm_are_mean_square_stable_up_to_tr_h():
    """Linearised SGD on orthogonal-free equal-norm samples: E‖θ‖² stays bounded for η tr H < 2 and grows for η tr H > 2."""
    rng = np.random.default_rng(0)
    n, dim = 30, 60
    J = rng.choice([-1.0, 1.0], (n, dim)) / np.sqrt(dim)  # gradients of norm 1, H = JᵀJ/n, tr H = 1
    M0 = J.T @ J

    def growth(eta):
        M = M0.copy()
        for _ in range(400):  # E over the sample of (I − η j jᵀ) M (I − η j jᵀ)
            JM = J @ M
            diagonal = np.einsum("id,id->i", JM, J)
            cross = J.T @ JM / n
            M = M - eta * (cross + cross.T) + eta**2 * (J.T * diagonal) @ J / n
        return np.trace(J @ M @ J.T)

    start = np.trace(J @ M0 @ J.T)
    assert growth(1.9) < start
    assert growth(2.3) > 10 * start
