"""What the order manager does while the broker cannot tell what became of an order (F2): nothing is taken for done."""

import json
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.codes import RefusalCode
from core.types import ExitReason, OrderPurpose, OrderStatus, OrderUpdate, PlanKind
from tests.core.exec.test_orders import TAKES, Live, Scripted
from tests.core.sim.kit import BTC, T0, plan, run

STOP, TAKE, ENTRY, EXIT = OrderPurpose.STOP, OrderPurpose.TAKE, OrderPurpose.ENTRY, OrderPurpose.EXIT
NEW, UNKNOWN, REJECTED, FILLED = OrderStatus.NEW, OrderStatus.UNKNOWN, OrderStatus.REJECTED, OrderStatus.FILLED


class Doubtful(Scripted):
    """Of orders whose purpose is in ``doubt`` it cannot tell whether they came to be."""

    def __init__(self):
        super().__init__()
        self.doubt = set()
        self.cancelled = []

    async def place(self, order):
        update = await super().place(order)
        if order.purpose in self.doubt:
            return OrderUpdate(order.client_id, order.symbol, UNKNOWN, order.ts)
        return update

    async def cancel(self, symbol, client_id):
        self.cancelled.append(client_id)
        return await super().cancel(symbol, client_id)


@pytest.fixture
def live():
    made = Live()
    made.broker = made.manager._broker = Doubtful()
    return made


def tell(live, order, status, code=None):
    run(live.manager.handle((OrderUpdate(order.client_id, BTC, status, T0, code=code),)))


def entered(live, **more):
    live.fill(live.enter(plan(**more)), "1", "100", FILLED)
    return live.broker.of(STOP)


def test_an_entry_in_doubt_stays_pending_until_it_is_told(live):
    live.broker.doubt = {ENTRY}
    entry = live.enter(plan())
    assert live.manager.pending() == (plan(),)
    tell(live, entry, UNKNOWN)
    assert live.manager.pending() == (plan(),)
    tell(live, entry, REJECTED, RefusalCode.ORDER_ABSENT)
    assert live.manager.pending() == ()
    assert live.ledger.plan("p") is None


def test_the_first_stop_in_doubt_is_not_sent_again_and_covers_once_it_is_told(live):
    live.broker.doubt = {STOP}
    (stop,) = entered(live)
    assert live.manager.unprotected() == (BTC,)
    run(live.manager.protect_again(T0))
    assert live.broker.of(STOP) == [stop]
    tell(live, stop, UNKNOWN)
    tell(live, stop, NEW)
    assert live.manager.unprotected() == ()
    assert live.ledger.positions[BTC].stop == stop.price == 95


def test_the_old_stop_stays_until_the_new_one_is_known_to_rest(live):
    (old,) = entered(live)
    live.broker.doubt = {STOP}
    assert run(live.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL)).status is UNKNOWN
    new = live.broker.placed[-1]
    assert live.broker.cancelled == []
    assert live.ledger.positions[BTC].stop == 95
    assert run(live.manager.move_stop(BTC, Decimal(98), T0, ExitReason.TRAIL)) is None
    tell(live, new, NEW)
    assert live.broker.cancelled == [old.client_id]
    assert live.ledger.positions[BTC].stop == 97
    live.broker.doubt = set()
    assert run(live.manager.move_stop(BTC, Decimal(98), T0, ExitReason.TRAIL)).status is NEW


def test_where_the_new_stop_never_came_to_be_the_old_one_holds(live):
    entered(live)
    live.broker.doubt = {STOP}
    run(live.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))
    tell(live, live.broker.placed[-1], REJECTED, RefusalCode.ORDER_ABSENT)
    assert live.broker.cancelled == []
    assert live.ledger.positions[BTC].stop == 95
    assert live.manager.unprotected() == ()


def test_a_first_stop_that_never_came_to_be_is_placed_anew(live):
    live.broker.doubt = {STOP}
    (lost,) = entered(live)
    live.broker.doubt = set()
    tell(live, lost, REJECTED, RefusalCode.ORDER_ABSENT)
    assert live.broker.placed[-1].purpose is STOP
    assert live.broker.placed[-1].client_id != lost.client_id
    assert live.manager.unprotected() == ()


def test_of_two_stops_in_doubt_the_one_that_covers_more_stays(live):
    live.broker.doubt = {STOP}
    entry = live.enter(plan())
    live.fill(entry, "0.4", "100")
    live.fill(entry, "0.6", "100", FILLED)
    small, whole = live.broker.of(STOP)
    assert (small.qty, whole.qty) == (Decimal("0.4"), 1)
    tell(live, whole, NEW)
    tell(live, small, NEW)
    assert live.manager.unprotected() == ()
    assert live.broker.cancelled == [small.client_id]


def test_a_tighter_stop_for_what_is_left_stays_though_the_old_one_is_larger(live):
    """F3: a person has closed a part; the new stop covers all that is left."""
    (old,) = entered(live)
    live.broker.doubt = {STOP}
    by_hand = live.made(old, "0.5", "100", OrderStatus.PARTIAL)[0]
    run(live.manager.handle((replace(by_hand, client_id="by-hand", plan_id="", reason=ExitReason.BY_HAND),)))
    run(live.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))
    new = live.broker.placed[-1]
    assert (old.qty, new.qty) == (1, Decimal("0.5"))
    tell(live, new, NEW)
    assert live.broker.cancelled == [old.client_id]
    assert live.broker.of(STOP) == [new]
    assert live.ledger.positions[BTC].stop == 97


def test_a_stop_that_is_told_of_late_and_is_looser_goes(live):
    live.broker.doubt = {STOP}
    (first,) = entered(live)
    guard = live.manager._guards[BTC]
    guard.stop_price = Decimal(96)
    tell(live, first, NEW)  # alone, it is better than none, and replaced at once
    assert live.broker.placed[-1].price == 96
    tell(live, live.broker.placed[-1], NEW)
    assert live.broker.cancelled == [first.client_id]
    assert live.manager.unprotected() == ()


def test_a_joint_stop_that_never_came_to_be_is_tried_again(live):
    entered(live)
    live.broker.doubt = {STOP}
    add = live.enter(plan("q", kind=PlanKind.ADD, stop="98", qty="0.5"))
    live.fill(add, "0.5", "104", FILLED)
    joint = live.broker.placed[-1]
    assert (joint.price, joint.reason) == (98, ExitReason.JOINT_STOP)
    live.broker.doubt = set()
    tell(live, joint, REJECTED, RefusalCode.ORDER_ABSENT)
    assert live.broker.placed[-1].price == 98
    assert live.ledger.positions[BTC].stop == 98


def test_takes_that_never_came_to_be_are_placed_anew(live):
    live.broker.doubt = {TAKE}
    entered(live, tps=TAKES)
    first, second = live.broker.of(TAKE)
    live.broker.doubt = set()
    tell(live, first, REJECTED, RefusalCode.ORDER_ABSENT)
    assert live.broker.cancelled == [second.client_id]
    assert [take.price for take in live.broker.of(TAKE)[-2:]] == [105, 110]


def test_an_exit_in_doubt_is_on_its_way_until_it_is_told(live):
    entered(live)
    live.broker.doubt = {EXIT}
    assert run(live.manager.close(BTC, T0, ExitReason.TIME_STOP)).status is UNKNOWN
    assert live.manager.closing(BTC)
    tell(live, live.broker.placed[-1], REJECTED, RefusalCode.ORDER_ABSENT)
    assert not live.manager.closing(BTC)


def test_when_flat_what_is_in_doubt_is_called_back_too_and_what_comes_late_does_nothing(live):
    (old,) = entered(live)
    live.broker.doubt = {STOP}
    run(live.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))
    new = live.broker.placed[-1]
    part, end = live.made(old, "1", "95", FILLED)
    run(live.manager.handle((part, end, OrderUpdate(new.client_id, BTC, NEW, T0))))
    assert BTC not in live.ledger.positions
    assert new.client_id in live.broker.cancelled
    tell(live, new, NEW)
    assert live.manager.unprotected() == ()


def test_what_is_in_doubt_outlives_a_restart(live):
    entered(live)
    live.broker.doubt = {STOP}
    run(live.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))
    saved = json.loads(json.dumps(live.manager.snapshot()))
    live.manager.restore(saved)
    assert json.loads(json.dumps(live.manager.snapshot())) == saved
    tell(live, live.broker.placed[-1], NEW)
    assert live.ledger.positions[BTC].stop == 97
