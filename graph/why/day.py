"""A day of one symbol, bar by bar: what each rule said, what became of every signal, and how near the others came."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field, replace

from core.codes import RefusalCode
from core.regimes import CARRIED_BY_H4
from core.risk.context import lock_code
from core.strategies.base import Abstention, MarketSnapshot, Strategy
from core.types import ScoredSignal, Side, Timeframe, TradingState
from graph.why.asif import Decided, Fate, Idea, World, decide, fate_of
from graph.why.flips import Dial, flip_of
from graph.why.gates import gates_in_turn
from graph.why.inputs import features, flips_for
from graph.why.model import MOST_REASONS, Flip, Line, Mark, Reason
from graph.why.onlooker import Onlooker
from graph.why.reasons import reason_of
from graph.why.standins import View
from tools.context import BrainContext
from tools.state import BrainState

MOST_REFUSED = 10
"""Refused signals whose nearest flip is looked for: each costs about a second."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A bar at which one feature alone kept a rule from firing; ``flip`` says how far it was, and what would have followed."""

    ts: int
    strategy: str
    side: Side
    flip: Flip

    @property
    def far(self) -> float:
        return self.flip.distance or 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """A signal that was refused, by ``code`` first; ``near`` orders them: gates in its way, then what the score lacked."""

    near: tuple[int, float, int]
    strategy: str
    side: Side
    code: str
    flips: tuple[Flip, ...] = ()


@dataclass(slots=True)
class Day:
    """What was seen.

    ``bars`` closed for the symbol, ``made`` were made again. ``looks`` are bars at which a rule could speak, ``silent`` those
    at which it could not, by cause; ``standing`` counts bars at which a gate would have stopped any signal, ``disabled`` looks
    of a strategy that the regime shuts out. ``refused`` are those that came nearest.
    """

    bars: int = 0
    made: int = 0
    looks: Counter[str] = field(default_factory=Counter)
    silent: Counter[tuple[str, str]] = field(default_factory=Counter)
    several: Counter[str] = field(default_factory=Counter)
    standing: Counter[RefusalCode] = field(default_factory=Counter)
    disabled: Counter[tuple[str, str]] = field(default_factory=Counter)
    resting: Counter[str] = field(default_factory=Counter)
    misses: list[Miss] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
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


class Watcher(Onlooker):
    """Counts what becomes of every bar of one symbol."""

    def __init__(self, symbol: str) -> None:
        super().__init__()
        self.symbol = symbol
        self.day = Day()

    async def look(self, state: BrainState, context: BrainContext) -> None:
        world = self.world(state, context, self.symbol)
        if int(context.market.last_ts[world.index]) != context.market.closed.ts:
            return
        self.day.bars += 1
        self.day.standing.update(standing(world))
        decided = await decide(world, self.apart)
        snapshot = snapshot_of(world)
        for strategy in context.strategies.values():
            await self._rule(world, strategy, snapshot)
        for scored in decided.selection.scored:
            if scored.signal.symbol == self.symbol:
                await self._signal(world, scored, decided)

    # --- rules ----------------------------------------------------------------------------------------------

    async def _rule(self, world: World, strategy: Strategy, snapshot: MarketSnapshot) -> None:
        tfs = [tf for tf in strategy.tfs if tf in snapshot.closed and world.index in snapshot.closed[tf]]
        if not tfs:
            return
        quiet = next((one for one in strategy.abstaining(snapshot) if one.symbol == self.symbol), None)
        if quiet is not None:
            self.day.silent[strategy.name, cause_of(quiet)] += 1
            return
        self.day.looks[strategy.name] += 1
        self._shut_out(world, strategy)
        if fires(strategy, snapshot, self.symbol) is not None:
            return
        found = [miss for side in Side if (miss := await self._miss(world, strategy, tfs[0], side, snapshot)) is not None]
        self.day.misses += sorted(found, key=lambda miss: miss.far)[:1]
        self.day.several[strategy.name] += not found

    def _shut_out(self, world: World, strategy: Strategy) -> None:
        regimes, ts = world.state["regimes"], world.state["event"].ts
        held = regimes.h4[world.index] if strategy.name in CARRIED_BY_H4 else regimes.h1[world.index]
        enabled = strategy.name in world.context.config.enable_map.order(held.value)
        if not enabled or held in strategy.forbidden_regimes:
            self.day.disabled[strategy.name, held.value] += 1
        self.day.resting[strategy.name] += world.context.cooldowns.blocked(strategy.name, ts)

    async def _miss(self, world: World, strategy: Strategy, tf: Timeframe, side: Side, snapshot: MarketSnapshot) -> Miss | None:
        """The smallest change of one feature that makes the rule say ``side``, and what the gates would have said then."""

        async def ask(other: MarketSnapshot) -> Fate:
            return Fate(fires(strategy, other, world.symbol) is side, f"{strategy.name} {side.value}")

        keys = tuple(key for key in _own(strategy, tf) if not key.startswith("atr@"))
        dials = [_of_rule(dial, snapshot, world.index) for dial in features(world, keys)]
        flips = [await flip_of(dial, ask, Fate(False, "no signal")) for dial in dials]
        turning = [flip for flip in flips if flip.verified and flip.distance is not None]
        if not turning:
            return None
        flip = min(turning, key=lambda one: one.distance or 0.0)
        idea = Idea(world.symbol, strategy.name, side)
        fate = fate_of(idea, await decide(world.with_feature(flip.name, float(str(flip.needed))), self.apart))
        return Miss(world.state["event"].ts, strategy.name, side, _with_words(flip, side, fate))

    # --- signals --------------------------------------------------------------------------------------------

    async def _signal(self, world: World, scored: ScoredSignal, decided: Decided) -> None:
        day, signal = self.day, scored.signal
        day.signals += 1
        day.scored += bool(scored.parts)
        idea = Idea(signal.symbol, signal.strategy, signal.side)
        fate = fate_of(idea, decided)
        codes = [] if fate.done else await self._stopped(world, idea)
        day.planned += any(plan.signal_id == signal.id for plan in decided.risk.plans)
        day.sent += fate.done
        score = f"score {scored.score:g} of {scored.threshold:g}" if scored.parts else "not scored"
        note = f"{score}; {signal.reason}" + (f"; then also {', '.join(codes[1:])}" if codes[1:] else "")
        day.lines.append(Line(signal.id, fate.words, "", note))
        day.marks.append(Mark("signal", signal.ts, signal.entry, f"{signal.side.value} {signal.strategy}: {fate.words}"))
        if codes:
            await self._refused(world, idea, scored, decided, codes)

    async def _stopped(self, world: World, idea: Idea) -> list[str]:
        day = self.day
        stopped = await gates_in_turn(idea, world, self.apart, MOST_REASONS)
        for counter, some in ((day.first, stopped[:1]), (day.also, stopped[1:])):
            for refusal in some:
                counter[refusal.code.value] += 1
                day.reasons[refusal.code.value] = reason_of(refusal, world.context.config)
        return [refusal.code.value for refusal in stopped]

    async def _refused(self, world: World, idea: Idea, scored: ScoredSignal, decided: Decided, codes: list[str]) -> None:
        """Look for the flips of a signal that came nearer than the farthest of those that are kept."""
        signal, kept = scored.signal, self.day.refused
        near = (len(codes), max(0.0, scored.threshold - scored.score), signal.ts)
        if len(kept) >= MOST_REFUSED and near >= kept[-1].near:
            return
        rule = tuple(name for name, _ in signal.meta)
        flips = await flips_for(world, idea, decided, rule, signal.tf, self.apart)
        insort(kept, Refused(near, idea.strategy, signal.side, codes[0], flips), key=lambda one: one.near)
        del kept[MOST_REFUSED:]


def _of_rule(dial: Dial, snapshot: MarketSnapshot, row: int) -> Dial:
    """The same input, for the entry rule alone: it is asked many times, and needs no more than what rules see."""

    def turn(value: float) -> MarketSnapshot:
        changed = snapshot.features[dial.name].copy()
        changed[row] = value
        return replace(snapshot, features=View(snapshot.features, {dial.name: changed}))

    return replace(dial, turn=turn)


def _with_words(flip: Flip, side: Side, fate: Fate) -> Flip:
    then = f"{fate.refusal.code.value} refuses" if fate.refusal is not None else fate.words
    return replace(flip, gives=f"would signal {side.value}; then {then}")


def standing(world: World) -> list[RefusalCode]:
    """Gates that would stop any signal in the symbol at this moment."""
    status, ts = world.state["status"], world.state["event"].ts
    codes = [*status.health.paused, *(code for symbol, code in status.health.blocked if symbol == world.symbol)]
    if status.governor.state is not TradingState.ACTIVE:
        codes.append(lock_code(status.governor))
    if world.context.calendar.status(ts, world.symbol) is False:
        codes.append(RefusalCode.BLACKOUT)
    if world.symbol in world.context.ledger.positions or any(
        plan.symbol == world.symbol for plan in world.context.orders.pending()
    ):
        codes.append(RefusalCode.SYMBOL_OWNED)
    return list(dict.fromkeys(codes))


def cause_of(quiet: Abstention) -> str:
    """Why a rule could not speak."""
    what = ", ".join(quiet.missing) or "the rule fired on a flagged bar"
    return f"{quiet.code.value}: {what}"


def snapshot_of(world: World) -> MarketSnapshot:
    """What rules see at the moment."""
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


def fires(strategy: Strategy, snapshot: MarketSnapshot, symbol: str) -> Side | None:
    """On which side the entry rule fires for ``symbol``."""
    return next((signal.side for signal in strategy.generate(snapshot) if signal.symbol == symbol), None)


def _own(strategy: Strategy, tf: Timeframe) -> tuple[str, ...]:
    """Features of the rule on ``tf``: where a rule has a frame for each base, those of the other frame play no part."""
    foreign = {other.value for other in strategy.tfs if other is not tf}
    return tuple(key for key in strategy.required if key.partition("@")[2] not in foreign)
