"""The yardstick itself: our minimal event core beside its plain-Python peer, where that is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage
from benchmarks.minimal_core import Row, replay

PEERS_VARIABLE = "BRAIN_BENCH_PEERS"
_DEFAULT_PEERS = Path(__file__).resolve().parent.parent.parent / "shared" / "bench"
_SCRIPT = "bt_purepython.py"
_DATA = "SYN00_15m.parquet"
_COLUMNS = ("open", "high", "low", "close", "volume")


def measure(*, quick: bool) -> list[Measured]:
    """Row ``core``; nothing where the peer or the data it runs on is not at hand."""
    peers = Path(os.environ.get(PEERS_VARIABLE, _DEFAULT_PEERS))
    data = Path(os.environ.get("BENCH_DATA", peers / "data")) / _DATA
    if not (peers / _SCRIPT).is_file() or not data.is_file():
        print(f"core: skipped, no peer and data under {PEERS_VARIABLE} (its gen_data.py makes the data)", file=sys.stderr)
        return []
    steps = _steps(data)
    if quick:
        return [Measured("core", Spread.of([_bars_per_s(steps) / _bars_per_s(steps)]), "against itself: a smoke test")]
    ratios, ours, theirs = [], [], []
    for _ in range(5):
        with only_new_garbage():
            ours.append(Spread.of([_bars_per_s(steps) for _ in range(5)]).median)
        theirs.append(_peer_bars_per_s(peers))
        ratios.append(ours[-1] / theirs[-1])
    note = f"{Spread.of(ours).median:,.0f} bars/s against {Spread.of(theirs).median:,.0f}"
    return [Measured("core", Spread.of(ratios), note)]


def _bars_per_s(steps: list[tuple[Row, ...]]) -> float:
    start = now_ns()
    replay(steps, 1)
    return len(steps) / (now_ns() - start) * 1e9


def _peer_bars_per_s(peers: Path) -> float:
    """Median of five runs of the peer's event-driven mode, in a process of its own."""
    with TemporaryDirectory(prefix="brain-bench-") as out:
        environment = {**os.environ, "BENCH_OUT": out, "NUMBA_CACHE_DIR": out, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, _SCRIPT, "15m", "5"]
        lines = subprocess.run(
            command, cwd=peers, env=environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return float(next(row["bars_per_s"]["median"] for row in found if row["mode"] == "events"))


def _steps(data: Path) -> list[tuple[Row, ...]]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(data, columns=list(_COLUMNS))
    columns = [table.column(name).to_pylist() for name in _COLUMNS]
    return [(row,) for row in zip(range(table.num_rows), *columns, strict=True)]
