"""Plots as a person meets them: what is drawn how, ranges, crosshair, hand and keyboard, words and tables."""

import math

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QContextMenuEvent, QImage, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.plots import paper
from desktop.plots.base import Measured, PlotView, Theory, make_plot
from desktop.plots.curves import INVALID_DASHES, THEORY_DASHES
from desktop.plots.marks import Band, Line, Points

KINDS = ("scalar", "modes", "profile", "spectrum", "matrix", "sweep")


@pytest.fixture
def plot(qtbot):
    theme.apply(QApplication.instance(), "light")

    def make(kind="scalar", **kw):
        given = dict(title="Sharpness", x_label="step", y_label="sharpness λ₁") | kw
        p = make_plot(kind, **given)
        qtbot.addWidget(p)
        p.resize(640, 400)
        with qtbot.waitExposed(p):
            p.show()
        return p

    return make


def trace(steps=50, members=5, k=1, seed=0, start=10.0):
    r = np.random.default_rng(seed)
    x = np.arange(steps, dtype=float) * 10
    values = start + r.normal(size=(steps, members, k)).cumsum(0) / 10
    return x, values


def measured(role="live", colour=0, label="η = 0.1", **kw):
    x, v = trace(**{k: w for k, w in kw.items() if k in ("steps", "members", "k", "seed", "start")})
    rest = {k: w for k, w in kw.items() if k in ("parts", "members_shown")}
    return Measured(x, v, colour, label, role, seeds=v.shape[1], **rest)


def lines(p):
    return [m for m in p.content.marks if isinstance(m, Line)]


def shown_labels(p):
    p.grab()
    return [placed.tag.text for placed in p.layout_memory.placed]


# --- marks ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_plot_waits_quietly(plot, kind):
    p = plot(kind)
    p.refresh()
    p.grab()
    assert p.content.empty
    assert "waiting for the first reading" in p.summary()
    assert p.table()[1] == []
    assert p.accessibleName() == "Sharpness"


def test_measured_is_a_thin_coloured_line_with_a_band(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    (line,) = lines(p)
    (band,) = [m for m in p.content.marks if isinstance(m, Band)]
    assert line.colour == theme.run_colour(0) and line.dashes == ()
    assert line.width == 1 and line.wide_at_rest
    assert band.colour == theme.run_colour(0)
    assert shown_labels(p) == ["measured, 5 seeds, 10–90 %"]
    _, v = trace()
    assert np.array_equal(line.y, np.median(v[:, :, 0], axis=1))
    assert np.array_equal(band.low, np.quantile(v[:, :, 0], 0.1, axis=1))


def test_selected_is_wide_and_a_ghost_is_faint_without_a_band(plot):
    p = plot()
    p.set_measured("1", measured("selected"))
    p.set_measured("2", measured("ghost", 1, "η = 0.05", seed=1))
    p.refresh()
    ghost, selected = lines(p)  # what matters most is painted last
    assert selected.width == 2 and ghost.width == 1
    colour, surface = QColor(theme.tokens().runs[1]), QColor(theme.tokens().surface)
    for channel in ("red", "green", "blue"):
        a, b, g = (getattr(c, channel)() for c in (colour, surface, ghost.colour))
        assert abs(g - (0.35 * a + 0.65 * b)) <= 1
    assert len([m for m in p.content.marks if isinstance(m, Band)]) == 1
    assert "earlier run η = 0.05" in shown_labels(p)


def test_theory_is_dashed_ink_and_dotted_with_its_reason_outside_its_assumptions(plot):
    p = plot()
    p.set_measured("1", measured())
    t = Theory(np.array([0.0, 490.0]), np.full((2, 1), 10.0), "2/η = 20.0", True, "")
    p.set_theory("1", "edge", t)
    p.refresh()
    line = lines(p)[-1]
    assert line.colour == QColor(theme.tokens().text)
    assert line.dashes == THEORY_DASHES and line.width == 1.5
    assert "theory 2/η = 20.0" in shown_labels(p)
    (placed,) = [q for q in p.layout_memory.placed if q.tag.text.startswith("theory")]
    assert placed.rect.right() > p.layout_memory.frame.rect.right() - 20

    p.set_theory("1", "edge", Theory(t.x, t.values, "2/η = 20.0", False, "full batch"))
    p.refresh()
    line = lines(p)[-1]
    assert line.dashes == INVALID_DASHES and line.colour != QColor(theme.tokens().text)
    assert "theory 2/η = 20.0 · needs full batch" in shown_labels(p)
    assert "outside its assumptions: full batch" in p.summary()


def test_theory_that_does_not_depend_on_the_step_spans_the_plot(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_theory("1", "c", Theory(np.array([0.0]), np.array([[12.0]]), "c", True, ""))
    p.refresh()
    assert lines(p)[-1].x.tolist() == [0.0, 490.0]


def test_theory_of_each_member_is_drawn_as_their_median(plot):
    p = plot()
    values = np.array([[[1.0], [2.0], [6.0]], [[2.0], [3.0], [7.0]]])
    p.set_theory("1", "c", Theory(np.array([0.0, 1.0]), values, "c", True, ""))
    p.refresh()
    assert lines(p)[0].y.tolist() == [2.0, 3.0]


def test_after_eight_runs_the_line_style_changes(plot):
    p = plot()
    for k in range(9):
        p.set_measured(str(k), measured("live", k, f"run {k}", seed=k))
    p.refresh()
    dashes = {id(line): line.dashes for line in lines(p)}
    assert len(set(dashes.values())) == 2


def test_modes_are_shades_of_one_colour_labelled_one_by_one(plot):
    p = plot("modes")
    x, v = trace(k=3)
    v += np.array([0.0, 20.0, 40.0])
    p.set_measured("1", Measured(x, v, 0, "", "live", parts=("σ₁", "σ₂", "σ₃"), seeds=5))
    p.refresh()
    assert len({line.colour.name() for line in lines(p)}) == 3
    assert sorted(shown_labels(p)) == ["σ₁, 5 seeds, 10–90 %", "σ₂", "σ₃"]


def test_members_are_drawn_on_demand(plot):
    p = plot()
    p.set_measured("1", measured(members_shown=True))
    p.refresh()
    assert len(lines(p)) == 6


def test_hiding_other_runs_never_changes_a_band(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_measured("2", measured("live", 1, "η = 1", seed=9, start=500.0))
    p.refresh()

    def edges():
        bands = [m for m in p.content.marks if isinstance(m, Band)]
        (mine,) = [b for b in bands if b.colour == theme.run_colour(0)]
        return mine.low, mine.high

    before = edges()
    p.remove("2")
    p.refresh()
    assert all(np.array_equal(a, b) for a, b in zip(before, edges(), strict=True))


def test_events_are_drawn_with_their_words(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    without = p.grab().toImage()
    p.set_events("1", [(250.0, "η 0.05 → 0.10")])
    p.refresh()
    with_ = p.grab().toImage()
    f = p.layout_memory.frame
    px = round(f.px(250.0))
    column = [
        any(with_.pixelColor(x, y) != without.pixelColor(x, y) for x in (px - 1, px, px + 1))
        for y in range(int(f.top), int(f.top + f.height))
    ]
    assert np.mean(column) > 0.8


def test_a_dragged_slider_leaves_one_mark_where_it_came_to(plot, monkeypatch):
    """Hundreds of flags on top of each other would cost a frame and tell nothing."""
    p, said = plot(), []
    write = paper.write
    monkeypatch.setattr(
        paper, "write", lambda q, look, box, text, *more: (said.append(text), write(q, look, box, text, *more))
    )  # fmt: skip
    p.set_measured("1", measured())
    p.set_events("1", [(100 + k / 3, f"η = {k}") for k in range(300)] + [(400.0, "η = alone")])
    p.refresh()
    p.grab()
    assert [t for t in said if t.startswith("η")] == ["η = 299", "η = alone"]


# --- hostile data ---


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "matrix"])
@pytest.mark.parametrize("scales", [("linear", "linear"), ("log", "log")])
@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 3, 1)),
        np.full((1, 3, 1), 5.0),
        np.full((20, 3, 1), 7.0),
        np.zeros((20, 3, 1)),
        np.full((20, 3, 1), -1.0),
        np.full((20, 3, 1), np.nan),
        np.full((20, 3, 1), np.inf),
        np.where(np.arange(60).reshape(20, 3, 1) % 7 == 0, np.nan, 1e300),
        np.geomspace(1e-300, 1e300, 20)[:, None, None] * np.ones((1, 3, 1)),
        np.array([1.0] * 10 + [np.inf] * 10)[:, None, None] * np.ones((1, 3, 1)),
    ],
    ids=["none", "one", "constant", "zero", "negative", "nan", "inf", "huge", "wide", "diverged"],
)
def test_nothing_that_arrives_breaks_a_plot(plot, kind, scales, values):
    p = plot(kind, x_scale=scales[0], y_scale=scales[1])
    x = np.arange(len(values), dtype=float)
    p.set_measured("1", Measured(x, values, 0, "a", "live", seeds=3))
    p.set_theory("1", "t", Theory(x, values[:, 0], "t", True, ""))
    p.refresh()
    p.grab()
    p.set_crosshair(3.0)
    p.grab()
    assert all(math.isfinite(v) for v in p.range)
    assert p.range[0] < p.range[1] and p.range[2] < p.range[3]
    assert p.summary() and p.table()


def test_a_gap_is_a_gap_in_the_picture(plot):
    p = plot()
    y = np.full((100, 1, 1), 3.0)
    y[40:60] = np.nan
    p.set_measured("1", Measured(np.arange(100.0), y, 0, "", "live", seeds=1))
    p.refresh()
    picture, f = p.grab().toImage(), p.layout_memory.frame
    row = round(f.py(3.0))

    def coloured(step):
        x = round(f.px(step))
        near = [picture.pixelColor(x, row + d) for d in (-1, 0, 1)]
        return any(c.saturation() > 100 for c in near)

    assert coloured(20) and coloured(80) and not coloured(50)


def test_rows_may_arrive_before_their_steps_and_unsorted(plot):
    p = plot()
    p.set_measured("1", Measured(np.array([3.0, 1.0, 2.0]), np.array([[[3.0]], [[1.0]], [[2.0]], [[9.0]]]), 0, "", "live"))  # fmt: skip
    p.refresh()
    assert lines(p)[0].x.tolist() == [1, 2, 3] and lines(p)[0].y.tolist() == [1, 2, 3]


def test_step_zero_has_no_place_on_a_log_axis(plot):
    p = plot(x_scale="log")
    p.set_measured("1", measured())
    p.refresh()
    assert len(lines(p)[0].x) == 49 and np.isfinite(lines(p)[0].x).all()


# --- ranges ---


def test_the_view_holds_all_data_and_theory_that_holds(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_theory("1", "a", Theory(np.array([0, 490.0]), np.full((2, 1), 60.0), "a", True, ""))
    p.refresh()
    x0, x1, y0, y1 = p.range
    _, v = trace()
    assert x0 < 0 and x1 > 490 and y1 > 60 and y0 < np.quantile(v, 0.1, axis=1).min()


def test_theory_outside_its_assumptions_does_not_squash_the_data(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_theory("1", "a", Theory(np.array([0, 490.0]), np.array([[0.0], [1e9]]), "a", False, "x"))
    p.refresh()
    assert p.range[3] < 100


def test_the_range_does_not_twitch_while_data_stream_in(plot):
    p = plot()
    x, v = trace(200)
    seen = set()
    for t in range(100, 200, 2):
        p.set_measured("1", Measured(x[:t], v[:t], 0, "", "live", seeds=5))
        p.refresh()
        seen.add(tuple(p.range[2:4]))
        low, high = v[:t].min(), v[:t].max()
        assert p.range[2] <= np.quantile(v[:t, :, 0], 0.1, axis=1).min() and p.range[3] >= np.quantile(v[:t, :, 0], 0.9, axis=1).max(), (low, high)  # fmt: skip
    assert len(seen) < 12  # not a new range for each of the 50 arrivals


def test_set_scale_goes_to_decades_and_back(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    before = list(p.range)
    p.set_scale(y="log")
    assert p.range[3] == pytest.approx(math.log10(12), abs=0.2)
    p.set_scale(y="linear")
    assert p.range == before


def wheel(p, at, notches=1, modifiers=Qt.KeyboardModifier.NoModifier):
    event = QWheelEvent(
        QPointF(at),
        QPointF(p.mapToGlobal(at)),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(p, event)


def test_wheel_zooms_about_the_pointer_and_double_click_fits_again(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.grab()
    whole, changes = list(p.range), []
    p.follow_changed.connect(changes.append)
    at = p.layout_memory.frame.rect.center().toPoint()
    under = p.frame().x_of(at.x())
    wheel(p, at, 3)
    assert not p.following and changes == [False] and p._fit_button.isVisible()
    assert p.range[1] - p.range[0] == pytest.approx((whole[1] - whole[0]) / 1.2**3)
    assert p.range[2:] == whole[2:]
    assert p.frame().x_of(at.x()) == pytest.approx(under)
    p.set_measured("1", measured(steps=80))
    p.refresh()
    assert p.range[1] < 490  # new data do not take the view away
    QTest.mouseDClick(p, Qt.MouseButton.LeftButton, pos=at)
    assert p.following and changes == [False, True] and p.range[1] > 790
    before = list(p.range)
    wheel(p, at, 2, Qt.KeyboardModifier.ControlModifier)
    assert p.range[3] - p.range[2] < before[3] - before[2] and p.range[:2] == before[:2]


def move(p, at, buttons=Qt.MouseButton.NoButton):
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(at),
        QPointF(p.mapToGlobal(at)),
        Qt.MouseButton.NoButton,
        buttons,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(p, event)


def test_dragging_pans(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.grab()
    f, at = p.frame(), p.layout_memory.frame.rect.center().toPoint()
    QTest.mousePress(p, Qt.MouseButton.LeftButton, pos=at)
    move(p, at + QPoint(50, 0), Qt.MouseButton.LeftButton)
    QTest.mouseRelease(p, Qt.MouseButton.LeftButton, pos=at + QPoint(50, 0))
    assert p.range[0] == pytest.approx(f.x0 - 50 * (f.x1 - f.x0) / f.width)


# --- crosshair ---


def test_the_crosshair_goes_by_mouse_to_the_nearest_reading_and_leaves(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.grab()
    heard = []
    p.crosshair_moved.connect(heard.append)
    f = p.layout_memory.frame
    move(p, QPoint(round(f.px(253.0)), int(f.top + 30)))
    assert heard == [250.0] and p.crosshair.x == 250.0
    QApplication.sendEvent(p, QEvent(QEvent.Type.Leave))
    assert p.crosshair.x is None and len(heard) == 2 and math.isnan(heard[1])


def test_the_crosshair_goes_by_key_from_reading_to_reading(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.setFocus()
    heard = []
    p.crosshair_moved.connect(heard.append)
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        QTest.keyClick(p, key)
    QTest.keyClick(p, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(p, Qt.Key.Key_End)
    QTest.keyClick(p, Qt.Key.Key_Right)  # nowhere to go
    assert heard == [0.0, 10.0, 20.0, 10.0, 110.0, 490.0]
    _, v = trace()
    said = float(np.median(v[-1, :, 0]))
    assert f"step 490; η = 0.1 {said:.3f}" in p.accessibleDescription()
    QApplication.sendEvent(p, QEvent(QEvent.Type.Leave))
    assert p.crosshair.x == 490.0  # put there by key, it stays
    QTest.keyClick(p, Qt.Key.Key_Escape)
    assert p.crosshair.x is None


def test_the_crosshair_of_another_plot_is_silent(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    heard = []
    p.crosshair_moved.connect(heard.append)
    p.set_crosshair(120.0)
    assert p.crosshair.x == 120.0 and heard == []
    p.set_crosshair(math.nan)
    assert p.crosshair.x is None


def test_readings_give_value_and_theory(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_theory("1", "t", Theory(np.array([0.0, 490.0]), np.array([[0.0], [49.0]]), "t", True, ""))
    p.refresh()
    (r,) = p.readings(120.0)
    _, v = trace()
    assert r.value == np.median(v[12, :, 0]) and r.theory == pytest.approx(12.0)


def test_the_menu_is_asked_for_by_mouse_and_by_key(plot):
    p = plot()
    heard = []
    p.menu_requested.connect(lambda: heard.append(p.menu_position()))
    at = QPoint(30, 40)
    QApplication.sendEvent(
        p, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, p.mapToGlobal(at))
    )
    QApplication.sendEvent(
        p, QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, at, p.mapToGlobal(at))
    )
    assert heard == [p.mapToGlobal(at), p.mapToGlobal(p.rect().center())]


# --- tables and words ---


def test_the_table_has_every_reading_of_every_run(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_measured("2", measured("ghost", 1, "η = 0.05", steps=30, seed=3))
    p.set_theory("1", "t", Theory(np.array([0.0, 5.0]), np.array([[1.0], [2.0]]), "2/η", True, ""))
    p.refresh()
    headers, rows = p.table()
    assert headers == [
        "step",
        "η = 0.1 median",
        "η = 0.1 10 %",
        "η = 0.1 90 %",
        "η = 0.05 median",
        "η = 0.05 10 %",
        "η = 0.05 90 %",
        "theory η = 0.1 2/η",
    ]
    by_step = {row[0]: row[1:] for row in rows}
    assert len(by_step) == 51  # 50 steps, and theory's own at 5
    _, v = trace()
    assert by_step[120.0][0] == np.median(v[12, :, 0])
    assert by_step[400.0][3] is None and by_step[5.0][:3] == [None] * 3 and by_step[5.0][-1] == 2.0


def test_the_summary_is_spoken(plot):
    p = plot()
    x = np.array([0.0, 10.0, 20.0])
    p.set_measured("1", Measured(x, np.array([[[1.0]], [[5.0]], [[4.0]]]), 0, "η = 0.1", "live"))
    p.set_theory("1", "t", Theory(x, np.full((3, 1), 2.0), "2/η", True, ""))
    p.refresh()
    assert p.accessibleDescription() == (
        "Sharpness: sharpness λ₁ against step, η = 0.1, 1 seed; from 1.000 at 0 to 4.000 at 20, between 1.000 and "
        "5.000; theory 2/η, measured over theory 2.000."
    )


def test_refresh_without_news_builds_nothing(plot, monkeypatch):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    monkeypatch.setattr(PlotView, "build", None)
    monkeypatch.setattr(type(p), "build", None)
    p.refresh()


def test_the_theme_recolours_what_is_drawn(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    light = lines(p)[0].colour.name()
    theme.apply(QApplication.instance(), "dark")
    assert lines(p)[0].colour.name() != light
    corner = p.grab().toImage().pixelColor(2, 2)
    assert corner == QColor(theme.tokens().surface)
    theme.apply(QApplication.instance(), "light")


# --- profile, histogram, matrix, sweep ---


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
