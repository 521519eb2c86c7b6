"""What the market is now, as far as the last ticks told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from core.sim.local.values import BookTick, MarkTick, Tick, TradeTick

RECENT_TRADES = 1_000


class MarketView:
    """Last trades, book and mark of each symbol."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.trades: dict[str, deque[TradeTick]] = {symbol: deque(maxlen=RECENT_TRADES) for symbol in symbols}
        self.books: dict[str, BookTick] = {}
        self.marks: dict[str, MarkTick] = {}

    def take(self, tick: Tick) -> None:
        """Remember a tick."""
        match tick:
            case TradeTick():
                self.trades[tick.symbol].append(tick)
            case BookTick():
                self.books[tick.symbol] = tick
            case MarkTick():
                self.marks[tick.symbol] = tick
            case _:  # settlements and candles are asked of the tape
                pass

    def last(self, symbol: str) -> TradeTick | None:
        """The last trade."""
        trades = self.trades[symbol]
        return trades[-1] if trades else None

    def last_price(self, symbol: str) -> Decimal:
        """Its price; 0 before the first."""
        last = self.last(symbol)
        return last.price if last else Decimal(0)
