"""What crossing the book is expected to cost: one formula for the estimate, the sizing and the simulation."""

from __future__ import annotations

DEPTH_BAND_BPS = 10.0
"""``Book.depth_usd`` is the depth within this distance of the middle."""


def expected_slippage_bps(notional_usd: float, spread_bps: float, depth_usd: float) -> float:
    """Average cost, in bps of the middle, of taking ``notional_usd`` at once.

    Half the spread, plus the average depth walked when the book is spread evenly over its band::

        slippage = spread / 2 + (band / 2) * notional / depth

    Example:
        >>> expected_slippage_bps(1_000.0, 2.0, 100_000.0)
        1.05
    """
    return 0.5 * spread_bps + 0.5 * DEPTH_BAND_BPS * notional_usd / depth_usd
