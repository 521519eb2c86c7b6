"""A made session with trades, adds, stop moves and refusals, and everything in it explained once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loguru import logger

from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import DEFAULT_SYMBOLS, SyntheticSource
from core.monitor.reader import StoreReader
from graph.runner import RunOptions
from graph.sessions import Session, find
from graph.why.explain import Explainer
from graph.why.model import Why
from graph.why.records import Records, Subject
from tests.support.run import run_over, short_configuration

REFUSALS_A_CODE = 3


@pytest.fixture(scope="session", autouse=True)
def quiet() -> Iterator[None]:
    """What a run says of each bar takes longer than the bar."""
    for room in ("graph", "core"):
        logger.disable(room)
    yield
    for room in ("graph", "core"):
        logger.enable(room)


@dataclass(frozen=True)
class Explained:
    """A session, its records, and explanations by id."""

    session: Session
    records: Records
    subjects: dict[str, Subject]
    whys: dict[str, Why]
    before: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.session.folder.root

    def of_kind(self, kind: str) -> list[Why]:
        return [why for why in self.whys.values() if why.kind == kind]


def fingerprint(folder: Path) -> dict[str, str]:
    """Name and digest of every file, and when it was changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in files
    }


def record(source: SyntheticSource, folder: Path, bars: int | None = None) -> Session:
    """A session over ``source``."""
    asyncio.run(run_over(source, folder, config=short_configuration(), options=RunOptions(until_bars=bars)))
    return find(str(folder))


def chosen_ids(records: Records, refusals_a_code: int) -> list[str]:
    """Every trade, plan and order, and a few refusals of every code that occurs."""
    sql = "SELECT id FROM trades UNION ALL SELECT id FROM plans UNION ALL SELECT client_id FROM orders"
    ids = [str(name) for (name,) in records.reader.query(sql)]
    told: dict[str, int] = {}
    for name, refusal in records.refusals():
        told[refusal.code.value] = told.get(refusal.code.value, 0) + 1
        if told[refusal.code.value] <= refusals_a_code:
            ids.append(name)
    return ids


def explain_all(session: Session, records: Records, ids: list[str]) -> Explained:
    """Explain ``ids``."""
    before = fingerprint(session.folder.root)
    subjects = {name: records.find(name) for name in ids}
    found = asyncio.run(Explainer(session.reader(), records).many(list(subjects.values())))
    return Explained(session, records, subjects, {why.id: why for why in found}, before)


@pytest.fixture(scope="session")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """800 bars of a made market with three symbols."""
    source = SyntheticSource(DEFAULT_SYMBOLS, seed=7, scenario=Scenario.MIXED)
    session = record(source, tmp_path_factory.mktemp("why") / "mixed", 800)
    records = Records(StoreReader(session.folder.database))
    return explain_all(session, records, chosen_ids(records, REFUSALS_A_CODE))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scenario], Explained]:
    """A short session with a fault in its data, a refusal of every code explained."""
    done: dict[Scenario, Explained] = {}

    def explained_of(scenario: Scenario) -> Explained:
        if scenario not in done:
            source = SyntheticSource(DEFAULT_SYMBOLS, seed=2, scenario=scenario, bars=700, warm_days=60)
            session = record(source, tmp_path_factory.mktemp("why") / scenario.value)
            records = Records(StoreReader(session.folder.database))
            refused = [name for name in chosen_ids(records, 1) if name.startswith("R-")]
            done[scenario] = explain_all(session, records, refused)
        return done[scenario]

    return explained_of
