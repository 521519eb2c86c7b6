"""Market streams: a tick becomes a message only where somebody subscribed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from core.sim.local.values import (
    AccountWord,
    BookTick,
    ExecutionType,
    KlineTick,
    MarkTick,
    OrderEvent,
    Tick,
    TradeTick,
)
from core.sim.server import shape_streams as shape
from core.sim.server.depth import DepthFeed
from core.sim.server.faults import FaultKind, FaultPlan
from core.sim.server.market import MarketView
from core.sim.server.pace import Pace
from core.sim.server.sockets import Socket
from core.sim.server.stream_names import Stream
from core.sim.server.wire import Json, encode_text

SECOND = 1_000
_MARKS = {"markPrice@1s": SECOND, "markPrice": 3 * SECOND, "ticker": SECOND}
"""Streams that come at most this often (ms), with the mark price."""


class Streams:
    """Who subscribed what, and what they are told."""

    def __init__(self, market: MarketView, pace: Pace, plan: FaultPlan, day_stats: Callable[[str], Json]) -> None:
        self._market, self._pace, self._plan, self._day_stats = market, pace, plan, day_stats
        self._sockets: dict[str, dict[Socket, None]] = {}
        self._feeds: dict[str, dict[str, DepthFeed]] = {}
        self._sent: dict[str, int] = {}
        self._best: dict[str, object] = {}

    # --- subscriptions ----------------------------------------------------------------------------

    def subscribe(self, socket: Socket, stream: Stream) -> None:
        """From now on the socket gets the stream; one of a symbol that is not listed stays silent."""
        socket.names[stream.name] = None
        self._sockets.setdefault(stream.name, {})[socket] = None
        if stream.kind == "depth":
            feeds = self._feeds.setdefault(stream.symbol, {})
            feeds.setdefault(stream.name, DepthFeed(stream, self._market.books.get(stream.symbol)))

    def unsubscribe(self, socket: Socket, name: str) -> None:
        """No longer; a stream that nobody wants is forgotten."""
        socket.names.pop(name, None)
        sockets = self._sockets.get(name, {})
        sockets.pop(socket, None)
        if not sockets:
            self._sockets.pop(name, None)
            for feeds in self._feeds.values():
                feeds.pop(name, None)

    # --- ticks ------------------------------------------------------------------------------------

    def take(self, tick: Tick) -> None:
        """Tell of a tick."""
        if not self._sockets:
            return
        match tick:
            case TradeTick():
                self._trade(tick)
            case BookTick():
                self._book(tick)
            case MarkTick():
                self._mark(tick)
            case KlineTick():
                self._kline(tick)
            case _:  # settlements have no stream
                pass

    def _trade(self, tick: TradeTick) -> None:
        for kind, tell in (("trade", shape.trade), ("aggTrade", shape.agg_trade)):
            name = f"{tick.symbol.lower()}@{kind}"
            if name in self._sockets:
                self._send(name, tell(tick, self._pace.now()))

    def _mark(self, tick: MarkTick) -> None:
        for kind, period in _MARKS.items():
            name = f"{tick.symbol.lower()}@{kind}"
            if name not in self._sockets or tick.ts // period == self._sent.get(name):
                continue
            self._sent[name] = tick.ts // period
            now = self._pace.now()
            told = shape.ticker(self._day_stats(tick.symbol), now) if kind == "ticker" else shape.mark_price(tick, now)
            self._send(name, told)

    def _kline(self, tick: KlineTick) -> None:
        name = f"{tick.symbol.lower()}@kline_{tick.tf.value}"
        if name not in self._sockets:
            return
        if tick.final and self._plan.for_message(FaultKind.MISSING_FINAL, name):
            return
        late = self._plan.for_message(FaultKind.LATE_FINAL, name) if tick.final else None
        if late:
            self._pace.later(late.delay_ms, lambda: self._send(name, shape.kline(tick, self._pace.now())))
        else:
            self._send(name, shape.kline(tick, self._pace.now()))

    # --- books ------------------------------------------------------------------------------------

    def _book(self, tick: BookTick) -> None:
        name = f"{tick.symbol.lower()}@bookTicker"
        if name in self._sockets:
            best = (tick.bids[:1], tick.asks[:1])
            if best != self._best.get(tick.symbol):
                self._best[tick.symbol] = best
                self._send(name, shape.book_ticker(tick, self._pace.now()))
        for feed in self._feeds.get(tick.symbol, {}).values():
            self._schedule(feed)

    def _schedule(self, feed: DepthFeed) -> None:
        """Events come at multiples of the stream's period."""
        if not feed.due:
            feed.due = True
            period = feed.stream.period_ms
            self._pace.later(period - self._pace.clock.now_ms() % period, lambda: self._flush(feed))

    def _flush(self, feed: DepthFeed) -> None:
        feed.due = False
        name = feed.stream.name
        event = feed.event(self._market.books[feed.stream.symbol], self._pace.now())
        if event is not None and name in self._sockets and not self._plan.for_message(FaultKind.DEPTH_GAP, name):
            self._send(name, event)

    # --- liquidations -----------------------------------------------------------------------------

    def tell_liquidations(self, words: Iterable[AccountWord]) -> None:
        """Liquidations are public too."""
        for word in words:
            if isinstance(word, OrderEvent) and word.execution is ExecutionType.CALCULATED and word.trade:
                name = f"{word.order.symbol.lower()}@forceOrder"
                if name in self._sockets:
                    self._send(name, shape.force_order(word, self._pace.now()))

    def _send(self, name: str, event: Json) -> None:
        payload = encode_text(event)
        for socket in list(self._sockets.get(name, ())):
            socket.send(name, payload)
