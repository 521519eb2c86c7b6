"""Where a session goes on: the source must give the last recorded bar again, or it is another market."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from core.data.blocks import Batch
from core.data.timeframes import say
from core.errors import StateError
from core.types import Timeframe

_FIELDS = ("open_ts", "open", "high", "low", "close", "volume")
_Row = tuple[float, ...]


def check_junction(recorded: Batch, now: Batch, symbols: Sequence[str], *, whole: bool = True) -> None:
    """Compare the bars of the last batch on record with what the source gives at its time.

    Without ``whole``, for a real market, only bars that both have: one that came too late then is there by now.

    Raises:
        StateError: they are not the same; names the first symbol and field that differ.
    """
    if now.ts != recorded.ts:
        raise _another(recorded.ts, f"it has no bar then, the next is at {say(now.ts)}")
    then_rows, now_rows = _rows(recorded), _rows(now)
    for tf, row in sorted(then_rows.keys() | now_rows.keys(), key=lambda key: (key[0].ms, key[1])):
        before, present = then_rows.get((tf, row)), now_rows.get((tf, row))
        if not whole and (before is None or present is None or before[0] != present[0]):
            continue
        name = f"{symbols[row]} {tf.value}"
        if before is None or present is None:
            raise _another(recorded.ts, f"{name} {'came' if before is None else 'is missing'}")
        for field, a, b in zip(_FIELDS, before, present, strict=True):
            if a != b and not (isnan(a) and isnan(b)):
                raise _another(recorded.ts, f"{name} {field} is {b!r}, recorded was {a!r}")


def _rows(batch: Batch) -> dict[tuple[Timeframe, int], _Row]:
    found: dict[tuple[Timeframe, int], _Row] = {}
    for block in batch.bars:
        columns = (block.open_ts, block.open, block.high, block.low, block.close, block.volume)
        for row, *values in zip(block.idx.tolist(), *(column.tolist() for column in columns), strict=True):
            found[block.tf, row] = tuple(values)
    return found


def _another(ts: int, what: str) -> StateError:
    return StateError(
        f"the source gives another bar at {say(ts)} than the session recorded: {what}",
        help="start with the recordings that the session was made from, or with another --state DIR",
        code="STATE-010",
    )
