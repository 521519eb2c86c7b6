"""The algebra of the one add to a winner: its size and the joint stop depend on each other (E5, X16).

Held: quantity Q at average entry A with stop S0, direction s = +1 / -1. Added: q at worst at the cap C, for a budget K.
With entry and exit cost rates c_e, c_x let ``e = 1 + s c_e`` and ``x = 1 - s c_x``; then

- all of it left at B nets zero, costs included, at   ``B(q) x = e (Q A + q C) / (Q + q)``
- the add stopped out at S loses                      ``l(q, S) = s q (C e - S x)``
- the joint stop is the better one                    ``S(q) = better(S0, B(q))``, so ``l = min(l(q, S0), l(q, B(q)))``

Both parts rise with q, hence their minimum reaches K at the larger of the two solutions::

    l(q, S0)   = K   ->   q1 = K / (s (C e - S0 x))
    l(q, B(q)) = s e Q q (C - A) / (Q + q) = K   ->   q2 = K Q / (G - K),   G = s e Q (C - A)

G is the open profit of what is held. Where it does not exceed K there is no finite q2, and no add. The profit that
earlier takes booked is left out: break-even is that of what is still held.

Cost rates rise with size, so q is bounded from above with the rates of the present holding first, and then solved with
the rates of that bound. In q2 a short's ``e`` falls with the rates, so there the smaller rate is the careful one.
"""

from __future__ import annotations

from msgspec import Struct

from core.exec.position import Position
from core.risk.costs import CostModel
from core.types import Side

_ROUNDING = 1e-12


class Holding(Struct, frozen=True, gc=False):
    """What is held before the add; ``qty`` unsigned, prices in quote currency."""

    side: Side
    qty: float
    avg_entry: float
    stop: float

    @classmethod
    def of(cls, position: Position) -> Holding:
        """The holding of an open position."""
        return cls(position.side, float(position.qty), position.avg_entry, float(position.stop))


class JointStop(Struct, frozen=True, gc=False):
    """A solved add: at most ``qty`` may be bought (before the lot), under cost rates that are not exceeded by it.

    ``qty_upper`` is the bound at which the rates were taken.
    """

    holding: Holding
    cap: float
    qty: float
    qty_upper: float
    enter_rate: float
    leave_rate: float

    def stop_for(self, qty: float) -> float:
        """Joint stop after adding ``qty``: the better of the present stop and the joint break-even with costs."""
        held, sign = self.holding, self.holding.side.sign
        paid = (held.qty * held.avg_entry + qty * self.cap) * (1.0 + sign * self.enter_rate)
        even = paid / ((held.qty + qty) * (1.0 - sign * self.leave_rate))
        return max(held.stop, even) if held.side is Side.LONG else min(held.stop, even)

    def loss(self, qty: float, stop: float) -> float:
        """Money that the added ``qty``, filled at the cap, loses when stopped out at ``stop``, costs included."""
        sign = self.holding.side.sign
        return sign * qty * (self.cap * (1.0 + sign * self.enter_rate) - stop * (1.0 - sign * self.leave_rate))


def solve_add(held: Holding, cap: float, budget_usd: float, costs: CostModel) -> JointStop | None:
    """Largest add at ``cap`` that risks ``budget_usd``; None where the open profit of what is held does not exceed it.

    The cap must lie on the winning side of the stop.
    """
    dearest = max(cap, held.avg_entry, held.stop)
    low_enter, low_leave = costs.entry_cost_rate(0.0), costs.exit_cost_rate(held.qty * dearest)
    if _open_profit(held, cap, low_enter) <= budget_usd:
        return None
    upper = _solve(held, cap, budget_usd, low_enter, low_leave, low_enter)
    enter = costs.entry_cost_rate(upper * dearest)
    leave = costs.exit_cost_rate((held.qty + upper) * dearest)
    careful = enter if held.side is Side.LONG else low_enter
    qty = _solve(held, cap, budget_usd, enter, leave, careful) * (1.0 - _ROUNDING)
    return JointStop(held, cap, qty, upper, enter, leave)


def _open_profit(held: Holding, cap: float, enter_rate: float) -> float:
    sign = held.side.sign
    return sign * (1.0 + sign * enter_rate) * held.qty * (cap - held.avg_entry)


def _solve(held: Holding, cap: float, budget: float, enter: float, leave: float, enter_for_profit: float) -> float:
    sign = held.side.sign
    by_stop = budget / (sign * (cap * (1.0 + sign * enter) - held.stop * (1.0 - sign * leave)))
    by_break_even = budget * held.qty / (_open_profit(held, cap, enter_for_profit) - budget)
    return max(by_stop, by_break_even)
