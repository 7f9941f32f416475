"""What each kind of plot does with its readings: profile, histogram, matrix, sweep."""

import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest

from desktop.plots.base import Measured, Theory, make_plot
from desktop.plots.marks import Points
from tests.desktop.plotting import lines, measured, move, plot_maker, shown_labels


@pytest.fixture
def plot(qtbot):
    return plot_maker(qtbot)


def test_a_profile_marks_its_few_points(plot):
    p = plot("profile")
    p.set_measured("1", measured(steps=20))
    p.refresh()
    (points,) = [m for m in p.content.marks if isinstance(m, Points)]
    assert points.low is not None
    p.set_measured("1", measured(steps=200))
    p.refresh()
    assert not [m for m in p.content.marks if isinstance(m, Points)]


def test_a_histogram_is_a_density_and_follows_the_last_reading(plot):
    p = plot("spectrum")
    r = np.random.default_rng(0)
    values = np.stack(
        [np.full((4, 500), np.nan), r.normal(size=(4, 500)), np.full((4, 500), np.nan)]
    )
    p.set_measured("1", Measured(np.arange(3.0), values, 0, "", "live", seeds=4))
    grid = np.linspace(-4, 4, 200)
    normal = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    p.set_theory("1", "n", Theory(grid, normal[:, None], "Gauss", True, ""))
    p.refresh()
    h = p.histograms["1"]
    assert h.count == 2000 and (h.density * np.diff(h.edges)).sum() == pytest.approx(1)
    # each bin's count against the theory's, within four standard errors and four more where hardly any are expected
    for a, b, d in zip(h.edges[:-1], h.edges[1:], h.density, strict=True):
        expected = 0.5 * (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2)))
        assert abs(d * (b - a) - expected) * 2000 <= 4 * math.sqrt(expected * 2000) + 4
    assert "measured, 4 seeds, 2000 values" in shown_labels(p)


def test_a_log_histogram_is_per_decade_and_counts_what_it_cannot_show(plot):
    p = plot("spectrum", x_scale="log")
    r = np.random.default_rng(1)
    positive = 10 ** r.uniform(-3, 0, size=(1, 1, 3000))
    values = np.concatenate([positive, np.full((1, 1, 1000), -0.5)], axis=2)
    p.set_measured("1", Measured(np.array([0.0]), values, 0, "", "live"))
    grid = np.geomspace(1e-3, 1, 50)
    p.set_theory("1", "u", Theory(grid, (0.75 / (3 * grid * math.log(10)))[:, None], "u", True, ""))
    p.refresh()
    h = p.histograms["1"]
    # log-uniform over three decades: 3000 of the 4000 values, a quarter per decade
    assert (h.density * np.diff(h.edges)).sum() == pytest.approx(0.75)
    assert np.median(h.density) == pytest.approx(0.25, rel=0.2)
    _, density = p.density_of(p.theory["1", "u"])
    assert np.allclose(density, 0.25)
    assert h.hidden == 1000
    assert any("1000 ≤ 0 hidden" in s for s in shown_labels(p))


def test_a_matrix_shows_mean_theory_and_difference(plot):
    p = plot("matrix")
    r = np.random.default_rng(0)
    members = r.normal(size=(1, 5, 6))
    p.set_shape(2, 3)
    p.set_measured("1", Measured(np.array([0.0]), members, 0, "", "live", seeds=5))
    p.set_theory("1", "t", Theory(np.array([0.0]), np.arange(6.0)[None], "Γ⁻¹", True, ""))
    p.refresh()
    p.grab()
    mean = members[0].mean(0).reshape(2, 3)
    assert np.allclose(p.maps[0].values, mean)
    assert np.allclose(p.maps[2].values, mean - np.arange(6.0).reshape(2, 3))
    assert (p.maps[0].low, p.maps[0].high) == (p.maps[1].low, p.maps[1].high)  # one scale for both
    assert p.maps[2].low == -p.maps[2].high
    headers, rows = p.table()
    assert headers == ["row", "column", "measured, 5 seeds", "theory Γ⁻¹", "difference"]
    assert len(rows) == 6 and rows[5][:2] == [2, 3] and rows[5][3] == 5.0
    QTest.keyClick(p, Qt.Key.Key_Down)
    QTest.keyClick(p, Qt.Key.Key_Down)
    QTest.keyClick(p, Qt.Key.Key_Right)
    assert p.cell == (1, 1) and "row 2, column 2" in p.accessibleDescription()
    m = p.maps[1].rect
    move(p, QPoint(int(m.right() - 3), int(m.top() + 3)))
    assert p.cell == (0, 2)


def test_a_matrix_waits_for_its_shape_and_survives_nan(plot):
    p = plot("matrix")
    values = np.array([[[1.0, np.nan, 3.0, 4.0]]])
    p.set_shape(3, 3)
    p.set_measured("1", Measured(np.array([0.0]), values, 0, "", "live"))
    p.refresh()
    assert p.content.empty
    p.set_shape(2, 2)
    p.refresh()
    p.grab()
    assert p.maps[0].values[1, 1] == 4 and np.isnan(p.maps[0].values[0, 1])


def test_colours_of_a_matrix_are_cividis_in_the_picture(plot):
    p = plot("matrix")
    p.set_shape(1, 2)
    p.set_measured("1", Measured(np.array([0.0]), np.array([[[0.0, 1.0]]]), 0, "", "live"))
    p.refresh()
    picture: QImage = p.grab().toImage()
    r = p.maps[0].rect
    left = picture.pixelColor(int(r.left() + 0.25 * r.width()), int(r.center().y()))
    right = picture.pixelColor(int(r.left() + 0.75 * r.width()), int(r.center().y()))
    assert left.name().upper() == "#00224E" and right.name().upper() == "#FEE838"


def test_an_exponent_is_a_guide_through_the_points(plot):
    p = plot("sweep", x_scale="log", y_scale="log", x_label="width n", title="", y_label="gap")
    x = np.array([16.0, 64, 256, 1024])
    values = (5 / x)[:, None, None] * np.ones((1, 3, 1))
    p.set_measured("1", Measured(x, values, 0, "", "live", seeds=3))
    guide = Theory(np.zeros(0), np.zeros((0, 1)), "", True, "", kind="exponent", exponent=-1.0)
    p.set_theory("1", "e", guide)
    p.refresh()
    line = lines(p)[-1]
    assert np.allclose(np.diff(line.y) / np.diff(line.x), -1)
    assert np.allclose(10**line.y * 10**line.x, 5)
    labels = shown_labels(p)
    assert "theory slope −1.00" in labels and "measured, 3 seeds, slope −1.00 ± 0.00" in labels
    assert [h for h in p.table()[0] if "theory" in h] == []  # a guide is no datum
    assert len([m for m in p.content.marks if isinstance(m, Points)]) == 1


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="no plot for pie; there are scalar"):
        make_plot("pie")
