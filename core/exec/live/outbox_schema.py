"""Tables of the outbox, and how orders and events become their rows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from core.exec.live.states import Row
from core.types import BrokerEvent, Fill, FundingPayment, OrderUpdate
from core.venues.words import TradeSeen

SCHEMA_VERSION = 2

_COLUMNS = Row.__struct_fields__
_NESTED = ("answer", "cancel_answer")
CREATE = (
    f"CREATE TABLE orders ({', '.join(name + (' TEXT PRIMARY KEY' if name == 'client_id' else '') for name in _COLUMNS)})",
    """CREATE TABLE transitions (
        no INTEGER PRIMARY KEY, client_id TEXT NOT NULL, state TEXT NOT NULL, ts INTEGER NOT NULL, note TEXT NOT NULL
    )""",
    """CREATE TABLE fills (
        symbol TEXT, trade_id INTEGER, client_id TEXT, venue_id TEXT, side TEXT, qty TEXT, price TEXT, fee TEXT,
        fee_asset TEXT, maker INTEGER, ts INTEGER, told TEXT, PRIMARY KEY (symbol, trade_id)
    )""",
    "CREATE TABLE offsets (symbol TEXT NOT NULL, qty TEXT NOT NULL, ts INTEGER NOT NULL, why TEXT NOT NULL)",
    "CREATE TABLE funding (id TEXT PRIMARY KEY, symbol TEXT NOT NULL, ts INTEGER NOT NULL, amount TEXT NOT NULL)",
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL)",
    "CREATE TABLE audited (symbol TEXT PRIMARY KEY, trade_id INTEGER NOT NULL)",
    "CREATE TABLE taken (symbol TEXT PRIMARY KEY, qty TEXT NOT NULL)",
    """CREATE TABLE halts (
        symbol TEXT, kind TEXT, ref TEXT, text TEXT NOT NULL, ts INTEGER NOT NULL, venue TEXT NOT NULL,
        PRIMARY KEY (symbol, kind, ref)
    )""",
    "CREATE TABLE told (no INTEGER PRIMARY KEY, upto INTEGER NOT NULL, ts INTEGER NOT NULL)",
)
# names and number of columns are the code's own
UPSERT_ORDER = (
    f"INSERT INTO orders ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    f"ON CONFLICT (client_id) DO UPDATE SET {', '.join(f'{name}=excluded.{name}' for name in _COLUMNS[1:])}"
)
INSERT_TRANSITION = "INSERT INTO transitions (client_id, state, ts, note) VALUES (?, ?, ?, ?)"
INSERT_FILL = "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE_FILL_TOLD = "UPDATE fills SET told = ? WHERE symbol = ? AND trade_id = ?"
INSERT_OFFSET = "INSERT INTO offsets VALUES (?, ?, ?, ?)"
INSERT_FUNDING = "INSERT INTO funding VALUES (?, ?, ?, ?)"
UPSERT_AUDITED = "INSERT INTO audited VALUES (?, ?) ON CONFLICT (symbol) DO UPDATE SET trade_id=excluded.trade_id"
INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?)"
UPSERT_TAKEN = "INSERT INTO taken VALUES (?, ?) ON CONFLICT (symbol) DO UPDATE SET qty=excluded.qty"
UPSERT_HALT = (
    "INSERT INTO halts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (symbol, kind, ref) "
    "DO UPDATE SET text=excluded.text, ts=excluded.ts, venue=excluded.venue"
)
DELETE_HALT = "DELETE FROM halts WHERE symbol = ? AND kind = ? AND ref = ?"
INSERT_TOLD = "INSERT INTO told VALUES (?, ?, ?)"

_KINDS: dict[str, type[BrokerEvent]] = {"order": OrderUpdate, "fill": Fill, "funding": FundingPayment}
_KIND_OF = {kind: name for name, kind in _KINDS.items()}


class Group(NamedTuple):
    """Events that were told together: up to and with number ``upto``, at the bar of ``ts`` or after it.

    One without events (``upto`` is that of the one before) says that everything told before the decisions of that bar was told.
    """

    upto: int
    ts: int


class Untold(NamedTuple):
    """A fill of which the books have heard ``told``, and of which order it is."""

    client_id: str
    trade: TradeSeen
    told: Decimal


def decode_fill(columns: dict[str, Any]) -> Untold:
    """A fill on record, from its columns."""
    client_id, told = columns.pop("client_id"), Decimal(columns.pop("told"))
    return Untold(client_id, msgspec.convert({**columns, "client_id": client_id}, TradeSeen, strict=False), told)


def encode_row(row: Row) -> tuple[Any, ...]:
    """The columns of an order."""
    plain = msgspec.to_builtins(row)
    for name in _NESTED:
        plain[name] = None if plain[name] is None else json.dumps(plain[name])
    return tuple(plain.values())


def decode_row(columns: dict[str, Any]) -> Row:
    """An order from its columns."""
    for name in _NESTED:
        columns[name] = None if columns[name] is None else json.loads(columns[name])
    return msgspec.convert(columns, Row, strict=False)


def encode_event(event: BrokerEvent) -> tuple[str, str]:
    """Kind and body of an event."""
    return _KIND_OF[type(event)], msgspec.json.encode(event).decode()


def decode_event(kind: str, body: str) -> BrokerEvent:
    """An event from its kind and body."""
    return msgspec.json.decode(body, type=_KINDS[kind])
