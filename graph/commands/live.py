"""``brain live`` and ``brain live approve``: nothing is sent before the evidence is there and a person has signed it (J5).

Trading itself is in :mod:`graph.commands.live_run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from configs.environment import require_mode
from configs.folder import default_folder, with_configs
from configs.live_lock import FORM, LIVE_LOCK_FILE, Approval, evidence_digest, strategies_digest, write_approval
from configs.loader import load
from configs.validators import Configuration, Mode
from core.clock import SystemClock, rfc3339
from core.errors import LockedError, StateError
from core.exec.entering import Entering, Entry
from core.monitor.readiness import Item
from graph.commands.common import read_environment, secrets_of, who_asks
from graph.commands.drive import ended_by_signals
from graph.commands.left_behind import holds_session
from graph.commands.live_run import LiveFlags, Stage, Trading, trade
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.live.assembly import Reach
from graph.parse import parse_backup
from graph.readiness import Readiness, look, surroundings
from graph.version import source_digest

SCHEMA = "brain.live/1"
APPROVE_SCHEMA = "brain.live_approve/1"
WORD = "GO LIVE"
DEFAULT_STATE = Path("var") / "live"
_MOST_NAMED = 10
"""Sessions that do not count, named one by one on a screen; --json has them all."""


class NotReady(LockedError):
    """A demand of J5, or of the machine, is not met. ``data`` is the whole table."""

    default_code = "READY-001"
    exit_code = 3

    def __init__(self, what: str, help_text: str, data: dict[str, Any]) -> None:
        super().__init__(what, help=help_text)
        self.data = data


class NotProven(NotReady):
    """What is to be traded is not what was traded on paper."""

    default_code = "READY-002"


class OtherEntering(NotReady):
    """Entries are to be made in another way than on paper."""

    default_code = "READY-004"


class NotATerminal(LockedError):
    """Going live is approved by a person only."""

    default_code = "LOCK-004"
    exit_code = 3


# --- brain live ------------------------------------------------------------------------------------------------------


def run_live(flags: LiveFlags, *, json: bool, quiet: bool, color: str, reach: Reach | None = None) -> int:
    """Check everything, trade, and give the exit code: 3 while anything is missing.

    ``reach``: how the account is reached where that is not the venue's own way, which no flag and no variable can say.
    """
    console, stage = Console(color=color, json=json, quiet=quiet), Stage()
    return run_command(console, SCHEMA, lambda: _heard(flags, console, stage, reach), effect=stage.effect)


def _heard(flags: LiveFlags, console: Console, stage: Stage, reach: Reach | None) -> Answer:
    with ended_by_signals():
        return _live(flags, console, stage, reach)


def _live(flags: LiveFlags, console: Console, stage: Stage, reach: Reach | None) -> Answer:
    folder, state = flags.configs or default_folder(), flags.state or DEFAULT_STATE
    flags.base_tf, flags.entering  # noqa: B018 - wrong flags are refused before anything is looked at
    parse_backup(flags.backup)
    environment = read_environment()
    console.secrets = secrets_of(environment)
    console.zone = ZoneInfo(environment.tz)
    require_mode(environment, Mode.LIVE)
    config = load(folder)
    goes_on = holds_session(state)
    found = _look(flags.evidence, config, folder, console, must_be=not goes_on)
    items = (*found.items, *surroundings(environment, state, len(found.items) + 1))
    data = _data(found, items)
    console.answer(_text(found, items))
    unmet = (
        *_unmet(items, found, data, goes_on=goes_on),
        *_unproven(flags, found, data, goes_on=goes_on),
        *_other_entering(flags, found, data, goes_on=goes_on),
    )
    trading = Trading(flags, environment, config, folder, state, found.counted.equity, goes_on, unmet)
    answer = trade(trading, console, stage, reach)
    return replace(answer, data={**data, "unmet": unmet, **answer.data})


def _unmet(items: Sequence[Item], found: Readiness, data: dict[str, Any], *, goes_on: bool) -> tuple[str, ...]:
    """What is asked of the evidence and not met by now: what such a session left open must still be watched.

    Raises:
        NotReady: the session would be the first, or something else is missing.
    """
    missing = [item for item in items if not item.passed]
    bearable = found.of_evidence if goes_on else ()
    if all(item in bearable for item in missing):
        return tuple(f"demand {item.number}: {item.asked}" for item in missing)
    numbers = ", ".join(str(item.number) for item in missing)
    first = next(item for item in missing if item not in bearable)
    raise NotReady(f"{len(missing)} of {len(items)} demands for live trading are not met: {numbers}", first.remedy, data)


def _unproven(flags: LiveFlags, found: Readiness, data: dict[str, Any], *, goes_on: bool) -> tuple[str, ...]:
    proven = found.counted.symbols
    strange = [symbol for symbol in flags.base_tf if symbol not in proven]
    if not strange:
        return ()
    what = f"{', '.join(strange)} is not in every counted session; {', '.join(proven) or 'no symbol'} is"
    if goes_on:
        return (what,)
    raise NotProven(what, f"brain live --symbols {','.join(proven)}, or let paper trade it too", data)


def _other_entering(flags: LiveFlags, found: Readiness, data: dict[str, Any], *, goes_on: bool) -> tuple[str, ...]:
    proven = found.counted.entering
    if proven is None or flags.entering == proven:
        return ()
    what = f"entries would be made {flags.entering}, the counted sessions made them {proven}"
    if goes_on:
        return (what,)
    raise OtherEntering(what, f"brain live{_as_flags(proven)}, or let paper enter so too", data)


def _as_flags(how: Entering) -> str:
    entry = "" if how.entry is Entry.ACROSS else f" --entry {how.entry.value}"
    return entry if how.slices == 1 else f"{entry} --slices {how.slices}"


def _look(evidence: Path | None, config: Configuration, folder: Path, console: Console, *, must_be: bool = True) -> Readiness:
    if must_be and evidence is not None and not evidence.is_dir():
        raise StateError(f"there is no folder {evidence}", help="name a folder of sessions: brain sessions", code="JRN-003")
    with console.progress(None, "checking sessions") as progress:
        return look(evidence, config, folder, SystemClock().now_ms(), progress.advance)


def _data(found: Readiness, items: Sequence[Item]) -> dict[str, Any]:
    return {
        "items": items,
        "missing": [item.number for item in items if not item.passed],
        "counted": [session.name for session in found.counted.sessions],
        "not_counted": [{"name": name, "why": why} for name, why in found.counted.excluded],
        "other_code": found.other_code,
        "approved_by": None if found.approval is None else found.approval.who,
        "void": found.void,
    }


def _text(found: Readiness, items: Sequence[Item]) -> str:
    wide = max(len(item.asked) for item in items)
    lines = [f"{item.number:>2}  {item.verdict.value:14}  {item.asked:{wide}}  {item.seen}" for item in items]
    remedies: dict[str, list[str]] = {}
    for item in items:
        if item.remedy and not item.passed:
            remedies.setdefault(item.remedy, []).append(str(item.number))
    lines += [f"help: {', '.join(numbers)}: {remedy}" for remedy, numbers in remedies.items()]
    lines.append(f"counted: {', '.join(session.name for session in found.counted.sessions) or 'no session'}")
    excluded = found.counted.excluded
    lines += [f"not counted: {name}: {why}" for name, why in excluded[:_MOST_NAMED]]
    if len(excluded) > _MOST_NAMED:
        lines.append(f"not counted: {len(excluded) - _MOST_NAMED} more (--json names them)")
    return "\n".join(
        [*lines, "A pass says that rules and software were seen working. It is no forecast: live trading can lose money."]
    )


# --- brain live approve ----------------------------------------------------------------------------------------------


def run_approve(*, evidence: Path | None, configs: Path | None, reviewer: str | None, no_input: bool, color: str) -> int:
    """Run ``approve`` and give its exit code."""
    console = Console(color=color, no_input=no_input)
    folder = configs or default_folder()
    effect = f"{LIVE_LOCK_FILE} was not written; live trading stays refused"
    return run_command(console, APPROVE_SCHEMA, lambda: _approve(evidence, folder, reviewer, console), effect=effect)


def _approve(evidence: Path | None, folder: Path, reviewer: str | None, console: Console) -> Answer:
    command = with_configs("brain live approve", folder)
    if not console.interactive:
        raise NotATerminal(
            f"approve was {console.unattended}, and only a person may approve live trading",
            help=f"look at the evidence with `{with_configs('brain live', folder)}`, then at a terminal: {command}",
        )
    config = load(folder)
    found = _look(evidence, config, folder, console)
    console.answer(_text(found, found.items))
    if found.to_approve:
        numbers = ", ".join(str(item.number) for item in found.to_approve)
        raise NotReady(f"there is nothing to approve yet; not met: {numbers}", found.to_approve[0].remedy, {})
    if not found.missing:
        return Answer({"approved": True}, "This evidence is approved already; nothing to do.")
    return _sign(config, folder, found, reviewer, command, console)


def _sign(config: Configuration, folder: Path, found: Readiness, reviewer: str | None, command: str, console: Console) -> Answer:
    if found.other_code:
        console.warn(f"recorded by other code than this: {', '.join(found.other_code)}")
    who = (reviewer if reviewer is not None else console.ask(f"Reviewer [{who_asks()}]: ") or who_asks()).strip()
    reason = console.ask("Why is it right to trade real money now? ") if who else ""
    if not who or not reason:
        empty = "reason" if who else "reviewer"
        raise UsageError(f"the {empty} was empty, expected words for the record", help=command)
    if not console.confirm("This allows orders with real money, which can be lost.", WORD):
        return Answer({"approved": False}, "Not confirmed; live trading stays refused.", ExitCode.NO)
    approval = Approval(
        form=FORM,
        who=who,
        at=rfc3339(SystemClock().now_ms()),
        reason=reason,
        governance=config.governance_digest,
        strategies=strategies_digest(config),
        code=source_digest(),
        evidence=evidence_digest(found.sessions),
        sessions=found.sessions,
    )
    path = write_approval(folder, approval)
    return Answer(
        {"approved": True, "evidence": approval.evidence}, f"Approved by {who}: evidence {approval.evidence}, in {path}"
    )
