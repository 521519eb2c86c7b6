"""Recording a venue's history into the folder form that a replay reads (:mod:`core.data.sources.folder`).

A series is fetched page by page into parts, each written whole or not at all, and put together at its end; a run that was cut off
goes on from its last part. A list in the folder says which times of which series were asked for: what is covered is not asked
for again, and files that are not in the list are never touched. One process uses the folder at a time (:func:`held`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.durable import no_space, put_in_place, replace_file
from core.data.exchange.rest import FUNDING_STEP_MS, PAGE, VenueRest
from core.data.exchange.retry import patiently
from core.data.sources.folder import Kind, read_columns
from core.data.timeframes import finest
from core.errors import SourceError
from core.exec.instrument import venue_id
from core.file_lock import take
from core.types import Timeframe

LISTED = "fetched.json"
_LOCK = "fetch.lock"
_PARTS = ".parts"
_PART_ROWS = 20_000
"""Rows of a part: what a kill costs, at most (twenty requests)."""
_PATIENCE_S = 300.0

Columns = dict[str, np.ndarray[Any, Any]]
Range = tuple[int, int]


class Listed(msgspec.Struct):
    """What a folder holds by our doing: the venue, and by file the times that were asked for (from, until)."""

    exchange: str
    series: dict[str, list[Range]] = {}


@dataclass(frozen=True, slots=True)
class Series:
    """One file: candles of ``tf``, or funding where it is None."""

    kind: Kind
    tf: Timeframe | None
    symbol: str

    @property
    def path(self) -> str:
        """Where in the folder."""
        folder = self.kind.value if self.tf is None else f"{self.kind.value}_{self.tf.value}"
        return f"{folder}/{venue_id(self.symbol)}.parquet"

    @property
    def step(self) -> int:
        """Time (ms) between two rows, at least."""
        return FUNDING_STEP_MS if self.tf is None else self.tf.ms


def series_of(symbols: Sequence[str], timeframes: Sequence[Timeframe]) -> tuple[Series, ...]:
    """Everything that belongs to ``symbols``.

    Candles of each timeframe; for perpetuals also funding, mark prices on the finest timeframe, and the hourly spot market.
    """
    found: dict[Series, None] = {}
    for symbol in symbols:
        perp = ":" in symbol
        for tf in timeframes:
            found[Series(Kind.PERP if perp else Kind.SPOT, tf, symbol)] = None
        if perp:
            found[Series(Kind.FUNDING, None, symbol)] = None
            found[Series(Kind.MARK, finest(timeframes), symbol)] = None
            found[Series(Kind.SPOT, Timeframe.H1, symbol.partition(":")[0])] = None
    return tuple(found)


def listed_in(folder: Path) -> Listed | None:
    """The list of ``folder``; None where nothing was fetched into it.

    Raises:
        SourceError: it cannot be read.
    """
    path = folder / LISTED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Listed)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}", help="give another --out folder", code="DATA-042") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """No other download uses ``folder`` until the block ends.

    Raises:
        SourceError: one does, or the folder cannot be written.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = take(folder / _LOCK, 0o644)
    if handle is None:
        raise SourceError(
            f"another brain data fetch writes into {folder}",
            help="wait until it is done and run the same command again, or give another --out folder",
            code="DATA-043",
        )
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        again = "run the same command again: it goes on from where it was"
        what, first = f"{folder} cannot be written: {error.strerror}", "let this account write there"
        if no_space(error):
            what, first = f"there is no space left in {folder}", "free some"
        raise SourceError(what, help=f"{first}, then {again}", code="DATA-044") from error


class Download:
    """A download into ``folder``, which must be :func:`held`.

    Raises:
        SourceError: the folder holds recordings of another venue, or its list cannot be read.
    """

    def __init__(self, rest: VenueRest, exchange: str, folder: Path, random: np.random.Generator) -> None:
        self._rest, self._folder, self._random = rest, folder, random
        folder.mkdir(parents=True, exist_ok=True)
        self._listed = self._read_list(exchange)

    def _read_list(self, exchange: str) -> Listed:
        listed = listed_in(self._folder)
        if listed is None:
            return Listed(exchange)
        if listed.exchange != exchange:
            raise SourceError(
                f"{self._folder} holds recordings of {listed.exchange}, asked for was {exchange}: prices of two venues never mix",
                help="give another --out folder",
                code="DATA-042",
            )
        return listed

    def check(self, wanted: Sequence[Series]) -> None:
        """Refuse to touch what is not ours.

        Raises:
            SourceError: a file is there already that this command did not write.
        """
        for series in wanted:
            if (self._folder / series.path).exists() and series.path not in self._listed.series:
                raise SourceError(
                    f"{self._folder / series.path} was not written by brain data fetch; it is not touched",
                    help="give another --out folder",
                    code="DATA-042",
                )

    def missing(self, series: Series, since: int, until: int) -> list[Range]:
        """Times that were not asked for yet."""
        found, at = [], since
        for begin, end in sorted(self._covered(series)):
            if begin > at:
                found.append((at, min(begin, until)))
            at = max(at, end)
        found.append((at, until))
        return [(begin, end) for begin, end in found if begin + series.step <= end]

    def _covered(self, series: Series) -> list[Range]:
        """Times that were asked for, and whose rows nobody has taken away since."""
        return self._listed.series.get(series.path, []) if (self._folder / series.path).exists() else []

    async def fetch(self, series: Series, since: int, until: int, on_time: Callable[[int], None]) -> int:
        """Fetch what is missing of a series, and give the rows that its file has now.

        Args:
            series: what.
            since: open of the first bar.
            until: close of the last one.
            on_time: told how many ms of market time are newly done.

        Raises:
            SourceError: a file cannot be read or written; what was fetched before is kept.
            Exception: whatever the client raises, once patience is over.
        """
        if series.path not in self._listed.series:
            with _writing(self._folder):
                self._list(series, [])  # ours from now on, whatever happens
        for begin, end in self.missing(series, since, until):
            await self._range(series, begin, end, on_time)
            with _writing(self._folder):
                self._join(series, begin, end)
        path = self._folder / series.path
        return pq.read_metadata(path).num_rows if path.exists() else 0

    # --- parts ----------------------------------------------------------------------------------------

    def _parts(self, series: Series) -> Path:
        return self._folder / _PARTS / series.path.removesuffix(".parquet")

    def _known_parts(self, series: Series) -> list[tuple[int, int, Path]]:
        named = [(path.stem.split("-"), path) for path in self._parts(series).glob("*-*.parquet")]
        return sorted((int(name[0]), int(name[1]), path) for name, path in named)

    def _parts_of(self, series: Series, begin: int, end: int) -> list[tuple[int, int, Path]]:
        """Parts that have something of a range, though they may begin before it or go on beyond."""
        return [part for part in self._known_parts(series) if part[0] < end and begin < part[1]]

    async def _range(self, series: Series, begin: int, end: int, on_time: Callable[[int], None]) -> None:
        at = begin
        for first, last, _ in self._parts_of(series, begin, end):
            if first <= at < last:
                on_time(min(last, end) - at)
                at = min(last, end)
        while at + series.step <= end:
            columns, reached = await self._part(series, at, end, on_time)
            with _writing(self._folder):
                write(self._parts(series) / f"{at}-{reached}.parquet", columns)
            at = reached

    async def _part(self, series: Series, since: int, until: int, on_time: Callable[[int], None]) -> tuple[Columns, int]:
        """Rows from ``since`` on, and up to where they go."""
        found: list[Columns] = []
        rows, at = 0, since
        while at + series.step <= until and rows < _PART_ROWS:
            page = await patiently(partial(self._page, series, at), _PATIENCE_S, self._random)
            ts = page["ts"]
            limit = until - (0 if series.tf is None else series.tf.ms)
            keep = np.flatnonzero((ts >= at) & (ts <= limit))
            page = {name: column[keep] for name, column in page.items()}
            reached = _reached(series, ts, at, until, self._page_rows(series))
            on_time(reached - at)
            at = reached
            rows += int(keep.size)
            found.append(page)
        return {name: np.concatenate([page[name] for page in found]) for name in found[0]}, at

    def _page_rows(self, series: Series) -> int:
        """Rows that a page may hold, at most those that are asked for."""
        page = self._rest.page
        told = {Kind.PERP: page.candles, Kind.SPOT: page.candles, Kind.MARK: page.marks, Kind.FUNDING: page.funding}
        return min(PAGE, told[series.kind])

    async def _page(self, series: Series, since: int) -> Columns:
        if series.tf is None:
            ts, rates = await self._rest.funding(series.symbol, since)
            return {"ts": ts, "funding_rate": rates}
        ask = {Kind.PERP: self._rest.candles, Kind.MARK: self._rest.marks, Kind.SPOT: self._rest.spot}[series.kind]
        bars = await ask(series.symbol, series.tf, since, PAGE)
        columns: Columns = dict(zip(("ts", "open", "high", "low", "close", "volume"), bars, strict=True))
        return {name: columns[name] for name in series.kind.columns}

    def _join(self, series: Series, begin: int, end: int) -> None:
        """Put all parts that have something of a range into the file, whole; rows that are there already stand."""
        path, parts = self._folder / series.path, self._parts_of(series, begin, end)
        ranges = [*self._covered(series), (begin, end), *((first, last) for first, last, _ in parts)]
        pieces = [read_columns(path, series.kind, series.kind.columns)] if path.exists() else []
        pieces += [read_columns(part[2], series.kind, series.kind.columns) for part in parts]
        if pieces:
            ts = np.concatenate([piece["ts"] for piece in pieces])
            _, first = np.unique(ts, return_index=True)
            columns = {name: np.concatenate([piece[name] for piece in pieces])[first] for name in series.kind.columns}
            if columns["ts"].size:
                write(path, columns)
        self._list(series, joined(ranges))
        for part in parts:
            part[2].unlink()
        _remove_empty(self._parts(series), self._folder)

    def _list(self, series: Series, ranges: list[Range]) -> None:
        self._listed.series[series.path] = ranges
        replace_file(self._folder / LISTED, msgspec.json.format(msgspec.json.encode(self._listed)))


def _reached(series: Series, ts: np.ndarray[Any, Any], at: int, until: int, rows: int) -> int:
    """Up to where a page of ``rows`` goes that was asked for from ``at`` on; an empty one tells only of its own time."""
    if not ts.size:
        return min(at + rows * series.step, until)
    return max(min(int(ts[-1]) + series.step, until), min(at + series.step, until))


def joined(ranges: Sequence[Range]) -> list[Range]:
    """The same times in as few ranges as can be.

    Example:
        >>> joined([(5, 9), (0, 2), (2, 4)])
        [(0, 4), (5, 9)]
    """
    found: list[Range] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def write(path: Path, columns: Columns) -> None:
    """Write a parquet file whole or not at all.

    Raises:
        OSError: the disk is full or may not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    try:
        pq.write_table(pa.table(columns), draft, compression="zstd")
        put_in_place(draft, path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def _remove_empty(folder: Path, stop: Path) -> None:
    for place in _upwards(folder, stop):
        try:
            place.rmdir()
        except OSError:  # something is in it
            return


def _upwards(folder: Path, stop: Path) -> Iterator[Path]:
    while folder != stop:
        yield folder
        folder = folder.parent
