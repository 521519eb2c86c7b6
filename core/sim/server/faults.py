"""Scripted faults: what goes wrong, where, and how often."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from msgspec import Struct

from core.sim.local.values import VenueError

HANG_MS = 60_000


class FaultKind(StrEnum):
    """What can go wrong. The first group happens to requests, the second to messages, the third to the venue itself."""

    REJECT = "reject"
    """The request is refused with ``code``, ``message`` and ``status``."""
    THROTTLE = "throttle"
    """429 with Retry-After, nothing done."""
    BAN = "ban"
    """418 with Retry-After, nothing done."""
    UNKNOWN = "unknown"
    """503 without a code, "execution status unknown"; done where ``executed``."""
    HANG = "hang"
    """No reply for ``delay_ms``, then the connection ends; done at once where ``executed``."""
    DROP_BEFORE = "drop_before"
    """The connection ends before anything is done."""
    DROP_AFTER = "drop_after"
    """Done, and the connection ends without a reply."""
    TRUNCATED = "truncated"
    """Done, and half of the reply comes."""
    HTML = "html"
    """502 with a web page; done where ``executed``."""
    LATE = "late"
    """The connection ends at once; the request arrives ``delay_ms`` later and is done then, if its window allows."""
    QUEUED = "queued"
    """The request waits ``delay_ms`` before the matching engine, which refuses it if its window has passed by then."""
    SLOW = "slow"
    """Done at once, the reply comes ``delay_ms`` later."""
    FOUND_LATE = "found_late"
    """An order is accepted, but for ``delay_ms`` no look-up finds it."""

    DUPLICATE_EVENT = "duplicate_event"
    """A user event is sent twice."""
    REORDERED_EVENT = "reordered_event"
    """A user event is sent after the one that follows it (or after ``delay_ms``)."""
    MISSING_EVENT = "missing_event"
    """A user event is not sent."""
    DEPTH_GAP = "depth_gap"
    """A difference of the book is not sent."""
    LATE_FINAL = "late_final"
    """The final candle is sent ``delay_ms`` late."""
    MISSING_FINAL = "missing_final"
    """The final candle is not sent."""

    SILENT_SOCKET = "silent_socket"
    """Sockets stay open and say nothing more; pings are answered where ``executed``."""
    DISCONNECT = "disconnect"
    """Sockets are closed."""
    KEY_EXPIRY = "key_expiry"
    """The listen key expires now."""
    CLOCK_JUMP = "clock_jump"
    """The venue's clock is shifted by ``delay_ms`` (may be negative)."""
    STUCK_TRIGGER = "stuck_trigger"
    """Conditional orders that trigger stay TRIGGERING, for ``delay_ms`` (0: until cleared)."""


ON_REQUEST = frozenset(
    {
        FaultKind.REJECT,
        FaultKind.THROTTLE,
        FaultKind.BAN,
        FaultKind.UNKNOWN,
        FaultKind.HANG,
        FaultKind.DROP_BEFORE,
        FaultKind.DROP_AFTER,
        FaultKind.TRUNCATED,
        FaultKind.HTML,
        FaultKind.LATE,
        FaultKind.QUEUED,
        FaultKind.SLOW,
        FaultKind.FOUND_LATE,
    }
)
ON_MESSAGE = frozenset(
    {
        FaultKind.DUPLICATE_EVENT,
        FaultKind.REORDERED_EVENT,
        FaultKind.MISSING_EVENT,
        FaultKind.DEPTH_GAP,
        FaultKind.LATE_FINAL,
        FaultKind.MISSING_FINAL,
    }
)


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One fault.

    ``method`` and ``path`` (``/fapi/v1/order``, or a beginning of it that ends in ``*``) choose requests, ``stream``
    chooses messages (``btcusdt@depth@100ms``, ``ORDER_TRADE_UPDATE``) or sockets (``public``, ``market``,
    ``private``); empty means any. Of what fits, the ``nth`` and the ``times - 1`` after it are hit (0: all after it); with
    ``probability`` each is hit by chance instead, at most ``times`` in all. Faults of the venue itself happen at once, or
    ``after_ms`` later.
    """

    kind: FaultKind
    method: str = ""
    path: str = ""
    stream: str = ""
    nth: int = 1
    times: int = 1
    probability: float | None = None
    executed: bool = False
    delay_ms: int = 0
    after_ms: int = 0
    code: int = -1001
    message: str = "Internal error; unable to process your request. Please try again."
    status: int = 400

    def error(self) -> VenueError:
        """What a rejection says."""
        return VenueError(self.code, self.message, status=self.status)

    def on_request(self, method: str, path: str) -> bool:
        """Whether the request is one of those meant."""
        return self.kind in ON_REQUEST and self.method in {"", method} and _fits(self.path, path)

    def on_message(self, kind: FaultKind, stream: str) -> bool:
        """Whether the message is one of those meant."""
        return self.kind is kind and self.stream in {"", stream}


def _fits(wanted: str, path: str) -> bool:
    return not wanted or path == wanted or (wanted.endswith("*") and path.startswith(wanted[:-1]))


class _Armed:
    """A fault and how often it was met."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.met = 0
        self.hits = 0

    @property
    def spent(self) -> bool:
        return self.fault.times > 0 and self.hits >= self.fault.times

    def meet(self, random: np.random.Generator) -> bool:
        """Count what fits, and say whether it is hit."""
        self.met += 1
        chance = self.fault.probability
        hit = self.met >= self.fault.nth if chance is None else bool(random.random() < chance)
        self.hits += hit
        return hit


class FaultPlan:
    """The faults that are still to come, in the order in which they were given; the first that hits is taken."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """One more."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """None more."""
        self._armed.clear()

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """Faults that have not happened as often as they should."""
        return tuple(armed.fault for armed in self._armed)

    def for_request(self, method: str, path: str) -> Fault | None:
        """What happens to this request."""
        return self._take([armed for armed in self._armed if armed.fault.on_request(method, path)])

    def for_message(self, kind: FaultKind, stream: str) -> Fault | None:
        """Whether ``kind`` happens to this message."""
        return self._take([armed for armed in self._armed if armed.fault.on_message(kind, stream)])

    def _take(self, fitting: list[_Armed]) -> Fault | None:
        hit = next((armed for armed in fitting if armed.meet(self._random)), None)
        if hit is None:
            return None
        if hit.spent:
            self._armed.remove(hit)
        return hit.fault
