from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.data.blocks import Bars
from core.data.quality import select
from core.data.resample import EMPTY, align, resample, stitch
from core.types import Timeframe
from tests.core.data.making import HOUR, MINUTE, T0, at, random_bars

KNOWN_DISAGREEMENTS = [at("2024-10-28 20:00"), at("2024-10-28 21:00")]
"""Hours of 2024 in which the 5m and 1h recordings of BTC differ (README of the data; its two of March differ in 15m only)."""


def by_pandas(bars: Bars, length_ms: int, parts: int) -> pd.DataFrame:
    frame = pd.DataFrame(bars._asdict())
    grouped = frame.groupby(frame["ts"] // length_ms * length_ms)
    built = grouped.agg(
        open=("open", "first"), high=("high", "max"), low=("low", "min"), close=("close", "last"), volume=("volume", "sum")
    )
    return built[grouped.size() == parts]


@pytest.mark.parametrize(("source", "target"), [("1m", "1h"), ("5m", "15m"), ("5m", "4h"), ("15m", "1d"), ("1h", "1d")])
def test_coarser_bars_say_what_the_finer_ones_said(source, target):
    fine, coarse = Timeframe(source), Timeframe(target)
    bars = random_bars(900, fine.ms, start=T0 + 7 * fine.ms)
    bars = select(bars, np.flatnonzero(np.arange(900) % 331 != 5))
    built = resample(bars, fine, coarse)
    expected = by_pandas(bars, coarse.ms, coarse.ms // fine.ms)
    assert built.ts.tolist() == expected.index.tolist()
    for name in ("open", "high", "low", "close"):
        assert getattr(built, name).tolist() == expected[name].tolist()
    np.testing.assert_allclose(built.volume, expected["volume"], rtol=1e-12)


def test_a_bar_of_which_a_part_is_missing_is_not_made():
    bars = random_bars(24, 5 * MINUTE)
    built = resample(select(bars, np.flatnonzero(np.arange(24) != 13)), Timeframe.M5, Timeframe.H1)
    assert built.ts.tolist() == [T0]
    assert len(resample(select(bars, slice(0, 2)), Timeframe.M5, Timeframe.M15)) == 0


def test_finer_bars_cannot_be_made():
    with pytest.raises(ValueError, match="expected 1h or coarser"):
        resample(EMPTY, Timeframe.H1, Timeframe.M5)


def test_btc_hours_of_2024_are_those_of_the_hourly_recording_but_for_the_known_ones(shared_data):
    fine = pd.read_parquet(shared_data / "perp_5m" / "BTCUSDT.parquet")
    hourly = pd.read_parquet(shared_data / "perp_1h" / "BTCUSDT.parquet").set_index("ts")
    fine = fine[fine["ts"] >= T0]
    built = resample(Bars(*(fine[name].to_numpy() for name in Bars._fields)), Timeframe.M5, Timeframe.H1)
    assert len(built) == 24 * 365 - 1  # 2024 up to 12-30 22:00, the last whole hour
    recorded = hourly.loc[built.ts]
    same = np.ones(len(built), dtype=bool)
    for name in ("open", "high", "low", "close"):
        same &= getattr(built, name) == recorded[name].to_numpy()
    same &= np.isclose(built.volume, recorded["volume"].to_numpy(), rtol=1e-9, atol=1e-6)
    assert built.ts[~same].tolist() == KNOWN_DISAGREEMENTS


def test_the_first_recording_wins_where_two_have_the_same_bar():
    fine, coarse = random_bars(3, HOUR, start=T0 + HOUR, seed=1), random_bars(6, HOUR, seed=2)
    both = stitch([select(fine, np.array([0, 2])), coarse])
    assert both.ts.tolist() == coarse.ts.tolist()
    expected = coarse.close.copy()
    expected[[1, 3]] = fine.close[[0, 2]]
    assert both.close.tolist() == expected.tolist()
    assert len(stitch([EMPTY, EMPTY])) == 0


def test_symbols_share_one_axis_and_holes_are_seen():
    long, short = random_bars(4, HOUR, seed=1), random_bars(2, HOUR, start=T0 + 2 * HOUR, seed=2)
    table = align(Timeframe.H1, [(2, short), (0, long), (1, EMPTY)])
    assert table.idx.tolist() == [0, 2]
    assert table.ts.tolist() == long.ts.tolist()
    assert table.whole == [False, False, True, True]
    assert table.present.tolist() == [[True, False], [True, False], [True, True], [True, True]]
    assert table.close[3].tolist() == [long.close[3], short.close[1]]
    assert np.isnan(table.close[0, 1])
