"""The daemon: drives a source through exchange, market and brain, one announcement at a time, and can be stopped anywhere.

What is on disk after a commit is a whole number of bars with the state to go on from; a run that was killed and one that
was not give the same decisions, byte for byte (X43).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from loguru import logger

from agents.risk_manager_agent import ADD
from configs.lock import digest_of, plain
from configs.validators import Configuration
from core.clock import elapsed_ns
from core.data.blocks import Batch, Closed, ClosedBlock, Ints
from core.errors import BrainError, StateError
from core.monitor.logger import set_trace
from core.monitor.report import daily_report, day_bounds, day_of, days_due, deliver
from core.monitor.schema import AlertLevel
from core.monitor.telemetry import RunResult
from core.types import BrokerEvent, Event, EventKind, FundingPayment, Timeframe
from graph.assembly import Assembly
from graph.engines import Engine
from graph.health_alerts import HealthAlerts
from graph.live_metrics import LiveMetrics
from graph.session_dir import SessionDir
from tools.state import BrainState

COMMIT_EVERY = 256
"""Announcements in one transaction at full speed; a paced run commits each."""
_YIELD_EVERY = 64
"""Announcements between two looks at event loop, folder and metrics at full speed."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run.

    ``speed`` is times real time (None: as fast as it goes); ``until_bars`` counts the whole session's announcements;
    ``unlock_after_ms`` lifts the kill-switch in a replay (X42).
    """

    speed: float | None = None
    until_bars: int | None = None
    unlock_after_ms: int | None = None


class Snapshotable(Protocol):
    """A service whose state outlives the process."""

    def snapshot(self) -> Any: ...

    def restore(self, saved: Any) -> None: ...


class _Changeable(NamedTuple):
    """A part of the configuration that may differ when a session goes on: where its digest is kept, and how it is told."""

    key: str
    digest: str
    alert: str
    what: str


class Daemon:
    """One run over one source.

    Args:
        parts: from :func:`graph.assembly.assemble`.
        engine: carries events through the brain.
        folder: where an unlock may wait.
        options: pace and end.
        governance_changed: asked between bars whether the locked file was touched.
        identity: facts besides source and configuration that a resumed session must share.
    """

    def __init__(
        self,
        parts: Assembly,
        engine: Engine,
        folder: SessionDir,
        options: RunOptions,
        governance_changed: Callable[[], bool] = lambda: False,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self._parts = parts
        self._context = parts.context
        self._engine = engine
        self._folder = folder
        self._options = options
        self._governance_changed = governance_changed
        self._extra_identity = dict(identity or {})
        self._on_progress: Callable[[], None] | None = None
        self._context.market.on_missed = self._on_warm
        self._last_commit_ns = elapsed_ns()
        self._day_end = 0
        self._live = LiveMetrics(
            parts.context, parts.metrics, parts.telemetry, parts.regime_score, has_books=parts.source.info.has_books
        )
        self._stop = asyncio.Event()
        self._bars = 0
        self._seq = 0
        self._wanted_research: list[str] = []
        self._halted_since: int | None = None
        self._health_alerts = HealthAlerts(parts.recorder.alert)
        base_tf = self._context.market.base_tf
        self._is_base = {tf: np.array([base is tf for base in base_tf], dtype=np.bool_) for tf in sorted(set(base_tf))}
        self._run_id = folder.root.name
        self._step_ms = min(tf.ms for tf in base_tf)
        self._look_every = _YIELD_EVERY if options.speed is None else 1
        self.resumed_from = 0
        self.warming = True
        self._warmed = False
        self._naked: tuple[str, ...] = ()
        self.last_state: BrainState = {}

    # --- control ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the run to end after the present bar, with its state saved."""
        self._stop.set()

    @property
    def bars(self) -> int:
        """Announcements decided so far in this session."""
        return self._bars

    @property
    def seq(self) -> int:
        """Number of the next decision: announcements and requests so far."""
        return self._seq

    @property
    def parts(self) -> Assembly:
        """The parts that this daemon drives."""
        return self._parts

    def watch_lost_records(self, lost: Callable[[], int]) -> None:
        """``lost`` tells how many log records could not be written; the metrics show it."""
        self._live.records_lost = lost

    @property
    def expected_bars(self) -> int | None:
        """Announcements that this session will have seen at its end; None where nobody knows."""
        known = [n for n in (self._options.until_bars, self._parts.source.info.batches) if n is not None]
        return min(known) if known else None

    async def run(self, on_progress: Callable[[], None] | None = None) -> RunResult:
        """Run until the source ends, ``until_bars`` is reached or :meth:`stop` is called.

        Args:
            on_progress: called after every bar, for whoever watches.

        Raises:
            StateError: saved state is of another run or damaged.
            SourceError: the source broke off.
        """
        self._on_progress = on_progress
        self.warm()
        after_ts = await self._resume()
        self.warming = False
        # What start-up made lives as long as the run; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        commit_every = COMMIT_EVERY if self._options.speed is None else 1
        logger.info("{} at bar {} of {}", "resumed" if self._bars else "started", self._bars, self._parts.source.info.name)
        try:
            async for batch in self._parts.source.batches(after_ts):
                if self._finished():
                    break
                await self._bar(batch)
                if self._bars % commit_every == 0:
                    self._commit()
                    if self._options.speed is not None:
                        self._report_days(batch.ts)
                await self._pace()
        except Exception as error:
            self._note_fault(error)
            raise
        self._commit()
        logger.info("stopped at bar {}, {}", self._bars, "asked to" if self._stop.is_set() else "at its end")
        self._report_days(self._parts.clock.now_ms())
        self._parts.store.commit()
        gc.unfreeze()
        return self._parts.telemetry.result()

    def _note_fault(self, error: Exception) -> None:
        """Leave word of what stopped the run; bars since the last commit are done again at the next start."""
        parts = self._parts
        parts.telemetry.on_error()
        self._live.sync((elapsed_ns() - self._last_commit_ns) / 1e9)
        parts.store.drop_pending()
        # The words of a foreign exception may hold anything, a key too; the report of the fault has them, redacted.
        text = f"{type(error).__name__}: {error}" if isinstance(error, BrainError) else type(error).__name__
        parts.recorder.alert(parts.clock.now_ms(), AlertLevel.PAGE, "fault", text)
        parts.store.commit()

    def _finished(self) -> bool:
        until = self._options.until_bars
        return self._stop.is_set() or (until is not None and self._bars >= until)

    # --- start --------------------------------------------------------------------------------------------

    def warm(self) -> tuple[str, ...]:
        """Feed the past to features and regimes, once; sentences about what is shorter than wanted."""
        source, market = self._parts.source, self._context.market
        if self.warming and not self._warmed:
            self._warmed = True
            return market.warm(source, source.info.start, self._on_warm).short
        return ()

    def _on_warm(self, closed: Closed) -> None:
        self._context.regimes.update(closed)
        self._parts.regime_score.on_closed(closed, self._context.regimes.h1)
        for block in closed.blocks:
            if block.tf is Timeframe.D1:
                self._take_daily(block)

    async def _resume(self) -> int | None:
        """Bring a fresh assembly to where the saved session stands; the time of its last bar, or None."""
        store = self._parts.store
        saved = store.load_snapshot()
        identity = self._identity()
        if saved is None:
            for key, value in identity.items():
                store.set_meta(key, value)
            return None
        self._check_identity(identity)
        state = saved[1]
        await self._fast_forward(int(state["ts"]))
        self._restore(state)
        self._note_changes(int(state["ts"]))
        return int(state["ts"])

    def _note_changes(self, ts: int) -> None:
        """What a person changed since the last start holds from here on, on record (H2, X22)."""
        for change in self._changeable():
            before = self._parts.store.get_meta(change.key)
            if before != change.digest:
                self._parts.store.set_meta(change.key, change.digest)
                text = f"{change.what} {change.digest} hold now, before it were {before}"
                self._parts.recorder.alert(ts, AlertLevel.WARNING, change.alert, text)

    async def _fast_forward(self, until_ts: int) -> None:
        """Feed the bars already decided to features and regimes again, so that both are bit-identical."""
        async for batch in self._parts.source.batches(None):
            if batch.ts > until_ts:
                return
            self._context.regimes.update(self._ingest(batch))
            self._bars += 1
            self.resumed_from = self._bars
            await self._breathe()

    def _identity(self) -> dict[str, str]:
        info, config = self._parts.source.info, self._context.config
        return {
            "source": info.name.partition(":")[0],
            "recordings": info.digest[:16],
            "symbols": ",".join(info.symbols),
            "start": str(info.start),
            **self._extra_identity,
            **_digests(config, info.symbols),
            **{change.key: change.digest for change in self._changeable()},
        }

    def _changeable(self) -> tuple[_Changeable, ...]:
        """What a person may change between two starts."""
        config = self._context.config
        return (
            _Changeable("governance_digest", config.governance_digest, "governance_signed", "limits"),
            _Changeable("blackouts_digest", digest_of(plain(config.blackouts)), "blackouts_reviewed", "blackout windows"),
        )

    def _check_identity(self, identity: dict[str, str]) -> None:
        saved = {key: self._parts.store.get_meta(key) for key in identity}
        changeable = {change.key for change in self._changeable()}
        differing = [key for key in identity if saved[key] != identity[key] and key not in changeable]
        if differing:
            listed = ", ".join(f"{key} {saved[key]!r} (this run has {identity[key]!r})" for key in differing)
            what = "the saved session is of another run"
            if differing == ["recordings"]:
                what = "the recordings are not those of the saved session"
            raise StateError(
                f"{what}: it has {listed}",
                help="start with the same source, symbols, range and configuration, or with another --state DIR",
                code="STATE-010",
            )

    # --- a bar --------------------------------------------------------------------------------------------

    async def _bar(self, batch: Batch) -> None:
        context, parts = self._context, self._parts
        # At the time of the last bar: what happens between two bars must not pass for the coming bar's own marking.
        self._between_bars(parts.clock.now_ms() or parts.source.info.start)
        parts.clock.set(batch.ts)
        set_trace(self._run_id, self._seq)
        for note in batch.notes:
            logger.info("source: {}", note)
        await parts.exchange.advance(batch, self._on_events)
        closed = self._ingest(batch)
        base = self._base_rows(closed)
        if context.ledger.positions:
            self._mark_positions(closed)
        await self._decide(Event(EventKind.BAR, self._seq, batch.ts, self._names(closed)))
        parts.telemetry.on_bars(base.size)
        held = context.regimes.h1
        parts.telemetry.on_regimes(held if base.size == held.size else held[base])
        parts.regime_score.on_closed(closed, held)
        if self._bars % self._look_every == 0:
            self._live.on_bar(closed, self.last_state)
        self._bars += 1
        await self._protect(batch.ts)
        await self._ask_research(batch.ts)

    async def _decide(self, event: Event) -> None:
        context, parts = self._context, self._parts
        start = elapsed_ns()
        self.last_state = await self._engine.run(event, context)
        self._seq += 1
        parts.metrics.decision_latency.observe((elapsed_ns() - start) / 1e9)
        view = context.governor.view
        parts.telemetry.on_equity(view.equity)
        if event.ts % Timeframe.H1.ms == 0:
            parts.store.record_equity(event.ts, view.equity, parts.telemetry.drawdown_pct)
        for happened in context.governor.drain_events():
            parts.recorder.governor_event(happened)
        self._health_alerts.on_report(self.last_state["status"].health)

    async def _protect(self, ts: int) -> None:
        """The watchdog: a position that nothing covers is covered or closed, again and again, and a person is told once."""
        if not self._context.ledger.positions:
            self._naked = ()
            return
        naked = self._context.orders.unprotected()
        if naked:
            await self._context.orders.protect_again(ts)
        if naked and naked != self._naked:
            self._parts.telemetry.on_error()
            self._parts.recorder.alert(ts, AlertLevel.PAGE, "unprotected", f"no stop and no exit for {', '.join(naked)}")
        self._naked = naked

    async def _ask_research(self, ts: int) -> None:
        """Hand over what was asked of research since the last bar, each request an event of its own (X24)."""
        while self._wanted_research:
            await self._decide(Event(EventKind.RESEARCH, self._seq, ts, note=self._wanted_research.pop(0)))

    async def _on_events(self, events: tuple[BrokerEvent, ...]) -> None:
        context, recorder = self._context, self._parts.recorder
        for event in events:
            if isinstance(event, FundingPayment):
                recorder.funding(event)
        await context.orders.handle(events)
        for ts, amount in context.ledger.drain_realised():
            context.governor.on_realised(ts, amount)
        for trade in context.ledger.drain_trades():
            recorder.trade(trade)
            context.governor.on_trade(trade)
            context.cooldowns.on_trade(trade)
            context.abstentions.forget(ADD, trade.symbol)
            request = context.quality.on_trade(trade)
            if request is not None:
                self._wanted_research.append(request.note)
                recorder.alert(request.ts, AlertLevel.INFO, "selection_tightened", request.note)

    def _ingest(self, batch: Batch) -> Closed:
        context = self._context
        closed = context.market.ingest(batch)
        if closed.blocks and closed.blocks[-1].tf is Timeframe.D1:
            self._take_daily(closed.blocks[-1])
        return closed

    def _take_daily(self, block: ClosedBlock) -> None:
        closes: list[float | None] = [None] * len(self._context.market.symbols)
        for row, close in zip(block.idx.tolist(), block.close.tolist(), strict=True):
            closes[row] = close
        self._context.correlations.update(block.ts, closes)
        self._context.portfolio.on_day(self._context.market.symbols)

    def _base_rows(self, closed: Closed) -> Ints:
        """Symbols whose base bar closed now, in order of timeframe."""
        if len(self._is_base) == 1:
            return closed.blocks[0].idx if closed.blocks else _NO_ROWS
        rows = [block.idx[self._is_base[block.tf][block.idx]] for block in closed.blocks if block.tf in self._is_base]
        return rows[0] if len(rows) == 1 else np.concatenate(rows) if rows else _NO_ROWS

    def _mark_positions(self, closed: Closed) -> None:
        ledger, only = self._context.ledger, len(self._is_base) == 1
        for block in closed.blocks:
            base = self._is_base.get(block.tf)
            if base is not None and only:
                ledger.on_close(closed.ts, block.close, block.high, block.low, block.idx)
            elif base is not None:
                rows = np.flatnonzero(base[block.idx])
                ledger.on_close(closed.ts, block.close[rows], block.high[rows], block.low[rows], block.idx[rows])

    def _names(self, closed: Closed) -> tuple[tuple[Timeframe, tuple[str, ...]], ...]:
        symbols = self._context.market.symbols
        named = []
        for block in closed.blocks:
            everyone = block.idx.size == len(symbols)
            named.append((block.tf, symbols if everyone else tuple(symbols[row] for row in block.idx.tolist())))
        return tuple(named)

    # --- between bars -------------------------------------------------------------------------------------

    def _between_bars(self, ts: int) -> None:
        """What a person or the file system may have changed: an unlock, the locked limits."""
        if self._bars % self._look_every == 0 or self._bars == self.resumed_from:
            request = self._folder.waiting_unlock()
            if request is not None:
                self._unlock(ts, request.reason, request.who)
                # A person's word is on the disk before its note is taken away.
                self._commit()
                self._folder.drop_unlock()
            if self._governance_changed():
                self._context.governor.governance_changed(ts)
        self._unlock_in_replay(ts)

    def _unlock_in_replay(self, ts: int) -> None:
        after = self._options.unlock_after_ms
        if not self._context.governor.view.kill_switch:
            self._halted_since = None
        elif self._halted_since is None:
            self._halted_since = ts
        elif after is not None and ts - self._halted_since >= after:
            self._unlock(ts, f"replay: --unlock-after {after // 60_000} min", "replay")

    def _unlock(self, ts: int, reason: str, who: str) -> None:
        if self._context.governor.unlock(ts, reason, who):
            self._halted_since = None
            self._parts.recorder.alert(ts, AlertLevel.WARNING, "unlocked", f"{who}: {reason}")

    async def _pace(self) -> None:
        """Wait until the next bar is due; at full speed only look at the event loop now and then."""
        if self._on_progress is not None:
            self._on_progress()
        speed = self._options.speed
        if speed is None:
            await self._breathe()
            return
        step_s = self._step_ms / 1000.0 / speed
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), step_s)

    async def _breathe(self) -> None:
        if self._bars % self._look_every == 0:
            await asyncio.sleep(0)

    # --- state --------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        store = self._parts.store
        store.save_snapshot(self._seq - 1, self._snapshot())
        store.commit()
        now = elapsed_ns()
        self._live.sync((now - self._last_commit_ns) / 1e9)
        self._last_commit_ns = now

    def _report_days(self, ts: int) -> None:
        """Hand over the reports of the days that are over (I2); a paced run does so as each day ends."""
        if ts < self._day_end:
            return
        zone, store = self._context.config.governance.zone, self._parts.store
        for day in days_due(store, ts, zone):
            deliver(store, daily_report(store, day, zone), self._folder.reports, ts)
        self._day_end = day_bounds(day_of(ts, zone), zone)[1]

    def _services(self) -> dict[str, Snapshotable]:
        context, parts = self._context, self._parts
        return {
            "exchange": parts.exchange,
            "ledger": context.ledger,
            "orders": context.orders,
            "governor": context.governor,
            "cooldowns": context.cooldowns,
            "quality": context.quality,
            "portfolio": context.portfolio,
            "correlations": context.correlations,
            "abstentions": context.abstentions,
            "regimes": context.regimes,
            "regime_score": parts.regime_score,
            "telemetry": parts.telemetry,
            "recorder": parts.recorder,
            "health_alerts": self._health_alerts,
        }

    def _snapshot(self) -> dict[str, Any]:
        saved: dict[str, Any] = {name: service.snapshot() for name, service in self._services().items()}
        saved["ts"] = self._parts.clock.now_ms()
        saved["seq"] = self._seq
        saved["bars"] = self._bars
        saved["halted_since"] = self._halted_since
        return saved

    def _restore(self, state: dict[str, Any]) -> None:
        if int(state["bars"]) != self._bars:
            raise StateError(
                f"the saved session stands at bar {state['bars']}, the source gave {self._bars} bars up to the same time",
                help="the data behind the session has changed; start with another --state DIR",
                code="STATE-013",
            )
        for name, service in self._services().items():
            service.restore(state[name])
        # Loading the configuration has verified the signature of the limits in force now.
        self._context.governor.governance_signed(int(state["ts"]))
        self._parts.clock.set(int(state["ts"]))
        self._halted_since = state["halted_since"]
        self._seq = int(state["seq"])


def _digests(config: Configuration, symbols: Sequence[str]) -> dict[str, str]:
    """Digest of each file that a session cannot change under way.

    Limits may be signed anew and the calendar reviewed between two starts; of the instruments only the run's own count.
    """
    own = [plain(config.symbols.by_name()[symbol]) for symbol in symbols]
    files = {"enable_map.yaml": plain(config.enable_map), "strategies.yaml": plain(config.strategies), "symbols.yaml": own}
    return {name: digest_of(values)[:16] for name, values in files.items()}


_NO_ROWS: Ints = np.empty(0, dtype=np.int64)
