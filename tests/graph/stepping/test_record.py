"""Searching the record finds what the run decided, without making anything again."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from core.types import Regime
from graph.names import Names
from graph.sessions import Session
from graph.stepping.conditions import parse_condition
from graph.stepping.errors import NotThere, nearest
from graph.stepping.marks import Mark
from graph.stepping.paths import parse_path
from graph.stepping.record import Record
from tests.support.commands import rows
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
    assert [hit.bar for hit in record.every(Mark.REFUSAL)] == refused
    assert [hit.bar for hit in record.every(Mark.TRADE)] == planned
    assert [hit.bar for hit in record.every(Mark.REQUEST)] == asked
    assert refused
    assert len(planned) == 3
    assert len(asked) == 1


def test_regime_changes_are_where_labels_changed(record: Record, recorded: Ran) -> None:
    rows = [(bar, state["regimes"]) for bar, _, state in events(recorded) if "regimes" in state]
    changed = [bar for (_, before), (bar, now) in pairwise(rows) if now != before]
    assert [hit.bar for hit in record.every(Mark.REGIME)] == changed
    assert record.every(Mark.REGIME)[0].text == f"{BTC} h1: range_lowvol to trend_down"


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


@pytest.mark.parametrize("kind", ["whole", "pieces", "long"])
@pytest.mark.parametrize("by", ["names", "journal", "older journal"])
def test_every_order_leads_to_its_plan(request: pytest.FixtureRequest, tmp_path: Path, kind: str, by: str) -> None:
    """Of every kind; by the session's records, by the journal, and where that does not say whose an order is."""
    session: Session = request.getfixturevalue({"whole": "session", "pieces": "in_pieces", "long": "long"}[kind])
    record = Record(session.reader(), Names(session.folder.database if by == "names" else None))
    if by == "older journal":
        for at in range(len(record.reader.segments)):
            sent = record._found(at).sent
            sent.update(dict.fromkeys(sent, ""))
    shutil.copy(session.folder.database, tmp_path)
    orders = rows(tmp_path, "SELECT client_id, plan_id, purpose FROM orders")
    assert {purpose for _, _, purpose in orders} == {"entry", "stop"} | ({"exit"} if kind == "long" else {"add", "take"})
    for order, plan, _ in orders:
        hit, planned = record.plan(order), record.plan(plan)
        assert (hit.bar, hit.event) == (planned.bar, planned.event)
        assert hit.text == planned.text or by == "older journal"
    for made_up in (orders[1][0][:-1] + "z", orders[0][0] + "1"):
        with pytest.raises(NotThere, match="did you mean"):
            record.plan(made_up)


def test_among_very_many_names_the_nearest_is_still_found() -> None:
    many = [
        f"P-{1704067200000 + at * 300_000}-range_rev_5m-{symbol}USDT" for at in range(4_200) for symbol in ("BTC", "ETH", "SOL")
    ]
    said = nearest("P-1704124800000-range_rev_5m-ETHUSD", many)
    assert "P-1704124800000-range_rev_5m-ETHUSDT" in said
    assert len(said) < 200
    assert nearest("zzz", many) == ""


def test_alerts_of_governor_and_selection_are_where_the_run_raised_them(long: Session, session: Session, tmp_path: Path) -> None:
    for recorded in (long, session):
        one = Record(recorded.reader())
        shutil.copy(recorded.folder.database, tmp_path)
        # What the governor changes is written down after the decision in which it is seen.
        raised = [seq - code.startswith("bonus") for seq, code in rows(tmp_path, "SELECT seq, code FROM alerts ORDER BY seq")]
        assert [one.bar(hit.bar).made[0].seq for hit in one.every(Mark.ALERT)] == raised
    texts = [hit.text for hit in Record(long.reader()).every(Mark.ALERT)]
    assert texts[:2] == ["bonus", "over: bonus"]
    assert texts[2].startswith("selection tightened: 50.0 % of the last 2 decided trades won")


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
