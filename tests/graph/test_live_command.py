"""`brain live` refuses by number until evidence and approval are there; approving is a person's alone (J5, K1, X37)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.live_lock import LIVE_LOCK_FILE, read_approval
from core.clock import VirtualClock
from core.exec.entering import Entering, Entry
from core.monitor.provenance import COUNTS
from core.monitor.store import Store
from core.risk.canary import Sizing
from core.venues.keys import Keys
from graph import readiness, session_dir
from graph.account_lock import account_file, holding
from graph.commands import live
from graph.commands.live import WORD
from graph.commands.live_run import Trading
from graph.console import Answer
from graph.opening import facts_of_entering
from graph.version import source_digest
from scripts import smoke_demo
from tests.support.commands import ROOT, Said, at_terminal, brain, configs_in, environment, rewrite
from tests.support.paper_month import DAY, END_MS, HOUR, PaperRun, record

NOW = END_MS + HOUR
KEY, SECRET = "K" * 64, "S" * 64
DEMANDS = """
    paper_days paper_sessions profit_factor max_drawdown forward_test health_gates no_critical_error recovery_agreed
    governance_signed review_signed keys state_folder account""".split()  # noqa: SIM905
REVIEWER, REASON, CONFIRM = "Reviewer [", "Why is it right to trade real money now? ", f"Type {WORD} to go on: "
BY = ("--reviewer", "a colleague")
ONCE_MORE = "from the exchange once more: 64 letters and digits, nothing around them"
YES = [(REASON, "a good month\n"), (CONFIRM, f"{WORD}\n")]


@pytest.fixture(autouse=True)
def _at_the_end_of_the_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SystemClock", lambda: VirtualClock(NOW))


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[Trading]:
    """What would have been traded: here only the way there is looked at, ``test_live_start.py`` goes on from it."""
    asked_for = list[Trading]()

    def trade(trading: Trading, *_: object) -> Answer:
        asked_for.append(trading)
        return Answer({"traded": True})

    monkeypatch.setattr(live, "trade", trade)
    return asked_for


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A signed configuration, and a good month of paper beside it."""
    configs_in(tmp_path / "configs")
    record(tmp_path / "runs")
    return tmp_path


def asked(home: Path, *more: str, environ: dict[str, str] | None = None) -> Said:
    """``brain live --json`` over the month, with keys that look like keys."""
    keys = {"API_KEY": KEY, "API_SECRET": SECRET, "XDG_STATE_HOME": str(home / "xdg"), **(environ or {})}
    flags = ("--evidence", str(home / "runs"), "--configs", str(home / "configs"), "--state", str(home / "live"))
    return brain("live", *flags, "--symbols", "BTC/USDT:USDT", *(more or ("--json",)), environ=keys)


def later(*arguments: str) -> list[str]:
    """The command in a process whose month has just ended."""
    program = (
        "from core.clock import VirtualClock; from graph import readiness; from graph.commands import live; "
        f"live.SystemClock = lambda: VirtualClock({NOW}); "
        f"live.source_digest = readiness.source_digest = lambda: {source_digest()!r}; "  # whatever is edited meanwhile
        "from graph.cli import main; main()"
    )
    return [sys.executable, "-c", program, *arguments]


def approve(home: Path, *more: str, answers: list[tuple[str, str]]) -> Said:
    flags = ("--evidence", str(home / "runs"), "--configs", str(home / "configs"))
    return at_terminal("live", "approve", *flags, *more, answers=answers, program=later)


def missing(said: Said) -> list[str]:
    items = said.answer["data"]["items"]
    assert said.answer["data"]["missing"] == [item["number"] for item in items if item["verdict"] != "pass"]
    return [item["key"] for item in items if item["verdict"] != "pass"]


# --- brain live ------------------------------------------------------------------------------------------------------


def test_every_demand_has_its_number_its_limit_and_what_was_seen(home: Path) -> None:
    """J5."""
    said = asked(home)
    assert (said.code, said.answer["schema"], said.answer["ok"]) == (3, "brain.live/1", False)
    items = said.answer["data"]["items"]
    assert [(item["number"], item["key"]) for item in items] == list(enumerate(DEMANDS, 1))
    assert all(item["asked"] and item["seen"] for item in items)
    assert missing(said) == ["review_signed"]
    assert said.answer["error"]["code"] == "READY-001"
    assert said.answer["data"]["counted"] == ["paper"]
    assert "nothing was started; no order was sent" in said.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_evidence_is_examined_ends_it_with_a_word(
    home: Path, started: list[Trading], number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X34: it takes seconds, and the process died of it. What examines cannot take it for a fault of its own."""
    real, before = readiness.look, signal.getsignal(number)

    def signalled(*about: Any) -> Any:
        with suppress(Exception):
            os.kill(os.getpid(), number)
        return real(*about)

    monkeypatch.setattr(live, "look", signalled)
    said = asked(home)
    assert (said.code, said.answer["error"]["code"], started) == (130, "LIVE-018", [])
    assert f"ended by {number.name} before the run had begun" in said.err
    assert "nothing was started; no order was sent" in said.err
    assert signal.getsignal(number) == before


def test_without_anything_all_that_is_missing_is_named_for_a_person(tmp_path: Path) -> None:
    configs = configs_in(tmp_path / "configs")
    said = brain("live", "--configs", str(configs))
    assert said.code == 3
    lines = said.out.splitlines()
    assert [int(line[:2]) for line in lines[: len(DEMANDS)]] == list(range(1, 14))
    assert lines[0].split(None, 2)[1] == "fail"
    assert "11 of 13 demands for live trading are not met: 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13" in said.err
    assert "counted: no session" in said.out
    assert "live trading can lose money" in said.out


def test_a_month_of_made_paper_is_named_and_counts_for_nothing(home: Path) -> None:
    """X32: a simulated month must never unlock live."""
    shutil.rmtree(home / "runs")
    record(home / "runs", "made", PaperRun(source="synthetic"))
    said = asked(home)
    assert missing(said)[:5] == DEMANDS[:5]
    assert said.answer["data"]["not_counted"] == [{"name": "made", "why": "its source is synthetic, no real exchange (X32)"}]


@pytest.mark.parametrize(("mode", "code"), [("paper", 2), ("live", 3), ("", 3)])
def test_mode_must_agree(mode: str, code: int, home: Path) -> None:
    """X37."""
    said = asked(home, environ={"MODE": mode})
    assert said.code == code
    assert ("MODE is paper, but the command trades live" in said.err) is (code == 2)


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({"API_KEY": ""}, "API_KEY not given"),
        ({"API_KEY": "", "API_SECRET": ""}, "API_KEY and API_SECRET not given"),
        ({"API_KEY": "short-but-secret"}, "API_KEY has 16 characters, expected 64"),
        ({"API_SECRET": f"{SECRET}s"}, "API_SECRET has 65 characters, expected 64"),
        ({"API_SECRET": f"{SECRET[:62]}-?"}, "API_SECRET has characters other than letters and digits"),
        (
            {"API_KEY": "short-but-secret", "API_SECRET": "also short"},
            "API_KEY has 16 characters, expected 64; API_SECRET has 10 characters, expected 64",
        ),
        ({"API_SECRET": KEY}, "API_KEY and API_SECRET are the same"),
    ],
)
def test_keys_must_be_given_and_are_never_shown(environ: dict[str, str], seen: str, home: Path) -> None:
    """H5, K1."""
    said = asked(home, environ=environ)
    item = said.answer["data"]["items"][10]
    assert (item["key"], item["seen"], item["verdict"]) == ("keys", seen, "fail")
    for value in (KEY, SECRET, "short-but-secret", "also short", SECRET[:62]):
        assert value not in said.out + said.err


@pytest.mark.parametrize(
    ("environ", "remedy"),
    [
        ({"API_KEY": ""}, "set API_KEY and API_SECRET in the environment or in .env"),
        ({"API_KEY": "short"}, f"copy API_KEY {ONCE_MORE}"),
        ({"API_SECRET": KEY}, f"copy API_KEY and API_SECRET {ONCE_MORE}"),
    ],
)
def test_keys_that_are_there_and_wrong_are_not_asked_to_be_set(environ: dict[str, str], remedy: str, home: Path) -> None:
    assert asked(home, environ=environ).answer["data"]["items"][10]["remedy"] == remedy


def test_keys_in_a_good_form_are_never_shown_either(home: Path) -> None:
    for flags in (("--json",), ("--color", "never")):
        said = asked(home, *flags)
        assert KEY not in said.out + said.err
        assert SECRET not in said.out + said.err


def test_a_state_folder_in_use_is_refused(home: Path) -> None:
    store = Store(home / "live" / "brain.sqlite")
    try:
        assert missing(asked(home)) == ["review_signed", "state_folder"]
    finally:
        store.close()
    assert missing(asked(home)) == ["review_signed"]


def test_a_state_folder_that_cannot_be_written_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Demand 12 passed, and the start ended with STATE-002 behind all the demands."""
    (home / "live").mkdir(exist_ok=True)
    monkeypatch.setattr(session_dir.os, "access", lambda _path, mode: not mode & os.W_OK)
    said = asked(home)
    assert missing(said) == ["review_signed", "state_folder"]
    (item,) = [item for item in said.answer["data"]["items"] if item["key"] == "state_folder"]
    assert (item["seen"], "let this account write there" in item["remedy"]) == (f"{home / 'live'}: cannot be written", True)


def test_an_account_in_use_is_refused(home: Path) -> None:
    with holding(account_file(Keys(KEY, SECRET), {"XDG_STATE_HOME": str(home / "xdg")})):
        assert missing(asked(home)) == ["review_signed", "account"]


@pytest.fixture
def old_evidence(approved: Path, started: list[Trading], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A month that was approved, traded on, and left to itself for thirty hours."""
    monkeypatch.setattr(live, "SystemClock", lambda: VirtualClock(NOW + 30 * HOUR))
    started.clear()
    return approved


def test_a_first_start_is_refused_where_the_evidence_is_too_old(old_evidence: Path, started: list[Trading]) -> None:
    (old_evidence / "live" / "journal").mkdir(parents=True)  # a start that was refused before it began leaves that much
    said = asked(old_evidence)
    assert (said.code, missing(said), started) == (3, ["no_critical_error"], [])


def test_a_session_that_goes_on_is_watched_where_the_evidence_is_too_old(old_evidence: Path, started: list[Trading]) -> None:
    """J5: what it holds must not be left alone; only entries need evidence."""
    record(old_evidence, "live")
    said = asked(old_evidence)
    assert (said.code, missing(said)) == (0, ["no_critical_error"])
    assert said.answer["data"]["unmet"] == ["demand 7: critical errors in the last 24 h of wall-clock time <= 0"]
    assert (started[0].goes_on, list(started[0].unmet)) == (True, said.answer["data"]["unmet"])
    asked(old_evidence, "--json", "--symbols", "SOL/USDT:USDT")
    assert started[1].unmet[1:] == ("SOL/USDT:USDT is not in every counted session; BTC/USDT:USDT is",)
    shutil.rmtree(old_evidence / "runs")
    (old_evidence / "configs" / LIVE_LOCK_FILE).unlink()
    assert asked(old_evidence).code == 0
    assert [one.split(":")[0] for one in started[2].unmet[:-1]] == [f"demand {number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10)]


@pytest.fixture
def maker_home(tmp_path: Path) -> Path:
    """A good month of paper that entered as a maker."""
    configs_in(tmp_path / "configs")
    record(tmp_path / "runs", run=PaperRun(facts={**COUNTS.facts(), **facts_of_entering(Entering(Entry.MAKER))}))
    return tmp_path


def test_another_way_of_entering_than_on_paper_is_refused_at_a_first_start(
    maker_home: Path, started: list[Trading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_unmet", lambda *_, **__: ())  # nobody has signed it, which comes first
    said = asked(maker_home)
    assert (said.code, said.answer["error"]["code"], started) == (3, "READY-004", [])
    assert said.answer["error"]["what"] == "entries would be made across, the counted sessions made them as maker first"
    assert said.answer["error"]["help"].startswith("brain live --entry maker, or let paper enter so")
    assert asked(maker_home, "--json", "--slices", "3").answer["error"]["code"] == "READY-004"
    assert (asked(maker_home, "--json", "--entry", "maker").code, len(started)) == (0, 1)
    assert started[0].flags.entering == Entering(Entry.MAKER)


def test_a_session_that_goes_on_in_another_way_of_entering_than_the_evidence_opens_nothing(
    approved: Path, started: list[Trading]
) -> None:
    record(approved, "live")
    started.clear()
    assert asked(approved, "--json", "--slices", "3").code == 0
    assert started[0].unmet == ("entries would be made across in up to 3 slices, the counted sessions made them across",)


def test_a_session_that_goes_on_needs_keys_and_folder_all_the_same(old_evidence: Path, started: list[Trading]) -> None:
    record(old_evidence, "live")
    said = asked(old_evidence, environ={"API_KEY": ""})
    assert (said.code, missing(said)) == (3, ["no_critical_error", "keys", "account"])
    assert "set API_KEY" in said.answer["error"]["help"]
    store = Store(old_evidence / "live" / "brain.sqlite")
    try:
        said = asked(old_evidence)
        assert (said.code, missing(said), said.answer["error"]["help"]) == (
            3,
            ["no_critical_error", "state_folder"],
            "stop it first",
        )
    finally:
        store.close()
    assert started == []


def test_limits_that_nobody_signed_are_refused_before_all_else(home: Path) -> None:
    rewrite(home / "configs" / "governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.7")
    said = asked(home)
    assert said.code == 3
    assert "is not what" in said.answer["error"]["what"]


def test_looking_changes_nothing(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    asked(home)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


# --- brain live approve ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--no-input",)])
def test_away_from_a_terminal_nobody_approves(flags: tuple[str, ...], home: Path) -> None:
    said = brain("live", "approve", *BY, "--evidence", str(home / "runs"), "--configs", str(home / "configs"), *flags)
    assert (said.code, said.out) == (3, "")
    assert "error[LOCK-004]: approve was " in said.err
    assert "live.lock was not written; live trading stays refused" in said.err
    assert not (home / "configs" / LIVE_LOCK_FILE).exists()


def test_with_no_input_nobody_is_asked_at_a_terminal_neither(home: Path) -> None:
    shown = approve(home, *BY, "--no-input", answers=[])
    assert (shown.code, "LOCK-004" in shown.out, "Type " in shown.out) == (3, True, False)


def test_a_person_approves_and_then_nothing_stands_in_the_way(home: Path, started: list[Trading]) -> None:
    """J5: what was signed, by whom, and of what. X35: canaries, until the owner says otherwise."""
    shown = approve(home, answers=[(REVIEWER, "a colleague\n"), *YES])
    assert shown.code == 0, shown.out
    found, _ = read_approval(home / "configs")
    assert found is not None
    assert (found.who, found.reason, found.at) == ("a colleague", "a good month", "2024-02-01T01:00:00.000Z")
    assert (found.code, [one.name for one in found.sessions]) == (source_digest(), ["paper"])
    assert f"evidence {found.evidence}" in shown.out
    said = asked(home)
    assert (said.code, missing(said), said.answer["data"]["traded"]) == (0, [], True)
    assert said.answer["data"]["approved_by"] == "a colleague"
    assert [(one.flags.sizing, one.state) for one in started] == [(Sizing.CANARY, home / "live")]
    asked(home, "--full-size", "--json")
    assert started[-1].flags.sizing is Sizing.WHOLE
    again = approve(home, answers=[])
    assert (again.code, "nothing to do" in again.out) == (0, True)


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        ([(REASON, "because\n"), (CONFIRM, "go live\n")], 1, "live trading stays refused"),
        ([(REASON, "because\n"), (CONFIRM, "\n")], 1, "live trading stays refused"),
        ([(REASON, "  \n")], 2, "the reason was empty"),
        ([(REASON, "\x03")], 130, "interrupted"),
    ],
    ids=["another word", "no word", "no reason", "ctrl-c"],
)
def test_anything_but_reason_and_word_approves_nothing(answers: list[tuple[str, str]], code: int, says: str, home: Path) -> None:
    shown = approve(home, *BY, answers=answers)
    assert (shown.code, says in shown.out) == (code, True)
    assert not (home / "configs" / LIVE_LOCK_FILE).exists()


def test_what_does_not_pass_cannot_be_approved(home: Path) -> None:
    shutil.rmtree(home / "runs")
    record(home / "runs", run=PaperRun(nets=(1.0, -1.0) * 45))
    shown = approve(home, *BY, answers=[])
    assert (shown.code, "there is nothing to approve yet; not met: 3, 5" in shown.out) == (3, True)
    assert not (home / "configs" / LIVE_LOCK_FILE).exists()


# --- void ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good month that a person approved; to be copied."""
    home = tmp_path_factory.mktemp("approved")
    configs_in(home / "configs")
    record(home / "runs")
    assert approve(home, *BY, answers=YES).code == 0
    return home


@pytest.fixture
def approved(signed: Path, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    shutil.copytree(signed, home)
    assert missing(asked(home)) == []
    return home


def void(said: Said) -> list[str]:
    assert said.code == 3
    assert said.answer["error"]["code"] == "READY-001"
    assert "review_signed" in missing(said)
    return said.answer["data"]["void"]


def test_paper_that_goes_on_voids_nothing(approved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(approved / "runs")
    monkeypatch.setattr(live, "SystemClock", lambda: VirtualClock(NOW + DAY))
    record(approved / "runs", run=replace(PaperRun(), hours=32 * 24))
    assert missing(asked(approved)) == []


def test_another_record_under_the_same_name_voids_it(approved: Path) -> None:
    shutil.rmtree(approved / "runs")
    record(approved / "runs", run=PaperRun(nets=(3.0, -1.0) * 45))
    assert void(asked(approved)) == ["session paper has another record than the one that was approved"]


def test_a_path_that_is_no_folder_is_said_to_be_none(tmp_path: Path) -> None:
    """It is another thing than a folder without sessions, or one that is free."""
    configs_in(tmp_path / "configs")
    (tmp_path / "runs").mkdir()
    (tmp_path / "live").touch()
    said = asked(tmp_path)
    (item,) = [item for item in said.answer["data"]["items"] if item["key"] == "state_folder"]
    assert (item["verdict"], item["seen"]) == ("fail", f"{tmp_path / 'live'} is no folder")
    gone = brain("live", "--evidence", str(tmp_path / "nowhere"), "--configs", str(tmp_path / "configs"), "--json")
    assert gone.answer["error"]["code"] == "JRN-003"
    assert f"there is no folder {tmp_path / 'nowhere'}" in gone.err


def test_evidence_that_is_gone_voids_it(approved: Path) -> None:
    shutil.rmtree(approved / "runs")
    record(approved / "runs", "other")
    assert void(asked(approved)) == ["session paper does not count any more"]


def test_nothing_is_traded_while_a_demand_is_not_met(home: Path, started: list[Trading]) -> None:
    assert missing(asked(home)) == ["review_signed"]
    assert started == []


def test_other_code_voids_it_until_it_is_approved_again(approved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.readiness.source_digest", lambda: "0" * 64)
    said = asked(approved)
    assert void(said) == ["the code is another than that which was approved"]
    assert said.answer["data"]["other_code"] == ["paper"]


def test_another_strategy_voids_it_and_the_evidence_with_it(approved: Path) -> None:
    rewrite(approved / "configs" / "strategies.yaml", "shock_sigma: -4.0", "shock_sigma: -4.5")
    said = asked(approved)
    assert "the strategies are others than those that were approved" in void(said)
    assert "under other rules: strategies.yaml" in said.answer["data"]["not_counted"][0]["why"]


def test_an_approval_that_was_edited_is_none(approved: Path) -> None:
    rewrite(approved / "configs" / LIVE_LOCK_FILE, '"seq": 743', '"seq": 700')
    said = asked(approved)
    item: dict[str, Any] = said.answer["data"]["items"][9]
    assert (item["verdict"], "cannot be used" in item["seen"]) == ("fail", True)


# --- scripts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run_paper.sh", "run_live.sh"])
def test_a_start_script_is_thin_and_stops_at_the_first_fault(name: str) -> None:
    """K1. What a linter for shells would say first: strict mode, quoted arguments, no unquoted variable."""
    text = (ROOT / "scripts" / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert text.startswith("#!/usr/bin/env bash\n")
    assert lines[0] == "set -euo pipefail"
    assert lines[-1].startswith("exec .venv/bin/")
    assert lines[-1].endswith(' "$@"')
    assert len(lines) < 20
    assert "$@" not in text.replace('"$@"', "")
    for word in ("API_KEY", "API_SECRET", "eval", "sudo", "curl"):
        assert word not in "\n".join(lines)


def test_the_live_script_is_refused_by_a_safety_rule(tmp_path: Path) -> None:
    """J5, K1: exit code 3, and it says so."""
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("not set up in this folder")
    told = subprocess.run(
        [str(ROOT / "scripts" / "run_live.sh"), "--evidence", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(), "PATH": os.environ["PATH"]},
    )
    assert told.returncode == 3
    assert "error[READY-001]" in told.stderr
    assert "nothing was started; no order was sent" in told.stderr


def test_the_smoke_test_sends_nothing_without_keys(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo exchange is the owner's to run; here only that it refuses."""
    monkeypatch.setattr(smoke_demo, "_run", lambda *_: pytest.fail("nothing may be sent"))
    assert smoke_demo.main([], {}) == 2
    said = capsys.readouterr().err
    assert "nothing was sent" in said
    assert "= help: set them in the environment or in .env" in said


def test_the_smoke_test_refuses_any_address_but_the_demos() -> None:
    client = smoke_demo.demo_client(Keys(KEY, SECRET))
    smoke_demo.must_be_demo(client)
    client.enable_demo_trading(False)
    with pytest.raises(smoke_demo.Refused, match="not on the demo exchange"):
        smoke_demo.must_be_demo(client)
