import numpy as np
import pytest

from desktop import series
from desktop.panels.board import LEAST, Cell, SmallPlots
from desktop.plots.base import make_plot
from desktop.runs import Run
from desktop.store import Store
from desktop.theories import imagined, theories
from engine.messages import Changed, Predicted, Rows, Start, ViewCard
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


def store_of(*messages):
    store = Store()
    store.apply(fake.catalogue())
    for m in messages:
        store.apply(m)
    return store


def drawn(store, run, view, current=True):
    return series.draw(store.runs[run], fake.card(), view, current).measured


VIEW = fake.card().views


def test_seeds_are_members_and_a_sweep_has_one_curve_for_each_setting():
    start = Start("a", "stability/cardboard", sweep={"width": [16, 64]}, seeds=2)
    store = store_of(*fake.stream("a", start))
    assert [tuple(s) for s in series.settings(store.runs["a"])] == [
        (0, 2, {"width": 16}), (2, 2, {"width": 64}),
    ]  # fmt: skip
    (m,) = drawn(store, "a", VIEW[0]).values()
    assert m.values.shape == (41, 2, 2)
    assert m.parts == ("width = 16", "width = 64")
    np.testing.assert_allclose(
        m.values[:, :, 1] - m.values[:, :, 0], 2.0, atol=1e-5
    )  # fake adds `first`


def test_stacks_that_lag_behind_leave_gaps_not_errors():
    start = Start("a", "stability/cardboard", sweep={"width": [16, 64]}, seeds=2)
    store = store_of(
        fake.started("a", start), fake.rows("a", "sharpness", range(0, 100, 5), 0, 2),
        fake.rows("a", "sharpness", range(0, 30, 5), 2, 2),
    )  # fmt: skip
    (m,) = drawn(store, "a", VIEW[0]).values()
    assert len(m.x) == 20
    assert np.isfinite(m.values[:6]).all()
    assert np.isnan(m.values[6:, :, 1]).all() and np.isfinite(m.values[6:, :, 0]).all()


def test_stacks_with_other_steps_become_curves_of_their_own():
    start = Start("a", "stability/cardboard", sweep={"width": [16, 64]}, seeds=2)
    store = store_of(
        fake.started("a", start), fake.rows("a", "sharpness", [0, 5, 10], 0, 2), fake.rows("a", "sharpness", [0, 7, 14], 2, 2)
    )  # fmt: skip
    assert [m.x.tolist() for m in drawn(store, "a", VIEW[0]).values()] == [[0, 5, 10], [0, 7, 14]]


def test_modes_are_named_by_their_parts():
    (m,) = drawn(store_of(*fake.stream("a")), "a", VIEW[2]).values()
    assert m.parts == ("first", "second")
    assert m.values.shape == (41, 3, 2)


def test_a_profile_is_drawn_over_its_coordinates_at_the_last_reading():
    coords = np.linspace(-1, 1, 7)
    values = np.arange(2 * 3 * 7, dtype=float).reshape(2, 3, 7)
    store = store_of(fake.started("a"), Rows("a", "density", 0, np.array([0, 5]), values, coords))
    (m,) = drawn(store, "a", ViewCard(("density",), "", "linear", "")).values()
    np.testing.assert_array_equal(m.x, coords)
    np.testing.assert_array_equal(m.values[:, :, 0], values[-1].T)
    p = Predicted(
        "a",
        "density",
        "density",
        0,
        np.array([0, 5]),
        np.stack([np.zeros((1, 7)), np.ones((1, 7))]),
        text="ρ",
        count=3,
    )
    (t,) = theories(
        [p], fake.card(), ViewCard(("density",), "", "linear", ""), store.runs["a"]
    ).values()
    np.testing.assert_array_equal(t.values.ravel(), 1)  # the row of the last reading


def test_an_exponent_is_a_guide_not_a_curve():
    card = fake.card(
        predictions=(
            fake.card()
            .predictions[0]
            .__class__("slope", "sharpness", "n⁻¹", "paper", "hp", "", (), "width"),
        )
    )
    p = Predicted(
        "a", "slope", "sharpness", 0, np.array([0]), np.array([[-1.0]]), text="n⁻¹", count=3
    )
    view = VIEW[3]
    (t,) = theories([p], card, view, Run("a")).values()
    assert (t.kind, t.exponent, t.label) == ("exponent", -1.0, "n⁻¹")
    assert theories([p], card, VIEW[0], Run("a")) == {}  # nothing to draw over steps


def test_the_same_line_for_several_settings_is_drawn_once():
    start = Start("a", "stability/cardboard", sweep={"width": [16, 64, 256]}, seeds=3)
    run = store_of(fake.started("a", start)).runs["a"]
    a = fake.predicted("a", 20.0)
    b = Predicted("a", "threshold", "sharpness", 3, a.steps, a.values, text=a.text, count=3)
    c = Predicted("a", "threshold", "sharpness", 6, a.steps, a.values / 2, text="2/η = 10", count=3)
    assert len(theories([a, b, c], fake.card(), VIEW[0], run)) == 2


def test_a_sliders_movement_is_one_mark_at_its_end():
    run = Run("a", steps=1000)
    run.changes = [
        Changed("a", s, "lr", v) for s, v in ((100, 0.2), (104, 0.3), (110, 0.4), (500, 0.1))
    ]
    run.changes += [Changed("a", 110, "lr", 0.4, first=3)]  # another stack says it again
    assert series.events(run, fake.card()) == [(110.0, "η = 0.4"), (500.0, "η = 0.1")]


@pytest.mark.parametrize(
    ("n", "width", "columns"), [(3, 1000, 3), (3, 700, 2), (3, 320, 1), (2, 700, 2), (1, 300, 1)]
)
def test_small_plots_share_tabs_before_they_shrink(qtbot, n, width, columns):
    plots = [make_plot("scalar", title=str(i), x_label="x", y_label="y") for i in range(n)]
    cells = [Cell(plot, VIEW[0]) for plot in plots]
    small = SmallPlots()
    qtbot.addWidget(small)
    small.resize(width, 260)
    small.set_cells(cells)
    small.show()
    assert small._columns == columns
    assert small._tabs.count() == (n - columns + 1 if columns < n else 0)
    assert all(c.width() >= min(LEAST, width) - 20 for c in cells if c.isVisible())


def test_a_deleted_run_leaves_the_plots_and_undo_brings_it_back(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    for m in fake.stream("other"):
        window.link.say(m)
    window.store.select("other")
    settle(window)
    plot = window.board.cells[0].plot
    assert any(k.startswith("other/") for k in plot.measured)
    window.store.delete("other")
    settle(window)
    assert not any(k.startswith("other/") for k in plot.measured)
    window.store.history.undo()
    settle(window)
    assert any(k.startswith("other/") for k in plot.measured)


def test_hiding_other_runs_changes_no_band(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    run = window.store.current
    for m in [*fake.stream(run)[2:], *fake.stream("b"), *fake.stream("c")]:
        window.link.say(m)
    settle(window)
    plot = window.board.cells[0].plot
    before = plot.measured[f"{run}/0"].values.copy()
    window.store.set_hidden("b", True)
    window.store.delete("c")
    settle(window)
    np.testing.assert_array_equal(plot.measured[f"{run}/0"].values, before)


def sweep_run(**sweep):
    return store_of(
        fake.started("a", Start("a", "stability/cardboard", sweep=sweep, seeds=3))
    ).runs["a"]


def test_theory_drawn_from_a_stack_is_told_apart_by_setting():
    """One stack of two learning rates, three seeds each: a line a setting, never a median over both."""
    run = sweep_run(lr=[0.1, 0.2])
    values = np.broadcast_to(np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]), (2, 6))
    p = Predicted("a", "threshold", "sharpness", 0, np.array([0, 100]), values, text="λ", count=6)
    first, second = theories([p], fake.card(), VIEW[0], run).values()
    assert first.values[0, :, 0].tolist() == [1, 2, 3]
    assert second.values[0, :, 0].tolist() == [10, 20, 30]


def test_theory_is_drawn_for_the_settings_that_are_drawn_and_no_others():
    run = sweep_run(lr=[0.01 * i for i in range(1, 31)])
    parts = [
        Predicted(
            "a",
            "threshold",
            "sharpness",
            3 * i,
            np.array([0, 100]),
            np.full((2, 1), float(i)),
            text="λ",
            count=3,
        )
        for i in range(30)
    ]
    drawn_ = [float(t.values.flat[0]) for t in theories(parts, fake.card(), VIEW[0], run).values()]
    assert len(drawn_) == series.MOST_CURVES
    assert (drawn_[0], drawn_[-1]) == (0.0, 29.0)


def test_an_answer_for_a_sweep_is_drawn_over_the_swept_knob():
    asked = imagined(fake.card(), {"width": [16, 64, 256]}, None)
    parts = [
        Predicted(
            "?1",
            "threshold",
            "sharpness",
            i,
            np.array([0, 100]),
            np.full((2, 1), v),
            text="2/η = 3",
            count=1,
        )
        for i, v in enumerate((4.0, 2.0, 1.0))
    ]
    (t,) = theories(parts, fake.card(), VIEW[3], asked).values()
    assert t.x.tolist() == [16, 64, 256]
    assert t.values.ravel().tolist() == [4, 2, 1]
    assert t.label == "2/η"


def test_the_imagined_runs_members_stand_in_the_engines_order():
    from engine import catalogue
    from engine.running.members import plan

    for name in catalogue.load()[0]:
        ex = catalogue.get(name)
        card = catalogue.card(ex)
        numeric = [k for k in card.knobs if k.kind != "choice" and k.name != "steps"]
        real = [k for k in numeric if k.kind == "real"][:1]
        whole = [k for k in numeric if k.kind == "int"][:1]
        sweep = {k.name: [k.low, k.high] for k in (*real, *whole)}
        sweep = {
            k: [int(v) for v in vs] if k in [w.name for w in whole] else vs
            for k, vs in sweep.items()
        }
        try:
            p = plan(ex, sweep=sweep, seeds=1)
        except ValueError:
            continue
        ours = imagined(card, sweep, None).members
        for knob in sweep:
            np.testing.assert_array_equal(ours[knob], p.table[knob], err_msg=f"{name} {knob}")
