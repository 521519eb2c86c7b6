"""Reading a state file: reports, exports, the command line. It never writes, and may read while a run writes."""

from __future__ import annotations

import csv
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from core.errors import StateError
from core.monitor.schema import EQUITY, REFUSAL, SCHEMA_VERSION, TABLE, TABLES, TRADE, TRADE_VIEW, EquityPoint
from core.types import Refusal, TradeRecord

EXPORTS: dict[str, str] = {
    "trades": f"SELECT * FROM {TRADE_VIEW} ORDER BY closed_ts, id",  # noqa: S608 - a constant
    "plans": "SELECT * FROM plans ORDER BY ts, id",
    "orders": "SELECT * FROM orders ORDER BY ts, client_id",
    "fills": "SELECT * FROM fills ORDER BY ts, id",
    "refusals": "SELECT * FROM refusals ORDER BY rowid",
}
"""CSV files of :meth:`StoreReader.export_csv` and what is in them."""


_ROOM_BYTES = 1 << 20
_OUTBOX = "orders.sqlite"
"""A session at an exchange has it beside its records."""
_RESTORE = "restore the file from a copy"


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """Counts and sums over ``[from_ts, until_ts)``. Money in USD; ``fees`` >= 0; ``funding`` negative when paid."""

    decisions: int
    signals: tuple[tuple[str, int], ...]
    plans: int
    refusals: tuple[tuple[str, int], ...]
    orders: int
    fills: int
    trades: int
    net: float
    fees: float
    funding: float


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what SQLite or the disk says into a :class:`StateError` that helps."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise storage_error(path, error) from error
    except OSError as error:
        raise StateError(
            f"state file {path} cannot be used: {error.strerror or error}",
            help="see that this account may read and write there and that there is space, then start again with the same --state",
            code="STATE-002",
        ) from error


def storage_error(path: Path, error: sqlite3.Error) -> StateError:
    """What went wrong in words a person can act upon."""
    text = str(error)
    if "full" in text or ("I/O" in text and _no_space_beside(path)):  # the index beside a write-ahead log needs room too
        return StateError(
            f"state file {path} could not be written: the disk is full",
            help="free some space and start again with the same --state; everything up to the last commit is there",
            code="STATE-003",
        )
    if isinstance(error, sqlite3.IntegrityError):
        return StateError(
            f"state file {path} refused a record that is there already or is incomplete: {text}",
            help="nothing of this commit was written; this is a bug or two runs share one --state",
            code="STATE-006",
        )
    if "not a database" in text or "malformed" in text:
        return StateError(
            f"state file {path} is damaged or is not a state file: {text}",
            help=_way_on(path, _RESTORE, "keep it for inspection and start with another folder: brain paper --state DIR"),
            code="STATE-004",
        )
    return StateError(
        f"state file {path} cannot be used: {text}",
        help="check that the folder exists, is writable and is on a local disk",
        code="STATE-002",
    )


def _way_on(path: Path, mend: str, otherwise: str) -> str:
    """What to do where records cannot be gone on with: a new folder would leave what is open at an exchange unwatched."""
    if not (path.parent / _OUTBOX).exists():
        return otherwise
    knows = "another folder knows neither positions nor locks"
    return f"look at the exchange first, then {mend}, or close what is open there; {knows}"


def _no_space_beside(path: Path) -> bool:
    return path.parent.exists() and shutil.disk_usage(path.parent).free < _ROOM_BYTES


class StoreReader:
    """A state file, opened for reading only.

    Raises:
        StateError: the file is absent, damaged, of a newer version, or of another build.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StateError(
                f"state file {self.path} does not exist",
                help="give the folder of a run: brain paper --state DIR makes one",
                code="STATE-005",
            )
        with reading(self.path):
            self._db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            check_schema(self._db, self.path)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file. Closing twice does no harm."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT over committed records."""
        with reading(self.path):
            return self._db.execute(sql, values).fetchall()

    def count(self, table: str) -> int:
        """Number of rows of ``table``."""
        return int(self.query(f"SELECT COUNT(*) FROM {TABLE[table].name}")[0][0])  # noqa: S608 - name from our own list

    def get_meta(self, key: str) -> str | None:
        """Value kept under ``key``; None when there is none."""
        rows = self.query("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def decisions(self) -> Iterator[tuple[int, int, str, bytes]]:
        """(seq, ts, hash, canonical bytes) of every decision, oldest first."""
        with reading(self.path):
            yield from self._db.execute("SELECT seq, ts, hash, record FROM decisions ORDER BY seq")

    def last_seq(self) -> int:
        """Number of the last decision; -1 when there is none."""
        found = self.query("SELECT MAX(seq) FROM decisions")[0][0]
        return -1 if found is None else int(found)

    def trades(self, from_ts: int = 0, until_ts: int = 1 << 62) -> tuple[TradeRecord, ...]:
        """Trades closed in ``[from_ts, until_ts)``, in order of closing, as they were recorded."""
        names = ", ".join(TRADE.names)
        sql = f"SELECT {names} FROM trades WHERE closed_ts >= ? AND closed_ts < ? ORDER BY closed_ts, id"  # noqa: S608
        return tuple(TRADE.decode(row) for row in self.query(sql, (from_ts, until_ts)))

    def refusals(self, from_ts: int = 0, until_ts: int = 1 << 62) -> tuple[Refusal, ...]:
        """Refusals of ``[from_ts, until_ts)`` in the order in which they were recorded."""
        names = ", ".join(REFUSAL.names)
        sql = f"SELECT {names} FROM refusals WHERE ts >= ? AND ts < ? ORDER BY rowid"  # noqa: S608
        return tuple(REFUSAL.decode(row) for row in self.query(sql, (from_ts, until_ts)))

    def equity(self, from_ts: int = 0, until_ts: int = 1 << 62) -> tuple[EquityPoint, ...]:
        """Equity points of ``[from_ts, until_ts)``, oldest first."""
        names = ", ".join(EQUITY.names)
        sql = f"SELECT {names} FROM equity WHERE ts >= ? AND ts < ? ORDER BY ts"  # noqa: S608
        return tuple(EQUITY.decode(row) for row in self.query(sql, (from_ts, until_ts)))

    def equity_before(self, ts: int) -> EquityPoint | None:
        """Last equity point earlier than ``ts``."""
        names = ", ".join(EQUITY.names)
        rows = self.query(f"SELECT {names} FROM equity WHERE ts < ? ORDER BY ts DESC LIMIT 1", (ts,))  # noqa: S608
        return EQUITY.decode(rows[0]) if rows else None

    def refusals_by_code(self, from_ts: int = 0, until_ts: int = 1 << 62) -> tuple[tuple[str, int], ...]:
        """(code, how often) in order of code."""
        sql = "SELECT code, COUNT(*) FROM refusals WHERE ts >= ? AND ts < ? GROUP BY code ORDER BY code"
        return tuple((str(code), int(n)) for code, n in self.query(sql, (from_ts, until_ts)))

    def summary(self, from_ts: int = 0, until_ts: int = 1 << 62) -> StoreSummary:
        """Counts and sums of what was recorded in ``[from_ts, until_ts)``."""
        signals = "SELECT strategy, COUNT(*) FROM signals WHERE ts >= ? AND ts < ? GROUP BY strategy ORDER BY strategy"

        def total(what: str, table: str, moment: str = "ts") -> float:
            sql = f"SELECT {what} FROM {table} WHERE {moment} >= ? AND {moment} < ?"  # noqa: S608 - constants from below
            return self.query(sql, (from_ts, until_ts))[0][0] or 0

        return StoreSummary(
            decisions=int(total("COUNT(*)", "decisions")),
            signals=tuple((str(name), int(n)) for name, n in self.query(signals, (from_ts, until_ts))),
            plans=int(total("COUNT(*)", "plans")),
            refusals=self.refusals_by_code(from_ts, until_ts),
            orders=int(total("COUNT(*)", "orders")),
            fills=int(total("COUNT(*)", "fills")),
            trades=int(total("COUNT(*)", "trades", "closed_ts")),
            net=float(total("SUM(net)", "trades", "closed_ts")),
            fees=float(total("SUM(fee)", "fills")),
            funding=float(total("SUM(amount)", "funding")),
        )

    def load_snapshot(self) -> tuple[int, Any] | None:
        """(seq, state) of the last commit that carried one; None when there is none. Tuples come back as lists.

        Raises:
            StateError: the snapshot does not match its checksum.
        """
        rows = self.query("SELECT seq, sha256, blob FROM snapshots ORDER BY seq DESC LIMIT 1")
        if not rows:
            return None
        seq, checksum, blob = rows[0]
        if snapshot_checksum(seq, blob) != checksum:
            raise StateError(
                f"snapshot {seq} of state file {self.path} does not match its checksum",
                help=_way_on(
                    self.path,
                    _RESTORE,
                    "the records are still readable; start a new run with another folder: brain paper --state DIR",
                ),
                code="STATE-004",
            )
        return int(seq), msgspec.msgpack.decode(blob)

    def verify(self) -> None:
        """Read every page and every index; slow on a large file.

        Raises:
            StateError: something in the file contradicts itself.
        """
        found = self.query("PRAGMA integrity_check")
        if found != [("ok",)]:
            raise storage_error(self.path, sqlite3.DatabaseError(f"malformed: {found[0][0]}"))

    def export_csv(self, folder: Path | str) -> tuple[Path, ...]:
        """Write one CSV file for each of :data:`EXPORTS`; in ``trades.csv`` stands every field of trade and plan.

        NULL (a missing number, no limit price) is an empty field. Existing files are replaced whole.
        """
        folder = Path(folder)
        with reading(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            return tuple(self._export(folder / f"{name}.csv", sql) for name, sql in EXPORTS.items())

    def _export(self, path: Path, sql: str, values: Sequence[Any] = ()) -> Path:
        cursor = self._db.execute(sql, values)
        partial = path.with_suffix(".csv.part")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([column[0] for column in cursor.description])
            writer.writerows(cursor)
        partial.replace(path)
        return path

    def export_trades(self, path: Path, from_ts: int, until_ts: int) -> Path:
        """One CSV of the trades closed in ``[from_ts, until_ts)``, every field of trade and plan."""
        sql = f"SELECT * FROM {TRADE_VIEW} WHERE closed_ts >= ? AND closed_ts < ? ORDER BY closed_ts, id"  # noqa: S608
        with reading(self.path):
            return self._export(path, sql, (from_ts, until_ts))

    def trades_with_plan(self, from_ts: int, until_ts: int) -> tuple[dict[str, Any], ...]:
        """The same rows as :meth:`export_trades`, by column name."""
        sql = f"SELECT * FROM {TRADE_VIEW} WHERE closed_ts >= ? AND closed_ts < ? ORDER BY closed_ts, id"  # noqa: S608
        with reading(self.path):
            cursor = self._db.execute(sql, (from_ts, until_ts))
            names = [column[0] for column in cursor.description]
            return tuple(dict(zip(names, row, strict=True)) for row in cursor)


def snapshot_checksum(seq: int, blob: bytes) -> str:
    """SHA-256 over number and bytes, so that a snapshot cannot pass for another one."""
    return hashlib.sha256(b"%d:" % seq + blob).hexdigest()


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that this version cannot read rightly.

    Raises:
        StateError: newer version, other columns, not ours, or no database at all.
    """
    with reading(path):
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StateError(
                f"state file {path} is of version {version}, this program knows versions up to {SCHEMA_VERSION}",
                help=_way_on(
                    path,
                    "use the newer program",
                    "use the newer program, or another folder: brain paper --state DIR; nothing was changed",
                ),
                code="STATE-007",
            )
        for table in TABLES:
            found = tuple(row[1] for row in db.execute(f"PRAGMA table_info({table.name})"))
            expected = tuple(name for name, _ in table.columns)
            if found != expected:
                differing = ", ".join(sorted(set(found) ^ set(expected))) or "their order"
                raise StateError(
                    f"state file {path} has another table {table.name} than this program expects (columns: {differing})",
                    help=_way_on(
                        path,
                        "use the build that made it",
                        "it was made by another build: use that one, or another folder; nothing was changed",
                    ),
                    code="STATE-007",
                )
