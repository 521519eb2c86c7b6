"""What the market does to resting orders: sweeps, prints, books, marks and funding.

Where a bar tells a range and no path, doubt is settled against the trader as :mod:`core.sim.matching` does it: a limit
fills only when the price goes a tick beyond it, while moving its way, and a conditional order at the same price goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import partial
from typing import NamedTuple

from core.sim.local.account import money
from core.sim.local.algos import crossing
from core.sim.local.conditional import protected, trigger
from core.sim.local.engine import Engine
from core.sim.local.fills import fill
from core.sim.local.liquidation import liquidate, warn
from core.sim.local.orders import Working
from core.sim.local.quotes import Quote
from core.sim.local.reports import liquidated_at, tell_account
from core.sim.local.values import (
    AccountReason,
    BookTick,
    FundingTick,
    Liquidity,
    MarkTick,
    TradeTick,
)
from core.sim.matching import limit_traded_through
from core.types import OrderSide as HouseSide


class _Reached(NamedTuple):
    """Something that a move reaches: how far from its start, which kind goes first, its number, where, and what it does."""

    distance: Decimal
    rank: int
    number: int
    price: Decimal
    act: Callable[[], None]


_CONDITIONAL, _FORCED, _LIMIT = range(3)


def sweep(engine: Engine, tick: TradeTick) -> bool:
    """Move to the tick's price through every price between; False when it stopped at a fill, to be called again."""
    engine.listing(tick.symbol)
    quote, trades = engine.quotes[tick.symbol], engine.counters.trade
    jumps = tick.gap or quote.last is None
    start = tick.price if quote.last is None or tick.gap else quote.last
    quote.dry = not tick.qty
    while True:
        _move(engine, tick.symbol, quote, start)
        reached = _nearest(engine, tick.symbol, start, tick.price, limits=not jumps and not quote.dry)
        if reached is None:
            break
        start = reached.price
        _move(engine, tick.symbol, quote, start)
        reached.act()
        if engine.counters.trade != trades:
            return False
    _move(engine, tick.symbol, quote, tick.price)
    warn(engine, tick.symbol)
    return True


def trade(engine: Engine, tick: TradeTick) -> None:
    """One real print: what it triggers, then the makers whose turn it is."""
    engine.listing(tick.symbol)
    quote = engine.quotes[tick.symbol]
    quote.print(tick.price)
    quote.dry = not tick.qty
    _react(engine, tick.symbol)
    if not quote.dry:
        _serve_makers(engine, tick)
    warn(engine, tick.symbol)


def show_book(engine: Engine, tick: BookTick) -> None:
    """Real levels; resting orders that they cross trade with them. Of a modelled book only its two figures count."""
    engine.listing(tick.symbol)
    depth = engine.depths[tick.symbol]
    if tick.modelled:
        if tick.depth_usd > 0:
            depth.model(Liquidity(tick.spread_bps, tick.depth_usd))
        return
    depth.show(tick)
    for working in _by_priority(engine, tick.symbol) if depth.real else ():
        side, price = working.state.side, working.state.price
        pieces = () if working.state.status.over else depth.plan(side, _fillable(engine, working), price, price)
        if pieces:
            depth.take(side, pieces)
            fill(engine, working, price, sum((piece.qty for piece in pieces), Decimal(0)), maker=True)


def mark(engine: Engine, tick: MarkTick) -> None:
    """A mark of the market's own."""
    engine.listing(tick.symbol)
    quote = engine.quotes[tick.symbol]
    quote.mark, quote.marked = tick.mark, True
    if quote.last is not None:
        _react(engine, tick.symbol)
        warn(engine, tick.symbol)


def settle(engine: Engine, tick: FundingTick) -> None:
    """Pay funding once on a position that was held before it fell due; longs pay a positive rate."""
    engine.listing(tick.symbol)
    held, quote = engine.held(tick.symbol), engine.quotes[tick.symbol]
    if not held.qty or held.since >= tick.ts or quote.funded >= tick.ts:
        return
    quote.funded = tick.ts
    amount = money(-held.qty * (tick.mark or quote.value) * tick.rate)
    engine.account.pay(amount, engine.now, held)
    engine.book_income(tick.symbol, "FUNDING_FEE", amount)
    tell_account(engine, AccountReason.FUNDING_FEE, () if held.crossed else (tick.symbol,), amount)


def _move(engine: Engine, symbol: str, quote: Quote, price: Decimal) -> None:
    quote.move(price)
    _follow(engine, symbol, quote)


def _follow(engine: Engine, symbol: str, quote: Quote) -> None:
    for armed in engine.algos.waiting(symbol):
        if armed.trailing and quote.last is not None:
            armed.follow(quote.value if armed.on_mark else quote.last)


def _react(engine: Engine, symbol: str) -> None:
    """Everything that the present prices reach acts, without a move."""
    quote = engine.quotes[symbol]
    _follow(engine, symbol, quote)
    last = quote.last or quote.value
    while (reached := _nearest(engine, symbol, last, last, limits=False)) is not None:
        reached.act()


def _nearest(engine: Engine, symbol: str, start: Decimal, target: Decimal, *, limits: bool) -> _Reached | None:
    """What a move from ``start`` to ``target`` reaches first."""
    reached = [*_conditionals(engine, symbol, start, target), *_forced(engine, symbol, start, target)]
    if limits:
        reached += _limits(engine, symbol, start, target)
    return min(reached, key=lambda item: item[:3], default=None)


def _conditionals(engine: Engine, symbol: str, start: Decimal, target: Decimal) -> list[_Reached]:
    quote, tick = engine.quotes[symbol], engine.listings[symbol].tick
    apart = quote.value - start
    found: list[_Reached] = []
    if engine.depths[symbol].blind:
        return found  # they would be refused for want of a counterparty; they trigger when the book is known again
    for armed in engine.algos.waiting(symbol):
        level = armed.level(tick)
        if level is None or protected(engine, armed):
            continue
        shift = apart if armed.on_mark else Decimal(0)
        price = crossing(armed.falling, level, start + shift, target + shift)
        if price is not None:
            at = _legal(price - shift, tick, start, target)
            found.append(_Reached(abs(at - start), _CONDITIONAL, armed.state.algo_id, at, partial(trigger, engine, armed)))
    return found


def _forced(engine: Engine, symbol: str, start: Decimal, target: Decimal) -> list[_Reached]:
    """Liquidation, when the mark comes to where the margin ends."""
    level = liquidated_at(engine, symbol)
    if not level:
        return []
    shift = engine.quotes[symbol].value - start
    price = crossing(engine.held(symbol).qty > 0, level, start + shift, target + shift)
    if price is None:
        return []
    at = _legal(price - shift, engine.listings[symbol].tick, start, target)
    return [_Reached(abs(at - start), _FORCED, 0, at, partial(liquidate, engine, symbol))]


def _limits(engine: Engine, symbol: str, start: Decimal, target: Decimal) -> list[_Reached]:
    """Resting limits that the move goes beyond by a tick; one that it moves away from waits."""
    tick, low, high = float(engine.listings[symbol].tick), float(min(start, target)), float(max(start, target))
    found = []
    for working in engine.orders.of(symbol):
        side, limit = working.state.side, working.state.price
        away = (target - start) * side.sign > 0
        if not away and limit_traded_through(HouseSide[side.name], float(limit), tick, low, high):
            at = start if (start - limit) * side.sign < 0 else limit
            act = partial(_fill_maker, engine, working)
            found.append(_Reached(abs(at - start), _LIMIT, working.state.order_id, at, act))
    return found


def _legal(price: Decimal, tick: Decimal, start: Decimal, target: Decimal) -> Decimal:
    """A price inside the move, rounded to the tick in the direction of the move."""
    rounding = ROUND_CEILING if target > start else ROUND_FLOOR
    low, high = min(start, target), max(start, target)
    return min(high, max(low, (price / tick).to_integral_value(rounding=rounding) * tick))


def _fillable(engine: Engine, working: Working) -> Decimal:
    state = working.state
    return min(working.left, engine.reducible(state.symbol, state.side)) if state.reduce_only else working.left


def _fill_maker(engine: Engine, working: Working) -> None:
    fill(engine, working, working.state.price, _fillable(engine, working), maker=True)


def _by_priority(engine: Engine, symbol: str) -> list[Working]:
    """Resting orders as the market meets them: best price first, then age."""
    return sorted(
        engine.orders.of(symbol), key=lambda working: (-working.state.price * working.state.side.sign, working.state.order_id)
    )


def _serve_makers(engine: Engine, tick: TradeTick) -> None:
    """A print beyond a limit fills it; one at the limit, by an aggressor of the other side, first serves the queue."""
    step = float(engine.listings[tick.symbol].tick)
    printed = float(tick.price)
    served = Decimal(0)
    for working in _by_priority(engine, tick.symbol):
        if working.state.status.over:
            continue
        side, limit = working.state.side, working.state.price
        if limit_traded_through(HouseSide[side.name], float(limit), step, printed, printed):
            _fill_maker(engine, working)
        elif limit == tick.price and side is not tick.taker and working.ahead is not None:
            over = tick.qty - served - working.ahead
            working.ahead = max(Decimal(0), working.ahead - tick.qty)
            qty = min(over, _fillable(engine, working))
            if qty > 0:
                served += qty
                fill(engine, working, limit, qty, maker=True)
