"""A batch of notebooks: what is run, what is refused, what a failure leaves, what the report shows.

The kernels run once, two batches side by side, and the tests read what they left.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

RED_DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4O"
    "HwAAAABJRU5ErkJggg=="
)
WIDGET = f'''
from IPython.display import display
widget = {{"model_id": "0", "version_major": 2, "version_minor": 0}}
display({{"application/vnd.jupyter.widget-view+json": widget, "image/png": "{RED_DOT}",
         "text/plain": "WIDGET AS " + "TEXT"}}, raw=True)
'''
NOTEBOOKS = {
    "01_good": [
        'run: str = ""\nseed: int = 0  # picks the pairs\ndata: str = "data/scenes"',
        "import json, os, sys\nimport naaflib",
        "from pathlib import Path\n"
        "found = dict(run=run, seed=seed, data=data, python=sys.executable, cwd=os.getcwd())\n"
        'found["lib"] = naaflib.__file__\n'
        'found["threads"] = [os.environ.get(f"{name}_NUM_THREADS") for name in ("OMP", "MKL", "NUMBA")]\n'
        'Path(run, "found.json").write_text(json.dumps(found))',
        WIDGET,
        'print("a line for the person", file=sys.stderr)',
    ],
    "02_types": [
        'run = ""\nfast: bool = False\nrate = 1e-3\nname = ""\nlimit: int | None = None\nsizes = [1, 2]',
        'from pathlib import Path\nPath(run, "types.txt").write_text(repr([fast, rate, name, limit, sizes]))',
    ],
    "03_failing": [
        'run: str = ""\nseed: int = 0',
        'print("so far")',
        'raise ValueError("first line\\nthe folder is empty: build it")',
        'print("never")',
    ],
    "04_after": ['run = ""', "1"],
    "05_slow": ['run = ""', "import time", "time.sleep(60)"],
    "06_dying": ['run = ""', "import os\nos._exit(3)"],
}


def write_notebook(path: Path, cells: list[str]) -> None:
    parameters, *code = cells
    node = new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        }
    )
    node.cells = [
        new_markdown_cell(f"# The title of {path.stem} & more\n\nSee [the types](02_types.ipynb)."),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, code),
    ]
    nbformat.write(node, path)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder of tiny notebooks, as NAAF_ROOT names it."""
    root = tmp_path_factory.mktemp("a project {with} braces")
    for folder in ("notebooks", "data_manifests"):
        (root / folder).mkdir()
    for name, cells in NOTEBOOKS.items():
        write_notebook(root / "notebooks" / f"{name}.ipynb", cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAAF_ROOT", str(root))
        patch.setenv("JUPYTER_PATH", str(_another_kernel(root)))
        yield root


def _another_kernel(root: Path) -> Path:
    """A kernel specification named python3 that belongs to some other interpreter."""
    folder = root / "elsewhere" / "kernels" / "python3"
    folder.mkdir(parents=True)
    specification = {
        "argv": ["/no/such/python", "{connection_file}"],
        "display_name": "x",
        "language": "python",
    }
    (folder / "kernel.json").write_text(json.dumps(specification))
    return root / "elsewhere"


@pytest.fixture(scope="module")
def batches(project):
    """Records of three batches, two of them side by side; the third continues the first's folder."""
    from naaflib.batch import run_notebooks

    parameters = {"seed": "7", "fast": "yes", "rate": "2e-4", "name": "007", "limit": "3", "sizes": "[4]"}
    with ThreadPoolExecutor() as pool:
        failing = pool.submit(run_notebooks, "01-04", project / "out", parameters, progress=False, threads=3)
        slow = pool.submit(run_notebooks, "05", project / "slow", {}, progress=False, timeout=1)
        dying = run_notebooks(["06_dying"], project / "dying", {}, progress=False)
        return {"failing": failing.result(), "slow": slow.result(), "dying": dying}


@pytest.fixture(scope="module")
def page(batches) -> str:
    return (batches["failing"].out / "report.html").read_text(encoding="utf-8")


def found(batches) -> dict:
    return json.loads((batches["failing"].out / "found.json").read_text())


def test_the_kernel_is_of_this_interpreter_and_this_naaflib(batches):
    import naaflib

    assert found(batches)["python"] == sys.executable
    assert found(batches)["lib"] == naaflib.__file__


def test_a_notebook_is_given_its_run_folder_and_works_from_the_project(batches, project):
    assert found(batches)["run"] == str(project / "out")
    assert found(batches)["cwd"] == str(project)


def test_a_notebook_computes_with_as_many_threads_as_it_is_given(batches):
    assert found(batches)["threads"] == ["3", "3", "3"]


def test_a_parameter_that_is_not_given_keeps_its_default(batches):
    assert found(batches)["data"] == "data/scenes"


def test_text_arrives_in_the_type_of_the_parameter(batches):
    assert (batches["failing"].out / "types.txt").read_text() == "[True, 0.0002, '007', 3, [4]]"


def test_a_parameter_goes_only_to_the_notebooks_that_have_it(batches):
    given = {entry.name: dict(entry.parameters) for entry in batches["failing"].notebooks}
    assert given["01_good"] == {"seed": 7}
    assert given["04_after"] == {}


def test_the_first_failure_ends_the_batch_and_keeps_what_ran(batches):
    record = batches["failing"]
    assert [entry.status for entry in record.notebooks] == ["done", "done", "failed", "waiting"]
    names = {path.name for path in (record.out / "notebooks").glob("[!.]*")}  # but the lock
    assert names == {"01_good.ipynb", "02_types.ipynb", "03_failing.failed.ipynb"}
    kept = nbformat.read(record.out / "notebooks" / "03_failing.failed.ipynb", as_version=4)
    assert any(
        "so far" in output.get("text", "") for cell in kept.cells for output in cell.get("outputs", [])
    )


def test_a_failure_names_notebook_cell_and_the_last_line(batches):
    sentence = batches["failing"].sentence()
    assert sentence.startswith(
        "03_failing stopped at cell 5 (In [4]): ValueError: the folder is empty: build it; "
    )
    assert sentence.endswith("03_failing.failed.ipynb holds what ran")


def test_a_cell_that_runs_too_long_is_a_failure_and_is_named(batches):
    failure = batches["slow"].failed
    assert (failure.error.kind, failure.error.cell) == ("Timeout", 5)
    assert (batches["slow"].out / failure.file).name == "05_slow.failed.ipynb"


def test_a_kernel_that_dies_is_a_failure_and_its_cell_is_named(batches):
    failure = batches["dying"].failed
    assert (failure.error.kind, failure.error.cell) == ("DeadKernel", 4)


def test_the_record_on_disk_is_the_record_that_was_returned(batches):
    from naaflib.batch import read_record

    for record in batches.values():
        assert read_record(record.out) == record


def test_a_record_can_move(batches):
    record = batches["failing"]
    assert str(record.out) not in (record.out / "pipeline.json").read_text()


def test_a_second_batch_keeps_what_the_first_did_and_clears_the_failure(batches, project, capsys):
    import shutil

    from naaflib.batch import run_notebooks

    copied = project / "again"
    shutil.copytree(batches["failing"].out, copied)
    write_notebook(project / "notebooks" / "03_failing.ipynb", ['run = ""\nseed = 0', "import sys", "seed"])
    try:
        record = run_notebooks("03", copied, {})
    finally:
        write_notebook(project / "notebooks" / "03_failing.ipynb", NOTEBOOKS["03_failing"])
    assert record.failed is None
    assert [entry.status for entry in record.notebooks] == ["done", "done", "done", "waiting"]
    assert not (copied / "notebooks" / "03_failing.failed.ipynb").exists()
    assert re.fullmatch(r"\[1/1\] 03_failing: \d+\.\d s\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"sead": "1"}, "no selected notebook has a parameter 'sead', did you mean 'seed'?"),
        ({"seed": "1.5"}, "parameter seed takes a whole number, not '1.5'"),
        ({"seed": True}, "parameter seed takes a whole number, not 'True'"),
        ({"seed": None}, "parameter seed takes a whole number, not 'None'"),
        ({"fast": "maybe"}, "parameter fast takes true or false, not 'maybe'"),
        ({"rate": "nan"}, "parameter rate takes a number, not 'nan'"),
        ({"sizes": "3"}, "parameter sizes takes a Python list, not '3'"),
        ({"run": "elsewhere"}, "the parameter 'run' is the output folder"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(project, parameters, sentence):
    from naaflib.batch import run_notebooks
    from naaflib.errors import UsageError

    with pytest.raises(UsageError, match=re.escape(sentence)):
        run_notebooks(None, project / "untouched", parameters)
    assert not (project / "untouched").exists()


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (None, "123456"),
        ("01-03", "123"),
        ("2", "2"),
        ("03,05", "35"),
        ("5 1-2", "125"),
        ("02,01-02", "12"),
        ("04_after", "4"),
        (["06_dying.ipynb", "01"], "16"),
        ("05-99", "56"),
    ],
)
def test_a_selection_names_notebooks_in_their_order(project, wanted, numbers):
    from naaflib.batch.notebooks import select

    assert "".join(notebook.name[1] for notebook in select(wanted)) == numbers


def test_the_comparison_of_runs_is_taken_only_where_it_is_named(tmp_path, monkeypatch):
    from naaflib.batch.notebooks import select

    (tmp_path / "notebooks").mkdir()
    for name in ("06_similarity_distributions", "07_compare_runs"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", NOTEBOOKS["01_good"])
    monkeypatch.setenv("NAAF_ROOT", str(tmp_path))
    assert [notebook.name for notebook in select()] == ["06_similarity_distributions"]
    assert [notebook.name for notebook in select("07")] == ["07_compare_runs"]


@pytest.mark.parametrize("wanted", ["07", "03-01", "", "02_tipes", "two", "-3"])
def test_a_selection_that_fits_nothing_is_refused(project, wanted):
    from naaflib.batch.notebooks import select
    from naaflib.errors import UsageError

    with pytest.raises(UsageError):
        select(wanted)


def test_none_is_a_value_only_where_the_parameter_allows_it(project):
    from naaflib.batch.notebooks import convert, read

    types = read(project / "notebooks" / "02_types.ipynb").parameters
    assert convert("none", types["limit"]) is None
    assert convert("none", types["name"]) == "none"


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (["run = 1 +"], "line 1 of the parameters cell is not Python"),
        (None, "cannot be read as a notebook"),
    ],
)
def test_a_notebook_that_cannot_be_read_is_named(tmp_path, cells, sentence):
    from naaflib.batch.notebooks import read
    from naaflib.errors import NaafError

    path = tmp_path / "01_broken.ipynb"
    path.write_text("not JSON") if cells is None else write_notebook(path, cells)
    with pytest.raises(NaafError, match=rf"01_broken\.ipynb.*{sentence}"):
        read(path)


def test_a_damaged_record_is_named_and_left_as_it_is(project, tmp_path):
    from naaflib.batch import run_notebooks
    from naaflib.errors import NaafError

    (tmp_path / "pipeline.json").write_text("{")
    with pytest.raises(NaafError, match=r"pipeline\.json is not a record"):
        run_notebooks("01", tmp_path, {})
    assert (tmp_path / "pipeline.json").read_text() == "{"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("Kernel died")])
def test_a_full_disk_and_a_kernel_that_does_not_start_are_reasons(monkeypatch, tmp_path, error):
    from naaflib.batch.papermill_process import run_one

    def fails(*_, **__):
        raise error

    monkeypatch.setattr("papermill.execute_notebook", fails)
    job = {"notebook": "a", "output": str(tmp_path / "a"), "parameters": {}, "timeout": 1, "progress": False}
    failure = run_one(job | {"scratch": str(tmp_path)})
    assert (failure.kind, failure.message, failure.cell) == (type(error).__name__, str(error), None)


def test_the_report_holds_every_executed_notebook_under_its_title(page):
    for name in ("01_good", "02_types", "03_failing"):
        assert f'<section id="{name}">' in page
        assert f'<a href="#{name}">The title of {name} &amp; more</a>' in page
    assert "04_after" not in page.replace("naaf", "")


def test_links_between_notebooks_stay_on_the_page(page):
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert "02_types" in targets
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_the_report_needs_no_network_and_no_script(page):
    assert not re.search(r"<script|<link|<iframe|@import|url\(|src=\"(?!data:)", page)


def test_a_widget_shows_its_still_picture(page):
    assert f"data:image/png;base64,{RED_DOT}" in page
    assert "WIDGET AS TEXT" not in page


def test_the_report_says_that_the_batch_failed_and_shows_the_error(page):
    assert 'class="state failed">03_failing stopped at cell 5' in page
    assert "the folder is empty: build it" in page
    assert "\x1b" not in page


def test_the_report_keeps_the_last_whole_run_of_what_did_not_run_again(project, tmp_path):
    from naaflib.batch import run_notebooks

    path = project / "notebooks" / "09_changing.ipynb"
    out = tmp_path / "out"
    try:
        write_notebook(path, ['run = ""', 'print("the " + "good result")'])
        write_notebook(path.with_name("10_last.ipynb"), ['run = ""', 'print("the " + "last result")'])
        assert run_notebooks("09-10", out, {}, progress=False).failed is None
        assert "last whole run" not in (out / "report.html").read_text(encoding="utf-8")
        write_notebook(path, ['run = ""', 'print("the " + "bad result")', 'raise ValueError("<no> more")'])
        assert run_notebooks("09-10", out, {}, progress=False).failed.name == "09_changing"
    finally:
        path.unlink()
        path.with_name("10_last.ipynb").unlink()
    page = (out / "report.html").read_text(encoding="utf-8")
    changing, last = re.findall(r'<section id="(?:09|10)_.*?</section>', page, re.DOTALL)
    assert "the good result" in changing
    assert "the bad result" not in page
    said = (
        r"stopped at cell 5 \(In \[4\]\): ValueError: &lt;no&gt; more\.\s+This section shows its last whole"
    )
    assert re.search(said, changing)
    assert '<a href="notebooks/09_changing.failed.ipynb">What ran now</a>' in changing
    assert (out / "notebooks" / "09_changing.failed.ipynb").is_file()
    assert "the last result" in last
    assert "10_last did not run whole in the latest batch" in last


def test_the_report_fits_a_phone(page):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page


def test_a_file_gets_whole_lines_and_a_progress_bar_now_and_then():
    from naaflib.batch.papermill_process import QUIET_SECONDS, KernelMessages

    stream = io.StringIO()
    messages = KernelMessages(stream)
    messages.write("\rbar 1/9\rbar 2/9")
    messages.write("epoch 1: loss 3\n")
    assert stream.getvalue() == "epoch 1: loss 3\n"
    messages.last -= QUIET_SECONDS + 1
    messages.write("\rbar 3/9")
    assert stream.getvalue() == "epoch 1: loss 3\nbar 3/9\n"


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_is_ended_leaves_no_kernel_behind(project, tmp_path, end):
    write_notebook(
        project / "notebooks" / "09_endless.ipynb",
        [
            'run = ""',
            "import os, time\nopen(run + '/process', 'w').write(str(os.getpid()))",
            "time.sleep(600)",
        ],
    )
    code = "import sys; from naaflib.batch import run_notebooks; run_notebooks('09', sys.argv[1], {})"
    try:
        batch = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
        )
        kernel = wait_for(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text())
        batch.send_signal(end)
        batch.communicate(timeout=300)
        wait_for(lambda: not is_alive(int(kernel)))
    finally:
        (project / "notebooks" / "09_endless.ipynb").unlink()
    expected = "interrupted" if end == signal.SIGINT else "running"
    assert (
        json.loads((tmp_path / "pipeline.json").read_text())["notebooks"]["09_endless"]["status"] == expected
    )


def test_two_batches_never_write_into_one_folder(project, tmp_path):
    """And a batch's lock is not that of the training that its notebooks do in the same folder."""
    from naaflib.batch import run_notebooks
    from naaflib.errors import NaafError
    from naaflib.locking import exclusive

    with exclusive(tmp_path / "notebooks"):
        with pytest.raises(NaafError, match=r"notebooks is in use by process \d+ .*; wait for its end"):
            run_notebooks("04", tmp_path, {})
        assert not (tmp_path / "pipeline.json").exists()
    with exclusive(tmp_path):
        assert run_notebooks("04", tmp_path, {}, progress=False).failed is None


def wait_for(condition, seconds: float = 300):
    """The condition's value as soon as it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found
