"""What is around a bot and its requests: whether the exchange can be reached, and what others do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal

from core.sim.local.values import NewOrder, OrderSide, OrderType, TimeInForce, VenueError
from core.sim.server.app import ExchangeServer
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.gateway import RETRY_AFTER_S
from tests.core.journal.disk import Op, Write
from tests.faults.crash_matrix.cells import ALGO, PLAIN, Beside, Cell, Happening
from tests.faults.crash_matrix.market import WatchedExchange
from tests.faults.crash_matrix.rules import BY_HAND, Witness
from tests.support.simulation.disk import Disk, Trouble
from tests.support.simulation.loop import SimulationLoop
from tests.support.simulation.world import World

BACK_S = 2.0
"""After the exchange is back, its client needs a moment to find it."""
_LATE_MS = 1_500
_PART = Decimal("0.010")
_NEVER_DONE = (FaultKind.REJECT, FaultKind.THROTTLE, FaultKind.BAN, FaultKind.DROP_BEFORE, FaultKind.LATE, FaultKind.QUEUED)
_PERHAPS_DONE = (FaultKind.UNKNOWN, FaultKind.HANG, FaultKind.HTML)


class Reach:
    """Whether the exchange can be reached by whoever must protect a position.

    It cannot where it is down or cut off, where it has said that it wants to be left alone, and where it takes orders of
    neither book; and for a moment after each.
    """

    def __init__(self, loop: SimulationLoop, changed: Callable[[], None]) -> None:
        self._loop, self._changed = loop, changed
        self._server: ExchangeServer | None = None
        self._cuts = 0
        self._until_s = 0.0

    def through(self, server: ExchangeServer) -> None:
        """From now on this is the exchange."""
        self._server, plan = server, server._plan
        real = plan.for_request

        def for_request(method: str, path: str) -> Fault | None:
            fault = real(method, path)
            if fault is not None and fault.kind in (FaultKind.THROTTLE, FaultKind.BAN):
                self._until_s = max(self._until_s, self._loop.time() + RETRY_AFTER_S + BACK_S)
            return fault

        plan.for_request = for_request  # type: ignore[method-assign]

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """It is out of reach inside."""
        self._cuts += 1
        self._changed()
        try:
            yield
        finally:
            self._cuts -= 1
            self._until_s = max(self._until_s, self._loop.time() + BACK_S)

    @property
    def there(self) -> bool:
        """Whether it can be reached now, and could a moment ago."""
        if self._server is not None and {PLAIN, ALGO} <= {_refused(fault) for fault in self._server.faults_waiting}:
            self._until_s = max(self._until_s, self._loop.time() + BACK_S)
        return not self._cuts and self._loop.time() >= self._until_s


def _refused(fault: Fault) -> str:
    """The book of which this keeps an order away; empty where it does not."""
    kept = fault.kind in _NEVER_DONE or (fault.kind in _PERHAPS_DONE and not fault.executed)
    return fault.path if kept and fault.method == "POST" else ""


async def stale(exchange: WatchedExchange, lasts_s: float) -> None:
    """Positions are told as they were."""
    exchange.late_ms = _LATE_MS
    await asyncio.sleep(lasts_s)
    exchange.late_ms = 0


async def full(world: World, lasts_s: float) -> None:
    """The disk takes no more of the outbox."""
    node = world.nodes["bot"]
    disk, until_s = node.disk, world.loop.time() + lasts_s
    assert disk is not None

    def fails(_number: int, op: Op) -> Trouble | None:
        return Trouble.DISK_FULL if world.loop.time() < until_s and _of_outbox(disk, op) else None

    disk.fails = fails
    await asyncio.sleep(lasts_s)


def _of_outbox(disk: Disk, op: Op) -> bool:
    return isinstance(op, Write) and op.file in {disk.file("orders.sqlite"), disk.file("orders.sqlite-wal")}


async def hand(witness: Witness, server: ExchangeServer, cell: Cell, happening: Happening) -> None:
    """What a person does at the exchange's own page."""
    exchange, symbol = witness.exchange, cell.symbols[0]
    into = OrderSide.BUY if cell.side.sign > 0 else OrderSide.SELL
    out = OrderSide.SELL if into is OrderSide.BUY else OrderSide.BUY
    if happening.what is Beside.RESTS:
        price = (exchange.positions(symbol)[0].mark_price * (1 + cell.side.sign * Decimal("0.04"))).quantize(Decimal("0.1"))
        ask = NewOrder(symbol, out, OrderType.LIMIT, _PART, price, TimeInForce.GTC, client_id=f"{BY_HAND}-0")
        exchange.place(ask)
        server._settle(True)
        if happening.after_s < 0:
            witness.foreign(symbol)
        await asyncio.sleep(happening.lasts_s)
        witness.foreign("")
        exchange.cancel(symbol, client_id=f"{BY_HAND}-0")
    elif happening.what is Beside.REDUCES:
        _trade(exchange, symbol, out, abs(witness.held(symbol)) / 2, reduce_only=True, number=0)
    else:
        _trade(exchange, symbol, into, _PART, reduce_only=False, number=0)
        server._settle(True)
        await asyncio.sleep(happening.lasts_s)
        _trade(exchange, symbol, out, min(_PART, abs(witness.held(symbol))), reduce_only=True, number=1)
    server._settle(True)


def obey(witness: Witness, server: ExchangeServer, symbol: str, apart: Decimal, number: int) -> None:
    """What a person does who is told that ``apart`` belongs to no plan: closes it at the exchange."""
    out = OrderSide.SELL if apart > 0 else OrderSide.BUY
    _trade(witness.exchange, symbol, out, abs(apart), reduce_only=True, number=number)
    server._settle(True)


def _trade(exchange: WatchedExchange, symbol: str, side: OrderSide, qty: Decimal, *, reduce_only: bool, number: int) -> None:
    qty = qty.quantize(Decimal("0.001"))
    if qty:
        ask = NewOrder(symbol, side, OrderType.MARKET, qty, reduce_only=reduce_only, client_id=f"{BY_HAND}-{number}")
        with contextlib.suppress(VenueError):  # the position may be gone, or the part too small
            exchange.place(ask)
