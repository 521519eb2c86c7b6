"""Why, over everything in a session: complete, each section checked against what was worked out apart, and without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from core.clock import rfc3339
from core.data.sources.scenarios import Scenario
from core.types import OrderPurpose, OrderStatus, OrderUpdate, PlanKind, Side
from graph.why.explain import Explainer
from graph.why.life import money, stops, stops_of
from graph.why.model import Why
from tests.graph.why.checks import assert_complete, step, value
from tests.graph.why.conftest import SPECIAL, Explained, fingerprint
from tests.graph.why.witness import last_position

OPENING = (OrderPurpose.ENTRY, OrderPurpose.ADD)


def test_every_trade_plan_order_and_code_is_explained_in_all_eight_parts(explained: Explained):
    """I1; ux.md, check 17; E1, E2, X9, X10, X14, G7: every section worked out again."""
    kinds = {kind: len(explained.of_kind(kind)) for kind in ("trade", "plan", "order", "refusal")}
    assert min(kinds.values()) > 0
    assert kinds["order"] > 50
    purposes = {subject.order.purpose for subject in explained.subjects.values() if subject.order is not None}
    assert {OrderPurpose.ENTRY, OrderPurpose.STOP, OrderPurpose.TAKE, OrderPurpose.ADD} <= purposes
    for why in explained.whys.values():
        assert_complete(explained, why)


@pytest.mark.parametrize("name", SPECIAL)
def test_locks_correlations_lost_streams_and_unfilled_entries_are_explained_too(name: str, special: Callable[[str], Explained]):
    """Issue 3: over every refusal code; each section worked out again."""
    found = special(name)
    assert found.whys
    for why in found.whys.values():
        assert_complete(found, why)
    assert fingerprint(found.folder) == found.before


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        (Scenario.CLOCK_DRIFT, "CLOCK_DRIFT"),
        (Scenario.LOST_BOOK, "STREAM_BOOK"),
        (Scenario.DEAD_FEED, "CANDLE_INTEGRITY"),
        (Scenario.LOST_FUNDING, "STREAM_FUNDING"),
    ],
)
def test_what_the_health_gates_refuse_is_explained_too(scenario: Scenario, code: str, faulty: Callable[[Scenario], Explained]):
    """E7: a fault of each kind."""
    found = faulty(scenario)
    for why in found.whys.values():
        assert_complete(found, why)
        assert why.verdict.state in {"refused", "abstained"}
    first = [why for why in found.whys.values() if why.reasons[0].code == code]
    assert first
    assert all(any(one.name in {code, "book"} for one in why.missing) for why in first)


def test_a_signal_tells_the_fate_of_its_plan_or_of_its_refusal(explained: Explained):
    reader, records = explained.session.reader(), explained.records
    planned = next(one for one in explained.subjects.values() if one.plan is not None and one.plan_kind is PlanKind.ENTRY)
    refused = next(one for one in explained.subjects.values() if one.refusal is not None and one.signal is not None)
    for subject in (planned, refused):
        assert subject.signal is not None
        why, other = asyncio.run(Explainer(reader, records).one(subject.signal.id)), explained.whys[subject.id]
        assert (why.kind, why.flips, why.chain[:7]) == ("signal", other.flips, other.chain[:7])
        assert [one.code for one in why.reasons] == [one.code for one in other.reasons]


def test_explaining_leaves_every_file_of_the_session_as_it_was(explained: Explained):
    """Issue 3: nothing overwritten."""
    assert fingerprint(explained.folder) == explained.before


# --- adds, moves and what is still open -----------------------------------------------------------------


def joint(found: Explained) -> Why:
    subjects = found.subjects.values()
    reasons = [one.id for one in subjects if one.order is not None and str(one.order.reason) == "joint_stop"]
    return found.whys[reasons[0]]


def test_the_stop_that_an_add_moved_is_explained_by_the_add(explained: Explained):
    """X16: not by the entry, which was long before."""
    why = joint(explained)
    (add,) = [one for one in explained.subjects.values() if one.kind.value == "plan" and one.plan_kind is PlanKind.ADD]
    assert why.verdict.at == explained.whys[add.id].verdict.at
    assert f"placed by the add {add.id}" in why.verdict.text
    assert why.reasons[0].code == "ADD"
    assert why.flips == explained.whys[add.id].flips
    (moved,) = [one for one in step(why, "stop moves").lines if one.name == "joint_stop stop"]
    order = explained.subjects[why.id].order
    assert order is not None
    assert (moved.value, moved.note.split()[0]) == (order.price, rfc3339(order.ts))
    assert add.id in moved.note


def test_an_add_that_did_not_fill_moved_no_stop(explained: Explained):
    """The stop is where orders were accepted: an add that expired, or whose stop was no tighter, or was rejected, moved none."""
    order = explained.subjects[joint(explained).id].order
    (trade,) = [one for one in explained.subjects.values() if one.kind.value == "trade" and order in one.orders]
    assert order is not None
    drawn = [level for level in explained.whys[trade.id].chart.levels if level.note == "joint_stop"]
    assert [(level.price, level.since) for level in drawn] == [(float(str(order.price)), order.ts)]
    expired = replace(trade, orders=tuple(one for one in trade.orders if one != order))
    refused = OrderUpdate(order.client_id, order.symbol, OrderStatus.REJECTED, order.ts)
    rejected = replace(trade, updates=(*trade.updates, refused))
    for subject in (expired, rejected):
        assert subject.plans == trade.plans
        told = [line.name for line in stops(subject).lines] + [one.reason for one in stops_of(subject)]
        assert not [name for name in told if "joint" in name]


def test_a_stop_that_was_wished_for_and_not_placed_is_told_as_such(explained: Explained):
    """A move whose order the exchange did not take is in the list, and not in the chart."""
    trades = [one for one in explained.subjects.values() if one.kind.value == "trade"]
    subject, order = next(
        (one, order)
        for one in trades
        for order in one.orders
        if order.reason is not None and order.reason.value == "trail" and order.purpose is OrderPurpose.STOP
    )
    refused = OrderUpdate(order.client_id, order.symbol, OrderStatus.REJECTED, order.ts)
    told = [line for line in stops(replace(subject, updates=(*subject.updates, refused))).lines if "not placed" in line.name]
    assert [(line.value, line.note) for line in told] == [(order.price, rfc3339(order.ts))]


def test_an_add_that_was_sent_passed_only_the_gates_that_are_asked_of_adds(explained: Explained):
    """E7, X16: no regime, no owner, no score is asked again of what is already held."""
    (add,) = [why for why in explained.of_kind("plan") if explained.subjects[why.id].plan_kind is PlanKind.ADD]
    gates = step(add, "gates")
    assert gates.summary == "all passed"
    assert not [one for one in gates.lines if "NOT passed" in one.note]
    assert "held by" not in {one.name for one in gates.lines}


def test_an_add_that_a_health_gate_refused_explains_itself(special: Callable[[str], Explained]):
    """E7: an add opens risk, too."""
    found = special("no funding")
    (why,) = found.refused("STREAM_FUNDING", "risk_manager")
    assert found.subjects[why.id].plan_kind is PlanKind.ADD
    assert step(why, "gates").summary == "stopped by STREAM_FUNDING"
    assert step(why, "sizing").summary == "not reached: nothing was sized"
    (health,) = [flip for flip in why.flips if flip.name == "health gates"]
    stands_alone = len(why.reasons) == 1
    assert (health.needed == "nothing amiss") == stands_alone
    assert why.reasons[0].code == "STREAM_FUNDING"


def test_a_position_that_is_still_open_tells_what_it_has_brought_so_far(explained: Explained):
    """Its takes, fees and funding are what the ledger has of it."""
    open_plans = [
        one
        for one in explained.subjects.values()
        if one.kind.value == "plan" and one.plan_kind is PlanKind.ENTRY and one.fills and one.trade is None
    ]
    assert open_plans
    for one in open_plans:
        held, why = last_position(explained.session, explained.records, one.symbol), explained.whys[one.id]
        assert value(why, "money", "gross so far") == pytest.approx(held.realised)
        assert value(why, "money", "fees so far") == pytest.approx(-held.fees)
        assert value(why, "money", "funding so far") == pytest.approx(held.funding)
        assert value(why, "money", "net so far") == pytest.approx(held.realised - held.fees + held.funding)
        assert value(why, "money", "still open") == float(held.qty)


def test_money_so_far_counts_the_takes_that_were_filled(explained: Explained):
    """A trade looked at before its last fill: what is missing is just what that fill brought, against the average of its day."""
    trades = [one for one in explained.subjects.values() if one.trade is not None and one.kind.value == "trade"]
    taken = [one for one in trades if any(fill.purpose is OrderPurpose.TAKE for fill in one.fills[:-1])]
    assert taken
    for subject in taken:
        *before, last = subject.fills
        so_far = {one.name: one.value for one in money(replace(subject, fills=tuple(before), trade=None)).lines}
        gross, held, cost = Fraction(0), Fraction(0), Fraction(0)
        for fill in before:
            qty, paid = Fraction(fill.qty), Fraction(fill.qty) * Fraction(fill.price)
            if fill.purpose in OPENING:
                held, cost = held + qty, cost + paid
            else:
                gross += (paid - cost * qty / held) * (1 if subject.side is Side.LONG else -1)
                held, cost = held - qty, cost - cost * qty / held
        assert so_far["gross so far"] == pytest.approx(float(gross))
        assert float(str(so_far["gross so far"])) != 0.0
        assert so_far["still open"] == last.qty
