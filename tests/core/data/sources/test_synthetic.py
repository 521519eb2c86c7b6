"""The synthetic market: same seed, same bytes; regimes that differ; candles, funding, basis and books that make sense."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.data.blocks import Batch
from core.data.sources import synthetic
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import DEFAULT_START_MS, DEFAULT_SYMBOLS, SyntheticSource
from core.errors import SourceError
from core.types import REGIME_CODES, Regime, Timeframe

BTC, ETH, SOL = DEFAULT_SYMBOLS
M5 = Timeframe.M5.ms
DAY_BARS = 288


def take(source: SyntheticSource, count: int | None = None, after_ts: int | None = None) -> list[Batch]:
    async def collect() -> list[Batch]:
        batches: list[Batch] = []
        async for batch in source.batches(after_ts):
            batches.append(batch)
            if len(batches) == count:
                break
        return batches

    return asyncio.run(collect())


def digest(batches: list[Batch], *, symbol: int | None = None) -> str:
    """Hash of every value in the batches, of one symbol's candles and book only if asked."""
    sha = hashlib.sha256()
    for batch in batches:
        sha.update(repr(batch.ts).encode())
        for block in batch.bars:
            rows = slice(None) if symbol is None else block.idx == symbol
            for column in (block.open_ts, block.open, block.high, block.low, block.close, block.volume):
                sha.update(np.ascontiguousarray(column[rows]).tobytes())
        names = {"BTC", "ETH", "SOL"} if symbol is None else {("BTC", "ETH", "SOL")[symbol]}
        for event in (*batch.funding, *batch.spot, *batch.books):
            if event.symbol[:3] in names:
                sha.update(repr(tuple(event)).encode())
        if symbol is None:
            sha.update(repr((batch.clock, batch.notes)).encode())
    return sha.hexdigest()


def closes(source: SyntheticSource, days: int) -> tuple[np.ndarray, np.ndarray]:
    """(closes, labels) of BTC over the first ``days`` of the run."""
    bars = days * DAY_BARS
    end = source.info.start + bars * M5
    history = source.history(BTC, Timeframe.M5, end, bars)
    return history.close, source.truth(BTC, bars)


def test_the_same_seed_gives_the_same_bytes() -> None:
    first = digest(take(SyntheticSource(seed=5, bars=400, warm_days=8)))
    assert first == digest(take(SyntheticSource(seed=5, bars=400, warm_days=8)))
    assert first != digest(take(SyntheticSource(seed=6, bars=400, warm_days=8)))


def test_the_hash_seed_of_python_changes_nothing() -> None:
    """G4: no order of a set or of a hash is in the bytes."""
    root = Path(__file__).resolve().parents[4]
    script = (
        "import asyncio, hashlib\n"
        "from core.data.sources.synthetic import SyntheticSource\n"
        "async def main():\n"
        "    sha = hashlib.sha256()\n"
        "    async for b in SyntheticSource(seed=5, bars=200, warm_days=2).batches():\n"
        "        sha.update(b.bars[0].close.tobytes()); sha.update(repr((b.books, b.funding, b.spot, b.clock)).encode())\n"
        "    print(sha.hexdigest())\n"
        "asyncio.run(main())\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "4242")
    ]
    assert answers[0] == answers[1] != ""


def test_a_shorter_run_is_a_prefix_of_a_longer_one_and_of_an_endless_one() -> None:
    """Chunk borders (every 4 days = 1152 bars) leave no trace."""
    short = take(SyntheticSource(seed=5, bars=1300, warm_days=6))
    long = take(SyntheticSource(seed=5, bars=2500, warm_days=6))
    endless = take(SyntheticSource(seed=5, warm_days=6), 1300)
    assert len(short) == 1300
    assert len(long) == 2500
    assert digest(short) == digest(long[:1300]) == digest(endless)


def test_a_symbol_does_not_depend_on_which_others_run() -> None:
    together = take(SyntheticSource((BTC, ETH, SOL), seed=9, bars=300, warm_days=3))
    alone = take(SyntheticSource((BTC,), seed=9, bars=300, warm_days=3))
    swapped = take(SyntheticSource((SOL, BTC), seed=9, bars=300, warm_days=3))
    btc = [float(b.bars[0].close[0]) for b in together]
    assert digest(together, symbol=0) == digest(alone, symbol=0)
    assert btc == [float(b.bars[0].close[1]) for b in swapped]


def test_resuming_gives_exactly_the_batches_that_were_left() -> None:
    """X43."""
    whole = take(SyntheticSource(seed=5, bars=1500, warm_days=3))
    rest = take(SyntheticSource(seed=5, bars=1500, warm_days=3), after_ts=whole[699].ts)
    assert rest[0].ts == whole[700].ts
    assert digest(rest) == digest(whole[700:])


def test_asking_for_history_in_between_changes_nothing() -> None:
    source = SyntheticSource(seed=5, bars=400, warm_days=8)
    source.history(ETH, Timeframe.H1, source.info.start + 50 * Timeframe.D1.ms, 500)
    assert digest(take(source)) == digest(take(SyntheticSource(seed=5, bars=400, warm_days=8)))


@pytest.mark.parametrize("scenario", list(Scenario))
def test_clean_bars_are_possible_candles(scenario: Scenario) -> None:
    """B5: high and low hold open and close, prices and volume are positive, the grid has no holes."""
    source = SyntheticSource(seed=11, scenario=scenario, warm_days=4)
    bars = source.history(SOL, Timeframe.M5, source.info.start + 6 * Timeframe.D1.ms, 100_000)
    assert np.all(bars.high >= np.maximum(bars.open, bars.close))
    assert np.all(bars.low <= np.minimum(bars.open, bars.close))
    assert np.all(bars.low > 0)
    assert np.all(bars.volume > 0)
    assert np.all(bars.ts % M5 == 0)
    assert np.all(np.diff(bars.ts) >= M5)


def test_a_bar_opens_where_the_last_one_closed() -> None:
    batches = take(SyntheticSource(seed=5, bars=1400, warm_days=3))
    close = np.array([b.bars[0].close for b in batches])
    open_ = np.array([b.bars[0].open for b in batches])
    assert np.array_equal(open_[1:], close[:-1])


def test_prices_start_at_the_size_of_the_known_markets() -> None:
    source = SyntheticSource((BTC, ETH, SOL, "XYZ/USDT:USDT"), seed=3, warm_days=0)
    first = take(source, 1)[0].bars[0].open
    assert first.tolist() == [60_000.0, 3_000.0, 150.0, 10.0]


def test_every_regime_occurs_in_the_mixed_market_within_eleven_days() -> None:
    labels = SyntheticSource(seed=1, bars=11 * DAY_BARS, warm_days=2).truth(BTC)
    assert labels.size == 11 * DAY_BARS
    assert {REGIME_CODES[c] for c in labels} == set(Regime) - {Regime.UNKNOWN}


def test_truth_has_one_label_for_each_bar_handed_out() -> None:
    source = SyntheticSource(seed=1, warm_days=2)
    assert source.truth(ETH).size == 0
    take(source, 350)
    assert source.truth(ETH).size == 350
    assert np.array_equal(source.truth(ETH), source.truth(ETH, 900)[:350])
    assert np.array_equal(source.truth(ETH, 40, first=300), source.truth(ETH, 340)[300:])
    assert np.array_equal(source.truth(ETH, first=300), source.truth(ETH)[300:])


def test_regimes_differ_in_volatility_and_drift() -> None:
    """Low < trend < high < panic volatility; trends go their way and panic goes down, over two years of BTC."""
    source = SyntheticSource((BTC,), seed=21, warm_days=0)
    close, labels = closes(source, 730)
    returns = np.diff(np.log(close))
    by = {r: returns[labels[1:] == REGIME_CODES.index(r)] for r in Regime if r is not Regime.UNKNOWN}
    assert all(values.size > 1000 for values in by.values())
    sd = {r: float(v.std()) for r, v in by.items()}
    mean = {r: float(v.mean()) for r, v in by.items()}
    assert sd[Regime.RANGE_LOWVOL] * 1.5 < sd[Regime.TREND_UP] < sd[Regime.RANGE_HIGHVOL] < sd[Regime.PANIC] / 1.5
    assert mean[Regime.TREND_UP] > 0 > mean[Regime.TREND_DOWN] > mean[Regime.PANIC]
    assert abs(mean[Regime.RANGE_LOWVOL]) < mean[Regime.TREND_UP] / 4


def test_ranges_come_back_to_their_middle_and_trends_do_not() -> None:
    """Variance ratio of 12 h to 5 min returns: below 1 in ranges, above it in trends."""
    source = SyntheticSource((BTC,), seed=21, warm_days=0)
    close, labels = closes(source, 730)

    def ratio(*regimes: Regime) -> float:
        inside = np.isin(labels, [REGIME_CODES.index(r) for r in regimes])
        steps, window = np.diff(np.log(close)), 144
        whole = np.lib.stride_tricks.sliding_window_view(inside[1:], window).all(axis=1)
        sums = np.convolve(steps, np.ones(window), mode="valid")[whole]
        return float((sums**2).mean() / (window * (steps[inside[1:]] ** 2).mean()))

    assert ratio(Regime.RANGE_LOWVOL, Regime.RANGE_HIGHVOL) < 0.97
    assert ratio(Regime.TREND_UP, Regime.TREND_DOWN) > 1.2


def test_symbols_move_together_but_are_not_one() -> None:
    """X25 needs correlations that differ from 0 and from 1."""
    source = SyntheticSource(seed=2, warm_days=200)
    at = source.info.start
    daily = [np.diff(np.log(source.history(s, Timeframe.D1, at, 200).close)) for s in (BTC, ETH, SOL)]
    rho = np.corrcoef(daily)
    assert 0.5 < rho[0, 1] < 0.98
    assert 0.4 < rho[0, 2] < 0.95


def test_volume_rises_with_the_range_of_the_bar() -> None:
    source = SyntheticSource((BTC,), seed=2, warm_days=30)
    bars = source.history(BTC, Timeframe.M5, source.info.start, 8000)
    spread = np.log(bars.high / bars.low)
    assert np.corrcoef(np.log(spread), np.log(bars.volume))[0, 1] > 0.5


def test_funding_settles_every_eight_hours_with_ties_and_extremes() -> None:
    """D5 fires on extremes only; the default rate of exactly 0.0001 is a tie (quant.md section 6)."""
    source = SyntheticSource((BTC,), seed=4, warm_days=200)
    rows = source.funding_history(BTC, source.info.start, 1000)
    assert len(rows) == 600
    assert {b.ts - a.ts for a, b in pairwise(rows)} == {8 * Timeframe.H1.ms}
    assert all(r.ts % (8 * Timeframe.H1.ms) == 0 and r.interval_ms == 8 * Timeframe.H1.ms for r in rows)
    rates = np.array([r.rate for r in rows])
    assert 0.26 < np.mean(rates == 0.0001) < 0.79
    assert rates.max() > 0.0005
    assert rates.min() < 0.0
    assert np.abs(rates).max() <= 0.003


def test_funding_arrives_in_the_batch_of_its_time() -> None:
    batches = take(SyntheticSource(seed=4, bars=200, warm_days=2))
    settled = [b for b in batches if b.funding]
    assert [b.ts - DEFAULT_START_MS for b in settled] == [96 * M5, 192 * M5]
    assert [f.symbol for f in settled[0].funding] == [BTC, ETH, SOL]
    assert all(f.ts == b.ts for b in settled for f in b.funding)


def test_the_basis_returns_to_its_middle() -> None:
    source = SyntheticSource((BTC,), seed=4, warm_days=100)
    spot = source.spot_history(BTC, source.info.start, 5000)
    perp = source.history(BTC, Timeframe.H1, source.info.start, 5000)
    assert [p.ts for p in spot] == (perp.ts + Timeframe.H1.ms).tolist()
    basis = perp.close / np.array([p.price for p in spot]) - 1.0
    assert abs(basis.mean()) < 0.001
    assert 0.0001 < basis.std() < 0.002
    later, now = basis[48:] - basis.mean(), basis[:-48] - basis.mean()
    assert abs(np.corrcoef(later, now)[0, 1]) < 0.5


def test_spot_closes_arrive_on_the_hour() -> None:
    batches = take(SyntheticSource(seed=4, bars=30, warm_days=2))
    assert [b.ts for b in batches if b.spot] == [DEFAULT_START_MS + h * Timeframe.H1.ms for h in (1, 2)]


def test_books_stand_around_the_close_and_thin_out_in_panic() -> None:
    source = SyntheticSource((BTC,), seed=1, bars=8 * DAY_BARS, warm_days=2)
    batches = take(source)
    labels = source.truth(BTC)
    books = [b.books[0] for b in batches]
    assert all(b.bid <= c.bars[0].close[0] <= b.ask and b.bid < b.ask for b, c in zip(books, batches, strict=True))
    assert not any(b.modelled for b in books)
    panic, calm = labels == REGIME_CODES.index(Regime.PANIC), labels == REGIME_CODES.index(Regime.RANGE_LOWVOL)
    spread, depth = np.array([b.spread_bps for b in books]), np.array([b.depth_usd for b in books])
    assert np.median(spread[panic]) > 4 * np.median(spread[calm])
    assert np.median(depth[panic]) < np.median(depth[calm]) / 8


def test_a_spot_market_shares_the_path_of_its_perp_without_the_basis() -> None:
    source = SyntheticSource(("BTC/USDT", BTC), seed=4, bars=288, warm_days=2)
    batches = take(source)
    assert source.info.has_funding == {"BTC/USDT": False, BTC: True}
    assert {f.symbol for b in batches for f in b.funding} == {BTC}
    spot, perp = np.array([b.bars[0].close for b in batches]).T
    hourly = {p.ts: p.price for b in batches for p in b.spot}
    assert all(abs(spot[i] - hourly[b.ts]) < 0.06 for i, b in enumerate(batches) if b.ts in hourly)
    assert np.abs(perp / spot - 1).max() < 0.01
    assert source.funding_history("BTC/USDT", source.info.start, 10) == ()
    assert source.spot_history("BTC/USDT", source.info.start, 10) == ()


def test_history_ends_where_it_was_asked_to_and_never_looks_ahead() -> None:
    """B8: what is known at t is the same whether or not later bars were made."""
    source = SyntheticSource(seed=5, warm_days=20)
    at = source.info.start + 7 * Timeframe.M15.ms
    early = {tf: source.history(BTC, tf, at, 300) for tf in (Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4)}
    for tf, bars in early.items():
        assert int(bars.ts[-1]) + tf.ms <= at < int(bars.ts[-1]) + 2 * tf.ms
    source.history(BTC, Timeframe.M5, at + 30 * Timeframe.D1.ms, 10)
    for tf, bars in early.items():
        again = source.history(BTC, tf, at, 300)
        assert all(np.array_equal(a, b) for a, b in zip(bars, again, strict=True))
    assert source.funding_history(BTC, at, 5)[-1].ts <= at
    assert source.spot_history(BTC, at, 5)[-1].ts <= at


def test_higher_bars_are_built_from_base_bars() -> None:
    source = SyntheticSource(seed=5, warm_days=10)
    base = source.history(BTC, Timeframe.M5, source.info.start, 10 * DAY_BARS)
    hour = source.history(BTC, Timeframe.H1, source.info.start, 1000)
    assert len(hour) == 240
    assert np.array_equal(hour.open, base.open[::12])
    assert np.array_equal(hour.close, base.close[11::12])
    assert np.array_equal(hour.high, base.high.reshape(-1, 12).max(axis=1))
    assert np.array_equal(hour.low, base.low.reshape(-1, 12).min(axis=1))
    assert np.allclose(hour.volume, base.volume.reshape(-1, 12).sum(axis=1), rtol=1e-12)


def test_history_and_batches_are_one_series() -> None:
    source = SyntheticSource(seed=5, bars=400, warm_days=3)
    batches = take(source)
    bars = source.history(ETH, Timeframe.M5, batches[-1].ts, 400)
    assert bars.close.tolist() == [float(b.bars[0].close[1]) for b in batches]
    assert bars.ts.tolist() == [int(b.bars[0].open_ts[1]) for b in batches]


def test_a_timeframe_finer_than_the_base_has_no_history() -> None:
    source = SyntheticSource(seed=5, base_tf=Timeframe.M15, warm_days=3)
    assert len(source.history(BTC, Timeframe.M5, source.info.start, 10)) == 0
    assert len(source.history(BTC, Timeframe.M15, source.info.start, 10)) == 10


@pytest.mark.parametrize("tf", [Timeframe.M1, Timeframe.M15, Timeframe.H1])
def test_other_base_timeframes_have_the_same_daily_volatility(tf: Timeframe) -> None:
    source = SyntheticSource((BTC,), seed=5, base_tf=tf, warm_days=30 if tf is Timeframe.M1 else 200)
    daily = np.diff(np.log(source.history(BTC, Timeframe.D1, source.info.start, 200).close))
    assert 0.008 < daily.std() < 0.05


def test_arrays_handed_out_cannot_be_written_to() -> None:
    block = take(SyntheticSource(seed=5, bars=1, warm_days=1))[0].bars[0]
    with pytest.raises(ValueError, match="read-only"):
        block.close[0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"symbols": ()}, "symbols was empty"),
        ({"symbols": (BTC, BTC)}, "each once"),
        ({"seed": -1}, "seed was -1"),
        ({"bars": 0}, "bars was 0"),
        ({"warm_days": -1}, "warm_days was -1"),
        ({"base_tf": Timeframe.D1}, "expected one of 1m, 5m, 15m, 1h"),
        ({"start": DEFAULT_START_MS + 1}, "multiple of 300000 ms"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        SyntheticSource(**arguments)  # type: ignore[arg-type]


def test_an_unknown_symbol_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SourceError, match="BTC/USDT:USDT, ETH/USDT:USDT"):
        SyntheticSource(warm_days=1).history("DOT/USDT:USDT", Timeframe.H1, DEFAULT_START_MS, 1)


def test_info_says_what_is_there() -> None:
    info = SyntheticSource(seed=8, bars=100, warm_days=1, scenario=Scenario.CRASH).info
    assert (info.name, info.start, info.end, info.batches) == ("synthetic", DEFAULT_START_MS, DEFAULT_START_MS + 100 * M5, 100)
    assert info.has_books
    assert "seed 8, scenario crash" in info.notes[0]
    assert "before bar 300" in info.missing[0]


# --- the market as one digest --------------------------------------------------------------------------

OTHERS = {
    "seed": {"seed": 6},
    "scenario": {"scenario": Scenario.CALM},
    "symbols": {"symbols": (BTC, ETH)},
    "their order": {"symbols": (ETH, BTC, SOL)},
    "start": {"start": DEFAULT_START_MS + M5},
    "timeframe": {"base_tf": Timeframe.M15},
    "warm-up": {"warm_days": 9},
}


def described(**changed: object) -> str:
    return SyntheticSource(**{"seed": 5, "warm_days": 8, **changed}).info.digest  # type: ignore[arg-type]


@pytest.mark.parametrize("what", OTHERS)
def test_another_market_has_another_digest(what: str) -> None:
    """X43."""
    assert described(**OTHERS[what]) != described()


def test_the_same_market_has_the_same_digest_however_long_it_runs() -> None:
    assert len(bytes.fromhex(described())) == 32
    assert described() == described(bars=10) == described(bars=400)


def test_every_scenario_has_a_digest_of_its_own() -> None:
    assert len({described(scenario=scenario) for scenario in Scenario}) == len(Scenario)


def test_another_version_of_the_generator_is_another_market(monkeypatch: pytest.MonkeyPatch) -> None:
    before = described()
    monkeypatch.setattr(synthetic, "GENERATOR", synthetic.GENERATOR + 1)
    assert described() != before


def test_a_change_of_the_market_raises_the_version_of_its_generator() -> None:
    """What version 1 makes; where these values change, ``GENERATOR`` goes up and they are taken anew."""
    assert synthetic.GENERATOR == 1
    batches = take(SyntheticSource(seed=5, warm_days=8, bars=400))
    first, last = batches[0], batches[-1]
    assert first.bars[0].close.tolist() == pytest.approx([72725.4, 3283.38, 114.2])
    assert last.bars[0].close.tolist() == pytest.approx([73872.8, 3352.51, 119.54])
    assert last.bars[0].volume.tolist() == pytest.approx([218.807, 2032.769, 45009.33], rel=1e-5)
    assert (last.books[0].bid, last.books[0].ask) == pytest.approx((73869.1, 73876.5))
    assert last.books[0].depth_usd == pytest.approx(2804619.96)
    assert [price.price for price in batches[11].spot] == pytest.approx([72578.98, 3280.584, 114.08])
    assert last.clock is not None
    assert last.clock.exchange_drift_ms == pytest.approx(34.2)
