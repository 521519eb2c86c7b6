"""What takes for ever is ended: in a simulation a wait for what never comes goes through virtual years, at full speed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_AGAIN_S = 30.0
"""Whatever is under way may swallow it once."""


class Stuck(KeyboardInterrupt):
    """It took too long. An interrupt, since these go through an event loop, and through what catches every error."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Let nothing in here take longer than this, in real time. Only in the main thread.

    Raises:
        AssertionError: it did.
    """
    before = signal.signal(signal.SIGALRM, _stuck)
    around = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    except Stuck as error:
        raise AssertionError(f"it was not over after {seconds:g} s of real time") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *around)


def _stuck(_number: int, _frame: FrameType | None) -> None:
    raise Stuck
