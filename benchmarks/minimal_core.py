"""About the least that an event-driven trader in plain Python does: the yardstick for replay.

One rule, no gates, nothing written to disk. At a close beyond the extreme of the 20 bars before it, a flat account sends
an entry that fills at the next open; its stop lies 1.5 ATR away, follows the close and never goes back; after 12 bars the
position is left at the next open. Bars, orders and fills are objects handed to subscribers, and all but bars are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

CHANNEL_BARS = 20
ATR_BARS = 14
STOP_ATRS = 1.5
TIME_STOP_BARS = 12
RISK_SHARE = 0.008
FEE_RATE = 0.0005
SLIPPAGE_RATE = 0.0005
MOST_OF_EQUITY = 0.95

Row = tuple[int, float, float, float, float, float]
"""ts, open, high, low, close, volume."""


class Kind(Enum):
    """What an order is for."""

    ENTRY = 1
    STOP = 2
    EXIT = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Order:
    """``qty`` is signed; ``trigger`` counts for a stop only."""

    number: int
    kind: Kind
    qty: float
    trigger: float


@dataclass(frozen=True, slots=True)
class Fill:
    """``qty`` is signed."""

    order: Order
    ts: int
    qty: float
    price: float
    fee: float


class Account:
    """Money, one position, the orders that wait, and a record of everything that happened."""

    def __init__(self, cash: float) -> None:
        self.cash = cash
        self.position = 0.0
        self.entry_price = 0.0
        self.stop: Order | None = None
        self.waiting: Order | None = None
        self.record: list[Order | Fill] = []
        self.trades = 0
        self.listeners: list[Trader] = []
        self._number = 0

    def send(self, kind: Kind, qty: float, trigger: float = 0.0) -> None:
        """Give an order: a stop rests, anything else fills at the next open."""
        self._number += 1
        order = Order(self._number, kind, qty, trigger)
        self.record.append(order)
        if kind is Kind.STOP:
            self.stop = order
        else:
            self.waiting = order

    def on_bar(self, bar: Bar) -> None:
        """Fill what waits at the open, then what rests inside the bar."""
        order = self.waiting
        if order is not None:
            self.waiting = None
            self._fill_at_open(order, bar)
        stop = self.stop
        if stop is None:
            return
        if stop.qty < 0.0:
            if bar.low <= stop.trigger:
                self._fill(stop, bar.ts, stop.qty, min(bar.open, stop.trigger) * (1.0 - SLIPPAGE_RATE))
        elif bar.high >= stop.trigger:
            self._fill(stop, bar.ts, stop.qty, max(bar.open, stop.trigger) * (1.0 + SLIPPAGE_RATE))

    def _fill_at_open(self, order: Order, bar: Bar) -> None:
        if order.kind is Kind.EXIT and not self.position:
            return
        qty = order.qty
        price = bar.open * (1.0 + SLIPPAGE_RATE if qty > 0.0 else 1.0 - SLIPPAGE_RATE)
        if order.kind is Kind.ENTRY:
            most = self.cash * MOST_OF_EQUITY / price
            qty = max(-most, min(most, qty))
        self._fill(order, bar.ts, qty, price)

    def _fill(self, order: Order, ts: int, qty: float, price: float) -> None:
        fee = FEE_RATE * abs(qty) * price
        self.cash -= fee
        if self.position:
            self.cash += self.position * (price - self.entry_price)
            self.position = 0.0
            self.stop = None
            self.trades += 1
        else:
            self.position = qty
            self.entry_price = price
        fill = Fill(order, ts, qty, price, fee)
        self.record.append(fill)
        for listener in self.listeners:
            listener.on_fill(fill)


class Trader:
    """The one rule."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._highs: deque[float] = deque(maxlen=CHANNEL_BARS)
        self._lows: deque[float] = deque(maxlen=CHANNEL_BARS)
        self._last_close: float | None = None
        self._atr: float | None = None
        self._ranges: list[float] = []
        self._stop_distance = 0.0
        self._held = 0

    def on_fill(self, fill: Fill) -> None:
        """Protect a new position."""
        if self._account.position:
            self._held = 0
            away = self._stop_distance if fill.qty > 0.0 else -self._stop_distance
            self._account.send(Kind.STOP, -fill.qty, fill.price - away)

    def on_bar(self, bar: Bar) -> None:
        """Learn from the bar, then decide."""
        ready = len(self._highs) == CHANNEL_BARS
        top = max(self._highs) if ready else bar.high
        bottom = min(self._lows) if ready else bar.low
        self._highs.append(bar.high)
        self._lows.append(bar.low)
        self._learn_range(bar)
        if not ready or self._atr is None:
            return
        if self._account.position:
            self._manage(bar.close, self._atr)
        elif bar.close > top or bar.close < bottom:
            self._stop_distance = STOP_ATRS * self._atr
            qty = self._account.cash * RISK_SHARE / self._stop_distance
            self._account.send(Kind.ENTRY, qty if bar.close > top else -qty)

    def _learn_range(self, bar: Bar) -> None:
        last = self._last_close
        self._last_close = bar.close
        if last is None:
            return
        reach = max(bar.high, last) - min(bar.low, last)
        if self._atr is not None:
            self._atr += (reach - self._atr) / ATR_BARS
            return
        self._ranges.append(reach)
        if len(self._ranges) == ATR_BARS:
            self._atr = sum(self._ranges) / ATR_BARS

    def _manage(self, close: float, atr: float) -> None:
        self._held += 1
        stop = self._account.stop
        if stop is not None:
            away = STOP_ATRS * atr
            trigger = max(stop.trigger, close - away) if stop.qty < 0.0 else min(stop.trigger, close + away)
            if trigger != stop.trigger:
                self._account.send(Kind.STOP, stop.qty, trigger)
        if self._held >= TIME_STOP_BARS:
            self._account.send(Kind.EXIT, -self._account.position)


class MinimalCore:
    """One account and one trader for one symbol, joined by a list of subscribers."""

    def __init__(self, cash: float = 1_000_000.0) -> None:
        self.account = Account(cash)
        trader = Trader(self.account)
        self.account.listeners.append(trader)
        self._subscribers: tuple[Account | Trader, ...] = (self.account, trader)

    def on_row(self, row: Row) -> None:
        """Make a bar of ``row`` and hand it round."""
        bar = Bar(*row)
        for subscriber in self._subscribers:
            subscriber.on_bar(bar)


def replay(rows_by_step: Iterable[tuple[Row, ...]], symbols: int) -> list[MinimalCore]:
    """Run a core for each symbol over steps that hold one row of each; returns the cores."""
    cores = [MinimalCore() for _ in range(symbols)]
    for rows in rows_by_step:
        for core, row in zip(cores, rows, strict=True):
            core.on_row(row)
    return cores
