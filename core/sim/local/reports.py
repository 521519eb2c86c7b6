"""The account and its positions as the venue tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from core.sim.local.brackets import liquidation_price, maintenance, max_notional
from core.sim.local.engine import Engine
from core.sim.local.margin import backing, order_margin
from core.sim.local.values import (
    ZERO,
    AccountEvent,
    AccountReason,
    AccountState,
    PositionState,
    SymbolConfig,
)


def liquidated_at(engine: Engine, symbol: str) -> Decimal:
    """Mark price at which the position is liquidated; 0 when flat, or where no price does it."""
    held = engine.held(symbol)
    if not held.qty:
        return ZERO
    behind = backing(engine.account, held, engine.listings, engine.mark)
    return liquidation_price(engine.listings[symbol], held.qty, held.entry, behind)


def position_state(engine: Engine, symbol: str) -> PositionState:
    """One position, flat or not."""
    held, mark = engine.held(symbol), engine.mark(symbol)
    unrealised, notional = held.unrealised(mark), held.qty * mark
    asked = order_margin(held, mark, engine.orders.exposure())
    return PositionState(
        symbol=symbol,
        qty=held.qty,
        entry_price=held.entry,
        break_even_price=held.break_even,
        mark_price=mark,
        unrealised=unrealised,
        liquidation_price=liquidated_at(engine, symbol),
        leverage=held.leverage,
        margin_type=held.margin_type,
        isolated_margin=ZERO if held.crossed or not held.qty else held.isolated + unrealised,
        isolated_wallet=held.isolated,
        notional=notional,
        initial_margin=abs(notional) / held.leverage + asked,
        maintenance_margin=maintenance(engine.listings[symbol], abs(notional)),
        updated=held.updated,
        realised=held.realised,
        order_margin=asked,
    )


def account_state(engine: Engine) -> AccountState:
    """The account now."""
    sums, wallet = engine.margins(), engine.account.wallet
    return AccountState(
        asset="USDT",
        wallet=wallet,
        unrealised=sums.unrealised,
        margin_balance=wallet + sums.unrealised,
        initial_margin=sums.position + sums.order,
        maintenance_margin=sums.maintenance,
        position_initial_margin=sums.position,
        open_order_initial_margin=sums.order,
        available=max(ZERO, sums.free),
        cross_wallet=engine.account.cross_wallet,
        cross_unrealised=sums.cross_unrealised,
        updated=engine.account.updated,
        dual_side=engine.dual_side,
    )


def symbol_config(engine: Engine, symbol: str) -> SymbolConfig:
    """Leverage and margin type of a symbol."""
    listing, held = engine.listing(symbol), engine.held(symbol)
    return SymbolConfig(symbol, held.margin_type, held.leverage, max_notional(listing, held.leverage))


def tell_account(engine: Engine, reason: AccountReason, symbols: Sequence[str] = (), change: Decimal = ZERO) -> None:
    """Say that wallet or positions changed."""
    positions = tuple(position_state(engine, symbol) for symbol in symbols)
    engine.words.append(AccountEvent(engine.now, reason, account_state(engine), positions, change))
