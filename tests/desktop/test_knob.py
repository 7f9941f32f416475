"""The knob control: values, ticks and text agree; hand, keyboard and typing do what they say."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QAccessible, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.widgets.knob import KnobControl, format_value
from desktop.widgets.knob_values import Ticks, parse_value
from engine.spec import Knob

LR = Knob("lr", "real", 0.1, 1e-3, 1.0, "log", "", "Learning rate", "η", "Step size.", hot=True)
WIDTH = Knob("width", "int", 64, 16, 4096, "log", "neurons", "Width", "n", "Neurons in each layer.")
MOMENTUM = Knob("momentum", "real", 0.9, 0.0, 0.99, label="Momentum", symbol="β", meaning="Decay.")
ACT = Knob("act", "choice", "relu", label="Activation", meaning="σ.", choices=("relu", "tanh"))


@st.composite
def knobs(draw):
    """Number knobs as experiments declare them."""
    kind = draw(st.sampled_from(["int", "real"]))
    scale = draw(st.sampled_from(["linear", "log"]))
    if kind == "int":
        low = draw(st.integers(1 if scale == "log" else 0, 500))
        high = low + draw(st.integers(1, 100_000))
        default = draw(st.integers(low, high))
    else:
        # two digits, as people write bounds; a log scale from 1e-8 up
        digits = st.integers(10, 99)
        low = draw(digits) * 10.0 ** draw(st.integers(-9, 2))
        high = low + draw(digits) * 10.0 ** draw(st.integers(-9, 4))
        if high / low < 1.3 and scale == "log":
            high = 2 * low
        default = low + draw(st.floats(0, 1)) * (high - low)
        default = min(max(default, low), high)
    return Knob("x", kind, default, low, high, scale, meaning="x")


@given(knobs(), st.floats(0, 1))
def test_a_value_comes_back_within_one_tick(knob, part):
    ticks = Ticks(knob)
    tick = ticks.first + round(part * (ticks.last - ticks.first))
    value = ticks.value(tick)
    assert knob.low <= value <= knob.high
    back = ticks.tick(value)
    # whole numbers are sparser than ticks at the low end of a log scale: there a tick of the same value will do
    assert abs(back - tick) <= 1 or ticks.value(back) == value


@given(knobs())
def test_the_ends_and_the_default_are_exact(knob):
    ticks = Ticks(knob)
    assert ticks.value(ticks.first) == knob.low
    assert ticks.value(ticks.last) == knob.high
    assert ticks.first <= ticks.tick(knob.default) <= ticks.last


@given(knobs(), st.floats(0, 1), st.sampled_from([-10, -1, 1, 10]))
def test_every_step_moves_and_stays_inside(knob, part, by):
    ticks = Ticks(knob)
    value = ticks.value(ticks.first + round(part * (ticks.last - ticks.first)))
    new = ticks.step(value, by)
    assert knob.low <= new <= knob.high
    if (by > 0 and value < knob.high) or (by < 0 and value > knob.low):
        assert (new - value) * by > 0
    else:
        assert new == value


@given(knobs(), st.floats(0, 1))
def test_the_shown_number_reads_back(knob, part):
    ticks = Ticks(knob)
    value = ticks.value(ticks.first + round(part * (ticks.last - ticks.first)))
    text = format_value(knob, value)
    assert parse_value(knob, text, knob.default) == pytest.approx(value, rel=1e-5, abs=0)
    assert float(text) != 0 or value == 0


def test_steps_are_tenths_of_a_decade_and_hundredths_of_the_range():
    ticks = Ticks(LR)
    assert ticks.step(0.1, 1) == pytest.approx(0.1 * 10**0.1, rel=5e-3)  # three digits
    assert ticks.step(0.01, 10) == 0.1
    assert Ticks(MOMENTUM).step(0.495, 1) == pytest.approx(0.495 + 0.0099, abs=1e-4)
    assert Ticks(WIDTH).step(16, 1) == 20


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("0,25", 0.25),
        ("0.25", 0.25),
        (".5", 0.5),
        ("x2", 0.2),
        ("×2", 0.2),
        ("/2", 0.05),
        ("2^-3", 0.125),
        ("10⁻²", 0.01),
        ("5·10⁻³", 0.005),
        ("1/4", 0.25),
        (" 0.3 ", 0.3),
    ],
)
def test_what_people_type(text, value):
    assert parse_value(LR, text, 0.1) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2^7", 128), ("2**7", 128), ("x4", 256), ("128 neurons", 128), ("1e2", 100)],
)
def test_what_people_type_for_whole_numbers(text, value):
    typed = parse_value(WIDTH, text, 64)
    assert typed == value and isinstance(typed, int)


@pytest.mark.parametrize(
    "text",
    ["", "abc", "3", "1e-9", "1.000,5", "1,000,000", "nan", "inf", "1e999", "/0", "(-1)^0.5"],
)
def test_what_is_refused_names_the_knob_and_the_range(text):
    with pytest.raises(ValueError, match=r"lr = .*\[0.001, 1\]"):
        parse_value(LR, text, 0.1)


def test_a_fraction_of_a_neuron_is_refused():
    with pytest.raises(ValueError, match="whole number"):
        parse_value(WIDTH, "64.5", 64)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "0.0001"), (1e-6, "1e-6"), (0.1, "0.1"), (12345.678, "12345.7"), (2.5e7, "2.5e7")],
)
def test_numbers_never_round_to_zero(value, text):
    assert format_value(LR, value) == text


# --- the widget ---


@pytest.fixture
def control(qtbot):
    def make(knob):
        theme.apply(QApplication.instance(), "light")
        c = KnobControl(knob)
        qtbot.addWidget(c)
        c.resize(290, c.sizeHint().height())
        with qtbot.waitActive(c):
            c.show()
            c.activateWindow()
        return c

    return make


def heard(control):
    log = []
    control.changed.connect(lambda n, v: log.append(("changed", n, v)))
    control.committed.connect(lambda n, v: log.append(("committed", n, v)))
    return log


def spoken(widget):
    return QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Value)


def test_typing_changes_and_commits(control):
    c = control(LR)
    log = heard(c)
    c.entry.setFocus()
    c.entry.selectAll()
    QTest.keyClicks(c.entry, "3e-2")
    assert log == []  # nothing before Return
    QTest.keyClick(c.entry, Qt.Key.Key_Return)
    assert log == [("changed", "lr", 0.03), ("committed", "lr", 0.03)]
    assert c.entry.text() == "0.03" and spoken(c.slider) == "0.03"


def test_a_bad_entry_keeps_its_text_and_says_why(control):
    c = control(LR)
    log = heard(c)
    c.entry.setFocus()
    c.entry.selectAll()
    QTest.keyClicks(c.entry, "3")
    QTest.keyClick(c.entry, Qt.Key.Key_Return)
    assert c.entry.text() == "3" and c.value() == 0.1 and log == []
    assert c.message() == "lr = 3 lies outside [0.001, 1]"
    assert c.entry.accessibleDescription() == c.message()
    QTest.keyClick(c.entry, Qt.Key.Key_Escape)
    assert c.entry.text() == "0.1" and c.message() == ""


def test_leaving_an_entry_untouched_keeps_every_digit(control):
    c = control(LR)
    c.set_value(0.123456789)
    log = heard(c)
    c.entry.setFocus()
    c.slider.setFocus()
    assert c.value() == 0.123456789 and log == []


def test_the_keyboard_and_what_is_spoken(control):
    c = control(LR)
    log = heard(c)
    c.slider.setFocus()
    QTest.keyClick(c.slider, Qt.Key.Key_Right)
    assert c.value() == pytest.approx(0.126)
    assert spoken(c.slider) == c.entry.text() == "0.126"
    QTest.keyClick(c.slider, Qt.Key.Key_PageDown)
    assert c.value() == pytest.approx(0.0126)
    QTest.keyClick(c.slider, Qt.Key.Key_End)
    assert c.value() == 1.0
    QTest.keyClick(c.slider, Qt.Key.Key_Right)
    assert c.value() == 1.0
    assert [kind for kind, *_ in log] == ["changed", "committed"] * 3 + ["committed"]
    QTest.keyClick(c.entry, Qt.Key.Key_Down)
    assert c.value() == pytest.approx(10**-0.1, rel=5e-3)


def test_dragging_is_live_and_commits_once(control):
    c = control(LR)
    log = heard(c)
    s = c.slider
    QTest.mousePress(s, Qt.MouseButton.LeftButton, pos=QPoint(40, 12))
    QTest.mouseMove(s, QPoint(90, 12))
    QTest.mouseMove(s, QPoint(140, 12))
    assert [k for k, *_ in log] == ["changed"] * len(log) and len(log) >= 2
    QTest.mouseRelease(s, Qt.MouseButton.LeftButton, pos=QPoint(140, 12))
    assert log[-1] == ("committed", "lr", c.value())
    assert sum(k == "committed" for k, *_ in log) == 1
    where = 8 + (s.value() - s.minimum()) / (s.maximum() - s.minimum()) * (s.width() - 16)
    assert abs(where - 140) <= (s.width() - 16) / (s.maximum() - s.minimum())


def wheel(widget, delta=120):
    event = QWheelEvent(
        QPointF(20, 10),
        QPointF(widget.mapToGlobal(QPoint(20, 10))),
        QPoint(0, 0),
        QPoint(0, delta),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.ignore()
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def test_the_wheel_only_with_focus(control):
    c = control(LR)
    c.entry.setFocus()
    assert not wheel(c.slider) and c.value() == 0.1
    c.slider.setFocus()
    assert wheel(c.slider) and c.value() > 0.1
    choice = control(ACT)
    choice.choice.clearFocus()
    wheel(choice.choice, -120)
    assert choice.value() == "relu"


def test_choices(control):
    c = control(ACT)
    log = heard(c)
    c.choice.setFocus()
    QTest.keyClick(c.choice, Qt.Key.Key_Down)
    assert c.value() == "tanh"
    assert log == [("changed", "act", "tanh"), ("committed", "act", "tanh")]


def test_set_value_quietly_and_aloud(control):
    c = control(WIDTH)
    log = heard(c)
    c.set_value(128, quiet=True)
    assert log == [] and c.entry.text() == "128"
    c.set_value(256)
    c.set_value(256)
    assert log == [("changed", "width", 256), ("committed", "width", 256)]
    with pytest.raises(ValueError, match="width = 1 lies outside"):
        c.set_value(1)
    assert c.value() == 256


def test_reset_lock_and_sweep(control):
    c = control(WIDTH)
    assert not c._reset.isVisible()
    c.set_value(100)
    assert c._reset.isVisible()
    c._reset.click()
    assert c.value() == 64 and not c._reset.isVisible()
    locks = []
    c.locked_changed.connect(lambda n, on: locks.append(on))
    c._lock.click()
    assert c.locked and locks == [True] and not c.slider.isEnabled() and not c.entry.isEnabled()
    assert c._lock.accessibleName() == "Unlock Width"
    c.set_locked(False)
    c.set_swept([64, 256, 1024])
    assert c._range.text() == "swept 64…1024" and not c.entry.isVisible()
    dismissed = []
    c.sweep_dismissed.connect(dismissed.append)
    c._reset.click()
    assert dismissed == ["width"]
    c.set_swept(None)
    assert c.entry.isVisible() and c.entry.text() == "64"


def test_typing_survives_a_quiet_update_of_the_same_value(control):
    c = control(LR)
    c.entry.setFocus()
    c.entry.selectAll()
    QTest.keyClicks(c.entry, "0.0")
    c.set_value(0.1, quiet=True)
    assert c.entry.text() == "0.0"


def test_everything_focusable_has_a_name_and_the_tip_says_all(control):
    for knob in (LR, WIDTH, MOMENTUM, ACT):
        c = control(knob)
        for w in (c.slider, c.entry, c.choice, c._reset, c._lock):
            assert w is None or w.accessibleName()
        tip = c.toolTip()
        assert knob.meaning in tip and format_value(knob, knob.default) in tip
        if knob.unit:
            assert knob.unit in tip


@settings(max_examples=20, deadline=None)
@given(tick=st.integers(-300, 0))
def test_the_spoken_number_is_the_shown_number(qapp, tick):
    c = KnobControl(LR)
    c.set_value(Ticks(LR).value(tick), quiet=True)
    assert spoken(c.slider) == c.entry.text()
    assert math.isclose(float(c.entry.text()), c.value(), rel_tol=1e-5)
    c.deleteLater()
    QApplication.sendPostedEvents(c, QEvent.Type.DeferredDelete)
