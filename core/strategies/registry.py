"""The strategies of a run, made from configuration."""

from __future__ import annotations

from collections.abc import Sequence

from configs.validators import Governance, StrategiesFile
from core.strategies import breakout_4h, funding_rev, range_rev_5m, vol_exp_15m
from core.strategies.base import Strategy
from core.types import Timeframe


def build_strategies(
    params: StrategiesFile, symbols: Sequence[str], base_tf: Sequence[Timeframe], governance: Governance | None = None
) -> dict[str, Strategy]:
    """Enabled strategies by name, in a fixed order; a disabled one is absent.

    Args:
        params: ``strategies.yaml``.
        symbols: the run's symbols, in order.
        base_tf: base timeframe of each of them.
        governance: the general exits (E4), for a strategy that does not name its own.

    Raises:
        ValueError: ``base_tf`` has not one entry a symbol, or a strategy leaves exits to governance and there is none.
    """
    if len(base_tf) != len(symbols):
        raise ValueError(f"base_tf had {len(base_tf)} entries, expected one for each of {len(symbols)} symbols")
    built: dict[str, Strategy] = {}
    if params.breakout_4h.enabled:
        built[breakout_4h.NAME] = breakout_4h.build(params.breakout_4h, symbols)
    if params.vol_exp_15m.enabled:
        built[vol_exp_15m.NAME] = vol_exp_15m.build(params.vol_exp_15m, symbols)
    if params.range_rev_5m.enabled:
        built[range_rev_5m.NAME] = range_rev_5m.build(params.range_rev_5m, symbols, base_tf)
    if params.funding_rev.enabled:
        built[funding_rev.NAME] = funding_rev.build(params.funding_rev, symbols, governance)
    return built
