"""A small recorded session in which every agent has work, research too."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.validators import Governance
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import SyntheticSource
from core.journal.records import State
from core.strategies.quality import SelectionQuality
from graph import journaling, runner
from graph.engines import EngineKind
from graph.run import Run
from graph.sessions import Session, find
from tests.support.run import Ran, run_over, short_configuration
from tests.support.tracing import untraced

BTC, SOL = "BTC/USDT:USDT", "SOL/USDT:USDT"


def _easily_worried(patch: pytest.MonkeyPatch) -> None:
    """Two trades of which one lost tighten the selection, so that a short session asks research for something."""
    make = SelectionQuality.__init__

    def short_window(self: SelectionQuality, governance: Governance) -> None:
        make(self, governance)
        self._wins, self._tighten_below = deque(maxlen=2), 51.0

    patch.setattr(SelectionQuality, "__init__", short_window)


@pytest.fixture(autouse=True)
def easily_worried(monkeypatch: pytest.MonkeyPatch) -> None:
    _easily_worried(monkeypatch)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """650 bars of a made market."""
    source = SyntheticSource((BTC, SOL), bars=650, scenario=Scenario.MIXED, warm_days=60, seed=7)
    with pytest.MonkeyPatch.context() as patch, untraced():
        _easily_worried(patch)
        return asyncio.run(run_over(source, tmp_path_factory.mktemp("recorded") / "made", config=short_configuration()))


@pytest.fixture(scope="session")
def in_pieces(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The same bars in segments of 100, with a state every 16, the second of each a whole one."""
    source = SyntheticSource((BTC, SOL), bars=650, scenario=Scenario.MIXED, warm_days=60, seed=7)
    keep = Run.record

    def now_and_then_whole(run: Run, *, whole: bool) -> State:
        return keep(run, whole=whole or run.bars % 100 == 32)

    with pytest.MonkeyPatch.context() as patch, untraced():
        _easily_worried(patch)
        patch.setattr(journaling, "SEGMENT_BARS", 100)
        patch.setattr(journaling, "STATE_EVERY", 16)
        patch.setattr(runner, "COMMIT_EVERY", 4)
        patch.setattr(Run, "record", now_and_then_whole)
        folder = tmp_path_factory.mktemp("recorded") / "pieces"
        asyncio.run(run_over(source, folder, config=short_configuration()))
    return find(str(folder))


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """4,300 bars of one symbol, among them a green bonus that comes and goes."""
    source = SyntheticSource((BTC,), bars=4_300, scenario=Scenario.MIXED, warm_days=60, seed=7)
    folder = tmp_path_factory.mktemp("recorded") / "long"
    with pytest.MonkeyPatch.context() as patch, untraced():
        _easily_worried(patch)
        asyncio.run(run_over(source, folder, engine=EngineKind.DIRECT, config=short_configuration()))
    return find(str(folder))


@pytest.fixture(scope="session")
def session(recorded: Ran) -> Session:
    return find(str(recorded.folder.root))


@pytest.fixture
def fingerprint(session: Session) -> Callable[[], dict[str, str]]:
    """Name and digest of every file of the session's folder, and when it was changed."""

    def take() -> dict[str, str]:
        root = Path(session.folder.root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {
            str(path.relative_to(root)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
            for path in files
        }

    return take
