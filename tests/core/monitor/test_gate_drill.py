"""Every health gate is proven to fire and to let go (E7, J5)."""

from __future__ import annotations

import pytest

from core.codes import RefusalCode
from core.data import health
from core.monitor.gate_drill import GATES, drill

STREAMS = ("candles", "funding")


def test_every_gate_of_the_monitor_fires_and_lets_go() -> None:
    drilled = drill(1_500, STREAMS)
    assert [result.gate for result in drilled] == list(GATES)
    assert [result.gate.value for result in drilled if not result.proven] == []


def test_the_drill_knows_every_gate_that_the_monitor_has() -> None:
    """A new gate of a symbol must be drilled too."""
    assert {*health._GATES, RefusalCode.CLOCK_DRIFT, RefusalCode.JOURNAL_LOST} == set(GATES)


@pytest.mark.parametrize(("kept", "silent"), [(("candles",), "STREAM_FUNDING"), (("funding",), "STREAM_CANDLES")])
def test_a_gate_that_governance_does_not_ask_for_is_not_proven(kept: tuple[str, ...], silent: str) -> None:
    assert [result.gate.value for result in drill(1_500, kept) if not result.proven] == [silent]


def test_a_gate_that_lets_everything_pass_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drill goes through the monitor itself, so that a fault there shows."""
    monkeypatch.setattr(health.HealthMonitor, "on_trouble", lambda *_: None)
    (result,) = [result for result in drill(1_500, STREAMS) if result.gate is RefusalCode.CANDLE_INTEGRITY]
    assert (result.opened, result.closed, result.proven) == (True, False, False)
