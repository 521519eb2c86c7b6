"""Indicators bar by bar for all symbols at once: the same values as :mod:`core.indicators.arrays` (B9, X29).

A calculation reads and writes arrays of shape (S,), one place a symbol, that live as long as the run: it is wired once to
its inputs and outputs. There are two kinds. A :class:`Step` goes from one bar to the next and is called on every bar, before
the bar enters the histories: ``run`` is for symbols that are all past ``warm_bars`` bars, ``warm`` does the same and also
starts recursions as TA-Lib does, from each symbol's own ``count`` of bars. A :class:`Look` follows from the present bar and
the histories alone, with the bar in them, so it is called only when somebody asks.

Two rules make a symbol's values independent of the symbols beside it: arithmetic between arrays is element by element,
and sums run along one symbol's contiguous row.

What a step must remember is kept in :class:`Memory`, so that a symbol without a bar can be put back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from core.indicators.arrays import ATR_FLOOR, SIGMA_FLOOR, TINY, VOLUME_STD_FLOOR, Floats
from core.indicators.rows import Memory, Series, TrueCounter


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


class Look(Protocol):
    """One calculation from the present bar and the histories; a window that is not full holds NaN and gives NaN."""

    def run(self) -> None: ...


class Emas:
    """Exponential means of ``x`` into the rows of ``out``, one for each of ``bars``.

    What the last row was on the bar before goes into ``previous``.
    """

    def __init__(self, memory: Memory, x: Floats, bars: Sequence[int], out: Floats, previous: Floats) -> None:
        self.warm_bars = max(bars)
        self._x, self._out, self._previous, self._count = x, out, previous, memory.count
        self._last = out[-1]
        self._bars = np.array(bars, dtype=np.float64)[:, None]
        self._weights = 2.0 / (self._bars + 1.0)
        self._sum = memory.cells(1, start=0.0)[0]
        self._step = np.empty_like(out)

    def run(self) -> None:
        step, out = self._step, self._out
        np.copyto(self._previous, self._last)
        np.subtract(self._x, out, out=step)
        np.multiply(step, self._weights, out=step)
        np.add(step, out, out=out)

    def warm(self) -> None:
        np.add(self._sum, self._x, out=self._sum)
        self.run()
        np.copyto(self._out, self._sum / self._bars, where=self._count == self._bars)


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


class TrueRange:
    """True range into ``out``: from the lower of low and close before to the higher of high and close before."""

    warm_bars = 0

    def __init__(self, high: Floats, low: Floats, previous_close: Floats, out: Floats) -> None:
        self._high, self._low, self._previous_close, self._out = high, low, previous_close, out
        self._bottom = np.empty_like(out)

    def run(self) -> None:
        np.maximum(self._high, self._previous_close, out=self._out)
        np.minimum(self._low, self._previous_close, out=self._bottom)
        np.subtract(self._out, self._bottom, out=self._out)

    warm = run


class Moves:
    """What the close gained, or lost, since the bar before."""

    warm_bars = 0

    def __init__(self, close: Floats, previous_close: Floats, gain: Floats, loss: Floats) -> None:
        self._close, self._previous_close, self._gain, self._loss = close, previous_close, gain, loss
        self._change = np.empty_like(gain)

    def run(self) -> None:
        change, gain = self._change, self._gain
        np.subtract(self._close, self._previous_close, out=change)
        np.maximum(change, _ZERO, out=gain)
        np.subtract(gain, change, out=self._loss)

    warm = run


class Rsi:
    """Relative strength index from Wilder's means of gains and losses; 50 where nothing moved."""

    def __init__(self, gain: Floats, loss: Floats, out: Floats) -> None:
        self._gain, self._loss, self._out = gain, loss, out
        self._total = np.empty_like(out)

    def run(self) -> None:
        total, out, gain = self._total, self._out, self._gain
        np.add(gain, self._loss, out=total)
        np.add(total, _TINY, out=total)
        np.add(gain, _HALF_TINY, out=out)
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


class MeanStd:
    """Mean and deviation of windows of ``bars`` values."""

    def __init__(self, bars: int, mean: Floats, std: Floats, ddof: int = 0) -> None:
        self._mean, self._std = mean, std
        self._count, self._divisor, self._mean_column = _number(bars), _number(bars - ddof), mean[:, None]
        self._deviation = np.empty((mean.size, bars))

    def of(self, window: Floats) -> None:
        deviation, mean, std = self._deviation, self._mean, self._std
        np.add.reduce(window, axis=1, out=mean)
        np.divide(mean, self._count, out=mean)
        np.subtract(window, self._mean_column, out=deviation)
        np.multiply(deviation, deviation, out=deviation)
        np.add.reduce(deviation, axis=1, out=std)
        np.divide(std, self._divisor, out=std)
        np.sqrt(std, out=std)


class Bollinger:
    """Bollinger bands of ``closes``."""

    def __init__(
        self, closes: Series, bars: int, sigmas: float, mid: Floats, upper: Floats, lower: Floats, width: Floats
    ) -> None:
        self._closes, self._bars, self._sigmas = closes, bars, _number(sigmas)
        self._mid, self._upper, self._lower, self._width = mid, upper, lower, width
        self._half = np.empty_like(mid)
        self._stats = MeanStd(bars, mid, self._half)

    def run(self) -> None:
        self._stats.of(self._closes.last(self._bars))
        half = self._half
        np.multiply(half, self._sigmas, out=half)
        np.add(self._mid, half, out=self._upper)
        np.subtract(self._mid, half, out=self._lower)
        np.subtract(self._upper, self._lower, out=self._width)
        np.divide(self._width, self._mid, out=self._width)


class VolumeZ:
    """Volume above its mean in deviations, from ``volumes``.

    The window is long, so the variance is taken from sums of squares; the floor of the deviation keeps that exact
    enough (a relative error near 1e-10).
    """

    def __init__(self, volumes: Series, volume: Floats, bars: int, out: Floats) -> None:
        self._volumes, self._volume, self._bars, self._out = volumes, volume, bars, out
        self._squares = np.empty((out.size, bars))
        self._count = _number(bars)
        self._mean, self._variance, self._part = np.empty_like(out), np.empty_like(out), np.empty_like(out)

    def run(self) -> None:
        mean, variance, part, out, bars, count = self._mean, self._variance, self._part, self._out, self._bars, self._count
        window = self._volumes.last(bars)
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


class Hv:
    """Historical volatility a year from the log returns between ``logs``."""

    def __init__(self, logs: Series, bars: int, periods_a_year: float, out: Floats) -> None:
        self._logs, self._bars, self._out, self._scale = logs, bars, out, _number(math.sqrt(periods_a_year))
        self._returns = np.empty((out.size, bars))
        self._stats = MeanStd(bars, np.empty_like(out), out, ddof=1)

    def run(self) -> None:
        bars = self._bars
        np.subtract(self._logs.last(bars), self._logs.before(bars), out=self._returns)
        self._stats.of(self._returns)
        np.multiply(self._out, self._scale, out=self._out)


class Rank:
    """Share of the last ``bars`` of ``values`` that are not above ``x``, the newest of them."""

    def __init__(self, values: Series, x: Floats, bars: int, out: Floats) -> None:
        self._values, self._bars, self._out, self._column = values, bars, out, x[:, None]
        self._counter, self._count = TrueCounter(x.size, bars), _number(bars)

    def run(self) -> None:
        window, out = self._values.last(self._bars), self._out
        np.less_equal(window, self._column, out=self._counter.mask)
        self._counter.count(out)
        np.divide(out, self._count, out=out)
        unknown = np.isnan(window[:, 0])
        if True in unknown.tobytes():
            np.copyto(out, np.nan, where=unknown)


class Extreme:
    """Highest (``sign`` +1) or lowest (-1) of ``bars`` ``values``; ``before``: without the present bar."""

    def __init__(self, values: Series, bars: int, out: Floats, *, sign: int, before: bool) -> None:
        self._bars, self._out = bars, out
        self._reduce = np.maximum.reduce if sign > 0 else np.minimum.reduce
        self._window = values.before if before else values.last

    def run(self) -> None:
        self._reduce(self._window(self._bars), axis=1, out=self._out)


class ReturnVariance:
    """Logarithm of the close into ``log``, and exponentially weighted variance of its changes into ``variance``.

    ``logs`` is the history of ``log``, which ends with the bar before.
    """

    def __init__(self, memory: Memory, close: Floats, logs: Series, span: int, log: Floats, variance: Floats) -> None:
        self.warm_bars = span + 1
        self._close, self._logs, self._span, self._count = close, logs, float(span), memory.count
        weight = 2.0 / (span + 1.0)
        self._weight, self._decay = _number(weight), _number(1.0 - weight)
        self._log, self._variance, self._mean = log, variance, memory.cells(1)[0]
        self._sum, self._sum_squares = memory.cells(2, start=0.0)
        self._change, self._step = np.empty_like(log), np.empty_like(log)

    def run(self) -> None:
        self._measure()
        self._recur()

    def warm(self) -> None:
        self._measure()
        change, span, started = self._change.copy(), self._span, self._count >= 2
        np.add(self._sum, change, out=self._sum, where=started)
        np.add(self._sum_squares, change * change, out=self._sum_squares, where=started)
        self._recur()
        first, mean = self._count == self.warm_bars, self._sum / span
        np.copyto(self._mean, mean, where=first)
        np.copyto(self._variance, np.maximum(self._sum_squares / span - mean * mean, 0.0), where=first)

    def _measure(self) -> None:
        np.log(self._close, out=self._log)
        np.subtract(self._log, self._logs.lag(0), out=self._change)

    def _recur(self) -> None:
        change, step, mean, variance = self._change, self._step, self._mean, self._variance
        np.subtract(change, mean, out=change)
        np.multiply(change, self._weight, out=step)
        np.add(mean, step, out=mean)
        np.multiply(change, step, out=step)
        np.add(variance, step, out=variance)
        np.multiply(variance, self._decay, out=variance)


class Shock:
    """Move of ``bars`` bars in deviations that were expected before it."""

    def __init__(self, logs: Series, variances: Series, log: Floats, bars: int, out: Floats) -> None:
        self._logs, self._variances, self._log, self._bars, self._out = logs, variances, log, bars, out
        self._scale, self._sigma = _number(math.sqrt(bars)), np.empty_like(out)

    def run(self) -> None:
        sigma, bars, out = self._sigma, self._bars, self._out
        np.sqrt(self._variances.lag(bars), out=sigma)
        np.maximum(sigma, _SIGMA_FLOOR, out=sigma)
        np.multiply(sigma, self._scale, out=sigma)
        np.subtract(self._log, self._logs.lag(bars), out=out)
        np.divide(out, sigma, out=out)


class ReturnPct:
    """Simple return over ``bars`` bars in percent, from ``closes``."""

    def __init__(self, closes: Series, close: Floats, bars: int, out: Floats) -> None:
        self._closes, self._close, self._bars, self._out = closes, close, bars, out

    def run(self) -> None:
        out = self._out
        np.divide(self._close, self._closes.lag(self._bars), out=out)
        np.subtract(out, _ONE, out=out)
        np.multiply(out, _HUNDRED, out=out)


class Slope:
    """Change of ``x``, whose history is ``values``, over ``bars`` bars in units of the ATR."""

    def __init__(self, values: Series, x: Floats, bars: int, atr: Floats, close: Floats, out: Floats) -> None:
        self._values, self._x, self._bars, self._atr, self._close, self._out = values, x, bars, atr, close, out
        self._scale = np.empty_like(out)

    def run(self) -> None:
        np.multiply(self._close, _ATR_FLOOR, out=self._scale)
        np.maximum(self._atr, self._scale, out=self._scale)
        np.subtract(self._x, self._values.lag(self._bars), out=self._out)
        np.divide(self._out, self._scale, out=self._out)


class Percent:
    """Hundred times ``part`` / ``whole``."""

    warm_bars = 0

    def __init__(self, part: Floats, whole: Floats, out: Floats) -> None:
        self._part, self._whole, self._out = part, whole, out

    def run(self) -> None:
        np.divide(self._part, self._whole, out=self._out)
        np.multiply(self._out, _HUNDRED, out=self._out)

    warm = run


class CloseLocation:
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
