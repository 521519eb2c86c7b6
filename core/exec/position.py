"""An open position as the house knows it: built from fills, never from wishes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from core.types import Plan, Side


@dataclass(frozen=True, slots=True)
class Position:
    """One symbol's open position; replaced, never changed in place.

    ``qty`` is unsigned; ``avg_entry`` the average price of all entry fills (adds included); ``r_price`` =
    the distance from the average fill of the first entry to the initial stop (1R in price, decision X5); ``stop`` the stop that
    rests at the exchange now; ``takes_filled`` how many of the plan's takes were filled (fully) and
    ``first_take_ts`` the close of the bar in which the first was; ``best_close`` the best base-bar close since
    the entry; ``realised`` closed money before fees and funding; ``fees`` >= 0; ``funding`` negative when paid.
    ``slippage_usd`` is the money lost to slippage so far; ``mae``/``mfe`` the worst and best price seen.
    """

    plan: Plan
    qty: Decimal
    entry_qty: Decimal
    exit_qty: Decimal
    exit_value: float
    avg_entry: float
    first_entry: float
    r_price: float
    stop: Decimal
    opened_ts: int
    takes_filled: int
    first_take_ts: int | None
    best_close: float
    realised: float
    fees: float
    funding: float
    adds: int
    slippage_usd: float
    spread_bps_sum: float
    fills: int
    mae: float
    mfe: float

    @property
    def symbol(self) -> str:
        return self.plan.symbol

    @property
    def side(self) -> Side:
        return self.plan.side

    @property
    def signed_qty(self) -> Decimal:
        """Positive for long, negative for short."""
        return self.qty if self.side is Side.LONG else -self.qty

    def r_now(self, price: float) -> float:
        """Open profit of the price alone in R: (price - first entry) / r, signed by side."""
        return self.side.sign * (price - self.first_entry) / self.r_price

    def unrealised(self, price: float) -> float:
        """Open profit in USD at ``price``, before the cost of leaving."""
        return self.side.sign * float(self.qty) * (price - self.avg_entry)

    def risk_at_stop(self, exit_cost_rate: float) -> float:
        """Money (USD, >= 0) that leaving at the present stop would lose, exit costs included (X9)."""
        stop = float(self.stop)
        loss = self.side.sign * float(self.qty) * (self.avg_entry - stop) + float(self.qty) * stop * exit_cost_rate
        return max(0.0, loss)
