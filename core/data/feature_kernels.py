"""Features of one timeframe, bar by bar, for all symbols of a run at once (B9, X29)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.data.blocks import Bools, ClosedBlock, Floats, Ints
from core.data.feature_sets import (
    ADX_BARS,
    ATR_BARS,
    DONCHIAN_INNER,
    DONCHIAN_OUTER,
    EMA_FAST,
    EMA_SLOW,
    FEATURE_SETS,
    HV_BARS,
    ON_DEMAND,
    FeatureParams,
    high_bars,
    periods_a_year,
    volume_bars,
)
from core.indicators.incremental import (
    Adx,
    Bollinger,
    CloseLocation,
    Ema,
    Extreme,
    Hv,
    LogReturns,
    Percent,
    Rank,
    ReturnPct,
    Rsi,
    Shock,
    Slope,
    Step,
    TrueRange,
    VolumeZ,
    WilderMean,
)
from core.indicators.rows import Memory, Rows
from core.types import Timeframe


class FrameFeatures:
    """All features of ``tf``: ``view[name]`` and ``ready[name]`` are arrays (S,) updated in place.

    Those of :data:`ON_DEMAND` are in ``later`` instead and stand still until :meth:`bring_up` is called for the bar.

    :meth:`update` calculates for every symbol, whatever the block holds, and then puts back those without a bar. So a
    symbol's value never depends on which others closed with it, and a gap of one costs the others nothing.

    A single symbol is calculated twice, side by side: where the result replaces an input, numpy needs two to three
    times as long for an array of one element as for one of two (measured).
    """

    def __init__(self, symbols: int, tf: Timeframe, params: FeatureParams) -> None:
        names = FEATURE_SETS[tf]
        self._tf, self._params, self._symbols, width = tf, params, symbols, max(symbols, 2)
        self._out: Floats = np.full((len(names), width), np.nan)
        self._is_ready: Bools = np.zeros((len(names), width), dtype=np.bool_)
        rows = {name: self._out[i, :symbols] for i, name in enumerate(names)}
        self._on_demand = ON_DEMAND[tf]
        self.view: dict[str, Floats] = {name: row for name, row in rows.items() if name not in self._on_demand}
        self.later: dict[str, Floats] = {name: row for name, row in rows.items() if name in self._on_demand}
        self.ready: dict[str, Bools] = {name: self._is_ready[names.index(name), :symbols] for name in self.view}
        self._rows: dict[str, Floats] = {name: self._out[i] for i, name in enumerate(names)}
        self._memory = Memory(width)
        self._bars = self._out[:5]
        self._open, self._high, self._low, self._close, self._volume = self._bars
        self._previous = self._memory.cells(5)
        self._all = np.arange(symbols, dtype=np.int64)
        self._same = np.empty(symbols, dtype=np.bool_)
        self._known_whole: Ints | None = None
        self._steps: list[Step] = []
        self._pushes: list[tuple[Rows, Floats]] = []
        self._later: list[Step] = []
        self._fresh = True
        self._build()
        self._warm_bars = max(step.warm_bars for step in (*self._steps, *self._later))
        self._warming = True
        self._run: tuple[Callable[[], None], ...] = tuple(step.run for step in self._steps)
        self._warm: tuple[Callable[[], None], ...] = tuple(step.warm for step in self._steps)

    def update(self, block: ClosedBlock) -> None:
        """Take in the bars of ``block``; the values of symbols without a bar stay as they were."""
        if self._is_whole(block.idx):
            self._update_all(block)
        elif block.idx.size:
            self._update_some(block)
        np.equal(self._out, self._out, out=self._is_ready)  # only NaN differs from itself
        self._fresh = False

    def bring_up(self) -> None:
        """Calculate the features of :attr:`later` for the present bar, unless that was done."""
        if not self._fresh:
            self._fresh = True
            for step in self._later:
                step.warm()

    def _is_whole(self, idx: Ints) -> bool:
        """Whether ``idx`` names every symbol, in order."""
        if idx is self._known_whole:
            return True
        if idx.size != self._symbols:
            return False
        np.equal(idx, self._all, out=self._same)
        whole = int(np.count_nonzero(self._same)) == self._symbols
        self._known_whole = idx if whole else None
        return whole

    def _update_all(self, block: ClosedBlock) -> None:
        np.copyto(self._previous, self._bars)
        np.copyto(self._open, block.open)
        np.copyto(self._high, block.high)
        np.copyto(self._low, block.low)
        np.copyto(self._close, block.close)
        np.copyto(self._volume, block.volume)
        self._calculate(warm=self._warming)
        if self._warming:
            self._warming = bool(self._memory.count.min() <= self._warm_bars)

    def _update_some(self, block: ClosedBlock) -> None:
        closed, memory = block.idx, self._memory
        absent = np.ones(self._memory.symbols, dtype=np.bool_)
        absent[closed] = False
        others = np.flatnonzero(absent)
        cells, out = memory.save(others), self._out[:, others]
        np.copyto(self._previous, self._bars)
        self._bars[:, closed] = (block.open, block.high, block.low, block.close, block.volume)
        self._calculate(warm=bool(memory.count[closed].min() < self._warm_bars))
        memory.restore(others, cells)
        self._out[:, others] = out

    def _calculate(self, *, warm: bool) -> None:
        count = self._memory.count
        np.add(count, 1.0, out=count)
        for rows, newest in self._pushes:
            rows.push(newest)
        for step in self._warm if warm else self._run:
            step()

    # --- wiring -----------------------------------------------------------------------------------

    def _build(self) -> None:
        high, low, close, view, steps = self._high, self._low, self._close, self._rows, self._steps
        _, previous_high, previous_low, previous_close, _ = self._previous
        reach = np.empty_like(close)
        steps.append(TrueRange(high, low, previous_close, reach))
        steps.append(WilderMean(self._memory, reach, ATR_BARS, view["atr"]))
        if "adx" in view:
            steps.append(Adx(self._memory, (high, low), (previous_high, previous_low), reach, ADX_BARS, view["adx"]))
        if "rsi" in view:
            steps.append(Rsi(self._memory, close, previous_close, self._params.rsi_bars, view["rsi"]))
        if "close_location" in view:
            self._step("close_location", CloseLocation(high, low, close, view["close_location"]))
        self._build_means()
        self._build_atr_ranks()
        self._build_volume()
        self._build_extremes()
        self._build_moves()

    def _step(self, name: str, step: Step) -> None:
        (self._later if name in self._on_demand else self._steps).append(step)

    def _history(self, newest: Floats, bars: int) -> Rows:
        rows = self._memory.rows(bars)
        self._pushes.append((rows, newest))
        return rows

    def _build_means(self) -> None:
        view, close = self._rows, self._close
        if "ema50" in view:
            self._steps.append(Ema(self._memory, close, EMA_FAST, view["ema50"], view["ema50_prev"]))
        if "ema200" in view:
            self._steps.append(Ema(self._memory, close, EMA_SLOW, view["ema200"]))
            self._steps.append(Slope(self._memory, view["ema200"], self._params.slope_bars, view["atr"], close, view["slope"]))

    def _build_atr_ranks(self) -> None:
        view, params = self._rows, self._params
        for name, bars in (("atr_rank", params.rank_bars), ("atr_rank480", params.activity_bars)):
            if name in view:
                rows = self._memory.rows(bars)
                atr_pct = view["atr_pct"] if "atr_pct" in view else np.empty_like(view["atr"])
                self._steps.append(Percent(view["atr"], self._close, atr_pct, rows))
                self._step(name, Rank(rows, atr_pct, bars, view[name], ATR_BARS + 1))

    def _build_volume(self) -> None:
        view, volume, week = self._rows, self._volume, volume_bars(self._tf)
        if "volume_z" not in view:
            return
        ranked = self._params.activity_bars if "volume_rank480" in view else 0
        volumes = self._history(volume, max(week, ranked))
        self._step("volume_z", VolumeZ(volumes, volume, week, view["volume_z"]))
        if ranked:
            self._steps.append(Rank(volumes, volume, ranked, view["volume_rank480"], 1))

    def _build_extremes(self) -> None:
        view = self._rows
        channels = [bars for bars in (DONCHIAN_INNER, DONCHIAN_OUTER) if f"donchian_hi{bars}" in view]
        recent = [high_bars(self._tf)] if "hi72" in view else []
        longest = max([bars + 1 for bars in channels] + recent, default=0)
        if longest == 0:
            return
        highs = self._history(self._high, longest)
        for bars in recent:
            self._steps.append(Extreme(highs, bars, view["hi72"], sign=1, before=False))
        if channels:
            lows = self._history(self._low, longest)
            for bars in channels:
                self._steps.append(Extreme(highs, bars, view[f"donchian_hi{bars}"], sign=1, before=True))
                self._steps.append(Extreme(lows, bars, view[f"donchian_lo{bars}"], sign=-1, before=True))

    def _build_moves(self) -> None:
        view, params, close = self._rows, self._params, self._close
        if "shock" not in view:
            return
        closes = self._history(close, max(params.bb_bars, params.shock_bars + 1))
        if "bb_mid" in view:
            bands = (view["bb_mid"], view["bb_upper"], view["bb_lower"], view["bb_width"])
            self._steps.append(Bollinger(closes, params.bb_bars, params.bb_sigmas, *bands))
        logs = LogReturns(self._memory, close, params.shock_bars)
        self._steps.append(logs)
        self._steps.append(Shock(self._memory, logs, params.shock_bars, params.sigma_span, view["shock"]))
        self._steps.append(ReturnPct(closes, close, params.shock_bars, view["ret6_pct"]))
        if "hv" in view:
            self._steps.append(Hv(self._memory, logs.returns, HV_BARS, periods_a_year(self._tf), view["hv"]))
