from __future__ import annotations

import asyncio

import numpy as np
import pytest

from core.codes import RefusalCode as Code
from core.data.blocks import BarFlag, Batch, Book, ClockReading, FundingRate, PriceAt
from core.data.market import Market
from core.data.sources.replay import ReplaySource
from core.types import Timeframe
from tests.core.data.making import (
    BTC,
    DAY,
    ETH,
    HOUR,
    SOL,
    T0,
    Heard,
    at,
    block,
    candle,
    governance,
    info,
    instruments,
    rows_of,
    strategies,
)

M5, M15, H1 = Timeframe.M5, Timeframe.M15, Timeframe.H1
STEP = M5.ms


def make(*symbols, base=M5, heard=None, has_books=False, **options):
    tfs = dict.fromkeys(symbols, base)
    features = heard.store() if heard is not None else None
    return Market(instruments(*symbols), info(tfs, has_books=has_books), strategies(), governance(), features=features, **options)


def market_of(source, heard=None):
    features = heard.store() if heard is not None else None
    return Market(instruments(*source.info.symbols), source.info, strategies(), governance(), features=features)


def take(source, count=None, after_ts=None):
    async def collect():
        batches = []
        async for batch in source.batches(after_ts):
            batches.append(batch)
            if len(batches) == count:
                break
        return batches

    return asyncio.run(collect())


def batch(k, *rows, **more):
    return Batch(T0 + (k + 1) * STEP, (block(M5, *rows),) if rows else (), **more)


# --- order of delivery ------------------------------------------------------------------------------


def test_side_streams_come_before_the_bars_of_the_same_moment():
    heard = Heard()
    market = make(BTC, base=H1, heard=heard)
    ts = T0 + HOUR
    market.ingest(
        Batch(
            ts,
            (block(H1, candle(T0)),),
            funding=(FundingRate(BTC, ts, 0.0001, 8 * HOUR),),
            spot=(PriceAt(BTC, ts, 99.0),),
        )
    )
    assert heard.log == [("funding", ts, (0, 0.0001)), ("spot", ts, (0, 99.0)), ("1h", ts, (0,))]


def test_what_was_missed_is_told_in_order_of_time():
    heard = Heard()
    market = make(BTC, heard=heard)
    market.ingest(batch(0, candle(T0)))
    heard.log.clear()
    settled = FundingRate(BTC, T0 + 2 * STEP, 0.0002, 8 * HOUR)
    closed = market.ingest(batch(3, candle(T0 + 3 * STEP), funding=(settled,), spot=(PriceAt(BTC, T0 + 4 * STEP, 98.0),)))
    assert [(what, (ts - T0) // STEP) for what, ts, _ in heard.log] == [
        ("funding", 2),
        ("5m", 2),
        ("5m", 3),
        ("15m", 3),
        ("spot", 4),
        ("5m", 4),
    ]
    assert [b.tf for b in closed.blocks] == [M5]


def test_a_settlement_heard_twice_is_taken_once_and_strangers_are_ignored():
    heard = Heard()
    market = make(BTC, heard=heard)
    rate = FundingRate(BTC, T0, 0.0001, 8 * HOUR)
    stranger = Book("X/USDT:USDT", T0, 1.0, 2.0, 1.0, False)
    market.ingest(batch(0, candle(T0), funding=(rate, rate._replace(symbol="X/USDT:USDT")), books=(stranger,)))
    market.ingest(
        batch(
            1,
            candle(T0 + STEP),
            funding=(rate,),
            spot=(PriceAt("X/USDT:USDT", T0, 1.0),),
            marks=(PriceAt("X/USDT:USDT", T0, 1.0),),
        )
    )
    assert [what for what, _, _ in heard.log] == ["funding", "5m", "5m"]
    assert market.funding(0) == rate


# --- warm-up ----------------------------------------------------------------------------------------


def test_the_past_is_told_in_time_order_and_nothing_of_it_is_later_than_the_start(shared_data):
    """B8, X28"""
    heard = Heard()
    source = ReplaySource(shared_data, [BTC, ETH], T0 + DAY)
    market = market_of(source, heard)
    announced = []
    report = market.warm(source, source.info.start, lambda closed: announced.append(closed.ts))
    times = [ts for _, ts, _ in heard.log]
    assert times == sorted(times)
    assert times[-1] == T0 + DAY
    assert announced == sorted(set(announced))
    last = [what for what, ts, _ in heard.log if ts == T0 + DAY]
    assert last == ["funding", "funding", "spot", "spot", "5m", "15m", "1h", "4h", "1d"]
    counts = {(symbol, stream): rows for symbol, stream, rows in report.counts}
    assert counts[BTC, "5m bars"] == 2000
    assert counts[BTC, "1h bars"] == 4800
    assert counts[ETH, "1d bars"] == 200
    assert (ETH, "5m bars") not in counts
    assert counts[ETH, "funding settlements"] == 300
    assert report.short == ()


def test_what_the_past_lacks_is_said(shared_data):
    source = ReplaySource(shared_data, [SOL], at("2023-11-01"))
    report = market_of(source, Heard()).warm(source, source.info.start)
    assert report.short == (
        "SOL/USDT:USDT: 0 of 2000 5m bars before 2023-11-01 00:00",
        "SOL/USDT:USDT: 0 of 2000 15m bars before 2023-11-01 00:00",
        "SOL/USDT:USDT: 0 of 300 funding settlements before 2023-11-01 00:00",
        "SOL/USDT:USDT: 0 of 2184 hourly spot closes before 2023-11-01 00:00",
    )


def test_a_start_in_the_middle_of_a_day_gives_the_same_bars_as_an_earlier_one(shared_data):
    """X28: open buckets are completed from history"""
    early = ReplaySource(shared_data, [BTC, ETH], at("2024-01-09"), at("2024-01-12"))
    late = ReplaySource(shared_data, [BTC, ETH], at("2024-01-10 10:07"), at("2024-01-12"))
    assert late.info.start == at("2024-01-10 10:15")  # where bars of 5m and 15m begin together
    told = []
    for source in (early, late):
        market = market_of(source, Heard())
        market.warm(source, source.info.start)
        closed = [market.ingest(each) for each in take(source)]
        assert market.feed.counters.total() == 0
        told.append({repr(c) for c in closed if c.ts > at("2024-01-10 10:15") and c.blocks})
    assert told[0] >= told[1]
    assert len(told[1]) == 453  # 5m closes from 01-10 10:20 to 01-12 00:00


def test_the_real_features_are_ready_after_the_past_of_2024(shared_data):
    source = ReplaySource(shared_data, None, T0, T0 + DAY)
    market = market_of(source)
    market.warm(source, source.info.start)
    for each in take(source, 3):
        market.ingest(each)
    ready = market.features.ready
    assert ready["atr@5m"].tolist() == [True, False, True]
    assert ready["ema200@4h"].tolist() == [True, True, True]
    assert ready["funding_below"].tolist() == [True, True, False]
    assert ready["basis_rank"].tolist() == [True, True, False]


# --- recorded markets -------------------------------------------------------------------------------


def test_a_perp_without_recorded_funding_is_refused_and_the_others_trade(shared_data):
    """X26, on month_2023"""
    source = ReplaySource(shared_data / "month_2023", None)
    market = market_of(source, Heard())
    market.warm(source, source.info.start)
    for each in take(source, 600):
        closed = market.ingest(each)
        report = market.health.report(closed.ts)
        assert report.ok
        assert report.blocked == ((SOL, Code.STREAM_FUNDING),)
    assert market.feed.counters.total() == 0


def test_funding_that_begins_late_lifts_the_block(shared_data):
    """E7: SOL's funding of 2024 begins on 01-06 08:00"""
    source = ReplaySource(shared_data, [SOL], at("2024-01-06 07:00"), at("2024-01-06 09:00"))
    market = market_of(source, Heard())
    market.warm(source, source.info.start)
    states = [(market.ingest(each).ts, market.health.report(each.ts).ok) for each in take(source)]
    assert [ts for ts, ok in states if not ok][-1] == at("2024-01-06 07:55")
    assert next(ts for ts, ok in states if ok) == at("2024-01-06 08:00")


def test_recorded_bars_without_volume_are_flagged_and_are_no_error(shared_data):
    """X44: 2024-10-28 20:00"""
    source = ReplaySource(shared_data, [BTC], at("2024-10-28 19:00"), at("2024-10-28 23:00"))
    market = market_of(source, Heard())
    market.warm(source, source.info.start)
    flagged = []
    for each in take(source):
        market.ingest(each)
        assert market.health.report(each.ts).blocked == ()
        if market.flags[0]:
            flagged.append(each.ts - STEP)
    assert market.flags[0] == BarFlag.CLEAN
    assert len(flagged) == 14
    assert at("2024-10-28 20:00") in flagged


@pytest.mark.parametrize("folder", [".", "crash_2022", "month_2023"])
def test_recorded_majors_have_nothing_wrong_with_their_candles(shared_data, folder):
    """No errors over the first days of each data set; every announcement is later than the one before"""
    source = ReplaySource(shared_data / folder, None)
    market = market_of(source, Heard())
    market.warm(source, source.info.start)
    closes = [market.ingest(each).ts for each in take(source, 1500)]
    assert closes == sorted(set(closes))
    assert market.feed.counters.total() == 0


# --- trouble ----------------------------------------------------------------------------------------


def test_a_gap_blocks_its_symbol_for_twelve_clean_bars():
    """B5, E7"""
    market = make(BTC, ETH, heard=Heard())
    clock, rates = ClockReading(T0, 0.0, None), tuple(FundingRate(s, T0, 0.0001, 8 * HOUR) for s in (BTC, ETH))
    market.ingest(batch(0, candle(T0, 0), candle(T0, 1), clock=clock, funding=rates))
    blocked = []
    for k in range(1, 20):
        opened = T0 + k * STEP
        market.ingest(batch(k, *([candle(opened, 0)] if k != 2 else []), candle(opened, 1)))
        blocked += [(k, code) for symbol, code in market.health.report(opened + STEP).blocked if symbol == BTC]
    assert blocked == [(k, Code.CANDLE_INTEGRITY) for k in range(3, 15)]


def test_bars_without_volume_do_not_break_trust():
    """X44"""
    market = make(BTC, heard=Heard())
    market.ingest(batch(0, candle(T0)))
    market.ingest(batch(2, candle(T0 + 2 * STEP)))  # a gap
    for k in range(3, 15):
        market.ingest(batch(k, candle(T0 + k * STEP, volume=0.0)))
    assert not market.health.rebuilding


# --- prices -----------------------------------------------------------------------------------------


def test_equity_is_marked_at_the_mark_price_only_where_marks_are_as_fine_as_the_base():
    """X11"""
    market = make(BTC, heard=Heard())
    assert np.isnan(market.mark(0))
    marks = [120.0, 121.0, None, 123.0]
    seen = []
    for k, price in enumerate(marks):
        ts = T0 + (k + 1) * STEP
        market.ingest(batch(k, candle(T0 + k * STEP, price=100.0 + k), marks=(PriceAt(BTC, ts, price),) if price else ()))
        seen.append(market.mark(0))
    # the first mark could be of any spacing, the third bar has none, the fourth comes two bars after the last
    assert seen == [100.5, 121.0, 102.5, 103.5]


def test_recorded_hourly_marks_serve_an_hourly_base_and_not_a_finer_one(shared_data):
    """X11"""
    until = at("2024-01-01 03:00")
    for start, base, uses in ((T0, M5, False), (at("2022-12-31 00:00"), H1, True)):
        source = ReplaySource(shared_data, [BTC], start, start + 3 * HOUR if uses else until)
        assert source.info.base_tf[BTC] is base
        market = market_of(source, Heard())
        for each in take(source):
            market.ingest(each)
        (last_mark,) = each.marks
        assert (market.mark(0) == last_mark.price) is uses
        assert last_mark.price != market.last_close[0]


def test_a_book_is_modelled_where_the_source_has_none_and_says_so():
    market = make(BTC, heard=Heard())
    assert market.book(0, T0) is None
    market.ingest(batch(0, candle(T0)))
    book = market.book(0, T0 + STEP)
    assert book is not None
    assert book.modelled
    assert book.spread_bps == pytest.approx(1.0)  # symbols.yaml: BTC 1 bp, 500,000 USD
    assert (book.bid + book.ask) / 2 == pytest.approx(100.5)
    assert book.depth_usd == 500_000
    assert market.book(0, T0 + 3 * STEP) is not None
    assert market.book(0, T0 + 3 * STEP + 1) is None


def test_a_real_book_is_never_replaced_by_a_modelled_one():
    market = make(BTC, heard=Heard(), has_books=True)
    market.ingest(batch(0, candle(T0)))
    assert market.book(0, T0 + STEP) is None
    real = Book(BTC, T0 + 2 * STEP, 100.0, 100.2, 7000.0, False)
    market.ingest(batch(1, candle(T0 + STEP), books=(real,)))
    assert market.book(0, T0 + 4 * STEP) == real
    assert market.book(0, T0 + 4 * STEP + 1) is None


# --- state ------------------------------------------------------------------------------------------


def test_a_restored_market_goes_on_as_if_it_had_never_stopped(shared_data):
    """X43"""
    source = ReplaySource(shared_data, None, at("2024-01-06 06:00"), at("2024-01-06 12:00"))
    whole, before, after = (market_of(source, Heard()) for _ in range(3))
    stop = at("2024-01-06 08:10")
    for market in (whole, before):
        market.warm(source, source.info.start)
    batches = take(source)
    for each in batches:
        whole.ingest(each)
        if each.ts <= stop:
            before.ingest(each)
    after.restore(before.snapshot())
    rest = take(source, after_ts=stop)
    assert repr(rest) == repr([b for b in batches if b.ts > stop]).replace(
        "clock=None", "clock=ClockReading(ts=1704528900000, exchange_drift_ms=0.0, ntp_drift_ms=None)", 1
    )
    for each in rest:
        after.ingest(each)
    assert after.snapshot() == whole.snapshot()
    assert repr(after.health.report(source.info.end)) == repr(whole.health.report(source.info.end))
    assert rows_of(after.ingest(Batch(source.info.end + STEP)), M5) is None
