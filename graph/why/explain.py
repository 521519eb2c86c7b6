"""Explains: stands before the bar of a decision, asks the nodes again and again, and proves that the bar comes out the same.

The session's files are only read. What the bar is made again with can reach neither a broker nor the journal
(:mod:`graph.rerun`), and what-ifs are run beside it (:mod:`graph.why.asif`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from itertools import groupby

from configs.validators import Configuration
from core.canonical import encode
from core.codes import RefusalCode
from core.journal.reader import JournalReader
from core.journal.records import Opening
from core.types import Timeframe
from graph.opening import code_in_use, info_of
from graph.replaying import Differs
from graph.rerun import Rerun, standing_before
from graph.sessions import openings
from graph.why.afterwards import afterwards
from graph.why.asif import Decided, Idea, World, decide, fate_of
from graph.why.chain import chain, scored_of
from graph.why.chart import Window, chart_of, span_of, windows
from graph.why.flips import told
from graph.why.gates import gates_in_turn
from graph.why.inputs import flips_for
from graph.why.life import life
from graph.why.model import MOST_REASONS, Flip, Line, Missing, Proof, Reason, Step, Why
from graph.why.onlooker import Onlooker
from graph.why.other_code import labels_of, made_again, reading
from graph.why.reasons import reason_of, reasons_against, reasons_for, reasons_of_move
from graph.why.records import Records, Subject
from graph.why.seen import keys_of_rule, missing, plain_value, seen_by_move
from graph.why.verdict import verdict
from tools.context import BrainContext
from tools.state import BrainState

_NO_VALUE = (RefusalCode.WARMING_UP, RefusalCode.MISSING_INPUT)


@dataclass(slots=True)
class _Seen:
    """What was found out at the moment of the decision."""

    reasons: tuple[Reason, ...] = ()
    flips: tuple[Flip, ...] = ()
    note: str = ""
    missing: tuple[Missing, ...] = ()
    chain: tuple[Step, ...] = ()


class _Asker(Onlooker):
    """Asks, for each subject of the bar, what is found out at the moment only."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Nothing is looked for, and nothing was found."""
        self.watching = False
        self.subjects: Sequence[Subject] = ()
        self.found: dict[str, _Seen] = {}
        self.asked: dict[str, bytes] = {}
        self.known: dict[Idea, tuple[Flip, ...]] = {}
        self.wrote = {}

    async def look(self, state: BrainState, context: BrainContext) -> None:
        for subject in self.subjects:
            if subject.symbol in context.market.index:
                self.found[subject.id] = await self._ask(self.world(state, context, subject.symbol), subject)

    async def _ask(self, world: World, subject: Subject) -> _Seen:
        idea = idea_of(subject)
        decided = await decide(world, self.apart)
        self.asked = {"strategy_selection": encode(decided.selection), "risk_manager": encode(decided.risk)}
        flips = await self._flips(world, idea, subject, decided)
        return _Seen(
            reasons=await self._reasons(world, idea, subject, decided),
            flips=flips,
            note=_note(subject, flips),
            missing=missing(world, subject, scored_of(subject, decided)),
            chain=chain(world, idea, subject, decided),
        )

    async def _flips(self, world: World, idea: Idea, subject: Subject, decided: Decided) -> tuple[Flip, ...]:
        """Those of the idea: a trade, its plan and its orders share one."""
        if idea not in self.known:
            strategy = world.context.strategies.get(subject.strategy)
            rule = () if strategy is None else keys_of_rule(strategy.required, subject)
            self.known[idea] = await flips_for(world, idea, decided, rule, subject.tf, self.apart)
        return self.known[idea]

    async def _reasons(self, world: World, idea: Idea, subject: Subject, decided: Decided) -> tuple[Reason, ...]:
        config = world.context.config
        if subject.move is not None:
            plan = subject.plans[0] if subject.plans else subject.plan
            return reasons_of_move(subject.move, plan, config, seen_by_move(world, subject.move))
        fate = fate_of(idea, decided)
        if fate.done and subject.plan is not None:
            return reasons_for(subject.signal, scored_of(subject, decided), subject.plan, config)
        stopped = await gates_in_turn(idea, world, self.apart, MOST_REASONS)
        told_first = () if subject.refusal is None else (subject.refusal,)
        others = tuple(one for one in stopped if one.code not in {refusal.code for refusal in told_first})
        return reasons_against((*told_first, *others), config)


def _note(subject: Subject, flips: tuple[Flip, ...]) -> str:
    if subject.refusal is not None and subject.refusal.code in _NO_VALUE:
        return "not assessable: what was missing has no value, and so no distance to one"
    return f"nearest: {told(flips)}"


def idea_of(subject: Subject) -> Idea:
    """What was, or might have been, done."""
    return Idea(subject.symbol, subject.strategy, subject.side, subject.plan_kind, subject.move)


@dataclass(slots=True)
class Explainer:
    """Explains what is on record of one session.

    Attributes:
        reader: the session's journal.
        records: the session's records.
        other_code: whether the session may have been recorded by other code; explanations are labelled with it.
        today: digest of the configuration in force, for a label where it is not the session's; "" where nobody asks.
    """

    reader: JournalReader
    records: Records
    other_code: bool = False
    today: str | None = ""

    async def one(self, name: str) -> Why:
        """Explain what ``name`` names.

        Raises:
            StateError: nothing has that id, or the journal cannot be read there.
        """
        return (await self.many((self.records.find(name),)))[0]

    async def many(self, subjects: Sequence[Subject]) -> tuple[Why, ...]:
        """Explain several, in order of time: the session is walked once from the first to the last.

        Raises:
            StateError: the journal cannot be read there.
            OtherCode: it was recorded by other code, and that was not allowed, or what it left cannot be taken over.
        """
        in_order = sorted(subjects, key=lambda subject: subject.ts)
        bars = {ts: self.records.bar_of(ts) for ts in dict.fromkeys(subject.ts for subject in in_order)}
        recorded = openings(self.reader, min(bars.values()), max(bars.values()) + 1)
        labels = labels_of(recorded, self.today, other_code=self.other_code)
        with made_again(recorded):
            return await self._walk(in_order, bars, labels)

    async def _walk(self, in_order: Sequence[Subject], bars: dict[int, int], labels: tuple[str, ...]) -> tuple[Why, ...]:
        onlooker, drawn = _Asker(), self._windows(in_order)
        found: list[Why] = []
        read = reading(other_code=self.other_code)
        with standing_before(self.reader, bars[in_order[0].ts], onlooker, read=read) as rerun:
            for ts, group in groupby(in_order, key=lambda subject: subject.ts):
                here = list(group)
                proof = await self._stand(rerun, onlooker, here, bars[ts])
                for subject in here:
                    seen = onlooker.found.get(subject.id) or _from_records(subject, read(rerun.opening), proof)
                    found.append(_why(rerun.opening, subject, seen, proof, drawn.get(subject.symbol), labels))
        return tuple(found)

    async def _stand(self, rerun: Rerun, onlooker: _Asker, subjects: list[Subject], bar: int) -> Proof:
        """Go up to ``bar``, look at it, and make it again; what came of comparing it."""
        onlooker.forget()
        difference, made = "", False
        try:
            while rerun.bar < bar and await rerun.next() is not None:
                pass
            onlooker.subjects, onlooker.watching = subjects, True
            made = rerun.bar == bar and await rerun.next() is not None
        except Differs as differs:
            difference = str(differs.difference)
        finally:
            onlooker.watching = False
        if not difference and not made:
            difference = f"bar {bar} is not whole in the journal"
        return self._proof(rerun, onlooker, subjects[0], bar, difference)

    def _proof(self, rerun: Rerun, onlooker: _Asker, subject: Subject, bar: int, difference: str) -> Proof:
        opening, seq_link = rerun.opening, self.records.decision_at(subject.ts)
        apart = [name for name, payload in onlooker.asked.items() if onlooker.wrote.get(name, payload) != payload]
        if not difference and apart:
            difference = f"bar {bar}: asked apart, {', '.join(apart)} writes another value than in the run"
        now, then = code_in_use(), opening.code
        config = reading(other_code=self.other_code)(opening)
        same_code = "the code in use" if now["source"] == then["source"] else f"the code in use is {now['source'][:12]}"
        lines = [
            Line("bar", bar, "", f"decision {seq_link[0]}"),
            Line("link of the decision chain", seq_link[1]),
            *(Line(f"hash of {name}", sha256(payload).hexdigest()) for name, payload in onlooker.wrote.items()),
            Line("session", opening.session),
            Line("code version", then["version"], "", f"source {then['source'][:12]}, {same_code}"),
            Line("configuration", config.digest),
            Line("governance", config.governance_digest),
            *_rule_lines(config, subject),
        ]
        return Proof(not difference, difference, tuple(lines))

    def _windows(self, subjects: Sequence[Subject]) -> dict[str, Window]:
        """Bars for all charts, read once."""
        info = info_of(self.reader.opening())
        spans = [span_of(subject, info.base_tf[subject.symbol]) for subject in subjects if subject.symbol in info.base_tf]
        if not spans:
            return {}
        symbols = sorted({subject.symbol for subject in subjects} & set(info.symbols))
        first, until = self.records.bar_after(min(start for start, _ in spans)), max(end for _, end in spans)
        return windows(self.reader, info, symbols, first, until)


def _why(opening: Opening, subject: Subject, seen: _Seen, proof: Proof, drawn: Window | None, labels: tuple[str, ...]) -> Why:
    shown = Window(Timeframe.M5.ms)
    if drawn is not None:
        shown = drawn.cut(*span_of(subject, info_of(opening).base_tf[subject.symbol]))
    return Why(
        id=subject.id,
        kind=subject.kind.value,
        verdict=verdict(subject, opening, labels),
        reasons=seen.reasons,
        flips=seen.flips,
        flips_note=seen.note,
        missing=seen.missing,
        chain=seen.chain,
        chart=chart_of(subject, shown),
        afterwards=afterwards(subject, shown),
        proof=proof,
    )


def _rule_lines(config: Configuration, subject: Subject) -> list[Line]:
    """The parameters of the rule as they were, and what the rule says of itself in the code in use."""
    params = getattr(config.strategies, subject.strategy, None) if subject.strategy else None
    if params is None:
        return []
    text = import_module(f"core.strategies.{subject.strategy}").__doc__ or ""
    lines = [
        Line(f"{subject.strategy}.{name}", plain_value(value), "", "as it was") for name, value in params.model_dump().items()
    ]
    return [*lines, Line("rule", " ".join(text.split()), "", "as the code in use says it")]


def _from_records(subject: Subject, config: Configuration, proof: Proof) -> _Seen:
    """What there is to say where the moment could not be stood at, or was not one of the bar's own decisions."""
    reasons: tuple[Reason, ...] = ()
    if subject.refusal is not None:
        reasons = (reason_of(subject.refusal, config),)
    elif subject.plan is not None:
        reasons = reasons_for(subject.signal, None, subject.plan, config)
    why_not = "the bar made again differs" if proof.difference else "it rests on no market input"
    return _Seen(reasons=reasons, note=f"not looked for: {why_not}", chain=life(subject))
