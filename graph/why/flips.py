"""The nearest flip: by how much each input alone would have had to differ for the decision to turn.

Found by running the deciding nodes again: outwards from what was, in growing steps, until the decision turns, then inwards by
bisection to the input's own precision. What turns and turns back between two of the growing steps is not seen. Every flip is
run once more at the value that is told, and one step nearer. Which inputs there are, and in which unit each is compared with
the others, stands in :mod:`graph.why.inputs`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from graph.why.asif import Fate, World
from graph.why.model import Flip, Value

Asked = Any
"""What is asked in: a world in which all nodes decide, or less where a rule alone is asked."""
Ask = Callable[[Asked], Awaitable[Fate]]
_RUNGS = 24
"""Growing steps on each side."""

NONE = "none within its range"
SWITCH_DISTANCE = 1.0
"""How far a switch is: as far as an input that moved by one of its units."""


@dataclass(frozen=True, slots=True)
class Dial:
    """An input that is a number.

    ``low`` to ``high`` is the range in which a flip is looked for, ``step`` its precision, ``scale`` the change of it that
    counts as one when distances of different inputs are compared.
    """

    name: str
    unit: str
    was: float
    low: float
    high: float
    step: float
    scale: float
    turn: Callable[[float], Asked]


@dataclass(frozen=True, slots=True)
class Switch:
    """An input with a few values: what it was, and the others with the world in which they hold; ``note``: what is behind it."""

    name: str
    was: str
    others: tuple[tuple[str, World], ...]
    note: str = ""


async def nearest_flips(dials: Sequence[Dial], switches: Sequence[Switch], ask: Ask, now: Fate) -> tuple[Flip, ...]:
    """A flip for each input, those that turn the decision first, nearest first."""
    found = [(await flip_of(dial, ask, now)) for dial in dials]
    found += [await _other(switch, ask, now) for switch in switches]
    return tuple(sorted(found, key=lambda flip: math.inf if flip.distance is None else flip.distance))


async def _other(switch: Switch, ask: Ask, now: Fate) -> Flip:
    names = " or ".join(name for name, _ in switch.others)
    note = f"; {switch.note}" if switch.note else ""
    gives: list[str] = []
    for name, world in switch.others:
        fate = await ask(world)
        if fate.done != now.done:
            change = f"{name} instead of {switch.was}{note}"
            return Flip(switch.name, "", switch.was, name, change, names, "", fate.words, True, SWITCH_DISTANCE)
        gives.append(fate.words)
    words = " or ".join(dict.fromkeys(gives))
    return Flip(switch.name, "", switch.was, None, NONE + note, names, "", words, True)


async def flip_of(dial: Dial, ask: Ask, now: Fate) -> Flip:
    """The change of one number that turns the decision."""
    decimals = max(0, -math.floor(math.log10(dial.step)))
    within = f"{dial.low:.{decimals}f} to {dial.high:.{decimals}f}"
    best: tuple[float, Fate] | None = None
    for edge in (dial.low, dial.high):
        found = await _outwards(dial, edge, ask, now)
        if found is not None and (best is None or abs(found[0] - dial.was) < abs(best[0] - dial.was)):
            best = found
    if best is None:
        return Flip(dial.name, dial.unit, dial.was, None, NONE, within, dial.step, now.words, True)
    needed, fate = best
    nearer = _value(dial, _grid(dial, needed) - round(math.copysign(1, needed - dial.was)))
    stays = abs(nearer - dial.was) < dial.step or (await ask(dial.turn(nearer))).done == now.done
    turned = (await ask(dial.turn(needed))).done != now.done
    change = f"{needed - dial.was:+.{decimals}f} {dial.unit}".strip()
    far = abs(needed - dial.was) / dial.scale
    return Flip(dial.name, dial.unit, dial.was, needed, change, within, dial.step, fate.words, turned and stays, far)


async def _outwards(dial: Dial, edge: float, ask: Ask, now: Fate) -> tuple[float, Fate] | None:
    """The value nearest to what was, towards ``edge``, at which the decision turns: on the grid of ``step``."""
    inside = dial.was
    for value in _rungs(dial, edge):
        fate = await ask(dial.turn(value))
        if fate.done != now.done:
            return await _inwards(dial, inside, value, fate, ask, now)
        inside = value
    return None


async def _inwards(dial: Dial, inside: float, outside: float, fate: Fate, ask: Ask, now: Fate) -> tuple[float, Fate]:
    low, high = _grid(dial, inside), _grid(dial, outside)
    while abs(high - low) > 1:
        middle = (low + high) // 2
        there = await ask(dial.turn(_value(dial, middle)))
        if there.done == now.done:
            low = middle
        else:
            high, fate = middle, there
    return _value(dial, high), fate


def _rungs(dial: Dial, edge: float) -> Iterator[float]:
    """Values from what was to ``edge``, each further from the last, on the grid, none twice."""
    reach = abs(edge - dial.was)
    if reach < dial.step:
        return
    growth = (reach / dial.step) ** (1.0 / (_RUNGS - 1))
    last = _grid(dial, dial.was)
    for rung in range(_RUNGS):
        place = _grid(dial, dial.was + math.copysign(min(reach, dial.step * growth**rung), edge - dial.was))
        if place != last:
            last = place
            yield _value(dial, place)


def _grid(dial: Dial, value: float) -> int:
    return round(value / dial.step)


def _value(dial: Dial, place: int) -> float:
    """The number as a person writes it, so that what is told is what was run: 40613.1, not 40613.100000000006."""
    return float(Decimal(repr(dial.step)) * place)


# --- in words -----------------------------------------------------------------------------------------------


def told(flips: Sequence[Flip]) -> str:
    """The nearest flip in one sentence."""
    turning = [flip for flip in flips if flip.needed is not None]
    if not flips:
        return "there is no input that could be looked at"
    if not turning:
        return f"none: no single one of {len(flips)} inputs turns it within its range"
    first = turning[0]
    return f"{first.name}: {moved(first)} ({first.gives})"


def moved(flip: Flip) -> str:
    """From what was to what is needed."""
    return f"{said(flip.was)} → {said(flip.needed)} {flip.unit}".rstrip()


def said(value: Value) -> str:
    """A value for people: floats to eight figures."""
    return f"{value:.8g}" if isinstance(value, float) else str(value)
