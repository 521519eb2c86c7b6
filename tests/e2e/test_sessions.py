"""Recorded sessions at the command line: listed, checked byte for byte, made again and compared, trimmed (issue 3)."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.journal.frames import HEADER_BYTES
from core.journal.records import Opening
from core.monitor.store import Store
from core.strategies import score
from core.types import Timeframe
from graph import journaling, other_code, runner
from graph.commands import replay as replay_command
from graph.commands import sessions as sessions_command
from graph.opening import code_in_use, opening_of
from graph.session_dir import SessionDir
from graph.sessions import Session, sizes
from tests.support.commands import (
    SOON_WARM,
    Said,
    at_terminal,
    brain,
    last_seq,
    outside,
    paper,
    rewrite,
    rows,
    short_configs,
    short_past,
    soon_warm,
    stopped,
    wait_until,
)

BARS = 420
MARKET = ("--scenario", "gap", "--seed", "1", "--equity", "10000")
STEP = Timeframe.M5.ms


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    """Little history, and segments and states so near to each other that a short run has several."""
    with short_past(SOON_WARM), pytest.MonkeyPatch.context() as patch:
        patch.setattr(journaling, "SEGMENT_BARS", 150)
        patch.setattr(journaling, "STATE_EVERY", 64)
        patch.setattr(runner, "COMMIT_EVERY", 64)
        yield


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_configs(tmp_path_factory.mktemp("market") / "configs")


@pytest.fixture(scope="module")
def recorded(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A session with trades, in a folder of sessions; only read."""
    state = tmp_path_factory.mktemp("runs") / "20260105T000000-gap"
    return state, paper(state, *MARKET, "--configs", str(configs), bars=BARS)


@pytest.fixture
def copied(recorded: tuple[Path, Said], tmp_path: Path) -> Path:
    return shutil.copytree(recorded[0], tmp_path / "runs" / recorded[0].name)


@pytest.fixture
def open_ended(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session as a kill right behind its last commit leaves it: the last segment is open."""
    state = tmp_path / "runs" / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(journaling.SessionJournal, "finish", lambda _: None)
        paper(state, *MARKET, "--configs", str(configs), bars=200)
    assert journal(state)[-1].suffix == ".journal"
    return state


def bytes_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def untouched(folder: Path, *arguments: str) -> Said:
    """Run a command, and see that no byte and no name in ``folder`` has changed."""
    before = bytes_in(folder)
    said = brain(*arguments)
    assert bytes_in(folder) == before
    return said


def journal(state: Path) -> list[Path]:
    return sorted((state / "journal").iterdir())


# --- brain replay -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["direct", "graph"])
def test_every_decision_of_a_session_is_made_again_and_is_the_same(recorded: tuple[Path, Said], engine: str) -> None:
    """G4, G10: what brain paper calls the session is what brain replay takes."""
    run = recorded[1].data
    assert run["trades"] > 0
    said = untouched(recorded[0], "replay", run["session"], "--engine", engine, "--json")
    data = said.data
    assert said.answer["schema"] == "brain.replay/1"
    assert (data["equal"], data["difference"], data["cut_off"], data["labels"]) == (True, None, False, [])
    assert (data["bars"], data["decisions"], data["engine"]) == (BARS, run["decisions"], engine)
    assert (data["decisions_hash"], data["session"]) == (run["decisions_hash"], run["session"])
    assert data["from"] == "2026-01-05T00:05:00Z"
    assert data["code"]["recorded"] == data["code"]["now"]
    assert data["configuration"]["used"] == data["configuration"]["recorded"] != data["configuration"]["now"]
    assert any("today's configuration" in warning for warning in said.answer["warnings"])
    assert f"100 % ({BARS} of {BARS})" in said.err


def test_a_person_reads_that_it_is_equal(recorded: tuple[Path, Said]) -> None:
    said = brain("replay", "--state", str(recorded[0].parent), "--quiet")
    assert said.code == 0
    assert said.out.startswith(f"{recorded[0].name}: every decision is the recorded one\n")
    assert f"decisions {recorded[1].data['decisions_hash']}" in said.out
    assert said.err == ""


@pytest.mark.parametrize("begin", [10, 150, 300, 399])
def test_a_part_of_a_session_is_made_again(recorded: tuple[Path, Said], begin: int) -> None:
    """From the bar of a time to before the bar of another, in the first segment, on its border, and in the last."""
    first = rows(recorded[0], "SELECT MIN(ts) FROM decisions")[0][0] - STEP
    times = [str(_iso(first + (begin + n) * STEP + 60_000)) for n in (0, 20)]
    data = untouched(recorded[0], "replay", str(recorded[0]), "--from", times[0], "--to", times[1], "--json").data
    assert (data["bars"], data["equal"]) == (20, True)
    assert data["from"] == _iso(first + (begin + 1) * STEP)
    link = rows(recorded[0], "SELECT hash FROM decisions WHERE seq = ?", begin + 19)
    assert data["decisions_hash"] == link[0][0]


def _iso(ts: int) -> str:
    return dt.datetime.fromtimestamp(ts / 1000, dt.UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    "flags", [("--from", "2027-01-01"), ("--to", "2020-01-01"), ("--from", "2026-01-06", "--to", "2026-01-06")]
)
def test_a_range_without_bars_is_a_misuse_that_says_what_there_is(recorded: tuple[Path, Said], flags: tuple[str, ...]) -> None:
    said = untouched(recorded[0], "replay", str(recorded[0]), "--json", *flags)
    assert (said.code, said.answer["error"]["code"]) == (2, "JRN-008")
    assert "its bars close from 2026-01-05T00:05:00Z to 2026-01-06T11:00:00Z" in said.err
    odd = brain("replay", str(recorded[0]), "--from", "2024-13-01")
    assert (odd.code, "brain replay --from" in odd.err) == (2, True)


def test_another_threshold_is_found_at_the_first_bar_and_node_that_it_moves(
    recorded: tuple[Path, Said], configs: Path, tmp_path: Path
) -> None:
    """Against an independent run under it: the first decision whose record is another one."""
    other = shutil.copytree(configs, tmp_path / "other")
    rewrite(other / "strategies.yaml", "  quantile: 0.8\n", "  quantile: 0.6\n")
    paper(tmp_path / "fresh", *MARKET, "--configs", str(other), bars=BARS)
    bar, node = _first_moved(recorded[0], tmp_path / "fresh")
    said = untouched(recorded[0], "replay", str(recorded[0]), "--configs", str(other), "--json")
    found = said.answer["data"]["difference"]
    assert (said.code, said.answer["ok"], said.answer["error"]) == (1, False, None)
    assert (found["bar"], found["node"]) == (bar, node)
    assert found["field"]
    assert found["recorded"] != found["now"]
    assert said.answer["data"]["labels"] == [f"under another configuration: that of {other}"]
    person = brain("replay", str(recorded[0]), "--configs", str(other), "--quiet")
    assert (person.code, person.out.splitlines()[0]) == (1, f"{recorded[0].name}: DIFFERS from its record")
    assert f"bar       {bar}, " in person.out
    assert f"node      {node}\n" in person.out
    assert f"under another configuration: that of {other}" in person.out


def _first_moved(then: Path, now: Path) -> tuple[int, str]:
    sql = "SELECT seq, record FROM decisions ORDER BY seq"
    for (seq, was), (_, is_) in zip(rows(then, sql), rows(now, sql), strict=True):
        hashes = [msgspec.msgpack.decode(record)["node_hashes"] for record in (was, is_)]
        moved = [a[0] for a, b in zip(*hashes, strict=True) if a != b]
        if moved:
            return seq, moved[0]
    raise AssertionError("nothing moved")


def test_another_constant_in_the_code_is_found(recorded: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that gives half a point more: the node that scores is named."""
    made = score.SetupScorer.score
    monkeypatch.setattr(score.SetupScorer, "score", lambda *args: generous(made(*args)))

    def generous(scored: Any) -> Any:
        return msgspec.structs.replace(scored, score=scored.score + 0.5)

    said = untouched(recorded[0], "replay", str(recorded[0]), "--json")
    found = said.answer["data"]["difference"]
    assert (said.code, found["node"], found["field"]) == (1, "strategy_selection", "refusals.0.message")
    assert "(score 6.0, threshold 7.0" in found["recorded"]
    assert "(score 6.5, threshold 7.0" in found["now"]
    quiet = found["bar"]  # before it nothing was scored
    assert rows(recorded[0], "SELECT MIN(seq) FROM refusals WHERE code = 'SCORE_LOW'") == [(quiet,)]


def another_program(monkeypatch: pytest.MonkeyPatch, **parts: str) -> None:
    now = {**code_in_use(), **parts}
    for place in (other_code, replay_command):
        monkeypatch.setattr(place, "code_in_use", lambda: now)


def test_other_code_is_refused_unless_it_is_wanted_and_then_it_is_said(
    recorded: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad input: only with an explicit flag, and labelled; another interpreter is a warning."""
    another_program(monkeypatch, source="e" * 64, python="3.99")
    said = untouched(recorded[0], "replay", str(recorded[0]), "--json")
    assert (said.code, said.answer["error"]["code"]) == (3, "REPLAY-002")
    assert "brain replay --other-code" in said.answer["error"]["help"]
    wanted = untouched(recorded[0], "replay", str(recorded[0]), "--other-code", "--json")
    assert wanted.code == 0
    assert [label[:16] for label in wanted.data["labels"]] == ["under other code"]
    assert any(warning.endswith("this is python 3.99") for warning in wanted.answer["warnings"])
    person = brain("replay", str(recorded[0]), "--other-code", "--quiet")
    assert "under other code: recorded by" in person.out


def test_a_session_that_was_killed_and_gone_on_with_is_one_session(
    recorded: tuple[Path, Said], configs: Path, tmp_path: Path
) -> None:
    """F6, G10: kill -9, again and again; what is there is sound and made again at every stage."""
    state = tmp_path / "killed"
    for at_seq in (64, 192):
        stopped(state, at_seq, signal.SIGKILL, *MARKET, "--configs", str(configs), "--until-bars", "4000", program=soon_warm)
        assert untouched(state, "sessions", "verify", str(state)).code == 0
        # the runs are processes of their own, and a file of ours may be saved in between
        data = untouched(state, "replay", str(state), "--other-code", "--json").data
        assert data["equal"]
        assert data["bars"] > at_seq
    ended = paper(state, *MARKET, "--configs", str(configs), bars=max(BARS, data["bars"] + 5)).data
    data = untouched(state, "replay", str(state), "--other-code", "--json").data
    assert (data["bars"], data["decisions_hash"]) == (ended["bars"], ended["decisions_hash"])
    assert rows(state, "SELECT hash FROM decisions WHERE seq = ?", BARS - 1) == [(recorded[1].data["decisions_hash"],)]


def test_what_other_code_raises_is_a_difference(recorded: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bar and node that raised, against what the node wrote then; for the same code it is a fault."""

    def bad(*_: Any) -> None:
        raise KeyError("new_field")

    monkeypatch.setattr(score.SetupScorer, "score", bad)
    assert brain("replay", str(recorded[0]), "--json").code == 70
    another_program(monkeypatch, source="e" * 64)
    said = untouched(recorded[0], "replay", str(recorded[0]), "--other-code", "--json")
    found = said.answer["data"]["difference"]
    (first,) = rows(recorded[0], "SELECT MIN(seq) FROM refusals WHERE code = 'SCORE_LOW'")
    assert (said.code, found["bar"], found["node"], found["now"]) == (1, first[0], "strategy_selection", "KeyError: 'new_field'")
    assert found["recorded"]["refusals"]


def test_a_configuration_that_this_version_does_not_know_is_named(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --other-code what is known of it is used."""

    def opening(*arguments: Any) -> Opening:
        made = opening_of(*arguments)
        values = json.loads(made.files["configuration.json"])
        values["governance"]["gone_since"] = 1
        values["strategies"]["score"]["gone_too"] = 2
        return msgspec.structs.replace(made, files={"configuration.json": json.dumps(values).encode()})

    state = tmp_path / "runs" / "later"
    with monkeypatch.context() as patch:
        patch.setattr(runner, "opening_of", opening)
        paper(state, *MARKET, "--configs", str(configs), bars=80)
    said = untouched(state, "replay", str(state), "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "JRN-010")
    assert said.answer["error"]["what"].startswith("governance.gone_since of the configuration")
    for more in ((), ("--from", "2026-01-05T02:00")):
        assert untouched(state, "replay", str(state), "--other-code", "--json", *more).data["equal"]


def test_nothing_compared_is_not_equal(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From inside the bar that the session was cut off in."""
    decide, state = runner.Run.decide, tmp_path / "runs" / "cut"

    async def killed(run: Any, event: Any) -> None:
        if run.bars == 20:
            raise RuntimeError("killed")
        await decide(run, event)

    with monkeypatch.context() as patch:
        patch.setattr(runner.Run, "decide", killed)
        paper(state, *MARKET, "--configs", str(configs), bars=80)
    assert untouched(state, "replay", str(state), "--json").data["cut_off"]
    said = untouched(state, "replay", str(state), "--from", "2026-01-05T01:40", "--json")
    assert (said.code, said.answer["error"]["code"]) == (2, "JRN-008")
    assert "was cut off inside bar 20" in said.answer["error"]["what"]


# --- which session is meant -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("replay",), ("sessions", "verify"), ("sessions", "trim")])
def test_an_unknown_session_is_answered_with_the_nearest_ones(copied: Path, command: tuple[str, ...]) -> None:
    runs = copied.parent
    shutil.copytree(copied, runs / "20260105T000000-gab")
    for name, words in (
        ("20260105T000000-gapp", "nearest: 20260105T000000-gap"),
        ("2026", "2 sessions begin with '2026'"),
        (None, "2 sessions are in"),
    ):
        said = untouched(runs, *command, *([name] if name else []), "--state", str(runs), "--json")
        assert (said.code, said.answer["error"]["code"]) == (4, "JRN-003")
        assert words in said.answer["error"]["what"]
    nowhere = brain(*command, "--state", str(runs / "none"), "--json")
    assert "there is no session in" in nowhere.answer["error"]["what"]


@pytest.mark.parametrize("command", [("replay",), ("sessions", "verify"), ("sessions", "trim")])
def test_a_path_that_leads_nowhere_is_named(copied: Path, command: tuple[str, ...]) -> None:
    for path, words in (("/some/missing/path", ""), (f"{copied}x", f"; nearest: {copied.name}")):
        said = brain(*command, path, "--json")
        assert (said.code, said.answer["error"]["code"]) == (4, "JRN-003")
        assert said.answer["error"]["what"] == f"there is no session in {path}{words}"


def test_the_beginning_of_a_name_is_enough(copied: Path) -> None:
    assert brain("sessions", "verify", "2026", "--state", str(copied.parent)).out.startswith(f"{copied.name}: sound")


# --- brain sessions ---------------------------------------------------------------------------------------


def test_sessions_are_listed_with_what_is_to_be_known_of_them(recorded: tuple[Path, Said]) -> None:
    said = untouched(recorded[0].parent, "sessions", "--state", str(recorded[0].parent), "--json")
    (row,) = said.data["sessions"]
    assert said.answer["schema"] == "brain.sessions/1"
    assert (row["name"], row["session"]) == (recorded[0].name, str(recorded[0]))
    assert (row["source"], row["mode"], len(row["symbols"])) == ("synthetic", "paper", 3)
    assert (row["bars"], row["decisions"], row["first_bar"], row["segments"]) == (BARS, recorded[1].data["decisions"], 0, 3)
    assert (row["from"], row["to"]) == ("2026-01-05T00:05:00Z", "2026-01-06T11:00:00Z")
    assert (row["damage"], row["torn"], row["same_code"]) == (None, None, True)
    assert row["sizes"]["journal"] == sum(path.stat().st_size for path in journal(recorded[0]))
    assert row["sizes"]["records"] >= (recorded[0] / "brain.sqlite").stat().st_size
    table = brain("sessions", "--state", str(recorded[0].parent)).out
    assert all(word in table for word in (recorded[0].name, "synthetic", "BTC, ETH", f"{BARS}", "MB"))


def test_no_session_is_no_failure_and_a_damaged_one_hides_no_other(copied: Path, tmp_path: Path) -> None:
    empty = brain("sessions")
    assert (empty.code, "brain paper records one" in empty.out) == (0, True)
    other = shutil.copytree(copied, copied.parent / "other")
    flip(journal(other)[-1], 20)
    said = untouched(copied.parent, "sessions", "--state", str(copied.parent), "--json")
    assert [(row["name"], row["damage"] is None) for row in said.data["sessions"]] == [(copied.name, True), ("other", False)]
    for path in journal(shutil.copytree(copied, copied.parent / "stopped at once")):
        path.unlink()
    told = brain("sessions", "--state", str(copied.parent)).out
    assert told.count("journal segment") == told.count("nothing recorded") == 1
    assert brain("sessions", "--state", str(tmp_path / "none")).code == 4


@pytest.mark.parametrize("closed", ["session", "journal"])
def test_what_may_not_be_read_is_said_so_and_hides_no_other(copied: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    other = shutil.copytree(copied, copied.parent / "other")
    shut = other if closed == "session" else other / "journal"
    listdir, stat = os.listdir, os.stat

    def allowed(path: Any) -> None:
        inside = Path(os.fspath(path)) if isinstance(path, str | Path) else Path()
        if shut in inside.parents:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", lambda path=".": (allowed(Path(path) / "x"), listdir(path))[1])
    monkeypatch.setattr(os, "stat", lambda path, **more: (allowed(path), stat(path, **more))[1])
    said = brain("sessions", "--state", str(copied.parent), "--json")
    row, shut_row = sorted(said.data["sessions"], key=lambda row: row["damage"] is not None)
    assert (row["name"], row["damage"]) == (copied.name, None)
    assert shut_row["damage"] == f"journal folder {other / 'journal'} can't be read: Permission denied"
    for command in (("sessions", "verify"), ("replay",)):
        refused = brain(*command, str(other), "--json")
        assert (refused.code, refused.answer["error"]["code"]) == (4, "JRN-002")


def test_a_file_that_goes_while_sizes_are_added_up_is_passed_over(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that writes packs its segments."""
    stat, gone = Path.stat, []

    def packed_just_now(path: Path, **more: Any) -> Any:
        if path.name.endswith(".zst") and gone.count(path) == 1:
            raise FileNotFoundError(2, "No such file", str(path))
        gone.append(path)
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", packed_just_now)
    assert sizes(Session(SessionDir.at(copied)))["journal"] == 0


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


# --- brain sessions verify --------------------------------------------------------------------------------


def test_a_sound_session_is_said_to_be(recorded: tuple[Path, Said]) -> None:
    said = untouched(recorded[0], "sessions", "verify", str(recorded[0]), "--json")
    data = said.data
    assert (data["sound"], data["damage"], data["torn"], data["records"]) == (True, None, None, None)
    assert (data["bars"], data["decisions"], data["segments"]) == (BARS, recorded[1].data["decisions"], 3)
    assert data["bytes"] == sum(path.stat().st_size for path in journal(recorded[0]))


@pytest.mark.parametrize("session", ["copied", "open_ended"])
def test_a_flipped_bit_anywhere_is_found_and_named(request: pytest.FixtureRequest, session: str) -> None:
    """Issue 3: in open and in packed segments, in headers, payloads, links and seals."""
    state: Path = request.getfixturevalue(session)
    chance, hit = random.Random(7), set()
    for _ in range(40):
        path = chance.choice(journal(state))
        at = chance.randrange(path.stat().st_size)
        flip(path, at)
        said = brain("sessions", "verify", str(state), "--json")
        damage = said.answer["data"]["damage"]
        assert (said.code, said.answer["data"]["sound"], damage["segment"]) == (1, False, path.name), (path, at)
        if path.suffix == ".journal":
            assert damage["byte"] <= at
        flip(path, at)
        hit.add(path.suffix)
    assert hit == ({".zst"} if session == "copied" else {".zst", ".journal"})
    assert brain("sessions", "verify", str(state)).code == 0


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("command", "code"), [("replay SESSION", 4), ("replay SESSION --from 2026-01-05T00:00", 4), ("sessions verify SESSION", 1)]
)
def test_nothing_is_written_to_a_damaged_journal(copied: Path, command: str, code: int, which: int) -> None:
    path = journal(copied)[which]
    flip(path, path.stat().st_size // 2)
    typed = [str(copied) if word == "SESSION" else word for word in command.split()]
    said = untouched(copied, *typed, "--json")
    assert said.code == code
    if code == 4:
        assert said.answer["error"]["code"] == "JRN-001"
        assert path.name in said.err
        assert f"brain sessions verify --state {copied}" in said.err


def test_a_torn_tail_is_told_as_such_and_is_no_damage(open_ended: Path) -> None:
    """F6: what a kill in the middle of a write leaves."""
    last = journal(open_ended)[-1]
    with last.open("ab") as file:
        file.write(b"\x40\x00\x00")
    said = untouched(open_ended, "sessions", "verify", str(open_ended), "--json")
    assert (said.code, said.data["sound"], said.data["damage"]) == (0, True, None)
    assert (said.data["torn"]["segment"], said.data["torn"]["byte"]) == (last.name, last.stat().st_size - 3)
    assert "torn" in brain("sessions", "verify", str(open_ended)).out
    assert "torn by a crash" in brain("sessions", "--state", str(open_ended)).out
    assert untouched(open_ended, "replay", str(open_ended), "--json").data["bars"] == 200


def test_frames_that_are_gone_from_the_end_are_missed(open_ended: Path) -> None:
    """The records know how many there were; the journal alone would look sound."""
    last = journal(open_ended)[-1]
    (length,) = struct.unpack_from("<I", last.read_bytes(), HEADER_BYTES)
    whole = last.read_bytes()
    last.write_bytes(whole[: HEADER_BYTES + 8 + length + 16])
    said = untouched(open_ended, "sessions", "verify", str(open_ended), "--json")
    assert (said.code, said.answer["data"]["sound"]) == (1, False)
    assert "were on the disk" in said.answer["data"]["damage"]["why"]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE decisions SET record = x'80' WHERE seq = 7", "decision 7 of the records does not fit the chain"),
        ("DELETE FROM decisions WHERE seq = 7", "decision 8 of the records does not fit the chain"),
        ("DELETE FROM decisions WHERE seq > 100", "the records end at decision 100, they were saved at decision 419"),
        ("DELETE FROM decisions", "the records end at decision -1, they were saved at decision 419"),
        (
            "DELETE FROM decisions; DELETE FROM snapshots",
            "the records end at decision -1, the journal was saved up to decision 419",
        ),
        ("UPDATE orders SET price = '1' WHERE purpose = 'stop'", "of the records is not that of the journal: price '1', there"),
        ("UPDATE orders SET status = 'canceled'", "of the records does not stand where the journal left it"),
        ("DELETE FROM orders WHERE rowid = 2", "in the records,"),
        ("UPDATE order_events SET status = 'new'", "of the records is not that of the journal: status 'new', there"),
        ("UPDATE fills SET price = '1' WHERE rowid = 2", "of the records is not that of the journal: price '1', there"),
        ("DELETE FROM fills", "fills: 0 in the records,"),
        ("DELETE FROM trades", "trades: 0 in the records,"),
        ("UPDATE trades SET plan_id = 'x'", "the trade of plan x in the records does not follow from its fills"),
        ("UPDATE trades SET gross = gross + 1", "in the records does not follow from its fills"),
        ("UPDATE trades SET net = net + 1", "in the records does not follow from its fills"),
        ("INSERT INTO funding VALUES ('BTC/USDT:USDT', 1, 0.1, 1.0, '1', 5.0, 7)", "funding: "),
    ],
)
def test_records_that_are_not_those_of_the_journal_are_found(copied: Path, sql: str, why: str) -> None:
    with sqlite3.connect(copied / "brain.sqlite") as db:
        db.executescript(sql)
    db.close()
    said = untouched(copied, "sessions", "verify", str(copied), "--json")
    assert (said.code, said.answer["data"]["sound"], said.answer["data"]["damage"]) == (1, False, None)
    assert why in said.answer["data"]["records"]


def test_an_older_copy_of_the_records_is_found(copied: Path, configs: Path, tmp_path: Path) -> None:
    """All in it is as it was, only that the journal knows of more that was saved."""
    paper(tmp_path / "half", *MARKET, "--configs", str(configs), bars=200)
    shutil.copy(tmp_path / "half" / "brain.sqlite", copied / "brain.sqlite")
    said = untouched(copied, "sessions", "verify", str(copied), "--json")
    assert said.answer["data"]["records"] == "the records end at decision 199, the journal was saved up to decision 419"


LOST = {"none": None, "empty": b"", "foreign": b"a text that somebody has put there\n" * 300}


@pytest.mark.parametrize("what", list(LOST))
def test_without_its_records_a_session_is_still_one(copied: Path, what: str) -> None:
    """The journal makes it: it is listed, verified and made again; that the records are lost is told."""
    database, records = copied / "brain.sqlite", LOST[what]
    for path in copied.glob("brain.sqlite*"):
        path.unlink()
    if records is not None:
        database.write_bytes(records)
    (row,) = untouched(copied, "sessions", "--state", str(copied.parent), "--json").data["sessions"]
    assert (row["bars"], row["damage"]) == (BARS, None)
    checked = untouched(copied, "sessions", "verify", str(copied), "--json")
    data = checked.answer["data"]
    assert (checked.code, data["sound"], data["damage"], data["bars"]) == (1, False, None, BARS)
    assert str(database) in data["records"]
    assert "brain-records-" not in checked.out + checked.err
    assert untouched(copied, "replay", str(copied), "--json").data["equal"]


def test_damaged_records_are_named_where_they_are(copied: Path) -> None:
    database = copied / "brain.sqlite"
    data = bytearray(database.read_bytes())
    data[4096 * 3 : 4096 * 40] = b"\xa5" * (4096 * 37)
    database.write_bytes(data)
    said = untouched(copied, "sessions", "verify", str(copied), "--json")
    assert said.code == 1
    assert f"state file {database} is damaged" in said.answer["data"]["records"]


def test_a_lost_state_file_does_not_make_damage_of_the_journal_look_like_a_crash(open_ended: Path, configs: Path) -> None:
    """New records know nothing of how much was on the disk: a flipped bit must not have all behind it cut off."""
    for path in open_ended.glob("brain.sqlite*"):
        path.unlink()
    last = journal(open_ended)[-1]
    sound = last.read_bytes()
    flip(last, len(sound) // 2)
    before = {path.name: path.read_bytes() for path in journal(open_ended)}
    said = paper(open_ended, *MARKET, "--configs", str(configs), bars=BARS)
    assert (said.code, said.answer["error"]["code"]) == (4, "JRN-001")
    assert {path.name: path.read_bytes() for path in journal(open_ended)} == before
    last.write_bytes(sound)
    assert paper(open_ended, *MARKET, "--configs", str(configs), bars=BARS).code == 0
    assert brain("sessions", "verify", str(open_ended)).code == 0


def test_a_session_is_sound_while_it_is_recorded(configs: Path, tmp_path: Path) -> None:
    """Looked at again and again across the borders of segments, by another process; neither is in the other's way."""
    state = tmp_path / "running"
    program = """
from graph import journaling, runner
journaling.SEGMENT_BARS, journaling.STATE_EVERY, runner.COMMIT_EVERY = 40, 16, 8
from tests.support.commands import main_soon_warm as main
main()
"""
    options = ["--configs", str(configs), "--state", str(state), "--speed", "max", "--json", "--quiet", "--until-bars", "900"]
    child = subprocess.Popen(
        [sys.executable, "-c", program, "paper", *MARKET, *options],
        stdout=subprocess.PIPE,
        text=True,
        env=outside(),
        cwd=tmp_path,
    )
    segments: set[int] = set()
    try:
        wait_until(lambda: last_seq(state) > 0 or child.poll() is not None)
        while child.poll() is None:
            said = brain("sessions", "verify", str(state), "--json")
            assert said.code == 0, said.out
            segments.add(said.data["segments"])
            assert brain("sessions", "--state", str(state), "--json").data["sessions"][0]["damage"] is None
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 0
    assert len(segments) > 1
    assert brain("sessions", "verify", str(state), "--json").data["bars"] == 900


def test_records_of_another_session_are_found(copied: Path, configs: Path, tmp_path: Path) -> None:
    """A sound journal and sound records that do not belong together."""
    paper(tmp_path / "b", "--seed", "2", "--configs", str(configs), bars=300)
    shutil.copy(tmp_path / "b" / "brain.sqlite", copied / "brain.sqlite")
    said = untouched(copied, "sessions", "verify", str(copied), "--json")
    assert (said.code, said.answer["data"]["records"]) == (1, "decision 0 of the records is not that of the journal")


@pytest.mark.parametrize("command", [("replay",), ("sessions", "verify"), ("sessions", "trim")])
def test_a_journal_of_a_later_version_is_refused(open_ended: Path, command: tuple[str, ...]) -> None:
    last = journal(open_ended)[-1]
    data = bytearray(last.read_bytes())
    struct.pack_into("<H", data, 8, 99)
    struct.pack_into("<I", data, HEADER_BYTES - 4, zlib.crc32(data[: HEADER_BYTES - 4]))
    last.write_bytes(data)
    said = untouched(open_ended, *command, str(open_ended), "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "JRN-004")
    assert "has format 99" in said.err


# --- brain sessions trim ----------------------------------------------------------------------------------


def test_less_than_six_months_is_refused(copied: Path) -> None:
    """I1."""
    said = untouched(copied, "sessions", "trim", str(copied), "--keep", "30d", "--yes", "--json")
    assert (said.code, said.answer["error"]["code"]) == (2, "JRN-009")
    assert "at least 186d" in said.err
    young = untouched(copied, "sessions", "trim", str(copied), "--yes", "--json")
    assert (young.data["removed"], young.data["segments"]) == (False, [])


SHORT_DAY = 12 * 3_600_000 // 186
"""Six months pass in twelve hours with such days."""


@pytest.fixture
def aged(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session whose last bar is the present; its files are as old as they look."""
    monkeypatch.setattr(sessions_command, "DAY_MS", SHORT_DAY)
    last = rows(copied, "SELECT MAX(ts) FROM decisions")[0][0]
    monkeypatch.setattr(sessions_command.SystemClock, "now_ms", lambda _: last)
    for path in journal(copied):
        os.utime(path, (0, 0))
    return copied


def test_age_is_counted_from_now(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is over grows old; while it runs it is young, and so is one that was recorded lately."""
    asked = ("sessions", "trim", str(aged), "--keep", "12h", "--json")
    now = sessions_command.SystemClock().now_ms()
    monkeypatch.setattr(sessions_command.SystemClock, "now_ms", lambda _: now + 24 * 3_600_000)
    assert len(untouched(aged, *asked).data["segments"]) == 2
    with contextlib.closing(Store(aged / "brain.sqlite")):
        assert len(brain(*asked).data["segments"]) == 1
    for path in journal(aged):
        os.utime(path, (now / 1000 + 20 * 3_600, now / 1000 + 20 * 3_600))
    assert untouched(aged, *asked).data["segments"] == []


def trim_at_terminal(session: Path, now: int, typed: str, fail_at: str = "never") -> Said:
    program = f"""
import os
from graph.commands import sessions
sessions.DAY_MS = {SHORT_DAY}
sessions.SystemClock.now_ms = lambda _: {now}
real = os.unlink
def unlink(path, **more):
    if {fail_at!r} in str(path):
        raise PermissionError(13, "Permission denied")
    real(path, **more)
os.unlink = unlink
from graph.cli import main
main()
"""
    return at_terminal(
        *("sessions", "trim", str(session), "--keep", "12h"),
        answers=[("to go on: ", f"{typed}\n")],
        program=lambda *arguments: [sys.executable, "-c", program, *arguments],
    )


def test_a_person_types_the_sessions_name_before_anything_goes(aged: Path) -> None:
    now = sessions_command.SystemClock().now_ms()
    before = bytes_in(aged)
    for typed in ("no", "", aged.name[:-1]):
        said = trim_at_terminal(aged, now, typed)
        assert (said.code, "Not confirmed; nothing was removed." in said.out) == (1, True)
        assert bytes_in(aged) == before
    first = journal(aged)[0].name
    said = trim_at_terminal(aged, now, aged.name)
    assert (said.code, "Removed 1 segments" in said.out) == (0, True)
    assert first not in [path.name for path in journal(aged)]


def test_a_trim_that_fails_on_the_way_says_what_is_gone(aged: Path) -> None:
    now = sessions_command.SystemClock().now_ms() + 24 * 3_600_000
    first, second, _ = (path.name for path in journal(aged))
    said = trim_at_terminal(aged, now, aged.name, fail_at=second)
    shown = said.out.replace("\r\n", " ")
    assert said.code == 4
    assert f"{second} can't be deleted: Permission denied" in shown
    assert f": 1 segments were removed before that: {first}; nothing else was changed" in shown
    assert "nothing in the session's folder was changed" not in shown
    assert brain("sessions", "verify", str(aged)).code == 0
    said = trim_at_terminal(aged, now, aged.name, fail_at=second)
    assert ": nothing in the session's folder was changed" in said.out


def test_a_first_segment_that_nobody_trimmed_is_missed(copied: Path) -> None:
    journal(copied)[0].unlink()
    said = untouched(copied, "sessions", "verify", str(copied), "--json")
    assert (said.code, said.answer["data"]["sound"]) == (1, False)
    assert "1 segments before it are missing" in said.answer["data"]["damage"]["why"]


def test_old_segments_go_only_when_that_was_said(aged: Path) -> None:
    """Six months pass in twelve hours here; what is left is a sound session that is made again from there on."""
    copied = aged
    first = journal(copied)[0].name
    seen = untouched(copied, "sessions", "trim", str(copied), "--keep", "12h", "--json")
    assert (seen.data["removed"], seen.data["segments"]) == (False, [first])
    done = brain("sessions", "trim", str(copied), "--keep", "12h", "--yes", "--json")
    assert (done.data["removed"], done.data["segments"]) == (True, [first])
    assert first not in [path.name for path in journal(copied)]
    checked = untouched(copied, "sessions", "verify", str(copied), "--json").data
    assert (checked["sound"], checked["trimmed_segments"], checked["bars"]) == (True, 1, BARS - 150)
    (row,) = brain("sessions", "--state", str(copied), "--json").data["sessions"]
    assert (row["bars"], row["first_bar"]) == (BARS, 150)
    data = untouched(copied, "replay", str(copied), "--json").data
    assert (data["equal"], data["bars"]) == (True, BARS - 150)
    gone = brain("replay", str(copied), "--from", "2026-01-05T01:00", "--json")
    assert (gone.code, gone.answer["error"]["code"]) == (4, "JRN-006")
    assert json.loads(gone.out)["data"] == {}
