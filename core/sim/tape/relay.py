"""A tape that is fed from outside while it plays: for paper on a real market's ticks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from typing import Any

from msgspec import convert, structs, to_builtins

from core.clock import Clock
from core.errors import StateError
from core.sim.local.values import BookTick, FundingTick, KlineTick, MarkTick, Tick
from core.sim.tape.base import FUNDING_DEFAULT, KLINES_DEFAULT, SPOT_KLINES_DEFAULT, TapeInfo
from core.sim.tape.memory import TapeMemory
from core.types import Timeframe

WAITING_MOST = 10_000
"""Ticks that wait for a slow consumer before what a newer one replaces is left out."""


class RelayTape:
    """A tape (:class:`core.sim.tape.base.MarketTape`) whose ticks are pushed in.

    A tick older than the last one takes over its time, so that time never runs back; one that the exchange's ``clock`` has not
    reached is of now, so that nothing waits for it, however wrong its time. When a consumer falls behind by
    more than :data:`WAITING_MOST` ticks, a book, a mark or a forming candle that a newer one replaces is left out (counted in
    ``left_out``); trades, final candles and settlements never are.

    Args:
        name: of the market, for people.
        timeframes: candles that will be pushed, by symbol (the venue's name).
    """

    def __init__(self, name: str, timeframes: Mapping[str, tuple[Timeframe, ...]]) -> None:
        self.info = TapeInfo(name, tuple(timeframes), dict(timeframes), None, None, drawn_path=False)
        self.left_out = 0
        self.clock: Clock | None = None
        self._memory = TapeMemory()
        self._waiting: dict[Hashable, Tick] = {}
        self._number = 0
        self._last_ts = 0
        self._closed = False
        self._news = asyncio.Event()

    def push(self, tick: Tick) -> None:
        """Hand a tick in, in the order in which the market told it.

        Raises:
            StateError: the tape was closed.
        """
        if self._closed:
            raise StateError(f"a tick was pushed into {self.info.name} after it was closed")
        ts = tick.ts if self.clock is None else min(tick.ts, self.clock.now_ms())
        self._last_ts = max(ts, self._last_ts)
        if tick.ts != self._last_ts:
            tick = structs.replace(tick, ts=self._last_ts)
        self._number += 1
        key: Hashable = self._number
        if len(self._waiting) >= WAITING_MOST:
            replaced = _replaced_by(tick)
            key = key if replaced is None else replaced
            self.left_out += self._waiting.pop(key, None) is not None
        self._waiting[key] = tick
        self._news.set()

    @property
    def waiting(self) -> int:
        """Ticks that were pushed in and not handed out yet."""
        return len(self._waiting)

    def forget_books(self) -> None:
        """Nobody hears the books any more: until they are told again, nothing must be filled by what they were."""
        ts = self._last_ts if self.clock is None else self.clock.now_ms()
        for symbol in self.info.symbols:
            self.push(BookTick(symbol, ts, 0, (), ()))

    def fill(self, candles: Iterable[KlineTick]) -> None:
        """Candles of the time before, for history."""
        self._memory.fill(candles)

    def close(self) -> None:
        """No more ticks will come; what waits is still handed out."""
        self._closed = True
        self._news.set()

    async def ticks(self, after_ts: int | None = None) -> AsyncIterator[Tick]:
        """Ticks as they come; those at or before ``after_ts`` are only remembered."""
        while self._waiting or not self._closed:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            tick = self._waiting.pop(next(iter(self._waiting)))
            self._memory.take(tick)
            if after_ts is None or tick.ts > after_ts:
                yield tick

    # --- history ----------------------------------------------------------------------------------

    def klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; what was pushed and filled in."""
        return self._memory.klines(symbol, tf, start, end, limit)

    def mark_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return self._memory.mark_klines(symbol, tf, start, end, limit)

    def funding_rates(
        self, symbol: str, start: int | None = None, end: int | None = None, limit: int = FUNDING_DEFAULT
    ) -> tuple[FundingTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; what was pushed."""
        return self._memory.funding_rates(symbol, start, end, limit)

    def spot_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = SPOT_KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; none."""
        del symbol, tf, start, end, limit
        return ()

    def premium(self, symbol: str) -> MarkTick | None:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return self._memory.premium(symbol)

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The latest marks: a live market is not gone back to, but they tell which settlement was due next."""
        marks = [mark for symbol in self.info.symbols if (mark := self.premium(symbol)) is not None]
        return {"marks": to_builtins(marks)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        for mark in convert(state["marks"], list[MarkTick]):
            self._memory.take(mark)


def _replaced_by(tick: Tick) -> Hashable | None:
    """What a newer tick of the kind takes the place of; None where each one counts."""
    match tick:
        case BookTick() | MarkTick():
            return (type(tick), tick.symbol)
        case KlineTick(final=False):
            return (KlineTick, tick.symbol, tick.tf)
        case _:
            return None
