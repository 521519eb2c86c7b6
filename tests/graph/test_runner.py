"""The daemon: it ends where it is told to, goes on where it stopped, and hears people between bars (F5, H2, X12, X42, X43)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from configs.validators import Configuration
from core.codes import RefusalCode
from core.errors import SourceError, StateError
from core.monitor.reader import StoreReader
from core.types import TradingState
from graph.assembly import instruments_for
from graph.engines import EngineKind, build_engine
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir, UnlockRequest
from tests.agents.making import BTC, ETH, SIGNAL, breaking_out, close_of
from tests.core.strategies.making import trade
from tests.support.ladder import HOUR, HandMade, ladder
from tests.support.run import Look, Ran, Watched, assembled, short_configuration

AT_ONCE = 1e12
"""A pace at which every bar is committed and every bar is looked between, but nothing is waited for."""


def won() -> HandMade:
    """BTC is bought at hour 12, wins, and is held over a settlement of funding."""
    return HandMade({BTC: breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).climb(5)})


def lost() -> HandMade:
    """BTC falls 25 below its stop at hour 13 and pulls the kill-switch."""
    eth = breaking_out().climb(1).candle(0.5).candle(2.6).candle(0.06, volume=10.0).climb(8).breakout()
    return HandMade({BTC: breaking_out().climb(1).candle(0.0, gap=-25.0).climb(14), ETH: eth})


def start(
    source: HandMade,
    folder: Path,
    options: RunOptions | None = None,
    look: Callable[[Daemon], Look] | None = None,
    config: Configuration | None = None,
    **more: Any,
) -> Ran:
    """A daemon over ``source``; ``look`` is given the daemon and gives what to call after each decision."""
    parts = assembled(source, folder, config or short_configuration())
    watched = Watched(build_engine(EngineKind.DIRECT))
    daemon = Daemon(parts, watched, SessionDir(folder), options or RunOptions(), **more)
    watched.look = None if look is None else look(daemon)
    try:
        result = asyncio.run(daemon.run())
    finally:
        parts.store.close()
    return Ran(parts, result, watched.states, SessionDir(folder), daemon)


def alerts(ran: Ran) -> list[tuple[str, str]]:
    with StoreReader(ran.folder.database) as reader:
        return [(code, message) for code, message in reader.query("SELECT code, message FROM alerts ORDER BY rowid")]


def records(folder: Path) -> list[tuple]:
    with StoreReader(SessionDir(folder).database) as reader:
        return list(reader.decisions())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The winner from beginning to end, at full speed; only looked at."""
    return start(won(), tmp_path_factory.mktemp("whole"))


# --- the end, and going on ------------------------------------------------------------------------


def test_a_run_ends_with_its_source(whole: Ran) -> None:
    assert (whole.result.bars, whole.daemon.seq, whole.daemon.expected_bars) == (21, 21, 21)
    assert whole.daemon.parts is whole.parts
    assert not whole.daemon.warming


def test_until_bars_counts_the_whole_session(tmp_path: Path) -> None:
    assert start(won(), tmp_path, RunOptions(until_bars=5)).result.bars == 5
    again = start(won(), tmp_path, RunOptions(until_bars=9))
    assert (again.daemon.resumed_from, len(again.states), again.result.bars) == (5, 4, 9)
    assert again.daemon.expected_bars == 9


@pytest.mark.parametrize("stops", [[SIGNAL + 1], [SIGNAL - 8, SIGNAL + 2, SIGNAL + 4]])
def test_a_session_stopped_anywhere_goes_on_with_the_same_decisions(whole: Ran, tmp_path: Path, stops: list[int]) -> None:
    """X43: before the signal, with the entry on its way, with a position open, after the take; the same records and hash."""
    for until in stops:
        start(won(), tmp_path, RunOptions(until_bars=until))
    end = start(won(), tmp_path)
    assert end.decisions_hash == whole.decisions_hash
    assert records(tmp_path) == records(whole.folder.root)
    assert end.result == whole.result
    assert end.context.ledger.positions == whole.context.ledger.positions


def test_a_run_that_is_told_to_stop_ends_after_the_present_bar_with_its_state_saved(tmp_path: Path) -> None:
    """F5."""

    def stop_at_seven(daemon: Daemon) -> Look:
        return lambda event, state, context: daemon.stop() if event.seq == 7 else None

    ran = start(won(), tmp_path, look=stop_at_seven)
    assert (ran.daemon.seq, len(records(tmp_path))) == (8, 8)
    assert start(won(), tmp_path).daemon.resumed_from == 8


def test_the_pace_changes_nothing_that_is_decided(whole: Ran, tmp_path: Path) -> None:
    """G4: at full speed and bar by bar; and whoever watches is called after every bar."""
    parts = assembled(won(), tmp_path, short_configuration())
    daemon = Daemon(parts, build_engine(EngineKind.DIRECT), SessionDir(tmp_path), RunOptions(speed=AT_ONCE))
    seen: list[int] = []
    asyncio.run(daemon.run(lambda: seen.append(daemon.seq)))
    parts.store.close()
    assert parts.recorder.decisions_hash == whole.decisions_hash
    assert seen == list(range(1, 22))


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda: (HandMade({ETH: ladder().climb(4)}), {}), "symbols"),
        (lambda: (won(), {"config": short_configuration().model_copy(update={"digest": "0" * 64})}), None),
        (lambda: (won(), {"identity": {"seed": "8"}}), "seed '7'"),
    ],
)
def test_saved_state_of_another_run_is_refused(
    tmp_path: Path, other: Callable[[], tuple[HandMade, Mapping[str, Any]]], what: str | None
) -> None:
    start(won(), tmp_path, RunOptions(until_bars=3), identity={"seed": "7"})
    source, more = other()
    more = {"identity": {"seed": "7"}, **more}
    if what is None:
        assert start(source, tmp_path, **more).daemon.resumed_from == 3
        return
    with pytest.raises(StateError, match=what) as error:
        start(source, tmp_path, **more)
    assert error.value.code == "STATE-010"


def test_the_past_of_a_session_is_what_its_journal_says(tmp_path: Path) -> None:
    """X43: a source that tells another past than it told before changes nothing that was decided."""
    start(won(), tmp_path, RunOptions(until_bars=6))
    whole = records(tmp_path)
    changed = HandMade({BTC: breaking_out().climb(9)}, lost=[2])
    ran = start(changed, tmp_path)
    assert (ran.daemon.resumed_from, records(tmp_path)[:6]) == (6, whole)


def states_of(ran: Ran) -> list[TradingState]:
    return [state["record"].state for state in ran.states]


def test_only_a_person_lifts_the_kill_switch_and_the_word_is_taken_once(tmp_path: Path) -> None:
    """X12: it holds until then; the request waits in the folder, and the reason is on record."""

    def ask(daemon: Daemon) -> Look:
        folder = SessionDir(tmp_path)

        def look(event: Any, state: Any, context: Any) -> None:
            if event.seq == SIGNAL + 5:
                folder.request_unlock(UnlockRequest("looked at it", "owner"))

        return look

    ran = start(lost(), tmp_path, RunOptions(speed=AT_ONCE), look=ask)
    killed, unlocked = SIGNAL + 2, SIGNAL + 6
    assert states_of(ran)[killed:unlocked] == [TradingState.HALTED] * (unlocked - killed)
    assert TradingState.HALTED not in states_of(ran)[unlocked:]
    assert ran.folder.waiting_unlock() is None
    assert ("unlocked", "owner: looked at it") in alerts(ran)
    assert ran.result.kill_switches == 1


def test_an_unlock_that_was_left_while_nothing_ran_is_found_at_the_next_start(tmp_path: Path) -> None:
    """E9: the kill-switch survives the restart, and so does the word."""
    start(lost(), tmp_path, RunOptions(until_bars=SIGNAL + 4))
    still = start(lost(), tmp_path, RunOptions(until_bars=SIGNAL + 5))
    assert states_of(still) == [TradingState.HALTED]
    SessionDir(tmp_path).request_unlock(UnlockRequest("looked", "owner"))
    after = start(lost(), tmp_path, RunOptions(until_bars=SIGNAL + 6))
    assert TradingState.HALTED not in states_of(after)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff"])
def test_a_damaged_unlock_ends_no_run_and_is_told_once(damage: bytes, tmp_path: Path) -> None:
    """F5: what a torn or a mistyped note asks for is not known, so that it lifts nothing; it holds no bar up either."""
    SessionDir(tmp_path)
    (tmp_path / "unlock.json").write_bytes(damage)
    ran = start(lost(), tmp_path, RunOptions(speed=AT_ONCE))
    assert states_of(ran)[-1] is TradingState.HALTED
    ((code, text),) = [alert for alert in alerts(ran) if alert[0] == "note_damaged"]
    assert (code, "unlock.json is damaged, and is passed over" in text) == ("note_damaged", True)
    assert (tmp_path / "unlock.json").read_bytes() == damage


def test_in_a_replay_the_kill_switch_may_be_lifted_after_a_while_and_that_is_said(tmp_path: Path) -> None:
    """X42."""
    ran = start(lost(), tmp_path, RunOptions(unlock_after_ms=3 * HOUR))
    halted = [seq for seq, state in enumerate(states_of(ran)) if state is TradingState.HALTED]
    assert halted[0] == SIGNAL + 2
    assert len(halted) == 4  # the bar on which it fired, and three hours
    assert ("unlocked", "replay: replay: --unlock-after 180 min") in alerts(ran)


# --- the locked file ------------------------------------------------------------------------------


def test_limits_that_are_touched_while_running_leave_only_exits(tmp_path: Path) -> None:
    """H2, X12: REDUCING under the old values, an alert, entries refused by code."""
    ran = start(won(), tmp_path, RunOptions(speed=AT_ONCE), governance_changed=lambda: True)
    assert set(states_of(ran)) == {TradingState.REDUCING}
    codes = [item.code for item in ran.states[SIGNAL]["selection"].refusals]
    assert codes == [RefusalCode.GOVERNANCE_CHANGED]
    assert [code for code, _ in alerts(ran)].count("governance_changed") == 1


def test_limits_that_were_signed_anew_hold_after_a_restart_and_that_is_on_record(tmp_path: Path) -> None:
    """H2: the session goes on under the new digest; without a change nothing is said."""
    start(won(), tmp_path, RunOptions(until_bars=3))
    signed = short_configuration().model_copy(update={"governance_digest": "f" * 64})
    start(won(), tmp_path, RunOptions(until_bars=5), config=signed)
    again = start(won(), tmp_path, RunOptions(until_bars=7), config=signed)
    before = short_configuration().governance_digest
    told = [message for code, message in alerts(again) if code == "governance_signed"]
    assert told == [f"limits {'f' * 64} hold now, before it were {before}"]


def test_a_selection_that_wins_too_rarely_is_tightened_and_that_is_said(tmp_path: Path) -> None:
    """X24: forty-nine lost trades are on the books, the fiftieth is lost in the run."""

    def lose(daemon: Daemon) -> Look:
        def look(event: Any, state: Any, context: Any) -> None:
            if event.seq == SIGNAL:
                for _ in range(49):
                    context.quality.on_trade(trade(-1.0))

        return look

    ran = start(lost(), tmp_path, look=lose)
    assert ran.context.quality.threshold == 8.0
    assert [code for code, _ in alerts(ran)].count("selection_tightened") == 1
    # the request is an event of its own: a decision more, not a bar more, and research answers that it is not there yet
    assert ran.result.decisions == ran.result.bars + 1
    assert ran.result.refusals["NOT_AVAILABLE_YET"] == 1


# --- health ---------------------------------------------------------------------------------------


def test_a_drifting_clock_pauses_entries_and_they_resume(tmp_path: Path) -> None:
    """B4, E7: above 1500 ms; told when it begins and when it ends, and the signal in between is refused."""
    drift = dict.fromkeys(range(SIGNAL - 1, SIGNAL + 2), 1501.0)
    ran = start(HandMade({BTC: breaking_out().climb(2)}, drift_ms=drift), tmp_path)
    assert [item.code for item in ran.states[SIGNAL]["selection"].refusals] == [RefusalCode.CLOCK_DRIFT]
    paused = [state["event"].seq for state in ran.states if not state["status"].health.ok]
    assert paused == [SIGNAL - 1, SIGNAL, SIGNAL + 1]
    told = [code for code, message in alerts(ran) if "CLOCK_DRIFT" in message]
    assert told == ["paused", "resumed"]
    assert ran.result.plans == 0


# --- money and reports ----------------------------------------------------------------------------


def test_funding_of_an_open_position_is_settled_and_recorded(whole: Ran) -> None:
    """A long pays 0.01 % of about 111 USD, at 16:00, after a quarter was sold at the take."""
    with StoreReader(whole.folder.database) as reader:
        payments = reader.query("SELECT symbol, amount FROM funding")
    assert [symbol for symbol, _ in payments] == [BTC]
    assert whole.result.funding == pytest.approx(sum(amount for _, amount in payments))
    assert -0.0112 < whole.result.funding < -0.008


def test_an_instrument_that_the_configuration_lacks_is_named_with_those_there_are() -> None:
    with pytest.raises(SourceError, match="no entry for XYZ/USDT:USDT; it has BTC/USDT:USDT") as error:
        instruments_for(short_configuration(), (BTC, "XYZ/USDT:USDT"))
    assert error.value.code == "DATA-016"


# --- what must not pass unnoticed -----------------------------------------------------------------


def test_a_fault_in_a_node_leaves_word_and_only_whole_bars(tmp_path: Path) -> None:
    """4 of the house's rules: an alert for a person, the edge that led there in red, and nothing half recorded."""

    def fail(daemon: Daemon) -> Look:
        def look(event: Any, state: Any, context: Any) -> None:
            if event.seq == 7:
                raise RuntimeError("a fault made by the test")

        return look

    with pytest.raises(RuntimeError, match="made by the test"):
        start(won(), tmp_path, look=fail)
    with StoreReader(SessionDir(tmp_path).database) as reader:
        assert [code for (code,) in reader.query("SELECT code FROM alerts")] == ["fault"]
        assert list(reader.decisions()) == []
    assert start(won(), tmp_path).result.bars == 21


def test_a_position_that_nothing_covers_is_covered_again_and_told_once(tmp_path: Path) -> None:
    """F6: the watchdog looks after every bar; here it finds the position naked on two of them."""
    tried: list[int] = []

    def naked_twice(daemon: Daemon) -> Look:
        orders = daemon.parts.context.orders

        async def cover(ts: int) -> tuple[str, ...]:
            tried.append(ts)
            return (BTC,)

        def look(event: Any, state: Any, context: Any) -> None:
            orders.unprotected = lambda: (BTC,) if SIGNAL + 2 <= event.seq <= SIGNAL + 3 else ()  # type: ignore[method-assign]

        orders.protect_again = cover  # type: ignore[method-assign]
        return look

    ran = start(won(), tmp_path, look=naked_twice)
    assert tried == [close_of(SIGNAL + 2), close_of(SIGNAL + 3)]
    assert [code for code, _ in alerts(ran)].count("unprotected") == 1
    assert ran.result.errors == 1


def test_a_calendar_that_was_reviewed_between_two_starts_holds_and_is_on_record(tmp_path: Path) -> None:
    """X22: a person reviews it while the session lives."""
    start(won(), tmp_path, RunOptions(until_bars=5))
    config = short_configuration()
    reviewed = config.blackouts.model_copy(update={"reviewed_until": datetime(2030, 1, 1, tzinfo=UTC)})
    again = start(won(), tmp_path, config=config.model_copy(update={"blackouts": reviewed}))
    assert again.result.bars == 21
    assert [code for code, _ in alerts(again)].count("blackouts_reviewed") == 1
