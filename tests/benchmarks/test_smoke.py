"""The benchmark command runs and says finite numbers; how good they are is not a test's affair (issue section 8)."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks import __main__ as command
from benchmarks.measure import Measured, Spread, parts, percentile
from benchmarks.minimal_core import Kind, MinimalCore, Row
from benchmarks.report import as_page, as_text
from benchmarks.targets import BY_NAME, TARGETS

pytestmark = pytest.mark.untraced

ROWS_OF = {
    "features": ["features"],
    "decision": ["decision_p50", "decision_p99"],
    "plan": ["plan_p99"],
    "replay_1": ["replay_1"],
    "replay_20": ["replay_20"],
    "memory": ["memory_growth", "memory_peak"],
    "journal_latency": ["journal_latency"],
    "journal_year": ["journal_bytes_1", "journal_open"],
    "journal_20": ["journal_bytes_20"],
    "journal_replay": ["journal_replay"],
    "live_latency": ["live_written", "live_accepted"],
    "orders": ["order_submit", "order_burst"],
    "live_restart": ["live_restart"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS_OF)
def test_a_benchmark_runs_in_small_and_gives_finite_numbers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quick", "--json", "--only", name]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "brain.bench/1"
    assert [row["name"] for row in answer["rows"]] == ROWS_OF[name]
    for row in answer["rows"]:
        assert all(math.isfinite(row[key]) for key in ("median", "min", "max"))
        assert row["min"] <= row["median"] <= row["max"]


def test_the_yardstick_is_skipped_where_its_peer_is_absent(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRAIN_BENCH_PEERS", str(tmp_path))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert command.main(["--quick", "--json", "--only", "core"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rows"] == []
    assert "skipped" in captured.err


def test_every_row_is_measured_by_a_benchmark_of_the_command() -> None:
    measured = [row for rows in ROWS_OF.values() for row in rows]
    assert sorted([*measured, "core"]) == sorted(target.name for target in TARGETS)
    assert sorted([*ROWS_OF, "core"]) == sorted(command.BENCHMARKS)


def test_the_page_is_written_from_whole_runs_only(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--write", "--quick"], ["--write", "--only", "plan"]):
        with pytest.raises(SystemExit) as stopped:
            command.main(flags)
        assert stopped.value.code == 2
    assert "whole table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "value", "verdict"),
    [
        ("features", 0.03, "aim"),
        ("features", 0.031, "must"),
        ("features", 0.11, "missed"),
        ("replay_1", 0.06, "aim"),
        ("replay_1", 0.015, "must"),
        ("replay_1", 0.014, "missed"),
        ("live_accepted", 30.0, "aim"),
        ("live_accepted", 31.0, "reported"),
    ],
)
def test_a_verdict_follows_the_median_and_the_direction_of_the_row(row: str, value: float, verdict: str) -> None:
    assert BY_NAME[row].verdict(Measured(row, Spread(value, 0.0, 9.0, 3), "")) == verdict


def test_the_page_holds_each_row_with_its_range_and_no_date() -> None:
    found = [Measured(target.name, Spread.of([target.aim, 2 * target.aim, target.aim]), "n | m") for target in reversed(TARGETS)]
    page = as_page(found)
    for target in TARGETS:
        assert f"| {target.measure} |" in page
    assert page.index(TARGETS[0].measure) < page.index(TARGETS[-1].measure), "rows stand in the order of the table"
    assert "n \\| m" in page
    assert all(target.measure in as_text(found) for target in TARGETS)


def test_parts_are_whole_in_order_and_never_empty() -> None:
    assert [list(part) for part in parts([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4, 5]]
    assert [list(part) for part in parts([1, 2], 5)] == [[1], [2]]


def test_a_percentile_is_the_nearest_rank() -> None:
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], 0.5) == 3.0
    assert percentile([1.0, 2.0], 0.99) == 2.0


# --- the yardstick is a real trader, worked by hand -----------------------------------------------------------------------


def _core_after(rows: list[Row]) -> MinimalCore:
    core = MinimalCore(cash=1000.0)
    for row in rows:
        core.on_row(row)
    return core


_QUIET: list[Row] = [(k, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(20)]
_BREAKOUT: Row = (20, 100.0, 102.0, 100.0, 102.0, 1.0)


def test_the_minimal_core_buys_a_breakout_at_the_next_open_with_a_stop_of_one_and_a_half_atr() -> None:
    # every true range so far is 2, so ATR is 2 and the stop distance 3
    core = _core_after([*_QUIET, _BREAKOUT, (21, 103.0, 104.0, 102.5, 103.0, 1.0)])
    account = core.account
    price = 103.0 * 1.0005
    assert account.entry_price == pytest.approx(price)
    assert account.position == pytest.approx(1000.0 * 0.008 / 3.0)
    assert account.stop is not None
    assert account.stop.kind is Kind.STOP
    assert account.stop.trigger == pytest.approx(max(price - 3.0, 103.0 - 3.0))
    assert account.cash == pytest.approx(1000.0 - 0.0005 * account.position * price)


def test_the_minimal_core_is_stopped_out_at_the_open_when_the_bar_gaps_through() -> None:
    core = _core_after([*_QUIET, _BREAKOUT, (21, 103.0, 104.0, 102.5, 103.0, 1.0), (22, 95.0, 96.0, 94.0, 95.0, 1.0)])
    account = core.account
    qty, bought, sold = 1000.0 * 0.008 / 3.0, 103.0 * 1.0005, 95.0 * 0.9995
    assert account.position == 0.0
    assert account.trades == 1
    assert account.cash == pytest.approx(1000.0 + qty * (sold - bought) - 0.0005 * qty * (bought + sold))
