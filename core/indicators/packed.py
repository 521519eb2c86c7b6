"""Arrays as bytes for a saved state: plain, little-endian, so that what packs the state as a whole sees what repeats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def packed(array: NDArray[Any]) -> bytes:
    """All values of ``array``, its last axis running fastest."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def unpack(saved: bytes, out: NDArray[Any]) -> None:
    """Put what :func:`packed` gave into ``out``, an array of the same kind and shape.

    Raises:
        ValueError: it is of another size.
    """
    out[...] = np.frombuffer(saved, dtype=out.dtype.newbyteorder("<")).reshape(out.shape)
