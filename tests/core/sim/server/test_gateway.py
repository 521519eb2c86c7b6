"""What goes wrong with a request, and which class of the client library's errors it becomes (exchange.md 1.4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
from msgspec import structs

from core.clock import VirtualClock
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import API_SECRET, KeyScope, Latencies, Limits, Span
from core.sim.server.signing import sign
from tests.core.sim.server.kit import BTC, BTC_SWAP, World, raises, serving, told, until

NOON = 1_767_355_200_000
MARGIN_WORDS = "No need to change margin type."


CODES: list[tuple[int, int, str, type[Exception]]] = [
    (-1003, 400, "Too many requests.", ccxt.RateLimitExceeded),
    (-1015, 400, "Too many new orders.", ccxt.RateLimitExceeded),
    (-1008, 400, "Server is currently overloaded.", ccxt.OperationFailed),
    (-1000, 400, "An unknown error occurred.", ccxt.OperationFailed),
    (-1001, 400, "Internal error.", ccxt.OperationFailed),
    (-1006, 400, "An unexpected response was received.", ccxt.OperationFailed),
    (-1007, 503, "Timeout waiting for response from backend server.", ccxt.RequestTimeout),
    (-1021, 400, "Timestamp for this request is outside of the recvWindow.", ccxt.InvalidNonce),
    (-5028, 400, "Timestamp is outside of the ME recvWindow.", ccxt.BadRequest),
    (-1022, 400, "Signature for this request is not valid.", ccxt.AuthenticationError),
    (-2014, 401, "API-key format invalid.", ccxt.AuthenticationError),
    (-2015, 401, "Invalid API-key, IP, or permissions for action", ccxt.AuthenticationError),
    (-1111, 400, "Precision is over the maximum.", ccxt.BadRequest),
    (-4003, 400, "Quantity less than zero.", ccxt.BadRequest),
    (-4014, 400, "Price not increased by tick size.", ccxt.BadRequest),
    (-4023, 400, "Qty not increased by step size.", ccxt.BadRequest),
    (-1121, 400, "Invalid symbol.", ccxt.BadSymbol),
    (-2010, 400, "NEW_ORDER_REJECTED", ccxt.InvalidOrder),
    (-2011, 400, "Unknown order sent.", ccxt.OrderNotFound),
    (-2013, 400, "Order does not exist.", ccxt.OrderNotFound),
    (-2018, 400, "Balance is insufficient.", ccxt.InsufficientFunds),
    (-2019, 400, "Margin is insufficient.", ccxt.InsufficientFunds),
    (-2021, 400, "Order would immediately trigger.", ccxt.OrderImmediatelyFillable),
    (-2022, 400, "ReduceOnly Order is rejected.", ccxt.InvalidOrder),
    (-2027, 400, "Exceeded the maximum allowable position at current leverage.", ccxt.OperationRejected),
    (-4015, 400, "Client order id length should be less than 36 chars", ccxt.BadRequest),
    (-4116, 400, "ClientOrderId is duplicated.", ccxt.InvalidOrder),
    (-4046, 400, MARGIN_WORDS, ccxt.MarginModeAlreadySet),
    (-4059, 400, "No need to change position side.", ccxt.OperationRejected),
    (-4061, 400, "Order's position side does not match user's setting.", ccxt.OperationRejected),
    (-4120, 400, "Order type not supported for this endpoint.", ccxt.InvalidOrder),
    (-4130, 400, "An open stop or take profit order with GTE exists.", ccxt.ExchangeError),
    (-4131, 400, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.", ccxt.OperationRejected),
    (-4164, 400, "Order's notional must be no smaller than 100.", ccxt.InvalidOrder),
    (-5021, 400, "Due to the order could not be filled immediately, it has been rejected.", ccxt.OrderNotFillable),
    (-5022, 400, "Due to the order could not be executed as maker, it has been rejected.", ccxt.OrderNotFillable),
    (-5027, 400, "No need to modify the order.", ccxt.OperationRejected),
]


async def test_each_code_becomes_the_class_that_it_becomes_in_production(world: World, venue: Any) -> None:
    """F5: the library chooses its table by the address, so it is production's own only because that is untouched."""
    for code, status, message, expected in CODES:
        world.server.inject(Fault(FaultKind.REJECT, path="/fapi/v1/order", code=code, status=status, message=message))
        error = await raises(venue.fapiPrivatePostOrder({"symbol": BTC}))
        assert type(error) is expected, code
        assert str(code) in str(error) or message in str(error)


async def _buy(venue: Any, name: str = "x-1") -> Any:
    return await venue.create_order(BTC_SWAP, "market", "buy", 0.01, None, {"clientOrderId": name})


UNANSWERED: list[tuple[Fault, type[Exception], bool]] = [
    (Fault(FaultKind.THROTTLE), ccxt.DDoSProtection, False),
    (Fault(FaultKind.BAN), ccxt.DDoSProtection, False),
    (Fault(FaultKind.UNKNOWN), ccxt.ExchangeNotAvailable, False),
    (Fault(FaultKind.UNKNOWN, executed=True), ccxt.ExchangeNotAvailable, True),
    (Fault(FaultKind.DROP_BEFORE), ccxt.ExchangeNotAvailable, False),
    (Fault(FaultKind.DROP_AFTER), ccxt.ExchangeNotAvailable, True),
    (Fault(FaultKind.TRUNCATED), ccxt.ExchangeError, True),
    (Fault(FaultKind.HTML), ccxt.ExchangeNotAvailable, False),
    (Fault(FaultKind.HTML, executed=True), ccxt.ExchangeNotAvailable, True),
    (Fault(FaultKind.HANG, delay_ms=50), ccxt.ExchangeNotAvailable, False),
    (Fault(FaultKind.HANG, delay_ms=50, executed=True), ccxt.ExchangeNotAvailable, True),
]


async def test_each_fault_becomes_its_class_and_is_executed_or_not(world: World, venue: Any) -> None:
    """F5: none of these classes tells whether the order lives; only a look-up does."""
    for number, (fault, expected, executed) in enumerate(UNANSWERED):
        world.server.inject(structs.replace(fault, method="POST", path="/fapi/v1/order"))
        assert type(await raises(_buy(venue, f"x-{number}"))) is expected, fault.kind
        known = [order["clientOrderId"] for order in await venue.fetch_orders(BTC_SWAP)]
        assert (f"x-{number}" in known) is executed, fault.kind
    assert world.server.faults_waiting == ()


async def test_a_client_that_has_waited_long_enough_times_out(world: World, venue: Any) -> None:
    venue.timeout = 100
    world.server.inject(Fault(FaultKind.HANG, path="/fapi/v1/order"))
    assert type(await raises(_buy(venue))) is ccxt.RequestTimeout


async def test_throttling_says_when_to_come_back(plain: World) -> None:
    plain.server.inject(Fault(FaultKind.THROTTLE, path="/fapi/v1/*"))
    reply = await plain.ask("GET", "/fapi/v1/time", signed=False)
    assert (reply.status, reply.headers["Retry-After"], reply.code) == (429, "5", -1003)
    plain.server.inject(Fault(FaultKind.BAN))
    assert (await plain.ask("GET", "/fapi/v1/time", signed=False)).status == 418


async def test_a_late_order_is_executed_when_it_arrives(world: World, venue: Any) -> None:
    """The reply was lost long before: one immediate look-up proves nothing (exchange.md 2.2)."""
    world.server.inject(Fault(FaultKind.LATE, path="/fapi/v1/order", delay_ms=150))
    assert type(await raises(_buy(venue))) is ccxt.ExchangeNotAvailable
    assert type(await raises(venue.fetch_order(None, BTC_SWAP, {"clientOrderId": "x-1"}))) is ccxt.OrderNotFound
    await until(lambda: world.exchange.position_sign(BTC) > 0)
    assert (await venue.fetch_order(None, BTC_SWAP, {"clientOrderId": "x-1"}))["status"] == "closed"


async def test_an_order_that_is_later_than_its_window_is_never_executed(world: World, venue: Any) -> None:
    """The receive window is the fence behind which an unknown order cannot appear any more (exchange.md 2.2)."""
    world.server.inject(Fault(FaultKind.LATE, method="POST", path="/fapi/v1/order", delay_ms=150))
    sent = venue.create_order(BTC_SWAP, "market", "buy", 0.01, None, {"clientOrderId": "x-1", "recvWindow": 100})
    assert type(await raises(sent)) is ccxt.ExchangeNotAvailable
    await asyncio.sleep(0.25)
    assert await venue.fetch_orders(BTC_SWAP) == []


async def test_an_order_that_waited_too_long_before_the_engine_is_refused(world: World, venue: Any) -> None:
    world.server.inject(Fault(FaultKind.QUEUED, path="/fapi/v1/order", delay_ms=60))
    assert (await _buy(venue))["status"] == "closed"
    world.server.inject(Fault(FaultKind.QUEUED, path="/fapi/v1/order", delay_ms=150))
    sent = venue.create_order(BTC_SWAP, "market", "buy", 0.01, None, {"recvWindow": 100})
    assert "-5028" in str(await raises(sent))


async def test_what_is_not_admitted_is_neither_late_nor_queued(plain: World) -> None:
    for kind in (FaultKind.LATE, FaultKind.QUEUED):
        plain.server.inject(Fault(kind, path="/fapi/v1/order"))
        params = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01", "timestamp": 1}
        if kind is FaultKind.QUEUED:
            assert (await plain.ask("POST", "/fapi/v1/order", **params)).code == -1021
        else:
            assert isinstance(await raises(plain.ask("POST", "/fapi/v1/order", **params)), aiohttp.ClientConnectionError)
    assert plain.exchange.all_orders(BTC) == ()


async def test_a_slow_reply_is_of_an_order_already_done(world: World, venue: Any) -> None:
    world.server.inject(Fault(FaultKind.SLOW, path="/fapi/v1/order", delay_ms=120))
    placing = asyncio.create_task(_buy(venue))
    await until(lambda: world.exchange.position_sign(BTC) > 0)
    assert not placing.done()
    assert (await placing)["status"] == "closed"


async def test_an_order_found_late_is_on_no_list_and_then_on_all(world: World, venue: Any) -> None:
    """Placed and not findable happens under load; a duplicate stop comes of believing it (exchange.md 1.3)."""
    world.server.inject(Fault(FaultKind.FOUND_LATE, method="POST", path="/fapi/v1/order", delay_ms=200))
    order = await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000, {"clientOrderId": "x-1"})
    assert "-2013" in str(await raises(venue.fetch_order(order["id"], BTC_SWAP)))
    assert "-2013" in str(await raises(venue.fetch_order(None, BTC_SWAP, {"clientOrderId": "x-1"})))
    assert "-2011" in str(await raises(venue.cancel_order(order["id"], BTC_SWAP)))
    assert await venue.fetch_open_orders(BTC_SWAP) == await venue.fetch_orders(BTC_SWAP) == []
    await asyncio.sleep(0.2)
    assert (await venue.fetch_order(order["id"], BTC_SWAP))["status"] == "open"


async def test_a_stop_found_late_is_on_no_list_and_then_on_all(world: World, venue: Any) -> None:
    world.server.inject(Fault(FaultKind.FOUND_LATE, path="/fapi/v1/algoOrder", delay_ms=200))
    await _buy(venue)
    stop = await venue.create_order(BTC_SWAP, "market", "sell", 0.01, None, {"stopLossPrice": 49_000})
    trigger = {"trigger": True}
    assert "-2013" in str(await raises(venue.fetch_order(stop["id"], BTC_SWAP, trigger)))
    assert "-2011" in str(await raises(venue.cancel_order(stop["id"], BTC_SWAP, trigger)))
    assert await venue.fetch_open_orders(BTC_SWAP, params=trigger) == []
    assert await venue.fetch_orders(BTC_SWAP, params=trigger) == []
    await asyncio.sleep(0.2)
    assert (await venue.fetch_order(stop["id"], BTC_SWAP, trigger))["status"] == "open"


async def test_a_refusal_cannot_be_found_late(plain: World) -> None:
    plain.server.inject(Fault(FaultKind.FOUND_LATE, path="/fapi/v1/order", delay_ms=200))
    assert (await plain.ask("POST", "/fapi/v1/order", symbol=BTC)).code == -1102


async def test_what_is_no_order_cannot_be_found_late(plain: World) -> None:
    plain.server.inject(Fault(FaultKind.FOUND_LATE, path="/fapi/v1/leverage", delay_ms=200))
    assert (await plain.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=3)).status == 200


async def test_a_reply_tells_what_was_used_of_the_limits(plain: World) -> None:
    first = await plain.ask("GET", "/fapi/v1/depth", signed=False, symbol=BTC, limit=1000)
    used = int(first.headers["X-MBX-USED-WEIGHT-1M"])
    assert used % 20 == 0
    assert "X-MBX-ORDER-COUNT-1M" not in first.headers
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}
    placed = await plain.ask("POST", "/fapi/v1/order", **order)
    assert (placed.headers["X-MBX-ORDER-COUNT-10S"], placed.headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    refused = await plain.ask("POST", "/fapi/v1/order", **{**order, "quantity": "0.0001"})
    assert refused.headers["X-MBX-ORDER-COUNT-10S"] == "2"


async def test_too_much_weight_is_throttled_and_then_banned(tmp_path: Path) -> None:
    """A client that goes on after 429 gets 418 (exchange.md 1.4)."""
    limits = Limits(weight_per_minute=5, ban_after=2)
    async with serving(tmp_path, told(limits=limits), tls=False, clock=VirtualClock(NOON)) as world:
        statuses = [(await world.ask("GET", "/fapi/v1/time", signed=False)).status for _ in range(9)]
        assert statuses == [200] * 5 + [429] * 2 + [418] * 2
        banned = await world.ask("GET", "/fapi/v1/time", signed=False)
        assert banned.headers["Retry-After"] == "120"


async def test_too_many_orders_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, told(limits=Limits(orders_per_10s=2)), clock=VirtualClock(NOON), tls=False) as world:
        order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}
        codes = [(await world.ask("POST", "/fapi/v1/order", **order)).told.get("code") for _ in range(3)]
        assert codes == [None, None, -1015]


async def test_keys_are_looked_at_before_anything_else(plain: World) -> None:
    account = "/fapi/v3/account"
    assert (await plain.ask("GET", account, key=None)).code == -2014
    assert (await plain.ask("GET", account, key="short")).code == -2014
    stranger = await plain.ask("GET", account, key="another-key-altogether")
    assert (stranger.status, stranger.code) == (401, -2015)
    assert (await plain.send("GET", f"{account}?timestamp={plain.now()}")).code == -1102
    assert (await plain.send("GET", f"{account}?timestamp={plain.now()}&signature=00")).code == -1022
    assert (await plain.send("GET", f"{account}?signature=00")).code == -1102
    assert (await plain.ask("POST", "/fapi/v1/listenKey", signed=False)).status == 200


async def test_the_signature_is_of_the_very_text_that_was_sent(plain: World) -> None:
    """Query and body together; the order of parameters and their encoding are the client's (exchange.md 5.3)."""
    body = f"side=BUY&type=MARKET&quantity=0.010&symbol={BTC}&newClientOrderId=a%3Ab"
    query = f"timestamp={plain.now()}"
    target = f"/fapi/v1/order?{query}"
    signed = f"{body}&signature={sign(API_SECRET, query + body)}"
    reply = await plain.send("POST", target, body=signed)
    assert reply.told["clientOrderId"] == "a:b"
    assert (await plain.send("POST", target, body=signed.replace("0.010", "0.020"))).code == -1022


async def test_the_time_must_be_within_the_window(plain: World) -> None:
    async def asked(shift: int, window: int | None = None) -> int:
        reply = await plain.ask("GET", "/fapi/v3/account", timestamp=plain.now() + shift, recvWindow=window)
        return reply.code if reply.status != 200 else 0

    assert [await asked(shift) for shift in (-4_000, -6_000, 500, 3_000)] == [0, -1021, 0, -1021]
    assert await asked(-6_000, 10_000) == 0
    assert await asked(0, 70_000) == -1131


async def test_a_server_at_another_speed_may_leave_the_time_unchecked(tmp_path: Path) -> None:
    async with serving(tmp_path, told(check_time=False), tls=False) as world:
        assert (await world.ask("GET", "/fapi/v3/account", timestamp=1)).status == 200
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01", "timestamp": 1}
        assert (await world.ask("POST", "/fapi/v1/order", **order)).status == 200


async def test_a_key_without_permission_reads_and_does_not_trade(tmp_path: Path) -> None:
    async with serving(tmp_path, told(scope=KeyScope(futures=False)), tls=False) as world:
        assert (await world.ask("GET", "/fapi/v3/account")).status == 200
        assert (await world.ask("POST", "/fapi/v1/order", symbol=BTC)).code == -2015
    async with serving(tmp_path, told(scope=KeyScope(reading=False)), tls=False) as world:
        assert (await world.ask("GET", "/fapi/v3/account")).code == -2015


async def test_an_unknown_path_is_not_found(plain: World) -> None:
    reply = await plain.ask("GET", "/fapi/v1/weather", signed=False)
    assert (reply.status, reply.code) == (404, -5000)


async def test_requests_and_replies_take_their_time(tmp_path: Path) -> None:
    slow = Latencies(request=Span(40, 60), reply=Span(40, 40))
    async with serving(tmp_path, told(latencies=slow), tls=False) as world:
        begun = world.now()
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        placing = asyncio.create_task(world.ask("POST", "/fapi/v1/order", **order))
        await until(lambda: world.exchange.position_sign(BTC) > 0)
        assert world.now() - begun >= 40
        assert not placing.done()
        await placing
        assert world.now() - begun >= 80


async def test_closing_lets_go_of_what_hangs(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False) as world:
        world.server.inject(Fault(FaultKind.HANG))
        asking = asyncio.create_task(raises(world.ask("GET", "/fapi/v1/time", signed=False)))
        await until(lambda: world.server.faults_waiting == ())
        await world.server.close()
        assert isinstance(await asking, aiohttp.ClientError)


async def test_the_spot_host_counts_for_itself(tmp_path: Path) -> None:
    """Its limit is larger, and what is spent there is not spent on futures (exchange.md 1.4)."""
    limits = Limits(weight_per_minute=5, spot_weight_per_minute=50)
    async with serving(tmp_path, told(limits=limits), tls=False, clock=VirtualClock(NOON)) as world:
        spot = [(await world.ask("GET", "/api/v3/time", signed=False)).status for _ in range(50)]
        assert spot == [200] * 50
        futures = [(await world.ask("GET", "/fapi/v1/time", signed=False)).status for _ in range(6)]
        assert futures == [200] * 5 + [429]
        assert (await world.ask("GET", "/api/v3/time", signed=False)).status == 429
