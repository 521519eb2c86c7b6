"""A venue of three calls and one stream, and the real client's way to it: enough to prove that the wires are real."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import ccxt.pro
from aiohttp import web

from core.clock import SystemClock
from tests.support.simulation.world import Node

REST, STREAMS = "fapi.binance.com", "fstream.binance.com"
SYMBOL = "BTC/USDT:USDT"
MARKET = {
    "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4_133_404_800_000, "status": "TRADING",
    "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3,
    "orderTypes": ["LIMIT", "MARKET"],
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "0.1", "maxPrice": "1000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
    ],
}  # fmt: skip


async def venue(node: Node) -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_get("/fapi/v1/exchangeInfo", exchange_info)
    app.router.add_post("/fapi/v1/order", partial(place, node))
    app.router.add_get("/market/ws/{n}", stream)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 443).start()  # noqa: S104 - there is no outside
    await asyncio.Event().wait()


async def exchange_info(_request: web.Request) -> web.Response:
    return web.json_response({"serverTime": 0, "symbols": [MARKET], "rateLimits": [], "exchangeFilters": []})


async def place(node: Node, request: web.Request) -> web.Response:
    asked = await request.post()
    now = SystemClock().now_ms()
    if not now - 5_000 <= int(str(asked["timestamp"])) <= now + 1_000:
        return web.json_response({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, status=400)
    node.world.note("accepted", asked["newClientOrderId"])
    answer = {
        "orderId": 7, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": asked["newClientOrderId"], "price": "0",
        "avgPrice": "90000", "origQty": asked["quantity"], "executedQty": asked["quantity"], "cumQuote": "180", "type": "MARKET",
        "side": asked["side"], "updateTime": now,
    }  # fmt: skip
    return web.json_response(answer)


async def stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    pushing = []
    async for message in socket:
        await socket.send_json({"result": None, "id": message.json()["id"]})
        pushing.append(asyncio.create_task(push(socket)))
    for task in pushing:
        task.cancel()
    return socket


async def push(socket: web.WebSocketResponse) -> None:
    for number in range(1_000):
        await asyncio.sleep(1.0)
        await socket.send_json(kline(number))


def kline(number: int) -> dict[str, Any]:
    bar = {
        "t": 60_000,
        "T": 119_999,
        "s": "BTCUSDT",
        "i": "1m",
        "o": "1",
        "h": "9",
        "l": "1",
        "c": f"{number}",
        "v": "1",
        "x": False,
    }
    return {"e": "kline", "E": 60_000 + number, "s": "BTCUSDT", "k": bar}


@contextlib.asynccontextmanager
async def client(**options: Any) -> AsyncIterator[Any]:
    """The client as anybody would make it: no address, session or resolver of ours."""
    exchange = ccxt.pro.binanceusdm(
        {"apiKey": "key", "secret": "secret", "timeout": 5_000, "options": {"fetchCurrencies": False}, **options}
    )
    try:
        while not exchange.markets:
            with contextlib.suppress(ccxt.pro.NetworkError, ccxt.pro.ExchangeError):
                await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


async def buy(exchange: Any, name: str) -> Any:
    return await exchange.create_order(SYMBOL, "market", "buy", 0.002, params={"newClientOrderId": name})
