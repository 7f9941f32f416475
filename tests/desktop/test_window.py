"""The window with a cardboard engine: what it says, asks for and shows as runs and values change."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt

import desktop.window
from engine.messages import (
    Changed,
    Control,
    Opened,
    Predict,
    Refused,
    Saved,
    Start,
    Status,
)
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


def test_what_is_tested_is_what_stands_here():
    """An `__init__.py` beside this file would make `desktop` this folder, and an installed window the one that is tested."""
    assert Path(desktop.window.__file__) == Path(__file__).parents[2] / "desktop" / "window.py"


def test_before_the_engine_answers_the_window_says_that_it_is_warming_up(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path, catalogue=False)
    assert window.board.empty.isVisible()
    assert "warming up" in window.board.empty.text()
    assert window.gallery.waiting.isVisible()
    assert window.link.of(Start) == []


def test_the_first_launch_starts_a_run_at_once(window):
    (start,) = window.link.of(Start)
    assert start.experiment == "stability/cardboard" or start.experiment in window.store.cards
    assert start.values["lr"] == 0.1
    assert window.store.run().state == "running"
    assert not window.store.modified  # nobody asked for this run


def test_the_default_experiment_goes_first(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path, catalogue=False)
    edge = fake.card("stability/edge_of_stability")
    cards = fake.catalogue()
    window.link.say(type(cards)((*cards.cards, edge), ("cpu",)))
    assert window.link.of(Start)[-1].experiment == "stability/edge_of_stability"


def test_readings_theory_and_verdict_reach_the_screen(window):
    run = window.store.current
    for m in fake.stream(run)[2:]:
        window.link.say(m)
    settle(window)
    plot = window.board.cells[0].plot
    (measured,) = plot.measured.values()
    assert measured.values.shape == (41, 3, 1)
    assert [t.label for t in plot.theory.values()] == ["2/η = 20"]
    assert len(plot.table()[1]) >= 41
    row = window.verdict.rows["edge"]
    assert row.word.text() == "Holds"
    assert row.numbers.text() == "19.96 ± 0.03, expected 20.00 (0.998 ×)"
    assert "step 200 of 200" in window.transport.state.text()
    assert plot.events[next(iter(plot.measured))] == [(100.0, "η = 0.2")]


def test_every_move_asks_for_theory_but_no_more_than_thirty_times_a_second(window, qtbot):
    before = len(window.link.of(Predict))
    for i in range(200):
        window.lab.move("noise", 0.01 * i)
    qtbot.wait(120)
    asked = window.link.of(Predict)[before:]
    assert 1 <= len(asked) <= 5
    assert asked[-1].values["noise"] == pytest.approx(1.99)  # the latest value is never dropped


def test_theory_is_drawn_before_training_catches_up(window, qtbot):
    window.link.say(fake.predicted(window.store.current, 20.0))
    settle(window)
    window.link.answer = False
    window.lab.move("noise", 1.0)
    qtbot.waitUntil(lambda: bool(window.link.of(Predict)))
    window.link.say(fake.predicted(window.link.of(Predict)[-1].run, 13.0, valid=False))
    settle(window)
    plot = window.board.cells[0].plot
    (line,) = plot.theory.values()
    assert (line.label, line.valid, line.reason) == ("2/η = 13", False, "σ = 0")


def test_the_runs_own_theory_replaces_what_was_asked_for_and_late_answers_are_dropped(
    window, qtbot
):
    window.lab.move("noise", 1.0)
    qtbot.waitUntil(lambda: bool(window.store.draft))
    window.link.say(fake.predicted(window.store.current, 20.0))
    assert window.store.draft != {}  # the slider is still held: its value is not the run's
    late = window.link.of(Predict)[-1].run
    old = window.store.current
    window.lab.commit("noise", 1.0)
    qtbot.waitUntil(lambda: window.store.current != old, timeout=2000)
    window.link.say(fake.predicted(window.store.current, 20.0))
    assert window.store.draft == {}
    window.link.say(fake.predicted(late, 99.0))
    assert window.store.draft == {}


def test_a_cold_knob_starts_once_after_the_last_change_and_leaves_a_ghost(window, qtbot):
    old = window.store.current
    window.link.say(fake.rows(old, "sharpness", [0, 5, 10]))
    for v in (65, 80, 128):
        window.lab.commit("width", v)
        qtbot.wait(60)
    assert len(window.link.of(Start)) == 1  # still moving
    qtbot.waitUntil(lambda: len(window.link.of(Start)) == 2, timeout=2000)
    qtbot.wait(350)
    assert len(window.link.of(Start)) == 2
    assert window.link.of(Start)[-1].values["width"] == 128
    assert Control(old, "cancel") in window.link.of(Control)
    assert window.store.runs[old].role == "ghost"
    assert window.store.current != old
    settle(window)
    drawn = window.board.cells[0].plot.measured
    assert [m.role for m in drawn.values()] == ["ghost"]  # no point is lost
    assert len(next(iter(drawn.values())).x) == 3


def test_a_run_that_nobody_saw_leaves_no_ghost(window, qtbot):
    old = window.store.current
    window.lab.commit("width", 128)
    qtbot.waitUntil(lambda: len(window.link.of(Start)) == 2, timeout=2000)
    assert old not in window.store.runs


def test_a_hot_knob_goes_to_the_run_in_training_and_leaves_a_mark(window, qtbot):
    window.parameters.controls["lr"].set_value(0.3)
    assert window.link.of(Control)[-1] == Control(window.store.current, "set", "lr", 0.3)
    qtbot.wait(400)
    assert len(window.link.of(Start)) == 1
    run = window.store.run()
    assert run.changes == [Changed(run.id, 40, "lr", 0.3)]
    assert "0.1 → 0.3" in run.shown_name


def test_slider_abuse_sends_few_commands(window, qtbot):
    before = len(window.link.sent)
    for i in range(2000):
        window.lab.move("lr", 0.1 + 0.0001 * i)
    qtbot.wait(200)
    sent = window.link.sent[before:]
    assert len([m for m in sent if isinstance(m, Control)]) <= 3
    assert [m for m in sent if isinstance(m, Control)][-1].value == pytest.approx(0.2999)


def test_a_preset_sets_values_sweep_and_seeds_and_starts(window):
    window.lab.choose_preset("widths")
    start = window.link.of(Start)[-1]
    assert start.sweep == {"width": [16, 64, 256]}
    assert "width" not in start.values
    assert (start.seeds, start.preset) == (2, "widths")
    assert window.parameters.seeds.value() == 2
    run = window.store.current
    for m in fake.stream(run, start)[1:]:
        window.link.say(m)
    settle(window)
    sweep = window.board.cells[3].plot
    (measured,) = sweep.measured.values()
    assert measured.x.tolist() == [16, 64, 256]
    assert measured.values.shape == (3, 2, 1)
    (curves,) = window.board.cells[0].plot.measured.values()
    assert curves.parts == ("width = 16", "width = 64", "width = 256")


def test_choosing_a_result_shows_and_starts_it_and_pauses_what_ran(window):
    old = window.store.current
    window.lab.show(
        "stability/cardboard" if window.lab.card.name != "stability/cardboard" else "kernels/paper"
    )
    assert Control(old, "pause") in window.link.of(Control)
    assert window.store.runs[window.store.current].experiment == window.lab.card.name
    assert window.store.current != old


def test_selecting_a_run_brings_its_values(window, qtbot):
    first = window.store.current
    window.link.say(fake.rows(first, "sharpness", [0, 5]))
    window.lab.commit("width", 256)
    qtbot.waitUntil(lambda: window.store.current != first, timeout=2000)
    window.store.select(first)
    assert window.parameters.controls["width"].value() == 64
    assert window.lab.values["width"] == 64
    qtbot.wait(350)
    assert len(window.link.of(Start)) == 2  # looking starts nothing


def test_values_undo(window, qtbot):
    run = window.store.current
    window.link.say(fake.rows(run, "sharpness", [0, 5]))
    window.lab.commit("noise", 1.0)
    window.lab.commit("noise", 2.0)
    window.registry.run("edit.undo")
    assert window.lab.values["noise"] == 1.0
    window.registry.run("edit.undo")
    assert window.lab.values["noise"] == 0.0
    window.registry.run("edit.redo")
    assert window.parameters.controls["noise"].value() == 1.0


def test_randomise_leaves_locked_knobs_and_undoes(window, qtbot):
    window.parameters.controls["width"].set_locked(True)
    before = dict(window.lab.values)
    window.lab.randomise()
    qtbot.wait(10)
    assert window.lab.values["width"] == before["width"]
    assert window.lab.values["steps"] == before["steps"]
    assert window.lab.values != before
    window.store.history.undo()
    assert window.lab.values == before


def test_transport(window):
    run = window.store.current
    window.registry.run("run.toggle")
    assert window.link.of(Control)[-1] == Control(run, "pause")
    settle(window)
    assert window.transport.play.text() == "Resume"
    window.registry.run("run.step10")
    assert window.link.of(Control)[-1] == Control(run, "step", steps=10)
    window.link.say(Status(run, "done", 200))
    settle(window)
    assert window.transport.play.text() == "Play"
    assert not window.registry.enabled("run.step10")


@pytest.mark.parametrize(
    "message",
    [
        Refused("", "lr = 3 lies outside [0.001, 1]"),
        Opened("/x.h5", (), why="x.h5 is no session"),
        Saved("/x.h5", "no space left on the device"),
    ],
)
def test_errors_become_one_notice_that_can_be_closed(window, message):
    window.link.say(message)
    assert window.notice.isVisible()
    assert message.why in window.notice.text.text()
    window.notice.close_button.click()
    assert not window.notice.isVisible()


def test_a_failed_run_is_said(window):
    window.link.say(Status(window.store.current, "failed", 3, "RuntimeError: out of memory"))
    assert "out of memory" in window.notice.text.text()


def test_text_from_a_file_is_plain(window):
    window.link.say(Refused("", "<img src='file:///etc/passwd'>\x07\u202egpj"))
    assert window.notice.text.textFormat() == Qt.TextFormat.PlainText
    assert "\u202e" not in window.notice.text.text() and "\x07" not in window.notice.text.text()


def test_branching_starts_from_the_checkpoint_before_the_crosshair(window):
    from engine.messages import Checkpoint

    run = window.store.current
    for step in (50, 100, 150):
        window.link.say(Checkpoint(run, step, 0, {}))
    window.board.at = 120.0
    window.registry.run("run.branch")
    start = window.link.of(Start)[-1]
    assert (start.parent, start.parent_step, start.paused) == (run, 100, True)
    assert window.store.runs[run].role == "ghost"
