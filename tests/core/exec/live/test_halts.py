"""Why nothing is opened: each reason is lifted by what settles it, and by no restart (F6, issue 4 points 3 and 4)."""

import asyncio

import pytest

from core.codes import RefusalCode as R
from core.data.blocks import Book
from core.errors import StateError
from core.exec.live.halts import Halt, HaltKind, remedy
from core.exec.live.settings import LiveOptions
from core.sim.local.values import NewOrder, OrderSide, OrderType
from core.sim.server.faults import FaultKind as F
from core.types import ExitReason, OrderPurpose, OrderStatus
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
NEXT = "k0000000b-BTCUSDT-9999-e0"
PLAIN = "/fapi/v1/order"


def by_hand(b: Bench, side: OrderSide, qty: str, name: str = "hand", symbol: str = "BTCUSDT") -> None:
    b.venue.place(NewOrder(symbol, side, OrderType.MARKET, D(qty), client_id=name))
    b.market.server._settle(changed=True)


def kinds(b: Bench) -> list[tuple[str, str]]:
    return [(halt.symbol, halt.kind.value) for halt in b.broker.halts]


async def until_it_differs(b: Bench, symbol: str) -> None:
    b.broker._audit.want("")
    await b.until(lambda: (symbol, "position") in kinds(b), 60.0)


@pytest.mark.parametrize(
    ("there", "record", "said"),
    [
        ("0", "0.01", "it is flat there, so nothing can be traded that makes up for it: `brain accept` takes that over"),
        ("0.03", "0.01", "sell 0.02 X reduce-only at the exchange, or `brain accept` takes it over under a stop"),
        ("-0.03", "0", "buy 0.03 X reduce-only at the exchange, or `brain accept` takes it over under a stop"),
        ("0.01", "0.03", "nothing can be bought back reduce-only: `brain accept` takes over what is there"),
        ("-0.02", "0.01", "buy 0.02 X reduce-only at the exchange, then `brain accept`"),
    ],
)
def test_what_a_person_is_told_to_do_can_be_done(there, record, said):
    assert remedy("X", D(there), D(record)) == said


def test_what_was_bought_by_hand_halts_through_restarts_and_goes_when_it_is_sold_by_hand():
    """A start compared exchange and outbox only: the books' share was forgotten (finding B2)."""

    async def story(b: Bench):
        await b.enter()
        by_hand(b, OrderSide.BUY, "0.020")
        await b.hear(1.0)
        recovery = await b.restart()
        assert not recovery.agreed
        assert kinds(b) == [(BTC, "books")]
        assert b.broker.halted[BTC] == (
            "0.020 of the 0.030 held of BTC/USDT:USDT belong to no plan; sell 0.020 BTC/USDT:USDT reduce-only at the exchange, "
            "or `brain accept` takes it over under a stop"
        )
        by_hand(b, OrderSide.SELL, "0.020", "back")
        await b.hear(2.0)
        assert b.broker.halted == {}
        assert len({fill.id for fill in b.fills()}) == 1  # the books' own 0.010 is still there
        assert (b.broker.position_qty(BTC), b.broker._outbox.booked(BTC)) == (D("0.010"), D("0.010"))

    tell(story)


def test_what_a_person_takes_over_stays_under_a_stop_and_nothing_is_opened_beside_it():
    async def story(b: Bench):
        await b.enter()
        by_hand(b, OrderSide.BUY, "0.020")
        await b.hear(1.0)
        await b.broker.accept(BTC, D("0.030"), "mine")
        assert b.broker.halted == {}
        assert (await b.restart()).agreed
        refused = await b.broker.place(b.order(NEXT))
        assert (refused.status, refused.code) == (OrderStatus.REJECTED, R.SYMBOL_OWNED)
        by_hand(b, OrderSide.SELL, "0.005", "some")
        await b.hear(1.0)
        assert b.broker.halted == {}
        by_hand(b, OrderSide.SELL, "0.015", "rest")
        await b.hear(1.0)
        by_hand(b, OrderSide.BUY, "0.020", "again")  # what was taken over then is gone: this is another
        await b.hear(1.0)
        assert kinds(b) == [(BTC, "books")]

    tell(story, wallet="5000")


def flat(b: Bench, symbol: str = BTC) -> None:
    """The exchange says so, and has no fill that would tell why."""
    real = b.broker._account.positions

    async def positions():
        return tuple(seen for seen in await real() if seen.symbol != symbol)

    b.broker._account.positions = positions


@pytest.mark.parametrize("restarted", [False, True])
def test_where_the_exchange_is_flat_the_books_are_closed_by_accepting(restarted):
    """They hear it as a fill by hand, on record as every other, so that a replay hears it too."""

    async def story(b: Bench):
        await b.enter()
        if restarted:
            await b.broker.stop()
            b.make()
            flat(b)
            await b.broker.start()
            b.broker._desk.prices.clear()
        else:
            flat(b)
        await until_it_differs(b, BTC)
        assert "it is flat there" in b.broker.halted[BTC]
        await b.hear()
        told = len(b.fills())
        await asyncio.sleep(4.0)  # a fill that young explains a late answer
        await b.broker.accept(BTC, D(0), "liquidated in an incident")
        await b.hear()
        (fill,) = b.fills()[told:]
        assert (fill.purpose, fill.reason, fill.qty, fill.fee) == (OrderPurpose.EXIT, ExitReason.BY_HAND, D("0.010"), 0.0)
        assert fill.price == (D("50025.0") if restarted else fill.price) > 0
        assert (b.broker.position_qty(BTC), b.broker._outbox.booked(BTC), b.broker.halted) == (0, 0, {})

    tell(story)


def test_only_what_was_shown_is_accepted():
    async def story(b: Bench):
        await b.enter()
        by_hand(b, OrderSide.BUY, "0.020")
        await b.hear(1.0)
        with pytest.raises(StateError, match=r"has 0.030 BTC/USDT:USDT by now, accepted were 0.020") as refused:
            await b.broker.accept(BTC, D("0.020"), "mine")
        assert refused.value.code == "LIVE-017"
        assert kinds(b) == [(BTC, "books")]
        await b.broker.accept(ETH, D(0), "nothing to settle there")
        assert b.broker._outbox.settled_ms == {}

    tell(story)


def test_agreeing_about_one_reason_does_not_lift_another():
    """One late answer overwrote the reason, and its end lifted both (finding B8)."""

    async def story(b: Bench):
        await b.enter()
        by_hand(b, OrderSide.BUY, "0.020")
        await b.hear(1.0)
        real, late = b.broker._account.positions, [3]

        async def positions():
            late[0] -= 1
            return () if late[0] > 0 else await real()

        b.broker._account.positions = positions
        b.broker._audit.want("")
        await b.hear(20.0)
        assert kinds(b) == [(BTC, "books")]

    tell(story)


def test_what_the_exchange_held_before_goes_when_it_was_sold_there():
    """No fill of it is on record, and its sale is: where the exchange has what the books were told, all is settled."""

    async def story(b: Bench):
        by_hand(b, OrderSide.BUY, "0.100", symbol="ETHUSDT")
        await b.start()
        await until_it_differs(b, ETH)
        by_hand(b, OrderSide.SELL, "0.100", "back", symbol="ETHUSDT")
        await b.hear(10.0)
        assert kinds(b) == [(ETH, "margin")]
        assert (b.broker.position_qty(ETH), b.broker._outbox.booked(ETH)) == (0, 0)

    tell(story, start=False)


def test_a_foreign_order_halts_until_it_is_gone_from_the_exchange():
    async def story(b: Bench):
        for name in ("one", "two"):
            b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id=name))
        b.market.server._settle(changed=True)
        await b.broker.compare()
        assert kinds(b) == [(BTC, "foreign_order")] * 2
        b.venue.cancel("BTCUSDT", client_id="one")
        await b.restart()
        await b.hear(2.0)
        assert len(b.broker.halts) == 1
        b.venue.cancel("BTCUSDT", client_id="two")
        b.venue.drain_words()  # the stream says nothing of it
        await b.broker._audit._orders([ETH], [])
        assert len(b.broker.halts) == 1  # that was not looked at
        await b.broker.compare()
        assert b.broker.halts == ()
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id="three"))
        b.market.server._settle(changed=True)
        await b.hear(2.0)
        assert len(b.broker.halts) == 1
        b.venue.cancel("BTCUSDT", client_id="three")
        b.market.server._settle(changed=True)
        await b.hear(0.1)
        assert b.broker.halts == ()  # heard, without asking

    tell(story)


def other_folder(b: Bench) -> None:
    b.folder = b.world.folder / "other"
    b.folder.mkdir(exist_ok=True)


def test_orders_of_our_form_that_are_not_on_record_mean_another_daemon():
    """The second start reported `agreed`, and both traded (finding B1)."""

    async def story(b: Bench):
        await b.enter()
        await b.hear()
        first, folder = b.broker, b.folder
        other_folder(b)
        recovery = await b.start()
        assert not recovery.agreed
        assert "another daemon trades this account, or its folder was lost" in b.broker.halted[""]
        assert (await b.broker.place(b.order(NEXT, symbol=ETH, price="2600"))).code is R.SYMBOL_HALTED
        await b.restart()
        assert "" in b.broker.halted
        b.broker.resume("", HaltKind.POSITION)
        assert "" in b.broker.halted  # a person's word settles what nothing else can
        b.broker.resume("", HaltKind.OTHER_DAEMON)
        assert "" not in b.broker.halted
        await b.broker.stop()
        b.broker, b.folder = first, folder

    tell(story)


def test_two_daemons_that_decide_alike_both_halt():
    async def story(b: Bench):
        first = b.make()
        await first.start()
        other_folder(b)
        second = b.make()
        await second.start()
        order = b.order()
        await asyncio.gather(first.place(order), second.place(order))
        await b.hear(3.0)
        assert [[halt.kind for halt in broker.halts if not halt.symbol] for broker in (first, second)] == [
            [HaltKind.OTHER_DAEMON]
        ] * 2
        for broker in (first, second):
            assert broker._outbox.booked(BTC) == D("0.010")  # each counts its own order alone
        await first.stop()

    tell(story, start=False)


def test_fills_of_another_daemon_are_none_of_ours():
    async def story(b: Bench):
        by_hand(b, OrderSide.BUY, "0.010", "k0000000b-BTCUSDT-7777-e0")
        await b.hear(2.0)
        assert kinds(b) == [("", "other_daemon"), (BTC, "books")]

    tell(story)


def test_an_order_that_came_back_waits_for_a_person_through_restarts():
    async def story(b: Bench):
        await b.enter()
        row = b.broker._outbox.rows[ENTRY]
        b.broker._intake._contradicted(row, "the exchange has it")
        await b.restart()
        assert kinds(b) == [(BTC, "contradicted")]
        b.broker.resume(BTC, HaltKind.CONTRADICTED, ENTRY)
        assert (await b.restart()).agreed

    tell(story)


def test_a_start_settles_what_a_start_can():
    """A part that runs again, checks that pass, an order that was found meanwhile; and nothing else."""

    async def story(b: Bench):
        await b.enter()
        desk = b.broker._desk
        desk.halt("", HaltKind.PART_FAILED, "a part", "part")
        desk.halt("", HaltKind.REFUSED, "a key")
        desk.halt(BTC, HaltKind.DOUBT, "looked for", ENTRY)
        desk.halt(BTC, HaltKind.DOUBT, "looked for", "of a lost line")
        desk.halt(BTC, HaltKind.CONTRADICTED, "looked for", ENTRY)
        await b.restart()
        assert kinds(b) == [(BTC, "contradicted")]
        assert b.broker._desk.halt_of(BTC) == "looked for"

    tell(story)


def test_a_session_that_is_not_proven_any_more_opens_nothing_until_a_start_finds_it_so():
    """A start with positions and without evidence must watch them all the same (J5)."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.make()
        b.broker.open_nothing("the evidence is too old")
        assert not (await b.broker.start()).agreed
        assert kinds(b) == [("", "unproven")]
        assert (await b.broker.place(b.order(NEXT))).status is OrderStatus.REJECTED
        b.broker.resume("", HaltKind.UNPROVEN)
        assert kinds(b) == [("", "unproven")]  # no person's word does for it
        assert (await b.broker.place(b.exit())).status is not OrderStatus.REJECTED
        await b.hear(3.0)
        assert b.broker.position_qty(BTC) == 0
        assert (await b.restart()).agreed

    tell(story)


def test_margin_that_was_set_right_halts_no_more():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.options = LiveOptions(leverage=2)
        await b.start()
        assert kinds(b) == [(BTC, "margin")]
        await b.broker.place(b.exit())
        await b.hear(3.0)
        assert (await b.restart()).agreed  # flat: it is set
        await b.broker.stop()
        b.make()
        b.broker._desk.halt(BTC, HaltKind.MARGIN, "it was wrong")
        assert (await b.broker.start()).agreed  # it is right

    tell(story)


def test_a_reason_says_where_it_holds():
    assert [Halt(symbol, HaltKind.REFUSED, "", "x").where for symbol in ("", BTC)] == ["the whole account", BTC]


@pytest.mark.parametrize("age_ms", [None, 60_000])
def test_without_a_fresh_book_nothing_is_entered_and_exits_are_sent(age_ms):
    """A book one hour old was taken for the present one (finding B13)."""

    async def story(b: Bench):
        await b.enter_with_book(0)
        if age_ms is not None:
            b.books[BTC] = Book(BTC, b.world.clocks.now_ms() - age_ms, 49_999.9, 50_000.1, 1e6, modelled=False)
        else:
            b.books.clear()
        refused = await b.broker.place(b.order(NEXT))
        assert (refused.status, refused.code) == (OrderStatus.REJECTED, R.STREAM_BOOK)
        assert (await b.broker.place(b.stop())).status is OrderStatus.NEW
        assert (await b.broker.place(b.exit())).status is OrderStatus.NEW
        await b.hear(1.0)
        assert b.held() == 0

    async def with_book(b: Bench):
        async def enter(age: int) -> None:
            b.books[BTC] = Book(BTC, b.world.clocks.now_ms() - age, 49_999.9, 50_000.1, 1e6, modelled=False)
            assert (await b.enter()).status is OrderStatus.NEW

        b.enter_with_book = enter
        await story(b)

    tell(with_book, options=LiveOptions(book_valid_ms=20_000))


def test_an_entry_that_rests_is_called_back_at_every_start():
    """It was left where it was less than half a minute old (finding B13)."""

    async def story(b: Bench):
        b.books[BTC] = Book(BTC, 0, 49_990.0, 49_995.0, 1e6, modelled=False)
        await b.broker.place(b.order())
        await b.hear(1.0)
        assert len(b.venue.open_orders("BTCUSDT")) == 1
        await b.restart()
        await b.hear(2.0)
        assert b.venue.open_orders("BTCUSDT") == ()
        assert b.updates(ENTRY)[-1][0] is OrderStatus.CANCELED

    tell(story, options=LiveOptions(post_only=True, rest_s=20.0))


def test_a_stop_that_cannot_be_had_halts_until_the_position_is_covered():
    async def story(b: Bench):
        await b.enter()
        b.broker._desk.halt(BTC, HaltKind.UNCOVERED, "neither covered nor closed")
        await b.hear(1.0)
        assert b.broker.halted == {}

    tell(story)


def test_a_disk_that_fails_keeps_reasons_in_memory():
    async def story(b: Bench):
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN, times=0)
        outbox = b.broker._outbox
        halt = Halt(BTC, HaltKind.CONTRADICTED, "x", "why")
        outbox._db.execute("PRAGMA query_only=ON")
        outbox.halt(halt)
        assert outbox.failure is not None
        outbox._db.execute("PRAGMA query_only=OFF")
        assert b.broker.halts == (halt,)
        await b.restart()
        assert b.broker.halts in ((halt,), ())

    tell(story)


def test_where_the_exchange_has_what_the_books_were_told_the_record_follows():
    """What a person took over is gone, and no fill tells of it: a second look settles that, the first may be a late answer."""

    async def story(b: Bench):
        await b.enter()
        await b.hear(4.0)
        b.broker._outbox.settle(BTC, D("0.020"), b.world.clocks.now_ms(), "as if taken over")
        assert len(await b.broker.compare()) == 1
        assert kinds(b) == [(BTC, "position")]
        await b.broker.compare()
        assert b.broker.halted == {}
        assert (b.broker.position_qty(BTC), b.broker._outbox.apart(BTC)) == (D("0.010"), 0)

    tell(story)


def test_an_older_folder_is_halted_at_its_start_by_what_another_did_since_though_all_is_flat():
    """Else its first entry would be made, and fills of the other's shorts told to the books as its end."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.exit())
        await b.hear(2.0)
        assert kinds(b) == []
        await b.broker.stop()
        for n in range(2):
            by_hand(b, OrderSide.SELL, "0.010", f"k0000000b-BTCUSDT-7{n}77-e0")
            by_hand(b, OrderSide.BUY, "0.010", f"k0000000b-BTCUSDT-7{n}77-x0")
        recovery = await b.start()
        assert not recovery.agreed
        assert kinds(b) == [("", "other_daemon")]
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert (await b.broker.place(b.order(NEXT, symbol=ETH, price="2600"))).code is R.SYMBOL_HALTED

    tell(story)
