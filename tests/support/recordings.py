"""A small folder of recordings for replays, cut from the made market, so that no test needs data from elsewhere."""

from __future__ import annotations

from pathlib import Path

from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import DEFAULT_START_MS, SyntheticSource
from core.types import Timeframe
from tests.core.data.making import DAY, write, write_funding

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def record(folder: Path, *, days: int = 4, scenario: Scenario = Scenario.CRASH, seed: int = 1) -> Path:
    """5m candles of BTC and ETH over the days of warm-up and ``days`` days from 2026-01-05 on, funding, no spot."""
    end = DEFAULT_START_MS + days * DAY
    source = SyntheticSource((BTC, ETH), seed=seed, scenario=scenario, bars=days * DAY // Timeframe.M5.ms)
    for symbol, name in ((BTC, "BTCUSDT"), (ETH, "ETHUSDT")):
        write(folder / "perp_5m", name, source.history(symbol, Timeframe.M5, end, 10**6))
        settled = source.funding_history(symbol, end, 10**6)
        write_funding(folder, name, [rate.ts for rate in settled], [rate.rate for rate in settled])
    return folder
