"""``brain data fetch`` and ``brain data check``: recording a venue's history, and looking how good recordings are."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock, rfc3339_seconds
from core.data.timeframes import bucket_open, say
from core.errors import BrainError, SourceError
from core.types import Timeframe
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.parse import parse_symbols, parse_time

if TYPE_CHECKING:
    from core.data.exchange.download import Download, Series
    from core.data.exchange.inspect import Finding, Inspection
    from graph.progress import Progress

FETCH_SCHEMA, CHECK_SCHEMA = "brain.data.fetch/1", "brain.data.check/1"
NO_ORDERS = "no order was sent; what was fetched so far is kept, and the same command goes on from there"
WEIGHT_PER_MINUTE, ADDRESS_MOST = 300.0, 1_000.0
"""A download's share of the weight that the venue allows to an address, so that a daemon beside it never lacks any."""
SETTLED_MS = 60_000
"""How long after its close a bar is taken for what it will stay."""
_VENUES = {"binance": "binanceusdm", "binanceusdm": "binanceusdm", "bybit": "bybit", "okx": "okx"}
_EXAMPLE = "brain data fetch --symbols BTC/USDT:USDT --tf 5m,1h --from 2024-01-01 --to 2024-02-01 --out DIR"


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """The command's flags as typed."""

    exchange: str
    symbols: str
    timeframes: str
    start: str
    end: str | None
    out: Path
    address: str | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    venue: str
    symbols: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]
    start: int
    end: int | None


def run_fetch(request: FetchRequest, *, json: bool, quiet: bool, color: str) -> int:
    """Fetch and give the exit code."""
    console = Console(color=color, json=json, quiet=quiet)
    return run_command(console, FETCH_SCHEMA, lambda: _fetch(request, console), effect=NO_ORDERS)


def _fetch(request: FetchRequest, console: Console) -> Answer:
    from core.data.exchange.download import held

    wanted = _read(request)
    with held(request.out):
        files = asyncio.run(_download(wanted, request, console))
    if not files:
        raise SourceError(
            f"{wanted.venue} has nothing of what was asked for since {say(wanted.start)}: no recording was written",
            help="give another --from, --to or --tf, or other --symbols",
            code="DATA-045",
        )
    lines = [f"{name:32} {rows:>10,} rows" for name, rows in files.items()]
    lines.append(f"look at them: brain data check {request.out}")
    return Answer({"out": str(request.out), "exchange": wanted.venue, "files": files}, "\n".join(lines))


def _read(request: FetchRequest) -> _Wanted:
    if request.exchange not in _VENUES:
        raise UsageError(f"--exchange was {request.exchange!r}, expected one of {', '.join(_VENUES)}", help=_EXAMPLE)
    if request.address is not None and _VENUES[request.exchange] != "binanceusdm":
        raise UsageError(f"--address leads to a local exchange, which speaks Binance, not {request.exchange}", help=_EXAMPLE)
    symbols = parse_symbols(request.symbols) or ()
    start = parse_time(request.start, _EXAMPLE)
    end = None if request.end is None else parse_time(request.end, _EXAMPLE)
    if end is not None and end <= start:
        raise UsageError(f"--to was {request.end}, expected a time after --from {request.start}", help=_EXAMPLE)
    if request.address is None and start >= SystemClock().now_ms():  # a local exchange may play another time
        raise UsageError(f"--from was {request.start}, expected a time that is over", help=_EXAMPLE)
    return _Wanted(_VENUES[request.exchange], symbols, _timeframes(request.timeframes), start, end)


def _timeframes(text: str) -> tuple[Timeframe, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(Timeframe)]
    if unknown or not words:
        known = ", ".join(tf.value for tf in Timeframe)
        raise UsageError(f"--tf was {text!r}, expected some of {known}, with commas between them", help="--tf 5m,1h")
    return tuple(dict.fromkeys(Timeframe(word) for word in words))


# --- fetching -----------------------------------------------------------------------------------------


async def _download(wanted: _Wanted, request: FetchRequest, console: Console) -> dict[str, int]:
    import numpy as np

    from core.data.exchange.clock import VenueClock
    from core.data.exchange.download import Download, series_of
    from core.data.exchange.rest import VenueRest
    from core.data.exchange.settings import ExchangeSettings
    from core.venues.budget import Budget
    from core.venues.client import Wiring, make_client

    settings = ExchangeSettings()
    budget = Budget(limit=WEIGHT_PER_MINUTE, reserve=0.0, address_most=ADDRESS_MOST)
    client = make_client(wanted.venue, None, Wiring(plain=request.address, budget=budget))
    try:
        clock = VenueClock(SystemClock(), step_ms=settings.step_ms, every_s=settings.clock_every_s, read_ntp=lambda: None)
        await _reach(client, clock, wanted, request.address)
        rest = VenueRest(client, clock.now, settings.last_row_ms)
        download = Download(rest, wanted.venue, request.out, np.random.default_rng(0))
        series = series_of(wanted.symbols, wanted.timeframes)
        download.check(series)
        return await _all(download, series, wanted, int(clock.now()), console)
    finally:
        await client.close()


async def _reach(client: Any, clock: Any, wanted: _Wanted, address: str | None) -> None:
    """Load the venue's markets and measure its time.

    Raises:
        SourceError: it cannot be reached, or does not list a symbol.
    """
    try:
        await client.load_markets()
        await clock.measure(client)
    except Exception as error:
        first = "check the network and the venue's status page"
        if address is not None:
            first = f"is a local exchange running at {address}? brain exchange --http starts one and tells its address"
        raise SourceError(
            f"{wanted.venue} cannot be used: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}",
            help=f"{first}; then run the same command again",
            code="DATA-040",
        ) from error
    missing = [symbol for symbol in wanted.symbols if ":" in symbol and symbol not in client.markets]
    if missing:
        raise SourceError(f"{wanted.venue} does not list {', '.join(missing)}", help=_EXAMPLE, code="DATA-041")


async def _all(download: Download, series: Iterable[Series], wanted: _Wanted, now: int, console: Console) -> dict[str, int]:
    jobs = [(one, *_times(one, wanted, now)) for one in series]
    total = sum((end - begin) // one.step for one, since, until in jobs for begin, end in download.missing(one, since, until))
    files: dict[str, int] = {}
    with console.progress(total, f"fetching from {wanted.venue}") as progress:
        for one, since, until in jobs:
            progress.note(one.path)
            try:
                rows = await download.fetch(one, since, until, _counting(progress, one.step))
            except BrainError:
                raise
            except Exception as error:
                if one.kind.value != "spot":
                    raise _broken(wanted.venue, one.path, error) from error
                console.warn(f"{one.path} could not be fetched ({type(error).__name__}), so there is no basis")
                continue
            if rows:
                files[one.path] = rows
            else:
                console.warn(f"{wanted.venue} has nothing for {one.path} in that time")
    return files


def _counting(progress: Progress, step: int) -> Any:
    return lambda done_ms: progress.advance(done_ms // step)


def _times(series: Series, wanted: _Wanted, now: int) -> tuple[int, int]:
    """Open of the first and close of the last bar that is over for good."""
    over = now - SETTLED_MS
    end = over if wanted.end is None else min(wanted.end, over)
    if series.tf is None:
        return wanted.start, end
    return -(-wanted.start // series.tf.ms) * series.tf.ms, bucket_open(end, series.tf)


def _broken(venue: str, path: str, error: Exception) -> SourceError:
    return SourceError(
        f"{venue} broke off at {path}: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}",
        help="run the same command again: it goes on from there",
        code="DATA-040",
    )


# --- checking -----------------------------------------------------------------------------------------


def run_check(folder: Path, *, json: bool, color: str) -> int:
    """Look through a folder and give the exit code: 0 nothing is wrong, 1 something is."""
    console = Console(color=color, json=json)
    return run_command(console, CHECK_SCHEMA, lambda: _check(folder, console))


def _check(folder: Path, console: Console) -> Answer:
    from core.data.exchange.inspect import inspect

    found = inspect(folder)
    data = {
        "folder": str(folder),
        "sound": found.sound,
        "files": [_file_data(finding) for finding in found.files],
        "agreements": [dataclasses.asdict(one) for one in found.agreements],
    }
    return Answer(data, _text(found, console), ExitCode.DONE if found.sound else ExitCode.NO)


def _file_data(finding: Finding) -> dict[str, Any]:
    told = dataclasses.asdict(finding)
    for name in ("first", "last", "largest_after"):
        told[name] = rfc3339_seconds(told[name]) if told[name] >= 0 else None
    return told


def _text(found: Inspection, console: Console) -> str:
    wrong = [finding for finding in found.files if finding.wrong]
    unlike = [one for one in found.agreements if one.differ]
    verdict = "nothing is wrong" if found.sound else f"{len(wrong)} files with faults, {len(unlike)} pairs that differ"
    return "\n".join([_files_table(found, console), *_pairs(found), f"{len(found.files)} files: {verdict}"])


def _files_table(found: Inspection, console: Console) -> str:
    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table

    from core.data.exchange.inspect import said

    table = Table(box=None if console.accessible else box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("file", "first", "last"):
        table.add_column(name, overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("", overflow="fold")
    for finding in found.files:
        times = [say(ts) if ts >= 0 else "" for ts in (finding.first, finding.last)]
        mark = "WRONG  " if finding.wrong else ""
        table.add_row(finding.file, *times, f"{finding.rows:,}", f"{mark}{said(finding)}")
    screen = RichConsole(file=io.StringIO(), width=200, force_terminal=console.colored(console.out), highlight=False)
    with screen.capture() as captured:
        screen.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").splitlines())


def _pairs(found: Inspection) -> list[str]:
    lines = []
    for one in found.agreements:
        name = f"{one.kind} {one.market}: {one.fine} summed up to {one.coarse}"
        if not one.compared:
            lines.append(f"{name}: no bars in common")
        elif one.differ:
            lines.append(f"{name}: WRONG  {one.differ:,} of {one.compared:,} differ, the first at {say(one.first_difference)}")
        else:
            lines.append(f"{name}: all {one.compared:,} agree")
    return lines
