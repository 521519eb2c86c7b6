"""Places in the state: ``regimes.h1[0]``, ``selection.scored[*].score``, checked against the types of the state."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from graph.stepping.errors import StepError, nearest
from tools.state import STATE_TYPES

Step = str | int | None
"""Field name, position, or None for every position."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_TOKEN = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_]*)|\[([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class Path:
    """A place in the state, or all of its kind; ``kind`` is the declared type of what stands there."""

    root: str
    steps: tuple[Step, ...]
    kind: Any

    def __str__(self) -> str:
        return self.root + "".join(f".{step}" if isinstance(step, str) else f"[{_index(step)}]" for step in self.steps)

    @property
    def name(self) -> str:
        """Name of the innermost field."""
        return next((step for step in reversed(self.steps) if isinstance(step, str)), self.root)

    def values(self, state: Any) -> Iterator[Any]:
        """What stands there in ``state`` (key -> value); nothing where a key was not written or a tuple is shorter."""
        value = state.get(self.root)
        return iter(()) if value is None else _walk(value, self.steps)


def parse_path(text: str, symbols: Sequence[str] = ()) -> Path:
    """The place that ``text`` names; in ``[...]`` a number, ``*`` for all, or a symbol of the session.

    Raises:
        StepError: there is no such place in the state; the nearest are named.
    """
    text = text.strip()
    words = _words(text)
    root = words[0]
    if not isinstance(root, str) or root not in STATE_TYPES:
        raise StepError(f"{text!r} does not begin with a key of the state{nearest(str(root), STATE_TYPES)}", code="STEP-002")
    kind: Any = STATE_TYPES[root]
    steps: list[Step] = []
    for word in words[1:]:
        step = word if isinstance(word, str) else _position(word[0], symbols, text)
        kind = _inside(kind, step, text)
        steps.append(step)
    return Path(root, tuple(steps), kind)


def _words(text: str) -> list[str | tuple[str]]:
    words: list[str | tuple[str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            break
        words.append(match[1] or (match[2].strip(),))
        at = match.end()
    if at < len(text) or not words:
        raise StepError(
            f"{text!r} is no place in the state; one looks like regimes.h1[0] or status.governor.equity", code="STEP-002"
        )
    return words


def _position(word: str, symbols: Sequence[str], text: str) -> int | None:
    if word == "*":
        return None
    if _NUMBER.fullmatch(word):
        return int(word)
    matches = [at for at, symbol in enumerate(symbols) if word in {symbol, symbol.partition("/")[0]}]
    if len(matches) != 1:
        raise StepError(f"[{word}] in {text!r} is no position and no symbol{nearest(word, symbols)}", code="STEP-002")
    return matches[0]


def _inside(kind: Any, step: Step, text: str) -> Any:
    kind = without_none(kind)
    if isinstance(step, str):
        fields = fields_of(kind)
        if step not in fields:
            what = f"has no {step!r}{nearest(step, fields)}" if fields else f"has no fields, so no {step!r}"
            raise StepError(f"{_name(kind)} in {text!r} {what}", code="STEP-002")
        return fields[step]
    arguments = get_args(kind) if get_origin(kind) is tuple else ()
    if not arguments:
        raise StepError(f"{_name(kind)} in {text!r} has no positions", code="STEP-002")
    if arguments[-1] is Ellipsis:
        return arguments[0]
    if step is None or step >= len(arguments):
        raise StepError(f"{text!r}: there are positions 0 to {len(arguments) - 1}", code="STEP-002")
    return arguments[step]


def without_none(kind: Any) -> Any:
    """``X`` of ``X | None``; other kinds as they are."""
    if get_origin(kind) in {Union, types.UnionType}:
        rest = [argument for argument in get_args(kind) if argument is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def fields_of(kind: Any) -> dict[str, Any]:
    """Declared types of the fields of a struct; nothing for other kinds."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        hints = _hints(kind)
        return {name: hints[name] for name in kind.__struct_fields__}
    return {}


def _walk(value: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if value is None:
        return
    if isinstance(step, str):
        yield from _walk(getattr(value, step), rest)
    elif step is None:
        for inner in value:
            yield from _walk(inner, rest)
    elif step < len(value):
        yield from _walk(value[step], rest)


def _index(step: int | None) -> str:
    return "*" if step is None else str(step)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
