"""Every reason for which the system says no. The table in ``docs/refusals.md`` is made from this enum."""

from __future__ import annotations

from enum import StrEnum


class RefusalCode(StrEnum):
    """Closed set of refusal codes; ``meaning`` says when each is given and what would change it."""

    # data and health
    WARMING_UP = "WARMING_UP"
    MISSING_INPUT = "MISSING_INPUT"
    BAR_FLAGGED = "BAR_FLAGGED"
    CLOCK_DRIFT = "CLOCK_DRIFT"
    JOURNAL_LOST = "JOURNAL_LOST"
    CANDLE_INTEGRITY = "CANDLE_INTEGRITY"
    STREAM_CANDLES = "STREAM_CANDLES"
    STREAM_FUNDING = "STREAM_FUNDING"
    STREAM_BOOK = "STREAM_BOOK"
    # selection
    REGIME_DISABLED = "REGIME_DISABLED"
    REGIME_UNKNOWN = "REGIME_UNKNOWN"
    TF_NOT_ALLOWED = "TF_NOT_ALLOWED"
    SPOT_NO_SHORT = "SPOT_NO_SHORT"
    COOLDOWN = "COOLDOWN"
    BLACKOUT = "BLACKOUT"
    SCORE_LOW = "SCORE_LOW"
    SYMBOL_OWNED = "SYMBOL_OWNED"
    SIGNAL_EXPIRED = "SIGNAL_EXPIRED"
    # governor
    DAY_LOCK = "DAY_LOCK"
    KILL_SWITCH = "KILL_SWITCH"
    GOVERNANCE_CHANGED = "GOVERNANCE_CHANGED"
    NOT_ACTIVE = "NOT_ACTIVE"
    DAY_WORST_CASE = "DAY_WORST_CASE"
    DRAWDOWN_WORST_CASE = "DRAWDOWN_WORST_CASE"
    # sizing
    COST_SHARE = "COST_SHARE"
    STOP_INVALID = "STOP_INVALID"
    BELOW_MIN_QTY = "BELOW_MIN_QTY"
    BELOW_MIN_NOTIONAL = "BELOW_MIN_NOTIONAL"
    BELOW_MIN_R = "BELOW_MIN_R"
    NO_EQUITY = "NO_EQUITY"
    UNSIZABLE = "UNSIZABLE"
    CANARY_ADD = "CANARY_ADD"
    # portfolio
    PORTFOLIO_R_CAP = "PORTFOLIO_R_CAP"
    LEVERAGE_CAP = "LEVERAGE_CAP"
    EXPOSURE_CAP = "EXPOSURE_CAP"
    CORRELATED = "CORRELATED"
    ALL_CORRELATED = "ALL_CORRELATED"
    ADD_TO_LOSER = "ADD_TO_LOSER"
    ADD_ALREADY_DONE = "ADD_ALREADY_DONE"
    # execution
    SPREAD_WIDE = "SPREAD_WIDE"
    BOOK_THIN = "BOOK_THIN"
    SLIPPAGE_HIGH = "SLIPPAGE_HIGH"
    ENTRY_NOT_FILLED = "ENTRY_NOT_FILLED"
    INSUFFICIENT_MARGIN = "INSUFFICIENT_MARGIN"
    FILTER_REJECTED = "FILTER_REJECTED"
    REDUCE_ONLY_REJECTED = "REDUCE_ONLY_REJECTED"
    DUPLICATE_CLIENT_ID = "DUPLICATE_CLIENT_ID"
    STOP_WOULD_TRIGGER = "STOP_WOULD_TRIGGER"
    SYMBOL_HALTED = "SYMBOL_HALTED"
    VENUE_THROTTLED = "VENUE_THROTTLED"
    VENUE_REJECTED = "VENUE_REJECTED"
    ORDER_ABSENT = "ORDER_ABSENT"
    # brain
    TOOL_NOT_GRANTED = "TOOL_NOT_GRANTED"
    NOT_AVAILABLE_YET = "NOT_AVAILABLE_YET"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_MEANINGS: dict[RefusalCode, str] = {
    RefusalCode.WARMING_UP: "A feature that the rule needs has not seen enough bars yet.",
    RefusalCode.MISSING_INPUT: "An input that the rule requires (funding, basis, price) is absent.",
    RefusalCode.BAR_FLAGGED: "The signal bar had no volume, or was made up, partial or repaired; nothing is opened on it (X44).",
    RefusalCode.CLOCK_DRIFT: "The clock differs from the exchange or from NTP by more than ntp_skew_ms; all entries pause.",
    RefusalCode.JOURNAL_LOST: "The session journal cannot be written (disk full, no permission); all entries pause, exits go on.",
    RefusalCode.CANDLE_INTEGRITY: "Recent candles of the symbol had gaps, duplicates or impossible prices.",
    RefusalCode.STREAM_CANDLES: "The candle stream is stale or was never there.",
    RefusalCode.STREAM_FUNDING: "The funding stream is stale or was never there.",
    RefusalCode.STREAM_BOOK: "There is no fresh order book for the symbol.",
    RefusalCode.REGIME_DISABLED: "enable_map.yaml does not enable the strategy in the present regime.",
    RefusalCode.REGIME_UNKNOWN: "The regime of the symbol is not known yet.",
    RefusalCode.TF_NOT_ALLOWED: "symbols.yaml does not allow the timeframe for the symbol.",
    RefusalCode.SPOT_NO_SHORT: "A spot market cannot be sold short.",
    RefusalCode.COOLDOWN: "The strategy rests after two stops in a row (G6, X20).",
    RefusalCode.BLACKOUT: "The time lies in a blackout window of blackouts.yaml.",
    RefusalCode.SCORE_LOW: "The setup score is below the threshold (G7).",
    RefusalCode.SYMBOL_OWNED: "Another strategy holds, or has just been given, a position in the symbol (X17).",
    RefusalCode.SIGNAL_EXPIRED: "The signal is older than its validity.",
    RefusalCode.DAY_LOCK: "The daily loss limit was reached; entries are locked until the next trading day.",
    RefusalCode.KILL_SWITCH: "The 72 h drawdown limit was reached; a person must unlock.",
    RefusalCode.GOVERNANCE_CHANGED: "governance.yaml changed while running; only exits until it is signed and restarted.",
    RefusalCode.NOT_ACTIVE: "The trading state allows exits only.",
    RefusalCode.DAY_WORST_CASE: "If everything open and this plan were stopped out, the day would lose more than allowed (X10).",
    RefusalCode.DRAWDOWN_WORST_CASE: "If all and this plan were stopped out, the 72 h drawdown would exceed its limit (X10).",
    RefusalCode.COST_SHARE: "Round-trip fees and slippage are too large a part of R (X13).",
    RefusalCode.STOP_INVALID: "The stop is not on the losing side of the entry, or no price is known.",
    RefusalCode.BELOW_MIN_QTY: "The risk allows less than the smallest lot (X14); sizes are never rounded up.",
    RefusalCode.BELOW_MIN_NOTIONAL: "The risk allows less than the smallest order value (X14); sizes are never rounded up.",
    RefusalCode.BELOW_MIN_R: "The room left would shrink the entry below the smallest sensible risk (X9).",
    RefusalCode.NO_EQUITY: "Equity is zero, negative or unknown.",
    RefusalCode.UNSIZABLE: "The smallest legal order of a canary risks more than canary_max_real_r_pct; it stays in paper (X35).",
    RefusalCode.CANARY_ADD: "A canary is never added to: its size is the whole point of it (X35).",
    RefusalCode.PORTFOLIO_R_CAP: "Open and pending risk already fill max_portfolio_r_pct (X9).",
    RefusalCode.LEVERAGE_CAP: "The position would exceed leverage_cap.",
    RefusalCode.EXPOSURE_CAP: "Net or gross exposure would exceed its limit.",
    RefusalCode.CORRELATED: "Too many open positions move together with this symbol (X25).",
    RefusalCode.ALL_CORRELATED: "All instruments move together and something is already open (X25).",
    RefusalCode.ADD_TO_LOSER: "The position is not far enough in profit; losers are never added to (E5).",
    RefusalCode.ADD_ALREADY_DONE: "The one allowed add was already made (X16).",
    RefusalCode.SPREAD_WIDE: "The spread is above max_spread of the symbol.",
    RefusalCode.BOOK_THIN: "The book is too thin for the order.",
    RefusalCode.SLIPPAGE_HIGH: "Expected slippage is above the limit (X31).",
    RefusalCode.ENTRY_NOT_FILLED: "The IOC entry found no price inside its cap and expired.",
    RefusalCode.INSUFFICIENT_MARGIN: "The account's free margin does not cover the order.",
    RefusalCode.FILTER_REJECTED: "The order breaks an exchange filter (tick, lot, minimum).",
    RefusalCode.REDUCE_ONLY_REJECTED: "A reduce-only order had nothing to reduce.",
    RefusalCode.DUPLICATE_CLIENT_ID: "An order with this client id already exists.",
    RefusalCode.STOP_WOULD_TRIGGER: "The stop's trigger lies beyond the present price.",
    RefusalCode.SYMBOL_HALTED: "Exchange and outbox disagree about the symbol, or an order's fate is unknown; exits only.",
    RefusalCode.VENUE_THROTTLED: "The exchange takes no more requests for now; entries give up, exits are tried again.",
    RefusalCode.VENUE_REJECTED: "The exchange refused the order, for the reason it gave.",
    RefusalCode.ORDER_ABSENT: "The order's fate was unknown, and it is proven that it never reached the exchange.",
    RefusalCode.TOOL_NOT_GRANTED: "An agent called a tool outside its grant.",
    RefusalCode.NOT_AVAILABLE_YET: "The tool belongs to the research lab, which is not built yet.",
}
