"""What features mean: values worked out by hand, side streams, readiness, bad input (B8, X28)."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from core.data.blocks import BarFlag, Bars, ClosedBlock
from core.data.features import FEATURE_SETS, STREAM_FEATURES, FeatureParams, FeatureStore, build_features
from core.errors import DataError
from core.indicators.incremental import Rsi, VolumeZ
from core.types import Timeframe
from tests.support.features import frame_of, play, shipped_params, short_params
from tests.support.market import START_MS, blocks_from_bars, random_walk_bars, take_bars

HOUR = 3_600_000
SHORT = short_params()


def _hour_block(ts: int, idx: list[int], close: list[float]) -> ClosedBlock:
    price = np.array(close)
    flags = np.full(len(idx), BarFlag.CLEAN, dtype=np.uint8)
    return ClosedBlock(Timeframe.H1, ts, np.array(idx, dtype=np.int64), price, price, price, price, np.ones(len(idx)), flags)


def _store(symbols: int = 2) -> FeatureStore:
    return FeatureStore([f"S{i}" for i in range(symbols)], [Timeframe.H1], SHORT)


def _view(store: FeatureStore, name: str) -> list[float]:
    return store.view[name].tolist()


# --- the list of features -------------------------------------------------------------------------


def test_defaults_are_the_shipped_parameters():
    assert FeatureParams() == FeatureParams.of(shipped_params())


def test_the_view_has_every_feature_of_every_timeframe_and_stream():
    """B8."""
    store = FeatureStore(["A", "B", "C"], list(Timeframe), SHORT)
    names = [f"{name}@{tf}" for tf in Timeframe for name in FEATURE_SETS[tf]] + list(STREAM_FEATURES)
    assert sorted(store.view) == sorted(store.ready) == sorted(names)
    assert len(store.view) == len(names)
    assert all(array.shape == (3,) and np.isnan(array).all() for array in store.view.values())
    assert not any(array.any() for array in store.ready.values())


@pytest.mark.parametrize("tf", list(Timeframe))
def test_a_feature_is_of_the_present_bar_whenever_it_is_asked_for(tf):
    """X29: looking late, or only now and then, gives what looking on every bar gives, also where symbols lack bars."""
    walks = [random_walk_bars(seed, 300, tf) for seed in (1, 2)]
    walks.append(take_bars(walks[1], np.arange(300) % 11 != 5))
    always, seldom = (FeatureStore(["A", "B", "C"], [tf], SHORT) for _ in range(2))
    for i, block in enumerate(blocks_from_bars(walks, tf)):
        always.on_closed(block)
        seldom.on_closed(block)
        looked = {name: always.view[f"{name}@{tf}"].copy() for name in FEATURE_SETS[tf]}
        if i % 7 == 0:
            for name, values in looked.items():
                np.testing.assert_array_equal(seldom.view[f"{name}@{tf}"], values, err_msg=name)


def test_the_basis_rank_is_of_the_present_hour_whenever_it_is_asked_for():
    """D5, X29: also where a spot price, or an hour, is missing."""
    rng = np.random.default_rng(3)
    always, seldom = (_store(3) for _ in range(2))
    for hour in range(150):
        ts = START_MS + hour * HOUR
        prices, spots = 100.0 + rng.normal(size=3), 100.0 + rng.normal(size=3)
        idx = [symbol for symbol in range(3) if symbol == 0 or rng.random() < 0.9]
        for store in (always, seldom):
            for symbol in range(3):
                if symbol == 0 or (hour + symbol) % 9:
                    store.on_spot(symbol, ts, spots[symbol])
            store.on_closed(_hour_block(ts, idx, prices[idx].tolist()))
        known = always.view["basis_rank"].copy()
        np.testing.assert_array_equal(always.ready["basis_rank"], np.isfinite(known))
        if hour % 5 == 0:
            np.testing.assert_array_equal(seldom.view["basis_rank"], known)
    assert np.isfinite(known).any()


def test_arrays_are_updated_in_place():
    store = FeatureStore(["A"], [Timeframe.M5], SHORT)
    close = store.view["close@5m"]
    for block in blocks_from_bars([random_walk_bars(1, 3, Timeframe.M5)], Timeframe.M5):
        store.on_closed(block)
        assert close[0] == block.close[0]


def test_a_timeframe_that_was_not_asked_for_is_passed_over():
    store = _store(1)
    for block in blocks_from_bars([random_walk_bars(1, 3, Timeframe.M5)], Timeframe.M5):
        store.on_closed(block)
    assert not store.ready["close@1h"].any()


# --- values worked out independently ----------------------------------------------------------------


def test_features_are_what_their_definitions_say():
    """B8: each from the bars, by plain arithmetic."""
    tf, count = Timeframe.H1, 320
    bars = random_walk_bars(2, count, tf)
    value = {name: values[-1] for name, values in play([bars], tf, SHORT)[0].items()}
    high, low, close, volume = (column.tolist() for column in (bars.high, bars.low, bars.close, bars.volume))

    def ema(bars_back: int, end: int) -> float:
        mean = math.fsum(close[:bars_back]) / bars_back
        for price in close[bars_back:end]:
            mean += (price - mean) * 2.0 / (bars_back + 1)
        return mean

    def atr(end: int) -> float:
        ranges = [max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1])) for i in range(1, end)]
        mean = math.fsum(ranges[:14]) / 14
        for reach in ranges[14:]:
            mean = (mean * 13 + reach) / 14
        return mean

    def sigma(end: int) -> float:
        returns = [math.log(close[i] / close[i - 1]) for i in range(1, end)]
        mean = math.fsum(returns[:40]) / 40
        variance = math.fsum((r - mean) ** 2 for r in returns[:40]) / 40
        for r in returns[40:]:
            change = r - mean
            mean += change * 2 / 41
            variance = (1 - 2 / 41) * (variance + change * change * 2 / 41)
        return math.sqrt(variance)

    returns = [math.log(close[i] / close[i - 1]) for i in range(count - 168, count)]
    mean_return = math.fsum(returns) / 168
    atr_pct = [100 * atr(end) / close[end - 1] for end in range(count - 59, count + 1)]
    mean_volume = math.fsum(volume[-168:]) / 168
    expected = {
        "atr": atr(count),
        "atr_pct": atr_pct[-1],
        "ema50": ema(50, count),
        "ema50_prev": ema(50, count - 1),
        "ema200": ema(200, count),
        "slope": (ema(200, count) - ema(200, count - 20)) / atr(count),
        "atr_rank": sum(v <= atr_pct[-1] for v in atr_pct) / 60,
        "hi72": max(high[-72:]),
        "shock": math.log(close[-1] / close[-7]) / (sigma(count - 6) * math.sqrt(6)),
        "ret6_pct": 100 * (close[-1] / close[-7] - 1),
        "hv": math.sqrt(math.fsum((r - mean_return) ** 2 for r in returns) / 167 * 8760),
        "volume_z": (volume[-1] - mean_volume) / math.sqrt(math.fsum((v - mean_volume) ** 2 for v in volume[-168:]) / 168),
        "close_location": (close[-1] - low[-1]) / (high[-1] - low[-1]),
    }
    for name, wanted in expected.items():
        assert value[name] == pytest.approx(wanted, rel=1e-9), name


def test_channels_are_those_of_the_bars_before_the_present_one():
    """D2: a breakout compares the close with what stood before it."""
    bars = random_walk_bars(3, 80, Timeframe.H4)
    value = {name: values[-1] for name, values in play([bars], Timeframe.H4, SHORT)[0].items()}
    for bars_back in (20, 55):
        assert value[f"donchian_hi{bars_back}"] == max(bars.high[-1 - bars_back : -1])
        assert value[f"donchian_lo{bars_back}"] == min(bars.low[-1 - bars_back : -1])


def test_ranks_of_volume_and_range_count_the_present_bar():
    """D3."""
    bars = random_walk_bars(4, 90, Timeframe.M15)
    value = {name: values[-1] for name, values in play([bars], Timeframe.M15, SHORT)[0].items()}
    assert value["volume_rank480"] == sum(v <= bars.volume[-1] for v in bars.volume[-50:]) / 50


def test_a_flat_market_gives_neutral_values_not_unknown_ones():
    """C1: no 0/0 anywhere; a rank of equal values is 1."""
    flat = np.full(500, 250.3)
    bars = Bars(START_MS + Timeframe.M5.ms * np.arange(500), flat, flat, flat, flat, np.zeros(500))
    value = {name: values[-1] for name, values in play([bars], Timeframe.M5, SHORT)[0].items()}
    assert (value["rsi"], value["close_location"], value["volume_z"], value["shock"]) == (50.0, 0.5, 0.0, 0.0)
    assert (value["atr"], value["ret6_pct"], value["atr_rank480"]) == (0.0, 0.0, 1.0)


def test_each_feature_becomes_ready_when_its_own_window_is_full():
    """X28: number of bars after which each is known, with the shipped windows."""
    needed = {
        Timeframe.H1: {
            "close": 1, "close_location": 1, "atr": 15, "atr_pct": 15, "adx": 28, "ema50": 50, "ema50_prev": 51, "ema200": 200,
            "slope": 220, "atr_rank": 1014, "hi72": 72, "shock": 207, "ret6_pct": 7, "hv": 169, "volume_z": 168,
        },
        Timeframe.M15: {
            "rsi": 15, "bb_mid": 20, "bb_width": 20, "volume_z": 480, "atr_rank480": 494, "volume_rank480": 480,
            "donchian_hi20": 21, "donchian_lo20": 21,
        },
        Timeframe.H4: {"donchian_hi20": 21, "donchian_hi55": 56, "donchian_lo55": 56, "hi72": 18, "volume_z": 42},
    }  # fmt: skip
    params = shipped_params()
    for tf, wanted in needed.items():
        bars = random_walk_bars(5, max(wanted.values()) + 1, tf)
        live = play([bars], tf, params)[0]
        assert {name: int(np.argmax(np.isfinite(live[name]))) + 1 for name in wanted} == wanted


@pytest.fixture
def looks(monkeypatch) -> Counter[str]:
    """How often the mean of gains, and a week of volumes, were gone through."""
    counted: Counter[str] = Counter()

    def count(look: type) -> None:
        run = look.run

        def counting(self) -> None:
            counted[look.__name__] += 1
            run(self)

        monkeypatch.setattr(look, "run", counting)

    count(Rsi)
    count(VolumeZ)
    return counted


def test_nobody_waits_for_a_symbol_that_has_no_bars_on_a_timeframe(looks):
    """C1: a coarser base beside finer ones; windows are gone through until they are full, and then only on demand."""
    walks = [random_walk_bars(seed, 700, Timeframe.M5) for seed in (1, 2)]
    store = FeatureStore(["A", "B", "C"], [Timeframe.M5], SHORT)
    for block in blocks_from_bars([walks[0], take_bars(walks[1], slice(0, 0)), walks[1]], Timeframe.M5):
        store.on_closed(block)
    assert store.ready["volume_z@5m"].tolist() == [True, False, True]
    assert looks == {"Rsi": 15, "VolumeZ": 480}
    assert np.isfinite(store.view["volume_z@5m"][[0, 2]]).all()
    assert looks == {"Rsi": 15, "VolumeZ": 481}


def test_nobody_waits_for_a_symbol_that_stopped_before_its_windows_were_full(looks):
    """C1."""
    walks = [random_walk_bars(seed, 700, Timeframe.M5) for seed in (1, 2)]
    store = FeatureStore(["A", "B"], [Timeframe.M5], SHORT)
    for block in blocks_from_bars([walks[0], take_bars(walks[1], slice(100, 130))], Timeframe.M5):
        store.on_closed(block)
    assert store.ready["volume_z@5m"].tolist() == [True, False]
    assert looks["VolumeZ"] == 480


@pytest.mark.parametrize("tf", list(Timeframe))
def test_a_symbol_that_begins_late_is_ready_when_it_would_be_alone(tf, looks):
    """X28: whether it begins while the others warm up, or long after they are ready."""
    walk = random_walk_bars(1, 1300, tf)
    late = [take_bars(random_walk_bars(2, 1300, tf), slice(at, at + 560)) for at in (90, 700)]
    late[1] = take_bars(late[1], np.arange(560) % 9 != 4)
    together = FeatureStore(["A", "B", "C"], [tf], SHORT)
    alone = [FeatureStore(["A"], [tf], SHORT) for _ in range(3)]
    for block in blocks_from_bars([walk, *late], tf):
        before = looks.copy()
        together.on_closed(block)
        quiet = looks == before
        for row, who in enumerate(block.idx.tolist()):
            own = (getattr(block, name)[row : row + 1] for name in ("open", "high", "low", "close", "volume", "flags"))
            alone[who].on_closed(ClosedBlock(tf, block.ts, np.zeros(1, dtype=np.int64), *own))
        for who, store in enumerate(alone):
            assert {name: bool(ready[who]) for name, ready in together.ready.items()} == {
                name: bool(ready[0]) for name, ready in store.ready.items()
            }
    assert all(together.ready[f"{name}@{tf}"].all() for name in FEATURE_SETS[tf])
    assert quiet


# --- funding ----------------------------------------------------------------------------------------


def test_funding_keeps_the_last_two_settlements():
    """B8: funding deltas."""
    store = _store()
    store.on_funding(1, START_MS, 0.0001)
    assert store.view["funding"][1] == 0.0001
    assert not store.ready["funding_delta"].any()
    store.on_funding(1, START_MS + 8 * HOUR, 0.0004)
    assert (store.view["funding_prev"][1], store.view["funding"][1]) == (0.0001, 0.0004)
    assert store.view["funding_delta"][1] == 0.0004 - 0.0001
    assert not any(store.ready[name][0] for name in STREAM_FEATURES)


def test_funding_shares_are_strict_and_wait_for_a_full_window():
    """D5: most settlements are equal to the default, so ties must count on neither side."""
    store = _store(1)
    rates = [0.0001] * 20 + [-0.0002] * 4 + [0.0003] * 5
    for at, rate in enumerate(rates):
        store.on_funding(0, START_MS + at * 8 * HOUR, rate)
        assert not store.ready["funding_below"][0]
    store.on_funding(0, START_MS + 29 * 8 * HOUR, 0.0001)
    assert store.ready["funding_below"][0]
    assert (store.view["funding_below"][0], store.view["funding_above"][0]) == (4 / 30, 5 / 30)


def test_a_settlement_that_is_known_already_changes_nothing():
    """B7: back-fill after a reconnect repeats what was missed and more."""
    store = _store(1)
    for at in range(3):
        store.on_funding(0, START_MS + at * 8 * HOUR, 0.0001 * at)
    before = {name: _view(store, name) for name in STREAM_FEATURES}
    store.on_funding(0, START_MS + 2 * 8 * HOUR, 0.5)
    store.on_funding(0, START_MS, 0.5)
    store.on_funding(0, START_MS + 24 * HOUR, float("nan"))
    np.testing.assert_equal({name: _view(store, name) for name in STREAM_FEATURES}, before)


def test_the_age_of_funding_counts_hours_to_the_last_hourly_close():
    store = _store(2)
    store.on_funding(0, START_MS, 0.0001)
    assert not store.ready["funding_age_h"].any()
    store.on_closed(_hour_block(START_MS, [0, 1], [1.0, 1.0]))
    assert store.view["funding_age_h"][0] == 0.0
    store.on_closed(_hour_block(START_MS + HOUR, [0, 1], [1.0, 1.0]))
    store.on_closed(_hour_block(START_MS + 2 * HOUR, [1], [1.0]))
    np.testing.assert_equal(_view(store, "funding_age_h"), [1.0, np.nan])
    store.on_closed(_hour_block(START_MS + 3 * HOUR, [0, 1], [1.0, 1.0]))
    assert store.view["funding_age_h"][0] == 3.0
    store.on_funding(0, START_MS + 3 * HOUR, 0.0002)
    assert store.view["funding_age_h"][0] == 0.0


# --- basis ------------------------------------------------------------------------------------------


def test_the_basis_needs_the_spot_price_of_the_very_close():
    """B8: an old spot price is no price."""
    store = _store(2)
    store.on_spot(0, START_MS, 100.0)
    store.on_closed(_hour_block(START_MS, [0, 1], [101.0, 50.0]))
    assert store.view["basis"][0] == 101.0 / 100.0 - 1.0
    assert store.ready["basis"].tolist() == [True, False]
    store.on_closed(_hour_block(START_MS + HOUR, [0, 1], [102.0, 50.0]))
    assert not store.ready["basis"].any()
    store.on_spot(0, START_MS + 2 * HOUR, 100.0)
    store.on_closed(_hour_block(START_MS + 2 * HOUR, [0, 1], [103.0, 50.0]))
    assert store.view["basis"][0] == 103.0 / 100.0 - 1.0
    assert not store.ready["basis_delta"][0]
    store.on_spot(0, START_MS + 3 * HOUR, 100.0)
    store.on_closed(_hour_block(START_MS + 3 * HOUR, [0, 1], [102.0, 50.0]))
    assert store.view["basis_delta"][0] == (102.0 / 100.0 - 1.0) - (103.0 / 100.0 - 1.0)


def test_the_basis_of_a_symbol_whose_hour_did_not_close_stays():
    store = _store(2)
    for symbol in (0, 1):
        store.on_spot(symbol, START_MS, 100.0)
    store.on_closed(_hour_block(START_MS, [0, 1], [101.0, 102.0]))
    store.on_spot(1, START_MS + HOUR, 100.0)
    store.on_closed(_hour_block(START_MS + HOUR, [1], [103.0]))
    assert _view(store, "basis") == [101.0 / 100.0 - 1.0, 103.0 / 100.0 - 1.0]


# --- streams: bar by bar against the whole history ----------------------------------------------------


def _streams(seed: int, hours: int, first: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    settled = first + 8 * HOUR * np.arange(hours // 8 + 1)
    funding = pd.DataFrame({"ts": settled, "funding_rate": np.round(rng.normal(1e-4, 5e-5, settled.size), 5)})
    known = first + HOUR * np.flatnonzero(rng.random(hours) > 0.1)
    return funding, pd.DataFrame({"ts": known, "close": 100.0 + rng.normal(0.0, 0.1, known.size)})


def test_stream_features_are_the_same_bar_by_bar_and_over_the_whole_history():
    """B9, with hours that lack a spot price and settlements enough for a full window."""
    hours, tf = 320, Timeframe.H1
    markets = [random_walk_bars(20 + i, hours, tf) for i in range(3)]
    streams = [_streams(i, hours, START_MS + (5 + i) * HOUR) for i in range(2)]
    store = FeatureStore(["A", "B", "C"], [tf], SHORT)
    events = [
        ({int(t): r for t, r in funding.itertuples(index=False)}, {int(t): p for t, p in spot.itertuples(index=False)})
        for funding, spot in streams
    ]
    seen = []
    for block in blocks_from_bars(markets, tf):
        for symbol, (rates, spots) in enumerate(events):
            if block.ts in rates:
                store.on_funding(symbol, block.ts, rates[block.ts])
            if block.ts in spots:
                store.on_spot(symbol, block.ts, spots[block.ts])
        store.on_closed(block)
        seen.append([store.view[name].copy() for name in STREAM_FEATURES])
        for name in STREAM_FEATURES:
            np.testing.assert_array_equal(store.ready[name], np.isfinite(store.view[name]))
    live = np.array(seen)
    for symbol, (funding, spot) in enumerate(streams):
        whole = build_features(frame_of(markets[symbol], tf), {"funding": funding, "spot": spot}, SHORT)
        for at, name in enumerate(STREAM_FEATURES):
            assert np.isfinite(live[:, at, symbol]).any(), name
            np.testing.assert_allclose(live[:, at, symbol], whole[name].to_numpy(), rtol=1e-8, atol=1e-12, err_msg=name)
    assert np.isnan(live[:, :, 2]).all()


def test_stream_features_do_not_look_ahead():
    """B8: truncation of bars and of streams at the same moment."""
    hours, cut, tf = 320, 290, Timeframe.H1
    frame = frame_of(random_walk_bars(30, hours, tf), tf)
    funding, spot = _streams(3, hours, START_MS)
    whole = build_features(frame, {"funding": funding, "spot": spot}, SHORT)
    now = int(frame["ts"].iloc[cut - 1]) + tf.ms
    past = {"funding": funding[funding["ts"] <= now], "spot": spot[spot["ts"] <= now]}
    for name, values in build_features(frame.iloc[:cut], past, SHORT).items():
        np.testing.assert_array_equal(values.to_numpy(), whole[name].to_numpy()[:cut], err_msg=name)


def test_funding_is_given_on_other_timeframes_as_of_their_close():
    tf = Timeframe.M15
    frame = frame_of(random_walk_bars(31, 60, tf), tf)
    funding = pd.DataFrame({"ts": [START_MS + 2 * HOUR, START_MS + 10 * HOUR], "funding_rate": [0.0001, 0.0003]})
    features = build_features(frame, {"funding": funding}, SHORT)
    close_ts = frame["ts"] + tf.ms
    assert features["funding"].notna().tolist() == (close_ts >= START_MS + 2 * HOUR).tolist()
    assert features["funding"].iloc[-1] == 0.0003
    assert features["funding_age_h"].iloc[-1] == 5.0
    assert "basis" not in features


# --- the whole-history form at the edges ---------------------------------------------------------------


def test_the_whole_history_form_keeps_the_index_and_its_input():
    """B8: one shared ts index."""
    frame = frame_of(random_walk_bars(32, 70, Timeframe.H1), Timeframe.H1)
    copy = frame.copy(deep=True)
    features = build_features(frame, params=SHORT)
    pd.testing.assert_frame_equal(frame, copy)
    by_index = build_features(frame.set_index("ts"), params=SHORT)
    for name, series in features.items():
        assert series.index.tolist() == frame["ts"].tolist()
        pd.testing.assert_series_equal(series, by_index[name])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: f.drop(columns="volume"), "no column volume"),
        (lambda f: f.iloc[:0], "empty"),
        (lambda f: f.iloc[::-1], "did not rise"),
        (lambda f: pd.concat([f, f.iloc[-1:]]), "did not rise"),
        (lambda f: f.assign(close=f["close"].where(f.index != 5)), "close held a value"),
        (lambda f: f.assign(tf=["1h"] * 9 + ["4h"]), "2 values of tf"),
        (lambda f: f.assign(ts=pd.to_datetime(f["ts"], unit="ms")), "expected integer ms"),
    ],
)
def test_damaged_bars_are_refused(damage, says):
    """B5: nothing is guessed."""
    with pytest.raises(DataError, match=says):
        build_features(damage(frame_of(random_walk_bars(33, 10, Timeframe.H1), Timeframe.H1)))


def test_real_bars_give_the_same_both_ways(shared_data):
    """B9 on a recording."""
    table = pd.read_parquet(shared_data / "perp_1h" / "BTCUSDT.parquet").iloc[:1500]
    bars = Bars(*(table[name].to_numpy() for name in Bars._fields))
    live = play([bars], Timeframe.H1, shipped_params())[0]
    whole = build_features(frame_of(bars, Timeframe.H1))
    for name, values in live.items():
        np.testing.assert_allclose(values, whole[name].to_numpy(), rtol=1e-8, atol=1e-9, err_msg=name)
