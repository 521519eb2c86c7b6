"""Why nothing was done in a symbol on a day: the funnel from bars to fills, the gates, and the nearest misses.

A near miss is found by running the entry rule again with one feature changed. Where more than one condition failed no single
feature makes the rule fire, and the bar is only counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from hashlib import sha256

from core.clock import rfc3339
from core.errors import StateError
from core.journal.reader import JournalReader
from core.strategies.base import MarketSnapshot, Strategy
from core.types import Refusal, Side, Timeframe
from graph.exit_codes import UsageError
from graph.explanations import did_you_mean
from graph.opening import configuration_of, info_of
from graph.replaying import Differs
from graph.rerun import Rerun, standing_before
from graph.why.asif import Decided, Fate, Idea, World, decide, fate_of
from graph.why.chart import Window, chart_of, windows
from graph.why.flips import Dial, dials_of, nearest_flips, said
from graph.why.gates import gates_in_turn
from graph.why.model import MOST_REASONS, Flip, Line, Mark, Missing, Proof, Reason, Step, Verdict, Why
from graph.why.onlooker import Onlooker
from graph.why.reasons import reason_of
from graph.why.records import Kind, Records, Subject
from graph.why.verdict import mode_of
from tools.context import BrainContext
from tools.state import BrainState

_MISSES_TOLD = 8


@dataclass(frozen=True, slots=True)
class Miss:
    """A bar at which one feature alone kept a rule from firing; ``far`` is the distance in parts of the feature's scale."""

    far: float
    ts: int
    strategy: str
    side: Side
    flip: Flip


@dataclass(slots=True)
class _Day:
    """What was seen of a symbol in a day."""

    bars: int = 0
    looks: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    several: Counter[str] = field(default_factory=Counter)
    misses: list[Miss] = field(default_factory=list)
    signals: int = 0
    scored: int = 0
    planned: int = 0
    sent: int = 0
    first: Counter[str] = field(default_factory=Counter)
    also: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Reason] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)


class _Watcher(Onlooker):
    """Counts what becomes of every bar of one symbol."""

    def __init__(self, symbol: str) -> None:
        super().__init__()
        self.symbol = symbol
        self.day = _Day()

    async def look(self, state: BrainState, context: BrainContext) -> None:
        world = World.at(state, context, context.market.index[self.symbol])
        if int(context.market.last_ts[world.index]) != context.market.closed.ts:
            return
        self.day.bars += 1
        decided = await decide(world, self.apart)
        for strategy in context.strategies.values():
            await self._rule(world, strategy)
        await self._signals(world, decided)

    async def _rule(self, world: World, strategy: Strategy) -> None:
        snapshot = _snapshot(world)
        tfs = [tf for tf in strategy.tfs if tf in snapshot.closed and world.index in snapshot.closed[tf]]
        if not tfs or any(one.symbol == self.symbol for one in strategy.abstaining(snapshot)):
            self.day.silent[strategy.name] += bool(tfs)
            return
        self.day.looks[strategy.name] += 1
        if _fires(strategy, snapshot, self.symbol) is not None:
            return
        found = [miss for side in Side if (miss := await _nearest_miss(world, strategy, tfs[0], side)) is not None]
        self.day.misses += sorted(found, key=lambda miss: miss.far)[:1]
        self.day.several[strategy.name] += not found

    async def _signals(self, world: World, decided: Decided) -> None:
        day, config = self.day, world.context.config
        for scored in decided.selection.scored:
            signal = scored.signal
            if signal.symbol != self.symbol:
                continue
            day.signals += 1
            day.scored += bool(scored.parts)
            idea = Idea(signal.symbol, signal.strategy, signal.side)
            fate = fate_of(idea, decided)
            stopped: tuple[Refusal, ...] = () if fate.done else await gates_in_turn(idea, world, self.apart, MOST_REASONS)
            for counter, some in ((day.first, stopped[:1]), (day.also, stopped[1:])):
                for refusal in some:
                    counter[refusal.code.value] += 1
                    day.reasons[refusal.code.value] = reason_of(refusal, config)
            day.planned += any(plan.signal_id == signal.id for plan in decided.risk.plans)
            day.sent += fate.done
            others = ", ".join(refusal.code.value for refusal in stopped[1:])
            score = f"score {scored.score:g} of {scored.threshold:g}" if scored.parts else "not scored"
            note = f"{score}; {signal.reason}" + (f"; then also {others}" if others else "")
            day.lines.append(Line(signal.id, fate.words, "", note))
            day.marks.append(Mark("signal", signal.ts, signal.entry, f"{signal.side.value} {signal.strategy}: {fate.words}"))


def _snapshot(world: World) -> MarketSnapshot:
    market = world.context.market
    return MarketSnapshot(
        ts=market.closed.ts,
        symbols=market.symbols,
        closed={block.tf: block.idx for block in market.closed.blocks},
        features=market.features.view,
        ready=market.features.ready,
        flags=market.flags,
        base_tf=market.base_tf,
        block_flags={block.tf: block.flags for block in market.closed.blocks},
    )


def _fires(strategy: Strategy, snapshot: MarketSnapshot, symbol: str) -> Side | None:
    return next((signal.side for signal in strategy.generate(snapshot) if signal.symbol == symbol), None)


async def _nearest_miss(world: World, strategy: Strategy, tf: Timeframe, side: Side) -> Miss | None:
    """The smallest change of one feature that makes the rule say ``side``."""

    async def ask(other: World) -> Fate:
        return Fate(_fires(strategy, _snapshot(other), other.symbol) is side, f"{strategy.name} {side.value}")

    idea = Idea(world.symbol, strategy.name, side)
    keys = tuple(key for key in strategy.required if key in _own(strategy, tf) and not key.startswith("atr@"))
    dials = [dial for dial in dials_of(world, idea, keys) if dial.name in keys]
    atr = world.feature(f"atr@{tf.value}")
    flips = await nearest_flips(dials, [], ask, Fate(False, "no signal"))
    by_name = {dial.name: dial for dial in dials}
    found = [(_far(flip, by_name[flip.name], atr), flip) for flip in flips if flip.needed is not None and flip.verified]
    if not found:
        return None
    far, flip = min(found, key=lambda pair: pair[0])
    return Miss(far, world.state["event"].ts, strategy.name, side, flip)


def _own(strategy: Strategy, tf: Timeframe) -> set[str]:
    """Features of the rule on ``tf``: where a rule has a frame for each base, those of the other frame play no part."""
    frames = [f"close@{other.value}" for other in strategy.tfs if other is not tf]
    foreign = {key.partition("@")[2] for key in frames}
    return {key for key in strategy.required if key.partition("@")[2] not in foreign}


def _far(flip: Flip, dial: Dial, atr: float) -> float:
    gap = abs(float(str(flip.needed)) - dial.was)
    return gap / atr if dial.unit == "USD" else gap / (dial.high - dial.low)


# --- the day ------------------------------------------------------------------------------------------------


async def why_nothing(reader: JournalReader, records: Records, symbol: str, day: date) -> Why:
    """Why nothing, or so little, was done in ``symbol`` on ``day``: the trading day of the session's governance.

    Raises:
        StateError: the session has no bar of that day, or the journal cannot be read there.
        UsageError: the session does not have the symbol.
    """
    opening = reader.opening()
    info, config = info_of(opening), configuration_of(opening)
    if symbol not in info.symbols:
        near = did_you_mean(symbol, info.symbols) or info.symbols
        raise UsageError(
            f"the session does not have {symbol}; it has {', '.join(info.symbols)}",
            help=f"brain why --none {near[0]} --on {day.isoformat()}",
        )
    zone = config.governance.zone
    since = round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
    after = day + timedelta(days=1)
    until = round(datetime(after.year, after.month, after.day, tzinfo=zone).timestamp() * 1000)
    first, last = records.bar_after(since + 1), records.bar_after(until + 1)
    if first == last:
        raise StateError(f"the session has no bars on {day.isoformat()} ({zone})", help="brain sessions", code="JRN-008")
    watcher = _Watcher(symbol)
    with standing_before(reader, first, watcher) as rerun:
        difference = await _watch(rerun, watcher, first, last)
    subject = Subject(f"none-{symbol}-{day.isoformat()}", Kind.SIGNAL, since, symbol, "")
    shown = windows(reader, info, (symbol,), first, until)[symbol]
    seen = watcher.day
    proof = Proof(
        not difference,
        difference,
        (
            Line("bars made again", len(seen.hashes), "", f"{first} to {last - 1}"),
            Line("hash over what the nodes wrote", sha256("".join(seen.hashes).encode()).hexdigest()),
            Line("code version", opening.code["version"], "", f"source {opening.code['source'][:12]}"),
            Line("configuration", config.digest),
            Line("governance", config.governance_digest),
        ),
    )
    filled = records.reader.query(
        "SELECT COUNT(*) FROM fills WHERE symbol = ? AND purpose = 'entry' AND ts > ? AND ts <= ?", (symbol, since, until)
    )[0][0]
    title = f"{day.isoformat()} ({zone}, {rfc3339(since)} to {rfc3339(until)})"
    return Why(
        id=subject.id,
        kind="none",
        verdict=_verdict(seen, symbol, title, mode_of(opening), int(filled)),
        reasons=_reasons(seen),
        flips=tuple(_told(miss) for miss in sorted(seen.misses, key=lambda miss: (miss.far, miss.ts))[:_MISSES_TOLD]),
        flips_note=_nearest(seen),
        missing=_missing(seen),
        chain=_funnel(seen, int(filled)),
        chart=replace(chart_of(subject, shown), marks=tuple(seen.marks)),
        afterwards=_hindsight(shown),
        proof=proof,
    )


async def _watch(rerun: Rerun, watcher: _Watcher, first: int, last: int) -> str:
    try:
        while rerun.bar < last:
            watcher.watching = rerun.bar >= first
            if await rerun.next() is None:
                return f"bar {rerun.bar} is not whole in the journal"
            if watcher.watching:
                watcher.day.hashes += [sha256(payload).hexdigest() for payload in watcher.wrote.values()]
    except Differs as differs:
        return str(differs.difference)
    return ""


def _verdict(seen: _Day, symbol: str, title: str, mode: str, filled: int) -> Verdict:
    state = "nothing done" if not filled else f"{filled} entries filled"
    if seen.first:
        (code, times), *_ = seen.first.most_common(1)
        cause = f"{seen.signals} signals, most often stopped by {code} ({times})"
    elif seen.signals:
        cause = f"{seen.signals} signals, {seen.sent} sent"
    else:
        cause = "no rule fired"
    text = f"{mode} · {state.upper()} · {symbol}, {title} · {seen.bars} bars, {cause}"
    return Verdict(text, "what was not done", symbol, title, state, mode)


def _reasons(seen: _Day) -> tuple[Reason, ...]:
    """The gates by how often they stopped first, then those that would have; or that no rule fired."""
    ordered = [*seen.first.most_common(), *((code, n) for code, n in seen.also.most_common() if code not in seen.first)]
    found = []
    if not seen.signals:
        looks = ", ".join(f"{name} {n}" for name, n in seen.looks.items()) or "none"
        found.append(Reason("an entry rule fires", "none did", f"looked at bars: {looks}", "NO_SIGNAL"))
    for code, times in ordered[: MOST_REASONS - len(found)]:
        reason = seen.reasons[code]
        which = "stopped first" if code in seen.first else "would have stopped, too"
        found.append(Reason(reason.rule, f"{which} {times} times; last: {reason.observed}", reason.limit, code))
    if not found:
        found.append(Reason("every signal was sent", f"{seen.sent} of {seen.signals}", "nothing stopped them", "SENT"))
    return tuple(found)


def _missing(seen: _Day) -> tuple[Missing, ...]:
    silent = [(name, bars) for name, bars in seen.silent.items() if bars]
    return tuple(Missing(name, f"could not speak on {bars} bars", "no signal from it there") for name, bars in silent)


def _told(miss: Miss) -> Flip:
    flip = miss.flip
    name = f"{miss.strategy} {miss.side.value} at {rfc3339(miss.ts)}: {flip.name}"
    return Flip(name, flip.unit, flip.was, flip.needed, flip.change, flip.within, flip.step, f"signal {miss.side.value}", True)


def _nearest(seen: _Day) -> str:
    if not seen.misses:
        return "none: at every bar more than one condition of each rule failed, or a rule fired"
    best = min(seen.misses, key=lambda miss: (miss.far, miss.ts))
    flip = best.flip
    moved = f"{flip.name} {said(flip.was)} → {said(flip.needed)} {flip.unit}".rstrip()
    return f"nearest to firing: {best.strategy} {best.side.value} at {rfc3339(best.ts)}, {moved}"


def _funnel(seen: _Day, filled: int) -> tuple[Step, ...]:
    rules = []
    for name, looks in seen.looks.items():
        near = sum(miss.strategy == name for miss in seen.misses)
        note = f"{near} with one condition short, {seen.several[name]} with more, could not speak on {seen.silent[name]}"
        rules.append(Line(name, looks, "looks", note))
    stopped = [Line(code, times, "", "stopped first") for code, times in seen.first.most_common()]
    stopped += [Line(code, times, "", "would have stopped, too") for code, times in seen.also.most_common()]
    return (
        Step("bars", f"{seen.bars} base bars closed"),
        Step("rules", f"{sum(seen.looks.values())} looks by {len(seen.looks)} strategies", tuple(rules)),
        Step("signals", f"{seen.signals} signals", tuple(seen.lines)),
        Step("scored", f"{seen.scored} of {seen.signals} signals were scored"),
        Step("refused", f"{sum(seen.first.values())} stopped", tuple(stopped)),
        Step("planned", f"{seen.planned} plans admitted"),
        Step("sent", f"{seen.sent} entries sent"),
        Step("filled", f"{filled} entries filled"),
    )


def _hindsight(shown: Window) -> tuple[Line, ...]:
    if not shown.candles:
        return (Line("hindsight", "the journal has no bars of the symbol there"),)
    first, last = shown.candles[0], shown.candles[-1]
    low, high = min(c.low for c in shown.candles), max(c.high for c in shown.candles)
    return (
        Line("the day's move", (last.close / first.open - 1.0) * 100.0, "%", f"{first.open:.8g} to {last.close:.8g}"),
        Line("the day's range", (high / low - 1.0) * 100.0, "%", f"{low:.8g} to {high:.8g}"),
    )
