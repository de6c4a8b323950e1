"""Which runs belong together: the variants that lie in run folders, groups and sweeps.

A variant is one setting with the runs that differ in their seed alone: a run folder, a group (members/), or
the rows of a sweep that have one name. Its weights are trained, or another variant's (`training.variants`).
A saved score matrix of any model stands for a run, and NAME=FILE,FILE for the seeds of a setting.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...config import SEED, changed, of_any_seed
from ...errors import NaafError, UsageError
from ...files import resolve, shown
from ...metric.retrieval import RetrievalMetrics
from ...metric.significance import image_measures
from ...model import checkpoint
from ...runs import SWEEP, TRAIN, Run, member_folders
from ...spreadsheets import read_csv
from ..judging.formats import READERS

ENCODERS = ("model.image_encoder.", "model.text_encoder.")


class ScoreFile(Run):
    """A saved score matrix in the place of a run: it has neither settings nor weights.

    seed: its number among the seeds of one setting.
    """

    def __init__(self, path: Path, seed: int | None = None):
        super().__init__(path, {"kind": "scores"})
        self.seed = seed

    @property
    def name(self) -> str:
        """The file's; of scores/test.npy in a run folder the folder's."""
        return self.path.parents[1].name if self.path.parent.name == "scores" else self.path.stem

    def scores_path(self, split: str) -> Path:
        return self.path


@dataclass(frozen=True)
class Variant:
    """One setting: its runs, and their metrics once they are measured, in the order of their seeds."""

    name: str
    runs: tuple[Run, ...]
    metrics: tuple[RetrievalMetrics, ...] = ()

    @property
    def seeds(self) -> list[int | None]:
        """None for what has no seed of its own, such as an ensemble."""
        return [_seed(run) for run in self.runs]

    @cached_property
    def values(self) -> Float[np.ndarray, "seed image measure"]:
        """In percent; the columns are `metric.MEASURES`."""
        return np.stack([image_measures(metrics) for metrics in self.metrics])

    def counterpart(self, other: "Variant") -> "Variant | None":
        """The other variant's runs of these very trained encoders, seed by seed; None where one has none."""
        place = {seed: k for k, seed in enumerate(other.seeds)}
        if not set(self.seeds) <= set(place):
            return None
        order = [place[seed] for seed in self.seeds]
        runs = tuple(other.runs[k] for k in order)
        if not all(_same_encoders(*pair) for pair in zip(self.runs, runs, strict=True)):
            return None
        return replace(other, runs=runs, metrics=tuple(other.metrics[k] for k in order if other.metrics))


def find_variants(sources: Run | str | Path | Sequence[Run | str | Path]) -> tuple[list[Variant], list[str]]:
    """The variants in folders, in their order, and what was left out with its reason."""
    left_out: list[str] = []
    variants: list[Variant] = []
    for source in [sources] if isinstance(sources, Run | str | Path) else sources:
        name, files = named_files(source)
        if files:
            runs = tuple(ScoreFile(file, k) for k, file in enumerate(files))
            variants.append(Variant(name or runs[0].name, runs))
        else:
            variants += _variants(source.path if isinstance(source, Run) else resolve(source), left_out)
    return _named_apart(variants), left_out


def named_files(source: Run | str | Path) -> tuple[str, list[Path]]:
    """The name and the score files of NAME=FILE,FILE or of one FILE; no files where it is something else."""
    if isinstance(source, Run):
        return "", [source.path] if isinstance(source, ScoreFile) else []
    name, equals, listed = str(source).partition("=")
    if equals and not resolve(source).exists():
        files = [resolve(part.strip()) for part in listed.split(",") if part.strip()]
        wrong = [file for file in files if file.suffix.lower() not in READERS]
        if wrong or not files or not name.strip():
            raise UsageError(
                f"{source} is no NAME=FILE,FILE of score files ({', '.join(READERS)}), such as "
                "mine=seed0.npy,seed1.npy"
            )
        return name.strip(), files
    path = resolve(source)
    return "", [path] if path.suffix.lower() in READERS and not path.is_dir() else []


def _variants(path: Path, left_out: list[str]) -> list[Variant]:
    if (path / SWEEP).is_file():
        return list(_of_sweep(path, left_out))
    if (path / "members").is_dir() and not _scored_or_trained(path):
        runs = _members(path, left_out)
        return [Variant(path.resolve().name, tuple(runs))] if runs else []
    if (path / "config.json").is_file() or not path.is_dir():
        run = Run.open(path)
        return [Variant(run.name, (run,))]
    inner = [child for child in sorted(path.iterdir()) if _is_variant(child)]
    if not inner:
        Run.open(path)  # says what is missing
    return [variant for child in inner for variant in _variants(child, left_out)]


def _is_variant(path: Path) -> bool:
    return (path / "config.json").is_file() or bool(member_folders(path))


def _scored_or_trained(path: Path) -> bool:
    return any(path.glob("scores/*.npy")) or any(path.glob("checkpoints/best.*"))


def _of_sweep(path: Path, left_out: list[str]) -> Iterator[Variant]:
    """Rows of one name are one variant; its folders stand in the table."""
    try:
        kinds = {"variant": str, "folder": str}
        table = read_csv(path / SWEEP, dtype=kinds, keep_default_na=False)[["state", "seed", *kinds]]
    except (ValueError, KeyError):
        raise NaafError(
            f"{shown(path / SWEEP)} is no table of a sweep; `naaf sweep` writes it anew"
        ) from None
    names: dict[str, str] = {}  # of each folder the first variant
    for name, rows in table.groupby("variant", sort=False):
        done = rows[rows["state"] == "done"]
        first = [names.setdefault(folder, str(name)) for folder in done["folder"]]
        if set(first) - {name}:
            left_out.append(f"{name}: the same run as {first[0]}")
            continue
        left_out += [
            f"{row.variant}, seed {row.seed}: {row.state}" for row in rows.itertuples() if row.state != "done"
        ]
        if len(done):
            yield Variant(str(name), tuple(Run.open(path / folder) for folder in done["folder"]))


def _members(path: Path, left_out: list[str]) -> list[Run]:
    """The members of a group that are trained to their end."""
    found = []
    for run in map(Run.open, member_folders(path)):
        reason = _unfinished(run)
        if reason:
            left_out.append(f"{run.name}: {reason}")
        else:
            found.append(run)
    return found


def _unfinished(run: Run) -> str:
    """Why a member is not there to be compared; empty where it is."""
    if not _scored_or_trained(run.path):
        return "not trained"
    done = run.epochs_done
    if run.kind == TRAIN and done is not None and done < run.settings.train.epochs:
        return f"epoch {done} of {run.settings.train.epochs}"
    return ""


def members_apart(variants: list[Variant]) -> list[Variant]:
    """Of one variant alone, its runs beside each other: what a seed changes."""
    if len(variants) != 1:
        return variants
    return [Variant(run.name, (run,)) for run in variants[0].runs]


def check_seeds(variant: Variant) -> None:
    """Raises NaafError where the runs of a variant differ in more than their seed, or not in it."""
    first, *others = variant.runs
    paths = [run.path.resolve() for run in variant.runs]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        raise UsageError(f"{variant.name} names {shown(twice)} twice, which is one seed; name each file once")
    for run in () if isinstance(first, ScoreFile) else others:
        names = [name for name in changed(first.settings, run.settings) if name != SEED]
        if names:
            raise NaafError(
                f"{shown(run.path)} and {shown(first.path)} differ in {', '.join(names)}, so they are no "
                "seeds of one setting; name the runs one by one"
            )
    if len(set(variant.seeds)) < len(variant.runs):
        raise NaafError(
            f"{variant.name} holds two runs of one seed; their spread would be too small: name one"
        )


def joined_seeds(variants: Iterable[Variant]) -> list[Variant]:
    """Variants of equal settings made one; what has no settings stays alone."""
    joined: dict[object, Variant] = {}
    for number, variant in enumerate(variants):
        alone = any("settings" not in run.config for run in variant.runs)
        key = number if alone else tuple(sorted(map(str, of_any_seed(variant.runs[0].settings).items())))
        known = joined.get(key)
        joined[key] = replace(known, runs=known.runs + variant.runs) if known else variant
    return [_in_order_of_seeds(variant) for variant in joined.values()]


def _in_order_of_seeds(variant: Variant) -> Variant:
    """So that seed k of two variants can be the same weights."""
    if len(variant.runs) < 2:
        return variant
    return replace(variant, runs=tuple(sorted(variant.runs, key=lambda run: _seed(run) or 0)))


def _seed(run: Run) -> int | None:
    if isinstance(run, ScoreFile):
        return run.seed
    return run.settings.train.seed if "settings" in run.config else None


def baseline_first(variants: list[Variant], baseline: str | None) -> list[Variant]:
    """The baseline, named or in a folder, before the others. Raises UsageError where there is none."""
    if baseline is None:
        return variants
    first = next((variant for variant in variants if variant.name == baseline), None)
    if first is None:
        found = _in_folder(variants, baseline)
        folders = [run.path.resolve() for run in found.runs]
        same = (v for v in variants if [run.path.resolve() for run in v.runs] == folders)
        first = next(same, found)
    return _named_apart([first, *(variant for variant in variants if variant is not first)])


def _in_folder(variants: list[Variant], baseline: str) -> Variant:
    if not resolve(baseline).exists():
        names = ", ".join(variant.name for variant in variants)
        raise UsageError(f"the baseline {baseline!r} is neither a folder nor one of: {names}")
    found, _ = find_variants([baseline])
    if len(found) != 1:
        raise UsageError(f"the baseline {baseline!r} holds {len(found)} settings; name one of them")
    return found[0]


def _named_apart(variants: list[Variant]) -> list[Variant]:
    """Each name once, else with the folder above. Raises UsageError for a run that is given twice."""
    names = [variant.name for variant in variants]
    result = [
        replace(v, name=f"{_above(v.runs[0].path)}/{v.name}") if names.count(v.name) > 1 else v
        for v in variants
    ]
    names = [variant.name for variant in result]
    twice = next((variant for variant in result if names.count(variant.name) > 1), None)
    if twice:
        raise UsageError(f"{shown(twice.runs[0].path)} is given twice; name each run once")
    return result


def _above(path: Path) -> str:
    """The folder above a run, or above the group that it is a member of."""
    path = path.resolve()
    return path.parents[2].name if path.parent.name == "members" else path.parent.name


def _same_encoders(one: Run, other: Run) -> bool:
    """Whether two runs hold the same trained encoders, whatever their settings are."""
    paths = [run.checkpoint().resolve() for run in (one, other)]
    if paths[0] == paths[1]:
        return True
    if not all(path.is_file() for path in paths):
        return False
    first, second = (_encoders(path) for path in paths)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _encoders(path: Path) -> dict[str, Tensor]:
    tensors, _ = checkpoint.read(path)
    return {name: tensor for name, tensor in tensors.items() if name.startswith(ENCODERS)}
