"""What the live broker can be told; every number with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from configs.validators import Governance
from core.exec.entering import Entering, Entry


class ForeignPolicy(StrEnum):
    """What an order that is none of ours means for its symbol."""

    HALT = "halt"
    """No entries there before a person looks."""
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Settings of the live broker.

    Sending and looking up:
        recv_window_ms: the venue refuses an order that reaches it later; short, since an unknown one waits for it.
        margin_ms: what the venue's clock may be ahead of its own limit (1 s), and a little.
        algo_margin_ms: the same for conditional orders, whose look-ups have been slow to know them.
        least_misses: so many look-ups must not know an order before it is absent.
        look_up_every_s: pause between two look-ups; it doubles up to ten times as long.
        unknown_cap_s: after this long without an answer the symbol is halted and a person is called.
        send_patience_s: how long a reply is waited for before the books are told that nobody knows yet.
        patience_s: the same for the first look-ups, where the reply did not tell.
        retries: how often an exit that the venue did not take is sent again, each time under a new id.

    Entries:
        entry_valid_ms: an entry older than this is not sent any more.
        max_slippage_pct: expected slippage above it is refused (X31).
        book_valid_ms: a book that was last heard of longer ago is none, and without one nothing is entered (exits are sent);
            None where the source has no books: then spread and depth are taken as modelled.
        slices: parts of an entry, where each alone is legal.
        post_only: enter as maker first, at the best price, for ``rest_s``, repriced at most ``reprices`` times; what is
            left then crosses within the plan's cap.

    Protection:
        catastrophe_pct: distance (percent of the entry) of the stop that never moves. It must lie beyond the plan's stop,
            which is at most a few percent away, and before liquidation, which at leverage 3 is about 30 percent away.
        catastrophe_beyond_stop: and it is at least this many times as far as the plan's stop.
        catastrophe_before_liquidation: but never farther than this share of the way to liquidation.
        triggering_s: a stop that was reached and did not act for so long is not believed in.
        naked_s: a position may be without a known stop for so long; it is covered again or closed within it.
        watch_every_s: pause between two looks; a tenth of it while something is naked.

    Account:
        clock_every_s: pause between two measurements of the venue's clock.
        filters_every_s: pause between two looks at the venue's filters, which it changes a few times a year.
        max_clock_offset_ms: the venue's clock may be this far from ours at a start (governance ntp_skew_ms).
        leverage, isolated: as every symbol must be set.
        audit_every_s: pause between two comparisons with the venue.
        settle_s: an order that was confirmed is missed in the venue's books only after this long.
        foreign: what an order of somebody else means.
        refuse_withdrawals: whether a key that may withdraw is refused.
    """

    recv_window_ms: int = 3_000
    margin_ms: int = 1_500
    algo_margin_ms: int = 3_000
    least_misses: int = 3
    look_up_every_s: float = 0.4
    unknown_cap_s: float = 60.0
    send_patience_s: float = 1.0
    patience_s: float = 0.25
    retries: int = 8
    entry_valid_ms: int = 30_000
    max_slippage_pct: float = 0.05
    book_valid_ms: int | None = None
    slices: int = 1
    post_only: bool = False
    reprices: int = 2
    rest_s: float = 3.0
    catastrophe_pct: float = 10.0
    catastrophe_beyond_stop: float = 1.5
    catastrophe_before_liquidation: float = 0.7
    triggering_s: float = 3.0
    naked_s: float = 2.0
    watch_every_s: float = 0.25
    clock_every_s: float = 300.0
    filters_every_s: float = 3_600.0
    max_clock_offset_ms: int = 1_500
    leverage: int = 3
    isolated: bool = True
    audit_every_s: float = 60.0
    settle_s: float = 10.0
    foreign: ForeignPolicy = ForeignPolicy.HALT
    refuse_withdrawals: bool = True

    def under(self, governance: Governance) -> Self:
        """The same under the limits in force: where both have a word, the limits have it. A venue's least leverage is 1."""
        return replace(
            self,
            leverage=max(1, int(governance.leverage_cap)),
            max_slippage_pct=governance.max_expected_slippage_pct,
            max_clock_offset_ms=governance.ntp_skew_ms,
        )

    def entering(self, how: Entering) -> Self:
        """The same with entries made as a session makes them."""
        return replace(self, post_only=how.entry is Entry.MAKER, slices=how.slices)
