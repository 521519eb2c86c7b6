"""Indicators bar by bar for all symbols at once: the same values as :mod:`core.indicators.arrays` (B9, X29).

A *step* reads and writes arrays of shape (S,), one place a symbol, that live as long as the run: it is wired once to
its inputs and outputs and then called once a bar. ``run`` is for symbols that are all past ``warm_bars`` bars, ``warm``
does the same and also starts recursions as TA-Lib does, from each symbol's own ``count`` of bars.

Two rules make a symbol's values independent of the symbols beside it: arithmetic between arrays is element by element,
and sums run along one symbol's contiguous row.

What a step must remember is kept in :class:`Memory`, so that a symbol without a bar can be put back as it was.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from core.indicators.arrays import ATR_FLOOR, SIGMA_FLOOR, TINY, VOLUME_STD_FLOOR, Floats
from core.indicators.rows import Memory, Rows, TrueCounter


def _number(value: float) -> Floats:
    """``value`` as an array without dimensions, which a numpy call takes far faster than a Python float."""
    return np.array(value, dtype=np.float64)


_ZERO, _ONE, _HUNDRED = _number(0.0), _number(1.0), _number(100.0)
_TINY, _HALF_TINY = _number(TINY), _number(0.5 * TINY)
_ATR_FLOOR, _SIGMA_FLOOR = _number(ATR_FLOOR), _number(SIGMA_FLOOR)
_VOLUME_VARIANCE_FLOOR = _number(VOLUME_STD_FLOOR * VOLUME_STD_FLOOR)


class Step(Protocol):
    """One calculation of a bar. ``warm_bars``: bars after which a symbol no longer needs :meth:`warm`."""

    warm_bars: int

    def run(self) -> None: ...

    def warm(self) -> None: ...


class Windowed:
    """Base of steps over windows: a window that is not full holds NaN, so nothing special is needed in the warm-up."""

    warm_bars = 0

    def run(self) -> None:
        raise NotImplementedError

    def warm(self) -> None:
        self.run()


class Ema:
    """Exponential mean of ``x`` into ``out``; the value before it into ``previous`` if given."""

    def __init__(self, memory: Memory, x: Floats, bars: int, out: Floats, previous: Floats | None = None) -> None:
        self.warm_bars = bars
        self._x, self._out, self._previous, self._count = x, out, previous, memory.count
        self._weight = _number(2.0 / (bars + 1.0))
        self._sum = memory.cells(1, start=0.0)[0]
        self._next = np.empty_like(out)

    def run(self) -> None:
        if self._previous is not None:
            np.copyto(self._previous, self._out)
        step = self._next
        np.subtract(self._x, self._out, out=step)
        np.multiply(step, self._weight, out=step)
        np.add(step, self._out, out=self._out)

    def warm(self) -> None:
        np.add(self._sum, self._x, out=self._sum)
        self.run()
        np.copyto(self._out, self._sum / self.warm_bars, where=self._count == self.warm_bars)


class WilderMean:
    """Wilder's mean of ``x``, which begins with each symbol's second bar; shapes (S,) or (k, S)."""

    def __init__(self, memory: Memory, x: Floats, bars: int, out: Floats) -> None:
        self.warm_bars = bars + 1
        self._x, self._out, self._count = x, out, memory.count
        self._bars, self._kept = _number(bars), _number(bars - 1)
        self._sum = memory.cells(x.size // memory.symbols, start=0.0).reshape(x.shape)

    def run(self) -> None:
        out = self._out
        np.multiply(out, self._kept, out=out)
        np.add(out, self._x, out=out)
        np.divide(out, self._bars, out=out)

    def warm(self) -> None:
        np.add(self._sum, self._x, out=self._sum, where=self._count >= 2)
        self.run()
        np.copyto(self._out, self._sum / self._bars, where=self._count == self.warm_bars)


class TrueRange(Windowed):
    """True range into ``out``: from the lower of low and close before to the higher of high and close before."""

    def __init__(self, high: Floats, low: Floats, previous_close: Floats, out: Floats) -> None:
        self._high, self._low, self._previous_close, self._out = high, low, previous_close, out
        self._bottom = np.empty_like(out)

    def run(self) -> None:
        np.maximum(self._high, self._previous_close, out=self._out)
        np.minimum(self._low, self._previous_close, out=self._bottom)
        np.subtract(self._out, self._bottom, out=self._out)


class Rsi:
    """Relative strength index from Wilder's means of gains and losses; 50 where nothing moved."""

    def __init__(self, memory: Memory, close: Floats, previous_close: Floats, bars: int, out: Floats) -> None:
        self._close, self._previous_close, self._out = close, previous_close, out
        self._moves = np.empty((2, out.size))
        self._means = memory.cells(2)
        self._mean = WilderMean(memory, self._moves, bars, self._means)
        self.warm_bars = self._mean.warm_bars
        self._change, self._total = np.empty_like(out), np.empty_like(out)

    def run(self) -> None:
        self._split()
        self._mean.run()
        self._ratio()

    def warm(self) -> None:
        self._split()
        self._mean.warm()
        self._ratio()

    def _split(self) -> None:
        change, gains = self._change, self._moves[0]
        np.subtract(self._close, self._previous_close, out=change)
        np.maximum(change, _ZERO, out=gains)
        np.subtract(gains, change, out=self._moves[1])

    def _ratio(self) -> None:
        total, out, means = self._total, self._out, self._means
        np.add(means[0], means[1], out=total)
        np.add(total, _TINY, out=total)
        np.add(means[0], _HALF_TINY, out=out)
        np.divide(out, total, out=out)
        np.multiply(out, _HUNDRED, out=out)


class Adx:
    """Average directional index into ``out``, from (high, low) of this bar and of the one before, and the true range."""

    def __init__(
        self, memory: Memory, bar: tuple[Floats, Floats], previous: tuple[Floats, Floats], reach: Floats, bars: int, out: Floats
    ) -> None:
        self.warm_bars = 2 * bars
        self._high, self._low = bar
        self._reach, self._out, self._count = reach, out, memory.count
        self._previous_high, self._previous_low = previous
        self._bars, self._kept, self._delay = _number(bars), _number(bars - 1), bars
        self._sums = memory.cells(3, start=0.0)
        self._sum_dx = memory.cells(1, start=0.0)[0]
        self._moves, self._part = np.empty((3, out.size)), np.empty((3, out.size))
        self._up, self._down = np.empty_like(out), np.empty_like(out)
        self._total, self._next = np.empty_like(out), np.empty_like(out)
        self._known, self._mask = np.empty(out.size, dtype=np.bool_), np.empty(out.size, dtype=np.bool_)

    def run(self) -> None:
        self._directions()
        sums, part = self._sums, self._part
        np.divide(sums, self._bars, out=part)
        np.subtract(sums, part, out=sums)
        np.add(sums, self._moves, out=sums)
        self._direction_index()
        self._smooth()

    def warm(self) -> None:
        self._directions()
        sums, count = self._sums, self._count
        np.subtract(sums, sums / self._bars, out=sums, where=count > self._delay)
        np.add(sums, self._moves, out=sums, where=count >= 2)
        self._direction_index()
        np.add(self._sum_dx, self._next, out=self._sum_dx, where=self._known & (count > self._delay))
        self._smooth()
        np.copyto(self._out, self._sum_dx / self._bars, where=count == self.warm_bars)

    def _directions(self) -> None:
        up, down, moves, mask = self._up, self._down, self._moves, self._mask
        np.subtract(self._high, self._previous_high, out=up)
        np.subtract(self._previous_low, self._low, out=down)
        np.maximum(up, _ZERO, out=moves[0])
        np.less_equal(up, down, out=mask)
        np.copyto(moves[0], _ZERO, where=mask)
        np.maximum(down, _ZERO, out=moves[1])
        np.less_equal(down, up, out=mask)
        np.copyto(moves[1], _ZERO, where=mask)
        np.copyto(moves[2], self._reach)

    def _direction_index(self) -> None:
        """DX into ``_next`` and whether there is one into ``_known``."""
        part, total, known, mask = self._part, self._total, self._known, self._mask
        np.greater(self._sums[2], _ZERO, out=known)
        np.add(self._sums[2], _TINY, out=total)
        np.divide(self._sums[:2], total, out=part[:2])
        np.multiply(part[:2], _HUNDRED, out=part[:2])
        np.add(part[0], part[1], out=total)
        np.greater(total, _ZERO, out=mask)
        np.logical_and(known, mask, out=known)
        np.add(total, _TINY, out=total)
        np.subtract(part[0], part[1], out=self._next)
        np.abs(self._next, out=self._next)
        np.divide(self._next, total, out=self._next)
        np.multiply(self._next, _HUNDRED, out=self._next)

    def _smooth(self) -> None:
        step = self._part[0]
        np.multiply(self._out, self._kept, out=step)
        np.add(step, self._next, out=step)
        np.divide(step, self._bars, out=step)
        np.copyto(self._out, step, where=self._known)


class MeanStd(Windowed):
    """Mean and deviation of the last ``bars`` values of ``rows``."""

    def __init__(self, rows: Rows, bars: int, mean: Floats, std: Floats, ddof: int = 0) -> None:
        self._rows, self._bars, self._mean, self._std = rows, bars, mean, std
        self._count, self._divisor, self._mean_column = _number(bars), _number(bars - ddof), mean[:, None]
        self._deviation = np.empty((mean.size, bars))

    def run(self) -> None:
        window, deviation, mean, std = self._rows.last(self._bars), self._deviation, self._mean, self._std
        np.add.reduce(window, axis=1, out=mean)
        np.divide(mean, self._count, out=mean)
        np.subtract(window, self._mean_column, out=deviation)
        np.multiply(deviation, deviation, out=deviation)
        np.add.reduce(deviation, axis=1, out=std)
        np.divide(std, self._divisor, out=std)
        np.sqrt(std, out=std)


class Bollinger(Windowed):
    """Bollinger bands of the closes in ``rows``."""

    def __init__(self, rows: Rows, bars: int, sigmas: float, mid: Floats, upper: Floats, lower: Floats, width: Floats) -> None:
        self._sigmas, self._mid, self._upper, self._lower, self._width = _number(sigmas), mid, upper, lower, width
        self._half = np.empty_like(mid)
        self._stats = MeanStd(rows, bars, mid, self._half)

    def run(self) -> None:
        self._stats.run()
        half = self._half
        np.multiply(half, self._sigmas, out=half)
        np.add(self._mid, half, out=self._upper)
        np.subtract(self._mid, half, out=self._lower)
        np.subtract(self._upper, self._lower, out=self._width)
        np.divide(self._width, self._mid, out=self._width)


class VolumeZ(Windowed):
    """Volume above its mean in deviations, from the volumes in ``rows``.

    The window is long, so the variance is taken from sums of squares; the floor of the deviation keeps that exact
    enough (a relative error near 1e-10).
    """

    def __init__(self, rows: Rows, volume: Floats, bars: int, out: Floats) -> None:
        self._rows, self._volume, self._bars, self._out = rows, volume, bars, out
        self._squares = np.empty((out.size, bars))
        self._count = _number(bars)
        self._mean, self._variance, self._part = np.empty_like(out), np.empty_like(out), np.empty_like(out)

    def run(self) -> None:
        mean, variance, part, out, bars, count = self._mean, self._variance, self._part, self._out, self._bars, self._count
        window = self._rows.last(bars)
        np.multiply(window, window, out=self._squares)
        np.add.reduce(window, axis=1, out=mean)
        np.add.reduce(self._squares, axis=1, out=variance)
        np.divide(mean, count, out=mean)
        np.divide(variance, count, out=variance)
        np.multiply(mean, mean, out=part)
        np.subtract(variance, part, out=variance)
        np.multiply(part, _VOLUME_VARIANCE_FLOOR, out=part)
        np.add(part, _TINY, out=part)
        np.maximum(variance, part, out=variance)
        np.sqrt(variance, out=variance)
        np.subtract(self._volume, mean, out=out)
        np.divide(out, variance, out=out)


class Hv(Windowed):
    """Historical volatility a year from log returns."""

    def __init__(self, memory: Memory, returns: Floats, bars: int, periods_a_year: float, out: Floats) -> None:
        self._returns, self._out, self._scale = returns, out, _number(math.sqrt(periods_a_year))
        self._rows = memory.rows(bars)
        self._stats = MeanStd(self._rows, bars, np.empty_like(out), out, ddof=1)

    def run(self) -> None:
        self._rows.push(self._returns)
        self._stats.run()
        np.multiply(self._out, self._scale, out=self._out)


class Rank:
    """Share of the last ``bars`` values in ``rows`` that are not above ``x``, the newest of them."""

    def __init__(self, rows: Rows, x: Floats, bars: int, out: Floats, values_from_bar: int) -> None:
        self.warm_bars = values_from_bar + bars - 1
        self._rows, self._bars, self._out, self._column = rows, bars, out, x[:, None]
        self._counter, self._count = TrueCounter(x.size, bars), _number(bars)

    def run(self) -> None:
        np.less_equal(self._rows.last(self._bars), self._column, out=self._counter.mask)
        self._counter.count(self._out)
        np.divide(self._out, self._count, out=self._out)

    def warm(self) -> None:
        self.run()
        oldest = self._rows.lag(self._bars - 1)
        np.copyto(self._out, np.nan, where=np.isnan(oldest))


class Extreme(Windowed):
    """Highest (``sign`` +1) or lowest (-1) value of ``bars`` bars in ``rows``; ``before``: without the present bar."""

    def __init__(self, rows: Rows, bars: int, out: Floats, *, sign: int, before: bool) -> None:
        self._bars, self._out = bars, out
        self._reduce = np.maximum.reduce if sign > 0 else np.minimum.reduce
        self._window = rows.before if before else rows.last

    def run(self) -> None:
        self._reduce(self._window(self._bars), axis=1, out=self._out)


class LogReturns(Windowed):
    """Logarithm of the close (into ``logs``, a history) and its change since the bar before (``returns``)."""

    def __init__(self, memory: Memory, close: Floats, bars: int) -> None:
        self._close = close
        self.now, self.returns = np.empty_like(close), np.empty_like(close)
        self.logs = memory.rows(bars + 1)

    def run(self) -> None:
        np.log(self._close, out=self.now)
        self.logs.push(self.now)
        np.subtract(self.now, self.logs.lag(1), out=self.returns)


class Shock:
    """Move of ``bars`` bars in deviations that were expected before it."""

    def __init__(self, memory: Memory, logs: LogReturns, bars: int, span: int, out: Floats) -> None:
        self.warm_bars = span + 1
        self._logs, self._bars, self._span, self._out, self._count = logs, bars, float(span), out, memory.count
        weight = 2.0 / (span + 1.0)
        self._weight, self._decay, self._scale = _number(weight), _number(1.0 - weight), _number(math.sqrt(bars))
        self._mean, self._variance = memory.cells(2)
        self._sum, self._sum_squares = memory.cells(2, start=0.0)
        self._sigmas = memory.rows(bars + 1)
        self._change, self._step = np.empty_like(out), np.empty_like(out)

    def run(self) -> None:
        self._recur()
        self._compare()

    def warm(self) -> None:
        returns, span, started = self._logs.returns, self._span, self._count >= 2
        np.add(self._sum, returns, out=self._sum, where=started)
        np.add(self._sum_squares, returns * returns, out=self._sum_squares, where=started)
        self._recur()
        first, mean = self._count == self.warm_bars, self._sum / span
        np.copyto(self._mean, mean, where=first)
        np.copyto(self._variance, np.maximum(self._sum_squares / span - mean * mean, 0.0), where=first)
        self._compare()

    def _recur(self) -> None:
        change, step = self._change, self._step
        np.subtract(self._logs.returns, self._mean, out=change)
        np.multiply(change, self._weight, out=step)
        np.add(self._mean, step, out=self._mean)
        np.multiply(change, step, out=step)
        np.add(self._variance, step, out=self._variance)
        np.multiply(self._variance, self._decay, out=self._variance)

    def _compare(self) -> None:
        step, bars = self._step, self._bars
        np.sqrt(self._variance, out=step)
        np.maximum(step, _SIGMA_FLOOR, out=step)
        self._sigmas.push(step)
        np.multiply(self._sigmas.lag(bars), self._scale, out=step)
        np.subtract(self._logs.now, self._logs.logs.lag(bars), out=self._out)
        np.divide(self._out, step, out=self._out)


class ReturnPct(Windowed):
    """Simple return over ``bars`` bars in percent, from the closes in ``rows``."""

    def __init__(self, rows: Rows, close: Floats, bars: int, out: Floats) -> None:
        self._rows, self._close, self._bars, self._out = rows, close, bars, out

    def run(self) -> None:
        out = self._out
        np.divide(self._close, self._rows.lag(self._bars), out=out)
        np.subtract(out, _ONE, out=out)
        np.multiply(out, _HUNDRED, out=out)


class Slope(Windowed):
    """Change of ``x`` over ``bars`` bars in units of the ATR."""

    def __init__(self, memory: Memory, x: Floats, bars: int, atr: Floats, close: Floats, out: Floats) -> None:
        self._x, self._bars, self._atr, self._close, self._out = x, bars, atr, close, out
        self._rows = memory.rows(bars + 1)
        self._scale = np.empty_like(out)

    def run(self) -> None:
        self._rows.push(self._x)
        np.multiply(self._close, _ATR_FLOOR, out=self._scale)
        np.maximum(self._atr, self._scale, out=self._scale)
        np.subtract(self._x, self._rows.lag(self._bars), out=self._out)
        np.divide(self._out, self._scale, out=self._out)


class Percent(Windowed):
    """Hundred times ``part`` / ``whole`` into ``out``, and into the history ``rows``."""

    def __init__(self, part: Floats, whole: Floats, out: Floats, rows: Rows) -> None:
        self._part, self._whole, self._out, self._rows = part, whole, out, rows

    def run(self) -> None:
        np.divide(self._part, self._whole, out=self._out)
        np.multiply(self._out, _HUNDRED, out=self._out)
        self._rows.push(self._out)


class CloseLocation(Windowed):
    """Where the close lies in the bar, 0 (low) to 1 (high); 0.5 in a bar without range."""

    def __init__(self, high: Floats, low: Floats, close: Floats, out: Floats) -> None:
        self._high, self._low, self._close, self._out = high, low, close, out
        self._span = np.empty_like(out)

    def run(self) -> None:
        span, out = self._span, self._out
        np.subtract(self._high, self._low, out=span)
        np.add(span, _TINY, out=span)
        np.subtract(self._close, self._low, out=out)
        np.add(out, _HALF_TINY, out=out)
        np.divide(out, span, out=out)
