"""Answers in the form in which ccxt reads Bybit's: enough to run its client, no proof of the venue."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from core.data.sources.replay import ReplaySource
from core.exec.instrument import venue_id
from core.types import Timeframe
from tests.support.simulation.world import Node, World

HOST = "api.bybit.com"
_TF = {"1": Timeframe.M1, "5": Timeframe.M5}
RATIO = 1.001
"""Its prices are so much higher: none of them can be taken for the first venue's."""


def start(world: World, replay: ReplaySource, listed: tuple[str, ...] | None = None) -> None:
    """``listed``: its markets; None: all."""
    names = replay.info.symbols if listed is None else listed
    world.start("bybit", partial(_serve, replay, world.clocks, names), hosts=(HOST,))


async def _serve(replay: ReplaySource, clock: Any, names: tuple[str, ...], _node: Node) -> None:
    def told(result: dict[str, Any]) -> web.Response:
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": clock.now_ms()})

    async def instruments(request: web.Request) -> web.Response:
        listed = [] if "status" in request.query else [_market(name) for name in names]
        return told({"category": "linear", "list": listed, "nextPageCursor": ""})

    async def time(_request: web.Request) -> web.Response:
        return told({"timeSecond": str(clock.now_ms() // 1000), "timeNano": str(clock.now_ms() * 1_000_000)})

    async def kline(request: web.Request) -> web.Response:
        asked, now = request.query, clock.now_ms()
        tf, since, limit = _TF[asked["interval"]], int(asked["start"]), int(asked["limit"])
        name = next(name for name in replay.info.symbols if venue_id(name) == asked["symbol"])
        bars = replay.history(name, tf, now, 10_000)
        columns = zip(*(column.tolist() for column in bars), strict=True)
        found = [
            [str(ts), *(repr(p * RATIO) for p in (o, h, low, c)), repr(v), "1"] for ts, o, h, low, c, v in columns if ts >= since
        ]
        found.append([str(now - now % tf.ms), "1", "1", "1", "1", "0", "0"])
        return told({"symbol": asked["symbol"], "category": "linear", "list": found[:limit][::-1]})

    app = web.Application()
    app.router.add_get("/v5/market/instruments-info", instruments)
    app.router.add_get("/v5/market/time", time)
    app.router.add_get("/v5/market/kline", kline)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 443).start()  # noqa: S104 - in memory
    await asyncio.Event().wait()


def _market(name: str) -> dict[str, Any]:
    return {
        "symbol": venue_id(name), "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": name.partition("/")[0],
        "quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": "1585526400000", "deliveryTime": "0", "deliveryFeeRate": "",
        "priceScale": "2", "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": "0.10", "maxPrice": "999999.00", "tickSize": "0.10"},
        "lotSizeFilter": {"maxOrderQty": "100.000", "minOrderQty": "0.001", "qtyStep": "0.001", "minNotionalValue": "5"},
        "unifiedMarginTrade": True, "fundingInterval": 480,
    }  # fmt: skip
