"""Where a session's market and its time came from: what decides whether it says anything about trading live (X32).

A session says so itself, in the facts that open each segment of its journal, beside the name of its source. What does not say
so, or says anything else, never counts: sessions from before these facts were kept do not either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reached(StrEnum):
    """How the source's market is reached."""

    VENUE = "venue"
    """By the venue's own addresses, trusted by the usual authorities."""
    REDIRECTED = "redirected"
    """A venue's client whose address, resolver or authority is another: the local exchange, a simulation."""
    NONE = "none"
    """Nobody is asked: recorded or made."""


class Timekeeper(StrEnum):
    """Whose time passes."""

    SYSTEM = "system"
    """The host's clock, as it goes."""
    VIRTUAL = "virtual"


class Pace(StrEnum):
    """What a run waits for between two bars."""

    MARKET = "market"
    """The market itself."""
    OWN = "own"
    """Nothing, or a speed that it was given."""


class Orders(StrEnum):
    """Where orders go."""

    LOCAL = "local"
    """Through the live broker, to the local exchange: paper as J5 means it."""
    DIRECT = "direct"
    """To the exchange in process, past the live broker."""
    VENUE = "venue"
    """To the venue: live."""


SOURCE = "exchange:"
"""How the name of a source begins that speaks to a venue."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run is fed by, timed by, and where its orders go. Without a word of its own it is none that counts."""

    reached: Reached = Reached.NONE
    timekeeper: Timekeeper = Timekeeper.VIRTUAL
    pace: Pace = Pace.OWN
    orders: Orders = Orders.DIRECT

    def facts(self) -> dict[str, str]:
        """For the opening of a session; one that is gone on with must share them."""
        return {_REACHED: self.reached, _TIMEKEEPER: self.timekeeper, _PACE: self.pace, _ORDERS: self.orders}


_REACHED, _TIMEKEEPER, _PACE, _ORDERS = "market_reached", "timekeeper", "pace", "orders_go_to"

COUNTS = Provenance(Reached.VENUE, Timekeeper.SYSTEM, Pace.MARKET, Orders.LOCAL)
"""Wall-clock paper fed by a real exchange: the only provenance that counts."""

_MEANING = {
    _REACHED: "the market is not reached at the venue's own address",
    _TIMEKEEPER: "its time is not the host's clock",
    _PACE: "it does not go at the market's own pace",
    _ORDERS: "its orders do not go through the live broker to the local exchange",
}


def why_not_counted(source: str, facts: Mapping[str, str]) -> str | None:
    """Why a session of ``source`` that opens with ``facts`` is no wall-clock paper fed by a real exchange; None where it is.

    Example:
        >>> why_not_counted("synthetic", COUNTS.facts())
        "its source is synthetic, no real exchange (X32)"
        >>> why_not_counted("exchange:binanceusdm", {**COUNTS.facts(), "timekeeper": "virtual"})
        'its time is not the host's clock (timekeeper virtual; X32)'
    """
    if not source.startswith(SOURCE):
        return f"its source is {source or 'not named'}, no real exchange (X32)"
    for name, wanted in COUNTS.facts().items():
        found = facts.get(name)
        if found != wanted:
            return f"{_MEANING[name]} ({name} {found or 'not on record'}; X32)"
    return None
