"""``brain why``: why something was done, or not, with all its numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from configs.errors import ConfigError
from configs.loader import default_folder, load
from core.exec.instrument import parse_symbol
from core.monitor.reader import StoreReader
from graph.console import Answer, Console, Style, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.session_dir import SessionDir
from graph.sessions import Session, find
from graph.why.model import Why

SCHEMA = "brain.why/1"
_HEAD = 1024
"""Bytes at the beginning of a page in which its generator stands."""


@dataclass(frozen=True, slots=True)
class WhyRequest:
    """The command's flags as typed."""

    name: str | None
    symbol: str | None
    day: str | None
    session: str | None
    state: Path | None
    html: Path | None
    other_code: bool = False
    force: bool = False


def run_why(request: WhyRequest, *, json: bool, quiet: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, quiet=quiet, json=json)
    return run_command(console, SCHEMA, lambda: _why(request, console), effect="the session was only read")


def _why(request: WhyRequest, console: Console) -> Answer:
    from loguru import logger

    from graph.why.text import as_data, as_text

    day = _day(request)
    if request.html is not None:
        _check_page(request.html, force=request.force)
    session = find(request.session, request.state)
    logger.remove()  # bars that are made again have been logged once
    with StoreReader(session.folder.database) as store:
        why = asyncio.run(_asked(request, day, session, store))
    for label in why.verdict.labels:
        console.warn(label)
    if not why.proof.equal:
        console.warn(f"made again, the bar is not the recorded one: {why.proof.difference}")
    data = as_data(why)
    if request.html is not None:
        data["html"] = str(_write(why, request.html))
    code = ExitCode.DONE if why.proof.equal else ExitCode.NO
    return Answer(data, as_text(why, lambda text: console.style(text, Style.STRONG)), code)


def _asked(request: WhyRequest, day: date | None, session: Session, store: StoreReader) -> Coroutine[None, None, Why]:
    from graph.why.explain import Explainer
    from graph.why.nothing import why_nothing
    from graph.why.records import Records

    records, reader, today = Records(store), session.reader(), _digest_today()
    if day is not None and request.symbol is not None:
        symbol = parse_symbol(request.symbol)
        return why_nothing(reader, records, symbol, day, other_code=request.other_code, today=today)
    return Explainer(reader, records, request.other_code, today).one(request.name or "")


def _digest_today() -> str | None:
    """Of the configuration in force; None where it cannot be used."""
    try:
        return load(default_folder()).digest
    except ConfigError:
        return None


def _day(request: WhyRequest) -> date | None:
    """The day of ``--on``; None where an id is asked about.

    Raises:
        UsageError: neither, or both, or half of one.
    """
    help_ = "brain why ID, or brain why --none BTC/USDT:USDT --on 2026-01-31"
    if request.name is not None and request.symbol is None and request.day is None:
        return None
    if request.name is not None or request.symbol is None or request.day is None:
        raise UsageError("brain why takes an id, or --none SYMBOL together with --on DAY", help=help_)
    try:
        return date.fromisoformat(request.day)
    except ValueError:
        raise UsageError(f"--on was {request.day!r}, expected a day such as 2026-01-31", help=help_) from None


def _check_page(path: Path, *, force: bool) -> None:
    """Make sure that a page at ``path`` takes the place of nothing that somebody may miss.

    Raises:
        UsageError: it would lie in a session's folder, or in the place of something that is no page of this command.
    """
    target, elsewhere = path.resolve(), f"--html {Path('why.html')}"
    if target.is_dir():
        raise UsageError(f"--html was {path}, which is a folder", help=f"--html {path / 'why.html'}", code="WHY-002")
    inside = next((folder for folder in target.parents if SessionDir.holds_one(folder) or SessionDir.holds_journal(folder)), None)
    if inside is not None:
        raise UsageError(f"--html was {path}, inside the session {inside}, which is only read", help=elsewhere, code="WHY-002")
    if not force and target.exists() and not _is_ours(target):
        what = f"--html was {path}, which is there already and is no page of brain why"
        raise UsageError(what, help=f"{elsewhere}, or --force to overwrite it", code="WHY-002")


def _is_ours(path: Path) -> bool:
    from graph.why.page import GENERATOR

    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return f'content="{GENERATOR}"'.encode() in file.read(_HEAD)
    except OSError:
        return False


def _write(why: Why, path: Path) -> Path:
    from graph.why.page import as_page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_page(why), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--html {path} cannot be written: {error.strerror or error}", help="--html why.html", code="WHY-002"
        ) from error
    return path
