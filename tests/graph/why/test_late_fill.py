"""A fill of an entry that was told after the stop which closed what was known of it (F2): a position of its own, `p+`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.data.blocks import Batch
from core.data.sources.scenarios import Scenario
from core.monitor.reader import StoreReader
from core.sim.exchange import SimExchange
from core.types import BrokerEvent, Fill, OrderPurpose, OrderStatus, OrderUpdate
from graph.exit_codes import UsageError
from graph.names import Names
from graph.soundness import inspect
from graph.stepping.record import Record
from graph.why.records import Records
from tests.graph.why.checks import assert_complete, line
from tests.graph.why.conftest import Explained, Made, explain_all
from tests.support.tracing import untraced

ETH = "ETH/USDT:USDT"
OnEvents = Callable[[tuple[BrokerEvent, ...]], Awaitable[None]]


class Tardy(SimExchange):
    """Tells half of its first entry of ETH at once, and the rest when that half was closed."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._entry: str | None = None
        self._open = Decimal(0)
        self._rest: tuple[BrokerEvent, ...] = ()

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        async def tardily(events: tuple[BrokerEvent, ...]) -> None:
            await on_events(tuple(told for event in events if (told := self._told(event)) is not None))

        await super().advance(batch, tardily)
        if self._rest and not self._open:
            rest, self._rest = self._rest, ()
            await on_events(rest)

    def _told(self, event: BrokerEvent) -> BrokerEvent | None:
        if event.symbol != ETH:
            return event
        if isinstance(event, Fill) and self._entry is None:
            step = next(one.qty_step for one in self.instruments if one.symbol == ETH)
            self._entry, self._open = event.client_id, event.qty / 2 // step * step
            left = event.qty - self._open
            last = OrderUpdate(event.client_id, ETH, OrderStatus.FILLED, event.ts, event.qty)
            self._rest = replace(event, id=f"{event.id}-rest", qty=left, fee=event.fee / 2), last
            return replace(event, qty=self._open, fee=event.fee / 2)
        if isinstance(event, OrderUpdate) and event.client_id == self._entry:
            return replace(event, status=OrderStatus.PARTIAL, filled=self._open)
        if isinstance(event, Fill) and self._rest:
            self._open -= event.qty
        return event


TARDY = Made(Scenario.MIXED, 7, 500, 10_000.0, exchange=Tardy)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """A session with such a fill, its plan and all that followed explained."""
    session = TARDY.record(tmp_path_factory.mktemp("why") / "late")
    records = Records(StoreReader(session.folder.database))
    orders = records.reader.query("SELECT client_id, plan_id FROM orders WHERE symbol = ? ORDER BY rowid", (ETH,))
    plans = dict.fromkeys(str(plan_id) for _, plan_id in orders)
    with untraced():
        return explain_all(session, records, [*plans, *(f"trade-{name}" for name in plans), *(str(row[0]) for row in orders)])


def late_id(late: Explained) -> str:
    (found,) = [name for name in late.subjects if name.endswith("+") and not name.startswith("trade-")]
    return found


def test_a_fill_that_came_late_is_explained_as_one_of_a_plan_that_was_over(late: Explained):
    """Everything of it, its trade and each of its orders; what was decided is what the plan was."""
    name = late_id(late)
    made = name.removesuffix("+")
    for asked in (name, f"trade-{name}"):
        why, plan = late.whys[asked], late.whys[made]
        assert f"filled late of {made}, which was over (brain why {made})" in why.verdict.text
        assert (why.reasons, why.flips, why.chain[:7]) == (plan.reasons, plan.flips, plan.chain[:7])
        subject = late.subjects[asked]
        assert subject.trade is not None
        assert (subject.trade.plan_id, subject.fills[0].plan_id) == (name, name)
        assert {order.plan_id for order in subject.orders} == {made, name}
    for why in late.whys.values():
        assert_complete(late, why)


def test_its_plan_tells_of_its_own_trade_alone_and_points_at_it(late: Explained):
    name = late_id(late)
    made = late.subjects[name.removesuffix("+")]
    assert line(late.whys[made.id], "exit", "told later").value == name
    assert "filled late" not in late.whys[made.id].verdict.text
    of_late = late.subjects[name]
    assert not {fill.id for fill in made.fills} & {fill.id for fill in of_late.fills}
    assert made.moves
    assert of_late.moves
    assert not {move.ts for move in made.moves} & {move.ts for move in of_late.moves}


def test_an_order_that_protected_it_leads_to_the_plan_as_well(late: Explained):
    """By `brain why` and by the stepper."""
    name = late_id(late)
    orders = [one for one in late.subjects.values() if one.order is not None and one.order.plan_id == name]
    assert {one.order.purpose for one in orders if one.order is not None} == {OrderPurpose.STOP}
    assert all(f"filled late of {name.removesuffix('+')}" in late.whys[one.id].verdict.text for one in orders)
    for names in (Names(late.session.folder.database), None):
        record = Record(late.session.reader(), names)
        hits = {record.plan(asked) for asked in (name, f"trade-{name}", name.removesuffix("+"), *(one.id for one in orders))}
        assert [hit.ts for hit in hits] == [late.subjects[name].ts]


def test_an_id_with_one_plus_too_many_names_the_nearest(late: Explained):
    """There was no third fill."""
    with pytest.raises(UsageError, match=f"nearest: {re.escape(late_id(late))}"):
        late.records.find(late_id(late) + "+")


def test_the_trade_stands_beside_its_plan_in_the_views(late: Explained):
    """I2: every field of trade and plan."""
    rows = late.records.reader.trades_with_plan(0, 1 << 62)
    (first, second) = [row for row in rows if row["symbol"] == ETH]
    of_plan = [column for column in first if column.startswith("plan_") and column != "plan_id"]
    assert first["plan_ts"] == late.subjects[late_id(late)].ts
    assert [first[column] for column in of_plan] == [second[column] for column in of_plan]


def test_records_of_such_a_session_are_sound(late: Explained):
    """The journal has the fill as the venue told it, the records as the books took it."""
    assert inspect(late.session).records is None
