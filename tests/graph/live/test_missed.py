"""What a paper exchange did not hear is played afterwards: at a start, and after a break (X32)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs, to_builtins

import core.sim.tape.relay as tape_module
import graph.live.relay as relay_module
from core.sim.local.values import (
    AlgoType,
    FundingTick,
    KlineTick,
    MarkTick,
    NewAlgo,
    NewOrder,
    OrderSide,
    OrderType,
    TimeInForce,
    TradeTick,
)
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import ServerOptions
from core.types import Timeframe
from graph.assembly import instruments_for
from graph.live.local import LocalVenue, local_wiring, relayed_venue
from graph.live.missed import Heard, Stakes
from graph.live.relay import MarketRelay
from tests.core.sim.server.kit import BTC, BTC_SWAP, PRICE, D, World, serving, until
from tests.graph.live.test_relay import BASE, QUICK, beside, telling
from tests.support.run import short_configuration

MINUTE, HOUR = 60_000, 3_600_000


def minute(world: World, ago: int, prices: tuple[int, int, int, int]) -> KlineTick:
    """The candle (open, high, low, close) of so many minutes ago."""
    opened = world.now() // MINUTE * MINUTE - ago * MINUTE
    told = dict(zip(("open", "high", "low", "close"), map(D, prices), strict=True))
    return structs.replace(world.candle(opened, tf=Timeframe.M1), **told)


@asynccontextmanager
async def paper(world: World, last_mark: MarkTick | None = None) -> AsyncIterator[tuple[MarketRelay, LocalVenue]]:
    """A paper exchange, long 0.01 with a stop at 49,000, whose market is ``world``; ``last_mark`` it heard last."""
    assert world.cert is not None
    instruments = instruments_for(short_configuration(), (BTC_SWAP,))
    relay = MarketRelay(BASE, local_wiring(world.port, world.cert), QUICK)
    venue = relayed_venue(relay.tape, instruments, world.clock, 10_000.0, ServerOptions(reaction_ms=5))
    relay.stakes = Stakes(venue.exchange, instruments)
    long_with_a_stop(venue, world)
    if last_mark is not None:
        relay.tape.restore({"marks": to_builtins([last_mark])})
    await venue.server.start()
    work = asyncio.create_task(telling(world))
    async with beside(work):
        try:
            await relay.start()
            yield relay, venue
        finally:
            await relay.close()
            await venue.server.close()


def long_with_a_stop(venue: LocalVenue, world: World) -> None:
    engine = venue.exchange
    engine.trade(TradeTick(BTC, world.now(), 1, PRICE, D(1), OrderSide.BUY))
    engine.place(NewOrder(BTC, OrderSide.BUY, OrderType.MARKET, D("0.01"), None, TimeInForce.GTC))
    stop = NewAlgo(BTC, OrderSide.SELL, AlgoType.STOP_MARKET, D("0.01"), trigger_price=D(49_000), reduce_only=True)
    engine.place_algo(stop)


def mark(world: World, ts: int, due: int | None = None) -> MarkTick:
    return MarkTick(BTC, ts, PRICE, PRICE, D("0.0001"), due or world.now() + HOUR)


def sold(venue: LocalVenue) -> list[Any]:
    return [fill.price for fill in venue.exchange.trades(BTC) if fill.side is OrderSide.SELL]


async def played(venue: LocalVenue) -> None:
    await until(lambda: venue.exchange.last_price(BTC) == PRICE and venue.server.played_to > 0)
    await asyncio.sleep(0.1)


async def test_a_stop_that_was_touched_while_paper_was_down_was_reached(tmp_path: Path) -> None:
    """The price is back where it was; a position that were still open would be better than the market."""
    async with serving(tmp_path) as world:
        world.tape.candles += [
            minute(world, 3, (50_000, 50_100, 48_000, 50_050)),  # it was heard in part: what of it nobody knows
            minute(world, 2, (50_050, 50_100, 48_900, 50_000)),
            minute(world, 1, (50_000, 50_020, 49_990, 50_000)),
        ]
        gone = world.now() // MINUTE * MINUTE - 3 * MINUTE + 20_000
        async with paper(world, mark(world, gone)) as (_, venue):
            await until(lambda: venue.exchange.position_sign(BTC) == 0)
            await played(venue)
            (price,) = sold(venue)
            assert D(48_800) < price <= D(48_900)


@pytest.mark.parametrize("low", [48_000, 49_500])
async def test_of_the_minute_that_was_heard_in_part_only_its_close_is_known(low: int, tmp_path: Path) -> None:
    async with serving(tmp_path) as world:
        world.tape.candles += [
            minute(world, 1, (50_000, 50_100, low, 50_050)),
            minute(world, 0, (50_050, 50_100, 49_100, 50_000)),
        ]
        async with paper(world, mark(world, world.now() // MINUTE * MINUTE - 1)) as (_, venue):
            await played(venue)
            assert sold(venue) == []


async def test_a_stop_that_a_trade_touches_while_no_book_is_heard_is_reached(tmp_path: Path) -> None:
    """By a modelled book of that trade, which is gone again at once: nothing is bought by it."""
    async with serving(tmp_path) as world, paper(world) as (_, venue):
        await played(venue)
        world.server.inject(Fault(FaultKind.DISCONNECT, stream="public"))
        await asyncio.sleep(0.001)
        world.tape.push(world.trade(48_500))
        await until(lambda: venue.exchange.position_sign(BTC) == 0)
        await played(venue)


async def test_a_stop_that_was_touched_during_a_break_was_reached(tmp_path: Path) -> None:
    """Trades that nobody heard are played afterwards."""
    async with serving(tmp_path) as world, paper(world) as (relay, venue):
        await played(venue)
        world.tape.candles.append(minute(world, 0, (50_000, 50_100, 48_500, 50_000)))
        world.server.inject(Fault(FaultKind.DISCONNECT, stream="market"))
        await until(lambda: venue.exchange.position_sign(BTC) == 0)
        await played(venue)
        (price,) = sold(venue)
        assert D(48_400) < price <= D(48_500)
        await until(lambda: not relay._behind)


async def test_what_was_heard_of_a_minute_is_not_played_twice(tmp_path: Path) -> None:
    """The low lies before the break, when the position may not have been there."""
    async with serving(tmp_path) as world, paper(world) as (relay, venue):
        await played(venue)
        opened = world.now() // MINUTE * MINUTE
        relay._heard[BTC] = Heard(opened, 48_500.0, 50_100.0)
        world.tape.candles.append(minute(world, 0, (50_000, 50_100, 48_500, 50_000)))
        world.server.inject(Fault(FaultKind.DISCONNECT, stream="market"))
        await until(lambda: relay._breaks == 1)
        await until(lambda: not relay._behind)
        await played(venue)
        assert sold(venue) == []


async def test_funding_due_after_the_stop_is_not_paid_on_what_was_not_held_any_more(tmp_path: Path) -> None:
    """Prices and settlements are played in order of time."""
    async with serving(tmp_path) as world:
        now = world.now() // MINUTE * MINUTE
        world.tape.candles += [
            minute(world, 3, (50_000, 50_100, 48_500, 50_000)),
            minute(world, 2, (50_000, 50_010, 49_990, 50_000)),
            minute(world, 1, (50_000, 50_010, 49_990, 50_000)),
        ]
        world.tape.settled.append(FundingTick(BTC, now - 2 * MINUTE, D("0.01"), PRICE))
        async with paper(world, mark(world, now - 4 * MINUTE, now - 2 * MINUTE)) as (_, venue):
            await until(lambda: venue.exchange.position_sign(BTC) == 0)
            await played(venue)
            assert venue.exchange.income(BTC, kind="FUNDING_FEE") == ()


async def test_a_hole_of_hours_is_played_in_parts_that_no_book_is_left_out_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tape with too many ticks waiting leaves books out: a stop would fill by one of another hour."""
    monkeypatch.setattr(relay_module, "_AT_ONCE", 30)
    monkeypatch.setattr(tape_module, "WAITING_MOST", 40)
    async with serving(tmp_path) as world:
        quiet = [minute(world, ago, (50_000, 50_100, 49_900, 50_000)) for ago in range(60, 0, -1)]
        quiet[30] = structs.replace(quiet[30], low=D(48_500))
        world.tape.candles += quiet
        async with paper(world, mark(world, world.now() - HOUR)) as (relay, venue):
            assert venue.exchange.position_sign(BTC) == 0  # before anybody asks
            await played(venue)
            (price,) = sold(venue)
            assert D(48_400) < price <= D(48_500)
            assert relay.tape.left_out == 0
