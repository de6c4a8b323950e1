"""Scoring on a real Dask cluster, a scheduler and two worker processes on loopback: one process's result."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import seeds
from distributed import Client

from naaflib import open_split
from naaflib.config import Settings, model_settings
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import arithmetic, cluster, evaluate, protocols
from naaflib.evaluation.cluster import Source, clustered_metrics, connect
from naaflib.evaluation.encoding import encode_split
from naaflib.evaluation.scores import streamed_metrics
from naaflib.files import read_json
from naaflib.model import checkpoint
from naaflib.model.model import Model
from naaflib.runs import Run
from naaflib.similarity.boundary import Boundaries

IMAGES, TILE = 600, 200


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clustered")
    write_split(folder, "train", 11)
    return write_split(folder, "test", IMAGES)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    words = Vocabulary.build(open_split(data, "train").captions, 1)
    seeds.manual_seed(0)
    model = Model(model_settings(dim=7, word_dim=5), 11, len(words), words)
    model.boundary = Boundaries(0.2, 0.15)
    path = tmp_path_factory.mktemp("runs") / "run"
    settings = Settings(model=model.settings, train={"seed": 0}).model_dump()
    run = Run.create(path, "train", settings=settings, data={"folder": str(data)})
    checkpoint.save(run.checkpoint("best"), model, {})
    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Processes of its own on loopback; nothing is left when the block ends."""

    def __init__(self, folder):
        self.folder, self.address, self.workers = folder, f"tcp://127.0.0.1:{free_port()}", []

    def __enter__(self):
        self.scheduler = self._start(
            "dask_scheduler", "--port", self.address.rpartition(":")[2], "--no-dashboard"
        )
        return self

    def add_worker(self, **environment):
        where = ("--local-directory", str(self.folder), "--name", f"worker{len(self.workers)}")
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", *where)
        worker = self._start("dask_worker", self.address, *options, **environment)
        self.workers.append(worker)
        return worker

    def _start(self, module, *arguments, **environment):
        log = (self.folder / f"{module}{len(self.workers)}.log").open("wb")
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--host", "127.0.0.1"]
        with log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **environment}
            )

    def __exit__(self, *_):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("dask")) as started:
        started.add_worker(), started.add_worker()
        with connect(started.address, patience=60) as client:
            client.wait_for_workers(2, timeout=300)
        yield started


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """worker0 computes as this process does, worker1 with the least instructions and without the kernels."""
    with Cluster(tmp_path_factory.mktemp("mixed")) as started:
        started.add_worker()
        other = "AVX2" if os.environ.get("MKL_CBWR") == "COMPATIBLE" else "COMPATIBLE"
        started.add_worker(ATEN_CPU_CAPABILITY="default", MKL_CBWR=other, NAAF_FUSED="0")
        with connect(started.address, patience=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield started


@pytest.fixture(scope="module")
def alone(run, data, tmp_path_factory):
    return evaluate(run, data, out=tmp_path_factory.mktemp("alone"), top=3)


def assert_same(found, expected):
    for way in ("i2t", "t2i"):
        ours, theirs = getattr(found, way), getattr(expected, way)
        np.testing.assert_array_equal(ours.ranks, theirs.ranks)
        np.testing.assert_array_equal(ours.best.answers, theirs.best.answers)
        np.testing.assert_array_equal(ours.best.scores, theirs.best.scores)


def assert_same_but_for_rounding(found, alone, split):
    scores, image = alone.scores.astype("f8"), split.image_of_caption
    own = scores[image, np.arange(len(image))]
    wrong = image != np.arange(len(split))[:, None]
    rounding = 1e-5  # float32, beside scores of about 1
    for way, reached, axis in (("i2t", own.reshape(-1, 5).max(axis=1)[:, None], 1), ("t2i", own, 0)):
        ranks, best = getattr(found, way).ranks, getattr(found, way).best
        assert (ranks >= (wrong & (scores >= reached + rounding)).sum(axis=axis)).all()
        assert (ranks <= (wrong & (scores >= reached - rounding)).sum(axis=axis)).all()
        np.testing.assert_allclose(best.scores, getattr(alone.metrics, way).best.scores, atol=rounding)


def test_a_cluster_s_result_is_one_process_s_result(running, run, data, alone, tmp_path):
    found = evaluate(run, data, out=tmp_path / "out", scheduler=running.address, top=3)
    assert found.scores is None
    assert_same(found.metrics, alone.metrics)
    assert read_json(tmp_path / "out" / "metrics" / "test.full.json") == alone.record()


def test_tiles_and_folds_change_nothing(running, run, data, alone, monkeypatch):
    split = open_split(data, "test")
    source = Source.of(run.path, split)
    tiled = clustered_metrics(running.address, source, split, top=3, tile=TILE, progress=False)
    assert_same(tiled, alone.metrics)
    monkeypatch.setitem(protocols.PROTOCOL_IMAGES, "coco-1k", IMAGES)
    monkeypatch.setattr(protocols, "FOLD", TILE)
    folded = clustered_metrics(running.address, source, split, protocol="coco-1k", top=3, progress=False)
    assert_same(folded, protocols.protocol_metrics(alone.scores, "coco-1k", top=3))


def test_a_float64_model_is_counted_in_float64(running, run, data, tmp_path):
    model, split = checkpoint.load_checkpoint(run.path).double(), open_split(data, "test")
    checkpoint.save(tmp_path / "double.safetensors", model, {})
    source = Source.of(tmp_path / "double.safetensors", split)
    found = clustered_metrics(running.address, source, split, top=3, tile=TILE, progress=False)
    assert_same(found, streamed_metrics(model, encode_split(model, split), top=3, progress=False))


def test_a_worker_that_dies_loses_nothing(running, run, data, alone, monkeypatch):
    split = open_split(data, "test")
    victim = running.add_worker()
    with connect(running.address) as client:
        client.wait_for_workers(3, timeout=300)
    counted = []

    def kill_at_the_second(counter, counts, merge=cluster.RankCounter.merge):
        counted.append(counts)
        if len(counted) == 2:
            os.kill(victim.pid, signal.SIGKILL)
        merge(counter, counts)

    monkeypatch.setattr(cluster.RankCounter, "merge", kill_at_the_second)
    source = Source.of(run.path, split)
    found = clustered_metrics(running.address, source, split, top=3, tile=TILE, progress=False)
    assert victim.wait() == -signal.SIGKILL
    assert len(counted) == 9
    # Another worker's memory may lie otherwise, and its products round otherwise: seen once in many runs.
    assert_same_but_for_rounding(found, alone, split)


@pytest.mark.parametrize("of_own", [0, 1])
def test_a_worker_s_last_bits_move_no_rank_past_a_real_difference(
    mixed, run, data, alone, of_own, monkeypatch
):
    """One worker computes the own scores and the other every tile: ranks lie where rounding lets them."""

    def submit(client, work, *arguments, submit=Client.submit, **how):
        if work in (cluster._own_scores, cluster._counts):
            worker = of_own if work is cluster._own_scores else 1 - of_own
            how["workers"] = [f"worker{worker}"]
        return submit(client, work, *arguments, **how)

    monkeypatch.setattr(Client, "submit", submit)
    split = open_split(data, "test")
    found = clustered_metrics(
        mixed.address, Source.of(run.path, split), split, top=3, tile=TILE, progress=False
    )
    assert_same_but_for_rounding(found, alone, split)
    image = split.image_of_caption
    assert (image[found.i2t.top1] == np.arange(len(split)))[found.i2t.ranks == 0].all()
    assert (found.t2i.top1 == image)[found.t2i.ranks == 0].all()


def test_workers_of_different_arithmetic_are_one_line(mixed, running, run, data, capsys):
    split = open_split(data, "test")
    source = Source.of(run.path, split)
    clustered_metrics(running.address, source, split, progress=False)
    assert capsys.readouterr().err == ""
    clustered_metrics(mixed.address, source, split, progress=False)
    error = capsys.readouterr().err
    assert error.startswith("the workers differ in ")
    assert "MKL (MKL_CBWR=COMPATIBLE, " in error or "MKL (MKL_CBWR=AVX2, " in error
    assert "torch" not in error  # that they share
    assert error.count("\n") == 1


def test_a_mixture_is_named_by_what_differs_alone():
    alike = {"device": "cpu", "instruction set": "AVX2", "torch": "2.13.0"}
    other = {**alike, "instruction set": "AVX512"}
    assert arithmetic.mixture([alike, dict(alike)]) is None
    assert arithmetic.mixture([]) is None
    sentence = arithmetic.mixture([other, alike, other])
    assert sentence.startswith("the workers differ in instruction set (AVX2, AVX512): ")
    assert arithmetic.arithmetic("cpu") == arithmetic.arithmetic("cpu")
    assert all(isinstance(value, str) for value in arithmetic.arithmetic("cpu").values())


@pytest.mark.parametrize("whose", ["scheduler", "worker"])
def test_another_naaflib_on_the_cluster_is_one_sentence(run, data, tmp_path, whose):
    """The scheduler imports from the folder where it starts; the worker does not, or is told of another."""
    other = tmp_path if whose == "scheduler" else tmp_path / "other"
    environment = {"PYTHONSAFEPATH": "1"} if whose == "scheduler" else {"PYTHONPATH": str(other)}
    (other / "naaflib").mkdir(parents=True)
    (other / "naaflib" / "__init__.py").touch()
    split = open_split(data, "test")
    with Cluster(tmp_path) as started:
        started.add_worker(**environment)
        with connect(started.address, patience=60) as client:
            client.wait_for_workers(1, timeout=60)
        with pytest.raises(NaafError, match=f"{whose} .*; install the same naaflib there") as refused:
            clustered_metrics(started.address, Source.of(run.path, split), split, progress=False)
    assert "\n" not in str(refused.value)


def test_what_workers_do_not_see_alike_is_one_sentence(running, run, data, monkeypatch):
    split = open_split(data, "test")
    source = Source.of(run.path, split)
    path, _ = source.files[1]
    other = Source(**{**vars(source), "files": ((path, "another"),)})
    with pytest.raises(NaafError, match=r"does not see the same .*test_ims\.npy") as refused:
        clustered_metrics(running.address, other, split, progress=False)
    assert "\n" not in str(refused.value)


def test_a_model_in_memory_cannot_be_sent(running, run, data):
    model = checkpoint.load_checkpoint(run.path)
    with pytest.raises(UsageError, match="workers read the model from its run or checkpoint"):
        evaluate(model, data, scheduler=running.address)


def test_a_scheduler_that_does_not_answer_is_one_sentence(running):
    started = time.monotonic()
    with pytest.raises(NaafError, match=r"no scheduler answers at tcp://127\.0\.0\.1:\d+ within 0\.5 s"):
        connect(f"tcp://127.0.0.1:{free_port()}", patience=0.5)
    assert time.monotonic() - started < 120
    with socket.socket() as deaf:  # something else listens there
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(NaafError, match="no scheduler answers"):
            connect(f"tcp://127.0.0.1:{deaf.getsockname()[1]}", patience=0.5)
    with connect(running.address) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
    with pytest.raises(NaafError, match="answers a worker, not the scheduler"):
        connect(worker)


@pytest.mark.parametrize("address", ["", "tcp://", "hello", "tcp://127.0.0.1:port", "abacus://x:1"])
def test_what_is_no_address_is_one_sentence(address):
    with pytest.raises(UsageError, match="is not a scheduler's address"):
        connect(address)


def test_without_dask_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NaafError, match=r"needs dask\.distributed, which is not installed"):
        connect("tcp://127.0.0.1:8786")


def test_a_scheduler_without_workers_is_one_sentence(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    split = open_split(data, "test")
    with Cluster(tmp_path) as started:
        connect(started.address, patience=60).close()
        with pytest.raises(NaafError, match="has no workers; `dask worker tcp://"):
            clustered_metrics(started.address, Source.of(run.path, split), split)
