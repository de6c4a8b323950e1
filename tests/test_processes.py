"""Several processes are one process: the same scores, loss, samples, boundary, gradients and parameters.

Each worker runs all cases, so that few processes start. They meet in a file, so no port is needed.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
import seeds
import torch
import torch._dynamo  # the first optimizer imports it: here once for all workers
import torch.distributed as dist
from text_models import save_bert
from torch import nn

from naaflib.cli import main
from naaflib.config import preset, replace
from naaflib.data.batches import Batches
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import encoding, scores, shared
from naaflib.model import checkpoint
from naaflib.model.bert import Pretrained
from naaflib.model.encoders import GruEncoder, TextEncoder
from naaflib.model.model import Model
from naaflib.processes import ALONE, Processes, first_equal
from naaflib.runs import Run
from naaflib.training import folder, loop

SIZES = (2, 3)
BATCHES = (13, 13, 7)  # pairs; neither 2 nor 3 divides them
ROOT = Path(__file__).parents[1]
TINY = {
    "model.dim": 5,
    "model.word_dim": 3,
    "mining.min_words": 5,
    "train.precision": "float64",
    "train.batch_size": 13,
    "train.warmup_steps": 0,
    "train.learning_rate": 0.02,
    "loss.negatives": "hardest",
}
CASES = {
    "naaf": {},
    "naaf summed": {"loss.negatives": "sum"},
    "naaf adaptive": {"loss.negatives": "adaptive", "loss.exclude_same_image": True},
    "naaf in chunks": {"train.caption_chunk": 2, "model.image_encoder": "weight-norm"},
    "naaf with dropout": {},
    "scan t2i": {"model.method": "scan-t2i"},
    "scan t2i summed": {"model.method": "scan-t2i", "loss.negatives": "sum"},
    "scan i2t": {"model.method": "scan-i2t", "model.pooling": "lse"},
    "scan i2t summed": {"model.method": "scan-i2t", "loss.negatives": "sum"},
    "vse": {"model.method": "vse"},
    "bert": {"model.text_encoder": "bert"},
    "bert in chunks": {"model.text_encoder": "bert", "train.caption_chunk": 2},
    "bert frozen": {"model.text_encoder": "bert", "model.freeze_words": True},
}
TEXT_MODEL = "text_model"  # beside the data
CHUNK, FOLD, IMAGES = 20, 40, 120  # of the grid that is measured in shares


class Dropped(GruEncoder):
    """A text encoder with dropout, as another one may have."""

    draws = TextEncoder.draws

    def forward(self, tokens, lengths):
        return nn.functional.dropout(super().forward(tokens, lengths), 0.3, self.training)


def trained_case(data, name, processes):
    """What some steps of a case compute: everything by name."""
    settings = preset("scenes", {**TINY, **CASES[name], "train.seed": seeds.shifted(3)})
    split = open_split(data, "train")
    words = Vocabulary.build(split.captions, 1)
    seeds.manual_seed(4)
    pretrained = Pretrained.load(data / TEXT_MODEL) if name.startswith("bert") else None
    model = Model(settings.model, split.regions.shape[2], len(words), words, pretrained)
    if name == "naaf with dropout":
        model.text_encoder = Dropped(len(words), 3, 5, 0.5, words)
    model = model.double().train()
    batches = Batches(split, model.text_encoder.ids, 13, settings.train.seed, processes)
    order = seeds.rng(6).permutation(len(split.captions))
    trainer, found = loop.Trainer(model, settings, processes), {}
    for step, pairs in enumerate(BATCHES):
        own, order = order[:pairs], order[pairs:]
        with recorded_scores() as seen:
            result = trainer.step(batches.batch(own), epoch=1)
        found |= {f"{step} {key}": value for key, value in seen.items()}
        numbers = [
            result.loss,
            *settled(result.recalls, seen["scores"]),
            result.grad_norm,
            *model.boundary,
            *trainer.samples,
        ]
        found[f"{step} loss, recalls, norm, boundary, samples"] = torch.tensor(numbers, dtype=torch.float64)
        learnt = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
        found |= {f"{step} gradient of {key}": grad.clone() for key, grad in learnt.items()}
        found |= {f"{step} {key}": value.clone() for key, value in model.state_dict().items()}
    processes.check_equal(model.state_dict())
    return found


def settled(recalls, scores):
    """Recalls where no caption or image has two best partners but for rounding; else either is right."""
    own = scores.diagonal()
    rivals = scores.clone().fill_diagonal_(-torch.inf)
    gaps = torch.cat([(rivals.amax(dim=axis) - own).abs() for axis in (0, 1)])
    return recalls if gaps.min() > 1e-9 else [torch.nan] * len(recalls)


@contextmanager
def recorded_scores():
    seen, hinge_loss = {}, loop.hinge_loss

    def record(values, *how):
        seen["scores"] = values.detach().clone()
        return hinge_loss(values, *how)

    loop.hinge_loss = record
    try:
        yield seen
    finally:
        loop.hinge_loss = hinge_loss


def measured(data, processes, small=False):
    """Ranks and best answers of a split by `shared_metrics`, or where one process measures it."""
    split = open_split(data, "test").first(7) if small else open_split(data, "test")
    words = Vocabulary.build(split.captions, 1)
    seeds.manual_seed(5)
    settings = preset("scenes", {**TINY, "train.seed": 0}).model
    model = Model(settings, split.regions.shape[2], len(words), words).eval()
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "CHUNK", CHUNK)
        for module in (scores, shared):
            patch.setattr(
                module, "fold_size", lambda protocol, images: FOLD if protocol != "full" else images
            )
        for protocol in ("full",) if small else ("full", "coco-1k"):
            how = {"protocol": protocol, "top": 3, "memory": 1.0 if protocol == "full" else 2.0**30}
            if processes.size == 1:
                encoded = encoding.encode_split(model, split)
                result = scores.streamed_metrics(model, encoded, 5, progress=False, **how)
            else:
                result = shared.shared_metrics(model, split, processes, **how)
            for way in (result.i2t, result.t2i):
                found += [way.ranks, way.best.answers, way.best.scores]
    return found


def worker(number, size, place, data, offset):
    """One of several processes: all cases, into a file."""
    seeds.OFFSET = offset
    torch.set_num_threads(1)
    meeting = {"init_method": f"file://{place}/meeting{size}", "timeout": timedelta(seconds=60)}
    dist.init_process_group("gloo", rank=number, world_size=size, **meeting)
    processes = Processes(number, size)
    found = {name: trained_case(data, name, processes) for name in CASES}
    found["measured"] = [measured(data, processes), measured(data, processes, small=True)]
    found["alike"] = alike(processes)
    torch.save(found, place / f"{size}-{number}.pt")
    dist.destroy_process_group()


def alike(processes):
    """Whether processes are refused: alike, with other parameters, with other random numbers to come."""
    seeds.manual_seed(1)
    answers = [
        is_refused(processes, torch.zeros(2)),
        is_refused(processes, torch.full((2,), processes.number)),
    ]
    torch.rand(processes.number)
    return [*answers, is_refused(processes, torch.zeros(2))]


def is_refused(processes, tensor):
    try:
        processes.check_equal({"w": tensor})
    except NaafError:
        return True
    return False


@pytest.fixture(scope="module")
def big(data, write_split, tmp_path_factory):
    """The small data set with a larger test split, and a text model."""
    place = tmp_path_factory.mktemp("big")
    save_bert(place / TEXT_MODEL)
    for path in data.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    return write_split(place, "test", IMAGES)


@pytest.fixture(scope="module")
def found(big, tmp_path_factory):
    """What each process of 2 and of 3 found."""
    place, context = tmp_path_factory.mktemp("found"), get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once for all workers
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        for size in SIZES:
            arguments = [(number, size, place, big, seeds.OFFSET) for number in range(size)]
            started = [context.Process(target=worker, args=own) for own in arguments]
            for process in started:
                process.start()
            for process in started:
                process.join()
                assert process.exitcode == 0
    return {
        size: [torch.load(place / f"{size}-{n}.pt", weights_only=False) for n in range(size)]
        for size in SIZES
    }


@pytest.fixture(scope="module")
def alone(big):
    return {name: trained_case(big, name, ALONE) for name in CASES}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", SIZES)
def test_processes_compute_what_one_computes(found, alone, size, name):
    for own in found[size]:
        assert own[name].keys() == alone[name].keys()
        for key, value in alone[name].items():
            message = f"{key} of {size} processes"
            torch.testing.assert_close(own[name][key], value, rtol=0, atol=1e-10, equal_nan=True, msg=message)


def test_the_cases_mine_and_draw(alone):
    """What is compared is something: samples were mined, and dropout changes the scores."""
    for name in CASES:
        mined = alone[name]["2 loss, recalls, norm, boundary, samples"]
        assert mined[4] != 0 or not name.startswith("naaf")
        assert torch.isfinite(mined).all() or not name.startswith("naaf")
    assert not torch.equal(alone["naaf with dropout"]["0 scores"], alone["naaf"]["0 scores"])


@pytest.mark.parametrize("size", SIZES)
def test_processes_hold_the_same_bits(found, size):
    first, *others = found[size]
    for other in others:
        for name in CASES:
            for key, value in first[name].items():
                torch.testing.assert_close(other[name][key], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("size", SIZES)
def test_ranks_in_shares_are_those_of_one_process_exactly(found, big, size):
    for small in (False, True):
        alone = measured(big, ALONE, small=small)
        for own in found[size]:
            for one, other in zip(alone, own["measured"][small], strict=True):
                np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("size", SIZES)
def test_processes_that_differ_are_refused(found, size):
    assert all(own["alike"] == [False, True, True] for own in found[size])


# ---- the command line

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
NAAF = ("-m", "naaflib")


def command(data, out, epochs, *more):
    changes = {**TINY, "train.seed": seeds.shifted(3), "train.epochs": epochs, "train.checkpoint_steps": 1}
    values = [f"{name}={value}" for name, value in changes.items()]
    given = ["train", "--data", str(data), "--out", str(out), "--device", "cpu", "--preset", "scenes"]
    return [*given, *more, "--set", *values]


def variables():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NAAF_PATIENCE": "60"}


def killed(started, out, number):
    """What a training says after one of its processes, which has trained some steps, is killed."""
    with subprocess.Popen(started, env=variables(), stderr=subprocess.PIPE, text=True) as process:
        steps, end = out / "steps.csv", time.monotonic() + 120
        while not (steps.is_file() and len(steps.read_text().splitlines()) > 6):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        (one,) = [child for child in children if child.environ().get("RANK") == str(number)]
        one.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert not psutil.wait_procs(children, timeout=10)[1]
        return said


def sentences(said):
    return [line for line in said.splitlines() if line.startswith("naaf:")]


def test_a_killed_process_ends_the_others_and_any_number_of_them_goes_on(data, tmp_path):
    """Two processes, one of which is killed; then one; then three: the run that one process trains."""
    out = tmp_path / "run"
    said = killed([*TORCHRUN, "--nproc-per-node=2", *NAAF, *command(data, out, 10_000)], out, 1)
    (sentence,) = sentences(said)
    assert "one of 2 processes" in sentence
    assert "--resume" in sentence
    epoch = (Run.open(out).epochs_done or 0) + 1
    assert main(command(data, out, epoch, "--resume")) == 0
    three = [sys.executable, *NAAF, *command(data, out, epoch + 1, "--resume", "--processes", "3")]
    assert subprocess.run(three, env=variables(), check=False).returncode == 0
    assert main(command(data, tmp_path / "whole", epoch + 1)) == 0
    assert_equal_runs(Run.open(out), Run.open(tmp_path / "whole"))


def assert_equal_runs(one, other):
    for name in ("history", "steps"):
        first, second = (getattr(run, name)() for run in (one, other))
        assert list(first.columns) == list(second.columns)
        same = {"rtol": 0, "atol": 1e-6, "err_msg": name}
        np.testing.assert_allclose(
            *(frame.drop(columns="seconds", errors="ignore") for frame in (first, second)), **same
        )
    for which in ("best", "last"):
        (first, one_header), (second, other_header) = (
            checkpoint.read(run.checkpoint(which)) for run in (one, other)
        )
        assert first.keys() == second.keys()
        for key, value in first.items():
            torch.testing.assert_close(value, second[key], rtol=0, atol=1e-6)
        assert one_header["progress"].keys() == other_header["progress"].keys()
    assert list(one.samples()) == list(other.samples())


def test_the_first_process_may_be_killed_too_and_no_page_of_the_launcher_is_shown(data, tmp_path):
    """In float32, too, all start from the same bits."""
    out = tmp_path / "run"
    asked = command(data, out, 10_000, "--processes", "3")
    words = [word.replace("float64", "float32") for word in asked]
    said = killed([sys.executable, *NAAF, *words], out, 0)
    assert len(sentences(said)) == 1
    assert "Traceback" not in said
    assert "torch.distributed" not in said
    assert checkpoint.load_checkpoint(Run.open(out).checkpoint("last"))


@pytest.mark.long
def test_evaluation_in_shares_writes_what_one_process_writes(trained, scenes, tmp_path):
    how = ["evaluate", str(trained.path), "--data", str(scenes), "--no-scores", "--device", "cpu", "--out"]
    several = [*TORCHRUN, "--nproc-per-node=2", *NAAF, *how, str(tmp_path / "two")]
    assert subprocess.run(several, env=variables(), check=False).returncode == 0
    assert main([*how, str(tmp_path / "one")]) == 0
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert files
    assert all(
        (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files
    )


@pytest.fixture
def second_started(monkeypatch):
    """As if torchrun had started this process as the first of two."""
    values = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("second_started")
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["runs"], "naaf runs is one process; start it without torchrun"),
        (["evaluate", "run"], "several processes keep no scores; add --no-scores"),
        (["train", "--data", "d", "--out", "o", "--processes", "3"], "torchrun started 2 processes"),
        (["train", "--data", "d", "--out", "o", "--processes", "0"], "'0' is no number of processes"),
    ],
)
def test_what_several_processes_cannot_do_is_one_sentence(given, sentence, capsys):
    assert main(given) == 2
    (said,) = sentences(capsys.readouterr().err)
    assert sentence in said


def test_batches_that_cannot_be_shared_are_refused():
    settings = preset("scenes", {"train.seed": 0})
    folder.check_shares(3, settings, 3)
    folder.check_shares(1, replace(settings, {"mining.mode": "sequential"}), 1)
    with pytest.raises(UsageError, match="3 processes cannot share a batch of 2 pairs; start at most 2"):
        folder.check_shares(2, settings, 3)
    with pytest.raises(UsageError, match="sequential"):
        folder.check_shares(9, replace(settings, {"mining.mode": "sequential"}), 2)


# ---- the parts


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_are_even_and_in_order(size):
    for rows in range(20):
        shares = Processes(0, size).shares(rows)
        assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
        lengths = [share.stop - share.start for share in shares]
        assert max(lengths) - min(lengths) <= 1
        assert shares[size - 1] == Processes(size - 1, size).share(rows)


def test_the_first_of_equal_rows():
    rows = torch.from_numpy(seeds.rng(1).integers(2, size=(23, 3)))
    expected = [next(k for k in range(23) if torch.equal(rows[k], row)) for row in rows]
    assert first_equal(rows).tolist() == expected


def test_an_image_that_comes_twice_has_the_scores_of_its_first_row():
    """Whatever another process rounds to: a tie stays a tie."""

    class Rounded(Processes):
        def joined(self, own, rows):
            return own

    settings = preset("scenes", {**TINY, "train.seed": 0})
    trainer = loop.Trainer(Model(settings.model, 3, 5), settings, Rounded(0, 2))
    rows = torch.arange(12.0).reshape(4, 3)
    assert trainer._joined(rows, torch.tensor([7, 5, 7, 5])).tolist() == rows[[0, 1, 0, 1]].tolist()


def test_an_encoder_draws_unless_it_says_otherwise():
    assert TextEncoder.draws
    assert not GruEncoder.draws
