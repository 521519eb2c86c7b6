"""Standing at a node of a recorded session, and moving from there: by node, bar, mark, time, condition; and what-ifs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from core.journal.bars import Beginning
from core.journal.records import State
from core.types import EventKind
from graph.engines import EngineKind, build_engine
from graph.rerun import Rerun, standing_before, throw_away_store
from graph.sessions import Session
from graph.stepping.carrier import Carrier, Turn, Undo, Walk
from graph.stepping.conditions import Condition
from graph.stepping.edits import edited
from graph.stepping.errors import NotThere, StepError, nearest
from graph.stepping.held import Held
from graph.stepping.paths import Path, parse_path
from graph.stepping.record import Hit, Mark, Record
from graph.stepping.what_if import WhatIf, what_if
from tools.state import BrainState
from tools.topology import AGENTS, agent

NODES = tuple(spec.name for spec in AGENTS)
_NEAR_BARS = 512
"""Up to so many bars are made again from where the run stands; what is further is stood at anew."""
_ANCHORS = 24
"""States kept of bars that were stood at; about a megabyte each."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where the stepper stands: bar, event of the bar, nodes of the event that have run."""

    bar: int
    event: int
    step: int


@dataclass(slots=True)
class Breakpoints:
    """Nodes before and after which :meth:`Stepper.run` stops."""

    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.before or self.after)

    def stops(self, walk: Walk) -> bool:
        """Whether to stop where ``walk`` stands."""
        return walk.here.next in self.before or (bool(walk.turns) and walk.turns[-1].node in self.after)


class Stepper:
    """A recorded session, held at a node.

    Use :func:`stepping`, which cleans up. Every method that moves raises :class:`StepError` where the wish cannot be followed
    and :class:`NotThere` where what is looked for does not exist; the stepper stands where it stood then.

    Attributes:
        record: the session's record, for searching.
        breaks: where :meth:`run` stops.
        what_ifs: by name, in the order in which they were made.
        shown: the what-if that is looked at; None: the session itself.
    """

    def __init__(self, session: Session, cleanup: ExitStack) -> None:
        self.session = session
        self.record = Record(session.reader())
        self.breaks = Breakpoints()
        self.what_ifs: dict[str, WhatIf] = {}
        self.shown: WhatIf | None = None
        self._cleanup = cleanup
        self._carrier = Carrier()
        self._store = cleanup.enter_context(throw_away_store())
        self._held: Held | None = None
        self._start: Beginning | None = None
        self._rerun: Rerun | None = None
        self._bar = -1
        self._anchors: dict[int, State] = {}
        self._made = 0

    # --- where it stands ----------------------------------------------------------------------------------

    @property
    def held(self) -> Held:
        """The run that is looked at: the session's or that of a what-if."""
        if self.shown is not None:
            return self.shown.held
        if self._held is None:
            raise StepError("the stepper stands nowhere yet")
        return self._held

    @property
    def bar(self) -> int:
        """Number of the bar."""
        return self._bar if self.shown is None else self.shown.bar

    @property
    def walk(self) -> Walk:
        """The event of the bar that is on its way."""
        return self.held.walk

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.bar, len(self.held.walks) - 1, self.walk.step)

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

    # --- moving -------------------------------------------------------------------------------------------

    async def stand(self, bar: int) -> None:
        """Stand before the first node of ``bar`` of the session."""
        self.record.check(bar)
        self.shown = None
        await self._open(bar)

    async def go(self, place: Place) -> None:
        """To ``place`` of the session."""
        if self.shown is not None or self._held is None or self._bar != place.bar or self.place > place:
            await self.stand(place.bar)
        while self.place < place and self._same_bar(place):
            await self.forward()

    def _same_bar(self, place: Place) -> bool:
        last = self.next is None and self.place.event + 1 >= len(self.record.bar(self._bar).made)
        return self._bar == place.bar and not last

    async def forward(self) -> None:
        """The next node; after the last one the next event, and after that the next bar."""
        if self.shown is not None:
            await self._forward_what_if(self.shown)
            return
        if self.next is None and self._bar + 1 >= self.record.bars and self.place.event + 1 >= self._events():
            raise NotThere("the record ends here")
        if not await self.held.forward():
            await self._open(self._bar + 1)

    def _events(self) -> int:
        return len(self.record.bar(self._bar).made)

    async def back(self) -> None:
        """To the border before; at the first node of an event to the end of the event before."""
        if self.shown is not None:
            if self.place.step <= self.shown.first_step and self.bar == self._bar:
                raise StepError("a what-if cannot go back behind its change", help="original")
            if not await self.held.back():
                raise StepError("a what-if goes back inside an event only", help="original")
            return
        if await self.held.back():
            return
        at = self.place
        if at.event:
            await self.go(Place(at.bar, at.event - 1, _END))
        elif at.bar > self.record.first_bar:
            await self.go(Place(at.bar - 1, _END, _END))
        else:
            raise NotThere("the record begins here")

    async def by_bars(self, count: int) -> None:
        """``count`` bars on, or back where it is negative, before the first node."""
        if self.shown is None:
            await self.stand(self._bar + count)
            return
        if count < 0:
            raise StepError("a what-if goes on only", help="original")
        for number in range(count):
            await self._bar_on(self.shown, hold=number == count - 1)

    async def to_mark(self, mark: Mark, *, back: bool = False) -> Hit:
        """To the next (previous) bar that stands out by ``mark``."""
        hit = self.record.next(mark, self._bar, back=back)
        await self.to_hit(hit)
        return hit

    async def to_hit(self, hit: Hit) -> None:
        """To a bar that was found."""
        await self.go(Place(hit.bar, hit.event, 0))

    async def to_condition(self, condition: Condition, *, back: bool = False) -> Hit:
        """To the next (previous) event of which ``condition`` holds."""
        here = (self._bar, self.place.event)
        hits = [
            hit for hit in self.record.where(condition) if ((hit.bar, hit.event) < here if back else (hit.bar, hit.event) > here)
        ]
        if not hits:
            raise NotThere(f"there is no {'earlier' if back else 'later'} event of which {condition.text!r} holds")
        hit = hits[-1 if back else 0]
        await self.to_hit(hit)
        return hit

    async def run(self) -> None:
        """On to the next breakpoint; without one to the end of the bar."""
        if self.shown is not None:
            await self._run_what_if(self.shown)
        elif not self.breaks:
            await self.go(Place(self._bar, _END, _END))
        else:
            await self._to_break()

    async def _to_break(self) -> None:
        at = self.place
        if self.record.next_run(self.breaks.before | self.breaks.after, at.bar, at.event - 1) is None:
            raise NotThere("no later event reaches a breakpoint")
        while True:
            while self.next is not None:
                await self.forward()
                if self.breaks.stops(self.walk):
                    return
            at = self.place
            found = self.record.next_run(self.breaks.before | self.breaks.after, at.bar, at.event)
            if found is None:
                raise NotThere("no later event reaches a breakpoint")
            await self.go(Place(*found, 0))
            if self.breaks.stops(self.walk):
                return

    def break_at(self, node: str, *, after: bool = False) -> bool:
        """Set a breakpoint before (after) ``node``, or lift it; whether it is set now."""
        if node not in NODES:
            raise StepError(f"there is no node {node!r}{nearest(node, NODES)}")
        which = self.breaks.after if after else self.breaks.before
        which.symmetric_difference_update({node})
        return node in which

    # --- making the session again -------------------------------------------------------------------------

    async def _open(self, bar: int) -> None:
        near = self._held is not None and not self._held.on_its_way and self._rerun is not None and self._rerun.bar == bar
        if near and self.record.changes_at(bar) and self._rerun is not None:
            self._anchor(self._rerun)
        if not near or self.record.changes_at(bar):
            await self._rebuild(bar)
        rerun, held = self._rerun, self._held
        assert rerun is not None and held is not None  # noqa: S101, PT018 - just made
        self._anchor(rerun)
        recorded = rerun.script.turn()
        if recorded is None:
            raise NotThere(f"bar {bar} is not on record")
        self._bar = bar
        await held.begin(recorded.batch)

    async def _rebuild(self, bar: int) -> None:
        if self._held is not None:
            await self._held.drop()
        self._held = None
        state = await self._state_before(bar)
        start = self.record.beginning_at(state.bars)
        self._store.drop_pending()
        rerun = Rerun(start, self.record.bars_from(state.bars), self._carrier, self._store, None)
        rerun.run.restore_record(state)
        self._carrier.watch(rerun.run.context.trace)
        self._carrier.holding = False
        while rerun.bar < bar:
            await rerun.next()
        if rerun.bar == bar and self.record.changes_at(bar) and state.bars < bar:
            self._anchor(rerun)
            await self._rebuild(bar)
            return
        self._rerun, self._start = rerun, replace(start, opening=rerun.opening)

        def keep_ports() -> Undo:
            recorded = rerun.script.bar
            inputs = recorded.inputs.copy()

            def undo() -> None:
                recorded.inputs = inputs.copy()

            return undo

        self._held = Held(rerun.run, self._carrier, keep_ports)

    async def _state_before(self, bar: int) -> State:
        """The state before ``bar``, or a few bars earlier."""
        near = [number for number in self._anchors if bar - _NEAR_BARS <= number <= bar]
        if near:
            return self._anchors[max(near)]
        with standing_before(self.record.reader, bar, build_engine(EngineKind.DIRECT)) as rerun:
            while rerun.bar < bar:
                await rerun.next()
            return rerun.run.record(whole=True)

    def _anchor(self, rerun: Rerun) -> None:
        if rerun.bar not in self._anchors:
            self._anchors[rerun.bar] = rerun.run.record(whole=True)
            while len(self._anchors) > _ANCHORS:
                del self._anchors[next(iter(self._anchors))]

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
        fork = self.shown or await self._fork()
        self.shown = fork
        fork.edits.append(edit)
        fork.first_step = max(fork.first_step, fork.held.walk.step)
        await fork.held.follow(fork.held.carrier.edit(cast(BrainState, {path.root: value})))
        return fork

    async def _fork(self) -> WhatIf:
        """A what-if that stands where the session stands."""
        at, start = self.place, self._start
        assert start is not None  # noqa: S101 - it stands somewhere
        self._made += 1
        name = f"what-if {self._made}"
        fork = self._cleanup.enter_context(what_if(name, start, self._anchors[at.bar], Carrier()))
        await fork.begin(next(self.record.bars_from(at.bar)))
        while (len(fork.held.walks) - 1, fork.held.walk.step) < (at.event, at.step):
            await fork.forward()
        self.what_ifs[name] = fork
        return fork

    async def _forward_what_if(self, fork: WhatIf) -> None:
        if fork.over or not await fork.forward():
            await self._bar_on(fork, hold=True)

    async def _run_what_if(self, fork: WhatIf) -> None:
        while not fork.over:
            if not await fork.forward():
                return
            if self.breaks.stops(fork.held.walk):
                return

    async def _bar_on(self, fork: WhatIf, *, hold: bool) -> None:
        await fork.finish()
        if fork.bar + 1 >= self.record.bars:
            raise NotThere("the record ends here")
        recorded = next(self.record.bars_from(fork.bar + 1))
        if hold:
            await fork.begin(recorded)
        else:
            await fork.through(recorded)

    def show(self, name: str | None) -> None:
        """Look at the what-if called ``name``; None: at the session, which stands where it stood."""
        if name is not None and name not in self.what_ifs:
            raise StepError(f"there is no {name!r}{nearest(name, self.what_ifs)}")
        self.shown = None if name is None else self.what_ifs[name]

    async def drop(self, name: str) -> None:
        """Forget a what-if."""
        if name not in self.what_ifs:
            raise StepError(f"there is no {name!r}{nearest(name, self.what_ifs)}")
        fork = self.what_ifs.pop(name)
        if self.shown is fork:
            self.shown = None
        await fork.held.drop()

    async def close(self) -> None:
        """Let go of everything; nothing is kept."""
        for fork in self.what_ifs.values():
            await fork.held.drop()
        if self._held is not None:
            await self._held.drop()

    # --- in words -----------------------------------------------------------------------------------------

    def path_of(self, text: str) -> Path:
        """The place in the state that ``text`` names."""
        return parse_path(text, self.record.symbols)

    @property
    def kind(self) -> EventKind:
        """What the present event is."""
        return self.walk.event.kind


_END = 1_000_000
"""More than the events of a bar, and than the nodes of an event."""


@contextmanager
def stepping(session: Session) -> Iterator[Stepper]:
    """A stepper over ``session`` that stands nowhere yet.

    Raises:
        StateError: the journal is damaged, or has no bar.
    """
    with ExitStack() as cleanup:
        yield Stepper(session, cleanup)
