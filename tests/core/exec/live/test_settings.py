"""Limits have the last word over what the broker can be told."""

from __future__ import annotations

import pytest

from configs.loader import load
from core.exec.live.settings import LiveOptions


@pytest.mark.parametrize(("cap", "leverage"), [(3.0, 3), (2.9, 2), (0.5, 1)])
def test_the_limits_in_force_are_the_brokers_too(cap: float, leverage: int) -> None:
    """X12, X31: an account set to more than the limit would be liquidated sooner than sizing assumes."""
    changes = {"leverage_cap": cap, "max_expected_slippage_pct": 0.02, "ntp_skew_ms": 700}
    options = LiveOptions(slices=3).under(load().governance.model_copy(update=changes))
    assert (options.leverage, options.max_slippage_pct, options.max_clock_offset_ms, options.slices) == (leverage, 0.02, 700, 3)
