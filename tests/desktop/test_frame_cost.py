"""Frames stay within the budget: 8 curves of 10,000 points, 4 bands and a map, redrawn as data stream in."""

import time

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QGridLayout, QWidget

from desktop import theme
from desktop.plots.base import Measured, Theory, make_plot

POINTS, FRAMES = 10_000, 60


@pytest.fixture
def board(qtbot):
    theme.apply(QApplication.instance(), "light")
    window = QWidget()
    qtbot.addWidget(window)
    curves = make_plot("scalar", title="Loss", x_label="step", y_label="loss")
    matrix = make_plot("matrix", title="NTK", x_label="", y_label="Θ")
    matrix.set_shape(64, 64)
    grid = QGridLayout(window)
    grid.addWidget(curves, 0, 0)
    grid.addWidget(matrix, 0, 1)
    grid.setColumnStretch(0, 3)
    grid.setColumnStretch(1, 1)
    window.resize(1280, 700)
    with qtbot.waitExposed(window):
        window.show()
    yield curves, matrix
    window.close()  # and kept alive until here


def feed(curves, matrix, data, n, r):
    x = np.arange(float(n))
    for k, v in enumerate(data):
        values = v[:n] if k < 4 else v[:n, :1]
        role = "live" if k else "selected"
        curves.set_measured(str(k), Measured(x, values, k, f"run {k}", role, seeds=values.shape[1]))
    curves.set_theory("0", "t", Theory(x, np.ones((n, 1)), "2/η", True, ""))
    matrix.set_measured("0", Measured(np.zeros(1), r.normal(size=(1, 5, 4096)), 0, "", "live"))


@pytest.mark.long
@pytest.mark.parametrize("noisy", [False, True])
def test_a_frame_takes_less_than_33_ms(board, noisy):
    """The 95th percentile of a frame's CPU time, everything included: sums over seeds, decimation, painting. The
    window's own frames, beside a worker and at 200 %, are measured in tests/benchmarks/window.py."""
    curves, matrix = board
    r = np.random.default_rng(0)
    data = [r.normal(size=(POINTS + 5 * FRAMES, 5, 1)) for k in range(8)]
    data = [(v if noisy else v.cumsum(0) / 50) + k for k, v in enumerate(data)]
    feed(curves, matrix, data, POINTS, r)
    for p in board:
        p.refresh()
        p.repaint()
    spent = []
    for frame in range(FRAMES):
        start = time.process_time()
        feed(curves, matrix, data, POINTS + 5 * frame, r)
        for p in board:
            p.refresh()
            p.repaint()
        spent.append(time.process_time() - start)
    assert np.quantile(spent, 0.95) < 0.033


def test_memory_stays_flat(board):
    """Ten times as many redraws leave as many Qt objects and marks as one."""
    curves, matrix = board
    r = np.random.default_rng(0)
    data = [r.normal(size=(400, 5, 1)) for _ in range(8)]

    def count():
        return (
            len(curves.children()),
            len(matrix.children()),
            len(curves.content.marks),
            len(curves.layout_memory.choices),
        )

    feed(curves, matrix, data, 100, r)
    for p in board:
        p.refresh()
        p.repaint()
    first = count()
    for n in range(100, 200):
        feed(curves, matrix, data, n, r)
        for p in board:
            p.refresh()
            p.repaint()
    assert count() == first
    for k in range(8):
        curves.remove(str(k))
    curves.refresh()
    assert curves.traces == {} and curves.theory == {} and curves.content.marks == []
