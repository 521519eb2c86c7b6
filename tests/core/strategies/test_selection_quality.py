"""The threshold rises while the selection wins too rarely (G11, X24)."""

from __future__ import annotations

import json

import pytest

from core.errors import StateError
from core.strategies.quality import SelectionQuality
from tests.core.strategies.making import TS, governance, trade

WIN, LOSS, SCRATCH = trade(1.0, stop=False), trade(-1.0), trade(-0.1)


def after(*trades) -> tuple[SelectionQuality, list]:
    quality = SelectionQuality(governance())
    return quality, [request for one in trades if (request := quality.on_trade(one)) is not None]


def test_nothing_changes_before_the_window_is_full():
    quality, requests = after(*[LOSS] * 49)
    assert (quality.threshold, quality.decided, quality.win_rate_pct, requests) == (7.0, 49, 0.0, [])


def test_below_half_the_threshold_is_8_and_research_is_asked_for_once():
    """X24: 24 of 50 is 48 %."""
    quality, requests = after(*[WIN] * 24, *[LOSS] * 26, LOSS, LOSS)
    assert quality.threshold == 8.0
    assert quality.tight
    assert [(r.ts, r.win_rate_pct, r.trades, r.threshold) for r in requests] == [(TS, 48.0, 50, 8.0)]
    assert requests[0].note.startswith("48.0 % of the last 50 decided trades won, below 50 %")


def test_exactly_half_is_enough():
    quality, requests = after(*[WIN] * 25, *[LOSS] * 25)
    assert (quality.threshold, requests) == (7.0, [])


def test_it_ends_only_above_52_percent():
    """26 of 50 is 52 %: still tight; 27 ends it. The first losses leave the window as wins come in."""
    start = [*[LOSS] * 26, *[WIN] * 24]
    assert after(*start, WIN, WIN)[0].threshold == 8.0
    assert after(*start, WIN, WIN, WIN)[0].threshold == 7.0


def test_a_second_tightening_asks_again():
    start = [*[LOSS] * 26, *[WIN] * 24, *[WIN] * 3]
    quality, requests = after(*start, *[LOSS] * 30)
    assert quality.tight
    assert len(requests) == 2


def test_scratches_are_not_decided():
    """X6."""
    quality, _ = after(*[LOSS] * 26, *[SCRATCH] * 100, *[WIN] * 23)
    assert (quality.decided, quality.threshold) == (49, 7.0)


def test_a_restored_window_goes_on_where_it_stopped():
    trades = [*[LOSS] * 26, *[WIN] * 27, LOSS]
    for cut in (0, 10, 50, 52, 54):
        second = SelectionQuality(governance())
        second.restore(json.loads(json.dumps(after(*trades[:cut])[0].snapshot())))
        for one in trades[cut:]:
            second.on_trade(one)
        assert second.snapshot() == after(*trades)[0].snapshot()


def test_a_damaged_snapshot_is_refused():
    with pytest.raises(StateError, match="expected wins and tight"):
        SelectionQuality(governance()).restore({"wins": [True]})


def test_there_is_no_win_rate_before_the_first_decided_trade():
    assert after(SCRATCH)[0].win_rate_pct is None
