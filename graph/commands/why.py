"""``brain why``: why something was done, or not, with all its numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from core.exec.instrument import parse_symbol
from core.monitor.reader import StoreReader
from graph.console import Answer, Console, Style, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.sessions import Session, find
from graph.why.model import Why

SCHEMA = "brain.why/1"


@dataclass(frozen=True, slots=True)
class WhyRequest:
    """The command's flags as typed."""

    name: str | None
    symbol: str | None
    day: str | None
    session: str | None
    state: Path | None
    html: Path | None


def run_why(request: WhyRequest, *, json: bool, quiet: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, quiet=quiet, json=json)
    return run_command(console, SCHEMA, lambda: _why(request, console), effect="the session was only read")


def _why(request: WhyRequest, console: Console) -> Answer:
    from loguru import logger

    from graph.why.text import as_data, as_text

    day = _day(request)
    session = find(request.session, request.state)
    logger.remove()  # bars that are made again have been logged once
    with StoreReader(session.folder.database) as store:
        why = asyncio.run(_asked(request, day, session, store))
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

    records, reader = Records(store), session.reader()
    if day is not None and request.symbol is not None:
        return why_nothing(reader, records, parse_symbol(request.symbol), day)
    return Explainer(reader, records).one(request.name or "")


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


def _write(why: Why, path: Path) -> Path:
    from graph.why.page import as_page

    if path.is_dir():
        raise UsageError(f"--html was {path}, which is a folder", help=f"--html {path / 'why.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_page(why), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {path} cannot be written: {error.strerror or error}", help="--html why.html") from error
    return path
