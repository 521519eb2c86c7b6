"""An open position as the house knows it: built from fills, never from wishes."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.types import Plan, Side


class Position(Struct, frozen=True, gc=False):
    """One symbol's open position; replaced, never changed in place.

    ``qty`` is unsigned; ``avg_entry`` the average price of all entry fills (adds included); ``r_price`` =
    the distance from the average fill of the first entry to the initial stop (1R in price, decision X5); ``stop`` the stop that
    rests at the exchange now; ``takes_filled`` how many of the plan's takes were filled (fully) and
    ``first_take_ts`` the close of the bar in which the first was; ``best_close`` the best base-bar close since
    the entry; ``realised`` closed money before fees and funding; ``fees`` >= 0; ``funding`` negative when paid.
    ``slippage_usd`` is the money lost to slippage so far; ``mae``/``mfe`` the worst and best price seen.

    ``reached_1r_ts`` is when what waits for +1r began (trail X3, add X16): the close of the bar in which a take at 1R or
    beyond was filled. Where no take rests at 1R, because it was no legal lot and merged away (X14), it is the first
    base-bar close at +1r or better instead, or a small position would never trail.
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
    reached_1r_ts: int | None = None

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

    def take_reaches_1r(self) -> bool:
        """Whether the next take that fills is one at 1R or beyond, after those nearer than that."""
        return self.takes_filled >= sum(take.r < 1.0 for take in self.plan.tps)

    def close_reaches_1r(self, close: float) -> bool:
        """Whether a base-bar ``close`` stands for the 1R take: none surely rests there, and it is at +1r or better.

        An entry filled in part may have merged even a take that the plan has.
        """
        rests = self.entry_qty >= self.plan.qty and any(take.r == 1.0 for take in self.plan.tps)
        return not rests and self.r_price > 0.0 and self.r_now(close) >= 1.0

    def unrealised(self, price: float) -> float:
        """Open profit in USD at ``price``, before the cost of leaving."""
        return self.side.sign * float(self.qty) * (price - self.avg_entry)

    def risk_at_stop(self, exit_cost_rate: float) -> float:
        """Money (USD, >= 0) that leaving at the present stop would lose, exit costs included (X9)."""
        stop = float(self.stop)
        loss = self.side.sign * float(self.qty) * (self.avg_entry - stop) + float(self.qty) * stop * exit_cost_rate
        return max(0.0, loss)
