from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.data.blocks import BarFlag, ClosedBlock
from core.data.feed import Feed
from core.data.frames import FRAME_COLUMNS
from core.data.quality import Issue, select
from core.data.resample import resample
from core.data.sources.folder import Kind, Recording, read_bars
from core.errors import DataError
from core.types import Timeframe
from tests.core.data.making import BTC, ETH, SOL, T0, block, candle, candles, random_bars, rows_of

M1, M5, M15, H1, H4, D1 = Timeframe
STEP = M5.ms


def one(**options) -> Feed:
    return Feed([BTC], [M5], **options)


def play(feed: Feed, *opens: int):
    """One good bar at each of ``opens`` (in steps from T0), each announced when it closes."""
    return [feed.on_bars(T0 + (k + 1) * STEP, (block(M5, candle(T0 + k * STEP, price=100.0 + k)),)) for k in opens]


def seen(feed: Feed, symbol: str = BTC) -> dict[str, int]:
    return {row.kind.value: row.times for row in feed.counters.all() if row.symbol == symbol}


def test_a_good_bar_is_announced_as_it_came():
    (closed,) = play(one(), 0)
    assert closed.ts == T0 + STEP
    (told,) = closed.blocks
    assert (told.tf, told.ts, told.idx.tolist(), told.flags.tolist()) == (M5, T0 + STEP, [0], [0])
    assert [c.tolist() for c in (told.open, told.high, told.low, told.close, told.volume)] == [
        [100.0],
        [102.0],
        [99.0],
        [100.5],
        [5.0],
    ]


def test_everything_that_closes_together_is_one_announcement_finest_first():
    """X26, X28"""
    feed = one()
    told = play(feed, *range(24 * 12))
    assert [[b.tf.value for b in closed.blocks] for closed in told[:3]] == [["5m"], ["5m"], ["5m", "15m"]]
    assert [b.tf.value for b in told[11].blocks] == ["5m", "15m", "1h"]
    assert [b.tf.value for b in told[-1].blocks] == ["5m", "15m", "1h", "4h", "1d"]
    day = told[-1].blocks[-1]
    assert (day.open[0], day.high[0], day.low[0], day.close[0], day.volume[0]) == (100.0, 389.0, 99.0, 387.5, 288 * 5.0)


def test_bars_built_bar_by_bar_have_the_same_bits_as_those_of_the_whole_history():
    """B9: volumes too, whose sum depends on the order"""
    bars = random_bars(2100, M1.ms)
    feed = Feed([BTC], [M1])
    built = {tf: [] for tf in feed.timeframes}
    for row in candles(bars):
        for told in feed.on_bars(row[1] + M1.ms, (block(M1, row),)).blocks:
            built[told.tf].append(
                (told.ts - told.tf.ms, *(float(c[0]) for c in (told.open, told.high, told.low, told.close, told.volume)))
            )
    for tf in feed.timeframes:
        whole = resample(bars, M1, tf)
        assert built[tf] == [row[1:] for row in candles(whole)]
    assert len(built[H4]) == 8


def test_symbols_with_different_bases_share_one_block_a_timeframe():
    """B3, X26: BTC and SOL from 5m, ETH from 15m"""
    feed = Feed([BTC, ETH, SOL], [M5, M15, M5])
    for k in range(3):
        fine = block(M5, candle(T0 + k * STEP, 0, 10.0 + k), candle(T0 + k * STEP, 2, 30.0 + k))
        coarse = (block(M15, candle(T0, 1, 20.0)),) if k == 2 else ()
        closed = feed.on_bars(T0 + (k + 1) * STEP, (*coarse, fine))
    assert [b.tf for b in closed.blocks] == [M5, M15]
    assert closed.blocks[0].idx.tolist() == [0, 2]
    merged = closed.blocks[1]
    assert merged.idx.tolist() == [0, 1, 2]
    assert merged.open.tolist() == [10.0, 20.0, 30.0]
    assert merged.close.tolist() == [12.5, 20.5, 32.5]
    assert feed.last_ts.tolist() == [T0 + 3 * STEP] * 3


def test_a_symbol_that_did_not_come_abstains_and_the_others_go_on():
    """X26"""
    feed = Feed([BTC, ETH], [M5, M5])
    feed.on_bars(T0 + STEP, (block(M5, candle(T0, 0), candle(T0, 1)),))
    closed = feed.on_bars(T0 + 2 * STEP, (block(M5, candle(T0 + STEP, 1)),))
    assert closed.blocks[0].idx.tolist() == [1]
    assert feed.last_ts.tolist() == [T0 + STEP, T0 + 2 * STEP]
    assert feed.troubled == ()  # nothing is known to be wrong before its next bar comes


def test_a_gap_is_bridged_with_flat_flagged_bars_before_the_present_one():
    """B5: gap-fill in paper, marked as such"""
    feed = one()
    play(feed, 0, 1)
    (closed,) = play(feed, 4)
    assert seen(feed) == {"gap": 2}
    assert feed.troubled == (0,)
    assert [missed.ts for missed in feed.catch_up] == [T0 + 3 * STEP, T0 + 4 * STEP]
    filled = feed.catch_up[0].blocks[0]
    assert (filled.open[0], filled.high[0], filled.low[0], filled.close[0], filled.volume[0]) == (101.5,) * 4 + (0.0,)
    assert filled.flags[0] & BarFlag.FILLED
    assert rows_of(feed.catch_up[0], M15).flags[0] == BarFlag.PARTIAL
    assert closed.blocks[0].flags.tolist() == [0]
    (later,) = play(feed, 5)[-1:]
    assert rows_of(later, M15).flags[0] == BarFlag.PARTIAL


def test_live_never_makes_up_a_bar_and_an_incomplete_bar_is_not_announced():
    """B5"""
    feed = one(gap_fill=False)
    play(feed, 0, 1, 3, 4)
    assert feed.catch_up == ()
    assert seen(feed) == {"gap": 1}
    assert len(feed.latest(BTC, M5, 10)) == 4
    assert len(feed.latest(BTC, M15, 10)) == 0
    (closed,) = play(feed, 5)
    assert rows_of(closed, M15).flags.tolist() == [0]


def test_a_hole_of_more_than_half_the_buffer_is_left_open():
    feed = one(capacity=100)
    play(feed, 0, 100)
    assert seen(feed) == {"gap": 99}
    assert feed.catch_up == ()


def test_the_same_bar_again_is_dropped_and_blocks_nothing():
    feed = one()
    play(feed, 0)
    closed = feed.on_bars(T0 + 2 * STEP, (block(M5, candle(T0), candle(T0 + STEP)),))
    assert seen(feed) == {"duplicate": 1}
    assert feed.troubled == ()
    assert closed.blocks[0].flags.tolist() == [0]


def test_the_same_bar_with_other_values_is_dropped_and_blocks():
    """B5: the first stands; the bar says that something was dropped for it"""
    feed = one()
    play(feed, 0)
    closed = feed.on_bars(T0 + 2 * STEP, (block(M5, candle(T0 + STEP, price=50.0), candle(T0 + STEP, price=60.0)),))
    assert seen(feed) == {"conflict": 1}
    assert feed.troubled == (0,)
    assert closed.blocks[0].open.tolist() == [50.0]
    assert closed.blocks[0].flags.tolist() == [BarFlag.REPAIRED]
    assert feed.flags.tolist() == [BarFlag.REPAIRED]


def test_an_impossible_bar_is_dropped_and_its_place_filled_when_the_next_comes():
    feed = one()
    play(feed, 0)
    bad = (0, T0 + STEP, 10.0, 9.0, 8.0, 9.0, 1.0)
    assert feed.on_bars(T0 + 2 * STEP, (block(M5, bad),)).blocks == ()
    assert feed.troubled == (0,)
    play(feed, 2)
    assert seen(feed) == {"bad_bar": 1, "gap": 1}


def test_a_good_bar_instead_of_an_impossible_one_is_taken_and_says_so():
    feed = one()
    bad = (0, T0, 10.0, 9.0, 8.0, 9.0, 1.0)
    closed = feed.on_bars(T0 + STEP, (block(M5, bad, candle(T0)),))
    assert closed.blocks[0].flags.tolist() == [BarFlag.REPAIRED]
    assert seen(feed) == {"bad_bar": 1}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (candle(T0 + STEP + 1), "off_grid"),
        (candle(T0 + 2 * STEP), "unfinished"),
        (candle(T0 - STEP), "out_of_order"),
    ],
)
def test_a_bar_that_is_not_in_its_place_is_dropped(row, kind):
    """B5: also: a candle is used only when final"""
    feed = one()
    play(feed, 0)
    closed = feed.on_bars(T0 + 2 * STEP, (block(M5, row, candle(T0 + STEP)),))
    assert seen(feed) == {kind: 1}
    assert feed.troubled == (0,)
    assert closed.blocks[0].open.tolist() == [100.0]


def test_bars_of_a_timeframe_that_is_not_the_base_are_dropped():
    """B5: timeframe sanity"""
    feed = Feed([BTC, ETH], [M5, M15])
    closed = feed.on_bars(T0 + M15.ms, (block(M15, candle(T0, 0), candle(T0, 1)),))
    assert seen(feed) == {"wrong_timeframe": 1}
    assert closed.blocks[0].idx.tolist() == [1]


def test_a_row_of_no_known_symbol_is_ignored():
    feed = one()
    assert feed.on_bars(T0 + STEP, (block(M5, candle(T0, 3)),)).blocks == ()
    assert feed.counters.total() == 0


def test_a_late_bar_is_kept_for_the_record_and_nothing_is_decided_on_it():
    """X26: late symbols abstain for this bar"""
    feed = Feed([BTC, ETH], [M5, M5])
    for k in range(2):
        feed.on_bars(T0 + (k + 1) * STEP, (block(M5, candle(T0 + k * STEP, 0), candle(T0 + k * STEP, 1)),))
    without = feed.on_bars(T0 + 3 * STEP, (block(M5, candle(T0 + 2 * STEP, 0)),))
    assert rows_of(without, M15).idx.tolist() == [0]
    closed = feed.on_bars(
        T0 + 4 * STEP, (block(M5, candle(T0 + 2 * STEP, 1), candle(T0 + 3 * STEP, 0), candle(T0 + 3 * STEP, 1)),)
    )
    assert seen(feed, ETH) == {"late": 1}
    assert feed.troubled == ()
    assert [(c.ts, [(b.tf, b.idx.tolist(), b.flags.tolist()) for b in c.blocks]) for c in feed.catch_up] == [
        (T0 + 3 * STEP, [(M5, [1], [0]), (M15, [1], [0])])
    ]
    assert closed.ts == T0 + 4 * STEP
    assert [b.idx.tolist() for b in closed.blocks] == [[0, 1]]


def test_a_bar_that_comes_after_its_place_was_filled_is_late_and_dropped():
    feed = one()
    play(feed, 0, 2)
    feed.on_bars(T0 + 4 * STEP, (block(M5, candle(T0 + STEP), candle(T0 + 3 * STEP)),))
    assert seen(feed) == {"gap": 1, "late": 1}
    assert feed.store.last(BTC, M5, 4).flags.tolist()[1] & BarFlag.FILLED


def test_bars_without_volume_are_flagged_and_their_runs_counted():
    """X44"""
    feed = one()
    quiet = [0.0, 5.0, 0.0, 0.0, 0.0, 5.0]
    told = [feed.on_bars(T0 + (k + 1) * STEP, (block(M5, candle(T0 + k * STEP, volume=v)),)) for k, v in enumerate(quiet)]
    assert [closed.blocks[0].flags[0] == BarFlag.ZERO_VOLUME for closed in told] == [v == 0.0 for v in quiet]
    assert seen(feed) == {"zero_volume": 4, "zero_volume_run": 1}
    assert [rows_of(closed, M15).flags[0] for closed in (told[2], told[5])] == [0, 0]


def test_a_built_bar_has_no_volume_only_if_none_of_its_parts_has():
    feed = one()
    for k in range(3):
        closed = feed.on_bars(T0 + (k + 1) * STEP, (block(M5, candle(T0 + k * STEP, volume=0.0)),))
    assert rows_of(closed, M15).flags.tolist() == [BarFlag.ZERO_VOLUME]


def test_a_symbol_may_join_late_without_a_gap():
    feed = Feed([BTC, ETH], [M5, M5])
    feed.on_bars(T0 + STEP, (block(M5, candle(T0, 0)),))
    feed.on_bars(T0 + 2 * STEP, (block(M5, candle(T0 + STEP, 0), candle(T0 + STEP, 1)),))
    assert feed.counters.total() == 0
    closed = feed.on_bars(T0 + 3 * STEP, (block(M5, candle(T0 + 2 * STEP, 0), candle(T0 + 2 * STEP, 1)),))
    assert rows_of(closed, M15).idx.tolist() == [0]  # half a bar of the other would be a wrong bar


def test_history_completes_the_buckets_that_are_still_open():
    feed = one()
    bars = random_bars(9, STEP)
    for k in range(7):
        row = select(bars, slice(k, k + 1))
        feed.seed(T0 + (k + 1) * STEP, ClosedBlock(M5, T0 + (k + 1) * STEP, np.array([0]), *row[1:], flags=np.zeros(1, np.uint8)))
    closed = [feed.on_bars(row[1] + STEP, (block(M5, row),)) for row in candles(select(bars, slice(7, 9)))]
    assert feed.counters.total() == 0
    quarter = rows_of(closed[1], M15)
    assert (quarter.open[0], quarter.close[0]) == (bars.open[6], bars.close[8])


def test_a_symbol_comes_out_the_same_alone_and_in_company():
    """costs.md: sums must not depend on how many symbols run beside"""
    mine, others = random_bars(600, STEP, seed=1), [random_bars(600, STEP, seed=k) for k in (2, 3)]
    alone, company = one(), Feed([ETH, BTC, SOL], [M5] * 3)
    for k in range(600):
        ts = T0 + (k + 1) * STEP
        first = alone.on_bars(ts, (block(M5, candles(mine)[k]),))
        rows = [candles(bars, who)[k] for who, bars in ((0, others[0]), (1, mine), (2, others[1]))]
        second = company.on_bars(ts, (block(M5, *rows),))
        for a, b in zip(first.blocks, second.blocks, strict=True):
            for name in ("open", "high", "low", "close", "volume", "flags"):
                assert getattr(a, name)[0] == getattr(b, name)[1]


# --- frames -----------------------------------------------------------------------------------------


def test_frames_have_the_normalised_columns():
    """B2, B6"""
    feed = Feed([BTC], [M5], source="replay:data")
    play(feed, 0, 1, 2)
    frame = feed.latest(BTC, M5, 2)
    assert tuple(frame.columns) == FRAME_COLUMNS
    assert frame["symbol"].tolist() == ["BINANCE:BTCUSDT.P"] * 2
    assert frame["tf"].tolist() == ["5m"] * 2
    assert frame["source"].tolist() == ["replay:data"] * 2
    assert frame["ts"].tolist() == [T0 + STEP, T0 + 2 * STEP]
    assert frame["close"].tolist() == [101.5, 102.5]
    assert feed.latest(BTC, M15)["ts"].tolist() == [T0]
    pd.testing.assert_series_equal(frame.dtypes, feed.latest(BTC, H4).dtypes)  # an empty frame has the same types


def test_a_subscriber_gets_each_close_once_in_order():
    """B6"""
    feed = Feed([BTC, ETH], [M5, M5])
    both = [block(M5, candle(T0 + k * STEP, 0, 10.0 + k), candle(T0 + k * STEP, 1, 20.0 + k)) for k in range(4)]
    feed.on_bars(T0 + STEP, (both[0],))
    feed.subscribe([ETH, BTC], [M5])
    assert feed.next_batch(M5).empty  # only what closes from now on
    for k in (1, 2):
        feed.on_bars(T0 + (k + 1) * STEP, (both[k],))
    first, second, third = (feed.next_batch(M5) for _ in range(3))
    assert first["ts"].tolist() == [T0 + STEP] * 2
    assert first["symbol"].tolist() == ["BINANCE:ETHUSDT.P", "BINANCE:BTCUSDT.P"]
    assert second["open"].tolist() == [22.0, 12.0]
    assert third.empty
    assert feed.next_batch(M15).empty  # not subscribed


def test_what_is_not_there_is_said():
    feed = one()
    with pytest.raises(DataError, match="the run has 5m, 15m"):
        feed.next_batch(M1)
    with pytest.raises(DataError, match=r"the run has BTC/USDT:USDT"):
        feed.subscribe([ETH], [M5])
    with pytest.raises(DataError, match=r"no 5m bars of ETH/USDT:USDT are held"):
        feed.latest(ETH, M5)


def test_daily_closes_are_those_of_closed_days():
    """X25"""
    feed = Feed([BTC], [H4])
    for k in range(20):
        feed.on_bars(T0 + (k + 1) * H4.ms, (block(H4, candle(T0 + k * H4.ms, price=float(k + 10))),))
    ts, closes = feed.daily_closes(0, 2)
    assert ts.tolist() == [T0 + D1.ms, T0 + 2 * D1.ms]
    assert closes.tolist() == [21.5, 27.5]


# --- state ------------------------------------------------------------------------------------------


def test_a_restored_feed_goes_on_as_if_it_had_never_stopped():
    """X43"""

    def steps(first, last):
        for k in range(first, last):
            if k % 37 == 5:
                continue  # a gap
            volume = 0.0 if k % 11 in (3, 4) else 2.0
            twice = (candle(T0 + k * STEP, price=100.0 + k, volume=volume),) * (2 if k % 23 == 0 else 1)
            yield T0 + (k + 1) * STEP, (block(M5, *twice),)

    whole, before, after = one(), one(), one()
    for feed in (whole, before):
        feed.subscribe([BTC], [M15])
        for ts, blocks in steps(0, 100):
            feed.on_bars(ts, blocks)
    after.restore(before.snapshot())
    for ts, blocks in steps(100, 300):
        one_way, other = whole.on_bars(ts, blocks), after.on_bars(ts, blocks)
        assert repr(one_way) == repr(other)
        assert repr(whole.catch_up) == repr(after.catch_up)
    assert whole.snapshot() == after.snapshot()
    assert whole.next_batch(M15).equals(after.next_batch(M15))


def test_state_of_other_symbols_is_refused():
    with pytest.raises(DataError, match="saved feed has symbols"):
        Feed([ETH], [M5]).restore(one().snapshot())


# --- recorded holes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tf", "missing"), [("XRPETH_1m", M1, 1091), ("ADABTC_5m", M5, 40)])
def test_recorded_holes_are_found_and_bridged(shared_data, name, tf, missing):
    """B5, on old spot data with real holes (counts from the README of the data)"""
    path = shared_data / "spot_gappy" / f"{name}.parquet"
    bars = read_bars(Recording(Kind.SPOT, tf, name, path, 0, 0, 0), 0, 1 << 62)
    feed = Feed([BTC], [tf])
    stamps = []
    for row in candles(bars):
        closed = feed.on_bars(row[1] + tf.ms, (block(tf, row),))
        stamps += [c.ts for c in (*feed.catch_up, closed)]
    assert feed.counters.get(BTC, Issue.GAP) == missing
    assert stamps == list(range(int(bars.ts[0]) + tf.ms, int(bars.ts[-1]) + 2 * tf.ms, tf.ms))


def test_blocks_merge_when_a_symbol_is_missing_too():
    feed = Feed([BTC, ETH, SOL], [M5, M15, M5])
    for k in range(3):
        rows = [candle(T0 + k * STEP, 0, 10.0 + k), *([candle(T0 + k * STEP, 2)] if k != 1 else [])]
        blocks = (block(M5, *rows), block(M15, candle(T0, 1, 20.0))) if k == 2 else (block(M5, *rows), block(M15))
        closed = feed.on_bars(T0 + (k + 1) * STEP, blocks)
    assert rows_of(closed, M15).idx.tolist() == [0, 1, 2]  # the gap was filled
    live = Feed([BTC, ETH, SOL], [M5, M15, M5], gap_fill=False)
    for k in range(3):
        rows = [candle(T0 + k * STEP, 0, 10.0 + k), *([candle(T0 + k * STEP, 2)] if k != 1 else [])]
        closed = live.on_bars(T0 + (k + 1) * STEP, (block(M5, *rows), *([block(M15, candle(T0, 1, 20.0))] if k == 2 else [])))
    merged = rows_of(closed, M15)
    assert merged.idx.tolist() == [0, 1]
    assert merged.open.tolist() == [10.0, 20.0]
