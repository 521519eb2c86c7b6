"""Calls of the venue's spot host: prices only, for the basis. Nothing can be traded there."""

from __future__ import annotations

from core.sim.local.values import VenueError
from core.sim.server import shape_market as shape
from core.sim.server.calls_market import time_range, timeframe
from core.sim.server.desk import Desk
from core.sim.server.params import Params
from core.sim.server.wire import Json
from core.sim.tape.base import SPOT_KLINES_DEFAULT, SPOT_KLINES_MOST


def exchange_info(desk: Desk, _params: Params) -> Json:
    """The spot markets of what is listed, where the tape knows them."""
    listed = [listing for symbol, listing in desk.exchange.listings.items() if symbol in desk.tape.info.spot]
    return shape.spot_info(listed, desk.options.limits, desk.pace.now())


def klines(desk: Desk, params: Params) -> list[list[object]]:
    """Candles, the forming one last."""
    symbol, tf = params.text("symbol"), timeframe(params)
    if symbol not in desk.tape.info.spot:
        raise VenueError(-1121, "Invalid symbol.")
    limit = params.limit(SPOT_KLINES_DEFAULT, SPOT_KLINES_MOST)
    return [shape.kline_row(kline) for kline in desk.tape.spot_klines(symbol, tf, *time_range(params), limit)]
