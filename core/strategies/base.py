"""What a strategy is: an entry rule over features, and what it asks of exits (requirement D1).

A rule is a pure function of feature arrays, element by element. Live it sees (S,) arrays, one element a symbol; in
research the very same function sees (T,) arrays, one element a bar (X29). NaN in a rule must come out as False, so rules
are made of comparisons joined by *and*.

:class:`RuleStrategy` is the machinery around a rule; a strategy module gives it the rule, the features it needs, the words
of its reason and its exits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from core.codes import RefusalCode
from core.data.blocks import BarFlag, Bools, Bytes, Floats, Ints, flagged, somewhere
from core.exec.instrument import market_id
from core.types import Regime, Side, Signal, Timeframe, Trail

HOUR_MS = 3_600_000
STREAMS = ("funding", "basis")
"""Features that are a stream's own value: when one is missing, data is missing, not time."""


@dataclass(slots=True)
class MarketSnapshot:
    """What strategies may see at the close ``ts``: features of everything up to it, and nothing later.

    ``closed`` gives, by timeframe, the rows whose bar closed at ``ts``; ``features`` and ``ready`` are the feature store's
    own (S,) arrays by ``name@tf`` (streams without ``@tf``) and are only read; ``flags`` are
    :class:`~core.data.blocks.BarFlag` bits of the last base bar, shape (S,); ``block_flags`` those of the bars that closed
    now, place by place as the rows of ``closed`` (a timeframe that is not in it has clean bars).
    """

    ts: int
    symbols: tuple[str, ...]
    closed: Mapping[Timeframe, Ints]
    features: Mapping[str, Floats]
    ready: Mapping[str, Bools]
    flags: Bytes
    base_tf: tuple[Timeframe, ...]
    block_flags: Mapping[Timeframe, Bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExitProfile:
    """What a strategy asks of exits (X2-X4). ``stop_atr`` multiplies ATR of ``tf``; ``take_fractions`` are of the entry."""

    tf: Timeframe
    stop_atr: float
    takes_r: tuple[float, ...]
    take_fractions: tuple[float, ...]
    trail: Trail
    time_stop_ms: int
    funding_exit: bool


class Masks(NamedTuple):
    """Where a rule says long and where it says short; never both."""

    long: Bools
    short: Bools


def nothing(masks: Masks) -> bool:
    """Whether a rule's first conditions already rule everything out, so that the rest need not be looked at."""
    return not somewhere(masks.long) and not somewhere(masks.short)


class Abstention(NamedTuple):
    """Why a strategy says nothing about a symbol although its bar closed; ``missing`` names the features.

    Where a bar was flagged, ``side`` is what the rule said all the same, ``flags`` the bar's and its last base bar's.
    """

    symbol: str
    code: RefusalCode
    missing: tuple[str, ...]
    side: Side | None = None
    flags: BarFlag = BarFlag.CLEAN


Rule = Callable[[Mapping[str, Floats]], Masks]
Reason = Callable[[Side, Mapping[str, float]], str]


class Strategy(Protocol):
    """What the selection agent needs of a strategy."""

    @property
    def name(self) -> str:
        """Name in configuration, records and metrics."""
        ...

    @property
    def symbols(self) -> tuple[str, ...]:
        """The run's symbols, in order."""
        ...

    @property
    def tfs(self) -> tuple[Timeframe, ...]:
        """Timeframes at whose closes it may speak, finest first."""
        ...

    @property
    def required(self) -> tuple[str, ...]:
        """Every feature that it reads for the run's symbols."""
        ...

    @property
    def forbidden_regimes(self) -> tuple[Regime, ...]:
        """Regimes of its carrier in which it must not enter, whatever the enable map says (D5)."""
        ...

    def generate(self, snapshot: MarketSnapshot) -> list[Signal]:
        """Signals of the bars that closed at ``snapshot.ts``, in symbol order."""
        ...

    def abstaining(self, snapshot: MarketSnapshot) -> tuple[Abstention, ...]:
        """Symbols whose bar closed but about which the rule cannot speak, in symbol order."""
        ...

    def profile(self, tf: Timeframe) -> ExitProfile:
        """Exits of a position that was opened on ``tf``."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One timeframe on which a strategy is evaluated.

    ``members`` are the rows that use this frame (None: all whose bars close on it); ``required`` the features of the rule
    and of the signal, which always include ``close@tf`` and ``atr@tf``.
    """

    tf: Timeframe
    required: tuple[str, ...]
    rule: Rule
    exits: ExitProfile
    members: Bools | None = None


class RuleStrategy:
    """A rule, evaluated at the closes of its timeframes.

    Args:
        name: name in configuration.
        symbols: the run's symbols, in order.
        frames: timeframes with their rules; a symbol belongs to one of them.
        reason: words for people: which rule fired, with which numbers.
        forbidden_regimes: see :class:`Strategy`.
    """

    __slots__ = (
        "_frames",
        "_reason",
        "_used",
        "_venue_ids",
        "_waiting",
        "forbidden_regimes",
        "name",
        "required",
        "symbols",
        "tfs",
    )

    def __init__(
        self,
        name: str,
        symbols: Sequence[str],
        frames: Sequence[Frame],
        reason: Reason,
        forbidden_regimes: tuple[Regime, ...] = (),
    ) -> None:
        self.name = name
        self.symbols = tuple(symbols)
        self.tfs = tuple(frame.tf for frame in frames)
        self.forbidden_regimes = forbidden_regimes
        self._frames = tuple(frames)
        self._waiting = {frame.tf: frame.required for frame in self._frames}
        self._used = tuple(frame for frame in frames if frame.members is None or somewhere(frame.members))
        self.required = tuple(dict.fromkeys(key for frame in self._used for key in frame.required))
        self._reason = reason
        self._venue_ids = tuple(market_id(symbol) for symbol in self.symbols)

    def profile(self, tf: Timeframe) -> ExitProfile:
        """Exits of a position that was opened on ``tf``. Raises ValueError when the strategy never opens there."""
        for frame in self._frames:
            if frame.tf is tf:
                return frame.exits
        raise ValueError(f"timeframe was {tf}, expected one of {', '.join(self.tfs)} for {self.name}")

    def generate(self, snapshot: MarketSnapshot) -> list[Signal]:
        """Signals of the bars that closed at ``snapshot.ts``, in symbol order.

        A row whose bar or last base bar is flagged (X44) or whose required features are not all ready gives none.
        """
        found: list[tuple[int, Signal]] = []
        for frame in self._used:
            rows = snapshot.closed.get(frame.tf)
            if rows is None:
                continue
            masks = frame.rule(snapshot.features)
            if not nothing(masks):
                found.extend(self._fired(frame, snapshot, rows, masks))
        found.sort(key=_row)
        return [signal for _, signal in found]

    def _fired(self, frame: Frame, snapshot: MarketSnapshot, rows: Ints, masks: Masks) -> list[tuple[int, Signal]]:
        found, hits = [], np.logical_or(*masks).tolist()
        for row, flags in zip(rows.tolist(), _flags(frame, snapshot, rows), strict=True):
            if not hits[row] or flags or not _member(frame, row) or _missing(frame, snapshot, row):
                continue
            side = Side.LONG if masks.long[row] else Side.SHORT
            found.append((row, self._signal(frame, snapshot, row, side)))
        return found

    def _signal(self, frame: Frame, snapshot: MarketSnapshot, row: int, side: Side) -> Signal:
        numbers = {key: float(snapshot.features[key][row]) for key in frame.required}
        return Signal(
            id=f"{snapshot.ts}-{self.name}-{self._venue_ids[row]}",
            strategy=self.name,
            symbol=snapshot.symbols[row],
            side=side,
            entry=numbers[f"close@{frame.tf}"],
            tf=frame.tf,
            ts=snapshot.ts,
            validity_ts=snapshot.ts + snapshot.base_tf[row].ms,
            reason=self._reason(side, numbers),
            atr=numbers[f"atr@{frame.tf}"],
            meta=tuple(numbers.items()),
        )

    def abstaining(self, snapshot: MarketSnapshot) -> tuple[Abstention, ...]:
        """Symbols whose bar closed but about which the rule cannot speak, in symbol order.

        MISSING_INPUT when a stream's own value (funding, basis) is among what is missing, WARMING_UP when only time is,
        BAR_FLAGGED when everything is there and the rule fired, but on a flagged bar (X44).
        """
        found: list[tuple[int, Abstention]] = []
        for frame in self._used:
            rows = snapshot.closed.get(frame.tf)
            if rows is not None and not self._all_clear(frame, snapshot):
                found.extend(_abstentions(frame, snapshot, rows))
        found.sort(key=_row)
        return tuple(abstention for _, abstention in found)

    def _all_clear(self, frame: Frame, snapshot: MarketSnapshot) -> bool:
        """Whether every symbol can be judged; what is ready for all once, and lasts, is not asked again."""
        own = snapshot.block_flags.get(frame.tf)
        if flagged(snapshot.flags) or (own is not None and flagged(own)):
            return False
        waiting = self._waiting[frame.tf]
        if not waiting:
            return True
        unready = [key for key in waiting if False in snapshot.ready[key].tobytes()]
        self._waiting[frame.tf] = tuple(key for key in frame.required if key in unready or not _lasting(key))
        return not unready


def _lasting(key: str) -> bool:
    """Whether a feature, once ready, stays ready: those of bars do, those of streams can be lost."""
    return "@" in key


def _row(found: tuple[int, object]) -> int:
    return found[0]


def _member(frame: Frame, row: int) -> bool:
    return frame.members is None or bool(frame.members[row])


def _missing(frame: Frame, snapshot: MarketSnapshot, row: int) -> tuple[str, ...]:
    return tuple(key for key in frame.required if not snapshot.ready[key][row])


def _flags(frame: Frame, snapshot: MarketSnapshot, rows: Ints) -> list[int]:
    """Flags of the bars that closed on ``frame.tf`` and of the base bars they ended with, place by place as ``rows``."""
    flags, own = snapshot.flags[rows], snapshot.block_flags.get(frame.tf)
    found: list[int] = (flags if own is None else flags | own).tolist()
    return found


def _side(masks: Masks, row: int) -> Side | None:
    if masks.long[row]:
        return Side.LONG
    return Side.SHORT if masks.short[row] else None


def _abstentions(frame: Frame, snapshot: MarketSnapshot, rows: Ints) -> Iterator[tuple[int, Abstention]]:
    flags_of_rows = _flags(frame, snapshot, rows)
    masks = frame.rule(snapshot.features) if any(flags_of_rows) else None
    for row, flags in zip(rows.tolist(), flags_of_rows, strict=True):
        if not _member(frame, row):
            continue
        symbol, missing = snapshot.symbols[row], _missing(frame, snapshot, row)
        if missing:
            lost = any(key in STREAMS for key in missing)
            yield row, Abstention(symbol, RefusalCode.MISSING_INPUT if lost else RefusalCode.WARMING_UP, missing)
        elif flags and masks is not None and (side := _side(masks, row)) is not None:
            yield row, Abstention(symbol, RefusalCode.BAR_FLAGGED, (), side, BarFlag(flags))
