"""A journal bar by bar: what came in, what was decided, and where the state is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from core.data.blocks import Batch
from core.journal.reader import JournalReader
from core.journal.records import (
    Answer,
    BarsBefore,
    BatchIn,
    Decided,
    EventsIn,
    FundingBefore,
    Opening,
    Record,
    SpotBefore,
    State,
    Word,
)
from core.journal.segments import Segment, damaged
from core.journal.tape import OutputTape

Input = EventsIn | Answer | Word


@dataclass(frozen=True, slots=True)
class Made:
    """One decision on record: every node's output, none left out."""

    seq: int
    ts: int
    outputs: tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class RecordedBar:
    """One announcement: its number (from 0), what came, the other inputs in their order, and what was decided.

    ``after`` are the inputs that came between it and the next one. ``state`` is the state after it, where one was kept, with
    the first ``heard`` of these in it. ``opening`` is what holds from this bar on, where it is said anew. ``complete`` is False
    for the last bar of a session that was cut off inside it.
    """

    number: int
    taken: BatchIn
    inputs: deque[Input] = field(default_factory=deque)
    made: list[Made] = field(default_factory=list)
    after: deque[Input] = field(default_factory=deque)
    state: State | None = None
    heard: int = 0
    opening: Opening | None = None
    last: bool = False
    _batch: Batch | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        return bool(self.made)

    @property
    def ts(self) -> int:
        """When it closed, ms."""
        return self.taken.ts

    @property
    def batch(self) -> Batch:
        """What came, as it was heard. Made when it is asked for: whoever only searches needs none."""
        if self._batch is None:
            self._batch = self.taken.batch()
        return self._batch


@dataclass(slots=True)
class Beginning:
    """What a segment starts from: the opening, the state before its first bar, and the past that warmed the features up."""

    opening: Opening
    state: State | None
    bars: list[BarsBefore]
    funding: list[FundingBefore]
    spot: list[SpotBefore]


def beginning(reader: JournalReader, segment: Segment) -> Beginning:
    """What ``segment`` starts from.

    Raises:
        StateError: it is damaged there.
    """
    found: Beginning | None = None
    for record in reader.records(segment):
        if isinstance(record, Opening):
            found = Beginning(record, None, [], [], [])
        elif found is None or isinstance(record, BatchIn):
            break
        elif isinstance(record, State):
            found.state = record
        elif isinstance(record, BarsBefore):
            found.bars.append(record)
        elif isinstance(record, FundingBefore):
            found.funding.append(record)
        elif isinstance(record, SpotBefore):
            found.spot.append(record)
    if found is None:
        raise reader.headless(segment)
    return found


def recorded_bars(reader: JournalReader, first: Segment) -> Iterator[RecordedBar]:
    """Bars from the start of ``first`` to the end of the journal.

    Raises:
        StateError: the journal is damaged on the way.
    """
    return _bars(reader.all_records(first), first.first_bar)


def bars_of(reader: JournalReader, segment: Segment) -> list[RecordedBar]:
    """Bars of one segment; nothing else is read, unless the last of them was decided only in the next.

    Raises:
        StateError: the journal is damaged there.
    """
    bars = list(_bars(reader.records(segment), segment.first_bar))
    if bars and not bars[-1].complete and segment is not reader.segments[-1]:
        bars = list(islice(recorded_bars(reader, segment), len(bars)))
    return bars


def _bars(records: Iterable[Record], number: int) -> Iterator[RecordedBar]:
    bar: RecordedBar | None = None
    opening: Opening | None = None
    tape = OutputTape()
    for record in records:
        if isinstance(record, BatchIn):
            if bar is not None:
                yield bar
            bar, opening = RecordedBar(number, record, opening=opening), None
            number += 1
        elif isinstance(record, Opening):
            tape.forget()
            if bar is None or bar.complete:
                opening = record
            else:  # cut off before it was decided; it was, at the next start
                bar.opening = record
        elif bar is not None:
            _add(bar, record, tape)
    if bar is not None:
        bar.last = True
        yield bar


def _add(bar: RecordedBar, record: Record, tape: OutputTape) -> None:
    if isinstance(record, Decided):
        bar.made.append(Made(record.seq, record.ts, tape.complete(record)))
    elif isinstance(record, State):
        bar.state, bar.heard = record, len(bar.after)
    elif isinstance(record, EventsIn | Answer | Word):
        (bar.after if bar.after or _between(bar, record) else bar.inputs).append(record)


def _between(bar: RecordedBar, record: Record) -> bool:
    """Whether something comes between two bars: the venue or a person speaks up after all was decided."""
    return bar.complete and isinstance(record, EventsIn | Word)


def first_words(after: Iterable[Input], heard: int) -> Iterator[Input]:
    """Of what came between two bars, the first ``heard`` words of venue or person, each with the answers that followed."""
    for came in after:
        if isinstance(came, EventsIn | Word):
            heard -= 1
        if heard < 0:
            return
        yield came


@dataclass(slots=True)
class Past:
    """A session that is to be gone on with: where it stands in its journal.

    ``state`` begins the segment that ``bars`` is in; ``decided`` are the batches from there up to ``bars``, ``undecided`` those
    on record after it, and ``expected`` what was made of these already, no output left out. Of the journal's end: ``opening``
    holds there, the segment began at ``segment_bar``, the last state is that after ``state_bar``, ``tape`` has what the nodes
    wrote last, ``last`` is the last batch (None: there is none, or it is no longer kept), ``closed`` says that the segment is.
    """

    opening: Opening
    state: State
    segment_bar: int
    state_bar: int
    closed: bool
    decided: list[Batch] = field(default_factory=list)
    undecided: list[Batch] = field(default_factory=list)
    expected: list[Record] = field(default_factory=list)
    tape: OutputTape = field(default_factory=OutputTape)
    last: Batch | None = None


def past(reader: JournalReader, bars: int, heard: int = 0) -> Past:
    """Where a session stands whose last state is that after ``bars`` announcements and ``heard`` words that came after these.

    Raises:
        StateError: the journal is damaged, or ends before ``bars``.
    """
    segment = reader.segment_of(bars)
    start = beginning(reader, segment)
    if start.state is None:
        raise reader.headless(segment)
    end = reader.segments[-1]
    found = Past(start.opening, start.state, end.first_bar, start.state.bars, end.closed)
    number, after = segment.first_bar, _After(heard)
    for record in reader.all_records(segment):
        if number == bars and after.is_new(record):
            found.expected.append(record)
        elif isinstance(record, BatchIn):
            number += 1
            (found.decided if number <= bars else found.undecided).append(record.batch())
        elif isinstance(record, Opening):
            found.opening = record
            found.tape.forget()
        elif isinstance(record, State):
            found.state_bar = record.bars
        elif isinstance(record, Decided):
            whole = Decided(record.seq, record.ts, found.tape.complete(record))
            if number > bars:
                found.expected.append(whole)
        elif number > bars and isinstance(record, EventsIn | Answer | Word):
            found.expected.append(record)
    if number < bars:
        raise damaged(segment, f"the journal ends at bar {number}, the session stands at bar {bars}")
    found.last = _last_batch(reader, segment, found)
    return found


class _After:
    """Follows what came after one bar, of which the first ``heard`` words of venue or person are known already."""

    def __init__(self, heard: int) -> None:
        self._heard = heard
        self._passed = 0
        self._decided = False

    def is_new(self, record: Record) -> bool:
        """Whether ``record``, the next one, is an input between two bars that is not known yet; an answer belongs to its word."""
        if isinstance(record, Decided):
            self._decided = True
        elif isinstance(record, State):
            self._decided, self._passed = True, record.heard
        elif self._decided and isinstance(record, EventsIn | Word):
            self._passed += 1
        return self._passed > self._heard and isinstance(record, EventsIn | Word | Answer)


def _last_batch(reader: JournalReader, segment: Segment, found: Past) -> Batch | None:
    if found.undecided or found.decided:
        return (found.undecided or found.decided)[-1]
    at = reader.segments.index(segment)
    while at > 0:
        at -= 1
        batches = [record for record in reader.records(reader.segments[at]) if isinstance(record, BatchIn)]
        if batches:
            return batches[-1].batch()
    return None
