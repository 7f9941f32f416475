"""The sessions that come with the program, in the menu and in the palette; and that they stay what they are."""

import os
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog

from desktop import examples
from engine.messages import Open, Opened, Save
from tests.desktop import fake
from tests.desktop.parts import make_window

SESSIONS = Path(__file__).parents[2] / "resources" / "sessions"


@pytest.fixture
def window(qtbot, tmp_path):
    made = make_window(qtbot, tmp_path)
    cards = fake.catalogue()
    edge = fake.card("stability/edge_of_stability", title="Sharpness stays at 2/η")
    made.link.say(type(cards)((*cards.cards, edge), ("cpu",)))
    return made


def opened(window, path):
    for m in fake.stream("file1"):
        window.link.say(m)
    window.link.say(Opened(path, ("file1",)))


def test_the_menu_names_every_example_by_its_result_and_opens_it(window):
    menu = window.examples_menu
    assert menu.menuAction() in window.menus["File"].actions()
    assert menu.isEnabled()
    menu.aboutToShow.emit()
    texts = [a.text() for a in menu.actions()]
    assert len(texts) == len(list(SESSIONS.glob("*.lemma.h5"))) >= 3
    assert {"Edge of stability", "Matrix sensing"} <= set(texts)
    action = menu.actions()[texts.index("Edge of stability")]
    assert action.toolTip() == "Sharpness stays at 2/η"
    action.trigger()
    assert [m.path for m in window.link.of(Open)] == [
        os.path.realpath(SESSIONS / "edge_of_stability.lemma.h5")
    ]
    menu.aboutToShow.emit()
    assert len(menu.actions()) == len(texts)


def test_the_palette_finds_them_and_prefers_the_result_itself(window, qtbot):
    box = window.palette_box
    box.open("example")
    found = [e.text for e in box.entries() if e.text.startswith("Open example: ")]
    assert len(found) == len(examples.paths())
    assert [e.text for e in box.entries()][: len(found)] == found
    box.open("edge of stability")
    assert box.entries()[0].kind == "Result"
    box.open("example edge")
    qtbot.keyClick(box.query, Qt.Key.Key_Return)
    assert [Path(m.path).name for m in window.link.of(Open)] == ["edge_of_stability.lemma.h5"]


def test_saving_an_example_asks_for_a_place_of_ones_own(window):
    path = str(SESSIONS / "edge_of_stability.lemma.h5")
    opened(window, path)
    assert window.store.path == path
    assert window.settings.recent == []
    window.registry.run("file.save")
    assert window.link.of(Save) == []
    (dialog,) = window.findChildren(QFileDialog)
    assert not examples.is_example(os.path.join(dialog.directory().absolutePath(), "x"))
    assert [Path(f).name for f in dialog.selectedFiles()] == ["edge_of_stability.lemma.h5"]
    dialog.close()


def test_a_link_to_an_example_is_one_and_a_copy_is_not(tmp_path):
    (tmp_path / "copy.lemma.h5").write_bytes(b"")
    assert not examples.is_example(str(tmp_path / "copy.lemma.h5"))
    assert not examples.is_example("")
    (tmp_path / "link.lemma.h5").symlink_to(SESSIONS / "edge_of_stability.lemma.h5")
    assert examples.is_example(str(tmp_path / "link.lemma.h5"))


def test_without_examples_the_menu_is_off(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "folder", lambda: str(tmp_path / "nowhere"))
    window = make_window(qtbot, tmp_path)
    assert not window.examples_menu.isEnabled()
    window.palette_box.open("")
    assert not [e for e in window.palette_box._entries if "example" in e.text]


def test_a_session_named_after_no_result_has_its_own_name():
    assert examples.shown("/x/own_thing.lemma.h5", {}) == ("Own thing", "")
