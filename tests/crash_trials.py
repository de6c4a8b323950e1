"""Disturbs real trainings again and again, without the type checks of the tests; the counts, as JSON.

python tests/crash_trials.py DATA FOLDER states BEFORE | signals NAMES COUNT SEED | full
full: in a mount namespace of its own (unshare -rm), where FOLDER becomes a small disk.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import seeds
from crash_run import CHANGES, bits, dead_process, of_another_process, recorded, train
from crash_states import crash_states, write_tree

from naaflib import files
from naaflib.cli import main

SENTENCE = {"SIGINT": ("interrupted", 130), "SIGTERM": ("terminated", 143)}


def command(data: Path, out: Path, resume: bool) -> list[str]:
    values = [f"{name}={value}" for name, value in CHANGES.items()]
    start = ["naaf", "train", "--data", str(data), "--out", str(out), "--preset", "scenes"]
    return [*start, "--set", *values, "--device", "cpu", *(["--resume"] if resume else [])]


class Child:
    """`naaf train` in a process of its own; a fork, because torch takes seconds to import."""

    def __init__(self, data: Path, out: Path, resume: bool):
        self.said = data.parent / f"said-{os.getpid()}.txt"
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        self.process = os.fork()
        if self.process == 0:
            self.run(command(data, out, resume))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def run(self, words: list[str]) -> None:
        status = 99  # a signal outside main
        try:
            handle = os.open(self.said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.argv = words
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
            status = main()
        except SystemExit as end:
            status = end.code
        except KeyboardInterrupt:
            pass
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def text(self) -> str:
        """What it said, without progress bars."""
        return re.sub(r"[^\n]*\r", "", self.said.read_text(errors="replace"))


def expect(right: object, child: Child, what: object) -> None:
    if not right:
        raise SystemExit(f"{what}\n{child.text()}")


def signals(data: Path, folder: Path, names: list[str], count: int, seed: int) -> Counter:
    """Signals at random moments, and the command that it advises again, until the run is whole."""
    folder.mkdir(parents=True)
    whole, rng = bits(train(data, folder / "whole")), seeds.rng(seed)
    counts, out, resume = Counter(), folder / "run", False
    started = time.perf_counter()
    first = Child(data, folder / "timed", False)
    expect(first.wait() == 0, first, "an undisturbed command")
    seconds = time.perf_counter() - started
    for number in range(count):
        name = names[number % len(names)]
        child = Child(data, out, resume)
        time.sleep(rng.uniform(0, 1.1 * seconds))
        os.kill(child.process, getattr(signal, name))
        status, text = child.wait(), child.text()
        counts[name] += 1
        if status == 0:  # it was done
            expect(bits(out) == whole, child, "other bits")
            counts["whole runs"] += 1
            shutil.rmtree(out)
            resume = False
        elif name == "SIGKILL":
            expect(status == -signal.SIGKILL, child, status)
            resume = (out / "config.json").is_file()
        elif status == 99 or (status == -signal.SIGTERM and not text):  # before main listens, or after it
            counts["outside"] += 1
        else:
            word, wanted = SENTENCE[name]
            told = [line for line in text.splitlines() if line.startswith("naaf: ")]
            expect(status == wanted and len(told) == 1 and "Traceback" not in text, child, status)
            expect(told[0].startswith(f"naaf: {word}; "), child, told)
            resume = "--resume" in told[0] or (resume and "run it again" in told[0])
            counts["resumed" if resume else "begun again"] += 1
    return counts


def full(data: Path, folder: Path) -> Counter:
    """A disk of every size that is too small; then there is room, and the command is run that is advised."""
    whole, counts, folder = bits(train(data, folder / "whole")), Counter(), folder / "disk"
    folder.mkdir()
    for pages in range(1, 1000):
        size = f"size={4 * pages}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
        out = folder / "run"
        child = Child(data, out, False)
        status, text = child.wait(), child.text()
        if status:
            counts["full disks"] += 1
            told = [line for line in text.splitlines() if line.startswith("naaf: ")]
            expect(status == 1 and len(told) == 1 and "Traceback" not in text, child, status)
            expect("No space left on device" in told[0] and "partial" not in told[0], child, told)
            named = Path(told[0].removeprefix("naaf: ").partition(": ")[0])
            expect(named.is_relative_to(out) and named != out, child, told)
            counts[named.name if named.parent == out else named.parent.name] += 1
            subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
            again = Child(data, out, "--resume" in told[0])
            expect(again.wait() == 0, again, told)
        expect(bits(out) == whole, child, "other bits")
        subprocess.run(["umount", folder], check=True)
        if status == 0:
            return counts
    return counts


def states(data: Path, folder: Path, before: str) -> Counter:
    """Every state that a power cut may leave of a training from a start (see crash_run)."""
    folder.mkdir(parents=True)
    whole, dead, counts = bits(train(data, folder / "whole")), dead_process(), Counter()
    for tree in crash_states(recorded(data, folder / "recorded", before)):
        place = folder / "state"
        write_tree({of_another_process(name, dead): content for name, content in tree.items()}, place)
        if bits(train(data, place / "run")) != whole:
            raise SystemExit(f"other bits from {sorted(tree)}")
        shutil.rmtree(place)
        counts["states"] += 1
    return counts


if __name__ == "__main__":
    files.FLUSH = False  # none of these takes what a process has written
    data, folder, kind, *more = sys.argv[1:]
    data, folder = Path(data), Path(folder).resolve()
    if kind == "signals":
        found = signals(data, folder, more[0].split(","), int(more[1]), int(more[2]))
    elif kind == "states":
        found = states(data, folder, more[0])
    else:
        folder.mkdir(parents=True, exist_ok=True)
        found = full(data, folder)
    print(json.dumps(found))
