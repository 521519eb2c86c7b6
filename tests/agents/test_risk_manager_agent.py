"""What the risk manager does with open positions, in every state of the system (E4-E7, X12)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from configs.validators import Configuration
from core.codes import RefusalCode
from core.monitor.store import Store
from core.risk.canary import Sizing
from core.types import AdjustKind, ExitReason
from graph.assembly import assemble
from graph.engines import EngineKind, build_engine
from graph.journaling import open_journal
from graph.opening import SIZING
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from tests.agents.making import BTC, ETH, SOL, Level, Ran, Says, breaking_out, decide, play, saying
from tests.graph.test_rerun import again
from tests.support.ladder import HandMade, ladder
from tests.support.run import EQUITY, Watched, short_configuration


def two_positions(folder: Path, config: Configuration | None = None) -> Ran:
    """BTC and ETH were bought an hour ago; nothing is open on SOL."""
    return play(folder, None, config, BTC=breaking_out().climb(1), ETH=breaking_out().climb(1), SOL=ladder().climb(13))


def kill(ran: Ran) -> None:
    """Equity is 4 % below the 72 h peak at the last bar's close."""
    ran.context.governor.on_bar(ran.context.market.closed.ts, 288.0)
    assert ran.context.governor.view.kill_switch


def test_the_kill_switch_closes_every_open_position_at_once(tmp_path: Path) -> None:
    """E6, X12: flatten; new signals are refused, in the same decision."""
    ran = two_positions(tmp_path)
    kill(ran)
    state, context = decide(ran, [saying("breakout_4h", SOL)], scorer=Level())
    closes = state["risk"].adjustments
    assert [(item.kind, item.symbol, item.reason) for item in closes] == [
        (AdjustKind.CLOSE, BTC, ExitReason.KILL_SWITCH),
        (AdjustKind.CLOSE, ETH, ExitReason.KILL_SWITCH),
    ]
    assert state["risk"].plans == ()
    assert len(state["execution"].orders) == 2
    assert [item.code for item in state["selection"].refusals] == [RefusalCode.KILL_SWITCH]
    assert context.orders.closing(BTC)
    assert context.orders.closing(ETH)
    assert context.orders.unprotected() == ()


def test_a_position_that_is_being_closed_is_not_closed_again(tmp_path: Path) -> None:
    ran = two_positions(tmp_path)
    kill(ran)
    decide(ran, [])
    state, _ = decide(ran, [])
    assert state["risk"].adjustments == ()


def test_with_hold_the_kill_switch_leaves_positions_to_their_stops(tmp_path: Path) -> None:
    """X12: `kill_switch_action: hold`."""
    config = short_configuration()
    holding = config.governance.model_copy(update={"kill_switch_action": "hold"})
    ran = two_positions(tmp_path, config.model_copy(update={"governance": holding}))
    kill(ran)
    state, _ = decide(ran, [saying("breakout_4h", SOL)], scorer=Level())
    assert state["risk"].adjustments == ()
    assert [item.code for item in state["selection"].refusals] == [RefusalCode.KILL_SWITCH]
    assert list(ran.context.ledger.positions) == [BTC, ETH]


def test_an_exit_comes_before_an_entry_and_both_in_one_decision(tmp_path: Path) -> None:
    """BTC is past its time stop while SOL wants to be bought; ETH is 0.1 % in profit and is left alone."""
    ran = play(tmp_path, BTC=breaking_out().climb(1), SOL=ladder().climb(13))
    expired = Says("breakout_4h", saying("breakout_4h", SOL, entry=186.9).signals)
    position = ran.context.ledger.positions[BTC]
    ledger = Aged(ran.context.ledger, position.symbol)
    state, _ = decide(ran, [expired], scorer=Level(), ledger=ledger)
    assert [(item.symbol, item.reason) for item in state["risk"].adjustments] == [(BTC, ExitReason.TIME_STOP)]
    assert [plan.symbol for plan in state["risk"].plans] == [SOL]
    first, second = state["execution"].orders
    assert ("BTCUSDT" in first, "SOLUSDT" in second) == (True, True)


class Aged:
    """The run's ledger, in which one position is past its time."""

    def __init__(self, ledger, symbol: str) -> None:
        position = ledger.positions[symbol]
        plan = replace(position.plan, time_stop_ts=position.opened_ts)
        self._ledger = ledger
        self.positions = {**ledger.positions, symbol: replace(position, plan=plan)}

    def __getattr__(self, name: str):
        return getattr(self._ledger, name)


def test_a_halted_system_does_not_add_to_a_winner(tmp_path: Path) -> None:
    """E5, E6: the add is refused by its code, once; the stop is still trailed."""
    config = short_configuration()
    holding = config.governance.model_copy(update={"kill_switch_action": "hold"})
    config = config.model_copy(update={"governance": holding})

    def look(event, state, context) -> None:
        if event.seq == 12 and not context.governor.view.kill_switch:
            # Somebody takes money out of the account the wrong way: equity is seen 4 % below its peak.
            context.governor.on_bar(event.ts, 288.0)

    hours = breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).candle(0.5)
    ran = play(tmp_path, look, config, ETH=hours)
    codes = [item.code for state in ran.states if "risk" in state for item in state["risk"].refusals]
    assert codes == [RefusalCode.KILL_SWITCH]
    position = ran.context.ledger.positions[ETH]
    assert position.adds == 0
    assert position.stop > position.plan.entry
    reasons = [item.reason for state in ran.states if "risk" in state for item in state["risk"].adjustments]
    assert {ExitReason.BREAK_EVEN, ExitReason.TRAIL} <= set(reasons)


def test_a_canary_is_never_added_to_and_says_so_once(tmp_path: Path) -> None:
    """X35: through the real path; the same market adds to a whole entry (:func:`test_live_daemon.won`)."""
    hours = breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).climb(3)
    source = HandMade({ETH: hours})
    store = Store(SessionDir(tmp_path).database)
    journal = open_journal(SessionDir(tmp_path).journal, store)
    parts = assemble(short_configuration(), source, store, EQUITY, journal, sizing=Sizing.CANARY)
    watched = Watched(build_engine(EngineKind.DIRECT))
    asyncio.run(Daemon(parts, watched, SessionDir(tmp_path), RunOptions(), identity={SIZING: Sizing.CANARY}).run())
    journal.close()
    store.close()
    decided = [state["risk"] for state in watched.states if "risk" in state]
    (plan,) = [plan for risk in decided for plan in risk.plans]
    assert dict(plan.meta)["canary"] is True
    assert plan.risk_r_pct <= 0.25
    assert [refusal.code for risk in decided for refusal in risk.refusals] == [RefusalCode.CANARY_ADD]
    assert again(tmp_path)[2] == parts.recorder.decisions_hash
