"""What a taker finds: real levels where they are known, else the house's model of a book (:mod:`core.sim.matching`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from core.exec.instrument import Instrument
from core.sim.local.values import ZERO, BookTick, Liquidity, Listing, OrderSide
from core.sim.matching import slippage_bps, slipped_price
from core.types import OrderSide as HouseSide

Levels = tuple[tuple[Decimal, Decimal], ...]


class Piece(NamedTuple):
    """A part of an order that trades at one price."""

    price: Decimal
    qty: Decimal


def instrument_of(listing: Listing, liquidity: Liquidity) -> Instrument:
    """The listing as the matching rules of the house want it."""
    return Instrument(
        symbol=listing.symbol,
        is_perp=True,
        tick_size=listing.tick,
        qty_step=listing.step,
        min_qty=listing.min_qty,
        min_notional=listing.min_notional,
        min_depth_usd=0.0,
        max_spread_bps=0.0,
        allowed_tfs=frozenset(),
        taker_fee_rate=float(listing.taker_fee),
        maker_fee_rate=float(listing.maker_fee),
        maintenance_margin_rate=float(listing.brackets[0].maintenance_rate),
        modelled_spread_bps=liquidity.spread_bps,
        modelled_depth_usd=liquidity.depth_usd,
    )


class Depth:
    """The other side of the market in one symbol.

    Without real levels an order trades whole at the price of the model, and a limit that the model's price exceeds does not
    trade at all. With them it walks; what it took is gone until the level is told with another size. Once levels were told, the
    model is never gone back to: a book without any is one that nobody knows now, and nothing trades (``blind``).
    """

    def __init__(self, listing: Listing, liquidity: Liquidity) -> None:
        self._listing = listing
        self.bids: Levels = ()
        self.asks: Levels = ()
        self.real = False
        self._taken: dict[OrderSide, dict[Decimal, Decimal]] = {OrderSide.BUY: {}, OrderSide.SELL: {}}
        self.model(liquidity)

    def model(self, liquidity: Liquidity) -> None:
        """Change what is modelled."""
        self.liquidity = liquidity
        self._instrument = instrument_of(self._listing, liquidity)

    @property
    def blind(self) -> bool:
        """Whether there are real levels, and nobody knows them."""
        return self.real and not (self.bids or self.asks)

    def show(self, tick: BookTick) -> None:
        """Take over real levels; a level of the same size as before is taken for the same orders."""
        for side, old, new in ((OrderSide.BUY, self.asks, tick.asks), (OrderSide.SELL, self.bids, tick.bids)):
            before, taken = dict(old), self._taken[side]
            self._taken[side] = {price: taken[price] for price, qty in new if price in taken and before.get(price) == qty}
        self.bids, self.asks, self.real = tick.bids, tick.asks, True

    def best(self, side: OrderSide, last: Decimal) -> Decimal | None:
        """Best price for a taker of ``side``; None where nobody is."""
        if self.real:
            return next((price for price, qty in self._left(side) if qty > 0), None)
        return self._modelled(side, ZERO, last)

    def plan(self, side: OrderSide, qty: Decimal, last: Decimal, limit: Decimal | None) -> tuple[Piece, ...]:
        """How ``qty`` would trade now, never beyond ``limit``; what is missing finds nothing.

        Args:
            side: of the taker.
            qty: how much.
            last: price of the last trade, reference of the model.
            limit: worst price; for the model None means its own price band.
        """
        if not self.real:
            price = self._modelled(side, qty, last)
            return () if limit is not None and (price - limit) * side.sign > 0 else (Piece(price, qty),)
        pieces: list[Piece] = []
        for price, there in self._left(side):
            if qty <= 0 or (limit is not None and (price - limit) * side.sign > 0):
                break
            if there > 0:
                pieces.append(Piece(price, min(qty, there)))
                qty -= there
        return tuple(pieces)

    def take(self, side: OrderSide, pieces: Sequence[Piece]) -> None:
        """What was planned has traded."""
        if self.real:
            taken = self._taken[side]
            for piece in pieces:
                taken[piece.price] = taken.get(piece.price, ZERO) + piece.qty

    def queue(self, side: OrderSide, price: Decimal) -> Decimal | None:
        """Size displayed at ``price`` on the maker's own ``side``; None where levels are not known."""
        if not self.real or self.blind:
            return None
        return dict(self.bids if side is OrderSide.BUY else self.asks).get(price, ZERO)

    def _left(self, side: OrderSide) -> list[tuple[Decimal, Decimal]]:
        levels, taken = (self.asks if side is OrderSide.BUY else self.bids), self._taken[side]
        return [(price, qty - taken.get(price, ZERO)) for price, qty in levels]

    def _modelled(self, side: OrderSide, qty: Decimal, last: Decimal) -> Decimal:
        reference = float(last)
        bps = slippage_bps(float(qty) * reference, self.liquidity.spread_bps, self.liquidity.depth_usd)
        return slipped_price(self._instrument, HouseSide[side.name], reference, bps)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        taken = {side.value: [[str(p), str(q)] for p, q in levels.items()] for side, levels in self._taken.items()}
        shown = msgspec.to_builtins({"bids": self.bids, "asks": self.asks, "real": self.real})
        return {"liquidity": msgspec.to_builtins(self.liquidity), "taken": taken, **shown}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self.model(msgspec.convert(state["liquidity"], Liquidity))
        self.bids, self.asks = msgspec.convert(state["bids"], Levels), msgspec.convert(state["asks"], Levels)
        self.real = bool(state["real"])
        taken = {OrderSide(side): levels for side, levels in state["taken"].items()}
        self._taken = {side: {Decimal(p): Decimal(q) for p, q in taken[side]} for side in OrderSide}
