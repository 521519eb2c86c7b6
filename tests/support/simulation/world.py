"""A world: nodes that live on one loop, die and come back; what befalls them; and the trace by which two runs are the same."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import hashlib
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.support.simulation import sqlite
from tests.support.simulation.clocks import EPOCH_MS, Clocks, determined
from tests.support.simulation.disk import NO_SHARED_MEMORY, Disk, Loss, plain_files
from tests.support.simulation.loop import NODE, Life, OrderedFuture, OrderedTask, SimulationLoop
from tests.support.simulation.network import Fault, Network

LIMIT_S = 400 * 86_400.0
"""Virtual seconds after which a scenario is taken to wait for something that never comes."""

Scenario = Callable[..., Awaitable[object]]
Main = Callable[["Node"], Awaitable[object]]


@dataclass(eq=False)
class Node:
    """A node in its present life: ``main`` runs as its process, in its own folder."""

    world: World
    life: Life
    main: Main
    folder: Path
    disk: Disk | None
    may_fail: bool
    gone: OrderedFuture
    """Done when this life is over, by a kill or because ``main`` ended."""
    task: OrderedTask = field(init=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a world came to; two runs of one seed have equal outcomes."""

    virtual_s: float
    events: tuple[str, ...]
    trace: str
    wire: str


class World:
    """Everything of one seed. Made and ended by :func:`run_world`; the scenario gets it.

    ``complaints`` are exceptions that asyncio would only log (of callbacks, of tasks nobody asked). A world must end with none: a
    scenario that expects some clears them.
    """

    def __init__(self, seed: int, folder: Path, epoch_ms: int = EPOCH_MS) -> None:
        self.seed = seed
        self.folder = folder
        self.chance = Random(f"{seed}/world")
        self.loop = SimulationLoop(seed)
        self.network = self.loop.network = Network(self.loop, seed)
        self.clocks = Clocks(self.loop, epoch_ms)
        self.nodes: dict[str, Node] = {}
        self.events: list[str] = []
        self.complaints: list[str] = []
        self._watching = contextlib.ExitStack()
        self._disks: list[Disk] = []
        self._scenario: OrderedTask | None = None
        self._failure: BaseException | None = None
        self.loop.set_exception_handler(
            lambda _loop, told: self.complaints.append(f"{told['message']}: {told.get('exception')!r}")
        )

    # --- nodes ---------------------------------------------------------------------------------------------

    def start(
        self, name: str, main: Main, *, hosts: Sequence[str] = (), watch_disk: bool = False, may_fail: bool = False
    ) -> Node:
        """Start a node that the names in ``hosts`` stand for.

        Args:
            name: what faults and traces call it.
            main: its process.
            hosts: names that other nodes find it by.
            watch_disk: record what it does to its folder, for images and failing operations.
            may_fail: an exception out of ``main`` is the scenario's to look at; else it ends the world.
        """
        for host in hosts:
            self.network.host(host, name)
        folder = self.folder / name / "1"
        folder.mkdir(parents=True)
        return self._begin(name, 1, main, folder, watch_disk=watch_disk, may_fail=may_fail)

    def _begin(self, name: str, number: int, main: Main, folder: Path, *, watch_disk: bool, may_fail: bool) -> Node:
        disk = self._watch(folder) if watch_disk else None
        node = Node(self, Life(name, number), main, folder, disk, may_fail, self.loop.create_future())
        self.nodes[name] = node
        context = Context()
        context.run(NODE.set, node.life)
        node.task = self.loop.create_task(_process(node), name=f"{name}/{number}", context=context)
        node.task.add_done_callback(lambda _task: self._ended(node), context=Context())
        return node

    def _watch(self, folder: Path) -> Disk:
        if not self._disks:
            self._watching.enter_context(plain_files(self._disk_of))
            self._watching.enter_context(sqlite.databases(self._disk_of))
        self._disks.append(Disk(folder))
        return self._disks[-1]

    def _disk_of(self, path: Path) -> Disk | None:
        return next((disk for disk in self._disks if disk.holds(path)), None)

    def _ended(self, node: Node) -> None:
        failure = None if node.task.cancelled() else node.task.exception()
        if failure is not None and not node.may_fail:
            self._fail(failure)
        if not node.gone.done():
            node.gone.set_result(None)

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        if self._scenario is not None:
            self._scenario.cancel()

    def kill(self, name: str) -> None:
        """End a node as ``kill -9`` does: now, between two instructions."""
        node = self.nodes[name]
        if node.life not in self.loop.dead:
            self.note("killed", name)
            self.loop.kill(node.life)
            if node.disk is not None:
                node.disk.frozen = True
            if not node.gone.done():
                node.gone.set_result(None)

    def kill_at_operation(self, name: str, number: int) -> None:
        """End a node when it is about to do this operation to its disk."""
        disk = self.nodes[name].disk
        assert disk is not None, f"{name} was started without watch_disk"
        disk.before = lambda at: self.kill(name) if at == number else None

    def restart(self, name: str, loss: Loss = Loss.KILL) -> Node:
        """Kill a node if it lives, and start its ``main`` again in a new folder, on what ``loss`` left of the old one."""
        self.kill(name)
        old = self.nodes[name]
        folder = old.folder.parent / str(old.life.number + 1)
        if old.disk is None:
            shutil.copytree(old.folder, folder, ignore=shutil.ignore_patterns(NO_SHARED_MEMORY))
        else:
            old.disk.image(folder, loss, self.chance)
            self._disks.remove(old.disk)
        self.note("started", name, old.life.number + 1)
        return self._begin(name, old.life.number + 1, old.main, folder, watch_disk=old.disk is not None, may_fail=old.may_fail)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a node that handles it."""
        self.note("signal", name, number)
        self.loop.send_signal(name, number)

    # --- what befalls them ---------------------------------------------------------------------------------

    def at(self, when_s: float, action: Callable[..., object], *args: Any) -> None:
        """Do something ``when_s`` virtual seconds after the world began."""
        self.loop.call_at(when_s, self._act, action, args, context=Context())

    def _act(self, action: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            action(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the script is wrong
            self._fail(error)

    def during(self, begin_s: float, end_s: float, fault: Fault) -> None:
        """Have a fault on the network for a while."""
        self.at(begin_s, self._befall, fault)
        self.at(end_s, self.network.heal, fault)

    def jump_clock(self, name: str, by_ms: int) -> None:
        """Set a node's wall clock forward, or back where negative."""
        self.note("clock", name, by_ms)
        self.clocks.skew_ms[name] += by_ms

    def _befall(self, fault: Fault) -> None:
        self.note("fault", fault.kind.name, fault.node, fault.peer)
        self.network.add(fault)

    def storm(
        self, menu: Sequence[Fault | Callable[[], object]], *, every_s: float, lasting_s: float, until_s: float
    ) -> list[float]:
        """Let the seed choose from ``menu``, about every ``every_s`` until ``until_s``; the times chosen.

        A fault lasts ``lasting_s`` on average; anything else is called: a kill, a restart, a jump of a clock.
        """
        times: list[float] = []
        when_s = self.loop.time() + self.chance.expovariate(1 / every_s)
        while when_s < until_s:
            chosen = self.chance.choice(menu)
            if isinstance(chosen, Fault):
                self.during(when_s, when_s + self.chance.expovariate(1 / lasting_s), dataclasses.replace(chosen))
            else:
                self.at(when_s, chosen)
            times.append(when_s)
            when_s += self.chance.expovariate(1 / every_s)
        return times

    # --- the trace -----------------------------------------------------------------------------------------

    def note(self, *words: object) -> None:
        """Put an event into the trace, with its time and whose it is; the dead note nothing."""
        if NODE.get() not in self.loop.dead:
            self.events.append(f"{self.loop.time():.6f} {NODE.get().node} {' '.join(map(str, words))}")

    def outcome(self) -> Outcome:
        trace = hashlib.blake2b("\n".join(self.events).encode(), digest_size=16).hexdigest()
        return Outcome(self.loop.time(), tuple(self.events), trace, self.network.digest())

    # --- from its beginning to its end ---------------------------------------------------------------------

    def run(self, scenario: Scenario, arguments: Sequence[str], limit_s: float) -> Outcome:
        self._scenario = self.loop.create_task(asyncio.wait_for(scenario(self, *arguments), limit_s), context=Context())
        try:
            self.loop.run_until_complete(self._scenario)
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            raise self._failure from None
        assert not self.network.strangers, self.network.strangers
        assert not self.complaints, self.complaints
        return self.outcome()

    def end(self) -> None:
        """Everybody is killed and buried, in silence."""
        self._watching.close()
        with _silence():
            for name in self.nodes:
                self.kill(name)
            self.loop.set_exception_handler(lambda *_: None)
            self.loop.bury()
            self.nodes.clear()
            self._disks.clear()
            self._scenario = None
            gc.collect()


async def _process(node: Node) -> None:
    await node.main(node)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    hook, disabled = sys.unraisablehook, logging.root.manager.disable
    sys.unraisablehook = lambda _what: None
    logging.disable()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        sys.unraisablehook = hook
        logging.disable(disabled)


def run_world(seed: int, scenario: Scenario, *arguments: str, limit_s: float = LIMIT_S) -> Outcome:
    """Run ``scenario(world, *arguments)`` in a world of its own.

    What goes wrong is raised as it is, with a note of the one command that does exactly this again.
    """
    gc.freeze()  # what was there before is not looked through when the dead are buried
    try:
        return _run(seed, scenario, arguments, limit_s)
    except BaseException as error:
        error.add_note(f"again: {again(seed, scenario, *arguments)}")
        raise
    finally:
        gc.collect()  # the empty world itself
        gc.unfreeze()


def _run(seed: int, scenario: Scenario, arguments: Sequence[str], limit_s: float) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="world-") as folder:
        world = World(seed, Path(folder))
        with determined(world.loop, world.clocks, seed):
            try:
                return world.run(scenario, arguments, limit_s)
            finally:
                world.end()


def again(seed: int, scenario: Any, *arguments: str) -> str:
    """The command that runs this world."""
    return " ".join(
        ("python -m tests.support.simulation", f"{scenario.__module__}:{scenario.__qualname__}", str(seed), *arguments)
    )
