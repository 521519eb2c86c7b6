"""Reads the sessions on disk as evidence for trading live (J5, X32): what each says, and why one does not count.

Nothing is believed that the journal does not bear out: every byte of it is checked, and the records against it, before a
session counts. A session's folder is only read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from configs.lock import digest_of
from configs.validators import Configuration
from core.errors import StateError
from core.journal.reader import JournalReader
from core.journal.records import BatchIn, Opening
from core.monitor.paper_sessions import PaperSession, Span, gate_turn, spans_up, starts_of
from core.monitor.provenance import why_not_counted
from core.monitor.reader import StoreReader
from core.monitor.schema import ALERT, Alert, AlertLevel
from core.risk.canary import Sizing
from graph.identity import Identity
from graph.opening import entering_of, equity_of, info_of, sizing_of
from graph.sessions import Session, find_all, openings
from graph.soundness import OnBars, inspect, records_of

_FROZEN = ("governance_digest", "strategies.yaml", "enable_map.yaml")
"""Facts of a session that must be those of now. Another list of symbols, or another spread allowed, is another market and not
another rule; blackouts are reviewed all the time."""


def gather(
    root: Path | None, config: Configuration, approved: Mapping[str, int] | None = None, on_bars: OnBars = lambda _: None
) -> tuple[PaperSession, ...]:
    """What every session in ``root`` (default: ``var/runs``) says, by name.

    Args:
        root: a folder of sessions, or of one.
        config: what holds now.
        approved: sessions of an approval, with the decision up to which each was approved.
        on_bars: told of every bar that was looked at.
    """
    return tuple(paper_session(session, config, (approved or {}).get(session.name), on_bars) for session in find_all(root))


def paper_session(
    session: Session, config: Configuration, approved_seq: int | None = None, on_bars: OnBars = lambda _: None
) -> PaperSession:
    """What one session says."""
    try:
        reader = session.reader()
        said = openings(reader, reader.segments[0].first_bar)
    except StateError as error:
        return PaperSession(session.name, error.what)
    why_not = next((why for opening in said if (why := _not_wall_clock(opening)) is not None), None)
    if why_not is not None:  # most are replays and made markets: they need not be read
        return PaperSession(session.name, why_not)
    try:
        return _read(session, reader, said, _why_not_now(session, said, config, on_bars), approved_seq)
    except StateError as error:
        return PaperSession(session.name, error.what, wall_clock=True)


def _not_wall_clock(opening: Opening) -> str | None:
    return why_not_counted(str(opening.source.get("name", "")), opening.facts)


def _why_not_now(session: Session, said: tuple[Opening, ...], config: Configuration, on_bars: OnBars) -> str | None:
    """Why a wall-clock session does not count all the same: it is damaged, or of other rules."""
    for opening in said:
        if (why := _other_rules(opening, config)) is not None:
            return why
    found = inspect(session, on_bars)
    if found.sound:
        return None
    damage = found.verdict.damage
    return (
        f"its journal is damaged: {damage}"
        if damage is not None and not damage.torn
        else f"its records are not sound: {found.records}"
    )


def _other_rules(opening: Opening, config: Configuration) -> str | None:
    if sizing_of(opening.facts) is not Sizing.WHOLE:
        return "it traded canaries: their drawdown says nothing of whole entries (X36)"
    try:
        now = Identity(info_of(opening), config, {}).facts
    except KeyError as error:
        return f"it trades {error.args[0]}, which is not configured any more"
    other = [name for name in _FROZEN if opening.facts.get(name) != now[name]]
    return f"it was recorded under other rules: {', '.join(other)}" if other else None


def _read(
    session: Session, reader: JournalReader, said: tuple[Opening, ...], why_not: str | None, approved_seq: int | None
) -> PaperSession:
    opening = said[-1]
    info, codes = info_of(opening), {one.code.get("source", "") for one in said}
    up = _up(reader, min(tf.ms for tf in info.base_tf.values()))
    since = up[0][0] if up and reader.segments[0].first_bar else 0  # records of bars that were trimmed away prove nothing
    with records_of(session.folder) as records:
        alerts = _alerts(records, since)
        seq = records.last_seq()
        return PaperSession(
            name=session.name,
            why_not=why_not,
            wall_clock=True,
            code=codes.pop() if len(codes) == 1 else "",
            symbols=info.symbols,
            up=up,
            start_equity=equity_of(opening),
            entering=entering_of(opening.facts),
            equity=records.equity(since),
            max_dd_pct=_max_dd_pct(records),
            trades=records.trades(since),
            gates=tuple(turn for alert in alerts if (turn := gate_turn(alert)) is not None),
            pages=tuple(alert for alert in alerts if alert.level is AlertLevel.PAGE),
            starts=starts_of(alerts),
            seq=seq,
            seal=seal(records, seq),
            sealed="" if approved_seq is None else seal(records, approved_seq),
        )


def _up(reader: JournalReader, step_ms: int) -> tuple[Span, ...]:
    return spans_up([record.ts for record in reader.all_records() if isinstance(record, BatchIn)], step_ms)


def _alerts(records: StoreReader, since: int) -> tuple[Alert, ...]:
    names = ", ".join(ALERT.names)
    rows = records.query(f"SELECT {names} FROM alerts WHERE ts >= ? ORDER BY rowid", (since,))  # noqa: S608 - names of our own
    return tuple(ALERT.decode(row) for row in rows)


def _max_dd_pct(records: StoreReader) -> float:
    snapshot = records.load_snapshot()
    return 0.0 if snapshot is None else float(snapshot[1]["telemetry"]["max_dd_pct"])


def seal(records: StoreReader, seq: int) -> str:
    """Digest of what a session had decided and traded up to decision ``seq``; empty where it does not go so far."""
    link = records.query("SELECT hash FROM decisions WHERE seq = ?", (seq,))
    if not link:
        return ""
    trades = records.query("SELECT id, closed_ts, net FROM trades WHERE seq <= ? ORDER BY closed_ts, id", (seq,))
    return digest_of([str(link[0][0]), *[[str(name), int(ts), repr(net)] for name, ts, net in trades]])
