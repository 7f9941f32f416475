"""Frames: a part at a time, whatever fails, and rarer where they are dear."""

import time

import pytest
from PySide6.QtCore import QEventLoop, QObject, QTimer
from PySide6.QtWidgets import QApplication

from desktop import frames
from desktop.frames import FRAME, FREE, Frames


@pytest.fixture(autouse=True)
def app():
    return QApplication.instance() or QApplication([])


class Plot:
    def __init__(self, log, name, cost=0.0):
        self.log, self.name, self.cost, self.stale = log, name, cost, True

    def refresh(self):
        self.log.append((self.name, time.monotonic()))
        time.sleep(self.cost)

    def repaint(self):
        pass


class Cell:
    def __init__(self, plot):
        self.plot = plot

    def isVisible(self):
        return True


class Board:
    def __init__(self, cells):
        self.cells = cells

    def stale(self):
        return list(self.cells)


def turned(parts, around=lambda: None, seconds=0.4):
    parent = QObject()
    board = Board([Cell(p) for p in parts])
    going = Frames(around, board, parent)
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    going.start()
    loop.exec()
    going.stop()
    return going, board


def test_other_events_have_their_turn_between_two_plots():
    log, ticks = [], []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start(0)
    turned([Plot(log, name, 0.02) for name in "abc"])
    timer.stop()
    assert len(log) >= 6
    for (_, before), (_, after) in zip(log, log[1:], strict=False):
        assert any(before < t < after for t in ticks)


def test_frames_become_rarer_where_they_are_dear():
    """Of the time at least FREE parts in 1 + FREE stay for whatever else there is."""
    log = []
    turned([Plot(log, "a", 0.03), Plot(log, "b", 0.03)], seconds=0.6)
    gaps = [after - before for (_, before), (_, after) in zip(log, log[1:], strict=False)]
    assert len(gaps) >= 3
    assert min(gaps) >= 0.03 * (1 + FREE) - 0.003  # a timer counts in whole milliseconds
    assert max(gaps[i] + gaps[i + 1] for i in range(len(gaps) - 1)) > FRAME


def test_a_cheap_frame_comes_no_more_often_than_asked():
    log = []
    turned([Plot(log, "a")], seconds=0.5)
    assert 3 <= len(log) <= 0.5 / FRAME + 2


def test_what_fails_ends_neither_the_frame_nor_the_next(monkeypatch):
    import sys

    told, log = [], []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: told.append(error))

    class Broken(Plot):
        def refresh(self):
            super().refresh()
            raise ZeroDivisionError("thrown")

    turned([Broken(log, "a"), Plot(log, "b")])
    names = [n for n, _ in log]
    assert names.count("b") >= 2 and names.count("a") >= 2
    assert len(told) == names.count("a")


def test_a_plot_that_left_the_board_is_not_painted():
    log = []
    parent, cell = QObject(), Cell(Plot(log, "a"))
    board = Board([cell])
    going = Frames(lambda: None, board, parent)
    going._stale = [cell]
    board.cells = []
    going._turn()
    assert log == []


def test_a_window_that_stood_still_is_logged(monkeypatch):
    said = []
    monkeypatch.setattr(frames.log, "info", lambda text, *words: said.append(text % words))
    parent = QObject()
    going = Frames(lambda: None, Board([]), parent)
    going._due = time.monotonic() - 0.5
    going._turn()
    assert len(said) == 1 and said[0].startswith("the window stood still for 5")
