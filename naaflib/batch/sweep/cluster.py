"""Dask workers for a sweep: of this machine, which share its cores, or of a cluster that runs already.

Workers of this machine take orders from this process alone: temporary certificates guard their ports.

dask.distributed is imported only here and where a sweep waits, when they are called.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...errors import NaafError, UsageError
from ...messages import say
from .task import cores

if TYPE_CHECKING:
    from distributed import Client


def check_cluster(workers: int | None, scheduler: str | None, processes: int = 1) -> None:
    """Raises UsageError for both and for too few GPUs, NaafError without Dask or a scheduler's answer."""
    if workers is not None and scheduler is not None:
        raise UsageError("--workers counts workers on this machine; a --scheduler has its own")
    if find_spec("distributed") is None:
        raise NaafError("a sweep needs dask.distributed, which is not installed; pip install distributed")
    if scheduler is not None:
        from ...evaluation.cluster import connect

        connect(scheduler).close()
    else:
        check_gpus(workers, processes)


@contextmanager
def open_cluster(
    workers: int | None, scheduler: str | None, runs: int, processes: int = 1
) -> Iterator[tuple["Client", int | None]]:
    """A client, and the threads of each run (None: for each worker to say). `check_cluster` comes first."""
    if scheduler is not None:
        from ...evaluation.cluster import connect

        with connect(scheduler) as client:
            yield client, None
        return
    from distributed import Client, LocalCluster

    from ...evaluation.tls import temporary_security

    count, threads = worker_threads(workers, runs, processes)
    security = temporary_security()
    if security is None:
        say(
            "warning: other users of this machine can reach the workers and run programs as you, since "
            "nothing here makes certificates; pip install cryptography, or install openssl"
        )
    with _uninterrupted():
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            security=security,
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster) as client:
        say(f"dashboard: {cluster.dashboard_link}")
        yield client, threads


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started here do not see a Ctrl-C, which reaches all of a terminal: the sweep ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def gpus() -> list[str]:
    """The GPUs of this machine that are to be used, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    count = torch.cuda.device_count()
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return given[:count] if any(given) else [str(number) for number in range(count)]


def check_gpus(workers: int | None, processes: int) -> None:
    """Raises UsageError where so many runs at once, each by several processes, need more GPUs than there are.

    Without a GPU the processes share the cores.
    """
    needed, there = (workers or 1) * processes, len(gpus()) if processes > 1 else 0
    if 0 < there < needed:
        raise UsageError(
            f"{workers or 1} runs at once by {processes} processes need {needed} GPUs, and this machine has "
            f"{there}; lower --workers or the file's processes, or hide the GPUs (CUDA_VISIBLE_DEVICES=)"
        )


def worker_threads(workers: int | None, runs: int, processes: int = 1) -> tuple[int, int]:
    """How many workers on this machine and how many threads each; OMP_NUM_THREADS lowers the latter.

    No more workers than runs, so that no core waits. Where several processes train a run, as many workers as
    have a GPU or a core for each process.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}; at least 1 is needed")
    places = len(gpus()) if processes > 1 else 0
    count = min(workers or max(1, (places or cores()) // max(2, processes)), runs)
    if processes > 1 and not places and count * processes > cores():
        say(
            f"warning: {count} runs at once by {processes} processes each share {cores()} cores; with fewer "
            "processes they are as fast"
        )
    threads = max(1, cores() // count)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return count, min(threads, int(limit)) if limit.isdigit() and int(limit) else threads
