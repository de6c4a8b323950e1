"""The executed notebooks of a run folder on one page: `report.html`, whole without a network.

nbconvert exports one notebook a page; here all stand on one. Pictures are embedded, widgets show their still
pictures, and no script is needed; the code is folded away by a checkbox. Formulas stay as their TeX text,
because MathJax would come from a server. Outputs of notebooks stand there as they are, so the page has a
POLICY that forbids a browser every script and every request.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from html import escape
from pathlib import Path
from typing import NamedTuple

import nbformat
from jinja2 import Environment
from pygments.formatters import HtmlFormatter

from ..config import SEED, changed, preset
from ..data.manifest import data_name, preset_of
from ..errors import NaafError
from ..files import atomic_path
from ..runs import members
from ..verdict import verdicts_below
from .records import NotebookRecord, Record
from .tables import results_table

FILE = "report.html"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
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
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ record.out.name }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<header>
<h1>{{ record.out.name }}</h1>
{% if about %}<p class="state">{{ about }}</p>{% endif %}
<p class="state{{ " failed" if record.failed }}">{{ record.sentence() }}</p>
{% for sentence in warnings %}<p class="failed" role="alert">{{ sentence }}.</p>
{% endfor %}{% if results %}<div class="table">{{ results|safe }}</div>{% endif %}
<nav aria-label="Notebooks"><ol>
{% for one in sections %}<li><a href="#{{ one.entry.name }}">{{ one.title }}</a>
<span class="state">{{ "%.1f" % one.entry.seconds }} s, {{ one.entry.status }} &middot;
<a href="{{ one.file }}">notebook</a></span></li>
{% endfor %}</ol></nav>
<p class="switch"><label><input type="checkbox" id="code"> show the code</label></p>
</header>
{% for one in sections %}<section id="{{ one.entry.name }}">
{% if one.whole %}<p class="failed">
{{ one.entry.sentence() if one.entry.error else one.entry.name + " did not run whole in the latest batch" }}.
This section shows its last whole run, of {{ one.whole }}.
{% if one.entry.file %}<a href="{{ one.entry.file }}">What ran now</a>.{% endif %}</p>{% endif %}
{{ one.body|safe }}
</section>
{% endfor %}</body>
</html>
"""


class Section(NamedTuple):
    """A notebook on the page, and the file that it shows."""

    entry: NotebookRecord
    file: Path  # from the run folder
    title: str
    body: str  # HTML
    whole: str  # when the shown notebook ran, where that was before the latest batch; else empty


def write_report(record: Record) -> Path:
    """Write the page of the executed notebooks; its path.

    A notebook that failed, or did not run, is shown as its last whole run left it, with a sentence that says
    so; one that never ran whole, as far as it came.
    """
    files = {entry.name: _file(record.out, entry) for entry in record.notebooks}
    shown = {name: file for name, file in files.items() if file.is_file()}
    sections = [_section(record.out, record.entry(name), shown) for name in shown]
    results, path = results_table(record.out), record.out / FILE
    how = {"index": False, "border": 0, "float_format": "{:.1f}".format, "na_rep": "-"}
    with atomic_path(path) as temporary:
        text = (
            Environment(autoescape=True)
            .from_string(PAGE)
            .render(
                record=record,
                policy=POLICY,
                style=STYLE + HtmlFormatter(style="default").get_style_defs(".highlight"),
                about=_about(record.out),
                warnings=verdicts_below(record.out).values(),
                results="" if results.empty else results.to_html(**how),
                sections=sections,
            )
        )
        Path(temporary).write_text(text, encoding="utf-8")
    return path


def _about(out: Path) -> str:
    """Data, settings, when and by which commit the models were trained; nothing where there is none."""
    with suppress(NaafError):
        runs = members(out)
        config, settings = runs[0].config, runs[0].settings
        best = runs[0].checkpoint("best")
        commit = config.get("environment", {}).get("commit")
        name = data_name(runs[0].data_folder)
        usual = preset_of(runs[0].data_folder)
        own = changed(preset(usual, {SEED: settings.train.seed}), settings)
        parts = [
            f"data {name}",
            f"method {settings.model.method}",
            f"{len(runs)} model{'s' * (len(runs) > 1)}",
            f"preset {usual}" + "".join(f", {key}={value}" for key, value in own.items()),
            *([f"trained {datetime.fromtimestamp(best.stat().st_mtime):%Y-%m-%d}"] if best.is_file() else []),
            *([f"commit {commit[:10]}"] if commit else []),
        ]
        return "; ".join(parts)
    return ""


def _file(out: Path, entry: NotebookRecord) -> Path:
    """The last whole run of a notebook, else what is left of it; out itself where nothing is."""
    whole = out / "notebooks" / f"{entry.name}.ipynb"
    return whole if whole.is_file() else out / (entry.file or "")


def _section(out: Path, entry: NotebookRecord, shown: Mapping[str, Path]) -> Section:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    file = shown[entry.name]
    is_earlier = entry.status != "done" and file != out / (entry.file or "")
    when = f"{datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%d %H:%M}" if is_earlier else ""
    node = nbformat.read(file, as_version=4)
    pictures = Config({"NbConvertBase": {"display_data_priority": SHOWN}})
    how = {"template_name": "basic", "embed_images": True, "anchor_link_text": "", "config": pictures}
    body, _ = HTMLExporter(**how).from_notebook_node(node)
    for name in shown:  # one notebook's link to another stays on the page
        link = f'href="#{escape(name)}"'
        body = re.sub(rf'href="(\./)?{re.escape(name)}\.ipynb"', lambda _, link=link: link, body)
    return Section(entry, file.relative_to(out), _title(node, entry.name), body, when)


def _title(node: nbformat.NotebookNode, otherwise: str) -> str:
    """The first heading of the notebook."""
    for cell in node.cells:
        found = re.search(r"^#+\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return found[1].strip()
    return otherwise
