"""Exchange and ledger keep the same books over any session; nothing is created or lost."""

import pytest
from hypothesis import given, settings

from core.types import Fill, FundingPayment, OrderPurpose
from tests.properties.sim_sessions import SYMBOLS, Session, check_books, desk, steps


@settings(max_examples=80, deadline=None)
@given(steps(30))
def test_ledger_and_exchange_agree_at_every_moment(script):
    session = Session(desk())
    session.desk.watch.append(check_books)
    session.play(script)


@settings(max_examples=60, deadline=None)
@given(steps(40))
def test_closed_trades_and_open_positions_are_all_of_the_change_in_equity(script):
    session = Session(desk())
    session.play(script)
    books = session.desk.ledger
    net = sum(trade.net for trade in books.drain_trades())
    still = sum(item.realised - item.fees + item.funding for item in books.positions.values())
    change = books.equity(session.desk.prices) - session.desk.equity
    assert change == pytest.approx(net + still + books.unrealised(session.desk.prices), abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(steps(30))
def test_fills_are_never_better_than_the_reference_and_longs_pay_positive_funding(script):
    session = Session(desk())
    session.play(script)
    instruments = {item.symbol: item for item in session.desk.instruments}
    for event in session.desk.events:
        if isinstance(event, Fill):
            worse = event.side.sign * (float(event.price) - event.expected_price)
            assert worse >= 0.0 if not event.maker else worse == 0.0
            assert event.qty > 0
            assert event.qty % instruments[event.symbol].qty_step == 0
            assert event.price % instruments[event.symbol].tick_size == 0
            assert event.fee > 0
            assert event.maker is False or event.purpose is OrderPurpose.TAKE
        elif isinstance(event, FundingPayment):
            assert event.amount * float(event.qty) * event.rate < 0.0
    ids = [event.id for event in session.desk.fills()]
    assert len(ids) == len(set(ids))


@settings(max_examples=40, deadline=None)
@given(steps(25))
def test_a_symbol_trades_the_same_alone_and_in_company(script):
    both = Session(desk())
    both.play(script)
    alone = Session(desk())
    alone.play([(first, second._replace(action=11, funding=0)) for first, second in script])
    mine = [event for event in both.desk.events if event.symbol == SYMBOLS[0]]
    refused = [update for update in both.desk.log.updates if update.code == "INSUFFICIENT_MARGIN"]
    flattened = any(step.action == 7 and step.size > 50 for _, step in script)
    if not refused and not flattened:  # the account and the kill-switch are shared on purpose
        assert [event for event in alone.desk.events if event.symbol == SYMBOLS[0]] == mine
