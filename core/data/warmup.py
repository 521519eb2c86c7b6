"""The past of every series, in the order in which it became known (decision X28)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.data.blocks import BarFlag, Bars, Bytes, Closed, ClosedBlock, Floats, FundingRate, PriceAt
from core.data.feature_sets import ATR_BARS, EMA_SLOW, FEATURE_SETS, HV_BARS, FeatureParams, high_bars
from core.data.resample import Table, align
from core.data.sources.base import Source
from core.data.timeframes import say
from core.types import Timeframe

if TYPE_CHECKING:
    from core.data.market import Market

WARM_BARS: dict[Timeframe, int] = {
    Timeframe.M1: 2000,
    Timeframe.M5: 2000,
    Timeframe.M15: 2000,
    Timeframe.H1: 4800,
    Timeframe.H4: 1200,
    Timeframe.D1: 200,
}
"""Bars of history by timeframe for the shipped parameters: the longest look-back (rank over 1000 bars, EMA200) plus what
recursive indicators need to settle; 1h, 4h and 1d all reach back 200 days. Longer windows add to it."""

_ENOUGH_FOR: dict[Timeframe, int] = dict(WARM_BARS)
"""The longest need that :data:`WARM_BARS` covers as it stands here."""

_SETTLE = 3
"""Spans after which a first value weighs less than 0.3 % in an exponential average (e^-6)."""

WARM_FUNDING = 300
"""Settlements, at least; :data:`_FUNDING_GRACE` more than a longer window."""
_FUNDING_GRACE = 30
"""Ten days for symbols that settle every eight hours: a settlement may be missing."""

WARM_SPOT = 2160 + 24
"""Hourly spot closes, at least; :data:`_SPOT_GRACE` more than a longer window."""
_SPOT_GRACE = 24


def warm_bars(tf: Timeframe, windows: FeatureParams, days: int = 0) -> int:
    """Bars of ``tf`` that fill every window in ``windows`` and, on 1d, ``days`` of correlation; at least the usual ones."""
    return WARM_BARS[tf] + max(0, _needed(tf, windows, days) - _ENOUGH_FOR[tf])


def _needed(tf: Timeframe, windows: FeatureParams, days: int) -> int:
    names = FEATURE_SETS[tf]
    needs = [days + 1] if tf is Timeframe.D1 else []
    if "shock" in names:
        needs.append(windows.shock_bars + _SETTLE * windows.sigma_span)
    if "rsi" in names:
        needs += [windows.activity_bars + ATR_BARS, windows.bb_bars, _SETTLE * windows.rsi_bars]
    if "adx" in names:
        needs += [windows.rank_bars + ATR_BARS, windows.slope_bars + EMA_SLOW, high_bars(tf), HV_BARS]
    return max(needs, default=0)


def warm_funding(windows: FeatureParams) -> int:
    """Settlements that fill the window."""
    return max(WARM_FUNDING, windows.funding_settlements + _FUNDING_GRACE)


def warm_spot(windows: FeatureParams) -> int:
    """Hourly spot closes that fill the window."""
    return max(WARM_SPOT, windows.basis_hours + _SPOT_GRACE)


@dataclass(frozen=True, slots=True)
class WarmReport:
    """What the past gave. ``counts`` are (symbol, stream, rows); ``short`` are sentences about what is less than wanted."""

    counts: tuple[tuple[str, str, int], ...]
    short: tuple[str, ...]


def warm(market: Market, source: Source, before_ts: int, on_closed: Callable[[Closed], None] | None) -> WarmReport:
    """Carry out :meth:`core.data.market.Market.warm`."""
    counts: list[tuple[str, str, int]] = []
    short: list[str] = []

    def note(symbol: str, stream: str, rows: int, wanted: int) -> None:
        counts.append((symbol, stream, rows))
        if rows < wanted:
            short.append(f"{symbol}: {rows} of {wanted} {stream} before {say(before_ts)}")

    tables = _tables(market, source, before_ts, note)
    funding, spot = _side_streams(market, source, before_ts, note)
    for closed in _merge(tables):
        _deliver(market, funding, spot, closed.ts)
        for block in closed.blocks:
            market.feed.seed(closed.ts, block)
        market.give(closed)
        if on_closed is not None:
            on_closed(closed)
    _deliver(market, funding, spot, before_ts)
    return WarmReport(tuple(counts), tuple(short))


_Note = Callable[[str, str, int, int], None]


def _tables(market: Market, source: Source, before_ts: int, note: _Note) -> list[Table]:
    series: dict[Timeframe, list[tuple[int, Bars]]] = {tf: [] for tf in market.feed.timeframes}
    for index, symbol in enumerate(market.symbols):
        for tf in market.timeframes(index):
            wanted = warm_bars(tf, market.windows, market.correlation_days)
            bars = source.history(symbol, tf, before_ts, wanted)
            note(symbol, f"{tf.value} bars", len(bars), wanted)
            series[tf].append((index, bars))
    return [align(tf, rows) for tf, rows in series.items()]


def _side_streams(market: Market, source: Source, before_ts: int, note: _Note) -> tuple[list[FundingRate], list[PriceAt]]:
    """Settlements and spot closes of all symbols, newest first, so that they can be taken from the end."""
    settlements, hours = warm_funding(market.windows), warm_spot(market.windows)
    funding: list[FundingRate] = []
    spot: list[PriceAt] = []
    for instrument in market.instruments:
        if not instrument.is_perp:
            continue
        rates = source.funding_history(instrument.symbol, before_ts, settlements)
        prices = source.spot_history(instrument.symbol, before_ts, hours)
        note(instrument.symbol, "funding settlements", len(rates), settlements)
        note(instrument.symbol, "hourly spot closes", len(prices), hours)
        funding.extend(rates)
        spot.extend(prices)
    funding.sort(key=lambda rate: rate.ts, reverse=True)
    spot.sort(key=lambda price: price.ts, reverse=True)
    return funding, spot


def _deliver(market: Market, funding: list[FundingRate], spot: list[PriceAt], until: int) -> None:
    while funding and funding[-1].ts <= until:
        market.on_funding(funding.pop())
    while spot and spot[-1].ts <= until:
        market.on_spot(spot.pop())


def _merge(tables: list[Table]) -> Iterator[Closed]:
    """Rows of all tables in order of close; finest timeframe first where they close together."""
    closes = [table.ts + table.tf.ms for table in tables]
    times = np.unique(np.concatenate(closes)).tolist() if tables else []
    cursor = [0] * len(tables)
    ends = [close.tolist() for close in closes]
    for ts in times:
        blocks: list[ClosedBlock] = []
        for k, table in enumerate(tables):
            row = cursor[k]
            if row < len(ends[k]) and ends[k][row] == ts:
                cursor[k] = row + 1
                blocks.append(_block(table, row, ts))
        yield Closed(ts, tuple(blocks))


def _block(table: Table, row: int, ts: int) -> ClosedBlock:
    volume = table.volume[row]
    if table.whole[row]:
        return ClosedBlock(
            table.tf, ts, table.idx, table.open[row], table.high[row], table.low[row], table.close[row], volume, _flags(volume)
        )
    at = table.present[row]
    volume = volume[at]
    return ClosedBlock(
        table.tf,
        ts,
        table.idx[at],
        table.open[row, at],
        table.high[row, at],
        table.low[row, at],
        table.close[row, at],
        volume,
        _flags(volume),
    )


def _flags(volume: Floats) -> Bytes:
    return np.where(volume == 0.0, np.uint8(BarFlag.ZERO_VOLUME), np.uint8(0))
