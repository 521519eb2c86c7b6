"""Whether what is on record allows trading live: every demand of J5 with its number, its limit, and what it comes to.

A demand passes, fails, or cannot be assessed (X36), and what cannot be assessed does not pass. Only wall-clock paper fed by a
real exchange is looked at (X32, :mod:`core.monitor.provenance`), under the limits and strategies that hold now; what was
recorded under others says nothing of these. Nothing here promises a result: it says that software and rules were seen working.

What counts:

- A *session* of J5 is a trading day (governance's ``day_boundary_tz``) of which the daemon was up for at least 80 %.
  It was up between two announcements that are at most two base bars apart.
- A *month* is 30 days from the first counted bar to the last.
- Sessions on disk that overlap in time are one stretch of time: the one that began first counts, the others do not.
- Profit factor and drawdown are of all that counts, none of it left out; fewer than 30 decided trades say nothing.
- *Forward test*: strategies and limits are frozen by their digests, so all that counts came after them; the later half of it must
  hold the out-of-sample figure of X36 on its own.
- A *critical error* is an alert that pages a person. All wall-clock runs on a real exchange are looked at for it, counted or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

from core.codes import RefusalCode
from core.monitor.gate_drill import GATES, Drilled
from core.monitor.kpi import LEAST_TRADES
from core.monitor.paper_sessions import Counted, PaperSession, Span
from core.monitor.report import day_bounds, day_of
from core.monitor.telemetry import TradeStats
from core.types import Timeframe, TradeRecord

DAYS = 30.0
SESSIONS = 20
SESSION_SHARE = 0.8
"""Of a trading day: the rest leaves room for an upgrade or a short outage, and not for a night off."""
PROFIT_FACTOR = 1.3
MAX_DD_PCT = 3.0
FORWARD_PROFIT_FACTOR = 1.1
QUIET_MS = 24 * Timeframe.H1.ms
"""How long there must have been no critical error (K2)."""


class Verdict(StrEnum):
    """What a demand comes to."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    NOT_ASSESSABLE = "not assessable"


@dataclass(frozen=True, slots=True)
class Item:
    """One demand: its ``number`` in the list, what is asked, what was seen, and what to do where it does not pass.

    ``value`` and ``limit`` are the two numbers that were compared, in the unit that ``asked`` names; None: there is none.
    """

    number: int
    key: str
    asked: str
    seen: str
    verdict: Verdict
    value: float | None = None
    limit: float | None = None
    remedy: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature by a person: whether it holds, and what it says."""

    holds: bool
    seen: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class GateRecord:
    """One health gate over all that counts: how often it closed, and for how long it held the whole system up."""

    gate: RefusalCode
    fired: int
    paused_ms: int
    closed_at_end: bool
    drilled: bool

    @property
    def confirmed(self) -> bool:
        return self.drilled and not self.closed_at_end


def assess(
    sessions: Sequence[PaperSession],
    counted: Counted,
    *,
    zone: ZoneInfo,
    now_ms: int,
    drilled: Sequence[Drilled],
    governance: Signed,
    review: Signed,
) -> tuple[Item, ...]:
    """Every demand of J5, numbered in this order.

    Args:
        sessions: all that were found.
        counted: from :func:`count` of the same.
        zone: in which a trading day begins.
        now_ms: the wall's clock.
        drilled: from :func:`core.monitor.gate_drill.drill`, under the limits that hold now.
        governance: the signature under the limits.
        review: the signature under this evidence.
    """
    days = session_days(counted, zone)
    return (
        _month(counted),
        _days(days),
        _factor(3, "profit_factor", "profit factor", counted.trades, PROFIT_FACTOR),
        _drawdown(counted),
        _forward(counted.trades, days, zone),
        _gates(counted, gate_records(counted, drilled)),
        _quiet(sessions, now_ms),
        _recovery(counted),
        _signature(9, "governance_signed", "limits in force are those that were signed", governance),
        _signature(10, "review_signed", "a review of this evidence is signed", review),
    )


# --- time ------------------------------------------------------------------------------------------------------------


def session_days(counted: Counted, zone: ZoneInfo) -> tuple[date, ...]:
    """Trading days of which the daemon was up for at least :data:`SESSION_SHARE`, in order."""
    up: dict[date, int] = {}
    for start, end in (span for session in counted.sessions for span in session.up):
        reached = start
        while reached < end:
            day = day_of(reached, zone)
            until = min(end, day_bounds(day, zone)[1])
            up[day] = up.get(day, 0) + until - reached
            reached = until
    return tuple(day for day, ms in sorted(up.items()) if ms >= SESSION_SHARE * _length(day, zone))


def _length(day: date, zone: ZoneInfo) -> int:
    start, end = day_bounds(day, zone)
    return end - start


def _month(counted: Counted) -> Item:
    days = 0.0
    if counted.sessions:
        days = (counted.sessions[-1].last_ts - counted.sessions[0].first_ts) / Timeframe.D1.ms
    return _at_least(1, "paper_days", "days of wall-clock paper on a real exchange", days, DAYS, _GO_ON)


def _days(days: Sequence[date]) -> Item:
    asked = f"trading days with the daemon up for {SESSION_SHARE:.0%} of them"
    return _at_least(2, "paper_sessions", asked, float(len(days)), float(SESSIONS), _GO_ON)


_GO_ON = (
    "let paper trading go on against a real exchange, on a machine that stays up: "
    "brain paper --source exchange --state var/runs/paper"
)


def _at_least(number: int, key: str, asked: str, value: float, limit: float, remedy: str) -> Item:
    verdict = Verdict.PASS if value >= limit else Verdict.FAIL
    return Item(number, key, f"{asked} >= {limit:g}", f"{value:.4g}", verdict, value, limit, remedy)


# --- results ---------------------------------------------------------------------------------------------------------


def _factor(number: int, key: str, name: str, trades: Iterable[TradeRecord], limit: float) -> Item:
    stats, asked = TradeStats(), f"{name} >= {limit:g}"
    for trade in trades:
        stats.add(trade)
    factor = stats.profit_factor
    if stats.decided < LEAST_TRADES or factor is None:
        few = stats.decided < LEAST_TRADES
        seen = f"{stats.decided} of at least {LEAST_TRADES} decided trades" if few else "nothing was lost yet"
        return Item(number, key, asked, seen, Verdict.NOT_ASSESSABLE, None, limit, _MORE_TRADES)
    verdict = Verdict.PASS if factor >= limit else Verdict.FAIL
    seen = f"{factor:.3g} over {stats.n} trades, {stats.decided} of them decided"
    return Item(number, key, asked, seen, verdict, factor, limit, _NOT_GOOD_ENOUGH)


_MORE_TRADES = "let paper trading go on: fewer trades say nothing"
_NOT_GOOD_ENOUGH = "live trading is not warranted by this record; do not go live"


def _drawdown(counted: Counted) -> Item:
    asked = f"largest drawdown of marked equity <= {MAX_DD_PCT:g} %"
    worst = largest_drawdown_pct(counted)
    if worst is None:
        return Item(4, "max_drawdown", asked, "no equity on record", Verdict.NOT_ASSESSABLE, None, MAX_DD_PCT, _GO_ON)
    verdict = Verdict.PASS if worst <= MAX_DD_PCT else Verdict.FAIL
    return Item(4, "max_drawdown", asked, f"{worst:.2f} %", verdict, worst, MAX_DD_PCT, _NOT_GOOD_ENOUGH)


def largest_drawdown_pct(counted: Counted) -> float | None:
    """Of one curve through all sessions, each going on where the one before ended; None where there is none."""
    index = peak = 1.0
    worst: float | None = None
    for session in counted.sessions:
        if not session.equity or not session.start_equity > 0.0:
            continue
        begun, worst = index, max(worst or 0.0, session.max_dd_pct)
        for point in session.equity:
            index = begun * point.equity / session.start_equity
            peak = max(peak, index)
            worst = max(worst, (peak - index) / peak * 100.0)
    return worst


def _forward(trades: Sequence[TradeRecord], days: Sequence[date], zone: ZoneInfo) -> Item:
    since = day_bounds(days[len(days) // 2], zone)[0] if days else 0
    later = [trade for trade in trades if days and trade.closed_ts >= since]
    return _factor(5, "forward_test", "forward test: profit factor of the later half", later, FORWARD_PROFIT_FACTOR)


# --- health gates ----------------------------------------------------------------------------------------------------


def gate_records(counted: Counted, drilled: Sequence[Drilled]) -> tuple[GateRecord, ...]:
    """Each health gate: how often it closed, how long it held everything up, and whether it is proven to fire."""
    proven = {result.gate: result.proven for result in drilled}
    return tuple(_gate(gate, counted, drilled=proven.get(gate, False)) for gate in GATES)


def _gate(gate: RefusalCode, counted: Counted, *, drilled: bool) -> GateRecord:
    fired = paused_ms = 0
    closed: dict[str, int] = {}
    for session in counted.sessions:
        closed = {}
        for turn in session.gates:
            if turn.gate is not gate:
                continue
            if turn.closed:
                fired += 1
                closed[turn.symbol] = turn.ts
            elif (since := closed.pop(turn.symbol, None)) is not None and not turn.symbol:
                paused_ms += turn.ts - since
        if "" in closed:
            paused_ms += max(0, session.last_ts - closed[""])
    return GateRecord(gate, fired, paused_ms, bool(closed), drilled)


def _gates(counted: Counted, records: Sequence[GateRecord]) -> Item:
    asked = f"health gates seen well and proven to fire >= {len(records)}"
    if not counted.sessions:
        return _none_yet(6, "health_gates", asked, "no session counts yet")
    confirmed = float(sum(record.confirmed for record in records))
    limit = float(len(records))
    fired = ", ".join(f"{record.gate.value} {record.fired}" for record in records)
    wrong = [
        f"{record.gate.value} {'is closed' if record.drilled else 'did not fire'}" for record in records if not record.confirmed
    ]
    hours = sum(record.paused_ms for record in records) / Timeframe.H1.ms
    seen = f"{confirmed:g} confirmed; closed in paper: {fired}; paused for {hours:.1f} h" + "".join(f"; {why}" for why in wrong)
    verdict = Verdict.FAIL if wrong else Verdict.PASS
    return Item(6, "health_gates", asked, seen, verdict, confirmed, limit, "see why it is closed: brain doctor --state DIR")


def _none_yet(number: int, key: str, asked: str, why: str) -> Item:
    return Item(number, key, asked, why, Verdict.NOT_ASSESSABLE, remedy=_GO_ON)


# --- faults ----------------------------------------------------------------------------------------------------------


def _quiet(sessions: Sequence[PaperSession], now_ms: int) -> Item:
    asked, since = "critical errors in the last 24 h of wall-clock time <= 0", now_ms - QUIET_MS
    pages = sorted(
        (alert.ts, alert.code) for session in sessions if session.wall_clock for alert in session.pages if alert.ts >= since
    )
    if pages:
        seen = f"{len(pages)}: {', '.join(sorted({code for _, code in pages}))}"
        remedy = "look into it; a day without one passes"
        return Item(7, "no_critical_error", asked, seen, Verdict.FAIL, float(len(pages)), 0.0, remedy)
    up = _covered([span for session in sessions if session.wall_clock for span in session.up], since, now_ms)
    if up < SESSION_SHARE * QUIET_MS:
        why = f"the daemon was up for {up / Timeframe.H1.ms:.1f} of the last 24 h"
        return Item(7, "no_critical_error", asked, why, Verdict.NOT_ASSESSABLE, None, 0.0, _GO_ON)
    return Item(7, "no_critical_error", asked, "0", Verdict.PASS, 0.0, 0.0)


def _covered(spans: Iterable[Span], since: int, until: int) -> int:
    """Milliseconds of ``[since, until)`` that lie in a span, none twice."""
    total, reached = 0, since
    for start, end in sorted(spans):
        begin, stop = max(start, reached), min(end, until)
        if stop > begin:
            total, reached = total + stop - begin, stop
    return total


def _recovery(counted: Counted) -> Item:
    asked = "exchange and books agreed at the last start, and since"
    starts = [start for session in counted.sessions for start in session.starts]
    if not starts:
        return _none_yet(8, "recovery_agreed", asked, "no start is on record at which they were compared")
    last = starts[-1]
    seen = f"{sum(start.agreed for start in starts)} of {len(starts)} starts agreed"
    seen += f"; halted since: {last.halted}" if last.halted else "" if last.agreed else "; the last did not"
    verdict = Verdict.PASS if last.agreed and not last.halted else Verdict.FAIL
    return Item(8, "recovery_agreed", asked, seen, verdict, remedy="make exchange and books agree, then start paper again")


def _signature(number: int, key: str, asked: str, signed: Signed) -> Item:
    return Item(number, key, asked, signed.seen, Verdict.PASS if signed.holds else Verdict.FAIL, remedy=signed.remedy)
