"""The setup score: ten points for the form of a trade (requirement G7, decision X23; quant.md §4).

| criterion            | most | points |
|----------------------|------|--------|
| regime_fit           | 2.5  | table strategy x regime x side of ``strategies.yaml``; 0 where it has no entry |
| higher_tf            | 2    | price on the trade's side of EMA50 of the higher timeframe: 1; EMA50 moving the trade's way: 1 |
| liquidity            | 2    | round-trip cost in R: table ``cost_points``; 0 above its last step |
| no_news              | 1    | no blackout window and the calendar is reviewed: 1 |
| volume_pattern       | 1.5  | volume z > ``volume_z_min``: 0.75; close location > ``close_location_min`` the trade's way: 0.75 |
| correlation_exposure | 1    | nothing open, or no open position correlates above the limit: 1; else 0.5 |

Strategies that go back to a mean (range_rev_5m, funding_rev) trade against the move, so their higher_tf and volume_pattern
read it reversed, ties included: price at or beyond EMA50 on the far side, EMA50 flat or moving against the trade; volume z
at most ``volume_z_min``, bar closed beyond ``close_location_min`` against the trade.

A missing input gives the fewest points of its criterion and ``known`` False; it is never read as neutral, and the threshold
stays where it is. The score filters form: no claim is made that it predicts outcome.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from configs.validators import ScoreParams
from core.data.blocks import Floats
from core.types import Regime, ScoredSignal, ScorePart, Side, Signal, Timeframe

HIGHER_TIMEFRAME: Mapping[str, Timeframe] = {
    "breakout_4h": Timeframe.D1,
    "vol_exp_15m": Timeframe.H4,
    "funding_rev": Timeframe.H4,
    "range_rev_5m": Timeframe.H1,
}
"""On which timeframe agreement is asked for."""

REVERTING = frozenset({"range_rev_5m", "funding_rev"})
"""Strategies that trade back to a mean."""

_REGIME_MAX, _HIGHER_MAX, _LIQUIDITY_MAX, _NEWS_MAX, _VOLUME_MAX, _CORRELATION_MAX = 2.5, 2.0, 2.0, 1.0, 1.5, 1.0
_HALF_VOLUME = 0.75
_CORRELATED = 0.5
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class ScoreInputs:
    """What the score looks at besides the signal. None (or NaN) means: not known.

    ``regime`` is the held label of the strategy's carrier and ``threshold`` the score asked for now (X24). ``cost_r`` is
    round-trip fees and slippage in R (X13); ``news_clear`` the calendar's answer (X22); ``volume_z`` and ``close_location``
    are of the signal's timeframe, ``ema50*`` of the higher one; ``max_abs_rho`` the greatest |correlation| to an open
    position, of which there are ``open_positions``.
    """

    regime: Regime
    threshold: float
    ema50: float | None
    ema50_prev: float | None
    cost_r: float | None
    news_clear: bool | None
    volume_z: float | None
    close_location: float | None
    max_abs_rho: float | None
    open_positions: int


def read_inputs(
    signal: Signal,
    features: Mapping[str, Floats],
    index: int,
    *,
    regime: Regime,
    threshold: float,
    cost_r: float | None,
    news_clear: bool | None,
    max_abs_rho: float | None,
    open_positions: int,
) -> ScoreInputs:
    """Complete :class:`ScoreInputs` with the features that the signal's strategy is judged by.

    ``features`` are ``name@tf`` arrays and ``index`` the element to read: a symbol's row live, a bar in whole history.
    """

    def value(key: str) -> float | None:
        return _known(float(features[key][index])) if key in features else None

    higher = HIGHER_TIMEFRAME.get(signal.strategy)
    return ScoreInputs(
        regime=regime,
        threshold=threshold,
        ema50=value(f"ema50@{higher}"),
        ema50_prev=value(f"ema50_prev@{higher}"),
        cost_r=cost_r,
        news_clear=news_clear,
        volume_z=value(f"volume_z@{signal.tf}"),
        close_location=value(f"close_location@{signal.tf}"),
        max_abs_rho=max_abs_rho,
        open_positions=open_positions,
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


class SetupScorer:
    """Gives points; holds nothing but its tables.

    Args:
        params: points and limits of ``strategies.yaml``.
        correlation_limit: |rho| from which two symbols count as one bet (0.7, F4).
    """

    __slots__ = ("_close_location_min", "_correlation_limit", "_cost_points", "_regime_fit", "_volume_z_min")

    def __init__(self, params: ScoreParams, correlation_limit: float = 0.7) -> None:
        self._regime_fit = {
            (str(strategy), str(regime), side): points[place]
            for strategy, table in params.regime_fit.items()
            for regime, points in table.items()
            for place, side in enumerate((Side.LONG, Side.SHORT))
        }
        self._cost_points = params.cost_points
        self._volume_z_min = params.volume_z_min
        self._close_location_min = params.close_location_min
        self._correlation_limit = correlation_limit

    def score(self, signal: Signal, inputs: ScoreInputs) -> ScoredSignal:
        """Points of every criterion and their sum, 0 to 10; the same inputs always give the same bytes."""
        parts = (
            self._regime(signal, inputs.regime),
            self._higher_tf(signal, _known(inputs.ema50), _known(inputs.ema50_prev)),
            self._liquidity(_known(inputs.cost_r)),
            self._no_news(inputs.news_clear),
            self._volume_pattern(signal, _known(inputs.volume_z), _known(inputs.close_location)),
            self._correlation(_known(inputs.max_abs_rho), inputs.open_positions),
        )
        total = 0.0
        for part in parts:
            total += part.points
        return ScoredSignal(signal, round(total, _DECIMALS), inputs.threshold, inputs.regime, parts)

    def _regime(self, signal: Signal, regime: Regime) -> ScorePart:
        points = self._regime_fit.get((signal.strategy, regime.value, signal.side), 0.0)
        known = regime is not Regime.UNKNOWN
        return ScorePart("regime_fit", points if known else 0.0, _REGIME_MAX, known, (("regime", regime.value),))

    def _higher_tf(self, signal: Signal, ema50: float | None, ema50_prev: float | None) -> ScorePart:
        tf = HIGHER_TIMEFRAME.get(signal.strategy)
        facts = (("tf", None if tf is None else tf.value), ("price", signal.entry), ("ema50", ema50), ("ema50_prev", ema50_prev))
        points = 0.0
        if ema50 is not None:
            points += _agrees(signal, signal.entry - ema50)
            if ema50_prev is not None:
                points += _agrees(signal, ema50 - ema50_prev)
        known = ema50 is not None and ema50_prev is not None
        return ScorePart("higher_tf", points, _HIGHER_MAX, known, facts)

    def _liquidity(self, cost_r: float | None) -> ScorePart:
        points = 0.0
        if cost_r is not None:
            points = next((points for limit, points in self._cost_points if cost_r <= limit), 0.0)
        return ScorePart("liquidity", points, _LIQUIDITY_MAX, cost_r is not None, (("cost_r", cost_r),))

    def _no_news(self, clear: bool | None) -> ScorePart:
        return ScorePart("no_news", 1.0 if clear else 0.0, _NEWS_MAX, clear is not None, (("clear", clear),))

    def _volume_pattern(self, signal: Signal, volume_z: float | None, location: float | None) -> ScorePart:
        reverting = signal.strategy in REVERTING
        points = 0.0
        if volume_z is not None and (volume_z > self._volume_z_min) != reverting:
            points += _HALF_VOLUME
        if location is not None:
            upwards = (signal.side is Side.LONG) != reverting
            if (location if upwards else 1.0 - location) > self._close_location_min:
                points += _HALF_VOLUME
        facts = (("volume_z", volume_z), ("close_location", location))
        return ScorePart("volume_pattern", points, _VOLUME_MAX, volume_z is not None and location is not None, facts)

    def _correlation(self, max_abs_rho: float | None, open_positions: int) -> ScorePart:
        free = open_positions == 0 or (max_abs_rho is not None and max_abs_rho <= self._correlation_limit)
        facts = (("max_abs_rho", max_abs_rho), ("open_positions", open_positions))
        known = open_positions == 0 or max_abs_rho is not None
        return ScorePart("correlation_exposure", _CORRELATION_MAX if free else _CORRELATED, _CORRELATION_MAX, known, facts)


def _agrees(signal: Signal, move: float) -> float:
    """1 when ``move`` goes the trade's way; for a reverting strategy when it goes against it or nowhere."""
    along = signal.side.sign * move
    return 1.0 if (along <= 0.0 if signal.strategy in REVERTING else along > 0.0) else 0.0
