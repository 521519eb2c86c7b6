"""The event loop of a simulation: time jumps from timer to timer, nothing waits, and every order is the seed's."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import socket
import weakref
from asyncio import base_events
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.support.simulation.network import Network

LIVELOCK_TURNS = 100_000
"""Turns of the loop at one moment after which it is taken to run in a circle."""
_THREAD_DELAY_S = (0.00005, 0.002)
"""How long a thread takes to begin, and its answer to be noticed."""


class Deadlock(RuntimeError):
    """Everybody waits, and nothing is left that could wake anybody."""


class Livelock(RuntimeError):
    """The loop runs and runs, and time does not move."""


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a node: from its start to its kill."""

    node: str
    number: int = 0


WORLD = Life("world")
NODE: ContextVar[Life] = ContextVar("NODE", default=WORLD)
"""Whose code is running; tasks and callbacks inherit it."""


class _Counted:
    """A hash from a counter: sets of futures have an order that does not depend on their addresses."""

    number: int

    def __new__(cls, *_args: Any, loop: SimulationLoop, **_more: Any) -> Self:
        made = super().__new__(cls)
        made.number = next(loop.numbers)
        return made

    def __hash__(self) -> int:
        return self.number


class OrderedFuture(_Counted, asyncio.Future[Any]):
    """A future with its number as hash."""


class OrderedTask(_Counted, asyncio.Task[Any]):
    """A task with its number as hash, and in its name where it has no other."""


class _Selector:
    """In place of the operating system: told to wait, it moves the time."""

    def __init__(self, loop: SimulationLoop) -> None:
        self.loop = loop
        self.turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is scheduled and nobody can go on")
        self.turns = 0 if timeout > 0 else self.turns + 1
        if self.turns > LIVELOCK_TURNS:
            raise Livelock(f"{LIVELOCK_TURNS} turns and it is still {self.loop.time()} s")
        if timeout > 0:
            self.loop.jump()
        return []


class SimulationLoop(base_events.BaseEventLoop):
    """asyncio's own loop with another selector and clock.

    Time begins at 0 and stays small, so that adding to it loses nothing. ``network`` answers for everything that would be a
    socket. A node that was killed schedules nothing any more, and whatever it still held is kept until :meth:`bury`, since a
    coroutine that is garbage runs its ``finally`` blocks, which a process that is killed does not.
    """

    network: Network
    _ready: deque[Any]
    _scheduled: list[Any]

    def __init__(self, seed: int) -> None:
        self._now_s = 0.0
        self.numbers = itertools.count()
        super().__init__()
        self._clock_resolution = 1e-9
        self._selector = _Selector(self)
        self._chance = Random(f"{seed}/threads")
        self._living: dict[Life, weakref.WeakSet[OrderedTask]] = {}
        self.dead: set[Life] = set()
        self.graveyard: list[Any] = []
        self.signals: dict[tuple[str, int], tuple[Callable[..., object], tuple[Any, ...], Context]] = {}

    def time(self) -> float:
        return self._now_s

    def jump(self) -> None:
        """To the next timer, exactly."""
        self._now_s = max(self._now_s, self._scheduled[0]._when)

    def _process_events(self, _events: object) -> None: ...

    def _write_to_self(self) -> None: ...

    # --- order ---------------------------------------------------------------------------------------------

    def create_future(self) -> OrderedFuture:
        return OrderedFuture(loop=self)

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> OrderedTask:
        task = OrderedTask(coro, loop=self, context=context)
        task.set_name(f"Task-{task.number}" if name is None else str(name))
        life = NODE.get() if context is None else context.get(NODE, WORLD)
        self._living.setdefault(life, weakref.WeakSet()).add(task)
        return task

    # --- threads -------------------------------------------------------------------------------------------

    def run_in_executor(self, _executor: object, func: Callable[..., Any], *args: Any) -> OrderedFuture:  # type: ignore[override]
        """Run ``func`` here, a moment later; its answer comes another moment later, so that a kill may fall in between."""
        future = self.create_future()
        self.call_later(self._chance.uniform(*_THREAD_DELAY_S), self._work, future, func, args)
        return future

    def _work(self, future: OrderedFuture, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        tell, what = future.set_result, None
        try:
            what = func(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's
            tell, what = future.set_exception, error
        self.call_later(self._chance.uniform(*_THREAD_DELAY_S), lambda: future.done() or tell(what))

    # --- signals -------------------------------------------------------------------------------------------

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]  # the same
        self.signals[NODE.get().node, sig] = (callback, args, contextvars.copy_context())

    def remove_signal_handler(self, sig: int) -> bool:
        return self.signals.pop((NODE.get().node, sig), None) is not None

    def send_signal(self, node: str, sig: int) -> None:
        """What ``kill -<sig>`` does to a node that has a handler for it; KeyError where it has none."""
        callback, args, context = self.signals[node, sig]
        self.call_soon(callback, *args, context=context)

    # --- death ---------------------------------------------------------------------------------------------

    def kill(self, life: Life) -> None:
        """End a life between two instructions: nothing of it runs again, not even a ``finally``."""
        self.dead.add(life)
        self.graveyard += [(task, task.get_coro()) for task in self._living.pop(life, ())]
        for handle in [*self._ready, *self._scheduled]:
            if not handle._cancelled and handle._context.get(NODE, WORLD) == life:
                self._silence(handle)
        for key in [key for key in self.signals if key[0] == life.node]:
            self.graveyard.append(self.signals.pop(key))
        self.network.kill(life)

    def _silence(self, handle: Any) -> None:
        self.graveyard.append((handle._callback, handle._args, handle._context))
        handle.cancel()

    def call_soon(self, *args: Any, **more: Any) -> Any:  # type: ignore[override]  # whatever it takes
        return self._unless_dead(super().call_soon(*args, **more))

    def call_at(self, *args: Any, **more: Any) -> Any:  # type: ignore[override]
        return self._unless_dead(super().call_at(*args, **more))

    def _unless_dead(self, handle: Any) -> Any:
        if self.dead and handle._context.get(NODE, WORLD) in self.dead:
            self._silence(handle)
        return handle

    def bury(self) -> None:
        """Close, and let go of all that is left, the living included; their ``finally`` blocks run now, into the void."""
        self._ready.clear()
        self._scheduled.clear()
        self.close()
        self._living.clear()
        self.graveyard.clear()

    # --- sockets -------------------------------------------------------------------------------------------

    async def getaddrinfo(self, host: Any, port: Any, **_more: Any) -> list[Any]:
        address = await self.network.resolve(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        await self.network.dial(sock, address)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_more: Any) -> Any:
        return self.network.listen(protocol_factory, port or 0)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, ssl: Any = None, **_more: Any
    ) -> Any:
        if sock is None:
            [(*_family, address)] = await self.getaddrinfo(host, port)
            sock = socket.socket()
            try:
                await self.sock_connect(sock, address)
            except BaseException:
                sock.close()
                raise
        return await self.network.connect(protocol_factory, sock, tls=bool(ssl))
