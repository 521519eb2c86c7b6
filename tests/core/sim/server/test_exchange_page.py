"""docs/exchange.md names what there is, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from core.sim.server.faults import FaultKind
from core.sim.server.routes import ROUTES
from core.sim.server.stream_names import parse_stream
from core.sim.server.tls import VENUE_HOSTS

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "exchange.md").read_text(encoding="utf-8")


def test_every_call_is_named() -> None:
    assert set(re.findall(r"`(/[fs]?api/[^`]+)`", PAGE)) == {path for _, path in ROUTES}


def test_every_fault_is_named() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE) == [kind.value for kind in FaultKind]


def test_every_stream_that_is_named_exists() -> None:
    named = [name for name in re.findall(r"`(@[^`]+)`", PAGE) if name not in {"@100ms", "@250ms", "@500ms", "@kline_"}]
    assert named
    assert all(parse_stream(f"btcusdt{name}") for name in named)


def test_every_host_is_named() -> None:
    assert all(f"`{host}`" in PAGE for host in VENUE_HOSTS)
