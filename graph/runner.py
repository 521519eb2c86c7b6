"""The daemon: drives a run through a source at its pace, keeps what must outlive it, and can be stopped anywhere.

What is on disk after a commit is a whole number of bars with the state to go on from, and the journal holds every input
beside it; a run that was killed and one that was not give the same decisions, byte for byte (X43).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from loguru import logger

from core.clock import elapsed_ns
from core.data.blocks import Batch
from core.errors import BrainError, StateError
from core.exec.live.halts import Halt
from core.journal.bars import Past, past
from core.journal.reader import JournalReader
from core.journal.records import Word
from core.monitor.report import daily_report, day_bounds, day_of, days_due, deliver
from core.monitor.schema import AlertLevel
from core.monitor.telemetry import RunResult
from graph.assembly import Assembly
from graph.engines import Engine
from graph.identity import Identity, Known
from graph.journaling import FRAMES, JournaledSource
from graph.live_metrics import LiveMetrics
from graph.opening import opening_of
from graph.run import Run
from graph.session_dir import SessionDir
from graph.words import FolderWords, WordKind
from tools.state import BrainState

COMMIT_EVERY = 256
"""Announcements in one transaction at full speed; a paced run commits each."""
_YIELD_EVERY = 64
"""Announcements between two looks at event loop, folder and metrics at full speed."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run.

    ``speed`` is times real time (None: as fast as it goes); ``market_time`` is for a source that keeps time itself: it is
    waited for, and the venue is listened to meanwhile. ``until_bars`` counts the whole session's announcements;
    ``unlock_after_ms`` lifts the kill-switch in a replay (X42).
    """

    speed: float | None = None
    until_bars: int | None = None
    unlock_after_ms: int | None = None
    market_time: bool = False

    @property
    def bulk(self) -> bool:
        """Whether bars come as fast as they are decided, so that many of them make one commit."""
        return self.speed is None and not self.market_time


class Daemon:
    """One run over one source.

    Args:
        parts: from :func:`graph.assembly.assemble`.
        engine: carries events through the brain.
        folder: the session's; an unlock may wait there.
        options: pace and end.
        governance_changed: asked between bars whether the locked file was touched.
        identity: facts besides source and configuration that a resumed session must share.

    Attributes:
        outside: what a real venue holds that belongs to no plan, in words; whoever has one puts its own here.
    """

    run_type: type[Run] = Run
    """What a bar goes through; a benchmark puts its stopwatch there."""

    def __init__(
        self,
        parts: Assembly,
        engine: Engine,
        folder: SessionDir,
        options: RunOptions,
        governance_changed: Callable[[], bool] = lambda: False,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self._parts, self._folder, self._options = parts, folder, options
        self._journal = parts.journal
        self._source = JournaledSource(parts.source, self._journal, self._renew)
        self._look_every = _YIELD_EVERY if options.bulk else 1
        self._outside = FolderWords(
            folder, governance_changed, self._why_not_written, self._look_every, on_damaged=self._note_damaged
        )
        self._lost_records: str | None = None
        self._report_lost = False
        self._not_done: list[Word] = []
        self._run = self.run_type(
            parts, engine, self._journal, self, unlock_after_ms=options.unlock_after_ms, name=folder.root.name
        )
        self._identity = Identity(parts.source.info, parts.context.config, dict(identity or {}))
        self._opening = opening_of(
            folder.root.name,
            parts.source.info,
            parts.context.config,
            self._identity.facts,
            parts.context.ledger.starting_equity,
            options.unlock_after_ms,
        )
        self._fresh = parts.store.load_snapshot() is None and not self._journal.begun
        self._tell_resumed = False
        self._on_progress: Callable[[], None] | None = None
        self._last_commit_ns = elapsed_ns()
        self._day_end = 0
        self._live = LiveMetrics(
            parts.context, parts.metrics, parts.telemetry, parts.regime_score, has_books=parts.source.info.has_books
        )
        self._stop = asyncio.Event()
        self._step_ms = min(tf.ms for tf in parts.context.market.base_tf)
        self.resumed_from = 0
        self.warming = True
        self._warmed = False
        self.outside: Callable[[], tuple[str, ...]] = lambda: ()

    # --- control ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the run to end after the present bar, with its state saved."""
        self._stop.set()

    @property
    def bars(self) -> int:
        """Announcements decided so far in this session."""
        return self._run.bars

    @property
    def seq(self) -> int:
        """Number of the next decision: announcements, requests and reports so far."""
        return self._run.seq

    @property
    def last_state(self) -> BrainState:
        """The brain's state after the last decision."""
        return self._run.last_state

    @property
    def parts(self) -> Assembly:
        """The parts that this daemon drives."""
        return self._parts

    @property
    def halts(self) -> tuple[Halt, ...]:
        """What at the venue keeps entries from being sent, and where; only a real venue has any."""
        return ()

    def look_at_halts(self) -> tuple[Halt, ...]:
        """What is halted now, for the metrics too: it comes and goes between bars."""
        self._live.on_halts()
        return self.halts

    @property
    def not_written(self) -> str | None:
        """Why what happens cannot be written down; None while it can."""
        return self._why_not_written()

    def refuse_another(self, known: Known) -> None:
        """Refuse what :meth:`run` would, before anything is said of this run.

        Raises:
            StateError: the saved session, whose facts are ``known``, is of another run.
        """
        self._identity.check(known)

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
        after_ts = None
        if self._fresh:
            self._begin()
        else:
            after_ts = await self._resume()
        self.warming = False
        # What start-up made lives as long as the run; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        logger.info("{} at bar {} of {}", "started" if self._fresh else "resumed", self.bars, self._parts.source.info.name)
        try:
            await self._through(after_ts)
        except Exception as error:
            self._note_fault(error)
            raise
        self._commit()
        self._must_be_written()
        logger.info("stopped at bar {}, {}", self.bars, "asked to" if self._stop.is_set() else "at its end")
        self._report_days(self._parts.clock.now_ms())
        self._parts.store.commit()
        if self._source.caught_up:  # bars that were cut off belong into the segment in which they began
            self._journal.finish()
        gc.unfreeze()
        return self._result()

    def _result(self) -> RunResult:
        """What the run came to. Flat, it is worth its wallet: its last positions may have been closed after the last bar."""
        result, ledger = self._parts.telemetry.result(), self._parts.context.ledger
        return result if ledger.positions or result.equity_end is None else replace(result, equity_end=ledger.wallet)

    async def _through(self, after_ts: int | None) -> None:
        """Bar after bar; none is taken from the source that is not decided."""
        commit_every = COMMIT_EVERY if self._options.bulk else 1
        market_time = self._options.market_time
        coming = self._listen(after_ts) if market_time else partial(anext, self._source.batches(after_ts), None)
        while not self._finished() and (batch := await coming()) is not None:
            await self._bar(batch)
            if self.bars % commit_every == 0:
                self._commit()
                if not self._options.bulk:
                    self._report_days_on_the_way(batch.ts)
            await self._pace()

    def _listen(self, after_ts: int | None) -> Callable[[], Awaitable[Batch | None]]:
        """The next batch; what the venue tells meanwhile is dealt with at once, and a stop is heard."""
        batches = self._source.ahead(after_ts)

        async def coming() -> Batch | None:
            next_batch = asyncio.ensure_future(anext(batches, None))
            stopped = asyncio.ensure_future(self._stop.wait())
            try:
                while True:
                    await self._hear(next_batch, stopped)
                    if next_batch.done() or stopped.done():
                        break
                batch = None if stopped.done() else next_batch.result()
            finally:
                await _end(next_batch, stopped)
            if batch is not None:
                self._source.take(batch)
            return batch

        return coming

    async def _hear(self, *others: asyncio.Future[Any]) -> None:
        """Wait for the venue's word or for one of ``others``; deal with the word."""
        word = asyncio.ensure_future(self._parts.venue.wait())
        try:
            await asyncio.wait([word, *others], return_when=asyncio.FIRST_COMPLETED)
            if word.done():
                heard = self._run.heard
                await self._parts.venue.deliver(self._run.told)
                if self._run.heard != heard:
                    self._commit()
        finally:
            await _end(word)

    async def _bar(self, batch: Batch) -> None:
        closed = await self._run.bar(batch)
        if (self.bars - 1) % self._look_every == 0:
            self._live.on_bar(closed, self._run.last_state)

    def _note_damaged(self, text: str) -> None:
        self._parts.recorder.alert(self._parts.clock.now_ms(), AlertLevel.WARNING, "note_damaged", text)

    def _note_fault(self, error: Exception) -> None:
        """Leave word of what stopped the run; bars since the last commit are done again at the next start."""
        parts = self._parts
        parts.telemetry.on_error()
        self._live.sync((elapsed_ns() - self._last_commit_ns) / 1e9)
        self._journal.sync()
        parts.store.drop_pending()
        # The words of a foreign exception may hold anything, a key too; the report of the fault has them, redacted.
        text = f"{type(error).__name__}: {error}" if isinstance(error, BrainError) else type(error).__name__
        parts.recorder.alert(parts.clock.now_ms(), AlertLevel.PAGE, "fault", text)
        try:
            parts.store.commit()
        except StateError as second:  # the fault itself is what is told
            logger.warning("the fault is not on record: {}", second.what)

    def _finished(self) -> bool:
        until = self._options.until_bars
        return self._stop.is_set() or (until is not None and self.bars >= until)

    # --- start --------------------------------------------------------------------------------------------

    def warm(self) -> tuple[str, ...]:
        """Feed the past to features and regimes, once, where no session is gone on with; what is shorter than wanted."""
        if self._warmed or not self._fresh:
            return ()
        self._warmed = True
        return self._run.warm(self._source)

    def _begin(self) -> None:
        """A session that begins: who it is, and the past that it knows, before its first bar."""
        self._identity.save(self._parts.store)
        self._journal.begin(self._opening, self._run.record(whole=True))
        if self._journal.failure is None:
            self._parts.store.set_meta(FRAMES, str(self._journal.frames))
            self._commit_records()

    async def _resume(self) -> int:
        """Bring a fresh assembly to where the saved session stands; the time of its last bar.

        Market and features come from the state that begins the journal's segment and the bars after it; all else from the
        last commit. Bars on record that no commit knows of are decided again, and must give what the journal has.
        """
        store, run = self._parts.store, self._run
        saved = store.load_snapshot()
        bars, heard = (0, 0) if saved is None else (int(saved[1]["bars"]), int(saved[1].get("heard", 0)))
        then = past(JournalReader(self._folder.journal), bars, heard)
        known = then.opening.facts.get if saved is None else store.get_meta
        self._identity.check(known)
        self._refuse_changes(then, known)
        await self._source.go_on(then.last, then.undecided)
        run.restore_record(then.state)
        self.resumed_from = run.bars
        for batch in then.decided:
            run.feed(batch)
            self.resumed_from = run.bars
            if run.bars % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if saved is None:
            self._identity.save(store)
        else:
            run.restore(saved[1])
            self._identity.note_changes(store, self._parts.recorder, self._parts.clock.now_ms())
        self._journal.resume(then, self._opening)
        self._tell_resumed = True
        return self._parts.clock.now_ms()

    def _renew(self) -> None:
        """What is new goes into a segment that says what holds now."""
        journal = self._journal
        if not (journal.stale or journal.segment_due(self._run.bars)):
            return
        self._commit()
        if journal.stale or self._why_not_written() is None:
            journal.begin(self._opening, self._run.record(whole=True))
        if journal.stale:
            self._must_be_written()

    def _refuse_changes(self, then: Past, known: Known) -> None:
        """A bar is decided to its end under what held when it came."""
        changed = self._identity.changed(known)
        if changed and then.undecided:
            raise StateError(
                f"{len(then.undecided)} bars were being decided under other {changed[0].what} when the session was cut off",
                help="put the former configuration back, start once so that they are finished, stop, then change it",
                code="JRN-007",
            )

    # --- words --------------------------------------------------------------------------------------------

    def heard(self, ts: int) -> Iterator[Word]:
        """What comes in between two bars: first what stands in the journal at this place, then what is new."""
        while (word := self._journal.expected_word()) is not None:
            yield word
        if self._journal.catching_up:
            return
        if self._tell_resumed:
            self._tell_resumed = False
            yield Word(ts, WordKind.RESUMED.value)
        yield from self._outside.heard(ts)

    def done(self, word: Word) -> None:
        """A person's word is on the disk before its note is taken away."""
        if word.kind in (WordKind.UNLOCK, WordKind.ACCEPTED):
            self._not_done.append(word)
            self._save()
        else:
            self._outside.done(word)

    # --- pace ---------------------------------------------------------------------------------------------

    async def _pace(self) -> None:
        """Wait until the next bar is due; at full speed only look at the event loop now and then."""
        if self._on_progress is not None:
            self._on_progress()
        speed = self._options.speed
        if self._options.market_time:
            return
        if speed is None:
            if self.bars % self._look_every == 0:
                await asyncio.sleep(0)
            return
        step_s = self._step_ms / 1000.0 / speed
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), step_s)

    # --- what is kept -------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """After a bar: what was decided is on the disk, and now and then the state is in the journal too."""
        run, journal = self._run, self._journal
        if journal.state_due(run.bars):
            journal.keep(run.record(whole=False))
        self._save()
        now = elapsed_ns()
        self._live.sync((now - self._last_commit_ns) / 1e9)
        self._last_commit_ns = now

    def _save(self) -> None:
        """Journal first, then the records that rest on it: these never stand alone, or nobody could go on from them.

        At full speed a disk that is full ends the run. At a market's pace it must not: exits go on, entries stop (the
        journal's own gate), and everything is tried again with the next bar.
        """
        run, journal, store = self._run, self._journal, self._parts.store
        journal.sync()
        if journal.failure is None:
            store.set_meta(FRAMES, str(journal.frames))
            store.save_snapshot(run.seq - 1, run.snapshot())
            self._commit_records()
        if self._options.bulk:
            self._must_be_written()
        if self._why_not_written() is None:
            while self._not_done:
                self._outside.done(self._not_done.pop(0))

    def _commit_records(self) -> None:
        try:
            self._parts.store.commit()
        except StateError as error:
            if self._options.bulk:
                raise
            self._lost_records = error.what
        else:
            self._lost_records = None

    def _why_not_written(self) -> str | None:
        return self._journal.failure or self._lost_records

    def _must_be_written(self) -> None:
        """Go on only if what was decided is on the disk.

        Raises:
            StateError: it is not.
        """
        why = self._why_not_written()
        if why is not None:
            raise StateError(
                f"the session in {self._folder.root} can't be written: {why}",
                help="free some space there, then start again: it goes on from the last bar on the disk",
                code="JRN-002",
            )

    def _report_days_on_the_way(self, ts: int) -> None:
        """A report that cannot be written holds nothing up; it is tried again with the next bar."""
        try:
            self._report_days(ts)
        except StateError as error:
            if not self._report_lost:
                self._parts.recorder.alert(ts, AlertLevel.WARNING, "report_lost", error.what)
            self._report_lost = True
        else:
            self._report_lost = False

    def _report_days(self, ts: int) -> None:
        """Hand over the reports of the days that are over (I2); a paced run does so as each day ends."""
        if ts < self._day_end:
            return
        zone, store = self._parts.context.config.governance.zone, self._parts.store
        for day in days_due(store, ts, zone):
            deliver(store, daily_report(store, day, zone), self._folder.reports, ts)
        self._day_end = day_bounds(day_of(ts, zone), zone)[1]


async def _end(*futures: asyncio.Future[Any]) -> None:
    """Let go of what is still waited for."""
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
