"""Hourly spot closes that do not come are told once, until they come again (B8)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.data.blocks import Closed, ClosedBlock
from core.data.sources.synthetic import SyntheticSource
from core.monitor.reader import StoreReader
from core.monitor.schema import AlertLevel
from core.sim.server.faults import Fault, FaultKind
from core.types import Timeframe
from graph.session_dir import SessionDir
from graph.spot_alerts import SpotAlerts
from tests.agents.making import BTC, ETH
from tests.graph.live.kit import Stand, trade
from tests.support.simulation.clocks import EPOCH_MS

HOUR = Timeframe.H1.ms
NAN = float("nan")


def needing(name: str, *features: str) -> Any:
    return SimpleNamespace(name=name, required=features)


class Told:
    """What was said; ``basis`` is what the features have of BTC and ETH."""

    def __init__(self, *strategies: Any, has_spot: tuple[str, ...] = (BTC, ETH)) -> None:
        self.said: list[tuple[AlertLevel, str, str]] = []
        self.basis = np.array([0.001, 0.001])
        self.alerts = self.made(strategies, has_spot)

    def made(self, strategies: tuple[Any, ...] = (), has_spot: tuple[str, ...] = (BTC, ETH)) -> SpotAlerts:
        spot = dict.fromkeys(has_spot, True)
        return SpotAlerts((BTC, ETH), spot, {"basis": self.basis}, strategies, lambda ts, *said: self.said.append(said))

    def hour(self, btc: float, eth: float, ts: int = HOUR, closed: tuple[int, ...] = (0, 1)) -> list[tuple[AlertLevel, str, str]]:
        self.basis[:] = btc, eth
        one = np.zeros(len(closed))
        block = ClosedBlock(Timeframe.H1, ts, np.array(closed), one, one, one, one, one, np.zeros(len(closed), dtype=np.uint8))
        self.said.clear()
        self.alerts.on_closed(Closed(ts, (block,) if closed else ()))
        return list(self.said)


def test_what_does_not_come_is_told_once_with_who_abstains_and_again_when_it_comes() -> None:
    told = Told(needing("breakout_4h", "close@4h"), needing("funding_rev", "funding", "basis"))
    assert told.hour(0.001, 0.002) == []
    text = f"no spot close of the hour for {BTC}, so no basis"
    text += "; what needs it (funding_rev) abstains there until closes come again"
    assert told.hour(NAN, 0.002) == [(AlertLevel.WARNING, "spot_missing", text)]
    assert told.hour(NAN, 0.002) == []
    ((_, _, other),) = told.hour(NAN, NAN)
    assert other.startswith(f"no spot close of the hour for {ETH},")
    assert told.hour(0.001, 0.002) == [(AlertLevel.INFO, "spot_back", f"spot closes of {BTC}, {ETH} come again")]
    assert told.hour(0.001, 0.002) == []


def test_between_hours_and_for_who_has_no_spot_market_or_no_candle_nothing_is_said() -> None:
    told = Told(has_spot=(BTC,))
    assert told.hour(0.001, NAN) == []
    assert told.hour(NAN, NAN, HOUR + 300_000) == []
    assert told.hour(NAN, NAN, closed=(1,)) == []
    assert told.hour(NAN, NAN, closed=()) == []
    assert told.hour(NAN, NAN) == [(AlertLevel.WARNING, "spot_missing", f"no spot close of the hour for {BTC}, so no basis")]
    assert told.hour(0.001, NAN, closed=(1,)) == []  # nobody knows: its own hour has not closed


def test_a_restart_does_not_say_it_again() -> None:
    told = Told()
    told.hour(NAN, 0.001)
    saved, told.alerts = told.alerts.snapshot(), told.made()
    told.alerts.restore(saved)
    assert told.hour(NAN, 0.001) == []
    assert [code for _, code, _ in told.hour(0.001, 0.001)] == ["spot_back"]


@pytest.mark.slow
def test_a_spot_host_that_takes_connections_and_answers_nothing_is_told_once_by_the_whole_daemon() -> None:
    """Nothing breaks then, so nothing but the missing basis shows it; entries that need none go on."""
    told: list[tuple[str, int]] = []

    async def story(stand: Stand) -> None:
        server = stand.venue.server

        def hang() -> None:
            server.inject(Fault(FaultKind.MISSING_FINAL, stream="spot/btcusdt@kline_1h", times=0))
            server.inject(Fault(FaultKind.HANG, path="/api/v3/klines", times=0, delay_ms=10_000))

        stand.world.at(1.5 * 3_600.0, hang)
        stand.world.at(3.5 * 3_600.0, server.clear_faults)
        await stand.run()
        with StoreReader(SessionDir.at(stand.session).database) as reader:
            alerts = reader.query("SELECT code, ts FROM alerts WHERE code LIKE 'spot_%' ORDER BY ts")
        told.extend((code, ts - EPOCH_MS) for code, ts in alerts)

    source = SyntheticSource((BTC,), seed=5, start=EPOCH_MS, bars=8, base_tf=Timeframe.H1, warm_days=4)
    trade(source, story, bars=5)
    assert told == [("spot_missing", 2 * HOUR), ("spot_back", 4 * HOUR)]
