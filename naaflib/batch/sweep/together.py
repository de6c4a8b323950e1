"""A run of a sweep trained by several processes: `python -m naaflib.batch.sweep.together` starts them.

It reads their number and the arguments of `naaf` as one line of JSON from standard input. When that closes,
it ends them and itself: nothing trains on when a sweep stops or a worker is killed.
"""

import json
import sys

from ...config import SEED, changed, preset
from ...launcher import PATIENCE, launch
from ...pages.keep import words_from
from ..execution import end_with_parent
from .plan import Plan, Row


def training_arguments(plan: Plan, row: Row) -> dict[str, tuple[str, ...]]:
    """What a job says of a training by several processes; nothing where the notebook trains alone."""
    if plan.spec.processes == 1:
        return {}
    one = row.planned
    own = changed(preset(plan.preset, {SEED: one.seed}), one.settings)
    words = words_from(one.settings, **plan.words)
    training = ["train", "--data", str(plan.data), "--out", str(row.folder), "--preset", plan.preset]
    training += ["--set", f"{SEED}={one.seed}", *(f"{name}={value}" for name, value in own.items())]
    start = [word for name, value in words.items() for word in (f"--{name}", value)]
    return {"training": tuple(training), "start": tuple(start)}


def main() -> int:
    """Read the job, start the processes and wait for them; the exit status."""
    job = json.loads(sys.stdin.readline())
    end_with_parent(PATIENCE)
    return launch(job["processes"], job["arguments"])


if __name__ == "__main__":
    sys.exit(main())
