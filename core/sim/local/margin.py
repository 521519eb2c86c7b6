"""What positions and open orders bind of the account's money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from core.sim.local.account import Account, Holding
from core.sim.local.brackets import maintenance
from core.sim.local.values import ZERO, Listing

Exposure = Mapping[str, tuple[Decimal, Decimal]]
"""Value (USD) of the open buy and sell orders of a symbol that are not reduce-only."""
Marks = Callable[[str], Decimal]


class Margins(NamedTuple):
    """Sums over the account (USD); ``free`` may be negative, after the market went against it."""

    position: Decimal
    order: Decimal
    maintenance: Decimal
    unrealised: Decimal
    cross_maintenance: Decimal
    cross_unrealised: Decimal
    free: Decimal


def order_margin(held: Holding, mark: Decimal, exposure: Exposure) -> Decimal:
    """Initial margin of the open orders of a symbol: what its worse side asks beyond the position itself."""
    return (most_notional(held, mark, exposure) - abs(held.qty) * mark) / held.leverage


def most_notional(held: Holding, mark: Decimal, exposure: Exposure) -> Decimal:
    """Largest value (USD) to which the position can grow if one side of its open orders fills."""
    buys, sells = exposure.get(held.symbol, (ZERO, ZERO))
    value = held.qty * mark
    return max(abs(value), value + buys, sells - value)


def margins(account: Account, listings: Mapping[str, Listing], marks: Marks, exposure: Exposure) -> Margins:
    """All sums at the present marks."""
    position = order = keep = profit = cross_keep = cross_profit = cross_position = ZERO
    for symbol, held in account.holdings.items():
        if not held.qty and symbol not in exposure:
            continue
        mark = marks(symbol)
        order += order_margin(held, mark, exposure)
        notional = abs(held.qty) * mark
        keeps, gains = maintenance(listings[symbol], notional), held.unrealised(mark)
        position += notional / held.leverage
        keep += keeps
        profit += gains
        if held.crossed:
            cross_position += notional / held.leverage
            cross_keep += keeps
            cross_profit += gains
    free = account.cross_wallet + cross_profit - cross_position - order
    return Margins(position, order, keep, profit, cross_keep, cross_profit, free)


def backing(account: Account, held: Holding, listings: Mapping[str, Listing], marks: Marks) -> Decimal:
    """Money (USD) behind a position when its own liquidation is asked for, without its own open profit.

    Isolated: what was set aside for it. Cross: the cross wallet with the profit of the other cross positions, less what
    those must keep.
    """
    if not held.crossed:
        return held.isolated
    total = account.cross_wallet
    for other in account.holdings.values():
        if other.qty and other.crossed and other is not held:
            mark = marks(other.symbol)
            total += other.unrealised(mark) - maintenance(listings[other.symbol], abs(other.qty) * mark)
    return total
