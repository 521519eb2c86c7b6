"""Sessions on disk as evidence: what counts, what does not, and that nothing is believed which the journal does not bear out."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import SystemClock, VirtualClock
from core.exec.entering import Entering, Entry
from core.journal.writer import JournalWriter
from core.monitor.paper_sessions import count
from core.monitor.provenance import COUNTS, Orders, Pace, Reached, Timekeeper
from core.monitor.schema import Alert, AlertLevel
from core.monitor.store import Store
from core.risk.canary import Sizing
from core.venues.client import Wiring
from graph.engines import EngineKind, build_engine
from graph.evidence import gather
from graph.journaling import open_journal
from graph.opening import SIZING, facts_of_entering
from graph.provenance import provenance_of
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.sessions import find
from tests.agents.making import breaking_out
from tests.support.ladder import START_MS, HandMade
from tests.support.paper_month import BTC, END_MS, HOUR, MONTH_HOURS, PaperRun, made_trade, record
from tests.support.run import assembled, configuration, short_configuration

SHORT = PaperRun(hours=48, nets=(2.0, -1.0), every=8)


def why_not(root: Path) -> dict[str, str]:
    counted = count(gather(root, configuration()), END_MS)
    return dict(counted.excluded)


def test_a_month_on_a_real_exchange_by_the_walls_clock_counts(tmp_path: Path) -> None:
    """X32."""
    record(tmp_path)
    (found,) = count(gather(tmp_path, configuration()), END_MS).sessions
    assert (found.name, found.why_not, found.wall_clock, found.symbols) == ("paper", None, True, (BTC,))
    assert found.up == ((START_MS + HOUR, END_MS),)
    assert (len(found.trades), found.start_equity, found.max_dd_pct, found.seq) == (90, 300.0, 1.0, MONTH_HOURS - 1)
    assert [start.agreed for start in found.starts] == [True]
    assert len(found.seal) == 64


@pytest.mark.parametrize(
    "run",
    [
        replace(SHORT, source="replay"),
        replace(SHORT, source="synthetic"),
        replace(SHORT, facts={}),
        PaperRun.of(replace(COUNTS, reached=Reached.REDIRECTED), hours=48),
        PaperRun.of(replace(COUNTS, reached=Reached.NONE), hours=48),
        PaperRun.of(replace(COUNTS, timekeeper=Timekeeper.VIRTUAL), hours=48),
        PaperRun.of(replace(COUNTS, pace=Pace.OWN), hours=48),
        PaperRun.of(replace(COUNTS, orders=Orders.DIRECT), hours=48),
        PaperRun.of(replace(COUNTS, orders=Orders.VENUE), hours=48),
    ],
    ids=["replay", "synthetic", "silent", "redirected", "no venue", "virtual", "its own pace", "direct", "live"],
)
def test_what_is_not_wall_clock_paper_on_a_real_exchange_does_not_count(run: PaperRun, tmp_path: Path) -> None:
    """X32."""
    record(tmp_path, run=run)
    (found,) = gather(tmp_path, configuration())
    assert "X32" in (found.why_not or "")
    assert not found.wall_clock


def test_a_month_of_canaries_says_nothing_of_whole_entries(tmp_path: Path) -> None:
    """X35, X36: their drawdown is that of another size."""
    record(tmp_path, run=replace(SHORT, facts={**COUNTS.facts(), SIZING: Sizing.CANARY}))
    assert "canaries" in why_not(tmp_path)["paper"]


def test_how_a_session_entered_is_read_and_was_across_before_it_was_kept(tmp_path: Path) -> None:
    record(tmp_path, "before", SHORT)
    record(tmp_path, "since", replace(SHORT, facts={**COUNTS.facts(), **facts_of_entering(Entering(Entry.ACROSS, 3))}))
    before, since = gather(tmp_path, configuration())
    assert (before.entering, since.entering) == (Entering(), Entering(Entry.ACROSS, 3))


def test_a_run_as_it_is_does_not_count(tmp_path: Path) -> None:
    """The daemon's own facts, of a real run over a made market that only calls itself an exchange."""
    market = HandMade({BTC: breaking_out().climb(3)})
    market.info = replace(market.info, name="exchange:binanceusdm")
    folder = tmp_path / "run"
    parts = assembled(market, folder, short_configuration())
    own = provenance_of({}, None, parts.clock, RunOptions()).facts()
    daemon = Daemon(parts, build_engine(EngineKind.DIRECT), SessionDir(folder), RunOptions(), identity=own)
    asyncio.run(daemon.run())
    parts.store.close()
    parts.journal.close()
    assert "not reached at the venue" in why_not(tmp_path)["run"]


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_flipped_byte_of_the_journal_ends_it_as_evidence(tmp_path: Path) -> None:
    """J5: damaged sessions never count."""
    folder = record(tmp_path, run=SHORT)
    segment = next(path for path in sorted((folder / "journal").iterdir()) if path.is_file())
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert set(why_not(tmp_path)) == {"paper"}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE trades SET net = net + 5",
        "DELETE FROM trades WHERE net < 0",
        "DELETE FROM fills WHERE id = 'in0'",
        "UPDATE decisions SET record = x'00' WHERE seq = 3",
        "DELETE FROM decisions WHERE seq > 10",
    ],
)
def test_records_that_the_journal_does_not_bear_out_do_not_count(sql: str, tmp_path: Path) -> None:
    folder = record(tmp_path, run=SHORT)
    db = sqlite3.connect(folder / "brain.sqlite")
    db.execute(sql)
    db.commit()
    db.close()
    assert "its records are not sound" in why_not(tmp_path)["paper"]


def test_a_trade_that_follows_from_no_fill_does_not_count(tmp_path: Path) -> None:
    folder = record(tmp_path, run=SHORT)
    store = Store(folder / "brain.sqlite")
    store.record_trade(made_trade(99, 100.0, START_MS + 40 * HOUR)[0])
    store.commit()
    store.close()
    assert "trades: 3 in the records, 2 follow from the fills" in why_not(tmp_path)["paper"]


def test_a_session_without_records_does_not_count(tmp_path: Path) -> None:
    folder = record(tmp_path, run=SHORT)
    for path in folder.glob("brain.sqlite*"):
        path.unlink()
    assert "paper" in why_not(tmp_path)


def test_a_torn_tail_costs_nothing_that_was_decided(tmp_path: Path) -> None:
    """A crash is no damage: the last bytes were never committed."""
    folder = record(tmp_path, run=SHORT)
    segment = max(path for path in (folder / "journal").iterdir() if path.is_file())
    segment.write_bytes(segment.read_bytes() + b"\x07" * 5)
    assert why_not(tmp_path) == {}


def test_a_session_that_is_being_recorded_is_read_and_left_alone(tmp_path: Path) -> None:
    folder = record(tmp_path, run=SHORT)
    store = Store(folder / "brain.sqlite")
    journal = open_journal(folder / "journal", store)
    before = {path.name: path.read_bytes() for path in (folder / "journal").iterdir()}
    assert why_not(tmp_path) == {}
    assert before == {path.name: path.read_bytes() for path in (folder / "journal").iterdir()}
    journal.close()
    store.close()


# --- twice, and under other rules --------------------------------------------------------------------------------------


def test_a_copy_of_a_session_does_not_count_again(tmp_path: Path) -> None:
    """Repeated sessions are never counted twice."""
    folder = record(tmp_path, run=SHORT)
    shutil.copytree(folder, tmp_path / "qopy")
    assert why_not(tmp_path) == {"qopy": "it overlaps with paper, and no time counts twice"}


def test_other_limits_or_strategies_make_it_another_system(tmp_path: Path) -> None:
    config = configuration()
    limits = config.model_copy(update={"governance_digest": "0" * 64})
    record(tmp_path, "limits", replace(SHORT, config=limits))
    record(tmp_path, "rules", replace(SHORT, config=short_configuration()))
    found = why_not(tmp_path)
    assert found["limits"] == "it was recorded under other rules: governance_digest"
    assert found["rules"] == "it was recorded under other rules: strategies.yaml"


def test_pages_of_a_session_under_other_rules_are_seen(tmp_path: Path) -> None:
    """A critical error is one whatever the rules were."""
    fault = Alert(START_MS + HOUR, AlertLevel.PAGE, "fault", "OSError")
    record(tmp_path, run=replace(SHORT, config=short_configuration(), alerts=(fault,)))
    (found,) = gather(tmp_path, configuration())
    assert (found.wall_clock, found.pages) == (True, (fault,))


# --- seals -----------------------------------------------------------------------------------------------------------


def test_the_seal_of_what_was_approved_stays_while_the_session_grows(tmp_path: Path) -> None:
    (early,) = gather(record(tmp_path / "a", run=replace(SHORT, hours=24)).parent, configuration())
    (late,) = gather(record(tmp_path / "b", run=SHORT).parent, configuration(), {"paper": early.seq})
    assert late.sealed == early.seal
    assert late.seal != early.seal


def test_the_seal_of_what_was_never_reached_is_none(tmp_path: Path) -> None:
    (found,) = gather(record(tmp_path, run=SHORT).parent, configuration(), {"paper": 1_000})
    assert found.sealed == ""


def test_a_folder_without_a_journal_is_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert gather(tmp_path, configuration()) == ()
    JournalWriter(tmp_path / "y" / "journal").close()
    assert [one.why_not is None for one in gather(tmp_path, configuration())] in ([], [False])
    assert find("x", record(tmp_path, "x", SHORT).parent).name == "x"


# --- provenance of a run's own parts --------------------------------------------------------------------------------------


def test_a_run_at_a_venue_with_orders_to_the_local_exchange_counts() -> None:
    market = RunOptions(market_time=True)
    data, local = {"binanceusdm": Wiring()}, Wiring(plain="http://127.0.0.1:1")
    assert provenance_of(data, local, SystemClock(), market) == COUNTS
    assert provenance_of(data, Wiring(), SystemClock(), market).orders is Orders.VENUE
    assert provenance_of(data, None, SystemClock(), market).orders is Orders.DIRECT


@pytest.mark.parametrize("wiring", [Wiring(plain="http://127.0.0.1:1"), Wiring(cafile="ca.pem")], ids=["plain", "authority"])
def test_one_venue_that_is_led_elsewhere_makes_the_data_redirected(wiring: Wiring) -> None:
    made = provenance_of({"binanceusdm": Wiring(), "okx": wiring}, None, SystemClock(), RunOptions(market_time=True))
    assert made.reached is Reached.REDIRECTED


class Adjusted(SystemClock):
    """A clock that passes for the host's and is none."""

    def now_ms(self) -> int:
        return 0


@pytest.mark.parametrize("clock", [VirtualClock(), Adjusted()])
def test_any_clock_but_the_hosts_is_virtual(clock: VirtualClock | SystemClock) -> None:
    assert provenance_of({}, None, clock, RunOptions()).timekeeper is Timekeeper.VIRTUAL


def test_a_speed_is_a_pace_of_its_own() -> None:
    assert provenance_of({}, None, SystemClock(), RunOptions(speed=1.0, market_time=True)).pace is Pace.OWN
    assert provenance_of({}, None, SystemClock(), RunOptions()).pace is Pace.OWN
