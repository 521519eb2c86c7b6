"""What a person sees while a run goes on: a bar where the end is known, else a small live panel; plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core.types import REGIME_CODES, TradingState
from graph.commands.common import say_time
from graph.console import Console
from graph.runner import Daemon

_EVERY_SECONDS = 0.25
_LINE_EVERY_SECONDS = 10.0
OnProgress = Callable[[], None]


@contextmanager
def watch(daemon: Daemon, console: Console) -> Iterator[OnProgress]:
    """Show the run of ``daemon`` until the block ends; the value is to be called after every bar."""
    total = daemon.expected_bars
    if total is not None:
        with console.progress(total, "trading on paper") as progress:
            ticker = _Ticker(daemon, lambda done: _advance(progress, daemon, done))
            yield ticker.tick
            ticker.show()
    elif console.animated:
        from rich.console import Console as RichConsole
        from rich.live import Live

        screen = RichConsole(file=console.err, force_terminal=True, no_color=not console.colored(console.err))
        with Live(_panel(daemon), console=screen, auto_refresh=False) as live:
            ticker = _Ticker(daemon, lambda _: live.update(_panel(daemon), refresh=True))
            yield ticker.tick
            ticker.show()
    else:
        yield _Ticker(daemon, lambda _: console.info(line(daemon)), _LINE_EVERY_SECONDS).tick


class _Ticker:
    """Calls ``show`` at most every ``every`` seconds of wall time, with the bars since the last call."""

    def __init__(self, daemon: Daemon, show: Callable[[int], None], every: float = _EVERY_SECONDS) -> None:
        self._daemon, self._show, self._every = daemon, show, every
        self._last_bars = 0
        self._due = 0.0

    def tick(self) -> None:
        """A bar is done."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._every
            self.show()

    def show(self) -> None:
        """Show how it stands now, due or not: the last bars of a run count too."""
        done, self._last_bars = self._daemon.bars - self._last_bars, self._daemon.bars
        self._show(done)


def _advance(progress: Any, daemon: Daemon, done: int) -> None:
    progress.note(f"{say_time(daemon.parts.clock.now_ms())}  equity {_equity(daemon):.2f}")
    progress.advance(done)


def _equity(daemon: Daemon) -> float:
    return daemon.parts.telemetry.equity or 0.0


def line(daemon: Daemon) -> str:
    """The run in one line, for logs and screen readers."""
    view, t = daemon.parts.context.governor.view, daemon.parts.telemetry
    held = ", ".join(f"{s} {p.side.value}" for s, p in daemon.parts.context.ledger.positions.items()) or "flat"
    return (
        f"{say_time(daemon.parts.clock.now_ms())} UTC  bar {daemon.bars}  {view.state.value}  equity {_equity(daemon):.2f} USD  "
        f"day {view.day_pnl_pct:+.2f} %  72 h {view.dd_72h_pct:.2f} % down  trades {t.stats.n}  {held}"
    )


def _panel(daemon: Daemon) -> Any:
    """State, equity, regimes, positions, the last refusal: everything with its word, never by colour alone."""
    from rich.panel import Panel
    from rich.table import Table

    context, t = daemon.parts.context, daemon.parts.telemetry
    view = context.governor.view
    facts = Table.grid(padding=(0, 2))
    facts.add_row("time", f"{say_time(daemon.parts.clock.now_ms())} UTC, bar {daemon.bars}")
    facts.add_row("state", f"{_GLYPH[view.state]} {view.state.value}")
    facts.add_row(
        "equity",
        f"{_equity(daemon):.2f} USD   day {view.day_pnl_pct:+.2f} % of -{context.config.governance.max_daily_loss_pct} %"
        f"   72 h drawdown {view.dd_72h_pct:.2f} % of {context.config.governance.kill_switch_drawdown_72h} %",
    )
    facts.add_row(
        "done",
        f"signals {sum(t.signals.values())}   plans {t.plans}   orders {t.orders}   trades {t.stats.n} ({t.stats.sum_r:+.2f} R)",
    )
    refusal = daemon.parts.recorder.last_refusal
    facts.add_row("last no", "none yet" if refusal is None else f"{refusal.code.value} {refusal.strategy} {refusal.symbol}")
    return Panel(_stack(facts, _markets(daemon)), title="PAPER", border_style="dim")


_GLYPH = {TradingState.ACTIVE: "●", TradingState.REDUCING: "▲", TradingState.HALTED: "■"}


def _markets(daemon: Daemon) -> Any:
    from rich.table import Table

    context = daemon.parts.context
    table = Table(box=None, padding=(0, 1))
    for column in ("market", "close", "regime 1h", "4h", "position", "R now", "stop"):
        number = column in {"close", "R now", "stop"}
        table.add_column(column, justify="right" if number else "left", no_wrap=number or column == "market")
    for index, symbol in enumerate(context.market.symbols):
        close = float(context.market.last_close[index])
        position = context.ledger.positions.get(symbol)
        held = (
            ("-", "", "")
            if position is None
            else (
                f"{position.side.value} {position.qty} {position.plan.strategy}",
                f"{position.r_now(close):+.2f}",
                str(position.stop),
            )
        )
        h1, h4 = REGIME_CODES[context.regimes.h1[index]], REGIME_CODES[context.regimes.h4[index]]
        table.add_row(symbol, f"{close:g}", h1.value, h4.value, *held)
    return table


def _stack(*parts: Any) -> Any:
    from rich.console import Group

    return Group(*parts)
