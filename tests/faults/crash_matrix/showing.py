"""Where a mutant shows: where nothing but the missing piece stands between the bot and a broken rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.exec.live.crash import CrashPoint
from core.sim.server.faults import FaultKind
from tests.faults.crash_matrix.cells import ALGO, FAULTS, NONE, PLAIN, Action, Beside, Cell, Entering, Leg, cell_of
from tests.support.simulation.disk import Loss

_LOOKED_THROUGH = 8_000
_UNDER_WAY = (CrashPoint.REPLIED, CrashPoint.ACK_BEFORE, CrashPoint.FILL_BEFORE, CrashPoint.FILL_AFTER, CrashPoint.DONE_BEFORE)
"""Passed while an entry is filled and no stop stands yet."""
_LOST = (FaultKind.HANG, FaultKind.UNKNOWN, FaultKind.DROP_BEFORE)


@dataclass(frozen=True, slots=True)
class Show:
    """A sub-matrix, and those of its cells in which it shows."""

    faults: tuple[str, ...] = FAULTS
    points: tuple[CrashPoint, ...] = tuple(CrashPoint)
    when: Callable[[Cell], bool] = lambda _cell: True

    def numbers(self) -> Iterator[int]:
        """Lives, by their number in the sub-matrix."""
        return (number for number in range(_LOOKED_THROUGH) if self.when(cell_of(number, self.points, self.faults)))


def _stops_fail(cell: Cell, kinds: tuple[FaultKind, ...], *times: int) -> bool:
    """Whether stops do not come to be, so many times (0: for as long as faults last)."""
    return any(
        fault.kind in kinds
        and (fault.method, fault.path, fault.nth, fault.executed) == ("POST", ALGO, 1, False)
        and fault.times in times
        for fault in cell.venue_faults
    )


def _entered_without_stops(cell: Cell) -> bool:
    entry = cell.action is Action.ENTRY and len(cell.kills) == 1 and cell.outage is None
    return entry and _stops_fail(cell, (*_LOST, FaultKind.REJECT), 3, 0)


def _dies_at_once(cell: Cell) -> bool:
    return cell.kills[0].nth == 1 and cell.kills[0].down_s < cell.faults_last_s - 2.0


def _entry_is_taken_in_silence(cell: Cell) -> bool:
    faults = [fault for fault in cell.venue_faults if (fault.method, fault.path, fault.nth) == ("POST", PLAIN, 1)]
    return cell.action is Action.ENTRY and bool(faults) and cell.outage is None


def _loses_power(cell: Cell) -> bool:
    return cell.kills[0].loss is Loss.UNSYNCED and cell.action is Action.ENTRY


def _link_breaks_while_a_take_is_filled(cell: Cell) -> bool:
    breaks = cell.fault == "net_reset" and 1.0 < cell.link_fault_after_s < 5.0 and cell.link_fault_s > 2.0
    return cell.action is Action.TAKE and cell.prompt and breaks and len(cell.kills) == 1 and cell.kills[0].down_s < 1.0


def _others_order_stands(cell: Cell) -> bool:
    rests = cell.has(Beside.RESTS)
    return cell.action is Action.ADD and len(cell.symbols) == 1 and rests is not None and rests.after_s < 0


SHOWS: dict[str, Show] = {
    "synchronous_off": Show((NONE,), (CrashPoint.SENT_AFTER, CrashPoint.REPLIED), _loses_power),
    "synchronous_normal": Show((NONE,), (CrashPoint.SENT_AFTER, CrashPoint.REPLIED), _loses_power),
    "unknown_again_with_new_id": Show(("drop_after", "truncated"), when=_entry_is_taken_in_silence),
    "not_found_is_absent": Show(("late",)),
    "cancel_before_place": Show((NONE,), when=lambda cell: cell.action is Action.STOP),
    "no_catastrophe_stop": Show((NONE,), when=lambda cell: cell.action is Action.STOP),
    "intent_after_send": Show((NONE,), (CrashPoint.REPLIED,)),
    "fills_after_the_last": Show(("missing_event",)),
    "fill_counts_twice": Show(("duplicate_event",)),
    "no_second_stop": Show(
        ("hang", "drop_before"),
        (CrashPoint.CANCEL_SENT, CrashPoint.THROTTLED_BEFORE),
        lambda cell: cell.action is Action.ENTRY and cell.orderly and _stops_fail(cell, _LOST, 2, 3, 0),
    ),
    "no_close": Show(("hang", "drop_before", "reject"), when=_entered_without_stops),
    "no_close_of_what_is_stuck": Show(
        ("stuck_trigger",),
        when=lambda cell: cell.leg is Leg.STOPPED and cell.outage is None and cell.action is not Action.EXIT,
    ),
    "no_clean_up": Show(),
    "one_witness": Show(("found_late",), (CrashPoint.REPLIED, CrashPoint.ACK_BEFORE)),
    "no_fence": Show(("late",)),
    "missing_orders_rest": Show(("missing_event", "disconnect")),
    "children_are_not_asked_for": Show(("missing_event", "disconnect")),
    "unknown_orders_are_nobodys": Show(("foreign_order",), when=_others_order_stands),
    "links_are_lost_unheard": Show(when=_link_breaks_while_a_take_is_filled),
    "no_schedule": Show(("missing_event",)),
    "no_money": Show((NONE,), when=lambda cell: cell.funding),
    "no_checks": Show(("foreign_order",), when=_others_order_stands),
    "old_entries_are_sent": Show(
        (NONE,),
        (CrashPoint.SENT_BEFORE,),
        lambda cell: cell.action is Action.ENTRY and cell.kills[0].nth == 1 and cell.kills[0].down_s > 31.0,
    ),
    "start_covers_nothing": Show(
        ("drop_before", "hang", "reject"), _UNDER_WAY, lambda cell: _entered_without_stops(cell) and _dies_at_once(cell)
    ),
    "start_calls_nothing_back": Show(
        (NONE,),
        (CrashPoint.ACK_AFTER, CrashPoint.REPLIED),
        lambda cell: cell.action is Action.ENTRY and cell.entering is Entering.MAKER and _dies_at_once(cell),
    ),
    "start_tells_no_ends": Show(
        ("drop_before",), (CrashPoint.ABSENT_AFTER,), lambda cell: cell.action is Action.EXIT and cell.kills[0].nth == 1
    ),
    "start_sets_no_modes": Show((NONE,)),
}
