"""The health gates (requirement E7, decisions X26, X27): what must be there before anything is opened.

Each stream is stale by its own schedule. A gate that fails for one symbol blocks that symbol; one that fails for
every symbol of the run pauses the system, as does a clock that is off, or was never measured. When the cause has
gone, the next report says so; nothing has to be reset by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.codes import RefusalCode
from core.data.blocks import ClockReading, Ints
from core.types import HealthReport, Meta, Timeframe

CLEAN_BARS_TO_TRUST = 12
"""Clean base bars on end after which candles count as whole again: an hour of 5m bars, so that the fastest
indicators' short windows (14 and 20 bars) are mostly rebuilt from good bars before money depends on them."""

CANDLE_GRACE_MS = 10_000
"""How long after two missed bars a candle stream still counts as alive: reconnect and back-fill take seconds."""

FUNDING_GRACE_MS = 600_000
"""Exchanges publish a settlement minutes late at times."""

_GATES = (
    RefusalCode.STREAM_CANDLES,
    RefusalCode.CANDLE_INTEGRITY,
    RefusalCode.STREAM_FUNDING,
    RefusalCode.STREAM_BOOK,
)
"""Gates of a symbol; where several fail, the first is the one reported."""

_FAR = 1 << 62


class HealthMonitor:
    """Verdict of the gates, recomputed only when something changed or the next deadline has passed.

    ``HealthReport.ok`` means that nothing is paused; single symbols may still be blocked. ``rebuilding`` says
    whether some symbol must still show clean bars.

    Attributes:
        book_ts: time of each symbol's last order book, -1 before the first; written by the market.

    Args:
        symbols: the run's symbols.
        is_perp: whether each has funding.
        base_tf: base timeframe of each.
        last_ts: (S,) close time of each symbol's last base bar, -1 before the first; written by the feed.
        ntp_skew_ms: largest drift of the clock.
        require_streams: governance's list. ``book`` there demands real books; where the source has books their
            staleness blocks in any case (X26: a book is needed to enter).
        has_books: whether the source has order books.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        is_perp: Sequence[bool],
        base_tf: Sequence[Timeframe],
        last_ts: Ints,
        *,
        ntp_skew_ms: int,
        require_streams: Sequence[str],
        has_books: bool,
    ) -> None:
        self.symbols = tuple(symbols)
        count = len(self.symbols)
        self._base_ms = [tf.ms for tf in base_tf]
        self._last_ts = last_ts
        self._skew_ms = ntp_skew_ms
        self._needs_candles = "candles" in require_streams
        self._needs_funding = [perp and "funding" in require_streams for perp in is_perp]
        self._shortest_ms = min(self._base_ms, default=0)
        self._funded = [index for index, needed in enumerate(self._needs_funding) if needed]
        self._needs_books = has_books or "book" in require_streams
        self._funding_until = [-1] * count
        self.book_ts = [-1] * count
        self._clean_left = [0] * count
        self.rebuilding = False
        self._drift_ms: float | None = None
        self._clock_bad = True
        self._journal_lost = False
        self._dirty = True
        self._watch_bars = True
        self._watch_books = True
        self._next_check = -1
        self._failed: tuple[tuple[RefusalCode, ...], ...] = ((),) * count
        self._paused: tuple[RefusalCode, ...] = ()
        self._blocked: tuple[tuple[str, RefusalCode], ...] = ()

    # --- what is heard ----------------------------------------------------------------------------

    def on_clock(self, reading: ClockReading) -> None:
        """A measurement of the clock; the worse of the two drifts decides. One that measured nothing is no news."""
        drifts = [abs(drift) for drift in (reading.exchange_drift_ms, reading.ntp_drift_ms) if drift is not None]
        if not drifts:
            return
        self._drift_ms = math.nan if any(map(math.isnan, drifts)) else max(drifts)
        bad = not self._drift_ms <= self._skew_ms
        if bad is not self._clock_bad:
            self._clock_bad = bad
            self._dirty = True

    def on_bars(self, clean: Sequence[int] | None) -> None:
        """Base bars arrived (``last_ts`` is written already).

        Args:
            clean: positions whose bar counts towards trust; None is allowed while :attr:`rebuilding` is False.
        """
        if self._watch_bars:
            self._dirty = True
        for index in clean or ():
            if self._clean_left[index]:
                self._clean_left[index] -= 1
                if not self._clean_left[index]:
                    self._dirty = True
                    self.rebuilding = any(self._clean_left)

    def on_trouble(self, index: int) -> None:
        """The symbol's candles had an issue that blocks: it must show clean bars from here on."""
        self._clean_left[index] = CLEAN_BARS_TO_TRUST
        self.rebuilding = True
        self._dirty = True

    def on_funding(self, index: int, ts: int, interval_ms: int) -> None:
        """A settlement at ``ts``; the next is due an interval later."""
        self._funding_until[index] = max(self._funding_until[index], ts + interval_ms + FUNDING_GRACE_MS)
        self._dirty = True

    def on_journal(self, *, written: bool) -> None:
        """Whether the session journal can be written: nothing is entered that could not be explained afterwards."""
        self._journal_lost = not written
        self._dirty = True

    def on_books(self) -> None:
        """Order books arrived (:attr:`book_ts` is written already)."""
        if self._watch_books:
            self._dirty = True

    # --- what follows from it ---------------------------------------------------------------------

    def report(self, ts: int) -> HealthReport:
        """Verdict at ``ts``."""
        if self._dirty or (ts > self._next_check and not self._still_well(ts)):
            self._judge(ts)
        return HealthReport(ts, not self._paused, self._drift_ms, self._paused, self._blocked)

    def failed(self, ts: int, index: int) -> tuple[RefusalCode, ...]:
        """Every gate that fails for a symbol, most basic first (the report names only the first)."""
        if self._dirty or ts > self._next_check:
            self._judge(ts)
        return self._failed[index]

    def evidence(self, index: int, code: RefusalCode) -> Meta:
        """What a gate of a symbol was judged by: observed and limit; times in ms, -1: never."""
        span = 2 * self._base_ms[index]
        known: dict[RefusalCode, Meta] = {
            RefusalCode.CLOCK_DRIFT: (("drift_ms", self._drift_ms), ("limit_ms", self._skew_ms)),
            RefusalCode.STREAM_CANDLES: (("last_close_ts", int(self._last_ts[index])), ("limit_ms", span + CANDLE_GRACE_MS)),
            RefusalCode.CANDLE_INTEGRITY: (("clean_bars_missing", self._clean_left[index]), ("of", CLEAN_BARS_TO_TRUST)),
            RefusalCode.STREAM_FUNDING: (("funding_good_until_ts", self._funding_until[index]),),
            RefusalCode.STREAM_BOOK: (("last_book_ts", self.book_ts[index]), ("limit_ms", span)),
        }
        return known.get(code, ())

    def _still_well(self, ts: int) -> bool:
        """Whether nothing had failed and every deadline has moved past ``ts`` meanwhile; the next check moves on with them."""
        if self._blocked or self._paused:
            return False
        step = 2 * self._shortest_ms
        candles = int(self._last_ts.min()) + step + CANDLE_GRACE_MS if self._needs_candles else _FAR
        books = min(self.book_ts) + step if self._needs_books else _FAR
        funding = min((self._funding_until[index] for index in self._funded), default=_FAR)
        self._next_check = min(candles, books, funding)
        return self._next_check >= ts

    def _judge(self, ts: int) -> None:
        deadlines = [self._deadlines(index) for index in range(len(self.symbols))]
        late = tuple(tuple(gate for gate, until in zip(_GATES, row, strict=True) if ts > until) for row in deadlines)
        self._failed = late
        self._blocked = tuple((symbol, codes[0]) for symbol, codes in zip(self.symbols, late, strict=True) if codes)
        paused = [RefusalCode.CLOCK_DRIFT] if self._clock_bad else []
        paused += [RefusalCode.JOURNAL_LOST] if self._journal_lost else []
        paused += [gate for gate in _GATES if late and all(gate in codes for codes in late)]
        self._paused = tuple(paused)
        self._next_check = min((until for row in deadlines for until in row if until >= ts), default=_FAR)
        self._watch_bars = any(RefusalCode.STREAM_CANDLES in codes for codes in late)
        self._watch_books = any(RefusalCode.STREAM_BOOK in codes for codes in late)
        self._dirty = False

    def _deadlines(self, index: int) -> tuple[int, int, int, int]:
        """Last moment at which each gate still holds, in the order of the gates; -1: it does not hold."""
        base_ms, last = self._base_ms[index], int(self._last_ts[index])
        candles = _FAR if not self._needs_candles else -1 if last < 0 else last + 2 * base_ms + CANDLE_GRACE_MS
        integrity = -1 if self._clean_left[index] else _FAR
        funding = self._funding_until[index] if self._needs_funding[index] else _FAR
        book_ts = self.book_ts[index]
        book = _FAR if not self._needs_books else -1 if book_ts < 0 else book_ts + 2 * base_ms
        return candles, integrity, funding, book

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What was heard; the verdict follows from it."""
        drift = self._drift_ms
        return {
            "funding_until": list(self._funding_until),
            "book_ts": list(self.book_ts),
            "clean_left": list(self._clean_left),
            "drift_ms": None if drift is None else repr(drift),
            "clock_bad": self._clock_bad,
            "journal_lost": self._journal_lost,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave (``last_ts`` is the feed's to restore)."""
        self._funding_until = [int(ts) for ts in state["funding_until"]]
        self.book_ts = [int(ts) for ts in state["book_ts"]]
        self._clean_left = [int(left) for left in state["clean_left"]]
        self.rebuilding = any(self._clean_left)
        self._drift_ms = None if state["drift_ms"] is None else float(state["drift_ms"])
        self._clock_bad = bool(state["clock_bad"])
        self._journal_lost = bool(state["journal_lost"])
        self._dirty = True
