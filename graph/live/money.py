"""Keeps the money in the books what the account has: transfers are found out from the exchange, the rest is told and taken over.

Equity, and with it the size of every entry, comes from the books; these know of fills and funding only. What the owner pays in
or takes out, a fee paid in another coin or a trade by hand on a foreign symbol changes the account all the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

from loguru import logger

from core.exec.broker_ccxt import LiveBroker
from core.exec.ledger import Ledger
from core.exec.live.halts import HaltKind
from core.journal.records import Word
from core.risk.governor import DRAWDOWN_WINDOW_MS
from core.venues.words import TransferSeen
from graph.words import WordKind

TOLERANCE_PCT = 0.1
"""Of the account's wallet: a smaller difference waits until it has grown."""
_SAME_USD = 0.005
_STANDS_MS = 600_000
"""For so long a difference stays as it is before it counts as a result: the venue may list a transfer late."""
_CLOCKS_MS = 60_000
"""What a look has seen came at most so long after it, by the exchange's own stamps."""
_ASK_EVERY_MS = 30_000
"""Several questions of 30 weight each; bars that are told after a gap come within moments."""
_BACK_EVERY_MS = 300_000
"""As long as nothing differs."""
_WITHIN_S = 3.0
"""A bar waits no longer for an answer: nothing else is heard meanwhile, not even that it is to stop."""
_OWED = frozenset({HaltKind.POSITION, HaltKind.BOOKS, HaltKind.DOUBT, HaltKind.NOT_COMPARED})
"""While one of these holds, the books may be told of a fill that has moved the account already."""


class Money:
    """Compares the two wallets; what a difference comes to stands in ``due`` until the books have heard it.

    Args:
        broker: at the account.
        ledger: the books.
        since: time (ms) at which the books began with what the account had.
    """

    def __init__(self, broker: LiveBroker, ledger: Ledger, since: int) -> None:
        self._broker, self._ledger, self._since = broker, ledger, since
        self._seen, self._seen_ts, self._asked_ts = 0.0, 0, 0
        self.due: list[Word] = []

    async def look(self, ts: int, *, settled: bool = False) -> None:
        """Compare, where the books have heard all that the account tells of.

        A fill and the money that it brings come as two words: a transfer counts where the difference stood at the look before
        too, or where everything is ``settled``, after a recovery. What no transfer explains has to stand for longer.

        Args:
            ts: the exchange's time (ms), since it is the exchange that stamps transfers; a bar may be told long after its own.
            settled: nothing is still to be told.
        """
        difference = self._difference()
        stands = settled or abs(difference - self._seen) < _SAME_USD
        if abs(difference - self._seen) >= _SAME_USD:
            self._seen, self._seen_ts = difference, ts
        differs = bool(difference) and stands
        if self.due or not self._asks(ts, differs):
            return
        transfers = await self._unknown()
        if transfers is None:
            return
        self._take_back(ts, transfers)
        if differs:
            self._seen = difference - self._move(ts, transfers)
            self._take_over(ts)

    def _asks(self, ts: int, differs: bool) -> bool:
        """Without a difference, as long as something counts in any limit that may turn out to be a transfer."""
        wanted = differs or any(ts - one.counted_ts <= DRAWDOWN_WINDOW_MS for one in self._ledger.unlisted)
        if not wanted or ts - self._asked_ts < (_ASK_EVERY_MS if differs else _BACK_EVERY_MS):
            return False
        self._asked_ts = ts
        return True

    async def _unknown(self) -> list[TransferSeen] | None:
        """What the exchange lists and the books do not know; None where it does not answer: it is asked again at a later bar."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                listed = await self._broker.transfers(max(self._since, self._ledger.moved_ts) + 1)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing is known
            logger.warning("the account's transfers could not be asked for: {}", type(error).__name__)
            return None
        known = Counter(self._ledger.transfers)
        unknown = list[TransferSeen]()
        for one in listed:
            if known[one.ts, float(one.amount)]:
                known[one.ts, float(one.amount)] -= 1
            else:
                unknown.append(one)
        return unknown

    def _take_back(self, ts: int, transfers: list[TransferSeen]) -> None:
        """Those that counted as a result: as long as that is in any limit."""
        for one in transfers:
            counted = self._ledger.counted_with(one.ts)
            if counted is not None and ts - counted.counted_ts <= DRAWDOWN_WINDOW_MS:
                self.due.append(Word(ts, WordKind.LATE_TRANSFER.value, text=str(one.amount), ref=str(one.ts)))

    def _move(self, ts: int, transfers: list[TransferSeen]) -> float:
        """USD of those that did not; what is paid in comes first, since nothing stays in proportion to an equity below zero."""
        upto = max((one.upto for one in self._ledger.unlisted), default=0)
        new = sorted((one for one in transfers if one.ts > upto), key=lambda one: -one.amount)
        self.due += [Word(ts, WordKind.TRANSFER.value, text=str(one.amount), ref=str(one.ts)) for one in new]
        return float(sum((one.amount for one in new), Decimal(0)))

    def _take_over(self, ts: int) -> None:
        """What has stood for long enough, and can be no fill that is still to be told."""
        if any(halt.kind in _OWED for halt in self._broker.halts):
            self._seen_ts = ts
        elif self._matters(self._seen) and ts - self._seen_ts >= _STANDS_MS:
            upto = self._seen_ts + _CLOCKS_MS
            self.due.append(Word(ts, WordKind.UNEXPLAINED.value, text=f"{self._seen:.8f}", ref=str(upto)))
            self._seen = 0.0

    def heard(self) -> list[Word]:
        """What is due; the books hear it now."""
        due, self.due = self.due, []
        return due

    def _difference(self) -> float:
        """USD that the account has more than the books; 0 where it does not matter or cannot be told now."""
        wallet = self._broker.wallet
        if wallet is None:
            return 0.0
        difference = float(wallet) - self._ledger.wallet
        return difference if self._matters(difference) else 0.0

    def _matters(self, difference: float) -> bool:
        wallet = float(self._broker.wallet or 0)
        return abs(difference) > max(_SAME_USD, wallet * TOLERANCE_PCT / 100.0)
