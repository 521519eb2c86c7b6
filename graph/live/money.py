"""Keeps the money in the books what the account has: transfers are found out from the exchange, the rest is told and taken over.

Equity, and with it the size of every entry, comes from the books; these know of fills and funding only. What the owner pays in
or takes out, a fee paid in another coin or a trade by hand on a foreign symbol changes the account all the same.
"""

from __future__ import annotations

import asyncio
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
_LOOKED_WITHIN_MS = 60_000
"""What a look at a bar has seen came at most so long after it."""
_BACK_EVERY_MS = 300_000
"""Several questions of 30 weight each."""
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
        self._seen, self._seen_ts, self._back_ts = 0.0, 0, 0
        self.due: list[Word] = []

    async def look(self, ts: int, *, settled: bool = False) -> None:
        """Compare, where the books have heard all that the account tells of.

        A fill and the money that it brings come as two words: a transfer counts where the difference stood at the look before
        too, or where everything is ``settled``, after a recovery. What no transfer explains has to stand for longer.
        """
        await self._look_back(ts)
        difference = self._difference()
        stands = settled or abs(difference - self._seen) < _SAME_USD
        if abs(difference - self._seen) >= _SAME_USD:
            self._seen, self._seen_ts = difference, ts
        if not difference or not stands or self.due:
            return
        transfers = await self._transfers(self._ledger.moved_ts)
        if transfers is None:
            return
        moved = sum((transfer.amount for transfer in transfers), Decimal(0))
        if transfers:
            self.due.append(Word(ts, WordKind.TRANSFER.value, text=str(moved), ref=str(transfers[-1].ts)))
        self._seen = difference - float(moved)
        self._take_over(ts, transfers[-1].ts if transfers else self._ledger.moved_ts)

    async def _look_back(self, ts: int) -> None:
        """Transfers that were listed only after they had counted as a result: as long as that is in any limit."""
        counted = [one for one in self._ledger.unlisted if ts - one.counted_ts <= DRAWDOWN_WINDOW_MS]
        if not counted or self.due or ts < self._back_ts:
            return
        self._back_ts = ts + _BACK_EVERY_MS
        transfers = await self._transfers(max(counted[0].after, ts - 2 * DRAWDOWN_WINDOW_MS))
        for one in counted if transfers else ():
            moved = sum((float(seen.amount) for seen in transfers or () if one.after < seen.ts <= one.upto), 0.0)
            if abs(moved - one.listed) >= _SAME_USD:
                text = f"{moved - one.listed:.8f}"
                self.due.append(Word(ts, WordKind.LATE_TRANSFER.value, text=text, ref=str(one.upto)))

    async def _transfers(self, after: int) -> tuple[TransferSeen, ...] | None:
        """What the exchange lists behind ``after`` (ms); None where it does not answer: it is asked again at the next bar."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                return await self._broker.transfers(max(self._since, after) + 1)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing is known
            logger.warning("the account's transfers could not be asked for: {}", type(error).__name__)
            return None

    def _take_over(self, ts: int, known_ts: int) -> None:
        """What has stood for long enough, and can be no fill that is still to be told.

        Transfers are known up to ``known_ts``; one that made this difference, and is listed later, must not move money again.
        """
        if any(halt.kind in _OWED for halt in self._broker.halts):
            self._seen_ts = ts
        elif self._matters(self._seen) and ts - self._seen_ts >= _STANDS_MS:
            known_ts = max(known_ts, self._seen_ts + _LOOKED_WITHIN_MS)
            self.due.append(Word(ts, WordKind.UNEXPLAINED.value, text=f"{self._seen:.8f}", ref=str(known_ts)))
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
