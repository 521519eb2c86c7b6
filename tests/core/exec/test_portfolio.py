from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from core.codes import RefusalCode
from core.errors import StateError
from core.exec.correlation import Correlations
from core.exec.portfolio import Admission, Exposure, ExposureView, Portfolio
from core.types import PlanKind, Side, TradingState
from tests.core.risk.making import governance, plan, position, view, winner

D = Decimal
DAY = 86_400_000
START = 19_900 * DAY
SOL, BTC, ETH, ADA = "SOL/USDT:USDT", "BTC/USDT:USDT", "ETH/USDT:USDT", "ADA/USDT:USDT"
UNIVERSE = (BTC, ETH, SOL, ADA)


class Made(Correlations):
    """Correlations with given values: (pair of symbols) -> rho, by the day they are of."""

    def __init__(self, rho: float | None = 0.1, day: int = 1, **pairs: float | None) -> None:
        super().__init__(UNIVERSE)
        self.value, self.day, self.pairs, self.parts = rho, day, pairs, 0

    @property
    def revision(self) -> int:
        return 10 * self.day + self.parts

    @property
    def last_day(self) -> int | None:
        return self.day

    def between(self, symbol: str, other: str) -> float | None:
        key = "_".join(sorted((symbol[:3], other[:3])))
        return self.pairs.get(key, self.value)


def small(symbol: str = SOL, side: Side = Side.LONG, **changes):
    return plan(side, symbol, **{"risk_usd": 1.0, "qty": D("0.25"), **changes})


def open_one(symbol: str, side: Side = Side.LONG, notional: float = 25.0, risk: float = 0.5, **changes) -> Exposure:
    values = {"strategy": "breakout_4h", "drop_usd": risk, **changes}
    return Exposure(symbol, side, notional_usd=notional, risk_usd=risk, **values)


def seen(*positions: Exposure, pending: tuple[Exposure, ...] = (), equity: float = 300.0, **governor) -> ExposureView:
    return ExposureView(equity, view(300.0, **governor), positions, pending, UNIVERSE)


def code_of(admission: Admission) -> RefusalCode | None:
    assert admission.ok == (admission.refusal is None)
    if admission.refusal is None:
        return None
    assert admission.refusal.message
    assert admission.refusal.detail
    return admission.refusal.code


def admitted(wanted, book: ExposureView, correlations: Correlations | None = None, **changes) -> RefusalCode | None:
    return code_of(Portfolio(governance(**changes), correlations or Made()).admit(wanted, book))


# --- what is open -----------------------------------------------------------------------------------


def test_the_exposure_of_a_position_is_marked_to_market():
    """X9, X10: 1 SOL from 100, stop 96, marked at 102: 4.096 against the entry, 6.096 against the mark."""
    made = Exposure.of_position(position(), 102.0, 0.001)
    assert (made.notional_usd, made.r_now, made.adds, made.strategy) == (102.0, 0.5, 0, "breakout_4h")
    assert made.risk_usd == pytest.approx(4.096)
    assert made.drop_usd == pytest.approx(6.096)


def test_an_unknown_mark_admits_nothing():
    made = Exposure.of_position(position(), math.nan, 0.001)
    assert made.r_now is None
    assert Exposure.of_position(position(r_price=0.0), 100.0, 0.001).r_now is None
    assert admitted(small(BTC), seen(made)) is RefusalCode.MISSING_INPUT


def test_a_pending_plan_counts_in_full():
    made = Exposure.of_plan(small())
    assert (made.notional_usd, made.risk_usd, made.drop_usd) == (25.0, 1.0, 1.0)


def test_shorts_reduce_the_net_and_not_the_gross():
    book = seen(open_one(BTC), open_one(ETH, Side.SHORT, 10.0), pending=(open_one(ADA, Side.SHORT, 5.0),))
    assert (book.gross_usd, book.net_usd) == (40.0, 10.0)
    assert (book.open_risk_usd, book.open_drop_usd) == (1.5, 1.5)


# --- who owns a symbol ------------------------------------------------------------------------------


def test_an_empty_book_admits():
    assert admitted(small(), seen()) is None


def test_a_symbol_has_one_owner():
    """X17: open or pending, same strategy or not."""
    assert admitted(small(), seen(open_one(SOL))) is RefusalCode.SYMBOL_OWNED
    assert admitted(small(), seen(pending=(open_one(SOL, strategy="vol_exp_15m"),))) is RefusalCode.SYMBOL_OWNED


def add(**changes):
    return small(kind=PlanKind.ADD, **changes)


def test_an_add_joins_its_own_winner():
    """E5, X16."""
    held = Exposure.of_position(winner(), 104.0, 0.001)
    assert held.r_now == 1.0
    assert admitted(add(), seen(held)) is None


@pytest.mark.parametrize(
    ("book", "code"),
    [
        (seen(), RefusalCode.ADD_TO_LOSER),
        (seen(open_one(SOL, r_now=0.99)), RefusalCode.ADD_TO_LOSER),
        (seen(open_one(SOL, r_now=None)), RefusalCode.ADD_TO_LOSER),
        (seen(open_one(SOL, r_now=-1.0)), RefusalCode.ADD_TO_LOSER),
        (seen(open_one(SOL, r_now=2.0, adds=1)), RefusalCode.ADD_ALREADY_DONE),
        (seen(open_one(SOL, r_now=2.0), pending=(open_one(SOL),)), RefusalCode.ADD_ALREADY_DONE),
        (seen(open_one(SOL, r_now=2.0, strategy="vol_exp_15m")), RefusalCode.SYMBOL_OWNED),
        (seen(open_one(SOL, Side.SHORT, r_now=2.0)), RefusalCode.SYMBOL_OWNED),
    ],
)
def test_an_add_joins_nothing_else(book, code):
    """E5, X16: no averaging down, no second add, no add to another's position."""
    assert admitted(add(), book) is code


# --- money ------------------------------------------------------------------------------------------


def test_portfolio_risk_counts_open_and_pending():
    """X9: 4.50 USD of 300."""
    book = seen(open_one(BTC, risk=2.0), pending=(open_one(ETH, risk=1.5),))
    assert admitted(small(risk_usd=1.0), book) is None
    assert admitted(small(risk_usd=1.01), book) is RefusalCode.PORTFOLIO_R_CAP


def test_the_worst_case_of_the_day_counts_what_open_profit_would_give_back():
    """X10: room 5.40, 4.50 of it would go with the open position."""
    book = seen(open_one(BTC, risk=0.0, drop_usd=4.5))
    assert admitted(small(risk_usd=0.9), book) is None
    assert admitted(small(risk_usd=0.91), book) is RefusalCode.DAY_WORST_CASE


def test_the_worst_case_of_72_hours_is_named():
    assert admitted(small(), seen(peak_72h=310.0, room_usd=0.85)) is RefusalCode.DRAWDOWN_WORST_CASE


def test_leverage_and_exposure_are_capped():
    """E6, F4: 900 USD at leverage 3."""
    book = seen(open_one(BTC, notional=880.0))
    assert admitted(small(qty=D("0.20")), book) is None
    assert admitted(small(qty=D("0.21")), book) is RefusalCode.LEVERAGE_CAP
    assert admitted(small(qty=D("0.20")), book, max_gross_exposure=2.9) is RefusalCode.EXPOSURE_CAP
    assert admitted(small(qty=D("0.20")), book, max_net_exposure=2.9) is RefusalCode.EXPOSURE_CAP
    assert admitted(small(side=Side.SHORT, qty=D("0.20")), book, max_net_exposure=2.9) is None


@pytest.mark.parametrize("equity", [0.0, -1.0, math.nan])
def test_without_equity_nothing_is_admitted(equity):
    assert admitted(small(), seen(equity=equity)) is RefusalCode.NO_EQUITY


def test_unknown_risk_is_not_admitted():
    assert admitted(small(risk_usd=math.nan), seen()) is RefusalCode.MISSING_INPUT


def test_a_lock_admits_nothing():
    """X12."""
    assert admitted(small(), seen(state=TradingState.REDUCING, day_lock=True)) is RefusalCode.DAY_LOCK
    assert admitted(small(), seen(state=TradingState.HALTED, kill_switch=True)) is RefusalCode.KILL_SWITCH


# --- correlation ------------------------------------------------------------------------------------


def test_at_most_two_that_move_together_are_open():
    """X25: the candidate and those with |rho| > 0.7 to it; -0.9 moves together too, 0.7 exactly does not."""
    two = seen(open_one(BTC), open_one(ETH))
    assert admitted(small(), two, Made(0.1, BTC_SOL=0.8, ETH_SOL=-0.9)) is RefusalCode.CORRELATED
    assert admitted(small(), two, Made(0.1, BTC_SOL=0.8, ETH_SOL=0.7)) is None
    assert admitted(small(), two, Made(0.1, BTC_SOL=0.8, ETH_SOL=0.9), max_correlated_open=3) is None
    pending = seen(open_one(BTC), pending=(open_one(ETH),))
    assert admitted(small(), pending, Made(0.1, BTC_SOL=0.8, ETH_SOL=0.9)) is RefusalCode.CORRELATED


def test_an_unknown_correlation_counts_as_correlated_with_the_candidate():
    """X25."""
    two = seen(open_one(BTC), open_one(ETH))
    assert admitted(small(), two, Made(None)) is RefusalCode.CORRELATED


def test_when_everything_moves_together_nothing_new_comes_while_something_is_open():
    """F4, X25: with nothing open it may."""
    assert admitted(small(), seen(open_one(BTC)), Made(0.8)) is RefusalCode.ALL_CORRELATED
    assert admitted(small(), seen(), Made(0.8)) is None


def test_an_unknown_pair_does_not_make_everything_move_together():
    """X25."""
    assert admitted(small(), seen(open_one(BTC)), Made(0.8, ADA_ETH=None)) is None


def test_an_add_opens_no_new_symbol_and_is_not_blocked_by_correlation():
    held = open_one(SOL, r_now=1.5)
    assert admitted(add(), seen(held, open_one(BTC)), Made(0.9)) is None


def test_the_block_has_hysteresis():
    """X25: on above 0.72, off below 0.68, judged once for the closes of a day."""
    correlations = Made(0.72)
    portfolio = Portfolio(governance(), correlations)
    history = []
    for day, rho in enumerate([0.72, 0.73, 0.69, 0.68, 0.679, 0.72, 0.721], start=1):
        correlations.day, correlations.value = day, rho
        history.append(portfolio.on_day(UNIVERSE))
    assert history == [False, True, True, True, False, False, True]
    correlations.value = 0.1
    assert portfolio.on_day(UNIVERSE)
    assert portfolio.all_correlated


def test_a_day_whose_closes_come_in_parts_is_judged_anew_from_the_day_before():
    """X25: at 0.70 the verdict is that of yesterday, whatever half of the day looked like."""
    correlations = Made(0.1)
    portfolio = Portfolio(governance(), correlations)
    history = []
    for day, part, rho in [(1, 0, 0.1), (2, 0, 0.9), (2, 1, 0.70), (3, 0, 0.1), (3, 1, 0.9), (4, 0, 0.1), (4, 1, 0.70)]:
        correlations.day, correlations.parts, correlations.value = day, part, rho
        history.append(portfolio.on_day(UNIVERSE))
        again = Portfolio(governance(), correlations)
        again.restore(portfolio.snapshot())
        portfolio = again
    assert history == [False, True, False, False, True, False, True]


def test_a_single_symbol_is_not_everything():
    assert not Portfolio(governance(), Made(1.0)).on_day((SOL,))


def test_the_held_block_survives_a_restart():
    """X25: at 0.70 a fresh portfolio does not block, a restored one goes on blocking."""
    correlations = Made(0.8)
    portfolio = Portfolio(governance(), correlations)
    portfolio.on_day(UNIVERSE)
    again = Portfolio(governance(), correlations)
    again.restore(portfolio.snapshot())
    assert again.snapshot() == portfolio.snapshot()
    correlations.day, correlations.value = 2, 0.70
    assert again.on_day(UNIVERSE)
    assert not Portfolio(governance(), correlations).on_day(UNIVERSE)


def test_a_snapshot_of_another_version_is_refused():
    with pytest.raises(StateError):
        Portfolio(governance(), Made()).restore({"version": 2})


def test_real_closes_are_judged():
    """F4: four symbols with one driver and a little of their own."""
    rng = np.random.default_rng(3)
    common = rng.normal(0.0, 0.03, 91)
    closes = np.exp(np.cumsum(common[:, None] + rng.normal(0.0, 0.005, (91, 4)), axis=0))
    correlations = Correlations(UNIVERSE)
    for day, row in enumerate(closes):
        correlations.update(START + day * DAY, [float(x) for x in row])
    assert admitted(small(), seen(open_one(BTC)), correlations) is RefusalCode.ALL_CORRELATED
