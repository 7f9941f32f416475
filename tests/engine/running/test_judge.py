"""Verdicts from made-up measurements: what holds, what fails, and what must stay undecided."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reducers import (
    At,
    Crossing,
    Deviation,
    Final,
    Identity,
    Late,
    Ratio,
    Series,
    Slope,
    Worst,
)
from engine.running.judge import decide
from engine.spec import Claim

RNG = np.random.default_rng(0)


def claim(**kw):
    return Claim("c", "text", Final("m"), lambda hp: 1.0, "s", **kw)


def verdict(got, want=1.0, broken=(), **kw):
    got = np.asarray(got, float)
    return decide(claim(**kw), got, np.full(len(got), want), broken)


def test_near_holds_and_far_fails():
    assert verdict([1.0, 1.01, 0.99, 1.0]).outcome == "holds"
    far = verdict([1.3, 1.31, 1.29, 1.3])
    assert far.outcome == "fails" and far.measured == pytest.approx(1.3)


def test_noise_never_passes_as_agreement():
    noisy = verdict([0.2, 1.8, 0.1, 1.9])
    assert noisy.outcome == "undecided" and "standard errors" in noisy.why
    assert verdict([-1e3, 1e3, 5, 7], want=0.0, atol=0.1).outcome == "undecided"


def test_what_cannot_be_judged_says_why():
    assert "2 of 4" in verdict([1, math.nan, 1, math.inf]).why
    assert verdict([1, 1, 1]).why == "needs 4 seeds"
    out = verdict([9, 9, 9, 9], broken=("full batch",))
    assert out.outcome == "undecided" and out.broken == ("full batch",) and "full batch" in out.why
    assert verdict([1, 1, 1, 1], want=math.nan).outcome == "undecided"


def test_bounds_hold_for_every_member():
    assert verdict([0.9, 0.95, 1.0, 0.2], side="<=").outcome == "holds"
    over = verdict([0.9, 0.9, 0.9, 1.2], side="<=")
    assert over.outcome == "fails" and over.measured == 1.2
    assert verdict([2, 3, 4, 0.5], side=">=").outcome == "fails"


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=12),
    st.floats(-1e6, 1e6),
)
def test_any_numbers_get_a_verdict(got, want):
    v = verdict(got, want)
    assert v.outcome in ("holds", "fails", "undecided")
    if v.outcome == "holds":
        assert abs(v.measured - want) <= 0.05 * abs(want) + 2 * v.spread + 1e-6 * abs(want) + 1e-9
    if v.outcome != "holds":
        assert v.why


def test_false_rejection_is_rare_when_theory_is_right():
    """Seeds scatter around the truth by 5 %: at rtol 0 the two standard errors of 8 seeds must let ~91 % pass."""
    passed = [
        verdict(1 + 0.05 * RNG.standard_normal(8), rtol=0.0).outcome == "holds" for _ in range(2000)
    ]
    # P(|t_7| <= 2) = 0.914
    assert np.mean(passed) == pytest.approx(0.914, abs=0.025)


STEPS = np.arange(0, 101, 10)
LINE = Series(STEPS, np.stack([STEPS * 1.0, 100.0 - STEPS], axis=1))  # one rises, one falls
TRACE = {"m": LINE}
TABLE = {"seed": np.array([0, 1])}


def test_reducers_read_what_they_say():
    assert Late("m", 0.25)(TRACE, TABLE).tolist() == [90, 10]
    assert At("m", 50)(TRACE, TABLE).tolist() == [50, 50]
    assert np.isnan(At("m", 200)(TRACE, TABLE)).all()
    assert Final("m")(TRACE, TABLE).tolist() == [100, 0]
    assert Worst("m")(TRACE, TABLE).tolist() == [100, 100]
    assert Worst("m", largest=False, start=50)(TRACE, TABLE).tolist() == [50, 0]
    up = Crossing("m", 33, "up")(TRACE, TABLE)
    assert up.tolist() == [33, 0]
    down = Crossing("m", 33)(TRACE, TABLE)
    assert down.tolist() == [0, 67]
    assert np.isnan(Crossing("m", 1000, "up")(TRACE, TABLE)).all()
    half = Ratio(Crossing("m", 60, "up"), Crossing("m", 30, "up"))(TRACE, TABLE)
    assert half[0] == 2 and np.isnan(half[1])


def test_slope_is_one_exponent_a_seed():
    width = np.array([10, 10, 100, 100])
    table = {"seed": np.array([0, 1, 0, 1]), "width": width}
    values = np.array([3.0, 5.0, 3.0, 5.0]) * width**-0.5
    trace = {"m": Series(np.array([0]), values[None])}
    assert Slope(Final("m"), "width")(trace, table) == pytest.approx([-0.5, -0.5])
    assert np.isnan(Slope(Final("m"), "lr")(trace, table)).all()


def test_deviation_and_identity():
    theory = Series(STEPS, LINE.values + np.array([1.0, 0.0]))
    trace = {"m": LINE, "n": theory, "theory/p": theory}
    assert Deviation("m", "p", relative="none")(trace, TABLE).tolist() == [1, 0]
    assert Deviation("m", "p", norm="rms")(trace, TABLE)[0] < 1 / 50
    assert Identity("m", "n")(trace, TABLE) == pytest.approx([1 / 101, 0])
