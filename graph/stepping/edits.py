"""Changing a value of the state by hand: only to what could really stand there (type, enum, range, unit)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

import msgspec

from graph.stepping.errors import StepError, nearest
from graph.stepping.paths import Path, Step, without_none
from graph.stepping.values import plain, short
from tools.state import STATE_TYPES

_FAR_FUTURE_MS = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a number may be: its unit, its least and greatest value; ``above``: the least itself is not allowed."""

    unit: str
    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def allows(self, number: float) -> bool:
        """Whether ``number`` is within them."""
        try:
            number = float(number)
        except OverflowError:
            return False
        return math.isfinite(number) and self.least <= number <= self.most and not (self.above and number == self.least)

    def __str__(self) -> str:
        low = "" if math.isinf(self.least) else f"{'above' if self.above else 'at least'} {self.least:g}"
        high = "" if math.isinf(self.most) else f"at most {self.most:g}"
        return " and ".join(part for part in (low, high) if part) or "any number"


_BOUNDS: tuple[tuple[re.Pattern[str], Bounds], ...] = tuple(
    (re.compile(pattern), bounds)
    for pattern, bounds in (
        (r"(^|_)ts$", Bounds("ms", 0, _FAR_FUTURE_MS)),
        (r"^(score|threshold|points|max_points)$", Bounds("points", 0, 10)),
        (r"^(entry|stop|new_stop|price|atr)$", Bounds("quote", 0, above=True)),
        (r"^qty$", Bounds("base", 0, above=True)),
        (r"^(equity|day_start_equity|peak_72h|risk_usd)$", Bounds("usd", 0, above=True)),
        (r"_usd$", Bounds("usd", 0)),
        (r"^dd_72h_pct$", Bounds("%", 0, 100)),
        (r"^(r_pct|risk_r_pct)$", Bounds("%", 0, 100)),
        (r"_pct$", Bounds("%", -100, 100)),
        (r"_ms$", Bounds("ms", 0)),
        (r"^(loss_streak|seq)$", Bounds("", 0)),
    )
)
"""By the name of the field; the first that fits holds. Sources: the units in ``core.types``."""

_NUMBER = re.compile(r"^([+-]?[\d._]+(?:[eE][+-]?\d+)?)\s*([%A-Za-z]*)$")


def bounds_of(name: str) -> Bounds:
    """Unit and range of the field called ``name``."""
    return next((bounds for pattern, bounds in _BOUNDS if pattern.search(name)), Bounds(""))


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one place (or of all of its kind): what stood there before and what shall."""

    path: Path
    old: tuple[Any, ...]
    new: Any

    def __str__(self) -> str:
        before = sorted({str(value) for value in self.old})
        return f"{self.path}={self.new} (was {', '.join(before)})"


def edited(state: Any, path: Path, text: str) -> tuple[Any, Edit]:
    """The value of ``path.root`` with ``text`` at ``path``, and what that changes.

    Raises:
        StepError: ``text`` cannot stand there, or nothing stands there now.
    """
    old = tuple(plain(value) for value in path.values(state))
    if not old:
        raise StepError(f"nothing stands at {path} now", help="show state", code="STEP-002")
    wanted = _value(path, text)
    tree = plain(state[path.root])
    for holder, step in tuple(_holders({"": tree}, ("", *path.steps))):
        holder[step] = wanted
    if path.steps == ():
        tree = wanted
    try:
        value: Any = msgspec.convert(tree, STATE_TYPES[path.root])
    except msgspec.ValidationError as error:
        raise StepError(f"{path} cannot be {text!r}: {error}", code="STEP-003") from error
    return value, Edit(path, old, wanted)


def _value(path: Path, text: str) -> Any:
    kind, text = without_none(path.kind), text.strip()
    if text in {"none", "null"} and kind is not path.kind:
        return None
    if text[:1] in {"[", "{"}:
        try:
            whole: Any = json.loads(text)
            _check_numbers(path, path.name, whole)
        except (ValueError, RecursionError) as error:
            raise StepError(f"{short(text)!r} for {path} is no JSON that can be read: {error}", code="STEP-003") from error
        return whole
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(member.value) for member in kind]
        if text not in choices:
            raise StepError(f"{path} cannot be {text!r}{nearest(text, choices)}", help=", ".join(choices), code="STEP-003")
        return kind(text).value
    if kind is bool:
        if text not in {"true", "false"}:
            raise StepError(f"{path} cannot be {text!r}; it is true or false", code="STEP-003")
        return text == "true"
    if kind in {int, float, Decimal}:
        return _number(path, kind, text)
    if kind is str:
        return text.strip("\"'")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StepError(f"{path} is no single value; give it as JSON, or name a place in it", code="STEP-003") from error


def _number(path: Path, kind: Any, text: str) -> Any:
    bounds = bounds_of(path.name)
    match = _NUMBER.match(text)
    unit = match[2].lower() if match else ""
    if match is None or (unit and unit != bounds.unit):
        unit_text = f"in {bounds.unit}" if bounds.unit else "without a unit"
        raise StepError(f"{path} cannot be {text!r}; it is a number {unit_text}", code="STEP-003")
    try:
        number = kind(match[1])
    except (ValueError, InvalidOperation) as error:
        raise StepError(f"{path} cannot be {text!r}; it is of type {kind.__name__}", code="STEP-003") from error
    if not bounds.allows(number):
        raise StepError(f"{path} cannot be {text!r}; allowed is {bounds} {bounds.unit}".rstrip(), code="STEP-003")
    return str(number) if kind is Decimal else number


def _check_numbers(path: Path, name: str, value: Any) -> None:
    """Ranges inside a value that was given whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_numbers(path, key, inner)
    elif isinstance(value, list):
        for inner in value:
            _check_numbers(path, name, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not bounds_of(name).allows(value):
        raise StepError(f"{path} cannot have {name}={value}; allowed is {bounds_of(name)}", code="STEP-003")


def _holders(value: Any, steps: tuple[Step, ...]) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) that ``steps`` lead to in a tree of dicts and lists."""
    step, rest = steps[0], steps[1:]
    if value is None:
        return
    keys = range(len(value)) if step is None else (step,) if not isinstance(step, int) or step < len(value) else ()
    for key in keys:
        if rest:
            yield from _holders(value[key], rest)
        else:
            yield value, key
