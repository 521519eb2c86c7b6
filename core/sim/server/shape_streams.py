"""Market streams as the venue words them."""

from __future__ import annotations

from decimal import Decimal

from core.sim.local.values import BookTick, KlineTick, MarkTick, OrderEvent, OrderSide, TradeTick
from core.sim.server.shape_market import levels, taker_quote
from core.sim.server.wire import Json, price, rate, text


def trade(tick: TradeTick, now: int) -> Json:
    """``@trade``."""
    return {
        "e": "trade",
        "E": now,
        "T": tick.ts,
        "s": tick.symbol,
        "t": tick.trade_id,
        "p": text(tick.price),
        "q": text(tick.qty),
        "X": "MARKET",
        "m": tick.taker is OrderSide.SELL,
    }


def agg_trade(tick: TradeTick, now: int) -> Json:
    """``@aggTrade``."""
    return {
        "e": "aggTrade",
        "E": now,
        "s": tick.symbol,
        "a": tick.trade_id,
        "p": text(tick.price),
        "q": text(tick.qty),
        "f": tick.trade_id,
        "l": tick.trade_id,
        "T": tick.ts,
        "m": tick.taker is OrderSide.SELL,
    }


def book_ticker(book: BookTick, now: int) -> Json:
    """``@bookTicker``; an empty side is told as zeros."""
    bid = book.bids[0] if book.bids else (Decimal(0), Decimal(0))
    ask = book.asks[0] if book.asks else (Decimal(0), Decimal(0))
    return {
        "e": "bookTicker",
        "u": book.update_id,
        "s": book.symbol,
        "ps": book.symbol,
        "b": text(bid[0]),
        "B": text(bid[1]),
        "a": text(ask[0]),
        "A": text(ask[1]),
        "T": book.ts,
        "E": now,
    }


def depth(book: BookTick, ids: tuple[int, int, int], bids: list[list[str]], asks: list[list[str]], now: int) -> Json:
    """``@depth``; ``ids`` are the first and the last update in it and the last one of the event before."""
    return {
        "e": "depthUpdate",
        "E": now,
        "T": book.ts,
        "s": book.symbol,
        "ps": book.symbol,
        "U": ids[0],
        "u": ids[1],
        "pu": ids[2],
        "b": bids,
        "a": asks,
    }


def partial_depth(book: BookTick, previous: int, limit: int, now: int) -> Json:
    """``@depth5`` and the like: the best levels, whole."""
    ids = (previous + 1, book.update_id, previous)
    return depth(book, ids, levels(book.bids, limit), levels(book.asks, limit), now)


def mark_price(tick: MarkTick, now: int) -> Json:
    """``@markPrice``."""
    return {
        "e": "markPriceUpdate",
        "E": now,
        "s": tick.symbol,
        "p": price(tick.mark),
        "i": price(tick.index),
        "P": price(tick.index),
        "r": rate(tick.funding_rate),
        "T": tick.next_funding,
    }


def kline(tick: KlineTick, now: int) -> Json:
    """``@kline_``; ``x`` says whether it is final."""
    told = {
        "t": tick.open_ts,
        "T": tick.open_ts + tick.tf.ms - 1,
        "s": tick.symbol,
        "i": tick.tf.value,
        "f": tick.first_trade,
        "L": tick.last_trade,
        "o": text(tick.open),
        "c": text(tick.close),
        "h": text(tick.high),
        "l": text(tick.low),
        "v": price(tick.volume),
        "n": tick.trades,
        "x": tick.final,
        "q": price(tick.quote_volume),
        "V": price(tick.taker_volume),
        "Q": price(taker_quote(tick)),
        "B": "0",
    }
    return {"e": "kline", "E": now, "s": tick.symbol, "k": told}


def ticker(stats: Json, now: int) -> Json:
    """``@ticker``, out of what REST tells."""
    return {
        "e": "24hrTicker",
        "E": now,
        "s": stats["symbol"],
        "p": stats["priceChange"],
        "P": stats["priceChangePercent"],
        "w": stats["weightedAvgPrice"],
        "c": stats["lastPrice"],
        "Q": stats["lastQty"],
        "o": stats["openPrice"],
        "h": stats["highPrice"],
        "l": stats["lowPrice"],
        "v": stats["volume"],
        "q": stats["quoteVolume"],
        "O": stats["openTime"],
        "C": stats["closeTime"],
        "F": stats["firstId"],
        "L": stats["lastId"],
        "n": stats["count"],
    }


def force_order(word: OrderEvent, now: int) -> Json:
    """``@forceOrder``: a liquidation; here only the account's own."""
    order, filled = word.order, word.trade
    told = {
        "s": order.symbol,
        "S": order.side.value,
        "o": "LIMIT",
        "f": "IOC",
        "q": text(order.qty),
        "p": text(order.price or order.average),
        "ap": text(order.average),
        "X": order.status.value,
        "l": text(filled.qty if filled else Decimal(0)),
        "z": text(order.filled),
        "T": word.ts,
    }
    return {"e": "forceOrder", "E": now, "o": told}
