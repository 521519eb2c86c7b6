"""A new folder, or an older one, while the key's last one still has something: what counts, and what does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import StateError
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox import Outbox
from core.exec.live.states import Row, State
from core.monitor.store import Store
from core.risk.governor import Governor, day_start_ms
from core.types import OrderPurpose, OrderSide, OrderType, TradingState
from graph.commands import left_behind
from graph.commands.common import open_reader
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


def sent(root: Path, ts: int, *then: State, purpose: OrderPurpose = OrderPurpose.ENTRY) -> Path:
    """A flat folder whose session sent an order at ``ts``, of which it heard ``then``."""
    outbox = Outbox(SessionDir(folder(root)).orders)
    row = Row("an-id", "an-id", "plan", BTC, OrderSide.BUY, OrderType.LIMIT, purpose, Decimal(1), None, False, ts)
    row.sent_ms = ts
    outbox.add(row, ts, must=True)
    for state in then:
        outbox.move(row, state, ts)
    outbox.close()
    return root


def test_a_folder_whose_session_holds_something_is_gone_on_with_whatever_another_has(tmp_path: Path) -> None:
    """It must be watched; orders of the other that it does not know halt the account at its start."""
    own = folder(record(tmp_path, "own"), held="0.1")
    begin_anew(folder(tmp_path / "last", held="0.2"), own)
    begin_anew(sent(tmp_path / "later", MIDNIGHT, State.DONE), own)


@pytest.mark.parametrize("then", [(), (State.UNKNOWN,), (State.ACK,), (State.UNKNOWN, State.FOUND)])
def test_an_order_in_flight_is_left_too(then: tuple[State, ...], tmp_path: Path) -> None:
    """F6: killed with an entry unanswered a folder looks flat until its next start, and nobody would know of the fill."""
    last = sent(tmp_path / "last", 1, *then)
    with pytest.raises(StateError, match=r"still has an order in flight \(buy 1 BTC/USDT:USDT\)$"):
        begin_anew(last, tmp_path / "new")
    own = record(tmp_path, "own")
    begin_anew(folder(tmp_path / "other", held="0.2"), sent(own, 1, *then))


@pytest.mark.parametrize(
    ("purpose", "then"),
    [
        (OrderPurpose.ENTRY, (State.REJECTED,)),
        (OrderPurpose.ADD, (State.UNKNOWN, State.ABSENT)),
        (OrderPurpose.STOP, (State.ACK,)),  # reduce-only: it opens nothing
    ],
)
def test_an_order_that_opens_nothing_any_more_is_not(purpose: OrderPurpose, then: tuple[State, ...], tmp_path: Path) -> None:
    begin_anew(sent(tmp_path / "last", 1, *then, purpose=purpose), tmp_path / "new")


def test_the_same_folder_is_gone_on_with_whatever_it_has_and_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = folder(record(tmp_path, "own"), Halt("", HaltKind.OTHER_DAEMON, "", "another"), held="0.2")
    monkeypatch.chdir(tmp_path)
    begin_anew(own, Path("own"))
    begin_anew(own, own)


def test_an_older_folder_that_is_flat_knows_of_nothing_that_the_last_one_has_left(tmp_path: Path) -> None:
    """Neither a position nor a lock of another folder would count in it (E2, E3)."""
    own = record(tmp_path, "own")
    with pytest.raises(StateError, match=r"still has 0\.2 BTC/USDT:USDT$"):
        begin_anew(folder(tmp_path / "last", held="0.2"), own)
    with pytest.raises(StateError, match=r"still has the day's lock, "):
        refuse_left_behind(remembering(tmp_path / "locked", (1, 300.0), (2, 294.0)), own, LIMITS, MIDNIGHT + 23 * HOUR_MS)


def test_an_older_folder_is_refused_where_another_has_sent_orders_since_it_decided_last(tmp_path: Path) -> None:
    own = record(tmp_path, "own")
    with open_reader(own) as reader:
        ((decided,),) = reader.query("SELECT MAX(ts) FROM decisions")
    begin_anew(sent(tmp_path / "before", decided - 1, State.DONE), own)
    with pytest.raises(StateError) as refused:
        begin_anew(sent(tmp_path / "after", decided + 1, State.DONE), own)
    last = tmp_path / "after"
    left = f"since the session in {own} was left, which knows nothing of these orders"
    assert refused.value.what == f"the key has traded with {last} {left}"
    assert (refused.value.code, refused.value.help) == (
        "STATE-015",
        f"go on there: brain live --state {last}; or begin in a new folder",
    )
    begin_anew(last, tmp_path / "new")


def test_a_session_whose_records_are_lost_may_know_nothing_of_what_was_sent_since(tmp_path: Path) -> None:
    own = record(tmp_path, "own")
    SessionDir.at(own).database.unlink()
    begin_anew(folder(tmp_path / "idle"), own)
    with pytest.raises(StateError, match="knows nothing of these orders"):
        begin_anew(sent(tmp_path / "last", 1, State.DONE), own)
