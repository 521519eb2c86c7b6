"""The bot of a life: the real books and live broker, and a script of bars in place of the brain.

Bars are on its disk before they are decided, and a snapshot of the books at the end of each: a new life restores it,
recovers, decides again what the old one had begun, and goes on.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from core.clock import Clock
from core.data.blocks import BarBlock, Batch, Book
from core.exec.broker_ccxt import LiveBroker
from core.exec.instrument import Instrument
from core.exec.ledger import Ledger
from core.exec.live.crash import CrashPoint, never
from core.exec.live.settings import LiveOptions
from core.exec.orders import OrderManager
from core.sim.server.options import API_KEY, API_SECRET
from core.types import (
    BrokerEvent,
    ExitReason,
    Fill,
    Order,
    OrderUpdate,
    Plan,
    PlanKind,
    Regime,
    Side,
    Take,
    Timeframe,
    Trail,
    TrailStart,
)
from core.venues.binance_account import BinanceAccount
from core.venues.client import Wiring
from core.venues.keys import Keys
from tests.core.exec.live.kit import instrument
from tests.faults.crash_matrix.cells import Action, Cell, Entering
from tests.faults.crash_matrix.market import (
    ACTION_BAR,
    BAR_MS,
    ENTRY_BAR,
    FIRST_BAR_MS,
    LAST_BAR,
    MOVE_BAR,
    QTY,
    STOP_PCT,
    PricePath,
)

_HOW = {
    Entering.ACROSS: LiveOptions(),
    Entering.MAKER: LiveOptions(post_only=True, rest_s=0.4, reprices=1),
    Entering.SLICED: LiveOptions(slices=3),
}
_WALLET = 10_000.0
_ADD = Decimal("0.020")


class BooksFile:
    """Bars and the books' snapshot, as durable as the outbox."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0)
        for pragma in ("synchronous=EXTRA", "journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE IF NOT EXISTS bars (number INTEGER PRIMARY KEY)")
        self._db.execute("CREATE TABLE IF NOT EXISTS books (one INTEGER PRIMARY KEY, state TEXT)")

    def begin(self, bar: int) -> None:
        """``bar`` is about to be decided."""
        self._db.execute("INSERT OR IGNORE INTO bars VALUES (?)", (bar,))

    def begun(self, bar: int) -> bool:
        return self._db.execute("SELECT 1 FROM bars WHERE number = ?", (bar,)).fetchone() is not None

    def save(self, state: dict[str, Any]) -> None:
        self._db.execute("REPLACE INTO books VALUES (1, ?)", (json.dumps(state),))

    def load(self) -> dict[str, Any] | None:
        row = self._db.execute("SELECT state FROM books").fetchone()
        return None if row is None else json.loads(row[0])


class _Log:
    """What the books would write elsewhere goes into the trace."""

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    def record_intent(self, order: Order) -> None:
        self._note("intent", order.client_id, order.qty, order.price)

    def record_update(self, update: OrderUpdate) -> None:
        self._note("told", update.client_id, update.status, update.code)

    def record_fill(self, fill: Fill) -> None:
        self._note("fill", fill.client_id, fill.qty, fill.price)


def listed(cell: Cell) -> tuple[Instrument, ...]:
    """What a life trades."""
    return tuple(instrument(unified(symbol)) for symbol in cell.symbols)


def unified(symbol: str) -> str:
    """The internal symbol."""
    return f"{symbol.removesuffix('USDT')}/USDT:USDT"


class Trader:
    """One life of the bot."""

    def __init__(
        self,
        cell: Cell,
        folder: Path,
        clock: Clock,
        path: PricePath,
        epoch_ms: int,
        *,
        note: Callable[..., None],
        crash: Callable[[CrashPoint], None] = never,
        wiring: Wiring | None = None,
        bar_ms: int = BAR_MS,
    ) -> None:
        self._cell, self._clock, self._path, self._note = cell, clock, path, note
        self._epoch_ms, self._bar_ms = epoch_ms, bar_ms
        self._file = BooksFile(folder / "books.sqlite")
        instruments = listed(cell)
        self.symbols = tuple(one.symbol for one in instruments)
        self.ledger = Ledger(instruments, starting_equity=_WALLET, scratch_r=0.1)
        self.broker = LiveBroker(
            BinanceAccount(Keys(API_KEY, API_SECRET), clock, wiring or Wiring(timeout_ms=2_000)),
            folder / "orders.sqlite",
            instruments,
            _HOW[cell.entering],
            stop_of=self._stop_of,
            books=self._book if cell.entering is Entering.MAKER else None,
            on_alert=lambda level, code, text: note("alert", level, code, text),
            crash=crash,
        )
        self.orders = OrderManager(self.broker, self.ledger, instruments, _Log(note))
        self.bar = 0
        self.recovered = False
        saved = self._file.load()
        if saved is not None:
            self.bar = saved["bar"]
            self.ledger.restore(saved["ledger"])
            self.orders.restore(saved["orders"])
            self.broker.restore(saved["broker"])

    def _stop_of(self, plan_id: str) -> Decimal | None:
        plan = self.ledger.plan(plan_id)
        return None if plan is None else plan.stop

    def _book(self, symbol: str) -> Book:
        price = self._path.at(now := self._clock.now_ms())
        return Book(symbol, now, price - 0.1, price + 0.1, 500_000.0, modelled=False)

    @property
    def over(self) -> bool:
        """Whether the script has come to its end."""
        return self.bar > LAST_BAR and not self.ledger.positions

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        recovery = await self.broker.start()
        self.recovered = True
        self._note("recovered", recovery.agreed, *recovery.actions, *recovery.differences)

    async def run(self) -> None:
        """Bar after bar, and between them whatever is to be heard."""
        while True:
            if not self._file.begun(self.bar):
                await self._until(self._bar_ts(self.bar))
                self._file.begin(self.bar)
            await self._decide(self.bar)
            self.bar += 1
            self._save()

    def _bar_ts(self, bar: int) -> int:
        return self._epoch_ms + FIRST_BAR_MS + bar * self._bar_ms

    async def _until(self, ts: int) -> None:
        while (left_ms := ts - self._clock.now_ms()) > 0:
            try:
                async with asyncio.timeout(left_ms / 1000.0):
                    await self.broker.wait()
            except TimeoutError:
                return
            await self.broker.deliver(self._hear)

    async def _hear(self, events: tuple[BrokerEvent, ...]) -> None:
        await self.orders.handle(events)

    def _save(self) -> None:
        self._file.save(
            {
                "bar": self.bar,
                "ledger": self.ledger.snapshot(),
                "orders": self.orders.snapshot(),
                "broker": self.broker.snapshot(),
            }
        )

    # --- the script -------------------------------------------------------------------------------

    async def _decide(self, bar: int) -> None:
        ts = self._bar_ts(bar)
        index = np.arange(len(self.symbols), dtype=np.int64)
        price = np.full(len(self.symbols), self._path.at(ts))
        block = BarBlock(Timeframe.M1, index, index, price, price, price, price, price)
        await self.broker.advance(Batch(ts, (block,)), self._hear)
        for symbol in self.symbols:
            await self._decide_on(symbol, bar, ts)

    async def _decide_on(self, symbol: str, bar: int, ts: int) -> None:
        action, position = self._cell.action, self.ledger.positions.get(symbol)
        if bar == ENTRY_BAR:
            await self.orders.submit(self._plan(symbol, PlanKind.ENTRY, ts, QTY, STOP_PCT))
        elif bar >= LAST_BAR or (bar == ACTION_BAR and action is Action.EXIT):
            await self.orders.close(symbol, ts, ExitReason.TIME_STOP)
        elif position is None or self.orders.closing(symbol):
            pass
        elif bar == ACTION_BAR and action is Action.ADD:
            await self.orders.submit(self._plan(symbol, PlanKind.ADD, ts, _ADD, STOP_PCT * 0.8))
        elif action is Action.STOP and bar in (ACTION_BAR, MOVE_BAR):
            stop = self._beyond(ts, -STOP_PCT * (0.7 if bar == ACTION_BAR else 0.5))
            if (stop - position.stop) * self._cell.side.sign > 0:
                await self.orders.move_stop(symbol, stop, ts, ExitReason.TRAIL)

    def _beyond(self, ts: int, percent: float) -> Decimal:
        price = self._path.at(ts) * (1.0 + self._cell.side.sign * percent / 100.0)
        return Decimal(repr(round(price, 1)))

    def _plan(self, symbol: str, kind: PlanKind, ts: int, qty: Decimal, stop_pct: float) -> Plan:
        entry = self._beyond(ts, 0.0004 if self._cell.tight_cap else 0.2)
        stop = self._beyond(ts, -stop_pct)
        takes = (Take(1.0, self._beyond(ts, stop_pct), qty / 2), Take(3.0, self._beyond(ts, 3 * stop_pct), qty / 4))
        return Plan(
            id=f"{kind}-{ts}-{symbol}",
            kind=kind,
            signal_id="signal",
            strategy="breakout",
            symbol=symbol,
            side=self._cell.side,
            tf=Timeframe.M1,
            ts=ts,
            qty=qty,
            entry=entry,
            stop=stop,
            tps=takes if kind is PlanKind.ENTRY else (),
            trail=Trail(TrailStart.NEVER, 0.0, Timeframe.M1),
            time_stop_ts=ts + 10**9,
            risk_usd=float(qty * abs(entry - stop)) + 1.0,
            risk_r_pct=1.0,
            costs_usd=1.0,
            equity=_WALLET,
            score=8.0,
            regime=Regime.TREND_UP if self._cell.side is Side.LONG else Regime.TREND_DOWN,
            governance="digest",
        )
