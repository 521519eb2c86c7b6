"""What must hold: the rules that are watched at every moment of the exchange's time, and those that must come true soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING

from core.codes import RefusalCode
from core.exec.instrument import venue_id
from core.sim.local.values import AccountWord, AlgoEvent, AlgoState, AlgoStatus, AlgoType, MarginType, OrderEvent
from core.types import Side

if TYPE_CHECKING:
    from core.exec.broker_ccxt import LiveBroker
    from core.exec.ledger import Ledger
    from tests.faults.crash_matrix.market import WatchedExchange

NAKED_MS = 2_000
"""A position may be without a stop that covers it for so long, while a start makes all agree too (issue 4)."""
SLACK_MS = 250
"""The close at market that ends the two seconds is itself a request: a round trip, and a look of the watchdog."""
GROWN_MS = 200
"""Fills of one order are told one after the other: a new stop may be for the first of them, the next one for all."""
TRIGGERING_MS = 3_000
"""A stop that was reached is waited for so long (``LiveOptions.triggering_s``), though every other is stuck as well."""
CATASTROPHE_MS = 13_000
"""While another stop covers all, the one that never moves may wait until it is known that a first try never arrived."""
DECIDED_MS = 30_000 + 1_000
"""An entry may be sent so long after it was decided (``LiveOptions.entry_valid_ms``), and be on its way for a moment."""
RESTING_MS = 10_000
"""An entry rests for less than a second before it crosses (``trader._HOW``), or is called back until that is answered."""
FOREIGN_MS = 2_500
"""An order of somebody else's is known of by then, where nothing keeps its word from coming."""
BY_HAND = "by-hand"


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

    def rest(self) -> None:
        """It begins anew."""
        self._since = None


class Watch:
    """One symbol as the exchange sees it."""

    def __init__(self, symbol: str, side: Side, *, tightened: bool) -> None:
        self.symbol, self._side, self._tightened = symbol, side, tightened
        naked_ms = NAKED_MS + SLACK_MS
        self.naked = Span(f"{symbol} had no live stop that covers it", naked_ms)
        self.starting = Span(f"{symbol} had no live stop that covers it while the bot started", naked_ms)
        self.stuck = Span(f"{symbol} had a stop that was reached and did not act", naked_ms)
        self.no_catastrophe = Span(f"{symbol} had no stop that closes it whatever its size", CATASTROPHE_MS)
        self.is_naked = False
        self._held = Decimal(0)
        self._level: Decimal | None = None
        self._grown_ms = -GROWN_MS

    def look(self, held: Decimal, algos: Sequence[AlgoState], now: int, bot: Bot) -> list[str]:
        """Judge the present moment."""
        stops = [stop for stop in algos if stop.side.sign * held < 0 and _is_stop(stop)]
        covering = [stop for stop in stops if stop.close_position or stop.qty >= abs(held)]
        up, working = bot is Bot.UP, [stop for stop in stops if not _works(stop, now)]
        self.is_naked = bool(held) and not [stop for stop in covering if _works(stop, now)]
        closing = any(stop.close_position for stop in stops)
        told = [
            self.naked.see(now, wrong=self.is_naked, excused=not up),
            self.starting.see(now, wrong=self.is_naked, excused=bot is not Bot.STARTING),
            self.stuck.see(now, wrong=bool(working), excused=not up),
            self.no_catastrophe.see(now, wrong=bool(held) and not closing, excused=not up),
            f"{self.symbol} was turned around to {held}" if held * self._side.sign < 0 else None,
            self._see_level(held, covering, now),
        ]
        return [what for what in told if what]

    def _see_level(self, held: Decimal, covering: list[AlgoState], now: int) -> str | None:
        """The tightest stop that covers a position never goes away before a tighter one stands, once its growth is known of."""
        sign, before = self._side.sign, self._level
        prices = [stop.trigger_price for stop in covering]
        level = max(prices, key=lambda price: price * sign) if prices else None
        if abs(held) > abs(self._held):
            self._grown_ms = now
        self._held, self._level = held, level
        looser = before is not None and (level is None or (level - before) * sign < 0)
        if looser and self._tightened and held and now - self._grown_ms > GROWN_MS:
            return f"the stop at {before} went away while {held} {self.symbol} were held; what is left is {level}"
        return None


class Witness:
    """Stands beside the exchange and sees every order, every stop and every position, at the moment of the change."""

    exchange: WatchedExchange

    def __init__(
        self,
        side: Side,
        now: Callable[[], int],
        note: Callable[..., None],
        symbols: Sequence[str],
        *,
        tightened: bool = True,
    ) -> None:
        self._now, self._note = now, note
        self.bot = Bot.HELPLESS
        self.broken: list[str] = []
        self.asks: Counter[str] = Counter()
        self.taken: dict[str, None] = {}
        self.filled: Counter[str] = Counter()
        self.watches = {symbol: Watch(symbol, side, tightened=tightened) for symbol in symbols}
        self.resting = Span("an entry of ours rested", RESTING_MS)
        self.acted = False
        """Whether a stop was ever reached."""
        self._up_since = self._foreign_since = 0
        self._foreign = ""

    # --- requests ---------------------------------------------------------------------------------

    def asked(self, client_id: str) -> None:
        self.asks[client_id] += 1
        if self.asks[client_id] > 1:
            self.breaks(f"order {client_id} was sent {self.asks[client_id]} times")

    def accepted(self, client_id: str) -> None:
        self.taken[client_id] = None
        if not _opens(client_id):
            return
        age_ms = self._now() - int(client_id.partition("-")[0][:-1], 36)
        if age_ms > DECIDED_MS:
            self.breaks(f"order {client_id} opens risk, and was decided {age_ms} ms before")
        beside = f"-{self._foreign[:8]}-" in client_id
        if self._foreign and beside and self._now() - max(self._foreign_since, self._up_since) > FOREIGN_MS:
            self.breaks(f"order {client_id} opens risk beside an order of somebody else")

    def foreign(self, symbol: str) -> None:
        """An order of somebody else's rests on ``symbol`` from now on, and nothing keeps the word of it; "" when it is gone."""
        self._foreign, self._foreign_since = symbol, self._now()

    def breaks(self, what: str) -> None:
        """A rule does not hold."""
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
                self.acted = self.acted or bool(word.algo.triggered)
                self._note("stop", word.algo.client_id, word.algo.status, word.algo.trigger_price, word.algo.qty)
        self.look()

    def becomes(self, bot: Bot) -> None:
        """From now on the bot can do this."""
        if bot is not self.bot:
            self.look()
            self.bot = bot
            self._up_since = self._now()
            self.look()

    def held(self, symbol: str) -> Decimal:
        """The position at the exchange."""
        return self.exchange.position(symbol)

    def look(self) -> None:
        """Judge the present moment."""
        for symbol, watch in self.watches.items():
            for told in watch.look(self.held(symbol), self.exchange.open_algos(symbol), self._now(), self.bot):
                self.breaks(told)
        resting = any(_opens(order.client_id) for order in self.exchange.open_orders())
        if told := self.resting.see(self._now(), wrong=resting, excused=self.bot is not Bot.UP):
            self.breaks(told)

    def started(self, broker: LiveBroker) -> None:
        """A start is over: what it knows of is covered, and every symbol is as it was configured."""
        self.look()
        options = broker._options
        for instrument in broker._desk.instruments.values():
            watch = self.watches[venue_id(instrument.symbol)]
            config, held = self.exchange.symbol_config(watch.symbol), self.held(watch.symbol)
            halted = "" in broker.halted or instrument.symbol in broker.halted
            if watch.is_naked and held == broker.position_qty(instrument.symbol) and not halted:
                self.breaks(f"a start ended while {held} {watch.symbol} were without a stop")
            if (config.leverage, config.margin_type is MarginType.ISOLATED) != (
                options.leverage,
                options.isolated,
            ) and not halted:
                self.breaks(f"a start ended while {watch.symbol} was traded {config.margin_type} {config.leverage}x")

    @property
    def naked_ms(self) -> int:
        return max(watch.naked.longest_ms for watch in self.watches.values())

    @property
    def starting_ms(self) -> int:
        return max(watch.starting.longest_ms for watch in self.watches.values())


def _opens(client_id: str) -> bool:
    """Whether it is an order of ours that opens risk."""
    return not client_id.startswith(BY_HAND) and client_id.rpartition("-")[2][0] in "ea"


def _is_stop(algo: AlgoState) -> bool:
    return algo.type is AlgoType.STOP_MARKET and not algo.status.over


def _works(algo: AlgoState, now: int) -> bool:
    return algo.status is AlgoStatus.NEW or now - algo.triggered <= TRIGGERING_MS


def hasty(broker: LiveBroker) -> str:
    """The first close by the guardian though only one last stop was tried, and that one was never said to be beyond."""
    rows = broker._outbox.rows.values()
    for close in (row for row in rows if row.own and row.purpose.value == "exit" and row.plan_id):
        tried = [row for row in rows if row.own and row.is_algo and row.symbol == close.symbol]
        beyond = any(row.code is RefusalCode.STOP_WOULD_TRIGGER for row in tried)
        if len(tried) < 2 and not beyond:
            return f"{close.symbol} was closed by {close.client_id} at market after {len(tried)} tries to cover it"
    return ""


class Agreement:
    """What must come true soon while the bot lives: it knows of everything, and has tidied up."""

    PROMPT_MS = 5_000
    """Where nothing but the link was in the way."""
    SOON_MS = 25_000
    SILENT_MS = 75_000
    """The slowest way to the truth is a silent socket: the audit finds out within a minute."""

    def __init__(self, witness: Witness, *, prompt: bool, silent: bool, by_hand: bool) -> None:
        self._witness, self._by_hand = witness, by_hand
        soon_ms = self.SILENT_MS if silent else self.SOON_MS
        books_ms = self.PROMPT_MS if prompt else soon_ms
        self._books = Span("exchange, outbox and books did not agree on the position", books_ms)
        self._money = Span("exchange and books did not agree on the money", soon_ms)
        self._tidy = Span("orders of ours rested while flat", soon_ms)
        self._ghosts = Span("orders were thought to rest that are over", soon_ms)
        self._halted = Span("something was halted", self.SILENT_MS)
        self.state = ""

    def look(self, broker: LiveBroker, ledger: Ledger, pending: int, now: int) -> bool:
        """Judge; whether everything agrees now and nothing is left to do."""
        witness, outbox = self._witness, broker._outbox
        excused = witness.bot is not Bot.UP
        unknown = [one for one in witness.taken if one not in outbox.rows and not one.startswith(BY_HAND)]
        if unknown:
            witness.breaks(f"accepted orders {unknown} are not in the outbox")
        same, flat, state = True, True, []
        for symbol in broker._desk.instruments:
            held, position = witness.held(venue_id(symbol)), ledger.positions.get(symbol)
            booked = Decimal(0) if position is None else position.signed_qty
            state.append(f"{symbol}: exchange {held}, outbox {outbox.held(symbol)}, books {booked}")
            same = same and held == outbox.held(symbol) and (held == booked or (self._by_hand and held != 0))
            flat = flat and not held
        resting = [order.client_id for order in witness.exchange.open_orders()]
        resting += [algo.client_id for algo in witness.exchange.open_algos()]
        ours = [client_id for client_id in resting if not client_id.startswith(BY_HAND)]
        ghosts = [row.client_id for row in outbox.live() if row.client_id not in resting]
        wallet = float(witness.exchange.account().wallet)
        rich = self._by_hand or abs(ledger.wallet - wallet) < 1e-6
        self.state = (
            f"{'; '.join(state)}, pending {pending}, resting {resting}, "
            f"thought to rest {[row.client_id for row in outbox.live()]}, "
            f"unresolved {[(row.client_id, row.state.value) for row in outbox.unresolved()]}, "
            f"wallet {wallet}, books {ledger.wallet}, halted {broker.halted}"
        )
        untidy, halted = flat and bool(ours) and not pending, bool(broker.halted)
        wrongs = (
            (self._books, not same),
            (self._tidy, untidy),
            (self._ghosts, bool(ghosts)),
            (self._money, not rich),
            (self._halted, halted),
        )
        for span, wrong in wrongs:
            told = span.see(now, wrong=wrong, excused=excused)
            if told:
                witness.breaks(f"{told}: {self.state}")
        return same and rich and not untidy and not ghosts and not halted and not pending and not outbox.unresolved()

    def asleep(self) -> None:
        """The bot is not up: what is wrong now is not its doing."""
        for span in (self._books, self._money, self._tidy, self._ghosts, self._halted):
            span.rest()
