"""A frame that was changed, left out, doubled or moved breaks the chain at its own place."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.journal.frames import HEADER_BYTES, Broken, Header, Place, frame, read_frames, read_header

payloads = st.lists(st.binary(max_size=60), min_size=1, max_size=8)


def framed(contents: list[bytes], place: Place | None = None) -> list[bytes]:
    """Header and frames, each by itself."""
    place = place or Place()
    parts = [Header(1, 0, place).packed()]
    for payload in contents:
        data, place = frame(place, payload)
        parts.append(data)
    return parts


def read(data: bytes) -> list[bytes]:
    return [good.payload for good in read_frames(data, read_header(data).place)]


def good_until(data: bytes) -> int:
    """How many frames are good before the damage."""
    count = 0
    with pytest.raises(Broken):  # noqa: PT012 - frames come until it raises
        for _ in read_frames(data, read_header(data).place):
            count += 1
    return count


@given(payloads, st.integers(0, 2**63), st.binary(min_size=16, max_size=16))
def test_frames_come_back(contents: list[bytes], number: int, link: bytes) -> None:
    assert read(b"".join(framed(contents, Place(number, link)))) == contents


@given(payloads, st.data())
def test_any_change_of_any_byte_is_found_at_its_frame(contents: list[bytes], data: st.DataObject) -> None:
    parts = framed(contents)
    whole = bytearray(b"".join(parts))
    at = data.draw(st.integers(HEADER_BYTES, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    assert good_until(bytes(whole)) == sum(end <= at for end in accumulate(map(len, parts))) - 1


@given(st.integers(0, HEADER_BYTES - 1), st.integers(1, 255))
def test_any_change_of_the_header_is_found(at: int, change: int) -> None:
    whole = bytearray(Header(7, 99, Place(12, bytes(range(16)))).packed())
    whole[at] ^= change
    with pytest.raises(Broken):
        read_header(bytes(whole))


@given(payloads, st.data())
def test_a_frame_left_out_doubled_or_moved_is_found_at_its_place(contents: list[bytes], data: st.DataObject) -> None:
    contents.append(b"last")
    head, *frames = framed(contents)
    at = data.draw(st.integers(0, len(frames) - 2))
    without = [*frames[:at], *frames[at + 1 :]]
    twice = [*frames[: at + 1], *frames[at:]]
    swapped = [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
    assert good_until(b"".join((head, *without))) == at
    assert good_until(b"".join((head, *twice))) == at + 1
    assert good_until(b"".join((head, *swapped))) == at


@given(payloads, st.data())
def test_a_cut_at_any_byte_is_a_torn_frame_and_no_flip_is(contents: list[bytes], data: st.DataObject) -> None:
    parts = framed([b"first", *contents])
    whole, first = b"".join(parts), len(parts[0]) + len(parts[1])
    at = data.draw(st.integers(first, len(whole) - 1))
    if at not in accumulate(map(len, parts)):
        with pytest.raises(Broken) as cut:
            read(whole[:at])
        assert cut.value.torn
        assert cut.value.is_tail(None)
    flipped = bytearray(whole)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Broken) as caught:
        read(bytes(flipped))
    assert not caught.value.torn


def test_a_break_is_a_torn_tail_only_behind_what_is_known_to_be_on_the_disk() -> None:
    cut, changed = Broken(500, "", torn=True, number=7), Broken(500, "", number=7)
    assert cut.is_tail(None)
    assert not changed.is_tail(None)
    assert changed.is_tail(7)
    assert not changed.is_tail(8)
    assert not Broken(HEADER_BYTES, "", torn=True, number=7).is_tail(0), "a segment comes into being with its first frame"
