"""``brain exchange``: the local exchange for a person or a foreign client."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from configs.validators import Configuration
from core.clock import SystemClock, rfc3339
from core.data.sources.base import Source
from core.data.timeframes import bucket_open
from core.errors import BrainError, SourceError, StateError
from core.exec.instrument import Instrument
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import Listing
from core.sim.server.app import Addresses, ExchangeServer
from core.sim.server.control import PATH as FAULTS
from core.sim.server.options import ServerOptions
from core.sim.server.pace import PacedClock
from core.sim.server.persistence import StateFile
from core.sim.server.tls import VENUE_HOSTS, Certificate
from core.sim.tape.listings import liquidity_of, listing_of
from core.sim.tape.source import SourceTape, TapeOptions
from core.types import Timeframe
from graph.commands.common import read_configuration, read_environment, say_time
from graph.console import Answer, Console, run_command
from graph.exchange_folder import ExchangeFolder, ExchangeMarket
from graph.exit_codes import ExitCode, UsageError
from graph.parse import parse_speed, parse_symbols

SCHEMA = "brain.exchange/1"
HOST = "127.0.0.1"
DEFAULT_PORT, DEFAULT_SEED, DEFAULT_EQUITY = 8443, 7, 300.0
FOLDERS = Path("var") / "exchange"
BASE = Timeframe.M1
"""Bars of the made market: the finest, so that its price moves four times a minute."""
BEAT_MS = 1_000
"""Marks and forming candles come this often in real time."""
EFFECT = "the local exchange is not running; it has no connection to any real one"

_LINE_SECONDS = 10.0
_REDRAW_SECONDS = 0.5
_KEEP_TIME_SECONDS = 1.0
_SPEED_EXAMPLE = "brain exchange --speed 60"
_SHOWN = 4
_FIRST_PRICE_LOOKS, _LOOK_SECONDS = 50, 0.02


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """The command's flags as typed."""

    port: int
    http: bool
    data: Path | None
    symbols: str | None
    seed: int | None
    speed: str
    state: Path | None
    configs: Path | None
    equity: float | None
    faults: bool = False


class NotListening(BrainError):
    """The port cannot be listened on."""

    default_code = "EXCH-001"
    exit_code = 4


@dataclass(frozen=True, slots=True)
class _Stand:
    """Everything that runs: the market, the engine and the server before it."""

    exchange: LocalExchange
    server: ExchangeServer
    clock: PacedClock
    options: ServerOptions
    folder: ExchangeFolder
    names: Mapping[str, Listing]
    """Listings by ccxt's name of the market."""
    notes: Sequence[str]
    again: str


def run_exchange(request: ExchangeRequest, *, json: bool, quiet: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, quiet=quiet, json=json)
    return run_command(console, SCHEMA, lambda: _exchange(request, console), effect=EFFECT)


def _exchange(request: ExchangeRequest, console: Console) -> Answer:
    speed = parse_speed(request.speed, _SPEED_EXAMPLE)
    if speed is None:
        raise UsageError("--speed was 'max', expected a number above zero (1 is real time)", help=_SPEED_EXAMPLE)
    if request.data is not None and request.seed is not None:
        raise UsageError("--seed belongs to the made market, --data plays recordings", help="brain exchange --seed 7")
    console.zone = ZoneInfo(read_environment().tz)
    config, _ = read_configuration(request.configs)
    folder = ExchangeFolder(request.state or _new_folder(request))
    with folder.held():
        return asyncio.run(_serve(request, console, config, folder, speed))


def _new_folder(request: ExchangeRequest) -> Path:
    return FOLDERS / f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%S')}-{_kind(request)}-{os.getpid()}"


# --- what is played -------------------------------------------------------------------------------------


def _market(request: ExchangeRequest, folder: ExchangeFolder) -> tuple[Source, ExchangeMarket]:
    """The source, and what the folder must remember of it.

    Raises:
        StateError: the folder is of another market than the flags ask for.
    """
    before, kind = folder.market(), _kind(request)
    if before is not None and before.source != kind:
        raise _another(folder, before, f"its source was {before.source}, now {kind}")
    source = _source(request, before)
    market = ExchangeMarket(
        source=kind,
        symbols=source.info.symbols,
        seed=None if request.data is not None else _seed(request, before),
        start=source.info.start,
        equity=_equity(request, before),
        digest=source.info.digest,
    )
    if before is not None and before != market:
        raise _another(folder, before, before.difference(market))
    return source, market


def _kind(request: ExchangeRequest) -> str:
    return "synthetic" if request.data is None else "replay"


def _source(request: ExchangeRequest, before: ExchangeMarket | None) -> Source:
    symbols = parse_symbols(request.symbols) or (before.symbols if before else None)
    if request.data is not None:
        from core.data.sources.replay import ReplaySource

        return ReplaySource(request.data, symbols, before.start if before else None)
    from core.data.sources.synthetic import DEFAULT_SYMBOLS, SyntheticSource

    start = before.start if before else bucket_open(SystemClock().now_ms(), BASE)
    return SyntheticSource(symbols or DEFAULT_SYMBOLS, seed=_seed(request, before), start=start, base_tf=BASE)


def _seed(request: ExchangeRequest, before: ExchangeMarket | None) -> int:
    if request.seed is not None:
        return request.seed
    return DEFAULT_SEED if before is None or before.seed is None else before.seed


def _equity(request: ExchangeRequest, before: ExchangeMarket | None) -> str:
    if request.equity is None and before is not None:
        return before.equity
    return repr(DEFAULT_EQUITY if request.equity is None else request.equity)


def _another(folder: ExchangeFolder, before: ExchangeMarket, difference: str) -> StateError:
    return StateError(
        f"{folder.root} holds the account of another market: {difference}",
        help=f"go on with it, or give another folder: {_again(folder, before.source)}",
        code="STATE-010",
    )


def _again(folder: ExchangeFolder, source: str) -> str:
    """The command that goes on with a folder."""
    return f"brain exchange --state {folder.root}" + (" --data DIR" if source == "replay" else "")


def _instruments(config: Configuration, source: Source) -> list[Instrument]:
    known = config.symbols.by_name()
    missing = [name for name in source.info.symbols if name not in known]
    if missing:
        raise SourceError(
            f"symbols.yaml has no entry for {', '.join(missing)}", help="add it, or choose with --symbols", code="DATA-016"
        )
    return [Instrument.from_config(known[name]) for name in source.info.symbols]


# --- running --------------------------------------------------------------------------------------------


def _build(request: ExchangeRequest, config: Configuration, folder: ExchangeFolder, speed: float) -> _Stand:
    source, market = _market(request, folder)
    instruments = _instruments(config, source)
    beat = BEAT_MS * max(1, round(speed))
    tape = SourceTape(source, instruments, options=TapeOptions(mark_every_ms=beat, kline_every_ms=beat))
    clock = PacedClock(_begin(folder, market, request), speed, asyncio.get_running_loop().time)
    perps = [instrument for instrument in instruments if instrument.is_perp]
    names = {instrument.symbol: listing_of(instrument, market.start) for instrument in perps}
    exchange = LocalExchange(
        list(names.values()),
        clock,
        wallet=Decimal(market.equity),
        seed=market.seed or 0,
        liquidity=liquidity_of(perps),
    )
    tape.position_sign = exchange.position_sign
    # a client's clock can follow another starting point, but not another speed
    options = ServerOptions(
        seed=market.seed or 0, speed=speed, check_time=speed == 1.0, state_file=folder.account, control=request.faults
    )
    server = ExchangeServer(exchange, tape, clock, options)
    folder.keep_market(market)
    notes = (*source.info.missing, *source.info.notes)
    return _Stand(exchange, server, clock, options, folder, names, notes, _again(folder, market.source))


def _begin(folder: ExchangeFolder, market: ExchangeMarket, request: ExchangeRequest) -> int:
    """Where time begins: where it stopped; else now in a made market, and at the first bar of a recorded one."""
    state = StateFile(folder.account).load()
    if state is not None and state["position"]:
        return max(int(state["position"][0]), folder.time())
    return market.start if request.data is not None else max(market.start, SystemClock().now_ms())


async def _serve(
    request: ExchangeRequest, console: Console, config: Configuration, folder: ExchangeFolder, speed: float
) -> Answer:
    stand = _build(request, config, folder, speed)
    for sentence in stand.notes:
        console.info(sentence)
    tls = None if request.http else folder.certificate()
    loop, over, seen = asyncio.get_running_loop(), asyncio.Event(), list[int]()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stand.server.close)
        addresses = await _listen(stand.server, request.port, tls)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, number, seen, over)
        await _first_price(stand)
        _greet(console, stand, addresses, tls)
        await _watch(console, stand, over)
    if not seen:
        console.info("the recordings have ended")
    code = ExitCode.INTERRUPTED if signal.SIGINT in seen else ExitCode.DONE
    return Answer({"event": "ended", **_standing(stand)}, _last_words(stand, console), code)


def _stop(number: int, seen: list[int], over: asyncio.Event) -> None:
    seen.append(number)
    over.set()


async def _listen(server: ExchangeServer, port: int, tls: Certificate | None) -> Addresses:
    try:
        return await server.start(HOST, port, tls)
    except OSError as error:
        why = error.strerror or str(error)
        raise NotListening(f"the local exchange cannot listen on {HOST}:{port}: {why}", help="brain exchange --port 0") from error


async def _first_price(stand: _Stand) -> None:
    """Wait a moment for the market to begin, so that the example can name a quantity that is legal."""
    for _ in range(_FIRST_PRICE_LOOKS):
        if all(stand.exchange.last_price(symbol) for symbol in stand.exchange.listings):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _watch(console: Console, stand: _Stand, over: asyncio.Event) -> None:
    """Show how it stands until somebody stops it or the tape ends."""
    playing = asyncio.create_task(stand.server.finished())
    playing.add_done_callback(lambda _: over.set())
    loop, due = asyncio.get_running_loop(), 0.0
    with _live_line(console) as (show, every):
        while not over.is_set():
            if loop.time() >= due:
                show(_line(stand, console))
                due = loop.time() + every
            # after a kill the clock must not go back behind what clients were told, nor far ahead of theirs
            _keep_time(stand, round(2_000 * _KEEP_TIME_SECONDS * stand.options.speed))
            with suppress(TimeoutError):
                async with asyncio.timeout(min(every, _KEEP_TIME_SECONDS)):
                    await over.wait()
    _keep_time(stand, 0)
    playing.cancel()
    with suppress(asyncio.CancelledError):
        await playing


def _keep_time(stand: _Stand, ahead_ms: int) -> None:
    with suppress(OSError):  # a full disk is told by the account, which takes no orders then; the next second tries again
        stand.folder.keep_time(stand.clock.now_ms() + ahead_ms)


# --- saying ---------------------------------------------------------------------------------------------


@contextmanager
def _live_line(console: Console) -> Iterator[tuple[Callable[[str], None], float]]:
    """What shows a line, and how often (s) it should be asked: redrawn where a person watches, one after the other in a log."""
    if not console.animated:
        yield console.info, _LINE_SECONDS
        return
    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.text import Text

    screen = RichConsole(file=console.err, force_terminal=True, no_color=not console.colored(console.err), highlight=False)
    with Live(Text(""), console=screen, auto_refresh=False) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True), _REDRAW_SECONDS


def _line(stand: _Stand, console: Console) -> str:
    """Time, what is open, the wallet with open profit, prices: what matters most where a narrow terminal still shows it."""
    exchange = stand.exchange
    symbols = tuple(exchange.listings)
    now = datetime.fromtimestamp(stand.clock.now_ms() / 1000, console.zone)
    prices = [f"{symbol.removesuffix('USDT')} {exchange.last_price(symbol) or '-'}" for symbol in symbols[:_SHOWN]]
    more = [f"and {len(symbols) - _SHOWN} more"] if len(symbols) > _SHOWN else []
    standing, why = _standing(stand), stand.server.not_kept
    trouble = [] if why is None else [f"NO ORDERS: {why}"]
    return "  ".join((*trouble, f"{now:%m-%d %H:%M:%S}", _open(standing), f"{standing['equity']:.2f} USDT", *prices, *more))


def _open(standing: Mapping[str, Any]) -> str:
    orders, conditional, positions = (standing[f"open_{kind}"] for kind in ("orders", "algo_orders", "positions"))
    return f"{orders} orders, {conditional} algo orders, {positions} positions"


def _standing(stand: _Stand) -> dict[str, Any]:
    exchange = stand.exchange
    return {
        "time": rfc3339(stand.clock.now_ms()),
        "open_orders": len(exchange.open_orders()),
        "open_algo_orders": len(exchange.open_algos()),
        "open_positions": sum(1 for position in exchange.positions() if position.qty),
        "equity": exchange.account().margin_balance,
        "state": str(stand.folder.root),
    }


def _greet(console: Console, stand: _Stand, addresses: Addresses, tls: Certificate | None) -> None:
    """How to reach it. With ``--json`` this is the first of two lines on stdout."""
    example = _example(stand, addresses, tls)
    options, symbols = stand.options, tuple(stand.exchange.listings)
    faults = addresses.rest + FAULTS if options.control else None
    data = {
        "event": "listening",
        "rest": addresses.rest,
        "streams": addresses.streams,
        "certificate": None if tls is None else str(tls.cert),
        "api_key": options.api_key,
        "secret": options.secret,
        "symbols": symbols,
        "speed": options.speed,
        "faults": faults,
        "example": example,
        **_standing(stand),
    }
    if console.json:
        console.emit_json(SCHEMA, data)
    where = "TLS" if tls else "plain HTTP"
    lines = [
        f"local exchange: Binance USD-M's REST and streams, {where}, this machine only; no real money, no real market",
        f"REST         {addresses.rest}",
        f"streams      {addresses.streams}/public/ws  /market/ws  /private/ws  /ws (spot)",
        f"key, secret  {options.api_key}  {options.secret}",
        *([f"certificate  {tls.cert} for {', '.join(VENUE_HOSTS)}, localhost, {HOST}"] if tls else []),
        f"symbols      {', '.join(symbols)}",
        f"market time  {say_time(stand.clock.now_ms(), console.zone)}, {options.speed:g} times real time",
        f"state        {stand.folder.root}; go on with it later: {stand.again}",
        *([f"faults       {faults}; see docs/exchange.md"] if faults else []),
        "ccxt         (in `python -m asyncio` of Brain's environment)" if tls else "ccxt",
        *(f"    {line}" for line in example),
    ]
    console.answer("\n".join(lines))


def _example(stand: _Stand, addresses: Addresses, tls: Certificate | None) -> list[str]:
    """Lines that buy a little of the first symbol through the unmodified client."""
    name, listing = next(iter(stand.names.items()))
    price = stand.exchange.last_price(listing.symbol)
    steps = 2 * listing.min_notional / price / listing.step if price else listing.min_qty / listing.step
    qty = steps.to_integral_value(ROUND_CEILING) * listing.step
    keys = f'"apiKey": "{stand.options.api_key}", "secret": "{stand.options.secret}"'
    settings = '"options": {"adjustForTimeDifference": True, "fetchCurrencies": False}'
    order = f'create_order("{name}", "market", "buy", {qty})'
    if tls is None:
        return [
            f"import ccxt; exchange = ccxt.binanceusdm({{{keys}, {settings}}})",
            'exchange.urls["api"].update({name: url.replace("https://fapi.binance.com", "' + addresses.rest + '")'
            ' for name, url in exchange.urls["api"].items() if name.startswith("fapi")})',
            f"print(exchange.{order})",
        ]
    port = addresses.rest.rpartition(":")[2]
    return [
        "import ccxt.pro; from core.sim.server.redirect import redirected_session",
        f'exchange = ccxt.pro.binanceusdm({{{keys}, "session": redirected_session({port}, "{tls.cert.resolve()}"), {settings}}})',
        f"print(await exchange.{order})",
    ]


def _last_words(stand: _Stand, console: Console) -> str:
    standing = _standing(stand)
    return "\n".join(
        (
            f"stopped at {say_time(stand.clock.now_ms(), console.zone)}; equity {standing['equity']:.2f} USDT",
            f"open      {_open(standing)}",
            f"go on     {stand.again}",
        )
    )
