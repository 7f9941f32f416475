"""Long curves that are kept thin: the same picture, at a cost that does not grow."""

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.plots.base import Measured, make_plot
from desktop.plots.thin import MANY, MOST, Thin, along

PIXELS = 1000


def readings(n, seed=0):
    r = np.random.default_rng(seed)
    y = r.normal(size=n).cumsum() / 50
    y[n // 3] = 900.0  # a spike of one reading
    y[n // 2 : n // 2 + 5000] = np.nan
    return np.arange(float(n)), y, y - 1, y + 1


def columns(x, y, low, high):
    """Least and greatest of each pixel column."""
    at = np.minimum(((x - low) / (high - low) * PIXELS).astype(int), PIXELS - 1)
    least, most = np.full(PIXELS, np.inf), np.full(PIXELS, -np.inf)
    good = np.isfinite(y)
    np.minimum.at(least, at[good], y[good])
    np.maximum.at(most, at[good], y[good])
    return least, most


def widened(least, most):
    """A column with its neighbours: a thinned point may stand on the other side of a border."""
    pad = np.pad(least, 1, constant_values=np.inf), np.pad(most, 1, constant_values=-np.inf)
    return (
        np.min([pad[0][k : k + PIXELS] for k in range(3)], axis=0),
        np.max([pad[1][k : k + PIXELS] for k in range(3)], axis=0),
    )


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("piece", [997, 300_000])
def test_every_extreme_stays_in_its_column(scale, piece):
    thin, every = Thin(), readings(300_000)
    for n in range(piece, len(every[0]) + piece, piece):
        part = tuple(r[:n] for r in every)
        x, y, at, low, high = thin.update(part, (scale, "linear"), "s", n)
        assert max(len(x), len(at)) <= MANY + piece
    whole_x, whole_y, _, whole_low, whole_high = along(every, (scale, "linear"))
    ends = whole_x[0], whole_x[-1]
    for drawn, raw, lowest, highest in (
        ((x, y), whole_y, True, True),
        ((at, low), whole_low, True, False),  # a band is as wide as the widest of its columns
        ((at, high), whole_high, False, True),
    ):
        mine, theirs = columns(*drawn, *ends), columns(whole_x, raw, *ends)
        near = widened(*theirs)
        assert (mine[0] >= near[0]).all() and (mine[1] <= near[1]).all()  # nothing is made up …
        near = widened(*mine)
        assert not lowest or (near[0] <= theirs[0]).all()  # … or left out
        assert not highest or (near[1] >= theirs[1]).all()
    assert np.nanmax(y) == 900.0


def test_readings_that_are_not_settled_are_seen_again():
    thin, (x, y, low, high) = Thin(), readings(MANY)
    thin.update((x, y, low, high), ("linear", "linear"), "s", MANY - 10)
    later = y.copy()
    later[-3] = -500.0
    _, got, *_ = thin.update((x, later, low, high), ("linear", "linear"), "s", MANY)
    assert np.nanmin(got) == -500.0
    later[5] = -600.0
    _, got, *_ = thin.update((x, later, low, high), ("linear", "linear"), "another", MANY)
    assert np.nanmin(got) == -600.0


def test_a_view_from_near_has_every_reading():
    theme.apply(QApplication.instance() or QApplication([]), "light")
    plot = make_plot("scalar", title="Loss", x_label="step", y_label="loss")
    x, y, *_ = readings(200_000)
    values = y[:, None, None].astype(np.float32)
    plot.set_measured("a", Measured(x, values, 0, "", "live", seeds=1, stamp=7, settled=len(x)))
    plot.refresh()
    assert len(plot.lines()[0].x) <= 2 * MANY
    assert plot.content.y[1] == pytest.approx(900.0)
    plot.zoom(100.0, (1000.0, 0.0))
    plot.refresh()
    assert len(plot.lines()[0].x) == len(x)
    plot.follow(True)
    assert len(plot.lines()[0].x) <= 2 * MANY
    assert MOST < MANY
    plot.close()
