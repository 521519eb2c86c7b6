"""What a call of the venue works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np

from core.sim.local.exchange import LocalExchange
from core.sim.local.values import Listing, VenueError
from core.sim.server.countdowns import Countdowns
from core.sim.server.listen_keys import ListenKeys
from core.sim.server.market import MarketView
from core.sim.server.memory import Memory
from core.sim.server.options import ServerOptions
from core.sim.server.pace import Pace
from core.sim.server.params import Params
from core.sim.tape.base import MarketTape


@dataclass(slots=True)
class Desk:
    """Everything behind the counter."""

    exchange: LocalExchange
    tape: MarketTape
    market: MarketView
    pace: Pace
    options: ServerOptions
    keys: ListenKeys
    countdowns: Countdowns
    random: np.random.Generator
    memory: Memory = field(default_factory=Memory)
    not_kept: str | None = None
    """Why the account is not on the disk as it is; None while it is."""

    def listing(self, params: Params) -> Listing:
        """The symbol that a request names.

        Raises:
            VenueError: -1102 it names none; -1121 it is not listed.
        """
        found = self.exchange.listings.get(params.text("symbol"))
        if found is None:
            raise VenueError(-1121, "Invalid symbol.")
        return found

    def maybe_listing(self, params: Params) -> Listing | None:
        """The same where naming one is free."""
        return self.listing(params) if "symbol" in params else None

    def listings(self, params: Params) -> tuple[Listing, ...]:
        """The one that a request names, or all."""
        named = self.maybe_listing(params)
        return (named,) if named else tuple(self.exchange.listings.values())


class Security(Enum):
    """What a call asks of who calls."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"
    TRADE = "trade"
    """Signed, with a key that may trade; asked again for its time where it meets the engine."""


Handler = Callable[[Desk, Params], object]
"""Does what is asked and answers with what becomes JSON; raises :class:`VenueError`."""


class Route(NamedTuple):
    """A call: who does it, who may, what it costs, and how many orders it places."""

    handler: Handler
    security: Security = Security.NONE
    weight: Callable[[Params], int] = lambda _: 1
    orders: Callable[[Params], int] = lambda _: 0
