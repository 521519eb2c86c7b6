"""What holds for the management of every position on every price path (E4, X3, X5, X12)."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.canonical import encode
from core.risk.exits import ExitFrame, ExitNumbers, manage
from core.types import AdjustKind, Side, Timeframe, Trail, TrailStart
from tests.core.risk.making import HOUR, TS, governance, instrument, plan, position

NUMBERS = ExitNumbers.of(governance())
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
BAR = st.tuples(
    st.floats(80.0, 120.0),
    st.one_of(st.none(), st.just(float("nan")), st.floats(1e-6, 10.0)),
    st.one_of(st.none(), st.floats(0.0, 0.02)),
)


@settings(max_examples=200, deadline=None)
@given(
    side=st.sampled_from((Side.LONG, Side.SHORT)),
    start=st.sampled_from(tuple(TrailStart)),
    multiple=st.floats(0.1, 4.0),
    tick=st.sampled_from(("0.01", "0.1", "0.5", "1")),
    take_at=st.integers(0, 12),
    bars=st.lists(BAR, min_size=1, max_size=12),
)
def test_a_stop_never_widens_and_never_lies_beyond_the_close(side, start, multiple, tick, take_at, bars):
    """E4: also after rounding to any tick, whatever ATR, costs and takes do."""
    market = instrument(tick_size=Decimal(tick))
    held = position(side, plan(side, trail=Trail(start, multiple, Timeframe.H4)))
    sign = side.sign
    for step, (close, atr, cost) in enumerate(bars):
        ts = TS + (step + 1) * HOUR
        best = max(held.best_close, close) if side is Side.LONG else min(held.best_close, close)
        held = replace(held, best_close=best)
        if step == take_at:
            held = replace(held, takes_filled=1, first_take_ts=ts, reached_1r_ts=ts)
        frame = ExitFrame(ts, close, atr, None, cost, cost, market)
        change = manage(held, frame, NUMBERS)
        assert encode(change) == encode(manage(held, frame, NUMBERS))
        if change is None:
            continue
        assert change.new_stop is not None
        assert sign * (change.new_stop - held.stop) >= market.tick_size
        assert sign * (close - float(change.new_stop)) > 0.0
        assert change.new_stop % market.tick_size == 0
        held = replace(held, stop=change.new_stop)


@settings(max_examples=200, deadline=None)
@given(
    side=st.sampled_from((Side.LONG, Side.SHORT)),
    close=ANY_FLOAT,
    atr=st.one_of(st.none(), ANY_FLOAT),
    best=st.one_of(st.just(float("nan")), st.floats(50.0, 150.0)),
    costs=st.tuples(st.one_of(st.none(), st.just(float("nan"))), st.one_of(st.none(), st.just(float("nan")))),
    r_price=st.sampled_from((0.0, 4.0)),
    taken=st.booleans(),
)
def test_exits_are_never_blocked_by_missing_or_broken_data(side, close, atr, best, costs, r_price, taken):
    """X12: management never fails, and a time stop or normal funding closes whatever else is missing."""
    since = TS if taken else None
    held = position(side, best_close=best, r_price=r_price, takes_filled=int(taken), first_take_ts=since, reached_1r_ts=since)
    frame = ExitFrame(TS + HOUR, close, atr, None, costs[0], costs[1], instrument())
    manage(held, frame, NUMBERS)
    for due in (replace(frame, ts=held.plan.time_stop_ts), replace(frame, funding_normal=True)):
        change = manage(held, due, NUMBERS)
        assert change is not None
        assert change.kind is AdjustKind.CLOSE
