"""The first line: what, which symbol, when, what became of it, money and R, LIVE or PAPER."""

from __future__ import annotations

from core.clock import rfc3339
from core.codes import RefusalCode
from core.journal.records import Opening
from core.types import OrderPurpose, OrderStatus, OrderUpdate
from graph.why.model import Verdict
from graph.why.records import Kind, Subject

_ABSTAINED = (RefusalCode.WARMING_UP, RefusalCode.MISSING_INPUT, RefusalCode.BAR_FLAGGED)


def mode_of(opening: Opening) -> str:
    """LIVE or PAPER."""
    return str(opening.facts.get("mode", "paper")).upper()


def verdict(subject: Subject, opening: Opening) -> Verdict:
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
    money = r = None
    if trade is not None and subject.kind is not Kind.REFUSAL:
        money, r = trade.net, trade.r_multiple
        parts.append(f"its trade {money:+.4f} USD, {r:+.3f} R, left by {trade.exit_reason.value} at {rfc3339(trade.closed_ts)}")
    return Verdict(f"{mode} · " + " · ".join(parts), what, subject.symbol, rfc3339(subject.ts), state, mode, money, r)


def state_of(subject: Subject) -> str:
    """In one word what became of it."""
    if subject.order is not None:
        last = _last(subject, subject.order.client_id)
        return "sent" if last is None else last.status.value
    if subject.refusal is not None:
        return "abstained" if subject.refusal.code in _ABSTAINED else "refused"
    if subject.trade is not None:
        return "closed" if subject.kind is Kind.TRADE else "filled"
    if subject.fills:
        return "filled"
    entries = [order for order in subject.orders if order.purpose in (OrderPurpose.ENTRY, OrderPurpose.ADD)]
    answers = [last for order in entries if (last := _last(subject, order.client_id)) is not None]
    if answers:
        return "sent" if answers[-1].status is OrderStatus.NEW else answers[-1].status.value
    return "not sent"


def _last(subject: Subject, client_id: str) -> OrderUpdate | None:
    said = [update for update in subject.updates if update.client_id == client_id]
    return said[-1] if said else None
