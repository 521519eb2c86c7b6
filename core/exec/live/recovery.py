"""A start: exchange and outbox are made to agree before anything is opened (F6, §2.4).

The same steps at every start, the first one too. What is found is a value for the caller; what the books must hear of it is
owed to them as events. Where the two cannot be made to agree the symbol stays halted, with the difference and the remedy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from core.errors import BrainError
from core.exec.instrument import Instrument
from core.exec.live.audit import Audit, Difference
from core.exec.live.crash import CrashPoint
from core.exec.live.desk import Desk
from core.exec.live.guardian import Guardian
from core.exec.live.intake import Intake
from core.exec.live.resolver import Resolver
from core.exec.live.sender import Sender
from core.exec.live.states import Row, State
from core.venues.words import Limits, SymbolMode

_COVERED_WITHIN_S = 30.0


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
    """Does it. Args as in :class:`core.exec.broker_ccxt.LiveBroker`, by whom it is made."""

    def __init__(self, desk: Desk, intake: Intake, resolver: Resolver, sender: Sender, audit: Audit, guardian: Guardian) -> None:
        self._desk, self._outbox, self._intake = desk, desk.outbox, intake
        self._resolver, self._sender, self._audit, self._guardian = resolver, sender, audit, guardian
        self._actions: list[str] = []
        self._warnings: list[str] = []

    async def recover(self) -> Recovery:
        """Make them agree.

        The account's stream stands before anything is asked, so that nothing falls between; what it tells meanwhile is
        taken in at once, since no word can do harm twice.

        Raises:
            BrainError: the account must not be traded as it is: the key may withdraw, positions are hedged, the clock is
                not to be trusted, a market is not listed. Nothing was sent.
        """
        desk = self._desk
        self._actions.clear()
        self._warnings.clear()
        symbols = tuple(desk.instruments)
        await self._check_clock()
        limits = await desk.account.open(symbols)
        self._sender.limits = {limit.symbol: limit for limit in limits}
        self._compare_filters(limits)
        await self._check_account()
        await self._resolve()
        desk.at(CrashPoint.RESOLVED)
        differences = await self._audit.compare([])
        desk.at(CrashPoint.BACKFILLED)
        self._compare_money(limits)
        await self._check_modes(symbols)
        self._call_back()
        self._tell_ends()
        desk.at(CrashPoint.ADOPTED)
        await self._cover()
        desk.at(CrashPoint.COVERED)
        halted = tuple(sorted(desk.halted.items()))
        actions = (*self._actions, *self._audit.actions)
        self._audit.actions.clear()
        return Recovery(not halted, differences, halted, actions, tuple(self._warnings))

    # --- the account ------------------------------------------------------------------------------

    async def _check_clock(self) -> None:
        offset_ms, most_ms = await self._desk.account.set_clock(), self._desk.options.max_clock_offset_ms
        if abs(offset_ms) > most_ms:
            raise BrainError(
                f"the clock is {offset_ms:.0f} ms behind the exchange's, expected at most {most_ms} ms either way",
                help="set the host's clock (timedatectl set-ntp true), then start again",
                code="LIVE-013",
            )

    def _compare_money(self, limits: Sequence[Limits]) -> None:
        """The smallest order of a symbol against all that the wallet can carry."""
        carried = (self._intake.wallet or Decimal(0)) * self._desk.options.leverage
        for limit in limits:
            if limit.min_notional > carried:
                least = f"the smallest order of {limit.symbol} is {limit.min_notional} USD"
                self._warnings.append(f"{least}, the account carries {carried:.2f} USD: nothing can be opened there")

    async def _check_account(self) -> None:
        account = self._desk.account
        scope = await account.scope()
        if scope.withdrawals and self._desk.options.refuse_withdrawals:
            raise BrainError(
                "the API key may withdraw, expected one that may only trade",
                help="make a key without the right to withdraw, and delete this one",
                code="LIVE-010",
            )
        if not scope.futures:
            raise BrainError(
                "the API key may not trade futures", help="allow futures for the key at the exchange", code="LIVE-011"
            )
        if await account.hedged():
            if await account.positions() or await account.open_orders():
                raise BrainError(
                    "the account is in hedge mode and holds positions or orders, expected one-way mode",
                    help="close them, set one-way mode at the exchange, then start again",
                    code="LIVE-012",
                )
            await account.set_one_way()
            self._actions.append("set the account to one-way mode")

    async def _check_modes(self, symbols: Sequence[str]) -> None:
        """Margin and leverage as configured: set where the symbol is flat, halted where it is not."""
        options = self._desk.options
        found = {mode.symbol: mode for mode in await self._desk.account.modes(symbols)}
        resting = {row.symbol for row in self._outbox.live()}
        for symbol in symbols:
            wanted = SymbolMode(symbol, options.leverage, options.isolated)
            mode = found.get(symbol)
            if mode == wanted:
                continue
            if symbol in self._audit.seen or symbol in resting:
                how = "unknown" if mode is None else f"{'isolated' if mode.isolated else 'crossed'} {mode.leverage}x"
                want = f"{'isolated' if wanted.isolated else 'crossed'} {wanted.leverage}x"
                self._desk.halt(symbol, f"margin is {how}, expected {want}; close it, or set it at the exchange")
            else:
                await self._desk.account.set_mode(wanted)
                self._actions.append(f"set {symbol} to {'isolated' if wanted.isolated else 'crossed'} {wanted.leverage}x")

    def _compare_filters(self, limits: Sequence[Limits]) -> None:
        for limit in limits:
            for name, ours, theirs in _filters(self._desk.instruments[limit.symbol], limit):
                if ours != theirs:
                    self._warnings.append(f"{name} of {limit.symbol} is {theirs} at the exchange, {ours} in configs/symbols.yaml")

    # --- orders -----------------------------------------------------------------------------------

    async def _resolve(self) -> None:
        """Every order of which nobody knows: those never sent at once, the others together."""
        doubtful: list[Row] = []
        for row in self._outbox.unresolved():
            if row.state is State.INTENT:
                self._outbox.move(row, State.ABSENT, self._desk.now(), note="the process ended before it was sent")
                self._actions.append(f"order {row.client_id} was never sent")
            else:
                doubtful.append(row)
        await asyncio.gather(*(self._resolver.resolve(row) for row in doubtful))
        self._actions += [f"order {row.client_id} was in doubt: it is {row.state}" for row in doubtful]

    def _call_back(self) -> None:
        """Go on cancelling what was to be cancelled, and entries that nobody waits for any more."""
        for row in self._outbox.live():
            late = row.opens and self._desk.now() - row.ts > self._desk.options.entry_valid_ms
            if row.cancel_wanted or late:
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
        """Every position has a stop that is known to stand, or is closed, before this returns."""
        try:
            async with asyncio.timeout(_COVERED_WITHIN_S):
                while naked := self._naked():
                    self._guardian.look()
                    await asyncio.sleep(0.01 if naked else 0.0)
        except TimeoutError:
            for symbol in self._naked():
                self._desk.halt(
                    symbol, f"{self._guardian.held(symbol)} could neither be covered nor closed; do so at the exchange"
                )

    def _naked(self) -> list[str]:
        held = {*self._outbox.holdings(), *self._audit.surplus}
        exposures = {symbol: self._guardian.exposure(symbol) for symbol in sorted(held) if symbol in self._desk.instruments}
        return [symbol for symbol, exposure in exposures.items() if exposure.held and not exposure.covered]


def _filters(instrument: Instrument, limits: Limits) -> tuple[tuple[str, Decimal, Decimal], ...]:
    return (
        ("tick_size", instrument.tick_size, limits.tick_size),
        ("qty_step", instrument.qty_step, limits.qty_step),
        ("min_qty", instrument.min_qty, limits.min_qty),
        ("min_notional", instrument.min_notional, limits.min_notional),
    )
