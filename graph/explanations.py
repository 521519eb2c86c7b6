"""What every code means, for ``brain explain``: refusals, configuration problems, errors, exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from configs.errors import ConfigCode
from core.codes import RefusalCode
from graph.alert_words import ALERTS, HALTS
from graph.exit_codes import ExitCode, UsageError

ERROR_CODES: dict[str, str] = {
    "BRAIN-000": "Something went wrong that has no code of its own; the sentence beside it says what.",
    "BUG-001": "Brain met a situation that it was not made for. The report file named in the message has the details.",
    "CLI-001": "A flag or an argument has a value that cannot be used.",
    "CLI-002": "A command, a flag or an argument is unknown, missing, or given twice.",
    "CLI-003": "The command needs a person's confirmation, and none can be asked for: run it at a terminal, without --no-input.",
    "CLI-004": "A symbol has neither of the accepted forms: BTC/USDT:USDT or BINANCE:BTCUSDT.P.",
    "CLI-005": "brain explain was asked for a code that does not exist.",
    "DATA-001": "Market data is missing, broken or in the wrong form.",
    "DATA-002": "A source of market data cannot give what was asked of it.",
    "DATA-010": "The data folder cannot be used.",
    "DATA-011": "The data folder holds no candles.",
    "DATA-012": "A recording cannot be read as parquet.",
    "DATA-013": "A recording lacks a column, or a column has the wrong type.",
    "DATA-014": "The recordings have no candles of a symbol.",
    "DATA-015": "The recordings have no candles in the range that was asked for.",
    "DATA-016": "symbols.yaml has no entry for a symbol that the run is to trade.",
    "DATA-020": "The synthetic market was asked for something that it cannot make.",
    "DATA-021": "The synthetic market was asked for a symbol that it does not run.",
    "DATA-030": "A recording of a venue's messages cannot be read, or a line in it is no such message.",
    "DATA-040": "A real venue cannot be reached, or broke off; the message has its own words.",
    "DATA-041": "A real venue does not list a symbol that was asked for.",
    "DATA-042": "The folder of a download holds what brain data fetch did not write, or recordings of another venue.",
    "DATA-043": "Two downloads into one folder at a time; each keeps the list of what is there.",
    "DATA-044": "The folder of a download cannot be written: the disk is full, or it is not allowed. What was fetched is kept.",
    "DATA-045": "A venue has nothing of what brain data fetch was asked for in that time; no recording was written.",
    "EXCH-001": "The local exchange cannot listen on the port, most often because it is taken.",
    "EXCH-002": "The local exchange of a paper run plays its market no more, and the run was ended: no stop could trigger there.",
    "STATE-001": "Saved state is absent, damaged or of another run.",
    "STATE-002": "The state folder or file cannot be used.",
    "STATE-003": "The disk is full; everything up to the last commit is there.",
    "STATE-004": (
        "The state file is damaged, or is not a state file. For a session at an exchange: look there first, then restore the file"
        " from a copy, or close what is open there; another folder knows neither positions nor locks."
    ),
    "STATE-005": "The state folder holds no run.",
    "STATE-006": "A record was there already or is incomplete; nothing of the commit was written.",
    "STATE-007": "The state file was made by another version of Brain.",
    "STATE-008": "The records go further than the last snapshot; going on would record them twice.",
    "STATE-009": "Another run uses the state folder.",
    "STATE-010": (
        "The saved session is of another run: its recordings, symbols, start or configuration are not those of this one,"
        " or the source gives another bar than the session saw last. The message names what differs."
    ),
    "STATE-011": "A snapshot of correlations does not fit the symbols of this run.",
    "STATE-012": "A snapshot of the portfolio has another version.",
    "STATE-013": "Another daemon on this machine trades with the same API key.",
    "STATE-014": "The local exchange cannot write its account down: the disk is full, or it is not allowed.",
    "STATE-015": (
        "The key traded last in another folder, which still has something open, halted or lost, or knows orders that the one"
        " that was named does not."
    ),
    "STATE-016": (
        "The account of the local exchange at which a paper session trades is gone, or older than the session: what the session"
        " holds and has ordered is not there."
    ),
    "JRN-001": "The session journal is damaged or incomplete; nothing was written to it. The message says where it stops.",
    "JRN-002": "The session journal cannot be read or written: the disk is full, or it is not allowed.",
    "JRN-003": "There is no such session, more than one is meant, or it has no journal.",
    "JRN-004": "The session journal was written by a later version of Brain.",
    "JRN-005": "Going on gives another record than the journal has at the same place: code or configuration has changed since.",
    "JRN-006": "The session journal no longer goes back that far: its oldest segments were removed.",
    "JRN-007": "Bars were being decided under another configuration when the session was cut off; they are not finished yet.",
    "JRN-008": "The session does not have the bar that was asked for.",
    "JRN-009": "Less than six months of a session's journal would be kept; what was decided must stay explainable that long.",
    "JRN-010": "The session was recorded under a configuration that this version cannot take; the message names the key.",
    "REPLAY-001": "A session that was made again differs from its record; bar, node, field and both values are named.",
    "REPLAY-002": "The session was recorded by other code than this; --other-code compares all the same, and says so.",
    "STEP-001": "The stepper does not know the command, or cannot follow it where it stands; nothing has moved.",
    "STEP-002": "A place in the state does not exist, or nothing stands there now.",
    "STEP-003": "A what-if cannot put that value there: of another type, out of range, in another unit, or not read next.",
    "STEP-004": "What the stepper looked for is not in the session's record.",
    "LOG-001": "LOG_LEVEL is not one of the known levels.",
    "LOG-002": "Logs would be kept for less than the six months that are required.",
    "LOG-003": "The log folder cannot be written to.",
    "MON-001": "The metrics cannot be served, most often because the port is taken.",
    "MON-002": "The metrics cannot be written to a file.",
    "REPORT-001": "A daily report cannot be written.",
    "TOOL-001": "An agent asked for a tool outside its grant.",
    "TOPO-001": "The table of agents, tools and edges breaks a rule.",
    "NODE-001": "A node read, wrote or returned what it did not declare.",
    "OUT-001": "The answer cannot be written to where stdout goes, most often because the disk is full.",
    "READY-001": "A demand for live trading is not met; brain live lists all of them by number, with what was seen.",
    "READY-002": "A symbol is to be traded live that not every counted session of the evidence traded.",
    "READY-003": "The account holds more than twice, or less than half, of what the evidence was made with.",
    "READY-004": "Entries are to be made live in another way (--entry, --slices) than in the counted sessions of the evidence.",
    "LIVE-001": "The outbox of orders cannot be used: another process has it, or it may not be read or written.",
    "LIVE-002": "The outbox of orders was made by another version of Brain.",
    "LIVE-003": "The outbox of orders cannot be written; entries stop until it can.",
    "LIVE-004": "The outbox of orders is damaged.",
    "LIVE-010": "The API key may withdraw money; a key of a trading program must not.",
    "LIVE-011": "The API key may not trade futures.",
    "LIVE-012": "The account is in hedge mode and something is open, so that it cannot be set to one-way mode.",
    "LIVE-013": "The host's clock is too far from the exchange's.",
    "LIVE-014": "The exchange does not take the API key or its secret.",
    "LIVE-015": "The account could not be asked: no network, or the exchange does not answer as it should.",
    "LIVE-016": "The futures account holds no USDT to begin with.",
    "LIVE-017": "The exchange has another position by now than the person who accepted it was shown.",
    "LIVE-018": "A signal ended the command before its run had begun; nothing was opened.",
    "LIVE-019": "The account is in multi-assets mode, where coins other than USDT margin positions.",
    "VENUE-001": "The exchange has no module here.",
    "VENUE-002": "The exchange does not list a symbol.",
    "VENUE-003": "The exchange answered with another order than was sent.",
    "VENUE-004": "The account's stream did not come up.",
    "KEYS-001": "The keys of the exchange's account are not in the environment.",
    "LOCK-001": "Trading is locked and a person is needed.",
    "LOCK-002": "A kill-switch is lifted by a person at a terminal only, and not with --no-input.",
    "LOCK-003": "The limits are signed by a person at a terminal only, and not with --no-input.",
    "LOCK-004": "Live trading is approved by a person at a terminal only, and not with --no-input.",
    "LOCK-005": "What the exchange has is accepted by a person at a terminal only, and not with --no-input.",
    "WHY-001": "brain why was asked about an id that the session does not have; the message names the nearest ones.",
    "WHY-002": "The page of brain why cannot be written there: it would lie in a session's folder, or overwrite something else.",
}
"""Error codes that are raised by the code itself; configuration problems and refusals have enums of their own."""

FAMILIES: dict[str, str] = {
    "BRAIN": "an error of Brain without a family",
    "BUG": "a fault of Brain itself",
    "CFG": "a problem of the configuration; nothing was started",
    "CLI": "a command was used wrongly; nothing was started",
    "DATA": "market data is missing, broken or in the wrong form",
    "EXCH": "the local exchange cannot run",
    "JRN": "the session journal cannot be used",
    "KEYS": "keys of the exchange's account",
    "LIVE": "the account cannot be traded, or its orders cannot be kept",
    "LOCK": "trading is locked and a person is needed",
    "LOG": "the log cannot be kept as required",
    "MON": "metrics cannot be served or written",
    "NODE": "a node broke its declaration",
    "OUT": "an answer cannot be written",
    "READY": "live trading is refused",
    "REPLAY": "a session that was made again differs from its record",
    "REPORT": "a report cannot be written",
    "STEP": "a wish at the stepper that cannot be followed; nothing has moved",
    "STATE": "saved state is absent, damaged or of another run",
    "TOOL": "a tool was used outside its grant",
    "TOPO": "the table of agents, tools and edges breaks a rule",
    "VENUE": "an exchange does not do what was asked of it",
    "WHY": "brain why was asked about something that is not on record",
}
"""What the letters before the number say, for codes that have no text of their own yet."""


def did_you_mean(word: str, choices: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """Those of ``choices`` that ``word`` may have been meant to be, nearest first; letter case does not matter.

    Example:
        >>> did_you_mean("scenaro", ["source", "scenario", "symbols"])
        ('scenario',)
    """
    by_fold = {choice.casefold(): choice for choice in sorted(choices, reverse=True)}
    return tuple(by_fold[m] for m in difflib.get_close_matches(word.casefold(), by_fold, n=limit, cutoff=0.6))


def known_codes() -> tuple[str, ...]:
    """Every code that :func:`explain` has a text for, sorted within its kind."""
    words = {*ALERTS, *HALTS} - {c.value.lower() for c in RefusalCode}
    return (*sorted(ERROR_CODES), *sorted(c.value for c in ConfigCode), *sorted(c.value for c in RefusalCode), *sorted(words))


def _told(wanted: str) -> list[str]:
    """What a word means as a halt at the exchange, and as an alert: one may be both."""
    word = wanted.lower()
    told = []
    if word in HALTS:
        told.append(f"{word}: a halt; nothing is opened at the exchange, exits and stops go on.\n{HALTS[word]}")
    if word in ALERTS:
        told.append(f"{word}: an alert; a person is told.\n{ALERTS[word]}")
    return told


def explain(code: str) -> str:
    """What ``code`` means, for people; letter case does not matter.

    Raises:
        UsageError: there is no such code; the nearest ones are named.
    """
    wanted = code.strip().upper()
    if wanted in RefusalCode.__members__:
        refusal = RefusalCode[wanted]
        return "\n".join([f"{refusal.value}: a refusal; something was wanted and not done.\n{refusal.meaning}", *_told(wanted)])
    if wanted in {c.value for c in ConfigCode}:
        return f"{wanted}: {FAMILIES['CFG']}.\n{ConfigCode(wanted).meaning}"
    family = wanted.partition("-")[0]
    if wanted in ERROR_CODES:
        return f"{wanted}: {FAMILIES[family]}.\n{ERROR_CODES[wanted]}"
    if told := _told(wanted):
        return "\n".join(told)
    if wanted.isdigit() and int(wanted) in {c.value for c in ExitCode}:
        return f"{wanted}: an exit code.\n{ExitCode(int(wanted)).meaning}"
    if family in FAMILIES and wanted.partition("-")[2].isdigit():
        return f"{wanted}: {FAMILIES[family]}.\nThis code has no text of its own; the message that names it says what happened."
    near = did_you_mean(wanted, known_codes())
    hint = f"brain explain {near[0]}" if near else "docs/refusals.md lists the codes of refusals"
    others = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"code was {code!r}, which does not exist{others}", help=hint, code="CLI-005")
