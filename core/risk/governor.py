"""The governor: day lock, 72 h kill-switch, green bonus and loss-streak cut over marked-to-market equity (E2, E3, E6, E9).

It only looks at equity and closed trades, and says what may be risked; it never stands between a position and its exit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from configs.validators import Governance
from core.errors import StateError
from core.types import GovernorView, Meta, TradeRecord, TradingState

DRAWDOWN_WINDOW_MS = 72 * 3_600_000
_TOLERANCE = 1e-9
"""Share of equity by which a limit counts as reached early, so that rounding can only lock sooner."""


class GovernorEventKind(StrEnum):
    """What the governor reports when it changes its mind."""

    DAY_LOCK_SET = "day_lock_set"
    DAY_LOCK_CLEARED = "day_lock_cleared"
    KILL_SWITCH = "kill_switch"
    UNLOCK = "unlock"
    BONUS_ON = "bonus_on"
    BONUS_OFF = "bonus_off"
    CUT_ON = "cut_on"
    CUT_OFF = "cut_off"
    GOVERNANCE_CHANGED = "governance_changed"
    GOVERNANCE_SIGNED = "governance_signed"


@dataclass(frozen=True, slots=True)
class GovernorEvent:
    """A change of the governor at ``ts`` with equity (USD) then and the numbers behind it."""

    kind: GovernorEventKind
    ts: int
    equity: float
    detail: Meta = ()


def day_start_ms(ts: int, zone: ZoneInfo) -> int:
    """Start (UTC ms) of the local day of ``zone`` in which ``ts`` lies (X1).

    Example: midnight of 2024-07-01 in Chisinau is 21:00 UTC of the day before.
        >>> day_start_ms(1719835200000, ZoneInfo("Europe/Chisinau"))
        1719781200000
    """
    return _midnight_ms(ts, zone, 0)


def _midnight_ms(ts: int, zone: ZoneInfo, days_ahead: int) -> int:
    day = datetime.fromtimestamp(ts // 1000, zone).date() + timedelta(days=days_ahead)
    return int(datetime.combine(day, time(), zone).timestamp()) * 1000


def _change_pct(value: float, base: float) -> float:
    """Percent by which ``value`` differs from ``base``; a total loss where the base is not positive."""
    return (value / base - 1.0) * 100.0 if base > 0.0 else -100.0


class Governor:
    """Guards one account. Feed base-bar closes to :meth:`on_bar`, money to :meth:`on_realised`, trades to :meth:`on_trade`.

    The money of a closing fill comes before the trade that it closes.

    Until the first known equity it says REDUCING with no room: nothing is known, so nothing is opened. The day begins at
    local midnight of ``governance.zone``; a first bar later than midnight (a gap in the data) starts the day from the last
    equity known before it, so that a loss over the gap is in the new day and not between two days.
    """

    def __init__(self, governance: Governance) -> None:
        self._zone = governance.zone
        self._day_keep = 1.0 - governance.max_daily_loss_pct / 100.0
        self._peak_keep = 1.0 - governance.kill_switch_drawdown_72h / 100.0
        self._base_pct = governance.per_trade_r_pct_base
        self._bonus_pct = min(
            governance.per_trade_r_pct_base + governance.per_trade_r_pct_green_bonus, governance.per_trade_r_pct_max
        )
        self._cut_pct = max(0.0, governance.per_trade_r_pct_base - governance.r_cut_pp)
        self._arm_pct = governance.green_bonus_arm_pct
        self._scratch_r = governance.scratch_r
        self._streak_limit = governance.r_cut_loss_streak
        self._wins_to_restore = governance.r_cut_wins_to_restore

        self.daily_locks = 0
        self.kill_switches = 0
        self._ts = 0
        self._equity: float | None = None
        self._equity_known = False
        self._day_ts = 0
        self._next_day_ts = 0
        self._day_start = 0.0
        self._day_floor = 0.0
        self._day_realised = 0.0
        self._ahead: list[tuple[int, float]] = []
        self._peaks: deque[tuple[int, float]] = deque()
        self._day_lock = False
        self._kill = False
        self._changed = False
        self._bonus_armed = False
        self._bonus_spent = False
        self._cut = False
        self._loss_streak = 0
        self._cut_wins = 0
        self._events: list[GovernorEvent] = []
        self._look()

    @property
    def view(self) -> GovernorView:
        """What is allowed now; its ``ts`` is always that of the last bar whose equity was marked, whatever came since."""
        return self._view

    # --- inputs -----------------------------------------------------------------------------------

    def on_bar(self, ts: int, equity: float) -> GovernorView:
        """Take the equity (USD, marked to market, adjusted for transfers, X11) at a base-bar close.

        An equity that is not a number leaves all locks as they are and lets nothing be opened until it is known again.
        """
        self._ts = ts
        if not math.isfinite(equity):
            self._equity_known = False
            return self._look()
        if ts >= self._next_day_ts:
            self._start_day(ts, equity)
        self._equity = equity
        peaks = self._peaks
        oldest = ts - DRAWDOWN_WINDOW_MS
        while peaks and peaks[0][0] < oldest:
            peaks.popleft()
        while peaks and peaks[-1][1] <= equity:
            peaks.pop()
        peaks.append((ts, equity))
        if not self._day_lock and equity <= self._day_floor + _TOLERANCE * abs(self._day_start):
            self._lock_day()
        peak = peaks[0][1]
        if not self._kill and equity <= peak * self._peak_keep + _TOLERANCE * abs(peak):
            self._pull_kill_switch(peak)
        if self._equity_known:
            return self._look_at_equity()
        self._equity_known = True
        return self._look()

    def on_realised(self, ts: int, amount: float) -> None:
        """Book closed money (USD: gross - fee of a fill, a funding payment) of ``ts`` in the realised PnL of its day (E2, X8).

        The bonus is armed from ``green_bonus_arm_pct`` on and gone for the day when the day falls below it again. Money of
        a day that is over changes nothing; money later than the next midnight waits for the bar that begins its day.
        Midnight itself is the close of the old day's last bar until that close was marked.
        """
        if ts > self._next_day_ts:
            self._ahead.append((ts, amount))
        elif ts >= self._day_ts:
            had_bonus = self._held_bonus
            self._day_realised += amount
            self._weigh_bonus()
            self._tell_bonus(had_bonus, ts)
            self._look()

    def on_transfer(self, amount: float) -> None:
        """Money (USD) was paid in (positive) or taken out: neither profit nor loss, so all percentages stay (X11).

        What equity is compared with changes in the same proportion as equity itself.
        """
        before = self._equity
        if before is None or before <= 0.0:
            return
        share = max(0.0, before + amount) / before
        self._equity = before * share
        self._day_start *= share
        self._day_floor = self._day_start * self._day_keep
        self._day_realised *= share
        self._ahead = [(ts, made * share) for ts, made in self._ahead]
        self._peaks = deque((ts, peak * share) for ts, peak in self._peaks)
        self._look()

    def on_late_transfer(self, share: float, counted_ts: int) -> None:
        """What counted as a result after the bar at ``counted_ts`` (ms) was moved by the owner; ``share`` of equity was left.

        Equity has it in it already, so only what is older and compared with it changes in proportion (X11). Locks that were
        set meanwhile stay: midnight and a person end them.
        """
        peaks: deque[tuple[int, float]] = deque()
        for ts, equity in self._peaks:
            peak = equity * share if ts <= counted_ts else equity
            while peaks and peaks[-1][1] <= peak:
                peaks.pop()
            peaks.append((ts, peak))
        self._peaks = peaks
        if self._day_ts <= counted_ts:
            self._day_start *= share
            self._day_floor = self._day_start * self._day_keep
            self._day_realised *= share
        self._look()

    def on_trade(self, trade: TradeRecord) -> None:
        """Count a closed trade: streaks and cut (X6, X7), and the losing close that ends the bonus (X8).

        A trade between -scratch_r and +scratch_r neither lengthens nor ends a streak. Any trade that lost money ends the
        bonus for the day, scratch or not (E2). Its money is booked by :meth:`on_realised`.
        """
        had_bonus = self._held_bonus
        if self._bonus_armed and not trade.net >= 0.0:
            self._end_bonus()
        self._count(trade)
        self._tell_bonus(had_bonus, trade.closed_ts)
        self._look()

    def unlock(self, ts: int, reason: str, who: str) -> bool:
        """Release the kill-switch by a person's word; the 72 h peak starts again from present equity (X11).

        Returns False, and changes nothing, when the kill-switch was not pulled. A day lock is not released by it.
        """
        if not self._kill:
            return False
        equity, peak = self._equity or 0.0, self._peaks[0][1]
        self._kill = False
        self._peaks.clear()
        self._peaks.append((self._ts, equity))
        self._tell(GovernorEventKind.UNLOCK, ts, (("reason", reason), ("who", who), ("old_peak", peak), ("new_peak", equity)))
        self._look()
        return True

    def governance_changed(self, ts: int) -> None:
        """The locked file changed while running: only exits under the old values until a signed restart (H2, X12)."""
        if self._changed:
            return
        self._changed = True
        self._tell(GovernorEventKind.GOVERNANCE_CHANGED, ts, ())
        self._look()

    def governance_signed(self, ts: int) -> None:
        """The start checks found the present file signed by a person: the mark of :meth:`governance_changed` goes.

        The mark itself survives a restart like every lock, so only the start-up that verified the signature calls this.
        """
        if not self._changed:
            return
        self._changed = False
        self._tell(GovernorEventKind.GOVERNANCE_SIGNED, ts, ())
        self._look()

    def drain_events(self) -> tuple[GovernorEvent, ...]:
        """Changes since the last call, oldest first."""
        events = tuple(self._events)
        self._events.clear()
        return events

    # --- steps ------------------------------------------------------------------------------------

    def _start_day(self, ts: int, equity: float) -> None:
        on_time = ts == day_start_ms(ts, self._zone)
        self._day_start = equity if on_time or self._equity is None else self._equity
        self._day_floor = self._day_start * self._day_keep
        self._day_ts, self._next_day_ts = day_start_ms(ts, self._zone), _midnight_ms(ts, self._zone, 1)
        had_lock, had_bonus = self._day_lock, self._held_bonus
        self._day_lock = self._bonus_armed = self._bonus_spent = False
        self._equity = equity
        self._day_realised = 0.0
        for made_ts, amount in self._ahead:
            self._day_realised += amount if made_ts >= self._day_ts else 0.0
            self._weigh_bonus()
        self._ahead.clear()
        if had_lock:
            self._tell(GovernorEventKind.DAY_LOCK_CLEARED, ts, (("day_start_equity", self._day_start),))
        self._tell_bonus(had_bonus, ts)
        self._look()

    def _weigh_bonus(self) -> None:
        reached = self._realised_pct() >= self._arm_pct
        if self._bonus_armed and not reached:
            self._end_bonus()
        elif reached and not self._bonus_spent:
            self._bonus_armed = True

    def _end_bonus(self) -> None:
        self._bonus_armed = False
        self._bonus_spent = True

    def _tell_bonus(self, had_bonus: bool, ts: int) -> None:
        has_bonus = self._bonus_armed and not self._cut
        if has_bonus != had_bonus:
            kind = GovernorEventKind.BONUS_ON if has_bonus else GovernorEventKind.BONUS_OFF
            self._tell(kind, ts, (("day_realised_pct", self._realised_pct()),))

    def _lock_day(self) -> None:
        self._day_lock = True
        self.daily_locks += 1
        self._tell(
            GovernorEventKind.DAY_LOCK_SET, self._ts, (("day_start_equity", self._day_start), ("day_floor", self._day_floor))
        )
        self._look()

    def _pull_kill_switch(self, peak: float) -> None:
        self._kill = True
        self.kill_switches += 1
        self._tell(GovernorEventKind.KILL_SWITCH, self._ts, (("peak_72h", peak), ("floor", peak * self._peak_keep)))
        self._look()

    def _count(self, trade: TradeRecord) -> None:
        # a result that is not a number counts as a loss: a missing value is never a neutral one
        if not trade.r_multiple >= -self._scratch_r:
            self._loss_streak += 1
            if self._loss_streak >= self._streak_limit and not self._cut:
                self._cut = True
                self._cut_wins = 0
                self._tell(GovernorEventKind.CUT_ON, trade.closed_ts, (("loss_streak", self._loss_streak),))
        elif trade.r_multiple > self._scratch_r:
            self._loss_streak = 0
            self._cut_wins += self._cut
            if self._cut and self._cut_wins >= self._wins_to_restore:
                self._cut = False
                self._tell(GovernorEventKind.CUT_OFF, trade.closed_ts, (("wins", self._cut_wins),))

    def _realised_pct(self) -> float:
        return self._day_realised / self._day_start * 100.0 if self._day_start > 0.0 else -100.0

    def _tell(self, kind: GovernorEventKind, ts: int, detail: Meta) -> None:
        self._events.append(GovernorEvent(kind, ts, self._equity or 0.0, detail))

    def _state(self) -> TradingState:
        if self._kill:
            return TradingState.HALTED
        if self._day_lock or self._changed or not self._equity_known:
            return TradingState.REDUCING
        return TradingState.ACTIVE

    def _look(self) -> GovernorView:
        """Renew the view after something other than equity changed."""
        self._held_state = self._state()
        self._held_bonus = self._bonus_armed and not self._cut
        self._held_r_pct = self._cut_pct if self._cut else self._bonus_pct if self._held_bonus else self._base_pct
        self._held_realised = self._realised_pct() if self._equity is not None else 0.0
        return self._look_at_equity()

    def _look_at_equity(self) -> GovernorView:
        """Renew the view after equity changed; by position, since keywords would cost as much as the rest of a bar."""
        equity, start, known = self._equity or 0.0, self._day_start, self._equity_known
        peak = self._peaks[0][1] if self._peaks else equity
        peak_room = equity - peak * self._peak_keep
        day_room = equity - self._day_floor
        self._view = GovernorView(
            self._ts,
            self._held_state,
            equity,
            start,
            _change_pct(equity, start) if self._peaks else 0.0,
            self._held_realised,
            peak,
            -_change_pct(equity, peak) if equity < peak else 0.0,
            self._day_lock,
            self._kill,
            self._changed,
            self._held_bonus,
            self._cut,
            self._loss_streak,
            self._held_r_pct,
            min(peak_room, day_room) if known else 0.0,
        )
        return self._view

    # --- persistence (E9) -------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything that a restart needs, as plain JSON values."""
        return {
            "version": 1,
            **{name: getattr(self, name) for name in _FIELDS},
            "_ahead": [[ts, amount] for ts, amount in self._ahead],
            "_peaks": [[ts, equity] for ts, equity in self._peaks],
            "_events": [[e.kind.value, e.ts, e.equity, [list(pair) for pair in e.detail]] for e in self._events],
        }

    def restore(self, obj: Mapping[str, Any]) -> None:
        """Become what :meth:`snapshot` described; locks hold, and the next bar is judged as without the stop.

        Raises:
            StateError: the snapshot is damaged or of another version; nothing is changed then.
        """
        if obj.get("version") != 1 or any(name not in obj for name in (*_FIELDS, "_ahead", "_peaks", "_events")):
            raise StateError(
                f"governor snapshot had the keys {sorted(obj)}, expected version 1 with all fields",
                help="locks cannot be trusted without it: look at the account, then start with a fresh state folder",
                code="STATE-010",
            )
        for name in _FIELDS:
            setattr(self, name, obj[name])
        self._ahead = [(int(ts), float(amount)) for ts, amount in obj["_ahead"]]
        self._peaks = deque((int(ts), float(equity)) for ts, equity in obj["_peaks"])
        self._events = [_event(row) for row in obj["_events"]]
        # limits may have been signed anew since; the end of the day may not, or an edited zone would clear a lock (X1)
        self._day_floor = self._day_start * self._day_keep
        self._look()


def _event(row: Sequence[Any]) -> GovernorEvent:
    kind, ts, equity, detail = row
    return GovernorEvent(GovernorEventKind(kind), int(ts), float(equity), tuple((name, value) for name, value in detail))


_FIELDS = (
    "daily_locks",
    "kill_switches",
    "_ts",
    "_equity",
    "_equity_known",
    "_day_ts",
    "_next_day_ts",
    "_day_start",
    "_day_realised",
    "_day_lock",
    "_kill",
    "_changed",
    "_bonus_armed",
    "_bonus_spent",
    "_cut",
    "_loss_streak",
    "_cut_wins",
)
