"""Small files that a person or a run relies on later: each is on the disk, with its name, before its writer goes on."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.folder import default_folder
from configs.live_lock import LIVE_LOCK_FILE, Approval, ApprovedSession, write_approval
from configs.lock import GOVERNANCE_FILE, LOCK_FILE, write_lock
from graph.account_lock import remember
from graph.exchange_folder import ExchangeFolder, ExchangeMarket
from graph.session_dir import Accepted, AcceptRequest, SessionDir, UnlockRequest

DIGEST = "0" * 64


def sign(folder: Path) -> Path:
    shutil.copy(default_folder() / GOVERNANCE_FILE, folder)
    write_lock(folder, "who", "why", dt.date(2026, 1, 1))
    return folder / LOCK_FILE


def approve(folder: Path) -> Path:
    session = ApprovedSession(name="paper", seq=1, seal=DIGEST)
    digests = dict.fromkeys(("governance", "strategies", "code", "evidence"), DIGEST)
    write_approval(
        folder,
        Approval.model_validate({
            "form": "brain.live-lock/1", "who": "who", "at": "now", "reason": "why", "sessions": (session,), **digests
        }),
    )  # fmt: skip
    return folder / LIVE_LOCK_FILE


def unlock(folder: Path) -> Path:
    SessionDir(folder).request_unlock(UnlockRequest("why", "who"))
    return folder / "unlock.json"


def accept(folder: Path) -> Path:
    SessionDir(folder).request_accept(AcceptRequest("why", "who", (Accepted("ETH/USDT:USDT", "kind", "1", "0"),)))
    return folder / "accept.json"


def trade_with(folder: Path) -> Path:
    remember(folder / "account.lock", folder)
    return folder / "account.folder"


def play(folder: Path) -> Path:
    ExchangeFolder(folder).keep_market(ExchangeMarket("synthetic", ("BTC/USDT:USDT",), 7, 0, "300.0", ""))
    return folder / "market.json"


@pytest.mark.parametrize("leave", [sign, approve, unlock, accept, trade_with, play])
def test_content_and_name_are_on_the_disk(leave: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E9, H2, J5: a loss of power leaves the former file or the new one, never an empty one and never none."""
    synced, real = list[tuple[int, int]](), os.fsync

    def fsync(handle: int) -> None:
        found = os.fstat(handle)
        synced.append((found.st_ino, found.st_size if stat.S_ISREG(found.st_mode) else -1))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    path = leave(tmp_path)
    held = path.stat()
    assert synced == [(held.st_ino, held.st_size), (tmp_path.stat().st_ino, -1)]
    assert held.st_size > 0
