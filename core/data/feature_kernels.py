"""Features of one timeframe, bar by bar, for all symbols of a run at once (B9, X29)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.data.blocks import Bools, ClosedBlock, Floats, Ints, somewhere
from core.data.feature_sets import (
    ADX_BARS,
    ATR_BARS,
    DONCHIAN_INNER,
    DONCHIAN_OUTER,
    EMA_FAST,
    EMA_SLOW,
    FEATURE_SETS,
    HV_BARS,
    FeatureParams,
    high_bars,
    periods_a_year,
    volume_bars,
)
from core.data.on_demand import OnDemand
from core.indicators.incremental import (
    Adx,
    Bollinger,
    CloseLocation,
    Emas,
    Extreme,
    Hv,
    Look,
    Moves,
    Percent,
    Rank,
    ReturnPct,
    ReturnVariance,
    Rsi,
    Shock,
    Slope,
    Step,
    TrueRange,
    VolumeZ,
    WilderMean,
)
from core.indicators.packed import packed, unpack
from core.indicators.rows import Memory, Rows, Series
from core.types import Timeframe

_BARS = ("open", "high", "low", "close", "volume")
_REMEMBERED = ("high", "low", "close", "volume", "atr_pct", "_log", "_variance", "ema200")
"""What histories may hold, in the order of the rows, so that all of it is pushed at once."""


class FrameFeatures:
    """All features of ``tf``: ``rows[name]`` and ``ready[name]`` are arrays (S,) updated in place.

    Those in ``later`` stand still until they are brought up for the bar; all others are of the present bar.

    :meth:`update` calculates for every symbol, whatever the block holds, and then puts back those without a bar. So a
    symbol's value never depends on which others closed with it, and a gap of one costs the others nothing.

    A single symbol is calculated twice, side by side: where the result replaces an input, numpy needs two to three
    times as long for an array of one element as for one of two (measured).
    """

    def __init__(self, symbols: int, tf: Timeframe, params: FeatureParams) -> None:
        names, width = FEATURE_SETS[tf], max(symbols, 2)
        layout = _layout(names)
        self._tf, self._params, self._symbols = tf, params, symbols
        self._names, self._place = names, {name: i for i, name in enumerate(layout)}
        self._out: Floats = np.full((len(layout), width), np.nan)
        self._is_ready: Bools = np.zeros((len(layout), width), dtype=np.bool_)
        self.rows: dict[str, Floats] = {name: self._row(name)[:symbols] for name in names}
        self.ready: dict[str, Bools] = {name: self._is_ready[self._place[name], :symbols] for name in names}
        self.later: dict[str, OnDemand] = {}
        self.bar = 0
        self._memory = Memory(width)
        self._bars = self._out[:5]
        self._previous = self._memory.cells(5)
        self._all = np.arange(symbols, dtype=np.int64)
        self._known_whole: Ints | None = None
        self._steps: list[Step] = []
        self._histories: dict[str, Series] = {}
        self._history, self._newest = self._remember()
        self._build()
        self._looks = self._rows_of_looks()
        self._warm_bars = max(step.warm_bars for step in self._steps)
        self._warming = True
        self._awaits = False  # whether any symbol that has begun still lacks a value
        self._awaited: tuple[OnDemand, ...] = ()
        self._awaiting: Bools = np.zeros(width, dtype=np.bool_)
        self._run: tuple[Callable[[], None], ...] = tuple(step.run for step in self._steps)
        self._warm: tuple[Callable[[], None], ...] = tuple(step.warm for step in self._steps)

    def update(self, block: ClosedBlock) -> None:
        """Take in the bars of ``block``; the values of symbols without a bar stay as they were."""
        if block.idx is self._known_whole or self._is_whole(block.idx):
            self._update_all(block)
        elif block.idx.size:
            self._update_some(block)

    def _is_whole(self, idx: Ints) -> bool:
        """Whether ``idx`` names every symbol, in order; remembered, since feeds reuse it."""
        if not np.array_equal(idx, self._all):
            return False
        self._known_whole = idx
        return True

    def _update_all(self, block: ClosedBlock) -> None:
        bars, count = self._bars, self._memory.count
        if self._warming and not count.all():
            self._await_all()
        np.copyto(self._previous, bars)
        bars[0], bars[1], bars[2], bars[3], bars[4] = block.open, block.high, block.low, block.close, block.volume
        self._calculate(warm=self._warming)
        if self._warming:
            self._warming = bool(count.min() <= self._warm_bars)
        if self._awaits:
            self._see_what_is_ready()

    def _update_some(self, block: ClosedBlock) -> None:
        closed, memory = block.idx, self._memory
        fewest_bars = memory.count[closed].min()
        if fewest_bars == 0:
            self._await_all()
        absent = np.ones(self._memory.symbols, dtype=np.bool_)
        absent[closed] = False
        others = np.flatnonzero(absent)
        cells, out = memory.save(others), self._out[:, others]
        np.copyto(self._previous, self._bars)
        self._bars[:, closed] = (block.open, block.high, block.low, block.close, block.volume)
        self._calculate(warm=bool(fewest_bars < self._warm_bars))
        memory.restore(others, cells)
        self._out[:, others] = out
        if self._awaits and somewhere(self._awaiting[closed]):
            self._see_what_is_ready()

    def _calculate(self, *, warm: bool) -> None:
        self.bar += 1
        if self._warming:  # nothing counts bars once all have enough
            self._memory.count += 1.0
        for step in self._warm if warm else self._run:
            step()
        if self._history is not None:
            self._history.push(self._newest)

    def _see_what_is_ready(self) -> None:
        """What is not NaN is known. Once known it stays so, and is not asked for again until another symbol begins."""
        for look in self._awaited:
            look.bring_up()
        np.equal(self._out, self._out, out=self._is_ready)  # only NaN differs from itself
        self._see_what_is_awaited()

    def _see_what_is_awaited(self) -> None:
        """Symbols without a single bar are awaited by nobody: they may never come on this timeframe."""
        lacking = ~self._is_ready & (self._memory.count > 0.0)
        self._awaiting = np.logical_or.reduce(lacking, axis=0)
        rows: list[bool] = np.logical_or.reduce(lacking, axis=1).tolist()
        self._awaited = tuple(look for look, own in self._looks.items() if any(rows[row] for row in own))
        self._awaits = True in rows

    def _await_all(self) -> None:
        self._awaits, self._awaited = True, tuple(self._looks)
        self._awaiting.fill(True)

    def snapshot(self) -> dict[str, Any]:
        """Everything that the next bar depends on, to the bit."""
        return {
            "bar": self.bar,
            "warming": self._warming,
            "out": packed(self._out),
            "ready": packed(self._is_ready),
            "memory": self._memory.snapshot(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave for the same symbols, timeframe and windows."""
        self.bar, self._warming = int(saved["bar"]), bool(saved["warming"])
        unpack(saved["out"], self._out)
        unpack(saved["ready"], self._is_ready)
        self._memory.take_over(saved["memory"])
        self._see_what_is_awaited()
        for look in self._looks:
            look.forget()

    # --- wiring -----------------------------------------------------------------------------------

    def _row(self, name: str) -> Floats:
        row: Floats = self._out[self._place[name]]
        return row

    def _span(self, first: str, last: str) -> Floats:
        """Rows from one to another as one array."""
        return self._out[self._place[first] : self._place[last] + 1]

    def _remember(self) -> tuple[Rows | None, Floats]:
        """Histories of everything that windows are taken of, and the rows that are pushed into them."""
        windows = self._windows()
        if not windows:
            return None, self._bars
        first = next(name for name in _REMEMBERED if name in windows)
        names = [name for name in _REMEMBERED[_REMEMBERED.index(first) :] if name in self._place]
        rows = self._memory.rows([windows.get(name, 0) for name in names])
        self._histories = {name: rows.series(i) for i, name in enumerate(names)}
        return rows, self._span(names[0], names[-1])

    def _windows(self) -> dict[str, int]:
        """The longest window that is taken of each history."""
        p, longest = self._params, dict[str, int]()
        for name, past, bars in (
            ("shock", "_log", p.shock_bars + 1),
            ("shock", "_variance", p.shock_bars + 1),
            ("ret6_pct", "close", p.shock_bars + 1),
            ("bb_mid", "close", p.bb_bars),
            ("volume_z", "volume", volume_bars(self._tf)),
            ("volume_rank480", "volume", p.activity_bars),
            ("atr_rank480", "atr_pct", p.activity_bars),
            ("atr_rank", "atr_pct", p.rank_bars),
            ("slope", "ema200", p.slope_bars + 1),
            ("hv", "_log", HV_BARS + 1),
            ("hi72", "high", high_bars(self._tf)),
            ("donchian_hi20", "high", DONCHIAN_INNER + 1),
            ("donchian_lo20", "low", DONCHIAN_INNER + 1),
            ("donchian_hi55", "high", DONCHIAN_OUTER + 1),
            ("donchian_lo55", "low", DONCHIAN_OUTER + 1),
        ):
            if name in self._names:
                longest[past] = max(longest.get(past, 0), bars)
        return longest

    def _rows_of_looks(self) -> dict[OnDemand, list[int]]:
        """Every look, and which rows it fills."""
        rows: dict[OnDemand, list[int]] = {}
        for name, look in self.later.items():
            rows.setdefault(look, []).append(self._place[name])
        return rows

    def _look(self, look: Look, *names: str) -> None:
        on_demand = OnDemand(self, look.run)
        self.later.update(dict.fromkeys(names, on_demand))

    def _build(self) -> None:
        self._build_steps()
        names = self._names
        if "rsi" in names:
            self._look(Rsi(self._row("_gain"), self._row("_loss"), self._row("rsi")), "rsi")
        if "shock" in names:
            self._build_moves()
        if "volume_z" in names:
            self._build_volume()
        self._build_ranks()
        self._build_extremes()

    def _build_steps(self) -> None:
        """What goes from bar to bar."""
        names, memory, steps, params = self._names, self._memory, self._steps, self._params
        _, high, low, close, _ = self._bars
        _, previous_high, previous_low, previous_close, _ = self._previous
        moves = np.empty((3, close.size))
        reach, gain, loss = moves
        steps.append(TrueRange(high, low, previous_close, reach))
        if "rsi" in names:
            steps.append(Moves(close, previous_close, gain, loss))
            steps.extend(self._wilder_means(moves))
        else:
            steps.append(WilderMean(memory, reach, ATR_BARS, self._row("atr")))
        if "adx" in names:
            steps.append(Adx(memory, (high, low), (previous_high, previous_low), reach, ADX_BARS, self._row("adx")))
        if "ema50" in names:
            first, bars = ("ema200", (EMA_SLOW, EMA_FAST)) if "ema200" in names else ("ema50", (EMA_FAST,))
            steps.append(Emas(memory, close, bars, self._span(first, "ema50"), self._row("ema50_prev")))
        if "shock" in names:
            logs, span = self._histories["_log"], params.sigma_span
            steps.append(ReturnVariance(memory, close, logs, span, self._row("_log"), self._row("_variance")))
            steps.append(Percent(self._row("atr"), close, self._row("atr_pct")))

    def _wilder_means(self, moves: Floats) -> Sequence[WilderMean]:
        """Means of range, gain and loss: in one where the periods are the same."""
        memory, means, rsi_bars = self._memory, self._span("atr", "_loss"), self._params.rsi_bars
        if rsi_bars == ATR_BARS:
            return (WilderMean(memory, moves, ATR_BARS, means),)
        return WilderMean(memory, moves[0], ATR_BARS, means[0]), WilderMean(memory, moves[1:], rsi_bars, means[1:])

    def _build_moves(self) -> None:
        params, past, row, close = self._params, self._histories, self._row, self._row("close")
        shock = Shock(past["_log"], past["_variance"], row("_log"), params.shock_bars, row("shock"))
        self._look(shock, "shock")
        self._look(ReturnPct(past["close"], close, params.shock_bars, row("ret6_pct")), "ret6_pct")
        self._look(CloseLocation(row("high"), row("low"), close, row("close_location")), "close_location")
        if "bb_mid" in self._names:
            bands = ("bb_mid", "bb_upper", "bb_lower", "bb_width")
            rows = [row(name) for name in bands]
            self._look(Bollinger(past["close"], params.bb_bars, params.bb_sigmas, *rows), *bands)
        if "slope" in self._names:
            slope = Slope(past["ema200"], row("ema200"), params.slope_bars, row("atr"), close, row("slope"))
            self._look(slope, "slope")
        if "hv" in self._names:
            self._look(Hv(past["_log"], HV_BARS, periods_a_year(self._tf), row("hv")), "hv")

    def _build_volume(self) -> None:
        look = VolumeZ(self._histories["volume"], self._row("volume"), volume_bars(self._tf), self._row("volume_z"))
        self._look(look, "volume_z")

    def _build_ranks(self) -> None:
        params = self._params
        for name, ranked, bars in (
            ("atr_rank", "atr_pct", params.rank_bars),
            ("atr_rank480", "atr_pct", params.activity_bars),
            ("volume_rank480", "volume", params.activity_bars),
        ):
            if name in self._names:
                self._look(Rank(self._histories[ranked], self._row(ranked), bars, self._row(name)), name)

    def _build_extremes(self) -> None:
        if "hi72" in self._names:
            hi72 = Extreme(self._histories["high"], high_bars(self._tf), self._row("hi72"), sign=1, before=False)
            self._look(hi72, "hi72")
        for bars in (DONCHIAN_INNER, DONCHIAN_OUTER):
            for name, past, sign in ((f"donchian_hi{bars}", "high", 1), (f"donchian_lo{bars}", "low", -1)):
                if name in self._names:
                    self._look(Extreme(self._histories[past], bars, self._row(name), sign=sign, before=True), name)


def _layout(names: Sequence[str]) -> list[str]:
    """Names of rows, those in front that are worked on together; an underscore marks what is no feature."""
    inner = ["atr_pct", "_log", "_variance"] if "shock" in names else []
    slow = ["ema200"] if "ema200" in names else []
    fast = ["ema50"] if "ema50" in names else []
    means = ["atr", "_gain", "_loss"] if "rsi" in names else ["atr"]
    return list(dict.fromkeys((*_BARS, *inner, *slow, *fast, *means, *names)))
