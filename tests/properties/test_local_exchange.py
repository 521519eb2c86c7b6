"""Rules of the local exchange over any session: the same fills as the simulated one, and books that add up."""

import contextlib
import json
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.sim.local.values import (
    AlgoType,
    Liquidity,
    MarginType,
    OrderEvent,
    OrderSide,
    TimeInForce,
    VenueError,
    WorkingType,
)
from core.types import Fill
from tests.core.sim.kit import Desk
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, LocalDesk, d
from tests.properties.sim_sessions import Session, desk, long_script, steps


class Alike(Session):
    """A session that leaves out what is known to differ (see the test below)."""

    def play(self, script) -> None:
        script = [tuple(step._replace(missing=0) for step in pair) for pair in script]
        for pair, after in zip(script, [*script[1:], script[-1]], strict=True):
            self.bar(pair)
            for symbol, step, coming in zip(self.last, pair, after, strict=True):
                if step.action >= 2 or not coming.gap or symbol not in self.desk.ledger.positions:
                    self.decide(symbol, step)
            self.desk.cuts.append(len(self.desk.events))


def _moved(step):
    """Bars without volume have a range here."""

    def play(number, bars, *, volume, **more):
        volume = {index: traded for index, traded in volume.items() if index in bars and bars[index][1] > bars[index][2]}
        return step(number, bars, volume=volume, **{name: value for name, value in more.items() if name != "funding"})

    return play


def _fills(on):
    """Each fill of each bar, the fee last."""
    bars, start = [], 0
    for cut in on.cuts:
        fills = [event for event in on.events[start:cut] if isinstance(event, Fill)]
        bars.append(sorted((f.symbol, f.side, f.price, f.qty, f.maker, f.fee) for f in fills))
        start = cut
    return bars


@settings(max_examples=150, deadline=None)
@given(steps(40))
def test_the_same_bars_and_orders_give_the_fills_of_the_simulated_exchange(script):
    """Requirement 5 of paper: both paths fill alike (price, quantity, fee) under the same latency.

    Left out is what differs by design: a bar that never comes, an add that waits while its stop is gapped through (the
    simulated exchange lets what waits trade first), and bars without trades and without range.
    """
    there: Desk = desk()
    here = LocalDesk(there.instruments, there.equity)
    for on in (there, here):
        on.cuts, on.step = [], _moved(on.step)
        Alike(on).play(script)
    for mine, theirs in zip(_fills(here), _fills(there), strict=True):
        assert [fill[:-1] for fill in mine] == [fill[:-1] for fill in theirs]
        assert [fill[-1] for fill in mine] == pytest.approx([fill[-1] for fill in theirs], abs=1e-8)
    assert here.ledger.wallet == pytest.approx(there.ledger.wallet, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_long_sessions_fill_alike_too(seed):
    """The same over hundreds of bars, where adds, joint stops and exits pile up."""
    there: Desk = desk()
    here = LocalDesk(there.instruments, there.equity)
    for on in (there, here):
        on.cuts, on.step = [], _moved(on.step)
        Alike(on).play(long_script(seed, 300))
    assert [[fill[:-1] for fill in bar] for bar in _fills(here)] == [[fill[:-1] for fill in bar] for bar in _fills(there)]


# --- any session at all: requests of all kinds, real and modelled books, marks, funding, transfers -----------


class Deed(NamedTuple):
    """One thing that happens; what the numbers mean depends on ``kind``."""

    kind: int
    symbol: int
    side: int
    price: int
    size: int
    form: int
    flags: int


DEEDS = st.lists(
    st.builds(
        Deed,
        kind=st.integers(0, 19),
        symbol=st.integers(0, 1),
        side=st.integers(0, 1),
        price=st.integers(-80, 80),
        size=st.integers(1, 40),
        form=st.integers(0, 4),
        flags=st.integers(0, 15),
    ),
    max_size=60,
)
TIFS = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTX, TimeInForce.GTC)
MODES = ("EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "NONE")


class Trader:
    """Does deeds at an exchange; whatever the venue refuses is skipped."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.number = 0

    def do(self, deed: Deed) -> None:
        self.number += 1
        self.house.later(1_000)
        symbol, side = (BTC, ETH)[deed.symbol], (BUY, SELL)[deed.side]
        last = self.house.exchange.last_price(symbol)
        price = max(d("0.01"), last + last * deed.price / 1000).quantize(d("0.01"))
        with contextlib.suppress(VenueError):
            self._do(deed, symbol, side, price, d(deed.size) / 4)

    def _do(self, deed: Deed, symbol: str, side: OrderSide, price: Decimal, qty: Decimal) -> None:
        if deed.kind < 7:
            self._send(deed, symbol, side, price, qty)
        elif deed.kind < 10:
            self._change(deed, symbol, price, qty)
        elif deed.kind < 18:
            self._market(deed, symbol, side, price, qty)
        else:
            self._set(deed, symbol)

    def _send(self, deed: Deed, symbol: str, side: OrderSide, price: Decimal, qty: Decimal) -> None:
        ids = {"client_id": f"c{deed.size % 5}" if deed.flags & 2 else ""}
        more = {
            "symbol": symbol,
            "reduce_only": bool(deed.flags & 1),
            "self_trade_prevention": MODES[deed.flags // 4],
            **ids,
        }
        if deed.kind < 2:
            self.house.market(side, qty, **more)
        elif deed.kind < 5:
            self.house.limit(side, qty, price, TIFS[deed.form], **more)
        else:
            self._algo(deed, symbol, side, price, qty, ids)

    def _change(self, deed: Deed, symbol: str, price: Decimal, qty: Decimal) -> None:
        exchange = self.house.exchange
        if deed.kind == 7:
            for state in exchange.open_orders(symbol)[:1]:
                exchange.amend(symbol, state.side, qty, price, order_id=state.order_id)
        elif deed.kind == 8:
            for state in exchange.open_orders(symbol)[-1:]:
                exchange.cancel(symbol, order_id=state.order_id)
        else:
            for algo in exchange.open_algos(symbol)[:1]:
                exchange.cancel_algo(algo_id=algo.algo_id)

    def _market(self, deed: Deed, symbol: str, side: OrderSide, price: Decimal, qty: Decimal) -> None:
        if deed.kind < 13:
            self.house.sweep(price, deed.flags % 4, symbol, gap=deed.form == 0)
        elif deed.kind < 15:
            self.house.print(price, qty, side, symbol)
        elif deed.kind == 15:
            self.house.mark(price, symbol)
        elif deed.kind == 16:
            self._book(deed, symbol, price)
        else:
            self.house.fund(d(deed.price) / 10_000, price, symbol)

    def _algo(self, deed: Deed, symbol: str, side: OrderSide, price: Decimal, qty: Decimal, ids: dict) -> None:
        kind, working = tuple(AlgoType)[deed.form], tuple(WorkingType)[deed.flags // 8]
        limit = price if deed.form in (0, 2) else None
        if deed.flags & 4:
            self.house.algo(side, kind, None, price, symbol=symbol, working_type=working, close_position=True)
        elif kind is AlgoType.TRAILING_STOP_MARKET:
            self.house.algo(side, kind, qty, symbol=symbol, callback_rate=d(1), reduce_only=True, working_type=working)
        else:
            more = {"symbol": symbol, "reduce_only": bool(deed.flags & 1), "working_type": working}
            self.house.algo(side, kind, qty, price, limit, **more, **ids)

    def _book(self, deed: Deed, symbol: str, price: Decimal) -> None:
        far = price * d("0.001") * deed.form
        levels = [] if deed.flags == 0 else [d(deed.size) / 8, d(deed.flags)]
        bids = [(max(d("0.01"), price - far - n).quantize(d("0.01")), qty) for n, qty in enumerate(levels)]
        asks = [((price + far + n + d("0.01")).quantize(d("0.01")), qty) for n, qty in enumerate(levels)]
        self.house.book(bids, asks, symbol)

    def _set(self, deed: Deed, symbol: str) -> None:
        exchange = self.house.exchange
        if deed.kind == 18:
            exchange.set_leverage(symbol, deed.size)
        elif deed.form == 0:
            exchange.cancel_all(symbol)
        elif deed.form == 1:
            exchange.cancel_all_algos(symbol)
        elif deed.form == 2:
            exchange.transfer(d(deed.price))
        elif deed.form == 3:
            exchange.set_margin_type(symbol, tuple(MarginType)[deed.flags % 2])
        else:
            exchange.stall_triggers(deed.flags < 5)


class Books:
    """What must follow from the words that an exchange says, and from nothing else."""

    def __init__(self) -> None:
        self.positions = dict.fromkeys((BTC, ETH), d(0))
        self.over: set[int] = set()
        self.filled: dict[int, Decimal] = {}
        self.last_trade = 0

    def hear(self, word) -> None:
        if not isinstance(word, OrderEvent):
            return
        order, trade = word.order, word.trade
        assert order.order_id not in self.over
        if order.status.over:
            self.over.add(order.order_id)
        if trade is None:
            return
        assert trade.trade_id == self.last_trade + 1
        self.last_trade = trade.trade_id
        self.filled[order.order_id] = self.filled.get(order.order_id, d(0)) + trade.qty
        assert trade.qty > 0
        assert self.filled[order.order_id] == order.filled <= order.qty
        if order.type == "LIMIT":
            assert (trade.price - order.price) * order.side.sign <= 0
        before = self.positions[order.symbol]
        after = self.positions[order.symbol] = before + trade.qty * order.side.sign
        if order.reduce_only:
            assert abs(after) < abs(before)
            assert after * before >= 0

    def check(self, house: House, start: Decimal) -> None:
        exchange = house.exchange
        for state in exchange.positions():
            assert state.qty == self.positions[state.symbol]
        trades = [trade for symbol in (BTC, ETH) for trade in exchange.trades(symbol, from_id=0, limit=10_000)]
        income = exchange.income(start=0, limit=10_000)
        moved = sum(row.amount for row in income if row.kind not in {"REALIZED_PNL", "COMMISSION"})
        assert house.wallet == start + sum(trade.realised - trade.fee for trade in trades) + moved
        assert house.wallet == start + sum(row.amount for row in income)
        ids = [order.client_id for order in exchange.open_orders() if order.algo_id is None]
        assert len(ids) == len(set(ids))
        for order in exchange.open_orders():
            assert not order.reduce_only or self.positions[order.symbol] * order.side.sign < 0


OPENS = {0, 1, 2, 3, 4, 7}


@settings(max_examples=150)
@given(DEEDS, st.sampled_from(["60", "2000"]))
def test_books_add_up_over_any_session(deeds, wallet):
    """Wallet = start + realised - fees + funding + transfers; position = fills; limits, quantities and margins hold."""
    house, books = House(wallet=wallet, liquidity={BTC: Liquidity(3.0, 5_000.0)}), Books()
    trader, engine = Trader(house), house.exchange._engine
    for deed in deeds:
        free = engine.margins().free
        trader.do(deed)
        for word in house.heard():
            books.hear(word)
        books.check(house, d(wallet))
        if deed.kind in OPENS and free >= 0 and not deed.flags & 1:
            assert engine.margins().free >= 0


@settings(max_examples=60)
@given(DEEDS, st.integers(0, 60))
def test_a_restored_exchange_has_the_same_future(deeds, cut):
    first = House(wallet="2000")
    trader = Trader(first)
    for deed in deeds[:cut]:
        trader.do(deed)
    second = first.twin()
    again = Trader(second)
    for deed in deeds[cut:]:
        trader.do(deed)
        again.do(deed)
    assert second.heard() == first.heard()
    assert json.dumps(second.exchange.snapshot()) == json.dumps(first.exchange.snapshot())
