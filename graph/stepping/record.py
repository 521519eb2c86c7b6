"""Searching a session's record without making anything again: trades, refusals, regimes, alerts, conditions, a field.

A year is read where one stands or looks for something, a segment of the journal at a time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import StateError
from core.exec.orders import made_plan
from core.journal.bars import Beginning, Made, RecordedBar, bars_of, beginning
from core.journal.reader import JournalReader
from core.journal.records import Opening, State
from graph.names import Names
from graph.opening import info_of
from graph.stepping.conditions import Condition
from graph.stepping.errors import NotThere, nearest
from graph.stepping.marks import CHANGES, EVENTS, WRITES, Found, Hit, Known, Mark, States
from graph.stepping.paths import Path
from graph.stepping.serializer import load
from graph.stepping.values import plain

_PAGES = 3
"""Segments whose bars are kept: a few tens of megabytes. What stands out in a segment is small, and kept once it was read."""
NOTHING = object()
"""Stands for a value that is not known."""


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

    Args:
        reader: the journal.
        names: what the session's own records know of names; without them the journal is searched.

    Attributes:
        first_bar: the oldest bar on record.
        bars: one more than the newest bar that was decided.
        symbols: of the session, in order.
        openings: what the session says of itself at each segment.
        on_search: told how many segments of how many are searched.
    """

    def __init__(self, reader: JournalReader, names: Names | None = None) -> None:
        self.reader = reader
        self.on_search: Callable[[int, int], None] = lambda done, total: None  # noqa: ARG005
        self._names = names or Names(None)
        self._segments = reader.segments
        self._firsts = [segment.first_bar for segment in self._segments]
        self._pages: dict[int, list[RecordedBar]] = {}
        self._finds: dict[int, Found] = {}
        heads = [reader.first_records(segment) for segment in self._segments]
        self.openings = [self._opening(at, head) for at, head in enumerate(heads)]
        # When the last bar before each segment closed.
        self._before_ts = [next((record.ts for record in head if isinstance(record, State)), 0) for head in heads]
        self.symbols = info_of(self.openings[-1]).symbols
        self.first_bar = self._firsts[0]
        ends = (self._firsts[at] + len(page) for at in reversed(range(len(heads))) if (page := self._page(at)))
        self.bars = next(ends, self.first_bar)

    def _opening(self, at: int, head: Sequence[object]) -> Opening:
        if not head or not isinstance(head[0], Opening):
            raise self.reader.headless(self._segments[at])
        return head[0]

    def beginning_at(self, number: int) -> Beginning:
        """What holds at bar ``number``: the beginning of its segment, with the opening that came last before the bar."""
        start, opening = beginning(self.reader, self._segments[self._at(number)]), self.bar(number).opening
        return start if opening is None else replace(start, opening=opening)

    def segment_bar(self, number: int) -> int:
        """The first bar of the segment that bar ``number`` is in: the state before it is on record."""
        return self._firsts[self._at(number)]

    def headless(self, number: int) -> StateError:
        """The error for the segment of bar ``number``, which does not begin as one does."""
        return self.reader.headless(self._segments[self._at(number)])

    def changes_at(self, number: int) -> bool:
        """Whether something else may hold from bar ``number`` on."""
        return self.bar(number).opening is not None

    # --- bars ---------------------------------------------------------------------------------------------

    def bars_from(self, number: int) -> Iterator[RecordedBar]:
        """Bars from ``number`` on, each a copy that may be used up."""
        while number < self.bars:
            bar = self.bar(number)
            yield replace(bar, inputs=bar.inputs.copy(), made=list(bar.made), after=bar.after.copy())
            number += 1

    def bar(self, number: int) -> RecordedBar:
        """One bar.

        Raises:
            NotThere: it is not on record.
        """
        self.check(number)
        at = self._at(number)
        return self._page(at)[number - self._firsts[at]]

    def check(self, number: int) -> None:
        """Make sure that ``number`` is on record.

        Raises:
            NotThere: it is not; says which are.
        """
        if self.bars == self.first_bar:
            raise StateError("the session has no bar that was decided", help="brain sessions", code="JRN-008")
        if not self.first_bar <= number < self.bars:
            raise NotThere(f"bar {number} is not on record; there are {self.first_bar} to {self.bars - 1}")

    def time_of(self, number: int) -> int:
        """Close time of a bar, ms."""
        return self.bar(number).ts

    def at_time(self, ts: int) -> int:
        """The first bar that closed at ``ts`` or later.

        Raises:
            NotThere: there is none.
        """
        at = max(bisect_left(self._before_ts, ts) - 1, 0)
        number = self._firsts[at] + bisect_left(self._page(at), ts, key=lambda bar: bar.ts)
        if number >= self.bars:
            raise NotThere("the session ends before that time")
        return number

    def _at(self, number: int) -> int:
        return bisect_right(self._firsts, number) - 1

    def _page(self, at: int) -> list[RecordedBar]:
        page = self._pages.pop(at, None)
        if page is None:
            page = [bar for bar in bars_of(self.reader, self._segments[at]) if bar.complete]
        self._pages[at] = page  # the last one that was looked at is the last to go
        while len(self._pages) > _PAGES:
            del self._pages[next(iter(self._pages))]
        return page

    # --- what stands out ----------------------------------------------------------------------------------

    def next(self, mark: Mark, bar: int, *, back: bool = False) -> Hit:
        """The nearest bar after (before) ``bar`` that stands out by ``mark``.

        Raises:
            NotThere: there is none.
        """
        here = self._at(bar)
        for at in self._search(self._order(here, back=back)):
            hit = self._found(at, joined=mark in CHANGES and not back and at > here).near(mark, bar, back=back)
            if hit is None and mark in CHANGES and back:
                hit = self._found(at, joined=True).near(mark, bar, back=back)
            if hit is not None:
                return hit
        raise NotThere(f"there is no {'earlier' if back else 'later'} {mark.value} in the session")

    def between(self, mark: Mark, first: int, last: int) -> list[int]:
        """Bars in ``[first, last)`` that stand out by ``mark``."""
        bars: list[int] = []
        for at in range(self._at(first), self._at(last - 1) + 1):
            hits = self._found(at, joined=mark in CHANGES and self._firsts[at] >= first).marks[mark]
            bars += [hit.bar for hit in hits[bisect_left(hits, first, key=lambda hit: hit.bar) :] if hit.bar < last]
        return bars

    def every(self, mark: Mark) -> list[Hit]:
        """All bars that stand out by ``mark``."""
        return [hit for at in self._search(range(len(self._firsts))) for hit in self._found(at, joined=True).marks[mark]]

    def plan(self, name: str) -> Hit:
        """Where the plan of a trade, plan, signal or order was made: by its id, with or without what stands before it.

        Raises:
            NotThere: there is none of that name; the nearest are named.
        """
        wanted = made_plan(name.removeprefix("trade-"))
        known = self._names.find(wanted)
        if known is not None and self._before_ts[0] < known.ts <= self.time_of(self.bars - 1):
            hit = self._found(self._at(self.at_time(known.ts))).plans.get(known.id)
            if hit is not None:
                return hit
        for at in self._search(range(len(self._firsts))):
            found = self._found(at)
            if wanted in found.sent:
                return self._plan_of(at, wanted, found.sent[wanted])
            if wanted in found.plans:
                return found.plans[wanted]
        known_names = self._names.every() or [name for found in self._finds.values() for name in (*found.plans, *found.sent)]
        raise NotThere(f"there is no trade {name!r} in the session{nearest(wanted, known_names)}", help="list trade")

    def _plan_of(self, last: int, order: str, plan: str) -> Hit:
        """Where the plan of an order was made, which was sent in segment ``last``."""
        # Older records do not say whose an order is; all orders of a plan begin like the one that opened.
        stem = order.rpartition("-")[0]
        for at in range(last, -1, -1):
            plans = self._found(at).plans
            hit = plans.get(made_plan(plan)) if plan else plans.get(f"{stem}-e0") or plans.get(f"{stem}-a0")
            if hit is not None:
                return hit
        raise NotThere(f"the plan of order {order!r} was made before what is on record begins", help="list trade")

    def next_run(self, nodes: set[str], bar: int, event: int) -> tuple[int, int] | None:
        """(bar, event) of the nearest event after that one in which one of ``nodes`` ran; None when there is none."""
        for at in self._search(self._order(self._at(bar), back=False)):
            ran = [self._found(at).ran[node] for node in sorted(nodes)]
            found = [row[index] for row in ran if (index := bisect_left(row, bar * EVENTS + event + 1)) < len(row)]
            if found:
                return divmod(min(found), EVENTS)
        return None

    def _found(self, at: int, *, joined: bool = False) -> Found:
        found = self._finds.get(at)
        if found is None:
            found = self._finds[at] = Found.of(self._page(at), self.symbols)
        if joined and not found.joined:
            found.join(self._known_before(at))
        return found

    def _known_before(self, at: int) -> Known:
        if at == 0:
            return Known(())
        end = self._found(at - 1).end
        if end.status is not None and end.regimes is not None:
            return end
        before = self._known_before(at - 1)
        return Known(before.status if end.status is None else end.status, end.regimes or before.regimes)

    # --- conditions and places ------------------------------------------------------------------------------

    def where(self, condition: Condition) -> list[Hit]:
        """Every event of which ``condition`` holds."""
        return [hit for at in self._search(range(len(self._firsts))) for hit in self._hits(at, condition)]

    def find(self, condition: Condition, bar: int, event: int, *, back: bool = False) -> Hit:
        """The nearest event after (before) this one of which ``condition`` holds.

        Raises:
            NotThere: there is none.
        """
        for at in self._search(self._order(self._at(bar), back=back)):
            hits = [
                hit
                for hit in self._hits(at, condition)
                if ((hit.bar, hit.event) < (bar, event) if back else (hit.bar, hit.event) > (bar, event))
            ]
            if hits:
                return hits[-1 if back else 0]
        raise NotThere(f"there is no {'earlier' if back else 'later'} event of which {condition.text!r} holds")

    def _hits(self, at: int, condition: Condition) -> Iterator[Hit]:
        states = States(condition.roots)
        for bar in self._page(at):
            for event, made in enumerate(bar.made):
                if condition.holds(states.of(made, bar)):
                    yield Hit(bar.number, bar.ts, event, _in_words(made))

    def watch(self, path: Path) -> list[FieldChange]:
        """Every change of the place ``path``, who wrote it; where a key is not written, nothing has changed."""
        found: list[FieldChange] = []
        for at in self._search(range(len(self._firsts))):
            found += self._changes(at, path, found[-1].new if found else NOTHING)
        return found

    def origin(self, path: Path, bar: int, event: int, ran: set[str]) -> FieldChange | None:
        """The last change of ``path`` before that event, or in it by a node that ``ran``; None where nothing was written."""
        first: FieldChange | None = None
        for at in self._search(self._order(self._at(bar), back=True)):
            found = ((change, (change.bar, change.event)) for change in self._changes(at, path, NOTHING))
            before = [change for change, where in found if where < (bar, event) or (where == (bar, event) and change.node in ran)]
            if before and first is not None and before[-1].new != first.new:
                break
            if len(before) > 1:
                return before[-1]
            first = before[0] if before else first
        return first

    def _changes(self, at: int, path: Path, last: Any) -> Iterator[FieldChange]:
        return field_changes(self._page(at), path, last)

    # --- the way of a search --------------------------------------------------------------------------------

    def _order(self, here: int, *, back: bool) -> Sequence[int]:
        return range(here, -1, -1) if back else range(here, len(self._firsts))

    def _search(self, order: Sequence[int]) -> Iterator[int]:
        for done, at in enumerate(order):
            self.on_search(done, len(order))
            yield at


def field_changes(bars: Iterable[RecordedBar], path: Path, last: Any) -> Iterator[FieldChange]:
    """Every change of the place ``path`` in ``bars``, before which ``last`` stood there (:data:`NOTHING`: not known)."""
    states, last_bytes = States(frozenset({path.root})), b""
    writer = next((agent for agent, key in WRITES.items() if key == path.root), "source")
    for bar in bars:
        for event, made in enumerate(bar.made):
            payload = dict(made.outputs).get(writer)
            if writer != "source" and (payload is None or payload is last_bytes):
                continue
            last_bytes = payload or b""
            values = [plain(value) for value in path.values(states.of(made, bar))]
            now = values[0] if len(values) == 1 and None not in path.steps else values
            if last is NOTHING or now != last:
                yield FieldChange(bar.number, bar.ts, event, writer, None if last is NOTHING else last, now)
            last = now


def _in_words(made: Made) -> str:
    record = load("record", dict(made.outputs)["monitor"])
    parts = [f"plan {plan}" for plan in record.plans] + [f"{code} {ref}" for code, ref in record.refusals]
    return "; ".join(parts or [f"signal {signal}" for signal in record.signals]) or f"decision {made.seq}"
