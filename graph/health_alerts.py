"""Says aloud when a health gate closes and when it opens again (E7); the gates themselves are in :mod:`core.data.health`."""

from __future__ import annotations

from collections.abc import Callable

from core.codes import RefusalCode
from core.monitor.schema import AlertLevel
from core.types import HealthReport

Alert = Callable[[int, AlertLevel, str, str], None]
Gate = tuple[str, RefusalCode]
"""Symbol (empty: the whole system) and the code of the gate that is closed."""


class HealthAlerts:
    """One alert for each gate that changed, none while it stays as it is; a restart does not say it again.

    A gate that pauses the whole system is told once, not again for each symbol.

    Args:
        alert: takes time (ms), level, code and text.
    """

    def __init__(self, alert: Alert) -> None:
        self._alert = alert
        self._seen: tuple[object, object] = ((), ())
        self._closed: tuple[Gate, ...] = ()

    def on_report(self, report: HealthReport) -> None:
        """The verdict of a bar; cheap while it is the same."""
        if (report.paused, report.blocked) == self._seen:
            return
        self._seen = (report.paused, report.blocked)
        before, self._closed = self._closed, _closed_gates(report)
        for symbol, code in self._closed:
            if (symbol, code) not in before:
                name = "blocked" if symbol else "paused"
                self._alert(report.ts, AlertLevel.WARNING, name, f"{symbol} {code.value}: {code.meaning}".lstrip())
        for symbol, code in before:
            if (symbol, code) not in self._closed:
                self._alert(report.ts, AlertLevel.INFO, "unblocked" if symbol else "resumed", f"{symbol} {code.value}".lstrip())

    def snapshot(self) -> list[list[str]]:
        """What was said last, as plain JSON values."""
        return [[symbol, code.value] for symbol, code in self._closed]

    def restore(self, saved: list[list[str]]) -> None:
        """Go on from a :meth:`snapshot`."""
        self._closed = tuple((symbol, RefusalCode(code)) for symbol, code in saved)


def _closed_gates(report: HealthReport) -> tuple[Gate, ...]:
    everywhere = tuple(("", code) for code in report.paused)
    return everywhere + tuple((symbol, code) for symbol, code in report.blocked if code not in report.paused)
