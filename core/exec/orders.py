"""The order manager: from a plan to its orders, and from fills to the protection of what was filled (F2, K).

The one rule above all: from the first fill to flat a live stop covers the whole position. A stop is replaced by placing
the new one and then cancelling the old, and only ever tightens. Where a stop cannot be placed because the price is
already beyond it, the position is closed at market at once.

Every order is recorded before it is sent. Its client id is derived from the plan and a number that is never used twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from core.codes import RefusalCode
from core.errors import ContractError
from core.exec.broker import Broker
from core.exec.instrument import Instrument, venue_id
from core.exec.ledger import Ledger
from core.exec.position import Position
from core.risk.takes import takes_for
from core.types import (
    BrokerEvent,
    ExitReason,
    Fill,
    Order,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Plan,
    PlanKind,
    ScorePart,
    Side,
)

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LEGS = {
    OrderPurpose.ENTRY: "e",
    OrderPurpose.ADD: "a",
    OrderPurpose.STOP: "s",
    OrderPurpose.TAKE: "t",
    OrderPurpose.EXIT: "x",
}
_ANEW = "+"
_OUTLIVED = 16
"""So many entries are remembered that ended after their position; what is still to be told of one comes within moments."""
_OVER = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)


class OrderLog(Protocol):
    """Where orders are written down. Calls come in the order of events."""

    def record_intent(self, order: Order) -> None:
        """``order`` is about to be sent; it is durable when this returns."""
        ...

    def record_update(self, update: OrderUpdate) -> None:
        """What the broker said of an order."""
        ...

    def record_fill(self, fill: Fill) -> None:
        """One execution; each is told once."""
        ...


@dataclass(slots=True)
class _Guard:
    """What protects one open position: where its stop shall be and why, and the orders that live at the broker.

    ``stop_price`` moves only once a stop there was accepted; ``joint_stop`` is that of an add, still to be tried. ``asked``
    are stops that were sent and of which the broker cannot tell yet whether they rest; the old one stays until it can.
    ``replaced`` are those that may go now.
    """

    plan: Plan
    stop_price: Decimal
    stop_reason: ExitReason
    sent: int = 0
    stop: Order | None = None
    exit: Order | None = None
    takes: dict[str, Order] = field(default_factory=dict)
    priced_qty: Decimal = Decimal(0)
    joint_stop: Decimal | None = None
    asked: dict[str, Order] = field(default_factory=dict)
    replaced: list[Order] = field(default_factory=list)


def client_id(plan: Plan, purpose: OrderPurpose, number: int) -> str:
    """Client order id: at most 32 of ``[A-Za-z0-9_-]``, the same for the same order on every run.

    Time of the plan in base 36, initial of the strategy, market, four digits of the plan id's digest, role, number.

    Example: ``lq3k2s00b-BTCUSDT-9f3c-s2`` is the second order of a breakout on BTC, a stop.
    """
    market = re.sub(r"[^A-Z0-9]", "", venue_id(plan.symbol))[:8]
    digest = hashlib.sha256(plan.id.encode()).hexdigest()[:4]
    initial = re.sub(r"[^a-z]", "", plan.strategy.lower())[:1] or "z"
    return f"{_base36(plan.ts)}{initial}-{market}-{digest}-{_LEGS[purpose]}{_base36(number)}"


def made_plan(plan_id: str) -> str:
    """The id under which a plan was made; that of its fills told after it was over has one ``+`` more for each time."""
    return plan_id.rstrip(_ANEW)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


class OrderManager:
    """Sends the orders of plans, protects what they fill, and cleans up when flat.

    Args:
        broker: where orders go.
        ledger: the books; every event passes through here into it.
        instruments: the run's instruments, in order.
        log: where intents, answers and fills are recorded.

    No method waits for anything but the broker; in simulation none ever suspends.
    """

    def __init__(self, broker: Broker, ledger: Ledger, instruments: Sequence[Instrument], log: OrderLog) -> None:
        self._broker = broker
        self._ledger = ledger
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._log = log
        self._guards: dict[str, _Guard] = {}
        self._pending: dict[str, Plan] = {}
        self._outlived: dict[str, Plan] = {}

    # --- what others may ask ----------------------------------------------------------------------

    def pending(self) -> tuple[Plan, ...]:
        """Plans whose entry order is not over yet, oldest first; their whole ``risk_usd`` still counts (X9, X10)."""
        return tuple(self._pending.values())

    def closing(self, symbol: str) -> bool:
        """Whether a market exit of ``symbol`` is on its way."""
        guard = self._guards.get(symbol)
        return guard is not None and guard.exit is not None

    def unprotected(self) -> tuple[str, ...]:
        """Symbols whose position neither a live stop nor a market exit on its way covers whole; normally none."""
        naked = []
        for symbol, position in self._ledger.positions.items():
            guard = self._guards.get(symbol)
            if guard is None or not (_covers(guard.stop, position) or _covers(guard.exit, position)):
                naked.append(symbol)
        return tuple(naked)

    async def protect_again(self, ts: int) -> tuple[str, ...]:
        """Try once more to cover what :meth:`unprotected` names (for the watchdog); the answer is what it tried."""
        naked = self.unprotected()
        for symbol in naked:
            await self._protect(self._ledger.positions[symbol], ts)
        return naked

    # --- entering ---------------------------------------------------------------------------------

    async def submit(self, plan: Plan, score_parts: tuple[ScorePart, ...] = ()) -> OrderUpdate:
        """Send the entry of ``plan`` as an IOC limit at its cap.

        The answer is REJECTED, and nothing was sent, with SYMBOL_OWNED when an entry finds its symbol taken (X17), and
        with NOT_ACTIVE when an add finds no position of its side, or one that is being closed.
        """
        purpose = OrderPurpose.ENTRY if plan.kind is PlanKind.ENTRY else OrderPurpose.ADD
        order_id = client_id(plan, purpose, 0)
        code = self._not_possible(plan)
        if code is not None:
            return OrderUpdate(order_id, plan.symbol, OrderStatus.REJECTED, plan.ts, code=code, message=code.meaning)
        self._ledger.expect(plan, score_parts)
        self._pending[order_id] = plan
        order = Order(
            client_id=order_id,
            plan_id=plan.id,
            symbol=plan.symbol,
            side=_opening_side(plan.side),
            type=OrderType.IOC_LIMIT,
            purpose=purpose,
            qty=plan.qty,
            price=plan.entry,
            reduce_only=False,
            ts=plan.ts,
        )
        update = await self._send(order)
        self._entry_update(update)
        return update

    def _not_possible(self, plan: Plan) -> RefusalCode | None:
        position = self._ledger.positions.get(plan.symbol)
        waiting = any(other.symbol == plan.symbol for other in self._pending.values())
        if plan.kind is PlanKind.ENTRY:
            return RefusalCode.SYMBOL_OWNED if position is not None or waiting else None
        if position is None or position.side is not plan.side or waiting or self.closing(plan.symbol):
            return RefusalCode.NOT_ACTIVE
        return None

    # --- reacting ---------------------------------------------------------------------------------

    async def handle(self, events: Sequence[BrokerEvent]) -> None:
        """Take the broker's events into log and ledger, then bring the orders of each symbol concerned into line."""
        touched: dict[str, int] = {}
        for event in events:
            self._absorb(event)
            touched[event.symbol] = event.ts
        for symbol, ts in touched.items():
            position = self._ledger.positions.get(symbol)
            if position is None:
                await self._clean_up(symbol)
            else:
                await self._protect(position, ts)

    def _absorb(self, event: BrokerEvent) -> None:
        if isinstance(event, OrderUpdate):
            self._log.record_update(event)
        elif isinstance(event, Fill) and not self._ledger.seen(event.id):
            event = self._under_its_plan(event)
            self._log.record_fill(event)
        new = self._ledger.apply(event)
        if isinstance(event, OrderUpdate):
            self._entry_update(event)
            self._guard_update(event)
        elif new and isinstance(event, Fill) and event.purpose is OrderPurpose.ADD:
            self._join_stop(event)

    def _under_its_plan(self, fill: Fill) -> Fill:
        """A fill of an entry, under the plan that the books know for it.

        A venue may tell the rest of an entry after the stop that closed what was known of it. That is a position again, of a
        plan of its own: the first one's trade is over, and its ids are used up.
        """
        known = self._pending if fill.client_id in self._pending else self._outlived
        plan = known.get(fill.client_id)
        if plan is None:
            return fill
        if self._ledger.plan(plan.id) is None:
            plan = replace(plan, id=f"{plan.id}{_ANEW}")
            known[fill.client_id] = plan
            self._ledger.expect(plan)
        return replace(fill, plan_id=plan.id)

    def _entry_update(self, update: OrderUpdate) -> None:
        if update.status in _OVER:
            plan = self._pending.pop(update.client_id, None)
            if plan is not None and not update.filled:
                self._ledger.forget(plan.id)
            elif plan is not None and self._ledger.plan(plan.id) is None:
                self._outlived[update.client_id] = plan  # the answer to a cancel comes before the fills that it counts
                if len(self._outlived) > _OUTLIVED:
                    del self._outlived[next(iter(self._outlived))]

    def _guard_update(self, update: OrderUpdate) -> None:
        guard = self._guards.get(update.symbol)
        if guard is None:
            return
        asked = guard.asked.pop(update.client_id, None) if update.status is not OrderStatus.UNKNOWN else None
        if asked is not None and update.status is OrderStatus.NEW:
            self._stop_rests(guard, asked)
        elif asked is not None and update.status is OrderStatus.REJECTED and asked.reason is ExitReason.JOINT_STOP:
            guard.joint_stop = asked.price  # it never came to be: tried again
        if update.status not in _OVER:
            return
        take = guard.takes.pop(update.client_id, None)
        if take is not None and update.status is OrderStatus.REJECTED:
            guard.priced_qty = Decimal(0)  # it never rested: all are placed again
        if guard.stop is not None and guard.stop.client_id == update.client_id:
            guard.stop = None
        if guard.exit is not None and guard.exit.client_id == update.client_id:
            guard.exit = None

    def _stop_rests(self, guard: _Guard, order: Order) -> None:
        """A stop that was sent rests now: the tighter one stays, once it covers all."""
        old, price, position = guard.stop, order.price or guard.stop_price, self._ledger.positions.get(order.symbol)
        tighter = guard.plan.side.sign * (price - guard.stop_price) >= 0
        covers = position is None or _covers(order, position)
        if old is not None and (not tighter or not covers):
            guard.replaced.append(order)
            return
        guard.stop = order
        if old is not None:
            guard.replaced.append(old)
        if tighter:
            guard.stop_price, guard.stop_reason = price, order.reason or guard.stop_reason
            if position is not None:
                self._ledger.set_stop(order.symbol, price)

    def _join_stop(self, fill: Fill) -> None:
        """After an add the joint stop of its plan holds for all, if it is tighter (X16)."""
        plan, guard = self._ledger.plan(fill.plan_id), self._guards.get(fill.symbol)
        if plan is not None and guard is not None and plan.side.sign * (plan.stop - guard.stop_price) > 0:
            guard.joint_stop = plan.stop

    async def _protect(self, position: Position, ts: int) -> None:
        guard = self._guards.get(position.symbol)
        if guard is None:
            guard = _Guard(position.plan, position.plan.stop, ExitReason.STOP)
            self._guards[position.symbol] = guard
        while guard.replaced:
            await self._cancel(guard.replaced.pop(0))
        if not _covers(guard.exit, position) and not any(_covers(order, position) for order in guard.asked.values()):
            stop, price, reason = guard.stop, guard.stop_price, guard.stop_reason
            if guard.joint_stop is not None:
                # tried once: where it is refused, what was accepted last holds
                price, reason, guard.joint_stop = guard.joint_stop, ExitReason.JOINT_STOP, None
            if stop is None or not _covers(stop, position) or stop.price != price:
                await self._place_stop(guard, position, price, reason, ts)
        if guard.exit is None:
            await self._place_takes(guard, position, ts)

    async def _place_stop(self, guard: _Guard, position: Position, price: Decimal, reason: ExitReason, ts: int) -> OrderUpdate:
        """Place the new stop, then cancel the old; what cannot be protected is closed at market."""
        order = self._exit_order(guard, position, OrderPurpose.STOP, OrderType.STOP_MARKET, position.qty, price, ts, reason)
        update = await self._send(order)
        if update.status is OrderStatus.REJECTED:
            if update.code is RefusalCode.STOP_WOULD_TRIGGER or not _covers(guard.stop, position):
                await self.close(position.symbol, ts, reason)
            return update
        if update.status is OrderStatus.UNKNOWN:
            guard.asked[order.client_id] = order
            return update
        old, guard.stop = guard.stop, order
        guard.stop_price, guard.stop_reason = price, reason
        self._ledger.set_stop(position.symbol, price)
        if old is not None:
            await self._cancel(old)
        return update

    async def _place_takes(self, guard: _Guard, position: Position, ts: int) -> None:
        """(Re-)place the takes, priced from the average fill (X4, X5), whenever more of the entry was filled."""
        if position.adds or position.takes_filled or position.entry_qty == guard.priced_qty:
            return
        guard.priced_qty = position.entry_qty
        for old in tuple(guard.takes.values()):
            await self._cancel(old)
        guard.takes.clear()
        plan, instrument = position.plan, self._instruments[position.symbol]
        for take in takes_for(plan, position.first_entry, plan.stop, position.qty, instrument):
            order = self._exit_order(
                guard, position, OrderPurpose.TAKE, OrderType.LIMIT, take.qty, take.price, ts, ExitReason.TAKE
            )
            update = await self._send(order)
            if update.status is not OrderStatus.REJECTED:
                guard.takes[order.client_id] = order

    async def _clean_up(self, symbol: str) -> None:
        """The position is flat: nothing of it may stay at the broker."""
        guard = self._guards.pop(symbol, None)
        if guard is not None:
            await self._cancel_pending(symbol, PlanKind.ADD)
            for order in (guard.stop, guard.exit, *guard.takes.values(), *guard.asked.values(), *guard.replaced):
                if order is not None:
                    await self._cancel(order)

    # --- leaving ----------------------------------------------------------------------------------

    async def move_stop(self, symbol: str, new_stop: Decimal, ts: int, reason: ExitReason) -> OrderUpdate | None:
        """Tighten the stop of ``symbol``; None when there is nothing to do (no tighter than it is, or already closing).

        Nor is it moved while nobody knows whether the last one rests. A stop that would trigger at once closes the position
        at market; refused for another reason, the old one stays.

        Raises:
            ContractError: there is no protected position, or the new stop is looser than the position's.
        """
        position, guard = self._ledger.positions.get(symbol), self._guards.get(symbol)
        if position is None or guard is None:
            raise ContractError(f"the stop of {symbol} was to move to {new_stop}, expected an open position")
        step = position.side.sign * (new_stop - guard.stop_price)
        if step < 0 and position.side.sign * (new_stop - position.stop) < 0:
            raise ContractError(f"the stop of {symbol} was to move from {guard.stop_price} to {new_stop}; stops only tighten")
        if step <= 0 or guard.exit is not None or guard.asked:
            return None
        return await self._place_stop(guard, position, new_stop, reason, ts)

    async def close(self, symbol: str, ts: int, reason: ExitReason) -> OrderUpdate | None:
        """Close ``symbol`` at market; None when it is flat or a market exit is on its way already.

        The stop stays until the position is flat. What is on its way to open or to add is cancelled; where the broker
        can no longer call it back it stays pending, is protected when it fills, and is closed when asked for again.
        """
        position, guard = self._ledger.positions.get(symbol), self._guards.get(symbol)
        if position is None or guard is None:
            await self._cancel_pending(symbol, PlanKind.ENTRY)
            return None
        if guard.exit is not None:
            return None
        await self._cancel_pending(symbol, PlanKind.ADD)
        order = self._exit_order(guard, position, OrderPurpose.EXIT, OrderType.MARKET, position.qty, None, ts, reason)
        guard.exit = order
        update = await self._send(order)
        if update.status is OrderStatus.REJECTED:
            guard.exit = None
        return update

    async def flatten_all(self, ts: int, reason: ExitReason) -> tuple[OrderUpdate, ...]:
        """Cancel every entry on its way and close every position at market, in the order of the instruments."""
        for symbol in self._instruments:
            await self._cancel_pending(symbol, PlanKind.ENTRY)
        updates = [await self.close(symbol, ts, reason) for symbol in self._instruments]
        return tuple(update for update in updates if update is not None)

    async def _cancel_pending(self, symbol: str, kind: PlanKind) -> None:
        for order_id, plan in tuple(self._pending.items()):
            if plan.symbol == symbol and plan.kind is kind:
                update = await self._broker.cancel(symbol, order_id)
                self._log.record_update(update)
                self._entry_update(update)

    # --- sending ----------------------------------------------------------------------------------

    def _exit_order(
        self,
        guard: _Guard,
        position: Position,
        purpose: OrderPurpose,
        kind: OrderType,
        qty: Decimal,
        price: Decimal | None,
        ts: int,
        reason: ExitReason,
    ) -> Order:
        guard.sent += 1
        return Order(
            client_id=client_id(guard.plan, purpose, guard.sent),
            plan_id=guard.plan.id,
            symbol=position.symbol,
            side=OrderSide.SELL if position.side is Side.LONG else OrderSide.BUY,
            type=kind,
            purpose=purpose,
            qty=qty,
            price=price,
            reduce_only=True,
            ts=ts,
            reason=reason,
        )

    async def _send(self, order: Order) -> OrderUpdate:
        self._log.record_intent(order)
        update = await self._broker.place(order)
        self._log.record_update(update)
        return update

    async def _cancel(self, order: Order) -> None:
        self._log.record_update(await self._broker.cancel(order.symbol, order.client_id))

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values; the ledger and the broker keep their own."""
        return {
            "guards": msgspec.to_builtins(self._guards),
            "pending": msgspec.to_builtins(self._pending),
            "outlived": msgspec.to_builtins(self._outlived),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._guards = msgspec.convert(state["guards"], dict[str, _Guard])
        self._pending = msgspec.convert(state["pending"], dict[str, Plan])
        self._outlived = msgspec.convert(state.get("outlived", {}), dict[str, Plan])


def _covers(order: Order | None, position: Position) -> bool:
    return order is not None and order.qty >= position.qty


def _opening_side(side: Side) -> OrderSide:
    return OrderSide.BUY if side is Side.LONG else OrderSide.SELL
