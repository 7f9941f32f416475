"""Opening, saving, dropping and closing, as the window does them."""

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QMessageBox

from engine.messages import (
    Open,
    Opened,
    Save,
    Saved,
)
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


def test_saving_asks_for_a_place_once_and_not_by_a_nested_loop(window, qtbot, tmp_path):
    window.registry.run("file.save")
    (dialog,) = window.findChildren(QFileDialog)
    path = str(tmp_path / "mine")
    dialog.fileSelected.emit(path)
    dialog.close()
    save = window.link.of(Save)[-1]
    assert save.path == path + ".lemma.h5"
    assert save.runs == (window.store.current,)
    assert window.store.path == save.path
    window.registry.run("file.save")
    assert len(window.link.of(Save)) == 2
    assert not window.isWindowModified()


def test_a_session_dropped_on_the_window_is_opened(window, tmp_path):
    path = tmp_path / "a.lemma.h5"
    path.write_bytes(b"x")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)), QUrl.fromLocalFile(str(tmp_path / "a.txt"))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    assert [m.path for m in window.link.of(Open)] == [str(path)]


def test_an_opened_session_is_shown_and_remembered(window, tmp_path):
    path = tmp_path / "a.lemma.h5"
    path.write_bytes(b"x")
    for m in fake.stream("file1"):
        window.link.say(m)
    window.link.say(Opened(str(path), ("file1",)))
    assert window.store.current == "file1"
    assert window.settings.recent == [str(path)]
    assert "a.lemma.h5" in window.windowTitle()


def close(window):
    window.close()
    return window.isVisible()


def test_closing_with_unsaved_runs_asks_once_without_a_dialog(window):
    window.store.set_modified(True)
    assert close(window)
    assert window.notice.asking()
    assert close(window)
    assert window.findChildren(QMessageBox) == [] and not [
        d for d in window.findChildren(QDialog) if d.isVisible()
    ]
    words = [window.notice.buttons.itemAt(i).widget().text() for i in range(3)]
    assert words == ["Save", "Discard", "Cancel"]
    window.notice.buttons.itemAt(2).widget().click()
    assert not window.notice.asking() and window.isVisible()


def test_discarding_closes(window, qtbot):
    window.store.set_modified(True)
    window.close()
    with qtbot.waitSignal(window.closed):
        window.notice.buttons.itemAt(1).widget().click()
    assert not window.isVisible()


def test_saving_on_the_way_out_closes_only_when_it_was_saved(window, qtbot, tmp_path):
    window.store.path = str(tmp_path / "a.lemma.h5")
    window.store.set_modified(True)
    window.link.answer = False
    window.close()
    window.notice.buttons.itemAt(0).widget().click()
    assert window.isVisible()
    window.link.say(Saved(window.store.path, "no space left"))
    assert window.isVisible() and window.store.modified
    window.registry.run("file.save")
    window.link.say(Saved(window.store.path))
    assert window.isVisible()  # that save was not asked for by closing
    window.store.set_modified(True)
    window.close()
    window.notice.buttons.itemAt(0).widget().click()
    window.link.say(Saved(window.store.path))
    assert not window.isVisible()


def test_nothing_is_asked_when_nothing_is_lost(window):
    assert not close(window)


@pytest.mark.parametrize("early", [True, False], ids=["before the catalogue", "after it"])
def test_a_file_that_cannot_be_opened_leaves_a_result_in_motion(qtbot, tmp_path, early):
    """Whichever comes first, the refusal or the word of what is installed."""
    window = make_window(qtbot, tmp_path, catalogue=False)
    path = str(tmp_path / "junk.lemma.h5")
    window.files.open_path(path)
    said = [Opened(path, (), why="junk.lemma.h5: not an HDF5 file"), fake.catalogue()]
    for message in said if early else reversed(said):
        window.link.say(message)
    settle(window)
    assert window.lab.card is not None and window.store.current
    assert "not an HDF5 file" in window.notice.text.text()
