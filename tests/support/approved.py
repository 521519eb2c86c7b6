"""A month of paper that a person has approved, fabricated: what `brain live` must find before it starts."""

from __future__ import annotations

from pathlib import Path

from configs.live_lock import FORM, Approval, evidence_digest, strategies_digest, write_approval
from configs.loader import load
from core.clock import rfc3339
from graph.readiness import look
from graph.version import source_digest
from tests.support.commands import configs_in
from tests.support.paper_month import END_MS, HOUR, record

NOW = END_MS + HOUR
"""When the month has just ended."""


def approved_month(home: Path) -> Path:
    """Configuration in ``configs``, evidence in ``runs``, all of it signed."""
    folder = configs_in(home / "configs")
    record(home / "runs")
    config = load(folder)
    found = look(home / "runs", config, folder, NOW)
    approval = Approval(
        form=FORM,
        who="a colleague",
        at=rfc3339(NOW),
        reason="a good month",
        governance=config.governance_digest,
        strategies=strategies_digest(config),
        code=source_digest(),
        evidence=evidence_digest(found.sessions),
        sessions=found.sessions,
    )
    write_approval(folder, approval)
    return home
