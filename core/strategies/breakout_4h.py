"""``breakout_4h``: a close beyond the prior 20-bar channel, with trend on 4h and 1h (requirement D2; set A of quant.md §2).

Long: the 4h close is above the highest high of the 20 bars before it and above the middle of the 55-bar channel, ADX(4h) is
above ``adx_min``, and the EMA200 rises on 4h and on 1h. Short is the mirror image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from configs.validators import BreakoutParams
from core.data.blocks import Floats
from core.strategies.base import HOUR_MS, ExitProfile, Frame, Masks, RuleStrategy, nothing
from core.types import Side, Timeframe, Trail, TrailStart

NAME = "breakout_4h"
REQUIRED = (
    "close@4h",
    "atr@4h",
    "donchian_hi20@4h",
    "donchian_lo20@4h",
    "donchian_hi55@4h",
    "donchian_lo55@4h",
    "adx@4h",
    "slope@4h",
    "slope@1h",
)


def rule(f: Mapping[str, Floats], p: BreakoutParams) -> Masks:
    """Where the entry rule holds, element by element; False where a feature is NaN."""
    close, slope_4h, slope_1h = f["close@4h"], f["slope@4h"], f["slope@1h"]
    masks = Masks(np.greater(close, f["donchian_hi20@4h"]), np.less(close, f["donchian_lo20@4h"]))
    if nothing(masks):
        return masks
    long, short = masks
    middle = (f["donchian_hi55@4h"] + f["donchian_lo55@4h"]) * 0.5
    strong = np.greater(f["adx@4h"], p.adx_min)
    for holds in (np.greater(close, middle), np.greater(slope_4h, 0.0), np.greater(slope_1h, 0.0), strong):
        np.logical_and(long, holds, out=long)
    for holds in (np.less(close, middle), np.less(slope_4h, 0.0), np.less(slope_1h, 0.0), strong):
        np.logical_and(short, holds, out=short)
    return masks


def exits(p: BreakoutParams) -> ExitProfile:
    """Takes at 1R and 2R, the rest trailed from the first take, time stop (X2-X4)."""
    return ExitProfile(
        tf=Timeframe.H4,
        stop_atr=p.stop_atr,
        takes_r=p.takes_r,
        take_fractions=p.take_fractions,
        trail=Trail(TrailStart.FIRST_TAKE, p.trail_atr, Timeframe.H4),
        time_stop_ms=round(p.time_stop_hours * HOUR_MS),
        funding_exit=False,
    )


def build(p: BreakoutParams, symbols: Sequence[str]) -> RuleStrategy:
    """The strategy with its numbers taken out of the configuration."""

    def reason(side: Side, v: Mapping[str, float]) -> str:
        word, key = ("above the high", "donchian_hi20@4h") if side is Side.LONG else ("below the low", "donchian_lo20@4h")
        return (
            f"4h close {v['close@4h']:g} {word} {v[key]:g} of the {p.channel} bars before, "
            f"ADX {v['adx@4h']:.1f} > {p.adx_min:g}, slope {v['slope@4h']:+.2f} (4h) and {v['slope@1h']:+.2f} (1h)"
        )

    frame = Frame(Timeframe.H4, REQUIRED, lambda f: rule(f, p), exits(p))
    return RuleStrategy(NAME, symbols, (frame,), reason)
