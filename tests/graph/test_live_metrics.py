"""What the run knows reaches the metrics and the answer: issues of the feed, lost records, modelled books (B5, G11)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from core.data.quality import Issue
from graph.live_metrics import LiveMetrics
from tests.agents.making import ETH, breaking_out, play
from tests.support.run import Ran


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder: Path = tmp_path_factory.mktemp("run")
    return play(folder, ETH=breaking_out().climb(2))


def live(ran: Ran) -> LiveMetrics:
    parts = ran.parts
    return LiveMetrics(parts.context, parts.metrics, parts.telemetry, parts.regime_score, has_books=False)


def value(ran: Ran, name: str, *labels: str) -> float:
    series = ran.parts.metrics.series[name]
    return series.values[series.index(*labels)]


def test_issues_of_the_feed_reach_the_metrics_and_the_answer(ran: Ran) -> None:
    """B5."""
    assert ran.result.data_issues == {}
    counters = ran.context.market.feed.counters
    saved = counters.snapshot()
    counters.add(ETH, Issue.GAP, 2)
    live(ran).sync(0.1)
    counters.restore(saved)
    assert value(ran, "brain_data_issues_total", ETH, "gap") == 2.0
    assert value(ran, "brain_data_issues_total", ETH, "duplicate") == 0.0
    assert ran.parts.telemetry.result().data_issues == {"gap": 2}


def test_lost_records_are_those_that_their_writer_counts(ran: Ran) -> None:
    """G8, G11."""
    made = live(ran)
    made.sync(0.1)
    assert value(ran, "brain_records_lost_total") == 0.0
    made.records_lost = lambda: 3
    made.sync(0.1)
    assert value(ran, "brain_records_lost_total") == 3.0
    assert value(ran, "brain_kpi", "monitor", "records_lost", "all") == 3.0


def test_a_run_over_modelled_books_says_so_and_judges_no_slippage(ran: Ran) -> None:
    """X31: the ladder's source has no books."""
    assert ran.result.books == "modelled"
    assert ran.result.to_dict()["books"] == "modelled"
    assert value(ran, "brain_kpi_cases", "execution", "slippage", ETH) >= 1.0
    assert math.isnan(value(ran, "brain_kpi", "execution", "slippage", ETH))


def test_one_trade_is_no_win_rate(ran: Ran) -> None:
    """G11."""
    assert value(ran, "brain_kpi_cases", "strategy_selection", "winrate", "all") < 30
    assert math.isnan(value(ran, "brain_kpi", "strategy_selection", "winrate", "all"))
