"""Which features exist on which timeframe, and the numbers in them: the one list for both ways of computing them."""

from __future__ import annotations

from dataclasses import dataclass

from configs.validators import StrategiesFile
from core.types import Timeframe

HOUR_MS = 3_600_000
ATR_BARS = 14
ADX_BARS = 14
EMA_FAST = 50
EMA_SLOW = 200
HV_BARS = 168
DONCHIAN_INNER = 20
DONCHIAN_OUTER = 55
VOLUME_HOURS = 168
VOLUME_BARS_MAX = 480
HIGH_HOURS = 72

_BARS = ("open", "high", "low", "close", "volume")
_FAST = (
    "atr",
    "rsi",
    "bb_mid",
    "bb_upper",
    "bb_lower",
    "bb_width",
    "volume_z",
    "close_location",
    "atr_rank480",
    "shock",
    "ret6_pct",
)
_TREND = ("atr", "atr_pct", "adx", "ema50", "ema50_prev", "ema200", "slope", "atr_rank", "hi72", "shock", "ret6_pct")
_INNER = ("donchian_hi20", "donchian_lo20")
_OUTER = ("donchian_hi55", "donchian_lo55")

FEATURE_SETS: dict[Timeframe, tuple[str, ...]] = {
    Timeframe.M1: _BARS + _FAST,
    Timeframe.M5: _BARS + _FAST,
    Timeframe.M15: (*_BARS, *_FAST, "atr_pct", "volume_rank480", *_INNER),
    Timeframe.H1: (*_BARS, *_TREND, "hv", "volume_z", "close_location"),
    Timeframe.H4: (*_BARS, *_TREND, *_INNER, *_OUTER, "volume_z", "close_location"),
    Timeframe.D1: (*_BARS, "ema50", "ema50_prev", "atr"),
}
"""Names by timeframe. Units: prices in quote currency, ``*_pct`` in percent, ranks and shares 0-1, ``hv`` a fraction per
year, ``slope`` in ATR, ``shock`` and ``volume_z`` in standard deviations. ``atr_rank*`` rank the ATR in percent of price."""

FUNDING_FEATURES: tuple[str, ...] = (
    "funding",
    "funding_prev",
    "funding_delta",
    "funding_below",
    "funding_above",
    "funding_age_h",
)
BASIS_FEATURES: tuple[str, ...] = ("basis", "basis_delta", "basis_rank")
STREAM_FEATURES: tuple[str, ...] = FUNDING_FEATURES + BASIS_FEATURES
"""Features of side streams, without a timeframe. ``funding_below``/``above``: share of the last settlements strictly
below/above the last one."""


@dataclass(frozen=True, slots=True)
class FeatureParams:
    """Window lengths, in bars unless the name says otherwise. The defaults are those of ``strategies.yaml``."""

    slope_bars: int = 20
    rank_bars: int = 1000
    shock_bars: int = 6
    sigma_span: int = 200
    activity_bars: int = 480
    bb_bars: int = 20
    bb_sigmas: float = 2.0
    rsi_bars: int = 14
    funding_settlements: int = 270
    basis_hours: int = 2160

    @classmethod
    def of(cls, params: StrategiesFile) -> FeatureParams:
        """The part of ``strategies.yaml`` that features depend on."""
        return cls(
            slope_bars=params.regimes.slope_bars,
            rank_bars=params.regimes.rank_window,
            shock_bars=params.regimes.shock_bars,
            sigma_span=params.regimes.sigma_span,
            activity_bars=params.vol_exp_15m.window,
            bb_bars=params.range_rev_5m.bb_window,
            bb_sigmas=params.range_rev_5m.bb_sigma,
            rsi_bars=params.range_rev_5m.rsi_window,
            funding_settlements=params.funding_rev.funding_window,
            basis_hours=params.funding_rev.basis_window_hours,
        )


def volume_bars(tf: Timeframe) -> int:
    """Window of ``volume_z``: a week of bars, at most :data:`VOLUME_BARS_MAX`."""
    return min(VOLUME_HOURS * HOUR_MS // tf.ms, VOLUME_BARS_MAX)


def high_bars(tf: Timeframe) -> int:
    """Window of ``hi72``: 72 hours of bars."""
    return HIGH_HOURS * HOUR_MS // tf.ms


def periods_a_year(tf: Timeframe) -> float:
    """Bars in 365 days."""
    return 365.0 * 24.0 * HOUR_MS / tf.ms
