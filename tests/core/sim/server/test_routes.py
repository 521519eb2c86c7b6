"""Each call that the client library makes, over TLS with not an address of it touched (exchange.md 1.1)."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import pytest
from msgspec import structs

from core.sim.local.values import FundingTick, MarginType
from core.sim.server.params import Params
from core.sim.server.routes import ROUTES
from core.sim.server.wire import text
from core.types import Timeframe
from tests.core.sim.server.kit import BTC, BTC_SWAP, EIGHT_HOURS, ETH, ETH_SWAP, D, World

M5 = Timeframe.M5.ms


def candles(world: World, count: int = 3) -> int:
    """Some closed candles and the forming one; answers the open of the first."""
    first = world.now() // M5 * M5 - (count - 1) * M5
    world.tape.candles = [world.candle(first + number * M5, final=number < count - 1) for number in range(count)]
    return first


async def test_markets_are_loaded_with_their_filters(venue: Any) -> None:
    """A1: the client library sees the listings as it does at the venue."""
    market = venue.market(BTC_SWAP)
    assert (market["precision"]["amount"], market["precision"]["price"]) == (0.001, 0.1)
    assert market["limits"]["cost"]["min"] == 100
    assert market["limits"]["market"] == {"min": 0.001, "max": 120.0}
    assert market["swap"]
    assert market["linear"]
    assert list(venue.markets) == [BTC_SWAP, ETH_SWAP]


async def test_time_and_ping_answer(world: World, venue: Any) -> None:
    assert abs(await venue.fetch_time() - world.now()) < 1_000
    assert await venue.fapiPublicGetPing() == {}


async def test_candles_end_with_the_forming_one(world: World, venue: Any) -> None:
    first = candles(world)
    rows = await venue.fetch_ohlcv(BTC_SWAP, "5m")
    assert [row[0] for row in rows] == [first, first + M5, first + 2 * M5]
    assert rows[0][1:] == [50_000.0, 50_100.0, 49_900.0, 50_050.0, 12.5]
    assert [row[0] for row in await venue.fetch_ohlcv(BTC_SWAP, "5m", since=first + M5, limit=1)] == [first + M5]


@pytest.mark.parametrize("price", ["mark", "index", "premiumIndex"])
async def test_candles_of_other_prices_are_there(world: World, venue: Any, price: str) -> None:
    first = candles(world)
    rows = await venue.fetch_ohlcv(BTC_SWAP, "5m", params={"price": price})
    assert [row[0] for row in rows] == [first, first + M5, first + 2 * M5]
    assert rows[0][1] == (0.0 if price == "premiumIndex" else 50_000.0)


async def test_there_is_no_premium_without_marks(venue: Any) -> None:
    assert await venue.fetch_ohlcv(BTC_SWAP, "5m", params={"price": "premiumIndex"}) == []


async def test_the_spot_host_tells_prices_of_what_the_tape_knows_and_nothing_more(world: World) -> None:
    """The library's own spot client, by its own addresses: markets, time and candles, and no order."""
    spot = world.client(
        kind="binance", options={"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    )
    await spot.load_markets()
    assert list(spot.markets) == ["BTC/USDT"]
    market = spot.market("BTC/USDT")
    assert (market["spot"], market["precision"]["price"], market["precision"]["amount"]) == (True, 0.1, 0.001)
    assert await spot.publicGetPing() == {}
    assert abs(await spot.fetch_time() - world.now()) < 1_000
    hour = world.now() // Timeframe.H1.ms * Timeframe.H1.ms
    opens = [hour - Timeframe.H1.ms, hour]
    world.tape.spot_candles = [world.candle(at, tf=Timeframe.H1, final=at < hour) for at in opens]
    assert [row[:5] for row in await spot.fetch_ohlcv("BTC/USDT", "1h")] == [
        [at, 50_000.0, 50_100.0, 49_900.0, 50_050.0] for at in opens
    ]
    assert [row[0] for row in await spot.fetch_ohlcv("BTC/USDT", "1h", since=hour, limit=1)] == [hour]
    assert await spot.fetch_ohlcv("BTC/USDT", "5m") == []
    with pytest.raises(ccxt.BadSymbol, match="-1121"):
        await spot.publicGetKlines({"symbol": ETH, "interval": "1h"})
    with pytest.raises(ccxt.InvalidOrder, match="market is not a valid order type"):
        await spot.create_order("BTC/USDT", "market", "buy", 0.01)
    assert (await world.ask("POST", "/api/v3/order", symbol=BTC)).code == -5000


async def test_the_spot_host_counts_weight_for_itself(plain: World) -> None:
    for path, weight in (("time", "1"), ("exchangeInfo", "21"), ("klines", "23")):
        answer = await plain.ask("GET", f"/api/v3/{path}", signed=False, symbol=BTC, interval="1h")
        assert answer.headers["X-MBX-USED-WEIGHT-1M"] == weight
    assert (await plain.ask("GET", "/fapi/v1/time", signed=False)).headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_the_book_has_the_levels_of_the_tape(venue: Any) -> None:
    book = await venue.fetch_order_book(BTC_SWAP, 5)
    assert book["bids"] == [[49_999.9, 5.0], [49_998.9, 9.0]]
    assert book["asks"] == [[50_000.1, 5.0], [50_001.1, 9.0]]


async def test_recent_trades_are_told_alone_and_together(world: World, venue: Any) -> None:
    await world.play(world.trade("50000.5"))
    (_, last) = await venue.fetch_trades(BTC_SWAP)
    assert (last["price"], last["amount"], last["side"]) == (50_000.5, 1.0, "buy")
    single = await venue.fetch_trades(BTC_SWAP, params={"fetchTradesMethod": "fapiPublicGetTrades"})
    assert [trade["price"] for trade in single] == [50_000.0, 50_000.5]
    later = await venue.fapiPublicGetAggTrades({"symbol": BTC, "fromId": last["id"], "endTime": world.now() + 1_000})
    assert [row["p"] for row in later] == ["50000.5"]


async def test_tickers_tell_last_best_and_day(world: World, venue: Any) -> None:
    candles(world)
    hour = world.now() // Timeframe.H1.ms * Timeframe.H1.ms
    world.tape.candles += [world.candle(hour, tf=Timeframe.H1, final=False)]
    ticker = await venue.fetch_ticker(BTC_SWAP)
    assert (ticker["last"], ticker["high"], ticker["low"], ticker["baseVolume"]) == (50_000.0, 50_100.0, 49_900.0, 12.5)
    assert (await venue.fetch_bids_asks([BTC_SWAP]))[BTC_SWAP]["ask"] == 50_000.1
    assert set(await venue.fetch_tickers()) == {BTC_SWAP, ETH_SWAP}
    assert (await venue.fetch_last_prices([BTC_SWAP]))[BTC_SWAP]["price"] == 50_000.0


async def test_funding_is_told_past_and_due(world: World, venue: Any) -> None:
    world.tape.settled = [FundingTick(BTC, EIGHT_HOURS * k, D("0.0003"), D(0) if k == 1 else D(50_000)) for k in (1, 2)]
    rate = await venue.fetch_funding_rate(BTC_SWAP)
    assert (rate["markPrice"], rate["fundingRate"]) == (50_000.0, 0.0001)
    assert rate["fundingTimestamp"] % EIGHT_HOURS == 0
    history = await venue.fetch_funding_rate_history(BTC_SWAP)
    assert [row["fundingRate"] for row in history] == [0.0003, 0.0003]
    assert [row["timestamp"] for row in await venue.fetch_funding_rate_history(BTC_SWAP, since=EIGHT_HOURS, limit=1)] == [
        EIGHT_HOURS
    ]
    assert set(await venue.fetch_funding_rates()) == {BTC_SWAP, ETH_SWAP}
    assert await venue.fetch_funding_intervals() == {}


async def test_the_wallet_is_told_by_all_versions_of_the_call(venue: Any) -> None:
    assert (await venue.fetch_balance())["USDT"] == {"free": 1000.0, "used": 0.0, "total": 1000.0}
    assert (await venue.fetch_balance({"useV2": True}))["USDT"]["total"] == 1000.0
    for balance in (await venue.fapiPrivateV2GetBalance(), await venue.fapiPrivateV3GetBalance()):
        assert balance[0]["balance"] == "1000.00000000"


async def test_positions_are_told_by_all_versions_of_the_call(venue: Any) -> None:
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    (position,) = await venue.fetch_positions()
    assert (position["symbol"], position["side"], position["contracts"]) == (BTC_SWAP, "long", 0.01)
    (older,) = await venue.fetch_positions([BTC_SWAP], {"useV2": True})
    assert (older["leverage"], older["marginMode"]) == (20.0, "cross")
    assert len(await venue.fapiPrivateV3GetPositionRisk({"symbol": "ETHUSDT"})) == 0
    assert len(await venue.fapiPrivateV2GetPositionRisk()) == 2


async def test_a_symbol_with_an_open_order_is_among_the_positions(venue: Any) -> None:
    await venue.create_order(ETH_SWAP, "limit", "buy", 0.01, 49_000)
    (row,) = await venue.fapiPrivateV3GetPositionRisk()
    assert (row["symbol"], row["positionAmt"]) == ("ETHUSDT", "0")


async def test_a_leverage_is_a_whole_number(world: World) -> None:
    assert (await world.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage="2.7")).code == -1100
    assert world.exchange.symbol_config(BTC).leverage == 20


async def test_leverage_and_margin_are_set_and_told(world: World, venue: Any) -> None:
    await venue.set_leverage(5, BTC_SWAP)
    await venue.set_margin_mode("isolated", BTC_SWAP)
    leverages = await venue.fetch_leverages([BTC_SWAP])
    assert (leverages[BTC_SWAP]["longLeverage"], leverages[BTC_SWAP]["marginMode"]) == (5, "isolated")
    assert world.exchange.symbol_config(BTC).margin_type is MarginType.ISOLATED
    tiers = await venue.fetch_leverage_tiers([BTC_SWAP])
    assert [tier["maxLeverage"] for tier in tiers[BTC_SWAP]] == [125, 100]


async def test_the_position_mode_is_set_and_told(venue: Any) -> None:
    assert (await venue.fetch_position_mode())["hedged"] is False
    await venue.set_position_mode(True)
    assert (await venue.fetch_position_mode())["hedged"] is True
    assert (await venue.fapiPrivateGetAccountConfig())["dualSidePosition"] is True
    assert (await venue.fapiPrivateGetMultiAssetsMargin()) == {"multiAssetsMargin": False}


async def test_an_order_lives_from_placing_to_cancelling(venue: Any) -> None:
    """F: place, look up by either id, amend, list, cancel."""
    order = await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000, {"clientOrderId": "mine-1", "postOnly": True})
    assert (order["status"], order["clientOrderId"], order["timeInForce"]) == ("open", "mine-1", "PO")
    assert (await venue.fetch_order(order["id"], BTC_SWAP))["clientOrderId"] == "mine-1"
    assert (await venue.fetch_order(None, BTC_SWAP, {"clientOrderId": "mine-1"}))["id"] == order["id"]
    changed = await venue.edit_order(order["id"], BTC_SWAP, "limit", "buy", 0.02, 48_900)
    assert (changed["amount"], changed["price"]) == (0.02, 48_900.0)
    assert [found["id"] for found in await venue.fetch_open_orders(BTC_SWAP)] == [order["id"]]
    assert [found["id"] for found in await venue.fetch_open_orders()] == [order["id"]]
    (change,) = await venue.fapiPrivateGetOrderAmendment({"symbol": BTC, "orderId": order["id"]})
    assert change["amendment"] == {
        "price": {"before": "49000", "after": "48900"},
        "origQty": {"before": "0.01", "after": "0.02"},
        "count": 1,
    }
    assert (await venue.cancel_order(order["id"], BTC_SWAP))["status"] == "canceled"
    assert (await venue.fetch_orders(BTC_SWAP))[0]["status"] == "canceled"
    assert await venue.fetch_open_orders(BTC_SWAP) == []


async def test_one_open_order_is_told_while_it_is_open(venue: Any) -> None:
    order = await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000)
    assert (await venue.fetch_open_order(order["id"], BTC_SWAP))["status"] == "open"
    await venue.cancel_order(order["id"], BTC_SWAP)
    with pytest.raises(Exception, match="-2013"):
        await venue.fetch_open_order(order["id"], BTC_SWAP)


async def test_fills_are_told_by_number_or_of_a_week(world: World, venue: Any) -> None:
    """As the venue's manual has it: no number and time together, no longer time than seven days, else the last seven."""
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    history, now, day = world.exchange._engine.history, world.now(), 24 * Timeframe.H1.ms
    (one,) = history.trades
    history.trades.clear()
    history.trades.extend(structs.replace(one, trade_id=k, ts=now - (30 - k) * day + 60_000) for k in range(20, 30))

    async def told(**asked: int) -> list[int]:
        return [row["id"] for row in (await world.ask("GET", "/fapi/v1/userTrades", symbol=BTC, **asked)).told]

    assert await told() == list(range(23, 30))
    assert await told(endTime=now - 3 * day) == list(range(20, 27))
    assert await told(startTime=now - 8 * day) == list(range(22, 29))
    assert await told(startTime=now - 8 * day, endTime=now - 6 * day) == [22, 23]
    assert await told(fromId=21, limit=3) == [21, 22, 23]
    code = (await world.ask("GET", "/fapi/v1/userTrades", symbol=BTC, startTime=now - 9 * day, endTime=now)).code
    assert code == -4165
    for more in ({"startTime": now - day}, {"endTime": now}):
        assert (await world.ask("GET", "/fapi/v1/userTrades", symbol=BTC, fromId=1, **more)).code == -1106


async def test_fills_of_half_a_year_ago_and_more_are_not_told(world: World, venue: Any) -> None:
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    history, now, day = world.exchange._engine.history, world.now(), 24 * Timeframe.H1.ms
    (one,) = history.trades
    history.trades.clear()
    history.trades.extend(structs.replace(one, trade_id=k, ts=now - days * day) for k, days in ((1, 200), (2, 170), (3, 1)))
    for asked, ids in (
        ({"fromId": 1}, [2, 3]),
        ({"orderId": one.order_id}, [2, 3]),
        ({"startTime": now - 203 * day}, []),
    ):
        told = (await world.ask("GET", "/fapi/v1/userTrades", symbol=BTC, **asked)).told
        assert [row["id"] for row in told] == ids


async def test_income_is_told_of_a_week_or_of_three_months(world: World, venue: Any) -> None:
    """As the venue's manual has it."""
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    history, now, day = world.exchange._engine.history, world.now(), 24 * Timeframe.H1.ms
    (one,) = history.income
    history.income.clear()
    history.income.extend(structs.replace(one, transfer_id=days, ts=now - days * day) for days in (100, 80, 8, 6))

    async def told(**asked: int) -> list[int]:
        return [int(row["tranId"]) for row in (await world.ask("GET", "/fapi/v1/income", symbol=BTC, **asked)).told]

    assert await told() == [6]
    assert await told(startTime=0) == [80, 8, 6]
    assert await told(endTime=now - 7 * day) == [80, 8]


@pytest.mark.parametrize(("kind", "number"), [("order", "orderId"), ("algo", "algoId")])
async def test_orders_are_told_by_number_or_of_a_week_and_forgotten_in_time(kind: str, number: str, world: World) -> None:
    """The age of an order counts: one that rested for days is gone as soon as it is cancelled (exchange.md, retention)."""
    base, every = {"order": ("/fapi/v1/order", "/fapi/v1/allOrders"), "algo": ("/fapi/v1/algoOrder", "/fapi/v1/allAlgoOrders")}[
        kind
    ]
    rest = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}
    stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "48500"}
    asked = rest if kind == "order" else {**stop, "quantity": "0.01"}
    ids = [(await world.ask("POST", base, **asked)).told[number] for _ in range(2)]
    await world.ask("DELETE", base, symbol=BTC, **{number: ids[0]})
    book = getattr(world.exchange._engine, f"{kind}s")

    async def told(**more: int) -> list[int]:
        return [row[number] for row in (await world.ask("GET", every, symbol=BTC, **more)).told]

    async def age(days: int) -> None:
        made = world.now() - days * 24 * Timeframe.H1.ms - 60_000
        rows = [structs.replace(row, created=made) for row in book.finished]
        book.finished.clear()
        book.finished.extend(rows)
        for one in book.of():
            one.state = structs.replace(one.state, created=made)

    assert await told() == await told(**{number: ids[0]}) == ids
    await age(2)
    assert (await world.ask("GET", base, symbol=BTC, **{number: ids[0]})).status == 200
    await age(3)
    assert (await world.ask("GET", base, symbol=BTC, **{number: ids[0]})).code == -2013
    assert (await world.ask("GET", base, symbol=BTC, **{number: ids[1]})).status == 200
    assert await told() == ids[1:]
    await age(8)
    assert await told() == []
    assert await told(**{number: 1}) == ids[1:]
    assert await told(startTime=world.now() - 9 * 24 * Timeframe.H1.ms) == ids[1:]
    code = (await world.ask("GET", every, symbol=BTC, startTime=world.now() - 9 * 24 * Timeframe.H1.ms, endTime=world.now())).code
    assert code == -4165


async def test_an_order_that_was_filled_is_found_for_ninety_days(world: World) -> None:
    buy = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    order_id = (await world.ask("POST", "/fapi/v1/order", **buy)).told["orderId"]
    finished = world.exchange._engine.orders.finished
    (one,) = finished
    for days, status in ((89, 200), (91, 400)):
        finished.clear()
        finished.extend([structs.replace(one, created=world.now() - days * 24 * Timeframe.H1.ms)])
        assert (await world.ask("GET", "/fapi/v1/order", symbol=BTC, orderId=order_id)).status == status


async def test_a_market_order_answers_with_its_fill(venue: Any) -> None:
    order = await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    assert (order["status"], order["filled"]) == ("closed", 0.01)
    (trade,) = await venue.fetch_my_trades(BTC_SWAP)
    assert (trade["order"], trade["takerOrMaker"], trade["fee"]["currency"]) == (order["id"], "taker", "USDT")
    assert trade["price"] == order["average"]
    assert len(await venue.fetch_my_trades(BTC_SWAP, params={"orderId": order["id"]})) == 1
    assert len(await venue.fetch_my_trades(BTC_SWAP, params={"orderId": 1})) == 0
    (fee,) = await venue.fapiPrivateGetIncome({"symbol": BTC, "incomeType": "COMMISSION"})
    assert float(fee["income"]) == -trade["fee"]["cost"]
    assert len(await venue.fapiPrivateGetIncome()) >= 1


async def test_a_batch_answers_each_leg(venue: Any) -> None:
    """A refused leg is an answer; the library sorts it away from its request (exchange.md 1.1)."""
    asked = [
        {"symbol": BTC_SWAP, "type": "limit", "side": "buy", "amount": 0.01, "price": price, "params": {"clientOrderId": name}}
        for name, price in (("b-1", 49_000), ("b-2", 1_000_000), ("b-3", 48_000))
    ]
    answers = await venue.create_orders(asked)
    assert sorted(str(answer["clientOrderId"]) for answer in answers) == ["None", "b-1", "b-3"]
    assert sorted(order["clientOrderId"] for order in await venue.fetch_open_orders(BTC_SWAP)) == ["b-1", "b-3"]
    ids = [order["id"] for order in await venue.fetch_open_orders(BTC_SWAP)]
    assert [order["status"] for order in await venue.cancel_orders(ids, BTC_SWAP)] == ["canceled", "canceled"]


async def test_several_orders_are_cancelled_by_client_id(venue: Any) -> None:
    for name in ("c-1", "c-2"):
        await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000, {"clientOrderId": name})
    answers = await venue.cancel_orders([], BTC_SWAP, {"origClientOrderIdList": ["c-1", "unknown", "c-2"]})
    assert sorted(answer["clientOrderId"] for answer in answers) == ["c-1", "c-2"]
    assert await venue.fetch_open_orders(BTC_SWAP) == []


async def test_several_orders_are_amended_at_once(venue: Any) -> None:
    orders = [await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000) for _ in range(2)]
    asked = [
        {"id": order["id"], "symbol": BTC_SWAP, "type": "limit", "side": "buy", "amount": 0.01, "price": 48_000 + number}
        for number, order in enumerate(orders)
    ]
    changed = await venue.edit_orders(asked)
    assert sorted(order["price"] for order in changed) == [48_000.0, 48_001.0]


async def test_all_plain_orders_are_cancelled_and_stops_stay(venue: Any) -> None:
    """Conditional orders live in a book of their own (exchange.md 1.3)."""
    await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000)
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    stop = await venue.create_order(BTC_SWAP, "market", "sell", 0.01, None, {"stopLossPrice": 49_000, "reduceOnly": True})
    await venue.cancel_all_orders(BTC_SWAP)
    assert await venue.fetch_open_orders(BTC_SWAP) == []
    assert [order["id"] for order in await venue.fetch_open_orders(BTC_SWAP, params={"trigger": True})] == [stop["id"]]
    await venue.cancel_all_orders(BTC_SWAP, {"trigger": True})
    assert await venue.fetch_open_orders(BTC_SWAP, params={"trigger": True}) == []


async def test_a_stop_is_placed_looked_up_and_cancelled(venue: Any) -> None:
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    params = {"stopLossPrice": 49_500, "closePosition": True, "workingType": "MARK_PRICE", "clientOrderId": "stop-1"}
    stop = await venue.create_order(BTC_SWAP, "market", "sell", None, None, params)
    assert (stop["status"], stop["info"]["orderType"], stop["triggerPrice"]) == ("open", "STOP_MARKET", 49_500.0)
    found = await venue.fetch_order(stop["id"], BTC_SWAP, {"trigger": True})
    assert (found["clientOrderId"], found["info"]["workingType"]) == ("stop-1", "MARK_PRICE")
    cancelled = await venue.cancel_order(stop["id"], BTC_SWAP, {"trigger": True})
    assert (cancelled["id"], cancelled["status"]) == (stop["id"], None)
    assert (await venue.fetch_orders(BTC_SWAP, params={"trigger": True}))[0]["status"] == "canceled"


async def test_a_limit_stop_a_take_and_a_trailing_stop_are_accepted(venue: Any) -> None:
    await venue.create_order(BTC_SWAP, "market", "buy", 0.03)
    stop = await venue.create_order(BTC_SWAP, "limit", "sell", 0.01, 49_400, {"stopLossPrice": 49_500, "timeInForce": "GTC"})
    take = await venue.create_order(BTC_SWAP, "market", "sell", 0.01, None, {"takeProfitPrice": 51_000})
    trail = await venue.create_order(
        BTC_SWAP, "market", "sell", 0.01, None, {"trailingPercent": 1, "trailingTriggerPrice": 51_000}
    )
    kinds = [order["info"]["orderType"] for order in (stop, take, trail)]
    assert kinds == ["STOP", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
    assert trail["info"]["callbackRate"] == "1"
    assert trail["info"]["activatePrice"] == text(D(51_000))


async def test_a_stop_that_acted_names_its_child(world: World, venue: Any) -> None:
    await venue.create_order(BTC_SWAP, "market", "buy", 0.01)
    stop = await venue.create_order(BTC_SWAP, "market", "sell", 0.01, None, {"stopLossPrice": 49_500, "reduceOnly": True})
    await world.play(world.trade("49400"))
    found = await venue.fetch_order(stop["id"], BTC_SWAP, {"trigger": True})
    assert (found["status"], found["info"]["algoStatus"]) == ("closed", "FINISHED")
    child = await venue.fetch_order(found["info"]["actualOrderId"], BTC_SWAP)
    assert (child["status"], child["info"]["origType"]) == ("closed", "STOP_MARKET")
    assert await venue.fetch_positions() == []


async def test_a_good_till_date_order_is_accepted(world: World, venue: Any) -> None:
    till = (world.now() // 1000 + 700) * 1000
    order = await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000, {"timeInForce": "GTD", "goodTillDate": till})
    assert int(order["info"]["goodTillDate"]) == till


async def test_a_test_order_is_looked_at_and_not_placed(venue: Any) -> None:
    assert await venue.fapiPrivatePostOrderTest({"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}) == {}
    assert await venue.fetch_orders(BTC_SWAP) == []


async def test_fees_limits_and_permissions_are_told(venue: Any) -> None:
    fee = await venue.fetch_trading_fee(BTC_SWAP)
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)
    assert len(await venue.fapiPrivateGetRateLimitOrder()) == 2
    scope = await venue.sapiGetAccountApiRestrictions()
    assert (scope["enableFutures"], scope["enableWithdrawals"]) == (True, False)


async def test_the_countdown_cancels_unless_it_is_set_again(venue: Any) -> None:
    await venue.create_order(BTC_SWAP, "limit", "buy", 0.01, 49_000)
    for ms in (60_000, 0, 30):
        answer = await venue.fapiPrivatePostCountdownCancelAll({"symbol": BTC, "countdownTime": ms})
    assert answer == {"symbol": BTC, "countdownTime": "30"}
    for _ in range(100):
        if await venue.fetch_open_orders(BTC_SWAP) == []:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the order was not cancelled")


async def test_the_listen_key_is_made_kept_and_dropped(venue: Any) -> None:
    first = (await venue.fapiPrivatePostListenKey())["listenKey"]
    assert (await venue.fapiPrivatePostListenKey())["listenKey"] == first
    assert (await venue.fapiPrivatePutListenKey())["listenKey"] == first
    assert await venue.fapiPrivateDeleteListenKey() == {}
    with pytest.raises(Exception, match="-1125"):
        await venue.fapiPrivatePutListenKey()
    assert (await venue.fapiPrivatePostListenKey())["listenKey"] != first


def test_weights_follow_what_is_asked() -> None:
    """The venue's own table, which the client library throttles by as well."""
    depth, klines = ROUTES["GET", "/fapi/v1/depth"].weight, ROUTES["GET", "/fapi/v1/klines"].weight
    assert [depth(Params({"limit": limit})) for limit in ("5", "50", "100", "500", "1000", "5000", "x")] == [
        2,
        2,
        5,
        10,
        20,
        20,
        10,
    ]
    assert [klines(Params({"limit": limit})) for limit in ("99", "100", "499", "500", "1000", "1500")] == [1, 2, 2, 5, 5, 10]
    assert klines(Params({})) == 5
    orders = ROUTES["GET", "/fapi/v1/openOrders"].weight
    assert (orders(Params({})), orders(Params({"symbol": BTC}))) == (40, 1)
    assert ROUTES["GET", "/fapi/v1/positionSide/dual"].weight(Params({})) == 30
    assert ROUTES["POST", "/fapi/v1/order"].weight(Params({})) == 0
    assert ROUTES["POST", "/fapi/v1/order"].orders(Params({})) == 1
    assert ROUTES["GET", "/fapi/v1/time"].orders(Params({})) == 0
    assert ROUTES["POST", "/fapi/v1/batchOrders"].orders(Params({"batchOrders": "[{},{}]"})) == 2
    assert ROUTES["POST", "/fapi/v1/batchOrders"].orders(Params({"batchOrders": "nonsense"})) == 1


WEIGHTS = {
    (0, 0, 1): (
        "POST /fapi/v1/order",
        "POST /fapi/v1/algoOrder",
    ),
    (1, 1, 0): (
        "GET /fapi/v1/ping",
        "GET /fapi/v1/time",
        "GET /fapi/v1/exchangeInfo",
        "GET /fapi/v1/fundingRate",
        "GET /fapi/v1/fundingInfo",
        "GET /api/v3/ping",
        "GET /api/v3/time",
        "POST /fapi/v1/listenKey",
        "PUT /fapi/v1/listenKey",
        "DELETE /fapi/v1/listenKey",
        "GET /fapi/v1/leverageBracket",
        "GET /fapi/v1/rateLimit/order",
        "POST /fapi/v1/positionSide/dual",
        "POST /fapi/v1/leverage",
        "POST /fapi/v1/marginType",
        "GET /sapi/v1/account/apiRestrictions",
        "POST /fapi/v1/order/test",
        "GET /fapi/v1/order",
        "DELETE /fapi/v1/order",
        "GET /fapi/v1/openOrder",
        "DELETE /fapi/v1/allOpenOrders",
        "DELETE /fapi/v1/batchOrders",
        "GET /fapi/v1/orderAmendment",
        "GET /fapi/v1/algoOrder",
        "DELETE /fapi/v1/algoOrder",
        "DELETE /fapi/v1/algoOpenOrders",
    ),
    (1, 1, 1): ("PUT /fapi/v1/order",),
    (1, 2, 0): (
        "GET /fapi/v1/ticker/price",
        "GET /fapi/v2/ticker/price",
    ),
    (1, 10, 0): ("GET /fapi/v1/premiumIndex",),
    (1, 40, 0): (
        "GET /fapi/v1/ticker/24hr",
        "GET /fapi/v1/openOrders",
        "GET /fapi/v1/openAlgoOrders",
    ),
    (2, 2, 0): ("GET /api/v3/klines",),
    (2, 5, 0): ("GET /fapi/v1/ticker/bookTicker",),
    (5, 5, 0): (
        "GET /fapi/v1/trades",
        "GET /fapi/v1/klines",
        "GET /fapi/v1/markPriceKlines",
        "GET /fapi/v1/indexPriceKlines",
        "GET /fapi/v1/premiumIndexKlines",
        "GET /fapi/v2/account",
        "GET /fapi/v3/account",
        "GET /fapi/v1/accountConfig",
        "GET /fapi/v2/balance",
        "GET /fapi/v3/balance",
        "GET /fapi/v2/positionRisk",
        "GET /fapi/v3/positionRisk",
        "GET /fapi/v1/symbolConfig",
        "GET /fapi/v1/userTrades",
        "GET /fapi/v1/allOrders",
        "GET /fapi/v1/allAlgoOrders",
    ),
    (5, 5, 1): (
        "POST /fapi/v1/batchOrders",
        "PUT /fapi/v1/batchOrders",
    ),
    (10, 10, 0): (
        "GET /fapi/v1/depth",
        "POST /fapi/v1/countdownCancelAll",
    ),
    (20, 20, 0): (
        "GET /fapi/v1/aggTrades",
        "GET /api/v3/exchangeInfo",
        "GET /fapi/v1/commissionRate",
    ),
    (30, 30, 0): (
        "GET /fapi/v1/income",
        "GET /fapi/v1/multiAssetsMargin",
        "GET /fapi/v1/positionSide/dual",
    ),
}
"""What a call weighs with a symbol and without one, and how many orders it counts as; by the venue's own pages."""


def test_every_call_weighs_what_the_venue_says() -> None:
    """A client that keeps to a budget here keeps to it there."""
    told = dict[tuple[int, int, int], list[str]]()
    for (method, path), route in ROUTES.items():
        weights = (route.weight(Params({"symbol": BTC})), route.weight(Params({})), route.orders(Params({})))
        told.setdefault(weights, []).append(f"{method} {path}")
    assert {weights: sorted(names) for weights, names in told.items()} == {
        weights: sorted(names) for weights, names in WEIGHTS.items()
    }
