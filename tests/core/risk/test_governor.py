from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from core.canonical import encode
from core.errors import StateError
from core.risk.governor import Governor, GovernorEventKind, day_start_ms
from core.types import GovernorView, TradingState
from tests.core.risk.making import TS, governance, trade

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1000


def started(equity: float = 300.0, ts: int = TS) -> Governor:
    governor = Governor(governance())
    governor.on_bar(ts, equity)
    return governor


def kinds(governor: Governor) -> list[str]:
    return [event.kind.value for event in governor.drain_events()]


# --- the day ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("midnight", "next_midnight"),
    [
        (utc(2024, 6, 30, 21), utc(2024, 7, 1, 21)),  # summer time, UTC+3
        (utc(2024, 1, 14, 22), utc(2024, 1, 15, 22)),  # winter time, UTC+2
        (utc(2024, 3, 30, 22), utc(2024, 3, 31, 21)),  # clocks go forward: a day of 23 h
        (utc(2024, 10, 26, 21), utc(2024, 10, 27, 22)),  # clocks go back: a day of 25 h
    ],
)
def test_the_trading_day_rolls_at_local_midnight_also_over_clock_changes(midnight, next_midnight):
    """X1: Europe/Chisinau."""
    zone = governance().zone
    assert day_start_ms(midnight, zone) == midnight == day_start_ms(next_midnight - 1, zone)
    governor = started(300.0, midnight)
    governor.on_bar(midnight + HOUR, 290.0)
    assert governor.view.day_lock
    governor.on_bar(next_midnight - MINUTE, 290.0)
    assert governor.view.day_lock
    view = governor.on_bar(next_midnight, 291.0)
    assert (view.day_lock, view.day_start_equity, view.day_pnl_pct) == (False, 291.0, 0.0)


def test_a_loss_over_a_gap_in_the_data_belongs_to_the_new_day():
    """X11: the last bar before midnight had 300; the first of the new day comes an hour late with 294."""
    midnight = utc(2024, 7, 1, 21)
    governor = started(300.0, midnight - HOUR)
    view = governor.on_bar(midnight + HOUR, 294.0)
    assert (view.day_start_equity, view.day_lock) == (300.0, True)


def test_a_first_bar_in_the_middle_of_a_day_starts_it():
    assert started(300.0).view.day_start_equity == 300.0


# --- day lock ---------------------------------------------------------------------------------------


def test_the_day_locks_at_minus_one_point_eight_percent_marked_to_market():
    """E6, X10, X11: 300 x 0.982 = 294.60."""
    governor = started()
    assert governor.on_bar(TS + MINUTE, 294.61).state is TradingState.ACTIVE
    view = governor.on_bar(TS + 2 * MINUTE, 294.60)
    assert (view.day_lock, view.state, governor.daily_locks) == (True, TradingState.REDUCING, 1)
    assert kinds(governor) == ["day_lock_set"]


def test_a_day_lock_stays_when_equity_recovers_and_is_counted_once():
    """X12: until the next day."""
    governor = started()
    governor.on_bar(TS + MINUTE, 294.0)
    governor.on_bar(TS + 2 * MINUTE, 301.0)
    governor.on_bar(TS + 3 * MINUTE, 294.0)
    assert governor.view.state is TradingState.REDUCING
    assert governor.daily_locks == 1
    governor.on_bar(TS + DAY, 294.0)
    assert governor.view.state is TradingState.ACTIVE
    assert kinds(governor) == ["day_lock_set", "day_lock_cleared"]


def test_room_is_the_smaller_of_day_and_peak():
    """X10: flat day: 300 - 294.6; a peak of 310 three days ago would leave 300 - 299.15."""
    assert started().view.room_usd == pytest.approx(5.4)
    governor = started(310.0, TS - 2 * DAY)
    governor.on_bar(TS - DAY, 305.0)
    governor.on_bar(utc(2024, 6, 30, 21), 300.0)
    assert governor.view.room_usd == pytest.approx(0.85)
    assert governor.view.dd_72h_pct == pytest.approx(1000.0 / 310.0)


# --- kill-switch ------------------------------------------------------------------------------------


def fallen() -> Governor:
    governor = started(300.0)
    governor.on_bar(TS + DAY, 296.0)
    governor.on_bar(TS + 2 * DAY, 289.5)
    return governor


def test_three_and_a_half_percent_below_the_72h_peak_halts_until_a_person_unlocks():
    """E6, X11, X12: 300 x 0.965 = 289.50, reached on the third day without one day's lock before."""
    governor = fallen()
    assert (governor.view.kill_switch, governor.view.state, governor.kill_switches) == (True, TradingState.HALTED, 1)
    governor.on_bar(TS + 30 * DAY, 400.0)
    assert governor.view.state is TradingState.HALTED
    assert governor.unlock(TS + 30 * DAY, "looked at it", "owner")
    assert governor.view.state is TradingState.ACTIVE
    assert [k for k in kinds(governor) if not k.startswith("day_lock")] == ["kill_switch", "unlock"]


def test_unlocking_starts_the_peak_anew_and_records_it():
    """X11: otherwise it would fire again on the next bar."""
    governor = fallen()
    governor.drain_events()
    governor.unlock(TS + 2 * DAY, "reviewed", "owner")
    event = governor.drain_events()[0]
    assert dict(event.detail) == {"reason": "reviewed", "who": "owner", "old_peak": 300.0, "new_peak": 289.5}
    assert governor.view.peak_72h == 289.5
    assert not governor.on_bar(TS + 2 * DAY + MINUTE, 289.5).kill_switch


def test_a_peak_older_than_72_hours_is_forgotten():
    """E6: 300 at TS counts at TS + 72 h and no longer after."""
    governor = started(300.0)
    governor.on_bar(TS + 40 * HOUR, 297.0)
    assert governor.on_bar(TS + 72 * HOUR, 295.0).peak_72h == 300.0
    assert governor.on_bar(TS + 72 * HOUR + MINUTE, 294.5).peak_72h == 297.0


def test_unlocking_what_is_not_locked_does_nothing_and_no_day_lock():
    governor = started()
    governor.on_bar(TS + MINUTE, 294.0)
    governor.drain_events()
    assert not governor.unlock(TS + MINUTE, "x", "owner")
    assert governor.view.day_lock
    assert governor.drain_events() == ()


def test_a_total_loss_locks_and_kills():
    governor = started()
    view = governor.on_bar(TS + MINUTE, 0.0)
    assert (view.day_lock, view.kill_switch, view.day_pnl_pct, view.dd_72h_pct) == (True, True, -100.0, 100.0)
    assert governor.on_bar(TS + 5 * DAY, 0.0).day_pnl_pct == -100.0


# --- green bonus ------------------------------------------------------------------------------------

MIDNIGHT = utc(2024, 7, 1, 21)  # the end of the day of TS


def test_the_bonus_is_on_while_the_realised_day_is_half_a_percent_up():
    """E2, X8: 1.50 USD of 300."""
    governor = started()
    governor.on_realised(TS, 1.49)
    assert (governor.view.bonus, governor.view.r_pct) == (False, 0.8)
    governor.on_realised(TS, 0.02)
    assert (governor.view.bonus, governor.view.r_pct) == (True, pytest.approx(1.1))
    assert governor.view.day_realised_pct == pytest.approx(1.51 / 3.0)
    assert kinds(governor) == ["bonus_on"]


def test_yesterdays_money_is_not_todays():
    """X8: a trade that booked 3 USD at its takes yesterday and 0.40 today, on a day of 1.50 USD to arm."""
    governor = started()
    governor.on_realised(MIDNIGHT, 3.0)  # inside the last bar of the day
    governor.on_bar(MIDNIGHT, 303.0)
    assert (governor.view.bonus, governor.view.day_realised_pct) == (False, 0.0)
    governor.on_realised(MIDNIGHT + MINUTE, 0.4)
    governor.on_realised(MIDNIGHT - 1, 5.0)  # late: of a day that is over
    governor.on_trade(trade(3.4, 1.4, MIDNIGHT + MINUTE))
    assert (governor.view.bonus, governor.view.day_realised_pct) == (False, pytest.approx(0.4 / 3.03))
    governor.on_realised(MIDNIGHT, 1.2)  # at the opening of the first bar of the day
    assert governor.view.bonus


def test_money_made_before_the_first_bar_of_its_day_is_that_days():
    """X8, X11: over a gap the fill comes first and the close that begins the day after it, also after a restart."""
    governor = started()
    governor.on_realised(MIDNIGHT + HOUR, 9.0)  # of a day without a bar
    governor.on_realised(MIDNIGHT + DAY + HOUR, 2.0)
    assert (governor.view.bonus, governor.view.day_realised_pct) == (False, 0.0)
    again = through_json(governor)
    again.on_bar(MIDNIGHT + DAY + 2 * HOUR, 302.0)
    assert (again.view.bonus, again.view.day_realised_pct) == (True, pytest.approx(2.0 / 3.0))
    assert kinds(again) == ["bonus_on"]


def test_the_first_losing_close_ends_the_bonus_for_the_day():
    """E2, X8: even a scratch that lost a cent, even if the day comes back."""
    governor = started()
    governor.on_realised(TS, 3.0)
    governor.on_realised(TS, -0.01)
    assert governor.view.bonus
    governor.on_trade(trade(-0.01, -0.01))
    assert not governor.view.bonus
    governor.on_realised(TS, 6.0)
    governor.on_trade(trade(6.0, 2.0))
    assert not governor.view.bonus
    assert kinds(governor) == ["bonus_on", "bonus_off"]


@pytest.mark.parametrize("amount", [-0.51, math.nan])
def test_a_day_that_falls_below_half_a_percent_ends_the_bonus_for_the_day(amount):
    """X8: by a fee or funding as well; an amount that is not a number is no neutral one."""
    governor = started()
    governor.on_realised(TS, 2.0)
    governor.on_realised(TS, amount)
    governor.on_realised(TS, 6.0)
    assert not governor.view.bonus
    assert kinds(governor) == ["bonus_on", "bonus_off"]


def test_the_bonus_ends_with_the_day_and_can_come_again():
    governor = started()
    governor.on_realised(TS, 3.0)
    view = governor.on_bar(TS + DAY, 303.0)
    assert (view.bonus, view.day_realised_pct) == (False, 0.0)
    governor.on_realised(TS + DAY, 3.0)
    assert governor.view.bonus
    assert kinds(governor) == ["bonus_on", "bonus_off", "bonus_on"]


def test_the_bonus_never_passes_the_maximum():
    """E2: 1.1 in all."""
    governor = Governor(governance(per_trade_r_pct_max=0.9))
    governor.on_bar(TS, 300.0)
    governor.on_realised(TS, 3.0)
    assert governor.view.r_pct == 0.9


def test_there_is_no_bonus_without_a_positive_start_of_the_day():
    governor = started(0.0)
    governor.on_realised(TS, 3.0)
    assert not governor.view.bonus


# --- cut --------------------------------------------------------------------------------------------


def lose(governor: Governor, times: int) -> None:
    for _ in range(times):
        governor.on_trade(trade(-1.0, -0.5))


def test_three_losses_in_a_row_cut_r_until_five_wins():
    """E3, X7: cumulative, losses between do not start it anew."""
    governor = started()
    lose(governor, 2)
    assert not governor.view.cut
    lose(governor, 1)
    assert (governor.view.cut, governor.view.r_pct, governor.view.loss_streak) == (True, pytest.approx(0.6), 3)
    for _ in range(4):
        governor.on_trade(trade(0.1, 0.2))
        lose(governor, 3)
    assert governor.view.cut
    governor.on_trade(trade(0.1, 0.2))
    assert (governor.view.cut, governor.view.r_pct) == (False, 0.8)
    assert kinds(governor) == ["cut_on", "cut_off"]


def test_scratches_neither_lengthen_nor_end_a_streak():
    """X6: a loss is below -0.15R, a win above +0.15R."""
    governor = started()
    lose(governor, 2)
    governor.on_trade(trade(-0.3, -0.15))
    governor.on_trade(trade(0.3, 0.15))
    assert governor.view.loss_streak == 2
    lose(governor, 1)
    assert governor.view.cut
    for _ in range(9):
        governor.on_trade(trade(0.3, 0.15))
    assert governor.view.cut


def test_a_win_ends_a_streak():
    governor = started()
    lose(governor, 2)
    governor.on_trade(trade(1.0, 0.5))
    lose(governor, 2)
    assert not governor.view.cut


def test_a_result_that_is_not_a_number_counts_as_a_loss():
    governor = started()
    for _ in range(3):
        governor.on_trade(trade(-1.0, math.nan))
    assert governor.view.cut


def test_there_is_no_bonus_during_a_cut():
    """X8: the day is up, but three losses came first; the bonus waits until five wins ended the cut."""
    governor = started()
    lose(governor, 3)
    governor.on_realised(TS, 8.0)
    for _ in range(4):
        governor.on_trade(trade(2.0, 0.5))
    assert (governor.view.bonus, governor.view.r_pct) == (False, pytest.approx(0.6))
    governor.on_trade(trade(2.0, 0.5))
    assert (governor.view.bonus, governor.view.r_pct) == (True, pytest.approx(1.1))
    assert kinds(governor) == ["cut_on", "cut_off", "bonus_on"]


# --- governance and missing equity ------------------------------------------------------------------


def test_a_changed_governance_file_allows_exits_only_until_it_is_signed():
    """H2, X12."""
    governor = started()
    governor.governance_changed(TS)
    governor.governance_changed(TS + MINUTE)
    assert (governor.view.state, governor.view.governance_changed) == (TradingState.REDUCING, True)
    governor.governance_signed(TS + HOUR)
    governor.governance_signed(TS + HOUR)
    assert governor.view.state is TradingState.ACTIVE
    assert kinds(governor) == ["governance_changed", "governance_signed"]


def test_halted_outranks_reducing():
    governor = fallen()
    governor.governance_changed(TS + 3 * DAY)
    assert governor.view.state is TradingState.HALTED


def test_nothing_is_allowed_before_the_first_equity():
    governor = Governor(governance())
    assert (governor.view.state, governor.view.room_usd) == (TradingState.REDUCING, 0.0)
    assert governor.on_bar(TS, math.nan).state is TradingState.REDUCING
    assert governor.on_bar(TS + MINUTE, 300.0).state is TradingState.ACTIVE


def test_an_unknown_equity_lets_nothing_be_opened_and_changes_no_lock():
    governor = started()
    view = governor.on_bar(TS + MINUTE, math.nan)
    assert (view.state, view.room_usd, view.equity, view.day_lock) == (TradingState.REDUCING, 0.0, 300.0, False)
    assert governor.on_bar(TS + 2 * MINUTE, 300.0).state is TradingState.ACTIVE


def test_only_a_marked_bar_moves_the_time_of_the_view():
    """Whoever asks "was this bar's equity marked?" by the view's ts must not be told so by a trade or an unlock."""
    governor = fallen()
    last = governor.view.ts
    governor.drain_events()
    later = last + HOUR
    for _ in range(3):
        governor.on_trade(trade(-1.0, -0.5, later))
    governor.unlock(later, "reviewed", "owner")
    governor.governance_changed(later)
    governor.governance_signed(later)
    assert governor.view.ts == last
    assert {event.ts for event in governor.drain_events()} == {later}


# --- persistence ------------------------------------------------------------------------------------


def through_json(governor: Governor) -> Governor:
    again = Governor(governance())
    again.restore(json.loads(json.dumps(governor.snapshot())))
    return again


@pytest.mark.parametrize("make", [fallen, started, lambda: Governor(governance())])
def test_a_restart_changes_nothing(make):
    """E9: view, events and everything that follows are the same."""
    governor = make()
    again = through_json(governor)
    assert encode(again.view) == encode(governor.view)
    assert again.snapshot() == governor.snapshot()
    assert again.drain_events() == governor.drain_events()
    for step in range(1, 200):
        ts, equity = TS + 2 * DAY + step * HOUR, 290.0 - step % 17
        assert encode(again.on_bar(ts, equity)) == encode(governor.on_bar(ts, equity))


def test_a_day_lock_survives_a_restart_and_ends_with_its_day():
    """E9."""
    governor = started()
    governor.on_bar(TS + MINUTE, 290.0)
    again = through_json(governor)
    assert again.on_bar(TS + HOUR, 299.0).day_lock
    assert again.daily_locks == 1
    assert not again.on_bar(TS + DAY, 299.0).day_lock


def test_an_edited_time_zone_does_not_clear_a_lock():
    """X1: locked at 15:00 in Chisinau; under a zone where it is already tomorrow the lock still ends when it would have."""
    governor = started()
    governor.on_bar(TS + MINUTE, 290.0)
    moved = Governor(governance(day_boundary_tz="Pacific/Kiritimati"))
    moved.restore(governor.snapshot())
    assert moved.on_bar(TS + 2 * MINUTE, 290.0).day_lock


@pytest.mark.parametrize("damage", [{"version": 2}, {"_kill": None}])
def test_a_damaged_snapshot_is_refused(damage):
    snapshot = started().snapshot()
    (key, value), *_ = damage.items()
    if value is None:
        del snapshot[key]
    else:
        snapshot[key] = value
    with pytest.raises(StateError):
        Governor(governance()).restore(snapshot)


def test_the_view_is_plain_and_events_are_drained_once():
    governor = fallen()
    assert isinstance(governor.view, GovernorView)
    assert GovernorEventKind.KILL_SWITCH in [event.kind for event in governor.drain_events()]
    assert governor.drain_events() == ()


# --- money in and out -------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [-200.0, -1.0, 50.0, 10_000.0])
def test_what_the_owner_moves_changes_no_percentage(amount):
    """X11: a withdrawal must not fire a limit, and a deposit must not hide a loss."""
    governor = started(300.0)
    governor.on_bar(TS + HOUR, 306.0)
    governor.on_realised(TS + HOUR, 2.0)
    before = governor.on_bar(TS + 2 * HOUR, 303.0)
    governor.on_transfer(amount)
    after = governor.on_bar(TS + 3 * HOUR, 303.0 + amount)
    for name in ("day_pnl_pct", "day_realised_pct", "dd_72h_pct"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-9), name
    assert after.room_usd / after.equity == pytest.approx(before.room_usd / before.equity)
    assert (after.day_lock, after.kill_switch) == (False, False)


def test_a_withdrawal_that_counted_as_a_loss_is_in_no_percentage_once_it_is_known():
    """X11: 303 of 306 USD, 50 % of it taken out, 1 % lost since; locks that it has set stay for midnight and a person."""
    governor = started(300.0)
    governor.on_bar(TS + HOUR, 306.0)
    governor.on_realised(TS + HOUR, 3.0)
    governor.on_bar(TS + 2 * HOUR, 303.0)
    governor.on_bar(TS + 3 * HOUR, 151.5)
    wrong = governor.on_bar(TS + 4 * HOUR, 151.5 * 0.99)
    assert (wrong.day_lock, wrong.kill_switch) == (True, True)
    governor.on_late_transfer(0.5, TS + 2 * HOUR)
    view = governor.view
    assert view.equity == wrong.equity
    assert (view.day_start_equity, view.peak_72h) == (150.0, 153.0)
    assert view.day_pnl_pct == pytest.approx((151.5 * 0.99 / 150.0 - 1.0) * 100.0)
    assert view.dd_72h_pct == pytest.approx((1.0 - 151.5 * 0.99 / 153.0) * 100.0)
    assert view.day_realised_pct == pytest.approx(1.0)
    assert view.room_usd > 0.0
    assert (view.day_lock, view.kill_switch) == (True, True)
    assert governor.unlock(TS + 5 * HOUR, "the exchange listed a withdrawal late", "owner")


def test_what_is_from_after_a_late_transfer_counted_is_left_as_it_is():
    """The day that began since, and a higher peak; the lower ones before it are none any more."""
    governor = started(300.0)
    governor.on_bar(TS + HOUR, 200.0)
    governor.on_bar(TS + 25 * HOUR, 202.0)
    governor.on_bar(TS + 26 * HOUR, 201.0)
    start = governor.view.day_start_equity
    governor.on_late_transfer(2.0 / 3.0, TS)
    assert (governor.view.day_start_equity, governor.view.peak_72h) == (start, 202.0)
    assert governor.view.dd_72h_pct == pytest.approx(100.0 / 202.0)


def test_a_limit_holds_after_a_withdrawal_as_before():
    governor = started(300.0)
    governor.on_transfer(-200.0)
    assert governor.on_bar(TS + HOUR, 98.3).day_lock is False
    assert governor.on_bar(TS + 2 * HOUR, 98.2).day_lock


def test_money_moved_before_the_first_bar_or_out_of_nothing_is_no_base():
    fresh = Governor(governance())
    fresh.on_transfer(100.0)
    assert fresh.on_bar(TS, 400.0).day_start_equity == 400.0
    broke = started(0.0)
    broke.on_transfer(100.0)
    assert broke.view.equity == 0.0
    empty = started(300.0)
    empty.on_transfer(-400.0)
    assert empty.view.equity == 0.0
