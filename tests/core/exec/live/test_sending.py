"""Sending through the unmodified client to the local exchange, with everything that can go wrong on the way (F2)."""

import asyncio

import pytest

from core.codes import RefusalCode as R
from core.data.blocks import Book
from core.exec.live.settings import LiveOptions
from core.exec.live.states import State
from core.sim.server.faults import FaultKind as F
from core.types import ExitReason, Fill, OrderStatus, OrderUpdate
from tests.core.exec.live.kit import BTC, ETH, Bench, D, disk_full_after, tell
from tests.support.simulation.network import Fault, Kind, Way

NEW, UNKNOWN, REJECTED, FILLED, EXPIRED, CANCELED = (
    OrderStatus.NEW,
    OrderStatus.UNKNOWN,
    OrderStatus.REJECTED,
    OrderStatus.FILLED,
    OrderStatus.EXPIRED,
    OrderStatus.CANCELED,
)
ENTRY = "k0000000b-BTCUSDT-0123-e0"
STOP = "k0000000b-BTCUSDT-0123-s1"
EXIT = "k0000000b-BTCUSDT-0123-x2"
PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


def test_an_entry_is_filled_told_and_covered():
    async def story(b: Bench):
        update = await b.broker.place(b.order())
        assert (update.status, update.client_id, update.ts) == (NEW, ENTRY, b.broker._outbox.rows[ENTRY].ts)
        fill, end = await b.hear(0.5)
        assert isinstance(fill, Fill)
        assert (fill.client_id, fill.plan_id, fill.qty, fill.price) == (ENTRY, "plan", D("0.010"), D("50005.1"))
        assert fill.fee == pytest.approx(0.010 * 50_005.1 * 0.0005)
        assert (fill.expected_price, fill.spread_bps, fill.maker) == (50_005.1, 1.0, False)
        assert (end.status, end.filled, end.code) == (FILLED, D("0.010"), None)
        assert b.held() == b.broker.position_qty(BTC) == D("0.010")
        (stop,) = b.algos()
        assert stop.close_position
        assert stop.working_type == "MARK_PRICE"
        assert [order.client_id for order in b.broker.open_orders(BTC)] == ["k0000000b-BTCUSDT-0123-c0"]

    tell(story)


def test_an_entry_beyond_its_cap_expires():
    async def story(b: Bench):
        assert (await b.broker.place(b.order(price="49000.0"))).status is NEW
        (end,) = await b.hear(0.3)
        assert (end.status, end.code, end.filled) == (EXPIRED, R.ENTRY_NOT_FILLED, 0)
        assert b.rows() == {ENTRY: State.DONE}

    tell(story)


def test_an_id_is_never_sent_twice_and_its_fate_is_told_again():
    async def story(b: Bench):
        first = await b.broker.place(b.order())
        assert await b.broker.place(b.order(qty="0.5")) == first
        await b.restart()
        assert await b.broker.place(b.order()) == first
        refused = await b.broker.place(b.order("other", qty="0.0001"))
        assert await b.broker.place(b.order("other")) == refused
        assert b.venue_ids() == [ENTRY]

    tell(story)


@pytest.mark.parametrize(
    ("state", "status"),
    [(State.SENT, UNKNOWN), (State.UNKNOWN, UNKNOWN), (State.ACK, NEW), (State.DONE, NEW), (State.ABSENT, REJECTED)],
)
def test_what_a_crash_left_unanswered_is_answered_by_what_became_of_it(state, status):
    async def story(b: Bench):
        await b.broker.place(b.order())
        row = b.broker._outbox.rows[ENTRY]
        row.answer, row.state = None, state
        assert (await b.broker.place(b.order())).status is status
        row.state = State.DONE

    tell(story)


# --- replies that cannot be believed --------------------------------------------------------------

DONE_UNSEEN = [
    (F.UNKNOWN, {"executed": True}),
    (F.HANG, {"executed": True}),
    (F.DROP_AFTER, {}),
    (F.TRUNCATED, {}),
    (F.HTML, {"executed": True}),
    (F.SLOW, {"delay_ms": 3_000}),
    (F.LATE, {"delay_ms": 2_500}),
    (F.QUEUED, {"delay_ms": 1_500}),
    (F.FOUND_LATE, {"delay_ms": 2_000}),
]
NOT_DONE = [
    (F.UNKNOWN, {}),
    (F.HANG, {}),
    (F.DROP_BEFORE, {}),
    (F.HTML, {}),
    (F.LATE, {"delay_ms": 4_000}),
    (F.QUEUED, {"delay_ms": 4_500}),
    (F.REJECT, {"code": -1007, "status": 503}),
    (F.REJECT, {"code": -1000}),
]


@pytest.mark.parametrize(("kind", "more"), DONE_UNSEEN, ids=str)
def test_an_entry_that_was_done_is_found_once(kind, more):
    async def story(b: Bench):
        b.inject(kind, method="POST", path=PLAIN, **more)
        assert (await b.broker.place(b.order())).status in {NEW, UNKNOWN}
        await b.hear(8.0)
        assert [fill.qty for fill in b.fills()] == [D("0.010")]
        assert b.updates(ENTRY)[-1] == (FILLED, None)
        assert b.venue_ids() == [ENTRY]
        assert b.held() == b.broker.position_qty(BTC) == D("0.010")
        assert [algo.close_position for algo in b.algos()] == [True]
        assert b.alerts == []

    tell(story)


@pytest.mark.parametrize(("kind", "more"), NOT_DONE, ids=str)
def test_an_entry_that_was_not_done_is_absent_after_the_fence_and_not_sent_again(kind, more):
    async def story(b: Bench):
        b.inject(kind, method="POST", path=PLAIN, **more)
        begun = b.world.loop.time()
        assert (await b.broker.place(b.order())).status is UNKNOWN
        assert b.world.loop.time() - begun < 1.5  # nobody else waits for it
        await b.until(lambda: b.rows()[ENTRY] is State.ABSENT)
        assert b.world.loop.time() - begun > 4.5  # receive window and margin
        await b.hear()
        assert b.updates(ENTRY) == [(REJECTED, R.ORDER_ABSENT)]
        assert b.venue_ids() == []

    tell(story)


@pytest.mark.parametrize(("kind", "more"), [*DONE_UNSEEN, *NOT_DONE], ids=str)
def test_an_exit_closes_the_position_once_whatever_happens_to_its_reply(kind, more):
    async def story(b: Bench):
        await b.enter()
        b.inject(kind, method="POST", path=PLAIN, **more)
        await b.broker.place(b.exit())
        await b.hear(14.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert [fill.qty for fill in b.fills() if fill.client_id == EXIT] == [D("0.010")]
        assert b.updates(EXIT)[-1] == (FILLED, None)
        assert b.algos() == []
        assert len(b.venue_ids()) == 2

    tell(story)


@pytest.mark.parametrize(("kind", "more"), [*DONE_UNSEEN, *NOT_DONE], ids=str)
def test_the_last_stop_stands_whatever_happens_to_its_reply(kind, more):
    """No position is naked for longer than two seconds of the exchange's time."""

    async def story(b: Bench):
        b.inject(kind, method="POST", path=ALGO, **more)
        await b.broker.place(b.order())
        naked_s = 0.0
        for _ in range(240):
            await b.hear(0.05)
            naked_s = naked_s + 0.05 if b.held() and not b.algos() else 0.0
            assert naked_s <= 2.0
        assert b.held() == D("0.010")
        assert [algo.close_position for algo in b.algos()].count(True) == 1

    tell(story)


@pytest.mark.parametrize(("kind", "more"), [(F.UNKNOWN, {"executed": True}), (F.UNKNOWN, {}), (F.QUEUED, {"delay_ms": 1_500})])
def test_a_working_stop_in_doubt_is_told_of_later(kind, more):
    async def story(b: Bench):
        await b.enter()
        b.inject(kind, method="POST", path=ALGO, **more)
        update = await b.broker.place(b.stop())
        await b.hear(10.0)
        told = b.updates(STOP)
        if more == {"executed": True}:
            assert (update.status, told) == (NEW, [])
        elif not more:
            assert (update.status, told) == (UNKNOWN, [(REJECTED, R.ORDER_ABSENT)])
        else:
            assert (update.status, told) == (UNKNOWN, [(NEW, None)])

    tell(story)


def test_look_ups_that_are_not_answered_prove_nothing_and_after_a_while_a_person_is_called():
    async def story(b: Bench):
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN)
        b.inject(F.UNKNOWN, method="GET", path=PLAIN, times=0)
        await b.broker.place(b.order())
        await b.hear(12.0)
        assert b.rows() == {ENTRY: State.UNKNOWN}
        why = f"nobody can tell what became of order {ENTRY}; it is looked for until that is known"
        assert b.broker.halted == {BTC: why}
        assert [alert[:2] for alert in b.alerts] == [("page", "symbol_halted")]
        refused = await b.broker.place(b.order("k0000000b-BTCUSDT-9999-e0"))
        assert refused.code is R.SYMBOL_HALTED
        b.market.server.clear_faults()
        await b.until(lambda: b.rows()[ENTRY] is State.ABSENT)
        assert b.broker.halted == {}  # that very reason is settled

    tell(story, options=LiveOptions(unknown_cap_s=10.0))


def test_a_second_witness_that_is_silent_or_disagrees_keeps_the_order_in_doubt():
    async def story(b: Bench):
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN)
        b.inject(F.UNKNOWN, method="GET", path="/fapi/v3/positionRisk", times=0)
        await b.broker.place(b.order())
        await b.hear(10.0)
        assert b.rows() == {ENTRY: State.UNKNOWN}
        b.market.server.clear_faults()
        await b.until(lambda: b.rows()[ENTRY] is State.ABSENT)

    tell(story)


def test_a_throttled_look_up_waits_as_long_as_the_venue_wants():
    async def story(b: Bench):
        b.inject(F.DROP_AFTER, method="POST", path=PLAIN)
        b.inject(F.THROTTLE, method="GET", path=PLAIN)
        b.inject(F.MISSING_EVENT, times=0)
        await b.broker.place(b.order())
        await b.hear(70.0)
        assert b.rows()[ENTRY] is State.DONE
        assert b.held() == b.broker.position_qty(BTC) == D("0.010")

    tell(story)


def test_an_entry_in_doubt_is_named_and_once_found_it_is_held_under_a_stop():
    """F6: whoever ends asks for all that stays: what is held, whether a stop covers it, and what nobody knows yet."""

    async def story(b: Bench):
        b.inject(F.DROP_AFTER, method="POST", path=PLAIN)
        b.inject(F.MISSING_EVENT)
        placing = asyncio.ensure_future(b.broker.place(b.order()))
        while not b.broker.in_doubt:  # noqa: ASYNC110 - it is written down before it is sent
            await asyncio.sleep(0.001)
        assert [order.client_id for order in b.broker.in_doubt] == [ENTRY]
        assert (b.broker.held, b.broker.covered(BTC)) == ({}, False)
        await placing
        await b.hear(70.0)
        assert (b.broker.in_doubt, b.broker.held, b.broker.covered(BTC)) == ((), {BTC: D("0.010")}, True)

    tell(story)


# --- what the venue refuses -----------------------------------------------------------------------


def test_an_entry_that_is_throttled_is_given_up_and_an_exit_is_tried_again():
    async def story(b: Bench):
        b.inject(F.THROTTLE, method="POST", path=PLAIN)
        assert (await b.broker.place(b.order("first"))).code is R.VENUE_THROTTLED
        await b.hear(6.0)
        await b.enter()
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-1008, status=503, times=3)
        assert (await b.broker.place(b.exit())).status is UNKNOWN
        await b.hear(5.0)
        assert [status for status, _ in b.updates(EXIT)] == [NEW, FILLED]
        assert [(k, v) for k, v in b.rows().items() if k.startswith(EXIT)] == [
            (EXIT, State.THROTTLED),
            (f"{EXIT}.1", State.THROTTLED),
            (f"{EXIT}.2", State.THROTTLED),
            (f"{EXIT}.3", State.DONE),
        ]
        assert {fill.client_id for fill in b.fills()} == {ENTRY, EXIT}
        assert b.held() == 0

    tell(story)


def test_an_exit_that_is_never_taken_is_given_up_after_so_many_attempts():
    async def story(b: Bench):
        await b.enter()
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-1015, times=0)
        assert (await b.broker.place(b.exit())).status is UNKNOWN
        await b.hear(5.0)
        assert b.updates(EXIT) == [(REJECTED, R.VENUE_THROTTLED)]

    tell(story, options=LiveOptions(retries=2))


def test_an_exit_is_not_tried_again_once_the_position_is_gone():
    async def story(b: Bench):
        await b.enter()
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-1008)
        assert (await b.broker.place(b.exit())).status is UNKNOWN
        assert (await b.broker.place(b.exit("k0000000b-BTCUSDT-0123-x3"))).status is NEW
        await b.hear(3.0)
        assert b.updates(EXIT) == [(REJECTED, R.REDUCE_ONLY_REJECTED)]

    tell(story)


@pytest.mark.parametrize("code", [-1021, -5028])
def test_a_refusal_for_the_time_sets_the_clock_and_sends_the_exit_again(code):
    async def story(b: Bench):
        await b.enter()
        b.inject(F.REJECT, method="POST", path=PLAIN, code=code)
        assert (await b.broker.place(b.exit())).status is UNKNOWN
        await b.hear(3.0)
        assert b.updates(EXIT)[-1] == (FILLED, None)

    tell(story)


def test_a_clock_that_cannot_be_read_is_told():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-1021)
        b.inject(F.UNKNOWN, path="/fapi/v1/time")
        assert (await b.broker.place(b.order())).code is R.VENUE_REJECTED
        await b.hear(1.0)
        assert b.alerts == [("warning", "clock", "the exchange's clock was not read: ExchangeNotAvailable")]

    tell(story)


def test_keys_that_are_refused_halt_the_account():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-2015, status=401, message="Invalid API-key, IP, or permissions")
        assert (await b.broker.place(b.order())).code is R.VENUE_REJECTED
        assert b.broker.halted == {"": "the exchange refused the account: -2015 Invalid API-key, IP, or permissions"}
        assert (await b.broker.place(b.order("another"))).code is R.SYMBOL_HALTED

    tell(story)


def test_nothing_to_reduce_makes_the_position_be_read_again():
    async def story(b: Bench):
        update = await b.broker.place(b.exit())
        assert (update.status, update.code) == (REJECTED, R.REDUCE_ONLY_REJECTED)
        await b.enter()
        assert (await b.broker.place(b.stop(price="50100.0"))).code is R.STOP_WOULD_TRIGGER

    tell(story)


def test_an_id_that_the_venue_has_already_is_looked_up():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-4116)
        assert (await b.broker.place(b.order())).status is UNKNOWN
        await b.hear(6.0)
        assert b.updates(ENTRY) == [(REJECTED, R.ORDER_ABSENT)]

    tell(story)


# --- what is refused before it is sent ------------------------------------------------------------


def test_what_is_stale_unfit_or_too_dear_is_not_sent():
    async def story(b: Bench):
        assert (await b.broker.place(b.order("a", age_ms=31_000))).code is R.SIGNAL_EXPIRED
        assert (await b.broker.place(b.order("b", qty="0.0105"))).code is R.FILTER_REJECTED
        b.books[BTC] = Book(BTC, 0, 49_900.0, 50_100.0, 1e6, False)
        assert (await b.broker.place(b.order("c"))).code is R.SPREAD_WIDE
        assert b.venue_ids() == []
        assert set(b.rows().values()) == {State.REJECTED}
        b.books[BTC] = Book(BTC, 0, 49_995.0, 50_005.0, 1e6, False)
        await b.broker.place(b.order("d"))
        fill, _ = await b.hear(0.3)
        assert (fill.expected_price, fill.spread_bps) == (50_000.0, pytest.approx(2.0))

    tell(story)


def test_a_full_disk_stops_entries_and_lets_exits_go_on():
    """X12: exits are never blocked."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        b.broker._outbox._db.execute("PRAGMA query_only=ON")
        assert (await b.broker.place(b.order("entry2"))).code is R.JOURNAL_LOST
        assert "entry2" not in b.rows()
        assert (await b.broker.place(b.exit())).status is NEW
        await b.hear(0.5)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert b.broker.failure is not None
        assert (await b.broker.place(b.order("entry3"))).code is R.JOURNAL_LOST
        b.broker._outbox._db.execute("PRAGMA query_only=OFF")
        await b.restart()
        assert b.rows()[EXIT] is State.DONE or b.recovery.agreed

    tell(story)


# --- slices ---------------------------------------------------------------------------------------


def test_slices_of_an_entry_that_has_grown_old_are_not_sent():
    """X31: what was decided half a minute ago is not opened now, whatever kept the first slice in doubt."""

    async def story(b: Bench):
        b.inject(F.DROP_AFTER, method="POST", path=PLAIN)
        b.inject(F.MISSING_EVENT, times=0)
        b.inject(F.UNKNOWN, method="GET", path=PLAIN, times=0)
        b.inject(F.UNKNOWN, method="GET", path="/fapi/v1/userTrades", times=0)
        await b.broker.place(b.order())
        await b.hear(6.0)
        b.market.server.clear_faults()
        await b.until(lambda: b.rows()[f"{ENTRY}.0"] is State.DONE)
        await b.hear(2.0)
        assert b.venue_ids() == [f"{ENTRY}.0"]
        assert b.updates(ENTRY)[-1] == (OrderStatus.EXPIRED, R.ENTRY_NOT_FILLED)

    tell(story, options=LiveOptions(slices=3, entry_valid_ms=5_000))


def test_an_entry_in_slices_is_told_of_as_one():
    async def story(b: Bench):
        assert (await b.broker.place(b.order())).status is NEW
        assert await b.broker.place(b.order()) == b.broker._outbox.rows[f"{ENTRY}.0"].answer
        await b.hear(1.0)
        assert b.venue_ids() == [f"{ENTRY}.0", f"{ENTRY}.1", f"{ENTRY}.2"]
        assert [fill.qty for fill in b.fills()] == [D("0.003"), D("0.003"), D("0.004")]
        assert {fill.client_id for fill in b.fills()} == {ENTRY}
        assert b.updates(ENTRY) == [(FILLED, None)]

    tell(story, options=LiveOptions(slices=3))


def test_no_further_slice_follows_one_that_was_refused():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-2019, nth=2)
        await b.broker.place(b.order())
        await b.hear(1.0)
        assert b.venue_ids() == [f"{ENTRY}.0"]
        end = b.told[-1]
        assert isinstance(end, OrderUpdate)
        assert (end.status, end.filled) == (EXPIRED, D("0.003"))

    tell(story, options=LiveOptions(slices=3))


def test_a_slice_waits_for_the_fate_of_the_one_before_it():
    async def story(b: Bench):
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN)
        update = await b.broker.place(b.order())
        assert update.status is UNKNOWN
        await b.hear(10.0)
        assert b.rows() == {f"{ENTRY}.0": State.ABSENT}
        assert b.updates(ENTRY) == [(REJECTED, R.ORDER_ABSENT)]

    tell(story, options=LiveOptions(slices=2))


# --- cancelling -----------------------------------------------------------------------------------


def test_what_is_called_back_is_gone_and_answers_the_same_again():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take())
        await b.broker.place(b.stop())
        for order in (b.take(), b.stop()):
            update = await b.broker.cancel(BTC, order.client_id)
            assert (update.status, update.filled) == (OrderStatus.CANCELED, 0)
            assert await b.broker.cancel(BTC, order.client_id) == update
        assert [algo.close_position for algo in b.algos()] == [True]
        assert b.venue.open_orders("BTCUSDT") == ()
        assert (await b.broker.cancel(BTC, "never seen")).status is OrderStatus.CANCELED
        assert (await b.broker.cancel(BTC, ENTRY)).status is FILLED

    tell(story)


@pytest.mark.parametrize(
    ("kind", "more"),
    [(F.DROP_AFTER, {}), (F.DROP_BEFORE, {}), (F.UNKNOWN, {}), (F.HANG, {}), (F.THROTTLE, {}), (F.REJECT, {"code": -2011})],
)
def test_a_cancel_is_asked_for_until_it_is_answered(kind, more):
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take())
        b.inject(kind, method="DELETE", path=PLAIN, **more)
        update = await b.broker.cancel(BTC, b.take().client_id)
        assert update.status in {OrderStatus.CANCELED, NEW}
        await b.hear(40.0)
        assert b.updates(b.take().client_id)[-1:] in ([(OrderStatus.CANCELED, None)], [])
        assert b.rows()[b.take().client_id] is State.DONE
        assert b.venue.open_orders("BTCUSDT") == ()

    tell(story)


def test_what_is_in_doubt_is_called_back_once_it_is_known():
    async def story(b: Bench):
        await b.enter()
        b.inject(F.QUEUED, method="POST", path=PLAIN, delay_ms=2_900)
        assert (await b.broker.place(b.take())).status is UNKNOWN
        assert (await b.broker.cancel(BTC, b.take().client_id)).status is UNKNOWN
        await b.hear(10.0)
        assert b.venue.open_orders("BTCUSDT") == ()
        assert b.updates(b.take().client_id)[-1] == (OrderStatus.CANCELED, None)

    tell(story)


def test_what_never_was_cannot_be_called_back():
    async def story(b: Bench):
        await b.broker.place(b.order("a", qty="0.0001"))
        update = await b.broker.cancel(BTC, "a")
        assert (update.status, update.code) == (REJECTED, R.FILTER_REJECTED)

    tell(story)


# --- the stream -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [F.DUPLICATE_EVENT, F.REORDERED_EVENT, F.MISSING_EVENT])
def test_events_that_come_twice_out_of_order_or_never_change_nothing(kind):
    async def story(b: Bench):
        b.inject(kind, times=0, delay_ms=400)
        await b.broker.place(b.order())
        await b.hear(4.0)
        await b.broker.place(b.exit())
        await b.hear(4.0)
        assert [(fill.client_id, fill.qty) for fill in b.fills()] == [(ENTRY, D("0.010")), (EXIT, D("0.010"))]
        assert b.updates(ENTRY) == b.updates(EXIT) == [(FILLED, None)]
        assert b.held() == b.broker.position_qty(BTC) == 0

    tell(story)


def test_what_the_stream_did_not_tell_while_it_was_down_is_asked_for():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take(price="50500.0", qty="0.010"))
        b.world.network.add(Fault(Kind.REFUSE, "world", "fstream.binance.com"))
        b.inject(F.DISCONNECT, stream="private")
        await b.hear(1.0)
        await b.market.play(b.market.trade("50600"))
        assert b.held() == 0
        b.world.network.heal()
        await b.until(lambda: b.broker.position_qty(BTC) == 0, 20.0)
        await b.hear()
        assert b.fills()[-1].reason is ExitReason.TAKE
        assert b.fills()[-1].maker

    tell(story)


def test_a_black_hole_in_the_middle_of_an_exit_is_survived():
    async def story(b: Bench):
        await b.enter()
        hole = b.world.network.add(Fault(Kind.BLACK_HOLE, "world", way=Way.BACK))
        await b.broker.place(b.exit())
        await b.hear(6.0)
        b.world.network.heal(hole)
        await b.hear(40.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert b.updates(EXIT)[-1] == (FILLED, None)
        assert len(b.venue_ids()) == 2

    tell(story)


# --- a second reading -----------------------------------------------------------------------------


async def banned(b: Bench) -> None:
    b.inject(F.BAN, method="GET", path="/fapi/v3/account")
    with pytest.raises(Exception, match="418"):
        await b.broker._account.balance()
    sent = b.broker._account._client.fetch2

    async def fetch2(path, api="public", method="GET", *more):
        assert method == "GET" or not b.broker._account.left_alone_s()
        return await sent(path, api, method, *more)

    b.broker._account._client.fetch2 = fetch2


def test_nothing_is_sent_while_the_venue_wants_to_be_left_alone():
    """Entries, stops and cancels of the books were (finding D8)."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        await banned(b)
        refused = await b.broker.place(b.order("k0000000c-ETHUSDT-0123-e0", symbol=ETH))
        assert (refused.status, refused.code) == (REJECTED, R.VENUE_THROTTLED)
        assert "wants to be left alone for" in refused.message
        assert (await b.broker.place(b.stop(f"{STOP}x", "49600.0"))).status is UNKNOWN
        assert (await b.broker.cancel(BTC, STOP)).status is NEW
        assert len(b.algos()) == 2
        await b.hear(6.0)
        assert {algo.client_id for algo in b.algos()} == {"k0000000b-BTCUSDT-0123-c0", f"{STOP}x"}
        assert b.broker.halted == {}

    tell(story)


def test_no_further_slice_is_sent_while_the_venue_wants_to_be_left_alone():
    async def story(b: Bench):
        b.inject(F.SLOW, method="POST", path=PLAIN, delay_ms=300)
        b.world.loop.call_later(0.1, b.broker._account._client.wiring.budget.close_for, 5.0)
        await b.broker.place(b.order())
        await b.hear(8.0)
        assert b.venue_ids() == [f"{ENTRY}.0"]
        assert b.updates(ENTRY) == [(EXPIRED, R.ENTRY_NOT_FILLED)]

    tell(story, options=LiveOptions(slices=3))


@pytest.mark.parametrize(("written", "held"), [(0, "0"), (1, "0.003"), (2, "0.006")])
def test_a_disk_that_is_full_between_two_slices_ends_the_entry_with_what_was_filled(written, held):
    """The end was never told, and the account halted until the next start (finding D9)."""

    async def story(b: Bench):
        disk_full_after(b, written)
        update = await b.broker.place(b.order())
        await b.hear(2.0)
        assert b.held() == D(held)
        assert (b.broker.halted, b.broker._intake.working) == ({}, {})
        if written:
            assert b.updates(ENTRY) == [(EXPIRED, R.ENTRY_NOT_FILLED)]
            assert b.told[-1].filled == D(held)
        else:
            assert (update.status, update.code, b.rows()) == (REJECTED, R.JOURNAL_LOST, {})

    tell(story, options=LiveOptions(slices=3))


@pytest.mark.parametrize("at_s", [0.0, 0.02])
def test_no_further_slice_follows_one_that_was_called_back(at_s):
    """Answered as cancelled, it went on to fill (finding D10)."""

    async def story(b: Bench):
        b.inject(F.SLOW, method="POST", path=PLAIN, nth=2, delay_ms=300)
        await b.broker.place(b.order())
        if at_s:
            await asyncio.sleep(at_s)
        assert (await b.broker.cancel(BTC, ENTRY)).status is CANCELED
        held = b.held()
        await b.hear(2.0)
        assert b.held() == held < D("0.010")
        assert b.updates(ENTRY) in ([(CANCELED, None)], [(EXPIRED, R.ENTRY_NOT_FILLED)])

    tell(story, options=LiveOptions(slices=3))


def test_what_was_called_back_is_not_tried_again():
    """A stop that was not taken, and is not wanted any more (finding D10)."""

    async def story(b: Bench):
        await b.enter()
        b.inject(F.REJECT, method="POST", path=ALGO, code=-1008)
        assert (await b.broker.place(b.stop())).status is UNKNOWN
        await b.broker.cancel(BTC, STOP)
        await b.hear(2.0)
        assert len(b.algos()) == 1
        assert b.updates(STOP) == [(REJECTED, R.VENUE_THROTTLED)]

    tell(story)
