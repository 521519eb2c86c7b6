"""The last look before an order: the book, the slippage, the broker's answer (F1-F3, X31)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.execution_agent import ExecutionAgent
from core.codes import RefusalCode
from core.data.blocks import Book
from core.types import AdjustKind, Adjustment, ExitReason, OrderStatus, OrderUpdate, Plan
from graph.node import Node
from tests.agents.making import BTC, CLOSE, SIGNAL, SOL, Level, Ran, breaking_out, close_of, decide, play, saying
from tests.support.ladder import HandMade, ladder
from tests.support.run import run_over, short_configuration
from tests.support.values import replace
from tools.state import RiskDecision, Selection
from tools.topology import agent


def with_books(folder: Path, **at_signal: float) -> Ran:
    """The breakout on BTC in a market with books: 1 bps and 500,000 USD, but for the hour of the signal."""
    books = {hour: [book(hour)] for hour in range(SIGNAL)} | {SIGNAL: [book(SIGNAL, **at_signal)]}
    source = HandMade({BTC: breaking_out()}, books)
    return asyncio.run(run_over(source, folder, config=short_configuration()))


def book(hour: int, spread_bps: float = 1.0, depth_usd: float = 500_000.0) -> Book:
    half = CLOSE * spread_bps / 2e4
    return Book(BTC, close_of(hour), CLOSE - half, CLOSE + half, depth_usd, modelled=False)


def execution_of(ran: Ran) -> list[tuple[RefusalCode, tuple]]:
    return [(item.code, item.detail) for item in ran.states[SIGNAL]["execution"].refusals]


def test_in_a_good_book_the_order_goes_out(tmp_path: Path) -> None:
    ran = with_books(tmp_path)
    assert execution_of(ran) == []
    assert len(ran.states[SIGNAL]["execution"].orders) == 1
    assert len(ran.context.orders.pending()) == 1


def test_a_wide_spread_holds_the_order_back(tmp_path: Path) -> None:
    """H4: max_spread of BTC is 0.05 %, 5 bps."""
    ran = with_books(tmp_path, spread_bps=6.0)
    ((code, detail),) = execution_of(ran)
    assert code is RefusalCode.SPREAD_WIDE
    assert detail == (("spread_bps", 6.0), ("max_spread_bps", 5.0))
    assert ran.context.orders.pending() == ()
    assert len(ran.states[SIGNAL]["record"].plans) == 1
    assert ran.states[SIGNAL]["record"].orders == ()
    assert ran.result.refusals["SPREAD_WIDE"] == 1


def test_a_thin_book_holds_the_order_back(tmp_path: Path) -> None:
    """H4: min_vol is 5,000 USD."""
    ((code, detail),) = execution_of(with_books(tmp_path, depth_usd=4_000.0))
    assert code is RefusalCode.BOOK_THIN
    assert detail == (("depth_usd", 4_000.0), ("needed_usd", 5_000.0))


class Broker:
    """An order manager that writes down what reaches it and answers as it is told."""

    def __init__(self, status: OrderStatus, code: RefusalCode | None = None, message: str = "") -> None:
        self.calls: list[tuple[str, str]] = []
        self._answer = (status, code, message)

    def _update(self, call: str, symbol: str, ts: int) -> OrderUpdate:
        self.calls.append((call, symbol))
        status, code, message = self._answer
        return OrderUpdate(f"{call}-{symbol}", symbol, status, ts, code=code, message=message)

    async def submit(self, plan: Plan, parts: tuple) -> OrderUpdate:
        assert parts == ()
        return self._update("submit", plan.symbol, plan.ts)

    async def close(self, symbol: str, ts: int, reason: ExitReason) -> OrderUpdate | None:
        return self._update("close", symbol, ts)

    async def move_stop(self, symbol: str, stop: object, ts: int, reason: ExitReason) -> None:
        self.calls.append(("move_stop", symbol))

    def pending(self) -> tuple[Plan, ...]:
        return ()

    def closing(self, symbol: str) -> bool:
        return False


def test_a_rejection_by_the_broker_is_a_refusal_with_the_broker_s_words(tmp_path: Path) -> None:
    """F3: and the order that was sent stands in the record."""
    ran = play(tmp_path, SOL=ladder().climb(10))
    broker = Broker(OrderStatus.REJECTED, RefusalCode.INSUFFICIENT_MARGIN, "margin 3 of 9 USD")
    state, _ = decide(ran, [saying("breakout_4h", SOL, entry=187.0)], scorer=Level(), orders=broker)
    (refusal,) = state["execution"].refusals
    assert (refusal.code, refusal.stage, refusal.symbol) == (RefusalCode.INSUFFICIENT_MARGIN, "execution", SOL)
    assert refusal.detail == (("broker", "margin 3 of 9 USD"),)
    assert refusal.ref == state["risk"].plans[0].id
    assert state["execution"].orders == (f"submit-{SOL}",)


@pytest.mark.parametrize("code", [RefusalCode.SYMBOL_OWNED, RefusalCode.NOT_ACTIVE])
def test_an_entry_that_never_left_the_house_is_no_order(code: RefusalCode, tmp_path: Path) -> None:
    """X12, X17: what the order manager keeps back is refused by its own code, and no order stands in the record."""
    ran = play(tmp_path, SOL=ladder().climb(10))
    broker = Broker(OrderStatus.REJECTED, code)
    state, _ = decide(ran, [saying("breakout_4h", SOL, entry=187.0)], scorer=Level(), orders=broker)
    assert broker.calls == [("submit", SOL)]
    assert [(item.code, item.symbol) for item in state["execution"].refusals] == [(code, SOL)]
    assert state["execution"].orders == ()
    assert state["record"].orders == ()


def test_an_accepted_order_is_no_refusal(tmp_path: Path) -> None:
    ran = play(tmp_path, SOL=ladder().climb(10))
    state, _ = decide(ran, [saying("breakout_4h", SOL, entry=187.0)], scorer=Level(), orders=Broker(OrderStatus.NEW))
    assert state["execution"].refusals == ()


def test_reducing_orders_go_out_first_and_need_no_book(tmp_path: Path) -> None:
    """Exits are never blocked: the hour of the last known book is long past, entries are refused, the exits go out."""
    ran = with_books(tmp_path)
    (plan,) = ran.states[SIGNAL]["risk"].plans
    later = close_of(SIGNAL + 5)
    close = Adjustment(AdjustKind.CLOSE, BTC, later, ExitReason.KILL_SWITCH)
    move = Adjustment(AdjustKind.MOVE_STOP, BTC, later, ExitReason.TRAIL, plan.stop)
    risk = RiskDecision((replace(plan, ts=later),), (move, close))
    broker = Broker(OrderStatus.NEW)
    context = replace(ran.context, orders=broker)
    state = {"event": ran.states[SIGNAL]["event"], "selection": Selection(), "risk": risk}
    execution = asyncio.run(Node(ExecutionAgent(), agent("execution"))(state, context))["execution"]  # type: ignore[arg-type]
    assert broker.calls == [("move_stop", BTC), ("close", BTC)]
    assert [item.code for item in execution.refusals] == [RefusalCode.STREAM_BOOK]
    assert execution.orders == (f"close-{BTC}",)
