"""What every schema is built from."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

StrategyName = Literal["breakout_4h", "vol_exp_15m", "range_rev_5m", "funding_rev"]
RegimeName = Literal["trend_up", "trend_down", "range_lowvol", "range_highvol", "panic"]
TimeframeName = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
Fraction = Annotated[float, Field(ge=0, le=1)]
ONE = 1 + 1e-9  # a sum of decimal fractions may end a hair above one
PositiveDecimal = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Base of every schema: immutable, strict about unknown keys, no NaN or infinity.

    The text under a field is its meaning; ``docs/configuration.md`` is made from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Inconsistent(ValueError):
    """Fields that are each allowed but contradict each other.

    Args:
        found: ``(field, what is wrong)`` pairs; the field is one of the schema that raises.
    """

    def __init__(self, found: Sequence[tuple[str, str]]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(f"{field} {what}" for field, what in self.found))


def require(*rules: tuple[bool, str, str]) -> None:
    """Raise :class:`Inconsistent` for every ``(holds, field, what is wrong if not)`` that does not hold."""
    broken = [(field, what) for holds, field, what in rules if not holds]
    if broken:
        raise Inconsistent(broken)


def rises(values: Sequence[float]) -> bool:
    """Whether each value is above the one before."""
    return all(later > earlier for earlier, later in pairwise(values))
