"""``python -m benchmarks``: measure the table of docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks import core, decision, features, journal, live, memory, orders, plan, replay
from benchmarks.measure import Measured
from benchmarks.report import as_json, as_page, as_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


class Benchmark(Protocol):
    """Measures one or more rows; ``quick``: in small, to see that it runs."""

    def __call__(self, *, quick: bool) -> list[Measured]: ...


BENCHMARKS: dict[str, Benchmark] = {
    "features": features.measure,
    "decision": decision.measure,
    "plan": plan.measure,
    "core": core.measure,
    "replay_1": replay.measure_one,
    "replay_20": replay.measure_twenty,
    "memory": memory.measure,
    "journal_latency": journal.measure_latency,
    "journal_year": journal.measure_year,
    "journal_20": journal.measure_twenty,
    "journal_replay": journal.measure_replay,
    "live_latency": live.measure_latency,
    "orders": orders.measure,
    "live_restart": live.measure_restart,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code; numbers that miss their goal are no error."""
    options = _parser().parse_args(arguments)
    if options.write and (options.quick or options.only):
        _parser().error("--write wants the whole table at full length: leave out --quick and --only")
    found: list[Measured] = []
    for name in options.only or BENCHMARKS:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        found += BENCHMARKS[name](quick=options.quick)
    print(as_json(found) if options.json else as_text(found))
    if options.quick:
        print("--quick only shows that everything runs: these numbers mean nothing", file=sys.stderr)
    if options.write:
        PAGE.write_text(as_page(found), encoding="utf-8")
        print(f"written: {PAGE.relative_to(PAGE.parent.parent)}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and memory; ratios within one run.")
    parser.add_argument(
        "--only", action="append", choices=list(BENCHMARKS), metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="in small: see that everything runs; the numbers mean nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
