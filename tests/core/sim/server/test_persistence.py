"""The exchange's state on disk: what it holds after a kill, and what a save costs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest

from core.clock import VirtualClock
from core.errors import StateError
from core.sim.local import history, orders
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import NewOrder, OrderSide, OrderType, TimeInForce, TradeTick
from core.sim.server.persistence import StateFile
from tests.core.sim.server.kit import BTC, D, listing
from tests.support.simulation import sqlite
from tests.support.simulation.disk import Disk, Loss

PAGE = 4096


def traded(orders_made: int, exchange: LocalExchange | None = None) -> LocalExchange:
    """An exchange with so many filled orders, bought and sold in turn."""
    if exchange is None:
        exchange = LocalExchange((listing(),), VirtualClock(1_700_000_000_000), wallet=D(100_000))
        exchange.trade(TradeTick(BTC, 1, 1, D(50_000), D(1), OrderSide.BUY))
    for number in range(orders_made):
        side = OrderSide.SELL if number % 2 else OrderSide.BUY
        exchange.place(NewOrder(BTC, side, OrderType.MARKET, D("0.004"), None, TimeInForce.GTC))
    exchange.drain_words()
    return exchange


def restored(path: Path) -> LocalExchange:
    state = StateFile(path).load()
    assert state is not None
    exchange = LocalExchange((listing(),), VirtualClock(1_700_000_000_000), wallet=D(1))
    exchange.restore({**state["exchange"], "past": state["past"]})
    return exchange


def save(file: StateFile, exchange: LocalExchange) -> None:
    file.save({"exchange": exchange.present(), "position": None}, exchange.past)


def test_what_was_saved_bit_by_bit_is_read_as_a_whole(tmp_path: Path) -> None:
    file, exchange = StateFile(tmp_path / "deep" / "state.db"), traded(3)
    assert file.load() is None
    for _ in range(3):
        save(file, traded(2, exchange))
    file.close()
    file.close()
    assert restored(tmp_path / "deep" / "state.db").snapshot() == exchange.snapshot()
    again = StateFile(tmp_path / "deep" / "state.db")
    assert again.load() is not None
    save(again, traded(1, exchange))
    assert restored(tmp_path / "deep" / "state.db").snapshot() == exchange.snapshot()


def test_a_save_writes_no_more_after_many_orders_than_after_few(tmp_path: Path) -> None:
    """It runs in the event loop before each reply: what was traded long ago must not be written again."""
    file, exchange, log = StateFile(tmp_path / "state.db"), traded(1), tmp_path / "state.db-wal"
    save(file, exchange)
    written = []
    for more in (1, 200, 600):
        save(file, traded(more, exchange))
        before = log.stat().st_size
        save(file, traded(1, exchange))
        written.append(log.stat().st_size - before)
    assert max(written) <= 16 * PAGE
    assert log.stat().st_size > 100 * PAGE  # all of them together


def test_rows_that_the_exchange_forgets_leave_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "FINISHED_KEPT", 3)
    monkeypatch.setattr(history, "TRADES_KEPT", 4)
    monkeypatch.setattr(history, "INCOME_KEPT", 2)
    file, exchange = StateFile(tmp_path / "state.db"), traded(2)
    save(file, exchange)
    save(file, traded(3, exchange))
    save(file, traded(9, exchange))
    assert restored(tmp_path / "state.db").snapshot() == exchange.snapshot()
    with sqlite3.connect(tmp_path / "state.db") as read:
        counted = dict(read.execute("SELECT kind, count(*) FROM past GROUP BY kind"))
    assert counted == {"orders": 3, "trades": 4, "income": 2}


@pytest.mark.parametrize("cut", [False, True])
def test_after_a_kill_the_last_finished_save_is_there(cut: bool, tmp_path: Path) -> None:
    """As the disk stands while the process lives; the end of its log may be half of a save."""
    file, exchange = StateFile(tmp_path / "state.db"), traded(2)
    save(file, exchange)
    before = exchange.snapshot()
    save(file, traded(2, exchange))
    after, killed = exchange.snapshot(), tmp_path / "killed"
    killed.mkdir()
    for part in ("state.db", "state.db-wal"):
        shutil.copy(tmp_path / part, killed / part)
    if cut:
        os.truncate(killed / "state.db-wal", (killed / "state.db-wal").stat().st_size - 100)
    assert restored(killed / "state.db").snapshot() == (before if cut else after)


@pytest.mark.parametrize("loss", Loss)
def test_what_was_saved_before_the_power_went_is_there(loss: Loss, tmp_path: Path) -> None:
    """An order that was answered is not forgotten, whatever the disk did of all that it was not made to do."""
    (tmp_path / "real").mkdir()
    disk, exchange = Disk(tmp_path / "real"), traded(1)
    with sqlite.databases(lambda path: disk if disk.holds(path) else None):
        file = StateFile(tmp_path / "real" / "state.db")
        saved = []
        for _ in range(3):
            save(file, traded(1, exchange))
            saved.append((len(disk.ops), exchange.snapshot()))
        disk.frozen = True  # closing is not part of it
        file.close()
    for number, (operations, state) in enumerate(saved):
        image = disk.image(tmp_path / f"{number}", loss, Random(number), operations)
        assert restored(image / "state.db").snapshot() == state


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    file, exchange = StateFile(tmp_path / "state.db"), traded(2)
    save(file, exchange)
    before = exchange.snapshot()
    with pytest.raises(TypeError):
        file.save({"exchange": object()}, traded(1, exchange).past)
    assert restored(tmp_path / "state.db").snapshot() == before
    save(file, exchange)
    assert restored(tmp_path / "state.db").snapshot() == exchange.snapshot()


def test_a_file_whose_maker_was_killed_before_its_first_save_holds_nothing(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as made:
        made.execute("PRAGMA journal_mode = WAL")
    assert StateFile(tmp_path / "state.db").load() is None
    (tmp_path / "empty.db").touch()
    assert StateFile(tmp_path / "empty.db").load() is None


@pytest.mark.parametrize("harm", ["PRAGMA user_version = 99", "UPDATE present SET state = '{'", "DELETE FROM present"])
def test_a_file_that_cannot_be_used_is_an_error_with_a_way_out(harm: str, tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.db")
    save(file, traded(1))
    file.close()
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute(harm)
    with pytest.raises(StateError, match="cannot be read") as error:
        StateFile(tmp_path / "state.db").load()
    assert error.value.help is not None
    assert "restore the file from a copy" in error.value.help
    assert f"`brain exchange` after mv {tmp_path / 'state.db'} " in error.value.help  # a session of paper would miss its account
