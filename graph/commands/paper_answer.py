"""What ``brain paper`` answers when a run is over: for scripts, and for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from core.monitor.telemetry import MODELLED, RECORDED, RunResult
from graph.assembly import Assembly
from graph.commands.common import say_time
from graph.console import Answer
from graph.runner import Daemon
from graph.session_dir import SessionDir
from graph.status import outside, verdict

if TYPE_CHECKING:
    from graph.commands.drive import Driven


_BOOKS = {RECORDED: "of the source", MODELLED: MODELLED}


def data_of(result: RunResult, daemon: Daemon, folder: SessionDir) -> dict[str, Any]:
    """The run for scripts."""
    parts = daemon.parts
    return {
        **result.to_dict(),
        "state": parts.context.governor.view.state.value,
        "open_positions": len(parts.context.ledger.positions),
        "unlocks": _unlocks(parts),
        "governance_digest": parts.context.config.governance_digest,
        "decisions_hash": parts.recorder.decisions_hash,
        "session": str(folder.root),
    }


def _bars(result: RunResult) -> str:
    return f"{result.bars} bars ({result.symbol_bars} symbol-bars), {result.decisions} decisions"


def answer_at_exchange(driven: Driven, folder: SessionDir, zone: tzinfo, more: Mapping[str, Any] | None = None) -> Answer:
    """The answer of a run at an exchange, on paper as live: also what stays there. ``more``: for scripts."""
    result, daemon = driven.result, driven.daemon
    data = {**data_of(result, daemon, folder), **(more or {}), "left_open": daemon.left, "in_doubt": daemon.unknown}
    return Answer(data, summary_of(result, daemon, folder, zone), driven.code)


def _unlocks(parts: Assembly) -> int:
    """How often a kill-switch was lifted in this session, by a person or by ``--unlock-after``."""
    return int(parts.store.query("SELECT COUNT(*) FROM alerts WHERE code = 'unlocked'")[0][0])


def summary_of(result: RunResult, daemon: Daemon, folder: SessionDir, zone: tzinfo) -> str:
    """The run for people: how it stands, what happened, in money and in R, what was refused, and how to go on."""
    parts, now = daemon.parts, verdict(daemon)
    start = parts.context.ledger.starting_equity if result.equity_start is None else result.equity_start
    end = start if result.equity_end is None else result.equity_end
    factor = "not assessable" if result.profit_factor is None else f"{result.profit_factor:.2f}"
    won = "not assessable" if result.winrate is None else f"{result.winrate:.1%} of {result.trades - result.scratches} decided"
    refused = ", ".join(f"{code} {n}" for code, n in sorted(result.refusals.items(), key=lambda item: -item[1])) or "none"
    now_ms, ours = parts.clock.now_ms(), ", ".join(parts.context.ledger.positions)
    held = "; ".join(text for text in (ours, outside(daemon)) if text) or "no open position"
    issues = ", ".join(f"{kind} {n}" for kind, n in result.data_issues.items()) or "none"
    lines = [
        f"{_bars(result)} up to {say_time(now_ms, zone)}" if now_ms else "no bar yet",
        f"state     {now}; {held}",
        "signals   " + ", ".join(f"{name} {n}" for name, n in result.signals.items()),
        f"plans     {result.plans} planned, {result.orders} orders, {result.trades} trades ({result.scratches} scratches)",
        f"refused   {refused}",
        f"equity    {start:.2f} -> {end:.2f} USD, worst drawdown {result.max_dd_pct:.2f} %, {result.pnl_r:+.2f} R",
        f"costs     fees {result.fees:.2f}, funding {result.funding:+.2f} USD",
        f"quality   profit factor {factor}, won {won}",
        f"data      books {_BOOKS[result.books]}, issues {issues}",
        f"locks     {result.daily_locks} daily, {result.kill_switches} kill-switch, unlocked {_unlocks(parts)} times",
        f"decisions {parts.recorder.decisions_hash}",
        f"session   {folder.root}",
    ]
    if now.remedy:
        lines.append(f"to do     {now.remedy.replace('DIR', str(folder.root))}")
    return "\n".join(lines)
