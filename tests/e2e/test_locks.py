"""The day lock and the kill-switch, from the first refused entry to the person who lifts it (E6, E9, X12, X42; 7.3)."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from configs.lock import write_lock
from core.types import TradingState
from tests.support.commands import (
    SOON_WARM,
    Said,
    alerts,
    at_terminal,
    brain,
    last_seq,
    paper,
    process,
    refused,
    rewrite,
    rows,
    short_configs,
    short_past,
    snapshot,
)

DAY_LOCK = ("--scenario", "gap", "--seed", "1", "--equity", "10000")
KILL = ("--scenario", "trend", "--seed", "2", "--equity", "10000")
WHY, CONFIRM = "Why is it safe to go on? ", "Type UNLOCK to go on: "


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    with short_past(SOON_WARM):
        yield


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_configs(tmp_path_factory.mktemp("locks") / "configs")


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Limits so tight that a trailed position gives back enough to pull the kill-switch while it is open; signed."""
    folder = short_configs(tmp_path_factory.mktemp("tight") / "configs")
    rewrite(folder / "governance.yaml", "kill_switch_drawdown_72h: 3.5", "kill_switch_drawdown_72h: 0.6")
    rewrite(folder / "governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 0.6")
    write_lock(folder, "a person", "a tight month", dt.date(2026, 1, 1))
    return folder


def when(state: Path, code: str) -> int:
    """Bar of the one alert with ``code``: an alert stands under the number of the decision that follows it."""
    (seq,) = [seq for seq, name, _ in alerts(state) if name == code]
    return seq


def entries(state: Path, first: int, last: int) -> list[int]:
    """Bars of orders that open or add, from ``first`` up to and without ``last``."""
    sql = "SELECT seq FROM orders WHERE purpose IN ('entry', 'add') AND seq >= ? AND seq < ?"
    return [seq for (seq,) in rows(state, sql, first, last)]


def states(state: Path, first: int, last: int) -> set[str]:
    """Trading states that the decision records name."""
    records = rows(state, "SELECT record FROM decisions WHERE seq >= ? AND seq < ?", first, last)
    return {msgspec.msgpack.decode(record)["state"] for (record,) in records}


# --- the day lock ---------------------------------------------------------------------------------------


def test_the_day_lock_fires_refuses_entries_and_ends_with_the_next_day(configs: Path, tmp_path: Path) -> None:
    """E6, X1, X12: REDUCING until midnight in Chisinau, which is 22:00 UTC in January."""
    said = paper(tmp_path, *DAY_LOCK, "--configs", str(configs), bars=600)
    assert (said.data["daily_locks"], said.data["kill_switches"]) == (1, 0)
    locked, free = when(tmp_path, "day_lock_set"), when(tmp_path, "day_lock_cleared")
    assert locked < free < 600
    assert entries(tmp_path, locked, free - 1) == []
    refusals = refused(tmp_path, "DAY_LOCK")
    assert refusals
    assert all(locked <= seq < free for seq in refusals)
    assert len(refusals) == said.data["refusals"]["DAY_LOCK"]
    assert states(tmp_path, locked, free - 1) == {TradingState.REDUCING}
    assert TradingState.ACTIVE in states(tmp_path, free, 600)
    (row,) = rows(tmp_path, "SELECT ts, level FROM alerts WHERE code = 'day_lock_cleared'")
    assert dt.datetime.fromtimestamp(row[0] / 1000, dt.UTC).strftime("%H:%M") == "22:00"
    ((message, detail),) = rows(tmp_path, "SELECT message, detail FROM refusals WHERE code = 'DAY_LOCK' ORDER BY rowid LIMIT 1")
    assert "day_pnl_pct -1.8" in message or "day_pnl_pct -2" in message  # the arithmetic is on record
    assert "day_start_equity" in detail


# --- the kill-switch ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halted(tight: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session that was stopped soon after its kill-switch fired, with a position open."""
    state = tmp_path_factory.mktemp("halted")
    assert paper(state, *KILL, "--configs", str(tight), bars=300).data["kill_switches"] == 1
    return state


def go_on(state: Path, tight: Path, bars: int, *more: str) -> Said:
    return paper(state, *KILL, "--configs", str(tight), *more, bars=bars)


def test_the_kill_switch_flattens_and_halts(halted: Path) -> None:
    """X12: what is open is closed at the market, and nothing is opened any more."""
    fired = when(halted, "kill_switch")
    closed = rows(halted, "SELECT symbol, seq FROM trades WHERE exit_reason = 'kill_switch'")
    assert closed
    assert all(seq - fired in {0, 1} for _, seq in closed)  # the very next bar
    saved = snapshot(halted)
    assert saved["governor"]["_kill"]
    assert saved["ledger"]["positions"] in ([], {})
    assert states(halted, fired, 300) == {TradingState.HALTED}
    assert entries(halted, fired, 300) == []
    assert refused(halted, "KILL_SWITCH")
    (level,) = rows(halted, "SELECT level FROM alerts WHERE code = 'kill_switch'")
    assert level == ("page",)


def test_a_halt_survives_a_restart_until_a_person_lifts_it(halted: Path, tight: Path, tmp_path: Path) -> None:
    """E9, X11, X12: HALTED stays over restarts; `brain unlock` at a terminal, with a reason on record, ends it."""
    state = tmp_path / "state"
    shutil.copytree(halted, state)
    said = go_on(state, tight, 340)
    assert (said.code, said.data["kill_switches"]) == (0, 1)
    assert states(state, 300, 340) == {TradingState.HALTED}

    refused_here = process("unlock", "--state", str(state), "--reason", "because")
    assert (refused_here.code, refused_here.out) == (3, "")
    assert "error[LOCK-002]" in refused_here.err
    assert brain("unlock", "--state", str(state)).code == 3
    for answers, code in ([(WHY, "\n")], 2), ([(WHY, "calm\n"), (CONFIRM, "unlock\n")], 1):
        assert at_terminal("unlock", "--state", str(state), answers=answers).code == code
    assert not (state / "unlock.json").exists()

    shown = at_terminal("unlock", "--state", str(state), answers=[(WHY, "the trend is over\n"), (CONFIRM, "UNLOCK\n")])
    assert "peak_72h" in shown.out
    assert (state / "unlock.json").exists()
    again = go_on(state, tight, 400)
    assert not (state / "unlock.json").exists()
    assert again.data["kill_switches"] == 1
    unlocked = [(seq, text) for seq, code, text in alerts(state) if code == "unlocked"]
    assert [(seq, text.endswith(": the trend is over")) for seq, text in unlocked] == [(340, True)]
    (detail,) = rows(state, "SELECT message FROM alerts WHERE code = 'unlock'")
    assert "reason the trend is over" in detail[0]
    assert states(state, 340, 400) == {TradingState.ACTIVE}
    assert refused(state, "KILL_SWITCH")[-1] < 340
    # it stands at the time of the bar before, so that the first bar after it is marked like any other
    assert rows(state, "SELECT ts FROM alerts WHERE code = 'unlocked'") == rows(state, "SELECT ts FROM decisions WHERE seq = 339")
    assert last_seq(state) >= 399


def test_an_unlock_is_taken_once(halted: Path, tight: Path, tmp_path: Path) -> None:
    """The word of a person lifts the halt that they looked at, not the next one."""
    state = tmp_path / "state"
    shutil.copytree(halted, state)
    (state / "unlock.json").write_text('{"reason": "once", "who": "a person"}', encoding="utf-8")
    assert go_on(state, tight, 320).code == 0
    assert not (state / "unlock.json").exists()
    assert not snapshot(state)["governor"]["_kill"]
    assert [code for _, code, _ in alerts(state)].count("unlocked") == 1


def test_unlock_after_lifts_a_halt_in_a_run_with_an_end(halted: Path, tight: Path, tmp_path: Path) -> None:
    """X42: recorded as such, three hours (36 bars) after the kill-switch fired."""
    said = go_on(tmp_path, tight, 300, "--unlock-after", "3h")
    fired = when(tmp_path, "kill_switch")
    assert fired == when(halted, "kill_switch")
    ((seq, text),) = [(seq, text) for seq, code, text in alerts(tmp_path) if code == "unlocked"]
    assert text == "replay: replay: --unlock-after 180 min"
    assert seq - fired in {36, 37}
    assert states(tmp_path, fired, seq) == {TradingState.HALTED}
    assert TradingState.ACTIVE in states(tmp_path, seq, 300)
    assert said.data["kill_switches"] >= 1


@pytest.mark.acceptance
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("flags", "bars", "locks", "kills"),
    [
        (("--scenario", "crash", "--seed", "1", "--equity", "10000"), 620, 1, 0),
        (("--scenario", "losing_streak", "--seed", "1"), 800, 0, 1),
        (("--scenario", "losing_streak", "--seed", "11"), 620, 1, 1),
        (("--scenario", "gap", "--seed", "26", "--equity", "2000"), 620, 1, 1),  # with positions open: they are flattened
    ],
)
def test_the_locks_fire_with_the_limits_and_flags_of_the_readme(
    flags: tuple[str, ...], bars: int, locks: int, kills: int, tmp_path: Path
) -> None:
    """7.3: what a newcomer can type, under the limits that come with the program."""
    said = process("paper", "--speed", "max", "--json", "--state", str(tmp_path), *flags, "--until-bars", str(bars))
    assert (said.data["daily_locks"], said.data["kill_switches"]) == (locks, kills)


def test_the_doctor_names_a_halted_session_with_its_remedy(halted: Path) -> None:
    """K1: code 5, a person is needed."""
    said = brain("doctor", "--state", str(halted))
    assert said.code == 5
    assert f"brain unlock --state {halted}" in said.out
