"""``brain paper``: the whole brain over a made market or over recorded history."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from configs.environment import require_mode
from configs.lock import GovernanceWatch
from configs.validators import Configuration, Environment, Mode
from core.data.sources.base import Source
from core.exec.entering import Entering
from core.monitor.logger import LogHandle, LogSettings, configure
from core.monitor.metrics import ExporterError, MetricsServer
from core.monitor.store import Store
from core.monitor.telemetry import RunResult
from core.risk.canary import Sizing
from core.types import Timeframe
from graph.assembly import Assembly, assemble
from graph.commands.common import read_configuration, read_environment, secrets_of
from graph.commands.drive import code_of_end, drive, drive_direct
from graph.commands.paper_answer import answer_at_exchange, data_of, summary_of
from graph.console import NOTHING_STARTED, Answer, Console, run_command
from graph.engines import EngineKind, build_engine
from graph.exit_codes import UsageError
from graph.explanations import did_you_mean
from graph.journaling import open_journal
from graph.opening import EQUITY, SIZING, refuse_other_broker
from graph.parse import parse_backup, parse_duration, parse_entering, parse_speed, parse_symbols, parse_time
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.sessions import RUNS

SCHEMA = "brain.paper/1"
DEFAULT_SYNTHETIC_SPEED = "1500"
DEFAULT_SEED = 7
DEFAULT_SCENARIO = "mixed"


@dataclass(frozen=True, slots=True)
class PaperRequest:
    """The command's flags as typed."""

    source: str
    data: Path | None
    symbols: str | None
    start: str | None
    end: str | None
    speed: str | None
    until_bars: int | None
    seed: int | None
    scenario: str | None
    unlock_after: str | None
    state: Path | None
    configs: Path | None
    equity: float
    engine: str
    broker: str | None = None
    handover: bool = False
    exchange: str | None = None
    canary: bool = False
    backup: str | None = None
    entry: str | None = None
    slices: int | None = None

    @property
    def entering(self) -> Entering:
        """How entries are made at a local exchange.

        Raises:
            UsageError: the flags do not go together.
        """
        return parse_entering(self.entry, self.slices)

    @property
    def sizing(self) -> Sizing:
        """How entries are sized (X35)."""
        return Sizing.CANARY if self.canary else Sizing.WHOLE

    @property
    def local(self) -> bool:
        """Whether orders go to a local exchange; a real market's can go nowhere else."""
        return (self.broker or ("local" if self.source == "exchange" else "direct")) == "local"


def run_paper(request: PaperRequest, *, json: bool, quiet: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, quiet=quiet, json=json)
    stage = _Stage()
    return run_command(console, SCHEMA, lambda: _paper(request, console, stage), effect=stage.effect)


@dataclass(slots=True)
class _Stage:
    """How far the command has come, for the effect that an error has."""

    daemon: Daemon | None = None

    def effect(self) -> str:
        if self.daemon is None or self.daemon.warming:
            return NOTHING_STARTED
        return "paper only: no order went to an exchange; what was committed is in the state folder"


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a run needs beside market and daemon, wherever its orders go; all that is in ``stack`` ends with it."""

    request: PaperRequest
    console: Console
    stage: _Stage
    options: RunOptions
    environment: Environment
    config: Configuration
    configs: Path
    folder: SessionDir
    store: Store
    log: LogHandle
    stack: ExitStack

    @property
    def kind(self) -> EngineKind:
        """What carries events through the brain."""
        if self.request.engine == "auto":
            return EngineKind.DIRECT if self.options.bulk else EngineKind.GRAPH
        return EngineKind(self.request.engine)

    @property
    def changed(self) -> Callable[[], bool]:
        """Whether the limits were touched."""
        return GovernanceWatch(self.configs, self.config.governance_digest).changed

    def ready(self, daemon: Daemon) -> str:
        """The daemon stands; gives the line with which the run begins."""
        self.stage.daemon = daemon
        daemon.watch_lost_records(lambda: self.log.lost)
        server = _serve(daemon.parts, self.environment, self.request, self.console)
        if server is not None:
            self.stack.callback(server.stop)
        served = "not served" if server is None else server.url
        return f"session {self.folder.root}, engine {self.kind.value}, metrics {served}"

    def answer(self, result: RunResult, daemon: Daemon, signal_seen: int | None) -> Answer:
        """A run inside this process is over."""
        text = summary_of(result, daemon, self.folder, self.console.zone)
        return Answer(data_of(result, daemon, self.folder), text, code_of_end(signal_seen))


def _paper(request: PaperRequest, console: Console, stage: _Stage) -> Answer:
    options = _options(request)
    environment = read_environment()
    console.secrets = secrets_of(environment)
    console.zone = ZoneInfo(environment.tz)
    require_mode(environment, Mode.PAPER)
    config, configs = read_configuration(request.configs)
    source = None if request.source == "exchange" else _source(request)
    folder = SessionDir(_state_folder(request))
    with ExitStack() as stack:
        log = configure(LogSettings(folder=folder.logs, level=environment.log_level, secrets=console.secrets))
        stack.callback(log.close)
        store = Store(folder.database)
        stack.callback(store.close)
        refuse_other_broker(store, folder, local=request.local)
        desk = _Desk(request, console, stage, options, environment, config, configs, folder, store, log, stack)
        if source is None:
            return _run_local(desk, None)
        for sentence in source.info.missing:
            console.warn(sentence)
        for sentence in source.info.notes:
            console.info(sentence)
        return _run_local(desk, source) if request.local else _run_direct(desk, source)


def _run_direct(desk: _Desk, source: Source) -> Answer:
    journal = open_journal(desk.folder.journal, desk.store)
    desk.stack.callback(journal.close)
    parts = assemble(desk.config, source, desk.store, desk.request.equity, journal, sizing=desk.request.sizing)
    engine, identity = build_engine(desk.kind), _identity(desk.request)
    daemon = Daemon(parts, engine, desk.folder, desk.options, desk.changed, identity)
    result, signal_seen = asyncio.run(drive_direct(daemon, desk.console, desk.ready(daemon)))
    return desk.answer(result, daemon, signal_seen)


def _run_local(desk: _Desk, source: Source | None) -> Answer:
    """The same through the live adapter, at a local exchange that plays the source or a real market (issue 4, point 5)."""
    from graph.commands.paper_local import made_daemon
    from graph.live.assembly import LiveRequest

    request = desk.request
    live = LiveRequest(
        desk.config,
        _real_base(request) if source is None else source.info.base_tf,
        desk.folder,
        request.equity,
        desk.options,
        _identity(request),
        desk.changed,
        handover=request.handover,
        sizing=request.sizing,
        entering=request.entering,
        on_stage=desk.console.stage,
    )
    making = made_daemon(live, source, build_engine(desk.kind), desk.store, parse_backup(request.backup))

    def ready(daemon: Daemon) -> str:
        return f"{desk.ready(daemon)}, orders to a local exchange in real time, entries {request.entering}"

    driven = asyncio.run(drive(making, desk.console, ready, handover=request.handover))
    return answer_at_exchange(driven, desk.folder, desk.console.zone)


def _identity(request: PaperRequest) -> dict[str, str]:
    """What a session that is gone on with must share, besides what its source says itself (X43)."""
    same = {EQUITY: repr(request.equity), SIZING: request.sizing.value}
    if request.source == "synthetic":
        same |= {"seed": str(_seed(request)), "scenario": request.scenario or DEFAULT_SCENARIO}
    return same


def _seed(request: PaperRequest) -> int:
    return DEFAULT_SEED if request.seed is None else request.seed


def _refuse_foreign_flags(request: PaperRequest) -> None:
    """A flag that the source would pass over in silence is refused."""
    flags = {
        "replay": (("--data", request.data), ("--from", request.start), ("--to", request.end)),
        "synthetic": (("--seed", request.seed), ("--scenario", request.scenario)),
        "exchange": (("--exchange", request.exchange), ("--backup", request.backup)),
    }
    for source, owned in flags.items():
        for flag, value in owned:
            if source != request.source and value is not None:
                raise UsageError(
                    f"{flag} belongs to --source {source}, the source is {request.source}", help="brain paper --help"
                )


def _options(request: PaperRequest) -> RunOptions:
    default = "max" if request.source == "replay" else DEFAULT_SYNTHETIC_SPEED
    _refuse_foreign_flags(request)
    parse_backup(request.backup)
    request.entering  # noqa: B018 - flags that do not go together are refused before anything is made
    after = None if request.unlock_after is None else parse_duration(request.unlock_after)
    if request.source == "exchange" and after is not None:
        raise UsageError(
            "--unlock-after is for markets that are made or recorded; beside a real one a person lifts the kill-switch (X42)",
            help="brain unlock --state DIR",
        )
    if request.source != "replay":
        if request.unlock_after is not None and request.until_bars is None:
            raise UsageError(
                "--unlock-after is for runs with an end: replay, or synthetic with --until-bars (X42)",
                help=f"brain paper --unlock-after {request.unlock_after} --until-bars 2000",
            )
    elif request.data is None:
        raise UsageError(
            "--source replay needs --data DIR, a folder of recordings", help="brain paper --source replay --data DIR"
        )
    if request.source == "exchange" and (not request.local or request.exchange not in (None, "binance")):
        raise UsageError(
            "--source exchange hears Binance USD-M and trades at a local exchange; another is not to be had here",
            help="brain paper --source exchange --exchange binance --broker local",
        )
    if request.local:
        _refuse_other_pace(request)
        return RunOptions(None, request.until_bars, after, market_time=True)
    if request.handover:
        raise UsageError("--handover belongs to --broker local: the direct one ends with the run", help="brain paper --help")
    for flag, value in (("--entry", request.entry), ("--slices", request.slices)):
        if value is not None:
            raise UsageError(
                f"{flag} belongs to --broker local: the direct one fills entries whole, at the next bar's open",
                help=f"brain paper --broker local {flag} {value}",
            )
    return RunOptions(parse_speed(request.speed or default), request.until_bars, after)


def _refuse_other_pace(request: PaperRequest) -> None:
    """Sockets, time-outs and a venue's clock know no other time than the real one."""
    if request.speed is not None and parse_speed(request.speed) != 1.0:
        raise UsageError(
            f"--speed was {request.speed}, --broker local runs in real time", help="leave --speed out, or --broker direct"
        )


def _real_base(request: PaperRequest) -> dict[str, Timeframe]:
    from core.data.sources.synthetic import DEFAULT_SYMBOLS

    return dict.fromkeys(parse_symbols(request.symbols) or DEFAULT_SYMBOLS, Timeframe.M5)


def _source(request: PaperRequest) -> Source:
    symbols = parse_symbols(request.symbols)
    if request.source == "replay":
        from core.data.sources.replay import ReplaySource

        start = None if request.start is None else parse_time(request.start)
        end = None if request.end is None else parse_time(request.end)
        if start is not None and end is not None and start >= end:
            raise UsageError(
                f"--from was {request.start}, expected a time before --to {request.end}",
                help="brain paper --source replay --data DIR --from 2024-01-01 --to 2024-02-01",
            )
        return ReplaySource(request.data or Path(), symbols, start, end)
    from core.data.sources.scenarios import Scenario
    from core.data.sources.synthetic import DEFAULT_SYMBOLS, SyntheticSource

    name = request.scenario or DEFAULT_SCENARIO
    known = [scenario.value for scenario in Scenario]
    if name not in known:
        raise UsageError(
            f"--scenario was {name!r}, expected one of {', '.join(known)}",
            help=f"brain paper --scenario {(*did_you_mean(name, known), DEFAULT_SCENARIO)[0]}",
        )
    return SyntheticSource(symbols or DEFAULT_SYMBOLS, seed=_seed(request), scenario=Scenario(name))


def _state_folder(request: PaperRequest) -> Path:
    if request.state is not None:
        return request.state
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return RUNS / f"{stamp}-{request.source}-{os.getpid()}"


def _serve(parts: Assembly, environment: Environment, request: PaperRequest, console: Console) -> MetricsServer | None:
    """The exporter's port must bind (X38); a replay at hand goes on without it, since nobody scrapes the past."""
    try:
        return parts.metrics.serve(environment.prometheus_port, "brain paper")
    except ExporterError as error:
        if request.source != "replay":
            raise
        console.warn(f"{error.what}; the replay goes on without metrics")
        return None
