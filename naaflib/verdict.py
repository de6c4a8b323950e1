"""Has a run learnt? Read from its record: settings, history.csv, and the members beside it.

A training that fails does not stop: its scores become all equal, or never part, and it ends as "finished".
The rules, the first that applies is said, and why each is one:

not learnt     the best rsum on dev is near what blind guessing gives
collapsed      in the last epoch a batch finds hardly more of its own pairs than blind guessing; its loss is
               near 2 x margin x batch, which is what equal scores cost
hardly learnt  in the last of two epochs or more a batch finds less than a quarter of its own pairs: a
               training that starts is beyond that in its second epoch
fell back      the last epoch's rsum is less than 70 % of the best: epochs differ by a few percent
differs        the best rsum is less than 85 % of the best member's of the same setting: seeds differ by a few
               percent

Near blind guessing: less than 3 times as much, and less than a tenth of the way from there to the best that
is possible, so that small splits and batches, where guessing often hits, raise no alarm.

A setting that mends it is part of the sentence. Runs made before the columns were kept go by the others.
"""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from .config import SAFE_START, Settings, flat, of_any_seed
from .errors import NaafError
from .metric.retrieval import best_row
from .runs import FINISHED, Run

NEAR_CHANCE = 3.0  # times the chance
NEAR_CHANCE_ROOM = 0.1  # of the room above the chance
HIGHEST_RATE = 1e-3  # that is advised
FEW = 25.0  # percent of a batch's own pairs
FELL_BACK = 0.7  # of the best epoch's rsum
FEW_OF_CHANCE = 30.0  # times the chance: of a large batch fewer are found
DIFFERS = 0.85  # of the best member's rsum


def equal_scores_loss(settings: Settings, pairs: int, epoch: int | None = None) -> float:
    """Loss of a batch of so many pairs of equal scores: the margin for every negative that counts.

    epoch: from 1; within loss.warmup_epochs all negatives count. None: after the warm-up.
    """
    loss = settings.loss
    summed = loss.negatives == "sum" or (epoch is not None and epoch <= loss.warmup_epochs)
    return 2 * loss.margin * pairs * (pairs - 1 if summed else 1)


def verdicts(runs: Sequence[Run]) -> list[str]:
    """A sentence for each run that has not learnt, or lies far below the best of them; none if all is well.

    Runs of one `setting` are compared; others may lie as low as they like. A run with epochs left to train is
    not judged yet.
    """
    return list(_by_run(runs).values())


def verdicts_below(folder: Path) -> dict[Path, str]:
    """`verdicts` of the trained runs at or below a folder, by run folder; members are judged together.

    Runs whose record cannot be read are left out: what opens them says why.
    """
    groups: dict[Path, list[Run]] = {}
    for config in sorted(folder.rglob("config.json")):
        with suppress(NaafError):
            run = Run.open(config.parent)
            group = run.path.parent if run.path.parent.name == "members" else run.path
            groups.setdefault(group, []).append(run)
    return {path: sentence for runs in groups.values() for path, sentence in _by_run(runs).items()}


def setting(run: Run) -> str:
    """What a run was trained with, on and from, as text; of members that differ in their seed the same."""
    data, start = run.config.get("data") or {}, run.config.get("start") or {}
    return json.dumps(
        [run.kind, of_any_seed(run.settings), data.get("files"), start.get("files")], sort_keys=True
    )


def _by_run(runs: Sequence[Run]) -> dict[Path, str]:
    found = [(run, run.best_rsum, setting(run), _alone(run)) for run in runs if _has_ended(run)]
    top: dict[str, float] = {}
    for _, best, group, _ in found:
        top[group] = max(best, top.get(group, best))
    sentences = {}
    for run, best, group, reason in found:
        if not reason and best < DIFFERS * top[group]:
            reason = (
                f"its best rsum on dev is {best:.1f} and another member's {top[group]:.1f}, more than seeds "
                "explain"
            )
        if reason:
            sentences[run.path] = f"{run.name}: {reason}; {_remedy(run.settings)}"
    return sentences


def _has_ended(run: Run) -> bool:
    try:
        return run.state() == FINISHED and not math.isnan(run.best_rsum)
    except NaafError:  # another kind of run, or a damaged one: what opens it says why
        return False


def is_near_chance(value: float, chance: float, most: float) -> bool:
    """Whether a measure of at most `most` is hardly above blind guessing; False for NaN."""
    return bool(value < NEAR_CHANCE * chance and value - chance < NEAR_CHANCE_ROOM * (most - chance))


def _alone(run: Run) -> str:
    """Why a run has not learnt, read from its own record; "" where it has."""
    history, sizes = run.history(), run.config.get("sizes", {})
    best, last = best_row(history), history.iloc[-1]
    chance = float(sizes.get("chance_rsum", math.nan))  # in rsum, on the validation images
    if is_near_chance(best["rsum"], chance, 600.0):
        return (
            f"it has not learnt: its best rsum on dev is {best['rsum']:.1f}, where blind guessing gives "
            f"{chance:.1f}"
        )
    pairs, recall = pairs_a_batch(run), _batch_recall(last)
    equal = equal_scores_loss(run.settings, pairs, int(last["epoch"]))
    if is_near_chance(recall, 100 / pairs, 100.0):
        return (
            f"its training collapsed: in epoch {last['epoch']:.0f} the loss is {last['loss']:.1f}, equal "
            f"scores cost {equal:.1f}, and a batch finds {recall:.1f} % of its own pairs"
        )
    if last["epoch"] > 1 and recall < min(FEW, FEW_OF_CHANCE * 100 / pairs):
        return (
            f"it has hardly learnt: in epoch {last['epoch']:.0f} a batch finds {recall:.1f} % of its own "
            f"pairs, and the loss is {last['loss']:.1f} where equal scores cost {equal:.1f}"
        )
    if last["rsum"] < FELL_BACK * best["rsum"]:
        return (
            f"its training fell back: rsum on dev is {last['rsum']:.1f} in the last epoch and was "
            f"{best['rsum']:.1f} in epoch {best['epoch']:.0f}, which is kept"
        )
    return ""


def _batch_recall(row: pd.Series) -> float:
    """In-batch R@1, percent, mean of both directions; NaN where it was not kept."""
    return float(row.get("batch_i2t_at_1", float("nan")) + row.get("batch_t2i_at_1", float("nan"))) / 2


def pairs_a_batch(run: Run) -> int:
    """Pairs a batch; a train split smaller than the batch makes it smaller."""
    return int(run.config.get("sizes", {}).get("pairs_per_batch", run.settings.train.batch_size))


def _remedy(settings: Settings) -> str:
    """What to train anew with, as settings, or where else the cause may lie."""
    if not SAFE_START.items() <= flat(settings).items():
        advice = " ".join(f"{name}={value}" for name, value in SAFE_START.items())
    else:
        rate = min(settings.train.learning_rate / 4, HIGHEST_RATE)
        advice = (
            f"train.learning_rate={rate:g}, if captions and images do belong together (`naaf data verify`)"
        )
    return f"train anew with {advice}"
