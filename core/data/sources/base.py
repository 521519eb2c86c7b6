"""What every source of market data looks like from inside the house."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.data.blocks import Bars, Batch, FundingRate, PriceAt
from core.types import Timeframe


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source has.

    ``start``/``end`` are the open of the first and the close of the last base bar in range; ``batches`` is None where the
    end is not known. ``missing`` and ``notes`` are sentences for people. ``digest`` (sha256, hex) tells
    one market from another by what stays when it goes on, wherever its files lie and wherever the run ends; empty where nobody
    can know before.
    """

    name: str
    symbols: tuple[str, ...]
    base_tf: Mapping[str, Timeframe]
    start: int
    end: int | None
    batches: int | None
    has_books: bool
    has_funding: Mapping[str, bool]
    has_spot: Mapping[str, bool]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digest: str = ""


class Source(Protocol):
    """A market, real or made.

    The run asks for history once (warm-up), then consumes :meth:`batches` in order of ``ts``. Nothing later than
    ``ts`` is ever inside a batch, and history ends at or before ``before_ts``.
    """

    @property
    def info(self) -> SourceInfo: ...

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        """At most ``limit`` complete bars of ``tf`` that closed at or before ``before_ts``, oldest first."""
        ...

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        """At most ``limit`` settlements at or before ``before_ts``, oldest first."""
        ...

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        """At most ``limit`` hourly spot closes known at or before ``before_ts``, oldest first."""
        ...

    def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        """Batches in time order; with ``after_ts`` only those later than it (resume)."""
        ...
