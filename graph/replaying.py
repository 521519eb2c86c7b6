"""The ports of a run that is made again from its journal: everything that came in comes from the record, nothing goes out.

A record is walked bar by bar by one :class:`Script`; source, venue, words and check all read from it, so they are always at
the same place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from traceback import walk_tb
from types import FrameType
from typing import Any, TypeVar

import msgspec

from core.data.blocks import Bars, Batch, FundingRate, PriceAt
from core.errors import BrainError, StateError
from core.exec.broker import AccountView
from core.journal.bars import Beginning, Input, RecordedBar
from core.journal.difference import first_difference
from core.journal.records import Answer, EventsIn, State, Word
from core.journal.tape import Outputs
from core.types import BrokerEvent, Event, Order, OrderUpdate, Timeframe
from graph.journaling import OnEvents, SilentJournal
from graph.node import Node
from graph.opening import info_of

T = TypeVar("T", bound=Input)
_LONGEST = 600


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which the record and the run made again are not the same.

    ``path`` leads into what the node wrote, outermost name first; ``recorded`` and ``now`` are plain values there.
    """

    bar: int
    ts: int
    seq: int
    node: str
    path: tuple[str, ...]
    recorded: Any
    now: Any

    def __str__(self) -> str:
        where = ".".join(self.path) or "all of it"
        return f"bar {self.bar}, node {self.node}, {where}: recorded {short(self.recorded)}, now {short(self.now)}"


def short(value: Any) -> str:
    """A value as a person reads it: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


class Differs(BrainError):
    """A run made again does not give what was recorded."""

    default_code = "REPLAY-001"
    exit_code = 1

    def __init__(self, difference: Difference) -> None:
        super().__init__(f"the run made again differs from the record: {difference}", help="")
        self.difference = difference


class CutOff(Exception):
    """The record ends inside its last bar, and the run made again has come to that place."""


class Script:
    """The record, at the bar that the run is at."""

    def __init__(self, bars: Iterable[RecordedBar]) -> None:
        self._bars = iter(bars)
        self._bar: RecordedBar | None = None

    @property
    def bar(self) -> RecordedBar:
        """The present bar.

        Raises:
            StateError: the record has not begun, or is over.
        """
        if self._bar is None:
            raise StateError("the run asked for more than the record has", help="brain sessions verify", code="JRN-001")
        return self._bar

    @property
    def cut_off(self) -> bool:
        """Whether the session was cut off inside this bar, and all that is on record of it was used."""
        return self.bar.last and not self.bar.made and not self.bar.inputs

    @property
    def left(self) -> int:
        """How many inputs are left at this place."""
        return 0 if self._bar is None else len(self._bar.inputs)

    def turn(self) -> RecordedBar | None:
        """Go on to the next bar; None at the end."""
        self._bar = next(self._bars, None)
        return self._bar

    def pass_bar(self) -> None:
        """Go on from the present bar to what came between it and the next."""
        bar = self.bar
        bar.inputs, bar.after = bar.after, deque()

    def peek(self, kind: type[T]) -> T | None:
        """The next input of this bar, if it is of ``kind``."""
        if self._bar is None or not self._bar.inputs:
            return None
        head = self._bar.inputs[0]
        return head if isinstance(head, kind) else None

    def take(self, kind: type[T]) -> T | None:
        """As :meth:`peek`, and go on to the one after it."""
        head = self.peek(kind)
        if head is not None:
            self.bar.inputs.popleft()
        return head

    def differs(self, node: str, path: tuple[str, ...], recorded: Any, now: Any) -> Differs:
        """The error for a difference at this bar."""
        bar = self.bar
        seq = bar.made[0].seq if bar.made else -1
        return Differs(Difference(bar.number, bar.batch.ts, seq, node, path, recorded, now))


def state_differs(recorded: State, now: State) -> Differs | None:
    """The first service, and field of it, that stands otherwise after a bar than the record says; None where all is the same."""
    for then, present in ((recorded.services, now.services), (recorded.market, now.market)):
        if then is None or present is None:
            continue
        a, b = msgspec.msgpack.decode(then), msgspec.msgpack.decode(present)
        for saved in (a, b):
            _drop_what_is_not_on_record(saved)
        if msgspec.msgpack.encode(a) != msgspec.msgpack.encode(b):
            path, was, is_now = first_difference(a, b)
            bar, seq = max(recorded.bars - 1, 0), max(recorded.seq - 1, 0)
            return Differs(Difference(bar, recorded.ts, seq, "state", path, _shown(was), _shown(is_now)))
    return None


def _shown(value: Any) -> Any:
    """Arrays are kept as their bytes, which no report can hold."""
    return value.hex() if isinstance(value, bytes) else value


def _drop_what_is_not_on_record(saved: dict[str, Any]) -> None:
    saved.pop("exchange", None)  # a record by itself, compared by its answers
    saved.pop("regime_score", None)  # against what a made market knows of itself; it decides nothing
    saved.get("telemetry", {}).pop("warnings", None)  # some come from around the run: signed limits, a report not written
    # What is calculated when it is looked at stands otherwise after a stop; all of it follows from what is kept beside it.
    features = saved.get("features", {})
    features.get("streams", {}).get("rows", {}).pop("basis_rank", None)
    for frame in features.get("frames", {}).values():
        frame.pop("out", None)


class RecordedSource:
    """The market of a session, as it was heard."""

    def __init__(self, start: Beginning, script: Script) -> None:
        self.info = info_of(start.opening)
        self._script = script
        self._bars = {(past.symbol, past.tf): past for past in start.bars}
        self._funding = {past.symbol: past.rates for past in start.funding}
        self._spot = {past.symbol: past.prices for past in start.spot}

    # The record has just what was asked for, so limits need not be looked at again.

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:  # noqa: ARG002
        past = self._bars.get((symbol, tf))
        if past is None:
            raise StateError(f"the journal has no {tf.value} history of {symbol}", help="brain sessions verify", code="JRN-001")
        return past.bars()

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:  # noqa: ARG002
        return self._funding.get(symbol, ())

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:  # noqa: ARG002
        return self._spot.get(symbol, ())

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        while (bar := self._script.turn()) is not None:
            if after_ts is None or bar.batch.ts > after_ts:
                yield bar.batch


class RecordedVenue:
    """A venue that answers as the record does and sends nothing anywhere."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def advance(self, batch: Batch, on_events: OnEvents) -> None:  # noqa: ARG002
        while (told := self._script.take(EventsIn)) is not None:
            await on_events(told.events())

    async def deliver(self, on_events: OnEvents) -> None:
        while (told := self._script.take(EventsIn)) is not None:
            await on_events(told.events())

    async def wait(self) -> None:
        """Nothing to wait for: all is on record."""

    async def place(self, order: Order) -> OrderUpdate:
        return self._answer("place", order.client_id, msgspec.to_builtins(order))

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        return self._answer("cancel", client_id, {"symbol": symbol, "client_id": client_id})

    def _answer(self, verb: str, client_id: str, asked: dict[str, Any]) -> OrderUpdate:
        answer = self._script.take(Answer)
        if answer is None and self._script.cut_off:
            raise CutOff
        if answer is None or answer.asked != (verb, client_id):
            recorded = None if answer is None else f"{answer.asked[0]} {answer.asked[1]}"
            raise self._script.differs("venue", (verb,), recorded, asked)
        if answer.order is not None and (then := msgspec.to_builtins(answer.order)) != asked:
            path, was, now = first_difference(then, asked)
            raise self._script.differs("venue", (verb, client_id, *path), was, now)
        return answer.update

    def drain(self) -> tuple[BrokerEvent, ...]:
        return ()

    def account(self) -> AccountView:
        raise NotImplementedError("the record has no account; equity comes from the ledger")

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        raise NotImplementedError("the record has no order book; the order manager knows its own orders")

    def position_qty(self, symbol: str) -> Decimal:
        raise NotImplementedError("the record has no positions; the ledger has")

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing: what the venue was at then follows from its recorded answers."""


class RecordedWords:
    """What a person and the file system brought in, as recorded."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def heard(self, ts: int) -> Iterator[Word]:  # noqa: ARG002
        """Words at this place of the record."""
        while (word := self._script.take(Word)) is not None:
            yield word

    def done(self, word: Word) -> None:
        """Nothing: it was done when it was recorded."""


class Check(SilentJournal):
    """Compares each decision with the record, node by node; all else that a run tells comes from the record."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.compared = 0

    def decided(self, event: Event, outputs: Outputs) -> None:
        """Compare with what was decided at this place.

        Raises:
            Differs: at the first node whose output is not the recorded one.
            CutOff: the record ends before this decision.
        """
        bar = self._script.bar
        if not bar.made and bar.last:
            raise CutOff
        if not bar.made:
            raise self._script.differs(outputs[0][0], (), "no decision", f"decision {event.seq}")
        made = bar.made[0]
        self.so_far(outputs)
        if len(outputs) != len(made.outputs):
            then, now = ([agent for agent, _ in ran] for ran in (made.outputs, outputs))
            raise self._script.differs(made.outputs[-1][0], (), f"nodes {', '.join(then)}", f"nodes {', '.join(now)}")
        bar.made.pop(0)
        self.compared += 1

    def so_far(self, outputs: Outputs) -> None:
        """Compare what nodes have written of the present decision with the record; a node that raised is not among them.

        Raises:
            Differs: at the first node whose output is not the recorded one.
        """
        made = self._script.bar.made
        if not made or tuple(outputs) == made[0].outputs:
            return
        for (agent, now), (agent_then, then) in zip(outputs, made[0].outputs, strict=False):
            if agent != agent_then:
                raise self._script.differs(agent_then, (), f"node {agent_then} ran", f"node {agent} ran")
            if now != then:
                path, recorded, present = first_difference(msgspec.msgpack.decode(then), msgspec.msgpack.decode(now))
                raise self._script.differs(agent, path, recorded, present)

    def raised(self, error: Exception, outputs: Outputs) -> Differs:
        """The difference that ``error`` is, which no node raised when this bar was recorded.

        Raises:
            Differs: a node before it wrote something else already.
        """
        self.so_far(outputs)
        node = next((frame.f_locals["self"].spec.name for frame, _ in walk_tb(error.__traceback__) if _is_node(frame)), None)
        made = self._script.bar.made
        then = dict(made[0].outputs).get(node) if made and node is not None else None
        recorded = "no exception" if then is None else msgspec.msgpack.decode(then)
        return self._script.differs(node or "services", (), recorded, f"{type(error).__name__}: {error}")

    def all_used(self) -> None:
        """Nothing on record of this bar is left over.

        Raises:
            Differs: there was a decision, an event or an answer that the run made again did not come to.
        """
        bar = self._script.bar
        if bar.made:
            raise self._script.differs(bar.made[0].outputs[0][0], (), f"decision {bar.made[0].seq}", "no decision")
        if bar.inputs:
            raise self._script.differs("venue", (), msgspec.to_builtins(bar.inputs[0]), None)


def _is_node(frame: FrameType) -> bool:
    return frame.f_code is Node.__call__.__code__
