"""``brain step``: a recorded session, node by node."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from core.errors import BrainError
from graph.console import Answer, Console, run_command
from graph.exit_codes import UsageError
from graph.opening import code_in_use
from graph.parse import parse_time
from graph.sessions import Session, find

SCHEMA = "brain.step/1"
EFFECT = "nothing was changed: the stepper only reads the session"
_PLAIN_WIDTH, _PLAIN_HEIGHT = 130, 60


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What was asked on the command line."""

    session: str | None
    at: str | None
    bar: int | None
    trade: str | None
    breaks: tuple[str, ...]
    script: Path | None
    state: Path | None


def run_step(request: StepRequest, *, json: bool, color: str) -> int:
    """Run the command and give its exit code."""
    # What the services say while bars are made again was said when they were recorded.
    logger.remove()
    console = Console(color=color, json=json)
    return run_command(console, SCHEMA, lambda: asyncio.run(_step(request, console)), effect=EFFECT)


async def _step(request: StepRequest, console: Console) -> Answer:
    from graph.stepping.desk import Desk
    from graph.stepping.stepper import stepping

    _check(request, console)
    lines = _lines(request.script) if request.script is not None else ()
    session = find(request.session, request.state)
    _warn_of_other_code(session, console)
    with stepping(session) as stepper:
        for node in request.breaks:
            stepper.break_at(node.removeprefix("after:"), after=node.startswith("after:"))
        desk = Desk(stepper)
        try:
            await _stand(request, desk)
            if console.json or request.script is not None:
                return await _script(desk, lines, request, console)
            return await _terminal(desk, console)
        finally:
            await stepper.close()


def _check(request: StepRequest, console: Console) -> None:
    chosen = [name for name in ("at", "bar", "trade") if getattr(request, name) is not None]
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)} were given, expected one of them", help="brain step SESSION --bar 812")
    if request.script is None and not console.json and not (sys.stdin.isatty() and console.out.isatty()):
        raise UsageError(
            "brain step was not run from a terminal", help="brain step SESSION --script FILE, or --json", code="CLI-003"
        )


def _warn_of_other_code(session: Session, console: Console) -> None:
    then, now = session.reader().opening().code, code_in_use()
    if then.get("source") != now["source"]:
        console.warn("the session was recorded by other code; the stepper stops where this code decides otherwise (REPLAY-001)")


async def _stand(request: StepRequest, desk: Any) -> None:
    stepper = desk.stepper
    if request.trade is not None:
        await stepper.to_hit(stepper.record.plan(request.trade))
    elif request.at is not None:
        await stepper.stand(stepper.record.at_time(parse_time(request.at)))
    else:
        await stepper.stand(stepper.record.first_bar if request.bar is None else request.bar)


def _lines(path: Path) -> tuple[tuple[int, str], ...]:
    """(number, command) of every line that is one; ``#`` begins a comment. ``-`` is the standard input."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--script {path} cannot be read: {error}", help="one command a line, such as: goto trade") from error
    return tuple((at, line.strip()) for at, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] != "#")


async def _script(desk: Any, lines: Sequence[tuple[int, str]], request: StepRequest, console: Console) -> Answer:
    from graph.stepping.moment import moment

    data: dict[str, Any] = {"session": desk.stepper.session.name}
    if console.json:
        data["start"] = {**moment(desk.stepper), **desk.shown()}
    steps: list[dict[str, Any]] = []
    said: list[str] = []
    for number, line in lines:
        try:
            text = await desk.do(line)
        except BrainError as error:
            error.place = f"{request.script}:{number}"  # type: ignore[attr-defined]
            raise
        if console.json:
            steps.append({"line": number, "command": line, "says": text, **moment(desk.stepper), **desk.shown()})
        else:
            said += [f"> {line}", text, *_panes(desk, line, console)]
    return Answer({**data, "steps": steps}, "\n".join(said))


def _panes(desk: Any, line: str, console: Console) -> list[str]:
    from graph.stepping.panes import Panes

    name = line.partition(" ")[0]
    if name in {"list", "where", "watch"}:
        return [f"{at:>4}  bar {row.place.bar:<7} {row.time}  {row.text}" for at, row in enumerate(desk.rows, 1)]
    if name != "show":
        return []
    panes = Panes(_PLAIN_WIDTH, _PLAIN_HEIGHT, color=console.colored(console.out), unicode=_unicode(console))
    return [panes.plain(desk)]


async def _terminal(desk: Any, console: Console) -> Answer:
    from graph.stepping.terminal import Terminal

    await Terminal(desk, console.out, color=console.colored(console.out), unicode=_unicode(console)).run()
    return Answer({}, "")


def _unicode(console: Console) -> bool:
    encoding = (getattr(console.out, "encoding", "") or "").lower().replace("-", "")
    return encoding.startswith("utf") and not console.accessible and console.environ.get("TERM") != "dumb"
