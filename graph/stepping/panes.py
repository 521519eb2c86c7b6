"""The panes as text: drawn with rich, in colour or without, in any size from 80 x 24 on; a state is always a glyph and a word."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.box import ASCII, SQUARE
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from graph.stepping.desk import Desk
from graph.stepping.moment import moment, timeline
from graph.stepping.values import short

LEAST = (80, 24)
"""Columns and lines that are enough, and what is taken for a terminal that does not say."""
_GLYPHS = {"done": ("●", "*"), "next": ("▸", ">"), "ahead": ("○", "o")}
_CELL_GLYPHS = {"T": "●", "R": "▲", "A": "■", "G": "◆", ".": "·"}
_LEGEND = (("T", "trade"), ("R", "refusal"), ("A", "alert"), ("G", "regime"))
_STYLES = {"+": "green", "-": "red", "~": "yellow"}


class Panes:
    """Draws the panes of a desk.

    Args:
        width: columns.
        height: lines.
        color: whether to use colour.
        unicode: whether to use glyphs and lines beyond ASCII.
    """

    def __init__(self, width: int, height: int, *, color: bool, unicode: bool) -> None:
        self.width, self.height = max(width, 20), max(height, 8)
        self._color, self._unicode = color, unicode

    def draw(self, desk: Desk, line: str = "", help_text: str = "", selected: int = 0) -> str:
        """The whole screen: panes, and below them what was said last or ``line`` being typed."""
        shown = moment(desk.stepper)
        layout = Layout()
        head = 5 if desk.stepper.shown is None else 6
        needed = sum(max(1, -(-len(part) // self.width)) for part in line.split("\n"))
        foot = min(needed, max(self.height - 14, 2)) + 1
        layout.split_column(
            Layout(self._timeline(desk, shown), size=head), Layout(name="middle"), Layout(self._foot(desk, line), size=foot)
        )
        if help_text:
            layout["middle"].update(self._panel(Text(help_text, no_wrap=True), "help (any key goes back)", shown))
        elif desk.table:
            layout["middle"].update(self._table(desk, shown, self.height - head - foot - 2, selected))
        else:
            self._middle(layout["middle"], desk, shown)
        return self._text(layout)

    def _middle(self, middle: Layout, desk: Desk, shown: dict[str, Any]) -> None:
        if self.width < 100:
            middle.split_row(Layout(name="left", ratio=9), Layout(self._state(desk, shown), ratio=11))
            middle["left"].split_column(Layout(self._path(shown), size=9), Layout(self._node(shown)))
        else:
            middle.split_row(
                Layout(self._path(shown), size=34), Layout(self._node(shown), ratio=1), Layout(self._state(desk, shown), ratio=1)
            )

    def plain(self, desk: Desk) -> str:
        """The panes one below the other, whole, without lines around them: for a script."""
        shown = moment(desk.stepper)
        head = shown["header"]
        parts: list[RenderableType] = (
            [Text(self._title(head["what_if"] or "", shown))] if head["what_if"] or head["other_code"] else []
        )
        parts += [self._cells(desk), Text()]
        for title, pane in (
            ("path", self._path_lines(shown)),
            ("node", self._node_lines(shown)),
            ("state", self._state_lines(desk, shown)),
        ):
            parts += [Text(self._title(title, shown)), *pane, Text()]
        return self._text(Group(*parts)).rstrip()

    # --- panes --------------------------------------------------------------------------------------------

    def _timeline(self, desk: Desk, shown: dict[str, Any]) -> Panel:
        head = shown["header"]
        closed = ", ".join(f"{tf} {len(symbols)}" for tf, symbols in head["closed"].items())
        closed = closed or head["event"]["kind"]
        parted = f"parted at bar {head['parted']['bar']}  " if head["parted"] else ""
        where = f"{head['session']}  bar {head['bar']} of {head['bars'][1]}  {head['time'][:16]}Z  closed: {closed}"
        lines = [self._cells(desk)]
        if head["what_if"] is not None:
            lines.insert(0, Text(head["what_if"]))
        return self._panel(self._list(lines), f"{parted}{where}", shown)

    def _cells(self, desk: Desk) -> Text:
        width = self.width - 4
        found = timeline(desk.stepper, width)
        cells = "".join(_CELL_GLYPHS[cell] for cell in found["cells"]) if self._unicode else found["cells"]
        legend = "  ".join(f"{_CELL_GLYPHS[cell] if self._unicode else cell} {word}" for cell, word in _LEGEND)
        head = desk.stepper.next or "end"
        whose = "  as recorded" if desk.stepper.shown is not None or desk.stepper.other_code else ""
        return Text(f"{cells}\n{' ' * found['here']}^ here, next: {head}\n{legend}{whose}", no_wrap=True)

    def _path(self, shown: dict[str, Any]) -> Panel:
        return self._panel(self._list(self._path_lines(shown)), "path", shown)

    def _path_lines(self, shown: dict[str, Any]) -> list[Text]:
        lines = []
        for row in shown["path"]:
            glyph = _GLYPHS[row["state"]][0 if self._unicode else 1]
            time = "" if row["ms"] is None else f"{row['ms']:.1f}ms"
            lines.append(
                Text(f"{glyph} {row['node']:<18} {time or row['state']}", style="bold" if row["state"] == "next" else "")
            )
        return lines

    def _node(self, shown: dict[str, Any]) -> Panel:
        return self._panel(self._list(self._node_lines(shown)), "node", shown)

    def _node_lines(self, shown: dict[str, Any]) -> list[Text]:
        lines: list[Text] = []
        last, coming = shown["node"]["last"], shown["node"]["next"]
        if last is not None:
            lines.append(Text(f"ran {last['name']}  {last['ms']:.2f} ms", style="bold"))
            for used in last["tools"]:
                lines.append(Text(f" tool {used['tool']} ({used['capability']}) {used['ms']:.2f} ms {used['state']}"))
                lines.append(Text(f"   gave {short(used['result'], 70)}", style="dim"))
            lines += [Text(f" wrote {key}  {short(value, 80)}") for key, value in last["wrote"].items()]
        if coming is not None:
            lines.append(Text(f"next {coming['name']}", style="bold"))
            lines += [Text(f" reads {key}  {short(value, 80)}") for key, value in coming["reads"].items()]
        else:
            lines.append(Text("next: the end of the event", style="bold"))
        return lines

    def _state(self, desk: Desk, shown: dict[str, Any]) -> Panel:
        return self._panel(self._list(self._state_lines(desk, shown)), f"state: {desk.view}", shown)

    def _state_lines(self, desk: Desk, shown: dict[str, Any]) -> list[Text]:
        if desk.view == "raw":
            return [Text(json.dumps(shown["state"]["full"], indent=1, default=str))]
        if desk.view == "full":
            return [Text(line) for key, value in shown["state"]["full"].items() for line in _tree(key, value)]
        if not shown["state"]["diff"]:
            return [Text("nothing is different from the event before")]
        return [Text(_diff(row), style=_STYLES[row["sign"]]) for row in shown["state"]["diff"]]

    def _table(self, desk: Desk, shown: dict[str, Any], height: int, selected: int) -> Panel:
        first = max(0, min(selected - height // 2, len(desk.rows) - height))
        lines = []
        for at, row in enumerate(desk.rows[first : first + height], first):
            pointer = ">" if at == selected else " "
            lines.append(Text(f"{pointer}{at + 1:>4}  bar {row.place.bar:<7} {row.time[:16]}Z  {row.text}", no_wrap=True))
        body = Group(*lines) if lines else Text("nothing was found")
        return self._panel(body, f"{desk.table}: {len(desk.rows)}  (Enter = jump, q = close)", shown)

    def _foot(self, desk: Desk, line: str) -> Group:
        before, after = sorted(desk.stepper.breaks.before), sorted(desk.stepper.breaks.after)
        breaks = ", ".join([*before, *(f"after {node}" for node in after)]) or "none"
        forks = len(desk.stepper.what_ifs)
        status = f"breaks: {breaks}  what-ifs: {forks}  notes: {len(desk.notes)}  ? help  : command  q quit (nothing is saved)"
        return Group(Text(status, style="dim", no_wrap=True, overflow="ellipsis"), Text(line, overflow="fold"))

    # --- drawing ------------------------------------------------------------------------------------------

    def _title(self, title: str, shown: dict[str, Any]) -> str:
        head = shown["header"]
        labels = [label for label, holds in (("[OTHER CODE]", head["other_code"]), ("[WHAT-IF]", head["what_if"])) if holds]
        return " ".join([*labels, title])

    def _list(self, lines: list[Text]) -> Group:
        """Lines of a pane, each cut at its border rather than folded."""
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)

    def _panel(self, body: RenderableType, title: str, shown: dict[str, Any]) -> Panel:
        style = "magenta" if shown["header"]["what_if"] else ""
        text = Text(self._title(title, shown))
        return Panel(body, title=text, title_align="left", border_style=style, box=SQUARE if self._unicode else ASCII)

    def _text(self, content: RenderableType) -> str:
        out = io.StringIO()
        console = Console(
            file=out,
            width=self.width,
            height=self.height,
            color_system="standard" if self._color else None,
            force_terminal=self._color,
            no_color=not self._color,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
        console.print(content, end="")
        text = out.getvalue()
        return text if self._unicode else text.encode("ascii", "replace").decode()


def _diff(row: dict[str, Any]) -> str:
    if row["sign"] == "~":
        return f"~ {row['path']}  {short(row['old'])} -> {short(row['new'])}"
    return f"{row['sign']} {row['path']}  {short(row['new'] if row['sign'] == '+' else row['old'])}"


def _tree(name: str, value: Any, depth: int = 0) -> list[str]:
    indent = "  " * depth
    if isinstance(value, dict) and value:
        return [f"{indent}{name}", *(line for key, inner in value.items() for line in _tree(str(key), inner, depth + 1))]
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return [f"{indent}{name}", *(line for at, inner in enumerate(value) for line in _tree(f"[{at}]", inner, depth + 1))]
    return [f"{indent}{name}  {short(value)}"]
