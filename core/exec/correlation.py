"""How closely instruments move together: Pearson of daily log returns on closed days (F4, X25)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.data.blocks import Floats
from core.errors import StateError
from core.types import Timeframe

_DAY_MS = Timeframe.D1.ms


class _Centred:
    """Returns less their mean, and the root of the sum of their squares."""

    def __init__(self, returns: Floats) -> None:
        self.values: Floats = returns - returns.sum() / max(1, returns.size)
        self.length = math.sqrt(float((self.values * self.values).sum()))


class _Returns:
    """Daily log returns of one symbol over the window, oldest first; NaN where the day or the one before has no close.

    ``whole``: no day is missing, so that ``around_mean`` serves every pair of such symbols.
    """

    def __init__(self, daily: Floats) -> None:
        self.daily = daily
        self.whole = not np.count_nonzero(np.isnan(daily))
        self.around_mean = _Centred(daily)


class Correlations:
    """Correlations of a run's symbols over the last ``window_days`` daily log returns.

    A day's return needs that day's close and the one before; a pair is judged on the days on which both have a return,
    and is unknown (None) with fewer than ``min_days`` of them or when one of the two did not move at all. A value depends
    on its own two symbols and the last day only.
    """

    def __init__(self, symbols: Sequence[str], window_days: int = 90, min_days: int = 80) -> None:
        self.symbols = tuple(symbols)
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._window = window_days
        self._min = min_days
        self._closes: list[dict[int, float]] = [{} for _ in self.symbols]
        self._last_day: int | None = None
        self._revision = 0
        self._returns: dict[int, _Returns] = {}
        self._rho: dict[tuple[int, int], float | None] = {}

    @property
    def last_day(self) -> int | None:
        """Number (days since the epoch) of the latest closed day; None before the first."""
        return self._last_day

    @property
    def revision(self) -> int:
        """Counts the updates that changed anything, so that who judged by these correlations knows when to judge again."""
        return self._revision

    def update(self, day_ts: int, closes: Sequence[float | None]) -> None:
        """Take the closes of one day, by symbol position; ``day_ts`` is the close time (UTC ms) of the daily bars.

        None, NaN and prices <= 0 mean: no close of that symbol. History may come in any order, and the closes of a day
        in several parts.
        """
        day, last = day_ts // _DAY_MS, self._last_day
        self._last_day = day if last is None else max(last, day)
        changed = self._last_day != last
        for own, close in zip(self._closes, closes, strict=True):
            if close is not None and math.isfinite(close) and close > 0.0:
                changed = changed or own.get(day) != close
                own[day] = float(close)
        self._revision += changed
        oldest = self._last_day - self._window
        for own in self._closes:
            for old in [d for d in own if d < oldest]:
                del own[old]
        self._returns.clear()
        self._rho.clear()

    def rho(self, i: int, j: int) -> float | None:
        """Correlation of the symbols at positions ``i`` and ``j`` in [-1, 1]; None when unknown."""
        pair = (i, j) if i <= j else (j, i)
        if pair not in self._rho:
            self._rho[pair] = self._pearson(*pair)
        return self._rho[pair]

    def between(self, symbol: str, other: str) -> float | None:
        """Correlation of two symbols by name; None when unknown, also for a symbol that is not of this run."""
        if symbol not in self._index or other not in self._index:
            return None
        return self.rho(self._index[symbol], self._index[other])

    def _returns_of(self, i: int) -> _Returns:
        if i not in self._returns:
            own, last = self._closes[i], self._last_day or 0
            closes = np.array([own.get(day, math.nan) for day in range(last - self._window, last + 1)])
            self._returns[i] = _Returns(np.diff(np.log(closes)))
        return self._returns[i]

    def _pearson(self, i: int, j: int) -> float | None:
        first, second = self._returns_of(i), self._returns_of(j)
        if first.whole and second.whole:
            n, a, b = first.daily.size, first.around_mean, second.around_mean
        else:
            both = ~(np.isnan(first.daily) | np.isnan(second.daily))
            n, a, b = int(np.count_nonzero(both)), _Centred(first.daily[both]), _Centred(second.daily[both])
        if n < self._min:
            return None
        scale = a.length * b.length
        return max(-1.0, min(1.0, float((a.values * b.values).sum()) / scale)) if scale > 0.0 else None

    def snapshot(self) -> dict[str, Any]:
        """The closes that are kept, as plain JSON values."""
        return {
            "version": 1,
            "symbols": list(self.symbols),
            "last_day": self._last_day,
            "revision": self._revision,
            "closes": [[[day, own[day]] for day in sorted(own)] for own in self._closes],
        }

    def restore(self, obj: Mapping[str, Any]) -> None:
        """Become what :meth:`snapshot` described.

        Raises:
            StateError: the snapshot is of another version or of other symbols.
        """
        if obj.get("version") != 1 or tuple(obj.get("symbols", ())) != self.symbols:
            raise StateError(
                f"correlation snapshot was of {obj.get('symbols')}, expected version 1 of {list(self.symbols)}",
                help="start with the symbols of the saved run, or with a fresh state folder",
                code="STATE-011",
            )
        self._last_day = obj["last_day"]
        self._revision = int(obj["revision"])
        self._closes = [{int(day): float(close) for day, close in rows} for rows in obj["closes"]]
        self._returns.clear()
        self._rho.clear()
