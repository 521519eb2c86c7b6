"""Says once, not on every bar, what stays the same: that a strategy cannot speak about a symbol, that an add is refused."""

from __future__ import annotations

from collections.abc import Iterable

from core.codes import RefusalCode
from core.data.blocks import BarFlag
from core.exec.instrument import market_id
from core.strategies.base import Abstention
from core.types import Meta, Refusal

STAGE = "strategy_selection"


class AbstentionLog:
    """Turns the abstentions of one strategy on one bar into refusals, where they are news.

    A symbol is reported when it falls silent or its code changes; speaking again clears it. An entry that was lost to a
    flagged bar (X44) is reported each time.
    """

    def __init__(self) -> None:
        self._silent: dict[tuple[str, str], str] = {}

    @property
    def any_silent(self) -> bool:
        """Whether anything is held back as said already."""
        return bool(self._silent)

    def news(self, strategy: str, ts: int, judged: Iterable[str], abstaining: tuple[Abstention, ...]) -> list[Refusal]:
        """Refusals for ``abstaining`` that are news; ``judged`` are all symbols the strategy looked at now."""
        # A flagged bar passes with the bar: it does not make a strategy silent, but what it cost is said each time.
        flagged = [item for item in abstaining if item.code is RefusalCode.BAR_FLAGGED]
        now = {(strategy, item.symbol): item for item in abstaining if item.code is not RefusalCode.BAR_FLAGGED}
        if self._silent:
            for symbol in judged:
                if (strategy, symbol) not in now:
                    self._silent.pop((strategy, symbol), None)
        told = [item for key, item in now.items() if self.is_news(*key, item.code)]
        return [_refusal(strategy, ts, item) for item in (*told, *flagged)]

    def is_news(self, kind: str, ref: str, code: RefusalCode) -> bool:
        """Whether ``code`` for ``ref`` differs from what was said last; what is news now is not news next time."""
        if self._silent.get((kind, ref)) == code.value:
            return False
        self._silent[(kind, ref)] = code.value
        return True

    def forget(self, kind: str, ref: str) -> None:
        """``ref`` is over."""
        self._silent.pop((kind, ref), None)

    def snapshot(self) -> list[list[str]]:
        """Who is silent and why, for :meth:`restore`."""
        return [[strategy, symbol, code] for (strategy, symbol), code in self._silent.items()]

    def restore(self, saved: list[list[str]]) -> None:
        """Go on from a snapshot."""
        self._silent = {(strategy, symbol): code for strategy, symbol, code in saved}


def _refusal(strategy: str, ts: int, item: Abstention) -> Refusal:
    detail: Meta
    if item.side is None:
        missing = ", ".join(item.missing)
        message = f"{strategy} abstains on {item.symbol}: {item.code.meaning} (missing: {missing})"
        detail = (("missing", missing),)
    else:
        flags = ", ".join(flag.name.lower() for flag in BarFlag if flag in item.flags and flag.name)
        message = f"{strategy} {item.side.value} {item.symbol}: {item.code.meaning} (bar: {flags})"
        detail = (("side", item.side.value), ("flags", flags))
    return Refusal(item.code, ts, STAGE, item.symbol, strategy, f"{ts}-{strategy}-{market_id(item.symbol)}", message, detail)
