"""Order-book levels drawn from a spread and a depth, for markets whose source has no books.

The depth is spread evenly from the best price to 0.1 % from the middle, which is what :mod:`core.exec.slippage` assumes.
"""

from __future__ import annotations

from decimal import Decimal

from core.exec.instrument import Instrument
from core.exec.slippage import DEPTH_BAND_BPS
from core.sim.tape.candles import number

Levels = tuple[tuple[Decimal, Decimal], ...]


def best_prices(instrument: Instrument, price: float, spread_bps: float) -> tuple[Decimal, Decimal]:
    """Bid and ask around ``price``, on ticks, at least one tick apart and not nearer than the spread."""
    half = price * spread_bps / 2e4
    bid = max(instrument.price_down(price - half), instrument.tick_size)
    return bid, max(instrument.price_up(price + half), bid + instrument.tick_size)


def draw_levels(instrument: Instrument, bid: Decimal, ask: Decimal, depth_usd: float, count: int) -> tuple[Levels, Levels]:
    """At most ``count`` levels a side, best first, worth ``depth_usd`` together; fewer where ticks are coarse."""
    middle = (bid + ask) / 2
    band = middle * number(DEPTH_BAND_BPS) / 10_000
    tick = instrument.tick_size
    down = _side(instrument, bid, int((bid - middle + band) / tick), -tick, depth_usd, count)
    return down, _side(instrument, ask, int((middle + band - ask) / tick), tick, depth_usd, count)


def _side(instrument: Instrument, best: Decimal, room: int, tick: Decimal, depth_usd: float, count: int) -> Levels:
    levels = max(1, min(count, room + 1))
    stride = tick * (room // (levels - 1)) if levels > 1 else tick
    middle_of_side = float(best + stride * (levels - 1) / 2)
    qty = max(instrument.qty_step, instrument.qty_down(depth_usd / levels / middle_of_side))
    return tuple((best + stride * k, qty) for k in range(levels))
