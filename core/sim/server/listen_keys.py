"""The key of the user stream: valid for an hour after it was last kept alive."""

from __future__ import annotations

import hashlib

from core.sim.local.values import VenueError


def no_such_key() -> VenueError:
    """The venue's answer to a key that it does not know."""
    return VenueError(-1125, "This listenKey does not exist.")


class ListenKeys:
    """At most one key is valid at a time."""

    def __init__(self, lifetime_ms: int, seed: int) -> None:
        self._lifetime_ms = lifetime_ms
        self._seed = seed
        self._made = 0
        self.current = ""
        self.expires = 0

    def create(self, now: int) -> str:
        """The valid key, kept alive, or a new one."""
        if not self.valid(self.current, now):
            self._made += 1
            self.current = hashlib.sha256(f"{self._seed}:{now}:{self._made}".encode()).hexdigest()
        self.expires = now + self._lifetime_ms
        return self.current

    def keep(self, now: int) -> str:
        """Keep the key alive.

        Raises:
            VenueError: -1125 there is none.
        """
        if not self.valid(self.current, now):
            raise no_such_key()
        self.expires = now + self._lifetime_ms
        return self.current

    def drop(self) -> None:
        """The key is valid no more."""
        self.current, self.expires = "", 0

    def valid(self, key: str, now: int) -> bool:
        """Whether a stream may be opened with the key."""
        return bool(key) and key == self.current and now < self.expires
