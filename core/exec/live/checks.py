"""What is looked at before an entry is sent (F1, X31), and how an entry is cut into slices. Pure."""

from __future__ import annotations

from decimal import Decimal

from core.codes import RefusalCode
from core.data.blocks import Book
from core.exec.instrument import Instrument
from core.exec.slippage import expected_slippage_bps
from core.types import Order, OrderType
from core.venues.words import Limits

Refused = tuple[RefusalCode, str]
OTHER_FILTERS = (
    "orders are sized and rounded by configs/symbols.yaml, and an entry that does not fit the exchange's is not sent;"
    " correct it once nothing is open: another configuration is another session (--state DIR), and live trading must be"
    " approved anew (brain live approve)"
)
"""What a filter that differs means, and what to do."""


def refuse_stale(order: Order, now: int, valid_ms: int) -> Refused | None:
    """An entry that was decided too long ago is not sent any more."""
    age = now - order.ts
    if age <= valid_ms:
        return None
    return RefusalCode.SIGNAL_EXPIRED, f"decided {age} ms ago, sent within {valid_ms} ms at most"


def refuse_form(order: Order, limits: Limits, price: Decimal | None) -> Refused | None:
    """Whether the venue's present filters would refuse it; ``price`` values a market order (None: unknown, not valued).

    Reduce-only orders are free from the minimum value (§1.4, -4164).
    """
    if order.price is not None and (order.price <= 0 or order.price % limits.tick_size):
        return _filter(order, f"price was {order.price}, expected a positive multiple of {limits.tick_size}")
    if order.qty < limits.min_qty or order.qty % limits.qty_step:
        return _filter(order, f"qty was {order.qty}, expected a multiple of {limits.qty_step}, at least {limits.min_qty}")
    worth = order.price or price
    if not order.reduce_only and worth is not None and order.qty * worth < limits.min_notional:
        return _filter(order, f"value was {order.qty * worth}, expected at least {limits.min_notional}")
    if order.type is OrderType.MARKET and order.qty > limits.max_market_qty:
        return _filter(order, f"qty was {order.qty}, expected at most {limits.max_market_qty} at market")
    return None


def _filter(order: Order, message: str) -> Refused:
    compare = "what the exchange asks for now; see whether configs/symbols.yaml has the same"
    return RefusalCode.FILTER_REJECTED, f"{order.symbol}: {message}, {compare}"


def refuse_tick(instrument: Instrument, limits: Limits) -> Refused | None:
    """An entry of which the stop would lie between two prices of the venue, so that it would be refused."""
    if not instrument.tick_size % limits.tick_size:
        return None
    differ = f"tick_size of {limits.symbol} is {limits.tick_size} at the exchange, {instrument.tick_size} in configs/symbols.yaml"
    return RefusalCode.FILTER_REJECTED, f"{differ}: no stop can be placed; {OTHER_FILTERS}"


def refuse_market(
    order: Order, instrument: Instrument, book: Book | None, max_slippage_pct: float, *, must_see: bool
) -> Refused | None:
    """Whether the book is too wide, too thin, or too dear to take from.

    Without a book nothing is known: ``must_see`` refuses then; else, where the source has no books, nothing does.
    """
    if book is None:
        return (RefusalCode.STREAM_BOOK, RefusalCode.STREAM_BOOK.meaning) if must_see else None
    if book.spread_bps > instrument.max_spread_bps:
        return RefusalCode.SPREAD_WIDE, f"spread is {book.spread_bps:.2f} bps, at most {instrument.max_spread_bps:.2f}"
    if not book.depth_usd > 0.0 or book.depth_usd < instrument.min_depth_usd:
        return RefusalCode.BOOK_THIN, f"depth is {book.depth_usd:.0f} USD, at least {instrument.min_depth_usd:.0f}"
    middle = 0.5 * (book.bid + book.ask)
    expected_pct = expected_slippage_bps(float(order.qty) * middle, book.spread_bps, book.depth_usd) / 100.0
    if expected_pct > max_slippage_pct:
        return RefusalCode.SLIPPAGE_HIGH, f"expected slippage is {expected_pct:.4f} %, at most {max_slippage_pct:.4f} %"
    return None


def slices(qty: Decimal, wanted: int, limits: Limits, price: Decimal) -> tuple[Decimal, ...]:
    """``qty`` cut into at most ``wanted`` parts, each legal on its own; what does not divide goes with the last.

    n = min(wanted, floor(qty / least)), where least is the smallest lot worth the minimum value at ``price``.

    Example:
        >>> from decimal import Decimal as D
        >>> limits = Limits("B", D("0.1"), D("0.001"), D("0.001"), D(100), D(100))
        >>> slices(D("0.007"), 5, limits, D(50_000))
        (Decimal('0.002'), Decimal('0.002'), Decimal('0.003'))
    """
    step = limits.qty_step
    worth = (limits.min_notional / price / step).to_integral_value(rounding="ROUND_CEILING") * step
    least = max(limits.min_qty, worth)
    count = min(wanted, int(qty / least))
    if count < 2:
        return (qty,)
    part = (qty / count / step).to_integral_value(rounding="ROUND_FLOOR") * step
    return (*[part] * (count - 1), qty - part * (count - 1))
