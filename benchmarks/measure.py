"""Timing in turns, memory of a process of its own, and what machine this is."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch


def in_turns(jobs: Mapping[str, Callable[[], object]], rounds: int = 3) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, so that a machine's drift meets all of them."""
    for job in jobs.values():
        job()
    _settle()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            _settle()
            seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def _settle() -> None:
    """Wait until a GPU, where one is in use, has done what it was asked to."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
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
