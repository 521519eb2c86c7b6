"""What the account may set: leverage, margin type, position mode, and money in and out."""

from __future__ import annotations

from decimal import Decimal

from core.sim.local.brackets import max_leverage, max_notional
from core.sim.local.engine import Engine
from core.sim.local.margin import most_notional
from core.sim.local.reports import symbol_config, tell_account
from core.sim.local.values import AccountReason, ConfigEvent, MarginType, SymbolConfig, VenueError


def set_leverage(engine: Engine, symbol: str, leverage: int) -> SymbolConfig:
    """Change the leverage of a symbol.

    Raises:
        VenueError: -4028 impossible, -4161 lower with an isolated position, -2027 too large a position or orders for it,
            -2028 too little margin for it.
    """
    listing, held = engine.listing(symbol), engine.held(symbol)
    if not 1 <= leverage <= max_leverage(listing):
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    before = held.leverage
    if leverage == before:
        return symbol_config(engine, symbol)
    if leverage < before and held.qty and not held.crossed:
        raise VenueError(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.")
    if most_notional(held, engine.mark(symbol), engine.orders.exposure()) > max_notional(listing, leverage):
        raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
    held.leverage = leverage
    if leverage < before and engine.margins().free < 0:
        held.leverage = before
        raise VenueError(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
    engine.words.append(ConfigEvent(engine.now, symbol, leverage))
    return symbol_config(engine, symbol)


def set_margin_type(engine: Engine, symbol: str, margin_type: MarginType) -> None:
    """Change how a symbol is margined.

    Raises:
        VenueError: -4046 nothing changes, -4047 open orders, -4048 a position.
    """
    engine.listing(symbol)
    held = engine.held(symbol)
    if held.margin_type is margin_type:
        raise VenueError(-4046, "No need to change margin type.")
    if engine.orders.of(symbol) or engine.algos.of(symbol):
        raise VenueError(-4047, "Margin type cannot be changed if there exists open orders.")
    if held.qty:
        raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
    held.margin_type = margin_type
    tell_account(engine, AccountReason.MARGIN_TYPE_CHANGE, (symbol,))


def set_dual_side(engine: Engine, *, dual_side: bool) -> None:
    """Switch between one-way and hedge mode.

    Raises:
        VenueError: -4059 nothing changes, -4067 open orders, -4068 a position.
    """
    if engine.dual_side is dual_side:
        raise VenueError(-4059, "No need to change position side.")
    if engine.orders.of() or engine.algos.of():
        raise VenueError(-4067, "Position side cannot be changed if there exists open orders.")
    if any(held.qty for held in engine.account.holdings.values()):
        raise VenueError(-4068, "Position side cannot be changed if there exists position.")
    engine.dual_side = dual_side


def transfer(engine: Engine, amount: Decimal) -> None:
    """Money in (positive) or out.

    Raises:
        VenueError: -2018: more than is free.
    """
    if amount < 0 and engine.margins().free + amount < 0:
        raise VenueError(-2018, "Balance is insufficient.")
    engine.account.pay(amount, engine.now)
    engine.book_income("", "TRANSFER", amount)
    tell_account(engine, AccountReason.DEPOSIT if amount > 0 else AccountReason.WITHDRAW, (), amount)
