"""What a data set consists of: which files, of which shape, from where, under which licence.

One YAML a data set in `data_manifests/`; a folder may bring its own as `manifest.yaml`. A checksum or a
direct address stands in a manifest only where it is known.
"""

import difflib
import math
import os
import re
import shlex
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
)

from ..config import OTHER_DATA, PRESETS
from ..errors import NaafError, UsageError
from ..files import project_folders, read_yaml, shown

SPLITS = ("train", "dev", "test", "testall")
KNOWN = "data_manifests"  # the folder of the known data sets
OWN_MANIFEST = "manifest.yaml"

Axis = Literal["images", "captions", "regions", "dim"]
Role = Literal["features", "captions", "boxes", "sizes", "names", "pictures", "links", "foils", "other"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitCounts(_Record):
    """How much a split holds; None where distributions differ or nobody has counted."""

    images: PositiveInt | None = None
    captions: PositiveInt | None = None
    required: bool = True
    note: str = ""


class DataFile(_Record):
    """A file below the data set's folder; `{split}` in its path stands for each split's name."""

    path: str
    role: Role = "other"
    required: bool = False
    shape: tuple[NonNegativeInt | Axis, ...] = ()
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    url: str | None = Field(default=None, pattern=r"^https?://")
    split: str | None = None

    @field_validator("path")
    @classmethod
    def _stays_below_the_folder(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or PurePosixPath(path).is_absolute():
            raise ValueError("must be a relative path below the data set's folder")
        return path


LAYOUT = (
    DataFile(path="{split}_ims.npy", role="features", required=True, shape=("images", "regions", "dim")),
    DataFile(path="{split}_caps.txt", role="captions", required=True, shape=("captions",)),
    DataFile(path="{split}_ims_bbx.npy", role="boxes", shape=("images", "regions", 4)),
    DataFile(path="{split}_ims_size.npy", role="sizes", shape=("images", 2)),
    DataFile(path="{split}_image_names.txt", role="names", shape=("images",)),
    DataFile(path="images", role="pictures"),
)


PATTERNS = {str(file.role): file.path for file in LAYOUT}
CAPTIONS_AN_IMAGE = 5  # unless a folder's manifest says another number


def layout_path(folder: str | os.PathLike[str], split: str, role: str) -> Path:
    """A file of the SCAN layout: a split's features, captions, boxes, sizes or names."""
    return Path(folder) / PATTERNS[role].replace("{split}", split)


class Manifest(_Record):
    """A data set in the SCAN layout: region features and captions a split; boxes and pictures if you like."""

    name: str
    title: str = ""
    captions_per_image: PositiveInt = CAPTIONS_AN_IMAGE
    regions: PositiveInt | None = None
    dim: PositiveInt | None = None
    dtype: Literal["float16", "float32"] | None = None
    seed: int | None = None
    licence: str = ""
    source: str = ""
    steps: tuple[str, ...] = ()
    splits: dict[str, SplitCounts] = {}
    files: tuple[DataFile, ...] = LAYOUT

    def concrete_files(self) -> tuple[DataFile, ...]:
        """Each file by its real name, axes as numbers; an entry for one file completes the pattern's."""
        found: dict[str, DataFile] = {}
        for file in self.files:
            names = (self.splits or SPLITS) if "{split}" in file.path else (file.split,)
            for split in names:
                concrete = self._resolve(file, split)
                known = found.get(concrete.path)
                own = {field: getattr(concrete, field) for field in file.model_fields_set}
                found[concrete.path] = known.model_copy(update=own) if known else concrete
        return tuple(found.values())

    def _resolve(self, file: DataFile, split: str | None) -> DataFile:
        counts = self.splits.get(split or "", SplitCounts())
        captions = counts.captions or (counts.images or 0) * self.captions_per_image
        size = {"images": counts.images, "captions": captions, "regions": self.regions, "dim": self.dim}
        shape = tuple(size.get(str(axis)) or axis for axis in file.shape)
        required = file.required and counts.required
        path = file.path.replace("{split}", split or "")
        return file.model_copy(update={"path": path, "split": split, "shape": shape, "required": required})


def names() -> tuple[str, ...]:
    """The data sets that have a manifest."""
    return tuple(sorted({path.stem for folder in project_folders(KNOWN) for path in folder.glob("*.yaml")}))


def load(name: str) -> Manifest:
    """The manifest of a data set by name."""
    for folder in project_folders(KNOWN):
        path = folder / f"{name}.yaml"
        if path.name == f"{name}.yaml" and path.is_file():
            return read_manifest(path)
    known, asked = names(), _plain(name)
    near = [one for one in known if len(asked) > 3 and asked in _plain(one + load(one).title)]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise UsageError(f"no data set is called {name!r}{hint} known: {', '.join(known) or 'none'}")


def _plain(text: str) -> str:
    """Letters and digits in lower case: "MS-COCO" and "mscoco" are the same."""
    return re.sub(r"\W|_", "", text).lower()


def find_manifest(folder: str | os.PathLike[str]) -> Manifest | None:
    """The folder's own `manifest.yaml`, else the one with its name, else None (the generic layout)."""
    folder = Path(folder)
    if (folder / OWN_MANIFEST).is_file():
        return read_manifest(folder / OWN_MANIFEST)
    known = names()
    for name in (folder.name, folder.resolve().name):
        if name in known:
            return load(name)
    return None


def data_name(folder: str | os.PathLike[str]) -> str:
    """The manifest's name for a data set, else its folder's."""
    manifest = find_manifest(folder)
    return manifest.name if manifest else Path(folder).resolve().name


def preset_of(folder: str | os.PathLike[str]) -> str:
    """The preset named like the data set (f30k for f30k_precomp), else the one for any other data."""
    name = data_name(folder).removesuffix("_precomp")
    return name if name in PRESETS else OTHER_DATA


def preset_sentence(folder: str | os.PathLike[str]) -> str:
    """Which preset a data set gets when none is named, and why."""
    name = preset_of(folder)
    if name != OTHER_DATA:
        return f"preset {name}, named like the data set"
    others = ", ".join(preset for preset in PRESETS if preset != OTHER_DATA)
    return f"preset {name}, because none is named like {shown(folder)}; the others are {others}"


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest in a file; a NaafError names the file and the place of what cannot be used."""
    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise NaafError(f"{shown(path)}: a manifest is a list of `key: value` lines; correct the file")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NaafError(f"{shown(path)}: {place}: {first['msg']}; correct this entry") from error


def explain(manifest: Manifest, folder: str | os.PathLike[str]) -> str:
    """What the data set consists of and the exact steps that bring it into the folder."""
    lines = [f"{manifest.title or manifest.name} ({manifest.name})"]
    if manifest.licence:
        lines += ["", f"Licence: {' '.join(manifest.licence.split())}"]
    if manifest.source:
        lines += ["", f"Where it comes from: {' '.join(manifest.source.split())}"]
    lines += ["", f"What {shown(folder)} should hold:", *_file_lines(manifest), *_split_notes(manifest)]
    if manifest.steps:
        lines += ["", "Steps:", *_step_lines(manifest, Path(folder))]
    return "\n".join(lines) + "\n"


def _file_lines(manifest: Manifest) -> list[str]:
    order = {split: number for number, split in enumerate(manifest.splits or SPLITS)}
    files = sorted(manifest.concrete_files(), key=lambda file: order.get(file.split or "", len(order)))
    width = max((len(file.path) for file in files), default=0)
    kind = {True: "required", False: "optional"}
    lines = [f"  {file.path:<{width}}  {kind[file.required]}  {_size(file, manifest)}" for file in files]
    return [line.rstrip() for line in lines]


def _size(file: DataFile, manifest: Manifest) -> str:
    """The shape in words, with the bytes of the features where every axis is known."""
    known = all(isinstance(axis, int) for axis in file.shape)
    if file.role in ("captions", "names"):
        each = {"captions": f"{manifest.captions_per_image} lines an image", "names": "one line an image"}
        return f"{file.shape[0]} lines" if known and file.shape else each[file.role]
    text = " x ".join(str(axis) for axis in file.shape)
    if file.role != "features" or manifest.dtype is None:
        return text
    bytes_each = {"float16": 2, "float32": 4}[manifest.dtype]
    volume = math.prod(axis for axis in file.shape if isinstance(axis, int)) * bytes_each / 1e9
    return f"{text} {manifest.dtype}" + (f", {volume:.2g} GB" if known else "")


def _split_notes(manifest: Manifest) -> list[str]:
    noted = {name: " ".join(counts.note.split()) for name, counts in manifest.splits.items()}
    return [f"  {name}: {note}" for name, note in noted.items() if note]


def _step_lines(manifest: Manifest, folder: Path) -> list[str]:
    values = {"{folder}": folder, "{parent}": folder.parent}
    lines = []
    for number, step in enumerate(manifest.steps, start=1):
        for key, value in values.items():
            step = step.replace(key, shlex.quote(shown(value)))
        first, *rest = step.strip().split("\n")
        lines += [f"  {number}. {first}", *(f"     {line}" for line in rest)]
    return lines
