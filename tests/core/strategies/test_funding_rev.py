"""funding_rev: rule, its end, and exits (D5, set A of quant.md §2)."""

from __future__ import annotations

import math

import pytest

from configs.validators import FundingRevParams
from core.strategies.funding_rev import build, exits, funding_is_normal, rule
from core.types import Regime, Side, Timeframe, Trail, TrailStart
from tests.core.strategies.making import NAMES, columns, governance, snapshot, strategies_file

P = strategies_file().funding_rev
SHORT = {
    "close@1h": 100.0, "atr@1h": 1.0, "funding": 0.0008, "funding_age_h": 0.0, "funding_below": 0.96, "funding_above": 0.0,
    "basis": 0.002, "basis_rank": 0.81,
}  # fmt: skip
LONG = {**SHORT, "funding": -0.0001, "funding_below": 0.0, "funding_above": 0.96, "basis": -0.002, "basis_rank": 0.19}


def test_it_sells_when_longs_pay_an_extreme_and_buys_when_shorts_do():
    masks = rule(columns([SHORT, LONG]), P)
    assert masks.short.tolist() == [True, False]
    assert masks.long.tolist() == [False, True]


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (SHORT, {"funding": 0.0001}),  # the exchange's default is no extreme, whatever its rank
        (SHORT, {"funding_below": 0.95}),
        (SHORT, {"basis_rank": 0.8}),
        (SHORT, {"funding_age_h": 1.0}),
        (LONG, {"funding": 0.0}),
        (LONG, {"funding": 0.00005}),
        (LONG, {"funding_above": 0.95}),
        (LONG, {"basis_rank": 0.2}),
        (LONG, {"funding_age_h": 7.0}),
        *((SHORT, {key: math.nan}) for key in ("funding", "funding_below", "basis_rank", "funding_age_h")),
        *((LONG, {key: math.nan}) for key in ("funding", "funding_above", "basis_rank", "funding_age_h")),
    ],
)
def test_every_condition_is_needed(base, change):
    masks = rule(columns([{**base, **change}]), P)
    assert not masks.long[0]
    assert not masks.short[0]


def test_it_is_forbidden_in_trends_and_panic_whatever_the_enable_map_says():
    """D5: never in a trend."""
    strategy = build(P, NAMES[:1], governance())
    assert set(strategy.forbidden_regimes) == {Regime.TREND_UP, Regime.TREND_DOWN, Regime.PANIC}


def test_its_signal_is_given_once_at_the_hour_that_knows_the_settlement():
    strategy = build(P, NAMES[:1], governance())
    late = [strategy.generate(snapshot([{**SHORT, "funding_age_h": age}], [Timeframe.H1])) for age in (0.0, 1.0, 2.0, 7.0)]
    assert [len(signals) for signals in late] == [1, 0, 0, 0]
    assert late[0][0].reason == "funding +8.00 bp above 96.0% of the last 270 settlements, basis rank 0.810 in 2160 h"


@pytest.mark.parametrize(
    ("side", "rate", "share", "normal"),
    [
        (Side.SHORT, 0.0008, 0.96, False),
        (Side.SHORT, 0.0002, 0.51, False),
        (Side.SHORT, 0.0002, 0.50, True),
        (Side.SHORT, 0.0001, 0.90, True),
        (Side.SHORT, -0.0003, 0.0, True),
        (Side.LONG, -0.0003, 0.96, False),
        (Side.LONG, -0.0001, 0.50, True),
        (Side.LONG, 0.0, 0.90, True),
        (Side.SHORT, math.nan, 0.5, None),
        (Side.LONG, -0.0003, math.nan, None),
    ],
)
def test_funding_is_normal_again_at_the_default_or_inside_its_usual_half(side, rate, share, normal):
    """X4: out when funding normalises; None, not a guess, when the stream is silent."""
    shares = (share, 0.0) if side is Side.SHORT else (0.0, share)
    view = columns([{"funding": rate, "funding_below": shares[0], "funding_above": shares[1]}])
    assert funding_is_normal(side, view, 0, P) is normal


def test_exits_are_a_quarter_at_1r_a_quarter_at_2r_a_1_8_atr_trail_and_a_day():
    """X2-X4."""
    profile = exits(P, governance())
    assert (profile.stop_atr, profile.takes_r, profile.take_fractions) == (3.0, (1.0, 2.0), (0.25, 0.25))
    assert profile.trail == Trail(TrailStart.FIRST_TAKE, 1.8, Timeframe.H1)
    assert profile.time_stop_ms == 24 * 3_600_000
    assert profile.funding_exit


def test_exits_that_it_does_not_name_are_those_of_the_signed_limits():
    """E4, E10, X2, X4: a number of its own wins; without limits nothing is guessed."""
    limits = governance().model_copy(
        update={"take_levels_r": (0.8, 1.6, 3.0), "take_fractions": (0.2, 0.2, 0.2), "trail_atr_default": 2.5}
    )
    general = exits(P, limits)
    assert (general.takes_r, general.take_fractions) == ((0.8, 1.6, 3.0), (0.2, 0.2, 0.2))
    assert general.trail.atr_multiple == 2.5
    own = P.model_copy(update={"takes_r": (1.5,), "take_fractions": (0.5,), "trail_atr": 1.0})
    assert exits(own, limits) == exits(own)
    assert (exits(own).takes_r, exits(own).trail.atr_multiple) == ((1.5,), 1.0)
    with pytest.raises(ValueError, match="expected governance"):
        exits(P)


@pytest.mark.parametrize(
    "wrong",
    [
        {"takes_r": (1.0,)},
        {"take_fractions": (0.5,)},
        {"takes_r": (1.0, 2.0), "take_fractions": (0.5,)},
        {"takes_r": (1.0, 2.0), "take_fractions": (0.6, 0.6)},
        {"takes_r": (2.0, 1.0), "take_fractions": (0.2, 0.2)},
    ],
)
def test_takes_of_its_own_must_match(wrong):
    """X4."""
    with pytest.raises(ValueError, match="take"):
        FundingRevParams.model_validate({**P.model_dump(), **wrong})
