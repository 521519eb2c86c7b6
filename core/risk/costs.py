"""What a trade costs there and back: one model for the sizing, the cost gate and the worst case (X13, X14).

Every leg is assumed to cross the book as a taker: entries are IOC limits, and the worst exit is a stop. A leg costs
the taker fee plus the expected slippage of :func:`core.exec.slippage.expected_slippage_bps`, which rises with the
order's value. Funding is not part of R.
"""

from __future__ import annotations

import math

from msgspec import Struct

from core.exec.instrument import Instrument
from core.exec.slippage import DEPTH_BAND_BPS, expected_slippage_bps

_ROUNDING = 1e-12
"""Relative room for float rounding, so that a computed size can never exceed its budget by an ulp."""


class CostModel(Struct, frozen=True, gc=False):
    """Cost of crossing one book: ``fee_rate`` a fraction, ``spread_bps`` in bps, ``depth_usd`` within 0.1 % of the middle.

    Example:
        >>> round(CostModel(fee_rate=0.0005, spread_bps=2.0, depth_usd=100_000.0).entry_cost_rate(1_000.0), 6)
        0.000605
    """

    fee_rate: float
    spread_bps: float
    depth_usd: float

    @classmethod
    def of(cls, instrument: Instrument, spread_bps: float, depth_usd: float) -> CostModel:
        """Costs of ``instrument`` in a book of this spread and depth."""
        return cls(instrument.taker_fee_rate, spread_bps, depth_usd)

    @classmethod
    def modelled(cls, instrument: Instrument) -> CostModel:
        """Costs in the book that the instrument's configuration assumes where none is known."""
        return cls(instrument.taker_fee_rate, instrument.modelled_spread_bps, instrument.modelled_depth_usd)

    def slippage_rate(self, notional_usd: float) -> float:
        """Expected slippage of taking ``notional_usd`` at once, as a fraction of price."""
        return expected_slippage_bps(notional_usd, self.spread_bps, self.depth_usd) / 1e4

    def entry_cost_rate(self, notional_usd: float) -> float:
        """Fee and slippage of entering with ``notional_usd``, as a fraction of price."""
        return self.fee_rate + self.slippage_rate(notional_usd)

    def exit_cost_rate(self, notional_usd: float) -> float:
        """Fee and slippage of leaving with ``notional_usd``, as a fraction of price; the worst exit is a taker's too."""
        return self.fee_rate + self.slippage_rate(notional_usd)

    def cost_in_r(self, price: float, stop_distance: float, notional_usd: float = 0.0) -> float:
        """Round-trip cost as a share of R (X13): (entry rate + exit rate) x price / stop distance, both in price units."""
        return (self.entry_cost_rate(notional_usd) + self.exit_cost_rate(notional_usd)) * price / stop_distance

    def worst_loss(self, qty: float, entry: float, stop: float) -> float:
        """Money lost by ``qty`` filled at ``entry`` and stopped at ``stop``, both legs' costs included.

        Slippage of both legs is taken at the larger of the two values, so that neither is understated.
        """
        rate = self.entry_cost_rate(qty * max(entry, stop))
        return qty * (abs(entry - stop) + (entry + stop) * rate)

    def quantity_for(self, budget_usd: float, entry: float, stop: float) -> float:
        """Largest quantity whose :meth:`worst_loss` is at most ``budget_usd`` (> 0), before rounding to a lot (X14).

        Slippage is linear in the order's value, so the loss is ``a q^2 + b q`` with ::

            b = |entry - stop| + (entry + stop) (fee + spread / 2)
            a = (entry + stop) max(entry, stop) (band / 2) / depth

        and the root is written without a difference of large numbers: ``q = 2 R / (b + sqrt(b^2 + 4 a R))``.
        """
        both = entry + stop
        linear = abs(entry - stop) + both * self.entry_cost_rate(0.0)
        square = both * max(entry, stop) * 0.5 * DEPTH_BAND_BPS / 1e4 / self.depth_usd
        root = math.sqrt(linear * linear + 4.0 * square * budget_usd)
        return 2.0 * budget_usd / (linear + root) * (1.0 - _ROUNDING)
