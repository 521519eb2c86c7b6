"""A made market for benchmarks: any number of symbols, bars recorded beforehand, a real daemon over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from configs.loader import load
from configs.validators import Configuration
from core.data.blocks import Bars, Batch, FundingRate, PriceAt
from core.data.sources.base import SourceInfo
from core.data.sources.synthetic import SyntheticSource
from core.monitor.logger import LogSettings, configure
from core.monitor.store import Store
from core.types import Timeframe
from graph.assembly import Assembly, assemble
from graph.journaling import open_journal
from graph.session_dir import SessionDir

SEED = 7
EQUITY_USD = 10_000.0
_LIKE = "OP/USDT:USDT"
_QUICK_WARM_DAYS, _QUICK_RANK_BARS = 16, 100
_WARM_DAYS = 200
_SMALL_PLANS = {"per_trade_r_pct_base": 0.3, "min_plan_r_pct": 0.1, "r_cut_pp": 0.0}


def symbols(count: int) -> tuple[str, ...]:
    """Names of ``count`` made-up perpetuals."""
    return tuple(f"MADE{k:02d}/USDT:USDT" for k in range(count))


def configuration(count: int, *, quick: bool, small_plans: bool = False) -> Configuration:
    """The shipped configuration with ``count`` made-up instruments.

    Args:
        count: symbols.
        quick: shorten the longest warm-up.
        small_plans: risk so little on each plan that as many positions as the portfolio may ever hold (five) stand beside
            each other, and plans are decided more often.
    """
    config = load()
    like = config.symbols.by_name()[_LIKE]
    entries = tuple(like.model_copy(update={"symbol": symbol}) for symbol in symbols(count))
    changes: dict[str, object] = {"symbols": config.symbols.model_copy(update={"symbols": entries})}
    if quick:
        regimes = config.strategies.regimes.model_copy(update={"rank_window": _QUICK_RANK_BARS})
        changes["strategies"] = config.strategies.model_copy(update={"regimes": regimes})
    if small_plans:
        changes["governance"] = config.governance.model_copy(update=_SMALL_PLANS)
    return config.model_copy(update=changes)


def synthetic(count: int, bars: int, *, quick: bool) -> SyntheticSource:
    """A market of ``count`` symbols and ``bars`` announcements of 5m bars; ``quick``: with a shorter history before them."""
    return SyntheticSource(symbols(count), seed=SEED, bars=bars, warm_days=_QUICK_WARM_DAYS if quick else _WARM_DAYS)


class RecordedSource:
    """Synthetic bars, made before the clock runs.

    Args:
        count: symbols.
        bars: announcements of 5m bars.
        quick: shorter history before them.
        every: announcements between two calls of :attr:`on_break`, which stands between two batches.
    """

    def __init__(self, count: int, bars: int, *, quick: bool, every: int) -> None:
        self._source = synthetic(count, bars, quick=quick)
        self._every = every
        self.recorded: list[Batch] = asyncio.run(_drained(self._source))
        self.on_break: Callable[[int], None] = lambda _: None

    @property
    def info(self) -> SourceInfo:
        """As the synthetic source says it."""
        return self._source.info

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        """From the synthetic source."""
        return self._source.history(symbol, tf, before_ts, limit)

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        """From the synthetic source."""
        return self._source.funding_history(symbol, before_ts, limit)

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        """From the synthetic source."""
        return self._source.spot_history(symbol, before_ts, limit)

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        """What was recorded; ``on_break`` hears how many batches were handed out and dealt with by then."""
        assert after_ts is None, "a benchmark starts at the beginning"
        for number, batch in enumerate(self.recorded):
            if number % self._every == 0:
                self.on_break(number)
            yield batch
        self.on_break(len(self.recorded))


async def _drained(source: SyntheticSource) -> list[Batch]:
    return [batch async for batch in source.batches()]


@contextmanager
def assembled(
    config: Configuration, source: RecordedSource | SyntheticSource, *, journal: bool = False
) -> Iterator[tuple[Assembly, SessionDir]]:
    """A paper run's parts over ``source``, with a real store and real logs in a folder that goes away afterwards."""
    with TemporaryDirectory(prefix="brain-bench-") as root:
        folder = SessionDir(Path(root))
        log = configure(LogSettings(folder=folder.logs))
        store = Store(folder.database)
        try:
            kept = open_journal(folder.journal, store) if journal else None
            yield assemble(config, source, store, EQUITY_USD, kept), folder
        finally:
            store.close()
            log.close()
