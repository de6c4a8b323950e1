"""Timing in turns, memory of a process of its own, what machine this is and what others do on it."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

LOADED = 0.1  # share of our cores' time; beside more than that no ratio is given


def in_turns(
    jobs: Mapping[str, Callable[[], object]], rounds: int = 3, competitors: Collection[str] = ()
) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, so that a machine's drift meets all of them.

    competitors: names of jobs that are timed with one thread and with all, of which the faster counts: torch
    shares each operation among its threads, which wait for each other, and a loop of small ones loses by it.
    """
    every = torch.get_num_threads()
    turns = [(name, count) for name in jobs for count in ({1, every} if name in competitors else {every})]
    seconds: dict[tuple[str, int], list[float]] = {turn: [] for turn in turns}
    for measured in [False] + [True] * rounds:
        for name, count in turns:
            with _threads(count):
                started = time.perf_counter()
                jobs[name]()
                _settle()
                if measured:
                    seconds[name, count].append(time.perf_counter() - started)
    return {name: min(median(seconds[turn]) for turn in turns if turn[0] == name) for name in jobs}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """In it torch shares an operation among so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Others:
    """The CPU time that other processes take while a block runs, in cores; Linux, else unknown (None).

    On the cores that this process may use, time that a hypervisor gives to other machines (steal) included.
    """

    cores: float | None = None

    def __enter__(self) -> "Others":
        self.start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        end = self._now()
        if self.start is not None and end is not None:
            wall, busy, own = (b - a for a, b in zip(self.start, end, strict=True))
            self.cores = max(0.0, (busy - own) / wall)

    @property
    def loaded(self) -> bool:
        return self.cores is not None and self.cores > LOADED * len(os.sched_getaffinity(0))

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Seconds: of the clock, of the cores at work, of this process and its finished children."""
        table = Path("/proc/stat")
        if not table.exists():
            return None
        ticks = busy_ticks(table.read_text(), os.sched_getaffinity(0))
        return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def busy_ticks(table: str, cores: Collection[int]) -> int:
    """Ticks at work since the start of the machine, by /proc/stat's lines of these cores."""
    total = 0
    for line in table.splitlines():
        name, *numbers = line.split() or [""]
        if name.removeprefix("cpu") in map(str, cores):
            user, nice, system, _idle, _waiting, *more = (int(number) for number in numbers[:8])
            total += user + nice + system + sum(more)  # more: interrupts, and steal
    return total


def _settle() -> None:
    """Wait until a GPU, where one is in use, has done what it was asked to."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def machine() -> dict[str, object]:
    """What the numbers are measured on, and what others do there for a second before."""
    with Others() as others:
        time.sleep(1)
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "others": others.cores,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "blas": "mkl" if torch.backends.mkl.is_available() else "other",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


class PeakMemory:
    """Anonymous and whole resident memory (bytes) above the start, sampled while a block runs; Linux."""

    def __enter__(self) -> "PeakMemory":
        self.start = self._now()
        self.peak, self.stop = dict(self.start), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.above = {name: self.peak[name] - self.start[name] for name in self.start}

    def _watch(self) -> None:
        while not self.stop.wait(0.02):
            self.peak = {name: max(value, self.peak[name]) for name, value in self._now().items()}

    @staticmethod
    def _now() -> dict[str, int]:
        rows = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return {name: int(rows[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS")}


def seconds_of(arguments: list[str], rounds: int = 5) -> float:
    """Median wall time of a Python process."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return median(times)
