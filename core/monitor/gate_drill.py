"""Proof that each health gate fires: every gate is broken once in front of the real monitor, seen to close, mended, seen to open.

A month in which a gate never closed proves nothing of it. The drill runs the very code and limits that a run would use, on made
times and in a moment; what fired in paper is counted beside it (:mod:`core.monitor.readiness`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.codes import RefusalCode
from core.data.blocks import ClockReading
from core.data.health import CANDLE_GRACE_MS, CLEAN_BARS_TO_TRUST, FUNDING_GRACE_MS, HealthMonitor
from core.types import Timeframe

GATES: tuple[RefusalCode, ...] = (
    RefusalCode.CLOCK_DRIFT,
    RefusalCode.JOURNAL_LOST,
    RefusalCode.STREAM_CANDLES,
    RefusalCode.CANDLE_INTEGRITY,
    RefusalCode.STREAM_FUNDING,
    RefusalCode.STREAM_BOOK,
)
"""Every health gate (E7, X26, X27)."""

_TF = Timeframe.M5
_START = 1_704_067_200_000
_FUNDING_MS = 8 * Timeframe.H1.ms


@dataclass(frozen=True, slots=True)
class Drilled:
    """What came of one gate: seen open when all was well, closed when it was broken, open again when it was mended."""

    gate: RefusalCode
    opened: bool
    closed: bool
    reopened: bool

    @property
    def proven(self) -> bool:
        """Whether the gate fires, and lets go."""
        return self.opened and self.closed and self.reopened


class _Bench:
    """A monitor of one perpetual, so that every gate has something to watch, on which all is well at :attr:`now`."""

    def __init__(self, ntp_skew_ms: int, require_streams: Sequence[str]) -> None:
        self.skew_ms = ntp_skew_ms
        self.now = _START
        self.last = np.array([_START], dtype=np.int64)
        self.monitor = HealthMonitor(
            ("X",),
            (True,),
            (_TF,),
            self.last,
            ntp_skew_ms=ntp_skew_ms,
            require_streams=require_streams,
            has_books=True,
        )
        self.clock(0.0)
        self.bar()
        self.funding()

    def clock(self, drift_ms: float) -> None:
        self.monitor.on_clock(ClockReading(self.now, drift_ms, None))

    def bar(self) -> None:
        """A clean bar with its book."""
        self.last[:] = self.now
        self.monitor.on_bars((0,))
        self.book()

    def book(self) -> None:
        self.monitor.book_ts[0] = self.now
        self.monitor.on_books()

    def funding(self) -> None:
        self.monitor.on_funding(0, self.now, _FUNDING_MS)

    def bars(self, count: int) -> None:
        for _ in range(count):
            self.now += _TF.ms
            self.bar()

    def closed(self) -> tuple[RefusalCode, ...]:
        report = self.monitor.report(self.now)
        return tuple(gate for gate in GATES if gate in report.paused or any(code is gate for _, code in report.blocked))


def drill(ntp_skew_ms: int, require_streams: Sequence[str]) -> tuple[Drilled, ...]:
    """Break and mend each gate in turn, each on a monitor of its own; in the order of :data:`GATES`.

    Args:
        ntp_skew_ms: largest drift of the clock, as governance has it.
        require_streams: governance's list; a stream that is not in it has no gate, and that shows here. A venue has books.
    """
    return tuple(_drilled(gate, *_WAYS[gate], _Bench(ntp_skew_ms, require_streams)) for gate in GATES)


def _drilled(gate: RefusalCode, spoil: _Step, mend: _Step, bench: _Bench) -> Drilled:
    opened = not bench.closed()
    spoil(bench)
    closed = bench.closed() == (gate,)
    mend(bench)
    return Drilled(gate, opened, closed, not bench.closed())


def _no_candles(bench: _Bench) -> None:
    bench.now += 2 * _TF.ms + CANDLE_GRACE_MS + 1
    bench.book()


def _no_book(bench: _Bench) -> None:
    bench.now += 2 * _TF.ms + 1
    bench.last[:] = bench.now
    bench.monitor.on_bars((0,))


def _no_funding(bench: _Bench) -> None:
    bench.bars((_FUNDING_MS + FUNDING_GRACE_MS) // _TF.ms + 1)


_Step = Callable[[_Bench], None]
_WAYS: Mapping[RefusalCode, tuple[_Step, _Step]] = {
    RefusalCode.CLOCK_DRIFT: (lambda bench: bench.clock(bench.skew_ms + 1.0), lambda bench: bench.clock(0.0)),
    RefusalCode.JOURNAL_LOST: (
        lambda bench: bench.monitor.on_journal(written=False),
        lambda bench: bench.monitor.on_journal(written=True),
    ),
    RefusalCode.STREAM_CANDLES: (_no_candles, _Bench.bar),
    RefusalCode.CANDLE_INTEGRITY: (lambda bench: bench.monitor.on_trouble(0), lambda bench: bench.bars(CLEAN_BARS_TO_TRUST)),
    RefusalCode.STREAM_FUNDING: (_no_funding, _Bench.funding),
    RefusalCode.STREAM_BOOK: (_no_book, _Bench.book),
}
