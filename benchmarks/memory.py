"""Memory of a daemon in a process of its own: growth of the resident set between two points of a run, and its peak.

``python -m benchmarks.memory SYMBOLS FROM TO WARM`` is that process; it prints one JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.market import assembled, configuration, synthetic
from benchmarks.measure import Measured, Spread
from graph.engines import DirectEngine
from graph.runner import Daemon, RunOptions

_ROOT = Path(__file__).resolve().parent.parent
_STATM, _STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
_MB = 1e6


def measure(*, quick: bool) -> list[Measured]:
    """Rows ``memory_growth`` and ``memory_peak``, in symbol-bars of 20 symbols."""
    symbols, first, last = (2, 200, 600) if quick else (20, 100_000, 500_000)
    command = [sys.executable, "-m", "benchmarks.memory", str(symbols), str(first), str(last), "quick" if quick else "full"]
    answer = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    found = json.loads(answer)
    note = f"{found['first_mb']:.0f} MB after {first:,}, {found['last_mb']:.0f} MB after {last:,} symbol-bars"
    return [
        Measured("memory_growth", Spread.of([found["last_mb"] - found["first_mb"]]), note),
        Measured("memory_peak", Spread.of([found["peak_mb"]]), "the whole process, warm-up and synthetic source included"),
    ]


def resident_mb() -> float:
    """Resident set of this process in MB; Linux only."""
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / _MB


def peak_mb() -> float:
    """Greatest resident set of this process in MB; Linux only. What the system counts for a child would hold its parent's."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / _MB


def _probe(symbols: int, first: int, last: int, *, quick: bool) -> dict[str, float]:
    config = configuration(symbols, quick=quick)
    source = synthetic(symbols, last // symbols, quick=quick)
    found: dict[str, float] = {}
    with assembled(config, source) as (parts, folder):
        daemon = Daemon(parts, DirectEngine(), folder, RunOptions(unlock_after_ms=0))

        def look() -> None:
            if daemon.bars * symbols in (first, last):
                gc.collect()
                found["first_mb" if daemon.bars * symbols == first else "last_mb"] = resident_mb()

        asyncio.run(daemon.run(look))
    return {**found, "peak_mb": peak_mb()}


if __name__ == "__main__":
    count, begin, end = (int(text) for text in sys.argv[1:4])
    print(json.dumps(_probe(count, begin, end, quick=sys.argv[4] == "quick")))
