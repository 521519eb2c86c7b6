"""A gate that closes or opens is told once (E7)."""

from __future__ import annotations

from core.codes import RefusalCode
from core.monitor.schema import AlertLevel
from core.types import HealthReport
from graph.health_alerts import HealthAlerts

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
CLOCK, BOOK, FUNDING = RefusalCode.CLOCK_DRIFT, RefusalCode.STREAM_BOOK, RefusalCode.STREAM_FUNDING


def report(ts: int, paused: tuple[RefusalCode, ...] = (), blocked: tuple[tuple[str, RefusalCode], ...] = ()) -> HealthReport:
    return HealthReport(ts, not paused, 0.0, paused, blocked)


class Heard:
    def __init__(self) -> None:
        self.said: list[tuple[int, str, str]] = []
        self.levels: list[AlertLevel] = []

    def __call__(self, ts: int, level: AlertLevel, code: str, text: str) -> None:
        self.said.append((ts, code, text.partition(":\x20")[0]))
        self.levels.append(level)


def test_closing_and_opening_are_told_once_each() -> None:
    heard = Heard()
    alerts = HealthAlerts(heard)
    for ts, paused in ((1, ()), (2, (CLOCK,)), (3, (CLOCK,)), (4, ()), (5, ())):
        alerts.on_report(report(ts, paused))
    assert heard.said == [(2, "paused", "CLOCK_DRIFT"), (4, "resumed", "CLOCK_DRIFT")]
    assert heard.levels == [AlertLevel.WARNING, AlertLevel.INFO]


def test_a_pause_of_the_system_is_not_told_again_for_each_symbol() -> None:
    heard = Heard()
    alerts = HealthAlerts(heard)
    alerts.on_report(report(1, (BOOK,), ((BTC, BOOK), (ETH, BOOK))))
    alerts.on_report(report(2, (), ((ETH, BOOK),)))
    alerts.on_report(report(3))
    assert heard.said == [
        (1, "paused", "STREAM_BOOK"),
        (2, "blocked", f"{ETH} STREAM_BOOK"),
        (2, "resumed", "STREAM_BOOK"),
        (3, "unblocked", f"{ETH} STREAM_BOOK"),
    ]


def test_a_restart_says_only_what_is_new() -> None:
    before, after = HealthAlerts(Heard()), Heard()
    before.on_report(report(1, (CLOCK,), ((BTC, FUNDING),)))
    alerts = HealthAlerts(after)
    alerts.restore(before.snapshot())
    alerts.on_report(report(2, (CLOCK,), ((BTC, FUNDING),)))
    assert after.said == []
    alerts.on_report(report(3, (), ((BTC, FUNDING), (ETH, FUNDING))))
    assert after.said == [(3, "blocked", f"{ETH} STREAM_FUNDING"), (3, "resumed", "CLOCK_DRIFT")]
