from __future__ import annotations

import csv
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from core.canonical import encode
from core.codes import RefusalCode
from core.errors import StateError
from core.monitor.reader import StoreReader
from core.monitor.schema import TRADE, Alert, AlertLevel, RowCodec, json_text
from core.monitor.store import Store, in_use
from core.types import ExitReason, Fill, OrderStatus, Plan, Regime, ScoredSignal, ScorePart, TradeRecord
from tests.core.monitor import making
from tests.core.monitor.making import BTC, HOUR, T0

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "brain.sqlite"


def _record_all(store: Store) -> None:
    store.record_signal(making.scored())
    store.record_refusal(making.refusal())
    store.record_plan(making.plan())
    store.record_intent(making.order())
    store.record_update(making.update())
    store.record_fill(making.fill())
    store.record_funding(making.funding())
    store.record_trade(making.trade())
    store.record_adjustment(making.adjustment())
    store.record_equity(T0, 300.0, 0.0)
    store.record_alert(Alert(T0, AlertLevel.PAGE, "DAY_LOCK", "the day is locked", (("loss", 1.81),)))
    store.record_decision(0, T0, "ab" * 32, b"payload")


# --- what is recorded is what is read -------------------------------------------------------------------------------------


def test_what_was_recorded_is_read_back_as_it_was(path: Path) -> None:
    """I2: every field of trade and plan is kept."""
    with Store(path) as store:
        _record_all(store)
        store.save_snapshot(0, {})
        store.commit()
        assert store.trades() == (making.trade(),)
        assert store.refusals() == (making.refusal(),)
        assert list(store.decisions()) == [(0, T0, "ab" * 32, b"payload")]
        assert [point.equity for point in store.equity()] == [300.0]
        for table in ("signals", "plans", "orders", "order_events", "fills", "funding", "adjustments", "alerts"):
            assert store.count(table) == 1, table


@pytest.mark.parametrize("value", [making.plan(), making.fill(), making.trade(), making.order(), making.adjustment()])
def test_each_record_survives_the_way_through_sqlite(value: object) -> None:
    codec = RowCodec(type(value))
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE TABLE t ({', '.join(f'{name} {sql}' for name, sql in codec.columns)})")
    db.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(codec.columns))})", codec.encode(value))  # noqa: S608
    row = db.execute("SELECT * FROM t").fetchone()
    db.close()
    back = codec.decode(row)
    assert back == value
    assert encode(back) == encode(value)


def test_decimals_keep_their_digits_and_enums_their_text(path: Path) -> None:
    with Store(path) as store:
        store.record_plan(making.plan())
        store.commit()
        assert store.query("SELECT qty, stop, regime FROM plans") == [("0.010", "41500.00", "trend_up")]


def test_a_missing_number_is_null_and_reads_as_nan(path: Path) -> None:
    with Store(path) as store:
        store.record_trade(making.trade(mae_r=math.nan))
        store.commit()
        assert store.query("SELECT mae_r FROM trades") == [(None,)]
        assert math.isnan(store.trades()[0].mae_r)


def test_json_never_turns_a_float_into_null() -> None:
    assert json_text((("a", math.nan), ("b", -math.inf), ("c", None))) == '[["a","nan"],["b","-inf"],["c",null]]'
    assert json_text((ScorePart("news", math.nan, 1.0, False, (("until", None),)),)).startswith('[{"name":"news","points":"nan"')


def test_the_present_state_of_an_order_follows_its_updates(path: Path) -> None:
    with Store(path) as store:
        store.record_intent(making.order())
        store.commit()
        assert store.query("SELECT status FROM orders") == [(None,)]
        store.record_update(making.update(status=OrderStatus.NEW))
        store.record_update(making.update(status=OrderStatus.FILLED))
        store.commit()
        assert store.query("SELECT status, filled FROM orders") == [("filled", "0.010")]
        assert store.query("SELECT status FROM order_events ORDER BY rowid") == [("new",), ("filled",)]


def test_rows_name_the_decision_in_whose_course_they_came_to_be(path: Path) -> None:
    with Store(path) as store:
        store.record_decision(7, T0, "", b"")
        store.record_fill(making.fill())
        store.record_decision(8, T0 + 1, "", b"")
        store.record_refusal(making.refusal())
        store.commit()
        assert store.query("SELECT seq FROM fills") == [(8,)]
        assert store.query("SELECT seq FROM refusals") == [(9,)]
        assert store.last_seq() == 8


def test_a_trade_stands_beside_its_plan_in_the_export(path: Path, tmp_path: Path) -> None:
    """I2: CSV with every field of trade and plan; the values are those recorded."""
    with Store(path) as store:
        _record_all(store)
        store.commit()
        files = store.export_csv(tmp_path / "out")
    assert [file.name for file in files] == ["trades.csv", "plans.csv", "orders.csv", "fills.csv", "refusals.csv"]
    (row,) = _csv(tmp_path / "out" / "trades.csv")
    assert set(TradeRecord.__struct_fields__) <= set(row)
    assert {f"plan_{name}" for name in Plan.__struct_fields__ if name != "id"} <= set(row)
    assert (row["net"], row["r_multiple"], row["plan_stop"]) == ("2.0", "0.9", "41500.00")
    assert TRADE.decode([_number(row[name], sql) for name, sql in TRADE.columns]) == making.trade()
    (fill,) = _csv(tmp_path / "out" / "fills.csv")
    assert set(Fill.__struct_fields__) <= set(fill)
    assert fill["reason"] == ""
    (order,) = _csv(tmp_path / "out" / "orders.csv")
    assert (order["client_id"], order["status"]) == ("c1", "filled")
    (refused,) = _csv(tmp_path / "out" / "refusals.csv")
    assert refused["message"] == "costs were 0.31R, at most 0.20R"


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str, sql: str) -> object:
    return {"REAL": float, "INTEGER": int, "TEXT": str}[sql](text)


def test_the_summary_counts_what_lies_in_the_span(path: Path) -> None:
    with Store(path) as store:
        _record_all(store)
        store.record_refusal(making.refusal(RefusalCode.DAY_LOCK, T0 + HOUR))
        store.commit()
        every = store.summary()
        early = store.summary(T0, T0 + 1)
    assert every.refusals == (("COST_SHARE", 1), ("DAY_LOCK", 1))
    assert (every.decisions, every.signals, every.plans, every.orders, every.fills) == (1, (("breakout_4h", 1),), 1, 1, 1)
    assert (every.trades, every.net, every.fees, every.funding) == (1, 2.0, 0.21, -0.042)
    assert (early.trades, early.refusals) == (0, (("COST_SHARE", 1),))


def test_meta_is_seen_at_once_and_kept(path: Path) -> None:
    with Store(path) as store:
        assert store.get_meta("run") is None
        store.set_meta("run", "r1")
        assert store.get_meta("run") == "r1"
        store.commit()
    with StoreReader(path) as reader:
        assert reader.get_meta("run") == "r1"
    with Store(path) as store, pytest.raises(ValueError, match="belongs to the store"):
        store.set_meta("commits", "9")


# --- commits and snapshots ------------------------------------------------------------------------------------------------


def test_nothing_is_written_before_a_commit(path: Path) -> None:
    with Store(path) as store:
        _record_all(store)
        assert store.count("decisions") == 0
        assert store.pending == 12
    with StoreReader(path) as reader:
        assert reader.count("decisions") == 0


def test_the_last_snapshot_is_given_back_and_two_are_kept(path: Path) -> None:
    """X43: a run goes on from its own snapshot."""
    state = {"positions": [{"qty": Decimal("0.010"), "stop": 1.5, "nan": math.inf}], "none": None}
    with Store(path) as store:
        assert store.load_snapshot() is None
        for seq in range(5):
            store.record_decision(seq, T0 + seq, "", b"")
            store.save_snapshot(seq, {**state, "seq": seq})
            store.commit()
        assert store.query("SELECT seq FROM snapshots ORDER BY seq") == [(3,), (4,)]
    with Store(path) as store:
        assert store.load_snapshot() == (
            4,
            {"positions": [{"qty": "0.010", "stop": 1.5, "nan": math.inf}], "none": None, "seq": 4},
        )


def test_a_snapshot_is_the_state_at_the_moment_it_was_saved(path: Path) -> None:
    state = {"n": [1]}
    with Store(path) as store:
        store.save_snapshot(0, state)
        state["n"].append(2)
        store.commit()
        assert store.load_snapshot() == (0, {"n": [1]})


def test_decisions_later_than_the_snapshot_are_an_error(path: Path) -> None:
    with Store(path) as store:
        store.record_decision(0, T0, "", b"")
        store.save_snapshot(0, {})
        store.commit()
        store.record_decision(1, T0, "", b"")
        store.commit()
    with pytest.raises(StateError, match="decision 1") as caught:
        Store(path)
    assert caught.value.help
    with StoreReader(path) as reader:
        assert reader.last_seq() == 1


def test_fills_later_than_the_snapshot_are_an_error(path: Path) -> None:
    with Store(path) as store:
        store.save_snapshot(0, {})
        store.commit()
        store.record_fill(making.fill())
        store.commit()
    with pytest.raises(StateError, match="snapshot"):
        Store(path)


def test_an_alert_or_a_report_needs_no_snapshot(path: Path) -> None:
    with Store(path) as store:
        store.record_decision(0, T0, "", b"")
        store.save_snapshot(0, {})
        store.commit()
        store.record_alert(Alert(T0, AlertLevel.INFO, "UNLOCK", "unlocked by a person"))
        store.set_meta("a", "b")
        store.commit()
    with Store(path) as store:
        assert store.load_snapshot() == (0, {})


def test_a_damaged_snapshot_is_never_used(path: Path) -> None:
    with Store(path) as store:
        store.save_snapshot(3, {"equity": 300.0})
        store.commit()
    db = sqlite3.connect(path)
    blob = bytearray(db.execute("SELECT blob FROM snapshots").fetchone()[0])
    blob[-1] ^= 1
    db.execute("UPDATE snapshots SET blob = ?", (bytes(blob),))
    db.commit()
    db.close()
    with Store(path) as store, pytest.raises(StateError, match="checksum") as caught:
        store.load_snapshot()
    assert "--state" in caught.value.help


def test_the_same_fill_twice_fails_and_nothing_of_the_commit_is_written(path: Path) -> None:
    with Store(path) as store:
        store.record_fill(making.fill())
        store.commit()
        store.record_trade(making.trade())
        store.record_fill(making.fill())
        with pytest.raises(StateError, match="there already"):
            store.commit()
        assert store.count("trades") == 0
        assert store.count("fills") == 1


def test_an_intent_in_a_durable_store_is_on_the_disk_at_once_with_its_plan(path: Path) -> None:
    """F2: intent is on disk before a byte is sent; the same client id is never accepted twice."""
    with Store(path, durable=True) as store:
        assert store.query("PRAGMA synchronous") == [(2,)]
        store.record_plan(making.plan())
        store.record_decision(0, T0, "", b"")
        store.record_intent(making.order())
        with StoreReader(path) as reader:
            assert (reader.count("orders"), reader.count("plans"), reader.count("decisions")) == (1, 1, 0)
        with pytest.raises(StateError, match="there already"):
            store.record_intent(making.order())
    with Store(path, durable=True) as store:
        assert store.count("orders") == 1


def test_paper_writes_ahead_with_normal_synchronous(path: Path) -> None:
    with Store(path) as store:
        assert store.query("PRAGMA journal_mode") == [("wal",)]
        assert store.query("PRAGMA synchronous") == [(1,)]
        store.verify()


# --- what can go wrong with the file --------------------------------------------------------------------------------------


def test_whether_a_run_holds_the_file_is_seen_without_standing_in_a_starting_runs_way(path: Path) -> None:
    assert not in_use(path)
    assert not path.with_name(f"{path.name}.lock").exists()
    with Store(path):
        assert in_use(path)
    assert not in_use(path)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            in_use(path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            Store(path).close()
    finally:
        over.set()
        looking.join()


def test_two_writers_are_refused_and_a_reader_is_not(path: Path) -> None:
    with Store(path) as store:
        store.record_decision(0, T0, "", b"")
        store.save_snapshot(0, {})
        store.commit()
        with pytest.raises(StateError, match="in use by another run"):
            Store(path)
        with StoreReader(path) as reader:
            assert reader.last_seq() == 0
    Store(path).close()


def test_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    for opening in (Store, StoreReader):
        with pytest.raises(StateError, match="version 99"):
            opening(path)
    assert path.read_bytes() == before


def test_a_table_of_another_build_is_refused(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE trades ADD COLUMN mood TEXT")
    db.commit()
    db.close()
    with pytest.raises(StateError, match="mood"):
        Store(path)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"these are my notes, not a database" * 40)
    for opening in (Store, StoreReader):
        with pytest.raises(StateError, match="not a state file") as caught:
            opening(path)
        assert caught.value.exit_code == 4
    assert path.read_bytes().startswith(b"these are my notes")


def test_verify_finds_damage_inside_the_file(path: Path) -> None:
    with Store(path) as store:
        for seq in range(200):
            store.record_decision(seq, T0, "", os.urandom(300))
        store.save_snapshot(199, {})
        store.commit()
    content = bytearray(path.read_bytes())
    page = content.index(b"CREATE TABLE meta") // 4096 + 1
    last = len(content) // 4096 - 2
    assert last > page
    for offset in range(last * 4096, (last + 1) * 4096):
        content[offset] ^= 0xFF
    path.write_bytes(content)
    with StoreReader(path) as reader, pytest.raises(StateError, match="damaged"):
        reader.verify()


@pytest.mark.parametrize(
    ("damage", "mend"),
    [
        (None, "restore the file from a copy"),
        ("UPDATE snapshots SET sha256 = 'x'", "restore the file from a copy"),
        ("PRAGMA user_version = 99", "use the newer program"),
        ("ALTER TABLE meta ADD COLUMN more TEXT", "use the build that made it"),
    ],
)
def test_records_of_a_session_at_an_exchange_are_never_answered_with_another_folder(
    damage: str | None, mend: str, path: Path
) -> None:
    """X43: a new folder knows neither its positions nor its locks; elsewhere nothing is lost by one."""
    with Store(path) as store:
        store.save_snapshot(3, {"equity": 300.0})
        store.commit()
    if damage is None:
        path.write_bytes(b"this is no database" * 200)
    else:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(damage)

    def way_out() -> str:
        with pytest.raises(StateError) as refused, StoreReader(path) as reader:
            reader.load_snapshot()
        return refused.value.help

    assert "another folder" in way_out()
    (path.parent / "orders.sqlite").touch()
    knows = "another folder knows neither positions nor locks"
    assert way_out() == f"look at the exchange first, then {mend}, or close what is open there; {knows}"


def test_an_absent_file_is_said_by_name(path: Path) -> None:
    with pytest.raises(StateError, match=r"brain\.sqlite does not exist"):
        StoreReader(path)


def test_a_folder_that_cannot_be_made_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be used") as caught:
        Store(tmp_path / "file" / "brain.sqlite")
    assert "--state" in caught.value.help


def test_a_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be used"):
        Store(tmp_path)


def test_a_full_disk_keeps_the_last_commit_and_the_commit_can_be_tried_again(path: Path) -> None:
    with Store(path) as store:
        store.record_decision(0, T0, "", b"")
        store.save_snapshot(0, {})
        store.commit()
        pages = store.query("PRAGMA page_count")[0][0]
        store.query(f"PRAGMA max_page_count={pages}")
        store.record_decision(1, T0, "", os.urandom(100_000))
        store.save_snapshot(1, {})
        with pytest.raises(StateError, match="disk is full") as caught:
            store.commit()
        assert "free some space" in caught.value.help
        assert store.last_seq() == 0
        store.query("PRAGMA max_page_count=1000000")
        store.commit()
        assert store.last_seq() == 1
    Store(path).close()


def test_writing_to_a_closed_store_is_a_state_error(path: Path) -> None:
    store = Store(path)
    store.record_decision(0, T0, "", b"")
    store.close()
    store.close()
    with pytest.raises(StateError):
        store.commit()


# --- kill -9 --------------------------------------------------------------------------------------------------------------

_CHILD = """
import sys
from core.monitor.store import Store
from tests.core.monitor import making
store = Store(sys.argv[1])
found = store.load_snapshot()
seq = 0 if found is None else found[0] + 1
print("ready", flush=True)
while True:
    for _ in range(20):
        store.record_fill(making.fill(seq))
        store.record_decision(seq, seq, "", b"x" * 300)
        seq += 1
    store.save_snapshot(seq - 1, {"next": seq, "ballast": ["y" * 50] * 200})
    store.commit()
"""


def test_after_kill_9_only_whole_commits_are_there(path: Path) -> None:
    """F6, X43: real processes killed at whatever they are doing; each next one goes on from the last whole commit."""
    reached = 0
    for life in range(8):
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.02 + 0.017 * life)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        with Store(path) as store:
            store.verify()
            found = store.load_snapshot()
            seqs = [row[0] for row in store.decisions()]
            fills = store.query("SELECT seq FROM fills ORDER BY seq")
        assert seqs == list(range(len(seqs)))
        assert [row[0] for row in fills] == seqs
        assert len(seqs) % 20 == 0
        assert (found[1]["next"] if found else 0) == len(seqs)
        assert len(seqs) >= reached
        reached = len(seqs)
    assert reached > 0


def test_death_inside_a_commit_leaves_nothing_of_it(path: Path) -> None:
    """F6: the process dies after the rows were written and before the transaction ended."""
    code = _CHILD.replace(
        "while True:", "import os\nstore._write = (lambda w: lambda db: (w(db), os._exit(9)))(store._write)\nif True:"
    )
    with Store(path) as store:
        store.record_decision(-1, T0, "", b"")
        store.save_snapshot(-1, {"next": 0})
        store.commit()
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr
    with Store(path) as store:
        store.verify()
        assert store.count("fills") == 0
        assert store.load_snapshot() == (-1, {"next": 0})


def test_scored_signal_columns_carry_score_and_parts(path: Path) -> None:
    """X23: the parts of the score are kept with each signal."""
    value: ScoredSignal = making.scored()
    with Store(path) as store:
        store.record_signal(value)
        store.commit()
        ((score, regime, parts),) = store.query("SELECT score, regime, parts FROM signals")
    assert (score, regime) == (7.5, Regime.TREND_UP)
    assert '"name":"regime","points":2.0' in parts


def test_adjustments_and_funding_keep_their_reason_and_amount(path: Path) -> None:
    with Store(path) as store:
        store.record_adjustment(making.adjustment())
        store.record_funding(making.funding())
        store.commit()
        assert store.query("SELECT reason, new_stop FROM adjustments") == [(ExitReason.BREAK_EVEN, "42030.5")]
        assert store.query("SELECT symbol, amount FROM funding") == [(BTC, -0.042)]
