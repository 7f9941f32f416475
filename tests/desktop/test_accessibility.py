"""Every widget that can be reached by keyboard has a name; everything can be reached; colours are not alone."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QAbstractButton, QApplication, QLineEdit, QScrollArea, QWidget

from desktop.panels import dialogs
from desktop.panels.exporting import ExportDialog
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.fixture
def window(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    for m in fake.stream(window.store.current)[2:]:
        window.link.say(m)
    window.store.notice.emit("error", "Something is wrong.")
    window.palette_box.open()
    settle(window)
    window.palette_box.close_palette()
    return window


def focusable(root):
    """Widgets that Tab or a click gives the focus to; a compound's inner parts speak for it."""
    inner = ("qt_spinbox_lineedit", "qt_scrollarea_viewport", "qt_tabwidget")
    return [
        w
        for w in root.findChildren(QWidget)
        if w.focusPolicy() != Qt.FocusPolicy.NoFocus and not w.objectName().startswith(inner)
        and w.focusProxy() is None
    ]  # fmt: skip


def spoken(widget):
    """The name that a screen reader is given."""
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name) if interface is not None else ""


def unnamed(root):
    return [
        f"{type(w).__name__} {w.objectName()} in {type(w.parent()).__name__}"
        for w in focusable(root)
        if not spoken(w).strip()
    ]


def test_no_focusable_widget_of_the_window_is_unnamed(window):
    assert len(focusable(window)) > 30  # the walk sees the window
    assert unnamed(window) == []


@pytest.mark.parametrize("name", ["about", "shortcuts", "log", "export"])
def test_no_focusable_widget_of_a_dialog_is_unnamed(window, name):
    made = {
        "about": lambda: dialogs.about(window),
        "shortcuts": lambda: dialogs.shortcuts(window, window.registry),
        "log": lambda: dialogs.LogWindow(window),
        "export": lambda: ExportDialog(window, [("A", window.board.cells[0].plot)], dict),
    }[name]()
    assert focusable(made)
    assert unnamed(made) == []
    assert not made.isModal() or name == "export"


def test_icon_buttons_say_what_they_do(window):
    for b in window.findChildren(QAbstractButton):
        if b.isVisible() and not b.text():
            assert b.accessibleName(), b
            assert b.toolTip(), b.accessibleName()


def test_click_targets_are_large_enough(window):
    for b in window.findChildren(QAbstractButton):
        if b.isVisible() and b.isEnabled() and not isinstance(b.parent(), QLineEdit):
            # the search's magnifier is a picture inside an entry that is itself the target
            assert b.width() >= 24 and b.height() >= 24, (spoken(b), b.size())


def chain(window, start):
    """Widgets in the order in which Tab visits them."""
    out, w = [start], start.nextInFocusChain()
    while w is not start:
        out.append(w)
        w = w.nextInFocusChain()
    return out


def test_tab_goes_down_the_form(window):
    order = chain(window, window.parameters.preset)
    form = window.parameters.controls
    expected = [window.parameters.preset]
    for c in form.values():
        expected += [w for w in (c.slider, c.entry, c.choice) if w is not None]
    expected += [
        window.parameters.seeds,
        window.parameters.dtype,
        window.parameters.randomise,
        window.parameters.reset,
    ]
    places = [order.index(w) for w in expected]
    assert places == sorted(places)


def test_tab_reaches_every_focusable_widget_and_comes_round(window):
    tabbed = {
        w
        for w in focusable(window)
        if w.focusPolicy() & Qt.FocusPolicy.TabFocus and w.isVisible() and w.isEnabled()
    }
    assert tabbed <= set(chain(window, window))


def test_the_plots_speak_a_summary(window):
    for cell in window.board.cells[:3]:
        text = cell.plot.summary()
        assert len(text) > 20
        assert cell.plot.accessibleDescription()


def test_the_verdict_is_spoken_with_its_numbers(window):
    said = window.verdict.accessibleDescription()
    assert "Holds" in said and "19.96" in said and "full batch" in said


def test_outcomes_differ_in_word_and_shape_not_only_in_colour(window):
    words, icons = set(), set()
    for outcome in ("holds", "fails", "undecided"):
        window.verdict.rows["edge"].show_judged(fake.judged("x", outcome), True)
        row = window.verdict.rows["edge"]
        words.add(row.word.text())
        image = row.mark.pixmap().toImage().convertToFormat(image_alpha())
        icons.add(bytes(image.constBits()))
    assert len(words) == 3
    assert len(icons) == 3


def image_alpha():
    from PySide6.QtGui import QImage

    return QImage.Format.Format_Alpha8


def test_a_run_is_spoken_with_its_state(window):
    model = window.runs.model
    said = model.data(model.index(0, 0), Qt.ItemDataRole.AccessibleTextRole)
    assert said.endswith(", done")


def test_scroll_areas_show_what_has_the_focus(window, qtbot):
    """Tabbing through a form must not leave the focus out of sight."""
    last = list(window.parameters.controls.values())[-1]
    window.resize(1280, 800)
    settle(window)
    window.activateWindow()
    last.entry.setFocus(Qt.FocusReason.TabFocusReason)
    settle(window)
    area = window.parameters.scroller
    assert isinstance(area, QScrollArea)
    top = last.entry.mapTo(area.viewport(), last.entry.rect().topLeft()).y()
    assert 0 <= top <= area.viewport().height()
    assert QApplication.focusWidget() in (last.entry, None)
