"""What a folder of recordings holds, and its files as numpy arrays.

In it ``perp_<tf>/``, ``spot_<tf>/``, ``mark_<tf>/`` and ``funding/``, one parquet file a symbol, named by the venue's
id (``perp_5m/BTCUSDT.parquet``). OHLCV files have ``ts open high low close volume`` (mark: no volume), funding files
``ts funding_rate``; ``ts`` is the open time (funding: the settlement) in ms, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.canonical import digest
from core.data.blocks import Bars, Floats, Ints
from core.errors import SourceError
from core.types import Timeframe

_BARS_FOLDER = re.compile(r"^(perp|spot|mark)_(" + "|".join(tf.value for tf in Timeframe) + r")$")
_PRICES = ("ts", "open", "high", "low", "close")
_FORM = "expected perp_<tf>/SYMBOL.parquet (tf one of 1m 5m 15m 1h 4h 1d), and beside it spot_1h/, mark_1h/, funding/"


class Kind(StrEnum):
    """What a file records."""

    PERP = "perp"
    SPOT = "spot"
    MARK = "mark"
    FUNDING = "funding"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a file of this kind must have."""
        if self is Kind.FUNDING:
            return ("ts", "funding_rate")
        return _PRICES if self is Kind.MARK else (*_PRICES, "volume")


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: ``first`` and ``last`` are its lowest and highest ``ts``; ``tf`` is None for funding."""

    kind: Kind
    tf: Timeframe | None
    venue_id: str
    path: Path
    first: int
    last: int
    rows: int

    @property
    def end(self) -> int:
        """Close of the last bar (funding: the last settlement)."""
        return self.last + (self.tf.ms if self.tf is not None else 0)


def scan(folder: Path) -> tuple[Recording, ...]:
    """Every recording in ``folder`` that has rows, by kind, timeframe and name.

    Raises:
        SourceError: there is no such folder, it holds no perpetual or spot candles, or a file in it cannot be read
            or has other columns.
    """
    found = tuple(recording for recording in _recordings(folder) if recording.rows)
    if not any(recording.kind in {Kind.PERP, Kind.SPOT} for recording in found):
        inside = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
        raise SourceError(f"data folder {folder} holds no candles; in it: {inside}", help=_FORM, code="DATA-011")
    return found


def files(folder: Path) -> Iterator[tuple[Kind, Timeframe | None, Path]]:
    """Every file in ``folder`` that should be a recording, by kind, timeframe (None: funding) and name.

    Raises:
        SourceError: there is no such folder.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise SourceError(
            f"data folder {folder} {what}, expected a folder of recordings",
            help="give a folder that has some; brain data fetch makes one",
            code="DATA-010",
        )
    for entry in sorted(path for path in folder.iterdir() if path.is_dir()):
        match = _BARS_FOLDER.match(entry.name)
        if match:
            kind, tf = Kind(match[1]), Timeframe(match[2])
        elif entry.name == Kind.FUNDING.value:
            kind, tf = Kind.FUNDING, None
        else:
            continue
        for path in sorted(entry.glob("*.parquet")):
            yield kind, tf, path


def _recordings(folder: Path) -> Iterator[Recording]:
    for kind, tf, path in files(folder):
        ts = read_columns(path, kind, ("ts",))["ts"]
        rows = int(ts.size)
        first, last = (int(ts.min()), int(ts.max())) if rows else (0, 0)
        yield Recording(kind, tf, path.stem, path, first, last, rows)


def read_columns(path: Path, kind: Kind, columns: tuple[str, ...]) -> dict[str, Ints | Floats]:
    """Columns of a file as numpy arrays: ``ts`` int64, the rest float64 with NaN for nothing.

    Raises:
        SourceError: the file cannot be read, lacks a column, or a column has another type.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_schema(path, kind, schema)
            table = file.read(columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise SourceError(
            f"{path} could not be read as parquet: {str(error).splitlines()[0]}",
            help="write it again, or move it out of the data folder",
            code="DATA-012",
        ) from error
    if "ts" in columns and table.column("ts").null_count:
        raise SourceError(f"{path} has rows without ts", help="remove them", code="DATA-013")
    return {name: table.column(name).to_numpy().astype(np.int64 if name == "ts" else np.float64, copy=False) for name in columns}


def _check_schema(path: Path, kind: Kind, schema: pa.Schema) -> None:
    missing = [name for name in kind.columns if name not in schema.names]
    if missing:
        raise SourceError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(schema.names)}",
            help=f"a {kind.value} file has the columns {', '.join(kind.columns)}",
            code="DATA-013",
        )
    for name in kind.columns:
        dtype = schema.field(name).type
        fits = pa.types.is_integer(dtype) if name == "ts" else pa.types.is_integer(dtype) or pa.types.is_floating(dtype)
        if not fits:
            wanted = "an integer (ms since the epoch, UTC)" if name == "ts" else "a number"
            raise SourceError(f"{path}: column {name} is {dtype}, expected {wanted}", help="convert it", code="DATA-013")


class Contents:
    """Which recordings were read, as one digest.

    Of each file it covers what stays when the recording goes on: its name, which tells symbol and timeframe, its columns, and
    where it begins. Names count from the folder down, so the folder may be moved.
    """

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[str, ...], int]] = {}

    def note(self, recording: Recording) -> None:
        """Take in a file; reading it again changes nothing."""
        name = f"{recording.path.parent.name}/{recording.path.name}"
        self._files[name] = (recording.kind.columns, recording.first)

    @property
    def digest(self) -> str:
        """Hex SHA-256, in whatever order the files were read."""
        return digest(self._files)


def read_bars(recording: Recording, since: int, until: int, contents: Contents | None = None) -> Bars:
    """Bars of a recording that open at or after ``since`` and close at or before ``until``, in the file's order.

    Mark prices, which have no volume, get volume 0. ``contents`` takes note of the file.
    """
    step = recording.tf.ms if recording.tf is not None else 0
    columns = _read(recording, contents)
    ts = columns["ts"].astype(np.int64, copy=False)
    keep = np.flatnonzero((ts >= since) & (ts + step <= until))
    open_, high, low, close = (columns[name][keep].astype(np.float64, copy=False) for name in _PRICES[1:])
    volume = columns["volume"][keep].astype(np.float64, copy=False) if "volume" in columns else np.zeros(keep.size)
    return Bars(ts[keep], open_, high, low, close, volume)


def read_funding(recording: Recording, until: int, contents: Contents | None = None) -> tuple[Ints, Floats]:
    """Settlement times (strictly rising) and rates at or before ``until``; rows without a finite rate are left out.

    ``contents`` takes note of the file.
    """
    columns = _read(recording, contents)
    ts = columns["ts"].astype(np.int64, copy=False)
    rate = columns["funding_rate"].astype(np.float64, copy=False)
    keep = np.flatnonzero((ts <= until) & np.isfinite(rate))
    stamps, first = np.unique(ts[keep], return_index=True)
    return stamps, rate[keep][first]


def _read(recording: Recording, contents: Contents | None) -> dict[str, Ints | Floats]:
    if contents is not None:
        contents.note(recording)
    return read_columns(recording.path, recording.kind, recording.kind.columns)
