"""Each equation of the paper is named by one docstring, and docs/method.md names that function."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"\bEq\. (\d+)(?:-(\d+))?")  # prose about an equation writes "eq. 9"
BEGINS = re.compile(r"(?:^|\n\s*|[.;] )Eq\. \d+(?:-\d+)?: ")
ROW = re.compile(r"^\| (\d+)(?:-(\d+))? \|[^|]*\| `([\w.]+)` \|", re.MULTILINE)


def numbers(first: str, last: str | None) -> range:
    return range(int(first), int(last or first) + 1)


def docstrings(code: str, module: str):
    """Dotted name and docstring of the module, and of every class and function in it."""

    def walk(node, name):
        if text := ast.get_docstring(node):
            yield name, text
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield from walk(child, f"{name}.{child.name}")

    return walk(ast.parse(code), module)


def named_equations(sources: dict[str, str]) -> list[tuple[int, str]]:
    """Equations with the function that names them, one pair a naming. sources: code by dotted module."""
    found = []
    for module, code in sources.items():
        for name, text in docstrings(code, module):
            namings = NAMED.findall(text)
            assert len(namings) == len(BEGINS.findall(text)), f'{name}: write "Eq. N: " or "eq. N"'
            found += [(number, name) for ends in namings for number in numbers(*ends)]
    return sorted(found)


def library() -> dict[str, str]:
    paths = sorted((ROOT / "naaflib").rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT / "naaflib").with_suffix("").parts): path.read_text("utf-8")
        for path in paths
    }


def listed_equations(page: str) -> list[tuple[int, str]]:
    return [(number, name) for *ends, name in ROW.findall(page) for number in numbers(*ends)]


def test_each_equation_is_named_by_one_docstring_and_the_page_names_its_function():
    named = named_equations(library())
    assert [number for number, _ in named] == list(range(1, 16))
    assert listed_equations((ROOT / "docs" / "method.md").read_text("utf-8")) == named


def test_an_equation_named_twice_nowhere_or_elsewhere_is_found():
    code = 'class A:\n    def b(self):\n        """Eq. 2-3: c."""\n\n\ndef d():\n    """Eq. 3: as eq. 2."""\n'
    assert named_equations({"m": code}) == [(2, "m.A.b"), (3, "m.A.b"), (3, "m.d")]
    assert listed_equations("| 2-3 | c | `m.A.b` | x |\n| 4 | d | `m.d` | |\n") == [
        (2, "m.A.b"),
        (3, "m.A.b"),
        (4, "m.d"),
    ]


@pytest.mark.parametrize("text", ["See Eq. 4.", "The root of Eq. 4: it", "Eq. 4, the root"])
def test_only_the_fixed_form_names_an_equation(text):
    with pytest.raises(AssertionError, match="write"):
        named_equations({"m": f'"""{text}"""'})
