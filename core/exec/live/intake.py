"""What the venue says of the account, made into what the books hear: the one place where fills and ends of orders come in.

It does not matter by which way a word comes (the account's stream, the reply of a request, a look-up, the audit), how often,
or in what order: what is on record already changes nothing, an order never goes back, and its end is told after its fills.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from core.codes import RefusalCode
from core.exec.live.desk import Desk
from core.exec.live.halts import HaltKind, remedy
from core.exec.live.states import Row, State
from core.types import ExitReason, Fill, FundingPayment, OrderPurpose, OrderSide, OrderStatus, OrderType, OrderUpdate
from core.venues.words import (
    ZERO,
    BalanceSeen,
    FundingDue,
    FundingSeen,
    LinkLost,
    OrderSeen,
    Standing,
    TradeSeen,
    Word,
)

OURS = re.compile(r"^[0-9a-z]{6,12}[a-z0-9]-[A-Z0-9]{1,8}-[0-9a-f]{4}-[a-z][0-9a-z]+(\.[0-9]+)?$")
"""The form of our client ids (:func:`core.exec.orders.client_id`)."""
_RANK = {Standing.LIVE: 0, Standing.TRIGGERING: 1, Standing.TRIGGERED: 2, Standing.FINISHED: 3}
_OVER = 4
_STATUS = {
    Standing.FILLED: OrderStatus.FILLED,
    Standing.CANCELED: OrderStatus.CANCELED,
    Standing.EXPIRED: OrderStatus.EXPIRED,
    Standing.REJECTED: OrderStatus.REJECTED,
}


class Intake:
    """Takes in words.

    Attributes:
        wallet: of the account, as it was last told; None before that.
        working: orders of which another attempt or slice is still to come.
        filled_ms: when the last fill of a symbol was that was heard of in this life.
        surplus: what the venue holds of a symbol beyond the fills on record, as far as that is known.
        on_position: called with a symbol whose fills or stops have changed.
        on_doubt: called with a symbol of which the venue must be asked; with "" for all of them, funding too.

    Args:
        desk: what the parts share.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk, self._outbox = desk, desk.outbox
        self.wallet: Decimal | None = None
        self.working: dict[str, None] = {}
        self.surplus: Callable[[str], Decimal] = lambda _: ZERO
        self.on_position: Callable[[str], None] = lambda _: None
        self.on_doubt: Callable[[str], None] = lambda _: None
        self.rates: dict[tuple[str, int], float] = {}
        self.filled_ms: dict[str, int] = {}
        self._told_foreign: dict[str, None] = {}

    def trouble(self, error: Exception) -> None:
        """A message could not be read: a new form of the venue's, which must not end the stream. The venue is asked instead."""
        self._desk.alert("warning", "word_not_read", f"{type(error).__name__}: {error}")
        self.on_doubt("")

    def hear(self, word: Word) -> None:
        """One word."""
        if isinstance(word, TradeSeen):
            self.trade(word)
        elif isinstance(word, OrderSeen):
            self.order(word)
        elif isinstance(word, BalanceSeen):
            self.wallet = word.wallet
        elif isinstance(word, (FundingDue, LinkLost)):
            self.on_doubt("")

    # --- orders -----------------------------------------------------------------------------------

    def row_of(self, symbol: str, client_id: str, venue_id: str) -> Row | None:
        """The order on record that the venue means."""
        row = self._outbox.rows.get(client_id)
        if row is not None and row.symbol == symbol:
            return row
        return self._outbox.by_venue_id(symbol, venue_id)

    def order(self, seen: OrderSeen) -> None:
        """How an order stands."""
        row = self.row_of(seen.symbol, seen.client_id, "" if seen.algo else seen.venue_id)
        if row is None:
            self._foreign(seen)
        elif not self._is_twin(row, "" if seen.algo else seen.venue_id):
            self._stands(row, seen)

    def child(self, row: Row, seen: OrderSeen) -> None:
        """How the plain order stands that ``row``, a conditional one, became, under whatever client id the venue gave it.

        Its fills may be on record as somebody else's: they came before anybody knew whose it is.
        """
        known = self._outbox.by_venue_id(row.symbol, seen.venue_id)
        elsewhere = ZERO if known is None or known is row else known.filled
        self._stands(row, replace(seen, filled=seen.filled - elsewhere))

    def _stands(self, row: Row, seen: OrderSeen) -> None:
        changes = self._changes(row, seen)
        if row.state in (State.REJECTED, State.THROTTLED, State.ABSENT):
            self._contradicted(row, f"the exchange has it ({seen.standing})")
        elif row.state is not State.DONE:
            self._advance(row, changes)

    def _changes(self, row: Row, seen: OrderSeen) -> dict[str, Any]:
        child = row.is_algo and not seen.algo
        standing = Standing.TRIGGERED if child and seen.standing is Standing.LIVE else seen.standing
        # what a conditional one says of a quantity is of the plain order that it became, however much of that was filled
        changes: dict[str, Any] = {"claimed": row.claimed if seen.algo else max(row.claimed, seen.filled)}
        changes["child_id" if child else "venue_id"] = seen.venue_id
        if seen.child_id:
            changes["child_id"] = seen.child_id
        if row.standing is None or _rank(standing) > _rank(row.standing):
            changes["standing"] = standing
        return changes

    def _advance(self, row: Row, changes: dict[str, Any]) -> None:
        standing: Standing = changes.get("standing") or row.standing or Standing.LIVE
        ended = standing.over and row.filled >= changes["claimed"]
        if row.state.open and not ended and not (changes.keys() - {"claimed", "venue_id"}) and row.claimed == changes["claimed"]:
            return  # nothing new; not worth a wait for the disk
        if row.state.doubtful and not ended:
            found = State.ACK if row.state is State.SENT else State.FOUND
            self._outbox.move(row, found, self._desk.now(), events=self._known(row), **changes)
        elif ended:
            end = self._end(row, standing, row.filled)
            self._outbox.move(row, State.DONE, self._desk.now(), events=end, **changes, ended=row.ended or bool(end))
        else:
            self._outbox.note(row, **changes)
        if standing is Standing.FINISHED or (standing.over and not ended):
            self.on_doubt(row.symbol)
        self.on_position(row.symbol)

    def _known(self, row: Row) -> tuple[OrderUpdate, ...]:
        """That an order whose fate nobody knew rests at the venue after all."""
        if row.own or row.answer is None or row.answer.status is not OrderStatus.UNKNOWN:
            return ()
        return (OrderUpdate(row.told_as, row.symbol, OrderStatus.NEW, self._desk.now()),)

    def _end(self, row: Row, standing: Standing, filled: Decimal) -> tuple[OrderUpdate, ...]:
        """What the books hear of the end of ``row``: once, and only when no other attempt or slice of it goes on."""
        others = [one for one in self._outbox.family(row.told_as) if one is not row]
        if row.own or row.ended or row.told_as in self.working or any(not one.state.over for one in others):
            return ()
        return (self.ending(row, _STATUS[standing], sum((one.filled for one in others), filled)),)

    def ending(self, row: Row, status: OrderStatus, total: Decimal) -> OrderUpdate:
        """The books' word for an end: ``total`` of the order was filled, over all attempts and slices."""
        code = row.code
        if total >= row.told_qty > 0:
            status, code = OrderStatus.FILLED, None
        elif status is OrderStatus.FILLED:
            status = OrderStatus.EXPIRED  # the last slice was filled, an earlier one was not
        if status is OrderStatus.EXPIRED and row.opens:
            code = RefusalCode.ENTRY_NOT_FILLED
        return OrderUpdate(row.told_as, row.symbol, status, self._desk.now(), total, code, row.message)

    def refused(self, row: Row, code: RefusalCode | None, message: str) -> OrderUpdate:
        """The books' word for an order that never came to be."""
        filled = sum((one.filled for one in self._outbox.family(row.told_as)), ZERO)
        status = OrderStatus.EXPIRED if filled else OrderStatus.REJECTED
        return OrderUpdate(row.told_as, row.symbol, status, self._desk.now(), filled, code, message)

    def _foreign(self, seen: OrderSeen) -> None:
        """An order that is none of ours; the audit decides what it means."""
        if seen.standing.over:
            self._desk.lift(seen.symbol, HaltKind.FOREIGN_ORDER, seen.venue_id)
        key = f"{seen.symbol} {seen.venue_id}"
        if key not in self._told_foreign and not seen.standing.over and not self._desk.account.forced(seen.client_id):
            self._told_foreign[key] = None
            self.on_doubt(seen.symbol)

    def _contradicted(self, row: Row, what: str) -> None:
        """An order that was over comes back: the venue is right, and nothing is opened before a person looks."""
        self.on_doubt(row.symbol)
        if (row.symbol, HaltKind.CONTRADICTED.value, row.client_id) in self._outbox.halts:
            return  # one order comes back with many words, and a person is called once
        why = f"order {row.client_id} was {row.state}, but {what}; look at both, then `brain accept`"
        self._desk.halt(row.symbol, HaltKind.CONTRADICTED, why, row.client_id)

    def not_on_record(self, symbol: str, client_id: str) -> None:
        """An order whose id has our form, and that no life of this record sent."""
        if ("", HaltKind.OTHER_DAEMON.value, "") not in self._outbox.halts:
            what = f"order {client_id} of {symbol} has our form and is not on this record"
            why = f"{what}: another daemon trades this account, or its folder was lost; stop it, then `brain accept`"
            self._desk.halt("", HaltKind.OTHER_DAEMON, why)

    def _is_twin(self, row: Row, venue_id: str) -> bool:
        """Whether the venue means another order than ``row``'s by the same client id: two daemons decided alike."""
        twin = not row.is_algo and "" not in (row.venue_id, venue_id) and venue_id != row.venue_id
        if twin:
            self.not_on_record(row.symbol, row.client_id)
        return twin

    # --- fills ------------------------------------------------------------------------------------

    def trade(self, trade: TradeSeen) -> None:
        """One fill; the same one again changes nothing."""
        if self._outbox.has_trade(trade.symbol, trade.trade_id):
            return
        row = self.row_of(trade.symbol, trade.client_id, trade.venue_id)
        if row is not None and self._is_twin(row, trade.venue_id):
            row = self._outbox.by_venue_id(trade.symbol, trade.venue_id)
        if row is None:
            row = self._adopt(trade)
        told = self._told_part(row, trade)
        total = row.filled + trade.qty
        whole = not row.close_position and total >= row.qty
        standing = Standing.FILLED if whole else row.standing
        ended = whole or (standing is not None and standing.over and total >= row.claimed)
        to = None
        if row.state is not State.DONE and not row.state.over:
            to = State.DONE if ended else None if row.state is State.PARTIAL else State.PARTIAL
        events: list[Fill | OrderUpdate] = [self._fill(row, trade, told)] if told else []
        changes: dict[str, Any] = {"claimed": max(row.claimed, total)}
        if standing is not row.standing:
            changes["standing"] = standing
        if to is State.DONE and standing is not None:
            end = self._end(row, standing, total)
            events += end
            changes["ended"] = row.ended or bool(end)
        self._outbox.fill(row, trade, self._desk.now(), to=to, told=told, events=events, **changes)
        self._desk.prices[trade.symbol] = float(trade.price)
        self.filled_ms[trade.symbol] = max(trade.ts, self.filled_ms.get(trade.symbol, 0))
        if row.state in (State.REJECTED, State.THROTTLED, State.ABSENT):
            self._contradicted(row, f"{trade.qty} of it were filled")
        self.compare_books(trade.symbol)
        self.on_position(trade.symbol)

    def compare_books(self, symbol: str) -> None:
        """Nothing is opened while more or less is held than the books were told, unless a person has taken that over."""
        self._tell_late(symbol)
        apart, held = self._outbox.unsettled(symbol), self._outbox.held(symbol)
        if apart:
            why = f"{apart} of the {held} held of {symbol} belong to no plan; {remedy(symbol, held, held - apart)}"
            self._desk.halt(symbol, HaltKind.BOOKS, why, venue=str(held))
        else:
            self._desk.lift(symbol, HaltKind.BOOKS)

    def take_over(self, symbol: str, venue: Decimal, why: str) -> None:
        """By a person's word ``venue`` is held: the books hear of the end of what is not there; the rest belongs to no plan.

        Raises:
            StateError: it could not be written.
        """
        booked, now = self._outbox.booked(symbol), self._desk.now()
        gone = booked - (min(booked, venue, key=abs) if booked * venue > 0 else ZERO)
        if gone:
            side = OrderSide.SELL if gone > 0 else OrderSide.BUY
            price, name = self._last_price(symbol), f"accepted-{now}"
            trade = TradeSeen(symbol, -now, name, name, side, abs(gone), price, ZERO, "", maker=False, ts=now)
            row = self._stranger(trade, name)
            self._outbox.fill(row, trade, now, to=None, told=trade.qty, events=[self._fill(row, trade, trade.qty)])
        self._outbox.settle(symbol, venue - self._outbox.held(symbol), now, why)
        self.compare_books(symbol)
        self.on_position(symbol)

    def _last_price(self, symbol: str) -> Decimal:
        """Of the market; where nothing is known of it yet, the cap of the last entry."""
        if symbol in self._desk.prices:
            return Decimal(repr(self._desk.prices[symbol]))
        caps = [row.price for row in self._outbox.rows.values() if row.symbol == symbol and row.opens and row.price]
        return caps[-1]

    def _told_part(self, row: Row, trade: TradeSeen) -> Decimal:
        """How much of a fill the books hear of: openings of which they know the plan, closings of what they hold.

        What a person trades is first of all that which no plan owns.
        """
        booked, qty = self._outbox.booked(trade.symbol), trade.qty
        if row.opens:
            return ZERO if row.ended or not row.plan_id else qty
        if row.reason is ExitReason.BY_HAND:
            apart = self._outbox.apart(trade.symbol) + self.surplus(trade.symbol)
            qty -= min(qty, abs(apart)) if apart * trade.side.sign < 0 else ZERO
        return min(qty, abs(booked)) if booked * trade.side.sign < 0 else ZERO

    def _tell_late(self, symbol: str) -> None:
        """Tell what stops closed of an entry before anybody knew that it was filled."""
        outbox = self._outbox
        for late in outbox.untold(symbol) if outbox.unsettled(symbol) * outbox.booked(symbol) < 0 else ():
            row, sign = outbox.rows[late.client_id], late.trade.side.sign
            left = min(late.trade.qty - late.told, abs(outbox.booked(symbol)), abs(outbox.unsettled(symbol)))
            if left and sign * outbox.booked(symbol) < 0 and row.reduce_only and row.reason is not ExitReason.BY_HAND:
                fill = self._fill(row, late.trade, left)
                outbox.tell_late(late, left, [replace(fill, id=f"{fill.id}+{late.told}") if late.told else fill])

    def _fill(self, row: Row, trade: TradeSeen, told: Decimal) -> Fill:
        instrument = self._desk.instruments[trade.symbol]
        fee = abs(float(trade.fee))
        if trade.fee_asset not in ("", trade.symbol.rsplit(":", maxsplit=1)[-1]):
            # paid in another coin, whose price nobody here knows: what it would have cost in money
            rate = instrument.maker_fee_rate if trade.maker else instrument.taker_fee_rate
            fee = float(trade.qty) * float(trade.price) * rate
        return Fill(
            id=f"{trade.symbol}#{trade.trade_id}",
            client_id=row.told_as,
            plan_id=row.plan_id,
            symbol=trade.symbol,
            side=trade.side,
            purpose=row.purpose,
            qty=told,
            price=trade.price,
            expected_price=row.expected_price or float(trade.price),
            spread_bps=row.spread_bps,
            fee=fee * float(told / trade.qty),
            maker=trade.maker,
            ts=trade.ts,
            reason=row.reason,
        )

    def _adopt(self, trade: TradeSeen) -> Row:
        """A fill of an order that is none of ours: the venue's own, or somebody's."""
        if OURS.match(trade.client_id):
            self.not_on_record(trade.symbol, trade.client_id)
        known = self._outbox.rows.get(trade.client_id)
        row = self._stranger(trade, f"foreign-{trade.venue_id}" if known or not trade.client_id else trade.client_id)
        what = "liquidated by the exchange" if trade.forced else "traded by somebody else"
        text = f"{trade.side} {trade.qty} {trade.symbol} at {trade.price}: {what}"
        self._desk.alert("page", "liquidation" if trade.forced else "by_hand", text)
        return row

    def _stranger(self, trade: TradeSeen, client_id: str) -> Row:
        """The row of an order that was filled and is not on record."""
        row = Row(
            client_id=client_id,
            told_as=client_id,
            plan_id="",
            symbol=trade.symbol,
            side=trade.side,
            type=OrderType.MARKET,
            purpose=OrderPurpose.EXIT,
            qty=trade.qty,
            price=None,
            reduce_only=True,
            ts=trade.ts,
            told_qty=trade.qty,
            reason=ExitReason.LIQUIDATION if trade.forced else ExitReason.BY_HAND,
            own=True,
            state=State.DONE,
            venue_id=trade.venue_id,
            standing=Standing.FILLED,
        )
        self._outbox.add(row, self._desk.now(), must=False)
        return row

    def funding(self, payment: FundingSeen) -> None:
        """One funding payment; the same one again changes nothing."""
        qty, mark = self._outbox.held(payment.symbol), self._desk.prices.get(payment.symbol, 0.0)
        paid_on = float(qty) * mark
        rate = self.rates.get((payment.symbol, payment.ts))
        if rate is None:
            rate = -float(payment.amount) / paid_on if paid_on else 0.0
        event = FundingPayment(payment.symbol, payment.ts, rate, mark, qty, float(payment.amount))
        if payment.symbol in self._desk.instruments:
            self._outbox.fund(payment, (event,))


def _rank(standing: Standing) -> int:
    return _RANK.get(standing, _OVER)
