"""``brain step``: a recorded session, node by node."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from loguru import logger

from core.errors import BrainError
from graph.console import Answer, Console, run_command
from graph.exit_codes import UsageError
from graph.parse import parse_time
from graph.sessions import find

SCHEMA = "brain.step/1"
EFFECT = "nothing was changed: the stepper only reads the session"
_OTHER_CODE = "use the version that recorded it, or see what this one makes of it: brain step --other-code"
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
    other_code: bool


def run_step(request: StepRequest, *, json: bool, color: str) -> int:
    """Run the command and give its exit code."""
    # What the services say while bars are made again was said when they were recorded.
    logger.remove()
    console = Console(color=color, json=json)
    told: list[int] = []

    async def step(lines: Sequence[tuple[int, str]]) -> Answer:
        with _leaving_when_told(told):
            return await _step(request, lines, console)

    def body() -> Answer:
        _check(request, console)
        return asyncio.run(step(_lines(request.script)))

    try:
        return run_command(console, SCHEMA, body, effect=EFFECT)
    except asyncio.CancelledError:
        if not told:
            raise
        raise SystemExit(128 + told[0]) from None


@contextmanager
def _leaving_when_told(told: list[int]) -> Iterator[None]:
    """Let a signal cancel the task, as asyncio lets Ctrl-C: all is put in order on the way out. A second one goes at once.

    What a handler raises comes up in whichever task happens to run, and who waits for that one would wait for ever.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101 - only in a task

    def leave(number: int, _: FrameType | None) -> None:
        told.append(number)
        if len(told) > 1:  # the task does not hear: it waits in a write that nobody reads
            raise SystemExit(128 + number)
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # it may be asleep

    asking = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in asking}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


async def _step(request: StepRequest, lines: Sequence[tuple[int, str]], console: Console) -> Answer:
    from graph.other_code import check_code
    from graph.stepping.desk import Desk
    from graph.stepping.patience import Patience
    from graph.stepping.stepper import stepping

    session = find(request.session, request.state)
    with stepping(session, other_code=request.other_code) as stepper:
        other = check_code(stepper.record.openings, other_code=request.other_code, help_=_OTHER_CODE)
        if other is not None:
            console.warn(other)
        stepper.record.on_search = Patience(console.info)
        for node in request.breaks:
            stepper.break_at(node.removeprefix("after:"), after=node.startswith("after:"))
        desk = Desk(stepper, _asked(request))
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


async def _stand(request: StepRequest, desk: Any) -> None:
    stepper = desk.stepper
    if request.trade is not None:
        await stepper.to_hit(stepper.record.plan(request.trade))
    elif request.at is not None:
        await stepper.stand(stepper.record.at_time(parse_time(request.at)))
    else:
        await stepper.stand(stepper.record.first_bar if request.bar is None else request.bar)


def _lines(path: Path | None) -> tuple[tuple[int, str], ...]:
    """(number, command) of every line that is one; ``#`` begins a comment. ``-`` is the standard input."""
    if path is None:
        return ()
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--script {path} cannot be read: {error}", help="one command a line, such as: goto trade") from error
    return tuple((at, line.strip()) for at, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] != "#")


async def _script(desk: Any, lines: Sequence[tuple[int, str]], request: StepRequest, console: Console) -> Answer:
    from graph.stepping.desk import apart
    from graph.stepping.moment import moment

    data: dict[str, Any] = {"session": desk.stepper.session.name}
    if console.json:
        data["start"] = {**moment(desk.stepper), **desk.shown()}
    elif desk.stepper.parted is not None:
        console.warn(apart(desk.stepper.parted))
    steps: list[dict[str, Any]] = []
    data["steps"] = steps
    for number, line in lines:
        console.answer(f"> {line}")
        try:
            text = await desk.do(line)
        except BrainError as error:
            error.place = f"{request.script}:{number}"  # type: ignore[attr-defined]
            error.data = data  # type: ignore[attr-defined]
            raise
        if console.json:
            steps.append({"line": number, "command": line, "says": text, **moment(desk.stepper), **desk.shown()})
        else:
            console.answer("\n".join([text, *_panes(desk, line, console)]))
    return Answer(data)


def _asked(request: StepRequest) -> list[str]:
    """The same session, as ``brain why`` is asked for it."""
    flags = {"--session": request.session, "--state": None if request.state is None else str(request.state)}
    asked = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
    return [*asked, "--other-code"] if request.other_code else asked


def _panes(desk: Any, line: str, console: Console) -> list[str]:
    from graph.stepping.desk import TABLES
    from graph.stepping.panes import Panes

    name = line.partition(" ")[0]
    if name in TABLES:
        rows = enumerate(desk.window, desk.first + 1)
        return [f"{at:>4}  bar {row.place.bar:<7} {row.time}  {row.text}" for at, row in rows]
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
