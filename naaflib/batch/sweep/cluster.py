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


def check_cluster(workers: int | None, scheduler: str | None) -> None:
    """Raises UsageError for both, NaafError where Dask is not installed or the scheduler does not answer."""
    if workers is not None and scheduler is not None:
        raise UsageError("--workers counts workers on this machine; a --scheduler has its own")
    if find_spec("distributed") is None:
        raise NaafError("a sweep needs dask.distributed, which is not installed; pip install distributed")
    if scheduler is not None:
        from ...evaluation.cluster import connect

        connect(scheduler).close()


@contextmanager
def open_cluster(
    workers: int | None, scheduler: str | None, runs: int
) -> Iterator[tuple["Client", int | None]]:
    """A client, and the threads of each run (None: for each worker to say). `check_cluster` comes first."""
    if scheduler is not None:
        from ...evaluation.cluster import connect

        with connect(scheduler) as client:
            yield client, None
        return
    from distributed import Client, LocalCluster

    from ...evaluation.tls import temporary_security

    count, threads = worker_threads(workers, runs)
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


def worker_threads(workers: int | None, runs: int) -> tuple[int, int]:
    """How many workers on this machine and how many threads each; OMP_NUM_THREADS lowers the latter.

    No more workers than runs, so that no core waits.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}; at least 1 is needed")
    count = min(workers or max(1, cores() // 2), runs)
    threads = max(1, cores() // count)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return count, min(threads, int(limit)) if limit.isdigit() and int(limit) else threads
