"""README and docs: links resolve, commands parse, and a number that stands twice is the same number."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from naaflib.cli import build_parser
from naaflib.metric.published import EXPECTED

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "docs" / "results.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(
    r"""(?<![\w./~:-])/(home|root|work|tmp|mnt|media|Users|usr|var|opt|scratch)/|\b[A-Z]:\\"""
    r"""|pypi|artifactory|index-url|127\.0\.0\.1"""
)
VARIANTS = {  # the table's words: the sweep's
    "NAAF": "naaf",
    "SCAN t2i": "scan-t2i",
    "SCAN i2t": "scan-i2t",
    "trained without the negative effect": "no-negative-effect",
    "trained without the feature effect": "no-feature-effect",
    "trained without the relevance effect": "no-relevance-effect",
    "trained with the boundary fixed at 0": "fixed-boundary",
    "trained with alpha 1 (NAAF: 2)": "alpha-1",
    "trained with alpha 4": "alpha-4",
    "trained on summed negatives": "summed-negatives",
    "trained with sequential mining": "sequential-mining",
    "NAAF's weights, negative effect left out": "negative-effect-off",
    "NAAF's weights, feature effect left out": "feature-effect-off",
    "NAAF's weights, relevance effect left out": "relevance-effect-off",
    "NAAF's weights, boundary at 0": "boundary-at-0",
    "NAAF's weights, no propagation": "no-propagation",
}
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: Path, first: str) -> list[list[str]]:
    """The cells of the table whose header starts with `first`, without header and rule."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    body = lines[start + 2 :]
    end = next((i for i, line in enumerate(body) if not line.startswith("|")), len(body))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body[:end]]


def numbers(text: str) -> list[str]:
    return re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)


def commands(page: Path) -> list[str]:
    """Every `naaf ...` line of the page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("naaf ")]


@every_page
def test_every_link_into_the_repository_resolves(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@every_page
def test_no_page_names_a_path_of_a_machine_or_a_package_registry(page):
    assert not ELSEWHERE.search(page.read_text(encoding="utf-8"))


def test_every_page_of_the_docs_is_linked_from_the_readme():
    linked = {(ROOT / target).resolve() for target in LINK.findall(README.read_text(encoding="utf-8"))}
    assert set(PAGES[1:]) <= linked


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


@every_page
def test_the_command_line_takes_every_command_of_the_pages(page):
    parser = build_parser()
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        if words == ["COMMAND", "--help"]:
            continue
        assert parser.parse_args(words).command == words[0]


def test_the_readme_has_commands_and_the_python_compiles():
    assert len(commands(README)) >= 5
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    compile(block, "README.md", "exec")


def test_the_numbers_of_the_readme_stand_in_the_results():
    known = set(numbers(RESULTS.read_text(encoding="utf-8")))
    found = [number for row in rows(README, "data") for cell in row[2:] for number in numbers(cell)]
    assert len(found) > 20
    assert set(found) <= known


def test_the_range_of_the_scenes_is_the_one_that_the_demo_prints():
    (expected,) = EXPECTED
    ranges = [
        f"{mean} ({low} to {high})"
        for mean, low, high in (expected.i2t_at_1, expected.t2i_at_1, expected.rsum)
    ]
    single = next(row for row in rows(RESULTS, "data") if "single" in row[2])
    assert single[3:6] == ranges
    assert f"{expected.trainings} trainings" in single[2]
    assert [row[2] for row in rows(README, "data")[:3]] == ranges


@pytest.mark.parametrize(
    ("file", "first", "last"), [("claims.csv", 1, 3), ("claims_scenes.csv", 4, 6)], ids=["flickr8k", "scenes"]
)
def test_the_table_of_claims_is_the_one_that_was_measured(file, first, last):
    """Mean, spread, difference, interval and corrected p of every variant; the pooled p is in no file."""
    with (ROOT / "docs" / file).open(newline="", encoding="utf-8") as lines:
        measured = {row["variant"]: claim(row) for row in csv.DictReader(lines) if row["measure"] == "rsum"}
    table = {VARIANTS[row[0]]: row[first : last + 1] for row in rows(RESULTS, "setting")}
    shown = {
        variant: (spread, difference, p.replace("*", "").partition(";")[0])
        for variant, (spread, difference, p) in table.items()
    }
    assert shown == measured


def claim(row: dict[str, str]) -> tuple[str, str, str]:
    """A row of the CSV as the page writes it."""
    spread = f"{float(row['mean']):.1f}, {float(row['sd']):.1f}"
    if not row["difference"]:
        return spread, "", ""
    change, low, high = (signed(float(row[name])) for name in ("difference", "low", "high"))
    p = float(row["p_corrected"])
    return spread, f"{change} ({low} to {high})", "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text
