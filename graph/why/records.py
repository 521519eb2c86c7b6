"""What the records have of one trade, order, plan, signal or refusal, found by its id."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from core.errors import StateError
from core.exec.orders import made_plan
from core.monitor.reader import StoreReader
from core.monitor.schema import (
    ADJUSTMENT,
    FILL,
    FUNDING,
    ORDER,
    PLAN,
    REFUSAL,
    SIGNAL,
    SIGNAL_ROW,
    TRADE,
    UPDATE,
    RowCodec,
    SignalRow,
)
from core.types import (
    Adjustment,
    ExitReason,
    Fill,
    FundingPayment,
    Order,
    OrderPurpose,
    OrderUpdate,
    Plan,
    PlanKind,
    Refusal,
    Side,
    Signal,
    Timeframe,
    TradeRecord,
)
from graph.exit_codes import UsageError
from graph.parse import parse_time

_REFUSAL = re.compile(r"R-([0-9]+)-([0-9]+)")
_AT = re.compile(r"([A-Z_0-9]+)@(.+)")
_DIGITS = re.compile(r"[0-9]+")
_GREATEST = 1 << 60
"""SQLite's numbers have 63 bits; no decision and no time is as great as this."""
_LONGEST = 200
"""No id is longer."""
_NEAR = 3
_PLAN_LETTERS = ("P-", "A-", "C-")


class Kind(StrEnum):
    """What can be asked about."""

    TRADE = "trade"
    ORDER = "order"
    PLAN = "plan"
    SIGNAL = "signal"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about, with everything on record that belongs to it.

    ``ts`` is the bar in which it was decided. ``move`` is the change to an open position that is in question, where the
    subject is an order that carried one out; else the question is about opening. ``plans`` are those of the trade, its
    entry's first; the other tuples are in the order of events. ``late_of`` is the plan of which this is a fill that was told
    when it was over, empty otherwise; ``told_late`` are such positions of the plan in question, by their own ids.
    """

    id: str
    kind: Kind
    ts: int
    symbol: str
    strategy: str
    side: Side | None = None
    tf: Timeframe | None = None
    plan_kind: PlanKind = PlanKind.ENTRY
    signal: Signal | None = None
    scored: SignalRow | None = None
    plan: Plan | None = None
    refusal: Refusal | None = None
    trade: TradeRecord | None = None
    order: Order | None = None
    move: Adjustment | None = None
    plans: tuple[Plan, ...] = ()
    orders: tuple[Order, ...] = ()
    updates: tuple[OrderUpdate, ...] = ()
    fills: tuple[Fill, ...] = ()
    moves: tuple[Adjustment, ...] = ()
    funding: tuple[FundingPayment, ...] = ()
    late_of: str = ""
    told_late: tuple[str, ...] = ()

    @property
    def last_ts(self) -> int:
        """When the last thing on record of it happened."""
        times = [self.ts, *(fill.ts for fill in self.fills), *(update.ts for update in self.updates)]
        return max(times)


@dataclass(slots=True)
class _Life:
    """What came of a plan, its adds included."""

    trade: TradeRecord | None = None
    plans: list[Plan] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    updates: list[OrderUpdate] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    moves: list[Adjustment] = field(default_factory=list)
    funding: list[FundingPayment] = field(default_factory=list)
    told_late: tuple[str, ...] = ()


class Records:
    """The records of a session, by id."""

    def __init__(self, reader: StoreReader) -> None:
        self.reader = reader

    # --- what there is ------------------------------------------------------------------------------------

    def ids(self) -> tuple[str, ...]:
        """Every id that can be asked about: trades, plans, orders, signals, what refusals refer to, refusals."""
        found: list[str] = []
        columns = (("trades", "id"), ("plans", "id"), ("orders", "client_id"), ("signals", "id"), ("refusals", "ref"))
        for table, column in columns:
            found += [str(row[0]) for row in self.reader.query(f"SELECT DISTINCT {column} FROM {table} ORDER BY rowid")]  # noqa: S608 - constants
        late = self.reader.query("SELECT DISTINCT plan_id FROM fills WHERE plan_id LIKE '%+' ORDER BY rowid")
        found += [str(name) for (name,) in late]
        return (*dict.fromkeys(found), *(name for name, _ in self.refusals()))

    def refusals(self) -> Iterator[tuple[str, Refusal]]:
        """Every refusal with its id: ``R-``, the number of the decision, and its place among those of the decision, from 1."""
        names = ", ".join(REFUSAL.names)
        seq, place = -1, 0
        for row in self.reader.query(f"SELECT {names}, seq FROM refusals ORDER BY seq, rowid"):  # noqa: S608 - constants
            place = place + 1 if row[-1] == seq else 1
            seq = row[-1]
            yield f"R-{seq}-{place}", REFUSAL.decode(row[:-1])

    def refusal_ids_of(self, ref: str) -> tuple[str, ...]:
        """Refusals of what ``ref`` names, in the order of decisions."""
        seqs = self.reader.query("SELECT DISTINCT seq FROM refusals WHERE ref = ? ORDER BY seq", (ref,))
        return tuple(name for (seq,) in seqs for name, refusal in self._refusals_of(int(seq)) if refusal.ref == ref)

    def bar_of(self, ts: int) -> int:
        """Number, from 0, of the bar whose close is at ``ts``.

        Raises:
            StateError: no decision of that time is on record.
        """
        if not self.reader.query("SELECT 1 FROM decisions WHERE ts = ? LIMIT 1", (ts,)):
            raise StateError(f"no decision at {ts} is on record", help="brain sessions", code="JRN-008")
        return self.bar_after(ts)

    def bar_after(self, ts: int) -> int:
        """Number of the first bar that closes at ``ts`` or later."""
        return int(self.reader.query("SELECT COUNT(DISTINCT ts) FROM decisions WHERE ts < ?", (ts,))[0][0])

    def decision_at(self, ts: int) -> tuple[int, str]:
        """(number, link of the chain) of the decision on the bar at ``ts``."""
        rows = self.reader.query("SELECT seq, hash FROM decisions WHERE ts = ? ORDER BY seq LIMIT 1", (ts,))
        return int(rows[0][0]), str(rows[0][1])

    # --- by id --------------------------------------------------------------------------------------------

    def find(self, text: str) -> Subject:
        """What ``text`` names: an id, or ``CODE@TIME`` for the first refusal of that code then (TIME in ms, or as in ``--from``).

        What a refusal refers to (a plan that was not admitted, a signal that was not given) is an id, too.

        Raises:
            UsageError: nothing on record has that id; the nearest are named.
        """
        wanted = text.encode("utf-8", "replace").decode().strip()[:_LONGEST]
        for look in (self._refusal, self._trade, self._plan, self._order, self._signal, self._referred_to):
            found = look(wanted)
            if found is not None:
                return found
        near = self._near(wanted)
        said = f"; nearest: {', '.join(near)}" if near else ""
        raise UsageError(
            f"the session has nothing with the id {wanted!r}{said}", help=f"brain why {(*near, 'ID')[0]}", code="WHY-001"
        )

    def _near(self, text: str) -> list[str]:
        """Ids that come nearest: of refusals by their number or their time, of all others by their letters."""
        exact, at = _REFUSAL.fullmatch(text), _AT.fullmatch(text)
        if exact is not None:
            sql = "SELECT DISTINCT seq FROM refusals ORDER BY ABS(seq - ?) LIMIT ?"
            return [f"R-{seq}-1" for (seq,) in self.reader.query(sql, (_bounded(exact[1]), _NEAR))]
        if at is not None:
            known = [str(code) for (code,) in self.reader.query("SELECT DISTINCT code FROM refusals ORDER BY code")]
            code = next(iter(difflib.get_close_matches(at[1], known, n=1, cutoff=0.0)), "")
            sql = "SELECT DISTINCT ts FROM refusals WHERE code = ? ORDER BY ABS(ts - ?) LIMIT ?"
            return [f"{code}@{ts}" for (ts,) in self.reader.query(sql, (code, _time(at[2]) or 0, _NEAR))]
        return difflib.get_close_matches(text, self.ids(), n=_NEAR, cutoff=0.0)

    def _refusal(self, text: str) -> Subject | None:
        exact, at = _REFUSAL.fullmatch(text), _AT.fullmatch(text)
        found: list[tuple[str, Refusal]] = []
        if exact is not None:
            found = [(name, refusal) for name, refusal in self._refusals_of(_bounded(exact[1])) if name == text]
        elif at is not None and (ts := _time(at[2])) is not None:
            rows = self.reader.query("SELECT DISTINCT seq FROM refusals WHERE code = ? AND ts = ? ORDER BY seq", (at[1], ts))
            found = [pair for (seq,) in rows for pair in self._refusals_of(int(seq)) if pair[1].code == at[1]]
        return self._refused(*found[0]) if found else None

    def _referred_to(self, text: str) -> Subject | None:
        """The first refusal that refers to ``text``."""
        names = self.refusal_ids_of(text)
        return self._refused(names[0], self._refused_of(names[0])) if names else None

    def _refusals_of(self, seq: int) -> list[tuple[str, Refusal]]:
        names = ", ".join(REFUSAL.names)
        rows = self.reader.query(f"SELECT {names} FROM refusals WHERE seq = ? ORDER BY rowid", (seq,))  # noqa: S608 - constants
        return [(f"R-{seq}-{place}", REFUSAL.decode(row)) for place, row in enumerate(rows, start=1)]

    def _refused(self, name: str, refusal: Refusal) -> Subject:
        plan = self.one_plan(refusal.ref)
        is_add = refusal.ref.startswith("A-") or (plan is not None and plan.ts != refusal.ts)
        if plan is None and is_add:
            plan = self._entry_held(refusal)
        bare = refusal.ref[2:] if refusal.ref.startswith(_PLAN_LETTERS) else refusal.ref
        signal = None if is_add else self.one_signal(plan.signal_id if plan is not None else bare)
        side = plan.side if plan is not None else signal[0].side if signal is not None else _side_of(refusal)
        return Subject(
            id=name,
            kind=Kind.REFUSAL,
            ts=refusal.ts,
            symbol=refusal.symbol,
            strategy=refusal.strategy,
            side=side,
            tf=signal[0].tf if signal is not None else plan.tf if plan is not None else None,
            plan_kind=PlanKind.ADD if is_add else PlanKind.ENTRY,
            signal=None if signal is None else signal[0],
            scored=None if signal is None else signal[1],
            refusal=refusal,
        )

    def _entry_held(self, refusal: Refusal) -> Plan | None:
        """The entry that an add was to join."""
        where = "symbol = ? AND strategy = ? AND kind = 'entry' AND ts < ?"
        rows = self._rows(PLAN, "plans", where, (refusal.symbol, refusal.strategy, refusal.ts))
        return rows[-1] if rows else None

    def _trade(self, text: str) -> Subject | None:
        rows = self._rows(TRADE, "trades", "id = ?", (text,))
        if not rows:
            return None
        plan = self.one_plan(rows[0].plan_id)
        return None if plan is None else self._planned(text, Kind.TRADE, plan)

    def _plan(self, text: str) -> Subject | None:
        plan = self.one_plan(text)
        return None if plan is None else self._planned(text, Kind.PLAN, plan)

    def _order(self, text: str) -> Subject | None:
        rows = self._rows(ORDER, "orders", "client_id = ?", (text,))
        plan = self.one_plan(rows[0].plan_id) if rows else None
        return None if plan is None else self._planned(text, Kind.ORDER, plan, rows[0])

    def _signal(self, text: str) -> Subject | None:
        found = self.one_signal(text)
        if found is None:
            return None
        signal, scored = found
        rows = self._rows(PLAN, "plans", "signal_id = ? AND kind = 'entry'", (text,))
        if rows:
            return self._planned(text, Kind.SIGNAL, rows[0])
        refused = [self._refused_of(name) for ref in (text, f"P-{text}") for name in self.refusal_ids_of(ref)]
        refusal = refused[0] if refused else None
        return Subject(
            id=text,
            kind=Kind.SIGNAL,
            ts=signal.ts,
            symbol=signal.symbol,
            strategy=signal.strategy,
            side=signal.side,
            tf=signal.tf,
            signal=signal,
            scored=scored,
            refusal=refusal,
        )

    def _refused_of(self, name: str) -> Refusal:
        return dict(self._refusals_of(int(name.split("-")[1])))[name]

    def _planned(self, name: str, kind: Kind, plan: Plan, order: Order | None = None) -> Subject:
        life, signal = self._life(plan), self.one_signal(plan.signal_id)
        move = None if order is None else _carried_out(order, life.moves)
        if order is not None and move is None:
            plan = _moved_by_add(order, life) or plan
        refused = [self._refused_of(found) for found in self.refusal_ids_of(plan.id)]
        own = [refusal for refusal in refused if refusal.ts == plan.ts]
        return Subject(
            id=name,
            kind=kind,
            ts=plan.ts if move is None else move.ts,
            symbol=plan.symbol,
            strategy=plan.strategy,
            side=plan.side,
            tf=plan.tf,
            plan_kind=plan.kind,
            signal=None if signal is None else signal[0],
            scored=None if signal is None else signal[1],
            plan=plan,
            refusal=own[0] if own else None,
            trade=life.trade,
            order=order,
            move=move,
            plans=tuple(life.plans),
            orders=tuple(life.orders),
            updates=tuple(life.updates),
            fills=tuple(life.fills),
            moves=tuple(life.moves),
            funding=tuple(life.funding),
            late_of=made_plan(life.plans[0].id) if _is_late(life.plans[0]) else "",
            told_late=life.told_late,
        )

    def _told_late(self, entry: Plan) -> tuple[str, ...]:
        """Positions of what was told of ``entry`` after it, by their ids."""
        sql = "SELECT DISTINCT plan_id FROM fills WHERE rtrim(plan_id, '+') = ? AND length(plan_id) > ? ORDER BY rowid"
        return tuple(str(name) for (name,) in self.reader.query(sql, (made_plan(entry.id), len(entry.id))))

    def _life(self, plan: Plan) -> _Life:
        """Everything from the entry to flat; an add's is that of the position it joined."""
        life = _Life()
        entry = plan if plan.kind is PlanKind.ENTRY or _is_late(plan) else self._entry_of(plan)
        life.trade, since = self._trade_of(entry.id), entry.ts
        if _is_late(entry) and (before := self._trade_of(entry.id.removesuffix("+"))) is not None:
            since = before.closed_ts
        until = life.trade.closed_ts if life.trade is not None else 1 << 62
        adds = "signal_id = ? AND kind = 'add' AND ts BETWEEN ? AND ?"
        life.plans = [entry, *self._rows(PLAN, "plans", adds, (entry.signal_id, since, until))]
        if _is_late(entry):  # the order that opened it is that of the plan as it was made
            sent = "plan_id = ? AND client_id IN (SELECT client_id FROM fills WHERE plan_id = ?)"
            life.orders = self._rows(ORDER, "orders", sent, (made_plan(entry.id), entry.id))
        for one in life.plans:
            life.orders += self._rows(ORDER, "orders", "plan_id = ?", (one.id,))
            life.fills += self._rows(FILL, "fills", "plan_id = ?", (one.id,))
        life.fills.sort(key=lambda fill: fill.ts)
        for order in life.orders:
            life.updates += self._rows(UPDATE, "order_events", "client_id = ?", (order.client_id,))
        life.told_late = self._told_late(entry)
        if life.fills:
            # what was done on the bar on which this one was closed was done to what came after it
            span = (entry.symbol, max(since, life.fills[0].ts), until - bool(life.told_late))
            life.moves = self._rows(ADJUSTMENT, "adjustments", "symbol = ? AND ts BETWEEN ? AND ?", span)
            life.funding = self._rows(FUNDING, "funding", "symbol = ? AND ts BETWEEN ? AND ?", span)
        return life

    def _trade_of(self, plan_id: str) -> TradeRecord | None:
        trades = self._rows(TRADE, "trades", "plan_id = ?", (plan_id,))
        return trades[0] if trades else None

    def _entry_of(self, add: Plan) -> Plan:
        rows = self._rows(PLAN, "plans", "signal_id = ? AND kind = 'entry' AND ts <= ?", (add.signal_id, add.ts))
        return rows[-1] if rows else add

    def one_plan(self, name: str) -> Plan | None:
        """The plan of that id; what was filled of one when it was over has an id of its own, and is else the same plan."""
        rows = self._rows(PLAN, "plans", "id = ?", (made_plan(name),))
        known = rows and (rows[0].id == name or self.reader.query("SELECT 1 FROM fills WHERE plan_id = ? LIMIT 1", (name,)))
        return replace(rows[0], id=name) if known else None

    def one_signal(self, name: str) -> tuple[Signal, SignalRow] | None:
        """The signal of that id, and its score."""
        names = ", ".join((*SIGNAL.names, *SIGNAL_ROW.names))
        rows = self.reader.query(f"SELECT {names} FROM signals WHERE id = ?", (name,))  # noqa: S608 - constants
        split = len(SIGNAL.names)
        return (SIGNAL.decode(rows[0][:split]), SIGNAL_ROW.decode(rows[0][split:])) if rows else None

    def entries_of(self, symbol: str, since: int, until: int) -> list[tuple[Order, OrderUpdate | None]]:
        """Entry orders of ``symbol`` after ``since`` up to ``until`` (ms), each with the last word on it."""
        where = "symbol = ? AND purpose = 'entry' AND ts > ? AND ts <= ?"
        orders = self._rows(ORDER, "orders", where, (symbol, since, until))
        updates = [self._rows(UPDATE, "order_events", "client_id = ?", (order.client_id,)) for order in orders]
        return [(order, answer_to(told, order.client_id)) for order, told in zip(orders, updates, strict=True)]

    def _rows(self, codec: RowCodec[Any], table: str, where: str, values: Sequence[Any]) -> list[Any]:
        names = ", ".join(codec.names)
        sql = f"SELECT {names} FROM {table} WHERE {where} ORDER BY rowid"  # noqa: S608 - constants
        found: list[Struct] = [codec.decode(row) for row in self.reader.query(sql, values)]
        return found


def _is_late(plan: Plan) -> bool:
    return made_plan(plan.id) != plan.id


def _side_of(refusal: Refusal) -> Side | None:
    side = dict(refusal.detail).get("side")
    return Side(side) if side in set(Side) else None


def answer_to(updates: Sequence[OrderUpdate], client_id: str) -> OrderUpdate | None:
    """The last word on an order."""
    return next((update for update in reversed(updates) if update.client_id == client_id), None)


def _bounded(digits: str) -> int:
    return min(int(digits[:_LONGEST]), _GREATEST)


def _time(text: str) -> int | None:
    """Milliseconds; None where ``text`` is no time."""
    if _DIGITS.fullmatch(text):
        return _bounded(text)
    try:
        return parse_time(text)
    except (UsageError, OverflowError, OSError):
        return None


def _moved_by_add(order: Order, life: _Life) -> Plan | None:
    """The add whose fill placed this stop: further on, or again because there was more to cover."""
    adds = [plan for plan in life.plans if plan.kind is PlanKind.ADD and plan.ts <= order.ts]
    filled = {fill.plan_id for fill in life.fills if fill.purpose is OrderPurpose.ADD and fill.ts <= order.ts}
    at_once = {fill.plan_id for fill in life.fills if fill.purpose is OrderPurpose.ADD and fill.ts == order.ts}
    wanted = filled if order.reason is ExitReason.JOINT_STOP else at_once
    return next((plan for plan in reversed(adds) if order.purpose is OrderPurpose.STOP and plan.id in wanted), None)


def _carried_out(order: Order, moves: Sequence[Adjustment]) -> Adjustment | None:
    """The change that ``order`` carries out; None for what follows from a plan alone (entry, first stop, takes, add)."""
    if order.purpose.opens or order.reason is None or order.reason in (ExitReason.STOP, ExitReason.TAKE):
        return None
    same = [move for move in moves if move.ts == order.ts and move.reason is order.reason]
    return same[0] if same else None
