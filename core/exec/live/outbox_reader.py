"""What an outbox on the disk says of halts and positions, for whoever looks from outside; a running broker is not disturbed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from core.errors import StateError
from core.exec.live.halts import Halt
from core.exec.live.outbox_schema import SCHEMA_VERSION
from core.exec.live.states import State
from core.types import OrderPurpose
from core.venues.words import ZERO

_SIGNS = {"buy": 1, "sell": -1}


class Standing(Struct, frozen=True):
    """Why nothing is opened, and signed positions by symbol: ``held`` by the fills on record, ``booked`` as the books know.

    ``sent_ms``: when it last sent an order; 0: never. ``in_flight``: orders that may be filled yet, in words, oldest first:
    those of which nobody knows what became, and those that rest at the venue and open something.
    """

    halts: tuple[Halt, ...]
    held: dict[str, Decimal]
    booked: dict[str, Decimal]
    sent_ms: int = 0
    in_flight: tuple[str, ...] = ()


def standing(path: Path) -> Standing:
    """How the outbox ``path`` stands; one that is not there has nothing.

    Raises:
        StateError: it cannot be read, or is of another version.
    """
    if not path.is_file():
        return Standing((), {}, {})
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise StateError(f"outbox {path} is of version {version}, expected {SCHEMA_VERSION}", code="LIVE-004")
            return _standing(db)
    except sqlite3.Error as error:
        raise StateError(f"outbox {path} can't be read: {error}", code="LIVE-002") from error


def _standing(db: sqlite3.Connection) -> Standing:
    halts = tuple(msgspec.convert(dict(row), Halt) for row in db.execute("SELECT * FROM halts ORDER BY rowid"))
    held: dict[str, Decimal] = {}
    booked: dict[str, Decimal] = {}
    for row in db.execute("SELECT symbol, side, qty, told FROM fills"):
        symbol, sign = row["symbol"], _SIGNS[row["side"]]
        held[symbol] = held.get(symbol, ZERO) + sign * Decimal(row["qty"])
        booked[symbol] = booked.get(symbol, ZERO) + sign * Decimal(row["told"])
    for row in db.execute("SELECT symbol, qty FROM offsets"):
        held[row["symbol"]] = held.get(row["symbol"], ZERO) + Decimal(row["qty"])
    sent_ms = db.execute("SELECT COALESCE(MAX(sent_ms), 0) FROM orders").fetchone()[0]
    return Standing(halts, held, booked, sent_ms, _in_flight(db))


def _in_flight(db: sqlite3.Connection) -> tuple[str, ...]:
    rows = db.execute("SELECT symbol, side, qty, purpose, state FROM orders ORDER BY rowid")
    return tuple(f"{row['side']} {row['qty']} {row['symbol']}" for row in rows if _may_be_filled(row))


def _may_be_filled(row: sqlite3.Row) -> bool:
    state = State(row["state"])
    return state.doubtful or (state.open and OrderPurpose(row["purpose"]).opens)
