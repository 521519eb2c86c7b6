"""The command line. Heavy imports wait until a command needs them, so that help comes at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

try:
    import typer
except KeyboardInterrupt:  # nothing has begun: no traceback for that
    raise SystemExit(130) from None

from core.exec.entering import MOST_SLICES, Entry

app = typer.Typer(
    name="brain",
    help="A personal crypto trading system: a typed LangGraph brain over a deterministic core.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
governance_app = typer.Typer(help="The locked limits of risk.", rich_markup_mode=None)
app.add_typer(governance_app, name="governance")
sessions_app = typer.Typer(help="Recorded sessions.", rich_markup_mode=None, invoke_without_command=True)
app.add_typer(sessions_app, name="sessions")
data_app = typer.Typer(help="Recordings of markets.", rich_markup_mode=None)
app.add_typer(data_app, name="data")
live_app = typer.Typer(help="Live trading, and its approval.", rich_markup_mode=None, invoke_without_command=True)
app.add_typer(live_app, name="live")


class SourceName(StrEnum):
    """Where market data comes from."""

    SYNTHETIC = "synthetic"
    REPLAY = "replay"
    EXCHANGE = "exchange"


class BrokerName(StrEnum):
    """Where paper orders go."""

    DIRECT = "direct"
    LOCAL = "local"


class ReplayEngine(StrEnum):
    """Which engine makes bars again; both give the same decisions."""

    GRAPH = "graph"
    DIRECT = "direct"


class EngineName(StrEnum):
    """Which engine carries the bars; auto: direct at full speed, else the compiled graph."""

    AUTO = "auto"
    GRAPH = "graph"
    DIRECT = "direct"


Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, also on failure.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress; errors and reasons stay.")]
Color = Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never ask; what needs a person is refused.")]
State = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the session; the next start with it goes on from there.")
]
Configs = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the YAML configuration (default: the packaged one).")
]


SessionName = Annotated[
    str | None,
    typer.Argument(metavar="[SESSION]", help="Its name, the beginning of it, or its folder; may be left out where there is one."),
]
Sessions = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="Folder of sessions, or of one (default: var/runs).")
]
Backup = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Whose candles stand in while the exchange is silent: bybit, okx. Positions are only reduced on them.",
    ),
]
EntryHow = Annotated[
    Entry | None,
    typer.Option("--entry", help="across: at once, within the plan's cap; maker: resting first, then across (default: across)."),
]
Slices = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_SLICES, metavar="N", help="Cut each entry into up to N orders, where each is legal (default: 1)."
    ),
]
Evidence = Annotated[
    Path | None, typer.Option("--evidence", metavar="DIR", help="Folder of paper sessions, or of one (default: var/runs).")
]


@app.callback(invoke_without_command=True)
def home(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Without a command: what is installed, and what to do next."""
    if version:
        from graph.version import VERSION

        typer.echo(f"brain {VERSION}")
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        from graph.commands.home import show

        raise typer.Exit(show())


@app.command()
def paper(
    source: Annotated[
        SourceName,
        typer.Option(help="synthetic: a made market, nothing else needed; replay: recorded history; exchange: a real market."),
    ] = (SourceName.SYNTHETIC),
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of recordings, for --source replay.")] = None,
    symbols: Annotated[
        str | None, typer.Option(metavar="LIST", help="Comma-separated: BTC/USDT:USDT or BINANCE:BTCUSDT.P.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="First bar's open (UTC date or time).")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Last bar's close (UTC date or time), exclusive.")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(metavar="max|N", help="max, or times real time (default: replay max, synthetic 1500).")
    ] = None,
    until_bars: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after this many bars of the session.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="Seed of the synthetic market (default: 7).")] = None,
    scenario: Annotated[str | None, typer.Option(metavar="NAME", help="Story of the synthetic market (default: mixed).")] = None,
    unlock_after: Annotated[
        str | None, typer.Option(metavar="DURATION", help="In a run with an end: lift a kill-switch after this long, e.g. 24h.")
    ] = None,
    state: State = None,
    configs: Configs = None,
    equity: Annotated[float, typer.Option(min=1.0, metavar="USD", help="Starting equity, USD.")] = 300.0,
    engine: Annotated[EngineName, typer.Option(help="auto, graph (compiled) or direct.")] = EngineName.AUTO,
    broker: Annotated[
        BrokerName | None,
        typer.Option(
            help="direct: in process, at any speed; local: the live adapter at a local exchange, in real time"
            " (default: direct; local for --source exchange)."
        ),
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose market, for --source exchange (default: binance).")
    ] = None,
    backup: Backup = None,
    handover: Annotated[
        bool, typer.Option("--handover", help="With --broker local: a stop leaves positions under their stops, and closes none.")
    ] = False,
    canary: Annotated[
        bool,
        typer.Option("--canary", help="Every entry as small as is legal, and no adds: the size of a first life with real money."),
    ] = False,
    entry: EntryHow = None,
    slices: Slices = None,
    json: Json = False,
    quiet: Quiet = False,
    color: Color = "auto",
) -> None:
    """Trade on paper through the whole brain: a made market, or recorded real history.

    A run that comes to its end exits with 0, also when it ends halted: `state` in the answer says so, and
    `brain doctor --state DIR` exits with 5 until a person has unlocked it. At an exchange (`--broker local`) it exits with 5
    itself where something stays there that nobody asked to stay, however it was ended.
    """
    _say_that_it_loads(json=json, quiet=quiet, color=color)
    from graph.commands.paper import PaperRequest, run_paper

    request = PaperRequest(
        source=source.value,
        data=data,
        symbols=symbols,
        start=from_,
        end=to,
        speed=speed,
        until_bars=until_bars,
        seed=seed,
        scenario=scenario,
        unlock_after=unlock_after,
        state=state,
        configs=configs,
        equity=equity,
        engine=engine.value,
        broker=None if broker is None else broker.value,
        exchange=exchange,
        backup=backup,
        handover=handover,
        canary=canary,
        entry=entry,
        slices=slices,
    )
    raise typer.Exit(run_paper(request, json=json, quiet=quiet, color=color))


@app.command()
def exchange(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="P", help="Port on this machine; 0 takes a free one.")] = 8443,
    http: Annotated[bool, typer.Option("--http", help="Plain HTTP instead of TLS.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of recordings to play; without it, a made market.")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(metavar="LIST", help="Comma-separated: BTC/USDT:USDT or BINANCE:BTCUSDT.P.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="Seed of the made market (default: 7).")] = None,
    speed: Annotated[str, typer.Option(metavar="N", help="Times real time; at other than 1, timestamps are not checked.")] = "1",
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the account; the next start with it goes on from there.")
    ] = None,
    configs: Configs = None,
    equity: Annotated[float | None, typer.Option(min=1.0, metavar="USD", help="Wallet at the start (default: 300).")] = None,
    faults: Annotated[bool, typer.Option("--faults", help="Let this machine script faults: POST /_control/faults.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout: where it listens, and how it ended.")
    ] = False,
    quiet: Quiet = False,
    color: Color = "auto",
) -> None:
    """Run a local exchange that speaks Binance USD-M's REST and streams, for a person or any client.

    It says how to reach it, runs until Ctrl-C, and keeps its account. There is no real money and no connection to a real market.
    """
    from graph.commands.exchange import ExchangeRequest, run_exchange

    request = ExchangeRequest(port, http, data, symbols, seed, speed, state, configs, equity, faults)
    raise typer.Exit(run_exchange(request, json=json, quiet=quiet, color=color))


@app.command()
def doctor(configs: Configs = None, state: State = None, json: Json = False, color: Color = "auto") -> None:
    """Check that everything a start needs is there; each failed check says how to mend it."""
    from graph.commands.doctor import run_doctor

    raise typer.Exit(run_doctor(configs=configs, state=state, json=json, color=color))


@app.command()
def unlock(
    state: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the session whose kill-switch fired.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why it is safe to go on; asked for when not given.")] = None,
    no_input: NoInput = False,
    color: Color = "auto",
) -> None:
    """Lift a kill-switch: from a terminal only, with a reason on record."""
    from graph.commands.unlock import run_unlock

    raise typer.Exit(run_unlock(state=state, reason=reason, no_input=no_input, color=color))


@app.command()
def accept(
    symbol: Annotated[str | None, typer.Argument(metavar="SYMBOL", help="One symbol only, as BTC/USDT:USDT or BTC.")] = None,
    state: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the halted session.")] = Path("var/live"),
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="What was found; asked for when not given.")] = None,
    no_input: NoInput = False,
    color: Color = "auto",
) -> None:
    """Settle what halts a session at an exchange, after looking there: from a terminal only, with a reason on record.

    It shows what the exchange has, what the books have, and what accepting does. A running daemon takes it at its next bar.
    """
    from graph.commands.accept import run_accept

    raise typer.Exit(run_accept(state=state, symbol=symbol, reason=reason, no_input=no_input, color=color))


@app.command()
def export(
    state: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the session.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the CSV files.")],
    json: Json = False,
    color: Color = "auto",
) -> None:
    """Write trades, plans, orders, fills and refusals of a session as CSV."""
    from graph.commands.export import run_export

    raise typer.Exit(run_export(state=state, out=out, json=json, color=color))


@sessions_app.callback()
def sessions(context: typer.Context, state: Sessions = None, json: Json = False, color: Color = "auto") -> None:
    """List the recorded sessions: what they are, how far they go, and how much room they take."""
    if context.invoked_subcommand is not None:
        misplaced = {"--state": state, "--json": json or None, "--color": None if color == "auto" else color}
        given = [flag for flag, value in misplaced.items() if value is not None]
        if given:
            raise typer.BadParameter(f"{given[0]} belongs behind {context.invoked_subcommand}")
        return
    from graph.commands.sessions import run_list

    raise typer.Exit(run_list(state=state, json=json, color=color))


@sessions_app.command("verify")
def sessions_verify(
    session: SessionName = None, state: Sessions = None, json: Json = False, quiet: Quiet = False, color: Color = "auto"
) -> None:
    """Check every byte of a session's journal, and its records against it; exit 1 names the place of a damage."""
    from graph.commands.sessions import run_verify

    raise typer.Exit(run_verify(session, state=state, json=json, quiet=quiet, color=color))


@sessions_app.command("trim")
def sessions_trim(
    session: SessionName = None,
    keep: Annotated[
        str, typer.Option(metavar="DURATION", help="How far back from now; from its last bar while it runs.")
    ] = "186d",
    state: Sessions = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove without asking; without it a script only sees what would go.")
    ] = False,
    json: Json = False,
    color: Color = "auto",
) -> None:
    """Remove the oldest segments of a session's journal. Nothing else ever deletes one."""
    from graph.commands.sessions import run_trim

    raise typer.Exit(run_trim(session, keep=keep, state=state, yes=yes, json=json, color=color))


@app.command()
def replay(
    session: SessionName = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Begin at the bar of this time.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End before the bar of this time.")] = None,
    engine: Annotated[ReplayEngine, typer.Option(help="direct, or graph (compiled).")] = ReplayEngine.DIRECT,
    state: Sessions = None,
    configs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Under this configuration instead of the session's own; labelled.")
    ] = None,
    other_code: Annotated[
        bool, typer.Option("--other-code", help="Also where other code recorded the session; labelled.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    color: Color = "auto",
) -> None:
    """Make every decision of a session again from its journal alone, and compare it node by node.

    The first difference ends it: bar, node, field and both values are named, and the exit code is 1. The session's folder is
    only read.
    """
    from graph.commands.replay import ReplayRequest, run_replay

    request = ReplayRequest(session, from_, to, engine.value, state, configs, other_code)
    raise typer.Exit(run_replay(request, json=json, quiet=quiet, color=color))


@app.command()
def step(
    session: SessionName = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stand at the first bar that closed then or later (UTC).")
    ] = None,
    bar: Annotated[int | None, typer.Option(metavar="N", help="Stand at this bar, counted from 0.")] = None,
    trade: Annotated[
        str | None, typer.Option(metavar="ID", help="Stand where the plan of a trade, plan, order or signal was made.")
    ] = None,
    break_: Annotated[
        list[str] | None,
        typer.Option("--break", metavar="NODE", help="`run` stops before this node (after:NODE: after it); may be repeated."),
    ] = None,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Follow the commands in this file, one a line; - is stdin.")
    ] = None,
    state: Sessions = None,
    other_code: Annotated[
        bool, typer.Option("--other-code", help="Also where other code recorded the session; labelled.")
    ] = False,
    json: Json = False,
    color: Color = "auto",
) -> None:
    """Step through a session node by node, forward and back, and see what would have been decided otherwise.

    At a terminal single keys move (? lists them). With --script or --json every pane comes as text. Commands are: next,
    back, bar +1, time, goto trade, prev refusal, trade ID, list, where, find, watch, origin, hit, break, run, set
    PLACE=VALUE, compare, original, note, return, why, show, help; docs/stepping.md has them all. Nothing is saved, and
    nothing that is tried can reach a broker or the session's files.
    """
    from graph.commands.step import StepRequest, run_step

    request = StepRequest(session, at, bar, trade, tuple(break_ or ()), script, state, other_code)
    raise typer.Exit(run_step(request, json=json, color=color))


@app.command()
def why(
    id_: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A trade, order, plan, signal or refusal: its id, R-<decision>-<n>, or CODE@TIME."),
    ] = None,
    none: Annotated[str | None, typer.Option("--none", metavar="SYMBOL", help="Why nothing was done in this symbol.")] = None,
    on: Annotated[str | None, typer.Option("--on", metavar="DAY", help="The trading day of --none, e.g. 2026-01-31.")] = None,
    session: Annotated[str | None, typer.Option(metavar="NAME", help="Which session; not needed where there is one.")] = None,
    state: Sessions = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write one page with the chart.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --html overwrite a file that is no such page.")] = False,
    other_code: Annotated[
        bool, typer.Option("--other-code", help="Also where other code recorded the session; labelled.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    color: Color = "auto",
) -> None:
    """Say why something was done or refused: every number on the way, and what would have turned it.

    The bar is made again from the session's journal; the session is only read. Exits with 1 where it does not come out the same.
    """
    from graph.commands.why import WhyRequest, run_why

    request = WhyRequest(id_, none, on, session, state, html, other_code, force)
    raise typer.Exit(run_why(request, json=json, quiet=quiet, color=color))


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="A code from a refusal or an error, e.g. COST_SHARE.")],
    json: Json = False,
    color: Color = "auto",
) -> None:
    """Say what a code means."""
    from graph.commands.explain import run_explain

    raise typer.Exit(run_explain(code, json=json, color=color))


@data_app.command("fetch")
def data_fetch(
    symbols: Annotated[str, typer.Option(metavar="LIST", help="Comma-separated: BTC/USDT:USDT or BINANCE:BTCUSDT.P.")],
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="First bar's open (UTC date or time).")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of recordings; only what this command wrote is added to.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Last bar's close (UTC date or time; default: now).")
    ] = None,
    tf: Annotated[str, typer.Option("--tf", metavar="LIST", help="Timeframes of the candles.")] = "5m,1h",
    exchange: Annotated[str, typer.Option(metavar="NAME", help="binance, bybit or okx.")] = "binance",
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="A local exchange instead: what brain exchange --http prints.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    color: Color = "auto",
) -> None:
    """Download history into a folder of recordings, for replay.

    Candles, and for perpetuals funding, mark prices and the hourly spot market. A run that was cut off, by kill -9 too, goes on
    where it stopped when the same command is given again. No key is needed.
    """
    from graph.commands.data import FetchRequest, run_fetch

    request = FetchRequest(exchange, symbols, tf, from_, to, out, address)
    raise typer.Exit(run_fetch(request, json=json, quiet=quiet, color=color))


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of recordings.")],
    json: Json = False,
    color: Color = "auto",
) -> None:
    """Report the quality of recordings; exit 1 where something is wrong.

    Looked for are holes, repeated rows, impossible bars, funding that is missing, and timeframes that disagree.
    """
    from graph.commands.data import run_check

    raise typer.Exit(run_check(folder, json=json, color=color))


@live_app.callback()
def live(
    context: typer.Context,
    evidence: Evidence = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the session (default: var/live); every start goes on from there."),
    ] = None,
    configs: Configs = None,
    symbols: Annotated[
        str | None, typer.Option(metavar="LIST", help="Perpetuals, comma-separated (default: BTC, ETH and SOL against USDT).")
    ] = None,
    exchange: Annotated[str | None, typer.Option(metavar="NAME", help="binance, which is the default; no other.")] = None,
    backup: Backup = None,
    full_size: Annotated[
        bool, typer.Option("--full-size/--canary", help="Whole entries, or every one as small as is legal, and no adds.")
    ] = False,
    handover: Annotated[
        bool, typer.Option("--handover", help="A stop leaves positions under their stops, and closes none.")
    ] = False,
    entry: EntryHow = None,
    slices: Slices = None,
    json: Json = False,
    quiet: Quiet = False,
    color: Color = "auto",
) -> None:
    """Trade with real money once every demand is met; until then show what is missing, by number, and refuse.

    Only paper by the wall's clock on a real exchange counts, and a person must have approved it with `brain live approve`. Keys
    come from API_KEY and API_SECRET; equity is what the account holds. Ctrl-C closes what is open, reduce-only; a second one
    leaves it under its stops.
    """
    if context.invoked_subcommand is not None:
        given = {
            "--evidence": evidence,
            "--state": state,
            "--configs": configs,
            "--symbols": symbols,
            "--exchange": exchange,
            "--backup": backup,
            "--full-size": full_size or None,
            "--handover": handover or None,
            "--entry": entry,
            "--slices": slices,
            "--json": json or None,
            "--quiet": quiet or None,
        }
        misplaced = [flag for flag, value in given.items() if value is not None]
        if misplaced:
            raise typer.BadParameter(f"{misplaced[0]} belongs behind {context.invoked_subcommand}, if it has it")
        return
    _say_that_it_loads(json=json, quiet=quiet, color=color)
    from graph.commands.live import run_live
    from graph.commands.live_run import LiveFlags

    flags = LiveFlags(evidence, state, configs, symbols, exchange, full_size, handover, backup, entry, slices)
    raise typer.Exit(run_live(flags, json=json, quiet=quiet, color=color))


@live_app.command("approve")
def live_approve(
    evidence: Evidence = None,
    configs: Configs = None,
    reviewer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who reviewed the evidence; asked for when not given.")
    ] = None,
    no_input: NoInput = False,
    color: Color = "auto",
) -> None:
    """Approve live trading on the evidence there is: with a reason and a typed confirmation, from a terminal only."""
    from graph.commands.live import run_approve

    raise typer.Exit(run_approve(evidence=evidence, configs=configs, reviewer=reviewer, no_input=no_input, color=color))


@governance_app.command("verify")
def governance_verify(configs: Configs = None, json: Json = False, color: Color = "auto") -> None:
    """Check that governance.yaml is what was signed."""
    from graph.commands.governance import run_verify

    raise typer.Exit(run_verify(configs=configs, json=json, color=color))


@governance_app.command("sign")
def governance_sign(
    configs: Configs = None,
    reviewer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who reviewed the change, for the lock; asked for when not given.")
    ] = None,
    no_input: NoInput = False,
    color: Color = "auto",
) -> None:
    """Sign a reviewed change of the limits: shows the difference, asks for a typed confirmation, from a terminal only."""
    from graph.commands.governance import run_sign

    raise typer.Exit(run_sign(configs=configs, reviewer=reviewer, no_input=no_input, color=color))


def _say_that_it_loads(*, json: bool, quiet: bool, color: str) -> None:
    """To import what trades can take seconds."""
    from graph.console import Console

    Console(color=color, json=json, quiet=quiet).stage("loading")


def main() -> None:
    """Entry point of the console command."""
    try:
        from graph.console import Console, run_app
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run_app(app, Console(), sys.argv[1:]))


if __name__ == "__main__":
    main()
