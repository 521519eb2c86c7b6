"""Streams of the spot host: candles as the tape knows them, the same that REST tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.sim.local.values import KlineTick
from core.sim.server import shape_streams as shape
from core.sim.server.faults import FaultKind, FaultPlan
from core.sim.server.pace import Pace
from core.sim.server.sockets import Socket
from core.sim.server.stream_names import Stream
from core.sim.server.wire import encode_text
from core.sim.tape.base import SPOT_KLINES_MOST, MarketTape
from core.types import Timeframe

EVERY_MS = 2_000
"""The venue tells candles of the spot market so often; a final one at its close."""
FAULTS = "spot/"
"""Stands before the name of a stream where a fault is to meet the spot host's: the perpetuals' have the same names."""


@dataclass(slots=True)
class _Feed:
    """One stream: who has it, what is forming, and the open of the next candle to be told (None: nothing is known yet)."""

    stream: Stream
    tf: Timeframe
    sockets: dict[Socket, None] = field(default_factory=dict)
    next_open: int | None = None
    forming: KlineTick | None = None
    beat: int = -1

    def due(self, ts: int) -> bool:
        """Whether it is time to tell something: a beat is over, or the forming candle, whose close may be known any moment."""
        before, self.beat = self.beat, ts // EVERY_MS
        return self.beat != before or self._over(ts)

    def _over(self, ts: int) -> bool:
        return self.forming is not None and ts >= self.forming.open_ts + self.tf.ms

    def news(self, tape: MarketTape, ts: int) -> tuple[KlineTick, ...]:
        """Candles that have closed by ``ts``, each once, and the forming one, which no tape knows to move before its close."""
        if self.forming is not None and not self._over(ts):
            return (self.forming,)
        if self.next_open is None:
            rows = tape.spot_klines(self.stream.symbol, self.tf, limit=1)
            told = tuple(row for row in rows if not row.final)
        else:
            told = rows = tape.spot_klines(self.stream.symbol, self.tf, self.next_open, limit=SPOT_KLINES_MOST)
        if rows:
            last = rows[-1]
            self.next_open = last.open_ts + (self.tf.ms if last.final else 0)
            self.forming = None if last.final else last
        return told


class SpotStreams:
    """Who subscribed what at the spot host, and what they are told. A symbol without a spot market stays silent."""

    def __init__(self, tape: MarketTape, pace: Pace, plan: FaultPlan) -> None:
        self._tape, self._pace, self._plan = tape, pace, plan
        self._feeds: dict[str, _Feed] = {}

    def subscribe(self, socket: Socket, stream: Stream) -> None:
        """From now on the socket gets the stream, beginning with what is forming now."""
        socket.names[stream.name] = None
        feed = self._feeds.get(stream.name)
        if feed is None:
            feed = self._feeds[stream.name] = _Feed(stream, Timeframe(stream.kind.partition("_")[2]))
            feed.news(self._tape, 0)
        feed.sockets[socket] = None

    def unsubscribe(self, socket: Socket, name: str) -> None:
        """No longer; a stream that nobody wants is forgotten."""
        socket.names.pop(name, None)
        feed = self._feeds.get(name)
        if feed is not None:
            feed.sockets.pop(socket, None)
            if not feed.sockets:
                del self._feeds[name]

    def pass_time(self, ts: int) -> None:
        """It is ``ts`` for the tape."""
        for feed in list(self._feeds.values()):
            if feed.due(ts):
                for candle in feed.news(self._tape, ts):
                    self._tell(feed, candle)

    def _tell(self, feed: _Feed, candle: KlineTick) -> None:
        name = FAULTS + feed.stream.name
        if candle.final and self._plan.for_message(FaultKind.MISSING_FINAL, name):
            return
        late = self._plan.for_message(FaultKind.LATE_FINAL, name) if candle.final else None
        if late:
            self._pace.later(late.delay_ms, lambda: self._send(feed, candle))
        else:
            self._send(feed, candle)

    def _send(self, feed: _Feed, candle: KlineTick) -> None:
        payload = encode_text(shape.kline(candle, self._pace.now()))
        for socket in list(feed.sockets):
            socket.send(feed.stream.name, payload)
