"""Orders, answers, fills and funding on record against the journal that they came from, and closed trades against the fills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isclose, isnan
from typing import TypeVar

from core.exec.orders import made_plan
from core.journal.bars import Input
from core.journal.records import Answer, EventsIn
from core.monitor.reader import StoreReader
from core.monitor.schema import FILL, FUNDING, ORDER, ORDER_STATE, UPDATE, RowCodec
from core.types import Fill, FundingPayment, Order, OrderUpdate

Value = TypeVar("Value", Order, OrderUpdate, Fill, FundingPayment)
_STATE = tuple(name for name, _ in ORDER_STATE)


@dataclass(slots=True)
class Told:
    """What the journal has of orders and money: what was sent, what the broker said of it, in its order; a fill counts once.

    ``orders_kept``: every order that was sent stands in the journal (older ones have none).
    """

    orders: list[Order] = field(default_factory=list)
    updates: list[OrderUpdate] = field(default_factory=list)
    fills: dict[str, Fill] = field(default_factory=dict)
    payments: list[FundingPayment] = field(default_factory=list)
    orders_kept: bool = True

    def hear(self, inputs: Iterable[Input]) -> None:
        """Take in what came with one bar."""
        for came in inputs:
            if isinstance(came, Answer):
                self.updates.append(came.update)
                if came.order is not None:
                    self.orders.append(came.order)
                elif came.asked[0] == "place":
                    self.orders_kept = False
            elif isinstance(came, EventsIn):
                self.updates += came.updates
                self.payments += came.payments
                for fill in came.fills:
                    self.fills.setdefault(fill.id, fill)


def differing(told: Told, records: StoreReader, *, whole: bool) -> str | None:
    """The first row that is not what the journal has; None where all are.

    Args:
        told: from the journal.
        records: the session's.
        whole: the journal goes back to the session's first bar; else older rows have nothing to be compared with.
    """
    if told.orders_kept:
        found = _rows_differ("order", ORDER, told.orders, records, "orders", whole) or _states_differ(told, records)
        if found is not None:
            return found
    return (
        _rows_differ("order event", UPDATE, told.updates, records, "order_events", whole)
        or _rows_differ("fill", FILL, list(told.fills.values()), records, "fills", whole)
        or _rows_differ("funding", FUNDING, told.payments, records, "funding", whole)
        or _trades_differ(records)
    )


def _rows_differ(
    what: str, codec: RowCodec[Value], told: Sequence[Value], records: StoreReader, table: str, whole: bool
) -> str | None:
    rows = records.query(f"SELECT {', '.join(codec.names)} FROM {table} ORDER BY rowid")  # noqa: S608 - names of our own
    before = len(rows) - len(told)
    if before < 0 or (whole and before > 0):
        return f"{table}: {len(rows)} in the records, {len(told)} in the journal"
    for number, (row, value) in enumerate(zip(rows[before:], told, strict=True), before + 1):
        for name, a, b in zip(codec.names, row, codec.encode(value), strict=True):
            if a != b and not _means(name, a, b):
                return f"{what} {number} ({row[0]}) of the records is not that of the journal: {name} {a!r}, there {b!r}"
    return None


def _means(name: str, a: object, b: object) -> bool:
    """Whether the records say by ``a`` what the journal says by ``b``."""
    if name == "plan_id":  # the venue names the plan of the order; the books, where that was over, one of its own
        return made_plan(str(a)) == b
    return a is None and isinstance(b, float) and isnan(b)  # SQLite keeps NaN as NULL


def _states_differ(told: Told, records: StoreReader) -> str | None:
    """Whether orders stand where the last word on them left them."""
    sql = f"SELECT client_id, {', '.join(_STATE)} FROM orders"  # noqa: S608 - names of our own
    kept = {order_id: state for order_id, *state in records.query(sql)}
    last = {update.client_id: update for update in told.updates}
    for order in told.orders:
        update = last[order.client_id]
        said = [update.status, update.ts, str(update.filled), update.code, update.message]
        if kept[order.client_id] != said:
            return f"order {order.client_id} of the records does not stand where the journal left it, at {update.status}"
    return None


@dataclass(slots=True)
class _Open:
    """A position, as fills make it."""

    first: Fill
    qty: Decimal = Decimal(0)
    gross: float = 0.0
    fees: float = 0.0


def _trades_differ(records: StoreReader) -> str | None:
    fills = records.query(f"SELECT {', '.join(FILL.names)} FROM fills ORDER BY rowid")  # noqa: S608 - names of our own
    closed = list(_closed([FILL.decode(row) for row in fills]))
    trades = records.query("SELECT plan_id, symbol, opened_ts, closed_ts, gross, fees, net - funding FROM trades ORDER BY rowid")
    if len(trades) != len(closed):
        return f"trades: {len(trades)} in the records, {len(closed)} follow from the fills"
    for (*facts, gross, fees, net), (position, last) in zip(trades, closed, strict=True):
        first = position.first
        same = facts == [first.plan_id, first.symbol, first.ts, last.ts]
        sums = ((gross, position.gross), (fees, position.fees), (net, position.gross - position.fees))
        if not same or not all(isinstance(a, float) and isclose(a, b, rel_tol=1e-9, abs_tol=1e-6) for a, b in sums):
            return f"the trade of plan {facts[0]} in the records does not follow from its fills"
    return None


def _closed(fills: Sequence[Fill]) -> Iterator[tuple[_Open, Fill]]:
    held: dict[str, _Open] = {}
    for fill in fills:
        position = held.setdefault(fill.symbol, _Open(fill))
        position.qty += fill.side.sign * fill.qty
        position.gross -= fill.side.sign * float(fill.price) * float(fill.qty)
        position.fees += fill.fee
        if position.qty == 0:
            yield held.pop(fill.symbol), fill
