"""What a run needs before its training goes on: a whole checkpoint, and logs with every row that it counts.

After a power cut, a full disk or a kill the logs are ahead of the last checkpoint, and their last row may be
torn: training cuts them there, and computes the rows again. A row that a checkpoint counts and a log lacks
cannot be made up: the checkpoint before is taken where the logs reach that one, else the run is refused.
"""

from safetensors import safe_open

from ..errors import NaafError
from ..files import put, shown
from ..messages import say
from ..runs import NEWEST, Run, checkpoint_header, checkpoint_progress


def mend(run: Run) -> None:
    """Leave the newest checkpoint that training can go on from as checkpoints/last; say so if it was not it.

    Raises NaafError where there is none.
    """
    reasons = []
    for which in NEWEST:
        try:
            progress = _check(run, which)
            break
        except NaafError as error:
            if run.checkpoint(which).is_file() or not reasons:
                reasons.append(error)
    else:
        raise run.lost(reasons[-1])
    if which != "last":
        what = str(reasons[0]).partition(";")[0]
        say(f"{what}; training goes on from the checkpoint before, at step {progress['step']}")
        put(run.checkpoint(which), run.checkpoint("last"))
    lacks = set(range(progress["epoch"])) - {*run.sample_files()} if progress["step"] else ()
    if lacks:
        say(f"warning: {shown(run.path / 'samples')} lacks epoch {min(lacks)}: its figure cannot be drawn")


def _check(run: Run, which: str) -> dict:
    """Where a checkpoint stands. Raises NaafError where a run cannot go on from it as if undisturbed."""
    path = run.checkpoint(which)
    progress = checkpoint_progress(path)
    with safe_open(path, framework="np") as file:
        kinds = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118  # no mapping
    stepped = progress["step"] and "scaler" not in progress  # fp16 may have left out every step so far
    needed = ("model", "random", *(("optimizer",) if stepped else ()))
    lacks = next((kind for kind in needed if kind not in kinds), None)
    if lacks:
        raise NaafError(f"{shown(path)} holds no state of its {lacks}, without which training cannot go on")
    done = progress["epoch"] - 1
    run.first_rows("steps.csv", progress["step"])
    run.first_rows("history.csv", done)
    if done:
        checkpoint_header(run.checkpoint("best"))
    return progress
