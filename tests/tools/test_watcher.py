"""A stepper can see every tool call; a run that nobody watches knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.sources.synthetic import SyntheticSource
from core.errors import DataError
from core.types import Event, EventKind, ToolState
from tests.support.run import assembled
from tools.toolkit import Toolkit
from tools.tools_market_regime_agent.feature_loader import feature_loader
from tools.tools_strategy_selection_agent.enable_map_loader import enable_map_loader
from tools.trace import ToolCall


def test_a_watcher_is_told_of_each_call_with_its_capability_latency_and_result(tmp_path: Path) -> None:
    parts = assembled(SyntheticSource(("BTC/USDT:USDT",), bars=10, warm_days=1), tmp_path)
    seen: list[ToolCall] = []
    parts.context.trace.watcher = seen.append
    chooser = Toolkit("strategy_selection", ("enable_map_loader",), parts.context)
    found = chooser.call(enable_map_loader)
    loader = Toolkit("market_regime", ("feature_loader",), parts.context)
    event = Event(EventKind.BAR, 0, 1)
    with pytest.raises(DataError) as caught:
        loader.call(feature_loader, event)
    parts.context.trace.watcher = None
    Toolkit("strategy_selection", ("enable_map_loader",), parts.context).call(enable_map_loader)
    parts.store.close()
    first, second = seen
    assert (first.agent, first.tool, first.capability) == ("strategy_selection", "enable_map_loader", "load_enable_map")
    assert (first.state, first.arguments) == (ToolState.OK, ())
    assert first.result is found
    assert first.latency_ns > 0
    assert (second.state, second.arguments, second.result) == (ToolState.ERROR, (event,), caught.value)
