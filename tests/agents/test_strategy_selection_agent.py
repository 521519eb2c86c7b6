"""What selection does with signals: order, owners, gates at work (G6, G7, X17). The gates one by one: test_gates.py.

The market and every service are those of a real run; only the strategies say what the test wants them to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.codes import RefusalCode
from core.data.blocks import Book
from core.strategies.base import Abstention
from core.types import Refusal, Regime, ScoredSignal, Timeframe
from tests.agents.making import BTC, ETH, SOL, Level, Ran, Says, breaking_out, decide, play, saying, untouched
from tests.core.strategies.making import trade
from tests.support.ladder import HOUR, ladder

ALL = (SOL, BTC, ETH)
"""The run's order; not that of the alphabet, so that the two can be told apart."""


@pytest.fixture(scope="module")
def ten_hours(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Three symbols after ten hours of ladder: trends upwards, nothing open."""
    folder = tmp_path_factory.mktemp("ten_hours")
    return play(folder, SOL=ladder().climb(10), BTC=ladder().climb(10), ETH=ladder().climb(10))


@pytest.fixture
def ran(ten_hours: Ran) -> Iterator[Ran]:
    with untouched(ten_hours) as ran:
        yield ran


def names(scored: tuple[ScoredSignal, ...]) -> list[tuple[str, str]]:
    return [(item.signal.strategy, item.signal.symbol) for item in scored]


def coded(refusals: tuple[Refusal, ...]) -> list[tuple[RefusalCode, str, str]]:
    return [(item.code, item.strategy, item.symbol) for item in refusals]


def selection_of(ran: Ran, *strategies: Says, **changes: object):
    state, _ = decide(ran, strategies, **changes)
    return state["selection"]


def test_equal_signals_are_ordered_by_symbol(ran: Ran) -> None:
    """X17: last of the three criteria; the run's own order is SOL, BTC, ETH. BTC and ETH have one modelled spread."""
    selection = selection_of(ran, saying("breakout_4h", SOL, ETH, BTC, entry=186.4))
    scores = {item.signal.symbol: item.score for item in selection.scored}
    assert scores[BTC] == scores[ETH]
    order = [symbol for _, symbol in names(selection.candidates)]
    assert order.index(BTC) < order.index(ETH)
    assert names(selection.scored) == [("breakout_4h", symbol) for symbol in (SOL, ETH, BTC)]


def test_the_better_score_comes_first(ran: Ran) -> None:
    """X17: before the enable map's order and before the alphabet, which would both put the breakout on BTC first."""
    says = [saying("breakout_4h", BTC), saying("vol_exp_15m", ETH)]
    selection = selection_of(ran, *says, scorer=Level(breakout_4h=8.0, vol_exp_15m=8.5))
    assert names(selection.candidates) == [("vol_exp_15m", ETH), ("breakout_4h", BTC)]


def test_equal_scores_of_two_strategies_come_in_the_enable_map_s_order(ran: Ran) -> None:
    """X17: trend_up: [breakout_4h, vol_exp_15m]; the strategies are asked in the other order."""
    assert ran.context.config.enable_map.order("trend_up") == ("breakout_4h", "vol_exp_15m")
    selection = selection_of(ran, saying("vol_exp_15m", BTC), saying("breakout_4h", ETH), scorer=Level())
    assert [item.score for item in selection.scored] == [9.0, 9.0]
    assert names(selection.candidates) == [("breakout_4h", ETH), ("vol_exp_15m", BTC)]
    assert names(selection.scored) == [("vol_exp_15m", BTC), ("breakout_4h", ETH)]


def test_of_two_strategies_that_want_one_symbol_on_one_bar_the_better_gets_it(ran: Ran) -> None:
    """X17: the other is refused SYMBOL_OWNED by admission, for what was just given counts as held."""
    worse, better = saying("breakout_4h", SOL), saying("vol_exp_15m", SOL)
    state, _ = decide(ran, [worse, better], scorer=Level(breakout_4h=8.0, vol_exp_15m=8.5))
    assert [plan.strategy for plan in state["risk"].plans] == ["vol_exp_15m"]
    assert coded(state["risk"].refusals) == [(RefusalCode.SYMBOL_OWNED, "breakout_4h", SOL)]
    assert state["risk"].refusals[0].detail[0] == ("owner", "vol_exp_15m")


def test_a_symbol_whose_entry_is_on_its_way_is_owned(ran: Ran) -> None:
    """X17: decided on this bar, not filled yet; the same bar decided again finds it pending."""
    _, context = decide(ran, [saying("breakout_4h", SOL)], scorer=Level())
    assert [plan.symbol for plan in context.orders.pending()] == [SOL]
    selection = selection_of(ran, saying("vol_exp_15m", SOL), scorer=Level())
    assert coded(selection.refusals) == [(RefusalCode.SYMBOL_OWNED, "vol_exp_15m", SOL)]
    assert selection.refusals[0].detail == (("owner", "breakout_4h"),)


def test_a_symbol_with_a_position_is_owned_and_managed(tmp_path: Path) -> None:
    ran = play(tmp_path, BTC=breaking_out().climb(1))
    selection = selection_of(ran, saying("vol_exp_15m", BTC), scorer=Level())
    assert coded(selection.refusals) == [(RefusalCode.SYMBOL_OWNED, "vol_exp_15m", BTC)]
    assert selection.manage == (BTC,)


def test_a_strategy_that_the_regime_does_not_enable_is_refused(ran: Ran) -> None:
    """H3: trend_up enables neither range_rev_5m nor funding_rev."""
    selection = selection_of(ran, saying("funding_rev", BTC), saying("range_rev_5m", ETH), scorer=Level())
    assert [code for code, _, _ in coded(selection.refusals)] == [RefusalCode.REGIME_DISABLED] * 2
    assert selection.candidates == ()


def test_a_regime_that_the_strategy_itself_forbids_is_refused_though_the_map_enables_it(ran: Ran) -> None:
    strict = saying("breakout_4h", BTC, forbidden_regimes=(Regime.TREND_UP,))
    selection = selection_of(ran, strict, scorer=Level())
    assert coded(selection.refusals) == [(RefusalCode.REGIME_DISABLED, "breakout_4h", BTC)]


def test_a_strategy_rests_after_two_stops_in_a_row_and_only_that_strategy(ran: Ran) -> None:
    """G6, X20."""
    now = ran.context.market.closed.ts
    for _ in range(2):
        ran.context.cooldowns.on_trade(trade(-1.0, strategy="breakout_4h", closed_ts=now - HOUR, tf=Timeframe.H1))
    selection = selection_of(ran, saying("breakout_4h", BTC), saying("vol_exp_15m", ETH), scorer=Level())
    assert coded(selection.refusals) == [(RefusalCode.COOLDOWN, "breakout_4h", BTC)]
    assert names(selection.candidates) == [("vol_exp_15m", ETH)]


def test_the_threshold_is_the_one_that_selection_has_earned(ran: Ran) -> None:
    """X24: fifty decided trades of which less than half won raise it from 7 to 8."""
    score = Level(breakout_4h=7.5)
    assert len((selection_of(ran, saying("breakout_4h", SOL), scorer=score)).candidates) == 1
    for number in range(50):
        ran.context.quality.on_trade(trade(1.0 if number % 3 == 0 else -1.0))
    selection = selection_of(ran, saying("breakout_4h", BTC), scorer=score)
    assert coded(selection.refusals) == [(RefusalCode.SCORE_LOW, "breakout_4h", BTC)]
    assert selection.refusals[0].detail == (("score", 7.5), ("threshold", 8.0))


def test_every_signal_leaves_as_a_candidate_or_as_a_refusal(ran: Ran) -> None:
    says = [saying("breakout_4h", *ALL), saying("funding_rev", *ALL), saying("vol_exp_15m", *ALL)]
    selection = selection_of(ran, *says, scorer=Level(vol_exp_15m=6.0))
    assert len(selection.scored) == 9
    assert len(selection.candidates) + len(selection.refusals) == 9


def test_an_abstention_is_told_when_it_is_news_and_not_again(ran: Ran) -> None:
    """The same bar twice; the log of the run remembers."""
    silent = Says("breakout_4h", silent=(Abstention(SOL, RefusalCode.WARMING_UP, ("adx@4h",)),))
    assert coded((selection_of(ran, silent)).refusals) == [(RefusalCode.WARMING_UP, "breakout_4h", SOL)]
    assert (selection_of(ran, silent)).refusals == ()


def test_a_strategy_is_not_asked_when_none_of_its_timeframes_closed(ran: Ran) -> None:
    """The tenth hour ends no 4h bar."""
    asleep, awake = saying("breakout_4h", BTC, tfs=(Timeframe.H4,)), saying("vol_exp_15m", ETH)
    selection_of(ran, asleep, awake)
    assert asleep.seen == []
    (snapshot,) = awake.seen
    assert list(snapshot.closed) == [Timeframe.H1]
    assert snapshot.ts == ran.context.market.closed.ts


def test_a_strategy_is_told_the_flags_of_the_bars_that_closed(ran: Ran) -> None:
    """X44: place by place as the rows, for every timeframe."""
    awake = saying("vol_exp_15m", ETH)
    selection_of(ran, awake)
    (snapshot,) = awake.seen
    blocks = ran.context.market.closed.blocks
    assert {tf: flags.tolist() for tf, flags in snapshot.block_flags.items()} == {b.tf: b.flags.tolist() for b in blocks}


def test_the_score_is_told_of_open_positions_and_of_an_unknown_correlation(tmp_path: Path) -> None:
    """G7: exposure is part of the score; sixty days are too few for a correlation (X25), and unknown is not neutral."""
    ran = play(tmp_path, BTC=breaking_out().climb(1), ETH=ladder().climb(13))
    (scored,) = (selection_of(ran, saying("breakout_4h", ETH))).scored
    part = next(part for part in scored.parts if part.name == "correlation_exposure")
    assert (part.points, part.known) == (0.5, False)
    assert part.inputs == (("max_abs_rho", None), ("open_positions", 1))


def test_a_signal_without_an_atr_or_a_book_has_no_known_cost(ran: Ran) -> None:
    base = saying("breakout_4h", BTC)
    flat = Says("breakout_4h", lambda ts: [replace(base.signals(ts)[0], atr=0.0)])
    late = Says("breakout_4h", lambda ts: [replace(base.signals(ts)[0], ts=ts + 3 * HOUR)])
    for strange in (flat, late):
        (scored,) = (selection_of(ran, strange)).scored
        part = next(part for part in scored.parts if part.name == "liquidity")
        assert (part.points, part.known, part.inputs) == (0.0, False, (("cost_r", None),))


def test_a_signal_where_nobody_stands_near_the_middle_has_no_known_cost(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """H4: a spread wider than the band in which depth is counted; the sizer refuses what scores well without it."""
    monkeypatch.setattr(ran.context.market, "book", lambda index, ts: Book(BTC, ts, 186.0, 187.0, 0.0, False))
    selection = selection_of(ran, saying("breakout_4h", BTC))
    part = next(part for part in selection.scored[0].parts if part.name == "liquidity")
    assert (part.points, part.known, part.inputs) == (0.0, False, (("cost_r", None),))


def test_what_scores_well_in_an_empty_book_is_refused_by_the_sizer(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """H4."""
    monkeypatch.setattr(ran.context.market, "book", lambda index, ts: Book(BTC, ts, 186.0, 187.0, 0.0, False))
    state, _ = decide(ran, [saying("breakout_4h", BTC)], scorer=Level())
    assert coded(state["risk"].refusals) == [(RefusalCode.BOOK_THIN, "breakout_4h", BTC)]
