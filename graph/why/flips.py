"""The nearest flip: by how much each input alone would have had to differ for the decision to turn.

Found by running the deciding nodes again: outwards from what was, in growing steps, until the decision turns, then inwards by
bisection to the input's own precision. What turns and turns back between two of the growing steps is not seen. Every flip is
run once more at the value that is told, and one step nearer.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.codes import RefusalCode
from core.regimes import CARRIED_BY_H4
from core.types import REGIME_CODES, PlanKind, Regime, Timeframe
from graph.why.asif import Fate, Idea, World
from graph.why.model import Flip, Value

Ask = Callable[[World], Awaitable[Fate]]
_RUNGS = 24
"""Growing steps on each side."""


@dataclass(frozen=True, slots=True)
class Dial:
    """An input that is a number. ``low`` to ``high`` is the range in which a flip is looked for, ``step`` its precision."""

    name: str
    unit: str
    was: float
    low: float
    high: float
    step: float
    turn: Callable[[float], World]


@dataclass(frozen=True, slots=True)
class Switch:
    """An input with a few values: what it was, and the others with the world in which they hold."""

    name: str
    was: str
    others: tuple[tuple[str, World], ...]


async def nearest_flips(dials: list[Dial], switches: list[Switch], ask: Ask, now: Fate) -> tuple[Flip, ...]:
    """A flip for each input, those that turn the decision first, by how far they would have had to go."""
    found = [(await _flip(dial, ask, now)) for dial in dials]
    found += [await _other(switch, ask, now) for switch in switches]
    return tuple(flip for _, flip in sorted(found, key=lambda pair: pair[0]))


async def _other(switch: Switch, ask: Ask, now: Fate) -> tuple[float, Flip]:
    names = " or ".join(name for name, _ in switch.others)
    for name, world in switch.others:
        fate = await ask(world)
        if fate.done != now.done:
            return 0.5, Flip(switch.name, "", switch.was, name, f"{name} instead of {switch.was}", names, "", fate.words, True)
    return math.inf, Flip(switch.name, "", switch.was, None, "none within its range", names, "", now.words, True)


async def _flip(dial: Dial, ask: Ask, now: Fate) -> tuple[float, Flip]:
    decimals = max(0, -math.floor(math.log10(dial.step)))
    within = f"{dial.low:.{decimals}f} to {dial.high:.{decimals}f}"
    best: tuple[float, float, Fate] | None = None
    for edge in (dial.low, dial.high):
        found = await _outwards(dial, edge, ask, now)
        if found is not None and (best is None or abs(found[0] - dial.was) < abs(best[1] - dial.was)):
            best = (abs(found[0] - dial.was), *found)
    if best is None:
        return math.inf, Flip(dial.name, dial.unit, dial.was, None, "none within its range", within, dial.step, now.words, True)
    _, needed, fate = best
    nearer = _value(dial, _grid(dial, needed) - round(math.copysign(1, needed - dial.was)))
    stays = abs(nearer - dial.was) < dial.step or (await ask(dial.turn(nearer))).done == now.done
    turned = (await ask(dial.turn(needed))).done != now.done
    change = f"{needed - dial.was:+.{decimals}f} {dial.unit}".strip()
    far = abs(needed - dial.was) / max(abs(dial.was), dial.step)
    return far, Flip(dial.name, dial.unit, dial.was, needed, change, within, dial.step, fate.words, turned and stays)


async def _outwards(dial: Dial, edge: float, ask: Ask, now: Fate) -> tuple[float, Fate] | None:
    """The value nearest to what was, towards ``edge``, at which the decision turns: on the grid of ``step``."""
    inside = dial.was
    for value in _rungs(dial, edge):
        fate = await ask(dial.turn(value))
        if fate.done != now.done:
            return await _inwards(dial, inside, value, fate, ask, now)
        inside = value
    return None


async def _inwards(dial: Dial, inside: float, outside: float, fate: Fate, ask: Ask, now: Fate) -> tuple[float, Fate]:
    low, high = _grid(dial, inside), _grid(dial, outside)
    while abs(high - low) > 1:
        middle = (low + high) // 2
        there = await ask(dial.turn(_value(dial, middle)))
        if there.done == now.done:
            low = middle
        else:
            high, fate = middle, there
    return _value(dial, high), fate


def _rungs(dial: Dial, edge: float) -> Iterator[float]:
    """Values from what was to ``edge``, each further from the last, on the grid, none twice."""
    reach = abs(edge - dial.was)
    if reach < dial.step:
        return
    growth = (reach / dial.step) ** (1.0 / (_RUNGS - 1))
    last = _grid(dial, dial.was)
    for rung in range(_RUNGS):
        place = _grid(dial, dial.was + math.copysign(min(reach, dial.step * growth**rung), edge - dial.was))
        if place != last:
            last = place
            yield _value(dial, place)


def _grid(dial: Dial, value: float) -> int:
    return round(value / dial.step)


def _value(dial: Dial, place: int) -> float:
    """The number as a person writes it, so that what is told is what was run: 40613.1, not 40613.100000000006."""
    return float(Decimal(repr(dial.step)) * place)


# --- which inputs there are ---------------------------------------------------------------------------------

_SHARES = ("rank", "funding_below", "funding_above", "close_location")
_BOUNDS: dict[str, tuple[float, float, float, str]] = {
    "rsi": (0.0, 100.0, 0.01, ""),
    "adx": (0.0, 100.0, 0.01, ""),
    "slope": (-20.0, 20.0, 0.001, "ATR"),
    "volume_z": (-10.0, 20.0, 0.001, "sigma"),
    "funding": (-0.03, 0.03, 1e-6, ""),
    "funding_age_h": (0.0, 24.0, 0.01, "h"),
    "basis": (-0.05, 0.05, 1e-6, ""),
}


def dials_of(world: World, idea: Idea, keys: tuple[str, ...]) -> list[Dial]:
    """The numbers that the decision rests on: features by ``keys``, the book, the governor's word, correlation."""
    if idea.manage:
        return [*_features(world, keys), *_of_close(world)]
    entry = idea.kind is PlanKind.ENTRY
    dials = [*(_features(world, keys) if entry else _of_close(world)), *_of_book(world), *_of_governor(world)]
    others = [name for name in world.context.ledger.positions if name != world.symbol]
    rhos = [world.context.correlations.between(world.symbol, name) for name in others]
    known = [abs(rho) for rho in rhos if rho is not None]
    if known and len(known) == len(others) and entry:
        dials.append(Dial("correlation to what is open", "", max(known), 0.0, 1.0, 0.001, world.with_rho))
    return dials


def _features(world: World, keys: tuple[str, ...]) -> Iterator[Dial]:
    tick = float(world.instrument.tick_size)
    for key in keys:
        was, name = world.feature(key), key.partition("@")[0]
        if math.isnan(was):
            continue

        def turn(value: float, key: str = key) -> World:
            return world.with_feature(key, value)

        if any(part in name for part in _SHARES):
            yield Dial(key, "", was, 0.0, 1.0, 0.001, turn)
        elif name in _BOUNDS:
            low, high, step, unit = _BOUNDS[name]
            yield Dial(key, unit, was, min(low, was), max(high, was), step, turn)
        elif name == "atr":
            yield Dial(key, "USD", was, tick, was * 10.0, tick, turn)
        else:
            yield Dial(key, "USD", was, was * 0.5, was * 2.0, tick, turn)


def _of_close(world: World) -> Iterator[Dial]:
    was, tick = float(world.context.market.last_close[world.index]), float(world.instrument.tick_size)
    if was > 0.0:
        yield Dial("close of the base bar", "USD", was, was * 0.5, was * 2.0, tick, world.with_close)


def _of_book(world: World) -> Iterator[Dial]:
    market = world.context.market
    book = market.book(world.index, int(market.last_ts[world.index]))
    if book is None or not market.last_close[world.index] > 0.0:
        return
    spread, depth = book.spread_bps, book.depth_usd
    yield Dial("spread", "bps", spread, 0.0, max(200.0, spread), 0.01, lambda value: world.with_book(value, depth))
    yield Dial("depth", "USD", depth, 1.0, depth * 10.0, 1.0, lambda value: world.with_book(spread, value))


def _of_governor(world: World) -> Iterator[Dial]:
    view = world.state["status"].governor
    if not (math.isfinite(view.equity) and math.isfinite(view.room_usd)):
        return
    most = world.context.config.governance.per_trade_r_pct_max
    yield Dial("equity", "USD", view.equity, 0.01, max(1e6, view.equity), 0.01, lambda value: world.with_governor(equity=value))
    yield Dial(
        "risk a trade may take", "% of equity", view.r_pct, 0.0, most, 0.001, lambda value: world.with_governor(r_pct=value)
    )
    yield Dial(
        "room to the worst case",
        "USD",
        view.room_usd,
        min(0.0, view.room_usd),
        max(view.equity, view.room_usd),
        0.01,
        lambda value: world.with_governor(room_usd=value),
    )


def switches_of(world: World, idea: Idea) -> list[Switch]:
    """The inputs that are no numbers: label, calendar, rest, owner, health, flags, what is open elsewhere."""
    if idea.manage:
        return []
    found = [_regime(world, idea)] if idea.kind is PlanKind.ENTRY else []
    ts = world.state["event"].ts
    answers: dict[str, bool | None] = {"clear": True, "in a blackout window": False, "not reviewed": None}
    said = world.context.calendar.status(ts, world.symbol)
    was = next(name for name, answer in answers.items() if answer is said)
    others = tuple((name, world.with_news(answer)) for name, answer in answers.items() if name != was)
    if idea.kind is PlanKind.ENTRY:
        found.append(Switch("news calendar", was, others))
    if world.context.cooldowns.blocked(idea.strategy, ts):
        found.append(Switch("rest of the strategy", "resting", (("not resting", world.without_rest()),)))
    found.extend(_health(world))
    if world.context.market.flags[world.index]:
        found.append(Switch("flags of the bar", "flagged", (("clean", world.with_clean_bar()),)))
    held = [name for name in world.context.ledger.positions if name != world.symbol or idea.kind is PlanKind.ENTRY]
    found.extend(Switch(f"position in {name}", "open", (("flat", world.without_symbol(name)),)) for name in held)
    return found


def _regime(world: World, idea: Idea) -> Switch:
    regimes = world.state["regimes"]
    held = regimes.h4[world.index] if idea.strategy in CARRIED_BY_H4 else regimes.h1[world.index]
    others = tuple(
        (label.value, world.with_regime(label)) for label in REGIME_CODES if label is not held and label is not Regime.UNKNOWN
    )
    return Switch("regime", held.value, others)


def _health(world: World) -> Iterator[Switch]:
    health = world.state["status"].health
    own: list[RefusalCode] = [code for symbol, code in health.blocked if symbol == world.symbol]
    codes = [code.value for code in (*health.paused, *own)]
    if codes:
        yield Switch("health gates", ", ".join(codes), (("nothing amiss", world.with_health()),))


def keys_of(rule: tuple[str, ...], higher: Timeframe | None, tf: Timeframe | None) -> tuple[str, ...]:
    """Features that an entry rests on: the rule's, the score's, and the rank that cuts risk."""
    keys = list(rule)
    if higher is not None:
        keys += [f"ema50@{higher.value}", f"ema50_prev@{higher.value}"]
    if tf is not None:
        keys += [f"{name}@{tf.value}" for name in ("volume_z", "close_location", "atr_rank", "atr_rank480")]
    return tuple(dict.fromkeys(keys))


def told(flips: tuple[Flip, ...]) -> str:
    """The nearest flip in one sentence."""
    turning = [flip for flip in flips if flip.needed is not None]
    if not flips:
        return "there is no input that could be looked at"
    if not turning:
        return f"none: no single one of {len(flips)} inputs turns it within its range"
    first = turning[0]
    return f"{first.name}: {said(first.was)} → {said(first.needed)} {first.unit}".rstrip() + f" ({first.gives})"


def said(value: Value) -> str:
    """A value for people: floats to eight figures."""
    return f"{value:.8g}" if isinstance(value, float) else str(value)
