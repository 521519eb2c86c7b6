"""What all commands share: where words go, colour, errors, the JSON answer, and honest exit codes.

The answer of a command, and nothing else, goes to stdout; progress, hints, warnings and errors go to stderr. With
``--json`` stdout gets exactly one object, also on failure. A command is a function that returns an :class:`Answer` or
raises; :func:`run_command` turns both into output and an exit code::

    def run_verify(...) -> int:
        console = Console(color=color, json=json)
        return run_command(console, "brain.governance/1", lambda: Answer({"signed": True}, text="signed"))

With Typer the code must be *raised*: ``raise typer.Exit(run_verify(...))``; a returned ``typer.Exit`` exits with 0.
Heavy modules are imported only where they are used, so that ``brain --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from core.errors import BrainError
from graph.envelope import envelope
from graph.error_text import Fault, Style, error_object, paint, printable, render_error
from graph.exit_codes import ExitCode, UsageError, exit_code_of
from graph.progress import BarProgress, LineProgress, Progress, SilentProgress

if TYPE_CHECKING:
    from typer import Typer

__all__ = [
    "NOTHING_STARTED",
    "Answer",
    "ColorMode",
    "Console",
    "Style",
    "Unwritable",
    "run_app",
    "run_command",
    "wants_color",
]

NOTHING_STARTED = "nothing was started; no order was sent"


class ColorMode(StrEnum):
    """Values of ``--color``."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def wants_color(mode: ColorMode, environ: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether to colour a stream: ``--color`` decides, then NO_COLOR, FORCE_COLOR, TERM=dumb, then the terminal.

    A variable counts only when it is set and not empty; FORCE_COLOR=0 counts as not set.
    """
    if mode is not ColorMode.AUTO:
        return mode is ColorMode.ALWAYS
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return is_terminal and environ.get("TERM") != "dumb"


@dataclass(slots=True)
class Console:
    """Where a command's words go.

    ``stdout``, ``stderr`` and ``stdin`` default to the process's own, looked up when used. ``report_dir`` takes fault
    reports; ``secrets`` never stand in them. ``warnings`` collects what :meth:`warn` said, for the JSON answer. With
    ``no_input`` nobody is asked, at a terminal neither. ``zone`` is that of the times a person reads (H5); JSON and records
    stay UTC. A ``--color`` that does not exist becomes the ``problem`` that :func:`run_command` tells, since a constructor
    has no exit code.
    """

    color: ColorMode | str = ColorMode.AUTO
    quiet: bool = False
    json: bool = False
    no_input: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdout: TextIO | None = None
    stderr: TextIO | None = None
    stdin: TextIO | None = None
    report_dir: Path | None = None
    secrets: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    problem: UsageError | None = None
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        if self.color not in set(ColorMode):
            self.problem = UsageError(f"--color was {self.color!r}, expected one of {', '.join(ColorMode)}", help="--color auto")
            self.color = ColorMode.AUTO
        self.color = ColorMode(self.color)

    # --- streams ----------------------------------------------------------------------------------

    @property
    def out(self) -> TextIO:
        """Where the answer goes."""
        return self.stdout if self.stdout is not None else sys.stdout

    @property
    def err(self) -> TextIO:
        """Where everything else goes."""
        return self.stderr if self.stderr is not None else sys.stderr

    def colored(self, stream: TextIO) -> bool:
        """Whether colours go to ``stream``."""
        return wants_color(ColorMode(self.color), self.environ, _is_terminal(stream))

    @property
    def accessible(self) -> bool:
        """ACCESSIBLE=1: no spinner, no bar, no box characters."""
        return self.environ.get("ACCESSIBLE", "0") not in {"", "0"}

    @property
    def animated(self) -> bool:
        """Whether something may be redrawn in place on stderr."""
        return _is_terminal(self.err) and self.environ.get("TERM") != "dumb" and not self.accessible and not self.quiet

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        stdin = self.stdin if self.stdin is not None else sys.stdin
        return not self.no_input and _is_terminal(stdin) and _is_terminal(self.err)

    @property
    def unattended(self) -> str:
        """Why nobody can be asked, after "the command was"."""
        return "run with --no-input" if self.no_input else "not run from a terminal"

    def style(self, text: str, style: Style, stream: TextIO | None = None) -> str:
        """``text`` in colour where ``stream`` (default: stdout) takes colour."""
        return paint(text, style) if self.colored(stream if stream is not None else self.out) else text

    # --- saying -----------------------------------------------------------------------------------

    def answer(self, text: str) -> None:
        """The answer, or a line of it, to stdout; with ``--json`` the object is the answer and this says nothing."""
        if not self.json:
            _write(self.out, text)

    def info(self, text: str) -> None:
        """A hint or a stage, to stderr; not with ``--quiet``."""
        if not self.quiet:
            _tell(self.err, text)

    def stage(self, text: str) -> None:
        """What a start is busy with, for whoever waits for it at a terminal; a log and a script need not know."""
        if _is_terminal(self.err) and not self.json:
            self.info(text)

    def warn(self, text: str, *, money: bool = False) -> None:
        """A warning, to stderr and into the JSON answer; one about money is shown even with ``--quiet``."""
        self.warnings.append(text)
        if money or not self.quiet:
            self._to_err(f"warning: {printable(text)}")

    def page(self, text: str) -> None:
        """A person is called, to stderr and into the JSON answer, even with ``--quiet``; a stderr that is closed ends nothing."""
        self.warnings.append(text)
        with contextlib.suppress(OSError):
            self._to_err(f"page: {printable(text)}")

    def error(self, error: BaseException, *, effect: str = "") -> None:
        """An error for people, to stderr, always."""
        _tell(self.err, render_error(error, effect=effect, color=self.colored(self.err)))

    def emit_json(
        self, schema: str, data: Mapping[str, Any] | None, *, code: int = 0, error: Mapping[str, Any] | None = None
    ) -> None:
        """The one JSON object, to stdout (:mod:`graph.envelope`)."""
        _write(self.out, envelope(schema, data, code=code, warnings=self.warnings, error=error))

    def progress(self, total: int | None, description: str) -> Progress:
        """Context manager that shows how far a long command is; ``total`` None where the end is not known."""
        if self.quiet:
            return SilentProgress()
        if self.animated:
            return BarProgress(self.err, total, description, color=self.colored(self.err))
        return LineProgress(lambda text: _tell(self.err, text), total, description)

    def confirm(self, question: str, expected: str) -> bool:
        """Whether a person typed ``expected``.

        Raises:
            UsageError: nobody can be asked.
        """
        if not self.interactive:
            raise UsageError(
                f"this needs a confirmation, and the command was {self.unattended}: {question}",
                help="run it at a terminal, without --no-input",
                code="CLI-003",
            )
        return self.ask(f"{question}\nType {expected} to go on: ") == expected

    def ask(self, question: str) -> str:
        """What a person typed, without white space around it; nothing when they closed the input instead (Ctrl-D)."""
        self.err.write(question)
        self.err.flush()
        return (self.stdin if self.stdin is not None else sys.stdin).readline().strip()

    def _to_err(self, text: str) -> None:
        if self.colored(self.err):
            text = re.sub(r"^(warning|page)(?=:)", lambda found: paint(found[0], Style.WARNING), text)
        _tell(self.err, text)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a closed stream, or one that was never a file
        return False


class Unwritable(BrainError):
    """An answer cannot be written to where stdout goes."""

    default_code = "OUT-001"
    exit_code = 4

    def __init__(self, error: OSError) -> None:
        why = error.strerror or str(error)
        super().__init__(f"the answer cannot be written to where stdout goes: {why}", help="send it somewhere else, or make room")


def _write(stream: TextIO, text: str) -> None:
    line = f"{text}\n"
    try:
        try:
            stream.write(line)
        except UnicodeEncodeError:  # a terminal that knows only ASCII
            stream.write(line.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritable(error) from error


def _tell(stream: TextIO, text: str) -> None:
    # No run stops because nobody can be told how it goes.
    with contextlib.suppress(Unwritable):
        _write(stream, text)


# --- running a command -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: ``data`` for ``--json``, ``text`` for people, ``code`` for the shell."""

    data: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    code: ExitCode = ExitCode.DONE


def run_command(
    console: Console,
    schema: str,
    body: Callable[[], Answer | None],
    *,
    effect: str | Callable[[], str] = "",
    passes: Sequence[type[BaseException]] = (),
) -> int:
    """Run ``body``, say what came of it, and return the exit code; no traceback ever reaches the terminal.

    An error may have ``data``: what was found before it, for the JSON answer.

    Args:
        console: where words go.
        schema: name and version of the JSON answer, e.g. ``brain.paper/1``.
        body: the command; None stands for an empty answer. It may print answers itself as it goes.
        effect: what a failure means for trading, or a function that knows it once something failed; shown with every error
            that does not say it itself.
        passes: exceptions that are not caught (Typer's own never are).
    """
    if console.problem is not None:
        return _fail(console, schema, console.problem, NOTHING_STARTED)
    try:
        answer = body() or Answer()
        return _give(console, schema, answer)
    except BrokenPipeError:
        return _nobody_reads(console)
    except Unwritable as error:
        return _unwritable(console, schema, error, _said(effect))
    except KeyboardInterrupt as error:
        return _fail(console, schema, _Interrupted(error), _said(effect))
    except Exception as error:
        if isinstance(error, tuple(passes)) or _is_typers(error):
            raise
        return _fail(console, schema, _presentable(error, console), _said(effect))


def _said(effect: str | Callable[[], str]) -> str:
    return effect() if callable(effect) else effect


class _Interrupted(Exception):
    code = ""
    exit_code = 130
    what = "interrupted"
    help = ""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("interrupted")
        self.__cause__ = cause


def _give(console: Console, schema: str, answer: Answer) -> int:
    if console.json:
        console.emit_json(schema, answer.data, code=answer.code)
    elif answer.text:
        console.answer(answer.text)
    return int(answer.code)


def _fail(console: Console, schema: str, error: BaseException, effect: str) -> int:
    code = exit_code_of(error)
    try:
        console.error(error, effect=effect)
        if console.json:
            found = getattr(error, "data", {})
            console.emit_json(schema, found, code=code, error=error_object(error, effect=effect))
    except (BrokenPipeError, Unwritable):
        _nobody_reads(console)
    return int(code)


def _unwritable(console: Console, schema: str, error: Unwritable, effect: str) -> int:
    _nobody_reads(console)
    return _fail(console, schema, error, effect)


def _presentable(error: Exception, console: Console) -> BaseException:
    """The error itself where it says what, how to mend it and its code; otherwise a fault with a report."""
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    if all(hasattr(inner, name) for name in ("code", "what", "help", "exit_code")) and exit_code_of(inner) is not ExitCode.BUG:
        return inner
    report, why = _report(error, console)
    return Fault(inner, report, why)


def _report(error: BaseException, console: Console) -> tuple[Path | None, str]:
    from graph.fault_report import write_report

    try:
        secrets = {f"SECRET_{number}": value for number, value in enumerate(console.secrets)}
        return write_report(error, {**console.environ, **secrets}, console.report_dir), ""
    except OSError as problem:
        return None, problem.strerror or str(problem)


def _nobody_reads(console: Console) -> int:
    """Stdout leads nowhere (``| head``, a full disk): nothing more is said there, and the interpreter must not try at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), console.out.fileno())
    return int(ExitCode.SURROUNDINGS)


def run_app(app: Typer, console: Console, arguments: Sequence[str], *, schema: str = "brain.cli/1") -> int:
    """Run a Typer application so that misuse of its flags is told like every other error, also with ``--json``.

    Args:
        app: the application.
        console: where words go; ``json`` is switched on when ``--json`` stands among ``arguments``.
        arguments: the command line without the program's name.
        schema: of the JSON answer to a misuse.
    """
    console.json = console.json or "--json" in arguments
    try:
        result = _invoke(app, arguments)
    except BrokenPipeError:
        return _nobody_reads(console)
    except OSError as error:  # only Typer itself writes without run_command around it: a version, a help
        return _unwritable(console, schema, Unwritable(error), NOTHING_STARTED)
    except KeyboardInterrupt as error:  # before run_command, while the command was being loaded
        return _fail(console, schema, _Interrupted(error), NOTHING_STARTED)
    except Exception as error:  # noqa: BLE001 - the last border before the shell
        if not _is_typers(error):
            return _fail(console, schema, _presentable(error, console), "")
        if type(error).__name__ == "Abort":
            return _fail(console, schema, _Interrupted(error), "")
        return _fail(console, schema, _misuse(error, arguments), NOTHING_STARTED)
    return result if isinstance(result, int) else int(ExitCode.DONE)


def _invoke(app: Typer, arguments: Sequence[str]) -> object:
    """As the application runs itself, but for Ctrl-C: it would take that for a command that has answered with 130."""
    from typer import Exit
    from typer.main import get_command

    command = get_command(app)
    try:
        with command.make_context("brain", list(arguments)) as context:
            return command.invoke(context)
    except Exit as left:
        return left.exit_code


def _misuse(error: Exception, arguments: Sequence[str]) -> UsageError:
    said = getattr(error, "format_message", None)
    what = str(said() if callable(said) else error).rstrip(".")
    command = next((word for word in arguments if not word.startswith("-")), "")
    known = type(error).__name__ != "NoSuchCommand" and "No such command" not in what
    return UsageError(what, help=f"brain {command} --help" if command and known else "brain --help", code="CLI-002")


def _is_typers(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in {"typer", "click"}
