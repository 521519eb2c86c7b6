"""The user stream: what happened to the account, in order, with the faults of the venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest

from core.sim.local.values import FundingTick
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.listen_keys import ListenKeys
from core.sim.server.options import MINUTE, Latencies, Span
from tests.core.sim.server.kit import BTC, BTC_SWAP, D, World, raises, serving, told, until

BUY = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
REST = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}


class Listener:
    """Collects what a private socket receives."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def collect(self) -> None:
        async for message in self.socket:
            self.events.append(message.json())

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["e"] == name]

    @property
    def names(self) -> list[str]:
        return [event["e"] for event in self.events]


@asynccontextmanager
async def listening(world: World, form: str = "ws") -> AsyncIterator[Listener]:
    """A private socket with a fresh key."""
    key = (await world.ask("POST", "/fapi/v1/listenKey", signed=False)).told["listenKey"]
    async with world.socket(f"/private/{form}?listenKey={key}") as socket:
        listener = Listener(socket)
        task = asyncio.create_task(listener.collect())
        try:
            yield listener
        finally:
            task.cancel()


async def test_orders_trades_balance_and_positions_reach_the_library(world: World, venue: Any) -> None:
    """F: the library's own watchers see what happens."""
    watch = [venue.watch_orders, venue.watch_my_trades, venue.watch_balance, venue.watch_positions]
    tasks = [asyncio.create_task(one()) for one in watch]
    await until(lambda: len(world.server._doors.sockets("private")) == 1)
    await asyncio.sleep(0.05)
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01, None, {"clientOrderId": "x-1"})
    orders, trades, balance, positions = await asyncio.wait_for(asyncio.gather(*tasks), 3)
    assert orders[-1]["clientOrderId"] == "x-1"
    assert trades[-1]["amount"] == 0.01
    assert balance["USDT"]["total"] < 1_000
    assert [(held["symbol"], held["contracts"]) for held in positions if held["contracts"]] == [(BTC_SWAP, 0.01)]


async def test_an_order_is_told_from_acceptance_to_fill(plain: World) -> None:
    async with listening(plain) as heard:
        placed = (await plain.ask("POST", "/fapi/v1/order", **BUY, newClientOrderId="x-1", newOrderRespType="RESULT")).told
        await until(lambda: "ACCOUNT_UPDATE" in heard.names and len(heard.named("ORDER_TRADE_UPDATE")) == 2)
        new, fill = (event["o"] for event in heard.named("ORDER_TRADE_UPDATE"))
        assert (new["x"], new["X"], new["c"], new["i"]) == ("NEW", "NEW", "x-1", placed["orderId"])
        assert (fill["x"], fill["X"], fill["z"], fill["L"]) == ("TRADE", "FILLED", "0.01", placed["avgPrice"])
        assert (fill["N"], float(fill["n"])) == ("USDT", pytest.approx(0.01 * float(placed["avgPrice"]) * 0.0005))
        (lite,) = heard.named("TRADE_LITE")
        assert (lite["t"], lite["l"], lite["c"]) == (fill["t"], "0.01", "x-1")
        (account,) = heard.named("ACCOUNT_UPDATE")
        assert (account["a"]["m"], account["a"]["P"][0]["pa"]) == ("ORDER", "0.01")
        for event in heard.events:
            assert event["E"] >= event["T"]


async def test_a_stop_is_told_from_placing_to_its_child(plain: World) -> None:
    """exchange.md 1.3: NEW, TRIGGERING, TRIGGERED, FINISHED; the fill is the child's."""
    async with listening(plain) as heard:
        await plain.ask("POST", "/fapi/v1/order", **BUY)
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49500"}
        placed = await plain.ask("POST", "/fapi/v1/algoOrder", **stop, quantity="0.01", reduceOnly="true", clientAlgoId="s-1")
        await plain.play(plain.trade("49400"))
        await until(lambda: any(event["o"]["X"] == "FINISHED" for event in heard.named("ALGO_UPDATE")))
        told_of = [event["o"] for event in heard.named("ALGO_UPDATE")]
        assert [algo["X"] for algo in told_of] == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
        assert {algo["aid"] for algo in told_of} == {placed.told["algoId"]}
        child = heard.named("ORDER_TRADE_UPDATE")[-1]["o"]
        assert (child["ot"], child["X"], str(child["i"])) == ("STOP_MARKET", "FILLED", told_of[-1]["ai"])
        assert "ap" not in told_of[1]
        assert (told_of[0]["act"], told_of[3]["act"]) == ("0", "MARKET")


async def test_a_refused_stop_says_why(plain: World) -> None:
    async with listening(plain) as heard:
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "BUY", "type": "STOP_MARKET", "triggerPrice": "50500"}
        await plain.ask("POST", "/fapi/v1/algoOrder", **stop, quantity="1")
        await plain.play(plain.trade("50600"))
        await until(lambda: any("rm" in event["o"] for event in heard.named("ALGO_UPDATE")))
    listed = (await plain.ask("GET", "/fapi/v1/allAlgoOrders", symbol=BTC)).told
    assert listed[0]["failReason"]


async def test_funding_leverage_and_margin_calls_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False, wallet="60") as world, listening(world) as heard:
        await world.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=25)
        await world.ask("POST", "/fapi/v1/order", **{**BUY, "quantity": "0.02"})
        await asyncio.sleep(0.005)  # funding is paid on what was held before
        await world.play(FundingTick(BTC, world.now(), D("0.0001"), D(50_000)))
        await world.play(world.trade("47250"), world.mark("47250"))
        await until(lambda: "MARGIN_CALL" in heard.names)
        (config,) = heard.named("ACCOUNT_CONFIG_UPDATE")
        assert config["ac"] == {"s": BTC, "l": 25}
        funding = [event["a"] for event in heard.named("ACCOUNT_UPDATE") if event["a"]["m"] == "FUNDING_FEE"]
        assert [wallet["bc"] for wallet in funding[0]["B"]] == ["-0.10000000"]
        (call,) = heard.named("MARGIN_CALL")
        assert (call["p"][0]["s"], call["p"][0]["pa"]) == (BTC, "0.02")


async def test_events_can_come_twice_in_another_order_or_not_at_all(plain: World) -> None:
    """F7: duplicates, disorder and losses happen; the broker must not care."""
    async with listening(plain) as heard:
        plain.server.inject(Fault(FaultKind.DUPLICATE_EVENT, stream="TRADE_LITE"))
        await plain.ask("POST", "/fapi/v1/order", **BUY)
        await until(lambda: len(heard.events) == 5)
        assert heard.names.count("TRADE_LITE") == 2
        heard.events.clear()
        plain.server.inject(Fault(FaultKind.REORDERED_EVENT, stream="ORDER_TRADE_UPDATE"))
        await plain.ask("POST", "/fapi/v1/order", **BUY)
        await until(lambda: len(heard.events) == 4)
        assert heard.names[:2] == ["ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
        assert [event["o"]["x"] for event in heard.named("ORDER_TRADE_UPDATE")] == ["NEW", "TRADE"]
        heard.events.clear()
        plain.server.inject(Fault(FaultKind.MISSING_EVENT, stream="ACCOUNT_UPDATE"))
        await plain.ask("POST", "/fapi/v1/order", **BUY)
        await until(lambda: len(heard.events) == 3)
        assert "ACCOUNT_UPDATE" not in heard.names


async def test_an_event_that_nothing_overtakes_comes_after_a_while(plain: World) -> None:
    async with listening(plain) as heard:
        plain.server.inject(Fault(FaultKind.REORDERED_EVENT, stream="ORDER_TRADE_UPDATE", delay_ms=60))
        await plain.ask("POST", "/fapi/v1/order", **REST)
        assert heard.events == []
        await until(lambda: len(heard.events) == 1)


async def test_an_event_may_come_before_the_reply(tmp_path: Path) -> None:
    """exchange.md 0.5: the intent must be on disk before the socket write."""
    async with serving(tmp_path, told(latencies=Latencies(reply=Span(80, 80))), tls=False) as world, listening(world) as heard:
        placing = asyncio.create_task(world.ask("POST", "/fapi/v1/order", **REST))
        await until(lambda: len(heard.events) == 1)
        assert not placing.done()
        await placing


async def test_a_combined_private_stream_names_its_key(plain: World) -> None:
    async with listening(plain, "stream") as heard:
        await plain.ask("POST", "/fapi/v1/order", **REST)
        await until(lambda: len(heard.events) == 1)
        assert set(heard.events[0]) == {"stream", "data"}


async def test_without_a_valid_key_the_door_stays_shut(plain: World) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await plain.socket("/private/ws?listenKey=dead")
    assert error.value.status == 400


async def test_the_key_expires_with_a_last_word_and_is_refused_from_then_on(world: World, venue: Any) -> None:
    """exchange.md 4: the library ignores the event, and dials the dead key again."""
    raw: list[Any] = []
    handle = venue.handle_message
    venue.handle_message = lambda client, message: (raw.append(message), handle(client, message))[1]
    watching = asyncio.create_task(venue.watch_orders())
    await until(lambda: len(world.server._doors.sockets("private")) == 1)
    world.server.inject(Fault(FaultKind.KEY_EXPIRY))
    await until(lambda: any(message["e"] == "listenKeyExpired" for message in raw))
    await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000)
    await asyncio.sleep(0.05)
    assert [message["e"] for message in raw] == ["listenKeyExpired"]
    world.server.inject(Fault(FaultKind.DISCONNECT, stream="private"))
    assert isinstance(await asyncio.wait_for(raises(watching), 3), ccxt.NetworkError)
    assert isinstance(await asyncio.wait_for(raises(venue.watch_orders()), 3), ccxt.NetworkError)


async def test_a_key_that_is_not_kept_alive_expires_by_itself(tmp_path: Path) -> None:
    async with serving(tmp_path, told(listen_key_ms=150), tls=False) as world, listening(world) as heard:
        await asyncio.sleep(0.08)
        assert (await world.ask("PUT", "/fapi/v1/listenKey", signed=False)).status == 200
        await asyncio.sleep(0.1)
        assert heard.events == []
        await until(lambda: heard.names == ["listenKeyExpired"])


async def test_a_key_may_expire_unused_and_twice(plain: World) -> None:
    for _ in range(2):
        plain.server.inject(Fault(FaultKind.KEY_EXPIRY))
    assert (await plain.ask("PUT", "/fapi/v1/listenKey", signed=False)).code == -1125


async def test_nobody_watches_a_key_whose_sockets_are_gone(tmp_path: Path) -> None:
    async with serving(tmp_path, told(listen_key_ms=100), tls=False) as world:
        async with listening(world):
            await world.ask("PUT", "/fapi/v1/listenKey", signed=False)
        await world.ask("PUT", "/fapi/v1/listenKey", signed=False)
        await asyncio.sleep(0.15)
        assert (await world.ask("PUT", "/fapi/v1/listenKey", signed=False)).code == -1125


async def test_a_dropped_key_ends_what_it_carried(plain: World) -> None:
    async with listening(plain) as heard:
        await plain.ask("DELETE", "/fapi/v1/listenKey", signed=False)
        await plain.ask("POST", "/fapi/v1/order", **REST)
        await asyncio.sleep(0.05)
        assert heard.events == []


async def test_a_stuck_stop_leaves_the_position_naked_until_it_comes_loose(plain: World) -> None:
    """exchange.md 1.3: TRIGGERING, position open, no error."""
    async with listening(plain) as heard:
        await plain.ask("POST", "/fapi/v1/order", **BUY)
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49500"}
        await plain.ask("POST", "/fapi/v1/algoOrder", **stop, quantity="0.01", reduceOnly="true")
        plain.server.inject(Fault(FaultKind.STUCK_TRIGGER, delay_ms=80))
        await plain.play(plain.trade("49400"))
        assert plain.exchange.position_sign(BTC) == 1
        (stuck,) = (await plain.ask("GET", "/fapi/v1/openAlgoOrders", symbol=BTC)).told
        assert stuck["algoStatus"] == "TRIGGERING"
        await until(lambda: plain.exchange.position_sign(BTC) == 0)
        await until(lambda: heard.named("ALGO_UPDATE")[-1]["o"]["X"] == "FINISHED")
    plain.server.inject(Fault(FaultKind.STUCK_TRIGGER))
    plain.server.clear_faults()


def test_a_key_that_is_asked_for_again_is_valid_for_an_hour_from_then_on() -> None:
    keys = ListenKeys(60 * MINUTE, seed=1)
    key = keys.create(0)
    assert keys.create(50 * MINUTE) == key
    assert [keys.valid(key, minute * MINUTE) for minute in (70, 109, 110)] == [True, True, False]
    assert keys.create(110 * MINUTE) != key
