"""What a paper run's local exchange refuses before it plays anything, and what it writes beside its account."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.clock import SystemClock
from core.data.sources.base import Source
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import SyntheticSource
from core.errors import StateError
from core.monitor.store import Store
from graph.engines import EngineKind, build_engine
from graph.exchange_folder import ExchangeFolder
from graph.live import paper
from graph.live.assembly import LiveRequest, Reach
from graph.live.local import LOCAL_KEYS
from graph.live.paper import daemon_at_local, daemon_at_real_market
from graph.opening import refuse_other_broker
from graph.session_dir import SessionDir
from tests.core.sim.server.kit import BTC_SWAP, ETH_SWAP, until
from tests.support.commands import paper as brain_paper
from tests.support.commands import short_past
from tests.support.run import EQUITY, short_configuration


def made(seed: int = 7, symbols: tuple[str, ...] = (BTC_SWAP,), scenario: Scenario = Scenario.MIXED) -> SyntheticSource:
    return SyntheticSource(symbols, seed=seed, scenario=scenario)


def request(folder: Path, seed: int = 7, equity: float = EQUITY, scenario: str = "mixed") -> LiveRequest:
    identity = {"seed": str(seed), "scenario": scenario}
    base_tf = made().info.base_tf
    return LiveRequest(short_configuration(), base_tf, SessionDir(folder), equity, identity=identity)


@pytest.fixture
def traded(tmp_path: Path) -> Path:
    """A session's folder whose exchange has played the market of :func:`made`."""
    folder = ExchangeFolder(tmp_path / "session" / "exchange")
    paper._same_market(folder, paper._played(request(tmp_path / "session"), made().info))
    folder.account.write_bytes(b"an account")
    return tmp_path / "session"


async def start(asked: LiveRequest, source: Source | None) -> None:
    """Without a source beside a real market."""
    engine, store = build_engine(EngineKind.DIRECT), Store(asked.folder.database)
    making = (
        daemon_at_real_market(asked, Reach(SystemClock(), LOCAL_KEYS), engine, store)
        if source is None
        else daemon_at_local(asked, source, engine, store)
    )
    try:
        async with making:
            raise AssertionError("it began")
    finally:
        store.close()


@pytest.mark.parametrize(
    ("source", "asked", "said"),
    [
        (made(8), {"seed": 8}, "its seed was 7, now 8"),
        (made(symbols=(ETH_SWAP,)), {}, f"its symbols was {BTC_SWAP}, now {ETH_SWAP}"),
        (made(scenario=Scenario.TREND), {"scenario": "trend"}, "its scenario was mixed, now trend"),
        (made(), {"equity": 1_000.0}, "its equity was 300.0, now 1000.0"),
        (None, {}, "its source was synthetic, now exchange"),
    ],
)
async def test_an_account_meets_no_market_but_its_own(source: Source | None, asked: Any, said: str, traded: Path) -> None:
    """Prices of another would fill what rests there, before anybody looks at the session."""
    with pytest.raises(StateError) as error:
        await start(request(traded, **asked), source)
    assert error.value.code == "STATE-010"
    assert said in error.value.what
    assert (traded / "exchange" / "exchange.db").read_bytes() == b"an account"


def test_a_market_that_never_played_is_no_obstacle(tmp_path: Path) -> None:
    """A first start that failed has decided nothing."""
    folder = ExchangeFolder(tmp_path)
    paper._same_market(folder, paper._played(request(tmp_path), made().info))
    other = paper._played(request(tmp_path, 8), made(8).info)
    paper._same_market(folder, other)
    assert folder.market() == other


async def test_the_exchanges_time_is_written_again_after_a_second_in_which_it_could_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "_KEEP_TIME_S", 0.01)
    folder, draft = ExchangeFolder(tmp_path), tmp_path / "time.tmp"
    draft.mkdir()
    async with paper._kept_time(folder, SystemClock()):
        await asyncio.sleep(0.05)
        assert folder.time() == 0
        draft.rmdir()
        await until(lambda: folder.time() > 0)
        draft.mkdir()  # and an end that cannot write it is an end all the same


@pytest.mark.parametrize(
    ("before", "local", "said"), [(None, True, "inside this process"), ("local", False, "at a local exchange")]
)
def test_a_session_of_another_broker_is_named_as_such(before: str | None, local: bool, said: str, tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "brain.sqlite"), SessionDir(tmp_path)
    refuse_other_broker(store, folder, local=local)
    store.set_meta("source", "synthetic")
    if before:
        store.set_meta("orders_go_to", before)
    refuse_other_broker(store, folder, local=not local)
    with pytest.raises(StateError, match=f"trades {said}") as error:
        refuse_other_broker(store, folder, local=local)
    assert error.value.help == f"go on with --broker {before or 'direct'}, or give another --state DIR"
    store.set_meta("orders_go_to", "venue")
    with pytest.raises(StateError, match="trades live") as error:
        refuse_other_broker(store, folder, local=local)
    assert error.value.help == "give another --state DIR"
    store.close()


@pytest.mark.parametrize(
    ("kept", "real", "said"),
    [
        (None, False, "is gone"),
        (None, True, "is gone"),
        ("market", False, "is gone"),
        ("account", False, "its exchange only up to"),
    ],
)
def test_a_session_whose_exchange_is_gone_or_older_than_itself_is_refused_at_once(
    kept: str | None, real: bool, said: str, tmp_path: Path
) -> None:
    """X32: it would wait for its last bar to come again, for minutes or days, and its positions would be nowhere."""
    session = tmp_path / "session"
    with short_past():
        assert brain_paper(session, bars=3).code == 0
        source = made()
        if kept is not None:
            folder = ExchangeFolder(session / "exchange")
            paper._same_market(folder, paper._played(request(session), source.info))
            if kept == "account":
                folder.account.touch()
                folder.keep_time(source.info.start + 1)
        with pytest.raises(StateError) as error:
            asyncio.run(start(request(session), None if real else source))
    assert (error.value.code, said in error.value.what) == ("STATE-016", True)
    assert str(session / "exchange") in error.value.help
    assert "another --state DIR" in error.value.help
    assert (session / "exchange").exists() == (kept is not None)  # what is put back must not meet an empty folder
