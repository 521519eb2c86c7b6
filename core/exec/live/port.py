"""What the live broker asks of an account at a venue; one class for each venue fulfils it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from core.venues.words import (
    Ask,
    BalanceSeen,
    FundingSeen,
    KeyScope,
    Limits,
    OrderSeen,
    PositionSeen,
    SymbolMode,
    TradeSeen,
    TransferSeen,
    Word,
)


class Account(Protocol):
    """An account at a venue. Every call may raise whatever its client raises; only numbers in it are believed.

    ``None`` from a look-up means that the venue has said, with a number, that it does not know the order.
    """

    def now_ms(self) -> int:
        """The venue's time, as well as we know it."""
        ...

    def listen(
        self, on_word: Callable[[Word], None], on_trouble: Callable[[Exception], None], on_time: Callable[[], None]
    ) -> None:
        """Hand what the account's stream tells to ``on_word``, and what cannot be read to ``on_trouble``.

        ``on_time`` is called whenever a request is refused for its time.
        """
        ...

    def forced(self, client_id: str) -> bool:
        """Whether the venue itself made an order of this id (liquidation, deleveraging)."""
        ...

    async def markets(self, symbols: Sequence[str]) -> tuple[Limits, ...]:
        """Load the markets; the filters of those of ``symbols`` that are listed. Orders can be sent from then on."""
        ...

    async def open(self) -> None:
        """Subscribe the account's stream, once the markets are loaded."""
        ...

    async def reload(self, symbols: Sequence[str]) -> tuple[Limits, ...]:
        """The markets and the filters of ``symbols`` as they are now; where that fails, those from before stay."""
        ...

    def limits(self, symbol: str) -> Limits:
        """The filters of any market of the venue, known once they are loaded; KeyError where it is not listed."""
        ...

    def left_alone_s(self) -> float:
        """Seconds for which the venue still wants to be left alone."""
        ...

    async def set_clock(self) -> float:
        """Measure the venue's clock and sign by it from now on; how far it is ahead of ours (ms)."""
        ...

    async def close(self) -> None: ...

    async def send(self, ask: Ask) -> OrderSeen: ...

    async def cancel(self, symbol: str, client_id: str, *, algo: bool) -> OrderSeen | None: ...

    async def look_up(self, symbol: str, client_id: str, *, algo: bool) -> OrderSeen | None: ...

    async def order_of(self, symbol: str, venue_id: str) -> OrderSeen | None:
        """A plain order by the venue's own id."""
        ...

    async def open_orders(self, symbol: str | None = None) -> tuple[OrderSeen, ...]:
        """What rests in both books.

        Raises:
            Unreadable: some of it could not be read.
        """
        ...

    async def trades(self, symbol: str, *, after_id: int | None, since: int) -> tuple[TradeSeen, ...]:
        """Fills after ``after_id``, or from ``since`` (ms) on where none is known, oldest first, all of them."""
        ...

    async def positions(self) -> tuple[PositionSeen, ...]:
        """Every position that is not flat."""
        ...

    async def balance(self) -> BalanceSeen: ...

    async def funding(self, since: int) -> tuple[FundingSeen, ...]:
        """Funding paid from ``since`` (ms) on, oldest first."""
        ...

    async def transfers(self, since: int) -> tuple[TransferSeen, ...]:
        """Money paid in and taken out from ``since`` (ms) on, oldest first."""
        ...

    async def hedged(self) -> bool:
        """Whether the account holds longs and shorts of a symbol apart."""
        ...

    async def set_one_way(self) -> None: ...

    async def multi_assets(self) -> bool:
        """Whether other coins than the settlement coin margin positions, too."""
        ...

    async def modes(self, symbols: Sequence[str]) -> tuple[SymbolMode, ...]: ...

    async def set_mode(self, mode: SymbolMode) -> None: ...

    async def scope(self) -> KeyScope: ...
