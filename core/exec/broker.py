"""The broker port: simulated in replay and paper, ccxt in live (a later issue)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from core.types import BrokerEvent, Order, OrderUpdate


@dataclass(frozen=True, slots=True)
class AccountView:
    """Account as the broker sees it, in USD. ``equity`` = wallet + unrealised; ``free_margin`` may be used."""

    ts: int
    wallet: float
    unrealised: float
    equity: float
    used_margin: float
    free_margin: float


class Broker(Protocol):
    """What decisions may ask of an exchange. Every method is asynchronous, since live ones wait for a network."""

    async def place(self, order: Order) -> OrderUpdate:
        """Send one order; the answer is its status after acceptance (NEW) or why it was REJECTED.

        UNKNOWN: the venue did not answer so that it could be believed; what became of the order is told as an event.
        """
        ...

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        """Cancel one order; cancelling what is already gone answers with its final status."""
        ...

    def drain(self) -> tuple[BrokerEvent, ...]:
        """Events since the last call, in the order in which they happened."""
        ...

    def account(self) -> AccountView:
        """The account now, marked to the last known prices."""
        ...

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Orders that rest at the exchange, oldest first."""
        ...

    def position_qty(self, symbol: str) -> Decimal:
        """Signed position of ``symbol`` (0 when flat)."""
        ...
