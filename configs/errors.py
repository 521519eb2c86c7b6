"""What may be wrong with a configuration, and how it is told.

::

    ConfigError                     one or more problems; nothing was started      exit code 2
    └── GovernanceLockError         the limits are not the ones that were signed   exit code 3

Both hold *every* problem that was found, each with its place, so that one look is enough to mend them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

NOTHING_STARTED = "nothing was started; no order was sent"


class ConfigCode(StrEnum):
    """Closed set of configuration problems; ``meaning`` says when each is given."""

    FILE_MISSING = "CFG-001"
    FILE_UNREADABLE = "CFG-002"
    ENCODING = "CFG-003"
    EMPTY = "CFG-004"
    NOT_YAML = "CFG-005"
    DUPLICATE_KEY = "CFG-006"
    TAG = "CFG-007"
    TOO_LARGE = "CFG-008"
    NOT_A_MAPPING = "CFG-009"
    MISSING = "CFG-010"
    UNKNOWN = "CFG-011"
    WRONG_TYPE = "CFG-012"
    NOT_FINITE = "CFG-013"
    OUT_OF_RANGE = "CFG-014"
    NOT_A_CHOICE = "CFG-015"
    INCONSISTENT = "CFG-016"
    FILES_DISAGREE = "CFG-017"
    FORMAT = "CFG-018"
    LENGTH = "CFG-019"
    LOCK_MISSING = "CFG-020"
    LOCK_UNREADABLE = "CFG-021"
    LOCK_MISMATCH = "CFG-022"
    MODE_CONFLICT = "CFG-030"
    ENV_LINE = "CFG-031"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]

    @property
    def is_lock(self) -> bool:
        """Whether a safety rule, not a slip, stands behind the problem."""
        return self in _LOCK_CODES


_LOCK_CODES = (ConfigCode.LOCK_MISSING, ConfigCode.LOCK_UNREADABLE, ConfigCode.LOCK_MISMATCH)

_MEANINGS = {
    ConfigCode.FILE_MISSING: "A file that is needed is not there.",
    ConfigCode.FILE_UNREADABLE: "A file is there but cannot be read: a folder, or no permission.",
    ConfigCode.ENCODING: "A file is not UTF-8 text.",
    ConfigCode.EMPTY: "A file holds nothing but white space and comments.",
    ConfigCode.NOT_YAML: "A file is not one well-formed YAML document.",
    ConfigCode.DUPLICATE_KEY: "A key stands twice in one mapping; YAML would silently keep the last.",
    ConfigCode.TAG: "A value carries a YAML tag other than the plain types.",
    ConfigCode.TOO_LARGE: "A file is too large, too deep, or its aliases unfold without end.",
    ConfigCode.NOT_A_MAPPING: "The top of a file is not a mapping of keys to values.",
    ConfigCode.MISSING: "A required field is absent.",
    ConfigCode.UNKNOWN: "A key is not one that the file may hold; most often it is misspelt.",
    ConfigCode.WRONG_TYPE: "A value is of another type, e.g. text where a number is needed.",
    ConfigCode.NOT_FINITE: "A number is NaN or infinite.",
    ConfigCode.OUT_OF_RANGE: "A number lies outside its range.",
    ConfigCode.NOT_A_CHOICE: "A value is not one of the allowed words.",
    ConfigCode.INCONSISTENT: "Fields of one file contradict each other.",
    ConfigCode.FILES_DISAGREE: "Two files contradict each other (X21).",
    ConfigCode.FORMAT: "A text does not have the required form, e.g. a date or a symbol's name.",
    ConfigCode.LENGTH: "A list has too few or too many items.",
    ConfigCode.LOCK_MISSING: "governance.lock is not there: nobody has signed the limits.",
    ConfigCode.LOCK_UNREADABLE: "governance.lock cannot be read, or contradicts itself.",
    ConfigCode.LOCK_MISMATCH: "governance.yaml differs from what was signed.",
    ConfigCode.MODE_CONFLICT: "MODE asks for another way of trading than the command does (X37).",
    ConfigCode.ENV_LINE: "A line of the environment file is not NAME=value.",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line and column count from 1, ``width`` is what to underline."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with all that a person needs to mend it.

    ``value`` and ``source`` are shown to people: whoever makes a problem leaves secrets out of both.
    """

    code: ConfigCode
    what: str
    file: str
    field: str = ""
    value: str = ""
    allowed: str = ""
    help: str = ""
    place: Place | None = None
    source: str = ""

    @property
    def where(self) -> str:
        """``file:line:column``, as far as it is known."""
        return self.file if self.place is None else f"{self.file}:{self.place.line}:{self.place.column}"

    def as_dict(self) -> dict[str, str | int | None]:
        """Plain values for ``--json``."""
        return {
            "code": str(self.code),
            "what": self.what,
            "file": self.file,
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
            "field": self.field,
            "value": self.value,
            "allowed": self.allowed,
            "help": self.help,
        }

    def render(self, effect: str = NOTHING_STARTED) -> str:
        """Several lines for people: what, place, evidence, effect, help."""
        lines = [f"error[{self.code}]: {self.what}", f"  --> {self.where}"]
        lines += self._evidence()
        if effect:
            lines.append(f"   = effect: {effect}")
        if self.help:
            lines.append(f"   = help: {self.help}")
        lines.append(f"   = more: brain explain {self.code}")
        return "\n".join(lines)

    def _evidence(self) -> list[str]:
        if self.place is None or not self.source:
            said = [f"value: {self.value}"] if self.value else []
            said += [f"allowed: {self.allowed}"] if self.allowed else []
            return [f"   = {line}" for line in said]
        number = str(self.place.line)
        margin = " " * max(len(number), 2)
        marks = " " * (self.place.column - 1) + "^" * self.place.width
        allowed = f" allowed: {self.allowed}" if self.allowed else ""
        return [f"{margin} |", f"{number:>{len(margin)}} | {self.source}", f"{margin} | {marks}{allowed}"]


class ConfigError(Exception):
    """The configuration cannot be used.

    Args:
        problems: everything that was found, at least one.

    Has the attributes of ``core.errors.BrainError`` (``code what help exit_code``), so that the command
    line shows both alike, and ``problems``, ``render()``, ``as_dict()`` for the whole truth.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a ConfigError needs at least one problem")
        self.problems = tuple(problems)
        first = self.problems[0]
        self.code = str(first.code)
        self.help = first.help
        others = len(self.problems) - 1
        more = f" (and {others} more problem{'s' if others > 1 else ''})" if others else ""
        self.what = f"{first.where}: {first.what}{more}"
        super().__init__(self.what)

    def render(self, effect: str = NOTHING_STARTED) -> str:
        """All problems for people, with a count at the end when there is more than one."""
        parts = [problem.render(effect) for problem in self.problems]
        if len(parts) > 1:
            parts.append(f"{len(parts)} problems were found.")
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, object]:
        """Plain values for ``--json``."""
        return {
            "code": self.code,
            "what": self.what,
            "help": self.help,
            "problems": [problem.as_dict() for problem in self.problems],
        }


class GovernanceLockError(ConfigError):
    """The limits are valid but are not the ones that a person signed (H2)."""

    exit_code = 3


def raise_all(problems: Sequence[Problem]) -> None:
    """Raise what was found, if anything was; a lock alone is a safety rule, anything else a wrong configuration.

    Raises:
        GovernanceLockError: every problem concerns the lock.
        ConfigError: any other problem.
    """
    if problems:
        only_lock = all(problem.code.is_lock for problem in problems)
        raise (GovernanceLockError if only_lock else ConfigError)(problems)
