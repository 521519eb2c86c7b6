"""Nodes die without a word and come back on what is left; one seed is one history."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from functools import partial
from typing import Any

import ccxt
import pytest

from tests.simulation.test_again import command
from tests.simulation.venue import REST, STREAMS, SYMBOL, buy, client, venue
from tests.support.simulation.disk import Loss, Trouble
from tests.support.simulation.network import Fault, Kind, Way
from tests.support.simulation.world import Node, World, again, run_world

pytestmark = pytest.mark.untraced

# --- a bot that keeps a journal ----------------------------------------------------------------------------


def journal(node: Node, synchronous: str = "FULL") -> sqlite3.Connection:
    db = sqlite3.connect(node.folder / "journal.sqlite", isolation_level=None, timeout=0)
    db.execute("PRAGMA synchronous=EXTRA")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={synchronous}")
    db.execute("CREATE TABLE IF NOT EXISTS intents (id INTEGER PRIMARY KEY, outcome TEXT)")
    return db


async def trades(node: Node, orders: int = 6, synchronous: str = "FULL") -> None:
    """Intent on the disk, then the order, then its outcome; each name once."""
    db = journal(node, synchronous)
    async with client(timeout=1_000) as exchange:
        while (number := db.execute("SELECT count(*) FROM intents").fetchone()[0]) < orders:
            db.execute("INSERT INTO intents VALUES (?, NULL)", (number,))
            try:
                answer = await buy(exchange, f"order-{number}")
            except ccxt.BaseError as error:
                outcome = type(error).__name__
            else:
                outcome = answer["status"]
            db.execute("UPDATE intents SET outcome = ? WHERE id = ?", (outcome, number))
            node.world.note(number, outcome)
            await asyncio.sleep(node.world.chance.uniform(0, 3))
    db.close()


def accepted(world: World) -> list[str]:
    return [event.rpartition(" ")[2] for event in world.events if " accepted " in event]


async def stormy(world: World) -> None:
    """Every kind of trouble, and a kill now and then."""
    world.start("venue", venue, hosts=(REST, STREAMS))
    world.start("bot", partial(trades, orders=30), watch_disk=True)
    menu: list[Any] = [Fault(kind, "bot", "venue", delay_s=0.3, times=2) for kind in Kind]
    menu += [Fault(kind, "bot", "venue", way=Way.BACK) for kind in (Kind.DROP, Kind.BLACK_HOLE)]
    menu += [partial(world.restart, "bot", loss) for loss in Loss]
    world.storm(menu, every_s=4.0, lasting_s=1.0, until_s=60.0)
    await asyncio.sleep(70.0)
    world.network.heal()
    await world.nodes["bot"].gone
    assert len(set(accepted(world))) == len(accepted(world))


def test_one_seed_is_one_history_and_another_seed_another() -> None:
    first = run_world(7, stormy)
    assert len(first.events) > 60
    assert first == run_world(7, stormy)
    other = run_world(8, stormy)
    assert (other.trace, other.wire) != (first.trace, first.wire)


@pytest.mark.slow
def test_a_history_does_not_depend_on_the_hash_seed_or_the_process() -> None:
    said = command(again(7, stormy), PYTHONHASHSEED="17").communicate()[0]
    here = run_world(7, stormy)
    assert "\n".join(here.events) in said
    assert f"trace {here.trace}, wire {here.wire}" in said


# --- killing -----------------------------------------------------------------------------------------------


async def says_goodbye(node: Node) -> None:
    with contextlib.closing(sqlite3.connect(node.folder / "words.sqlite", isolation_level=None)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS words (word TEXT)")
        try:
            async with client() as exchange:
                asyncio.get_running_loop().call_later(2.0, node.world.note, "timer")
                await asyncio.gather(exchange.watch_ohlcv(SYMBOL, "1m"), asyncio.to_thread(time.time), asyncio.Event().wait())
        finally:
            db.execute("INSERT INTO words VALUES ('goodbye')")
            node.world.note("goodbye")


async def ended_at(world: World, how: str) -> None:
    world.start("venue", venue, hosts=(REST, STREAMS))
    bot = world.start("bot", says_goodbye)
    world.at(1.5, *((world.kill, "bot") if how == "kill" else (bot.task.cancel,)))
    await bot.gone
    await asyncio.sleep(10.0)
    with contextlib.closing(sqlite3.connect(bot.folder / "words.sqlite")) as db:
        world.note("words", *(word for (word,) in db.execute("SELECT word FROM words")))


def test_a_killed_node_runs_no_finally_and_no_timer() -> None:
    assert run_world(1, ended_at, "kill").events == ("1.500000 world killed bot", "11.500000 world words")


def test_a_node_that_is_cancelled_does_run_them() -> None:
    """So that the test above has teeth."""
    words = [event.split(" ", 1)[1] for event in run_world(1, ended_at, "cancel").events]
    assert words == ["bot goodbye", "bot timer", "world words goodbye"]


async def echo(node: Node) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(100):
                node.world.note("heard", data.decode())
        writer.close()

    await asyncio.start_server(serve, port=80)
    await asyncio.Event().wait()


async def death_on_the_wire(world: World) -> None:
    world.start("server", echo, hosts=("server",))

    async def speaks(node: Node) -> None:
        _, writer = await asyncio.open_connection("server", 80)
        writer.write(b"last-words")
        node.world.kill("speaker")
        writer.write(b"never-said")

    world.start("speaker", speaks)
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection("server", 80)
    world.kill("server")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("server", 80)
    writer.close()
    world.restart("server")
    await asyncio.sleep(0.1)
    _, writer = await asyncio.open_connection("server", 80)
    writer.close()


def test_what_the_dead_had_sent_arrives_their_peers_read_a_reset_and_their_ports_are_free() -> None:
    heard = [event for event in run_world(1, death_on_the_wire).events if "heard" in event]
    assert [event.split(" ", 1)[1] for event in heard] == ["server heard last-words"]


# --- coming back -------------------------------------------------------------------------------------------


async def killed_at(world: World, operation: str, loss: str, synchronous: str) -> None:
    """The bot dies at one operation of its disk; the next life goes on from what is left."""
    world.start("venue", venue, hosts=(REST, STREAMS))
    bot = world.start("bot", partial(trades, synchronous=synchronous), watch_disk=True)
    world.kill_at_operation("bot", int(operation))
    await bot.gone
    await asyncio.sleep(0.5)  # what is on its way arrives
    if bot.life in world.loop.dead:
        await world.restart("bot", Loss[loss]).gone
    world.note("twice", len(accepted(world)) - len(set(accepted(world))))


def twice(operations: range, *, loss: Loss, synchronous: str) -> int:
    """How many orders were sent twice, in as many worlds."""
    words = [run_world(at, killed_at, str(at), loss.name, synchronous).events[-1].split() for at in operations]
    return sum(int(number) for _, _, _, number in words)


@pytest.mark.parametrize("loss", [Loss.KILL, Loss.UNSYNCED, Loss.SECTORS])
def test_a_bot_whose_intents_are_synced_never_sends_one_twice(loss: Loss) -> None:
    assert twice(range(9, 60, 5), loss=loss, synchronous="FULL") == 0


def test_a_bot_whose_intents_are_not_synced_does_when_the_power_goes() -> None:
    """So that the test above has teeth; a kill alone would not show it."""
    assert twice(range(30, 44, 3), loss=Loss.KILL, synchronous="NORMAL") == 0
    assert twice(range(30, 44, 3), loss=Loss.UNSYNCED, synchronous="NORMAL") > 0


async def full_disk(world: World) -> None:
    world.start("venue", venue, hosts=(REST, STREAMS))
    bot = world.start("bot", trades, watch_disk=True, may_fail=True)
    assert bot.disk is not None
    bot.disk.fails = lambda number, _op: Trouble.DISK_FULL if number >= 40 else None
    await bot.gone
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        bot.task.result()


def test_a_full_disk_is_an_error_of_the_node() -> None:
    run_world(1, full_disk)


async def many_lives(world: World) -> None:
    world.start("venue", venue, hosts=(REST, STREAMS))
    world.start("bot", partial(trades, orders=60))
    for _ in range(20):
        await asyncio.sleep(world.chance.uniform(0.05, 3))
        world.restart("bot")
    assert len(set(accepted(world))) == len(accepted(world)) > 5


def test_twenty_lives_of_one_bot() -> None:
    before = time.perf_counter()
    run_world(3, many_lives)
    print(f"{(time.perf_counter() - before) * 50:.0f} ms per life")
