from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.blocks import Bars
from core.data.quality import select
from core.data.sources.replay import ReplaySource
from core.errors import BrainError, SourceError
from core.types import Timeframe
from tests.core.data.making import BTC, DAY, ETH, HOUR, MINUTE, SOL, T0, at, random_bars, write, write_funding

M1, M5, M15, H1, H4, D1 = Timeframe


def take(source, after_ts=None):
    async def collect():
        return [batch async for batch in source.batches(after_ts)]

    return asyncio.run(collect())


def column(path, name="ts"):
    return pd.read_parquet(path)[name].to_numpy()


# --- what is played ---------------------------------------------------------------------------------


def test_each_symbol_is_played_on_the_finest_bars_that_contain_the_start(shared_data):
    source = ReplaySource(shared_data, None, at("2024-01-01"))
    assert source.info.symbols == (BTC, ETH, SOL)
    assert source.info.base_tf == {BTC: M5, ETH: M15, SOL: M5}
    assert source.info.start == at("2024-01-01")
    assert source.info.end == at("2024-12-30 23:55")  # where BTC and SOL end; ETH would go on
    assert source.info.batches == (source.info.end - source.info.start) // M5.ms
    assert not source.info.has_books
    (left_out,) = [note for note in source.info.notes if note.startswith("left out")]
    assert "ADA, APT, ATOM, BNB, DOGE, DOT, FIL, LINK, LTC, NEAR, OP, TRX" in left_out


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2023-10-31", {BTC: M5, ETH: M15, SOL: H1}),
        ("2022-12-31", {BTC: H1, ETH: H1, SOL: H1}),
        ("2023-11-01", {BTC: M5, ETH: M15, SOL: M5}),
    ],
)
def test_the_base_depends_on_the_start(shared_data, start, expected):
    end = at(start) + 2 * DAY
    assert ReplaySource(shared_data, list(expected), at(start), end).info.base_tf == expected


def test_where_nothing_is_fine_everything_is_played(shared_data):
    source = ReplaySource(shared_data, None, at("2021-05-01"), at("2021-05-02"))
    assert set(source.info.base_tf.values()) == {H1}
    assert [symbol.split("/")[0] for symbol in source.info.symbols] == ["ADA", "BTC", "ETH", "LTC"]
    assert any(note.startswith("left out, no bars at the start: APT") for note in source.info.notes)


@pytest.mark.parametrize(
    ("folder", "start", "bases"),
    [
        (".", "2023-11-01", {BTC: M5, ETH: M15, SOL: M5}),
        ("crash_2022", "2022-06-01", {BTC: M5, ETH: M5}),
        ("month_2023", "2023-07-19", {BTC: M1, ETH: M1, SOL: M1}),  # the first midnight after SOL's 07-18 11:14
    ],
)
def test_without_a_start_it_is_the_first_midnight_at_which_all_are_there(shared_data, folder, start, bases):
    info = ReplaySource(shared_data / folder, None).info
    assert info.start == at(start)
    assert info.base_tf == bases


def test_a_symbol_that_begins_inside_the_range_joins_late(shared_data):
    source = ReplaySource(shared_data, [ETH, SOL], at("2022-12-30"), at("2023-01-02"))
    assert source.info.base_tf == {ETH: H1, SOL: H1}
    assert "SOL/USDT:USDT joins at 2023-01-01 00:00, its first bar" in source.info.notes
    sizes = [batch.bars[0].idx.tolist() for batch in take(source)]
    assert sizes == [[0]] * 48 + [[0, 1]] * 24


def test_a_symbol_whose_recording_ends_simply_stops(shared_data):
    source = ReplaySource(shared_data, [BTC, ETH], at("2024-12-30"), at("2024-12-31 12:00"))
    assert source.info.end == at("2024-12-31 12:00")
    assert "BTC/USDT:USDT ends at 2024-12-30 23:55, before the range does" in source.info.notes
    assert {block.idx.tolist()[0] for block in take(source)[-1].bars} == {1}


def test_spot_markets_can_be_played_too(shared_data):
    source = ReplaySource(shared_data, ["BINANCE:BTCUSDT"], at("2024-01-01"), at("2024-01-02"))
    assert source.info.base_tf == {"BTC/USDT": H1}
    recorded = pd.read_parquet(shared_data / "spot_1h" / "BTCUSDT.parquet").set_index("ts")
    first = take(source)[0].bars[0]
    assert first.close[0] == recorded.loc[at("2024-01-01"), "close"]
    assert source.info.missing == ()


# --- the range --------------------------------------------------------------------------------------


def test_the_start_is_inclusive_and_the_end_exclusive(shared_data):
    batches = take(ReplaySource(shared_data, [BTC], T0, T0 + HOUR))
    assert [batch.ts for batch in batches] == [T0 + k * M5.ms for k in range(1, 13)]
    assert batches[0].bars[0].open_ts.tolist() == [T0]


def test_bars_are_those_of_the_file(shared_data):
    frame = pd.read_parquet(shared_data / "perp_5m" / "SOLUSDT.parquet").set_index("ts").loc[T0 : T0 + DAY - 1]
    blocks = [batch.bars[0] for batch in take(ReplaySource(shared_data, [SOL], T0, T0 + DAY))]
    assert np.concatenate([b.open_ts for b in blocks]).tolist() == frame.index.tolist()
    for name in ("open", "high", "low", "close", "volume"):
        assert np.concatenate([getattr(b, name) for b in blocks]).tolist() == frame[name].tolist()


@pytest.mark.parametrize("folder", [".", "crash_2022", "month_2023"])
def test_nothing_in_a_batch_is_later_than_its_time(shared_data, folder):
    """No look-ahead, and nothing is handed out twice or lost between batches"""
    probe = ReplaySource(shared_data / folder, None)
    source = ReplaySource(shared_data / folder, None, probe.info.start, probe.info.start + 3 * DAY)
    before = source.info.start
    for batch in take(source):
        assert batch.ts > before
        for block in batch.bars:
            assert (block.open_ts + block.tf.ms == batch.ts).all()
        for item in (*batch.funding, *batch.spot, *batch.marks):
            assert before < item.ts <= batch.ts
        before = batch.ts


def test_side_streams_are_whole(shared_data):
    start, end = at("2024-03-01"), at("2024-03-08")
    batches = take(ReplaySource(shared_data, [ETH, BTC], start, end))
    settled = {symbol: [f for b in batches for f in b.funding if f.symbol == symbol] for symbol in (BTC, ETH)}
    recorded = pd.read_parquet(shared_data / "funding" / "BTCUSDT.parquet").set_index("ts").loc[start + 1 : end]
    assert [f.ts for f in settled[BTC]] == recorded.index.tolist()
    assert [f.rate for f in settled[BTC]] == recorded["funding_rate"].tolist()
    assert {f.interval_ms for f in settled[BTC]} == {8 * HOUR}
    assert len(settled[ETH]) == 21
    spot = pd.read_parquet(shared_data / "spot_1h" / "ETHUSDT.parquet").set_index("ts")
    mark = pd.read_parquet(shared_data / "mark_1h" / "ETHUSDT.parquet").set_index("ts")
    for stream, frame in (("spot", spot), ("marks", mark)):
        prices = [p for b in batches for p in getattr(b, stream) if p.symbol == ETH]
        assert [p.ts for p in prices] == list(range(start + HOUR, end + 1, HOUR))
        assert [p.price for p in prices] == frame.loc[[p.ts - HOUR for p in prices], "close"].tolist()


def test_only_the_first_batch_reads_the_clock(shared_data):
    first, *rest = take(ReplaySource(shared_data, [BTC], T0, T0 + HOUR))
    assert first.clock is not None
    assert first.clock.exchange_drift_ms == 0.0
    assert {batch.clock for batch in rest} == {None}


def test_a_resumed_replay_goes_on_where_it_stopped(shared_data):
    """X43"""
    source = ReplaySource(shared_data, None, at("2024-01-06 07:00"), at("2024-01-06 10:00"))
    everything = take(source)
    for stop in (everything[10].ts, everything[12].ts - 1, source.info.end):
        rest = take(source, after_ts=stop)
        expected = [batch for batch in everything if batch.ts > stop]
        assert [batch.ts for batch in rest] == [batch.ts for batch in expected]
        assert [batch.funding for batch in rest] == [batch.funding for batch in expected]
        assert [batch.spot for batch in rest] == [batch.spot for batch in expected]


# --- history ----------------------------------------------------------------------------------------


def test_history_is_stitched_from_the_finest_recordings(shared_data):
    """SOL: hourly recordings before 2023-11, hours built from 5m since"""
    source = ReplaySource(shared_data, [SOL], at("2023-11-02"), at("2023-11-03"))
    bars = source.history(SOL, H1, at("2023-11-02"), 48)
    assert bars.ts.tolist() == list(range(at("2023-10-31"), at("2023-11-02"), HOUR))
    hourly = pd.read_parquet(shared_data / "perp_1h" / "SOLUSDT.parquet").set_index("ts")
    assert bars.volume[:24].tolist() == hourly.loc[bars.ts[:24], "volume"].tolist()
    assert source.history(SOL, M5, at("2023-11-02"), 2000).ts[0] == at("2023-11-01")
    days = source.history(SOL, D1, at("2023-11-02"), 200)
    assert len(days) == 200
    assert days.close[-1] == bars.close[-1]
    assert days.high[-2] == hourly.loc[at("2023-10-31") : at("2023-10-31 23:00"), "high"].max()


def test_history_has_only_what_can_be_built(shared_data):
    source = ReplaySource(shared_data, [ETH], T0, T0 + DAY)
    assert len(source.history(ETH, M5, T0, 100)) == 0  # ETH has no bars finer than 15m
    assert len(source.history(ETH, M15, T0, 100)) == 100


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(minutes=st.integers(-5000, 2880), tf=st.sampled_from(list(Timeframe)), limit=st.integers(1, 300))
def test_history_never_holds_a_bar_that_closes_later(shared_crash, minutes, tf, limit):
    """B8"""
    before = shared_crash.info.start + minutes * MINUTE
    bars = shared_crash.history(BTC, tf, before, limit)
    assert len(bars) <= limit
    assert (bars.ts + tf.ms <= before).all()
    assert (np.diff(bars.ts) > 0).all()
    assert (bars.ts % tf.ms == 0).all()
    for rates in (shared_crash.funding_history(BTC, before, limit), shared_crash.spot_history(BTC, before, limit)):
        assert len(rates) <= limit
        assert all(item.ts <= before for item in rates)


@pytest.fixture(scope="module")
def shared_crash(request):
    folder = request.getfixturevalue("shared_data") / "crash_2022"
    return ReplaySource(folder, [BTC], at("2022-06-10"), at("2022-06-12"))


def test_settlements_before_the_first_batch_are_in_the_history(shared_data):
    source = ReplaySource(shared_data, [BTC], T0, T0 + DAY)
    past = source.funding_history(BTC, source.info.start, 5)
    later = [f for batch in take(source) for f in batch.funding]
    hours = [(f.ts - T0) / HOUR for f in (*past, *later)]
    assert hours == [-32, -24, -16, -8, 0, 8, 16, 24]


# --- what is missing is said ------------------------------------------------------------------------


def test_missing_streams_are_named_with_what_is_there(shared_data):
    info = ReplaySource(shared_data / "month_2023", None).info
    assert info.missing == (
        "SOL/USDT:USDT: no funding in month_2023; funding is there for BTC, ETH",
        "SOL/USDT:USDT: no spot in month_2023, so no basis; spot is there for BTC, ETH",
    )
    assert info.has_funding == {BTC: True, ETH: True, SOL: False}
    assert info.has_spot == {BTC: True, ETH: True, SOL: False}


def test_a_stream_that_begins_late_is_named(shared_data):
    missing = ReplaySource(shared_data, [SOL], T0, T0 + 10 * DAY).info.missing
    assert "SOL/USDT:USDT: funding in data begins 2024-01-06 08:00, the range 2024-01-01 00:00" in missing


def test_an_unknown_symbol_is_answered_with_those_that_are_near(shared_data):
    with pytest.raises(SourceError) as caught:
        ReplaySource(shared_data, ["BTX/USDT:USDT"], T0)
    assert "has no candles of BTX/USDT:USDT" in caught.value.what
    assert BTC in caught.value.what
    assert caught.value.help.startswith("did you mean")
    assert BTC in caught.value.help


def test_a_range_without_bars_is_answered_with_the_ranges_that_have_some(shared_data):
    with pytest.raises(SourceError, match=r"no candles of SOL.* from 2020-01-01 00:00 to 2020-02-01.*SOLUSDT 5m 2023-11-01"):
        ReplaySource(shared_data, [SOL], at("2020-01-01"), at("2020-02-01"))
    with pytest.raises(SourceError, match=r"no candles of any symbol from 2018-01-01"):
        ReplaySource(shared_data, None, at("2018-01-01"))
    with pytest.raises(SourceError, match=r"no candles of BTC"):
        ReplaySource(shared_data, [BTC], T0, T0)


def test_a_symbol_of_no_known_form_is_refused(shared_data):
    with pytest.raises(BrainError, match="expected BASE/QUOTE:SETTLE"):
        ReplaySource(shared_data, ["bitcoin"], T0)
    with pytest.raises(SourceError, match="at least one"):
        ReplaySource(shared_data, [], T0)
    with pytest.raises(SourceError, match="this replay plays BTC"):
        ReplaySource(shared_data, [BTC], T0, T0 + HOUR).history(ETH, H1, T0, 1)


# --- folders of one's own ---------------------------------------------------------------------------


def folder_of(path, **recordings):
    for name, bars in recordings.items():
        kind, tf, symbol = name.split("_")
        write(path / f"{kind}_{tf}", symbol, bars, volume=kind != "mark")
    return path


def test_a_folder_that_cannot_be_used_is_answered_with_what_to_do(tmp_path):
    with pytest.raises(SourceError, match="does not exist") as caught:
        ReplaySource(tmp_path / "nowhere")
    assert caught.value.help
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(SourceError, match="is a file"):
        ReplaySource(file)
    (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match="holds no candles; in it: file, other"):
        ReplaySource(tmp_path)
    (tmp_path / "perp_5m").mkdir()
    with pytest.raises(SourceError, match="holds no candles"):
        ReplaySource(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    folder_of(tmp_path, perp_5m_BTCUSDT=random_bars(50, M5.ms))
    (tmp_path / "perp_5m" / "ETHUSDT.parquet").write_text("not parquet")
    with pytest.raises(SourceError, match=r"ETHUSDT\.parquet could not be read") as caught:
        ReplaySource(tmp_path)
    assert "move it out" in caught.value.help


def test_wrong_columns_are_named(tmp_path):
    bars = random_bars(50, M5.ms)
    write(tmp_path / "perp_5m", "BTCUSDT", bars, volume=False)
    with pytest.raises(SourceError, match=r"lacks volume; it has ts, open, high, low, close"):
        ReplaySource(tmp_path)
    write(tmp_path / "perp_5m", "BTCUSDT", Bars(bars.ts.astype(float), *bars[1:]))
    with pytest.raises(SourceError, match=r"column ts is double, expected an integer"):
        ReplaySource(tmp_path)
    frame = pd.DataFrame(bars._asdict()).astype({"close": str})
    frame.to_parquet(tmp_path / "perp_5m" / "BTCUSDT.parquet")
    with pytest.raises(SourceError, match=r"column close is .*string, expected a number"):
        ReplaySource(tmp_path)
    pd.DataFrame(bars._asdict()).assign(ts=pd.array([None, *bars.ts[1:].tolist()], dtype="Int64")).to_parquet(
        tmp_path / "perp_5m" / "BTCUSDT.parquet"
    )
    with pytest.raises(SourceError, match="rows without ts"):
        ReplaySource(tmp_path)


def test_rows_out_of_order_or_twice_are_put_right_and_told(tmp_path):
    bars = random_bars(600, M5.ms)
    order = np.concatenate([[1, 0], np.arange(2, 600), [300]])
    folder_of(tmp_path, perp_5m_BTCUSDT=select(bars, order))
    source = ReplaySource(tmp_path, None, T0)
    assert [batch.bars[0].open_ts[0] for batch in take(source)] == bars.ts.tolist()
    assert any("rows were out of order or twice; sorted, 1 repeated rows left out" in note for note in source.info.notes)


def test_holes_and_impossible_bars_are_left_for_the_feed_but_never_reach_history(tmp_path):
    bars = random_bars(600, M5.ms)
    bars.high[100] = 0.0
    keep = np.flatnonzero(np.arange(600) != 200)
    folder_of(tmp_path, perp_5m_BTCUSDT=select(bars, keep), perp_5m_ETHUSDT=random_bars(600, M5.ms, seed=3))
    source = ReplaySource(tmp_path, None, T0)
    batches = take(source)
    assert len(batches) == 600
    assert batches[100].bars[0].high[0] == 0.0
    assert batches[200].bars[0].idx.tolist() == [1]
    assert {T0 + 100 * M5.ms, T0 + 200 * M5.ms} & set(source.history(BTC, M5, source.info.end, 600).ts.tolist()) == set()


def test_names_that_are_no_pair_are_left_out_and_told(tmp_path):
    bars = random_bars(600, M5.ms)
    folder_of(tmp_path, perp_5m_BTCUSDT=bars, perp_5m_NONSENSE=bars)
    (tmp_path / "spot_gappy").mkdir()
    shutil.copy(tmp_path / "perp_5m" / "BTCUSDT.parquet", tmp_path / "spot_gappy" / "BTCUSDT.parquet")
    info = ReplaySource(tmp_path, None, T0).info
    assert info.symbols == (BTC,)
    assert "perp_5m/NONSENSE.parquet left out: NONSENSE is no known pair" in info.notes


def test_the_funding_interval_is_the_spacing_of_the_rows(tmp_path):
    bars = random_bars(600, M5.ms)
    folder_of(tmp_path, perp_5m_BTCUSDT=bars, perp_5m_ETHUSDT=bars)
    hours = [-12, -8, -4, 0, 8, 16, 40, 44]
    write_funding(tmp_path, "BTCUSDT", [T0 + h * HOUR for h in hours], [0.0001] * 7 + [float("nan")])
    write_funding(tmp_path, "ETHUSDT", [T0 + HOUR], [0.0002])
    source = ReplaySource(tmp_path, None, T0)
    rates = source.funding_history(BTC, T0 + 60 * HOUR, 100)
    assert [(f.interval_ms // HOUR) for f in rates] == [4, 4, 4, 4, 8, 8, 8]  # 24 h is a hole; NaN is no settlement
    assert [f.interval_ms // HOUR for f in source.funding_history(ETH, T0 + 60 * HOUR, 100)] == [8]
    assert any("ETH/USDT:USDT: funding in" in line for line in source.info.missing)


def test_finer_spot_and_finer_marks_are_used(tmp_path):
    minutes, quarter = random_bars(600, M5.ms, seed=1), random_bars(600, M5.ms, seed=2)
    folder_of(tmp_path, perp_5m_BTCUSDT=minutes, spot_5m_BTCUSDT=quarter, mark_5m_BTCUSDT=minutes)
    batches = take(ReplaySource(tmp_path, None, T0))
    spot = [p for b in batches for p in b.spot]
    assert [p.price for p in spot] == quarter.close[11::12].tolist()
    assert [p.price for b in batches for p in b.marks] == minutes.close.tolist()


# --- which recordings were read, as one digest -------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    """Three days of hourly and 5m candles of two symbols, funding, hourly spot and mark of one."""
    folder = tmp_path / "made"
    for seed, name in enumerate(("BTCUSDT", "ETHUSDT")):
        write(folder / "perp_5m", name, random_bars(864, M5.ms, seed=seed))
        write(folder / "perp_1h", name, random_bars(72, H1.ms, seed=seed))
    write(folder / "spot_1h", "BTCUSDT", random_bars(72, H1.ms, seed=5))
    write(folder / "mark_1h", "BTCUSDT", random_bars(72, H1.ms, seed=6), volume=False)
    write_funding(folder, "BTCUSDT", [T0 + n * 8 * HOUR for n in range(9)], [0.0001] * 9)
    return folder


def played(folder, symbols=None, start=T0 + DAY, end=None):
    return ReplaySource(folder, symbols, start, end).info.digest


def test_the_digest_is_not_of_the_place(made, tmp_path):
    """X43: the folder may be moved and renamed, and a file may be written anew."""
    before = played(made)
    assert len(bytes.fromhex(before)) == 32
    path = made / "perp_5m" / "ETHUSDT.parquet"
    pd.read_parquet(path).to_parquet(path, compression=None)
    assert played(shutil.move(made, tmp_path / "moved")) == before


FILES = ["perp_5m/BTCUSDT", "perp_1h/ETHUSDT", "spot_1h/BTCUSDT", "mark_1h/BTCUSDT", "funding/BTCUSDT"]


@pytest.mark.parametrize("file", FILES)
def test_a_recording_that_goes_on_keeps_its_digest(made, file):
    """A day more, or a day less, at its end."""
    before = played(made, end=T0 + DAY + HOUR)
    path = made / f"{file}.parquet"
    frame = pd.read_parquet(path)
    more = frame.tail(1).assign(ts=frame.ts.max() + DAY)
    pd.concat([frame, more]).to_parquet(path)
    assert played(made, end=T0 + DAY + HOUR) == before
    frame.iloc[:-1].to_parquet(path)
    assert played(made, end=T0 + DAY + HOUR) == before


@pytest.mark.parametrize("file", FILES)
def test_a_recording_that_begins_elsewhere_has_another_digest(made, file):
    before = played(made)
    path = made / f"{file}.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    assert played(made) != before


def test_what_is_not_read_does_not_count(made):
    before = played(made, ["BTC/USDT:USDT"])
    (made / "perp_5m" / "ETHUSDT.parquet").unlink()
    write(made / "perp_5m", "SOLUSDT", random_bars(864, M5.ms, seed=9))
    assert played(made, ["BTC/USDT:USDT"]) == before


def test_a_file_that_comes_or_goes_counts(made):
    before = {played(made)}
    shutil.rmtree(made / "mark_1h")
    before.add(played(made))
    write(made / "spot_5m", "ETHUSDT", random_bars(864, M5.ms, seed=8))
    before.add(played(made))
    assert len(before) == 3


def test_the_end_of_the_range_does_not_count(made):
    """A session may be gone on with to a later end."""
    assert played(made, end=T0 + DAY + HOUR) == played(made, end=T0 + 2 * DAY) == played(made)
