"""docs/extending.md does what it says: its code, put where it says, is a method that everything takes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import naaflib

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r'```python\n# (\S+), (?:(a new file)|before "([^\n]*)")\n(.*?)```', re.S)
CHECK = """
import torch, naaflib
from naaflib.similarity.methods import make
images = torch.nn.functional.normalize(torch.randn(3, 5, 7, dtype=torch.float64), dim=-1)
captions = torch.nn.functional.normalize(torch.randn(2, 4, 7, dtype=torch.float64), dim=-1)
images[1, 2] = 0.0  # padding
lengths = [4, 2]
fast = naaflib.score_matrix(images, captions, lengths, method="smooth")
slow = [make("smooth", {}).parts(images, u[:n]).score for u, n in zip(captions, lengths)]
torch.testing.assert_close(fast, torch.stack(slow, dim=1))
without = images[1:2, [0, 1, 3, 4]]
torch.testing.assert_close(naaflib.score_matrix(without, captions, lengths, method="smooth"), fast[1:2])
"""


@pytest.fixture(scope="module")
def blocks():
    return BLOCK.findall(PAGE.read_text())


def test_the_page_is_forty_lines_of_code(blocks):
    assert len(blocks) == PAGE.read_text().count("```python")
    code = [line for block in blocks for line in block[3].splitlines() if line.strip()]
    assert len(code) <= 40


@pytest.mark.trains
def test_the_page_s_code_is_a_method(blocks, write_split, tmp_path):
    shutil.copytree(Path(naaflib.__file__).parent, tmp_path / "naaflib", ignore=lambda *_: ["__pycache__"])
    for name, new, before, code in blocks:
        file, before = tmp_path / name, before.replace("\\n", "\n")
        if new:
            assert not file.exists()
            file.write_text(code)
        else:
            text = file.read_text()
            assert text.count(before) == 1
            file.write_text(text.replace(before, code + before))
    for split, images in (("train", 23), ("dev", 11)):
        write_split(tmp_path / "scenes", split, images)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def python(*arguments):
        how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": False}
        done = subprocess.run([sys.executable, *arguments], **how)
        assert done.returncode == 0, done.stderr
        return done.stdout

    python("-c", CHECK)
    small = ["model.dim=16", "model.word_dim=8", "train.epochs=1", "model.lambda_smooth=20"]
    run = ["--data", "scenes", "--out", "run", "--preset", "scenes"]
    python("-m", "naaflib", "train", *run, "--set", "model.method=smooth", *small)
    explained = python(
        "-m", "naaflib", "explain", "run", "--data", "scenes", "--split", "dev", "--image", "3"
    )
    assert "smooth, score" in explained
