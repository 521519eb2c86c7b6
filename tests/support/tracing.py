"""Work that is not counted in the coverage: counting takes almost as long as the work itself.

For what other tests have counted already: sessions that are only made to be looked at, runs that repeat others at length.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_IN_CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""By which coverage comes along into processes."""


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Count nothing for a while: neither here nor in threads or processes that are started meanwhile."""
    here, threads, children = sys.gettrace(), threading.gettrace(), os.environ.pop(_IN_CHILDREN, None)
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(threads)  # type: ignore[arg-type]
        if children is not None:
            os.environ[_IN_CHILDREN] = children
