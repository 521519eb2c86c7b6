"""How numbers and answers look on the wire."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

Json = dict[str, Any]
"""One JSON object on its way out; it never leaves this room."""

PLACES = 8
CENT = Decimal("0.00000001")
"""Money is told to eight places."""


def text(value: Decimal) -> str:
    """The number in plain notation, never ``1E+3`` or ``-0``.

    Example:
        >>> text(Decimal("1E+3")), text(Decimal("-0.0"))
        ('1000', '0.0')
    """
    return format(abs(value) if value.is_zero() else value, "f")


def money(value: Decimal) -> str:
    """An amount to eight places.

    Example:
        >>> money(Decimal("23.7"))
        '23.70000000'
    """
    return text(value.quantize(CENT))


def price(value: Decimal) -> str:
    """A price that was worked out and may have any number of digits: at most eight places.

    Example:
        >>> price(Decimal("50005.10")), price(Decimal(1) / 3)
        ('50005.10', '0.33333333')
    """
    return text(value) if round(value, PLACES) == value else money(value)


def rate(value: Decimal) -> str:
    """A fraction to eight places, as funding rates are told."""
    return text(value.quantize(CENT))


def encode(answer: object) -> bytes:
    """JSON as it is sent."""
    return msgspec.json.encode(answer)


def encode_text(message: object) -> str:
    """The same for a text frame."""
    return msgspec.json.encode(message).decode()
