"""Records come back from a frame bit for bit as they went in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.codes import RefusalCode
from core.data.blocks import BarBlock, Bars, Batch, Book, ClockReading, FundingRate, PriceAt
from core.journal.records import (
    Answer,
    BarsBefore,
    BatchIn,
    Decided,
    EventsIn,
    FundingBefore,
    Opening,
    Record,
    SpotBefore,
    State,
    Word,
    decode,
    encode,
)
from core.types import ExitReason, Fill, FundingPayment, OrderPurpose, OrderSide, OrderStatus, OrderUpdate, Timeframe

texts = st.text(max_size=12)
times = st.integers(0, 2**48)
numbers = st.floats()  # NaN, infinities and -0.0 among them
decimals = st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("-0.00")) | st.just(Decimal("1E+7"))
raw = st.binary(max_size=40)
timeframes = st.sampled_from(Timeframe)
odd_floats = [float("nan"), struct.unpack("<d", bytes.fromhex("010000000000f4ff"))[0], -0.0, float("-inf"), 5e-324]

funding = st.builds(FundingRate, texts, times, numbers, times)
prices = st.builds(PriceAt, texts, times, numbers)
books = st.builds(Book, texts, times, numbers, numbers, numbers, st.booleans())
updates = st.builds(
    OrderUpdate, texts, texts, st.sampled_from(OrderStatus), times, decimals, st.none() | st.sampled_from(RefusalCode), texts
)
fills = st.builds(
    Fill,
    *(texts, texts, texts, texts, st.sampled_from(OrderSide), st.sampled_from(OrderPurpose), decimals, decimals),
    *(numbers, numbers, numbers, st.booleans(), times, st.none() | st.sampled_from(ExitReason)),
)
payments = st.builds(FundingPayment, texts, times, numbers, numbers, decimals, numbers)


def columns(draw: Callable[..., Any], rows: int) -> list[np.ndarray[Any, Any]]:
    return [np.array(draw(st.lists(numbers, min_size=rows, max_size=rows)), dtype=np.float64) for _ in range(5)]


@st.composite
def histories(draw: Callable[..., Any]) -> Bars:
    rows = draw(st.integers(0, 5))
    return Bars(np.arange(rows, dtype=np.int64) * 60_000, *columns(draw, rows))


@st.composite
def blocks(draw: Callable[..., Any]) -> BarBlock:
    rows = draw(st.integers(0, 5))
    idx, open_ts = np.arange(rows, dtype=np.int64), np.array(draw(st.lists(times, min_size=rows, max_size=rows)), dtype=np.int64)
    return BarBlock(draw(timeframes), idx, open_ts, *columns(draw, rows))


few = {"max_size": 3}
batches = st.builds(
    Batch,
    times,
    st.lists(blocks(), **few).map(tuple),
    st.lists(funding, **few).map(tuple),
    st.lists(prices, **few).map(tuple),
    st.lists(prices, **few).map(tuple),
    st.lists(books, **few).map(tuple),
    st.none() | st.builds(ClockReading, times, st.none() | numbers, st.none() | numbers),
    st.lists(texts, **few).map(tuple),
)
plain = st.recursive(
    st.none() | st.booleans() | times | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=5,
)
events = st.lists(updates | fills | payments, max_size=6).map(tuple)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Opening,
        texts,
        st.dictionaries(texts, texts),
        st.dictionaries(texts, raw),
        st.dictionaries(texts, texts),
        st.dictionaries(texts, plain),
    ),
    st.builds(BarsBefore.of, texts, timeframes, histories()),
    st.builds(FundingBefore, texts, st.lists(funding, **few).map(tuple)),
    st.builds(SpotBefore, texts, st.lists(prices, **few).map(tuple)),
    st.builds(BatchIn.of, batches),
    st.builds(EventsIn.of, events),
    st.builds(Answer, st.tuples(texts, texts), updates),
    st.builds(Word, times, texts, texts, texts),
    st.builds(Decided, times, times, st.lists(st.tuples(texts, st.none() | raw), **few).map(tuple)),
    st.builds(State, times, times, times, raw, st.none() | raw),
)


def bits(value: Any) -> Any:
    """The value so that two are equal only if type and bits are: NaN by its payload, -0.0 apart from 0.0, 1 apart from 1.0."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, msgspec.Struct):
        return type(value), [bits(getattr(value, name)) for name in value.__struct_fields__]
    if is_dataclass(value):
        return type(value), [bits(getattr(value, part.name)) for part in fields(value)]
    if isinstance(value, dict):
        return [(bits(key), bits(item)) for key, item in value.items()]
    if isinstance(value, tuple | list):
        return type(value), [bits(item) for item in value]
    return type(value), value if isinstance(value, Enum) else str(value) if isinstance(value, Decimal) else value


@given(st.lists(records, max_size=4))
def test_records_come_back_bit_for_bit(written: list[Record]) -> None:
    assert bits(decode(encode(written))) == bits(written)


@given(batches)
def test_a_batch_comes_back_bit_for_bit(batch: Batch) -> None:
    (record,) = decode(encode([BatchIn.of(batch)]))
    assert isinstance(record, BatchIn)
    assert bits(record.batch()) == bits(batch)


@given(histories())
def test_history_comes_back_bit_for_bit(bars: Bars) -> None:
    (record,) = decode(encode([BarsBefore.of("BTC/USDT:USDT", Timeframe.M5, bars)]))
    assert isinstance(record, BarsBefore)
    assert bits(record.bars()) == bits(bars)


@given(events)
def test_events_come_back_in_their_order(told: tuple[OrderUpdate | Fill | FundingPayment, ...]) -> None:
    (record,) = decode(encode([EventsIn.of(told)]))
    assert isinstance(record, EventsIn)
    assert bits(record.events()) == bits(told)


@pytest.mark.parametrize("value", odd_floats)
def test_a_float_keeps_every_bit(value: float) -> None:
    (record,) = decode(encode([SpotBefore("A", (PriceAt("A", 1, value),))]))
    assert isinstance(record, SpotBefore)
    assert struct.pack("<d", record.prices[0].price) == struct.pack("<d", value)


def test_columns_are_stored_as_64_bits_whatever_the_source_gave() -> None:
    odd = BarBlock(Timeframe.M1, np.array([0], np.int32), np.array([60_000], np.int32), *[np.array([1.5], np.float32)] * 5)
    (record,) = decode(encode([BatchIn.of(Batch(120_000, (odd,)))]))
    assert isinstance(record, BatchIn)
    (block,) = record.batch().bars
    assert (block.idx.tolist(), block.open_ts.tolist(), block.close.tolist()) == ([0], [60_000], [1.5])
    assert block.open_ts.dtype == np.int64


def test_every_other_row_of_an_array_is_stored_as_it_reads() -> None:
    every = np.arange(6, dtype=np.float64)[::2]
    record = BarsBefore.of("A", Timeframe.H1, Bars(np.array([1, 2, 3]), *[every] * 5))
    assert record.bars().close.tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("record", "tag"),
    [
        (Opening("s", {}, {}, {}, {}), 0),
        (BarsBefore("A", Timeframe.M1, ()), 1),
        (FundingBefore("A", ()), 2),
        (SpotBefore("A", ()), 3),
        (BatchIn(1, ()), 4),
        (EventsIn(""), 5),
        (Answer(("place", "c"), OrderUpdate("c", "A", OrderStatus.NEW, 1)), 6),
        (Word(1, "unlock"), 7),
        (Decided(1, 1, ()), 8),
        (State(1, 1, 1, b""), 9),
    ],
)
def test_the_tag_of_a_record_stays_what_the_format_says(record: Record, tag: int) -> None:
    assert msgspec.msgpack.decode(encode([record]))[0][0] == tag


def test_a_field_that_a_later_version_adds_at_the_end_is_passed_over() -> None:
    later = msgspec.msgpack.encode([[7, 5, "unlock", "me", "text", "ref", "more"]])
    assert decode(later) == [Word(5, "unlock", "me", "text", "ref")]


def test_what_was_recorded_before_a_field_was_added_has_its_default() -> None:
    update = msgspec.to_builtins(OrderUpdate("c", "A", OrderStatus.NEW, 1))
    before = msgspec.msgpack.encode([[6, ["place", "c"], update], [7, 5, "unlock", "me", "text"]])
    assert decode(before) == [
        Answer(("place", "c"), OrderUpdate("c", "A", OrderStatus.NEW, 1), None),
        Word(5, "unlock", "me", "text", ""),
    ]


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode([[10, 1]]), msgspec.msgpack.encode([[7, "x"]])])
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(payload)
