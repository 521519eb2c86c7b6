"""A search that takes long: it is told of, and it can be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.clock import elapsed_ns

_WONDERS_NS, _AGAIN_NS = 2_000_000_000, 1_000_000_000


class Patience:
    """Hears in a task how far a search is, and says it once a second from the third on; ends it where the task was cancelled.

    Args:
        say: where the words go.
        now: a clock that only goes forward, ns.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], int] = elapsed_ns) -> None:
        self._say, self._now = say, now
        self._due = 0

    def __call__(self, done: int, total: int) -> None:
        """``done`` segments of ``total`` are searched.

        Raises:
            asyncio.CancelledError: the task was cancelled; a search awaits nothing, where it would hear of that.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if done == 0:
            self._due = self._now() + _WONDERS_NS
        elif self._now() >= self._due:
            self._due = self._now() + _AGAIN_NS
            self._say(f"searching: {done} of {total} segments")
