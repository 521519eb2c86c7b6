"""Leverage brackets: what a notional may be levered, what it must keep, and where it is liquidated."""

from __future__ import annotations

from decimal import Decimal

from core.sim.local.values import ZERO, Bracket, Listing


def max_leverage(listing: Listing) -> int:
    """Highest leverage that any notional may have."""
    return max(bracket.max_leverage for bracket in listing.brackets)


def max_notional(listing: Listing, leverage: int) -> Decimal:
    """Largest position (USD) at ``leverage``."""
    return max((bracket.cap for bracket in listing.brackets if bracket.max_leverage >= leverage), default=ZERO)


def bracket_of(listing: Listing, notional: Decimal) -> Bracket:
    """Bracket of a notional (USD); beyond the last cap the last one holds."""
    return next((bracket for bracket in listing.brackets if notional < bracket.cap), listing.brackets[-1])


def maintenance(listing: Listing, notional: Decimal) -> Decimal:
    """Margin (USD) below which a position of ``notional`` is liquidated: ``notional * rate - cum``."""
    bracket = bracket_of(listing, notional)
    return notional * bracket.maintenance_rate - bracket.cum


def liquidation_price(listing: Listing, qty: Decimal, entry: Decimal, backing: Decimal) -> Decimal:
    """Mark price at which ``backing + qty (mark - entry)`` is just the maintenance margin; 0 where there is none.

    A short beyond help has one tick: every mark liquidates it.

    Args:
        listing: its brackets.
        qty: signed position, not 0.
        entry: average price.
        backing: money (USD) that stands behind the position, without its own open profit.
    """
    for bracket in listing.brackets:
        slope = abs(qty) * bracket.maintenance_rate - qty
        price = (backing + bracket.cum - qty * entry) / slope
        if price <= 0:
            return ZERO if qty > 0 else listing.tick
        if abs(qty) * price < bracket.cap:
            return price
    return price
