"""The session itself, made again from its record and held at a node: by the code that recorded it, or by other code."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from core.errors import BrainError
from core.journal.bars import Beginning, RecordedBar
from core.journal.records import State
from core.monitor.store import Store
from graph.other_code import OtherCode
from graph.replaying import Difference, Differs
from graph.rerun import Rerun, as_recorded, last_kept
from graph.stepping.carrier import Carrier, Undo
from graph.stepping.errors import NotThere, StepError
from graph.stepping.held import Held
from graph.stepping.parting import as_made, difference, part, parting, seen, take_up
from graph.stepping.place import Place
from graph.stepping.record import Record

_ANCHORS = 24
"""States kept of bars that were stood at; about a megabyte each."""


@dataclass(frozen=True, slots=True)
class Stood:
    """A whole state of the run, and where that had parted from the record (None: it has not)."""

    state: State
    parted: Difference | None = None


class Again:
    """Makes the bars of ``record`` again, one held at a time.

    Args:
        record: the session's record.
        store: where services write things down.
        other_code: whether the session may have been recorded by other code, and the run may part from the record.

    Attributes:
        bar: number of the bar; -1 before the first was stood at.
    """

    def __init__(self, record: Record, store: Store, *, other_code: bool) -> None:
        self.bar = -1
        self._record, self._store, self._other_code = record, store, other_code
        self._carrier = Carrier()
        self._held: Held | None = None
        self._start: Beginning | None = None
        self._rerun: Rerun | None = None
        self._anchors: dict[int, Stood] = {}

    @property
    def held(self) -> Held:
        """The run."""
        if self._held is None:
            raise StepError("the stepper stands nowhere yet")
        return self._held

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.bar, len(self.held.walks) - 1, self.held.walk.step)

    @property
    def parted(self) -> Difference | None:
        """Where this code and the record parted, if what is shown follows from that."""
        return None if self._rerun is None or self._held is None else seen(self._rerun, self._held.walk.here.next)

    @property
    def before(self) -> tuple[Beginning, State]:
        """What holds at the bar, and the whole state before it."""
        assert self._start is not None  # noqa: S101 - it stands somewhere
        return self._start, self._anchors[self.bar].state

    async def stand(self, bar: int) -> None:
        """Before the first node of ``bar``; where that cannot be, it stands where it stood.

        Raises:
            Differs: the session made again is not the recorded one.
            OtherCode: this code cannot go on from a state that the other kept, or fails on the way.
        """
        self._record.check(bar)
        stood = None if self._held is None else self.place
        try:
            await self._open(bar)
        except Differs:
            raise
        except Exception as error:
            await self._put_back(stood)
            self._tell(error)
            raise

    async def forward(self) -> None:
        """The next node; after the last one the next event, and after that the next bar.

        Raises:
            Differs: as :meth:`stand`.
            NotThere: the record ends here.
            OtherCode: as :meth:`stand`.
        """
        stood = self.place
        if self._is_last(stood):
            raise NotThere("the record ends here")
        try:
            if not await self.held.forward():
                await self._open(self.bar + 1)
        except Differs:
            raise
        except Exception as error:
            await self._put_back(stood)
            self._tell(error)
            raise

    async def go(self, place: Place) -> None:
        """To ``place``, or to the end of its bar where that has less."""
        if self._held is None or self.bar != place.bar or self.place > place:
            await self.stand(place.bar)
        while self.place < place and self._same_bar(place):
            await self.forward()

    async def close(self) -> None:
        """Let go of the run."""
        if self._held is not None:
            await self._held.drop()

    def _same_bar(self, place: Place) -> bool:
        return self.bar == place.bar and not (self._is_over() and self.place.event + 1 >= self._events())

    def _is_last(self, stood: Place) -> bool:
        return self._is_over() and self.bar + 1 >= self._record.bars and stood.event + 1 >= self._events()

    def _is_over(self) -> bool:
        return self.held.walk.here.next is None

    def _events(self) -> int:
        return len(self._record.bar(self.bar).made)

    async def _put_back(self, stood: Place | None) -> None:
        if stood is None or (self._held is not None and self._held.on_its_way and self.place == stood):
            return
        await self.close()
        self._rerun = self._held = None
        await self._open(stood.bar)
        while self.place < stood and await self.held.forward():
            pass

    def _tell(self, error: Exception) -> None:
        """What this code cannot make of a session of other code is no fault of the stepper.

        Raises:
            OtherCode: in the place of ``error``.
        """
        if self._other_code and not isinstance(error, BrainError):
            raise OtherCode(
                f"what the other code recorded cannot be made again by this one ({type(error).__name__}: {error})",
                help="use the version that recorded the session",
            ) from error

    # --- bars -----------------------------------------------------------------------------------------------

    async def _open(self, bar: int) -> None:
        rerun, held = self._rerun, self._held
        if rerun is not None and held is not None and not held.on_its_way:
            await rerun.pass_bar()
            take_up(rerun)
            self._anchor(rerun)
        if rerun is None or held is None or held.on_its_way or rerun.bar != bar or self._record.changes_at(bar):
            rerun, held = await self._rebuild(bar)
        self._anchor(rerun)
        recorded = rerun.script.turn()
        if recorded is None:
            raise NotThere(f"bar {bar} is not on record")
        self.bar = bar
        await held.begin(recorded.batch)

    async def _rebuild(self, bar: int) -> tuple[Rerun, Held]:
        if self._held is not None:
            await self._held.drop()
        self._rerun = self._held = None
        start, stood = self._nearest(bar)
        first = stood.state.bars
        before = list(islice(self._record.bars_from(first), bar - first))
        kept = last_kept(before)
        self._store.drop_pending()
        self._carrier.holding = False
        border = parting if self._other_code else as_recorded
        rerun = Rerun(start, chain(before[kept:], self._record.bars_from(bar)), self._carrier, self._store, border=border)
        self._carrier.watch(rerun.run.context.trace)
        self._take_over(rerun, stood, before[:kept])
        self._anchor(rerun)
        while rerun.bar < bar:
            await rerun.next()
            take_up(rerun)
            await asyncio.sleep(0)  # else many of them could not be cancelled
        if first < bar and self._record.segment_bar(bar) < bar and self._record.changes_at(bar):
            self._anchor(rerun)
            return await self._rebuild(bar)
        self._rerun, self._start = rerun, replace(start, opening=rerun.opening)
        if not self._other_code:
            self._carrier.check = lambda coming: as_made(rerun, coming)
        self._held = Held(rerun.run, self._carrier, lambda: _keep_inputs(rerun))
        return rerun, self._held

    def _nearest(self, bar: int) -> tuple[Beginning, Stood]:
        """The nearest whole state before ``bar``: one that was stood at, or the one that begins the segment."""
        segment = self._record.segment_bar(bar)
        near = max((number for number in self._anchors if segment < number <= bar), default=segment)
        start = self._record.beginning_at(near)
        if near == segment and start.state is None:
            raise self._record.headless(segment)
        return start, self._anchors[near] if near > segment or start.state is None else Stood(start.state)

    def _take_over(self, rerun: Rerun, stood: Stood, since: Sequence[RecordedBar]) -> None:
        """Let ``rerun`` stand behind ``since``.

        Raises:
            OtherCode: the state was kept by code whose services keep theirs in another form.
        """
        try:
            rerun.take_over(stood.state, since)
        except BrainError:
            raise
        except Exception as error:
            if not self._other_code:
                raise
            raise OtherCode(
                f"the state that the other code kept cannot be taken over by this one ({type(error).__name__}: {error})",
                help="use the version that recorded the session",
            ) from error
        part(rerun, None if since else stood.parted)

    def _anchor(self, rerun: Rerun) -> None:
        stood = self._anchors.pop(rerun.bar, None) or Stood(rerun.run.record(whole=True), difference(rerun))
        self._anchors[rerun.bar] = stood  # the last one that was stood at is the last to go
        while len(self._anchors) > _ANCHORS:
            del self._anchors[next(iter(self._anchors))]


def _keep_inputs(rerun: Rerun) -> Undo:
    recorded = rerun.script.bar
    inputs = recorded.inputs.copy()

    def undo() -> None:
        recorded.inputs = inputs.copy()

    return undo
