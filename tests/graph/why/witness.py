"""What a bar looked like, seen by somebody who explains nothing: for checking explanations against."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

import numpy as np

from core.exec.position import Position
from core.types import GovernorView, HealthReport, Plan, Regime
from graph.rerun import standing_before
from graph.sessions import Session
from graph.why.onlooker import Onlooker
from graph.why.records import Records
from tools.context import BrainContext
from tools.state import BrainState

SLIPPAGE_BPS_AT_DEPTH = 5.0
"""X31: half the spread, and five basis points for an order as large as the depth."""


@dataclass(frozen=True)
class Facts:
    """One bar: the services' own values, copied."""

    ts: int
    symbols: tuple[str, ...]
    features: dict[str, tuple[float, ...]]
    closes: tuple[float, ...]
    marks: tuple[float, ...]
    h1: tuple[Regime, ...]
    h4: tuple[Regime, ...]
    governor: GovernorView
    health: HealthReport
    positions: dict[str, Position]
    pending: tuple[Plan, ...]
    daily: tuple[dict[int, float], ...]
    books: tuple[tuple[float, float] | None, ...]
    fees: tuple[float, ...]
    resting: dict[str, int | None]  # by strategy that rests now
    before_day: bool

    def feature(self, key: str, symbol: str) -> float:
        return self.features[key][self.symbols.index(symbol)]

    def rho(self, one: str, other: str) -> float | None:
        """Pearson of daily log returns over the window, from the closes that are kept."""
        a, b = (self.daily[self.symbols.index(symbol)] for symbol in (one, other))
        last = max(max(days, default=0) for days in self.daily)
        days = [day for day in range(last - 89, last + 1) if {day, day - 1} <= a.keys() and {day, day - 1} <= b.keys()]
        if len(days) < 80:
            return None
        returns = [[math.log(own[day] / own[day - 1]) for day in days] for own in (a, b)]
        return float(np.corrcoef(returns)[0, 1])

    def weakest(self) -> float:
        """|correlation| of the pair that moves together least; 0 for an unknown one."""
        return min(abs(self.rho(*pair) or 0.0) for pair in combinations(self.symbols, 2))

    def exit_rate(self, symbol: str, qty: float) -> float:
        """Fee and slippage of leaving at the mark, as a fraction of price."""
        row = self.symbols.index(symbol)
        book = self.books[row]
        assert book is not None
        spread, depth = book
        return self.fees[row] + (spread / 2 + SLIPPAGE_BPS_AT_DEPTH * qty * self.marks[row] / depth) / 1e4

    def at_risk(self, symbol: str) -> tuple[float, float, float]:
        """(against the entry, against the mark, notional) of an open position, USD (X9, X10)."""
        position, mark = self.positions[symbol], self.marks[self.symbols.index(symbol)]
        qty, stop, sign = float(position.qty), float(position.stop), position.side.sign
        leave = qty * stop * self.exit_rate(symbol, qty)
        risk, drop = (sign * qty * (price - stop) for price in (position.avg_entry, mark))
        return max(0.0, risk + leave), max(0.0, drop) + leave, qty * mark


class Witness(Onlooker):
    """Writes down the bars that are watched."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, Facts] = {}

    async def look(self, state: BrainState, context: BrainContext) -> None:
        market, ts = context.market, state["event"].ts
        rows = range(len(market.symbols))
        books = [market.book(row, ts) for row in rows]
        saved = context.correlations.snapshot()
        self.seen[ts] = Facts(
            ts=ts,
            symbols=market.symbols,
            features={key: tuple(values.tolist()) for key, values in market.features.view.items()},
            closes=tuple(market.last_close.tolist()),
            marks=tuple(market.mark(row) for row in rows),
            h1=state["regimes"].h1,
            h4=state["regimes"].h4,
            governor=state["status"].governor,
            health=state["status"].health,
            positions=dict(context.ledger.positions),
            pending=context.orders.pending(),
            daily=tuple({int(day): close for day, close in own} for own in saved["closes"]),
            books=tuple(None if book is None else (book.spread_bps, book.depth_usd) for book in books),
            fees=tuple(one.taker_fee_rate for one in market.instruments),
            resting={
                name: context.cooldowns.until(name) if context.cooldowns.blocked(name, ts) else None
                for name in context.strategies
            },
            before_day=bool(context.portfolio.snapshot()["before_day"]),
        )


def witness(session: Session, records: Records, times: Iterable[int]) -> dict[int, Facts]:
    """The bars at ``times``; the session is walked once."""
    bars = {records.bar_of(ts): ts for ts in times}
    onlooker = Witness()

    async def walk() -> None:
        with standing_before(session.reader(), min(bars), onlooker) as rerun:
            while rerun.bar <= max(bars):
                onlooker.watching = rerun.bar in bars
                assert await rerun.next() is not None

    asyncio.run(walk())
    return onlooker.seen


def last_position(session: Session, records: Records, symbol: str) -> Position:
    """What the ledger holds of ``symbol`` at the last bar."""
    ts = int(records.reader.query("SELECT MAX(ts) FROM decisions WHERE ts IN (SELECT ts FROM equity)")[0][0])
    found = witness(session, records, [ts])[ts].positions[symbol]
    assert found.qty > Decimal(0)
    return found
