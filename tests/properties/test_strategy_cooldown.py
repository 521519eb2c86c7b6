"""What must hold of cooldowns and selection quality for every series of trades (G6, G11, X6, X20, X24)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.strategies.cooldown import Cooldowns
from core.strategies.quality import SelectionQuality
from tests.core.strategies.making import TS, governance, trade

BAR = 900_000
RESULTS = st.lists(st.tuples(st.sampled_from([-1.0, -0.5, -0.15, 0.0, 0.1, 0.6, 2.0]), st.booleans()), max_size=120)


@given(RESULTS)
@settings(max_examples=40, deadline=None)
def test_a_rest_follows_exactly_the_second_of_two_stops_in_a_row(results):
    cooldowns, row = Cooldowns(governance()), 0
    for k, (r, stop) in enumerate(results):
        ts = TS + 10 * k * BAR  # far enough apart that an earlier rest is over
        assert not cooldowns.blocked("vol_exp_15m", ts)
        cooldowns.on_trade(trade(r, stop=stop, closed_ts=ts))
        if abs(r) > 0.15:
            row = row + 1 if stop and r < 0 else 0
        expected = row == 2
        assert cooldowns.blocked("vol_exp_15m", ts) is expected
        row = 0 if expected else row


@given(RESULTS)
@settings(max_examples=40, deadline=None)
def test_the_threshold_follows_the_win_rate_of_the_last_fifty_decided_trades(results):
    quality, decided, tight, requests = SelectionQuality(governance()), [], False, 0
    for r, stop in results * 2:
        request = quality.on_trade(trade(r, stop=stop))
        if abs(r) > 0.15:
            decided.append(r > 0)
        if abs(r) > 0.15 and len(decided) >= 50:
            wins = sum(decided[-50:])
            asked = not tight and wins < 25
            tight = wins < 25 if not tight else wins <= 26
            assert (request is not None) is asked
            requests += asked
        else:
            assert request is None
        assert quality.threshold == (8.0 if tight else 7.0)
