"""A session made again from its journal: the same services, the same nodes, and only recorded ports.

Nothing here can reach a broker, a market or the session's files: the venue answers from the record, and what the run writes
down goes to a folder that is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from configs.validators import Configuration
from core.data.sources.base import Source
from core.errors import StateError
from core.journal.bars import Beginning, RecordedBar, beginning, recorded_bars
from core.journal.reader import JournalReader
from core.journal.records import Opening, State, Word
from core.monitor.store import Store
from graph.assembly import assemble
from graph.engines import Engine
from graph.journaling import Journal, Venue
from graph.opening import configuration_of, equity_of, gap_fill_of, sizing_of, unlock_after_of
from graph.replaying import Check, CutOff, Differs, RecordedSource, RecordedVenue, RecordedWords, Script, state_differs
from graph.run import Run
from graph.words import Words

_FORGET_EVERY = 1024
"""Bars after which what the run has written down is dropped."""


class Ports(NamedTuple):
    """Where a run that is made again hears of the world, and whom it tells."""

    source: Source
    venue: Venue
    journal: Journal
    words: Words


def run_of(
    opening: Opening, ports: Ports, engine: Engine, store: Store, config: Configuration | None = None, *, name: str
) -> Run:
    """Fresh services of the session that ``opening`` describes, under its own configuration unless another is given."""
    config = configuration_of(opening) if config is None else config
    facts, equity = opening.facts, equity_of(opening)
    fills = gap_fill_of(facts)
    parts = assemble(config, ports.source, store, equity, venue=ports.venue, sizing=sizing_of(facts), gap_fill=fills)
    return Run(parts, engine, ports.journal, ports.words, unlock_after_ms=unlock_after_of(opening), name=name)


def as_recorded(script: Script) -> tuple[Venue, Check]:
    """A venue that answers as the record does, and a check that ends the run where a decision is not the recorded one."""
    return RecordedVenue(script), Check(script)


class Rerun:
    """A run that is made again, one recorded bar after the other.

    Args:
        start: what the session is there.
        bars: the record from there on.
        engine: what carries the bars.
        store: where the services write things down.
        config: another configuration than the session's own.
        border: makes venue and check out of the record.
        read: reads the session's own configuration.

    Attributes:
        run: the services, as they stood before the next bar; others take their place where the session went on under
            another configuration.
        check: compares each decision with the record.
        script: the record, at the present bar.
        opening: what the session says of itself there.
        cut_off: whether the session was cut off inside its last bar, and the run has come to it.
    """

    def __init__(
        self,
        start: Beginning,
        bars: Iterator[RecordedBar],
        engine: Engine,
        store: Store,
        config: Configuration | None = None,
        border: Callable[[Script], tuple[Venue, Check]] = as_recorded,
        read: Callable[[Opening], Configuration] = configuration_of,
    ) -> None:
        self.opening = start.opening
        self.script = Script(bars)
        self._venue, self.check = border(self.script)
        self.cut_off = False
        self._engine, self._store, self._config, self._read = engine, store, config, read
        self._source = RecordedSource(start, self.script)
        self._start = start.state
        self._kept: State | None = None
        self._states = False
        self.run = self._assembled()

    @property
    def bar(self) -> int:
        """Number of the bar that comes next."""
        return self.run.bars

    def warm(self) -> None:
        """Begin as the session began: with the past that it knew."""
        self.run.warm(self._source)

    def take_over(self, state: State, since: Sequence[RecordedBar]) -> None:
        """Stand where the record stands after ``since``, the bars behind ``state``, a whole one: without deciding them again.

        The last of ``since`` must have a state of its own.
        """
        behind = 0
        for at, bar in enumerate(since, 1):
            if bar.state is not None and bar.state.market is not None:
                state, behind = bar.state, at
        self.run.restore_record(state)
        for bar in since[behind:]:
            self.run.feed(bar.batch)
        if since[behind:] and since[-1].state is not None:
            self.run.restore_record(since[-1].state)

    def compare_states(self) -> None:
        """From here on compare the services with every kept state too, beginning with the one here."""
        self._states, self._kept = True, self._start

    def _stand_as_kept(self) -> None:
        kept, self._kept = self._kept, None
        if self._states and kept is not None and (kept.bars, kept.heard) == (self.bar, self.run.heard):
            differs = state_differs(kept, self.run.record(whole=kept.market is not None))
            if differs is not None:
                raise differs

    async def next(self) -> RecordedBar | None:
        """Make the next bar again and compare; None at the end, or where the session was cut off inside a bar.

        Raises:
            Differs: a decision, an order or a kept state is not the recorded one.
        """
        bar = self.script.turn()
        if bar is not None and bar.opening is not None:
            self._go_over_to(bar.opening)
        self._stand_as_kept()
        if bar is None:
            return None
        self._kept = bar.state
        trace, compared = self.run.context.trace, self.check.compared
        trace.begin()
        try:
            if not bar.complete:
                raise CutOff
            await self.run.bar(bar.batch)
            await self.pass_bar()
        except CutOff:
            self.cut_off = True
            return None
        except Differs:
            # The venue saw it first; a node before it may have been the one to differ.
            if self.check.compared == compared:
                self.check.so_far(trace.outputs)
            raise
        if self.bar % _FORGET_EVERY == 0:
            self._store.drop_pending()
        return bar

    async def pass_bar(self) -> None:
        """The present bar is over: nothing of it is left, and what came before the next one is heard.

        Raises:
            Differs: something of it is left.
        """
        self.check.all_used()
        self.script.pass_bar()
        while left := self.script.left:
            word = self.script.take(Word)
            if word is not None:
                await self.run.said(word)
            else:
                await self._venue.deliver(self.run.told)
            if self.script.left == left:
                self.check.all_used()

    def _go_over_to(self, opening: Opening) -> None:
        former, self.opening = self.opening, opening
        if (opening.files, opening.facts) == (former.files, former.facts):
            return
        state = self.run.record(whole=True)
        self.run = self._assembled()
        self.run.restore_record(state)

    def _assembled(self) -> Run:
        opening = self.opening
        config = recorded = self._read(opening)
        if self._config is not None:
            # The digest stands in every record; that it is another is known, what follows from it is the question.
            config = self._config.model_copy(update={"governance_digest": recorded.governance_digest})
        ports = Ports(self._source, self._venue, self.check, RecordedWords(self.script))
        return run_of(opening, ports, self._engine, self._store, config, name=opening.session)


@contextmanager
def rerun_from(
    reader: JournalReader,
    engine: Engine,
    config: Configuration | None = None,
    read: Callable[[Opening], Configuration] = configuration_of,
) -> Iterator[Rerun]:
    """A run that begins where the journal begins, as the session began there.

    Raises:
        StateError: the journal is damaged there.
    """
    first = reader.segments[0]
    start = beginning(reader, first)
    with throw_away_store() as store:
        rerun = Rerun(start, recorded_bars(reader, first), engine, store, config, read=read)
        if start.bars:
            rerun.warm()
        elif start.state is None:
            raise reader.headless(first)
        else:
            rerun.run.restore_record(start.state)
        yield rerun


@contextmanager
def standing_before(
    reader: JournalReader,
    bar: int,
    engine: Engine,
    config: Configuration | None = None,
    read: Callable[[Opening], Configuration] = configuration_of,
) -> Iterator[Rerun]:
    """A run at the nearest kept state before ``bar``; make the bars up to it again with :meth:`Rerun.next`.

    Raises:
        StateError: the journal is damaged, or does not have the bar.
    """
    segment = reader.segment_of(bar)
    start = beginning(reader, segment)
    if start.state is None:
        raise reader.headless(segment)
    bars = recorded_bars(reader, segment)
    before = list(islice(bars, bar - segment.first_bar))
    if len(before) < bar - segment.first_bar:
        raise StateError(
            f"the session has {segment.first_bar + len(before)} bars, bar {bar} was asked for",
            help="brain sessions",
            code="JRN-008",
        )
    known = last_kept(before)
    with throw_away_store() as store:
        rerun = Rerun(start, chain(before[known:], bars), engine, store, config, read=read)
        rerun.take_over(start.state, before[:known])
        yield rerun


def last_kept(bars: Sequence[RecordedBar]) -> int:
    """How many of ``bars`` there are up to the last one with a state that knows all that came before the next bar."""
    return max((at + 1 for at, bar in enumerate(bars) if bar.state is not None and bar.heard == len(bar.after)), default=0)


@contextmanager
def throw_away_store() -> Iterator[Store]:
    """Where services that are made again write things down; it goes with its folder."""
    with TemporaryDirectory(prefix="brain-rerun-") as folder:
        store = Store(Path(folder) / "brain.sqlite")
        try:
            yield store
        finally:
            store.close()
