"""Money and positions: one asset, one-way positions, isolated or cross."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from core.sim.local.values import ZERO, MarginType

_CENT = Decimal("0.00000001")
FIRST_LEVERAGE = 20
"""Leverage of a symbol before anyone sets it, as at the venue."""


def money(amount: Decimal) -> Decimal:
    """An amount as the venue books it: to eight places."""
    return amount.quantize(_CENT)


class Holding(Struct):
    """What the account has in one symbol; ``qty`` is signed, 0 when flat.

    ``fees`` and ``gained`` (realised profit) are those since it was flat last; ``realised`` is that of all time.
    ``isolated`` is the part of the wallet set aside for it. ``since`` (ms) tells when it was opened.
    """

    symbol: str
    qty: Decimal = ZERO
    entry: Decimal = ZERO
    isolated: Decimal = ZERO
    fees: Decimal = ZERO
    gained: Decimal = ZERO
    realised: Decimal = ZERO
    leverage: int = FIRST_LEVERAGE
    margin_type: MarginType = MarginType.CROSSED
    since: int = 0
    updated: int = 0

    @property
    def sign(self) -> int:
        """+1 long, -1 short, 0 flat."""
        return (self.qty > 0) - (self.qty < 0)

    @property
    def crossed(self) -> bool:
        """Whether the whole cross wallet stands behind it."""
        return self.margin_type is MarginType.CROSSED

    @property
    def break_even(self) -> Decimal:
        """Price at which closing it would bring back fees and what was realised since it was opened."""
        return self.entry + (self.fees - self.gained) / self.qty if self.qty else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        """Open profit (USD)."""
        return self.qty * (mark - self.entry)


class Account:
    """Wallet and holdings; there is a holding, flat or not, for each symbol."""

    def __init__(self, symbols: Iterable[str], wallet: Decimal) -> None:
        self.wallet = wallet
        self.holdings = {symbol: Holding(symbol) for symbol in symbols}
        self.updated = 0

    @property
    def cross_wallet(self) -> Decimal:
        """The wallet without what isolated positions hold."""
        return self.wallet - sum((held.isolated for held in self.holdings.values()), ZERO)

    def copy(self) -> Account:
        """A second account to try something on."""
        other = Account((), self.wallet)
        other.holdings = {symbol: msgspec.structs.replace(held) for symbol, held in self.holdings.items()}
        return other

    def trade(self, symbol: str, signed_qty: Decimal, price: Decimal, fee: Decimal, ts: int) -> Decimal:
        """Book one fill; the answer is the profit that it realised, before the fee."""
        held = self.holdings[symbol]
        closing = min(abs(held.qty), abs(signed_qty)) if held.qty * signed_qty < 0 else ZERO
        realised = self._close(held, closing, price) if closing else ZERO
        opening = abs(signed_qty) - closing
        if opening:
            self._open(held, opening if signed_qty > 0 else -opening, price, ts)
        if held.qty:
            held.fees += fee
            held.gained += realised
        held.realised += realised
        held.updated = self.updated = ts
        self.wallet += realised - fee
        return realised

    def pay(self, amount: Decimal, ts: int, held: Holding | None = None) -> None:
        """Change the wallet by ``amount``; of an isolated position, the part set aside for it."""
        self.wallet += amount
        self.updated = ts
        if held is not None and not held.crossed:
            held.isolated += amount

    @staticmethod
    def _close(held: Holding, qty: Decimal, price: Decimal) -> Decimal:
        realised = money((price - held.entry) * qty * held.sign)
        held.isolated -= held.isolated if qty == abs(held.qty) else money(held.isolated * qty / abs(held.qty))
        held.qty -= qty * held.sign
        if not held.qty:
            held.entry = held.fees = held.gained = ZERO
            held.since = 0
        return realised

    @staticmethod
    def _open(held: Holding, signed_qty: Decimal, price: Decimal, ts: int) -> None:
        after = held.qty + signed_qty
        if not held.qty:
            held.since = ts
        held.entry = price if not held.qty else (held.entry * held.qty + price * signed_qty) / after
        held.qty = after
        if not held.crossed:
            held.isolated += money(abs(signed_qty) * price / held.leverage)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        holdings = msgspec.to_builtins(list(self.holdings.values()))
        return {"wallet": str(self.wallet), "updated": self.updated, "holdings": holdings}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self.wallet, self.updated = Decimal(state["wallet"]), int(state["updated"])
        self.holdings = {held.symbol: held for held in msgspec.convert(state["holdings"], list[Holding])}
