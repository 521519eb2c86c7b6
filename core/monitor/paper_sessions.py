"""What a session on disk says of paper trading, and which sessions count together: the ground that J5 is judged on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from msgspec import structs

from core.codes import RefusalCode
from core.exec.entering import Entering
from core.monitor.schema import Alert, AlertLevel, EquityPoint
from core.types import TradeRecord

RECOVERED, RECOVERY, HALTED = "recovered", "recovery", "symbol_halted"
"""Codes of the alerts of a start at which exchange and books agreed, of what it had to say besides (other than a warning: they
did not agree), and of a symbol or account on which nothing is opened any more."""
_FUTURE_MS = 60_000
"""What a clock that is off may explain; a bar later than that was not seen on the wall's clock."""
_ALIKE = 2.0

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class GateTurn:
    """A health gate closed or opened; ``symbol`` empty: for the whole system."""

    ts: int
    symbol: str
    gate: RefusalCode
    closed: bool


@dataclass(frozen=True, slots=True)
class Start:
    """A start that compared exchange and books: whether they agreed, and what was halted since (empty: nothing)."""

    agreed: bool
    halted: str = ""


@dataclass(frozen=True, slots=True)
class PaperSession:
    """What a session on disk says. Money in USD, times ms UTC.

    ``why_not``: why it cannot count; None where it can. ``wall_clock``: whether it ran by the wall's clock on a real exchange at
    all, also where it cannot count. ``up``: stretches without a hole, in order. ``max_dd_pct``: the worst on every bar, which the
    hourly ``equity`` may have missed. ``pages``: alerts that called a person. ``code``: digest of the code, empty where it
    changed on the way. ``seal``: digest of the record up to decision ``seq``, ``sealed`` of that up to the one asked for.
    """

    name: str
    why_not: str | None
    wall_clock: bool = False
    code: str = ""
    symbols: tuple[str, ...] = ()
    up: tuple[Span, ...] = ()
    start_equity: float = 0.0
    equity: tuple[EquityPoint, ...] = ()
    max_dd_pct: float = 0.0
    trades: tuple[TradeRecord, ...] = ()
    gates: tuple[GateTurn, ...] = ()
    pages: tuple[Alert, ...] = ()
    starts: tuple[Start, ...] = ()
    seq: int = -1
    seal: str = ""
    sealed: str = ""
    entering: Entering = field(default_factory=Entering)

    @property
    def first_ts(self) -> int:
        return self.up[0][0]

    @property
    def last_ts(self) -> int:
        return self.up[-1][1]


@dataclass(frozen=True, slots=True)
class Counted:
    """Sessions that count, in order of time and without overlap, and those that do not, with why."""

    sessions: tuple[PaperSession, ...]
    excluded: tuple[tuple[str, str], ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Traded in every one of them."""
        first, *others = self.sessions or (PaperSession("", None),)
        return tuple(symbol for symbol in first.symbols if all(symbol in other.symbols for other in others))

    @property
    def equity(self) -> float:
        """USD that the last one began with; 0 where there is none."""
        return self.sessions[-1].start_equity if self.sessions else 0.0

    @property
    def entering(self) -> Entering | None:
        """How all of them entered; None where there is none."""
        return self.sessions[-1].entering if self.sessions else None

    @property
    def trades(self) -> tuple[TradeRecord, ...]:
        """Of all sessions, their results in percent of what each session began with: a dollar weighs by what it was won from."""
        return tuple(
            structs.replace(trade, net=trade.net / session.start_equity * 100.0)
            for session in self.sessions
            for trade in session.trades
        )


def count(sessions: Iterable[PaperSession], now_ms: int) -> Counted:
    """Which sessions count.

    No moment counts twice: of those that overlap, the one that began first does, and of a session and its copy the one that was
    approved. What was traded with another kind of money than the last one (of the approved ones, where there are any) says
    nothing of it (X36), nor what was entered in another way: other fees, other fills, other trades missed. That is looked at
    last: of several ways that were tried side by side the best would else be all that was ever seen.
    """
    chosen: list[PaperSession] = []
    excluded: list[tuple[str, str]] = []
    able = []
    for session in sessions:
        why = session.why_not or _odd_times(session, now_ms)
        if why is None:
            able.append(session)
        else:
            excluded.append((session.name, why))
    last = max([s for s in able if s.sealed] or able, key=lambda s: s.last_ts, default=PaperSession("", None))
    taken: PaperSession | None = None
    for session in sorted(able, key=lambda s: (s.first_ts, -s.last_ts, not s.sealed, s.name)):
        if not alike(session.start_equity, last.start_equity):
            began = f"it began with {session.start_equity:g} USD, the last one with {last.start_equity:g}"
            excluded.append((session.name, began))
        elif taken is not None and session.first_ts <= taken.last_ts:
            excluded.append((session.name, f"it overlaps with {taken.name}, and no time counts twice"))
        else:
            taken = session
            if session.entering == last.entering:
                chosen.append(session)
            else:
                excluded.append((session.name, f"it entered {session.entering}, the last one {last.entering}"))
    return Counted(tuple(chosen), tuple(sorted(excluded)))


def alike(equity: float, other: float) -> bool:
    """Whether what was seen with one account says something of the other: neither is more than twice the other.

    With less, orders fall below the exchange's minimum that were whole with more.
    """
    return equity > 0.0 and other > 0.0 and max(equity, other) <= _ALIKE * min(equity, other)


def _odd_times(session: PaperSession, now_ms: int) -> str | None:
    if not session.up:
        return "it has no bars"
    if session.last_ts > now_ms + _FUTURE_MS:
        return "its bars lie in the future, so its time was not the wall's"
    return None


# --- from the records ------------------------------------------------------------------------------------------------


def spans_up(closes: Sequence[int], step_ms: int) -> tuple[Span, ...]:
    """Stretches in which announcements (``closes``, ms, in order) came at most two base bars apart."""
    spans: list[Span] = []
    begun = closes[0] if closes else 0
    for before, after in pairwise(closes):
        if after - before > 2 * step_ms:
            spans.append((begun, before))
            begun = after
    return (*spans, (begun, closes[-1])) if closes else ()


def starts_of(alerts: Iterable[Alert]) -> tuple[Start, ...]:
    """Starts that ``alerts``, in the order in which they were recorded, tell of."""
    starts: list[Start] = []
    for alert in alerts:
        if alert.code == RECOVERED:
            starts.append(Start(agreed=True))
        elif alert.code == RECOVERY and alert.level is not AlertLevel.WARNING and (not starts or starts[-1].agreed):
            starts.append(Start(agreed=False))  # several may be of one start; a warning may stand beside an agreement
        elif alert.code == HALTED and starts:
            starts[-1] = replace(starts[-1], halted=alert.message)
    return tuple(starts)


_CLOSES = {"paused": True, "blocked": True, "resumed": False, "unblocked": False}
_WHOLE_SYSTEM = ("paused", "resumed")


def gate_turn(alert: Alert) -> GateTurn | None:
    """The turn of a health gate that ``alert`` tells of (as :mod:`graph.health_alerts` writes it); None where it tells none."""
    closed = _CLOSES.get(alert.code)
    if closed is None:
        return None
    # a symbol has no space in it, and stands before the code where the gate is one symbol's
    first, *rest = alert.message.split(maxsplit=2)
    symbol, code = ("", first) if alert.code in _WHOLE_SYSTEM else (first, rest[0])
    return GateTurn(alert.ts, symbol, RefusalCode(code.rstrip(":")), closed)
