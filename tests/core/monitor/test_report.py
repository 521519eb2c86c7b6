from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from core.codes import RefusalCode
from core.errors import StateError
from core.monitor.report import daily_report, day_bounds, day_of, days_due, deliver
from core.monitor.store import Store
from core.types import Plan, TradeRecord
from tests.core.monitor import making
from tests.core.monitor.making import ETH, HOUR, T0

TZ = ZoneInfo("Europe/Chisinau")
DAY = date(2024, 1, 1)
START = T0 - 2 * HOUR  # midnight in Chisinau in winter


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "brain.sqlite") as opened:
        yield opened


def _fill_day(store: Store) -> None:
    for number, (net, r, scratch) in enumerate([(3.0, 1.2, False), (-2.0, -0.9, False), (0.1, 0.04, True)], start=1):
        store.record_plan(making.plan(number))
        store.record_trade(making.trade(number, net, r, scratch, symbol=ETH if number == 2 else making.BTC))
    store.record_trade(making.trade(4, 9.0, 3.0, closed_ts=START - 1))
    store.record_trade(making.trade(5, 9.0, 3.0, closed_ts=START + 24 * HOUR))
    for hour, equity in ((-1, 300.0), (0, 303.0), (8, 297.0), (21, 301.0), (22, 250.0)):
        store.record_equity(START + (hour + 2) * HOUR, equity, 0.0)
    store.record_refusal(making.refusal())
    store.record_refusal(making.refusal(RefusalCode.SCORE_LOW, T0 + HOUR))
    store.record_refusal(making.refusal(RefusalCode.DAY_LOCK, START + 24 * HOUR))
    store.commit()


def test_a_day_is_as_long_as_the_clock_says() -> None:
    """X1: a day of governance's zone, over DST."""
    lengths = {
        day: (end - start) // HOUR
        for day in ((2024, 1, 1), (2024, 3, 31), (2024, 10, 27))
        for start, end in [day_bounds(date(*day), TZ)]
    }
    assert lengths == {(2024, 1, 1): 24, (2024, 3, 31): 23, (2024, 10, 27): 25}
    assert day_bounds(DAY, TZ)[0] == START
    assert (day_of(START, TZ), day_of(START - 1, TZ)) == (DAY, date(2023, 12, 31))


def test_the_report_holds_the_day_and_only_the_day(store: Store) -> None:
    """I2: consolidated trades, PnL, drawdown, win rate, refusals by code."""
    _fill_day(store)
    report = daily_report(store, DAY, TZ)
    assert (report.trades, report.wins, report.losses, report.scratches) == (3, 1, 1, 1)
    assert (report.winrate, report.winrate_with_scratches) == (0.5, pytest.approx(2 / 3))
    assert report.net == pytest.approx(1.1)
    assert report.net == pytest.approx(report.gross - report.fees + report.funding)
    assert report.r == pytest.approx(0.34)
    assert report.profit_factor == pytest.approx(3.1 / 2.0)
    assert (report.equity_start, report.equity_end, report.equity_change) == (300.0, 301.0, 1.0)
    assert report.max_dd_pct == pytest.approx(6 / 303 * 100)
    assert report.refusals == (("COST_SHARE", 1), ("SCORE_LOW", 1))
    assert [(group.name, group.trades, group.net) for group in report.by_symbol] == [(making.BTC, 2, 3.1), (ETH, 1, -2.0)]


def test_a_day_without_anything_is_not_judged(store: Store) -> None:
    report = daily_report(store, DAY, TZ)
    assert (report.trades, report.net, report.winrate, report.max_dd_pct, report.equity_change) == (0, 0.0, None, None, None)
    assert json.loads(json.dumps(report.to_dict()))["rows"] == []


def test_a_delivered_report_lies_in_the_folder_and_the_delivery_on_record(store: Store, tmp_path: Path) -> None:
    """I2: CSV and JSON, delivered, and the delivery recorded."""
    _fill_day(store)
    delivery = deliver(store, daily_report(store, DAY, TZ), tmp_path / "reports", now_ms=T0 + 30 * HOUR)
    store.commit()
    csv_path, json_path = tmp_path / "reports" / "2024-01-01.csv", tmp_path / "reports" / "2024-01-01.json"
    assert sorted((tmp_path / "reports").iterdir()) == [csv_path, json_path]
    assert store.query("SELECT day, ts, trades, csv_path, json_sha256 FROM reports") == [
        ("2024-01-01", T0 + 30 * HOUR, 3, str(csv_path), hashlib.sha256(json_path.read_bytes()).hexdigest())
    ]
    assert delivery.csv_sha256 == hashlib.sha256(csv_path.read_bytes()).hexdigest()
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["t1", "t2", "t3"]
    assert set(rows[0]) == set(TradeRecord.__struct_fields__) | {
        f"plan_{name}" for name in Plan.__struct_fields__ if name != "id"
    }
    data = json.loads(json_path.read_text())
    assert (data["schema"], data["day"], data["tz"]) == ("brain.daily_report/1", "2024-01-01", "Europe/Chisinau")
    assert data["start_ts"] == "2023-12-31T22:00:00.000Z"
    assert data["rows"][0]["closed_ts"] == "2024-01-01T01:00:00.000Z"
    assert data["rows"][0]["plan_tps"][0]["price"] == "42500.0"
    assert data["rows"][0]["score_parts"][0]["name"] == "regime"
    assert data["refusals"] == {"COST_SHARE": 1, "SCORE_LOW": 1}


def test_days_are_due_once_they_are_over_and_until_they_are_delivered(store: Store, tmp_path: Path) -> None:
    _fill_day(store)
    noon = START + 36 * HOUR
    assert days_due(store, noon, TZ) == (DAY,)
    deliver(store, daily_report(store, DAY, TZ), tmp_path / "reports", noon)
    store.commit()
    assert days_due(store, noon, TZ) == ()
    assert days_due(store, noon + 24 * HOUR, TZ) == (date(2024, 1, 2),)


def test_a_report_that_cannot_be_written_is_not_delivered(store: Store, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(StateError, match="cannot be"):
        deliver(store, daily_report(store, DAY, TZ), tmp_path / "reports", T0)
    store.commit()
    assert store.count("reports") == 0
