"""What a command answers to the shell, and which answer an error deserves."""

from __future__ import annotations

from enum import IntEnum

from core.errors import BrainError


class ExitCode(IntEnum):
    """Closed set of exit codes; ``meaning`` says when each is given."""

    DONE = 0
    NO = 1
    USAGE = 2
    REFUSED = 3
    SURROUNDINGS = 4
    PERSON = 5
    BUG = 70
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "Done; the answer is yes.",
    ExitCode.NO: "Done; the answer is no: a comparison differs, a check found damage, a gate failed.",
    ExitCode.USAGE: "Used or configured wrongly; nothing was started.",
    ExitCode.REFUSED: "Refused by a safety rule: a lock, a gate for live trading, a governance that was not signed, a key.",
    ExitCode.SURROUNDINGS: "Something outside is missing or broken: data, exchange, port, disk, clock.",
    ExitCode.PERSON: "A person is needed: trading is halted, or the books cannot be reconciled.",
    ExitCode.BUG: "A fault of Brain itself; a report file was written and is named in the message.",
    ExitCode.INTERRUPTED: "Stopped by Ctrl-C, or by any signal before a run at an exchange had begun (LIVE-018).",
}

_USAGE_FAMILIES = ("CLI-", "CFG-")


class UsageError(BrainError):
    """A command was used in a way that it cannot follow; nothing was started."""

    default_code = "CLI-001"
    exit_code = 2


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code that ``error`` deserves: its own ``exit_code``, 2 for codes of usage, 130 for Ctrl-C, else 70."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    own = getattr(error, "exit_code", None)
    known = ExitCode(own) if isinstance(own, int) and own in set(ExitCode) else ExitCode.BUG
    if known is ExitCode.BUG and str(getattr(error, "code", "")).startswith(_USAGE_FAMILIES):
        return ExitCode.USAGE
    return known
