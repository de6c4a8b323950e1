"""A picture that is not in the index, described as the indexed pictures were."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..data.extract.base import GRID, Extractor
from ..data.extract.registry import open_extractor
from ..data.pictures import large_pictures, read_upright
from ..errors import NaafError
from ..files import missing, shown
from .index import Part


def described(path: Path, parts: Sequence[Part], features: str | None = None) -> Tensor:
    """Features (1, region, dim) of a picture by the extractor that the parts record.

    features: how the extractor is named now (transformers:FOLDER, onnx:FILE); None: as it is recorded, which
    is enough for pixels and for a model on the hub. Raises NaafError where a part does not record what
    made its features, or the parts do not agree; where the extractor is not the recorded one; and for a file
    that is no picture.
    """
    if path.is_dir():
        raise NaafError(f"{shown(path)} is a folder; give one picture file")
    if not path.is_file():
        raise NaafError(missing(path))
    wanted = _recorded(parts)
    try:
        with large_pictures():
            picture = read_upright(path)
    except ValueError as error:
        raise NaafError(f"{shown(path)}: {error}; give another picture") from None
    extractor = open_recorded(wanted, features, "the indexed pictures", "--features")
    return torch.from_numpy(extractor([picture])[0]).float()


def open_recorded(
    wanted: Mapping[str, str | int | float | None], features: str | None, of: str, option: str
) -> Extractor:
    """The extractor of a record. features: as in `described`; of, option: what it described, and how a user
    names it, for the errors. Raises NaafError where it is not the recorded one.
    """
    name, grid = str(wanted["extractor"]), wanted.get("grid")
    kind = name.partition(":")[0]
    if features is None and wanted["revision"] is None:  # a file or folder, recorded by its base name
        raise NaafError(
            f"{of} were described by {name}, a model of your own; {option} {kind}:PLACE says where it is now"
        )
    another = f"{features or name} is not the {name} that described {of}"
    if features and features.partition(":")[0] != kind:
        raise NaafError(f"{another}; give {option} the one that did")
    extractor = open_extractor(features or name, GRID if grid is None else int(grid))
    if (sure := wanted.get("min_score")) is not None:
        extractor.keep_sure(float(sure))
    found = extractor.record()
    for key in ("sha256", "revision", "preprocessing"):
        if found[key] != wanted[key] and not (key == "revision" and wanted["sha256"]):
            other = f"its {key} is {found[key]}, recorded is {wanted[key]}"
            raise NaafError(f"{another}: {other}; give {option} the one that did")
    return extractor


def _recorded(parts: Sequence[Part]) -> dict[str, str | int | float | None]:
    records = [part.features for part in parts]
    for part, record in zip(parts, records, strict=True):
        if record is None:
            raise NaafError(
                f"a new picture cannot be described as those of {shown(part.data)} were: their features were "
                "not made by naaf data extract; ask with a picture of the index"
            )
        if record != records[0]:
            raise NaafError(
                f"{shown(part.data)} and {shown(parts[0].data)} have features of different extractors; index "
                "one of them alone to ask with a new picture"
            )
    return records[0]
