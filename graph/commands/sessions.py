"""``brain sessions``: what is recorded, whether it is sound, and letting go of what is old."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from core.clock import SystemClock, rfc3339_seconds
from core.errors import StateError
from core.journal.retention import KEEP_DAYS, old, trim
from core.journal.segments import Segment
from core.monitor.provenance import Reached
from core.monitor.store import in_use
from graph.commands.common import read_environment, say_time
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.opening import code_in_use
from graph.parse import parse_duration
from graph.progress import SilentProgress
from graph.sessions import Card, Session, card, find, find_all, sizes
from graph.soundness import Soundness, inspect

LIST_SCHEMA, VERIFY_SCHEMA, TRIM_SCHEMA = "brain.sessions/1", "brain.sessions.verify/1", "brain.sessions.trim/1"
DAY_MS = 86_400_000
DEFAULT_KEEP = f"{KEEP_DAYS}d"
_LONG = 200_000
"""Looks at a bar that take a few seconds; with fewer no progress is shown."""
NOTHING_CHANGED = "nothing in the session's folder was changed"


# --- list ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A session in the list: what is known of it, or why nothing is (``empty``: it was stopped before its first bar).

    ``sizes`` are bytes on disk, by part.
    """

    session: Session
    sizes: dict[str, int]
    card: Card | None
    damage: str | None
    empty: bool = False


def run_list(*, state: Path | None, json: bool, color: str) -> int:
    """List the sessions and give the exit code."""
    console = Console(color=color, json=json)
    return run_command(console, LIST_SCHEMA, lambda: _list(state, console), effect=NOTHING_CHANGED)


def _list(state: Path | None, console: Console) -> Answer:
    console.zone = ZoneInfo(read_environment().tz)
    if state is not None and not state.is_dir():
        raise StateError(f"there is no folder {state}", help="name the folder that brain paper --state DIR used", code="JRN-003")
    rows = [_row(session) for session in find_all(state)]
    data = {"sessions": [_row_data(row) for row in rows]}
    return Answer(data, _table(rows, console) if rows else "No session is recorded here; brain paper records one.")


def _row(session: Session) -> Row:
    try:
        return Row(session, sizes(session), card(session), None)
    except StateError as error:
        return Row(session, sizes(session), None, error.what, empty=error.code == "JRN-003")


def _row_data(row: Row) -> dict[str, Any]:
    known: dict[str, Any] = {
        "name": row.session.name,
        "session": str(row.session.folder.root),
        "sizes": row.sizes,
        "damage": row.damage,
    }
    if row.card is None:
        return known
    found = row.card
    return known | {
        "source": _market(found),
        "symbols": found.opening.facts["symbols"].split(","),
        "mode": found.opening.facts.get("mode", "paper"),
        "from": rfc3339_seconds(found.first_ts) if found.first_ts else None,
        "to": rfc3339_seconds(found.last_ts) if found.first_ts else None,
        "bars": found.bars,
        "first_bar": found.first_bar,
        "decisions": found.decisions,
        "segments": found.segments,
        "code": found.opening.code,
        "same_code": found.opening.code["source"] == code_in_use()["source"],
        "torn": found.torn,
    }


def _table(rows: list[Row], console: Console) -> str:
    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table

    table = Table(box=None if console.accessible else box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("session", "source", "symbols", "first bar", "last bar"):
        table.add_column(name, overflow="fold")
    for name in ("bars", "decisions", "journal", "records", "logs"):
        table.add_column(name, justify="right")
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, console.zone))
    screen = RichConsole(file=io.StringIO(), width=_width(console), force_terminal=console.colored(console.out), highlight=False)
    with screen.capture() as captured:
        screen.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").splitlines())


def _cells(row: Row, zone: tzinfo) -> tuple[str, ...]:
    parts = tuple(_megabytes(row.sizes[part]) for part in ("journal", "records", "logs"))
    if row.card is None:
        return (row.session.name, "", "", "", "", "", "", *parts, "nothing recorded" if row.empty else str(row.damage))
    found = row.card
    notes = [] if found.opening.code["source"] == code_in_use()["source"] else ["other code"]
    notes += ["torn by a crash"] if found.torn else []
    notes += [f"from bar {found.first_bar} on"] if found.first_bar else []
    symbols = found.opening.facts["symbols"].split(",")
    names = ", ".join(symbol.partition("/")[0] for symbol in symbols[:3]) + (f" +{len(symbols) - 3}" if len(symbols) > 3 else "")
    return (
        found.name,
        _market(found),
        names,
        say_time(found.first_ts, zone) if found.first_ts else "",
        say_time(found.last_ts, zone) if found.first_ts else "",
        f"{found.bars:,}",
        f"{found.decisions:,}",
        *parts,
        ", ".join(notes),
    )


def _market(found: Card) -> str:
    """Where the bars came from; what a local exchange plays to its own daemon is no real market."""
    facts = found.opening.facts
    if facts.get("market_reached") != Reached.REDIRECTED:
        return facts["source"]
    return "synthetic" if "seed" in facts else "replay"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _width(console: Console) -> int:
    import shutil

    return max(shutil.get_terminal_size((160, 24)).columns, 80) if console.colored(console.out) else 200


# --- verify -------------------------------------------------------------------------------------------


def run_verify(session: str | None, *, state: Path | None, json: bool, quiet: bool, color: str) -> int:
    """Check a session and give the exit code: 0 sound, 1 damaged."""
    console = Console(color=color, json=json, quiet=quiet)
    return run_command(console, VERIFY_SCHEMA, lambda: _verify(session, state, console), effect=NOTHING_CHANGED)


def _verify(name: str | None, state: Path | None, console: Console) -> Answer:
    session = find(name, state)
    looks = _looks(session)
    quick = looks is not None and looks < _LONG
    with SilentProgress() if quick else console.progress(looks, f"checking {session.name}") as progress:
        found = inspect(session, progress.advance)
    return Answer(_verify_data(session, found), _verify_text(session, found), ExitCode.DONE if found.sound else ExitCode.NO)


def _looks(session: Session) -> int | None:
    try:
        found = card(session)
    except StateError:
        return None
    return 2 * (found.bars - found.first_bar)


def _verify_data(session: Session, found: Soundness) -> dict[str, Any]:
    verdict, damage = found.verdict, found.verdict.damage
    where = None if damage is None else {"segment": damage.segment.path.name, "byte": damage.offset, "why": damage.why}
    return {
        "session": str(session.folder.root),
        "sound": found.sound,
        "damage": None if found.torn else where,
        "torn": where if found.torn else None,
        "records": found.records,
        "segments": verdict.segments,
        "trimmed_segments": verdict.trimmed,
        "frames": verdict.frames,
        "bars": verdict.bars,
        "decisions": found.decisions,
        "bytes": verdict.bytes_on_disk,
    }


def _verify_text(session: Session, found: Soundness) -> str:
    verdict, damage = found.verdict, found.verdict.damage
    lines = [f"{session.name}: {'sound' if found.sound else 'DAMAGED'}"]
    seen = f"{verdict.bars:,} bars in {verdict.segments} segments, {_megabytes(verdict.bytes_on_disk)}"
    lines.append(f"journal   {seen}, every byte up to here fits the chain" if damage else f"journal   {seen}, every byte checked")
    if verdict.trimmed:
        lines.append(f"          the first {verdict.trimmed} segments were removed")
    if damage is not None:
        lines.append(f"{'torn' if found.torn else 'damage':10}{damage}")
    if found.torn:
        lines.append("          a crash left this; the next start of the session keeps it aside and goes on before it")
    if damage is None or found.torn:
        same = f"{found.decisions:,} decisions, each as in the journal; orders, fills, funding and trades too"
        fit = same if found.records is None else found.records
        lines.append(f"records   {fit}")
    return "\n".join(lines)


# --- trim ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Gone:
    """What a trim has removed so far, for the effect that an error has."""

    segments: list[Segment] = field(default_factory=list)

    def effect(self) -> str:
        if not self.segments:
            return NOTHING_CHANGED
        names = ", ".join(segment.path.name for segment in self.segments)
        return f"{len(self.segments)} segments were removed before that: {names}; nothing else was changed"


@dataclass(frozen=True, slots=True)
class _Limit:
    """What is old: bars before ``from_ts`` in segments that were written before ``written_before_ts`` (ms); ``said`` from what.

    While a session runs its own last bar is the present, whatever its market's time; one that is over ages by the time of day,
    and a market's past that was decided lately is not old.
    """

    from_ts: int
    written_before_ts: int | None
    said: str


def _limit(session: Session, last_ts: int, keep_ms: int, now_ts: int) -> _Limit:
    if in_use(session.folder.database):
        return _Limit(last_ts - keep_ms, None, "its last bar")
    return _Limit(now_ts - keep_ms, now_ts - keep_ms, "now")


def run_trim(session: str | None, *, keep: str, state: Path | None, yes: bool, json: bool, color: str) -> int:
    """Let go of a session's oldest segments and give the exit code."""
    console = Console(color=color, json=json)
    gone = _Gone()
    return run_command(console, TRIM_SCHEMA, lambda: _trim(session, keep, state, yes, console, gone), effect=gone.effect)


def _trim(name: str | None, keep: str, state: Path | None, yes: bool, console: Console, done: _Gone) -> Answer:
    keep_ms, now_ts = _keep_ms(keep), SystemClock().now_ms()
    session = find(name, state)
    console.zone = ZoneInfo(read_environment().tz)
    found = card(session)
    limit = _limit(session, found.last_ts, keep_ms, now_ts)
    gone = old(session.folder.journal, limit.from_ts, limit.written_before_ts)
    if not gone:
        text = f"Nothing to remove: no whole segment of {session.name} is from before {say_time(limit.from_ts, console.zone)}."
        return Answer(_trim_data(session, gone, removed=False), text)
    size = sum(segment.size for segment in gone)
    console.info(
        f"{session.name}: {len(gone)} of {found.segments} segments ({_megabytes(size)}) lie {keep} or more before {limit.said}"
    )
    for segment in gone:
        console.info(f"  {segment.path.name}")
    if not yes and not console.interactive:
        return Answer(_trim_data(session, gone, removed=False), f"Nothing was removed; --yes removes {_megabytes(size)}.")
    asked = "They cannot be brought back; what was decided in them can no longer be replayed."
    if not yes and not console.confirm(asked, session.name):
        return Answer(_trim_data(session, gone, removed=False), "Not confirmed; nothing was removed.", ExitCode.NO)
    data = _trim_data(session, gone, removed=True)
    trim(session.folder.journal, limit.from_ts, now_ts, limit.written_before_ts, done.segments.append)
    return Answer(data, f"Removed {len(gone)} segments, {_megabytes(size)}.")


def _keep_ms(keep: str) -> int:
    keep_ms = parse_duration(keep, f"brain sessions trim --keep {DEFAULT_KEEP}")
    if keep_ms < KEEP_DAYS * DAY_MS:
        raise UsageError(
            f"--keep was {keep}, expected at least {DEFAULT_KEEP}: what was decided stays explainable for six months (I1)",
            help=f"brain sessions trim --keep {DEFAULT_KEEP}",
            code="JRN-009",
        )
    return keep_ms


def _trim_data(session: Session, gone: tuple[Segment, ...], *, removed: bool) -> dict[str, Any]:
    return {
        "session": str(session.folder.root),
        "segments": [segment.path.name for segment in gone],
        "bytes": sum(segment.size for segment in gone),
        "removed": removed,
    }
