"""What plots draw from: decimation, quantiles over seeds, ticks and numbers, places of labels, pixels of lines."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor

from desktop.plots import axes
from desktop.plots.decimate import decimate, envelope, runs_of_finite
from desktop.plots.geometry import clipped, dashed, polygon
from desktop.plots.labels import Tag, place
from desktop.plots.seeds import Summary, quantiles

# --- decimation ---


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_at_most_two_points_a_column_and_every_extreme_kept(n, pixels, seed):
    r = np.random.default_rng(seed)
    x = np.cumsum(r.random(n) + 1e-3)
    y = r.normal(size=n)
    xd, yd = decimate(x, y, x[0], x[-1], pixels)
    assert len(xd) == len(yd) <= max(2 * pixels, 2 * (pixels + 1) + 2)
    assert np.all(np.diff(xd) >= 0)
    assert (xd[0], yd[0]) == (x[0], y[0]) and (xd[-1], yd[-1]) == (x[-1], y[-1])
    assert yd.min() == y.min() and yd.max() == y.max()
    assert set(yd) <= set(y)  # never a value that was not measured


@given(st.integers(0, 999_999), st.floats(0.0, 0.9), st.floats(0.05, 1.0))
@settings(max_examples=25, deadline=None)
def test_a_one_sample_spike_in_a_million_survives_any_zoom(where, start, width):
    x = np.arange(1_000_000.0)
    y = np.zeros(1_000_000)
    y[where] = 7.0
    low, high = start * 1e6, min(1.0, start + width) * 1e6
    xd, yd = decimate(x, y, low, high, 900)
    if low <= where <= high:
        assert yd.max() == 7.0
        at = xd[int(np.argmax(yd))]
        assert abs(at - where) <= (high - low) / 900  # in its own pixel column


def test_gaps_stay_gaps():
    x = np.arange(10_000.0)
    y = np.ones(10_000)
    y[3000:5000] = np.nan
    xd, yd = decimate(x, y, 0, 1e4, 500)
    pieces = runs_of_finite(xd, yd)
    assert len(pieces) == 2
    assert xd[pieces[0]].max() < 3020 and xd[pieces[1]].min() > 4980


def test_a_band_is_drawn_as_wide_as_it_ever_is():
    x = np.arange(10_000.0)
    r = np.random.default_rng(0)
    low, high = -r.random(10_000), r.random(10_000)
    xd, a, b = envelope(x, low, high, 0, 1e4, 300)
    assert a.min() == low.min() and b.max() == high.max()
    assert (xd[0], xd[-1]) == (0, 9999) and np.all(a <= b)


def test_only_what_is_in_view_and_one_point_beyond_on_either_side():
    x = np.arange(100.0)
    xd, _ = decimate(x, x, 20.5, 30.5, 900)
    assert xd.tolist() == list(range(20, 32))


# --- seeds ---


@given(st.integers(1, 7), st.integers(0, 2**32 - 1), st.floats(0, 0.5))
def test_quantiles_are_numpys(members, seed, missing):
    r = np.random.default_rng(seed)
    values = r.normal(size=(20, members, 3))
    values[r.random(values.shape) < missing] = np.nan
    got = quantiles(values)
    for q, mine in zip((0.5, 0.1, 0.9), got, strict=True):
        for t in range(20):
            for k in range(3):
                column = values[t, :, k]
                column = column[np.isfinite(column)]
                want = np.quantile(column, q) if len(column) else np.nan
                assert mine[t, k] == pytest.approx(want, nan_ok=True, rel=1e-12, abs=1e-14)


def test_a_diverged_seed_is_left_out_of_the_band():
    values = np.array([[1.0, 2.0, 3.0, np.inf], [1.0, np.nan, np.nan, np.nan]])[:, :, None]
    median, low, high = quantiles(values)
    assert median[:, 0].tolist() == [2.0, 1.0]
    assert np.isfinite(low).all() and np.isfinite(high).all()


def test_the_band_covers_what_it_says():
    """Of many draws of a known process, 80 % lie between its own 10 % and 90 % quantiles."""
    r = np.random.default_rng(5)
    _, low, high = quantiles(r.normal(size=(50, 2000, 1)))
    fresh = r.normal(size=(50, 2000))
    inside = ((fresh >= low) & (fresh <= high)).mean()
    assert inside == pytest.approx(0.8, abs=0.01)  # standard error 0.0013 from the draws


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_growing_arrays_give_what_whole_ones_give(parts, seed):
    r = np.random.default_rng(seed)
    values = r.normal(size=(sum(parts), 4, 2))
    s, at = Summary(), 0
    for part in parts:
        at += part
        s.update(values[:at])
    for mine, whole in zip((s.median, s.low, s.high), quantiles(values), strict=True):
        assert np.array_equal(mine, whole)


def test_a_reading_that_fills_in_late_is_noticed():
    values = np.full((6, 3, 1), np.nan)
    values[:, 0] = 1.0
    s = Summary()
    s.update(values)
    values[2, 1] = 5.0
    s.update(values)
    assert s.median[2, 0] == 3.0


# --- axes ---


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9), st.integers(2, 6))
def test_linear_ticks_are_few_inside_round_and_distinct(low, span, most):
    high = low + span
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-9):
        return  # a span below rounding has no ticks worth the name
    t = axes.linear_ticks(low, high, most)
    assert len(t.places) <= axes.MOST  # more than `most` only where that would leave a single one
    assert all(low - 1e-6 * span <= p <= high + 1e-6 * span for p in t.places)
    assert len(t.places) >= 2  # one number tells no scale
    steps = np.diff(t.places)
    assert len(steps) == 0 or np.ptp(steps) < 1e-6 * span


@given(st.floats(-12, 12), st.floats(0.01, 20), st.integers(2, 6))
def test_log_ticks_are_few_inside_and_labelled_truly(low, span, most):
    t = axes.log_ticks(low, low + span, most)
    assert len(t.places) <= axes.MOST  # more than `most` only where that would leave a single one
    assert all(low - 1e-6 <= p <= low + span + 1e-6 for p in t.places)
    assert len(set(t.labels)) == len(t.labels)


@pytest.mark.parametrize(
    ("low", "high", "scale", "labels"),
    [
        (0, 3000, "linear", ["0", "1000", "2000", "3000"]),
        (0, 1, "linear", ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-6, 0, "log", ["10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]),
        (-2, 2, "log", ["0.01", "0.1", "1", "10", "100"]),
        (0, 1, "log", ["1", "10"]),
        (0, 3e6, "linear", ["0", "10⁶", "2×10⁶", "3×10⁶"]),
        (0, 2.5e-4, "linear", ["0", "5×10⁻⁵", "10⁻⁴", "1.5×10⁻⁴", "2×10⁻⁴", "2.5×10⁻⁴"]),
        (-1, 1, "linear", ["−1.0", "−0.5", "0", "0.5", "1.0"]),
    ],
)
def test_labels_are_what_a_person_would_write(low, high, scale, labels):
    assert list(axes.ticks(low, high, scale).labels) == labels


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_never_read_as_zero_unless_they_are(value):
    for text in (axes.format_reading(value), axes.format_exact(value)):
        digits = text.split("×")[0].replace("−", "-")
        assert (float(digits) == 0) == (value == 0), text


def test_readings():
    say = axes.format_reading
    assert [say(v) for v in (20.7312, 0.00012349, 1.5e7, -3.0, 0.0)] == [
        "20.73",
        "1.235×10⁻⁴",
        "1.5×10⁷",
        "−3.000",
        "0",
    ]
    assert say(math.nan) == "–" and say(-math.inf) == "−∞"
    assert axes.format_exact(412.0) == "412" and axes.format_exact(3e-7) == "3×10⁻⁷"


def test_axis_coordinates_drop_what_a_log_axis_cannot_show():
    got = axes.to_axis([100.0, 0.0, -1.0, np.inf, np.nan, 1e-300], "log")
    assert got[0] == 2 and np.isnan(got[1:5]).all() and got[5] == pytest.approx(-300)
    assert np.isnan(axes.to_axis([np.inf], "linear")).all()
    assert axes.from_axis(400.0, "log") < math.inf


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_range_always_has_a_width(low, span):
    a, b = axes.padded(low, low + span)
    assert a < b and a <= low and b >= low + span


# --- lines in pixels ---


def test_polygon_copies_every_point(qapp):
    r = np.random.default_rng(0)
    x, y = r.normal(size=257), r.normal(size=257)
    shape = polygon(x, y)
    assert [(shape.at(k).x(), shape.at(k).y()) for k in range(257)] == list(zip(x, y, strict=True))


def test_dashes_have_their_length_and_lie_on_the_line():
    x = np.linspace(0, 200, 41)
    segments = dashed(x, np.full(41, 7.0), (6.0, 4.0))
    drawn = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1]).sum()
    assert drawn == pytest.approx(120)
    assert set(segments[:, [1, 3]].ravel()) == {7.0}
    middle = 0.5 * (segments[:, 0] + segments[:, 2]) % 10
    assert (middle < 6).all()


def test_dashes_survive_a_ragged_line():
    """Measured along a curve as long as this, dashes would be dust: they are measured along x."""
    r = np.random.default_rng(0)
    x = np.linspace(0, 900, 1800)
    segments = dashed(x, 300 + 100 * r.normal(size=1800), (6.0, 4.0))
    assert 0.55 < len(segments) / 1799 < 0.75


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_clipping_keeps_exactly_what_is_inside(n, seed):
    r = np.random.default_rng(seed)
    x, y = r.uniform(-50, 150, n), r.uniform(-50, 150, n)
    box = QRectF(0, 0, 100, 100)
    parts = clipped(x, y, box)
    for px, py in parts:
        assert px.min() >= -1e-9 and px.max() <= 100 + 1e-9
        assert py.min() >= -1e-9 and py.max() <= 100 + 1e-9
    # the length inside, by sampling each segment finely
    t = np.linspace(0, 1, 4001)[:, None]
    sx, sy = x[:-1] + t * np.diff(x), y[:-1] + t * np.diff(y)
    inside = ((sx >= 0) & (sx <= 100) & (sy >= 0) & (sy <= 100)).mean(axis=0)
    want = (inside * np.hypot(np.diff(x), np.diff(y))).sum()
    got = sum(np.hypot(np.diff(px), np.diff(py)).sum() for px, py in parts)
    assert got == pytest.approx(want, abs=0.1 * n)  # 300 / 4000 a segment at most


# --- labels ---


def curve(y):
    x = np.linspace(0, 400, 101)
    return [(x, np.broadcast_to(np.asarray(y, float), x.shape))]


@given(st.lists(st.floats(10, 190), min_size=1, max_size=8))
def test_labels_never_overlap_and_stay_inside(heights):
    tags = [Tag(f"{k}", "label", QColor("black"), curve(h)) for k, h in enumerate(heights)]
    area = QRectF(0, 0, 400, 200)
    placed, _ = place(tags, [(90.0, 14.0)] * len(tags), area, {})
    for p in placed:
        assert area.contains(p.rect)
    for a, p in enumerate(placed):
        for q in placed[a + 1 :]:
            assert not p.rect.intersects(q.rect)


def test_a_label_covers_no_curve_where_there_is_room():
    flat, other = curve(100), curve(85)
    placed, _ = place(
        [Tag("a", "a", QColor("black"), flat)],
        [(80.0, 14.0)],
        QRectF(0, 0, 400, 200),
        {},
        others=[other],
    )
    (p,) = placed
    assert p.rect.top() > 100  # above lies the other curve


def test_a_label_stays_where_it_was_while_that_is_about_as_good():
    x = np.linspace(0, 400, 101)
    tags = [Tag("a", "a", QColor("black"), [(x, np.full(101, 100.0))])]
    first, kept = place(tags, [(80.0, 14.0)], QRectF(0, 0, 400, 200), {})
    wiggle = [Tag("a", "a", QColor("black"), [(x, 100 + 2 * np.sin(x / 9))])]
    second, again = place(wiggle, [(80.0, 14.0)], QRectF(0, 0, 400, 200), kept)
    assert again == kept and first[0].rect.left() == second[0].rect.left()


def test_a_curve_out_of_view_has_no_label():
    tags = [Tag("a", "a", QColor("black"), curve(900))]
    assert place(tags, [(80.0, 14.0)], QRectF(0, 0, 400, 200), {})[0] == []


def test_theory_is_labelled_at_its_right_end():
    tags = [Tag("t", "t", QColor("black"), curve(100), at_end=True)]
    (p,), _ = place(tags, [(80.0, 14.0)], QRectF(0, 0, 400, 200), {})
    assert p.rect.right() > 395


def test_a_stamped_summary_looks_at_new_rows_only():
    r = np.random.default_rng(1)
    values = r.normal(size=(50, 4, 2))
    values[40:, 2] = np.nan  # a member that is late
    s, plain = Summary(), Summary()
    s.update(values[:45], "a", 40)
    late = values.copy()
    late[40:] = r.normal(size=(10, 4, 2))
    late[:40] = 7.0  # under the same stamp the first 40 rows are not looked at again
    s.update(late, "a", 50)
    plain.update(np.concatenate([values[:40], late[40:]]))
    assert np.array_equal(s.median, plain.median) and np.array_equal(s.high, plain.high)
    s.update(late, "b", 50)
    plain.update(late)
    assert np.array_equal(s.low, plain.low)
    s.update(values)  # no stamp: compared, as ever
    plain.update(values)
    assert np.array_equal(s.median, plain.median, equal_nan=True)
