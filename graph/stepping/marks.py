"""What the bars of a segment stand out by: found in one walk over the record, with nothing made again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.journal.bars import Made, RecordedBar
from core.journal.records import Answer, EventsIn, Word
from core.types import Event, EventKind
from graph.stepping.serializer import load
from tools.state import Regimes, Status
from tools.topology import AGENTS

WRITES = {spec.name: spec.writes for spec in AGENTS}
EVENTS = 65_536
"""More than the events of any bar."""


class Mark(StrEnum):
    """What a bar can stand out by."""

    TRADE = "trade"
    FILL = "fill"
    REFUSAL = "refusal"
    REGIME = "regime"
    ALERT = "alert"
    REQUEST = "request"


_STANDING = ("day_lock", "kill_switch", "governance_changed", "bonus", "cut")
CHANGES = frozenset({Mark.REGIME, Mark.ALERT})
"""Marks of a bar by what is not as it was before."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A bar that was looked for: its number, time, which of its events, and in words what stands there."""

    bar: int
    ts: int
    event: int
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """Why nothing may be traded, in words, and the regimes; None: not said yet."""

    status: tuple[str, ...] | None = None
    regimes: Regimes | None = None


@dataclass(slots=True)
class Found:
    """What stands out in a segment.

    ``plans`` are trades, plans, signals and orders of entries by id, ``sent`` the plans of all orders (empty: not said). ``ran``
    says of each node in which events it ran (bar times :data:`EVENTS` plus event). ``end`` is what is known at the segment's
    end. What its first bars have changed is seen only by who knows what was before: :meth:`join`, once.
    """

    symbols: tuple[str, ...]
    marks: dict[Mark, list[Hit]] = field(default_factory=lambda: {mark: [] for mark in Mark})
    plans: dict[str, Hit] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    ran: dict[str, array[int]] = field(default_factory=lambda: {spec.name: array("q") for spec in AGENTS})
    end: Known = Known()
    joined: bool = False
    _first_status: tuple[Hit, tuple[str, ...]] | None = None
    _first_regimes: tuple[Hit, Regimes] | None = None

    @classmethod
    def of(cls, bars: Sequence[RecordedBar], symbols: tuple[str, ...]) -> Found:
        """What stands out in ``bars``, which are those of a segment."""
        found, states = cls(symbols), States(frozenset({"status", "regimes", "selection", "risk", "execution", "research"}))
        for bar in bars:
            found._inputs(bar)
            for at, made in enumerate(bar.made):
                for agent, _ in made.outputs:
                    found.ran[agent].append(bar.number * EVENTS + at)
                found._event(Hit(bar.number, bar.ts, at, ""), states.of(made, bar))
        return found

    def join(self, before: Known) -> None:
        """Mark what the first bars have changed to ``before``."""
        self.joined = True
        if self._first_status is not None and before.status is not None:
            self._mark(Mark.ALERT, self._first_status[0], _alerts(before.status, self._first_status[1]))
        if self._first_regimes is not None and before.regimes is not None:
            self._mark(Mark.REGIME, self._first_regimes[0], _moves(before.regimes, self._first_regimes[1], self.symbols))

    def near(self, mark: Mark, bar: int, *, back: bool) -> Hit | None:
        """The nearest bar after (before) ``bar`` that stands out by ``mark``."""
        hits = self.marks[mark]
        at = bisect_left(hits, bar + (0 if back else 1), key=lambda hit: hit.bar) - (1 if back else 0)
        return hits[at] if 0 <= at < len(hits) else None

    def _mark(self, mark: Mark, place: Hit, text: str) -> None:
        if not text:
            return
        hits = self.marks[mark]
        at = bisect_left(hits, place.bar, key=lambda hit: hit.bar)
        if at < len(hits) and hits[at].bar == place.bar:
            hits[at] = Hit(place.bar, place.ts, hits[at].event, f"{hits[at].text}; {text}")
        else:
            hits.insert(at, Hit(place.bar, place.ts, place.event, text))

    def _inputs(self, bar: RecordedBar) -> None:
        place = Hit(bar.number, bar.ts, 0, "")
        fills = [fill for events in bar.inputs if isinstance(events, EventsIn) for fill in events.fills]
        told = [f"{fill.purpose.value} {fill.symbol} {fill.qty} at {fill.price}" for fill in fills]
        self._mark(Mark.FILL, place, "; ".join(told))
        words = [word.kind.replace("_", " ") for word in bar.inputs if isinstance(word, Word)]
        self._mark(Mark.ALERT, place, "; ".join(words))
        # A stop, a take or an exit is sent in no node; the broker's answer to it is all that the record has.
        self.sent.update(
            {
                one.asked[1]: one.order.plan_id if one.order is not None else ""
                for one in bar.inputs
                if isinstance(one, Answer) and one.asked[0] == "place"
            }
        )

    def _event(self, place: Hit, state: dict[str, Any]) -> None:
        refusals = [
            refusal for key in ("selection", "risk", "execution", "research") if key in state for refusal in state[key].refusals
        ]
        self._mark(Mark.REFUSAL, place, "; ".join(f"{item.code.value} {item.strategy} {item.symbol}" for item in refusals))
        if "research" in state:
            self._mark(Mark.REQUEST, place, state["research"].note)
            self._mark(Mark.ALERT, place, f"selection tightened: {state['research'].note}")
        self._wanted(place, state)
        self._known(place, state)

    def _wanted(self, place: Hit, state: dict[str, Any]) -> None:
        def there(text: str) -> Hit:
            return Hit(place.bar, place.ts, place.event, text)

        for scored in state["selection"].scored if "selection" in state else ():
            self.plans[scored.signal.id] = there(f"signal {scored.signal.id}")
        if "risk" not in state or not state["risk"].plans:
            return
        refused = {refusal.ref for refusal in state["execution"].refusals} if "execution" in state else set()
        for plan in state["risk"].plans:
            text = f"{plan.kind.value} {plan.side.value} {plan.symbol} {plan.strategy}"
            self.plans[plan.id] = there(text)
            if plan.id not in refused:
                self._mark(Mark.TRADE, place, text)
        for order in state["execution"].orders if "execution" in state else ():
            self.plans[order] = there(f"order {order}")

    def _known(self, place: Hit, state: dict[str, Any]) -> None:
        status, regimes = _in_the_way(state["status"]), state.get("regimes") or self.end.regimes
        before = self.end
        if before.status is None:
            self._first_status = (place, status)
        elif status != before.status:
            self._mark(Mark.ALERT, place, _alerts(before.status, status))
        if before.regimes is None and regimes is not None:
            self._first_regimes = (place, regimes)
        elif regimes is not before.regimes:
            self._mark(Mark.REGIME, place, _moves(before.regimes, regimes, self.symbols))
        if status != before.status or regimes is not before.regimes:
            self.end = Known(status, regimes)


class States:
    """Values of the state as the record has them; only the wanted keys are read, and each only when it has changed."""

    def __init__(self, roots: frozenset[str]) -> None:
        self._roots = roots
        self._last: dict[str, tuple[bytes, Any]] = {}

    def of(self, made: Made, bar: RecordedBar) -> dict[str, Any]:
        """The state after the event that ``made`` is of."""
        state: dict[str, Any] = {}
        for agent, payload in made.outputs:
            key = WRITES[agent]
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
    return Event(kind, made.seq, bar.ts, note=note)


def _in_the_way(status: Status) -> tuple[str, ...]:
    health, governor = status.health, status.governor
    return (
        *(f"paused: {code.value}" for code in health.paused),
        *(f"{symbol} blocked: {code.value}" for symbol, code in health.blocked),
        *(name.replace("_", " ") for name in _STANDING if getattr(governor, name)),
    )


def _alerts(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    new = [text for text in now if text not in before]
    return "; ".join([*new, *(f"over: {text}" for text in before if text not in now)])


def _moves(before: Regimes | None, now: Regimes | None, symbols: tuple[str, ...]) -> str:
    rows = (
        f"{symbol} {frame}: {old.value} to {new.value}"
        for frame in ("h1", "h4")
        for symbol, old, new in zip(symbols, getattr(before, frame), getattr(now, frame), strict=True)
        if old is not new
    )
    return "; ".join(rows)
