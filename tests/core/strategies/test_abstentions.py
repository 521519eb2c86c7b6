"""What stays the same is said once, not on every bar; what changes is said again."""

from __future__ import annotations

import json

from core.codes import RefusalCode
from core.data.blocks import BarFlag
from core.strategies.abstentions import AbstentionLog
from core.strategies.base import Abstention
from core.types import Side

BTC, SOL = "BTC/USDT:USDT", "SOL/USDT:USDT"
MISSING = Abstention(SOL, RefusalCode.MISSING_INPUT, ("basis", "basis_rank"))
WARMING = Abstention(SOL, RefusalCode.WARMING_UP, ("basis_rank",))
BOTH = (BTC, SOL)


def codes(found: list) -> list[RefusalCode]:
    return [refusal.code for refusal in found]


def test_a_strategy_that_falls_silent_says_so_once() -> None:
    log = AbstentionLog()
    assert codes(log.news("funding_rev", 1, BOTH, (MISSING,))) == [RefusalCode.MISSING_INPUT]
    assert log.news("funding_rev", 2, BOTH, (MISSING,)) == []


def test_another_reason_is_news() -> None:
    log = AbstentionLog()
    log.news("funding_rev", 1, BOTH, (WARMING,))
    assert codes(log.news("funding_rev", 2, BOTH, (MISSING,))) == [RefusalCode.MISSING_INPUT]


def test_after_speaking_again_silence_is_news() -> None:
    log = AbstentionLog()
    log.news("funding_rev", 1, BOTH, (MISSING,))
    assert log.news("funding_rev", 2, BOTH, ()) == []
    assert codes(log.news("funding_rev", 3, BOTH, (MISSING,))) == [RefusalCode.MISSING_INPUT]


def test_a_symbol_that_was_not_looked_at_is_as_silent_as_before() -> None:
    """Its bar did not close now, so nothing is known of it."""
    log = AbstentionLog()
    log.news("funding_rev", 1, BOTH, (MISSING,))
    assert log.news("funding_rev", 2, (BTC,), ()) == []
    assert log.news("funding_rev", 3, BOTH, (MISSING,)) == []


def test_strategies_are_told_apart() -> None:
    log = AbstentionLog()
    log.news("funding_rev", 1, BOTH, (MISSING,))
    assert codes(log.news("breakout_4h", 1, BOTH, (MISSING,))) == [RefusalCode.MISSING_INPUT]


def test_an_entry_that_a_flagged_bar_costs_is_told_each_time_and_is_no_silence() -> None:
    """X44, G7: every raw signal leaves as a candidate or with a code; the reference is what the signal's id would be."""
    log = AbstentionLog()
    flagged = Abstention(SOL, RefusalCode.BAR_FLAGGED, (), Side.LONG, BarFlag.PARTIAL | BarFlag.REPAIRED)
    (first,) = log.news("funding_rev", 1, BOTH, (flagged,))
    (second,) = log.news("funding_rev", 2, BOTH, (flagged,))
    assert (first.code, first.symbol, first.strategy) == (RefusalCode.BAR_FLAGGED, SOL, "funding_rev")
    assert (first.ref, second.ref) == ("1-funding_rev-SOLUSDT", "2-funding_rev-SOLUSDT")
    assert first.detail == (("side", "long"), ("flags", "partial, repaired"))
    assert first.message.endswith("(bar: partial, repaired)")
    assert log.snapshot() == []


def test_who_could_speak_but_for_a_flagged_bar_is_not_silent_any_more() -> None:
    log = AbstentionLog()
    log.news("funding_rev", 1, BOTH, (WARMING,))
    log.news("funding_rev", 2, BOTH, (Abstention(SOL, RefusalCode.BAR_FLAGGED, (), Side.LONG, BarFlag.PARTIAL),))
    assert log.snapshot() == []


def test_a_refusal_says_what_is_missing_and_where() -> None:
    (refusal,) = AbstentionLog().news("funding_rev", 77, BOTH, (MISSING,))
    assert (refusal.ts, refusal.stage, refusal.symbol, refusal.strategy) == (77, "strategy_selection", SOL, "funding_rev")
    assert refusal.detail == (("missing", "basis, basis_rank"),)
    assert "missing: basis, basis_rank" in refusal.message


def test_other_news_is_kept_apart_by_kind_and_forgotten_when_it_is_over() -> None:
    log = AbstentionLog()
    assert log.is_news("add", "P-1", RefusalCode.ADD_TO_LOSER)
    assert not log.is_news("add", "P-1", RefusalCode.ADD_TO_LOSER)
    assert log.is_news("add", "P-1", RefusalCode.COST_SHARE)
    assert log.is_news("add", "P-2", RefusalCode.COST_SHARE)
    log.forget("add", "P-1")
    log.forget("add", "never heard of")
    assert log.is_news("add", "P-1", RefusalCode.COST_SHARE)
    assert not log.is_news("add", "P-2", RefusalCode.COST_SHARE)


def test_a_restart_does_not_say_it_again() -> None:
    """X43: by way of JSON text."""
    log = AbstentionLog()
    log.news("funding_rev", 1, BOTH, (MISSING,))
    resumed = AbstentionLog()
    resumed.restore(json.loads(json.dumps(log.snapshot())))
    assert resumed.news("funding_rev", 2, BOTH, (MISSING,)) == []
    assert resumed.snapshot() == log.snapshot()
