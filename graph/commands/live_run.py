"""``brain live`` once every demand is met: the account is held, looked at, brought into agreement with the books, and traded.

Keys come from the environment and the way to the exchange is the venue's own: no flag and no variable leads elsewhere. A test
hands in another way as a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from configs.lock import GovernanceWatch
from configs.validators import Configuration, Environment, Mode
from core.clock import SystemClock
from core.errors import LockedError
from core.exec.entering import Entering
from core.monitor.logger import LogHandle, LogSettings, configure
from core.monitor.metrics import MetricsServer
from core.monitor.paper_sessions import alike
from core.monitor.store import Store
from core.risk.canary import Sizing
from core.types import Timeframe
from core.venues.keys import Keys
from core.venues.words import BalanceSeen
from graph.account_lock import account_file, holding, last_folder, remember
from graph.commands.common import secrets_of
from graph.commands.drive import Driven, drive
from graph.commands.left_behind import refuse_left_behind
from graph.commands.paper_answer import answer_at_exchange
from graph.console import NOTHING_STARTED, Answer, Console
from graph.engines import EngineKind, build_engine
from graph.exit_codes import UsageError
from graph.live.assembly import LiveRequest, Reach, live_daemon
from graph.live.daemon import LiveDaemon
from graph.parse import parse_backup, parse_entering, parse_symbols
from graph.runner import RunOptions
from graph.session_dir import SessionDir
from graph.status import LIVE

DEFAULT_SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
BASE = Timeframe.M5
EXCHANGE = "binance"
_STARTED = (
    "what stands at the exchange stays there, positions under their stops; the next start with the same --state goes on with it"
)


@dataclass(frozen=True, slots=True)
class LiveFlags:
    """The command's flags as typed."""

    evidence: Path | None = None
    state: Path | None = None
    configs: Path | None = None
    symbols: str | None = None
    exchange: str | None = None
    full_size: bool = False
    handover: bool = False
    backup: str | None = None
    entry: str | None = None
    slices: int | None = None

    @property
    def sizing(self) -> Sizing:
        """Canaries, until the owner asks for more (X35)."""
        return Sizing.WHOLE if self.full_size else Sizing.CANARY

    @property
    def entering(self) -> Entering:
        """How entries are made.

        Raises:
            UsageError: the flags do not go together.
        """
        return parse_entering(self.entry, self.slices)

    @property
    def base_tf(self) -> dict[str, Timeframe]:
        """What is traded.

        Raises:
            UsageError: it cannot be traded here.
        """
        if self.exchange not in (None, EXCHANGE):
            raise UsageError(f"--exchange was {self.exchange}, live orders go to Binance USD-M only", help="brain live")
        symbols = parse_symbols(self.symbols) or DEFAULT_SYMBOLS
        spot = [symbol for symbol in symbols if ":" not in symbol]
        if spot:
            raise UsageError(
                f"--symbols has {', '.join(spot)}, live trades perpetuals only", help=f"brain live --symbols {spot[0]}:USDT"
            )
        return dict.fromkeys(symbols, BASE)


@dataclass(slots=True)
class Stage:
    """How far the command has come, for the effect that an error has."""

    daemon: LiveDaemon | None = None

    def effect(self) -> str:
        return NOTHING_STARTED if self.daemon is None or self.daemon.warming else _STARTED


class OtherMoney(LockedError):
    """What the evidence shows was seen with another kind of money than the account holds."""

    default_code = "READY-003"
    exit_code = 3


class Trading(NamedTuple):
    """What is to be traded, and with what.

    ``proven_usd``: what the last counted session of the evidence began with. ``goes_on``: the folder holds a session, whose
    positions must be watched whatever the evidence says; ``unmet``: what it lacks, so that nothing is opened.
    """

    flags: LiveFlags
    environment: Environment
    config: Configuration
    configs: Path
    state: Path
    proven_usd: float
    goes_on: bool = False
    unmet: tuple[str, ...] = ()


@dataclass(slots=True)
class Desk:
    """What a run needs beside the daemon; all of it ends with the run."""

    trading: Trading
    folder: SessionDir
    store: Store
    log: LogHandle
    stage: Stage
    keys: Keys
    on_stage: Callable[[str], None]
    wallet_usd: float = 0.0
    servers: list[MetricsServer] = field(default_factory=list)

    def request(self) -> LiveRequest:
        flags, trading = self.trading.flags, self.trading
        return LiveRequest(
            trading.config,
            flags.base_tf,
            self.folder,
            None,
            RunOptions(market_time=True),
            {"mode": Mode.LIVE.value},
            governance_changed=GovernanceWatch(trading.configs, trading.config.governance_digest).changed,
            handover=flags.handover,
            sizing=flags.sizing,
            on_balance=self._note,
            entering=flags.entering,
            on_stage=self.on_stage,
        )

    def _note(self, held: BalanceSeen) -> None:
        self.wallet_usd = float(held.wallet)

    def ready(self, daemon: LiveDaemon) -> str:
        """The daemon stands: nothing was opened yet. The exporter's port must bind (X38)."""
        unmet = (*self.trading.unmet, *self._other_money(daemon.parts.context.ledger.starting_equity))
        if unmet:
            daemon.broker.open_nothing(f"{'; '.join(unmet)} is not met; what is open is watched, and the next start looks again")
        remember(account_file(self.keys), self.folder.root)
        self.stage.daemon = daemon
        daemon.watch_lost_records(lambda: self.log.lost)
        server = daemon.parts.metrics.serve(self.trading.environment.prometheus_port, "brain live")
        self.servers.append(server)
        size = "canaries (X35)" if self.trading.flags.sizing is Sizing.CANARY else "entries of full size"
        size = f"{size}, entered {self.trading.flags.entering}"
        if unmet:
            size = f"NO ENTRIES ({'; '.join(unmet)})"
        return f"LIVE at Binance USD-M with {self.wallet_usd:.2f} USD, {size}; session {self.folder.root}, metrics {server.url}"

    def _other_money(self, began_usd: float) -> tuple[str, ...]:
        """Whole entries only with the kind of money that they were seen with (X36); a canary is as small as orders can be.

        Raises:
            OtherMoney: the session would be the first.
        """
        proven = self.trading.proven_usd
        if self.trading.flags.sizing is Sizing.CANARY or alike(began_usd, proven):
            return ()
        if self.trading.goes_on:
            return (f"it began with {began_usd:.2f} USD, the evidence with {proven:.2f}",)
        raise OtherMoney(
            f"the account holds {began_usd:.2f} USD, the evidence began with {proven:.2f}; at most twice or half is alike",
            help="trade canaries (without --full-size), or let paper go on with --equity as the account has it",
        )

    def end(self) -> None:
        """Nothing is served any more."""
        for server in self.servers:
            server.stop()


def trade(trading: Trading, console: Console, stage: Stage, reach: Reach | None = None) -> Answer:
    """Trade until a signal, and say how it went.

    Raises:
        StateError: another daemon trades the account or has the folder.
        BrainError: the account may not be traded as it is; nothing was sent but what covers what was open.
    """
    reach = reach or Reach(SystemClock(), Keys.of(trading.environment))
    with at_desk(trading, console, stage, reach) as desk:
        driven = asyncio.run(at_exchange(desk, reach, console))
        return _answer(driven, desk, console)


async def at_exchange(desk: Desk, reach: Reach, console: Console) -> Driven:
    """The run itself."""
    reach = reach.backed_by(parse_backup(desk.trading.flags.backup))
    making = live_daemon(desk.request(), reach, build_engine(EngineKind.GRAPH), desk.store)
    return await drive(making, console, desk.ready, handover=desk.trading.flags.handover, title=LIVE)


@contextmanager
def at_desk(trading: Trading, console: Console, stage: Stage, reach: Reach) -> Iterator[Desk]:
    """Account, folder, log and records are this run's alone while the block lasts."""
    trading.flags.base_tf  # noqa: B018 - wrong flags are refused before anything is made
    with ExitStack() as stack:
        stack.enter_context(holding(account_file(reach.keys)))
        left = last_folder(account_file(reach.keys))
        refuse_left_behind(left, trading.state, trading.config.governance, reach.clock.now_ms())
        folder = SessionDir(trading.state)
        console.secrets = (*secrets_of(trading.environment), reach.keys.api_key, reach.keys.secret)
        log = configure(LogSettings(folder=folder.logs, level=trading.environment.log_level, secrets=console.secrets))
        stack.callback(log.close)
        store = Store(folder.database)
        stack.callback(store.close)
        desk = Desk(trading, folder, store, log, stage, reach.keys, console.stage)
        stack.callback(desk.end)
        logger.info("live trading begins: {}, {}", trading.flags.sizing, ", ".join(trading.flags.base_tf))
        yield desk


def _answer(driven: Driven, desk: Desk, console: Console) -> Answer:
    how = desk.trading.flags.entering
    chosen = {"sizing": desk.trading.flags.sizing.value, "entry": how.entry.value, "slices": how.slices}
    return answer_at_exchange(driven, desk.folder, console.zone, chosen)
