"""Request weights and order counts, and what comes of exceeding them."""

from __future__ import annotations

from dataclasses import replace

from core.sim.local.values import VenueError
from core.sim.server.options import MINUTE, Limits

_SHORT = 10_000
_ADVICE = "Please use the websocket for live updates to avoid polling the API."


class Throttled(VenueError):
    """Too many requests (429), or banned for going on (418); ``retry_after`` in seconds."""

    def __init__(self, status: int, retry_after: int, message: str) -> None:
        super().__init__(-1003, message, status=status)
        self.retry_after = retry_after


class _Window:
    """A count that starts anew whenever the clock enters another stretch of ``length`` ms."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._stretch = -1
        self.count = 0

    def add(self, now: int, amount: int) -> int:
        """Count, and say how many there are now."""
        if now // self._length != self._stretch:
            self._stretch, self.count = now // self._length, 0
        self.count += amount
        return self.count

    def rest_ms(self, now: int) -> int:
        """How long the stretch still lasts."""
        return self._length - now % self._length


class _Address:
    """What one IP address has used."""

    def __init__(self) -> None:
        self.weight = _Window(MINUTE)
        self.refused = _Window(MINUTE)
        self.banned_until = 0
        self.bans = 0


def spot_limits(limits: Limits) -> Limits:
    """Those of the spot host."""
    return replace(limits, weight_per_minute=limits.spot_weight_per_minute)


class Limiter:
    """Counts weight for each address and orders for the account, on the clock's own minutes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses: dict[str, _Address] = {}
        self._orders_10s = _Window(_SHORT)
        self._orders_1m = _Window(MINUTE)

    def take(self, address: str, weight: int, now: int) -> None:
        """Count a request.

        Raises:
            Throttled: the weight is used up, or the address went on for too long after that.
        """
        who = self._addresses.setdefault(address, _Address())
        if now < who.banned_until:
            raise self._banned(who, now)
        most = self._limits.weight_per_minute
        if who.weight.add(now, weight) <= most:
            return
        if who.refused.add(now, 1) > self._limits.ban_after:
            who.banned_until = now + self._limits.ban_ms * 2**who.bans
            who.bans += 1
            raise self._banned(who, now)
        raise Throttled(
            429,
            _seconds(who.weight.rest_ms(now)),
            f"Too many requests; current limit of IP({address}) is {most} requests per minute. {_ADVICE}",
        )

    def take_orders(self, orders: int, now: int) -> None:
        """Count new orders.

        Raises:
            VenueError: -1015 there were too many.
        """
        short, long = self._orders_10s.add(now, orders), self._orders_1m.add(now, orders)
        if short > self._limits.orders_per_10s:
            raise _too_many(self._limits.orders_per_10s, "TEN_SECONDS")
        if long > self._limits.orders_per_minute:
            raise _too_many(self._limits.orders_per_minute, "MINUTE")

    def headers(self, address: str, now: int, *, orders: bool) -> dict[str, str]:
        """What an answer tells of the counts."""
        who = self._addresses.setdefault(address, _Address())
        told = {"X-MBX-USED-WEIGHT-1M": str(who.weight.add(now, 0))}
        if orders:
            told["X-MBX-ORDER-COUNT-10S"] = str(self._orders_10s.add(now, 0))
            told["X-MBX-ORDER-COUNT-1M"] = str(self._orders_1m.add(now, 0))
        return told

    @staticmethod
    def _banned(who: _Address, now: int) -> Throttled:
        words = f"Way too many requests; IP banned until {who.banned_until}. {_ADVICE}"
        return Throttled(418, _seconds(who.banned_until - now), words)


def _too_many(limit: int, per: str) -> VenueError:
    return VenueError(-1015, f"Too many new orders; current limit is {limit} orders per {per}.", status=429)


def _seconds(ms: int) -> int:
    return max(1, -(-ms // 1000))
