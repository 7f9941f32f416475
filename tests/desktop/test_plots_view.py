"""Plots as a person sees them: what is drawn how, what hostile data do, ranges, words and tables."""

import math

import numpy as np
import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.plots import paper
from desktop.plots.base import Measured, PlotView, Theory
from desktop.plots.curves import INVALID_DASHES, THEORY_DASHES
from desktop.plots.marks import Band
from tests.desktop.plotting import lines, measured, plot_maker, shown_labels, trace

KINDS = ("scalar", "modes", "profile", "spectrum", "matrix", "sweep")


@pytest.fixture
def plot(qtbot):
    return plot_maker(qtbot)


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
