"""Ensembles: the mean of score matrices that are of the same split, images and captions."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.splits import Split, open_split
from ..errors import NaafError, UsageError
from ..files import atomic_path, read_json, resolve, shown, write_json
from ..messages import say
from ..model.checkpoint import data_folder
from ..runs import Run, as_paths, members
from .evaluate import Evaluation, evaluate, save_evaluation, scored_split
from .judging.formats import READERS
from .judging.gallery import Gallery
from .judging.judge import open_matrix
from .protocols import check_protocol, default_split, protocol_metrics


def ensemble(
    sources: Run | str | Path | Sequence[Run | str | Path],
    *,
    data: str | Path | None = None,
    split: str | None = None,
    protocol: str = "full",
    out: str | Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """The mean of the members' score matrices, measured.

    sources: runs (their saved scores are used, and made where they are missing) or score files; a folder
    with members/, also alone, stands for its members. data: the folder; None: the first run's. Raises
    NaafError for fewer than two members and for members that were not scored on the same split, images and
    captions.
    """
    found = ensemble_members(sources)
    if len(found) < 2:
        raise UsageError("an ensemble needs at least two members")
    _check_distinct(found)
    folder = _ensemble_data(data, found)
    opened = open_split(folder, split or default_split(folder, protocol))
    check_protocol(protocol, len(opened))
    total, methods = None, set()
    for member in found:
        scores = _member_scores(member, opened, device)
        total = scores.astype(np.float64) if total is None else total + scores
        methods.add(member.settings.model.method if isinstance(member, Run) else "saved scores")
    mean = (total / len(found)).astype(np.float32)
    metrics = protocol_metrics(mean, protocol, opened.captions_per_image)
    names = tuple(shown(path) for path in as_paths(found))
    method = f"ensemble of {len(found)} ({', '.join(sorted(methods))})"
    result = Evaluation(mean, metrics, protocol, opened, method, names)
    if out is not None:
        run = _ensemble_run(resolve(out), result)
        path = run.scores_path(opened.name)
        with atomic_path(path) as partial:
            np.save(partial, mean)
        write_json(path.with_suffix(".json"), scored_split(opened))
        save_evaluation(run, result)
    return result


def ensemble_members(sources: Run | str | Path | Sequence[Run | str | Path]) -> list[Run | Path]:
    """The runs, and the files of saved scores, that sources stand for. Raises NaafError for anything else."""
    groups = ([path] if path.suffix in READERS else members(path) for path in as_paths(sources))
    return [member for group in groups for member in group]


def _check_distinct(found: Sequence[Run | Path]) -> None:
    """A member twice would weigh twice. Raises UsageError."""
    paths = [path.resolve() for path in as_paths(found)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        raise UsageError(f"{shown(twice)} is a member twice; name each member once")


def _ensemble_run(out: Path, result: Evaluation) -> Run:
    """A run folder of its own that names its members; one that is there must be an ensemble."""
    if (out / "config.json").is_file():
        run = Run.open(out)
        if run.kind != "ensemble":
            raise NaafError(
                f"{shown(out)} holds a run of kind {run.kind!r}; take another --out for the ensemble"
            )
        run.update(members=list(result.members))
        return run
    return Run.create(out, "ensemble", members=list(result.members), data=scored_split(result.split))


def _ensemble_data(data: str | Path | None, found: Sequence[Run | Path]) -> Path:
    first = next((member for member in found if isinstance(member, Run)), None)
    if data is None and first is None:
        raise UsageError("saved score files do not name their data set; add --data DIR")
    return data_folder(first, data)


def _member_scores(member: Run | Path, split: Split, device: str) -> np.ndarray:
    """A member's scores of the split, from its file; a run without one is evaluated."""
    if isinstance(member, Run):
        return evaluate(member, split.folder, split=split.name, device=device, reuse=True).scores
    path = member
    if not path.is_file():
        raise NaafError(f"{shown(path)} is missing; `naaf evaluate` writes a run's scores")
    expected = scored_split(split)
    record = path.with_suffix(".json")
    about = read_json(record) if os.path.lexists(record) else None
    if isinstance(about, dict) and any(
        about.get(key) != expected[key] for key in ("split", "captions_sha256")
    ):
        raise NaafError(
            f"{shown(path)} holds scores of split {about.get('split')!r} of {about.get('data')!r}, not of "
            f"{split.name!r} of {shown(split.folder)}; the members of an ensemble share images and captions"
        )
    gallery = Gallery(f"{split.name} of {shown(split.folder)}", len(split), split.captions_per_image, "full")
    matrix, notes = open_matrix(path, gallery)
    for note in notes:
        say(f"{matrix.name}: {note}")
    return matrix.block(slice(0, len(split)), slice(0, len(split.captions)))
