"""What ``langgraph dev`` would serve: the same nodes over a recorded bar, offline, with plain values (issue section 3)."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from core.data.sources.synthetic import SyntheticSource
from graph import other_code as guard
from graph import studio
from graph.engines import EngineKind
from graph.opening import code_in_use
from graph.other_code import OtherCode
from graph.stepping.values import plain
from tests.support.run import Ran, run_over, short_configuration

ROOT = Path(__file__).resolve().parents[2]
BAR = 287
"""A bar on which a position is opened."""


@pytest.fixture
async def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    source = SyntheticSource(("BTC/USDT:USDT", "SOL/USDT:USDT"), bars=300, warm_days=60, seed=7)
    ran = await run_over(source, tmp_path / "made", engine=EngineKind.DIRECT, config=short_configuration())
    monkeypatch.setenv("BRAIN_SESSION", str(ran.folder.root))
    return ran


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    studio.close_all()


def factory() -> Any:
    """The factory, by the way that langgraph.json names it."""
    (named,) = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"].values()
    path, _, name = named.partition(":")
    spec = importlib.util.spec_from_file_location("served", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


async def test_the_factory_compiles_and_runs_one_bar_offline_as_recorded(recorded: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    async with factory()({}) as graph:
        state = await graph.ainvoke({"bar": BAR}, {"configurable": {"thread_id": "1"}})
    expected = {key: plain(value) for key, value in recorded.states[BAR].items()}
    assert state == {"bar": BAR, **expected}
    assert json.loads(json.dumps(state)) == state
    assert state["risk"]["plans"]


async def test_it_can_be_held_changed_and_run_again_between_two_compiles(recorded: Ran) -> None:
    """The server makes the graph anew for every call, and forks from a checkpoint."""
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "2"}}
    graph = studio.build().compile(checkpointer=saver, interrupt_before=["strategy_selection"])
    await graph.ainvoke({"bar": BAR}, config)
    held = await graph.aget_state(config)
    assert held.next == ("strategy_selection",)
    again = studio.build().compile(checkpointer=saver)
    other = {"h1": ["panic", "panic"], "h4": ["unknown", "unknown"]}
    changed = await again.aupdate_state(held.config, {"regimes": other}, as_node="market_regime")
    assert "risk" not in await again.ainvoke(None, changed)
    assert (await again.ainvoke(None, held.config))["risk"] == plain(recorded.states[BAR]["risk"])


async def test_nodes_behind_one_that_runs_again_find_services_as_it_left_them(recorded: Ran) -> None:
    """Not as the former run left them, which had sent an entry."""
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "4"}}
    graph = studio.build().compile(checkpointer=saver, interrupt_before=["strategy_selection"])
    await graph.ainvoke({"bar": BAR}, config)
    held = await graph.aget_state(config)
    again = studio.build().compile(checkpointer=saver)
    orders = studio._benches["4"]._fork.held.run.context.orders
    for _ in range(2):
        assert (await again.ainvoke(None, held.config))["risk"] == plain(recorded.states[BAR]["risk"])
        assert [plan.id for plan in orders.pending()] == [recorded.states[BAR]["risk"].plans[0].id]
        other = {"h1": ["panic", "panic"], "h4": ["unknown", "unknown"]}
        changed = await again.aupdate_state(held.config, {"regimes": other}, as_node="market_regime")
        assert "risk" not in await again.ainvoke(None, changed)
        assert orders.pending() == ()


async def test_a_session_of_other_code_is_refused(recorded: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "code_in_use", lambda: {**code_in_use(), "version": "9.9"})
    with pytest.raises(OtherCode, match=r"this is 9\.9"):
        await studio.build().compile().ainvoke({"bar": BAR}, {"configurable": {"thread_id": "5"}})


async def test_a_value_of_another_type_is_refused(recorded: Ran) -> None:
    graph = studio.build().compile(checkpointer=InMemorySaver(), interrupt_before=["strategy_selection"])
    config: Any = {"configurable": {"thread_id": "3"}}
    await graph.ainvoke({"bar": BAR}, config)
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'chaos'"):
        await graph.aupdate_state(config, {"regimes": {"h1": ["chaos"], "h4": []}}, as_node="market_regime")
