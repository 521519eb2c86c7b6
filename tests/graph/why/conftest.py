"""Made sessions with trades, adds, stop moves, locks and refusals, and everything in them explained once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from loguru import logger

from configs.validators import Configuration
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import DEFAULT_SYMBOLS, SyntheticSource
from core.monitor.reader import StoreReader
from core.monitor.schema import PLAN
from core.monitor.store import Store
from core.sim.exchange import SimExchange
from core.types import Plan
from graph import assembly, journaling
from graph.assembly import assemble
from graph.engines import EngineKind, build_engine
from graph.journaling import open_journal
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.sessions import Session, find
from graph.why.explain import Explainer
from graph.why.model import Why
from graph.why.records import Records, Subject
from tests.graph.why.witness import Facts, witness
from tests.support.run import short_configuration
from tests.support.tracing import untraced

REFUSALS_A_CODE = 3
STATE_EVERY = 50
"""Bars between two states, few so that any bar is soon stood at."""


@contextmanager
def quietly() -> Iterator[None]:
    """What a run says of each bar takes longer than the bar."""
    for room in ("graph", "core"):
        logger.disable(room)
    try:
        yield
    finally:
        for room in ("graph", "core"):
            logger.enable(room)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    with quietly():
        yield


@dataclass(frozen=True)
class Explained:
    """A session, its records, explanations by id, and what the bars looked like to somebody else."""

    session: Session
    records: Records
    subjects: dict[str, Subject]
    whys: dict[str, Why]
    before: dict[str, str]
    facts: dict[int, Facts] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.session.folder.root

    def of_kind(self, kind: str) -> list[Why]:
        return [why for why in self.whys.values() if why.kind == kind]

    def refused(self, code: str, stage: str) -> list[Why]:
        """Explained refusals of ``code`` at ``stage``."""
        own = {name: one.refusal for name, one in self.subjects.items() if one.kind.value == "refusal"}
        return [self.whys[name] for name, one in own.items() if one is not None and (one.code, one.stage) == (code, stage)]

    def plans_at(self, ts: int) -> list[Plan]:
        """Plans that were admitted on the bar at ``ts``."""
        names = ", ".join(PLAN.names)
        rows = self.records.reader.query(f"SELECT {names} FROM plans WHERE ts = ? ORDER BY rowid", (ts,))  # noqa: S608 - constants
        return [PLAN.decode(row) for row in rows]


def fingerprint(folder: Path) -> dict[str, str]:
    """Name and digest of every file, and when it was changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in files
    }


@dataclass(frozen=True)
class Made:
    """How a session is made: 5m bars of three made symbols, and limits that are not the usual ones."""

    scenario: Scenario
    seed: int
    bars: int
    equity: float = 300.0
    warm_days: int = 60
    limits: Mapping[str, float] = field(default_factory=dict)
    exchange: type[SimExchange] = SimExchange

    @property
    def configuration(self) -> Configuration:
        usual = short_configuration()
        return usual.model_copy(update={"governance": usual.governance.model_copy(update=dict(self.limits))})

    def record(self, folder: Path) -> Session:
        with untraced(), quietly(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(journaling, "STATE_EVERY", STATE_EVERY)
            patch.setattr(assembly, "SimExchange", self.exchange)
            asyncio.run(self._run(folder))
        return find(str(folder))

    async def _run(self, folder: Path) -> None:
        source = SyntheticSource(
            DEFAULT_SYMBOLS, seed=self.seed, scenario=self.scenario, bars=self.bars, warm_days=self.warm_days
        )
        place = SessionDir(folder)
        store = Store(place.database)
        parts = assemble(self.configuration, source, store, self.equity, open_journal(place.journal, store))
        try:
            await Daemon(parts, build_engine(EngineKind.DIRECT), place, RunOptions()).run()
        finally:
            store.close()


_TOGETHER = {"correlation_block_enter": 0.05, "correlation_block_leave": 0.01, "correlation_limit": 0.05}
USUAL = Made(Scenario.MIXED, 7, 800)
SPECIAL = {
    "day lock": Made(Scenario.GAP, 1, 500, 10_000.0),
    "kill switch": Made(Scenario.TREND, 2, 260, 10_000.0, limits={"kill_switch_drawdown_72h": 0.6, "max_daily_loss_pct": 0.6}),
    "all together": Made(Scenario.TREND, 8, 300, 10_000.0, 120, _TOGETHER),
    "owned on the bar": Made(Scenario.TREND, 5, 780, 10_000.0, 120, _TOGETHER),
    "unknown correlation": Made(Scenario.GIVEBACK, 4, 760, 10_000.0),
    "no funding": Made(Scenario.LOST_FUNDING, 1, 520, 10_000.0),
    "not filled": Made(Scenario.MIXED, 7, 500, 10_000.0, limits={"entry_cap_pct": 0.001}),
}
"""Sessions in which something happens that the usual one does not have."""


def chosen_ids(records: Records, refusals_a_code: int, *, all_orders: bool = True) -> list[str]:
    """Every trade, plan and order, and a few refusals of every code and stage that occurs."""
    sql = "SELECT id FROM trades UNION ALL SELECT id FROM plans UNION ALL SELECT client_id FROM orders"
    ids = [str(name) for (name,) in records.reader.query(sql)] if all_orders else []
    told: dict[tuple[str, str], int] = {}
    for name, refusal in records.refusals():
        kind = (refusal.code.value, refusal.stage)
        told[kind] = told.get(kind, 0) + 1
        if told[kind] <= refusals_a_code:
            ids.append(name)
    return ids


def explain_all(session: Session, records: Records, ids: list[str]) -> Explained:
    """Explain ``ids``."""
    before = fingerprint(session.folder.root)
    subjects = {name: records.find(name) for name in ids}
    found = asyncio.run(Explainer(session.reader(), records).many(list(subjects.values())))
    with untraced(), quietly():
        facts = witness(session, records, sorted({subject.ts for subject in subjects.values()}))
    return Explained(session, records, subjects, {why.id: why for why in found}, before, facts)


@pytest.fixture(scope="session")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """800 bars of a made market with three symbols; what explains it is counted where single things are explained."""
    session = USUAL.record(tmp_path_factory.mktemp("why") / "mixed")
    records = Records(StoreReader(session.folder.database))
    with untraced():
        return explain_all(session, records, chosen_ids(records, REFUSALS_A_CODE))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scenario], Explained]:
    """A short session with a fault in its data, a refusal of every code explained."""
    done: dict[Scenario, Explained] = {}

    def explained_of(scenario: Scenario) -> Explained:
        if scenario not in done:
            session = Made(scenario, 2, 700).record(tmp_path_factory.mktemp("why") / scenario.value)
            records = Records(StoreReader(session.folder.database))
            with untraced():
                done[scenario] = explain_all(session, records, chosen_ids(records, 1, all_orders=False))
        return done[scenario]

    return explained_of


@pytest.fixture(scope="session")
def special(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Explained]:
    """A session of :data:`SPECIAL`; a refusal of every code and stage, every add and every exit order explained."""
    done: dict[str, Explained] = {}

    def explained_of(name: str) -> Explained:
        if name not in done:
            session = SPECIAL[name].record(tmp_path_factory.mktemp("special") / name.replace(" ", "_"))
            records = Records(StoreReader(session.folder.database))
            sql = (
                "SELECT id FROM plans WHERE kind = 'add' UNION ALL "
                "SELECT client_id FROM orders WHERE purpose = 'exit' OR reason = 'joint_stop'"
            )
            ids = [str(row[0]) for row in records.reader.query(sql)]
            done[name] = explain_all(session, records, [*ids, *chosen_ids(records, 1, all_orders=False)])
        return done[name]

    return explained_of
