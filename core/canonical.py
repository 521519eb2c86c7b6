"""The one encoding behind every hash.

MessagePack from one encoder, field names in definition order, mappings in sorted order. Not JSON: JSON
encoders disagree on the text of a float and write NaN as ``null``. A numpy scalar is refused, since its
text and type depend on where it came from; turn it into a Python number first.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_ENCODER = msgspec.msgpack.Encoder(order="deterministic", decimal_format="string")

encode = _ENCODER.encode
"""Canonical bytes of a struct, dataclass, tuple, mapping or scalar. Raises TypeError on anything else."""

EMPTY_HASH = bytes(32)


def digest(value: Any) -> str:
    """Hex SHA-256 of the canonical bytes of ``value``."""
    return hashlib.sha256(_ENCODER.encode(value)).hexdigest()


def chain(previous: bytes, payload: bytes) -> bytes:
    """Next link of a hash chain: SHA-256 of the previous link followed by the payload."""
    return hashlib.sha256(previous + payload).digest()
