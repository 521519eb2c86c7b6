"""A venue that speaks between two bars, as a real one does: heard at once, on record, made again as it was (issue 4, G4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.data.blocks import Batch
from core.errors import BrainError
from core.journal.bars import bars_of
from core.journal.reader import JournalReader
from core.journal.records import EventsIn, Word
from core.sim.exchange import SimExchange
from core.types import BrokerEvent
from graph import journaling
from graph.assembly import Assembly, assemble
from graph.engines import EngineKind, build_engine
from graph.journaling import JournaledVenue, open_journal
from graph.rerun import standing_before
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.sessions import find
from graph.stepping.stepper import Stepper, stepping
from graph.words import WordKind
from tests.agents.making import BTC, breaking_out
from tests.graph.test_rerun import again, lost, won
from tests.support.ladder import HandMade
from tests.support.run import Store, short_configuration

OnEvents = Callable[[tuple[BrokerEvent, ...]], Awaitable[None]]
MARKET_TIME = RunOptions(market_time=True)


class Slow(SimExchange):
    """Tells what happened in a bar only after it was decided."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._late: list[tuple[BrokerEvent, ...]] = []

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        async def keep(events: tuple[BrokerEvent, ...]) -> None:
            self._late.append(events)

        await super().advance(batch, keep)

    async def wait(self) -> None:
        if not self._late:
            await super().wait()

    async def deliver(self, on_events: OnEvents) -> None:
        while self._late:
            await on_events(self._late.pop(0))

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"late": [msgspec.to_builtins(EventsIn.of(events)) for events in self._late]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._late = [msgspec.convert(late, EventsIn).events() for late in state["late"]]


def slow(source: HandMade, folder: Path) -> Assembly:
    """Services over a slow venue, not started."""
    store = Store(SessionDir(folder).database)
    config = short_configuration()
    journal = open_journal(SessionDir(folder).journal, store)
    parts = assemble(config, source, store, 300.0, journal)
    instruments = parts.context.market.instruments
    venue = JournaledVenue(Slow(instruments, 300.0, leverage_cap=config.governance.leverage_cap), journal)
    return assemble(config, source, store, 300.0, journal, venue)


class Killed(Exception):
    """The process ends here."""


def live(source: HandMade, folder: Path, look: Callable[[Daemon], None] = lambda _: None) -> Daemon:
    parts = slow(source, folder)
    daemon = Daemon(parts, build_engine(EngineKind.DIRECT), SessionDir(folder), MARKET_TIME)
    try:
        asyncio.run(daemon.run(lambda: look(daemon)))
    finally:
        parts.store.close()
        parts.journal.close()
    return daemon


def recorded(folder: Path) -> list[Any]:
    reader = JournalReader(folder / "journal")
    return [bar for segment in reader.segments for bar in bars_of(reader, segment)]


def test_what_the_venue_tells_between_bars_is_heard_before_the_next_one_and_on_record_there(tmp_path: Path) -> None:
    daemon = live(lost(), tmp_path)
    assert daemon.parts.telemetry.result().trades >= 1
    spoken = [bar for bar in recorded(tmp_path) if bar.after]
    assert spoken
    assert all(isinstance(bar.after[0], EventsIn) for bar in spoken)
    assert not [one for bar in recorded(tmp_path) for one in bar.inputs if isinstance(one, EventsIn)]


@pytest.mark.parametrize("engine", EngineKind)
@pytest.mark.parametrize("market", [won, lost])
def test_a_session_with_words_between_bars_is_made_again_decision_by_decision(
    market: Callable[[], HandMade], engine: EngineKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaling, "STATE_EVERY", 3)
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 7)
    daemon = live(market(), tmp_path)
    bars, compared, chain = again(tmp_path, engine)
    assert (bars, compared, chain) == (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)


def test_any_bar_of_it_can_be_stood_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last kept state is from before the venue spoke."""
    monkeypatch.setattr(journaling, "STATE_EVERY", 2)
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 6)
    daemon = live(lost(), tmp_path)

    async def to_the_end(bar: int) -> int:
        with standing_before(JournalReader(tmp_path / "journal"), bar, build_engine(EngineKind.DIRECT)) as rerun:
            rerun.compare_states()
            while await rerun.next() is not None:
                pass
            return rerun.bar

    for bar in range(daemon.bars):
        assert asyncio.run(to_the_end(bar)) == daemon.bars


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of what a run decides that nobody killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journaling, "STATE_EVERY", 3)
        patch.setattr(journaling, "SEGMENT_BARS", 7)
        return live(lost(), tmp_path_factory.mktemp("whole")).parts.recorder.decisions_hash


@pytest.mark.parametrize("nth", range(1, 12))
def test_killed_while_the_venue_speaks_it_goes_on_as_if_it_had_not_been(
    nth: int, uninterrupted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X43: at every commit of the run in turn; what was heard before it is not heard twice, what came after is."""
    monkeypatch.setattr(journaling, "STATE_EVERY", 3)
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 7)
    left = nth
    commit = Store.commit

    def dies(store: Store) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        commit(store)

    monkeypatch.setattr(Store, "commit", dies)
    with pytest.raises((Killed, BrainError)):
        live(lost(), tmp_path / "killed")
    monkeypatch.setattr(Store, "commit", commit)
    resumed = live(lost(), tmp_path / "killed")
    assert resumed.parts.recorder.decisions_hash == uninterrupted
    assert again(tmp_path / "killed")[2] == uninterrupted


def test_a_stop_is_heard_while_the_market_is_silent(tmp_path: Path) -> None:
    """F5: a daemon that waits for a bar of hours ends at once when asked to, with its state saved."""

    class Silent(HandMade):
        async def batches(self, after_ts: int | None = None) -> Any:
            count = 0
            async for batch in super().batches(after_ts):
                yield batch
                count += 1
                if count == 5:
                    asyncio.get_running_loop().call_later(0.01, stop)
                    await asyncio.get_running_loop().create_future()

    daemons: list[Daemon] = []

    def stop() -> None:
        daemons[0].stop()

    daemon = live(Silent({BTC: breaking_out().climb(5)}), tmp_path, daemons.append)
    assert daemon.bars == 5
    assert again(tmp_path)[0] == 5


def test_a_persons_word_between_bars_is_made_again_at_its_place(tmp_path: Path) -> None:
    """Said at once, not with the next bar: a shutdown cannot wait for one."""

    def look(daemon: Daemon) -> None:
        if daemon.bars == 6:
            word = Word(daemon.parts.clock.now_ms(), WordKind.GOVERNANCE_CHANGED.value)
            asyncio.run_coroutine_threadsafe(daemon._run.said(word), asyncio.get_running_loop())

    daemon = live(won(), tmp_path, look)
    spoken = [bar.number for bar in recorded(tmp_path) if any(isinstance(one, Word) for one in bar.after)]
    assert spoken == [5]
    assert daemon.parts.context.governor.view.governance_changed
    assert again(tmp_path)[2] == daemon.parts.recorder.decisions_hash


async def test_the_stepper_hears_it_too_wherever_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bar after bar, and by a jump to each: what is open before a bar is the same, stop and all."""
    monkeypatch.setattr(journaling, "STATE_EVERY", 3)
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 9)
    daemon = await asyncio.to_thread(live, lost(), tmp_path)

    def open_now(stepper: Stepper) -> list[tuple[str, str]]:
        return [(symbol, str(held.stop)) for symbol, held in stepper.held.run.context.ledger.positions.items()]

    seen = []
    with stepping(find(str(tmp_path), None)) as stepper:
        await stepper.stand(0)
        for bar in range(daemon.bars):
            seen.append(open_now(stepper))
            if bar + 1 < daemon.bars:
                await stepper.stand(bar + 1)
        await stepper.close()
    assert len({tuple(held) for held in seen}) > 2
    for bar in (daemon.bars - 1, 14, 13, 12, 3):
        with stepping(find(str(tmp_path), None)) as stepper:
            await stepper.stand(bar)
            assert open_now(stepper) == seen[bar]
            await stepper.close()
