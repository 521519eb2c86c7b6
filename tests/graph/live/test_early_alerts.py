"""What a start does before the run is made is told all the same: it may cover, or close, what was open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from loguru import logger

from core.monitor.schema import AlertLevel
from graph.live.assembly import _Books


def _run(told: list[tuple[Any, ...]]) -> Any:
    recorder = SimpleNamespace(alert=lambda *what: told.append(what))
    return SimpleNamespace(recorder=recorder, clock=SimpleNamespace(now_ms=lambda: 7))


def test_what_the_broker_tells_before_there_is_a_run_is_told_to_it_first() -> None:
    books, told = _Books(), list[tuple[Any, ...]]()
    books.alert("page", "symbol_halted", "one")
    books.meet(_run(told))
    books.alert("warning", "audit", "two")
    books.close()
    assert told == [(7, AlertLevel.PAGE, "symbol_halted", "one"), (7, AlertLevel.WARNING, "audit", "two")]


def test_where_no_run_comes_of_it_the_log_has_it() -> None:
    lines = list[str]()
    sink = logger.add(lines.append, format="{level} {message}")  # type: ignore[arg-type]
    try:
        books = _Books()
        books.alert("page", "symbol_halted", "one")
        books.close()
    finally:
        logger.remove(sink)
    assert lines == ["CRITICAL symbol_halted: one\n"]
