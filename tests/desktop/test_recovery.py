"""What a crash left is offered once, opens unsaved, and goes only when a person says so."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.panels.recovery import moment
from engine.messages import Discard, Open, Opened, Orphaned, Save, Saved
from tests.desktop import fake
from tests.desktop.parts import make_window, settle

PATH = "/state/a.journal"


def orphan(path=PATH, experiment="stability/cardboard", steps=1234, ago=60.0):
    return Orphaned(path, experiment, steps, time.time() - ago)


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


def line(window, path=PATH):
    return window.recovery.lines[path]


def press(window, word, path=PATH):
    line(window, path).buttons[word].click()


def recovered(window, path=PATH, run="rec"):
    """The engine's answer to an Open of a journal."""
    for m in fake.stream(run):
        window.link.say(m)
    window.link.say(Opened(path, (run,)))


def test_nothing_is_shown_without_a_crash(window):
    assert not window.recovery.isVisible()
    assert not window.registry.enabled("file.recover")


def test_a_journal_is_offered_without_stopping_anything(window):
    current, sent = window.store.current, len(window.link.sent)
    window.link.say(orphan())
    assert window.recovery.isVisible()
    assert line(window).text.whole() == "Gradient descent stands at the edge of cardboard"
    assert line(window).more.text().startswith("1\u2009234 steps, last ")
    assert list(line(window).buttons) == ["Open", "Discard", "Later"]
    assert (window.store.current, len(window.link.sent)) == (current, sent)
    assert not window.isModal() and window.parameters.isEnabled()


def test_before_the_catalogue_the_offer_has_the_key_and_then_the_title(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path, catalogue=False)
    window.link.say(orphan())
    assert line(window).text.whole() == "stability/cardboard"
    window.link.say(fake.catalogue())
    assert line(window).text.whole() == "Gradient descent stands at the edge of cardboard"


def test_opening_shows_the_curves_as_an_unsaved_recovered_run(window):
    window.link.say(orphan())
    press(window, "Open")
    assert window.link.of(Open) == [Open(PATH)]
    assert line(window).buttons == {}  # not twice
    assert window.focusWidget() is window.recovery
    recovered(window)
    settle(window)
    assert window.focusWidget() is line(window).buttons["Save…"]
    assert window.store.current == "rec"
    run = window.store.runs["rec"]
    assert run.recovered == PATH
    assert window.runs.model.data(window.runs.model.index(0, 0), 0) == run.shown_name
    assert window.store.modified and window.store.path == ""
    assert window.settings.recent == []  # a journal is no session
    assert PATH not in window.store.orphans
    assert line(window).more.text() == "open, not saved yet"
    assert len(window.board.cells[0].plot.measured) >= 1


def test_saving_keeps_it_and_ends_the_offer(window, tmp_path):
    window.link.say(orphan())
    press(window, "Open")
    recovered(window)
    window.files.save_to(str(tmp_path / "a.lemma.h5"))
    assert "rec" in window.link.of(Save)[-1].runs
    assert not window.recovery.isVisible()
    assert not window.store.modified
    assert window.store.runs["rec"].recovered == ""


def test_discarding_asks_once(window):
    window.link.say(orphan())
    press(window, "Discard")
    assert window.link.of(Discard) == []
    assert line(window).text.whole().startswith("Discard ")
    assert window.focusWidget() is line(window).buttons["Keep"]
    press(window, "Keep")
    assert list(line(window).buttons) == ["Open", "Discard", "Later"]
    press(window, "Discard")
    press(window, "Discard for good")
    assert window.link.of(Discard) == [Discard(PATH)]
    assert not window.recovery.isVisible()


def test_discarding_what_was_opened_takes_its_runs_away(window):
    mine = window.store.current
    window.link.say(orphan())
    press(window, "Open")
    recovered(window)
    press(window, "Discard")
    press(window, "Discard for good")
    assert window.link.of(Discard) == [Discard(PATH)]
    assert list(window.store.runs) == [mine]


def test_later_puts_it_off_and_the_menu_brings_it_back(window):
    window.link.say(orphan())
    press(window, "Later")
    assert not window.recovery.isVisible()
    assert window.link.of(Discard) == []
    assert window.registry.enabled("file.recover")
    window.registry.run("file.recover")
    assert window.recovery.isVisible()


def test_several_share_one_list_that_does_not_grow_over_the_plots(window):
    for i in range(30):
        window.link.say(orphan(f"/state/{i}.journal"))
    settle(window)
    assert len(window.recovery.lines) == 30
    assert window.recovery.height() < 160
    assert window.board.cells[0].plot.height() >= 240
    assert window.recovery.heading.text() == "30 RECOVERED RUNS"
    press(window, "Later", "/state/3.journal")
    assert window.recovery.heading.text() == "29 RECOVERED RUNS"


def test_one_that_cannot_be_opened_stays_on_offer_and_says_why(window):
    window.link.say(orphan())
    press(window, "Open")
    window.link.say(Opened(PATH, (), why="a.journal holds no run"))
    assert window.notice.text.text() == "Not opened: a.journal holds no run"
    assert list(line(window).buttons) == ["Open", "Discard", "Later"]
    assert not window.store.modified


def test_said_twice_it_is_offered_once(window):
    window.link.say(orphan(), orphan())
    assert len(window.recovery.lines) == 1


def test_text_of_a_journal_is_plain(window):
    window.link.say(orphan(experiment="<b>x</b>\u202e\x07"))
    assert line(window).text.whole() == "<b>x</b>"


@pytest.mark.parametrize("last", [float("nan"), float("inf"), -1e30, 1e30, 0.0])
def test_a_time_that_cannot_be_is_borne(window, last):
    window.link.say(Orphaned(PATH, "stability/cardboard", -5, last))
    assert line(window).more.text().startswith("0 steps")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_moment_never_raises(seconds):
    assert isinstance(moment(seconds), str)


def test_moments_are_told_as_people_tell_them():
    now = time.mktime((2026, 3, 3, 12, 0, 0, 0, 0, -1))
    at = lambda *t: moment(time.mktime((*t, 0, 0, 0, -1)), now)
    assert at(2026, 3, 3, 9, 5) == "at 09:05"
    assert at(2026, 3, 2, 23, 59) == "yesterday at 23:59"
    assert at(2025, 12, 24, 18, 0) == "on 24 December 2025 at 18:00"


def test_leaving_asks_while_a_recovered_run_is_unsaved(window):
    window.link.say(orphan())
    press(window, "Open")
    recovered(window)
    window.close()
    assert window.isVisible() and window.notice.asking()
    window.link.say(Saved("/x/a.lemma.h5", runs=tuple(window.store.runs)))
    assert not window.store.modified


def test_what_is_recovered_while_others_are_being_saved_is_not_saved(window):
    before = tuple(window.store.runs)
    window.link.say(orphan())
    press(window, "Open")
    recovered(window)
    window.link.say(Saved("/x/a.lemma.h5", runs=before))
    assert window.store.modified and window.store.recovered()
