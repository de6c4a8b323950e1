"""Work shared among threads, each of which computes on one core.

torch shares one operation at a time among its threads, which then wait for each other after every one. A
thread that computes a whole block alone waits for nobody, and what it computes does not depend on how many
there are.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Job = TypeVar("Job")


def in_threads(work: Callable[[Job], object], jobs: Sequence[Job]) -> None:
    """Call work on every job, on as many threads as torch may use here; the first error is raised."""
    threads = torch.get_num_threads()
    if threads == 1:
        for job in jobs:
            work(job)
    else:
        for _ in _pool(threads).map(work, jobs):
            pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose torch operations stay on their own core.

    torch keeps a number of threads for each thread, and gives a new one the number that was set last.
    """
    started = Barrier(threads + 1)

    def alone() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # from now on it is this thread's own
        started.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="scoring", initializer=alone)
    for _ in range(threads):
        pool.submit(lambda: None)
    started.wait()
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has no threads but its own
