"""What is left of a disk: nothing acknowledged is lost where it was synced, and the model does lose what was not."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.core.journal.disk import Name, Op, Sync, SyncFolder, Truncate, Write
from tests.support.simulation import sqlite
from tests.support.simulation.disk import Disk, Loss, Trouble, plain_files, surviving

pytestmark = pytest.mark.untraced

COMMITS = 14
OPENING = ("PRAGMA synchronous=EXTRA", "PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=12")


@dataclass(frozen=True)
class Session:
    disk: Disk
    acknowledged: list[int]
    """After each commit: how many operations there were."""

    def due(self, upto: int) -> int:
        return sum(operations <= upto for operations in self.acknowledged)


def session(folder: Path, synchronous: str) -> Session:
    folder.mkdir(parents=True)
    disk, acknowledged = Disk(folder), []
    with sqlite.databases(lambda path: disk if disk.holds(path) else None):
        db = sqlite3.connect(folder / "a.sqlite", isolation_level=None, timeout=0)
        for words in (*OPENING, f"PRAGMA synchronous={synchronous}", "CREATE TABLE t (x)"):
            db.execute(words)
        acknowledged.append(len(disk.ops))
        for number in range(COMMITS):
            db.execute("INSERT INTO t VALUES (?)", (number,))
            acknowledged.append(len(disk.ops))
        disk.frozen = True  # closing is not part of it
        db.close()
    return Session(disk, acknowledged)


def found(folder: Path) -> tuple[str, int]:
    """What a later opening finds: whether the database is whole, and how many commits it holds, the table's included."""
    with contextlib.closing(sqlite3.connect(folder / "a.sqlite")) as db:
        try:
            [(health,)] = db.execute("PRAGMA integrity_check(1)")
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            return health, tables and 1 + db.execute("SELECT count(*) FROM t").fetchone()[0]
        except sqlite3.DatabaseError:
            return "corrupt", 0


def verdicts(tmp_path: Path, synchronous: str, losses: tuple[Loss, ...]) -> Counter[str]:
    """Over every number of operations after the first commit."""
    ran = session(tmp_path / "real", synchronous)
    seen: Counter[str] = Counter()
    for upto in range(ran.acknowledged[0], len(ran.disk.ops) + 1):
        for loss in losses:
            health, commits = found(ran.disk.image(tmp_path / f"{upto}-{loss.name}", loss, Random(upto), upto))
            seen["corrupt" if health != "ok" else "lost" if commits < ran.due(upto) else "kept"] += 1
    return seen


POWER = (Loss.UNSYNCED, Loss.LATEST, Loss.SECTORS)


def test_full_synchronous_loses_no_acknowledged_commit_at_any_operation(tmp_path: Path) -> None:
    seen = verdicts(tmp_path, "FULL", tuple(Loss))
    assert set(seen) == {"kept"}
    assert seen["kept"] > 150


def test_normal_synchronous_loses_commits_but_never_the_database(tmp_path: Path) -> None:
    """So that the model has teeth."""
    seen = verdicts(tmp_path, "NORMAL", POWER)
    assert seen["lost"] > seen["kept"]
    assert not seen["corrupt"]


def test_no_synchronous_loses_the_database(tmp_path: Path) -> None:
    assert verdicts(tmp_path, "OFF", POWER)["corrupt"] > 0


def test_a_kill_loses_nothing_under_any_mode(tmp_path: Path) -> None:
    for synchronous in ("NORMAL", "OFF"):
        assert set(verdicts(tmp_path / synchronous, synchronous, (Loss.KILL,))) == {"kept"}


def test_an_image_goes_on_as_a_folder_that_is_watched_again(tmp_path: Path) -> None:
    ran = session(tmp_path / "real", "FULL")
    (tmp_path / "real" / "notes.txt").write_text("never recorded")
    again = Disk(ran.disk.image(tmp_path / "next"))
    assert (tmp_path / "next" / "notes.txt").read_text() == "never recorded"
    assert found(again.image(tmp_path / "third", Loss.UNSYNCED)) == ("ok", COMMITS + 1)


@pytest.mark.parametrize("trouble", Trouble)
def test_any_operation_of_sqlite_may_fail_and_what_was_acknowledged_stays(tmp_path: Path, trouble: Trouble) -> None:
    """From one operation on everything fails, through commits, a checkpoint and the closing."""
    for bad in range(len(session(tmp_path / "counted", "FULL").disk.ops)):
        folder = tmp_path / f"{bad}"
        folder.mkdir()
        disk = Disk(folder, fails=lambda number, _op, bad=bad: trouble if number >= bad else None)
        with sqlite.databases(lambda path, disk=disk: disk if disk.holds(path) else None):
            commits = until_it_fails(folder)
        health, there = found(folder)
        assert health == "ok", bad
        assert there >= commits, bad


def until_it_fails(folder: Path) -> int:
    """How many commits went through, the table's included."""
    commits = 0
    with pytest.raises(sqlite3.OperationalError, match=r"disk I/O error|disk is full"):  # noqa: PT012, SIM117 - any of them may
        with contextlib.closing(sqlite3.connect(folder / "a.sqlite", isolation_level=None, timeout=0)) as db:
            for words in (*OPENING, "PRAGMA synchronous=FULL"):
                db.execute(words)
            for words in (
                "CREATE TABLE t (x)",
                *["INSERT INTO t VALUES (1)"] * COMMITS,
                "PRAGMA wal_checkpoint(TRUNCATE)",
                "VACUUM",
            ):
                db.execute(words)
                commits += 1
    return min(commits, COMMITS + 1)


# --- plain files -------------------------------------------------------------------------------------------


def written(folder: Path, *, careful: bool) -> tuple[Disk, int]:
    """A file made as journals are made: draft, sync, rename, sync of the folder, then lines, each synced."""
    (folder / "journal").mkdir(parents=True)
    disk = Disk(folder)
    with plain_files(lambda path: disk if disk.holds(path) else None):
        handle = os.open(folder / "journal" / "draft", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.pwrite(handle, b"head" * 300, 0)
        if careful:
            os.fsync(handle)
        (folder / "journal" / "draft").replace(folder / "journal" / "segment")
        if careful:
            above = os.open(folder / "journal", os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(above)
            os.close(above)
        safe = len(disk.ops)
        os.pwrite(handle, b"tail" * 300, 1_200)
        os.ftruncate(handle, 2_000)
        os.close(handle)
        (folder / "unrelated").write_bytes(b"as it stands")
        (folder / "journal" / "segment").rename(folder / "journal" / "segment")
    return disk, safe


@pytest.mark.parametrize("loss", POWER)
def test_a_file_that_was_synced_with_its_folder_is_there_and_one_that_was_not_may_not_be(tmp_path: Path, loss: Loss) -> None:
    disk, safe = written(tmp_path / "careful", careful=True)
    for upto in range(safe, len(disk.ops) + 1):
        image = disk.image(tmp_path / f"{upto}", loss, Random(upto), upto)
        assert (image / "journal" / "segment").read_bytes()[:1_200] == b"head" * 300
    disk, _ = written(tmp_path / "careless", careful=False)
    whole = 0
    for chance in range(20):
        path = disk.image(tmp_path / f"careless-{chance}", loss, Random(chance)) / "journal" / "segment"
        whole += path.exists() and path.read_bytes()[:1_200] == b"head" * 300
    assert whole < 15


def test_a_kill_keeps_everything(tmp_path: Path) -> None:
    disk, _ = written(tmp_path / "careless", careful=False)
    image = disk.image(tmp_path / "image")
    assert (image / "journal" / "segment").read_bytes() == (b"head" * 300 + b"tail" * 300)[:2_000]
    assert (image / "unrelated").read_bytes() == b"as it stands"
    assert not (image / "journal" / "draft").exists()


def test_a_full_disk_takes_half_of_a_write_and_says_so(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with plain_files(lambda path: disk if disk.holds(path) else None):
        handle = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
        disk.fails = lambda _number, op: Trouble.DISK_FULL if isinstance(op, Write) else None
        with pytest.raises(OSError, match="No space left on device"):
            os.pwrite(handle, b"12345678", 0)
        disk.fails = lambda _number, op: Trouble.IO_ERROR if isinstance(op, Sync) else None
        with pytest.raises(OSError, match="Input/output error"):
            os.fsync(handle)
        os.close(handle)
        (tmp_path / "a").unlink()
    assert [op for op in disk.ops if isinstance(op, Write)] == [Write(0, 0, b"1234")]
    assert disk.image(tmp_path / "image", Loss.KILL, upto=2).joinpath("a").read_bytes() == b"1234"
    assert not (disk.image(tmp_path / "later", Loss.KILL) / "a").exists()


def test_the_model_worked_by_hand() -> None:
    ops: list[Op] = [
        Name(new="f", file=0),
        SyncFolder("."),
        Write(0, 0, b"a"),
        Sync(0),
        Write(0, 1, b"b"),
        Truncate(0, 1),
        Name("f"),
    ]
    assert surviving(ops, Loss.KILL, Random(0)) == ops
    assert surviving(ops, Loss.UNSYNCED, Random(0)) == ops[:4]
    assert {len(surviving(ops, Loss.LATEST, Random(seed))) for seed in range(50)} == {4, 5, 6, 7}
    sectors = {len(surviving([*ops[:4], Write(0, 100, b"x" * 1_000)], Loss.SECTORS, Random(seed))) for seed in range(50)}
    assert sectors == {4, 5, 6, 7}  # 100-511, 512-1023, 1024-1099


def test_an_interpreter_with_sqlite_inside_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_library", object)
    assert "not as a shared library" in str(sqlite.missing())
    with pytest.raises(pytest.skip.Exception, match="SQLite inside"), sqlite.databases(lambda _path: None):
        raise AssertionError
