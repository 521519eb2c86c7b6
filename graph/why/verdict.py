"""The first line: what, which symbol, when, what became of it, money and R, LIVE or PAPER."""

from __future__ import annotations

from core.clock import rfc3339
from core.codes import RefusalCode
from core.journal.records import Opening
from core.types import OrderPurpose, OrderStatus, PlanKind
from graph.why.model import Verdict
from graph.why.records import Kind, Subject, answer_to

_ABSTAINED = (RefusalCode.WARMING_UP, RefusalCode.MISSING_INPUT, RefusalCode.BAR_FLAGGED)


def mode_of(opening: Opening) -> str:
    """LIVE or PAPER."""
    return str(opening.facts.get("mode", "paper")).upper()


def headline(mode: str, labels: tuple[str, ...], *parts: str) -> str:
    """One line: PAPER or LIVE first, then in a word what makes it another thing than the session as it was."""
    return " · ".join((mode, *(label.partition(":")[0].upper() for label in labels), *parts))


def verdict(subject: Subject, opening: Opening, labels: tuple[str, ...] = ()) -> Verdict:
    """The verdict on ``subject``."""
    state, mode, trade = state_of(subject), mode_of(opening), subject.trade
    side = "" if subject.side is None else f" {subject.side.value}"
    what = f"{subject.kind.value}{side}{'' if not subject.strategy else ' of ' + subject.strategy}"
    if subject.order is not None:
        what = (
            f"{subject.order.purpose.value} order ({subject.order.side.value} {subject.order.qty}) of a {subject.strategy}{side}"
        )
    parts = [state.upper(), f"{what}, {subject.symbol or 'no symbol'}, decided at {rfc3339(subject.ts)}"]
    if subject.refusal is not None:
        parts.append(subject.refusal.code.value)
    if subject.order is not None and _placed_by_add(subject):
        parts.append(f"placed by the add {subject.plan.id if subject.plan is not None else ''}")
    if subject.late_of:
        parts.append(f"filled late of {subject.late_of}, which was over (brain why {subject.late_of})")
    money = r = None
    if trade is not None and subject.kind is not Kind.REFUSAL:
        money, r = trade.net, trade.r_multiple
        parts.append(f"its trade {money:+.4f} USD, {r:+.3f} R, left by {trade.exit_reason.value} at {rfc3339(trade.closed_ts)}")
    at = rfc3339(subject.ts)
    return Verdict(headline(mode, labels, *parts), what, subject.symbol, at, state, mode, money, r, labels)


def _placed_by_add(subject: Subject) -> bool:
    order = subject.order
    return order is not None and order.purpose is OrderPurpose.STOP and subject.plan_kind is PlanKind.ADD


def state_of(subject: Subject) -> str:
    """In one word what became of it."""
    if subject.order is not None:
        last = answer_to(subject.updates, subject.order.client_id)
        return "sent" if last is None else last.status.value
    if subject.refusal is not None:
        return "abstained" if subject.refusal.code in _ABSTAINED else "refused"
    if subject.kind is Kind.PLAN and subject.plan is not None and subject.plan_kind is PlanKind.ADD:
        return _of_add(subject, subject.plan.id)
    if subject.trade is not None:
        return "closed" if subject.kind is Kind.TRADE else "filled"
    if subject.fills:
        return "filled"
    entries = [order for order in subject.orders if order.purpose.opens]
    answers = [last for order in entries if (last := answer_to(subject.updates, order.client_id)) is not None]
    if answers:
        return "sent" if answers[-1].status is OrderStatus.NEW else answers[-1].status.value
    return "not sent"


def _of_add(subject: Subject, plan_id: str) -> str:
    """Of the add itself, whatever became of the position that it was to join."""
    if any(fill.plan_id == plan_id for fill in subject.fills):
        return "filled"
    sent = [order.client_id for order in subject.orders if order.plan_id == plan_id]
    answer = answer_to(subject.updates, sent[0]) if sent else None
    return "not sent" if not sent else "sent" if answer is None or answer.status is OrderStatus.NEW else answer.status.value
