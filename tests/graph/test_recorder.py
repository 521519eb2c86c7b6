"""What a run writes down, and what a scrape of its metrics shows afterwards (requirements I2, I3, G8, G11)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from core.canonical import EMPTY_HASH, chain, encode
from core.codes import RefusalCode
from core.monitor.logger import LogSettings, configure
from core.monitor.metrics import MetricLabels, Metrics
from core.monitor.reader import StoreReader
from core.monitor.schema import AlertLevel
from core.monitor.store import Store
from core.monitor.telemetry import Telemetry
from core.risk.governor import GovernorEvent, GovernorEventKind
from core.types import DecisionRecord, EventKind, OrderStatus, OrderUpdate, Refusal, ToolState, TradingState
from graph.recorder import RunRecorder
from tests.agents.making import BTC, ETH, SIGNAL, breaking_out, play
from tests.support.run import Ran
from tools.topology import AGENT_EDGES, TOOL_EDGES, agent

BAR_PATH = [
    (name, tool)
    for name in ("brain", "market_regime", "strategy_selection", "risk_manager", "execution", "monitor")
    for tool in agent(name).tools
]
NOT_CROSSED = {("brain", "research"), ("brain", "monitor"), ("research", "monitor")}
"""Edges that only research and report events take."""

Samples = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A winner on ETH: entry, break-even, take, trail, add."""
    hours = breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).candle(0.5).climb(2)
    return play(tmp_path_factory.mktemp("run"), ETH=hours)


def scrape(ran: Ran, name: str) -> Samples:
    """Values of one metric as a scraping server reads them, by its labels in alphabetical order of their names."""
    registry = CollectorRegistry()
    registry.register(ran.parts.metrics.collector())
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in samples}


def rows(ran: Ran, query: str) -> list[tuple]:
    with StoreReader(ran.folder.database) as reader:
        return reader.query(query)


# --- board and metrics ----------------------------------------------------------------------------


def test_after_a_run_every_tool_of_the_bar_s_path_has_worked(ran: Ran) -> None:
    """I3: state 1, and a latency."""
    tools = ran.context.board.tools
    assert {key: tools[key].state for key in BAR_PATH} == dict.fromkeys(BAR_PATH, ToolState.OK)
    assert all(tools[key].calls and tools[key].latency_ns for key in BAR_PATH)
    assert {tools[("research", name)].state for name in agent("research").tools} == {ToolState.IDLE}
    assert ran.context.board.refused_calls == {}


def test_after_a_run_every_edge_of_the_bar_s_path_was_crossed(ran: Ran) -> None:
    crossed = {edge for edge, state in ran.context.board.edge_state.items() if state in (ToolState.OK, ToolState.WARN)}
    assert crossed == {(edge.src, edge.dst) for edge in AGENT_EDGES} - NOT_CROSSED


def test_a_scrape_shows_the_board(ran: Ran) -> None:
    """I3: agent_tool_state 0/1/2/3, agent_edge_state 1/2/3, every child there, used or not."""
    states = scrape(ran, "agent_tool_state")
    assert set(states) == {(edge.src, edge.dst) for edge in TOOL_EDGES}
    assert {key for key, value in states.items() if value == 1.0} == set(BAR_PATH)
    latency = scrape(ran, "agent_tool_latency_seconds")
    assert all(0.0 < latency[key] < 60.0 for key in BAR_PATH)
    edges = scrape(ran, "agent_edge_state")
    assert {(src, dst) for (dst, src), value in edges.items() if value in (1.0, 2.0)} == {
        (edge.src, edge.dst) for edge in AGENT_EDGES
    } - NOT_CROSSED
    assert {value for (dst, src), value in edges.items() if (src, dst) in NOT_CROSSED} == {0.0}


def test_a_scrape_shows_what_the_run_did(ran: Ran) -> None:
    bars = len(ran.states)
    assert scrape(ran, "brain_decisions_total") == {(): float(bars)}
    assert scrape(ran, "brain_decision_latency_seconds_count") == {(): float(bars)}
    assert scrape(ran, "brain_signals_total")[("breakout_4h",)] == float(ran.result.signals["breakout_4h"])
    assert scrape(ran, "brain_open_positions") == {(): 1.0}
    assert scrape(ran, "brain_refused_tool_calls_total") == {(): 0.0}
    assert scrape(ran, "brain_trading_state") == {(): 0.0}
    assert scrape(ran, "regime_label") == {(ETH,): 1.0}
    # the entry and the add
    assert scrape(ran, "brain_plan_latency_seconds_count") == {(): 2.0}


def test_strategies_that_the_present_regimes_enable_are_counted(ran: Ran) -> None:
    """trend_up enables breakout_4h and vol_exp_15m of four."""
    assert scrape(ran, "brain_strategies_active") == {(): 2.0}


# --- the store ------------------------------------------------------------------------------------


def test_every_decision_is_kept_with_its_link_and_the_links_can_be_recomputed(ran: Ran) -> None:
    """G4, G8: from the file alone."""
    with StoreReader(ran.folder.database) as reader:
        kept = list(reader.decisions())
    assert [row[0] for row in kept] == list(range(len(ran.states)))
    head = EMPTY_HASH
    for (_, _, hash_hex, payload), state in zip(kept, ran.states, strict=True):
        assert payload == encode(state["record"])
        head = chain(head, payload)
        assert hash_hex == head.hex()
    assert ran.decisions_hash == head.hex()


def test_plans_orders_fills_and_moves_are_kept(ran: Ran) -> None:
    """I2."""
    assert rows(ran, "SELECT COUNT(*) FROM plans") == [(2,)]
    assert rows(ran, "SELECT COUNT(*) FROM orders") == [(ran.result.orders,)]
    moves = sum(len(state["risk"].adjustments) for state in ran.states if "risk" in state)
    assert rows(ran, "SELECT COUNT(*) FROM adjustments") == [(moves,)]
    assert rows(ran, "SELECT COUNT(*) FROM fills")[0][0] >= 3
    (first,) = rows(ran, "SELECT id FROM plans ORDER BY seq LIMIT 1")
    assert first == (ran.states[SIGNAL]["risk"].plans[0].id,)


# --- the recorder alone ---------------------------------------------------------------------------


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry((BTC,), ("breakout_4h",), 1.1)


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "brain.sqlite")
    yield store
    store.close()


def alerts(store: Store) -> list[tuple]:
    store.commit()
    return store.query("SELECT level, code, message FROM alerts ORDER BY rowid")


def record(seq: int) -> DecisionRecord:
    return DecisionRecord(seq, seq * 1_000, EventKind.BAR, TradingState.ACTIVE, (), (), (), (), (), (), (), "g")


def test_a_recorder_that_is_restored_goes_on_with_the_same_chain(store: Store, telemetry: Telemetry) -> None:
    """X43."""
    whole = RunRecorder(store, telemetry)
    for seq in range(3):
        whole.decision(record(seq))
    first = RunRecorder(store, telemetry)
    assert first.decisions_hash == EMPTY_HASH.hex()
    first.decision(record(0))
    second = RunRecorder(store, telemetry)
    second.restore(first.snapshot())
    for seq in (1, 2):
        second.decision(record(seq))
    assert second.decisions_hash == whole.decisions_hash


@pytest.mark.parametrize(
    ("kind", "level", "counted"),
    [
        (GovernorEventKind.KILL_SWITCH, AlertLevel.PAGE, (0, 1, 1)),
        (GovernorEventKind.DAY_LOCK_SET, AlertLevel.WARNING, (1, 0, 1)),
        (GovernorEventKind.GOVERNANCE_CHANGED, AlertLevel.WARNING, (0, 0, 1)),
        (GovernorEventKind.CUT_ON, AlertLevel.INFO, (0, 0, 0)),
    ],
)
def test_what_the_governor_does_is_an_alert_as_loud_as_it_matters(
    kind: GovernorEventKind, level: AlertLevel, counted: tuple[int, int, int], store: Store, telemetry: Telemetry
) -> None:
    """E6, I5."""
    RunRecorder(store, telemetry).governor_event(GovernorEvent(kind, 1_000, 288.0, (("peak_72h", 300.0),)))
    assert alerts(store) == [(level.value, kind.value, "equity 288.00 USD, peak_72h 300.00")]
    assert (telemetry.daily_locks, telemetry.kill_switches, telemetry.warnings) == counted


def test_a_page_is_critical_in_the_log_told_at_once_and_counted_apart(tmp_path: Path, store: Store, telemetry: Telemetry) -> None:
    """E6, I5: it must not look like ordinary news."""
    recorder, called = RunRecorder(store, telemetry), list[tuple[str, str]]()
    recorder.on_page = lambda code, text: called.append((code, text))
    log = configure(LogSettings(folder=tmp_path))
    try:
        for level in AlertLevel:
            recorder.alert(1_000, level, "code", f"a {level.value}")
    finally:
        log.close()
    lines = (tmp_path / "brain.log").read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in lines] == ["INFO", "WARNING", "CRITICAL"]
    assert called == [("code", "a page")]
    assert (telemetry.alerts, telemetry.warnings) == ({"info": 1, "warning": 1, "page": 1}, 2)
    metrics = Metrics(MetricLabels((), (), (BTC,), ("breakout_4h",), ()), telemetry, 3.5)
    metrics.refresh()
    series = metrics.series["brain_alerts_total"]
    assert dict(zip(series.keys, series.values, strict=True)) == {("info",): 1.0, ("warning",): 1.0, ("page",): 1.0}


def test_an_order_that_expires_is_a_refusal_and_one_that_is_rejected_is_told_by_execution(
    store: Store, telemetry: Telemetry
) -> None:
    """F3: counted once each."""
    recorder = RunRecorder(store, telemetry)
    expired = OrderUpdate("c-1", BTC, OrderStatus.EXPIRED, 1_000, Decimal(0), RefusalCode.ENTRY_NOT_FILLED)
    rejected = OrderUpdate("c-2", BTC, OrderStatus.REJECTED, 1_000, Decimal(0), RefusalCode.INSUFFICIENT_MARGIN)
    recorder.record_update(expired)
    recorder.record_update(rejected)
    assert telemetry.refusals["ENTRY_NOT_FILLED"] == 1
    assert telemetry.refusals["INSUFFICIENT_MARGIN"] == 0


def test_the_last_refusal_is_at_hand_for_whoever_watches(store: Store, telemetry: Telemetry) -> None:
    recorder = RunRecorder(store, telemetry)
    assert recorder.last_refusal is None
    refusal = Refusal(RefusalCode.SCORE_LOW, 1_000, "strategy_selection", BTC, "breakout_4h", "s", "too low")
    recorder.refusal(refusal)
    assert recorder.last_refusal is refusal
    assert telemetry.refusals["SCORE_LOW"] == 1


def test_the_time_of_a_plan_is_told_to_whoever_wants_it(store: Store, telemetry: Telemetry) -> None:
    recorder, heard = RunRecorder(store, telemetry), []
    recorder.plan_time(0.1)
    recorder.on_plan_time = heard.append
    recorder.plan_time(0.2)
    assert heard == [0.2]
