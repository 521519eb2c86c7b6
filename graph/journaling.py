"""What a run keeps in its journal, and how: batches before they are handled, answers of the broker, outputs of the nodes.

The journal stands at the borders: around the source and around the venue, so nothing in between knows of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from loguru import logger

from core.data.blocks import Bars, Batch, FundingRate, PriceAt
from core.data.sources.base import Source, SourceInfo
from core.exec.broker import AccountView, Broker
from core.journal.bars import Past
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
from core.journal.tape import Outputs, OutputTape
from core.journal.writer import JournalWriter
from core.monitor.reader import StoreReader
from core.types import BrokerEvent, Event, Order, OrderUpdate, Timeframe
from graph.junction import check_junction

OnEvents = Callable[[tuple[BrokerEvent, ...]], Awaitable[None]]

FRAMES = "journal_frames"
"""Key of the store's meta under which a commit keeps how many frames it rests on."""
SEGMENT_BARS = 8_192
"""Announcements in a segment: it begins with the whole state, so this bounds what must be fed again to stand at any bar. The
state is about a tenth of a segment of this length."""
STATE_EVERY = 512
"""Announcements between two states of the services inside a segment: what must be decided again to stand at any bar."""


class Venue(Broker, Protocol):
    """A broker that a run drives through time: the simulated exchange, or the record of one."""

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        """Let happen what happens up to ``batch``; events go to ``on_events`` in their order."""
        ...

    async def deliver(self, on_events: OnEvents) -> None:
        """Tell what happened since, between two bars; only a venue with a time of its own has anything to tell."""
        ...

    async def wait(self) -> None:
        """Until there is something to :meth:`deliver`."""
        ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class Journal(Protocol):
    """What a run tells its journal. What comes in is in the file before it is handled, unless :attr:`failure` tells why not.

    ``failure``: why it is not on the disk; None while it is.
    """

    @property
    def failure(self) -> str | None: ...

    def before(self, record: BarsBefore | FundingBefore | SpotBefore) -> None:
        """A part of the past that warms the features up."""
        ...

    def took(self, batch: Batch) -> None:
        """A batch came."""
        ...

    def told(self, events: tuple[BrokerEvent, ...]) -> None:
        """The broker told of these."""
        ...

    def answered(self, verb: str, client_id: str, update: OrderUpdate, order: Order | None = None) -> None:
        """The broker answered ``place``, to ``order``, or ``cancel``."""
        ...

    def said(self, word: Word) -> None:
        """A person or the file system brought something in."""
        ...

    def decided(self, event: Event, outputs: Outputs) -> None:
        """The nodes made this of ``event``."""
        ...


class SessionJournal:
    """Writes a run's journal, and knows when a state or a new segment is due.

    Attributes:
        stale: something else holds than the last segment says, or that is closed: a new one begins before the next new batch.
    """

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._tape = OutputTape()
        self._past: list[Record] = []
        self._segment_bar = self._state_bar = 0
        self.stale = False

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from."""
        return self._writer.begun

    @property
    def frames(self) -> int:
        """Frames on the disk, after a :meth:`sync` that left no failure."""
        return self._writer.frames

    @property
    def failure(self) -> str | None:
        return self._writer.failure

    @property
    def torn(self) -> str | None:
        """In words what a crash had torn off the journal, as was seen when it was opened; None where nothing was."""
        cut = self._writer.cut
        if cut is None:
            return None
        return f"the journal's last {cut.bytes} bytes were torn by a crash; they are kept in {cut.kept_in}"

    @property
    def catching_up(self) -> bool:
        """Whether what is being made stands in the journal already."""
        return self._writer.catching_up

    def expected_word(self) -> Word | None:
        """The word that stands in the journal at this place; None where something else does, or nothing."""
        record = self._writer.expected
        return record if isinstance(record, Word) else None

    def expected_answer(self, verb: str, client_id: str) -> OrderUpdate | None:
        """The broker's answer that stands in the journal at this place; None where something else does, or nothing."""
        record = self._writer.expected
        return record.update if isinstance(record, Answer) and record.asked == (verb, client_id) else None

    @property
    def expects_events(self) -> bool:
        """Whether the broker's events stand in the journal at this place."""
        return isinstance(self._writer.expected, EventsIn)

    # --- what a run tells -----------------------------------------------------------------------------------

    def before(self, record: BarsBefore | FundingBefore | SpotBefore) -> None:
        self._past.append(record)

    def took(self, batch: Batch) -> None:
        self._note(BatchIn.of(batch))

    def _note(self, record: BatchIn | EventsIn | Answer | Word) -> None:
        self._writer.append(record)
        self._writer.flush()

    def told(self, events: tuple[BrokerEvent, ...]) -> None:
        self._note(EventsIn.of(events))

    def answered(self, verb: str, client_id: str, update: OrderUpdate, order: Order | None = None) -> None:
        self._note(Answer((verb, client_id), update, order))

    def said(self, word: Word) -> None:
        self._note(word)

    def decided(self, event: Event, outputs: Outputs) -> None:
        # Where the journal goes on its own segments say what was left out; until then nothing is.
        known = tuple(outputs) if self.catching_up else self._tape.shorten(outputs)
        self._writer.append(Decided(event.seq, event.ts, known))

    # --- what the daemon asks for ---------------------------------------------------------------------------

    def sync(self) -> None:
        """Make what was told outlive a loss of power."""
        self._writer.sync()

    def begin(self, opening: Opening, state: State) -> None:
        """Begin a segment: what holds, the past that was told of since, the whole state to go on from.

        Where the disk fails, ``failure`` tells, and the last segment is gone on with.
        """
        try:
            self._writer.begin(state.bars)
        except OSError:
            return
        self._tape.forget()
        self.stale = False
        self._segment_bar = self._state_bar = state.bars
        for record in (opening, *self._past, state):
            self._writer.append(record)
        self._past.clear()
        self._writer.sync()

    def resume(self, past: Past, opening: Opening) -> None:
        """Go on behind ``past``: what is made of its undecided bars must be what the journal has."""
        self._tape = past.tape
        self._segment_bar, self._state_bar = past.segment_bar, past.state_bar
        self.stale = past.closed or past.opening != opening
        self._writer.expect(past.expected)

    def state_due(self, bars: int) -> bool:
        """Whether a state of the services is due after ``bars`` announcements."""
        return not (self.catching_up or self.stale) and bars - self._state_bar >= STATE_EVERY

    def segment_due(self, bars: int) -> bool:
        """Whether a new segment is due after ``bars`` announcements, for its length."""
        return not (self.catching_up or self.stale) and bars - self._segment_bar >= SEGMENT_BARS

    def keep(self, state: State) -> None:
        """Keep a state inside the segment."""
        self._state_bar = state.bars
        self._writer.append(state)

    def finish(self) -> None:
        """The run ends: pack what was written. Whoever goes on begins a segment."""
        self._writer.finish()

    def close(self) -> None:
        """Let go of the files; what was not synced is dropped, as in a crash."""
        self._writer.close()


class SilentJournal:
    """Hears all that a run tells, and keeps nothing of it."""

    failure: str | None = None

    def before(self, record: BarsBefore | FundingBefore | SpotBefore) -> None:
        pass

    def took(self, batch: Batch) -> None:
        pass

    def told(self, events: tuple[BrokerEvent, ...]) -> None:
        pass

    def answered(self, verb: str, client_id: str, update: OrderUpdate, order: Order | None = None) -> None:
        pass

    def said(self, word: Word) -> None:
        pass

    def decided(self, event: Event, outputs: Outputs) -> None:
        pass


class NoJournal(SilentJournal):
    """For a run that nobody will ask about: nothing can be gone on with."""

    begun = False
    frames = 0
    torn: str | None = None
    catching_up = False
    stale = False

    expects_events = False

    def expected_word(self) -> Word | None:
        return None

    def expected_answer(self, verb: str, client_id: str) -> OrderUpdate | None:  # noqa: ARG002
        return None

    def sync(self) -> None:
        pass

    def begin(self, opening: Opening, state: State) -> None:
        pass

    def resume(self, past: Past, opening: Opening) -> None:
        pass

    def state_due(self, bars: int) -> bool:  # noqa: ARG002
        return False

    def segment_due(self, bars: int) -> bool:  # noqa: ARG002
        return False

    def keep(self, state: State) -> None:
        pass

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_journal(folder: Path, store: StoreReader) -> SessionJournal:
    """The journal of the session whose records are in ``store``, which is open for writing.

    Records that know of no frame say nothing of what is on the disk, they may be new ones in the place of lost ones: then only
    a frame cut short passes for what a crash left.

    Raises:
        StateError: the journal is damaged, ends before what was committed, or cannot be written.
    """
    frames = store.get_meta(FRAMES)
    journal = SessionJournal(JournalWriter(folder, None if frames is None else int(frames)))
    if journal.torn is not None:  # it is seen this once, whatever becomes of the start
        logger.warning(journal.torn)
    return journal


class JournaledSource:
    """A source whose every word is in the journal before anyone hears it.

    Args:
        source: the market.
        journal: where its words go.
        before_new: called before a batch is taken that does not stand in the journal yet.
    """

    def __init__(self, source: Source, journal: Journal, before_new: Callable[[], None] = lambda: None) -> None:
        self._source, self._journal, self._before_new = source, journal, before_new
        self._recorded: deque[Batch] = deque()
        self._ahead: AsyncIterator[Batch] | None = None

    @property
    def caught_up(self) -> bool:
        """Whether all that stood in the journal was given again."""
        return not self._recorded

    async def go_on(self, last: Batch | None, recorded: Sequence[Batch]) -> None:
        """Go on behind ``last``, the last batch in the journal; those in ``recorded`` are given again before what is new.

        Raises:
            StateError: the source gives something else at the time of ``last``. One that ends before it gives nothing more.
        """
        self._recorded.extend(recorded)
        if last is not None:
            self._ahead = self._source.batches(last.ts - 1)
            now = await anext(self._ahead, None)
            if now is not None:
                check_junction(last, now, self.info.symbols, whole=not self.info.name.startswith("exchange:"))

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        bars = self._source.history(symbol, tf, before_ts, limit)
        self._journal.before(BarsBefore.of(symbol, tf, bars))
        return bars

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        rates = self._source.funding_history(symbol, before_ts, limit)
        self._journal.before(FundingBefore(symbol, rates))
        return rates

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        prices = self._source.spot_history(symbol, before_ts, limit)
        self._journal.before(SpotBefore(symbol, prices))
        return prices

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        async for batch in self.ahead(after_ts):
            self.take(batch)
            yield batch

    async def ahead(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        """As :meth:`batches`, for whoever has something to do before he hears a batch that came: :meth:`take` it then."""
        while self._recorded:
            yield self._recorded[0]
        async for batch in self._ahead or self._source.batches(after_ts):
            yield batch

    def take(self, batch: Batch) -> None:
        """``batch`` is handled now: it goes into the journal, unless it stands there."""
        if self._recorded:
            self._recorded.popleft()
        else:
            self._before_new()
            self._journal.took(batch)


class JournaledVenue:
    """A venue whose answers and events are in the journal."""

    def __init__(self, venue: Venue, journal: Journal) -> None:
        self._venue, self._journal = venue, journal

    async def place(self, order: Order) -> OrderUpdate:
        update = await self._venue.place(order)
        self._journal.answered("place", order.client_id, update, order)
        return update

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        update = await self._venue.cancel(symbol, client_id)
        self._journal.answered("cancel", client_id, update)
        return update

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        await self._venue.advance(batch, self._on_record(on_events))

    async def deliver(self, on_events: OnEvents) -> None:
        await self._venue.deliver(self._on_record(on_events))

    def _on_record(self, on_events: OnEvents) -> OnEvents:
        """Events go to the journal first."""

        async def told(events: tuple[BrokerEvent, ...]) -> None:
            self._journal.told(events)
            await on_events(events)

        return told

    async def wait(self) -> None:
        await self._venue.wait()

    def drain(self) -> tuple[BrokerEvent, ...]:
        return self._venue.drain()

    def account(self) -> AccountView:
        return self._venue.account()

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        return self._venue.open_orders(symbol)

    def position_qty(self, symbol: str) -> Decimal:
        return self._venue.position_qty(symbol)

    def snapshot(self) -> dict[str, Any]:
        return self._venue.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self._venue.restore(state)
