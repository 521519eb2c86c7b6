"""The live broker at the journal's border: what stands in the journal already is not asked of the exchange again.

A run that goes on after a crash makes its last bar again. The exchange has done what it was asked for then: orders are answered
as they were answered, and the broker tells its events in the groups in which they were heard. Only what the journal does not
know is sent and told anew.
"""

from __future__ import annotations

import asyncio

from core.data.blocks import Batch
from core.errors import StateError
from core.exec.broker_ccxt import LiveBroker
from core.types import BrokerEvent, Order, OrderUpdate
from graph.journaling import JournaledVenue, NoJournal, OnEvents, SessionJournal


class JournaledLive(JournaledVenue):
    """A live broker whose answers and events are in the journal, and come from there while it is caught up with.

    Args:
        broker: restored to where the books stand, or in its first life.
        journal: of the run.
    """

    def __init__(self, broker: LiveBroker, journal: SessionJournal | NoJournal) -> None:
        super().__init__(broker, journal)
        self._broker, self._record = broker, journal
        self._waits_for_bar = False

    async def place(self, order: Order) -> OrderUpdate:
        if not self._record.catching_up:
            return await super().place(order)
        update = self._answered("place", order.client_id)
        self._record.answered("place", order.client_id, update, order)
        return update

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        if not self._record.catching_up:
            return await super().cancel(symbol, client_id)
        update = self._answered("cancel", client_id)
        self._record.answered("cancel", client_id, update)
        return update

    def _answered(self, verb: str, client_id: str) -> OrderUpdate:
        update = self._record.expected_answer(verb, client_id)
        if update is None:
            raise StateError(
                f"going on asks to {verb} {client_id}, which does not stand in the journal at this place; nothing was sent",
                help="code or configuration has changed since; finish the session with what it was recorded with",
                code="JRN-005",
            )
        return update

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        self._waits_for_bar = False
        await self._broker.advance(batch, self._on_record(on_events), self._may_tell)

    async def deliver(self, on_events: OnEvents) -> None:
        heard = False

        async def told(events: tuple[BrokerEvent, ...]) -> None:
            nonlocal heard
            heard = True
            await on_events(events)

        await self._broker.deliver(self._on_record(told), self._may_tell)
        self._waits_for_bar = self._record.catching_up and not heard

    def _may_tell(self) -> bool:
        return not self._record.catching_up or self._record.expects_events

    async def wait(self) -> None:
        """Until there is something to deliver; what stands in the journal next must come next."""
        if not self._record.catching_up:
            await self._broker.wait()
        elif self._waits_for_bar or not self._record.expects_events:
            await asyncio.get_running_loop().create_future()
