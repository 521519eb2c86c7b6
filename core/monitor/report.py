"""The daily report: the day's trades, result, drawdown and refusals, as CSV and JSON, and the record that it was delivered (I2).

A day is a day of governance's ``day_boundary_tz`` (X1); what happens at midnight exactly belongs to the new day.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from core.clock import rfc3339
from core.errors import StateError
from core.monitor.reader import StoreReader
from core.monitor.schema import Delivery
from core.monitor.store import Store
from core.monitor.telemetry import TradeStats
from core.types import TradeRecord

SCHEMA = "brain.daily_report/1"


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Result of one strategy or one symbol on the day. Money in USD; ``winrate`` 0..1 without scratches, None without trades."""

    name: str
    trades: int
    net: float
    r: float
    winrate: float | None


@dataclass(frozen=True, slots=True)
class DailyReport:
    """One trading day ``[start_ts, end_ts)``.

    ``net`` is that of the trades closed in the day, made of ``gross`` - ``fees`` + ``funding``; ``equity_change`` that of
    marked equity, so the two differ by what is still open. ``max_dd_pct`` is the largest fall of the recorded equity within
    the day, starting at the last value before it. None: nothing to judge by.
    """

    day: str
    tz: str
    start_ts: int
    end_ts: int
    equity_start: float | None
    equity_end: float | None
    equity_change: float | None
    max_dd_pct: float | None
    trades: int
    wins: int
    losses: int
    scratches: int
    winrate: float | None
    winrate_with_scratches: float | None
    profit_factor: float | None
    gross: float
    fees: float
    funding: float
    net: float
    r: float
    by_strategy: tuple[GroupResult, ...]
    by_symbol: tuple[GroupResult, ...]
    refusals: tuple[tuple[str, int], ...]
    rows: tuple[dict[str, Any], ...]
    """Every field of trade and plan, one mapping a trade, in order of closing."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-like form; times in RFC 3339 UTC, exact numbers as text."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        values |= {
            "start_ts": rfc3339(self.start_ts),
            "end_ts": rfc3339(self.end_ts),
            "by_strategy": [_fields(group) for group in self.by_strategy],
            "by_symbol": [_fields(group) for group in self.by_symbol],
            "refusals": dict(self.refusals),
            "rows": [_json_row(row) for row in self.rows],
        }
        return {"schema": SCHEMA, **values}


def day_bounds(day: date, tz: ZoneInfo) -> tuple[int, int]:
    """First ms of ``day`` and of the next one; 23 or 25 hours apart when clocks change."""
    start, end = (datetime(d.year, d.month, d.day, tzinfo=tz) for d in (day, day + timedelta(days=1)))
    return int(start.timestamp()) * 1000, int(end.timestamp()) * 1000


def day_of(ts: int, tz: ZoneInfo) -> date:
    """Trading day in which ``ts`` lies."""
    return datetime.fromtimestamp(ts / 1000.0, tz).date()


def daily_report(reader: StoreReader, day: date, tz: ZoneInfo) -> DailyReport:
    """The report of ``day`` from what was committed."""
    start, end = day_bounds(day, tz)
    trades = reader.trades(start, end)
    stats = _stats(trades)
    first, last, max_dd_pct = _equity_of(reader, start, end)
    return DailyReport(
        day=day.isoformat(),
        tz=tz.key,
        start_ts=start,
        end_ts=end,
        equity_start=first,
        equity_end=last,
        equity_change=None if first is None or last is None else last - first,
        max_dd_pct=max_dd_pct,
        trades=stats.n,
        wins=stats.wins,
        losses=stats.losses,
        scratches=stats.n - stats.decided,
        winrate=stats.winrate,
        winrate_with_scratches=stats.winrate_with_scratches,
        profit_factor=stats.profit_factor,
        gross=_total(trade.gross for trade in trades),
        fees=_total(trade.fees for trade in trades),
        funding=_total(trade.funding for trade in trades),
        net=_total(trade.net for trade in trades),
        r=stats.sum_r,
        by_strategy=_groups(trades, "strategy"),
        by_symbol=_groups(trades, "symbol"),
        refusals=reader.refusals_by_code(start, end),
        rows=reader.trades_with_plan(start, end),
    )


def deliver(store: Store, report: DailyReport, folder: Path, now_ms: int) -> Delivery:
    """Write ``<folder>/YYYY-MM-DD.csv`` and ``.json`` and record the delivery, to be committed with the store's next commit.

    Raises:
        StateError: the folder cannot be written. Nothing is recorded as delivered then.
    """
    csv_path, json_path = folder / f"{report.day}.csv", folder / f"{report.day}.json"
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store.export_trades(csv_path, report.start_ts, report.end_ts)
        partial = json_path.with_suffix(".json.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(json_path)
        for path in (csv_path, json_path):
            _sync(path)
    except OSError as error:
        raise StateError(
            f"daily report of {report.day} cannot be written to {folder}: {error.strerror or error}",
            help="free some space or choose another folder: brain paper --state DIR",
            code="REPORT-001",
        ) from error
    delivery = Delivery(report.day, now_ms, report.trades, str(csv_path), _sha256(csv_path), str(json_path), _sha256(json_path))
    store.record_delivery(delivery)
    return delivery


def days_due(reader: StoreReader, now_ms: int, tz: ZoneInfo) -> tuple[date, ...]:
    """Days that are over, have equity on record, and were not delivered yet, oldest first."""
    delivered = {str(row[0]) for row in reader.query("SELECT day FROM reports")}
    today = day_of(now_ms, tz)
    days = sorted({day_of(int(row[0]), tz) for row in reader.query("SELECT ts FROM equity ORDER BY ts")})
    return tuple(day for day in days if day < today and day.isoformat() not in delivered)


def _equity_of(reader: StoreReader, start: int, end: int) -> tuple[float | None, float | None, float | None]:
    before = reader.equity_before(start)
    points = [point.equity for point in reader.equity(start, end)]
    values = points if before is None else [before.equity, *points]
    if not values:
        return None, None, None
    peak, max_dd_pct = values[0], 0.0
    for _, value in pairwise(values):
        peak = max(peak, value)
        max_dd_pct = max(max_dd_pct, (peak - value) / peak * 100.0) if peak > 0.0 else max_dd_pct
    return values[0], values[-1], max_dd_pct


def _stats(trades: Iterable[TradeRecord]) -> TradeStats:
    stats = TradeStats()
    for trade in trades:
        stats.add(trade)
    return stats


def _groups(trades: tuple[TradeRecord, ...], name: str) -> tuple[GroupResult, ...]:
    groups = sorted({str(getattr(trade, name)) for trade in trades})
    return tuple(_group(group, [trade for trade in trades if getattr(trade, name) == group]) for group in groups)


def _group(name: str, trades: list[TradeRecord]) -> GroupResult:
    stats = _stats(trades)
    return GroupResult(name, stats.n, _total(trade.net for trade in trades), stats.sum_r, stats.winrate)


def _total(values: Iterable[float]) -> float:
    # in order and plain: sum() rounds differently from Python 3.12 on
    total = 0.0
    for value in values:
        total += value
    return total


def _fields(group: GroupResult) -> dict[str, Any]:
    return {name: getattr(group, name) for name in group.__slots__}


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: rfc3339(value) for name, value in row.items() if name.endswith("_ts") and value is not None}
    if row.get("plan_ts") is not None:
        times["plan_ts"] = rfc3339(row["plan_ts"])
    parts = {
        name: json.loads(row[name]) for name in ("score_parts", "meta", "plan_tps", "plan_trail", "plan_meta") if row.get(name)
    }
    return {**row, **times, **parts}


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
