"""Rest after two stops in a row, per strategy (requirement G6, decisions X6, X20).

A stop is a trade whose final exit was a stop and which lost more than a scratch (below -0.15R net); a trailing stop in
profit is a win. A scratch neither counts nor breaks the row; every other trade breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping

from configs.validators import Governance
from core.errors import StateError
from core.types import TradeRecord

STOPS_IN_A_ROW = 2


class Cooldowns:
    """Counts stops and says which strategy rests until when.

    After the second stop in a row the next ``cooldown_after_2_losses`` (3) closes of the strategy's timeframe give no
    entry: it rests from the trade's close until the close after those. Then two new stops are needed.
    """

    def __init__(self, governance: Governance) -> None:
        self._bars = governance.cooldown_after_2_losses
        self._scratch_r = governance.scratch_r
        self._stops: dict[str, int] = {}
        self._until: dict[str, int] = {}

    def on_trade(self, trade: TradeRecord) -> None:
        """Take a closed trade into account."""
        if trade.scratch or abs(trade.r_multiple) <= self._scratch_r:
            return
        if not (trade.stop_exit and trade.r_multiple < 0.0):
            self._stops[trade.strategy] = 0
            return
        stops = self._stops.get(trade.strategy, 0) + 1
        if stops >= STOPS_IN_A_ROW:
            stops = 0
            bar = trade.tf.ms
            until = trade.closed_ts // bar * bar + (self._bars + 1) * bar
            self._until[trade.strategy] = max(until, self._until.get(trade.strategy, 0))
        self._stops[trade.strategy] = stops

    def until(self, strategy: str, ts: int | None = None) -> int | None:
        """Time (ms) from which ``strategy`` may enter again; None when it never rested or, given ``ts``, rests no more."""
        until = self._until.get(strategy)
        return None if until is None or (ts is not None and ts >= until) else until

    def blocked(self, strategy: str, ts: int) -> bool:
        """Whether ``strategy`` rests at ``ts``."""
        return ts < self._until.get(strategy, 0)

    def snapshot(self) -> dict[str, object]:
        """State as plain values, for :meth:`restore`."""
        return {"stops": dict(sorted(self._stops.items())), "until": dict(sorted(self._until.items()))}

    def restore(self, saved: Mapping[str, object]) -> None:
        """Go on from a snapshot.

        Raises:
            StateError: the snapshot is damaged.
        """
        self._stops, self._until = _counts(saved.get("stops")), _counts(saved.get("until"))


def _counts(saved: object) -> dict[str, int]:
    if not isinstance(saved, Mapping):
        raise StateError(f"saved cooldowns were {saved!r}, expected numbers by strategy", help="start without --state")
    return {str(name): int(value) for name, value in saved.items()}
