"""The three recorded data sets through the whole brain, from the command line (issue 2, section 7.2); `make acceptance`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.commands import Said, process, rows

pytestmark = pytest.mark.acceptance

HOUR_SECONDS = 3600.0
RUNS: dict[str, tuple[str, ...]] = {
    "2024": (".", "--symbols", "BTC/USDT:USDT,ETH/USDT:USDT,SOL/USDT:USDT", "--from", "2024-01-01", "--to", "2024-12-30"),
    "crash_2022": ("crash_2022",),
    "month_2023": ("month_2023",),
}
BY_GRAPH = ("--from", "2024-03-01", "--to", "2024-03-08")


def replay(data: Path, state: Path, name: str, *more: str, hash_seed: str = "0") -> Said:
    folder, *flags = RUNS[name]
    arguments = ("paper", "--source", "replay", "--data", str(data / folder), *flags, "--unlock-after", "24h", *more)
    return process(
        *arguments, "--state", str(state), "--json", "--quiet", environ={"PYTHONHASHSEED": hash_seed}, deadline=HOUR_SECONDS
    )


@dataclass
class Replays:
    """Each data set once, when it is first asked for."""

    data: Path
    root: Path
    done: dict[str, Said] = field(default_factory=dict)

    def of(self, name: str) -> Said:
        if name not in self.done:
            self.done[name] = replay(self.data, self.root / name, name)
        return self.done[name]


@pytest.fixture(scope="module")
def replays(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Replays:
    return Replays(shared_data, tmp_path_factory.mktemp("replays"))


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_market_runs_through_without_an_error(name: str, replays: Replays) -> None:
    data = replays.of(name).data
    state = replays.root / name
    assert data["errors"] == 0
    assert data["bars"] > 40_000
    assert data["refusals"]
    assert (data["trades"] > 0) is (name != "month_2023")  # a quiet month in which nothing passes the gates
    assert data["regimes"]["unknown"] == 0
    # every refusal has its arithmetic or its reason on record
    assert rows(state, "SELECT COUNT(*) FROM refusals WHERE message = ''") == [(0,)]
    # what the answer says is what is on record, to the cent
    assert rows(state, "SELECT COUNT(*) FROM trades") == [(data["trades"],)]
    assert rows(state, "SELECT COALESCE(SUM(fee), 0.0) FROM fills")[0][0] == pytest.approx(data["fees"], abs=1e-6)
    assert rows(state, "SELECT hash FROM decisions ORDER BY seq DESC LIMIT 1") == [(data["decisions_hash"],)]


@pytest.mark.parametrize("name", RUNS)
def test_the_same_bars_give_the_same_bytes_whatever_the_hash_seed(name: str, replays: Replays, tmp_path: Path) -> None:
    """G4."""
    first = replays.of(name).data
    again = replay(replays.data, tmp_path / "again", name, hash_seed="4242").data
    assert again | {"session": ""} == first | {"session": ""}


def test_the_compiled_graph_decides_like_the_loop_on_a_week(replays: Replays, tmp_path: Path) -> None:
    by_graph = replay(replays.data, tmp_path / "graph", "2024", *BY_GRAPH, "--engine", "graph").data
    by_loop = replay(replays.data, tmp_path / "loop", "2024", *BY_GRAPH, hash_seed="7").data
    assert by_graph["decisions"] >= 2016
    assert by_graph | {"session": ""} == by_loop | {"session": ""}


def test_in_2024_every_regime_is_seen_and_every_strategy_signals(replays: Replays) -> None:
    """7.2: funding_rev on BTC and ETH; SOL has no basis, so there it abstains."""
    data = replays.of("2024").data
    assert [name for name, n in data["regimes"].items() if n == 0] == ["unknown"]
    assert all(data["signals"].values())
    by_symbol = dict(
        rows(replays.root / "2024", "SELECT symbol, COUNT(*) FROM signals WHERE strategy = 'funding_rev' GROUP BY symbol")
    )
    assert sorted(by_symbol) == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    abstained = rows(
        replays.root / "2024",
        "SELECT DISTINCT code FROM refusals WHERE strategy = 'funding_rev' AND symbol = 'SOL/USDT:USDT'",
    )
    assert ("MISSING_INPUT",) in abstained
    assert data["funding"] != 0.0


def test_in_2023_sol_is_refused_for_want_of_funding(replays: Replays) -> None:
    """X26: a required stream that was never there blocks its symbol, not the others."""
    state = replays.root / "month_2023"
    data = replays.of("month_2023").data
    assert data["refusals"]["STREAM_FUNDING"] > 0
    assert rows(state, "SELECT DISTINCT symbol FROM refusals WHERE code = 'STREAM_FUNDING'") == [("SOL/USDT:USDT",)]
    assert rows(state, "SELECT COUNT(*) FROM orders WHERE symbol = 'SOL/USDT:USDT'") == [(0,)]
    others = rows(state, "SELECT DISTINCT symbol FROM refusals WHERE code NOT LIKE 'STREAM%' ORDER BY symbol")
    assert [row for row in others if row != ("SOL/USDT:USDT",)] == [("BTC/USDT:USDT",), ("ETH/USDT:USDT",)]
