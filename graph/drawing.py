"""The picture of the brain in ``docs/topology.md``, drawn from the one table (``tools.topology``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.registry import TOOLS
from tools.topology import AGENT_EDGES, AGENTS, CAPABILITY_OF, ENTRY, EXIT, AgentKind, AgentSpec, EdgeSpec

NOTE = "<!-- Made from the code by `make docs`; do not edit. -->"

_PICTURE = """\
One agent is one node of the graph. An arrow from agent to agent bears the capability of the tool that produced what crosses
it; the compiled graph's own drawing shows the same labels. A dotted line leads to a tool that the agent is granted, with the
one capability of that tool; a call of any other tool is refused and recorded."""

_AGENTS = """\
What an agent may read, the one key of the state that it writes, and its tools. An agent that reads or writes anything else
stops the event with an error. Agents of kind `llm` run no model in this process. A table in which such an agent could reach
order, risk or configuration, itself or through another agent, is refused, and no graph is built from it."""

_EDGES = """\
Every edge has one tool and one capability; where several edges of one agent bear the same capability, the label says when."""


def render_topology() -> str:
    """The page as Markdown: picture, table of agents, table of edges."""
    parts = [
        NOTE,
        "# Agents, tools and edges",
        _PICTURE,
        f"```mermaid\n{mermaid()}\n```",
        "## Agents",
        _AGENTS,
        _table(("agent", "kind", "reads", "writes", "tools"), (_agent_row(spec) for spec in AGENTS)),
        "## Edges from agent to agent",
        _EDGES,
        _table(("from", "to", "label", "tool", "capability"), (_edge_row(edge) for edge in AGENT_EDGES)),
        "## Tools",
        _table(("tool", "capability", "agents", "what it does"), (_tool_row(name) for name in TOOLS)),
    ]
    return "\n\n".join(parts) + "\n"


def mermaid() -> str:
    """The picture alone, as a Mermaid flow chart."""
    lines = ["flowchart TD", f"    event((event)) --> {ENTRY}"]
    lines += [f"    {spec.name}{_box(spec)}" for spec in AGENTS]
    lines += [f'    {edge.src} -->|"{edge.label}"| {edge.dst}' for edge in AGENT_EDGES]
    lines += [f"    {EXIT} --> done((end))"]
    for spec in AGENTS:
        for name in spec.tools:
            lines.append(f'    {spec.name} -.-|"{CAPABILITY_OF[name].value}"| {_tool_node(spec, name)}')
    lines.append("    classDef llm stroke-dasharray: 5 5")
    lines += [f"    class {spec.name} llm" for spec in AGENTS if spec.kind is AgentKind.LLM]
    return "\n".join(lines)


def _box(spec: AgentSpec) -> str:
    return f'["<b>{spec.name}</b><br/>writes {spec.writes}"]'


def _tool_node(spec: AgentSpec, name: str) -> str:
    """A tool is drawn once for each agent that holds it, so that the lines do not cross the whole picture."""
    return f'{spec.name}_{name}(["{name}"])'


def _agent_row(spec: AgentSpec) -> Sequence[str]:
    return (_code(spec.name), spec.kind.value, _codes(spec.reads), _code(spec.writes), _codes(spec.tools))


def _edge_row(edge: EdgeSpec) -> Sequence[str]:
    return (_code(edge.src), _code(edge.dst), _code(edge.label), _code(edge.tool), _code(edge.capability.value))


def _tool_row(name: str) -> Sequence[str]:
    tool = TOOLS[name]
    holders = [spec.name for spec in AGENTS if name in spec.tools]
    capability = _code(tool.capability.value) if tool.capability is not None else "none: disabled"
    return (_code(name), capability, _codes(holders) or "nobody", tool.summary.replace("``", "`"))


def _code(text: str) -> str:
    return f"`{text}`"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(_code(name) for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])
