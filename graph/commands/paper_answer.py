"""What ``brain paper`` answers when a run is over: for scripts, and for people."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from core.monitor.telemetry import RunResult
from graph.assembly import Assembly
from graph.commands.common import say_time
from graph.runner import Daemon
from graph.session_dir import SessionDir
from graph.status import verdict


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


def _unlocks(parts: Assembly) -> int:
    """How often a kill-switch was lifted in this session, by a person or by ``--unlock-after``."""
    return int(parts.store.query("SELECT COUNT(*) FROM alerts WHERE code = 'unlocked'")[0][0])


def summary_of(result: RunResult, daemon: Daemon, folder: SessionDir, zone: tzinfo) -> str:
    """The run for people: how it stands, what happened, in money and in R, what was refused, and how to go on."""
    parts, now = daemon.parts, verdict(daemon)
    start, end = result.equity_start or 0.0, result.equity_end or 0.0
    factor = "not assessable" if result.profit_factor is None else f"{result.profit_factor:.2f}"
    won = "not assessable" if result.winrate is None else f"{result.winrate:.1%} of {result.trades - result.scratches} decided"
    refused = ", ".join(f"{code} {n}" for code, n in sorted(result.refusals.items(), key=lambda item: -item[1])) or "none"
    until, held = say_time(parts.clock.now_ms(), zone), ", ".join(parts.context.ledger.positions) or "no open position"
    lines = [
        f"{result.bars} bars ({result.symbol_bars} symbol-bars), {result.decisions} decisions up to {until}",
        f"state     {now}; {held}",
        "signals   " + ", ".join(f"{name} {n}" for name, n in result.signals.items()),
        f"plans     {result.plans} planned, {result.orders} orders, {result.trades} trades ({result.scratches} scratches)",
        f"refused   {refused}",
        f"equity    {start:.2f} -> {end:.2f} USD, worst drawdown {result.max_dd_pct:.2f} %, {result.pnl_r:+.2f} R",
        f"costs     fees {result.fees:.2f}, funding {result.funding:+.2f} USD",
        f"quality   profit factor {factor}, won {won}",
        f"data      books {result.books}, issues {', '.join(f'{k} {n}' for k, n in result.data_issues.items()) or 'none'}",
        f"locks     {result.daily_locks} daily, {result.kill_switches} kill-switch, unlocked {_unlocks(parts)} times",
        f"decisions {parts.recorder.decisions_hash}",
        f"session   {folder.root}",
    ]
    if now.remedy:
        lines.append(f"to do     {now.remedy.replace('DIR', str(folder.root))}")
    return "\n".join(lines)
