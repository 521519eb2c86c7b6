"""Compiled graph and direct run are the same brain: every value of every state, byte for byte (G4; X29, X43)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.canonical import chain, digest, encode
from core.types import DecisionRecord
from graph.engines import EngineKind
from tests.parity.markets import as_bytes, march_2024, synthetic
from tests.support.run import Ran

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return synthetic(tmp_path_factory.mktemp("direct"), EngineKind.DIRECT)


def assert_equal(one: Ran, other: Ran) -> None:
    for left, right in zip(as_bytes(one), as_bytes(other), strict=True):
        assert left == right
    assert one.decisions_hash == other.decisions_hash
    assert one.result == other.result


def test_graph_and_direct_run_agree_over_a_made_market(direct: Ran, tmp_path: Path) -> None:
    graph = synthetic(tmp_path, EngineKind.GRAPH)
    assert len(graph.states) == 650
    assert_equal(direct, graph)


def test_the_made_market_gives_every_agent_work(direct: Ran) -> None:
    """Else agreement would say little: signals, plans, refusals by several gates, fills, moved stops, closed trades."""
    result = direct.result
    assert sum(result.signals.values()) > 20
    assert result.plans > 2
    assert result.trades > 2
    assert len(result.refusals) >= 3
    assert any(state["risk"].adjustments for state in direct.states if "risk" in state)
    assert len({state["regimes"] for state in direct.states}) > 2


def test_graph_and_direct_run_agree_over_two_thousand_real_bars(shared_data: Path, tmp_path: Path) -> None:
    direct = march_2024(shared_data, tmp_path / "direct", EngineKind.DIRECT)
    graph = march_2024(shared_data, tmp_path / "graph", EngineKind.GRAPH)
    assert len(graph.states) >= 2_000
    assert graph.result.symbol_bars == 2 * 2_016 + 672  # ETH closes on every third announcement
    assert graph.result.plans > 5
    assert graph.result.trades > 5
    assert graph.result.regimes["panic"] > 0
    assert_equal(direct, graph)


def test_the_same_bars_give_the_same_decisions_again(direct: Ran, tmp_path: Path) -> None:
    """G4: a second run in the same process, with whatever the first left behind."""
    assert_equal(direct, synthetic(tmp_path, EngineKind.DIRECT))


def test_the_same_bars_give_the_same_decisions_under_another_hash_seed(direct: Ran) -> None:
    """G4: in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.parity.markets", "direct"],
        env={**os.environ, "PYTHONHASHSEED": "31337"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == direct.decisions_hash


def test_the_decisions_hash_is_the_chain_over_the_records_and_each_record_holds_the_hashes_of_its_nodes(direct: Ran) -> None:
    """Recomputed from the states alone."""
    head = bytes(32)
    for state in direct.states:
        record: DecisionRecord = state["record"]
        head = chain(head, encode(record))
        writers = {"brain": "status", "market_regime": "regimes", "strategy_selection": "selection", "risk_manager": "risk"}
        for name, hexadecimal in record.node_hashes:
            assert hexadecimal == digest(state[writers.get(name, name)])  # type: ignore[literal-required]
    assert direct.decisions_hash == head.hex()
