"""Our answers and events beside recorded ones: the same keys, the same JSON types.

A sample's key may be missing here only where it is named below, with the reason.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

from core.sim.local.values import FundingTick
from core.sim.server.routes import ROUTES
from core.types import Timeframe
from tests.core.sim.server.kit import BTC, EIGHT_HOURS, D, World, until
from tests.core.sim.server.test_user import Listener, listening

TRAILING = {"activatePrice", "priceRate"}
"""Of plain trailing orders, which the venue has moved to the conditional ones."""
NOT_HERE: dict[str, set[str]] = {
    "POST /fapi/v1/order": TRAILING,
    "POST /fapi/v1/batchOrders": TRAILING,
    "GET /fapi/v1/order": TRAILING,
    "GET /fapi/v1/openOrder": TRAILING,
    "GET /fapi/v1/openOrders": TRAILING,
    "GET /fapi/v1/allOrders": TRAILING,
    "DELETE /fapi/v1/order": TRAILING,
    "DELETE /fapi/v1/batchOrders": TRAILING,
    "PUT /fapi/v1/order": {"cumBase"},  # of coin-margined contracts
    "PUT /fapi/v1/batchOrders": {"cumBase"},
    # the venue's manual, and what its client library expects, answer a cancellation with ids and "success" alone
    "DELETE /fapi/v1/algoOrder": {
        "algoType", "orderType", "symbol", "side", "positionSide", "timeInForce", "quantity", "algoStatus", "triggerPrice",
        "price", "icebergQuantity", "selfTradePreventionMode", "workingType", "priceMatch", "closePosition", "priceProtect",
        "reduceOnly", "createTime", "updateTime", "triggerTime", "goodTillDate",
    },
    # the newer call tells neither leverage nor margin type; the sample is the older one under the newer name
    "GET /fapi/v3/positionRisk": {"leverage", "maxNotionalValue", "marginType", "isAutoAddMargin"},
    "GET /fapi/v1/exchangeInfo": {"settlePlan"},  # gone from newer recordings
}  # fmt: skip
OTHER_TYPE: dict[str, set[str]] = {
    "GET /fapi/v1/exchangeInfo": {"autoAssetExchange", "multiplierDecimal", "filters"},  # numbers or text, by recording
    "GET /fapi/v1/symbolConfig": {"isAutoAddMargin"},  # true in one recording, "true" in another
    "GET /fapi/v1/income": {"tradeId"},  # a number in one row of the sample, text in the other
}
OF_OTHERS = {"st"}
"""Keys that the venue sends to some clients and documents nowhere."""


def kind(value: object) -> str:
    """JSON's own type."""
    names = {dict: "object", list: "array", str: "text", bool: "flag", int: "number", float: "number", type(None): "null"}
    return names[type(value)]


def differences(ours: Any, sample: Any, where: str, missing_ok: set[str], other_ok: set[str]) -> list[str]:
    """What of the sample is not so with us."""
    if kind(ours) != kind(sample) and "null" not in {kind(ours), kind(sample)}:
        return [f"{where} is {kind(ours)}, the sample {kind(sample)}"]
    if isinstance(sample, dict):
        found = [f"{where}.{key} is missing" for key in sample if key not in ours and key not in missing_ok | OF_OTHERS]
        for key in sample:
            if key in ours and key not in other_ok:
                found += differences(ours[key], sample[key], f"{where}.{key}", missing_ok, other_ok)
        return found
    if isinstance(sample, list) and sample and ours:
        mine = [row for row in ours if not (isinstance(row, dict) and set(row) == {"code", "msg"})]
        theirs = [row for row in sample if not (isinstance(row, dict) and set(row) == {"code", "msg"})]
        if isinstance(theirs[0], (dict, list)):
            return min((differences(row, theirs[0], f"{where}[0]", missing_ok, other_ok) for row in mine), key=len)
        return [
            text for a, b in zip(mine, theirs, strict=False) for text in differences(a, b, f"{where}[]", missing_ok, other_ok)
        ]
    return []


async def answers(world: World) -> dict[str, Any]:
    """One good answer of each call."""
    told: dict[str, Any] = {}

    async def ask(method: str, path: str, *, signed: bool = True, **params: Any) -> Any:
        reply = await world.ask(method, path, signed=signed, **params)
        assert reply.status == 200, (path, reply)
        told[f"{method} {path}"] = reply.told
        return reply.told

    limit = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}
    stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49500"}
    for path in ("time", "exchangeInfo", "fundingInfo"):
        await ask("GET", f"/fapi/v1/{path}", signed=False)
    for path in (
        "depth",
        "trades",
        "aggTrades",
        "premiumIndex",
        "fundingRate",
        "ticker/24hr",
        "ticker/price",
        "ticker/bookTicker",
    ):
        await ask("GET", f"/fapi/v1/{path}", signed=False, symbol=BTC)
    await ask("GET", "/fapi/v2/ticker/price", signed=False, symbol=BTC)
    for path, name in (
        ("klines", "symbol"),
        ("markPriceKlines", "symbol"),
        ("indexPriceKlines", "pair"),
        ("premiumIndexKlines", "symbol"),
    ):
        await ask("GET", f"/fapi/v1/{path}", signed=False, interval="5m", **{name: BTC})
    await ask("POST", "/fapi/v1/listenKey", signed=False)
    await ask("PUT", "/fapi/v1/listenKey", signed=False)
    await ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=25)
    await ask("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    order = await ask("POST", "/fapi/v1/order", **limit)
    await ask("PUT", "/fapi/v1/order", symbol=BTC, orderId=order["orderId"], side="BUY", quantity="0.01", price="48000")
    for path in ("order", "openOrder"):
        await ask("GET", f"/fapi/v1/{path}", symbol=BTC, orderId=order["orderId"])
    for path in ("openOrders", "allOrders", "orderAmendment"):
        await ask("GET", f"/fapi/v1/{path}", symbol=BTC)
    await ask("DELETE", "/fapi/v1/order", symbol=BTC, orderId=order["orderId"])
    batch = json.dumps([{**limit, "reduceOnly": False}, {**limit, "price": "1"}])
    placed = [leg for leg in await ask("POST", "/fapi/v1/batchOrders", batchOrders=batch) if "orderId" in leg]
    change = {"symbol": BTC, "side": "BUY", "quantity": "0.01", "price": "48500", "orderId": placed[0]["orderId"]}
    await ask("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps([change]))
    await ask("DELETE", "/fapi/v1/batchOrders", symbol=BTC, orderIdList=f"[{placed[0]['orderId']},1]")
    await ask("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
    await ask("POST", "/fapi/v1/countdownCancelAll", symbol=BTC, countdownTime=0)
    await ask("POST", "/fapi/v1/order", symbol=BTC, side="BUY", type="MARKET", quantity="0.02", newOrderRespType="RESULT")
    algo = await ask("POST", "/fapi/v1/algoOrder", **stop, quantity="0.01", reduceOnly="true")
    await ask("GET", "/fapi/v1/openAlgoOrders", symbol=BTC)
    await ask("DELETE", "/fapi/v1/algoOrder", algoId=algo["algoId"])
    algo = await ask("POST", "/fapi/v1/algoOrder", **stop, quantity="0.01", reduceOnly="true")
    await world.play(world.trade("49400"), FundingTick(BTC, world.now(), D("0.0001"), D("49400")))
    await ask("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])
    await ask("GET", "/fapi/v1/allAlgoOrders", symbol=BTC)
    await ask("DELETE", "/fapi/v1/algoOpenOrders", symbol=BTC)
    for path in ("v2/account", "v3/account", "v2/balance", "v3/balance", "v2/positionRisk", "v3/positionRisk"):
        await ask("GET", f"/fapi/{path}")
    for path in ("accountConfig", "rateLimit/order", "multiAssetsMargin", "positionSide/dual", "income"):
        await ask("GET", f"/fapi/v1/{path}")
    for path in ("symbolConfig", "leverageBracket", "commissionRate", "userTrades"):
        await ask("GET", f"/fapi/v1/{path}", symbol=BTC)
    await ask("POST", "/fapi/v1/order", symbol=BTC, side="SELL", type="MARKET", quantity="0.01")
    await ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    await ask("DELETE", "/fapi/v1/listenKey", signed=False)
    return told


async def prepared(world: World) -> World:
    """Some history."""
    five = Timeframe.M5.ms
    first = world.now() // five * five - five
    world.tape.candles = [world.candle(first), world.candle(first + five, final=False)]
    world.tape.candles += [world.candle(world.now() // 3_600_000 * 3_600_000, tf=Timeframe.H1, final=False)]
    world.tape.settled = [FundingTick(BTC, EIGHT_HOURS, D("0.0001"), D(50_000))]
    return world


async def test_rest_answers_have_the_recorded_shapes(shared_data: Path, plain: World) -> None:
    """Each sample of a call that we have is compared."""
    told = await answers(await prepared(plain))
    compared, found = set(), []
    for path in sorted((shared_data / "fixtures" / "binance_net" / "endpoints").rglob("*.json")):
        sample = json.loads(path.read_text())
        name = f"{sample['method']} {sample['path']}"
        if (sample["method"], sample["path"]) not in ROUTES:
            continue
        compared.add(name)
        missing, other = NOT_HERE.get(name, set()), OTHER_TYPE.get(name, set())
        found += differences(told[name], sample["response"], name, missing, other)
    assert found == []
    assert len(compared) >= 50


REST_FILES = {
    "nautilus_rust/rest/account_info_v2.json": "GET /fapi/v2/account",
    "nautilus_rust/rest/balance.json": "GET /fapi/v2/balance",
    "nautilus_rust/rest/position_risk.json": "GET /fapi/v2/positionRisk",
    "nautilus_rust/rest/order_response.json": "GET /fapi/v1/order",
    "nautilus_rust/rest/open_algo_orders.json": "GET /fapi/v1/openAlgoOrders",
    "nautilus_py/rest/http_futures_account_trades.json": "GET /fapi/v1/userTrades",
    "nautilus_py/rest/http_futures_account_symbol_config.json": "GET /fapi/v1/symbolConfig",
    "nautilus_py/rest/http_futures_account_position_side_dual.json": "GET /fapi/v1/positionSide/dual",
    "nautilus_py/rest/http_futures_market_depth.json": "GET /fapi/v1/depth",
    "nautilus_py/rest/http_futures_market_trades.json": "GET /fapi/v1/trades",
    "nautilus_py/rest/http_futures_market_agg_trades.json": "GET /fapi/v1/aggTrades",
    "nautilus_py/rest/http_futures_market_premium_index.json": "GET /fapi/v1/premiumIndex",
    "nautilus_py/rest/http_futures_market_funding_rate.json": "GET /fapi/v1/fundingRate",
    "nautilus_py/rest/http_futures_market_klines.json": "GET /fapi/v1/klines",
    "nautilus_py/rest/http_futures_market_mark_price_klines.json": "GET /fapi/v1/markPriceKlines",
    "nautilus_py/rest/http_futures_market_ticker_24hr.json": "GET /fapi/v1/ticker/24hr",
    "nautilus_py/rest/http_futures_market_book_ticker.json": "GET /fapi/v1/ticker/bookTicker",
    "nautilus_py/rest/http_futures_wallet_commission_rate_btcusdt.json": "GET /fapi/v1/commissionRate",
}
REST_MISSING = {"GET /fapi/v1/openAlgoOrders": {"type"}, "GET /fapi/v1/userTrades": {"marginAsset"}}
"""``type`` is called ``orderType`` by the venue and its other recordings; ``marginAsset`` is in one old recording only."""


async def test_rest_answers_have_the_shapes_of_other_recordings(shared_data: Path, plain: World) -> None:
    told = await answers(await prepared(plain))
    found = []
    for path, name in REST_FILES.items():
        sample = json.loads((shared_data / "fixtures" / path).read_text())
        found += differences(told[name], sample, name, REST_MISSING.get(name, set()), OTHER_TYPE.get(name, set()))
    assert found == []


TICKERS = ("ticker/24hr", "ticker/price", "ticker/bookTicker")
MARKET_EVENTS = ("aggTrade", "bookTicker", "depthUpdate", "kline", "markPriceUpdate", "24hrTicker", "trade", "forceOrder")
STREAMS = {
    "public": ["trade", "bookTicker", "depth@100ms"],
    "market": ["aggTrade", "kline_5m", "markPrice@1s", "ticker", "forceOrder"],
}


def recorded_events(shared_data: Path) -> dict[str, list[dict[str, Any]]]:
    """Events of all recordings by their kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    folder = shared_data / "fixtures"
    for path in sorted([*folder.rglob("ws/*.json"), *folder.rglob("user_stream/*.json"), *folder.rglob("subscriptions/*.json")]):
        sample = json.loads(path.read_text())
        messages = [one["msg"] for one in sample["exchange"] if one["dir"] == "received"] if "exchange" in sample else [sample]
        for message in messages:
            event = message.get("data", message)
            if isinstance(event, dict) and "e" in event:
                found.setdefault(event["e"], []).append(event)
    with gzip.open(shared_data / "feeds" / "usdm_btcusdt_20240808.jsonl.gz", "rt") as lines:
        for _, line in zip(range(3_000), lines, strict=False):
            event = json.loads(line)["msg"].get("data", {})
            found.setdefault(event.get("e", ""), []).append(event)
    return found


async def heard_on(world: World, category: str) -> Listener:
    """A listener on all streams of a category."""
    names = "/".join(f"btcusdt@{name}" for name in STREAMS[category])
    socket = await world.socket(f"/{category}/ws/{names}")
    listener = Listener(socket)
    listener.task = asyncio.create_task(listener.collect())
    return listener


EVENT_MISSING = {
    "ORDER_TRADE_UPDATE": {"AP", "cr", "W"},  # of trailing orders; of price matching
    "ACCOUNT_CONFIG_UPDATE": {"ac", "ai"},  # of leverage, or of the mode of assets
}
NO_TRADE = {"N", "n"}
"""A commission is told with a trade only; the samples of other words carry it at times."""


async def test_events_have_the_recorded_shapes(shared_data: Path, plain: World) -> None:
    """Market and user streams, against all recordings of each kind."""
    await prepared(plain)
    market = [await heard_on(plain, category) for category in STREAMS]
    async with listening(plain) as user:
        await events_of_everything(plain)
        await until(lambda: "24hrTicker" in market[1].names and "depthUpdate" in market[0].names)
        ours: dict[str, dict[str, Any]] = {}
        for listener in (*market, user):
            for event in listener.events:
                ours[event["e"]] = event
        for listener in market:
            listener.task.cancel()
            await listener.socket.close()
    found, compared = [], set()
    for name, samples in recorded_events(shared_data).items():
        for sample in samples if name in ours else ():
            compared.add(name)
            allowed = EVENT_MISSING.get(name, set()) | (NO_TRADE if name == "ORDER_TRADE_UPDATE" else set()) | {"rm"}
            found += differences(ours[name], sample, name, allowed, set())
    assert sorted(set(found)) == []
    user_events = {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE", "ALGO_UPDATE", "ACCOUNT_CONFIG_UPDATE"}
    assert compared >= user_events | set(MARKET_EVENTS) - {"forceOrder"}


async def events_of_everything(world: World) -> None:
    """Let each kind of event happen."""
    await world.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=25)
    await world.ask("POST", "/fapi/v1/order", symbol=BTC, side="BUY", type="MARKET", quantity="0.02")
    stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49500"}
    await world.ask("POST", "/fapi/v1/algoOrder", **stop, quantity="0.01", reduceOnly="true")
    await world.play(world.trade("49400"), world.book(size="6"), world.mark("49400"), world.candle(0))


def test_a_difference_is_a_missing_key_or_another_type() -> None:
    """The comparison itself sees what it should."""
    sample = {"a": 1, "b": [{"c": "x"}], "d": None}
    assert differences({"a": 2, "b": [{"c": "y", "more": 1}], "d": 3}, sample, "", set(), set()) == []
    assert differences({"a": "2", "b": [{}]}, sample, "it", set(), set()) == [
        "it.d is missing",
        "it.a is text, the sample number",
        "it.b[0].c is missing",
    ]


def test_every_exception_names_a_call_that_exists() -> None:
    """An exception for a call that is gone would hide nothing and mislead."""
    assert {tuple(name.split(" ")) for name in NOT_HERE | OTHER_TYPE} <= set(ROUTES)
