"""Where two plain values part: the first place, by name, and what stands there in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def first_difference(recorded: Any, now: Any, path: tuple[str, ...] = ()) -> tuple[tuple[str, ...], Any, Any]:
    """Path to the first place at which two plain values are not the same, and what stands there; the whole where none is.

    A name that only one of them has comes first; None stands there in the other.
    """
    if isinstance(recorded, dict) and isinstance(now, dict):
        for name in (*recorded, *now):
            if name not in recorded or name not in now:
                return (*path, str(name)), recorded.get(name), now.get(name)
        pairs: Sequence[tuple[str, Any, Any]] = [(str(key), recorded[key], now[key]) for key in recorded]
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(recorded, now, strict=True))]
    else:
        return path, recorded, now
    for name, a, b in pairs:
        # by their bytes: NaN is equal to itself there, and 1 is not 1.0
        if msgspec.msgpack.encode(a) != msgspec.msgpack.encode(b):
            return first_difference(a, b, (*path, name))
    return path, recorded, now
