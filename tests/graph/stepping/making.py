"""A small state of the graph, made by hand."""

from __future__ import annotations

from core.codes import RefusalCode
from core.types import Event, EventKind, GovernorView, HealthReport, Refusal, Regime, TradingState
from tools.state import BrainState, Execution, Regimes, Status

SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT")
VIEW = GovernorView(9, TradingState.ACTIVE, 300.0, 300.0, -0.5, 0.0, 310.0, 3.2, False, False, False, False, False, 1, 0.8, 4.0)
STATE: BrainState = {
    "event": Event(EventKind.BAR, 4, 9),
    "status": Status(HealthReport(9, True, None, (), (("ETH/USDT:USDT", RefusalCode.STREAM_BOOK),)), VIEW),
    "regimes": Regimes((Regime.PANIC, Regime.UNKNOWN), (Regime.UNKNOWN, Regime.UNKNOWN)),
    "execution": Execution(("a",), (Refusal(RefusalCode.COST_SHARE, 1, "s", "x", "y", "z", "said", (("bps", 4.0),)),)),
}
