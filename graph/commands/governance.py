"""``brain governance verify`` and ``brain governance sign``: check and sign the locked limits."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from configs.folder import default_folder, with_configs
from configs.lock import LockStatus, load_governance, verify, write_lock
from core.clock import SystemClock
from core.errors import LockedError
from graph.commands.common import who_asks
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode, UsageError

SCHEMA = "brain.governance/1"
WORD = "SIGN"


class NotATerminal(LockedError):
    """Limits are signed by a person only."""

    default_code = "LOCK-003"
    exit_code = 3


def run_verify(*, configs: Path | None, json: bool, color: str) -> int:
    """Run ``verify`` and give its exit code: 0 signed, 1 not what was signed."""
    console = Console(color=color, json=json)
    return run_command(console, SCHEMA, lambda: _verify(configs or default_folder()))


def _verify(folder: Path) -> Answer:
    status = verify(folder)
    lines = [f"{folder / 'governance.yaml'}: {status.state.value}", f"digest {status.digest}"]
    lines += [f"  {item.field}: signed {item.signed}, now {item.present}" for item in status.differences]
    data = {"state": status.state.value, "digest": status.digest, "differences": [item.field for item in status.differences]}
    return Answer(data, "\n".join(lines), ExitCode.DONE if status.ok else ExitCode.NO)


def run_sign(*, configs: Path | None, reviewer: str | None, no_input: bool, color: str) -> int:
    """Run ``sign`` and give its exit code."""
    console = Console(color=color, no_input=no_input)
    effect = "governance.lock was not written; a start refuses until it is"
    return run_command(console, SCHEMA, lambda: _sign(configs or default_folder(), reviewer, console), effect=effect)


def _sign(folder: Path, reviewer: str | None, console: Console) -> Answer:
    sign_command = with_configs("brain governance sign", folder)
    verify_command = with_configs("brain governance verify", folder)
    if not console.interactive:
        raise NotATerminal(
            f"sign was {console.unattended}, and only a person may sign limits of risk",
            help=f"look at what changed with `{verify_command}`, then at a terminal: {sign_command}",
        )
    load_governance(folder)
    status = verify(folder)
    if status.ok:
        return Answer({"signed": True}, "governance.yaml is what was signed already; nothing to do.")
    console.info(_difference(status))
    reviewer = _reviewer(reviewer, sign_command, console)
    reason = console.ask("Reason for the change: ")
    if not reason:
        raise UsageError("the reason was empty, expected a sentence for the record", help=sign_command)
    if not console.confirm("These limits hold from the next start on.", WORD):
        return Answer({"signed": False}, "Not confirmed; the former signature stays.", ExitCode.NO)
    today = dt.datetime.fromtimestamp(SystemClock().now_ms() / 1000, dt.UTC).date()
    lock = write_lock(folder, reviewer, reason, today)
    return Answer({"signed": True, "digest": lock.digest}, f"Signed: {lock.digest}, reviewed by {lock.reviewer}")


def _reviewer(given: str | None, sign_command: str, console: Console) -> str:
    """Who answers for the change: whoever looked at it, who need not be the one logged in here."""
    if given is None:
        login = who_asks()
        return console.ask(f"Reviewer [{login}]: ") or login
    if not given.strip():
        raise UsageError("--reviewer was empty, expected a name for the record", help=f"{sign_command} --reviewer NAME")
    return given.strip()


def _difference(status: LockStatus) -> str:
    if not status.differences:
        return "There is no readable former signature; every limit is new."
    return "\n".join(f"{item.field}: {item.signed} -> {item.present}" for item in status.differences)
