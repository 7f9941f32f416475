"""Nothing of a stranger's file runs without a click on the button that says so, for the very bytes that were shown."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton

from engine.messages import Allow, Catalogue, Describe, Opened, Start, Stranger
from tests.desktop import fake
from tests.desktop.parts import make_window, settle

A, B = "a1" * 32, "b2" * 32
MINE = "/own/mine.py"


def listing(*strangers, cards=()):
    c = fake.catalogue()
    return Catalogue((*c.cards, *cards), c.devices, (), strangers)


@pytest.fixture
def window(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    window.link.answer = False
    window.link.say(
        listing(
            Stranger(MINE, A),
            Stranger("/own/on.py", B, allowed=True),
            Stranger("/own/was.py", B, changed=True),
            Stranger("/own/bad.py", B, allowed=True, problem="bad.py, line 3: NameError: x"),
            Stranger("/own/fifo.py", "", problem="fifo.py is no regular file"),
        )
    )
    window.registry.run("edit.own")
    return window


def dialog(window):
    return window.own_window


def choose(window, row):
    dialog(window).list.setCurrentRow(row)
    return dialog(window)


def test_each_file_is_listed_with_its_state(window):
    own = dialog(window)
    assert [own.list.item(i).text().split("   ·   ") for i in range(5)] == [
        ["mine.py", "off"], ["on.py", "enabled"], ["was.py", "changed"], ["bad.py", "problem"], ["fifo.py", "problem"],
    ]  # fmt: skip
    choose(window, 0)
    assert own.path.whole() == MINE
    assert own.hash.text().replace(" ", "") == f"SHA-256{A}"


@pytest.mark.parametrize(
    ("row", "enable", "disable"),
    [(0, True, False), (1, False, True), (2, True, True), (3, False, True), (4, False, False)],
)
def test_what_can_be_done_with_a_file(window, row, enable, disable):
    own = choose(window, row)
    assert (own.enable.isEnabled(), own.disable.isEnabled()) == (enable, disable)


def test_looking_allows_nothing(window, qtbot):
    own = choose(window, 0)
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Space, Qt.Key.Key_Enter):
        qtbot.keyClick(own.list, key)
        qtbot.keyClick(own, key)
    assert window.link.of(Allow) == []


def test_enabling_says_what_it_means_and_shows_path_and_hash(window):
    own = choose(window, 0)
    own.enable.click()
    assert window.link.of(Allow) == []
    assert own.pages.currentIndex() == 1
    words = " ".join(
        w.text()
        for w in own.pages.currentWidget().findChildren(type(own.question))
        if w.isVisible()
    )
    for said in ("program", "your rights", "worker processes", "read, change and delete", MINE):
        assert said in words
    assert A in words.replace(" ", "")
    own.consent.click()
    assert window.link.of(Allow) == [Allow(MINE, A)]
    assert own.pages.currentIndex() == 0


def test_no_key_consents_by_itself(window, qtbot):
    own = choose(window, 0)
    own.enable.click()
    assert own.focusWidget() is own.refuse
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
        qtbot.keyClick(own, key)
    assert not any(b.isDefault() or b.autoDefault() for b in own.findChildren(QPushButton))
    assert window.link.of(Allow) == []


@pytest.mark.parametrize("way", ["button", "escape", "close"])
def test_leaving_it_off_sends_nothing(window, qtbot, way):
    own = choose(window, 0)
    own.enable.click()
    if way == "button":
        own.refuse.click()
    elif way == "escape":
        qtbot.keyClick(own, Qt.Key.Key_Escape)
    else:
        own.close()
    assert window.link.of(Allow) == []
    window.registry.run("edit.own")
    assert own.pages.currentIndex() == 0  # it does not reopen on the question


def test_a_file_that_changes_while_the_question_stands_is_not_enabled(window):
    own = choose(window, 0)
    own.enable.click()
    window.link.say(listing(Stranger(MINE, B)))
    assert not own.consent.isEnabled()
    assert "changed while" in own.changed.text()
    own.consent.click()
    assert window.link.of(Allow) == []
    own.refuse.click()
    own.enable.click()
    own.consent.click()
    assert window.link.of(Allow) == [Allow(MINE, B)]


def test_a_changed_file_says_so_and_is_asked_again(window):
    own = choose(window, 2)
    assert "changed since you enabled it" in own.why.text()
    own.enable.click()
    assert "other contents" in own.changed.text()
    own.consent.click()
    assert window.link.of(Allow) == [Allow("/own/was.py", B)]


def test_withdrawing_needs_no_question(window):
    choose(window, 1).disable.click()
    assert window.link.of(Allow) == [Allow("/own/on.py", "")]


def test_showing_and_the_button_read_the_folder_again(window):
    before = len(window.link.of(Describe))
    dialog(window).again.click()
    assert len(window.link.of(Describe)) == before + 1
    dialog(window).close()
    window.registry.run("edit.own")
    assert len(window.link.of(Describe)) == before + 2


def test_the_choice_stays_when_the_list_is_read_again(window):
    own = choose(window, 1)
    window.link.say(listing(Stranger("/own/aa.py", A), Stranger("/own/on.py", B, allowed=True)))
    assert own.current().path == "/own/on.py"


def test_an_empty_folder_says_how_to_begin(window):
    window.link.say(listing())
    assert "lemmascope new" in dialog(window).nothing.text()
    assert dialog(window).nothing.isVisible() and not dialog(window).list.isVisible()
    assert not dialog(window).enable.isEnabled()


def test_the_folder_is_shown_and_made_private(window, monkeypatch, tmp_path):
    from PySide6.QtGui import QDesktopServices

    shown, folder = [], tmp_path / "own"
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: shown.append(url.toLocalFile()))
    dialog(window)._folder = lambda: str(folder)
    dialog(window).show_folder.click()
    assert shown == [str(folder)]
    assert folder.stat().st_mode & 0o077 == 0


def test_an_enabled_experiment_appears_and_a_withdrawn_one_goes(window):
    own = fake.card("own/mine")
    window.link.say(listing(Stranger(MINE, A, allowed=True), cards=(own,)))
    assert "own/mine" in window.store.cards
    window.link.say(listing(Stranger(MINE, A)))
    assert "own/mine" not in window.store.cards


def test_an_experiment_that_changed_is_shown_as_it_is_now(window):
    window.link.say(listing(cards=(fake.card("own/mine"),)))
    window.lab.open("own/mine")
    window.link.say(listing(cards=(fake.card("own/mine", title="Now it is another"),)))
    assert window.transport.title.whole() == "Now it is another"


def test_curves_of_a_withdrawn_experiment_stay_and_it_is_not_trained(window):
    window.link.answer = True
    window.link.say(listing(cards=(fake.card("own/mine"),)))
    window.lab.show("own/mine")
    run = window.store.current
    for m in fake.stream(run)[2:]:
        window.link.say(m)
    window.link.answer = False
    window.link.say(listing())
    settle(window)
    assert window.store.current == run
    assert window.board.cells[0].plot.measured
    starts = len(window.link.of(Start))
    window.lab.start()
    assert len(window.link.of(Start)) == starts
    assert "own/mine is not installed here" in window.notice.text.text()


def test_a_session_of_an_unknown_experiment_shows_its_curves_and_asks_for_nothing(window):
    """Consent is never asked for because a session wants it."""
    dialog(window).close()
    window.own_window = None
    start = Start("file", "own/theirs")
    for m in fake.stream("file", start):
        window.link.say(m)
    window.link.say(
        Opened("/x/a.lemma.h5", ("file",), notice="own/theirs is not installed here: its curves are shown.",
               cards=(fake.card("own/theirs", title="Theirs"),))
    )  # fmt: skip
    settle(window)
    assert window.lab.card.name == "own/theirs"
    assert window.transport.title.whole() == "Theirs"
    assert window.board.cells[0].plot.measured
    assert "not installed" in window.notice.text.text()
    assert window.own_window is None
    assert window.link.of(Allow) == []
    shown = [w for w in QApplication.topLevelWidgets() if w.isVisible() and w.parent() is window]
    assert shown == []
    window.lab.commit("noise", 1.0)
    window.lab.start()
    assert [s for s in window.link.of(Start) if s.experiment == "own/theirs"] == []


def test_hostile_names_are_plain(window):
    window.link.say(listing(Stranger("/own/<b>x</b>\u202egpj.py", A)))
    own = choose(window, 0)
    assert "\u202e" not in own.list.item(0).text() and "\u202e" not in own.path.whole()
    own.enable.click()
    assert own.question.textFormat() == Qt.TextFormat.PlainText
    assert "\u202e" not in own.question.text() + own.asked_path.text()
    own.consent.click()
    assert window.link.of(Allow) == [Allow("/own/<b>x</b>\u202egpj.py", A)]
