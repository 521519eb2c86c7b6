"""Conditional orders: a book of their own, a life of their own (exchange.md 1.3)."""

import pytest

from core.sim.local.values import (
    AlgoEvent,
    AlgoStatus,
    AlgoType,
    OrderEvent,
    TimeInForce,
    WorkingType,
)
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, d, listing, refused

MARK = WorkingType.MARK_PRICE
STOP, TAKE, TRAIL = AlgoType.STOP_MARKET, AlgoType.TAKE_PROFIT_MARKET, AlgoType.TRAILING_STOP_MARKET


def long(**more) -> House:
    """One bought at 100.01."""
    house = House(**more)
    house.market(BUY, 1)
    house.heard()
    return house


def lives(house, algo):
    return [word.algo.status.value for word in house.heard(AlgoEvent) if word.algo.algo_id == algo.algo_id]


def test_a_stop_lives_from_new_to_finished_and_its_child_has_its_id():
    house = long()
    stop = house.stop(SELL, 1, 95, client_id="s1")
    house.later(5).print(95)
    words = house.heard()
    told = [word.algo.status if isinstance(word, AlgoEvent) else getattr(word, "execution", "ACCOUNT") for word in words]
    assert told == ["NEW", "TRIGGERING", "TRIGGERED", "NEW", "ACCOUNT", "TRADE", "FINISHED"]
    child = house.exchange.order(BTC, client_id="s1")
    over = house.exchange.algo(client_id="s1")
    assert (child.type, child.reduce_only, child.origin, child.algo_id) == ("MARKET", True, "STOP_MARKET", stop.algo_id)
    assert (over.status, over.actual_order_id, over.actual_qty) == (AlgoStatus.FINISHED, child.order_id, 1)
    # 95 less 1 bp is 94.9905, rounded down
    assert over.actual_price == d("94.99")
    assert over.triggered == stop.created + 5
    assert (over.status.over, stop.status.over) == (True, False)


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "reached"),
    [(SELL, STOP, 95, 94), (SELL, TAKE, 105, 106), (BUY, STOP, 105, 106), (BUY, TAKE, 95, 94)],
)
def test_stops_and_takes_trigger_on_their_own_sides(side, kind, trigger, reached):
    house = House()
    algo = house.algo(side, kind, 1, trigger)
    wrong = 100 + (100 - reached) / 10
    house.print(wrong)
    assert house.exchange.open_algos() == (algo,)
    house.print(reached)
    assert lives(house, algo)[-1] == "FINISHED"


@pytest.mark.parametrize(("side", "kind", "trigger"), [(SELL, STOP, 100), (SELL, TAKE, 100), (BUY, STOP, 99), (BUY, TAKE, 101)])
def test_what_would_trigger_at_once_is_refused(side, kind, trigger):
    with refused(-2021):
        House().algo(side, kind, 1, trigger)


def test_the_mark_price_judges_and_triggers_orders_on_mark():
    house = long().mark(98)
    with refused(-2021):
        house.stop(SELL, 1, 99, working_type=MARK)
    algo = house.stop(SELL, 1, 97, working_type=MARK)
    house.print(96)
    assert house.exchange.open_algos() == (algo,)
    house.mark(97)
    # the fill is at the last price, 96
    assert house.exchange.algo(algo_id=algo.algo_id).actual_price == d("95.99")


def test_before_the_first_price_a_stop_may_be_placed_but_no_trailing_one():
    house = House(price=None)
    assert house.stop(SELL, 1, 99, reduce_only=False).status == "NEW"
    with refused(-2021):
        house.algo(SELL, TRAIL, 1, callback_rate=d(1))


def test_limit_forms_send_a_limit_order():
    house = long()
    algo = house.algo(SELL, AlgoType.STOP, 1, 95, 96, client_id="l")
    house.print(95)
    child = house.exchange.order(BTC, client_id="l")
    assert (child.type, child.status, child.price) == ("LIMIT", "NEW", 96)
    assert house.exchange.open_algos()[0].status == "TRIGGERED"
    house.print("96.01")
    assert lives(house, algo)[-1] == "FINISHED"


def test_a_cancelled_child_finishes_its_parent_unfilled():
    house = long()
    algo = house.algo(SELL, AlgoType.STOP, 1, 95, 96, client_id="l")
    house.print(95)
    house.exchange.cancel(BTC, client_id="l")
    over = house.exchange.algo(algo_id=algo.algo_id)
    assert (over.status, over.actual_qty) == ("FINISHED", 0)


def test_a_child_keeps_its_last_day():
    house = long()
    until = house.clock.now_ms() // 1000 * 1000 + 700_000
    house.algo(SELL, AlgoType.STOP, 1, 95, 96, client_id="l", time_in_force=TimeInForce.GTD, good_till=until)
    house.print(95)
    assert house.exchange.order(BTC, client_id="l").good_till == until


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"trigger": None}, -1102),
        ({"trigger": "95.001"}, -1111),
        ({"price": "95"}, -1106),
        ({"kind": AlgoType.STOP}, -1102),
        ({"qty": None}, -1102),
        ({"qty": "0.0001"}, -1111),
        ({"qty": "0.05"}, -4164),
        ({"client_id": "a b"}, -4015),
        ({"side": BUY, "trigger": 105, "reduce_only": True}, -2022),
        ({"kind": TRAIL}, -2021),
        ({"kind": TRAIL, "trigger": None}, -2007),
        ({"kind": TRAIL, "trigger": None, "callback_rate": d(11)}, -2007),
        ({"kind": TRAIL, "trigger": None, "callback_rate": d(1), "activate_price": d("101.001")}, -1111),
        ({"kind": TRAIL, "trigger": None, "callback_rate": d(1), "activate_price": d(99)}, -2021),
        ({"close_position": True}, -4137),
        ({"close_position": True, "qty": None, "reduce_only": True}, -1106),
        ({"close_position": True, "qty": None, "kind": TRAIL, "trigger": None, "callback_rate": d(1)}, -4136),
        ({"close_position": True, "qty": None, "side": BUY, "trigger": 105}, -4509),
        ({"time_in_force": TimeInForce.GTD}, -1102),
    ],
)
def test_a_malformed_conditional_order_is_refused(asked, code):
    plain = {"side": SELL, "kind": STOP, "qty": 1, "trigger": 95, **asked}
    house = long()
    with refused(code):
        house.algo(plain.pop("side"), plain.pop("kind"), plain.pop("qty"), plain.pop("trigger"), **plain)
    assert house.exchange.open_algos() == ()


def test_ids_and_numbers_of_conditional_orders_are_bounded():
    house = long()
    for trigger in (90, 91, 92):
        house.stop(SELL, 1, trigger, client_id=f"s{trigger}")
    with refused(-4116):
        house.stop(SELL, 1, 93, client_id="s90")
    house.stop(SELL, 1, 93)
    with refused(-4045):
        house.stop(SELL, 1, 94)
    house.exchange.cancel_algo(client_id="s90")
    again = house.stop(SELL, 1, 90, client_id="s90")
    assert house.exchange.algo(client_id="s90") == again


def test_two_reduce_only_stops_cannot_over_close():
    """exchange.md 2.6: the new stop is placed before the old one goes."""
    house = long()
    near, far = house.stop(SELL, 1, 95), house.stop(SELL, 1, 94)
    house.print(93)
    assert house.position().qty == 0
    assert house.exchange.algo(algo_id=near.algo_id).status == "FINISHED"
    late = house.exchange.algo(algo_id=far.algo_id)
    assert (late.status, late.reason) == ("REJECTED", "ReduceOnly Order is rejected.")


def test_a_closing_stop_closes_whatever_there_is_and_ends_with_the_position():
    house = long()
    wide = house.algo(SELL, STOP, None, 90, close_position=True, working_type=MARK)
    take = house.algo(SELL, TAKE, None, 120, close_position=True)
    with refused(-4130):
        house.algo(SELL, STOP, None, 91, close_position=True)
    house.market(BUY, 2)
    house.print(89)
    child = house.exchange.order(BTC, order_id=house.exchange.algo(algo_id=wide.algo_id).actual_order_id)
    assert (child.qty, child.close_position, child.reduce_only) == (3, True, True)
    assert house.exchange.algo(algo_id=take.algo_id).status == "EXPIRED"
    assert house.position().qty == 0


def test_a_closing_stop_ends_when_the_position_turns():
    house = long()
    algo = house.algo(SELL, STOP, None, 90, close_position=True)
    house.market(SELL, 2)
    assert lives(house, algo) == ["NEW", "EXPIRED"]


def test_margin_is_checked_when_it_triggers():
    house = House(wallet="10")
    algo = house.algo(BUY, STOP, 10, 105)
    house.print(105)
    over = house.exchange.algo(algo_id=algo.algo_id)
    assert (over.status, over.reason, over.actual_order_id) == ("REJECTED", "Margin is insufficient.", None)


def test_a_trailing_stop_follows_the_best_price():
    house = long()
    algo = house.algo(SELL, TRAIL, 1, callback_rate=d(2), reduce_only=True)
    house.print(110).print("107.81")
    assert house.exchange.open_algos() == (algo,)
    house.print("107.80")
    assert lives(house, algo)[-1] == "FINISHED"


def test_a_trailing_purchase_follows_the_lowest_price_once_active():
    house = House()
    with refused(-2021):
        house.algo(BUY, TRAIL, 1, callback_rate=d(1), activate_price=d(101))
    algo = house.algo(BUY, TRAIL, 1, callback_rate=d(1), activate_price=d(98))
    house.print(99).print(105)
    assert house.exchange.open_algos() == (algo,)
    house.print(97).print("97.96")
    assert house.exchange.open_algos() == (algo,)
    house.print("97.97")
    assert lives(house, algo)[-1] == "FINISHED"


def test_a_trailing_stop_can_follow_the_mark():
    house = long().mark(100)
    algo = house.algo(SELL, TRAIL, 1, callback_rate=d(1), reduce_only=True, working_type=MARK)
    house.mark(102).print(90)
    assert house.exchange.open_algos() == (algo,)
    house.mark("100.98")
    assert lives(house, algo)[-1] == "FINISHED"


def test_price_protection_holds_back_while_mark_and_last_are_apart():
    house = long().mark(100)
    algo = house.stop(SELL, 1, 95, price_protect=True)
    house.print(94)
    assert house.exchange.open_algos() == (algo,)
    house.mark(96)
    assert lives(house, algo)[-1] == "FINISHED"


def test_a_stalled_trigger_stays_triggering_until_it_is_let_go():
    """exchange.md 1.3: a stop can stick, position open, no error."""
    house = long()
    stop = house.stop(SELL, 1, 95)
    house.exchange.stall_triggers(True)
    house.print(95)
    assert lives(house, stop) == ["NEW", "TRIGGERING"]
    assert house.position().qty == 1
    with refused(-2011):
        house.exchange.cancel_algo(algo_id=stop.algo_id)
    kept = house.stop(SELL, 1, 80)
    house.print(90)
    house.exchange.stall_triggers(False)
    assert house.exchange.algo(algo_id=stop.algo_id).actual_price == d("89.99")
    assert house.exchange.open_algos() == (kept,)


def test_an_unknown_conditional_order_is_told_apart_by_request():
    house = House()
    with refused(-2013):
        house.exchange.algo(algo_id=1)
    with refused(-2011):
        house.exchange.cancel_algo(client_id="x")


def test_plain_and_conditional_orders_do_not_see_each_other():
    house = long()
    stop = house.stop(SELL, 1, 95, client_id="same")
    plain = house.limit(BUY, 1, 90, client_id="same")
    assert house.exchange.open_orders(BTC) == (plain,)
    assert house.exchange.open_algos(BTC) == (stop,)
    assert house.exchange.open_algos(ETH) == ()
    house.print(95)
    # the child's id is taken by an open order: the venue's books are apart, so both stand
    assert house.exchange.algo(client_id="same").status == "FINISHED"
    assert [word.order.origin for word in house.heard(OrderEvent) if word.trade] == ["STOP_MARKET"]


def test_few_conditional_orders_are_remembered_whole(monkeypatch):
    monkeypatch.setattr("core.sim.local.algos.FINISHED_KEPT", 2)
    house = House(listing())
    ids = []
    for trigger in (105, 106, 107):
        ids.append(house.algo(BUY, STOP, 1, trigger, client_id="again").algo_id)
        house.exchange.cancel_algo(algo_id=ids[-1])
    with refused(-2013):
        house.exchange.algo(algo_id=ids[0])
    assert house.exchange.algo(client_id="again").algo_id == ids[2]
    house.algo(BUY, STOP, 1, 108)
    assert [row.algo_id for row in house.exchange.all_algos(BTC)][:2] == ids[1:]
