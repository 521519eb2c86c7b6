"""The inputs that a decision rests on, and the unit in which each is measured when distances are compared.

A flip's distance is the change that is needed over the input's own unit; this is the one place where these units stand:

| input | one unit |
|---|---|
| a price, the close of the base bar | 1 ATR of its timeframe (the base bar: the finest ATR that is known) |
| an ATR | the ATR itself: twice as much, or none |
| RSI, ADX, ranks, shares, close location, correlations | a tenth of their range |
| slope; volume z | 1 ATR; 1 sigma |
| funding; basis | 1 basis point; 10 basis points |
| funding age | 1 hour |
| spread; depth | the symbol's limit: max_spread_bps; min_depth_usd |
| equity | the day's loss limit, in money |
| 72 h drawdown | the kill-switch's limit |
| risk of a trade; room to the worst case | the base risk: per_trade_r_pct_base, the same in money |
| age of a position | the life that its plan gives it |
| anything with a few values only | counts as one unit, whichever way it is turned |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

from core.codes import RefusalCode
from core.exec.position import Position
from core.regimes import CARRIED_BY_H4
from core.strategies.score import HIGHER_TIMEFRAME
from core.types import REGIME_CODES, PlanKind, Regime, Side, Timeframe, TradingState
from graph.node import Node
from graph.why.asif import Decided, Fate, Idea, World, decide, fate_of
from graph.why.flips import Dial, Switch, nearest_flips
from graph.why.model import Flip
from graph.why.standins import Judged

_SHARES = ("rank", "funding_below", "funding_above", "close_location")
_BOUNDS: dict[str, tuple[float, float, float, float, str]] = {
    "rsi": (0.0, 100.0, 0.01, 10.0, ""),
    "adx": (0.0, 100.0, 0.01, 10.0, ""),
    "slope": (-20.0, 20.0, 0.001, 1.0, "ATR"),
    "volume_z": (-10.0, 20.0, 0.001, 1.0, "sigma"),
    "funding": (-0.03, 0.03, 1e-6, 1e-4, ""),
    "funding_age_h": (0.0, 24.0, 0.01, 1.0, "h"),
    "basis": (-0.05, 0.05, 1e-6, 1e-3, ""),
}
"""By feature: lowest, highest, precision, one unit of distance, name of the unit."""
_TENTH = 0.1
_MINUTE_MS = 60_000
_MOST_EQUITY = 20.0
"""Times the equity, up to which a flip is looked for."""


def dials_of(world: World, idea: Idea, keys: tuple[str, ...], decided: Decided) -> list[Dial]:
    """The numbers that the decision rests on; ``keys`` are the features of an entry's rule and score."""
    if idea.move is not None:
        position = world.context.ledger.positions.get(idea.symbol)
        own = () if position is None else (*_of_close(world), *_of_management(world, position), *_of_book(world))
        return [*own, *_of_kill_switch(world)]
    if idea.kind is PlanKind.ADD:
        return [*_of_close(world), *_of_book(world), *_of_governor(world)]
    together = _of_correlation(world, others_of(world, idea, decided))
    return [*features(world, keys), *_of_book(world), *_of_governor(world), *together]


def features(world: World, keys: tuple[str, ...]) -> Iterator[Dial]:
    """Those of ``keys`` that have a value."""
    tick = float(world.instrument.tick_size)
    for key in keys:
        was, (name, _, tf) = world.feature(key), key.partition("@")
        if math.isnan(was):
            continue

        def turn(value: float, key: str = key) -> World:
            return world.with_feature(key, value)

        if any(part in name for part in _SHARES):
            yield Dial(key, "", was, 0.0, 1.0, 0.001, _TENTH, turn)
        elif name in _BOUNDS:
            low, high, step, scale, unit = _BOUNDS[name]
            yield Dial(key, unit, was, min(low, was), max(high, was), step, scale, turn)
        elif name == "atr":
            yield Dial(key, "USD", was, tick, was * 10.0, tick, was, turn)
        else:
            yield Dial(key, "USD", was, was * 0.5, was * 2.0, tick, _price_unit(world, tf, was), turn)


def _price_unit(world: World, tf: str, price: float) -> float:
    """The ATR of ``tf``; where it is not known, or there is none, the finest that is, and at the worst a percent."""
    names = (tf, *(one.value for one in sorted(Timeframe, key=lambda one: one.ms)))
    known = (world.feature(f"atr@{name}") for name in names if name)
    return next((atr for atr in known if atr > 0.0), price / 100.0)


def _of_close(world: World) -> Iterator[Dial]:
    was, tick = float(world.context.market.last_close[world.index]), float(world.instrument.tick_size)
    if was > 0.0:
        scale = _price_unit(world, "", was)
        yield Dial("close of the base bar", "USD", was, was * 0.5, was * 2.0, tick, scale, world.with_close)


def _of_book(world: World) -> Iterator[Dial]:
    market = world.context.market
    book = market.book(world.index, world.state["event"].ts)
    if book is None or not market.last_close[world.index] > 0.0:
        return
    spread, depth, one = book.spread_bps, book.depth_usd, world.instrument
    most = max(200.0, spread)
    yield Dial("spread", "bps", spread, 0.0, most, 0.01, one.max_spread_bps, lambda value: world.with_book(value, depth))
    least = one.min_depth_usd or depth or 1.0
    yield Dial("depth", "USD", depth, 1.0, max(1.0, depth) * 10.0, 1.0, least, lambda value: world.with_book(spread, value))


def _of_governor(world: World) -> Iterator[Dial]:
    view, limits = world.state["status"].governor, world.context.config.governance
    if not (math.isfinite(view.equity) and math.isfinite(view.room_usd)):
        return
    yield from _of_equity(world)
    most, base = limits.per_trade_r_pct_max, limits.per_trade_r_pct_base
    yield Dial(
        "risk a trade may take", "% of equity", view.r_pct, 0.0, most, 0.001, base, lambda value: world.with_governor(r_pct=value)
    )
    yield Dial(
        "room to the worst case",
        "USD",
        view.room_usd,
        min(0.0, view.room_usd),
        max(view.equity, view.room_usd),
        0.01,
        max(0.01, base / 100.0 * view.equity),
        lambda value: world.with_governor(room_usd=value),
    )


def _of_equity(world: World) -> Iterator[Dial]:
    view, limits = world.state["status"].governor, world.context.config.governance
    if math.isfinite(view.equity):
        scale = max(0.01, abs(view.equity) * limits.max_daily_loss_pct / 100.0)
        yield Dial("equity", "USD", view.equity, 0.01, max(1.0, view.equity) * _MOST_EQUITY, 0.01, scale, world.with_equity)


def _of_management(world: World, position: Position) -> Iterator[Dial]:
    """What may move a stop or close a position: the ATR of the trail, its age, funding."""
    yield from features(world, (f"atr@{position.plan.trail.tf.value}",))
    plan, ts, base = position.plan, world.state["event"].ts, world.context.market.base_tf[world.index].ms
    age, life = (ts - position.opened_ts) / _MINUTE_MS, max(base, plan.time_stop_ts - plan.ts) / _MINUTE_MS
    yield Dial(
        "age of the position",
        "min",
        age,
        0.0,
        max(age, life) + life,
        base / _MINUTE_MS,
        life,
        lambda value: world.with_time_stop(plan.time_stop_ts - round((value - age) * _MINUTE_MS)),
    )
    if plan.strategy in world.context.funding_exits:
        yield from features(world, ("funding", "funding_below" if position.side is Side.SHORT else "funding_above"))


def _of_kill_switch(world: World) -> Iterator[Dial]:
    if world.context.config.governance.kill_switch_action == "flatten":
        yield from _of_equity(world)
        now, limit = world.state["status"].governor, world.context.config.governance.kill_switch_drawdown_72h
        yield Dial("drawdown in 72 h", "%", now.dd_72h_pct, 0.0, 100.0, 0.001, limit, world.with_drawdown)


# --- what moves together ------------------------------------------------------------------------------------


def others_of(world: World, idea: Idea, decided: Decided) -> tuple[str, ...]:
    """Symbols in which something is open, on its way, or was admitted on this bar before the idea's own turn."""
    judged = decided.judged_of(idea)
    found = list(world.context.ledger.positions)
    if judged is not None:
        found += [one.symbol for one in (*judged.view.positions, *judged.view.pending)]
    return tuple(sorted(set(found) - {idea.symbol}))


def weakest_pair(world: World) -> tuple[str, str, float] | None:
    """The pair of all symbols that moves together least; None where there is no pair. An unknown correlation counts as 0."""
    between = world.context.correlations.between
    pairs = [(one, other, between(one, other) or 0.0) for one, other in combinations(world.context.market.symbols, 2)]
    return min(pairs, key=lambda pair: abs(pair[2]), default=None)


def _of_correlation(world: World, others: tuple[str, ...]) -> Iterator[Dial]:
    own = [(world.symbol, other) for other in others]
    weakest = weakest_pair(world)
    if others and weakest is not None and set(weakest[:2]) not in [set(pair) for pair in own]:
        own.append(weakest[:2])
    for one, other in own:
        rho = world.context.correlations.between(one, other)
        if rho is not None:
            yield Dial(
                f"correlation of {one} and {other}",
                "",
                rho,
                -1.0,
                1.0,
                0.001,
                2 * _TENTH,
                lambda value, one=one, other=other: world.with_pair(one, other, value),  # type: ignore[misc]
            )


# --- what is no number --------------------------------------------------------------------------------------


def switches_of(world: World, idea: Idea, decided: Decided) -> list[Switch]:
    """The inputs that are no numbers: trading state, health, label, calendar, rest, flags, all else that is open or planned."""
    found = list(_trading_state(world))
    if idea.move is not None:
        return found
    found.extend(_health(world))
    if idea.kind is PlanKind.ENTRY:
        found.extend(_of_entry(world, idea, decided))
    if world.context.market.flags[world.index]:
        found.append(Switch("flags of the bar", "flagged", (("clean", world.with_clean_bar()),)))
    found.extend(_in_the_way(world, idea, decided))
    return found


def _of_entry(world: World, idea: Idea, decided: Decided) -> Iterator[Switch]:
    yield _regime(world, idea)
    ts = world.state["event"].ts
    answers: dict[str, bool | None] = {"clear": True, "in a blackout window": False, "not reviewed": None}
    said = world.context.calendar.status(ts, world.symbol)
    was = next(name for name, answer in answers.items() if answer is said)
    yield Switch("news calendar", was, tuple((name, world.with_news(one)) for name, one in answers.items() if name != was))
    if world.context.cooldowns.blocked(idea.strategy, ts):
        yield Switch("rest of the strategy", "resting", (("not resting", world.without_rest()),))
    for other in others_of(world, idea, decided):
        if world.context.correlations.between(world.symbol, other) is None:
            yield Switch(f"correlation of {world.symbol} and {other}", "not known", (("0", world.with_rho(other, 0.0)),))


def _regime(world: World, idea: Idea) -> Switch:
    regimes = world.state["regimes"]
    held = regimes.h4[world.index] if idea.strategy in CARRIED_BY_H4 else regimes.h1[world.index]
    others = tuple(
        (label.value, world.with_regime(label)) for label in REGIME_CODES if label is not held and label is not Regime.UNKNOWN
    )
    return Switch("regime", held.value, others)


def _trading_state(world: World) -> Iterator[Switch]:
    view = world.state["status"].governor
    if view.state is TradingState.ACTIVE:
        return
    causes = [
        name
        for name, holds in (
            ("kill-switch", view.kill_switch),
            ("day lock", view.day_lock),
            ("limits changed", view.governance_changed),
        )
        if holds
    ]
    was = f"{view.state.value} ({', '.join(causes) or 'equity not known'})"
    yield Switch("trading state", was, (("active", world.with_no_lock()),), equity_against_limits(world))


def equity_against_limits(world: World) -> str:
    """The numbers behind the locks."""
    view, limits = world.state["status"].governor, world.context.config.governance
    day = view.day_start_equity * (1.0 - limits.max_daily_loss_pct / 100.0)
    peak = view.peak_72h * (1.0 - limits.kill_switch_drawdown_72h / 100.0)
    return (
        f"equity {view.equity:.2f} USD; the day locks at {day:.2f} ({limits.max_daily_loss_pct:g} % below "
        f"{view.day_start_equity:.2f}), the kill-switch is pulled at {peak:.2f} ({limits.kill_switch_drawdown_72h:g} % below the "
        f"72 h peak {view.peak_72h:.2f})"
    )


def _health(world: World) -> Iterator[Switch]:
    health = world.state["status"].health
    own: list[RefusalCode] = [code for symbol, code in health.blocked if symbol == world.symbol]
    codes = list(dict.fromkeys([*health.paused, *own]))
    if codes:
        evidence = [pair for code in codes for pair in world.context.market.health.evidence(world.index, code)]
        note = ", ".join(f"{name} {value}" for name, value in evidence)
        yield Switch("health gates", ", ".join(code.value for code in codes), (("nothing amiss", world.with_health()),), note)


def _in_the_way(world: World, idea: Idea, decided: Decided) -> Iterator[Switch]:
    """Positions, entries on their way, and the plans that were admitted on this bar before the idea's turn."""
    entry = idea.kind is PlanKind.ENTRY
    positions, pending = world.context.ledger.positions, world.context.orders.pending()
    for name in positions:
        if entry or name != world.symbol:
            yield Switch(f"position in {name}", "open", (("flat", world.without_symbol(name)),))
    for name in dict.fromkeys(plan.symbol for plan in pending if plan.symbol not in positions):
        yield Switch(f"order on its way in {name}", "on its way", (("none", world.without_symbol(name)),))
    for plan in (one.plan for one in before(decided, idea)):
        yield Switch(f"plan {plan.id} of this bar", "admitted", (("not made", world.without_plan(plan.id)),))


def before(decided: Decided, idea: Idea) -> list[Judged]:
    """Plans that were admitted on this bar before the idea's own was judged."""
    own = decided.judged_of(idea)
    earlier = decided.judged if own is None else decided.judged[: decided.judged.index(own)]
    return [one for one in earlier if one.verdict.ok]


# --- which features -----------------------------------------------------------------------------------------


def keys_of(rule: tuple[str, ...], higher: Timeframe | None, tf: Timeframe | None) -> tuple[str, ...]:
    """Features that an entry rests on: the rule's, the score's, and the rank that cuts risk."""
    keys = list(rule)
    if higher is not None:
        keys += [f"ema50@{higher.value}", f"ema50_prev@{higher.value}"]
    if tf is not None:
        keys += [f"{name}@{tf.value}" for name in ("volume_z", "close_location", "atr_rank", "atr_rank480")]
    return tuple(dict.fromkeys(keys))


async def flips_for(
    world: World, idea: Idea, decided: Decided, rule: tuple[str, ...], tf: Timeframe | None, nodes: Mapping[str, Node]
) -> tuple[Flip, ...]:
    """The flip of every input that ``idea`` rests on, nearest first; ``rule`` are the features of its rule on ``tf``."""

    async def ask(other: World) -> Fate:
        return fate_of(idea, await decide(other, nodes))

    keys = keys_of(rule, HIGHER_TIMEFRAME.get(idea.strategy), tf)
    dials, switches = dials_of(world, idea, keys, decided), switches_of(world, idea, decided)
    return await nearest_flips(dials, switches, ask, fate_of(idea, decided))
