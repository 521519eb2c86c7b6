"""What a position needs, decided from what is known of it (§2.6 of the exchange notes, F6)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exec.live.protection import Act, Exposure, StopView, catastrophe_price, decide
from core.exec.live.settings import LiveOptions
from core.types import Side
from core.venues.words import Standing
from tests.core.exec.live.kit import D, instrument

OPTIONS = LiveOptions(triggering_s=3.0, naked_s=2.0)
WHOLE = StopView(Standing.LIVE, 0.0, True, D(0))
WORKING = StopView(Standing.LIVE, 0.0, False, D(1))
NAKED = Exposure(D(1), (), 0.0, 0, 0)


@pytest.mark.parametrize(
    ("exposure", "act"),
    [
        (replace(NAKED, held=D(0)), Act.NOTHING),
        (NAKED, Act.PLACE),
        (replace(NAKED, stops=(WORKING,), naked_s=None), Act.PLACE),
        (replace(NAKED, stops=(WHOLE,), naked_s=None), Act.NOTHING),
        (replace(NAKED, underway=1), Act.NOTHING),
        (replace(NAKED, underway=1, stops=(WORKING,), naked_s=None), Act.NOTHING),
        (replace(NAKED, underway=1, naked_s=1.0), Act.NOTHING),
        (replace(NAKED, underway=1, naked_s=1.001), Act.PLACE_SECOND),
        (replace(NAKED, underway=2, naked_s=1.001), Act.NOTHING),
        (replace(NAKED, underway=2, naked_s=1.5), Act.NOTHING),
        (replace(NAKED, underway=2, naked_s=1.501), Act.CLOSE),
        (replace(NAKED, underway=1, naked_s=1.501), Act.CLOSE),
        (replace(NAKED, naked_s=9.0), Act.PLACE),  # nothing was tried: there was nobody to try it
        (replace(NAKED, beyond=True), Act.CLOSE),
        (replace(NAKED, beyond=True, stops=(WORKING,), naked_s=None), Act.PLACE),
        (replace(NAKED, underway=1, naked_s=None), Act.NOTHING),
        (replace(NAKED, tries=9), Act.PLACE),
        (replace(NAKED, tries=1, naked_s=1.501), Act.CLOSE),
        (replace(NAKED, tries=9, stops=(WORKING,), naked_s=None), Act.PLACE),
        (replace(NAKED, stops=(replace(WORKING, qty=D("0.5")),)), Act.PLACE),
        (replace(NAKED, stops=(replace(WORKING, standing=Standing.TRIGGERING, for_s=3.0),)), Act.NOTHING),
        (replace(NAKED, stops=(replace(WORKING, standing=Standing.TRIGGERING, for_s=3.001),)), Act.CLOSE),
        (replace(NAKED, stops=(WHOLE, replace(WORKING, standing=Standing.TRIGGERED, for_s=3.001))), Act.CLOSE),
    ],
)
def test_a_position_gets_what_it_needs(exposure, act):
    assert decide(exposure, OPTIONS) is act


@given(
    stops=st.lists(
        st.builds(
            StopView, st.sampled_from(list(Standing)[:4]), st.floats(0.0, 100.0), st.booleans(), st.sampled_from([D(0), D(1)])
        )
    ),
    naked=st.one_of(st.none(), st.floats(0.0, 100.0)),
    underway=st.integers(0, 3),
    tries=st.integers(0, 4),
)
def test_nothing_is_waited_for_longer_than_allowed(stops, naked, underway, tries):
    """Whatever is known: a position that was naked for longer than naked_s, with nothing at work on it, is never left alone."""
    exposure = Exposure(D(1), tuple(stops), naked, underway, tries)
    idle = not exposure.covered and all(stop.standing is Standing.LIVE for stop in stops)
    catastrophe = exposure.catastrophe
    if idle and not catastrophe and naked is not None and naked > 2.0:
        assert decide(exposure, OPTIONS) is not Act.NOTHING


LONG, SHORT = Side.LONG, Side.SHORT


@pytest.mark.parametrize(
    ("side", "plan_stop", "liquidation", "expected"),
    [
        (LONG, None, None, "45000.0"),  # 10 % of 50000
        (SHORT, None, None, "55000.0"),
        (LONG, "49000", None, "45000.0"),  # 1.5 x 1000 is nearer than 10 %
        (LONG, "46000", None, "44000.0"),  # 1.5 x 4000 is farther
        (LONG, None, "44000", "45800.0"),  # 0.7 x 6000 to liquidation wins
        (LONG, "40000", None, "38473.4"),  # 0.7 x (1/3 - 0.004) of 50000 is 11526.67: rounded towards the entry
        (SHORT, "40000", "54000", "52800.0"),
    ],
)
def test_the_stop_that_never_moves_lies_beyond_the_plans_and_before_liquidation(side, plan_stop, liquidation, expected):
    found = catastrophe_price(
        side, D(50_000), plan_stop and D(plan_stop), liquidation and D(liquidation), instrument(), LiveOptions(leverage=3)
    )
    assert found == D(expected)
