import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt

from desktop.widgets.palette import Entry, best, score
from engine.messages import Control, Start
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


def entry(text, kind="Action", more=""):
    return Entry(kind, text, lambda: None, more=more)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("expo", "Export…"),
        ("save as", "Save as…"),
        ("svs", "Save as…"),
        ("edge", "Stability: Edge of stability"),
        ("dark", "Dark"),
        ("theme dark", "Dark"),
    ],
)
def test_what_is_meant_comes_first(query, first):
    listed = [
        entry("Save"), entry("Save as…"), entry("Export…"), entry("Remove the crosshair"), entry("Dark", more="View › Theme"),
        entry("Stability: Edge of stability", "Result"), entry("Reset parameters"),
    ]  # fmt: skip
    assert best(query, listed)[0].text == first


@given(st.text(max_size=12), st.text(max_size=30))
def test_any_query_is_borne_and_scores_are_not_negative_for_matches(query, text):
    s = score(query, text)
    assert math.isfinite(s)
    if query.strip() and query.casefold().strip() in text.casefold():
        assert s > 0


@given(st.text("abcdef", min_size=1, max_size=5), st.text("uvwxyz ", max_size=20))
def test_letters_that_are_not_there_do_not_match(query, text):
    assert score(query, text) == 0


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


def keys(window):
    return {(e.kind, e.key) for e in window.palette_box._entries}


def test_it_lists_every_action_experiment_preset_and_recent_file(window, tmp_path):
    path = tmp_path / "old.lemma.h5"
    path.write_bytes(b"")
    window.settings.add_recent(str(path))
    window.palette_box.open()
    listed = keys(window)
    assert {("Action", a) for a in window.registry.ids()} <= listed
    assert {("Result", n) for n in window.store.cards} <= listed
    assert {("Preset", f"preset:{p.name}") for p in window.lab.card.presets} <= listed
    assert ("File", str(path)) in listed


def test_keyboard_alone_opens_a_result(window, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    assert window.palette_box.isVisible()
    qtbot.keyClicks(window.palette_box.query, "paper")
    qtbot.keyClick(window.palette_box.query, Qt.Key.Key_Return)
    assert not window.palette_box.isVisible()
    assert window.lab.card.name == "kernels/paper"


def test_arrows_move_and_wrap_and_escape_leaves_everything(window, qtbot):
    window.palette_box.open()
    box = window.palette_box
    able = [i for i, e in enumerate(box.entries()) if e.enabled]
    assert len(able) < len(box.entries())  # what cannot be done now is passed over
    sent = len(window.link.sent)
    at = able.index(box.list.currentIndex().row())
    for _ in range(3):
        qtbot.keyClick(box.query, Qt.Key.Key_Down)
    assert box.list.currentIndex().row() == able[at + 3]
    for _ in range(at + 4):
        qtbot.keyClick(box.query, Qt.Key.Key_Up)
    assert box.list.currentIndex().row() == able[-1]
    qtbot.keyClick(box.query, Qt.Key.Key_Escape)
    assert not box.isVisible()
    assert len(window.link.sent) == sent


def test_what_cannot_be_done_now_is_shown_and_not_done(window, qtbot):
    window.palette_box.open("undo")
    first = window.palette_box.entries()[0]
    assert first.key == "edit.undo" and not first.enabled
    qtbot.keyClick(window.palette_box.query, Qt.Key.Key_Return)
    assert window.palette_box.isVisible()


@pytest.mark.parametrize(
    ("typed", "knob", "value"),
    [
        ("lr 0.3", "lr", 0.3),
        ("lr=0.3", "lr", 0.3),
        ("η 0,3", "lr", 0.3),
        ("learning rate 1e-2", "lr", 0.01),
        ("width 2^7", "width", 128),
        ("wid 128", "width", 128),
        ("activation relu", "activation", "relu"),
        ("noise: 1.5", "noise", 1.5),
    ],
)
def test_a_value_is_set_by_typing(window, qtbot, typed, knob, value):
    window.palette_box.open()
    window.palette_box.query.setText(typed)
    top = window.palette_box.entries()[0]
    assert (top.kind, top.enabled) == ("Value", True)
    qtbot.keyClick(window.palette_box.query, Qt.Key.Key_Return)
    assert window.lab.values[knob] == value
    assert window.parameters.controls[knob].value() == value


def test_a_hot_value_goes_to_the_run(window, qtbot):
    window.palette_box.open("lr 0.3")
    qtbot.keyClick(window.palette_box.query, Qt.Key.Key_Return)
    assert window.link.of(Control)[-1] == Control(window.store.current, "set", "lr", 0.3)


def test_several_values_make_a_sweep(window, qtbot):
    window.palette_box.open("width 16 64 256")
    assert window.palette_box.entries()[0].text == "Sweep Width n over 16, 64, 256"
    qtbot.keyClick(window.palette_box.query, Qt.Key.Key_Return)
    assert window.lab.sweep == {"width": [16, 64, 256]}
    qtbot.waitUntil(lambda: bool(window.link.of(Start)[-1].sweep), timeout=2000)


def test_a_value_outside_says_why(window):
    window.palette_box.open("lr 30")
    top = window.palette_box.entries()[0]
    assert not top.enabled
    assert top.detail == "lr = 30 lies outside [0.001, 1]"


def test_words_that_are_no_knob_set_nothing(window):
    for text in ("paper", "save 3", "12", "=", "lr", ""):
        window.palette_box.query.setText(text)
        assert all(e.kind != "Value" for e in window.palette_box.entries())


def test_focus_returns_where_it_was(window, qtbot):
    entry_ = window.parameters.controls["noise"].entry
    window.activateWindow()
    entry_.setFocus()
    settle(window)
    window.palette_box.open()
    window.palette_box.close_palette()
    assert window.focusWidget() is entry_


def test_cards_of_the_fake_are_what_the_tests_think():
    assert [k.name for k in fake.knobs()][:2] == ["lr", "width"]


def test_a_knobs_name_alone_offers_to_set_it(window, qtbot):
    window.palette_box.open("wid")
    entry_ = next(e for e in window.palette_box.entries() if e.key == "ask:width")
    assert entry_.text == "Set Width n…"
    entry_.act()
    assert window.palette_box.isVisible()
    assert window.palette_box.query.text() == "width "
