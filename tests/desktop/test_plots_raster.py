"""Ragged curves as pixels: what they cover is what a stroke would cover, in order, with gaps and at any scale."""

import numpy as np
import pytest
from PySide6.QtGui import QColor, QImage, QPainter

from desktop.plots import marks, raster
from desktop.plots.geometry import Frame, Quality
from desktop.plots.marks import Band, Line

RED, BLUE = QColor("#c00000"), QColor("#0000c0")
FRAME = Frame(10, 10, 100, 80, 0, 1000, -4, 4)


def picture(drawn, ratio=1, quality=None, frame=FRAME):
    image = QImage(120 * ratio, 100 * ratio, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(QColor("white"))
    p = QPainter(image)
    raster.paint(p, frame, quality or Quality(fine=False, ratio=ratio), drawn)
    p.end()
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(100 * ratio, 120 * ratio, 4)
    return raw[..., 2::-1].astype(int)


def covered(rgb):
    return (rgb != 255).any(axis=-1)


def noise(seed=0, n=1000):
    return np.random.default_rng(seed).normal(size=n)


@pytest.fixture
def strokes(monkeypatch):
    """The same marks by Qt's strokes: what pixels are measured against."""

    def off():
        monkeypatch.setattr(marks.Line, "spans", lambda *_: None)
        monkeypatch.setattr(marks.Band, "spans", lambda *_: None)

    return off


def rows_of(x, y, ratio):
    """For each device column the topmost and the lowest place of the curve: at its corners and on either side of
    where it passes from column to column."""
    passes = np.arange(1, 100 * ratio) * 10 / ratio
    fine = np.sort(np.concatenate([x, passes - 1e-9, passes + 1e-9]))
    px = FRAME.px(fine) * ratio
    py = FRAME.py(np.interp(fine, x, y)) * ratio
    columns = px.astype(int)
    inside = (columns >= 0) & (columns < 120 * ratio)
    top, bottom = np.full(120 * ratio, np.inf), np.full(120 * ratio, -np.inf)
    np.minimum.at(top, columns[inside], py[inside])
    np.maximum.at(bottom, columns[inside], py[inside])
    return top, bottom


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("n", [400, 1000, 5000])
def test_noise_covers_the_whole_curve_and_nothing_else(ratio, n):
    x, y = np.linspace(0, 1000, n), np.clip(noise(n, n), -3.5, 3.5)
    grid, moving = raster.Grid.of(FRAME, ratio), Quality(fine=False, ratio=ratio)
    assert Line(x, y, RED).spans(FRAME, moving, grid) is not None
    ours = covered(picture([Line(x, y, RED)], ratio))
    top, bottom = rows_of(x, y, ratio)
    half = 0.5 * ratio
    for c in range(11 * ratio, 109 * ratio):
        rows = np.flatnonzero(ours[:, c])
        assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))
        assert rows[0] <= top[c] and rows[-1] + 1 >= bottom[c]
        near = slice(c - ratio // 2, c + ratio // 2 + 1)  # as far as the line is wide
        assert rows[0] >= top[near].min() - half - 0.6
        assert rows[-1] + 1 <= bottom[near].max() + half + 0.6


def test_no_column_is_left_out():
    """Columns and readings beat against each other; a curve has no holes for that."""
    for n in (900, 1000, 1037, 3000):
        x, y = np.linspace(0, 1000, n), noise(n, n)
        columns = covered(picture([Line(x, y, RED)]))[:, 11:109].sum(axis=0)
        assert columns.min() >= 10, n


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_band_covers_what_its_polygon_covers(strokes, ratio):
    x = np.arange(1000.0)
    low, high = np.sin(x / 80) - 1, np.sin(x / 80) + 1
    ours = picture([Band(x, low, high, RED)], ratio)
    strokes()
    theirs = picture([Band(x, low, high, RED)], ratio)
    assert (covered(ours) == covered(theirs)).mean() > 0.98
    middle = (50 * ratio, 60 * ratio)
    assert np.abs(ours[middle] - theirs[middle]).max() <= 1


def test_later_marks_lie_on_top():
    x, y = np.arange(1000.0), noise()
    both = [Line(x, y, RED), Line(x, y, BLUE)]
    rgb = picture(both)
    assert (rgb[covered(rgb)] == [0, 0, 0xC0]).all()
    rgb = picture(both[::-1])
    assert (rgb[covered(rgb)] == [0xC0, 0, 0]).all()


def test_bands_shine_through_each_other():
    x, one = np.arange(1000.0), np.ones(1000)
    rgb = picture([Band(x, -one, one, RED, 0.5), Band(x, -2 * one, one, BLUE, 0.5)])
    a, b = np.array([0xC0, 0, 0]), np.array([0, 0, 0xC0])
    mixed = 0.5 * b + 0.5 * (0.5 * a + 0.5 * 255)
    assert np.abs(rgb[50, 60] - mixed).max() <= 2
    assert np.abs(rgb[68, 60] - (0.5 * b + 0.5 * 255)).max() <= 2


def test_more_marks_than_a_table_holds():
    x, one = np.arange(1000.0), np.ones(1000)
    n = raster.MOST + 3
    bands = [Band(x, (k - 8) * 0.4 * one, (k - 7.5) * 0.4 * one, RED, 1.0) for k in range(n)]
    edges = np.diff(covered(picture(bands))[:, 60].astype(int))
    assert (edges == 1).sum() == n


def test_gaps_stay_gaps():
    x, y = np.arange(1000.0), noise()
    y[400:600] = np.nan
    part = covered(picture([Line(x, y, RED)]))
    assert not part[:, 52:68].any()
    assert part[:, 20:48].any(axis=0).all() and part[:, 72:100].any(axis=0).all()
    low = np.where(np.isnan(y), np.nan, -1.0)
    part = covered(picture([Band(x, low, np.ones(1000), RED)]))
    assert not part[:, 52:68].any() and part[50, 72:100].all()


def test_what_is_far_outside_is_cut_off():
    x, y = np.arange(1000.0), noise() * 1e9
    with np.errstate(all="raise"):
        part = covered(picture([Line(x, y, RED)]))
    assert part[10:90, 20:100].mean() > 0.9
    above = covered(picture([Band(x, np.full(1000, 1e6), np.full(1000, 1e7), RED)]))
    assert not above.any()
    assert not covered(picture([Line(x + 5000, noise(), RED)]))[:, :105].any()


def test_at_rest_edges_are_smooth():
    x, y = np.arange(1000.0), noise()
    moving = picture([Line(x, y, RED)])
    still = picture([Line(x, y, RED)], quality=Quality(fine=True))
    shades = len(np.unique(moving.reshape(-1, 3), axis=0))
    assert shades == 2
    assert len(np.unique(still.reshape(-1, 3), axis=0)) > shades
    assert abs(covered(moving).mean() - (255 - still[..., 1]).mean() / 255) < 0.1


def test_calm_curves_and_dashes_are_stroked():
    x = np.arange(1000.0)
    grid = raster.Grid.of(FRAME, 1)
    moving = Quality(fine=False)
    assert Line(x, np.sin(x / 50), RED).spans(FRAME, moving, grid) is None
    assert Line(x, noise(), RED, dashes=(4.0, 2.0)).spans(FRAME, moving, grid) is None
    assert Band(x, x * 0 - 1, x * 0 + 1, RED).spans(FRAME, Quality(fine=True), grid) is None


def test_nothing_to_draw_is_no_error():
    x = np.arange(1000.0)
    none = np.full(1000, np.nan)
    assert not covered(picture([Band(x, none, none, RED), Band(x[:0], x[:0], x[:0], RED)])).any()
