"""Entering as a maker first: at the best price of the own side, for a while, a few times; then across, within the plan's cap.

It saves the taker's fee where the market comes back, and loses a better price where it does not, so it is off by default.
The cap is the plan's throughout: no way of entering risks more than was planned (X10).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal

from msgspec.structs import replace

from core.errors import StateError
from core.exec.live.desk import Desk
from core.exec.live.intake import Intake
from core.exec.live.resolver import Resolver
from core.exec.live.sender import Sender
from core.exec.live.states import Row
from core.types import Order, OrderPurpose, OrderSide, OrderStatus, OrderUpdate

_LOOK_S = 0.05


class Maker:
    """Places entries post-only, reprices them, and crosses with what is left.

    Args:
        desk: what the parts share.
        intake: tells the books of the end when the last attempt is over.
        sender: sends and calls back each attempt.
        resolver: finds out what became of one in doubt.
    """

    def __init__(self, desk: Desk, intake: Intake, sender: Sender, resolver: Resolver) -> None:
        self._desk, self._intake, self._sender, self._resolver = desk, intake, sender, resolver

    async def place(self, order: Order) -> OrderUpdate:
        """Send ``order``, or say again what became of it; where that is wanted and a book is known, an entry rests first."""
        admitted = self._sender.admit(order)
        if isinstance(admitted, OrderUpdate):
            return admitted
        price = self._price(admitted) if self._desk.options.post_only else None
        if price is None or order.purpose is not OrderPurpose.ENTRY:
            return await self._sender.place_row(admitted)
        self._intake.working[order.client_id] = None
        first = replace(admitted, price=price, post_only=True)
        update = await self._sender.one(first)
        if update.status is OrderStatus.REJECTED:  # it could not be written down
            self._intake.working.pop(order.client_id, None)
            return update
        self._desk.start(self._go_on(first, admitted), f"maker {order.client_id}")
        return update

    def _price(self, row: Row) -> Decimal | None:
        """The best price of the own side, never beyond the cap; None without a fresh book."""
        book, instrument = self._desk.book(row.symbol), self._desk.instruments[row.symbol]
        if book is None or row.price is None:
            return None
        if row.side is OrderSide.BUY:
            return min(instrument.price_down(book.bid), row.price)
        return max(instrument.price_up(book.ask), row.price)

    async def _go_on(self, row: Row, admitted: Row) -> None:
        """The further attempts, until its end can be told; one that cannot be written down is not sent, and the last."""
        with suppress(StateError):
            await self._attempts(row, admitted)
        self._intake.working.pop(admitted.told_as, None)
        self._sender.end_family(admitted.told_as)

    async def _attempts(self, row: Row, admitted: Row) -> None:
        """``admitted`` is the order as it was decided, with its cap."""
        options, told_as = self._desk.options, admitted.told_as
        for attempt in range(1, options.reprices + 2):
            await self._rest(row)
            crosses = attempt > options.reprices
            price = admitted.price if crosses else self._price(admitted)
            left = admitted.told_qty - sum((one.filled for one in self._desk.outbox.family(told_as)), Decimal(0))
            if price is None or not self._worth(admitted, left, price):
                break
            row = replace(admitted, client_id=f"{told_as}.{attempt}", attempt=attempt, qty=left, price=price)
            row.post_only = not crosses
            if crosses:
                self._intake.working.pop(told_as, None)
            await self._sender.send(row)

    async def _rest(self, row: Row) -> None:
        """Until the attempt is over, for a while; then it is called back."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._desk.options.rest_s
        if row.state.doubtful:
            await self._resolver.resolve(row)
        while row.state.open and loop.time() < until:  # noqa: ASYNC110 - its end has no event of its own
            await asyncio.sleep(_LOOK_S)
        await self._sender.call_back(row)

    def _worth(self, admitted: Row, left: Decimal, price: Decimal) -> bool:
        """Whether another attempt is legal, wanted, and not too late."""
        late = self._desk.now() - admitted.ts > self._desk.options.entry_valid_ms
        if late or self._sender.called_back(admitted.told_as) or self._sender.shut(admitted.symbol) is not None:
            return False
        return left * price >= self._sender.limits[admitted.symbol].min_notional
