"""How much past a run asks for: enough for every window that the parameters may legally ask (X28)."""

from __future__ import annotations

import numpy as np
import pytest

from configs.validators import StrategiesFile
from core.data.blocks import Bars, FundingRate, PriceAt
from core.data.feature_sets import FeatureParams
from core.data.market import Market
from core.data.resample import EMPTY
from core.data.warmup import WARM_BARS, warm_bars, warm_funding, warm_spot
from core.types import Timeframe
from tests.core.data.making import BTC, T0, governance, info, instruments, strategies

SHIPPED = FeatureParams.of(strategies())


def widest() -> StrategiesFile:
    """Windows as long as the schema allows."""
    saved = strategies().model_dump()
    saved["regimes"]["rank_window"] = 2000
    saved["funding_rev"] |= {"funding_window": 2000, "basis_window_hours": 8760}
    return StrategiesFile.model_validate(saved)


class Asked:
    """Stands where the source stands, has nothing, and writes down what it is asked for."""

    def __init__(self) -> None:
        self.wanted: dict[str, int] = {}

    def history(self, symbol: str, tf: Timeframe, before_ts: int, count: int) -> Bars:
        self.wanted[tf.value] = count
        return EMPTY

    def funding_history(self, symbol: str, before_ts: int, count: int) -> tuple[FundingRate, ...]:
        self.wanted["funding"] = count
        return ()

    def spot_history(self, symbol: str, before_ts: int, count: int) -> tuple[PriceAt, ...]:
        self.wanted["spot"] = count
        return ()


@pytest.mark.parametrize("tf", list(Timeframe))
def test_the_shipped_parameters_are_given_the_usual_past(tf: Timeframe) -> None:
    assert warm_bars(tf, SHIPPED, 60) == WARM_BARS[tf]
    assert (warm_funding(SHIPPED), warm_spot(SHIPPED)) == (300, 2184)


def test_the_widest_windows_that_are_allowed_can_be_filled() -> None:
    """X28: a strategy whose window never fills would say «warming up» for months."""
    source = Asked()
    market = Market(instruments(BTC), info({BTC: Timeframe.M5}), widest(), governance())
    report = market.warm(source, T0)
    assert source.wanted["4h"] >= 2000 + 14
    assert source.wanted["1h"] == 4800
    assert (source.wanted["funding"], source.wanted["spot"]) == (2030, 8784)
    assert len(report.short) == len(source.wanted)


@pytest.mark.parametrize(("tf", "rows"), [(Timeframe.H4, 2000), (Timeframe.H1, 2000)])
def test_with_what_is_asked_for_every_bar_feature_is_ready(tf: Timeframe, rows: int) -> None:
    """X28: the features themselves say so."""
    from core.data.features import build_features
    from core.data.frames import to_frame
    from tests.core.data.making import random_bars

    params = widest()
    bars = random_bars(warm_bars(tf, FeatureParams.of(params)), tf.ms)
    assert len(bars) > rows
    made = build_features(to_frame(bars, tf, [BTC] * len(bars), "test"), params=params)
    assert [name for name, values in made.items() if np.isnan(values.iloc[-1])] == []


def test_a_longer_correlation_asks_for_more_days() -> None:
    """X25: the window may be a year."""
    assert warm_bars(Timeframe.D1, SHIPPED, 365) == 366
