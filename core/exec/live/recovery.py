"""A start: exchange and outbox are made to agree before anything is opened (F6, §2.4).

The same steps at every start, the first one too. What is found is a value for the caller; what the books must hear of it is
owed to them as events. Where the two cannot be made to agree the symbol stays halted, with the difference and the remedy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TypeVar

from msgspec import Struct

from core.codes import RefusalCode
from core.errors import AccountRefused, BrainError, Unanswered
from core.exec.instrument import Instrument
from core.exec.live.audit import Audit, Difference
from core.exec.live.checks import OTHER_FILTERS
from core.exec.live.crash import CrashPoint
from core.exec.live.desk import Desk, pause_s
from core.exec.live.guardian import Guardian
from core.exec.live.halts import HaltKind
from core.exec.live.intake import Intake
from core.exec.live.outcome import Advice, Outcome, outcome
from core.exec.live.resolver import Resolver
from core.exec.live.sender import Sender
from core.exec.live.states import Row, State
from core.venues.errors import NO_ANSWER, OF_TIME, code_of, not_listed, unusable
from core.venues.words import BalanceSeen, Limits, SymbolMode

_PAUSE_S, _PAUSE_MOST_S = 0.25, 30.0
_CALM = 2
"""So many questions may stay without an answer before a person is called."""
_REACHED_WITHIN_S, _COVERED_WITHIN_S, _LOOK_S = 10.0, 5.0, 0.01

Answer = TypeVar("Answer")


class Recovery(Struct, frozen=True):
    """What a start found and did.

    ``agreed``: nothing is left to settle. ``differences``: positions that do not agree; ``halted``: symbols on which nothing
    is opened, with why ("" is the whole account). ``actions``: what was done, sentence by sentence; ``warnings``: what a
    person should know.
    """

    agreed: bool
    differences: tuple[Difference, ...]
    halted: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]
    warnings: tuple[str, ...]


class Recoverer:
    """Does it. Args as in :class:`core.exec.broker_ccxt.LiveBroker`, by whom it is made.

    Attributes:
        unproven: why nothing may be opened in this life, whatever is found; empty: it may.
    """

    def __init__(self, desk: Desk, intake: Intake, resolver: Resolver, sender: Sender, audit: Audit, guardian: Guardian) -> None:
        self._desk, self._outbox, self._intake = desk, desk.outbox, intake
        self._resolver, self._sender, self._audit, self._guardian = resolver, sender, audit, guardian
        self._actions: list[str] = []
        self._warnings: list[str] = []
        self._doubtful: tuple[Row, ...] = ()
        self._fates: list[asyncio.Task[None]] = []
        self._reached = self._audited = self._called_back = False
        self.unproven = ""

    async def check(self) -> BalanceSeen:
        """Whether the account may be traded at all, and what it holds.

        Only questions are asked where nothing is open on record; else what is open is covered first, whatever the answers.

        Raises:
            BrainError: it may not, or cannot be asked.
        """
        try:
            if self._open:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REACHED_WITHIN_S):
                        await self._insist(self._reach, "markets")
                await self._protect()
            return await self._ask()
        except BrainError:
            raise
        except Exception as error:
            raise unusable(error) from error

    async def _ask(self) -> BalanceSeen:
        await self._check_clock()
        await self._check_scope()
        await self._check_mode()
        return await self._desk.account.balance()

    async def recover(self) -> Recovery:
        """Make them agree.

        What is open is covered first. Then the account's stream stands before anything is compared, so that nothing falls
        between; what it tells meanwhile is taken in at once, since no word can do harm twice.

        Raises:
            BrainError: the account must not be traded as it is: the key may withdraw, positions are hedged, the clock is
                not to be trusted, a market is not listed. Nothing was sent but what covers what was open.
        """
        desk = self._desk
        if self._open:
            await self._insist(self._reach, "markets")
            await self._protect()
        await self._insist(self._ask, "account")
        await self._insist(self._reach, "markets")
        self._check_listed()
        if self.unproven:
            desk.halt("", HaltKind.UNPROVEN, self.unproven)
        await self._insist(desk.account.open, "stream")
        await self._insist(self._set_one_way, "mode")
        differences = await self._compare()
        self._keep_audit()
        await self._await()
        desk.at(CrashPoint.RESOLVED)
        if self._doubtful:
            differences = await self._compare()
        desk.at(CrashPoint.BACKFILLED)
        self._compare_money()
        await self._insist(self._check_modes, "margin")
        self._call_back()
        self._tell_ends()
        desk.at(CrashPoint.ADOPTED)
        await self._cover()
        desk.at(CrashPoint.COVERED)
        halted = tuple(sorted(desk.halted.items()))
        actions = (*self._actions, *self._audit.actions)
        self._audit.actions.clear()
        return Recovery(not halted, differences, halted, actions, tuple(self._warnings))

    @property
    def _open(self) -> bool:
        """Whether anything is held, or may be, by what is on record: an order that rests may have been filled unheard."""
        return bool(self._outbox.holdings() or self._outbox.unresolved() or self._outbox.live())

    async def _reach(self) -> None:
        """Know the markets: orders can be sent from then on, and what is open is watched over. Asked again this does nothing."""
        if self._reached:
            return
        desk = self._desk
        with suppress(Exception):  # without the right time an order may be refused, without the markets none can be sent
            await desk.account.set_clock()
        limits = await desk.account.markets(tuple(desk.instruments))
        self._reached = True
        self._look_again()
        desk.born_ms = desk.now()
        self._sender.limits = {limit.symbol: limit for limit in limits}
        self._compare_filters()
        self._doubtful = tuple(self._outbox.unresolved())
        self._fates = [desk.start(self._find_out(row), f"fate of {row.client_id}") for row in self._doubtful]
        desk.keep(self._sender.keep_clock, "clock")
        desk.keep(self._sender.keep_filters, "filters")
        desk.keep(self._guardian.keep, "guardian")

    async def _protect(self) -> None:
        """Cover what is open, before anything is asked that a stop does not need: the key's scope, a stream, the right time."""
        if self._reached and not self._audited:
            await self._compare()
            self._guardian.trust_no_reached()
            self._keep_audit()
            await self._cover()

    def _keep_audit(self) -> None:
        if not self._audited:
            self._audited = True
            self._desk.keep(self._audit.keep, "audit")

    async def _insist(self, ask: Callable[[], Awaitable[Answer]], what: str) -> Answer:
        """Ask until the venue answers; a person is called where it does not. ``what``: tells questions apart, "" the audit's.

        Raises:
            BrainError: it has answered that the account cannot be traded as it is.
        """
        fails = 0
        while True:
            try:
                answer = await ask()
            except BrainError:
                raise
            except Exception as error:
                why = unusable(error)
                if why.code != NO_ANSWER and code_of(error) not in OF_TIME:  # the clock is measured anew for that
                    raise why from error
                fails += 1
                if fails > _CALM:
                    waits_for = self._audit.left_alone() or why.what
                    self._desk.halt("", HaltKind.NOT_COMPARED, f"the start waits for the exchange: {waits_for}", what)
                await asyncio.sleep(pause_s(fails, _PAUSE_S, _PAUSE_MOST_S))
            else:
                self._desk.lift("", HaltKind.NOT_COMPARED, what)
                return answer

    async def _compare(self) -> tuple[Difference, ...]:
        """What does not agree; where that cannot be told for long, the account stays halted and the audit goes on asking."""
        cap_s = self._desk.options.unknown_cap_s
        try:
            async with asyncio.timeout(cap_s):
                return await self._insist(partial(self._audit.compare, []), "")
        except TimeoutError:
            why = f"the exchange could not be compared in {cap_s:.0f} s; nothing is opened until it can be"
            if not any(halt.kind is HaltKind.NOT_COMPARED for halt in self._desk.halts):  # else a person was called for it
                self._desk.halt("", HaltKind.NOT_COMPARED, why)
            self._audit.want("")
            return ()

    def _look_again(self) -> None:
        """Reasons of an earlier life that a start settles, or that follow from what is on the disk."""
        desk, rows = self._desk, self._outbox.rows
        for halt in desk.halts:
            row = rows.get(halt.ref)
            resolved = halt.kind is HaltKind.DOUBT and (row is None or not row.state.doubtful)
            if resolved or halt.kind in (HaltKind.PART_FAILED, HaltKind.REFUSED, HaltKind.UNPROVEN):
                desk.lift(halt.symbol, halt.kind, halt.ref)
        for symbol in desk.instruments:
            self._intake.compare_books(symbol)

    # --- the account ------------------------------------------------------------------------------

    async def _check_clock(self) -> None:
        offset_ms, most_ms = await self._desk.account.set_clock(), self._desk.options.max_clock_offset_ms
        if abs(offset_ms) > most_ms:
            where = "behind" if offset_ms > 0.0 else "ahead of"
            raise Unanswered(  # a host that has just started may set its clock by itself
                f"the clock is {abs(offset_ms):.0f} ms {where} the exchange's, expected at most {most_ms} ms either way",
                help="set the host's clock (timedatectl set-ntp true), then start again",
                code="LIVE-013",
            )

    def _compare_money(self) -> None:
        """The smallest order of a symbol against all that the wallet can carry, where it is known."""
        if self._intake.wallet is None:
            return
        carried = self._intake.wallet * self._desk.options.leverage
        for limit in self._sender.limits.values():
            if limit.min_notional > carried:
                least = f"the smallest order of {limit.symbol} is {limit.min_notional} USD"
                self._warnings.append(
                    f"{least}, the account carries {carried:.2f} USD: nothing can be opened there; pay in, or leave it out"
                )

    def _check_listed(self) -> None:
        if missing := [symbol for symbol in self._desk.instruments if symbol not in self._sender.limits]:
            raise not_listed(missing)

    async def _check_scope(self) -> None:
        scope = await self._desk.account.scope()
        if scope.withdrawals and self._desk.options.refuse_withdrawals:
            raise AccountRefused(
                "the API key may withdraw, expected one that may only trade",
                help="make a key without the right to withdraw, and delete this one",
                code="LIVE-010",
            )
        if not scope.futures:
            raise AccountRefused(
                "the API key may not trade futures", help="allow futures for the key at the exchange", code="LIVE-011"
            )

    async def _check_mode(self) -> None:
        account = self._desk.account
        if await account.multi_assets():
            raise AccountRefused(
                "the account is in multi-assets mode, expected single-asset mode: money is counted in USDT only",
                help="set single-asset mode at the exchange (Preference, Asset Mode), then start again",
                code="LIVE-019",
            )
        if await account.hedged() and (await account.positions() or await account.open_orders()):
            raise AccountRefused(
                "the account is in hedge mode and holds positions or orders, expected one-way mode",
                help="close them, set one-way mode at the exchange, then start again",
                code="LIVE-012",
            )

    async def _set_one_way(self) -> None:
        if await self._desk.account.hedged():
            if refused := await _refused(self._desk.account.set_one_way()):
                raise AccountRefused(
                    f"the account is in hedge mode, expected one-way mode, and the exchange does not change that: {refused}",
                    help="set one-way mode at the exchange, then start again",
                    code="LIVE-012",
                )
            self._actions.append("set the account to one-way mode")

    async def _check_modes(self) -> None:
        """Margin and leverage as configured: set where the symbol is flat, halted where it is not, or cannot be set."""
        desk, options, symbols = self._desk, self._desk.options, tuple(self._desk.instruments)
        found = {mode.symbol: mode for mode in await desk.account.modes(symbols)}
        resting = {row.symbol for row in self._outbox.live()}
        for symbol in symbols:
            wanted = SymbolMode(symbol, options.leverage, options.isolated)
            mode = found.get(symbol)
            if mode == wanted:
                desk.lift(symbol, HaltKind.MARGIN)
                continue
            how, want = _words(mode), _words(wanted)
            if symbol in self._audit.seen or symbol in resting:
                why = f"margin is {how}, expected {want}; close it, or set it at the exchange, then start again"
                desk.halt(symbol, HaltKind.MARGIN, why)
            elif refused := await _refused(desk.account.set_mode(wanted)):
                why = f"margin is {how}, expected {want}, and the exchange does not change that: {refused}"
                desk.halt(symbol, HaltKind.MARGIN, f"{why}; cancel what rests there, or set it at the exchange, then start again")
            else:
                desk.lift(symbol, HaltKind.MARGIN)
                self._actions.append(f"set {symbol} to {want}")

    def _compare_filters(self) -> None:
        differ = [
            f"{name} of {limit.symbol} is {theirs} at the exchange, {ours} in configs/symbols.yaml"
            for limit in self._sender.limits.values()
            for name, ours, theirs in _filters(self._desk.instruments[limit.symbol], limit)
            if ours != theirs
        ]
        if differ:
            self._warnings += (*differ, OTHER_FILTERS)

    # --- orders -----------------------------------------------------------------------------------

    async def _find_out(self, row: Row) -> None:
        await self._resolver.resolve(row)
        self._actions.append(f"order {row.client_id} was in doubt: it is {row.state}")
        if row.state is State.ABSENT:
            self._sender.end_family(row.told_as, RefusalCode.ORDER_ABSENT, "it never reached the exchange")
        elif self._called_back and row.opens:  # found later than a start waits
            await self._sender.call_back(row)

    async def _await(self) -> None:
        """Until it is known what became of every order; what takes too long is found out beside, its symbol halted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._desk.options.unknown_cap_s):
                for fate in self._fates:
                    await asyncio.shield(fate)
        for row in self._doubtful:
            if row.state.doubtful:
                self._resolver.halt(row)

    def _call_back(self) -> None:
        """Go on cancelling what was to be cancelled, and entries: whoever was to reprice them is gone with the last life."""
        self._called_back = True
        for row in self._outbox.live():
            if row.cancel_wanted or row.opens:
                self._desk.start(self._sender.call_back(row), f"cancel {row.client_id}")
            self._guardian.changed(row.symbol)

    def _tell_ends(self) -> None:
        """Orders that ended between two lives, while the books wait for word of them."""
        for told_as in dict.fromkeys(row.told_as for row in self._outbox.rows.values() if row.state.over and not row.ended):
            first = self._outbox.family(told_as)[0]
            if not first.own:
                last = self._outbox.family(told_as)[-1]
                self._sender.end_family(told_as, last.code, last.message or "it was not on its way when the process ended")

    # --- protection -------------------------------------------------------------------------------

    async def _cover(self) -> None:
        """Every position has a stop that is known to stand, or is closed, before this returns; or a person has been called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COVERED_WITHIN_S):
                while self._naked():  # noqa: ASYNC110 - the guardian looks by itself
                    await asyncio.sleep(_LOOK_S)

    def _naked(self) -> bool:
        exposures = [self._guardian.exposure(symbol) for symbol in sorted({*self._outbox.holdings(), *self._audit.surplus})]
        return any(exposure.held and not exposure.covered for exposure in exposures)


async def _refused(setting: Awaitable[None]) -> str:
    """Why the venue will not have a setting changed; empty: it is as was asked for. What says nothing of that is raised."""
    try:
        await setting
    except Exception as error:
        verdict = outcome(error)
        if verdict.outcome is not Outcome.REJECTED or verdict.advice is not Advice.NONE:
            raise
        return verdict.message
    return ""


def _words(mode: SymbolMode | None) -> str:
    return "unknown" if mode is None else f"{'isolated' if mode.isolated else 'crossed'} {mode.leverage}x"


def _filters(instrument: Instrument, limits: Limits) -> tuple[tuple[str, Decimal, Decimal], ...]:
    return (
        ("tick_size", instrument.tick_size, limits.tick_size),
        ("qty_step", instrument.qty_step, limits.qty_step),
        ("min_qty", instrument.min_qty, limits.min_qty),
        ("min_notional", instrument.min_notional, limits.min_notional),
    )
