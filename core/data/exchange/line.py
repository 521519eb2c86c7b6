"""One socket and what was subscribed on it: held up, and dialled again whenever it breaks or falls silent.

A line lives by messages of its streams, not by heartbeats: pings are answered by sockets that tell nothing any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from core.data.exchange.retry import pause_s
from core.venues.market_words import StreamLine


class Line:
    """See above. :meth:`heard` must be called with each message of its streams.

    Attributes:
        up: whether a message came since it was last dialled.
        dials: how often it was dialled.

    Args:
        client: of :func:`core.venues.client.make_client`.
        dial: address and subscription.
        silent_s: without a message for so long it is dialled again.
        backoff_s: first and longest pause before that; a line that stood for less than the longest one counts as failed.
        random: for jitter.
        on_down: told why, each time a line that stood has broken.
    """

    def __init__(
        self,
        client: Any,
        dial: StreamLine,
        *,
        silent_s: float,
        backoff_s: tuple[float, float],
        random: np.random.Generator,
        on_down: Callable[[str], None],
    ) -> None:
        self.dial = dial
        self.up = False
        self.dials = 0
        self._client, self._silent_s, self._backoff_s = client, silent_s, backoff_s
        self._random, self._on_down = random, on_down
        self._heard_at = 0.0
        self._up_since = 0.0
        self._quit: asyncio.Future[str] | None = None

    def heard(self) -> None:
        """A message of one of its streams came."""
        self._heard_at = asyncio.get_running_loop().time()
        if not self.up:
            self.up, self._up_since = True, self._heard_at

    def drop(self, why: str) -> None:
        """Break it, to be dialled again: it tells less than it should."""
        if self._quit is not None and not self._quit.done():
            self._quit.set_result(why)

    async def run(self) -> None:
        """Hold it up. Never returns."""
        fails = 0
        while True:
            why = await self._hold()
            if self.up:
                self.up = False
                if asyncio.get_running_loop().time() - self._up_since >= self._backoff_s[1]:
                    fails = 0  # a venue that talks and hangs up at once would be dialled without end
                self._on_down(why)
            await self._hang_up()
            await asyncio.sleep(pause_s(fails, self._backoff_s, self._random))
            fails += 1

    async def _hold(self) -> str:
        """Dial, and wait until it breaks; why it did."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        self._quit = loop.create_future()
        self.dials += 1
        self._client.ws_dial_backoff = {}  # ccxt's own pauses grow by the host's clock, which may jump
        try:
            subscription = {"id": self.dial.request["id"]}
            broken = self._client.watch(self.dial.url, "brain", self.dial.request, "brain", subscription)
        except Exception as error:  # noqa: BLE001 - whatever it is, the line is dialled again
            return _said(error)
        broken.add_done_callback(self._broke)
        while not self._quit.done():
            left = self._heard_at + self._silent_s - loop.time()
            if left <= 0.0:
                return f"silent for {self._silent_s:g} s"
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await asyncio.shield(self._quit)
        return self._quit.result()

    def _broke(self, broken: asyncio.Future[Any]) -> None:
        """Nobody resolves what was waited for: it only ends with its connection."""
        if broken.cancelled():
            self.drop("closed")
        else:
            error = broken.exception()
            self.drop("ended" if error is None else _said(error))

    async def _hang_up(self) -> None:
        """Nothing of the old connection is used again."""
        socket = self._client.clients.pop(self.dial.url, None)
        if socket is not None:
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await socket.close()


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no words'}"
