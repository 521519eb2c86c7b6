"""What would have been decided otherwise: the same services once more, with a changed value and with nothing behind them.

The venue of a what-if has no exchange, no record and no file behind it: it answers orders itself. What it is told of a bar are
plain values. There is no writer of journals here, and what services write down goes to a folder that is thrown away. So a
what-if answers what would have been *decided*; orders that only it has sent are never filled, and it knows of no money.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from core.canonical import encode
from core.data.blocks import Batch
from core.exec.broker import AccountView
from core.journal.bars import Beginning, Input, Made, RecordedBar
from core.journal.records import Answer, EventsIn, State, Word
from core.journal.tape import Outputs
from core.monitor.store import Store
from core.types import BrokerEvent, Event, Order, OrderStatus, OrderType, OrderUpdate
from graph.journaling import OnEvents, SilentJournal
from graph.replaying import RecordedSource, Script
from graph.rerun import Ports, run_of, throw_away_store
from graph.stepping.carrier import Carrier, Undo
from graph.stepping.edits import Edit
from graph.stepping.errors import StepError
from graph.stepping.held import Held
from graph.stepping.place import Place
from graph.stepping.serializer import load
from graph.stepping.values import Change, changes, plain
from tools.state import BrainState, Execution, RiskDecision
from tools.topology import agent

ACCEPTED = "accepted in what-if; sent nowhere"
_PAST = 512
"""Bars of its own that a what-if remembers."""


class WhatIfVenue:
    """Answers orders itself. What the recorded bar told of symbols on which nothing was decided otherwise is told here too.

    An entry that only the what-if has sent expires at the next bar; other orders of its own wait for ever.
    """

    __slots__ = ("_answers", "_events", "_moved", "_waiting")

    def __init__(self) -> None:
        self._events: tuple[tuple[BrokerEvent, ...], ...] = ()
        self._answers: dict[tuple[str, str], OrderUpdate] = {}
        self._moved: dict[str, None] = {}
        self._waiting: dict[str, Order] = {}

    @property
    def moved(self) -> tuple[str, ...]:
        """Symbols on which something was decided otherwise than recorded."""
        return tuple(self._moved)

    def hear(self, inputs: Iterable[Input]) -> None:
        """What the recorded bar has: what the broker told, and what it answered."""
        told = tuple(inputs)
        self._events = tuple(one.events() for one in told if isinstance(one, EventsIn))
        self._answers = {one.asked: one.update for one in told if isinstance(one, Answer)}

    def move(self, symbols: Sequence[str]) -> None:
        """Something was decided otherwise on ``symbols``: the record tells nothing of them any more."""
        self._moved.update(dict.fromkeys(symbols))

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:
        over = [order for order in self._waiting.values() if order.symbol in self._moved and order.type is OrderType.IOC_LIMIT]
        self._waiting.clear()
        if over:
            await on_events(
                tuple(
                    OrderUpdate(order.client_id, order.symbol, OrderStatus.EXPIRED, batch.ts, message="a what-if fills nothing")
                    for order in over
                )
            )
        await self.deliver(on_events)

    async def deliver(self, on_events: OnEvents) -> None:
        for group in self._events:
            told = tuple(event for event in group if event.symbol not in self._moved)
            if told:
                await on_events(told)

    async def wait(self) -> None:
        """Nothing to wait for: all is on record."""

    async def place(self, order: Order) -> OrderUpdate:
        if order.type is OrderType.IOC_LIMIT:
            self._waiting[order.client_id] = order
        return self._answer("place", order.client_id, order.symbol, order.ts, OrderStatus.NEW)

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        order = self._waiting.pop(client_id, None)
        return self._answer("cancel", client_id, symbol, 0 if order is None else order.ts, OrderStatus.CANCELED)

    def _answer(self, verb: str, client_id: str, symbol: str, ts: int, status: OrderStatus) -> OrderUpdate:
        recorded = None if symbol in self._moved else self._answers.get((verb, client_id))
        return recorded or OrderUpdate(client_id, symbol, status, ts, message=ACCEPTED)

    def drain(self) -> tuple[BrokerEvent, ...]:
        return ()

    def account(self) -> AccountView:
        raise NotImplementedError("a what-if has no account")

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        return tuple(order for order in self._waiting.values() if symbol in {None, order.symbol})

    def position_qty(self, symbol: str) -> Decimal:
        raise NotImplementedError("a what-if has no positions; the ledger has")

    def snapshot(self) -> dict[str, Any]:
        return {"moved": list(self._moved), "waiting": msgspec.to_builtins(self._waiting)}

    def restore(self, state: dict[str, Any]) -> None:
        # A state from the record is that of another venue, which a what-if does not have.
        self._moved = dict.fromkeys(state.get("moved", ()))
        self._waiting = msgspec.convert(state.get("waiting", {}), dict[str, Order])


class Decisions(SilentJournal):
    """Keeps in memory what a what-if decides; stands where a run has its journal."""

    def __init__(self) -> None:
        self.made: list[Made] = []

    def decided(self, event: Event, outputs: Outputs) -> None:
        self.made.append(Made(event.seq, event.ts, tuple(outputs)))


class _HeardWords:
    def __init__(self) -> None:
        self.words: list[Word] = []

    def heard(self, ts: int) -> Sequence[Word]:  # noqa: ARG002
        words, self.words = self.words, []
        return words

    def done(self, word: Word) -> None:
        """Nothing: it was done when it was recorded."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One event, then and now. ``node`` is the first that wrote something else (None: all is the same)."""

    bar: int
    ts: int
    node: str | None
    changes: tuple[Change, ...]
    then: dict[str, Any]
    now: dict[str, Any]


@dataclass(slots=True)
class WhatIf:
    """One what-if: its name, its edits, the run behind it, and how it compares with the record so far.

    ``born`` is the bar at which it was made, ``changed`` what was changed by hand and where.
    """

    name: str
    held: Held
    venue: WhatIfVenue
    decisions: Decisions
    words: _HeardWords
    born: int
    bar: int
    changed: list[tuple[Place, Edit]] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    recorded: RecordedBar | None = None
    over: bool = False
    _past: deque[RecordedBar] = field(default_factory=lambda: deque(maxlen=_PAST))

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(map(str, self.edits))}"

    @property
    def edits(self) -> list[Edit]:
        """What was changed by hand."""
        return [edit for _, edit in self.changed]

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.bar, len(self.held.walks) - 1, self.held.walk.step)

    async def change(self, edit: Edit, values: BrainState) -> None:
        """Put ``values``, in which ``edit`` was made, into the state here."""
        await self.held.follow(self.held.carrier.edit(values))
        self.changed.append((self.place, edit))

    async def back(self) -> None:
        """To the border before, inside an event and not behind the last change."""
        if self.over:
            raise StepError("this bar is over in the what-if; it goes on only", help="original")
        if self.changed and self.place <= self.changed[-1][0]:
            raise StepError("a what-if cannot go back behind its change", help="original")
        if not await self.held.back():
            raise StepError("a what-if goes back inside an event only", help="original")

    def own(self) -> list[RecordedBar]:
        """The last bars as they were decided here, the present one as far as it is."""
        if self.over or self.recorded is None:
            return list(self._past)
        event, outputs = self.held.walk.event, self.held.run.context.trace.outputs
        made = [*self.decisions.made, Made(event.seq, event.ts, tuple(outputs))]
        return [*self._past, replace(self.recorded, made=made)]

    async def begin(self, bar: RecordedBar) -> None:
        """Let a recorded bar arrive in the what-if, and stand before its first node."""
        self.hear(bar)
        await self.held.begin(bar.batch)

    def hear(self, bar: RecordedBar) -> None:
        """Take in what the record has of ``bar``, without letting it arrive yet."""
        self.bar, self.recorded, self.over = bar.number, bar, False
        self.words.words = [told for told in bar.inputs if isinstance(told, Word)]
        self.venue.hear(bar.inputs)
        self.decisions.made.clear()

    async def forward(self) -> bool:
        """One node on; False: the bar is over, and compared."""
        going = await self.held.forward()
        if not going:
            self._compare()
        return going

    async def finish(self) -> None:
        """To the end of the bar."""
        while not self.over:
            await self.forward()

    async def through(self, bar: RecordedBar) -> None:
        """A whole bar, without a stop."""
        self.hear(bar)
        await self.held.through(bar.batch)
        self._compare()

    def _compare(self) -> None:
        assert self.recorded is not None  # noqa: S101 - begin comes first
        then, now = self.recorded.made, self.decisions.made
        for at in range(max(len(then), len(now))):
            one = compare(self.bar, self.recorded.ts, then[at] if at < len(then) else None, now[at] if at < len(now) else None)
            self.compared.append(one)
            self.venue.move(moved(wanted(then[at : at + 1]), self._wanted(at, now[at : at + 1])))
        self._past.append(replace(self.recorded, made=list(now)))
        self.over = True

    def _wanted(self, at: int, now: Sequence[Made]) -> dict[str, list[bytes]]:
        """What was wanted in event ``at`` of the bar: as execution read it, changes by hand included."""
        if not self.held.carrier.holding or at >= len(self.held.walks):
            return wanted(now)
        state = self.held.walks[at].here.state
        return _by_symbol(state.get("risk"), state.get("execution"))


def compare(bar: int, ts: int, then: Made | None, now: Made | None) -> Compared:
    """The first node that wrote something else, what is different in it, and both decisions in short."""
    old, new = dict(then.outputs) if then else {}, dict(now.outputs) if now else {}
    nodes = [*old, *(node for node in new if node not in old)] if old else list(new)
    order = [node for node in _ORDER if node in nodes]
    node = next((node for node in order if old.get(node) != new.get(node)), None)
    found: tuple[Change, ...] = ()
    if node is not None:
        found = tuple(changes(_plain(old.get(node)), _plain(new.get(node)), agent(node).writes))
    return Compared(bar, ts, node, found, decision(then), decision(now))


_ORDER = ("brain", "market_regime", "strategy_selection", "risk_manager", "execution", "research", "monitor")


def _plain(payload: bytes | None) -> Any:
    return None if payload is None else msgspec.msgpack.decode(payload)


def decision(made: Made | None) -> dict[str, Any]:
    """What a decision came to: signals, plans, orders, changes of positions, refusals, by id."""
    if made is None:
        return {}
    record = load("record", dict(made.outputs)["monitor"])
    names = ("state", "signals", "plans", "orders", "adjustments", "refusals")
    whole = plain(record)
    return {"nodes": [name for name, _ in made.outputs], **{name: whole[name] for name in names}}


def moved(old: dict[str, list[bytes]], new: dict[str, list[bytes]]) -> tuple[str, ...]:
    """Symbols on which plans, changes of positions or refused entries are not the recorded ones."""
    return tuple(symbol for symbol in sorted({*old, *new}) if old.get(symbol) != new.get(symbol))


def wanted(made: Sequence[Made]) -> dict[str, list[bytes]]:
    """What a decision wanted, by symbol: plans, changes of positions, refused entries."""
    outputs = dict(made[0].outputs) if made else {}
    risk, execution = outputs.get("risk_manager"), outputs.get("execution")
    return _by_symbol(load("risk", risk) if risk else None, load("execution", execution) if execution else None)


def _by_symbol(risk: RiskDecision | None, execution: Execution | None) -> dict[str, list[bytes]]:
    items: list[Any] = [*risk.plans, *risk.adjustments] if risk is not None else []
    items += execution.refusals if execution is not None else ()
    found: dict[str, list[bytes]] = {}
    for item in items:
        found.setdefault(item.symbol, []).append(encode(item))
    return found


@contextmanager
def what_if(name: str, start: Beginning, state: State, carrier: Carrier) -> Iterator[WhatIf]:
    """A what-if that stands at ``state``: services of its own, a venue with nothing behind it, a store that is thrown away."""
    with throw_away_store() as store:
        yield _make(name, start, state, carrier, store)


def _make(name: str, start: Beginning, state: State, carrier: Carrier, store: Store) -> WhatIf:
    opening = start.opening
    venue, decisions, words = WhatIfVenue(), Decisions(), _HeardWords()
    ports = Ports(RecordedSource(start, Script(())), venue, decisions, words)
    run = run_of(opening, ports, carrier, store, name=f"{opening.session} {name}")
    run.restore_record(state)

    def keep_ports() -> Undo:
        return lambda: None

    return WhatIf(name, Held(run, carrier, keep_ports), venue, decisions, words, state.bars, state.bars)
