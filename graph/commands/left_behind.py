"""What sessions left behind: a folder that is gone on with is watched, and a new one is refused while another holds something.

A new folder knows neither the positions nor the locks of the one that the key traded with before.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import StateError
from core.exec.live.halts import HaltKind
from core.exec.live.outbox_reader import standing
from core.journal.segments import segments
from core.types import TradingState
from graph.commands.common import open_reader, saved_state
from graph.session_dir import SessionDir


def holds_session(state: Path) -> bool:
    """Whether a session has begun in ``state``; a start that was refused leaves a folder without one.

    Raises:
        StateError: it cannot be looked at.
    """
    return SessionDir.holds_journal(state) and bool(segments(SessionDir.at(state).journal))


def refuse_left_behind(last: Path | None, state: Path) -> None:
    """Refuse to begin in ``state`` while the key's ``last`` folder is another one that holds positions or is halted.

    Raises:
        StateError: it does, or nobody can tell.
    """
    if last is None or not SessionDir.holds_one(last) or holds_session(state):
        return
    found = standing(SessionDir.at(last).orders)
    left = [f"{qty} {symbol}" for symbol, qty in sorted(found.held.items()) if qty]
    left += [f"a halt of {halt.where}" for halt in found.halts if halt.kind is not HaltKind.UNPROVEN]
    with open_reader(last) as reader:
        if saved_state(reader) is TradingState.HALTED:
            left.append("its kill-switch")
    if left:
        raise StateError(
            f"the key traded last with {last}, which still has {', '.join(left)}",
            help=f"go on there: brain live --state {last}; another folder only once nothing is open or halted there",
            code="STATE-015",
        )
