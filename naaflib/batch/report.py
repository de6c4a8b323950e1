"""The executed notebooks of a run folder on one page: `report.html`, whole without a network.

Pictures are embedded, widgets show their still pictures, and no script is needed; the code is folded away by
a checkbox. Formulas stay as their TeX text, because MathJax would come from a server.
"""

import html
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import nbformat

from ..config import SEED, changed, preset
from ..data.manifest import data_name, preset_of
from ..errors import NaafError
from ..files import atomic_path
from ..runs import members
from ..verdict import verdicts_below
from .records import NotebookRecord, Record
from .tables import results_table

FILE = "report.html"
SHOWN = ["image/png", "text/html", "image/svg+xml", "text/markdown", "text/plain"]  # a widget's picture first

STYLE = """
:root { color-scheme: light; --line: #d8dce2; --ink: #1c2733; --soft: #5b6875; --paper: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: var(--ink); line-height: 1.5;
       font-family: system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.2; }
header, section { border-bottom: 1px solid var(--line); padding-bottom: 1.5rem; margin-bottom: 1.5rem; }
.state { color: var(--soft); font-size: .9rem; }
.failed { color: #a3261b; font-weight: 600; }
img, svg { max-width: 100%; height: auto; }
.output_area, .output_html { overflow-x: auto; }
.input_prompt, .output_area > .prompt { display: none; }
pre { background: var(--paper); padding: .6rem; overflow-x: auto; font-size: .8rem; white-space: pre-wrap; }
.highlight pre { white-space: pre; }
.output_stderr pre { color: var(--soft); }
.output_error pre { border-left: 4px solid #a3261b; }
code { background: var(--paper); padding: 0 .2em; }
table { border-collapse: collapse; font-size: .85rem; margin: .5rem 0; }
table, th, td { border: 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right; }
blockquote { border-left: 3px solid var(--line); margin-left: 0; padding-left: 1rem; color: var(--soft); }
th:first-child, td:first-child { text-align: left; }
.table { overflow-x: auto; }
.anchor-link { display: none; }
body:has(#code:not(:checked)) .input { display: none; }
@media (min-width: 100rem) {
  nav { position: fixed; top: 1rem; left: 1rem; width: calc((100vw - 64rem) / 2); font-size: .8rem; }
}
@media print { .switch { display: none; } section { break-before: page; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{about}
{state}
{warnings}
{results}
<nav aria-label="Notebooks"><ol>
{contents}
</ol></nav>
<p class="switch"><label><input type="checkbox" id="code"> show the code</label></p>
</header>
{sections}
</body>
</html>
"""


class Section(NamedTuple):
    """A notebook on the page. note: HTML that says why it is not of the latest batch; empty where it is."""

    entry: NotebookRecord
    file: Path
    node: nbformat.NotebookNode
    note: str


def write_report(record: Record) -> Path:
    """Write the page of the executed notebooks; its path.

    A notebook that failed, or did not run, is shown as its last whole run left it, with a sentence that says
    so; one that never ran whole, as far as it came.
    """
    sections = [section for entry in record.notebooks if (section := _section(record.out, entry))]
    page = PAGE.format(
        title=html.escape(record.out.name),
        style=STYLE + _code_style(),
        about=_about(record.out),
        state=_state(record),
        warnings="\n".join(
            f'<p class="failed" role="alert">{html.escape(sentence)}.</p>'
            for sentence in verdicts_below(record.out).values()
        ),
        results=_results(record.out),
        contents="\n".join(map(_content, sections)),
        sections="\n".join(_body(section, [other.entry.name for other in sections]) for section in sections),
    )
    path = record.out / FILE
    with atomic_path(path) as temporary:
        Path(temporary).write_text(page, encoding="utf-8")
    return path


def _code_style() -> str:
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style="default").get_style_defs(".highlight")


def _about(out: Path) -> str:
    """Data, settings, when and by which commit the models were trained; nothing where there is none."""
    with suppress(NaafError):
        runs = members(out)
        config, settings = runs[0].config, runs[0].settings
        best = runs[0].checkpoint("best")
        commit = config.get("environment", {}).get("commit")
        name = data_name(runs[0].data_folder)
        own = changed(preset(preset_of(name), {SEED: settings.train.seed}), settings)
        parts = [
            f"data {name}",
            f"method {settings.model.method}",
            f"{len(runs)} model{'s' * (len(runs) > 1)}",
            f"preset {preset_of(name)}" + "".join(f", {key}={value}" for key, value in own.items()),
            *([f"trained {datetime.fromtimestamp(best.stat().st_mtime):%Y-%m-%d}"] if best.is_file() else []),
            *([f"commit {commit[:10]}"] if commit else []),
        ]
        return f'<p class="state">{html.escape("; ".join(parts))}</p>'
    return ""


def _state(record: Record) -> str:
    kind = "state failed" if record.failed else "state"
    return f'<p class="{kind}">{html.escape(record.sentence())}</p>'


def _results(out: Path) -> str:
    table = results_table(out)
    if table.empty:
        return ""
    shown = table.to_html(index=False, border=0, float_format="{:.1f}".format, na_rep="-")
    return f'<div class="table">{shown}</div>'


def _section(out: Path, entry: NotebookRecord) -> Section | None:
    """The last whole run of a notebook, else what is left of it; None where nothing is."""
    whole, left = out / "notebooks" / f"{entry.name}.ipynb", out / (entry.file or "")
    file = whole if whole.is_file() else left
    if not file.is_file():
        return None
    note = ""
    if file is whole and entry.status != "done":
        happened = entry.sentence() if entry.error else f"{entry.name} did not run whole in the latest batch"
        when = f"{datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%d %H:%M}"
        note = f"{html.escape(happened)}. This section shows its last whole run, of {when}."
        if entry.file:
            note += f' <a href="{html.escape(entry.file)}">What ran now</a>.'
    return Section(entry, file.relative_to(out), nbformat.read(file, as_version=4), note)


def _content(section: Section) -> str:
    entry, file = section.entry, html.escape(str(section.file))
    title = html.escape(_title(section.node, entry.name))
    return (
        f'<li><a href="#{entry.name}">{title}</a> <span class="state">{entry.seconds:.1f} s, {entry.status} '
        f'&middot; <a href="{file}">notebook</a></span></li>'
    )


def _body(section: Section, names: list[str]) -> str:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(
        template_name="basic",
        embed_images=True,
        anchor_link_text="",
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}),
    )
    body, _ = exporter.from_notebook_node(section.node)
    for name in names:  # one notebook's link to another stays on the page
        body = re.sub(rf'href="(\./)?{re.escape(name)}\.ipynb"', f'href="#{name}"', body)
    note = f'<p class="failed">{section.note}</p>\n' if section.note else ""
    return f'<section id="{section.entry.name}">\n{note}{body}\n</section>'


def _title(node: nbformat.NotebookNode, otherwise: str) -> str:
    """The first heading of the notebook."""
    for cell in node.cells:
        found = re.search(r"^#+\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return found[1].strip()
    return otherwise
