"""The page of a batch in a browser: hostile names and captions run no script, and all is still shown."""

import base64
import io

import nbformat
import numpy as np
import pandas as pd
import pytest
from payloads import MARKUP, SCRIPT
from PIL import Image
from synthetic_runs import write_group, write_history

from naaflib.batch.records import NotebookRecord, Record
from naaflib.batch.report import POLICY, write_report
from naaflib.files import write_json
from naaflib.pages.keep import Warned, readable
from naaflib.runs import Run

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

CODE = "print('the code')"
RAW = (  # what a notebook's own output may hold: nothing escapes it, the page's policy stops it
    f"<script>{SCRIPT}</script>",
    f'<img src=x onerror="{SCRIPT}">',
    f'<a id=link href="javascript:{SCRIPT}">a link</a>',
    f'<iframe srcdoc="<script>parent.{SCRIPT}</script>"></iframe>',
    '<img src="https://collect.example/x.png"><link rel=stylesheet href="https://collect.example/x.css">',
    '<form action="https://collect.example/"><button id=send>send</button></form>',
)
WARNING = "the run called so has not learnt"


@pytest.fixture(scope="module", params=MARKUP)
def hostile(request, scenes, tmp_path_factory):
    """A batch's folder whose name, members, results, captions and columns are one payload."""
    name = request.param
    run = tmp_path_factory.mktemp("report") / name
    write_group(run, scenes, seeds=2)
    Run.create(run, "group")
    (run / "members" / "0").rename(run / "members" / name)
    for member in run.glob("members/*"):
        write_history(member, rsum=13.0)  # not learnt, so the page warns and names it
        way = dict.fromkeys(("at_1", "at_5", "at_10", "median_rank", "mean_rank"), 41.5)
        about = {"split": name, "protocol": name, "rsum": 249.0, "i2t": way, "t2i": way}
        write_json(member / "metrics" / "test.full.json", about)
    return run


def page_of(run, *raw):
    """Write the report of one executed notebook: a figure, a table, a warning, code, and raw outputs."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(buffer, "PNG")
    figure = base64.b64encode(buffer.getvalue()).decode()
    table = pd.DataFrame({run.name: [1.5, 2.5], "caption": [run.name, "a cat"]}, index=[run.name, "b"])
    outputs = [
        {"image/png": figure},
        {"text/html": readable(table.rename_axis(run.name)).to_html()},
        {"text/html": Warned([f"{WARNING}: {run.name}"])._repr_html_()},
        {"text/plain": run.name},
        *({"text/html": text} for text in raw),
    ]
    new = nbformat.v4
    shown = [new.new_output("display_data", output) for output in outputs]
    cells = [new.new_markdown_cell("# Some words"), new.new_code_cell(CODE, outputs=shown)]
    (run / "notebooks").mkdir(exist_ok=True)
    nbformat.write(new.new_notebook(cells=cells), run / "notebooks" / "05_x.ipynb")
    entry = NotebookRecord("05_x", "done", 1.0, file="notebooks/05_x.ipynb")
    return write_report(Record(run, (entry,), ("05_x",)))


@pytest.fixture
def opened(page):
    """Opens a file in a page of its own; the dialogs and requests that came of it."""
    page = page.context.browser.new_page()  # leaving JupyterLab's would ask first
    seen = {"dialogs": [], "requests": []}

    def dismissed(dialog):
        seen["dialogs"].append(dialog.message)
        dialog.dismiss()

    def asked(route):  # what passed the page's policy and would leave the machine
        seen["requests"].append(route.request.url)
        route.abort()

    page.on("dialog", dismissed)
    page.route("https://collect.example/**", asked)

    def go(path):
        page.set_default_timeout(15_000)
        page.goto(path.as_uri())
        page.mouse.move(300, 300)
        page.wait_for_timeout(300)
        return page, seen

    yield go
    page.close()


def assert_shown(page, run):
    figure = page.locator('img[src^="data:image/png"]')
    assert figure.evaluate("image => image.naturalWidth") == 40
    heads = page.locator("section th.row_heading").all_inner_texts()
    assert heads == [run.name, "b"]
    assert run.name in page.locator("section td").all_inner_texts()
    assert page.locator("h1").first.inner_text() == run.name
    results = page.locator("header table")
    assert results.locator("tbody tr").count() == 2
    assert run.name in results.inner_text()
    assert page.locator("header [role=alert]").count() == 2
    assert WARNING in page.locator("section [role=alert]").inner_text()
    assert (
        page.locator("section [role=alert]").evaluate("box => getComputedStyle(box).borderLeftWidth") == "6px"
    )
    code = page.locator(".input").first
    assert not code.is_visible()
    page.locator("#code").check()
    assert code.is_visible()


def test_hostile_names_are_texts_even_without_the_policy(hostile, opened):
    path = page_of(hostile)
    text = path.read_text()
    assert "Content-Security-Policy" in text
    path.write_text(text.replace("Content-Security-Policy", "x"))
    page, seen = opened(path)
    assert page.title() == hostile.name
    assert seen == {"dialogs": [], "requests": []}
    assert_shown(page, hostile)


def test_scripts_in_a_notebook_s_outputs_do_not_run(hostile, opened):
    page, seen = opened(page_of(hostile, *RAW))
    page.locator("#link").evaluate("link => link.click()")
    page.wait_for_timeout(200)
    assert page.title() == hostile.name
    assert_shown(page, hostile)
    page.locator("#send").evaluate("button => button.click()")  # last: Chromium shows an empty page instead
    page.wait_for_timeout(200)
    assert seen == {"dialogs": [], "requests": []}


def test_a_script_that_runs_would_be_noticed(hostile, opened):
    path = page_of(hostile, *RAW)
    path.write_text(path.read_text().replace("Content-Security-Policy", "x"))
    page, seen = opened(path)
    assert page.title() == "owned"
    assert seen["dialogs"]
    assert seen["requests"]
    assert "script-src" not in POLICY
