from __future__ import annotations

import math

import numpy as np
import pytest

from core.codes import RefusalCode as Code
from core.data.blocks import ClockReading
from core.data.health import CANDLE_GRACE_MS, CLEAN_BARS_TO_TRUST, FUNDING_GRACE_MS, HealthMonitor
from core.types import Timeframe
from tests.core.data.making import BTC, ETH, HOUR, T0

STEP = Timeframe.M5.ms


class Patient:
    """A monitor and the last bars that it watches; healthy at T0 until something is taken away."""

    def __init__(self, *symbols, perp=True, has_books=False, streams=("candles", "funding")):
        self.last_ts = np.full(len(symbols), -1, dtype=np.int64)
        self.monitor = HealthMonitor(
            symbols,
            [perp] * len(symbols),
            [Timeframe.M5] * len(symbols),
            self.last_ts,
            ntp_skew_ms=1500,
            require_streams=streams,
            has_books=has_books,
        )
        self.monitor.on_clock(ClockReading(T0, 0.0, None))
        for index in range(len(symbols)):
            self.monitor.on_funding(index, T0, 8 * HOUR)
        self.bar(T0, *range(len(symbols)))

    def bar(self, ts, *indices):
        self.last_ts[list(indices)] = ts
        self.monitor.on_bars(list(indices))

    def book(self, ts, index=0):
        self.monitor.book_ts[index] = ts
        self.monitor.on_books()

    def drift(self, exchange, ntp=None):
        self.monitor.on_clock(ClockReading(T0, exchange, ntp))
        return self.monitor.report(T0)


def test_a_healthy_market_is_reported_as_such():
    report = Patient(BTC, ETH).monitor.report(T0)
    assert report.ok
    assert (report.ts, report.drift_ms, report.paused, report.blocked) == (T0, 0.0, (), ())


@pytest.mark.parametrize(
    ("exchange", "ntp", "worst", "ok"),
    [
        (1500.0, None, 1500.0, True),
        (1500.5, None, 1500.5, False),
        (-1501.0, 3.0, 1501.0, False),
        (2.0, -1600.0, 1600.0, False),
        (None, 1501.0, 1501.0, False),
        (math.nan, 1.0, math.nan, False),
    ],
)
def test_the_worse_of_the_two_drifts_decides(exchange, ntp, worst, ok):
    """B4, X27"""
    report = Patient(BTC).drift(exchange, ntp)
    assert report.drift_ms == pytest.approx(worst, nan_ok=True)
    assert report.ok is ok
    assert report.paused == (() if ok else (Code.CLOCK_DRIFT,))


def test_a_clock_that_is_right_again_resumes_trading():
    """E7"""
    patient = Patient(BTC)
    assert not patient.drift(9000.0).ok
    assert not patient.drift(None, None).ok  # a reading that measured nothing changes nothing
    assert patient.drift(10.0).ok


def test_a_clock_that_was_never_measured_pauses():
    monitor = HealthMonitor(
        [BTC], [False], [Timeframe.M5], np.array([T0]), ntp_skew_ms=1500, require_streams=("candles",), has_books=False
    )
    report = monitor.report(T0)
    assert report.drift_ms is None
    assert report.paused == (Code.CLOCK_DRIFT,)


def test_candles_are_stale_after_two_bars_and_a_grace():
    """X26: staleness from the stream's own schedule"""
    patient = Patient(BTC, ETH)
    last_good = T0 + 2 * STEP + CANDLE_GRACE_MS
    patient.bar(T0 + STEP, 1)
    assert patient.monitor.report(last_good).blocked == ()
    late = patient.monitor.report(last_good + 1)
    assert late.blocked == ((BTC, Code.STREAM_CANDLES),)
    assert late.ok  # the other symbol goes on
    both = patient.monitor.report(last_good + 1 + STEP)
    assert both.paused == (Code.STREAM_CANDLES,)
    assert not both.ok
    patient.bar(T0 + 4 * STEP, 0, 1)
    assert patient.monitor.report(T0 + 4 * STEP).ok
    assert patient.monitor.report(T0 + 4 * STEP).blocked == ()


def test_candles_that_never_came_block():
    patient = Patient(BTC, ETH)
    patient.last_ts[0] = -1
    patient.monitor.on_trouble(1)  # anything that makes it look again
    assert dict(patient.monitor.report(T0).blocked)[BTC] is Code.STREAM_CANDLES


def test_funding_is_stale_an_interval_and_a_grace_after_the_last_settlement():
    """X26: perps need funding"""
    patient = Patient(BTC)
    limit = T0 + 8 * HOUR + FUNDING_GRACE_MS
    patient.bar(limit, 0)
    assert patient.monitor.report(limit).ok
    late = patient.monitor.report(limit + 1)
    assert late.blocked == ((BTC, Code.STREAM_FUNDING),)
    assert late.paused == (Code.STREAM_FUNDING,)
    patient.monitor.on_funding(0, T0 + 8 * HOUR, 8 * HOUR)
    assert patient.monitor.report(limit + 1).ok


def test_a_spot_market_needs_no_funding():
    """X26"""
    patient = Patient("BTC/USDT", perp=False)
    patient.bar(T0 + 100 * HOUR, 0)
    assert patient.monitor.report(T0 + 100 * HOUR).ok


def test_broken_candles_block_until_enough_clean_ones_came():
    """E7: candle integrity, and resumption by itself"""
    patient = Patient(BTC, ETH)
    patient.monitor.on_trouble(0)
    for k in range(1, CLEAN_BARS_TO_TRUST):
        patient.bar(T0 + k * STEP, 0, 1)
        assert patient.monitor.report(T0 + k * STEP).blocked == ((BTC, Code.CANDLE_INTEGRITY),)
    assert patient.monitor.rebuilding
    ts = T0 + CLEAN_BARS_TO_TRUST * STEP
    patient.bar(ts, 0, 1)
    assert patient.monitor.report(ts).blocked == ()
    assert not patient.monitor.rebuilding


def test_new_trouble_starts_the_count_again():
    patient = Patient(BTC)
    patient.monitor.on_trouble(0)
    for k in range(1, 6):
        patient.bar(T0 + k * STEP, 0)
    patient.monitor.on_trouble(0)
    for k in range(6, 5 + CLEAN_BARS_TO_TRUST):
        patient.bar(T0 + k * STEP, 0)
    assert patient.monitor.report(T0 + 16 * STEP).paused == (Code.CANDLE_INTEGRITY,)


def test_a_book_is_needed_only_where_the_source_has_books_or_governance_demands_them():
    """X26"""
    assert Patient(BTC).monitor.report(T0).ok
    assert Patient(BTC, streams=("candles", "funding", "book")).monitor.report(T0).paused == (Code.STREAM_BOOK,)
    patient = Patient(BTC, has_books=True)
    assert patient.monitor.report(T0).blocked == ((BTC, Code.STREAM_BOOK),)
    patient.book(T0)
    assert patient.monitor.report(T0 + 2 * STEP).ok
    assert patient.monitor.report(T0 + 2 * STEP + 1).paused == (Code.STREAM_BOOK,)
    patient.book(T0 + 2 * STEP)
    assert patient.monitor.report(T0 + 2 * STEP + 1).ok


def test_a_symbol_is_reported_once_with_its_most_basic_failure():
    patient = Patient(BTC, ETH)
    patient.monitor.on_trouble(0)
    ts = T0 + 9 * HOUR
    patient.bar(ts, 1)
    report = patient.monitor.report(ts)
    assert report.blocked == ((BTC, Code.STREAM_CANDLES), (ETH, Code.STREAM_FUNDING))
    assert report.paused == (Code.STREAM_FUNDING,)  # every symbol lacks it, though one is named for another
    assert patient.monitor.failed(ts, 0) == (Code.STREAM_CANDLES, Code.CANDLE_INTEGRITY, Code.STREAM_FUNDING)


def test_a_restored_monitor_says_the_same():
    """X43"""
    patient, other = Patient(BTC, ETH), Patient(BTC, ETH)
    patient.monitor.on_trouble(1)
    patient.bar(T0 + STEP, 0, 1)
    patient.drift(math.nan)
    other.monitor.restore(patient.monitor.snapshot())
    other.last_ts[:] = patient.last_ts
    for k in range(1, 20):
        ts = T0 + k * STEP
        for each in (patient, other):
            each.bar(ts, 0, 1)
            if k == 5:
                each.drift(1.0)
        assert repr(other.monitor.report(ts)) == repr(patient.monitor.report(ts))


def test_each_gate_tells_what_it_was_judged_by():
    """E7: a refusal shows what was observed and what was allowed."""
    patient = Patient(BTC, has_books=True)
    patient.monitor.on_trouble(0)
    patient.bar(T0, 0)
    patient.book(T0)
    patient.drift(900.0)
    assert patient.monitor.evidence(0, Code.CLOCK_DRIFT)[0] == ("drift_ms", 900.0)
    assert patient.monitor.evidence(0, Code.STREAM_CANDLES) == (("last_close_ts", T0), ("limit_ms", 2 * STEP + 10_000))
    assert dict(patient.monitor.evidence(0, Code.CANDLE_INTEGRITY))["of"] == 12
    assert patient.monitor.evidence(0, Code.STREAM_BOOK) == (("last_book_ts", T0), ("limit_ms", 2 * STEP))
    assert patient.monitor.evidence(0, Code.STREAM_FUNDING)[0][0] == "funding_good_until_ts"
    assert patient.monitor.evidence(0, Code.DAY_LOCK) == ()


def test_a_journal_that_cannot_be_written_pauses_every_entry_until_it_can():
    patient = Patient(BTC)
    assert patient.monitor.report(T0).ok
    patient.monitor.on_journal(written=False)
    assert patient.monitor.report(T0).paused == (Code.JOURNAL_LOST,)
    other = Patient(BTC)
    other.monitor.restore(patient.monitor.snapshot())
    assert other.monitor.report(T0).paused == (Code.JOURNAL_LOST,)
    patient.monitor.on_journal(written=True)
    assert patient.monitor.report(T0).ok
