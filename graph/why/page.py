"""An explanation as one self-contained page: no network, no script; light and dark; prints on A4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from core.clock import rfc3339
from graph.why.flips import NONE
from graph.why.model import Chart, Line, Step, Why
from graph.why.svg import draw
from graph.why.text import PARTS, shown

_STYLE = """
:root{color-scheme:light dark;--bg:#FFFFFF;--surface:#F4F6F8;--text:#16191D;--muted:#505A66;--ok:#00775A;--caution:#946200;
--none:#66707D;--gain:#0A5FB4;--loss:#9A2A7C;--focus:#0A5FB4;--border:#7D8794;--band:#E4E8EC}
@media (prefers-color-scheme:dark){:root{--bg:#0E1116;--surface:#171B22;--text:#E6E9EE;--muted:#A3ADBA;--ok:#2FB58C;
--caution:#FFD24A;--none:#7F8896;--gain:#6CB6FF;--loss:#E7A1D6;--focus:#6CB6FF;--border:#626E82;--band:#232A34}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:16px}
.mode{height:26px;padding:2px 16px;font-weight:700;font-size:13px;border-bottom:2px solid var(--border);color:var(--text)}
.mode span{background:var(--bg);padding:1px 10px}
.paper{background:repeating-linear-gradient(45deg,var(--surface) 0 8px,var(--border) 8px 10px)}
.live{background:var(--text)}
h1{font-size:20px;line-height:1.35;margin:12px 0 4px}
.label{color:var(--caution);font-weight:700}
h2{font-size:16px;margin:26px 0 6px;border-bottom:1px solid var(--border);padding-bottom:3px}
p{margin:4px 0 8px}.muted{color:var(--muted);font-size:13px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid var(--band);overflow-wrap:anywhere}
th{color:var(--muted);font-weight:600}
td.num,th.num{text-align:right;white-space:nowrap}
tr.total td{font-weight:700;border-top:1px solid var(--border)}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
details{background:var(--surface);border:1px solid var(--band);border-radius:4px;margin:6px 0;padding:0 12px}
summary{cursor:pointer;padding:7px 0;min-height:30px}summary b{margin-right:8px}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px}
.chart{width:100%;height:auto;display:block}
.chart text{font:12px system-ui,sans-serif;fill:var(--muted)}.chart .tag{fill:var(--text);
stroke:var(--bg);stroke-width:3px;paint-order:stroke}
.grid{stroke:var(--band);stroke-width:1}.edge{stroke:var(--border);stroke-width:1;stroke-dasharray:1 3}
.band0{fill:none}.band1{fill:var(--surface)}
.up{fill:var(--bg);stroke:var(--text);stroke-width:1}.down{fill:var(--text);stroke:var(--text);stroke-width:1}
.level{stroke-width:2;fill:none}.stop{stroke:var(--loss)}.take{stroke:var(--gain);stroke-dasharray:2 4}
.entry-limit{stroke:var(--ok);stroke-dasharray:8 3}
.mark{stroke-width:2}.mark.entry{fill:var(--bg);stroke:var(--ok)}.mark.exit{fill:var(--loss);stroke:var(--bg)}
.mark.signal{fill:none;stroke:var(--ok)}
@media print{:root{--bg:#FFF;--surface:#FFF;--text:#000;--muted:#333;--band:#DDD}@page{size:A4;margin:14mm}
body{font-size:10pt}main{max-width:none;padding:0}details{break-inside:avoid;border:0;padding:0}
details:not([open])>:not(summary){display:block}
details::details-content{content-visibility:visible;display:block}h2{break-after:avoid}
.chart{max-height:90mm}}
@media (max-width:640px){main{padding:10px}h1{font-size:17px}}
"""


GENERATOR = "brain why"
"""By this a page is known as one of ours."""


def as_page(why: Why) -> str:
    """The page; PAPER or LIVE stands in its title and across its top."""
    mode = why.verdict.mode
    reasons = [(str(n), one.rule, one.observed, one.limit, one.code) for n, one in enumerate(why.reasons, start=1)]
    sections = (
        _table(("", "rule", "observed", "limit", "code"), reasons),
        _flips(why),
        _missing(why),
        "\n".join(_step(n, step) for n, step in enumerate(why.chain, start=1)),
        _chart(why.chart, why.verdict.text),
        '<p class="muted">Hindsight: nothing here was known when it was decided.</p>' + _lines(why.afterwards),
        _proof(why),
    )
    body = "\n".join(
        f'<section aria-labelledby="part{n}"><h2 id="part{n}">{n} {escape(heading)}</h2>\n{section}\n</section>'
        for n, (heading, section) in enumerate(zip(PARTS[1:], sections, strict=True), start=2)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="generator" content="{GENERATOR}">
<title>{escape(mode)} · why {escape(why.id)}</title>
<style>{_STYLE}</style>
</head>
<body>
<div class="mode {"paper" if mode == "PAPER" else "live"}"><span>{escape(mode)}</span></div>
<main>
<h1>{escape(why.verdict.text)}</h1>
{_labels(why)}<p class="muted"><code>{escape(why.id)}</code> · all times UTC · {escape(why.flips_note)} · {_equal(why)}</p>
{body}
</main>
</body>
</html>
"""


def _labels(why: Why) -> str:
    return "".join(f'<p class="label">▲ {escape(label)}</p>\n' for label in why.verdict.labels)


def _equal(why: Why) -> str:
    return "● made again: equal" if why.proof.equal else "▲ made again: it differs"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        kind = ["num" if i in numbers else "" for i in range(len(row))]
        scope = ' scope="col"' if tag == "th" else ""
        named = [f' class="{name}"' if name else "" for name in kind]
        return "".join(f"<{tag}{scope}{name}>{escape(cell)}</{tag}>" for cell, name in zip(row, named, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells("th", heads)}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _lines(lines: Iterable[Line]) -> str:
    return _table(("what", "value", "unit", "how"), [(one.name, shown(one.value), one.unit, one.note) for one in lines], (1,))


def _flips(why: Why) -> str:
    rows = []
    for flip in why.flips:
        needed = "none within its range" if flip.needed is None else shown(flip.needed)
        change = flip.change.removeprefix(NONE) if flip.needed is None else flip.change
        gives = flip.gives + ("" if flip.verified else " (NOT confirmed)")
        far = "" if flip.distance is None else f"{flip.distance:.3g}"
        rows.append((flip.name, shown(flip.was), needed, flip.unit, change, gives, flip.within, far))
    heads = ("input, all else as it was", "was", "turns at", "unit", "change", "then", "looked for in", "distance")
    note = f"<p>{escape(why.flips_note)}</p>"
    return note + (_table(heads, rows, (1, 2, 7)) if rows else "")


def _missing(why: Why) -> str:
    rows = [(one.name, one.what, one.effect) for one in why.missing]
    return _table(("input", "what", "effect"), rows) if rows else "<p>None.</p>"


def _step(number: int, step: Step) -> str:
    if not step.lines:
        return f"<p><b>{number}. {escape(step.name)}</b> {escape(step.summary)}</p>"
    return f"<details><summary><b>{number}. {escape(step.name)}</b>{escape(step.summary)}</summary>{_lines(step.lines)}</details>"


def _chart(chart: Chart, title: str) -> str:
    prices = [(rfc3339(c.at), shown(c.open), shown(c.high), shown(c.low), shown(c.close)) for c in chart.candles]
    drawn = [(rfc3339(m.at), "", m.kind, shown(m.price), m.note) for m in chart.marks]
    drawn += [(rfc3339(one.since), rfc3339(one.until), one.kind, shown(one.price), one.note) for one in chart.levels]
    drawn += [(rfc3339(band.since), rfc3339(band.until), "regime", "", band.regime.value) for band in chart.bands]
    joined = f"{chart.bars_a_candle} base bars a candle" if chart.bars_a_candle > 1 else "one candle a base bar"
    legend = (
        f"Hollow: up, filled: down; {joined}. Solid steps: stop. Dotted: takes. Dashed: limit of the entry. "
        "Diamond: signal, ring: entry, disc: exit. Words on top: held regime."
    )
    return (
        f"{draw(chart, title)}\n<p class='muted'>{legend}</p>"
        + _table(("from", "until", "what", "price", "note"), drawn, (3,))
        + f"<details><summary>{len(prices)} candles as a table</summary>"
        + _table(("close at", "open", "high", "low", "close"), prices, (1, 2, 3, 4))
        + "</details>"
    )


def _proof(why: Why) -> str:
    said = "The bar, made again from the journal, gives the same in every node."
    if not why.proof.equal:
        said = f"The bar made again differs: {why.proof.difference}"
    return f"<p>{escape(said)}</p>" + _lines(why.proof.lines)
