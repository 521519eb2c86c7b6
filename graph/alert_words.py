"""What halts and alerts mean, for ``brain explain``: the words that stand in logs, on the panel and in ``docs/orders.md``."""

from __future__ import annotations

HALTS: dict[str, str] = {
    "position": "Exchange and fills on record say another position. It goes when they agree, or by brain accept.",
    "books": (
        "Part of what is held belongs to no plan: bought by hand, or a fill that came too late."
        " It goes when that part is sold at the exchange, or by brain accept."
    ),
    "foreign_order": "An order rests at the exchange that is none of ours. It goes when that order is cancelled there.",
    "other_daemon": (
        "An order of our form is not on this record: another daemon, a lost folder, or a disk that was full."
        " Stop the other one, then brain accept."
    ),
    "contradicted": ("The exchange had an order that was on record as never having been there. Look at both, then brain accept."),
    "refused": (
        "The exchange refused key or account as such. It goes when the next start passes its checks, or by brain accept."
    ),
    "doubt": "Nobody can tell what became of an order. It goes when that is found, or proven absent; it is looked for.",
    "margin": (
        "Leverage or margin type are not as configured: something is open or rests there, or the exchange refuses the change."
        " It goes at the next start that finds it as configured, or can set it."
    ),
    "uncovered": ("A position could be neither covered by a stop nor closed: look at once. It goes when it is covered, or flat."),
    "not_compared": "The exchange could not be compared several times in a row. It goes when it could be.",
    "part_failed": (
        "A part of the broker ended by a mistake. It goes when that has run anew for long without another,"
        " at the next start, or by brain accept."
    ),
    "unproven": (
        "What live trading demands is not met any more, so what is open is only watched."
        " No word lifts it: meet the demand, then start again. brain live lists the demands."
    ),
}
"""Why nothing is opened at an exchange, and what settles it, by :class:`core.exec.live.halts.HaltKind`."""

ALERTS: dict[str, str] = {
    "accepted": "A person settled with brain accept what halted the session.",
    "audit": "A comparison with the exchange found something, and did what the text says.",
    "blackouts_reviewed": "The blackout windows are others than at the last start.",
    "blocked": "A health gate closed for one symbol: nothing is opened there, exits go on.",
    "bonus_off": "The larger risk after green days is over.",
    "bonus_on": "After green days a little more may be risked.",
    "by_hand": "The account was traded by somebody else than this run.",
    "clock": "This host's clock is off, or the exchange's could not be read.",
    "cut_off": "The smaller risk after losses is over.",
    "cut_on": "After losses less is risked.",
    "day_lock_cleared": "A new trading day began; entries are open again.",
    "day_lock_set": "The daily loss limit is reached: nothing is opened until the next trading day.",
    "exchange_kept": "The local exchange of a paper run writes its account again.",
    "exchange_not_kept": "The local exchange of a paper run cannot write its account, and takes no orders.",
    "fault": "The run ended by an error; the next start goes on from the last bar on the disk.",
    "filters": "What the exchange demands of orders on a symbol has changed, or was not read; the text says what to do.",
    "governance_changed": "The locked limits are not those that were signed: nothing is opened until a start finds them signed.",
    "governance_signed": "Other limits than at the last start hold now; they are signed.",
    "journal_back": "The session journal is written again, and nothing is missing.",
    "journal_lost": "The session journal cannot be written: nothing is opened until it can be.",
    "kill_switch": "The 72 h drawdown limit is reached: everything is closed, until a person says brain unlock.",
    "late_transfer": "A transfer was listed after it had counted as a result; it is in no limit any more.",
    "left_open": "What stays at the exchange when a run ends, and what nobody knows of it.",
    "liquidation": "The exchange liquidated a position.",
    "no_last_stop": "The exchange refused the stop that never moves, again and again; it is tried ever more slowly.",
    "note_damaged": "What a person left with brain accept or brain unlock cannot be read: delete it, and say it again.",
    "order_lost": "The exchange has forgotten an order of ours.",
    "paused": "A health gate closed for the whole system: nothing is opened, exits go on.",
    "recovered": "A start found exchange and books in agreement.",
    "recovery": "What a start found at the exchange and a person should know; a page: a halt from before it is still there.",
    "report_lost": "A daily report cannot be written; it is tried again.",
    "resumed": "A health gate opened again for the whole system.",
    "selection_tightened": "The selection of signals became stricter.",
    "spot_back": "Hourly spot closes come again.",
    "spot_missing": "An hour's spot close was not there in time; what needs the basis abstains.",
    "stop_beyond": "The price was beyond a stop before that could be placed, and the position is closed.",
    "symbol_halted": "Nothing is opened on a symbol, or on the whole account; brain explain knows each reason.",
    "transfer": "The owner paid in or took out money; no limit counts it.",
    "unblocked": "A health gate opened again for one symbol.",
    "unexplained": "The account holds more or less than the books, and nobody knows why: it counts as a result.",
    "unlock": "The kill-switch was lifted.",
    "unlocked": "The kill-switch was lifted by a person, or by --unlock-after.",
    "unprotected": "A position has neither a stop nor an exit under way; what can be done is being done.",
    "word_not_read": "A message of the exchange could not be read; what it told is found by comparing.",
}
"""What a person is told, by its code in the log, in the records and in the metrics' help."""
