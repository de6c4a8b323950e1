"""Every broken input of the corpus is one sentence: no traceback, no hang, nothing half-written."""

import os
import shlex
import shutil
import signal
from pathlib import Path

import broken_inputs
import pytest

CASES = list(broken_inputs.cases())
EVERY = 3  # `make test` meets each third case, `make test-long` the others
PARAMS = [
    pytest.param(case, id=case.name, marks=[pytest.mark.long] if number % EVERY else [])
    for number, case in enumerate(CASES)
]
LONGEST = 30  # seconds a case: a pipe that is read would wait for ever


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    broken_inputs.make_base(folder)
    return folder


@pytest.fixture
def alarm():
    """A case that hangs fails by its name."""

    def late(*_):
        raise AssertionError(f"no answer within {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with its type and, of a file, its bytes."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            about = os.lstat(Path(place, name))
            regular = not os.path.islink(Path(place, name)) and os.path.isfile(Path(place, name))
            found[str(Path(place, name).relative_to(folder))] = (about.st_mode, about.st_size * regular)
    return found


@pytest.mark.parametrize("case", PARAMS)
def test_broken_input_is_one_sentence(case, base, tmp_path, monkeypatch, capsys, alarm):
    from naaflib.cli import main

    folder = tmp_path / "here"
    shutil.copytree(base, folder, copy_function=os.link)  # what breaks a file unlinks it first
    monkeypatch.chdir(folder)
    case.breaks(folder)
    before = listing(folder)
    status = main(shlex.split(case.command))
    out, err = capsys.readouterr()
    lines = [one for one in err.splitlines() if one.startswith("warning: " if case.warns else "naaf: ")]
    assert status == case.status, err
    assert any(case.says in one for one in lines), err
    if not case.warns:
        assert len(lines) == 1
        assert not out
        assert case.leaves or listing(folder) == before
    assert "Traceback" not in err
    assert not [name for name in listing(folder) if ".partial" in name]


def test_the_corpus_is_large_and_names_each_case_once():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 200
