"""What sessions left behind: what a folder holds is watched, and another one is refused while the key's last holds something.

A new folder knows neither the positions nor the locks of the one that the key traded with before, nor does an older one.
"""

from __future__ import annotations

from pathlib import Path

from configs.validators import Governance
from core.errors import StateError
from core.exec.live.halts import HaltKind
from core.exec.live.outbox_reader import Standing, standing
from core.journal.segments import segments
from core.monitor.reader import StoreReader
from core.risk.governor import Governor
from core.types import TradingState
from graph.commands.common import open_reader, saved_state
from graph.session_dir import SessionDir

_BEARABLE = 0.5
"""So much of a limit at most may be used up twice by whoever takes another folder."""


def holds_session(state: Path) -> bool:
    """Whether a session has begun in ``state``; a start that was refused leaves a folder without one.

    Raises:
        StateError: it cannot be looked at.
    """
    return SessionDir.holds_journal(state) and bool(segments(SessionDir.at(state).journal))


def refuse_left_behind(last: Path | None, state: Path, governance: Governance, now_ms: int) -> None:
    """Refuse to trade in ``state`` while the key's ``last`` folder is another one that has something left, or knows more.

    Left are positions, orders in flight, halts, a lock; and half or more of what may be lost in a day or in 72 hours, since
    all of it begins anew. A session in ``state`` does not know of orders that another one has sent since. One that holds
    something itself, or may yet, is gone on with all the same: that must be watched, and the broker halts the account where it
    meets orders of the other.

    Raises:
        StateError: it has, or does, or nobody can tell.
    """
    if last is None or not SessionDir.holds_one(last) or last.resolve() == state.resolve():
        return
    goes_on = holds_session(state)
    if goes_on and _left(standing(SessionDir.at(state).orders)):
        return
    found = standing(SessionDir.at(last).orders)
    left = _left(found)
    with open_reader(last) as reader:
        if saved_state(reader) is TradingState.HALTED:
            left.append("its kill-switch")
        left += _remembered(reader, governance, now_ms)
    if left:
        raise StateError(
            f"the key traded last with {last}, which still has {', '.join(left)}",
            help=f"go on there: brain live --state {last}; another folder only once nothing of this is left there",
            code="STATE-015",
        )
    if goes_on and found.sent_ms > _last_decided(state):
        raise StateError(
            f"the key has traded with {last} since the session in {state} was left, which knows nothing of these orders",
            help=f"go on there: brain live --state {last}; or begin in a new folder",
            code="STATE-015",
        )


def _left(found: Standing) -> list[str]:
    """What an outbox says is open, may come to be open yet, or is halted."""
    left = [f"{qty} {symbol}" for symbol, qty in sorted(found.held.items()) if qty]
    left += [f"an order in flight ({order})" for order in found.in_flight]
    return left + [f"a halt of {halt.where}" for halt in found.halts if halt.kind is not HaltKind.UNPROVEN]


def _last_decided(state: Path) -> int:
    """Time (ms) of a session's last decision; 0 before the first, and where its records are lost."""
    if not SessionDir.holds_one(state):
        return 0
    with open_reader(state) as reader:
        ((ts,),) = reader.query("SELECT COALESCE(MAX(ts), 0) FROM decisions")
    return int(ts)


def _remembered(reader: StoreReader, governance: Governance, now_ms: int) -> list[str]:
    """What the session would say of its limits now, had its equity stayed as it was."""
    try:
        saved = reader.load_snapshot()
        if saved is None:
            return []
        governor = Governor(governance)
        governor.restore(saved[1]["governor"])
    except StateError as error:
        return [f"limits of which nobody can tell: {error.what}"]
    equity = governor.view.equity
    if not equity > 0.0:
        return []
    view = governor.on_bar(now_ms, equity)
    used = (
        (-view.day_pnl_pct, governance.max_daily_loss_pct, "today"),
        (view.dd_72h_pct, governance.kill_switch_drawdown_72h, "72 hours"),
    )
    left = ["the day's lock"] if view.day_lock else []
    return left + [f"-{lost:.2f} % of {most:.2f} % for {when}" for lost, most, when in used if lost >= _BEARABLE * most]
