"""Schema of ``governance.yaml``: the locked limits (H2)."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from configs.schema import ONE, Fraction, Frozen, require, rises


class Governance(Frozen):
    """``governance.yaml``: the locked limits. Percent of equity unless the name says otherwise."""

    version: Literal[1]
    """Version of the file's form."""
    per_trade_r_pct_base: Annotated[float, Field(ge=0.05, le=0.8)]
    """Risk of one trade between entry and stop, costs included (E1)."""
    per_trade_r_pct_green_bonus: Annotated[float, Field(ge=0, le=0.3)]
    """Percentage points added on a green day (E2)."""
    per_trade_r_pct_max: Annotated[float, Field(ge=0.05, le=1.1)]
    """Most that one trade may risk, whatever is added (E2)."""
    green_bonus_arm_pct: Annotated[float, Field(ge=0.5, le=10)]
    """Realised day's profit from which the bonus applies (X8)."""
    min_plan_r_pct: Annotated[float, Field(gt=0, le=0.8)]
    """An entry that must be shrunk below this is refused (X9)."""
    r_cut_pp: Annotated[float, Field(ge=0, le=0.8)]
    """Percentage points taken off after losses or in high volatility (E3)."""
    r_cut_loss_streak: Annotated[int, Field(ge=1, le=3)]
    """Losses in a row that begin the cut."""
    r_cut_atr_rank: Fraction
    """Rank of ATR from which the cut applies: 0.9 is the 90th percentile."""
    r_cut_wins_to_restore: Annotated[int, Field(ge=5, le=50)]
    """Winning trades since the cut began that end it (X7)."""
    max_daily_loss_pct: Annotated[float, Field(gt=0, le=1.8)]
    """Day's loss that locks entries until the next day; also the day's worst case at admission (X10)."""
    kill_switch_drawdown_72h: Annotated[float, Field(gt=0, le=3.5)]
    """Drawdown from the 72 h peak that stops trading until a person unlocks (E6)."""
    kill_switch_action: Literal["flatten", "hold"]
    """What the kill-switch does with open positions: close them, or leave them under their stops (X12)."""
    leverage_cap: Annotated[float, Field(gt=0, le=3)]
    """Most leverage: notional over equity."""
    max_gross_exposure: Annotated[float, Field(gt=0, le=3)]
    """Most sum of all notionals over equity."""
    max_net_exposure: Annotated[float, Field(gt=0, le=3)]
    """Most |long minus short| notional over equity."""
    max_portfolio_r_pct: Annotated[float, Field(gt=0, le=1.5)]
    """Most risk of everything open and pending together, at present stops (X9)."""
    no_martingale: Literal[True]
    """Size never grows after a loss; cannot be switched off."""
    pyramiding: Literal["anti", "off"]
    """``anti`` adds only into profit (E5); ``off`` never adds."""
    pyramid_add_r: Annotated[float, Field(gt=0, le=0.3)]
    """Risk of an add as a share of R (X16)."""
    pyramid_trigger_r: Annotated[float, Field(ge=1, le=10)]
    """Profit in R from which an add may be made."""
    correlation_limit: Fraction
    """|correlation| above which two instruments count as moving together (F4)."""
    correlation_block_enter: Fraction
    """"Everything correlates" begins above this (X25)."""
    correlation_block_leave: Fraction
    """"Everything correlates" ends below this."""
    correlation_window_days: Annotated[int, Field(ge=30, le=365)]
    """Closed days over which correlation is taken."""
    correlation_min_days: Annotated[int, Field(ge=20, le=365)]
    """Fewer common days than this make a correlation unknown."""
    max_correlated_open: Annotated[int, Field(ge=1, le=3)]
    """Most open positions that move together, the new one included."""
    take_levels_r: tuple[Annotated[float, Field(gt=0, le=20)], ...]
    """Profit in R at which parts are closed where a strategy names none (E4)."""
    take_fractions: tuple[Fraction, ...]
    """Share of the position closed at each level; the rest is trailed."""
    trail_atr_default: Annotated[float, Field(gt=0, le=10)]
    """Distance of the trail in ATR where a strategy names none (X2)."""
    break_even_r: Annotated[float, Field(gt=0, le=5)]
    """Profit in R at which the stop goes to entry plus costs (X5)."""
    scratch_r: Annotated[float, Field(ge=0, le=0.5)]
    """Results within plus or minus this many R are neither win nor loss (X6)."""
    max_cost_share_of_r: Annotated[float, Field(gt=0, le=0.5)]
    """Largest share of R that round-trip fees and slippage may take (X13)."""
    entry_cap_pct: Annotated[float, Field(gt=0, le=0.5)]
    """Distance of an entry's limit from the close, percent of price (X10)."""
    max_expected_slippage_pct: Annotated[float, Field(gt=0, le=0.5)]
    """Expected slippage above this refuses an entry, percent of price (X31)."""
    canary_r_pct: Annotated[float, Field(gt=0, le=0.05)]
    """Risk of a canary trade (J2)."""
    canary_max_real_r_pct: Annotated[float, Field(gt=0, le=0.25)]
    """Most that the smallest legal order of a canary may really risk (X35)."""
    volatility_target_enabled: bool
    """Whether sizes are shrunk further toward a target volatility (X15)."""
    volatility_target_annual_pct: Annotated[float, Field(gt=0, le=500)]
    """The target: annual volatility in percent."""
    score_threshold: Annotated[float, Field(ge=7, le=10)]
    """Setup score from which a signal may trade (G7)."""
    score_threshold_tight: Annotated[float, Field(ge=7, le=10)]
    """The same while selection is tightened (X24)."""
    tighten_below_winrate_pct: Annotated[float, Field(ge=0, le=100)]
    """Win rate below which selection tightens."""
    tighten_ends_above_winrate_pct: Annotated[float, Field(ge=0, le=100)]
    """Win rate above which it relaxes again."""
    tighten_window_trades: Annotated[int, Field(ge=10, le=1000)]
    """Decided trades over which that win rate is taken."""
    min_bars_hold: Annotated[int, Field(ge=6, le=100)]
    """Least bars that confirm a change of regime; enable_map.yaml must agree (X21)."""
    cooldown_after_2_losses: Annotated[int, Field(ge=3, le=100)]
    """Bars for which a strategy rests after two stops in a row; enable_map.yaml must agree."""
    ntp_skew_ms: Annotated[int, Field(ge=1, le=1500)]
    """Clock error in milliseconds above which entries pause (B4)."""
    require_streams: tuple[Literal["candles", "funding", "book"], ...]
    """Streams without which nothing is opened; at least candles and funding (X26)."""
    day_boundary_tz: str
    """IANA time zone in which the trading day begins (X1)."""

    @field_validator("day_boundary_tz")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(
            (len(self.take_levels_r) == len(self.take_fractions), "take_fractions", "must have as many items as take_levels_r"),
            (sum(self.take_fractions) <= ONE, "take_fractions", "must not sum to more than 1"),
            (rises(self.take_levels_r), "take_levels_r", "must rise"),
            ({"candles", "funding"} <= {*self.require_streams}, "require_streams", "must hold candles and funding"),
            (
                self.per_trade_r_pct_max >= self.per_trade_r_pct_base,
                "per_trade_r_pct_max",
                "must not be below per_trade_r_pct_base",
            ),
            (self.score_threshold_tight >= self.score_threshold, "score_threshold_tight", "must not be below score_threshold"),
            (
                self.tighten_ends_above_winrate_pct >= self.tighten_below_winrate_pct,
                "tighten_ends_above_winrate_pct",
                "must not be below tighten_below_winrate_pct",
            ),
            (
                self.correlation_block_leave <= self.correlation_block_enter,
                "correlation_block_leave",
                "must not be above correlation_block_enter",
            ),
            (
                self.correlation_min_days <= self.correlation_window_days,
                "correlation_min_days",
                "must not be above correlation_window_days",
            ),
        )
        return self

    @property
    def zone(self) -> ZoneInfo:
        """Time zone in which the trading day begins (X1)."""
        return ZoneInfo(self.day_boundary_tz)


def known_zone(value: str) -> str:
    """``value`` if it is a time zone of the IANA database.

    Raises:
        ValueError: it is none.
    """
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # an OSError when the name is that of a folder of the database
        raise ValueError("is not a time zone of the IANA database, e.g. Europe/Chisinau") from None
    return value
