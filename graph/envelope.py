"""The one JSON object that a command prints with ``--json``, also when it failed.

``{"schema": "brain.paper/1", "ok": true, "code": 0, "data": {...}, "warnings": [...], "error": null}``

``ok`` is true for exit code 0 only. Decimals are strings in plain notation, times RFC 3339 in UTC, enums their values,
mappings keep their order, sets are sorted. JSON has no NaN and no infinity: ``null`` stands in their place, and a warning
names the key and the value, so that a lost number is never silent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

from core.clock import rfc3339


def to_plain(value: Any, lost: list[str], path: str = "data") -> Any:
    """``value`` as JSON types; a line for every number that JSON cannot hold is added to ``lost``.

    Raises:
        TypeError: a value has no form in JSON (bytes, a time without zone, an object of another kind).
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return to_plain(value.value, lost, path)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(float(value), str(value), lost, path)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else _number(math.nan, str(value), lost, path)
    return _compound(value, lost, path)


def _number(value: float, text: str, lost: list[str], path: str) -> float | None:
    if math.isfinite(value):
        return value
    lost.append(f"{path} was {text}; JSON has no such number, null stands for it")
    return None


def _compound(value: Any, lost: list[str], path: str) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"{path} was a time without a zone, expected one with")
        return rfc3339(round(value.timestamp() * 1000))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(k, path): to_plain(v, lost, f"{path}.{_key(k, path)}") for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name), lost, f"{path}.{f.name}") for f in fields(value)}
    if isinstance(value, set | frozenset):
        return [to_plain(v, lost, f"{path}[{i}]") for i, v in enumerate(sorted(value))]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [to_plain(v, lost, f"{path}[{i}]") for i, v in enumerate(value)]
    if type(value).__module__ == "numpy":
        return to_plain(value.tolist(), lost, path)
    raise TypeError(f"{path} was a {type(value).__name__}, expected something that JSON can hold")


def _key(key: Any, path: str) -> str:
    plain = key.value if isinstance(key, Enum) else key
    if not isinstance(plain, str | int):
        raise TypeError(f"a key of {path} was a {type(key).__name__}, expected text")
    return str(plain)


def envelope(
    schema: str,
    data: Mapping[str, Any] | None,
    *,
    code: int = 0,
    warnings: Iterable[str] = (),
    error: Mapping[str, Any] | None = None,
) -> str:
    """The object as one line of ASCII JSON without a line end.

    Args:
        schema: name and version of what ``data`` holds, e.g. ``brain.paper/1``.
        data: the answer; None becomes an empty object.
        code: exit code of the command.
        warnings: sentences for people.
        error: what went wrong, when something did.
    """
    lost: list[str] = []
    plain_data = to_plain(data or {}, lost)
    plain_error = None if error is None else to_plain(error, lost, "error")
    answer = {
        "schema": schema,
        "ok": code == 0,
        "code": int(code),
        "data": plain_data,
        "warnings": [*map(str, warnings), *lost],
        "error": plain_error,
    }
    return json.dumps(answer, allow_nan=False)
