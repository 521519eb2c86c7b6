"""Every strategy, run bar by bar through the feed, says what its rule says over the whole history (B8, B9, X29).

The market is made bar by bar from its first bar on, in the real feed and feature store; the history is made of the same base
bars at once. Both are then asked for features, regimes, signals and setup scores.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.validators import StrategiesFile
from core.data.alignment import known_at_close
from core.data.blocks import Bars, Batch, Floats, Ints
from core.data.features import build_features
from core.data.market import Market
from core.data.resample import resample
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import SyntheticSource
from core.data.timeframes import from_base
from core.regime_holdout import Series, fast_panics
from core.regimes import CARRIED_BY_H4, PANIC, UNKNOWN, RegimeTracker, label_history
from core.strategies import breakout_4h, build_strategies, funding_rev, range_rev_5m, vol_exp_15m
from core.strategies.base import MarketSnapshot, Masks
from core.strategies.score import SetupScorer, read_inputs
from core.types import REGIME_CODES, ScoredSignal, Side, Signal, Timeframe
from tests.core.data.making import BTC, SOL, governance, instruments
from tests.support.features import frame_of, shipped_params, short_params
from tests.support.market import take_bars

pytestmark = pytest.mark.untraced

M5, M15, H1, H4, D1 = Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4, Timeframe.D1
SYMBOLS = (BTC, SOL)
GOVERNANCE = governance()
REST = {"threshold": 7.0, "cost_r": 0.1, "news_clear": True, "max_abs_rho": None, "open_positions": 0}


class Case(NamedTuple):
    """A made market. The windows are short unless ``shipped``; in DEAD_SYMBOL the bars of SOL are away for a while."""

    base: Timeframe
    days: int
    seed: int
    scenario: Scenario = Scenario.MIXED
    shipped: bool = False

    @property
    def params(self) -> StrategiesFile:
        return shipped_params() if self.shipped else short_params()

    def source(self) -> SyntheticSource:
        bars = self.days * D1.ms // self.base.ms
        return SyntheticSource(SYMBOLS, seed=self.seed, bars=bars, base_tf=self.base, scenario=self.scenario, warm_days=0)


class Said(NamedTuple):
    """A signal with everything that is decided about it by features and bars alone."""

    ts: int
    strategy: str
    symbol: str
    side: Side
    entry: float
    regime: str
    score: float
    parts: tuple[tuple[str, float, bool], ...]


def said(scored: ScoredSignal) -> Said:
    signal = scored.signal
    parts = tuple((part.name, part.points, part.known) for part in scored.parts)
    regime = scored.regime.value
    return Said(signal.ts, signal.strategy, signal.symbol, signal.side, signal.entry, regime, scored.score, parts)


# --- bar by bar -----------------------------------------------------------------------------------


class Live(NamedTuple):
    """What a run saw. ``seen`` has (A, keys, S): every feature after each announcement, at the times ``ts`` (A,)."""

    said: list[Said]
    ts: Ints
    keys: list[str]
    seen: Floats
    labels: np.ndarray
    """(A, 2, S): held 1h and 4h codes."""


async def _batches(source: SyntheticSource) -> list[Batch]:
    return [batch async for batch in source.batches()]


@cache
def live(case: Case) -> Live:
    source, params = case.source(), case.params
    market = Market(instruments(*SYMBOLS), source.info, params, GOVERNANCE, gap_fill=False, capacity=500)
    tracker = RegimeTracker(SYMBOLS, market.features, params.regimes, 6, market.base_tf)
    strategies = build_strategies(params, SYMBOLS, market.base_tf, GOVERNANCE)
    scorer, keys = SetupScorer(params.score), list(market.features.view)
    found, times, seen, labels = [], [], [], []
    for batch in asyncio.run(_batches(source)):
        closed = market.ingest(batch)
        tracker.update(closed)
        snapshot = MarketSnapshot(
            closed.ts,
            SYMBOLS,
            {block.tf: block.idx for block in closed.blocks},
            market.features.view,
            market.features.ready,
            market.flags,
            market.base_tf,
            {block.tf: block.flags for block in closed.blocks},
        )
        for strategy in strategies.values():
            for signal in strategy.generate(snapshot):
                row = market.index[signal.symbol]
                regime = tracker.carrier(signal.strategy, row)
                inputs = read_inputs(signal, market.features.view, row, regime=regime, **REST)
                found.append(said(scorer.score(signal, inputs)))
        times.append(closed.ts)
        seen.append(np.array([market.features.view[key] for key in keys]))
        labels.append(np.array([tracker.h1, tracker.h4]))
    return Live(sorted(found), np.array(times), keys, np.array(seen), np.array(labels))


# --- the whole history ----------------------------------------------------------------------------


class Past(NamedTuple):
    """What is recorded of one symbol: base bars, funding settlements and hourly spot closes."""

    symbol: str
    base: Timeframe
    bars: Bars
    funding: pd.DataFrame
    spot: pd.DataFrame

    def until(self, now: int) -> Past:
        """What was recorded at ``now``."""
        bars = take_bars(self.bars, self.bars.ts + self.base.ms <= now)
        return self._replace(bars=bars, funding=self.funding[self.funding.ts <= now], spot=self.spot[self.spot.ts <= now])


def recorded(case: Case, symbol: str) -> Past:
    source, every = case.source(), 1 << 40
    end = source.info.end
    assert end is not None
    funding = source.funding_history(symbol, end, every)
    spot = source.spot_history(symbol, end, every)
    return Past(
        symbol,
        case.base,
        source.history(symbol, case.base, end, every),
        pd.DataFrame({"ts": [rate.ts for rate in funding], "funding_rate": [rate.rate for rate in funding]}),
        pd.DataFrame({"ts": [price.ts for price in spot], "close": [price.price for price in spot]}),
    )


class Whole(NamedTuple):
    """A history, judged: features by timeframe, the same as known at each timeframe's closes, and signals."""

    frames: dict[Timeframe, pd.DataFrame]
    known: dict[Timeframe, dict[str, Floats]]
    said: list[Said]


Rule = Callable[[Mapping[str, Floats]], Masks]


def rules(params: StrategiesFile, base: Timeframe) -> dict[str, tuple[Timeframe, tuple[str, ...], Rule]]:
    """The rules that a symbol with this base is judged by: timeframe, required features, rule."""
    found: dict[str, tuple[Timeframe, tuple[str, ...], Rule]] = {
        "breakout_4h": (H4, breakout_4h.REQUIRED, lambda f: breakout_4h.rule(f, params.breakout_4h)),
        "funding_rev": (H1, funding_rev.REQUIRED, lambda f: funding_rev.rule(f, params.funding_rev)),
    }
    if base in (M5, M15):
        found["vol_exp_15m"] = (M15, vol_exp_15m.REQUIRED, lambda f: vol_exp_15m.rule(f, params.vol_exp_15m))
        found["range_rev_5m"] = (base, range_rev_5m.required(base), lambda f: range_rev_5m.rule(f, params.range_rev_5m, base))
    return found


def judge(past: Past, params: StrategiesFile) -> Whole:
    base, bars = past.base, past.bars
    whole = {tf: resample(bars, base, tf) for tf in from_base(base)}
    streams = {"funding": past.funding, "spot": past.spot}
    frames = {tf: pd.DataFrame(build_features(frame_of(own, tf), streams, params)) for tf, own in whole.items() if len(own)}
    series = Series(past.symbol, whole[H1], base, bars, 0)
    for carrier in (H1, H4):
        if carrier in frames:
            features = {f"{name}@{carrier}": column.to_numpy() for name, column in frames[carrier].items()}
            fast = fast_panics(series, whole[carrier].ts + carrier.ms, params) if H1 in frames else None
            frames[carrier]["regime"] = label_history(features, params.regimes, carrier, fast).astype(np.float64)
    known = {tf: known_at_close(frames, tf) for tf in frames}
    if H1 in frames:
        _panic_between_closes(known, whole, fast_panics(series, bars.ts + base.ms, params), base)
    return Whole(frames, known, sorted(_signals(past, known, whole, params)))


def _panic_between_closes(
    known: Mapping[Timeframe, dict[str, Floats]], whole: Mapping[Timeframe, Bars], fired: np.ndarray, base: Timeframe
) -> None:
    """A label that has been known is panic from a base close at which the fast check fires to its carrier's next close."""
    panics = whole[base].ts[fired] + base.ms
    for tf, features in known.items():
        closes = whole[tf].ts + tf.ms
        for carrier in (H1, H4):
            if f"regime@{carrier}" not in features:
                continue
            codes = features[f"regime@{carrier}"]
            ends = whole[carrier].ts + carrier.ms
            last = ends[np.maximum(np.searchsorted(ends, closes, side="right") - 1, 0)]
            lately = np.searchsorted(panics, closes, side="right") > np.searchsorted(panics, last, side="right")
            started = np.maximum.accumulate(np.nan_to_num(codes)) > UNKNOWN
            codes[lately & started] = PANIC


def _signals(
    past: Past, known: Mapping[Timeframe, dict[str, Floats]], whole: Mapping[Timeframe, Bars], params: StrategiesFile
) -> list[Said]:
    scorer, found = SetupScorer(params.score), []
    for name, (tf, required, rule) in rules(params, past.base).items():
        features = known.get(tf, {})
        if any(key not in features for key in required):
            continue
        masks = rule(features)
        ready = np.logical_and.reduce([np.isfinite(features[key]) for key in required])
        codes = features.get("regime@4h" if name in CARRIED_BY_H4 else "regime@1h", np.zeros(ready.size))
        for t in np.flatnonzero((masks.long | masks.short) & ready).tolist():
            ts, close = int(whole[tf].ts[t]) + tf.ms, float(features[f"close@{tf}"][t])
            side = Side.LONG if masks.long[t] else Side.SHORT
            signal = Signal("id", name, past.symbol, side, close, tf, ts, ts + past.base.ms, "", 1.0)
            inputs = read_inputs(signal, features, t, regime=REGIME_CODES[int(np.nan_to_num(codes[t]))], **REST)
            found.append(said(scorer.score(signal, inputs)))
    return found


@cache
def judged(case: Case, symbol: str) -> Whole:
    return judge(recorded(case, symbol), case.params)


# --- the same -------------------------------------------------------------------------------------

CASES = {
    "5m": Case(M5, 40, 2),
    "15m": Case(M15, 60, 1),
    "15m with a gap": Case(M15, 45, 5, Scenario.DEAD_SYMBOL),
    "1h, shipped windows": Case(H1, 150, 1, shipped=True),
}
FAST, SLOW = ("vol_exp_15m", "range_rev_5m"), ("breakout_4h", "funding_rev")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_signals_regimes_and_scores_are_the_same_live_and_over_the_whole_history(case):
    """B9, X29: equal exactly, at the same times."""
    whole = sorted(entry for symbol in SYMBOLS for entry in judged(case, symbol).said)
    assert live(case).said == whole
    fired = Counter(entry.strategy for entry in whole)
    assert [name for name in (*SLOW, *(FAST if case.base is not H1 else ())) if fired[name] < 3] == []


def test_every_rule_fires_to_both_sides_in_these_markets_and_in_most_regimes():
    """The parity above would hold of rules that are always silent."""
    entries = [entry for case in CASES.values() for entry in live(case).said]
    fired = Counter((entry.strategy, entry.side) for entry in entries)
    assert [(name, side) for name in (*SLOW, *FAST) for side in Side if fired[name, side] < 5] == []
    assert len({entry.regime for entry in entries}) >= 5
    assert len({(entry.strategy, entry.score) for entry in entries}) > 20


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_the_feature_store_shows_at_a_close_is_what_the_alignment_says_was_known(case):
    """B9: every feature of every timeframe at every close of every timeframe, 1e-8 relative; labels exactly."""
    ran = live(case)
    for row, symbol in enumerate(SYMBOLS):
        whole = judged(case, symbol)
        for tf, known in whole.known.items():
            at = np.searchsorted(ran.ts, whole.frames[tf].index.to_numpy() + tf.ms)
            scale = 1e-12 * float(np.nanmax(known[f"close@{tf}"]))
            for place, key in enumerate(ran.keys):
                if key == "funding_age_h" and tf.ms < H1.ms and case.scenario is Scenario.DEAD_SYMBOL:
                    continue  # live it is counted to the symbol's last hourly close, which here is not the last full hour
                np.testing.assert_allclose(
                    ran.seen[at, place, row], known[key], rtol=1e-8, atol=max(scale, 1e-10), err_msg=f"{key} at {tf} closes"
                )
            for place, carrier in enumerate((H1, H4)):
                codes = np.nan_to_num(known[f"regime@{carrier}"])
                np.testing.assert_array_equal(ran.labels[at, place, row], codes, err_msg=f"{carrier} label at {tf} closes")


def test_there_is_a_gap_in_one_history_and_every_rule_fires_in_it():
    """Or the parity with a gap, and the truncation below, would hold for nothing."""
    case = CASES["15m with a gap"]
    steps = [np.unique(np.diff(judged(case, symbol).frames[case.base].index)).size for symbol in SYMBOLS]
    assert steps == [1, 2]
    fired = Counter(entry.strategy for entry in judged(case, SOL).said)
    assert [name for name in (*SLOW, *FAST) if fired[name] < 3] == []


# --- no look-ahead --------------------------------------------------------------------------------

CUT = CASES["15m with a gap"]


@settings(max_examples=8, deadline=None)
@given(bar=st.integers(1, CUT.days * D1.ms // CUT.base.ms))
@example(bar=2900)
@example(bar=4000)
def test_a_history_that_ends_earlier_says_the_same_up_to_its_end(bar):
    """B8: truncation of bars and streams at any base close, through features, labels, alignment, rules and scores."""
    whole, past = judged(CUT, SOL), recorded(CUT, SOL)
    now = int(past.bars.ts[0]) + bar * CUT.base.ms
    short = judge(past.until(now), CUT.params)
    assert set(short.frames) == {tf for tf, frame in whole.frames.items() if int(frame.index[0]) + tf.ms <= now}
    for tf, frame in short.frames.items():
        size = len(frame)
        assert size == np.count_nonzero(whole.frames[tf].index.to_numpy() + tf.ms <= now)
        assert list(frame) == list(whole.frames[tf])
        for name, column in frame.items():
            expected = whole.frames[tf][name].to_numpy()[:size]
            np.testing.assert_array_equal(column.to_numpy(), expected, err_msg=f"{name}@{tf}")
        for key, values in short.known[tf].items():
            np.testing.assert_array_equal(values, whole.known[tf][key][:size], err_msg=f"{key} at {tf} closes")
    assert short.said == [entry for entry in whole.said if entry.ts <= now]
