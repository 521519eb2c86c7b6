"""``brain paper`` on the live adapter, over real sockets with TLS (issue 4, point 5), and how it is used wrongly."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import DEADLINE_SECONDS, brain, outside, paper, rows, short_past, soon_warm, wait_until

pytestmark = pytest.mark.untraced

MISUSES = [
    (("--broker", "local", "--speed", "5"), "real time"),
    (("--handover",), "--broker local"),
    (("--source", "exchange", "--broker", "direct"), "local exchange"),
    (("--source", "exchange", "--exchange", "kraken"), "binance"),
    (("--exchange", "binance"), "--source exchange"),
    (("--source", "exchange", "--seed", "3"), "--seed belongs to --source synthetic"),
]


@pytest.mark.parametrize(("arguments", "said"), MISUSES)
def test_flags_that_do_not_go_together_are_refused_before_anything_starts(arguments: tuple[str, ...], said: str) -> None:
    answer = brain("paper", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


@pytest.mark.slow
def test_a_run_over_real_sockets_starts_and_ends_when_asked_to(tmp_path: Path) -> None:
    """F5: the account of the local exchange is in the session's folder."""
    answer = until_started(tmp_path)
    assert answer["ok"], answer
    assert answer["data"]["open_positions"] == 0
    assert (answer["data"]["left_open"], answer["data"]["in_doubt"]) == ({}, [])
    assert (tmp_path / "session" / "exchange" / "exchange.db").is_file()
    meta = dict(rows(tmp_path / "session", "SELECT key, value FROM meta"))
    assert (meta["entry"], meta["slices"]) == ("across", "4")
    assert [meta[name] for name in ("market_reached", "timekeeper", "pace", "orders_go_to")] == [
        "redirected", "virtual", "market", "local",
    ]  # fmt: skip
    (listed,) = brain("sessions", "--json", "--state", str(tmp_path)).answer["data"]["sessions"]
    assert (listed["source"], listed["mode"]) == ("synthetic", "paper")
    assert (listed["bars"] == 0) == (listed["from"] is None)


def test_a_session_of_one_broker_is_not_gone_on_with_at_another(tmp_path: Path) -> None:
    with short_past():
        assert paper(tmp_path / "session", bars=3).code == 0
        other = paper(tmp_path / "session", "--broker", "local", "--speed", "1", bars=6)
    assert other.answer["error"]["code"] == "STATE-010"
    assert "trades inside this process, this run would trade at a local exchange" in other.err
    assert not (tmp_path / "session" / "exchange").exists()


def until_started(tmp_path: Path) -> dict[str, Any]:
    """One run, asked to stop as soon as it has said where it is."""
    log = tmp_path / "said.txt"
    with log.open("w", encoding="utf-8") as said:
        flags = ("--broker", "local", "--slices", "4", "--symbols", "BTC/USDT:USDT", "--json")
        arguments = ("paper", *flags, "--state", str(tmp_path / "session"))
        child = subprocess.Popen(
            soon_warm(*arguments), stdout=subprocess.PIPE, stderr=said, text=True, env=outside(), cwd=tempfile.gettempdir()
        )
        try:
            wait_until(lambda: "in real time" in log.read_text(encoding="utf-8") or child.poll() is not None)
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=DEADLINE_SECONDS)
        finally:
            child.kill()
            child.wait()
    assert "orders to a local exchange in real time, entries across in up to 4 slices" in log.read_text(encoding="utf-8")
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_canaries_are_a_part_of_what_a_session_is(tmp_path: Path) -> None:
    """X35, X43: a session of canaries is not gone on with at full size, nor the other way."""
    with short_past():
        first = paper(tmp_path / "canaries", "--canary", bars=3)
        assert (first.code, first.answer["ok"]) == (0, True)
        whole = paper(tmp_path / "canaries", bars=6)
        assert (whole.code, whole.answer["error"]["code"]) == (4, "STATE-010")
        assert "sizing 'canary' (this run has 'whole')" in whole.err
        assert paper(tmp_path / "canaries", "--canary", bars=6).code == 0
