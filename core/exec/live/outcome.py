"""What became of an order whose request ended in an error: told by the venue's number, never by the class of the error.

An order is refused only where the venue has said so with a number, or where its request never left this machine. All else
is unknown, and is looked up: a reply that was lost, cut off, late, or that says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from core.codes import RefusalCode
from core.venues.errors import code_of, retry_after_s, status_of


class Outcome(StrEnum):
    """The four things that can have happened."""

    REJECTED = "rejected"
    THROTTLED = "throttled"
    """Not executed; the venue wants to be asked later."""
    DUPLICATE = "duplicate"
    """An order of this id is there: it is ours, and is looked up."""
    UNKNOWN = "unknown"


class Advice(StrEnum):
    """What else a rejection asks for."""

    NONE = "none"
    READ_POSITION = "read_position"
    """Nothing to reduce: what we believe of the position may be wrong."""
    SET_CLOCK = "set_clock"
    HALT = "halt"
    """Keys or account are not as they must be: nothing can be traded before a person looks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, why, and what to do. ``code`` is the venue's number; ``retry_after_s`` how long it wants to be left alone."""

    outcome: Outcome
    refusal: RefusalCode | None = None
    advice: Advice = Advice.NONE
    code: int | None = None
    message: str = ""
    retry_after_s: float = 0.0


_UNKNOWN = frozenset({-1000, -1001, -1006, -1007})
_THROTTLED = frozenset({-1003, -1008, -1015})
_DUPLICATE = -4116
_TOO_MANY = (418, 429)

_REFUSALS: dict[int, RefusalCode] = {
    -1111: RefusalCode.FILTER_REJECTED,
    -1121: RefusalCode.FILTER_REJECTED,
    -2018: RefusalCode.INSUFFICIENT_MARGIN,
    -2019: RefusalCode.INSUFFICIENT_MARGIN,
    -2021: RefusalCode.STOP_WOULD_TRIGGER,
    -2022: RefusalCode.REDUCE_ONLY_REJECTED,
    -2027: RefusalCode.LEVERAGE_CAP,
    -4003: RefusalCode.FILTER_REJECTED,
    -4014: RefusalCode.FILTER_REJECTED,
    -4015: RefusalCode.FILTER_REJECTED,
    -4023: RefusalCode.FILTER_REJECTED,
    -4131: RefusalCode.BOOK_THIN,
    -4164: RefusalCode.FILTER_REJECTED,
    -5021: RefusalCode.ENTRY_NOT_FILLED,
    -5022: RefusalCode.ENTRY_NOT_FILLED,
}
_ADVICE: dict[int, Advice] = {
    -1021: Advice.SET_CLOCK,
    -1022: Advice.HALT,
    -2014: Advice.HALT,
    -2015: Advice.HALT,
    -2022: Advice.READ_POSITION,
    -4061: Advice.HALT,
    -5028: Advice.SET_CLOCK,
}
_STATUS = re.compile(r"^\w+ (418|429)\b")
_SAID = re.compile(r'"msg"\s*:\s*"((?:[^"\\]|\\.)*)"')


def outcome(error: BaseException, *, left: bool = True) -> Verdict:
    """What became of the order whose request ended in ``error``.

    Args:
        error: whatever the client raised.
        left: whether the request may have left this machine; one that did not was surely not executed.
    """
    code, message = code_of(error), said(error)
    if code in _THROTTLED or (code is None and _too_many(error)):
        return Verdict(
            Outcome.THROTTLED, RefusalCode.VENUE_THROTTLED, code=code, message=message, retry_after_s=retry_after_s(error)
        )
    if code == _DUPLICATE:
        return Verdict(Outcome.DUPLICATE, code=code, message=message)
    if code is not None and code not in _UNKNOWN:
        refusal = _REFUSALS.get(code, RefusalCode.VENUE_REJECTED)
        return Verdict(Outcome.REJECTED, refusal, _ADVICE.get(code, Advice.NONE), code, message)
    if not left:
        return Verdict(Outcome.REJECTED, RefusalCode.VENUE_REJECTED, message=message)
    return Verdict(Outcome.UNKNOWN, code=code, message=message)


def _too_many(error: BaseException) -> bool:
    status = status_of(error)
    return status in _TOO_MANY if status is not None else _STATUS.match(str(error)) is not None


def said(error: BaseException) -> str:
    """What the venue said in ``error``; the text of a request (its address, its signature) is never in it."""
    found, code = _SAID.search(str(error)), code_of(error)
    if found is None:
        return type(error).__name__ if code is None else f"{code}"
    return found[1] if code is None else f"{code} {found[1]}"
