"""``funding_rev``: against the crowd when funding and basis are extreme together (requirement D5; set A of quant.md §2).

Evaluated once a settlement, at the first 1h close that knows it (``funding_age_h`` < 1).

- Short: the rate is above the exchange's default, strictly above more than ``funding_quantile`` of the last 270
  settlements, and the basis ranks above ``basis_quantile`` in 90 days.
- Long: the rate is negative, strictly below more than ``funding_quantile`` of them, and the basis ranks below
  1 - ``basis_quantile``.

A quarter to three quarters of all settlements are exactly the default rate, so ties never count, and an extreme must lie
beyond it: above it for longs who pay. The default is itself positive; its mirror for shorts who pay is any rate below zero.
Never in a trend or a panic: :data:`FORBIDDEN` holds whatever the enable map says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from configs.validators import FundingRevParams, Governance
from core.data.blocks import Floats, somewhere
from core.strategies.base import HOUR_MS, ExitProfile, Frame, Masks, RuleStrategy
from core.types import Regime, Side, Timeframe, Trail, TrailStart

NAME = "funding_rev"
FORBIDDEN = (Regime.TREND_UP, Regime.TREND_DOWN, Regime.PANIC)
REQUIRED = (
    "close@1h",
    "atr@1h",
    "funding",
    "funding_age_h",
    "funding_below",
    "funding_above",
    "basis",
    "basis_rank",
)


def rule(f: Mapping[str, Floats], p: FundingRevParams) -> Masks:
    """Where the entry rule holds, element by element; False where a feature is NaN."""
    settled = np.less(f["funding_age_h"], 1.0)
    if not somewhere(settled):
        return Masks(settled, settled.copy())
    funding, basis_rank = f["funding"], f["basis_rank"]
    short = np.greater(funding, p.funding_default)
    for holds in (np.greater(f["funding_below"], p.funding_quantile), np.greater(basis_rank, p.basis_quantile), settled):
        np.logical_and(short, holds, out=short)
    long = np.less(funding, 0.0)
    for holds in (np.greater(f["funding_above"], p.funding_quantile), np.less(basis_rank, 1.0 - p.basis_quantile), settled):
        np.logical_and(long, holds, out=long)
    return Masks(long, short)


def funding_is_normal(side: Side, view: Mapping[str, Floats], index: int, p: FundingRevParams) -> bool | None:
    """Whether the extreme that opened a position of ``side`` is over (X4); None when the stream cannot tell.

    For a short: the rate is back at the default or below, or no longer above more than ``funding_normal_quantile`` of the
    last settlements. For a long: the rate is no longer negative, or no longer below more than that share of them.
    """
    rate = float(view["funding"][index])
    share = float(view["funding_below" if side is Side.SHORT else "funding_above"][index])
    if math.isnan(rate) or math.isnan(share):
        return None
    inside = rate <= p.funding_default if side is Side.SHORT else rate >= 0.0
    return inside or share <= p.funding_normal_quantile


def exits(p: FundingRevParams, governance: Governance | None = None) -> ExitProfile:
    """Takes at 1R and 2R, the rest trailed from the first take; out when funding normalises or after a day (X2-X4).

    Takes and trail that ``p`` does not name are the general rule's of ``governance`` (E4, E10).

    Raises:
        ValueError: ``p`` leaves some to governance and there is none.
    """
    takes_r, fractions, trail_atr = p.takes_r, p.take_fractions, p.trail_atr
    if governance is not None:
        takes_r = governance.take_levels_r if takes_r is None else takes_r
        fractions = governance.take_fractions if fractions is None else fractions
        trail_atr = governance.trail_atr_default if trail_atr is None else trail_atr
    if takes_r is None or fractions is None or trail_atr is None:
        raise ValueError("funding_rev names not all of takes_r, take_fractions and trail_atr, expected governance for the rest")
    return ExitProfile(
        tf=Timeframe.H1,
        stop_atr=p.stop_atr,
        takes_r=takes_r,
        take_fractions=fractions,
        trail=Trail(TrailStart.FIRST_TAKE, trail_atr, Timeframe.H1),
        time_stop_ms=round(p.time_stop_hours * HOUR_MS),
        funding_exit=True,
    )


def build(p: FundingRevParams, symbols: Sequence[str], governance: Governance | None = None) -> RuleStrategy:
    """The strategy with its numbers taken out of the configuration."""

    def reason(side: Side, v: Mapping[str, float]) -> str:
        word, share = ("above", v["funding_below"]) if side is Side.SHORT else ("below", v["funding_above"])
        return (
            f"funding {v['funding'] * 1e4:+.2f} bp {word} {share:.1%} of the last {p.funding_window} settlements, "
            f"basis rank {v['basis_rank']:.3f} in {p.basis_window_hours} h"
        )

    frame = Frame(Timeframe.H1, REQUIRED, lambda f: rule(f, p), exits(p, governance))
    return RuleStrategy(NAME, symbols, (frame,), reason, FORBIDDEN)
