"""The rows of the table: what is measured, what must hold, what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import Measured


@dataclass(frozen=True, slots=True)
class Target:
    """One row. ``at_most``: less is better; ``unit`` stands behind the numbers; without ``must`` it is only reported."""

    name: str
    measure: str
    unit: str
    at_most: bool
    must: float | None
    aim: float

    def holds(self, value: float, limit: float) -> bool:
        """Whether ``value`` is as good as ``limit``."""
        return value <= limit if self.at_most else value >= limit

    def verdict(self, measured: Measured) -> str:
        """What the median means: ``aim``, ``must`` or ``missed``."""
        value = measured.spread.median
        if self.holds(value, self.aim):
            return "aim"
        if self.must is None:
            return "reported"
        return "must" if self.holds(value, self.must) else "missed"


TARGETS: tuple[Target, ...] = (
    Target("features", "feature update, 50 symbols, one 5m bar, against a TA-Lib recompute of 2000 bars", "×", True, 0.1, 0.03),
    Target("decision_p50", "bar to decided plan, compiled graph, 50 symbols, p50 against the bare graph", "×", True, 3.0, 1.5),
    Target("decision_p99", "the same, p99", "ms", True, 15.0, 5.0),
    Target("plan_p99", "one plan by the risk engine, p99", "ms", True, 0.5, 0.1),
    Target("core", "our minimal event core against its plain-Python peer", "×", False, 0.7, 0.7),
    Target(
        "replay_1", "direct replay with node hashes, 1 symbol, symbol-bars/s against the minimal core", "×", False, 0.015, 0.06
    ),
    Target("replay_20", "the same, 20 symbols", "×", False, 0.12, 0.3),
    Target("memory_growth", "memory of the daemon, growth between 100,000 and 500,000 symbol-bars", "MB", True, 10.0, 1.0),
    Target("memory_peak", "memory of the daemon, peak", "MB", True, 600.0, 400.0),
    Target("journal_latency", "bar latency with journal, compiled graph, 3 symbols, p50 against without", "×", True, 1.1, 1.02),
    Target("journal_bytes_1", "journal of a year after compression, 1 symbol, a symbol-bar", "bytes", True, 400.0, 200.0),
    Target("journal_bytes_20", "the same, 20 symbols, half a year", "bytes", True, 120.0, 60.0),
    Target("journal_replay", "replay from the journal, every node compared, against the original run", "×", True, 1.2, 0.8),
    Target("journal_open", "open a session of a year and stand at any bar", "s", True, 5.0, 0.5),
    Target("live_written", "final candle read from the socket to order bytes written, 10 symbols, p99", "ms", True, 100.0, 20.0),
    Target("live_accepted", "the same, to accepted by the local exchange", "ms", True, None, 30.0),
    Target(
        "order_submit", "an order submitted with its record on the disk, p50 against bare ccxt create_order", "×", True, 2.5, 1.5
    ),
    Target("order_burst", "ten orders at once, added wait against ccxt's default limiter", "×", True, 0.05, 0.01),
    Target("live_restart", "restart with 20 open orders and 5 positions until it trades, loopback", "s", True, 5.0, 1.0),
)

BY_NAME = {target.name: target for target in TARGETS}
