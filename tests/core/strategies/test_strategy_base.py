"""The machinery around a rule: who speaks, who is silent, and what a signal carries (D1, X44)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.canonical import digest
from core.codes import RefusalCode
from core.data.blocks import BarFlag
from core.strategies import build_strategies
from core.strategies.base import Abstention
from core.types import Side, Timeframe
from tests.core.strategies.making import NAMES, TS, governance, snapshot, strategies_file

FILE = strategies_file()
GOVERNANCE = governance()
FIRES = {
    "close@15m": 110.0,
    "atr@15m": 2.0,
    "donchian_hi20@15m": 105.0,
    "donchian_lo20@15m": 95.0,
    "atr_rank480@15m": 0.9,
    "volume_rank480@15m": 0.95,
}
FALLS = {**FIRES, "close@15m": 90.0}
QUIET = {**FIRES, "close@15m": 100.0}


def strategy(size: int = 3):
    return build_strategies(FILE, NAMES[:size], [Timeframe.M5] * size, GOVERNANCE)["vol_exp_15m"]


def test_a_signal_carries_its_numbers_but_no_size():
    """D1: id, entry at the close, ATR, validity of one base bar, reason and the numbers used, all plain Python."""
    (signal,) = strategy(1).generate(snapshot([FIRES], [Timeframe.M15]))
    assert signal.id == f"{TS}-vol_exp_15m-BTCUSDT"
    assert (signal.symbol, signal.side, signal.entry, signal.atr) == (NAMES[0], Side.LONG, 110.0, 2.0)
    assert (signal.tf, signal.ts, signal.validity_ts) == (Timeframe.M15, TS, TS + 300_000)
    assert dict(signal.meta) == FIRES
    assert signal.reason == ("15m close 110 above the high 105 of the 20 bars before, ATR rank 0.900 and volume rank 0.950 > 0.8")
    assert not hasattr(signal, "qty")
    digest(signal)  # raises on a numpy scalar


def test_signals_come_in_symbol_order_whatever_the_order_of_rows():
    signals = strategy().generate(snapshot([FIRES, QUIET, FALLS], [Timeframe.M15], idx=[2, 0, 1]))
    assert [(s.symbol, s.side) for s in signals] == [(NAMES[0], Side.LONG), (NAMES[2], Side.SHORT)]


def test_nothing_is_said_when_the_timeframe_did_not_close():
    made = snapshot([FIRES], [Timeframe.M5, Timeframe.H1])
    assert strategy(1).generate(made) == []
    assert strategy(1).abstaining(made) == ()


def test_a_row_whose_bar_did_not_close_gives_no_signal():
    signals = strategy().generate(snapshot([FIRES, FIRES, FIRES], [Timeframe.M15], idx=[1]))
    assert [s.symbol for s in signals] == [NAMES[1]]


def test_nothing_is_opened_on_a_flagged_bar():
    """X44, and the strategy says that it abstained."""
    made = snapshot([FIRES, FIRES], [Timeframe.M15], flags=[1, 0])
    assert [s.symbol for s in strategy(2).generate(made)] == [NAMES[1]]
    assert strategy(2).abstaining(made) == ((NAMES[0], RefusalCode.BAR_FLAGGED, (), Side.LONG, BarFlag.ZERO_VOLUME),)


@pytest.mark.parametrize("flag", [flag for flag in BarFlag if flag])
def test_nothing_is_opened_on_a_bar_that_was_built_in_part_of_flagged_ones(flag):
    """X44, B5: the last base bar is clean, the 15m bar is not; flags stand place by place as the rows that closed."""
    made = snapshot([FIRES, QUIET, FALLS], [Timeframe.M15], idx=[1, 2])
    made.block_flags = {Timeframe.M15: np.array([0, flag], dtype=np.uint8)}
    assert strategy().generate(made) == []
    assert strategy().abstaining(made) == ((NAMES[2], RefusalCode.BAR_FLAGGED, (), Side.SHORT, flag),)
    made.block_flags = {Timeframe.M15: np.array([flag, 0], dtype=np.uint8)}
    assert [s.symbol for s in strategy().generate(made)] == [NAMES[2]]
    assert strategy().abstaining(made) == ()


def test_flags_of_another_timeframe_do_not_matter():
    made = snapshot([FIRES], [Timeframe.M15, Timeframe.H1])
    made.block_flags = {
        Timeframe.M15: np.zeros(1, dtype=np.uint8),
        Timeframe.H1: np.array([BarFlag.PARTIAL], dtype=np.uint8),
    }
    assert len(strategy(1).generate(made)) == 1


def test_a_flagged_bar_on_which_the_rule_says_nothing_is_not_worth_a_word():
    made = snapshot([QUIET, FIRES], [Timeframe.M15], flags=[BarFlag.FILLED, 0])
    assert strategy(2).abstaining(made) == ()


def test_what_is_missing_comes_before_the_flag():
    made = snapshot([FIRES], [Timeframe.M15], flags=[1])
    made.ready["atr@15m"][0] = False
    assert [item.code for item in strategy(1).abstaining(made)] == [RefusalCode.WARMING_UP]


def test_a_row_that_is_not_ready_is_silent_even_where_the_rule_would_fire():
    made = snapshot([FIRES], [Timeframe.M15])
    made.ready["atr@15m"][0] = False
    assert strategy(1).generate(made) == []
    assert strategy(1).abstaining(made) == (Abstention(NAMES[0], RefusalCode.WARMING_UP, ("atr@15m",)),)


def test_features_without_history_abstain_as_warming_up():
    cold = {**FIRES, "atr_rank480@15m": math.nan, "volume_rank480@15m": math.nan}
    made = snapshot([FIRES, cold], [Timeframe.M15])
    assert strategy(2).abstaining(made) == (
        Abstention(NAMES[1], RefusalCode.WARMING_UP, ("atr_rank480@15m", "volume_rank480@15m")),
    )


@pytest.mark.parametrize("stream", ["funding", "basis"])
def test_an_absent_stream_is_a_missing_input_not_a_warm_up(stream):
    names = build_strategies(FILE, NAMES[:1], [Timeframe.M5], GOVERNANCE)["funding_rev"]
    row = dict.fromkeys(names.required, 0.5)
    assert names.abstaining(snapshot([row], [Timeframe.H1])) == ()
    absent = {**row, stream: math.nan, "basis_rank": math.nan}
    ((symbol, code, missing, *_),) = names.abstaining(snapshot([absent], [Timeframe.H1]))
    assert (symbol, code) == (NAMES[0], RefusalCode.MISSING_INPUT)
    assert set(missing) == {stream, "basis_rank"}
    warming = {**row, "basis_rank": math.nan}
    assert names.abstaining(snapshot([warming], [Timeframe.H1]))[0].code is RefusalCode.WARMING_UP


def test_a_spot_market_and_its_perpetual_never_share_a_signal_id():
    symbols = ("BTC/USDT:USDT", "BTC/USDT")
    made = snapshot([FIRES, FIRES], [Timeframe.M15])
    made.symbols = symbols
    signals = build_strategies(FILE, symbols, [Timeframe.M5] * 2, GOVERNANCE)["vol_exp_15m"].generate(made)
    assert len({s.id for s in signals}) == 2


def test_exits_are_refused_for_a_timeframe_the_strategy_never_opens_on():
    with pytest.raises(ValueError, match="timeframe was 1m, expected one of 15m"):
        strategy(1).profile(Timeframe.M1)


def test_disabled_strategies_are_left_out_and_the_rest_keep_their_order():
    names = list(build_strategies(FILE, NAMES, [Timeframe.M5] * 3, GOVERNANCE))
    assert names == ["breakout_4h", "vol_exp_15m", "range_rev_5m", "funding_rev"]
    changed = FILE.model_copy(update={"vol_exp_15m": FILE.vol_exp_15m.model_copy(update={"enabled": False})})
    assert list(build_strategies(changed, NAMES, [Timeframe.M5] * 3, GOVERNANCE)) == [
        "breakout_4h",
        "range_rev_5m",
        "funding_rev",
    ]


def test_a_base_timeframe_is_needed_for_each_symbol():
    with pytest.raises(ValueError, match="expected one for each of 3 symbols"):
        build_strategies(FILE, NAMES, [Timeframe.M5])
