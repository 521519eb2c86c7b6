"""The past of a market that nobody else keeps."""

from __future__ import annotations

from decimal import Decimal

from msgspec import structs

from core.sim.local.values import BookTick, FundingTick, KlineTick, MarkTick, OrderSide, TradeTick
from core.sim.tape.base import KLINES_MOST
from core.sim.tape.memory import TapeMemory
from core.types import Timeframe
from tests.core.data.making import T0

MINUTE = 60_000
ONE = Decimal(1)


def kline(k: int, *, final: bool = True, close: str = "1") -> KlineTick:
    opened = T0 + k * MINUTE
    return KlineTick(
        "BTCUSDT", opened + MINUTE, Timeframe.M1, opened, ONE, ONE, ONE, Decimal(close), ONE, ONE, 1, 1, 1, ONE, final=final
    )


def opens(memory: TapeMemory) -> list[int]:
    return [(row.open_ts - T0) // MINUTE for row in memory.klines("BTCUSDT", Timeframe.M1, None, None, KLINES_MOST)]


def test_a_forming_candle_is_replaced_until_it_is_final() -> None:
    memory = TapeMemory()
    for tick in (kline(0, final=False), kline(0, final=False, close="2"), kline(0, close="3"), kline(0, final=False, close="9")):
        memory.take(tick)
    assert memory.klines("BTCUSDT", Timeframe.M1) == (kline(0, close="3"),)


def test_candles_may_be_filled_in_later_and_lie_in_order() -> None:
    memory = TapeMemory()
    memory.take(kline(5, final=False))
    memory.fill([kline(4), kline(2), kline(3)])
    assert opens(memory) == [2, 3, 4, 5]


def test_only_as_many_are_kept_as_the_venue_answers_with() -> None:
    memory = TapeMemory()
    memory.fill(kline(k) for k in range(KLINES_MOST + 3))
    assert opens(memory)[0] == 3


def test_candles_of_the_mark_are_the_prices_without_volume() -> None:
    memory = TapeMemory()
    memory.take(kline(0))
    (mark,) = memory.mark_klines("BTCUSDT", Timeframe.M1)
    assert (mark.close, mark.volume, mark.trades) == (ONE, 0, 0)


def test_settlements_marks_and_trades_are_remembered_and_books_are_not() -> None:
    memory = TapeMemory()
    settled = [FundingTick("BTCUSDT", T0 + k, ONE, ONE) for k in range(3)]
    mark = MarkTick("BTCUSDT", T0, ONE, ONE, ONE, T0)
    trade = TradeTick("BTCUSDT", T0, 1, ONE, ONE, OrderSide.BUY)
    for tick in (*settled, settled[2], mark, structs.replace(mark, ts=T0 + 1), trade, BookTick("BTCUSDT", T0, 1, (), ())):
        memory.take(tick)
    assert memory.funding_rates("BTCUSDT", T0 + 1) == tuple(settled[1:])
    assert memory.premium("BTCUSDT") == structs.replace(mark, ts=T0 + 1)
    assert memory.last_trade("BTCUSDT") == trade
    assert memory.klines("ETHUSDT", Timeframe.M1) == memory.funding_rates("ETHUSDT") == ()
    assert memory.premium("ETHUSDT") is memory.last_trade("ETHUSDT") is None
