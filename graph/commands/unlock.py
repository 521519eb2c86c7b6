"""``brain unlock``: a person lifts the kill-switch, from a terminal, with a reason on record."""

from __future__ import annotations

from pathlib import Path

from core.errors import LockedError
from core.exec.live.outbox_reader import standing
from core.types import TradingState
from graph.commands.common import last_alert, open_reader, remedy_of, saved_state, who_asks
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.session_dir import SessionDir, UnlockRequest

SCHEMA = "brain.unlock/1"
WORD = "UNLOCK"


class NotATerminal(LockedError):
    """A kill-switch is lifted by a person only."""

    default_code = "LOCK-002"
    exit_code = 3


def run_unlock(*, state: Path, reason: str | None, no_input: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, no_input=no_input)
    return run_command(console, SCHEMA, lambda: _unlock(state, reason, console), effect="the kill-switch stays as it is")


def _unlock(state: Path, reason: str | None, console: Console) -> Answer:
    if not console.interactive:
        raise NotATerminal(
            f"unlock was {console.unattended}, and only a person may lift a kill-switch",
            help=f"look at what happened, then at a terminal: brain unlock --state {state}",
        )
    with open_reader(state) as reader:
        halted, why = saved_state(reader) is TradingState.HALTED, last_alert(reader, "kill_switch")
    beside = _halts(state)
    if not halted:
        return Answer({"unlocked": False}, f"The kill-switch is not on; there is nothing to unlock.{beside}", ExitCode.NO)
    console.info(f"kill-switch on ({why}); after unlocking, the 72 h peak starts again from present equity")
    said = (reason or console.ask("Why is it safe to go on? ")).strip()
    if not said:
        raise UsageError(
            "the reason was empty, expected a sentence for the record", help="brain unlock --state DIR --reason TEXT"
        )
    if not console.confirm("This lets the system open positions again.", WORD):
        return Answer({"unlocked": False}, "Not confirmed; the kill-switch stays on.", ExitCode.NO)
    SessionDir(state, create=False).request_unlock(UnlockRequest(said, who_asks()))
    return Answer({"unlocked": True}, f"Recorded. The daemon takes it at its next bar, or at its next start.{beside}")


def _halts(state: Path) -> str:
    """What no unlock settles: the exchange's own matters."""
    halts = standing(SessionDir(state, create=False).orders).halts
    lines = [f"\nnothing is opened on {halt.where}: {halt.text}" for halt in halts]
    return "".join([*lines, f"\nhelp: {remedy_of(halts, str(state))}"]) if lines else ""
