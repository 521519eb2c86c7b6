"""Rest after two stops in a row (G6, X6, X20)."""

from __future__ import annotations

import json

import pytest

from core.errors import StateError
from core.strategies.cooldown import Cooldowns
from core.types import Timeframe
from tests.core.strategies.making import TS, governance, trade

BAR = 900_000
NAME = "vol_exp_15m"


def after(*trades) -> Cooldowns:
    cooldowns = Cooldowns(governance())
    for one in trades:
        cooldowns.on_trade(one)
    return cooldowns


def test_two_stops_in_a_row_silence_the_next_three_bars():
    """G6, X20: stopped at the close TS, the closes TS + 1..3 bars give no entry, the fourth does."""
    cooldowns = after(trade(-1.0), trade(-1.0))
    assert [cooldowns.blocked(NAME, TS + k * BAR) for k in range(5)] == [True, True, True, True, False]
    assert cooldowns.until(NAME) == TS + 4 * BAR
    assert cooldowns.until(NAME, TS + 4 * BAR) is None


def test_a_stop_inside_a_bar_silences_three_closes_too():
    cooldowns = after(trade(-1.0), trade(-1.0, closed_ts=TS + 300_000))
    assert [cooldowns.blocked(NAME, TS + k * BAR) for k in (1, 2, 3, 4)] == [True, True, True, False]


def test_the_bars_are_those_of_the_trade_s_timeframe():
    cooldowns = after(*[trade(-1.0, strategy="breakout_4h", tf=Timeframe.H4)] * 2)
    assert cooldowns.until("breakout_4h") == TS + 4 * Timeframe.H4.ms


def test_one_stop_or_another_strategy_s_stop_silences_nobody():
    """X20: per strategy."""
    cooldowns = after(trade(-1.0), trade(-1.0, strategy="breakout_4h", tf=Timeframe.H4))
    assert not cooldowns.blocked(NAME, TS)
    assert cooldowns.until(NAME) is None


@pytest.mark.parametrize(
    ("between", "blocked"),
    [
        (trade(0.5), False),  # a trailing stop in profit is a win
        (trade(1.0, stop=False), False),
        (trade(-0.5, stop=False), False),  # a loss by time stop is not a stop
        (trade(-0.1), True),  # scratches neither count nor break the row
        (trade(0.15), True),
        (trade(-0.15), True),
    ],
)
def test_what_breaks_the_row_and_what_does_not(between, blocked):
    """X6: scratches are between -0.15R and +0.15R."""
    assert after(trade(-1.0), between, trade(-1.0)).blocked(NAME, TS) is blocked


def test_two_scratched_stops_are_no_stops():
    assert not after(trade(-0.1), trade(-0.1)).blocked(NAME, TS)


def test_after_a_rest_two_new_stops_are_needed():
    later = TS + 100 * BAR
    assert not after(trade(-1.0), trade(-1.0), trade(-1.0, closed_ts=later)).blocked(NAME, later)
    assert after(trade(-1.0), trade(-1.0), *[trade(-1.0, closed_ts=later)] * 2).blocked(NAME, later)


def test_a_restored_cooldown_goes_on_where_it_stopped():
    trades = [trade(-1.0), trade(-1.0), trade(-1.0, closed_ts=TS + 50 * BAR), trade(-1.0, closed_ts=TS + 51 * BAR)]
    for cut in range(5):
        saved = json.loads(json.dumps(after(*trades[:cut]).snapshot()))
        second = Cooldowns(governance())
        second.restore(saved)
        for one in trades[cut:]:
            second.on_trade(one)
        assert second.snapshot() == after(*trades).snapshot()


def test_a_damaged_snapshot_is_refused():
    with pytest.raises(StateError, match="expected numbers by strategy"):
        Cooldowns(governance()).restore({"stops": {}})
