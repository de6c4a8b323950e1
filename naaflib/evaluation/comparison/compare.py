"""Runs and score files of the same images side by side, measured by their scores; one is the baseline."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ...data.npy import open_array
from ...data.splits import split_names
from ...errors import NaafError, UsageError, unknown
from ...files import fingerprint, resolve, shown
from ...metric.retrieval import RetrievalMetrics
from ...runs import Run
from ..evaluate import evaluate
from ..judging.gallery import SAME, Gallery, of_record, open_gallery, recorded
from ..judging.judge import open_matrix, ranked
from ..protocols import default_split, protocol_metrics
from .settings import (
    ScoreFile,
    Variant,
    baseline_first,
    check_seeds,
    find_variants,
    joined_seeds,
    members_apart,
)

SPLITS = ("test", "dev", "testall", "train")


@dataclass(frozen=True, repr=False)
class Comparison:
    """Variants measured on the same images and captions, the baseline first."""

    variants: tuple[Variant, ...]
    protocol: str
    origin: dict  # what the scores are of: data, split, images, captions, captions_per_image
    left_out: tuple[str, ...] = ()  # runs that are not there to be compared, and why
    notes: tuple[str, ...] = ()  # what is odd about score files

    @property
    def baseline(self) -> Variant:
        return self.variants[0]

    @property
    def split(self) -> str:
        return str(self.origin["split"] or "")

    def variant(self, name: str) -> Variant:
        """Raises UsageError for a name that is not compared."""
        found = {variant.name: variant for variant in self.variants}
        if name not in found:
            raise unknown("variant", name, found)
        return found[name]

    def __repr__(self) -> str:
        return f"{self.sentence()}: {', '.join(variant.name for variant in self.variants[1:])}"

    def sentence(self) -> str:
        """What is compared, in one line."""
        remark = "; this split chose the best epochs" if self.split == "dev" else ""
        name = f"{self.origin['data']} {self.split}".strip()
        return (
            f"{name} ({self.origin['images']} images, "
            f"{self.origin['captions']} captions), protocol {self.protocol}, "
            f"differences from {self.baseline.name}{remark}"
        )


def compare_runs(
    sources: Run | str | Path | Sequence[Run | str | Path],
    *,
    data: str | Path | None = None,
    split: str | None = None,
    protocol: str = "full",
    baseline: str | None = None,
    seeds_together: bool = False,
    device: str = "auto",
    benchmark: str | None = None,
) -> Comparison:
    """Two variants or more, measured by their saved scores.

    sources: run folders, groups, folders of groups, sweeps, one or several; of one group alone the members
    are compared. Score files of any model (`judging.formats`) stand beside them, alone or as seeds of one
    setting: "NAME=FILE,FILE". They have to be of the runs' images and captions, in their order; without runs,
    of data's split or of the benchmark.
    data: a run without scores is evaluated on it; None: it is an error. split None: the first of test, dev,
    testall that all are scored on. baseline: a variant's name or a folder; None: the first. seeds_together:
    runs whose settings differ in train.seed alone become one variant.
    Raises NaafError where runs are not scored on the same images and captions, and for less than two.
    """
    protocol = _protocol(benchmark, protocol)
    variants, left_out = find_variants(sources)
    if not (baseline and resolve(baseline).exists()):
        variants = members_apart(variants)
    variants = baseline_first(variants, baseline)
    if seeds_together:
        variants = joined_seeds(variants)
    for variant in variants:
        check_seeds(variant)
    if len(variants) < 2:
        found = f"{variants[0].name} alone" if variants else "none"
        missing = f" ({'; '.join(left_out)})" if left_out else ""
        raise NaafError(
            f"a comparison takes two settings or more, and {found} is there{missing}; "
            "name another run, `naaf runs` lists them"
        )
    runs = [run for variant in variants for run in variant.runs]
    gallery, origin = _common(runs, data, benchmark, split, protocol, device)
    notes: list[str] = []
    metrics = iter([_measured(run, gallery, notes) for run in runs])
    measured = (replace(variant, metrics=tuple(islice(metrics, len(variant.runs)))) for variant in variants)
    return Comparison(tuple(measured), protocol, origin, tuple(left_out), tuple(notes))


compare = compare_runs  # as the command and `naaflib` call it


def _protocol(benchmark: str | None, protocol: str) -> str:
    """A benchmark is a protocol of its own."""
    if benchmark is not None and protocol not in ("full", benchmark):
        raise UsageError(f"benchmark {benchmark} names its protocol; leave --protocol {protocol} out")
    return benchmark or protocol


def _common(
    sources: Sequence[Run],
    data: str | Path | None,
    benchmark: str | None,
    split: str | None,
    protocol: str,
    device: str,
) -> tuple[Gallery, dict]:
    """The images and captions that all are scored on, and what scores of them record.

    Raises NaafError where sources are scored on different ones.
    """
    runs = [run for run in sources if not isinstance(run, ScoreFile)]
    if runs:
        split = split or (default_split(data, protocol) if data else _common_split(runs))
        _check_scored(runs, split, data)
        for run in runs:
            if data is not None and _unusable(run, split):
                evaluate(run, data, split=split, protocol=protocol, device=device)
    known = [(run, about) for run in sources if (about := recorded(run.scores_path(split or ""))) is not None]
    if known and (data is None or runs):
        origin = known[0][1]
        if split not in (None, origin["split"]):
            raise UsageError(f"{shown(known[0][0].path)} holds scores of {origin['split']}, not of {split}")
        gallery = of_record(origin, protocol)
    else:
        asked = None if benchmark else protocol
        gallery = open_gallery(None if benchmark else data, benchmark, split, asked)
        origin = gallery.origin()
    for run, about in known:
        _check_same(sources[0], origin, run, about)
    return gallery, origin


def _common_split(runs: Sequence[Run]) -> str:
    """The first split that most runs are scored on, else dev."""
    scored = {split: sum(run.scores_path(split).is_file() for run in runs) for split in SPLITS}
    return max(SPLITS, key=scored.__getitem__) if any(scored.values()) else "dev"


def _check_scored(runs: Sequence[Run], split: str, data: str | Path | None) -> None:
    """Raises NaafError for scores that are not there and are not to be made."""
    found = [
        (run, why) for run in runs if (why := _unusable(run, split)) and (data is None or not run.is_trained)
    ]
    if not found:
        return
    (run, why), count = found[0], len(found)
    if not run.is_trained:
        raise NaafError(
            f"{shown(run.path)} {why} ({split}) and no checkpoint to make them with; leave it out"
        )
    folder = Path((run.config.get("data") or {}).get("folder") or "DIR")
    if folder.is_dir() and split not in split_names(folder):
        raise UsageError(
            f"{shown(folder)} has no split {split!r}; its splits: {', '.join(split_names(folder))}"
        )
    given = f"--data {shown(folder) if folder.is_dir() else 'DIR'} --split {split}"
    raise NaafError(
        f"{shown(run.path)} {why} ({split}){f', the first of {count} such runs' if count > 1 else ''}: "
        f"`naaf evaluate {shown(run.path)} {given}` makes them, "
        f"or {given} here{' for all of them' if count > 1 else ''}"
    )


def _measured(run: Run, gallery: Gallery, notes: list[str]) -> RetrievalMetrics:
    """By saved scores; what is odd about a score file is added to the notes."""
    path = run.scores_path(gallery.split)
    if not isinstance(run, ScoreFile):
        return protocol_metrics(open_array(path), gallery.protocol, gallery.captions_per_image)
    matrix, done = open_matrix(path, gallery)
    metrics, findings = ranked(matrix, gallery)
    notes += [f"{matrix.name}: {note}" for note in (*done, *findings.notes(metrics, gallery))]
    return metrics


def _unusable(run: Run, split: str) -> str:
    """Why there are no scores to read; empty where there are."""
    path = run.scores_path(split)
    if not os.path.lexists(path) or not os.path.lexists(path.with_suffix(".json")):
        return "has no scores"
    about = recorded(path)
    if about is None:
        return "does not say what its scores are of"
    made = about.get("checkpoint")
    if made and run.is_trained and made != fingerprint(run.checkpoint()):
        return "has scores of an earlier checkpoint"
    return ""


def _check_same(first: Run, origin: dict, run: Run, about: dict) -> None:
    if any(None not in (origin[name], about[name]) and origin[name] != about[name] for name in SAME):
        texts = [
            f"{content['split'] or 'all'} of {content['data']} ({content['images']} images)"
            for content in (origin, about)
        ]
        raise NaafError(
            f"{shown(first.path)} holds scores of {texts[0]} and {shown(run.path)} of {texts[1]}, with other "
            "images or captions; only runs scored on the same ones can be compared"
        )
    products = [content.get("precision", "float32") for content in (origin, about)]
    if products[0] != products[1]:
        raise NaafError(
            f"{shown(first.path)} was scored with a {products[0]} product and {shown(run.path)} with "
            f"{products[1]}; evaluate both with one --precision"
        )
