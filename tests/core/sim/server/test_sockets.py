"""Life of a WebSocket: commands, limits, pings, silence and its end (exchange.md 1.2)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ccxt
import pytest
from aiohttp import WSMsgType

from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import Latencies, Limits, Span
from tests.core.sim.server.kit import BTC_SWAP, World, raises, serving, told, until


async def answer(socket: Any, frame: str) -> Any:
    """What a frame is answered with."""
    await socket.send_str(frame)
    return await asyncio.wait_for(socket.receive_json(), 3)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", 3),
        ('{"id": 1}', 2),
        ('{"method": "DANCE", "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": ["btcusdt@kline_5m"], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": ["btcusdt@weather"], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": 5, "id": 1}', 2),
    ],
)
async def test_a_command_that_makes_no_sense_is_answered_so(frame: str, code: int, plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        assert (await answer(socket, frame))["error"]["code"] == code
        assert plain.subscriptions == 0


async def test_a_symbol_that_is_not_listed_is_acknowledged_and_silent(plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        told_back = await answer(socket, '{"method": "SUBSCRIBE", "params": ["dogebtc@trade", "dogebtc@depth"], "id": "a"}')
        assert told_back == {"result": None, "id": "a"}


async def test_a_socket_carries_only_so_many_streams(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, told(limits=Limits(streams_per_socket=1)), tls=False) as world,
        world.socket("/public/ws") as socket,
    ):
        frame = '{"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@bookTicker"], "id": 1}'
        assert (await answer(socket, frame))["error"]["msg"] == "Invalid request: too many streams"


async def test_a_client_that_talks_too_fast_is_disconnected(tmp_path: Path) -> None:
    options = told(limits=Limits(messages_per_second=3))
    async with serving(tmp_path, options, tls=False) as world, world.socket("/public/ws") as socket:
        for _ in range(8):
            await socket.send_str('{"method": "LIST_SUBSCRIPTIONS", "id": 1}')
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            pass
        assert message.type is WSMsgType.CLOSE
        assert socket.close_code == 1008


async def test_pings_go_both_ways(tmp_path: Path) -> None:
    options = told(ping_ms=30, pong_ms=10_000)
    async with serving(tmp_path, options, tls=False) as world, world.silent_socket() as socket:
        message = await asyncio.wait_for(socket.receive(), 3)
        assert message.type is WSMsgType.PING
        await socket.pong(message.data)
        await socket.ping(b"hello")
        while (message := await asyncio.wait_for(socket.receive(), 3)).type is not WSMsgType.PONG:
            pass
        assert message.data == b"hello"


async def test_a_client_that_does_not_answer_pings_is_disconnected(tmp_path: Path) -> None:
    options = told(ping_ms=20, pong_ms=60)
    async with serving(tmp_path, options, tls=False) as world, world.silent_socket() as socket:
        while (message := await asyncio.wait_for(socket.receive(), 3)).type is WSMsgType.PING:
            pass
        assert message.type is WSMsgType.CLOSE


async def test_a_connection_ends_after_a_day(tmp_path: Path) -> None:
    """24 h, here 80 ms."""
    async with serving(tmp_path, told(connection_ms=80), tls=False) as world, world.socket("/public/ws/btcusdt@trade") as socket:
        assert (await asyncio.wait_for(socket.receive(), 3)).type is WSMsgType.CLOSE
        await until(lambda: world.subscriptions == 0)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_silent_socket_may_go_on_answering_pings(answers: bool, plain: World) -> None:
    """A pong alone does not prove data (exchange.md 4)."""
    async with plain.silent_socket() as socket:
        assert (await answer(socket, '{"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}'))["result"] is None
        plain.server.inject(Fault(FaultKind.SILENT_SOCKET, executed=answers))
        await plain.play(plain.trade("50001"))
        await socket.ping(b"there?")
        if answers:
            assert (await asyncio.wait_for(socket.receive(), 3)).type is WSMsgType.PONG
        assert (await raises(asyncio.wait_for(socket.receive(), 0.1))).__class__ is TimeoutError


async def test_silence_swallows_what_was_already_on_its_way(tmp_path: Path) -> None:
    slow = told(latencies=Latencies(market=Span(60, 60)), ping_ms=20)
    async with serving(tmp_path, slow, tls=False) as world, world.socket("/public/ws/btcusdt@trade") as socket:
        await until(lambda: world.subscriptions == 1)
        await world.play(world.trade("50001"))
        world.server.inject(Fault(FaultKind.SILENT_SOCKET))
        assert (await raises(asyncio.wait_for(socket.receive(), 0.15))).__class__ is TimeoutError


async def test_a_silent_socket_ends_with_its_day(tmp_path: Path) -> None:
    async with serving(tmp_path, told(connection_ms=100), tls=False) as world, world.socket("/public/ws/btcusdt@trade") as socket:
        await until(lambda: world.subscriptions == 1)
        world.server.inject(Fault(FaultKind.SILENT_SOCKET))
        await asyncio.wait_for(socket.receive(), 3)
        assert socket.closed


async def test_a_disconnect_reaches_those_it_names_and_the_library_says_so(world: World, venue: Any) -> None:
    watching = asyncio.create_task(raises(venue.watch_trades(BTC_SWAP)))
    await until(lambda: world.subscriptions == 1)
    world.server.inject(Fault(FaultKind.DISCONNECT, stream="private"))
    await asyncio.sleep(0.02)
    assert not watching.done()
    world.server.inject(Fault(FaultKind.DISCONNECT, after_ms=20))
    assert isinstance(await asyncio.wait_for(watching, 3), ccxt.NetworkError)


async def test_a_client_that_reads_too_slowly_is_disconnected(tmp_path: Path) -> None:
    """No client may hold up the others, or the server's memory."""
    slow = told(limits=Limits(queued_messages=3), latencies=Latencies(market=Span(5_000, 5_000)))
    async with serving(tmp_path, slow, tls=False) as world, world.socket("/public/ws/btcusdt@trade") as socket:
        await until(lambda: world.subscriptions == 1)
        await world.play(*[world.trade("50001") for _ in range(6)])
        await asyncio.wait_for(socket.receive(), 3)
        assert socket.closed


async def test_a_client_that_is_gone_holds_up_nobody(plain: World) -> None:
    """exchange.md 5.3: one broken socket must not stop the broadcast for everyone."""
    gone = await plain.socket("/public/ws/btcusdt@trade")
    async with plain.socket("/public/ws/btcusdt@trade") as stays:
        await until(lambda: plain.subscriptions == 2)
        gone._response.connection.transport.abort()
        await plain.play(*[plain.trade("50001") for _ in range(5)])
        for _ in range(5):
            assert (await asyncio.wait_for(stays.receive_json(), 3))["p"] == "50001"
        await until(lambda: plain.subscriptions == 1)
    await gone.close()


async def test_closing_the_server_ends_its_sockets(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False) as world, world.socket("/market/ws") as socket:
        await world.server.close()
        assert (await socket.receive()).type in {WSMsgType.CLOSE, WSMsgType.CLOSED}


async def test_binary_frames_are_passed_over(plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        await socket.send_bytes(b"\x00")
        assert await answer(socket, '{"method": "LIST_SUBSCRIPTIONS", "id": 1}') == {"result": [], "id": 1}
