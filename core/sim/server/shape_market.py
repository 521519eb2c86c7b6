"""Market data as the venue words it in REST answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from core.sim.local.values import BookTick, FundingTick, KlineTick, Listing, MarkTick, TradeTick
from core.sim.local.values import OrderSide as Side
from core.sim.server.options import HOUR, Limits
from core.sim.server.wire import Json, price, rate, text

ORDER_TYPES = ("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
NEVER_DELIVERED = 4_133_404_800_000
INTEREST_RATE = "0.00010000"
MAINTENANCE_PERCENT, REQUIRED_PERCENT = "2.5000", "5.0000"
"""Told for every symbol and used by nobody: the brackets decide."""


def places(step: Decimal) -> int:
    """Digits after the point that a step needs."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def exchange_info(listings: Sequence[Listing], limits: Limits, now: int) -> Json:
    """All that is listed, with its filters."""
    orders = {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": limits.orders_per_minute}
    burst = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits.orders_per_10s}
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limits.weight_per_minute}
    quotes = list(dict.fromkeys(listing.quote for listing in listings))
    return {
        "timezone": "UTC",
        "serverTime": now,
        "futuresType": "U_MARGINED",
        "rateLimits": [weight, orders, burst],
        "exchangeFilters": [],
        "assets": [{"asset": quote, "marginAvailable": True, "autoAssetExchange": "-10000"} for quote in quotes],
        "symbols": [_listed(listing) for listing in listings],
    }


def _listed(listing: Listing) -> Json:
    return {
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER_DELIVERED,
        "onboardDate": listing.onboard_ts,
        "status": "TRADING",
        "maintMarginPercent": MAINTENANCE_PERCENT,
        "requiredMarginPercent": REQUIRED_PERCENT,
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "marginAsset": listing.quote,
        "pricePrecision": places(listing.tick),
        "quantityPrecision": places(listing.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": text(listing.trigger_protect),
        "liquidationFee": text(listing.liquidation_fee),
        "marketTakeBound": text(listing.market_take_bound),
        "maxMoveOrderLimit": 10_000,
        "filters": _filters(listing),
        "orderTypes": list(ORDER_TYPES),
        "timeInForce": list(TIMES_IN_FORCE),
    }


def spot_info(listings: Sequence[Listing], limits: Limits, now: int) -> Json:
    """The spot markets beside what is listed."""
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limits.spot_weight_per_minute}
    return {
        "timezone": "UTC",
        "serverTime": now,
        "rateLimits": [weight],
        "exchangeFilters": [],
        "symbols": [_spot_listed(listing) for listing in listings],
    }


def _spot_listed(listing: Listing) -> Json:
    wanted = ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE")
    return {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": [],
        "isSpotTradingAllowed": False,
        "isMarginTradingAllowed": False,
        "filters": [told for told in _filters(listing) if told["filterType"] in wanted],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _filters(listing: Listing) -> list[Json]:
    lot = {"minQty": text(listing.min_qty), "maxQty": text(listing.max_qty), "stepSize": text(listing.step)}
    market_lot = {
        "minQty": text(listing.market_min_qty),
        "maxQty": text(listing.market_max_qty),
        "stepSize": text(listing.market_step),
    }
    prices = {"minPrice": text(listing.min_price), "maxPrice": text(listing.max_price), "tickSize": text(listing.tick)}
    return [
        {"filterType": "PRICE_FILTER", **prices},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **market_lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": listing.max_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": listing.max_algo_orders},
        {"filterType": "MIN_NOTIONAL", "notional": text(listing.min_notional)},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": text(listing.percent_up),
            "multiplierDown": text(listing.percent_down),
            "multiplierDecimal": "4",
        },
    ]


def kline_row(kline: KlineTick) -> list[object]:
    """A candle of ``klines``."""
    return [
        kline.open_ts,
        text(kline.open),
        text(kline.high),
        text(kline.low),
        text(kline.close),
        price(kline.volume),
        kline.open_ts + kline.tf.ms - 1,
        price(kline.quote_volume),
        kline.trades,
        price(kline.taker_volume),
        price(taker_quote(kline)),
        "0",
    ]


def taker_quote(kline: KlineTick) -> Decimal:
    """What takers bought, in quote: their share of the volume at the candle's average price."""
    return kline.taker_volume * kline.quote_volume / kline.volume if kline.volume else Decimal(0)


def bare_row(kline: KlineTick, tell: Callable[[Decimal], str] = price) -> list[object]:
    """A candle of a price at which nobody trades (mark, index, premium)."""
    prices = [tell(kline.open), tell(kline.high), tell(kline.low), tell(kline.close)]
    return [kline.open_ts, *prices, "0", kline.open_ts + kline.tf.ms - 1, "0", 60, "0", "0", "0"]


def levels(side: Sequence[tuple[Decimal, Decimal]], limit: int) -> list[list[str]]:
    """Price and quantity of the best levels."""
    return [[text(price), text(qty)] for price, qty in side[:limit]]


def depth(book: BookTick | None, limit: int, now: int) -> Json:
    """A snapshot of the book.

    ``lastUpdateId`` is one more than the last update: with that the venue's rule for the first event to apply
    (``U <= lastUpdateId <= u``) holds also where a book stands still between snapshot and event.
    """
    if book is None:
        return {"lastUpdateId": 1, "E": now, "T": now, "bids": [], "asks": []}
    return {
        "lastUpdateId": book.update_id + 1,
        "E": now,
        "T": book.ts,
        "bids": levels(book.bids, limit),
        "asks": levels(book.asks, limit),
    }


def trade_row(tick: TradeTick) -> Json:
    """A public trade."""
    return {
        "id": tick.trade_id,
        "price": text(tick.price),
        "qty": text(tick.qty),
        "quoteQty": text(tick.price * tick.qty),
        "time": tick.ts,
        "isBuyerMaker": tick.taker is Side.SELL,
    }


def agg_trade_row(tick: TradeTick) -> Json:
    """The same where trades are told together; here each stands alone."""
    return {
        "a": tick.trade_id,
        "p": text(tick.price),
        "q": text(tick.qty),
        "f": tick.trade_id,
        "l": tick.trade_id,
        "T": tick.ts,
        "m": tick.taker is Side.SELL,
    }


def book_ticker(symbol: str, book: BookTick | None, now: int) -> Json:
    """Best bid and ask."""
    bid = book.bids[0] if book and book.bids else (Decimal(0), Decimal(0))
    ask = book.asks[0] if book and book.asks else (Decimal(0), Decimal(0))
    return {
        "symbol": symbol,
        "bidPrice": text(bid[0]),
        "bidQty": text(bid[1]),
        "askPrice": text(ask[0]),
        "askQty": text(ask[1]),
        "time": book.ts if book else now,
        "lastUpdateId": book.update_id if book else 0,
    }


def premium_index(mark: MarkTick, now: int) -> Json:
    """Mark and index price and the funding that is due."""
    return {
        "symbol": mark.symbol,
        "markPrice": price(mark.mark),
        "indexPrice": price(mark.index),
        "estimatedSettlePrice": price(mark.index),
        "lastFundingRate": rate(mark.funding_rate),
        "interestRate": INTEREST_RATE,
        "nextFundingTime": mark.next_funding,
        "time": now,
    }


def funding_row(tick: FundingTick) -> Json:
    """A settlement of the past."""
    return {
        "symbol": tick.symbol,
        "fundingTime": tick.ts,
        "fundingRate": rate(tick.rate),
        "markPrice": text(tick.mark) if tick.mark else "",
    }


def funding_info(listing: Listing) -> Json:
    """Interval and cap of a symbol that has not the usual ones."""
    return {
        "symbol": listing.symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": listing.funding_interval_ms // HOUR,
        "disclaimer": False,
    }


def day_ticker(symbol: str, hours: Sequence[KlineTick], last: TradeTick | None, now: int) -> Json:
    """The last 24 hours, out of hourly candles."""
    volume = sum((hour.volume for hour in hours), Decimal(0))
    quote = sum((hour.quote_volume for hour in hours), Decimal(0))
    first = hours[0].open if hours else Decimal(0)
    last_price = last.price if last else (hours[-1].close if hours else Decimal(0))
    change = last_price - first
    return {
        "symbol": symbol,
        "priceChange": text(change),
        "priceChangePercent": f"{change / first * 100 if first else Decimal(0):.3f}",
        "weightedAvgPrice": price(quote / volume if volume else last_price),
        "lastPrice": text(last_price),
        "lastQty": text(last.qty if last else Decimal(0)),
        "openPrice": text(first),
        "highPrice": text(max((hour.high for hour in hours), default=last_price)),
        "lowPrice": text(min((hour.low for hour in hours), default=last_price)),
        "volume": price(volume),
        "quoteVolume": price(quote),
        "openTime": hours[0].open_ts if hours else now,
        "closeTime": now,
        "firstId": hours[0].first_trade if hours else 0,
        "lastId": last.trade_id if last else 0,
        "count": sum(hour.trades for hour in hours),
    }
