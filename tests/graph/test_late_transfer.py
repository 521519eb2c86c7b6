"""What counted as a result and turns out to be the owner's own is taken back from every limit, and said (X11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.journal.records import Word
from graph.engines import EngineKind, build_engine
from graph.run import Run
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.words import WordKind
from tests.graph.test_rerun import won
from tests.support.run import EQUITY, assembled, short_configuration

BAR = 300_000


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    parts = assembled(won(), tmp_path, short_configuration())
    made = Daemon(parts, build_engine(EngineKind.DIRECT), SessionDir(tmp_path), RunOptions())._run
    made.context.governor.on_bar(BAR, EQUITY)
    made.parts.telemetry.on_equity(EQUITY)
    yield made
    parts.store.close()


def unexplained(run: Run, usd: float, ref: str = str(2 * BAR)) -> None:
    run.hear(Word(BAR, WordKind.UNEXPLAINED, text=str(usd), ref=ref))
    run.context.governor.on_bar(2 * BAR, EQUITY + usd)
    run.parts.telemetry.on_equity(EQUITY + usd)


def listed(run: Run, usd: float) -> str:
    run.hear(Word(2 * BAR, WordKind.LATE_TRANSFER, text=str(usd), ref=str(2 * BAR)))
    run.parts.store.commit()
    ((message,),) = run.parts.store.query("SELECT message FROM alerts WHERE code = 'late_transfer'")
    return str(message)


def test_a_loss_that_was_a_withdrawal_is_in_no_limit_any_more_and_its_locks_are_named(run: Run) -> None:
    unexplained(run, -EQUITY / 2)
    wallet = run.context.ledger.wallet
    text = f"{EQUITY / 2:.2f} USD that counted as a loss were taken out: they are in no limit any more"
    assert listed(run, -EQUITY / 2) == f"{text}; still set: the day's lock, until midnight, the kill-switch, until brain unlock"
    view = run.context.governor.view
    assert (view.equity, view.dd_72h_pct, view.day_pnl_pct) == (EQUITY / 2, 0.0, 0.0)
    assert run.context.ledger.wallet == wallet
    assert run.parts.telemetry.drawdown_pct == 0.0


def test_a_gain_that_was_paid_in_is_none(run: Run) -> None:
    unexplained(run, EQUITY)
    assert run.context.governor.view.day_pnl_pct == pytest.approx(100.0)
    assert listed(run, EQUITY) == f"{EQUITY:.2f} USD that counted as a gain were paid in: they are in no limit any more"
    assert run.context.governor.view.day_pnl_pct == 0.0


def test_what_an_older_record_took_over_without_a_time_moves_none(run: Run) -> None:
    unexplained(run, -1.0, ref="")
    assert [run.context.ledger.counted_with(ts) for ts in (1, BAR)] == [None, None]
