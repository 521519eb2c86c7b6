"""Every REST request comes through here: faults, limits, latency, key, clock, signature; then the call itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from aiohttp import web

from core.sim.local.values import VenueError
from core.sim.server.desk import Desk, Route, Security
from core.sim.server.faults import HANG_MS, Fault, FaultKind, FaultPlan
from core.sim.server.limits import Limiter, Throttled, spot_limits
from core.sim.server.params import Params, parse_pairs
from core.sim.server.routes import ROUTES, SPOT
from core.sim.server.signing import check_engine_time, check_key, check_signature, check_time
from core.sim.server.wire import encode

UNKNOWN_STATUS = "Unknown error, please check your request or try again later."
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
RETRY_AFTER_S = 5
_NOT_REPLIED = frozenset({FaultKind.HANG, FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.LATE})


class Asked(NamedTuple):
    """A request as it came; ``query`` and ``body`` are the very text that was signed."""

    method: str
    path: str
    query: str
    body: str
    key: str | None
    address: str

    @classmethod
    async def read(cls, request: web.Request) -> Asked:
        """Take it from the wire."""
        query = request.raw_path.partition("?")[2]
        body = (await request.read()).decode()
        return cls(request.method, request.path, query, body, request.headers.get("X-MBX-APIKEY"), request.remote or "")


class Answer(NamedTuple):
    """A reply before it is sent."""

    status: int
    body: bytes
    headers: dict[str, str]
    content_type: str = "application/json"

    def response(self) -> web.Response:
        """For the wire."""
        return web.Response(status=self.status, body=self.body, headers=self.headers, content_type=self.content_type)


def refusal(error: VenueError, headers: dict[str, str] | None = None) -> Answer:
    """An error in the venue's form."""
    told = dict(headers or {})
    if isinstance(error, Throttled):
        told["Retry-After"] = str(error.retry_after)
    return Answer(error.status, encode({"code": error.code, "msg": error.message}), told)


class Gateway:
    """Answers REST requests.

    ``settle`` is called after everything that may have changed the account, before the reply is sent.
    """

    def __init__(self, desk: Desk, plan: FaultPlan, random: np.random.Generator, settle: Callable[[bool], None]) -> None:
        self._desk, self._plan, self._random, self._settle = desk, plan, random, settle
        self._limiter, self._spot = Limiter(desk.options.limits), Limiter(spot_limits(desk.options.limits))
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let go of requests that hang."""
        self._closing.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        asked = await Asked.read(request)
        fault = self._plan.for_request(asked.method, asked.path)
        await self._wait(self._desk.options.latencies.request.draw(self._random))
        answer = await self._answer(asked, fault)
        await self._wait(self._desk.options.latencies.reply.draw(self._random))
        if fault is None:
            return answer.response()
        return await self._reply(request, answer, fault)

    async def _wait(self, ms: float) -> None:
        if ms > 0:
            await self._desk.pace.sleep(ms)

    # --- doing it ---------------------------------------------------------------------------------

    async def _answer(self, asked: Asked, fault: Fault | None) -> Answer:
        if fault is None:
            return self._do(asked)
        match fault.kind:
            case FaultKind.REJECT:
                return refusal(fault.error())
            case FaultKind.THROTTLE:
                return refusal(Throttled(429, RETRY_AFTER_S, "Too many requests."))
            case FaultKind.BAN:
                return refusal(Throttled(418, RETRY_AFTER_S, "Way too many requests; IP banned."))
            case FaultKind.UNKNOWN | FaultKind.HTML | FaultKind.HANG:
                return self._do(asked) if fault.executed else Answer(503, b"", {})
            case FaultKind.DROP_BEFORE:
                return Answer(503, b"", {})
            case FaultKind.LATE:
                self._do_later(asked, fault.delay_ms)
                return Answer(503, b"", {})
            case FaultKind.QUEUED:
                return await self._do_queued(asked, fault.delay_ms)
            case FaultKind.FOUND_LATE:
                return self._hide(self._do(asked), fault.delay_ms)
            case _:
                return self._do(asked)

    def _do(self, asked: Asked) -> Answer:
        """Admit and do it at once."""
        admitted = self._admit(asked)
        return admitted if isinstance(admitted, Answer) else self._perform(asked, *admitted)

    def _do_later(self, asked: Asked, ms: int) -> None:
        """Admit now, do later; nobody hears of it."""
        admitted = self._admit(asked)
        if not isinstance(admitted, Answer):
            self._desk.pace.later(ms, partial(self._perform, asked, *admitted))

    async def _do_queued(self, asked: Asked, ms: int) -> Answer:
        admitted = self._admit(asked)
        if isinstance(admitted, Answer):
            return admitted
        await self._desk.pace.sleep(ms)
        return self._perform(asked, *admitted)

    def _hide(self, answer: Answer, ms: int) -> Answer:
        """Let no look-up find what was just placed."""
        if answer.status != 200:
            return answer
        told = msgspec.json.decode(answer.body)
        until = self._desk.pace.clock.now_ms() + ms
        if "algoId" in told:
            self._desk.memory.hide("algo", told["algoId"], told["clientAlgoId"], until)
        elif "orderId" in told:
            self._desk.memory.hide("order", told["orderId"], told["clientOrderId"], until)
        return answer

    def _admit(self, asked: Asked) -> tuple[Route, Params] | Answer:
        """Whether the request is let in to the call."""
        now = self._desk.pace.clock.now_ms()
        route = ROUTES.get((asked.method, asked.path))
        if route is None:
            return refusal(VenueError(-5000, f"Path {asked.path}, Method {asked.method} is invalid", status=404))
        params = Params(parse_pairs(asked.query, asked.body))
        try:
            self._limiter_of(asked).take(asked.address, route.weight(params), now)
            self._authorise(asked, route, params)
            self._refuse_while_not_kept(route)
            orders = route.orders(params)
            if orders:
                self._limiter.take_orders(orders, now)
        except VenueError as error:
            return refusal(error, self._counts(asked, route))
        return route, params

    def _authorise(self, asked: Asked, route: Route, params: Params) -> None:
        options = self._desk.options
        if route.security is Security.NONE:
            return
        check_key(asked.key, options, trades=route.security is Security.TRADE)
        if route.security is Security.KEY:
            return
        if options.check_time:
            check_time(params, self._desk.pace.now())
        check_signature(asked.query, asked.body, options.secret)

    def _refuse_while_not_kept(self, route: Route) -> None:
        """Nothing of the account is told or changed while it is not on the disk."""
        why = self._desk.not_kept
        if why is not None and route.security in (Security.SIGNED, Security.TRADE):
            raise VenueError(-1008, f"Nothing was done: {why}", status=503)

    def _perform(self, asked: Asked, route: Route, params: Params) -> Answer:
        trades = route.security is Security.TRADE
        try:
            if trades and self._desk.options.check_time:
                check_engine_time(params, self._desk.pace.now())
            answer = Answer(200, encode(route.handler(self._desk, params)), self._counts(asked, route))
        except VenueError as error:
            answer = refusal(error, self._counts(asked, route))
        self._settle(trades)
        if trades and self._desk.not_kept is not None:
            return Answer(503, UNKNOWN_STATUS.encode(), {}, "text/plain")  # done, and perhaps not for good
        return answer

    def _limiter_of(self, asked: Asked) -> Limiter:
        return self._spot if asked.path.startswith(SPOT) else self._limiter

    def _counts(self, asked: Asked, route: Route) -> dict[str, str]:
        now = self._desk.pace.clock.now_ms()
        return self._limiter_of(asked).headers(asked.address, now, orders=route.security is Security.TRADE)

    # --- replying, or not -------------------------------------------------------------------------

    async def _reply(self, request: web.Request, answer: Answer, fault: Fault) -> web.StreamResponse:
        if fault.kind is FaultKind.HANG:
            await self._hang(fault.delay_ms or HANG_MS)
        if fault.kind in _NOT_REPLIED:
            cut(request)
            return answer.response()
        match fault.kind:
            case FaultKind.UNKNOWN:
                return web.Response(status=503, text=UNKNOWN_STATUS)
            case FaultKind.HTML:
                return web.Response(status=502, text=BAD_GATEWAY, content_type="text/html")
            case FaultKind.TRUNCATED:
                return await truncated(request, answer)
            case FaultKind.SLOW:
                await self._desk.pace.sleep(fault.delay_ms)
        return answer.response()

    async def _hang(self, ms: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._desk.pace.seconds(ms)):
                await self._closing.wait()


def cut(request: web.Request) -> None:
    """End the connection without a word."""
    if request.transport is not None:
        request.transport.abort()


async def truncated(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Promise the whole reply and send half of it."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = len(answer.body)
    await response.prepare(request)
    response.force_close()
    await response.write(answer.body[: len(answer.body) // 2])
    return response
