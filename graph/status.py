"""What a person sees while a run goes on: a bar where the end is known, else a small live panel; plain lines in a log."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Any

from core.codes import RefusalCode
from core.exec.live.halts import Halt
from core.types import REGIME_CODES, Regime, TradingState
from graph.commands.common import remedy_of, say_time
from graph.console import Console
from graph.runner import Daemon

_EVERY_SECONDS = 0.25
_LINE_EVERY_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 5.0
"""A halt wakes whoever shows it; that one was lifted nobody tells."""
OnProgress = Callable[[], None]
PAPER, LIVE = "PAPER", "LIVE"
"""What the panel of a run is headed with."""


@contextmanager
def watch(daemon: Daemon, console: Console, title: str = PAPER, *, first_bar: str = "") -> Iterator[Ticker]:
    """Show the run of ``daemon`` until the block ends; the value is to be called after every bar.

    ``first_bar`` says when that is due, where it is waited for.
    """

    def say_line() -> None:
        console.info(line(daemon, console.zone))

    total = daemon.expected_bars
    if first_bar and (total is not None or not console.animated):
        console.stage(first_bar)
    if total is not None:
        with console.progress(total, "trading on paper") as progress:
            ticker = Ticker(daemon, lambda done: _advance(progress, daemon, done, console.zone), begin=progress.go_on_from)
            if not console.animated:
                ticker.say_halts = say_line
            yield ticker
            ticker.show()
    elif console.animated:
        from rich.console import Console as RichConsole
        from rich.live import Live

        screen = RichConsole(file=console.err, force_terminal=True, no_color=not console.colored(console.err))

        def drawn() -> Any:
            waits = daemon.bars == daemon.resumed_from
            return _panel(daemon, console.zone, title, first_bar if waits else "")

        with Live(drawn(), console=screen, auto_refresh=False) as live:
            ticker = Ticker(daemon, lambda _: live.update(drawn(), refresh=True))
            yield ticker
            ticker.show()
    else:
        yield Ticker(daemon, lambda _: say_line(), _LINE_EVERY_SECONDS)


class Ticker:
    """Calls ``show`` at most every ``every`` seconds of wall time, with the bars since the last call.

    ``begin`` is told before how many the session had when it was gone on with.

    Attributes:
        say_halts: shows a halt that came or went between two bars.
    """

    def __init__(
        self,
        daemon: Daemon,
        show: Callable[[int], None],
        every: float = _EVERY_SECONDS,
        begin: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._daemon, self._show, self._every, self._begin = daemon, show, every, begin
        self._last_bars = -1
        self._due = 0.0
        self._woken = asyncio.Event()
        self.say_halts = self.show

    def __call__(self) -> None:
        """A bar is done."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._every
            self.show()

    def show(self) -> None:
        """Show how it stands now, due or not: the last bars of a run count too."""
        if self._last_bars < 0:
            self._last_bars = self._daemon.resumed_from
            self._begin(self._last_bars)
        done, self._last_bars = self._daemon.bars - self._last_bars, self._daemon.bars
        self._show(done)

    def wake(self) -> None:
        """Somebody was called: look at once what is halted."""
        self._woken.set()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """While the block lasts, a halt is shown and counted when it comes and when it goes, not only after the next bar."""
        task = asyncio.create_task(self._follow(), name="halts between bars")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        shown = self._daemon.look_at_halts()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            halts = self._daemon.look_at_halts()
            if halts != shown:
                self.say_halts()
            shown = halts


def _advance(progress: Any, daemon: Daemon, done: int, zone: tzinfo) -> None:
    state = verdict(daemon)
    trouble = "" if state.word == "active" else f"  {state}"
    progress.note(f"{say_time(daemon.parts.clock.now_ms(), zone)}  equity {_equity(daemon):.2f}{trouble}")
    progress.advance(done)


def _equity(daemon: Daemon) -> float:
    marked = daemon.parts.telemetry.equity
    return daemon.parts.context.ledger.starting_equity if marked is None else marked


def _time(daemon: Daemon, zone: tzinfo, between: str) -> str:
    now_ms = daemon.parts.clock.now_ms()
    return f"{say_time(now_ms, zone)}{between}bar {daemon.bars}" if now_ms else "no bar yet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the system may do now, why, and what a person can do about it."""

    glyph: str
    word: str
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.glyph} {self.word}" + (f": {self.reason}" if self.reason else "")


def verdict(daemon: Daemon) -> Verdict:
    """The one sentence that an owner needs first; the gravest reason wins."""
    context = daemon.parts.context
    view, status = context.governor.view, daemon.last_state.get("status")
    if view.kill_switch:
        reason = f"kill-switch, equity was {context.config.governance.kill_switch_drawdown_72h} % below its 72 h peak"
        return Verdict("■", "halted", reason, "look into it, then `brain unlock --state DIR`")
    halted = _halted(daemon)
    if halted is not None and halted.word == "halted":
        return halted
    if view.governance_changed:
        return Verdict("▲", "reducing", "governance.yaml changed", "have it reviewed, `brain governance sign`, then restart")
    if view.day_lock:
        return Verdict("▲", "reducing", f"day lock at {view.day_pnl_pct:+.2f} %", "entries open again with the next trading day")
    if daemon.bars == 0:
        starting = Verdict("○", "starting", "no bar has been decided yet")
        return starting if halted is None else replace(starting, reason=halted.reason, remedy=halted.remedy)
    if view.state is not TradingState.ACTIVE:
        return Verdict("▲", view.state.value, "equity is not known yet")
    if status is not None and status.health.paused:
        gates = ", ".join(status.health.paused)
        if RefusalCode.JOURNAL_LOST in status.health.paused and daemon.not_written is not None:
            gates += f", the journal can't be written: {daemon.not_written}"
        return Verdict("▲", "paused", gates, "exits go on; entries resume when the gate is well")
    if halted is not None:
        return halted
    if status is not None and status.health.blocked:
        blocked = ", ".join(f"{_short(symbol)} {code.value}" for symbol, code in status.health.blocked)
        return Verdict("●", "active", f"but not on {blocked}")
    return Verdict("●", "active")


def _halted(daemon: Daemon) -> Verdict | None:
    """What at the exchange forbids entries: everywhere, or on some symbols."""
    halts = daemon.halts
    if not halts:
        return None
    where = {halt.symbol for halt in halts}
    everywhere = "" in where or where >= set(daemon.parts.context.market.symbols)
    remedy = remedy_of(halts)
    if everywhere:
        return Verdict("■", "halted", say_halts(halts), remedy)
    return Verdict("▲", "active", f"but nothing is opened on {say_halts(halts)}", remedy)


def say_halts(halts: tuple[Halt, ...]) -> str:
    """Reasons in one line: the first of each symbol, and how many more there are."""
    first: dict[str, Halt] = {}
    for halt in halts:
        first.setdefault(halt.symbol, halt)
    said = "; ".join(f"{_short(symbol) if symbol else halt.where}: {halt.text}" for symbol, halt in first.items())
    more = len(halts) - len(first)
    return said + (f"; and {more} more" if more else "")


def _short(symbol: str) -> str:
    """``BTC`` for ``BTC/USDT:USDT``, ``BTC spot`` for ``BTC/USDT``."""
    base = symbol.split("/", maxsplit=1)[0]
    return base if ":" in symbol else f"{base} spot"


def outside(daemon: Daemon) -> str:
    """What the exchange holds that belongs to no plan, so that "flat" hides none of it; empty: nothing."""
    held = daemon.outside()
    return f"outside our plans: {'; '.join(held)}; nothing is opened there" if held else ""


def line(daemon: Daemon, zone: tzinfo = UTC) -> str:
    """The run in one line, for logs and screen readers."""
    view, t = daemon.parts.context.governor.view, daemon.parts.telemetry
    ours = ", ".join(f"{_short(s)} {p.side.value}" for s, p in daemon.parts.context.ledger.positions.items())
    held = ", ".join(text for text in (ours, outside(daemon)) if text) or "flat"
    now = verdict(daemon)
    return (
        f"{_time(daemon, zone, '  ')}  "
        f"{now.word}{f' ({now.reason})' if now.reason else ''}  "
        f"equity {_equity(daemon):.2f} USD  day {view.day_pnl_pct:+.2f} %  72 h {view.dd_72h_pct:.2f} % down  "
        f"trades {t.stats.n}  {held}"
    )


def _panel(daemon: Daemon, zone: tzinfo, title: str, first_bar: str = "") -> Any:
    """State and why, equity against its limits, what was done and refused, markets, positions; never by colour alone."""
    from rich.panel import Panel
    from rich.table import Table

    context, t, now = daemon.parts.context, daemon.parts.telemetry, verdict(daemon)
    view, limits = context.governor.view, context.config.governance
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_row("time", _time(daemon, zone, ", ") + (f"; {first_bar}" if first_bar else ""))
    facts.add_row("state", f"{now}" + (f"\n{now.remedy}" if now.remedy else ""))
    facts.add_row("equity", f"{_equity(daemon):.2f} USD, {t.stats.n} trades, {t.stats.sum_r:+.2f} R")
    day = f"day {view.day_pnl_pct:+.2f} of -{limits.max_daily_loss_pct} %"
    facts.add_row("limits", f"{day}, 72 h -{view.dd_72h_pct:.2f} of -{limits.kill_switch_drawdown_72h} %")
    facts.add_row("done", f"signals {sum(t.signals.values())}, plans {t.plans}, orders {t.orders}")
    facts.add_row("refused", _refused(daemon))
    return Panel(_stack(facts, _markets(daemon), _positions(daemon, zone)), title=title, border_style="dim")


def _refused(daemon: Daemon) -> str:
    counts = sorted(((n, code) for code, n in daemon.parts.telemetry.refusals.items() if n), reverse=True)
    return ", ".join(f"{code} {n}" for n, code in counts[:3]) or "nothing yet"


_REGIME_WORDS = {
    Regime.UNKNOWN: "?",
    Regime.TREND_UP: "up",
    Regime.TREND_DOWN: "down",
    Regime.RANGE_LOWVOL: "calm range",
    Regime.RANGE_HIGHVOL: "wide range",
    Regime.PANIC: "panic",
}


def _markets(daemon: Daemon) -> Any:
    from rich.table import Table

    context = daemon.parts.context
    table = Table(box=None, padding=(0, 2))
    table.add_column("market", no_wrap=True)
    table.add_column("close", justify="right", no_wrap=True)
    table.add_column("regime 1h", no_wrap=True)
    table.add_column("regime 4h", no_wrap=True)
    for index, symbol in enumerate(context.market.symbols):
        close = float(context.market.last_close[index])
        price = "-" if math.isnan(close) else str(context.market.instruments[index].price_near(close))
        held = (REGIME_CODES[context.regimes.h1[index]], REGIME_CODES[context.regimes.h4[index]])
        table.add_row(_short(symbol), price, *(_REGIME_WORDS[regime] for regime in held))
    return table


def _positions(daemon: Daemon, zone: tzinfo) -> str:
    context = daemon.parts.context
    lines = []
    for symbol, position in context.ledger.positions.items():
        r_now = position.r_now(float(context.market.last_close[context.market.index[symbol]]))
        lines.append(
            f"{_short(symbol)} {position.side.value} {position.qty} since {say_time(position.opened_ts, zone)}, "
            f"{r_now:+.2f} R, stop {position.stop}, {position.plan.strategy}"
        )
    lines += [text for text in (outside(daemon),) if text]
    return "\n".join(lines) or "no open position"


def _stack(*parts: Any) -> Any:
    from rich.console import Group

    return Group(*parts)
