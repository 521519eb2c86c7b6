"""How patient the exchange source is. Times are counted from the close of a bar unless they say otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """Measured or documented where a source is named; else chosen, and safe to change.

    Attributes:
        grace_ms: a candle that no stream has finished by then is asked for by REST.
        last_row_ms: the last row of an answer is believed to be final from then on though no newer one proves it.
        barrier_ms: until then late symbols are waited for; who comes later is in a later batch.
        spot_grace_ms: an hour's spot close that the stream has not told by then is asked for by REST; what is decided at that
            close waits for it.
        side_wait_ms: how long complete candles wait for funding, spot and books of the same moment.
        hold_closes: closes for which a symbol's newer bars wait for a missing one before it is given up as a gap.
        stale_after_ms: a close that could not be told by then is never told alone: its bars come with the next one.
        book_fresh_ms: an order book is asked for by REST where its last difference is older.
        mark_fresh_ms: older mark prices are not passed on; a symbol without a fresh one by the stream is asked for by REST.
        market_silent_s: without a message for so long the socket of candles and marks is dialled again; marks come each second.
        book_silent_s: a book that was not heard of for so long is compared with REST's; where they differ its socket is dialled
            again. Books may stand still, so that silence alone proves nothing.
        clock_every_s: between measurements of the venue's time.
        step_ms: a step of the host's clock that calls for a measurement at once.
        switch_after_s: the first venue is silent for so long before data of the next one is used.
        back_after: complete closes of the first venue before it is used again.
        switch_patience_s: how long a batch may wait for another venue.
        backoff_s: first and longest pause before a socket is dialled again.
        weight_per_minute: budget for data, apart from that for orders; the venue allows 2400 to an address.
        address_most: nothing is asked for while the venue has counted more than this for our address, whoever used it up.
        depth_levels: of the snapshot that a book is built on.
        waiting_most: candles of a symbol that wait for a consumer that does not come; the oldest go first.
        patience_s: how long start-up tries to reach the venue.
    """

    grace_ms: int = 1_000
    last_row_ms: int = 15_000
    barrier_ms: int = 2_000
    spot_grace_ms: int = 150
    side_wait_ms: int = 1_000
    hold_closes: int = 3
    stale_after_ms: int = 30_000
    book_fresh_ms: int = 2_000
    mark_fresh_ms: int = 10_000
    market_silent_s: float = 20.0
    book_silent_s: float = 20.0
    clock_every_s: float = 300.0
    step_ms: int = 250
    switch_after_s: float = 120.0
    back_after: int = 2
    switch_patience_s: float = 10.0
    backoff_s: tuple[float, float] = (0.2, 15.0)
    weight_per_minute: float = 1_000.0
    address_most: float = 2_000.0
    depth_levels: int = 500
    waiting_most: int = 3_000
    patience_s: float = 60.0
