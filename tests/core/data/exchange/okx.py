"""Answers in the form in which ccxt reads OKX's: enough to run its client, no proof of the venue."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from core.data.sources.replay import ReplaySource
from core.types import Timeframe
from tests.support.simulation.world import Node, World

HOST = "www.okx.com"
_TF = {"1m": Timeframe.M1, "5m": Timeframe.M5}
RATIO = 1.002
"""Its prices are so much higher than the first venue's."""
CONTRACT = 0.01
"""Coins of one contract."""


def start(world: World, replay: ReplaySource) -> None:
    world.start("okx", partial(_serve, replay, world.clocks), hosts=(HOST,))


def id_of(name: str) -> str:
    return f"{name.partition(':')[0].replace('/', '-')}-SWAP"


async def _serve(replay: ReplaySource, clock: Any, _node: Node) -> None:
    def told(data: list[Any]) -> web.Response:
        return web.json_response({"code": "0", "msg": "", "data": data})

    async def instruments(_request: web.Request) -> web.Response:
        return told([market(name) for name in replay.info.symbols])

    async def time(_request: web.Request) -> web.Response:
        return told([{"ts": str(clock.now_ms())}])

    async def candles(request: web.Request) -> web.Response:
        asked, now = request.query, clock.now_ms()
        tf = _TF[asked["bar"]]
        newer, older = int(asked["before"]), int(asked["after"])
        name = next(name for name in replay.info.symbols if id_of(name) == asked["instId"])
        columns = zip(*(column.tolist() for column in replay.history(name, tf, now, 10_000)), strict=True)
        rows = [_row(ts, (o, h, low, c), volume, "1") for ts, o, h, low, c, volume in columns]
        rows.append(_row(now - now % tf.ms, (1.0, 1.0, 1.0, 1.0), 0.0, "0"))
        inside = [row for row in rows if newer < int(row[0]) < older]
        return told(inside[::-1][: int(asked["limit"])])

    app = web.Application()
    app.router.add_get("/api/v5/public/instruments", instruments)
    app.router.add_get("/api/v5/public/time", time)
    app.router.add_get("/api/v5/market/candles", candles)
    app.router.add_get("/api/v5/market/history-candles", candles)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 443).start()  # noqa: S104 - in memory
    await asyncio.Event().wait()


def _row(ts: int, prices: tuple[float, ...], coins: float, final: str) -> list[str]:
    """Time, prices, volume in contracts, in coins and in quote, and whether it is final."""
    return [str(ts), *(repr(price * RATIO) for price in prices), repr(coins / CONTRACT), repr(coins), "1", final]


def market(name: str) -> dict[str, Any]:
    base = name.partition("/")[0]
    return {
        "instId": id_of(name), "instType": "SWAP", "uly": f"{base}-USDT", "instFamily": f"{base}-USDT", "state": "live",
        "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT", "ctValCcy": base, "ctVal": str(CONTRACT), "ctMult": "1",
        "ctType": "linear", "category": "1", "alias": "", "expTime": "", "listTime": "1573557408000", "lever": "100",
        "lotSz": "0.01", "minSz": "0.01", "tickSz": "0.1", "optType": "", "stk": "", "maxLmtSz": "100000000", "maxMktSz": "12000",
    }  # fmt: skip
