"""A bar's way through the agents, on hours written by hand (K3): regime, selection, risk, execution, and what comes after.

The numbers expected here are worked out on paper from the ladder (``tests/support/ladder.py``), not by the code.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import pytest

from core.codes import RefusalCode
from core.types import AdjustKind, Event, ExitReason, OrderPurpose, PlanKind, Refusal, Regime, Side, TradingState
from tests.agents.making import ATR, BTC, CLOSE, ETH, SIGNAL, breaking_out, close_of, play
from tests.support.ladder import Hours, ladder
from tests.support.run import Ran
from tools.context import BrainContext
from tools.state import BrainState

WHOLE_WAY = ["brain", "market_regime", "strategy_selection", "risk_manager", "execution", "monitor"]


def way(state: BrainState) -> list[str]:
    edges = state["record"].edges
    return [edges[0][0], *(edge[1] for edge in edges)]


def refusals(ran: Ran) -> list[tuple[int, RefusalCode, str]]:
    found: list[tuple[int, RefusalCode, str]] = []
    for state in ran.states:
        parts = [state.get(key) for key in ("selection", "risk", "execution")]
        every: list[Refusal] = [item for part in parts if part is not None for item in part.refusals]  # type: ignore[attr-defined]
        found += [(state["event"].seq, item.code, item.symbol) for item in every]
    return found


# --- from regime to a filled, protected position (K3) ----------------------------------------------


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A breakout on BTC, then three quiet hours; only looked at."""
    return play(tmp_path_factory.mktemp("one"), BTC=breaking_out().climb(3))


def test_the_regime_of_the_ladder_is_a_trend_upwards_on_both_carriers(one: Ran) -> None:
    assert {regimes for state in one.states for regimes in (state["regimes"].h1, state["regimes"].h4)} == {(Regime.TREND_UP,)}


def test_the_breakout_is_found_at_the_close_that_made_it_and_scored(one: Ran) -> None:
    """G7, X23: trend with the trade 2.5, higher timeframe 2, cost of 0.05R 1.5, no news unknown 0, volume and place 1.5, 1."""
    found = [(state["event"].seq, scored) for state in one.states for scored in state["selection"].scored]
    ((hour, scored),) = found
    assert hour == SIGNAL
    signal = scored.signal
    assert (signal.strategy, signal.symbol, signal.side) == ("breakout_4h", BTC, Side.LONG)
    assert (signal.ts, signal.validity_ts) == (close_of(SIGNAL), close_of(SIGNAL + 1))
    assert signal.entry == pytest.approx(CLOSE, abs=1e-9)
    assert signal.atr == pytest.approx(ATR, rel=1e-12)
    assert [part.points for part in scored.parts] == [2.5, 2.0, 1.5, 0.0, 1.5, 1.0]
    assert (scored.score, scored.threshold) == (8.5, 7.0)
    assert one.states[SIGNAL]["selection"].candidates == (scored,)


def largest_quantity(cap: Decimal, stop: Decimal, budget: float) -> Decimal:
    """By trial: the most lots of 0.001 whose worst loss, fees 5 bps and half of 1 bps spread a leg, is within the budget."""
    entry, leave, lots = float(cap), float(stop), 0
    while True:
        quantity = (lots + 1) * 0.001
        rate = 5e-4 + 0.5e-4 + 5e-4 * quantity * entry / 500_000.0
        if quantity * (entry - leave) + quantity * (entry + leave) * rate > budget:
            return Decimal(lots) * Decimal("0.001")
        lots += 1


def test_the_plan_risks_0_8_percent_at_the_cap_with_costs_inside(one: Ran) -> None:
    """E1, X10, X14: 2.40 USD of 300; the cap 0.05 % above the close, the stop two ATRs below it, both on a tick of 0.1."""
    ((plan,), risk) = one.states[SIGNAL]["risk"].plans, one.states[SIGNAL]["risk"]
    tick = Decimal("0.1")
    cap = (Decimal(str(CLOSE * 1.0005)) / tick).to_integral_value(ROUND_FLOOR) * tick
    stop = (Decimal(str(CLOSE - 2 * ATR)) / tick).to_integral_value(ROUND_CEILING) * tick
    assert (plan.entry, plan.stop) == (cap, stop) == (Decimal("189.9"), Decimal("186.0"))
    assert plan.qty == largest_quantity(cap, stop, 2.40)
    assert plan.risk_usd <= 2.40
    assert plan.equity == 300.0
    assert plan.governance == one.context.config.governance_digest
    assert (risk.adjustments, risk.refusals) == ((), ())


def test_the_order_is_placed_at_once_and_filled_in_the_next_hour_under_its_cap(one: Ran) -> None:
    """X10: an IOC limit decided at the close is filled at the next open, here CLOSE, half a spread and a bit of depth worse."""
    ((plan,), orders) = one.states[SIGNAL]["risk"].plans, one.states[SIGNAL]["execution"].orders
    assert len(orders) == 1
    position = one.context.ledger.positions[BTC]
    assert position.qty == plan.qty
    assert CLOSE < position.avg_entry <= float(plan.entry)
    assert position.opened_ts == close_of(SIGNAL)  # the open of the next hour


def test_the_filled_position_is_protected_for_its_whole_size(one: Ran) -> None:
    """E4, F6: a stop for everything, takes of a quarter each at 1R and 2R of the real entry."""
    position = one.context.ledger.positions[BTC]
    resting = one.context.broker.open_orders(BTC)  # type: ignore[attr-defined]
    (stop,) = [order for order in resting if order.purpose is OrderPurpose.STOP]
    takes = [order for order in resting if order.purpose is OrderPurpose.TAKE]
    assert (stop.qty, stop.price, stop.reduce_only) == (position.qty, Decimal("186.0"), True)
    assert [order.qty for order in takes] == [Decimal("0.146"), Decimal("0.146")]
    assert one.context.orders.unprotected() == ()


def test_the_record_tells_the_whole_way_with_its_capabilities(one: Ran) -> None:
    """G2, G8."""
    record = one.states[SIGNAL]["record"]
    assert way(one.states[SIGNAL]) == WHOLE_WAY
    assert [edge[2] for edge in record.edges] == [
        "set_edge:bar",
        "classify_regime",
        "score_strategy",
        "plan_position",
        "place_order",
    ]
    assert [name for name, _ in record.node_hashes] == WHOLE_WAY[:-1]
    assert (record.seq, record.ts, record.state) == (SIGNAL, close_of(SIGNAL), TradingState.ACTIVE)
    assert len(record.signals) == len(record.plans) == len(record.orders) == 1
    assert record.governance == one.context.config.governance_digest


def test_a_quiet_bar_leaves_early_and_an_open_position_keeps_the_way_long_enough(one: Ran) -> None:
    assert way(one.states[0]) == ["brain", "market_regime", "strategy_selection", "monitor"]
    after = [way(state) for state in one.states[SIGNAL + 1 :]]
    assert after == [["brain", "market_regime", "strategy_selection", "risk_manager", "monitor"]] * 3


def test_a_strategy_that_cannot_speak_says_so_once(one: Ran) -> None:
    """funding_rev wants a basis, the hand-made source has no spot; the log has one line of it, not fifteen."""
    assert refusals(one)[0] == (0, RefusalCode.MISSING_INPUT, BTC)
    assert one.result.refusals == {"MISSING_INPUT": 1}


# --- one symbol, one owner (X17) -------------------------------------------------------------------


def test_a_symbol_with_a_position_takes_no_second_one(tmp_path: Path) -> None:
    """X17: the next 4h bar breaks the channel again."""
    ran = play(tmp_path, BTC=breaking_out().breakout())
    assert (SIGNAL + 4, RefusalCode.SYMBOL_OWNED, BTC) in refusals(ran)
    assert ran.result.plans == 1


# --- winners (E4, X3, X5, X16) ---------------------------------------------------------------------


def won() -> Hours:
    """After the entry: nearly 0.74R, through the take at 1R, 1.5R, and on."""
    return breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).candle(0.5).climb(2)


def test_a_winner_is_moved_to_break_even_and_trailed_and_its_stop_only_tightens(tmp_path: Path) -> None:
    """E4, X3, X5: 192.74 is 0.74 of the 3.9 that are 1R; the take at 193.8 is filled an hour later, and the trail begins."""
    ran = play(tmp_path, BTC=won())
    moves = [(state["event"].seq, item) for state in ran.states if "risk" in state for item in state["risk"].adjustments]
    assert {item.kind for _, item in moves} == {AdjustKind.MOVE_STOP}
    reasons = [(hour, item.reason) for hour, item in moves]
    assert reasons[:2] == [(SIGNAL + 2, ExitReason.BREAK_EVEN), (SIGNAL + 3, ExitReason.TRAIL)]
    stops = [item.new_stop for _, item in moves if item.new_stop is not None]
    assert stops == sorted(set(stops))
    assert stops[0] > Decimal("189.9")
    # 4h bars do not close in between, so ATR is that of the breakout: 194.74 - 2 ATR, up to the tick
    assert stops[1] == Decimal("190.8")
    assert ran.context.ledger.positions[BTC].stop == stops[-1]


def test_a_winner_is_added_to_once_through_the_graph_as_a_plan(tmp_path: Path) -> None:
    """E5, X16: later than the first take, at most 0.3R, joint stop, one add ever."""
    ran = play(tmp_path, ETH=won())
    plans = [(state["event"].seq, plan) for state in ran.states if "risk" in state for plan in state["risk"].plans]
    assert [(hour, plan.kind) for hour, plan in plans] == [(SIGNAL, PlanKind.ENTRY), (SIGNAL + 4, PlanKind.ADD)]
    entry, add = plans[0][1], plans[1][1]
    assert add.risk_usd <= 0.3 * entry.risk_usd
    assert way(ran.states[SIGNAL + 4]) == WHOLE_WAY
    position = ran.context.ledger.positions[ETH]
    assert (position.adds, position.takes_filled) == (1, 1)
    assert position.stop >= add.stop > entry.entry


def test_nothing_is_added_while_a_health_gate_pauses_entries(tmp_path: Path) -> None:
    """E7: an add opens risk as an entry does; a journal that cannot be written, say, stops both, and it is told once."""

    def lose_the_journal(event: Event, state: BrainState, context: BrainContext) -> None:
        if event.seq == SIGNAL + 3:
            context.market.health.on_journal(written=False)

    ran = play(tmp_path, lose_the_journal, ETH=won())
    assert ran.result.plans == 1
    told = [(state["event"].seq, refusal.code) for state in ran.states if "risk" in state for refusal in state["risk"].refusals]
    assert told == [(SIGNAL + 4, RefusalCode.JOURNAL_LOST)]
    assert ran.context.ledger.positions[ETH].takes_filled == 1


def test_an_add_that_is_refused_bar_after_bar_is_told_once(tmp_path: Path) -> None:
    """X14: 0.3R buys less than the 100 USD that an order of BTC needs; it is wanted on three bars and said on one."""
    ran = play(tmp_path, BTC=won())
    told = [item for item in refusals(ran) if item[1] is RefusalCode.BELOW_MIN_NOTIONAL]
    assert told == [(SIGNAL + 4, RefusalCode.BELOW_MIN_NOTIONAL, BTC)]


# --- losers: the day lock (E6, X10, X12) ----------------------------------------------------------


def gapped(tmp_path: Path, gap: float) -> Ran:
    """BTC and ETH are bought, then BTC opens ``gap`` lower, below its stop; ETH rises by more than 0.6R and breaks out again."""
    btc = breaking_out().climb(1).candle(0.0, gap=gap).climb(5)
    eth = breaking_out().climb(1).candle(0.5).candle(2.6).candle(0.06, volume=10.0).climb(3)
    return play(tmp_path, BTC=btc, ETH=eth)


def test_the_second_position_is_shrunk_to_the_room_that_is_left(tmp_path: Path) -> None:
    """X9: 1.5 % for both; 0.8 % are taken."""
    ran = play(tmp_path, BTC=breaking_out(), ETH=breaking_out())
    first, second = ran.states[SIGNAL]["risk"].plans
    assert (first.symbol, second.symbol) == (BTC, ETH)
    assert second.risk_usd <= 4.50 - first.risk_usd
    assert second.risk_usd > 4.50 - first.risk_usd - 0.02  # a lot of 0.001 risks 0.0043 USD


def test_under_the_day_lock_nothing_is_opened_and_exits_go_on(tmp_path: Path) -> None:
    """E6, X12: BTC loses about 0.584 x 13 = 7.6 USD, 2.5 % of 300."""
    ran = gapped(tmp_path, gap=-13.0)
    locked = [state["event"].seq for state in ran.states if state["status"].governor.day_lock]
    assert locked[0] == SIGNAL + 2
    assert ran.result.daily_locks == 1
    assert ran.result.kill_switches == 0
    moved = [
        (state["event"].seq, item.symbol, item.reason)
        for state in ran.states
        if "risk" in state
        for item in state["risk"].adjustments
    ]
    assert (SIGNAL + 3, ETH, ExitReason.BREAK_EVEN) in moved
    assert {state["record"].state for state in ran.states[SIGNAL + 2 :]} == {TradingState.REDUCING}
    refused = [item for item in refusals(ran) if item[0] > SIGNAL + 1]
    assert refused == [(SIGNAL + 4, RefusalCode.DAY_LOCK, ETH)]
    assert ran.context.ledger.positions[ETH].stop > Decimal("189.9")


# --- losers: the kill-switch (E6, X12) -------------------------------------------------------------


def test_the_kill_switch_flattens_what_is_open_and_nothing_is_opened_after(tmp_path: Path) -> None:
    """E6, X12: BTC loses about 0.584 x 25 = 14.6 USD, 4.9 %; ETH is closed at the next open, though it is winning."""
    ran = gapped(tmp_path, gap=-25.0)
    hour = SIGNAL + 2
    killed = [state["event"].seq for state in ran.states if state["status"].governor.kill_switch]
    assert killed[0] == hour
    (close,) = ran.states[hour]["risk"].adjustments
    assert (close.kind, close.symbol, close.reason) == (AdjustKind.CLOSE, ETH, ExitReason.KILL_SWITCH)
    assert len(ran.states[hour]["execution"].orders) == 1
    assert ran.context.ledger.positions == {}
    assert ran.states[hour + 1]["selection"].manage == ()
    assert {state["record"].state for state in ran.states[hour:]} == {TradingState.HALTED}
    assert [item for item in refusals(ran) if item[0] > hour] == [(SIGNAL + 4, RefusalCode.KILL_SWITCH, ETH)]
    assert (ran.result.trades, ran.result.kill_switches) == (2, 1)


def test_a_market_without_a_breakout_is_left_alone(tmp_path: Path) -> None:
    ran = play(tmp_path, BTC=ladder().climb(12))
    assert (ran.result.plans, ran.result.orders, ran.result.equity_end) == (0, 0, 300.0)
