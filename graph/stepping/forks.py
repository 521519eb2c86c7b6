"""The what-ifs of a stepper: each begins where the session stands, and goes its own way from there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from graph.stepping.again import Again
from graph.stepping.carrier import Carrier
from graph.stepping.edits import Edit
from graph.stepping.errors import NotThere, StepError, nearest
from graph.stepping.paths import Path
from graph.stepping.place import Breakpoints
from graph.stepping.record import NOTHING, FieldChange, Record, field_changes
from graph.stepping.what_if import WhatIf, what_if

RUN_BARS = 1_000
"""Bars after which :meth:`Forks.run` stops where no breakpoint was come to: each of them is held at every node."""


class Forks:
    """The what-ifs that were made, by name.

    Args:
        record: the session's record.
        cleanup: closes what they leave behind.

    Attributes:
        all: in the order in which they were made.
        shown: the one that is looked at; None: the session itself.
    """

    def __init__(self, record: Record, cleanup: ExitStack) -> None:
        self.all: dict[str, WhatIf] = {}
        self.shown: WhatIf | None = None
        self._record, self._cleanup = record, cleanup
        self._made = 0

    async def make(self, again: Again) -> WhatIf:
        """A what-if that stands where ``again`` stands."""
        at, (start, state) = again.place, again.before
        self._made += 1
        name = f"what-if {self._made}"
        fork = self._cleanup.enter_context(what_if(name, start, state, Carrier()))
        await fork.begin(next(self._record.bars_from(at.bar)))
        while fork.place < at:
            await fork.forward()
        self.all[name] = fork
        return fork

    async def forward(self, fork: WhatIf) -> None:
        """The next node; after the last one the next event, and after that the next bar."""
        if fork.over or not await fork.forward():
            await self.bars_on(fork, 1)

    async def run(self, fork: WhatIf, breaks: Breakpoints) -> bool:
        """On to the next breakpoint, a thousand bars at most; without one to the end of the bar. Whether one was come to."""
        last = min(fork.bar + RUN_BARS, self._record.bars - 1)
        while True:
            while not fork.over and await fork.forward():
                if breaks.stops(fork.held.walk):
                    return True
            if not breaks or fork.bar >= last:
                return False
            await self.bars_on(fork, 1)
            if breaks.stops(fork.held.walk):
                return True

    async def bars_on(self, fork: WhatIf, count: int) -> None:
        """``count`` bars on, before the first node.

        Raises:
            NotThere: the record ends before that.
        """
        if fork.bar + count >= self._record.bars:
            raise NotThere("the record ends here")
        await fork.finish()
        for left in range(count, 0, -1):
            recorded = next(self._record.bars_from(fork.bar + 1))
            await (fork.begin(recorded) if left == 1 else fork.through(recorded))

    def show(self, name: str | None) -> None:
        """Look at the what-if called ``name``; None: at the session."""
        self.shown = None if name is None else self.named(name)

    async def drop(self, name: str) -> None:
        """Forget a what-if."""
        fork = self.named(name)
        del self.all[name]
        if self.shown is fork:
            self.shown = None
        await fork.held.drop()

    def named(self, name: str) -> WhatIf:
        """The what-if called ``name``."""
        if name not in self.all:
            raise StepError(f"there is no {name!r}{nearest(name, self.all)}")
        return self.all[name]

    async def close(self) -> None:
        """Let go of all of them."""
        for fork in self.all.values():
            await fork.held.drop()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: ``edit`` where it was put there by hand, else ``change``; ``recorded``: before the what-if."""

    edit: Edit | None = None
    change: FieldChange | None = None
    recorded: bool = False


def origin_in(fork: WhatIf, path: Path, record: Record) -> Origin | None:
    """Where what stands at ``path`` in ``fork`` comes from; None where nothing was written."""
    here = fork.place
    for at, edit in reversed(fork.changed):
        if (at.bar, at.event) == (here.bar, here.event) and _overlap(edit.path, path):
            return Origin(edit=edit)
    own = fork.own()
    changes = list(field_changes(own, path, NOTHING))
    if len(changes) > 1 or (changes and own[0].number > fork.born):
        return Origin(change=changes[-1])
    before = record.origin(path, fork.born, 0, set())
    if before is not None and (not changes or before.new == changes[0].new):
        return Origin(change=before, recorded=True)
    return Origin(change=changes[0]) if changes else None


def _overlap(one: Path, other: Path) -> bool:
    def same(a: Sequence[object], b: Sequence[object]) -> bool:
        return all(x is None or y is None or x == y for x, y in zip(a, b, strict=False))

    return one.root == other.root and same(one.steps, other.steps)
