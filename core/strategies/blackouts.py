"""Times in which nothing is opened, as a person wrote them down (requirement G7 "no news", decision X22)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from configs.validators import Blackouts
from core.exec.instrument import parse_symbol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class NewsCalendar:
    """Answers whether a moment lies in a blackout window of ``blackouts.yaml``.

    Raises:
        BrainError: a window names a symbol in an unknown form.
    """

    __slots__ = ("_reviewed_until", "_windows")

    def __init__(self, blackouts: Blackouts) -> None:
        self._reviewed_until = None if blackouts.reviewed_until is None else _ms(blackouts.reviewed_until)
        self._windows = tuple(
            (_ms(window.start), _ms(window.end), frozenset(parse_symbol(symbol) for symbol in window.symbols))
            for window in blackouts.windows
        )

    def status(self, ts: int, symbol: str) -> bool | None:
        """True: clear; False: inside a window (start included, end not); None: nobody has reviewed this time yet."""
        for start, end, symbols in self._windows:
            if start <= ts < end and (not symbols or symbol in symbols):
                return False
        return True if self._reviewed_until is not None and ts <= self._reviewed_until else None
