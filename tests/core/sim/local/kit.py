"""A local exchange on a clock that tests move, and a desk that trades on it as one trades on the simulated exchange."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.clock import VirtualClock
from core.codes import RefusalCode
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import (
    AlgoEvent,
    AlgoStatus,
    AlgoType,
    BookTick,
    Bracket,
    ExecutionType,
    FundingTick,
    Liquidity,
    Listing,
    MarkTick,
    NewAlgo,
    NewOrder,
    OrderEvent,
    OrderSide,
    OrderType,
    TimeInForce,
    TradeTick,
    VenueError,
)
from core.types import BrokerEvent, Fill, Order, OrderStatus, OrderUpdate
from core.types import OrderType as HouseType
from tests.core.sim.kit import T0, Record, batch, run

BTC, ETH = "BTCUSDT", "ETHUSDT"
BUY, SELL = OrderSide.BUY, OrderSide.SELL
BOTTOMLESS = Liquidity(2.0, math.inf)
"""Costs exactly 1 bp: at 100 a buyer pays 100.01 and a seller gets 99.99."""


def d(value: str | float) -> Decimal:
    """A decimal from what tests like to write."""
    return Decimal(str(value))


def listing(symbol: str = BTC, **changes: Any) -> Listing:
    """Round numbers: tick 0.01, lot 0.001, least value 5, fees 5/2 bps, two brackets, filters out of the way."""
    plain = Listing(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        quote="USDT",
        tick=d("0.01"),
        min_price=d("0.01"),
        max_price=d(100_000),
        step=d("0.001"),
        min_qty=d("0.001"),
        max_qty=d(1_000),
        market_step=d("0.001"),
        market_min_qty=d("0.001"),
        market_max_qty=d(500),
        min_notional=d(5),
        percent_up=d(2),
        percent_down=d("0.5"),
        max_orders=10,
        max_algo_orders=4,
        maker_fee=d("0.0002"),
        taker_fee=d("0.0005"),
        market_take_bound=d("0.05"),
        trigger_protect=d("0.05"),
        liquidation_fee=d("0.01"),
        brackets=(
            Bracket(1, 50, d(0), d(10_000), d("0.01"), d(0)),
            Bracket(2, 10, d(10_000), d(100_000), d("0.05"), d(400)),
        ),
    )
    return msgspec.structs.replace(plain, **changes)


class House:
    """An exchange, its clock, and everything that it said."""

    def __init__(self, *listings: Listing, wallet: str = "1000", price: str | None = "100", **more: Any) -> None:
        self.listings = listings or (listing(BTC), listing(ETH))
        self.clock = VirtualClock(T0)
        liquidity = more.pop("liquidity", {item.symbol: BOTTOMLESS for item in self.listings})
        self.exchange = LocalExchange(self.listings, self.clock, wallet=d(wallet), liquidity=liquidity, **more)
        self.words: list[Any] = []
        if price is not None:
            for item in self.listings:
                self.print(price, symbol=item.symbol)

    def later(self, ms: int) -> House:
        self.clock.set(self.clock.now_ms() + ms)
        return self

    def tick(self, price: Any, qty: Any = 1, taker: OrderSide = BUY, symbol: str = BTC, *, gap: bool = False) -> TradeTick:
        return TradeTick(symbol, self.clock.now_ms(), 1, d(price), d(qty), taker, gap)

    def print(self, price: Any, qty: Any = 1, taker: OrderSide = BUY, symbol: str = BTC) -> House:
        self.exchange.trade(self.tick(price, qty, taker, symbol))
        return self

    def sweep(self, price: Any, qty: Any = 1, symbol: str = BTC, *, gap: bool = False) -> int:
        """Sweep to the end; how often it stopped on the way."""
        tick, stops = self.tick(price, qty, symbol=symbol, gap=gap), 0
        while not self.exchange.sweep(tick):
            stops += 1
        return stops

    def mark(self, price: Any, symbol: str = BTC) -> House:
        self.exchange.mark(MarkTick(symbol, self.clock.now_ms(), d(price), d(price), d(0), 0))
        return self

    def fund(self, rate: Any, mark: Any = 100, symbol: str = BTC) -> House:
        self.exchange.settle_funding(FundingTick(symbol, self.clock.now_ms(), d(rate), d(mark)))
        return self

    def book(self, bids: Any, asks: Any, symbol: str = BTC, *, modelled: bool = False) -> House:
        sides = [tuple((d(price), d(qty)) for price, qty in side) for side in (bids, asks)]
        self.exchange.book(BookTick(symbol, self.clock.now_ms(), 1, *sides, modelled))
        return self

    def limit(self, side: OrderSide, qty: Any, price: Any, tif: TimeInForce = TimeInForce.GTC, **more: Any) -> Any:
        symbol = more.pop("symbol", BTC)
        return self.exchange.place(NewOrder(symbol, side, OrderType.LIMIT, d(qty), d(price), tif, **more))

    def market(self, side: OrderSide, qty: Any, **more: Any) -> Any:
        symbol = more.pop("symbol", BTC)
        return self.exchange.place(NewOrder(symbol, side, OrderType.MARKET, d(qty), **more))

    def algo(self, side: OrderSide, kind: AlgoType, qty: Any = None, trigger: Any = None, price: Any = None, **more: Any) -> Any:
        numbers = {"qty": qty, "trigger_price": trigger, "price": price}
        asked = {name: None if value is None else d(value) for name, value in numbers.items()}
        return self.exchange.place_algo(NewAlgo(more.pop("symbol", BTC), side, kind, **asked, **more))

    def stop(self, side: OrderSide, qty: Any, trigger: Any, **more: Any) -> Any:
        return self.algo(side, AlgoType.STOP_MARKET, qty, trigger, reduce_only=more.pop("reduce_only", True), **more)

    def heard(self, kind: type | None = None) -> list[Any]:
        """What was said since it was last asked."""
        words = self.exchange.drain_words()
        self.words += words
        return [word for word in words if kind is None or isinstance(word, kind)]

    def position(self, symbol: str = BTC) -> Any:
        return self.exchange.positions(symbol)[0]

    @property
    def wallet(self) -> Decimal:
        return self.exchange.account().wallet

    def twin(self) -> House:
        """Another exchange, restored from this one's snapshot by way of JSON text."""
        import json

        other = House(*self.listings, price=None, wallet="0")
        other.clock.set(self.clock.now_ms())
        other.exchange.restore(json.loads(json.dumps(self.exchange.snapshot())))
        return other


def refused(code: int):
    """The venue says no, with this code."""
    return pytest.raises(VenueError, match=f"^{code}:")


# --- a desk as in tests.core.sim.kit, on the local exchange -----------------------------------------------


class LocalBroker:
    """The broker port over a local exchange, without a wire.

    What takes is held back between bars, and market orders in bars without volume, since the simulated exchange trades
    such orders at the next open; what rests goes in at once.
    """

    def __init__(self, house: House, names: Mapping[str, str]) -> None:
        self.house = house
        self.names = names
        self.orders: dict[str, Order] = {}
        self.queue: list[Order] = []
        self.late: list[BrokerEvent] = []
        self.between = True
        self.dry: set[str] = set()

    async def place(self, order: Order) -> OrderUpdate:
        self.orders[order.client_id] = order
        if order.type in (HouseType.IOC_LIMIT, HouseType.MARKET) and self._waits(order):
            self.queue.append(order)
            return OrderUpdate(order.client_id, order.symbol, OrderStatus.NEW, order.ts)
        return self._send(order)

    def _waits(self, order: Order) -> bool:
        return self.between or (order.type is HouseType.MARKET and order.symbol in self.dry)

    def _send(self, order: Order) -> OrderUpdate:
        side, symbol = OrderSide[order.side.name], self.names[order.symbol]
        try:
            if order.type is HouseType.STOP_MARKET:
                ask = NewAlgo(symbol, side, AlgoType.STOP_MARKET, order.qty, trigger_price=order.price, reduce_only=True)
                self.house.exchange.place_algo(msgspec.structs.replace(ask, client_id=order.client_id))
            else:
                kind = OrderType.MARKET if order.type is HouseType.MARKET else OrderType.LIMIT
                tif = TimeInForce.IOC if order.type is HouseType.IOC_LIMIT else TimeInForce.GTC
                ask = NewOrder(symbol, side, kind, order.qty, order.price, tif, order.reduce_only, order.client_id)
                self.house.exchange.place(msgspec.structs.replace(ask, self_trade_prevention="NONE"))
        except VenueError as error:
            code = RefusalCode.STOP_WOULD_TRIGGER if error.code == -2021 else RefusalCode.REDUCE_ONLY_REJECTED
            return OrderUpdate(order.client_id, order.symbol, OrderStatus.REJECTED, order.ts, code=code, message=str(error))
        return OrderUpdate(order.client_id, order.symbol, OrderStatus.NEW, order.ts)

    def flush(self, symbol: str) -> None:
        """The bar has opened: what was held back goes in."""
        for order in [item for item in self.queue if item.symbol == symbol]:
            if not self._waits(order):
                self.queue.remove(order)
                update = self._send(order)
                if update.status is OrderStatus.REJECTED:
                    self.late.append(msgspec.structs.replace(update, status=OrderStatus.EXPIRED))

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        self.queue = [order for order in self.queue if order.client_id != client_id]
        try:
            if self.orders[client_id].type is HouseType.STOP_MARKET:
                self.house.exchange.cancel_algo(client_id=client_id)
            else:
                self.house.exchange.cancel(self.names[symbol], client_id=client_id)
        except VenueError:
            pass
        return OrderUpdate(client_id, symbol, OrderStatus.CANCELED, self.orders[client_id].ts)

    def drain(self) -> tuple[BrokerEvent, ...]:
        events, self.late = self.late, []
        for word in self.house.heard((OrderEvent, AlgoEvent)):
            events += self._events(word)
        return tuple(events)

    def _events(self, word: OrderEvent | AlgoEvent) -> list[BrokerEvent]:
        if isinstance(word, AlgoEvent):
            if word.algo.status is not AlgoStatus.REJECTED:
                return []
            order = self.orders[word.algo.client_id]
            return [OrderUpdate(order.client_id, order.symbol, OrderStatus.EXPIRED, word.ts)]
        state, order = word.order, self.orders[word.order.client_id]
        events: list[BrokerEvent] = []
        if word.trade is not None:
            events.append(_fill_of(order, word))
        if state.status.over and word.execution is not ExecutionType.CANCELED:
            status = OrderStatus.FILLED if state.status == "FILLED" else OrderStatus.EXPIRED
            events.append(OrderUpdate(order.client_id, order.symbol, status, word.ts, state.filled))
        return events

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        states = (*self.house.exchange.open_orders(), *self.house.exchange.open_algos())
        return tuple(self.orders[state.client_id] for state in states)


def _fill_of(order: Order, word: OrderEvent) -> Fill:
    trade = word.trade
    assert trade is not None
    return Fill(
        id=f"{order.symbol}#{trade.trade_id}",
        client_id=order.client_id,
        plan_id=order.plan_id,
        symbol=order.symbol,
        side=order.side,
        purpose=order.purpose,
        qty=trade.qty,
        price=trade.price,
        expected_price=float(trade.price),
        spread_bps=2.0,
        fee=float(trade.fee),
        maker=trade.maker,
        ts=word.ts,
        reason=order.reason,
    )


class LocalDesk:
    """What ``tests.core.sim.kit.Desk`` is, on a local exchange that sweeps through each bar."""

    def __init__(self, instruments: Any, equity: float) -> None:
        self.instruments = tuple(instruments)
        names = {item.symbol: item.symbol.split(":")[0].replace("/", "") for item in self.instruments}
        self.models = {names[i.symbol]: Liquidity(i.modelled_spread_bps, i.modelled_depth_usd) for i in self.instruments}
        self.house = House(*(listing(name) for name in names.values()), wallet=str(equity), price=None, liquidity=self.models)
        self.names = names
        self.broker = LocalBroker(self.house, names)
        self.ledger = Ledger(self.instruments, starting_equity=equity, scratch_r=0.15)
        self.log = Record(self.broker)
        self.manager = OrderManager(self.broker, self.ledger, self.instruments, self.log)
        self.events: list[BrokerEvent] = []
        self.now = T0

    def step(self, number: int, bars: Any = None, *, volume: Any = None, books: Any = (), **more: Any) -> None:
        """One bar after another: the open as a gap, the adverse extreme, the other one, the close."""
        told = {self.names[book.symbol]: Liquidity(book.spread_bps, book.depth_usd) for book in books}
        for index, prices in sorted(bars.items()):
            symbol = self.instruments[index].symbol
            name, traded = self.names[symbol], (volume or {}).get(index, 1.0)
            self.house.exchange.set_liquidity(name, told.get(name, self.models[name]))
            self._play(symbol, name, prices, traded)
        made = batch(number, bars, volume=volume)
        for block in made.bars:
            self.ledger.on_close(made.ts, block.close, block.high, block.low, block.idx)
        self.now = made.ts
        self.house.clock.set(max(self.house.clock.now_ms(), made.ts))

    def _play(self, symbol: str, name: str, prices: Any, traded: float) -> None:
        opened, high, low, close = prices
        self.broker.between = False
        self.broker.dry = set() if traded else {symbol}
        self._sweep(symbol, name, opened, traded, gap=True)
        self.broker.flush(symbol)
        self._react(symbol)
        extremes = (high, low) if self.house.exchange.position_sign(name) < 0 else (low, high)
        for price in (*extremes, close):
            self._sweep(symbol, name, price, traded)
        self.broker.between = True

    def _sweep(self, symbol: str, name: str, price: float, traded: float, *, gap: bool = False) -> None:
        tick = self.house.tick(repr(price), traded, symbol=name, gap=gap)
        arrived = False
        while not arrived:
            arrived = self.house.exchange.sweep(tick)
            self._react(symbol)

    def _react(self, symbol: str) -> None:
        while events := self.broker.drain():
            self.events.extend(events)
            run(self.manager.handle(events))
            self.broker.flush(symbol)
