"""--seed-offset reaches every random number of the tests."""

import re
from pathlib import Path

import numpy as np
import seeds

FOLDER = Path(__file__).parent


def test_the_offset_is_added_to_every_kind_of_seed(monkeypatch, pytestconfig):
    assert pytestconfig.getoption("--seed-offset") == seeds.OFFSET
    monkeypatch.setattr(seeds, "OFFSET", 7)
    assert seeds.shifted(3) == 10
    assert seeds.rng(3).random() == np.random.default_rng(10).random()
    assert seeds.rng(3, 5).random() == np.random.default_rng([10, 5]).random()
    assert seeds.generator(3).initial_seed() == 10


def test_no_test_makes_a_generator_of_its_own():
    own = re.compile(r"random\.(default_rng|seed)\(|RandomState\(|torch\.manual_seed\(|Generator\(\)\.manual")
    for path in FOLDER.rglob("*.py"):
        if path.name not in ("seeds.py", Path(__file__).name, "make.py"):  # make.py wrote stored numbers
            lines = path.read_text(encoding="utf-8").splitlines()
            found = [line.strip() for line in lines if own.search(line) and "whatever happened" not in line]
            assert not found, f"{path.name}: take seeds.rng or seeds.manual_seed for {found[0]}"
