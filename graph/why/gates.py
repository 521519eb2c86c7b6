"""The gates one after the other: which stopped an idea, and which would have with that one taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from core.codes import RefusalCode
from core.types import Refusal
from graph.node import Node
from graph.why.asif import Idea, World, decide, fate_of

_EVERYTHING = 1e9
Lift = Callable[[World, Idea], World]


def _active(world: World, idea: Idea) -> World:  # noqa: ARG001
    limits = world.context.config.governance
    free = world.with_no_lock()
    return free.with_governor(r_pct=limits.per_trade_r_pct_base, room_usd=free.state["status"].governor.equity)


def _no_minimum(world: World, idea: Idea) -> World:  # noqa: ARG001
    return world.with_instrument(qty_step=Decimal("1e-12"), min_qty=Decimal("1e-12"), min_notional=Decimal(0))


def _room(world: World, idea: Idea) -> World:  # noqa: ARG001
    return world.with_governor(room_usd=world.state["status"].governor.equity)


def _healthy(world: World, idea: Idea) -> World:  # noqa: ARG001
    return world.with_health()


def _together(world: World, idea: Idea) -> World:  # noqa: ARG001
    return world.with_no_correlation()


def _deep(world: World, idea: Idea) -> World:  # noqa: ARG001
    return world.with_instrument(min_depth_usd=0.0).with_book(world.instrument.modelled_spread_bps, _EVERYTHING)


def _exposure(world: World, idea: Idea) -> World:  # noqa: ARG001
    return world.with_governance(max_gross_exposure=_EVERYTHING, max_net_exposure=_EVERYTHING)


LIFTS: dict[RefusalCode, Lift] = {
    **dict.fromkeys(
        (
            RefusalCode.CLOCK_DRIFT,
            RefusalCode.JOURNAL_LOST,
            RefusalCode.CANDLE_INTEGRITY,
            RefusalCode.STREAM_CANDLES,
            RefusalCode.STREAM_FUNDING,
        ),
        _healthy,
    ),
    **dict.fromkeys(
        (RefusalCode.DAY_LOCK, RefusalCode.KILL_SWITCH, RefusalCode.GOVERNANCE_CHANGED, RefusalCode.NOT_ACTIVE), _active
    ),
    **dict.fromkeys((RefusalCode.DAY_WORST_CASE, RefusalCode.DRAWDOWN_WORST_CASE), _room),
    **dict.fromkeys((RefusalCode.BELOW_MIN_QTY, RefusalCode.BELOW_MIN_NOTIONAL), _no_minimum),
    **dict.fromkeys((RefusalCode.CORRELATED, RefusalCode.ALL_CORRELATED), _together),
    RefusalCode.STREAM_BOOK: lambda world, idea: _deep(_healthy(world, idea), idea),
    RefusalCode.BOOK_THIN: _deep,
    RefusalCode.EXPOSURE_CAP: _exposure,
    RefusalCode.BAR_FLAGGED: lambda world, _: world.with_clean_bar(),
    RefusalCode.REGIME_DISABLED: lambda world, idea: world.with_enabled(idea.strategy),
    RefusalCode.TF_NOT_ALLOWED: lambda world, _: world.with_instrument(
        allowed_tfs=frozenset(world.context.market.feed.timeframes)
    ),
    RefusalCode.COOLDOWN: lambda world, _: world.without_rest(),
    RefusalCode.BLACKOUT: lambda world, _: world.with_news(True),
    RefusalCode.SCORE_LOW: lambda world, _: world.with_threshold(0.0),
    RefusalCode.SYMBOL_OWNED: lambda world, idea: world.alone_in_symbol(idea.strategy),
    RefusalCode.COST_SHARE: lambda world, _: world.with_governance(max_cost_share_of_r=_EVERYTHING),
    RefusalCode.BELOW_MIN_R: lambda world, _: world.with_governance(min_plan_r_pct=0.0),
    RefusalCode.PORTFOLIO_R_CAP: lambda world, _: world.with_governance(max_portfolio_r_pct=100.0),
    RefusalCode.SPREAD_WIDE: lambda world, _: world.with_instrument(max_spread_bps=_EVERYTHING),
    RefusalCode.SLIPPAGE_HIGH: lambda world, _: world.with_governance(max_expected_slippage_pct=_EVERYTHING),
}
"""How a gate is taken away to see which would have stopped it next. A code that is not here ends the search."""


async def gates_in_turn(idea: Idea, world: World, nodes: Mapping[str, Node], most: int) -> tuple[Refusal, ...]:
    """The refusal that stopped ``idea``, then those that would have, each with all before it taken away; at most ``most``."""
    found: list[Refusal] = []
    while len(found) < most:
        fate = fate_of(idea, await decide(world, nodes))
        if fate.refusal is None or any(fate.refusal.code is refusal.code for refusal in found):
            break
        found.append(fate.refusal)
        lift = LIFTS.get(fate.refusal.code)
        if lift is None:
            break
        world = lift(world, idea)
    return tuple(found)
