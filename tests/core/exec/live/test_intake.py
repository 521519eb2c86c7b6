"""Words of the venue in any order, by any way, as often as they like."""

import pytest
from msgspec.structs import replace

from core.codes import RefusalCode as R
from core.exec.live.states import Row, State
from core.sim.server.faults import FaultKind as F
from core.types import ExitReason, FundingPayment, OrderPurpose, OrderStatus, OrderType
from core.types import OrderSide as Side
from core.venues.words import FundingSeen, OrderSeen, Standing, TradeSeen
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
STOP = "k0000000b-BTCUSDT-0123-s1"
S = Standing


def row(b: Bench, client_id=ENTRY, *states: State, **changes) -> Row:
    """An order on record that went through these states, and was never really sent."""
    made = Row.of(b.stop(client_id) if changes.get("is_algo") else b.order(client_id))
    for name, value in changes.items():
        setattr(made, name, value)
    b.broker._outbox.add(made, 1, must=True)
    for state in states:
        b.broker._outbox.move(made, state, 1)
    return made


def seen(client_id=ENTRY, standing=S.LIVE, filled="0", *, algo=False, venue_id="77", **more) -> OrderSeen:
    return OrderSeen(BTC, client_id, venue_id, algo, standing, Side.BUY, D("0.010"), D(filled), None, 5, **more)


def trade(number=1, qty="0.010", client_id=ENTRY, side=Side.BUY, venue_id="77", **more) -> TradeSeen:
    values = {"fee": D("0.25"), "fee_asset": "USDT", "maker": False, "ts": 9, **more}
    return TradeSeen(BTC, number, venue_id, client_id, side, D(qty), D(50_000), **values)


def story_of(story):
    """Runs with the parts that would look for themselves at rest, so that only what is heard counts."""

    async def quiet(b: Bench):
        await b.broker._desk.stop()
        await story(b, b.broker._intake)
        await b.hear()

    tell(quiet)


@pytest.mark.parametrize("words", ["tuo", "uto", "tou", "out", "uot", "otu"])
def test_reply_fill_and_end_may_come_in_any_order(words):
    async def story(b, intake):
        made = row(b, ENTRY)
        for word in words:
            {
                "t": lambda: intake.hear(trade()),
                "u": lambda: intake.hear(seen(standing=S.FILLED, filled="0.010")),
                "o": lambda: intake.hear(seen()),
            }[word]()
        await b.hear()
        assert made.state is State.DONE
        assert [type(event).__name__ for event in b.told] == ["Fill", "OrderUpdate"]
        assert b.updates(ENTRY) == [(OrderStatus.FILLED, None)]

    story_of(story)


def test_an_end_is_told_after_all_its_fills():
    async def story(b, intake):
        made = row(b, ENTRY)
        intake.hear(seen(standing=S.EXPIRED, filled="0.006"))
        intake.hear(trade(1, "0.004"))
        assert made.state is State.PARTIAL
        await b.hear()
        assert b.updates(ENTRY) == []
        intake.hear(trade(2, "0.002"))
        intake.hear(trade(2, "0.002"))
        await b.hear()
        assert b.updates(ENTRY) == [(OrderStatus.EXPIRED, R.ENTRY_NOT_FILLED)]
        assert (made.state, made.filled) == (State.DONE, D("0.006"))
        assert len(b.fills()) == 2

    story_of(story)


def test_what_was_meant_only_is_believed_when_the_venue_has_it():
    async def story(b, intake):
        heard, filled = row(b, "a"), row(b, "b")
        intake.hear(seen("a", venue_id="1"))
        intake.hear(trade(client_id="b", venue_id="2"))
        assert (heard.state, filled.state) == (State.ACK, State.DONE)

    story_of(story)


@pytest.mark.parametrize("states", [(State.REJECTED,), (State.THROTTLED,), (State.UNKNOWN, State.ABSENT)])
def test_an_order_that_comes_back_halts_its_symbol_and_the_books_hear_nothing_of_it(states):
    async def story(b, intake):
        made = row(b, ENTRY, *states, ended=True)
        intake.hear(seen())
        what = f"order {ENTRY} was {states[-1]}, but the exchange has it (live)"
        assert b.broker.halted[BTC] == f"{what}; look at both, then `brain accept`"
        intake.hear(trade())
        assert await b.hear() == []
        assert b.broker.position_qty(BTC) == D("0.010")
        assert b.broker._outbox.booked(BTC) == 0
        assert made.state is states[-1]

    story_of(story)


def test_a_conditional_order_ends_with_its_child():
    async def story(b, intake):
        row(b, ENTRY)
        intake.hear(trade())
        made = row(b, STOP, is_algo=True)
        for standing in (S.LIVE, S.TRIGGERING):
            intake.hear(seen(STOP, standing, algo=True, venue_id="900"))
        intake.hear(seen(STOP, S.LIVE, venue_id="901"))  # its child, at work
        assert (made.standing, made.child_id, made.venue_id) == (S.TRIGGERED, "901", "900")
        intake.hear(seen(STOP, S.FINISHED, algo=True, venue_id="900", child_id="901"))
        intake.hear(seen(STOP, S.TRIGGERING, algo=True, venue_id="900"))  # late
        assert made.standing is S.FINISHED
        intake.hear(trade(2, client_id="", side=Side.SELL, venue_id="901"))
        intake.hear(seen(STOP, S.FILLED, "0.010", venue_id="901"))
        assert made.state is State.DONE
        await b.hear()
        assert b.updates(STOP) == [(OrderStatus.FILLED, None)]

    story_of(story)


def test_an_order_that_stood_in_doubt_is_told_when_it_is_found():
    async def story(b, intake):
        made = row(b, STOP, State.UNKNOWN, is_algo=True)
        made.answer = b.broker._sender._rejection(made, R.VENUE_REJECTED, "")
        made.answer = replace(made.answer, status=OrderStatus.UNKNOWN)
        intake.hear(seen(STOP, algo=True))
        intake.hear(seen(STOP, algo=True))
        await b.hear()
        assert b.updates(STOP) == [(OrderStatus.NEW, None)]

    story_of(story)


def test_the_venues_own_orders_are_liquidations():
    async def story(b, intake):
        row(b, ENTRY)
        intake.hear(trade())
        intake.hear(seen("autoclose-5", venue_id="8"))  # no order of somebody's
        intake.hear(trade(2, "0.010", "autoclose-5", Side.SELL, "8", forced=True))
        intake.hear(trade(3, "0.010", "", Side.SELL, "9"))
        await b.hear()
        fill = b.fills()[1]
        assert (fill.client_id, fill.purpose, fill.reason) == ("autoclose-5", OrderPurpose.EXIT, ExitReason.LIQUIDATION)
        assert len(b.fills()) == 2  # there was nothing left to close for the last one
        assert [alert[1] for alert in b.alerts] == ["liquidation", "by_hand", "symbol_halted"]
        assert b.broker._outbox.rows["foreign-9"].type is OrderType.MARKET

    story_of(story)


@pytest.mark.parametrize(("maker", "fee"), [(False, 0.25), (True, 0.1)])
def test_a_fee_in_another_coin_is_told_in_money(maker, fee):
    """0.010 x 50000 at 5 or 2 bps."""

    async def story(b, intake):
        row(b, ENTRY)
        intake.hear(trade(fee=D("0.0004"), fee_asset="BNB", maker=maker))
        await b.hear()
        assert b.fills()[0].fee == pytest.approx(fee)

    story_of(story)


def test_a_message_that_cannot_be_read_is_told_and_ends_nothing():
    async def story(b: Bench):
        await b.enter()
        b.broker._account._on_raw({"e": "ORDER_TRADE_UPDATE", "o": {"s": "BTCUSDT"}})
        await b.hear(1.0)
        assert b.alerts == [("warning", "word_not_read", "KeyError: 'c'")]
        await b.broker.place(b.exit())
        await b.hear(0.5)
        assert b.broker.position_qty(BTC) == 0

    tell(story)


def test_words_of_no_kind_and_of_no_symbol_of_ours_are_passed_over():
    async def story(b, intake):
        intake.hear(object())
        intake.funding(FundingSeen("XRP/USDT:USDT", 5, "f1", D(1)))
        intake.rates[ETH, 5] = 0.0003
        intake.funding(FundingSeen(ETH, 5, "f2", D(1)))
        intake.funding(FundingSeen(ETH, 6, "f3", D(1)))
        await b.hear()
        assert b.told == [FundingPayment(ETH, 5, 0.0003, 50_000.0, D(0), 1.0), FundingPayment(ETH, 6, 0.0, 50_000.0, D(0), 1.0)]

    async def quiet(b: Bench):
        await b.broker._desk.stop()
        b.broker._desk.prices[ETH] = 50_000.0
        await story(b, b.broker._intake)

    tell(quiet)


def test_an_order_that_became_another_is_followed_by_the_audit():
    """Its own book says FINISHED, which may be filled or cancelled: the child is asked."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        b.inject(F.MISSING_EVENT, times=0)
        await b.market.play(b.market.trade("49400"), b.market.mark("49400"))
        await b.hear(0.5)
        b.inject(F.REJECT, method="GET", path="/fapi/v1/order", code=-2013)
        await b.broker.compare()
        await b.broker.compare()
        await b.hear(2.0)
        assert b.updates(STOP) == [(OrderStatus.FILLED, None)]
        assert b.held() == b.broker.position_qty(BTC) == 0

    tell(story)
