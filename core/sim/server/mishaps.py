"""Faults of the venue itself: sockets, listen key, clock, stuck triggers. They happen at once or after a while."""

from __future__ import annotations

from collections.abc import Callable

from core.sim.server.desk import Desk
from core.sim.server.doors import Doors
from core.sim.server.faults import ON_MESSAGE, ON_REQUEST, Fault, FaultKind, FaultPlan
from core.sim.server.user import UserFeed


class Mishaps:
    """Where every fault is handed in: those of requests and messages wait in the plan, the others happen here."""

    def __init__(self, desk: Desk, plan: FaultPlan, doors: Doors, user: UserFeed, settle: Callable[[bool], None]) -> None:
        self._desk, self._plan, self._doors, self._user, self._settle = desk, plan, doors, user, settle

    def add(self, fault: Fault) -> None:
        """Let a fault happen."""
        if fault.kind in ON_REQUEST | ON_MESSAGE:
            self._plan.add(fault)
        elif fault.after_ms:
            self._desk.pace.later(fault.after_ms, lambda: self._happen(fault))
        else:
            self._happen(fault)

    def clear(self) -> None:
        """End what lasts and forget what is still to come; a shifted clock stays shifted."""
        self._plan.clear()
        self._loosen()

    def _happen(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.DISCONNECT:
                for socket in self._doors.sockets(fault.stream):
                    socket.abort()
            case FaultKind.SILENT_SOCKET:
                for socket in self._doors.sockets(fault.stream):
                    socket.silent, socket.mute_pongs = True, not fault.executed
            case FaultKind.KEY_EXPIRY:
                self._user.expire()
            case FaultKind.CLOCK_JUMP:
                self._desk.pace.skew_ms += fault.delay_ms
            case _:
                self._desk.exchange.stall_triggers(stalled=True)
                if fault.delay_ms:
                    self._desk.pace.later(fault.delay_ms, self._loosen)

    def _loosen(self) -> None:
        """Triggers go on; what they filled is told."""
        self._desk.exchange.stall_triggers(stalled=False)
        self._settle(True)
