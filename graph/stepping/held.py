"""A run whose bars are carried node by node: forward and back inside a bar, bit for bit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from core.data.blocks import Batch
from graph.run import Run
from graph.stepping.carrier import FORWARD, Carrier, Order, Undo, Walk
from graph.stepping.errors import StepError


class Held:
    """Drives one bar of ``run`` after the other through ``carrier``, which must be the run's engine.

    Args:
        run: the services.
        carrier: its engine, also an attribute.
        keep_ports: remembers where the run's ports stand; gives what puts them back.
    """

    def __init__(self, run: Run, carrier: Carrier, keep_ports: Callable[[], Undo]) -> None:
        self.run = run
        self.carrier = carrier
        self._keep_ports = keep_ports
        self._bar: asyncio.Task[object] | None = None
        carrier.watch(run.context.trace)

    @property
    def walks(self) -> Sequence[Walk]:
        """The events of the present bar; the last one is on its way."""
        return self.carrier.walks

    @property
    def on_its_way(self) -> bool:
        """Whether a bar has begun and is not over."""
        return self._bar is not None and not self._bar.done()

    @property
    def walk(self) -> Walk:
        """The event that is on its way."""
        return self.carrier.walks[-1]

    async def begin(self, batch: Batch) -> None:
        """Let a bar arrive, and stand before its first node."""
        self.carrier.begin_bar(self.keep)
        self.carrier.holding = True
        self._bar = asyncio.create_task(self.run.bar(batch))
        await self._settle()

    async def forward(self) -> bool:
        """Let the next node run, or the next event of the bar begin; False: the bar is over."""
        return await self._tell(FORWARD)

    async def back(self) -> bool:
        """To the border before; False: this is the first of the event."""
        if not self.walk.turns:
            return False
        return await self._tell(self.carrier.back)

    async def follow(self, order: Order) -> None:
        """Do ``order`` at this border."""
        await self._tell(order)

    async def finish(self) -> None:
        """Let the bar run to its end."""
        while await self.forward():
            pass

    async def through(self, batch: Batch) -> None:
        """A whole bar, without a stop.

        Raises:
            BrainError: whatever the bar raises.
        """
        self.carrier.holding = False
        await self.run.bar(batch)
        await asyncio.sleep(0)  # else many of them could not be cancelled

    async def drop(self) -> None:
        """Forget the bar that is on its way; the run is of no use afterwards."""
        if self._bar is not None and not self._bar.done():
            self._bar.cancel()
            await asyncio.wait({self._bar})
            if not self._bar.cancelled():
                self._bar.result()
        self._bar = None

    async def _tell(self, order: Order) -> bool:
        if self._bar is None or self._bar.done():
            raise StepError("no bar is on its way")
        self.carrier.tell(order)
        return await self._settle()

    async def _settle(self) -> bool:
        bar = self._bar
        assert bar is not None  # noqa: S101 - set by begin
        stopped = asyncio.ensure_future(self.carrier.stopped.wait())
        try:
            await asyncio.wait({bar, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if not bar.done():
            return True
        bar.result()
        return False

    def keep(self) -> Undo:
        """Remember services, ports and trace as they are; what comes back puts them back."""
        run, ports = self.run, self._keep_ports()
        services, trace = run.record(whole=False), run.context.trace
        lists = (trace.outputs, trace.edges, trace.node_hashes, trace.node_ns)
        kept = [list(items) for items in lists]

        def undo() -> None:
            run.restore_record(services)
            ports()
            for items, before in zip(lists, kept, strict=True):
                items[:] = before  # type: ignore[index]

        return undo
