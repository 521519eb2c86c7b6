"""``brain replay``: every decision of a session made again from its journal, and compared node by node (G10)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from loguru import logger

from configs.errors import ConfigError
from configs.loader import default_folder, load
from configs.validators import Configuration
from core.clock import elapsed_ns, rfc3339_seconds
from core.errors import BrainError, StateError
from core.journal.bars import RecordedBar
from core.journal.reader import JournalReader
from core.journal.records import Opening
from graph.commands.common import read_configuration, read_environment, say_time
from graph.commands.sessions import NOTHING_CHANGED
from graph.console import Answer, Console, run_command
from graph.engines import EngineKind, build_engine
from graph.exit_codes import ExitCode, UsageError
from graph.opening import code_in_use, configuration_of, known_configuration_of
from graph.other_code import OtherCode, check_code
from graph.parse import parse_time
from graph.progress import Progress
from graph.replaying import Difference, Differs, short
from graph.rerun import Rerun, rerun_from, standing_before
from graph.sessions import Session, bar_at, card, find, openings

SCHEMA = "brain.replay/1"
_OTHER_CODE = "use the version that recorded it, or see what this one would have done: brain replay --other-code"
_EXAMPLE = "brain replay --from 2024-01-31T12:00 --to 2024-02-01"
_LOOK_EVERY = 64
"""Bars between two looks at the event loop and at the progress."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The command's flags as typed."""

    session: str | None
    start: str | None
    end: str | None
    engine: str
    state: Path | None
    configs: Path | None
    other_code: bool


@dataclass(frozen=True, slots=True)
class Range:
    """Bars to make again: from ``first`` to before ``last``; ``whole`` when the session is made again from its beginning."""

    first: int
    last: int
    whole: bool


@dataclass(slots=True)
class Outcome:
    """What a replay came to. ``bars`` and ``decisions`` are those in its range; times are closes of bars, ms."""

    bars: int = 0
    decisions: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    cut_off: bool = False
    seconds: float = 0.0
    decisions_hash: str = ""
    difference: Difference | None = None
    labels: list[str] = field(default_factory=list)


def run_replay(request: ReplayRequest, *, json: bool, quiet: bool, color: str) -> int:
    """Run the command and give its exit code: 0 equal, 1 different, 3 recorded by other code."""
    console = Console(color=color, json=json, quiet=quiet)
    return run_command(console, SCHEMA, lambda: _replay(request, console), effect=NOTHING_CHANGED)


def _replay(request: ReplayRequest, console: Console) -> Answer:
    logger.remove()  # what a run logs was logged when it was recorded
    console.zone = ZoneInfo(read_environment().tz)
    session = find(request.session, request.state)
    reader = session.reader()
    wanted = _range(request, session, reader)
    recorded = openings(reader, wanted.first, wanted.last)
    outcome = Outcome(labels=_labels(request, recorded))
    _warn_of_surroundings(recorded, console)
    config = None if request.configs is None else read_configuration(request.configs)[0]
    read = known_configuration_of if request.other_code else configuration_of
    then = read(recorded[-1])
    if config is None:
        _warn_of_configuration(then, console)
    for label in outcome.labels:
        console.warn(label)
    engine = build_engine(EngineKind(request.engine))
    made = (
        rerun_from(reader, engine, config, read) if wanted.whole else standing_before(reader, wanted.first, engine, config, read)
    )
    with ExitStack() as stack:
        rerun = _standing(stack, made, request)
        with console.progress(wanted.last - wanted.first, f"replaying {session.name}") as progress:
            _carry_out(rerun, wanted, outcome, progress)
    if outcome.bars == 0 and outcome.difference is None:
        raise UsageError(
            f"{session.name} was cut off inside bar {wanted.first}, so that nothing of it can be compared",
            help="brain sessions",
            code="JRN-008",
        )
    code = ExitCode.DONE if outcome.difference is None else ExitCode.NO
    return Answer(_data(request, session, recorded[-1], then, config, outcome), _text(session, outcome, console), code)


# --- what is asked for ----------------------------------------------------------------------------------


def _range(request: ReplayRequest, session: Session, reader: JournalReader) -> Range:
    begins, ends = reader.segments[0].first_bar, card(session).bars
    first = begins if request.start is None else bar_at(reader, parse_time(request.start, _EXAMPLE))
    last = ends if request.end is None else bar_at(reader, parse_time(request.end, _EXAMPLE))
    if last <= first:
        asked = " ".join(
            f"{flag} {given}" for flag, given in (("--from", request.start), ("--to", request.end)) if given is not None
        )
        found = card(session)
        there = f"its bars close from {rfc3339_seconds(found.first_ts)} to {rfc3339_seconds(found.last_ts)}"
        raise UsageError(
            f"{session.name} has no bar in {asked}: {there}" if asked else f"{session.name} has no bar",
            help="brain sessions",
            code="JRN-008",
        )
    return Range(first, last, whole=request.start is None)


def _labels(request: ReplayRequest, recorded: Sequence[Opening]) -> list[str]:
    """What makes this another thing than the session made again as it was.

    Raises:
        OtherCode: the session was recorded by other code, and nobody said that this is known.
    """
    other = check_code(recorded, other_code=request.other_code, help_=_OTHER_CODE)
    labels = [] if other is None else [other]
    if request.configs is not None:
        labels.append(f"under another configuration: that of {request.configs}")
    return labels


def _warn_of_surroundings(recorded: Sequence[Opening], console: Console) -> None:
    now = code_in_use()
    for name in ("python", "numpy"):
        then = sorted({opening.code.get(name, "?") for opening in recorded} - {now[name]})
        if then:
            console.warn(f"recorded under {name} {', '.join(then)}, this is {name} {now[name]}")


def _warn_of_configuration(recorded: Configuration, console: Console) -> None:
    then, now = recorded.digest, _digest_today()
    if now is None:
        console.warn("today's configuration cannot be used; the session is made again under its own")
    elif now != then:
        console.warn(f"today's configuration ({now[:12]}) is another one; the session is made again under its own ({then[:12]})")


def _digest_today() -> str | None:
    try:
        return load(default_folder()).digest
    except ConfigError:
        return None


# --- carrying it out ------------------------------------------------------------------------------------


def _standing(stack: ExitStack, made: AbstractContextManager[Rerun], request: ReplayRequest) -> Rerun:
    """The run that is made again, where it begins.

    Raises:
        OtherCode: the state there was kept by code whose services keep theirs in another form.
    """
    try:
        return stack.enter_context(made)
    except BrainError:
        raise
    except Exception as error:
        if not request.other_code:
            raise
        raise OtherCode(
            f"the state that the other code kept cannot be taken over by this one ({type(error).__name__}: {error})",
            help="begin where the session begins, without --from: brain replay --other-code",
        ) from error


def _carry_out(rerun: Rerun, wanted: Range, outcome: Outcome, progress: Progress) -> None:
    start = elapsed_ns()
    # What start-up made lives as long as the run; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    try:
        if not outcome.labels:  # under other code a state may have another form, under another configuration it has other limits
            rerun.compare_states()
        asyncio.run(_drive(rerun, wanted, outcome, progress))
    except Differs as differs:
        outcome.difference = differs.difference
    finally:
        gc.unfreeze()
    outcome.cut_off = rerun.cut_off
    outcome.decisions_hash = rerun.run.parts.recorder.decisions_hash
    outcome.seconds = (elapsed_ns() - start) / 1e9


async def _drive(rerun: Rerun, wanted: Range, outcome: Outcome, progress: Progress) -> None:
    while rerun.bar < wanted.first and await _next(rerun, outcome) is not None:
        pass
    before = rerun.check.compared
    try:
        while rerun.bar < wanted.last and (bar := await _next(rerun, outcome)) is not None:
            outcome.first_ts = bar.batch.ts if outcome.first_ts is None else outcome.first_ts
            outcome.last_ts = bar.batch.ts
            outcome.bars += 1
            if outcome.bars % _LOOK_EVERY == 0:
                progress.advance(_LOOK_EVERY)
                await asyncio.sleep(0)
        progress.advance(outcome.bars % _LOOK_EVERY)
    finally:
        outcome.decisions = rerun.check.compared - before


async def _next(rerun: Rerun, outcome: Outcome) -> RecordedBar | None:
    """The next bar, made again. Where other code or another configuration was asked for, what it raises is a difference too.

    Raises:
        Differs: from the record.
    """
    try:
        return await rerun.next()
    except (Differs, StateError):
        raise
    except Exception as error:
        if not outcome.labels:
            raise
        raise rerun.check.raised(error, rerun.run.context.trace.outputs) from error


# --- saying what came of it -----------------------------------------------------------------------------


def _data(
    request: ReplayRequest,
    session: Session,
    opening: Opening,
    then: Configuration,
    config: Configuration | None,
    outcome: Outcome,
) -> dict[str, Any]:
    return {
        "session": str(session.folder.root),
        "equal": outcome.difference is None,
        "bars": outcome.bars,
        "decisions": outcome.decisions,
        "engine": request.engine,
        "from": None if outcome.first_ts is None else rfc3339_seconds(outcome.first_ts),
        "to": None if outcome.last_ts is None else rfc3339_seconds(outcome.last_ts),
        "seconds": round(outcome.seconds, 3),
        "code": {"recorded": opening.code, "now": code_in_use()},
        "configuration": {"recorded": then.digest, "now": _digest_today(), "used": (config or then).digest},
        "labels": outcome.labels,
        "cut_off": outcome.cut_off,
        "difference": None if outcome.difference is None else _difference_data(outcome.difference),
        "decisions_hash": outcome.decisions_hash,
    }


def _difference_data(found: Difference) -> dict[str, Any]:
    return {
        "bar": found.bar,
        "ts": rfc3339_seconds(found.ts),
        "seq": found.seq,
        "node": found.node,
        "field": ".".join(found.path),
        "recorded": found.recorded,
        "now": found.now,
    }


def _text(session: Session, outcome: Outcome, console: Console) -> str:
    found = outcome.difference
    lines = [f"{session.name}: {'every decision is the recorded one' if found is None else 'DIFFERS from its record'}"]
    lines += [f"          {label}" for label in outcome.labels]
    if found is not None:
        lines += [
            f"bar       {found.bar}, {say_time(found.ts, console.zone)}, decision {found.seq}",
            f"node      {found.node}",
            f"field     {'.'.join(found.path) or 'all of it'}",
            f"recorded  {short(found.recorded)}",
            f"now       {short(found.now)}",
        ]
    rate = outcome.bars / outcome.seconds if outcome.seconds else 0.0
    lines.append(
        f"equal     {outcome.bars:,} bars, {outcome.decisions:,} decisions, {outcome.seconds:.1f} s ({rate:,.0f} bars/s)"
    )
    if outcome.cut_off:
        lines.append("          the session was cut off inside its last bar, which is not compared")
    if found is None:
        lines.append(f"decisions {outcome.decisions_hash}")
    return "\n".join(lines)
