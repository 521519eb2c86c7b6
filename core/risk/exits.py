"""Position management at a base-bar close: time stop, funding exit, break-even, trail (E4, X2-X5). It only ever tightens.

Exits are never blocked by missing data: without an ATR nothing is trailed, without a close only time and funding can
close, and unknown cost rates are replaced by those that the instrument's configuration assumes.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from configs.validators import Governance
from core.exec.instrument import Instrument
from core.exec.position import Position
from core.risk.context import known
from core.risk.costs import CostModel
from core.types import AdjustKind, Adjustment, ExitReason, Meta, Side, TrailStart


class ExitFrame(Struct, frozen=True, gc=False):
    """What a position's management sees at the close ``ts`` of a base bar.

    ``atr`` is the ATR of the plan's trail timeframe (None: not ready). ``funding_normal`` is True only where the
    strategy leaves on normal funding and funding is normal; None where it does not apply or is unknown. The cost
    rates are fractions of price (None: unknown, the instrument's modelled book is used).
    """

    ts: int
    close: float
    atr: float | None
    funding_normal: bool | None
    exit_cost_rate: float | None
    entry_cost_rate: float | None
    instrument: Instrument


class ExitNumbers(Struct, frozen=True, gc=False):
    """The governance numbers that management needs."""

    break_even_r: float

    @classmethod
    def of(cls, governance: Governance) -> ExitNumbers:
        """Copy them out of the locked limits."""
        return cls(governance.break_even_r)


class _Candidate(Struct, frozen=True, gc=False):
    stop: Decimal
    reason: ExitReason
    detail: Meta


def manage(position: Position, frame: ExitFrame, numbers: ExitNumbers) -> Adjustment | None:
    """What to change about ``position`` at this close, or None.

    CLOSE at the time stop or on normal funding; else the tightest of break-even and trail, if it is at least one tick
    tighter than the present stop. No candidate lies at or beyond the close, where it would trigger as it is placed:
    a break-even stop waits until the close has passed it, a trailed one is held one tick short of the close.
    """
    if frame.ts >= position.plan.time_stop_ts:
        return _close(position, frame, ExitReason.TIME_STOP)
    if frame.funding_normal:
        return _close(position, frame, ExitReason.FUNDING_NORMAL)
    if not known(frame.close) or frame.close <= 0.0:
        return None
    sign = position.side.sign
    best: _Candidate | None = None
    for candidate in (_break_even(position, frame, numbers), _trail(position, frame)):
        if candidate is not None and (best is None or sign * (candidate.stop - best.stop) > 0):
            best = candidate
    if best is None or sign * (best.stop - position.stop) < frame.instrument.tick_size:
        return None
    return Adjustment(AdjustKind.MOVE_STOP, position.symbol, frame.ts, best.reason, best.stop, best.detail)


def may_act(position: Position, ts: int, close: float, numbers: ExitNumbers) -> bool:
    """Whether :func:`manage` could do anything at this close, normal funding apart: a quick look before the full one.

    It could at the time stop, while the stop is trailed, and from the break-even trigger on; also where the close is not
    known, so that nothing is passed over for want of a number.
    """
    if ts >= position.plan.time_stop_ts or _trailing(position, ts):
        return True
    return position.r_price > 0.0 and not position.r_now(close) < numbers.break_even_r


def break_even_price(side: Side, avg_entry: float, entry_cost_rate: float, exit_cost_rate: float) -> float:
    """Price at which leaving everything nets zero after both legs' costs (X5).

    Long: ``B (1 - x) = A (1 + e)``; short: ``B (1 + x) = A (1 - e)``, with A the average entry, e and x the cost rates.
    """
    sign = side.sign
    return avg_entry * (1.0 + sign * entry_cost_rate) / (1.0 - sign * exit_cost_rate)


def _close(position: Position, frame: ExitFrame, reason: ExitReason) -> Adjustment:
    return Adjustment(AdjustKind.CLOSE, position.symbol, frame.ts, reason, None, (("close", frame.close),))


def _break_even(position: Position, frame: ExitFrame, numbers: ExitNumbers) -> _Candidate | None:
    # a position filled exactly at its stop has no R to measure; its stop is at the entry already
    if position.r_price <= 0.0 or position.r_now(frame.close) < numbers.break_even_r:
        return None
    fallback = CostModel.modelled(frame.instrument)
    notional = float(position.qty) * frame.close
    enter = frame.entry_cost_rate if known(frame.entry_cost_rate) else fallback.entry_cost_rate(notional)
    leave = frame.exit_cost_rate if known(frame.exit_cost_rate) else fallback.exit_cost_rate(notional)
    price = break_even_price(position.side, position.avg_entry, enter, leave)
    if not known(price) or _looser(position, price):
        return None
    stop = frame.instrument.stop_price(price, position.side)
    if position.side.sign * (frame.close - float(stop)) <= 0.0:
        return None
    return _Candidate(stop, ExitReason.BREAK_EVEN, (("r_now", position.r_now(frame.close)), ("break_even", price)))


def _trail(position: Position, frame: ExitFrame) -> _Candidate | None:
    trail, atr = position.plan.trail, frame.atr
    if not known(atr) or atr <= 0.0 or not _trailing(position, frame.ts):
        return None
    side, instrument = position.side, frame.instrument
    known_best = position.best_close if known(position.best_close) else frame.close
    best = max(known_best, frame.close) if side is Side.LONG else min(known_best, frame.close)
    level = best - side.sign * trail.atr_multiple * atr
    if not known(level) or _looser(position, level):
        return None
    if side is Side.LONG:
        stop = min(instrument.stop_price(level, side), instrument.price_up(frame.close) - instrument.tick_size)
    else:
        stop = max(instrument.stop_price(level, side), instrument.price_down(frame.close) + instrument.tick_size)
    return _Candidate(stop, ExitReason.TRAIL, (("best_close", best), ("atr", atr), ("level", level)))


def _looser(position: Position, level: float) -> bool:
    """Whether a stop at ``level`` is looser than the present one even after rounding (less than a tick towards the entry)."""
    return position.side.sign * (level - float(position.stop)) < 0.0


def _trailing(position: Position, ts: int) -> bool:
    """Whether the stop is trailed at the close ``ts`` (X3): the close of the bar of the 1R take is already after it.

    Where that take was merged away (X14), the first base-bar close at +1r or better is the first that trails.
    """
    start = position.plan.trail.start
    if start is TrailStart.FIRST_TAKE:
        return position.reached_1r_ts is not None and ts >= position.reached_1r_ts
    return start is TrailStart.ENTRY
