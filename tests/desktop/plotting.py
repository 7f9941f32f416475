"""Plots on screen, readings that never were, and a hand: what the tests of plots share."""

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.plots.base import Measured, make_plot
from desktop.plots.marks import Line


def plot_maker(qtbot):
    """A function that shows a plot of a kind, 640 × 400."""
    theme.apply(QApplication.instance(), "light")

    def make(kind="scalar", **kw):
        given = dict(title="Sharpness", x_label="step", y_label="sharpness λ₁") | kw
        p = make_plot(kind, **given)
        qtbot.addWidget(p)
        p.resize(640, 400)
        with qtbot.waitExposed(p):
            p.show()
        return p

    return make


def trace(steps=50, members=5, k=1, seed=0, start=10.0):
    r = np.random.default_rng(seed)
    x = np.arange(steps, dtype=float) * 10
    values = start + r.normal(size=(steps, members, k)).cumsum(0) / 10
    return x, values


def measured(role="live", colour=0, label="η = 0.1", **kw):
    x, v = trace(**{k: w for k, w in kw.items() if k in ("steps", "members", "k", "seed", "start")})
    rest = {k: w for k, w in kw.items() if k in ("parts", "members_shown")}
    return Measured(x, v, colour, label, role, seeds=v.shape[1], **rest)


def lines(p):
    return [m for m in p.content.marks if isinstance(m, Line)]


def shown_labels(p):
    p.grab()
    return [placed.tag.text for placed in p.layout_memory.placed]


def wheel(p, at, notches=1, modifiers=Qt.KeyboardModifier.NoModifier):
    event = QWheelEvent(
        QPointF(at),
        QPointF(p.mapToGlobal(at)),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(p, event)


def move(p, at, buttons=Qt.MouseButton.NoButton):
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(at),
        QPointF(p.mapToGlobal(at)),
        Qt.MouseButton.NoButton,
        buttons,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(p, event)
