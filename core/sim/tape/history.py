"""What REST answers of the past, out of a source: nothing is kept here that the source has already."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from core.data.blocks import Bars
from core.data.sources.base import Source
from core.data.timeframes import bucket_open
from core.sim.local.values import ZERO, FundingTick, KlineTick
from core.sim.tape.base import venue_slice
from core.sim.tape.candles import PRINTS, Candle, number, trade_number
from core.sim.tape.player import Player
from core.types import Timeframe


class SourceHistory:
    """Candles and settlements of ``source``, as of a time that is given each time."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def klines(
        self, player: Player, tf: Timeframe, start: int | None, end: int | None, limit: int, now: int
    ) -> tuple[KlineTick, ...]:
        """Candles of ``tf`` that opened at or before ``now``, the forming one last."""
        newest = now if end is None else min(now, bucket_open(end, tf) + tf.ms)
        count = limit if start is None else max(0, (newest - start) // tf.ms + 1)
        bars = self._source.history(player.instrument.symbol, tf, newest, count)
        made = [*_ticks(player, tf, bars), *player.ladder.forming(now, tf)]
        return venue_slice(made, lambda tick: tick.open_ts, start, end, limit)

    def funding(self, player: Player, start: int | None, end: int | None, limit: int, now: int) -> tuple[FundingTick, ...]:
        """Settlements at or before ``now``; their mark is the close of the hour before them."""
        newest = now if end is None else min(now, end)
        count = limit if start is None else max(0, (newest - start) // Timeframe.H1.ms + 1)
        settled = self._source.funding_history(player.instrument.symbol, newest, count)
        chosen = venue_slice(settled, lambda row: row.ts, start, end, limit)
        closes = self._closes(player, [row.ts for row in chosen])
        return tuple(
            FundingTick(player.symbol, row.ts, number(row.rate), number(closes[row.ts]) if row.ts in closes else ZERO)
            for row in chosen
        )

    def spot(self, player: Player, start: int | None, end: int | None, limit: int, now: int) -> tuple[KlineTick, ...]:
        """Hourly candles of the spot market up to ``now``, from one known close to the next, the forming one last.

        Nothing is known between two closes: a candle has no other prices than these, and no volume.
        """
        hour = Timeframe.H1.ms
        newest = now if end is None else min(now, bucket_open(end, Timeframe.H1) + hour)
        count = limit if start is None else max(0, (newest - start) // hour + 1)
        closes = self._spot_closes(player, start, newest, count + 1)
        rows = [
            _spot_candle(player, ts - hour, closes.get(ts - hour, price), price, ts, final=True) for ts, price in closes.items()
        ]
        begun = bucket_open(now, Timeframe.H1)
        if begun in closes:
            rows.append(_spot_candle(player, begun, closes[begun], closes[begun], now, final=False))
        return venue_slice(rows, lambda tick: tick.open_ts, start, end, limit)

    def _spot_closes(self, player: Player, start: int | None, newest: int, count: int) -> dict[int, float]:
        """The last ``count`` closes up to ``newest``, or all that candles from ``start`` on are made of.

        The latest ones are held, since every client asks for them in the moment in which a bar closes, and a source may have to
        read or make its past for it.
        """
        held = [ts for ts in player.spot if ts <= newest]
        if len(held) >= count or (start is not None and held and min(held) <= start):
            return {ts: player.spot[ts] for ts in sorted(held)[-count:]}
        return {row.ts: row.price for row in self._source.spot_history(player.instrument.symbol, newest, count)}

    def _closes(self, player: Player, times: Sequence[int]) -> dict[int, float]:
        """Last prices at ``times`` (rising) where an hour closed then."""
        if not times:
            return {}
        tf = max(player.base, Timeframe.H1, key=lambda tf: tf.ms)
        hours = self._source.history(player.instrument.symbol, tf, times[-1], (times[-1] - times[0]) // tf.ms + 1)
        return dict(zip((hours.ts + tf.ms).tolist(), hours.close.tolist(), strict=True))


def without_volume(candle: KlineTick) -> KlineTick:
    """A candle of a price that nobody trades."""
    return structs.replace(candle, volume=ZERO, quote_volume=ZERO, taker_volume=ZERO, trades=0, first_trade=-1, last_trade=-1)


def _spot_candle(player: Player, open_ts: int, first: float, last: float, ts: int, *, final: bool) -> KlineTick:
    candle = Candle(open_ts, first, max(first, last), min(first, last), last, 0.0, -1, -1)
    return without_volume(candle.tick(player.symbol, Timeframe.H1, ts, final=final))


def _ticks(player: Player, tf: Timeframe, bars: Bars) -> list[KlineTick]:
    bar_ms = player.base.ms
    last = tf.ms // bar_ms * PRINTS - 1
    made: list[KlineTick] = []
    columns = (column.tolist() for column in bars)
    for open_ts, open_, high, low, close, volume in zip(*columns, strict=True):
        first = trade_number(open_ts, bar_ms)
        candle = Candle(open_ts, open_, high, low, close, volume, first, first + last)
        made.append(candle.tick(player.symbol, tf, open_ts + tf.ms, final=True))
    return made
