"""The unmodified client over the network in memory: its addresses as they are, and the classes of a real host's failures."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import ccxt
import pytest

from tests.simulation.venue import REST, STREAMS, SYMBOL, buy, client, venue
from tests.support.simulation.loop import WORLD
from tests.support.simulation.network import Fault, Kind, Way
from tests.support.simulation.world import Node, World, run_world

pytestmark = pytest.mark.untraced

IDLE_S = 20.0
"""After which the client has forgotten addresses and kept connections."""


def world_of(world: World, bot: Any) -> Node:
    world.start("venue", venue, hosts=(REST, STREAMS))
    return world.start("bot", bot)


async def an_hour_at_the_venue(node: Node) -> None:
    async with client() as exchange:
        assert exchange.markets[SYMBOL]["precision"]["amount"] == 0.001
        order = await buy(exchange, "one")
        node.world.note(order["status"], order["filled"], order["clientOrderId"])
        for _ in range(3):
            bars = await exchange.watch_ohlcv(SYMBOL, "1m")
            node.world.note("close", bars[-1][4])


async def good_day(world: World) -> None:
    await world_of(world, an_hour_at_the_venue).gone


def test_the_real_client_trades_and_streams_with_its_own_addresses() -> None:
    events = [event.split(" ", 1)[1] for event in run_world(1, good_day).events]
    assert events == ["venue accepted one", "bot closed 0.002 one", "bot close 0.0", "bot close 1.0", "bot close 2.0"]


FAULTS = {
    "names": (Fault(Kind.DNS_DOWN, "bot", REST), ccxt.ExchangeNotAvailable, 0.0, False),
    "refused": (Fault(Kind.REFUSE, "bot", "venue"), ccxt.ExchangeNotAvailable, 0.0, False),
    "half-open": (Fault(Kind.BLACK_HOLE, "bot", "venue"), ccxt.RequestTimeout, 5.0, False),
    "partition": (Fault(Kind.BLACK_HOLE, "venue"), ccxt.RequestTimeout, 5.0, False),
    "request-dropped": (Fault(Kind.DROP, "bot", way=Way.THERE), ccxt.ExchangeNotAvailable, 0.0, False),
    "reply-dropped": (Fault(Kind.DROP, "bot", way=Way.BACK), ccxt.ExchangeNotAvailable, 0.0, True),
    "reply-truncated": (Fault(Kind.TRUNCATE, "bot", way=Way.BACK), ccxt.ExchangeError, 0.0, True),
    "reply-hangs": (Fault(Kind.BLACK_HOLE, "venue", way=Way.THERE), ccxt.RequestTimeout, 5.0, True),
    "slow": (Fault(Kind.SLOW, "bot", way=Way.BACK, delay_s=9.0), ccxt.RequestTimeout, 5.0, True),
}


async def one_order(node: Node, name: str | None, warm: str) -> None:
    """The fault comes onto a connection in use, or when a new one is needed."""
    async with client() as exchange:
        await asyncio.sleep(0.0 if warm == "warm" else IDLE_S)
        if name:
            node.world.network.add(FAULTS[name][0])
        began = node.world.loop.time()
        try:
            await buy(exchange, "one")
        except ccxt.BaseError as error:
            node.world.note(type(error).__name__, node.world.loop.time() - began)


async def one_fault(world: World, name: str, warm: str) -> None:
    world.at(3 * IDLE_S, world.network.heal)  # a client whose goodbye is lost in a black hole waits for it
    await world_of(world, partial(one_order, name=name, warm=warm)).gone


def cases() -> list[Any]:
    connecting = {"names", "refused"}
    warm = [(name, "warm") for name in FAULTS if name not in connecting]
    # a reply that is to be lost needs a connection first, and the handshake comes back that way
    cold = [(name, "cold") for name in FAULTS if name != "reply-hangs"]
    return [pytest.param(*case, id="-".join(case)) for case in warm + cold]


@pytest.mark.parametrize(("name", "warm"), cases())
def test_a_fault_has_the_class_it_has_with_the_real_host(name: str, warm: str) -> None:
    """Section 1.4 of the measurements: and whether the venue took the order is not to be read from the class."""
    _, kind, after_s, accepted = FAULTS[name]
    events = run_world(1, one_fault, name, warm).events
    [told] = [event.split()[2:] for event in events if event.split()[1] == "bot"]
    assert told[0] == kind.__name__
    assert after_s <= float(told[1]) < after_s + 0.5
    assert accepted == any("accepted one" in event for event in events)


async def clock_is_late(world: World) -> None:
    world.clocks.skew_ms["bot"] = -6_000
    await world_of(world, partial(one_order, name=None, warm="warm")).gone


def test_a_clock_six_seconds_late_is_refused_as_by_the_venue() -> None:
    assert "InvalidNonce" in run_world(1, clock_is_late).events[-1]


async def watching(node: Node) -> None:
    async with client() as exchange:
        exchange.streaming["keepAlive"] = 1_500
        try:
            while True:
                await exchange.watch_ohlcv(SYMBOL, "1m")
                node.world.note("bar")
        except ccxt.NetworkError as error:
            node.world.note(type(error).__name__)


async def silent_stream(world: World, kind: str) -> None:
    fault = Fault(Kind[kind], "bot", STREAMS)
    world.during(5.0, 60.0, fault)
    await world_of(world, watching).gone


def test_a_silent_stream_is_found_by_its_missing_pongs() -> None:
    events = run_world(1, silent_stream, "BLACK_HOLE").events
    assert events[-1].endswith("bot RequestTimeout")
    assert 8.0 < float(events[-1].split()[0]) < 13.0


def test_a_broken_stream_is_told_at_once() -> None:
    events = run_world(1, silent_stream, "RESET").events
    assert events[-1].endswith("bot NetworkError")
    assert float(events[-1].split()[0]) < 5.01


async def late_order(node: Node) -> None:
    async with client(timeout=1_000) as exchange:
        node.world.at(node.world.loop.time(), node.world.network.add, Fault(Kind.BLACK_HOLE, "bot", way=Way.THERE))
        await asyncio.sleep(0.001)
        with pytest.raises(ccxt.RequestTimeout):
            await buy(exchange, "late")
        node.world.note("given up")
        await asyncio.sleep(60.0)


async def late_arrival(world: World, healed_at: str) -> None:
    world.at(float(healed_at), world.network.heal)
    await world_of(world, late_order).gone


def test_what_a_black_hole_held_back_arrives_when_it_is_over_and_too_late_is_refused() -> None:
    words = [event.split(" ", 2)[2] for event in run_world(1, late_arrival, "3.0").events]
    assert words == ["given up", "accepted late"]
    assert "accepted" not in " ".join(run_world(1, late_arrival, "9.0").events)


async def calls_home(_node: Node) -> None:
    with contextlib.suppress(AssertionError):
        await asyncio.open_connection("api.telemetry.example", 443)


async def a_stranger(world: World) -> None:
    await world.start("bot", calls_home).gone


def test_a_host_that_is_not_in_the_world_fails_it_even_where_the_error_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"bot asked for api\.telemetry\.example"):
        run_world(1, a_stranger)


async def much(world: World) -> None:
    """Four megabytes through ordinary streams to a reader that takes its time."""
    data = bytes(range(256)) * 16_384
    most = 0

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        for at in range(0, len(data), 10_000):
            writer.write(data[at : at + 10_000])
            most = max(most, writer.transport.get_write_buffer_size())
            await writer.drain()
        writer.close()

    async def server(_node: Node) -> None:
        await asyncio.start_server(serve, "0.0.0.0", 80)  # noqa: S104 - there is no outside

    world.start("server", server, hosts=("files",))
    await asyncio.sleep(1.0)
    reader, writer = await asyncio.open_connection("files", 80)
    got = bytearray()
    while part := await reader.read(50_000):
        got += part
        await asyncio.sleep(0.05)
    writer.close()
    assert got == data
    assert most < 100_000


def test_bytes_arrive_in_order_and_a_fast_writer_waits_for_a_slow_reader() -> None:
    run_world(1, much)


async def twice_on_a_port(world: World) -> None:
    await asyncio.start_server(lambda _reader, _writer: None, port=80)
    with pytest.raises(OSError, match="world already listens on port 80"):
        await asyncio.start_server(lambda _reader, _writer: None, port=80)
    server = await asyncio.start_server(lambda _reader, _writer: None)
    assert server.sockets[0].getsockname()[1] >= 40_000
    server.close()
    assert not server.is_serving()
    assert world.network.listening(WORLD.node, 80) is not None


def test_a_port_is_taken_once() -> None:
    run_world(1, twice_on_a_port)
