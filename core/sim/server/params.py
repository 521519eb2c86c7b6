"""A request's parameters, with the venue's own words for what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from core.sim.local.values import AlgoType, OrderSide, OrderType, TimeInForce, VenueError, WorkingType

_NUMBER = re.compile(r"^[0-9]{1,20}(\.[0-9]{1,20})?$")
_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")
_Choice = TypeVar("_Choice", bound=StrEnum)

_CHOICE_ERRORS: dict[type[StrEnum], tuple[int, str]] = {
    TimeInForce: (-1115, "Invalid timeInForce."),
    OrderType: (-1116, "Invalid orderType."),
    AlgoType: (-1116, "Invalid orderType."),
    OrderSide: (-1117, "Invalid side."),
    WorkingType: (-4019, "Invalid working type."),
}


def missing(name: str) -> VenueError:
    """A mandatory parameter is not there or makes no sense."""
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def unwanted(name: str) -> VenueError:
    """A parameter is there that excludes, or is excluded by, another."""
    return VenueError(-1106, f"Parameter '{name}' sent when not required.")


def illegal(name: str) -> VenueError:
    """A parameter has characters that it may not have."""
    return VenueError(-1100, f"Illegal characters found in parameter '{name}'.")


def parse_pairs(query: str, body: str) -> dict[str, str]:
    """Parameters of query and body; the query wins, as at the venue."""
    return {name: value for part in (body, query) for name, value in parse_qsl(part, keep_blank_values=True)}


class Params:
    """Reads one request. Everything that does not fit raises :class:`VenueError`."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._pairs = pairs

    def __contains__(self, name: str) -> bool:
        return bool(self._pairs.get(name))

    def maybe(self, name: str) -> str | None:
        """The text, or None where nothing was sent."""
        return self._pairs.get(name) or None

    def text(self, name: str) -> str:
        """The text of a mandatory parameter."""
        found = self.maybe(name)
        if found is None:
            raise missing(name)
        return found

    def integer(self, name: str, default: int) -> int:
        """A whole number not below zero."""
        found = self.maybe_integer(name)
        return default if found is None else found

    def maybe_integer(self, name: str) -> int | None:
        """A whole number not below zero, or None where nothing was sent."""
        found = self.maybe(name)
        if found is None:
            return None
        if not (found.isascii() and found.isdigit() and len(found) <= 20):
            raise illegal(name)
        return int(found)

    def whole(self, name: str) -> int:
        """A mandatory whole number not below zero."""
        found = self.maybe_integer(name)
        if found is None:
            raise missing(name)
        return found

    def limit(self, default: int, most: int) -> int:
        """How many rows were asked for."""
        found = self.integer("limit", default)
        if found < 1:
            raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(found, most)

    def maybe_decimal(self, name: str) -> Decimal | None:
        """A decimal number, or None where nothing was sent."""
        found = self.maybe(name)
        if found is None:
            return None
        if not _NUMBER.match(found):
            raise illegal(name)
        return Decimal(found)

    def decimal(self, name: str) -> Decimal:
        """A mandatory decimal number."""
        found = self.maybe_decimal(name)
        if found is None:
            raise missing(name)
        return found

    def flag(self, name: str) -> bool:
        """``true`` or ``false``, the latter where nothing was sent."""
        found = (self.maybe(name) or "false").lower()
        if found not in {"true", "false"}:
            raise illegal(name)
        return found == "true"

    def choice(self, name: str, of: type[_Choice], default: _Choice | None = None) -> _Choice:
        """One of the venue's words."""
        found = self.maybe(name)
        if found is None:
            if default is None:
                raise missing(name)
            return default
        try:
            return of(found)
        except ValueError:
            raise VenueError(*_CHOICE_ERRORS.get(of, (-1130, f"Data sent for parameter '{name}' is not valid."))) from None

    def client_id(self, name: str) -> str:
        """A client's own id, empty where none was sent."""
        found = self.maybe(name) or ""
        if found and not _CLIENT_ID.match(found):
            raise VenueError(-4015, "Client order id is not valid.")
        return found
