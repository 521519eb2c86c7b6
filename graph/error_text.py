"""Errors as a person reads them and as a machine does: what, place, evidence, effect, help, and where to read more."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any


class Style(StrEnum):
    """What a piece of text is; the SGR code that shows it."""

    ERROR = "1;31"
    WARNING = "1;33"
    PLACE = "34"
    HINT = "36"
    STRONG = "1"


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PAINT: tuple[tuple[re.Pattern[str], Style], ...] = (
    (re.compile(r"^error(?:\[[^\]]*\])?(?=:)", re.MULTILINE), Style.ERROR),
    (re.compile(r"^warning(?=:)", re.MULTILINE), Style.WARNING),
    (re.compile(r"^ *-->", re.MULTILINE), Style.PLACE),
    (re.compile(r"(?<=\| ) *\^+"), Style.ERROR),
    (re.compile(r"(?<=^   = )\w+(?=:)", re.MULTILINE), Style.HINT),
)


def paint(text: str, style: Style) -> str:
    """``text`` in the colour of ``style``."""
    return f"\x1b[{style.value}m{text}\x1b[0m"


def printable(text: str) -> str:
    """``text`` with control characters (terminal escapes among them) made visible and harmless."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def render_error(error: BaseException, *, effect: str = "", color: bool = False) -> str:
    """An error for people: what, place, evidence, effect, help, more.

    Takes any exception with the attributes of :class:`core.errors.BrainError`; ``place``, ``evidence`` (lines) and
    ``effect`` are used where it has them, and an error that can ``render()`` itself does so.

    Args:
        error: what went wrong.
        effect: what that means for trading, where the error itself does not say it.
        color: whether to add colours.
    """
    own = getattr(error, "render", None)
    code = str(getattr(error, "code", ""))
    lines = [_own_rendering(own, effect)] if callable(own) else _lines_of(error, code, effect)
    more = f"   = more: brain explain {code}"
    if code and more not in lines[0]:
        lines.append(more)
    text = printable("\n".join(lines))
    for pattern, style in _PAINT if color else ():
        text = pattern.sub(lambda match, style=style: paint(match[0], style), text)  # type: ignore[misc]
    return text


def _own_rendering(render: Callable[..., str], effect: str) -> str:
    takes = inspect.signature(render).parameters
    arguments: dict[str, Any] = {}
    if "color" in takes:
        arguments["color"] = False
    if "effect" in takes and effect:
        arguments["effect"] = effect
    return str(render(**arguments)).rstrip("\n")


def _lines_of(error: BaseException, code: str, effect: str) -> list[str]:
    what = what_of(error)
    lines = [f"error[{code}]: {what}" if code else f"error: {what}"]
    place, evidence = getattr(error, "place", None), getattr(error, "evidence", ())
    lines += [f"  --> {place}"] if place else []
    lines += [f"   | {line}" for line in evidence]
    effect = str(getattr(error, "effect", "") or effect)
    lines += [f"   = effect: {effect}"] if effect else []
    lines += [f"   = report: {error.report}"] if isinstance(error, Fault) and error.report else []
    help_ = str(getattr(error, "help", ""))
    lines += [f"   = help: {help_}"] if help_ else []
    return lines


def what_of(error: BaseException) -> str:
    """What went wrong, in one sentence; the kind of the error where it says nothing itself."""
    return str(getattr(error, "what", "")) or str(error) or type(error).__name__


def error_object(error: BaseException, *, effect: str = "") -> dict[str, Any]:
    """The same error for ``--json``: ``code what place effect help more`` and whatever the error adds itself."""
    as_dict = getattr(error, "as_dict", None)
    code = str(getattr(error, "code", ""))
    answer: dict[str, Any] = {
        "code": code or type(error).__name__,
        "what": printable(what_of(error)),
        "place": None if getattr(error, "place", None) is None else str(getattr(error, "place", "")),
        "effect": str(getattr(error, "effect", "") or effect),
        "help": str(getattr(error, "help", "")),
        "more": f"brain explain {code}" if code else "",
    }
    if isinstance(error, Fault):
        answer["report"] = str(error.report) if error.report else None
    return answer | (as_dict() if callable(as_dict) else {})


class Fault(Exception):
    """An error that is ours to mend, made presentable; ``report`` is the file that was written, if it could be."""

    exit_code = 70

    def __init__(self, error: BaseException, report: Path | None, why_no_report: str) -> None:
        kind = type(error).__name__
        super().__init__(kind)
        coded = hasattr(error, "code") and hasattr(error, "what")
        self.code = str(getattr(error, "code", "")) if coded else "BUG-001"
        self.what = what_of(error) if coded else f"an unexpected {kind} stopped the command; this is a fault of Brain itself"
        self.report = report
        self.help = "keep the report for whoever mends it, then try `brain doctor`"
        if report is None:
            self.help = f"no report could be written ({why_no_report}); try `brain doctor`"
