"""Each health gate pauses entries while its cause lasts, says so, and lets go (E7, B4, B5, X26, X27; issue 2, section 7.3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data.sources.scenarios import EVENT_BAR
from tests.support.commands import (
    SOON_WARM,
    alerts,
    paper,
    refused,
    rows,
    short_configs,
    short_past,
)

BARS = 720
LAST = "SOL/USDT:USDT"
GATES = [
    # scenario, code, bars after the scenario's event within which the gate closes, for the last symbol only
    ("clock_drift", "CLOCK_DRIFT", 12, False),
    ("dead_feed", "STREAM_CANDLES", 4, False),
    ("dead_feed", "CANDLE_INTEGRITY", 40, False),
    ("dead_symbol", "STREAM_CANDLES", 4, True),
    ("dead_symbol", "CANDLE_INTEGRITY", 64, True),
    ("lost_funding", "STREAM_FUNDING", 100, False),
    ("lost_book", "STREAM_BOOK", 4, False),
    ("gap", "CANDLE_INTEGRITY", 6, False),
    ("bad_bars", "CANDLE_INTEGRITY", 100, None),
]


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    with short_past(SOON_WARM):
        yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sessions by scenario, each made when it is first asked for."""
    configs = short_configs(tmp_path_factory.mktemp("health") / "configs")

    class Sessions(dict[str, Path]):
        def __missing__(self, scenario: str) -> Path:
            state = tmp_path_factory.mktemp(scenario)
            assert paper(state, "--scenario", scenario, "--configs", str(configs), bars=BARS).data["bars"] == BARS
            self[scenario] = state
            return state

    return Sessions()


def spans(state: Path, code: str, symbol: str = "") -> list[tuple[int, int]]:
    """Bars [begin, end) during which the gate was closed, as its alerts tell; the last end may be the run's."""
    closing, opening = ("blocked", "unblocked") if symbol else ("paused", "resumed")
    said = [(seq, name) for seq, name, text in alerts(state) if code in text and symbol in text and name in {closing, opening}]
    begins = [seq for seq, name in said if name == closing]
    ends = [seq for seq, name in said if name == opening]
    return list(zip(begins, [*ends, BARS][: len(begins)], strict=True))


@pytest.mark.parametrize(("scenario", "code", "within", "last_only"), GATES, ids=[f"{g[0]} {g[1]}" for g in GATES])
def test_a_gate_closes_with_its_cause_says_so_and_opens_again(
    scenario: str, code: str, within: int, last_only: bool | None, ran: dict[str, Path]
) -> None:
    state = ran[scenario]
    if last_only is None:  # the trouble goes from symbol to symbol
        found = [span for symbol in ("BTC", "ETH", "SOL") for span in spans(state, code, symbol)]
    else:
        found = spans(state, code, LAST if last_only else "")
    assert found
    begin, end = min(found)
    assert EVENT_BAR <= begin <= EVENT_BAR + within
    assert begin < end < BARS
    levels = rows(state, "SELECT DISTINCT level FROM alerts WHERE code IN ('paused', 'blocked')")
    assert levels == [("warning",)]


@pytest.mark.parametrize("scenario", list(dict.fromkeys(gate[0] for gate in GATES)))
def test_entries_are_refused_with_the_code_of_the_gate_while_it_is_closed_and_only_then(
    scenario: str, ran: dict[str, Path]
) -> None:
    state = ran[scenario]
    codes = [gate[1] for gate in GATES if gate[0] == scenario]
    refusals = {code: refused(state, code) for code in codes}
    assert any(refusals.values()), "no signal fell into the time of the fault: choose another seed"
    for code, bars in refusals.items():
        closed = [span for symbol in ("", "BTC/", "ETH/", "SOL/") for span in spans(state, code, symbol)]
        # an alert stands under the number of the decision that follows it
        assert all(any(begin - 1 <= bar < end for begin, end in closed) for bar in bars), code
    for first, last in [span for code in codes for span in spans(state, code)]:
        sql = "SELECT COUNT(*) FROM plans WHERE seq >= ? AND seq < ?"
        assert rows(state, sql, first, last - 1) == [(0,)]


@pytest.mark.parametrize("scenario", list(dict.fromkeys(gate[0] for gate in GATES)))
def test_trading_goes_on_after_the_fault(scenario: str, ran: dict[str, Path]) -> None:
    state = ran[scenario]
    end = max(seq for seq, name, _ in alerts(state) if name in {"resumed", "unblocked"})
    later = rows(state, "SELECT seq, code FROM refusals WHERE seq >= ?", end)
    gates = {gate[1] for gate in GATES}
    assert not gates & {code for _, code in later}
    signals = rows(state, "SELECT COUNT(*) FROM signals WHERE seq >= ?", end)
    assert signals[0][0] > 0
    # exits were managed all the while: no bar went without a decision
    assert rows(state, "SELECT COUNT(*), MAX(seq) + 1 FROM decisions")[0][0] >= BARS


def test_only_the_symbol_without_candles_is_blocked(ran: dict[str, Path]) -> None:
    """X26: a missing stream blocks that symbol; loss on all symbols pauses the system."""
    names = {name for _, name, _ in alerts(ran["dead_symbol"]) if name in {"paused", "blocked"}}
    assert names == {"blocked"}
    assert all(LAST in text for _, name, text in alerts(ran["dead_symbol"]) if name == "blocked")
    assert {name for _, name, _ in alerts(ran["dead_feed"]) if name in {"paused", "blocked"}} == {"paused"}


def test_the_answer_counts_what_a_person_should_look_at(ran: dict[str, Path]) -> None:
    loud = rows(ran["lost_book"], "SELECT COUNT(*) FROM alerts WHERE level <> 'info'")[0][0]
    assert loud >= 1
