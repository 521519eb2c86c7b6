"""Schema of ``strategies.yaml``: the numbers that the specification leaves open (X41)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from configs.schema import ONE, Fraction, Frozen, RegimeName, StrategyName, require, rises


class RegimeParams(Frozen):
    """Regime thresholds (X18). Slopes in ATR per ``slope_bars`` bars."""

    adx_enter: Annotated[float, Field(gt=0, le=100)]
    """ADX from which a trend may begin."""
    adx_leave: Annotated[float, Field(gt=0, le=100)]
    """ADX below which a trend ends."""
    slope_enter: Annotated[float, Field(ge=0, le=20)]
    """Slope of EMA200 from which a trend may begin."""
    slope_leave: Annotated[float, Field(ge=0, le=20)]
    """Slope below which a trend ends."""
    slope_bars: Annotated[int, Field(ge=1, le=500)]
    """Bars over which the slope is taken."""
    rank_high_enter: Fraction
    """Rank of ATR percent from which a range counts as highly volatile."""
    rank_high_leave: Fraction
    """Rank below which it no longer does."""
    rank_window: Annotated[int, Field(ge=50, le=2000)]
    """Bars over which that rank is taken."""
    confirm_bars: Annotated[int, Field(ge=6, le=100)]
    """Carrier bars that confirm a change; at least governance's min_bars_hold."""
    shock_bars: Annotated[int, Field(ge=1, le=100)]
    """Bars over which a shock is measured."""
    shock_sigma: Annotated[float, Field(ge=-50, lt=0)]
    """Fall in standard deviations that means panic, together with shock_return_pct."""
    shock_return_pct: Annotated[float, Field(ge=-100, lt=0)]
    """Fall in percent that means panic, together with shock_sigma."""
    crash_dd72_pct: Annotated[float, Field(ge=-100, lt=0)]
    """Fall from the 72 h high in percent that means panic, together with crash_rank."""
    crash_rank: Fraction
    """Rank of ATR percent for that."""
    sigma_span: Annotated[int, Field(ge=2, le=2000)]
    """Span of the exponentially weighted standard deviation of log returns."""

    @model_validator(mode="after")
    def _bands(self) -> Self:
        require(
            (self.adx_leave <= self.adx_enter, "adx_leave", "must not be above adx_enter"),
            (self.slope_leave <= self.slope_enter, "slope_leave", "must not be above slope_enter"),
            (self.rank_high_leave <= self.rank_high_enter, "rank_high_leave", "must not be above rank_high_enter"),
        )
        return self


def _require_takes(takes_r: Sequence[float], fractions: Sequence[float]) -> None:
    require(
        (len(takes_r) == len(fractions), "take_fractions", "must have as many items as takes_r"),
        (sum(fractions) <= ONE, "take_fractions", "must not sum to more than 1"),
        (rises(takes_r), "takes_r", "must rise"),
    )


class _Exits(Frozen):
    enabled: bool
    """Whether the strategy may signal at all."""
    stop_atr: Annotated[float, Field(gt=0, le=20)]
    """Distance of the first stop in ATR of the strategy's timeframe."""
    time_stop_hours: Annotated[float, Field(gt=0, le=24 * 60)]
    """Hours after which the position is closed."""


class _Takes(_Exits):
    takes_r: tuple[Annotated[float, Field(gt=0, le=20)], ...]
    """Profit in R at which parts are closed (X4)."""
    take_fractions: tuple[Fraction, ...]
    """Share of the position closed at each."""

    @model_validator(mode="after")
    def _takes_match(self) -> Self:
        _require_takes(self.takes_r, self.take_fractions)
        return self


class BreakoutParams(_Takes):
    """``breakout_4h`` (D2)."""

    adx_min: Annotated[float, Field(ge=0, le=100)]
    """Least ADX."""
    channel: Literal[20]
    """Bars of the Donchian channel that is broken."""
    outer_channel: Literal[55]
    """Bars of the outer Donchian channel."""
    trail_atr: Annotated[float, Field(gt=0, le=20)]
    """Distance of the trail in ATR (X2)."""


class VolExpParams(_Exits):
    """``vol_exp_15m`` (D3)."""

    quantile: Fraction
    """Quantile that ATR percent and volume must both exceed."""
    window: Annotated[int, Field(ge=50, le=2000)]
    """Bars over which the quantile is taken."""
    extreme_bars: Literal[20]
    """Bars whose extreme the close must break."""
    trail_atr: Annotated[float, Field(gt=0, le=20)]
    """Distance of the trail in ATR, from entry on (X3)."""
    time_stop_hours: Annotated[float, Field(ge=2, le=3)]
    """Hours after which the position is closed."""


class RangeRevParams(_Takes):
    """``range_rev_5m`` (D4)."""

    bb_window: Literal[20]
    """Bars of the Bollinger bands."""
    bb_sigma: Annotated[float, Field(gt=0, le=5)]
    """Width of the bands in standard deviations."""
    rsi_window: Literal[14]
    """Bars of RSI."""
    rsi_low: Annotated[float, Field(gt=0, lt=50)]
    """RSI below which the lower edge is bought."""
    rsi_high: Annotated[float, Field(gt=50, lt=100)]
    """RSI above which the upper edge is sold."""
    time_stop_hours: Annotated[float, Field(gt=0, le=1)]
    """Hours after which the position is closed."""


class FundingRevParams(_Exits):
    """``funding_rev`` (D5). Exits that it does not name are those of governance.yaml, the general rule (E4, X2, X4)."""

    funding_quantile: Fraction
    """Share of past settlements that the rate must lie beyond to be extreme."""
    funding_window: Annotated[int, Field(ge=30, le=2000)]
    """Settlements over which that is taken."""
    funding_default: Annotated[float, Field(ge=0, le=0.01)]
    """The exchange's default rate; an extreme lies beyond it."""
    funding_normal_quantile: Fraction
    """The position is closed when the rate comes back inside this quantile."""
    basis_quantile: Fraction
    """Quantile that the basis must lie beyond, on the same side."""
    basis_window_hours: Annotated[int, Field(ge=48, le=8760)]
    """Hours over which that is taken."""
    takes_r: tuple[Annotated[float, Field(gt=0, le=20)], ...] | None = None
    """Profit in R at which parts are closed (X4); without it take_levels_r of governance.yaml."""
    take_fractions: tuple[Fraction, ...] | None = None
    """Share of the position closed at each; named together with takes_r."""
    trail_atr: Annotated[float, Field(gt=0, le=20)] | None = None
    """Distance of the trail in ATR (X2); without it trail_atr_default of governance.yaml."""

    @model_validator(mode="after")
    def _takes_match(self) -> Self:
        both = (self.takes_r is None) == (self.take_fractions is None)
        require((both, "take_fractions", "must be named together with takes_r, or neither"))
        _require_takes(self.takes_r or (), self.take_fractions or ())
        return self


Points = Annotated[float, Field(ge=0, le=2.5)]


class ScoreParams(Frozen):
    """Points of the setup score (G7, X23)."""

    regime_fit: dict[StrategyName, dict[RegimeName, tuple[Points, Points]]]
    """Strategy, then regime: points for a long and for a short."""
    cost_points: tuple[tuple[Fraction, Annotated[float, Field(ge=0, le=2)]], ...]
    """Pairs of cost in R up to which, and points given."""
    volume_z_min: Annotated[float, Field(ge=-5, le=10)]
    """Volume z-score from which the volume point is given."""
    close_location_min: Fraction
    """Least place of the close within its bar, in the signal's direction, for the pattern point."""

    @field_validator("cost_points")
    @classmethod
    def _monotone(cls, value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        costs = [cost for cost, _ in value]
        points = [-point for _, point in value]
        if not (rises(costs) and rises(points)):
            raise ValueError("must have rising costs and falling points")
        return value


class StrategiesFile(Frozen):
    """``strategies.yaml`` (X41)."""

    version: Literal[1]
    """Version of the file's form."""
    regimes: RegimeParams
    """Thresholds of the regimes."""
    breakout_4h: BreakoutParams
    """Breakout of the Donchian channel with the trend."""
    vol_exp_15m: VolExpParams
    """Expansion of volatility and volume."""
    range_rev_5m: RangeRevParams
    """Return from the edges of a quiet range."""
    funding_rev: FundingRevParams
    """Return from extreme funding."""
    score: ScoreParams
    """Points of the setup score."""
