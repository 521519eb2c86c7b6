"""A new folder while the key's last one still has something: what counts, and what does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import StateError
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox import Outbox
from core.monitor.store import Store
from core.risk.governor import Governor, day_start_ms
from core.types import TradingState
from graph.commands import left_behind
from graph.commands.left_behind import refuse_left_behind
from graph.session_dir import SessionDir
from tests.support.paper_month import record
from tests.support.run import configuration

BTC = "BTC/USDT:USDT"
LIMITS = configuration().governance
HOUR_MS = 3_600_000
MIDNIGHT = day_start_ms(1_767_600_000_000, LIMITS.zone)


def begin_anew(last: Path | None, state: Path) -> None:
    refuse_left_behind(last, state, LIMITS, MIDNIGHT)


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
    begin_anew(None, new)
    begin_anew(tmp_path / "gone", new)
    begin_anew(folder(tmp_path / "flat"), new)
    begin_anew(folder(tmp_path / "unproven", Halt("", HaltKind.UNPROVEN, "", "too old")), new)


def test_a_position_and_a_halt_do(tmp_path: Path) -> None:
    last = folder(tmp_path / "last", Halt("", HaltKind.OTHER_DAEMON, "", "another"), held="-0.2")
    with pytest.raises(StateError, match=r"still has -0\.2 BTC/USDT:USDT, a halt of the whole account$"):
        begin_anew(last, tmp_path / "new")


def test_a_kill_switch_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_behind, "saved_state", lambda _: TradingState.HALTED)
    with pytest.raises(StateError, match=r"still has its kill-switch$"):
        begin_anew(folder(tmp_path / "last"), tmp_path / "new")


def remembering(root: Path, *equity: tuple[int, float]) -> Path:
    """A folder whose session has seen this equity (USD) at these hours of a day."""
    governor = Governor(LIMITS)
    for hour, usd in equity:
        governor.on_bar(MIDNIGHT + hour * HOUR_MS, usd)
    store = Store(SessionDir(folder(root)).database)
    store.save_snapshot(0, {"governor": governor.snapshot()})
    store.commit()
    store.close()
    return root


@pytest.mark.parametrize(
    ("equity", "hour", "left"),
    [
        (((1, 300.0), (2, 294.0)), 23, "the day's lock, -2.00 % of 1.80 % for today, -2.00 % of 3.50 % for 72 hours"),
        (((1, 300.0), (2, 294.0)), 24, "-2.00 % of 3.50 % for 72 hours"),  # midnight has ended the lock
        (((1, 300.0), (2, 297.2)), 3, "-0.93 % of 1.80 % for today"),
        (((1, 300.0), (2, 297.4)), 3, ""),
        (((1, 300.0), (30, 296.0), (60, 294.0)), 72, "-2.00 % of 3.50 % for 72 hours"),
        (((1, 300.0), (30, 296.0), (60, 294.0)), 74, ""),  # the peak is older by then
        ((), 1, ""),
    ],
)
def test_a_day_lock_and_what_is_used_up_of_the_limits_do(
    equity: tuple[tuple[int, float], ...], hour: int, left: str, tmp_path: Path
) -> None:
    """E2, E3: a new folder begins with all that may be lost; whoever loses it twice was protected by neither limit."""
    last = remembering(tmp_path / "last", *equity)

    def begin() -> None:
        refuse_left_behind(last, tmp_path / "new", LIMITS, MIDNIGHT + hour * HOUR_MS)

    if not left:
        begin()
        return
    with pytest.raises(StateError) as refused:
        begin()
    assert refused.value.what == f"the key traded last with {last}, which still has {left}"


def test_where_its_limits_cannot_be_read_nobody_can_tell(tmp_path: Path) -> None:
    store = Store(SessionDir(folder(tmp_path / "last")).database)
    store.save_snapshot(0, {"governor": {"version": 9}})
    store.commit()
    store.close()
    with pytest.raises(StateError, match=r"still has limits of which nobody can tell: governor snapshot had"):
        begin_anew(tmp_path / "last", tmp_path / "new")


def test_a_folder_that_has_a_session_is_gone_on_with(tmp_path: Path) -> None:
    """What it holds must be watched, whatever another folder has."""
    record(tmp_path, "own")
    begin_anew(folder(tmp_path / "last", held="0.2"), tmp_path / "own")
