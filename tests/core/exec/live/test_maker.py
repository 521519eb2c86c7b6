"""Entries that rest first, are repriced a few times, and cross with what is left (F1)."""

import pytest

from core.codes import RefusalCode
from core.data.blocks import Book
from core.exec.live.halts import HaltKind
from core.exec.live.settings import LiveOptions
from core.exec.live.states import State
from core.sim.local.values import TimeInForce
from core.sim.server.faults import FaultKind as F
from core.types import OrderSide as Side
from core.types import OrderStatus
from tests.core.exec.live.kit import BTC, Bench, D, disk_full_after, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
PLAIN = "/fapi/v1/order"
MAKING = LiveOptions(post_only=True, reprices=2, rest_s=1.0)


def making(story, options=MAKING, bid=49_990.0, ask=49_995.0):
    async def with_book(b: Bench):
        b.books[BTC] = Book(BTC, 0, bid, ask, 1e6, False)
        await story(b)

    tell(with_book, options=options)


def test_an_entry_that_the_market_comes_to_pays_the_makers_fee():
    async def story(b: Bench):
        assert (await b.broker.place(b.order())).status is OrderStatus.NEW
        (resting,) = b.venue.open_orders("BTCUSDT")
        assert (resting.price, resting.time_in_force) == (D("49990"), TimeInForce.GTX)
        await b.market.play(b.market.trade("49980"))
        await b.hear(2.0)
        (fill,) = b.fills()
        assert (fill.maker, fill.price, fill.client_id) == (True, D("49990"), ENTRY)
        assert b.updates(ENTRY) == [(OrderStatus.FILLED, None)]
        assert b.venue_ids() == [ENTRY]

    making(story)


@pytest.mark.parametrize(("side", "cap", "rests"), [(Side.BUY, "50025.0", "49990"), (Side.SELL, "49975.0", "50010")])
def test_what_nobody_comes_to_is_repriced_and_crosses_in_the_end(side, cap, rests):
    async def story(b: Bench):
        await b.broker.place(b.order(side=side, price=cap))
        await b.hear(6.0)
        orders = b.venue.all_orders("BTCUSDT")
        assert [order.client_id for order in orders] == [ENTRY, f"{ENTRY}.1", f"{ENTRY}.2", f"{ENTRY}.3"]
        assert [order.price for order in orders] == [D(rests)] * 3 + [D(cap)]
        assert orders[-1].time_in_force is TimeInForce.IOC
        assert b.updates(ENTRY) == [(OrderStatus.FILLED, None)]
        assert sum(fill.qty for fill in b.fills()) == D("0.010")

    making(story, ask=50_010.0)


def test_a_refusal_for_crossing_is_routine():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-5022, times=2)
        assert (await b.broker.place(b.order())).status is OrderStatus.UNKNOWN
        await b.hear(0.5)
        assert b.rows() == {ENTRY: State.REJECTED, f"{ENTRY}.1": State.REJECTED, f"{ENTRY}.2": State.ACK}

    making(story)


def test_an_attempt_in_doubt_is_cleared_up_before_the_next():
    async def story(b: Bench):
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN)
        assert (await b.broker.place(b.order())).status is OrderStatus.UNKNOWN
        await b.until(lambda: f"{ENTRY}.1" in b.rows())
        assert b.rows()[ENTRY] is State.ABSENT
        await b.hear(6.0)
        assert b.updates(ENTRY)[-1] == (OrderStatus.FILLED, None)

    making(story)


def test_what_is_called_back_or_halted_is_not_tried_again():
    async def story(b: Bench):
        await b.broker.place(b.order())
        assert (await b.broker.cancel(BTC, ENTRY)).status is OrderStatus.CANCELED
        await b.hear(3.0)
        await b.broker.place(b.order("k0000000b-BTCUSDT-9999-e0"))
        b.broker._desk.halt(BTC, HaltKind.DOUBT, "looked for")
        await b.hear(3.0)
        assert len(b.venue_ids()) == 2
        assert b.held() == 0
        assert b.updates(ENTRY) in ([(OrderStatus.CANCELED, None)], [])
        assert b.updates("k0000000b-BTCUSDT-9999-e0")[-1][0] in {OrderStatus.CANCELED, OrderStatus.EXPIRED}

    making(story)


def test_a_refused_entry_a_stop_and_one_without_a_book_go_the_usual_way():
    async def story(b: Bench):
        assert (await b.broker.place(b.order("small", qty="0.0001"))).status is OrderStatus.REJECTED
        b.books.clear()
        await b.enter()
        assert b.held() == D("0.010")
        b.books[BTC] = Book(BTC, 0, 49_990.0, 49_995.0, 1e6, False)
        await b.broker.place(b.stop())
        await b.broker.place(b.exit())
        await b.hear(1.0)
        assert b.held() == 0

    making(story)


def test_an_entry_that_cannot_be_written_down_is_not_gone_on_with():
    async def story(b: Bench):
        b.broker._outbox._db.execute("PRAGMA query_only=ON")
        await b.broker.place(b.order())
        await b.hear(2.0)
        assert b.rows() == {}
        b.broker._outbox._db.execute("PRAGMA query_only=OFF")

    making(story)


def test_each_attempt_rests_at_the_price_of_the_present_book():
    """The book of the last bar stood still, and every attempt went to the same price (finding B13)."""

    async def story(b: Bench):
        await b.broker.place(b.order())
        await b.hear(0.5)
        b.books[BTC] = Book(BTC, 0, 49_980.0, 49_985.0, 1e6, False)
        await b.hear(1.0)
        b.books[BTC] = Book(BTC, 0, 49_970.0, 49_975.0, 1e6, False)
        await b.hear(1.2)
        assert [order.price for order in b.venue.all_orders("BTCUSDT")][:3] == [D("49990"), D("49980"), D("49970")]

    making(story)


@pytest.mark.parametrize("written", [0, 1])
def test_a_disk_that_is_full_ends_an_entry_with_what_was_written_down(written):
    """The end was never told, and the account halted until the next start (finding D9)."""

    async def story(b: Bench):
        disk_full_after(b, written)
        update = await b.broker.place(b.order())
        await b.hear(3.0)
        assert (b.broker.halted, b.broker._intake.working) == ({}, {})
        assert b.venue.open_orders("BTCUSDT") == ()
        if written:
            assert b.updates(ENTRY) == [(OrderStatus.EXPIRED, RefusalCode.ENTRY_NOT_FILLED)]
        else:
            assert (update.status, b.rows()) == (OrderStatus.REJECTED, {})

    making(story)


def test_an_attempt_that_is_over_is_not_followed_by_one_after_the_entry_was_called_back():
    """Called back before the end of the last attempt was noticed (finding D10)."""

    async def story(b: Bench):
        await b.broker.place(b.order())
        (resting,) = b.venue.open_orders("BTCUSDT")
        b.venue.cancel("BTCUSDT", client_id=resting.client_id)
        await b.until(lambda: b.rows()[ENTRY] is State.DONE)
        assert (await b.broker.cancel(BTC, ENTRY)).status is OrderStatus.CANCELED
        await b.hear(6.0)
        assert b.venue_ids() == [ENTRY]

    making(story)


def test_an_entry_that_has_become_too_old_is_not_tried_again():
    """The signal is not so good any more; what would leave after that is not even written down."""

    async def story(b: Bench):
        begun, sent = b.world.loop.time(), []
        real = b.broker._sender.send

        async def send(row):
            sent.append((row.client_id, b.world.loop.time() - begun))
            return await real(row)

        b.broker._sender.send = send
        await b.broker.place(b.order())
        await b.hear(8.0)
        assert b.venue_ids() == [ENTRY, f"{ENTRY}.1"] == list(b.rows())
        assert all(when_s <= 1.5 for _, when_s in sent)
        assert b.updates(ENTRY) == [(OrderStatus.EXPIRED, RefusalCode.ENTRY_NOT_FILLED)]

    making(story, options=LiveOptions(post_only=True, reprices=2, rest_s=1.0, entry_valid_ms=1_500))
