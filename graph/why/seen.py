"""What a decision saw: the bar, the features, the regime, the rule; and what was missing."""

from __future__ import annotations

import math
from decimal import Decimal

from core.clock import rfc3339
from core.regimes import CARRIED_BY_H4
from core.types import Adjustment, ExitReason, Meta, PlanKind, RegimeView, ScoredSignal, Side, Timeframe
from graph.why.asif import World, flags_of
from graph.why.model import Line, Missing, Step, Value
from graph.why.records import Subject

_REGIME_INPUTS = ("adx", "slope", "close", "ema200", "atr_rank", "shock", "ret6_pct", "hi72")


# --- what was seen ------------------------------------------------------------------------------------------


def seen(world: World, subject: Subject) -> Step:
    """The bar and the features that the rule and the score looked at."""
    ts = world.state["event"].ts
    lines = [
        Line("decided at", rfc3339(ts), "", "close of the bar"),
        Line("base bar close", float(world.context.market.last_close[world.index]), "USD", f"flags: {flags_of(world)}"),
    ]
    tf = subject.tf
    if tf is not None:
        series = world.context.market.feed.store.rings[tf].last(world.index, 1).bars
        if len(series):
            named = zip(("open", "high", "low", "close", "volume"), series[1:], strict=True)
            lines += [Line(f"{name}@{tf.value}", float(values[-1])) for name, values in named]
    keys = () if subject.strategy not in world.context.strategies else world.context.strategies[subject.strategy].required
    own = keys_of_rule(keys, subject)
    lines += [Line(key, _number(world.feature(key)), "", "feature of the rule") for key in own]
    lines += _book_lines(world)
    return Step("bar and features", f"{subject.symbol} at {rfc3339(ts)}, {len(own)} features of the rule", tuple(lines))


def _book_lines(world: World) -> list[Line]:
    market = world.context.market
    book = market.book(world.index, world.state["event"].ts)
    if book is None:
        return [Line("book", None, "", "missing or stale")]
    note = "modelled from symbols.yaml, not measured" if book.modelled else f"book of {rfc3339(book.ts)}"
    return [
        Line("spread", round(book.spread_bps, 9), "bps", note),
        Line("depth", book.depth_usd, "USD", "within 0.1 % of the middle"),
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def regime(world: World, subject: Subject) -> Step:
    """The held label on both carriers, how long it has been held, and the numbers of the one that gates the strategy."""
    view: RegimeView = world.context.regimes.view(world.index)
    carried = Timeframe.H4 if subject.strategy in CARRIED_BY_H4 else Timeframe.H1
    held, bars = (view.h4, view.h4_bars) if carried is Timeframe.H4 else (view.h1, view.h1_bars)
    p = world.context.config.strategies.regimes
    why = {
        "adx": f"trend from {p.adx_enter:g}, until below {p.adx_leave:g}",
        "slope": f"trend from ±{p.slope_enter:g}, until inside ±{p.slope_leave:g} ATR",
        "ema200": "trend_up above, trend_down below",
        "atr_rank": f"range_highvol from {p.rank_high_enter:g}, until below {p.rank_high_leave:g}",
        "shock": f"panic at {p.shock_sigma:g} sigma with ret6_pct at {p.shock_return_pct:g} %",
        "hi72": f"panic at {p.crash_dd72_pct:g} % below it with atr_rank from {p.crash_rank:g}",
    }
    keys = [(name, f"{name}@{carried.value}") for name in _REGIME_INPUTS]
    lines = [
        Line("1h label", view.h1.value, "", f"held {view.h1_bars} bars"),
        Line("4h label", view.h4.value, "", f"held {view.h4_bars} bars"),
        Line("confirmation", p.confirm_bars, "bars", "a new label is held after so many on end; panic at once"),
        *(Line(key, _number(world.feature(key)), "", why.get(name, "")) for name, key in keys),
    ]
    return Step(
        "regime",
        f"{held.value}, held for {bars} {carried.value} bars ({carried.value} gates {subject.strategy or 'it'})",
        tuple(lines),
    )


def rule(world: World, subject: Subject) -> Step:
    """The entry rule that fired, with its numbers as they were."""
    if subject.signal is None:
        said = "an add: its rule is the open profit" if subject.plan_kind is PlanKind.ADD else "no rule fired"
        return Step("rule", said)
    signal = subject.signal
    params = getattr(world.context.config.strategies, subject.strategy, None)
    lines = [Line("signal", signal.id, "", f"valid until {rfc3339(signal.validity_ts)}")]
    lines += [Line(name, plain_value(value)) for name, value in signal.meta]
    if params is not None:
        lines += [
            Line(f"{subject.strategy}.{name}", plain_value(value), "", "strategies.yaml")
            for name, value in params.model_dump().items()
        ]
    return Step("rule", f"{signal.strategy} {signal.side.value}: {signal.reason}", tuple(lines))


def plain_value(value: object) -> Value:
    """A parameter as a value of the chain."""
    return value if value is None or isinstance(value, str | int | float | Decimal) else str(value)


def seen_by_move(world: World, move: Adjustment) -> Meta:
    """What a close rests on that its own record does not name: funding, time, equity against its peak."""
    position, governor = world.context.ledger.positions.get(move.symbol), world.state["status"].governor
    if move.reason is ExitReason.KILL_SWITCH:
        return (("equity", governor.equity), ("peak_72h", governor.peak_72h))
    if position is None or move.new_stop is not None:
        return ()
    if move.reason is ExitReason.FUNDING_NORMAL:
        share = "funding_below" if position.side is Side.SHORT else "funding_above"
        return (("funding", world.feature("funding")), (share, world.feature(share)))
    return (("open since", rfc3339(position.opened_ts)), ("now", rfc3339(move.ts)))


# --- what was missing ---------------------------------------------------------------------------------------


def missing(world: World, subject: Subject, scored: ScoredSignal | None) -> tuple[Missing, ...]:
    """Inputs that were absent, stale or only modelled, and how each was taken."""
    health = world.state["status"].health
    unknown = [part for part in (() if scored is None else scored.parts) if not part.known]
    blocked = [code for symbol, code in health.blocked if symbol == subject.symbol]
    found = [
        *(Missing(one.name, "input of the score not known", f"{one.points:g} of {one.max_points:g} points") for one in unknown),
        *(Missing(code.value, code.meaning, "all entries pause") for code in health.paused),
        *(Missing(code.value, code.meaning, "no entry in this symbol") for code in blocked),
    ]
    if health.drift_ms is None:
        found.append(Missing("clock drift", "not measured", "CLOCK_DRIFT pauses entries where a source has a clock"))
    book = world.context.market.book(world.index, world.state["event"].ts)
    if book is None:
        found.append(Missing("book", "missing or older than two base bars", "no plan is made"))
    elif book.modelled:
        found.append(Missing("book", "the source has none", "spread and depth of symbols.yaml stand in"))
    strategy = world.context.strategies.get(subject.strategy)
    ready = world.context.market.features.ready
    unready = [
        key for key in (() if strategy is None else keys_of_rule(strategy.required, subject)) if not ready[key][world.index]
    ]
    found += [Missing(key, "not known yet", "the rule says nothing") for key in unready]
    rank = next(
        (name for name in ("atr_rank", "atr_rank480") if subject.tf and _known(world, f"{name}@{subject.tf.value}")), None
    )
    if subject.tf is not None and rank is None:
        found.append(Missing(f"ATR rank of {subject.tf.value}", "not known", "counts as high: risk is cut"))
    return tuple(found)


def _known(world: World, key: str) -> bool:
    return not math.isnan(world.feature(key))


def keys_of_rule(required: tuple[str, ...], subject: Subject) -> tuple[str, ...]:
    """Features of the rule on the frame in question: a strategy may have a frame for each base timeframe."""
    if subject.signal is None:
        return required
    own = dict(subject.signal.meta)
    return tuple(key for key in required if key in own)
