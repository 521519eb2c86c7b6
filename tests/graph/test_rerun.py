"""A session made again from its journal: the same decisions, whatever came in between, and the first that is not the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from configs.validators import Configuration
from core.errors import StateError
from core.exec.orders import OrderManager
from core.journal.reader import JournalReader
from core.types import EventKind, ExitReason, Order, OrderPurpose, OrderSide, OrderType, OrderUpdate, TradingState
from graph import journaling
from graph.engines import EngineKind, build_engine
from graph.replaying import Difference, Differs
from graph.rerun import Rerun, rerun_from, standing_before
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir, UnlockRequest
from graph.words import WordKind
from tests.agents.making import BTC, ETH, SIGNAL, breaking_out
from tests.core.strategies.making import trade
from tests.support.ladder import HandMade
from tests.support.run import Look, Ran, Watched, assembled, short_configuration

AT_ONCE = 1e12
"""A pace at which every bar is committed and every bar is looked between, but nothing is waited for."""


def won() -> HandMade:
    return HandMade({BTC: breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).climb(5)})


def lost() -> HandMade:
    eth = breaking_out().climb(1).candle(0.5).candle(2.6).candle(0.06, volume=10.0).climb(8).breakout()
    return HandMade({BTC: breaking_out().climb(1).candle(0.0, gap=-25.0).climb(14), ETH: eth})


def recorded(
    source: HandMade,
    folder: Path,
    options: RunOptions | None = None,
    look: Look | None = None,
    config: Configuration | None = None,
    **more: Any,
) -> Ran:
    parts = assembled(source, folder, config or short_configuration())
    watched = Watched(build_engine(EngineKind.DIRECT), look)
    daemon = Daemon(parts, watched, SessionDir(folder), options or RunOptions(), **more)
    try:
        result = asyncio.run(daemon.run())
    finally:
        parts.store.close()
        parts.journal.close()
    return Ran(parts, result, watched.states, SessionDir(folder), daemon)


def again(
    folder: Path,
    engine: EngineKind = EngineKind.DIRECT,
    config: Configuration | None = None,
    before_bar: Callable[[Rerun], None] = lambda _: None,
) -> tuple[int, int, str]:
    """(bars, decisions compared, hash of the chain) of the whole session made again."""

    async def all_of(rerun: Rerun) -> None:
        before_bar(rerun)
        while await rerun.next() is not None:
            before_bar(rerun)

    with rerun_from(JournalReader(folder / "journal"), build_engine(engine), config) as rerun:
        if config is None:
            rerun.compare_states()
        asyncio.run(all_of(rerun))
        return rerun.bar, rerun.check.compared, rerun.run.parts.recorder.decisions_hash


def first_difference(folder: Path, **how: Any) -> Difference:
    with pytest.raises(Differs) as found:
        again(folder, **how)
    return found.value.difference


def same(ran: Ran) -> tuple[int, int, str]:
    return ran.daemon.bars, ran.daemon.seq, ran.decisions_hash


@pytest.mark.parametrize("engine", list(EngineKind))
@pytest.mark.parametrize("source", [won, lost])
def test_a_session_made_again_is_the_session(tmp_path: Path, source: Callable[[], HandMade], engine: EngineKind) -> None:
    """G4, G10: a trade that wins; one that pulls the kill-switch and is lifted by --unlock-after."""
    ran = recorded(source(), tmp_path, RunOptions(unlock_after_ms=3 * 3_600_000))
    assert again(tmp_path, engine) == same(ran)


def test_a_persons_unlock_is_heard_again_at_its_place(tmp_path: Path) -> None:
    """X12."""

    def look(event: Any, state: Any, context: Any) -> None:
        if event.seq == SIGNAL + 5:
            SessionDir(tmp_path).request_unlock(UnlockRequest("looked at it", "owner"))

    ran = recorded(lost(), tmp_path, RunOptions(speed=AT_ONCE), look)
    halted = [state["record"].state is TradingState.HALTED for state in ran.states]
    assert (halted[SIGNAL + 5], halted[SIGNAL + 6]) == (True, False)
    assert again(tmp_path) == same(ran)


def test_touched_limits_are_heard_again(tmp_path: Path) -> None:
    """H2: and signed again at the next start."""
    recorded(won(), tmp_path, RunOptions(speed=AT_ONCE, until_bars=5), governance_changed=lambda: True)
    ran = recorded(won(), tmp_path)
    words = [word.kind for bar in bars_of(tmp_path) for word in bar.inputs if hasattr(word, "kind")]
    assert words == [WordKind.GOVERNANCE_CHANGED, WordKind.RESUMED]
    assert again(tmp_path) == same(ran)


def bars_of(folder: Path) -> list[Any]:
    from core.journal.bars import recorded_bars

    reader = JournalReader(folder / "journal")
    return list(recorded_bars(reader, reader.segments[0]))


@pytest.mark.parametrize("stop", [3, SIGNAL + 2])
def test_a_session_that_went_on_under_limits_signed_anew_is_made_again_under_both(tmp_path: Path, stop: int) -> None:
    """H2: before anything happened, and with a position open."""
    recorded(won(), tmp_path, RunOptions(until_bars=stop))
    tighter = short_configuration().governance.model_copy(update={"per_trade_r_pct_base": 0.4})
    signed = short_configuration().model_copy(update={"governance_digest": "f" * 64, "governance": tighter})
    ran = recorded(won(), tmp_path, config=signed)
    assert {state["record"].governance for state in ran.states} == {"f" * 64}
    assert again(tmp_path) == same(ran)


def test_what_is_asked_of_research_is_a_decision_of_its_own_again(tmp_path: Path) -> None:
    """X24: forty-nine lost trades are on the books, the fiftieth is lost in the run."""

    def lose(context: Any) -> None:
        for _ in range(49):
            context.quality.on_trade(trade(-1.0))

    def look(event: Any, state: Any, context: Any) -> None:
        if event.seq == SIGNAL:
            lose(context)

    ran = recorded(lost(), tmp_path, look=look)
    assert [state["event"].kind for state in ran.states].count(EventKind.RESEARCH) == 1

    def before_bar(rerun: Rerun) -> None:
        if rerun.bar == SIGNAL + 1:
            lose(rerun.run.context)

    assert again(tmp_path, before_bar=before_bar) == same(ran)
    # without the forty-nine nobody asks: the decision on record that is not come to again is found
    found = first_difference(tmp_path)
    assert (found.recorded, found.now) == (f"decision {found.seq}", "no decision")


def test_a_change_of_what_was_written_is_found_at_its_bar_node_and_field(tmp_path: Path) -> None:
    """A nearer stop moves the first plan, and nothing before it; the digest of the limits is no difference."""
    ran = recorded(won(), tmp_path / "then")
    params = short_configuration().strategies
    nearer = params.model_copy(update={"breakout_4h": params.breakout_4h.model_copy(update={"stop_atr": 1.9})})
    other = short_configuration().model_copy(update={"strategies": nearer})
    fresh = recorded(won(), tmp_path / "now", config=other)
    found = first_difference(tmp_path / "then", config=other.model_copy(update={"governance_digest": "f" * 64}))
    moved = [
        (seq, then[0])
        for seq, (was, is_) in enumerate(zip(ran.states, fresh.states, strict=True))
        for then, now in zip(was["record"].node_hashes, is_["record"].node_hashes, strict=True)
        if then != now
    ]
    assert (found.bar, found.node) == moved[0] == (SIGNAL, "strategy_selection")
    assert found.path
    assert f"bar {SIGNAL}, node strategy_selection, {'.'.join(found.path)}: recorded " in str(found)


def test_an_order_that_was_not_placed_then_is_found(tmp_path: Path) -> None:
    """What the venue was asked is compared too: here a stop that was never placed is on record no more."""
    recorded(won(), tmp_path)
    reader = JournalReader(tmp_path / "journal")

    async def all_of(rerun: Rerun) -> None:
        while True:
            turn = rerun.script.turn

            def shortened(turn: Any = turn) -> Any:
                bar = turn()
                if bar is not None and bar.number == SIGNAL + 1:
                    bar.inputs.pop()
                return bar

            rerun.script.turn = shortened  # type: ignore[method-assign]
            bar = await rerun.next()
            rerun.script.turn = turn  # type: ignore[method-assign]
            if bar is None:
                return

    with rerun_from(reader, build_engine(EngineKind.DIRECT)) as rerun, pytest.raises(Differs) as found:
        asyncio.run(all_of(rerun))
    assert (found.value.difference.bar, found.value.difference.node) == (SIGNAL + 1, "venue")
    assert found.value.difference.recorded is None


ALTERED: dict[str, Any] = {
    "qty": Decimal("0.001"),
    "price": Decimal("1.5"),
    "side": OrderSide.BUY,
    "type": OrderType.MARKET,
    "purpose": OrderPurpose.EXIT,
    "reduce_only": False,
    "reason": ExitReason.KILL_SWITCH,
}
"""What the first stop of the session that wins is not."""


@pytest.fixture
def other_stop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make stops be sent with another value in the field that the test names."""
    send = OrderManager._send

    async def altered(orders: OrderManager, order: Order) -> OrderUpdate:
        name = request.node.callspec.params["name"]
        stop = order.purpose is OrderPurpose.STOP
        return await send(orders, msgspec.structs.replace(order, **{name: ALTERED[name]}) if stop else order)

    return lambda: monkeypatch.setattr(OrderManager, "_send", altered)


@pytest.mark.parametrize("name", list(ALTERED))
def test_an_order_that_was_sent_otherwise_is_found_at_its_field(
    tmp_path: Path, name: str, other_stop: Callable[[], None]
) -> None:
    recorded(won(), tmp_path)
    other_stop()
    found = first_difference(tmp_path)
    assert (found.bar, found.node, found.path[0], found.path[2]) == (SIGNAL + 1, "venue", "place", name)
    assert found.path[1].endswith("-s1")
    assert found.now == msgspec.to_builtins(ALTERED[name])
    assert found.recorded != found.now


@pytest.mark.parametrize("name", list(ALTERED))
def test_going_on_refuses_an_order_that_was_sent_otherwise(
    tmp_path: Path, name: str, other_stop: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the bar in which the entry was filled and its stop was sent."""

    async def killed(run: Any, event: Any) -> None:
        raise RuntimeError("killed")

    recorded(won(), tmp_path, RunOptions(until_bars=SIGNAL + 1))
    with monkeypatch.context() as patch:
        patch.setattr("graph.run.Run.decide", killed)
        with pytest.raises(RuntimeError):
            recorded(won(), tmp_path)
    other_stop()
    with pytest.raises(StateError, match=rf"another Answer than the journal has at the same place: order\.{name} is") as refused:
        recorded(won(), tmp_path)
    assert refused.value.code == "JRN-005"


@pytest.mark.parametrize(("bar", "found_at"), [(1, 1), (3, 3), (5, 5)])
def test_a_service_that_stands_otherwise_is_found_at_the_next_kept_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: int, found_at: int
) -> None:
    """Also where no decision has moved yet; at states inside a segment, and where a segment begins."""
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 6)
    monkeypatch.setattr(journaling, "STATE_EVERY", 2)
    recorded(won(), tmp_path, RunOptions(speed=AT_ONCE))

    def before_bar(rerun: Rerun) -> None:
        if rerun.bar == bar:
            rerun.run.context.ledger._state.duplicates += 7

    found = first_difference(tmp_path, before_bar=before_bar)
    assert (found.bar, found.node, found.path) == (found_at, "state", ("ledger", "duplicates"))
    assert (found.recorded, found.now) == (0, 7)


def test_a_past_that_is_fed_otherwise_is_found_before_the_first_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(won(), tmp_path)
    monkeypatch.setattr(
        "graph.replaying.RecordedSource.funding_history", lambda self, symbol, before, limit: self._funding[symbol][:-1]
    )
    found = first_difference(tmp_path)
    assert (found.bar, found.node, found.path[:2]) == (0, "state", ("market", "health"))


def test_a_session_cut_off_inside_its_last_bar_is_made_again_up_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F6: the batch is on record, what it led to is not."""

    async def killed(run: Any, event: Any) -> None:
        raise RuntimeError("killed")

    recorded(won(), tmp_path, RunOptions(until_bars=7))
    with monkeypatch.context() as patch:
        patch.setattr("graph.run.Run.decide", killed)
        with pytest.raises(RuntimeError):
            recorded(won(), tmp_path)
    with rerun_from(JournalReader(tmp_path / "journal"), build_engine(EngineKind.DIRECT)) as rerun:
        asyncio.run(to_end(rerun))
        assert (rerun.bar, rerun.check.compared, rerun.cut_off) == (7, 7, True)
    ran = recorded(won(), tmp_path)
    assert again(tmp_path) == same(ran)


async def to_end(rerun: Rerun) -> None:
    while await rerun.next() is not None:
        pass


@pytest.mark.parametrize("bar", [0, 1, 6, 9, SIGNAL + 2])
def test_one_stands_before_any_bar_and_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: int) -> None:
    """With segments and states so near to each other that each kind of place is stood at."""
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 6)
    monkeypatch.setattr(journaling, "STATE_EVERY", 2)
    ran = recorded(won(), tmp_path, RunOptions(speed=AT_ONCE))
    reader = JournalReader(tmp_path / "journal")
    assert len(reader.segments) == 4

    async def to(rerun: Rerun, until: int) -> None:
        while rerun.bar < until:
            assert await rerun.next() is not None

    with standing_before(reader, bar, build_engine(EngineKind.DIRECT)) as rerun:
        asyncio.run(to(rerun, bar))
        assert (rerun.bar, rerun.run.seq) == (bar, bar)
        asyncio.run(to_end(rerun))
        assert (rerun.bar, rerun.run.parts.recorder.decisions_hash) == (ran.daemon.bars, ran.decisions_hash)


def test_a_bar_that_there_is_not_is_refused(tmp_path: Path) -> None:
    ran = recorded(won(), tmp_path)
    reader = JournalReader(tmp_path / "journal")
    with pytest.raises(StateError, match=f"the session has {ran.daemon.bars} bars, bar 99 was asked for") as refused:
        standing_before(reader, 99, build_engine(EngineKind.DIRECT)).__enter__()
    assert refused.value.code == "JRN-008"


def test_a_difference_says_where_it_is() -> None:
    found = Difference(4, 300_000, 4, "execution", ("orders", "0", "qty"), "1", "2")
    assert str(found) == "bar 4, node execution, orders.0.qty: recorded '1', now '2'"
    assert "all of it" in str(replace(found, path=()))
