"""The table: for a terminal, for a script, and for docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.measure import Measured
from benchmarks.targets import BY_NAME, TARGETS, Target

SCHEMA = "brain.bench/1"
_PACKAGES = ("numpy", "TA-Lib", "langgraph", "msgspec")
_HEAD = ("measure", "must", "aim", "measured: median (min–max)", "verdict", "behind it")

_INTRODUCTION = """# Performance

<!-- Written by `python -m benchmarks --write`; do not edit. -->

`make bench` measures this table anew. Ratios are taken inside one run, in turns: each round measures ours and what it is
compared with one right after the other, so that other work on the machine meets both. Each cell is the median of the rounds
with the least and the greatest: a range, not a confidence interval. Milliseconds are wall time and hold for this machine and
its load only. A verdict is what the median reaches: *aim*, *must*, or *missed*; *reported* where nothing must be reached.
"""

_METHOD = """## How it is measured

- **Feature update**: the 5m set (11 values: ATR, RSI, Bollinger bands, z-score of volume, close location, rank of ATR, shock,
  6-bar return), bar by bar for all symbols, p50; against the same values computed by TA-Lib (ranks by numpy) from each symbol's
  last 2000 bars. Both are checked to agree before the clock runs.
- **Bar to decided plan**: the real daemon with the compiled graph over a made market of 50 perpetuals on 5m bars, from the
  arrival of a bar (checks, rings, features on every timeframe that closes) to the decision on record; only bars on which a plan
  was decided, others beside it. The commit to disk is not in it, and with it the encoding of signals and refusals, which happens
  there; it is in the replay row. The bare graph is compiled from the same table with empty nodes and sent along the same edges
  right after. Each plan risks 0.3 % of equity, so that as many positions as may ever be held stand beside each other.
- **One plan**: `RiskEngine.plan` on inputs that end in a plan.
- **Direct replay**: the real daemon with the direct engine: node hashes, decision chain, SQLite in transactions of 256 bars,
  logs, metrics. Warm-up and the making of bars are excluded on both sides. The minimal core (`benchmarks/minimal_core.py`: one
  breakout rule, ATR stop, no gates, nothing on disk) runs over the same bars in the breaks of the same run.
- **Memory**: resident set of a daemon process of its own, with 20 symbols, after a full collection.
- **Journal, latency**: two runs with everything of their own but the bars, one with a journal; each bar goes through both, in
  turns, from its arrival to its end. Each waits for the disk after the bar, as a paced run does; that is not in the ratio.
- **Journal, bytes**: the folder after the run, all segments packed, history that warmed the features up included.
- **Replay from the journal**: each round records a session with the daemon and makes it again, both with the direct engine and
  without warm-up; reading and unpacking is the replay's, committing and packing the original's.
- **Standing at a bar**: stepper opened, what it needs of the journal read, state restored, bars since then made again, held
  before the first node; any bar of a year of 5m bars.
- **Final candle to order**: the real daemon (exchange source, compiled graph, live broker, ccxt.pro, records and journal on the
  disk) at the local exchange, which is a process of its own behind TLS. Bytes are seen at the sockets of the daemon's process,
  an order is accepted when the exchange's engine has it. Time leaps over the dead part of each bar; the milliseconds around a
  close are real. Rules are set to enter and leave often. Counted is every order that was decided at a close, from the candle of
  its own market, waiting for the others of that close included; stops and takes that follow a fill are not. The greatest are of
  full hours, whose spot closes are waited for.
- **An order submitted**: an order that rests, placed by the live broker until the answer, against `create_order` of the
  unmodified ccxt.pro without its limiter, in turns, each at an exchange of its own. The broker's order is on the disk before it
  is sent, so that one fsync is in it; how long that takes on this disk stands beside.
- **Ten at once**: until all ten are confirmed; what is more than with ccxt alone without its limiter is the added wait, once for
  the live broker, once for ccxt with its limiter.
- **Restart**: everything made anew in a process that runs, session's records and journal read, exchange reached, recovery agreed:
  from then on entries are allowed. Positions and orders are those of an earlier life of the daemon.
- The garbage collector stays on, as in a real run; what exists when the clock starts is kept out of its sight.
"""


def machine() -> dict[str, str]:
    """What the numbers were measured on, without date or name."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": packages,
    }


def as_text(found: Sequence[Measured]) -> str:
    """Lines for a terminal."""
    rows = [_cells(measured) for measured in found]
    return "\n".join(
        f"{verdict:7} {measure}\n        {spread}   must {must}, aim {aim}\n        {note}"
        for measure, must, aim, spread, verdict, note in rows
    )


def as_json(found: Sequence[Measured]) -> str:
    """One JSON object."""
    rows = [_row(measured, BY_NAME[measured.row]) for measured in found]
    return json.dumps({"schema": SCHEMA, "machine": machine(), "rows": rows}, allow_nan=False)


def as_page(found: Sequence[Measured]) -> str:
    """The text of docs/performance.md."""
    order = [target.name for target in TARGETS]
    lines = [_HEAD, ("---",) * len(_HEAD), *(_cells(m) for m in sorted(found, key=lambda m: order.index(m.row)))]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    facts = machine()
    where = f"Measured on {facts['cores']} cores, {facts['system']}, Python {facts['python']}, {facts['packages']}."
    return f"{_INTRODUCTION}\n{where}\n\n{table}\n\n{_METHOD}"


def _cells(measured: Measured) -> tuple[str, str, str, str, str, str]:
    target, spread = BY_NAME[measured.row], measured.spread
    sign = "≤" if target.at_most else "≥"
    values = _number(spread.median, target.unit)
    if spread.rounds > 1:
        values += f" ({_number(spread.low, target.unit)}–{_number(spread.high, target.unit)})"
    must, aim = ("–" if limit is None else f"{sign} {_limit(limit, target.unit)}" for limit in (target.must, target.aim))
    return target.measure, must, aim, values, target.verdict(measured), measured.note


def _number(value: float, unit: str) -> str:
    if unit == "MB":
        return f"{value:.1f} MB"
    return f"{value:.3g}{unit}" if unit == "×" else f"{value:.3g} {unit}"


def _limit(value: float, unit: str) -> str:
    return f"{value:g}{unit}" if unit == "×" else f"{value:g} {unit}"


def _row(measured: Measured, target: Target) -> dict[str, object]:
    spread = measured.spread
    return {
        "name": target.name,
        "measure": target.measure,
        "unit": target.unit,
        "at_most": target.at_most,
        "must": target.must,
        "aim": target.aim,
        "median": spread.median,
        "min": spread.low,
        "max": spread.high,
        "rounds": spread.rounds,
        "verdict": target.verdict(measured),
        "note": measured.note,
    }
