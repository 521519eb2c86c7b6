"""The one matching engine: a simulated exchange on the lowest timeframe there is (requirement K, decision X14).

Inside a bar, for each symbol in order:

1. at the open: orders sent since the last close trade (IOC within their cap, else they expire);
2. within the bar: stops first, then takes, pessimistically (:mod:`core.sim.matching`), liquidation among the stops;
3. funding at its time, on the position held then.

After every group of events the owner's callback is awaited, so that a stop can stand before the rest of the bar.
Fills at the open carry the bar's open time, fills inside it its close time.

In a bar without volume nothing trades (X44): entries expire, market orders and resting orders wait for the next bar with
volume. Only where such a bar has a range all the same do stops act in it, since doubt is settled against the trader.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from core.codes import RefusalCode
from core.data.blocks import Batch, Book, Floats, FundingRate
from core.errors import StateError
from core.exec.broker import AccountView
from core.exec.instrument import Instrument
from core.sim.acceptance import refuse, refuse_margin
from core.sim.account import Account
from core.sim.book import OrderStore
from core.sim.marks import Marks, bars_of
from core.sim.matching import (
    Bar,
    crosses,
    gapped,
    limit_traded_through,
    liquidation_order,
    slippage_bps,
    slipped_price,
    stop_reached,
)
from core.types import (
    BrokerEvent,
    Fill,
    FundingPayment,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
)

OnEvents = Callable[[tuple[BrokerEvent, ...]], Awaitable[None]]

_ENTRIES = (OrderType.IOC_LIMIT,)
_TAKERS = (OrderType.IOC_LIMIT, OrderType.MARKET)
_STOPS = (OrderType.STOP_MARKET,)
_LIMITS = (OrderType.LIMIT,)
_FOREVER = 2**62


@dataclass(slots=True)
class _Frame:
    """What matching one bar of one symbol needs; ``ts`` is the time that events carry at this stage."""

    symbol: str
    index: int
    bar: Bar
    spread_bps: float
    depth_usd: float
    ts: int
    first_seq: int
    on_events: OnEvents


class SimExchange:
    """A broker (:class:`core.exec.broker.Broker`) that fills against bars.

    Args:
        instruments: the run's instruments, in order; rows of bars refer to positions in it.
        starting_equity: USD in the wallet at the start.
        leverage_cap: leverage at which perps are margined (governance).

    Fees, filters, modelled spread and depth come from the instruments; a book in the batch replaces the model for that
    batch. A bar that is not newer than the last, is impossible, off its grid or not closed yet is neither traded nor
    marked on (:mod:`core.sim.marks`); where orders or a position wait it is counted in ``bad_bars``. A settlement without
    a rate is counted in ``bad_funding``, and one that comes twice is paid once.
    """

    def __init__(self, instruments: Sequence[Instrument], starting_equity: float, *, leverage_cap: float) -> None:
        self.instruments = tuple(instruments)
        self.bad_bars = 0
        self.bad_funding = 0
        self._index = {instrument.symbol: i for i, instrument in enumerate(self.instruments)}
        self._ticks = [float(instrument.tick_size) for instrument in self.instruments]
        self._account = Account(self.instruments, starting_equity, leverage_cap)
        self._marks = Marks(len(self.instruments))
        self._prices = self._marks.prices
        self._orders = OrderStore()
        self._events: list[BrokerEvent] = []
        self._fill_counts = [0] * len(self.instruments)
        self._settled: dict[str, int] = {}
        self._ts = 0
        self._now = 0
        self._trading = False

    # --- the broker port --------------------------------------------------------------------------

    async def place(self, order: Order) -> OrderUpdate:
        """Accept ``order`` (NEW) or say why not (REJECTED); it acts from the next price on."""
        index = self._index.get(order.symbol, -1)
        present = math.nan if index < 0 else float(self._prices[index])
        refused = refuse(order, self.instruments[index] if index >= 0 else None, present, self._orders, self._account)
        if refused is None and not order.reduce_only:
            refused = refuse_margin(order, self.instruments[index], present, self._account, self.account().free_margin)
        if refused is not None:
            code, message = refused
            return OrderUpdate(order.client_id, order.symbol, OrderStatus.REJECTED, order.ts, code=code, message=message)
        maker = order.type is OrderType.LIMIT and not crosses(order.side, float(order.price or 0), present)
        self._orders.add(order, self._now, maker=maker)
        return OrderUpdate(order.client_id, order.symbol, OrderStatus.NEW, order.ts)

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        """Cancel one order; what is already gone answers with its final status.

        An id never seen (or long forgotten) answers CANCELED with nothing filled. An IOC order whose bar has opened, but
        was not delivered yet, has been executed in truth: the answer is NEW, and it fills or expires with that bar.
        """
        if self._orders.opened(symbol, client_id, self._ts):
            return OrderUpdate(client_id, symbol, OrderStatus.NEW, self._now, message="its bar has opened already")
        return self._orders.cancel(symbol, client_id, self._now)

    def drain(self) -> tuple[BrokerEvent, ...]:
        """Events since the last call; :meth:`advance` hands them to its callback, so that none are left after it."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def account(self) -> AccountView:
        """The account, marked to the last prices; orders that would open risk hold margin too."""
        unrealised = self._account.unrealised(self._prices)
        equity = self._account.wallet + unrealised
        used = self._account.used_margin() + self._reserved()
        return AccountView(self._ts, self._account.wallet, unrealised, equity, used, equity - used)

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Orders at the exchange, oldest first."""
        return tuple(resting.order for resting in self._orders.all(symbol))

    def position_qty(self, symbol: str) -> Decimal:
        """Signed position of ``symbol`` (0 when flat)."""
        return self._account.qty(symbol)

    @property
    def prices(self) -> Floats:
        """Last price of each instrument, shape (S,), NaN where unknown; not to be written to."""
        return self._prices

    def _reserved(self) -> float:
        total = 0.0
        for order in self.open_orders():
            if not order.reduce_only:
                index = self._index[order.symbol]
                price = float(self._prices[index]) if order.price is None else float(order.price)
                total += float(order.qty) * price / self._account.leverage(order.symbol)
        return total

    # --- time -------------------------------------------------------------------------------------

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        """Trade through everything that closed at ``batch.ts``.

        Args:
            batch: bars, funding, and marks and books where the source has them.
            on_events: awaited with each group of events while the symbol's bar is still being traded.

        Raises:
            StateError: the batch lies before the last one.
        """
        if batch.ts < self._ts:
            raise StateError(f"batch was of {batch.ts}, expected not before {self._ts}", help="feed batches in time order")
        self._ts = batch.ts
        if self._orders or self._account.holdings:
            believed = [self._marks.all_believed(batch.ts, block) for block in batch.bars]
            await self._trade(batch, on_events, sure=believed == [True])
            for block, whole in zip(batch.bars, believed, strict=True):
                if whole:
                    self._marks.take_all(batch.ts, block)
                else:
                    self._marks.take_rows(batch.ts, block)
        else:
            for block in batch.bars:
                self._marks.take_quiet(batch.ts, block)
        self._now = batch.ts

    async def deliver(self, on_events: OnEvents) -> None:
        """Nothing: here things only happen inside bars."""

    async def wait(self) -> None:
        """For ever."""
        await asyncio.get_running_loop().create_future()

    async def _trade(self, batch: Batch, on_events: OnEvents, *, sure: bool) -> None:
        """Trade every symbol that waits for something; ``sure``: each has one bar, and all are believed."""
        self._trading = True
        books = {book.symbol: book for book in batch.books}
        dues, marks = _funding_of(batch) if batch.funding else ({}, {})
        active = {self._index[symbol] for symbol in (*self._orders.symbols, *self._account.holdings)}
        for index, bar in bars_of(batch.bars, active):
            if not sure and not self._marks.believes(batch.ts, index, bar):
                self.bad_bars += 1
                continue
            symbol = self.instruments[index].symbol
            spread, depth = self._book(index, books.get(symbol))
            frame = _Frame(symbol, index, bar, spread, depth, bar.open_ts, self._orders.seq, on_events)
            await self._trade_bar(frame, dues.get(symbol, []), marks)
        self._now = batch.ts
        for symbol in sorted(dues, key=lambda name: self._index.get(name, -1)):
            self._settle(symbol, dues[symbol], _FOREVER, marks)
        self._expire_forgotten()
        if self._events:
            await on_events(self.drain())
        self._trading = False

    def _expire_forgotten(self) -> None:
        """End entries whose bar is not coming any more: two bars' time after the one that should have filled them began."""
        for symbol in self._orders.symbols:
            for resting in self._orders.of(symbol, _ENTRIES):
                if self._ts > resting.since + 2 * self._marks.step(self._index[symbol]):
                    self._expire(resting.order, self._ts, RefusalCode.ENTRY_NOT_FILLED, "no bar followed the decision")

    def _book(self, index: int, book: Book | None) -> tuple[float, float]:
        """Spread (bps) and depth (USD): the batch's book, or what the instrument models."""
        if book is None:
            return self.instruments[index].modelled_spread_bps, self.instruments[index].modelled_depth_usd
        return book.spread_bps, book.depth_usd

    async def _trade_bar(self, frame: _Frame, dues: list[FundingRate], marks: dict[tuple[str, int], float]) -> None:
        bar = frame.bar
        self._settle(frame.symbol, dues, bar.open_ts, marks)
        self._now = bar.open_ts
        self._prices[frame.index] = bar.open
        self._execute_takers(frame)
        await self._react(frame)
        self._settle(frame.symbol, dues, bar.close_ts - 1, marks)
        frame.ts = bar.close_ts
        while self._trigger_stop(frame) or self._trigger_take(frame):
            await self._react(frame)
        self._marks.take(frame.index, bar)

    async def _react(self, frame: _Frame) -> None:
        """Hand over what happened, then execute at the present price what was sent in answer."""
        while self._events:
            await frame.on_events(self.drain())
            self._execute_takers(frame)

    # --- matching ---------------------------------------------------------------------------------

    def _execute_takers(self, frame: _Frame) -> None:
        for resting in self._orders.of(frame.symbol, _TAKERS, frame.bar.open_ts):
            immediate = resting.order.type is OrderType.IOC_LIMIT
            if immediate and resting.since < frame.bar.open_ts:
                self._expire(resting.order, frame.ts, RefusalCode.ENTRY_NOT_FILLED, "no bar followed the decision")
            elif immediate and not frame.bar.traded:
                self._expire(resting.order, frame.ts, RefusalCode.ENTRY_NOT_FILLED, "nothing traded in the bar")
            elif frame.bar.traded:
                self._take_liquidity(frame, resting.order, float(self._prices[frame.index]))

    def _trigger_stop(self, frame: _Frame) -> bool:
        """Trade the stop (or the liquidation) that the bar reaches first; False when it reaches none."""
        bar = frame.bar
        if not bar.moved:
            return False
        reached: list[tuple[float, int, float, Order]] = []
        for resting in self._orders.of(frame.symbol, _STOPS, bar.open_ts):
            if stop_reached(resting.order.side, resting.price, bar.low, bar.high):
                rested = resting.seq <= frame.first_seq
                reference = bar.open if rested and gapped(resting.order.side, resting.price, bar.open) else resting.price
                reached.append((abs(reference - bar.open), resting.seq, reference, resting.order))
        liquidation = self._liquidation(frame)
        if liquidation is not None:
            reached.append((abs(liquidation[0] - bar.open), _FOREVER, *liquidation))
        if not reached:
            return False
        _, rank, reference, order = min(reached, key=lambda item: item[:2])
        self._prices[frame.index] = reference
        if rank == _FOREVER:
            self._fill(frame, order, order.qty, self._slipped(frame, order, order.qty, reference), reference, maker=False)
        else:
            self._take_liquidity(frame, order, reference)
        return True

    def _liquidation(self, frame: _Frame) -> tuple[float, Order] | None:
        """Price and order of a forced exit inside the bar, if the position's margin does not outlast it."""
        held = self._account.holdings.get(frame.symbol)
        if held is None:
            return None
        side, price = held.exit_side, held.liquidation
        if not stop_reached(side, price, frame.bar.low, frame.bar.high):
            return None
        reference = frame.bar.open if gapped(side, price, frame.bar.open) else price
        number = self._fill_counts[frame.index] + 1
        return reference, liquidation_order(frame.symbol, held.qty, number, frame.ts)

    def _trigger_take(self, frame: _Frame) -> bool:
        """Trade the nearest resting limit that the bar went through; False when there is none."""
        bar = frame.bar
        if not bar.traded:
            return False
        limits = self._orders.of(frame.symbol, _LIMITS, bar.open_ts)
        if not limits:
            return False
        tick = self._ticks[frame.index]
        reached = [r for r in limits if limit_traded_through(r.order.side, r.price, tick, bar.low, bar.high)]
        if not reached:
            return False
        resting = min(reached, key=lambda item: (abs(item.price - bar.open), item.seq))
        self._prices[frame.index] = resting.price
        qty = self._fillable(frame, resting.order)
        if qty:
            limit = resting.order.price or Decimal(0)
            self._fill(frame, resting.order, qty, limit, resting.price, maker=resting.maker)
            self._complete(frame, resting.order, qty)
        return True

    def _take_liquidity(self, frame: _Frame, order: Order, reference: float) -> None:
        qty = self._fillable(frame, order)
        if not qty:
            return
        price = self._slipped(frame, order, qty, reference)
        if order.type is OrderType.IOC_LIMIT and order.price is not None and (price - order.price) * order.side.sign > 0:
            self._expire(order, frame.ts, RefusalCode.ENTRY_NOT_FILLED, f"cap {order.price}, price {price}")
            return
        self._fill(frame, order, qty, price, reference, maker=False)
        self._complete(frame, order, qty)

    def _fillable(self, frame: _Frame, order: Order) -> Decimal:
        """Quantity that may trade: a reduce-only order is cut to the position, and expires when there is none."""
        if not order.reduce_only:
            return order.qty
        held = self._account.qty(frame.symbol)
        if held * order.side.sign >= 0:
            self._expire(order, frame.ts, RefusalCode.REDUCE_ONLY_REJECTED, f"position is {held}")
            return Decimal(0)
        return min(order.qty, abs(held))

    def _slipped(self, frame: _Frame, order: Order, qty: Decimal, reference: float) -> Decimal:
        bps = slippage_bps(float(qty) * reference, frame.spread_bps, frame.depth_usd)
        return slipped_price(self.instruments[frame.index], order.side, reference, bps)

    def _fill(self, frame: _Frame, order: Order, qty: Decimal, price: Decimal, expected: float, *, maker: bool) -> None:
        instrument = self.instruments[frame.index]
        rate = instrument.maker_fee_rate if maker else instrument.taker_fee_rate
        fee = float(qty) * float(price) * rate
        self._account.trade(frame.symbol, qty * order.side.sign, float(price), fee, frame.ts)
        self._fill_counts[frame.index] += 1
        self._events.append(
            Fill(
                id=f"{frame.symbol}#{self._fill_counts[frame.index]}",
                client_id=order.client_id,
                plan_id=order.plan_id,
                symbol=frame.symbol,
                side=order.side,
                purpose=order.purpose,
                qty=qty,
                price=price,
                expected_price=expected,
                spread_bps=frame.spread_bps,
                fee=fee,
                maker=maker,
                ts=frame.ts,
                reason=order.reason,
            )
        )

    def _complete(self, frame: _Frame, order: Order, qty: Decimal) -> None:
        self._events.append(self._orders.finish(frame.symbol, order.client_id, OrderStatus.FILLED, frame.ts, filled=qty))

    def _expire(self, order: Order, ts: int, code: RefusalCode, message: str) -> None:
        expired = self._orders.finish(order.symbol, order.client_id, OrderStatus.EXPIRED, ts, code=code, message=message)
        self._events.append(expired)

    def _settle(self, symbol: str, dues: list[FundingRate], until: int, marks: dict[tuple[str, int], float]) -> None:
        """Pay funding that fell due up to ``until`` on a position held before it fell due; longs pay a positive rate."""
        while dues and dues[0].ts <= until:
            due = dues.pop(0)
            held = self._account.holdings.get(symbol)
            if held is None or held.since >= due.ts or self._settled.get(symbol, 0) >= due.ts:
                continue
            if not math.isfinite(due.rate):
                self.bad_funding += 1
                continue
            self._settled[symbol] = due.ts
            mark = marks.get((symbol, due.ts), float(self._prices[self._index[symbol]]))
            amount = -float(held.qty) * mark * due.rate
            self._account.wallet += amount
            self._events.append(FundingPayment(symbol, due.ts, due.rate, mark, held.qty, amount))

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values.

        Raises:
            StateError: taken inside a bar, or after one that did not end.
        """
        if self._trading:
            raise StateError("the exchange was asked for a snapshot inside a bar", help="take it after advance() returned")
        return {
            "ts": self._ts,
            "now": self._now,
            "bad": [self.bad_bars, self.bad_funding],
            "settled": dict(self._settled),
            "marks": self._marks.snapshot(),
            "fill_counts": list(self._fill_counts),
            "account": self._account.snapshot(),
            "orders": self._orders.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`; what follows is as if there had been no stop.

        Raises:
            StateError: the snapshot is of another number of instruments.
        """
        self._marks.restore(state["marks"])
        self._ts, self._now = int(state["ts"]), int(state["now"])
        self.bad_bars, self.bad_funding = (int(count) for count in state["bad"])
        self._settled = {symbol: int(ts) for symbol, ts in state["settled"].items()}
        self._fill_counts = [int(count) for count in state["fill_counts"]]
        self._account.restore(state["account"])
        self._orders.restore(state["orders"])


def _funding_of(batch: Batch) -> tuple[dict[str, list[FundingRate]], dict[tuple[str, int], float]]:
    """Settlements of the batch by symbol, oldest first, and the marks by symbol and time at which they are paid."""
    dues: dict[str, list[FundingRate]] = {}
    for funding in sorted(batch.funding, key=lambda item: item.ts):
        dues.setdefault(funding.symbol, []).append(funding)
    return dues, {(mark.symbol, mark.ts): mark.price for mark in batch.marks if mark.price > 0.0}
