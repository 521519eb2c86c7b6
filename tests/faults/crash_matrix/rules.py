"""What must hold: the rules that are watched at every moment of the exchange's time, and those that must come true soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from core.sim.local.values import AccountWord, AlgoEvent, AlgoState, AlgoStatus, AlgoType, OrderEvent
from core.types import Side

if TYPE_CHECKING:
    from core.sim.local.exchange import LocalExchange

NAKED_MS = 2_000
"""A position may be without a stop that covers it for so long (issue 4)."""
SLACK_MS = 250
"""The close at market that ends the two seconds is itself a request: a round trip, and a look of the watchdog."""
TRIGGERING_MS = 3_000
"""A stop that was reached is waited for so long (``LiveOptions.triggering_s``), though every other is stuck as well."""
RECOVERY_MS = 20_000
"""The same while a start makes exchange and outbox agree, faults of the venue included."""
CATASTROPHE_MS = 20_000
"""While another stop covers all, the one that never moves may wait until it is known that a first try never arrived."""
_SYMBOL = "BTCUSDT"


class Broken(AssertionError):
    """A rule does not hold."""


class Bot(Enum):
    """What the bot can do about a naked position."""

    HELPLESS = auto()
    """Dead, or the exchange is not to be reached."""
    STARTING = auto()
    UP = auto()


class Span:
    """For how long something has been wrong; what happens while it is excused does not count."""

    def __init__(self, what: str, most_ms: int) -> None:
        self.what, self.most_ms = what, most_ms
        self.longest_ms = 0
        self._since: int | None = None

    def see(self, now: int, *, wrong: bool, excused: bool) -> str | None:
        """Note how it is now; what is to be said where it has been so for too long."""
        told = None
        if self._since is not None:
            lasted = now - self._since
            self.longest_ms = max(self.longest_ms, lasted)
            if lasted > self.most_ms:
                told = f"{self.what} for {lasted} ms, at most {self.most_ms} ms"
        if not wrong or excused:
            self._since = None
        elif self._since is None:
            self._since = now
        return told


class Witness:
    """Stands beside the exchange and sees every order, every stop and every position, at the moment of the change."""

    exchange: LocalExchange

    def __init__(
        self, side: Side, now: Callable[[], int], note: Callable[..., None], naked_ms: int = NAKED_MS + SLACK_MS
    ) -> None:
        self._side, self._now, self._note = side, now, note
        self.bot = Bot.HELPLESS
        self.broken: list[str] = []
        self.asks: Counter[str] = Counter()
        self.taken: dict[str, None] = {}
        self.filled: Counter[str] = Counter()
        self.naked = Span("the position had no live stop that covers it", naked_ms)
        self.starting = Span("the position had no live stop that covers it while the bot started", RECOVERY_MS)
        self.no_catastrophe = Span("the position had no stop that closes it whatever its size", CATASTROPHE_MS)
        self._held = Decimal(0)
        self._level: Decimal | None = None

    # --- requests ---------------------------------------------------------------------------------

    def asked(self, client_id: str) -> None:
        self.asks[client_id] += 1
        if self.asks[client_id] > 1:
            self._break(f"order {client_id} was sent {self.asks[client_id]} times")

    def accepted(self, client_id: str) -> None:
        self.taken[client_id] = None

    def _break(self, what: str) -> None:
        if what not in self.broken:
            self._note("BROKEN", what)
            self.broken.append(what)

    # --- changes ----------------------------------------------------------------------------------

    def heard(self, words: tuple[AccountWord, ...]) -> None:
        """Something has changed at the exchange."""
        for word in words:
            if isinstance(word, OrderEvent):
                order = word.order
                self._note("order", order.client_id, word.execution, order.status, order.filled)
                if word.trade is not None:
                    self.filled[order.client_id] += word.trade.qty
            elif isinstance(word, AlgoEvent):
                self._note("stop", word.algo.client_id, word.algo.status, word.algo.trigger_price, word.algo.qty)
        self.look()

    def becomes(self, bot: Bot) -> None:
        """From now on the bot can do this."""
        if bot is not self.bot:
            self.look()
            self.bot = bot
            self.look()

    def held(self) -> Decimal:
        """The position at the exchange."""
        return self.exchange.positions(_SYMBOL)[0].qty

    def look(self) -> None:
        """Judge the present moment."""
        held, now = self.held(), self._now()
        stops = [stop for stop in self.exchange.open_algos(_SYMBOL) if stop.side.sign * held < 0 and _is_stop(stop)]
        covering = [stop for stop in stops if stop.close_position or stop.qty >= abs(held)]
        live = [stop for stop in covering if _works(stop, now)]
        if held * self._side.sign < 0:
            self._break(f"the position was turned around to {held}")
        closing = any(stop.close_position for stop in stops)
        naked, up = bool(held) and not live, self.bot is Bot.UP
        for told in (
            self.naked.see(now, wrong=naked, excused=not up),
            self.starting.see(now, wrong=naked, excused=self.bot is not Bot.STARTING),
            self.no_catastrophe.see(now, wrong=bool(held) and not closing, excused=not up),
        ):
            if told:
                self._break(told)
        self._see_level(held, covering)

    def _see_level(self, held: Decimal, covering: list[AlgoState]) -> None:
        """The tightest stop that covers a position never goes away before a tighter one stands."""
        sign = self._side.sign
        prices = [stop.trigger_price for stop in covering]
        level = max(prices, key=lambda price: price * sign) if prices else None
        grown = abs(held) > abs(self._held)
        if held and not grown and self._level is not None and (level is None or (level - self._level) * sign < 0):
            self._break(f"the stop at {self._level} went away while {held} were held; what is left is {level}")
        self._held, self._level = held, level


def _is_stop(algo: AlgoState) -> bool:
    return algo.type is AlgoType.STOP_MARKET and not algo.status.over


def _works(algo: AlgoState, now: int) -> bool:
    return algo.status is AlgoStatus.NEW or now - algo.triggered <= TRIGGERING_MS


class Agreement:
    """What must come true soon while the bot lives: it knows of everything, and has tidied up."""

    SOON_MS = 75_000
    """The slowest way to the truth is a silent socket: the audit finds out within a minute."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._books = Span("exchange, outbox and books did not agree on the position", self.SOON_MS)
        self._tidy = Span("orders of ours rested while flat", self.SOON_MS)
        self.state = ""

    def look(self, broker: Any, ledger_qty: Decimal, pending: int, now: int) -> bool:
        """Judge; whether everything agrees now and nothing is left to do."""
        witness, outbox = self._witness, broker._outbox
        excused = witness.bot is not Bot.UP
        held = witness.held()
        unknown = [client_id for client_id in witness.taken if client_id not in outbox.rows]
        if unknown:
            witness._break(f"accepted orders {unknown} are not in the outbox")
        same = held == outbox.held("BTC/USDT:USDT") == ledger_qty
        resting = [order.client_id for order in witness.exchange.open_orders(_SYMBOL)]
        resting += [algo.client_id for algo in witness.exchange.open_algos(_SYMBOL)]
        self.state = (
            f"exchange {held}, outbox {outbox.held('BTC/USDT:USDT')}, books {ledger_qty}, pending {pending}, "
            f"resting {resting}, unresolved {[(row.client_id, row.state.value) for row in outbox.unresolved()]}"
        )
        untidy = held == 0 and bool(resting)
        for span, wrong in ((self._books, not same), (self._tidy, untidy)):
            told = span.see(now, wrong=wrong, excused=excused)
            if told:
                witness._break(f"{told}: {self.state}")
        return same and not untidy and not pending and not outbox.unresolved()
