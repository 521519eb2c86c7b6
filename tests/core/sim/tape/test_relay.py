"""A tape that is fed from outside."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from msgspec import structs

import core.sim.tape.relay as relay_module
from core.clock import VirtualClock
from core.errors import StateError
from core.sim.local.values import BookTick, FundingTick, KlineTick, MarkTick, OrderSide, Tick, TradeTick
from core.sim.tape.relay import RelayTape
from core.types import Timeframe
from tests.core.data.making import T0
from tests.core.sim.tape.kit import played

ONE = Decimal(1)
TRADE = TradeTick("BTCUSDT", T0, 1, ONE, ONE, OrderSide.BUY)
BOOK = BookTick("BTCUSDT", T0, 1, (), ())
MARK = MarkTick("BTCUSDT", T0, ONE, ONE, ONE, T0)
KLINE = KlineTick("BTCUSDT", T0, Timeframe.M1, T0, ONE, ONE, ONE, ONE, ONE, ONE, 1, 1, 1, ONE, final=False)
FUNDING = FundingTick("BTCUSDT", T0, ONE, ONE)


def relay() -> RelayTape:
    return RelayTape("binance", {"BTCUSDT": (Timeframe.M1,)})


async def test_ticks_come_out_in_the_order_in_which_they_went_in() -> None:
    tape = relay()
    pushed = [TRADE, BOOK, MARK, KLINE, FUNDING, structs.replace(TRADE, ts=T0 + 1, trade_id=2)]
    for tick in pushed:
        tape.push(tick)
    tape.close()
    assert await played(tape) == pushed
    assert tape.klines("BTCUSDT", Timeframe.M1) == (KLINE,)
    assert tape.mark_klines("BTCUSDT", Timeframe.M1)[0].volume == 0
    assert tape.funding_rates("BTCUSDT") == (FUNDING,)
    assert tape.spot_klines("BTCUSDT", Timeframe.H1) == ()
    assert tape.premium("BTCUSDT") == MARK


async def test_a_consumer_waits_until_something_comes() -> None:
    tape = relay()
    heard: list[Tick] = []

    async def listen() -> None:
        heard.extend([tick async for tick in tape.ticks()])

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    assert heard == []
    tape.push(TRADE)
    await asyncio.sleep(0)
    tape.push(BOOK)
    tape.close()
    await listening
    assert heard == [TRADE, BOOK]


async def test_time_never_runs_back() -> None:
    tape = relay()
    tape.push(TRADE)
    tape.push(structs.replace(BOOK, ts=T0 - 5))
    tape.close()
    assert [tick.ts for tick in await played(tape)] == [T0, T0]


async def test_what_is_older_than_wished_is_only_remembered() -> None:
    tape = relay()
    tape.push(MARK)
    tape.push(structs.replace(TRADE, ts=T0 + 1))
    tape.close()
    assert [tick.ts for tick in await played(tape, after_ts=T0)] == [T0 + 1]
    assert tape.premium("BTCUSDT") == MARK


async def test_a_slow_consumer_misses_only_what_a_newer_tick_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "WAITING_MOST", 1)
    tape = relay()
    final = structs.replace(KLINE, final=True)
    for tick in (TRADE, BOOK, MARK, KLINE, TRADE, FUNDING, final, structs.replace(BOOK, update_id=2), MARK, KLINE):
        tape.push(tick)
    tape.close()
    assert await played(tape) == [TRADE, TRADE, FUNDING, final, structs.replace(BOOK, update_id=2), MARK, KLINE]
    assert tape.left_out == 3


async def test_history_may_be_filled_in() -> None:
    tape = relay()
    tape.fill([structs.replace(KLINE, final=True)])
    assert len(tape.klines("BTCUSDT", Timeframe.M1)) == 1


def test_a_closed_tape_takes_nothing_more() -> None:
    tape = relay()
    tape.close()
    with pytest.raises(StateError, match="after it was closed"):
        tape.push(TRADE)


async def test_the_marks_are_saved_for_they_tell_what_was_to_be_settled_next() -> None:
    tape, again = relay(), relay()
    assert tape.snapshot() == {"marks": []}
    tape.push(MARK)
    tape.close()
    await played(tape)
    again.restore(tape.snapshot())
    assert again.premium("BTCUSDT") == MARK
    assert tape.info.drawn_path is False


async def test_what_comes_from_the_future_is_of_now() -> None:
    """A wrong time must make neither those after it wrong nor the exchange wait for it."""
    tape, clock = relay(), VirtualClock(T0 + 10)
    tape.clock = clock
    tape.push(structs.replace(TRADE, ts=T0 + 10**9))
    clock.set(T0 + 20)
    tape.push(structs.replace(TRADE, ts=T0 + 15))
    tape.close()
    assert [tick.ts for tick in await played(tape)] == [T0 + 10, T0 + 15]


@pytest.mark.parametrize("clock", [None, VirtualClock(T0 + 7)])
async def test_books_can_be_forgotten(clock: VirtualClock | None) -> None:
    tape = relay()
    tape.clock = clock
    tape.push(TRADE)
    tape.forget_books()
    tape.close()
    assert (await played(tape))[1] == BookTick("BTCUSDT", T0 if clock is None else T0 + 7, 0, (), ())
