"""Take-profits as legal orders: fractions of a position become lots, and what is too small is merged (X4, X14)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from core.exec.instrument import Instrument
from core.types import OrderSide, Plan, Side, Take


def takes_for(plan: Plan, avg_fill: float, stop: Decimal, qty: Decimal, instrument: Instrument) -> tuple[Take, ...]:
    """The plan's takes after its entry was filled: r is measured from the average fill (X5), sizes from what was filled.

    Each take keeps the share of the plan that it had. A fill at or beyond the stop has no R and gets no takes.
    """
    if plan.side.sign * (avg_fill - float(stop)) <= 0.0:
        return ()
    levels = [(take.r, qty * take.qty / plan.qty) for take in plan.tps]
    return legal_takes(plan.side, levels, avg_fill, stop, qty, instrument)


def wanted_takes(takes_r: Sequence[float], fractions: Sequence[float], qty: Decimal) -> list[tuple[float, Decimal]]:
    """(r, exact quantity) of each take of an exit profile."""
    return [(r, qty * Decimal(repr(fraction))) for r, fraction in zip(takes_r, fractions, strict=True)]


def legal_takes(
    side: Side,
    levels: Sequence[tuple[float, Decimal]],
    entry: float,
    stop: Decimal,
    qty: Decimal,
    instrument: Instrument,
) -> tuple[Take, ...]:
    """Takes at ``entry ± k r`` with ``r = |entry - stop|``, priced never worse than that, their sum at most ``qty``.

    Quantities are rounded down to lots and what rounding leaves is carried to the next take. A take that is not a legal
    order, or would leave a remainder that could not be stopped out legally, is merged whole into the next one or, at the
    end, into the runner. On perps takes are reduce-only and need a legal lot; on spot they need the minimum value too.
    """
    distance = abs(entry - float(stop))
    exit_side = OrderSide.SELL if side is Side.LONG else OrderSide.BUY
    takes: list[Take] = []
    carried, left = Decimal(0), qty
    for r, share in levels:
        wanted = min(share + carried, left)
        lots = instrument.qty_down(wanted)
        price = instrument.cap_price(entry + side.sign * r * distance, exit_side)
        if price <= 0 or not _legal_exit(instrument, lots, price) or not _stoppable(instrument, left - lots, stop):
            carried = wanted
            continue
        takes.append(Take(r, price, lots))
        carried, left = wanted - lots, left - lots
    return tuple(takes)


def _legal_exit(instrument: Instrument, qty: Decimal, price: Decimal) -> bool:
    if qty < instrument.min_qty or qty <= 0:
        return False
    return instrument.is_perp or qty * price >= instrument.min_notional


def _stoppable(instrument: Instrument, qty: Decimal, stop: Decimal) -> bool:
    return qty == 0 or _legal_exit(instrument, qty, stop)
