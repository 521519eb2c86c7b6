"""One encoding behind every hash: the same value gives the same bytes, wherever and whenever (costs.md section 5)."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.canonical import EMPTY_HASH, chain, digest, encode

ROOT = Path(__file__).resolve().parents[2]


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Point:
    b: int
    a: float
    colour: Colour = Colour.RED


@pytest.mark.parametrize("value", [np.float64(1.5), np.int64(1), np.bool_(True), np.array([1.0])])
def test_a_numpy_value_is_refused_wherever_it_stands(value: object) -> None:
    for wrapped in (value, (value,), {"key": value}, Point(1, value)):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            encode(wrapped)


def test_a_float_is_eight_exact_bytes() -> None:
    """MessagePack: 0xcb and IEEE 754, big endian; no text on the way."""
    assert encode(0.1) == b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"
    assert encode(0.1 + 0.2) != encode(0.3)


def test_nan_and_infinities_are_kept_and_told_from_none() -> None:
    """A JSON encoder would write all of them as null."""
    assert encode(math.nan) == b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
    assert len({encode(value) for value in (math.nan, math.inf, -math.inf, None)}) == 4


def test_minus_zero_is_not_zero_and_an_int_is_not_a_float() -> None:
    assert encode(-0.0) != encode(0.0)
    assert encode(1) != encode(1.0)
    assert encode(True) != encode(1)


def test_a_decimal_is_its_text_with_all_its_digits() -> None:
    assert encode(Decimal("0.1")) == encode("0.1")
    assert encode(Decimal("0.10")) != encode(Decimal("0.1"))


@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), max_size=8))
def test_the_order_of_a_mapping_is_irrelevant(mapping: dict[str, int]) -> None:
    assert encode(mapping) == encode(dict(reversed(mapping.items())))


def test_the_order_of_a_tuple_is_not() -> None:
    assert encode((1, 2)) != encode((2, 1))


def test_the_fields_of_a_dataclass_come_by_name_in_the_order_of_their_definition() -> None:
    """Worked out by hand: a map of three (0x83), then fixstr keys and values."""
    expected = b"\x83\xa1b\x01\xa1a\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa6colour\xa3red"
    assert encode(Point(1, 1.0)) == expected
    assert encode(Point(1, 1.0)) == encode(Point(1, 1.0))


def test_a_digest_is_sha256_of_the_bytes_and_a_chain_of_link_and_payload() -> None:
    assert digest((1, "a")) == hashlib.sha256(b"\x92\x01\xa1a").hexdigest()
    assert EMPTY_HASH == b"\x00" * 32
    first = chain(EMPTY_HASH, b"one")
    assert first == hashlib.sha256(b"\x00" * 32 + b"one").digest()
    assert chain(first, b"two") != chain(EMPTY_HASH, b"two")


def test_bytes_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    """G4: sets and dictionaries of strings iterate differently under another PYTHONHASHSEED; encodings do not differ."""
    program = (
        "from core.canonical import digest\n"
        "from core.types import Event, EventKind, Timeframe\n"
        "names = {'delta', 'alpha', 'charlie', 'bravo'}\n"
        "value = ({name: len(name) for name in names}, Event(EventKind.BAR, 1, 2, ((Timeframe.M5, ('x',)),)))\n"
        "print(digest(value))\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(answers) == 1
    assert len(answers.pop().strip()) == 64
