"""Candles as they form."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.data.resample import resample
from core.sim.local.values import KlineTick, OrderSide, TradeTick
from core.sim.tape.candles import BarLadder, Candle, TradeLadder, number
from core.types import Timeframe
from tests.core.data.making import DAY, T0, random_bars

MINUTE = 60_000
M1, M5, M15 = Timeframe.M1, Timeframe.M5, Timeframe.M15


def candle(open_ts: int, price: float = 100.0, volume: float = 1.0) -> Candle:
    return Candle(open_ts, price, price + 2, price - 1, price + 1, volume, 1, 4)


def closes(ladder: BarLadder, minutes: list[int]) -> list[tuple[Timeframe, int]]:
    return [(k.tf, (k.open_ts - T0) // MINUTE) for m in minutes for k in ladder.close(candle(T0 + m * MINUTE)) if k.tf is not M1]


def test_a_candle_of_which_a_part_is_missing_is_not_told() -> None:
    ladder = BarLadder("BTCUSDT", M1, Timeframe)
    assert closes(ladder, [0, 1, 3, 4]) == []
    assert closes(ladder, [5, 6, 7, 8, 9]) == [(M5, 5)]
    assert closes(ladder, [10, 11, 12, 13, 14]) == [(M5, 10)]
    assert closes(ladder, [*range(15, 30)]) == [(M5, 15), (M5, 20), (M5, 25), (M15, 15)]


def test_a_forming_candle_ends_with_its_time_and_misses_no_part() -> None:
    ladder = BarLadder("BTCUSDT", M1, [M1, M5])
    closes(ladder, [0, 1])
    assert [(k.tf, k.volume) for k in ladder.forming(T0 + 2 * MINUTE)] == [(M5, Decimal("2.0"))]
    ladder.show(candle(T0 + 2 * MINUTE))
    assert [(k.tf, k.volume) for k in ladder.forming(T0 + 2 * MINUTE)] == [(M1, Decimal("1.0")), (M5, Decimal("3.0"))]
    assert [k.tf for k in ladder.forming(T0 + 2 * MINUTE, M5)] == [M5]
    ladder.show(candle(T0 + 3 * MINUTE))
    assert [k.tf for k in ladder.forming(T0 + 3 * MINUTE)] == [M1]
    assert ladder.forming(T0 + DAY) == []


@given(count=st.integers(1, 300), skip=st.integers(0, 299), seed=st.integers(0, 5))
def test_sums_have_the_bits_of_the_feeds(count: int, skip: int, seed: int) -> None:
    """The candle that a client hears is the bar that replay makes of the same base bars."""
    bars = random_bars(count, MINUTE, seed=seed)
    kept = [k for k in range(count) if k != skip]
    bars = type(bars)(*(column[kept] for column in bars))
    ladder = BarLadder("BTCUSDT", M1, Timeframe)
    rows = zip(*(column.tolist() for column in bars), strict=True)
    told = [tick for ts, o, h, low, c, v in rows for tick in ladder.close(Candle(ts, o, h, low, c, v, 0, 3))]
    for tf in Timeframe:
        made = resample(bars, M1, tf)
        columns = zip(*(column.tolist() for column in made), strict=True)
        wanted = [(ts, *(number(value) for value in values)) for ts, *values in columns]
        assert [(k.open_ts, k.open, k.high, k.low, k.close, k.volume) for k in told if k.tf is tf] == wanted


# --- from trades ------------------------------------------------------------------------------------------


def trade(ms: int, price: str, qty: str = "1", side: OrderSide = OrderSide.BUY, number: int = 1) -> TradeTick:
    return TradeTick("BTCUSDT", T0 + ms, number, Decimal(price), Decimal(qty), side)


def test_candles_are_summed_up_from_trades() -> None:
    ladder = TradeLadder("BTCUSDT", [M1])
    ladder.pass_time(T0)
    ladder.take(trade(1_000, "100", "2", number=7))
    ladder.take(trade(2_000, "103", "1", OrderSide.SELL, number=8))
    (now,) = ladder.take(trade(3_000, "99", "3", number=9))
    assert now == KlineTick(
        "BTCUSDT",
        T0 + 3_000,
        M1,
        T0,
        *(Decimal(price) for price in ("100", "103", "99", "99")),
        Decimal(6),
        Decimal(2 * 100 + 103 + 3 * 99),
        3,
        7,
        9,
        Decimal(5),
        final=False,
    )


def test_a_candle_whose_beginning_was_not_seen_is_never_final() -> None:
    ladder = TradeLadder("BTCUSDT", [M5, M1])
    ladder.take(trade(1_000, "100"))
    assert ladder.pass_time(T0 + MINUTE) == []
    ladder.take(trade(MINUTE + 1, "101"))
    assert [(k.tf, k.open_ts, k.ts) for k in ladder.pass_time(T0 + 2 * MINUTE)] == [(M1, T0 + MINUTE, T0 + 2 * MINUTE)]


def test_where_nobody_trades_candles_are_flat() -> None:
    ladder = TradeLadder("BTCUSDT", [M1])
    ladder.take(trade(1_000, "100"))
    flat = ladder.pass_time(T0 + 3 * MINUTE)
    assert [(k.open_ts, k.open, k.high, k.volume, k.trades) for k in flat] == [
        (T0 + k * MINUTE, Decimal(100), Decimal(100), Decimal(0), 0) for k in (1, 2)
    ]
    (next_one,) = ladder.take(trade(3 * MINUTE + 5, "105", number=2))
    assert (next_one.open, next_one.low, next_one.first_trade) == (Decimal(105), Decimal(105), 2)


def test_candles_that_close_together_come_in_order_of_time() -> None:
    ladder = TradeLadder("BTCUSDT", [M1, M5])
    ladder.pass_time(T0 - 1)
    ladder.take(trade(-1, "100"))
    done = ladder.pass_time(T0 + 5 * MINUTE)
    assert [(k.ts - T0) // MINUTE for k in done] == [1, 2, 3, 4, 5, 5]
    assert done[-1].tf is M5
