"""The server on a virtual loop with a network in memory: one seed fixes everything it does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import ccxt.pro

from core.data.sources.synthetic import SyntheticSource
from core.sim.local.exchange import LocalExchange
from core.sim.server.app import ExchangeServer
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import API_KEY, API_SECRET, Latencies, ServerOptions, Span
from core.sim.server.tls import VENUE_HOSTS
from core.sim.tape.listings import liquidity_of, listing_of
from core.sim.tape.source import SourceTape
from core.types import Timeframe
from tests.core.sim.kit import instrument
from tests.core.sim.server.kit import BTC_SWAP, D
from tests.support.simulation.world import run_world

ORDERS = 12


def made(clock: Any) -> ExchangeServer:
    """A made market, latency, and faults by chance."""
    start = clock.now_ms() // 60_000 * 60_000
    source = SyntheticSource([BTC_SWAP], seed=7, start=start, base_tf=Timeframe.M1)
    perp = replace(instrument(BTC_SWAP), allowed_tfs=frozenset({Timeframe.M1}))
    exchange = LocalExchange([listing_of(perp)], clock, wallet=D(1000), liquidity=liquidity_of([perp]))
    tape = SourceTape(source, [perp], exchange.position_sign)
    latencies = Latencies(Span(1, 5), Span(1, 5), Span(1, 20), Span(1, 20))
    return ExchangeServer(exchange, tape, clock, ServerOptions(seed=3, latencies=latencies))


async def trades_under_faults(world: Any) -> None:
    """The library with its own session and its own addresses, orders back and forth."""
    servers: list[ExchangeServer] = []

    async def exchange(_node: Any) -> None:
        servers.append(made(world.clocks))
        await servers[0].start("10.1.0.1", 443)
        for kind in (FaultKind.DROP_AFTER, FaultKind.HANG, FaultKind.TRUNCATED):
            servers[0].inject(Fault(kind, path="/fapi/v1/order", probability=0.1, times=0))
        await servers[0].finished()

    async def bot(_node: Any) -> None:
        client = ccxt.pro.binanceusdm(
            {"apiKey": API_KEY, "secret": API_SECRET, "timeout": 3_000, "options": {"fetchCurrencies": False}}
        )
        await client.load_markets()
        for number in range(ORDERS):
            try:
                order = await client.create_order(BTC_SWAP, "market", ("buy", "sell")[number % 2], 0.01)
                world.note("done", f"{order['average']}")
            except ccxt.BaseError as error:
                world.note("failed", type(error).__name__)
            await asyncio.sleep(2)
        await client.close()

    world.start("exchange", exchange, hosts=VENUE_HOSTS)
    await asyncio.sleep(0.5)
    await world.start("bot", bot).gone
    await servers[0].close()
    world.complaints.clear()


def test_one_seed_fixes_everything_that_a_client_sees() -> None:
    """Fills, faults and their times are the same in every run of a seed."""
    first, second = (run_world(1, trades_under_faults) for _ in range(2))
    assert first.events == second.events
    assert first.virtual_s == second.virtual_s
    assert sum("done" in event for event in first.events) + sum("failed" in event for event in first.events) == ORDERS
    assert any("failed" in event for event in first.events)


async def silent_sockets(world: Any) -> None:
    """A client that pings each 10 s; its sockets fall silent, and only later they answer no pings any more."""
    servers: list[ExchangeServer] = []

    async def exchange(_node: Any) -> None:
        servers.append(made(world.clocks))
        await servers[0].start("10.1.0.1", 443)
        await servers[0].finished()

    async def bot(_node: Any) -> None:
        client = ccxt.pro.binanceusdm(
            {"streaming": {"keepAlive": 10_000, "maxPingPongMisses": 2}, "options": {"fetchCurrencies": False}}
        )
        await client.load_markets()
        await client.watch_trades(BTC_SWAP)
        for answers in (True, False):
            servers[0].inject(Fault(FaultKind.SILENT_SOCKET, executed=answers))
            begun = world.loop.time()
            try:
                async with asyncio.timeout(120):
                    while True:  # the first may be what was on its way
                        await client.watch_trades(BTC_SWAP)
            except (TimeoutError, ccxt.BaseError) as error:
                world.note(type(error).__name__, f"after 120 s: {world.loop.time() - begun >= 120}")
        await client.close()

    world.start("exchange", exchange, hosts=VENUE_HOSTS)
    await asyncio.sleep(0.5)
    await world.start("bot", bot).gone
    await servers[0].close()
    world.complaints.clear()


def test_a_silent_socket_is_noticed_by_the_library_only_through_its_pings() -> None:
    """exchange.md 4: staleness is found by keepAlive x misses, or by one's own budget."""
    told = [event.partition(" bot ")[2] for event in run_world(1, silent_sockets).events if " bot " in event]
    assert told == ["TimeoutError after 120 s: True", "RequestTimeout after 120 s: False"]
