"""Trying again what may go well later, and not what never will."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import numpy as np

from core.errors import BrainError
from core.venues.errors import status_of

T = TypeVar("T")
_FIRST_S, _MOST_S = 0.5, 15.0
_SOON_S = (0.05, 0.3)
"""Of what is over already, and will be told any moment."""
_NEVER = frozenset({404, 405, 451})
"""Nothing is there, or it is not for us; ccxt takes the first for a venue that is away."""
_STRANGE_TRIES = 5
"""An error that neither client nor network has a name for: an odd answer, which may be another next time, or a fault of ours."""


def pause_s(fails: int, span: tuple[float, float], random: np.random.Generator) -> float:
    """Pause after ``fails`` failures on end: twice as long each time within ``span``, with jitter.

    Without it, many that lost the same venue would come back at once.
    """
    first, most = span
    return float(min(first * 2.0 ** min(fails, 30), most) * random.uniform(0.5, 1.0))


def hopeless(error: BaseException) -> bool:
    """Whether asking again cannot help: the request itself is wrong, or refused for what it is."""
    import ccxt

    wrong = (ccxt.BadRequest, ccxt.BadSymbol, ccxt.AuthenticationError, ccxt.NotSupported, ccxt.ArgumentsRequired)
    if status_of(error) in _NEVER or isinstance(error, BrainError):
        return True
    return isinstance(error, wrong) and not isinstance(error, ccxt.NetworkError)


def _strange(error: BaseException) -> bool:
    import aiohttp
    import ccxt

    return not isinstance(error, (ccxt.BaseError, aiohttp.ClientError, OSError))


async def patiently(call: Callable[[], Awaitable[T]], patience_s: float, random: np.random.Generator) -> T:
    """What ``call`` gives, tried again until ``patience_s`` of the loop have passed since the first failure.

    Raises:
        Exception: the last error, once patience or hope is over.
    """
    loop, fails, until = asyncio.get_running_loop(), 0, 0.0
    while True:
        try:
            return await call()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            until = until or loop.time() + patience_s
            if hopeless(error) or loop.time() >= until or (_strange(error) and fails + 1 >= _STRANGE_TRIES):
                raise
        await asyncio.sleep(pause_s(fails, (_FIRST_S, _MOST_S), random))
        fails += 1


async def soon(known: Callable[[], Awaitable[bool]], patience_s: float) -> None:
    """Ask again and again, at first after a moment, until something is ``known`` or patience is over; errors are answers too."""
    loop, (pause, most) = asyncio.get_running_loop(), _SOON_S
    until = loop.time() + patience_s
    while True:
        with suppress(Exception):  # it is asked for again, now or at the next close
            if await known():
                return
        if loop.time() + pause > until:
            return
        await asyncio.sleep(pause)
        pause = min(2.0 * pause, most)
