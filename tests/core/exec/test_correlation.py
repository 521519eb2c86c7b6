from __future__ import annotations

import json
import math

import numpy as np
import pytest

from core.errors import StateError
from core.exec.correlation import Correlations

DAY = 86_400_000
START = 19_900 * DAY


def walks(n: int, seed: int = 1) -> np.ndarray:
    """``n`` days of three symbols' closes: the second moves with the first, the third mostly on its own."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0, 0.03, n)
    own = rng.normal(0.0, 0.03, (n, 3))
    returns = np.column_stack([common, 0.9 * common + 0.2 * own[:, 1], 0.3 * common + own[:, 2]])
    return 100.0 * np.exp(np.cumsum(returns, axis=0))


def fed(closes: np.ndarray, symbols: tuple[str, ...] = ("A", "B", "C")) -> Correlations:
    made = Correlations(symbols)
    for day, row in enumerate(closes):
        made.update(START + day * DAY, [float(x) for x in row])
    return made


def test_rho_is_pearson_of_the_last_90_daily_log_returns():
    """F4, X25: against numpy over the last 91 closes of 150."""
    closes = walks(150)
    expected = np.corrcoef(np.diff(np.log(closes[-91:]), axis=0).T)
    made = fed(closes)
    for i in range(3):
        for j in range(3):
            assert made.rho(i, j) == pytest.approx(expected[i, j], abs=1e-12)
    assert made.between("B", "A") == made.rho(0, 1)


def test_fewer_than_80_common_days_are_unknown():
    """X25: 80 returns need 81 closes."""
    closes = walks(81)
    assert fed(closes[:80]).rho(0, 1) is None
    assert fed(closes).rho(0, 1) is not None


def test_a_missing_close_costs_two_returns_of_that_pair_only():
    """X25: common days: 90 - 2 x 6 = 78 for A-B, 90 for A-C."""
    closes = walks(91)
    closes[5:65:10, 1] = np.nan
    made = fed(closes)
    assert made.rho(0, 1) is None
    assert made.rho(0, 2) is not None


def test_a_pair_depends_on_its_own_symbols_only():
    closes = walks(120)
    alone = fed(closes[:, :2], ("A", "B"))
    assert alone.rho(0, 1) == fed(closes).rho(0, 1)


def test_what_never_moves_correlates_with_nothing():
    closes = walks(91)
    closes[:, 1] = 100.0
    assert fed(closes).rho(0, 1) is None


def test_impossible_closes_are_no_closes():
    made = Correlations(("A", "B"))
    made.update(START, [None, -1.0])
    made.update(START + DAY, [math.nan, 0.0])
    assert made.snapshot()["closes"] == [[], []]


def test_history_may_come_in_any_order_and_a_day_in_parts():
    closes = walks(95)
    made = Correlations(("A", "B", "C"))
    for day in reversed(range(95)):
        made.update(START + day * DAY, [float(closes[day, 0]), None, None])
        made.update(START + day * DAY, [None, *[float(x) for x in closes[day, 1:]]])
    assert made.rho(0, 1) == fed(closes).rho(0, 1)
    assert made.last_day == 19_900 + 94


def test_the_revision_counts_what_changed_anything():
    """X25: a day in parts, a repeat of it, a corrected close, and a day without closes, which moves the window."""
    made = Correlations(("A", "B"))
    seen = [made.revision]
    for day, closes in [(1, [10.0, None]), (1, [None, 5.0]), (1, [10.0, 5.0]), (1, [11.0, 5.0]), (2, [None, None])]:
        made.update(START + day * DAY, closes)
        seen.append(made.revision)
    assert seen == [0, 1, 2, 2, 3, 4]
    again = Correlations(("A", "B"))
    again.restore(made.snapshot())
    assert again.revision == 4


def test_before_any_day_and_for_strangers_rho_is_unknown():
    made = Correlations(("A", "B"))
    assert (made.rho(0, 1), made.last_day) == (None, None)
    full = fed(walks(91))
    assert full.between("A", "X") is None
    assert full.between("X", "A") is None


def test_a_restart_changes_nothing():
    closes = walks(130)
    made = fed(closes[:120])
    again = Correlations(("A", "B", "C"))
    again.restore(json.loads(json.dumps(made.snapshot())))
    for day in range(120, 130):
        for one in (made, again):
            one.update(START + day * DAY, [float(x) for x in closes[day]])
        assert again.rho(0, 2) == made.rho(0, 2)
    assert again.snapshot() == made.snapshot()


@pytest.mark.parametrize("change", [{"version": 2}, {"symbols": ["A"]}])
def test_a_snapshot_of_something_else_is_refused(change):
    made = fed(walks(5))
    with pytest.raises(StateError):
        made.restore({**made.snapshot(), **change})
