"""The one writer of a run's state file: decisions, orders, trades and the snapshot to go on from, in SQLite.

Everything is held in memory until :meth:`Store.commit` writes it in one transaction. After ``kill -9`` the file holds
every commit that was finished and nothing of the one that was not, so the last snapshot and the records beside it
always belong together (X43).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from core.errors import StateError
from core.file_lock import take, taken
from core.monitor.reader import StoreReader, check_schema, reading, snapshot_checksum, storage_error
from core.monitor.schema import (
    ADJUSTMENT,
    ALERT,
    DELIVERY,
    EQUITY,
    FILL,
    FUNDING,
    ORDER,
    ORDER_STATE,
    ORDER_STATE_SQL,
    PLAN,
    REFUSAL,
    SCHEMA_VERSION,
    SIGNAL,
    SIGNAL_ROW,
    TABLE,
    TABLES,
    TRADE,
    UPDATE,
    Alert,
    Delivery,
    EquityPoint,
    SignalRow,
    create_statements,
)
from core.types import Adjustment, Fill, FundingPayment, Order, OrderUpdate, Plan, Refusal, ScoredSignal, TradeRecord

KEPT_SNAPSHOTS = 2
_COMMITS = "commits"
_BEFORE_SENDING = ("plans", "orders")
_NO_STATE: tuple[None, ...] = (None,) * len(ORDER_STATE)
_to_msgpack = msgspec.msgpack.Encoder(decimal_format="string").encode


class Store(StoreReader):
    """A state file, opened for writing by one process alone; made when it is not there.

    Args:
        path: the file; its folder is made too.
        durable: True for live: each commit is on the disk before it returns (``synchronous=FULL``), and an order's intent
            is committed at once, before a byte of it can be sent. False (paper, replay): a crash of the program loses
            nothing that was committed; a loss of power may lose the last commits, never half of one.

    Raises:
        StateError: the file is in use by another run, damaged, of a newer version, or holds records that its last
            snapshot does not know of.
    """

    def __init__(self, path: Path | str, *, durable: bool = False) -> None:
        self.path = Path(path)
        self.durable = durable
        self._buffers: dict[str, list[Any]] = {table.name: [] for table in TABLES}
        self._order_states: list[tuple[Any, ...]] = []
        self._meta: dict[str, str] = {}
        with reading(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock(self.path)
        try:
            self._db = _open(self.path, durable)
        except BaseException:
            os.close(lock)
            raise
        self._lock: int | None = lock
        try:
            self._commits = int(self.get_meta(_COMMITS) or 0)
            self._check_snapshot()
        except BaseException:
            self.close()
            raise
        self._seq = self.last_seq() + 1
        self._add_decision = self._buffers["decisions"].append

    # --- recording: memory only ---------------------------------------------------------------------------------------

    def record_decision(self, seq: int, ts: int, hash_hex: str, payload: bytes) -> None:
        """One decision: its number, time, chain hash and canonical bytes. What is recorded next belongs to ``seq + 1``."""
        self._add_decision((seq, ts, hash_hex, payload))
        self._seq = seq + 1

    def record_signal(self, scored: ScoredSignal) -> None:
        """A scored signal with the parts of its score (X23)."""
        self._buffers["signals"].append((scored, self._seq))

    def record_refusal(self, refusal: Refusal) -> None:
        """Something that was wanted and not done, with its arithmetic."""
        self._buffers["refusals"].append((refusal, self._seq))

    def record_plan(self, plan: Plan) -> None:
        """A plan that passed admission."""
        self._buffers["plans"].append([*PLAN.encode(plan), self._seq])

    def record_intent(self, order: Order) -> None:
        """An order about to be sent. In a durable store it is on the disk, with its plan, when this returns."""
        self._buffers["orders"].append([*ORDER.encode(order), self._seq, *_NO_STATE])
        if not self.durable:
            return
        with self._transaction() as db:
            for name in _BEFORE_SENDING:
                db.executemany(TABLE[name].insert_sql, self._buffers[name])
        for name in _BEFORE_SENDING:
            self._buffers[name].clear()

    def record_update(self, update: OrderUpdate) -> None:
        """What the broker says of an order; the order's present state follows it."""
        self._buffers["order_events"].append([*UPDATE.encode(update), self._seq])
        state = (update.status, update.ts, str(update.filled), update.code, update.message, update.client_id)
        self._order_states.append(state)

    def record_fill(self, fill: Fill) -> None:
        """One execution. The same fill twice fails the commit."""
        self._buffers["fills"].append([*FILL.encode(fill), self._seq])

    def record_funding(self, payment: FundingPayment) -> None:
        """Funding settled on an open position."""
        self._buffers["funding"].append([*FUNDING.encode(payment), self._seq])

    def record_trade(self, trade: TradeRecord) -> None:
        """A closed trade; its plan is found by ``plan_id``."""
        self._buffers["trades"].append([*TRADE.encode(trade), self._seq])

    def record_adjustment(self, adjustment: Adjustment) -> None:
        """A stop that moved or a position that was closed by decision."""
        self._buffers["adjustments"].append([*ADJUSTMENT.encode(adjustment), self._seq])

    def record_alert(self, alert: Alert) -> None:
        """Something that a person should know."""
        self._buffers["alerts"].append([*ALERT.encode(alert), self._seq])

    def record_equity(self, ts: int, equity: float, dd_pct: float) -> None:
        """A point of the equity curve; a second one for the same ``ts`` replaces the first."""
        self._buffers["equity"].append([*EQUITY.encode(EquityPoint(ts, equity, dd_pct)), self._seq])

    def record_delivery(self, delivery: Delivery) -> None:
        """A daily report that was handed over (I2)."""
        self._buffers["reports"].append(DELIVERY.encode(delivery))

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact of the run, from the next commit on."""
        if key == _COMMITS:
            raise ValueError(f"meta key {key!r} belongs to the store")
        self._meta[key] = value

    def get_meta(self, key: str) -> str | None:
        """Value under ``key``, also when it is not committed yet."""
        return self._meta[key] if key in self._meta else super().get_meta(key)

    def save_snapshot(self, seq: int, state: Any) -> None:
        """Keep ``state`` (JSON-like) as it is after decision ``seq``. The last two are kept.

        It is written with the next commit, which must follow before anything else is recorded.
        """
        blob = _to_msgpack(state)
        self._buffers["snapshots"] = [[seq, None, snapshot_checksum(seq, blob), blob]]

    # --- writing ------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Rows in memory that no commit has written yet."""
        return sum(len(rows) for rows in self._buffers.values())

    def drop_pending(self) -> None:
        """Forget what no commit has written, as a crash would: the way to leave an alert beside the last whole state."""
        for rows in self._buffers.values():
            rows.clear()
        self._order_states.clear()
        self._meta.clear()
        self._seq = self.last_seq() + 1

    def commit(self) -> None:
        """Write everything recorded since the last commit, in one transaction.

        Raises:
            StateError: the disk is full, the file cannot be written, or a record is there already. Nothing was written then,
                and what was recorded stays in memory, so that the commit can be tried again.
        """
        progress = any(self._buffers[table.name] for table in TABLES if table.progress)
        if not (progress or self.pending or self._meta or self._order_states):
            return
        commits = self._commits + (1 if progress else 0)
        for snapshot in self._buffers["snapshots"]:
            snapshot[1] = commits
        with self._transaction() as db:
            db.execute(TABLE["meta"].insert_sql, (_COMMITS, str(commits)))
            self._write(db)
        self._commits = commits
        for rows in self._buffers.values():
            rows.clear()
        self._order_states.clear()
        self._meta.clear()

    def _write(self, db: sqlite3.Connection) -> None:
        db.executemany(TABLE["meta"].insert_sql, list(self._meta.items()))
        for name, rows in self._buffers.items():
            if rows:
                late = _ENCODED_LATE.get(name)
                db.executemany(TABLE[name].insert_sql, rows if late is None else [[*late(value), seq] for value, seq in rows])
        if self._order_states:
            db.executemany(ORDER_STATE_SQL, self._order_states)
        if self._buffers["snapshots"]:
            keep = "SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?"
            db.execute(f"DELETE FROM snapshots WHERE seq NOT IN ({keep})", (KEPT_SNAPSHOTS,))  # noqa: S608 - a constant

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise storage_error(self.path, error) from error
            raise

    def close(self) -> None:
        """Let go of the file without committing: what is still in memory is dropped, as in a crash."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_snapshot(self) -> None:
        last = self.last_seq()
        rows = self.query("SELECT seq, commit_no FROM snapshots ORDER BY seq DESC LIMIT 1")
        if not rows and self._commits == 0:
            return
        seq, commit_no = rows[0] if rows else (-1, 0)
        if last > seq or commit_no != self._commits:
            raise StateError(
                f"state file {self.path} holds records (decision {last}) that its last snapshot (decision {seq}) lacks",
                help="going on would record them twice; read it with the export commands, and start with another --state",
                code="STATE-008",
            )


def _signal_row(scored: ScoredSignal) -> list[Any]:
    row = SignalRow(scored.score, scored.threshold, scored.regime, scored.parts)
    return [*SIGNAL.encode(scored.signal), *SIGNAL_ROW.encode(row)]


_ENCODED_LATE: dict[str, Callable[[Any], list[Any]]] = {"signals": _signal_row, "refusals": REFUSAL.encode}
"""What comes by the dozen waits as (value, seq) for the commit: the text of its columns is no part of a decision's time."""


def _lock(path: Path) -> int:
    """Hold ``<file>.lock`` for this process."""
    handle = take(_lock_file(path))
    if handle is None:
        raise StateError(
            f"state file {path} is in use by another run",
            help="stop that run, or choose another folder: brain paper --state DIR",
            code="STATE-009",
        )
    return handle


def in_use(path: Path) -> bool:
    """Whether a run holds the state file ``path``.

    Raises:
        StateError: the lock cannot be looked at.
    """
    with reading(path):
        return taken(_lock_file(path))


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _open(path: Path, durable: bool) -> sqlite3.Connection:
    with reading(path):
        db = sqlite3.connect(path, isolation_level=None)
        try:
            empty = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
            if not empty:
                check_schema(db, path)
            # EXTRA for the switch alone: else the unlink of the old journal may be undone by a loss of power
            db.execute("PRAGMA synchronous=EXTRA")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            if empty:
                _create(db)
        except BaseException:
            db.close()
            raise
    return db


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in create_statements():
        db.execute(statement)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")
