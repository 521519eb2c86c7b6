"""``brain accept``: a person settles what halts a session at an exchange, from a terminal, with a reason on record."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from core.errors import LockedError
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox_reader import Standing, standing
from core.venues.words import ZERO
from graph.commands.common import who_asks
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode, UsageError
from graph.session_dir import Accepted, AcceptRequest, SessionDir

SCHEMA = "brain.accept/1"
WORD = "ACCEPT"


class NotATerminal(LockedError):
    """What the exchange has is taken over by a person only."""

    default_code = "LOCK-005"
    exit_code = 3


def run_accept(*, state: Path, symbol: str | None, reason: str | None, no_input: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, no_input=no_input)
    return run_command(console, SCHEMA, lambda: _accept(state, symbol, reason, console), effect="nothing was accepted")


def _accept(state: Path, symbol: str | None, reason: str | None, console: Console) -> Answer:
    if not console.interactive:
        raise NotATerminal(
            f"accept was {console.unattended}, and only a person may say what the exchange has",
            help=f"look at the exchange, then at a terminal: brain accept --state {state}",
        )
    folder = SessionDir(state, create=False)
    found = standing(folder.orders)
    halts = [halt for halt in found.halts if symbol is None or symbol in (halt.symbol, halt.symbol.partition("/")[0])]
    compared = {halt.symbol for halt in halts if halt.kind is HaltKind.POSITION}
    halts = [halt for halt in halts if halt.kind is not HaltKind.BOOKS or halt.symbol not in compared]
    mine = [halt for halt in halts if halt.kind.of_position or halt.kind.by_person]
    for halt in halts:
        console.info(explained(halt, found))
    if not mine:
        what = "Nothing that is halted waits for a person." if halts else "Nothing is halted; there is nothing to accept."
        return Answer({"accepted": False}, what, ExitCode.NO)
    said = (reason or console.ask("What did you find at the exchange? ")).strip()
    if not said:
        raise UsageError(
            "the reason was empty, expected a sentence for the record", help="brain accept --state DIR --reason TEXT"
        )
    if not console.confirm("What the exchange has is then what holds.", WORD):
        return Answer({"accepted": False}, "Not confirmed; it stays halted.", ExitCode.NO)
    items = tuple(Accepted(halt.symbol, halt.kind.value, halt.ref, halt.venue) for halt in mine)
    folder.request_accept(AcceptRequest(said, who_asks(), items))
    return Answer({"accepted": True}, "Recorded. The daemon takes it at its next bar, or at its next start.")


def explained(halt: Halt, found: Standing) -> str:
    """What is amiss, what each side has, and what accepting would do."""
    if halt.kind.by_person:
        return f"{halt.where}: {halt.text}\n  accepting means: you have looked, and it is settled"
    if not halt.kind.of_position:
        return f"{halt.where}: {halt.text}\n  accepting does not settle this; it goes when that is no longer so"
    booked, held, venue = found.booked.get(halt.symbol, ZERO), found.held.get(halt.symbol, ZERO), Decimal(halt.venue)
    has = f"the exchange has {venue}, the books have {booked}, the fills on record come to {held}"
    return f"{halt.symbol}: {has}\n  {halt.text}\n  accepting means: {'; '.join(_effects(halt.symbol, venue, booked))}"


def _effects(symbol: str, venue: Decimal, booked: Decimal) -> list[str]:
    stays = min(booked, venue, key=abs) if booked * venue > 0 else ZERO
    effects = []
    if booked != stays:
        effects.append(f"the books close {abs(booked - stays)} at the last price, by hand")
    if venue != stays:
        effects.append(
            f"{venue - stays} stay at the exchange under a stop and belong to no plan; nothing is opened on {symbol} until they "
            "are gone"
        )
    return effects or ["the record is set to what the exchange and the books have"]
