"""Outputs of the nodes without repetition: most bars change nothing in what most nodes write."""

from __future__ import annotations

from collections.abc import Sequence

from core.journal.records import Decided

Outputs = Sequence[tuple[str, bytes]]
"""(agent, canonical bytes of what it wrote), in the order in which they ran."""


class OutputTape:
    """Leaves out of each decision what an agent wrote just the same the last time, and fills it in again."""

    def __init__(self) -> None:
        self._last: dict[str, bytes] = {}

    def shorten(self, outputs: Outputs) -> tuple[tuple[str, bytes | None], ...]:
        """``outputs`` with None for what has not changed."""
        last = self._last
        short = tuple([(agent, None if last.get(agent) == payload else payload) for agent, payload in outputs])
        last.update(outputs)
        return short

    def complete(self, decided: Decided) -> tuple[tuple[str, bytes], ...]:
        """The outputs as they were."""
        for agent, payload in decided.outputs:
            if payload is not None:
                self._last[agent] = payload
        return tuple((agent, self._last[agent]) for agent, _ in decided.outputs)

    def forget(self) -> None:
        """Begin anew: every segment can be read by itself."""
        self._last.clear()
