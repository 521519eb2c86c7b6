"""One run, bar by bar: what arrives, what is decided, what follows from it.

Where bars come from and what is kept is no matter here: the daemon drives a run through a market, a replay drives the same
run through its own record.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np
from loguru import logger

from agents.risk_manager_agent import ADD
from core.clock import elapsed_ns
from core.data.blocks import Batch, Closed, ClosedBlock, Ints
from core.data.sources.base import Source
from core.journal.records import State, Word
from core.monitor.logger import set_trace
from core.monitor.schema import AlertLevel
from core.risk.governor import DRAWDOWN_WINDOW_MS
from core.types import BrokerEvent, Event, EventKind, ExitReason, FundingPayment, Timeframe
from graph.assembly import Assembly
from graph.engines import Engine
from graph.health_alerts import HealthAlerts
from graph.journaling import Journal
from graph.spot_alerts import SpotAlerts
from graph.words import WordKind, Words
from tools.state import BrainState


class Snapshotable(Protocol):
    """A service whose state outlives the process."""

    def snapshot(self) -> Any: ...

    def restore(self, saved: Any) -> None: ...


class Run:
    """The services of a run, and the order in which a bar goes through them (G4).

    Attributes:
        bars: announcements dealt with so far in this session.
        seq: number of the next decision: announcements and requests so far.
        heard: words of the venue or of a person since the last announcement was dealt with.
        last_state: the brain's state after the last decision.

    Args:
        parts: from :func:`graph.assembly.assemble`.
        engine: carries events through the brain.
        journal: told of everything that a decision rests on, and of what was decided.
        words: what comes in between two bars.
        unlock_after_ms: lifts the kill-switch in a run with an end (X42).
        name: stands in every log line.
    """

    def __init__(
        self,
        parts: Assembly,
        engine: Engine,
        journal: Journal,
        words: Words,
        *,
        unlock_after_ms: int | None = None,
        name: str = "",
    ) -> None:
        self.parts = parts
        self.context = parts.context
        self.engine = engine
        self.bars = 0
        self.seq = 0
        self.last_state: BrainState = {}
        self._journal, self._words = journal, words
        self._unlock_after_ms = unlock_after_ms
        self._name = name
        self._wanted_research: list[str] = []
        self._halted_since: int | None = None
        self._naked: tuple[str, ...] = ()
        self._journal_lost = False
        self.heard = 0
        self._health_alerts = HealthAlerts(parts.recorder.alert)
        market, strategies = self.context.market, self.context.strategies.values()
        has_spot = parts.source.info.has_spot
        self._spot_alerts = SpotAlerts(market.symbols, has_spot, market.features.view, strategies, parts.recorder.alert)
        base_tf = market.base_tf
        self._is_base = {tf: np.array([base is tf for base in base_tf], dtype=np.bool_) for tf in sorted(set(base_tf))}
        self.context.market.on_missed = self._on_missed

    # --- the past -----------------------------------------------------------------------------------------

    def warm(self, source: Source) -> tuple[str, ...]:
        """Feed the past to features and regimes; sentences about what is shorter than wanted."""
        return self.context.market.warm(source, source.info.start, self._on_missed).short

    def feed(self, batch: Batch) -> None:
        """A bar that was decided already: only what depends on all bars takes it in."""
        self.context.regimes.update(self._ingest(batch))
        self.bars += 1

    def _on_missed(self, closed: Closed) -> None:
        self.context.regimes.update(closed)
        self.parts.regime_score.on_closed(closed, self.context.regimes.h1)
        for block in closed.blocks:
            if block.tf is Timeframe.D1:
                self._take_daily(block)

    # --- a bar --------------------------------------------------------------------------------------------

    async def bar(self, batch: Batch) -> Closed:
        """Everything that a bar brings about; what closed with it."""
        closed = await self.arrive(batch)
        await self.decide(self.event(closed))
        await self.conclude(closed)
        return closed

    async def arrive(self, batch: Batch) -> Closed:
        """Up to the decision: words, the exchange's own reactions, rings, features, marks."""
        context, parts = self.context, self.parts
        # At the time of the last bar: what happens between two bars must not pass for the coming bar's own marking.
        self._between_bars(parts.clock.now_ms() or parts.source.info.start)
        parts.clock.set(batch.ts)
        set_trace(self._name, self.seq)
        for note in batch.notes:
            logger.info("source: {}", note)
        await parts.venue.advance(batch, self._on_events)
        closed = self._ingest(batch)
        if context.ledger.positions:
            self._mark_positions(closed)
        return closed

    def event(self, closed: Closed) -> Event:
        """The announcement as the brain hears it."""
        return Event(EventKind.BAR, self.seq, closed.ts, self._names(closed))

    async def decide(self, event: Event) -> None:
        """One event through the brain."""
        parts = self.parts
        start = elapsed_ns()
        self.last_state = await self.engine.run(event, self.context)
        self.seq += 1
        parts.metrics.decision_latency.observe((elapsed_ns() - start) / 1e9)
        self.decided(event, self.last_state)

    def decided(self, event: Event, state: BrainState) -> None:
        """Write down what came of ``event``."""
        context, parts = self.context, self.parts
        self._journal.decided(event, context.trace.outputs)
        view = context.governor.view
        parts.telemetry.on_equity(view.equity)
        if event.ts % Timeframe.H1.ms == 0:
            parts.store.record_equity(event.ts, view.equity, parts.telemetry.drawdown_pct)
        for happened in context.governor.drain_events():
            parts.recorder.governor_event(happened)
        self._health_alerts.on_report(state["status"].health)

    async def conclude(self, closed: Closed) -> None:
        """After the decision: counts, the watchdog, requests to research."""
        parts, held = self.parts, self.context.regimes.h1
        base = self._base_rows(closed)
        parts.telemetry.on_bars(base.size)
        parts.telemetry.on_regimes(held if base.size == held.size else held[base])
        parts.regime_score.on_closed(closed, held)
        self._spot_alerts.on_closed(closed)
        self.bars += 1
        self.heard = 0
        await self._protect(closed.ts)
        await self._ask_research(closed.ts)

    async def _protect(self, ts: int) -> None:
        """The watchdog: a position that nothing covers is covered or closed, again and again, and a person is told once."""
        if not self.context.ledger.positions:
            self._naked = ()
            return
        naked = self.context.orders.unprotected()
        if naked:
            await self.context.orders.protect_again(ts)
        if naked and naked != self._naked:
            self.parts.telemetry.on_error()
            self.parts.recorder.alert(ts, AlertLevel.PAGE, "unprotected", f"no stop and no exit for {', '.join(naked)}")
        self._naked = naked

    async def _ask_research(self, ts: int) -> None:
        """Hand over what was asked of research since the last bar, each request an event of its own (X24)."""
        while self._wanted_research:
            await self.decide(Event(EventKind.RESEARCH, self.seq, ts, note=self._wanted_research.pop(0)))

    async def _on_events(self, events: tuple[BrokerEvent, ...]) -> None:
        context, recorder = self.context, self.parts.recorder
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
        closed = self.context.market.ingest(batch)
        if closed.blocks and closed.blocks[-1].tf is Timeframe.D1:
            self._take_daily(closed.blocks[-1])
        return closed

    def _take_daily(self, block: ClosedBlock) -> None:
        closes: list[float | None] = [None] * len(self.context.market.symbols)
        for row, close in zip(block.idx.tolist(), block.close.tolist(), strict=True):
            closes[row] = close
        self.context.correlations.update(block.ts, closes)
        self.context.portfolio.on_day(self.context.market.symbols)

    def _base_rows(self, closed: Closed) -> Ints:
        """Symbols whose base bar closed now, in order of timeframe."""
        if len(self._is_base) == 1:
            return closed.blocks[0].idx if closed.blocks else _NO_ROWS
        rows = [block.idx[self._is_base[block.tf][block.idx]] for block in closed.blocks if block.tf in self._is_base]
        return rows[0] if len(rows) == 1 else np.concatenate(rows) if rows else _NO_ROWS

    def _mark_positions(self, closed: Closed) -> None:
        ledger, only = self.context.ledger, len(self._is_base) == 1
        for block in closed.blocks:
            base = self._is_base.get(block.tf)
            if base is not None and only:
                ledger.on_close(closed.ts, block.close, block.high, block.low, block.idx)
            elif base is not None:
                rows = np.flatnonzero(base[block.idx])
                ledger.on_close(closed.ts, block.close[rows], block.high[rows], block.low[rows], block.idx[rows])

    def _names(self, closed: Closed) -> tuple[tuple[Timeframe, tuple[str, ...]], ...]:
        symbols = self.context.market.symbols
        named = []
        for block in closed.blocks:
            everyone = block.idx.size == len(symbols)
            named.append((block.tf, symbols if everyone else tuple(symbols[row] for row in block.idx.tolist())))
        return tuple(named)

    # --- between bars -------------------------------------------------------------------------------------

    async def told(self, events: tuple[BrokerEvent, ...]) -> None:
        """What the venue tells between two bars is dealt with at once: a position that comes to be needs its stop."""
        self.heard += 1
        await self._on_events(events)

    async def said(self, word: Word) -> None:
        """What a person says between two bars that cannot wait for the next."""
        self.heard += 1
        self.hear(word)
        if word.kind == WordKind.SHUTDOWN:
            await self.context.orders.flatten_all(word.ts, ExitReason.SHUTDOWN)

    def _between_bars(self, ts: int) -> None:
        for word in self._words.heard(ts):
            self.hear(word)
        self._unlock_in_replay(ts)

    def hear(self, word: Word) -> None:
        """Do what ``word`` asks for."""
        self._journal.said(word)
        governor = self.context.governor
        if word.kind == WordKind.UNLOCK:
            self._unlock(word.ts, word.text, word.who)
        elif word.kind == WordKind.GOVERNANCE_CHANGED:
            governor.governance_changed(word.ts)
        elif word.kind == WordKind.RESUMED:
            governor.governance_signed(word.ts)
            self._note_journal(lost=False)
        elif word.kind == WordKind.JOURNAL_LOST:
            self._note_journal(lost=True)
            self.parts.telemetry.on_error()
            self.parts.recorder.alert(word.ts, AlertLevel.PAGE, word.kind, f"no entries until it can be written: {word.text}")
        elif word.kind == WordKind.JOURNAL_BACK:
            self._note_journal(lost=False)
            self.parts.recorder.alert(word.ts, AlertLevel.WARNING, word.kind, "the journal is written again; nothing is missing")
        elif word.kind == WordKind.ACCEPTED:
            self.parts.recorder.alert(word.ts, AlertLevel.WARNING, word.kind, f"{word.who}: {word.text}")
        elif word.kind in (WordKind.TRANSFER, WordKind.UNEXPLAINED):
            self._take_money(word)
        elif word.kind == WordKind.LATE_TRANSFER:
            self._take_back(word)
        self._words.done(word)

    def _take_money(self, word: Word) -> None:
        """What the owner moved is neither profit nor loss (X11); what nobody can explain is one."""
        amount, alert = float(word.text), self.parts.recorder.alert
        if word.kind == WordKind.TRANSFER:
            self.context.ledger.move(amount, int(word.ref))
            self.context.governor.on_transfer(amount)
            self.parts.telemetry.on_transfer(amount)
            alert(word.ts, AlertLevel.INFO, word.kind, f"{abs(amount):.2f} USD were {'paid in' if amount > 0 else 'taken out'}")
        else:
            seen, ledger = self.context.governor.view, self.context.ledger
            upto = int(word.ref) if word.ref else ledger.moved_ts
            ledger.count(amount, upto, seen.ts, seen.equity, seen.ts - DRAWDOWN_WINDOW_MS)
            more = "more" if amount > 0 else "less"
            alert(word.ts, AlertLevel.WARNING, word.kind, f"the account has {abs(amount):.2f} USD {more} than the books had")

    def _take_back(self, word: Word) -> None:
        """A transfer that was listed late counted as a result: what it is compared with is put right, its money is booked."""
        amount, governor = float(word.text), self.context.governor
        counted_ts, share = self.context.ledger.list_late(int(word.ref), amount)
        governor.on_late_transfer(share, counted_ts)
        self.parts.telemetry.on_late_transfer(share)
        view, result = governor.view, "gain" if amount > 0 else "loss"
        locks = (("the day's lock, until midnight", view.day_lock), ("the kill-switch, until brain unlock", view.kill_switch))
        set_still = ", ".join(name for name, is_set in locks if is_set)
        stays = f"; still set: {set_still}" if set_still else ""
        how = "paid in" if amount > 0 else "taken out"
        text = f"{abs(amount):.2f} USD that counted as a {result} were {how}: they are in no limit any more{stays}"
        self.parts.recorder.alert(word.ts, AlertLevel.WARNING, word.kind, text)

    def _note_journal(self, *, lost: bool) -> None:
        self._journal_lost = lost
        self.context.market.health.on_journal(written=not lost)

    def _unlock_in_replay(self, ts: int) -> None:
        after = self._unlock_after_ms
        if not self.context.governor.view.kill_switch:
            self._halted_since = None
        elif self._halted_since is None:
            self._halted_since = ts
        elif after is not None and ts - self._halted_since >= after:
            self._unlock(ts, f"replay: --unlock-after {after // 60_000} min", "replay")

    def _unlock(self, ts: int, reason: str, who: str) -> None:
        if self.context.governor.unlock(ts, reason, who):
            self._halted_since = None
            self.parts.recorder.alert(ts, AlertLevel.WARNING, "unlocked", f"{who}: {reason}")

    # --- state --------------------------------------------------------------------------------------------

    def _services(self) -> dict[str, Snapshotable]:
        context, parts = self.context, self.parts
        return {
            "exchange": parts.venue,
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

    def snapshot(self) -> dict[str, Any]:
        """State of every service but market and features, which follow from the bars."""
        saved: dict[str, Any] = {name: service.snapshot() for name, service in self._services().items()}
        saved["ts"] = self.parts.clock.now_ms()
        saved["seq"] = self.seq
        saved["bars"] = self.bars
        saved["halted_since"] = self._halted_since
        saved["journal_lost"] = self._journal_lost
        saved["heard"] = self.heard
        no_spot = self._spot_alerts.snapshot()
        return saved | {"no_spot": no_spot} if no_spot else saved

    def record(self, *, whole: bool) -> State:
        """The state for the journal; a ``whole`` one has market and features too."""
        market = self.context.market
        return State(
            self.bars,
            self.seq,
            self.parts.clock.now_ms(),
            _pack(self.snapshot()),
            _pack({"market": market.snapshot(), "features": market.features.snapshot()}) if whole else None,
            self.heard,
        )

    def restore_record(self, state: State) -> None:
        """Take over what :meth:`record` gave; without the market of a small one."""
        if state.market is not None:
            saved, market = msgspec.msgpack.decode(state.market), self.context.market
            market.restore(saved["market"])
            market.features.restore(saved["features"])
        self.restore(msgspec.msgpack.decode(state.services))

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""
        for name, service in self._services().items():
            service.restore(state[name])
        self.parts.clock.set(int(state["ts"]))
        self._halted_since = state["halted_since"]
        self._note_journal(lost=state.get("journal_lost", False))
        self.seq = int(state["seq"])
        self.bars = int(state["bars"])
        self.heard = int(state.get("heard", 0))
        self._spot_alerts.restore(state.get("no_spot", ()))


_pack = msgspec.msgpack.Encoder(decimal_format="string").encode
_NO_ROWS: Ints = np.empty(0, dtype=np.int64)
"""No symbol's."""
