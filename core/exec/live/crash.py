"""Named places at which a test may end a life: before and after everything that the outbox writes or the venue hears."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    """Where a process can die with a difference. ``*_BEFORE``: not on the disk yet; ``*_AFTER``: it is."""

    SENT_BEFORE = "sent_before"
    SENT_AFTER = "sent_after"
    REPLIED = "replied"
    """The venue's reply is here, and nothing of it is on the disk."""
    ACK_BEFORE = "ack_before"
    ACK_AFTER = "ack_after"
    REJECTED_BEFORE = "rejected_before"
    REJECTED_AFTER = "rejected_after"
    THROTTLED_BEFORE = "throttled_before"
    THROTTLED_AFTER = "throttled_after"
    UNKNOWN_BEFORE = "unknown_before"
    UNKNOWN_AFTER = "unknown_after"
    FOUND_BEFORE = "found_before"
    FOUND_AFTER = "found_after"
    ABSENT_BEFORE = "absent_before"
    ABSENT_AFTER = "absent_after"
    DONE_BEFORE = "done_before"
    DONE_AFTER = "done_after"
    FILL_BEFORE = "fill_before"
    FILL_AFTER = "fill_after"
    """A fill, with what it makes of its order: partly filled, or done."""
    TOLD_BEFORE = "told_before"
    TOLD_AFTER = "told_after"
    """Events are noted as told, and nobody has heard them."""
    CANCEL_BEFORE = "cancel_before"
    CANCEL_SENT = "cancel_sent"
    RESOLVED = "resolved"
    """Recovery: every doubtful order is cleared up."""
    ADOPTED = "adopted"
    """Recovery: what rests at the venue is known."""
    BACKFILLED = "backfilled"
    """Recovery: missed fills are on record."""
    COVERED = "covered"
    """Recovery: every position has its stop."""


OnCrashPoint = Callable[[CrashPoint], None]


def never(point: CrashPoint) -> None:
    """What stands there outside tests."""
