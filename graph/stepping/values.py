"""Values as a person or a script sees them: plain, short, and as the difference between two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from core.canonical import encode

_FEW = 12
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One place at which two values differ; ``sign`` is ``+`` (new), ``-`` (gone) or ``~`` (another value)."""

    sign: str
    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.sign == "+":
            return f"+ {self.path}  {short(self.new)}"
        if self.sign == "-":
            return f"- {self.path}  {short(self.old)}"
        return f"~ {self.path}  {short(self.old)} -> {short(self.new)}"


def plain(value: Any) -> Any:
    """``value`` as text, numbers, lists and dicts; what has no such form is described in words."""
    if isinstance(value, BaseException):
        return f"raised {type(value).__name__}: {value}"
    try:
        return msgspec.msgpack.decode(encode(value))
    except (TypeError, ValueError):
        return _described(value)


def _described(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= _FEW else f"{value.size} values of {value.dtype}"
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in list(value.items())[:_FEW]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(inner) for name, inner in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value[:_FEW]]
    return type(value).__name__


def short(value: Any, width: int = 60) -> str:
    """A plain value on one line, cut at ``width`` characters."""
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}={short(inner, 20)}" for key, inner in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(short(inner, 20) for inner in value) + "]"
    else:
        text = "-" if value is None else str(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def changes(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """Every place at which two plain values differ, outermost first."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            inner = f"{path}.{key}" if path else str(key)
            yield from _member(old, new, key, inner)
    elif _pairs(old) and _pairs(new):
        # small named facts: by name, not by place
        yield from changes(dict(map(tuple, old)), dict(map(tuple, new)), path)
    elif isinstance(old, list) and isinstance(new, list):
        for at in range(max(len(old), len(new))):
            yield from _member(dict(enumerate(old)), dict(enumerate(new)), at, f"{path}[{at}]")
    elif encode(old) != encode(new):  # by their bytes: NaN is equal to itself there, and 1 is not 1.0
        yield Change("~", path, old, new)


def _member(old: dict[Any, Any], new: dict[Any, Any], key: Any, path: str) -> Iterator[Change]:
    if key not in old:
        yield Change("+", path, None, new[key])
    elif key not in new:
        yield Change("-", path, old[key], None)
    else:
        yield from changes(old[key], new[key], path)


def _pairs(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, list) and len(item) == _PAIR and isinstance(item[0], str) for item in value)
        and len({item[0] for item in value}) == len(value)
    )
