"""``brain doctor --state``: whether a daemon lives, what halts it, what is held outside the plans; a timer reads its code."""

from __future__ import annotations

import os
import socket
import time
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import StateError
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox import Outbox
from core.exec.live.states import Row
from core.monitor.store import Store
from core.types import OrderPurpose, OrderSide, OrderType
from graph import session_dir
from graph.commands import doctor
from graph.session_dir import SessionDir
from tests.support.commands import Said, brain
from tests.support.paper_month import record

ETH = "ETH/USDT:USDT"
HOUR_S = 3_600.0
FOREIGN = Halt(ETH, HaltKind.FOREIGN_ORDER, "7", "order 7 is none of ours")
HALTED = Halt("", HaltKind.OTHER_DAEMON, "", "another daemon")


def session(root: Path, *halts: Halt, held: str = "0", **facts: str) -> SessionDir:
    """One at an exchange; all that is ``held`` belongs to no plan."""
    made = SessionDir(root)
    store = Store(made.database)
    for name, value in facts.items():
        store.set_meta(name, value)
    store.commit()
    store.close()
    outbox = Outbox(made.orders)
    for halt in halts:
        outbox.halt(halt)
    outbox.settle(ETH, Decimal(held), 1, "as if bought")
    outbox.close()
    return made


def asked(folder: SessionDir, port: int = 0) -> Said:
    return brain("doctor", "--state", str(folder.root), environ={"PROMETHEUS_PORT": str(port)})


def row(said: Said, name: str) -> str:
    """What the check found, with its mark."""
    (found,) = [line for line in said.out.splitlines() if line[6:20].strip() == name]
    return f"{found[:4].strip()} {found[21:]}"


def test_a_halt_answers_5_beside_a_daemon_that_runs_and_has_the_port(tmp_path: Path) -> None:
    """K1: what a timer reads; the daemon's own port made it 4, as a surrounding that is broken."""
    folder = session(tmp_path, HALTED)
    with socket.socket() as exporter:
        exporter.bind(("127.0.0.1", 0))
        exporter.listen()
        port = exporter.getsockname()[1]
        store = Store(folder.database)
        try:
            said = asked(folder, port)
        finally:
            store.close()
        assert said.code == 5
        assert row(said, "metrics port") == f"ok {port} is taken, as a daemon that runs has it"
        assert row(said, "daemon").startswith("ok running, no bar yet, written ")
        assert row(said, "session") == "FAIL nothing is opened on the whole account: another daemon"
        gone = asked(folder, port)
    assert gone.code == 5
    assert row(gone, "metrics port").startswith("FAIL")
    assert row(gone, "daemon").startswith("ok not running, ")


def test_what_waits_for_no_person_is_not_told_to_be_accepted(tmp_path: Path) -> None:
    """F6: brain accept answers that it does not settle this."""
    said = asked(session(tmp_path, FOREIGN))
    assert said.code == 5
    assert "help: session: cancel that order at the exchange, and it goes on by itself\n" in f"{said.out}\n"
    assert "brain accept" not in said.out
    unlocked = asked(session(tmp_path / "both", FOREIGN, HALTED)).out
    assert f"it goes on by itself; look at the exchange, then brain accept --state {tmp_path / 'both'}" in unlocked


def test_what_is_held_outside_the_plans_is_named_and_needs_nobody(tmp_path: Path) -> None:
    """A person took it over; flat is not what the account is."""
    said = asked(session(tmp_path, held="0.02", orders_go_to="local"))
    assert said.code == 0
    assert row(said, "outside plans") == f"ok 0.02 {ETH} at the exchange; nothing is opened there until it is sold"
    assert "outside plans" not in asked(session(tmp_path / "flat")).out


def test_a_dead_daemon_of_live_that_left_a_position_needs_a_person(tmp_path: Path) -> None:
    folder = session(tmp_path, held="-0.02", orders_go_to="venue")
    said = asked(folder)
    assert said.code == 5
    assert row(said, "daemon").endswith(f"ago; nobody watches -0.02 {ETH} but stops at the exchange")
    assert f"help: daemon: brain live --state {tmp_path}" in said.out
    store = Store(folder.database)
    try:
        assert asked(folder).code == 0
    finally:
        store.close()


def test_a_dead_daemon_of_live_whose_last_order_may_be_filled_yet_needs_a_person(tmp_path: Path) -> None:
    """The account is flat by the record, and nobody would hear of a fill."""
    folder = session(tmp_path, orders_go_to="venue")
    outbox = Outbox(folder.orders)
    sent = Row("an-id", "an-id", "plan", ETH, OrderSide.BUY, OrderType.LIMIT, OrderPurpose.ENTRY, Decimal(1), None, False, 1)
    outbox.add(sent, 1, must=True)
    outbox.close()
    said = asked(folder)
    assert said.code == 5
    assert row(said, "daemon").endswith(f"ago; nobody watches buy 1 {ETH} (in flight) but stops at the exchange")


def test_a_daemon_at_an_exchange_that_writes_nothing_any_more_needs_a_person(tmp_path: Path) -> None:
    folder = session(tmp_path)
    store = Store(folder.database)
    try:
        long_ago = time.time() - 3 * HOUR_S
        for file in folder.root.glob("brain.sqlite*"):
            os.utime(file, (long_ago, long_ago))
        said = asked(folder)
    finally:
        store.close()
    assert said.code == 5
    assert row(said, "daemon") == "FAIL running, no bar yet, written 3 h ago"
    os.utime(folder.database, (long_ago, long_ago))
    assert row(asked(folder), "daemon") == "ok not running, no bar yet, written 3 h ago"


@pytest.mark.parametrize(("hours", "hangs"), [(2.9, False), (3.1, True)])
def test_bars_of_an_hour_are_written_once_an_hour(hours: float, hangs: bool, tmp_path: Path) -> None:
    """K1: by what five minutes would allow it was said to hang between any two bars."""
    folder = SessionDir(record(tmp_path, "hourly"))
    Outbox(folder.orders).close()
    store = Store(folder.database)
    try:
        long_ago = time.time() - hours * HOUR_S
        for file in folder.root.glob("brain.sqlite*"):
            os.utime(file, (long_ago, long_ago))
        said = asked(folder)
    finally:
        store.close()
    assert row(said, "daemon").startswith("FAIL running" if hangs else "ok running")
    assert said.code == (5 if hangs else 0)


def test_records_that_cannot_be_read_are_one_row_of_the_list(tmp_path: Path) -> None:
    """STATE-004 ended the command; and its way out was another folder, which knows nothing of what is open at an exchange."""
    folder = session(tmp_path)
    folder.database.write_bytes(b"this is no database" * 200)
    said = asked(folder)
    assert said.code == 5
    assert row(said, "session").startswith("FAIL ")
    (way_out,) = [line for line in said.out.splitlines() if "help: session:" in line]
    assert "look at the exchange first, then restore the file from a copy, or close what is open there" in way_out
    assert "brain paper" not in way_out


def test_a_folder_that_cannot_be_written_is_one_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for an account that may only read there; root may everywhere, so that it is only said here."""
    folder = session(tmp_path)

    def refused(_: Path) -> None:
        raise StateError("unable to open database file", code="STATE-002")

    monkeypatch.setattr(session_dir.os, "access", lambda _path, mode: not mode & os.W_OK)
    monkeypatch.setattr(doctor, "open_reader", refused)
    said = asked(folder)
    assert said.code == 4
    assert [line for line in said.out.splitlines() if line.startswith("FAIL")] == [
        line for line in said.out.splitlines() if "not writable" in line
    ]
    assert "help: state folder: let this account write there" in said.out


def test_what_may_not_be_looked_into_is_not_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", forbidden)
    assert not session_dir.writable(Path("anywhere"))
