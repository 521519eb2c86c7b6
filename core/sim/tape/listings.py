"""What the local exchange lists: from the instruments of ``symbols.yaml``, or from a recorded ``exchangeInfo`` of the venue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from core.exec.instrument import Instrument, venue_id
from core.sim.local.values import Bracket, Liquidity, Listing
from core.sim.tape.candles import number
from core.sim.tape.player import FUNDING_INTERVAL_MS

FLOORS_USD = (0, 50_000, 250_000, 1_000_000, 5_000_000, 20_000_000)
"""Notionals at which a bracket begins."""
RATE_STEPS = tuple(Decimal(step) for step in ("1", "1.25", "2", "4", "6", "10"))
"""Maintenance rate of each bracket, as a multiple of the first; as at the venue, large positions are margined more."""
RATE_MOST = Decimal("0.5")
CAP_LAST = Decimal(10) ** 12

MAX_ORDERS, MAX_ALGO_ORDERS = 200, 10
PERCENT_UP, PERCENT_DOWN = Decimal("1.05"), Decimal("0.95")
MARKET_TAKE_BOUND = TRIGGER_PROTECT = Decimal("0.05")
LIQUIDATION_FEE = Decimal("0.0125")
MAKER_FEE, TAKER_FEE = Decimal("0.0002"), Decimal("0.0005")
"""What USD-M states for most symbols; instruments of ``symbols.yaml`` name their own fees."""
PRICES, LOTS, MARKET_LOTS = 10**8, 10**6, 10**5
"""Highest price in ticks, largest quantity in steps: limits that no order of ours comes near."""


def listing_of(instrument: Instrument, onboard_ts: int = 0) -> Listing:
    """A perpetual of ``symbols.yaml`` as the exchange lists it; what the file does not state is as at the venue.

    The first bracket has the instrument's maintenance rate, so that small positions are liquidated where
    :mod:`core.sim.matching` does it.
    """
    base, _, rest = instrument.symbol.partition("/")
    step, tick = instrument.qty_step, instrument.tick_size
    return Listing(
        symbol=venue_id(instrument.symbol),
        base=base,
        quote=rest.partition(":")[0],
        tick=tick,
        min_price=tick,
        max_price=tick * PRICES,
        step=step,
        min_qty=instrument.min_qty,
        max_qty=step * LOTS,
        market_step=step,
        market_min_qty=instrument.min_qty,
        market_max_qty=step * MARKET_LOTS,
        min_notional=instrument.min_notional,
        percent_up=PERCENT_UP,
        percent_down=PERCENT_DOWN,
        max_orders=MAX_ORDERS,
        max_algo_orders=MAX_ALGO_ORDERS,
        maker_fee=number(instrument.maker_fee_rate),
        taker_fee=number(instrument.taker_fee_rate),
        market_take_bound=MARKET_TAKE_BOUND,
        trigger_protect=TRIGGER_PROTECT,
        liquidation_fee=LIQUIDATION_FEE,
        brackets=brackets_from(number(instrument.maintenance_margin_rate)),
        funding_interval_ms=FUNDING_INTERVAL_MS,
        onboard_ts=onboard_ts,
    )


def liquidity_of(instruments: Sequence[Instrument]) -> dict[str, Liquidity]:
    """The modelled book of each instrument, by the venue's symbol."""
    return {venue_id(item.symbol): Liquidity(item.modelled_spread_bps, item.modelled_depth_usd) for item in instruments}


def brackets_from(rate: Decimal) -> tuple[Bracket, ...]:
    """Brackets that begin with maintenance ``rate`` and double it and more with size.

    The most leverage leaves twice the maintenance margin: ``1 / (2 * rate)``, rounded down. ``cum`` makes
    ``notional * rate - cum`` continuous where brackets meet.

    Example:
        >>> [(b.max_leverage, float(b.maintenance_rate), float(b.cum)) for b in brackets_from(Decimal("0.02"))][:2]
        [(25, 0.02, 0.0), (20, 0.025, 250.0)]
    """
    made: list[Bracket] = []
    cum, before = Decimal(0), rate
    caps = (*(Decimal(floor) for floor in FLOORS_USD[1:]), CAP_LAST)
    for position, (floor, cap, step) in enumerate(zip(FLOORS_USD, caps, RATE_STEPS, strict=True)):
        own = min(RATE_MOST, rate * step)
        cum += floor * (own - before)
        made.append(Bracket(position + 1, max(1, int(1 / (2 * own))), Decimal(floor), cap, own, cum))
        before = own
    return tuple(made)


def listings_from_info(info: Mapping[str, Any], symbols: Sequence[str] | None = None) -> tuple[Listing, ...]:
    """Perpetuals in USDT that trade, out of an ``exchangeInfo`` as the venue gave it; only ``symbols`` where given.

    The venue states fees and brackets elsewhere: fees are the usual ones, brackets follow from ``maintMarginPercent``.
    """
    return tuple(
        _from_info(row)
        for row in info["symbols"]
        if row["contractType"] == "PERPETUAL"
        and row["status"] == "TRADING"
        and row["marginAsset"] == "USDT"
        and (symbols is None or row["symbol"] in symbols)
    )


def _from_info(row: Mapping[str, Any]) -> Listing:
    filters = {item["filterType"]: item for item in row["filters"]}
    price, lot, market_lot = (filters[name] for name in ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE"))
    percent = filters["PERCENT_PRICE"]
    return Listing(
        symbol=row["symbol"],
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        tick=Decimal(price["tickSize"]),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        step=Decimal(lot["stepSize"]),
        min_qty=Decimal(lot["minQty"]),
        max_qty=Decimal(lot["maxQty"]),
        market_step=Decimal(market_lot["stepSize"]),
        market_min_qty=Decimal(market_lot["minQty"]),
        market_max_qty=Decimal(market_lot["maxQty"]),
        min_notional=Decimal(filters["MIN_NOTIONAL"]["notional"]),
        percent_up=Decimal(percent["multiplierUp"]),
        percent_down=Decimal(percent["multiplierDown"]),
        max_orders=int(filters["MAX_NUM_ORDERS"]["limit"]),
        max_algo_orders=int(filters.get("MAX_NUM_ALGO_ORDERS", {}).get("limit", MAX_ALGO_ORDERS)),
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        market_take_bound=Decimal(row["marketTakeBound"]),
        trigger_protect=Decimal(row["triggerProtect"]),
        liquidation_fee=Decimal(row["liquidationFee"]),
        brackets=brackets_from(Decimal(row["maintMarginPercent"]) / 100),
        funding_interval_ms=FUNDING_INTERVAL_MS,
        onboard_ts=int(row["onboardDate"]),
    )
