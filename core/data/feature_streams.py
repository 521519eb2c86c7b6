"""Features of side streams: funding settlements and the basis, both as they arrive and over a whole history (B8, B9).

A stream that is absent stays absent: its features are NaN and not ready; nothing stands in for it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from core.data.blocks import Bools, Floats, Ints, somewhere
from core.data.feature_sets import BASIS_FEATURES, FUNDING_FEATURES, HOUR_MS, STREAM_FEATURES, FeatureParams
from core.data.on_demand import OnDemand
from core.indicators import arrays
from core.indicators.packed import packed, unpack
from core.indicators.rows import Rows, TrueCounter

_NEVER = -1
_STATE = ("_rates", "_settled", "_hour", "_spot", "_spot_ts", "_had_basis")


class StreamFeatures:
    """Funding and basis features of all symbols: ``rows[name]`` and ``ready[name]`` are arrays (S,) updated in place.

    ``later`` are those that stand still until they are brought up; ``bar`` counts hours.
    """

    def __init__(self, symbols: int, params: FeatureParams) -> None:
        out: Floats = np.full((len(STREAM_FEATURES), symbols), np.nan)
        is_ready: Bools = np.zeros(out.shape, dtype=np.bool_)
        self.rows: dict[str, Floats] = {name: out[i] for i, name in enumerate(STREAM_FEATURES)}
        self.ready: dict[str, Bools] = {name: is_ready[i] for i, name in enumerate(STREAM_FEATURES)}
        self.bar = 0
        self.later = {"basis_rank": OnDemand(self, self._rank_basis)}
        self._at_once, self._known = out[:-1], is_ready[:-1]
        self._rates: Floats = np.full((symbols, params.funding_settlements), np.nan)
        self._settled: Floats = np.full(symbols, np.nan)
        self._hour: Floats = np.full(symbols, np.nan)
        self._spot: Floats = np.full(symbols, np.nan)
        self._spot_ts: Ints = np.full(symbols, _NEVER, dtype=np.int64)
        self._basis_bars = params.basis_hours
        self._history = Rows((params.basis_hours,), symbols)
        self._basis = self._history.series(0)
        self._not_above = TrueCounter(symbols, params.basis_hours)
        self._had_basis: Bools = np.zeros(symbols, dtype=np.bool_)

    def snapshot(self) -> dict[str, Any]:
        """Everything that the next settlement or hour depends on, to the bit."""
        state = {name: packed(getattr(self, name)) for name in _STATE}
        rows = {name: packed(row) for name, row in self.rows.items()}
        known = {name: packed(row) for name, row in self.ready.items()}
        return {**state, "bar": self.bar, "rows": rows, "ready": known, "basis": self._history.snapshot()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave for the same symbols and windows."""
        for name in _STATE:
            unpack(saved[name], getattr(self, name))
        for name, row in self.rows.items():
            unpack(saved["rows"][name], row)
            unpack(saved["ready"][name], self.ready[name])
        self.bar = int(saved["bar"])
        self._history.restore(saved["basis"])
        for look in self.later.values():
            look.forget()

    def on_funding(self, index: int, ts: int, rate: float) -> None:
        """Take in the settlement at ``ts``. One already known (not later than the last) or not finite changes nothing."""
        if not math.isfinite(rate) or ts <= self._settled[index]:
            return
        rates, rows = self._rates[index], self.rows
        rates[:-1] = rates[1:]
        rates[-1] = rate
        self._settled[index] = ts
        rows["funding"][index] = rate
        rows["funding_prev"][index] = rates[-2]
        rows["funding_delta"][index] = rate - rates[-2]
        if not math.isnan(rates[0]):
            rows["funding_below"][index] = np.count_nonzero(rates < rate) / rates.size
            rows["funding_above"][index] = np.count_nonzero(rates > rate) / rates.size
        rows["funding_age_h"][index] = max(0.0, (self._hour[index] - ts) / HOUR_MS) if self._hour[index] > _NEVER else np.nan
        np.equal(self._at_once, self._at_once, out=self._known)

    def on_spot(self, index: int, ts: int, price: float) -> None:
        """Take in the spot price at the hourly close ``ts``, for the perpetual's close of the same moment."""
        self._spot[index] = price
        self._spot_ts[index] = ts

    def on_hour(self, ts: int, idx: Ints, close: Floats) -> None:
        """Update basis and age of funding for symbols ``idx``, whose hour closed at ``ts``; ``close`` has all symbols."""
        closed = np.zeros(self._hour.size, dtype=np.bool_)
        closed[idx] = True
        self.bar += 1
        np.copyto(self._hour, float(ts), where=closed)
        np.copyto(self.rows["funding_age_h"], np.maximum((ts - self._settled) / HOUR_MS, 0.0), where=closed)
        self._update_basis(closed, closed & (self._spot_ts == ts) & np.isfinite(self._spot) & (self._spot > 0.0), close)
        np.equal(self._at_once, self._at_once, out=self._known)

    def _update_basis(self, closed: Bools, priced: Bools, close: Floats) -> None:
        basis, delta, known = self.rows["basis"], self.rows["basis_delta"], self.ready["basis_rank"]
        before = basis.copy()
        np.copyto(basis, np.nan, where=closed)
        np.divide(close, self._spot, out=basis, where=priced)
        np.subtract(basis, 1.0, out=basis, where=priced)
        np.copyto(delta, basis - before, where=closed)
        if somewhere(priced):
            self._history.push(basis[None])
            self._history.hold(np.flatnonzero(self._had_basis & ~priced))
            np.logical_or(self._had_basis, priced, out=self._had_basis)
        full = ~np.isnan(self._basis.lag(self._basis_bars - 1))
        np.copyto(known, priced & full, where=closed)

    def _rank_basis(self) -> None:
        basis, rank = self.rows["basis"], self.rows["basis_rank"]
        np.less_equal(self._basis.last(self._basis_bars), basis[:, None], out=self._not_above.mask)
        self._not_above.count(rank)
        np.divide(rank, self._basis_bars, out=rank)
        np.copyto(rank, np.nan, where=~self.ready["basis_rank"])


def funding_history(close_ts: Ints, settled: Ints, rates: Floats, params: FeatureParams) -> dict[str, Floats]:
    """Funding features at each ``close_ts`` (ms) from settlements ``settled`` (rising) with ``rates``.

    A settlement counts from its own moment on. ``funding_age_h`` is counted at the last full hour, as live.
    """
    place = np.searchsorted(settled, close_ts, side="right") - 1
    known = place >= 0
    below = arrays.rolling_share(rates, params.funding_settlements, np.less)
    above = arrays.rolling_share(rates, params.funding_settlements, np.greater)
    previous = arrays.lag(rates, 1)
    by_settlement = dict(zip(FUNDING_FEATURES, (rates, previous, rates - previous, below, above), strict=False))
    features = {name: _at(values, place, known) for name, values in by_settlement.items()}
    hour = close_ts - close_ts % HOUR_MS
    features["funding_age_h"] = np.maximum((hour - _at(settled.astype(np.float64), place, known)) / HOUR_MS, 0.0)
    return features


def basis_history(close_ts: Ints, close: Floats, spot_ts: Ints, spot: Floats, params: FeatureParams) -> dict[str, Floats]:
    """Basis features of hourly closes; ``spot_ts`` (rising) are the moments at which the spot closes were known.

    An hour without a spot close has no basis, and the rank counts the last values there were.
    """
    place = np.searchsorted(spot_ts, close_ts)
    matched = np.zeros(close_ts.size, dtype=np.bool_)
    inside = place < spot_ts.size
    matched[inside] = spot_ts[place[inside]] == close_ts[inside]
    basis = close / _at(spot, place, matched) - 1.0
    rank = np.full(close_ts.size, np.nan)
    rank[matched] = arrays.rolling_rank(basis[matched], params.basis_hours)
    return dict(zip(BASIS_FEATURES, (basis, basis - arrays.lag(basis, 1), rank), strict=True))


def _at(values: Floats, place: Ints, known: Bools) -> Floats:
    out = np.full(place.size, np.nan)
    out[known] = values[place[known]]
    return out
