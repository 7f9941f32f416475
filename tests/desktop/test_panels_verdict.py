import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.panels.common import plain, with_spread
from desktop.panels.verdict import VerdictStrip, sentence
from engine.messages import ClaimCard, Judged
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (19.9612, 0.0312, "19.96 ± 0.03"),
        (1.0349, 0.0212, "1.03 ± 0.02"),
        (20.4, 3.2, "20 ± 3"),
        (0.492, 0.0091, "0.492 ± 0.009"),
        (-0.0021, 0.007, "−0.002 ± 0.007"),
        (3.14159, math.nan, "3.142"),
        (3.14159, 0.0, "3.142"),
        (1.2345e-5, 2.1e-7, "(1.23 ± 0.02)×10⁻⁵"),
        (math.nan, 0.1, "–"),
    ],
)
def test_a_number_has_the_digits_that_its_spread_supports(value, spread, text):
    assert with_spread(value, spread) == text


@given(st.floats(1e-12, 1e12), st.floats(1e-3, 0.9))
def test_the_spread_is_never_shown_as_nothing(value, part):
    text = with_spread(value, part * value)
    shown = re.search(r"± ([\d.]+)", text)
    assert shown is not None and float(shown[1]) > 0


def judged(side, measured, expected, spread=0.1, outcome="holds"):
    return Judged("r", "edge", "t", outcome, measured, expected, spread, "", (), side)


def test_bounds_and_equalities_are_worded_differently():
    assert sentence(judged("==", 2.0, 2.5)) == "2.0 ± 0.1, expected 2.500 (0.800 ×)"
    assert sentence(judged("<=", 2.0, 2.5)) == "2.000, at most 2.500 (0.800 ×)"
    assert sentence(judged(">=", 3.0, 0.0)) == "3.000, at least 0"
    assert sentence(judged("==", math.nan, 2.5)) == "expected 2.500"
    assert sentence(judged("==", math.nan, math.nan)) == ""


@pytest.mark.parametrize(
    ("outcome", "word", "below"),
    [
        ("holds", "Holds", "✓ full batch   ✓ σ = 0"),
        ("fails", "Fails", "differs by more than 1"),
        ("undecided", "Undecided", "Outside its assumptions:  ✕ σ = 0   ✓ full batch"),
    ],
)
def test_each_outcome_says_why(qtbot, tmp_path, outcome, word, below):
    window = make_window(qtbot, tmp_path)
    window.link.say(fake.judged(window.store.current, outcome))
    settle(window)
    row = window.verdict.rows["edge"]
    assert row.word.text() == word
    assert row.below.whole() == below


def test_what_is_not_final_says_so(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    settle(window)
    assert window.verdict.rows["edge"].word.text() == "Not judged yet"
    window.link.say(fake.judged(window.store.current, "holds", interim=True))
    settle(window)
    assert window.verdict.rows["edge"].word.text() == "Holds so far"


def test_many_claims_make_a_list_of_bounded_height(qtbot):
    strip = VerdictStrip()
    qtbot.addWidget(strip)
    one = fake.card().claims[0]
    heights = []
    for n in (1, 3, 12):
        claims = tuple(
            ClaimCard(f"k{i}", one.text, "paper", one.metrics, 0.1, 0, "==", 4, one.assumptions)
            for i in range(n)
        )
        strip.show_card(fake.card(claims=claims))
        assert len(strip.rows) == n
        heights.append(strip.height())
    assert heights[0] < heights[1] == heights[2]
    strip.show_card(fake.card(claims=()))
    assert strip.isHidden()


@given(st.text(max_size=60))
def test_foreign_text_loses_what_could_deceive(text):
    shown = plain(text)
    assert not re.search("[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert len(plain(text * 200, 80)) <= 80
