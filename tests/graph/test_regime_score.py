"""The running score of the regime labels in a whole run: what the dashboard shows is what the bars say (G11, X19)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import SyntheticSource
from core.regime_holdout import Series, fast_panics, held_labels
from core.regime_quality import count_false_switches, macro_f1
from core.regimes import PANIC
from core.types import Timeframe
from graph.assembly import Assembly
from graph.runner import RunOptions
from tests.support.run import configuration, run_over, short_configuration

pytestmark = pytest.mark.untraced

HOURS = 1600
PARAMS = configuration().strategies


def source(**changes: Any) -> SyntheticSource:
    arguments = {"seed": 1001, "bars": HOURS, "base_tf": Timeframe.H1, **changes}
    return SyntheticSource(("BTC/USDT:USDT", "ETH/USDT:USDT"), **arguments)


def kpi(parts: Assembly, name: str) -> float:
    series = parts.metrics.series["brain_kpi"]
    return series.values[series.index("market_regime", name, "all")]


@pytest.mark.slow
async def test_the_score_of_a_run_is_that_of_its_whole_history(tmp_path):
    """G11: false switches and macro-F1 over the run, warm-up apart, as the whole-history labels give them."""
    ran = await run_over(source(), tmp_path)
    made, counts, held = source(), [], []
    for symbol in made.symbols:
        labels = held_labels(made.history(symbol, Timeframe.H1, made.info.end, 1 << 40), Timeframe.H1, PARAMS)
        counts.append(count_false_switches(labels[-HOURS - 1 :]))  # from the label that the run began with
        held.append(labels[-HOURS:])
    false, switches = (sum(column) for column in zip(*counts, strict=True))
    score = ran.parts.regime_score
    assert switches > 20
    assert (score.switches, score.false_switch_ratio) == (switches, false / switches)
    assert score.scored_hours == 2 * HOURS
    true = [made.truth(symbol) for symbol in made.symbols]
    assert score.macro_f1 == macro_f1(np.concatenate(held), np.concatenate(true))
    assert (kpi(ran.parts, "macro_f1"), kpi(ran.parts, "false_switch_ratio")) == (score.macro_f1, score.false_switch_ratio)


@pytest.mark.slow
async def test_a_run_that_was_stopped_and_resumed_has_the_same_score(tmp_path):
    """X43."""
    short, changes = short_configuration(), {"warm_days": 60, "bars": 200}
    whole = await run_over(source(**changes), tmp_path / "whole", config=short)
    await run_over(source(**changes), tmp_path / "cut", config=short, options=RunOptions(until_bars=120))
    cut = await run_over(source(**changes), tmp_path / "cut", config=short)
    assert cut.daemon.resumed_from == 120
    assert cut.parts.regime_score.snapshot() == whole.parts.regime_score.snapshot()


@pytest.mark.slow
async def test_labels_of_a_run_are_those_that_are_measured_also_when_panic_comes_between_hours(tmp_path):
    """X18, X29: on 5m bars through a crash, the label held at each hour is the measured one."""
    changes = {"scenario": Scenario.CRASH, "base_tf": Timeframe.M5, "bars": 400}
    seen: list[list[int]] = []

    def look(event, _state, context) -> None:
        if event.ts % Timeframe.H1.ms == 0:
            seen.append(context.regimes.h1.tolist())

    await run_over(source(**changes), tmp_path, look=look)
    made = source(**changes)
    for index, symbol in enumerate(made.symbols):
        base, hourly = (made.history(symbol, tf, made.info.end, 1 << 40) for tf in (Timeframe.M5, Timeframe.H1))
        fast = fast_panics(Series(symbol, hourly, Timeframe.M5, base, made.info.start), hourly.ts + Timeframe.H1.ms, PARAMS)
        expected = held_labels(hourly, Timeframe.H1, PARAMS, fast)[-len(seen) :]
        assert [row[index] for row in seen] == expected.tolist()
        assert PANIC in expected
