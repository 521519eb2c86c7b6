"""At least one live stop covers each whole position, none is naked beyond two seconds, whatever else fails (issue 4, F6)."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.errors import BrainError
from core.exec.live import desk
from core.exec.live.audit import Unsettled
from core.exec.live.outbox import Outbox
from core.exec.live.settings import LiveOptions
from core.exec.live.states import Row, State
from core.sim.local.values import AlgoType, NewAlgo, NewOrder, OrderSide, OrderType, TimeInForce
from core.sim.server.faults import FaultKind as F
from core.sim.server.options import KeyScope
from core.types import Fill, OrderPurpose, OrderStatus
from core.types import OrderSide as Direction
from core.venues.client import FLIGHT
from core.venues.words import TradeSeen, Unreadable
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
C0, W0 = "k0000000b-BTCUSDT-0123-c0", "k0000000b-BTCUSDT-0123-w0"
ADD = "k0000000b-BTCUSDT-0123-a1"
PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
NAKED_S = 2.25
"""Two seconds, and the way of the close that ends them."""


async def naked_s(b: Bench, seconds: float, symbol: str = "BTCUSDT") -> float:
    """For how long at most the position at the venue was without a live stop within this time."""
    longest = now = 0.0
    for _ in range(round(seconds / 0.01)):
        await asyncio.sleep(0.01)
        now = now + 0.01 if b.held(symbol) and not b.algos(symbol) else 0.0
        longest = max(longest, now)
    return longest


def late_positions(b: Bench, answers: int) -> None:
    """The venue tells this often that nothing is held."""
    real, left = b.broker._account.positions, [answers]

    async def positions():
        left[0] -= 1
        return () if left[0] >= 0 else await real()

    b.broker._account.positions = positions


def by_hand(b: Bench, symbol: str, qty: str, side: OrderSide = OrderSide.BUY, name: str = "hand") -> None:
    b.venue.place(NewOrder(symbol, side, OrderType.MARKET, D(qty), client_id=name))


def codes(b: Bench) -> list[str]:
    return [code for _, code, _ in b.alerts]


# --- what the venue says late ---------------------------------------------------------------------


@pytest.mark.parametrize(("answers", "after_s"), [(1, 30.0), (1, 0.0), (3, 0.0)])
def test_a_late_answer_about_positions_takes_no_stop_away(answers, after_s):
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        await asyncio.sleep(after_s)
        late_positions(b, answers)
        b.broker._audit.want("")
        stops = len(b.algos())
        for _ in range(600):
            await asyncio.sleep(0.01)
            assert len(b.algos()) == stops == 2
        assert b.broker.halted == {}

    tell(story)


def test_where_the_venue_stays_flat_the_stops_wait_for_a_person_all_the_same():
    """Clean up only what both say is over."""

    async def story(b: Bench):
        await b.enter()
        await asyncio.sleep(5.0)
        late_positions(b, 1_000)
        b.broker._audit.want("")
        await asyncio.sleep(10.0)
        assert "position of" in b.broker.halted[BTC]
        assert len(b.algos()) == 1

    tell(story)


def test_a_late_answer_that_agrees_takes_no_stop_from_what_only_the_venue_holds():
    async def story(b: Bench):
        by_hand(b, "ETHUSDT", "0.010")
        await asyncio.sleep(10.0)  # before anything of ours, so that no fill tells of it
        await b.start()
        await asyncio.sleep(6.0)
        late_positions(b, 1)
        b.broker._audit.want("")
        for _ in range(300):
            await asyncio.sleep(0.01)
            assert len(b.algos("ETHUSDT")) == 1
            assert list(b.broker.halted) == [ETH]

    tell(story, start=False, symbols=(BTC,))


def test_the_last_stop_stays_while_an_entry_may_have_been_filled_unheard():
    """F4: a stop takes all that is known of; what an add has got meanwhile nobody has told."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        b.inject(F.MISSING_EVENT, stream="ORDER_TRADE_UPDATE", times=8)
        b.inject(F.BAN, method="GET", path="/fapi/v1/userTrades", times=0)
        resting = b.order("k0000000b-BTCUSDT-0123-a0", price="49900.0", purpose=OrderPurpose.ADD)
        b.broker._outbox.add(replace(Row.of(resting), state=State.ACK), 0, must=True)
        b.broker._intake.trade(
            TradeSeen(BTC, 9, "9", "k0000000b-BTCUSDT-0123-s1", Direction.SELL, D("0.010"), D(49500), D(0), "", False, 1)
        )
        assert b.broker._outbox.held(BTC) == 0
        await asyncio.sleep(1.0)
        assert C0 in [algo.client_id for algo in b.algos()]
        b.market.server.clear_faults()

    tell(story)


async def never_answers(*_asked, **_more):
    await asyncio.Event().wait()


async def refuses(*_asked, **_more):
    raise TimeoutError


def copied(b: Bench) -> Path:
    copy = b.folder / "copy" / "orders.sqlite"
    copy.parent.mkdir()
    with contextlib.closing(sqlite3.connect(copy)) as db:
        b.broker._outbox._db.backup(db)
    return copy


def heard(b: Bench, client_id: str, qty: str, number: int) -> None:
    side = Direction.SELL if client_id != ADD else Direction.BUY
    b.broker._intake.trade(TradeSeen(BTC, number, f"{number}", client_id, side, D(qty), D(45000), D(0), "", False, number))


async def unheard_add(b: Bench, by: str, parts: list[str]) -> list[Fill]:
    """More than the books hold is closed by ``by``; then an add is told of, part by part. The fills that the books hear."""
    await b.enter()
    await b.hear()
    b.broker._account.positions = b.broker._account.trades = never_answers
    add = b.order(ADD, qty="0.020", purpose=OrderPurpose.ADD)
    b.broker._outbox.add(replace(Row.of(add), state=State.ACK), 0, must=True)
    heard(b, by, "0.030", 101)
    for number, qty in enumerate(parts, start=102):
        heard(b, ADD, qty, number)
    return [event for event in await b.hear() if isinstance(event, Fill)]


@pytest.mark.parametrize("parts", [["0.020"], ["0.010", "0.006", "0.004"]])
def test_what_a_stop_closed_of_an_entry_that_was_not_known_yet_is_told_with_it(parts):
    """F3: else the books go on with a position that is not there."""

    async def story(b: Bench):
        fills = await unheard_add(b, C0, parts)
        told = [D("0.010"), *(D(qty) for qty in parts for _ in range(2))]
        assert [fill.qty for fill in fills] == told
        assert len({fill.id for fill in fills}) == len(fills)
        assert sum(fill.qty * fill.side.sign for fill in fills) == D("-0.010")  # the first entry was told before
        assert (b.broker._outbox.held(BTC), b.broker._outbox.booked(BTC), b.broker.halted) == (0, 0, {})
        again = Outbox(copied(b))
        assert again.booked(BTC) == 0
        again.close()

    tell(story)


def test_what_a_person_closed_of_it_is_a_persons_to_settle():
    async def story(b: Bench):
        fills = await unheard_add(b, "a-person", ["0.020"])
        assert [fill.qty for fill in fills] == [D("0.010"), D("0.020")]
        assert b.broker._outbox.booked(BTC) == D("0.020")
        assert BTC in b.broker.halted

    tell(story)


def test_what_a_crash_kept_from_being_told_with_it_is_told_at_the_next_start(monkeypatch):
    async def story(b: Bench):
        monkeypatch.setattr(b.broker._intake, "_tell_late", lambda _symbol: None)
        await unheard_add(b, C0, ["0.020"])
        assert b.broker._outbox.booked(BTC) == D("0.020")
        await b.broker.stop()
        b.make()
        b.broker._intake.compare_books(BTC)
        assert (b.broker._outbox.booked(BTC), b.broker._outbox.unsettled(BTC)) == (0, 0)

    tell(story)


def test_what_a_full_disk_does_not_tell_is_told_once_it_takes_more():
    async def story(b: Bench):
        await b.enter()
        await b.hear()
        b.broker._account.positions = b.broker._account.trades = refuses
        outbox = b.broker._outbox
        outbox.add(replace(Row.of(b.order(ADD, qty="0.020", purpose=OrderPurpose.ADD)), state=State.ACK), 0, must=True)
        outbox._db.execute("PRAGMA query_only=ON")
        heard(b, C0, "0.030", 101)
        heard(b, ADD, "0.010", 102)
        heard(b, ADD, "0.010", 103)
        assert outbox.booked(BTC) == D("0.020")
        outbox._db.execute("PRAGMA query_only=OFF")
        b.broker._audit.want("")
        await b.until(lambda: outbox.booked(BTC) == 0, 20.0)
        fills = [event for event in await b.hear() if isinstance(event, Fill)]
        assert sum(fill.qty * fill.side.sign for fill in fills) == D("-0.010")
        assert len({fill.id for fill in fills}) == len(fills)

    tell(story)


# --- closes and stops that come to nothing --------------------------------------------------------


def test_a_close_that_was_lost_is_followed_by_another():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-2021, times=0)
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN, nth=2, times=1)
        await b.broker.place(b.order())
        assert await naked_s(b, 5.0) < NAKED_S
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert codes(b) == ["stop_beyond", "unprotected"]

    tell(story)


def test_a_close_that_hangs_after_stops_that_hang_is_followed_by_another():
    async def story(b: Bench):
        b.inject(F.HANG, method="POST", path=ALGO, times=0)
        b.inject(F.HANG, method="POST", path=PLAIN, nth=2, times=1)
        await b.broker.place(b.order())
        assert await naked_s(b, 10.0) <= 2.0  # what is due between two looks is not waited with until the next
        assert b.held() == 0

    tell(story)


@pytest.mark.parametrize("by_ms", [-2_400, 60_000])
def test_a_clock_that_is_set_changes_nothing_of_how_long_a_position_may_be_naked(by_ms):
    async def story(b: Bench):
        b.inject(F.HANG, method="POST", path=ALGO, times=0, delay_ms=30_000)
        placing = asyncio.create_task(b.broker.place(b.order()))
        await b.until(lambda: bool(b.held()))
        begun = b.world.loop.time()
        b.world.jump_clock("world", by_ms)
        await b.until(lambda: "unprotected" in codes(b))
        assert 1.4 < b.world.loop.time() - begun < 2.0
        await placing

    tell(story)


def test_a_close_that_is_refused_for_ever_is_tried_ever_more_slowly_and_a_person_called_once():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-4130, times=0)
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-4400, nth=2, times=0)
        await b.broker.place(b.order())
        await asyncio.sleep(60.0)
        assert len([name for name in b.rows() if "-w" in name]) < 12
        assert len([name for name in b.rows() if "-c" in name]) < 16  # a stop is still tried for
        assert codes(b) == ["no_last_stop", "unprotected", "symbol_halted"]
        assert b.broker.halted == {BTC: "0.01 could neither be covered nor closed; do so at the exchange"}
        b.market.server.clear_faults()
        await b.until(lambda: b.algos() or not b.held(), 31.0)
        await b.hear(1.0)
        assert b.broker.halted == {}

    tell(story)


def test_a_venue_that_wants_to_be_left_alone_is_and_a_person_is_called():
    async def story(b: Bench):
        b.inject(F.THROTTLE, method="POST", path=ALGO, times=0)
        b.inject(F.THROTTLE, method="POST", path=PLAIN, nth=2, times=0)
        await b.broker.place(b.order())
        await asyncio.sleep(10.0)
        sent = len([row for row in b.broker._outbox.rows.values() if row.own])
        assert sent < 10
        assert "could neither be covered nor closed" in b.broker.halted[BTC]
        assert codes(b).count("symbol_halted") == 1

    tell(story)


def test_a_close_that_is_refused_leaves_a_stop_to_be_tried_where_the_price_comes_back():
    """Beyond its last stop, with closes that come to nothing: the stop is tried again though it was beyond before."""

    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-2021, times=2)
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-4131, nth=2, times=0)
        await b.broker.place(b.order())
        await b.until(lambda: bool(b.algos()))
        await b.hear(1.0)
        assert b.broker.halted == {}
        assert codes(b).count("stop_beyond") == 1

    tell(story)


def test_a_refusal_for_the_time_closes_nothing():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-1021, times=3)
        await b.broker.place(b.order())
        assert await naked_s(b, 5.0) < NAKED_S
        assert b.held() == D("0.010")
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_the_last_stop_is_never_given_up_while_another_covers():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        b.inject(F.REJECT, method="POST", path=ALGO, code=-1016, times=5)
        b.venue.cancel_algo(client_id=C0)
        b.market.server._settle(changed=True)
        await asyncio.sleep(60.0)
        assert [algo.close_position for algo in b.algos()].count(True) == 1
        assert codes(b) == ["no_last_stop"]

    tell(story)


# --- parts that fail ------------------------------------------------------------------------------


def test_a_guardian_that_fails_is_begun_anew_and_one_symbol_leaves_the_others_covered():
    async def story(b: Bench):
        guardian = b.broker._guardian
        look, look_at, looks = guardian.look, guardian._look_at, []

        def fails_once():
            looks.append(1)
            if len(looks) == 1:
                raise ValueError("a mistake")
            look()

        def fails_for_btc(symbol, watch):
            if symbol == BTC:
                raise KeyError(symbol)
            look_at(symbol, watch)

        guardian.look = fails_once
        await asyncio.sleep(1.0)
        assert b.broker.halted[""].startswith("guardian failed: ValueError: a mistake; it goes on")
        for halt in b.broker.halts:
            b.broker._desk.lift(halt.symbol, halt.kind, halt.ref)
        guardian._look_at = fails_for_btc
        await b.enter()
        await b.broker.place(b.order("k0000000b-ETHUSDT-0123-e0", symbol=ETH, price="50025.0"))
        by_hand(b, "ETHUSDT", "0.010")
        b.market.server._settle(changed=True)
        await b.hear(2.0)
        assert b.held("ETHUSDT")
        assert len(b.algos("ETHUSDT")) == 1
        guardian._look_at = look_at
        await b.hear(1.0)
        assert len(b.algos()) == 1

    tell(story)


def test_a_stop_that_cannot_even_be_written_out_is_tried_again(monkeypatch):
    monkeypatch.setattr(desk, "_RUNS_WELL_S", 300.0)

    async def story(b: Bench):
        guardian, stop_of = b.broker._guardian, b.broker._guardian._stop_of

        def fails(plan_id):
            raise KeyError(plan_id)

        guardian._stop_of = fails
        await b.enter()
        assert b.algos() == []
        guardian._stop_of = stop_of
        await b.hear(1.0)
        assert len(b.algos()) == 1
        assert "place BTC/USDT:USDT failed: KeyError" in b.broker.halted[""]
        await b.hear(310.0)
        assert b.broker.halted == {}

    tell(story)


def test_the_clock_is_measured_now_and_then():
    async def story(b: Bench):
        b.world.jump_clock("world", -10_000)
        await asyncio.sleep(6.0)
        assert b.broker._account._offset_ms == pytest.approx(10_000, abs=100)
        (said,) = [text for level, code, text in b.alerts if (level, code) == ("page", "clock")]
        assert " ms behind the exchange's, expected at most 1500 ms" in said

    tell(story, options=LiveOptions(clock_every_s=5.0))


# --- the audit ------------------------------------------------------------------------------------


def test_an_audit_that_cannot_run_stops_entries_until_it_can():
    async def story(b: Bench):
        b.inject(F.REJECT, method="GET", path="/fapi/v1/openOrders", code=-1001, times=0)
        b.broker._audit.want("")
        await asyncio.sleep(40.0)
        assert (await b.broker.place(b.order())).status is OrderStatus.REJECTED
        assert [alert[:2] for alert in b.alerts] == [("warning", "audit"), ("page", "symbol_halted")]
        b.market.server.clear_faults()
        await b.until(lambda: not b.broker.halted, 60.0)

    tell(story)


def test_an_order_that_cannot_be_called_back_keeps_nothing_else_from_being_compared():
    async def story(b: Bench):
        b.inject(F.REJECT, method="DELETE", path=PLAIN, code=-1008, times=0)
        name = "k0000000b-BTCUSDT-9999-e0"
        b.venue.place(
            NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48500"), TimeInForce.GTC, client_id=name)
        )
        by_hand(b, "ETHUSDT", "0.010")
        b.venue.drain_words()  # the stream says nothing of either
        b.broker._audit.want("")
        await asyncio.sleep(5.0)
        assert ETH in b.broker.halted
        assert len(b.algos("ETHUSDT")) == 1

    tell(story)


def test_an_order_that_cannot_be_read_keeps_no_other_from_being_compared():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take())
        client, foreign = b.broker._account._client, NewOrder("ETHUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("40000"))
        b.venue.place(replace(foreign, client_id="a-persons"))
        await b.broker.compare()
        assert list(b.broker.halted) == [ETH]
        real = client.fapiPrivateGetOpenOrders

        async def answers(request):
            return [{"symbol": "ETHUSDT"}, *(raw for raw in await real(request) if raw["symbol"] != "ETHUSDT")]

        client.fapiPrivateGetOpenOrders = answers
        b.venue.cancel("BTCUSDT", client_id=b.take().client_id)
        b.venue.drain_words()  # the stream says nothing of it
        with pytest.raises(Unreadable):
            await b.broker.compare()
        assert b.rows()[b.take().client_id] is State.DONE
        assert list(b.broker.halted) == [ETH]  # who knows what the unreadable one is

    tell(story)


@pytest.mark.parametrize("first", [True, False])
def test_comparisons_that_run_side_by_side_lift_no_halt_of_an_order_that_rests(first):
    async def story(b: Bench):
        order = NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("40000"), TimeInForce.GTC)
        account, slow = b.broker._account, asyncio.Event()
        real = account.look_up

        async def look_up(symbol, client_id, *, algo):
            await slow.wait()
            return await real(symbol, client_id, algo=algo)

        async def foreign():
            b.venue.place(replace(order, client_id="a-persons"))
            b.venue.drain_words()

        await b.enter()
        await b.broker.place(b.take())
        if first:
            await foreign()
            await b.broker.compare()
        b.venue.cancel("BTCUSDT", client_id=b.take().client_id)
        b.venue.drain_words()
        account.look_up = look_up
        comparing = asyncio.create_task(b.broker.compare())
        await asyncio.sleep(0.5)
        if not first:
            await foreign()
        beside = asyncio.create_task(b.broker._audit.compare([ETH if first else BTC]))
        await asyncio.sleep(0.5)
        slow.set()
        await comparing
        await beside
        assert [halt.kind.value for halt in b.broker.halts] == ["foreign_order"]

    tell(story)


def test_what_is_taken_over_after_the_start_is_told_and_what_is_left_alone_once():
    async def story(b: Bench):
        await b.enter()
        stop = NewAlgo("BTCUSDT", OrderSide.SELL, AlgoType.STOP_MARKET, D("0.010"), trigger_price=D("48000"), reduce_only=True)
        b.venue.place_algo(replace(stop, client_id="k0000000b-BTCUSDT-7777-s9"))
        b.venue.place(
            NewOrder("ETHUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("40000"), TimeInForce.GTC, client_id="a-persons")
        )
        await asyncio.sleep(200.0)
        told = [text for _, code, text in b.alerts if code == "audit"]
        assert told == [
            "adopted order k0000000b-BTCUSDT-7777-s9 of BTC/USDT:USDT: it is not on record, and can only reduce",
            "left order a-persons of ETH/USDT:USDT alone: it is none of ours",
        ]

    tell(story, symbols=(BTC,))


# --- what is not traded here ----------------------------------------------------------------------


def test_a_position_on_a_symbol_that_is_not_traded_here_is_covered_and_reported():
    async def story(b: Bench):
        by_hand(b, "ETHUSDT", "0.010")
        recovery = await b.start()
        assert [(difference.symbol, difference.venue) for difference in recovery.differences] == [(ETH, D("0.010"))]
        assert [symbol for symbol, _ in recovery.halted] == [ETH]
        (stop,) = b.algos("ETHUSDT")
        assert (stop.close_position, stop.side) == (True, OrderSide.SELL)
        assert (await b.enter()).status is OrderStatus.NEW  # nothing else is stopped
        by_hand(b, "ETHUSDT", "0.010", OrderSide.SELL, "back")
        b.market.server._settle(changed=True)
        await b.until(lambda: b.algos("ETHUSDT") == [], 70.0)

    tell(story, start=False, symbols=(BTC,))


def test_a_position_that_is_opened_there_by_hand_is_covered_at_once():
    async def story(b: Bench):
        by_hand(b, "ETHUSDT", "0.010")
        b.market.server._settle(changed=True)
        assert await naked_s(b, 3.0, "ETHUSDT") < 1.0
        assert "by_hand" in codes(b)

    tell(story, symbols=(BTC,))


def test_a_closing_stop_that_a_person_has_there_is_enough():
    async def story(b: Bench):
        by_hand(b, "ETHUSDT", "0.010")
        stop = NewAlgo("ETHUSDT", OrderSide.SELL, AlgoType.STOP_MARKET, trigger_price=D("45000"), close_position=True)
        b.venue.place_algo(replace(stop, client_id="a-persons"))
        await b.start()
        await asyncio.sleep(10.0)
        assert [algo.client_id for algo in b.algos("ETHUSDT")] == ["a-persons"]
        assert b.held("ETHUSDT") == D("0.010")

    tell(story, start=False, symbols=(BTC,))


# --- a start --------------------------------------------------------------------------------------


def test_a_start_covers_what_is_open_though_an_order_stays_in_doubt():
    """The look-ups are never answered: the start ends with the symbol halted, and the order is found out later."""

    async def story(b: Bench):
        await b.enter()
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN)
        b.inject(F.UNKNOWN, method="GET", path=PLAIN, times=0)
        await b.broker.place(b.order("k0000000b-ETHUSDT-0123-e0", symbol=ETH))
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        begun = b.world.loop.time()
        starting = asyncio.create_task(b.start())
        await b.until(lambda: bool(b.algos()), 2.0)
        recovery = await starting
        assert b.world.loop.time() - begun < 15.0
        assert "nobody can tell what became of order k0000000b-ETHUSDT-0123-e0" in dict(recovery.halted)[ETH]
        b.market.server.clear_faults()
        await b.until(lambda: not b.broker.halted)
        assert b.rows()["k0000000b-ETHUSDT-0123-e0"] is State.ABSENT
        await b.hear()
        assert b.updates("k0000000b-ETHUSDT-0123-e0")[-1][0] is OrderStatus.REJECTED

    tell(story, options=LiveOptions(unknown_cap_s=8.0))


def test_a_stop_that_was_lost_is_judged_though_a_position_of_somebody_else_is_there():
    async def story(b: Bench):
        by_hand(b, "BTCUSDT", "0.020")
        await asyncio.sleep(10.0)
        b.inject(F.DROP_BEFORE, method="POST", path=ALGO, times=1)
        async with asyncio.timeout(20.0):
            assert not (await b.start()).agreed
        assert len(b.algos()) == 1
        await b.until(lambda: not b.broker._outbox.unresolved())
        assert State.ABSENT in b.rows().values()

    tell(story, start=False)


def test_a_doubtful_order_of_an_earlier_life_waits_for_its_receive_window_from_this_start_on():
    """It may have left long after it was written down, with the last breath of the process."""

    async def story(b: Bench):
        row = Row.of(b.order())
        row.sent_ms, row.recv_window_ms = b.world.clocks.now_ms() - 60_000, 3_000
        b.broker._outbox.add(row, 1, must=True)
        begun = b.world.loop.time()
        await b.restart()
        assert b.rows()[ENTRY] is State.ABSENT
        assert b.world.loop.time() - begun > 4.5

    tell(story)


def test_an_order_of_an_earlier_life_that_was_done_is_found_and_covered_at_once():
    async def story(b: Bench):
        row = Row.of(b.order())
        row.sent_ms = b.world.clocks.now_ms()
        b.broker._outbox.add(row, row.sent_ms, must=True)
        await b.broker.stop()
        by_hand(b, "BTCUSDT", "0.010", name=ENTRY)
        b.venue.drain_words()
        starting = asyncio.create_task(b.start())
        assert await naked_s(b, 3.0) < NAKED_S
        recovery = await starting
        assert recovery.agreed
        assert recovery.actions[0].startswith(f"order {ENTRY} was in doubt: it is ")
        assert b.rows()[ENTRY] is State.DONE
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_what_is_over_by_the_record_and_rests_all_the_same_is_called_back():
    async def story(b: Bench):
        row = Row.of(b.take())
        row.state, row.sent_ms = State.DONE, b.world.clocks.now_ms()
        b.broker._outbox.add(row, 1, must=True)
        b.venue.place(
            NewOrder("BTCUSDT", OrderSide.SELL, OrderType.LIMIT, D("0.005"), D("50500"), TimeInForce.GTC, client_id=row.client_id)
        )
        await b.broker.compare()
        assert b.venue.open_orders("BTCUSDT") == ()

    tell(story)


def test_the_receive_window_runs_from_when_an_order_left():
    """§2.2 (d): it was held up for 8 s, the connection broke, and it arrived 2.5 s later."""

    async def story(b: Bench):
        real, late = b.broker._account.send, []

        async def arrives(ask):
            FLIGHT.set(None)  # it left long before
            await asyncio.sleep(2.5)
            await real(ask)

        async def send(ask):
            if ask.algo:
                return await real(ask)
            await asyncio.sleep(8.0)
            FLIGHT.get().left_at = b.world.loop.time()
            late.append(asyncio.create_task(arrives(ask)))
            raise ConnectionResetError

        b.broker._account.send = send
        await b.broker.place(b.order())
        await b.hear(30.0)
        assert b.held() == b.broker.position_qty(BTC) == D("0.010")
        assert b.rows()[ENTRY] is State.DONE
        assert b.broker.halted == {}
        assert b.updates(ENTRY)[-1] == (OrderStatus.FILLED, None)

    tell(story)


@pytest.mark.parametrize(
    ("path", "nth"),  # ccxt asks for positions when the stream stands, before we do
    [("/fapi/v1/openOrders", 1), ("/fapi/v3/positionRisk", 2), ("/fapi/v1/symbolConfig", 1), ("/fapi/v1/exchangeInfo", 1)],
)
def test_a_question_that_is_not_answered_at_a_start_is_asked_again(path, nth):
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.alerts.clear()
        b.inject(F.REJECT, method="GET", path=path, code=-1001, nth=nth, times=1)
        assert (await b.start()).agreed
        assert b.alerts == []

    tell(story)


def test_a_start_that_is_not_answered_calls_a_person_covers_what_it_knows_and_goes_on_when_it_is():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.inject(F.REJECT, method="GET", path="/fapi/v1/symbolConfig", code=-1001, times=0)
        starting = asyncio.create_task(b.start())
        await b.until(lambda: bool(b.algos()), 2.0)
        await asyncio.sleep(20.0)
        assert b.broker.halted == {"": "the start waits for the exchange: the account cannot be asked: OperationFailed -1001"}
        b.market.server.clear_faults()
        assert (await starting).agreed

    tell(story)


def test_a_key_that_is_refused_ends_a_start():
    async def story(b: Bench):
        b.inject(F.REJECT, method="GET", path="/fapi/v1/positionSide/dual", code=-2015, status=401, times=0)
        with pytest.raises(BrainError) as refused:
            await b.start()
        assert refused.value.code == "LIVE-014"

    tell(story, start=False)


def test_an_account_that_must_not_be_traded_is_told_before_anything_begins():
    async def story(b: Bench):
        with pytest.raises(BrainError) as refused:
            await b.make().check()
        assert refused.value.code == "LIVE-010"

    tell(story, start=False, scope=KeyScope(withdrawals=True))


def test_a_start_that_cannot_compare_positions_has_not_agreed():
    async def story(b: Bench):
        b.make()

        async def never(symbols, failed):
            raise Unsettled

        b.broker._audit._positions = never
        recovery = await b.broker.start()
        assert not recovery.agreed
        assert "the start waits for the exchange" in dict(recovery.halted)[""]

    tell(story, start=False, options=LiveOptions(unknown_cap_s=8.0))


def test_what_somebody_traded_before_our_first_fill_is_not_taken_for_a_part_of_ours():
    """F6: the time from which fills are asked for cuts a round trip in half, whose second half is no close of ours."""

    async def story(b: Bench):
        by_hand(b, "BTCUSDT", "0.010", name="hand-0")
        await asyncio.sleep(4.0)
        by_hand(b, "BTCUSDT", "0.010", OrderSide.SELL, name="hand-1")
        await b.start()
        await b.enter()
        await b.hear(8.0)
        assert [(fill.client_id, fill.qty) for fill in b.fills()] == [(ENTRY, D("0.010"))]
        assert (b.held(), b.broker.position_qty(BTC), b.broker.halted) == (D("0.010"), D("0.010"), {})
        b.broker._outbox.audited.clear()
        b.broker._audit.want(BTC)
        by_hand(b, "BTCUSDT", "0.004", OrderSide.SELL, name="hand-2")
        await b.hear(8.0)
        assert [fill.qty for fill in b.fills()] == [D("0.010"), D("0.004")]
        assert b.broker.position_qty(BTC) == b.held() == D("0.006")

    tell(story, start=False)
