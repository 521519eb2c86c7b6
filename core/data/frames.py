"""Normalised frames (requirement B2), for people and research; never on the path of a bar."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.data.blocks import Bars
from core.exec.instrument import venue_code
from core.types import Timeframe

FRAME_COLUMNS = ("ts", "open", "high", "low", "close", "volume", "tf", "symbol", "source")
"""``ts`` is the open time (int64 ms), ``symbol`` like ``BINANCE:BTCUSDT.P``, ``source`` where the bars came from."""


def to_frame(bars: Bars, tf: Timeframe, symbols: Sequence[str], source: str) -> pd.DataFrame:
    """Frame with :data:`FRAME_COLUMNS`; ``symbols`` (ccxt names) has one entry a bar."""
    columns = {name: getattr(bars, name) for name in FRAME_COLUMNS[:6]}
    names = pd.Series([venue_code(symbol) for symbol in symbols], dtype="object")
    frame = pd.DataFrame({**columns, "tf": tf.value, "symbol": names, "source": source})
    return frame.astype({"tf": "object", "source": "object"})
