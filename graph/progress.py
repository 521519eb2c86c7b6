"""Progress of a long command: a bar where a person watches, a plain line now and then where a log does.

Wall time is read here on purpose: how often a line appears is presentation and touches no decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

LINE_EVERY_SECONDS = 10.0
LINE_EVERY_SHARE = 0.05
_REFRESH_SECONDS = 0.1


class Progress(Protocol):
    """Tell it what was done; cheap enough to be told of every bar."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def go_on_from(self, steps: int) -> None:
        """``steps`` were done before this began; called first. They count as done, not as speed."""
        ...

    def advance(self, steps: int = 1) -> None:
        """``steps`` more are done."""
        ...

    def note(self, text: str) -> None:
        """Replace the few words beside the description."""
        ...


class SilentProgress:
    """Shows nothing (``--quiet``)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def go_on_from(self, steps: int) -> None:
        """Nothing."""

    def advance(self, steps: int = 1) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class LineProgress:
    """A plain line each 5 % where the end is known, and whenever 10 s passed without one."""

    def __init__(
        self, write: Callable[[str], None], total: int | None, description: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._total, self._description, self._now = write, total, description, now
        self._done = self._before = 0
        self._note = ""
        self._began = self._last_time = now()
        self._next_done = self._step = max(1, int(total * LINE_EVERY_SHARE)) if total else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def go_on_from(self, steps: int) -> None:
        """``steps`` were done before."""
        self._done = self._before = steps
        self._began = self._now()

    def advance(self, steps: int = 1) -> None:
        """``steps`` more are done."""
        self._done += steps
        by_share = self._total is not None and self._done >= self._next_done
        if by_share or self._now() - self._last_time >= LINE_EVERY_SECONDS:
            self._line()

    def note(self, text: str) -> None:
        """Words for the next line."""
        self._note = text

    def _line(self) -> None:
        now = self._now()
        rate = (self._done - self._before) / (now - self._began) if now > self._began else 0.0
        if self._total:
            share = min(100, self._done * 100 // self._total)
            amount = f"{share} % ({self._done:,} of {self._total:,})"
            self._next_done = (self._done // self._step + 1) * self._step
        else:
            amount = f"{self._done:,}"
        words = f", {self._note}" if self._note else ""
        self._write(f"{self._description}: {amount}, {rate:,.0f}/s{words}")
        self._last_time = now


class BarProgress:
    """A bar that is redrawn in place; rich is loaded only here."""

    def __init__(self, stream: TextIO, total: int | None, description: str, *, color: bool) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        screen = RichConsole(file=stream, force_terminal=True, no_color=not color, highlight=False)
        ends: tuple[Any, ...] = (TimeRemainingColumn(),) if total else ()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *ends)
        self._bar = RichProgress(
            *columns,
            TextColumn("{task.fields[note]}", markup=False),
            console=screen,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(description, total=total, note="")
        self._pending = 0
        self._note = ""
        self._last = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._draw()
        self._bar.stop()

    def go_on_from(self, steps: int) -> None:
        """``steps`` were done before."""
        self._bar.reset(self._task, completed=steps)

    def advance(self, steps: int = 1) -> None:
        """``steps`` more are done; drawn at most ten times a second."""
        self._pending += steps
        if time.monotonic() - self._last >= _REFRESH_SECONDS:
            self._draw()

    def note(self, text: str) -> None:
        """Words at the end of the bar."""
        self._note = text

    def _draw(self) -> None:
        self._bar.update(self._task, advance=self._pending, note=self._note, refresh=True)
        self._pending = 0
        self._last = time.monotonic()
