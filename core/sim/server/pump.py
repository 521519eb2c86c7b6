"""Plays the tape: each tick at its time to the engine, then to those who watch."""

from __future__ import annotations

from collections.abc import Callable

from core.sim.local.exchange import LocalExchange
from core.sim.local.values import BookTick, FundingTick, MarkTick, Tick, TradeTick
from core.sim.server.market import MarketView
from core.sim.server.pace import Pace
from core.sim.server.spot_streams import SpotStreams
from core.sim.server.streams import Streams
from core.sim.tape.base import MarketTape


class Pump:
    """One pass over a tape.

    ``position`` is the time of the last tick that was played to its end and how many of that time were: with it a later
    pass goes on without leaving one out or playing one twice.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        tape: MarketTape,
        market: MarketView,
        streams: Streams,
        spot: SpotStreams,
        pace: Pace,
        *,
        reaction_ms: int,
        settle: Callable[[], None],
    ) -> None:
        self._exchange, self._tape, self._market = exchange, tape, market
        self._streams, self._spot = streams, spot
        self._pace, self._reaction_ms, self._settle = pace, reaction_ms, settle
        self.position: tuple[int, int] | None = None

    async def run(self) -> None:
        """Play what is left, until the tape ends."""
        begun = self.position
        skip = begun[1] if begun else 0
        async for tick in self._tape.ticks(begun[0] - 1 if begun else None):
            self._tell_spot()
            if begun and skip and tick.ts == begun[0]:
                skip -= 1
                self._market.take(tick)
                continue
            await self._pace.until(tick.ts)
            await self._play(tick)
        self._tell_spot()

    def _tell_spot(self) -> None:
        """The tape knows what came with a tick once it was asked for the next one."""
        if self.position:
            self._spot.pass_time(self.position[0])

    async def _play(self, tick: Tick) -> None:
        self._exchange.on_time(self._pace.clock.now_ms())
        match tick:
            case TradeTick():
                await self._trade(tick)
            case BookTick():
                self._exchange.book(tick)
            case MarkTick():
                self._exchange.mark(tick)
            case FundingTick():
                self._exchange.settle_funding(tick)
            case _:  # candles move nothing
                pass
        self._advance(tick.ts)
        self._market.take(tick)
        self._settle()
        self._streams.take(tick)

    async def _trade(self, tick: TradeTick) -> None:
        """A drawn path is swept, and rests wherever an order was filled, so that clients can react before it goes on."""
        if not self._tape.info.drawn_path:
            self._exchange.trade(tick)
            return
        while not self._exchange.sweep(tick):
            self._settle()
            await self._pace.sleep(self._reaction_ms)

    def _advance(self, ts: int) -> None:
        """The tick is played: what is saved from now on need not see it again."""
        again = self.position is not None and self.position[0] == ts
        self.position = (ts, self.position[1] + 1 if again and self.position else 1)
