"""Records with every field filled in, for the tests of this room."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from core.codes import RefusalCode
from core.types import (
    AdjustKind,
    Adjustment,
    ExitReason,
    Fill,
    FundingPayment,
    Order,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Plan,
    PlanKind,
    Refusal,
    Regime,
    ScoredSignal,
    ScorePart,
    Side,
    Signal,
    Take,
    Timeframe,
    TradeRecord,
    Trail,
    TrailStart,
)

BTC = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"
T0 = 1_704_067_200_000  # 2024-01-01T00:00:00Z
HOUR = 3_600_000
DAY = 24 * HOUR


def scored(number: int = 1, strategy: str = "breakout_4h") -> ScoredSignal:
    signal = Signal(
        id=f"s{number}",
        strategy=strategy,
        symbol=BTC,
        side=Side.LONG,
        entry=42_000.1,
        tf=Timeframe.H4,
        ts=T0,
        validity_ts=T0 + HOUR,
        reason="Donchian 20",
        atr=321.5,
        meta=(("adx", 27.1), ("channel", 20), ("clean", True), ("note", "20"), ("gone", None)),
    )
    return ScoredSignal(signal, 7.5, 7.0, Regime.TREND_UP, (part(),))


def part() -> ScorePart:
    return ScorePart("regime", 2.0, 2.5, True, (("regime", "trend_up"),))


def refusal(code: RefusalCode = RefusalCode.COST_SHARE, ts: int = T0, symbol: str = BTC) -> Refusal:
    return Refusal(code, ts, "risk_manager", symbol, "range_rev_5m", "s1", "costs were 0.31R, at most 0.20R", (("costs", 0.31),))


def plan(number: int = 1, **changes: Any) -> Plan:
    made = Plan(
        id=f"p{number}",
        kind=PlanKind.ENTRY,
        signal_id=f"s{number}",
        strategy="breakout_4h",
        symbol=BTC,
        side=Side.LONG,
        tf=Timeframe.H4,
        ts=T0,
        qty=Decimal("0.010"),
        entry=Decimal("42021.1"),
        stop=Decimal("41500.00"),
        tps=(Take(1.0, Decimal("42500.0"), Decimal("0.002")), Take(2.0, Decimal("43000.0"), Decimal("0.002"))),
        trail=Trail(TrailStart.FIRST_TAKE, 2.0, Timeframe.H4),
        time_stop_ts=T0 + DAY,
        risk_usd=2.4,
        risk_r_pct=0.8,
        costs_usd=0.3,
        equity=300.0,
        score=7.5,
        regime=Regime.TREND_UP,
        governance="digest",
        meta=(("k", 2.0),),
    )
    return replace(made, **changes)


def order(number: int = 1, symbol: str = BTC, price: Decimal | None = Decimal("42021.1")) -> Order:
    return Order(
        client_id=f"c{number}",
        plan_id="p1",
        symbol=symbol,
        side=OrderSide.BUY,
        type=OrderType.IOC_LIMIT if price is not None else OrderType.MARKET,
        purpose=OrderPurpose.ENTRY,
        qty=Decimal("0.010"),
        price=price,
        reduce_only=False,
        ts=T0 + number,
    )


def update(number: int = 1, status: OrderStatus = OrderStatus.FILLED, symbol: str = BTC) -> OrderUpdate:
    return OrderUpdate(f"c{number}", symbol, status, T0 + 5, Decimal("0.010"))


def fill(number: int = 1, symbol: str = BTC, price: str = "42021.0", expected: float = 42_000.0, **changes: Any) -> Fill:
    made = Fill(
        id=f"f{number}",
        client_id=f"c{number}",
        plan_id="p1",
        symbol=symbol,
        side=OrderSide.BUY,
        purpose=OrderPurpose.ENTRY,
        qty=Decimal("0.010"),
        price=Decimal(price),
        expected_price=expected,
        spread_bps=1.5,
        fee=0.21,
        maker=False,
        ts=T0 + 6,
    )
    return replace(made, **changes)


def funding(ts: int = T0 + 8 * HOUR, amount: float = -0.042) -> FundingPayment:
    return FundingPayment(BTC, ts, 0.0001, 42_000.0, Decimal("0.010"), amount)


def adjustment() -> Adjustment:
    return Adjustment(AdjustKind.MOVE_STOP, BTC, T0 + 7, ExitReason.BREAK_EVEN, Decimal("42030.5"), (("r", 0.61),))


def trade(number: int = 1, net: float = 2.0, r: float = 0.9, scratch: bool = False, **changes: Any) -> TradeRecord:
    made = TradeRecord(
        id=f"t{number}",
        plan_id=f"p{number}",
        signal_id=f"s{number}",
        strategy="breakout_4h",
        symbol=BTC,
        side=Side.LONG,
        tf=Timeframe.H4,
        regime=Regime.TREND_UP,
        score=7.5,
        opened_ts=T0,
        closed_ts=T0 + number * HOUR,
        qty=Decimal("0.010"),
        entry_price=42_021.0,
        exit_price=42_300.25,
        initial_stop=Decimal("41500.00"),
        final_stop=Decimal("42250.0"),
        planned_risk_usd=2.4,
        planned_r_pct=0.8,
        gross=net + 0.3,
        fees=0.25,
        funding=-0.05,
        net=net,
        r_multiple=r,
        scratch=scratch,
        stop_exit=True,
        exit_reason=ExitReason.TRAIL,
        adds=0,
        takes_filled=1,
        avg_slippage_bps=0.4,
        avg_spread_bps=1.1,
        mae_r=-0.2,
        mfe_r=1.4,
        governance="digest",
        score_parts=(part(),),
        meta=(("carrier", "4h"),),
    )
    return replace(made, **changes)
