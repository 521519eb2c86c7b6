"""Timeframes of one symbol on one time axis: what a rule could know at each close, over a whole history (B8, B9, X29).

Live, everything that closed together is announced at once, and a rule reads the newest row of every timeframe. Here the same
reading is done for all closes of one timeframe, so that the rule of a live run can be given a whole history.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from core.data.blocks import Floats, Ints
from core.data.feature_sets import STREAM_FEATURES
from core.errors import DataError
from core.types import Timeframe


def known_at_close(frames: Mapping[Timeframe, pd.DataFrame], tf: Timeframe) -> dict[str, Floats]:
    """Every feature as it was known at the closes of ``tf``.

    A bar counts from its close on, also for what closes at that very moment; while it is open, and where its successor is
    missing, the bar before it stands. A value that is NaN on the bar that counts is NaN here.

    Args:
        frames: by timeframe, the columns of :func:`core.data.features.build_features` on its index (open times, ms), of one
            symbol, each from the symbol's first bar on.
        tf: the timeframe on whose bars a rule is evaluated.

    Returns:
        Arrays of shape (T,), one element a bar of ``tf``, by the feature store's keys: ``name@tf``, and streams without
        ``@tf``, which are those of ``tf`` itself, or else of the finest timeframe that has them. NaN before the first
        close of a timeframe. The arrays are the caller's own.

    Raises:
        DataError: ``tf`` is not in ``frames``, or an index is not of rising open times on the timeframe's grid.
    """
    if tf not in frames:
        raise DataError(f"timeframe was {tf}, expected one of {', '.join(frames)}")
    closes = {own: _close_times(frame, own) for own, frame in frames.items()}
    found: dict[str, Floats] = {}
    for own in sorted(frames, key=lambda other: (other is not tf, other.ms)):  # what is found first keeps its name
        rows = np.searchsorted(closes[own], closes[tf], side="right") - 1
        for name, column in frames[own].items():
            key = str(name) if name in STREAM_FEATURES else f"{name}@{own}"
            if key not in found:
                found[key] = _pick(column.to_numpy(dtype=np.float64), rows)
    return found


def _close_times(frame: pd.DataFrame, tf: Timeframe) -> Ints:
    if not pd.api.types.is_integer_dtype(frame.index.dtype):
        raise DataError(f"index of {tf} was {frame.index.dtype}, expected open times as integer ms")
    opened = frame.index.to_numpy(dtype=np.int64)
    if np.count_nonzero(opened % tf.ms):
        raise DataError(f"index of {tf} was not on its grid, expected open times that are multiples of {tf.ms} ms")
    if np.count_nonzero(np.diff(opened) <= 0):
        raise DataError(f"index of {tf} did not rise, expected each open time later than the one before")
    return opened + tf.ms


def _pick(values: Floats, rows: Ints) -> Floats:
    """``values`` at ``rows``; NaN where the row is -1 (nothing was known)."""
    out = np.full(rows.size, np.nan)
    known = rows >= 0
    out[known] = values[rows[known]]
    return out
