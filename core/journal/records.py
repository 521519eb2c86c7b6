"""What stands in a journal: inputs before they are handled, outputs after.

Every frame holds a list of records. A record is an array whose first element is its tag; fields are only ever added at the
end. Columns of bars are the raw bytes of little-endian arrays, so that what is read is bit for bit what was handled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from core.data.blocks import BarBlock, Bars, Batch, Book, ClockReading, Floats, FundingRate, Ints, PriceAt
from core.types import BrokerEvent, Fill, FundingPayment, Order, OrderUpdate, Timeframe


class Opening(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What holds from here on; the first record of every segment.

    ``facts`` identify the session (source, symbols, range, seed, equity, …); ``files`` hold the configuration as it was
    checked and used, by name (:mod:`graph.opening` writes one, ``configuration.json``); ``code`` names the version of the
    program and a digest of its source. ``source`` is the source's own description of itself.
    """

    session: str
    facts: dict[str, str]
    files: dict[str, bytes]
    code: dict[str, str]
    source: dict[str, Any]


class BarsBefore(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """History of one series that warmed the features up; columns as in :class:`core.data.blocks.Bars`."""

    symbol: str
    tf: Timeframe
    columns: tuple[bytes, ...]

    @classmethod
    def of(cls, symbol: str, tf: Timeframe, bars: Bars) -> BarsBefore:
        ts, *prices = bars
        return cls(symbol, tf, (_raw_ints(ts), *[_raw_floats(column) for column in prices]))

    def bars(self) -> Bars:
        """The history again."""
        ts, *prices = self.columns
        return Bars(_ints(ts), *(_floats(column) for column in prices))


class FundingBefore(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Funding settlements of one symbol before the session."""

    symbol: str
    rates: tuple[FundingRate, ...]


class SpotBefore(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Hourly spot closes of one symbol before the session."""

    symbol: str
    prices: tuple[PriceAt, ...]


class _Block(msgspec.Struct, frozen=True, array_like=True):
    tf: Timeframe
    idx: bytes
    columns: tuple[bytes, ...]
    venue: str = ""


class BatchIn(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What the source delivered for one announcement."""

    ts: int
    blocks: tuple[_Block, ...]
    funding: tuple[FundingRate, ...] = ()
    spot: tuple[PriceAt, ...] = ()
    marks: tuple[PriceAt, ...] = ()
    books: tuple[Book, ...] = ()
    clock: ClockReading | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, batch: Batch) -> BatchIn:
        blocks = tuple([_Block(block.tf, _raw_ints(block.idx), _columns(block), block.venue) for block in batch.bars])
        return cls(batch.ts, blocks, batch.funding, batch.spot, batch.marks, batch.books, batch.clock, batch.notes)

    def batch(self) -> Batch:
        """The batch again."""
        bars = tuple(_block(block) for block in self.blocks)
        return Batch(self.ts, bars, self.funding, self.spot, self.marks, self.books, self.clock, self.notes)


class EventsIn(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """What the broker told in one go: updates, fills and funding, each at its place in the order of ``kinds``."""

    kinds: str
    updates: tuple[OrderUpdate, ...] = ()
    fills: tuple[Fill, ...] = ()
    payments: tuple[FundingPayment, ...] = ()

    @classmethod
    def of(cls, events: Sequence[BrokerEvent]) -> EventsIn:
        return cls(
            "".join(_KIND[type(event)] for event in events),
            tuple(event for event in events if isinstance(event, OrderUpdate)),
            tuple(event for event in events if isinstance(event, Fill)),
            tuple(event for event in events if isinstance(event, FundingPayment)),
        )

    def events(self) -> tuple[BrokerEvent, ...]:
        """The events again, in their order."""
        rows: dict[str, Iterator[BrokerEvent]] = {"u": iter(self.updates), "f": iter(self.fills), "p": iter(self.payments)}
        return tuple(next(rows[kind]) for kind in self.kinds)


_KIND: dict[type, str] = {OrderUpdate: "u", Fill: "f", FundingPayment: "p"}


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """What the broker answered to an order or to a cancel; ``asked`` is ``place`` or ``cancel`` and the client id.

    ``order`` is what was sent; None for a cancel, and in journals from before it was kept.
    """

    asked: tuple[str, str]
    update: OrderUpdate
    order: Order | None = None


class Word(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """What a person or the file system brought in between two bars: an unlock, a change of the locked limits.

    ``ref`` tells one request of a person from another in the same words.
    """

    ts: int
    kind: str
    who: str = ""
    text: str = ""
    ref: str = ""


class Decided(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """What the nodes made of one event, in the order in which they ran: (agent, canonical bytes of what it wrote).

    None stands for the very bytes that this agent wrote last, in this segment. The hash of a node's output is the SHA-256 of
    the bytes; the decision record stands here without those hashes, since they follow from the others.
    """

    seq: int
    ts: int
    outputs: tuple[tuple[str, bytes | None], ...]


class State(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """State of every service after ``bars`` announcements and ``seq`` decisions; ``market`` only at a segment's start.

    ``heard`` words of venue or person that came after the last of these announcements are in it.
    """

    bars: int
    seq: int
    ts: int
    services: bytes
    market: bytes | None = None
    heard: int = 0


Record = Opening | BarsBefore | FundingBefore | SpotBefore | BatchIn | EventsIn | Answer | Word | Decided | State

_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_decoder = msgspec.msgpack.Decoder(list[Record])


def encode(records: Sequence[Record]) -> bytes:
    """Payload of a frame."""
    return _encoder.encode(records)


def decode(payload: bytes) -> list[Record]:
    """Records of a frame.

    Raises:
        msgspec.MsgspecError: the payload holds something else.
    """
    return _decoder.decode(payload)


def _columns(block: BarBlock) -> tuple[bytes, ...]:
    prices = (block.open, block.high, block.low, block.close, block.volume)
    return _raw_ints(block.open_ts), *[_raw_floats(column) for column in prices]


def _block(row: _Block) -> BarBlock:
    open_ts, *prices = row.columns
    o, h, low, c, v = (_floats(column) for column in prices)
    return BarBlock(row.tf, _index(row.idx), _ints(open_ts), o, h, low, c, v, row.venue)


def _raw_ints(column: Ints) -> bytes:
    return np.asarray(column, "<i8").tobytes()


def _raw_floats(column: Floats) -> bytes:
    return np.asarray(column, "<f8").tobytes()


@lru_cache(maxsize=256)
def _index(raw: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    # The feed knows by sight the index that a source gives again and again.
    return _ints(raw)


def _ints(raw: bytes) -> Ints:
    return np.frombuffer(raw, dtype="<i8")


def _floats(raw: bytes) -> Floats:
    return np.frombuffer(raw, dtype="<f8")
