"""Says aloud when hourly spot closes do not come, and when they come again: a host that hangs breaks nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core.data.blocks import Closed, Floats
from core.monitor.schema import AlertLevel
from core.strategies.base import Strategy
from core.types import Timeframe
from graph.health_alerts import Alert

_BASIS = "basis"


class SpotAlerts:
    """One alert for each symbol whose basis is lost, none while it stays so; a restart does not say it again.

    Nothing is closed by it: whoever needs the basis abstains (B8), and the rest goes on.

    Args:
        symbols: the run's symbols, in order.
        has_spot: those that have a spot market; the start has told of the others.
        features: as the run has them (:attr:`core.data.features.FeatureStore.view`).
        strategies: whoever may need the basis.
        alert: takes time (ms), level, code and text.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        has_spot: Mapping[str, bool],
        features: Mapping[str, Floats],
        strategies: Iterable[Strategy],
        alert: Alert,
    ) -> None:
        self._symbols, self._alert = tuple(symbols), alert
        self._has_spot = [has_spot.get(symbol, False) for symbol in symbols]
        self._features = features
        self._need_it = ", ".join(one.name for one in strategies if _BASIS in one.required)
        self._lost: tuple[str, ...] = ()

    def on_closed(self, closed: Closed) -> None:
        """What closed, after features took it in; says nothing but where an hour ended."""
        if closed.ts % Timeframe.H1.ms:
            return
        hours = [block.idx.tolist() for block in closed.blocks if block.tf is Timeframe.H1]
        known = {self._symbols[who]: self._known(who) for rows in hours for who in rows if self._has_spot[who]}
        news = [symbol for symbol, has_it in known.items() if not has_it and symbol not in self._lost]
        back = [symbol for symbol in self._lost if known.get(symbol)]
        self._lost = (*(symbol for symbol in self._lost if symbol not in back), *news)
        if news:
            follows = f"; what needs it ({self._need_it}) abstains there until closes come again" if self._need_it else ""
            text = f"no spot close of the hour for {', '.join(news)}, so no basis{follows}"
            self._alert(closed.ts, AlertLevel.WARNING, "spot_missing", text)
        if back:
            self._alert(closed.ts, AlertLevel.INFO, "spot_back", f"spot closes of {', '.join(back)} come again")

    def _known(self, who: int) -> bool:
        basis = float(self._features[_BASIS][who])
        return basis == basis  # noqa: PLR0124 - NaN is the only value that differs from itself

    def snapshot(self) -> list[str]:
        """What was said last, as plain JSON values."""
        return list(self._lost)

    def restore(self, saved: Sequence[str]) -> None:
        """Go on from a :meth:`snapshot`."""
        self._lost = tuple(saved)
