"""Searching a session's record without making anything again: trades, refusals, regimes, alerts, conditions, a field."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from core.errors import StateError
from core.journal.bars import Beginning, Made, RecordedBar, beginning, recorded_bars
from core.journal.reader import JournalReader
from core.journal.records import EventsIn, Opening, Word
from core.types import Event, EventKind
from graph.opening import info_of
from graph.stepping.conditions import Condition
from graph.stepping.errors import NotThere, nearest
from graph.stepping.paths import Path
from graph.stepping.serializer import load
from graph.stepping.values import plain
from tools.topology import AGENTS

_WRITES = {spec.name: spec.writes for spec in AGENTS}
_KEEP_BARS = 4_096
_EVENTS = 65_536
"""More than the events of any bar."""


class Mark(StrEnum):
    """What a bar can stand out by."""

    TRADE = "trade"
    FILL = "fill"
    REFUSAL = "refusal"
    REGIME = "regime"
    ALERT = "alert"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Hit:
    """A bar that was looked for: its number, time, which of its events, and in words what stands there."""

    bar: int
    ts: int
    event: int
    text: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A place in the state took another value: where, who wrote it, what stood there before and after."""

    bar: int
    ts: int
    event: int
    node: str
    old: Any
    new: Any


class Record:
    """What a journal has of every bar; bars are numbered as in the session.

    Attributes:
        first_bar: the oldest bar on record.
        bars: one more than the newest bar that was decided.
        symbols: of the session, in order.
    """

    def __init__(self, reader: JournalReader) -> None:
        self.reader = reader
        self.symbols = info_of(beginning(reader, reader.segments[-1]).opening).symbols
        self.first_bar = self.bars = reader.segments[0].first_bar
        self.times = array("q")
        self.marks: dict[Mark, list[Hit]] = {mark: [] for mark in Mark}
        self.ran = {spec.name: array("q") for spec in AGENTS}
        self.plans: dict[str, Hit] = {}
        self._openings: dict[int, Opening] = {}
        self._kept: dict[int, RecordedBar] = {}
        self._ahead: Iterator[RecordedBar] = iter(())
        self._ahead_bar = -1
        self._index()

    def _index(self) -> None:
        look = _Look(self)
        for bar in recorded_bars(self.reader, self.reader.segments[0]):
            if not bar.complete:
                break
            self.bars = bar.number + 1
            self.times.append(bar.batch.ts)
            if bar.opening is not None:
                self._openings[bar.number] = bar.opening
            look.at(bar)

    def beginning_at(self, number: int) -> Beginning:
        """What holds at bar ``number``: the beginning of its segment, with the opening that came last before the bar."""
        segment = self.reader.segment_of(number)
        start = beginning(self.reader, segment)
        later = [bar for bar in self._openings if segment.first_bar <= bar <= number]
        return replace(start, opening=self._openings[max(later)]) if later else start

    def changes_at(self, number: int) -> bool:
        """Whether something else holds from bar ``number`` on."""
        return number in self._openings

    # --- bars ---------------------------------------------------------------------------------------------

    def bars_from(self, number: int) -> Iterator[RecordedBar]:
        """Bars from ``number`` on, each a copy that may be used up."""
        while (bar := self._get(number)) is not None:
            yield replace(bar, inputs=bar.inputs.copy(), made=list(bar.made))
            number += 1

    def bar(self, number: int) -> RecordedBar:
        """One bar.

        Raises:
            NotThere: it is not on record.
        """
        self.check(number)
        bar = self._get(number)
        if bar is None:
            raise NotThere(f"bar {number} is not on record")
        return bar

    def check(self, number: int) -> None:
        """Make sure that ``number`` is on record.

        Raises:
            NotThere: it is not; says which are.
        """
        if self.bars == self.first_bar:
            raise StateError("the session has no bar that was decided", help="brain sessions", code="JRN-008")
        if not self.first_bar <= number < self.bars:
            raise NotThere(f"bar {number} is not on record; there are {self.first_bar} to {self.bars - 1}")

    def _get(self, number: int) -> RecordedBar | None:
        if number >= self.bars:
            return None
        while number not in self._kept:
            if self._ahead_bar < 0 or not self._ahead_bar <= number < self._ahead_bar + _KEEP_BARS:
                segment = self.reader.segment_of(number)
                self._ahead, self._ahead_bar = recorded_bars(self.reader, segment), segment.first_bar
            bar = next(self._ahead, None)
            if bar is None:
                return None
            self._kept[bar.number] = bar
            self._ahead_bar = bar.number + 1
            while len(self._kept) > _KEEP_BARS:
                del self._kept[next(iter(self._kept))]
        return self._kept[number]

    def time_of(self, number: int) -> int:
        """Close time of a bar, ms."""
        return self.times[number - self.first_bar]

    def at_time(self, ts: int) -> int:
        """The first bar that closed at ``ts`` or later.

        Raises:
            NotThere: there is none.
        """
        at = bisect_left(self.times, ts)
        if at == len(self.times):
            raise NotThere("the session ends before that time")
        return self.first_bar + at

    # --- searching ----------------------------------------------------------------------------------------

    def plan(self, name: str) -> Hit:
        """Where the plan of a trade, plan, signal or order was made: by its id, with or without what stands before it.

        Raises:
            NotThere: there is none of that name; the nearest are named.
        """
        wanted = name.removeprefix("trade-")
        hit = self.plans.get(wanted)
        if hit is None:
            near = nearest(wanted, self.plans) if len(self.plans) < _KEEP_BARS else ""
            raise NotThere(
                f"there is no trade {name!r} in the session{near[:300]}", help="brain step SESSION --script: marks trade"
            )
        return hit

    def next(self, mark: Mark, bar: int, *, back: bool = False) -> Hit:
        """The nearest bar after (before) ``bar`` that stands out by ``mark``.

        Raises:
            NotThere: there is none.
        """
        hits = self.marks[mark]
        at = bisect_left(hits, bar + (0 if back else 1), key=lambda hit: hit.bar) - (1 if back else 0)
        if not 0 <= at < len(hits):
            raise NotThere(f"there is no {'earlier' if back else 'later'} {mark.value} in the session")
        return hits[at]

    def between(self, mark: Mark, first: int, last: int) -> list[int]:
        """Bars in ``[first, last)`` that stand out by ``mark``."""
        hits = self.marks[mark]
        start = bisect_left(hits, first, key=lambda hit: hit.bar)
        stop = bisect_left(hits, last, key=lambda hit: hit.bar)
        return [hit.bar for hit in hits[start:stop]]

    def next_run(self, nodes: set[str], bar: int, event: int) -> tuple[int, int] | None:
        """(bar, event) of the nearest event after that one in which one of ``nodes`` ran; None when there is none."""
        found: list[int] = []
        for node in sorted(nodes):
            ran = self.ran[node]
            at = bisect_left(ran, bar * _EVENTS + event + 1)
            found += ran[at : at + 1]
        return divmod(min(found), _EVENTS) if found else None

    def where(self, condition: Condition) -> list[Hit]:
        """Every event of which ``condition`` holds."""
        hits = []
        states = _States(condition.roots)
        for bar in recorded_bars(self.reader, self.reader.segments[0]):
            for at, made in enumerate(bar.made):
                state = states.of(made, bar)
                if condition.holds(state):
                    hits.append(Hit(bar.number, bar.batch.ts, at, _in_words(made)))
        return hits

    def watch(self, path: Path) -> list[FieldChange]:
        """Every change of the place ``path``, who wrote it; where a key is not written, nothing has changed."""
        found: list[FieldChange] = []
        states, last, last_bytes = _States(frozenset({path.root})), None, b""
        writer = next((agent for agent, key in _WRITES.items() if key == path.root), "source")
        for bar in recorded_bars(self.reader, self.reader.segments[0]):
            for at, made in enumerate(bar.made):
                payload = dict(made.outputs).get(writer)
                if writer != "source" and (payload is None or payload is last_bytes):
                    continue
                last_bytes = payload or b""
                values = [plain(value) for value in path.values(states.of(made, bar))]
                now = values[0] if len(values) == 1 and None not in path.steps else values
                if last is None or now != last:
                    found.append(FieldChange(bar.number, bar.batch.ts, at, writer, last, now))
                last = now
        return found


class _States:
    """Values of the state as the record has them; only the wanted keys are read, and each only when it has changed."""

    def __init__(self, roots: frozenset[str]) -> None:
        self._roots = roots
        self._last: dict[str, tuple[bytes, Any]] = {}

    def of(self, made: Made, bar: RecordedBar) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for agent, payload in made.outputs:
            key = _WRITES[agent]
            if key in self._roots:
                known, value = self._last.get(key, (b"", None))
                if known is not payload:
                    value = load(key, payload)
                    self._last[key] = (payload, value)
                state[key] = value
        if "event" in self._roots:
            state["event"] = _event(made, bar)
        return state


def _event(made: Made, bar: RecordedBar) -> Event:
    agents = {agent for agent, _ in made.outputs}
    note = load("research", dict(made.outputs)["research"]).note if "research" in agents else ""
    kind = EventKind.RESEARCH if note else EventKind.BAR if "market_regime" in agents else EventKind.REPORT
    return Event(kind, made.seq, bar.batch.ts, note=note)


def _in_words(made: Made) -> str:
    record = load("record", dict(made.outputs)["monitor"])
    parts = [f"plan {plan}" for plan in record.plans] + [f"{code} {ref}" for code, ref in record.refusals]
    return "; ".join(parts or [f"signal {signal}" for signal in record.signals]) or f"decision {made.seq}"


class _Look:
    """What stands out, bar by bar."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._states = _States(frozenset({"status", "regimes", "selection", "risk", "execution", "research"}))
        self._status: tuple[str, ...] = ()
        self._regimes: Any = None

    def at(self, bar: RecordedBar) -> None:
        fills = [fill for events in bar.inputs if isinstance(events, EventsIn) for fill in events.fills]
        if fills:
            self._mark(
                Mark.FILL, bar, 0, "; ".join(f"{fill.purpose.value} {fill.symbol} {fill.qty} at {fill.price}" for fill in fills)
            )
        for word in bar.inputs:
            if isinstance(word, Word):
                self._mark(Mark.ALERT, bar, 0, word.kind.replace("_", " "))
        for at, made in enumerate(bar.made):
            for agent, _ in made.outputs:
                self._record.ran[agent].append(bar.number * _EVENTS + at)
            self._event(bar, at, self._states.of(made, bar))

    def _mark(self, mark: Mark, bar: RecordedBar, event: int, text: str) -> None:
        hits = self._record.marks[mark]
        if hits and hits[-1].bar == bar.number:
            hits[-1] = Hit(bar.number, bar.batch.ts, hits[-1].event, f"{hits[-1].text}; {text}")
        else:
            hits.append(Hit(bar.number, bar.batch.ts, event, text))

    def _event(self, bar: RecordedBar, at: int, state: dict[str, Any]) -> None:
        refusals = [
            refusal for key in ("selection", "risk", "execution", "research") if key in state for refusal in state[key].refusals
        ]
        if refusals:
            self._mark(Mark.REFUSAL, bar, at, "; ".join(f"{item.code.value} {item.strategy} {item.symbol}" for item in refusals))
        if "research" in state:
            self._mark(Mark.REQUEST, bar, at, state["research"].note)
        self._plans(bar, at, state)
        self._regime(bar, at, state.get("regimes"))
        self._alert(bar, at, state["status"])

    def _plans(self, bar: RecordedBar, at: int, state: dict[str, Any]) -> None:
        for scored in state["selection"].scored if "selection" in state else ():
            self._record.plans[scored.signal.id] = Hit(bar.number, bar.batch.ts, at, f"signal {scored.signal.id}")
        if "risk" not in state or not state["risk"].plans:
            return
        refused = {refusal.ref for refusal in state["execution"].refusals} if "execution" in state else set()
        for plan in state["risk"].plans:
            hit = Hit(bar.number, bar.batch.ts, at, f"{plan.kind.value} {plan.side.value} {plan.symbol} {plan.strategy}")
            self._record.plans[plan.id] = hit
            if plan.id not in refused:
                self._mark(Mark.TRADE, bar, at, hit.text)
        for order in state["execution"].orders if "execution" in state else ():
            self._record.plans[order] = Hit(bar.number, bar.batch.ts, at, f"order {order}")

    def _regime(self, bar: RecordedBar, at: int, now: Any) -> None:
        if now is None:
            return
        if self._regimes is not None and now != self._regimes:
            for frame in ("h1", "h4"):
                pairs = zip(self._record.symbols, getattr(self._regimes, frame), getattr(now, frame), strict=True)
                for symbol, old, new in pairs:
                    if old is not new:
                        self._mark(Mark.REGIME, bar, at, f"{symbol} {frame}: {old.value} to {new.value}")
        self._regimes = now

    def _alert(self, bar: RecordedBar, at: int, status: Any) -> None:
        health, governor = status.health, status.governor
        now = (
            *(f"paused: {code.value}" for code in health.paused),
            *(f"{symbol} blocked: {code.value}" for symbol, code in health.blocked),
            *(name.replace("_", " ") for name in ("day_lock", "kill_switch", "governance_changed") if getattr(governor, name)),
        )
        if now != self._status:
            new = [text for text in now if text not in self._status]
            over = [f"over: {text}" for text in self._status if text not in now]
            self._mark(Mark.ALERT, bar, at, "; ".join(new + over))
        self._status = now
