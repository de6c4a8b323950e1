"""A notebook is: title and question, parameters, a few calls, a figure or table, a sentence that answers."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = [
    "01_data_inspection",
    "02_training",
    "03_evaluation",
    "04_ensemble",
    "05_attention_maps",
    "06_similarity_distributions",
    "07_compare_runs",
    "08_own_pictures",
    "09_judge_scores",
]
MOST_LINES = 15
MACHINE_PATH = re.compile(
    r"""(?<![\w./~-])/(home|root|work|tmp|mnt|media|Users|usr|var|opt|scratch)/|\b[A-Z]:\\"""
)
INSTALLS = re.compile(r"^\s*[!%]|\bpip3? install\b|\bconda install\b", re.MULTILINE)


def code_cells(node):
    return [cell for cell in node.cells if cell.cell_type == "code"]


def is_parameters(cell) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def parsed(cell) -> ast.Module:
    """The cell's Python, without the lines that `installs_nothing` forbids."""
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not re.match(r"\s*[!%]", line)))


def has_imports(cell) -> bool:
    return any(isinstance(part, ast.Import | ast.ImportFrom) for part in ast.walk(parsed(cell)))


def starts_with_a_title(node):
    first = node.cells[0] if node.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "the first cell is no markdown title"


def names_its_kernel(node):
    if node.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec is not python3"
    if node.metadata.get("language_info", {}).get("name") != "python":
        yield "language_info is missing"


def has_one_parameters_cell(node):
    found = sum(map(is_parameters, node.cells))
    if found != 1:
        yield f"{found} cells are tagged parameters"


def stores_no_results(node):
    for number, cell in enumerate(node.cells, start=1):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"cell {number} stores outputs or an execution count"
        if "papermill" in cell.metadata:
            yield f"cell {number} carries papermill's metadata"
    for key in ("papermill", "widgets"):
        if key in node.metadata:
            yield f"the metadata carry {key}"


def defines_nothing(node):
    for cell in code_cells(node):
        for part in ast.walk(parsed(cell)):
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{part.name} is defined; it belongs into naaflib"
            if isinstance(part, ast.Assign | ast.AnnAssign) and isinstance(part.value, ast.Lambda):
                yield "a lambda gets a name; it belongs into naaflib"


def installs_nothing(node):
    for cell in code_cells(node):
        if INSTALLS.search(cell.source):
            yield f"a shell command, a magic or an installation: {cell.source.splitlines()[0]}"


def names_no_machine(node):
    for cell in node.cells:
        if MACHINE_PATH.search(cell.source):
            yield f"a path of one machine: {MACHINE_PATH.search(cell.source)[0]}"


def has_short_cells(node):
    for cell in code_cells(node):
        if len(cell.source.splitlines()) > MOST_LINES:
            yield f"a cell of {len(cell.source.splitlines())} lines is a missing function"


def imports_at_the_top(node):
    """In one cell, before any other code but the parameters."""
    own = [cell for cell in code_cells(node) if not is_parameters(cell)]
    for cell in code_cells(node):
        if has_imports(cell) and (not own or cell is not own[0]):
            yield "an import stands below the first code cell"
    body = parsed(own[0]).body if own else []
    kinds = [isinstance(part, ast.Import | ast.ImportFrom) for part in body]
    if kinds != sorted(kinds, reverse=True):
        yield "an import stands below other code"


RULES = [
    starts_with_a_title,
    names_its_kernel,
    has_one_parameters_cell,
    stores_no_results,
    installs_nothing,
    names_no_machine,
    has_short_cells,
    defines_nothing,
    imports_at_the_top,
]


def test_no_notebook_stands_outside_the_order():
    assert [path.stem for path in sorted(FOLDER.glob("*.ipynb"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_keeps_every_rule(name):
    node = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(node)
    assert [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(node)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_can_be_run_in_a_batch_by_its_parameters(name):
    from naaflib.batch.notebooks import MISSING, read

    parameters = read(FOLDER / f"{name}.ipynb").parameters
    assert parameters["run"].kind == "str"
    for parameter in parameters.values():
        assert parameter.kind is not None, f"{parameter.name} has neither an annotation nor a typed default"
        assert parameter.default is not MISSING, f"the default of {parameter.name} is computed"


def good():
    """A notebook that keeps every rule."""
    node = new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        }
    )
    node.cells = [
        new_markdown_cell("# How long are captions?\nA question, and a link: https://example.org/home/page"),
        new_code_cell('run: str = "outputs/demo"', metadata={"tags": ["parameters"]}),
        new_code_cell("import naaflib\nfrom naaflib import viz\n\nnaaflib.open_split"),
        new_code_cell("sorted([3, 1], key=lambda value: -value)"),
        new_markdown_cell("They are short."),
    ]
    return node


def breaks(change):
    node = good()
    change(node)
    return {rule.__name__ for rule in RULES if list(rule(node))}


def test_a_good_notebook_breaks_no_rule():
    assert breaks(lambda node: None) == set()


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("starts_with_a_title", lambda node: node.cells.pop(0)),
        ("names_its_kernel", lambda node: node.metadata.pop("kernelspec")),
        ("names_its_kernel", lambda node: node.metadata.pop("language_info")),
        ("has_one_parameters_cell", lambda node: node.cells[1].metadata.pop("tags")),
        ("has_one_parameters_cell", lambda node: node.cells[3].metadata.update(tags=["parameters"])),
        ("stores_no_results", lambda node: node.cells[3].update(execution_count=1)),
        ("stores_no_results", lambda node: node.cells[3].outputs.append(new_output("stream", text="1"))),
        ("stores_no_results", lambda node: node.metadata.update(widgets={})),
        ("defines_nothing", lambda node: node.cells[3].update(source="def recall(ranks):\n    return 1")),
        ("defines_nothing", lambda node: node.cells[3].update(source="if run:\n    class Thing: pass")),
        ("defines_nothing", lambda node: node.cells[3].update(source="recall = lambda ranks: 1")),
        ("installs_nothing", lambda node: node.cells[3].update(source="%pip install torch")),
        ("installs_nothing", lambda node: node.cells[3].update(source="!ls")),
        ("names_no_machine", lambda node: node.cells[3].update(source='open("/mnt/disk/data")')),
        ("names_no_machine", lambda node: node.cells[4].update(source="See /tmp/figure.png")),
        ("has_short_cells", lambda node: node.cells[3].update(source="1\n" * 16)),
        ("imports_at_the_top", lambda node: node.cells[3].update(source="import os")),
        ("imports_at_the_top", lambda node: node.cells[2].update(source="1\nimport os")),
    ],
)
def test_each_rule_notices_what_it_forbids(rule, change):
    assert rule in breaks(change)
