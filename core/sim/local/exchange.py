"""The local exchange: Binance USD-M for one account, without network, threads or a clock of its own.

All methods are synchronous and happen at ``clock.now_ms()``. Requests of the account raise
:class:`~core.sim.local.values.VenueError` with the venue's codes; what the user stream would carry is collected in
order and fetched with :meth:`LocalExchange.drain_words`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from core.clock import Clock
from core.sim.local import moves
from core.sim.local.changes import amend, cancel, cancel_algo, cancel_all, cancel_all_algos, expire
from core.sim.local.conditional import place_algo, stall
from core.sim.local.engine import Engine
from core.sim.local.entry import place
from core.sim.local.history import Kept, page
from core.sim.local.reports import account_state, position_state, symbol_config
from core.sim.local.settings import set_dual_side, set_leverage, set_margin_type, transfer
from core.sim.local.values import (
    AccountState,
    AccountWord,
    AlgoState,
    BookTick,
    FundingTick,
    IncomeState,
    Liquidity,
    Listing,
    MarginType,
    MarkTick,
    NewAlgo,
    NewOrder,
    OrderSide,
    OrderState,
    PositionState,
    SymbolConfig,
    TradeState,
    TradeTick,
)


class LocalExchange:
    """One account at the exchange.

    Args:
        listings: what is traded.
        clock: the exchange's time.
        wallet: USDT at the start.
        seed: fixes the ids that the venue makes up.
        liquidity: modelled spread and depth by symbol, used while no real levels are known.

    Retention: the latest 5,000 finished orders, 2,000 finished conditional orders, 10,000 trades, 10,000 rows of income. As at
    the venue, an order that ended without a fill is found for three days after it was made, any other for ninety.
    """

    listings: dict[str, Listing]

    def __init__(
        self,
        listings: Sequence[Listing],
        clock: Clock,
        *,
        wallet: Decimal,
        seed: int = 0,
        liquidity: Mapping[str, Liquidity] | None = None,
    ) -> None:
        self._engine = Engine(listings, clock, wallet, seed, liquidity or {})
        self.listings = self._engine.listings

    def drain_words(self) -> tuple[AccountWord, ...]:
        """What the user stream carries since the last call, in order."""
        words = tuple(self._engine.words)
        self._engine.words.clear()
        return words

    # --- plain orders -----------------------------------------------------------------------------

    def place(self, ask: NewOrder) -> OrderState:
        """Accept and match an order; the answer is how it stands then."""
        return place(self._engine, ask)

    def amend(
        self,
        symbol: str,
        side: OrderSide,
        qty: Decimal,
        price: Decimal,
        *,
        order_id: int | None = None,
        client_id: str | None = None,
    ) -> OrderState:
        """Change price and quantity of an open limit order."""
        return amend(self._engine, symbol, side, qty, price, order_id, client_id)

    def cancel(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> OrderState:
        """Cancel one open order."""
        return cancel(self._engine, symbol, order_id, client_id)

    def cancel_all(self, symbol: str) -> None:
        """Cancel the plain orders of a symbol; conditional ones stay."""
        cancel_all(self._engine, symbol)

    def order(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> OrderState:
        """One order, open or finished; of several finished ones with the client id, the latest."""
        self._engine.listing(symbol)
        return self._engine.orders.state(symbol, order_id, client_id, self._engine.now)

    def open_orders(self, symbol: str | None = None) -> tuple[OrderState, ...]:
        """Open plain orders, oldest first."""
        return tuple(working.state for working in self._engine.orders.of(symbol))

    def all_orders(
        self, symbol: str, *, start: int | None = None, end: int | None = None, limit: int = 500, from_id: int | None = None
    ) -> tuple[OrderState, ...]:
        """Orders by id: the first ones from ``from_id`` or ``start`` on, else the latest."""
        self._engine.listing(symbol)
        rows = self._engine.orders.all(symbol, self._engine.now)
        return page(rows, ts=_created, start=start, end=end, limit=limit, number=lambda row: row.order_id, from_id=from_id)

    # --- conditional orders -----------------------------------------------------------------------

    def place_algo(self, ask: NewAlgo) -> AlgoState:
        """Accept a conditional order."""
        return place_algo(self._engine, ask)

    def cancel_algo(self, *, algo_id: int | None = None, client_id: str | None = None) -> AlgoState:
        """Cancel one that has not triggered."""
        return cancel_algo(self._engine, algo_id, client_id)

    def cancel_all_algos(self, symbol: str) -> None:
        """Cancel the conditional orders of a symbol."""
        cancel_all_algos(self._engine, symbol)

    def algo(self, *, algo_id: int | None = None, client_id: str | None = None) -> AlgoState:
        """One conditional order, open or over."""
        return self._engine.algos.state(algo_id, client_id, self._engine.now)

    def open_algos(self, symbol: str | None = None) -> tuple[AlgoState, ...]:
        """Open conditional orders, oldest first."""
        return tuple(armed.state for armed in self._engine.algos.of(symbol))

    def all_algos(
        self, symbol: str, *, start: int | None = None, end: int | None = None, limit: int = 500, from_id: int | None = None
    ) -> tuple[AlgoState, ...]:
        """As :meth:`all_orders`."""
        self._engine.listing(symbol)
        rows = self._engine.algos.all(symbol, self._engine.now)
        return page(rows, ts=_created, start=start, end=end, limit=limit, number=lambda row: row.algo_id, from_id=from_id)

    def stall_triggers(self, stalled: bool) -> None:
        """While stalled, what triggers stays TRIGGERING (a fault of the venue); afterwards it goes on at the price then."""
        stall(self._engine, stalled=stalled)

    # --- settings ---------------------------------------------------------------------------------

    def set_leverage(self, symbol: str, leverage: int) -> SymbolConfig:
        """Change the leverage of a symbol."""
        return set_leverage(self._engine, symbol, leverage)

    def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        """Change how a symbol is margined; refused with orders or a position."""
        set_margin_type(self._engine, symbol, margin_type)

    def set_dual_side(self, dual_side: bool) -> None:
        """Switch between one-way and hedge mode; in hedge mode every order here is refused with -4061."""
        set_dual_side(self._engine, dual_side=dual_side)

    @property
    def dual_side(self) -> bool:
        """Whether the account is in hedge mode."""
        return self._engine.dual_side

    def symbol_config(self, symbol: str) -> SymbolConfig:
        """Leverage and margin type of a symbol."""
        return symbol_config(self._engine, symbol)

    def transfer(self, amount: Decimal) -> None:
        """Deposit (positive) or withdraw USDT."""
        transfer(self._engine, amount)

    # --- the account ------------------------------------------------------------------------------

    def account(self) -> AccountState:
        """The account now."""
        return account_state(self._engine)

    def positions(self, symbol: str | None = None) -> tuple[PositionState, ...]:
        """Positions of all symbols (or of one), flat ones too."""
        symbols = self.listings if symbol is None else (self._engine.listing(symbol).symbol,)
        return tuple(position_state(self._engine, name) for name in symbols)

    def position_sign(self, symbol: str) -> int:
        """+1 long, -1 short, 0 flat: what a tape of bars asks before it chooses the path inside a bar."""
        self._engine.listing(symbol)
        return self._engine.held(symbol).sign

    def trades(
        self, symbol: str, *, start: int | None = None, end: int | None = None, from_id: int | None = None, limit: int = 500
    ) -> tuple[TradeState, ...]:
        """The account's fills, oldest first: the first ones from ``from_id`` or ``start`` on, else the latest."""
        self._engine.listing(symbol)
        rows = [row for row in self._engine.history.trades if row.symbol == symbol]
        return page(rows, ts=_at, start=start, end=end, limit=limit, number=lambda row: row.trade_id, from_id=from_id)

    def income(
        self,
        symbol: str | None = None,
        *,
        kind: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
    ) -> tuple[IncomeState, ...]:
        """Changes of the wallet, oldest first; with a ``start`` the first ``limit`` since then, else the latest."""
        rows = [row for row in self._engine.history.income if symbol in {None, row.symbol} and kind in {None, row.kind}]
        return page(rows, ts=_at, start=start, end=end, limit=limit)

    # --- the market side --------------------------------------------------------------------------

    def last_price(self, symbol: str) -> Decimal | None:
        """Price of the last trade; None before the first."""
        self._engine.listing(symbol)
        return self._engine.quotes[symbol].last

    def mark_price(self, symbol: str) -> Decimal | None:
        """Mark price; that of the last trade where none was told."""
        self._engine.listing(symbol)
        return self._engine.quotes[symbol].mark

    def sweep(self, tick: TradeTick) -> bool:
        """The price moves from the last trade to ``tick.price`` through every price between.

        Stops at the first resting order that it fills and answers False: call again with the same tick to go on. True:
        arrived. With ``tick.gap`` nothing trades between (the open of a bar): triggered orders fill at the tick's price.
        """
        return moves.sweep(self._engine, tick)

    def trade(self, tick: TradeTick) -> None:
        """One real print, no sweep: triggers, queue positions, maker fills."""
        moves.trade(self._engine, tick)

    def book(self, tick: BookTick) -> None:
        """Real levels; from then on takers walk them. Of a modelled book only the figures of its model are taken over."""
        moves.show_book(self._engine, tick)

    def set_liquidity(self, symbol: str, liquidity: Liquidity) -> None:
        """Change what is modelled for a symbol."""
        self._engine.listing(symbol)
        self._engine.depths[symbol].model(liquidity)

    def mark(self, tick: MarkTick) -> None:
        """A new mark price: triggers on mark, margin call, liquidation."""
        moves.mark(self._engine, tick)

    def settle_funding(self, tick: FundingTick) -> None:
        """Funding is paid on the position held."""
        moves.settle(self._engine, tick)

    def on_time(self, ts: int) -> None:
        """Time has come to ``ts``: GTD orders expire."""
        expire(self._engine, ts)

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        return self._engine.snapshot()

    def present(self) -> dict[str, Any]:
        """A :meth:`snapshot` without its ``past``, which only grows at its end and may be kept row by row."""
        return self._engine.present()

    @property
    def past(self) -> Mapping[str, Kept[Any]]:
        """Finished orders, conditional orders that are over, fills and income, by kind."""
        return self._engine.past

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`; what follows is as if there had been no stop."""
        self._engine.restore(state)


def _created(row: OrderState | AlgoState) -> int:
    return row.created


def _at(row: TradeState | IncomeState) -> int:
    return row.ts
