"""Rules of matching against bars, as pure functions: when an order acts, and at which price.

A bar tells four prices and no path, so every doubt is settled against the trader: the stop acts before the take, a gap
fills at the worse price, and a take needs a trade beyond its price (fills at a mere touch flatter a maker).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from core.exec.instrument import Instrument
from core.exec.slippage import expected_slippage_bps
from core.types import ExitReason, Order, OrderPurpose, OrderSide, OrderType

MAX_SLIPPAGE_BPS = 1_000.0
"""No fill is worse than this against its reference: exchanges bound market orders by a price band."""


class Bar(NamedTuple):
    """One base bar; times in ms, prices in quote currency, volume in base units."""

    open_ts: int
    close_ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def sane(self) -> bool:
        """Whether the numbers can be those of a real bar (NaN fails every comparison)."""
        return (
            0.0 < self.low <= min(self.open, self.close)
            and max(self.open, self.close) <= self.high < math.inf
            and not math.isnan(self.open + self.close)
            and 0.0 <= self.volume < math.inf
        )

    @property
    def on_grid(self) -> bool:
        """Whether it opens at a multiple of its own length."""
        return self.open_ts % (self.close_ts - self.open_ts) == 0

    @property
    def traded(self) -> bool:
        """Whether anything traded in it, so that orders can have traded too (X44)."""
        return self.volume > 0.0

    @property
    def moved(self) -> bool:
        """Whether it can have triggered a stop: trades, or a range that tells of them whatever the volume says."""
        return self.volume > 0.0 or self.high > self.low


@dataclass(slots=True)
class Resting:
    """An accepted order. ``price`` is NaN for market orders; ``since`` the time from which it may act.

    ``seq`` orders by acceptance; ``maker`` is False for a limit that crossed the market when it came.
    """

    order: Order
    price: float
    since: int
    seq: int
    maker: bool


def stop_reached(side: OrderSide, trigger: float, low: float, high: float) -> bool:
    """Whether a stop order of ``side`` triggers inside the range; touching is enough."""
    return low <= trigger if side is OrderSide.SELL else high >= trigger


def would_trigger(side: OrderSide, trigger: float, price: float) -> bool:
    """Whether a stop order would trigger at once at ``price``."""
    return stop_reached(side, trigger, price, price)


def limit_traded_through(side: OrderSide, limit: float, tick: float, low: float, high: float) -> bool:
    """Whether the range went beyond a resting limit by at least one tick; touching is not enough.

    A thousandth of a tick of tolerance keeps float rounding from hiding a real tick.
    """
    beyond = high - limit if side is OrderSide.SELL else limit - low
    return beyond > 0.999 * tick


def crosses(side: OrderSide, limit: float, price: float) -> bool:
    """Whether a limit order would trade at once at ``price``."""
    return price >= limit if side is OrderSide.SELL else price <= limit


def gapped(side: OrderSide, trigger: float, open_price: float) -> bool:
    """Whether the bar opened at or beyond the trigger, so that the trigger's own price was never there."""
    return would_trigger(side, trigger, open_price)


def slippage_bps(notional_usd: float, spread_bps: float, depth_usd: float) -> float:
    """Cost of taking, in bps of the reference, within the price band; an empty book costs the whole band."""
    if not depth_usd > 0.0:
        return MAX_SLIPPAGE_BPS
    return min(MAX_SLIPPAGE_BPS, expected_slippage_bps(notional_usd, spread_bps, depth_usd))


def slipped_price(instrument: Instrument, side: OrderSide, reference: float, bps: float) -> Decimal:
    """Legal price ``bps`` worse than ``reference``, rounded against the taker."""
    price = reference * (1.0 + side.sign * bps / 1e4)
    return instrument.price_up(price) if side is OrderSide.BUY else instrument.price_down(price)


def liquidation_price(instrument: Instrument, is_long: bool, average: float, leverage: float) -> float:
    """Price at which an isolated position's loss leaves only maintenance margin.

    ``loss = average / leverage - maintenance_rate * price`` solved for the price, per unit of quantity.
    """
    rate = instrument.maintenance_margin_rate
    if is_long:
        return average * (1.0 - 1.0 / leverage) / (1.0 - rate)
    return average * (1.0 + 1.0 / leverage) / (1.0 + rate)


def liquidation_order(symbol: str, held: Decimal, number: int, ts: int) -> Order:
    """The exchange's own order that ends a position of ``held`` (signed); it belongs to no plan."""
    return Order(
        client_id=f"liquidation-{number}",
        plan_id="",
        symbol=symbol,
        side=OrderSide.SELL if held > 0 else OrderSide.BUY,
        type=OrderType.MARKET,
        purpose=OrderPurpose.EXIT,
        qty=abs(held),
        price=None,
        reduce_only=True,
        ts=ts,
        reason=ExitReason.LIQUIDATION,
    )
