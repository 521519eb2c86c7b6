"""The log: for people on the terminal when asked, in files that are kept for half a year, never with a secret (I1, H5).

Nothing happens at import. :func:`configure` sets the log up and gives a handle that takes it down again. A quiet bar
logs nothing; it only calls :func:`set_trace`, so that whatever is logged in its course carries its trace id.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from loguru import logger

from core.errors import BrainError, StateError

if TYPE_CHECKING:
    from loguru import Logger, Message, Record

LEVELS: tuple[str, ...] = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
MIN_RETENTION_DAYS = 186
"""Half a year, whichever months it has (I1)."""
MASK = "***"
_SHORTEST_SECRET = 4
_PLAIN_TYPES = (int, float, bool, type(None))

_trace: ContextVar[tuple[str, int] | None] = ContextVar("brain_trace", default=None)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How to log.

    ``folder`` None: no files. ``console`` writes to stderr, which is off unless asked for. ``json_lines`` writes files of one
    JSON object a line instead of text. ``rotation_bytes`` is the size at which a new file begins. ``secrets`` are values
    (keys, tokens) that must never be written; those under four characters are no secrets and are passed over.
    """

    folder: Path | None = None
    level: str = "INFO"
    console: bool = False
    colour: bool = False
    json_lines: bool = False
    rotation_bytes: int = 20_000_000
    retention_days: int = MIN_RETENTION_DAYS
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise BrainError(
                f"log level was {self.level!r}, expected one of {', '.join(LEVELS)}",
                help="LOG_LEVEL=INFO brain paper",
                code="LOG-001",
            )
        if self.retention_days < MIN_RETENTION_DAYS:
            raise BrainError(
                f"log retention was {self.retention_days} days, expected {MIN_RETENTION_DAYS} or more",
                help="logs are kept for at least half a year",
                code="LOG-002",
            )


class Redactor:
    """Replaces secrets by ``***``: as they are, and as they look inside JSON, a URL or a Python literal."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for part in (secret, *secret.splitlines()):
                if len(part) >= _SHORTEST_SECRET:
                    forms |= {part, json.dumps(part)[1:-1], repr(part)[1:-1], quote(part, safe=""), quote(part)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def __call__(self, text: str) -> str:
        """``text`` without secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def value(self, value: object) -> object:
        """A value for a record: numbers as they are, anything else as text without secrets."""
        if isinstance(value, _PLAIN_TYPES):
            return value
        return self(value if isinstance(value, str) else repr(value))


class _Bridge(logging.Handler):
    """Hands on what libraries (the exchange client, asyncio) log by Python's own means."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in LEVELS else record.levelno
        logger.opt(exception=record.exc_info).bind(library=record.name).log(level, "{}", record.getMessage())


class LogHandle:
    """The log as it is configured now; at most one is."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._bridge = _Bridge(logging.WARNING)
        self._files: Logger | None = None
        self.path: Path | None = None
        """File that is written now; None without files."""
        self.lost = 0
        """Records that could not be written."""

    def close(self) -> None:
        """Let go of files and of everything else. Closing twice does no harm."""
        if self not in _active:
            return
        _active.remove(self)
        logging.getLogger().removeHandler(self._bridge)
        logger.remove()
        logger.configure(patcher=_no_patch)
        if self._files is not None:
            with suppress(OSError):  # what a full disk did not take was reported when it was written
                self._files.remove()

    def _open(self, settings: LogSettings, stream: TextIO | None) -> None:
        logger.remove()
        if settings.folder is not None:
            self.path = settings.folder / ("brain.jsonl" if settings.json_lines else "brain.log")
            # a logger apart, so that loguru's own file sink does the rotation and its failures come to us
            self._files = copy.deepcopy(logger)
            _add_file(self._files, self.path, settings)
            write = self._guarded(self._files.opt(raw=True).info)
            logger.add(write, level=settings.level, format=_json_format if settings.json_lines else _text_format, diagnose=False)
        if settings.console:
            write = self._guarded((stream or sys.stderr).write)
            form = _console_format if settings.colour else _text_format
            logger.add(write, level=settings.level, format=form, colorize=settings.colour, diagnose=False)
        logger.configure(patcher=lambda record: _patch(record, self._redact))
        logging.getLogger().addHandler(self._bridge)
        _active.append(self)

    def _guarded(self, write: Callable[[str], object]) -> Callable[[Message], None]:
        def sink(message: Message) -> None:
            # loguru's own report would print the exception that was being logged, secrets and all
            try:
                write(str(message))
            except (OSError, ValueError) as error:
                self.lost += 1
                if self.lost == 1:
                    sys.stderr.write(f"warning: the log cannot be written: {self._redact(str(error))}\n")

        return sink


_active: list[LogHandle] = []


def set_trace(run: str, seq: int) -> None:
    """From here on, in this task, records carry the trace id ``run-seq``. Costs well under a microsecond."""
    _trace.set((run, seq))


def trace_id() -> str:
    """Trace id of the present bar, ``-`` outside of one."""
    trace = _trace.get()
    return "-" if trace is None else f"{trace[0]}-{trace[1]}"


def configure(settings: LogSettings, stream: TextIO | None = None) -> LogHandle:
    """Set the log up and replace whatever was set up before.

    Args:
        settings: what goes where.
        stream: where people's lines go when ``settings.console`` is set; stderr by default.

    Raises:
        StateError: the folder cannot be written.
    """
    for handle in tuple(_active):
        handle.close()
    handle = LogHandle(Redactor(settings.secrets))
    handle._open(settings, stream)
    return handle


def _add_file(files: Logger, path: Path, settings: LogSettings) -> None:
    keep = timedelta(days=settings.retention_days)
    try:
        files.add(path, format="{message}", rotation=settings.rotation_bytes, retention=keep, encoding="utf-8", catch=False)
    except OSError as error:
        raise StateError(
            f"log folder {path.parent} cannot be written: {error.strerror or error}",
            help="choose a folder that you may write to: brain paper --state DIR",
            code="LOG-003",
        ) from error


def _patch(record: Record, redact: Redactor) -> None:
    # the exception becomes text here, once, since loguru would print its value as it is wherever a sink fails
    extra = {redact(name): redact.value(value) for name, value in record["extra"].items()}
    extra["trace"] = trace_id()
    exception = record["exception"]
    if exception is not None:
        lines = traceback.format_exception(exception.type, exception.value, exception.traceback)
        extra["exception"] = redact("".join(lines).rstrip())
        record["exception"] = None
    record["message"] = redact(record["message"])
    record["extra"] = extra


def _no_patch(_: Record) -> None: ...


def _text_format(record: Record) -> str:
    shown = (item for item in record["extra"].items() if item[0] not in {"trace", "exception"} and not item[0].startswith("_"))
    facts = "".join(f" {name}={value}" for name, value in shown)
    record["extra"]["_facts"] = facts
    tail = "\n{extra[exception]}" if "exception" in record["extra"] else ""
    return "{time:YYYY-MM-DDTHH:mm:ss.SSSZ} {level:<8} {extra[trace]} {name}: {message}{extra[_facts]}" + tail + "\n"


def _console_format(record: Record) -> str:
    return f"<level>{_text_format(record)}</level>"


def _json_format(record: Record) -> str:
    facts = {name: value for name, value in record["extra"].items() if not name.startswith("_")}
    line: dict[str, Any] = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "trace": facts.pop("trace", "-"),
        "logger": record["name"],
        "message": record["message"],
    }
    record["extra"]["_line"] = json.dumps(line | facts, ensure_ascii=False)
    return "{extra[_line]}\n"
