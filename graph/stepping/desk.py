"""The words of the stepper: one command a line, the same for a script, for the prompt and behind every key."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.clock import rfc3339
from graph.journaling import STATE_EVERY
from graph.parse import parse_time
from graph.replaying import Difference
from graph.stepping.conditions import parse_condition
from graph.stepping.errors import NotThere, StepError, nearest
from graph.stepping.forks import RUN_BARS
from graph.stepping.marks import Hit, Mark
from graph.stepping.moment import ROWS, differing
from graph.stepping.place import Place
from graph.stepping.record import FieldChange
from graph.stepping.serializer import load
from graph.stepping.stepper import Stepper
from graph.stepping.values import short
from graph.stepping.what_if import WhatIf

MONEY = "a what-if fills nothing: it says what would have been decided, and knows of no money"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table that was asked for last; ``place`` is where it leads."""

    place: Place
    time: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the person wrote down, and where."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Word:
    """One command: how it is written, what it does, the key that does the same."""

    usage: str
    help: str
    key: str = ""

    @property
    def name(self) -> str:
        """The first word."""
        return self.usage.split()[0]


_MARKS = "|".join(mark.value for mark in Mark)
WORDS: tuple[Word, ...] = (
    Word("next [N]", "let the next node run (N nodes)", "n"),
    Word("back [N]", "to the node before", "N"),
    Word("bar +N|-N|N", "N bars on, back, or to bar N", "b B"),
    Word("time TIME", "to the first bar that closed at TIME or later (UTC)", ":"),
    Word(f"goto {_MARKS}", "to the next bar with one", "t r g a"),
    Word(f"prev {_MARKS}", "to the previous one", "T R G A"),
    Word("trade ID", "to where the plan of a trade, plan, order or signal was made", ":"),
    Word(f"list {_MARKS}", "all of them, as a table", ":"),
    Word("where CONDITION", "every event of which it holds, as a table", "/"),
    Word("find [CONDITION]", "to the next event of which it holds", "c"),
    Word("rfind [CONDITION]", "to the previous one", "C"),
    Word("watch PLACE", "every change of a place in the state and who wrote it, as a table", "w"),
    Word("origin PLACE", "who wrote what stands there now, and when", "o"),
    Word("hit N", "to row N of the last table", "Enter"),
    Word("rows N", f"{ROWS} rows of the last table, from row N on", "j k"),
    Word("break NODE", "stop before a node, or no longer", "p"),
    Word("break after NODE", "stop after a node, or no longer", "P"),
    Word("run", "to the next breakpoint, in a what-if within 1,000 bars; without one to the end of the bar", ">"),
    Word("set PLACE=VALUE", "what-if: change what the next node reads", "e"),
    Word("compare", "what-if: decided then and now", "="),
    Word("original", "leave the what-if; the session stands where it stood", "x"),
    Word("fork NAME", "look at a what-if again", ":"),
    Word("drop NAME", "forget a what-if", ":"),
    Word("note TEXT", "write down something about this moment (kept until you leave)", "m"),
    Word("return", "to where you were before the last jump", "u"),
    Word("why", "what to ask `brain why` about this moment", "y"),
    Word("show [diff|full|raw]", "all panes; the state as difference, whole, or as JSON", "d"),
)
GRAMMAR = """\
PLACE      status.governor.equity, regimes.h1[0], regimes.h1[BTC], selection.scored[*].score
CONDITION  score >= 7 and regime == panic; len(risk.plans) > 0; not (trading == active); refusal in [SCORE_LOW, COST_SHARE]
VALUE      text, number with or without its unit, true, false, none, or JSON for more than one value"""


def words_page() -> str:
    """All commands with their keys, and the grammar."""
    width = max(len(word.usage) for word in WORDS)
    return "\n".join(f"{word.usage:<{width}}  {word.key:<7}  {word.help}" for word in WORDS) + "\n\n" + GRAMMAR


@dataclass(slots=True)
class Desk:
    """What a person has before them: the stepper, notes, places they came from, the table that was asked for last.

    Attributes:
        asked: how the session was asked for, as flags of ``brain why``.
        rows: of the last table.
        first: the first of them that is shown.
        table: its title.
        view: how the state is shown: diff, full or raw.
    """

    stepper: Stepper
    asked: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    first: int = 0
    table: str = ""
    notes: list[Note] = field(default_factory=list)
    trail: list[Place] = field(default_factory=list)
    condition: str = ""
    view: str = "diff"

    async def do(self, line: str) -> str:
        """Follow one command; what there is to say about it.

        Raises:
            StepError: it is unknown or cannot be followed; nothing has moved.
            NotThere: what it looks for does not exist; ``next N`` and ``back N`` have gone as far as there is.
        """
        name, _, rest = line.strip().partition(" ")
        known = {word.name for word in WORDS} | {"help"}
        if name not in known:
            raise StepError(f"{name!r} is no command{nearest(name, sorted(known))}", help="help")
        act: Callable[[str], Awaitable[str]] = getattr(self, f"_{name}")
        before, parted = self.stepper.place if self.stepper.shown is None else None, self.stepper.parted
        said = await act(rest.strip())
        if self.stepper.parted is not None and self.stepper.parted != parted:
            said += f"\nOTHER CODE: {apart(self.stepper.parted)}"
        if before is not None and name in _JUMPS:
            self.trail.append(before)
        return said

    # --- moving -------------------------------------------------------------------------------------------

    async def _next(self, rest: str) -> str:
        for _ in range(_count(rest)):
            await self.stepper.forward()
        return self._here()

    async def _back(self, rest: str) -> str:
        for _ in range(_count(rest)):
            await self.stepper.back()
        return self._here()

    async def _bar(self, rest: str) -> str:
        number = _integer(rest or "+1", "bar +1, bar -1 or bar 812")
        if rest[:1] in {"+", "-", ""}:
            await self.stepper.by_bars(number)
        else:
            await self.stepper.stand(number)
        return self._here()

    async def _time(self, rest: str) -> str:
        await self.stepper.stand(self.stepper.record.at_time(parse_time(rest)))
        return self._here()

    async def _goto(self, rest: str) -> str:
        return await self._to_mark(rest, back=False)

    async def _prev(self, rest: str) -> str:
        return await self._to_mark(rest, back=True)

    async def _to_mark(self, rest: str, *, back: bool) -> str:
        hit = await self.stepper.to_mark(_mark(rest), back=back)
        return f"{self._here()}: {hit.text}"

    async def _trade(self, rest: str) -> str:
        hit = self.stepper.record.plan(rest)
        await self.stepper.to_hit(hit)
        return f"{self._here()}: {hit.text}"

    async def _run(self, rest: str) -> str:  # noqa: ARG002
        stopped, fork = await self.stepper.run(), self.stepper.shown
        if fork is None:
            return self._here()
        looked = (
            "" if stopped or not self.stepper.breaks else f"; no breakpoint was come to ({RUN_BARS} bars at most are looked at)"
        )
        return f"{self._here()}{looked}; {self._in_short(fork)}"

    async def _return(self, rest: str) -> str:  # noqa: ARG002
        if not self.trail:
            raise NotThere("you have not jumped anywhere yet")
        await self.stepper.go(self.trail.pop())
        return self._here()

    # --- searching ----------------------------------------------------------------------------------------

    async def _list(self, rest: str) -> str:
        mark = _mark(rest)
        return self._tabulate(mark.value, [_row(hit) for hit in self.stepper.record.every(mark)])

    async def _where(self, rest: str) -> str:
        condition = parse_condition(rest, self.stepper.record.symbols)
        self.condition = rest
        return self._tabulate(rest, [_row(hit) for hit in self.stepper.record.where(condition)])

    async def _find(self, rest: str) -> str:
        return await self._to_condition(rest, back=False)

    async def _rfind(self, rest: str) -> str:
        return await self._to_condition(rest, back=True)

    async def _to_condition(self, rest: str, *, back: bool) -> str:
        text = rest or self.condition
        if not text:
            raise StepError("there is no condition yet", help="find score >= 7")
        hit = await self.stepper.to_condition(parse_condition(text, self.stepper.record.symbols), back=back)
        self.condition = text
        return f"{self._here()}: {hit.text}"

    async def _watch(self, rest: str) -> str:
        place = self.stepper.path_of(rest)
        changed = self.stepper.record.watch(place)
        return self._tabulate(str(place), [_changed(change) for change in changed])

    async def _origin(self, rest: str) -> str:
        place = self.stepper.path_of(rest)
        found, fork = self.stepper.origin(place), self.stepper.shown
        if found is not None and found.edit is not None:
            return f"{place} was put there by hand in this what-if: {found.edit}"
        if found is None or found.change is None:
            raise NotThere(f"nothing has been written to {place} up to here")
        last = found.change
        where = f", in {fork.name}" if fork is not None and not found.recorded else self._on_record()
        return f"{place} is {short(last.new)} since bar {last.bar}, {rfc3339(last.ts)}, written by {last.node}{where}"

    async def _hit(self, rest: str) -> str:
        number = _integer(rest, "hit 1")
        if not 1 <= number <= len(self.rows):
            raise NotThere(f"the table has rows 1 to {len(self.rows)}" if self.rows else "there is no table yet")
        row = self.rows[number - 1]
        await self.stepper.go(row.place)
        return f"{self._here()}: {row.text}"

    async def _rows(self, rest: str) -> str:
        number = _integer(rest, "rows 201")
        if not 1 <= number <= len(self.rows):
            raise NotThere(f"the table has rows 1 to {len(self.rows)}" if self.rows else "there is no table yet")
        self.first = number - 1
        return self._counted()

    # --- breakpoints and what-ifs ---------------------------------------------------------------------------

    async def _break(self, rest: str) -> str:
        after = rest.startswith("after ")
        node = rest.removeprefix("after ").strip()
        is_set = self.stepper.break_at(node, after=after)
        return f"breakpoint {'after' if after else 'before'} {node} {'set' if is_set else 'lifted'}"

    async def _set(self, rest: str) -> str:
        place, sign, value = rest.partition("=")
        if not sign:
            raise StepError(f"set was {rest!r}, expected PLACE=VALUE", help="set regimes.h1[0]=panic")
        fork = await self.stepper.change(self.stepper.path_of(place), value)
        return f"WHAT-IF {fork}"

    async def _compare(self, rest: str) -> str:
        fork = self._fork_of(rest) if rest else self.stepper.shown
        if fork is None:
            raise StepError("no what-if is looked at", help="set PLACE=VALUE, then run, then compare")
        lines = comparison(fork)
        if self.stepper.other_code:
            lines.append("OTHER CODE: then is what the other code decided; not all that differs follows from the change by hand")
        return "\n".join(lines)

    async def _original(self, rest: str) -> str:  # noqa: ARG002
        self.stepper.show(None)
        return self._here()

    async def _fork(self, rest: str) -> str:
        self.stepper.show(_full_name(rest))
        return self._here()

    def _on_record(self) -> str:
        """What to say of something from the record where what is shown is not all from there."""
        return " (on record)" if self.stepper.shown is not None or self.stepper.parted is not None else ""

    async def _drop(self, rest: str) -> str:
        await self.stepper.drop(_full_name(rest))
        return f"{_full_name(rest)} is forgotten"

    def _fork_of(self, name: str) -> WhatIf:
        fork = self.stepper.what_ifs.get(_full_name(name))
        if fork is None:
            raise StepError(f"there is no {name!r}{nearest(name, self.stepper.what_ifs)}")
        return fork

    def _in_short(self, fork: WhatIf) -> str:
        first = next((row for row in fork.compared if row.node is not None), None)
        if first is None:
            return f"WHAT-IF: {len(fork.compared)} events decided as recorded"
        return f"WHAT-IF: {differing(fork.compared)} of {len(fork.compared)} events decided otherwise, first at {first.node}"

    # --- the rest -------------------------------------------------------------------------------------------

    async def _note(self, rest: str) -> str:
        self.notes.append(Note(self.stepper.place, rest))
        return f"note {len(self.notes)} at {self._here()}"

    async def _why(self, rest: str) -> str:  # noqa: ARG002
        flags = " ".join(shlex.quote(flag) for flag in self.asked)
        lines = [f"{what}: brain why {name} {flags}".rstrip() for name, what in self._ids().items()]
        lines = lines or [f"nothing was wanted here; why not: brain why --none SYMBOL --on DAY {flags}".rstrip()]
        return "\n".join((["of what is on record:"] if self._on_record() else []) + lines[:ROWS])

    def _ids(self) -> dict[str, str]:
        """What ``brain why`` can be asked about this event, and what it is."""
        at = self.stepper.place
        made = self.stepper.record.bar(at.bar).made
        if at.event >= len(made):
            return {}
        seq, record = made[at.event].seq, load("record", dict(made[at.event].outputs)["monitor"])
        refused = {f"R-{seq}-{place}": f"{code} {ref}" for place, (code, ref) in enumerate(record.refusals, 1)}
        return {**dict.fromkeys(record.plans, "plan"), **dict.fromkeys(record.signals, "signal"), **refused}

    async def _show(self, rest: str) -> str:
        if rest not in {"", "diff", "full", "raw"}:
            raise StepError(f"show was {rest!r}, expected diff, full or raw")
        self.view = rest or self.view
        return self._here()

    async def _help(self, rest: str) -> str:  # noqa: ARG002
        return words_page()

    def _tabulate(self, title: str, rows: Sequence[Row]) -> str:
        self.table, self.rows, self.first = f"{title}{self._on_record()}", list(rows), 0
        return self._counted()

    def _counted(self) -> str:
        shown = f", {self.first + 1} to {self.first + len(self.window)} are shown" if len(self.window) < len(self.rows) else ""
        return f"{self.table}: {len(self.rows)} rows{shown}"

    @property
    def window(self) -> list[Row]:
        """The rows of the last table that are shown as text."""
        return self.rows[self.first : self.first + ROWS]

    def _here(self) -> str:
        stepper = self.stepper
        at = "the end of the event" if stepper.next is None else f"before {stepper.next}"
        where = f"bar {stepper.bar}, {rfc3339(stepper.walk.event.ts)}, {at}"
        return where if stepper.shown is None else f"WHAT-IF ({stepper.shown.name}) {where}"

    def shown(self) -> dict[str, Any]:
        """What stands beside the panes of the moment: table, notes."""
        return {
            "table": {
                "title": self.table,
                "total": len(self.rows),
                "first": self.first + 1,
                "rows": [
                    {"bar": row.place.bar, "event": row.place.event, "time": row.time, "text": row.text} for row in self.window
                ],
            },
            "notes": [{"bar": note.place.bar, "step": note.place.step, "text": note.text} for note in self.notes],
        }


def apart(found: Difference) -> str:
    """Where the record and this code parted, and what is to be seen since."""
    where = ".".join(found.path) or "all of it"
    return (
        f"the record and this code part at bar {found.bar}, node {found.node}, {where}: "
        f"recorded {short(found.recorded)}, now {short(found.now)}; until the next recorded state "
        f"(within {STATE_EVERY} bars) all follows from this code"
    )


TABLES = frozenset({"list", "where", "watch", "rows"})
"""Commands after which a table is shown."""
_JUMPS = frozenset({"bar", "time", "goto", "prev", "trade", "find", "rfind", "hit", "run"})


def comparison(fork: WhatIf) -> list[str]:
    """Then and now in lines: the first node that differs, what differs there, both decisions."""
    lines = [f"WHAT-IF {fork}"]
    if not fork.compared:
        return [*lines, "nothing is decided yet: run"]
    first = next((row for row in fork.compared if row.node is not None), None)
    lines.append(f"{differing(fork.compared)} of {len(fork.compared)} events decided otherwise")
    if first is not None:
        lines.append(f"first node that differs: {first.node}, bar {first.bar}, {rfc3339(first.ts)}")
        lines += [f"  {change}" for change in first.changes[:12]]
        for key in dict.fromkeys((*first.then, *first.now)):
            then, now = first.then.get(key), first.now.get(key)
            if then != now:
                lines += [f"{key} then  {short(_listed(then))}", f"{key} now   {short(_listed(now))}"]
        lines.append(MONEY)
    return lines


def _listed(value: Any) -> Any:
    return [_listed(inner) for inner in value] if isinstance(value, tuple | list) else value


def _row(hit: Hit) -> Row:
    return Row(Place(hit.bar, hit.event, 0), rfc3339(hit.ts), hit.text)


def _changed(change: FieldChange) -> Row:
    text = f"{change.node}: {short(change.old, 40)} -> {short(change.new, 40)}"
    return Row(Place(change.bar, change.event, 0), rfc3339(change.ts), text)


def _mark(text: str) -> Mark:
    if text not in set(Mark):
        raise StepError(f"there is nothing called {text!r} to go to{nearest(text, [mark.value for mark in Mark])}")
    return Mark(text)


def _full_name(text: str) -> str:
    return f"what-if {text}" if text.isdigit() else text


def _count(text: str) -> int:
    return max(1, _integer(text or "1", "a number above zero"))


def _integer(text: str, example: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise StepError(f"{text!r} is no number, expected {example}") from error
