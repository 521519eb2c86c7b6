"""A what-if answers what would have been decided, and can reach nothing (issue section 3)."""

from __future__ import annotations

import ast
import asyncio
import inspect
import socket
import types
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graph.stepping
from core.canonical import encode
from core.monitor.store import Store
from core.types import Order, OrderPurpose, OrderSide, OrderStatus, OrderType
from graph.journaling import JournaledVenue, SessionJournal
from graph.sessions import Session
from graph.stepping.errors import NotThere, StepError
from graph.stepping.marks import Mark
from graph.stepping.place import Place
from graph.stepping.stepper import Stepper, stepping
from graph.stepping.what_if import ACCEPTED, Decisions, WhatIfVenue

SOL = "SOL/USDT:USDT"
ENTRY = "P-1767657600000-funding_rev-SOLUSDT"
Fingerprint = Callable[[], dict[str, str]]


async def before(stepper: Stepper, node: str, bar: int) -> None:
    await stepper.stand(bar)
    while stepper.next != node:
        await stepper.forward()


async def test_another_regime_at_a_trade_gives_another_decision(session: Session) -> None:
    """Issue 3, seen working: step to a trade, change the regime, see another decision."""
    with stepping(session) as stepper:
        await before(stepper, "strategy_selection", 287)
        fork = await stepper.change(stepper.path_of("regimes.h1[SOL]"), "panic")
        assert str(fork) == "what-if 1: regimes.h1[1]=panic (was range_lowvol)"
        assert (stepper.shown, stepper.place, stepper.next) == (fork, Place(287, 0, 2), "strategy_selection")
        await stepper.run()
        (row,) = fork.compared
        assert row.node == "strategy_selection"
        assert row.then["plans"] == [ENTRY]
        assert row.now["plans"] == []
        assert row.now["nodes"] == ["brain", "market_regime", "strategy_selection", "monitor"]
        assert [code for code, ref in row.now["refusals"] if "SOL" in ref] == ["REGIME_DISABLED"]
        assert {change.path for change in row.changes} >= {"selection.candidates[0]", "selection.scored[0].regime"}
        assert fork.venue.moved == (SOL,)
        await stepper.close()


async def test_the_session_goes_on_untouched_after_a_what_if(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "strategy_selection", 287)
        where, state = stepper.place, stepper.state
        await stepper.change(stepper.path_of("regimes.h1[*]"), "panic")
        await stepper.by_bars(3)
        stepper.show(None)
        assert (stepper.place, stepper.state) == (where, state)
        await stepper.run()
        assert tuple(stepper.held.run.context.trace.outputs) == stepper.record.bar(287).made[0].outputs
        await stepper.by_bars(1)
        assert stepper.bar == 288
        await stepper.run()
        assert tuple(stepper.held.run.context.trace.outputs) == stepper.record.bar(288).made[0].outputs
        await stepper.close()


@settings(max_examples=6)
@given(st.sampled_from([(286, 2), (287, 3), (287, 4), (382, 1), (470, 0), (494, 2)]))
def test_a_what_if_that_changes_nothing_decides_as_recorded_for_many_bars(session: Session, at: tuple[int, int]) -> None:
    """Through entries, fills, an add, takes, stops and a request to research: every node of every event, byte for byte."""

    async def run() -> None:
        with stepping(session) as stepper:
            await stepper.go(Place(at[0], 0, at[1]))
            event = stepper.path_of("event.note")
            fork = await stepper.change(event, "")
            await stepper.by_bars(80)
            assert [row.node for row in fork.compared] == [None] * len(fork.compared)
            assert len(fork.compared) >= 80
            assert fork.venue.moved == ()
            await stepper.close()

    asyncio.run(run())


async def test_what_only_the_what_if_sends_is_accepted_nowhere_and_never_filled(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "execution", 287)
        plan = stepper.state["risk"].plans[0]
        fork = await stepper.change(stepper.path_of("risk.plans[0].qty"), "0.5")
        await stepper.run()
        await stepper.by_bars(5)
        context = fork.held.run.context
        assert context.ledger.positions == {}
        assert context.orders.pending() == ()
        assert plan.symbol in fork.venue.moved
        await stepper.close()


async def test_a_changed_plan_is_what_the_what_if_sends(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "execution", 287)
        fork = await stepper.change(stepper.path_of("risk.plans[0].qty"), "0.5")
        await stepper.forward()
        (pending,) = fork.held.run.context.orders.pending()
        assert pending.qty == Decimal("0.5")
        await stepper.close()


async def test_an_edge_is_asked_again_after_a_change(session: Session) -> None:
    """A quiet selection that is given a candidate goes on to the risk manager, and back again without one."""
    with stepping(session) as stepper:
        await before(stepper, "risk_manager", 287)
        await stepper.change(stepper.path_of("selection"), '{"candidates": [], "refusals": [], "scored": [], "manage": []}')
        assert stepper.next == "monitor"
        await stepper.run()
        fork = stepper.shown
        assert fork is not None
        assert fork.compared[0].now["nodes"] == ["brain", "market_regime", "strategy_selection", "monitor"]
        assert stepper.state["record"].edges[-1] == ("strategy_selection", "monitor", "load_enable_map")
        await stepper.close()


async def test_only_what_the_next_node_reads_can_be_changed(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "risk_manager", 287)
        with pytest.raises(StepError, match="risk_manager does not read regimes; it reads event") as caught:
            await stepper.change(stepper.path_of("regimes.h1[0]"), "panic")
        assert caught.value.code == "STEP-003"
        await stepper.run()
        with pytest.raises(StepError, match="no node comes after"):
            await stepper.change(stepper.path_of("event.seq"), "3")
        assert stepper.what_ifs == {}
        await stepper.close()


async def test_what_ifs_have_names_and_live_until_they_are_dropped(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "strategy_selection", 287)
        one = await stepper.change(stepper.path_of("regimes.h1[0]"), "panic")
        await stepper.change(stepper.path_of("regimes.h1[1]"), "panic")
        assert len(one.edits) == 2
        stepper.show(None)
        two = await stepper.change(stepper.path_of("status.governor.state"), "halted")
        assert [*stepper.what_ifs] == ["what-if 1", "what-if 2"]
        stepper.show("what-if 1")
        assert stepper.shown is one
        await stepper.drop("what-if 1")
        assert stepper.shown is None
        stepper.show("what-if 2")
        await stepper.run()
        assert two.compared[0].now["plans"] == []
        with pytest.raises(StepError, match="there is no 'what-if 1'"):
            stepper.show("what-if 1")
        await stepper.close()


async def test_a_what_if_goes_on_only(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "strategy_selection", 649)
        await stepper.change(stepper.path_of("regimes.h1[0]"), "panic")
        with pytest.raises(StepError, match="behind its change"):
            await stepper.back()
        await stepper.forward()
        await stepper.back()
        assert stepper.place == Place(649, 0, 2)
        with pytest.raises(StepError, match="goes on only"):
            await stepper.by_bars(-1)
        await stepper.run()
        with pytest.raises(NotThere, match="ends here"):
            await stepper.by_bars(1)
        await stepper.close()


# --- it reaches nothing ------------------------------------------------------------------------------------


async def test_files_of_the_session_are_byte_for_byte_the_same_after_what_ifs(
    session: Session, fingerprint: Fingerprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every way to a network shut."""
    untouched = fingerprint()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a what-if asked for a network")

    with stepping(session) as stepper:
        await stepper.stand(0)
        for name in ("connect", "connect_ex", "bind", "sendto", "send", "sendall"):
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        for hit in stepper.record.every(Mark.TRADE):
            for node, place, value in (
                ("strategy_selection", "regimes.h1[*]", "panic"),
                ("strategy_selection", "status.governor.state", "reducing"),
                ("execution", "risk.plans[0].qty", "0.2"),
            ):
                await before(stepper, node, hit.bar)
                await stepper.change(stepper.path_of(place), value)
                await stepper.by_bars(30)
        await stepper.close()
    assert fingerprint() == untouched


def _reachable(start: object) -> list[object]:
    """Every object that can be come to from ``start`` through attributes and containers; no classes, modules, functions."""
    seen: dict[int, object] = {}
    queue = [start]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type | types.ModuleType | types.FunctionType | types.BuiltinFunctionType):
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            queue += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            queue += [*item]
        names = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
        queue += [getattr(item, name) for name in names if isinstance(name, str) and hasattr(item, name)]
        queue += list(getattr(item, "__dict__", {}).values())
    return list(seen.values())


async def test_nothing_but_plain_values_can_be_come_to_from_the_venue(session: Session) -> None:
    """By construction: the venue has no session, no path, no socket, no journal, no other venue, and no room for one."""
    with stepping(session) as stepper:
        await before(stepper, "strategy_selection", 287)
        fork = await stepper.change(stepper.path_of("regimes.h1[*]"), "panic")
        await stepper.by_bars(3)
        kinds = {type(item) for item in _reachable(fork.venue)} - {WhatIfVenue}
        assert {kind for kind in kinds if not issubclass(kind, msgspec.Struct | str | int | float | Decimal | tuple | dict)} <= {
            type(None)
        }
        assert not hasattr(fork.venue, "__dict__")
        with pytest.raises(AttributeError):
            fork.venue.broker = object()  # type: ignore[attr-defined]
        await stepper.close()


async def test_no_writer_and_no_path_of_the_session_can_be_come_to_from_the_services_of_a_what_if(session: Session) -> None:
    with stepping(session) as stepper:
        await before(stepper, "execution", 287)
        fork = await stepper.change(stepper.path_of("risk.plans[0].qty"), "0.5")
        await stepper.run()
        found = _reachable(fork.held.run)
        assert [item for item in found if isinstance(item, WhatIfVenue)] == [fork.venue]
        assert fork.held.run.context.broker is fork.venue
        assert isinstance(fork.held.run._journal, Decisions)
        assert not [item for item in found if isinstance(item, SessionJournal | JournaledVenue)]
        root = str(session.folder.root)
        assert not [item for item in found if isinstance(item, Path | str) and root in str(item)]
        (store,) = [item for item in found if isinstance(item, Store)]
        folder = Path(store.path).parent
        assert folder.name.startswith("brain-rerun-")
        await stepper.close()
    assert not folder.exists()


def test_the_room_of_the_stepper_imports_no_exchange_no_network_and_no_writer() -> None:
    folder = Path(inspect.getfile(graph.stepping)).parent
    imported: set[str] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                imported.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "open", "__import__"}, path
    forbidden = ("ccxt", "socket", "aiohttp", "urllib", "http", "core.sim", "core.journal.writer", "graph.runner", "sqlite3")
    assert not [name for name in imported if name.startswith(forbidden)]
    assert not {name.rsplit(".", 1)[-1] for name in imported} & {
        "JournalWriter",
        "SessionJournal",
        "open_journal",
        "JournaledVenue",
    }


# --- the venue by itself -----------------------------------------------------------------------------------


def _order(number: int, kind: OrderType = OrderType.IOC_LIMIT) -> Order:
    return Order(f"x-{number}", "P", SOL, OrderSide.BUY, kind, OrderPurpose.ENTRY, Decimal(1), Decimal(5), False, 7)


async def test_the_venue_accepts_and_says_so() -> None:
    venue = WhatIfVenue()
    update = await venue.place(_order(1))
    assert (update.client_id, update.status, update.ts, update.filled, update.message) == ("x-1", OrderStatus.NEW, 7, 0, ACCEPTED)
    assert [order.client_id for order in venue.open_orders()] == ["x-1"]
    assert (await venue.cancel(SOL, "x-1")).status is OrderStatus.CANCELED
    assert venue.open_orders() == ()
    assert venue.drain() == ()


async def test_the_venue_comes_back_from_its_snapshot() -> None:
    venue, other = WhatIfVenue(), WhatIfVenue()
    venue.move(["A", SOL])
    await venue.place(_order(1))
    other.restore(venue.snapshot())
    assert other.snapshot() == venue.snapshot()
    assert encode(other.open_orders()) == encode(venue.open_orders())
    other.restore({"wallet": 3.0})
    assert (other.moved, other.open_orders()) == ((), ())
