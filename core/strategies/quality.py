"""Selection tightens when it wins too rarely (requirement G11, decision X24).

Over the last 50 decided trades (scratches excluded, X6): below 50 % wins the score threshold rises from 7 to 8 and research
is asked for, once; above 52 % it falls back. Until the window is full nothing changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from configs.validators import Governance
from core.errors import StateError
from core.types import TradeRecord


@dataclass(frozen=True, slots=True)
class ResearchRequest:
    """The selection has just tightened: research should look for something better."""

    ts: int
    win_rate_pct: float
    trades: int
    threshold: float
    note: str


class SelectionQuality:
    """Win rate of the selection and the threshold that follows from it."""

    def __init__(self, governance: Governance) -> None:
        self._normal = governance.score_threshold
        self._tight_threshold = governance.score_threshold_tight
        self._tighten_below = governance.tighten_below_winrate_pct
        self._ends_above = governance.tighten_ends_above_winrate_pct
        self._scratch_r = governance.scratch_r
        self._wins: deque[bool] = deque(maxlen=governance.tighten_window_trades)
        self._tight = False

    @property
    def threshold(self) -> float:
        """Setup score that a signal needs now."""
        return self._tight_threshold if self._tight else self._normal

    @property
    def tight(self) -> bool:
        """Whether the raised threshold applies."""
        return self._tight

    @property
    def decided(self) -> int:
        """Decided trades in the window."""
        return len(self._wins)

    @property
    def win_rate_pct(self) -> float | None:
        """Wins among the decided trades in the window, percent; None before the first."""
        return 100.0 * sum(self._wins) / len(self._wins) if self._wins else None

    def on_trade(self, trade: TradeRecord) -> ResearchRequest | None:
        """Take a closed trade into account; a request comes back when this trade tightened the selection."""
        if trade.scratch or abs(trade.r_multiple) <= self._scratch_r:
            return None
        self._wins.append(trade.r_multiple > 0.0)
        rate = self.win_rate_pct
        if rate is None or len(self._wins) != self._wins.maxlen:
            return None
        if self._tight:
            self._tight = rate <= self._ends_above
            return None
        if rate >= self._tighten_below:
            return None
        self._tight = True
        return ResearchRequest(trade.closed_ts, rate, len(self._wins), self.threshold, self._note(rate))

    def _note(self, rate: float) -> str:
        return (
            f"{rate:.1f} % of the last {len(self._wins)} decided trades won, below {self._tighten_below:g} %: "
            f"the score threshold is {self.threshold:g} until more than {self._ends_above:g} % win"
        )

    def snapshot(self) -> dict[str, object]:
        """State as plain values, for :meth:`restore`."""
        return {"wins": list(self._wins), "tight": self._tight}

    def restore(self, saved: Mapping[str, object]) -> None:
        """Go on from a snapshot.

        Raises:
            StateError: the snapshot is damaged.
        """
        wins, tight = saved.get("wins"), saved.get("tight")
        if not isinstance(wins, list) or not isinstance(tight, bool):
            raise StateError(f"saved selection quality was {saved!r}, expected wins and tight", help="start without --state")
        self._wins.clear()
        self._wins.extend(bool(win) for win in wins)
        self._tight = tight
