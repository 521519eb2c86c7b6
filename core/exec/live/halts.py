"""Why nothing may be opened: reasons by symbol, each lifted only by what settles that very reason.

They are on the outbox's disk while they hold. A start does not forget them: what can be looked at again is (positions, orders,
margin, the books' share of what is held), and lifted where it is well; what cannot be looked at waits for a person.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.types import OrderSide


class HaltKind(StrEnum):
    """What is amiss, and what settles it."""

    POSITION = "position"
    """Exchange and fills on record say another position: a comparison that agrees."""
    BOOKS = "books"
    """More or less is held than the books were told: that part is gone, or a person has taken it over."""
    FOREIGN_ORDER = "foreign_order"
    """An order that is none of ours: it rests at the exchange no more."""
    DOUBT = "doubt"
    """Nobody can tell what became of an order: it is found, or proven absent."""
    CONTRADICTED = "contradicted"
    """The exchange had an order that was on record as never having been there: a person."""
    OTHER_DAEMON = "other_daemon"
    """Orders of our form that are not on this record, so another daemon, or a lost folder: a person."""
    REFUSED = "refused"
    """The exchange refused key or account as such: the checks of the next start, or a person."""
    MARGIN = "margin"
    """Leverage or margin type are not as configured: the next start finds them so, or flat and sets them."""
    UNCOVERED = "uncovered"
    """A position could be neither covered nor closed: a known stop covers it, or it is flat."""
    NOT_COMPARED = "not_compared"
    """The exchange could not be compared: it was."""
    PART_FAILED = "part_failed"
    """A part of the broker came to its end by a mistake: it has run again for about two hours, the next start, or a person."""
    UNPROVEN = "unproven"
    """What trading there demands is not met any more, so what is open is only watched: the next start that finds it met."""

    @property
    def by_person(self) -> bool:
        """Whether a person's word settles it, where nothing that can be looked at does."""
        return self in (HaltKind.CONTRADICTED, HaltKind.OTHER_DAEMON, HaltKind.REFUSED, HaltKind.PART_FAILED)

    @property
    def of_position(self) -> bool:
        """Whether a person may take over what the exchange holds instead."""
        return self in (HaltKind.POSITION, HaltKind.BOOKS)


class Halt(Struct, frozen=True):
    """One reason. ``symbol`` empty: the whole account. ``ref`` tells reasons of a kind apart (an order's id).

    ``ts``: since when (ms). ``venue``: the exchange's position where it is about one, else empty.
    """

    symbol: str
    kind: HaltKind
    ref: str
    text: str
    ts: int = 0
    venue: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """By what it is known: at most one reason of a symbol, kind and ref."""
        return self.symbol, self.kind.value, self.ref

    @property
    def where(self) -> str:
        """What is halted, in words."""
        return self.symbol or "the whole account"


def remedy(symbol: str, there: Decimal, record: Decimal) -> str:
    """What a person can do where ``there`` is held and ``record`` is known of; each is possible as things stand."""
    if not there:
        return "it is flat there, so nothing can be traded that makes up for it: `brain accept` takes that over"
    side, over = (OrderSide.SELL if there > 0 else OrderSide.BUY), abs(there)
    if there * record < 0:
        return f"{side} {over} {symbol} reduce-only at the exchange, then `brain accept`"
    if over < abs(record):
        return "nothing can be bought back reduce-only: `brain accept` takes over what is there"
    return f"{side} {over - abs(record)} {symbol} reduce-only at the exchange, or `brain accept` takes it over under a stop"
