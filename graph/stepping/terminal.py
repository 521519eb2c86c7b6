"""The stepper at a terminal: single keys, a prompt, nothing saved."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from core.errors import BrainError
from graph.replaying import Differs
from graph.stepping.desk import TABLES, Desk, apart, words_page
from graph.stepping.panes import LEAST, Panes
from graph.stepping.patience import Patience

_ESCAPE_WAIT_SECONDS = 0.05
_ARROWS = {"\x1b[C": "n", "\x1b[D": "N", "\x1b[B": "b", "\x1b[A": "B", "\x1bOC": "n", "\x1bOD": "N", "\x1bOB": "b", "\x1bOA": "B"}
_UP, _DOWN = ("\x1b[A", "\x1bOA"), ("\x1b[B", "\x1bOB")
KEYS: dict[str, str] = {
    "n": "next",
    "N": "back",
    "b": "bar +1",
    "B": "bar -1",
    "t": "goto trade",
    "T": "prev trade",
    "r": "goto refusal",
    "R": "prev refusal",
    "g": "goto regime",
    "G": "prev regime",
    "a": "goto alert",
    "A": "prev alert",
    "c": "find",
    "C": "rfind",
    ">": "run",
    "=": "compare",
    "x": "original",
    "u": "return",
    "y": "why",
}
"""Keys that are a command by themselves."""
PROMPTS: dict[str, str] = {":": "", "/": "where ", "w": "watch ", "o": "origin ", "e": "set ", "m": "note "}
"""Keys that begin a command, which is then typed to its end."""
_VIEWS = ("diff", "full", "raw")


class Terminal:
    """Reads keys and draws the panes of ``desk`` until the person leaves.

    Args:
        desk: what is shown.
        out: the terminal to draw on.
        color: whether to use colour.
        unicode: whether to use more than ASCII.
    """

    def __init__(self, desk: Desk, out: TextIO, *, color: bool, unicode: bool) -> None:
        self._desk, self._out = desk, out
        self._color, self._unicode = color, unicode
        found = desk.stepper.parted
        self._said = "? for help" if found is None else apart(found)
        self._help = ""
        self._selected = 0

    async def run(self) -> None:
        """Until ``q``, or until nobody is there any more.

        Raises:
            Differs: the session made again is not the recorded one, so nothing can be shown from there on.
        """
        self._desk.stepper.record.on_search = Patience(self._wait)
        with _raw(self._out):
            while True:
                self._draw(self._said)
                key = await _key()
                if key in {"", "\x04"} or (key == "q" and not self._open()):
                    return
                await self._react(key)

    def _wait(self, text: str) -> None:
        """Words on the last line, while a command takes its time."""
        width, height = shutil.get_terminal_size(LEAST)
        self._out.write(f"\x1b[{height};1H{text[:width]}\x1b[K")
        self._out.flush()

    def _open(self) -> bool:
        return bool(self._help or self._desk.table)

    async def _react(self, key: str) -> None:
        desk = self._desk
        if self._help:
            self._help = ""
        elif desk.table and self._in_table(key):
            pass
        elif desk.table and key in {"\r", "\n"}:
            desk.table = ""
            if desk.rows:
                await self._do(f"hit {self._selected + 1}")
        elif key == "?":
            self._help = words_page()
        elif key == "d":
            desk.view = _VIEWS[(_VIEWS.index(desk.view) + 1) % len(_VIEWS)]
        elif key in {"p", "P"}:
            await self._breakpoint(after=key == "P")
        elif key in PROMPTS:
            line = await self._type(PROMPTS[key])
            if line.strip():
                await self._do(line)
        else:
            await self._do(KEYS.get(_ARROWS.get(key, key), ""))

    def _in_table(self, key: str) -> bool:
        step = -1 if key in _UP or key == "k" else 1 if key in _DOWN or key == "j" else 0
        self._selected = max(0, min(self._selected + step, len(self._desk.rows) - 1))
        if key in {"q", "\x1b"}:
            self._desk.table = ""
        return bool(step) or key in {"q", "\x1b"}

    async def _breakpoint(self, *, after: bool) -> None:
        stepper = self._desk.stepper
        node = (stepper.last.node if stepper.last else None) if after else stepper.next
        await self._do(f"break {'after ' if after else ''}{node}" if node else "")

    async def _do(self, line: str) -> None:
        if not line:
            self._said = "that key does nothing; ? for help"
            return
        self._draw(f"{line} ...")
        try:
            self._said = await self._desk.do(line)
        except Differs:
            raise
        except BrainError as error:
            self._said = f"{error.what}" + (f"  (try: {error.help})" if error.help else "")
            return
        if line == "help":
            self._help, self._said = self._said, ""
        if line.partition(" ")[0] in TABLES:
            self._selected = self._desk.first

    async def _type(self, start: str) -> str:
        line = start
        while True:
            self._draw(f":{line}_")
            key = await _key()
            if key in {"\r", "\n"}:
                return line
            if key in {"\x1b", ""}:
                return ""
            if key in {"\x7f", "\x08"}:
                line = line[:-1]
            elif key.isprintable():
                line += key

    def _draw(self, line: str) -> None:
        width, height = shutil.get_terminal_size(LEAST)
        panes = Panes(width, height, color=self._color, unicode=self._unicode)
        screen = panes.draw(self._desk, line, self._help, self._selected)
        rows = screen.split("\n")[:height]
        self._out.write("\x1b[H" + "\r\n".join(f"{row}\x1b[K" for row in rows) + "\x1b[J")
        self._out.flush()


@contextmanager
def _raw(out: TextIO) -> Iterator[None]:
    """The terminal gives single keys and shows another screen; as it was afterwards, whatever happens."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        out.write("\x1b[?1049h\x1b[?25l")
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):  # the terminal may be gone
            out.write("\x1b[?25h\x1b[?1049l")
            out.flush()
            termios.tcsetattr(number, termios.TCSADRAIN, before)


async def _key() -> str:
    """The next key, or a whole escape sequence; empty where there is nothing more to come."""
    key = await _read()
    while key and key[0] >= 0xC0 and len(key) < _length(key[0]):
        more = await _read()
        if not more:
            return ""
        key += more
    if key == b"\x1b":
        while more := await _read(_ESCAPE_WAIT_SECONDS):
            key += more
            if key[-1:].isalpha() and key[1:2] != key[-1:]:
                break
    return key.decode("utf-8", "replace")


async def _read(wait_s: float | None = None) -> bytes:
    """The next byte; empty where nothing more is to come, or nothing comes within ``wait_s``."""
    number, loop, there = sys.stdin.fileno(), asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(number, there.set)
    try:
        async with asyncio.timeout(wait_s):
            await there.wait()
        return os.read(number, 1)
    except OSError:  # the other side of the terminal is gone, or the time is over
        return b""
    finally:
        loop.remove_reader(number)


def _length(lead: int) -> int:
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
