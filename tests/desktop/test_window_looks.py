"""The window as it is looked at: sizes, docks, themes, one crosshair for all plots, frames that cost nothing."""

import pytest

from desktop import theme
from engine.messages import (
    Judged,
    Rows,
)
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


@pytest.mark.parametrize("size", [(1280, 800), (1440, 900), (1920, 1080)])
def test_nothing_is_cut_off(qtbot, tmp_path, size):
    window = make_window(qtbot, tmp_path, size=size)
    for m in fake.stream(window.store.current)[2:]:
        window.link.say(m)
    for _ in range(5):
        settle(window)
        qtbot.wait(10)
    assert (window.width(), window.height()) == size
    cells = window.board.cells
    assert cells[0].plot.width() >= 360 and cells[0].plot.height() >= 240
    for cell in cells:
        if cell.isVisible():
            assert window.rect().contains(
                cell.rect().translated(cell.mapTo(window, cell.rect().topLeft()))
            )
            assert cell.width() >= 280
    assert abs(window.docks["gallery"].width() - 240) <= 12
    assert abs(window.docks["parameters"].width() - 320) <= 12
    assert window.verdict.isVisible() and window.transport.isVisible()
    tabbed = bool(window.tabifiedDockWidgets(window.docks["parameters"]))
    assert tabbed == (size[1] < 860)


def test_focus_hides_the_sides_and_brings_them_back(window):
    window.docks["runs"].hide()
    window.registry.run("view.focus")
    assert not any(d.isVisible() for d in window.docks.values())
    window.registry.run("view.focus")
    assert window.docks["gallery"].isVisible() and not window.docks["runs"].isVisible()


def test_present_enlarges_and_comes_back(window):
    window.registry.run("view.present")
    assert theme.scale() == pytest.approx(1.4)
    window.registry.run("view.present")
    assert theme.scale() == 1.0


def test_themes_switch_while_running(window):
    window.registry.run("theme.dark")
    assert theme.tokens().name == "dark"
    settle(window)
    window.registry.run("theme.light")
    assert theme.tokens().name == "light"
    assert window.settings.text("theme") == "light"


def test_the_place_is_remembered(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path, size=(1300, 850))
    window.close()
    again = make_window(qtbot, tmp_path, size=window.size().toTuple())
    assert again.settings.blob("geometry").size() > 0


def test_the_crosshair_stands_at_the_same_step_in_every_plot(window):
    for m in fake.stream(window.store.current)[2:]:
        window.link.say(m)
    settle(window)
    cells = window.board.cells
    cells[0].plot.crosshair_moved.emit(50.0)
    assert window.board.at == 50.0
    assert [c.plot.crosshair.x for c in cells[:3]][1:] == [50.0, 50.0]
    assert cells[3].plot.crosshair.x is None  # over width, not over steps


def test_frames_with_nothing_new_do_nothing(window):
    for m in fake.stream(window.store.current)[2:]:
        window.link.say(m)
    settle(window)
    fed = []
    for cell in window.board.cells:
        cell.plot.set_measured = lambda *a: fed.append(a)
    for _ in range(5):
        window.tick()
    assert fed == []
    window.link.say(
        Rows(
            window.store.current,
            "loss",
            0,
            fake.rows("x", "loss", [201]).steps,
            fake.rows("x", "loss", [201]).values,
        )
    )
    window.tick()
    assert fed
    assert isinstance(fake.judged("x"), Judged)
