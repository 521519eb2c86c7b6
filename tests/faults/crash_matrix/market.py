"""The exchange of a life: a price that goes where the cell wants it, and an engine that is watched from its own side."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from core.sim.local.exchange import LocalExchange
from core.sim.local.values import (
    AccountWord,
    AlgoState,
    BookTick,
    FundingTick,
    MarkTick,
    NewAlgo,
    NewOrder,
    OrderSide,
    OrderState,
    PositionState,
    Tick,
    TradeTick,
)
from core.sim.tape.base import TapeInfo
from core.types import Timeframe
from tests.core.sim.server.kit import listing
from tests.faults.crash_matrix.cells import SYMBOLS, Action, Cell, Entering, Leg
from tests.faults.crash_matrix.rules import Witness

BAR_MS, FIRST_BAR_MS = 3_000, 4_000
TICK_MS = 500
ENTRY_BAR = 1
"""At which an entry is made, in every life."""
ACTION_BAR = 2
"""At which bar the thing is done that the cell is about."""
MOVE_BAR = 3
"""From this bar on the price moves along its leg."""
LAST_BAR = 7
"""Everything is closed at it."""
FUNDING_MS = FIRST_BAR_MS + ACTION_BAR * BAR_MS + 1_500
TAPE_MS = 600_000
WALLET = Decimal(10_000)
QTY = Decimal("0.040")
STOP_PCT = 1.0
_PRICE = 50_000.0
_MOVES = {Leg.CALM: 0.1, Leg.STOPPED: -1.6, Leg.CRASH: -17.0}
_EIGHT_HOURS = 28_800_000


class PricePath:
    """The price of a life over time: a little noise around a leg, at every half second, the same for whoever asks."""

    def __init__(self, cell: Cell, epoch_ms: int) -> None:
        chance = Random(f"{cell.number}/path")
        self.symbols = cell.symbols
        self.funding_ts = epoch_ms + FUNDING_MS if cell.funding else None
        self.times = [epoch_ms + ms for ms in range(0, TAPE_MS, TICK_MS)]
        self._enters = epoch_ms + FIRST_BAR_MS + ENTRY_BAR * BAR_MS
        begin = epoch_ms + FIRST_BAR_MS + MOVE_BAR * BAR_MS + chance.randint(-1_500, 3_000)
        self.prices = [self._price(cell, ts, begin, chance) for ts in self.times]

    def _price(self, cell: Cell, ts: int, begin: int, chance: Random) -> float:
        since_ms = ts - begin
        drift = _MOVES[cell.leg] if since_ms >= BAR_MS else 0.0
        if cell.action is Action.TAKE and 0 <= since_ms < BAR_MS:
            drift = 1.3  # the first take lies at 1 %
        if cell.entering is Entering.MAKER and ts > self._enters:
            drift += 0.1  # it runs away from an entry that waits
        noise = chance.uniform(-0.02, 0.02)
        return round(_PRICE * (1.0 + cell.side.sign * (drift + noise) / 100.0), 1)

    def at(self, ts: int) -> float:
        """The last price up to ``ts``."""
        return self.prices[max(0, bisect_right(self.times, ts) - 1)]


class PathTape:
    """Plays a path (core.sim.tape.base.MarketTape) on each symbol: a trade, thin levels around it, and the mark."""

    def __init__(self, path: PricePath) -> None:
        self._path = path
        timeframes = dict.fromkeys(path.symbols, (Timeframe.M1,))
        self.info = TapeInfo("path", path.symbols, timeframes, None, None, drawn_path=True)

    async def ticks(self, after_ts: int | None = None) -> AsyncIterator[Tick]:
        for number, (ts, price) in enumerate(zip(self._path.times, self._path.prices, strict=True)):
            if after_ts is None or ts > after_ts:
                for symbol in self._path.symbols:
                    for tick in self._of(symbol, number, ts, Decimal(repr(price))):
                        yield tick

    def _of(self, symbol: str, number: int, ts: int, price: Decimal) -> tuple[Tick, ...]:
        tick = Decimal("0.1")
        size = QTY * Decimal("0.4") + Decimal("0.001") * (number % 2)  # another size is another maker's
        bids = (*((price - tick * n, size) for n in (1, 2, 3)), (price - 5, Decimal(50)))
        asks = (*((price + tick * n, size) for n in (1, 2, 3)), (price + 5, Decimal(50)))
        funding = (ts // _EIGHT_HOURS + 1) * _EIGHT_HOURS
        ticks = (
            TradeTick(symbol, ts, number + 1, price, Decimal(1), OrderSide.BUY, gap=number == 0),
            BookTick(symbol, ts, number + 1, bids, asks),
            MarkTick(symbol, ts, price, price, Decimal("0.0001"), funding),
        )
        return (*ticks, FundingTick(symbol, ts, Decimal("0.0001"), price)) if ts == self._path.funding_ts else ticks

    def klines(self, *_args: Any, **_more: Any) -> tuple[()]:
        return ()

    mark_klines = spot_klines = funding_rates = klines

    def premium(self, symbol: str) -> MarkTick | None:
        return None

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


class WatchedExchange(LocalExchange):
    """Tells a witness of every order that is asked for, and of every moment in which something has changed.

    ``late_ms``: by how much what it tells of positions is late.
    """

    def __init__(self, clock: Any, witness: Witness, symbols: Sequence[str] = SYMBOLS[:1]) -> None:
        super().__init__(tuple(listing(symbol) for symbol in symbols), clock, wallet=WALLET)
        self._witness, self._now_ms = witness, clock.now_ms
        self._told: list[tuple[int, tuple[PositionState, ...]]] = []
        self.late_ms = 0
        witness.exchange = self

    def place(self, ask: NewOrder) -> OrderState:
        self._witness.asked(ask.client_id)
        state = super().place(ask)
        self._witness.accepted(ask.client_id)
        return state

    def place_algo(self, ask: NewAlgo) -> AlgoState:
        self._witness.asked(ask.client_id)
        state = super().place_algo(ask)
        self._witness.accepted(ask.client_id)
        return state

    def position(self, symbol: str) -> Decimal:
        """What is held now."""
        return super().positions(symbol)[0].qty

    def positions(self, symbol: str | None = None) -> tuple[PositionState, ...]:
        past = [told for ts, told in self._told if ts <= self._now_ms() - self.late_ms]
        if not self.late_ms or not past:
            return super().positions(symbol)
        return tuple(position for position in past[-1] if symbol in (None, position.symbol))

    def drain_words(self) -> tuple[AccountWord, ...]:
        words = super().drain_words()
        if words:
            self._told.append((self._now_ms(), super().positions()))
            self._witness.heard(words)
        return words
