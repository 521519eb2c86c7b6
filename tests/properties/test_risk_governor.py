"""What holds for the governor over every course of equity and trades, with restarts anywhere (E2, E3, E6, E9)."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from core.canonical import encode
from core.risk.governor import Governor, day_start_ms
from core.types import TradingState
from tests.core.risk.making import TS, governance, trade

HOUR = 3_600_000
STEP = st.one_of(
    st.tuples(st.just("bar"), st.floats(0.985, 1.015)),
    st.tuples(st.just("bar"), st.floats(0.96, 1.0)),
    st.tuples(st.just("bar"), st.just(1.0)),
    st.tuples(st.just("trade"), st.floats(-1.5, 2.5)),
    st.tuples(st.just("restart"), st.just(0.0)),
    st.tuples(st.just("lost"), st.just(0.0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=20, max_size=60), st.integers(1, 30))
def test_limits_lock_in_time_locks_hold_and_restarts_change_nothing(steps, hours):
    """E6, E9, X10-X12: worked out again from the whole history of equity."""
    zone, limits = governance().zone, governance()
    steady, restarted = Governor(limits), Governor(limits)
    ts, equity = TS, 300.0
    history: list[tuple[int, float]] = []
    locked_day, killed = -1, False
    for what, value in [("bar", 1.0), *steps]:
        if what == "restart":
            again = Governor(limits)
            again.restore(json.loads(json.dumps(restarted.snapshot())))
            restarted = again
            continue
        if what == "trade":
            for governor in (steady, restarted):
                governor.on_realised(ts, value * 2.4)
                governor.on_trade(trade(value * 2.4, value, ts))
        else:
            ts += hours * HOUR
            equity = equity * value if what == "bar" else equity
            seen_equity = equity if what == "bar" else float("nan")
            if what == "bar":
                history.append((ts, equity))
            for governor in (steady, restarted):
                governor.on_bar(ts, seen_equity)
        view = steady.view
        assert encode(view) == encode(restarted.view)
        assert 0.0 < view.r_pct <= 1.1
        assert not (view.bonus and view.cut)
        if what != "bar":
            assert what != "lost" or view.state is not TradingState.ACTIVE
            continue
        today = day_start_ms(ts, zone)
        before = [e for t, e in history if t < today]
        on_time = [e for t, e in history if t == today]
        start = (on_time or before[-1:] or [history[0][1]])[0]
        peak = max(e for t, e in history if t >= ts - 72 * HOUR)
        if equity < start * 0.982 * (1 - 1e-8):
            locked_day = today
        killed = killed or equity < peak * 0.965 * (1 - 1e-8)
        assert not (locked_day == today and not view.day_lock)
        assert not (killed and view.state is not TradingState.HALTED)
        assert (view.state is TradingState.ACTIVE) == (not view.day_lock and not view.kill_switch)
        assert view.peak_72h == peak
        assert abs(view.room_usd - min(equity - start * 0.982, equity - peak * 0.965)) < 1e-9
    assert steady.drain_events() == restarted.drain_events()
