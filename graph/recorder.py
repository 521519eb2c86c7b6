"""Where a run writes things down: the store keeps them, the telemetry counts them, the chain links decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loguru import logger

from core.canonical import EMPTY_HASH, chain, encode
from core.monitor.schema import Alert, AlertLevel
from core.monitor.store import Store
from core.monitor.telemetry import Telemetry
from core.risk.governor import GovernorEvent, GovernorEventKind
from core.types import (
    Adjustment,
    DecisionRecord,
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

_LOUD = {
    GovernorEventKind.KILL_SWITCH: AlertLevel.PAGE,
    GovernorEventKind.DAY_LOCK_SET: AlertLevel.WARNING,
    GovernorEventKind.GOVERNANCE_CHANGED: AlertLevel.WARNING,
}


LOG_LEVELS = {AlertLevel.INFO: "INFO", AlertLevel.WARNING: "WARNING", AlertLevel.PAGE: "CRITICAL"}


class RunRecorder:
    """Implements the recorder port of the brain and the order log of the order manager.

    Attributes:
        on_page: told code and text of what calls a person, at once; it must raise nothing, since anybody may call one.
    """

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self.on_plan_time: Callable[[float], None] = lambda _: None
        self.on_page: Callable[[str, str], None] = lambda _code, _text: None
        self._head = EMPTY_HASH
        self.last_refusal: Refusal | None = None

    @property
    def decisions_hash(self) -> str:
        """Head of the chain over every decision record so far, hex."""
        return self._head.hex()

    # --- the brain's recorder -------------------------------------------------------------------------

    def decision(self, record: DecisionRecord) -> None:
        payload = encode(record)
        self._head = chain(self._head, payload)
        self._store.record_decision(record.seq, record.ts, self._head.hex(), payload)
        self._telemetry.on_decision()

    def signal(self, scored: ScoredSignal) -> None:
        self._store.record_signal(scored)
        self._telemetry.on_signal(scored)

    def plan(self, plan: Plan) -> None:
        self._store.record_plan(plan)
        self._telemetry.on_plan(plan)
        logger.info(
            "plan {} {} {} {} at most {}, stop {}, risk {:.2f} USD ({:.2f} %), score {}",
            plan.id,
            plan.side.value,
            plan.qty,
            plan.symbol,
            plan.entry,
            plan.stop,
            plan.risk_usd,
            plan.risk_r_pct,
            plan.score,
        )

    def plan_time(self, seconds: float) -> None:
        self.on_plan_time(seconds)

    def refusal(self, refusal: Refusal) -> None:
        self._store.record_refusal(refusal)
        self._telemetry.on_refusal(refusal)
        self.last_refusal = refusal

    def adjustment(self, adjustment: Adjustment) -> None:
        self._store.record_adjustment(adjustment)

    # --- the order manager's log ----------------------------------------------------------------------

    def record_intent(self, order: Order) -> None:
        self._store.record_intent(order)
        self._telemetry.on_order(order)

    def record_update(self, update: OrderUpdate) -> None:
        self._store.record_update(update)
        self._telemetry.on_update(update)
        # A rejection is answered to execution, which refuses with its code; an expiry comes later and only here.
        if update.code is not None and update.status is OrderStatus.EXPIRED:
            self._telemetry.on_refused_order(update.code)

    def record_fill(self, fill: Fill) -> None:
        self._store.record_fill(fill)
        self._telemetry.on_fill(fill)
        logger.info(
            "fill {} {} {} {} at {} ({})", fill.id, fill.side.value, fill.qty, fill.symbol, fill.price, fill.purpose.value
        )

    # --- the runner's -------------------------------------------------------------------------------------

    def funding(self, payment: FundingPayment) -> None:
        """Funding settled on an open position."""
        self._store.record_funding(payment)
        self._telemetry.on_funding(payment)

    def trade(self, trade: TradeRecord) -> None:
        """A closed trade."""
        self._store.record_trade(trade)
        self._telemetry.on_trade(trade)
        logger.info(
            "trade {} {} {} net {:+.2f} USD, {:+.2f} R, {}",
            trade.id,
            trade.side.value,
            trade.symbol,
            trade.net,
            trade.r_multiple,
            trade.exit_reason.value,
        )

    def governor_event(self, event: GovernorEvent) -> None:
        """A lock, a kill-switch, a change of the allowed risk."""
        if event.kind is GovernorEventKind.DAY_LOCK_SET:
            self._telemetry.on_daily_lock()
        elif event.kind is GovernorEventKind.KILL_SWITCH:
            self._telemetry.on_kill_switch()
        level = _LOUD.get(event.kind, AlertLevel.INFO)
        detail = ", ".join(f"{name} {_figure(value)}" for name, value in event.detail)
        self.alert(event.ts, level, event.kind.value, f"equity {event.equity:.2f} USD" + (f", {detail}" if detail else ""))

    def alert(self, ts: int, level: AlertLevel, code: str, text: str) -> None:
        """Something that a person should know."""
        self._store.record_alert(Alert(ts, level, code, text))
        logger.log(LOG_LEVELS[level], "{}: {}", code, text)
        self._telemetry.on_alert(level)
        if level is AlertLevel.PAGE:
            self.on_page(code, text)

    def snapshot(self) -> dict[str, Any]:
        return {"head": self._head.hex()}

    def restore(self, saved: dict[str, Any]) -> None:
        self._head = bytes.fromhex(saved["head"])


def _figure(value: object) -> str:
    """A value as a person reads it."""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
