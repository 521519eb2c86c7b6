"""The folder of a local exchange."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from core.errors import StateError
from graph.exchange_folder import ExchangeFolder, ExchangeMarket

MARKET = ExchangeMarket("synthetic", ("BTC/USDT:USDT",), 7, 1_700_000_000_000, "300.0", "abc")


def test_what_is_played_is_remembered(tmp_path: Path) -> None:
    folder = ExchangeFolder(tmp_path / "deep" / "down")
    assert folder.market() is None
    folder.keep_market(MARKET)
    folder.keep_market(structs.replace(MARKET, seed=None))
    assert ExchangeFolder(folder.root).market() == structs.replace(MARKET, seed=None)


def test_the_time_is_remembered_and_none_is_no_error(tmp_path: Path) -> None:
    folder = ExchangeFolder(tmp_path)
    assert folder.time() == 0
    folder.keep_time(5)
    folder.keep_time(7)
    assert folder.time() == 7
    (tmp_path / "time.txt").write_text("?", encoding="utf-8")
    assert folder.time() == 0


def test_a_damaged_memory_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "market.json").write_text("{", encoding="utf-8")
    with pytest.raises(StateError, match=r"market\.json cannot be read") as error:
        ExchangeFolder(tmp_path).market()
    assert error.value.code == "STATE-004"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StateError, match="can't be made") as error:
        ExchangeFolder(tmp_path / "file" / "below")
    assert error.value.code == "STATE-002"


def test_one_process_at_a_time_holds_it(tmp_path: Path) -> None:
    with ExchangeFolder(tmp_path).held():
        with pytest.raises(StateError, match="another local exchange uses") as error, ExchangeFolder(tmp_path).held():
            pass
        assert error.value.code == "STATE-009"
    with ExchangeFolder(tmp_path).held():
        pass


def test_its_certificate_is_made_once_and_made_again_where_half_of_it_is_gone(tmp_path: Path) -> None:
    folder = ExchangeFolder(tmp_path)
    first = folder.certificate()
    before = first.cert.read_bytes()
    assert folder.certificate() == first
    assert first.cert.read_bytes() == before
    assert isinstance(first.server_context(), ssl.SSLContext)
    first.key.unlink()
    assert replace(folder.certificate()) == first
    assert first.cert.read_bytes() != before


@pytest.mark.parametrize("file", ["exchange-cert.pem", "exchange-key.pem"])
def test_a_full_disk_is_said_and_leaves_no_half_certificate(file: str, tmp_path: Path) -> None:
    """A key that is there and empty would pass for one at the next start."""
    (tmp_path / file).symlink_to("/dev/full")
    folder = ExchangeFolder(tmp_path)
    with pytest.raises(StateError, match="No space left on device") as error:
        folder.certificate()
    assert (error.value.code, error.value.exit_code) == ("STATE-003", 4)
    assert str(tmp_path) in error.value.what
    assert "free some space, then start again with the same --state" in error.value.help
    assert list(tmp_path.iterdir()) == []
    assert folder.certificate().stands_for()


@pytest.mark.parametrize(
    ("taken", "write"),
    [
        ("exchange-cert.pem", lambda folder: folder.certificate()),
        ("market.json", lambda folder: folder.keep_market(MARKET)),
        ("exchange.lock", lambda folder: folder.held().__enter__()),
    ],
    ids=["certificate", "market", "lock"],
)
def test_a_folder_that_cannot_be_written_is_said(taken: str, write: Callable[[ExchangeFolder], object], tmp_path: Path) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(StateError, match="can't be written") as error:
        write(ExchangeFolder(tmp_path))
    assert error.value.code == "STATE-002"
    assert "let this account write there" in error.value.help
