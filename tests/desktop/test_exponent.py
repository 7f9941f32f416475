"""The exponent tool: the slope over a chosen range, its error over seeds, theory's beside it."""

import math

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.plots.base import Measured, Theory, make_plot
from desktop.plots.exponent import fits, slope, slope_of_seeds


def test_slope_and_its_error_are_least_squares():
    x = np.array([1.0, 10, 100, 1000])
    assert slope(x, 3 * x**-0.5) == pytest.approx((-0.5, 0), abs=1e-12)
    r = np.random.default_rng(0)
    x = np.geomspace(1, 1e3, 12)
    standard = []
    for _ in range(400):
        rate, error = slope(x, x**-1 * np.exp(0.2 * r.normal(size=12)))
        standard.append((rate + 1) / error)
    # Student's t with 10 degrees of freedom has variance 1.25; of 400 draws it is known to about 8 %
    assert np.var(standard) == pytest.approx(1.25, rel=0.3) and abs(np.mean(standard)) < 0.2
    assert math.isnan(slope(x[:1], x[:1])[0]) and math.isnan(slope(x[:2], x[:2])[1])


def test_the_error_over_seeds_covers_where_residuals_do_not():
    """Readings of a random walk are not independent. Intervals of two standard errors over 8 seeds should hold the
    true slope about 91 % of the time (Student's t, 7 degrees of freedom); those from residuals do far less often."""
    r = np.random.default_rng(1)
    x = np.geomspace(1, 100, 60)
    over_seeds = from_residuals = 0
    for _ in range(200):
        noise = 0.05 * r.normal(size=(60, 8)).cumsum(0)
        values = x[:, None] ** -1 * np.exp(noise)
        rate, error, seeds = slope_of_seeds(x, values)
        assert seeds == 8
        over_seeds += abs(rate + 1) <= 2 * error
        rate, error = slope(x, values[:, 0])
        from_residuals += abs(rate + 1) <= 2 * error
    assert over_seeds > 0.85 * 200
    assert from_residuals < 0.6 * 200


@pytest.fixture
def plot(qtbot):
    theme.apply(QApplication.instance(), "light")
    p = make_plot(
        "scalar", title="Loss", x_label="step", y_label="loss", x_scale="log", y_scale="log"
    )
    qtbot.addWidget(p)
    p.resize(640, 400)
    x = np.arange(1.0, 1001.0)
    bent = np.where(x < 100, x**-0.5, 100**0.5 * x**-1.0)
    p.set_measured(
        "1", Measured(x, bent[:, None, None] * np.ones((1, 3, 1)), 0, "", "live", seeds=3)
    )
    p.set_theory("1", "t", Theory(x, (7 * x**-0.5)[:, None], "t", True, ""))
    with qtbot.waitExposed(p):
        p.show()
    p.refresh()
    p.grab()
    return p


def test_the_slope_is_that_of_the_range(plot):
    (early,) = fits(plot, 1, 99)
    (late,) = fits(plot, 100, 1000)
    assert early.slope == pytest.approx(-0.5) and late.slope == pytest.approx(-1)
    assert early.theory == pytest.approx(-0.5) and early.error == pytest.approx(0, abs=1e-9)
    assert "slope −0.5" in str(early) and "theory −0.5" in str(early) and "(3 seeds)" in str(early)


def drag(p, a, b, modifiers):
    QTest.mousePress(p, Qt.MouseButton.LeftButton, modifiers, a)
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(b),
        QPointF(p.mapToGlobal(b)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        modifiers,
    )
    QApplication.sendEvent(p, event)
    QTest.mouseRelease(p, Qt.MouseButton.LeftButton, modifiers, b)


def test_dragging_with_shift_chooses_and_does_not_pan(plot):
    f, before = plot.layout_memory.frame, list(plot.range)
    y = int(f.top + 100)
    a, b = QPoint(round(f.px(2.1)), y), QPoint(round(f.px(2.9)), y)
    drag(plot, a, b, Qt.KeyboardModifier.ShiftModifier)
    low, high = plot.chosen
    assert math.log10(low) == pytest.approx(2.1, abs=0.02)
    assert math.log10(high) == pytest.approx(2.9, abs=0.02)
    assert plot.range == before
    drag(plot, a, b, Qt.KeyboardModifier.NoModifier)
    assert plot.range != before and plot.chosen == (low, high)


def test_a_range_by_key_is_read_aloud(plot):
    plot.setFocus()
    QTest.keyClick(plot, Qt.Key.Key_Home)
    QTest.keyClick(plot, Qt.Key.Key_BracketLeft)
    for _ in range(5):
        QTest.keyClick(plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(plot, Qt.Key.Key_BracketRight)
    assert plot.chosen == (1.0, 51.0)
    assert plot.accessibleDescription().startswith("measured  slope −0.5")
    QTest.keyClick(plot, Qt.Key.Key_Escape)
    assert plot.chosen is None


def test_the_range_is_shaded(plot):
    before = plot.grab().toImage()
    plot.choose(10.0, 100.0)
    after = plot.grab().toImage()
    f = plot.layout_memory.frame
    y = int(f.top + 0.5 * f.height)
    inside, outside = int(f.px(1.9)), int(f.px(2.6))
    assert before.pixelColor(inside, y) != after.pixelColor(inside, y)
    assert before.pixelColor(outside, y) == after.pixelColor(outside, y)
