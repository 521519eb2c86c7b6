"""Telling of a search that takes long enough for a person to wonder."""

from __future__ import annotations

from collections.abc import Callable

from core.clock import elapsed_ns

_WONDERS_NS, _AGAIN_NS = 2_000_000_000, 1_000_000_000


class Patience:
    """Hears how far a search is, and says it once a second from the third on.

    Args:
        say: where the words go.
        now: a clock that only goes forward, ns.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], int] = elapsed_ns) -> None:
        self._say, self._now = say, now
        self._due = 0

    def __call__(self, done: int, total: int) -> None:
        """``done`` segments of ``total`` are searched."""
        if done == 0:
            self._due = self._now() + _WONDERS_NS
        elif self._now() >= self._due:
            self._due = self._now() + _AGAIN_NS
            self._say(f"searching: {done} of {total} segments")
