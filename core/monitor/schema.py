"""Tables of the state file: what is kept of a run, and in which form.

A table that keeps one kind of value takes its columns from the fields of that value, in their order, so that a record
can be read back as it was written. Forms: ``Decimal`` as text (exact), NaN as NULL, tuples of values as JSON text,
enums as their text, time in ms UTC. Each kept row also carries ``seq``, the decision in whose course it came to be.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from core.types import (
    Adjustment,
    Fill,
    FundingPayment,
    Meta,
    Order,
    OrderUpdate,
    Plan,
    Refusal,
    ScorePart,
    Signal,
    TradeRecord,
)

SCHEMA_VERSION = 1
"""Kept in SQLite's ``user_version``. A file of a newer version is never opened."""

Record = TypeVar("Record", bound=Struct)
Row = tuple[Any, ...]
_to_json = msgspec.json.Encoder(decimal_format="string").encode
_to_msgpack = msgspec.msgpack.Encoder(decimal_format="string").encode
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]", re.DOTALL)


class AlertLevel(StrEnum):
    """How much an alert asks of the reader."""

    INFO = "info"
    WARNING = "warning"
    PAGE = "page"


class Alert(Struct, frozen=True, gc=False):
    """Something that a person should know: a lock, an unlock, a lost stream, a start or a stop of the system."""

    ts: int
    level: AlertLevel
    code: str
    message: str
    detail: Meta = ()


class EquityPoint(Struct, frozen=True, gc=False):
    """Equity (USD, marked to market) at ``ts`` and its drawdown from the highest equity so far (percent, >= 0)."""

    ts: int
    equity: float
    dd_pct: float


class Delivery(Struct, frozen=True, gc=False):
    """A daily report that was handed over: ``day`` (ISO date), when, the files and their SHA-256."""

    day: str
    ts: int
    trades: int
    csv_path: str
    csv_sha256: str
    json_path: str
    json_sha256: str


class SignalRow(Struct, frozen=True, gc=False):
    """A scored signal without its signal part, which is kept beside it."""

    score: float
    threshold: float
    regime: str
    parts: tuple[ScorePart, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """How one field is kept: SQL type, and what to do to write and to read it (None: nothing)."""

    sql: str
    write: Callable[[Any], Any] | None = None
    read: Callable[[Any], Any] | None = None


class RowCodec(Generic[Record]):
    """Turns values of one struct into rows and back."""

    def __init__(self, record_type: type[Record]) -> None:
        hints = typing.get_type_hints(record_type)
        self.record_type = record_type
        self.names: tuple[str, ...] = record_type.__struct_fields__
        forms = [_form(hints[name]) for name in self.names]
        self.columns: tuple[tuple[str, str], ...] = tuple((name, form.sql) for name, form in zip(self.names, forms, strict=True))
        self._get = attrgetter(*self.names)
        self._writes = tuple((i, form.write) for i, form in enumerate(forms) if form.write is not None)
        self._reads = tuple((i, form.read) for i, form in enumerate(forms) if form.read is not None)

    def encode(self, record: Record) -> list[Any]:
        """Row of ``record``, in the order of its fields."""
        values = list(self._get(record))
        for i, write in self._writes:
            values[i] = write(values[i])
        return values

    def decode(self, row: Sequence[Any]) -> Record:
        """The record that gave ``row``."""
        values = list(row)
        for i, read in self._reads:
            values[i] = read(values[i])
        return self.record_type(*values)


def _form(hint: Any) -> _Form:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    optional = type(None) in options
    kinds = [kind for kind in options if kind is not type(None)]
    kind = kinds[0] if len(kinds) == 1 else object
    if kind is float:
        return _Form("REAL", None, None if optional else _float_or_nan)
    if kind is bool:
        return _Form("INTEGER", None, bool)
    if kind is int:
        return _Form("INTEGER")
    if kind is str:
        return _Form("TEXT")
    if kind is Decimal:
        return _Form("TEXT", _text_or_none, _decimal_or_none)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _Form("TEXT", None, lambda text: None if text is None else kind(text))
    return _Form("TEXT", json_text, msgspec.json.Decoder(hint).decode)


def _float_or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal_or_none(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def json_text(value: Any) -> str:
    """JSON of a value for a text column. A float that is not finite becomes the text ``nan``, ``inf`` or ``-inf``.

    The encoder alone would write it as ``null``, which would read as «nothing was there».
    """
    text = _to_json(value).decode()
    # In MessagePack what is not finite shows in the bytes, whatever else the value holds; the search errs to the safe side.
    if "null" not in text or _NOT_FINITE.search(_to_msgpack(value)) is None:
        return text
    return _to_json(_spell_out(msgspec.to_builtins(value))).decode()


def _spell_out(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, list | tuple):
        return [_spell_out(item) for item in value]
    if isinstance(value, dict):  # a nested record, such as one part of a score
        return {key: _spell_out(item) for key, item in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Table:
    """One table. ``progress`` rows belong to the course of decisions and need a snapshot beside them to go on from."""

    name: str
    columns: tuple[tuple[str, str], ...]
    constraint: str = ""
    replace: bool = False
    progress: bool = True

    @property
    def create_sql(self) -> str:
        """SQL that makes the table."""
        lines = [f"{name} {sql}" for name, sql in self.columns]
        if self.constraint:
            lines.append(self.constraint)
        return f"CREATE TABLE {self.name} ({', '.join(lines)})"

    @property
    def insert_sql(self) -> str:
        """SQL that writes one row, columns in their order."""
        verb = "INSERT OR REPLACE" if self.replace else "INSERT"
        names = ", ".join(name for name, _ in self.columns)
        marks = ", ".join("?" * len(self.columns))
        return f"{verb} INTO {self.name} ({names}) VALUES ({marks})"


SIGNAL = RowCodec(Signal)
SIGNAL_ROW = RowCodec(SignalRow)
REFUSAL = RowCodec(Refusal)
PLAN = RowCodec(Plan)
ORDER = RowCodec(Order)
UPDATE = RowCodec(OrderUpdate)
FILL = RowCodec(Fill)
FUNDING = RowCodec(FundingPayment)
TRADE = RowCodec(TradeRecord)
ADJUSTMENT = RowCodec(Adjustment)
ALERT = RowCodec(Alert)
EQUITY = RowCodec(EquityPoint)
DELIVERY = RowCodec(Delivery)

_SEQ = (("seq", "INTEGER NOT NULL"),)
ORDER_STATE: tuple[tuple[str, str], ...] = (
    ("status", "TEXT"),
    ("status_ts", "INTEGER"),
    ("filled", "TEXT"),
    ("status_code", "TEXT"),
    ("status_message", "TEXT"),
)
"""Columns of ``orders`` that follow the last update; NULL status: nothing was heard of the order yet."""

TABLES: tuple[Table, ...] = (
    Table("meta", (("key", "TEXT"), ("value", "TEXT NOT NULL")), "PRIMARY KEY (key)", replace=True, progress=False),
    Table("decisions", (("seq", "INTEGER PRIMARY KEY"), ("ts", "INTEGER"), ("hash", "TEXT"), ("record", "BLOB"))),
    Table("signals", SIGNAL.columns + SIGNAL_ROW.columns + _SEQ),
    Table("refusals", REFUSAL.columns + _SEQ),
    Table("plans", PLAN.columns + _SEQ, "PRIMARY KEY (id)"),
    Table("orders", ORDER.columns + _SEQ + ORDER_STATE, "PRIMARY KEY (client_id)"),
    Table("order_events", UPDATE.columns + _SEQ),
    Table("fills", FILL.columns + _SEQ, "PRIMARY KEY (id)"),
    Table("funding", FUNDING.columns + _SEQ, "PRIMARY KEY (symbol, ts)"),
    Table("trades", TRADE.columns + _SEQ, "PRIMARY KEY (id)"),
    Table("adjustments", ADJUSTMENT.columns + _SEQ),
    Table("equity", EQUITY.columns + _SEQ, "PRIMARY KEY (ts)", replace=True),
    Table("alerts", ALERT.columns + _SEQ, progress=False),
    Table("reports", DELIVERY.columns, "PRIMARY KEY (day)", replace=True, progress=False),
    Table(
        "snapshots",
        (("seq", "INTEGER PRIMARY KEY"), ("commit_no", "INTEGER"), ("sha256", "TEXT"), ("blob", "BLOB")),
        replace=True,
        progress=False,
    ),
)
TABLE: dict[str, Table] = {table.name: table for table in TABLES}

ORDER_STATE_SQL = (
    "UPDATE orders SET status = ?, status_ts = ?, filled = ?, status_code = ?, status_message = ? WHERE client_id = ?"
)

TRADE_VIEW = "trades_with_plan"
_PLAN_COLUMNS = ", ".join(f"plans.{name} AS plan_{name}" for name in PLAN.names if name != "id")
# fills of a plan that were told when it was over are a trade of its id with a + (core.exec.orders.made_plan)
_TRADE_AND_PLAN = "trades LEFT JOIN plans ON plans.id = rtrim(trades.plan_id, '+')"
_TRADE_COLUMNS = ", ".join(f"trades.{name} AS {name}" for name in TRADE.names)

INDEXES: tuple[str, ...] = (
    "CREATE INDEX refusals_by_ts ON refusals (ts)",
    "CREATE INDEX trades_by_closed ON trades (closed_ts)",
    "CREATE INDEX order_events_by_order ON order_events (client_id)",
    f"CREATE VIEW {TRADE_VIEW} AS SELECT {_TRADE_COLUMNS}, {_PLAN_COLUMNS} FROM {_TRADE_AND_PLAN}",  # noqa: S608
)


def create_statements() -> tuple[str, ...]:
    """SQL that makes an empty state file."""
    return (*(table.create_sql for table in TABLES), *INDEXES)
