"""The venues behind the first: asked for candles by REST, and only while the first one is down.

They are opened at the start, so that what they cannot do is known before it is needed. A symbol that one of them does not list
has no reserve there; the others keep theirs.

What they tell is handed out as blocks that name their venue, so that the feed marks each bar (X33). Run so far: ccxt's
clients of Bybit and OKX against answers made up after ccxt's own reading of them, never these venues themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from core.data.blocks import BarBlock
from core.data.exchange.candles import Row, block_of
from core.data.exchange.rest import PAGE, pages
from core.data.exchange.venue import Venue
from core.data.timeframes import LADDER
from core.errors import BrainError
from core.types import Timeframe

_MOST = 500
"""Bars of a symbol that are taken over from another venue in one go; a longer hole is not filled with its prices."""


class Reserve:
    """See above.

    Args:
        names: venues in the order in which they are tried.
        make: makes one, when it is needed.

    Attributes:
        notes: why one could not help, since they were last taken; each once for as long as it is so.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], Venue]) -> None:
        self._names, self._make = tuple(names), make
        self._open: dict[str, Venue] = {}
        self._ready: set[str] = set()
        self._why: dict[str, str] = {}
        self.notes: list[str] = []

    async def close(self) -> None:
        """End those that were used."""
        for name in self._names:
            if name in self._open:
                await self._open.pop(name).close()

    async def check(self, patience_s: float) -> tuple[str, ...]:
        """Open them all; what they cannot do, in sentences for people."""
        return tuple(why for why in await asyncio.gather(*(self._lacks(name, patience_s) for name in self._names)) if why)

    async def _lacks(self, name: str, patience_s: float) -> str:
        try:
            async with asyncio.timeout(patience_s):
                venue = await self._opened(name)
        except Exception as error:  # noqa: BLE001 - a run does not hang on its reserve
            return f"{name} cannot stand in now ({_said(error)}); it is tried again when it is needed"
        absent = [symbol for who, symbol in enumerate(venue.symbols) if not venue.lists(who)]
        return f"{name} does not list {', '.join(absent)}: it cannot stand in there" if absent else ""

    async def blocks(self, ts: int, wanted: Sequence[tuple[int, int]], patience_s: float) -> tuple[str, tuple[BarBlock, ...]]:
        """Bars up to ``ts`` of the first venue that has any, and its name (empty: none has).

        Args:
            ts: the close.
            wanted: position and open of the first bar, of each symbol.
            patience_s: how long all may take together.
        """
        until = asyncio.get_running_loop().time() + patience_s
        for name in self._names:
            try:
                async with asyncio.timeout_at(until):
                    rows = await self._rows(name, ts, wanted)
            except Exception as error:  # noqa: BLE001 - then the next one
                self._say(name, _said(error))
                continue
            if rows:
                self._why.pop(name, None)
                return name, tuple(
                    block_of(tf, [row for own, row in rows if own is tf], venue=name)
                    for tf in LADDER
                    if any(own is tf for own, _ in rows)
                )
            self._say(name, "it told no candles")
        return "", ()

    def _say(self, name: str, why: str) -> None:
        if self._why.get(name) != why:
            self._why[name] = why
            self.notes.append(f"{name} could not stand in ({why}); it is asked again at each close")

    async def _rows(self, name: str, ts: int, wanted: Sequence[tuple[int, int]]) -> list[tuple[Timeframe, Row]]:
        venue = await self._opened(name)
        listed = [(who, since) for who, since in wanted if venue.lists(who)]
        found = await asyncio.gather(*(self._of(venue, who, since, ts) for who, since in listed))
        return [row for rows in found for row in rows]

    async def _opened(self, name: str) -> Venue:
        if name not in self._open:
            self._open[name] = self._make(name)
        if name not in self._ready:
            await self._open[name].open(partly=True)
            self._ready.add(name)
        return self._open[name]

    async def _of(self, venue: Venue, who: int, since: int, ts: int) -> list[tuple[Timeframe, Row]]:
        tf = venue.base[who]
        since = max(since, ts - _MOST * tf.ms)
        limit = max(2, min(PAGE, (ts - since) // tf.ms + 1))
        try:
            bars = await pages(partial(venue.rest.candles, venue.symbols[who], tf), tf, since, ts, limit)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a symbol without bars is left out
            return []
        columns = (column.tolist() for column in bars)
        return [(tf, Row(int(opened), who, (o, h, low, c, v))) for opened, o, h, low, c, v in zip(*columns, strict=True)]


def _said(error: Exception) -> str:
    return error.what if isinstance(error, BrainError) else type(error).__name__
