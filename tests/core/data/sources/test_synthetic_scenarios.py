"""Each scenario does what its description says, and tells when it begins and ends."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from core.data.blocks import Batch
from core.data.sources.scenarios import (
    CLOCK_FAULT_BARS,
    DEAD_FEED_BARS,
    DEAD_SYMBOL_BARS,
    EVENT_BAR,
    LOST_BOOK_BARS,
    Scenario,
    script_for,
)
from core.data.sources.synthetic import DEFAULT_SYMBOLS, SyntheticSource
from core.types import REGIME_CODES, Regime, Timeframe

BTC, ETH, SOL = DEFAULT_SYMBOLS
M5, H1 = Timeframe.M5.ms, Timeframe.H1.ms


def run(scenario: Scenario, bars: int = 600, seed: int = 3) -> tuple[SyntheticSource, list[Batch]]:
    source = SyntheticSource(seed=seed, bars=bars, scenario=scenario, warm_days=4)

    async def collect() -> list[Batch]:
        return [batch async for batch in source.batches()]

    return source, asyncio.run(collect())


def column(batches: list[Batch], name: str, symbol: int) -> np.ndarray:
    """One value a batch of clean ones."""
    return np.array([float(getattr(b.bars[0], name)[symbol]) for b in batches])


@pytest.mark.parametrize("scenario", list(Scenario))
def test_time_goes_on_bar_by_bar_in_every_scenario(scenario: Scenario) -> None:
    source, batches = run(scenario, bars=500)
    assert [b.ts for b in batches] == [source.info.start + (i + 1) * M5 for i in range(500)]
    for batch in batches:
        assert all(int(block.open_ts.max()) + M5 <= batch.ts + 1234 for block in batch.bars)
        assert all(e.ts == batch.ts for e in (*batch.funding, *batch.spot, *batch.books))


@pytest.mark.parametrize("scenario", [s for s in Scenario if s is not Scenario.CALM])
def test_a_scenario_tells_when_it_begins_and_ends(scenario: Scenario) -> None:
    acts = script_for(scenario, 12).acts
    _, batches = run(scenario, bars=max(a.end for a in acts) + 1)
    told = {(i, note.split(":")[0]) for i, b in enumerate(batches) for note in b.notes}
    expected = {(a.begin, f"scenario {scenario} begins") for a in acts} | {(a.end, f"scenario {scenario} ends") for a in acts}
    assert told == expected


def test_calm_has_neither_panic_nor_high_volatility() -> None:
    source = SyntheticSource(seed=3, scenario=Scenario.CALM, warm_days=1)
    seen = {REGIME_CODES[c] for s in DEFAULT_SYMBOLS for c in source.truth(s, 200 * 288)}
    assert seen == {Regime.TREND_UP, Regime.TREND_DOWN, Regime.RANGE_LOWVOL}


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_trend_rises_for_a_week(seed: int) -> None:
    source, batches = run(Scenario.TREND, bars=7 * 288, seed=seed)
    assert set(source.truth(BTC).tolist()) == {REGIME_CODES.index(Regime.TREND_UP)}
    assert sum(column(batches, "close", s)[-1] > column(batches, "open", s)[0] for s in range(3)) >= 2


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_crash_falls_by_15_to_27_percent_within_six_hours_and_books_suffer(seed: int) -> None:
    source, batches = run(Scenario.CRASH, seed=seed)
    end = EVENT_BAR + 72
    for symbol in range(3):
        close = column(batches, "close", symbol)
        assert 0.15 < 1 - close[end - 1] / close[EVENT_BAR - 1] < 0.27
    assert set(source.truth(SOL)[EVENT_BAR:end].tolist()) == {REGIME_CODES.index(Regime.PANIC)}
    spread = np.array([b.books[0].spread_bps for b in batches])
    depth = np.array([b.books[0].depth_usd for b in batches])
    assert np.median(spread[EVENT_BAR:end]) > 4 * np.median(spread[:EVENT_BAR])
    assert np.median(depth[EVENT_BAR:end]) < np.median(depth[:EVENT_BAR]) / 4


def test_gap_misses_bars_and_opens_four_percent_lower() -> None:
    source, batches = run(Scenario.GAP)
    assert [i for i, b in enumerate(batches) if not b.bars] == [EVENT_BAR, EVENT_BAR + 1, EVENT_BAR + 2]
    assert all(b.books for b in batches)
    after = EVENT_BAR + 3
    bars = source.history(BTC, Timeframe.M5, batches[-1].ts, 600)
    assert len(bars) == 600
    assert np.count_nonzero(np.diff(bars.ts) != M5) == 1
    before_close, open_ = batches[EVENT_BAR - 1].bars[0].close[0], batches[after].bars[0].open[0]
    assert -0.055 < open_ / before_close - 1 < -0.025
    up = after + 8 * 12
    assert batches[up].bars[0].open[0] / batches[up - 1].bars[0].close[0] - 1 == pytest.approx(np.expm1(0.03), abs=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_giveback_returns_to_where_the_rise_began(seed: int) -> None:
    top = EVENT_BAR + 3 * 288
    end = top + 36 * 12
    _, batches = run(Scenario.GIVEBACK, bars=end, seed=seed)
    for symbol in range(3):
        close = column(batches, "close", symbol)
        assert 0.10 < close[top - 1] / close[EVENT_BAR - 1] - 1 < 0.22
        assert abs(close[end - 1] / close[EVENT_BAR - 1] - 1) < 0.05


def test_dead_feed_delivers_no_candle_while_it_lasts_and_all_afterwards() -> None:
    _, batches = run(Scenario.DEAD_FEED)
    dead = [i for i, b in enumerate(batches) if not b.bars]
    assert dead == list(range(EVENT_BAR, EVENT_BAR + DEAD_FEED_BARS))
    assert all(b.books and b.clock for b in batches)
    assert batches[EVENT_BAR + DEAD_FEED_BARS].bars[0].idx.tolist() == [0, 1, 2]


def test_history_has_the_holes_of_what_was_delivered() -> None:
    """X43: a warm-up after a resume sees what the run saw."""
    source, batches = run(Scenario.DEAD_FEED)
    bars = source.history(BTC, Timeframe.M5, batches[-1].ts, 600)
    assert [int(t) for t in bars.ts if t >= source.info.start] == [int(b.bars[0].open_ts[0]) for b in batches if b.bars]
    hours = source.history(BTC, Timeframe.H1, batches[-1].ts, 600)
    assert np.count_nonzero(np.diff(hours.ts) != H1) == 1


def test_dead_symbol_loses_only_the_last_symbol() -> None:
    source, batches = run(Scenario.DEAD_SYMBOL)
    lost = [i for i, b in enumerate(batches) if b.bars[0].idx.tolist() == [0, 1]]
    assert lost == list(range(EVENT_BAR, EVENT_BAR + DEAD_SYMBOL_BARS))
    assert len(source.history(BTC, Timeframe.M5, batches[-1].ts, 600)) == 600
    assert np.count_nonzero(np.diff(source.history(SOL, Timeframe.M5, batches[-1].ts, 600).ts) != M5) == 1


def test_dead_symbol_alone_is_a_dead_feed() -> None:
    source = SyntheticSource((BTC,), bars=400, scenario=Scenario.DEAD_SYMBOL, warm_days=1)

    async def count() -> int:
        return sum([not b.bars async for b in source.batches()])

    assert asyncio.run(count()) == DEAD_SYMBOL_BARS


def test_clock_drift_leaves_the_limit_and_comes_back() -> None:
    """B4, X27: the exchange's drift goes, the host's NTP does not."""
    _, batches = run(Scenario.CLOCK_DRIFT)
    drift = np.array([b.clock.exchange_drift_ms for b in batches if b.clock])
    over = np.flatnonzero(np.abs(drift) > 1500)
    assert over.size > CLOCK_FAULT_BARS / 2
    assert over[0] >= EVENT_BAR
    assert over[-1] < EVENT_BAR + CLOCK_FAULT_BARS
    assert np.array_equal(over, np.arange(over[0], over[-1] + 1))
    assert max(abs(b.clock.ntp_drift_ms or 0.0) for b in batches if b.clock) < 100
    assert np.abs(drift[: EVENT_BAR - 1]).max() < 100


def test_lost_funding_misses_at_least_three_settlements_and_comes_back() -> None:
    source, batches = run(Scenario.LOST_FUNDING, bars=900)
    settled = [b.ts for b in batches if b.funding]
    assert max(np.diff(settled)) >= 32 * H1
    assert settled[-1] > source.info.start + (EVENT_BAR + 25 * 12) * M5
    known = [f.ts for f in source.funding_history(BTC, batches[-1].ts, 100) if f.ts > source.info.start]
    assert known == settled


def test_lost_book_misses_all_books_while_it_lasts() -> None:
    _, batches = run(Scenario.LOST_BOOK)
    assert [i for i, b in enumerate(batches) if not b.books] == list(range(EVENT_BAR, EVENT_BAR + LOST_BOOK_BARS))
    assert all(b.bars for b in batches)


def test_losing_streak_sells_each_new_high_off_through_a_gap() -> None:
    _, batches = run(Scenario.LOSING_STREAK, bars=5 * 288)
    close, open_ = column(batches, "close", 0), column(batches, "open", 0)
    high, low = column(batches, "high", 0), column(batches, "low", 0)
    bursts = 0
    for number in range(18):
        burst_end = 96 + 72 * number + 60 + 3
        drop = burst_end + 2
        if close[burst_end - 1] > high[burst_end - 63 : burst_end - 3].max():
            bursts += 1
        assert open_[drop] / close[drop - 1] - 1 < -0.006
        assert low[drop : drop + 6].min() < close[drop - 1] * (1 - 0.016)
    assert bursts >= 15


def test_bad_bars_holds_every_defect() -> None:
    """B5: each of them must be seen by the feed's checks."""
    _, batches = run(Scenario.BAD_BARS)
    seen = set()
    for batch in batches:
        block = batch.bars[0]
        ends = block.open_ts + M5
        if len(set(zip(block.idx.tolist(), block.open_ts.tolist(), strict=True))) < block.idx.size:
            seen.add("duplicate")
        if np.any(ends < batch.ts):
            seen.add("late")
        if np.any(block.open_ts % M5 != 0):
            seen.add("off_grid")
        if np.any(np.isnan(block.close)):
            seen.add("nan")
        if np.any(block.low <= 0):
            seen.add("negative")
        if np.any((block.high < block.low) & (block.low > 0)):
            seen.add("high_below_low")
        if np.any(block.volume == 0):
            seen.add("zero_volume")
    assert seen == {"duplicate", "late", "off_grid", "nan", "negative", "high_below_low", "zero_volume"}


def test_a_late_bar_is_missing_in_its_batch_and_comes_with_the_next() -> None:
    _, batches = run(Scenario.BAD_BARS)
    at = EVENT_BAR + 8
    victim = at % 3
    assert victim not in batches[at].bars[0].idx.tolist()
    following = batches[at + 1].bars[0]
    assert following.idx.tolist().count(victim) == 2
    assert following.open_ts.tolist()[-1] == batches[at].ts - M5


def test_every_scenario_has_a_description() -> None:
    assert all(s.description for s in Scenario)
