"""An order's life in the outbox, as a table."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.codes import RefusalCode
from core.errors import ContractError
from core.types import ExitReason, Order, OrderPurpose, OrderSide, OrderType, OrderUpdate
from core.venues.words import ZERO, Ask, Standing


class State(StrEnum):
    """What is on the disk of an order."""

    SENT = "sent"
    """Meant to be sent, and may have been; nothing is known since. Orders begin here: they are in doubt from their first word."""
    ACK = "ack"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    """The request ended without an answer that could be believed; it is being looked up."""
    FOUND = "found"
    ABSENT = "absent"
    """Proven never to have reached the venue."""
    PARTIAL = "partial"
    DONE = "done"

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to the order."""
        return not NEXT[self]

    @property
    def open(self) -> bool:
        """Whether it is known to have been at the venue, and not known to be over."""
        return self in (State.ACK, State.FOUND, State.PARTIAL)

    @property
    def doubtful(self) -> bool:
        """Whether it may be at the venue, and nobody knows."""
        return self in (State.SENT, State.UNKNOWN)


_THERE = (State.PARTIAL, State.DONE)
NEXT: dict[State, tuple[State, ...]] = {
    # an event of the account's stream may come before the reply
    State.SENT: (State.ACK, State.REJECTED, State.THROTTLED, State.UNKNOWN, *_THERE),
    State.UNKNOWN: (State.FOUND, State.ABSENT, *_THERE),
    State.ACK: _THERE,
    State.FOUND: _THERE,
    State.PARTIAL: _THERE,
    State.REJECTED: (),
    State.THROTTLED: (),
    State.ABSENT: (),
    State.DONE: (),
}
"""What may follow what; where nothing may, the order is over."""


def check(client_id: str, now: State, to: State) -> None:
    """Whether an order in state ``now`` may go to ``to``.

    Raises:
        ContractError: it may not.
    """
    if to not in NEXT[now]:
        allowed = ", ".join(NEXT[now]) or "nothing: it is over"
        raise ContractError(f"order {client_id} was to go from {now} to {to}, expected one of {allowed}")


class Row(Struct):
    """One order in the outbox.

    ``told_as`` is the id under which the books know it: its own, or that of the order whose attempt or slice it is (its
    number is ``attempt``, the books' quantity ``told_qty``). ``own``: the broker's, the books know nothing of it.
    ``filled`` counts the fills on record, ``claimed`` what the venue says was filled. ``sent_ms`` is of the venue's clock.
    ``answer`` and ``cancel_answer`` are what :meth:`place` and :meth:`cancel` said, to be said again.
    """

    client_id: str
    told_as: str
    plan_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    purpose: OrderPurpose
    qty: Decimal
    price: Decimal | None
    reduce_only: bool
    ts: int
    told_qty: Decimal = ZERO
    reason: ExitReason | None = None
    is_algo: bool = False
    close_position: bool = False
    on_mark: bool = False
    post_only: bool = False
    own: bool = False
    attempt: int = 0
    state: State = State.SENT
    sent_ms: int = 0
    recv_window_ms: int = 0
    venue_id: str = ""
    child_id: str = ""
    standing: Standing | None = None
    claimed: Decimal = ZERO
    filled: Decimal = ZERO
    expected_price: float = 0.0
    spread_bps: float = 0.0
    code: RefusalCode | None = None
    message: str = ""
    cancel_wanted: bool = False
    ended: bool = False
    """Whether its end was told."""
    answer: OrderUpdate | None = None
    cancel_answer: OrderUpdate | None = None

    @classmethod
    def of(cls, order: Order) -> Row:
        """The row of an order of the books."""
        return cls(
            client_id=order.client_id,
            told_as=order.client_id,
            plan_id=order.plan_id,
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            purpose=order.purpose,
            qty=order.qty,
            price=order.price,
            reduce_only=order.reduce_only,
            ts=order.ts,
            told_qty=order.qty,
            reason=order.reason,
            is_algo=order.type is OrderType.STOP_MARKET,
        )

    @property
    def opens(self) -> bool:
        """Whether its fills open risk."""
        return self.purpose.opens

    @property
    def order(self) -> Order:
        """The row as the books' word for an order."""
        return Order(
            client_id=self.told_as,
            plan_id=self.plan_id,
            symbol=self.symbol,
            side=self.side,
            type=self.type,
            purpose=self.purpose,
            qty=self.told_qty,
            price=self.price,
            reduce_only=self.reduce_only,
            ts=self.ts,
            reason=self.reason,
        )

    @property
    def ask(self) -> Ask:
        """The row as it is sent."""
        return Ask(
            client_id=self.client_id,
            symbol=self.symbol,
            side=self.side,
            qty=self.qty,
            price=self.price,
            algo=self.is_algo,
            reduce_only=self.reduce_only,
            close_position=self.close_position,
            on_mark=self.on_mark,
            immediate=self.type is OrderType.IOC_LIMIT and not self.post_only,
            post_only=self.post_only,
        )
