"""``brain live`` as a process, over real sockets with TLS, at an account of ``brain exchange`` (issue 4, point 6; J5, X32)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.monitor.provenance import Reached, why_not_counted
from graph.evidence import gather
from graph.session_dir import SessionDir
from graph.sessions import Session, openings
from graph.version import source_digest
from tests.e2e.test_exchange_command import running
from tests.support.approved import approved_month
from tests.support.commands import DEADLINE_SECONDS, outside, rows, wait_until
from tests.support.run import configuration

pytestmark = pytest.mark.slow


def life(home: Path, told: dict[str, Any], *flags: str) -> tuple[dict[str, Any], str]:
    """One run, asked to stop once exchange and books agree; its answer and what it said."""
    log = home / "said.txt"
    environ = {"API_KEY": "K" * 64, "API_SECRET": "S" * 64, "XDG_STATE_HOME": str(home / "xdg")}
    port = told["rest"].rpartition(":")[2]
    arguments = (source_digest(), port, told["certificate"], told["api_key"], told["secret"], str(home), *flags)
    with log.open("w", encoding="utf-8") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.live_process", *arguments],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=outside(environ),
            cwd=home,
        )
        try:
            wait_until(lambda: "exchange and books agree" in log.read_text(encoding="utf-8") or child.poll() is not None)
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=DEADLINE_SECONDS)
        finally:
            child.kill()
            child.wait()
    answer: dict[str, Any] = json.loads(out)
    return answer, log.read_text(encoding="utf-8")


def test_approved_it_trades_goes_on_and_is_no_evidence(tmp_path: Path) -> None:
    """The whole way through the command: demands, account, agreement, a stop; then the same folder again.

    X32: of the session's provenance one word alone keeps it from counting: that it was led to the local exchange.
    """
    home = approved_month(tmp_path / "home")
    with running(tmp_path / "exchange", "--equity", "250") as market:
        answer, said = life(home, market.told, "--full-size")
        assert answer["ok"], (answer, said)
        assert "LIVE at Binance USD-M with 250.00 USD, entries of full size" in said
        data = answer["data"]
        assert (data["missing"], data["open_positions"], data["left_open"], data["sizing"]) == ([], 0, {}, "whole")
        again, said = life(home, market.told, "--full-size")
        assert again["ok"], (again, said)
    session = home / "live"
    recovered = rows(session, "SELECT level FROM alerts WHERE code = 'recovered'")
    assert recovered == [("info",), ("info",)]
    (found,) = gather(session, configuration())
    assert found.why_not is not None
    assert "market_reached redirected" in found.why_not
    (opening, *_) = openings(Session(SessionDir.at(session)).reader(), 0)
    led_right = {**opening.facts, "market_reached": Reached.VENUE}
    assert why_not_counted(str(opening.source["name"]), led_right) is None
