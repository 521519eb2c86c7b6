"""Run one world again: ``python -m tests.support.simulation MODULE:SCENARIO SEED [ARGUMENT...]``."""

from __future__ import annotations

import importlib
import sys

from tests.support.simulation.world import run_world


def main() -> None:
    place, seed, *arguments = sys.argv[1:]
    module, _, name = place.partition(":")
    outcome = run_world(int(seed), getattr(importlib.import_module(module), name), *arguments)
    print(*outcome.events, sep="\n")
    print(f"{outcome.virtual_s} virtual s, trace {outcome.trace}, wire {outcome.wire}")


if __name__ == "__main__":
    main()
