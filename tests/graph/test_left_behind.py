"""A new folder while the key's last one still has something: what counts, and what does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import StateError
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox import Outbox
from core.monitor.store import Store
from core.types import TradingState
from graph.commands import left_behind
from graph.commands.left_behind import refuse_left_behind
from graph.session_dir import SessionDir
from tests.support.paper_month import record

BTC = "BTC/USDT:USDT"


def folder(root: Path, *halts: Halt, held: str = "0") -> Path:
    made = SessionDir(root)
    Store(made.database).close()
    outbox = Outbox(made.orders)
    for halt in halts:
        outbox.halt(halt)
    outbox.settle(BTC, Decimal(held), 1, "as if bought")
    outbox.close()
    return root


def test_a_flat_folder_one_that_is_gone_and_one_that_lacked_evidence_stand_in_nobodys_way(tmp_path: Path) -> None:
    new = tmp_path / "new"
    refuse_left_behind(None, new)
    refuse_left_behind(tmp_path / "gone", new)
    refuse_left_behind(folder(tmp_path / "flat"), new)
    refuse_left_behind(folder(tmp_path / "unproven", Halt("", HaltKind.UNPROVEN, "", "too old")), new)


def test_a_position_and_a_halt_do(tmp_path: Path) -> None:
    last = folder(tmp_path / "last", Halt("", HaltKind.OTHER_DAEMON, "", "another"), held="-0.2")
    with pytest.raises(StateError, match=r"still has -0\.2 BTC/USDT:USDT, a halt of the whole account$"):
        refuse_left_behind(last, tmp_path / "new")


def test_a_kill_switch_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_behind, "saved_state", lambda _: TradingState.HALTED)
    with pytest.raises(StateError, match=r"still has its kill-switch$"):
        refuse_left_behind(folder(tmp_path / "last"), tmp_path / "new")


def test_a_folder_that_has_a_session_is_gone_on_with(tmp_path: Path) -> None:
    """What it holds must be watched, whatever another folder has."""
    record(tmp_path, "own")
    refuse_left_behind(folder(tmp_path / "last", held="0.2"), tmp_path / "own")
