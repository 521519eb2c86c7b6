"""From the first fill to flat a stop covers the whole position, over any session; and a restart changes nothing."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.codes import RefusalCode
from core.types import ExitReason, FundingPayment, OrderPurpose, OrderType
from tests.properties.sim_sessions import SYMBOLS, Session, check_books, desk, long_script, steps


def covered(on):
    """Live stops hold the position; where a stop would trigger at once a market exit for all of it is on its way instead."""
    for symbol in SYMBOLS:
        held = abs(on.exchange.position_qty(symbol))
        orders = on.exchange.open_orders(symbol)
        stops = [order for order in orders if order.type is OrderType.STOP_MARKET]
        exits = [order for order in orders if order.type is OrderType.MARKET]
        assert len(stops) <= 1
        assert len(exits) <= 1
        if not held:
            assert [order for order in orders if order.reduce_only] == []
            continue
        (cover,) = stops or exits
        if cover.qty < held:
            (cover,) = exits
        assert cover.qty >= held
        assert cover.reduce_only
        if stops:
            assert stops[0].price == on.ledger.positions[symbol].stop
    assert on.manager.unprotected() == ()


def covered_by_a_stop(on):
    """Between bars nothing but a stop counts (a market exit may stand beside it)."""
    for symbol in SYMBOLS:
        stops = [order for order in on.exchange.open_orders(symbol) if order.type is OrderType.STOP_MARKET]
        assert sum(order.qty for order in stops) >= abs(on.exchange.position_qty(symbol))


@settings(max_examples=120, deadline=None)
@given(steps(40))
def test_a_position_is_covered_at_every_moment(script):
    """Architecture, Orders; E4: gaps, part takes and adds included."""
    session = Session(desk())
    session.desk.watch.append(covered)
    for pair in script:
        session.play([pair])
        covered(session.desk)
        covered_by_a_stop(session.desk)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_session_sees_everything_and_stays_covered(seed):
    """The checks above are not empty: every kind of exit, takes, adds, gaps and refusals occur."""
    session = Session(desk())
    session.desk.watch.extend([covered, check_books])
    for pair in long_script(seed, 500):
        session.play([pair])
        covered_by_a_stop(session.desk)
    reasons = {(fill.purpose, fill.reason) for fill in session.desk.fills()}
    assert {(OrderPurpose.ENTRY, None), (OrderPurpose.ADD, None), (OrderPurpose.TAKE, ExitReason.TAKE)} <= reasons
    assert {(OrderPurpose.STOP, ExitReason.STOP), (OrderPurpose.STOP, ExitReason.TRAIL)} <= reasons
    assert {(OrderPurpose.STOP, ExitReason.JOINT_STOP), (OrderPurpose.EXIT, ExitReason.STOP)} <= reasons
    assert (OrderPurpose.EXIT, ExitReason.TIME_STOP) in reasons
    codes = {update.code for update in session.desk.log.updates}
    assert {RefusalCode.ENTRY_NOT_FILLED, RefusalCode.STOP_WOULD_TRIGGER} <= codes
    assert any(isinstance(event, FundingPayment) for event in session.desk.events)
    assert max(trade.takes_filled for trade in session.desk.ledger.drain_trades()) == 2


@settings(max_examples=80, deadline=None)
@given(steps(40))
def test_a_stop_never_widens_within_a_trade(script):
    session = Session(desk())
    session.play(script)
    rejected = {update.client_id for update in session.desk.log.updates if update.status == "rejected"}
    last = {}
    for order in session.desk.log.intents:
        if order.purpose is OrderPurpose.STOP and order.client_id not in rejected:
            before = last.setdefault(order.plan_id, order.price)
            assert -order.side.sign * (order.price - before) >= 0
            last[order.plan_id] = order.price


@settings(max_examples=60, deadline=None)
@given(steps(40))
def test_client_ids_are_legal_and_never_used_twice(script):
    session = Session(desk())
    session.play(script)
    ids = [order.client_id for order in session.desk.log.intents]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,32}", item) for item in ids)


@settings(max_examples=60, deadline=None)
@given(steps(30), st.integers(0, 30))
def test_a_kill_and_restart_between_bars_changes_nothing(script, cut):
    """F6, X43: exchange, ledger and manager from JSON text go on identically."""
    whole, broken = Session(desk()), Session(desk())
    whole.play(script)
    broken.play(script[:cut])
    broken.desk.restart()
    broken.play(script[cut:])
    assert broken.desk.events == whole.desk.events
    assert broken.desk.log.intents == whole.desk.log.intents
    assert broken.desk.log.updates == whole.desk.log.updates
    for part in ("exchange", "ledger", "manager"):
        assert getattr(broken.desk, part).snapshot() == getattr(whole.desk, part).snapshot()


@settings(max_examples=40, deadline=None)
@given(steps(30))
def test_the_same_script_gives_the_same_events(script):
    """G4."""
    first, second = Session(desk()), Session(desk())
    first.play(script)
    second.play(script)
    assert first.desk.events == second.desk.events
