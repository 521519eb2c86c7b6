"""Money and holdings of the simulated exchange: float arithmetic, always in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from core.data.blocks import Floats
from core.exec.instrument import Instrument
from core.sim.matching import liquidation_price
from core.types import OrderSide


@dataclass(slots=True)
class Holding:
    """One open position: signed ``qty``, its average price, and since when it is held (ms).

    ``liquidation`` is the price at which it is ended by force (NaN: never, on spot), ``exit_side`` that of orders that close it.
    """

    qty: Decimal
    average: float
    since: int
    liquidation: float = math.nan
    exit_side: OrderSide = OrderSide.SELL


class Account:
    """Wallet and one-way positions under isolated margin.

    Args:
        instruments: the run's instruments; prices are arrays in this order.
        starting_equity: wallet at the start (USD).
        leverage_cap: leverage at which perps are margined; spot is always paid in full.
    """

    def __init__(self, instruments: Sequence[Instrument], starting_equity: float, leverage_cap: float) -> None:
        self.wallet = float(starting_equity)
        self.holdings: dict[str, Holding] = {}
        self._instruments = tuple(instruments)
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._leverage = {item.symbol: (leverage_cap if item.is_perp else 1.0) for item in instruments}

    def leverage(self, symbol: str) -> float:
        """Leverage at which ``symbol`` is margined."""
        return self._leverage[symbol]

    def qty(self, symbol: str) -> Decimal:
        """Signed position, 0 when flat."""
        held = self.holdings.get(symbol)
        return Decimal(0) if held is None else held.qty

    def trade(self, symbol: str, signed_qty: Decimal, price: float, fee: float, ts: int) -> None:
        """Book one fill: what closes goes to the wallet against the average, what opens joins the average."""
        self.wallet -= fee
        held = self.holdings.get(symbol)
        if held is None:
            self._hold(symbol, Holding(signed_qty, price, ts))
            return
        after = held.qty + signed_qty
        if held.qty * signed_qty > 0:
            held.average = (held.average * float(abs(held.qty)) + price * float(abs(signed_qty))) / float(abs(after))
        else:
            closed = min(abs(held.qty), abs(signed_qty))
            self.wallet += (1 if held.qty > 0 else -1) * float(closed) * (price - held.average)
            if after * signed_qty > 0:
                held.average, held.since = price, ts
        held.qty = after
        self._hold(symbol, held)
        if not after:
            del self.holdings[symbol]

    def _hold(self, symbol: str, held: Holding) -> None:
        """Keep what was opened or changed, with what follows from it."""
        instrument, is_long = self._instruments[self._index[symbol]], held.qty > 0
        held.exit_side = OrderSide.SELL if is_long else OrderSide.BUY
        if instrument.is_perp:
            held.liquidation = liquidation_price(instrument, is_long, held.average, self._leverage[symbol])
        self.holdings[symbol] = held

    def unrealised(self, prices: Floats) -> float:
        """Open profit (USD) at ``prices``, shape (S,); NaN where a held symbol has no price."""
        total = 0.0
        for symbol in self._held():
            held = self.holdings[symbol]
            total += float(held.qty) * (float(prices[self._index[symbol]]) - held.average)
        return total

    def used_margin(self) -> float:
        """Margin locked by positions (USD): entry value / leverage."""
        total = 0.0
        for symbol in self._held():
            held = self.holdings[symbol]
            total += float(abs(held.qty)) * held.average / self._leverage[symbol]
        return total

    def _held(self) -> list[str]:
        return sorted(self.holdings, key=self._index.__getitem__)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        held = [[s, str(h.qty), h.average, h.since] for s, h in self.holdings.items()]
        return {"wallet": self.wallet, "holdings": held}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self.wallet = float(state["wallet"])
        self.holdings = {}
        for symbol, qty, average, since in state["holdings"]:
            self._hold(symbol, Holding(Decimal(qty), float(average), int(since)))


def price_list(prices: Floats) -> list[float | None]:
    """Prices as JSON-like values; unknown (NaN) is None."""
    return [None if np.isnan(value) else float(value) for value in prices]


def price_array(values: Sequence[float | None]) -> Floats:
    """Inverse of :func:`price_list`."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
