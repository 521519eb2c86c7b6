"""The books of the house: positions, closed trades and equity, built from fills and funding alone.

The ledger never asks the broker for money; that both agree is a property test. Opening fills need their plan, announced
by :meth:`Ledger.expect` before the order is sent. Money is float USD, added in the order of events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from core.data.blocks import Floats, Ints
from core.errors import ContractError
from core.exec.booking import closed_trade, enlarged, opened, reduced, seen
from core.exec.instrument import Instrument
from core.exec.position import Position
from core.types import (
    BrokerEvent,
    Fill,
    FundingPayment,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderUpdate,
    Plan,
    ScorePart,
    TradeRecord,
)

SEEN_KEPT = 256
"""How many event ids are remembered against duplicates; repeats come within moments, or after a restart."""

TRANSFERS_KEPT_MS = 144 * 3_600_000
"""A transfer that is listed later than one made so long after it is looked for no more: twice what any limit looks back."""


@dataclass(slots=True)
class _Expected:
    """A plan whose orders are (or were) at the broker, and how much of it was filled."""

    plan: Plan
    score_parts: tuple[ScorePart, ...]
    filled: Decimal = Decimal(0)


@dataclass(slots=True)
class Unlisted:
    """Money that counted as a result: a transfer of the time in (``after``, ``upto``] (ms) that is listed later was none.

    ``equity`` (USD) is what there was before it counted, at the bar of ``counted_ts`` (ms); ``listed`` what is known by now.
    """

    after: int
    upto: int
    counted_ts: int
    equity: float
    listed: float = 0.0


@dataclass(slots=True)
class _State:
    """All that a snapshot keeps, in a form that encodes by itself."""

    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    duplicates: int = 0
    expected: dict[str, _Expected] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    open_takes: dict[str, list[str]] = field(default_factory=dict)
    trades: list[TradeRecord] = field(default_factory=list)
    booked: list[tuple[int, float]] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)
    moved: float = 0.0
    moved_ts: int = 0
    unlisted: list[Unlisted] = field(default_factory=list)
    transfers: list[tuple[int, float]] = field(default_factory=list)


class Ledger:
    """Positions by symbol, trades, and the money of both.

    Args:
        instruments: the run's instruments; arrays of shape (S,) are in this order.
        starting_equity: USD at the start.
        scratch_r: a trade within +/- this many R is a scratch (governance, X6).
        bar_ms: length of each symbol's base bar: a take that a venue tells inside a bar counts from the close of that bar on.
            Empty where events come at closes only.
    """

    def __init__(
        self, instruments: Sequence[Instrument], *, starting_equity: float, scratch_r: float, bar_ms: Sequence[int] = ()
    ) -> None:
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._bar_ms = tuple(bar_ms) or (1,) * len(self._index)
        self._starting = float(starting_equity)
        self._scratch_r = float(scratch_r)
        self._state = _State()

    @property
    def positions(self) -> dict[str, Position]:
        """Open positions by symbol, in the order in which they were opened; not to be written to."""
        return self._state.positions

    @property
    def duplicates(self) -> int:
        """Events that came more than once and were ignored."""
        return self._state.duplicates

    @property
    def starting_equity(self) -> float:
        """USD at the start."""
        return self._starting

    @property
    def wallet(self) -> float:
        """Closed money: start + realised - fees + funding + moved (USD)."""
        return self._starting + self._state.realised - self._state.fees + self._state.funding + self._state.moved

    @property
    def moved_ts(self) -> int:
        """Time (ms) up to which every transfer is in the books, or too old to be looked for; behind it, ``transfers`` are."""
        return self._state.moved_ts

    @property
    def transfers(self) -> tuple[tuple[int, float], ...]:
        """What the owner moved behind ``moved_ts`` and the books know of: (ms, USD), as it was listed."""
        return tuple(self._state.transfers)

    def move(self, amount: float, ts: int | None = None) -> None:
        """Money (USD) came in (positive) or left that no fill and no funding tells of; with ``ts`` (ms) by such a transfer."""
        self._state.moved += amount
        if ts is not None:
            self._list(amount, ts)

    def _list(self, amount: float, ts: int) -> None:
        self._state.transfers.append((ts, amount))
        self._forget_transfers(ts - TRANSFERS_KEPT_MS)

    def _forget_transfers(self, upto: int) -> None:
        self._state.moved_ts = max(self._state.moved_ts, upto)
        self._state.transfers = [one for one in self._state.transfers if one[0] > self._state.moved_ts]

    @property
    def unlisted(self) -> tuple[Unlisted, ...]:
        """What counted as a result though transfers in it may still be listed, oldest first; the last one is always kept."""
        return tuple(self._state.unlisted)

    def counted_with(self, ts: int) -> Unlisted | None:
        """What counted as a result with a transfer of ``ts`` (ms) in it; None: nothing did, or it is too old to be kept."""
        return next((one for one in self._state.unlisted if one.after < ts <= one.upto), None)

    def count(self, amount: float, upto: int, counted_ts: int, equity: float, oldest_ts: int) -> None:
        """Money (USD) that nobody explains counts as a result; transfers up to ``upto`` (ms) are in it.

        Args:
            amount: positive where there is more than the books had.
            upto: transfers made up to then and not listed yet are in it, but for those of what counted before.
            counted_ts: the last bar (ms) before it counts.
            equity: at that bar, USD.
            oldest_ts: what counted before that (ms) matters no more.
        """
        unlisted = self._state.unlisted
        after = unlisted[-1].upto if unlisted else 0
        self._state.unlisted = [one for one in unlisted if one.counted_ts >= oldest_ts]
        self._state.unlisted.append(Unlisted(after, upto, counted_ts, equity))
        self.move(amount)
        self._forget_transfers(upto - TRANSFERS_KEPT_MS)

    def list_late(self, ts: int, amount: float) -> tuple[int, float]:
        """Of what counted as a result, the owner moved ``amount`` at ``ts`` (ms); the money itself is in the books already.

        Returns:
            Time (ms) of the last bar before it counted, and the share of equity that was left (or came) by it.

        Raises:
            ContractError: nothing counted with it.
        """
        one = self.counted_with(ts)
        if one is None:
            raise ContractError(f"a transfer of {ts} was listed late, expected that it had counted as a result")
        before = one.equity + one.listed
        one.listed += amount
        self._list(amount, ts)
        return one.counted_ts, max(0.0, one.equity + one.listed) / before if before > 0.0 else 1.0

    # --- plans ------------------------------------------------------------------------------------

    def expect(self, plan: Plan, score_parts: tuple[ScorePart, ...] = ()) -> None:
        """Announce a plan whose entry order is about to be sent.

        Raises:
            ContractError: the plan's id is known already, or it risks nothing (R could not be told).
        """
        if plan.id in self._state.expected:
            raise ContractError(f"plan {plan.id} was announced twice")
        if not plan.risk_usd > 0.0:
            raise ContractError(f"risk_usd of plan {plan.id} was {plan.risk_usd}, expected more than 0")
        self._state.expected[plan.id] = _Expected(plan, score_parts)

    def forget(self, plan_id: str) -> None:
        """Drop a plan whose order ended without a fill; a plan that was filled stays until its position is flat."""
        expected = self._state.expected.get(plan_id)
        if expected is not None and not expected.filled:
            del self._state.expected[plan_id]

    def plan(self, plan_id: str) -> Plan | None:
        """A plan announced and not yet over."""
        expected = self._state.expected.get(plan_id)
        return None if expected is None else expected.plan

    def seen(self, fill_id: str) -> bool:
        """Whether a fill of this id was applied lately."""
        return fill_id in self._state.seen

    def set_stop(self, symbol: str, stop: Decimal) -> None:
        """Note that the stop of ``symbol`` now rests at ``stop``."""
        self._state.positions[symbol] = replace(self._state.positions[symbol], stop=stop)

    # --- events -----------------------------------------------------------------------------------

    def apply(self, event: BrokerEvent) -> bool:
        """Take one event into the books; False when it was a duplicate.

        Raises:
            ContractError: an opening fill without its plan or against the open side, or a closing one of more than is
                open: the books and the broker disagree.
        """
        if isinstance(event, OrderUpdate):
            self._apply_update(event)
            return True
        event_id = event.id if isinstance(event, Fill) else f"funding:{event.symbol}@{event.ts}"
        if event_id in self._state.seen:
            self._state.duplicates += 1
            return False
        if isinstance(event, FundingPayment):
            self._apply_funding(event)
        elif event.purpose.opens:
            self._apply_opening(event)
        else:
            self._apply_closing(event)
        self._state.seen[event_id] = None
        if len(self._state.seen) > SEEN_KEPT:
            del self._state.seen[next(iter(self._state.seen))]
        return True

    def _apply_update(self, update: OrderUpdate) -> None:
        takes = self._state.open_takes.get(update.symbol, [])
        if update.status is OrderStatus.FILLED and update.client_id in takes:
            takes.remove(update.client_id)
            position = self._state.positions[update.symbol]
            bar_ms = self._bar_ms[self._index[update.symbol]]
            close = -(-update.ts // bar_ms) * bar_ms
            first = close if position.first_take_ts is None else position.first_take_ts
            changed = replace(position, takes_filled=position.takes_filled + 1, first_take_ts=first)
            if position.reached_1r_ts is None and position.take_reaches_1r():
                changed = replace(changed, reached_1r_ts=close)
            self._state.positions[update.symbol] = changed

    def _apply_funding(self, payment: FundingPayment) -> None:
        self._state.funding += payment.amount
        self._state.booked.append((payment.ts, payment.amount))
        position = self._state.positions.get(payment.symbol)
        if position is not None:
            changed = replace(position, funding=position.funding + payment.amount)
            self._state.positions[payment.symbol] = changed

    def _apply_opening(self, fill: Fill) -> None:
        expected = self._state.expected.get(fill.plan_id)
        if expected is None:
            raise ContractError(f"fill {fill.id} opens {fill.symbol} without a plan, expected one to be announced before")
        opening_side = OrderSide.BUY if expected.plan.side.sign > 0 else OrderSide.SELL
        position = self._state.positions.get(fill.symbol)
        if fill.side is not opening_side or (position is not None and position.side is not expected.plan.side):
            raise ContractError(f"fill {fill.id} ({fill.side}) would turn the position of {fill.symbol} around")
        if position is None:
            position = opened(expected.plan, fill)
        else:
            position = enlarged(position, expected.plan, fill, begins=not expected.filled)
        expected.filled += fill.qty
        self._state.positions[fill.symbol] = position
        self._state.fees += fill.fee
        self._state.booked.append((fill.ts, -fill.fee))

    def _apply_closing(self, fill: Fill) -> None:
        position = self._state.positions.get(fill.symbol)
        if position is None or fill.qty > position.qty or fill.side.sign == position.side.sign:
            held = Decimal(0) if position is None else position.signed_qty
            raise ContractError(f"fill {fill.id} ({fill.side} {fill.qty}) closes more of {fill.symbol} than is open ({held})")
        changed = reduced(position, fill)
        gross = changed.realised - position.realised
        self._state.realised += gross
        self._state.fees += fill.fee
        self._state.booked.append((fill.ts, gross - fill.fee))
        takes = self._state.open_takes.setdefault(fill.symbol, [])
        if fill.purpose is OrderPurpose.TAKE and fill.client_id not in takes:
            takes.append(fill.client_id)
        if changed.qty:
            self._state.positions[fill.symbol] = changed
        else:
            self._close(changed, fill)

    def _close(self, position: Position, last: Fill) -> None:
        symbol = position.symbol
        takes_filled = position.takes_filled + (last.purpose is OrderPurpose.TAKE)
        expected = self._state.expected[position.plan.id]
        del self._state.positions[symbol]
        del self._state.open_takes[symbol]
        done = [key for key, item in self._state.expected.items() if item.plan.symbol == symbol and item.filled]
        for key in done:
            del self._state.expected[key]
        position = replace(position, takes_filled=takes_filled)
        self._state.trades.append(closed_trade(position, expected.score_parts, last, self._scratch_r))

    def drain_trades(self) -> tuple[TradeRecord, ...]:
        """Trades closed since the last call, in order."""
        trades = tuple(self._state.trades)
        self._state.trades.clear()
        return trades

    def drain_realised(self) -> tuple[tuple[int, float], ...]:
        """Closed money since the last call, in order: (ms, USD) of each fill (gross - fee) and funding payment (X8)."""
        booked = tuple(self._state.booked)
        self._state.booked.clear()
        return booked

    # --- bars -------------------------------------------------------------------------------------

    def on_close(self, ts: int, closes: Floats, highs: Floats, lows: Floats, idx: Ints) -> None:
        """Note the best close and the extremes seen by open positions, and the close that stands for a merged 1R take.

        Args:
            ts: close time of the bars (ms); positions opened at or after it are left alone.
            closes: close of each row.
            highs: high of each row.
            lows: low of each row.
            idx: the rows' positions in the instrument tuple.
        """
        if not self._state.positions:
            return
        rows = {index: row for row, index in enumerate(idx.tolist())}
        for symbol, position in tuple(self._state.positions.items()):
            row = rows.get(self._index[symbol])
            if row is not None and position.opened_ts < ts:
                changed = seen(position, ts, closes.item(row), highs.item(row), lows.item(row))
                if changed is not position:
                    self._state.positions[symbol] = changed

    # --- money ------------------------------------------------------------------------------------

    def unrealised(self, prices: Floats | Mapping[int, float]) -> float:
        """Open profit (USD) at ``prices``, by position in the instrument tuple; NaN where a held symbol has no price."""
        total, positions = 0.0, self._state.positions
        for symbol in sorted(positions, key=self._index.__getitem__):
            total += positions[symbol].unrealised(float(prices[self._index[symbol]]))
        return total

    def equity(self, prices: Floats | Mapping[int, float]) -> float:
        """Wallet plus open profit (USD) at ``prices`` (X11)."""
        return self.wallet + self.unrealised(prices)

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        state: dict[str, Any] = msgspec.to_builtins(self._state)
        for kept in ("unlisted", "transfers"):
            if not state[kept]:
                del state[kept]  # as in sessions from before it was kept
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._state = msgspec.convert(state, _State)
