"""Prices of one symbol as the exchange knows them."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.sim.local.values import ZERO


class Quote(Struct):
    """Last and mark price; both None before the first.

    ``marked`` once the market tells marks of its own; until then the mark is the last price. ``dry`` after a trade without
    quantity: its bar had no volume (X44).
    """

    last: Decimal | None = None
    mark: Decimal | None = None
    marked: bool = False
    dry: bool = False
    funded: int = 0

    @property
    def value(self) -> Decimal:
        """Price at which positions are valued; 0 before the first."""
        return self.mark if self.mark is not None else ZERO

    def print(self, price: Decimal) -> None:
        """A trade; the mark goes its own way, if it has one."""
        self.last = price
        if not self.marked:
            self.mark = price

    def move(self, price: Decimal) -> None:
        """The last price moves inside a bar, and the mark at the same distance with it."""
        if self.last is None or self.mark is None:
            self.print(price)
        else:
            self.mark += price - self.last
            self.last = price
