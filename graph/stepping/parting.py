"""A session made again by other code: where the two part, the run goes on, and takes up the record at its next state."""

from __future__ import annotations

from core.data.blocks import Batch
from core.journal.bars import Made
from core.journal.tape import Outputs
from core.types import Event
from graph.journaling import OnEvents
from graph.replaying import Check, Difference, Differs, Script
from graph.rerun import Rerun
from graph.stepping.what_if import WhatIfVenue, moved, wanted
from tools.topology import ENTRY


class PartingVenue(WhatIfVenue):
    """Tells and answers what is on record as long as the same is decided, and then as a what-if's venue does."""

    __slots__ = ("_script",)

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        inputs = self._script.bar.inputs
        self.hear(inputs)
        inputs.clear()
        await super().advance(batch, on_events)

    async def deliver(self, on_events: OnEvents) -> None:
        inputs = self._script.bar.inputs
        if inputs:
            self.hear(inputs)
            inputs.clear()
        await super().deliver(on_events)


class PartingCheck(Check):
    """Compares as :class:`Check` does, and keeps the first difference instead of ending the run.

    Attributes:
        difference: where the run parted from the record; None as long as it has not, or since it has taken the record up again.
    """

    def __init__(self, script: Script, venue: PartingVenue) -> None:
        super().__init__(script)
        self._venue = venue
        self.difference: Difference | None = None

    def decided(self, event: Event, outputs: Outputs) -> None:
        """Compare with what was decided at this place, and go on either way."""
        made = self._script.bar.made
        then = made[:1]
        try:
            super().decided(event, outputs)
        except Differs as differs:
            self._part(differs)
            del made[:1]
            self._venue.move(moved(wanted(then), wanted([Made(event.seq, event.ts, tuple(outputs))])))

    def all_used(self) -> None:
        """What the record has more of this bar is a difference too."""
        try:
            super().all_used()
        except Differs as differs:
            self._part(differs)

    def _part(self, differs: Differs) -> None:
        self.difference = self.difference or differs.difference


def parting(script: Script) -> tuple[PartingVenue, PartingCheck]:
    """The border of a run that may part from its record."""
    venue = PartingVenue(script)
    return venue, PartingCheck(script, venue)


def difference(rerun: Rerun) -> Difference | None:
    """Where ``rerun`` parted from the record."""
    return rerun.check.difference if isinstance(rerun.check, PartingCheck) else None


def as_made(rerun: Rerun, coming: str | None) -> None:
    """Compare what nodes have written of the event that is on its way, and the node that comes next, with the record.

    Raises:
        Differs: at the first node that is not the recorded one, or wrote something else.
    """
    outputs, made = rerun.run.context.trace.outputs, rerun.script.bar.made
    if not made:
        raise rerun.script.differs(outputs[-1][0] if outputs else ENTRY, (), "no decision", "a decision")
    rerun.check.so_far(outputs)
    ran = [name for name, _ in made[0].outputs]
    then = ran[len(outputs)] if len(outputs) < len(ran) else None
    if then != coming:
        raise rerun.script.differs(
            ran[len(outputs) - 1], (), f"{then or 'the end'} came next", f"{coming or 'the end'} came next"
        )


def seen(rerun: Rerun, coming: str | None) -> Difference | None:
    """The same, with what :func:`as_made` sees of the event that is on its way."""
    known = difference(rerun)
    if known is not None or not isinstance(rerun.check, PartingCheck):
        return known
    try:
        as_made(rerun, coming)
    except Differs as differs:
        return differs.difference
    return None


def part(rerun: Rerun, known: Difference | None) -> None:
    """``rerun`` goes on from a state of a run that had parted there."""
    if isinstance(rerun.check, PartingCheck):
        rerun.check.difference = known


def take_up(rerun: Rerun) -> None:
    """Go on from the recorded state, where one is kept after the bar that ``rerun`` has just made and it had parted."""
    if difference(rerun) is not None and rerun.script.bar.state is not None:
        rerun.run.restore_record(rerun.script.bar.state)
        part(rerun, None)
