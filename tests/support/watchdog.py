"""What takes for ever is ended: in a simulation a wait for what never comes goes through virtual years, at full speed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_AGAIN_S = 30.0
"""Whatever is under way may swallow it once."""
_TOO_LONG = "it was not over after {:g} s of real time"


class Stuck(KeyboardInterrupt):
    """It took too long. An interrupt, since these go through an event loop, and through what catches every error."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Let nothing in here take longer than this, in real time. Only in the main thread.

    Raises:
        AssertionError: it did, also where that was taken for a person's interrupt, and answered.
    """
    late: list[Stuck] = []

    def end_it(_number: int, _frame: FrameType | None) -> None:
        late.append(Stuck())
        raise late[-1]

    before = signal.signal(signal.SIGALRM, end_it)
    around = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    except BaseException as error:
        if not late:
            raise
        raise AssertionError(_TOO_LONG.format(seconds)) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *around)
    if late:
        raise AssertionError(_TOO_LONG.format(seconds)) from late[0]
