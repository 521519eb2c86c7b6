"""One plan by the risk engine."""

from __future__ import annotations

import numpy as np

from benchmarks.market import EQUITY_USD, SEED, configuration
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage, percentile
from configs.validators import Configuration
from core.exec.instrument import Instrument
from core.risk.context import RiskContext
from core.risk.engine import RiskEngine
from core.risk.governor import Governor
from core.strategies.base import Strategy
from core.strategies.registry import build_strategies
from core.types import Plan, Regime, ScoredSignal, ScorePart, Side, Signal, Timeframe

_START_MS = 1_767_571_200_000


def measure(*, quick: bool) -> list[Measured]:
    """Row ``plan_p99``: every call is made to end in a plan, on another symbol, price and side each time."""
    rounds, calls = (2, 200) if quick else (7, 3000)
    config = configuration(50, quick=quick)
    engine = RiskEngine(config.governance, config.governance_digest)
    asked = _asked(config, calls)
    for scored, context in asked[:200]:
        assert isinstance(engine.plan(scored, EQUITY_USD, context), Plan), "the benchmark asks for plans that can be made"
    tails, middles = [], []
    for _ in range(rounds):
        with only_new_garbage():
            spent = [_plan_ns(engine, scored, context) for scored, context in asked]
        tails.append(percentile(spent, 0.99) / 1e6)
        middles.append(percentile(spent, 0.5) / 1e6)
    note = f"p50 {Spread.of(middles).median * 1e3:.0f} µs, {calls} plans a round"
    return [Measured("plan_p99", Spread.of(tails), note)]


def _plan_ns(engine: RiskEngine, scored: ScoredSignal, context: RiskContext) -> float:
    start = now_ns()
    engine.plan(scored, EQUITY_USD, context)
    return now_ns() - start


def _asked(config: Configuration, count: int) -> list[tuple[ScoredSignal, RiskContext]]:
    governor = Governor(config.governance)
    governor.on_bar(_START_MS, EQUITY_USD)
    instruments = [Instrument.from_config(entry) for entry in config.symbols.symbols]
    names = [instrument.symbol for instrument in instruments]
    strategy = build_strategies(config.strategies, names, [Timeframe.M5] * len(names), config.governance)["breakout_4h"]
    rng = np.random.default_rng(SEED)
    prices = (5.0 + 20.0 * rng.random(count)).tolist()
    return [
        (_scored(instruments[k % len(instruments)], price, k), _context(config, governor, instruments, strategy, k))
        for k, price in enumerate(prices)
    ]


def _scored(instrument: Instrument, price: float, number: int) -> ScoredSignal:
    signal = Signal(
        id=f"{_START_MS}-breakout_4h-{number}",
        strategy="breakout_4h",
        symbol=instrument.symbol,
        side=Side.LONG if number % 2 else Side.SHORT,
        entry=price,
        tf=Timeframe.H4,
        ts=_START_MS,
        validity_ts=_START_MS + Timeframe.M5.ms,
        reason="made for a benchmark",
        atr=0.02 * price,
        meta=(),
    )
    return ScoredSignal(signal, 8.0, 7.0, Regime.TREND_UP, (ScorePart("regime", 2.5, 2.5, True),))


def _context(
    config: Configuration, governor: Governor, instruments: list[Instrument], strategy: Strategy, number: int
) -> RiskContext:
    return RiskContext(
        ts=_START_MS,
        instrument=instruments[number % len(instruments)],
        profile=strategy.profile(Timeframe.H4),
        spread_bps=2.0,
        depth_usd=100_000.0,
        governor=governor.view,
        atr_rank=0.5,
        open_risk_usd=0.0,
        open_drop_usd=0.0,
        open_notional_usd=0.0,
        net_notional_usd=0.0,
        hv_annual_pct=60.0,
        governance=config.governance_digest,
    )
