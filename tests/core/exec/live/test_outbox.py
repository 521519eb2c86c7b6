"""The outbox: what is acknowledged is on the disk, what is told twice counts once, and two never share it (F2, F6)."""

import asyncio
import sqlite3

import msgspec
import pytest

from core.codes import RefusalCode
from core.errors import ContractError, StateError
from core.exec.live.crash import CrashPoint
from core.exec.live.outbox import Outbox
from core.exec.live.outbox_schema import Group
from core.exec.live.states import Row, State
from core.exec.live.telling import Telling
from core.types import ExitReason, Fill, FundingPayment, Order, OrderPurpose, OrderSide, OrderStatus, OrderType, OrderUpdate
from core.venues.words import FundingSeen, Standing, TradeSeen
from tests.core.exec.live.kit import BTC, D
from tests.support.simulation.disk import Loss
from tests.support.simulation.world import run_world


def row(client_id="a-e0", qty="1", **changes):
    order = Order(client_id, "plan", BTC, OrderSide.BUY, OrderType.IOC_LIMIT, OrderPurpose.ENTRY, D(qty), D("50000.0"), False, 7)
    made = Row.of(order)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def trade(number=1, qty="0.5", side=OrderSide.BUY):
    return TradeSeen(BTC, number, "900", "a-e0", side, D(qty), D("50000"), D("0.1"), "USDT", False, 11)


UPDATE = OrderUpdate("a-e0", BTC, OrderStatus.FILLED, 12, D(1), RefusalCode.ENTRY_NOT_FILLED, "words")
FILL = Fill("f", "a-e0", "plan", BTC, OrderSide.BUY, OrderPurpose.ENTRY, D("0.5"), D(50_000), 5.0, 1.0, 0.1, False, 11)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "orders.sqlite"


@pytest.fixture
def outbox(path):
    made = Outbox(path)
    yield made
    made.close()


def again(outbox):
    """The same file, opened by the next life."""
    outbox.close()
    return Outbox(outbox.path)


# --- what is kept ---------------------------------------------------------------------------------


def test_everything_of_an_order_outlives_the_process(outbox):
    made = row(reason=ExitReason.STOP, is_algo=True, close_position=True, on_mark=True, own=True, spread_bps=1.5)
    outbox.add(made, 1, must=True)
    outbox.move(made, State.ACK, 3, venue_id="900", standing=Standing.LIVE, claimed=D("0.5"))
    outbox.note(made, answer=UPDATE, cancel_answer=msgspec.structs.replace(UPDATE, code=None), cancel_wanted=True)
    kept = again(outbox)
    assert kept.rows == {"a-e0": made}
    assert kept.rows["a-e0"].answer == UPDATE
    assert kept.live() == kept.live(BTC) == (kept.rows["a-e0"],)
    assert kept.live("ETH/USDT:USDT") == kept.unresolved() == ()
    kept.close()


def test_every_step_is_a_transaction_and_a_line_of_history(outbox):
    made = row()
    outbox.add(made, 1, must=True)
    outbox.move(made, State.UNKNOWN, 3, note="no reply")
    outbox.move(made, State.ABSENT, 4)
    lines = outbox._db.execute("SELECT client_id, state, ts, note FROM transitions ORDER BY no").fetchall()
    assert [tuple(line) for line in lines] == [
        ("a-e0", "sent", 1, ""), ("a-e0", "unknown", 3, "no reply"), ("a-e0", "absent", 4, "")
    ]  # fmt: skip


def test_an_id_is_used_once_and_no_step_is_left_out(outbox):
    made = row()
    outbox.add(made, 1, must=True)
    with pytest.raises(ContractError, match="a-e0 was used before"):
        outbox.add(row(), 1, must=True)
    with pytest.raises(ContractError, match="from sent to found"):
        outbox.move(made, State.FOUND, 2)
    assert made.state is State.SENT


def test_orders_whose_fate_is_not_known_are_found_again(outbox):
    for number, state in enumerate((State.SENT, State.UNKNOWN, State.REJECTED)):
        made = row(f"{number}")
        outbox.add(made, 1, must=True)
        if state is not State.SENT:
            outbox.move(made, state, 2)
    outbox.add(row("3"), 1, must=True)
    assert [made.client_id for made in again(outbox).unresolved()] == ["0", "1", "3"]


# --- fills ----------------------------------------------------------------------------------------


def test_fills_make_the_position_and_the_next_life_counts_them_the_same(outbox):
    made = row()
    outbox.add(made, 1, must=True)
    outbox.fill(made, trade(1), 3, to=State.PARTIAL, told=D("0.5"), events=(FILL,))
    outbox.fill(made, trade(5, "0.2"), 4, to=None, told=D("0.1"), events=())
    outbox.fill(made, trade(6, "0.1", OrderSide.SELL), 5, to=State.DONE, told=D(0), events=())
    outbox.settle(BTC, D("0.05"), 6, "said so")
    outbox.audit(BTC, 1)
    outbox.audit(BTC, 5)
    outbox.audit(BTC, 5)
    for one in (outbox, kept := again(outbox)):
        assert one.held(BTC) == D("0.65")
        assert one.booked(BTC) == D("0.6")
        assert one.holdings() == {BTC: D("0.65")}
        assert one.audited == {BTC: 5}
        assert [number for number in range(1, 8) if one.has_trade(BTC, number)] == [1, 5, 6]
        assert one.rows["a-e0"].filled == D("0.8")
    with pytest.raises(ContractError):
        kept.fill(kept.rows["a-e0"], trade(7), 9, to=State.PARTIAL, told=D(0), events=())
    with pytest.raises(sqlite3.IntegrityError):
        kept._db.execute("INSERT INTO fills (symbol, trade_id) VALUES (?, 5)", (BTC,))
    kept.close()


def test_orders_are_found_by_the_venues_ids_and_by_the_books(outbox):
    plain, stop = row("a", venue_id="900"), row("b", venue_id="900", is_algo=True, child_id="901")
    further = row("a.1", told_as="a")
    for made in (plain, stop, further):
        outbox.add(made, 1, must=True)
    assert outbox.by_venue_id(BTC, "900") is plain
    assert outbox.by_venue_id(BTC, "901") is stop
    assert outbox.by_venue_id("ETH/USDT:USDT", "900") is None
    outbox.add(row("c"), 1, must=True)
    assert outbox.by_venue_id(BTC, "") is None
    assert outbox.family("a") == (plain, further)


def test_funding_is_paid_once(outbox):
    payment, event = FundingSeen(BTC, 8, "x1", D("-0.2")), FundingPayment(BTC, 8, 0.0001, 5e4, D(1), -0.2)
    assert outbox.fund(payment, (event,))
    assert not outbox.fund(payment, (event,))
    kept = again(outbox)
    assert not kept.fund(payment, (event,))
    assert kept.last_funding == 8
    kept.close()


# --- what the books are owed ----------------------------------------------------------------------


def test_events_are_owed_until_they_are_told_and_told_again_in_the_same_groups(outbox):
    made, woken = row(), []
    telling = Telling(outbox)
    assert not telling.ready.is_set()
    outbox.add(made, 1, must=True)
    outbox.fill(made, trade(1), 3, to=State.PARTIAL, told=D("0.5"), events=(FILL,))
    assert telling.ready.is_set()
    assert telling.next(100) == (FILL,)
    assert telling.next(100) == ()
    assert not telling.ready.is_set()
    before = telling.told, telling.groups
    outbox.move(made, State.DONE, 4, events=(UPDATE,))
    outbox.fund(FundingSeen(BTC, 8, "x1", D(1)), (FundingPayment(BTC, 8, 0.1, 5e4, D(1), 1.0),))
    assert len(telling.next(200)) == 2
    outbox.on_owed = lambda: woken.append(1)

    kept = again(outbox)
    telling = Telling(kept)
    telling.restore(*before)
    assert telling.repeating
    late = msgspec.structs.replace(UPDATE, message="only in this life")
    kept.note(kept.rows["a-e0"], events=(late,))
    assert telling.next(150) == ()  # it was told at the bar of 200
    assert [type(event) for event in telling.next(200)] == [OrderUpdate, FundingPayment]
    assert not telling.repeating
    assert telling.next(200) == (late,)
    telling.restore(telling.told, telling.groups)
    assert not telling.ready.is_set()
    kept.close()


def test_a_bar_that_an_earlier_life_had_begun_hears_before_its_decisions_what_it_heard_then(outbox):
    """F6: the fill of an order that is yet to be decided again must wait for that."""
    made, telling = row(), Telling(outbox)
    payment = FundingPayment(BTC, 8, 0.1, 5e4, D(1), 1.0)
    outbox.fund(FundingSeen(BTC, 8, "x1", D(1)), (payment,))
    assert telling.before(100) == (payment,)
    assert telling.before(100) == ()
    outbox.add(made, 1, must=True)  # decided at the bar
    outbox.fill(made, trade(1), 3, to=State.PARTIAL, told=D("0.5"), events=(FILL,))
    assert telling.next(100) == (FILL,)
    outbox.move(made, State.DONE, 4, events=(UPDATE,))

    kept = again(outbox)
    telling = Telling(kept)
    assert telling.before(100) == (payment,)
    assert telling.before(100) == ()
    begun = telling.told, telling.groups
    assert telling.next(100) == (FILL,)
    assert telling.before(200) == (UPDATE,)
    telling.restore(*begun)
    assert telling.before(200) == (FILL,)
    assert telling.before(200) == (UPDATE,)
    assert telling.before(200) == ()
    for bar in (50, 200):  # the first is before all that was told, the second takes up what was left out
        telling.restore(0, 0)
        heard = [telling.before(bar) for _ in range(4)]
        assert heard == ([()] * 4 if bar == 50 else [(payment,), (FILL,), (UPDATE,), ()])
    telling.restore(0, 0)
    assert [telling.next(100), telling.next(100)] == [(payment,), (FILL,)]
    kept.close()


def test_a_group_is_noted_before_anybody_hears_it(path):
    points = []
    outbox = Outbox(path, crash=points.append)
    telling = Telling(outbox)
    outbox.fund(FundingSeen(BTC, 8, "x1", D(1)), (FundingPayment(BTC, 8, 0.1, 5e4, D(1), 1.0),))
    telling.next(5)
    assert points == [CrashPoint.TOLD_BEFORE, CrashPoint.TOLD_AFTER]
    assert outbox.groups_after(0) == (Group(1, 5),)
    outbox.close()


# --- one alone, and whole -------------------------------------------------------------------------


def test_a_second_opener_is_refused(outbox):
    with pytest.raises(StateError, match="in use by another run") as refused:
        Outbox(outbox.path)
    assert refused.value.code == "LIVE-001"


def test_another_version_and_a_broken_file_are_refused_and_the_lock_is_let_go(outbox):
    outbox._db.execute("PRAGMA user_version=99")
    outbox.close()
    outbox.close()
    for _ in range(2):
        with pytest.raises(StateError, match="is of version 99, expected 2"):
            Outbox(outbox.path)
    outbox.path.write_bytes(b"this is no database, nor anything like one" * 100)
    for _ in range(2):
        with pytest.raises(StateError, match="can't be read") as refused:
            Outbox(outbox.path)
        assert refused.value.code == "LIVE-002"


def test_an_entry_that_cannot_be_written_down_is_not_remembered_and_an_exit_is(outbox):
    """A full disk stops entries; what happened, and exits, are kept until it can be written (X12)."""
    outbox._db.execute("PRAGMA query_only=ON")
    with pytest.raises(StateError, match="nothing was sent") as refused:
        outbox.add(row("entry"), 1, must=True)
    assert refused.value.code == "LIVE-003"
    assert outbox.failure == "attempt to write a readonly database"
    leaving = row("exit", reduce_only=True)
    outbox.add(leaving, 1, must=False)
    outbox.move(leaving, State.UNKNOWN, 2, events=(UPDATE,))
    assert list(outbox.rows) == ["exit"]
    with pytest.raises(StateError):
        outbox.settle(BTC, D(1), 3, "said so")
    assert outbox.held(BTC) == 0
    outbox._db.execute("PRAGMA query_only=OFF")
    outbox.move(leaving, State.FOUND, 4)
    assert outbox.failure is None
    kept = again(outbox)
    assert kept.rows["exit"].state is State.FOUND
    assert len(kept.owed) == 0
    kept.owe_again(0)
    assert [event for _, event in kept.owed] == [UPDATE]
    kept.close()


POWER = (Loss.UNSYNCED, Loss.LATEST, Loss.SECTORS)


async def a_life(node):
    """Orders go through their lives; ``said`` has each step that was made, in order, ``kept`` how many must be on the disk.

    A step is waited for when an order begins; it drags along what went before, as an answer and a telling do.
    """
    outbox, world = Outbox(node.folder / "orders.sqlite"), node.world
    lines = outbox._db.execute("SELECT client_id, state FROM transitions ORDER BY no").fetchall()
    found = [(line["client_id"], line["state"]) for line in lines]
    assert found == world.said[: len(found)], "what is left is not how it began"
    assert len(found) >= world.kept, f"{world.said[len(found) : world.kept]} were waited for, and are gone"
    assert {client_id: outbox.rows[client_id].state.value for client_id, _ in found} == dict(found)
    answered = {client_id for client_id, made in outbox.rows.items() if made.answer is not None}
    assert world.answered <= answered
    assert outbox.groups >= world.groups
    world.groups = outbox.groups
    del world.said[len(found) :]
    for number in range(6):
        made = row(f"{node.life.number}-{number}")
        for step, to in enumerate((State.SENT, State.ACK, State.DONE)):
            world.said.append((made.client_id, to.value))
            if to is State.SENT:
                outbox.add(made, 1, must=True)
            else:
                outbox.move(made, to, step)
            await asyncio.sleep(0.001)  # the dead do not come back from it
            if to is State.SENT:
                world.kept = len(world.said)
        if number % 3 == 1:
            outbox.answer(made, answer=UPDATE)
            await asyncio.sleep(0.001)
            world.answered.add(made.client_id)
        elif number % 3 == 2:
            outbox.telling(Group(0, number))
            await asyncio.sleep(0.001)
            world.groups += 1
        if number % 3:
            world.kept = len(world.said)


async def power_fails(world):
    world.said, world.kept, world.answered, world.groups = [], 0, set(), 0
    for life in range(4):
        node = world.start("bot", a_life, watch_disk=True) if not life else world.restart("bot", world.chance.choice(POWER))
        world.kill_at_operation("bot", world.chance.randrange(8, 120))
        await node.gone


@pytest.mark.parametrize("seed", range(5))
def test_no_step_that_was_waited_for_is_lost_with_the_power_nor_any_before_it(seed):
    run_world(seed, power_fails)


def waited_for(outbox, step):
    """Two steps that nobody waits for, then one that is waited for."""
    made = row()
    outbox.add(made, 1, must=True)
    outbox.move(made, State.ACK, 2)
    outbox.note(made, events=(UPDATE,))
    match step:
        case "add":
            outbox.add(row("next"), 3, must=False)
        case "answer":
            outbox.answer(made, answer=UPDATE)
        case "telling":
            outbox.telling(Group(1, 100))
        case "settle":
            outbox.settle(BTC, D(1), 3, "said so")


def through_a_power_cut(live):
    """Two lives of ``live``: the power takes from the first what was not waited for."""

    async def story(world):
        world.start("bot", live, watch_disk=True)
        await asyncio.sleep(0.1)
        world.kill("bot")
        await world.restart("bot", Loss.UNSYNCED).gone

    run_world(1, story)


@pytest.mark.parametrize("step", ["add", "answer", "telling", "settle"])
def test_before_something_follows_the_disk_has_it_and_all_before_it(step):
    async def live(node):
        outbox = Outbox(node.folder / "orders.sqlite")
        if node.life.number == 1:
            waited_for(outbox, step)
            await asyncio.Event().wait()
        made = outbox.rows["a-e0"]
        outbox.owe_again(0)
        assert (made.state, [event for _, event in outbox.owed]) == (State.ACK, [UPDATE])
        found = {"add": "next" in outbox.rows, "answer": made.answer == UPDATE}
        found |= {"telling": outbox.groups_after(0) == (Group(1, 100),), "settle": outbox.held(BTC) == 1}
        assert [name for name, there in found.items() if there] == [step]

    through_a_power_cut(live)


@pytest.mark.parametrize("by", ["catch_up", "note"])
def test_an_exit_that_was_sent_past_a_full_disk_is_on_it_before_anything_else_is(by):
    """X12, F2: it is waited for, or power takes away an order that the venue has."""

    async def live(node):
        outbox = Outbox(node.folder / "orders.sqlite")
        if node.life.number == 2:
            assert list(outbox.rows) == ["a-e0", "exit"]
            return
        first = row()
        outbox.add(first, 1, must=True)
        outbox.catch_up()  # there is nothing
        outbox._db.execute("PRAGMA query_only=ON")
        outbox.add(row("exit", reduce_only=True), 2, must=False)
        outbox.catch_up()
        assert outbox.failure is not None
        outbox._db.execute("PRAGMA query_only=OFF")
        if by == "catch_up":
            outbox.catch_up()
        else:
            outbox.note(first, cancel_wanted=True)
        assert outbox.failure is None
        await asyncio.Event().wait()

    through_a_power_cut(live)


def test_a_telling_without_events_may_be_lost_and_the_next_is_numbered_behind_it(outbox):
    """X43: the books counted it before the power went; their count stays ahead of what is on the disk."""
    telling = Telling(outbox)
    assert telling.before(100) == ()
    telling.restore(0, 4)
    assert telling.groups == outbox.groups == 4
    outbox.fund(FundingSeen(BTC, 8, "x1", D(1)), (FundingPayment(BTC, 8, 0.1, 5e4, D(1), 1.0),))
    assert len(telling.next(200)) == 1
    assert outbox.groups_after(4) == (Group(1, 200),)
