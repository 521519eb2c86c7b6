"""Standing at a node of a recorded session, and moving from there: by node, bar, mark, time, condition; and what-ifs."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import cast

from core.types import EventKind
from graph.names import Names
from graph.replaying import Difference
from graph.rerun import throw_away_store
from graph.sessions import Session
from graph.stepping.again import Again
from graph.stepping.carrier import Turn, Walk
from graph.stepping.conditions import Condition
from graph.stepping.edits import edited
from graph.stepping.errors import NotThere, StepError, nearest
from graph.stepping.forks import Forks, Origin, origin_in
from graph.stepping.held import Held
from graph.stepping.marks import Hit, Mark
from graph.stepping.paths import Path, parse_path
from graph.stepping.place import END, Breakpoints, Place
from graph.stepping.record import Record
from graph.stepping.what_if import WhatIf
from tools.state import BrainState
from tools.topology import AGENTS, agent

NODES = tuple(spec.name for spec in AGENTS)


class Stepper:
    """A recorded session, held at a node.

    Use :func:`stepping`, which cleans up. Every method that moves raises :class:`StepError` where the wish cannot be followed
    and :class:`NotThere` where what is looked for does not exist; the stepper stands where it stood then. Where the session
    made again is not the recorded one, ``Differs`` ends it before anything is shown, unless other code is expected.

    Attributes:
        record: the session's record, for searching.
        breaks: where :meth:`run` stops.
        other_code: whether the session may have been recorded by other code, and the run may part from the record.
    """

    def __init__(self, session: Session, cleanup: ExitStack, *, other_code: bool = False) -> None:
        self.session = session
        self.other_code = other_code
        self.record = Record(session.reader(), Names(session.folder.database))
        self.breaks = Breakpoints()
        self._forks = Forks(self.record, cleanup)
        self._again = Again(self.record, cleanup.enter_context(throw_away_store()), other_code=other_code)

    # --- where it stands ----------------------------------------------------------------------------------

    @property
    def what_ifs(self) -> Mapping[str, WhatIf]:
        """By name, in the order in which they were made."""
        return self._forks.all

    @property
    def shown(self) -> WhatIf | None:
        """The what-if that is looked at; None: the session itself."""
        return self._forks.shown

    @property
    def held(self) -> Held:
        """The run that is looked at: the session's or that of a what-if."""
        return self._again.held if self.shown is None else self.shown.held

    @property
    def bar(self) -> int:
        """Number of the bar."""
        return self._again.bar if self.shown is None else self.shown.bar

    @property
    def walk(self) -> Walk:
        """The event of the bar that is on its way."""
        return self.held.walk

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self._again.place if self.shown is None else self.shown.place

    @property
    def state(self) -> BrainState:
        """The state at this border."""
        return self.walk.here.state

    @property
    def next(self) -> str | None:
        """The node that comes next; None after the last."""
        return self.walk.here.next

    @property
    def last(self) -> Turn | None:
        """What the node before this border did."""
        return self.walk.turns[-1] if self.walk.turns else None

    @property
    def parted(self) -> Difference | None:
        """Where this code and the record parted, if what is shown follows from that."""
        return self._again.parted

    @property
    def kind(self) -> EventKind:
        """What the present event is."""
        return self.walk.event.kind

    # --- moving -------------------------------------------------------------------------------------------

    async def stand(self, bar: int) -> None:
        """Stand before the first node of ``bar`` of the session."""
        await self._again.stand(bar)
        self._forks.show(None)

    async def go(self, place: Place) -> None:
        """To ``place`` of the session."""
        self.record.check(place.bar)
        if self.shown is not None:
            await self.stand(place.bar)
        await self._again.go(place)

    async def forward(self) -> None:
        """The next node; after the last one the next event, and after that the next bar."""
        if self.shown is None:
            await self._again.forward()
        else:
            await self._forks.forward(self.shown)

    async def back(self) -> None:
        """To the border before; at the first node of an event to the end of the event before."""
        if self.shown is not None:
            await self.shown.back()
            return
        if await self.held.back():
            return
        at = self.place
        if at.event:
            await self.go(Place(at.bar, at.event - 1, END))
        elif at.bar > self.record.first_bar:
            await self.go(Place(at.bar - 1, END, END))
        else:
            raise NotThere("the record begins here")

    async def by_bars(self, count: int) -> None:
        """``count`` bars on, or back where it is negative, before the first node."""
        if self.shown is None:
            await self.stand(self.bar + count)
        elif count < 0:
            raise StepError("a what-if goes on only", help="original")
        else:
            await self._forks.bars_on(self.shown, count)

    async def to_mark(self, mark: Mark, *, back: bool = False) -> Hit:
        """To the next (previous) bar of the session that stands out by ``mark``."""
        hit = self.record.next(mark, self._again.bar, back=back)
        await self.to_hit(hit)
        return hit

    async def to_hit(self, hit: Hit) -> None:
        """To a bar that was found."""
        await self.go(Place(hit.bar, hit.event, 0))

    async def to_condition(self, condition: Condition, *, back: bool = False) -> Hit:
        """To the next (previous) event of the session of which ``condition`` holds."""
        at = self._again.place
        hit = self.record.find(condition, at.bar, at.event, back=back)
        await self.to_hit(hit)
        return hit

    async def run(self) -> bool:
        """On to the next breakpoint; without one to the end of the bar. Whether one was come to.

        A what-if goes on for :data:`graph.stepping.forks.RUN_BARS` bars at most.
        """
        if self.shown is not None:
            return await self._forks.run(self.shown, self.breaks)
        if not self.breaks:
            await self.go(Place(self.bar, END, END))
            return False
        at = self.place
        try:
            await self._to_break()
        except NotThere:
            await self.go(at)
            raise
        return True

    async def _to_break(self) -> None:
        nodes, at = self.breaks.before | self.breaks.after, self.place
        found = self.record.next_run(nodes, at.bar, at.event - 1)
        while found is not None:
            while self.next is not None:
                await self.forward()
                if self.breaks.stops(self.walk):
                    return
            found = self.record.next_run(nodes, self.bar, self.place.event)
            if found is not None:
                await self.go(Place(*found, 0))
                if self.breaks.stops(self.walk):
                    return
        raise NotThere("no later event reaches a breakpoint")

    def break_at(self, node: str, *, after: bool = False) -> bool:
        """Set a breakpoint before (after) ``node``, or lift it; whether it is set now."""
        if node not in NODES:
            raise StepError(f"there is no node {node!r}{nearest(node, NODES)}")
        which = self.breaks.after if after else self.breaks.before
        which.symmetric_difference_update({node})
        return node in which

    # --- what-ifs -----------------------------------------------------------------------------------------

    async def change(self, path: Path, text: str) -> WhatIf:
        """Put ``text`` at ``path``, which the next node reads: in the what-if that is shown, or in a new one."""
        node = self.next
        if node is None:
            raise StepError("no node comes after this one, so nothing that it reads can be changed", help="back", code="STEP-003")
        reads = agent(node).reads
        if path.root not in reads:
            raise StepError(f"{node} does not read {path.root}; it reads {', '.join(reads)}", code="STEP-003")
        value, edit = edited(self.state, path, text)
        fork = self.shown or await self._forks.make(self._again)
        self._forks.show(fork.name)
        await fork.change(edit, cast(BrainState, {path.root: value}))
        return fork

    def show(self, name: str | None) -> None:
        """Look at the what-if called ``name``; None: at the session, which stands where it stood."""
        self._forks.show(name)

    async def drop(self, name: str) -> None:
        """Forget a what-if."""
        await self._forks.drop(name)

    async def close(self) -> None:
        """Let go of everything; nothing is kept."""
        await self._forks.close()
        await self._again.close()

    # --- places in the state ------------------------------------------------------------------------------

    def path_of(self, text: str) -> Path:
        """The place in the state that ``text`` names."""
        return parse_path(text, self.record.symbols)

    def origin(self, path: Path) -> Origin | None:
        """Where what stands at ``path`` now comes from; None where nothing has been written there."""
        if self.shown is not None:
            return origin_in(self.shown, path, self.record)
        at, ran = self.place, {turn.node for turn in self.walk.turns} | {"source"}
        change = self.record.origin(path, at.bar, at.event, ran)
        return None if change is None else Origin(change=change, recorded=True)


@contextmanager
def stepping(session: Session, *, other_code: bool = False) -> Iterator[Stepper]:
    """A stepper over ``session`` that stands nowhere yet; with ``other_code`` one that may part from the record.

    Raises:
        StateError: the journal is damaged, or has no bar.
    """
    with ExitStack() as cleanup:
        # What start-up made lives as long as the stepper; the collector need not look at it for every segment that is read.
        gc.freeze()
        cleanup.callback(gc.unfreeze)
        yield Stepper(session, cleanup, other_code=other_code)
