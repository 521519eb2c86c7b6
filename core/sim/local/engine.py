"""All that lives at the local exchange, in one place: what the rules work on and what is saved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from core.clock import Clock
from core.errors import StateError
from core.sim.local.account import Account, Holding
from core.sim.local.algos import Algos, Armed
from core.sim.local.history import History, Kept
from core.sim.local.liquidity import Depth
from core.sim.local.margin import Margins, margins
from core.sim.local.orders import Orders
from core.sim.local.quotes import Quote
from core.sim.local.values import (
    ZERO,
    AccountEvent,
    AccountWord,
    AlgoEvent,
    ConfigEvent,
    IncomeState,
    Liquidity,
    Listing,
    MarginCall,
    OrderEvent,
    OrderSide,
    VenueError,
)

_WORDS: dict[str, type[AccountWord]] = {
    kind.__name__: kind for kind in (OrderEvent, AlgoEvent, AccountEvent, MarginCall, ConfigEvent)
}


class Counters(Struct):
    """Last number given out of each kind; they only rise."""

    order: int = 1_000_000_000
    algo: int = 2_000_000_000
    trade: int = 0
    transfer: int = 0
    made_up: int = 0


class Engine:
    """State of the exchange; the rules are functions over it, in the modules beside this one."""

    def __init__(
        self, listings: Sequence[Listing], clock: Clock, wallet: Decimal, seed: int, liquidity: Mapping[str, Liquidity]
    ) -> None:
        self.listings = {listing.symbol: listing for listing in listings}
        self.account = Account(self.listings, wallet)
        self.orders = Orders()
        self.algos = Algos()
        self.history = History()
        self.quotes = {symbol: Quote() for symbol in self.listings}
        self.depths = {listing.symbol: Depth(listing, liquidity.get(listing.symbol, Liquidity())) for listing in listings}
        self.counters = Counters()
        self.words: list[AccountWord] = []
        self.dual_side = False
        self.stalled = False
        self.called: dict[str, bool] = {}
        self._clock = clock
        self._seed = seed

    @property
    def now(self) -> int:
        """The exchange's time (ms)."""
        return self._clock.now_ms()

    def listing(self, symbol: str) -> Listing:
        """What is traded under this name.

        Raises:
            VenueError: -1121.
        """
        listing = self.listings.get(symbol)
        if listing is None:
            raise VenueError(-1121, "Invalid symbol.")
        return listing

    def mark(self, symbol: str) -> Decimal:
        """Price at which the symbol is valued."""
        return self.quotes[symbol].value

    def held(self, symbol: str) -> Holding:
        """The account's position, flat or not."""
        return self.account.holdings[symbol]

    def reducible(self, symbol: str, side: OrderSide) -> Decimal:
        """How much an order of ``side`` can take from the position."""
        qty = self.held(symbol).qty
        return abs(qty) if qty * side.sign < 0 else ZERO

    def margins(self) -> Margins:
        """Sums over the account now."""
        return margins(self.account, self.listings, self.mark, self.orders.exposure())

    def client_id(self, wanted: str) -> str:
        """The id asked for, or one made up."""
        if wanted:
            return wanted
        self.counters.made_up += 1
        return hashlib.sha256(f"{self._seed}/{self.counters.made_up}".encode()).hexdigest()[:22]

    def book_income(self, symbol: str, kind: str, amount: Decimal, trade_id: int | None = None) -> None:
        """Write down a change of the wallet."""
        self.counters.transfer += 1
        row = IncomeState(symbol, kind, amount, "USDT", self.now, self.counters.transfer, trade_id)
        self.history.income.append(row)

    def tell_algo(self, armed: Armed) -> None:
        """Say how a conditional order stands."""
        self.words.append(AlgoEvent(self.now, armed.state))

    @property
    def past(self) -> dict[str, Kept[Any]]:
        """What is over and never changes again, by kind."""
        return {
            "orders": self.orders.finished,
            "algos": self.algos.finished,
            "trades": self.history.trades,
            "income": self.history.income,
        }

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        return {**self.present(), "past": {kind: kept.snapshot() for kind, kept in self.past.items()}}

    def present(self) -> dict[str, Any]:
        """The state without the past: small, whatever was traded before."""
        return {
            "account": self.account.snapshot(),
            "orders": self.orders.snapshot(),
            "algos": self.algos.snapshot(),
            "quotes": msgspec.to_builtins(self.quotes),
            "depths": {symbol: depth.snapshot() for symbol, depth in self.depths.items()},
            "counters": msgspec.to_builtins(self.counters),
            "words": [[type(word).__name__, msgspec.to_builtins(word)] for word in self.words],
            "switches": {"dual_side": self.dual_side, "stalled": self.stalled},
            "called": dict(self.called),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`.

        Raises:
            StateError: it is of other symbols.
        """
        if set(state["quotes"]) != set(self.listings):
            raise StateError(f"the snapshot is of {sorted(state['quotes'])}, expected {sorted(self.listings)}")
        self.account.restore(state["account"])
        self.orders.restore(state["orders"])
        self.algos.restore(state["algos"])
        for kind, kept in self.past.items():
            kept.restore(state["past"][kind])
        self.quotes = msgspec.convert(state["quotes"], dict[str, Quote])
        for symbol, depth in state["depths"].items():
            self.depths[symbol].restore(depth)
        self.counters = msgspec.convert(state["counters"], Counters)
        self.words = [msgspec.convert(word, _WORDS[kind]) for kind, word in state["words"]]
        self.dual_side, self.stalled = bool(state["switches"]["dual_side"]), bool(state["switches"]["stalled"])
        self.called = dict(state["called"])
