"""What a venue tells of an account, in the house's terms: one struct for each kind of fact, whatever wire it came by.

Symbols are internal (``BTC/USDT:USDT``), prices and quantities ``Decimal``, times ms of the venue's clock.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.types import OrderSide

ZERO = Decimal(0)


class Standing(StrEnum):
    """How an order stands at the venue, plain or conditional."""

    LIVE = "live"
    TRIGGERING = "triggering"
    """A conditional order was reached; its child is on the way."""
    TRIGGERED = "triggered"
    """Its child is at work."""
    FINISHED = "finished"
    """Its child is over, filled or cancelled: only the child tells."""
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self in (Standing.FILLED, Standing.CANCELED, Standing.EXPIRED, Standing.REJECTED)


class OrderSeen(Struct, frozen=True):
    """An order as the venue has it. ``algo``: in the book of conditional orders, whose ids are others.

    ``price`` is the limit or the trigger; ``child_id`` the plain order that a conditional one became, which alone tells how
    it ends. ``stop``: a conditional one at market that acts where the price goes against what it closes; a take-profit does not.
    """

    symbol: str
    client_id: str
    venue_id: str
    algo: bool
    standing: Standing
    side: OrderSide
    qty: Decimal
    filled: Decimal
    price: Decimal | None
    ts: int
    reduce_only: bool = False
    close_position: bool = False
    child_id: str = ""
    reason: str = ""
    stop: bool = False


class Unreadable(Exception):
    """Some of the orders that rest could not be read; ``seen`` are the others."""

    def __init__(self, seen: tuple[OrderSeen, ...]) -> None:
        super().__init__(f"orders that could not be read, beside {len(seen)} that could")
        self.seen = seen


class TradeSeen(Struct, frozen=True):
    """One fill of the account's. By REST it names the order's venue id alone; ``forced``: liquidation or deleveraging."""

    symbol: str
    trade_id: int
    venue_id: str
    client_id: str
    side: OrderSide
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    ts: int
    forced: bool = False


class BalanceSeen(Struct, frozen=True):
    """Wallet of the settlement coin."""

    ts: int
    wallet: Decimal


class FundingDue(Struct, frozen=True):
    """Funding was settled now; which symbol paid what is asked for."""

    ts: int


class LinkLost(Struct, frozen=True):
    """The account's stream was down until now: what it would have told must be asked for."""

    ts: int


Word = OrderSeen | TradeSeen | BalanceSeen | FundingDue | LinkLost
"""All that comes by an account's stream."""


class FundingSeen(Struct, frozen=True):
    """One funding payment: ``amount`` USD, negative when paid; ``id`` is the venue's."""

    symbol: str
    ts: int
    id: str
    amount: Decimal


class TransferSeen(Struct, frozen=True):
    """Money that the owner paid in (positive) or took out."""

    ts: int
    amount: Decimal


class PositionSeen(Struct, frozen=True):
    """A one-way position; ``liquidation`` is None where the venue names none."""

    symbol: str
    qty: Decimal
    entry: Decimal
    mark: Decimal
    liquidation: Decimal | None


class SymbolMode(Struct, frozen=True):
    """How a symbol is margined."""

    symbol: str
    leverage: int
    isolated: bool


class KeyScope(Struct, frozen=True):
    """What the key may do."""

    futures: bool
    withdrawals: bool


class Limits(Struct, frozen=True):
    """The venue's present filters of a symbol."""

    symbol: str
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    max_market_qty: Decimal
    min_notional: Decimal


class Ask(Struct, frozen=True):
    """An order as it is sent. ``price`` is limit or trigger; ``close_position`` has no quantity of its own.

    ``on_mark``: the mark price triggers it, else the last trade. ``post_only`` and ``immediate`` belong to limits.
    """

    client_id: str
    symbol: str
    side: OrderSide
    qty: Decimal
    price: Decimal | None
    algo: bool = False
    reduce_only: bool = False
    close_position: bool = False
    on_mark: bool = False
    immediate: bool = False
    post_only: bool = False
