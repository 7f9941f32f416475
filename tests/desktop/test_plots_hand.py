"""The hand on a plot: wheel, dragging, the crosshair by mouse and key, the menu."""

import math

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from desktop.plots.base import Theory
from tests.desktop.plotting import measured, move, plot_maker, trace, wheel


@pytest.fixture
def plot(qtbot):
    return plot_maker(qtbot)


def test_wheel_zooms_about_the_pointer_and_double_click_fits_again(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.grab()
    whole, changes = list(p.range), []
    p.follow_changed.connect(changes.append)
    at = p.layout_memory.frame.rect.center().toPoint()
    under = p.frame().x_of(at.x())
    wheel(p, at, 3)
    assert not p.following and changes == [False] and p._fit_button.isVisible()
    assert p.range[1] - p.range[0] == pytest.approx((whole[1] - whole[0]) / 1.2**3)
    assert p.range[2:] == whole[2:]
    assert p.frame().x_of(at.x()) == pytest.approx(under)
    p.set_measured("1", measured(steps=80))
    p.refresh()
    assert p.range[1] < 490  # new data do not take the view away
    QTest.mouseDClick(p, Qt.MouseButton.LeftButton, pos=at)
    assert p.following and changes == [False, True] and p.range[1] > 790
    before = list(p.range)
    wheel(p, at, 2, Qt.KeyboardModifier.ControlModifier)
    assert p.range[3] - p.range[2] < before[3] - before[2] and p.range[:2] == before[:2]


def test_dragging_pans(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.grab()
    f, at = p.frame(), p.layout_memory.frame.rect.center().toPoint()
    QTest.mousePress(p, Qt.MouseButton.LeftButton, pos=at)
    move(p, at + QPoint(50, 0), Qt.MouseButton.LeftButton)
    QTest.mouseRelease(p, Qt.MouseButton.LeftButton, pos=at + QPoint(50, 0))
    assert p.range[0] == pytest.approx(f.x0 - 50 * (f.x1 - f.x0) / f.width)


# --- crosshair ---


def test_the_crosshair_goes_by_mouse_to_the_nearest_reading_and_leaves(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.grab()
    heard = []
    p.crosshair_moved.connect(heard.append)
    f = p.layout_memory.frame
    move(p, QPoint(round(f.px(253.0)), int(f.top + 30)))
    assert heard == [250.0] and p.crosshair.x == 250.0
    QApplication.sendEvent(p, QEvent(QEvent.Type.Leave))
    assert p.crosshair.x is None and len(heard) == 2 and math.isnan(heard[1])


def test_the_crosshair_goes_by_key_from_reading_to_reading(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    p.setFocus()
    heard = []
    p.crosshair_moved.connect(heard.append)
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        QTest.keyClick(p, key)
    QTest.keyClick(p, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(p, Qt.Key.Key_End)
    QTest.keyClick(p, Qt.Key.Key_Right)  # nowhere to go
    assert heard == [0.0, 10.0, 20.0, 10.0, 110.0, 490.0]
    _, v = trace()
    said = float(np.median(v[-1, :, 0]))
    assert f"step 490; η = 0.1 {said:.3f}" in p.accessibleDescription()
    QApplication.sendEvent(p, QEvent(QEvent.Type.Leave))
    assert p.crosshair.x == 490.0  # put there by key, it stays
    QTest.keyClick(p, Qt.Key.Key_Escape)
    assert p.crosshair.x is None


def test_the_crosshair_of_another_plot_is_silent(plot):
    p = plot()
    p.set_measured("1", measured())
    p.refresh()
    heard = []
    p.crosshair_moved.connect(heard.append)
    p.set_crosshair(120.0)
    assert p.crosshair.x == 120.0 and heard == []
    p.set_crosshair(math.nan)
    assert p.crosshair.x is None


def test_readings_give_value_and_theory(plot):
    p = plot()
    p.set_measured("1", measured())
    p.set_theory("1", "t", Theory(np.array([0.0, 490.0]), np.array([[0.0], [49.0]]), "t", True, ""))
    p.refresh()
    (r,) = p.readings(120.0)
    _, v = trace()
    assert r.value == np.median(v[12, :, 0]) and r.theory == pytest.approx(12.0)


def test_the_menu_is_asked_for_by_mouse_and_by_key(plot):
    p = plot()
    heard = []
    p.menu_requested.connect(lambda: heard.append(p.menu_position()))
    at = QPoint(30, 40)
    QApplication.sendEvent(
        p, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, p.mapToGlobal(at))
    )
    QApplication.sendEvent(
        p, QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, at, p.mapToGlobal(at))
    )
    assert heard == [p.mapToGlobal(at), p.mapToGlobal(p.rect().center())]
