"""Takes what a person accepted with ``brain accept``: just what was shown, between two bars, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from loguru import logger

from core.errors import StateError
from core.exec.broker_ccxt import OTHER_BY_NOW, LiveBroker
from core.exec.live.halts import HaltKind
from core.journal.records import Word
from graph.session_dir import Accepted, AcceptRequest, SessionDir
from graph.words import NoteReader, WordKind

_WITHIN_S = 10.0
"""A bar waits no longer until all is compared: nothing else is heard meanwhile, not even that it is to stop."""


class Acceptance:
    """Looks for a note in the session's folder, and does what it says.

    What it changes in the books comes as the broker's events, so that a replay hears them; the word is for the record.

    Args:
        broker: at the account.
        folder: of the session.
        on_damaged: told of a note that cannot be read.
    """

    def __init__(self, broker: LiveBroker, folder: SessionDir, on_damaged: Callable[[str], None] = lambda _: None) -> None:
        self._broker, self._waiting = broker, NoteReader(folder.waiting_accept, on_damaged)
        self._taken = ""
        self.due: list[Word] = []

    async def look(self, ts: int) -> None:
        """Take a note that lies there; where the exchange does not answer it is taken at the next look."""
        request = self._waiting()
        if request is None or request.ref == self._taken:
            return
        said, by = [], asyncio.get_running_loop().time() + _WITHIN_S
        for item in request.items:
            try:
                async with asyncio.timeout_at(by):
                    said.append(await self._take(item, request))
            except Exception as error:  # noqa: BLE001 - a venue that does not answer is asked again
                logger.warning("what was accepted of {} waits: {}", item.symbol or "the account", type(error).__name__)
                return
        self._taken = request.ref
        text = f"{request.reason} ({'; '.join(said)})"
        self.due.append(Word(ts, WordKind.ACCEPTED.value, request.who, text, request.ref))

    async def _take(self, item: Accepted, request: AcceptRequest) -> str:
        where = item.symbol or "the whole account"
        if not HaltKind(item.kind).of_position:
            self._broker.resume(item.symbol, HaltKind(item.kind), item.ref)
            return f"{where}: {item.kind} is settled"
        try:
            await self._broker.accept(item.symbol, Decimal(item.venue), f"{request.who}: {request.reason}")
        except StateError as error:
            if error.code != OTHER_BY_NOW:
                raise
            return f"{where}: not taken, {error.what}"
        return f"{where}: {item.venue} is what the exchange has"

    def heard(self) -> list[Word]:
        """What is due; it goes on record now."""
        due, self.due = self.due, []
        return due
