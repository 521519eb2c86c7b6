"""An account that must not be traded: `brain live` ends as a refusal with the remedy of that very trouble (issue 4, bad input).

A fault of Brain (exit code 70, "keep the report") would send a person the wrong way, and a service into a loop of restarts that
asks the exchange with keys that it has refused already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import VirtualClock
from core.sim.server.options import KeyScope, ServerOptions
from core.venues.keys import Keys
from graph.commands import live
from graph.live.assembly import Reach
from graph.live.local import local_wiring
from tests.graph.test_live_start import KEY, OPTIONS, SECRET, Ahead, Start, standing
from tests.support.approved import NOW, approved_month

REFUSED, SURROUNDINGS = 3, 4


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return approved_month(tmp_path_factory.mktemp("approved"))


def nobody_answers(start: Start) -> Reach:
    cert = start.world.cert
    assert cert is not None
    return start.reach(wiring=lambda: local_wiring(1, cert))


CASES: list[tuple[str, int, str, ServerOptions, str, Callable[[Start], Reach]]] = [
    (
        "LIVE-010",
        REFUSED,
        "without the right to withdraw",
        replace(OPTIONS, scope=KeyScope(withdrawals=True)),
        "300",
        Start.reach,
    ),
    ("LIVE-011", REFUSED, "allow futures", replace(OPTIONS, scope=KeyScope(futures=False)), "300", Start.reach),
    ("LIVE-013", SURROUNDINGS, "set the host's clock", OPTIONS, "300", lambda s: s.reach(clock=Ahead(10_000))),
    ("LIVE-014", REFUSED, "compare API_KEY", OPTIONS, "300", lambda s: s.reach(Keys("X" * 64, SECRET))),
    ("LIVE-014", REFUSED, "of one and the same key", OPTIONS, "300", lambda s: s.reach(Keys(KEY, "X" * 64))),
    ("LIVE-015", SURROUNDINGS, "check the network", OPTIONS, "300", nobody_answers),
    ("LIVE-016", REFUSED, "transfer USDT", OPTIONS, "0", Start.reach),
    ("LIVE-019", REFUSED, "set single-asset mode", replace(OPTIONS, multi_assets=True), "300", Start.reach),
]


@pytest.mark.parametrize(("code", "exit_code", "remedy", "options", "wallet", "reach"), CASES)
def test_what_is_wrong_with_an_account_is_told_with_its_own_remedy(
    code: str,
    exit_code: int,
    remedy: str,
    options: ServerOptions,
    wallet: str,
    reach: Callable[[Start], Reach],
    signed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "SystemClock", lambda: VirtualClock(NOW))
    with standing(signed, tmp_path, options, wallet) as start:
        answer, _ = start.run(reach(start))
        error: dict[str, Any] = answer["error"]
        assert (error["code"], answer["code"], "report" in error) == (code, exit_code, False)
        assert remedy in error["help"]
        assert start.untouched
