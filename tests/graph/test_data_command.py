"""``brain data``: what a person or a script sees of a download and of a check."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from core.data.exchange.download import held
from core.data.exchange.settings import ExchangeSettings
from core.data.sources.folder import Kind, read_columns
from core.exec.instrument import venue_id
from core.venues.budget import Budget
from graph.commands.data import ADDRESS_MOST, WEIGHT_PER_MINUTE
from tests.core.data.exchange.kit import BTC, ETH, H1, START, record, write
from tests.e2e.test_exchange_command import running
from tests.support.commands import brain

DAY = 86_400_000
ASK = ("data", "fetch", "--symbols", "BTC/USDT:USDT", "--from", "2026-01-03", "--to", "2026-01-04T23:00")


@pytest.mark.slow
def test_a_download_from_a_local_exchange_is_resumed_checked_and_left_alone(tmp_path: Path) -> None:
    """B7: the command as a person gives it, over real sockets."""
    market = record(tmp_path / "market", (BTC, ETH), 60)
    for symbol in (BTC, ETH):  # the exchange begins where the finest bars do: all that is older is its past
        fine = read_columns(market / "perp_1m" / f"{venue_id(symbol)}.parquet", Kind.PERP, Kind.PERP.columns)
        write(market, "perp_1m", symbol, {name: column[fine["ts"] >= START] for name, column in fine.items()})
    out = str(tmp_path / "out")
    with running(tmp_path / "account", "--http", "--data", str(market)) as exchange:
        local = ("--tf", "1h", "--out", out, "--address", exchange.told["rest"])
        said = brain(*ASK, *local, "--json")
        assert said.code == 0, said.err
        assert said.data["files"] == {
            "perp_1h/BTCUSDT.parquet": 47,
            "funding/BTCUSDT.parquet": 6,
            "mark_1h/BTCUSDT.parquet": 47,
            "spot_1h/BTCUSDT.parquet": 47,
        }
        assert "fetching from binanceusdm: " in said.err
        later = ("--from", "2999-01-01", "--to", "2999-01-02", *local[:2], "--out", f"{out}-later", *local[4:])
        nothing = brain(*ASK, *later, "--json")
        assert (nothing.code, nothing.answer["error"]["code"]) == (4, "DATA-045")
        assert "has nothing of what was asked for since 2999-01-01 00:00: no recording" in nothing.answer["error"]["what"]
        assert "brain data check" not in nothing.out
        again = brain(*ASK, *local, "--quiet")
        assert (again.code, again.err) == (0, "")
        assert "perp_1h/BTCUSDT.parquet" in again.out
    checked = brain("data", "check", out)
    assert checked.code == 0, checked.out
    assert checked.out.endswith("4 files: nothing is wrong\n")
    ts = read_columns(Path(out) / "mark_1h" / "BTCUSDT.parquet", Kind.MARK, ("ts",))["ts"]
    assert (int(ts[0]), int(ts[-1])) == (START - 2 * DAY, START - 2 * H1.ms)


def test_a_folder_with_faults_is_told_with_the_exit_code_and_in_json(tmp_path: Path) -> None:
    ones = {name: [1.0, 1.0] for name in ("open", "high", "low", "close", "volume")}
    write(tmp_path, "perp_1h", BTC, {"ts": [0, 3 * H1.ms], **ones})
    people = brain("data", "check", str(tmp_path))
    assert people.code == 1
    assert "WRONG  1 holes in time; 2 missing in all, most (2) after 1970-01-01 00:00" in people.out
    said = brain("data", "check", str(tmp_path), "--json")
    assert (said.code, said.answer["schema"], said.answer["data"]["sound"]) == (1, "brain.data.check/1", False)
    (finding,) = said.answer["data"]["files"]
    assert (finding["gaps"], finding["missing"], finding["last"]) == (1, 2, "1970-01-01T03:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--exchange", "okx", "--address", "http://127.0.0.1:1"), "which speaks Binance, not okx"),
        (("--exchange", "mtgox"), "--exchange was 'mtgox', expected one of binance"),
        (("--tf", "7m"), "--tf was '7m', expected some of 1m, 5m"),
        (("--to", "2025-01-01"), "expected a time after --from"),
        (("--symbols", "what"), "symbol was 'what'"),
        (("--from", "2999-01-01", "--to", "2999-02-01"), "--from was 2999-01-01, expected a time that is over"),
    ],
)
def test_misuse_is_told_before_anything_is_asked_for(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    said = brain(*ASK, *arguments, "--out", str(tmp_path / "out"))
    assert said.code == 2
    assert words in said.err
    assert not (tmp_path / "out").exists()


def test_of_two_downloads_into_one_folder_the_second_is_refused_and_breaks_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with held(out):
        said = brain(*ASK, "--out", str(out), "--address", "http://127.0.0.1:1", "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "DATA-043")
    assert [path.suffix for path in out.iterdir()] == [".lock"]


def test_a_venue_that_cannot_be_reached_is_told_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = brain(*ASK, "--out", str(tmp_path / "out"), "--address", address, "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "DATA-040")
    assert "binanceusdm cannot be used" in said.answer["error"]["what"]
    help_text = said.answer["error"]["help"]
    assert help_text.startswith(f"is a local exchange running at {address}? brain exchange --http starts one")
    assert "status page" not in help_text


def test_a_folder_that_is_not_there_gets_advice_that_the_command_can_follow(tmp_path: Path) -> None:
    said = brain("data", "check", str(tmp_path / "nope"), "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "DATA-010")
    assert f"data folder {tmp_path / 'nope'} does not exist" in said.answer["error"]["what"]
    assert "--data" not in said.answer["error"]["help"]
    assert "brain data fetch makes one" in said.answer["error"]["help"]


def test_data_orders_and_a_download_beside_them_fit_into_what_the_venue_allows_to_an_address() -> None:
    """B7: each has its own budget, and each waits for the others by the venue's own count."""
    data, orders, fetch = ExchangeSettings().weight_per_minute, Budget().limit, WEIGHT_PER_MINUTE
    assert data + orders + fetch <= 2_400
    assert ADDRESS_MOST < Budget().address_most < 2_400 - Budget().reserve
