from __future__ import annotations

import csv
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.errors import StateError
from core.monitor.metrics import METRICS, MetricLabels, Metrics
from core.monitor.telemetry import Telemetry
from core.types import Timeframe
from dashboards.exporter import dump_csv, dump_prometheus

BTC = "BTC/USDT:USDT"


@pytest.fixture
def metrics() -> Metrics:
    labels = MetricLabels((("brain", "edge_recorder"),), (("brain", "market_regime"),), (BTC,), ("breakout_4h",), (Timeframe.M5,))
    made = Metrics(labels, Telemetry((BTC,), ("breakout_4h",), 1.1), 3.5)
    made.telemetry.on_bars(1)
    made.telemetry.on_equity(300.1)
    made.decision_latency.observe(0.002)
    return made


def test_the_text_dump_is_what_a_scrape_would_give(metrics: Metrics) -> None:
    """I4b."""
    families = {family.name: family for family in text_string_to_metric_families(dump_prometheus(metrics.collector()))}
    assert len(families) == len(METRICS)
    assert families["brain_equity_usd"].samples[0].value == 300.1
    assert families["brain_bars_processed"].samples[0].value == 1


def test_the_csv_dump_holds_the_same_samples_as_the_text(metrics: Metrics, tmp_path: Path) -> None:
    """I4b."""
    path = dump_csv(metrics.collector(), tmp_path / "out" / "metrics.csv")
    with path.open(newline="") as file:
        rows = {(row["sample"], row["labels"]): row["value"] for row in csv.DictReader(file)}
    text = {
        (sample.name, ";".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): repr(sample.value)
        for family in text_string_to_metric_families(dump_prometheus(metrics.collector()))
        for sample in family.samples
    }
    assert rows == text
    assert rows["brain_equity_usd", ""] == "300.1"
    assert rows["agent_edge_state", "dst=market_regime;src=brain"] == "0.0"


def test_a_dump_that_cannot_be_written_is_said(metrics: Metrics, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be written"):
        dump_csv(metrics.collector(), tmp_path / "file" / "metrics.csv")
