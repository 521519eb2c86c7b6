"""What a run keeps in its journal, and how: batches before they are handled, answers of the broker, outputs of the nodes.

The journal stands at the borders: around the source and around the venue, so nothing in between knows of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

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
from core.journal.writer import Cut, JournalWriter
from core.monitor.reader import StoreReader
from core.types import BrokerEvent, Event, Order, OrderUpdate, Timeframe

OnEvents = Callable[[tuple[BrokerEvent, ...]], Awaitable[None]]

FRAMES = "journal_frames"
"""Key of the store's meta under which a commit keeps how many frames it rests on."""
SEGMENT_BARS = 16_384
"""Announcements in a segment: it begins with the whole state, so this bounds what must be fed again to stand at any bar."""
STATE_EVERY = 2_048
"""Announcements between two states of the services inside a segment."""


class Venue(Broker, Protocol):
    """A broker that a run drives through time: the simulated exchange, or the record of one."""

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        """Let happen what happens up to ``batch``; events go to ``on_events`` in their order."""
        ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class Journal(Protocol):
    """What a run tells its journal.

    ``failure``: why it is not on the disk; None while it is.
    """

    @property
    def failure(self) -> str | None: ...

    def before(self, record: BarsBefore | FundingBefore | SpotBefore) -> None:
        """A part of the past that warms the features up."""
        ...

    def took(self, batch: Batch) -> None:
        """A batch came; it is on the disk when this returns, unless :attr:`failure` tells why not."""
        ...

    def told(self, events: tuple[BrokerEvent, ...]) -> None:
        """The broker told of these."""
        ...

    def answered(self, verb: str, client_id: str, update: OrderUpdate) -> None:
        """The broker answered ``place`` or ``cancel``."""
        ...

    def said(self, word: Word) -> None:
        """A person or the file system brought something in."""
        ...

    def decided(self, event: Event, outputs: Outputs) -> None:
        """The nodes made this of ``event``."""
        ...


class SessionJournal:
    """Writes a run's journal, and knows when a state or a new segment is due."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._tape = OutputTape()
        self._past: list[Record] = []
        self._segment_bar = self._state_bar = 0
        self._changed = False

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
    def cut(self) -> Cut | None:
        """What a crash had torn at the end of the journal when it was opened."""
        return self._writer.cut

    @property
    def catching_up(self) -> bool:
        """Whether what is being made stands in the journal already."""
        return self._writer.catching_up

    def expected_word(self) -> Word | None:
        """The word that stands in the journal at this place; None where something else does, or nothing."""
        record = self._writer.expected
        return record if isinstance(record, Word) else None

    # --- what a run tells -----------------------------------------------------------------------------------

    def before(self, record: BarsBefore | FundingBefore | SpotBefore) -> None:
        self._past.append(record)

    def took(self, batch: Batch) -> None:
        self._writer.append(BatchIn.of(batch))
        self._writer.flush()

    def told(self, events: tuple[BrokerEvent, ...]) -> None:
        self._writer.append(EventsIn.of(events))

    def answered(self, verb: str, client_id: str, update: OrderUpdate) -> None:
        self._writer.append(Answer((verb, client_id), update))

    def said(self, word: Word) -> None:
        self._writer.append(word)

    def decided(self, event: Event, outputs: Outputs) -> None:
        self._writer.append(Decided(event.seq, event.ts, self._tape.shorten(outputs)))

    # --- what the daemon asks for ---------------------------------------------------------------------------

    def sync(self) -> None:
        """Make what was told outlive a loss of power."""
        self._writer.sync()

    def begin(self, opening: Opening, state: State) -> None:
        """Begin a segment: what holds, the past that was told of since, the whole state to go on from."""
        try:
            self._writer.begin(state.bars)
        except OSError:
            self._changed = True  # ``failure`` tells why; tried again at the next commit
            return
        self._tape.forget()
        self._changed = False
        self._segment_bar = self._state_bar = state.bars
        for record in (opening, *self._past, state):
            self._writer.append(record)
        self._past.clear()
        self._writer.sync()

    def resume(self, past: Past, opening: Opening) -> None:
        """Go on behind ``past``: what is made of its undecided bars must be what the journal has."""
        self._tape = past.tape
        self._segment_bar = self._state_bar = past.segment_bar
        self._changed = past.opening != opening
        self._writer.expect(past.expected)

    def state_due(self, bars: int) -> bool:
        """Whether a state of the services is due after ``bars`` announcements."""
        return not self.catching_up and bars - self._state_bar >= STATE_EVERY

    def segment_due(self, bars: int) -> bool:
        """Whether a new segment is due after ``bars`` announcements: the old one is long, or something else holds now."""
        return not self.catching_up and (self._changed or bars - self._segment_bar >= SEGMENT_BARS)

    def keep(self, state: State) -> None:
        """Keep a state inside the segment."""
        self._state_bar = state.bars
        self._writer.append(state)

    def close(self) -> None:
        """Let go of the files; what was not synced is dropped, as in a crash."""
        self._writer.close()


class NoJournal:
    """For a run that nobody will ask about: nothing is kept, and nothing can be gone on with."""

    begun = False
    frames = 0
    failure: str | None = None
    cut: Cut | None = None
    catching_up = False

    def expected_word(self) -> Word | None:
        return None

    def before(self, record: BarsBefore | FundingBefore | SpotBefore) -> None:
        pass

    def took(self, batch: Batch) -> None:
        pass

    def told(self, events: tuple[BrokerEvent, ...]) -> None:
        pass

    def answered(self, verb: str, client_id: str, update: OrderUpdate) -> None:
        pass

    def said(self, word: Word) -> None:
        pass

    def decided(self, event: Event, outputs: Outputs) -> None:
        pass

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

    def close(self) -> None:
        pass


def open_journal(folder: Path, store: StoreReader) -> SessionJournal:
    """The journal of the session whose records are in ``store``, which is open for writing.

    Raises:
        StateError: the journal is damaged, ends before what was committed, or cannot be written.
    """
    return SessionJournal(JournalWriter(folder, int(store.get_meta(FRAMES) or 0)))


class JournaledSource:
    """A source whose every word is in the journal before anyone hears it.

    Args:
        source: the market.
        journal: where its words go.
    """

    def __init__(self, source: Source, journal: Journal) -> None:
        self._source, self._journal = source, journal
        self._recorded: Sequence[Batch] = ()

    def give_again(self, recorded: Sequence[Batch]) -> None:
        """These stand in the journal already and come first, before what is new."""
        self._recorded = recorded

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
        for batch in self._recorded:
            if after_ts is None or batch.ts > after_ts:
                after_ts = batch.ts
                yield batch
        async for batch in self._source.batches(after_ts):
            self._journal.took(batch)
            yield batch


class JournaledVenue:
    """A venue whose answers and events are in the journal."""

    def __init__(self, venue: Venue, journal: Journal) -> None:
        self._venue, self._journal = venue, journal

    async def place(self, order: Order) -> OrderUpdate:
        update = await self._venue.place(order)
        self._journal.answered("place", order.client_id, update)
        return update

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        update = await self._venue.cancel(symbol, client_id)
        self._journal.answered("cancel", client_id, update)
        return update

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        async def told(events: tuple[BrokerEvent, ...]) -> None:
            self._journal.told(events)
            await on_events(events)

        await self._venue.advance(batch, told)

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
