"""``vol_exp_15m``: volatility and volume expand together and the price leaves its range (requirement D3; set A of quant.md §2).

ATR % and volume of the 15m bar both rank above ``quantile`` among the last 480, and the bar closes beyond the extreme of
the 20 bars before it: above the high long, below the low short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from configs.validators import VolExpParams
from core.data.blocks import Floats
from core.strategies.base import HOUR_MS, ExitProfile, Frame, Masks, RuleStrategy, nothing
from core.types import Side, Timeframe, Trail, TrailStart

NAME = "vol_exp_15m"
REQUIRED = (
    "close@15m",
    "atr@15m",
    "donchian_hi20@15m",
    "donchian_lo20@15m",
    "atr_rank480@15m",
    "volume_rank480@15m",
)


def rule(f: Mapping[str, Floats], p: VolExpParams) -> Masks:
    """Where the entry rule holds, element by element; False where a feature is NaN."""
    close = f["close@15m"]
    masks = Masks(np.greater(close, f["donchian_hi20@15m"]), np.less(close, f["donchian_lo20@15m"]))
    if nothing(masks):
        return masks
    for name in ("volume_rank480@15m", "atr_rank480@15m"):
        wide = np.greater(f[name], p.quantile)
        for mask in masks:
            np.logical_and(mask, wide, out=mask)
        if nothing(masks):
            break
    return masks


def exits(p: VolExpParams) -> ExitProfile:
    """No takes: trailed from the entry, and out after 2-3 hours (X2-X4)."""
    return ExitProfile(
        tf=Timeframe.M15,
        stop_atr=p.stop_atr,
        takes_r=(),
        take_fractions=(),
        trail=Trail(TrailStart.ENTRY, p.trail_atr, Timeframe.M15),
        time_stop_ms=round(p.time_stop_hours * HOUR_MS),
        funding_exit=False,
    )


def build(p: VolExpParams, symbols: Sequence[str]) -> RuleStrategy:
    """The strategy with its numbers taken out of the configuration."""

    def reason(side: Side, v: Mapping[str, float]) -> str:
        word, key = ("above the high", "donchian_hi20@15m") if side is Side.LONG else ("below the low", "donchian_lo20@15m")
        return (
            f"15m close {v['close@15m']:g} {word} {v[key]:g} of the {p.extreme_bars} bars before, "
            f"ATR rank {v['atr_rank480@15m']:.3f} and volume rank {v['volume_rank480@15m']:.3f} > {p.quantile:g}"
        )

    frame = Frame(Timeframe.M15, REQUIRED, lambda f: rule(f, p), exits(p))
    return RuleStrategy(NAME, symbols, (frame,), reason)
