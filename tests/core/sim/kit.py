"""A small desk for tests: exchange, ledger and order manager on hand-made bars; nothing in it is a stub of ours."""

from __future__ import annotations

import json
import math
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from core.data.blocks import BarBlock, Batch, Book, FundingRate, PriceAt
from core.exec.instrument import Instrument
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager
from core.sim.exchange import SimExchange
from core.types import (
    BrokerEvent,
    Fill,
    Order,
    OrderPurpose,
    OrderSide,
    OrderType,
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

BTC, ETH, SPOT = "BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USDT"
STEP = Timeframe.M5.ms
T0 = 1_700_000_100_000
"""A close on the 5-minute grid; bar k of a test opens at T0 + k STEP."""
Prices = tuple[float, float, float, float]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that must not suspend."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("an async method suspended in simulation")


def instrument(symbol: str = BTC, **changes: Any) -> Instrument:
    """Round numbers: tick 0.01, lot 0.001, fees 5/2 bps, spread 2 bps in a bottomless book, so 1 bp of slippage."""
    plain = Instrument(
        symbol=symbol,
        is_perp=":" in symbol,
        tick_size=Decimal("0.01"),
        qty_step=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        min_notional=Decimal(5),
        min_depth_usd=1_000.0,
        max_spread_bps=5.0,
        allowed_tfs=frozenset(Timeframe),
        taker_fee_rate=0.0005,
        maker_fee_rate=0.0002,
        maintenance_margin_rate=0.02,
        modelled_spread_bps=2.0,
        modelled_depth_usd=math.inf,
    )
    return replace(plain, **changes)


def batch(
    number: int,
    bars: Mapping[int, Prices] | None = None,
    *,
    funding: Sequence[FundingRate] = (),
    marks: Sequence[PriceAt] = (),
    books: Sequence[Book] = (),
    open_ts: Mapping[int, int] | None = None,
    volume: Mapping[int, float] | None = None,
    extra: Sequence[BarBlock] = (),
) -> Batch:
    """Batch ``number``: 5-minute bars that open at T0 + number STEP (or as told), by index (open, high, low, close).

    Volumes are 1 unless told; ``extra`` are blocks beside that one.
    """
    rows = sorted((bars or {}).items())
    start = T0 + number * STEP
    columns = np.array([prices for _, prices in rows], dtype=np.float64).reshape(len(rows), 4).T
    block = BarBlock(
        tf=Timeframe.M5,
        idx=np.array([index for index, _ in rows], dtype=np.int64),
        open_ts=np.array([(open_ts or {}).get(index, start) for index, _ in rows], dtype=np.int64),
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=np.array([(volume or {}).get(index, 1.0) for index, _ in rows]),
    )
    blocks = (block, *extra) if rows else tuple(extra)
    return Batch(start + STEP, blocks, tuple(funding), (), tuple(marks), tuple(books))


def block_of(tf: Timeframe, *rows: tuple[int, int, Prices]) -> BarBlock:
    """Any rows (index, open time, prices) as one block, in the order given."""
    columns = np.array([prices for _, _, prices in rows], dtype=np.float64).reshape(len(rows), 4).T
    idx, open_ts = (np.array([row[at] for row in rows], dtype=np.int64) for at in (0, 1))
    return BarBlock(tf, idx, open_ts, *columns, volume=np.ones(len(rows)))


def order(
    client_id: str,
    side: OrderSide,
    kind: OrderType,
    qty: str | Decimal,
    price: str | Decimal | None = None,
    *,
    symbol: str = BTC,
    purpose: OrderPurpose | None = None,
    reduce_only: bool | None = None,
    ts: int = T0,
    **changes: Any,
) -> Order:
    """An order; purpose and reduce-only follow the type unless told."""
    opening = kind is OrderType.IOC_LIMIT
    purposes = {OrderType.STOP_MARKET: OrderPurpose.STOP, OrderType.LIMIT: OrderPurpose.TAKE, OrderType.MARKET: OrderPurpose.EXIT}
    return Order(
        client_id=client_id,
        plan_id=changes.pop("plan_id", "p"),
        symbol=symbol,
        side=side,
        type=kind,
        purpose=purpose or purposes.get(kind, OrderPurpose.ENTRY),
        qty=Decimal(qty),
        price=None if price is None else Decimal(price),
        reduce_only=(not opening) if reduce_only is None else reduce_only,
        ts=ts,
        **changes,
    )


def plan(
    plan_id: str = "p",
    *,
    side: Side = Side.LONG,
    qty: str = "1",
    entry: str = "100.05",
    stop: str = "95",
    tps: Sequence[tuple[float, str]] = (),
    **changes: Any,
) -> Plan:
    """A plan with round numbers; ``tps`` are (r, quantity)."""
    fields: dict[str, Any] = {
        "id": plan_id,
        "kind": PlanKind.ENTRY,
        "signal_id": f"s-{plan_id}",
        "strategy": "breakout_4h",
        "symbol": BTC,
        "side": side,
        "tf": Timeframe.H4,
        "ts": T0,
        "qty": Decimal(qty),
        "entry": Decimal(entry),
        "stop": Decimal(stop),
        "tps": tuple(Take(r, Decimal(0), Decimal(share)) for r, share in tps),
        "trail": Trail(TrailStart.FIRST_TAKE, 2.0, Timeframe.H4),
        "time_stop_ts": T0 + 1_000 * STEP,
        "risk_usd": 5.0,
        "risk_r_pct": 0.5,
        "costs_usd": 0.2,
        "equity": 1_000.0,
        "score": 8.0,
        "regime": Regime.TREND_UP,
        "governance": "digest",
        "meta": (("adx", 27.5), ("channel", 20)),
    }
    return Plan(**{**fields, **changes})


class Record:
    """An order log in memory that checks that each intent comes before the broker has the order."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.intents: list[Order] = []
        self.updates: list[OrderUpdate] = []
        self.fills: list[Fill] = []

    def record_intent(self, item: Order) -> None:
        assert item.client_id not in {known.client_id for known in self.broker.open_orders()}
        self.intents.append(item)

    def record_update(self, item: OrderUpdate) -> None:
        self.updates.append(item)

    def record_fill(self, item: Fill) -> None:
        self.fills.append(item)


class Desk:
    """Exchange, ledger and order manager, wired as a run wires them."""

    def __init__(self, instruments: Sequence[Instrument] | None = None, equity: float = 1_000.0) -> None:
        self.instruments = tuple(instruments or (instrument(BTC), instrument(ETH)))
        self.equity = equity
        self.build()
        self.events: list[BrokerEvent] = []
        self.watch: list[Any] = []

    def build(self) -> None:
        self.exchange = SimExchange(self.instruments, self.equity, leverage_cap=3.0)
        self.ledger = Ledger(self.instruments, starting_equity=self.equity, scratch_r=0.15)
        self.log = Record(self.exchange)
        self.manager = OrderManager(self.exchange, self.ledger, self.instruments, self.log)

    async def _on_events(self, events: tuple[BrokerEvent, ...]) -> None:
        self.events.extend(events)
        await self.manager.handle(events)
        for check in self.watch:
            check(self)

    def step(self, number: int, bars: Mapping[int, Prices] | None = None, **more: Any) -> Batch:
        """One batch through exchange and ledger."""
        made = batch(number, bars, **more)
        run(self.exchange.advance(made, self._on_events))
        for block in made.bars:
            self.ledger.on_close(made.ts, block.close, block.high, block.low, block.idx)
        for check in self.watch:
            check(self)
        return made

    def restart(self) -> None:
        """Kill everything and start again from what was saved, by way of JSON text."""
        saved = json.dumps([part.snapshot() for part in (self.exchange, self.ledger, self.manager)])
        intents, updates, fills = self.log.intents, self.log.updates, self.log.fills
        self.build()
        self.log.intents, self.log.updates, self.log.fills = intents, updates, fills
        for part, state in zip((self.exchange, self.ledger, self.manager), json.loads(saved), strict=True):
            part.restore(state)

    @property
    def prices(self) -> Any:
        return self.exchange.prices

    def fills(self) -> list[Fill]:
        return [event for event in self.events if isinstance(event, Fill)]

    def updates(self) -> list[OrderUpdate]:
        return [event for event in self.events if isinstance(event, OrderUpdate)]

    def resting(self, purpose: OrderPurpose, symbol: str = BTC) -> list[Order]:
        return [item for item in self.exchange.open_orders(symbol) if item.purpose is purpose]
