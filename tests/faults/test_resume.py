"""Stopped anywhere and gone on with: the same decisions, nothing lost, nothing twice (X43, F5, F6; issue 2, section 7.4)."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from configs.lock import write_lock
from core.data.blocks import Batch
from core.monitor.store import Store
from graph import runner
from graph.journaling import FRAMES
from graph.runner import Daemon
from tests.support.commands import (
    SOON_WARM,
    Said,
    alerts,
    at_terminal,
    brain,
    configs_in,
    last_seq,
    paper,
    records,
    rewrite,
    rows,
    short_configs,
    short_past,
    snapshot,
    soon_warm,
    stopped,
)
from tests.support.recordings import record

pytestmark = pytest.mark.untraced

SCENARIO = ("--scenario", "gap", "--seed", "1", "--equity", "10000")
"""Positions, adds, lost and broken candles, a day lock and its end, within 620 bars of the short past."""
BARS = 760
LONG = 8000


EVERY = 128
"""Bars in one commit here, so that a short run has several."""


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    with short_past(SOON_WARM), pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "COMMIT_EVERY", EVERY)
        yield


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Flags of the market that is gone on with."""
    return (*SCENARIO, "--configs", str(short_configs(tmp_path_factory.mktemp("market") / "configs")))


@pytest.fixture(scope="module")
def whole(market: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """One go."""
    state = tmp_path_factory.mktemp("whole")
    return state, paper(state, *market, bars=BARS)


def assert_same_session(ours: Path, theirs: Path) -> None:
    """Row by row, table by table, down to the state that the next start would go on from."""
    got, expected = records(ours), records(theirs)
    for table, found in expected.items():
        # how often the journal was written to depends on when a run was stopped
        ours_, theirs_ = ([row for row in rows_ if row[0] != FRAMES] for rows_ in (got[table], found))
        assert ours_ == theirs_, table


def assert_same_answer(ours: Said, theirs: Said) -> None:
    assert ours.data | {"session": ""} == theirs.data | {"session": ""}


def at_commit(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Daemon], None]) -> None:
    """Call ``act`` once, in the middle of the run, right after its ``number``-th commit."""
    left = [number]
    commit = Daemon._commit

    def counted(daemon: Daemon) -> None:
        commit(daemon)
        left[0] -= 1
        if left[0] == 0:
            act(daemon)

    monkeypatch.setattr(Daemon, "_commit", counted)


def test_a_run_in_pieces_is_the_run_in_one_go(
    market: tuple[str, ...], whole: tuple[Path, Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X43, F5: stopped by its bars, by SIGTERM, by SIGINT; with positions open, and while the day lock is on (E9)."""
    assert paper(tmp_path, *market, bars=150).data["bars"] == 150
    assert snapshot(tmp_path)["ledger"]["positions"]

    with monkeypatch.context() as patch:
        at_commit(patch, 1, lambda _: signal.raise_signal(signal.SIGTERM))
        ended = paper(tmp_path, *market, bars=BARS)
    assert 2 * EVERY <= ended.data["bars"] == snapshot(tmp_path)["bars"] < 400  # SIGTERM handled is done: exit code 0

    assert paper(tmp_path, *market, bars=420).data["bars"] == 420
    assert snapshot(tmp_path)["governor"]["_day_lock"]
    with monkeypatch.context() as patch:
        at_commit(patch, 1, lambda _: signal.raise_signal(signal.SIGINT))
        interrupted = paper(tmp_path, *market, bars=BARS)
    answer = interrupted.answer
    assert (interrupted.code, answer["code"], answer["ok"]) == (130, 130, False)
    assert 4 * EVERY <= answer["data"]["bars"] == snapshot(tmp_path)["bars"] < BARS

    said = paper(tmp_path, *market, bars=BARS)
    assert_same_answer(said, whole[1])
    assert_same_session(tmp_path, whole[0])
    assert [said.data[name] > 0 for name in ("trades", "orders", "daily_locks")] == [True] * 3


def test_a_lock_holds_across_a_restart(whole: tuple[Path, Said]) -> None:
    """E9: the day lock ends at the next day's start in Chisinau (22:00 UTC), not with a new process."""
    lock, end = ([row for row in alerts(whole[0]) if row[1] == name] for name in ("day_lock_set", "day_lock_cleared"))
    assert (len(lock), len(end)) == (1, 1)
    entries = rows(
        whole[0], "SELECT seq FROM orders WHERE purpose IN ('entry', 'add') AND seq >= ? AND seq < ?", lock[0][0], end[0][0]
    )
    assert entries == []
    (cleared,) = rows(whole[0], "SELECT ts FROM alerts WHERE code = 'day_lock_cleared'")
    assert dt.datetime.fromtimestamp(cleared[0] / 1000, dt.UTC).strftime("%H:%M") == "22:00"


def test_what_kill_9_leaves_between_two_commits_is_gone_on_with(
    market: tuple[str, ...], whole: tuple[Path, Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6: a copy of the folder in the middle of a run is what a kill at that moment leaves on the disk."""
    bar = Daemon._bar
    moments = {100: tmp_path / "before the first commit", 400: tmp_path / "after the first"}

    async def copied(daemon: Daemon, batch: Batch) -> None:
        await bar(daemon, batch)
        if daemon.bars in moments:
            shutil.copytree(tmp_path / "running", moments[daemon.bars])

    monkeypatch.setattr(Daemon, "_bar", copied)
    assert_same_answer(paper(tmp_path / "running", *market, bars=BARS), whole[1])
    monkeypatch.undo()
    begun, further = moments.values()
    assert last_seq(begun) == -1
    assert snapshot(further)["bars"] == 3 * EVERY
    for folder in moments.values():
        assert_same_answer(paper(folder, *market, bars=BARS), whole[1])
        assert_same_session(folder, whole[0])


def test_a_killed_process_loses_nothing_and_doubles_nothing(
    market: tuple[str, ...], whole: tuple[Path, Said], tmp_path: Path
) -> None:
    """F6; a paced run commits every bar, so the kill may meet it in the middle of a commit."""
    paced = ("--engine", "direct", "--speed", "200000", "--until-bars", str(BARS))
    killed = stopped(tmp_path, 250, signal.SIGKILL, *market, *paced, program=soon_warm)
    assert (killed.code, killed.out) == (-signal.SIGKILL, "")
    assert 250 <= last_seq(tmp_path) < BARS - 1
    assert snapshot(tmp_path)["seq"] == last_seq(tmp_path) + 1
    assert_same_answer(paper(tmp_path, *market, bars=BARS), whole[1])
    assert_same_session(tmp_path, whole[0])


@pytest.mark.acceptance
def test_killed_again_and_again_it_ends_where_the_whole_run_ends(market: tuple[str, ...], tmp_path: Path) -> None:
    """Issue 2, section 7.4: kill -9 at many moments at full speed."""
    broken, until = tmp_path / "broken", ("--until-bars", str(LONG))
    kills = 0
    while last_seq(broken) < LONG - 1200:
        assert (
            stopped(broken, last_seq(broken) + 1 + 97 * kills, signal.SIGKILL, *market, *until, program=soon_warm).code
            == -signal.SIGKILL
        )
        kills += 1
    assert kills >= 3
    assert_same_answer(paper(broken, *market, bars=LONG), paper(tmp_path / "whole", *market, bars=LONG))
    assert_same_session(broken, tmp_path / "whole")


def test_a_replay_in_pieces_is_the_replay_in_one_go(market: tuple[str, ...], tmp_path: Path) -> None:
    """X43 over recordings; without --state a replay starts afresh."""
    data = ("--source", "replay", "--data", str(record(tmp_path / "data", days=2)), "--from", "2026-01-05", *market[4:])
    one_go = paper(tmp_path / "whole", *data)
    assert one_go.data["bars"] == 576
    assert one_go.data["orders"] > 0
    for bars in (100, 355, None):
        said = paper(tmp_path / "pieces", *data, bars=bars)
    assert_same_answer(said, one_go)
    assert_same_session(tmp_path / "pieces", tmp_path / "whole")
    # at its end there is nothing more to do
    assert_same_answer(paper(tmp_path / "pieces", *data), one_go)
    assert_same_session(tmp_path / "pieces", tmp_path / "whole")


# --- what a session will not be gone on with -------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of forty bars on the made market."""
    state = tmp_path_factory.mktemp("begun")
    assert paper(state, bars=40).code == 0
    return state


def with_configs(folder: Path, *changes: tuple[str, str, str], sign: bool = True) -> str:
    configs_in(folder)
    for file, old, new in changes:
        rewrite(folder / file, old, new)
    if sign:
        write_lock(folder, "a person", "for this test", dt.date(2026, 1, 1))
    return str(folder)


CHANGES = {
    "strategies.yaml": ("confirm_bars: 9", "confirm_bars: 10"),
    "symbols.yaml": ('symbol: "BTC/USDT:USDT", tick_size: "0.1"', 'symbol: "BTC/USDT:USDT", tick_size: "0.2"'),
    "enable_map.yaml": ("trend_up: [breakout_4h, vol_exp_15m]", "trend_up: [vol_exp_15m, breakout_4h]"),
}
OTHERS = {
    "seed": ("--seed", "8"),
    "scenario": ("--scenario", "calm"),
    "equity": ("--equity", "301"),
    "symbols": ("--symbols", "BTC/USDT:USDT"),
}


@pytest.mark.parametrize("what", [*OTHERS, *CHANGES, "source"])
def test_another_run_is_refused_with_what_differs_and_nothing_is_overwritten(what: str, begun: Path, tmp_path: Path) -> None:
    before = records(begun)
    arguments = OTHERS.get(what, ())
    if what == "source":
        arguments = ("--source", "replay", "--data", str(record(tmp_path / "data", days=1)))
    if what in CHANGES:
        arguments = ("--configs", with_configs(tmp_path / "configs", (what, *CHANGES[what])))
    said = paper(begun, *arguments, bars=50)
    assert (said.code, said.answer["error"]["code"]) == (4, "STATE-010")
    assert f"{what} '" in said.err
    assert "= effect: nothing was started" in said.err
    assert "--state DIR" in said.err
    assert records(begun) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("blackouts.yaml", "reviewed_until: null", "reviewed_until: 2030-01-01T00:00:00Z"), ["blackouts_reviewed"]),
        (("governance.yaml", "leverage_cap: 3.0", "leverage_cap: 2.5"), ["governance_signed"]),
        (("symbols.yaml", 'symbol: "ADA/USDT:USDT", tick_size: "0.0001"', 'symbol: "ADA/USDT:USDT", tick_size: "0.001"'), []),
    ],
    ids=["a reviewed calendar", "limits signed anew", "an instrument that is not traded"],
)
def test_what_a_person_may_change_between_two_starts_is_gone_on_with_on_record(
    change: tuple[str, str, str], told: list[str], begun: Path, tmp_path: Path
) -> None:
    """H2, X22."""
    state = tmp_path / "state"
    shutil.copytree(begun, state)
    assert paper(state, "--configs", with_configs(tmp_path / "configs", change), bars=50).data["bars"] == 50
    assert [code for seq, code, _ in alerts(state) if seq >= 40] == told


def test_the_range_of_a_replay_is_part_of_its_session_but_its_end_is_not(tmp_path: Path) -> None:
    data = ("--source", "replay", "--data", str(record(tmp_path / "data", days=1)))
    state = tmp_path / "state"
    assert paper(state, *data, "--from", "2026-01-05", "--to", "2026-01-05T02:00").data["bars"] == 24
    other = paper(state, *data, "--from", "2026-01-05T01:00")
    assert (other.code, "start '" in other.err) == (4, True)
    assert paper(state, *data, "--from", "2026-01-05", "--to", "2026-01-05T04:00").data["bars"] == 48


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Said]:
    """Recordings, a session of forty bars over them, and what the whole of sixty bars answers."""
    root = tmp_path_factory.mktemp("recorded")
    data = record(root / "data", days=1)
    assert paper(root / "state", *replay(data), bars=40).code == 0
    return data, root / "state", paper(root / "whole", *replay(data), bars=60)


def replay(data: Path) -> tuple[str, ...]:
    return ("--source", "replay", "--data", str(data), "--from", "2026-01-05")


GOES_ON_AT = 288 * 60 + 40
"""Row of the first bar that the session of forty bars has not seen; sixty days are before it."""


def another_bar(state: Path, data: Path) -> Said:
    """Go on, which must be refused, with nothing overwritten."""
    before = records(state)
    said = paper(state, *replay(data), bars=60)
    assert (said.code, said.answer["error"]["code"]) == (4, "STATE-010")
    assert "the source gives another bar at 2026-01-05 03:20 than the session recorded" in said.err
    assert "= effect: nothing was started" in said.err
    assert records(state) == before
    return said


@pytest.mark.parametrize(("name", "column"), [("BTCUSDT", "close"), ("ETHUSDT", "volume")])
def test_a_last_bar_that_changed_is_refused(name: str, column: str, recorded: tuple[Path, Path, Said], tmp_path: Path) -> None:
    """X43: what the session saw last, the source must give again; symbol, field and both values are named."""
    data, state = shutil.copytree(recorded[0], tmp_path / "data"), shutil.copytree(recorded[1], tmp_path / "state")
    before, after = touch(data / f"perp_5m/{name}.parquet", column, GOES_ON_AT - 1)
    said = another_bar(state, data)
    assert f"{name[:3]}/USDT:USDT 5m {column} is {after!r}, recorded was {before!r}" in said.err


def test_a_last_bar_that_is_gone_is_refused(recorded: tuple[Path, Path, Said], tmp_path: Path) -> None:
    data, state = shutil.copytree(recorded[0], tmp_path / "data"), shutil.copytree(recorded[1], tmp_path / "state")
    for name in ("BTCUSDT", "ETHUSDT"):
        frame = pd.read_parquet(data / f"perp_5m/{name}.parquet")
        frame.drop(index=frame.index[GOES_ON_AT - 1]).to_parquet(data / f"perp_5m/{name}.parquet")
        said = another_bar(state, data)
        assert ("BTC/USDT:USDT 5m is missing" if name == "BTCUSDT" else "the next is at 2026-01-05 03:25") in said.err


def test_a_recording_begun_elsewhere_is_refused(recorded: tuple[Path, Path, Said], tmp_path: Path) -> None:
    data, state = shutil.copytree(recorded[0], tmp_path / "data"), shutil.copytree(recorded[1], tmp_path / "state")
    frame = pd.read_parquet(data / "perp_5m/BTCUSDT.parquet")
    frame.iloc[1:].to_parquet(data / "perp_5m/BTCUSDT.parquet")
    said = paper(state, *replay(data), bars=60)
    assert (said.code, said.answer["error"]["code"]) == (4, "STATE-010")
    assert "it has recordings '" in said.err
    other = paper(state, *replay(data), "--symbols", "BTC/USDT:USDT", bars=60)
    assert ("symbols '" in other.err, "recordings '" in other.err) == (True, False)


def test_what_the_session_has_on_record_is_not_asked_of_the_source_again(
    recorded: tuple[Path, Path, Said], tmp_path: Path
) -> None:
    """The past comes from the journal."""
    data, state = shutil.copytree(recorded[0], tmp_path / "data"), shutil.copytree(recorded[1], tmp_path / "state")
    touch(data / "perp_5m/BTCUSDT.parquet", "close", 0)
    touch(data / "perp_5m/BTCUSDT.parquet", "close", GOES_ON_AT - 2)
    assert_same_answer(paper(state, *replay(data), bars=60), recorded[2])


def test_recordings_may_grow(tmp_path: Path) -> None:
    """A session over today's recordings goes on over tomorrow's, and ends as if these had been there from the start."""
    data = record(tmp_path / "data", days=2)
    whole = {path: pd.read_parquet(path) for path in sorted(data.rglob("*.parquet"))}
    one_go = paper(tmp_path / "whole", *replay(data))
    for path, frame in whole.items():
        frame[frame.ts < frame.ts.max() - 86_400_000].to_parquet(path)
    first = paper(tmp_path / "state", *replay(data))
    for path, frame in whole.items():
        frame.to_parquet(path)
    said = paper(tmp_path / "state", *replay(data))
    assert first.data["bars"] < said.data["bars"] == 576
    assert_same_answer(said, one_go)
    assert_same_session(tmp_path / "state", tmp_path / "whole")


def test_an_end_before_the_saved_time_ends_at_once(recorded: tuple[Path, Path, Said], tmp_path: Path) -> None:
    state = shutil.copytree(recorded[1], tmp_path / "state")
    before = journal_files(state)
    said = paper(state, *replay(recorded[0]), "--to", "2026-01-05T02:00")
    assert (said.data["bars"], said.data["decisions"]) == (40, 40)
    assert journal_files(state) == before
    assert_same_answer(paper(state, *replay(recorded[0]), bars=60), recorded[2])


def journal_files(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((state / "journal").iterdir())}


def test_recordings_may_be_moved_renamed_and_written_anew(recorded: tuple[Path, Path, Said], tmp_path: Path) -> None:
    """X43: what is read counts, not where it lies, nor what lies beside it and is not read."""
    data, state = shutil.copytree(recorded[0], tmp_path / "elsewhere" / "other"), shutil.copytree(recorded[1], tmp_path / "state")
    path = data / "perp_5m" / "BTCUSDT.parquet"
    pd.read_parquet(path).to_parquet(path, compression="gzip")
    (data / "notes.txt").write_text("not a recording", encoding="utf-8")
    assert_same_answer(paper(state, *replay(data), bars=60), recorded[2])


def touch(path: Path, column: str, row: int) -> tuple[float, float]:
    """Change one value a little; what it was, and is."""
    frame = pd.read_parquet(path)
    before = float(frame.loc[frame.index[row], column])
    frame.loc[frame.index[row], column] = before * 1.0001
    frame.to_parquet(path)
    return before, before * 1.0001


# --- damage ------------------------------------------------------------------------------------------------


def overwrite(path: Path, at: int, text: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(text)


@pytest.mark.parametrize("damage", ["header", "emptied", "snapshot", "schema", "version"])
def test_a_damaged_state_file_is_exit_code_4_and_is_left_as_it_is(damage: str, begun: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(begun, state)
    path = state / "brain.sqlite"
    if damage == "header":
        overwrite(path, 0, b"not a database at all")
    elif damage == "emptied":
        path.write_bytes(b"x" * 5000)
    else:
        with sqlite3.connect(path) as db:
            db.execute(
                {
                    "snapshot": "UPDATE snapshots SET blob = zeroblob(length(blob))",
                    "schema": "ALTER TABLE trades ADD COLUMN luck TEXT",
                    "version": "PRAGMA user_version = 99",
                }[damage]
            )
        db.close()
    before = path.read_bytes()
    said = paper(state, bars=60)
    assert said.code == 4
    assert said.answer["error"]["code"] == ("STATE-007" if damage in {"schema", "version"} else "STATE-004")
    assert "Traceback" not in said.err
    assert path.read_bytes() == before


def test_a_second_process_on_the_same_state_is_refused(begun: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(begun, state)
    store = Store(state / "brain.sqlite")
    try:
        said = paper(state, bars=60)
        assert (said.code, said.answer["error"]["code"]) == (4, "STATE-009")
        # reading is not writing
        assert brain("export", "--state", str(state), "--out", str(tmp_path / "csv")).code == 0
    finally:
        store.close()
    assert paper(state, bars=60).data["bars"] == 60


def test_a_damaged_unlock_request_unlocks_nothing_and_is_told(begun: Path, tmp_path: Path) -> None:
    """What a power cut leaves half written must not keep a daemon from watching over what is open."""
    state = tmp_path / "state"
    shutil.copytree(begun, state)
    (state / "unlock.json").write_text("{", encoding="utf-8")
    said = paper(state, bars=60)
    assert said.code == 0
    assert (state / "unlock.json").exists()
    told = rows(state, "SELECT message FROM alerts WHERE code = 'note_damaged'")
    assert [("unlock.json is damaged, and is passed over" in text, "brain unlock" in text) for (text,) in told] == [(True, True)]


def test_unlock_finds_nothing_to_unlock_in_a_session_without_a_kill_switch(begun: Path) -> None:
    shown = at_terminal("unlock", "--state", str(begun))
    assert shown.code == 1
    assert "there is nothing to unlock" in shown.out
    assert not (begun / "unlock.json").exists()
