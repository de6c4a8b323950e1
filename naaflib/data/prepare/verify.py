"""Is a data set folder whole? Every check in one report, and what to do about what is wrong.

Written here, because no library checks the SCAN layout.
"""

import os
from itertools import combinations
from pathlib import Path

from ...errors import NaafError
from ...files import read_json, read_text, shown
from ...messages import progress_bar
from ..manifest import SPLIT_FILES, SPLITS, Manifest, find_manifest, layout_path
from ..vocabulary import Vocabulary
from .report import CheckLog, Report
from .split_checks import SplitChecks

BETWEEN = "all"  # the split column of checks that belong to no single split


def verify(folder: str | os.PathLike[str], *, quick: bool = False, progress: bool = False) -> Report:
    """Check a folder against its manifest, or against the generic layout where it has none.

    All feature values are read, block by block; `quick` reads 512 rows of each split and no checksums.
    Damage never raises: it stands in the report. A NaafError says that there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NaafError(f"{shown(folder)}: no such folder; give the one that holds the data set's files")
    log = CheckLog(BETWEEN)
    manifest, name = _manifest(log, folder)
    if manifest.kind == "benchmark":
        _listed_files(log, folder, manifest)
        if not quick:
            _checksums(log, folder, manifest, progress)
        return Report(folder, name, log.checks)
    jobs = []
    for split in _splits(folder, manifest):
        jobs.append(job := SplitChecks(folder, split, manifest, quick=quick, progress=progress))
        job.run(opens=not log.failed)  # without its manifest no split opens
    _presence(log, folder, manifest, jobs)
    _across(log, folder, jobs)
    if not quick:
        _checksums(log, folder, manifest, progress)
    _vocabularies(log, folder, manifest)
    return Report(folder, name, [*(check for job in jobs for check in job.log.checks), *log.checks])


def _manifest(log: CheckLog, folder: Path) -> tuple[Manifest, str]:
    """The manifest to check against; a damaged one becomes a failed check, and the generic layout serves."""
    generic = Manifest(name=folder.name or "generic")
    if manifest := log.read("manifest", "readable", find_manifest, folder):
        return manifest, manifest.name
    return generic, f"{'damaged' if log.failed else 'none'}, the generic layout"


def _splits(folder: Path, manifest: Manifest) -> list[str]:
    """Splits that the manifest requires or of which any file is there."""
    required = [split for split, counts in manifest.splits.items() if counts.required]
    known = dict.fromkeys((*SPLITS, *manifest.splits))
    present = [s for s in known if any(os.path.lexists(layout_path(folder, s, role)) for role in SPLIT_FILES)]
    return [split for split in known if split in required or split in present]


def _presence(log: CheckLog, folder: Path, manifest: Manifest, jobs: list[SplitChecks]) -> None:
    if not jobs:
        remedy = "no split is here; a data set has train_ims.npy, train_caps.txt and so on"
        log.add("splits", False, "at least one", "none", folder, remedy)
    for split in (split for split in manifest.splits if split not in [job.split for job in jobs]):
        remedy = f"nothing can be computed on {split}"
        log.add(f"split {split}", None, "optional", "not there", folder, remedy)
    for file in manifest.concrete_files():
        if file.split is None and file.required:
            path, remedy = folder / file.path, f"missing; manifest {manifest.name} requires it"
            found = "present" if path.exists() else "missing"
            log.add(file.role, path.exists(), file.path, found, path, remedy)


def _listed_files(log: CheckLog, folder: Path, manifest: Manifest) -> None:
    """A benchmark's files: there, and text or JSON as their names say."""
    for file in manifest.concrete_files():
        path = folder / file.path
        if not path.is_file():
            remedy = f"missing; naaf data fetch {manifest.name}"
            log.add(file.path, False if file.required else None, "a file", "missing", path, remedy)
            continue
        reader, form = (read_json, "JSON") if path.suffix == ".json" else (read_text, "UTF-8 text")
        if log.read(file.path, form, reader, path) is not None:
            log.add(file.path, True, form, f"{path.stat().st_size:,} bytes", path)


def _across(log: CheckLog, folder: Path, jobs: list[SplitChecks]) -> None:
    """What holds between splits: one feature space, and no image in two of them (test is part of testall)."""
    for axis, what in ((1, "regions"), (2, "dim")):
        sizes = {job.split: job.features.shape[axis] for job in jobs if job.features is not None}
        if len(sizes) > 1:
            text = ", ".join(f"{split} {size}" for split, size in sizes.items())
            remedy = f"{what} differ between splits ({text}); all must come from one extractor"
            log.add(f"{what} of all", len(set(sizes.values())) == 1, "equal", text, folder, remedy)
    for one, other in combinations(jobs, 2):
        shared = set(one.names) & set(other.names)
        if shared and {one.split, other.split} != {"test", "testall"}:
            pair = f"{one.split} and {other.split}"
            remedy = f"{pair} share images such as {min(shared)}; results on them flatter"
            log.add("shared images", None, "none", f"{len(shared)} in {pair}", folder, remedy)


def _checksums(log: CheckLog, folder: Path, manifest: Manifest, progress: bool) -> None:
    import pooch

    known = [file for file in manifest.concrete_files() if file.sha256 and (folder / file.path).is_file()]
    for file in progress_bar(known, desc="checksums", disable=not (known and progress)):
        found = pooch.file_hash(str(folder / file.path), alg="sha256")
        remedy = "not the file that the manifest describes; `naaf data fetch` or get it again"
        what, expected = f"sha256 of {file.path}", str(file.sha256)
        log.add(what, found == expected, expected[:12], found[:12], folder / file.path, remedy)


def _vocabularies(log: CheckLog, folder: Path, manifest: Manifest) -> None:
    """Any vocabulary JSON beside the data must be one that training and checkpoints can use."""
    named = [folder / f"{name}.json" for name in (folder.name, manifest.name)]
    for path in sorted({path for path in (*folder.glob("*vocab*.json"), *named) if path.is_file()}):
        what = f"vocabulary {path.name}"
        if vocabulary := log.read(what, "readable", Vocabulary.read, path):
            log.add(what, True, "readable", f"{len(vocabulary)} words", path)
