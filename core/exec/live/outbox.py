"""The outbox: every order's life on the disk, one transaction a step, before and after the venue hears of it.

Beside the orders stand the fills (by the venue's trade id, so that one told twice counts once), and the events that the
books are owed, in order, with what of them was told. A disk that fails stops entries; what has happened at the venue, and
exits, are kept in memory until it can be written.

Steps are written in order, and a loss of power takes away the last ones at most. It is waited for the disk, with all that was
written before, where something follows that cannot be taken back: before an order is sent, and before the books hear of
anything. What the venue has said in between is not waited for: lost, it is asked for again at the next start.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core.errors import ContractError, StateError
from core.exec.live.crash import CrashPoint, OnCrashPoint, never
from core.exec.live.halts import Halt
from core.exec.live.outbox_file import connect, lock, wait_for_disk
from core.exec.live.outbox_schema import (
    DELETE_HALT,
    INSERT_EVENT,
    INSERT_FILL,
    INSERT_FUNDING,
    INSERT_OFFSET,
    INSERT_TOLD,
    INSERT_TRANSITION,
    UPDATE_FILL_TOLD,
    UPSERT_AUDITED,
    UPSERT_HALT,
    UPSERT_ORDER,
    UPSERT_TAKEN,
    Group,
    Untold,
    decode_event,
    decode_fill,
    decode_row,
    encode_event,
    encode_row,
)
from core.exec.live.states import Row, State, check
from core.types import BrokerEvent
from core.venues.words import ZERO, FundingSeen, TradeSeen

Statement = tuple[str, Sequence[Any]]


class Outbox:
    """The orders of one account, written by one process alone.

    Attributes:
        rows: every order ever meant, by client id, oldest first; changed through this class only.
        audited: by symbol, the number of the last fill up to which the venue was asked for every one.
        groups: how many groups of events were ever told.
        owed: events that nobody has taken yet, with their numbers; ``on_owed`` is called when some were added.
        halts: why nothing is opened, by key; oldest first.
        failure: why the last write did not reach the disk; None while all is well.

    Args:
        path: the file (``orders.sqlite`` of the session's folder); its folder is made too.
        crash: called at each border between two states of the disk, for tests.

    Raises:
        StateError: another process has it open, or it is damaged or of another version.
    """

    def __init__(self, path: Path, *, crash: OnCrashPoint = never) -> None:
        self.path = path
        self.failure: str | None = None
        self.owed: deque[tuple[int, BrokerEvent]] = deque()
        self.on_owed: Callable[[], None] = lambda: None
        self._crash = crash
        self._backlog: list[Statement] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = lock(path)
        try:
            self._db = connect(path)
            self._load()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StateError(
                f"outbox {path} can't be read: {error}",
                help="put the file back from a copy; the venue's side is read at the next start",
                code="LIVE-002",
            ) from error
        except BaseException:
            os.close(self._lock)
            raise

    def _load(self) -> None:
        self._db.row_factory = sqlite3.Row
        self.rows: dict[str, Row] = {
            row["client_id"]: decode_row(dict(row)) for row in self._db.execute("SELECT * FROM orders ORDER BY rowid")
        }
        self._families: dict[str, list[Row]] = {}
        for row in self.rows.values():
            self._families.setdefault(row.told_as, []).append(row)
        self._active = {client_id: row for client_id, row in self.rows.items() if not row.state.over}
        self._held: dict[str, Decimal] = {}
        self.settled_ms: dict[str, int] = {}
        """When a person last took over what the exchange holds: fills up to then are in it."""
        self._trades: set[tuple[str, int]] = set()
        self._booked: dict[str, Decimal] = {}
        for row in self._db.execute("SELECT symbol, trade_id, side, qty, told FROM fills"):
            self._count(row["symbol"], row["trade_id"], row["side"], Decimal(row["qty"]), Decimal(row["told"]))
        for row in self._db.execute("SELECT symbol, qty, ts FROM offsets"):
            self._held[row["symbol"]] = self.held(row["symbol"]) + Decimal(row["qty"])
            self.settled_ms[row["symbol"]] = max(row["ts"], self.settled_ms.get(row["symbol"], 0))
        rows = self._db.execute("SELECT * FROM halts ORDER BY rowid")
        halts = [msgspec.convert(dict(row), Halt) for row in rows]
        self.halts: dict[tuple[str, str, str], Halt] = {halt.key: halt for halt in halts}
        self._taken = {row["symbol"]: Decimal(row["qty"]) for row in self._db.execute("SELECT symbol, qty FROM taken")}
        self.audited: dict[str, int] = dict(self._db.execute("SELECT symbol, trade_id FROM audited").fetchall())
        self._funded = {row["id"] for row in self._db.execute("SELECT id FROM funding")}
        self.last_funding: int = self._db.execute("SELECT COALESCE(MAX(ts), 0) FROM funding").fetchone()[0]
        self._seq: int = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()[0]
        self.groups: int = self._db.execute("SELECT COALESCE(MAX(no), 0) FROM told").fetchone()[0]

    def _count(self, symbol: str, trade_id: int, side: str, qty: Decimal, told: Decimal) -> None:
        sign = 1 if side == "buy" else -1
        self._trades.add((symbol, trade_id))
        self._held[symbol] = self.held(symbol) + sign * qty
        self._booked[symbol] = self.booked(symbol) + sign * told

    # --- what is known ----------------------------------------------------------------------------

    def held(self, symbol: str) -> Decimal:
        """Signed position: the sum of the fills on record."""
        return self._held.get(symbol, ZERO)

    def booked(self, symbol: str) -> Decimal:
        """Signed position as the books were told it; another than :meth:`held` where fills came of which they know no plan."""
        return self._booked.get(symbol, ZERO)

    def apart(self, symbol: str) -> Decimal:
        """What is held that the books know nothing of, signed: it belongs to no plan."""
        return self.held(symbol) - self.booked(symbol)

    def unsettled(self, symbol: str) -> Decimal:
        """What is held apart from the books and was taken over by no person."""
        apart, taken = self.apart(symbol), self._taken.get(symbol, ZERO)
        return ZERO if _shrunk(taken, apart) == apart else apart

    def holdings(self) -> dict[str, Decimal]:
        """Every position that is not flat, by symbol, in alphabetical order."""
        return {symbol: qty for symbol, qty in sorted(self._held.items()) if qty}

    def has_trade(self, symbol: str, trade_id: int) -> bool:
        """Whether this fill is on record."""
        return (symbol, trade_id) in self._trades

    def family(self, told_as: str) -> tuple[Row, ...]:
        """An order and its further attempts or slices."""
        return tuple(self._families.get(told_as, ()))

    def by_venue_id(self, symbol: str, venue_id: str) -> Row | None:
        """The order that has, or whose child has, this plain id at the venue; none has an empty one."""
        for row in reversed(self.rows.values()):
            if row.symbol == symbol and venue_id == (row.child_id if row.is_algo else row.venue_id):
                return row if venue_id else None
        return None

    def unresolved(self) -> tuple[Row, ...]:
        """Orders whose fate is not known, oldest first."""
        return tuple(row for row in self._active.values() if not row.state.open)

    def live(self, symbol: str | None = None) -> tuple[Row, ...]:
        """Orders that are known to be at the venue, oldest first."""
        return tuple(row for row in self._active.values() if row.state.open and symbol in (None, row.symbol))

    # --- steps ------------------------------------------------------------------------------------

    def add(self, row: Row, ts: int, *, must: bool) -> None:
        """A new order is about to be sent, or is known without having been sent from here; on the disk when this returns.

        Args:
            row: in state SENT; one that was refused before it was sent in REJECTED, one that somebody else sent in ACK.
            ts: now, for the record.
            must: whether it may be sent only if this is on the disk.

        Raises:
            ContractError: the id was used before.
            StateError: it could not be written, and ``must`` be.
        """
        if row.client_id in self.rows:
            raise ContractError(f"client id {row.client_id} was used before; an order has an id of its own")
        transition = (INSERT_TRANSITION, (row.client_id, row.state.value, ts, ""))
        self._commit(_points(row.state), [(UPSERT_ORDER, encode_row(row)), transition], must=must, wait=True)
        self.rows[row.client_id] = row
        self._families.setdefault(row.told_as, []).append(row)
        if not row.state.over:
            self._active[row.client_id] = row

    def move(
        self,
        row: Row,
        to: State,
        ts: int,
        *,
        events: Iterable[BrokerEvent] = (),
        note: str = "",
        **changes: Any,
    ) -> None:
        """An order goes from one state to the next, with what else changes, and with what the books are owed for it.

        Raises:
            ContractError: the state does not follow the present one.
        """
        check(row.client_id, row.state, to)
        changes["state"] = to
        transition = (INSERT_TRANSITION, (row.client_id, to.value, ts, note))
        self._change(_points(to), row, changes, [transition], events)

    def note(self, row: Row, *, events: Iterable[BrokerEvent] = (), **changes: Any) -> None:
        """Something of an order changes that is no state of its own."""
        self._change(None, row, changes, [], events)

    def answer(self, row: Row, **changes: Any) -> None:
        """What the books are answered about an order; on the disk when this returns, since they go on from it."""
        self._change(None, row, changes, [], (), wait=True)

    def fill(
        self,
        row: Row,
        trade: TradeSeen,
        ts: int,
        *,
        to: State | None,
        told: Decimal,
        events: Iterable[BrokerEvent],
        **changes: Any,
    ) -> None:
        """One fill that is not on record yet, with what it makes of its order; the books are told of ``told`` of it."""
        statements: list[Statement] = [(INSERT_FILL, _fill_row(row, trade, told))]
        if to is not None:
            check(row.client_id, row.state, to)
            changes["state"] = to
            statements.append((INSERT_TRANSITION, (row.client_id, to.value, ts, f"trade {trade.trade_id}")))
        changes["filled"] = row.filled + trade.qty
        apart = self.apart(trade.symbol) + trade.side.sign * (trade.qty - told)
        taken = self._taken.get(trade.symbol, ZERO)
        left = _shrunk(taken, apart)
        if left != taken:  # what was taken over is gone: the same again is news
            statements.append((UPSERT_TAKEN, (trade.symbol, str(left))))
        self._change((CrashPoint.FILL_BEFORE, CrashPoint.FILL_AFTER), row, changes, statements, events)
        self._count(trade.symbol, trade.trade_id, trade.side.value, trade.qty, told)
        self._taken[trade.symbol] = left

    def untold(self, symbol: str) -> tuple[Untold, ...]:
        """Fills of which the books have not heard all, oldest first; none while the disk does not take what is to be read."""
        self.catch_up()
        if self._backlog:
            return ()
        rows = self._db.execute("SELECT * FROM fills WHERE symbol = ? ORDER BY trade_id", (symbol,))
        fills = (decode_fill(dict(row)) for row in rows)
        return tuple(fill for fill in fills if fill.told != fill.trade.qty)

    def tell_late(self, late: Untold, more: Decimal, events: Iterable[BrokerEvent]) -> None:
        """The books hear of ``more`` of a fill that is on record."""
        trade, (numbered, owed) = late.trade, self._owed(events)
        self._commit(None, [(UPDATE_FILL_TOLD, (str(late.told + more), trade.symbol, trade.trade_id)), *owed])
        self._booked[trade.symbol] = self.booked(trade.symbol) + trade.side.sign * more
        self._owe(numbered)

    def audit(self, symbol: str, trade_id: int) -> None:
        """Every fill of ``symbol`` up to this one is on record."""
        if self.audited.get(symbol) != trade_id:
            self._commit(None, [(UPSERT_AUDITED, (symbol, trade_id))])
            self.audited[symbol] = trade_id

    def fund(self, payment: FundingSeen, events: Iterable[BrokerEvent]) -> bool:
        """A funding payment, and what the books are owed for it; False where it is on record already."""
        if payment.id in self._funded:
            return False
        numbered, owed = self._owed(events)
        row = (payment.id, payment.symbol, payment.ts, str(payment.amount))
        self._commit(None, [(INSERT_FUNDING, row), *owed])
        self._funded.add(payment.id)
        self.last_funding = max(self.last_funding, payment.ts)
        self._owe(numbered)
        return True

    def settle(self, symbol: str, qty: Decimal, ts: int, why: str) -> None:
        """Take over, by a person's word, that ``qty`` more is held than the fills on record say, and what no plan owns of it.

        Raises:
            StateError: it could not be written.
        """
        apart = self.apart(symbol) + qty
        statements: list[Statement] = [
            (INSERT_OFFSET, (symbol, str(qty), ts, why)),
            (UPSERT_TAKEN, (symbol, str(apart))),
        ]
        self._commit(None, statements, must=True, wait=True)
        self._held[symbol] = self.held(symbol) + qty
        self._taken[symbol] = apart
        self.settled_ms[symbol] = ts

    def halt(self, halt: Halt) -> None:
        """A reason to open nothing, to be known in the next life too."""
        self._commit(None, [(UPSERT_HALT, (*halt.key, halt.text, halt.ts, halt.venue))], wait=True)
        self.halts[halt.key] = halt

    def lift(self, halt: Halt) -> None:
        """A reason is settled."""
        self._commit(None, [(DELETE_HALT, halt.key)], wait=True)
        self.halts.pop(halt.key, None)

    def _change(
        self,
        points: tuple[CrashPoint, CrashPoint] | None,
        row: Row,
        changes: dict[str, Any],
        statements: list[Statement],
        events: Iterable[BrokerEvent],
        *,
        wait: bool = False,
    ) -> None:
        changed = msgspec.structs.replace(row, **changes)
        numbered, owed = self._owed(events)
        self._commit(points, [(UPSERT_ORDER, encode_row(changed)), *statements, *owed], wait=wait)
        for name, value in changes.items():
            setattr(row, name, value)
        if row.state.over:
            self._active.pop(row.client_id, None)
        self._owe(numbered)

    def _owed(self, events: Iterable[BrokerEvent]) -> tuple[list[tuple[int, BrokerEvent]], list[Statement]]:
        numbered = list(enumerate(events, start=self._seq + 1))
        return numbered, [(INSERT_EVENT, (seq, *encode_event(event))) for seq, event in numbered]

    def _owe(self, numbered: list[tuple[int, BrokerEvent]]) -> None:
        if numbered:
            self._seq = numbered[-1][0]
            self.owed += numbered
            self.on_owed()

    # --- what the books are owed --------------------------------------------------------------------

    def owe_again(self, seq: int) -> None:
        """Everything behind number ``seq`` is owed again, whoever took it before."""
        rows = self._db.execute("SELECT seq, kind, body FROM events WHERE seq > ? ORDER BY seq", (seq,))
        self.owed = deque((row["seq"], decode_event(row["kind"], row["body"])) for row in rows)
        self.on_owed()

    def groups_after(self, number: int) -> tuple[Group, ...]:
        """How events were told before, group by group, without the first ``number`` of them."""
        rows = self._db.execute("SELECT upto, ts FROM told WHERE no > ? ORDER BY no", (number,))
        return tuple(Group(row["upto"], row["ts"]) for row in rows)

    def telling(self, group: Group, *, wait: bool = True) -> None:
        """These events are told now; after a crash they are told again, in the same group."""
        self.groups += 1
        statement = (INSERT_TOLD, (self.groups, group.upto, group.ts))
        self._commit((CrashPoint.TOLD_BEFORE, CrashPoint.TOLD_AFTER), [statement], wait=wait)

    # --- writing ------------------------------------------------------------------------------------

    def _commit(
        self,
        points: tuple[CrashPoint, CrashPoint] | None,
        statements: list[Statement],
        *,
        must: bool = False,
        wait: bool = False,
    ) -> None:
        if points is not None:
            self._crash(points[0])
        try:
            wait_for_disk(self._db, wait=wait or bool(self._backlog))  # orders that were sent may be in it
            self._db.execute("BEGIN IMMEDIATE")
            for sql, values in (*self._backlog, *statements):
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            self.failure = str(error)
            if must:
                raise StateError(
                    f"outbox {self.path} can't be written: {error}; nothing was sent",
                    help="free some space there; entries go on by themselves when it can be written again",
                    code="LIVE-003",
                ) from error
            self._backlog += statements
        else:
            self.failure = None
            self._backlog.clear()
        if points is not None:
            self._crash(points[1])

    def catch_up(self) -> None:
        """Write what a disk that failed has not taken, if there is anything."""
        if self._backlog:
            self._commit(None, [], wait=True)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _shrunk(taken: Decimal, apart: Decimal) -> Decimal:
    """What is left of ``taken`` where ``apart`` is held: no more than that, and nothing where it is of the other side."""
    return min(taken, apart, key=abs) if taken * apart > 0 else ZERO


def _points(state: State) -> tuple[CrashPoint, CrashPoint]:
    return CrashPoint(f"{state.value}_before"), CrashPoint(f"{state.value}_after")


def _fill_row(row: Row, trade: TradeSeen, told: Decimal) -> Sequence[Any]:
    return (
        trade.symbol,
        trade.trade_id,
        row.client_id,
        trade.venue_id,
        trade.side.value,
        str(trade.qty),
        str(trade.price),
        str(trade.fee),
        trade.fee_asset,
        int(trade.maker),
        trade.ts,
        str(told),
    )
