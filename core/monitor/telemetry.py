"""What a run has done so far, counted: the figures of ``brain paper --json`` and of the metrics.

Plain Python numbers, updated as things happen and read by whoever wants them. Only facts of the market and of the
decisions are counted here, never durations, so that the same bars give the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.codes import RefusalCode
from core.monitor.schema import AlertLevel
from core.types import (
    REGIME_CODES,
    Fill,
    FundingPayment,
    Order,
    OrderStatus,
    OrderUpdate,
    Plan,
    Refusal,
    ScoredSignal,
    TradeRecord,
)

_R_TOLERANCE = 1e-9
RECORDED, MODELLED = "recorded", "modelled"
"""Where the books of a run come from."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The whole of a run. Money in USD; ``winrate*`` 0..1; None where there is nothing to judge by.

    ``bars`` are announcements, ``symbol_bars`` bars of single symbols; ``regimes`` symbol-bars by held regime.
    ``winrate`` leaves scratches out (X6), ``winrate_with_scratches`` counts them as not won. ``profit_factor`` is won money /
    lost money over all trades, None while nothing was lost; ``max_dd_pct`` is on marked equity. ``books`` tells whether
    spread, depth and slippage were taken from recorded books or modelled (``symbols.yaml``); ``data_issues`` is what was
    wrong with the candles, by kind, kinds that never occurred left out (B5).
    """

    bars: int
    symbol_bars: int
    decisions: int
    signals: dict[str, int]
    plans: int
    refusals: dict[str, int]
    orders: int
    trades: int
    scratches: int
    regimes: dict[str, int]
    equity_start: float | None
    equity_end: float | None
    max_dd_pct: float
    profit_factor: float | None
    profit_factor_without_scratches: float | None
    winrate: float | None
    winrate_with_scratches: float | None
    pnl_r: float
    avg_win_r: float | None
    avg_loss_r: float | None
    max_dd_r: float
    fees: float
    funding: float
    daily_locks: int
    kill_switches: int
    errors: int
    warnings: int
    books: str = RECORDED
    data_issues: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON-like mapping, in the same order."""
        return asdict(self)


@dataclass(slots=True)
class TradeStats:
    """Running figures of closed trades. ``decided`` trades are those that are not scratches (X6)."""

    n: int = 0
    wins: int = 0
    losses: int = 0
    raw_wins: int = 0
    won: float = 0.0
    lost: float = 0.0
    won_decided: float = 0.0
    lost_decided: float = 0.0
    sum_r: float = 0.0
    peak_r: float = 0.0
    max_dd_r: float = 0.0
    sum_win_r: float = 0.0
    sum_loss_r: float = 0.0

    def add(self, trade: TradeRecord) -> None:
        """Count one closed trade."""
        self.n += 1
        if trade.net > 0.0:
            self.raw_wins += 1
            self.won += trade.net
        else:
            self.lost -= trade.net
        if not trade.scratch:
            self._add_decided(trade)
        self.sum_r += trade.r_multiple
        self.peak_r = max(self.peak_r, self.sum_r)
        self.max_dd_r = max(self.max_dd_r, self.peak_r - self.sum_r)

    def _add_decided(self, trade: TradeRecord) -> None:
        if trade.net > 0.0:
            self.wins += 1
            self.won_decided += trade.net
            self.sum_win_r += trade.r_multiple
        else:
            self.losses += 1
            self.lost_decided -= trade.net
            self.sum_loss_r += trade.r_multiple

    @property
    def decided(self) -> int:
        """Trades that are not scratches."""
        return self.wins + self.losses

    @property
    def winrate(self) -> float | None:
        """Share of decided trades that won, 0..1."""
        return self.wins / self.decided if self.decided else None

    @property
    def winrate_with_scratches(self) -> float | None:
        """Share of all trades with money won, 0..1."""
        return self.raw_wins / self.n if self.n else None

    @property
    def profit_factor(self) -> float | None:
        """Won money / lost money over all trades; None while nothing was lost."""
        return self.won / self.lost if self.lost > 0.0 else None

    @property
    def profit_factor_without_scratches(self) -> float | None:
        """The same over decided trades."""
        return self.won_decided / self.lost_decided if self.lost_decided > 0.0 else None

    @property
    def avg_win_r(self) -> float | None:
        """Average R of decided wins, > 0."""
        return self.sum_win_r / self.wins if self.wins else None

    @property
    def avg_loss_r(self) -> float | None:
        """Average R of decided losses, < 0."""
        return self.sum_loss_r / self.losses if self.losses else None


@dataclass(slots=True)
class ExecutionStats:
    """Orders and fills of one symbol. Slippage is that of taker fills: a maker fill has none by construction."""

    sent: int = 0
    filled: int = 0
    canceled: int = 0
    expired: int = 0
    rejected: int = 0
    fills: int = 0
    spread_bps_sum: float = 0.0
    taker_fills: int = 0
    slippage_bps_sum: float = 0.0

    def add_fill(self, fill: Fill) -> None:
        """Count one execution."""
        self.fills += 1
        self.spread_bps_sum += fill.spread_bps
        if not fill.maker and fill.expected_price > 0.0:
            self.taker_fills += 1
            self.slippage_bps_sum += fill.side.sign * (float(fill.price) - fill.expected_price) / fill.expected_price * 1e4

    @property
    def slippage_bps(self) -> float | None:
        """Average price paid beyond the expected one, basis points; negative when better."""
        return self.slippage_bps_sum / self.taker_fills if self.taker_fills else None

    @property
    def spread_bps(self) -> float | None:
        """Average spread at the fills."""
        return self.spread_bps_sum / self.fills if self.fills else None

    @property
    def reject_ratio(self) -> float | None:
        """Rejected orders / orders sent, 0..1."""
        return self.rejected / self.sent if self.sent else None


class Telemetry:
    """Counts of one run.

    Args:
        symbols: the run's symbols, in order.
        strategies: names of the strategies; each is counted from zero.
        r_pct_max: most that a plan may risk (``per_trade_r_pct_max``), for the share of plans within limits (G11).
        has_books: whether the source has books; where it has none, slippage and spread only repeat the model's assumption.
    """

    def __init__(self, symbols: Sequence[str], strategies: Sequence[str], r_pct_max: float, has_books: bool = True) -> None:
        self._r_pct_max = r_pct_max
        self.has_books = has_books
        self.data_issues: dict[str, int] = {}
        self.bars = self.symbol_bars = self.decisions = 0
        self.plans = self.plans_within = self.orders = 0
        self.daily_locks = self.kill_switches = self.errors = self.warnings = 0
        self.alerts: dict[str, int] = dict.fromkeys(AlertLevel, 0)
        self.fees = self.funding = 0.0
        self.equity_start: float | None = None
        self.equity: float | None = None
        self.peak_equity = self.max_dd_pct = 0.0
        self.signals: dict[str, int] = dict.fromkeys(strategies, 0)
        self.refusals: dict[str, int] = {code.value: 0 for code in RefusalCode}
        self.stats = TradeStats()
        self.by_strategy: dict[str, TradeStats] = {name: TradeStats() for name in strategies}
        self.by_symbol: dict[str, ExecutionStats] = {symbol: ExecutionStats() for symbol in symbols}
        self._regimes = [0] * len(REGIME_CODES)
        self._held = b""
        self._held_for = 0

    # --- each bar -----------------------------------------------------------------------------------------------------

    def on_bars(self, symbol_bars: int) -> None:
        """One announcement in which ``symbol_bars`` base bars closed."""
        self.bars += 1
        self.symbol_bars += symbol_bars

    def on_decision(self) -> None:
        """One decision was recorded."""
        self.decisions += 1

    def on_equity(self, equity: float) -> None:
        """Equity (USD, marked to market, adjusted for transfers) at a bar's close. NaN is passed over."""
        if equity != equity:  # noqa: PLR0124 - NaN is the only value that differs from itself
            return
        if self.equity_start is None:
            self.equity_start = equity
        self.equity = equity
        if equity >= self.peak_equity:
            self.peak_equity = equity
            return
        dd_pct = (self.peak_equity - equity) / self.peak_equity * 100.0
        self.max_dd_pct = max(self.max_dd_pct, dd_pct)

    def on_transfer(self, amount: float) -> None:
        """Money (USD) was paid in or taken out: the drawdown stays what it is, in percent."""
        if self.equity is not None and self.equity > 0.0:
            share = max(0.0, self.equity + amount) / self.equity
            self.equity, self.peak_equity = self.equity * share, self.peak_equity * share

    def on_late_transfer(self, share: float) -> None:
        """What counted as a result was moved by the owner, and left ``share`` of equity: the peak before it changes with it."""
        self.peak_equity = max(self.peak_equity * share, self.equity or 0.0)

    @property
    def drawdown_pct(self) -> float:
        """Present drawdown of marked equity from its highest value so far, percent."""
        if self.equity is None or self.peak_equity <= 0.0:
            return 0.0
        return (self.peak_equity - self.equity) / self.peak_equity * 100.0

    def on_regimes(self, codes: NDArray[np.int8]) -> None:
        """Held regime codes of the symbols whose base bar closed now."""
        held = codes.tobytes()
        if held == self._held:
            self._held_for += 1
            return
        self._settle_regimes()
        self._held = held
        self._held_for = 1

    def _settle_regimes(self) -> None:
        for code in self._held:
            self._regimes[code] += self._held_for
        self._held_for = 0

    # --- as things happen ---------------------------------------------------------------------------------------------

    def on_signal(self, scored: ScoredSignal) -> None:
        """A strategy gave a signal and it was scored."""
        name = scored.signal.strategy
        self.signals[name] = self.signals.get(name, 0) + 1

    def on_refusal(self, refusal: Refusal) -> None:
        """Something was refused."""
        self.refusals[refusal.code.value] += 1

    def on_refused_order(self, code: RefusalCode) -> None:
        """The broker refused an order, or let it expire."""
        self.refusals[code.value] += 1

    def on_plan(self, plan: Plan) -> None:
        """A plan was admitted."""
        self.plans += 1
        if plan.risk_r_pct <= self._r_pct_max + _R_TOLERANCE:
            self.plans_within += 1

    def on_order(self, order: Order) -> None:
        """An order was sent."""
        self.orders += 1
        self._execution(order.symbol).sent += 1

    def on_update(self, update: OrderUpdate) -> None:
        """The broker reported an order's state; only final states are counted."""
        stats = self._execution(update.symbol)
        match update.status:
            case OrderStatus.FILLED:
                stats.filled += 1
            case OrderStatus.CANCELED:
                stats.canceled += 1
            case OrderStatus.EXPIRED:
                stats.expired += 1
            case OrderStatus.REJECTED:
                stats.rejected += 1

    def on_fill(self, fill: Fill) -> None:
        """An execution."""
        self.fees += fill.fee
        self._execution(fill.symbol).add_fill(fill)

    def on_funding(self, payment: FundingPayment) -> None:
        """Funding was settled on an open position."""
        self.funding += payment.amount

    def on_trade(self, trade: TradeRecord) -> None:
        """A trade was closed."""
        self.stats.add(trade)
        self.by_strategy.setdefault(trade.strategy, TradeStats()).add(trade)

    def on_daily_lock(self) -> None:
        """The daily loss limit was reached."""
        self.daily_locks += 1

    def on_kill_switch(self) -> None:
        """The 72 h drawdown limit was reached."""
        self.kill_switches += 1

    def on_error(self) -> None:
        """Something failed that should not have."""
        self.errors += 1

    def on_alert(self, level: AlertLevel) -> None:
        """A person is told of something; of this life only, as counters of Prometheus are."""
        self.alerts[level] += 1
        self.warnings += level is not AlertLevel.INFO

    def set_data_issues(self, counted: Iterable[tuple[str, str, int]]) -> None:
        """What the feed has counted so far: (symbol, kind, times). Not saved: a resumed run counts its bars again."""
        issues: dict[str, int] = {}
        for _, kind, times in counted:
            issues[str(kind)] = issues.get(str(kind), 0) + times
        self.data_issues = {kind: issues[kind] for kind in sorted(issues) if issues[kind]}

    def _execution(self, symbol: str) -> ExecutionStats:
        return self.by_symbol.setdefault(symbol, ExecutionStats())

    # --- answers ------------------------------------------------------------------------------------------------------

    @property
    def regimes(self) -> dict[str, int]:
        """Symbol-bars by held regime, every regime named."""
        counts = list(self._regimes)
        for code in self._held:
            counts[code] += self._held_for
        return {regime.value: n for regime, n in zip(REGIME_CODES, counts, strict=True)}

    def result(self) -> RunResult:
        """Everything so far; refusal codes that never occurred are left out."""
        stats = self.stats
        return RunResult(
            bars=self.bars,
            symbol_bars=self.symbol_bars,
            decisions=self.decisions,
            signals=dict(self.signals),
            plans=self.plans,
            refusals={code: n for code, n in self.refusals.items() if n},
            orders=self.orders,
            trades=stats.n,
            scratches=stats.n - stats.decided,
            regimes=self.regimes,
            equity_start=self.equity_start,
            equity_end=self.equity,
            max_dd_pct=self.max_dd_pct,
            profit_factor=stats.profit_factor,
            profit_factor_without_scratches=stats.profit_factor_without_scratches,
            winrate=stats.winrate,
            winrate_with_scratches=stats.winrate_with_scratches,
            pnl_r=stats.sum_r,
            avg_win_r=stats.avg_win_r,
            avg_loss_r=stats.avg_loss_r,
            max_dd_r=stats.max_dd_r,
            fees=self.fees,
            funding=self.funding,
            daily_locks=self.daily_locks,
            kill_switches=self.kill_switches,
            errors=self.errors,
            warnings=self.warnings,
            books=RECORDED if self.has_books else MODELLED,
            data_issues=dict(self.data_issues),
        )

    def snapshot(self) -> dict[str, Any]:
        """Everything, JSON-like, to go on from."""
        self._settle_regimes()
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "signals": dict(self.signals),
            "refusals": dict(self.refusals),
            "regimes": list(self._regimes),
            "stats": msgspec.to_builtins(self.stats),
            "by_strategy": {name: msgspec.to_builtins(stats) for name, stats in self.by_strategy.items()},
            "by_symbol": {name: msgspec.to_builtins(stats) for name, stats in self.by_symbol.items()},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a :meth:`snapshot`."""
        for name in _PLAIN:
            setattr(self, name, saved[name])
        self.signals = {**dict.fromkeys(self.signals, 0), **saved["signals"]}
        self.refusals = {**dict.fromkeys(self.refusals, 0), **saved["refusals"]}
        self._regimes = list(saved["regimes"])
        self._held, self._held_for = b"", 0
        self.stats = TradeStats(**saved["stats"])
        self.by_strategy.update({name: TradeStats(**stats) for name, stats in saved["by_strategy"].items()})
        self.by_symbol.update({name: ExecutionStats(**stats) for name, stats in saved["by_symbol"].items()})


_PLAIN: tuple[str, ...] = (
    "bars",
    "symbol_bars",
    "decisions",
    "plans",
    "plans_within",
    "orders",
    "daily_locks",
    "kill_switches",
    "errors",
    "warnings",
    "fees",
    "funding",
    "equity_start",
    "equity",
    "peak_equity",
    "max_dd_pct",
)


def total_execution(stats: Iterable[ExecutionStats]) -> ExecutionStats:
    """All symbols taken together."""
    total = ExecutionStats()
    for part in stats:
        for name in asdict(part):
            setattr(total, name, getattr(total, name) + getattr(part, name))
    return total
