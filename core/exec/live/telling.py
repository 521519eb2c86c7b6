"""What the books are told, and when: each event once, in order, and after a restart in the very groups in which they heard it.

Books are restored to a bar, and what came after it is decided again; it must then come as it came before, or other
decisions would be made of it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from core.exec.live.outbox import Outbox
from core.exec.live.outbox_schema import Group
from core.types import BrokerEvent


class Telling:
    """Gives out what the outbox owes.

    Attributes:
        told: number of the last event that was told.
        ready: set while something waits to be told.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._again: deque[Group] = deque()
        self.ready = asyncio.Event()
        self.told = 0
        outbox.on_owed = self.ready.set
        self.restore(0, 0)

    @property
    def groups(self) -> int:
        """How many groups were told to the books as they stand."""
        return self._outbox.groups - len(self._again)

    def restore(self, told: int, groups: int) -> None:
        """The books have heard everything up to number ``told``, in so many groups, and nothing after it."""
        self.told = told
        self._again = deque(self._outbox.groups_after(groups))
        self._outbox.groups = max(self._outbox.groups, groups)  # the last one, without events, may have gone with the power
        self.ready.clear()
        self._outbox.owe_again(told)
        if not self._outbox.owed:
            self.ready.clear()

    @property
    def repeating(self) -> bool:
        """Whether what comes next was told in an earlier life already."""
        return bool(self._again)

    def before(self, ts: int) -> tuple[BrokerEvent, ...]:
        """The next group before what is decided at the bar of ``ts``; empty when nothing more comes before that.

        A bar that an earlier life had begun hears just what it heard then: what has come since may be of orders that are
        yet to be decided again.
        """
        while self._again and self._again[0].ts <= ts:
            if self._again[0].upto > self.told:
                return self.next(ts)
            if self._again.popleft().ts == ts:
                return ()
        events = self.next(ts)
        if not events and not self._again:
            self._outbox.telling(Group(self.told, ts), wait=False)  # nobody hears anything of it
        return events

    def next(self, ts: int) -> tuple[BrokerEvent, ...]:
        """The next group at the bar of ``ts``; empty when there is nothing to tell at it.

        What was told at a later bar in an earlier life waits for that bar.
        """
        while self._again and self._again[0].ts <= ts and self._again[0].upto == self.told:
            self._again.popleft()
        if self._again:
            if self._again[0].ts > ts:
                self.ready.clear()  # or whoever waits for it would ask again and again until that bar
                return ()
            upto = self._again.popleft().upto
        elif not self._outbox.owed:
            return ()
        else:
            upto = self._outbox.owed[-1][0]
            self._outbox.telling(Group(upto, ts))
        events = []
        while self._outbox.owed and self._outbox.owed[0][0] <= upto:
            events.append(self._outbox.owed.popleft()[1])
        self.told = upto
        if not self._outbox.owed:
            self.ready.clear()
        return tuple(events)
