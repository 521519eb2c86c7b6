"""Run the crash matrix: ``python -m tests.faults.crash_matrix --lives 10000``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.exec.live.crash import CrashPoint
from tests.faults.crash_matrix.cells import FAULTS, IN_RECOVERY, cell_of, matrix_size
from tests.faults.crash_matrix.mutants import MUTANTS, mutated
from tests.faults.crash_matrix.story import Result, live_through

WHOLE = 2_000
"""So many lives of the unrestricted matrix pass every point; fewer may miss one by chance."""
_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    points = tuple(asked.point) or tuple(CrashPoint)
    faults = tuple(asked.fault) or FAULTS
    console, begun = Console(), time.perf_counter()
    results = _run(asked, points, faults, console)
    _show_points(console, results, points)
    seconds = time.perf_counter() - begun
    failed = [result for result in results if result.failure]
    if asked.trace:
        for result in results:
            console.print("\n".join(result.events), markup=False, highlight=False, soft_wrap=True)
            if result.outcome is not None:
                console.print(f"trace {result.outcome.trace}, wire {result.outcome.wire}", highlight=False)
    missed = _missed(results, points) if asked.lives >= WHOLE and not asked.point else []
    if missed:
        console.print(f"[red]never passed: {', '.join(missed)}[/red]")
    ends = sum(len(result.ends) for result in results)
    console.print(
        f"{len(results)} lives of a matrix of {matrix_size(points, faults)} cells, {ends} ends at a point, {len(failed)} failed, "
        f"{len(results) / seconds * 60:.0f} a minute; longest without a stop: {max(r.naked_ms for r in results)} ms, "
        f"while starting {max(r.starting_ms for r in results)} ms",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if failed or missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash_matrix", description=__doc__)
    parser.add_argument("--lives", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--point", type=CrashPoint, action="append", default=[], help="only this crash point; may be repeated")
    parser.add_argument("--fault", choices=FAULTS, action="append", default=[], help="only this fault; may be repeated")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="build the broker wrongly, in this way")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    return parser


def again(number: int, asked: argparse.Namespace) -> str:
    """The command that lives exactly this life again."""
    words = ["python -m tests.faults.crash_matrix --lives 1 --trace --seed", str(number)]
    words += [f"--point {point.value}" for point in asked.point]
    words += [f"--fault {fault}" for fault in asked.fault]
    words += [f"--mutant {asked.mutant}"] if asked.mutant else []
    return " ".join(words)


def _one(number: int, points: Sequence[CrashPoint], faults: Sequence[str], mutant: str | None, *, trace: bool) -> Result:
    with mutated(mutant):
        result = live_through(number, points, faults)
    return result if trace else result.bare()


def _run(asked: argparse.Namespace, points: Sequence[CrashPoint], faults: Sequence[str], console: Console) -> list[Result]:
    numbers = range(asked.seed, asked.seed + asked.lives)
    one = partial(_one, points=points, faults=faults, mutant=asked.mutant, trace=asked.trace)
    columns = (TextColumn("lives"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed"))
    results: list[Result] = []
    failed = 0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(numbers), failed=0)
        for result in _all(one, numbers, asked.jobs):
            results.append(result)
            failed += bool(result.failure)
            progress.update(task, advance=1, failed=failed)
            if result.failure and failed <= _SHOWN:
                told = f"life {result.number}: {cell_of(result.number, points, faults)}\n{result.failure}"
                console.print(
                    told, f"again: {again(result.number, asked)}", "", sep="\n", markup=False, highlight=False, soft_wrap=True
                )
    return sorted(results, key=lambda result: result.number)


def _all(one: partial[Result], numbers: range, jobs: int) -> Iterator[Result]:
    if min(jobs, len(numbers)) < 2:
        yield from map(one, numbers)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=500) as pool:
        yield from pool.imap_unordered(one, numbers, chunksize=4)


def _missed(results: Sequence[Result], points: Sequence[CrashPoint]) -> list[str]:
    passed = {end for result in results for end in result.ends}
    return [point.value for point in points if point.value not in passed]


def _show_points(console: Console, results: Sequence[Result], points: Sequence[CrashPoint]) -> None:
    counted = Counter(end for result in results for end in result.ends)
    table = Table("crash point", "lives that ended there", box=None)
    for point in CrashPoint:
        if point in points or counted[point.value]:
            table.add_row(point.value + (" (at a start)" if point in IN_RECOVERY else ""), str(counted[point.value]))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
