import re

import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from desktop import window_actions
from desktop.actions import MENUS, Action, Registry
from engine.messages import Control
from tests.desktop.parts import make_window


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


def in_menus(window):
    found = []

    def walk(menu):
        for a in menu.actions():
            if a.menu():
                walk(a.menu())
            elif not a.isSeparator():
                found.append(a.objectName())

    for a in window.menuBar().actions():
        walk(a.menu())
    return found


def test_menus_palette_and_registry_hold_the_same_actions(window):
    ids = window.registry.ids()
    assert sorted(in_menus(window)) == sorted(ids)
    window.palette_box.open()
    listed = [e.key for e in window.palette_box._entries if e.kind == "Action"]
    assert sorted(listed) == sorted(ids)


def test_shortcuts_come_from_the_registry_and_from_nowhere_else(window):
    ours = {window.registry.qaction(i) for i in window.registry.ids()}
    with_keys = [a for a in window.findChildren(QAction) if not a.shortcut().isEmpty()]
    ours_here = [a for a in with_keys if a in ours]
    assert len(ours_here) == sum(bool(a.shortcut) for a in window.registry.all())
    strangers = {
        a.text() for a in with_keys if a not in ours and a.parent() in (window, window.menuBar())
    }
    assert strangers == set()


def test_no_two_shortcuts_are_the_same(window):
    keys = [a.shortcut for a in window.registry.all() if a.shortcut]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("names", ["RUN_MENU", "PLOT_MENU", "TOOLBAR"])
def test_context_menus_and_toolbar_name_actions_that_exist(window, names):
    for name in getattr(window_actions, names):
        assert not name or name in window.registry.ids()


def test_toolbar_buttons_are_the_registrys(window):
    shown = [b.defaultAction().objectName() for b in window.transport.buttons]
    assert shown == list(window_actions.TOOLBAR[1:])
    run = window.store.current
    window.transport.play.click()
    assert window.link.of(Control)[-1] == Control(run, "pause")


def test_texts_are_in_sentence_case(window):
    for a in window.registry.all():
        assert re.match(r"[A-Z]", a.text), a.text
        rest = re.sub("Lemmascope|Python", "", a.text).split()[1:]  # names keep their capital
        assert all(w == w.lower() or not w.isalpha() for w in rest), a.text
        assert not a.text.endswith("!")


def test_every_action_can_be_asked_whether_it_may(window):
    window.registry.refresh()
    for name in window.registry.ids():
        assert window.registry.enabled(name) in (True, False)
        assert window.registry.qaction(name).isEnabled() == window.registry.enabled(name)


def test_a_disabled_action_does_nothing(qtbot, tmp_path):
    window, did = make_window(qtbot, tmp_path), []
    registry = Registry(window)
    registry.add(
        Action("a", "Do", lambda: did.append(1), ("File",), enabled=lambda: False),
        Action("b", "Do", lambda: did.append(2), ("File",)),
    )
    registry.run("a")
    registry.run("b")
    assert did == [2]


def test_wrong_declarations_are_refused(window):
    def add(*actions):
        registry = Registry(window)
        registry.add(*actions)

    def nothing():
        pass

    with pytest.raises(ValueError, match="two actions a"):
        add(Action("a", "A", nothing, ("File",)), Action("a", "A", nothing, ("File",)))
    with pytest.raises(ValueError, match="no menu Fiel"):
        add(Action("a", "A", nothing, ("Fiel",)))
    with pytest.raises(ValueError, match=r"Ctrl\+J belongs to a"):
        add(
            Action("a", "A", nothing, ("File",), "Ctrl+J"),
            Action("b", "B", nothing, ("Run",), "Ctrl+J"),
        )


def test_menus_are_the_standard_ones(window):
    assert [a.text() for a in window.menuBar().actions()] == list(MENUS)
    assert all(isinstance(a.menu(), QMenu) for a in window.menuBar().actions())
