"""What came of a decision, out of the records alone: orders and fills, the stop over time, the exit, the money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.clock import rfc3339
from core.types import ExitReason, Fill, Meta, Order, OrderPurpose, OrderStatus, PlanKind
from graph.why.model import Line, Step
from graph.why.records import Subject


def life(subject: Subject) -> tuple[Step, ...]:
    """What came of it."""
    return orders(subject), stops(subject), leaving(subject), money(subject)


def inputs_text(facts: Meta) -> str:
    """Named facts for people."""
    return ", ".join(f"{name} {value:.8g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts)


# --- orders -------------------------------------------------------------------------------------------------


def orders(subject: Subject) -> Step:
    """Each order with what was said of it, and each fill against the price that was expected."""
    if not subject.orders:
        return Step("orders and fills", "no order was sent")
    lines = [line for order in subject.orders for line in _order(subject, order)]
    return Step("orders and fills", f"{len(subject.orders)} orders, {len(subject.fills)} fills", tuple(lines))


def _order(subject: Subject, order: Order) -> Iterator[Line]:
    price = "at market" if order.price is None else f"at {order.price}"
    why = "" if order.reason is None else f", {order.reason.value}"
    yield Line(order.client_id, f"{order.purpose.value} {order.side.value} {order.qty} {price}{why}", "", rfc3339(order.ts))
    for update in (one for one in subject.updates if one.client_id == order.client_id):
        code = "" if update.code is None else f" {update.code.value}"
        said = f"{rfc3339(update.ts)} {update.message}".rstrip()
        yield Line("  " + update.status.value, f"{update.filled} filled{code}", "", said)
    for fill in (one for one in subject.fills if one.client_id == order.client_id):
        slip = fill.side.sign * (float(fill.price) - fill.expected_price)
        bps = slip / fill.expected_price * 1e4
        note = f"expected {fill.expected_price:.8g}, slippage {bps:+.3f} bps ({slip:+.8g} a unit), fee {fill.fee:.6f} USD"
        yield Line("  fill " + fill.id, f"{fill.qty} at {fill.price}", "", f"{rfc3339(fill.ts)} {note}")


# --- the stop -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StopAt:
    """Where the stop rested from ``ts`` on (ms), and what put it there."""

    ts: int
    price: Decimal
    reason: str
    note: str = ""


def stops_of(subject: Subject) -> tuple[StopAt, ...]:
    """The stop from its first place to its last: where orders were accepted, not where they were wished for.

    An order that took the place of another at the same price, because there was more to cover, moves nothing.
    """
    found: list[StopAt] = []
    for order in subject.orders:
        if order.purpose is not OrderPurpose.STOP or order.price is None or _turned_down(subject, order):
            continue
        if not found or found[-1].price != order.price:
            found.append(StopAt(order.ts, order.price, "initial" if not found else _word(order), _moved_by(subject, order)))
    return tuple(found)


def _turned_down(subject: Subject, order: Order) -> bool:
    return any(one.status is OrderStatus.REJECTED for one in subject.updates if one.client_id == order.client_id)


def _word(order: Order) -> str:
    return "stop" if order.reason is None else order.reason.value


def _moved_by(subject: Subject, order: Order) -> str:
    if order.reason is ExitReason.JOINT_STOP:
        add = next((plan.id for plan in reversed(subject.plans) if plan.kind is PlanKind.ADD and plan.ts <= order.ts), "an add")
        return f"break-even of all, by the add {add}"
    move = next((one for one in subject.moves if one.ts == order.ts and one.reason is order.reason), None)
    return "" if move is None else inputs_text(move.detail)


def stops(subject: Subject) -> Step:
    """The stop from its first place to its last, each move with its reason."""
    if not subject.fills or not subject.plans:
        return Step("stop moves", "there was no position")
    rested = stops_of(subject)
    lines = [Line(f"{one.reason} stop", one.price, "USD", f"{rfc3339(one.ts)} {one.note}".rstrip()) for one in rested]
    placed = {(one.ts, one.price) for one in rested}
    lines += [
        Line(f"{move.reason.value} stop, not placed", move.new_stop, "USD", rfc3339(move.ts))
        for move in subject.moves
        if move.new_stop is not None and (move.ts, move.new_stop) not in placed
    ]
    return Step("stop moves", f"{max(0, len(rested) - 1)} moves, each tighter", tuple(lines))


# --- the end ------------------------------------------------------------------------------------------------


def leaving(subject: Subject) -> Step:
    """How it ended."""
    trade = subject.trade
    if trade is None:
        return Step("exit", "it was still open at the end of the records" if subject.fills else "there was no position")
    later = [
        Line("told later", name, "", "of its entry, when this was closed: a position of its own") for name in subject.told_late
    ]
    closing = [move for move in subject.moves if move.new_stop is None]
    lines = [
        Line("reason", trade.exit_reason.value, "", "counts as a stop" if trade.stop_exit else ""),
        Line("closed", rfc3339(trade.closed_ts)),
        Line("average exit", trade.exit_price, "USD"),
        Line("final stop", trade.final_stop, "USD"),
        Line("takes filled", trade.takes_filled),
        *(Line("close asked for", rfc3339(move.ts), "", f"{move.reason.value} {inputs_text(move.detail)}") for move in closing),
        *later,
    ]
    return Step("exit", f"{trade.exit_reason.value} at {rfc3339(trade.closed_ts)}", tuple(lines))


def money(subject: Subject) -> Step:
    """Fees, funding and R; the lines add up."""
    trade = subject.trade
    if trade is None:
        return _money_so_far(subject)
    return Step(
        "money",
        f"{trade.net:+.4f} USD = {trade.r_multiple:+.3f} R",
        (
            Line("gross", trade.gross, "USD", f"{trade.qty} from {trade.entry_price:.8g} to {trade.exit_price:.8g}"),
            *_fees(subject),
            Line("fees", -trade.fees, "USD", "sum of the fills' fees"),
            *_funding(subject),
            Line("funding", trade.funding, "USD", "negative when paid"),
            Line("net", trade.net, "USD", "gross - fees + funding"),
            Line("planned risk", trade.planned_risk_usd, "USD", "the plan's worst case"),
            Line("R", trade.r_multiple, "R", "net / planned risk" + (", a scratch" if trade.scratch else "")),
        ),
    )


def _fees(subject: Subject) -> Iterator[Line]:
    for fill in subject.fills:
        yield Line("  fee", -fill.fee, "USD", f"{fill.purpose.value} {fill.id}")


def _funding(subject: Subject) -> Iterator[Line]:
    for one in subject.funding:
        yield Line("  funding", one.amount, "USD", f"{rfc3339(one.ts)} rate {one.rate:.6g}")


def _money_so_far(subject: Subject) -> Step:
    """Of a position that is still open: what its takes brought, and what it has cost."""
    if not subject.fills:
        return Step("money", "nothing was opened")
    gross, still, average = _closed_so_far(subject)
    fees, funding = sum(fill.fee for fill in subject.fills), sum(one.amount for one in subject.funding)
    net = gross - fees + funding
    closed = sum(not fill.purpose.opens for fill in subject.fills)
    said = f"{net:+.4f} USD so far, {closed} closing fills" if closed else "nothing was closed yet"
    lines = (
        Line("gross so far", gross, "USD", "of what was closed, against the average entry"),
        *_fees(subject),
        Line("fees so far", -fees, "USD", "sum of the fills' fees"),
        *_funding(subject),
        Line("funding so far", funding, "USD", "negative when paid"),
        Line("net so far", net, "USD", "gross - fees + funding"),
        Line("still open", still, "", f"at {average:.8g} on average"),
    )
    return Step("money", f"{said}; {still} still open", lines)


def _closed_so_far(subject: Subject) -> tuple[float, Decimal, float]:
    """(gross of the closing fills, quantity still open, its average entry)."""
    gross, held, average = 0.0, Decimal(0), 0.0
    for fill in subject.fills:
        price, qty = float(fill.price), float(fill.qty)
        if fill.purpose.opens:
            average = (average * float(held) + price * qty) / float(held + fill.qty)
            held += fill.qty
        else:
            gross += _way(fill) * qty * (price - average)
            held -= fill.qty
    return gross, held, average


def _way(fill: Fill) -> int:
    """A closing sale of a long gains when the price rose, a closing purchase of a short when it fell."""
    return -fill.side.sign
