"""What holds for every plan and every book of admitted plans (E1-E6, X9, X10, X14, X16)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from core.canonical import encode
from core.codes import RefusalCode
from core.exec.correlation import Correlations
from core.exec.instrument import Instrument
from core.exec.portfolio import Exposure, ExposureView, Portfolio
from core.exec.position import Position
from core.risk.context import RiskContext
from core.risk.engine import RiskEngine
from core.risk.governor import Governor
from core.types import Plan, Refusal, Side, TradingState
from tests.core.risk.making import BREAKOUT, DIGEST, HOUR, TS, context, governance, instrument, position, scored, view

NAMES = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT", "ADA/USDT:USDT", "DOGE/USDT:USDT", "BNB/USDT:USDT")
LEVELS = dict(zip(NAMES, (60_000.0, 3_000.0, 150.0, 0.5, 0.12, 600.0), strict=True))
ENGINE = RiskEngine(governance(), DIGEST)
SIDES = st.sampled_from((Side.LONG, Side.SHORT))


def leg_cost(market: Instrument, qty: float, price: float, spread_bps: float, depth_usd: float) -> float:
    """Fee and slippage of one leg, worked out apart from the code under test."""
    slippage_bps = spread_bps / 2 + 5.0 * qty * price / depth_usd
    return qty * price * (market.taker_fee_rate + slippage_bps / 10_000)


@settings(max_examples=300, deadline=None)
@given(
    symbol=st.sampled_from(NAMES),
    side=SIDES,
    move=st.floats(0.5, 2.0),
    atr_pct=st.floats(0.05, 8.0),
    equity=st.floats(50.0, 1e6),
    r_pct=st.floats(0.0, 3.0),
    rank=st.one_of(st.none(), st.floats(0.0, 1.0)),
    spread=st.floats(0.0, 20.0),
    depth=st.floats(1e3, 1e8),
    used=st.floats(0.0, 1.6),
    filled_at=st.floats(0.0, 1.0),
)
def test_no_plan_loses_more_than_its_r_wherever_it_is_filled_up_to_its_cap(
    symbol, side, move, atr_pct, equity, r_pct, rank, spread, depth, used, filled_at
):
    """E2, X10, X14: with the modelled costs at most its own risk, at most 1.1 % of equity, and never above what was free."""
    market, close = instrument(symbol), LEVELS[symbol] * move
    wanted = scored(symbol, side, entry=close, atr=close * atr_pct / 100.0)
    asked = context(
        instrument=market,
        governor=view(equity, r_pct=r_pct),
        atr_rank=rank,
        spread_bps=spread,
        depth_usd=depth,
        open_risk_usd=equity * used / 100.0,
        open_drop_usd=equity * used / 100.0,
    )
    answer = ENGINE.plan(wanted, equity, asked)
    assert encode(answer) == encode(ENGINE.plan(wanted, equity, asked))
    if isinstance(answer, Refusal):
        assert answer.detail
        return
    qty, cap, stop = float(answer.qty), float(answer.entry), float(answer.stop)
    fill = stop + (cap - stop) * filled_at
    loss = qty * abs(fill - stop) + leg_cost(market, qty, fill, spread, depth) + leg_cost(market, qty, stop, spread, depth)
    slack = 1e-9 * equity
    assert loss <= answer.risk_usd + slack
    assert answer.risk_usd <= equity * min(r_pct, 1.1) / 100.0 + slack
    assert answer.risk_usd + equity * used / 100.0 <= equity * 0.015 + slack
    assert answer.qty % market.qty_step == 0
    assert answer.qty >= market.min_qty
    assert answer.qty * min(answer.entry, Decimal(repr(close))) >= market.min_notional
    assert sum((take.qty for take in answer.tps), Decimal(0)) <= answer.qty
    assert qty * cap <= 3.0 * equity * (1 + 1e-9)


@settings(max_examples=300, deadline=None)
@given(
    side=SIDES,
    left=st.integers(20, 100),
    stop_r=st.floats(-1.0, 1.0),
    price_r=st.one_of(st.floats(-1.5, 6.0), st.floats(1.0, 3.0)),
    adds=st.sampled_from((0, 0, 0, 1)),
    takes=st.integers(0, 2),
    depth=st.floats(3e3, 1e7),
    filled_at=st.floats(0.0, 1.0),
)
def test_only_winners_are_added_to_and_the_whole_can_no_longer_lose(side, left, stop_r, price_r, adds, takes, depth, filled_at):
    """E5, X16: 0.3R at most for the add, and what is held with it leaves at break-even or better after costs."""
    sign, market = side.sign, instrument(taker_fee_rate=0.0002)
    price = 100.0 + sign * 4.0 * price_r
    held = position(
        side,
        qty=Decimal(left) / 100,
        stop=market.stop_price(100.0 + sign * 4.0 * stop_r, side),
        adds=adds,
        takes_filled=takes,
        first_take_ts=TS + HOUR if takes else None,
        reached_1r_ts=TS + HOUR if takes else None,
    )
    asked = context(ts=TS + 2 * HOUR, instrument=market, depth_usd=depth, governor=view(3_000.0))
    answer = ENGINE.plan_add(held, price, asked)
    wanted = adds == 0 and takes > 0 and held.r_now(price) >= 1.0
    assert (answer is not None) == wanted
    if not isinstance(answer, Plan):
        return
    qty, cap, stop = float(answer.qty), float(answer.entry), float(answer.stop)
    assert sign * (stop - float(held.stop)) >= 0.0
    assert answer.risk_usd <= 0.3 * held.plan.risk_usd + 1e-9
    for fill in (cap, stop + (cap - stop) * filled_at):
        out = leg_cost(market, qty, fill, 2.0, depth) + leg_cost(market, qty, stop, 2.0, depth)
        assert qty * abs(fill - stop) + out <= answer.risk_usd + 1e-9
        whole = sign * (float(held.qty) * (stop - 100.0) + qty * (stop - fill))
        # slippage of the first entry is in its average price already; its fee is not
        costs = float(held.qty) * 100.0 * market.taker_fee_rate + leg_cost(market, qty, fill, 2.0, depth)
        costs += leg_cost(market, float(held.qty) + qty, stop, 2.0, depth)
        assert whole - costs >= -1e-6


class Desk:
    """A tiny market of one price a symbol, in which admitted plans are filled at their caps and stopped at their stops."""

    def __init__(self) -> None:
        self.governor = Governor(governance())
        self.portfolio = Portfolio(governance(), Correlations(NAMES))
        self.cash = 10_000.0
        self.ts = TS
        self.marks = dict(LEVELS)
        self.held: dict[str, Position] = {}

    @staticmethod
    def rate(symbol: str) -> float:
        """Taker fee and half the spread of :func:`context`, the least that plans are made with."""
        return instrument(symbol).taker_fee_rate + 0.0001

    def equity(self) -> float:
        return self.cash + sum(self.held[s].unrealised(self.marks[s]) for s in NAMES if s in self.held)

    def exposure(self) -> ExposureView:
        rows = [Exposure.of_position(self.held[s], self.marks[s], self.rate(s)) for s in NAMES if s in self.held]
        return ExposureView(self.equity(), self.governor.view, tuple(rows), (), NAMES)

    def move(self, symbol: str, change: float) -> None:
        self.ts += HOUR
        self.marks[symbol] *= 1.0 + change
        held = self.held.get(symbol)
        if held is not None and held.side.sign * (self.marks[symbol] - float(held.stop)) <= 0.0:
            stop, qty = float(held.stop), float(held.qty)
            self.cash += held.side.sign * qty * (stop - held.avg_entry) - qty * stop * self.rate(symbol)
            del self.held[symbol]
        self.governor.on_bar(self.ts, self.equity())

    def context(self, symbol: str, book: ExposureView) -> RiskContext:
        return context(
            ts=self.ts,
            instrument=instrument(symbol),
            governor=self.governor.view,
            open_risk_usd=book.open_risk_usd,
            open_drop_usd=book.open_drop_usd,
            open_notional_usd=book.gross_usd,
            net_notional_usd=book.net_usd,
            profile=replace(BREAKOUT, stop_atr=1.0),
        )

    def ask(self, symbol: str, side: Side, atr_pct: float) -> Plan | None:
        book, close = self.exposure(), self.marks[symbol]
        wanted = scored(symbol, side, entry=close, atr=close * atr_pct / 100.0, validity_ts=self.ts)
        made = ENGINE.plan(wanted, self.equity(), self.context(symbol, book))
        if isinstance(made, Refusal) or not self.portfolio.admit(made, book).ok:
            return None
        self.cash -= float(made.qty * made.entry) * self.rate(symbol)
        entry = float(made.entry)
        self.held[symbol] = position(
            side, made, qty=made.qty, avg_entry=entry, first_entry=entry, stop=made.stop, r_price=abs(entry - float(made.stop))
        )
        return made


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), SIDES, st.floats(0.8, 6.0), st.floats(-0.06, 0.06)),
        min_size=4,
        max_size=25,
    )
)
def test_after_any_admission_portfolio_day_and_drawdown_worst_cases_are_inside_their_limits(orders):
    """E6, X9, X10: 1.5 % at current stops; with everything stopped out the day keeps 98.2 %, the 72 h peak 96.5 %."""
    desk = Desk()
    desk.governor.on_bar(desk.ts, desk.equity())
    for symbol, side, atr_pct, change in orders:
        before = desk.equity()
        if desk.ask(symbol, side, atr_pct) is not None:
            book, seen = desk.exposure(), desk.governor.view
            slack = 1e-6 * before
            assert seen.state is TradingState.ACTIVE
            assert book.open_risk_usd <= 0.015 * before + slack
            left = desk.equity() - book.open_drop_usd
            assert left >= 0.982 * seen.day_start_equity - slack
            assert left >= 0.965 * seen.peak_72h - slack
            assert book.gross_usd <= 3.0 * before * 1.001
            assert len({e.symbol for e in book.positions}) == len(book.positions) <= 2
        desk.move(symbol, change)


@settings(max_examples=100, deadline=None)
@given(
    state=st.sampled_from((TradingState.REDUCING, TradingState.HALTED)),
    side=SIDES,
    lock=st.booleans(),
    changed=st.booleans(),
)
def test_no_plan_of_any_kind_is_made_while_locked(state, side, lock, changed):
    """E6, X12."""
    shut = view(state=state, day_lock=lock, governance_changed=changed, kill_switch=state is TradingState.HALTED)
    codes = {RefusalCode.DAY_LOCK, RefusalCode.KILL_SWITCH, RefusalCode.GOVERNANCE_CHANGED, RefusalCode.NOT_ACTIVE}
    asked = context(ts=TS + HOUR, governor=shut)
    held = position(side, takes_filled=1, first_take_ts=TS, reached_1r_ts=TS)
    answers = (
        ENGINE.plan(scored(side=side), 300.0, asked),
        ENGINE.plan_canary(scored(side=side), 300.0, asked),
        ENGINE.plan_add(held, 100.0 + 5.0 * side.sign, asked),
    )
    assert all(isinstance(answer, Refusal) and answer.code in codes for answer in answers)
