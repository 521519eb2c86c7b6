"""Races that the world rarely plays, played by hand."""

from core.codes import RefusalCode as R
from core.exec.live.halts import HaltKind
from core.exec.live.settings import LiveOptions
from core.exec.live.states import Row, State
from core.sim.local.values import NewOrder, OrderSide, OrderType
from core.sim.local.values import TimeInForce as T
from core.sim.server.faults import FaultKind as F
from core.types import OrderStatus
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"


def meant(b: Bench, client_id=ENTRY) -> Row:
    """An order on record whose fate nobody knows."""
    row = Row.of(b.order(client_id))
    row.sent_ms = b.world.clocks.now_ms()
    b.broker._outbox.add(row, 1, must=True)
    b.broker._outbox.move(row, State.UNKNOWN, 1)
    return row


def bought(b: Bench, client_id: str, *, price: str | None = None, symbol="BTCUSDT") -> None:
    """Something happens at the venue of which the stream says nothing."""
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    b.venue.place(NewOrder(symbol, OrderSide.BUY, kind, D("0.010"), price and D(price), T.GTC, client_id=client_id))
    b.venue.drain_words()


def alone(story, **more) -> None:
    """Nothing looks for itself: only what the story asks for happens."""

    async def quiet(b: Bench):
        await b.broker._desk.stop()
        await story(b, b.broker)
        await b.broker._desk.stop()

    tell(quiet, **more)


def test_a_fill_or_a_resting_order_is_a_trace_though_no_look_up_finds_it():
    async def story(b, broker):
        bought(b, ENTRY)
        bought(b, "other", price="48000")
        row, resting = meant(b), meant(b, "resting")
        resolver = broker._recoverer._resolver
        assert not await resolver._no_trace(row)
        assert row.state is State.DONE
        bought(b, "resting", price="47000")
        assert not await resolver._no_trace(resting)
        assert resting.state is State.FOUND

    alone(story)


def test_while_a_fill_whose_order_is_not_named_may_be_its_own_nothing_is_absent():
    async def story(b, broker):
        bought(b, "a-persons")
        wanted = []
        broker._intake.on_doubt = wanted.append
        row = meant(b)
        b.inject(F.REJECT, method="GET", path="/fapi/v1/order", code=-2013, times=0)
        assert not await broker._recoverer._resolver._no_trace(row)
        assert wanted == [BTC]
        b.market.server.clear_faults()
        assert await broker._recoverer._resolver._no_trace(row)
        assert "a-persons" in b.rows()

    alone(story)


def test_fills_by_rest_find_their_order_by_the_venues_id():
    async def story(b, broker):
        bought(b, ENTRY)
        row = meant(b)
        await broker._audit.fetch_trades(BTC)
        assert (row.state, row.filled) == (State.DONE, D("0.010"))
        bought(b, "gone")
        b.inject(F.REJECT, method="GET", path="/fapi/v1/order", code=-2013, times=0)
        await broker._audit.fetch_trades(BTC)
        assert "foreign-2" in b.rows() or any(name.startswith("foreign-") for name in b.rows())
        await broker._audit.fetch_trades(ETH)  # nothing was ever sent there

    alone(story)


def test_one_symbol_is_compared_without_judging_the_others():
    async def story(b, broker):
        bought(b, "one")
        bought(b, "two", symbol="ETHUSDT")
        assert [difference.symbol for difference in await broker._audit.compare([ETH])] == [ETH]
        assert set(broker.halted) == {ETH}
        assert len(await broker._audit.compare([])) == 2
        await broker.accept(BTC, D("0.010"), "mine")
        assert await broker._audit.compare([BTC]) == ()
        assert set(broker.halted) == {ETH}
        assert broker._audit.actions == [f"{BTC} agrees again"]

    alone(story)


def test_an_order_that_ends_while_it_is_looked_for_is_not_missing():
    async def story(b, broker):
        bought(b, ENTRY)
        row = meant(b)
        await broker._audit.fetch_trades(BTC)
        await broker._audit._missing(row)
        assert row.state is State.DONE

    alone(story)


def test_the_venues_own_resting_orders_are_left_alone():
    async def story(b, broker):
        bought(b, "autoclose-9", price="40000")
        await broker._audit.compare([])
        assert broker.halted == {}

    alone(story)


def test_a_symbol_that_is_not_traded_here_is_not_guarded():
    async def story(b, broker):
        broker._guardian.changed("XRP/USDT:USDT")
        broker._guardian.look()
        assert b.rows() == {}

    alone(story)


def test_a_halt_between_two_slices_ends_the_entry_with_what_was_filled():
    async def story(b: Bench):
        b.inject(F.SLOW, method="POST", path="/fapi/v1/order", delay_ms=300)
        b.world.loop.call_later(0.2, b.broker._desk.halt, BTC, HaltKind.DOUBT, "looked for")
        assert (await b.broker.place(b.order())).status is OrderStatus.NEW
        await b.hear(1.0)
        assert b.venue_ids() == [f"{ENTRY}.0"]
        assert b.updates(ENTRY) == [(OrderStatus.EXPIRED, R.ENTRY_NOT_FILLED)]
        assert b.told[-1].filled == D("0.003")

    tell(story, options=LiveOptions(slices=3))


def test_a_slice_that_expired_before_the_last_one_filled_leaves_the_entry_expired():
    async def story(b: Bench):
        intake = b.broker._intake
        row = meant(b)
        row.told_qty = D("0.020")
        end = intake.ending(row, OrderStatus.FILLED, D("0.010"))
        assert (end.status, end.code, end.filled) == (OrderStatus.EXPIRED, R.ENTRY_NOT_FILLED, D("0.010"))
        b.broker._outbox.move(row, State.ABSENT, 1)

    tell(story)


def test_an_order_that_the_venue_neither_cancels_nor_knows_is_looked_into():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take())
        b.inject(F.REJECT, method="DELETE", path="/fapi/v1/order", code=-2011)
        b.inject(F.REJECT, method="GET", path="/fapi/v1/order", code=-2013)
        assert (await b.broker.cancel(BTC, b.take().client_id)).status is OrderStatus.CANCELED
        await b.hear(3.0)
        assert b.venue.open_orders("BTCUSDT") == ()

    tell(story)


def test_a_child_that_the_venue_does_not_know_yet_is_asked_for_again():
    async def story(b, broker):
        row = Row.of(b.stop())
        row.child_id, row.state = "5", State.ACK
        broker._outbox.add(row, 1, must=True)
        await broker._audit._child(row)
        assert row.state is State.ACK
        row.child_id = ""
        await broker._audit._child(row)

    alone(story)


def test_a_fill_that_nobody_names_keeps_an_order_in_doubt_whatever_the_positions_say():
    """One late answer about positions made it absent, though its fill was in the list (finding D7)."""

    async def story(b, broker):
        bought(b, ENTRY)
        row = meant(b)

        async def flat():
            return ()

        broker._account.positions = flat
        b.inject(F.REJECT, method="GET", path="/fapi/v1/order", code=-2013, times=0)
        assert not await broker._recoverer._resolver._no_trace(row)
        b.market.server.clear_faults()
        assert not await broker._recoverer._resolver._no_trace(row)
        assert row.state is State.DONE

    alone(story)
