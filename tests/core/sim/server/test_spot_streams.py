"""The spot host's streams: candles of the hour as REST tells them, each final one once, at an address of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from core.data.sources.synthetic import SyntheticSource
from core.sim.local.values import KlineTick
from core.sim.server.faults import Fault, FaultKind, FaultPlan
from core.sim.server.spot_streams import EVERY_MS, SpotStreams
from core.sim.server.stream_names import Category, stream_at
from core.sim.tape.source import SourceTape, TapeOptions
from core.types import Timeframe
from tests.core.sim.kit import instrument
from tests.core.sim.server.kit import BTC, BTC_SWAP, D, World, serving, until
from tests.core.sim.server.test_streams import receive, subscribe, watching

HOUR = Timeframe.H1.ms
BEGUN = 490_000 * HOUR
NAME = "btcusdt@kline_1h"


@pytest.fixture
async def quiet(tmp_path: Path) -> AsyncIterator[World]:
    """Nothing has happened yet, so that a test may begin in the past."""
    async with serving(tmp_path, tls=False, open_market=False) as made:
        yield made


def spot(world: World, hour: int, price: str, *, final: bool) -> KlineTick:
    """A candle of the spot market that opens ``hour`` hours after the tests' own."""
    told = world.candle(BEGUN + hour * HOUR, tf=Timeframe.H1, final=final)
    return structs.replace(told, close=D(price))


async def pass_time(world: World, ts: int) -> None:
    """Let the market come to ``ts``; what a tick makes known is told with the next one."""
    await world.play(*[structs.replace(world.candle(0), ts=ts)] * 2)


async def heard(socket: Any, count: int) -> list[tuple[int, str, bool]]:
    """The next candles: hour, close, and whether it is final."""
    told = [(await receive(socket, "kline"))["k"] for _ in range(count)]
    return [((row["t"] - BEGUN) // HOUR, row["c"], row["x"]) for row in told]


async def silent(socket: Any) -> bool:
    try:
        await asyncio.wait_for(socket.receive_json(), 0.1)
    except TimeoutError:
        return True
    return False


async def test_a_forming_candle_comes_with_each_beat_and_a_final_one_once(quiet: World) -> None:
    tape = quiet.tape
    tape.spot_candles = [spot(quiet, -1, "10", final=True), spot(quiet, 0, "11", final=False)]
    async with quiet.socket("/ws") as socket:
        await subscribe(socket, NAME)
        await pass_time(quiet, BEGUN + 10)
        await pass_time(quiet, BEGUN + 1_990)
        assert await heard(socket, 1) == [(0, "11", False)]
        await pass_time(quiet, BEGUN + EVERY_MS)
        assert await heard(socket, 1) == [(0, "11", False)]
        tape.spot_candles[1:] = [spot(quiet, 0, "13", final=True), spot(quiet, 1, "13", final=False)]
        await pass_time(quiet, BEGUN + HOUR)
        assert await heard(socket, 2) == [(0, "13", True), (1, "13", False)]
        await pass_time(quiet, BEGUN + HOUR + EVERY_MS)
        assert await heard(socket, 1) == [(1, "13", False)]
        assert await silent(socket)


async def test_what_is_known_late_is_told_then_and_a_gap_is_left_out_as_by_rest(quiet: World) -> None:
    tape = quiet.tape
    tape.spot_candles = [spot(quiet, 0, "11", final=False)]
    async with quiet.socket(f"/ws/{NAME}") as socket:
        await pass_time(quiet, BEGUN)
        tape.spot_candles = [spot(quiet, 0, "12", final=True)]
        await pass_time(quiet, BEGUN + HOUR + 60_000)
        tape.spot_candles += [spot(quiet, 2, "14", final=True), spot(quiet, 3, "14", final=False)]
        await pass_time(quiet, BEGUN + 3 * HOUR)
        assert await heard(socket, 4) == [(0, "11", False), (0, "12", True), (2, "14", True), (3, "14", False)]


async def test_who_comes_later_is_told_nothing_of_before(quiet: World) -> None:
    tape = quiet.tape
    tape.spot_candles = [spot(quiet, 0, "11", final=False)]
    async with quiet.socket("/ws") as socket:
        await subscribe(socket, NAME)
        await socket.send_json({"method": "UNSUBSCRIBE", "params": [NAME, "ethusdt@kline_1h"], "id": 2})
        assert await socket.receive_json() == {"result": None, "id": 2}
        tape.spot_candles = [spot(quiet, 0, "12", final=True), spot(quiet, 1, "12", final=True)]
        await subscribe(socket, NAME, number=3)
        await pass_time(quiet, BEGUN + 2 * HOUR)
        tape.spot_candles.append(spot(quiet, 2, "13", final=True))
        await pass_time(quiet, BEGUN + 3 * HOUR)
        assert await heard(socket, 1) == [(2, "13", True)]


async def test_each_socket_is_told_and_one_that_leaves_takes_nothing_from_the_others(quiet: World) -> None:
    quiet.tape.spot_candles = [spot(quiet, 0, "11", final=False)]
    gone = await quiet.socket(f"/ws/{NAME}")
    async with quiet.socket(f"/stream?streams={NAME}") as stays:
        await until(lambda: quiet.subscriptions == 2)
        await pass_time(quiet, BEGUN)
        assert (await stays.receive_json())["stream"] == NAME
        assert await heard(gone, 1) == [(0, "11", False)]
        await gone.close()
        await until(lambda: quiet.subscriptions == 1)
        await pass_time(quiet, BEGUN + EVERY_MS)
        assert (await stays.receive_json())["data"]["k"]["c"] == "11"


async def test_the_two_markets_are_never_mixed_up(quiet: World) -> None:
    quiet.tape.spot_candles = [spot(quiet, 0, "11", final=False)]
    async with quiet.socket(f"/ws/{NAME}") as own, quiet.socket(f"/market/ws/{NAME}") as perpetual:
        await until(lambda: quiet.subscriptions == 2)
        await quiet.play(structs.replace(quiet.candle(BEGUN, tf=Timeframe.H1), ts=BEGUN))
        await pass_time(quiet, BEGUN)
        assert await heard(own, 1) == [(0, "11", False)]
        assert await heard(perpetual, 1) == [(0, "50050.0", True)]
        assert await silent(own)
        assert await silent(perpetual)


async def test_a_market_without_spot_is_silent_and_other_streams_are_refused(quiet: World) -> None:
    async with quiet.socket("/ws") as socket:
        await subscribe(socket, "ethusdt@kline_1h", "btcusdt@kline_5m")
        await pass_time(quiet, BEGUN)
        assert await silent(socket)
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 7})
        assert (await socket.receive_json())["error"]["code"] == 2


async def test_the_futures_host_has_no_address_without_a_category(world: World) -> None:
    """Whoever still goes there must not get prices of another market."""
    session = world.session()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(f"wss://fstream.binance.com/ws/{NAME}")
    assert refused.value.status == 404
    async with session.ws_connect(f"wss://stream.binance.com:9443/ws/{NAME}"):
        await until(lambda: world.subscriptions == 1)


async def test_the_library_s_own_spot_client_hears_them(world: World) -> None:
    """By its own address, and in the form that it reads."""
    client = world.client(
        kind="binance", options={"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    )
    await client.load_markets()
    world.tape.spot_candles = [spot(world, 0, "11.5", final=False)]
    beat = [structs.replace(world.candle(0), ts=BEGUN)] * 2
    rows = await watching(world, client.watch_ohlcv("BTC/USDT", "1h"), *beat)
    assert rows[-1] == [BEGUN, 50_000.0, 50_100.0, 49_900.0, 11.5, 12.5]
    assert rows[-1] == (await client.fetch_ohlcv("BTC/USDT", "1h"))[-1]


async def test_its_faults_are_named_apart_from_those_of_the_perpetuals(quiet: World) -> None:
    quiet.tape.spot_candles = [spot(quiet, 0, "11", final=False)]
    quiet.server.inject(Fault(FaultKind.MISSING_FINAL, stream=NAME))
    quiet.server.inject(Fault(FaultKind.MISSING_FINAL, stream=f"spot/{NAME}"))
    quiet.server.inject(Fault(FaultKind.LATE_FINAL, stream=f"spot/{NAME}", nth=1, delay_ms=50))
    async with quiet.socket(f"/ws/{NAME}") as socket:
        await pass_time(quiet, BEGUN)
        quiet.tape.spot_candles = [spot(quiet, at, "12", final=True) for at in range(3)]
        await pass_time(quiet, BEGUN + 3 * HOUR)
        assert await heard(socket, 3) == [(0, "11", False), (2, "12", True), (1, "12", True)]
        assert [fault.stream for fault in quiet.server.faults_waiting] == [NAME]
        quiet.server.inject(Fault(FaultKind.DISCONNECT, stream="spot"))
        assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}


class _Socket:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.sent: list[str] = []

    def send(self, _stream: str, payload: str) -> None:
        self.sent.append(payload)


class _Pace:
    def now(self) -> int:
        return 0


async def test_stream_and_rest_tell_the_same_candles_of_a_source() -> None:
    """Three hours of a made market: what was told as final, and only that, is what REST then has as final."""
    import json

    source = SyntheticSource([BTC_SWAP], seed=7, start=BEGUN, bars=3 * 12, base_tf=Timeframe.M5)
    tape = SourceTape(source, [instrument(BTC_SWAP)], options=TapeOptions(mark_every_ms=10_000))
    streams, socket = SpotStreams(tape, _Pace(), FaultPlan(None)), _Socket()  # type: ignore[arg-type]
    stream = stream_at(Category.SPOT, NAME)
    assert stream is not None
    before, told_at = 0, []
    async for tick in tape.ticks():
        if before:
            streams.pass_time(before)
        else:
            streams.subscribe(socket, stream)  # type: ignore[arg-type]
        told_at += [before] * (sum('"x":true' in payload for payload in socket.sent) - len(told_at))
        before = tick.ts
    streams.pass_time(before)
    told = [json.loads(payload)["k"] for payload in socket.sent]
    final = [(row["t"], row["o"], row["h"], row["l"], row["c"]) for row in told if row["x"]]
    rest = [row for row in tape.spot_klines(BTC, Timeframe.H1, BEGUN) if row.final]
    assert final == [(row.open_ts, *(str(price) for price in (row.open, row.high, row.low, row.close))) for row in rest]
    assert len(final) == 3
    assert told_at == [open_ts + HOUR for open_ts, *_ in final[:-1]]  # the last one when the market is over
    forming = [row for row in told if not row["x"]]
    assert len(forming) > 3 * 360
    assert all(row["o"] == row["c"] for row in forming)


def test_the_spot_host_has_candles_alone() -> None:
    assert stream_at(Category.SPOT, "btcusdt@trade") is None
    assert stream_at(Category.SPOT, "btcusdt@kline_3m") is None
    assert stream_at(Category.SPOT, NAME) == stream_at(Category.MARKET, NAME)._replace(category=Category.SPOT)  # type: ignore[union-attr]


def test_a_certificate_of_other_hosts_is_not_one_for_all(tmp_path: Path) -> None:
    """An older folder's, made before the spot streams had a host here."""
    from core.sim.server.tls import VENUE_HOSTS, Certificate, make_certificate

    assert not Certificate(tmp_path / "none.pem", tmp_path / "none.key").stands_for()
    assert not make_certificate(tmp_path / "old", VENUE_HOSTS[:-1]).stands_for()
    whole = make_certificate(tmp_path / "new")
    assert whole.stands_for()
    whole.cert.write_bytes(whole.cert.read_bytes()[:200])
    assert not whole.stands_for()
