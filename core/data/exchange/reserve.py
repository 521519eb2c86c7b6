"""The venues behind the first: asked for candles by REST, and only while the first one is down.

What they tell is handed out as blocks that name their venue, so that the feed marks each bar (X33). Run so far: ccxt's Bybit
client against answers made up after ccxt's own reading of them. Neither Bybit nor OKX themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from core.data.blocks import BarBlock
from core.data.exchange.candles import Row, block_of
from core.data.exchange.rest import PAGE, pages
from core.data.exchange.venue import Venue
from core.data.timeframes import LADDER
from core.types import Timeframe

_MOST = 500
"""Bars of a symbol that are taken over from another venue in one go; a longer hole is not filled with its prices."""


class Reserve:
    """See above.

    Args:
        names: venues in the order in which they are tried.
        make: makes one, when it is needed.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], Venue]) -> None:
        self._names, self._make = tuple(names), make
        self._open: dict[str, Venue] = {}
        self._ready: set[str] = set()

    async def close(self) -> None:
        """End those that were used."""
        for name in self._names:
            if name in self._open:
                await self._open.pop(name).close()

    async def blocks(self, ts: int, wanted: Sequence[tuple[int, int]], patience_s: float) -> tuple[str, tuple[BarBlock, ...]]:
        """Bars up to ``ts`` of the first venue that has any, and its name (empty: none has).

        Args:
            ts: the close.
            wanted: position and open of the first bar, of each symbol.
            patience_s: how long all may take together.
        """
        until = asyncio.get_running_loop().time() + patience_s
        for name in self._names:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    rows = await self._rows(name, ts, wanted)
                    if rows:
                        return name, tuple(
                            block_of(tf, [row for own, row in rows if own is tf], venue=name)
                            for tf in LADDER
                            if any(own is tf for own, _ in rows)
                        )
        return "", ()

    async def _rows(self, name: str, ts: int, wanted: Sequence[tuple[int, int]]) -> list[tuple[Timeframe, Row]]:
        try:
            venue = await self._opened(name)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - then the next one
            return []
        found = await asyncio.gather(*(self._of(venue, who, since, ts) for who, since in wanted))
        return [row for rows in found for row in rows]

    async def _opened(self, name: str) -> Venue:
        if name not in self._open:
            self._open[name] = self._make(name)
        if name not in self._ready:
            await self._open[name].open()
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
