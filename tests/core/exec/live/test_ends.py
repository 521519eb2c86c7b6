"""The end of every order is told once, whenever a life ended and however late a reply or a turn came (F2)."""

import asyncio

import pytest

from core.codes import RefusalCode as R
from core.data.blocks import Book
from core.exec.live.halts import HaltKind
from core.exec.live.settings import LiveOptions
from core.exec.live.states import State
from core.sim.server.faults import FaultKind as F
from core.types import OrderStatus
from tests.core.exec.live.kit import BTC, Bench, D, tell

NEW, UNKNOWN, REJECTED, FILLED, EXPIRED = (
    OrderStatus.NEW,
    OrderStatus.UNKNOWN,
    OrderStatus.REJECTED,
    OrderStatus.FILLED,
    OrderStatus.EXPIRED,
)
ENTRY = "k0000000b-BTCUSDT-0123-e0"
PLAIN = "/fapi/v1/order"
SLICED = LiveOptions(slices=2)
MAKING = LiveOptions(post_only=True, rest_s=1.0)
PATIENT = LiveOptions(entry_valid_ms=120_000)


# --- a life that ends between two parts of an order -------------------------------------------------


def dies_before_the_next(b: Bench, *, written: bool) -> None:
    """The process gets no further than to the second part."""
    sender, real = b.broker._sender, b.broker._sender.send

    async def send(row):
        if row.client_id == f"{ENTRY}.1":
            if written:
                sender._write_down(row)
            await asyncio.Event().wait()
        await real(row)

    sender.send = send


async def next_life(b: Bench) -> None:
    """Another process goes on where the books of the one before stand."""
    await b.hear()
    upto = b.broker.snapshot()
    await b.broker.stop()
    b.market.server.clear_faults()
    b.make()
    b.broker.restore(upto)
    assert (await b.broker.start()).agreed


async def goes_on(b: Bench) -> None:
    """The entry is decided and placed again, and after that another life begins."""
    await next_life(b)
    for _ in range(2):
        assert (await b.broker.place(b.order())).status is NEW
        await b.hear(1.0)
    await next_life(b)
    await b.hear(1.0)
    assert (b.broker.halted, b.broker._outbox.unresolved()) == ({}, ())


@pytest.mark.parametrize(("written", "code"), [(False, R.ENTRY_NOT_FILLED), (True, R.ORDER_ABSENT)])
@pytest.mark.parametrize("delay_ms", [0, 300])
def test_an_entry_of_which_a_slice_was_filled_ends_though_the_life_ends_before_the_next(written, code, delay_ms):
    """The slice was over before its reply: its answer was never on the disk, and the entry stayed pending for good."""

    async def story(b: Bench):
        if delay_ms:
            b.inject(F.SLOW, method="POST", path=PLAIN, delay_ms=delay_ms)
        dies_before_the_next(b, written=written)
        assert (await b.broker.place(b.order())).status is NEW
        await b.hear(0.2)
        assert (b.rows()[f"{ENTRY}.0"], b.updates(ENTRY)) == (State.DONE, [])
        await goes_on(b)
        assert b.updates(ENTRY) == [(EXPIRED, code)]
        assert sum(fill.qty for fill in b.fills()) == b.held() == D("0.005")

    tell(story, options=SLICED)


@pytest.mark.parametrize(
    ("options", "first", "status", "code", "held"),
    [
        (SLICED, f"{ENTRY}.0", EXPIRED, R.ENTRY_NOT_FILLED, "0.005"),
        (MAKING, ENTRY, FILLED, None, "0.010"),
        (LiveOptions(), ENTRY, FILLED, None, "0.010"),
    ],
)
def test_an_entry_that_was_filled_before_its_reply_ends_though_the_life_ends_before_it_is_answered(
    options, first, status, code, held
):
    async def story(b: Bench):
        b.books[BTC] = Book(BTC, 0, 49_990.0, 49_995.0, 1e6, False)
        b.inject(F.SLOW, method="POST", path=PLAIN, delay_ms=900)
        placing = asyncio.create_task(b.broker.place(b.order()))
        await asyncio.sleep(0.1)
        await b.market.play(b.market.trade("49980"))
        await b.until(lambda: b.rows().get(first) is State.DONE, 0.5)
        placing.cancel()
        await goes_on(b)
        assert b.updates(ENTRY) == [(status, code)]
        assert sum(fill.qty for fill in b.fills()) == b.held() == D(held)

    tell(story, options=options)


@pytest.mark.parametrize("written", [False, True])
def test_an_entry_that_rested_ends_though_the_life_ends_before_it_is_repriced(written):
    async def story(b: Bench):
        b.books[BTC] = Book(BTC, 0, 49_990.0, 49_995.0, 1e6, False)
        dies_before_the_next(b, written=written)
        assert (await b.broker.place(b.order())).status is NEW
        await b.hear(2.0)
        assert (b.rows()[ENTRY], b.updates(ENTRY)) == (State.DONE, [])
        await goes_on(b)
        assert [status for status, _ in b.updates(ENTRY)] == [REJECTED if written else EXPIRED]
        assert b.held() == 0

    tell(story, options=MAKING)


# --- replies and turns that come late ---------------------------------------------------------------


def test_a_refusal_that_comes_after_nobody_waited_for_it_is_told():
    """Answered that nobody knows, the books never heard, and the entry stayed pending until the next start."""

    async def story(b: Bench):
        real = b.broker._account.send

        async def send(ask):
            await asyncio.sleep(1.5)
            return await real(ask)

        b.broker._account.send = send
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-2019)
        assert (await b.broker.place(b.order())).status is UNKNOWN
        await b.hear(2.0)
        assert b.updates(ENTRY) == [(REJECTED, R.INSUFFICIENT_MARGIN)]

    tell(story)


def full_budget(b: Bench) -> None:
    """Nothing more can be asked of the venue for a minute."""
    budget = b.broker._account._client.wiring.budget
    room = budget.limit - budget._sum
    budget._spent.append((b.world.loop.time(), room))
    budget._sum += room


def test_an_entry_that_has_grown_old_while_it_waited_for_its_turn_is_not_sent():
    """X31: its age was looked at before it waited for the budget; it left and was filled after 58 s."""

    async def story(b: Bench):
        full_budget(b)
        assert (await b.broker.place(b.order())).status is UNKNOWN
        await b.hear(70.0)
        assert (b.venue_ids(), b.rows(), b.broker.halted) == ([], {ENTRY: State.REJECTED}, {})
        assert b.updates(ENTRY) == [(REJECTED, R.SIGNAL_EXPIRED)]

    tell(story)


def test_an_exit_and_a_stop_that_waited_as_long_are_sent():
    async def story(b: Bench):
        await b.enter()
        full_budget(b)
        assert (await b.broker.place(b.stop())).status is UNKNOWN
        assert (await b.broker.place(b.exit(qty="0.004"))).status is UNKNOWN
        await b.hear(70.0)
        assert b.held() == D("0.006")
        assert [algo.close_position for algo in b.algos()] == [True, False]

    tell(story)


@pytest.mark.parametrize(("what", "code"), [("halted", R.SYMBOL_HALTED), ("called_back", R.ENTRY_NOT_FILLED), ("in_time", None)])
def test_an_entry_leaves_only_where_it_is_still_wanted(what, code):
    async def story(b: Bench):
        full_budget(b)
        assert (await b.broker.place(b.order())).status is UNKNOWN
        if what == "halted":
            b.broker._desk.halt(BTC, HaltKind.POSITION, "they differ")
        elif what == "called_back":
            assert (await b.broker.cancel(BTC, ENTRY)).status is UNKNOWN
        await b.until(lambda: b.rows()[ENTRY].over, 70.0)
        await b.hear(1.0)
        assert b.updates(ENTRY)[-1] == ((REJECTED, code) if code else (FILLED, None))
        assert b.venue_ids() == ([] if code else [ENTRY])

    tell(story, options=PATIENT)


def test_an_entry_that_was_given_up_for_lost_before_it_left_is_not_sent():
    async def story(b: Bench):
        full_budget(b)
        await b.broker.place(b.order())
        row, outbox = b.broker._outbox.rows[ENTRY], b.broker._outbox
        outbox.move(row, State.UNKNOWN, 1)
        outbox.move(row, State.ABSENT, 1)
        await b.hear(70.0)
        assert (b.venue_ids(), b.broker.halted) == ([], {})

    tell(story, options=PATIENT)


def test_a_slice_that_is_looked_for_before_it_left_does_not_leave_any_more():
    """The further slices want to know what became of the first; it left while that was found out, and came after the verdict."""

    async def story(b: Bench):
        await asyncio.sleep(61.0)
        budget = b.broker._account._client.wiring.budget
        budget._spent.clear()
        budget._spent.append((b.world.loop.time() - 55.0, budget.limit))
        budget._sum = budget.limit
        b.inject(F.LATE, method="POST", path="/fapi/v1/order", delay_ms=2_500)
        await b.broker.place(b.order())
        await b.hear(30.0)
        assert b.rows() == {f"{ENTRY}.0": State.ABSENT}
        assert (b.held(), b.broker.halted) == (D(0), {})
        assert b.updates(ENTRY)[-1][0] is REJECTED

    tell(story, options=LiveOptions(leverage=3, slices=2))


def test_a_stop_that_was_given_up_for_lost_before_it_left_is_not_sent_and_one_that_leaves_late_is_looked_for_as_long():
    async def story(b: Bench):
        await b.enter()
        full_budget(b)
        given_up, late = b.stop(), b.stop(f"{ENTRY[:-2]}s2", price="49400.0")
        for stop in (given_up, late):
            await b.broker.place(stop)
        rows, outbox = b.broker._outbox.rows, b.broker._outbox
        written_ms = rows[late.client_id].sent_ms
        outbox.move(rows[given_up.client_id], State.UNKNOWN, 1)
        outbox.move(rows[given_up.client_id], State.ABSENT, 1)
        await b.hear(70.0)
        assert [algo.client_id for algo in b.algos() if not algo.close_position] == [late.client_id]
        assert rows[late.client_id].sent_ms > written_ms + 50_000
        assert b.broker.halted == {}

    tell(story)
