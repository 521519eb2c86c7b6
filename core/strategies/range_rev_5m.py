"""``range_rev_5m``: back into the range from its edge (requirement D4; set A of quant.md §2).

Long: the close is below the lower Bollinger band and RSI below ``rsi_low``; short is the mirror image. Evaluated on the
finer of 5m and 15m that the symbol has: 5m for a base of 1m or 5m, 15m for a base of 15m, never for a coarser base.
That the market is in a calm range is the enable map's affair, not the rule's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from configs.validators import RangeRevParams
from core.data.blocks import Bools, Floats
from core.strategies.base import HOUR_MS, ExitProfile, Frame, Masks, Reason, RuleStrategy, nothing
from core.types import Side, Timeframe, Trail, TrailStart

NAME = "range_rev_5m"
_FRAME_OF_BASE = {Timeframe.M1: Timeframe.M5, Timeframe.M5: Timeframe.M5, Timeframe.M15: Timeframe.M15}


def required(tf: Timeframe = Timeframe.M5) -> tuple[str, ...]:
    """Features of the rule on ``tf``."""
    return tuple(f"{name}@{tf}" for name in ("close", "atr", "bb_lower", "bb_upper", "rsi"))


def rule(f: Mapping[str, Floats], p: RangeRevParams, tf: Timeframe = Timeframe.M5) -> Masks:
    """Where the entry rule holds on ``tf``, element by element; False where a feature is NaN."""
    return _rule(f, np.array(p.rsi_low), np.array(p.rsi_high), required(tf))


def _rule(f: Mapping[str, Floats], rsi_low: Floats, rsi_high: Floats, keys: Sequence[str]) -> Masks:
    rsi = f[keys[4]]
    masks = Masks(np.less(rsi, rsi_low), np.greater(rsi, rsi_high))
    if nothing(masks):
        return masks
    close = f[keys[0]]
    np.logical_and(masks.long, np.less(close, f[keys[2]]), out=masks.long)
    np.logical_and(masks.short, np.greater(close, f[keys[3]]), out=masks.short)
    return masks


def exits(p: RangeRevParams, tf: Timeframe = Timeframe.M5) -> ExitProfile:
    """Half at each take, no trail, out within the hour (X3, X4)."""
    return ExitProfile(
        tf=tf,
        stop_atr=p.stop_atr,
        takes_r=p.takes_r,
        take_fractions=p.take_fractions,
        # NEVER makes the multiple idle; it repeats the stop's, because 0 would mean "on the price" to a careless reader.
        trail=Trail(TrailStart.NEVER, p.stop_atr, tf),
        time_stop_ms=round(p.time_stop_hours * HOUR_MS),
        funding_exit=False,
    )


def build(p: RangeRevParams, symbols: Sequence[str], base_tf: Sequence[Timeframe]) -> RuleStrategy:
    """The strategy with its numbers taken out of the configuration."""
    chosen = [_FRAME_OF_BASE.get(tf) for tf in base_tf]
    frames = tuple(_frame(p, tf, np.array([own is tf for own in chosen], dtype=np.bool_)) for tf in (Timeframe.M5, Timeframe.M15))
    return RuleStrategy(NAME, symbols, frames, _reason(p))


def _frame(p: RangeRevParams, tf: Timeframe, members: Bools) -> Frame:
    keys, rsi_low, rsi_high = required(tf), np.array(p.rsi_low), np.array(p.rsi_high)
    return Frame(tf, keys, lambda f: _rule(f, rsi_low, rsi_high, keys), exits(p, tf), members)


def _reason(p: RangeRevParams) -> Reason:
    def reason(side: Side, v: Mapping[str, float]) -> str:
        close, _, lower, upper, rsi = v.items()
        if side is Side.LONG:
            return f"{close[0]} {close[1]:g} below the lower band {lower[1]:g}, RSI {rsi[1]:.1f} < {p.rsi_low:g}"
        return f"{close[0]} {close[1]:g} above the upper band {upper[1]:g}, RSI {rsi[1]:.1f} > {p.rsi_high:g}"

    return reason
