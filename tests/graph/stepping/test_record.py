"""Searching the record finds what the run decided, without making anything again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from core.types import Regime
from graph.sessions import Session
from graph.stepping.conditions import parse_condition
from graph.stepping.errors import NotThere
from graph.stepping.paths import parse_path
from graph.stepping.record import Mark, Record
from tests.support.run import Ran

BTC, SOL = "BTC/USDT:USDT", "SOL/USDT:USDT"


@pytest.fixture(scope="module")
def record(session: Session) -> Record:
    return Record(session.reader())


def events(recorded: Ran) -> list[tuple[int, int, dict]]:
    """(bar, event of the bar, state) of every decision of the run itself."""
    found: list[tuple[int, int, dict]] = []
    for state in recorded.states:
        again = state["event"].kind.value == "research"
        bar = found[-1][0] if again else (found[-1][0] + 1 if found else 0)
        found.append((bar, found[-1][1] + 1 if again else 0, dict(state)))
    return found


def test_refusals_trades_and_requests_are_where_the_run_had_them(record: Record, recorded: Ran) -> None:
    refused, planned, asked = [], [], []
    for bar, _, state in events(recorded):
        keys = [key for key in ("selection", "risk", "execution", "research") if key in state]
        if any(state[key].refusals for key in keys) and bar not in refused:
            refused.append(bar)
        if "risk" in state and state["risk"].plans:
            planned.append(bar)
        if "research" in state:
            asked.append(bar)
    assert [hit.bar for hit in record.marks[Mark.REFUSAL]] == refused
    assert [hit.bar for hit in record.marks[Mark.TRADE]] == planned
    assert [hit.bar for hit in record.marks[Mark.REQUEST]] == asked
    assert refused
    assert len(planned) == 3
    assert len(asked) == 1


def test_regime_changes_are_where_labels_changed(record: Record, recorded: Ran) -> None:
    rows = [(bar, state["regimes"]) for bar, _, state in events(recorded) if "regimes" in state]
    changed = [bar for (_, before), (bar, now) in pairwise(rows) if now != before]
    assert [hit.bar for hit in record.marks[Mark.REGIME]] == changed
    assert record.marks[Mark.REGIME][0].text == f"{BTC} h1: range_lowvol to trend_down"


def test_the_nearest_mark_is_found_both_ways(record: Record) -> None:
    assert [record.next(Mark.TRADE, bar).bar for bar in (0, 286, 287, 383)] == [287, 287, 383, 474]
    assert [record.next(Mark.TRADE, bar, back=True).bar for bar in (649, 474, 384, 383)] == [474, 383, 383, 287]
    with pytest.raises(NotThere, match="no earlier trade"):
        record.next(Mark.TRADE, 287, back=True)
    with pytest.raises(NotThere, match="no later trade"):
        record.next(Mark.TRADE, 474)


def test_a_condition_finds_every_event_of_which_it_holds(record: Record, recorded: Ran) -> None:
    hits = record.where(parse_condition(f"score >= 6 and regimes.h1[SOL] == {Regime.RANGE_LOWVOL.value}", record.symbols))
    expected = [
        (bar, event)
        for bar, event, state in events(recorded)
        if "selection" in state
        and any(scored.score >= 6 for scored in state["selection"].scored)
        and state["regimes"].h1[1] is Regime.RANGE_LOWVOL
    ]
    assert [(hit.bar, hit.event) for hit in hits] == expected
    assert expected


def test_a_watched_field_shows_every_change_and_who_wrote_it(record: Record, recorded: Ran) -> None:
    changed = record.watch(parse_path("regimes.h1[SOL]", record.symbols))
    values = [(bar, state["regimes"].h1[1].value) for bar, _, state in events(recorded) if "regimes" in state]
    expected = [values[0], *(now for before, now in pairwise(values) if now[1] != before[1])]
    assert [(change.bar, change.new) for change in changed] == expected
    assert {change.node for change in changed} == {"market_regime"}
    assert [change.old for change in changed] == [None, *(change.new for change in changed[:-1])]
    equity = record.watch(parse_path("status.governor.equity"))
    assert {change.node for change in equity} == {"brain"}
    assert equity[-1].new == pytest.approx(recorded.states[-1]["status"].governor.equity)


def test_a_plan_is_found_by_the_ids_of_its_trade_signal_and_order(record: Record, recorded: Ran) -> None:
    state = recorded.states[287]
    plan, order = state["risk"].plans[0], state["execution"].orders[0]
    for name in (plan.id, f"trade-{plan.id}", plan.signal_id, order):
        assert record.plan(name).bar == 287
    with pytest.raises(NotThere, match=f"did you mean .*{plan.id}"):
        record.plan(plan.id[:-1] + "X")


def test_a_time_leads_to_the_first_bar_that_closed_then_or_later(record: Record) -> None:
    closed = record.time_of(300)
    assert [record.at_time(closed - 299_999), record.at_time(closed), record.at_time(closed + 1)] == [300, 300, 301]
    assert record.at_time(0) == 0
    with pytest.raises(NotThere, match="ends before that time"):
        record.at_time(record.time_of(649) + 1)


def test_bars_can_be_had_in_any_order(record: Record) -> None:
    for number in (649, 0, 300, 299, 300):
        assert record.bar(number).number == number
    assert [bar.number for bar in record.bars_from(645)] == [645, 646, 647, 648, 649]
    one, other = next(record.bars_from(288)), next(record.bars_from(288))
    one.inputs.clear()
    one.made.clear()
    assert other.inputs
    assert other.made
