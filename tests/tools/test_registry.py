"""The code's tools and the table's tools are the same (requirement G3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import ToolRefused, TopologyError
from tools import registry
from tools.base import BaseTool, Capability, tool
from tools.registry import TOOLS, check_registry
from tools.topology import AGENTS, CAPABILITY_OF


def test_code_and_table_agree() -> None:
    check_registry()


def test_a_tool_of_the_table_that_the_code_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TOOLS", {name: item for name, item in TOOLS.items() if name != "dd_guard"})
    with pytest.raises(TopologyError, match="disagree on dd_guard"):
        check_registry()


def test_a_tool_of_the_code_that_the_table_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = {name: capability for name, capability in CAPABILITY_OF.items() if name != "dd_guard"}
    monkeypatch.setattr(registry, "CAPABILITY_OF", fewer)
    with pytest.raises(TopologyError, match="disagree on dd_guard"):
        check_registry()


def test_a_tool_that_bears_another_capability_than_the_table_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(TOOLS["dd_guard"], capability=Capability.PLACE_ORDER)
    monkeypatch.setattr(registry, "TOOLS", {**TOOLS, "dd_guard": other})
    with pytest.raises(TopologyError, match="disagree on dd_guard"):
        check_registry()


def test_a_disabled_tool_that_the_table_expects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TOOLS", {**TOOLS, "dd_guard": replace(TOOLS["dd_guard"], enabled=False)})
    with pytest.raises(TopologyError, match="disagree on dd_guard"):
        check_registry()


def test_telegram_is_registered_disabled_without_a_capability_and_granted_to_nobody() -> None:
    """A1, X39."""
    telegram = TOOLS["alert_telegram"]
    assert (telegram.enabled, telegram.capability) == (False, None)
    assert not any("alert_telegram" in spec.tools for spec in AGENTS)
    with pytest.raises(ToolRefused, match="reserved and disabled"):
        telegram.run(None, "hello")  # type: ignore[arg-type]


def test_every_tool_is_registered_under_its_own_name_and_says_what_it_is_for() -> None:
    for name, item in registry.TOOLS.items():
        assert isinstance(item, BaseTool)
        assert item.name == name
        assert len(item.summary) > 10


def test_a_tool_without_documentation_has_an_empty_summary() -> None:
    @tool("silent", Capability.SET_EDGE)
    def silent(context: object) -> None:
        pass

    assert silent.summary == ""
