"""What a data set consists of: which files, of which shape, from where, under which licence.

One YAML a data set in `data_manifests/`; a folder may bring its own as `manifest.yaml`. A checksum or a
direct address stands in a manifest only where it is known. A benchmark is a list of files without splits and
features: right answers, grades or foils that go with another data set's pictures.
"""

import difflib
import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ..config import FEW_CAPTIONS, OTHER_DATA, PRESETS, SMALL_DATA
from ..errors import NaafError, UsageError
from ..files import leaves, project_folders, read_yaml, shown
from ..messages import CONTROLS

SPLITS = ("train", "dev", "test", "testall")
OWN_MANIFEST = "manifest.yaml"

Axis = Literal["images", "captions", "regions", "dim"]
Role = Literal["features", "captions", "boxes", "sizes", "names", "pictures", "links", "foils", "other"]
Text = Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]  # on one line


def _below_the_folder(path: str) -> str:
    if not PurePosixPath(path).parts or leaves(path):
        raise ValueError("must be a relative path below the data set's folder")
    return path


def _plain(name: str) -> str:
    """It becomes a part of files' names."""
    if name in ("", ".", "..") or CONTROLS.search(name) or not {"/", "\\", "\n", "\t"}.isdisjoint(name):
        raise ValueError("must be a plain name, without slashes and control characters")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]


class SplitCounts(BaseModel, frozen=True, extra="forbid"):
    """How much a split holds; None where distributions differ or nobody has counted."""

    images: PositiveInt | None = None
    captions: PositiveInt | None = None
    usual: PositiveInt | None = None  # images, where whoever builds the split may choose
    required: bool = True
    note: Text = ""

    def __str__(self) -> str:
        return str(self.images or (f"{self.usual} by default" if self.usual else "?"))


class DataFile(BaseModel, frozen=True, extra="forbid"):
    """A file below the data set's folder; `{split}` in its path stands for each split's name."""

    path: Annotated[str, AfterValidator(_below_the_folder)]
    role: Role = "other"
    required: bool = False
    shape: tuple[NonNegativeInt | Axis, ...] = ()
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    url: str | None = Field(default=None, pattern=r"^https?://")
    split: PlainName | None = None


LAYOUT = (
    DataFile(path="{split}_ims.npy", role="features", required=True, shape=("images", "regions", "dim")),
    DataFile(path="{split}_caps.txt", role="captions", required=True, shape=("captions",)),
    DataFile(path="{split}_ims_bbx.npy", role="boxes", shape=("images", "regions", 4)),
    DataFile(path="{split}_ims_size.npy", role="sizes", shape=("images", 2)),
    DataFile(path="{split}_image_names.txt", role="names", shape=("images",)),
    DataFile(path="images", role="pictures"),
)


PATTERNS = {str(file.role): file.path for file in LAYOUT}
SPLIT_FILES = tuple(role for role, path in PATTERNS.items() if "{split}" in path)  # their roles
CAPTIONS_AN_IMAGE = 5  # unless a folder's manifest says another number


def own_manifest(folder: str | os.PathLike[str], captions_per_image: int) -> str:
    """What a folder's own manifest says where an image has another number of captions than five."""
    content = {"name": Path(folder).resolve().name, "captions_per_image": captions_per_image}
    return yaml.safe_dump(content, default_flow_style=True, sort_keys=False, width=10**6).strip()


def layout_path(folder: str | os.PathLike[str], split: str, role: str) -> Path:
    """Where the SCAN layout has a split's features, captions, boxes, sizes, names, or all pictures."""
    return Path(folder) / PATTERNS[role].replace("{split}", split)


class Manifest(BaseModel, frozen=True, extra="forbid"):
    """A data set in the SCAN layout: features and captions of splits, which may have boxes and pictures.

    Or a benchmark: the files that it lists and nothing else.
    """

    name: PlainName
    kind: Literal["layout", "benchmark"] = "layout"
    title: str = ""
    captions_per_image: NonNegativeInt = CAPTIONS_AN_IMAGE  # 0: pictures without captions
    regions: PositiveInt | None = None
    dim: PositiveInt | None = None
    dtype: Literal["float16", "float32"] | None = None
    seed: int | None = None
    features: dict[str, str | int | float | None] | None = (
        None  # what made them, where `naaf data extract` did
    )
    licence: Text = ""
    source: Text = ""
    steps: tuple[str, ...] = ()
    splits: dict[PlainName, SplitCounts] = {}
    files: tuple[DataFile, ...] = LAYOUT

    @model_validator(mode="after")
    def _benchmarks_list_files(self) -> "Manifest":
        if self.kind == "benchmark" and (self.splits or any("{split}" in file.path for file in self.files)):
            raise ValueError("a benchmark has no splits and lists each of its files")
        return self

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

    def contents(self) -> str:
        """What it holds, in one line."""
        if self.kind == "benchmark":
            return f"benchmark: {', '.join(file.path for file in self.files)}"
        sizes = ", ".join(f"{split} {counts}" for split, counts in self.splits.items())
        regions, dim = (size or "?" for size in (self.regions, self.dim))
        return f"images: {sizes or 'not counted'}; regions {regions}, dim {dim}"

    def _resolve(self, file: DataFile, split: str | None) -> DataFile:
        counts = self.splits.get(split or "", SplitCounts())
        captions = counts.captions or (counts.images or 0) * self.captions_per_image
        size = {"images": counts.images, "captions": captions, "regions": self.regions, "dim": self.dim}
        shape = tuple(size.get(str(axis)) or axis for axis in file.shape)
        bare = file.role == "captions" and self.captions_per_image == 0
        required = file.required and counts.required and not bare
        path = file.path.replace("{split}", split or "")
        return file.model_copy(update={"path": path, "split": split, "shape": shape, "required": required})


def _paths() -> dict[str, Path]:
    """Manifests by name: those that an installed package carries, and before them the project's own."""
    places = project_folders("data_manifests")[::-1]
    return {path.stem: path for place in places for path in sorted(place.glob("*.yaml"))}


def names() -> tuple[str, ...]:
    """The data sets that have a manifest."""
    return tuple(sorted(_paths()))


def load(name: str) -> Manifest:
    """The manifest of a data set by name."""
    if path := _paths().get(name):
        return read_manifest(path)
    known, asked = names(), _letters(name)
    near = [one for one in known if len(asked) > 3 and asked in _letters(one + load(one).title)]
    near.sort(key=lambda one: load(one).kind == "benchmark")  # f30k: rather the pictures than their ids
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise UsageError(f"no data set is called {name!r}{hint} known: {', '.join(known) or 'none'}")


def _letters(text: str) -> str:
    """Letters and digits in lower case: "MS-COCO" and "mscoco" are the same."""
    return re.sub(r"\W|_", "", text).lower()


def find_manifest(folder: str | os.PathLike[str]) -> Manifest | None:
    """The folder's own `manifest.yaml`, else the one with its name, else None (the generic layout)."""
    folder = Path(folder)
    if os.path.lexists(folder / OWN_MANIFEST):  # a broken link is told, not passed over
        return read_manifest(folder / OWN_MANIFEST)
    known = _paths()
    path = known.get(folder.name) or known.get(folder.resolve().name)
    return read_manifest(path) if path else None


def data_name(folder: str | os.PathLike[str]) -> str:
    """The manifest's name for a data set, else its folder's."""
    manifest = find_manifest(folder)
    return manifest.name if manifest else Path(folder).resolve().name


def made_by(folder: str | os.PathLike[str]) -> dict[str, str | int | float | None] | None:
    """What made the features, where `naaf data extract` did: extractor, revision, checksum, preprocessing."""
    manifest = find_manifest(folder)
    return manifest.features if manifest else None


def differing(was: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What of two records of features differs, with both values where they are numbers."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    pairs = [(name, was.get(name), now.get(name)) for name in names]
    numbers = (int, float, type(None))
    return ", ".join(
        f"{name} ({a}, now {b})" if isinstance(a, numbers) and isinstance(b, numbers) else name
        for name, a, b in pairs
    )


def preset_of(folder: str | os.PathLike[str]) -> str:
    """The preset named like the data set (f30k for f30k_precomp), else one for other data, by its size."""
    name = data_name(folder).removesuffix("_precomp")
    if name in PRESETS:
        return name
    captions = layout_path(Path(folder), "train", "captions")
    few = captions.is_file() and captions.read_bytes().count(b"\n") < FEW_CAPTIONS
    return SMALL_DATA if few else OTHER_DATA


def preset_sentence(folder: str | os.PathLike[str]) -> str:
    """Which preset a data set gets when none is named, and why."""
    name = preset_of(folder)
    if name not in (OTHER_DATA, SMALL_DATA):
        return f"preset {name}, named like the data set"
    others = ", ".join(preset for preset in PRESETS if preset != name)
    few = f" and train has fewer than {FEW_CAPTIONS:,} captions" if name == SMALL_DATA else ""
    return f"preset {name}, because none is named like {shown(folder)}{few}; the others are {others}"


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
        place = ".".join(str(part) for part in first["loc"]) or "files"
        raise NaafError(f"{shown(path)}: {place}: {first['msg']}; correct this entry") from error


def explain(manifest: Manifest, folder: str | os.PathLike[str]) -> str:
    """What the data set consists of and the exact steps that bring it into the folder."""
    lines = [f"{manifest.title or manifest.name} ({manifest.name})"]
    for what, text in (("Licence", manifest.licence), ("Where it comes from", manifest.source)):
        lines += ["", f"{what}: {text}"] if text else []
    lines += ["", f"What {shown(folder)} should hold:", *_file_lines(manifest)]
    lines += [f"  {name}: {counts.note}" for name, counts in manifest.splits.items() if counts.note]
    lines += ["", "Steps:"] if manifest.steps else []
    for number, step in enumerate(manifest.steps, start=1):
        for key, value in (("{folder}", Path(folder)), ("{parent}", Path(folder).parent)):
            step = step.replace(key, shlex.quote(shown(value)))
        lines.append(f"  {number}. " + step.strip().replace("\n", "\n     "))
    return "\n".join(lines) + "\n"


def _file_lines(manifest: Manifest) -> list[str]:
    order = {split: number for number, split in enumerate(manifest.splits or SPLITS)}
    files = sorted(manifest.concrete_files(), key=lambda file: order.get(file.split or "", len(order)))
    width = max((len(file.path) for file in files), default=0)
    kind = {True: "required", False: "optional"}
    return [f"  {f.path:<{width}}  {kind[f.required]}  {_size(f, manifest)}".rstrip() for f in files]


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
