"""The server as a whole: speed, restarts, its control door."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from core.clock import VirtualClock
from core.data.sources.synthetic import SyntheticSource
from core.errors import StateError
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import FundingTick, VenueError
from core.sim.server.app import ExchangeServer
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.pace import Pace, PacedClock
from core.sim.tape.listings import liquidity_of, listing_of
from core.sim.tape.source import SourceTape, TapeOptions
from core.types import Timeframe
from tests.core.sim import kit
from tests.core.sim.server.kit import BTC, D, HandTape, World, listing, serving, told, until

BUY = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
REST = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}
CONTROL = "/_control/faults"


async def test_the_account_survives_a_restart(tmp_path: Path) -> None:
    """Position, orders, stops, amendments and wallet are as they were; the tape goes on where it stood."""
    options = told(state_file=tmp_path / "state" / "exchange.db")
    async with serving(tmp_path, options, tls=False) as world:
        await world.ask("POST", "/fapi/v1/order", **BUY)
        order = (await world.ask("POST", "/fapi/v1/order", **REST)).told["orderId"]
        change = {"symbol": BTC, "orderId": order, "side": "BUY", "quantity": "0.01", "price": "48000"}
        await world.ask("PUT", "/fapi/v1/order", **change)
        before = world.exchange.snapshot()
        played = world.tape.played
    async with serving(tmp_path, options, tls=False, open_market=False) as again:
        assert again.exchange.snapshot() == before
        assert again.tape.played == played
        (amendment,) = (await again.ask("GET", "/fapi/v1/orderAmendment", symbol=BTC)).told
        assert amendment["amendment"]["price"] == {"before": "49000", "after": "48000"}
        await again.ask("PUT", "/fapi/v1/order", **{**change, "price": "47000"})
        latest = (await again.ask("GET", "/fapi/v1/orderAmendment", symbol=BTC)).told[0]
        assert (latest["amendmentId"], latest["amendment"]["count"]) == (2, 2)


def as_killed(file: Path) -> Path:
    """The state as the disk holds it now, elsewhere."""
    elsewhere = file.parent / "killed"
    elsewhere.mkdir()
    for part in file.parent.glob(file.name + "*"):
        shutil.copy(part, elsewhere / part.name)
    return elsewhere / file.name


async def test_what_was_answered_is_on_disk_when_the_server_is_killed(tmp_path: Path) -> None:
    """The file is written before the reply: a kill loses nothing that a client was told."""
    file = tmp_path / "exchange.db"
    async with serving(tmp_path, told(state_file=file), tls=False) as world:
        await world.ask("POST", "/fapi/v1/order", **REST)
        killed = as_killed(file)
    async with serving(tmp_path, told(state_file=killed), tls=False, open_market=False) as again:
        assert len(again.exchange.open_orders(BTC)) == 1


async def test_funding_is_not_paid_twice_over_a_restart(tmp_path: Path) -> None:
    """Ticks of one moment are counted, so that the tape goes on behind the last one that was played."""
    options = told(state_file=tmp_path / "exchange.db")
    async with serving(tmp_path, options, tls=False) as world:
        await world.ask("POST", "/fapi/v1/order", **BUY)
        await asyncio.sleep(0.005)  # funding is paid on what was held before
        moment, before = world.now(), world.exchange.account().wallet
        funding = FundingTick(BTC, moment, D("0.0001"), D(50_000))
        await world.play(funding)
        wallet = world.exchange.account().wallet
        assert wallet < before
        options = told(state_file=as_killed(tmp_path / "exchange.db"))
    tape = HandTape()
    follows = world.trade("50010", gap=True)
    tape.past = [funding, structs_at(follows, moment)]
    async with serving(tmp_path, options, tls=False, tape=tape, open_market=False) as again:
        await until(lambda: again.exchange.last_price(BTC) == D(50_010))
        assert again.exchange.account().wallet == wallet
        assert tape.asked == [moment - 1]


def structs_at(tick: Any, ts: int) -> Any:
    """The same tick at another time."""
    return structs.replace(tick, ts=ts)


async def test_a_server_that_saw_no_tick_begins_its_tape_anew(tmp_path: Path) -> None:
    options = told(state_file=tmp_path / "exchange.db")
    for _ in range(2):
        async with serving(tmp_path, options, tls=False, open_market=False) as world:
            await until(lambda world=world: world.tape.asked == [None])


async def test_closing_ends_countdowns(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False) as world:
        await world.ask("POST", "/fapi/v1/order", **REST)
        await world.ask("POST", "/fapi/v1/countdownCancelAll", symbol=BTC, countdownTime=30)
    await asyncio.sleep(0.05)
    assert len(world.exchange.open_orders(BTC)) == 1


async def test_a_timer_that_fires_early_waits_again() -> None:
    """A loop's clock and the venue's need not agree to the microsecond."""
    times = iter([0, 3, 7, 10])

    class Late:
        def now_ms(self) -> int:
            return next(times)

    await Pace(Late(), 1_000.0).until(10)
    assert next(times, None) is None


@pytest.mark.parametrize("content", [b'{"format": 1, "exchange": {}}', b"\0" * 4096])
def test_a_state_that_cannot_be_read_stops_the_start(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "exchange.db"
    file.write_bytes(content)
    clock = VirtualClock(1)
    exchange = LocalExchange((listing(),), clock, wallet=D(1))
    with pytest.raises(StateError, match="cannot be read"):
        ExchangeServer(exchange, HandTape(), clock, told(state_file=file))


async def test_a_server_that_never_started_can_be_closed() -> None:
    clock = VirtualClock(1)
    server = ExchangeServer(LocalExchange((listing(),), clock, wallet=D(1)), HandTape(), clock)
    await server.finished()
    assert server.played_to == 0
    await server.close()


async def test_the_end_of_the_tape_can_be_awaited(plain: World) -> None:
    last = plain.trade("50001")
    plain.tape.push(last)
    plain.tape.end()
    await asyncio.wait_for(plain.server.finished(), 3)
    assert plain.server.played_to == last.ts


async def test_what_breaks_the_tape_is_told_to_who_waits(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False) as world:
        world.tape.push(world.trade("50001", symbol="DOGEBTC"))
        with pytest.raises(VenueError):
            await asyncio.wait_for(world.server.finished(), 3)


async def test_ticks_wait_for_their_time_at_any_speed(tmp_path: Path) -> None:
    """One real millisecond is a minute here."""
    loop = asyncio.get_running_loop()
    clock = PacedClock(1_700_000_000_000, 60_000.0, loop.time)
    async with serving(tmp_path, told(speed=60_000.0), tls=False, clock=clock) as world:
        later = structs_at(world.trade("50100"), world.now() + 3_600_000)
        begun = loop.time()
        await world.play(later)
        assert loop.time() - begun >= 0.059
        assert clock.now_ms() >= later.ts


async def test_a_sweep_pauses_where_it_filled_an_order(tmp_path: Path) -> None:
    """A client has ``reaction_ms`` to protect what a fill gave it before the price goes on."""
    async with serving(tmp_path, told(reaction_ms=150), tls=False) as world:
        await world.ask("POST", "/fapi/v1/order", **REST)
        world.tape.push(world.trade("48000"))
        await until(lambda: world.exchange.position_sign(BTC) == 1)
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "48500"}
        assert (await world.ask("POST", "/fapi/v1/algoOrder", **stop, closePosition="true")).status == 200
        await until(lambda: world.exchange.position_sign(BTC) == 0)
        assert world.exchange.trades(BTC)[-1].price > D(48_000)


async def test_a_recorded_market_is_played_print_by_print(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False, tape=HandTape(drawn_path=False)) as world:
        await world.ask("POST", "/fapi/v1/order", **REST)
        await world.play(world.trade("48000", qty="100"))
        assert world.exchange.position_sign(BTC) == 1


async def test_a_jump_of_the_venues_clock_is_seen_by_clients(plain: World) -> None:
    """exchange.md 4: 6 s behind is -1021 until the client measures again."""
    plain.server.inject(Fault(FaultKind.CLOCK_JUMP, delay_ms=-6_000))
    told_time = (await plain.ask("GET", "/fapi/v1/time", signed=False)).told["serverTime"]
    assert -6_500 < told_time - plain.now() < -5_500
    assert (await plain.ask("GET", "/fapi/v3/account")).code == -1021
    assert (await plain.ask("GET", "/fapi/v3/account", timestamp=told_time)).status == 200


async def test_faults_can_be_scripted_from_outside(tmp_path: Path) -> None:
    async with serving(tmp_path, told(control=True), tls=False) as world:
        fault = '{"kind": "reject", "path": "/fapi/v1/time", "code": -1007, "status": 503}'
        assert len((await world.send("POST", CONTROL, body=fault)).told) == 1
        assert (await world.ask("GET", "/fapi/v1/time", signed=False)).code == -1007
        assert len((await world.send("POST", CONTROL, body=f"[{fault}, {fault}]")).told) == 2
        assert (await world.send("GET", CONTROL)).told[0]["kind"] == "reject"
        assert (await world.send("DELETE", CONTROL)).told == []
        for wrong in ("{", '{"kind": "sunshine"}', '{"kind": "reject", "colour": 1}'):
            assert (await world.send("POST", CONTROL, body=wrong)).status == 400


async def test_the_control_door_is_shut_unless_it_was_opened(plain: World) -> None:
    assert (await plain.send("GET", CONTROL)).status == 404


async def test_a_made_market_is_traded_over_plain_http(tmp_path: Path) -> None:
    """The real tape under the real engine: bars become ticks, candles and a book that the client library reads."""
    loop, speed = asyncio.get_running_loop(), 600.0
    source = SyntheticSource(["BTC/USDT:USDT"], seed=7, start=1_700_000_400_000, base_tf=Timeframe.M1)
    instrument = replace(kit.instrument("BTC/USDT:USDT"), allowed_tfs=frozenset({Timeframe.M1, Timeframe.M5}))
    clock = PacedClock(source.info.start, speed, loop.time)
    exchange = LocalExchange([listing_of(instrument)], clock, wallet=D(1000), liquidity=liquidity_of([instrument]))
    tape = SourceTape(source, [instrument], exchange.position_sign, TapeOptions(mark_every_ms=30_000))
    server = ExchangeServer(exchange, tape, clock, told(speed=speed, check_time=False))
    addresses = await server.start()
    world = World(exchange, HandTape(), clock, server, addresses.rest, addresses.streams, None)
    client = world.client()
    try:
        await client.load_markets()
        order = await client.create_order("BTC/USDT:USDT", "market", "buy", 0.01)
        assert order["status"] == "closed"
        rows = await asyncio.wait_for(client.watch_ohlcv("BTC/USDT:USDT", "1m"), 3)
        assert rows[-1][0] % 60_000 == 0
        book = await asyncio.wait_for(client.watch_order_book("BTC/USDT:USDT", 5), 3)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert len(await client.fetch_ohlcv("BTC/USDT:USDT", "5m")) >= 1
    finally:
        await client.close()
        await server.close()
