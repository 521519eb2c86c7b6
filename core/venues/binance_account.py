"""An account at Binance USD-M through ccxt: the port of the live broker (:class:`core.exec.live.port.Account`).

Orders go through ccxt's unified calls; what it has no unified form for, through its calls of the same name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from core.clock import Clock
from core.errors import BrainError, Unanswered
from core.exec.instrument import venue_id
from core.venues import binance_words as words
from core.venues.client import Wiring, make_client
from core.venues.errors import NOT_KNOWN, OF_TIME, UNCHANGED, LeftAlone, code_of, not_listed
from core.venues.keys import Keys
from core.venues.timing import measure_offset
from core.venues.words import (
    Ask,
    BalanceSeen,
    FundingSeen,
    KeyScope,
    Limits,
    LinkLost,
    OrderSeen,
    PositionSeen,
    SymbolMode,
    TradeSeen,
    TransferSeen,
    Unreadable,
    Word,
)

_TRADES_PAGE, _INCOME_PAGE = 1_000, 1_000
_OF_THE_OWNER = (
    "TRANSFER",
    "INTERNAL_TRANSFER",
    "CROSS_COLLATERAL_TRANSFER",
    "COIN_SWAP_DEPOSIT",
    "COIN_SWAP_WITHDRAW",
    "STRATEGY_UMFUTURES_TRANSFER",
)
"""Kinds of income that are the owner's money, moved between wallets of his; none is a result of trading."""
_TRADES_WINDOW_MS, _TRADES_KEPT_MS = 7 * 86_400_000, 180 * 86_400_000
"""The longest time that one question for fills may span, and how far back the venue knows any."""
_PATIENCE_S = 15.0
_RECONNECT_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_RENEWED_AFTER_S = 1_800.0
"""The key of the stream is valid for an hour; it is renewed after half of it."""


class BinanceAccount:
    """One account in one-way mode, settled in ``coin``.

    Args:
        keys: of the account.
        clock: the local clock, which must be the one that ccxt signs with.
        wiring: how the venue is reached; what the stream tells comes to :meth:`listen`'s callers.
        coin: settlement coin.
    """

    def __init__(self, keys: Keys, clock: Clock, wiring: Wiring | None = None, *, coin: str = "USDT") -> None:
        heard = replace(wiring or Wiring(), on_raw=self._on_raw, on_link=self._on_link, on_error=self._on_error)
        self._client: Any = make_client("binanceusdm", keys, replace(heard, patient=False))
        self._clock, self._coin = clock, coin
        self._offset_ms = 0.0
        self._names: dict[str, str] = {}
        self._stream: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._fails = 0
        self._on_word: Callable[[Word], None] = _deaf
        self._on_trouble: Callable[[Exception], None] = _deaf
        self._on_time: Callable[[], None] = _deaf

    # --- time and stream --------------------------------------------------------------------------

    def now_ms(self) -> int:
        return int(self._clock.now_ms() + self._offset_ms)

    def listen(
        self, on_word: Callable[[Word], None], on_trouble: Callable[[Exception], None], on_time: Callable[[], None]
    ) -> None:
        self._on_word, self._on_trouble, self._on_time = on_word, on_trouble, on_time

    def _on_raw(self, message: Any, _url: str = "") -> bool:
        """Hear a message; whether it was the account's, which ccxt need not handle any more: nobody asks it for orders."""
        try:
            for word in words.words_of(message, self._names.get, self._coin):
                self._on_word(word)
        except Exception as error:  # noqa: BLE001 - it must not end ccxt's loop, which would go on in silence
            self._on_trouble(error)
        return isinstance(message, dict) and message.get("e") in words.OF_ACCOUNT

    def _on_link(self, url: str, stands: bool) -> None:
        """The account's stream stands again: what it missed must be asked for."""
        if stands and "/private/" in url:
            self._fails = 0
            self._connected.set()
            self._on_word(LinkLost(self.now_ms()))

    def _on_error(self, error: Exception) -> None:
        if code_of(error) in OF_TIME:
            self._on_time()

    def forced(self, client_id: str) -> bool:
        return words.forced(client_id)

    async def markets(self, symbols: Sequence[str]) -> tuple[Limits, ...]:
        await self._client.load_markets()
        listed = self._look_over(self._client.markets.values())
        return tuple(self.limits(symbol) for symbol in symbols if symbol in listed)

    async def open(self) -> None:
        if self._stream is None:
            self._stream = asyncio.create_task(self._keep_stream(), name="account stream")
            self._warming = asyncio.create_task(self._keep_warm(), name="connection for orders")
        await self._until_connected()

    async def reload(self, symbols: Sequence[str]) -> tuple[Limits, ...]:
        # not ccxt's own reload: every order would wait for that, and fail with it
        markets = await self._client.fetch_markets()
        listed = self._look_over(markets)
        if missing := [symbol for symbol in symbols if symbol not in listed]:
            raise not_listed(missing)
        self._client.set_markets(markets)
        return tuple(self.limits(symbol) for symbol in symbols)

    def _look_over(self, markets: Iterable[Any]) -> dict[str, str]:
        # of every market: what is held on one that is not traded here must be known by its name, too
        listed = {market["symbol"]: market["id"] for market in markets if market["linear"]}
        self._names = {name: symbol for symbol, name in listed.items()}
        return listed

    def limits(self, symbol: str) -> Limits:
        return _limits(symbol, self._client.markets[symbol])

    def left_alone_s(self) -> float:
        return float(self._client.wiring.budget.closed_s)

    async def set_clock(self) -> float:
        offset = await measure_offset(self._client, self._clock)
        self._offset_ms = offset.offset_ms
        self._client.quirks.set_offset(self._client, round(offset.offset_ms))
        return offset.offset_ms

    async def _keep_stream(self) -> None:
        """Hold the account's stream up; what it tells is heard in :meth:`_on_raw`, so that this wait ends with it only."""
        while True:
            try:
                await self._client.watch_orders()
            except Exception:  # noqa: BLE001 - whatever broke it, the stream is dialled again; the audit tells what was missed
                if self._fails:  # it did not stand again: ccxt would dial with the same key for twenty minutes
                    self._client.quirks.forget_stream_key(self._client)
                await asyncio.sleep(_RECONNECT_S[min(self._fails, len(_RECONNECT_S) - 1)])
                self._fails += 1

    async def _keep_warm(self) -> None:
        """Hold a connection open, on which the next order leaves at once, and the stream's key valid: ccxt renews it once."""
        every_s, age_s = self._client.wiring.warm_every_s, 0.0
        while True:
            await asyncio.sleep(every_s)
            age_s += every_s
            with suppress(Exception):  # whether the venue answers, or wants to be left alone, is others' care
                await self._client.fapiPublicGetPing()
                if age_s >= _RENEWED_AFTER_S:
                    await self._client.fapiPrivatePutListenKey()
                    age_s = 0.0

    async def _until_connected(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._connected.wait()
        except TimeoutError as error:
            if wait_s := self.left_alone_s():
                raise LeftAlone(wait_s) from error
            raise Unanswered(
                f"the account's stream did not stand within {_PATIENCE_S:.0f} s",
                help="look whether the exchange is up and the key may read, then start again",
                code="VENUE-004",
            ) from error

    async def close(self) -> None:
        tasks = [task for task in (self._stream, self._warming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._stream = self._warming = None
        await self._client.close()

    # --- orders -----------------------------------------------------------------------------------

    async def send(self, ask: Ask) -> OrderSeen:
        params: dict[str, Any] = {"clientOrderId": ask.client_id}
        if ask.close_position:
            params["closePosition"] = True
        elif ask.reduce_only:
            params["reduceOnly"] = True
        if ask.algo:
            params |= {"triggerPrice": _text(ask.price), "workingType": "MARK_PRICE" if ask.on_mark else "CONTRACT_PRICE"}
        limit = ask.price is not None and not ask.algo
        if limit:
            params["timeInForce"] = "GTX" if ask.post_only else "IOC" if ask.immediate else "GTC"
        answer = await self._client.create_order(
            ask.symbol,
            "limit" if limit else "market",
            ask.side.value,
            _text(ask.qty),
            _text(ask.price) if limit else None,
            params=params,
        )
        seen = self._seen(answer["info"], ask.symbol, algo=ask.algo)
        if seen.client_id != ask.client_id:
            raise BrainError(f"order {ask.client_id} was answered as {seen.client_id}", code="VENUE-003")
        return seen

    async def cancel(self, symbol: str, client_id: str, *, algo: bool) -> OrderSeen | None:
        params = {"clientOrderId": client_id} | ({"trigger": True} if algo else {})
        try:
            answer = await self._client.cancel_order(None, symbol, params=params)
        except Exception as error:
            if code_of(error) in NOT_KNOWN:
                return await self.look_up(symbol, client_id, algo=algo)
            raise
        if not algo:
            return self._seen(answer["info"], symbol, algo=False)
        return await self.look_up(symbol, client_id, algo=True)  # the answer of a conditional one has no status

    async def look_up(self, symbol: str, client_id: str, *, algo: bool) -> OrderSeen | None:
        params = {"clientOrderId": client_id} | ({"trigger": True} if algo else {})
        return await self._asked(symbol, None, params, algo=algo)

    async def order_of(self, symbol: str, venue_id: str) -> OrderSeen | None:
        return await self._asked(symbol, venue_id, {}, algo=False)

    async def _asked(self, symbol: str, order_id: str | None, params: dict[str, Any], *, algo: bool) -> OrderSeen | None:
        try:
            answer = await self._client.fetch_order(order_id, symbol, params=params)
        except Exception as error:
            if code_of(error) in NOT_KNOWN:
                return None
            raise
        return self._seen(answer["info"], symbol, algo=algo)

    async def open_orders(self, symbol: str | None = None) -> tuple[OrderSeen, ...]:
        request = {} if symbol is None else {"symbol": venue_id(symbol)}
        plain = await self._client.fapiPrivateGetOpenOrders(request)
        algos = await self._client.fapiPrivateGetOpenAlgoOrders(request)
        seen: list[OrderSeen] = []
        unread: Exception | None = None
        for raw, algo in (*((raw, False) for raw in plain), *((raw, True) for raw in algos)):
            try:
                seen.append(self._seen(raw, self._name(raw), algo=algo))
            except Exception as error:  # noqa: BLE001 - a new form of the venue's; the others can be read
                unread = error
        if unread is not None:
            raise Unreadable(tuple(seen)) from unread
        return tuple(seen)

    def _seen(self, raw: Any, symbol: str, *, algo: bool) -> OrderSeen:
        return words.algo_order(raw, symbol) if algo else words.plain_order(raw, symbol)

    def _name(self, raw: Any) -> str:
        """The internal symbol; the venue's own where it is none of ours, so that nothing is passed over."""
        return self._names.get(raw["symbol"], str(raw["symbol"]))

    # --- money ------------------------------------------------------------------------------------

    async def trades(self, symbol: str, *, after_id: int | None, since: int) -> tuple[TradeSeen, ...]:
        found = [] if after_id is not None else await self._first_trades(symbol, since)
        if after_id is None:
            if not found:
                return ()
            after_id = found[-1].trade_id
        while True:  # by number there is no window of time
            page = await self._trades_page(symbol, {"fromId": after_id + 1})
            found += page
            if len(page) < _TRADES_PAGE:
                return tuple(found)
            after_id = page[-1].trade_id

    async def _first_trades(self, symbol: str, since: int) -> list[TradeSeen]:
        """The first page of fills since then, week by week: the venue looks no further at once, and not back for ever."""
        now = self.now_ms()
        for start in range(max(since, now - _TRADES_KEPT_MS), now, _TRADES_WINDOW_MS):
            end = start + _TRADES_WINDOW_MS - 1
            page = await self._trades_page(symbol, {"startTime": start} | ({"endTime": end} if end < now else {}))
            if page:
                return page
        return []

    async def _trades_page(self, symbol: str, asked: dict[str, int]) -> list[TradeSeen]:
        rows = await self._client.fapiPrivateGetUserTrades({"symbol": venue_id(symbol), "limit": _TRADES_PAGE, **asked})
        return sorted((words.user_trade(raw, symbol) for raw in rows), key=lambda trade: trade.trade_id)

    async def positions(self) -> tuple[PositionSeen, ...]:
        rows = await self._client.fapiPrivateV3GetPositionRisk()
        seen = (words.position(raw, self._name(raw)) for raw in rows)
        return tuple(position for position in seen if position.qty)

    async def balance(self) -> BalanceSeen:
        answer = await self._client.fapiPrivateV3GetAccount()
        wallet = [Decimal(raw["walletBalance"]) for raw in answer["assets"] if raw["asset"] == self._coin]
        return BalanceSeen(self.now_ms(), sum(wallet, Decimal(0)))

    async def funding(self, since: int) -> tuple[FundingSeen, ...]:
        found: dict[tuple[str, str], FundingSeen] = {}
        while True:  # pages meet in one moment, of which both may have a part
            request = {"incomeType": "FUNDING_FEE", "startTime": since, "limit": _INCOME_PAGE}
            rows = await self._client.fapiPrivateGetIncome(request)
            told = [words.funding(raw, self._name(raw)) for raw in rows]
            seen = {(payment.symbol, payment.id): payment for payment in told}
            news = seen.keys() - found.keys()
            found |= seen
            if len(rows) < _INCOME_PAGE or not news:
                return tuple(sorted(found.values(), key=lambda payment: (payment.ts, payment.symbol)))
            since = max(payment.ts for payment in told)

    async def transfers(self, since: int) -> tuple[TransferSeen, ...]:
        seen: list[TransferSeen] = []
        for kind in _OF_THE_OWNER:  # asked for by kind: all kinds together have a row for every fill
            request = {"incomeType": kind, "startTime": since, "limit": _INCOME_PAGE}
            rows = await self._client.fapiPrivateGetIncome(request)
            seen += [TransferSeen(int(raw["time"]), Decimal(raw["income"])) for raw in rows if raw["asset"] == self._coin]
        return tuple(sorted(seen, key=lambda transfer: transfer.ts))

    # --- how the account is set -------------------------------------------------------------------

    async def hedged(self) -> bool:
        answer = await self._client.fapiPrivateGetPositionSideDual()
        return str(answer["dualSidePosition"]).lower() == "true"

    async def set_one_way(self) -> None:
        await self._changed(self._client.fapiPrivatePostPositionSideDual({"dualSidePosition": "false"}))

    async def multi_assets(self) -> bool:
        answer = await self._client.fapiPrivateGetMultiAssetsMargin()
        return str(answer["multiAssetsMargin"]).lower() == "true"

    async def modes(self, symbols: Sequence[str]) -> tuple[SymbolMode, ...]:
        rows = {raw["symbol"]: raw for raw in await self._client.fapiPrivateGetSymbolConfig()}
        found = [(symbol, rows[venue_id(symbol)]) for symbol in symbols if venue_id(symbol) in rows]
        return tuple(SymbolMode(symbol, int(raw["leverage"]), raw["marginType"].upper() == "ISOLATED") for symbol, raw in found)

    async def set_mode(self, mode: SymbolMode) -> None:
        name = venue_id(mode.symbol)
        kind = "ISOLATED" if mode.isolated else "CROSSED"
        await self._changed(self._client.fapiPrivatePostMarginType({"symbol": name, "marginType": kind}))
        await self._changed(self._client.fapiPrivatePostLeverage({"symbol": name, "leverage": mode.leverage}))

    async def scope(self) -> KeyScope:
        answer = await self._client.sapiGetAccountApiRestrictions()
        return KeyScope(answer["enableFutures"] is True, answer["enableWithdrawals"] is True)

    async def _changed(self, request: Any) -> None:
        """A setting that is so already is no error."""
        try:
            await request
        except Exception as error:
            if code_of(error) not in UNCHANGED:
                raise


def _deaf(*what: object) -> None:
    pass


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _limits(symbol: str, market: Any) -> Limits:
    filters = {raw["filterType"]: raw for raw in market["info"]["filters"]}
    lot = filters["LOT_SIZE"]
    return Limits(
        symbol=symbol,
        tick_size=Decimal(filters["PRICE_FILTER"]["tickSize"]),
        qty_step=Decimal(lot["stepSize"]),
        min_qty=Decimal(lot["minQty"]),
        max_market_qty=Decimal(filters.get("MARKET_LOT_SIZE", lot)["maxQty"]),
        min_notional=Decimal(filters["MIN_NOTIONAL"]["notional"]),
    )
