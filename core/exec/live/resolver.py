"""Orders whose fate nobody knows: looked up until they are found, or proven never to have arrived (F2).

The fence: the venue executes nothing that reaches it later than the receive window after it was signed. Absent is what no
look-up knows after that, several times over, what rests in no book, and what the account's fills do not tell of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from core.codes import RefusalCode
from core.exec.live.desk import Desk
from core.exec.live.halts import HaltKind
from core.exec.live.intake import Intake
from core.exec.live.outcome import Outcome, outcome
from core.exec.live.states import Row, State
from core.venues.words import ZERO

_SLOWEST = 10


class Resolver:
    """Finds out. One task an order; orders of different symbols do not wait for each other.

    Args:
        desk: what the parts share.
        intake: hears what was found.
        fetch_trades: takes in what was missed of a symbol's fills; whether each of them could be told whose it is.
    """

    def __init__(self, desk: Desk, intake: Intake, fetch_trades: Callable[[str], Awaitable[bool]]) -> None:
        self._desk, self._intake, self._fetch_trades = desk, intake, fetch_trades
        self._fences: dict[tuple[str, int], float] = {}

    async def resolve(self, row: Row) -> None:
        """Until ``row`` is in doubt no more. Whatever happens to it meanwhile by another way ends this too."""
        options, loop = self._desk.options, asyncio.get_running_loop()
        begun, misses, looks = loop.time(), 0, 0
        if row.state is State.SENT:
            self._desk.outbox.move(row, State.UNKNOWN, self._desk.now(), note="no reply on record")
        while row.state.doubtful:
            passed = self._passed(row)
            gone, wait_s = await self._look(row)
            misses += gone
            if gone and misses >= options.least_misses and passed and await self._no_trace(row):
                what = f"it never reached the exchange: {misses} look-ups past the receive window, and no trace of it"
                self._desk.outbox.move(
                    row, State.ABSENT, self._desk.now(), note=what, code=RefusalCode.ORDER_ABSENT, message=what
                )
            if row.state.doubtful and loop.time() - begun > options.unknown_cap_s:
                self.halt(row)
            looks += 1
            if row.state.doubtful:
                await asyncio.sleep(max(wait_s, options.look_up_every_s * min(looks, _SLOWEST)))
        self._desk.lift(row.symbol, HaltKind.DOUBT, row.client_id)

    def _passed(self, row: Row) -> bool:
        """Whether nothing of an order can arrive any more: by the venue's time, and by a clock that nobody sets.

        A step of the first would say so while the order may still arrive. One that waited for its turn leaves later than it
        was written down, and an earlier life may have sent it with its last breath.
        """
        options, time_s = self._desk.options, asyncio.get_running_loop().time()
        margin_ms = options.algo_margin_ms if row.is_algo else options.margin_ms
        fence_ms = max(row.sent_ms, self._desk.born_ms) + row.recv_window_ms + margin_ms
        waits_s = max(0, fence_ms - self._desk.now()) / 1000.0
        fence_s = self._fences.setdefault((row.client_id, row.sent_ms), time_s + waits_s)
        return self._desk.now() > fence_ms and time_s >= fence_s

    def halt(self, row: Row) -> None:
        """It takes too long to find out about ``row``."""
        why = f"nobody can tell what became of order {row.client_id}; it is looked for until that is known"
        self._desk.halt(row.symbol, HaltKind.DOUBT, why, row.client_id)

    async def _look(self, row: Row) -> tuple[bool, float]:
        """Whether the venue says that it does not know the order, and how long it wants to be left alone."""
        try:
            seen = await self._desk.account.look_up(row.symbol, row.client_id, algo=row.is_algo)
        except Exception as error:  # noqa: BLE001 - no answer is no answer, whatever stood in its way
            verdict = outcome(error)
            return False, verdict.retry_after_s if verdict.outcome is Outcome.THROTTLED else 0.0
        if seen is None:
            return row.state.doubtful, 0.0
        self._intake.order(seen)
        return False, 0.0

    async def _no_trace(self, row: Row) -> bool:
        """The second witness: neither book has the order, and every fill of the symbol belongs to another."""
        account, outbox = self._desk.account, self._desk.outbox
        try:
            resting = await account.open_orders(row.symbol)
            complete = await self._fetch_trades(row.symbol)
            held = {position.symbol: position.qty for position in await account.positions()}
        except Exception:  # noqa: BLE001 - a witness that does not answer has not said that there is nothing
            return False
        for seen in resting:
            if seen.client_id == row.client_id:
                self._intake.order(seen)
        surplus = held.get(row.symbol, ZERO) - outbox.held(row.symbol)
        if surplus:
            self._intake.on_doubt(row.symbol)
        # only what is amiss in its own direction can be its doing; all else is the audit's, which may wait for a person
        return complete and surplus * row.side.sign <= 0 and row.state.doubtful
