"""Markets over which two runs must be equal; importable, so that a process of its own can run them too."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from core.canonical import encode
from core.data.sources.replay import ReplaySource
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import SyntheticSource
from graph.engines import EngineKind
from graph.parse import parse_time
from tests.support.run import Ran, configuration, run_over, short_configuration

BTC, ETH, SOL = "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"


def synthetic(folder: Path, engine: EngineKind, bars: int = 650) -> Ran:
    """A made market in which every one of the agents has work: signals, refusals, trades."""
    source = SyntheticSource((BTC, SOL), bars=bars, scenario=Scenario.MIXED, warm_days=60, seed=7)
    return asyncio.run(run_over(source, folder, engine=engine, config=short_configuration()))


def march_2024(data: Path, folder: Path, engine: EngineKind) -> Ran:
    """Seven real days with a panic: BTC and SOL on 5 minutes, ETH on 15; 2,016 announcements."""
    source = ReplaySource(data, [BTC, SOL, ETH], parse_time("2024-03-01"), parse_time("2024-03-08"))
    return asyncio.run(run_over(source, folder, engine=engine, config=configuration()))


def as_bytes(ran: Ran) -> list[dict[str, bytes]]:
    """Canonical bytes of every value of every state."""
    return [{key: encode(value) for key, value in state.items()} for state in ran.states]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(synthetic(Path(name), EngineKind(sys.argv[1])).decisions_hash)
